/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SA_PLACE_H
#define SA_PLACE_H

#include <sched.h>
#include <stdbool.h>
#include <stdint.h>

#include <rte_mempool.h>

/**
 * @file
 * The data path, on the NUMA node where the guests' memory is.
 *
 * Theory of operation: each ring that starts votes for the node of its memory. The buffers of the pool are
 * moved to the node that has most, and the data path's thread to its CPUs, to those of them that the thread may
 * run on (DPDK ties an lcore to one CPU unless it is given several: `--lcores 0@(0-7)`). With as many votes
 * everything stays where it is. On a machine of one node nobody votes and nothing is done.
 *
 * All guests wait while buffers move, and a guest can start and stop its rings as often as it likes. So after a
 * move votes only count for a while, and a majority that came about meanwhile is followed at the first vote after it.
 *
 * Nothing here is needed for correctness: what cannot be moved stays. Pages move whole, so of a piece of the pool
 * only those that are all its own: with huge pages what shares one at either end stays, and a piece that lies within
 * one does not move at all.
 *
 * Threads: vote: the control side, with the gate closed; the rest: the data path's own.
 */

#define SA_PLACE_NODES_MAX 64
#define SA_PLACE_SETTLE_S 10u /* at least, from one move to the next */

struct sa_place {
	unsigned int votes[SA_PLACE_NODES_MAX];
	int node; /* that had most at the last move; RP_DMA_NODE_ANY: nobody voted yet */
	uint64_t moved_s; /* when that was; monotonic */
	struct rte_mempool *pool; /* borrowed */
	int thread_node; /* where the thread was sent last */
	cpu_set_t allowed; /* what the thread might run on before */
};

void sa_place_init(struct sa_place *place, struct rte_mempool *pool);

/** @param node RP_DMA_NODE_ANY, or one that has no place here: nobody votes. @param by 1 or -1. */
void sa_place_vote(struct sa_place *place, int node, int by);

/** The calling thread is the data path's from now on. */
void sa_place_begin(struct sa_place *place);
void sa_place_move_thread(struct sa_place *place);
/** No longer: it may run where it might before. */
void sa_place_end(struct sa_place *place);

/** Go to where the memory is. */
static inline void
sa_place_follow(struct sa_place *place)
{
	if (place->thread_node != place->node)
		sa_place_move_thread(place);
}

#endif
