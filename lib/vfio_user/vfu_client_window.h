/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFU_CLIENT_WINDOW_H
#define VFU_CLIENT_WINDOW_H

#include <stdint.h>

#include "rp_wire_why.h"

/* The payload window: a file of the server's that both ends map, for the data of DMA. */
struct rp_vfu_window {
	uint8_t *bytes; /* NULL: none was agreed on */
	uint64_t size_bytes;
	int fd; /* owned: a successor maps it too */
};

/*
 * Map it, if it is one: a file that has the size and can never lose it.
 * @param fd borrowed, a duplicate is kept.
 * @return 0, -EBADMSG, -ENOMEM.
 */
int rp_vfu_window_open(struct rp_vfu_window *window, int fd, uint64_t size_bytes, struct rp_wire_why *why);

/* Unmap it; one that was never opened is allowed. */
void rp_vfu_window_close(struct rp_vfu_window *window);

/* Where a message's data is. @return NULL when a byte of it is not in the window. */
uint8_t *rp_vfu_window_at(const struct rp_vfu_window *window, uint64_t offset_bytes, uint64_t count_bytes);

#endif
