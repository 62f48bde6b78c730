/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "carried.h"

/* The second socket: the server's commands and their answers, and nothing else. */

#define IOVA CARRIED_IOVA
#define TWIN "\"twin_socket\":{\"supported\":true}"

static const uint8_t read_command[] = {U64(0x10), U32(0), U32(4)};
static const uint8_t unmap_command[] = {U32(24), U32(0), U64(IOVA), U64(0x1000)};

static uint32_t
version(const char *text, size_t text_bytes)
{
	uint8_t payload[256] = {U16(0), U16(1)};

	memcpy(payload + 4, text, text_bytes);
	device_connect(&carried.device, &carried.peer);
	return device_ask(&carried.peer, 1, payload, 4 + text_bytes, NULL, 0, &carried.reply);
}

static void
test_version_vector(void **state)
{
	static const char offer[] = "{\"capabilities\":{" TWIN "}}";
	static const char answer[] = "{\"capabilities\":{\"twin_socket\":{\"supported\":true,\"fd_index\":0}}}";
	socklen_t bytes = sizeof(int);
	int type = -1;

	(void)state;
	assert_int_equal(version(offer, sizeof(offer)), 0);
	assert_int_equal(carried.reply.payload_bytes, 4 + sizeof(answer));
	assert_memory_equal(carried.reply.payload + 4, answer, sizeof(answer));
	assert_int_equal(carried.reply.fds_count, 1);
	assert_int_equal(getsockopt(carried.reply.fds[0], SOL_SOCKET, SO_TYPE, &type, &bytes), 0);
	assert_int_equal(type, SOCK_STREAM);
	peer_msg_close(&carried.reply);
}

/* Who takes no descriptor, says false or leaves it out gets none: the answer is the specification's. */
static void
test_without_it(void **state)
{
	static const struct {
		const char *offer;
		const char *answer;
	} cases[] = {
		{"{\"capabilities\":{\"max_msg_fds\":0," TWIN "}}", "{\"capabilities\":{\"max_msg_fds\":0}}"},
		{"{\"capabilities\":{\"twin_socket\":{\"supported\":false}}}", "{\"capabilities\":{}}"},
		{"{\"capabilities\":{\"twin_socket\":{}}}", "{\"capabilities\":{}}"},
		{"{\"capabilities\":{}}", "{\"capabilities\":{}}"},
	};
	struct access access;
	uint64_t word;
	unsigned int i;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_int_equal(version(cases[i].offer, strlen(cases[i].offer) + 1), 0);
		assert_string_equal((char *)carried.reply.payload + 4, cases[i].answer);
		assert_int_equal(carried.reply.fds_count, 0);
		assert_int_equal(carried_map(3, IOVA, 0x1000), 0);
		assert_int_equal(carried_start(&access, false, IOVA, &word, 8), 0);
		(void)carried_take(11);
		carried_leave();
		carried_ended(&access, -ENOTCONN);
	}
}

/* Commands of the server's come there although the client waits for an answer here. */
static void
test_nothing_waits_for_the_other_socket(void **state)
{
	static uint8_t bytes[3 * 4096];
	struct access access;
	struct asked asked[3];
	unsigned int i;

	(void)state;
	carried_begin(NULL, TWIN ",\"max_data_xfer_size\":4096");
	assert_int_equal(carried_start(&access, false, IOVA, bytes, sizeof(bytes)), 0);
	/* Half a command: an answer that will be owed for as long as the rest takes. */
	assert_true(peer_send(&carried.peer, "\x01\x00\x09\x00", 4, NULL, 0));
	for (i = 0; i < 3; i++)
		asked[i] = carried_take(11);
	assert_true(peer_is_silent(&carried.peer));
	for (i = 0; i < 3; i++)
		assert_true(carried_answer(&asked[i], asked[i].iova, 4096, bytes, 4096));
	carried_ended(&access, 0);
	assert_true(rp_vfu_server_connected(carried.device.server));
}

/* The first socket is full of replies that nobody takes; the second one goes on. And the other way round. */
static void
test_full_sockets_do_not_hold_each_other(void **state)
{
	static const uint8_t big_read[] = {U64(0x4000), U32(2), U32(0x2000)};
	static uint8_t bytes[4 << 20];
	static struct access access, small; /* the first one ends when the device does */
	unsigned int i, count = 60;
	uint64_t word = 5;
	struct asked asked;

	(void)state;
	carried_begin(NULL, TWIN);
	for (i = 0; i < count; i++)
		assert_true(peer_command(&carried.peer, (uint16_t)i, 9, COMMAND, big_read, sizeof(big_read), NULL, 0));
	device_turn(&carried.device);
	assert_int_equal(carried_start(&small, true, IOVA, &word, 8), 0);
	asked = carried_take(12);
	assert_true(carried_answer(&asked, IOVA, 8, NULL, 0));
	carried_ended(&small, 0);
	/* Nobody reads the second one now. */
	assert_int_equal(carried_start(&access, true, IOVA, bytes, sizeof(bytes)), 0);
	for (i = 0; i < count; i++) {
		assert_true(peer_receive(&carried.peer, &carried.reply));
		assert_int_equal(carried.reply.id, i);
		assert_int_equal(carried.reply.payload_bytes, 16 + 0x2000);
	}
	assert_int_equal(access.ends, 0);
	carried_leave();
	carried_ended(&access, -ENOTCONN);
}

/* Answers belong on the second socket; on the first they are nobody's. */
static void
test_answers_on_the_wrong_socket(void **state)
{
	static uint8_t payload[24] = {U64(IOVA), U64(8)};
	struct access access;
	struct asked asked;
	uint64_t word = 0;

	(void)state;
	carried_begin(NULL, TWIN);
	assert_int_equal(carried_start(&access, false, IOVA, &word, 8), 0);
	asked = carried_take(11);
	assert_true(peer_command(&carried.peer, asked.id, 11, REPLY, payload, sizeof(payload), NULL, 0));
	assert_true(peer_is_silent(&carried.peer));
	assert_int_equal(access.ends, 0);
	assert_int_equal(carried.device.refusals, 1);
	assert_true(carried_answer(&asked, IOVA, 8, "abcdefgh", 8));
	carried_ended(&access, 0);
	assert_memory_equal(&word, "abcdefgh", 8);
}

/* What has no business there ends both. */
static void
test_what_ends_the_connection(void **state)
{
	enum { A_COMMAND, OF_NOBODY, TWICE, A_LIE, DESCRIPTOR, NO_FRAME, HALF, CLOSED, CASES };
	static const uint8_t no_frame[] = {HEADER(1, 11, 15, REPLY, 0)};
	struct access access, rest;
	struct asked asked, other;
	uint64_t word, more;
	int fd = test_memfd(4096, false);
	unsigned int i;

	(void)state;
	for (i = 0; i < CASES; i++) {
		carried_begin(NULL, TWIN);
		assert_int_equal(carried_start(&access, true, IOVA, &word, 8), 0);
		assert_int_equal(carried_start(&rest, false, IOVA, &more, 8), 0);
		asked = other = carried_take(12);
		(void)carried_take(11);
		other.id ^= 0x40;
		switch (i) {
		case A_COMMAND:
			(void)peer_command(&carried.twin, 1, 9, COMMAND, read_command, sizeof(read_command), NULL, 0);
			break;
		case OF_NOBODY:
			(void)carried_answer(&other, IOVA, 8, NULL, 0);
			break;
		case TWICE:
			(void)carried_answer(&asked, IOVA, 8, NULL, 0);
			(void)carried_answer(&asked, IOVA, 8, NULL, 0);
			break;
		case A_LIE:
			(void)carried_answer(&asked, IOVA, 9, NULL, 0);
			break;
		case DESCRIPTOR:
			(void)peer_command(&carried.twin, asked.id, 12, REPLY, &word, 8, &fd, 1);
			break;
		case NO_FRAME:
			(void)peer_send(&carried.twin, no_frame, sizeof(no_frame), NULL, 0);
			break;
		case HALF:
			(void)peer_send(&carried.twin, no_frame, 7, NULL, 0);
			peer_close(&carried.twin);
			break;
		case CLOSED:
			peer_close(&carried.twin);
			break;
		}
		device_turn(&carried.device);
		assert_false(rp_vfu_server_connected(carried.device.server));
		assert_false(peer_receive(&carried.peer, &carried.reply));
		carried_ended(&access, i == TWICE ? 0 : -ENOTCONN);
		carried_ended(&rest, -ENOTCONN);
		carried_leave();
		assert_int_equal(carried.device.disconnects, i + 1);
	}
	close(fd);
}

/* With the first socket goes the second one, and the next client has its own. */
static void
test_client_leaves(void **state)
{
	struct access access;
	uint64_t word;
	uint8_t byte;

	(void)state;
	carried_begin(NULL, TWIN);
	assert_int_equal(carried_start(&access, false, IOVA, &word, 8), 0);
	(void)carried_take(11);
	peer_close(&carried.peer);
	device_turn(&carried.device);
	carried_ended(&access, -ENOTCONN);
	assert_int_equal(recv(carried.twin.fd, &byte, 1, MSG_DONTWAIT), 0);
	carried_leave();
	carried_begin(NULL, TWIN);
	assert_true(carried_silent());
	assert_int_equal(carried_start(&access, false, IOVA, &word, 8), 0);
	(void)carried_take(11);
	carried_leave();
	/* And one that wants none gets its commands where it always did. */
	carried_begin(NULL, "");
	assert_int_equal(carried_start(&access, false, IOVA, &word, 8), 0);
	(void)carried_take(11);
	carried_leave();
}

/* The answer to an unmap says that nothing of the range is under way; accesses elsewhere do not hold it up. */
static void
test_unmap_waits_for_the_answers(void **state)
{
	struct access inside, outside, late;
	struct asked asked[2];
	uint64_t words[3];

	(void)state;
	carried_begin(NULL, TWIN);
	assert_int_equal(carried_start(&inside, true, IOVA + 0xff8, &words[0], 8), 0);
	assert_int_equal(carried_start(&outside, true, IOVA + 0x1000, &words[1], 8), 0);
	asked[0] = carried_take(12);
	asked[1] = carried_take(12);
	assert_true(peer_command(&carried.peer, 1, 3, COMMAND, unmap_command, sizeof(unmap_command), NULL, 0));
	assert_true(peer_is_silent(&carried.peer));
	assert_int_equal(inside.ends, 0);
	assert_int_equal(carried_start(&late, true, IOVA, &words[2], 8), -EFAULT);
	assert_true(carried_answer(&asked[0], IOVA + 0xff8, 8, NULL, 0));
	carried_ended(&inside, 0);
	assert_true(peer_receive(&carried.peer, &carried.reply));
	assert_int_equal(carried.reply.flags, REPLY);
	assert_memory_equal(carried.reply.payload, unmap_command, sizeof(unmap_command));
	assert_true(carried_answer(&asked[1], IOVA + 0x1000, 8, NULL, 0));
}

/* A client that lets its memory go and then answers nothing is not waited for for ever. */
static void
test_unmap_without_answers_has_an_end(void **state)
{
	struct device_description description;
	struct access access;
	uint64_t word;

	(void)state;
	device_describe(&carried.device, &description);
	description.config.dma_timeout_ms = 50;
	carried_begin(&description, TWIN);
	assert_int_equal(carried_start(&access, true, IOVA, &word, 8), 0);
	(void)carried_take(12);
	assert_true(peer_command(&carried.peer, 1, 3, COMMAND, unmap_command, sizeof(unmap_command), NULL, 0));
	while (access.ends == 0) {
		struct pollfd server = {.fd = rp_vfu_server_fd(carried.device.server), .events = POLLIN};

		assert_int_equal(poll(&server, 1, 10000), 1);
		device_turn(&carried.device);
	}
	carried_ended(&access, -ENOTCONN);
	assert_false(rp_vfu_server_connected(carried.device.server));
	assert_non_null(strstr(carried.device.last_disconnect.text, "did not answer a command for its memory"));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_version_vector, carried_setup, carried_teardown),
		cmocka_unit_test_setup_teardown(test_without_it, carried_setup, carried_teardown),
		cmocka_unit_test_setup_teardown(test_nothing_waits_for_the_other_socket, carried_setup,
						carried_teardown),
		cmocka_unit_test_setup_teardown(test_full_sockets_do_not_hold_each_other, carried_setup,
						carried_teardown),
		cmocka_unit_test_setup_teardown(test_answers_on_the_wrong_socket, carried_setup, carried_teardown),
		cmocka_unit_test_setup_teardown(test_what_ends_the_connection, carried_setup, carried_teardown),
		cmocka_unit_test_setup_teardown(test_client_leaves, carried_setup, carried_teardown),
		cmocka_unit_test_setup_teardown(test_unmap_waits_for_the_answers, carried_setup, carried_teardown),
		cmocka_unit_test_setup_teardown(test_unmap_without_answers_has_an_end, carried_setup, carried_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
