/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef RP_VRING_SPLIT_H
#define RP_VRING_SPLIT_H

#include <endian.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "rp_vring_dev.h"

/**
 * @file
 * The split virtqueue in memory (virtio 1.2, 2.7), shared by both sides: where
 * each field lies, and accesses of exactly one load or store, because the other
 * side may change the memory at any time.
 *
 * Threads: no state.
 */

#define SPLIT_INDIRECT_DESC_MASK (UINT64_C(1) << 28) /* VIRTIO_F_INDIRECT_DESC */
#define SPLIT_EVENT_IDX_MASK (UINT64_C(1) << 29) /* VIRTIO_F_EVENT_IDX */

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
	return split_used_event_at(num) + ((features & SPLIT_EVENT_IDX_MASK) != 0 ? SPLIT_EVENT_BYTES : 0);
}

static inline size_t
split_used_bytes(uint16_t num, uint64_t features)
{
	return split_avail_event_at(num) + ((features & SPLIT_EVENT_IDX_MASK) != 0 ? SPLIT_EVENT_BYTES : 0);
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

static inline uint16_t
split_load16(const uint8_t *at)
{
	return le16toh(__atomic_load_n((const uint16_t *)(const void *)at, __ATOMIC_RELAXED));
}

/** An index: what it announces is read after it. */
static inline uint16_t
split_load16_acquire(const uint8_t *at)
{
	return le16toh(__atomic_load_n((const uint16_t *)(const void *)at, __ATOMIC_ACQUIRE));
}

static inline uint32_t
split_load32(const uint8_t *at)
{
	return le32toh(__atomic_load_n((const uint32_t *)(const void *)at, __ATOMIC_RELAXED));
}

static inline uint64_t
split_load64(const uint8_t *at)
{
	return le64toh(__atomic_load_n((const uint64_t *)(const void *)at, __ATOMIC_RELAXED));
}

static inline void
split_store16(uint8_t *at, uint16_t value)
{
	__atomic_store_n((uint16_t *)(void *)at, htole16(value), __ATOMIC_RELAXED);
}

/** An index: what it announces is written before it. */
static inline void
split_store16_release(uint8_t *at, uint16_t value)
{
	__atomic_store_n((uint16_t *)(void *)at, htole16(value), __ATOMIC_RELEASE);
}

static inline void
split_store32(uint8_t *at, uint32_t value)
{
	__atomic_store_n((uint32_t *)(void *)at, htole32(value), __ATOMIC_RELAXED);
}

static inline void
split_store64(uint8_t *at, uint64_t value)
{
	__atomic_store_n((uint64_t *)(void *)at, htole64(value), __ATOMIC_RELAXED);
}

/*
 * gcc warns that its thread sanitizer does not model fences. Data is ordered by
 * acquire and release above; the fence only orders a store before a load of the
 * other side's wish, which no sanitizer needs to see.
 */
#if defined(__SANITIZE_THREAD__) && !defined(__clang__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wtsan"
#endif

/** Between announcing and asking whether the other side sleeps. */
static inline void
split_full_fence(void)
{
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
}

#if defined(__SANITIZE_THREAD__) && !defined(__clang__)
#pragma GCC diagnostic pop
#endif

/** Mark a ring broken. @return -EBADMSG. */
int rp_vring_split_break(struct rp_vring_dev *ring, const char *why);

/** Follow a chain from its head; the ring's parts are translated. @return 0 or -EBADMSG (ring broken). */
int rp_vring_split_walk(struct rp_vring_dev *ring, uint16_t head, struct rp_vring_chain *ret_chain);

#endif
