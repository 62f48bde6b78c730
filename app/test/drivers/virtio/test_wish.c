/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <sys/eventfd.h>

#include "fixture.h"

static void
open_with_wishes(struct fixture *fixture)
{
	fixture->fake.vendor.flags |= RP_ACCEL_VENDOR_DOORBELL_MASK;
	fixture->fake.has_io_fds = true;
	fixture_negotiate(fixture);
}

static int
process(struct fixture *fixture)
{
	return fixture->accel.ops->process(fixture->accel.priv, &fixture->why);
}

static int
tell(struct fixture *fixture, unsigned int queue, bool page)
{
	return fixture->accel.ops->queue_doorbell(fixture->accel.priv, queue, page, &fixture->why);
}

static bool
wants_page(const struct fixture *fixture, unsigned int queue)
{
	return fixture->accel.ops->queue_wants_page(fixture->accel.priv, queue);
}

/* As the device does: by the vector for changes of the configuration. */
static void
interrupt(struct fixture *fixture)
{
	assert_true(fixture->fake.irq_fds[4] >= 0);
	eventfd_write(fixture->fake.irq_fds[4], 1);
}

static void
the_register_is_written(void **state)
{
	struct fixture *fixture = *state;

	open_with_wishes(fixture);
	assert_int_equal(tell(fixture, 2, true), 0);
	assert_int_equal(fixture->fake.queues[2].doorbell, RP_ACCEL_VENDOR_DOORBELL_PAGE);
	assert_int_equal(tell(fixture, 2, false), 0);
	assert_int_equal(tell(fixture, 2, false), 0);
	assert_int_equal(fixture->fake.queues[2].doorbell, RP_ACCEL_VENDOR_DOORBELL_EVENTFD);
	assert_int_equal(fixture->fake.queues[2].doorbells_told, 3);
	assert_int_equal(fixture->fake.queues[1].doorbells_told, 0);
	assert_int_equal(tell(fixture, 4, true), -EINVAL);
}

static void
a_wish_is_no_change_of_the_configuration(void **state)
{
	struct fixture *fixture = *state;
	unsigned int i;

	open_with_wishes(fixture);
	assert_int_equal(process(fixture), 0);
	/* The first may be about anything. */
	interrupt(fixture);
	assert_int_equal(process(fixture), RP_ACCEL_CHANGED_CONFIG | RP_ACCEL_CHANGED_WISHES);
	for (i = 0; i < 4; i++)
		assert_true(wants_page(fixture, i));
	fixture->fake.wishes[0] = ~5u;
	/* Not before it says so. */
	assert_true(wants_page(fixture, 0));
	interrupt(fixture);
	assert_int_equal(process(fixture), RP_ACCEL_CHANGED_WISHES);
	for (i = 0; i < 4; i++)
		assert_int_equal(wants_page(fixture, i), i % 2);
	assert_int_equal(process(fixture), 0);
	/* It may have been another in between. */
	interrupt(fixture);
	assert_int_equal(process(fixture), RP_ACCEL_CHANGED_WISHES);
	fixture->fake.generation++;
	fixture->fake.wishes[0] = ~0u;
	interrupt(fixture);
	assert_int_equal(process(fixture), RP_ACCEL_CHANGED_CONFIG | RP_ACCEL_CHANGED_WISHES);
	assert_true(wants_page(fixture, 2));
}

/* A device may count from the beginning then, and come by a number that it had. */
static void
negotiating_forgets_the_generation(void **state)
{
	struct fixture *fixture = *state;

	open_with_wishes(fixture);
	fixture->fake.generation = 1;
	interrupt(fixture);
	assert_int_equal(process(fixture), RP_ACCEL_CHANGED_CONFIG | RP_ACCEL_CHANGED_WISHES);
	assert_int_equal(fixture->accel.ops->set_features(fixture->accel.priv, FAKE_VERSION_1, &fixture->why), 0);
	interrupt(fixture);
	assert_int_equal(process(fixture), RP_ACCEL_CHANGED_CONFIG | RP_ACCEL_CHANGED_WISHES);
	interrupt(fixture);
	assert_int_equal(process(fixture), RP_ACCEL_CHANGED_WISHES);
}

static void
negotiating_forgets_wishes(void **state)
{
	struct fixture *fixture = *state;

	open_with_wishes(fixture);
	fixture->fake.wishes[0] = 0;
	interrupt(fixture);
	assert_int_equal(process(fixture), RP_ACCEL_CHANGED_CONFIG | RP_ACCEL_CHANGED_WISHES);
	assert_false(wants_page(fixture, 1));
	assert_int_equal(fixture->accel.ops->set_features(fixture->accel.priv, FAKE_VERSION_1, &fixture->why), 0);
	assert_true(wants_page(fixture, 1));
}

/* Its configuration's interrupt is no different from before; and it is told nothing. */
static void
a_device_without_wishes(void **state)
{
	struct fixture *fixture = *state;

	fixture->fake.has_io_fds = true;
	fixture_negotiate(fixture);
	assert_int_equal(tell(fixture, 0, false), -ENOTSUP);
	assert_true(wants_page(fixture, 0));
	interrupt(fixture);
	assert_int_equal(process(fixture), RP_ACCEL_CHANGED_CONFIG);
}

/* We would not hear that it wants the page back. */
static void
no_vector_for_the_configuration(void **state)
{
	struct fixture *fixture = *state;

	fixture->fake.info.msix_count = 4;
	open_with_wishes(fixture);
	assert_int_equal(tell(fixture, 0, false), -ENOTSUP);
	assert_int_equal(fixture->fake.queues[0].doorbells_told, 0);
}

/* We store into the page ourselves. */
static void
no_eventfds(void **state)
{
	struct fixture *fixture = *state;

	fixture->fake.vendor.flags |= RP_ACCEL_VENDOR_DOORBELL_MASK;
	fixture_negotiate(fixture);
	assert_int_equal(tell(fixture, 0, false), -ENOTSUP);
	assert_int_equal(fixture->fake.queues[0].doorbells_told, 0);
}

static void
wishes_beyond_the_block(void **state)
{
	struct fixture *fixture = *state;

	fixture->fake.vendor.flags |= RP_ACCEL_VENDOR_DOORBELL_MASK;
	fake_put_u32(&fixture->fake, FAKE_CAP_VENDOR + 12, 16 + 4 * 64);
	fixture_assert_refused(fixture, -EBADMSG, "and their wishes reach beyond its length 272");
	fake_put_u32(&fixture->fake, FAKE_CAP_VENDOR + 12, 16 + 4 * 64 + 4);
	fixture_open_ok(fixture);
}

static void
a_device_that_leaves_meanwhile(void **state)
{
	struct fixture *fixture = *state;

	open_with_wishes(fixture);
	fixture->fake.lies.fail_after = fixture->fake.accesses_count;
	fixture->fake.lies.fail_error = -ENOTCONN;
	assert_int_equal(tell(fixture, 0, true), -ENOTCONN);
	assert_int_equal(process(fixture), -ENOTCONN);
	assert_true(wants_page(fixture, 0));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(the_register_is_written),
		TEST(a_wish_is_no_change_of_the_configuration),
		TEST(negotiating_forgets_the_generation),
		TEST(negotiating_forgets_wishes),
		TEST(a_device_without_wishes),
		TEST(no_vector_for_the_configuration),
		TEST(no_eventfds),
		TEST(wishes_beyond_the_block),
		TEST(a_device_that_leaves_meanwhile),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
