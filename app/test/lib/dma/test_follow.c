/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <sched.h>

#include "rp_dma_follow.h"
#include "test_support.h"

/* Nodes of one CPU each, whatever the machine has: the first two that the test may run on. */
static cpu_set_t all;
static int cpu_of[2];

int __wrap_rp_dma_node_run(int node);

int
__wrap_rp_dma_node_run(int node)
{
	cpu_set_t now;

	if (node < 0 || node > 1)
		return -EINVAL;
	assert_int_equal(sched_getaffinity(0, sizeof(now), &now), 0);
	if (!CPU_ISSET(cpu_of[node], &now))
		return -ENOSPC;
	CPU_ZERO(&now);
	CPU_SET(cpu_of[node], &now);
	return sched_setaffinity(0, sizeof(now), &now);
}

static int
setup(void **state)
{
	int cpu, found = 0;

	(void)state;
	if (sched_getaffinity(0, sizeof(all), &all) < 0)
		return -1;
	for (cpu = 0; cpu < CPU_SETSIZE && found < 2; cpu++)
		if (CPU_ISSET(cpu, &all))
			cpu_of[found++] = cpu;
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	return sched_setaffinity(0, sizeof(all), &all);
}

static void
assert_runs_on(const cpu_set_t *expected)
{
	cpu_set_t now;

	assert_int_equal(sched_getaffinity(0, sizeof(now), &now), 0);
	assert_true(CPU_EQUAL(&now, expected));
}

static void
assert_runs_on_node(int node)
{
	cpu_set_t one;

	CPU_ZERO(&one);
	CPU_SET(cpu_of[node], &one);
	assert_runs_on(&one);
}

/* As taskset(1) does it from outside. */
static void
tie_to_node(int node)
{
	cpu_set_t one;

	CPU_ZERO(&one);
	CPU_SET(cpu_of[node], &one);
	assert_int_equal(sched_setaffinity(0, sizeof(one), &one), 0);
}

static void
it_goes_there_and_back(void **state)
{
	struct rp_dma_follower follower;
	int node;

	(void)state;
	if (CPU_COUNT(&all) < 2)
		skip();
	rp_dma_follow_begin(&follower);
	assert_int_equal(rp_dma_follower_node(&follower), RP_DMA_NODE_ANY);
	assert_runs_on(&all);
	for (node = 1; node >= 0; node--) {
		assert_int_equal(rp_dma_follow(&follower, node), 0);
		assert_int_equal(rp_dma_follower_node(&follower), node);
		assert_runs_on_node(node);
	}
	assert_int_equal(rp_dma_follow(&follower, RP_DMA_NODE_ANY), 0);
	assert_int_equal(rp_dma_follower_node(&follower), RP_DMA_NODE_ANY);
	assert_runs_on(&all);
	assert_int_equal(rp_dma_follow(&follower, 1), 0);
	rp_dma_follow_end(&follower);
	assert_runs_on(&all);
}

static void
nodes_that_are_not_there(void **state)
{
	struct rp_dma_follower follower;

	(void)state;
	rp_dma_follow_begin(&follower);
	assert_int_equal(rp_dma_follow(&follower, 0), 0);
	assert_int_equal(rp_dma_follow(&follower, 4711), -EINVAL);
	assert_int_equal(rp_dma_follower_node(&follower), RP_DMA_NODE_ANY);
	assert_runs_on(&all);
}

/* Tied before it begins. */
static void
it_goes_only_where_it_may(void **state)
{
	struct rp_dma_follower follower;

	(void)state;
	if (CPU_COUNT(&all) < 2)
		skip();
	tie_to_node(0);
	rp_dma_follow_begin(&follower);
	assert_int_equal(rp_dma_follow(&follower, 1), -ENOSPC);
	assert_int_equal(rp_dma_follower_node(&follower), RP_DMA_NODE_ANY);
	assert_runs_on_node(0);
	assert_int_equal(rp_dma_follow(&follower, 0), 0);
	assert_int_equal(rp_dma_follower_node(&follower), 0);
	rp_dma_follow_end(&follower);
	assert_runs_on_node(0);
}

/* Tied while it follows: what was allowed before is so no longer. */
static void
who_ties_it_meanwhile_is_obeyed(void **state)
{
	struct rp_dma_follower follower;

	(void)state;
	if (CPU_COUNT(&all) < 2)
		skip();
	rp_dma_follow_begin(&follower);
	assert_int_equal(rp_dma_follow(&follower, 1), 0);
	tie_to_node(0);
	assert_int_equal(rp_dma_follow(&follower, 1), -ENOSPC);
	assert_runs_on_node(0);
	/* And let go again. */
	assert_int_equal(sched_setaffinity(0, sizeof(all), &all), 0);
	assert_int_equal(rp_dma_follow(&follower, 1), 0);
	assert_runs_on_node(1);
	tie_to_node(0);
	rp_dma_follow_end(&follower);
	assert_runs_on_node(0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(it_goes_there_and_back),
		TEST(nodes_that_are_not_there),
		TEST(it_goes_only_where_it_may),
		TEST(who_ties_it_meanwhile_is_obeyed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
