/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>

#include "fixture.h"

static void
the_honest_device_opens(void **state)
{
	fixture_open_ok(*state);
}

static void
no_capability_list(void **state)
{
	struct fixture *fixture = *state;

	fixture->fake.config_space[6] = 0;
	fixture_assert_refused(fixture, -ENOTSUP, "no common configuration capability: not a virtio 1.x device");
}

static void
a_legacy_only_device(void **state)
{
	struct fixture *fixture = *state;

	fake_put_u32(&fixture->fake, 0, 0x10001af4);
	fixture->fake.config_space[6] = 0;
	fixture_assert_refused(fixture, -ENOTSUP, "PCI device 1af4:1000 is legacy-only (no common configuration");
	fixture_assert_why(fixture, "expected virtio 1.x (QEMU: disable-modern=off)");
	/* One with capabilities, of which none is virtio's. */
	fixture->fake.config_space[6] = 0x10;
	fixture->fake.config_space[0x34] = FAKE_CAP_MSIX;
	fixture_assert_refused(fixture, -ENOTSUP, "PCI device 1af4:1000 is legacy-only");
}

static void
a_configuration_space_of_ones(void **state)
{
	struct fixture *fixture = *state;

	memset(fixture->fake.config_space, 0xff, sizeof(fixture->fake.config_space));
	fixture_assert_refused(fixture, -EIO, "PCI configuration space: the device does not answer (all ones)");
}

static void
an_empty_list(void **state)
{
	struct fixture *fixture = *state;

	fixture->fake.config_space[0x34] = 0;
	fixture_assert_refused(fixture, -ENOTSUP, "no common configuration capability: not a virtio 1.x device");
}

static void
a_list_that_points_to_itself(void **state)
{
	struct fixture *fixture = *state;

	fixture->fake.config_space[FAKE_CAP_COMMON + 1] = FAKE_CAP_COMMON;
	fixture_assert_refused(fixture, -EBADMSG, "PCI capability list: loops at 0x40");
}

static void
a_list_that_loops_later(void **state)
{
	struct fixture *fixture = *state;

	fixture->fake.config_space[FAKE_CAP_MSIX + 1] = FAKE_CAP_ISR;
	fixture_assert_refused(fixture, -EBADMSG, "loops at 0x64");
}

static void
a_list_of_every_possible_entry_ends(void **state)
{
	struct fixture *fixture = *state;
	unsigned int at;

	/* 48 capabilities of an unknown kind, then back to the first. */
	for (at = 0x40; at < 0x100; at += 4) {
		fixture->fake.config_space[at] = 0x05;
		fixture->fake.config_space[at + 1] = (uint8_t)(at + 4 < 0x100 ? at + 4 : 0x40);
	}
	fixture_assert_refused(fixture, -EBADMSG, "loops at 0x40");
}

static void
a_list_into_the_header(void **state)
{
	struct fixture *fixture = *state;

	fixture->fake.config_space[FAKE_CAP_COMMON + 1] = 0x3c;
	fixture_assert_refused(fixture, -EBADMSG, "points to 0x3c, inside the header");
}

static void
the_low_bits_of_a_pointer_are_ignored(void **state)
{
	struct fixture *fixture = *state;

	fixture->fake.config_space[0x34] |= 3;
	fixture_open_ok(fixture);
}

static void
a_capability_that_is_too_short(void **state)
{
	struct fixture *fixture = *state;

	fixture->fake.config_space[FAKE_CAP_COMMON + 2] = 15;
	fixture_assert_refused(fixture, -EBADMSG,
			       "common configuration capability at 0x40: cap_len: 15, expected at least 16");
}

static void
a_notify_capability_without_multiplier(void **state)
{
	struct fixture *fixture = *state;

	fixture->fake.config_space[FAKE_CAP_NOTIFY + 2] = 16;
	fixture_assert_refused(fixture, -EBADMSG, "notify capability at 0x50: cap_len: 16, expected at least 20");
}

static void
a_vendor_capability_that_is_too_short(void **state)
{
	struct fixture *fixture = *state;

	fixture->fake.config_space[FAKE_CAP_VENDOR + 2] = 8;
	fixture_assert_refused(fixture, -EBADMSG, "ring state capability at 0x84: cap_len: 8");
}

static void
a_capability_beyond_configuration_space(void **state)
{
	struct fixture *fixture = *state;
	uint8_t *cap = &fixture->fake.config_space[0xf4];

	fixture->fake.config_space[FAKE_CAP_MSIX + 1] = 0xf4;
	cap[0] = 0x09;
	cap[2] = 16;
	cap[3] = 1;
	fixture_assert_refused(fixture, -EBADMSG, "capability at 0xf4: cap_len: 16 reaches beyond configuration space");
}

static void
an_msix_capability_beyond_configuration_space(void **state)
{
	struct fixture *fixture = *state;

	fixture->fake.config_space[FAKE_CAP_MSIX + 1] = 0xf8;
	fixture->fake.config_space[0xf8] = 0x11;
	fixture_assert_refused(fixture, -EBADMSG, "MSI-X capability at 0xf8: reaches beyond");
}

static void
an_msix_capability_in_a_reserved_bar(void **state)
{
	struct fixture *fixture = *state;

	fake_put_u32(&fixture->fake, FAKE_CAP_MSIX + 8, 0x807);
	fixture_assert_refused(fixture, -EBADMSG, "MSI-X capability at 0x94: BAR: reserved number");
}

static void
a_reserved_bar_is_ignored(void **state)
{
	struct fixture *fixture = *state;

	fixture->fake.config_space[FAKE_CAP_ISR + 4] = 6;
	fixture_open_ok(fixture);
}

static void
a_reserved_bar_leaves_a_required_structure_missing(void **state)
{
	struct fixture *fixture = *state;

	fixture->fake.config_space[FAKE_CAP_NOTIFY + 4] = 0xff;
	fixture_assert_refused(fixture, -ENOTSUP, "no notify capability");
}

static void
the_first_of_two_is_taken(void **state)
{
	struct fixture *fixture = *state;
	uint8_t *cap = &fixture->fake.config_space[0xb0];

	fixture->fake.config_space[FAKE_CAP_MSIX + 1] = 0xb0;
	cap[0] = 0x09;
	cap[2] = 16;
	cap[3] = 1;
	cap[4] = 5; /* an absent BAR */
	fixture_open_ok(fixture);
}

static void
foreign_capabilities_are_ignored(void **state)
{
	struct fixture *fixture = *state;
	struct rp_accel_info info;

	/* Vendor data of somebody else, and a virtio kind of the future, in nonsense lengths. */
	fake_remove_vendor(&fixture->fake);
	fixture->fake.config_space[FAKE_CAP_VENDOR + 2] = 3;
	fixture->fake.config_space[FAKE_CAP_ISR + 3] = 77;
	fixture->fake.config_space[FAKE_CAP_ISR + 2] = 0;
	fixture_open_ok(fixture);
	fixture->accel.ops->get_info(fixture->accel.priv, &info);
	assert_int_equal(info.class, RP_ACCEL_CLASS_B);
}

static void
a_small_configuration_space(void **state)
{
	struct fixture *fixture = *state;

	fixture->fake.region_sizes[RP_ACCEL_TRANSPORT_CONFIG_REGION] = 64;
	fixture_assert_refused(fixture, -EBADMSG, "PCI configuration space: 64 bytes, expected at least 256");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(the_honest_device_opens),
		TEST(no_capability_list),
		TEST(a_legacy_only_device),
		TEST(a_configuration_space_of_ones),
		TEST(an_empty_list),
		TEST(a_list_that_points_to_itself),
		TEST(a_list_that_loops_later),
		TEST(a_list_of_every_possible_entry_ends),
		TEST(a_list_into_the_header),
		TEST(the_low_bits_of_a_pointer_are_ignored),
		TEST(a_capability_that_is_too_short),
		TEST(a_notify_capability_without_multiplier),
		TEST(a_vendor_capability_that_is_too_short),
		TEST(a_capability_beyond_configuration_space),
		TEST(an_msix_capability_beyond_configuration_space),
		TEST(an_msix_capability_in_a_reserved_bar),
		TEST(a_reserved_bar_is_ignored),
		TEST(a_reserved_bar_leaves_a_required_structure_missing),
		TEST(the_first_of_two_is_taken),
		TEST(foreign_capabilities_are_ignored),
		TEST(a_small_configuration_space),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
