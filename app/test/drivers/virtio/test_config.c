/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <string.h>

#include "fixture.h"

static int
get(struct fixture *fixture, uint32_t offset_bytes, uint32_t size_bytes, uint8_t *bytes)
{
	return fixture->accel.ops->config_get(fixture->accel.priv, offset_bytes, size_bytes, bytes);
}

static void
bytes_come_as_they_are(void **state)
{
	static const uint8_t expected[] = {3, 4, 5, 0, 9};
	struct fixture *fixture = *state;
	uint8_t bytes[5];

	fixture->fake.net_config[7] = 9;
	fixture_open_ok(fixture);
	assert_int_equal(get(fixture, 3, sizeof(bytes), bytes), 0);
	assert_memory_equal(bytes, expected, sizeof(expected));
}

static void
the_mac_is_told(void **state)
{
	static const uint8_t mac[] = {0x02, 1, 2, 3, 4, 5};
	struct fixture *fixture = *state;
	struct rp_accel_info info;

	fixture_open_ok(fixture);
	fixture->accel.ops->get_info(fixture->accel.priv, &info);
	assert_true(info.has_mac);
	assert_memory_equal(info.mac, mac, sizeof(mac));
}

static void
without_the_feature_there_is_no_mac(void **state)
{
	struct fixture *fixture = *state;
	struct rp_accel_info info;

	fixture->fake.features &= ~FAKE_MAC;
	fixture_open_ok(fixture);
	fixture->accel.ops->get_info(fixture->accel.priv, &info);
	assert_false(info.has_mac);
}

static void
bounds_are_checked(void **state)
{
	struct fixture *fixture = *state;
	uint8_t bytes[64];

	fixture_open_ok(fixture);
	assert_int_equal(get(fixture, 0, 64, bytes), 0);
	assert_int_equal(get(fixture, 1, 64, bytes), -EINVAL);
	assert_int_equal(get(fixture, UINT32_MAX, 2, bytes), -EINVAL);
	assert_int_equal(get(fixture, 0, 0, bytes), -EINVAL);
}

static void
no_device_configuration(void **state)
{
	struct fixture *fixture = *state;
	uint8_t byte;

	fixture->fake.config_space[FAKE_CAP_CONFIG + 3] = 77;
	fixture_open_ok(fixture);
	assert_int_equal(get(fixture, 0, 1, &byte), -ENOTSUP);
}

static void
a_generation_that_never_rests(void **state)
{
	struct fixture *fixture = *state;

	fixture->fake.lies.generation_runs = true;
	fixture_assert_refused(fixture, -EIO, "config_generation: changed in each of 16 reads");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(bytes_come_as_they_are), TEST(the_mac_is_told),	     TEST(without_the_feature_there_is_no_mac),
		TEST(bounds_are_checked),     TEST(no_device_configuration), TEST(a_generation_that_never_rests),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
