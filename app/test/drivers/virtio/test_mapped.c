/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdlib.h>

#include "test_support.h"
#include "virtio.h"

static void
add(struct virtio_mapped *mapped, uint64_t iova, uint64_t size_bytes)
{
	assert_int_equal(vdrv_mapped_reserve(mapped), 0);
	vdrv_mapped_add(mapped, iova, size_bytes);
}

static void
take_away(struct virtio_mapped *mapped, uint64_t iova, uint64_t size_bytes)
{
	assert_int_equal(vdrv_mapped_reserve(mapped), 0);
	vdrv_mapped_remove(mapped, iova, size_bytes);
}

static void
assert_ranges(const struct virtio_mapped *mapped, const struct rp_dma_iova_range *ranges, unsigned int count)
{
	unsigned int i;

	assert_int_equal(mapped->count, count);
	for (i = 0; i < count; i++) {
		assert_true(mapped->ranges[i].first == ranges[i].first);
		assert_true(mapped->ranges[i].last == ranges[i].last);
	}
}

#define ASSERT_RANGES(mapped, ...)                                                                                     \
	do {                                                                                                           \
		static const struct rp_dma_iova_range expected[] = {__VA_ARGS__};                                      \
		assert_ranges(mapped, expected, sizeof(expected) / sizeof(expected[0]));                               \
	} while (0)

static void
ranges_that_touch_are_one(void **state)
{
	struct virtio_mapped mapped = {0};

	(void)state;
	add(&mapped, 0x3000, 0x1000);
	add(&mapped, 0x1000, 0x1000);
	ASSERT_RANGES(&mapped, {0x1000, 0x1fff}, {0x3000, 0x3fff});
	add(&mapped, 0x2000, 0x1000);
	ASSERT_RANGES(&mapped, {0x1000, 0x3fff});
	add(&mapped, 0x5000, 0x1000);
	add(&mapped, 0, 0x10000);
	ASSERT_RANGES(&mapped, {0, 0xffff});
	vdrv_mapped_release(&mapped);
}

static void
a_part_is_taken_away(void **state)
{
	struct virtio_mapped mapped = {0};

	(void)state;
	add(&mapped, 0x1000, 0x8000);
	take_away(&mapped, 0x3000, 0x1000);
	ASSERT_RANGES(&mapped, {0x1000, 0x2fff}, {0x4000, 0x8fff});
	take_away(&mapped, 0x9000, 0x1000);
	take_away(&mapped, 0, 0x1000);
	take_away(&mapped, 0x3000, 0x1000);
	ASSERT_RANGES(&mapped, {0x1000, 0x2fff}, {0x4000, 0x8fff});
	take_away(&mapped, 0x2000, 0x3000);
	ASSERT_RANGES(&mapped, {0x1000, 0x1fff}, {0x5000, 0x8fff});
	take_away(&mapped, 0, UINT64_MAX);
	assert_int_equal(mapped.count, 0);
	vdrv_mapped_release(&mapped);
}

static void
both_ends_of_all_addresses(void **state)
{
	struct virtio_mapped mapped = {0};

	(void)state;
	add(&mapped, UINT64_MAX - 0xfff, 0x1000);
	add(&mapped, 0, 0x1000);
	ASSERT_RANGES(&mapped, {0, 0xfff}, {UINT64_MAX - 0xfff, UINT64_MAX});
	/* Beyond the end, which no transport takes. */
	add(&mapped, UINT64_MAX - 0x1fff, UINT64_MAX);
	ASSERT_RANGES(&mapped, {0, 0xfff}, {UINT64_MAX - 0x1fff, UINT64_MAX});
	add(&mapped, 0x5000, 0);
	take_away(&mapped, 0, 0);
	take_away(&mapped, UINT64_MAX, 1);
	ASSERT_RANGES(&mapped, {0, 0xfff}, {UINT64_MAX - 0x1fff, UINT64_MAX - 1});
	vdrv_mapped_release(&mapped);
}

#define PAGES 512u

/* Against a map of pages. */
static void
as_a_model_says(void **state)
{
	static bool model[PAGES];
	struct virtio_mapped mapped = {0};
	unsigned int i, page, range;

	(void)state;
	srand(1);
	for (i = 0; i < 5000; i++) {
		unsigned int at = (unsigned int)rand() % PAGES;
		unsigned int count = 1 + (unsigned int)rand() % (PAGES - at < 40 ? PAGES - at : 40);
		bool is_added = rand() % 2 != 0;

		(is_added ? add : take_away)(&mapped, (uint64_t)at * 4096, (uint64_t)count * 4096);
		for (page = at; page < at + count; page++)
			model[page] = is_added;
		page = 0;
		for (range = 0; range < mapped.count; range++) {
			for (; (uint64_t)page * 4096 < mapped.ranges[range].first; page++)
				assert_false(model[page]);
			/* Neither empty nor touching the one before. */
			assert_true(mapped.ranges[range].last > mapped.ranges[range].first);
			assert_true(range == 0 || mapped.ranges[range - 1].last + 1 < mapped.ranges[range].first);
			for (; (uint64_t)page * 4096 < mapped.ranges[range].last; page++)
				assert_true(model[page]);
		}
		for (; page < PAGES; page++)
			assert_false(model[page]);
	}
	vdrv_mapped_release(&mapped);
}

static void
a_copy_is_its_own(void **state)
{
	struct virtio_mapped mapped = {0}, copy;

	(void)state;
	assert_int_equal(vdrv_mapped_copy(&mapped, &copy), 0);
	add(&copy, 0x1000, 0x1000);
	vdrv_mapped_release(&copy);
	add(&mapped, 0x1000, 0x1000);
	assert_int_equal(vdrv_mapped_copy(&mapped, &copy), 0);
	add(&copy, 0x5000, 0x1000);
	ASSERT_RANGES(&mapped, {0x1000, 0x1fff});
	ASSERT_RANGES(&copy, {0x1000, 0x1fff}, {0x5000, 0x5fff});
	vdrv_mapped_release(&mapped);
	vdrv_mapped_release(&copy);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ranges_that_touch_are_one),  cmocka_unit_test(a_part_is_taken_away),
		cmocka_unit_test(both_ends_of_all_addresses), cmocka_unit_test(as_a_model_says),
		cmocka_unit_test(a_copy_is_its_own),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
