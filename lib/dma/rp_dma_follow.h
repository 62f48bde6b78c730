/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef RP_DMA_FOLLOW_H
#define RP_DMA_FOLLOW_H

#include <sched.h>

#include "rp_dma_node.h"

/**
 * @file
 * A thread that goes to one NUMA node after another, as far as it may.
 *
 * Theory of operation: what it may run on is what it was given from outside (taskset(1), a cpuset, isolcpus=): of that
 * the CPUs of the node, and all of it when none is there. From one node to another it goes by way of all. Who ties it
 * to others meanwhile is obeyed: at the next move that is what it may run on.
 *
 * Threads: begin, follow, end: the thread itself; node may be read by any thread, as an atomic word.
 */

struct rp_dma_follower {
	int node; /**< where it is; RP_DMA_NODE_ANY: wherever it may run */
	int sent; /**< where it was sent last, also if it may not run there */
	cpu_set_t allowed; /**< what it may run on */
	cpu_set_t given; /**< what it was left with by the last move */
};

/** The calling thread is the follower from now on, and stays where it is. */
void rp_dma_follow_begin(struct rp_dma_follower *follower);

/**
 * Go to a node. The follower's thread.
 *
 * @param node RP_DMA_NODE_ANY: to wherever it may run.
 * @return 0, -EINVAL (no such node), -ENOSPC (it may run on none of its CPUs), or what sched_setaffinity(2) says; after an
 *         error it may run wherever it might at the beginning.
 */
int rp_dma_follow(struct rp_dma_follower *follower, int node);

/** No longer: it may run where it might before, unless somebody tied it since. The follower's thread. */
void rp_dma_follow_end(struct rp_dma_follower *follower);

/** Where it is. Any thread. @return a node or RP_DMA_NODE_ANY. */
static inline int
rp_dma_follower_node(const struct rp_dma_follower *follower)
{
	return __atomic_load_n(&follower->node, __ATOMIC_RELAXED);
}

#endif
