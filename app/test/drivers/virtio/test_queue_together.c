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

static int
prepare(struct fixture *fixture, const struct rp_accel_queue_start *starts, unsigned int count)
{
	return fixture->accel.ops->queues_prepare(fixture->accel.priv, starts, count, &fixture->why);
}

static int
start(struct fixture *fixture, struct rp_accel_queue_start *starts, unsigned int count)
{
	return fixture->accel.ops->queues_start(fixture->accel.priv, starts, count, &fixture->why);
}

/* All but the position and the enabling is said before; the position is that of the start. */
static void
prepared_rings_are_only_placed_and_enabled(void **state)
{
	struct fixture *fixture = *state;
	struct rp_accel_queue_start starts[] = {start_of(0, 70), start_of(1, 71)};
	unsigned int sets, flights, i;

	fixture_negotiate(fixture);
	starts[0].config.position = UINT32_MAX;
	assert_int_equal(prepare(fixture, starts, 2), 0);
	for (i = 0; i < 2; i++) {
		assert_int_equal(fixture->fake.queues[i].enable, 0);
		assert_int_equal(fixture->fake.queues[i].size, 64);
		assert_int_equal(fixture->fake.queues[i].vector, i);
		assert_true(fixture->fake.queues[i].device == starts[i].config.used_iova);
		assert_int_equal(fixture->fake.irq_fds[i], 70 + (int)i);
	}
	assert_int_equal(fixture->fake.status & 0x04, 0);
	sets = fixture->fake.irq_sets_count;
	flights = fixture->fake.flights_count;
	starts[0].config.position = 5;
	assert_int_equal(start(fixture, starts, 2), 0);
	for (i = 0; i < 2; i++) {
		assert_int_equal(starts[i].error, 0);
		assert_int_equal(fixture->fake.queues[i].enable, 1);
		assert_int_equal(fixture->fake.queues[i].position, 5 + i);
	}
	assert_int_equal(fixture->fake.status, 0x0f);
	assert_int_equal(fixture->fake.irq_sets_count, sets);
	assert_int_equal(fixture->fake.flights_count, flights);
	/* Those that run are left alone. */
	assert_int_equal(prepare(fixture, starts, 2), 0);
	assert_int_equal(fixture->fake.queues[0].enable, 1);
	assert_int_equal(fixture->fake.irq_sets_count, sets);
}

/* Registers of a bus cost nothing, and one device at a time has the guest's eventfd. */
static void
nothing_is_said_ahead_on_a_bus(void **state)
{
	struct fixture *fixture = *state;
	struct rp_accel_queue_start starts[] = {start_of(0, 70), start_of(1, 71)};

	fixture_negotiate(fixture);
	assert_int_equal(prepare(fixture, starts, 2), 0);
	assert_int_equal(fixture->fake.irq_fds[0], -1);
	assert_int_equal(start(fixture, starts, 2), 0);
	assert_int_equal(fixture->fake.irq_fds[0], 70);
	assert_int_equal(fixture->fake.queues[1].enable, 1);
}

/* What was said of another ring is said anew, whatever it is that differs; and it was said for one start. */
static void
prepared_for_something_else(void **state)
{
	struct fixture *fixture = *state;
	struct rp_accel_queue_start said = start_of(1, 71), starts[6];
	uint32_t position;
	unsigned int i;

	fixture_negotiate(fixture);
	for (i = 0; i < 6; i++)
		starts[i] = said;
	starts[0].config.num = 32;
	starts[1].config.desc_iova = 0x700000;
	starts[2].config.avail_iova = 0x710000;
	starts[3].config.used_iova = 0x720000;
	starts[4].config.call_fd = 80;
	for (i = 0; i < 6; i++) {
		const struct fake_queue *queue = &fixture->fake.queues[1];
		const struct rp_accel_queue_config *config = &starts[i].config;

		assert_int_equal(prepare(fixture, &said, 1), 0);
		assert_int_equal(start(fixture, &starts[i], 1), 0);
		assert_int_equal(queue->enable, 1);
		assert_int_equal(queue->size, config->num);
		assert_true(queue->desc == config->desc_iova && queue->driver == config->avail_iova &&
			    queue->device == config->used_iova);
		assert_int_equal(fixture->fake.irq_fds[1], config->call_fd);
		assert_int_equal(fixture->accel.ops->queue_stop(fixture->accel.priv, 1, &position, &fixture->why), 0);
		assert_int_equal(fixture->fake.irq_fds[1], -1);
	}
	assert_int_equal(start(fixture, &said, 1), 0);
	assert_int_equal(fixture->fake.irq_fds[1], 71);
}

static void
prepared_and_forgotten(void **state)
{
	struct fixture *fixture = *state;
	struct rp_accel_queue_start starts[] = {start_of(0, 70), start_of(1, 71)};

	fixture_negotiate(fixture);
	assert_int_equal(prepare(fixture, starts, 2), 0);
	fixture->accel.ops->queue_forget(fixture->accel.priv, 0);
	fixture->accel.ops->queue_forget(fixture->accel.priv, 99);
	assert_int_equal(fixture->fake.irq_fds[0], -1);
	assert_int_equal(fixture->fake.irq_fds[1], 71);
	assert_int_equal(start(fixture, &starts[0], 1), 0);
	assert_int_equal(fixture->fake.irq_fds[0], 70);
	/* One that runs has nothing to forget. */
	fixture->accel.ops->queue_forget(fixture->accel.priv, 0);
	assert_int_equal(fixture->fake.irq_fds[0], 70);
	assert_int_equal(fixture->accel.ops->reset(fixture->accel.priv, &fixture->why), 0);
	assert_int_equal(fixture->fake.irq_fds[1], -1);
	assert_int_equal(fixture->accel.ops->set_features(fixture->accel.priv, FAKE_VERSION_1, &fixture->why), 0);
	assert_int_equal(start(fixture, &starts[1], 1), 0);
	assert_int_equal(fixture->fake.irq_fds[1], 71);
	assert_int_equal(fixture->fake.queues[1].size, 64);
}

/* It is the start that says so, also of what may be refused only then. */
static void
prepared_and_refused(void **state)
{
	struct fixture *fixture = *state;
	struct rp_accel_queue_start starts[] = {start_of(0, 70), start_of(1, 71)};

	fixture_negotiate(fixture);
	fixture->fake.lies.size_refused = true;
	assert_int_equal(prepare(fixture, starts, 2), 0);
	assert_int_equal(fixture->fake.irq_fds[0], -1);
	assert_int_equal(start(fixture, starts, 2), 0);
	assert_int_equal(starts[0].error, -ENOTSUP);
	assert_non_null(strstr(starts[0].why.text, "queue 0: queue_size: "));
	assert_int_equal(fixture->fake.queues[0].enable, 0);
	fixture->fake.lies.size_refused = false;
	assert_int_equal(prepare(fixture, starts, 2), 0);
	fixture->fake.lies.enable_refused = true;
	assert_int_equal(start(fixture, starts, 2), 0);
	assert_int_equal(starts[1].error, -ENOTSUP);
	assert_non_null(strstr(starts[1].why.text, "queue 1: queue_enable: reads 0x0"));
	assert_int_equal(fixture->fake.irq_fds[1], -1);
	fixture->fake.lies.enable_refused = false;
	/* It runs, and nobody knows from where. */
	assert_int_equal(prepare(fixture, starts, 2), 0);
	fixture->fake.lies.position_xor = 1;
	assert_int_equal(start(fixture, starts, 2), -EIO);
	assert_int_equal(starts[1].error, -EIO);
	assert_non_null(strstr(fixture->why.text, "position: reads 0x4 after 0x5"));
}

/* At each access in turn: before anything is enabled it is the telling that fails, then it is each of the starts. */
static void
the_transport_leaves_while_rings_are_prepared_and_started(void **state)
{
	struct fixture *fixture = *state;
	unsigned int told = 0, started = 0, i;

	for (i = 1; started == 0; i++) {
		struct rp_accel_queue_start starts[] = {start_of(0, 70), start_of(1, 71)};
		int rc;

		fake_fini(&fixture->fake);
		fake_init(&fixture->fake);
		fixture->fake.takes_many = true;
		fixture_negotiate(fixture);
		fixture->fake.lies.fail_after = fixture->fake.accesses_count + i;
		fixture->fake.lies.fail_error = -ENOTCONN;
		rc = prepare(fixture, starts, 2);
		if (rc < 0) {
			told++;
			assert_int_equal(rc, -ENOTCONN);
			assert_int_equal(fixture->fake.queues[0].enable, 0);
		} else if (start(fixture, starts, 2) < 0) {
			assert_int_equal(starts[0].error, -ENOTCONN);
			assert_int_equal(starts[1].error, -ENOTCONN);
		} else {
			started++;
		}
		rp_accel_close(&fixture->accel);
	}
	assert_true(told >= 10);
	/* And positions, their check, what enables, its check: of two. */
	assert_true(i - told > 10);
	fixture->fake.closes_count = 0;
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
		cmocka_unit_test_setup_teardown(nothing_is_said_ahead_on_a_bus, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(the_transport_leaves_while_rings_are_prepared_and_started,
						fixture_setup_many, fixture_teardown),
		cmocka_unit_test_setup_teardown(prepared_rings_are_only_placed_and_enabled, fixture_setup_many,
						fixture_teardown),
		cmocka_unit_test_setup_teardown(prepared_for_something_else, fixture_setup_many, fixture_teardown),
		cmocka_unit_test_setup_teardown(prepared_and_forgotten, fixture_setup_many, fixture_teardown),
		cmocka_unit_test_setup_teardown(prepared_and_refused, fixture_setup_many, fixture_teardown),
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
