/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "fixture.h"

#define PATIENCE_S 60

static int
process(struct fixture *fixture)
{
	return fixture->accel.ops->process(fixture->accel.priv, &fixture->why);
}

static bool
is_readable(struct fixture *fixture)
{
	struct pollfd pollfd = {.fd = fixture->accel.ops->get_fd(fixture->accel.priv), .events = POLLIN};

	return poll(&pollfd, 1, 0) == 1;
}

static void
identities(void **state)
{
	struct fixture *fixture = *state;

	fake_put_u32(&fixture->fake, 0, 0x10411af5);
	fixture_assert_refused(fixture, -ENOTSUP, "PCI device 1af5:1041 is not a virtio device");
	fake_put_u32(&fixture->fake, 0, 0x10801af4);
	fixture_assert_refused(fixture, -ENOTSUP, "PCI device 1af4:1080 is not a virtio device");
	fake_put_u32(&fixture->fake, 0, 0x10421af4);
	fixture_assert_refused(fixture, -ENOTSUP, "PCI device 1af4:1042 is not a virtio network device");
	fake_put_u32(&fixture->fake, 0, 0x10001af4);
	fixture_open_ok(fixture);
}

static void
the_bus_is_enabled(void **state)
{
	struct fixture *fixture = *state;

	fixture_open_ok(fixture);
	assert_int_equal(fixture->fake.config_space[4] & 6, 6);
}

static void
a_config_interrupt_shows_a_device_that_needs_a_reset(void **state)
{
	struct fixture *fixture = *state;
	uint64_t one = 1;

	fixture_negotiate(fixture);
	assert_int_equal(fixture_start(fixture, 0, 0, 77), 0);
	assert_int_equal(process(fixture), 0);
	assert_false(is_readable(fixture));
	fixture->fake.lies.status_or = 0x40;
	assert_int_equal(write(fixture->fake.irq_fds[4], &one, sizeof(one)), sizeof(one));
	assert_true(is_readable(fixture));
	assert_int_equal(process(fixture), -EIO);
	fixture_assert_why(fixture, "device_status: 0x4f, it asks for a reset");
	assert_true(fixture->accel.ops->is_quiet(fixture->accel.priv));
	assert_int_equal(fixture->fake.queues[0].enable, 0);
	assert_int_equal(fixture->fake.irq_fds[0], -1);
	assert_int_equal(fixture->fake.config_space[4] & 6, 6);
}

static void
another_config_interrupt_is_a_change(void **state)
{
	struct fixture *fixture = *state;
	uint64_t one = 1;

	fixture_negotiate(fixture);
	assert_int_equal(process(fixture), 0);
	assert_int_equal(write(fixture->fake.irq_fds[4], &one, sizeof(one)), sizeof(one));
	assert_int_equal(write(fixture->fake.irq_fds[4], &one, sizeof(one)), sizeof(one));
	assert_int_equal(process(fixture), 1);
	assert_false(is_readable(fixture));
	assert_int_equal(process(fixture), 0);
}

/* It holds the same open file, with its flags: what it did to it must not make us wait. */
static void
a_device_that_drains_its_own_event(void **state)
{
	struct fixture *fixture = *state;
	eventfd_t count;

	fixture_negotiate(fixture);
	assert_int_equal(eventfd_write(fixture->fake.irq_fds[4], 1), 0);
	assert_true(is_readable(fixture));
	assert_int_equal(eventfd_read(fixture->fake.irq_fds[4], &count), 0);
	assert_int_equal(fcntl(fixture->fake.irq_fds[4], F_SETFL, 0), 0);
	/* A wait would be for ever. */
	alarm(PATIENCE_S);
	assert_int_equal(process(fixture), 0);
	assert_int_equal(eventfd_write(fixture->fake.irq_fds[4], 1), 0);
	assert_int_equal(process(fixture), 1);
	alarm(0);
}

/* And whoever polls us learns of a loss all the same. */
static void
a_device_that_fills_its_own_event(void **state)
{
	struct fixture *fixture = *state;
	eventfd_t count;

	fixture_negotiate(fixture);
	assert_int_equal(eventfd_write(fixture->fake.irq_fds[4], UINT64_MAX - 1), 0);
	assert_int_equal(fcntl(fixture->fake.irq_fds[4], F_SETFL, 0), 0);
	/* Found by another operation than the one that drains. */
	fixture->fake.lies.all_ones = true;
	alarm(PATIENCE_S);
	assert_int_equal(fixture_start(fixture, 0, 0, 77), -EIO);
	alarm(0);
	assert_int_equal(eventfd_read(fixture->fake.irq_fds[4], &count), 0);
	assert_true(is_readable(fixture));
	assert_int_equal(process(fixture), -EIO);
}

/* A vector that fires late, when the device was reset since. */
static void
without_a_negotiation_there_is_no_change(void **state)
{
	struct fixture *fixture = *state;
	uint64_t one = 1;

	fixture_negotiate(fixture);
	assert_int_equal(fixture->accel.ops->reset(fixture->accel.priv, &fixture->why), 0);
	assert_int_equal(write(fixture->fake.irq_fds[4], &one, sizeof(one)), sizeof(one));
	assert_int_equal(process(fixture), 0);
}

static void
a_device_that_fell_off_its_bus(void **state)
{
	struct fixture *fixture = *state;

	fixture_negotiate(fixture);
	assert_int_equal(fixture_start(fixture, 0, 0, 77), 0);
	fixture->fake.lies.all_ones = true;
	assert_int_equal(process(fixture), -EIO);
	fixture_assert_why(fixture, "read at 0x14: the device does not answer (all ones)");
	/* No register can prove anything any more. */
	assert_false(fixture->accel.ops->is_quiet(fixture->accel.priv));
}

/* Met in the middle of an operation, too, and not by waiting for its end. */
static void
a_device_that_falls_off_under_a_call(void **state)
{
	struct fixture *fixture = *state;
	struct rp_accel_queue_counters counters;

	fixture_negotiate(fixture);
	fixture->fake.lies.all_ones = true;
	assert_int_equal(fixture_start(fixture, 0, 0, 77), -EIO);
	fixture_assert_why(fixture, "read at 0x1c: the device does not answer (all ones)");
	rp_accel_close(&fixture->accel);
	fixture->fake.lies.all_ones = false;
	fixture_negotiate(fixture);
	fixture->fake.lies.all_ones = true;
	assert_int_equal(fixture->accel.ops->queue_counters(fixture->accel.priv, 0, &counters), -EIO);
	rp_accel_close(&fixture->accel);
	fixture->fake.closes_count = 0;
	fixture_assert_refused(fixture, -EIO, "the device does not answer (all ones)");
}

/* Then its bus is asked; whether that is proof is for the transport to say. */
static void
a_failed_device_that_cannot_be_reset_loses_its_bus(void **state)
{
	struct fixture *fixture = *state;

	fixture_negotiate(fixture);
	assert_int_equal(fixture_start(fixture, 0, 0, 77), 0);
	fixture->fake.lies.status_or = 0x40;
	fixture->fake.lies.reset_ignored = true;
	assert_int_equal(process(fixture), -EIO);
	assert_int_equal(fixture->fake.config_space[4] & 6, 2);
	assert_false(fixture->accel.ops->is_quiet(fixture->accel.priv));
	fixture->fake.quiet = true;
	assert_true(fixture->accel.ops->is_quiet(fixture->accel.priv));
}

static void
a_device_that_was_reset_behind_our_back(void **state)
{
	struct fixture *fixture = *state;

	fixture_negotiate(fixture);
	assert_int_equal(fixture_start(fixture, 0, 0, 77), 0);
	fixture->fake.status = 0;
	assert_int_equal(process(fixture), -EIO);
	fixture_assert_why(fixture, "device_status: 0x00, expected 0x0f: it was reset by somebody else");
}

static void
a_transport_that_left(void **state)
{
	struct fixture *fixture = *state;
	unsigned int accesses_count;

	fixture_negotiate(fixture);
	assert_int_equal(fixture_start(fixture, 0, 0, 77), 0);
	fixture->fake.process_error = -ENOTCONN;
	accesses_count = fixture->fake.accesses_count;
	assert_int_equal(process(fixture), -ENOTCONN);
	fixture_assert_why(fixture, "the fake left");
	assert_false(fixture->accel.ops->is_quiet(fixture->accel.priv));
	/* Every operation says the same, and the device is left alone. */
	assert_int_equal(fixture->accel.ops->queue_kick(fixture->accel.priv, 0), -ENOTCONN);
	assert_int_equal(fixture->accel.ops->reset(fixture->accel.priv, NULL), -ENOTCONN);
	assert_int_equal(fixture->accel.ops->dma_unmap(fixture->accel.priv, 0, 4096, NULL), -ENOTCONN);
	memset(&fixture->why, 0, sizeof(fixture->why));
	assert_int_equal(process(fixture), -ENOTCONN);
	fixture_assert_why(fixture, "the fake left");
	assert_int_equal(fixture->fake.accesses_count, accesses_count);
	fixture->fake.quiet = true;
	assert_true(fixture->accel.ops->is_quiet(fixture->accel.priv));
}

static void
who_polls_learns_of_a_failure_that_a_call_met(void **state)
{
	struct fixture *fixture = *state;
	struct rp_accel_queue_counters counters;

	fixture_negotiate(fixture);
	fixture->fake.lies.fail_after = fixture->fake.accesses_count;
	fixture->fake.lies.fail_error = -ENOTCONN;
	assert_int_equal(fixture->accel.ops->queue_counters(fixture->accel.priv, 0, &counters), -ENOTCONN);
	assert_true(is_readable(fixture));
	assert_int_equal(process(fixture), -ENOTCONN);
	fixture_assert_why(fixture, "the fake fails");
}

static void
closing_quiets_the_device(void **state)
{
	struct fixture *fixture = *state;

	fixture_negotiate(fixture);
	assert_int_equal(fixture_start(fixture, 0, 0, 77), 0);
	rp_accel_close(&fixture->accel);
	assert_int_equal(fixture->fake.status, 0);
	assert_int_equal(fixture->fake.queues[0].enable, 0);
	assert_int_equal(fixture->fake.closes_count, 1);
	fixture->fake.closes_count = 0;
}

static int
live_a_life(struct fixture *fixture)
{
	struct rp_accel_queue_counters counters;
	uint8_t bytes[6];
	uint32_t position;
	int rc = fixture_open(fixture);

	if (rc == 0)
		rc = fixture->accel.ops->set_features(fixture->accel.priv, FAKE_VERSION_1, &fixture->why);
	if (rc == 0)
		rc = fixture_start(fixture, 0, 4, 77);
	if (rc == 0)
		rc = fixture->accel.ops->queue_kick(fixture->accel.priv, 0);
	if (rc == 0)
		rc = fixture->accel.ops->queue_call(fixture->accel.priv, 0, 78, &fixture->why);
	if (rc == 0)
		rc = fixture->accel.ops->queue_counters(fixture->accel.priv, 0, &counters);
	if (rc == 0)
		rc = fixture->accel.ops->config_get(fixture->accel.priv, 0, sizeof(bytes), bytes);
	if (rc == 0)
		rc = fixture->accel.ops->process(fixture->accel.priv, &fixture->why);
	if (rc == 0)
		rc = fixture->accel.ops->queue_stop(fixture->accel.priv, 0, &position, &fixture->why);
	if (rc == 0)
		rc = fixture->accel.ops->reset(fixture->accel.priv, &fixture->why);
	rp_accel_close(&fixture->accel);
	return rc;
}

/* The connection breaks at each access in turn: named, nothing leaked, nothing hangs. */
static void
a_transport_may_leave_at_any_point(void **state)
{
	static const int errors[] = {-ENOTCONN, -ETIMEDOUT, -EINVAL};
	struct fixture *fixture = *state;
	uint32_t last_access;
	unsigned int i;

	assert_int_equal(live_a_life(fixture), 0);
	last_access = fixture->fake.accesses_count;
	assert_true(last_access > 50);
	for (i = 0; i < 3 * last_access; i++) {
		int rc;

		fake_fini(&fixture->fake);
		fake_init(&fixture->fake);
		fixture->fake.lies.fail_after = i / 3 + 1;
		fixture->fake.lies.fail_error = errors[i % 3];
		rc = live_a_life(fixture);
		/* Detaching a vector and closing may fail unnoticed, and a missing bus master bit is tolerated. */
		if (rc != 0)
			/* What refuses a vector's eventfd leaves the device well. */
			assert_true(rc == fixture->fake.lies.fail_error || rc == -EIO ||
				    (rc == -ENOTSUP && fixture->fake.lies.fail_error == -EINVAL));
		else
			assert_true(fixture->fake.lies.fail_after + 8 > last_access);
	}
	fixture->fake.closes_count = 0;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(identities),
		TEST(the_bus_is_enabled),
		TEST(a_config_interrupt_shows_a_device_that_needs_a_reset),
		TEST(another_config_interrupt_is_a_change),
		TEST(a_device_that_drains_its_own_event),
		TEST(a_device_that_fills_its_own_event),
		TEST(without_a_negotiation_there_is_no_change),
		TEST(a_device_that_fell_off_its_bus),
		TEST(a_device_that_falls_off_under_a_call),
		TEST(a_failed_device_that_cannot_be_reset_loses_its_bus),
		TEST(a_device_that_was_reset_behind_our_back),
		TEST(a_transport_that_left),
		TEST(who_polls_learns_of_a_failure_that_a_call_met),
		TEST(closing_quiets_the_device),
		TEST(a_transport_may_leave_at_any_point),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
