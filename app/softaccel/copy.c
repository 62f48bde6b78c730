/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdint.h>
#include <string.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include <rte_common.h>

#include "sa_copy.h"

static bool
is_always_there(void)
{
	return true;
}

#if defined(__x86_64__)

/* Two accesses that overlap do for every size between one and two of them. */
static void
copy_up_to_16(uint8_t *to, const uint8_t *from, size_t size_bytes)
{
	uint64_t first, last;
	size_t i;

	if (size_bytes >= sizeof(first)) {
		memcpy(&first, from, sizeof(first));
		memcpy(&last, from + size_bytes - sizeof(last), sizeof(last));
		memcpy(to, &first, sizeof(first));
		memcpy(to + size_bytes - sizeof(last), &last, sizeof(last));
		return;
	}
	for (i = 0; i < size_bytes; i++)
		to[i] = from[i];
}

static void
copy_16_to_32(uint8_t *to, const uint8_t *from, size_t size_bytes)
{
	const __m128i first = _mm_loadu_si128((const __m128i *)from);
	const __m128i last = _mm_loadu_si128((const __m128i *)(from + size_bytes - 16));

	_mm_storeu_si128((__m128i *)to, first);
	_mm_storeu_si128((__m128i *)(to + size_bytes - 16), last);
}

static void
copy_sse(void *to, const void *from, size_t size_bytes)
{
	const uint8_t *source = from;
	uint8_t *target = to;

	for (; size_bytes > 64; size_bytes -= 64, source += 64, target += 64) {
		const __m128i a = _mm_loadu_si128((const __m128i *)source);
		const __m128i b = _mm_loadu_si128((const __m128i *)(source + 16));
		const __m128i c = _mm_loadu_si128((const __m128i *)(source + 32));
		const __m128i d = _mm_loadu_si128((const __m128i *)(source + 48));

		_mm_storeu_si128((__m128i *)target, a);
		_mm_storeu_si128((__m128i *)(target + 16), b);
		_mm_storeu_si128((__m128i *)(target + 32), c);
		_mm_storeu_si128((__m128i *)(target + 48), d);
	}
	for (; size_bytes > 32; size_bytes -= 16, source += 16, target += 16)
		_mm_storeu_si128((__m128i *)target, _mm_loadu_si128((const __m128i *)source));
	if (size_bytes >= 16)
		copy_16_to_32(target, source, size_bytes);
	else
		copy_up_to_16(target, source, size_bytes);
}

#define WITH_AVX2 __attribute__((target("avx2")))
#define WITH_AVX512 __attribute__((target("avx512f")))

WITH_AVX2 static void
copy_32_to_64(uint8_t *to, const uint8_t *from, size_t size_bytes)
{
	const __m256i first = _mm256_loadu_si256((const __m256i *)from);
	const __m256i last = _mm256_loadu_si256((const __m256i *)(from + size_bytes - 32));

	_mm256_storeu_si256((__m256i *)to, first);
	_mm256_storeu_si256((__m256i *)(to + size_bytes - 32), last);
}

/* How far the target is from where stores of that many bytes do not cross a line. */
static size_t
unaligned_bytes(const void *to, size_t store_bytes)
{
	return -(uintptr_t)to & (store_bytes - 1);
}

WITH_AVX2 static void
copy_avx2_long(uint8_t *to, const uint8_t *from, size_t size_bytes)
{
	const __m256i first = _mm256_loadu_si256((const __m256i *)from);
	const __m256i last = _mm256_loadu_si256((const __m256i *)(from + size_bytes - 32));
	uint8_t *last_to = to + size_bytes - 32;
	size_t skip_bytes = unaligned_bytes(to, 32);

	_mm256_storeu_si256((__m256i *)to, first);
	for (to += skip_bytes, from += skip_bytes; to + 64 <= last_to; to += 64, from += 64) {
		const __m256i a = _mm256_loadu_si256((const __m256i *)from);
		const __m256i b = _mm256_loadu_si256((const __m256i *)(from + 32));

		_mm256_store_si256((__m256i *)to, a);
		_mm256_store_si256((__m256i *)(to + 32), b);
	}
	for (; to < last_to; to += 32, from += 32)
		_mm256_store_si256((__m256i *)to, _mm256_loadu_si256((const __m256i *)from));
	_mm256_storeu_si256((__m256i *)last_to, last);
}

WITH_AVX2 static void
copy_avx2(void *to, const void *from, size_t size_bytes)
{
	if (size_bytes > 64)
		copy_avx2_long(to, from, size_bytes);
	else if (size_bytes >= 32)
		copy_32_to_64(to, from, size_bytes);
	else if (size_bytes >= 16)
		copy_16_to_32(to, from, size_bytes);
	else
		copy_up_to_16(to, from, size_bytes);
}

WITH_AVX512 static void
copy_avx512_long(uint8_t *to, const uint8_t *from, size_t size_bytes)
{
	const __m512i first = _mm512_loadu_si512(from);
	const __m512i last = _mm512_loadu_si512(from + size_bytes - 64);
	uint8_t *last_to = to + size_bytes - 64;
	size_t skip_bytes = unaligned_bytes(to, 64);

	_mm512_storeu_si512(to, first);
	for (to += skip_bytes, from += skip_bytes; to + 128 <= last_to; to += 128, from += 128) {
		const __m512i a = _mm512_loadu_si512(from);
		const __m512i b = _mm512_loadu_si512(from + 64);

		_mm512_store_si512(to, a);
		_mm512_store_si512(to + 64, b);
	}
	for (; to < last_to; to += 64, from += 64)
		_mm512_store_si512(to, _mm512_loadu_si512(from));
	_mm512_storeu_si512(last_to, last);
}

WITH_AVX512 static void
copy_avx512(void *to, const void *from, size_t size_bytes)
{
	if (size_bytes > 64)
		copy_avx512_long(to, from, size_bytes);
	else if (size_bytes >= 32)
		copy_32_to_64(to, from, size_bytes);
	else if (size_bytes >= 16)
		copy_16_to_32(to, from, size_bytes);
	else
		copy_up_to_16(to, from, size_bytes);
}

static bool
has_avx2(void)
{
	return __builtin_cpu_supports("avx2");
}

static bool
has_avx512(void)
{
	return __builtin_cpu_supports("avx512f");
}

static const struct sa_copier copiers[] = {
	{.name = "generic", .is_there = is_always_there, .copy = copy_sse},
	{.name = "avx2", .is_there = has_avx2, .copy = copy_avx2},
	{.name = "avx512", .is_there = has_avx512, .copy = copy_avx512},
};

#else

static void
copy_library(void *to, const void *from, size_t size_bytes)
{
	memcpy(to, from, size_bytes);
}

static const struct sa_copier copiers[] = {
	{.name = "generic", .is_there = is_always_there, .copy = copy_library},
};

#endif

const struct sa_copier *
sa_copiers(unsigned int *ret_count)
{
	*ret_count = RTE_DIM(copiers);
	return copiers;
}

const struct sa_copier *
sa_copier_choose(enum softaccel_isa isa)
{
	unsigned int at = isa == SOFTACCEL_ISA_GENERIC ? 0 : RTE_DIM(copiers) - 1;

	while (!copiers[at].is_there())
		at--;
	return &copiers[at];
}
