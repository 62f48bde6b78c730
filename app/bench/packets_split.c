/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>

#include <linux/virtio_ring.h>
#include <rte_atomic.h>
#include <rte_byteorder.h>

#include "packets_ring.h"

/* Packets of one descriptor. What the ring is does not change with it: kept at hand, stores would have it read again. */
static void
write_singles(const struct packets_ring *ring, const uint16_t *frame_bytes, unsigned int count)
{
	const uint64_t iova = ring->buffers_iova + PACKETS_FRAME_AT - PACKETS_NET_HEADER_BYTES;
	const uint16_t flags = rte_cpu_to_le_16(ring->device_writes ? VRING_DESC_F_WRITE : 0);
	struct vring_desc *descs = (struct vring_desc *)ring->desc;
	uint16_t *entries = ((struct vring_avail *)ring->avail)->ring;
	unsigned int slot = packets_ring_slot(ring, ring->out), slots = ring->slots, at = ring->avail_index, i;

	for (i = 0; i < count; i++) {
		descs[slot] = (struct vring_desc){
			.addr = rte_cpu_to_le_64(iova + (uint64_t)slot * PACKETS_BUFFER_BYTES),
			.len = rte_cpu_to_le_32(PACKETS_NET_HEADER_BYTES +
						(frame_bytes == NULL ? PACKETS_FRAME_MAX : frame_bytes[i])),
			.flags = flags,
		};
		entries[at++ % PACKETS_RING_NUM] = rte_cpu_to_le_16((uint16_t)slot);
		slot = slot + 1 == slots ? 0 : slot + 1;
	}
}

static void
write_chain(const struct packets_ring *ring, uint16_t slot, uint32_t frame_bytes)
{
	struct vring_desc *descs = (struct vring_desc *)ring->desc;
	uint16_t flags = ring->device_writes ? VRING_DESC_F_WRITE : 0;
	unsigned int part, at = (unsigned int)slot * ring->parts;

	for (part = 0; part < ring->parts; part++) {
		struct packets_piece piece = packets_piece(ring, slot, part, frame_bytes);
		bool last = part + 1 == ring->parts;

		descs[at + part] = (struct vring_desc){
			.addr = rte_cpu_to_le_64(piece.iova),
			.len = rte_cpu_to_le_32(piece.bytes),
			.flags = rte_cpu_to_le_16((uint16_t)(flags | (last ? 0 : VRING_DESC_F_NEXT))),
			.next = rte_cpu_to_le_16((uint16_t)(last ? 0 : at + part + 1)),
		};
	}
}

static void
write_chains(const struct packets_ring *ring, const uint16_t *frame_bytes, unsigned int count)
{
	struct vring_avail *avail = (struct vring_avail *)ring->avail;
	unsigned int i;

	for (i = 0; i < count; i++) {
		uint16_t slot = packets_ring_slot(ring, ring->out + i);

		write_chain(ring, slot, frame_bytes == NULL ? PACKETS_FRAME_MAX : frame_bytes[i]);
		avail->ring[(ring->avail_index + i) % PACKETS_RING_NUM] =
			rte_cpu_to_le_16((uint16_t)(slot * ring->parts));
	}
}

bool
packets_split_add(struct packets_ring *ring, const uint16_t *frame_bytes, unsigned int count)
{
	struct vring_avail *avail = (struct vring_avail *)ring->avail;
	const struct vring_used *used = (const struct vring_used *)ring->used;

	if (ring->parts == 1)
		write_singles(ring, frame_bytes, count);
	else
		write_chains(ring, frame_bytes, count);
	ring->avail_index = (uint16_t)(ring->avail_index + count);
	ring->out = (uint16_t)(ring->out + count);
	__atomic_store_n(&avail->idx, rte_cpu_to_le_16(ring->avail_index), __ATOMIC_RELEASE);
	rte_smp_mb();
	return (__atomic_load_n(&used->flags, __ATOMIC_RELAXED) & rte_cpu_to_le_16(VRING_USED_F_NO_NOTIFY)) == 0;
}

int
packets_split_reap(struct packets_ring *ring, unsigned int max, uint32_t *ret_written_bytes)
{
	const struct vring_used *used = (const struct vring_used *)ring->used;
	uint16_t index = rte_le_to_cpu_16(__atomic_load_n(&used->idx, __ATOMIC_ACQUIRE)), at = ring->used_index;
	unsigned int count = (uint16_t)(index - at), slot = ring->first, slots = ring->slots, parts = ring->parts, i;
	uint32_t other_bits = 0;

	if (count > ring->out)
		return -EBADMSG;
	count = count < max ? count : max;
	for (i = 0; i < count; i++) {
		const struct vring_used_elem *entry = &used->ring[at++ % PACKETS_RING_NUM];

		other_bits |= rte_le_to_cpu_32(entry->id) ^ slot * parts;
		if (ret_written_bytes != NULL)
			ret_written_bytes[i] = rte_le_to_cpu_32(entry->len);
		slot = slot + 1 == slots ? 0 : slot + 1;
	}
	if (other_bits != 0)
		return -EBADMSG;
	ring->used_index = at;
	ring->first = (uint16_t)slot;
	ring->out = (uint16_t)(ring->out - count);
	return (int)count;
}

bool
packets_split_is_used(const struct packets_ring *ring, unsigned int count)
{
	const struct vring_used *used = (const struct vring_used *)ring->used;
	uint16_t index = rte_le_to_cpu_16(__atomic_load_n(&used->idx, __ATOMIC_ACQUIRE));

	return (uint16_t)(index - ring->used_index) >= count;
}
