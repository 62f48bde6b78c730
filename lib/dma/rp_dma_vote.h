/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef RP_DMA_VOTE_H
#define RP_DMA_VOTE_H

#include <stdbool.h>
#include <stdint.h>

#include "rp_dma_node.h"

/**
 * @file
 * On which NUMA node something belongs that works on many rings: where most of them are.
 *
 * Theory of operation: each ring that starts votes for the node of its memory (rp_dma_node_of()), and takes its vote
 * back when it stops. With as many votes elsewhere, or with none left, the choice stays. On a machine of one node
 * nobody votes.
 *
 * What is moved to the choice has a price, and a guest can start and stop its rings as often as it likes. So after a
 * move votes only count for a while, and a majority that came about meanwhile is followed at the first vote after it.
 *
 * Threads: cast: one at a time; node may be read by any thread, as an atomic word.
 */

#define RP_DMA_VOTE_NODES_MAX 64
#define RP_DMA_VOTE_SETTLE_S 10u /**< at least, from one choice to the next */

struct rp_dma_vote {
	unsigned int votes[RP_DMA_VOTE_NODES_MAX];
	uint64_t chosen_s; /**< when the choice was made; monotonic */
	int node; /**< the choice; RP_DMA_NODE_ANY: nobody voted yet */
};

/** Nobody voted yet. Its owner's thread. */
void rp_dma_vote_init(struct rp_dma_vote *vote);

/**
 * One vote more or less. One thread at a time.
 *
 * @param node RP_DMA_NODE_ANY, or RP_DMA_VOTE_NODES_MAX and more: nobody votes.
 * @param by 1, or -1 for a vote that was cast before.
 * @return whether there is another choice now.
 */
bool rp_dma_vote_cast(struct rp_dma_vote *vote, int node, int by);

/** The choice. Any thread. @return a node or RP_DMA_NODE_ANY. */
static inline int
rp_dma_vote_node(const struct rp_dma_vote *vote)
{
	return __atomic_load_n(&vote->node, __ATOMIC_RELAXED);
}

#endif
