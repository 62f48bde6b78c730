/* SPDX-License-Identifier: BSD-3-Clause */
#include "port.h"

int
port_ring_node(const struct rp_port *port, const struct port_queue *queue)
{
	const void *ring;

	if (!queue->frontend_started)
		return RP_DMA_NODE_ANY;
	/* Its driver has made it, so asking where it is makes no page. */
	ring = port_ring_part(port, queue, 0, 1, RP_DMA_READ);
	return ring == NULL ? RP_DMA_NODE_ANY : rp_dma_node_of(ring);
}

void
port_ring_node_tell(struct rp_port *port, struct port_queue *queue)
{
	int before = queue->node;

	if (port->ops == NULL || port->ops->ring_node == NULL)
		return;
	queue->node = port_ring_node(port, queue);
	if (queue->node == before)
		return;
	if (before != RP_DMA_NODE_ANY)
		port->ops->ring_node(port->ctx, before, -1);
	if (queue->node != RP_DMA_NODE_ANY)
		port->ops->ring_node(port->ctx, queue->node, 1);
}
