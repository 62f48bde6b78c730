/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFU_SERVER_WINDOW_H
#define VFU_SERVER_WINDOW_H

#include <stdint.h>

/*
 * The payload window as its owner sees it: a sealed memfd, handed out with
 * VERSION's reply, and which of its slots belong to a command in flight. The client
 * may write to it at any time: what is read from it is read once.
 */

#define RP_VFU_WINDOW_SLOT_BYTES (64u * 1024u)
#define RP_VFU_WINDOW_DEFAULT_BYTES (4u * 1024u * 1024u)

struct rp_vfu_server_window {
	int fd; /* -1: none */
	uint8_t *bytes;
	uint64_t size_bytes; /* whole slots */
	uint8_t *taken; /* by slot */
};

/* What can be offered of so many bytes. */
uint64_t rp_vfu_server_window_whole(uint64_t bytes);

/* @param size_bytes whole slots. @return 0 or a negative errno; on failure nothing is held. */
int rp_vfu_server_window_open(struct rp_vfu_server_window *window, uint64_t size_bytes);
/* One that is not open is allowed. */
void rp_vfu_server_window_close(struct rp_vfu_server_window *window);

/* Neighbouring slots for so many bytes. @return the first one, or -1: not so many are free together. */
int rp_vfu_server_window_take(struct rp_vfu_server_window *window, uint32_t bytes);
void rp_vfu_server_window_release(struct rp_vfu_server_window *window, int slot, uint32_t bytes);

#endif
