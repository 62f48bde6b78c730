/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef RP_DMA_SPACE_H
#define RP_DMA_SPACE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "backing.h"
#include "books.h"
#include "bounce.h"
#include "edit.h"
#include "rp_dma_carrier.h"
#include "rp_dma_io.h"

/**
 * @file
 * Inside a space: what its rooms share.
 *
 * Threads: each member says whose it is. `lock` is held for short work only,
 * never while waiting for a reader, a carrier or a caller's function.
 */

#define RP_DMA_RETIRED_MAX 16
/* More threads than this at one moment in lookups and copies wait for each other. */
#define RP_DMA_VISITS_COUNT 32

/** What of older tables readers may still see, and the count after which none does. */
struct rp_dma_retired {
	struct rp_dma_gone gone;
	uint64_t epoch;
};

/** As a reader's epoch, taken for the time of one lookup and copy: a line of its own. */
struct rp_dma_visit {
	_Alignas(64) _Atomic uint64_t epoch; /* 0: free */
};

/** Something that was taken away and may still be in use (change.c). */
struct rp_dma_change {
	TAILQ_ENTRY(rp_dma_change) link;
	uint64_t ticket;
	uint64_t epoch; /* readers that repeated it have seen the change */
	uint64_t first_iova;
	uint64_t last_iova;
	struct rp_dma_gone gone; /* its mappings hold their windows until settled */
	bool allocated;
};

/** A done() that runs (io.c); on the stack of the thread that runs it. */
struct rp_dma_completion {
	LIST_ENTRY(rp_dma_completion) link;
	const struct rp_dma_io *io;
	pthread_t thread;
};

/** What tables are made of, and what they lead to. */
struct rp_dma_store {
	struct rp_dma_pool pool;
	struct rp_dma_backing backing;
};

void rp_dma_store_init(struct rp_dma_store *store);

/** All that was taken from it must be back. */
void rp_dma_store_end(struct rp_dma_store *store);

struct rp_dma_space {
	_Atomic uint64_t table; /* changed with `lock` held */
	_Atomic uint64_t epoch; /* starts at 1 */
	_Atomic uint64_t log; /* a table of tracks (log.c); empty: no log is on */
	_Atomic uint32_t pending_count; /* of changes that have not settled */

	/* Set before anybody shares the space. */
	const struct rp_dma_carrier_ops *carrier;
	void *carrier_ctx;
	void (*wake)(void *ctx);
	void *wake_ctx;

	struct rp_dma_visit visits[RP_DMA_VISITS_COUNT];

	pthread_mutex_t lock;
	pthread_cond_t changed; /* something below ended */
	uint32_t sleepers_count;
	uint64_t ticket; /* of the last change */
	LIST_HEAD(rp_dma_holds, rp_dma_hold) holds;
	LIST_HEAD(rp_dma_completions, rp_dma_completion) completions;
	struct rp_dma_books books; /* says itself what is under the lock */
	struct rp_dma_maps maps;

	/* The writer's from here. */
	uint32_t mappings_max;
	uint64_t log_pages; /* watched ones */
	uint32_t retired_count;
	struct rp_dma_retired retired[RP_DMA_RETIRED_MAX];
	struct rp_dma_store *store; /* its own, or that of several spaces (pasid.c) */
	struct rp_dma_store own_store;
	LIST_HEAD(rp_dma_readers, rp_dma_reader) readers;
	TAILQ_HEAD(rp_dma_changes, rp_dma_change) changes;
	LIST_HEAD(rp_dma_listeners, rp_dma_listener) listeners;
};

/** As rp_dma_space_create(), with another's store, of the same thread, which outlives the space. NULL: its own. */
int rp_dma_space_create_in(const struct rp_dma_limits *limits, struct rp_dma_store *store,
			   struct rp_dma_space **ret_space);

/** Sleep until something under the lock ended. Lock held; spurious returns. */
void rp_dma_space_sleep(struct rp_dma_space *space);

/** Wake who sleeps so. Lock held. */
void rp_dma_space_wake_sleepers(struct rp_dma_space *space);

#endif
