/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <unistd.h>

#include "device.h"
#include "function.h"

static struct function function;

static int
setup(void **state)
{
	(void)state;
	function_start(&function);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	function_close(&function);
	return 0;
}

static void
refused(uint32_t index, struct rp_vfu_pci_bar bar, int error, const char *words)
{
	struct rp_wire_why why = {.text = ""};

	bar.region.fd = -1;
	assert_int_equal(rp_vfu_pci_bar(function.pci, index, &bar, &why), error);
	if (strstr(why.text, words) == NULL)
		fail_msg("'%s' without '%s'", why.text, words);
}

static void
test_what_cannot_be_described(void **state)
{
	const struct rp_vfu_pci_bar wide = {.wide = true, .region = {UINT64_C(1) << 63, .fd = -1}};

	(void)state;
	function_begin(&function, false, true);
	assert_int_equal(rp_vfu_pci_bar(function.pci, 1, &wide, NULL), 0);
	refused(6, (struct rp_vfu_pci_bar){.region = {16}}, -EINVAL, "BAR 6: expected a number below 6");
	refused(5, (struct rp_vfu_pci_bar){.wide = true, .region = {16}}, -EINVAL, "expected a number below 5");
	refused(UINT32_MAX, (struct rp_vfu_pci_bar){.wide = true, .region = {16}}, -EINVAL, "below 5");
	refused(0, (struct rp_vfu_pci_bar){.wide = true, .region = {16}}, -EEXIST, "taken");
	refused(1, (struct rp_vfu_pci_bar){.region = {16}}, -EEXIST, "taken");
	refused(2, (struct rp_vfu_pci_bar){.region = {16}}, -EEXIST, "taken");
	refused(0, (struct rp_vfu_pci_bar){.region = {0}}, -EINVAL, "size_bytes: 0x0");
	refused(0, (struct rp_vfu_pci_bar){.region = {8}}, -EINVAL, "from 0x10");
	refused(0, (struct rp_vfu_pci_bar){.region = {0x3000}}, -EINVAL, "power of two");
	refused(0, (struct rp_vfu_pci_bar){.region = {0x100000000}}, -EINVAL, "to 0x80000000");
	refused(0, (struct rp_vfu_pci_bar){.io = true, .region = {2}}, -EINVAL, "from 0x4");
	refused(0, (struct rp_vfu_pci_bar){.io = true, .region = {512}}, -EINVAL, "to 0x100");
	refused(0, (struct rp_vfu_pci_bar){.io = true, .prefetchable = true, .region = {4}}, -EINVAL, "I/O");
	function_close(&function);
}

/* PCI 3.0, 6.2.5.1: ones are written, and the zeroes that are read tell the size. */
static void
test_bars_tell_their_size(void **state)
{
	const struct {
		uint32_t at;
		uint32_t writable;
		uint32_t fixed;
	} registers[] = {
		{0x10, 0xffff0000, 0x4}, {0x14, 0xffffffff, 0}, {0x18, ~((uint32_t)sysconf(_SC_PAGESIZE) * 4 - 1), 0x8},
		{0x1c, 0xffffffc0, 0x1}, {0x20, 0, 0},		{0x24, 0, 0},
	};
	uint32_t i, byte;

	(void)state;
	for (i = 0; i < 6; i++) {
		function_put(&function, FUNCTION_CONFIG, registers[i].at, 4, UINT32_MAX);
		assert_int_equal(function_get(&function, FUNCTION_CONFIG, registers[i].at, 4),
				 registers[i].writable | registers[i].fixed);
		/* Byte by byte as well, and back to an address. */
		for (byte = 0; byte < 4; byte++)
			function_put(&function, FUNCTION_CONFIG, registers[i].at + byte, 1, 0xa5);
		assert_int_equal(function_get(&function, FUNCTION_CONFIG, registers[i].at, 4),
				 (0xa5a5a5a5 & registers[i].writable) | registers[i].fixed);
	}
}

static void
test_a_wide_bar_above_4_gib(void **state)
{
	const struct rp_vfu_pci_bar huge = {
		.wide = true, .prefetchable = true, .region = {UINT64_C(1) << 36, .fd = -1}};

	(void)state;
	function_begin(&function, false, true);
	assert_int_equal(rp_vfu_pci_bar(function.pci, 4, &huge, NULL), 0);
	function_serve(&function);
	function_put(&function, FUNCTION_CONFIG, 0x20, 4, UINT32_MAX);
	function_put(&function, FUNCTION_CONFIG, 0x24, 4, UINT32_MAX);
	assert_int_equal(function_get(&function, FUNCTION_CONFIG, 0x20, 4), 0xc);
	assert_int_equal(function_get(&function, FUNCTION_CONFIG, 0x24, 4), 0xfffffff0);
	function_close(&function);
}

static void
test_handlers_see_their_accesses(void **state)
{
	uint8_t bytes[16];

	(void)state;
	function_put(&function, 0, 0x123, 3, 0xccbbaa);
	assert_int_equal(function.bar_writes, 1);
	assert_int_equal(function.last_at, 0x123);
	assert_int_equal(function.last_count, 3);
	assert_memory_equal(function.registers + 0x123, ((uint8_t[]){0xaa, 0xbb, 0xcc}), 3);
	assert_int_equal(function_get(&function, 3, 60, 4), 0);
	assert_int_equal(function.bar_reads, 1);
	function.fail_with = -EIO;
	assert_int_equal(function_read(&function, 0, 0, 4, bytes), EIO);
	assert_int_equal(function_write(&function, 3, 0, 4, bytes), EIO);
}

static void
test_memory_is_reached_by_messages_too(void **state)
{
	uint8_t bytes[4] = {1, 2, 3, 4}, found[4];

	(void)state;
	assert_int_equal(function_write(&function, 2, 4094, 4, bytes), 0);
	assert_int_equal(pread(function.memory_fd, found, 4, 4094), 4);
	assert_memory_equal(found, bytes, 4);
	assert_int_equal(function.bar_writes, 0);
}

/* One access over the table, the pending bits and what is around them goes to each its part. */
static void
test_an_access_over_several_parts(void **state)
{
	static uint8_t bytes[FUNCTION_PENDING - FUNCTION_TABLE + 64];
	const uint32_t table_end = FUNCTION_TABLE + 16 * FUNCTION_MSIX_COUNT;
	uint32_t i;

	(void)state;
	memset(function.registers, 0x77, sizeof(function.registers));
	assert_int_equal(function_read(&function, 0, FUNCTION_TABLE - 16, sizeof(bytes), bytes), 0);
	assert_int_equal(function.bar_reads, 3);
	for (i = 0; i < 16; i++)
		assert_int_equal(bytes[i], 0x77);
	for (i = 16; i < 16 + 16 * FUNCTION_MSIX_COUNT; i++)
		assert_int_equal(bytes[i], (i - 16) % 16 == 12);
	for (i = table_end - FUNCTION_TABLE + 16; i < FUNCTION_PENDING - FUNCTION_TABLE + 16; i++)
		assert_int_equal(bytes[i], 0x77);
	/* 70 vectors: two quad words. */
	for (i = FUNCTION_PENDING - FUNCTION_TABLE + 16; i < FUNCTION_PENDING - FUNCTION_TABLE + 32; i++)
		assert_int_equal(bytes[i], 0);
	for (; i < sizeof(bytes); i++)
		assert_int_equal(bytes[i], 0x77);
	memset(bytes, 0x55, sizeof(bytes));
	assert_int_equal(function_write(&function, 0, table_end - 8, 16, bytes), 0);
	assert_int_equal(function.last_at, table_end);
	assert_int_equal(function.last_count, 8);
	assert_int_equal(function_get(&function, 0, table_end - 8, 4), 0x55555555);
	assert_int_equal(function_get(&function, 0, table_end - 4, 4), 1);
	assert_int_equal(function.registers[table_end - 1], 0x77);
}

/* A BAR for the table alone needs no handlers; what is around it reads as 0. */
static void
test_a_bar_for_msix_alone(void **state)
{
	const struct rp_vfu_pci_bar bar = {.region = {0x1000, .fd = -1}};
	const struct rp_vfu_pci_msix msix = {4, 1, 0, 1, 0x800};

	(void)state;
	function_begin(&function, false, true);
	assert_int_equal(rp_vfu_pci_bar(function.pci, 1, &bar, NULL), 0);
	assert_int_equal(rp_vfu_pci_add_msix(function.pci, &msix, NULL), 0);
	function_serve(&function);
	function_put(&function, 1, 0x40, 4, UINT32_MAX);
	assert_int_equal(function_get(&function, 1, 0x40, 4), 0);
	function_put(&function, 1, 0x30, 4, 0xfee01000);
	assert_int_equal(function_get(&function, 1, 0x30, 4), 0xfee01000);
	assert_int_equal(function_get(&function, 1, 0xffc, 4), 0);
	function_close(&function);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_cannot_be_described),
		cmocka_unit_test_setup_teardown(test_bars_tell_their_size, setup, teardown),
		cmocka_unit_test(test_a_wide_bar_above_4_gib),
		cmocka_unit_test_setup_teardown(test_handlers_see_their_accesses, setup, teardown),
		cmocka_unit_test_setup_teardown(test_memory_is_reached_by_messages_too, setup, teardown),
		cmocka_unit_test_setup_teardown(test_an_access_over_several_parts, setup, teardown),
		cmocka_unit_test(test_a_bar_for_msix_alone),
	};

	return cmocka_run_group_tests_name("PCI BARs", tests, NULL, NULL);
}
