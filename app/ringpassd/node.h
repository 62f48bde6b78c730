/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef NODE_H
#define NODE_H

#include "rp_dma_follow.h"
#include "rp_dma_vote.h"
#include "rp_port.h"

/**
 * @file
 * On which NUMA node the daemon's only thread runs. Kicks and interrupts that are relayed, messages, and the copying of
 * private rings are all its work, and all of it is on the guests' memory: so it follows the node that most of their
 * rings are on (rp_dma_vote.h), to CPUs that it may run on (rp_dma_follow.h), or stays where the user wants it.
 *
 * Threads: the event loop's.
 */

enum rpd_node_policy {
	RPD_NODE_FOLLOW,
	RPD_NODE_ANY, /**< wherever the scheduler has it */
	RPD_NODE_FIXED,
};

/** What the user wants; zeroes: to follow. */
struct rpd_node_wish {
	enum rpd_node_policy policy;
	int number; /**< of a fixed one */
};

struct rpd_node {
	struct rpd_node_wish wish;
	struct rp_dma_vote vote;
	struct rp_dma_follower thread;
	void (*event)(void *ctx, const struct rp_port_event *event);
	void *ctx;
};

/**
 * The calling thread is the daemon's.
 *
 * @param event is told when it moves.
 * @return 0, or of a fixed node -EINVAL (there is none of that number), -ENOSPC (the thread may run on none of its
 *         CPUs), or what sched_setaffinity(2) says, with why.
 */
int rpd_node_begin(struct rpd_node *node, const struct rpd_node_wish *wish,
		   void (*event)(void *ctx, const struct rp_port_event *event), void *ctx, struct rp_wire_why *why);

/** Whether rings are to vote: not where there is nothing to choose. NULL is allowed. */
bool rpd_node_votes(const struct rpd_node *node);

/** A ring came or went: rp_port_ops.ring_node. The thread follows at once. */
void rpd_node_vote(struct rpd_node *node, int number, int by);

/** @return where the thread was sent, RP_DMA_NODE_ANY: nowhere. NULL is allowed. */
int rpd_node_number(const struct rpd_node *node);

#endif
