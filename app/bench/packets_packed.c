/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>

#include <linux/virtio_ring.h>
#include <rte_atomic.h>
#include <rte_byteorder.h>

#include "packets_ring.h"

#define AVAIL_MASK (1u << VRING_PACKED_DESC_F_AVAIL)
#define USED_MASK (1u << VRING_PACKED_DESC_F_USED)

/* Slots are at fixed descriptors, since nothing else takes any: the last one ends where the ring does. */
static void
write_chain(struct packets_ring *ring, uint16_t slot, uint32_t frame_bytes)
{
	struct vring_packed_desc *descs = (struct vring_packed_desc *)ring->desc + (unsigned int)slot * ring->parts;
	uint16_t shared = (uint16_t)((ring->device_writes ? VRING_DESC_F_WRITE : 0) |
				     (ring->avail_wrap ? AVAIL_MASK : USED_MASK));
	unsigned int part = ring->parts;

	/* The first one last: with it the chain is the device's. */
	while (part-- > 0) {
		struct packets_piece piece = packets_piece(ring, slot, part, frame_bytes);
		uint16_t flags = (uint16_t)(shared | (part + 1 == ring->parts ? 0 : VRING_DESC_F_NEXT));

		descs[part].addr = rte_cpu_to_le_64(piece.iova);
		descs[part].len = rte_cpu_to_le_32(piece.bytes);
		descs[part].id = rte_cpu_to_le_16(slot);
		__atomic_store_n(&descs[part].flags, rte_cpu_to_le_16(flags), __ATOMIC_RELEASE);
	}
	if (slot + 1 == ring->slots)
		ring->avail_wrap = !ring->avail_wrap;
}

/* Packets of one descriptor. What the ring is does not change with it: kept at hand, stores would have it read again. */
static void
write_singles(struct packets_ring *ring, const uint16_t *frame_bytes, unsigned int count)
{
	const uint64_t iova = ring->buffers_iova + PACKETS_FRAME_AT - PACKETS_NET_HEADER_BYTES;
	const unsigned int writes = ring->device_writes ? VRING_DESC_F_WRITE : 0;
	struct vring_packed_desc *descs = (struct vring_packed_desc *)ring->desc;
	unsigned int slot = packets_ring_slot(ring, ring->out), slots = ring->slots, i;
	bool wrap = ring->avail_wrap;

	for (i = 0; i < count; i++) {
		struct vring_packed_desc *desc = &descs[slot];

		desc->addr = rte_cpu_to_le_64(iova + (uint64_t)slot * PACKETS_BUFFER_BYTES);
		desc->len = rte_cpu_to_le_32(PACKETS_NET_HEADER_BYTES +
					     (frame_bytes == NULL ? PACKETS_FRAME_MAX : frame_bytes[i]));
		desc->id = rte_cpu_to_le_16((uint16_t)slot);
		__atomic_store_n(&desc->flags, rte_cpu_to_le_16((uint16_t)(writes | (wrap ? AVAIL_MASK : USED_MASK))),
				 __ATOMIC_RELEASE);
		if (++slot == slots) {
			slot = 0;
			wrap = !wrap;
		}
	}
	ring->avail_wrap = wrap;
}

static void
write_chains(struct packets_ring *ring, const uint16_t *frame_bytes, unsigned int count)
{
	unsigned int i;

	for (i = 0; i < count; i++)
		write_chain(ring, packets_ring_slot(ring, ring->out + i),
			    frame_bytes == NULL ? PACKETS_FRAME_MAX : frame_bytes[i]);
}

bool
packets_packed_add(struct packets_ring *ring, const uint16_t *frame_bytes, unsigned int count)
{
	const struct vring_packed_desc_event *event = (const struct vring_packed_desc_event *)ring->used;

	if (ring->parts == 1)
		write_singles(ring, frame_bytes, count);
	else
		write_chains(ring, frame_bytes, count);
	ring->out = (uint16_t)(ring->out + count);
	rte_smp_mb();
	return rte_le_to_cpu_16(__atomic_load_n(&event->flags, __ATOMIC_RELAXED)) != VRING_PACKED_EVENT_FLAG_DISABLE;
}

static bool
is_used(const struct vring_packed_desc *desc, bool wrap)
{
	uint16_t flags = rte_le_to_cpu_16(__atomic_load_n(&desc->flags, __ATOMIC_ACQUIRE));
	const uint16_t both = AVAIL_MASK | USED_MASK;

	return (flags & both) == (wrap ? both : 0);
}

int
packets_packed_reap(struct packets_ring *ring, unsigned int max, uint32_t *ret_written_bytes)
{
	const struct vring_packed_desc *descs = (const struct vring_packed_desc *)ring->desc;
	unsigned int slot = ring->first, slots = ring->slots, parts = ring->parts, count = 0;
	bool wrap = ring->used_wrap;

	max = max < ring->out ? max : ring->out;
	for (; count < max; count++) {
		const struct vring_packed_desc *desc = &descs[slot * parts];

		if (!is_used(desc, wrap))
			break;
		if (rte_le_to_cpu_16(desc->id) != slot)
			return -EBADMSG;
		if (ret_written_bytes != NULL)
			ret_written_bytes[count] = rte_le_to_cpu_32(desc->len);
		if (++slot == slots) {
			slot = 0;
			wrap = !wrap;
		}
	}
	ring->used_wrap = wrap;
	ring->first = (uint16_t)slot;
	ring->out = (uint16_t)(ring->out - count);
	return (int)count;
}

bool
packets_packed_is_used(const struct packets_ring *ring, unsigned int count)
{
	const struct vring_packed_desc *descs = (const struct vring_packed_desc *)ring->desc;
	uint16_t slot = packets_ring_slot(ring, count - 1);

	return count <= ring->out && is_used(&descs[(unsigned int)slot * ring->parts],
					     slot < ring->first ? !ring->used_wrap : ring->used_wrap);
}
