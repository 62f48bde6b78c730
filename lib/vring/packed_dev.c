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
 * twice and no place is noted over.
 *
 * A used descriptor overwrites what the driver made available there, which may be
 * looked at again until it is taken. So what is filled is noted too, and written
 * when it is published.
 */

static uint16_t
place_of(const struct rp_vring_dev *ring, uint16_t place, uint32_t ahead)
{
	uint32_t at = place + ahead;

	return (uint16_t)(at >= ring->layout.num ? at - ring->layout.num : at);
}

static uint8_t *
desc_of(const struct rp_vring_dev *ring, uint16_t at)
{
	return ring->desc + (size_t)at * sizeof(struct packed_desc);
}

int
rp_vring_packed_available(struct rp_vring_dev *ring)
{
	uint16_t at = ring->next_avail, left = (uint16_t)(ring->layout.num - ring->out_size);
	bool wrap = ring->avail_wrap;
	int count;

	for (count = 0; count < RP_VRING_PACKED_COUNT_MAX && left > 0; count++) {
		uint16_t flags = vring_load16_acquire(desc_of(ring, at) + offsetof(struct packed_desc, flags));

		if (!packed_is_available(flags, wrap))
			break;
		packed_move(ring->layout.num, &at, &wrap, 1);
		for (left--; (flags & PACKED_DESC_NEXT) != 0 && left > 0; left--) {
			flags = vring_load16(desc_of(ring, at) + offsetof(struct packed_desc, flags));
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
	notes[place_of(ring, ring->take_place, ring->peeked_count)].order_id = chain->head;
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
		id = notes[place_of(ring, ring->take_place, i)].order_id;
		packed_move(ring->layout.num, &at, &wrap, notes[id].skip);
	}
	id = notes[place_of(ring, ring->take_place, ahead)].order_id;
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

void
rp_vring_packed_advance(struct rp_vring_dev *ring, uint16_t count)
{
	struct rp_vring_note *notes = ring->layout.notes;
	uint16_t place = ring->take_place, size = 0, i;

	assert(count <= ring->peeked_count);
	for (i = 0; i < count; i++) {
		struct rp_vring_note *note = &notes[notes[place].order_id];

		note->taken = 1;
		size = (uint16_t)(size + note->skip);
		place = place_of(ring, place, 1);
	}
	ring->take_place = place;
	ring->out_count = (uint16_t)(ring->out_count + count);
	ring->out_size = (uint16_t)(ring->out_size + size);
	ring->peeked_count = (uint16_t)(ring->peeked_count - count);
	ring->peeked_size = (uint16_t)(ring->peeked_size - size);
	packed_move(ring->layout.num, &ring->next_avail, &ring->avail_wrap, size);
}

int
rp_vring_packed_fill(struct rp_vring_dev *ring, uint16_t ahead, uint16_t id, uint32_t written_bytes)
{
	struct rp_vring_note *notes = ring->layout.notes;
	struct rp_vring_note *place = &notes[place_of(ring, ring->give_place, ahead)];

	if (notes[id].skip == 0)
		return -EINVAL;
	if (ring->in_order && (ahead >= ring->out_count + ring->peeked_count || place->order_id != id))
		return -EINVAL;
	place->filled_id = id;
	place->filled_bytes = written_bytes;
	return 0;
}

/* All of the entries or none: an id that is not out, or is there twice, is the caller's mistake. */
static int
claim(struct rp_vring_dev *ring, uint16_t count)
{
	struct rp_vring_note *notes = ring->layout.notes;
	uint16_t i;

	for (i = 0; i < count; i++) {
		uint16_t id = notes[place_of(ring, ring->give_place, i)].filled_id;

		if (id == VRING_NO_ID || notes[id].taken == 0)
			break;
		notes[id].taken = 0;
	}
	if (i == count)
		return 0;
	while (i-- > 0)
		notes[notes[place_of(ring, ring->give_place, i)].filled_id].taken = 1;
	return -EINVAL;
}

/* Where the next used descriptor goes; what the ring says is brought up to date when all are written. */
struct giving {
	uint16_t at;
	uint16_t place;
	uint16_t size; /* descriptors of the chains so far */
	bool wrap;
};

/* @return the half behind the address as the driver is to find it. */
static uint64_t
next_used(const struct rp_vring_dev *ring, struct giving *giving)
{
	struct rp_vring_note *notes = ring->layout.notes, *place = &notes[giving->place];
	struct rp_vring_note *note = &notes[place->filled_id];
	uint16_t flags = packed_used_flags(giving->wrap);
	uint64_t meta = place->filled_bytes | (uint64_t)place->filled_id << 32;

	if (place->filled_bytes != 0)
		flags |= PACKED_DESC_WRITE;
	place->filled_id = VRING_NO_ID;
	giving->place = place_of(ring, giving->place, 1);
	giving->size = (uint16_t)(giving->size + note->skip);
	packed_move(ring->layout.num, &giving->at, &giving->wrap, note->skip);
	note->skip = 0;
	return meta | (uint64_t)flags << 48;
}

static void
keep(struct rp_vring_dev *ring, const struct giving *giving, uint16_t count)
{
	ring->next_used = giving->at;
	ring->used_wrap = giving->wrap;
	ring->give_place = giving->place;
	ring->out_count = (uint16_t)(ring->out_count - count);
	ring->out_size = (uint16_t)(ring->out_size - giving->size);
	if (ring->unsignalled_count <= UINT16_MAX)
		ring->unsignalled_count += giving->size;
}

int
rp_vring_packed_publish(struct rp_vring_dev *ring, uint16_t count)
{
	struct giving giving = {.at = ring->next_used, .place = ring->give_place, .wrap = ring->used_wrap};
	uint8_t *first_desc = desc_of(ring, ring->next_used);
	uint64_t first;
	uint16_t i;

	if (claim(ring, count) < 0)
		return -EINVAL;
	if (count == 0)
		return 0;
	first = next_used(ring, &giving);
	for (i = 1; i < count; i++) {
		uint8_t *desc = desc_of(ring, giving.at);

		vring_store64(desc + PACKED_META_AT, next_used(ring, &giving));
	}
	keep(ring, &giving, count);
	/* The driver looks at the others when it has seen these flags, and waits for them where they are. */
	vring_store32(first_desc + offsetof(struct packed_desc, len), (uint32_t)first);
	vring_store16(first_desc + offsetof(struct packed_desc, id), (uint16_t)(first >> 32));
	vring_store16_release(first_desc + offsetof(struct packed_desc, flags), (uint16_t)(first >> 48));
	return 0;
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
