/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <string.h>

#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <rte_common.h>

#include "packets_ring.h"

int
packets_ring_open(struct packets_ring *ring, const struct packets_ring_place *place)
{
	struct rp_vring_layout layout;
	int rc;

	_Static_assert(PACKETS_RING_NUM * PACKETS_BUFFER_BYTES <= PACKETS_RING_BYTES - PACKETS_RING_AREA,
		       "room for the buffers");
	*ring = (struct packets_ring){
		.packed = (place->features & 1ull << VIRTIO_F_RING_PACKED) != 0,
		.device_writes = place->device_writes,
		.parts = place->parts,
		.slots = (uint16_t)(PACKETS_RING_NUM / place->parts),
		.avail_wrap = true,
		.used_wrap = true,
		.buffers = place->memory + PACKETS_RING_AREA,
		.buffers_iova = place->memory_iova + PACKETS_RING_AREA,
	};
	if (rp_vring_drv_bytes(PACKETS_RING_NUM, place->features) > PACKETS_RING_AREA)
		return -EINVAL;
	rc = rp_vring_drv_create(PACKETS_RING_NUM, place->memory, place->memory_iova, place->features, &ring->layout);
	if (rc < 0)
		return rc;
	/* It stays so: who generates load polls. */
	rp_vring_drv_set_interrupt(ring->layout, false);
	rp_vring_drv_layout(ring->layout, &layout);
	ring->desc = place->memory + (layout.desc_iova - place->memory_iova);
	ring->avail = place->memory + (layout.avail_iova - place->memory_iova);
	ring->used = place->memory + (layout.used_iova - place->memory_iova);
	memset(ring->buffers, 0, (size_t)PACKETS_RING_NUM * PACKETS_BUFFER_BYTES);
	return 0;
}

void
packets_ring_close(struct packets_ring *ring)
{
	ring->layout = rp_vring_drv_destroy(ring->layout);
}

bool
packets_ring_add(struct packets_ring *ring, const uint16_t *frame_bytes, unsigned int count)
{
	return ring->packed ? packets_packed_add(ring, frame_bytes, count) :
			      packets_split_add(ring, frame_bytes, count);
}

int
packets_ring_reap(struct packets_ring *ring, unsigned int max, uint32_t *ret_written_bytes)
{
	return ring->packed ? packets_packed_reap(ring, max, ret_written_bytes) :
			      packets_split_reap(ring, max, ret_written_bytes);
}

bool
packets_ring_is_used(const struct packets_ring *ring, unsigned int count)
{
	return count == 0 || (ring->packed ? packets_packed_is_used(ring, count) : packets_split_is_used(ring, count));
}

/* Both kinds of ring have descriptors of the same size. */
void
packets_ring_want(const struct packets_ring *ring, uint16_t slot, unsigned int count)
{
	const size_t packet_bytes = sizeof(struct vring_desc) * ring->parts;
	size_t at = slot * packet_bytes / RTE_CACHE_LINE_SIZE * RTE_CACHE_LINE_SIZE;
	size_t end = RTE_MIN((unsigned int)ring->slots, slot + count) * packet_bytes;

	for (; at < end; at += RTE_CACHE_LINE_SIZE)
		packets_ring_want_line(ring->desc + at);
	if (slot + count > ring->slots)
		packets_ring_want(ring, 0, slot + count - ring->slots);
}

void
packets_ring_want_index(const struct packets_ring *ring, unsigned int count)
{
	const struct vring_avail *avail = (const struct vring_avail *)ring->avail;

	if (ring->packed)
		return;
	packets_ring_want_line(&avail->idx);
	packets_ring_want_line(&avail->ring[ring->avail_index % PACKETS_RING_NUM]);
	packets_ring_want_line(&avail->ring[(ring->avail_index + count - 1) % PACKETS_RING_NUM]);
}
