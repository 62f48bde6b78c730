/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef RP_DMA_BOOKS_H
#define RP_DMA_BOOKS_H

#include <pthread.h>
#include <stdatomic.h>

#include "rp_dma_bounce.h"

/**
 * @file
 * What maps of a space cost at this moment, and who waits for some of it.
 *
 * Freeing is a subtraction followed by a look at the waiters; registering is an
 * entry among the waiters followed by a look at what is free. Both in one order for
 * all threads: one of the two sees the other, so that nobody waits for space that is
 * there.
 *
 * Threads: any.
 */

struct rp_dma_space;

/** A freed() that runs; on the stack of the thread that runs it. */
struct rp_dma_calling {
	LIST_ENTRY(rp_dma_calling) link;
	const struct rp_dma_waiter *waiter;
	pthread_t thread;
	bool again; /* one registered in this thread meanwhile */
};

struct rp_dma_books {
	uint64_t bytes_max;
	uint64_t maps_max;
	_Atomic uint64_t used_bytes;
	_Atomic uint64_t maps_count;
	_Atomic uint64_t waiters_count;
	/* Under the space's lock. */
	uint64_t round; /* of notifying */
	TAILQ_HEAD(rp_dma_waiters, rp_dma_waiter) waiters;
	LIST_HEAD(rp_dma_callings, rp_dma_calling) callings;
};

void rp_dma_books_init(struct rp_dma_books *books, uint64_t bytes_max, uint64_t maps_max);

/** Enter a map. @return 0 or -ENOSPC. */
int rp_dma_books_enter(struct rp_dma_space *space);

/** Some or all of what is wanted. @return how much, 0: nothing is free. */
uint64_t rp_dma_books_take(struct rp_dma_space *space, uint64_t want_bytes);

/** Give a map and its bytes back; rp_dma_books_notify() tells those who wait. @return whether others may have met a limit. */
bool rp_dma_books_leave(struct rp_dma_space *space, uint64_t bytes);

/** Call all who wait. No lock held. */
void rp_dma_books_notify(struct rp_dma_space *space);

/** The space ends: nobody waits any more. */
void rp_dma_books_end_waiters(struct rp_dma_space *space);

#endif
