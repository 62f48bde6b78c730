/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdlib.h>
#include <sys/eventfd.h>

#include "function.h"
#include "rp_wire_fd.h"

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

/* Bytes, not numbers: the same on a machine of either byte order. */
static void
test_identity_in_bytes(void **state)
{
	static const uint8_t expected[64] = {
		0x34,
		0x12,
		0x78,
		0x56,
		0,
		0,
		0x10,
		0,
		0x42,
		0x01,
		0x80,
		0x02,
		[0x10] = 0x04,
		[0x18] = 0x08,
		[0x1c] = 0x01,
		[0x2c] = 0xbc,
		0x9a,
		0xf0,
		0xde,
		[0x34] = 0x40,
		[0x3d] = 1,
	};
	uint8_t bytes[64];

	(void)state;
	assert_int_equal(function_read(&function, FUNCTION_CONFIG, 0, sizeof(bytes), bytes), 0);
	assert_memory_equal(bytes, expected, sizeof(bytes));
}

static void
test_reads_of_any_width_and_alignment_agree(void **state)
{
	uint8_t whole[4096], piece[9];
	uint32_t at, count;

	(void)state;
	assert_int_equal(function_read(&function, FUNCTION_CONFIG, 0, sizeof(whole), whole), 0);
	for (at = 0; at < 0x120; at++) {
		for (count = 1; count <= sizeof(piece); count++) {
			/* That one's last byte counts. */
			if (at + count > FUNCTION_VENDOR && at < FUNCTION_VENDOR + FUNCTION_VENDOR_BYTES)
				continue;
			assert_int_equal(function_read(&function, FUNCTION_CONFIG, at, count, piece), 0);
			assert_memory_equal(piece, whole + at, count);
		}
	}
}

static void
start_over(void)
{
	assert_int_equal(function_reset(&function), 0);
}

/* The same bytes written as one piece, byte by byte, and in crooked pieces. */
static void
test_writes_of_any_width_and_alignment_agree(void **state)
{
	static const uint32_t widths[] = {1, 2, 3, 4, 5, 7, 8, 64};
	uint8_t bytes[512], expected[512], found[512];
	uint32_t i, at;

	(void)state;
	srandom(20);
	for (i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)random();
	/* Neither a reset nor a power state that refuses to be entered half. */
	bytes[FUNCTION_EXPRESS + 9] &= 0x7f;
	bytes[FUNCTION_POWER + 4] = 3;
	assert_int_equal(function_write(&function, FUNCTION_CONFIG, 0, sizeof(bytes), bytes), 0);
	assert_int_equal(function_read(&function, FUNCTION_CONFIG, 0, sizeof(expected), expected), 0);
	for (i = 0; i < sizeof(widths) / sizeof(widths[0]); i++) {
		start_over();
		for (at = 0; at < sizeof(bytes); at += widths[i]) {
			uint32_t count = sizeof(bytes) - at < widths[i] ? sizeof(bytes) - at : widths[i];

			assert_int_equal(function_write(&function, FUNCTION_CONFIG, at, count, bytes + at), 0);
		}
		assert_int_equal(function_read(&function, FUNCTION_CONFIG, 0, sizeof(found), found), 0);
		assert_memory_equal(found, expected, sizeof(found));
	}
	assert_int_equal(function.resets, i);
}

static void
test_what_a_guest_cannot_change(void **state)
{
	uint8_t before[4096], ones[4096], after[4096];
	uint32_t i;

	(void)state;
	assert_int_equal(function_read(&function, FUNCTION_CONFIG, 0, sizeof(before), before), 0);
	memset(ones, 0xff, sizeof(ones));
	ones[FUNCTION_EXPRESS + 9] &= 0x7f;
	assert_int_equal(function_write(&function, FUNCTION_CONFIG, 0, sizeof(ones), ones), 0);
	assert_int_equal(function_read(&function, FUNCTION_CONFIG, 0, sizeof(after), after), 0);
	/* Ids, status, class, header type, subsystem, the list's begin, the pin; headers of capabilities. */
	assert_memory_equal(after, before, 4);
	assert_memory_equal(after + 6, before + 6, 6);
	for (i = 0xd; i < 0x10; i++)
		assert_int_equal(after[i], before[i]);
	for (i = 0x20; i < 0x3c; i++)
		assert_int_equal(after[i], before[i]);
	assert_memory_equal(after + 0x3d, before + 0x3d, 3);
	for (i = before[0x34]; i != 0; i = before[i + 1])
		assert_memory_equal(after + i, before + i, 2);
	assert_memory_equal(after + 0x100, before + 0x100, 16);
	/* Behind the last extended capability there is nothing. */
	for (i = 0x114; i < 4096; i++)
		assert_int_equal(after[i], 0);
	assert_int_equal(after[4] | after[5] << 8, 0x407);
}

static void
test_function_level_reset(void **state)
{
	uint8_t before[256], bytes[8] = {0}, after[256];

	(void)state;
	assert_int_equal(function_read(&function, FUNCTION_CONFIG, 0, sizeof(before), before), 0);
	function_put(&function, FUNCTION_CONFIG, FUNCTION_COMMAND, 2, 0x7);
	function_put(&function, FUNCTION_CONFIG, 0x18, 4, 0xfe000000);
	function_put(&function, FUNCTION_CONFIG, FUNCTION_EXPRESS + 8, 2, 0x8000);
	assert_int_equal(function.resets, 1);
	assert_int_equal(function.last_reset, RP_VFU_PCI_RESET_FUNCTION);
	assert_int_equal(function.masters_off, 1);
	assert_false(function.was_master_at_reset);
	assert_int_equal(function_read(&function, FUNCTION_CONFIG, 0, sizeof(after), after), 0);
	assert_memory_equal(after, before, sizeof(before));
	/* In the middle of a larger write, and by the byte alone. */
	function_put(&function, FUNCTION_CONFIG, FUNCTION_COMMAND, 2, 0x4);
	bytes[5] = 0x80;
	assert_int_equal(function_write(&function, FUNCTION_CONFIG, FUNCTION_EXPRESS + 4, sizeof(bytes), bytes), 0);
	function_put(&function, FUNCTION_CONFIG, FUNCTION_EXPRESS + 9, 1, 0x80);
	assert_int_equal(function.resets, 3);
	assert_int_equal(function.masters_off, 2);
	/* Together with what would switch bus mastering: off once, and the rest is lost. */
	function_put(&function, FUNCTION_CONFIG, FUNCTION_COMMAND, 2, 0x4);
	memset(before, 0xff, sizeof(before));
	assert_int_equal(function_write(&function, FUNCTION_CONFIG, 0, sizeof(before), before), 0);
	assert_int_equal(function.resets, 4);
	assert_int_equal(function.masters_on, 3);
	assert_int_equal(function.masters_off, 3);
	assert_int_equal(function_get(&function, FUNCTION_CONFIG, FUNCTION_COMMAND, 2), 0);
}

#define NOISE_ROUNDS 20000

/* Registers of regions, anywhere, in pieces of any size; eventfds and signals meanwhile. */
static void
noise(int event_fd)
{
	static const struct {
		uint32_t region;
		uint32_t size_bytes;
	} places[] = {{FUNCTION_CONFIG, 4096}, {FUNCTION_CONFIG, 256}, {0, FUNCTION_PENDING + 64}, {3, 64}};
	uint8_t bytes[64];
	uint32_t i, j;

	for (i = 0; i < NOISE_ROUNDS; i++) {
		uint32_t place = (uint32_t)random() % 4, count = 1 + (uint32_t)random() % sizeof(bytes);
		uint32_t at = (uint32_t)random() % (places[place].size_bytes - count + 1);

		for (j = 0; j < count; j++)
			bytes[j] = (uint8_t)random();
		assert_int_equal(function_write(&function, places[place].region, at, count, bytes), 0);
		assert_int_equal(function_read(&function, places[place].region, at, count, bytes), 0);
		j = (uint32_t)random() % FUNCTION_MSIX_COUNT;
		(void)rp_vfu_pci_irq_trigger(function.pci, RP_VFU_PCI_MSIX_IRQ, j);
		(void)rp_vfu_pci_irq_trigger(function.pci, RP_VFU_PCI_MSI_IRQ, j % FUNCTION_MSI_COUNT);
		(void)rp_vfu_pci_intx(function.pci, (j & 1) != 0);
		if (i % 8 == 0)
			function_attach(&function, RP_VFU_PCI_MSIX_IRQ, j, (j & 1) != 0 ? event_fd : -1);
	}
}

static void
test_noise(void **state)
{
	uint8_t before[4096], after[4096];
	struct test_leaks leaks;
	int event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	uint32_t i;

	(void)state;
	srandom(4);
	test_leaks_read(&leaks);
	assert_int_equal(function_read(&function, FUNCTION_CONFIG, 0, sizeof(before), before), 0);
	noise(event_fd);
	/* Switched in turn, as many times as it was noticed. */
	assert_true(function.masters_on > 0 && function.resets > 0);
	assert_int_equal(function.masters_on - function.masters_off, rp_vfu_pci_is_bus_master(function.pci));
	assert_int_equal(function_reset(&function), 0);
	assert_int_equal(function_read(&function, FUNCTION_CONFIG, 0, sizeof(after), after), 0);
	/* But for the byte that counts. */
	before[FUNCTION_VENDOR + FUNCTION_VENDOR_BYTES - 1] = after[FUNCTION_VENDOR + FUNCTION_VENDOR_BYTES - 1];
	assert_memory_equal(after, before, sizeof(before));
	for (i = 0; i < FUNCTION_MSIX_COUNT; i++)
		function_attach(&function, RP_VFU_PCI_MSIX_IRQ, i, -1);
	test_leaks_assert_none(&leaks);
	rp_wire_fd_close(&event_fd);
}

static void
test_numbers_by_the_author(void **state)
{
	(void)state;
	assert_int_equal(rp_vfu_pci_get(function.pci, 0, 4), 0x56781234);
	assert_int_equal(rp_vfu_pci_get(function.pci, 0x2d, 2), 0xf09a);
	assert_int_equal(rp_vfu_pci_get(function.pci, 0x100, 4), 0x10c10003);
	assert_int_equal(rp_vfu_pci_get(function.pci, 4095, 2), 0);
	assert_int_equal(rp_vfu_pci_get(function.pci, UINT32_MAX, 1), 0);
	assert_int_equal(rp_vfu_pci_get(function.pci, 0, 3), 0);
	assert_int_equal(rp_vfu_pci_set(function.pci, 4094, 4, 1), -EINVAL);
	assert_int_equal(rp_vfu_pci_set(function.pci, 4092, 3, 1), -EINVAL);
	assert_int_equal(rp_vfu_pci_set(function.pci, FUNCTION_VENDOR + 6, 4, 0x11223344), 0);
	assert_int_equal(function_get(&function, FUNCTION_CONFIG, FUNCTION_VENDOR + 6, 4), 0x11223344);
	assert_int_equal(function_reset(&function), 0);
	assert_int_equal(function_get(&function, FUNCTION_CONFIG, FUNCTION_VENDOR + 6, 4), 0x07060504);
}

static void
test_the_small_one_ends_at_256(void **state)
{
	uint8_t bytes[256];

	(void)state;
	function_begin(&function, false, true);
	function_serve(&function);
	assert_int_equal(function_read(&function, FUNCTION_CONFIG, 0, sizeof(bytes), bytes), 0);
	assert_int_equal(function_read(&function, FUNCTION_CONFIG, 256, 1, bytes), EINVAL);
	/* No list, and no BARs whose spaces could be enabled; the latency timer is there. */
	assert_int_equal(bytes[6], 0);
	assert_int_equal(bytes[0x34], 0);
	function_put(&function, FUNCTION_CONFIG, FUNCTION_COMMAND, 2, 0xffff);
	assert_int_equal(function_get(&function, FUNCTION_CONFIG, FUNCTION_COMMAND, 2), 0x404);
	function_put(&function, FUNCTION_CONFIG, 0xd, 1, 0xff);
	assert_int_equal(function_get(&function, FUNCTION_CONFIG, 0xd, 1), 0xff);
	function_close(&function);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_identity_in_bytes, setup, teardown),
		cmocka_unit_test_setup_teardown(test_reads_of_any_width_and_alignment_agree, setup, teardown),
		cmocka_unit_test_setup_teardown(test_writes_of_any_width_and_alignment_agree, setup, teardown),
		cmocka_unit_test_setup_teardown(test_what_a_guest_cannot_change, setup, teardown),
		cmocka_unit_test_setup_teardown(test_function_level_reset, setup, teardown),
		cmocka_unit_test_setup_teardown(test_noise, setup, teardown),
		cmocka_unit_test_setup_teardown(test_numbers_by_the_author, setup, teardown),
		cmocka_unit_test(test_the_small_one_ends_at_256),
	};

	return cmocka_run_group_tests_name("PCI configuration space", tests, NULL, NULL);
}
