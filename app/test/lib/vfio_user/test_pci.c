/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdlib.h>
#include <sys/eventfd.h>

#include "bytes.h"
#include "device.h"
#include "function.h"
#include "mover.h"
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

static void
test_a_life_leaks_nothing(void **state)
{
	struct test_leaks before;
	int event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	unsigned int i;

	(void)state;
	test_leaks_read(&before);
	for (i = 0; i < 3; i++) {
		function_start(&function);
		function_attach(&function, RP_VFU_PCI_MSIX_IRQ, 3, event_fd);
		/* Masked once, so that descriptors of the library's own are there. */
		function_put(&function, 0, FUNCTION_TABLE + 3 * 16 + 12, 4, 1);
		function_put(&function, FUNCTION_CONFIG, FUNCTION_MSI + 0x10, 4, 0xff);
		function_close(&function);
		function_begin(&function, false, false);
		function_close(&function);
	}
	rp_vfu_pci_destroy(NULL);
	test_leaks_assert_none(&before);
	rp_wire_fd_close(&event_fd);
}

static void
test_what_cannot_be_created(void **state)
{
	const struct rp_vfu_pci_config config = {.class_code = 0x1000000};
	const struct rp_vfu_pci_ops ops = {.reset = NULL};
	struct rp_vfu_pci *pci = NULL;
	struct rp_wire_why why;

	(void)state;
	assert_int_equal(rp_vfu_pci_create(&config, &ops, NULL, &pci, &why), -EINVAL);
	assert_non_null(strstr(why.text, "class_code: 0x1000000"));
	assert_null(pci);
}

static void
test_the_first_failure_is_what_listen_says(void **state)
{
	const struct rp_vfu_pci_bar odd = {.region = {48, true, true, .fd = -1}};
	struct rp_wire_why why;

	(void)state;
	function_begin(&function, false, true);
	assert_int_equal(rp_vfu_pci_bar(function.pci, 1, &odd, NULL), -EINVAL);
	assert_int_equal(rp_vfu_pci_add_express(function.pci, &why), -EINVAL);
	assert_non_null(strstr(why.text, "PCI Express"));
	assert_int_equal(rp_vfu_pci_listen(function.pci, test_socket_path(), &why), -EINVAL);
	assert_non_null(strstr(why.text, "BAR 1: size_bytes: 0x30"));
	assert_int_equal(why.error, -EINVAL);
	assert_null(rp_vfu_pci_server(function.pci));
	function_close(&function);
}

static void
test_a_description_ends(void **state)
{
	const struct rp_vfu_pci_bar bar = {.region = {64, true, true, .fd = -1}};
	struct rp_wire_why why;

	(void)state;
	assert_int_equal(rp_vfu_pci_bar(function.pci, 5, &bar, &why), -EBUSY);
	assert_int_equal(rp_vfu_pci_add_power(function.pci, &why), -EEXIST);
	assert_int_equal(rp_vfu_pci_add(function.pci, &(struct rp_vfu_pci_cap){.id = 9}, NULL, &why), -EBUSY);
	assert_int_equal(rp_vfu_pci_listen(function.pci, test_socket_path(), &why), -EBUSY);
	/* It goes on. */
	assert_int_equal(function_get(&function, FUNCTION_CONFIG, 0, 4), 0x56781234);
}

static void
test_listening_can_be_tried_again(void **state)
{
	struct rp_wire_why why;

	(void)state;
	function_begin(&function, true, true);
	function_describe(&function);
	assert_true(rp_vfu_pci_listen(function.pci, "/nonexistent/directory/socket", &why) < 0);
	assert_null(rp_vfu_pci_server(function.pci));
	function_serve(&function);
	assert_int_equal(function_get(&function, FUNCTION_CONFIG, 0, 4), 0x56781234);
	function_close(&function);
}

static void
test_clients_come_and_go(void **state)
{
	(void)state;
	assert_int_equal(function.connects, 1);
	function_put(&function, FUNCTION_CONFIG, 0x10, 4, 0xabcd0000);
	peer_close(&function.peer);
	function.peer.turn(&function);
	assert_int_equal(function.disconnects, 1);
	/* What the device is stays. */
	peer_connect(&function.peer, test_socket_path());
	function.peer.turn(&function);
	device_negotiate(&function.peer);
	assert_int_equal(function.connects, 2);
	assert_int_equal(function_get(&function, FUNCTION_CONFIG, 0x10, 4), 0xabcd0004);
	assert_int_equal(function_read(&function, FUNCTION_CONFIG, 4096, 1, &(uint8_t){0}), EINVAL);
	assert_int_equal(function.refusals, 1);
}

static void
test_bus_mastering_on_and_off(void **state)
{
	(void)state;
	assert_false(rp_vfu_pci_is_bus_master(function.pci));
	function_put(&function, FUNCTION_CONFIG, FUNCTION_COMMAND, 2, 0x6);
	function_put(&function, FUNCTION_CONFIG, FUNCTION_COMMAND, 2, 0x4);
	assert_int_equal(function.masters_on, 1);
	assert_int_equal(function.masters_off, 0);
	function_put(&function, FUNCTION_CONFIG, FUNCTION_COMMAND, 1, 0x2);
	assert_int_equal(function.masters_off, 1);
	/* As a part of a larger write, too. */
	function_put(&function, FUNCTION_CONFIG, FUNCTION_COMMAND - 1, 3, 0x000400);
	assert_int_equal(function.masters_on, 2);
	assert_true(rp_vfu_pci_is_bus_master(function.pci));
}

static void
test_reset_by_message(void **state)
{
	uint8_t before[4096], after[4096];

	(void)state;
	assert_int_equal(function_read(&function, FUNCTION_CONFIG, 0, sizeof(before), before), 0);
	function_put(&function, FUNCTION_CONFIG, FUNCTION_COMMAND, 2, 0x6);
	function_put(&function, FUNCTION_CONFIG, 0x10, 4, 0x12345678);
	function_put(&function, FUNCTION_CONFIG, FUNCTION_MSIX + 2, 2, 0xc000);
	function_put(&function, 0, FUNCTION_TABLE, 4, 0xfee00000);
	assert_int_equal(rp_vfu_pci_set(function.pci, 0x3c, 1, 11), 0);
	assert_int_equal(function_reset(&function), 0);
	assert_int_equal(function.resets, 1);
	assert_int_equal(function.last_reset, RP_VFU_PCI_RESET_DEVICE);
	assert_false(function.was_master_at_reset);
	assert_int_equal(function.masters_off, 1);
	assert_int_equal(function_read(&function, FUNCTION_CONFIG, 0, sizeof(after), after), 0);
	/* The vendor's capability counts, elsewhere than here. */
	assert_memory_equal(before, after, sizeof(before));
	assert_int_equal(function_get(&function, 0, FUNCTION_TABLE, 4), 0);
	/* What the device says goes into the reply; configuration space is as new all the same. */
	function_put(&function, FUNCTION_CONFIG, 0x10, 4, 0x12345678);
	function.reset_result = -EIO;
	assert_int_equal(function_reset(&function), EIO);
	assert_int_equal(function_get(&function, FUNCTION_CONFIG, 0x10, 4), 4);
}

static void
test_a_device_that_takes_its_time(void **state)
{
	struct peer_msg *reply = malloc(sizeof(*reply));

	(void)state;
	assert_non_null(reply);
	function.quiesce_result = -EINPROGRESS;
	assert_true(peer_command(&function.peer, 9, 13, COMMAND, NULL, 0, NULL, 0));
	assert_true(peer_is_silent(&function.peer));
	assert_int_equal(function.quiesces, 1);
	assert_int_equal(function.resets, 0);
	rp_vfu_server_quiesced(rp_vfu_pci_server(function.pci), function.token);
	assert_true(peer_receive(&function.peer, reply));
	assert_int_equal(reply->flags, REPLY);
	assert_int_equal(function.resets, 1);
	/* A Function Level Reset is over when the write is answered. */
	function_put(&function, FUNCTION_CONFIG, FUNCTION_EXPRESS + 8, 2, 0x8000);
	assert_int_equal(function.quiesces, 1);
	assert_int_equal(function.resets, 2);
	free(reply);
}

static void
test_a_device_that_moves(void **state)
{
	static const uint8_t out[] = {U32(0x1000 + 8), U32(0x1000)}, in[] = {U32(12), U32(4), 1, 2, 3, 4};
	struct peer_msg *reply = malloc(sizeof(*reply));

	(void)state;
	assert_non_null(reply);
	function_put(&function, 0, 0, 4, 0x44332211);
	assert_int_equal(mover_go(&function.peer, RP_VFU_MIG_STOP_COPY), 0);
	assert_int_equal(function.arcs, 2);
	assert_int_equal(device_ask(&function.peer, 17, out, sizeof(out), NULL, 0, reply), 0);
	assert_memory_equal(reply->payload + 8, ((uint8_t[]){0x11, 0x22, 0x33, 0x44}), 4);
	assert_int_equal(mover_go(&function.peer, RP_VFU_MIG_RESUMING), 0);
	assert_int_equal(device_ask(&function.peer, 18, in, sizeof(in), NULL, 0, reply), 0);
	assert_memory_equal(function.moved_in, in + 8, 4);
	assert_int_equal(mover_go(&function.peer, RP_VFU_MIG_RUNNING), 0);
	free(reply);
}

static void
test_a_device_without_reset(void **state)
{
	(void)state;
	function_begin(&function, true, false);
	function_describe(&function);
	function_serve(&function);
	assert_true(function_reset(&function) != 0);
	/* Nor does the capability say that there is one, or take the bit. */
	assert_int_equal(function_get(&function, FUNCTION_CONFIG, FUNCTION_EXPRESS + 4, 4) & 0x10000000, 0);
	function_put(&function, FUNCTION_CONFIG, FUNCTION_COMMAND, 2, 0x4);
	function_put(&function, FUNCTION_CONFIG, FUNCTION_EXPRESS + 8, 2, 0x8000);
	assert_true(rp_vfu_pci_is_bus_master(function.pci));
	function_close(&function);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_life_leaks_nothing),
		cmocka_unit_test(test_what_cannot_be_created),
		cmocka_unit_test(test_the_first_failure_is_what_listen_says),
		cmocka_unit_test(test_listening_can_be_tried_again),
		cmocka_unit_test_setup_teardown(test_a_description_ends, setup, teardown),
		cmocka_unit_test_setup_teardown(test_clients_come_and_go, setup, teardown),
		cmocka_unit_test_setup_teardown(test_bus_mastering_on_and_off, setup, teardown),
		cmocka_unit_test_setup_teardown(test_reset_by_message, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_device_that_takes_its_time, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_device_that_moves, setup, teardown),
		cmocka_unit_test(test_a_device_without_reset),
	};

	return cmocka_run_group_tests_name("PCI function", tests, NULL, NULL);
}
