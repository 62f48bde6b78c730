/* SPDX-License-Identifier: BSD-3-Clause */
#include <time.h>

#include "rp_dma_vote.h"

void
rp_dma_vote_init(struct rp_dma_vote *vote)
{
	*vote = (struct rp_dma_vote){.node = RP_DMA_NODE_ANY};
}

static int
most_voted(const struct rp_dma_vote *vote)
{
	int node, most = vote->node;

	for (node = 0; node < RP_DMA_VOTE_NODES_MAX; node++)
		if (vote->votes[node] > (most < 0 ? 0 : vote->votes[most]))
			most = node;
	return most;
}

static uint64_t
seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec;
}

bool
rp_dma_vote_cast(struct rp_dma_vote *vote, int node, int by)
{
	uint64_t now_s;
	int most;

	if (node < 0 || node >= RP_DMA_VOTE_NODES_MAX)
		return false;
	vote->votes[node] += (unsigned int)by;
	most = most_voted(vote);
	if (most == vote->node)
		return false;
	now_s = seconds();
	if (vote->node != RP_DMA_NODE_ANY && now_s - vote->chosen_s < RP_DMA_VOTE_SETTLE_S)
		return false;
	vote->chosen_s = now_s;
	__atomic_store_n(&vote->node, most, __ATOMIC_RELAXED);
	return true;
}
