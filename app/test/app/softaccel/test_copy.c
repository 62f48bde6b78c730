/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "sa_copy.h"
#include "test_support.h"

/* Every function that this processor can run, at every size of a frame's piece and every alignment. */

#define SIZE_MAX_BYTES 2100u
#define GUARD_BYTES 64u
#define ALIGNMENTS 64u

static struct {
	uint8_t *source; /* SIZE_MAX_BYTES, then a page that cannot be touched */
	uint8_t *target;
	uint8_t room[ALIGNMENTS + 2 * GUARD_BYTES + SIZE_MAX_BYTES];
} memory;

/* Ends where a page begins that nobody may read or write. */
static uint8_t *
bytes_before_a_hole(size_t size_bytes)
{
	size_t page_bytes = (size_t)sysconf(_SC_PAGESIZE), pages_bytes = (size_bytes / page_bytes + 2) * page_bytes;
	uint8_t *pages = mmap(NULL, pages_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	assert_ptr_not_equal(pages, MAP_FAILED);
	assert_int_equal(mprotect(pages + pages_bytes - page_bytes, page_bytes, PROT_NONE), 0);
	return pages + pages_bytes - page_bytes - size_bytes;
}

static int
setup(void **state)
{
	size_t i;

	(void)state;
	memory.source = bytes_before_a_hole(SIZE_MAX_BYTES);
	memory.target = bytes_before_a_hole(SIZE_MAX_BYTES);
	for (i = 0; i < SIZE_MAX_BYTES; i++)
		memory.source[i] = (uint8_t)(i * 7 + i / 256 + 1);
	return 0;
}

static void
check_one(sa_copy_fn copy, size_t size_bytes, size_t to_offset, size_t from_offset)
{
	uint8_t *to = memory.room + GUARD_BYTES + to_offset;
	const uint8_t *from = memory.source + from_offset;
	size_t i;

	memset(to - GUARD_BYTES, 0xee, size_bytes + 2 * GUARD_BYTES);
	copy(to, from, size_bytes);
	assert_memory_equal(to, from, size_bytes);
	for (i = 0; i < GUARD_BYTES; i++) {
		assert_int_equal(to[-1 - (ssize_t)i], 0xee);
		assert_int_equal(to[size_bytes + i], 0xee);
	}
}

static void
every_size_and_alignment(void **state)
{
	unsigned int count, i;
	const struct sa_copier *copiers = sa_copiers(&count);
	size_t size_bytes, offset;

	(void)state;
	for (i = 0; i < count; i++) {
		if (!copiers[i].is_there())
			continue;
		for (size_bytes = 0; size_bytes <= SIZE_MAX_BYTES - ALIGNMENTS; size_bytes++) {
			check_one(copiers[i].copy, size_bytes, size_bytes % ALIGNMENTS, 0);
			check_one(copiers[i].copy, size_bytes, 12, size_bytes % ALIGNMENTS);
		}
		for (offset = 0; offset < ALIGNMENTS; offset++) {
			check_one(copiers[i].copy, 1518, offset, ALIGNMENTS - 1 - offset);
			check_one(copiers[i].copy, 76, offset, (offset * 5) % ALIGNMENTS);
		}
	}
}

/* Beside a buffer there may be nothing. */
static void
nothing_beyond_the_end(void **state)
{
	unsigned int count, i;
	const struct sa_copier *copiers = sa_copiers(&count);
	size_t size_bytes;

	(void)state;
	for (i = 0; i < count; i++) {
		if (!copiers[i].is_there())
			continue;
		for (size_bytes = 0; size_bytes <= SIZE_MAX_BYTES; size_bytes++) {
			uint8_t *to = memory.target + SIZE_MAX_BYTES - size_bytes;
			const uint8_t *from = memory.source + SIZE_MAX_BYTES - size_bytes;

			memset(to, 0, size_bytes);
			copiers[i].copy(to, from, size_bytes);
			assert_memory_equal(to, from, size_bytes);
		}
	}
}

static void
copy_inline(void *to, const void *from, size_t size_bytes)
{
	sa_copy(sa_copier_choose(SOFTACCEL_ISA_GENERIC)->copy, to, from, size_bytes);
}

static void
without_a_call_is_the_same(void **state)
{
	size_t size_bytes, offset;

	(void)state;
	for (size_bytes = 0; size_bytes <= 200; size_bytes++) {
		for (offset = 0; offset < ALIGNMENTS; offset++)
			check_one(copy_inline, size_bytes, offset, (offset * 5) % ALIGNMENTS);
		memset(memory.target + SIZE_MAX_BYTES - size_bytes, 0, size_bytes);
		copy_inline(memory.target + SIZE_MAX_BYTES - size_bytes, memory.source + SIZE_MAX_BYTES - size_bytes,
			    size_bytes);
		assert_memory_equal(memory.target + SIZE_MAX_BYTES - size_bytes,
				    memory.source + SIZE_MAX_BYTES - size_bytes, size_bytes);
	}
}

static void
the_choice(void **state)
{
	unsigned int count, i;
	const struct sa_copier *copiers = sa_copiers(&count), *widest = copiers;

	(void)state;
	assert_string_equal(copiers[0].name, "generic");
	assert_true(copiers[0].is_there());
	for (i = 1; i < count; i++) {
		if (copiers[i].is_there())
			widest = &copiers[i];
	}
	assert_ptr_equal(sa_copier_choose(SOFTACCEL_ISA_GENERIC), copiers);
	assert_ptr_equal(sa_copier_choose(SOFTACCEL_ISA_AUTO), widest);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_size_and_alignment),
		cmocka_unit_test(nothing_beyond_the_end),
		cmocka_unit_test(without_a_call_is_the_same),
		cmocka_unit_test(the_choice),
	};

	return cmocka_run_group_tests(tests, setup, NULL);
}
