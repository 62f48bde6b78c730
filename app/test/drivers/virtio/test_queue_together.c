/* SPDX-License-Identifier: BSD-3-Clause */

/* Several queues that start together: each has its result. */

#include <errno.h>
#include <string.h>

#include "fixture.h"

static struct rp_accel_queue_start
start_of(unsigned int queue, int call_fd)
{
	return (struct rp_accel_queue_start){
		.queue = queue,
		.config = {.num = 64,
			   .position = 5 + queue,
			   .desc_iova = 0x100000ull * (queue + 1),
			   .avail_iova = 0x200000ull * (queue + 1),
			   .used_iova = 0x300000ull * (queue + 1),
			   .call_fd = call_fd},
	};
}

/* What is programmed and what interrupts go together; nothing is enabled before both were judged. */
static void
vectors_and_registers_in_one_flight(void **state)
{
	struct fixture *fixture = *state;
	struct rp_accel_queue_start starts[3] = {{.queue = 1}, {.queue = 2}, {.queue = 0}};
	unsigned int i;

	fixture_negotiate(fixture);
	for (i = 0; i < 3; i++)
		starts[i].config = (struct rp_accel_queue_config){.num = 64,
								  .desc_iova = 0x10000,
								  .avail_iova = 0x11000,
								  .used_iova = 0x12000,
								  .call_fd = 70 + (int)i};
	assert_int_equal(fixture->accel.ops->queues_start(fixture->accel.priv, starts, 2, &fixture->why), 0);
	assert_int_equal(fixture->fake.flights_count, 1);
	for (i = 1; i < 3; i++) {
		assert_int_equal(starts[i - 1].error, 0);
		assert_int_equal(fixture->fake.queues[i].enable, 1);
		assert_int_equal(fixture->fake.queues[i].vector, i);
		assert_int_equal(fixture->fake.irq_fds[i], 69 + (int)i);
	}
	/* One whose vector it refuses is not enabled. */
	fixture->fake.lies.irq_error = -EINVAL;
	assert_int_equal(fixture->accel.ops->queues_start(fixture->accel.priv, &starts[2], 1, &fixture->why), 0);
	assert_int_equal(starts[2].error, -ENOTSUP);
	assert_string_equal(starts[2].why.text, "queue 0: MSI-X vector: vector 0 refused");
	assert_int_equal(fixture->fake.queues[0].enable, 0);
	fixture->fake.lies.irq_error = 0;
	assert_int_equal(fixture->accel.ops->queues_start(fixture->accel.priv, &starts[2], 1, &fixture->why), 0);
	assert_int_equal(starts[2].error, 0);
	assert_int_equal(fixture->fake.queues[0].enable, 1);
	assert_int_equal(fixture->fake.flights_count, 3);
}

static void
several_start_together_and_each_has_its_result(void **state)
{
	struct fixture *fixture = *state;
	struct rp_accel_queue_start starts[] = {start_of(2, 72), start_of(0, 70), start_of(1, 71), start_of(0, 70),
						start_of(9, 79)};

	fixture_negotiate(fixture);
	starts[2].config.num = 48;
	assert_int_equal(fixture->accel.ops->queues_start(fixture->accel.priv, starts, 5, &fixture->why), 0);
	assert_int_equal(starts[0].error, 0);
	assert_int_equal(starts[1].error, 0);
	assert_int_equal(starts[2].error, -EINVAL);
	assert_non_null(strstr(starts[2].why.text, "queue 1: size: 48"));
	assert_int_equal(starts[3].error, -EBUSY);
	assert_int_equal(starts[4].error, -EINVAL);
	assert_int_equal(fixture->fake.queues[0].enable, 1);
	assert_int_equal(fixture->fake.queues[1].enable, 0);
	assert_int_equal(fixture->fake.queues[2].enable, 1);
	assert_int_equal(fixture->fake.queues[2].position, 7);
	assert_true(fixture->fake.queues[2].driver == 0x600000);
	assert_int_equal(fixture->fake.queues[2].vector, 2);
	assert_int_equal(fixture->fake.irq_fds[0], 70);
	assert_int_equal(fixture->fake.irq_fds[1], -1);
	assert_int_equal(fixture->fake.irq_fds[2], 72);
	assert_int_equal(fixture->fake.status, 0x0f);
}

static void
what_the_device_refuses_of_several(void **state)
{
	struct fixture *fixture = *state;
	struct rp_accel_queue_start starts[] = {start_of(0, 70), start_of(1, 71)};

	fixture_negotiate(fixture);
	fixture->fake.lies.size_refused = true;
	assert_int_equal(fixture->accel.ops->queues_start(fixture->accel.priv, starts, 2, &fixture->why), 0);
	assert_int_equal(starts[0].error, -ENOTSUP);
	assert_int_equal(starts[1].error, -ENOTSUP);
	assert_non_null(strstr(starts[1].why.text, "queue 1: queue_size: "));
	assert_int_equal(fixture->fake.queues[0].enable, 0);
	assert_int_equal(fixture->fake.irq_fds[0], -1);
	fixture->fake.lies.size_refused = false;
	assert_int_equal(fixture->accel.ops->queues_start(fixture->accel.priv, starts, 2, &fixture->why), 0);
	assert_int_equal(starts[1].error, 0);
}

static void
a_loss_ends_all_of_them(void **state)
{
	struct fixture *fixture = *state;
	struct rp_accel_queue_start starts[] = {start_of(0, 70), start_of(1, 71)};

	fixture_negotiate(fixture);
	/* Against the rules, of one of them. */
	fixture->fake.queues[0].enable = 1;
	fixture->fake.lies.reset_ignored = true;
	assert_int_equal(fixture->accel.ops->queues_start(fixture->accel.priv, starts, 2, &fixture->why), -EIO);
	assert_int_equal(starts[0].error, -EIO);
	assert_int_equal(starts[1].error, -EIO);
	assert_non_null(strstr(starts[1].why.text, "queue 0: queue_enable: reads 1"));
	assert_int_equal(fixture->fake.queues[1].enable, 0);
	assert_int_equal(fixture->accel.ops->queues_start(fixture->accel.priv, starts, 2, &fixture->why), -EIO);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(several_start_together_and_each_has_its_result, fixture_setup,
						fixture_teardown),
		cmocka_unit_test_setup_teardown(what_the_device_refuses_of_several, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(a_loss_ends_all_of_them, fixture_setup, fixture_teardown),
		/* The same where what is programmed goes with what interrupts. */
		cmocka_unit_test_setup_teardown(several_start_together_and_each_has_its_result, fixture_setup_many,
						fixture_teardown),
		cmocka_unit_test_setup_teardown(what_the_device_refuses_of_several, fixture_setup_many,
						fixture_teardown),
		cmocka_unit_test_setup_teardown(a_loss_ends_all_of_them, fixture_setup_many, fixture_teardown),
		cmocka_unit_test_setup_teardown(vectors_and_registers_in_one_flight, fixture_setup_many,
						fixture_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
