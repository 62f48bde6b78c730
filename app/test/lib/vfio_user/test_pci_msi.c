/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <sys/eventfd.h>

#include "function.h"
#include "rp_wire_fd.h"

static int event_fd = -1;
static struct function function;

static int
setup(void **state)
{
	(void)state;
	function_start(&function);
	event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	function_close(&function);
	rp_wire_fd_close(&event_fd);
	return 0;
}

static void
test_the_capability_in_bytes(void **state)
{
	static const uint8_t expected[24] = {0x05, 0x60, 0x86, 0x01};
	uint8_t bytes[24];

	(void)state;
	assert_int_equal(function_read(&function, FUNCTION_CONFIG, FUNCTION_MSI, sizeof(bytes), bytes), 0);
	assert_memory_equal(bytes, expected, sizeof(bytes));
	memset(bytes, 0xff, sizeof(bytes));
	assert_int_equal(function_write(&function, FUNCTION_CONFIG, FUNCTION_MSI, sizeof(bytes), bytes), 0);
	assert_int_equal(function_get(&function, FUNCTION_CONFIG, FUNCTION_MSI, 4), 0x01f76005);
	assert_int_equal(function_get(&function, FUNCTION_CONFIG, FUNCTION_MSI + 4, 4), 0xfffffffc);
	assert_int_equal(function_get(&function, FUNCTION_CONFIG, FUNCTION_MSI + 8, 4), 0xffffffff);
	assert_int_equal(function_get(&function, FUNCTION_CONFIG, FUNCTION_MSI + 12, 4), 0x0000ffff);
	assert_int_equal(function_get(&function, FUNCTION_CONFIG, FUNCTION_MSI + 16, 4), 0x000000ff);
	assert_int_equal(function_get(&function, FUNCTION_CONFIG, FUNCTION_MSI + 20, 4), 0);
}

static void
test_masks_and_pending_bits(void **state)
{
	(void)state;
	function_attach(&function, RP_VFU_PCI_MSI_IRQ, 5, event_fd);
	assert_int_equal(rp_vfu_pci_irq_trigger(function.pci, RP_VFU_PCI_MSI_IRQ, 5), 0);
	assert_int_equal(function_signals(event_fd), 1);
	/* One byte of the masks is enough. */
	function_put(&function, FUNCTION_CONFIG, FUNCTION_MSI + 16, 1, 0x20);
	assert_int_equal(rp_vfu_pci_irq_trigger(function.pci, RP_VFU_PCI_MSI_IRQ, 5), 0);
	assert_int_equal(rp_vfu_pci_irq_trigger(function.pci, RP_VFU_PCI_MSI_IRQ, 5), 0);
	assert_int_equal(function_signals(event_fd), 0);
	assert_int_equal(function_get(&function, FUNCTION_CONFIG, FUNCTION_MSI + 20, 4), 0x20);
	function_put(&function, FUNCTION_CONFIG, FUNCTION_MSI + 16, 1, 0xdf);
	assert_int_equal(function_signals(event_fd), 1);
	assert_int_equal(function_get(&function, FUNCTION_CONFIG, FUNCTION_MSI + 20, 4), 0);
}

static void
test_counts(void **state)
{
	static const uint32_t wrong[] = {0, 3, 33, 64, UINT32_MAX};
	static const uint32_t right[] = {1, 2, 32}, flags[] = {0x180, 0x182, 0x18a};
	struct rp_wire_why why;
	unsigned int i;

	(void)state;
	for (i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		function_begin(&function, false, true);
		assert_int_equal(rp_vfu_pci_add_msi(function.pci, wrong[i], &why), -EINVAL);
		assert_non_null(strstr(why.text, "MSI: vectors_count"));
		function_close(&function);
	}
	for (i = 0; i < sizeof(right) / sizeof(right[0]); i++) {
		function_begin(&function, false, true);
		assert_int_equal(rp_vfu_pci_add_msi(function.pci, right[i], &why), 0);
		function_serve(&function);
		function_put(&function, FUNCTION_CONFIG, 0x50, 4, UINT32_MAX);
		assert_int_equal(function_get(&function, FUNCTION_CONFIG, 0x50, 4), UINT32_MAX >> (32 - right[i]));
		assert_int_equal(function_get(&function, FUNCTION_CONFIG, 0x42, 2), flags[i]);
		function_close(&function);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_the_capability_in_bytes, setup, teardown),
		cmocka_unit_test_setup_teardown(test_masks_and_pending_bits, setup, teardown),
		cmocka_unit_test(test_counts),
	};

	return cmocka_run_group_tests_name("PCI MSI", tests, NULL, NULL);
}
