/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdlib.h>

#include "edit.h"
#include "test_support.h"

#define PAGE 0x1000u
#define HVA 0x700000000000u

struct scene {
	struct rp_dma_pool pool;
	uint64_t table;
};

static int
setup(void **state)
{
	struct scene *scene = calloc(1, sizeof(*scene));

	rp_dma_pool_init(&scene->pool);
	*state = scene;
	return 0;
}

static void
dispose(struct scene *scene, struct rp_dma_edit *edit)
{
	struct rp_dma_gone gone = rp_dma_edit_commit(edit);

	scene->table = edit->table;
	rp_dma_gone_dispose(&gone, &scene->pool, NULL, NULL);
}

static void
erase_all(struct scene *scene)
{
	struct rp_dma_edit edit;

	rp_dma_edit_begin(&edit, &scene->pool, scene->table);
	rp_dma_edit_erase(&edit, 0, UINT64_MAX);
	dispose(scene, &edit);
	assert_int_equal(scene->table, RP_DMA_TABLE_EMPTY);
}

static int
teardown(void **state)
{
	struct scene *scene = *state;

	erase_all(scene);
	rp_dma_pool_end(&scene->pool);
	free(scene);
	return 0;
}

/* The address here follows the address there, so that what is wrong shows in both. */
static void
insert(struct scene *scene, uint64_t first_iova, uint64_t last_iova)
{
	const struct rp_dma_entry entry = {
		.first_iova = first_iova,
		.last_iova = last_iova,
		.hva = (uint8_t *)(uintptr_t)(HVA + first_iova % 0x100000000),
		.access_mask = 1 + (first_iova / PAGE) % 3,
	};
	struct rp_dma_edit edit;

	rp_dma_edit_begin(&edit, &scene->pool, scene->table);
	rp_dma_edit_insert(&edit, &entry);
	dispose(scene, &edit);
}

static void
assert_entry(const struct rp_dma_entry *found, uint64_t first_iova, uint64_t last_iova)
{
	assert_int_equal(found->first_iova, first_iova);
	assert_int_equal(found->last_iova, last_iova);
	assert_ptr_equal(found->hva, (uint8_t *)(uintptr_t)(HVA + first_iova % 0x100000000));
	assert_int_equal(found->access_mask, 1 + (first_iova / PAGE) % 3);
}

static void
assert_found(const struct scene *scene, uint64_t iova, uint64_t first_iova, uint64_t last_iova)
{
	struct rp_dma_entry found;

	assert_true(rp_dma_table_find(scene->table, iova, &found));
	assert_entry(&found, first_iova, last_iova);
}

static void
assert_hole(const struct scene *scene, uint64_t iova)
{
	struct rp_dma_entry found;

	assert_false(rp_dma_table_find(scene->table, iova, &found));
}

static void
empty_table_has_nothing(void **state)
{
	struct scene *scene = *state;
	struct rp_dma_entry found;

	assert_hole(scene, 0);
	assert_hole(scene, UINT64_MAX);
	assert_false(rp_dma_table_next(scene->table, 0, &found));
	assert_int_equal(rp_dma_table_count(scene->table), 0);
}

/* Every number of entries around the size of a bucket and of a node, every edge of each. */
static void
find_at_every_edge(void **state)
{
	static const uint64_t sizes[] = {1, 15, 16, 64, PAGE, PAGE + 1, 64 * PAGE, (uint64_t)1 << 40};
	struct scene *scene = *state;
	unsigned int size, count, i;

	for (size = 0; size < sizeof(sizes) / sizeof(sizes[0]); size++) {
		for (count = 1; count <= 70; count++) {
			uint64_t step = 2 * sizes[size], last = sizes[size] - 1;
			struct rp_dma_entry found;

			insert(scene, count * step, count * step + last);
			assert_int_equal(rp_dma_table_count(scene->table), count);
			for (i = 1; i <= count; i++) {
				uint64_t first = i * step;

				assert_hole(scene, first - 1);
				assert_found(scene, first, first, first + last);
				assert_found(scene, first + last, first, first + last);
				assert_hole(scene, first + last + 1);
				rp_dma_table_at(scene->table, i - 1, &found);
				assert_entry(&found, first, first + last);
				assert_true(rp_dma_table_next(scene->table, first - 1, &found));
				assert_entry(&found, first, first + last);
				assert_true(rp_dma_table_next(scene->table, first + last, &found));
				assert_entry(&found, first, first + last);
			}
			assert_false(rp_dma_table_next(scene->table, count * step + last + 1, &found));
			assert_hole(scene, UINT64_MAX);
		}
		erase_all(scene);
	}
}

/* A page-granular mapping is a word of its node: a million of them are not much more than eight megabytes. */
static void
pages_are_words(void **state)
{
	struct scene *scene = *state;
	unsigned int i, nodes_count;

	for (i = 0; i < 64 * 64; i++)
		insert(scene, (uint64_t)i * PAGE, (uint64_t)i * PAGE + PAGE - 1);
	nodes_count = 64 + 1;
	assert_int_equal(rp_dma_slot_kind(scene->table), RP_DMA_SLOT_SKIP);
	for (i = 0; i < 64; i++) {
		const struct rp_dma_node *node = rp_dma_slot_node(scene->table);

		assert_int_equal(rp_dma_slot_kind(node->slots[i]), RP_DMA_SLOT_NODE);
		nodes_count--;
		node = rp_dma_slot_node(node->slots[i]);
		assert_int_equal(rp_dma_slot_kind(node->slots[63]), RP_DMA_SLOT_PAGE);
		assert_int_equal(node->starts_count, 64);
	}
	assert_int_equal(nodes_count, 1);
}

/* In any order of coming: what is close together lies in one node with nothing above it. */
static void
far_apart_and_close_together(void **state)
{
	static const uint64_t bases[] = {
		0, 0xfffffffffffff000, 0x8000000000000000, 0x7ffffffffffff000, 0xfee00000, 0x380000000000,
	};
	struct scene *scene = *state;
	unsigned int i, j, count = 0;
	struct rp_dma_entry found;

	for (j = 0; j < 20; j++) {
		for (i = 0; i < sizeof(bases) / sizeof(bases[0]); i++) {
			uint64_t first =
				i == 1 || i == 3 ? bases[i] - (uint64_t)j * PAGE : bases[i] + (uint64_t)j * PAGE;

			insert(scene, first, first + PAGE - 1);
			assert_int_equal(rp_dma_table_count(scene->table), ++count);
			assert_found(scene, first + 77, first, first + PAGE - 1);
		}
	}
	assert_found(scene, UINT64_MAX, 0xfffffffffffff000, UINT64_MAX);
	rp_dma_table_at(scene->table, count - 1, &found);
	assert_entry(&found, 0xfffffffffffff000, UINT64_MAX);
	rp_dma_table_at(scene->table, 0, &found);
	assert_entry(&found, 0, PAGE - 1);
}

/* Pages close together are found by their lowest bits, and by all others too. */
static void
other_addresses_with_the_same_low_bits(void **state)
{
	struct scene *scene = *state;
	unsigned int i, bit;

	for (i = 0; i < 200; i++)
		insert(scene, 0x380000000000 + i * (uint64_t)PAGE, 0x380000000000 + i * (uint64_t)PAGE + PAGE - 1);
	insert(scene, 0, PAGE - 1);
	for (i = 0; i < 200; i++) {
		uint64_t iova = 0x380000000000 + i * (uint64_t)PAGE + 7;

		assert_found(scene, iova, iova - 7, iova - 7 + PAGE - 1);
		for (bit = 20; bit < 64; bit++)
			assert_hole(scene, iova ^ UINT64_C(1) << bit);
	}
}

/* A node that has only one other below it goes, also when it was not made so. */
static void
no_node_has_one_child(void **state)
{
	struct scene *scene = *state;
	const uint64_t apart = (uint64_t)1 << 40;
	struct rp_dma_edit edit;
	unsigned int i;

	for (i = 0; i < 200; i++)
		insert(scene, i * (uint64_t)PAGE, i * (uint64_t)PAGE + PAGE - 1);
	for (i = 1; i < 10; i++)
		insert(scene, i * apart, i * apart);
	assert_true(rp_dma_slot_node(scene->table)->shift > 24);
	for (i = 1; i < 10; i++) {
		rp_dma_edit_begin(&edit, &scene->pool, scene->table);
		rp_dma_edit_erase(&edit, i * apart, i * apart);
		dispose(scene, &edit);
	}
	assert_int_equal(rp_dma_slot_kind(scene->table), RP_DMA_SLOT_SKIP);
	assert_int_equal(rp_dma_slot_node(scene->table)->shift, 18);
	assert_int_equal(rp_dma_table_count(scene->table), 200);
}

/* Of one mapping that is nearly everything, and of what lies in front of and behind it. */
static void
huge_beside_small(void **state)
{
	struct scene *scene = *state;
	unsigned int i;

	insert(scene, 0x12345, UINT64_MAX - 0x54321);
	for (i = 0; i < 40; i++)
		insert(scene, 0x12344 - i, 0x12344 - i);
	for (i = 0; i < 40; i++)
		insert(scene, UINT64_MAX - 0x54320 + i, UINT64_MAX - 0x54320 + i);
	assert_int_equal(rp_dma_table_count(scene->table), 81);
	assert_found(scene, 0x12345, 0x12345, UINT64_MAX - 0x54321);
	assert_found(scene, 0x123456789abcdef0, 0x12345, UINT64_MAX - 0x54321);
	assert_found(scene, UINT64_MAX - 0x54321, 0x12345, UINT64_MAX - 0x54321);
	for (i = 0; i < 40; i++) {
		assert_found(scene, 0x12344 - i, 0x12344 - i, 0x12344 - i);
		assert_found(scene, UINT64_MAX - 0x54320 + i, UINT64_MAX - 0x54320 + i, UINT64_MAX - 0x54320 + i);
	}
	assert_hole(scene, 0x12344 - 40);
	assert_hole(scene, UINT64_MAX - 0x54320 + 40);
}

#define WITH_SCENE(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_SCENE(empty_table_has_nothing),
		WITH_SCENE(find_at_every_edge),
		WITH_SCENE(pages_are_words),
		WITH_SCENE(far_apart_and_close_together),
		WITH_SCENE(other_addresses_with_the_same_low_bits),
		WITH_SCENE(no_node_has_one_child),
		WITH_SCENE(huge_beside_small),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
