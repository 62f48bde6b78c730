/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdio.h>
#include <stdlib.h>

#include "pool.h"
#include "table.h"
#include "test_support.h"

/* More than three chunks of 2 MiB. */
#define NODES 12000u

static struct rp_dma_node *nodes[NODES];

static void
get_all(struct rp_dma_pool *pool)
{
	unsigned int i;

	for (i = 0; i < NODES; i++) {
		nodes[i] = rp_dma_pool_get(pool);
		assert_non_null(nodes[i]);
		assert_int_equal((uintptr_t)nodes[i] % 64, 0);
		memset(nodes[i], (int)i & 0xff, sizeof(*nodes[i]));
	}
}

/* None is given out twice: each still has what was written there. */
static void
each_is_its_own(void **state)
{
	struct rp_dma_pool pool;
	unsigned int i, round;

	(void)state;
	rp_dma_pool_init(&pool);
	for (round = 0; round < 2; round++) {
		get_all(&pool);
		for (i = 0; i < NODES; i++) {
			assert_int_equal(nodes[i]->slots[0] & 0xff, i & 0xff);
			assert_int_equal(nodes[i]->edit_number & 0xff, i & 0xff);
		}
		for (i = 0; i < NODES; i++)
			rp_dma_pool_put(&pool, nodes[(i * 7919u) % NODES]);
	}
	rp_dma_pool_end(&pool);
}

/* A peer that left a million mappings behind leaves no memory behind. */
static void
chunks_are_given_back(void **state)
{
	struct rp_dma_pool pool;
	unsigned int i;

	(void)state;
	rp_dma_pool_init(&pool);
	get_all(&pool);
	for (i = 0; i < NODES; i++)
		rp_dma_pool_put(&pool, nodes[i]);
	assert_in_range(pool.chunks_count, 0, 1);
	rp_dma_pool_end(&pool);
	assert_int_equal(pool.chunks_count, 0);
}

/* One node in use keeps its chunk, and what is free in it is used first. */
static void
one_node_stays(void **state)
{
	struct rp_dma_pool pool;
	uint32_t chunks_count;
	unsigned int i;

	(void)state;
	rp_dma_pool_init(&pool);
	get_all(&pool);
	chunks_count = pool.chunks_count;
	for (i = 1; i < NODES; i++)
		rp_dma_pool_put(&pool, nodes[i]);
	assert_int_equal(nodes[0]->slots[5], 0);
	for (i = 1; i < NODES; i++)
		nodes[i] = rp_dma_pool_get(&pool);
	assert_int_equal(pool.chunks_count, chunks_count);
	for (i = 0; i < NODES; i++)
		rp_dma_pool_put(&pool, nodes[i]);
	rp_dma_pool_end(&pool);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_is_its_own),
		cmocka_unit_test(chunks_are_given_back),
		cmocka_unit_test(one_node_stays),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
