/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>

#include "fixture.h"

static void
flags_say_what_the_device_can(void **state)
{
	struct fixture *fixture = *state;
	struct rp_accel_info info;

	fixture_open_ok(fixture);
	fixture->accel.ops->get_info(fixture->accel.priv, &info);
	assert_int_equal(info.class, RP_ACCEL_CLASS_A);
	assert_true(info.notify_by_address);
}

static void
without_ring_state_it_is_class_b(void **state)
{
	struct fixture *fixture = *state;
	struct rp_accel_info info;

	fixture->fake.vendor.flags = RP_ACCEL_VENDOR_COUNTERS_MASK;
	fixture_open_ok(fixture);
	fixture->accel.ops->get_info(fixture->accel.priv, &info);
	assert_int_equal(info.class, RP_ACCEL_CLASS_B);
	assert_false(info.notify_by_address);
}

static void
headers_that_cannot_be(void **state)
{
	struct fixture *fixture = *state;
	struct rp_accel_vendor_header *header = &fixture->fake.vendor;
	struct rp_accel_vendor_header good = *header;

	header->magic = 0;
	fixture_assert_refused(fixture, -EBADMSG, "ring state: magic: 0x0, expected 0x53525052");
	*header = good;
	header->version = 2;
	fixture_assert_refused(fixture, -EBADMSG, "ring state: version: 2, expected 1");
	*header = good;
	header->stride_bytes = 56;
	fixture_assert_refused(fixture, -EBADMSG, "ring state: stride: 56, expected a multiple of 8, at least 64");
	header->stride_bytes = 68;
	fixture_assert_refused(fixture, -EBADMSG, "ring state: stride: 68");
	header->stride_bytes = 0;
	fixture_assert_refused(fixture, -EBADMSG, "ring state: stride: 0");
	*header = good;
	header->queues_count = 3;
	fixture_assert_refused(fixture, -EBADMSG, "ring state: queues: 3, expected at least 4");
	header->queues_count = 0xffffffff;
	header->stride_bytes = 0xfff8;
	fixture_assert_refused(fixture, -EBADMSG, "queues of 65528 bytes reach beyond its length 4096");
}

static void
counters_are_read_where_they_are(void **state)
{
	struct fixture *fixture = *state;
	struct rp_accel_queue_counters counters;
	unsigned int i;

	for (i = 0; i < 6; i++)
		fixture->fake.queues[3].counters[i] = 0x100000000ull * i + 7;
	fixture_open_ok(fixture);
	assert_int_equal(fixture->accel.ops->queue_counters(fixture->accel.priv, 3, &counters), 0);
	assert_true(counters.direct_kicks == 7);
	assert_true(counters.eventfd_kicks == 0x100000007ull);
	assert_true(counters.interrupts == 0x200000007ull);
	assert_true(counters.packets == 0x300000007ull);
	assert_true(counters.bytes == 0x400000007ull);
	assert_true(counters.errors == 0x500000007ull);
	assert_int_equal(fixture->accel.ops->queue_counters(fixture->accel.priv, 4, &counters), -EINVAL);
}

static void
a_larger_stride_is_followed(void **state)
{
	struct fixture *fixture = *state;
	struct rp_accel_queue_counters counters;

	fixture->fake.vendor.stride_bytes = 128;
	fixture->fake.queues[3].counters[3] = 99;
	fixture_open_ok(fixture);
	assert_int_equal(fixture->accel.ops->queue_counters(fixture->accel.priv, 3, &counters), 0);
	assert_int_equal(counters.packets, 99);
}

static void
a_device_that_does_not_count(void **state)
{
	struct fixture *fixture = *state;
	struct rp_accel_queue_counters counters;

	fixture->fake.vendor.flags = RP_ACCEL_VENDOR_RING_STATE_MASK;
	fixture_open_ok(fixture);
	assert_int_equal(fixture->accel.ops->queue_counters(fixture->accel.priv, 0, &counters), -ENOTSUP);
}

static void
a_device_without_the_capability(void **state)
{
	struct fixture *fixture = *state;
	struct rp_accel_queue_counters counters;

	fake_remove_vendor(&fixture->fake);
	fixture_open_ok(fixture);
	assert_int_equal(fixture->accel.ops->queue_counters(fixture->accel.priv, 0, &counters), -ENOTSUP);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(flags_say_what_the_device_can),   TEST(without_ring_state_it_is_class_b),
		TEST(headers_that_cannot_be),	       TEST(counters_are_read_where_they_are),
		TEST(a_larger_stride_is_followed),     TEST(a_device_that_does_not_count),
		TEST(a_device_without_the_capability),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
