/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef RP_VRING_PACKED_H
#define RP_VRING_PACKED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ring.h"
#include "rp_vring_dev.h"

/**
 * @file
 * The packed virtqueue in memory (virtio 1.2, 2.8), shared by both sides: where
 * each field lies, and how far one place of the ring is from another.
 *
 * Threads: no state.
 */

/* 2.8.13: struct pvirtq_desc, and 2.8.1, 2.8.3, 2.8.6, 2.8.7 */
#define PACKED_DESC_NEXT 0x1u
#define PACKED_DESC_WRITE 0x2u
#define PACKED_DESC_INDIRECT 0x4u
#define PACKED_DESC_AVAIL 0x80u
#define PACKED_DESC_USED 0x8000u

struct packed_desc {
	uint64_t addr;
	uint32_t len;
	uint16_t id;
	uint16_t flags;
};
_Static_assert(sizeof(struct packed_desc) == 16, "virtio 1.2, 2.8.13");
_Static_assert(offsetof(struct packed_desc, len) == 8, "virtio 1.2, 2.8.13");
_Static_assert(offsetof(struct packed_desc, id) == 12, "virtio 1.2, 2.8.13");
_Static_assert(offsetof(struct packed_desc, flags) == 14, "virtio 1.2, 2.8.13");

#define PACKED_META_AT 8u /* length, id and flags: what a used descriptor has, and one access has all of it */

/* 2.8.14: the place in the lower half of 32 bits, the flags in the upper half, so that one access has both. */
#define PACKED_EVENT_BYTES 4u
#define PACKED_EVENT_ENABLE 0x0u
#define PACKED_EVENT_DISABLE 0x1u
#define PACKED_EVENT_DESC 0x2u
#define PACKED_EVENT_FLAGS_MASK 0x3u
#define PACKED_EVENT_FLAGS_AT 16

#define PACKED_DESC_ALIGN_BYTES 16u /* 2.8.10.1 */
#define PACKED_EVENT_ALIGN_BYTES 4u

#define PACKED_WRAP_AT 15 /* of a place in 16 bits: the descriptor, then its wrap counter */
#define PACKED_PLACE_MASK 0x7fffu

static inline bool
packed_num_valid(uint16_t num)
{
	return num != 0 && num <= RP_VRING_NUM_MAX;
}

/** Go `count` descriptors on, at most once around. */
static inline void
packed_move(uint16_t num, uint16_t *at, bool *wrap, uint16_t count)
{
	uint32_t next = (uint32_t)*at + count;

	if (next >= num) {
		next -= num;
		*wrap = !*wrap;
	}
	*at = (uint16_t)next;
}

static inline uint16_t
packed_place(uint16_t at, bool wrap)
{
	return (uint16_t)(at | (uint16_t)wrap << PACKED_WRAP_AT);
}

/** The place of a note so many after another. */
static inline uint16_t
packed_place_of(const struct rp_vring_dev *ring, uint16_t place, uint32_t ahead)
{
	uint32_t at = place + ahead;

	return (uint16_t)(at >= ring->layout.num ? at - ring->layout.num : at);
}

static inline uint8_t *
packed_desc_of(const struct rp_vring_dev *ring, uint16_t at)
{
	return ring->desc + (size_t)at * sizeof(struct packed_desc);
}

/** 2.8.1 */
static inline bool
packed_is_available(uint16_t flags, bool wrap)
{
	return ((flags & PACKED_DESC_AVAIL) != 0) == wrap && ((flags & PACKED_DESC_USED) != 0) != wrap;
}

static inline bool
packed_is_used(uint16_t flags, bool wrap)
{
	return ((flags & PACKED_DESC_AVAIL) != 0) == wrap && ((flags & PACKED_DESC_USED) != 0) == wrap;
}

static inline uint16_t
packed_available_flags(bool wrap)
{
	return wrap ? PACKED_DESC_AVAIL : PACKED_DESC_USED;
}

static inline uint16_t
packed_used_flags(bool wrap)
{
	return wrap ? PACKED_DESC_AVAIL | PACKED_DESC_USED : 0;
}

/**
 * 2.8.10: whether the other side wants to hear of the `done_count` descriptors that
 * end before `at`. What it may not write says yes: a wake-up too many harms nobody.
 */
static inline bool
packed_is_wanted(uint32_t event, bool event_idx, uint16_t num, uint16_t at, bool wrap, uint32_t done_count)
{
	uint32_t flags = event >> PACKED_EVENT_FLAGS_AT & PACKED_EVENT_FLAGS_MASK;
	uint32_t event_at = event & PACKED_PLACE_MASK, laps = 2u * num, back;
	bool event_wrap = (event >> PACKED_WRAP_AT & 1) != 0;

	if (flags == PACKED_EVENT_DISABLE)
		return false;
	if (flags != PACKED_EVENT_DESC || !event_idx || event_at >= num)
		return true;
	/* A place is the same again after two laps; how far back it was last. */
	back = (at + laps - event_at + (event_wrap == wrap ? 0 : num)) % laps;
	return (back == 0 ? laps : back) <= done_count;
}

/** What to write for a wish: this place, all, or none. */
static inline uint32_t
packed_event(bool wanted, bool event_idx, uint16_t at, bool wrap)
{
	if (!wanted)
		return PACKED_EVENT_DISABLE << PACKED_EVENT_FLAGS_AT;
	if (!event_idx)
		return PACKED_EVENT_ENABLE << PACKED_EVENT_FLAGS_AT;
	return PACKED_EVENT_DESC << PACKED_EVENT_FLAGS_AT | packed_place(at, wrap);
}

#endif
