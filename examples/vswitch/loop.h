/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VS_LOOP_H
#define VS_LOOP_H

#include <stdint.h>

/**
 * @file
 * The main lcore's loop: descriptors to read from, and a tick.
 *
 * Threads: the main lcore, but for vs_loop_end().
 */

struct vs_loop;

/** One descriptor. Belongs to who adds it, and stays where it is until it is removed. */
struct vs_source {
	int fd; /**< borrowed */
	void (*ready)(void *ctx);
	void *ctx;
};

/** @return 0 or a negative errno. */
int vs_loop_create(struct vs_loop **ret_loop);

/** NULL is allowed. @return NULL. */
struct vs_loop *vs_loop_destroy(struct vs_loop *loop);

/** @return 0 or a negative errno (-EPERM: it is a file, which is never waited for). */
int vs_loop_add(struct vs_loop *loop, struct vs_source *source);

/** Also from a callback. */
void vs_loop_remove(struct vs_loop *loop, struct vs_source *source);

/** Until vs_loop_end(). @param tick called at least so often, and after each callback. */
void vs_loop_run(struct vs_loop *loop, unsigned int tick_ms, void (*tick)(void *ctx), void *ctx);

/** From a callback. */
void vs_loop_end(struct vs_loop *loop);

#endif
