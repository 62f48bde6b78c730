/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>

#include "carried.h"

/* Answers that the device puts off. */

#define IOVA CARRIED_IOVA
#define WRITE 10
#define RESET 13
#define LATER (-EINPROGRESS)

static const uint8_t read_command[] = {U64(0x10), U32(0), U32(4)};
static const uint8_t write_command[] = {U64(0x10), U32(0), U32(4), 1, 2, 3, 4};

static void
ask(uint16_t id, uint16_t command, uint32_t flags, const void *payload, size_t payload_bytes)
{
	assert_true(peer_command(&carried.peer, id, command, flags, payload, payload_bytes, NULL, 0));
}

/* The next message is the reply of this id. @return its error. */
static uint32_t
hear(uint16_t id)
{
	assert_true(peer_receive(&carried.peer, &carried.reply));
	assert_int_equal(carried.reply.id, id);
	assert_int_equal(carried.reply.flags & 0xf, REPLY);
	return carried.reply.error;
}

static bool
silent(void)
{
	return peer_is_silent(&carried.peer);
}

static uint64_t
number(void)
{
	return rp_vfu_server_command_number(carried.device.server);
}

static int
give(uint64_t command_number, int error, const void *bytes)
{
	return rp_vfu_server_answer(carried.device.server, command_number, error, bytes);
}

/* A device whose region is also written late. */
static void
begin(const char *capabilities)
{
	struct device_description description;

	device_describe(&carried.device, &description);
	description.config.late_writes = true;
	carried_begin(&description, capabilities);
	carried.device.fail_with = LATER;
}

/* What stands behind it does not begin. */
static void
test_order_is_kept(void **state)
{
	(void)state;
	begin("");
	ask(7, WRITE, COMMAND, write_command, sizeof(write_command));
	ask(8, RESET, COMMAND, NULL, 0);
	assert_true(silent());
	assert_int_equal(carried.device.resets, 0);
	carried.device.fail_with = 0;
	assert_int_equal(give(number(), 0, NULL), 0);
	assert_int_equal(hear(7), 0);
	assert_int_equal(hear(8), 0);
	assert_int_equal(carried.device.resets, 1);
	assert_int_equal(carried.device.refusals, 0);
}

static void
test_reads_and_writes_are_answered_later(void **state)
{
	static const uint8_t read_reply[] = {HEADER(1, 9, 36, REPLY, 0), U64(0x10), U32(0), U32(4), 9, 8, 7, 6};
	static const uint8_t write_reply[] = {HEADER(2, 10, 32, REPLY, 0), U64(0x10), U32(0), U32(4)};
	uint8_t bytes[] = {9, 8, 7, 6};

	(void)state;
	begin("");
	ask(1, 9, COMMAND, read_command, sizeof(read_command));
	assert_true(silent());
	assert_int_equal(give(number(), 0, NULL), -EINVAL);
	assert_int_equal(give(number(), 1, bytes), -EINVAL);
	assert_int_equal(give(number(), LATER, bytes), -EINVAL);
	assert_int_equal(give(number(), 0, bytes), 0);
	/* They were copied. */
	memset(bytes, 0, sizeof(bytes));
	assert_int_equal(hear(1), 0);
	assert_int_equal(carried.reply.size_bytes, sizeof(read_reply));
	assert_memory_equal(carried.reply.bytes, read_reply, sizeof(read_reply));
	ask(2, 10, COMMAND, write_command, sizeof(write_command));
	assert_true(silent());
	assert_int_equal(give(number(), 0, NULL), 0);
	assert_int_equal(hear(2), 0);
	assert_memory_equal(carried.reply.bytes, write_reply, sizeof(write_reply));
}

static void
test_errors_that_come_later(void **state)
{
	static const uint8_t expected[] = {HEADER(3, 9, 16, ERROR_REPLY, EIO)};
	uint8_t bytes[4] = {0};

	(void)state;
	begin("");
	ask(3, 9, COMMAND, read_command, sizeof(read_command));
	assert_true(silent());
	assert_int_equal(give(number(), -EIO, bytes), 0);
	assert_int_equal(hear(3), EIO);
	assert_int_equal(carried.reply.size_bytes, 16);
	assert_memory_equal(carried.reply.bytes, expected, sizeof(expected));
	assert_int_equal(carried.device.refusals, 1);
	ask(4, WRITE, COMMAND, write_command, sizeof(write_command));
	assert_true(silent());
	assert_int_equal(give(number(), -EBUSY, NULL), 0);
	assert_int_equal(hear(4), EBUSY);
	assert_int_equal(carried.device.refusals, 2);
}

/* Another number, the same twice, one that was answered at once. */
static void
test_answers_to_nobody(void **state)
{
	(void)state;
	begin("");
	assert_int_equal(give(0, 0, NULL), -ENOENT);
	ask(1, WRITE, COMMAND, write_command, sizeof(write_command));
	assert_true(silent());
	assert_int_equal(give(number() + 1, 0, NULL), -ENOENT);
	assert_int_equal(give(number() - 1, 0, NULL), -ENOENT);
	assert_int_equal(give(number(), 0, NULL), 0);
	assert_int_equal(give(number(), 0, NULL), -ENOENT);
	assert_int_equal(hear(1), 0);
	assert_int_equal(give(number(), 0, NULL), -ENOENT);
	carried.device.fail_with = 0;
	ask(2, WRITE, COMMAND, write_command, sizeof(write_command));
	assert_int_equal(hear(2), 0);
	assert_int_equal(give(number(), 0, NULL), -ENOENT);
	assert_true(silent());
}

/* Who does not wait for an answer gets none, but waits for the command all the same. */
static void
test_posted_write(void **state)
{
	(void)state;
	begin("");
	ask(1, 10, NO_REPLY, write_command, sizeof(write_command));
	ask(2, WRITE, COMMAND, write_command, sizeof(write_command));
	assert_true(silent());
	assert_int_equal(give(number(), -EIO, NULL), 0);
	assert_true(silent());
	assert_int_equal(carried.device.refusals, 1);
	assert_int_equal(give(number(), 0, NULL), 0);
	assert_int_equal(hear(2), 0);
}

/* Its answer comes when nobody is there any more, or somebody else. */
static void
test_client_that_leaves_meanwhile(void **state)
{
	uint64_t old;

	(void)state;
	begin("");
	ask(1, WRITE, COMMAND, write_command, sizeof(write_command));
	assert_true(silent());
	old = number();
	carried_leave();
	assert_int_equal(carried.device.disconnects, 1);
	assert_int_equal(give(old, 0, NULL), -ENOENT);
	carried_begin(NULL, "");
	ask(2, WRITE, COMMAND, write_command, sizeof(write_command));
	assert_true(silent());
	assert_int_equal(give(old, 0, NULL), -ENOENT);
	assert_true(silent());
	assert_int_equal(give(number(), 0, NULL), 0);
	assert_int_equal(hear(2), 0);
	/* And with an answer that was given, and not looked at yet. */
	ask(3, 9, COMMAND, read_command, sizeof(read_command));
	assert_true(silent());
	assert_int_equal(give(number(), 0, read_command), 0);
	carried_leave();
	assert_int_equal(carried.device.disconnects, 2);
}

/* A device that never answers does not keep the server from ending. */
static void
test_destroy_with_an_answer_owed(void **state)
{
	(void)state;
	begin("");
	ask(1, WRITE, COMMAND, write_command, sizeof(write_command));
	assert_true(silent());
}

static void *
answer_from_elsewhere(void *arg)
{
	const uint64_t *wanted = arg;

	assert_int_equal(give(*wanted, 0, NULL), 0);
	return NULL;
}

/* The server's descriptor says that there is something to do. */
static void
test_answer_of_another_thread(void **state)
{
	struct pollfd server;
	pthread_t thread;
	uint64_t wanted;

	(void)state;
	begin("");
	ask(1, WRITE, COMMAND, write_command, sizeof(write_command));
	assert_true(silent());
	server = (struct pollfd){.fd = rp_vfu_server_fd(carried.device.server), .events = POLLIN};
	assert_int_equal(poll(&server, 1, 0), 0);
	wanted = number();
	assert_int_equal(pthread_create(&thread, NULL, answer_from_elsewhere, &wanted), 0);
	assert_int_equal(poll(&server, 1, 10000), 1);
	assert_int_equal(hear(1), 0);
	pthread_join(thread, NULL);
	device_turn(&carried.device);
	assert_int_equal(poll(&server, 1, 0), 0);
}

/* A client that may serve nothing meanwhile is sent nothing, but its answers are taken; who serves is asked. */
static void
test_accesses_of_the_device_meanwhile(void **state)
{
	static const char *const capabilities[] = {"", "\"ringpass.serve\":true",
						   "\"twin_socket\":{\"supported\":true}"};
	struct access sent, submitted;
	uint64_t words[2] = {0};
	struct asked asked;
	unsigned int i;

	(void)state;
	for (i = 0; i < 3; i++) {
		begin(capabilities[i]);
		assert_int_equal(carried_start(&sent, false, IOVA, &words[0], 8), 0);
		asked = carried_take(11);
		ask(1, WRITE, COMMAND, write_command, sizeof(write_command));
		assert_true(silent());
		assert_int_equal(sent.ends, 0);
		assert_true(carried_answer(&asked, IOVA, 8, "abcdefgh", 8));
		carried_ended(&sent, 0);
		assert_int_equal(carried_start(&submitted, true, IOVA, &words[1], 8), 0);
		if (i > 0) {
			asked = carried_take(12);
			assert_true(carried_answer(&asked, IOVA, 8, NULL, 0));
			carried_ended(&submitted, 0);
		}
		assert_true(silent());
		assert_int_equal(give(number(), 0, NULL), 0);
		assert_int_equal(hear(1), 0);
		if (i == 0) {
			assert_int_equal(submitted.ends, 0);
			asked = carried_take(12);
			assert_true(carried_answer(&asked, IOVA, 8, NULL, 0));
			carried_ended(&submitted, 0);
		}
		carried_leave();
	}
}

/* Nothing has to be looked at again and again: the server sleeps. */
static void
test_waiting_does_not_spin(void **state)
{
	struct pollfd server;

	(void)state;
	begin("");
	ask(1, WRITE, COMMAND, write_command, sizeof(write_command));
	assert_true(silent());
	server = (struct pollfd){.fd = rp_vfu_server_fd(carried.device.server), .events = POLLIN};
	assert_int_equal(poll(&server, 1, 50), 0);
}

/* One that does not say so at its creation may not write late: the reply of several writes counts what was done. */
static void
test_late_writes_are_announced(void **state)
{
	static const char offer[] = "{\"capabilities\":{\"write_multiple\":true}}", none[] = "{\"capabilities\":{}}";
	uint8_t payload[4 + sizeof(offer)] = {U16(0), U16(1)};
	struct device_description description;
	unsigned int late;

	(void)state;
	memcpy(payload + 4, offer, sizeof(offer));
	for (late = 0; late < 2; late++) {
		device_describe(&carried.device, &description);
		description.config.late_writes = late != 0;
		device_restart(&carried.device, &description);
		device_connect(&carried.device, &carried.peer);
		assert_int_equal(device_ask(&carried.peer, 1, payload, sizeof(payload), NULL, 0, &carried.reply), 0);
		assert_string_equal((char *)carried.reply.payload + 4, late ? none : offer);
		carried.device.fail_with = LATER;
		ask(1, 10, COMMAND, write_command, sizeof(write_command));
		if (late == 0)
			assert_int_equal(hear(1), EIO);
		else
			assert_true(silent());
		assert_int_equal(give(number(), 0, NULL), late ? 0 : -ENOENT);
		carried.device.fail_with = 0;
		carried_leave();
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_order_is_kept, carried_setup, carried_teardown),
		cmocka_unit_test_setup_teardown(test_reads_and_writes_are_answered_later, carried_setup,
						carried_teardown),
		cmocka_unit_test_setup_teardown(test_errors_that_come_later, carried_setup, carried_teardown),
		cmocka_unit_test_setup_teardown(test_answers_to_nobody, carried_setup, carried_teardown),
		cmocka_unit_test_setup_teardown(test_posted_write, carried_setup, carried_teardown),
		cmocka_unit_test_setup_teardown(test_client_that_leaves_meanwhile, carried_setup, carried_teardown),
		cmocka_unit_test_setup_teardown(test_destroy_with_an_answer_owed, carried_setup, carried_teardown),
		cmocka_unit_test_setup_teardown(test_answer_of_another_thread, carried_setup, carried_teardown),
		cmocka_unit_test_setup_teardown(test_waiting_does_not_spin, carried_setup, carried_teardown),
		cmocka_unit_test_setup_teardown(test_accesses_of_the_device_meanwhile, carried_setup, carried_teardown),
		cmocka_unit_test_setup_teardown(test_late_writes_are_announced, carried_setup, carried_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
