/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "bytes.h"
#include "liar.h"
#include "rp_wire_clock.h"

/* One command, its reply, and all that can come instead. */

static struct liar liar;
static unsigned int leavings;
static struct rp_wire_why leaving;

static void
on_disconnected(void *ctx, const struct rp_wire_why *why)
{
	(void)ctx;
	leavings++;
	leaving = *why;
}

static struct rp_vfu_client *
connect_client(bool (*answer)(struct liar *l, const struct peer_msg *command), uint32_t timeout_ms)
{
	const struct rp_vfu_client_config config = {.socket_path = test_socket_path(), .timeout_ms = timeout_ms};
	const struct rp_vfu_client_ops ops = {.disconnected = on_disconnected};
	struct rp_vfu_client *client = NULL;
	struct rp_wire_why why;

	leavings = 0;
	liar_start(&liar, answer);
	assert_int_equal(rp_vfu_client_create(&config, &ops, NULL, &client, &why), 0);
	return client;
}

/* The server is gone for this client, which was told once, with these words; nothing works any more. */
static void
assert_gone(struct rp_vfu_client *client, const char *words)
{
	struct rp_vfu_client_device device;
	struct rp_vfu_client_region region;
	struct rp_wire_why why;

	assert_false(rp_vfu_client_connected(client));
	assert_int_equal(rp_vfu_client_fd(client), -1);
	assert_int_equal(rp_vfu_client_peer(client), 0);
	assert_int_equal(rp_vfu_client_process(client), -ENOTCONN);
	assert_int_equal(rp_vfu_client_reset(client, &why), -ENOTCONN);
	assert_int_equal(rp_vfu_client_device_info(client, &device, &why), -ENOTCONN);
	assert_int_equal(rp_vfu_client_region_info(client, 0, &region, &why), -ENOTCONN);
	assert_int_equal(leavings, 1);
	if (strstr(leaving.text, words) == NULL)
		fail_msg("'%s' does not say '%s'", leaving.text, words);
	rp_vfu_client_destroy(client);
	assert_int_equal(leavings, 1);
	liar_stop(&liar);
}

static bool
silence(struct liar *l, const struct peer_msg *command)
{
	(void)l;
	return command->command == 13;
}

static void
test_time_limit_ends_the_connection(void **state)
{
	struct rp_vfu_client *client = connect_client(silence, 200);
	uint64_t before_ms = rp_wire_clock_ms();
	struct rp_wire_why why;

	(void)state;
	assert_int_equal(rp_vfu_client_reset(client, &why), -ETIMEDOUT);
	assert_in_range(rp_wire_clock_ms() - before_ms, 190, 2000);
	assert_string_equal(why.text, "DEVICE_RESET: no reply within 200 ms");
	assert_gone(client, "no reply within 200 ms");
}

static bool
hang_up(struct liar *l, const struct peer_msg *command)
{
	(void)command;
	peer_close(&l->peer);
	return true;
}

static void
test_server_that_leaves(void **state)
{
	struct rp_vfu_client *client = connect_client(hang_up, 2000);
	struct rp_wire_why why;

	(void)state;
	assert_int_equal(rp_vfu_client_reset(client, &why), -ENOTCONN);
	assert_string_equal(why.text, "peer left");
	assert_gone(client, "peer left");
}

static bool
half_a_reply(struct liar *l, const struct peer_msg *command)
{
	const uint8_t reply[] = {HEADER(command->id, command->command, 32, REPLY, 0), U32(16)};

	(void)peer_send(&l->peer, reply, sizeof(reply), NULL, 0);
	peer_close(&l->peer);
	return true;
}

static void
test_server_that_leaves_in_the_middle(void **state)
{
	struct rp_vfu_client *client = connect_client(half_a_reply, 2000);
	struct rp_wire_why why;

	(void)state;
	assert_int_equal(rp_vfu_client_reset(client, &why), -ENOTCONN);
	assert_gone(client, "peer left in the middle of a message");
}

static bool
wrong_id(struct liar *l, const struct peer_msg *command)
{
	const uint8_t reply[] = {HEADER(command->id + 1, command->command, 16, REPLY, 0)};

	return peer_send(&l->peer, reply, sizeof(reply), NULL, 0);
}

static void
test_reply_with_a_wrong_id_ends_the_connection(void **state)
{
	struct rp_vfu_client *client = connect_client(wrong_id, 2000);
	struct rp_wire_why why;

	(void)state;
	assert_int_equal(rp_vfu_client_reset(client, &why), -EBADMSG);
	assert_string_equal(why.text, "DEVICE_RESET: reply: id 2, which is of no command under way");
	assert_gone(client, "which is of no command under way");
}

static bool
two_replies(struct liar *l, const struct peer_msg *command)
{
	liar_reply(l, command, NULL, 0, NULL, 0);
	liar_reply(l, command, NULL, 0, NULL, 0);
	return true;
}

static bool
process_failed(void *ctx)
{
	return rp_vfu_client_process(ctx) == -ENOTCONN;
}

static void
test_second_reply_is_of_nobody(void **state)
{
	struct rp_vfu_client *client = connect_client(two_replies, 2000);
	struct rp_wire_why why;

	(void)state;
	assert_int_equal(rp_vfu_client_reset(client, &why), 0);
	assert_true(test_wait(process_failed, client, 2000));
	assert_gone(client, "which is of no command under way");
}

static bool
wrong_command(struct liar *l, const struct peer_msg *command)
{
	const uint8_t reply[] = {HEADER(command->id, 7, 16, REPLY, 0)};

	return command->command == 13 && peer_send(&l->peer, reply, sizeof(reply), NULL, 0);
}

static void
test_broken_replies_are_refused_and_the_connection_stays(void **state)
{
	struct rp_vfu_client *client = connect_client(wrong_command, 2000);
	struct rp_wire_why why;
	uint32_t word;

	(void)state;
	assert_int_equal(rp_vfu_client_reset(client, &why), -EBADMSG);
	assert_string_equal(why.text, "DEVICE_RESET: reply: names command 7");
	assert_int_equal(rp_vfu_client_region_read(client, 0, 0, 4, &word, &why), 0);
	assert_int_equal(leavings, 0);
	rp_vfu_client_destroy(client);
	liar_stop(&liar);
}

/* Errors in the order of the resets that ask for them. */
static const struct {
	uint32_t wire;
	int error;
} errors[] = {
	{EEXIST, -EEXIST}, {EINVAL, -EINVAL},  {EOPNOTSUPP, -ENOTSUP}, {4095, -4095},	  {0, -EIO},
	{4096, -EIO},	   {UINT32_MAX, -EIO}, {ENOTCONN, -EIO},       {ETIMEDOUT, -EIO}, {EBADMSG, -EIO},
};

static bool
refuse(struct liar *l, const struct peer_msg *command)
{
	liar_error(l, command, errors[(l->commands - 2) % 10].wire);
	return true;
}

static void
test_errors_of_the_server(void **state)
{
	struct rp_vfu_client *client = connect_client(refuse, 2000);
	struct rp_wire_why why;
	unsigned int i;

	(void)state;
	for (i = 0; i < 10; i++) {
		assert_int_equal(rp_vfu_client_reset(client, &why), errors[i].error);
		assert_int_equal(why.error, errors[i].error);
		assert_non_null(strstr(why.text, "DEVICE_RESET: the server refused: error "));
	}
	assert_true(rp_vfu_client_connected(client));
	rp_vfu_client_destroy(client);
	liar_stop(&liar);
}

static bool
is_refusal(struct liar *l, uint16_t id, uint16_t command, uint32_t error)
{
	static struct peer_msg reply;
	const uint8_t refusal[] = {HEADER(id, command, 16, ERROR_REPLY, error)};

	return peer_receive(&l->peer, &reply) && reply.size_bytes == sizeof(refusal) &&
	       memcmp(reply.bytes, refusal, sizeof(refusal)) == 0;
}

/* Commands of its own before the reply: each is answered, but those that want none. */
static bool
commands_first(struct liar *l, const struct peer_msg *command)
{
	static const uint8_t access[] = {U64(0x1000), U64(16), 'd', 'a', 't', 'a', 'd', 'a', 't',
					 'a',	      'd',     'a', 't', 'a', 'd', 'a', 't', 'a'};
	bool *answered = l->ctx;

	if (command->command != 13)
		return false;
	(void)peer_command(&l->peer, command->id, 11, COMMAND, access, 16, NULL, 0);
	*answered = is_refusal(l, command->id, 11, EFAULT);
	(void)peer_command(&l->peer, 77, 12, NO_REPLY, access, sizeof(access), NULL, 0);
	(void)peer_command(&l->peer, 78, 12, COMMAND, access, sizeof(access), &l->file_fd, 1);
	*answered = *answered && is_refusal(l, 78, 12, EINVAL);
	(void)peer_command(&l->peer, 79, 9, COMMAND, access, 16, NULL, 0);
	*answered = *answered && is_refusal(l, 79, 9, EOPNOTSUPP);
	(void)peer_command(&l->peer, 80, 12345, COMMAND, NULL, 0, NULL, 0);
	*answered = *answered && is_refusal(l, 80, 12345, EOPNOTSUPP);
	liar_reply(l, command, NULL, 0, NULL, 0);
	return true;
}

static void
test_commands_of_the_server_are_answered_while_we_wait(void **state)
{
	struct rp_vfu_client *client;
	struct rp_wire_why why;
	bool answered = false;

	(void)state;
	liar.ctx = &answered;
	client = connect_client(commands_first, 2000);
	assert_int_equal(rp_vfu_client_reset(client, &why), 0);
	rp_vfu_client_destroy(client);
	liar_stop(&liar);
	assert_true(answered);
}

static bool
command_later(struct liar *l, const struct peer_msg *command)
{
	bool *answered = l->ctx;

	liar_reply(l, command, NULL, 0, NULL, 0);
	(void)peer_command(&l->peer, 5, 11, COMMAND, "0123456789abcdef", 16, NULL, 0);
	__atomic_store_n(answered, is_refusal(l, 5, 11, EMSGSIZE), __ATOMIC_RELEASE);
	return true;
}

static bool
process_until_answered(void *ctx)
{
	assert_int_equal(rp_vfu_client_process(ctx), 0);
	return __atomic_load_n((bool *)liar.ctx, __ATOMIC_ACQUIRE);
}

static void
test_commands_of_the_server_are_answered_between_calls(void **state)
{
	struct rp_vfu_client *client;
	struct rp_wire_why why;
	bool answered = false;

	(void)state;
	liar.ctx = &answered;
	client = connect_client(command_later, 2000);
	assert_int_equal(rp_vfu_client_reset(client, &why), 0);
	assert_true(test_wait(process_until_answered, client, 2000));
	rp_vfu_client_destroy(client);
	liar_stop(&liar);
}

/* Commands without end, whose replies are never read. */
static bool
flood(struct liar *l, const struct peer_msg *command)
{
	uint32_t flags = l->ctx != NULL ? NO_REPLY : COMMAND;

	(void)command;
	while (peer_command(&l->peer, 1, 11, flags, "0123456789abcdef", 16, NULL, 0))
		;
	return true;
}

static void
test_flood_of_commands_has_an_end(void **state)
{
	struct rp_vfu_client *client;
	struct rp_wire_why why;
	bool silent = true;

	(void)state;
	/* Those that want no reply last for as long as the call may. */
	liar.ctx = &silent;
	client = connect_client(flood, 200);
	assert_int_equal(rp_vfu_client_reset(client, &why), -ETIMEDOUT);
	assert_gone(client, "no reply within 200 ms");
	/* Those whose replies nobody reads are not read any more, and cost what the limit says. */
	client = connect_client(flood, 1000);
	assert_int_equal(rp_vfu_client_reset(client, &why), -ETIMEDOUT);
	assert_gone(client, "no reply within 1000 ms");
}

static bool
in_drops(struct liar *l, const struct peer_msg *command)
{
	const uint8_t reply[] = {HEADER(command->id, command->command, 16, REPLY, 0)};
	unsigned int i;

	for (i = 0; i < sizeof(reply); i++) {
		(void)peer_send(&l->peer, reply + i, 1, NULL, 0);
		usleep(500);
	}
	return true;
}

static void
test_reply_that_comes_in_drops(void **state)
{
	struct rp_vfu_client *client = connect_client(in_drops, 2000);
	struct rp_wire_why why;

	(void)state;
	assert_int_equal(rp_vfu_client_reset(client, &why), 0);
	rp_vfu_client_destroy(client);
	liar_stop(&liar);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_time_limit_ends_the_connection),
		cmocka_unit_test(test_server_that_leaves),
		cmocka_unit_test(test_server_that_leaves_in_the_middle),
		cmocka_unit_test(test_reply_with_a_wrong_id_ends_the_connection),
		cmocka_unit_test(test_second_reply_is_of_nobody),
		cmocka_unit_test(test_broken_replies_are_refused_and_the_connection_stays),
		cmocka_unit_test(test_errors_of_the_server),
		cmocka_unit_test(test_commands_of_the_server_are_answered_while_we_wait),
		cmocka_unit_test(test_commands_of_the_server_are_answered_between_calls),
		cmocka_unit_test(test_flood_of_commands_has_an_end),
		cmocka_unit_test(test_reply_that_comes_in_drops),
	};

	return cmocka_run_group_tests_name("vfio-user client: calls", tests, NULL, NULL);
}
