/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <string.h>

#include "fixture.h"

static struct rp_accel_info
info_of(struct fixture *fixture)
{
	struct rp_accel_info info;

	fixture->accel.ops->get_info(fixture->accel.priv, &info);
	return info;
}

static int
set_features(struct fixture *fixture, uint64_t features)
{
	return fixture->accel.ops->set_features(fixture->accel.priv, features, &fixture->why);
}

/* virtio 1.2, 6 and 5.1.3: by number, so that the table is not compared with itself. */
static void
what_a_guest_is_not_offered(void **state)
{
	static const unsigned int withheld[] = {2,  17, 18, 19, 20, 21, 22, 23, 24, 26, 27, 30, 33,
						36, 37, 38, 39, 40, 41, 42, 50, 52, 53, 57, 60, 62};
	struct fixture *fixture = *state;
	uint64_t expected = UINT64_MAX;
	unsigned int i;

	fixture->fake.features = UINT64_MAX;
	fixture->fake.num_queues = 3;
	fixture->fake.net_config[8] = 1;
	fixture_open_ok(fixture);
	for (i = 0; i < sizeof(withheld) / sizeof(withheld[0]); i++)
		assert_int_equal(info_of(fixture).features >> withheld[i] & 1, 0);
	expected = 0xffa0ull | 0x2b | 1ull << 16 | 3ull << 28 | 1ull << 32 | 3ull << 34 | 7ull << 54 | 1ull << 59 |
		   1ull << 61 | 1ull << 63;
	assert_true(info_of(fixture).features == expected);
}

static void
nothing_is_offered_that_the_device_has_not(void **state)
{
	struct fixture *fixture = *state;

	fixture_open_ok(fixture);
	assert_true(info_of(fixture).features == (FAKE_VERSION_1 | FAKE_MAC));
}

static void
platform_bits_are_set_whatever_the_guest_acked(void **state)
{
	struct fixture *fixture = *state;

	fixture_open_ok(fixture);
	assert_true(info_of(fixture).features_required == (FAKE_ACCESS_PLATFORM | FAKE_ORDER_PLATFORM));
	assert_int_equal(set_features(fixture, FAKE_VERSION_1), 0);
	assert_true(fixture->fake.driver_features == (FAKE_VERSION_1 | FAKE_ACCESS_PLATFORM | FAKE_ORDER_PLATFORM));
}

static void
platform_bits_are_not_set_when_not_offered(void **state)
{
	struct fixture *fixture = *state;

	fixture->fake.features = FAKE_VERSION_1;
	fixture_open_ok(fixture);
	assert_true(info_of(fixture).features_required == 0);
	assert_int_equal(set_features(fixture, FAKE_VERSION_1), 0);
	assert_true(fixture->fake.driver_features == FAKE_VERSION_1);
}

static void
ring_reset_is_ours_in_class_b_only(void **state)
{
	struct fixture *fixture = *state;

	fixture->fake.features |= FAKE_RING_RESET;
	fixture_open_ok(fixture);
	assert_true((info_of(fixture).features_required & FAKE_RING_RESET) == 0);
	rp_accel_close(&fixture->accel);
	fixture->fake.closes_count = 0;
	fake_remove_vendor(&fixture->fake);
	fixture_open_ok(fixture);
	assert_true((info_of(fixture).features_required & FAKE_RING_RESET) != 0);
	assert_int_equal(set_features(fixture, FAKE_VERSION_1), 0);
	assert_true((fixture->fake.driver_features & FAKE_RING_RESET) != 0);
}

static void
the_control_queue_and_what_we_set_by_it_are_ours(void **state)
{
	struct fixture *fixture = *state;
	const uint64_t ours = FAKE_CONTROL | FAKE_ACCESS_PLATFORM | FAKE_ORDER_PLATFORM;

	fake_add_control(&fixture->fake);
	fixture->fake.features |= FAKE_FEATURE(19) | FAKE_FEATURE(20) | FAKE_FEATURE(21);
	fixture_open_ok(fixture);
	assert_true(info_of(fixture).features == (FAKE_VERSION_1 | FAKE_MAC));
	assert_true(info_of(fixture).features_required == ours);
	assert_int_equal(set_features(fixture, FAKE_VERSION_1), 0);
	assert_true(fixture->fake.driver_features == (FAKE_VERSION_1 | ours));
	assert_int_equal(set_features(fixture, FAKE_VERSION_1 | FAKE_MQ), -ENOTSUP);
	fixture_assert_why(fixture, "features: the device was not offered with MQ");
}

/* It stops data queues, not that one. */
static void
ring_reset_is_ours_with_a_control_queue(void **state)
{
	struct fixture *fixture = *state;

	fake_add_control(&fixture->fake);
	fixture->fake.features |= FAKE_RING_RESET;
	fixture_open_ok(fixture);
	assert_true((info_of(fixture).features_required & FAKE_RING_RESET) != 0);
}

/* virtio 1.2, 5.1.3.1: they require it. */
static void
nothing_of_the_control_queue_without_it(void **state)
{
	struct fixture *fixture = *state;

	fake_add_control(&fixture->fake);
	fixture->fake.features &= ~FAKE_CTRL_VQ;
	fixture_open_ok(fixture);
	assert_true((info_of(fixture).features_required & FAKE_CONTROL) == 0);
}

static void
refused_bits_are_named(void **state)
{
	struct fixture *fixture = *state;

	fixture->fake.features |= FAKE_NOTIFICATION_DATA;
	fixture_open_ok(fixture);
	assert_int_equal(set_features(fixture, FAKE_VERSION_1 | FAKE_PACKED | FAKE_NOTIFICATION_DATA | 1ull << 44),
			 -ENOTSUP);
	fixture_assert_why(fixture, "features: the device was not offered with RING_PACKED, NOTIFICATION_DATA, bit 44");
	assert_int_equal(set_features(fixture, FAKE_VERSION_1 | 1), -ENOTSUP);
	fixture_assert_why(fixture, "CSUM");
	/* A refusal is no failure. */
	assert_int_equal(set_features(fixture, FAKE_VERSION_1), 0);
}

static void
a_legacy_guest_is_refused(void **state)
{
	struct fixture *fixture = *state;

	fixture_open_ok(fixture);
	assert_int_equal(set_features(fixture, FAKE_MAC), -ENOTSUP);
	fixture_assert_why(fixture, "the guest did not accept VERSION_1");
}

static void
a_legacy_device_is_refused(void **state)
{
	struct fixture *fixture = *state;

	fixture->fake.features &= ~FAKE_VERSION_1;
	fixture_assert_refused(fixture, -ENOTSUP, "the device does not offer VERSION_1");
}

static void
names_are_cut_where_the_room_ends(void **state)
{
	struct fixture *fixture = *state;

	fixture_open_ok(fixture);
	assert_int_equal(set_features(fixture, UINT64_MAX), -ENOTSUP);
	assert_true(strlen(fixture->why.text) < RP_WIRE_WHY_MAX);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(what_a_guest_is_not_offered),
		TEST(nothing_is_offered_that_the_device_has_not),
		TEST(platform_bits_are_set_whatever_the_guest_acked),
		TEST(platform_bits_are_not_set_when_not_offered),
		TEST(ring_reset_is_ours_in_class_b_only),
		TEST(the_control_queue_and_what_we_set_by_it_are_ours),
		TEST(ring_reset_is_ours_with_a_control_queue),
		TEST(nothing_of_the_control_queue_without_it),
		TEST(refused_bits_are_named),
		TEST(a_legacy_guest_is_refused),
		TEST(a_legacy_device_is_refused),
		TEST(names_are_cut_where_the_room_ends),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
