/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>

#include "fixture.h"

static void
a_busy_group_is_tried_again(void **state)
{
	struct fixture *fixture = *state;

	/* 10 + 20 + 40 ms. */
	fixture->fake->busy_opens = 3;
	fixture_open(fixture, 0, FAKE_ALONE, NULL);
	assert_int_equal(fixture->fake->slept_ms, 70);
}

static void
not_for_ever(void **state)
{
	struct fixture *fixture = *state;

	fixture->fake->busy_opens = 1000;
	fixture_refused(fixture, FAKE_ALONE, -EBUSY, "group 4 is still open in another process after 1000 ms");
	assert_int_equal(fixture->fake->slept_ms, 1000);
	/* With growing pauses, not in a tight loop. */
	assert_true(fixture->fake->sleeps_count < 12);
}

static void
a_group_file_that_is_not_there(void **state)
{
	struct fixture *fixture = *state;

	fake_remove(fixture->fake->dev, "4");
	fixture_refused(fixture, FAKE_ALONE, -ENOENT, "dev/4 is not there: bind the device to vfio-pci again");
	fake_file(fixture->fake->dev, "devices/vfio0", "");
	fixture_refused(fixture, FAKE_ALONE, -ENOTSUP, "devices, iommufd) only, expected");
	fake_file(fixture->fake->dev, "noiommu-4", "");
	fixture_refused(fixture, FAKE_ALONE, -ENOTSUP, "group 4 is in no-IOMMU mode");
}

static void
vfio_that_is_not_loaded(void **state)
{
	struct fixture *fixture = *state;

	fake_remove(fixture->fake->dev, "4");
	fake_remove(fixture->fake->dev, "vfio");
	fixture_refused(fixture, FAKE_ALONE, -ENOENT, "dev/vfio is not there: load VFIO (modprobe vfio-pci)");
}

static void
errors_of_opening(void **state)
{
	struct fixture *fixture = *state;

	fixture->fake->open_error = -EACCES;
	fixture_refused(fixture, FAKE_ALONE, -EACCES, "give it to the user of this process");
	fixture->fake->open_error = -EPERM;
	fixture_refused(fixture, FAKE_ALONE, -EACCES, "give it to the user of this process");
	fixture->fake->open_error = -EMFILE;
	fixture_refused(fixture, FAKE_ALONE, -EMFILE, "Too many open files");
	assert_int_equal(fixture->fake->sleeps_count, 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		FIXTURE_TEST(a_busy_group_is_tried_again),
		FIXTURE_TEST(not_for_ever),
		FIXTURE_TEST(a_group_file_that_is_not_there),
		FIXTURE_TEST(vfio_that_is_not_loaded),
		FIXTURE_TEST(errors_of_opening),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
