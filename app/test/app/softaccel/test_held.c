/* SPDX-License-Identifier: BSD-3-Clause */
#include "rig.h"
#include "sa_held.h"

#define MBUFS_COUNT 127u

static struct rte_mempool *pool;
static unsigned int port_count;

static struct rte_mbuf *
frame(void)
{
	struct rte_mbuf *mbuf = rte_pktmbuf_alloc(pool);

	assert_non_null(mbuf);
	return mbuf;
}

static void
begins_without_who_comes_next(void **state)
{
	struct sa_held held = {.arrived = true};

	(void)state;
	sa_held_begin(&held);
	assert_true(held.changing);
	assert_false(held.arrived);
	assert_int_equal(held.count, 0);
}

/* The first are dealt with first, and each reference is given back once. */
static void
keeps_their_order(void **state)
{
	struct rte_mbuf *mbufs[SA_HELD_MAX];
	struct sa_held held = {.changing = true};
	unsigned int i;

	(void)state;
	for (i = 0; i < SA_HELD_MAX; i++) {
		mbufs[i] = frame();
		assert_true(sa_held_keep(&held, &port_count, mbufs[i]));
		assert_int_equal(rte_mbuf_refcnt_read(mbufs[i]), 2);
		rte_pktmbuf_free(mbufs[i]);
	}
	sa_held_forget(&held, &port_count, 0);
	assert_int_equal(held.count, SA_HELD_MAX);
	sa_held_forget(&held, &port_count, 10);
	assert_int_equal(held.count, SA_HELD_MAX - 10);
	for (i = 0; i < held.count; i++)
		assert_ptr_equal(held.mbufs[i], mbufs[i + 10]);
	sa_held_forget(&held, &port_count, held.count);
	assert_int_equal(held.count, 0);
	assert_int_equal(rte_mempool_avail_count(pool), MBUFS_COUNT);
}

static void
refuses_what_it_has_no_room_for(void **state)
{
	struct sa_held held = {.changing = true};
	struct rte_mbuf *mbuf = frame();
	unsigned int i;

	(void)state;
	for (i = 0; i < SA_HELD_MAX; i++)
		assert_true(sa_held_keep(&held, &port_count, mbuf));
	assert_false(sa_held_keep(&held, &port_count, mbuf));
	assert_int_equal(rte_mbuf_refcnt_read(mbuf), SA_HELD_MAX + 1);
	sa_held_forget(&held, &port_count, SA_HELD_MAX);
	assert_int_equal(rte_mbuf_refcnt_read(mbuf), 1);
	rte_pktmbuf_free(mbuf);
	assert_int_equal(rte_mempool_avail_count(pool), MBUFS_COUNT);
}

/* A guest with many queues has no more than one with few. */
static void
the_rings_of_a_port_share_its_room(void **state)
{
	struct sa_held held = {.changing = true}, other = {.changing = true};
	struct rte_mbuf *mbuf = frame();
	unsigned int i;

	(void)state;
	for (i = 0; i < SA_HELD_MAX; i++)
		assert_true(sa_held_keep(i % 2 == 0 ? &held : &other, &port_count, mbuf));
	assert_false(sa_held_keep(&held, &port_count, mbuf));
	assert_false(sa_held_keep(&other, &port_count, mbuf));
	sa_held_forget(&other, &port_count, 1);
	assert_true(sa_held_keep(&held, &port_count, mbuf));
	sa_held_forget(&held, &port_count, held.count);
	sa_held_forget(&other, &port_count, other.count);
	assert_int_equal(port_count, 0);
	rte_pktmbuf_free(mbuf);
	assert_int_equal(rte_mempool_avail_count(pool), MBUFS_COUNT);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(begins_without_who_comes_next),
		cmocka_unit_test(keeps_their_order),
		cmocka_unit_test(refuses_what_it_has_no_room_for),
		cmocka_unit_test(the_rings_of_a_port_share_its_room),
	};

	rig_eal_init();
	pool = rte_pktmbuf_pool_create("held", MBUFS_COUNT, 0, 0, RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
