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

#define MULTI_MAX 1024

struct write1 {
	uint64_t offset_bytes;
	uint32_t region;
	uint32_t count_bytes;
};

static uint32_t
write_multi(uint64_t wr_cnt, const struct write1 *writes, unsigned int count, unsigned int cut_bytes)
{
	static uint8_t payload[8 + 24 * (MULTI_MAX + 1)];
	const uint8_t head[] = {U64(wr_cnt)};
	unsigned int i;

	memcpy(payload, head, sizeof(head));
	for (i = 0; i < count; i++) {
		const uint8_t one[] = {U64(writes[i].offset_bytes),
				       U32(writes[i].region),
				       U32(writes[i].count_bytes),
				       0x10,
				       0x20,
				       0x30,
				       0x40,
				       0x50,
				       0x60,
				       0x70,
				       0x80};

		memcpy(payload + 8 + 24 * (size_t)i, one, sizeof(one));
	}
	return device_ask(&peer, 15, payload, 8 + 24 * (size_t)count - cut_bytes, NULL, 0, &reply);
}

static void
negotiate_multi(void)
{
	device_hang_up(&device, &peer);
	device_connect(&device, &peer);
	device_negotiate_as(&peer, "\"write_multiple\":true");
}

static void
test_write_multi_vector(void **state)
{
	static const uint8_t command[] = {HEADER(8, 15, 96, COMMAND, 0), U64(3),
					  /* Data bytes as they are, the rest of the eight ignored. */
					  U64(0x10), U32(7), U32(2), 1, 2, 9, 9, 9, 9, 9, 9, U64(0x40), U32(0), U32(8),
					  1, 2, 3, 4, 5, 6, 7, 8,
					  /* Into memory, and over the one before. */
					  U64(0x44), U32(0), U32(1), 0xaa, 0, 0, 0, 0, 0, 0, 0};
	static const uint8_t answer[] = {HEADER(8, 15, 24, REPLY, 0), U64(3)};
	static const uint8_t posted[] = {
		HEADER(9, 15, 48, NO_REPLY, 0), U64(1), U64(0), U32(7), U32(1), 0x77, 0, 0, 0, 0, 0, 0, 0};

	(void)state;
	negotiate_multi();
	assert_true(peer_send(&peer, command, sizeof(command), NULL, 0));
	assert_true(peer_receive(&peer, &reply));
	assert_int_equal(reply.size_bytes, sizeof(answer));
	assert_memory_equal(reply.bytes, answer, sizeof(answer));
	assert_memory_equal(device.config + 0x10, "\x01\x02\x00", 3);
	assert_memory_equal(device.registers + 0x40, "\x01\x02\x03\x04\xaa\x06\x07\x08", 8);
	assert_true(peer_send(&peer, posted, sizeof(posted), NULL, 0));
	assert_true(peer_is_silent(&peer));
	assert_int_equal(device.config[0], 0x77);
}

static void
test_write_multi_reaches_memory_too(void **state)
{
	static const struct write1 inside = {.offset_bytes = 0x1ff8, .region = 2, .count_bytes = 8};
	static const struct write1 outside = {.offset_bytes = 0x1ffc, .region = 2, .count_bytes = 8};
	static const struct write1 read_only = {.offset_bytes = 0, .region = 4, .count_bytes = 1};
	uint8_t stored[8];

	(void)state;
	negotiate_multi();
	assert_int_equal(write_multi(1, &inside, 1, 0), 0);
	assert_int_equal(pread(device.sparse_fd, stored, 8, 0x1ff8), 8);
	assert_memory_equal(stored, "\x10\x20\x30\x40\x50\x60\x70\x80", 8);
	assert_int_equal(write_multi(1, &outside, 1, 0), EACCES);
	assert_int_equal(write_multi(1, &read_only, 1, 0), EACCES);
}

static void
test_write_multi_refuses_before_it_begins(void **state)
{
	static const struct {
		struct write1 write;
		uint32_t error;
	} wrong[] = {
		{{0, 0, 0}, EINVAL},
		{{0, 0, 9}, EINVAL},
		{{0, 0, UINT32_MAX}, EINVAL},
		{{0x1000, 0, 1}, EINVAL},
		{{0xff9, 0, 8}, EINVAL},
		{{UINT64_MAX, 0, 1}, EINVAL},
		{{UINT64_MAX - 3, 0, 8}, EINVAL},
		{{0, 9, 1}, EINVAL},
		{{0, UINT32_MAX, 1}, EINVAL},
		{{0, 1, 1}, EINVAL},
		{{0, 4, 1}, EACCES},
	};
	struct write1 writes[3] = {{0x20, 0, 4}, {0, 0, 0}, {0x30, 0, 4}};
	unsigned int i;

	(void)state;
	assert_int_equal(write_multi(1, writes, 1, 0), EOPNOTSUPP);
	assert_string_equal(device.last_refusal.text, "REGION_WRITE_MULTI: its capability was not negotiated");
	negotiate_multi();
	for (i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		writes[1] = wrong[i].write;
		assert_int_equal(write_multi(3, writes, 3, 0), wrong[i].error);
		assert_non_null(strstr(device.last_refusal.text, "REGION_WRITE_MULTI: write 1: "));
	}
	writes[1] = writes[0];
	assert_int_equal(write_multi(0, writes, 0, 0), EINVAL);
	assert_int_equal(write_multi(0, writes, 1, 0), EINVAL);
	assert_int_equal(write_multi(2, writes, 3, 0), EINVAL);
	assert_int_equal(write_multi(4, writes, 3, 0), EINVAL);
	assert_int_equal(write_multi(3, writes, 3, 1), EINVAL);
	/* A product that wraps to what is there. */
	assert_int_equal(write_multi(UINT64_MAX, writes, 3, 0), EINVAL);
	assert_int_equal(write_multi((UINT64_C(1) << 61) + 3, writes, 3, 0), EINVAL);
	assert_int_equal(write_multi(1, writes, 1, 24 + 1), EMSGSIZE);
	assert_int_equal(device.registers[0x20], 0);
	assert_int_equal(device.registers[0x30], 0);
}

/* Posted writes that a client made into one message are as independent as they were before. */
static void
test_posted_writes_stand_each_for_itself(void **state)
{
	static const uint8_t payload[] = {U64(4), U64(0x20), U32(0),	  U32(1), 0x11,	     0,	     0,	     0,	   0, 0,
					  0,	  0,	     U64(0x1000), U32(0), U32(1),    0x22,   0,	     0,	   0, 0,
					  0,	  0,	     0,		  U64(0), U32(4),    U32(1), 0x33,   0,	   0, 0,
					  0,	  0,	     0,		  0,	  U64(0x30), U32(0), U32(1), 0x44, 0, 0,
					  0,	  0,	     0,		  0,	  0};
	unsigned int refusals;

	(void)state;
	negotiate_multi();
	refusals = device.refusals;
	assert_true(peer_command(&peer, 5, 15, NO_REPLY, payload, sizeof(payload), NULL, 0));
	assert_true(peer_is_silent(&peer));
	assert_int_equal(device.registers[0x20], 0x11);
	assert_int_equal(device.registers[0x30], 0x44);
	assert_int_equal(device.refusals, refusals + 1);
	assert_non_null(strstr(device.last_refusal.text, "REGION_WRITE_MULTI: write 1: offset: "));
	device.fail_with = -EIO;
	assert_true(peer_command(&peer, 6, 15, NO_REPLY, payload, sizeof(payload), NULL, 0));
	assert_true(peer_is_silent(&peer));
	assert_int_equal(device.refusals, refusals + 2);
	assert_non_null(strstr(device.last_refusal.text, "REGION_WRITE_MULTI: write 0: region 0"));
}

static unsigned int writes_until_failure;

static int
write_until_failure(void *ctx, uint32_t region, uint64_t offset_bytes, uint32_t count_bytes, const uint8_t *bytes)
{
	(void)ctx;
	(void)region;
	(void)offset_bytes;
	(void)count_bytes;
	(void)bytes;
	return writes_until_failure-- == 0 ? -EIO : 0;
}

static void
test_write_multi_counts_what_was_done(void **state)
{
	static struct write1 writes[MULTI_MAX + 1];
	struct device_description description;
	unsigned int i;
	uint64_t done;

	(void)state;
	device_describe(&device, &description);
	description.regions[0].write = write_until_failure;
	device_restart_as(&device, &description, &peer, "\"write_multiple\":true");
	for (i = 0; i < MULTI_MAX + 1; i++)
		writes[i] = (struct write1){.offset_bytes = 0, .region = 0, .count_bytes = 4};
	for (i = 0; i < 3; i++) {
		writes_until_failure = i;
		assert_int_equal(write_multi(3, writes, 3, 0), i == 0 ? EIO : 0);
		memcpy(&done, reply.payload, sizeof(done));
		assert_true(i == 0 || done == i);
	}
	writes_until_failure = MULTI_MAX;
	assert_int_equal(write_multi(MULTI_MAX, writes, MULTI_MAX, 0), 0);
	memcpy(&done, reply.payload, sizeof(done));
	assert_int_equal(done, MULTI_MAX);
	assert_int_equal(write_multi(MULTI_MAX + 1, writes, MULTI_MAX + 1, 0), EMSGSIZE);
}

struct access1 {
	uint64_t offset_bytes;
	uint32_t region;
	uint16_t count_bytes, flags;
};

#define READ1(offset, region, count)                                                                                   \
	{                                                                                                              \
		offset, region, count, 0                                                                               \
	}
#define WRITE1(offset, region, count)                                                                                  \
	{                                                                                                              \
		offset, region, count, 1                                                                               \
	}

static uint32_t
access_multi(uint64_t announced, const struct access1 *accesses, unsigned int count, unsigned int cut_bytes)
{
	static uint8_t payload[8 + 24 * (MULTI_MAX + 1)];
	const uint8_t head[] = {U64(announced)};
	unsigned int i;

	memcpy(payload, head, sizeof(head));
	for (i = 0; i < count; i++) {
		const uint8_t one[] = {U64(accesses[i].offset_bytes),
				       U32(accesses[i].region),
				       U16(accesses[i].count_bytes),
				       U16(accesses[i].flags),
				       0x10,
				       0x20,
				       0x30,
				       0x40,
				       0x50,
				       0x60,
				       0x70,
				       0x80};

		memcpy(payload + 8 + 24 * (size_t)i, one, sizeof(one));
	}
	return device_ask(&peer, 0x5209, payload, 8 + 24 * (size_t)count - cut_bytes, NULL, 0, &reply);
}

static void
negotiate_accesses(struct device_description *description)
{
	device_describe(&device, description);
	description->config.prompt_reads = true;
	device_restart_as(&device, description, &peer, "\"ringpass.access_multiple\":true");
}

static void
test_access_multi_vector(void **state)
{
	static const uint8_t command[] = {
		HEADER(8, 0x5209, 120, COMMAND, 0), U64(4),
		/* Data bytes as they are, the rest of the eight ignored; none of a read's count. */
		U64(0x10), U32(7), U16(2), U16(1), 1, 2, 9, 9, 9, 9, 9, 9, U64(0x0f), U32(7), U16(4), U16(0), 5, 5, 5,
		5, 5, 5, 5, 5, U64(0x40), U32(0), U16(8), U16(1), 1, 2, 3, 4, 5, 6, 7, 8, U64(0x41), U32(0), U16(8),
		U16(0), U64(0)};
	static const uint8_t answer[] = {HEADER(8, 0x5209, 56, REPLY, 0),
					 U64(4),
					 U64(0),
					 0,
					 1,
					 2,
					 0,
					 0,
					 0,
					 0,
					 0,
					 U64(0),
					 2,
					 3,
					 4,
					 5,
					 6,
					 7,
					 8,
					 0};
	struct device_description description;

	(void)state;
	negotiate_accesses(&description);
	assert_true(peer_send(&peer, command, sizeof(command), NULL, 0));
	assert_true(peer_receive(&peer, &reply));
	assert_int_equal(reply.size_bytes, sizeof(answer));
	assert_memory_equal(reply.bytes, answer, sizeof(answer));
	assert_memory_equal(device.config + 0x10, "\x01\x02\x00", 3);
	assert_memory_equal(device.registers + 0x40, "\x01\x02\x03\x04\x05\x06\x07\x08", 8);
}

static void
test_access_multi_refuses_before_it_begins(void **state)
{
	static const struct {
		struct access1 access;
		uint32_t error;
	} wrong[] = {
		{WRITE1(0, 0, 0), EINVAL},
		{READ1(0, 0, 0), EINVAL},
		{WRITE1(0, 0, 9), EINVAL},
		{READ1(0, 0, UINT16_MAX), EINVAL},
		{{0, 0, 4, 2}, EINVAL},
		{{0, 0, 4, 0x8001}, EINVAL},
		{WRITE1(0x1000, 0, 1), EINVAL},
		{READ1(0xff9, 0, 8), EINVAL},
		{READ1(UINT64_MAX, 0, 1), EINVAL},
		{READ1(UINT64_MAX - 3, 0, 8), EINVAL},
		{READ1(0, 9, 1), EINVAL},
		{READ1(0, UINT32_MAX, 1), EINVAL},
		{READ1(0x1ffc, 2, 8), EACCES},
		{WRITE1(0, 4, 1), EACCES},
	};
	struct access1 accesses[3] = {WRITE1(0x20, 0, 4), {.count_bytes = 0}, WRITE1(0x30, 0, 4)};
	struct device_description description;
	unsigned int i;

	(void)state;
	assert_int_equal(access_multi(1, accesses, 1, 0), EOPNOTSUPP);
	assert_string_equal(device.last_refusal.text, "REGION_ACCESS_MULTI: its capability was not negotiated");
	negotiate_accesses(&description);
	for (i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		accesses[1] = wrong[i].access;
		assert_int_equal(access_multi(3, accesses, 3, 0), wrong[i].error);
		assert_non_null(strstr(device.last_refusal.text, "REGION_ACCESS_MULTI: access 1: "));
	}
	accesses[1] = accesses[0];
	assert_int_equal(access_multi(0, accesses, 0, 0), EINVAL);
	assert_int_equal(access_multi(2, accesses, 3, 0), EINVAL);
	assert_int_equal(access_multi(4, accesses, 3, 0), EINVAL);
	assert_int_equal(access_multi(3, accesses, 3, 1), EINVAL);
	/* A product that wraps to what is there. */
	assert_int_equal(access_multi((UINT64_C(1) << 61) + 3, accesses, 3, 0), EINVAL);
	assert_int_equal(access_multi(1, accesses, 1, 24 + 1), EMSGSIZE);
	assert_int_equal(device.registers[0x20], 0);
	assert_int_equal(device.registers[0x30], 0);
}

static void
test_access_multi_counts_what_was_done(void **state)
{
	static struct access1 many[MULTI_MAX + 1];
	static const struct access1 four[] = {WRITE1(0, 0, 4), READ1(0, 7, 4), WRITE1(4, 0, 4), READ1(0, 7, 4)};
	static const uint64_t done_until[] = {0, 2, 4};
	struct device_description description;
	unsigned int i;
	uint64_t words[5];

	(void)state;
	negotiate_accesses(&description);
	description.regions[0].write = write_until_failure;
	device_restart_as(&device, &description, &peer, "\"ringpass.access_multiple\":true");
	memset(device.config, 0x5a, 4);
	for (i = 0; i < 3; i++) {
		writes_until_failure = i;
		assert_int_equal(access_multi(4, four, 4, 0), i == 0 ? EIO : 0);
		if (i == 0)
			continue;
		assert_int_equal(reply.payload_bytes, sizeof(words));
		memcpy(words, reply.payload, sizeof(words));
		assert_int_equal(words[0], done_until[i]);
		assert_true(words[2] == 0x5a5a5a5a || words[2] == UINT64_C(0x5a5a5a5a) << 32);
		/* Behind the one that failed nothing is done. */
		assert_int_equal(words[4] != 0, i == 2);
	}
	for (i = 0; i < MULTI_MAX + 1; i++)
		many[i] = (struct access1)READ1(0, 7, 1);
	assert_int_equal(access_multi(MULTI_MAX, many, MULTI_MAX, 0), 0);
	memcpy(words, reply.payload, sizeof(words));
	assert_int_equal(words[0], MULTI_MAX);
	assert_int_equal(access_multi(MULTI_MAX + 1, many, MULTI_MAX + 1, 0), EMSGSIZE);
}

/* Nothing of a message can be answered later, so devices that may are not asked so. */
static void
test_access_multi_of_prompt_devices(void **state)
{
	static const struct {
		bool prompt_reads, late_writes;
		uint32_t error;
	} devices[] = {{true, false, 0}, {false, false, EOPNOTSUPP}, {true, true, EOPNOTSUPP}};
	static const struct access1 one = READ1(0, 0, 1);
	struct device_description description;
	unsigned int i;

	(void)state;
	for (i = 0; i < 3; i++) {
		device_describe(&device, &description);
		description.config.prompt_reads = devices[i].prompt_reads;
		description.config.late_writes = devices[i].late_writes;
		device_restart_as(&device, &description, &peer, "\"ringpass.access_multiple\":true");
		assert_int_equal(access_multi(1, &one, 1, 0), devices[i].error);
	}
	/* One that does all the same failed. */
	negotiate_accesses(&description);
	device.fail_with = -EINPROGRESS;
	assert_int_equal(access_multi(1, &one, 1, 0), EIO);
	device.fail_with = 0;
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
		cmocka_unit_test_setup_teardown(test_write_multi_vector, setup, teardown),
		cmocka_unit_test_setup_teardown(test_write_multi_reaches_memory_too, setup, teardown),
		cmocka_unit_test_setup_teardown(test_write_multi_refuses_before_it_begins, setup, teardown),
		cmocka_unit_test_setup_teardown(test_posted_writes_stand_each_for_itself, setup, teardown),
		cmocka_unit_test_setup_teardown(test_write_multi_counts_what_was_done, setup, teardown),
		cmocka_unit_test_setup_teardown(test_access_multi_vector, setup, teardown),
		cmocka_unit_test_setup_teardown(test_access_multi_refuses_before_it_begins, setup, teardown),
		cmocka_unit_test_setup_teardown(test_access_multi_counts_what_was_done, setup, teardown),
		cmocka_unit_test_setup_teardown(test_access_multi_of_prompt_devices, setup, teardown),
	};

	return cmocka_run_group_tests_name("vfio-user server: regions", tests, NULL, NULL);
}
