/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <unistd.h>

#include <linux/pci_regs.h>

#include "virtio_fixture.h"

#define fixture virtio_fixture
#define WINDOW_DATA 16u

/* @return where the virtio capability of a type is, 0: nowhere. */
static uint32_t
find(uint32_t type)
{
	uint32_t at = function_get(&fixture.function, FUNCTION_CONFIG, PCI_CAPABILITY_LIST, 1), steps;

	for (steps = 0; at != 0 && steps < 48; steps++) {
		if (function_get(&fixture.function, FUNCTION_CONFIG, at, 1) == PCI_CAP_ID_VNDR &&
		    function_get(&fixture.function, FUNCTION_CONFIG, at + 3, 1) == type)
			return at;
		at = function_get(&fixture.function, FUNCTION_CONFIG, at + 1, 1);
	}
	return 0;
}

static void
assert_cap(uint32_t type, uint32_t length, uint32_t bar, uint32_t offset, uint32_t bytes)
{
	uint32_t at = find(type);

	assert_int_not_equal(at, 0);
	assert_int_equal(function_get(&fixture.function, FUNCTION_CONFIG, at + 2, 1), length);
	assert_int_equal(function_get(&fixture.function, FUNCTION_CONFIG, at + VIRTIO_PCI_CAP_BAR, 1), bar);
	assert_int_equal(function_get(&fixture.function, FUNCTION_CONFIG, at + VIRTIO_PCI_CAP_OFFSET, 4), offset);
	assert_int_equal(function_get(&fixture.function, FUNCTION_CONFIG, at + VIRTIO_PCI_CAP_LENGTH, 4), bytes);
}

static void
test_where_everything_is(void **state)
{
	uint32_t page = (uint32_t)sysconf(_SC_PAGESIZE);

	(void)state;
	assert_cap(VIRTIO_PCI_CAP_COMMON_CFG, 16, VIRTIO_REGISTERS, 0, 64);
	assert_cap(VIRTIO_PCI_CAP_ISR_CFG, 16, VIRTIO_REGISTERS, VIRTIO_ISR_AT, 4);
	assert_cap(VIRTIO_PCI_CAP_DEVICE_CFG, 16, VIRTIO_REGISTERS, VIRTIO_CONFIG_AT, VIRTIO_CONFIG_BYTES);
	assert_cap(VIRTIO_PCI_CAP_NOTIFY_CFG, 20, VIRTIO_NOTIFY, 0, 4 * page);
	assert_int_equal(function_get(&fixture.function, FUNCTION_CONFIG, find(VIRTIO_PCI_CAP_NOTIFY_CFG) + 16, 4),
			 page);
	/* The ring state's: "RP" is where others have the BAR. */
	assert_int_equal(function_get(&fixture.function, FUNCTION_CONFIG, find(9) + 2, 1), 16);
	assert_int_equal(function_get(&fixture.function, FUNCTION_CONFIG, find(9) + 4, 4),
			 VIRTIO_REGISTERS << 16 | 0x5250);
	assert_int_equal(function_get(&fixture.function, FUNCTION_CONFIG, find(9) + 8, 4), VIRTIO_STATE_AT);
	assert_int_equal(function_get(&fixture.function, FUNCTION_CONFIG, find(9) + 12, 4), 16 + 64 * VIRTIO_QUEUES);
	assert_int_not_equal(find(VIRTIO_PCI_CAP_PCI_CFG), 0);
}

static void
test_a_device_without_some(void **state)
{
	struct rp_vfu_virtio_config config = virtio_config;

	config.config_bytes = 0;
	config.vectors_count = 0;
	config.capabilities_offset_bytes = 0x80;
	virtio_start_as(&config);
	assert_int_equal(find(VIRTIO_PCI_CAP_DEVICE_CFG), 0);
	assert_int_equal(find(VIRTIO_PCI_CAP_COMMON_CFG), 0x80);
	assert_int_equal(function_get(&fixture.function, FUNCTION_CONFIG, PCI_CAPABILITY_LIST, 1), 0x80);
	function_put(&fixture.function, FUNCTION_CONFIG, PCI_BASE_ADDRESS_0, 4, UINT32_MAX);
	assert_int_equal(function_get(&fixture.function, FUNCTION_CONFIG, PCI_BASE_ADDRESS_0, 4), 0);
	virtio_teardown(state);
}

static void
window_to(uint32_t bar, uint32_t offset, uint32_t length)
{
	uint32_t at = find(VIRTIO_PCI_CAP_PCI_CFG);

	function_put(&fixture.function, FUNCTION_CONFIG, at + VIRTIO_PCI_CAP_BAR, 1, bar);
	function_put(&fixture.function, FUNCTION_CONFIG, at + VIRTIO_PCI_CAP_OFFSET, 4, offset);
	function_put(&fixture.function, FUNCTION_CONFIG, at + VIRTIO_PCI_CAP_LENGTH, 4, length);
}

static void
test_the_window(void **state)
{
	uint32_t at = find(VIRTIO_PCI_CAP_PCI_CFG) + WINDOW_DATA, page = (uint32_t)sysconf(_SC_PAGESIZE);

	(void)state;
	window_to(VIRTIO_REGISTERS, VIRTIO_PCI_COMMON_NUMQ, 2);
	assert_int_equal(function_get(&fixture.function, FUNCTION_CONFIG, at, 2), VIRTIO_QUEUES);
	window_to(VIRTIO_REGISTERS, VIRTIO_PCI_COMMON_Q_SELECT, 2);
	function_put(&fixture.function, FUNCTION_CONFIG, at, 2, 2);
	assert_int_equal(virtio_get(VIRTIO_PCI_COMMON_Q_NOFF, 2), 2);
	window_to(VIRTIO_NOTIFY, page, 2);
	function_put(&fixture.function, FUNCTION_CONFIG, at, 2, 1);
	assert_true(rp_vfu_virtio_rung(fixture.virtio, 1));
	assert_int_equal(function_get(&fixture.function, FUNCTION_CONFIG, at, 2), 0xffff);
}

static void
test_windows_to_nowhere(void **state)
{
	static const struct {
		uint32_t bar, offset, length;
	} bad[] = {
		{VIRTIO_REGISTERS, 22, 3},
		{VIRTIO_REGISTERS, 22, 8},
		{VIRTIO_REGISTERS, 22, 0},
		{VIRTIO_REGISTERS, 21, 2},
		{VIRTIO_REGISTERS, 22, 4},
		{VIRTIO_REGISTERS, 0x10000, 2},
		{VIRTIO_REGISTERS, 0xfffffffe, 2},
		{VIRTIO_NOTIFY, 1u << 30, 2},
		{VIRTIO_NOTIFY, 0xfffffffe, 2},
		{0, 22, 2},
		{3, 22, 2},
		{255, 22, 2},
	};
	uint32_t at = find(VIRTIO_PCI_CAP_PCI_CFG) + WINDOW_DATA;
	unsigned int i;

	(void)state;
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		window_to(bad[i].bar, bad[i].offset, bad[i].length);
		function_put(&fixture.function, FUNCTION_CONFIG, at, 4, 0xffffffff);
		assert_int_equal(function_get(&fixture.function, FUNCTION_CONFIG, at, 4), 0);
		assert_int_equal(virtio_get(VIRTIO_PCI_COMMON_Q_SELECT, 2), 0);
	}
}

static uint64_t seen_at;
static int handlers_ctx;

static int
on_notify_read(void *ctx, uint32_t region, uint64_t at, uint32_t count, uint8_t *ret_bytes)
{
	assert_ptr_equal(ctx, &handlers_ctx);
	assert_int_equal(region, VIRTIO_NOTIFY);
	seen_at = at;
	memset(ret_bytes, 0x5a, count);
	return 0;
}

static int
on_notify_write(void *ctx, uint32_t region, uint64_t at, uint32_t count, const uint8_t *bytes)
{
	(void)bytes;
	(void)count;
	assert_ptr_equal(ctx, &handlers_ctx);
	assert_int_equal(region, VIRTIO_NOTIFY);
	seen_at = at;
	return -EIO;
}

/* Doorbells of the device's own are reached both ways, with a ctx of their own. */
static void
test_doorbells_of_the_device(void **state)
{
	struct rp_vfu_virtio_config config = virtio_config;
	uint32_t at;

	config.notify_stride_bytes = 4;
	config.notify = (struct rp_vfu_region){
		64, true, true, .fd = -1, .read = on_notify_read, .write = on_notify_write, .ctx = &handlers_ctx};
	virtio_start_as(&config);
	at = find(VIRTIO_PCI_CAP_PCI_CFG) + WINDOW_DATA;
	assert_cap(VIRTIO_PCI_CAP_NOTIFY_CFG, 20, VIRTIO_NOTIFY, 0, 64);
	assert_int_equal(function_get(&fixture.function, FUNCTION_CONFIG, find(VIRTIO_PCI_CAP_NOTIFY_CFG) + 16, 4), 4);
	assert_int_equal(function_get(&fixture.function, VIRTIO_NOTIFY, 8, 2), 0x5a5a);
	assert_int_equal(seen_at, 8);
	window_to(VIRTIO_NOTIFY, 12, 4);
	assert_int_equal(function_get(&fixture.function, FUNCTION_CONFIG, at, 4), 0x5a5a5a5a);
	assert_int_equal(seen_at, 12);
	assert_int_equal(function_write(&fixture.function, FUNCTION_CONFIG, at, 4, "1234"), EIO);
	virtio_teardown(state);
}

/* What is in the way is said by listen. */
static void
test_a_place_that_is_taken(void **state)
{
	const struct rp_vfu_pci_bar bar = {.region = {16, .fd = -1}};
	struct rp_wire_why why = {.text = ""};

	(void)state;
	memset(&fixture, 0, sizeof(fixture));
	function_begin(&fixture.function, true, true);
	assert_int_equal(rp_vfu_virtio_create(&virtio_config, NULL, NULL, &fixture.virtio, NULL), 0);
	assert_int_equal(rp_vfu_pci_bar(fixture.function.pci, 3, &bar, NULL), 0);
	rp_vfu_virtio_describe(fixture.virtio, fixture.function.pci);
	assert_int_equal(rp_vfu_pci_listen(fixture.function.pci, test_socket_path(), &why), -EEXIST);
	assert_non_null(strstr(why.text, "BAR 2"));
	function_close(&fixture.function);
	rp_vfu_virtio_destroy(fixture.virtio);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, virtio_setup, virtio_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_where_everything_is),
		cmocka_unit_test(test_a_device_without_some),
		CASE(test_the_window),
		CASE(test_windows_to_nowhere),
		cmocka_unit_test(test_doorbells_of_the_device),
		cmocka_unit_test(test_a_place_that_is_taken),
	};

	return cmocka_run_group_tests_name("virtio capabilities", tests, NULL, NULL);
}
