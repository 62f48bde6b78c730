/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFU_STREAM_H
#define VFU_STREAM_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

/*
 * Copying into and out of memory that the other end reads or wrote, in large pieces.
 *
 * What the other CPU reads next is written past our cache, where it would have to be
 * fetched from line by line: measured between CPUs that share no cache, 2 GB/s without
 * and 20 with; near ones lose a third, and wait for other things. What we read is
 * stored in whole lines: memcpy(3) takes an instruction for it that some CPUs are half as
 * fast with where the two addresses do not suit each other.
 */

#define RP_VFU_STREAM_BYTES 64u /* a cache line */

/* Of the start: what does not belong to a whole line. @return how many bytes. */
static inline size_t
rp_vfu_stream_head(uint8_t *ret_bytes, const uint8_t *bytes, size_t count_bytes)
{
	size_t head_bytes = (size_t) - (uintptr_t)ret_bytes % RP_VFU_STREAM_BYTES;

	if (head_bytes > count_bytes)
		head_bytes = count_bytes;
	memcpy(ret_bytes, bytes, head_bytes);
	return head_bytes;
}

/* For the other end, which may be told when it returns. */
static inline void
rp_vfu_stream_out(uint8_t *ret_bytes, const uint8_t *bytes, size_t count_bytes)
{
	size_t at = rp_vfu_stream_head(ret_bytes, bytes, count_bytes);

#ifdef __SSE2__
	for (; count_bytes - at >= RP_VFU_STREAM_BYTES; at += RP_VFU_STREAM_BYTES) {
		const __m128i *from = (const __m128i *)(const void *)(bytes + at);
		__m128i *to = (__m128i *)(void *)(ret_bytes + at);
		__m128i a = _mm_loadu_si128(from), b = _mm_loadu_si128(from + 1);
		__m128i c = _mm_loadu_si128(from + 2), d = _mm_loadu_si128(from + 3);

		_mm_stream_si128(to, a);
		_mm_stream_si128(to + 1, b);
		_mm_stream_si128(to + 2, c);
		_mm_stream_si128(to + 3, d);
	}
	_mm_sfence();
#endif
	memcpy(ret_bytes + at, bytes + at, count_bytes - at);
}

/* From the other end. */
static inline void
rp_vfu_stream_in(uint8_t *ret_bytes, const uint8_t *bytes, size_t count_bytes)
{
	size_t at = rp_vfu_stream_head(ret_bytes, bytes, count_bytes);

#ifdef __SSE2__
	for (; count_bytes - at >= RP_VFU_STREAM_BYTES; at += RP_VFU_STREAM_BYTES) {
		const __m128i *from = (const __m128i *)(const void *)(bytes + at);
		__m128i *to = (__m128i *)(void *)(ret_bytes + at);
		__m128i a = _mm_loadu_si128(from), b = _mm_loadu_si128(from + 1);
		__m128i c = _mm_loadu_si128(from + 2), d = _mm_loadu_si128(from + 3);

		_mm_store_si128(to, a);
		_mm_store_si128(to + 1, b);
		_mm_store_si128(to + 2, c);
		_mm_store_si128(to + 3, d);
		/* Or the compiler knows better, and makes it a memcpy(3). */
		__asm__ volatile("" ::: "memory");
	}
#endif
	memcpy(ret_bytes + at, bytes + at, count_bytes - at);
}

#endif
