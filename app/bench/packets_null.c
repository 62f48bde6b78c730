/* SPDX-License-Identifier: BSD-3-Clause */
#include <string.h>

#include <linux/virtio_ring.h>
#include <rte_byteorder.h>
#include <rte_common.h>

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
packets_null_open(struct packets_null *null, struct packets_side *side, bool copies)
{
	unsigned int pair;

	side->no_switch = true;
	side->no_device = !copies;
	null->copies = copies;
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

/* Lines of the packets that are to be copied are asked for so far ahead, which is best here. */
#define AHEAD 4u

static uint8_t *
packet_at(const struct packets_null_ring *at, unsigned int ahead)
{
	unsigned int slot = at->slot + ahead;

	return packets_ring_buffer(at->ring, (uint16_t)(slot >= at->ring->slots ? slot - at->ring->slots : slot));
}

static void
want(const uint8_t *from, const uint8_t *to, uint32_t bytes)
{
	uint32_t line;

	/* The header's, which is there already as a rule. */
	__builtin_prefetch(to);
	for (line = PACKETS_FRAME_AT; line < PACKETS_FRAME_AT + bytes; line += RTE_CACHE_LINE_SIZE) {
		__builtin_prefetch(from + line);
		packets_ring_want_line(to + line);
	}
}

static void
copy(const struct packets_null *null, unsigned int pair, unsigned int count)
{
	static const uint8_t header[PACKETS_NET_HEADER_BYTES] = {[PACKETS_NET_HEADER_BYTES - 2] = 1}; /* buffers */
	const struct packets_null_ring *from = &null->tx[pair], *to = &null->rx[pair];
	uint32_t frame_bytes = null->written_bytes - PACKETS_NET_HEADER_BYTES;
	uint8_t *target;
	unsigned int i;

	for (i = 0; i < RTE_MIN(count, AHEAD); i++)
		want(packet_at(from, i), packet_at(to, i), frame_bytes);
	for (i = 0; i < count; i++) {
		if (i + AHEAD < count)
			want(packet_at(from, i + AHEAD), packet_at(to, i + AHEAD), frame_bytes);
		target = packet_at(to, i) + PACKETS_FRAME_AT;
		if (memcmp(target - sizeof(header), header, sizeof(header)) != 0)
			memcpy(target - sizeof(header), header, sizeof(header));
		memcpy(target, packet_at(from, i) + PACKETS_FRAME_AT, frame_bytes);
	}
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
		if (null->copies)
			copy(null, pair, count);
		use(&null->tx[pair], count, 0);
		use(&null->rx[pair], count, null->written_bytes);
		packets += count;
	}
	return packets;
}
