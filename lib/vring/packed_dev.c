/* SPDX-License-Identifier: BSD-3-Clause */
#include <assert.h>
#include <errno.h>

#include "dev.h"
#include "packed.h"

/*
 * Theory of operation: the ring's memory is the driver's to change, so what was
 * read from it is noted: of each chain that was looked at its id and how many
 * descriptors it takes. Chains that were looked at follow the taken ones, in
 * order, and no more descriptors are noted than the ring has; hence no id is noted
 * twice and no place is noted over. How they are given back: packed_give.c.
 */

int
rp_vring_packed_available(struct rp_vring_dev *ring)
{
	uint16_t at = ring->next_avail, left = (uint16_t)(ring->layout.num - ring->out_size);
	bool wrap = ring->avail_wrap;
	int count;

	for (count = 0; count < RP_VRING_PACKED_COUNT_MAX && left > 0; count++) {
		uint16_t flags = vring_load16_acquire(packed_desc_of(ring, at) + offsetof(struct packed_desc, flags));

		if (!packed_is_available(flags, wrap))
			break;
		packed_move(ring->layout.num, &at, &wrap, 1);
		for (left--; (flags & PACKED_DESC_NEXT) != 0 && left > 0; left--) {
			flags = vring_load16(packed_desc_of(ring, at) + offsetof(struct packed_desc, flags));
			packed_move(ring->layout.num, &at, &wrap, 1);
		}
	}
	return count;
}

static int
peek_next(struct rp_vring_dev *ring, struct rp_vring_chain *chain)
{
	struct packed_walk walk = {
		.chain = chain,
		.room = (uint16_t)(ring->layout.num - ring->out_size - ring->peeked_size),
	};
	struct rp_vring_note *notes = ring->layout.notes;
	int rc;

	if (walk.room == 0)
		return 0;
	rc = rp_vring_packed_walk(ring, ring->peek_at, ring->peek_wrap, &walk);
	if (rc != 1)
		return rc;
	if (notes[chain->head].skip != 0)
		return rp_vring_dev_break(ring, "a buffer id is out already");
	notes[chain->head].skip = walk.skip;
	notes[packed_place_of(ring, ring->take_place, ring->peeked_count)].order_id = chain->head;
	packed_move(ring->layout.num, &ring->peek_at, &ring->peek_wrap, walk.skip);
	ring->peeked_count++;
	ring->peeked_size = (uint16_t)(ring->peeked_size + walk.skip);
	return 1;
}

static int
peek_again(struct rp_vring_dev *ring, uint16_t ahead, struct rp_vring_chain *chain)
{
	const struct rp_vring_note *notes = ring->layout.notes;
	struct packed_walk walk = {.chain = chain, .room = ring->layout.num};
	uint16_t at = ring->next_avail, id, i;
	bool wrap = ring->avail_wrap;
	int rc;

	for (i = 0; i < ahead; i++) {
		id = notes[packed_place_of(ring, ring->take_place, i)].order_id;
		packed_move(ring->layout.num, &at, &wrap, notes[id].skip);
	}
	id = notes[packed_place_of(ring, ring->take_place, ahead)].order_id;
	rc = rp_vring_packed_walk(ring, at, wrap, &walk);
	if (rc < 0)
		return rc;
	if (rc == 0 || chain->head != id || walk.skip != notes[id].skip)
		return rp_vring_dev_break(ring, "an available chain changed");
	return 1;
}

int
rp_vring_packed_peek(struct rp_vring_dev *ring, uint16_t ahead, struct rp_vring_chain *ret_chain)
{
	if (ahead < ring->peeked_count)
		return peek_again(ring, ahead, ret_chain);
	while (ring->peeked_count <= ahead) {
		int rc = peek_next(ring, ret_chain);

		if (rc != 1)
			return rc;
	}
	return 1;
}

/* @return how many descriptors the first of the chains that were looked at take. */
static uint16_t
size_of(const struct rp_vring_dev *ring, uint16_t count)
{
	const struct rp_vring_note *notes = ring->layout.notes;
	uint16_t size = 0, i;

	if (count == ring->peeked_count)
		return ring->peeked_size;
	for (i = 0; i < count; i++)
		size = (uint16_t)(size + notes[notes[packed_place_of(ring, ring->take_place, i)].order_id].skip);
	return size;
}

void
rp_vring_packed_advance(struct rp_vring_dev *ring, uint16_t count)
{
	uint16_t size;

	assert(count <= ring->peeked_count);
	size = size_of(ring, count);
	if (ring->shuffled)
		rp_vring_packed_note_taken(ring, ring->take_place, count);
	ring->take_place = packed_place_of(ring, ring->take_place, count);
	ring->out_count = (uint16_t)(ring->out_count + count);
	ring->out_size = (uint16_t)(ring->out_size + size);
	ring->peeked_count = (uint16_t)(ring->peeked_count - count);
	ring->peeked_size = (uint16_t)(ring->peeked_size - size);
	packed_move(ring->layout.num, &ring->next_avail, &ring->avail_wrap, size);
}

bool
rp_vring_packed_is_wanted(const struct rp_vring_dev *ring, uint32_t published_count, bool first)
{
	/* What an owner before us published and did not signal is unknown: as if it were two laps. */
	return packed_is_wanted(vring_load32(ring->avail), ring->event_idx, ring->layout.num, ring->next_used,
				ring->used_wrap, first ? UINT32_MAX : published_count);
}

void
rp_vring_packed_set_notify(struct rp_vring_dev *ring, bool wanted)
{
	vring_store32(ring->used, packed_event(wanted, ring->event_idx, ring->next_avail, ring->avail_wrap));
}

uint32_t
rp_vring_packed_position(const struct rp_vring_dev *ring)
{
	return (uint32_t)packed_place(ring->next_used, ring->used_wrap) << 16 |
	       packed_place(ring->next_avail, ring->avail_wrap);
}
