/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "device.h"
#include "rp_wire_fd.h"

static struct device device;
static struct device_description d;
static struct test_leaks before;

static int
setup(void **state)
{
	(void)state;
	test_leaks_read(&before);
	device_init(&device);
	device_describe(&device, &d);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	device_close(&device);
	test_leaks_assert_none(&before);
	return 0;
}

static void
assert_refused(const char *words)
{
	struct rp_wire_why why;

	assert_int_equal(rp_vfu_server_create(&d.config, &device_ops, &device, &device.server, &why), -EINVAL);
	assert_int_equal(why.error, -EINVAL);
	if (strstr(why.text, words) == NULL)
		fail_msg("'%s' does not say '%s'", why.text, words);
	assert_null(device.server);
	assert_int_equal(access(test_socket_path(), F_OK), -1);
	device_describe(&device, &d);
}

static void
test_good_description(void **state)
{
	struct rp_wire_why why;

	(void)state;
	assert_int_equal(rp_vfu_server_create(&d.config, &device_ops, &device, &device.server, &why), 0);
	assert_true(rp_vfu_server_fd(device.server) >= 0);
	assert_false(rp_vfu_server_connected(device.server));
}

static void
test_no_path(void **state)
{
	(void)state;
	d.config.socket_path = NULL;
	assert_refused("socket_path: missing");
}

static void
test_bar_is_a_power_of_two(void **state)
{
	(void)state;
	d.regions[0].size_bytes = 0x1800;
	assert_refused("regions[0]: size_bytes: 0x1800 of a BAR is not a power of two");
	d.regions[2].size_bytes = 0x11000;
	assert_refused("regions[2]: size_bytes");
	/* The expansion ROM is no BAR, nor is anything of a device that is not PCI. */
	d.regions[6] = d.regions[0];
	d.regions[6].size_bytes = 0x1800;
	d.regions[7].size_bytes = 300;
	assert_refused("regions[7]: configuration space of 300 bytes, expected 256 or 4096");
}

static void
test_pci_device_is_whole(void **state)
{
	(void)state;
	d.config.regions_count = 8;
	assert_refused("regions_count: 8, expected at least 9");
	d.config.irqs_count = 2;
	assert_refused("irqs_count: 2, expected at least 3");
	d.regions[7].size_bytes = 0;
	assert_refused("configuration space of 0 bytes");
}

static void
test_limits(void **state)
{
	(void)state;
	d.config.regions_count = 65;
	assert_refused("regions_count: 65, expected at most 64");
	d.config.irqs_count = 17;
	assert_refused("irqs_count: 17, expected at most 16");
	d.irqs[2].count = 2049;
	assert_refused("irqs[2]: count: 2049, expected at most 2048");
	d.regions[2].areas_count = 1025;
	assert_refused("regions[2]: areas_count: 1025");
	d.regions[0].io_fds_count = 1025;
	assert_refused("regions[0]: io_fds_count: 1025");
}

static void
test_areas(void **state)
{
	(void)state;
	d.areas[0].offset_bytes = 0x1001;
	assert_refused("areas[0]: empty or not of whole pages");
	d.areas[1].size_bytes = 0;
	assert_refused("areas[1]: empty or not of whole pages");
	d.areas[1].size_bytes = 0x2001;
	assert_refused("areas[1]: empty or not of whole pages");
	d.areas[1].offset_bytes = 0xf000;
	assert_refused("areas[1]: leaves the region");
	d.areas[1].offset_bytes = UINT64_MAX - 0xfff;
	assert_refused("areas[1]: leaves the region");
	d.areas[1].size_bytes = UINT64_MAX - 0xfff;
	assert_refused("areas[1]: leaves the region");
	d.areas[0].size_bytes = 0x4000;
	assert_refused("areas[1]: overlaps areas[0]");
	d.regions[2].fd = -1;
	d.regions[2].readable = d.regions[2].writable = false;
	assert_refused("areas: without fd");
}

static void
test_file_covers_what_can_be_mapped(void **state)
{
	int short_fd = test_memfd(0x5fff, false);
	int long_enough_fd = test_memfd(0x6000, false);
	struct rp_wire_why why;

	(void)state;
	d.regions[2].fd = short_fd;
	assert_refused("regions[2]: fd: the file ends at 0x5fff, inside the region");
	d.regions[4].fd_offset_bytes = 0x2000;
	assert_refused("regions[4]: fd: the file ends at 0x3000");
	d.regions[4].fd_offset_bytes = 0x800;
	assert_refused("regions[4]: fd_offset_bytes");
	d.regions[4].size_bytes = 0x800;
	assert_refused("regions[4]: size_bytes: 0x800 is not of whole pages");
	/* Areas may end before the region does. */
	d.regions[2].fd = long_enough_fd;
	assert_int_equal(rp_vfu_server_create(&d.config, &device_ops, &device, &device.server, &why), 0);
	rp_wire_fd_close(&short_fd);
	rp_wire_fd_close(&long_enough_fd);
}

static void
test_an_eventfd_of_one_value(void **state)
{
	const struct rp_vfu_io_fd place = {.size_bytes = 2, .fd = d.io_fds[1].fd, .has_datamatch = true};

	(void)state;
	d.io_fds[1] = place;
	d.io_fds[1].datamatch = 0x10000;
	assert_refused("regions[0]: io_fds[1]: datamatch: 0x10000, expected 2 bytes");
	d.io_fds[1] = place;
	d.io_fds[1].size_bytes = 0;
	assert_refused("regions[0]: io_fds[1]: a value of 0 bytes, expected 1, 2, 4 or 8");
	d.io_fds[1] = place;
	d.io_fds[1].has_shadow = true;
	d.io_fds[1].shadow_fd = device.memory_fd;
	assert_refused("regions[0]: io_fds[1]: has_datamatch and has_shadow, expected one of them");
	d.io_fds[1] = place;
	d.io_fds[1].size_bytes = 8;
	d.io_fds[1].datamatch = UINT64_MAX;
	assert_int_equal(rp_vfu_server_create(&d.config, &device_ops, &device, &device.server, NULL), 0);
}

static void
test_regions_are_served_by_somebody(void **state)
{
	(void)state;
	d.regions[0].read = NULL;
	assert_refused("regions[0]: readable: with neither read() nor fd");
	d.regions[7].write = NULL;
	assert_refused("regions[7]: writable: with neither write() nor fd");
	d.io_fds[1].fd = -1;
	assert_refused("regions[0]: io_fds[1]: no fd");
	d.io_fds[1].offset_bytes = 0xffe;
	d.io_fds[1].size_bytes = 4;
	assert_refused("regions[0]: io_fds[1]: leaves the region");
}

static void
test_interrupts_and_reset(void **state)
{
	struct rp_vfu_server_ops no_reset = device_ops;
	struct rp_wire_why why;

	(void)state;
	d.irqs[0].flags = 0x10;
	assert_refused("irqs[0]: flags: 0x10 has unknown bits");
	d.irqs[0].flags = 0x5;
	assert_refused("irqs[0]: flags: 0x5 would mask itself and could not be unmasked");
	no_reset.reset = NULL;
	assert_int_equal(rp_vfu_server_create(&d.config, &no_reset, &device, &device.server, &why), -EINVAL);
	assert_string_equal(why.text, "resettable: without reset()");
}

static void
test_path_that_cannot_be_listened_at(void **state)
{
	struct rp_vfu_server *second = NULL;
	struct rp_wire_why why;

	(void)state;
	assert_int_equal(rp_vfu_server_create(&d.config, &device_ops, &device, &device.server, &why), 0);
	assert_int_equal(rp_vfu_server_create(&d.config, &device_ops, &device, &second, &why), -EADDRINUSE);
	assert_null(second);
	/* And the first one still owns its path. */
	assert_int_equal(access(test_socket_path(), F_OK), 0);
	d.config.socket_path = "/nonexistent/socket";
	assert_int_equal(rp_vfu_server_create(&d.config, &device_ops, &device, &second, &why), -ENOENT);
}

static void
test_every_callback_may_be_missing(void **state)
{
	const struct rp_vfu_server_ops nothing = {.reset = NULL};
	struct peer_msg *reply = malloc(sizeof(*reply));
	struct rp_wire_why why;
	struct peer peer;

	(void)state;
	d.config.resettable = false;
	assert_int_equal(rp_vfu_server_create(&d.config, &nothing, &device, &device.server, &why), 0);
	device_connect(&device, &peer);
	device_negotiate(&peer);
	assert_int_equal(device_ask(&peer, 13, NULL, 0, NULL, 0, reply), EOPNOTSUPP);
	device_hang_up(&device, &peer);
	free(reply);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_good_description, setup, teardown),
		cmocka_unit_test_setup_teardown(test_no_path, setup, teardown),
		cmocka_unit_test_setup_teardown(test_bar_is_a_power_of_two, setup, teardown),
		cmocka_unit_test_setup_teardown(test_pci_device_is_whole, setup, teardown),
		cmocka_unit_test_setup_teardown(test_limits, setup, teardown),
		cmocka_unit_test_setup_teardown(test_areas, setup, teardown),
		cmocka_unit_test_setup_teardown(test_file_covers_what_can_be_mapped, setup, teardown),
		cmocka_unit_test_setup_teardown(test_regions_are_served_by_somebody, setup, teardown),
		cmocka_unit_test_setup_teardown(test_an_eventfd_of_one_value, setup, teardown),
		cmocka_unit_test_setup_teardown(test_interrupts_and_reset, setup, teardown),
		cmocka_unit_test_setup_teardown(test_path_that_cannot_be_listened_at, setup, teardown),
		cmocka_unit_test_setup_teardown(test_every_callback_may_be_missing, setup, teardown),
	};

	return cmocka_run_group_tests_name("vfio-user server: description", tests, NULL, NULL);
}
