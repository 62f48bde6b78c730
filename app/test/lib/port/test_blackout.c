/* SPDX-License-Identifier: BSD-3-Clause */
#include "blackout.h"
#include "test_support.h"

static struct rp_port_queue_info
told(const struct port_blackouts *blackouts)
{
	struct rp_port_queue_info info = {.blackout_min_us = 1, .blackout_median_us = 1, .blackout_max_us = 1};

	port_blackout_tell(blackouts, &info);
	return info;
}

static void
none(void **state)
{
	struct port_blackouts blackouts = {0};

	(void)state;
	assert_int_equal(told(&blackouts).blackouts_count, 0);
	assert_int_equal(told(&blackouts).blackout_max_us, 0);
}

static void
in_any_order(void **state)
{
	struct port_blackouts blackouts = {0};

	(void)state;
	port_blackout_add(&blackouts, 700);
	assert_int_equal(told(&blackouts).blackout_median_us, 700);
	port_blackout_add(&blackouts, 100);
	port_blackout_add(&blackouts, 300);
	assert_int_equal(told(&blackouts).blackouts_count, 3);
	assert_int_equal(told(&blackouts).blackout_min_us, 100);
	assert_int_equal(told(&blackouts).blackout_median_us, 300);
	assert_int_equal(told(&blackouts).blackout_max_us, 700);
	port_blackout_add(&blackouts, UINT64_MAX);
	assert_int_equal(told(&blackouts).blackout_median_us, 300);
	assert_int_equal(told(&blackouts).blackout_max_us, UINT32_MAX);
}

static void
the_last_ones(void **state)
{
	struct port_blackouts blackouts = {0};
	unsigned int i;

	(void)state;
	port_blackout_add(&blackouts, 5);
	for (i = 0; i < RP_PORT_BLACKOUTS_KEPT; i++)
		port_blackout_add(&blackouts, 1000 + i);
	assert_int_equal(told(&blackouts).blackouts_count, RP_PORT_BLACKOUTS_KEPT);
	assert_int_equal(told(&blackouts).blackout_min_us, 1000);
	assert_int_equal(told(&blackouts).blackout_median_us, 1000 + RP_PORT_BLACKOUTS_KEPT / 2);
	assert_int_equal(told(&blackouts).blackout_max_us, 1000 + RP_PORT_BLACKOUTS_KEPT - 1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(none),
		cmocka_unit_test(in_any_order),
		cmocka_unit_test(the_last_ones),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
