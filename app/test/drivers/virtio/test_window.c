/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>

#include "fixture.h"

#define PEER_IOVA 0x40000000ull

static int
region_info(struct fixture *fixture, uint32_t region, struct rp_accel_region *ret_region)
{
	return fixture->accel.ops->region_info(fixture->accel.priv, region, ret_region, &fixture->why);
}

static int
window(struct fixture *fixture, uint32_t region, struct rp_accel_window *ret_window)
{
	return fixture->accel.ops->region_window(fixture->accel.priv, region, FAKE_PAGE, FAKE_PAGE, ret_window,
						 &fixture->why);
}

static int
peer_map(struct fixture *fixture)
{
	static char memory;

	return fixture->accel.ops->peer_map(fixture->accel.priv, PEER_IOVA, FAKE_PAGE, -1, 0, &memory, &fixture->why);
}

/* The table of vectors and its pending bits are named, where they are. */
static void
what_a_bar_is(void **state)
{
	struct fixture *fixture = *state;
	struct rp_accel_region region = {0};

	fixture_open_ok(fixture);
	assert_int_equal(region_info(fixture, FAKE_BAR_MSIX, &region), 0);
	assert_int_equal(region.size_bytes, 0x1000);
	assert_int_equal(region.holes_count, 2);
	assert_true(region.holes[0].size_bytes >= 16 && region.holes[1].size_bytes >= 8);
	assert_int_equal(region_info(fixture, FAKE_BAR_NOTIFY, &region), 0);
	assert_int_equal(region.size_bytes, 4 * FAKE_PAGE);
	assert_int_equal(region.holes_count, 0);
	assert_int_equal(region_info(fixture, 5, &region), -ENOTSUP);
	fixture_assert_why(fixture, "BAR 5 is absent");
	assert_int_equal(region_info(fixture, 6, &region), -ENOTSUP);
	fixture_assert_why(fixture, "BAR 6: expected 0 to 5");
	assert_int_equal(region.size_bytes, 4 * FAKE_PAGE);
}

static void
assert_window(struct fixture *fixture, bool all_of_device)
{
	struct rp_accel_window piece;

	fixture_open_ok(fixture);
	assert_int_equal(window(fixture, FAKE_BAR_NOTIFY, &piece), 0);
	assert_int_equal(piece.size_bytes, FAKE_PAGE);
	assert_int_equal(piece.offset_bytes, FAKE_PAGE);
	assert_true(piece.fd >= 0);
	assert_int_equal(piece.all_of_device, all_of_device);
	assert_int_equal(window(fixture, 6, &piece), -ENOTSUP);
	fixture->fake.lies.window_error = -ENOTSUP;
	assert_int_equal(window(fixture, FAKE_BAR_NOTIFY, &piece), -ENOTSUP);
	fixture_assert_why(fixture, "is not mmap-able");
}

/* The file of a device process is one region's. */
static void
a_window_of_a_device_process(void **state)
{
	assert_window(*state, false);
}

/* The kernel's VFIO has one file, and it reaches all of the device. */
static void
a_window_of_the_kernels_vfio(void **state)
{
	struct fixture *fixture = *state;

	fixture->fake.info.vfio_file_fd = 0;
	assert_window(fixture, true);
}

/* The guest's own memory is another matter: without it the device is of no use. */
static void
a_peers_memory_can_be_done_without(void **state)
{
	static const int errors[] = {-EFAULT, -EINVAL, -ENOTSUP, -ENOSPC, -EEXIST, -ENOMEM, -EPERM};
	struct fixture *fixture = *state;
	unsigned int i;

	fixture_negotiate(fixture);
	for (i = 0; i < sizeof(errors) / sizeof(errors[0]); i++) {
		fixture->fake.lies.dma_error = errors[i];
		assert_int_equal(peer_map(fixture), errors[i]);
		assert_int_equal(fixture->accel.ops->process(fixture->accel.priv, NULL), 0);
	}
	fixture->fake.lies.dma_error = 0;
	assert_int_equal(peer_map(fixture), 0);
	assert_int_equal(fixture->accel.ops->dma_unmap(fixture->accel.priv, PEER_IOVA, FAKE_PAGE, &fixture->why), 0);
	fixture->fake.lies.dma_error = -EIO;
	assert_int_equal(peer_map(fixture), -EIO);
	assert_int_equal(fixture->accel.ops->process(fixture->accel.priv, NULL), -EIO);
}

static void
after_a_loss(void **state)
{
	struct fixture *fixture = *state;
	struct rp_accel_region region;
	struct rp_accel_window piece;

	fixture_negotiate(fixture);
	fixture->fake.lies.dma_error = -EFAULT;
	assert_int_equal(fixture->accel.ops->dma_map(fixture->accel.priv, 0, FAKE_PAGE, 5, 0, NULL, &fixture->why),
			 -EIO);
	fixture->fake.lies.dma_error = 0;
	assert_int_equal(peer_map(fixture), -EIO);
	assert_int_equal(region_info(fixture, FAKE_BAR_NOTIFY, &region), -EIO);
	assert_int_equal(window(fixture, FAKE_BAR_NOTIFY, &piece), -EIO);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(what_a_bar_is, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(a_window_of_a_device_process, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(a_window_of_the_kernels_vfio, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(a_peers_memory_can_be_done_without, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(after_a_loss, fixture_setup, fixture_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
