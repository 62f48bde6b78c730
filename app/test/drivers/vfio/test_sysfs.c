/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdio.h>

#include "fixture.h"

static void
addresses(void **state)
{
	static const struct {
		const char *text;
		const char *address; /* NULL: refused */
	} rows[] = {
		{"0000:00:04.0", "0000:00:04.0"},
		{"00:04.0", "0000:00:04.0"},
		{"ab:1f.7", "0000:ab:1f.7"},
		{"AB:1F.7", "0000:ab:1f.7"},
		{"10000:e1:00.0", "10000:e1:00.0"},
		{"fffff:ff:1f.7", "fffff:ff:1f.7"},
		{"", NULL},
		{"0000:00:04", NULL},
		{"0000:00:20.0", NULL},
		{"0000:00:04.8", NULL},
		{"0000:00:04.01", NULL},
		{"0000:100:04.0", NULL},
		{"100000:00:04.0", NULL},
		{"0000:00:04.0 ", NULL},
		{" 0000:00:04.0", NULL},
		{"0000:00:04.0/../x", NULL},
		{"-1:00:04.0", NULL},
		{"0x0:00:04.0", NULL},
		{"0000:00:04.0:1", NULL},
		{"eth0", NULL},
		{"../../../../etc", NULL},
	};
	struct fixture *fixture = *state;
	char address[VFIO_ADDRESS_BYTES];
	unsigned int i;

	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		int rc = kvfio_address_parse(rows[i].text, address, &fixture->why);

		if ((rc == 0) != (rows[i].address != NULL))
			print_error("'%s': %d\n", rows[i].text, rc);
		assert_int_equal(rc, rows[i].address != NULL ? 0 : -EBADMSG);
		if (rc == 0)
			assert_string_equal(address, rows[i].address);
		else
			fixture_said(fixture, -EBADMSG, "expected a PCI address like 0000:00:04.0");
	}
}

static void
a_device_that_is_bound(void **state)
{
	struct fixture *fixture = *state;
	unsigned int group = 0;

	assert_int_equal(kvfio_sysfs_find(&fixture->fake->kernel, FAKE_SECOND, &group, &fixture->why), 0);
	assert_int_equal(group, 7);
}

static void
what_is_in_the_way_is_named(void **state)
{
	struct fixture *fixture = *state;

	fixture_refused(fixture, "0000:00:07.0", -ENOENT, "0000:00:07.0: no such PCI device");
	fixture_refused(fixture, "0000:00:06.0", -ENOTSUP, "no IOMMU group: turn the IOMMU on in the firmware");
	fixture_refused(fixture, "0000:00:05.0", -ENOENT, "is bound to virtio-pci, expected vfio-pci: bind it with");
	fake_bind(fixture->fake, "0000:00:05.0", NULL);
	fixture_refused(fixture, "0000:00:05.0", -ENOENT, "is bound to no driver, expected vfio-pci");
	fake_bind(fixture->fake, "0000:00:05.0", "vfio-pci-but-with-a-name-that-is-longer-than-any");
	fixture_refused(fixture, "0000:00:05.0", -ENOENT, "is bound to vfio-pci-but-with");
}

static void
a_group_that_is_no_number(void **state)
{
	struct fixture *fixture = *state;

	fake_link(fixture->fake->sysfs, "bus/pci/devices/" FAKE_ALONE "/iommu_group", "../x/4a");
	fixture_refused(fixture, FAKE_ALONE, -EBADMSG, "iommu_group: '4a', expected a number");
	fake_link(fixture->fake->sysfs, "bus/pci/devices/" FAKE_ALONE "/iommu_group", "../x/-4");
	fixture_refused(fixture, FAKE_ALONE, -EBADMSG, "iommu_group: '-4', expected a number");
	fake_link(fixture->fake->sysfs, "bus/pci/devices/" FAKE_ALONE "/iommu_group", "../x/99999999999");
	fixture_refused(fixture, FAKE_ALONE, -EBADMSG, "expected a number");
}

static void
members_in_the_way_are_named(void **state)
{
	struct fixture *fixture = *state;

	fixture->fake->groups[1].flags = 0;
	fake_bind(fixture->fake, FAKE_SECOND, "e1000e");
	fixture_refused(fixture, FAKE_FIRST, -EBUSY,
			"group 7 is not viable: 0000:01:00.1 (e1000e) in it must be bound to vfio-pci");
	/* A stub and a bridge may be there. */
	fake_bind(fixture->fake, FAKE_SECOND, "pcieport");
	fixture_refused(fixture, FAKE_FIRST, -EBUSY, "group 7 is not viable: a device in it");
}

static void
of_many_members_the_first_are_named(void **state)
{
	struct fixture *fixture = *state;
	char path[80], address[16];
	unsigned int i;

	fixture->fake->groups[1].flags = 0;
	for (i = 0; i < 40; i++) {
		snprintf(address, sizeof(address), "0000:02:%02x.0", i & 0x1f);
		snprintf(path, sizeof(path), "kernel/iommu_groups/7/devices/0000:02:%02x.%u/driver", i & 0x1f, i / 32);
		fake_link(fixture->fake->sysfs, path, "drivers/a-driver-with-a-name-that-is-long");
	}
	fixture_refused(fixture, FAKE_FIRST, -EBUSY, "(a-driver-with-a-name-tha), 0000:02:");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		FIXTURE_TEST(addresses),
		FIXTURE_TEST(a_device_that_is_bound),
		FIXTURE_TEST(what_is_in_the_way_is_named),
		FIXTURE_TEST(a_group_that_is_no_number),
		FIXTURE_TEST(members_in_the_way_are_named),
		FIXTURE_TEST(of_many_members_the_first_are_named),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
