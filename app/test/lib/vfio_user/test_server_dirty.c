/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "bytes.h"
#include "mover.h"
#include "rp_dma_log.h"

#define START 6u
#define STOP 7u
#define REPORT 8u
#define PAGE UINT64_C(0x1000)

static struct device device;
static struct peer peer;
static struct peer_msg reply;
static struct test_leaks before;

static int
setup(void **state)
{
	(void)state;
	test_leaks_read(&before);
	mover_start(&device, &peer);
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
start(uint64_t page_bytes, uint64_t iova, uint64_t size_bytes)
{
	const uint8_t data[] = {U64(page_bytes), U32(1), U32(0), U64(iova), U64(size_bytes)};

	return mover_feature(&peer, MOVER_SET | START, data, sizeof(data), &reply);
}

static uint32_t
report(uint64_t iova, uint64_t size_bytes, uint64_t page_bytes)
{
	const uint8_t data[] = {U64(iova), U64(size_bytes), U64(page_bytes)};

	return mover_feature(&peer, MOVER_GET | REPORT, data, sizeof(data), &reply);
}

static uint32_t
report_with_room(uint32_t argsz, uint64_t iova, uint64_t size_bytes)
{
	const uint8_t payload[] = {U32(argsz), U32(MOVER_GET | REPORT), U64(iova), U64(size_bytes), U64(PAGE)};

	return device_ask(&peer, 16, payload, sizeof(payload), NULL, 0, &reply);
}

/* A word of the bitmap of the last report. */
static uint64_t
word(unsigned int index)
{
	uint64_t value;

	assert_true(reply.payload_bytes >= 32 + 8 * (index + 1));
	memcpy(&value, reply.payload + 32 + 8 * (size_t)index, sizeof(value));
	return value;
}

static void
dirty(uint64_t iova, uint64_t size_bytes)
{
	rp_dma_log_mark(rp_vfu_server_dma(device.server), iova, size_bytes);
}

static void
test_logging_vectors(void **state)
{
	static const uint8_t start_command[] = {HEADER(2, 16, 56, COMMAND, 0),
						U32(40),
						U32(0x20006),
						U64(0x1000),
						U32(1),
						U32(0),
						U64(0x100000),
						U64(0x100000)};
	static const uint8_t start_answer[] = {HEADER(2, 16, 56, REPLY, 0),
					       U32(40),
					       U32(0x20006),
					       U64(0x1000),
					       U32(1),
					       U32(0),
					       U64(0x100000),
					       U64(0x100000)};
	static const uint8_t get[] = {
		HEADER(3, 16, 48, COMMAND, 0), U32(48), U32(0x10008), U64(0x110000), U64(0x50000), U64(0x1000)};
	static const uint8_t bits[] = {HEADER(3, 16, 64, REPLY, 0),
				       U32(48),
				       U32(0x10008),
				       U64(0x110000),
				       U64(0x50000),
				       U64(0x1000),
				       U64(1 | 1 << 5),
				       U64(1 << 15)};
	static const uint8_t clean[] = {HEADER(3, 16, 64, REPLY, 0),
					U32(48),
					U32(0x10008),
					U64(0x110000),
					U64(0x50000),
					U64(0x1000),
					U64(0),
					U64(0)};
	static const uint8_t stop[] = {HEADER(4, 16, 24, COMMAND, 0), U32(8), U32(0x20007)};
	static const uint8_t stopped[] = {HEADER(4, 16, 24, REPLY, 0), U32(8), U32(0x20007)};
	static const struct {
		const uint8_t *command;
		size_t command_bytes;
		const uint8_t *answer;
		size_t answer_bytes;
	} steps[] = {{start_command, sizeof(start_command), start_answer, sizeof(start_answer)},
		     {get, sizeof(get), bits, sizeof(bits)},
		     {get, sizeof(get), clean, sizeof(clean)},
		     {stop, sizeof(stop), stopped, sizeof(stopped)}};
	unsigned int i;

	(void)state;
	for (i = 0; i < 4; i++) {
		assert_true(peer_send(&peer, steps[i].command, steps[i].command_bytes, NULL, 0));
		assert_true(peer_receive(&peer, &reply));
		assert_int_equal(reply.size_bytes, steps[i].answer_bytes);
		assert_memory_equal(reply.bytes, steps[i].answer, steps[i].answer_bytes);
		if (i > 0)
			continue;
		dirty(0x110000, 1);
		dirty(0x115fff, 1);
		/* Bit 79 of 80; and one outside of what is reported. */
		dirty(0x15f000, 4096);
		dirty(0x160000, 4096);
	}
	assert_int_equal(report(0x110000, 0x50000, PAGE), EBUSY);
	assert_string_equal(device.last_refusal.text, "DEVICE_FEATURE: DMA_LOGGING_REPORT: no logging was started");
}

static void
test_logging_starts_once(void **state)
{
	(void)state;
	assert_int_equal(start(PAGE, 0, 0x100000), 0);
	assert_int_equal(start(PAGE, 0, 0x100000), EBUSY);
	assert_int_equal(mover_feature(&peer, MOVER_SET | STOP, NULL, 0, &reply), 0);
	/* Nothing is wrong with a second one. */
	assert_int_equal(mover_feature(&peer, MOVER_SET | STOP, NULL, 0, &reply), 0);
	assert_int_equal(start(PAGE, 0, 0x100000), 0);
	/* The next client starts anew. */
	device_hang_up(&device, &peer);
	assert_false(rp_dma_log_is_on(rp_vfu_server_dma(device.server)));
	device_connect(&device, &peer);
	device_negotiate(&peer);
	assert_int_equal(start(PAGE, 0, 0x100000), 0);
}

/* The page size is a hint; the answer says what it became. */
static void
test_page_size_is_a_hint(void **state)
{
	static const struct {
		uint64_t hint, want;
	} sizes[] = {{1, 0x1000},
		     {0x800, 0x1000},
		     {0x1000, 0x1000},
		     {0x200000, 0x200000},
		     {1 << 30, 1 << 30},
		     {UINT64_C(1) << 31, 1 << 30},
		     {UINT64_C(1) << 63, 1 << 30}};
	static const uint64_t wrong[] = {0, 3, 0x1001, UINT64_MAX};
	uint64_t got;
	unsigned int i;

	(void)state;
	for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		assert_int_equal(start(sizes[i].hint, 0, UINT64_C(1) << 32), 0);
		memcpy(&got, reply.payload + 8, sizeof(got));
		assert_int_equal(got, sizes[i].want);
		assert_int_equal(mover_feature(&peer, MOVER_SET | STOP, NULL, 0, &reply), 0);
	}
	for (i = 0; i < 4; i++)
		assert_int_equal(start(wrong[i], 0, 0x100000), EINVAL);
}

static void
test_start_refuses_what_breaks_a_rule(void **state)
{
	static const uint8_t two_of_one[] = {U64(0x1000), U32(2), U32(0), U64(0), U64(0x1000)};
	static const uint8_t none_of_one[] = {U64(0x1000), U32(0), U32(0), U64(0), U64(0x1000)};
	static const uint8_t half[] = {U64(0x1000), U32(1), U32(0), U64(0)};
	/* Times 16 it wraps to what is there. */
	static const uint8_t wraps[] = {U64(0x1000), U32(0x10000001), U32(0), U64(0), U64(0x1000)};
	static uint8_t many[16 + 16 * 1025] = {U64(0x1000), U32(1025), U32(0)};
	unsigned int i;

	(void)state;
	assert_int_equal(mover_feature(&peer, MOVER_SET | START, two_of_one, 32, &reply), EINVAL);
	assert_int_equal(mover_feature(&peer, MOVER_SET | START, none_of_one, 32, &reply), EINVAL);
	assert_int_equal(mover_feature(&peer, MOVER_SET | START, half, sizeof(half), &reply), EINVAL);
	assert_int_equal(mover_feature(&peer, MOVER_SET | START, wraps, sizeof(wraps), &reply), EINVAL);
	assert_int_equal(mover_feature(&peer, MOVER_SET | START, half, 15, &reply), EMSGSIZE);
	assert_int_equal(start(PAGE, 0, 0), EINVAL);
	assert_int_equal(start(PAGE, UINT64_MAX, 2), EINVAL);
	assert_int_equal(start(PAGE, 2, UINT64_MAX), EINVAL);
	/* More than can be watched in so small pages. */
	assert_int_equal(start(PAGE, 0, UINT64_MAX), ENOSPC);
	assert_int_equal(mover_feature(&peer, MOVER_SET | START, many, sizeof(many), &reply), ENOSPC);
	assert_false(rp_dma_log_is_on(rp_vfu_server_dma(device.server)));
	for (i = 0; i < 1024; i++) {
		const uint8_t range[] = {U64(i * UINT64_C(0x10000)), U64(0x1000)};

		memcpy(many + 16 + 16 * (size_t)i, range, sizeof(range));
	}
	memcpy(many + 8, &(uint32_t){1024}, 4);
	assert_int_equal(mover_feature(&peer, MOVER_SET | START, many, 16 + 16 * 1024, &reply), 0);
	assert_int_equal(reply.payload_bytes, 8 + 16 + 16 * 1024);
	assert_memory_equal(reply.payload + 8, many, 16 + 16 * 1024);
}

static void
test_report_refuses_what_breaks_a_rule(void **state)
{
	static const struct {
		uint64_t iova, size_bytes, page_bytes;
		uint32_t error;
	} wrong[] = {
		{0, 0, 0x1000, EINVAL},
		{0, 0x1000, 0, EINVAL},
		{0, 0x1000, 3, EINVAL},
		{0, 0x1000, UINT64_MAX, EINVAL},
		{0x800, 0x1000, 0x1000, EINVAL},
		{0, 0x1800, 0x1000, EINVAL},
		{0x1000, UINT64_MAX, 1, EINVAL},
		{UINT64_MAX, 2, 1, EINVAL},
		{UINT64_C(0xfffffffffffff000), 0x2000, 0x1000, EINVAL},
		{0, UINT64_C(0xfffffffffffff000), 0x1000, EMSGSIZE},
		{0, UINT64_MAX, 1, EMSGSIZE},
		/* One page more than a message has bits for. */
		{0, UINT64_C(0x800000001000), 0x1000000, EINVAL},
		{0, UINT64_C(0x800001000), 0x1000, EMSGSIZE},
	};
	unsigned int i;

	(void)state;
	assert_int_equal(start(PAGE, 0, 0x100000), 0);
	dirty(0, 0x100000);
	for (i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		assert_int_equal(report(wrong[i].iova, wrong[i].size_bytes, wrong[i].page_bytes), wrong[i].error);
	/* A refusal takes nothing out of the log, nor does an answer for which there is no room. */
	assert_int_equal(report_with_room(8, 0, 0x100000), 0);
	assert_int_equal(reply.payload_bytes, 8);
	assert_memory_equal(reply.payload, ((uint8_t[]){U32(64)}), 4);
	assert_int_equal(report_with_room(63, 0, 0x100000), 0);
	assert_int_equal(reply.payload_bytes, 32);
	assert_int_equal(report_with_room(64, 0, 0x100000), 0);
	assert_int_equal(reply.payload_bytes, 64);
	assert_true(word(0) == UINT64_MAX && word(3) == UINT64_MAX);
}

/* 64 GiB: two messages, and the last page of each half. */
static void
test_large_range_is_reported_in_pieces(void **state)
{
	const uint64_t half_bytes = UINT64_C(1) << 35;
	unsigned int i;

	(void)state;
	assert_int_equal(start(PAGE, 0, 2 * half_bytes), 0);
	dirty(half_bytes - PAGE, 2 * PAGE);
	dirty(2 * half_bytes - 1, 1);
	assert_int_equal(report(0, 2 * half_bytes, PAGE), EMSGSIZE);
	assert_non_null(strstr(device.last_refusal.text, "report the range in pieces"));
	assert_int_equal(report(0, half_bytes, PAGE), 0);
	assert_int_equal(reply.payload_bytes, 32 + 1024 * 1024);
	for (i = 0; i < 131072; i++)
		assert_true(word(i) == (i == 131071 ? UINT64_C(1) << 63 : 0));
	assert_int_equal(report(half_bytes, half_bytes, PAGE), 0);
	for (i = 0; i < 131072; i++)
		assert_true(word(i) == (i == 0 ? 1 : i == 131071 ? UINT64_C(1) << 63 : 0));
}

/* What a client agreed to receive is smaller than what we could send. */
static void
test_report_keeps_to_what_was_agreed(void **state)
{
	(void)state;
	device_hang_up(&device, &peer);
	device_connect(&device, &peer);
	device_negotiate_as(&peer,
			    "\"max_data_xfer_size\":4096,\"migration\":{\"pgsize\":4096,\"max_bitmap_size\":64}");
	assert_int_equal(start(PAGE, 0, UINT64_C(1) << 32), 0);
	assert_int_equal(report(0, 64 * 8 * PAGE, PAGE), 0);
	assert_int_equal(report(0, 65 * 8 * PAGE, PAGE), EMSGSIZE);
	device_hang_up(&device, &peer);
	device_connect(&device, &peer);
	device_negotiate_as(&peer, "\"max_data_xfer_size\":4096");
	assert_int_equal(start(PAGE, 0, UINT64_C(1) << 32), 0);
	assert_int_equal(report(0, 4096 * 8 * PAGE, PAGE), 0);
	assert_int_equal(report(0, 4097 * 8 * PAGE, PAGE), EMSGSIZE);
}

static void
test_report_in_larger_pages(void **state)
{
	(void)state;
	assert_int_equal(start(PAGE, 0, 0x1000000), 0);
	dirty(0x3000, 1);
	dirty(0x20ffff, 2);
	assert_int_equal(report(0, 0x400000, 0x10000), 0);
	assert_true(word(0) == (1 | UINT64_C(1) << 32 | UINT64_C(1) << 33));
	assert_int_equal(report(0, 0x400000, PAGE), 0);
	assert_true(word(0) == 0 && word(8) == 0);
}

/* Each of the log's pages is as many of the client's, and nothing is lost at the ends of a piece. */
static void
test_report_in_smaller_pages(void **state)
{
	(void)state;
	assert_int_equal(start(0x10000, 0, 0x1000000), 0);
	dirty(0x20000, 1);
	dirty(0x5ffff, 1);
	assert_int_equal(report(0, 0x80000, PAGE), 0);
	assert_int_equal(reply.payload_bytes, 32 + 16);
	assert_true(word(0) == UINT64_C(0x0000ffff00000000));
	assert_true(word(1) == UINT64_C(0x00000000ffff0000));
	assert_int_equal(report(0, 0x80000, PAGE), 0);
	assert_true(word(0) == 0 && word(1) == 0);
	dirty(0x2ffff, 1);
	/* The first half of that page, and then the second. */
	assert_int_equal(report(0x18000, 0x10000, PAGE), 0);
	assert_true(word(0) == 0xff00);
	assert_int_equal(report(0x28000, 0x10000, PAGE), 0);
	assert_true(word(0) == 0xff);
	assert_int_equal(report(0x20000, 0x10000, PAGE), 0);
	assert_int_equal(report(0x20000, 0x10000, PAGE), 0);
	assert_true(word(0) == 0);
	/* Smaller than any page of memory. */
	dirty(0x30000, 1);
	assert_int_equal(report(0x30000, 128, 2), 0);
	assert_true(word(0) == UINT64_MAX);
}

/* "A value of zero indicates that all writes should be logged." What is too high to be watched counts as dirty. */
static void
test_log_of_everything(void **state)
{
	static const uint8_t everything[] = {U64(0x1000), U32(0), U32(0)};
	const uint64_t watched_bytes = UINT64_C(1) << 44;
	const uint64_t last_page = UINT64_C(0xfffffffffffff000);

	(void)state;
	assert_int_equal(mover_feature(&peer, MOVER_SET | START, everything, sizeof(everything), &reply), 0);
	dirty(0x5000, 1);
	dirty(watched_bytes - 1, 1);
	assert_int_equal(report(0, 0x10000, PAGE), 0);
	assert_true(word(0) == 1 << 5);
	assert_int_equal(report(watched_bytes - 4 * PAGE, 8 * PAGE, PAGE), 0);
	assert_true(word(0) == 0xf8);
	assert_int_equal(report(watched_bytes - 4 * PAGE, 8 * PAGE, PAGE), 0);
	assert_true(word(0) == 0xf0);
	assert_int_equal(report(last_page, PAGE, PAGE), 0);
	assert_true(word(0) == 1);
	assert_int_equal(report(watched_bytes + PAGE, 3 * 512, 512), 0);
	assert_true(word(0) == 7);
}

static uint32_t
map(uint64_t iova, uint64_t size_bytes)
{
	const uint8_t payload[] = {U32(32), U32(3), U64(0), U64(iova), U64(size_bytes)};

	return device_ask(&peer, 2, payload, sizeof(payload), NULL, 0, &reply);
}

static uint32_t
unmap_dirty(uint32_t argsz, uint64_t iova, uint64_t size_bytes, uint64_t page_bytes, uint64_t bitmap_bytes)
{
	const uint8_t payload[] = {U32(argsz), U32(1), U64(iova), U64(size_bytes), U64(page_bytes), U64(bitmap_bytes)};

	return device_ask(&peer, 3, payload, sizeof(payload), NULL, 0, &reply);
}

static void
test_unmap_with_dirty_pages_vector(void **state)
{
	static const uint8_t command[] = {
		HEADER(5, 3, 56, COMMAND, 0), U32(48), U32(1), U64(0x10000), U64(0x4000), U64(0x1000), U64(64)};
	static const uint8_t answer[] = {
		HEADER(5, 3, 64, REPLY, 0), U32(48), U32(1), U64(0x10000), U64(0x4000), U64(0x1000), U64(8), U64(0x5)};

	(void)state;
	/* Two mappings and a hole: one range, one bitmap. */
	assert_int_equal(map(0x10000, 0x1000), 0);
	assert_int_equal(map(0x12000, 0x8000), 0);
	assert_int_equal(start(PAGE, 0, 0x100000), 0);
	dirty(0x10000, 1);
	dirty(0x12000, 1);
	dirty(0x14000, 1);
	assert_true(peer_send(&peer, command, sizeof(command), NULL, 0));
	assert_true(peer_receive(&peer, &reply));
	assert_int_equal(reply.size_bytes, sizeof(answer));
	assert_memory_equal(reply.bytes, answer, sizeof(answer));
	assert_int_equal(rp_dma_space_count(rp_vfu_server_dma(device.server)), 1);
	assert_int_equal(report(0x10000, 0x8000, PAGE), 0);
	assert_true(word(0) == 0x10);
}

/* Not before those who hold a pointer to it have let go: they may write until then. */
static void
test_bitmap_holds_what_was_written_last(void **state)
{
	static const uint8_t payload[] = {U32(48), U32(1), U64(0x10000), U64(0x4000), U64(0x1000), U64(8)};
	static const uint8_t map_memory[] = {U32(32), U32(3), U64(0), U64(0x10000), U64(0x4000)};
	struct rp_dma_reader *reader = NULL;
	uint64_t bits, contiguous;

	(void)state;
	assert_int_equal(device_ask(&peer, 2, map_memory, sizeof(map_memory), &device.sparse_fd, 1, &reply), 0);
	assert_int_equal(start(PAGE, 0, 0x100000), 0);
	assert_int_equal(rp_dma_reader_create(rp_vfu_server_dma(device.server), &reader), 0);
	rp_dma_reader_online(reader);
	assert_non_null(rp_dma_reader_translate(reader, 0x13000, 1, RP_DMA_WRITE, &contiguous));
	assert_true(peer_command(&peer, 1, 3, COMMAND, payload, sizeof(payload), NULL, 0));
	assert_true(peer_is_silent(&peer));
	rp_dma_reader_mark(reader, 0x13000, 1);
	rp_dma_reader_offline(reader);
	assert_true(peer_receive(&peer, &reply));
	assert_int_equal(reply.flags, REPLY);
	assert_int_equal(reply.payload_bytes, 48);
	memcpy(&bits, reply.payload + 40, sizeof(bits));
	assert_true(bits == 0x8);
	rp_dma_reader_destroy(reader);
}

static void
test_unmap_with_dirty_pages_refuses_before_it_begins(void **state)
{
	static const uint8_t short_one[] = {U32(48), U32(1), U64(0x10000), U64(0x4000)};
	static const uint8_t of_all[] = {U32(48), U32(3), U64(0), U64(0), U64(0x1000), U64(8)};
	/* Without the flag what follows the range means nothing. */
	static const uint8_t ignored[] = {U32(24), U32(0), U64(0x10000), U64(0x4000), U64(3), U64(UINT64_MAX)};
	struct device_description description;

	(void)state;
	assert_int_equal(map(0x10000, 0x4000), 0);
	assert_int_equal(unmap_dirty(48, 0x10000, 0x4000, PAGE, 8), EBUSY);
	assert_int_equal(start(PAGE, 0, 0x100000), 0);
	assert_int_equal(device_ask(&peer, 3, short_one, sizeof(short_one), NULL, 0, &reply), EMSGSIZE);
	assert_int_equal(device_ask(&peer, 3, of_all, sizeof(of_all), NULL, 0, &reply), EINVAL);
	assert_int_equal(unmap_dirty(47, 0x10000, 0x4000, PAGE, 8), EMSGSIZE);
	assert_int_equal(unmap_dirty(48, 0x10000, 0x4000, PAGE, 7), EMSGSIZE);
	assert_int_equal(unmap_dirty(48, 0x10000, 0x4000, 0, 8), EINVAL);
	assert_int_equal(unmap_dirty(48, 0x10000, 0x4000, 0x3000, 8), EINVAL);
	assert_int_equal(unmap_dirty(48, 0x10000, 0x4800, PAGE, 8), EINVAL);
	assert_int_equal(unmap_dirty(48, 0x10800, 0x4000, PAGE, 8), EINVAL);
	assert_int_equal(unmap_dirty(48, 0x10000, 0, PAGE, 8), EINVAL);
	assert_int_equal(unmap_dirty(48, 0x10000, UINT64_MAX, PAGE, 8), EINVAL);
	assert_int_equal(unmap_dirty(UINT32_MAX, 0, UINT64_C(1) << 36, PAGE, UINT64_MAX), EMSGSIZE);
	assert_int_equal(rp_dma_space_count(rp_vfu_server_dma(device.server)), 1);
	assert_int_equal(device_ask(&peer, 3, ignored, sizeof(ignored), NULL, 0, &reply), 0);
	assert_int_equal(reply.payload_bytes, 24);
	/* A device that does not log has no answer. */
	device_describe(&device, &description);
	device_restart_as(&device, &description, &peer, "\"max_msg_fds\":1");
	assert_int_equal(unmap_dirty(48, 0x10000, 0x4000, PAGE, 8), EOPNOTSUPP);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_logging_vectors, setup, teardown),
		cmocka_unit_test_setup_teardown(test_logging_starts_once, setup, teardown),
		cmocka_unit_test_setup_teardown(test_page_size_is_a_hint, setup, teardown),
		cmocka_unit_test_setup_teardown(test_start_refuses_what_breaks_a_rule, setup, teardown),
		cmocka_unit_test_setup_teardown(test_report_refuses_what_breaks_a_rule, setup, teardown),
		cmocka_unit_test_setup_teardown(test_large_range_is_reported_in_pieces, setup, teardown),
		cmocka_unit_test_setup_teardown(test_report_keeps_to_what_was_agreed, setup, teardown),
		cmocka_unit_test_setup_teardown(test_report_in_larger_pages, setup, teardown),
		cmocka_unit_test_setup_teardown(test_report_in_smaller_pages, setup, teardown),
		cmocka_unit_test_setup_teardown(test_log_of_everything, setup, teardown),
		cmocka_unit_test_setup_teardown(test_unmap_with_dirty_pages_vector, setup, teardown),
		cmocka_unit_test_setup_teardown(test_bitmap_holds_what_was_written_last, setup, teardown),
		cmocka_unit_test_setup_teardown(test_unmap_with_dirty_pages_refuses_before_it_begins, setup, teardown),
	};

	return cmocka_run_group_tests_name("vfio-user server: dirty pages", tests, NULL, NULL);
}
