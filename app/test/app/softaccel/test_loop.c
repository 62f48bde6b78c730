/* SPDX-License-Identifier: BSD-3-Clause */
#include <sys/eventfd.h>

#include "rig.h"
#include "sa_datapath.h"

static struct sa_datapath path;

/* A wake-up that came too late to end a sleep is no work; taken for some, it would keep the loop from sleeping. */
static void
late_wake_up_is_no_work(void **state)
{
	(void)state;
	assert_int_equal(sa_datapath_init(&path, 255), 0);
	eventfd_write(path.gate.wake_fd, 1);
	assert_int_equal(sa_datapath_poll(&path), 0);
	assert_int_equal(sa_datapath_poll(&path), 0);
	sa_datapath_fini(&path);
}

static void
stop_before_run(void **state)
{
	(void)state;
	assert_int_equal(sa_datapath_init(&path, 255), 0);
	sa_datapath_stop(&path);
	sa_datapath_run(&path);
	sa_datapath_fini(&path);
}

static void
sleeps_grow_to_a_ceiling(void **state)
{
	struct sa_idle idle = {.spins_count = 0};
	uint32_t last_us = 0, us = 0;
	unsigned int i;

	(void)state;
	for (i = 0; i < SA_IDLE_SPINS; i++)
		assert_int_equal(sa_idle_next_us(&idle), 0);
	for (i = 0; i < 20; i++) {
		us = sa_idle_next_us(&idle);
		assert_true(us >= last_us && us >= SA_IDLE_FIRST_US && us <= SA_IDLE_LAST_US);
		last_us = us;
	}
	assert_int_equal(us, SA_IDLE_LAST_US);
	sa_idle_reset(&idle);
	assert_int_equal(sa_idle_next_us(&idle), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(late_wake_up_is_no_work),
		cmocka_unit_test(stop_before_run),
		cmocka_unit_test(sleeps_grow_to_a_ceiling),
	};

	rig_eal_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
