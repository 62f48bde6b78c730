/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdlib.h>

#include "rp_dma_iova.h"
#include "test_support.h"

#define PAGE 0x1000ull
#define COUNT(array) ((unsigned int)(sizeof(array) / sizeof((array)[0])))

/* As a 39-bit IOMMU says, with the window of x86's MSI left out. */
static const struct rp_dma_iova_range x86[] = {{0, 0xfedfffff}, {0xfef00000, 0x7fffffffff}};

static uint64_t
found(const struct rp_dma_iova_range *taken, unsigned int taken_count, uint64_t size_bytes, uint64_t align_bytes)
{
	uint64_t iova = 0;

	assert_int_equal(rp_dma_iova_find(x86, COUNT(x86), taken, taken_count, size_bytes, align_bytes, &iova, NULL),
			 0);
	return iova;
}

static void
the_top_is_taken_first(void **state)
{
	(void)state;
	assert_int_equal(found(NULL, 0, PAGE, PAGE), 0x7ffffff000);
	assert_int_equal(found(NULL, 0, 3 * PAGE, 4 * PAGE), 0x7fffffc000);
	assert_int_equal(found(NULL, 0, 1, 1), 0x7fffffffff);
}

static void
what_is_in_the_way_is_gone_below_of(void **state)
{
	const struct rp_dma_iova_range taken[] = {
		{0x7fffffe000, 0x7fffffffff}, {0x7ffff00000, 0x7fffffcfff}, {0x7ffffff000, 0x7ffffff000}};

	(void)state;
	assert_int_equal(found(taken, COUNT(taken), PAGE, PAGE), 0x7fffffd000);
	assert_int_equal(found(taken, COUNT(taken), 2 * PAGE, PAGE), 0x7fffefe000);
}

static void
a_full_range_leads_to_the_next(void **state)
{
	const struct rp_dma_iova_range taken[] = {{0xfef00000, 0x7fffffffff}, {0, 0xfffff}};
	uint64_t iova;

	(void)state;
	assert_int_equal(found(taken, COUNT(taken), PAGE, PAGE), 0xfedff000);
	assert_int_equal(rp_dma_iova_find(x86, COUNT(x86), taken, COUNT(taken), 0xfed00001, 1, &iova, NULL), -ENOSPC);
	assert_int_equal(found(taken, COUNT(taken), 0xfed00000, 1), 0x100000);
}

static void
the_last_bytes_of_all_are_left_alone(void **state)
{
	const struct rp_dma_iova_range whole = {0, UINT64_MAX};
	uint64_t iova;

	(void)state;
	assert_int_equal(rp_dma_iova_find(NULL, 0, NULL, 0, PAGE, PAGE, &iova, NULL), 0);
	assert_int_equal(iova, 0xfffffffffffef000);
	assert_int_equal(rp_dma_iova_find(&whole, 1, NULL, 0, PAGE, PAGE, &iova, NULL), 0);
	assert_int_equal(iova, 0xfffffffffffef000);
}

static void
mistakes_are_named(void **state)
{
	const struct rp_dma_iova_range all = {0, UINT64_MAX};
	struct rp_wire_why why;
	uint64_t iova = 7;

	(void)state;
	assert_int_equal(rp_dma_iova_find(NULL, 0, NULL, 0, 0, PAGE, &iova, &why), -EINVAL);
	assert_int_equal(rp_dma_iova_find(NULL, 0, NULL, 0, PAGE, 0, &iova, &why), -EINVAL);
	assert_int_equal(rp_dma_iova_find(NULL, 0, NULL, 0, PAGE, 3, &iova, &why), -EINVAL);
	assert_int_equal(rp_dma_iova_find(NULL, 0, &all, 1, PAGE, PAGE, &iova, &why), -ENOSPC);
	assert_non_null(strstr(why.text, "0x1000"));
	assert_int_equal(rp_dma_iova_find(x86, COUNT(x86), NULL, 0, UINT64_MAX, 1, &iova, &why), -ENOSPC);
	assert_int_equal(iova, 7);
}

static void
a_place_is_allowed_within_one_range(void **state)
{
	(void)state;
	assert_true(rp_dma_iova_allowed(x86, COUNT(x86), 0, 0xfee00000));
	assert_false(rp_dma_iova_allowed(x86, COUNT(x86), 0, 0xfee00001));
	assert_false(rp_dma_iova_allowed(x86, COUNT(x86), 0xfee00000, PAGE));
	assert_true(rp_dma_iova_allowed(x86, COUNT(x86), 0x7ffffff000, PAGE));
	assert_false(rp_dma_iova_allowed(x86, COUNT(x86), 0x7ffffff000, PAGE + 1));
	assert_false(rp_dma_iova_allowed(x86, COUNT(x86), 0, 0));
	assert_true(rp_dma_iova_allowed(NULL, 0, UINT64_MAX - 7, 8));
	assert_false(rp_dma_iova_allowed(NULL, 0, UINT64_MAX - 7, 9));
}

/* Against the plainest of searches, in a small world. */
static void
agrees_with_a_search_of_each_place(void **state)
{
	unsigned int round, i;

	(void)state;
	srand(5);
	for (round = 0; round < 20000; round++) {
		struct rp_dma_iova_range allowed = {(uint64_t)rand() % 32, 32 + (uint64_t)rand() % 32}, taken[4];
		uint64_t size = 1 + (uint64_t)rand() % 16, align = 1ull << rand() % 4, iova = 0, place;
		int rc, expected = -ENOSPC;

		for (i = 0; i < COUNT(taken); i++) {
			taken[i].first = (uint64_t)rand() % 64;
			taken[i].last = taken[i].first + (uint64_t)rand() % 12;
		}
		rc = rp_dma_iova_find(&allowed, 1, taken, COUNT(taken), size, align, &iova, NULL);
		for (place = 64; place-- > 0 && expected != 0;) {
			bool good = place % align == 0 && rp_dma_iova_allowed(&allowed, 1, place, size);

			for (i = 0; i < COUNT(taken); i++)
				good = good && (taken[i].last < place || taken[i].first > place + size - 1);
			if (good)
				expected = 0;
			if (good && rc == 0)
				assert_int_equal(iova, place);
		}
		assert_int_equal(rc, expected);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_top_is_taken_first),
		cmocka_unit_test(what_is_in_the_way_is_gone_below_of),
		cmocka_unit_test(a_full_range_leads_to_the_next),
		cmocka_unit_test(the_last_bytes_of_all_are_left_alone),
		cmocka_unit_test(mistakes_are_named),
		cmocka_unit_test(a_place_is_allowed_within_one_range),
		cmocka_unit_test(agrees_with_a_search_of_each_place),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
