/* SPDX-License-Identifier: BSD-3-Clause */
#include <inttypes.h>
#include <stdlib.h>
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

static char *
listing(void)
{
	char *text = NULL;
	size_t bytes;
	FILE *file = open_memstream(&text, &bytes);

	assert_non_null(file);
	rp_vfu_pci_list(function.pci, file);
	assert_int_equal(fclose(file), 0);
	return text;
}

static void
test_all_of_it(void **state)
{
	char expected[1024], *text;

	(void)state;
	function_put(&function, FUNCTION_CONFIG, FUNCTION_COMMAND, 2, 0x7);
	function_put(&function, FUNCTION_CONFIG, 0x14, 4, 0x12);
	function_put(&function, FUNCTION_CONFIG, 0x10, 4, 0x34560000);
	function_attach(&function, RP_VFU_PCI_MSIX_IRQ, 2, event_fd);
	function_put(&function, 0, FUNCTION_TABLE + 2 * 16 + 12, 4, 1);
	assert_int_equal(rp_vfu_pci_irq_trigger(function.pci, RP_VFU_PCI_MSIX_IRQ, 2), 0);
	assert_int_equal(rp_vfu_pci_intx(function.pci, true), 0);
	snprintf(expected, sizeof(expected),
		 "1234:5678 class 028001 revision 42, subsystem 9abc:def0, 4096 bytes, bus mastering on\n"
		 "  BAR 0: 0x10000 bytes of memory, 64-bit, address 0x0000001234560004\n"
		 "  BAR 2: 0x%" PRIx64 " bytes of memory, prefetchable, address 0x00000008\n"
		 "  BAR 3: 0x40 bytes of I/O, address 0x00000001\n"
		 "  INTA: asserted\n"
		 "  0x40: capability 0x01, power management\n"
		 "  0x48: capability 0x05, MSI\n"
		 "  0x60: capability 0x11, MSI-X\n"
		 "  0x6c: capability 0x09, vendor specific\n"
		 "  0x78: capability 0x10, PCI Express\n"
		 "  0x100: extended capability 0x0003, version 1\n"
		 "  0x10c: extended capability 0x000b, version 2\n"
		 "  MSI: 8 vectors, 0 attached, 0 masked by the guest, 0 pending\n"
		 "  MSI-X: 70 vectors, 1 attached, 1 masked by the guest, 1 pending\n",
		 (uint64_t)sysconf(_SC_PAGESIZE) * 4);
	text = listing();
	assert_string_equal(text, expected);
	free(text);
}

static void
test_one_that_has_nothing_yet(void **state)
{
	char *text;

	(void)state;
	function_begin(&function, false, true);
	text = listing();
	assert_string_equal(text,
			    "1234:5678 class 028001 revision 42, subsystem 9abc:def0, 256 bytes, bus mastering off\n"
			    "  INTA: not asserted\n");
	free(text);
	function_close(&function);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_all_of_it, setup, teardown),
		cmocka_unit_test(test_one_that_has_nothing_yet),
	};

	return cmocka_run_group_tests_name("PCI listing", tests, NULL, NULL);
}
