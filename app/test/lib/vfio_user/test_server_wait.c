/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "carried.h"
#include "rp_wire_clock.h"

/* A device whose thread does nothing but rp_vfu_server_wait(), and a client in this one. */

#define IOVA CARRIED_IOVA
#define READ 9
#define LIMIT_MS 20000u

static const uint8_t read_command[] = {U64(0x10), U32(0), U32(4)};
static pthread_t thread;
static atomic_bool stop;

static void *
serve(void *ctx)
{
	(void)ctx;
	while (!atomic_load(&stop))
		assert_int_equal(rp_vfu_server_wait(carried.device.server, 50), 0);
	return NULL;
}

/* The thread has the server from here on. */
static void
start(const struct device_description *description)
{
	carried_begin(description, "");
	carried.peer.turn = NULL;
	atomic_store(&stop, false);
	assert_int_equal(pthread_create(&thread, NULL, serve, NULL), 0);
}

static void
end(void)
{
	atomic_store(&stop, true);
	assert_int_equal(pthread_join(thread, NULL), 0);
	carried.peer.turn = device_turn;
}

static void
read_register(struct peer *peer)
{
	assert_int_equal(device_ask(peer, READ, read_command, sizeof(read_command), NULL, 0, &carried.reply), 0);
	assert_int_equal(carried.reply.payload_bytes, sizeof(read_command) + 4);
}

static void
speak(unsigned int count)
{
	while (count-- > 0)
		read_register(&carried.peer);
}

static void
test_nobody_is_there(void **state)
{
	(void)state;
	assert_int_equal(rp_vfu_server_wait(carried.device.server, 0), 0);
	assert_int_equal(rp_vfu_server_wait(carried.device.server, 1), 0);
}

static void
test_commands_are_answered(void **state)
{
	(void)state;
	start(NULL);
	speak(500);
	end();
}

static void
test_commands_that_come_together(void **state)
{
	static const uint8_t two[] = {HEADER(7, 13, 16, COMMAND, 0), HEADER(8, 9, 32, COMMAND, 0), U64(0x10), U32(0),
				      U32(4)};
	unsigned int i;

	(void)state;
	start(NULL);
	for (i = 0; i < 100; i++) {
		assert_true(peer_send(&carried.peer, two, sizeof(two), NULL, 0));
		assert_true(peer_receive(&carried.peer, &carried.reply));
		assert_int_equal(carried.reply.id, 7);
		assert_true(peer_receive(&carried.peer, &carried.reply));
		assert_int_equal(carried.reply.id, 8);
	}
	end();
	assert_int_equal(carried.device.resets, 100);
}

/* Half of one wakes the thread as well as a whole one. */
static void
test_a_command_in_two_halves(void **state)
{
	static const uint8_t command[] = {HEADER(7, 9, 32, COMMAND, 0), U64(0x10), U32(0), U32(4)};
	unsigned int i;

	(void)state;
	start(NULL);
	speak(5);
	for (i = 1; i < sizeof(command); i++) {
		assert_true(peer_send(&carried.peer, command, i, NULL, 0));
		assert_true(peer_send(&carried.peer, command + i, sizeof(command) - i, NULL, 0));
		assert_true(peer_receive(&carried.peer, &carried.reply));
		assert_int_equal(carried.reply.id, 7);
	}
	end();
}

static void
test_second_client_is_turned_away_while_the_first_speaks(void **state)
{
	struct peer second = {.fd = -1};

	(void)state;
	start(NULL);
	speak(5);
	peer_connect(&second, test_socket_path());
	assert_false(peer_receive(&second, &carried.msg));
	peer_close(&second);
	speak(5);
	end();
	assert_int_equal(carried.device.last_refusal.error, -EBUSY);
}

static void
test_a_client_that_leaves_and_the_next_one(void **state)
{
	unsigned int i;

	(void)state;
	start(NULL);
	for (i = 0; i < 3; i++) {
		speak(5);
		peer_close(&carried.peer);
		peer_connect(&carried.peer, test_socket_path());
		device_negotiate(&carried.peer);
	}
	speak(5);
	end();
	assert_int_equal(carried.device.disconnects, 3);
	assert_int_equal(carried.device.connects, 4);
}

/* The thread sleeps in a read when it comes, and nothing of the client's will wake it. */
static void
test_another_thread_submits(void **state)
{
	uint8_t bytes[8] = {0};
	struct rp_dma_segment segment = {.iova = IOVA, .size_bytes = sizeof(bytes), .bytes = bytes};
	static const uint8_t answer[] = {U64(IOVA), U64(sizeof(bytes)), 1, 2, 3, 4, 5, 6, 7, 8};
	unsigned int i;

	(void)state;
	start(NULL);
	for (i = 0; i < 20; i++) {
		struct rp_dma_io io = {.segments = &segment, .segments_count = 1};
		struct asked asked;

		speak(3);
		assert_int_equal(rp_dma_io_submit(rp_vfu_server_dma(carried.device.server), &io), 0);
		asked = carried_take(11);
		assert_true(peer_command(&carried.peer, asked.id, 11, REPLY, answer, sizeof(answer), NULL, 0));
		assert_int_equal(rp_dma_io_wait(&io), 0);
		assert_memory_equal(bytes, answer + 16, sizeof(bytes));
		memset(bytes, 0, sizeof(bytes));
	}
	end();
}

/* However much it speaks otherwise. */
static void
test_a_client_that_does_not_answer_loses_its_time(void **state)
{
	uint8_t bytes[8];
	struct rp_dma_segment segment = {.iova = IOVA, .size_bytes = sizeof(bytes), .bytes = bytes};
	struct rp_dma_io io = {.segments = &segment, .segments_count = 1};
	struct device_description description;
	uint64_t until_ms = rp_wire_clock_ms() + LIMIT_MS;

	(void)state;
	device_describe(&carried.device, &description);
	description.config.dma_timeout_ms = 200;
	start(&description);
	speak(3);
	assert_int_equal(rp_dma_io_submit(rp_vfu_server_dma(carried.device.server), &io), 0);
	(void)carried_take(11);
	while (peer_command(&carried.peer, 3, READ, COMMAND, read_command, sizeof(read_command), NULL, 0) &&
	       peer_receive(&carried.peer, &carried.reply))
		assert_true(rp_wire_clock_ms() < until_ms);
	assert_int_equal(rp_dma_io_wait(&io), -ENOTCONN);
	end();
	assert_non_null(strstr(carried.device.last_disconnect.text, "did not answer"));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_nobody_is_there, carried_setup, carried_teardown),
		cmocka_unit_test_setup_teardown(test_commands_are_answered, carried_setup, carried_teardown),
		cmocka_unit_test_setup_teardown(test_commands_that_come_together, carried_setup, carried_teardown),
		cmocka_unit_test_setup_teardown(test_a_command_in_two_halves, carried_setup, carried_teardown),
		cmocka_unit_test_setup_teardown(test_second_client_is_turned_away_while_the_first_speaks, carried_setup,
						carried_teardown),
		cmocka_unit_test_setup_teardown(test_a_client_that_leaves_and_the_next_one, carried_setup,
						carried_teardown),
		cmocka_unit_test_setup_teardown(test_another_thread_submits, carried_setup, carried_teardown),
		cmocka_unit_test_setup_teardown(test_a_client_that_does_not_answer_loses_its_time, carried_setup,
						carried_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
