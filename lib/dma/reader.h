/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef RP_DMA_READER_H
#define RP_DMA_READER_H

#include <stdatomic.h>
#include <stdint.h>
#include <sys/queue.h>

#include "space.h"

/**
 * @file
 * How a table may be freed while others read.
 *
 * The algorithm (quiescent states, as DPDK's lib/rcu describes them): the space
 * counts its changes in `epoch`. An online reader repeats in `reader.epoch` the
 * value that it saw at its last quiescent point; 0 says that it is offline. The
 * writer publishes a table, then counts. A reader that has repeated the new
 * count loads the table after it did so, therefore sees the new one, and holds
 * nothing of the old one. So when every online reader has repeated a count, the
 * tables and pages that went before it can go.
 *
 * Going online is a store (of the epoch) followed by a load (of the table),
 * against the writer's store of the table followed by a load of the reader's
 * epoch: one of the two must see the other. That needs sequential consistency
 * on these four accesses; a release and an acquire are not enough. Repeating or
 * leaving is a store followed by a load of `pending_count` for the same reason:
 * who waits without blocking is woken by it.
 *
 * A visit (visit.h) is such an epoch for the time of one lookup and copy.
 */

/** Written by its reader, read by the writer: a line of its own. */
struct rp_dma_reader {
	_Alignas(64) _Atomic uint64_t epoch;
	uint64_t generation; /* the reader's own copy, kept while offline */
	/* Of the reader, looked at by others: so they are whole words, and no more. */
	_Atomic uint64_t translations;
	_Atomic uint64_t refused;
	struct rp_dma_space *space;
	struct rp_dma_reader *entered_next; /* pasid.c: the next one that is online for the same thread */
	LIST_ENTRY(rp_dma_reader) link; /* the writer's */
};

/** Publish a table, with the lock held. */
void rp_dma_space_publish(struct rp_dma_space *space, uint64_t table);

/** Dispose of what a table replaced when nobody can see it any more. Waits only when too much is kept. */
void rp_dma_space_retire(struct rp_dma_space *space, const struct rp_dma_gone *gone);

/** Wait until no reader can see anything but the published table; dispose of what was retired. */
void rp_dma_space_synchronize(struct rp_dma_space *space);

/** Whether nobody can see what went before that count, without waiting. */
bool rp_dma_space_passed(const struct rp_dma_space *space, uint64_t epoch);

#endif
