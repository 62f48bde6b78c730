/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "script.h"

/* What is polled, whose turn it is, and the twin socket. */

static struct liar liar;
static struct rp_vfu_client *client;
static struct rp_wire_why why;

static struct {
	unsigned int count;
	int error;
} heard;

static void
hear(void *ctx, int error, const struct rp_wire_why *reason)
{
	(void)ctx;
	(void)reason;
	heard.count++;
	heard.error = error;
}

static const struct rp_vfu_client_done done = {.done = hear};

/* As a caller's loop does it: nothing but the one descriptor is looked at. */
static bool
poll_once(int timeout_ms)
{
	struct pollfd pollfd = {.fd = rp_vfu_client_fd(client), .events = POLLIN};

	return poll(&pollfd, 1, timeout_ms) == 1;
}

static void
test_a_reply_wakes_who_polls(void **state)
{
	uint32_t word = 0;

	(void)state;
	memset(&heard, 0, sizeof(heard));
	client = liar_client(&liar, NULL);
	assert_false(poll_once(0));
	assert_int_equal(rp_vfu_client_region_read_start(client, 0, 0, 4, &word, &done, &why), 0);
	assert_int_equal(heard.count, 0);
	while (heard.count == 0) {
		assert_true(poll_once(10000));
		assert_int_equal(rp_vfu_client_process(client), 0);
	}
	assert_int_equal(heard.error, 0);
	assert_int_equal(word, 0x33333333);
	assert_false(poll_once(0));
	rp_vfu_client_destroy(client);
	liar_stop(&liar);
}

static bool
silence(struct liar *l, const struct peer_msg *command)
{
	(void)l;
	(void)command;
	return true;
}

static int twin_pair[2];
static struct peer twin_end; /* the server's */

static struct rp_vfu_client *
client_with(bool (*answer)(struct liar *l, const struct peer_msg *command), uint32_t timeout_ms, bool twin)
{
	struct rp_vfu_client_config config = {.socket_path = test_socket_path(), .timeout_ms = timeout_ms};

	config.twin_socket = twin;
	memset(&heard, 0, sizeof(heard));
	liar_start(&liar, answer);
	if (twin) {
		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, twin_pair), 0);
		twin_end = (struct peer){.fd = twin_pair[0]};
	}
	assert_int_equal(rp_vfu_client_create(&config, NULL, NULL, &client, &why), 0);
	return client;
}

static void
test_a_time_limit_wakes_who_polls(void **state)
{
	uint32_t word;

	(void)state;
	client = client_with(silence, 200, false);
	assert_int_equal(rp_vfu_client_region_read_start(client, 0, 0, 4, &word, &done, &why), 0);
	while (rp_vfu_client_connected(client)) {
		assert_true(poll_once(10000));
		(void)rp_vfu_client_process(client);
	}
	assert_int_equal(heard.count, 1);
	assert_int_equal(heard.error, -ETIMEDOUT);
	rp_vfu_client_destroy(client);
	liar_stop(&liar);
}

/* The first ones take their time, later ones do not wait for a whole limit more. */
static void
test_every_command_has_its_own_time(void **state)
{
	uint32_t words[3];
	unsigned int i;

	(void)state;
	client = client_with(NULL, 10000, false);
	for (i = 0; i < 3; i++) {
		assert_int_equal(rp_vfu_client_region_read_start(client, 0, 0, 4, &words[i], &done, &why), 0);
		assert_int_equal(rp_vfu_client_wait(client, &why), 0);
		assert_int_equal(heard.count, i + 1);
	}
	rp_vfu_client_destroy(client);
	liar_stop(&liar);
}

static void
test_a_server_that_leaves_wakes_who_polls(void **state)
{
	(void)state;
	client = client_with(NULL, 5000, false);
	shutdown(rp_vfu_client_socket_fd(client), SHUT_RDWR);
	assert_true(poll_once(10000));
	assert_int_equal(rp_vfu_client_process(client), -ENOTCONN);
	assert_int_equal(rp_vfu_client_fd(client), -1);
	rp_vfu_client_destroy(client);
	liar_stop(&liar);
}

/* Only so many at once, and who does not look gets no more. */
static void
test_no_more_than_so_many_are_under_way(void **state)
{
	uint32_t word;
	unsigned int started = 0;
	int rc;

	(void)state;
	client = client_with(silence, 10000, false);
	while ((rc = rp_vfu_client_region_read_start(client, 0, 0, 4, &word, &done, &why)) == 0)
		started++;
	assert_int_equal(rc, -EAGAIN);
	assert_int_equal(started, 256);
	rp_vfu_client_destroy(client);
	assert_int_equal(heard.count, 256);
	assert_int_equal(heard.error, -ECANCELED);
	liar_stop(&liar);
}

static void
call_from_inside(void *ctx, int error, const struct rp_wire_why *reason)
{
	uint32_t word;

	(void)reason;
	heard.count++;
	heard.error = error;
	assert_int_equal(rp_vfu_client_region_read(client, 0, 0, 4, &word, NULL), -EBUSY);
	assert_int_equal(rp_vfu_client_process(client), -EBUSY);
	assert_int_equal(rp_vfu_client_wait(client, NULL), -EBUSY);
	assert_int_equal(rp_vfu_client_region_write_post(client, 0, 0, 4, &word, NULL), -EBUSY);
	if (heard.count < 1000)
		assert_int_equal(rp_vfu_client_region_read_start(client, 0, 0, 4, ctx,
								 &(struct rp_vfu_client_done){call_from_inside, ctx},
								 NULL),
				 0);
}

/* A chain of a thousand, each started by the one before: no depth of it is on the stack. */
static void
test_a_callback_may_start_and_not_wait(void **state)
{
	const struct rp_vfu_client_done chain = {.done = call_from_inside, .ctx = &(uint32_t){0}};
	uint32_t word;

	(void)state;
	client = client_with(NULL, 5000, false);
	assert_int_equal(rp_vfu_client_region_read_start(client, 0, 0, 4, &word, &chain, &why), 0);
	while (heard.count < 1000)
		assert_int_equal(rp_vfu_client_wait(client, &why), 0);
	assert_int_equal(heard.error, 0);
	rp_vfu_client_destroy(client);
	liar_stop(&liar);
}

/* The server's commands come on a socket of their own. */
static bool
with_a_twin(struct liar *l, const struct peer_msg *command)
{
	if (command->command != 1)
		return l->ctx != NULL && script_answer(l, command);
	script_version(l, command, "\"twin_socket\":{\"supported\":true,\"fd_index\":0}", &twin_pair[1], 1);
	close(twin_pair[1]);
	return true;
}

static void
start_twin(void)
{
	liar.lie_from_version = true;
	liar.ctx = NULL;
	client = client_with(with_a_twin, 5000, true);
}

static void
stop_twin(void)
{
	client = rp_vfu_client_destroy(client);
	liar_stop(&liar);
}

static void
test_twin_socket_is_served_between_calls(void **state)
{
	static const uint8_t ask[] = {DMA_READ(9, 0x1000, 4)};
	static const uint8_t want[] = {DMA_READ_REPLY(9, 0x1000, 4), 't', 'w', 'i', 'n'};
	static struct peer_msg answer;
	struct rp_vfu_client_memory memory = {.iova = 0x1000, .size_bytes = 4, .fd = -1, .access_mask = 1};
	char bytes[] = "twin";

	(void)state;
	start_twin();
	memory.hva = bytes;
	assert_int_equal(rp_vfu_client_dma_map_memory(client, &memory, &why), 0);
	assert_true(peer_send(&twin_end, ask, sizeof(ask), NULL, 0));
	assert_true(poll_once(10000));
	assert_int_equal(rp_vfu_client_process(client), 0);
	assert_true(peer_receive(&twin_end, &answer));
	assert_int_equal(answer.size_bytes, sizeof(want));
	assert_memory_equal(answer.bytes, want, sizeof(want));
	peer_close(&twin_end);
	/* A twin that closes is a server that leaves. */
	assert_true(poll_once(10000));
	assert_int_equal(rp_vfu_client_process(client), -ENOTCONN);
	stop_twin();
}

/* Asked for on the twin before the reply on the other one: a client that waits still answers. */
static bool
ask_on_the_twin(struct liar *l, const struct peer_msg *command)
{
	static const uint8_t ask[] = {DMA_READ(1, 0x9000, 4)};
	static const uint8_t want[] = {REFUSAL(1, 11, EFAULT)};
	static struct peer_msg answer;

	if (command->command != 13)
		return with_a_twin(l, command);
	(void)peer_send(&twin_end, ask, sizeof(ask), NULL, 0);
	if (!peer_receive(&twin_end, &answer) || answer.size_bytes != sizeof(want) ||
	    memcmp(answer.bytes, want, sizeof(want)) != 0)
		liar_error(l, command, EIO);
	else
		liar_reply(l, command, NULL, 0, NULL, 0);
	return true;
}

static void
test_twin_socket_is_served_while_we_wait(void **state)
{
	(void)state;
	liar.lie_from_version = true;
	client = client_with(ask_on_the_twin, 5000, true);
	assert_int_equal(rp_vfu_client_reset(client, &why), 0);
	peer_close(&twin_end);
	stop_twin();
}

static void
assert_twin_ends(bool on_the_twin, const uint8_t *bytes, size_t bytes_count, const char *words)
{
	const struct script_step step = {.say = bytes, .say_bytes = bytes_count};
	struct script script = {.steps = &step, .count = 1, .wrong = -1};

	start_twin();
	if (on_the_twin)
		assert_true(peer_send(&twin_end, bytes, bytes_count, NULL, 0));
	else
		liar.ctx = &script;
	if (on_the_twin)
		assert_true(poll_once(10000));
	/* The reply of the reset may come first; then the connection ends between calls. */
	if (rp_vfu_client_reset(client, &why) == 0) {
		assert_true(poll_once(10000));
		assert_int_equal(rp_vfu_client_process(client), -ENOTCONN);
	} else if (strstr(why.text, words) == NULL) {
		fail_msg("'%s' does not say '%s'", why.text, words);
	}
	peer_close(&twin_end);
	stop_twin();
}

static void
test_what_belongs_to_the_other_socket_ends_the_connection(void **state)
{
	static const uint8_t reply[] = {HEADER(1, 13, 16, REPLY, 0)};
	static const uint8_t command[] = {DMA_READ(1, 0, 4)};

	(void)state;
	assert_twin_ends(true, reply, sizeof(reply), "DEVICE_RESET: a reply on the twin socket");
	assert_twin_ends(false, command, sizeof(command), "DMA_READ: not on the twin socket");
}

/* Together with a reply, and so in the same read: the socket is silent then, and the descriptor still tells. */
static uint8_t answer_heard[16];

static bool
answer_with_a_command_behind(struct liar *own, const struct peer_msg *command)
{
	static const uint8_t too_short[] = {HEADER(77, 11, 16, COMMAND, 0)};
	struct peer_msg *answer;
	uint8_t bytes[32] = {HEADER(0, 13, 16, REPLY, 0)};

	if (command->command != 13)
		return false;
	memcpy(bytes, command->bytes, 2);
	memcpy(bytes + 16, too_short, sizeof(too_short));
	assert_true(peer_send(&own->peer, bytes, sizeof(bytes), NULL, 0));
	answer = calloc(1, sizeof(*answer));
	assert_non_null(answer);
	if (peer_receive(&own->peer, answer))
		memcpy(answer_heard, answer->bytes, sizeof(answer_heard));
	free(answer);
	return true;
}

static void
test_a_command_that_came_with_a_reply_wakes_who_polls(void **state)
{
	static const uint8_t refused[] = {HEADER(77, 11, 16, ERROR_REPLY, EMSGSIZE)};

	(void)state;
	memset(answer_heard, 0, sizeof(answer_heard));
	client = liar_client(&liar, answer_with_a_command_behind);
	assert_int_equal(rp_vfu_client_reset(client, &why), 0);
	assert_true(poll_once(10000));
	assert_int_equal(rp_vfu_client_process(client), 0);
	assert_false(poll_once(0));
	rp_vfu_client_destroy(client);
	liar_stop(&liar);
	assert_memory_equal(answer_heard, refused, sizeof(refused));
}

/* In the middle of a write to it: neither what was there nor what is there now gets the rest. */
static void
test_memory_that_goes_while_it_is_written(void **state)
{
	enum { BYTES = 0x8000, HALF = 0x4000 };
	static const uint8_t refused[] = {HEADER(9, 12, 16, ERROR_REPLY, EFAULT)};
	static const uint8_t head[] = {DMA_WRITE(9, 0x100000, BYTES)};
	static uint8_t message[sizeof(head) + BYTES], first[BYTES], second[BYTES];
	static struct peer_msg answer;
	struct rp_vfu_client_memory given = {.iova = 0x100000, .size_bytes = BYTES, .fd = -1, .access_mask = 3};
	unsigned int again, i;

	(void)state;
	memcpy(message, head, sizeof(head));
	memset(message + sizeof(head), 'w', BYTES);
	for (again = 0; again < 2; again++) {
		memset(first, 0, BYTES);
		memset(second, 0, BYTES);
		start_twin();
		given.hva = first;
		assert_int_equal(rp_vfu_client_dma_map_memory(client, &given, &why), 0);
		assert_true(peer_send(&twin_end, message, HALF, NULL, 0));
		assert_true(poll_once(10000));
		assert_int_equal(rp_vfu_client_process(client), 0);
		assert_int_equal(rp_vfu_client_dma_unmap(client, given.iova, BYTES, &why), 0);
		memset(first, 0, BYTES);
		given.hva = second;
		if (again == 1)
			assert_int_equal(rp_vfu_client_dma_map_memory(client, &given, &why), 0);
		assert_true(peer_send(&twin_end, message + HALF, sizeof(message) - HALF, NULL, 0));
		assert_true(poll_once(10000));
		assert_int_equal(rp_vfu_client_process(client), 0);
		assert_true(peer_receive(&twin_end, &answer));
		assert_int_equal(answer.size_bytes, sizeof(refused));
		assert_memory_equal(answer.bytes, refused, sizeof(refused));
		for (i = 0; i < BYTES; i++)
			assert_int_equal(first[i] | second[i], 0);
		peer_close(&twin_end);
		stop_twin();
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_reply_wakes_who_polls),
		cmocka_unit_test(test_a_command_that_came_with_a_reply_wakes_who_polls),
		cmocka_unit_test(test_a_time_limit_wakes_who_polls),
		cmocka_unit_test(test_every_command_has_its_own_time),
		cmocka_unit_test(test_a_server_that_leaves_wakes_who_polls),
		cmocka_unit_test(test_no_more_than_so_many_are_under_way),
		cmocka_unit_test(test_a_callback_may_start_and_not_wait),
		cmocka_unit_test(test_twin_socket_is_served_between_calls),
		cmocka_unit_test(test_twin_socket_is_served_while_we_wait),
		cmocka_unit_test(test_memory_that_goes_while_it_is_written),
		cmocka_unit_test(test_what_belongs_to_the_other_socket_ends_the_connection),
	};

	return cmocka_run_group_tests_name("vfio-user client: turns", tests, NULL, NULL);
}
