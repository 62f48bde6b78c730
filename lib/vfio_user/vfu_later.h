/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFU_LATER_H
#define VFU_LATER_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

/*
 * The command that a device is inside of, or whose answer it put off. There is one
 * at most, because commands are answered in their order; its number tells an answer
 * that comes too late from one to the next command, or to the next client's.
 *
 * Threads: _give() any, the rest the server's.
 */
struct rp_vfu_later {
	pthread_mutex_t lock; /* of everything below */
	uint64_t number; /* of the last command that was handed to the device */
	bool open; /* it has not been answered */
	bool given;
	int error;
	uint32_t wanted_bytes; /* that an answer without an error has */
	uint8_t *bytes; /* owned; NULL: none */
};

void rp_vfu_later_init(struct rp_vfu_later *later);
void rp_vfu_later_fini(struct rp_vfu_later *later);

/* The device gets a command now. */
void rp_vfu_later_begin(struct rp_vfu_later *later, uint32_t wanted_bytes);
/* It answered at once, or nobody waits for the answer any more. */
void rp_vfu_later_end(struct rp_vfu_later *later);

/* @return as rp_vfu_server_answer(). */
int rp_vfu_later_give(struct rp_vfu_later *later, uint64_t number, int error, const uint8_t *bytes);

bool rp_vfu_later_is_given(struct rp_vfu_later *later);

/*
 * Take the answer, which ends it.
 * @param ret_bytes the caller's to free; NULL: none.
 * @return whether it has been given.
 */
bool rp_vfu_later_take(struct rp_vfu_later *later, int *ret_error, uint8_t **ret_bytes);

#endif
