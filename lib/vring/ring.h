/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef RP_VRING_RING_H
#define RP_VRING_RING_H

#include <endian.h>
#include <stdbool.h>
#include <stdint.h>

/**
 * @file
 * What both formats and both sides share: features, and accesses of exactly one
 * load or store, because the other side may change the memory at any time.
 *
 * Threads: no state.
 */

#define VRING_INDIRECT_DESC_MASK (UINT64_C(1) << 28) /* VIRTIO_F_INDIRECT_DESC */
#define VRING_EVENT_IDX_MASK (UINT64_C(1) << 29) /* VIRTIO_F_EVENT_IDX */
#define VRING_PACKED_MASK (UINT64_C(1) << 34) /* VIRTIO_F_RING_PACKED */
#define VRING_IN_ORDER_MASK (UINT64_C(1) << 35) /* VIRTIO_F_IN_ORDER */

/* No head and no buffer id: both are below 32768. */
#define VRING_NO_ID UINT16_MAX

static inline bool
vring_is_packed(uint64_t features)
{
	return (features & VRING_PACKED_MASK) != 0;
}

static inline bool
vring_is_in_order(uint64_t features)
{
	return (features & VRING_IN_ORDER_MASK) != 0;
}

static inline bool
vring_has_events(uint64_t features)
{
	return (features & VRING_EVENT_IDX_MASK) != 0;
}

static inline uint16_t
vring_load16(const uint8_t *at)
{
	return le16toh(__atomic_load_n((const uint16_t *)(const void *)at, __ATOMIC_RELAXED));
}

/** An index: what it announces is read after it. */
static inline uint16_t
vring_load16_acquire(const uint8_t *at)
{
	return le16toh(__atomic_load_n((const uint16_t *)(const void *)at, __ATOMIC_ACQUIRE));
}

static inline uint32_t
vring_load32(const uint8_t *at)
{
	return le32toh(__atomic_load_n((const uint32_t *)(const void *)at, __ATOMIC_RELAXED));
}

static inline uint64_t
vring_load64(const uint8_t *at)
{
	return le64toh(__atomic_load_n((const uint64_t *)(const void *)at, __ATOMIC_RELAXED));
}

/** Half a packed descriptor with its flags: the other half is read after it. */
static inline uint64_t
vring_load64_acquire(const uint8_t *at)
{
	return le64toh(__atomic_load_n((const uint64_t *)(const void *)at, __ATOMIC_ACQUIRE));
}

static inline void
vring_store16(uint8_t *at, uint16_t value)
{
	__atomic_store_n((uint16_t *)(void *)at, htole16(value), __ATOMIC_RELAXED);
}

/** An index: what it announces is written before it. */
static inline void
vring_store16_release(uint8_t *at, uint16_t value)
{
	__atomic_store_n((uint16_t *)(void *)at, htole16(value), __ATOMIC_RELEASE);
}

static inline void
vring_store32(uint8_t *at, uint32_t value)
{
	__atomic_store_n((uint32_t *)(void *)at, htole32(value), __ATOMIC_RELAXED);
}

static inline void
vring_store64(uint8_t *at, uint64_t value)
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
vring_full_fence(void)
{
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
}

#if defined(__SANITIZE_THREAD__) && !defined(__clang__)
#pragma GCC diagnostic pop
#endif

#endif
