/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "node.h"

static int
go(struct rpd_node *node, int number, struct rp_wire_why *why)
{
	int rc = rp_dma_follow(&node->thread, number);

	switch (rc) {
	case 0:
		return 0;
	case -EINVAL:
		return rp_wire_why_set(why, rc, "node: found %d, which this machine has not", number);
	case -ENOSPC:
		return rp_wire_why_set(why, rc, "node: found %d, on whose CPUs ringpassd may not run", number);
	default:
		return rp_wire_why_set(why, rc, "node: %d: %s", number, strerror(-rc));
	}
}

int
rpd_node_begin(struct rpd_node *node, const struct rpd_node_wish *wish,
	       void (*event)(void *ctx, const struct rp_port_event *event), void *ctx, struct rp_wire_why *why)
{
	*node = (struct rpd_node){.wish = *wish, .event = event, .ctx = ctx};
	rp_dma_vote_init(&node->vote);
	rp_dma_follow_begin(&node->thread);
	return wish->policy == RPD_NODE_FIXED ? go(node, wish->number, why) : 0;
}

bool
rpd_node_votes(const struct rpd_node *node)
{
	return node != NULL && node->wish.policy == RPD_NODE_FOLLOW && rp_dma_nodes_count() > 1;
}

void
rpd_node_vote(struct rpd_node *node, int number, int by)
{
	struct rp_port_event event = {.level = RP_PORT_EVENT_NOTICE, .queue = -1};
	struct rp_wire_why why = {0};
	char text[64];

	if (!rp_dma_vote_cast(&node->vote, number, by))
		return;
	number = rp_dma_vote_node(&node->vote);
	snprintf(text, sizeof(text), "to node %d, where most rings are", number);
	event.name = "thread-moved";
	event.text = text;
	/* It may run where it might before, and all goes on. */
	if (go(node, number, &why) < 0) {
		event.name = "thread-not-moved";
		event.text = why.text;
	}
	node->event(node->ctx, &event);
}

int
rpd_node_number(const struct rpd_node *node)
{
	return node == NULL ? RP_DMA_NODE_ANY : rp_dma_follower_node(&node->thread);
}
