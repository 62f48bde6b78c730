/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdlib.h>
#include <string.h>

#include "atc_table.h"
#include "test_support.h"

#define PAGE RP_DMA_ATC_PAGE_BYTES
#define ENTRIES 64u
#define RW (RP_DMA_READ | RP_DMA_WRITE)
#define STEPS 200000u
#define MODEL_PAGES 512u
#define MODEL_PASIDS 3u

static struct rp_dma_atc_table table;

static int
setup(void **state)
{
	(void)state;
	memset(&table, 0, sizeof(table));
	assert_int_equal(rp_dma_atc_table_init(&table, ENTRIES), 0);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	rp_dma_atc_table_fini(&table);
	return 0;
}

static bool
insert(uint32_t pasid, uint64_t iova, uint64_t size_bytes, uint64_t address, uint32_t access_mask, uint64_t at_iova)
{
	const struct rp_dma_translation range = {iova, size_bytes, address, access_mask, false};

	return rp_dma_atc_table_insert(&table, pasid, &range, at_iova);
}

static void
remove_range(uint32_t pasid, uint64_t first_iova, uint64_t last_iova)
{
	const struct rp_dma_atc_invalidation invalidation = {
		.pasid = pasid, .first_iova = first_iova, .last_iova = last_iova};

	rp_dma_atc_table_remove(&table, &invalidation);
}

/* Leads there, with so many bytes behind it; address UINT64_MAX: to nothing. */
static void
check(uint32_t pasid, uint64_t iova, uint32_t access_mask, uint64_t address, uint64_t size_bytes)
{
	struct rp_dma_translation found = {.address = 0};
	bool is_found = rp_dma_atc_table_find(&table, pasid, iova, access_mask, &found);

	assert_int_equal(is_found, address != UINT64_MAX);
	if (!is_found)
		return;
	assert_int_equal(found.iova, iova);
	assert_int_equal(found.address, address);
	assert_int_equal(found.size_bytes, size_bytes);
}

static void
a_page_is_found_with_its_rights(void **state)
{
	(void)state;
	assert_false(insert(7, 5 * PAGE, PAGE, 9 * PAGE, RP_DMA_READ, 5 * PAGE));
	check(7, 5 * PAGE, RP_DMA_READ, 9 * PAGE, PAGE);
	check(7, 6 * PAGE - 1, RP_DMA_READ, 10 * PAGE - 1, 1);
	check(7, 5 * PAGE, RP_DMA_WRITE, UINT64_MAX, 0);
	check(7, 5 * PAGE, RW, UINT64_MAX, 0);
	check(8, 5 * PAGE, RP_DMA_READ, UINT64_MAX, 0);
	check(RP_DMA_NO_PASID, 5 * PAGE, RP_DMA_READ, UINT64_MAX, 0);
	check(7, 4 * PAGE, RP_DMA_READ, UINT64_MAX, 0);
	check(7, 6 * PAGE, RP_DMA_READ, UINT64_MAX, 0);
}

static void
more_rights_take_the_place_of_fewer(void **state)
{
	(void)state;
	insert(0, 0, PAGE, PAGE, RP_DMA_READ, 0);
	assert_false(insert(0, 0, PAGE, PAGE, RW, 0));
	assert_int_equal(table.count, 1);
	check(0, 8, RW, PAGE + 8, PAGE - 8);
}

static void
the_largest_aligned_block_is_kept(void **state)
{
	(void)state;
	/* 16 pages from page 4 on, led to where only blocks of 4 pages suit: the asked one is in the block 8 to 11. */
	insert(1, 4 * PAGE, 16 * PAGE, 1028 * PAGE + 4 * PAGE, RW, 9 * PAGE);
	check(1, 8 * PAGE, RW, 1036 * PAGE, 4 * PAGE);
	check(1, 11 * PAGE, RW, 1039 * PAGE, PAGE);
	check(1, 12 * PAGE, RW, UINT64_MAX, 0);
	check(1, 7 * PAGE, RW, UINT64_MAX, 0);
	/* The upper half of all addresses is one block, and so is the lower one. */
	insert(2, 0, UINT64_MAX & ~(PAGE - 1), 0, RW, 123 * PAGE);
	check(2, 0, RW, 0, UINT64_C(1) << 63);
	insert(2, UINT64_C(1) << 63, UINT64_C(1) << 63, UINT64_C(1) << 63, RW, UINT64_MAX & ~(PAGE - 1));
	check(2, UINT64_MAX - 8, RW, UINT64_MAX - 8, 9);
}

/* Sizes beside each other: an address is looked for in each, and rights decide among them. */
static void
blocks_of_two_sizes_live_together(void **state)
{
	(void)state;
	insert(1, 0, 16 * PAGE, 32 * PAGE, RP_DMA_READ, 0);
	insert(1, 3 * PAGE, PAGE, 35 * PAGE, RW, 3 * PAGE);
	check(1, 3 * PAGE, RP_DMA_WRITE, 35 * PAGE, PAGE);
	check(1, 4 * PAGE, RP_DMA_READ, 36 * PAGE, 12 * PAGE);
	remove_range(1, 15 * PAGE, 15 * PAGE);
	check(1, 4 * PAGE, RP_DMA_READ, UINT64_MAX, 0);
	check(1, 3 * PAGE, RP_DMA_READ, 35 * PAGE, PAGE);
}

static void
what_is_used_stays_when_room_is_needed(void **state)
{
	uint32_t page, evicted = 0;

	(void)state;
	insert(1, 0, PAGE, 0, RW, 0);
	for (page = 1; page < 20 * ENTRIES; page++) {
		evicted += insert(1, page * PAGE, PAGE, page * PAGE, RW, page * PAGE);
		assert_true(table.count <= ENTRIES);
		check(1, 0, RW, 0, PAGE);
	}
	assert_int_equal(table.count + evicted, 20 * ENTRIES);
	assert_true(table.count > ENTRIES / 2);
}

static void
removal_takes_the_range_and_nothing_else(void **state)
{
	const struct rp_dma_atc_invalidation all = {.all_pasids = true, .first_iova = PAGE, .last_iova = PAGE};
	uint32_t page;

	(void)state;
	for (page = 0; page < 8; page++) {
		insert(1, page * PAGE, PAGE, page * PAGE, RW, page * PAGE);
		insert(RP_DMA_NO_PASID, page * PAGE, PAGE, page * PAGE, RW, page * PAGE);
	}
	remove_range(1, 2 * PAGE + 5, 4 * PAGE);
	for (page = 0; page < 8; page++) {
		check(1, page * PAGE, RW, page >= 2 && page <= 4 ? UINT64_MAX : page * PAGE, PAGE);
		check(RP_DMA_NO_PASID, page * PAGE, RW, page * PAGE, PAGE);
	}
	rp_dma_atc_table_remove(&table, &all);
	check(1, PAGE, RW, UINT64_MAX, 0);
	check(RP_DMA_NO_PASID, PAGE, RW, UINT64_MAX, 0);
	/* More blocks than there are places. */
	remove_range(RP_DMA_NO_PASID, 0, UINT64_MAX);
	check(RP_DMA_NO_PASID, 0, RW, UINT64_MAX, 0);
	check(1, 7 * PAGE, RW, 7 * PAGE, PAGE);
	remove_range(1, 0, UINT64_MAX);
	assert_int_equal(table.count, 0);
	assert_int_equal(atomic_load(&table.shifts_mask), 0);
}

/* What the IOMMU says of each page: 0, nothing was said since it was taken back; else the address, and the rights. */
static uint64_t said[MODEL_PASIDS][MODEL_PAGES];
static uint64_t seed = 1;

static uint64_t
draw(uint64_t below)
{
	seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (seed >> 33) % below;
}

static void
say(uint32_t pasid)
{
	uint64_t first = draw(MODEL_PAGES), count = 1 + draw(40), at, page;
	uint64_t target = (1 + draw(1000)) * PAGE + first * PAGE, rights = 1 + draw(3);
	struct rp_dma_translation found;

	if (count > MODEL_PAGES - first)
		count = MODEL_PAGES - first;
	/* An IOMMU that changes its mind takes back first. */
	remove_range(pasid, first * PAGE, (first + count) * PAGE - 1);
	for (page = first; page < first + count; page++)
		said[pasid][page] = (target + (page - first) * PAGE) | rights;
	at = (first + draw(count)) * PAGE;
	insert(pasid, first * PAGE, count * PAGE, target, (uint32_t)rights, at);
	assert_true(rp_dma_atc_table_find(&table, pasid, at, (uint32_t)rights, &found));
}

static void
take_back(uint32_t pasid)
{
	uint64_t first = draw(MODEL_PAGES), last = first + draw(MODEL_PAGES - first), page;

	remove_range(pasid, first * PAGE, (last + 1) * PAGE - 1);
	for (page = first; page <= last; page++)
		said[pasid][page] = 0;
}

/* Nothing is found but what was said last and was not taken back, for all of the bytes that it is said to be. */
static void
nothing_else_is_ever_found(void **state)
{
	unsigned int step;

	(void)state;
	for (step = 0; step < STEPS; step++) {
		uint32_t pasid = (uint32_t)draw(MODEL_PASIDS), wanted = 1 + (uint32_t)draw(3);
		uint64_t iova = draw(MODEL_PAGES * PAGE), page;
		struct rp_dma_translation found;

		if (draw(4) == 0)
			say(pasid);
		if (draw(8) == 0)
			take_back(pasid);
		if (!rp_dma_atc_table_find(&table, pasid, iova, wanted, &found))
			continue;
		assert_int_equal(found.access_mask & wanted, wanted);
		for (page = iova / PAGE; page * PAGE < iova + found.size_bytes; page++) {
			uint64_t what = said[pasid][page];

			assert_int_not_equal(what, 0);
			assert_int_equal(what & RW, found.access_mask);
			assert_int_equal((what & ~(uint64_t)RW) - page * PAGE, found.address - found.iova);
		}
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_page_is_found_with_its_rights, setup, teardown),
		cmocka_unit_test_setup_teardown(more_rights_take_the_place_of_fewer, setup, teardown),
		cmocka_unit_test_setup_teardown(the_largest_aligned_block_is_kept, setup, teardown),
		cmocka_unit_test_setup_teardown(blocks_of_two_sizes_live_together, setup, teardown),
		cmocka_unit_test_setup_teardown(what_is_used_stays_when_room_is_needed, setup, teardown),
		cmocka_unit_test_setup_teardown(removal_takes_the_range_and_nothing_else, setup, teardown),
		cmocka_unit_test_setup_teardown(nothing_else_is_ever_found, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
