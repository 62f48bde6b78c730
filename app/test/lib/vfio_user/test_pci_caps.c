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

static const uint8_t zeroes[4096];

static void
test_the_list_is_in_the_order_of_calls(void **state)
{
	static const uint8_t ids[] = {0x01, 0x05, 0x11, 0x09, 0x10};
	uint32_t at = function_get(&function, FUNCTION_CONFIG, 0x34, 1), i;

	(void)state;
	assert_int_equal(function_get(&function, FUNCTION_CONFIG, FUNCTION_STATUS, 2) & 0x10, 0x10);
	for (i = 0; i < sizeof(ids); i++) {
		assert_int_equal(function_get(&function, FUNCTION_CONFIG, at, 1), ids[i]);
		at = function_get(&function, FUNCTION_CONFIG, at + 1, 1);
	}
	assert_int_equal(at, 0);
}

static void
test_the_extended_list(void **state)
{
	uint8_t bytes[0x14];

	(void)state;
	assert_int_equal(function_read(&function, FUNCTION_CONFIG, 0x100, sizeof(bytes), bytes), 0);
	/* PCIe 3.0, 7.9.3: id, version and the next one's place in one little-endian number. */
	assert_memory_equal(bytes, ((uint8_t[]){0x03, 0x00, 0xc1, 0x10, 1,    2,    3, 4, 5, 6,
						7,    8,    0x0b, 0x00, 0x02, 0x00, 9, 9, 9, 9}),
			    sizeof(bytes));
	function_put(&function, FUNCTION_CONFIG, 0x10c, 4, UINT32_MAX);
	function_put(&function, FUNCTION_CONFIG, 0x110, 4, 0);
	assert_int_equal(function_get(&function, FUNCTION_CONFIG, 0x10c, 4), 0x0002000b);
	assert_int_equal(function_get(&function, FUNCTION_CONFIG, 0x110, 4), 0);
}

static void
test_handlers_see_what_is_inside(void **state)
{
	const uint32_t at = FUNCTION_VENDOR;
	uint8_t bytes[64];

	(void)state;
	/* Its length and the bytes behind it; the header is the library's. */
	assert_int_equal(function_get(&function, FUNCTION_CONFIG, at, 4), 0x010b7809);
	assert_int_equal(function.vendor_reads, 1);
	assert_int_equal(function.vendor_at, 0);
	assert_int_equal(function_get(&function, FUNCTION_CONFIG, at + 8, 3), 0x020706);
	assert_int_equal(function.vendor_at, 8);
	assert_int_equal(function.vendor_count, 3);
	/* Masked, as elsewhere; what was stored is there when the handler runs. */
	function_put(&function, FUNCTION_CONFIG, at + 4, 2, 0xffff);
	assert_int_equal(function.vendor_writes, 1);
	assert_int_equal(function.vendor_at, 4);
	assert_int_equal(function_get(&function, FUNCTION_CONFIG, at + 4, 2), 0x0fff);
	/* An access that reaches beyond it is none of its handlers'. */
	function.vendor_reads = 0;
	assert_int_equal(function_read(&function, FUNCTION_CONFIG, at + 8, 4, bytes), 0);
	assert_int_equal(function_read(&function, FUNCTION_CONFIG, at - 1, 4, bytes), 0);
	assert_int_equal(function_write(&function, FUNCTION_CONFIG, at - 1, 13, bytes), 0);
	assert_int_equal(function.vendor_reads, 0);
	assert_int_equal(function.vendor_writes, 1);
	function.fail_with = -EPERM;
	assert_int_equal(function_read(&function, FUNCTION_CONFIG, at, 1, bytes), EPERM);
	assert_int_equal(function_write(&function, FUNCTION_CONFIG, at, 1, bytes), EPERM);
}

static void
refused(const struct rp_vfu_pci_cap *cap, int error, const char *words)
{
	struct rp_wire_why why = {.text = ""};
	uint32_t at = 1;

	assert_int_equal(rp_vfu_pci_add(function.pci, cap, &at, &why), error);
	assert_int_equal(at, 1);
	if (strstr(why.text, words) == NULL)
		fail_msg("'%s' without '%s'", why.text, words);
}

static void
test_what_cannot_be_added(void **state)
{
	const struct rp_vfu_pci_cap cap = {.id = 9, .size_bytes = 8, .bytes = zeroes};
	struct rp_vfu_pci_cap other = cap;

	(void)state;
	function_begin(&function, true, true);
	refused(&(struct rp_vfu_pci_cap){.size_bytes = 8, .bytes = zeroes}, -EINVAL, "id: 0x0");
	refused(&(struct rp_vfu_pci_cap){.id = 0x109, .size_bytes = 8, .bytes = zeroes}, -EINVAL, "1 to 0xff");
	refused(&(struct rp_vfu_pci_cap){.id = 9, .size_bytes = 1, .bytes = zeroes}, -EINVAL, "at least 2");
	refused(&(struct rp_vfu_pci_cap){.id = 9, .size_bytes = 8}, -EINVAL, "bytes");
	refused(&(struct rp_vfu_pci_cap){.id = 9, .version = 1, .size_bytes = 8, .bytes = zeroes}, -EINVAL, "version");
	other.offset_bytes = 0x3c;
	refused(&other, -EINVAL, "offset_bytes: 0x3c");
	other.offset_bytes = 0x42;
	refused(&other, -EINVAL, "multiple of 4");
	other.offset_bytes = 0xfc;
	refused(&other, -ENOSPC, "to 0x100");
	other.offset_bytes = 0x200;
	refused(&other, -EINVAL, "offset_bytes: 0x200");
	other.offset_bytes = 0;
	other.size_bytes = 193;
	refused(&other, -ENOSPC, "193 bytes at 0x40");
	assert_int_equal(rp_vfu_pci_add(function.pci, &cap, NULL, NULL), 0);
	other = cap;
	other.offset_bytes = 0x44;
	refused(&other, -EEXIST, "0x44 is taken");
	other.offset_bytes = 0xf8;
	assert_int_equal(rp_vfu_pci_add(function.pci, &other, NULL, NULL), 0);
	/* What is before the last one is found by those who name it. */
	refused(&cap, -ENOSPC, "8 bytes at 0x100");
	other.offset_bytes = 0x80;
	assert_int_equal(rp_vfu_pci_add(function.pci, &other, NULL, NULL), 0);
	other = (struct rp_vfu_pci_cap){
		.id = 3, .extended = true, .offset_bytes = 0x104, .size_bytes = 8, .bytes = zeroes};
	refused(&other, -EINVAL, "expected 0x100");
	other.offset_bytes = 0;
	other.size_bytes = 3;
	refused(&other, -EINVAL, "at least 4");
	other.size_bytes = 8;
	other.version = 16;
	refused(&other, -EINVAL, "at most 15");
	function_close(&function);
	function_begin(&function, false, true);
	other.version = 1;
	refused(&other, -ENOTSUP, "256 bytes");
	function_close(&function);
}

static void
test_a_list_in_the_order_of_its_author(void **state)
{
	struct rp_vfu_pci_cap cap = {.id = 9, .offset_bytes = 0x80, .size_bytes = 4, .bytes = zeroes};
	uint32_t at;

	(void)state;
	function_begin(&function, false, true);
	assert_int_equal(rp_vfu_pci_add(function.pci, &cap, &at, NULL), 0);
	cap.offset_bytes = 0x50;
	assert_int_equal(rp_vfu_pci_add(function.pci, &cap, &at, NULL), 0);
	cap.offset_bytes = 0;
	assert_int_equal(rp_vfu_pci_add(function.pci, &cap, &at, NULL), 0);
	assert_int_equal(at, 0x84);
	function_serve(&function);
	assert_int_equal(function_get(&function, FUNCTION_CONFIG, 0x34, 1), 0x80);
	assert_int_equal(function_get(&function, FUNCTION_CONFIG, 0x80, 2), 0x5009);
	assert_int_equal(function_get(&function, FUNCTION_CONFIG, 0x50, 2), 0x8409);
	assert_int_equal(function_get(&function, FUNCTION_CONFIG, 0x84, 2), 0x0009);
	function_close(&function);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_the_list_is_in_the_order_of_calls, setup, teardown),
		cmocka_unit_test_setup_teardown(test_the_extended_list, setup, teardown),
		cmocka_unit_test_setup_teardown(test_handlers_see_what_is_inside, setup, teardown),
		cmocka_unit_test(test_what_cannot_be_added),
		cmocka_unit_test(test_a_list_in_the_order_of_its_author),
	};

	return cmocka_run_group_tests_name("PCI capabilities", tests, NULL, NULL);
}
