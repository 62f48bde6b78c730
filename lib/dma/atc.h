/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef RP_DMA_ATC_INTERNAL_H
#define RP_DMA_ATC_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "atc_table.h"
#include "rp_dma_atc.h"

/**
 * @file
 * Inside a translation cache: atc_table.c keeps translations, atc_ask.c the requests and
 * who waits for them, atc.c the rest.
 */

#define RP_DMA_ATC_BUCKETS 64u /* of requests, by page */

enum rp_dma_atc_mode {
	RP_DMA_ATC_CLOSED,
	RP_DMA_ATC_IDENTITY,
	RP_DMA_ATC_OPEN,
};

TAILQ_HEAD(rp_dma_atc_waits, rp_dma_atc_wait);

/** One page that is asked for: queued, or under way in a slot. */
struct rp_dma_atc_request {
	LIST_ENTRY(rp_dma_atc_request) bucket;
	TAILQ_ENTRY(rp_dma_atc_request) link; /* of the queue */
	struct rp_dma_atc_waits waits;
	uint64_t iova;
	uint32_t pasid;
	uint32_t asked_mask; /* of the request under way */
	bool under_way;
	/* Of the request under way: what of its answer no invalidation has touched since; voided: not even its page. */
	bool voided;
	uint64_t low_iova;
	uint64_t high_iova; /* inclusive */
};

struct rp_dma_atc {
	struct rp_dma_space *space;
	void (*wake)(void *ctx);
	void *wake_ctx;
	_Atomic int mode; /* changed with the lock */
	struct rp_dma_atc_table table; /* changed with the lock, by the writer; read without */

	pthread_mutex_t lock; /* of everything below */
	pthread_cond_t ended;
	uint64_t ticket; /* of the last invalidation */
	LIST_HEAD(rp_dma_atc_uses, rp_dma_atc_use) uses;
	struct rp_dma_atc_counters counters;
	uint32_t pending_count; /* invalidations that have not settled */
	uint64_t forgotten_ticket; /* invalidations up to here were the last peer's */

	LIST_HEAD(rp_dma_atc_bucket, rp_dma_atc_request) buckets[RP_DMA_ATC_BUCKETS];
	TAILQ_HEAD(rp_dma_atc_queue, rp_dma_atc_request) queue;
	uint32_t slots_count; /* constant */
	uint32_t requests_max; /* with this peer */
	uint32_t under_way_count;
	uint32_t next_slot;
	struct rp_dma_atc_request **slots;

	struct rp_dma_atc_waits ending; /* whose done() is due */
	const struct rp_dma_atc_wait *finishing; /* whose done() runs */
	pthread_t finisher;
};

/** Whether an invalidation is about a range. */
bool rp_dma_atc_touches(const struct rp_dma_atc_invalidation *invalidation, uint32_t pasid, uint64_t first_iova,
			uint64_t last_iova);

/** What is under way was asked before this. Lock held. */
void rp_dma_atc_void(struct rp_dma_atc *atc, const struct rp_dma_atc_invalidation *invalidation);

/** End every request and wait with -ENOTCONN; done() runs here. No lock held. */
void rp_dma_atc_end_requests(struct rp_dma_atc *atc);

/** Set up and free what atc_ask.c has. @return 0 or -ENOMEM. */
int rp_dma_atc_init_requests(struct rp_dma_atc *atc, uint32_t requests_max);
void rp_dma_atc_fini_requests(struct rp_dma_atc *atc);

#endif
