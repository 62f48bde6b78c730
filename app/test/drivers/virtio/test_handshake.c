/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>

#include "fixture.h"

static int
set_features(struct fixture *fixture)
{
	return fixture->accel.ops->set_features(fixture->accel.priv, FAKE_VERSION_1, &fixture->why);
}

static void
the_status_goes_up_step_by_step(void **state)
{
	struct fixture *fixture = *state;

	fixture_open_ok(fixture);
	assert_int_equal(fixture->fake.status, 0);
	assert_int_equal(set_features(fixture), 0);
	assert_int_equal(fixture->fake.status, 0x0b);
	assert_int_equal(fixture_start(fixture, 0, 0, -1), 0);
	assert_int_equal(fixture->fake.status, 0x0f);
	assert_int_equal(fixture_start(fixture, 1, 0, -1), 0);
	assert_int_equal(fixture->fake.status, 0x0f);
}

static void
a_device_left_running_is_reset_at_open(void **state)
{
	struct fixture *fixture = *state;

	fixture->fake.status = 0x0f;
	fixture->fake.queues[2].enable = 1;
	fixture_open_ok(fixture);
	assert_int_equal(fixture->fake.status, 0);
	assert_int_equal(fixture->fake.queues[2].enable, 0);
}

static void
a_reset_that_never_ends_is_bounded(void **state)
{
	struct fixture *fixture = *state;

	fixture->fake.status = 0x0f;
	fixture->fake.lies.reset_ignored = true;
	fixture_assert_refused(fixture, -ETIMEDOUT, "device_status (reset): still 0x0f after 20 ms, expected 0x00");
	assert_int_equal(fixture->fake.bus_resets_count, 0);
}

static void
the_bus_can_reset_what_ignores_its_driver(void **state)
{
	struct fixture *fixture = *state;

	fixture->fake.status = 0x0f;
	fixture->fake.info.resettable = true;
	fixture->fake.lies.reset_ignored = true;
	fixture->fake.lies.bus_reset_heals = true;
	fixture_open_ok(fixture);
	assert_int_equal(fixture->fake.bus_resets_count, 1);
	/* That took the bus away. */
	assert_int_equal(fixture->fake.config_space[4] & 6, 6);
}

/* Later it could end a page that a guest has mapped. Who takes its bus mastering away has that proof instead. */
static void
the_bus_is_reset_only_at_open(void **state)
{
	struct fixture *fixture = *state;

	fixture->fake.info.resettable = true;
	fixture->fake.lies.bus_reset_heals = true;
	fixture_negotiate(fixture);
	assert_int_equal(fixture_start(fixture, 0, 0, -1), 0);
	fixture->fake.lies.reset_ignored = true;
	assert_int_equal(fixture->accel.ops->reset(fixture->accel.priv, &fixture->why), -ETIMEDOUT);
	assert_int_equal(fixture->fake.bus_resets_count, 0);
	assert_int_equal(fixture->fake.config_space[4] & 6, 2);
	rp_accel_close(&fixture->accel);
	assert_int_equal(fixture->fake.bus_resets_count, 0);
	fixture_open_ok(fixture);
	assert_int_equal(fixture->fake.bus_resets_count, 1);
	assert_int_equal(set_features(fixture), 0);
	fixture->fake.lies.reset_ignored = true;
	assert_int_equal(set_features(fixture), -ETIMEDOUT);
	rp_accel_close(&fixture->accel);
	assert_int_equal(fixture->fake.bus_resets_count, 1);
	fixture->fake.closes_count = 0;
}

static void
a_bus_reset_that_does_not_help_is_bounded(void **state)
{
	struct fixture *fixture = *state;

	fixture->fake.status = 0x0f;
	fixture->fake.info.resettable = true;
	fixture->fake.lies.reset_ignored = true;
	fixture_assert_refused(fixture, -ETIMEDOUT, "device_status (reset): still 0x0f after 20 ms");
	assert_int_equal(fixture->fake.bus_resets_count, 1);
}

static void
refused_features_leave_the_device_usable(void **state)
{
	struct fixture *fixture = *state;

	fixture_open_ok(fixture);
	fixture->fake.lies.features_refused = true;
	assert_int_equal(set_features(fixture), -ENOTSUP);
	fixture_assert_why(fixture, "features: the device refuses the set VERSION_1, ACCESS_PLATFORM, ORDER_PLATFORM");
	assert_int_equal(fixture->fake.status, 0);
	assert_int_equal(fixture_start(fixture, 0, 0, -1), -EINVAL);
	fixture_assert_why(fixture, "features are not negotiated");
	fixture->fake.lies.features_refused = false;
	assert_int_equal(set_features(fixture), 0);
}

static void
negotiation_stops_queues(void **state)
{
	struct fixture *fixture = *state;

	fixture_negotiate(fixture);
	assert_int_equal(fixture_start(fixture, 1, 5, 77), 0);
	assert_int_equal(fixture->fake.irq_fds[1], 77);
	assert_int_equal(set_features(fixture), 0);
	assert_int_equal(fixture->fake.queues[1].enable, 0);
	assert_int_equal(fixture->fake.irq_fds[1], -1);
	assert_int_equal(fixture_start(fixture, 1, 5, 77), 0);
}

static void
the_configuration_has_the_vector_after_the_queues(void **state)
{
	struct fixture *fixture = *state;

	fixture_negotiate(fixture);
	assert_int_equal(fixture->fake.config_vector, 4);
	assert_true(fixture->fake.irq_fds[4] >= 0);
}

static void
a_device_without_that_vector_works(void **state)
{
	struct fixture *fixture = *state;

	fixture->fake.info.msix_count = 4;
	fixture_negotiate(fixture);
	assert_int_equal(fixture->fake.config_vector, 0xffff);
	assert_int_equal(fixture_start(fixture, 3, 0, -1), 0);
}

static void
needs_reset_at_start_is_a_failure(void **state)
{
	struct fixture *fixture = *state;

	fixture_negotiate(fixture);
	fixture->fake.lies.status_or = 0x40;
	assert_int_equal(fixture_start(fixture, 0, 0, -1), -EIO);
	fixture_assert_why(fixture, "device_status: 0x4f, it asks for a reset");
	assert_true(fixture->accel.ops->is_quiet(fixture->accel.priv));
}

static void
reset_stops_everything(void **state)
{
	struct fixture *fixture = *state;

	fixture_negotiate(fixture);
	assert_int_equal(fixture_start(fixture, 0, 0, 77), 0);
	assert_int_equal(fixture->accel.ops->reset(fixture->accel.priv, &fixture->why), 0);
	assert_int_equal(fixture->fake.status, 0);
	assert_int_equal(fixture->fake.irq_fds[0], -1);
	assert_int_equal(fixture_start(fixture, 0, 0, 77), -EINVAL);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(the_status_goes_up_step_by_step),
		TEST(a_device_left_running_is_reset_at_open),
		TEST(a_reset_that_never_ends_is_bounded),
		TEST(the_bus_can_reset_what_ignores_its_driver),
		TEST(the_bus_is_reset_only_at_open),
		TEST(a_bus_reset_that_does_not_help_is_bounded),
		TEST(refused_features_leave_the_device_usable),
		TEST(negotiation_stops_queues),
		TEST(the_configuration_has_the_vector_after_the_queues),
		TEST(a_device_without_that_vector_works),
		TEST(needs_reset_at_start_is_a_failure),
		TEST(reset_stops_everything),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
