/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bytes.h"
#include "device.h"
#include "rp_dma_io.h"

/* Memory without a descriptor: the server's commands and their answers, byte by byte. */

#define IOVA 0x100000ull
#define MAPPED_BYTES 0x1000000ull
#define ASKED_MAX 80

static struct device device;
static struct peer peer;
static struct peer_msg msg, reply;
static struct test_leaks before;

/* An access whose end is counted. */
struct access {
	struct rp_dma_io io;
	struct rp_dma_segment segment;
	unsigned int ends;
	int error;
};

/* A command of the server's, as it came. */
struct asked {
	uint16_t id;
	uint16_t command;
	uint64_t iova;
	uint64_t count;
};

static void
negotiate(const char *capabilities)
{
	uint8_t payload[512] = {U16(0), U16(1)};
	int bytes = snprintf((char *)payload + 4, sizeof(payload) - 4, "{\"capabilities\":{%s}}", capabilities);

	assert_int_equal(device_ask(&peer, 1, payload, 4 + (size_t)bytes + 1, NULL, 0, &reply), 0);
	peer_msg_close(&reply);
}

static uint32_t
map(uint32_t flags, uint64_t iova, uint64_t size_bytes)
{
	const uint8_t payload[] = {U32(32), U32(flags), U64(0), U64(iova), U64(size_bytes)};

	return device_ask(&peer, 2, payload, sizeof(payload), NULL, 0, &reply);
}

static void
begin(const struct device_description *description, const char *capabilities)
{
	if (description != NULL)
		device_restart(&device, description);
	device_connect(&device, &peer);
	negotiate(capabilities);
	assert_int_equal(map(3, IOVA, MAPPED_BYTES), 0);
}

static int
setup(void **state)
{
	(void)state;
	test_leaks_read(&before);
	device_start(&device);
	peer.fd = -1;
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	if (peer.fd >= 0)
		peer_close(&peer);
	device_close(&device);
	test_leaks_assert_none(&before);
	return 0;
}

static void
on_done(struct rp_dma_io *io, int error)
{
	struct access *access = io->ctx;

	access->ends++;
	access->error = error;
}

static int
start(struct access *access, bool write, uint64_t iova, void *bytes, uint64_t size_bytes)
{
	*access = (struct access){.segment = {.iova = iova, .size_bytes = size_bytes, .bytes = bytes}};
	access->io = (struct rp_dma_io){
		.write = write, .segments = &access->segment, .segments_count = 1, .done = on_done, .ctx = access};
	return rp_dma_io_submit(rp_vfu_server_dma(device.server), &access->io);
}

static void
assert_ended(const struct access *access, int error)
{
	assert_int_equal(access->ends, 1);
	assert_int_equal(access->error, error);
}

static struct asked
take(uint16_t command)
{
	struct asked asked;

	assert_true(peer_receive(&peer, &msg));
	assert_int_equal(msg.flags, COMMAND);
	assert_int_equal(msg.command, command);
	asked = (struct asked){.id = msg.id, .command = msg.command};
	memcpy(&asked.iova, msg.payload, 8);
	memcpy(&asked.count, msg.payload + 8, 8);
	return asked;
}

/* @param data NULL: none. */
static bool
answer(const struct asked *asked, uint64_t iova, uint64_t count, const void *data, size_t data_bytes)
{
	uint8_t *payload = malloc(16 + data_bytes);
	bool sent;

	assert_non_null(payload);
	memcpy(payload, &iova, 8);
	memcpy(payload + 8, &count, 8);
	if (data_bytes > 0)
		memcpy(payload + 16, data, data_bytes);
	sent = peer_command(&peer, asked->id, asked->command, REPLY, payload, 16 + data_bytes, NULL, 0);
	free(payload);
	device_turn(&device);
	return sent;
}

static void
test_read_vector(void **state)
{
	static const uint8_t command[] = {U16(11), U32(32), U32(COMMAND), U32(0), U64(IOVA + 0x10), U64(4)};
	static const uint8_t data[] = {0xde, 0xad, 0xbe, 0xef};
	struct access access;
	struct asked asked;
	uint8_t bytes[4] = {0};

	(void)state;
	begin(NULL, "");
	assert_int_equal(start(&access, false, IOVA + 0x10, bytes, sizeof(bytes)), 0);
	assert_int_equal(access.ends, 0);
	asked = take(11);
	assert_int_equal(msg.size_bytes, 32);
	assert_memory_equal(msg.bytes + 2, command, sizeof(command));
	assert_int_equal(msg.fds_count, 0);
	assert_true(answer(&asked, asked.iova, 4, data, 4));
	assert_ended(&access, 0);
	assert_memory_equal(bytes, data, 4);
}

static void
test_write_vector(void **state)
{
	static const uint8_t command[] = {U16(12), U32(35), U32(COMMAND), U32(0), U64(IOVA), U64(3), 1, 2, 3};
	static const uint8_t short_reply[] = {U64(IOVA), U32(3)};
	uint8_t bytes[] = {1, 2, 3};
	struct access access;
	struct asked asked;

	(void)state;
	begin(NULL, "");
	assert_int_equal(start(&access, true, IOVA, bytes, sizeof(bytes)), 0);
	asked = take(12);
	assert_int_equal(msg.size_bytes, 35);
	assert_memory_equal(msg.bytes + 2, command, sizeof(command));
	assert_true(answer(&asked, IOVA, 3, NULL, 0));
	assert_ended(&access, 0);
	/* With the count of 4 bytes that the specification's table has. */
	assert_int_equal(start(&access, true, IOVA, bytes, sizeof(bytes)), 0);
	asked = take(12);
	assert_true(peer_command(&peer, asked.id, 12, REPLY, short_reply, sizeof(short_reply), NULL, 0));
	device_turn(&device);
	assert_ended(&access, 0);
}

/* As large as agreed, all of them before the first answer, answered in any order. */
static void
test_pieces_are_pipelined(void **state)
{
	const uint32_t bytes_count = 5 * 4096 + 100;
	uint8_t *bytes = malloc(bytes_count), *memory = malloc(bytes_count);
	struct asked asked[6];
	struct access access;
	uint32_t i;

	(void)state;
	begin(NULL, "\"max_data_xfer_size\":4096");
	for (i = 0; i < bytes_count; i++)
		memory[i] = (uint8_t)(i * 13 + i / 256);
	assert_int_equal(start(&access, false, IOVA, bytes, bytes_count), 0);
	for (i = 0; i < 6; i++) {
		asked[i] = take(11);
		assert_int_equal(asked[i].iova, IOVA + i * 4096);
		assert_int_equal(asked[i].count, i < 5 ? 4096 : 100);
	}
	assert_true(peer_is_silent(&peer));
	for (i = 6; i-- > 0;) {
		assert_int_equal(access.ends, 0);
		assert_true(answer(&asked[i], asked[i].iova, asked[i].count, memory + i * 4096, asked[i].count));
	}
	assert_ended(&access, 0);
	assert_memory_equal(bytes, memory, bytes_count);
	free(bytes);
	free(memory);
}

static void
test_commands_in_flight_are_limited(void **state)
{
	struct device_description description;
	struct asked asked[ASKED_MAX];
	static struct access accesses[ASKED_MAX];
	static uint64_t words[ASKED_MAX];
	unsigned int i, count;

	(void)state;
	for (count = 1; count <= 64; count = count == 1 ? 5 : count + 59) {
		device_describe(&device, &description);
		description.config.dma_commands_max = count == 64 ? 0 : count;
		begin(&description, "");
		for (i = 0; i < ASKED_MAX; i++)
			assert_int_equal(start(&accesses[i], false, IOVA + i * 8, &words[i], 8), 0);
		for (i = 0; i < count; i++)
			asked[i] = take(11);
		assert_true(peer_is_silent(&peer));
		/* A place that is free again is used again, under another id. */
		for (i = count; i < ASKED_MAX; i++) {
			uint16_t id = asked[i % count].id;
			uint64_t word = i;

			assert_true(answer(&asked[i % count], asked[i % count].iova, 8, &word, 8));
			asked[i % count] = take(11);
			assert_int_not_equal(asked[i % count].id, id);
			assert_true(peer_is_silent(&peer));
		}
		peer_close(&peer);
		peer.fd = -1;
		device_turn(&device);
		for (i = 0; i < ASKED_MAX; i++)
			assert_ended(&accesses[i], i < ASKED_MAX - count ? 0 : -ENOTCONN);
	}
}

/* A client may serve nothing while it waits for an answer: what it asked is answered first. */
static void
test_no_command_before_an_answer_that_is_owed(void **state)
{
	static const uint8_t read[] = {U64(0), U32(0), U32(4)};
	static struct access access; /* ends when the device does */
	static uint64_t word;
	unsigned int i;

	(void)state;
	begin(NULL, "");
	for (i = 0; i < 100; i++)
		assert_true(peer_command(&peer, (uint16_t)i, 9, COMMAND, read, sizeof(read), NULL, 0));
	assert_int_equal(start(&access, false, IOVA, &word, 8), 0);
	for (i = 0; i < 100; i++) {
		assert_true(peer_receive(&peer, &msg));
		assert_int_equal(msg.flags, REPLY);
		assert_int_equal(msg.id, i);
	}
	(void)take(11);
}

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
	begin(NULL, "\"max_data_xfer_size\":4096");
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint8_t header[] = {HEADER(0, 11, 16, ERROR_REPLY, cases[i].error)};

		assert_int_equal(start(&access, false, IOVA, bytes, sizeof(bytes)), 0);
		asked[0] = take(11);
		asked[1] = take(11);
		asked[2] = take(11);
		memcpy(header, &asked[1].id, 2);
		assert_true(peer_send(&peer, header, sizeof(header), NULL, 0));
		assert_true(answer(&asked[0], asked[0].iova, 4096, bytes, 4096));
		assert_int_equal(access.ends, 0);
		assert_true(answer(&asked[2], asked[2].iova, 4096, bytes, 4096));
		assert_ended(&access, cases[i].expected);
	}
	/* A short answer leaves out what nobody knows. */
	assert_int_equal(start(&access, false, IOVA, bytes, 8), 0);
	asked[0] = take(11);
	assert_true(answer(&asked[0], asked[0].iova, 7, bytes, 7));
	assert_ended(&access, -EIO);
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
		begin(NULL, "");
		assert_int_equal(start(&access, lies[i].write, IOVA, bytes, 8), 0);
		asked = take(lies[i].write ? 12 : 11);
		(void)answer(&asked, IOVA + (uint64_t)lies[i].iova, 8 + (uint64_t)lies[i].count, bytes,
			     lies[i].data_bytes);
		assert_false(rp_vfu_server_connected(device.server));
		assert_ended(&access, -ENOTCONN);
		peer_close(&peer);
		peer.fd = -1;
	}
	assert_int_equal(device.disconnects, i);
}

static void
test_replies_too_short_or_with_descriptors(void **state)
{
	uint8_t bytes[16] = {0};
	struct access access;
	struct asked asked;
	int fd = test_memfd(4096, false);

	(void)state;
	begin(NULL, "");
	assert_int_equal(start(&access, false, IOVA, bytes, 8), 0);
	asked = take(11);
	assert_true(peer_command(&peer, asked.id, 11, REPLY, bytes, 15, NULL, 0));
	device_turn(&device);
	assert_ended(&access, -ENOTCONN);
	peer_close(&peer);
	begin(NULL, "");
	assert_int_equal(start(&access, true, IOVA, bytes, 8), 0);
	asked = take(12);
	assert_true(peer_command(&peer, asked.id, 12, REPLY, bytes, 16, &fd, 1));
	device_turn(&device);
	assert_ended(&access, -ENOTCONN);
	close(fd);
}

/* An id that is not under way, the other command's, one that was answered already. */
static void
test_replies_of_nobody(void **state)
{
	uint8_t bytes[24] = {0};
	struct access access;
	struct asked asked, other;

	(void)state;
	begin(NULL, "");
	assert_int_equal(start(&access, false, IOVA, bytes, 8), 0);
	asked = take(11);
	other = asked;
	other.id ^= 0x100;
	assert_true(answer(&other, IOVA, 8, bytes, 8));
	other.id = asked.id ^ 1;
	assert_true(answer(&other, IOVA, 8, bytes, 8));
	other.id = asked.id;
	other.command = 12;
	assert_true(answer(&other, IOVA, 8, NULL, 0));
	assert_int_equal(access.ends, 0);
	assert_int_equal(device.refusals, 3);
	assert_true(answer(&asked, IOVA, 8, bytes, 8));
	assert_ended(&access, 0);
	assert_true(answer(&asked, IOVA, 8, bytes, 8));
	assert_int_equal(device.refusals, 4);
	assert_true(rp_vfu_server_connected(device.server));
}

static void
test_cancelled(void **state)
{
	struct access access, next;
	struct asked asked, later;
	uint64_t word = 7, value = 9;

	(void)state;
	begin(NULL, "");
	/* Before it was sent ... */
	assert_int_equal(start(&access, false, IOVA, &word, 8), 0);
	rp_dma_io_cancel(&access.io);
	assert_true(peer_is_silent(&peer));
	/* ... and after: the answer changes nothing, and is nobody else's. */
	assert_int_equal(start(&access, false, IOVA, &word, 8), 0);
	asked = take(11);
	rp_dma_io_cancel(&access.io);
	assert_int_equal(start(&next, false, IOVA, &value, 8), 0);
	later = take(11);
	assert_true(answer(&asked, IOVA, 8, "abcdefgh", 8));
	assert_int_equal(word, 7);
	assert_int_equal(access.ends, 0);
	assert_int_equal(next.ends, 0);
	assert_int_equal(device.refusals, 0);
	assert_true(answer(&later, IOVA, 8, "abcdefgh", 8));
	assert_ended(&next, 0);
	assert_memory_equal(&value, "abcdefgh", 8);
}

/* Over one socket, with a client that may serve nothing meanwhile: the answer does not wait for it. */
static void
test_unmap_does_not_wait_for_the_client(void **state)
{
	static const uint8_t unmap[] = {U32(24), U32(0), U64(IOVA), U64(0x1000)};
	struct access inside, outside, late;
	uint64_t words[3] = {0};
	struct asked asked[2];

	(void)state;
	begin(NULL, "");
	assert_int_equal(start(&inside, false, IOVA + 8, &words[0], 8), 0);
	assert_int_equal(start(&outside, false, IOVA + 0x1000, &words[1], 8), 0);
	asked[0] = take(11);
	asked[1] = take(11);
	assert_int_equal(device_ask(&peer, 3, unmap, sizeof(unmap), NULL, 0, &reply), 0);
	assert_memory_equal(reply.payload, unmap, sizeof(unmap));
	assert_ended(&inside, -ECANCELED);
	assert_int_equal(start(&late, false, IOVA + 8, &words[2], 8), -EFAULT);
	assert_true(answer(&asked[0], IOVA + 8, 8, "abcdefgh", 8));
	assert_int_equal(words[0], 0);
	assert_int_equal(device.refusals, 0);
	assert_true(answer(&asked[1], IOVA + 0x1000, 8, "abcdefgh", 8));
	assert_ended(&outside, 0);
}

/* A client that said it serves: the answer comes when nothing of the range is under way, in its turn. */
static void
test_unmap_waits_for_who_serves(void **state)
{
	static const uint8_t unmap[] = {U32(24), U32(0), U64(IOVA), U64(0x1000)}, read[] = {U64(0), U32(0), U32(4)};
	struct access inside, outside;
	uint64_t words[2] = {0};
	struct asked asked[2];

	(void)state;
	begin(NULL, "\"ringpass.serve\":true");
	assert_int_equal(start(&inside, false, IOVA + 8, &words[0], 8), 0);
	assert_int_equal(start(&outside, false, IOVA + 0x1000, &words[1], 8), 0);
	asked[0] = take(11);
	asked[1] = take(11);
	assert_true(peer_command(&peer, 1, 3, COMMAND, unmap, sizeof(unmap), NULL, 0));
	assert_true(peer_command(&peer, 2, 9, COMMAND, read, sizeof(read), NULL, 0));
	assert_true(peer_is_silent(&peer));
	assert_int_equal(inside.ends, 0);
	/* Not of the range. */
	device_turn(&device);
	assert_true(peer_is_silent(&peer));
	assert_true(answer(&asked[0], IOVA + 8, 8, "abcdefgh", 8));
	assert_ended(&inside, 0);
	assert_true(peer_receive(&peer, &msg));
	assert_int_equal(msg.id, 1);
	assert_int_equal(msg.command, 3);
	assert_true(peer_receive(&peer, &msg));
	assert_int_equal(msg.id, 2);
	assert_true(answer(&asked[1], IOVA + 0x1000, 8, "abcdefgh", 8));
	assert_ended(&outside, 0);
}

static void
test_client_leaves(void **state)
{
	static struct access sent, waiting, late; /* the last one ends when the device does */
	static uint64_t words[3];

	(void)state;
	begin(NULL, "");
	assert_int_equal(start(&sent, false, IOVA, &words[0], 8), 0);
	(void)take(11);
	assert_int_equal(start(&waiting, true, IOVA, &words[1], 8), 0);
	peer_close(&peer);
	device_turn(&device);
	assert_ended(&sent, -ENOTCONN);
	assert_ended(&waiting, -ENOTCONN);
	assert_int_equal(start(&late, false, IOVA, &words[2], 8), -EFAULT);
	/* The next one starts with nothing of it. */
	begin(NULL, "");
	assert_true(peer_is_silent(&peer));
	assert_int_equal(start(&late, false, IOVA, &words[2], 8), 0);
	(void)take(11);
}

static void
test_client_that_never_answers(void **state)
{
	struct device_description description;
	struct access access;
	uint64_t word;

	(void)state;
	device_describe(&device, &description);
	description.config.dma_timeout_ms = 50;
	begin(&description, "");
	assert_int_equal(start(&access, false, IOVA, &word, 8), 0);
	(void)take(11);
	while (access.ends == 0) {
		struct pollfd server = {.fd = rp_vfu_server_fd(device.server), .events = POLLIN};

		assert_int_equal(poll(&server, 1, 10000), 1);
		device_turn(&device);
	}
	assert_ended(&access, -ENOTCONN);
	assert_non_null(strstr(device.last_disconnect.text, "did not answer a command for its memory"));
}

/* Both ends send more than the sockets take: answers are read although commands are not. */
static void
test_full_in_both_directions(void **state)
{
	static uint8_t bytes[8 << 20];
	static const uint8_t read[] = {U64(0x4000), U32(2), U32(0x2000)};
	unsigned int asked_count = 0, replied_count = 0, i;
	struct asked asked[16];
	struct access access;

	(void)state;
	begin(NULL, "\"max_data_xfer_size\":1048576");
	assert_int_equal(start(&access, false, IOVA, bytes, sizeof(bytes)), 0);
	for (i = 0; i < 8; i++)
		asked[asked_count++] = take(11);
	/* Its replies fill the socket, since nobody reads; a large answer is in the way of the next commands. */
	for (i = 0; i < 40; i++)
		assert_true(peer_command(&peer, (uint16_t)i, 9, COMMAND, read, sizeof(read), NULL, 0));
	for (i = 0; i < 8; i++) {
		uint8_t *data = calloc(1, 1 << 20);

		assert_non_null(data);
		memset(data, (int)i + 1, 1 << 20);
		while (replied_count < 5 * (i + 1)) {
			assert_true(peer_receive(&peer, &msg));
			assert_int_equal(msg.flags, REPLY);
			replied_count++;
		}
		assert_true(answer(&asked[i], asked[i].iova, 1 << 20, data, 1 << 20));
		free(data);
	}
	while (access.ends == 0)
		device_turn(&device);
	assert_ended(&access, 0);
	for (i = 0; i < 8; i++)
		assert_int_equal(bytes[(i << 20) + 77], i + 1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_read_vector, setup, teardown),
		cmocka_unit_test_setup_teardown(test_write_vector, setup, teardown),
		cmocka_unit_test_setup_teardown(test_pieces_are_pipelined, setup, teardown),
		cmocka_unit_test_setup_teardown(test_commands_in_flight_are_limited, setup, teardown),
		cmocka_unit_test_setup_teardown(test_no_command_before_an_answer_that_is_owed, setup, teardown),
		cmocka_unit_test_setup_teardown(test_errors_of_the_client, setup, teardown),
		cmocka_unit_test_setup_teardown(test_lies_end_the_connection, setup, teardown),
		cmocka_unit_test_setup_teardown(test_replies_too_short_or_with_descriptors, setup, teardown),
		cmocka_unit_test_setup_teardown(test_replies_of_nobody, setup, teardown),
		cmocka_unit_test_setup_teardown(test_cancelled, setup, teardown),
		cmocka_unit_test_setup_teardown(test_unmap_does_not_wait_for_the_client, setup, teardown),
		cmocka_unit_test_setup_teardown(test_unmap_waits_for_who_serves, setup, teardown),
		cmocka_unit_test_setup_teardown(test_client_leaves, setup, teardown),
		cmocka_unit_test_setup_teardown(test_client_that_never_answers, setup, teardown),
		cmocka_unit_test_setup_teardown(test_full_in_both_directions, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
