/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdlib.h>

#include "table.h"
#include "test_support.h"

/* A table of ranges; `hva` and `offset_bytes` follow the address, so that a cut shows in all three. */
static const struct rp_dma_table *
table_of(const uint64_t (*ranges)[2], unsigned int count)
{
	const struct rp_dma_table *table = &rp_dma_table_empty;
	unsigned int i;

	for (i = 0; i < count; i++) {
		struct rp_dma_entry entry = {
			.first_iova = ranges[i][0],
			.last_iova = ranges[i][1],
			.hva = (uint8_t *)(uintptr_t)(0x700000000000 + ranges[i][0]),
			.offset_bytes = 0x10000 + ranges[i][0],
			.access_mask = i + 1,
		};
		struct rp_dma_table *next = rp_dma_table_with(table, &entry);

		assert_non_null(next);
		rp_dma_table_free(table);
		table = next;
	}
	return table;
}

static void
assert_ranges(const struct rp_dma_table *table, const uint64_t (*ranges)[2], unsigned int count)
{
	unsigned int i;

	assert_int_equal(table->count, count);
	for (i = 0; i < count; i++) {
		assert_int_equal(table->entries[i].first_iova, ranges[i][0]);
		assert_int_equal(table->entries[i].last_iova, ranges[i][1]);
		assert_ptr_equal(table->entries[i].hva, (uint8_t *)(uintptr_t)(0x700000000000 + ranges[i][0]));
		assert_int_equal(table->entries[i].offset_bytes, 0x10000 + ranges[i][0]);
	}
}

static void
empty_table_has_nothing(void **state)
{
	struct rp_dma_table *none;

	(void)state;
	assert_int_equal(rp_dma_table_lower(&rp_dma_table_empty, 0), 0);
	assert_null(rp_dma_table_find(&rp_dma_table_empty, 0));
	assert_null(rp_dma_table_find(&rp_dma_table_empty, UINT64_MAX));
	assert_int_equal(rp_dma_table_count_without(&rp_dma_table_empty, 0, UINT64_MAX), 0);
	none = rp_dma_table_without(&rp_dma_table_empty, 0, UINT64_MAX);
	assert_int_equal(none->count, 0);
	rp_dma_table_free(none);
	rp_dma_table_free(&rp_dma_table_empty);
}

static void
entries_are_kept_sorted(void **state)
{
	static const uint64_t given[][2] = {
		{0x5000, 0x5fff}, {0x1000, 0x1fff}, {UINT64_MAX, UINT64_MAX}, {0, 0}, {0x2000, 0x2fff}};
	static const uint64_t sorted[][2] = {
		{0, 0}, {0x1000, 0x1fff}, {0x2000, 0x2fff}, {0x5000, 0x5fff}, {UINT64_MAX, UINT64_MAX}};
	const struct rp_dma_table *table = table_of(given, 5);

	(void)state;
	assert_int_equal(table->count, 5);
	for (unsigned int i = 0; i < 5; i++)
		assert_int_equal(table->entries[i].first_iova, sorted[i][0]);
	rp_dma_table_free(table);
}

/* Every number of entries, every edge: a binary search is wrong at edges or not at all. */
static void
find_at_every_edge(void **state)
{
	unsigned int count, i;

	(void)state;
	for (count = 1; count <= 17; count++) {
		const struct rp_dma_table *table;
		uint64_t ranges[17][2];

		for (i = 0; i < count; i++) {
			ranges[i][0] = 0x100 + i * 0x20;
			ranges[i][1] = ranges[i][0] + 0xf;
		}
		table = table_of((const uint64_t(*)[2])ranges, count);
		for (i = 0; i < count; i++) {
			assert_null(rp_dma_table_find(table, ranges[i][0] - 1));
			assert_ptr_equal(rp_dma_table_find(table, ranges[i][0]), &table->entries[i]);
			assert_ptr_equal(rp_dma_table_find(table, ranges[i][1]), &table->entries[i]);
			assert_null(rp_dma_table_find(table, ranges[i][1] + 1));
			assert_int_equal(rp_dma_table_lower(table, ranges[i][1]), i);
			assert_int_equal(rp_dma_table_lower(table, ranges[i][1] + 1), i + 1);
		}
		assert_null(rp_dma_table_find(table, 0));
		assert_null(rp_dma_table_find(table, UINT64_MAX));
		rp_dma_table_free(table);
	}
}

struct cut_case {
	uint64_t first_iova;
	uint64_t last_iova;
	unsigned int count;
	uint64_t left[4][2];
};

static void
cuts(void **state)
{
	static const uint64_t given[][2] = {{0x1000, 0x1fff}, {0x2000, 0x2fff}, {0x4000, 0x4fff}};
	static const struct cut_case cases[] = {
		/* nothing there */
		{0, 0xfff, 3, {{0x1000, 0x1fff}, {0x2000, 0x2fff}, {0x4000, 0x4fff}}},
		{0x3000, 0x3fff, 3, {{0x1000, 0x1fff}, {0x2000, 0x2fff}, {0x4000, 0x4fff}}},
		{0x5000, UINT64_MAX, 3, {{0x1000, 0x1fff}, {0x2000, 0x2fff}, {0x4000, 0x4fff}}},
		/* exact, contained, everything */
		{0x2000, 0x2fff, 2, {{0x1000, 0x1fff}, {0x4000, 0x4fff}}},
		{0x1800, 0x3fff, 2, {{0x1000, 0x17ff}, {0x4000, 0x4fff}}},
		{0, UINT64_MAX, 0, {{0}}},
		/* the middle, the first and the last byte of one */
		{0x1800, 0x18ff, 4, {{0x1000, 0x17ff}, {0x1900, 0x1fff}, {0x2000, 0x2fff}, {0x4000, 0x4fff}}},
		{0x1000, 0x1000, 3, {{0x1001, 0x1fff}, {0x2000, 0x2fff}, {0x4000, 0x4fff}}},
		{0x1fff, 0x1fff, 3, {{0x1000, 0x1ffe}, {0x2000, 0x2fff}, {0x4000, 0x4fff}}},
		/* across borders */
		{0x1fff, 0x2000, 3, {{0x1000, 0x1ffe}, {0x2001, 0x2fff}, {0x4000, 0x4fff}}},
		{0x1800, 0x47ff, 2, {{0x1000, 0x17ff}, {0x4800, 0x4fff}}},
		{0x2800, UINT64_MAX, 2, {{0x1000, 0x1fff}, {0x2000, 0x27ff}}},
		{0, 0x40ff, 1, {{0x4100, 0x4fff}}},
	};
	const struct rp_dma_table *table = table_of(given, 3);
	unsigned int i;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const struct cut_case *c = &cases[i];
		struct rp_dma_table *rest = rp_dma_table_without(table, c->first_iova, c->last_iova);

		assert_int_equal(rp_dma_table_count_without(table, c->first_iova, c->last_iova), c->count);
		assert_ranges(rest, c->left, c->count);
		rp_dma_table_free(rest);
	}
	rp_dma_table_free(table);
}

static void
cuts_at_the_top(void **state)
{
	static const uint64_t given[][2] = {{UINT64_MAX - 0xfff, UINT64_MAX}};
	static const uint64_t left[][2] = {{UINT64_MAX - 0xfff, UINT64_MAX - 1}};
	static const uint64_t right[][2] = {{UINT64_MAX, UINT64_MAX}};
	const struct rp_dma_table *table = table_of(given, 1);
	struct rp_dma_table *rest;

	(void)state;
	rest = rp_dma_table_without(table, UINT64_MAX, UINT64_MAX);
	assert_ranges(rest, left, 1);
	rp_dma_table_free(rest);
	rest = rp_dma_table_without(table, 0, UINT64_MAX - 1);
	assert_ranges(rest, right, 1);
	rp_dma_table_free(rest);
	rp_dma_table_free(table);
}

/* An entry without a file stays without one when it is cut. */
static void
no_address_stays_none(void **state)
{
	const struct rp_dma_entry entry = {.first_iova = 0, .last_iova = 0xfff};
	struct rp_dma_table *table = rp_dma_table_with(&rp_dma_table_empty, &entry);
	struct rp_dma_table *rest = rp_dma_table_without(table, 0x100, 0x1ff);

	(void)state;
	assert_int_equal(rest->count, 2);
	assert_null(rest->entries[0].hva);
	assert_null(rest->entries[1].hva);
	rp_dma_table_free(rest);
	rp_dma_table_free(table);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(empty_table_has_nothing), cmocka_unit_test(entries_are_kept_sorted),
		cmocka_unit_test(find_at_every_edge),	   cmocka_unit_test(cuts),
		cmocka_unit_test(cuts_at_the_top),	   cmocka_unit_test(no_address_stays_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
