/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef MOCK_CARRIER_H
#define MOCK_CARRIER_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "rp_dma_carrier.h"

/*
 * A peer with memory of its own, IOVA 0 being its first byte, and a thread that
 * carries. The members up to `shuffle` are the test's to set while nothing is under
 * way; the functions are any thread's.
 */
struct mock_carrier {
	uint8_t *memory;
	uint64_t memory_bytes;
	int answer; /* what the peer answers */
	unsigned int refuse_after; /* that many submits, then -ENOTCONN; UINT_MAX: never */
	bool shuffle; /* transfers overtake each other */

	pthread_mutex_t lock;
	/* A range that nothing may come for, and whether something did. */
	uint64_t forbidden_iova;
	uint64_t forbidden_bytes;
	unsigned int forbidden_count;
	pthread_cond_t changed;
	pthread_t thread;
	TAILQ_HEAD(mock_queue, rp_dma_transfer) queue;
	struct rp_dma_transfer *finishing;
	bool gated;
	bool stop;
	unsigned int seed;
	unsigned int queued_count;
	unsigned int submitted_count;
	unsigned int carried_count;
	unsigned int cancelled_count;
};

extern const struct rp_dma_carrier_ops mock_carrier_ops;

/* Begin with a thread, and say so to the space. */
void mock_carrier_start(struct mock_carrier *carrier, struct rp_dma_space *space, uint64_t memory_bytes);

/* End the thread; what is queued stays where it is. Then free the memory. */
void mock_carrier_stop(struct mock_carrier *carrier);
void mock_carrier_free(struct mock_carrier *carrier);

/* From now on, until it is told of no bytes. */
void mock_carrier_forbid(struct mock_carrier *carrier, uint64_t iova, uint64_t size_bytes);

/* Closed: what is submitted stays queued. */
void mock_carrier_gate(struct mock_carrier *carrier, bool closed);

unsigned int mock_carrier_forbidden(struct mock_carrier *carrier);
unsigned int mock_carrier_queued(struct mock_carrier *carrier);

/* As a server that cannot let them run: all of the queue fails, in the carrier's thread's place. */
void mock_carrier_fail_all(struct mock_carrier *carrier, int error);

#endif
