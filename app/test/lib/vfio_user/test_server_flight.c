/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "carried.h"

/* What the answer to a command of the server's may be. */

#define IOVA CARRIED_IOVA

static void
test_errors_of_the_client(void **state)
{
	static const struct {
		uint32_t error;
		int expected;
	} cases[] = {{EFAULT, -EFAULT}, {EACCES, -EACCES}, {0, -EIO}, {4096, -EIO}, {UINT32_MAX, -EIO}};
	uint8_t bytes[3 * 4096];
	struct asked asked[3];
	struct access access;
	unsigned int i;

	(void)state;
	carried_begin(NULL, "\"max_data_xfer_size\":4096");
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint8_t header[] = {HEADER(0, 11, 16, ERROR_REPLY, cases[i].error)};

		assert_int_equal(carried_start(&access, false, IOVA, bytes, sizeof(bytes)), 0);
		asked[0] = carried_take(11);
		asked[1] = carried_take(11);
		asked[2] = carried_take(11);
		memcpy(header, &asked[1].id, 2);
		assert_true(peer_send(&carried.peer, header, sizeof(header), NULL, 0));
		assert_true(carried_answer(&asked[0], asked[0].iova, 4096, bytes, 4096));
		assert_int_equal(access.ends, 0);
		assert_true(carried_answer(&asked[2], asked[2].iova, 4096, bytes, 4096));
		carried_ended(&access, cases[i].expected);
	}
	/* A short answer leaves out what nobody knows. */
	assert_int_equal(carried_start(&access, false, IOVA, bytes, 8), 0);
	asked[0] = carried_take(11);
	assert_true(carried_answer(&asked[0], asked[0].iova, 7, bytes, 7));
	carried_ended(&access, -EIO);
}

/* Who lies about memory is not believed again. */
static void
test_lies_end_the_connection(void **state)
{
	static const struct {
		int64_t iova, count;
		size_t data_bytes;
		bool write;
	} lies[] = {
		{1, 0, 8, false}, {-1, 0, 8, false}, {0, 1, 8, false}, {0, 1, 9, false},
		{0, 0, 7, false}, {0, 0, 9, false},  {0, 0, 0, false}, {0, -1, 8, false},
		{1, 0, 0, true},  {0, 1, 0, true},   {0, 0, 8, true},  {0, INT64_MAX, 8, false},
	};
	uint8_t bytes[16] = {0};
	struct access access;
	struct asked asked;
	unsigned int i;

	(void)state;
	for (i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
		carried_begin(NULL, "");
		assert_int_equal(carried_start(&access, lies[i].write, IOVA, bytes, 8), 0);
		asked = carried_take(lies[i].write ? 12 : 11);
		(void)carried_answer(&asked, IOVA + (uint64_t)lies[i].iova, 8 + (uint64_t)lies[i].count, bytes,
				     lies[i].data_bytes);
		assert_false(rp_vfu_server_connected(carried.device.server));
		carried_ended(&access, -ENOTCONN);
		peer_close(&carried.peer);
		carried.peer.fd = -1;
	}
	assert_int_equal(carried.device.disconnects, i);
}

static void
test_replies_too_short_or_with_descriptors(void **state)
{
	uint8_t bytes[16] = {0};
	struct access access;
	struct asked asked;
	int fd = test_memfd(4096, false);

	(void)state;
	carried_begin(NULL, "");
	assert_int_equal(carried_start(&access, false, IOVA, bytes, 8), 0);
	asked = carried_take(11);
	assert_true(peer_command(&carried.peer, asked.id, 11, REPLY, bytes, 15, NULL, 0));
	device_turn(&carried.device);
	carried_ended(&access, -ENOTCONN);
	peer_close(&carried.peer);
	carried_begin(NULL, "");
	assert_int_equal(carried_start(&access, true, IOVA, bytes, 8), 0);
	asked = carried_take(12);
	assert_true(peer_command(&carried.peer, asked.id, 12, REPLY, bytes, 16, &fd, 1));
	device_turn(&carried.device);
	carried_ended(&access, -ENOTCONN);
	close(fd);
}

/* The head of an answer with 64 KiB of data; the data is sent apart. */
static void
begin_large_answer(const struct asked *asked, uint64_t iova)
{
	uint8_t head[32] = {HEADER(0, 11, 32 + 0x10000, REPLY, 0), U64(iova), U64(0x10000)};

	memcpy(head, &asked->id, 2);
	assert_true(peer_send(&carried.peer, head, sizeof(head), NULL, 0));
	device_turn(&carried.device);
}

/* Large data is read where it belongs, in whatever drops it comes. */
static void
test_large_answers_in_drops(void **state)
{
	static uint8_t bytes[0x10000], memory[0x10000];
	static const size_t drops[] = {1, 7, 4096, 16384, sizeof(memory)};
	struct access access;
	struct asked asked;
	unsigned int i;
	size_t at;

	(void)state;
	carried_begin(NULL, "");
	for (i = 0; i < sizeof(drops) / sizeof(drops[0]); i++) {
		memset(bytes, 0, sizeof(bytes));
		for (at = 0; at < sizeof(memory); at++)
			memory[at] = (uint8_t)(at * 31 + at / 256 + i);
		assert_int_equal(carried_start(&access, false, IOVA, bytes, sizeof(bytes)), 0);
		asked = carried_take(11);
		begin_large_answer(&asked, IOVA);
		for (at = 0; at < sizeof(memory); at += drops[i]) {
			size_t left = sizeof(memory) - at;
			/* Byte by byte takes too long for all of it. */
			size_t size = i < 2 && at > 100 ? left : (left < drops[i] ? left : drops[i]);

			assert_int_equal(access.ends, 0);
			assert_true(peer_send(&carried.peer, memory + at, size, NULL, 0));
			device_turn(&carried.device);
			if (size == left)
				break;
		}
		carried_ended(&access, 0);
		assert_memory_equal(bytes, memory, sizeof(bytes));
	}
}

/* Given up in the middle of its answer: not a byte of the rest goes where it was to go, and the stream goes on. */
static void
test_cancelled_in_the_middle_of_its_answer(void **state)
{
	static uint8_t bytes[0x10000], memory[0x10000];
	struct access access, next;
	struct asked asked;
	uint64_t word = 0;
	size_t at;

	(void)state;
	carried_begin(NULL, "");
	memset(memory, 0x5a, sizeof(memory));
	for (at = 0; at < sizeof(memory); at += 21845) {
		memset(bytes, 0, sizeof(bytes));
		assert_int_equal(carried_start(&access, false, IOVA, bytes, sizeof(bytes)), 0);
		asked = carried_take(11);
		begin_large_answer(&asked, IOVA);
		assert_true(at == 0 || peer_send(&carried.peer, memory, at, NULL, 0));
		device_turn(&carried.device);
		assert_true(at == 0 || bytes[at - 1] == 0x5a);
		rp_dma_io_cancel(&access.io);
		memset(bytes, 0x11, sizeof(bytes));
		assert_true(peer_send(&carried.peer, memory + at, sizeof(memory) - at, NULL, 0));
		device_turn(&carried.device);
		assert_int_equal(bytes[0], 0x11);
		assert_int_equal(bytes[at], 0x11);
		assert_int_equal(bytes[sizeof(bytes) - 1], 0x11);
		assert_int_equal(access.ends, 0);
		assert_int_equal(carried_start(&next, false, IOVA, &word, 8), 0);
		asked = carried_take(11);
		assert_true(carried_answer(&asked, IOVA, 8, "abcdefgh", 8));
		carried_ended(&next, 0);
	}
	assert_int_equal(carried.device.refusals, 0);
}

/* The client leaves, or turns out to have lied, when much of it is there already. */
static void
test_large_answers_that_end_badly(void **state)
{
	static uint8_t bytes[0x10000], memory[0x10000];
	struct access access;
	struct asked asked;

	(void)state;
	carried_begin(NULL, "");
	assert_int_equal(carried_start(&access, false, IOVA, bytes, sizeof(bytes)), 0);
	asked = carried_take(11);
	begin_large_answer(&asked, IOVA);
	assert_true(peer_send(&carried.peer, memory, 30000, NULL, 0));
	device_turn(&carried.device);
	carried_leave();
	carried_ended(&access, -ENOTCONN);
	carried_begin(NULL, "");
	assert_int_equal(carried_start(&access, false, IOVA, bytes, sizeof(bytes)), 0);
	asked = carried_take(11);
	begin_large_answer(&asked, IOVA + 1);
	(void)peer_send(&carried.peer, memory, sizeof(memory), NULL, 0);
	device_turn(&carried.device);
	carried_ended(&access, -ENOTCONN);
	assert_false(rp_vfu_server_connected(carried.device.server));
	carried_leave();
	/* An answer to nobody that is as large, and one to what was a write. */
	carried_begin(NULL, "");
	assert_int_equal(carried_start(&access, true, IOVA, bytes, sizeof(bytes)), 0);
	asked = carried_take(12);
	begin_large_answer(&asked, IOVA);
	assert_true(peer_send(&carried.peer, memory, sizeof(memory), NULL, 0));
	device_turn(&carried.device);
	assert_int_equal(carried.device.refusals, 1);
	assert_true(carried_answer(&asked, IOVA, 0x10000, NULL, 0));
	carried_ended(&access, 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_errors_of_the_client, carried_setup, carried_teardown),
		cmocka_unit_test_setup_teardown(test_lies_end_the_connection, carried_setup, carried_teardown),
		cmocka_unit_test_setup_teardown(test_replies_too_short_or_with_descriptors, carried_setup,
						carried_teardown),
		cmocka_unit_test_setup_teardown(test_large_answers_in_drops, carried_setup, carried_teardown),
		cmocka_unit_test_setup_teardown(test_cancelled_in_the_middle_of_its_answer, carried_setup,
						carried_teardown),
		cmocka_unit_test_setup_teardown(test_large_answers_that_end_badly, carried_setup, carried_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
