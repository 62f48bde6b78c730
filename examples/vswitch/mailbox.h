/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VS_MAILBOX_H
#define VS_MAILBOX_H

#include "loop.h"

/**
 * @file
 * Calls from other threads, done by the main lcore in its loop: a port of Ringpass belongs to
 * one thread, and DPDK's telemetry asks from threads of its own.
 *
 * Threads: making and ending, the main lcore; vs_mailbox_call(), any other.
 */

struct vs_mailbox;

/** @return 0 or a negative errno. */
int vs_mailbox_create(struct vs_loop *loop, struct vs_mailbox **ret_mailbox);

/** Nobody may call any more; who waits has been let go by vs_mailbox_end(). NULL is allowed. @return NULL. */
struct vs_mailbox *vs_mailbox_destroy(struct vs_mailbox *mailbox);

/** From now on every call is refused, also those that wait. */
void vs_mailbox_end(struct vs_mailbox *mailbox);

/** Have it called, and wait. @return 0 or -ECANCELED: it was not called. */
int vs_mailbox_call(struct vs_mailbox *mailbox, void (*call)(void *ctx), void *ctx);

#endif
