/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdlib.h>

#include "edit.h"
#include "test_support.h"

#define PAGE 0x1000u
#define PAGES 3000u

struct scene {
	struct rp_dma_pool pool;
	uint64_t table;
	unsigned int dropped[PAGES];
};

/* The address here is the page's number and one more: NULL is none. */
static uint8_t *
hva_of(unsigned int page)
{
	return (uint8_t *)(uintptr_t)((page + 1) * (uint64_t)PAGE);
}

static void
count_drop(void *ctx, uint8_t *hva)
{
	struct scene *scene = ctx;

	scene->dropped[(uintptr_t)hva / PAGE - 1]++;
}

static struct rp_dma_gone
commit(struct scene *scene, struct rp_dma_edit *edit)
{
	struct rp_dma_gone gone = rp_dma_edit_commit(edit);

	scene->table = edit->table;
	return gone;
}

static void
insert(struct rp_dma_edit *edit, unsigned int page, unsigned int pages_count)
{
	const struct rp_dma_entry entry = {(uint64_t)page * PAGE, (uint64_t)(page + pages_count) * PAGE - 1,
					   hva_of(page), 3};

	rp_dma_edit_insert(edit, &entry);
}

static int
setup(void **state)
{
	struct scene *scene = calloc(1, sizeof(*scene));
	struct rp_dma_edit edit;
	struct rp_dma_gone gone;
	unsigned int page;

	rp_dma_pool_init(&scene->pool);
	for (page = 0; page < PAGES / 2; page++) {
		rp_dma_edit_begin(&edit, &scene->pool, scene->table);
		insert(&edit, page, 1);
		gone = commit(scene, &edit);
		rp_dma_gone_dispose(&gone, &scene->pool, count_drop, scene);
	}
	rp_dma_edit_begin(&edit, &scene->pool, scene->table);
	insert(&edit, PAGES / 2, PAGES / 2);
	gone = commit(scene, &edit);
	rp_dma_gone_dispose(&gone, &scene->pool, count_drop, scene);
	*state = scene;
	return 0;
}

static int
teardown(void **state)
{
	struct scene *scene = *state;
	struct rp_dma_edit edit;
	struct rp_dma_gone gone;

	rp_dma_edit_begin(&edit, &scene->pool, scene->table);
	rp_dma_edit_erase(&edit, 0, UINT64_MAX);
	assert_false(edit.failed);
	gone = commit(scene, &edit);
	rp_dma_gone_dispose(&gone, &scene->pool, NULL, NULL);
	rp_dma_pool_end(&scene->pool);
	free(scene);
	return 0;
}

static void
assert_pages(uint64_t table, unsigned int first, unsigned int last, bool expected)
{
	struct rp_dma_entry entry;
	unsigned int page;

	for (page = first; page <= last; page++) {
		bool found = rp_dma_table_find(table, (uint64_t)page * PAGE + 5, &entry);

		if (found != expected)
			fail_msg("page %u is %s", page, found ? "there" : "not there");
	}
}

/* Moving from bucket to node and back is no end of a mapping. */
static void
inserting_drops_nothing(void **state)
{
	struct scene *scene = *state;
	unsigned int page;

	for (page = 0; page < PAGES; page++)
		assert_int_equal(scene->dropped[page], 0);
	assert_int_equal(rp_dma_table_count(scene->table), PAGES / 2 + 1);
}

/* Who reads the old table finds it whole until it is disposed of, and each mapping that went is dropped once. */
static void
the_old_table_stays(void **state)
{
	struct scene *scene = *state;
	uint64_t old = scene->table;
	struct rp_dma_edit edit;
	struct rp_dma_gone gone;
	unsigned int page;

	rp_dma_edit_begin(&edit, &scene->pool, scene->table);
	rp_dma_edit_erase(&edit, 100 * PAGE, (uint64_t)PAGES * PAGE - 1);
	assert_false(edit.failed);
	gone = commit(scene, &edit);
	assert_pages(old, 0, PAGES - 1, true);
	assert_int_equal(rp_dma_table_count(old), PAGES / 2 + 1);
	assert_pages(scene->table, 0, 99, true);
	assert_pages(scene->table, 100, PAGES - 1, false);
	assert_int_equal(rp_dma_table_count(scene->table), 100);
	rp_dma_gone_dispose(&gone, &scene->pool, count_drop, scene);
	for (page = 0; page < PAGES; page++)
		assert_int_equal(scene->dropped[page], page >= 100 && page <= PAGES / 2);
}

static void
an_abort_changes_nothing(void **state)
{
	struct scene *scene = *state;
	struct rp_dma_edit edit;
	struct rp_dma_gone gone;
	unsigned int page;

	rp_dma_edit_begin(&edit, &scene->pool, scene->table);
	rp_dma_edit_erase(&edit, 70 * PAGE, (uint64_t)PAGES * PAGE - 1);
	insert(&edit, 80, 5);
	rp_dma_edit_abort(&edit);
	assert_pages(scene->table, 0, PAGES - 1, true);
	assert_int_equal(rp_dma_table_count(scene->table), PAGES / 2 + 1);
	/* What the abort forgot to take back would be dropped here. */
	rp_dma_edit_begin(&edit, &scene->pool, scene->table);
	rp_dma_edit_erase(&edit, 72 * PAGE, 73 * PAGE - 1);
	gone = commit(scene, &edit);
	rp_dma_gone_dispose(&gone, &scene->pool, count_drop, scene);
	for (page = 0; page < PAGES; page++)
		assert_int_equal(scene->dropped[page], page == 72);
}

/* An erasure and what comes in its place are one table. */
static void
erase_and_insert(void **state)
{
	struct scene *scene = *state;
	struct rp_dma_entry entry = {0};
	struct rp_dma_edit edit;
	struct rp_dma_gone gone;

	rp_dma_edit_begin(&edit, &scene->pool, scene->table);
	rp_dma_edit_erase(&edit, (PAGES / 2) * (uint64_t)PAGE, (uint64_t)PAGES * PAGE - 1);
	insert(&edit, PAGES / 2 + 1, 7);
	gone = commit(scene, &edit);
	rp_dma_gone_dispose(&gone, &scene->pool, count_drop, scene);
	assert_int_equal(scene->dropped[PAGES / 2], 1);
	assert_int_equal(rp_dma_table_count(scene->table), PAGES / 2 + 1);
	assert_true(rp_dma_table_find(scene->table, (PAGES / 2 + 7) * (uint64_t)PAGE, &entry));
	assert_int_equal(entry.first_iova, (PAGES / 2 + 1) * (uint64_t)PAGE);
	assert_pages(scene->table, PAGES / 2, PAGES / 2, false);
	assert_pages(scene->table, PAGES / 2 + 8, PAGES - 1, false);
}

/* What is left of many is as small as if there had never been more. */
static void
nodes_go_with_their_mappings(void **state)
{
	struct scene *scene = *state;
	struct rp_dma_edit edit;
	struct rp_dma_gone gone;
	unsigned int page;

	for (page = 0; page <= PAGES / 2; page++) {
		unsigned int end = page < PAGES / 2 ? page + 1 : PAGES;

		if (page == 3 || page == 900)
			continue;
		rp_dma_edit_begin(&edit, &scene->pool, scene->table);
		rp_dma_edit_erase(&edit, page * (uint64_t)PAGE, end * (uint64_t)PAGE - 1);
		gone = commit(scene, &edit);
		rp_dma_gone_dispose(&gone, &scene->pool, count_drop, scene);
	}
	assert_int_equal(rp_dma_slot_kind(scene->table), RP_DMA_SLOT_BUCKET);
	assert_int_equal(rp_dma_table_count(scene->table), 2);
	assert_pages(scene->table, 3, 3, true);
	assert_pages(scene->table, 900, 900, true);
}

#define WITH_SCENE(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_SCENE(inserting_drops_nothing),	  WITH_SCENE(the_old_table_stays),
		WITH_SCENE(an_abort_changes_nothing),	  WITH_SCENE(erase_and_insert),
		WITH_SCENE(nodes_go_with_their_mappings),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
