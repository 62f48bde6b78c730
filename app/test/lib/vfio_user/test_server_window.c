/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bytes.h"
#include "device.h"
#include "rp_dma_io.h"
#include "rp_vfu_msg.h"
#include "vfu_server_window.h"

/* The payload window, byte by byte, and the slots behind it. */

#define IOVA 0x100000ull
#define SLOT RP_VFU_WINDOW_SLOT_BYTES

static struct device device;
static struct peer peer;
static struct peer_msg msg, reply;
static struct test_leaks before;
static uint8_t *window;
static uint64_t window_bytes;

static int
setup(void **state)
{
	(void)state;
	test_leaks_read(&before);
	device_start(&device);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	peer_close(&peer);
	device_close(&device);
	if (window != NULL)
		munmap(window, window_bytes);
	window = NULL;
	test_leaks_assert_none(&before);
	return 0;
}

/* Offer a window, and map the one that comes. @return the answer's text. */
static const char *
negotiate(const char *capabilities, uint64_t expected_bytes)
{
	static const uint8_t map[] = {U32(32), U32(3), U64(0), U64(IOVA), U64(0x10000000)};
	uint8_t payload[512] = {U16(0), U16(1)};
	int bytes = snprintf((char *)payload + 4, sizeof(payload) - 4, "{\"capabilities\":{%s}}", capabilities);
	static char text[512];
	struct stat st;

	device_connect(&device, &peer);
	assert_int_equal(device_ask(&peer, 1, payload, 4 + (size_t)bytes + 1, NULL, 0, &reply), 0);
	memcpy(text, reply.payload + 4, reply.payload_bytes - 4);
	assert_int_equal(reply.fds_count, expected_bytes > 0 ? 1 : 0);
	window_bytes = expected_bytes;
	if (expected_bytes > 0) {
		assert_int_equal(fcntl(reply.fds[0], F_GET_SEALS), F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
		assert_int_equal(fstat(reply.fds[0], &st), 0);
		assert_int_equal(st.st_size, expected_bytes);
		window = mmap(NULL, expected_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, reply.fds[0], 0);
		assert_ptr_not_equal(window, MAP_FAILED);
	}
	peer_msg_close(&reply);
	assert_int_equal(device_ask(&peer, 2, map, sizeof(map), NULL, 0, &reply), 0);
	return text;
}

static int result;

static void
on_done(struct rp_dma_io *io, int error)
{
	(void)io;
	result = error;
}

static void
start(struct rp_dma_io *io, struct rp_dma_segment *segment, bool write, void *bytes, uint64_t size_bytes)
{
	*segment = (struct rp_dma_segment){.iova = IOVA, .size_bytes = size_bytes, .bytes = bytes};
	*io = (struct rp_dma_io){.write = write, .segments = segment, .segments_count = 1, .done = on_done};
	result = 1;
	assert_int_equal(rp_dma_io_submit(rp_vfu_server_dma(device.server), io), 0);
}

static void
answer(uint16_t id, uint16_t command, uint64_t iova, uint64_t count)
{
	const uint8_t payload[] = {U64(iova), U64(count)};

	assert_true(peer_command(&peer, id, command, REPLY, payload, sizeof(payload), NULL, 0));
	device_turn(&device);
}

static uint64_t
field(unsigned int index)
{
	uint64_t value;

	memcpy(&value, msg.payload + 8 * (size_t)index, 8);
	return value;
}

static void
test_what_is_agreed(void **state)
{
	(void)state;
	assert_string_equal(negotiate("\"ringpass.window\":{\"size\":200000},\"max_msg_fds\":1", 3 * SLOT),
			    "{\"capabilities\":{\"max_msg_fds\":1,"
			    "\"ringpass.window\":{\"size\":196608,\"fd_index\":0}}}");
	peer_close(&peer);
	munmap(window, window_bytes);
	window = NULL;
	/* No more than the server's own limit; none without room for a descriptor, or below the floor. */
	(void)negotiate("\"ringpass.window\":{\"size\":1000000000}", RP_VFU_WINDOW_DEFAULT_BYTES);
	peer_close(&peer);
	munmap(window, window_bytes);
	window = NULL;
	assert_string_equal(negotiate("\"ringpass.window\":{\"size\":200000},\"max_msg_fds\":0", 0),
			    "{\"capabilities\":{\"max_msg_fds\":0}}");
	peer_close(&peer);
	(void)negotiate("\"ringpass.window\":{\"size\":65535}", 0);
}

static void
test_both_sockets_and_window_in_one_answer(void **state)
{
	static const char text[] = "{\"capabilities\":{\"max_msg_fds\":2,\"twin_socket\":{\"supported\":true},"
				   "\"ringpass.window\":{\"size\":65536}}}";
	uint8_t payload[4 + sizeof(text)] = {U16(0), U16(1)};
	struct stat st;

	(void)state;
	memcpy(payload + 4, text, sizeof(text));
	device_connect(&device, &peer);
	assert_int_equal(device_ask(&peer, 1, payload, sizeof(payload), NULL, 0, &reply), 0);
	assert_string_equal((char *)reply.payload + 4,
			    "{\"capabilities\":{\"max_msg_fds\":2,\"twin_socket\":{\"supported\":true,\"fd_index\":0},"
			    "\"ringpass.window\":{\"size\":65536,\"fd_index\":1}}}");
	assert_int_equal(reply.fds_count, 2);
	assert_int_equal(fstat(reply.fds[0], &st), 0);
	assert_true(S_ISSOCK(st.st_mode));
	assert_int_equal(fstat(reply.fds[1], &st), 0);
	assert_true(S_ISREG(st.st_mode));
	peer_msg_close(&reply);
}

static void
test_window_vectors(void **state)
{
	static uint8_t bytes[20000];
	const uint8_t write[] = {U16(0x5203), U32(40), U32(COMMAND), U32(0), U64(IOVA), U64(20000), U64(0)};
	const uint8_t read[] = {U16(0x5202), U32(40), U32(COMMAND), U32(0), U64(IOVA), U64(20000), U64(0)};
	struct rp_dma_segment segment;
	struct rp_dma_io io;

	(void)state;
	(void)negotiate("\"ringpass.window\":{\"size\":131072}", 2 * SLOT);
	memset(bytes, 0x3c, sizeof(bytes));
	start(&io, &segment, true, bytes, sizeof(bytes));
	assert_true(peer_receive(&peer, &msg));
	assert_int_equal(msg.size_bytes, 40);
	assert_memory_equal(msg.bytes + 2, write, sizeof(write));
	assert_memory_equal(window, bytes, sizeof(bytes));
	answer(msg.id, msg.command, IOVA, 20000);
	assert_int_equal(result, 0);
	start(&io, &segment, false, bytes, sizeof(bytes));
	assert_true(peer_receive(&peer, &msg));
	assert_memory_equal(msg.bytes + 2, read, sizeof(read));
	memset(window, 0x77, 20000);
	answer(msg.id, msg.command, IOVA, 20000);
	assert_int_equal(result, 0);
	assert_int_equal(bytes[0], 0x77);
	assert_int_equal(bytes[19999], 0x77);
	/* What the client does to the window afterwards reaches nobody. */
	memset(window, 0x11, window_bytes);
	assert_int_equal(bytes[0], 0x77);
}

/* Small pieces stay in the message; so does what finds no room. */
static void
test_what_goes_through_the_window(void **state)
{
	static uint8_t bytes[600000];
	static struct rp_dma_segment segments[3]; /* the last two end when the device does */
	static struct rp_dma_io ios[3];

	(void)state;
	(void)negotiate("\"ringpass.window\":{\"size\":262144}", 4 * SLOT);
	start(&ios[0], &segments[0], true, bytes, 16383);
	assert_true(peer_receive(&peer, &msg));
	assert_int_equal(msg.command, 12);
	answer(msg.id, 12, IOVA, 16383);
	start(&ios[1], &segments[1], false, bytes, sizeof(bytes));
	assert_true(peer_receive(&peer, &msg));
	assert_int_equal(msg.command, 0x5202);
	assert_int_equal(field(1), 262144);
	assert_true(peer_receive(&peer, &reply));
	assert_int_equal(reply.command, 11);
	assert_int_equal(reply.payload_bytes, 16);
	answer(msg.id, 0x5202, IOVA, 262144);
	assert_int_equal(result, 1);
	/* Its slots are free again. */
	start(&ios[2], &segments[2], true, bytes, SLOT);
	assert_true(peer_receive(&peer, &msg));
	assert_int_equal(msg.command, 0x5203);
}

static void
test_lies_about_the_window_end_the_connection(void **state)
{
	static const struct {
		uint16_t command;
		int iova, count;
		uint32_t payload_bytes;
	} lies[] = {{0x5202, 1, 0, 16}, {0x5202, 0, 1, 16}, {0x5202, 0, 0, 17}, {0x5202, 0, 0, 8}, {0x5202, 0, 0, 12},
		    {0x5203, 1, 0, 16}, {0x5203, 0, 1, 16}, {0x5203, 0, 0, 17}, {0x5203, 0, 0, 8}, {0x5203, 0, 0, 12}};
	static uint8_t bytes[32768];
	struct rp_dma_segment segment;
	struct rp_dma_io io;
	unsigned int i;

	(void)state;
	for (i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
		const uint8_t payload[32] = {U64(IOVA + (uint64_t)lies[i].iova), U64(32768 + (uint64_t)lies[i].count)};

		(void)negotiate("\"ringpass.window\":{\"size\":65536}", SLOT);
		start(&io, &segment, lies[i].command == 0x5203, bytes, sizeof(bytes));
		assert_true(peer_receive(&peer, &msg));
		assert_int_equal(msg.command, lies[i].command);
		assert_true(
			peer_command(&peer, msg.id, lies[i].command, REPLY, payload, lies[i].payload_bytes, NULL, 0));
		device_turn(&device);
		assert_false(rp_vfu_server_connected(device.server));
		assert_int_equal(result, -ENOTCONN);
		munmap(window, window_bytes);
		window = NULL;
		if (i + 1 < sizeof(lies) / sizeof(lies[0]))
			peer_close(&peer);
	}
}

/* Another command's answer is nobody's, and an error ends the transfer. */
static void
test_answers_of_another_command(void **state)
{
	static uint8_t bytes[32768];
	struct rp_dma_segment segment;
	struct rp_dma_io io;

	(void)state;
	(void)negotiate("\"ringpass.window\":{\"size\":65536}", SLOT);
	start(&io, &segment, false, bytes, sizeof(bytes));
	assert_true(peer_receive(&peer, &msg));
	answer(msg.id, 0x5203, IOVA, 32768);
	answer(msg.id, 11, IOVA, 32768);
	assert_int_equal(result, 1);
	assert_int_equal(device.refusals, 2);
	{
		uint8_t refusal[] = {HEADER(0, 0x5202, 16, ERROR_REPLY, EACCES)};

		memcpy(refusal, &msg.id, 2);
		assert_true(peer_send(&peer, refusal, sizeof(refusal), NULL, 0));
		device_turn(&device);
	}
	assert_int_equal(result, -EACCES);
	answer(msg.id, 0x5202, IOVA, 32768);
	assert_int_equal(device.refusals, 3);
	/* A short one leaves out what nobody knows. */
	start(&io, &segment, false, bytes, sizeof(bytes));
	assert_true(peer_receive(&peer, &msg));
	answer(msg.id, 0x5202, IOVA, 32767);
	assert_int_equal(result, -EIO);
}

/* Given up, but the client may still be writing there: nobody else gets those bytes before it has answered. */
static void
test_bytes_of_who_gave_up_stay_taken(void **state)
{
	static uint8_t bytes[32768];
	static struct rp_dma_segment segments[2];
	static struct rp_dma_io ios[2];
	uint16_t id;
	uint64_t at;

	(void)state;
	(void)negotiate("\"ringpass.window\":{\"size\":131072}", 2 * SLOT);
	memset(bytes, 0, sizeof(bytes));
	start(&ios[0], &segments[0], false, bytes, sizeof(bytes));
	assert_true(peer_receive(&peer, &msg));
	id = msg.id;
	at = field(2);
	rp_dma_io_cancel(&ios[0]);
	start(&ios[1], &segments[1], false, bytes, sizeof(bytes));
	assert_true(peer_receive(&peer, &msg));
	assert_int_not_equal(field(2), at);
	memset(window + at, 0x77, sizeof(bytes));
	answer(id, 0x5202, IOVA, 32768);
	assert_int_equal(result, 1);
	assert_int_equal(bytes[0], 0);
	answer(msg.id, 0x5202, IOVA, 32768);
	assert_int_equal(result, 0);
	assert_int_equal(bytes[0], 0);
	assert_int_equal(device.refusals, 0);
}

/* What one client's DMA moved is not there for the next one, nor the other way round. */
static void
test_each_client_has_its_own(void **state)
{
	static uint8_t bytes[32768];
	struct rp_dma_segment segment;
	struct rp_dma_io io;
	uint8_t *first;

	(void)state;
	(void)negotiate("\"ringpass.window\":{\"size\":65536}", SLOT);
	memset(bytes, 0x99, sizeof(bytes));
	start(&io, &segment, true, bytes, sizeof(bytes));
	assert_true(peer_receive(&peer, &msg));
	assert_int_equal(window[0], 0x99);
	first = window;
	peer_close(&peer);
	device_turn(&device);
	assert_int_equal(result, -ENOTCONN);
	(void)negotiate("\"ringpass.window\":{\"size\":65536}", SLOT);
	assert_int_equal(window[0], 0);
	memset(first, 0x11, SLOT);
	assert_int_equal(window[0], 0);
	munmap(first, SLOT);
}

/* Slots are never given out twice, and every one that came back is found again. */
static void
test_slots(void **state)
{
	struct rp_vfu_server_window slots;
	uint32_t sizes[64] = {0}, seed = 5, i, round;
	int at[64];
	bool used[16];

	(void)state;
	assert_int_equal(rp_vfu_server_window_open(&slots, 16 * SLOT), 0);
	assert_int_equal(rp_vfu_server_window_take(&slots, 17 * SLOT), -1);
	for (round = 0; round < 5000; round++) {
		uint32_t which = (uint32_t)rand_r(&seed) % 64, slot;

		if (sizes[which] != 0) {
			rp_vfu_server_window_release(&slots, at[which], sizes[which]);
			sizes[which] = 0;
			continue;
		}
		sizes[which] = 1 + (uint32_t)rand_r(&seed) % (4 * SLOT);
		at[which] = rp_vfu_server_window_take(&slots, sizes[which]);
		if (at[which] < 0)
			sizes[which] = 0;
		memset(used, 0, sizeof(used));
		for (i = 0; i < 64; i++) {
			for (slot = 0; slot * SLOT < sizes[i]; slot++) {
				assert_in_range(at[i] + (int)slot, 0, 15);
				assert_false(used[at[i] + (int)slot]);
				used[at[i] + (int)slot] = true;
			}
		}
	}
	for (i = 0; i < 64; i++)
		if (sizes[i] != 0)
			rp_vfu_server_window_release(&slots, at[i], sizes[i]);
	assert_int_not_equal(rp_vfu_server_window_take(&slots, 9 * SLOT), -1);
	rp_vfu_server_window_close(&slots);
	/* Nothing is held, and closing it again is allowed. */
	rp_vfu_server_window_close(&slots);
	peer.fd = test_memfd(4096, false);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_what_is_agreed, setup, teardown),
		cmocka_unit_test_setup_teardown(test_both_sockets_and_window_in_one_answer, setup, teardown),
		cmocka_unit_test_setup_teardown(test_window_vectors, setup, teardown),
		cmocka_unit_test_setup_teardown(test_what_goes_through_the_window, setup, teardown),
		cmocka_unit_test_setup_teardown(test_lies_about_the_window_end_the_connection, setup, teardown),
		cmocka_unit_test_setup_teardown(test_answers_of_another_command, setup, teardown),
		cmocka_unit_test_setup_teardown(test_bytes_of_who_gave_up_stay_taken, setup, teardown),
		cmocka_unit_test_setup_teardown(test_each_client_has_its_own, setup, teardown),
		cmocka_unit_test_setup_teardown(test_slots, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
