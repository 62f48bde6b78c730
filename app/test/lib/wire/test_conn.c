/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "conn_pair.h"
#include "rp_wire_fd.h"

static void
create_refuses_nonsense(void **state)
{
	struct rp_wire_framing wrong = conn_pair_framing;
	struct rp_wire_conn *conn = NULL;
	int none = -1, closed, fd = conn_pair_eventfd(0);

	(void)state;
	assert_int_equal(rp_wire_conn_create(&none, &conn_pair_framing, &conn), -EINVAL);
	closed = dup(fd);
	close(closed);
	assert_int_equal(rp_wire_conn_create(&closed, &conn_pair_framing, &conn), -EINVAL);
	wrong.header_bytes = 0;
	assert_int_equal(rp_wire_conn_create(&fd, &wrong, &conn), -EINVAL);
	wrong.header_bytes = 65;
	assert_int_equal(rp_wire_conn_create(&fd, &wrong, &conn), -EINVAL);
	wrong = conn_pair_framing;
	wrong.fds_max = RP_WIRE_FDS_MAX + 1;
	assert_int_equal(rp_wire_conn_create(&fd, &wrong, &conn), -EINVAL);
	assert_null(conn);
	assert_true(fd >= 0);
	rp_wire_fd_close(&fd);
	assert_null(rp_wire_conn_destroy(NULL));
}

/* Every split of a message is a normal state; the descriptor comes with the first byte. */
static void
bytes_may_come_one_by_one(void **state)
{
	struct conn_pair *pair = *state;
	uint8_t bytes[HEADER_BYTES + 20];
	size_t size_bytes = conn_make_message(bytes, 20, 0x5a), i;
	struct rp_wire_msg *msg = NULL;
	int fd = conn_pair_eventfd(7);

	for (i = 0; i < size_bytes; i++) {
		assert_int_equal(rp_wire_conn_receive(pair->conn, &msg, NULL), -EAGAIN);
		assert_null(msg);
		conn_peer_write(pair->peer, &bytes[i], 1, &fd, i == 0 ? 1 : 0);
	}
	rp_wire_fd_close(&fd);
	msg = conn_receive(pair->conn);
	conn_assert_message(msg, 20, 0x5a, 1);
	assert_int_equal(conn_pair_eventfd_value(msg->fds[0]), 7);
}

/* Descriptors of one message may ride on any of its bytes. */
static void
descriptors_may_come_on_any_byte(void **state)
{
	struct conn_pair *pair = *state;
	uint8_t bytes[HEADER_BYTES + 4];
	size_t size_bytes = conn_make_message(bytes, 4, 0x11), i;
	struct rp_wire_msg *msg;
	int fds[3] = {conn_pair_eventfd(1), conn_pair_eventfd(2), conn_pair_eventfd(3)};

	for (i = 0; i < size_bytes; i++) {
		unsigned int nth = i == 1 ? 0 : i == HEADER_BYTES ? 1 : 2;

		conn_peer_write(pair->peer, &bytes[i], 1, &fds[nth],
				i == 1 || i == HEADER_BYTES || i == size_bytes - 1 ? 1 : 0);
	}
	rp_wire_fd_close_all(fds, 3);
	msg = conn_receive(pair->conn);
	conn_assert_message(msg, 4, 0x11, 3);
	for (i = 0; i < 3; i++)
		assert_int_equal(conn_pair_eventfd_value(msg->fds[i]), i + 1);
}

static void
empty_payload_is_a_message(void **state)
{
	struct conn_pair *pair = *state;
	struct rp_wire_msg *msg = NULL;

	conn_peer_message(pair->peer, 0, 0, NULL, 0);
	conn_assert_message(conn_receive(pair->conn), 0, 0, 0);
	assert_int_equal(rp_wire_conn_receive(pair->conn, &msg, NULL), -EAGAIN);
}

/* Messages that wait together in the socket each keep their own descriptors, untaken ones included. */
static void
pipelined_messages_keep_their_descriptors(void **state)
{
	struct conn_pair *pair = *state;
	uint32_t i;

	for (i = 0; i < 40; i++)
		conn_peer_message_fds(pair->peer, i, (uint8_t)(i + 1), i % (FDS_MAX + 1));
	for (i = 0; i < 40; i++) {
		struct rp_wire_msg *msg = conn_receive(pair->conn);
		unsigned int nth;

		conn_assert_message(msg, i, (uint8_t)(i + 1), i % (FDS_MAX + 1));
		for (nth = 0; nth < msg->fds_count; nth++) {
			assert_int_equal(conn_pair_eventfd_value(msg->fds[nth]), i + 1);
			assert_int_equal(fcntl(msg->fds[nth], F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
		}
	}
}

/* One write that holds two messages: the kernel ties its descriptors to the first byte. */
static void
messages_in_one_write_are_told_apart(void **state)
{
	struct conn_pair *pair = *state;
	uint8_t bytes[64];
	size_t first = conn_make_message(bytes, 3, 0x01), second = conn_make_message(bytes + first, 5, 0x02);
	int fd = conn_pair_eventfd(9);

	conn_peer_write(pair->peer, bytes, first + second, &fd, 1);
	rp_wire_fd_close(&fd);
	conn_assert_message(conn_receive(pair->conn), 3, 0x01, 1);
	conn_assert_message(conn_receive(pair->conn), 5, 0x02, 0);
}

static void
taken_descriptors_outlive_the_message(void **state)
{
	struct conn_pair *pair = *state;
	struct rp_wire_msg *msg;
	int kept;

	conn_peer_message_fds(pair->peer, 1, 5, 2);
	conn_peer_message(pair->peer, 1, 6, NULL, 0);
	msg = conn_receive(pair->conn);
	kept = rp_wire_fd_take(&msg->fds[1]);
	conn_receive(pair->conn);
	assert_int_equal(conn_pair_eventfd_value(kept), 5);
	rp_wire_fd_close(&kept);
}

static void
dropped_message_may_be_followed(void **state)
{
	struct conn_pair *pair = *state;
	struct test_leaks before;
	struct rp_wire_msg *msg;

	test_leaks_read(&before);
	conn_peer_message_fds(pair->peer, 1, 5, 3);
	msg = conn_receive(pair->conn);
	rp_wire_msg_drop(msg);
	assert_int_equal(msg->fds_count, 0);
	test_leaks_assert_none(&before);
	conn_peer_message_fds(pair->peer, 1, 6, 1);
	conn_assert_message(conn_receive(pair->conn), 1, 6, 1);
}

static void
too_many_descriptors_at_once(void **state)
{
	struct conn_pair *pair = *state;
	struct test_leaks before;

	test_leaks_read(&before);
	conn_peer_message_fds(pair->peer, 4, 1, FDS_MAX + 1);
	conn_assert_refused(pair->conn, -EPROTO, "expected at most 4");
	test_leaks_assert_none(&before);
}

static void
too_many_descriptors_bit_by_bit(void **state)
{
	struct conn_pair *pair = *state;
	uint8_t bytes[HEADER_BYTES + 8];
	size_t size_bytes = conn_make_message(bytes, 8, 0x33), i;
	int fd = conn_pair_eventfd(1);

	for (i = 0; i < size_bytes; i++)
		conn_peer_write(pair->peer, &bytes[i], 1, &fd, 1);
	rp_wire_fd_close(&fd);
	conn_assert_refused(pair->conn, -EPROTO, "expected at most 4");
}

/* More than the control buffer holds: the kernel truncates, and what it did install is closed. */
static void
truncated_control_data(void **state)
{
	struct conn_pair *pair = *state;
	struct rp_wire_framing wide = conn_pair_framing;

	if (test_emulated()) {
		print_message("SKIP: the emulator loses what does not fit, and does not say so\n");
		skip();
	}
	conn_pair_teardown(state);
	wide.fds_max = RP_WIRE_FDS_MAX;
	conn_pair_open(pair, &wide);
	conn_peer_message_fds(pair->peer, 4, 1, RP_WIRE_FDS_MAX);
	conn_assert_message(conn_receive(pair->conn), 4, 1, RP_WIRE_FDS_MAX);
	conn_peer_message_fds(pair->peer, 4, 1, RP_WIRE_FDS_MAX + 1);
	conn_assert_refused(pair->conn, -EPROTO, "truncated");
	/* The wide rules are this function's: nothing may look at them after it. */
	pair->conn = rp_wire_conn_destroy(pair->conn);
}

/* A full descriptor table loses descriptors that the peer believes delivered. */
static void
our_own_descriptor_limit(void **state)
{
	struct conn_pair *pair = *state;
	struct rlimit limit, low;
	int highest;

	conn_peer_message_fds(pair->peer, 4, 1, FDS_MAX);
	highest = dup(pair->peer);
	close(highest);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
	low = limit;
	low.rlim_cur = (rlim_t)highest + 2;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
	conn_assert_refused(pair->conn, -EPROTO, "too many files open");
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
}

static void
oversize_payload(void **state)
{
	struct conn_pair *pair = *state;
	struct header header = {.magic = MAGIC, .payload_bytes = PAYLOAD_MAX_BYTES + 1};

	conn_peer_message_fds(pair->peer, PAYLOAD_MAX_BYTES, 0x44, 1);
	conn_assert_message(conn_receive(pair->conn), PAYLOAD_MAX_BYTES, 0x44, 1);
	conn_peer_write(pair->peer, &header, sizeof(header), NULL, 0);
	conn_assert_refused(pair->conn, -EPROTO, "expected at most 4096");
}

/* A refusal is final: later bytes, and their descriptors, are not taken for a message. */
static void
lost_framing_stays_lost(void **state)
{
	struct conn_pair *pair = *state;
	struct header header = {.magic = 0xbad, .payload_bytes = 4};
	struct rp_wire_msg *msg = NULL;
	uint8_t bytes[HEADER_BYTES];
	size_t size_bytes = conn_make_message(bytes, 0, 0);
	struct iovec iov = {.iov_base = bytes, .iov_len = size_bytes};

	conn_peer_write(pair->peer, &header, sizeof(header), NULL, 0);
	conn_assert_refused(pair->conn, -EPROTO, "magic");
	conn_peer_message_fds(pair->peer, 4, 1, 2);
	assert_int_equal(rp_wire_conn_receive(pair->conn, &msg, NULL), -EPROTO);
	assert_null(msg);
	assert_int_equal(rp_wire_conn_send(pair->conn, &iov, 1, NULL, 0), 0);
}

static void
peer_leaves_between_messages(void **state)
{
	struct conn_pair *pair = *state;

	conn_peer_message_fds(pair->peer, 4, 1, 1);
	rp_wire_fd_close(&pair->peer);
	conn_assert_message(conn_receive(pair->conn), 4, 1, 1);
	conn_assert_refused(pair->conn, -ENOTCONN, "peer left");
}

/* At each byte of a message that carries descriptors. */
static void
peer_leaves_in_the_middle(void **state)
{
	struct conn_pair *pair = *state;
	uint8_t bytes[HEADER_BYTES + 12];
	size_t size_bytes = conn_make_message(bytes, 12, 0x77), cut;

	for (cut = 1; cut < size_bytes; cut++) {
		int fds[2] = {conn_pair_eventfd(1), conn_pair_eventfd(2)};

		conn_peer_write(pair->peer, bytes, cut, fds, 2);
		rp_wire_fd_close_all(fds, 2);
		rp_wire_fd_close(&pair->peer);
		conn_assert_refused(pair->conn, -ENOTCONN, "in the middle");
		conn_pair_teardown(state);
		conn_pair_open(pair, &conn_pair_framing);
	}
}

/* Descriptors in the socket that nobody read, and in a message that is half read, are closed too. */
static void
destroy_in_the_middle(void **state)
{
	struct conn_pair *pair = *state;
	struct rp_wire_msg *msg = NULL;
	uint8_t bytes[HEADER_BYTES + 12];
	int fds[2] = {conn_pair_eventfd(1), conn_pair_eventfd(2)};

	conn_make_message(bytes, 12, 0x77);
	conn_peer_write(pair->peer, bytes, HEADER_BYTES + 1, fds, 2);
	assert_int_equal(rp_wire_conn_receive(pair->conn, &msg, NULL), -EAGAIN);
	conn_peer_write(pair->peer, bytes, 1, fds, 1);
	rp_wire_fd_close_all(fds, 2);
}

/* A peer that resets instead of closing: unread data turns our read into an error. */
static void
peer_resets(void **state)
{
	struct conn_pair *pair = *state;
	uint8_t bytes[HEADER_BYTES];
	struct iovec iov = {.iov_base = bytes, .iov_len = conn_make_message(bytes, 0, 0)};

	assert_int_equal(rp_wire_conn_send(pair->conn, &iov, 1, NULL, 0), 0);
	rp_wire_fd_close(&pair->peer);
	conn_assert_refused(pair->conn, -ENOTCONN, "peer left");
	assert_int_equal(rp_wire_conn_send(pair->conn, &iov, 1, NULL, 0), -ENOTCONN);
}

/* Random splits of random messages, some with descriptors: nothing is lost, torn or mixed up. */
static void
random_splits(void **state)
{
	struct conn_pair *pair = *state;
	unsigned int seed = 20240607, round;

	for (round = 0; round < 400; round++) {
		uint8_t bytes[HEADER_BYTES + PAYLOAD_MAX_BYTES];
		uint32_t payload_size = (uint32_t)rand_r(&seed) % 64;
		size_t size_bytes = conn_make_message(bytes, payload_size, (uint8_t)round), at = 0;
		unsigned int fds_count = 0;
		struct rp_wire_msg *msg = NULL;

		while (at < size_bytes) {
			size_t piece = 1 + (size_t)rand_r(&seed) % (size_bytes - at);
			unsigned int with_fd = fds_count < FDS_MAX && rand_r(&seed) % 3 == 0;
			int fd = conn_pair_eventfd(fds_count + 1);

			conn_peer_write(pair->peer, bytes + at, piece, &fd, with_fd);
			rp_wire_fd_close(&fd);
			fds_count += with_fd;
			at += piece;
			if (at < size_bytes && rand_r(&seed) % 2 == 0)
				assert_int_equal(rp_wire_conn_receive(pair->conn, &msg, NULL), -EAGAIN);
		}
		msg = conn_receive(pair->conn);
		conn_assert_message(msg, payload_size, (uint8_t)round, fds_count);
		while (fds_count-- > 0)
			assert_int_equal(conn_pair_eventfd_value(msg->fds[fds_count]), fds_count + 1);
	}
}

struct place {
	uint8_t bytes[4096];
	unsigned int begins;
	unsigned int ends;
	unsigned int wanted; /* begins that are answered with the place */
};

static uint8_t *
place_begin(void *ctx, const void *header, size_t payload_bytes)
{
	struct place *place = ctx;

	assert_non_null(header);
	assert_in_range(payload_bytes, 100, 4096);
	assert_int_equal(place->begins < place->wanted ? place->begins : place->wanted, place->ends);
	return place->begins++ < place->wanted ? place->bytes : NULL;
}

static void
place_end(void *ctx)
{
	((struct place *)ctx)->ends++;
}

static const struct rp_wire_placer placer = {
	.head_bytes = 10, .payload_min_bytes = 100, .begin = place_begin, .end = place_end};

/* The end of a payload is read where it belongs, its head into the message, in whatever bites it comes. */
static void
payload_is_placed(void **state)
{
	struct conn_pair *pair = *state;
	uint8_t bytes[HEADER_BYTES + 1000];
	size_t size_bytes = conn_make_message(bytes, 1000, 0), cut, i;
	struct rp_wire_msg *msg = NULL;
	struct place place;

	for (i = 0; i < 1000; i++)
		bytes[HEADER_BYTES + i] = (uint8_t)(i * 7 + 1);
	rp_wire_conn_set_placer(pair->conn, &placer, &place);
	for (cut = 1; cut < size_bytes; cut += cut < 40 ? 1 : 97) {
		place = (struct place){.wanted = 100};
		conn_peer_write(pair->peer, bytes, cut, NULL, 0);
		assert_int_equal(rp_wire_conn_receive(pair->conn, &msg, NULL), -EAGAIN);
		conn_peer_write(pair->peer, bytes + cut, size_bytes - cut, NULL, 0);
		msg = conn_receive(pair->conn);
		assert_int_equal(msg->size_bytes, size_bytes);
		assert_memory_equal(msg->bytes, bytes, HEADER_BYTES + 10);
		assert_memory_equal(place.bytes, bytes + HEADER_BYTES + 10, 990);
		assert_int_equal(place.begins, place.ends);
	}
	/* Small ones are not asked for, and nobody is asked any more. */
	place = (struct place){.wanted = 100};
	conn_peer_message(pair->peer, 99, 3, NULL, 0);
	conn_assert_message(conn_receive(pair->conn), 99, 3, 0);
	assert_int_equal(place.begins, 0);
	rp_wire_conn_set_placer(pair->conn, NULL, NULL);
	conn_peer_message(pair->peer, 1000, 3, NULL, 0);
	conn_assert_message(conn_receive(pair->conn), 1000, 3, 0);
}

/* Nobody wants it, from the beginning or from somewhere in the middle: the stream goes on, the place is left alone. */
static void
payload_is_placed_no_more(void **state)
{
	struct conn_pair *pair = *state;
	uint8_t bytes[HEADER_BYTES + 1000];
	size_t size_bytes = conn_make_message(bytes, 1000, 5);
	struct rp_wire_msg *msg = NULL;
	struct place place;
	unsigned int wanted;

	rp_wire_conn_set_placer(pair->conn, &placer, &place);
	for (wanted = 0; wanted < 5; wanted++) {
		place = (struct place){.wanted = wanted};
		conn_peer_write(pair->peer, bytes, HEADER_BYTES + 300, NULL, 0);
		assert_int_equal(rp_wire_conn_receive(pair->conn, &msg, NULL), -EAGAIN);
		memset(place.bytes, 0x77, sizeof(place.bytes));
		conn_peer_write(pair->peer, bytes + HEADER_BYTES + 300, size_bytes - HEADER_BYTES - 300, NULL, 0);
		msg = conn_receive(pair->conn);
		assert_int_equal(msg->size_bytes, size_bytes);
		/* The last one was read to its end; of the others, what has been read elsewhere is not in the message. */
		assert_int_equal(place.bytes[989], wanted < 4 ? 0x77 : 5);
		if (wanted < 4)
			assert_int_equal(msg->bytes[HEADER_BYTES + 299], wanted < 2 ? 5 : 0);
		conn_peer_message(pair->peer, 20, 9, NULL, 0);
		conn_assert_message(conn_receive(pair->conn), 20, 9, 0);
	}
}

/* Between two messages somebody else may go on with the socket. */
static void
idle_between_messages(void **state)
{
	struct conn_pair *pair = *state;
	uint8_t bytes[HEADER_BYTES + 20];
	size_t size_bytes = conn_make_message(bytes, 20, 0x5a), i;
	struct iovec iov = {.iov_base = bytes, .iov_len = size_bytes};
	struct rp_wire_msg *msg;

	assert_true(rp_wire_conn_is_idle(pair->conn));
	for (i = 0; i < size_bytes; i++) {
		conn_peer_write(pair->peer, &bytes[i], 1, NULL, 0);
		if (i == size_bytes - 1)
			break;
		assert_int_equal(rp_wire_conn_receive(pair->conn, &msg, NULL), -EAGAIN);
		assert_false(rp_wire_conn_is_idle(pair->conn));
	}
	conn_receive(pair->conn);
	assert_true(rp_wire_conn_is_idle(pair->conn));
	assert_int_equal(rp_wire_conn_receive(pair->conn, &msg, NULL), -EAGAIN);
	assert_true(rp_wire_conn_is_idle(pair->conn));
	while (rp_wire_conn_poll_events(pair->conn) == POLLIN)
		assert_int_equal(rp_wire_conn_send(pair->conn, &iov, 1, NULL, 0), 0);
	assert_false(rp_wire_conn_is_idle(pair->conn));
	rp_wire_fd_close(&pair->peer);
	assert_int_equal(rp_wire_conn_receive(pair->conn, &msg, NULL), -ENOTCONN);
	assert_false(rp_wire_conn_is_idle(pair->conn));
}

int __wrap_epoll_ctl(int epoll_fd, int operation, int fd, struct epoll_event *event);
int __real_epoll_ctl(int epoll_fd, int operation, int fd, struct epoll_event *event);

static unsigned int epoll_ctl_calls;

int
__wrap_epoll_ctl(int epoll_fd, int operation, int fd, struct epoll_event *event)
{
	epoll_ctl_calls++;
	return __real_epoll_ctl(epoll_fd, operation, fd, event);
}

/* @return what the epoll says of the one socket in it. */
static uint32_t
epoll_says(int epoll_fd)
{
	struct epoll_event event = {.events = 0};

	return epoll_wait(epoll_fd, &event, 1, 0) == 1 ? event.events : 0;
}

/* However often it is asked for, the kernel is told of what changed only. */
static void
watched_with_a_call_for_each_change(void **state)
{
	struct conn_pair *pair = *state;
	int epoll_fd = epoll_create1(EPOLL_CLOEXEC), no_epoll = conn_pair_eventfd(1);
	uint8_t bytes[HEADER_BYTES + 1000];
	struct iovec iov = {.iov_base = bytes, .iov_len = conn_make_message(bytes, 1000, 0xff)};
	unsigned int i;

	assert_true(epoll_fd >= 0);
	assert_int_equal(rp_wire_conn_watch(pair->conn, no_epoll), -EINVAL);
	epoll_ctl_calls = 0;
	for (i = 0; i < 3; i++)
		assert_int_equal(rp_wire_conn_watch(pair->conn, epoll_fd), 0);
	assert_int_equal(epoll_ctl_calls, 1);
	assert_int_equal(epoll_says(epoll_fd), 0);
	conn_peer_message(pair->peer, 4, 1, NULL, 0);
	assert_int_equal(epoll_says(epoll_fd), EPOLLIN);
	/* It goes on looking for what is there. */
	conn_assert_message(conn_receive(pair->conn), 4, 1, 0);
	conn_peer_message(pair->peer, 4, 2, NULL, 0);
	assert_int_equal(rp_wire_conn_watch(pair->conn, epoll_fd), 0);
	assert_int_equal(epoll_says(epoll_fd), EPOLLIN);
	conn_assert_message(conn_receive(pair->conn), 4, 2, 0);
	assert_int_equal(epoll_ctl_calls, 1);
	while ((rp_wire_conn_poll_events(pair->conn) & POLLOUT) == 0)
		assert_int_equal(rp_wire_conn_send(pair->conn, &iov, 1, NULL, 0), 0);
	for (i = 0; i < 3; i++)
		assert_int_equal(rp_wire_conn_watch(pair->conn, epoll_fd), 0);
	assert_int_equal(epoll_ctl_calls, 2);
	assert_int_equal(epoll_says(epoll_fd), 0);
	while (rp_wire_conn_flush(pair->conn) == -EAGAIN)
		while (recv(pair->peer, bytes, sizeof(bytes), MSG_DONTWAIT) > 0)
			;
	while (recv(pair->peer, bytes, sizeof(bytes), MSG_DONTWAIT) > 0)
		;
	assert_int_equal(epoll_says(epoll_fd), EPOLLOUT);
	for (i = 0; i < 3; i++)
		assert_int_equal(rp_wire_conn_watch(pair->conn, epoll_fd), 0);
	assert_int_equal(epoll_ctl_calls, 3);
	assert_int_equal(epoll_says(epoll_fd), 0);
	rp_wire_fd_close(&no_epoll);
	rp_wire_fd_close(&epoll_fd);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(create_refuses_nonsense),
		WITH_PAIR(idle_between_messages),
		WITH_PAIR(bytes_may_come_one_by_one),
		WITH_PAIR(descriptors_may_come_on_any_byte),
		WITH_PAIR(empty_payload_is_a_message),
		WITH_PAIR(pipelined_messages_keep_their_descriptors),
		WITH_PAIR(messages_in_one_write_are_told_apart),
		WITH_PAIR(taken_descriptors_outlive_the_message),
		WITH_PAIR(dropped_message_may_be_followed),
		WITH_PAIR(too_many_descriptors_at_once),
		WITH_PAIR(too_many_descriptors_bit_by_bit),
		WITH_PAIR(truncated_control_data),
		WITH_PAIR(our_own_descriptor_limit),
		WITH_PAIR(oversize_payload),
		WITH_PAIR(lost_framing_stays_lost),
		WITH_PAIR(peer_leaves_between_messages),
		WITH_PAIR(peer_leaves_in_the_middle),
		WITH_PAIR(destroy_in_the_middle),
		WITH_PAIR(peer_resets),
		WITH_PAIR(random_splits),
		WITH_PAIR(payload_is_placed),
		WITH_PAIR(payload_is_placed_no_more),
		WITH_PAIR(watched_with_a_call_for_each_change),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
