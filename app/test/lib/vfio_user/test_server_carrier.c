/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "carried.h"

/* Memory without a descriptor: the server's commands and their answers, byte by byte. */

#define IOVA CARRIED_IOVA
#define ASKED_MAX 80

static void
test_read_vector(void **state)
{
	static const uint8_t command[] = {U16(11), U32(32), U32(COMMAND), U32(0), U64(IOVA + 0x10), U64(4)};
	static const uint8_t data[] = {0xde, 0xad, 0xbe, 0xef};
	struct access access;
	struct asked asked;
	uint8_t bytes[4] = {0};

	(void)state;
	carried_begin(NULL, "");
	assert_int_equal(carried_start(&access, false, IOVA + 0x10, bytes, sizeof(bytes)), 0);
	assert_int_equal(access.ends, 0);
	asked = carried_take(11);
	assert_int_equal(carried.msg.size_bytes, 32);
	assert_memory_equal(carried.msg.bytes + 2, command, sizeof(command));
	assert_int_equal(carried.msg.fds_count, 0);
	assert_true(carried_answer(&asked, asked.iova, 4, data, 4));
	carried_ended(&access, 0);
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
	carried_begin(NULL, "");
	assert_int_equal(carried_start(&access, true, IOVA, bytes, sizeof(bytes)), 0);
	asked = carried_take(12);
	assert_int_equal(carried.msg.size_bytes, 35);
	assert_memory_equal(carried.msg.bytes + 2, command, sizeof(command));
	assert_true(carried_answer(&asked, IOVA, 3, NULL, 0));
	carried_ended(&access, 0);
	/* With the count of 4 bytes that the specification's table has. */
	assert_int_equal(carried_start(&access, true, IOVA, bytes, sizeof(bytes)), 0);
	asked = carried_take(12);
	assert_true(peer_command(&carried.peer, asked.id, 12, REPLY, short_reply, sizeof(short_reply), NULL, 0));
	device_turn(&carried.device);
	carried_ended(&access, 0);
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
	carried_begin(NULL, "\"max_data_xfer_size\":4096");
	for (i = 0; i < bytes_count; i++)
		memory[i] = (uint8_t)(i * 13 + i / 256);
	assert_int_equal(carried_start(&access, false, IOVA, bytes, bytes_count), 0);
	for (i = 0; i < 6; i++) {
		asked[i] = carried_take(11);
		assert_int_equal(asked[i].iova, IOVA + i * 4096);
		assert_int_equal(asked[i].count, i < 5 ? 4096 : 100);
	}
	assert_true(peer_is_silent(&carried.peer));
	for (i = 6; i-- > 0;) {
		assert_int_equal(access.ends, 0);
		assert_true(
			carried_answer(&asked[i], asked[i].iova, asked[i].count, memory + i * 4096, asked[i].count));
	}
	carried_ended(&access, 0);
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
		device_describe(&carried.device, &description);
		description.config.dma_commands_max = count == 64 ? 0 : count;
		carried_begin(&description, "");
		for (i = 0; i < ASKED_MAX; i++)
			assert_int_equal(carried_start(&accesses[i], false, IOVA + i * 8, &words[i], 8), 0);
		for (i = 0; i < count; i++)
			asked[i] = carried_take(11);
		assert_true(peer_is_silent(&carried.peer));
		/* A place that is free again is used again, under another id. */
		for (i = count; i < ASKED_MAX; i++) {
			uint16_t id = asked[i % count].id;
			uint64_t word = i;

			assert_true(carried_answer(&asked[i % count], asked[i % count].iova, 8, &word, 8));
			asked[i % count] = carried_take(11);
			assert_int_not_equal(asked[i % count].id, id);
			assert_true(peer_is_silent(&carried.peer));
		}
		peer_close(&carried.peer);
		carried.peer.fd = -1;
		device_turn(&carried.device);
		for (i = 0; i < ASKED_MAX; i++)
			carried_ended(&accesses[i], i < ASKED_MAX - count ? 0 : -ENOTCONN);
	}
}

/* As a client answers that has read them all before: whoever polls the server calls it until the rest is sent. */
static void
test_answers_to_all_in_flight_come_at_once(void **state)
{
	struct pollfd server = {.events = POLLIN}, client = {.events = POLLIN};
	static struct access accesses[ASKED_MAX];
	static uint64_t words[ASKED_MAX];
	struct asked asked[64];
	unsigned int i;

	(void)state;
	carried_begin(NULL, "");
	server.fd = rp_vfu_server_fd(carried.device.server);
	client.fd = carried.peer.fd;
	for (i = 0; i < ASKED_MAX; i++)
		assert_int_equal(carried_start(&accesses[i], false, IOVA + i * 8, &words[i], 8), 0);
	for (i = 0; i < 64; i++)
		asked[i] = carried_take(11);
	assert_true(peer_is_silent(&carried.peer));
	for (i = 0; i < 64; i++) {
		const uint8_t payload[] = {U64(asked[i].iova), U64(8), U64(i)};

		assert_true(peer_command(&carried.peer, asked[i].id, 11, REPLY, payload, sizeof(payload), NULL, 0));
	}
	while (poll(&server, 1, 0) == 1)
		device_turn(&carried.device);
	assert_int_equal(poll(&client, 1, 0), 1);
	for (i = 64; i < ASKED_MAX; i++) {
		struct asked rest = carried_take(11);

		assert_true(carried_answer(&rest, rest.iova, 8, &rest.iova, 8));
	}
	for (i = 0; i < ASKED_MAX; i++)
		carried_ended(&accesses[i], 0);
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
	carried_begin(NULL, "");
	for (i = 0; i < 100; i++)
		assert_true(peer_command(&carried.peer, (uint16_t)i, 9, COMMAND, read, sizeof(read), NULL, 0));
	assert_int_equal(carried_start(&access, false, IOVA, &word, 8), 0);
	for (i = 0; i < 100; i++) {
		assert_true(peer_receive(&carried.peer, &carried.msg));
		assert_int_equal(carried.msg.flags, REPLY);
		assert_int_equal(carried.msg.id, i);
	}
	(void)carried_take(11);
}

/* An id that is not under way, the other command's, one that was answered already. */
static void
test_replies_of_nobody(void **state)
{
	uint8_t bytes[24] = {0};
	struct access access;
	struct asked asked, other;

	(void)state;
	carried_begin(NULL, "");
	assert_int_equal(carried_start(&access, false, IOVA, bytes, 8), 0);
	asked = carried_take(11);
	other = asked;
	other.id ^= 0x100;
	assert_true(carried_answer(&other, IOVA, 8, bytes, 8));
	other.id = asked.id ^ 1;
	assert_true(carried_answer(&other, IOVA, 8, bytes, 8));
	other.id = asked.id;
	other.command = 12;
	assert_true(carried_answer(&other, IOVA, 8, NULL, 0));
	assert_int_equal(access.ends, 0);
	assert_int_equal(carried.device.refusals, 3);
	assert_true(carried_answer(&asked, IOVA, 8, bytes, 8));
	carried_ended(&access, 0);
	assert_true(carried_answer(&asked, IOVA, 8, bytes, 8));
	assert_int_equal(carried.device.refusals, 4);
	assert_true(rp_vfu_server_connected(carried.device.server));
}

static void
test_cancelled(void **state)
{
	struct access access, next;
	struct asked asked, later;
	uint64_t word = 7, value = 9;

	(void)state;
	carried_begin(NULL, "");
	/* Before it was sent ... */
	assert_int_equal(carried_start(&access, false, IOVA, &word, 8), 0);
	rp_dma_io_cancel(&access.io);
	assert_true(peer_is_silent(&carried.peer));
	/* ... and after: the answer changes nothing, and is nobody else's. */
	assert_int_equal(carried_start(&access, false, IOVA, &word, 8), 0);
	asked = carried_take(11);
	rp_dma_io_cancel(&access.io);
	assert_int_equal(carried_start(&next, false, IOVA, &value, 8), 0);
	later = carried_take(11);
	assert_true(carried_answer(&asked, IOVA, 8, "abcdefgh", 8));
	assert_int_equal(word, 7);
	assert_int_equal(access.ends, 0);
	assert_int_equal(next.ends, 0);
	assert_int_equal(carried.device.refusals, 0);
	assert_true(carried_answer(&later, IOVA, 8, "abcdefgh", 8));
	carried_ended(&next, 0);
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
	carried_begin(NULL, "");
	assert_int_equal(carried_start(&inside, false, IOVA + 8, &words[0], 8), 0);
	assert_int_equal(carried_start(&outside, false, IOVA + 0x1000, &words[1], 8), 0);
	asked[0] = carried_take(11);
	asked[1] = carried_take(11);
	assert_int_equal(device_ask(&carried.peer, 3, unmap, sizeof(unmap), NULL, 0, &carried.reply), 0);
	assert_memory_equal(carried.reply.payload, unmap, sizeof(unmap));
	carried_ended(&inside, -ECANCELED);
	assert_int_equal(carried_start(&late, false, IOVA + 8, &words[2], 8), -EFAULT);
	assert_true(carried_answer(&asked[0], IOVA + 8, 8, "abcdefgh", 8));
	assert_int_equal(words[0], 0);
	assert_int_equal(carried.device.refusals, 0);
	assert_true(carried_answer(&asked[1], IOVA + 0x1000, 8, "abcdefgh", 8));
	carried_ended(&outside, 0);
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
	carried_begin(NULL, "\"ringpass.serve\":true");
	assert_int_equal(carried_start(&inside, false, IOVA + 8, &words[0], 8), 0);
	assert_int_equal(carried_start(&outside, false, IOVA + 0x1000, &words[1], 8), 0);
	asked[0] = carried_take(11);
	asked[1] = carried_take(11);
	assert_true(peer_command(&carried.peer, 1, 3, COMMAND, unmap, sizeof(unmap), NULL, 0));
	assert_true(peer_command(&carried.peer, 2, 9, COMMAND, read, sizeof(read), NULL, 0));
	assert_true(peer_is_silent(&carried.peer));
	assert_int_equal(inside.ends, 0);
	/* Not of the range. */
	device_turn(&carried.device);
	assert_true(peer_is_silent(&carried.peer));
	assert_true(carried_answer(&asked[0], IOVA + 8, 8, "abcdefgh", 8));
	carried_ended(&inside, 0);
	assert_true(peer_receive(&carried.peer, &carried.msg));
	assert_int_equal(carried.msg.id, 1);
	assert_int_equal(carried.msg.command, 3);
	assert_true(peer_receive(&carried.peer, &carried.msg));
	assert_int_equal(carried.msg.id, 2);
	assert_true(carried_answer(&asked[1], IOVA + 0x1000, 8, "abcdefgh", 8));
	carried_ended(&outside, 0);
}

static void
test_client_leaves(void **state)
{
	static struct access sent, waiting, late; /* the last one ends when the device does */
	static uint64_t words[3];

	(void)state;
	carried_begin(NULL, "");
	assert_int_equal(carried_start(&sent, false, IOVA, &words[0], 8), 0);
	(void)carried_take(11);
	assert_int_equal(carried_start(&waiting, true, IOVA, &words[1], 8), 0);
	peer_close(&carried.peer);
	device_turn(&carried.device);
	carried_ended(&sent, -ENOTCONN);
	carried_ended(&waiting, -ENOTCONN);
	assert_int_equal(carried_start(&late, false, IOVA, &words[2], 8), -EFAULT);
	/* The next one starts with nothing of it. */
	carried_begin(NULL, "");
	assert_true(peer_is_silent(&carried.peer));
	assert_int_equal(carried_start(&late, false, IOVA, &words[2], 8), 0);
	(void)carried_take(11);
}

static void
test_client_that_never_answers(void **state)
{
	struct device_description description;
	struct access access;
	uint64_t word;

	(void)state;
	device_describe(&carried.device, &description);
	description.config.dma_timeout_ms = 50;
	carried_begin(&description, "");
	assert_int_equal(carried_start(&access, false, IOVA, &word, 8), 0);
	(void)carried_take(11);
	while (access.ends == 0) {
		struct pollfd server = {.fd = rp_vfu_server_fd(carried.device.server), .events = POLLIN};

		assert_int_equal(poll(&server, 1, 10000), 1);
		device_turn(&carried.device);
	}
	carried_ended(&access, -ENOTCONN);
	assert_non_null(strstr(carried.device.last_disconnect.text, "did not answer a command for its memory"));
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
	carried_begin(NULL, "\"max_data_xfer_size\":1048576");
	assert_int_equal(carried_start(&access, false, IOVA, bytes, sizeof(bytes)), 0);
	for (i = 0; i < 8; i++)
		asked[asked_count++] = carried_take(11);
	/* Its replies fill the socket, since nobody reads; a large answer is in the way of the next commands. */
	for (i = 0; i < 40; i++)
		assert_true(peer_command(&carried.peer, (uint16_t)i, 9, COMMAND, read, sizeof(read), NULL, 0));
	for (i = 0; i < 8; i++) {
		uint8_t *data = calloc(1, 1 << 20);

		assert_non_null(data);
		memset(data, (int)i + 1, 1 << 20);
		while (replied_count < 5 * (i + 1)) {
			assert_true(peer_receive(&carried.peer, &carried.msg));
			assert_int_equal(carried.msg.flags, REPLY);
			replied_count++;
		}
		assert_true(carried_answer(&asked[i], asked[i].iova, 1 << 20, data, 1 << 20));
		free(data);
	}
	while (access.ends == 0)
		device_turn(&carried.device);
	carried_ended(&access, 0);
	for (i = 0; i < 8; i++)
		assert_int_equal(bytes[(i << 20) + 77], i + 1);
}

struct quitter {
	pthread_t thread;
	unsigned int seed;
	unsigned int cancelled;
	unsigned int touched; /* after it had been given up */
	int stop;
};

/* Starts large reads and gives them up again, before, while and after they are answered. */
static void *
start_and_cancel(void *arg)
{
	static uint8_t bytes[0x8000];
	struct rp_dma_space *space = rp_vfu_server_dma(carried.device.server);
	struct rp_dma_segment segment = {.iova = IOVA, .size_bytes = sizeof(bytes), .bytes = bytes};
	struct quitter *quitter = arg;

	while (quitter->cancelled < 2000 && __atomic_load_n(&quitter->stop, __ATOMIC_ACQUIRE) == 0) {
		struct rp_dma_io io = {.segments = &segment, .segments_count = 1};

		if (rp_dma_io_submit(space, &io) < 0)
			break;
		usleep((unsigned int)rand_r(&quitter->seed) % 60);
		rp_dma_io_cancel(&io);
		(void)rp_dma_io_wait(&io);
		quitter->cancelled++;
		memset(bytes, 0x11, sizeof(bytes));
		sched_yield();
		quitter->touched += bytes[0] != 0x11 || bytes[sizeof(bytes) - 1] != 0x11;
	}
	return NULL;
}

/* Nothing is written to memory that was taken back, whatever the answer was doing then. */
static void
test_cancel_races_with_answers(void **state)
{
	static uint8_t answer[32 + 0x8000] = {HEADER(0, 11, 32 + 0x8000, REPLY, 0), U64(IOVA), U64(0x8000)};
	struct quitter quitter = {.seed = 1};
	unsigned int answers = 0;

	(void)state;
	carried_begin(NULL, "");
	memset(answer + 32, 0x5a, 0x8000);
	assert_int_equal(pthread_create(&quitter.thread, NULL, start_and_cancel, &quitter), 0);
	while (pthread_tryjoin_np(quitter.thread, NULL) == EBUSY) {
		device_turn(&carried.device);
		if (peer_is_silent(&carried.peer))
			continue;
		assert_true(peer_receive(&carried.peer, &carried.msg));
		memcpy(answer, &carried.msg.id, 2);
		assert_true(peer_send(&carried.peer, answer, 10000, NULL, 0));
		device_turn(&carried.device);
		assert_true(peer_send(&carried.peer, answer + 10000, sizeof(answer) - 10000, NULL, 0));
		answers++;
	}
	assert_int_equal(quitter.cancelled, 2000);
	assert_int_equal(quitter.touched, 0);
	assert_true(answers > 0);
	assert_int_equal(carried.device.refusals, 0);
}

/*
 * A write that the socket takes half of: the rest comes out of the device's memory, until
 * the device has it back. What has begun to leave arrives as it was all the same.
 */
static void
half_sent(bool cancelled)
{
	const uint32_t bytes_count = 1024 * 1024;
	uint8_t *bytes = malloc(bytes_count), *expected = malloc(bytes_count);
	static struct access accesses[4];
	unsigned int i;

	assert_non_null(bytes);
	assert_non_null(expected);
	carried_begin(NULL, "\"max_data_xfer_size\":1048576");
	for (i = 0; i < bytes_count; i++)
		expected[i] = (uint8_t)(i * 11 + i / 251);
	memcpy(bytes, expected, bytes_count);
	/* More than any socket takes. */
	for (i = 0; i < 4; i++)
		assert_int_equal(carried_start(&accesses[i], true, IOVA, bytes, bytes_count), 0);
	device_turn(&carried.device);
	if (cancelled) {
		for (i = 0; i < 4; i++)
			rp_dma_io_cancel(&accesses[i].io);
		memset(bytes, 0xee, bytes_count);
	}
	/* Those that had begun to leave are whole; which they were is the kernel's. */
	for (i = 0; i < 4 && (!cancelled || !peer_is_silent(&carried.peer)); i++) {
		struct asked asked = carried_take(12);

		assert_int_equal(carried.msg.payload_bytes, 16 + bytes_count);
		assert_memory_equal(carried.msg.payload + 16, expected, bytes_count);
		assert_true(carried_answer(&asked, IOVA, bytes_count, NULL, 0));
	}
	assert_true(i > 0);
	for (i = 0; i < 4; i++)
		assert_int_equal(accesses[i].ends, cancelled ? 0 : 1);
	assert_true(rp_vfu_server_connected(carried.device.server));
	free(expected);
	free(bytes);
}

static void
test_half_sent_write(void **state)
{
	(void)state;
	half_sent(false);
}

static void
test_half_sent_write_is_cancelled(void **state)
{
	(void)state;
	half_sent(true);
}

/* Its client leaves, and nothing of it is left. */
static void
test_half_sent_write_of_a_client_that_leaves(void **state)
{
	const uint32_t bytes_count = 4 * 1024 * 1024;
	uint8_t *bytes = calloc(1, bytes_count);
	struct access access;

	(void)state;
	assert_non_null(bytes);
	carried_begin(NULL, "\"max_data_xfer_size\":1048576");
	assert_int_equal(carried_start(&access, true, IOVA, bytes, bytes_count), 0);
	device_turn(&carried.device);
	carried_leave();
	carried_ended(&access, -ENOTCONN);
	free(bytes);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_read_vector, carried_setup, carried_teardown),
		cmocka_unit_test_setup_teardown(test_write_vector, carried_setup, carried_teardown),
		cmocka_unit_test_setup_teardown(test_pieces_are_pipelined, carried_setup, carried_teardown),
		cmocka_unit_test_setup_teardown(test_commands_in_flight_are_limited, carried_setup, carried_teardown),
		cmocka_unit_test_setup_teardown(test_answers_to_all_in_flight_come_at_once, carried_setup,
						carried_teardown),
		cmocka_unit_test_setup_teardown(test_no_command_before_an_answer_that_is_owed, carried_setup,
						carried_teardown),
		cmocka_unit_test_setup_teardown(test_replies_of_nobody, carried_setup, carried_teardown),
		cmocka_unit_test_setup_teardown(test_cancelled, carried_setup, carried_teardown),
		cmocka_unit_test_setup_teardown(test_unmap_does_not_wait_for_the_client, carried_setup,
						carried_teardown),
		cmocka_unit_test_setup_teardown(test_unmap_waits_for_who_serves, carried_setup, carried_teardown),
		cmocka_unit_test_setup_teardown(test_client_leaves, carried_setup, carried_teardown),
		cmocka_unit_test_setup_teardown(test_client_that_never_answers, carried_setup, carried_teardown),
		cmocka_unit_test_setup_teardown(test_full_in_both_directions, carried_setup, carried_teardown),
		cmocka_unit_test_setup_teardown(test_cancel_races_with_answers, carried_setup, carried_teardown),
		cmocka_unit_test_setup_teardown(test_half_sent_write, carried_setup, carried_teardown),
		cmocka_unit_test_setup_teardown(test_half_sent_write_is_cancelled, carried_setup, carried_teardown),
		cmocka_unit_test_setup_teardown(test_half_sent_write_of_a_client_that_leaves, carried_setup,
						carried_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
