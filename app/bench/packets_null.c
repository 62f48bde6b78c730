/* SPDX-License-Identifier: BSD-3-Clause */
#include <linux/virtio_ring.h>
#include <rte_byteorder.h>

#include "packets_null.h"

#define AVAIL_MASK (1u << VRING_PACKED_DESC_F_AVAIL)
#define USED_MASK (1u << VRING_PACKED_DESC_F_USED)

static void
begin(struct packets_null_ring *at, const struct packets_ring *ring)
{
	*at = (struct packets_null_ring){.ring = ring, .wrap = true};
	/* Nobody is to kick. */
	if (ring->packed)
		((struct vring_packed_desc_event *)ring->used)->flags =
			rte_cpu_to_le_16(VRING_PACKED_EVENT_FLAG_DISABLE);
	else
		((struct vring_used *)ring->used)->flags = rte_cpu_to_le_16(VRING_USED_F_NO_NOTIFY);
}

void
packets_null_open(struct packets_null *null, struct packets_side *side)
{
	unsigned int pair;

	side->no_device = true;
	null->pairs = side->pairs;
	for (pair = 0; pair < side->pairs; pair++) {
		begin(&null->tx[pair], &side->guests[PACKETS_SENDER].rings[PACKETS_TX(pair)]);
		begin(&null->rx[pair], &side->guests[PACKETS_RECEIVER].rings[PACKETS_RX(pair)]);
	}
}

static unsigned int
available(const struct packets_null_ring *at, unsigned int max)
{
	const struct vring_avail *avail = (const struct vring_avail *)at->ring->avail;
	const struct vring_packed_desc *descs = (const struct vring_packed_desc *)at->ring->desc;
	unsigned int count, slot = at->slot;
	bool wrap = at->wrap;

	if (!at->ring->packed) {
		count = (uint16_t)(rte_le_to_cpu_16(__atomic_load_n(&avail->idx, __ATOMIC_ACQUIRE)) - at->index);
		return count < max ? count : max;
	}
	for (count = 0; count < max; count++) {
		uint16_t flags =
			rte_le_to_cpu_16(__atomic_load_n(&descs[slot * at->ring->parts].flags, __ATOMIC_ACQUIRE));

		if (((flags & AVAIL_MASK) != 0) != wrap || ((flags & USED_MASK) != 0) == wrap)
			break;
		if (++slot == at->ring->slots) {
			slot = 0;
			wrap = !wrap;
		}
	}
	return count;
}

static void
use_split(struct packets_null_ring *at, unsigned int count, uint32_t written_bytes)
{
	struct vring_used *used = (struct vring_used *)at->ring->used;

	for (; count > 0; count--) {
		used->ring[at->index++ % PACKETS_RING_NUM] = (struct vring_used_elem){
			.id = rte_cpu_to_le_32((uint32_t)at->slot * at->ring->parts),
			.len = rte_cpu_to_le_32(written_bytes),
		};
		at->slot = (uint16_t)(at->slot + 1 == at->ring->slots ? 0 : at->slot + 1);
	}
	__atomic_store_n(&used->idx, rte_cpu_to_le_16(at->index), __ATOMIC_RELEASE);
}

static void
use_packed(struct packets_null_ring *at, unsigned int count, uint32_t written_bytes)
{
	struct vring_packed_desc *descs = (struct vring_packed_desc *)at->ring->desc;

	for (; count > 0; count--) {
		struct vring_packed_desc *desc = &descs[at->slot * at->ring->parts];

		desc->id = rte_cpu_to_le_16(at->slot);
		desc->len = rte_cpu_to_le_32(written_bytes);
		__atomic_store_n(&desc->flags, rte_cpu_to_le_16(at->wrap ? AVAIL_MASK | USED_MASK : 0),
				 __ATOMIC_RELEASE);
		if (++at->slot == at->ring->slots) {
			at->slot = 0;
			at->wrap = !at->wrap;
		}
	}
}

static void
use(struct packets_null_ring *at, unsigned int count, uint32_t written_bytes)
{
	if (at->ring->packed)
		use_packed(at, count, written_bytes);
	else
		use_split(at, count, written_bytes);
}

unsigned int
packets_null_poll(struct packets_null *null)
{
	unsigned int pair, packets = 0;

	for (pair = 0; pair < null->pairs; pair++) {
		unsigned int count = available(&null->tx[pair], PACKETS_BURST);

		count = count == 0 ? 0 : available(&null->rx[pair], count);
		if (count == 0)
			continue;
		use(&null->tx[pair], count, 0);
		use(&null->rx[pair], count, null->written_bytes);
		packets += count;
	}
	return packets;
}
