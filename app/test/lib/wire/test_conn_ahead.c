/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "conn_pair.h"
#include "rp_wire_fd.h"

/* A connection that reads ahead: of its protocol, a message without a payload never has descriptors. */

#define AHEAD_BYTES 8u

static struct rp_wire_framing ahead_framing;

static int
set_up(void **state, size_t ahead_bytes, bool fds_alone)
{
	int rc = conn_pair_setup(state);
	struct conn_pair *pair = *state;

	if (rc != 0)
		return rc;
	pair->conn = rp_wire_conn_destroy(pair->conn);
	rp_wire_fd_close(&pair->peer);
	ahead_framing = conn_pair_framing;
	ahead_framing.ahead_bytes = ahead_bytes;
	ahead_framing.fds_alone = fds_alone;
	conn_pair_open(pair, &ahead_framing);
	return 0;
}

static int
setup(void **state)
{
	return set_up(state, AHEAD_BYTES, false);
}

/* And one whose peers write each message that has descriptors by itself. */
static int
setup_alone(void **state)
{
	return set_up(state, 0, true);
}

#define WITH_AHEAD(test) cmocka_unit_test_setup_teardown(test, setup, conn_pair_teardown)
#define WITH_ALONE(test)                                                                                               \
	{                                                                                                              \
		.name = #test "_alone", .test_func = test, .setup_func = setup_alone,                                  \
		.teardown_func = conn_pair_teardown                                                                    \
	}

static void
assert_silent(struct rp_wire_conn *conn)
{
	struct rp_wire_msg *msg;

	assert_int_equal(rp_wire_conn_receive(conn, &msg, NULL), -EAGAIN);
	assert_false(rp_wire_conn_has_ahead(conn));
}

static bool
socket_is_readable(struct rp_wire_conn *conn)
{
	struct pollfd wait = {.fd = rp_wire_conn_fd(conn), .events = POLLIN};

	return poll(&wait, 1, 0) == 1;
}

static void
refuses_more_than_a_header(void **state)
{
	struct rp_wire_framing wrong = conn_pair_framing;
	struct rp_wire_conn *conn = NULL;
	int fd = conn_pair_eventfd(0);

	(void)state;
	wrong.ahead_bytes = HEADER_BYTES + 1;
	assert_int_equal(rp_wire_conn_create(&fd, &wrong, &conn), -EINVAL);
	wrong.ahead_bytes = AHEAD_BYTES;
	wrong.fds_alone = true;
	assert_int_equal(rp_wire_conn_create(&fd, &wrong, &conn), -EINVAL);
	rp_wire_fd_close(&fd);
}

/* In every way in which the bytes of a stream of messages can arrive. */
static void
every_split_is_the_same(void **state)
{
	static const uint32_t sizes[] = {0, 8, 0, 0, 300, 7, 9, 0, 16, 4000, 0, 1};
	enum { COUNT = sizeof(sizes) / sizeof(sizes[0]) };
	static const size_t steps[] = {1, 3, 7, 8, 9, 15, 16, 17, 33, 500, 1000000};
	struct conn_pair *pair = *state;
	static uint8_t stream[COUNT * (HEADER_BYTES + 4000)];
	size_t total_bytes = 0, at, way;
	unsigned int next, i;

	for (i = 0; i < COUNT; i++)
		total_bytes += conn_make_message(stream + total_bytes, sizes[i], (uint8_t)(i + 1));
	for (way = 0; way < sizeof(steps) / sizeof(steps[0]); way++) {
		for (at = 0, next = 0; at < total_bytes; at += steps[way]) {
			size_t step = total_bytes - at < steps[way] ? total_bytes - at : steps[way];
			struct rp_wire_msg *msg;

			conn_peer_write(pair->peer, stream + at, step, NULL, 0);
			while (rp_wire_conn_receive(pair->conn, &msg, NULL) == 0) {
				conn_assert_message(msg, sizes[next], (uint8_t)(next + 1), 0);
				next++;
			}
		}
		assert_int_equal(next, COUNT);
		assert_silent(pair->conn);
	}
}

/* What is read ahead is not in the socket any more, and somebody has to know. */
static void
what_was_read_ahead_is_told(void **state)
{
	struct conn_pair *pair = *state;

	conn_peer_message(pair->peer, 0, 1, NULL, 0);
	conn_peer_message(pair->peer, 0, 2, NULL, 0);
	conn_assert_message(conn_receive(pair->conn), 0, 1, 0);
	assert_false(socket_is_readable(pair->conn));
	assert_true(rp_wire_conn_has_ahead(pair->conn));
	conn_assert_message(conn_receive(pair->conn), 0, 2, 0);
	assert_silent(pair->conn);
}

static void
many_small_ones_are_read_together(void **state)
{
	struct conn_pair *pair = *state;
	unsigned int i;

	for (i = 0; i < 50; i++)
		conn_peer_message(pair->peer, 16, (uint8_t)i, NULL, 0);
	conn_assert_message(conn_receive(pair->conn), 16, 0, 0);
	assert_true(socket_is_readable(pair->conn));
	conn_assert_message(conn_receive(pair->conn), 16, 1, 0);
	assert_false(socket_is_readable(pair->conn));
	for (i = 2; i < 50; i++)
		conn_assert_message(conn_receive(pair->conn), 16, (uint8_t)i, 0);
	assert_silent(pair->conn);
}

/* Also the first of them, where somebody knows that several come; and one alone, and one with descriptors, as ever. */
static void
many_that_are_expected_are_read_together(void **state)
{
	struct conn_pair *pair = *state;
	unsigned int i;

	assert_silent(pair->conn);
	rp_wire_conn_expect_many(pair->conn);
	assert_silent(pair->conn);
	for (i = 0; i < 50; i++)
		conn_peer_message(pair->peer, 16, (uint8_t)i, NULL, 0);
	rp_wire_conn_expect_many(pair->conn);
	conn_assert_message(conn_receive(pair->conn), 16, 0, 0);
	assert_false(socket_is_readable(pair->conn));
	for (i = 1; i < 50; i++)
		conn_assert_message(conn_receive(pair->conn), 16, (uint8_t)i, 0);
	assert_silent(pair->conn);
	conn_peer_message(pair->peer, 0, 7, NULL, 0);
	rp_wire_conn_expect_many(pair->conn);
	conn_assert_message(conn_receive(pair->conn), 0, 7, 0);
	conn_peer_message_fds(pair->peer, 16, 8, 1);
	rp_wire_conn_expect_many(pair->conn);
	conn_assert_message(conn_receive(pair->conn), 16, 8, 1);
	assert_silent(pair->conn);
}

/* Behind a message without a payload, of whose bytes the same read took. */
static void
descriptors_are_those_of_the_last_message_that_begins(void **state)
{
	struct conn_pair *pair = *state;
	struct rp_wire_msg *msg;
	unsigned int i;

	for (i = 0; i < 3; i++) {
		conn_peer_message(pair->peer, 0, 1, NULL, 0);
		conn_peer_message_fds(pair->peer, 24, 5, 3);
		conn_assert_message(conn_receive(pair->conn), 0, 1, 0);
		msg = conn_receive(pair->conn);
		conn_assert_message(msg, 24, 5, 3);
		assert_int_equal(conn_pair_eventfd_value(msg->fds[0]), 5);
		assert_int_equal(conn_pair_eventfd_value(msg->fds[2]), 5);
	}
	assert_silent(pair->conn);
}

/* Also where two of them pass before theirs begins, and each keeps its place. */
static void
descriptors_keep_their_order(void **state)
{
	struct conn_pair *pair = *state;
	uint8_t bytes[HEADER_BYTES + 8];
	size_t size_bytes = conn_make_message(bytes, 8, 9);
	int fds[2] = {conn_pair_eventfd(11), conn_pair_eventfd(12)};
	struct rp_wire_msg *msg;

	conn_peer_message(pair->peer, 0, 1, NULL, 0);
	conn_peer_write(pair->peer, bytes, 1, fds, 2);
	conn_assert_message(conn_receive(pair->conn), 0, 1, 0);
	assert_int_equal(rp_wire_conn_receive(pair->conn, &msg, NULL), -EAGAIN);
	conn_peer_write(pair->peer, bytes + 1, size_bytes - 1, NULL, 0);
	rp_wire_fd_close_all(fds, 2);
	msg = conn_receive(pair->conn);
	conn_assert_message(msg, 8, 9, 2);
	assert_int_equal(conn_pair_eventfd_value(msg->fds[0]), 11);
	assert_int_equal(conn_pair_eventfd_value(msg->fds[1]), 12);
}

/* A stream in which each has its own, or none, and many wait at a time. */
static void
each_of_many_gets_its_own(void **state)
{
	struct conn_pair *pair = *state;
	unsigned int i, turn;

	for (turn = 0; turn < 5; turn++) {
		for (i = 0; i < 60; i++)
			conn_peer_message_fds(pair->peer, i % 3 == 0 ? 0 : 12, (uint8_t)(i + 1),
					      i % 7 == 1 && i % 3 != 0 ? 2 : 0);
		for (i = 0; i < 60; i++) {
			unsigned int fds_count = i % 7 == 1 && i % 3 != 0 ? 2 : 0;
			struct rp_wire_msg *msg = conn_receive(pair->conn);

			conn_assert_message(msg, i % 3 == 0 ? 0 : 12, (uint8_t)(i + 1), fds_count);
			if (fds_count > 0)
				assert_int_equal(conn_pair_eventfd_value(msg->fds[1]), i + 1);
		}
		assert_silent(pair->conn);
	}
}

/* As a frontend describes its rings: up to the first that has some, and that one, with one read. */
static void
all_that_there_is_is_read_at_once(void **state)
{
	struct conn_pair *pair = *state;
	struct rp_wire_msg *msg;
	unsigned int i;

	for (i = 0; i < 3; i++)
		conn_peer_message(pair->peer, 40, (uint8_t)i, NULL, 0);
	conn_peer_message_fds(pair->peer, 8, 3, 1);
	conn_assert_message(conn_receive(pair->conn), 40, 0, 0);
	assert_true(rp_wire_conn_has_ahead(pair->conn));
	assert_false(socket_is_readable(pair->conn));
	conn_peer_message_fds(pair->peer, 0, 4, 1);
	conn_assert_message(conn_receive(pair->conn), 40, 1, 0);
	conn_assert_message(conn_receive(pair->conn), 40, 2, 0);
	msg = conn_receive(pair->conn);
	conn_assert_message(msg, 8, 3, 1);
	assert_int_equal(conn_pair_eventfd_value(msg->fds[0]), 3);
	assert_true(socket_is_readable(pair->conn));
	msg = conn_receive(pair->conn);
	conn_assert_message(msg, 0, 4, 1);
	assert_int_equal(conn_pair_eventfd_value(msg->fds[0]), 4);
	assert_silent(pair->conn);
}

/* Nobody takes them: the tear-down looks for what is open. */
static void
descriptors_of_a_message_never_begun_are_closed(void **state)
{
	struct conn_pair *pair = *state;

	conn_peer_message(pair->peer, 0, 1, NULL, 0);
	conn_peer_message_fds(pair->peer, 24, 5, 3);
	conn_assert_message(conn_receive(pair->conn), 0, 1, 0);
}

static void
the_end_comes_behind_what_was_read(void **state)
{
	struct conn_pair *pair = *state;
	unsigned int i;

	for (i = 0; i < 20; i++)
		conn_peer_message(pair->peer, i % 2, 3, NULL, 0);
	shutdown(pair->peer, SHUT_WR);
	for (i = 0; i < 20; i++)
		conn_assert_message(conn_receive(pair->conn), i % 2, 3, 0);
	conn_assert_refused(pair->conn, -ENOTCONN, "peer left");
}

static void
half_a_message_read_ahead_and_no_more(void **state)
{
	struct conn_pair *pair = *state;
	uint8_t bytes[HEADER_BYTES + 40];

	conn_peer_message(pair->peer, 0, 3, NULL, 0);
	conn_make_message(bytes, 40, 4);
	conn_peer_write(pair->peer, bytes, HEADER_BYTES - 1, NULL, 0);
	shutdown(pair->peer, SHUT_WR);
	conn_assert_message(conn_receive(pair->conn), 0, 3, 0);
	conn_assert_refused(pair->conn, -ENOTCONN, "in the middle of a message");
}

/* Where a payload is read to: all of it, whatever was read ahead. */
struct place {
	uint8_t bytes[PAYLOAD_MAX_BYTES];
	unsigned int begun;
	bool unwanted;
};

static uint8_t *
begin(void *ctx, const void *header, size_t payload_bytes)
{
	struct place *place = ctx;

	(void)header;
	(void)payload_bytes;
	place->begun++;
	return place->unwanted ? NULL : place->bytes;
}

static void
end(void *ctx)
{
	struct place *place = ctx;

	place->begun--;
}

static const struct rp_wire_placer placer = {.head_bytes = 4, .payload_min_bytes = 200, .begin = begin, .end = end};

static void
what_is_placed_may_have_been_read_ahead(void **state)
{
	static const uint8_t sevens[300 - 4] = {[0 ... 295] = 7};
	struct conn_pair *pair = *state;
	struct place place = {.begun = 0};
	struct rp_wire_msg *msg;
	unsigned int turn;

	rp_wire_conn_set_placer(pair->conn, &placer, &place);
	for (turn = 0; turn < 2; turn++) {
		/* Alone, then among those that are read together. */
		memset(place.bytes, 0, sizeof(place.bytes));
		conn_peer_message(pair->peer, 0, 1, NULL, 0);
		if (turn == 1)
			conn_peer_message(pair->peer, 16, 2, NULL, 0);
		conn_peer_message(pair->peer, 300, 7, NULL, 0);
		conn_assert_message(conn_receive(pair->conn), 0, 1, 0);
		if (turn == 1)
			conn_assert_message(conn_receive(pair->conn), 16, 2, 0);
		msg = conn_receive(pair->conn);
		assert_int_equal(msg->size_bytes, HEADER_BYTES + 300);
		assert_memory_equal(place.bytes, sevens, sizeof(sevens));
		assert_int_equal(place.begun, 0);
		assert_silent(pair->conn);
	}
}

static void *
write_later(void *ctx)
{
	struct conn_pair *pair = ctx;

	/* Whether the other one sleeps by then makes no difference to what it gets. */
	usleep(20000);
	conn_peer_message(pair->peer, 12, 6, NULL, 0);
	return NULL;
}

static void
waiting_sleeps_until_a_message_is_there(void **state)
{
	struct conn_pair *pair = *state;
	struct rp_wire_msg *msg = NULL;
	pthread_t thread;

	assert_int_equal(rp_wire_conn_allow_wait(pair->conn, 0), 0);
	assert_int_equal(pthread_create(&thread, NULL, write_later, pair), 0);
	assert_int_equal(rp_wire_conn_receive_wait(pair->conn, 12, &msg, NULL), 0);
	conn_assert_message(msg, 12, 6, 0);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_silent(pair->conn);
}

static void
waiting_has_an_end(void **state)
{
	struct conn_pair *pair = *state;
	struct rp_wire_msg *msg;
	uint8_t bytes[HEADER_BYTES + 12];

	assert_int_equal(rp_wire_conn_allow_wait(pair->conn, 1), 0);
	assert_int_equal(rp_wire_conn_receive_wait(pair->conn, 0, &msg, NULL), -EAGAIN);
	/* Only for the first bytes of a message: the rest has somebody else to wait for it. */
	assert_int_equal(rp_wire_conn_allow_wait(pair->conn, 0), 0);
	conn_make_message(bytes, 12, 8);
	conn_peer_write(pair->peer, bytes, 5, NULL, 0);
	assert_int_equal(rp_wire_conn_receive_wait(pair->conn, 0, &msg, NULL), -EAGAIN);
	assert_int_equal(rp_wire_conn_receive_wait(pair->conn, 0, &msg, NULL), -EAGAIN);
	conn_peer_write(pair->peer, bytes + 5, sizeof(bytes) - 5, NULL, 0);
	conn_assert_message(conn_receive(pair->conn), 12, 8, 0);
	assert_silent(pair->conn);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_AHEAD(refuses_more_than_a_header),
		WITH_AHEAD(every_split_is_the_same),
		WITH_AHEAD(what_was_read_ahead_is_told),
		WITH_AHEAD(many_small_ones_are_read_together),
		WITH_AHEAD(many_that_are_expected_are_read_together),
		WITH_AHEAD(descriptors_are_those_of_the_last_message_that_begins),
		WITH_AHEAD(descriptors_keep_their_order),
		WITH_AHEAD(each_of_many_gets_its_own),
		WITH_AHEAD(descriptors_of_a_message_never_begun_are_closed),
		WITH_AHEAD(the_end_comes_behind_what_was_read),
		WITH_AHEAD(half_a_message_read_ahead_and_no_more),
		WITH_AHEAD(what_is_placed_may_have_been_read_ahead),
		WITH_AHEAD(waiting_sleeps_until_a_message_is_there),
		WITH_AHEAD(waiting_has_an_end),
		WITH_ALONE(every_split_is_the_same),
		WITH_ALONE(what_was_read_ahead_is_told),
		WITH_ALONE(descriptors_are_those_of_the_last_message_that_begins),
		WITH_ALONE(descriptors_keep_their_order),
		WITH_ALONE(each_of_many_gets_its_own),
		WITH_ALONE(all_that_there_is_is_read_at_once),
		WITH_ALONE(descriptors_of_a_message_never_begun_are_closed),
		WITH_ALONE(the_end_comes_behind_what_was_read),
		WITH_ALONE(half_a_message_read_ahead_and_no_more),
		WITH_ALONE(what_is_placed_may_have_been_read_ahead),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
