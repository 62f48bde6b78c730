/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <sys/eventfd.h>
#include <unistd.h>

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
refused(struct rp_vfu_pci_msix msix, const char *words)
{
	struct rp_wire_why why = {.text = ""};

	assert_int_equal(rp_vfu_pci_add_msix(function.pci, &msix, &why), -EINVAL);
	if (strstr(why.text, words) == NULL)
		fail_msg("'%s' without '%s'", why.text, words);
}

static void
test_places_that_cannot_be(void **state)
{
	const uint32_t page_bytes = (uint32_t)sysconf(_SC_PAGESIZE);
	const struct rp_vfu_area area = {.offset_bytes = page_bytes, .size_bytes = page_bytes};
	const struct rp_vfu_pci_bar handlers = {.wide = true, .region = {0x4000, .fd = -1}};
	const struct rp_vfu_pci_bar ports = {.io = true, .region = {64, .fd = -1}};
	struct rp_vfu_pci_bar memory = {.region = {page_bytes * 4, .fd = -1, .areas = &area, .areas_count = 1}};

	(void)state;
	function_begin(&function, false, true);
	memory.region.fd = function.memory_fd;
	assert_int_equal(rp_vfu_pci_bar(function.pci, 0, &handlers, NULL), 0);
	assert_int_equal(rp_vfu_pci_bar(function.pci, 2, &memory, NULL), 0);
	assert_int_equal(rp_vfu_pci_bar(function.pci, 3, &ports, NULL), 0);
	refused((struct rp_vfu_pci_msix){0, 0, 0, 0, 0x2000}, "MSI-X: vectors_count: 0");
	refused((struct rp_vfu_pci_msix){2049, 0, 0, 0, 0x2000}, "1 to 2048");
	refused((struct rp_vfu_pci_msix){4, 1, 0, 0, 0x2000}, "table: BAR 1");
	refused((struct rp_vfu_pci_msix){4, 3, 0, 0, 0x2000}, "table: BAR 3");
	refused((struct rp_vfu_pci_msix){4, 6, 0, 0, 0x2000}, "table: BAR 6");
	refused((struct rp_vfu_pci_msix){4, 0, 0, 5, 0x2000}, "pending bits: BAR 5");
	refused((struct rp_vfu_pci_msix){4, 0, 4, 0, 0x2000}, "multiple of 8");
	refused((struct rp_vfu_pci_msix){4, 0, 0x3fc8, 0, 0x2000}, "leave BAR 0");
	refused((struct rp_vfu_pci_msix){4, 0, 0xfffffff8, 0, 0x2000}, "leave BAR 0");
	refused((struct rp_vfu_pci_msix){4, 0, 0x2000, 0, 0x2038}, "overlap");
	refused((struct rp_vfu_pci_msix){4, 2, page_bytes - 32, 0, 0}, "mmapped");
	refused((struct rp_vfu_pci_msix){4, 2, 0, 0, 0}, "no handlers");
	function_close(&function);
}

static void
test_as_large_as_it_gets(void **state)
{
	const struct rp_vfu_pci_bar bar = {.wide = true, .region = {0x10000, .fd = -1}};
	const struct rp_vfu_pci_msix msix = {2048, 4, 0x8000, 4, 0x100};

	(void)state;
	function_begin(&function, false, true);
	assert_int_equal(rp_vfu_pci_bar(function.pci, 4, &bar, NULL), 0);
	assert_int_equal(rp_vfu_pci_add_msix(function.pci, &msix, NULL), 0);
	function_serve(&function);
	assert_int_equal(function_get(&function, FUNCTION_CONFIG, 0x42, 2), 2047);
	assert_int_equal(function_get(&function, FUNCTION_CONFIG, 0x44, 4), 0x8004);
	assert_int_equal(function_get(&function, FUNCTION_CONFIG, 0x48, 4), 0x104);
	function_put(&function, 4, 0xfffc, 4, 1);
	assert_int_equal(rp_vfu_pci_irq_trigger(function.pci, RP_VFU_PCI_MSIX_IRQ, 2047), 0);
	assert_int_equal(function_get(&function, 4, 0x1fc, 4), 0x80000000);
	function_close(&function);
}

static void
test_the_table_of_any_width(void **state)
{
	const uint32_t entry = FUNCTION_TABLE + 16;
	uint8_t bytes[16];
	uint32_t at;

	(void)state;
	for (at = 0; at < 16; at++)
		function_put(&function, 0, entry + at, 1, 0x80 + at);
	assert_int_equal(function_read(&function, 0, entry, 16, bytes), 0);
	for (at = 0; at < 12; at++)
		assert_int_equal(bytes[at], 0x80 + at);
	/* Of vector control there is the mask bit (6.8.2.9). */
	assert_memory_equal(bytes + 12, ((uint8_t[]){0, 0, 0, 0}), 4);
	memset(bytes, 0xff, sizeof(bytes));
	assert_int_equal(function_write(&function, 0, entry, 16, bytes), 0);
	assert_int_equal(function_get(&function, 0, entry + 12, 4), 1);
	assert_int_equal(function_get(&function, 0, entry + 6, 4), 0xffffffff);
	/* Neighbours were not touched. */
	assert_int_equal(function_get(&function, 0, entry - 4, 4), 1);
	assert_int_equal(function_get(&function, 0, entry + 16, 4), 0);
}

/* VFIO keeps the table from its clients: they attach eventfds, and the table's first values mask nothing. */
static void
test_a_client_that_leaves_the_table_alone(void **state)
{
	(void)state;
	assert_int_equal(function_get(&function, 0, FUNCTION_TABLE + 16 + 12, 4), 1);
	function_attach(&function, RP_VFU_PCI_MSIX_IRQ, 1, event_fd);
	assert_int_equal(rp_vfu_pci_irq_trigger(function.pci, RP_VFU_PCI_MSIX_IRQ, 1), 0);
	assert_int_equal(function_signals(event_fd), 1);
	/* An address alone does not count; the same value in the control word does. */
	function_put(&function, 0, FUNCTION_TABLE + 16, 4, 0xfee00000);
	assert_int_equal(rp_vfu_pci_irq_trigger(function.pci, RP_VFU_PCI_MSIX_IRQ, 1), 0);
	assert_int_equal(function_signals(event_fd), 1);
	function_put(&function, 0, FUNCTION_TABLE + 16 + 12, 4, 1);
	assert_int_equal(rp_vfu_pci_irq_trigger(function.pci, RP_VFU_PCI_MSIX_IRQ, 1), 0);
	assert_int_equal(function_signals(event_fd), 0);
	/* Until a reset. */
	assert_int_equal(function_reset(&function), 0);
	assert_int_equal(rp_vfu_pci_irq_trigger(function.pci, RP_VFU_PCI_MSIX_IRQ, 1), 0);
	assert_int_equal(function_signals(event_fd), 1);
}

static void
test_the_function_mask(void **state)
{
	const uint32_t control = FUNCTION_MSIX + 2;

	(void)state;
	function_attach(&function, RP_VFU_PCI_MSIX_IRQ, 0, event_fd);
	/* Without the enable bit it masks nothing. */
	function_put(&function, FUNCTION_CONFIG, control, 2, 0x4000);
	assert_int_equal(rp_vfu_pci_irq_trigger(function.pci, RP_VFU_PCI_MSIX_IRQ, 0), 0);
	assert_int_equal(function_signals(event_fd), 1);
	function_put(&function, FUNCTION_CONFIG, control, 2, 0xc000);
	assert_int_equal(rp_vfu_pci_irq_trigger(function.pci, RP_VFU_PCI_MSIX_IRQ, 0), 0);
	assert_int_equal(rp_vfu_pci_irq_trigger(function.pci, RP_VFU_PCI_MSIX_IRQ, 69), 0);
	assert_int_equal(function_signals(event_fd), 0);
	assert_int_equal(function_get(&function, 0, FUNCTION_PENDING, 4), 1);
	assert_int_equal(function_get(&function, 0, FUNCTION_PENDING + 8, 4), 0x20);
	/* Both masks must be off. */
	function_put(&function, 0, FUNCTION_TABLE + 12, 4, 1);
	function_put(&function, FUNCTION_CONFIG, control, 2, 0x8000);
	assert_int_equal(function_signals(event_fd), 0);
	function_put(&function, FUNCTION_CONFIG, control + 1, 1, 0xc0);
	function_put(&function, 0, FUNCTION_TABLE + 12, 4, 0);
	assert_int_equal(function_signals(event_fd), 0);
	function_put(&function, FUNCTION_CONFIG, control + 1, 1, 0x80);
	assert_int_equal(function_signals(event_fd), 1);
	assert_int_equal(function_get(&function, FUNCTION_CONFIG, control, 2), 0x8000 | (FUNCTION_MSIX_COUNT - 1));
}

static void
test_pending_bits_cannot_be_written(void **state)
{
	(void)state;
	function_put(&function, 0, FUNCTION_PENDING, 4, UINT32_MAX);
	assert_int_equal(function_get(&function, 0, FUNCTION_PENDING, 4), 0);
	assert_int_equal(function.bar_writes, 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_places_that_cannot_be),
		cmocka_unit_test(test_as_large_as_it_gets),
		cmocka_unit_test_setup_teardown(test_the_table_of_any_width, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_client_that_leaves_the_table_alone, setup, teardown),
		cmocka_unit_test_setup_teardown(test_the_function_mask, setup, teardown),
		cmocka_unit_test_setup_teardown(test_pending_bits_cannot_be_written, setup, teardown),
	};

	return cmocka_run_group_tests_name("PCI MSI-X", tests, NULL, NULL);
}
