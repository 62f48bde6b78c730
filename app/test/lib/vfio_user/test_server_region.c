/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bytes.h"
#include "device.h"

static struct device device;
static struct peer peer;
static struct peer_msg reply;
static struct test_leaks before;

static int
setup(void **state)
{
	(void)state;
	test_leaks_read(&before);
	device_start(&device);
	device_connect(&device, &peer);
	device_negotiate(&peer);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	peer_close(&peer);
	device_close(&device);
	test_leaks_assert_none(&before);
	return 0;
}

static uint32_t
read_region(uint32_t region, uint64_t offset_bytes, uint32_t count_bytes)
{
	const uint8_t payload[] = {U64(offset_bytes), U32(region), U32(count_bytes)};

	return device_ask(&peer, 9, payload, sizeof(payload), NULL, 0, &reply);
}

static uint32_t
write_region(uint32_t region, uint64_t offset_bytes, uint32_t count_bytes)
{
	static uint8_t payload[16 + 0x20000];
	const uint8_t head[] = {U64(offset_bytes), U32(region), U32(count_bytes)};

	memcpy(payload, head, sizeof(head));
	memset(payload + sizeof(head), 0x77, count_bytes);
	return device_ask(&peer, 10, payload, sizeof(head) + count_bytes, NULL, 0, &reply);
}

static void
test_read_and_write_vectors(void **state)
{
	static const uint8_t write[] = {HEADER(8, 10, 36, COMMAND, 0), U64(0x44), U32(7), U32(4), 1, 2, 3, 4};
	static const uint8_t write_reply[] = {HEADER(8, 10, 32, REPLY, 0), U64(0x44), U32(7), U32(4)};
	static const uint8_t read[] = {HEADER(9, 9, 32, COMMAND, 0), U64(0x43), U32(7), U32(6)};
	static const uint8_t read_reply[] = {HEADER(9, 9, 38, REPLY, 0), U64(0x43), U32(7), U32(6), 0, 1, 2, 3, 4, 0};

	(void)state;
	assert_true(peer_send(&peer, write, sizeof(write), NULL, 0));
	assert_true(peer_receive(&peer, &reply));
	assert_int_equal(reply.size_bytes, sizeof(write_reply));
	assert_memory_equal(reply.bytes, write_reply, sizeof(write_reply));
	/* Bytes are passed on as they are, whatever the host's order. */
	assert_memory_equal(device.config + 0x44, "\1\2\3\4", 4);
	assert_true(peer_send(&peer, read, sizeof(read), NULL, 0));
	assert_true(peer_receive(&peer, &reply));
	assert_int_equal(reply.size_bytes, sizeof(read_reply));
	assert_memory_equal(reply.bytes, read_reply, sizeof(read_reply));
}

static void
test_bounds(void **state)
{
	(void)state;
	assert_int_equal(read_region(7, 0, 256), 0);
	assert_int_equal(read_region(7, 255, 1), 0);
	assert_int_equal(read_region(7, 0, 257), EINVAL);
	assert_int_equal(read_region(7, 255, 2), EINVAL);
	assert_int_equal(read_region(7, 256, 1), EINVAL);
	assert_int_equal(read_region(7, 257, 1), EINVAL);
	assert_int_equal(read_region(7, UINT64_MAX, 1), EINVAL);
	assert_int_equal(read_region(7, UINT64_MAX - 3, 8), EINVAL);
	assert_int_equal(read_region(7, 0, 0), EINVAL);
	assert_int_equal(read_region(1, 0, 1), EINVAL);
	assert_int_equal(read_region(9, 0, 1), EINVAL);
	assert_int_equal(read_region(UINT32_MAX, 0, 1), EINVAL);
	assert_int_equal(write_region(7, 252, 4), 0);
	assert_int_equal(write_region(7, 253, 4), EINVAL);
	assert_int_equal(write_region(7, UINT64_MAX - 1, 4), EINVAL);
	assert_int_equal(write_region(7, 0, 0), EINVAL);
	assert_int_equal(write_region(1, 0, 1), EINVAL);
}

static void
test_count_must_match_the_data(void **state)
{
	static const uint8_t more[] = {U64(0), U32(0), U32(5), 1, 2, 3, 4};
	static const uint8_t less[] = {U64(0), U32(0), U32(3), 1, 2, 3, 4};

	(void)state;
	assert_int_equal(device_ask(&peer, 10, more, sizeof(more), NULL, 0, &reply), EINVAL);
	assert_string_equal(device.last_refusal.text, "REGION_WRITE: count: 5, but 4 bytes of data");
	assert_int_equal(device_ask(&peer, 10, less, sizeof(less), NULL, 0, &reply), EINVAL);
	assert_memory_equal(device.registers, "\0\0\0\0", 4);
}

static void
test_count_is_limited_as_agreed(void **state)
{
	static const uint8_t version[] = {U16(0), U16(1), '{', '"', 'c', 'a', 'p', 'a', 'b', 'i', 'l', 'i',
					  't',	  'i',	  'e', 's', '"', ':', '{', '"', 'm', 'a', 'x', '_',
					  'd',	  'a',	  't', 'a', '_', 'x', 'f', 'e', 'r', '_', 's', 'i',
					  'z',	  'e',	  '"', ':', '8', '1', '9', '2', '}', '}', 0};

	(void)state;
	assert_int_equal(read_region(2, 0x1000, 1024 * 1024 + 1), EMSGSIZE);
	device_hang_up(&device, &peer);
	device_connect(&device, &peer);
	assert_int_equal(device_ask(&peer, 1, version, sizeof(version), NULL, 0, &reply), 0);
	assert_int_equal(read_region(2, 0x4000, 8192), 0);
	assert_int_equal(read_region(2, 0x4000, 8193), EMSGSIZE);
	assert_int_equal(write_region(2, 0x4000, 8192), 0);
	assert_int_equal(write_region(2, 0x4000, 8193), EMSGSIZE);
}

static void
test_memory_is_reached_by_messages_too(void **state)
{
	uint8_t byte;

	(void)state;
	assert_int_equal(write_region(2, 0x1ffe, 2), 0);
	assert_int_equal(pread(device.sparse_fd, &byte, 1, 0x1fff), 1);
	assert_int_equal(byte, 0x77);
	assert_int_equal(read_region(2, 0x4000, 0x2000), 0);
	/* What lies between the areas has neither memory nor a handler. */
	assert_int_equal(read_region(2, 0, 4), EACCES);
	assert_int_equal(read_region(2, 0xfff, 2), EACCES);
	assert_int_equal(read_region(2, 0x1ffe, 4), EACCES);
	assert_int_equal(write_region(2, 0x3fff, 2), EACCES);
	assert_int_equal(write_region(2, 0xfffc, 4), EACCES);
	/* The base offset in the file counts; this region cannot be written. */
	assert_int_equal(pwrite(device.memory_fd, "\x5a", 1, 0x1000), 1);
	assert_int_equal(read_region(4, 0, 1), 0);
	assert_int_equal(reply.payload[16], 0x5a);
	assert_int_equal(write_region(4, 0, 1), EACCES);
}

static void
test_device_errors_go_into_the_reply(void **state)
{
	(void)state;
	device.fail_with = -ENODEV;
	assert_int_equal(read_region(0, 0, 4), ENODEV);
	assert_string_equal(device.last_refusal.text, "REGION_READ: region 0, 4 bytes at 0x0: No such device");
	device.fail_with = -100000;
	assert_int_equal(write_region(0, 0, 4), EIO);
	device.fail_with = 0;
	assert_int_equal(read_region(0, 0, 4), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_read_and_write_vectors, setup, teardown),
		cmocka_unit_test_setup_teardown(test_bounds, setup, teardown),
		cmocka_unit_test_setup_teardown(test_count_must_match_the_data, setup, teardown),
		cmocka_unit_test_setup_teardown(test_count_is_limited_as_agreed, setup, teardown),
		cmocka_unit_test_setup_teardown(test_memory_is_reached_by_messages_too, setup, teardown),
		cmocka_unit_test_setup_teardown(test_device_errors_go_into_the_reply, setup, teardown),
	};

	return cmocka_run_group_tests_name("vfio-user server: regions", tests, NULL, NULL);
}
