/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>

#include "burst.h"
#include "packed.h"

/*
 * Theory of operation: a used descriptor overwrites what the driver made available there,
 * which may be looked at again until it is taken. So what is filled is noted, and written
 * when it is published.
 *
 * Who gives chains back in the order in which they were taken needs no more than two counts: the
 * first out_count places are out, the first filled_count are filled, and each by the chain whose
 * place it is. Only when a chain is filled in another's place is the ring shuffled: then it is
 * noted of each chain whether it is out, and of each entry who fills it, until nothing is out or
 * peeked at.
 */

void
rp_vring_packed_note_taken(struct rp_vring_dev *ring, uint16_t place, uint16_t count)
{
	struct rp_vring_note *notes = ring->layout.notes;
	uint16_t i;

	for (i = 0; i < count; i++)
		notes[notes[packed_place_of(ring, place, i)].order_id].taken = 1;
}

void
rp_vring_packed_shuffle(struct rp_vring_dev *ring)
{
	uint16_t i;

	if (ring->shuffled)
		return;
	ring->shuffled = true;
	rp_vring_packed_note_taken(ring, ring->give_place, ring->out_count);
	for (i = 0; i < ring->filled_count; i++) {
		struct rp_vring_note *place = &ring->layout.notes[packed_place_of(ring, ring->give_place, i)];

		place->filled_id = place->order_id;
	}
	ring->filled_count = 0;
}

/* In the order in which they were taken. @return how many, from the first on; the others are for a shuffled ring. */
static inline uint16_t
fill_in_turn(struct rp_vring_dev *ring, uint16_t ahead, const struct rp_vring_done *done, uint16_t count)
{
	uint32_t place = (uint32_t)ring->give_place + ahead, num = ring->layout.num, left, i;

	if (ring->shuffled || ahead > ring->filled_count)
		return 0;
	/* What is filled in turn is there. */
	left = (uint32_t)ring->out_count + ring->peeked_count - ahead;
	if (place >= num)
		place -= num;
	for (i = 0; i < count && i < left; i++) {
		struct rp_vring_note *note = &ring->layout.notes[place];

		if (note->order_id != done[i].head)
			break;
		note->filled_bytes = done[i].written_bytes;
		note->filled_id = VRING_NO_ID;
		if (++place == num)
			place = 0;
	}
	if (ahead + i > ring->filled_count)
		ring->filled_count = (uint16_t)(ahead + i);
	return (uint16_t)i;
}

int
rp_vring_packed_fill(struct rp_vring_dev *ring, uint16_t ahead, uint16_t id, uint32_t written_bytes)
{
	struct rp_vring_note *notes = ring->layout.notes;
	struct rp_vring_note *place = &notes[packed_place_of(ring, ring->give_place, ahead)];
	const struct rp_vring_done done = {.head = id, .written_bytes = written_bytes};

	if (fill_in_turn(ring, ahead, &done, 1) == 1)
		return 0;
	if (notes[id].skip == 0)
		return -EINVAL;
	if (ring->in_order && (ahead >= ring->out_count + ring->peeked_count || place->order_id != id))
		return -EINVAL;
	rp_vring_packed_shuffle(ring);
	place->filled_id = id;
	place->filled_bytes = written_bytes;
	return 0;
}

int
rp_vring_packed_fill_burst(struct rp_vring_dev *ring, uint16_t ahead, const struct rp_vring_done *done, uint16_t count)
{
	uint16_t i = fill_in_turn(ring, ahead, done, count);
	int rc = 0;

	for (; rc == 0 && i < count; i++) {
		if (done[i].head >= ring->layout.num)
			return -EINVAL;
		rc = rp_vring_packed_fill(ring, (uint16_t)(ahead + i), done[i].head, done[i].written_bytes);
	}
	return rc;
}

/* All of the entries or none: an id that is not out, or is there twice, is the caller's mistake. */
static int
claim(struct rp_vring_dev *ring, uint16_t count)
{
	struct rp_vring_note *notes = ring->layout.notes;
	uint16_t i;

	for (i = 0; i < count; i++) {
		uint16_t id = notes[packed_place_of(ring, ring->give_place, i)].filled_id;

		if (id == VRING_NO_ID || notes[id].taken == 0)
			break;
		notes[id].taken = 0;
	}
	if (i == count)
		return 0;
	while (i-- > 0)
		notes[notes[packed_place_of(ring, ring->give_place, i)].filled_id].taken = 1;
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
static inline uint64_t
used_meta(uint16_t id, uint32_t written_bytes, uint32_t used_flags)
{
	uint32_t flags = used_flags | (uint32_t)(written_bytes != 0) * PACKED_DESC_WRITE;

	return (uint64_t)(flags << 16 | id) << 32 | written_bytes;
}

/* What the driver is to find last: the first of a burst. */
struct first {
	uint8_t *desc;
	uint64_t meta;
};

static inline struct first
give_first(const struct rp_vring_dev *ring, struct giving *giving)
{
	struct rp_vring_note *notes = ring->layout.notes, *note = &notes[giving->place];
	uint16_t id = ring->shuffled ? note->filled_id : note->order_id;
	struct first first = {
		.desc = packed_desc_of(ring, giving->at),
		.meta = used_meta(id, note->filled_bytes, packed_used_flags(giving->wrap)),
	};

	note->filled_id = VRING_NO_ID;
	giving->place = packed_place_of(ring, giving->place, 1);
	giving->size = notes[id].skip;
	packed_move(ring->layout.num, &giving->at, &giving->wrap, notes[id].skip);
	notes[id].skip = 0;
	return first;
}

/* Used descriptors for as many places. */
static inline __attribute__((always_inline)) void
give(const struct rp_vring_dev *ring, struct giving *giving, uint16_t count, const bool shuffled)
{
	struct rp_vring_note *const notes = ring->layout.notes;
	uint8_t *const descs = ring->desc;
	const uint32_t num = ring->layout.num;
	uint32_t at = giving->at, place = giving->place, flags = packed_used_flags(giving->wrap), size = giving->size;

	for (; count > 0; count--) {
		struct rp_vring_note *note = &notes[place];
		uint16_t id = shuffled ? note->filled_id : note->order_id, skip = notes[id].skip;

		vring_store64(descs + at * sizeof(struct packed_desc) + PACKED_META_AT,
			      used_meta(id, note->filled_bytes, flags));
		if (shuffled)
			note->filled_id = VRING_NO_ID;
		notes[id].skip = 0;
		place = place + 1 == num ? 0 : place + 1;
		size += skip;
		at += skip;
		if (__builtin_expect(at >= num, 0)) {
			at -= num;
			flags ^= PACKED_DESC_AVAIL | PACKED_DESC_USED;
		}
	}
	*giving = (struct giving){(uint16_t)at, (uint16_t)place, (uint16_t)size, flags != 0};
}

static void
give_shuffled(const struct rp_vring_dev *ring, struct giving *giving, uint16_t count)
{
	give(ring, giving, count, true);
}

static void
give_in_turn(const struct rp_vring_dev *ring, struct giving *giving, uint16_t count)
{
	give(ring, giving, count, false);
}

static inline uint16_t
lesser(uint16_t a, uint16_t b)
{
	return a < b ? a : b;
}

/* In turn, of chains of one descriptor each: up to the end of the ring, or of the notes. */
static void
give_singles(const struct rp_vring_dev *ring, struct giving *giving, uint16_t count)
{
	struct rp_vring_note *const notes = ring->layout.notes;
	const uint16_t num = ring->layout.num;

	while (count > 0) {
		uint16_t some = lesser(count, lesser((uint16_t)(num - giving->at), (uint16_t)(num - giving->place)));
		const struct rp_vring_note *note = &notes[giving->place], *end = note + some;
		const uint32_t flags = packed_used_flags(giving->wrap);
		uint8_t *desc = packed_desc_of(ring, giving->at);

		for (; note < end; note++, desc += sizeof(struct packed_desc)) {
			vring_store64(desc + PACKED_META_AT, used_meta(note->order_id, note->filled_bytes, flags));
			notes[note->order_id].skip = 0;
		}
		giving->place = packed_place_of(ring, giving->place, some);
		giving->size = (uint16_t)(giving->size + some);
		packed_move(num, &giving->at, &giving->wrap, some);
		count = (uint16_t)(count - some);
	}
}

static void
keep(struct rp_vring_dev *ring, const struct giving *giving, uint16_t count)
{
	ring->next_used = giving->at;
	ring->used_wrap = giving->wrap;
	ring->give_place = giving->place;
	ring->out_count = (uint16_t)(ring->out_count - count);
	ring->out_size = (uint16_t)(ring->out_size - giving->size);
	if (ring->shuffled)
		ring->shuffled = ring->out_count + ring->peeked_count > 0;
	else
		ring->filled_count = (uint16_t)(ring->filled_count - count);
	if (ring->unsignalled_count <= UINT16_MAX)
		ring->unsignalled_count += giving->size;
}

int
rp_vring_packed_publish(struct rp_vring_dev *ring, uint16_t count)
{
	struct giving giving = {.at = ring->next_used, .place = ring->give_place, .wrap = ring->used_wrap};
	struct first first;

	if (count > ring->filled_count || count > ring->out_count) {
		rp_vring_packed_shuffle(ring);
		if (claim(ring, count) < 0)
			return -EINVAL;
	}
	if (count == 0)
		return 0;
	first = give_first(ring, &giving);
	if (ring->shuffled)
		give_shuffled(ring, &giving, (uint16_t)(count - 1));
	else if (ring->out_size == ring->out_count)
		give_singles(ring, &giving, (uint16_t)(count - 1));
	else
		give_in_turn(ring, &giving, (uint16_t)(count - 1));
	keep(ring, &giving, count);
	/* The driver looks at the others when it has seen these flags, and waits for them where they are. */
	vring_store32(first.desc + offsetof(struct packed_desc, len), burst_len(first.meta));
	vring_store16(first.desc + offsetof(struct packed_desc, id), burst_third(first.meta));
	vring_store16_release(first.desc + offsetof(struct packed_desc, flags), burst_fourth(first.meta));
	return 0;
}
