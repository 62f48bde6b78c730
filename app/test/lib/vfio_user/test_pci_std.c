/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>

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
test_an_endpoint_in_bytes(void **state)
{
	static const uint8_t expected[60] = {
		0x10, 0x00, 0x02, 0x00, 0x00, 0x80,	     0x00,	    0x10,
		0x10, 0x28, 0x00, 0x00, 0x11, [0x12] = 0x11, [0x2c] = 0x02, [0x30] = 0x01,
	};
	uint8_t bytes[60];

	(void)state;
	assert_int_equal(function_read(&function, FUNCTION_CONFIG, FUNCTION_EXPRESS, sizeof(bytes), bytes), 0);
	assert_memory_equal(bytes, expected, sizeof(bytes));
}

static void
test_controls_of_the_endpoint(void **state)
{
	(void)state;
	function_put(&function, FUNCTION_CONFIG, FUNCTION_EXPRESS + 8, 4, 0xffff7fff);
	assert_int_equal(function_get(&function, FUNCTION_CONFIG, FUNCTION_EXPRESS + 8, 4), 0x000078ff);
	function_put(&function, FUNCTION_CONFIG, FUNCTION_EXPRESS + 0x10, 4, UINT32_MAX);
	assert_int_equal(function_get(&function, FUNCTION_CONFIG, FUNCTION_EXPRESS + 0x10, 4), 0x001100cb);
	assert_int_equal(function.resets, 0);
}

static void
test_power_states(void **state)
{
	const uint32_t at = FUNCTION_POWER + 4;

	(void)state;
	assert_int_equal(function_get(&function, FUNCTION_CONFIG, FUNCTION_POWER, 4), 0x00034801);
	assert_int_equal(function_get(&function, FUNCTION_CONFIG, at, 2), 0x0008);
	function_put(&function, FUNCTION_CONFIG, FUNCTION_COMMAND, 2, 0x4);
	/* D1 and D2 are not there. */
	function_put(&function, FUNCTION_CONFIG, at, 2, 1);
	assert_int_equal(function_get(&function, FUNCTION_CONFIG, at, 2), 0x0008);
	assert_int_equal(function.masters_off, 0);
	/* Asleep it reaches no memory; nothing is lost. */
	function_put(&function, FUNCTION_CONFIG, at, 2, 3);
	assert_int_equal(function_get(&function, FUNCTION_CONFIG, at, 2), 0x000b);
	assert_int_equal(function.masters_off, 1);
	assert_false(rp_vfu_pci_is_bus_master(function.pci));
	function_put(&function, FUNCTION_CONFIG, at, 2, 2);
	assert_int_equal(function_get(&function, FUNCTION_CONFIG, at, 2), 0x000b);
	assert_int_equal(function.masters_on, 1);
	function_put(&function, FUNCTION_CONFIG, at, 1, 0);
	assert_int_equal(function.masters_on, 2);
	assert_int_equal(function_get(&function, FUNCTION_CONFIG, FUNCTION_COMMAND, 2), 0x4);
	assert_int_equal(function.resets, 0);
}

static void
test_a_reset_wakes(void **state)
{
	(void)state;
	function_put(&function, FUNCTION_CONFIG, FUNCTION_COMMAND, 2, 0x4);
	function_put(&function, FUNCTION_CONFIG, FUNCTION_POWER + 4, 1, 3);
	assert_int_equal(function_reset(&function), 0);
	assert_int_equal(function.masters_off, 1);
	assert_int_equal(function_get(&function, FUNCTION_CONFIG, FUNCTION_POWER + 4, 2), 0x0008);
	function_put(&function, FUNCTION_CONFIG, FUNCTION_COMMAND, 2, 0x4);
	assert_int_equal(function.masters_on, 2);
}

static void
test_there_is_one_of_each(void **state)
{
	const struct rp_vfu_pci_msix msix = {1, 0, 0x8000, 0, 0x9000};
	struct rp_wire_why why;

	(void)state;
	function_begin(&function, true, true);
	function_describe(&function);
	assert_int_equal(rp_vfu_pci_add_express(function.pci, &why), -EEXIST);
	assert_non_null(strstr(why.text, "at 0x78"));
	assert_int_equal(rp_vfu_pci_add_power(function.pci, &why), -EEXIST);
	assert_int_equal(rp_vfu_pci_add_msi(function.pci, 1, &why), -EEXIST);
	assert_int_equal(rp_vfu_pci_add_msix(function.pci, &msix, &why), -EEXIST);
	function_close(&function);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_an_endpoint_in_bytes, setup, teardown),
		cmocka_unit_test_setup_teardown(test_controls_of_the_endpoint, setup, teardown),
		cmocka_unit_test_setup_teardown(test_power_states, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_reset_wakes, setup, teardown),
		cmocka_unit_test(test_there_is_one_of_each),
	};

	return cmocka_run_group_tests_name("PCI Express and power management", tests, NULL, NULL);
}
