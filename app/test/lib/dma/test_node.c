/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <limits.h>
#include <sched.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "rp_dma_node.h"
#include "test_support.h"

/* On a machine of one node nothing is to be chosen; app/test/e2e/test_numa.py runs this where there are two. */

#define PAGES 8u

static size_t page_bytes;

static int
setup(void **state)
{
	page_bytes = (size_t)sysconf(_SC_PAGESIZE);
	*state = mmap(NULL, PAGES * page_bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	return *state == MAP_FAILED ? -1 : 0;
}

static int
teardown(void **state)
{
	return munmap(*state, PAGES * page_bytes);
}

static void
assert_all_on(uint8_t *memory, int node)
{
	unsigned int page;

	for (page = 0; page < PAGES; page++)
		assert_int_equal(rp_dma_node_of(memory + page * page_bytes), node);
}

static void
any_node_is_as_it_is(void **state)
{
	cpu_set_t before, after;

	assert_true(rp_dma_nodes_count() >= 1);
	assert_int_equal(rp_dma_node_place(*state, PAGES * page_bytes, RP_DMA_NODE_ANY), 0);
	assert_int_equal(sched_getaffinity(0, sizeof(before), &before), 0);
	assert_int_equal(rp_dma_node_run(RP_DMA_NODE_ANY), 0);
	assert_int_equal(sched_getaffinity(0, sizeof(after), &after), 0);
	assert_true(CPU_EQUAL(&before, &after));
}

static void
nodes_that_are_not_there(void **state)
{
	static const int nodes[] = {-2, 4711, INT_MAX, INT_MIN};
	unsigned int i;

	for (i = 0; i < sizeof(nodes) / sizeof(nodes[0]); i++) {
		assert_int_equal(rp_dma_node_place(*state, PAGES * page_bytes, nodes[i]), -EINVAL);
		assert_int_equal(rp_dma_node_run(nodes[i]), -EINVAL);
	}
	assert_int_equal(rp_dma_node_place((uint8_t *)*state + 1, page_bytes, 0), -EINVAL);
}

static void
memory_that_is_not_there(void **state)
{
	uint8_t *memory = mmap(NULL, page_bytes, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	(void)state;
	assert_int_equal(munmap(memory, page_bytes), 0);
	assert_int_equal(rp_dma_node_of(memory), RP_DMA_NODE_ANY);
}

static void
one_node(void **state)
{
	uint8_t *memory = *state;

	if (rp_dma_nodes_count() > 1)
		skip();
	memset(memory, 1, PAGES * page_bytes);
	assert_all_on(memory, RP_DMA_NODE_ANY);
}

/* Placed before it is written, and moved after. */
static void
memory_goes_where_it_is_wanted(void **state)
{
	uint8_t *memory = *state;
	int node;

	if (rp_dma_nodes_count() < 2)
		skip();
	for (node = 1; node >= 0; node--) {
		assert_int_equal(rp_dma_node_place(memory, PAGES * page_bytes, node), 0);
		memset(memory, 0x5a, PAGES * page_bytes);
		assert_all_on(memory, node);
	}
}

static void
threads_go_where_they_are_wanted(void **state)
{
	cpu_set_t all, now;
	unsigned int node = UINT_MAX;
	int wanted;

	(void)state;
	if (rp_dma_nodes_count() < 2)
		skip();
	assert_int_equal(sched_getaffinity(0, sizeof(all), &all), 0);
	for (wanted = 0; wanted < 2; wanted++) {
		assert_int_equal(rp_dma_node_run(wanted), 0);
		assert_int_equal(getcpu(NULL, &node), 0);
		assert_int_equal(node, wanted);
		/* Not to where it may not run. */
		assert_int_equal(rp_dma_node_run(1 - wanted), -ENOSPC);
		assert_int_equal(sched_getaffinity(0, sizeof(now), &now), 0);
		assert_true(CPU_COUNT(&now) < CPU_COUNT(&all));
		assert_int_equal(sched_setaffinity(0, sizeof(all), &all), 0);
	}
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(any_node_is_as_it_is),	      TEST(nodes_that_are_not_there),
		TEST(memory_that_is_not_there),	      TEST(one_node),
		TEST(memory_goes_where_it_is_wanted), TEST(threads_go_where_they_are_wanted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
