/* SPDX-License-Identifier: BSD-3-Clause */
#include <limits.h>
#include <time.h>

#include "rp_dma_vote.h"
#include "test_support.h"

static time_t now_s;
static struct rp_dma_vote vote;

int __wrap_clock_gettime(clockid_t clock, struct timespec *ret_now);

int
__wrap_clock_gettime(clockid_t clock, struct timespec *ret_now)
{
	(void)clock;
	*ret_now = (struct timespec){.tv_sec = now_s};
	return 0;
}

static int
setup(void **state)
{
	(void)state;
	now_s = 1000;
	rp_dma_vote_init(&vote);
	return 0;
}

static void
nobody_votes(void **state)
{
	static const int nodes[] = {RP_DMA_NODE_ANY, RP_DMA_VOTE_NODES_MAX, INT_MAX, INT_MIN};
	unsigned int i;

	(void)state;
	for (i = 0; i < sizeof(nodes) / sizeof(nodes[0]); i++) {
		assert_false(rp_dma_vote_cast(&vote, nodes[i], 1));
		assert_false(rp_dma_vote_cast(&vote, nodes[i], -1));
	}
	assert_int_equal(rp_dma_vote_node(&vote), RP_DMA_NODE_ANY);
}

/* The first at once: nothing was moved yet that could have had a price. */
static void
most_votes_win(void **state)
{
	(void)state;
	assert_true(rp_dma_vote_cast(&vote, RP_DMA_VOTE_NODES_MAX - 1, 1));
	assert_int_equal(rp_dma_vote_node(&vote), RP_DMA_VOTE_NODES_MAX - 1);
	assert_false(rp_dma_vote_cast(&vote, RP_DMA_VOTE_NODES_MAX - 1, 1));
	now_s += RP_DMA_VOTE_SETTLE_S;
	assert_false(rp_dma_vote_cast(&vote, 0, 1));
	assert_false(rp_dma_vote_cast(&vote, 0, 1));
	assert_true(rp_dma_vote_cast(&vote, 0, 1));
	assert_int_equal(rp_dma_vote_node(&vote), 0);
}

/* With none left too: the next one is as good a guess. */
static void
as_many_elsewhere_change_nothing(void **state)
{
	(void)state;
	assert_true(rp_dma_vote_cast(&vote, 1, 1));
	now_s += RP_DMA_VOTE_SETTLE_S;
	assert_false(rp_dma_vote_cast(&vote, 0, 1));
	assert_false(rp_dma_vote_cast(&vote, 0, -1));
	assert_false(rp_dma_vote_cast(&vote, 1, -1));
	assert_int_equal(rp_dma_vote_node(&vote), 1);
	assert_true(rp_dma_vote_cast(&vote, 0, 1));
}

static void
a_choice_holds_for_a_while(void **state)
{
	unsigned int i;

	(void)state;
	assert_true(rp_dma_vote_cast(&vote, 1, 1));
	now_s += RP_DMA_VOTE_SETTLE_S - 1;
	for (i = 0; i < 100; i++) {
		assert_false(rp_dma_vote_cast(&vote, 1, -1));
		assert_false(rp_dma_vote_cast(&vote, 0, 1));
		assert_false(rp_dma_vote_cast(&vote, 0, -1));
		assert_false(rp_dma_vote_cast(&vote, 1, 1));
	}
	assert_false(rp_dma_vote_cast(&vote, 0, 1));
	assert_false(rp_dma_vote_cast(&vote, 0, 1));
	assert_int_equal(rp_dma_vote_node(&vote), 1);
	/* A majority by now, whoever votes next. */
	now_s++;
	assert_true(rp_dma_vote_cast(&vote, 1, -1));
	assert_int_equal(rp_dma_vote_node(&vote), 0);
}

#define TEST(name) cmocka_unit_test_setup(name, setup)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(nobody_votes),
		TEST(most_votes_win),
		TEST(as_many_elsewhere_change_nothing),
		TEST(a_choice_holds_for_a_while),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
