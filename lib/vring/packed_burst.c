/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>

#include "burst.h"
#include "packed.h"

/* Where chains are looked at; what the ring says is brought up to date once, at the end. */
struct look {
	const uint8_t *descs;
	struct rp_vring_note *notes;
	uint16_t num;
	uint16_t at;
	uint16_t room; /* descriptors that may be available */
	uint16_t place; /* in the notes */
	bool wrap;
};

static inline void
move(struct look *look, uint16_t descs_count)
{
	packed_move(look->num, &look->at, &look->wrap, descs_count);
	look->room = (uint16_t)(look->room - descs_count);
}

/* A list after its first descriptor. @return how many descriptors it takes, 0: it is not plain. */
static uint16_t
look_at_list(struct burst *burst, const struct look *look, uint64_t iova, uint64_t meta,
	     struct rp_vring_burst_chain *chain)
{
	uint16_t at = look->at, skip = 0, flags = burst_fourth(meta);
	bool wrap = look->wrap;

	burst_chain_start(chain);
	for (;;) {
		const uint8_t *desc;

		if ((flags & PACKED_DESC_INDIRECT) != 0 ||
		    !rp_vring_burst_add(burst, chain, iova, burst_len(meta), (flags & PACKED_DESC_WRITE) != 0))
			return 0;
		skip++;
		if ((flags & PACKED_DESC_NEXT) == 0)
			break;
		if (skip == look->room)
			return 0;
		packed_move(look->num, &at, &wrap, 1);
		desc = look->descs + (size_t)at * sizeof(struct packed_desc);
		meta = vring_load64(desc + BURST_META_AT);
		iova = vring_load64(desc);
		flags = burst_fourth(meta);
		if (!packed_is_available(flags, wrap))
			return 0;
	}
	chain->head = burst_third(meta);
	burst->pieces_count += (uint32_t)chain->out_count + chain->in_count;
	return skip;
}

/* @return how many descriptors the chain takes; 0: it is not plain, or there is none. */
static inline uint16_t
look_at_chain(struct burst *burst, const struct look *look, struct rp_vring_burst_chain *chain)
{
	const uint8_t *desc = look->descs + (size_t)look->at * sizeof(struct packed_desc);
	uint64_t meta, iova;
	uint16_t flags;

	if (look->room == 0) {
		burst->odd = false;
		return 0;
	}
#if defined(__SANITIZE_THREAD__)
	/* It knows what is released and acquired by address: the driver's store is of the flags alone. */
	(void)vring_load16_acquire(desc + offsetof(struct packed_desc, flags));
#endif
	meta = vring_load64_acquire(desc + BURST_META_AT);
	flags = burst_fourth(meta);
	if (!packed_is_available(flags, look->wrap)) {
		burst->odd = false;
		return 0;
	}
	iova = vring_load64(desc);
	if (__builtin_expect((flags & (PACKED_DESC_NEXT | PACKED_DESC_INDIRECT)) != 0, 0))
		return look_at_list(burst, look, iova, meta, chain);
	chain->head = burst_third(meta);
	return burst_single(burst, chain, iova, burst_len(meta), (flags & PACKED_DESC_WRITE) != 0);
}

/* Take note of a chain; of one that was looked at before the note must say the same. @return whether it is plain. */
static inline bool
note_chain(struct look *look, const struct rp_vring_burst_chain *chain, uint16_t skip, bool again)
{
	struct rp_vring_note *note;

	if (chain->head >= look->num)
		return false;
	note = &look->notes[chain->head];
	if (__builtin_expect(again, 0)) {
		if (note->skip != skip || look->notes[look->place].order_id != chain->head)
			return false;
	} else {
		if (note->skip != 0)
			return false;
		note->skip = skip;
		look->notes[look->place].order_id = chain->head;
	}
	look->place = (uint16_t)(look->place + 1 == look->num ? 0 : look->place + 1);
	move(look, skip);
	return true;
}

/* From the first chain that was not taken. */
static void
look_from(struct look *look, const struct rp_vring_dev *ring, uint16_t ahead)
{
	*look = (struct look){
		.descs = ring->desc,
		.notes = ring->layout.notes,
		.num = ring->layout.num,
		.at = ring->next_avail,
		.room = (uint16_t)(ring->layout.num - ring->out_size),
		.place = ring->take_place,
		.wrap = ring->avail_wrap,
	};
	if (ahead == ring->peeked_count) {
		look->place = (uint16_t)((look->place + ahead) % look->num);
		look->at = ring->peek_at;
		look->wrap = ring->peek_wrap;
		look->room = (uint16_t)(look->room - ring->peeked_size);
		return;
	}
	for (; ahead > 0; ahead--) {
		move(look, look->notes[look->notes[look->place].order_id].skip);
		look->place = (uint16_t)(look->place + 1 == look->num ? 0 : look->place + 1);
	}
}

/* What is new of it. */
static void
keep(struct rp_vring_dev *ring, const struct look *look, uint16_t peeked_count)
{
	if (peeked_count <= ring->peeked_count)
		return;
	ring->peeked_count = peeked_count;
	ring->peeked_size = (uint16_t)(look->num - ring->out_size - look->room);
	ring->peek_at = look->at;
	ring->peek_wrap = look->wrap;
}

uint16_t
rp_vring_packed_burst(struct burst *burst, uint16_t ahead, struct rp_vring_burst_chain *ret_chains, uint16_t max_count)
{
	struct rp_vring_dev *ring = burst->ring;
	struct look look;
	uint16_t i;

	burst->odd = true;
	/* Those between must be looked at first. */
	if (ahead > ring->peeked_count)
		return 0;
	look_from(&look, ring, ahead);
	for (i = 0; i < max_count; i++) {
		bool again = ahead + i < ring->peeked_count;
		uint16_t skip = look_at_chain(burst, &look, &ret_chains[i]);

		if (skip == 0 || !note_chain(&look, &ret_chains[i], skip, again)) {
			/* One that was there is not gone. */
			burst->odd |= again;
			break;
		}
	}
	keep(ring, &look, (uint16_t)(ahead + i));
	return i;
}

int
rp_vring_packed_fill_burst(struct rp_vring_dev *ring, uint16_t ahead, const struct rp_vring_done *done, uint16_t count)
{
	struct rp_vring_note *notes = ring->layout.notes;
	uint16_t num = ring->layout.num, i;
	uint32_t place = (uint32_t)ring->give_place + ahead;

	if (place >= num)
		place -= num;
	for (i = 0; i < count; i++) {
		if (done[i].head >= num || notes[done[i].head].skip == 0)
			return -EINVAL;
		notes[place].filled_id = done[i].head;
		notes[place].filled_bytes = done[i].written_bytes;
		if (++place == num)
			place = 0;
	}
	return 0;
}
