/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>

#include "rp_dma_follow.h"

void
rp_dma_follow_begin(struct rp_dma_follower *follower)
{
	follower->sent = RP_DMA_NODE_ANY;
	__atomic_store_n(&follower->node, RP_DMA_NODE_ANY, __ATOMIC_RELAXED);
	/* Of more CPUs than fit it knows nothing, and stays. */
	if (sched_getaffinity(0, sizeof(follower->allowed), &follower->allowed) < 0)
		CPU_ZERO(&follower->allowed);
	follower->given = follower->allowed;
}

/* What somebody else said since the last move is what it may run on. */
static int
leave(struct rp_dma_follower *follower)
{
	cpu_set_t now;

	if (sched_getaffinity(0, sizeof(now), &now) < 0)
		return -errno;
	if (!CPU_EQUAL(&now, &follower->given))
		follower->allowed = now;
	else if (!CPU_EQUAL(&now, &follower->allowed) &&
		 sched_setaffinity(0, sizeof(follower->allowed), &follower->allowed) < 0)
		return -errno;
	return 0;
}

int
rp_dma_follow(struct rp_dma_follower *follower, int node)
{
	int rc = leave(follower);

	follower->sent = node;
	if (rc == 0 && node != RP_DMA_NODE_ANY)
		rc = rp_dma_node_run(node);
	__atomic_store_n(&follower->node, rc < 0 ? RP_DMA_NODE_ANY : node, __ATOMIC_RELAXED);
	if (sched_getaffinity(0, sizeof(follower->given), &follower->given) < 0)
		CPU_ZERO(&follower->given);
	return rc;
}

void
rp_dma_follow_end(struct rp_dma_follower *follower)
{
	if (follower->sent != RP_DMA_NODE_ANY)
		rp_dma_follow(follower, RP_DMA_NODE_ANY);
}
