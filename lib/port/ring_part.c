/* SPDX-License-Identifier: BSD-3-Clause */
#include "port.h"

void *
port_ring_part(const struct rp_port *port, const struct port_queue *queue, unsigned int part, uint64_t size_bytes,
	       uint32_t access_mask)
{
	const uint64_t gpas[RP_VRING_PARTS_COUNT] = {queue->vring.desc_gpa, queue->vring.avail_gpa,
						     queue->vring.used_gpa};

	if (!queue->vring.iova)
		return rp_dma_space_translate(port->memory, gpas[part], size_bytes, access_mask);
	if (!queue->iommu.open || ((access_mask & RP_DMA_WRITE) != 0 && !queue->iommu.writable[part]))
		return NULL;
	return queue->iommu.parts[part];
}
