/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdlib.h>

#include "virtio_fixture.h"

#define fixture virtio_fixture

static void
test_the_device_configuration(void **state)
{
	uint8_t bytes[16];

	(void)state;
	assert_int_equal(function_read(&fixture.function, VIRTIO_REGISTERS, VIRTIO_CONFIG_AT, 16, bytes), 0);
	assert_memory_equal(bytes, ((uint8_t[16]){2, 0, 0, 0, 0, 0x52, 1, 0, 1, 0}), 16);
	/* Writing is the device's affair; what lies behind it is nobody's. */
	function_put(&fixture.function, VIRTIO_REGISTERS, VIRTIO_CONFIG_AT + 8, 4, 0x04030201);
	assert_int_equal(fixture.config_writes, 1);
	assert_int_equal(fixture.config_at, 8);
	assert_int_equal(fixture.config_count, 2);
	assert_memory_equal(fixture.config_written, "\1\2", 2);
	assert_int_equal(virtio_get(VIRTIO_CONFIG_AT + 8, 4), 1);
	virtio_put(VIRTIO_CONFIG_AT + 10, 4, 1);
	virtio_put(VIRTIO_CONFIG_AT - 4, 4, 1);
	assert_int_equal(fixture.config_writes, 1);
}

static void
test_reading_the_interrupt_status(void **state)
{
	(void)state;
	virtio_put(VIRTIO_ISR_AT, 4, UINT32_MAX);
	assert_int_equal(virtio_get(VIRTIO_ISR_AT, 4), 0);
	assert_int_equal(virtio_get(VIRTIO_ISR_AT + 1, 2), 0);
}

/* An access over several blocks goes to each its part; what is between them reads as 0. */
static void
test_an_access_over_several_blocks(void **state)
{
	static uint8_t bytes[0x1008];

	(void)state;
	memset(bytes, 0xee, sizeof(bytes));
	assert_int_equal(function_read(&fixture.function, VIRTIO_REGISTERS, 0x38, 0x100, bytes), 0);
	assert_int_equal(bytes[8], 0);
	assert_int_equal(bytes[0xff], 0);
	memset(bytes, 0xee, sizeof(bytes));
	assert_int_equal(function_read(&fixture.function, VIRTIO_REGISTERS, VIRTIO_CONFIG_AT - 0x800, 0x1000, bytes),
			 0);
	assert_int_equal(bytes[0], 0);
	assert_int_equal(bytes[0x7ff], 0);
	assert_memory_equal(bytes + 0x800, ((uint8_t[]){2, 0, 0, 0, 0, 0x52, 1, 0, 1, 0, 0, 0}), 12);
	memset(bytes, 0, sizeof(bytes));
	bytes[8] = 0x77;
	assert_int_equal(function_write(&fixture.function, VIRTIO_REGISTERS, VIRTIO_CONFIG_AT - 8, 12, bytes), 0);
	assert_int_equal(fixture.config_at, 0);
	assert_int_equal(fixture.config_count, 4);
	assert_int_equal(fixture.config_written[0], 0x77);
}

/* Every place at every width: numbers come of it, and the device is what it was. */
static void
test_any_width_anywhere(void **state)
{
	static const uint32_t widths[] = {1, 2, 3, 4, 7, 8, 16, 64, 200};
	uint8_t bytes[200];
	unsigned int i, seed = 7;
	uint32_t at;

	(void)state;
	for (i = 0; i < sizeof(widths) / sizeof(widths[0]); i++) {
		for (at = 0; at + widths[i] <= 0x10000; at += 1 + (uint32_t)rand_r(&seed) % 700) {
			memset(bytes, rand_r(&seed) % 3, sizeof(bytes));
			assert_int_equal(function_write(&fixture.function, VIRTIO_REGISTERS, at, widths[i], bytes), 0);
			assert_int_equal(function_read(&fixture.function, VIRTIO_REGISTERS, at, widths[i], bytes), 0);
		}
	}
	virtio_put(VIRTIO_PCI_COMMON_STATUS, 1, 0);
	virtio_ready(VIRTIO_FEATURES);
	virtio_enable(2);
	assert_true(rp_vfu_virtio_queue_wanted(fixture.virtio, 2));
	assert_int_equal(virtio_get(VIRTIO_CONFIG_AT + 4, 4), 0x00015200);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, virtio_setup, virtio_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_the_device_configuration),
		CASE(test_reading_the_interrupt_status),
		CASE(test_an_access_over_several_blocks),
		CASE(test_any_width_anywhere),
	};

	return cmocka_run_group_tests_name("virtio register blocks", tests, NULL, NULL);
}
