/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "function.h"
#include "rp_wire_fd.h"

#define UNMASK 0x10u
/* Who waits is ended. */
#define PATIENCE_S 10u

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
test_a_level_is_told_until_it_falls(void **state)
{
	(void)state;
	assert_int_equal(rp_vfu_pci_intx(function.pci, true), 0);
	assert_int_equal(function_get(&function, FUNCTION_CONFIG, FUNCTION_STATUS, 2) & 0x8, 0x8);
	/* Who comes later is told too. */
	function_attach(&function, RP_VFU_PCI_INTX_IRQ, 0, event_fd);
	assert_int_equal(function_signals(event_fd), 1);
	/* It masked itself; the guest looks, leaves the level up, and unmasks. */
	function_irq_action(&function, RP_VFU_PCI_INTX_IRQ, 0, UNMASK);
	assert_int_equal(function_signals(event_fd), 1);
	assert_int_equal(rp_vfu_pci_intx(function.pci, true), 0);
	assert_int_equal(function_signals(event_fd), 0);
	assert_int_equal(rp_vfu_pci_intx(function.pci, false), 0);
	assert_int_equal(function_get(&function, FUNCTION_CONFIG, FUNCTION_STATUS, 2) & 0x8, 0);
	function_irq_action(&function, RP_VFU_PCI_INTX_IRQ, 0, UNMASK);
	assert_int_equal(function_signals(event_fd), 0);
	assert_int_equal(rp_vfu_pci_intx(function.pci, true), 0);
	assert_int_equal(function_signals(event_fd), 1);
	/* The pin is the library's, and no vector. */
	assert_int_equal(function.irq_changes, 0);
	assert_int_equal(rp_vfu_pci_irq_trigger(function.pci, RP_VFU_PCI_INTX_IRQ, 0), -EINVAL);
	assert_int_equal(rp_vfu_pci_irq_fd(function.pci, RP_VFU_PCI_INTX_IRQ, 0), -1);
}

static void
test_the_guest_disables_the_pin(void **state)
{
	(void)state;
	function_attach(&function, RP_VFU_PCI_INTX_IRQ, 0, event_fd);
	function_put(&function, FUNCTION_CONFIG, FUNCTION_COMMAND, 2, 0x400);
	assert_int_equal(rp_vfu_pci_intx(function.pci, true), 0);
	assert_int_equal(function_signals(event_fd), 0);
	/* Its state shows all the same (PCI 3.0, 6.2.3). */
	assert_int_equal(function_get(&function, FUNCTION_CONFIG, FUNCTION_STATUS, 2) & 0x8, 0x8);
	function_put(&function, FUNCTION_CONFIG, FUNCTION_COMMAND, 2, 0);
	assert_int_equal(function_signals(event_fd), 1);
	function_put(&function, FUNCTION_CONFIG, FUNCTION_COMMAND, 2, 0x400);
	assert_int_equal(function_reset(&function), 0);
	assert_int_equal(function_get(&function, FUNCTION_CONFIG, FUNCTION_STATUS, 2) & 0x8, 0);
	function_irq_action(&function, RP_VFU_PCI_INTX_IRQ, 0, UNMASK);
	assert_int_equal(function_signals(event_fd), 0);
	assert_int_equal(rp_vfu_pci_intx(function.pci, true), 0);
	assert_int_equal(function_signals(event_fd), 1);
}

static void
test_a_function_without_a_pin(void **state)
{
	const struct rp_vfu_pci_config config = {.vendor_id = 1};
	const struct rp_vfu_pci_ops ops = {.reset = NULL};
	struct rp_vfu_pci *pci;

	(void)state;
	assert_int_equal(rp_vfu_pci_create(&config, &ops, NULL, &pci, NULL), 0);
	assert_int_equal(rp_vfu_pci_intx(pci, true), -EINVAL);
	assert_int_equal(rp_vfu_pci_irq_trigger(pci, RP_VFU_PCI_MSIX_IRQ, 0), -EINVAL);
	rp_vfu_pci_destroy(pci);
}

static void
test_vectors_that_are_not_there(void **state)
{
	(void)state;
	assert_int_equal(rp_vfu_pci_irq_trigger(function.pci, RP_VFU_PCI_MSIX_IRQ, FUNCTION_MSIX_COUNT), -EINVAL);
	assert_int_equal(rp_vfu_pci_irq_trigger(function.pci, RP_VFU_PCI_IRQS_COUNT, 0), -EINVAL);
	assert_int_equal(rp_vfu_pci_irq_trigger(function.pci, UINT32_MAX, 0), -EINVAL);
	assert_int_equal(rp_vfu_pci_irq_trigger(function.pci, RP_VFU_PCI_MSIX_IRQ, 0), -ENOTCONN);
	assert_int_equal(rp_vfu_pci_irq_fd(function.pci, RP_VFU_PCI_MSIX_IRQ, FUNCTION_MSIX_COUNT), -1);
}

/* A data path signals what it was given last, and knows of no mask. */
static void
test_what_is_signalled_while_masked_comes_later(void **state)
{
	const uint32_t control = FUNCTION_TABLE + 16 * 69 + 12;
	int *told = &function.irq_fds[RP_VFU_PCI_MSIX_IRQ][69];

	(void)state;
	function_attach(&function, RP_VFU_PCI_MSIX_IRQ, 69, event_fd);
	assert_int_equal(function.irq_changes, 1);
	assert_int_equal(eventfd_write(*told, 1), 0);
	assert_int_equal(function_signals(event_fd), 1);
	function_put(&function, 0, control, 4, 1);
	assert_int_equal(function.irq_changes, 2);
	assert_int_equal(eventfd_write(*told, 1), 0);
	assert_int_equal(rp_vfu_pci_irq_trigger(function.pci, RP_VFU_PCI_MSIX_IRQ, 69), 0);
	assert_int_equal(function_signals(event_fd), 0);
	/* However often it is looked at. */
	assert_int_equal(function_get(&function, 0, FUNCTION_PENDING + 8, 1), 0x20);
	assert_int_equal(function_get(&function, 0, FUNCTION_PENDING + 8, 4), 0x20);
	function_put(&function, 0, control, 4, 0);
	assert_int_equal(function.irq_changes, 3);
	assert_int_equal(function_signals(event_fd), 1);
	assert_int_equal(function_get(&function, 0, FUNCTION_PENDING + 8, 4), 0);
	assert_int_equal(eventfd_write(*told, 1), 0);
	assert_int_equal(function_signals(event_fd), 1);
}

static void
test_a_client_that_attaches_after_the_unmasking(void **state)
{
	(void)state;
	function_put(&function, 0, FUNCTION_TABLE + 12, 4, 1);
	assert_int_equal(rp_vfu_pci_irq_trigger(function.pci, RP_VFU_PCI_MSIX_IRQ, 0), 0);
	assert_true(function.irq_fds[RP_VFU_PCI_MSIX_IRQ][0] >= 0);
	function_put(&function, 0, FUNCTION_TABLE + 12, 4, 0);
	assert_int_equal(function.irq_fds[RP_VFU_PCI_MSIX_IRQ][0], -1);
	function_attach(&function, RP_VFU_PCI_MSIX_IRQ, 0, event_fd);
	assert_int_equal(function_signals(event_fd), 1);
	/* A detached one is told to nobody. */
	function_attach(&function, RP_VFU_PCI_MSIX_IRQ, 0, -1);
	assert_int_equal(rp_vfu_pci_irq_trigger(function.pci, RP_VFU_PCI_MSIX_IRQ, 0), -ENOTCONN);
}

static void
test_a_reset_forgets_what_was_pending(void **state)
{
	(void)state;
	function_attach(&function, RP_VFU_PCI_MSIX_IRQ, 0, event_fd);
	function_put(&function, 0, FUNCTION_TABLE + 12, 4, 1);
	assert_int_equal(rp_vfu_pci_irq_trigger(function.pci, RP_VFU_PCI_MSIX_IRQ, 0), 0);
	assert_int_equal(function_reset(&function), 0);
	assert_int_equal(function_signals(event_fd), 0);
	assert_int_equal(function_get(&function, 0, FUNCTION_PENDING, 4), 0);
	/* The client's eventfd stays: a reset keeps interrupts as they are. */
	assert_int_equal(eventfd_write(function.irq_fds[RP_VFU_PCI_MSIX_IRQ][0], 1), 0);
	assert_int_equal(function_signals(event_fd), 1);
}

/* A guest masks all of them with one bit, and a process has a limit. */
static void
test_masks_cost_descriptors_only_while_they_are_needed(void **state)
{
	const uint32_t control = FUNCTION_MSIX + 2;
	struct test_leaks before, masked;

	(void)state;
	function_attach(&function, RP_VFU_PCI_MSIX_IRQ, 7, event_fd);
	test_leaks_read(&before);
	function_put(&function, FUNCTION_CONFIG, control, 2, 0xc000);
	test_leaks_read(&masked);
	assert_int_equal(masked.fds_count, before.fds_count + 1);
	assert_int_equal(rp_vfu_pci_irq_trigger(function.pci, RP_VFU_PCI_MSIX_IRQ, 8), 0);
	function_put(&function, FUNCTION_CONFIG, control, 2, 0x8000);
	/* One is pending, for whoever attaches to it. */
	test_leaks_read(&masked);
	assert_int_equal(masked.fds_count, before.fds_count + 1);
	assert_int_equal(function_reset(&function), 0);
	test_leaks_assert_none(&before);
}

static void
test_a_client_that_attaches_to_a_masked_vector(void **state)
{
	(void)state;
	function_put(&function, 0, FUNCTION_TABLE + 12, 4, 1);
	function_attach(&function, RP_VFU_PCI_MSIX_IRQ, 0, event_fd);
	assert_int_equal(eventfd_write(function.irq_fds[RP_VFU_PCI_MSIX_IRQ][0], 1), 0);
	assert_int_equal(function_signals(event_fd), 0);
	function_put(&function, 0, FUNCTION_TABLE + 12, 4, 0);
	assert_int_equal(function_signals(event_fd), 1);
}

/* Whoever signals a masked vector holds the eventfd that keeps it. */
static void
test_a_kept_signal_is_not_waited_for(void **state)
{
	(void)state;
	alarm(PATIENCE_S);
	function_put(&function, 0, FUNCTION_TABLE + 12, 4, 1);
	function_attach(&function, RP_VFU_PCI_MSIX_IRQ, 0, event_fd);
	assert_int_equal(fcntl(function.irq_fds[RP_VFU_PCI_MSIX_IRQ][0], F_SETFL, 0), 0);
	assert_int_equal(function_get(&function, 0, FUNCTION_PENDING, 4), 0);
	function_put(&function, 0, FUNCTION_TABLE + 12, 4, 0);
	assert_int_equal(function_signals(event_fd), 0);
	alarm(0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_a_level_is_told_until_it_falls, setup, teardown),
		cmocka_unit_test_setup_teardown(test_the_guest_disables_the_pin, setup, teardown),
		cmocka_unit_test(test_a_function_without_a_pin),
		cmocka_unit_test_setup_teardown(test_vectors_that_are_not_there, setup, teardown),
		cmocka_unit_test_setup_teardown(test_what_is_signalled_while_masked_comes_later, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_client_that_attaches_after_the_unmasking, setup, teardown),
		cmocka_unit_test_setup_teardown(test_masks_cost_descriptors_only_while_they_are_needed, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_a_client_that_attaches_to_a_masked_vector, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_kept_signal_is_not_waited_for, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_reset_forgets_what_was_pending, setup, teardown),
	};

	return cmocka_run_group_tests_name("PCI interrupts", tests, NULL, NULL);
}
