/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef RP_VRING_SPLIT_H
#define RP_VRING_SPLIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ring.h"
#include "rp_vring_dev.h"

/**
 * @file
 * The split virtqueue in memory (virtio 1.2, 2.7), shared by both sides: where
 * each field lies.
 *
 * Threads: no state.
 */

/* 2.7.5: struct virtq_desc */
#define SPLIT_DESC_NEXT 0x1u
#define SPLIT_DESC_WRITE 0x2u
#define SPLIT_DESC_INDIRECT 0x4u

struct split_desc {
	uint64_t addr;
	uint32_t len;
	uint16_t flags;
	uint16_t next;
};
_Static_assert(sizeof(struct split_desc) == 16, "virtio 1.2, 2.7.5");
_Static_assert(offsetof(struct split_desc, len) == 8, "virtio 1.2, 2.7.5");
_Static_assert(offsetof(struct split_desc, flags) == 12, "virtio 1.2, 2.7.5");
_Static_assert(offsetof(struct split_desc, next) == 14, "virtio 1.2, 2.7.5");

/* 2.7.6 and 2.7.8: both rings begin with flags and an index; an event index follows the entries. */
#define SPLIT_FLAGS_AT 0u
#define SPLIT_INDEX_AT 2u
#define SPLIT_ENTRIES_AT 4u
#define SPLIT_AVAIL_BYTES 2u /* of an entry */
#define SPLIT_USED_BYTES 8u
#define SPLIT_USED_LEN_AT 4u /* in an entry, after its id */
#define SPLIT_NO_INTERRUPT 0x1u /* 2.7.6, in the available ring's flags */
#define SPLIT_NO_NOTIFY 0x1u /* 2.7.8, in the used ring's flags */
#define SPLIT_EVENT_BYTES 2u
#define SPLIT_DESC_ALIGN_BYTES 16u /* 2.7 */
#define SPLIT_AVAIL_ALIGN_BYTES 2u
#define SPLIT_USED_ALIGN_BYTES 4u

static inline bool
split_num_valid(uint16_t num)
{
	return num != 0 && num <= RP_VRING_NUM_MAX && (num & (num - 1)) == 0;
}

/** How many of `count` entries come before the ring begins anew. */
static inline uint16_t
split_run(uint16_t slot, uint16_t num, uint16_t count)
{
	return count < num - slot ? count : (uint16_t)(num - slot);
}

static inline size_t
split_desc_bytes(uint16_t num)
{
	return (size_t)num * sizeof(struct split_desc);
}

static inline size_t
split_used_event_at(uint16_t num)
{
	return SPLIT_ENTRIES_AT + (size_t)num * SPLIT_AVAIL_BYTES;
}

static inline size_t
split_avail_event_at(uint16_t num)
{
	return SPLIT_ENTRIES_AT + (size_t)num * SPLIT_USED_BYTES;
}

static inline size_t
split_avail_bytes(uint16_t num, uint64_t features)
{
	return split_used_event_at(num) + (vring_has_events(features) ? SPLIT_EVENT_BYTES : 0);
}

static inline size_t
split_used_bytes(uint16_t num, uint64_t features)
{
	return split_avail_event_at(num) + (vring_has_events(features) ? SPLIT_EVENT_BYTES : 0);
}

/**
 * 2.7.7.1 and 2.7.10.1: whether `event` is among the `added_count` entries that
 * end at `next`. The count, not the old index, so that 65536 or more cannot look
 * like none.
 */
static inline bool
split_event_passed(uint16_t event, uint16_t next, uint32_t added_count)
{
	return (uint16_t)(next - event - 1) < added_count;
}

#endif
