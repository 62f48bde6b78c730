/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "conn_pair.h"
#include "rp_wire_fd.h"

#define OUTPUT_FDS_MAX (4 * RP_WIRE_FDS_MAX)
#define BIG_PAYLOAD_BYTES (4u << 20)

static void
send_refuses_nonsense(void **state)
{
	struct conn_pair *pair = *state;
	uint8_t bytes[HEADER_BYTES];
	struct iovec iov[9] = {{.iov_base = bytes, .iov_len = conn_make_message(bytes, 0, 0)}};
	struct iovec nothing = {.iov_base = NULL, .iov_len = 0};
	int fds[FDS_MAX + 1] = {-1, -1, -1, -1, -1};
	struct pollfd poll_peer = {.fd = pair->peer, .events = POLLIN};

	assert_int_equal(rp_wire_conn_send(pair->conn, iov, 9, NULL, 0), -EINVAL);
	assert_int_equal(rp_wire_conn_send(pair->conn, iov, 1, fds, FDS_MAX + 1), -EINVAL);
	assert_int_equal(rp_wire_conn_send(pair->conn, iov, 1, fds, 1), -EINVAL);
	assert_int_equal(rp_wire_conn_send(pair->conn, &nothing, 1, &pair->peer, 1), -EINVAL);
	assert_int_equal(rp_wire_conn_send(pair->conn, iov, 0, NULL, 0), -EINVAL);
	assert_int_equal(poll(&poll_peer, 1, 0), 0);
	assert_int_equal(rp_wire_conn_send(pair->conn, iov, 1, NULL, 0), 0);
	assert_int_equal(poll(&poll_peer, 1, 0), 1);
}

/* Both ends are connections: parts are gathered, descriptors arrive as other numbers of the same file. */
static void
send_reaches_a_connection(void **state)
{
	struct conn_pair *pair = *state;
	struct header header = {.magic = MAGIC, .payload_bytes = 6};
	struct iovec iov[] = {
		{.iov_base = &header, .iov_len = sizeof(header)},
		{.iov_base = (char[]){'a', 'b', 'c'}, .iov_len = 3},
		{.iov_base = NULL, .iov_len = 0},
		{.iov_base = (char[]){'d', 'e', 'f'}, .iov_len = 3},
	};
	struct rp_wire_conn *other = NULL;
	struct rp_wire_msg *msg;
	int fd = conn_pair_eventfd(3), same;

	assert_int_equal(rp_wire_conn_create(&pair->peer, &conn_pair_framing, &other), 0);
	assert_int_equal(rp_wire_conn_send(pair->conn, iov, 4, &fd, 1), 0);
	assert_int_equal(rp_wire_conn_poll_events(pair->conn), POLLIN);
	msg = conn_receive(other);
	assert_int_equal(msg->size_bytes, HEADER_BYTES + 6);
	assert_memory_equal(msg->bytes + HEADER_BYTES, "abcdef", 6);
	assert_int_equal(msg->fds_count, 1);
	assert_int_not_equal(msg->fds[0], fd);
	same = rp_wire_fd_same(msg->fds[0], fd);
	assert_true(same == 1 || same < 0);
	assert_int_equal(conn_pair_eventfd_value(msg->fds[0]), 3);
	rp_wire_fd_close(&fd);
	rp_wire_conn_destroy(other);
}

static void
fill_socket(struct rp_wire_conn *conn)
{
	uint8_t bytes[HEADER_BYTES + 1000];
	struct iovec iov = {.iov_base = bytes, .iov_len = conn_make_message(bytes, 1000, 0xff)};

	while ((rp_wire_conn_poll_events(conn) & POLLOUT) == 0)
		assert_int_equal(rp_wire_conn_send(conn, &iov, 1, NULL, 0), 0);
}

/* A slow peer: messages and their descriptors wait in order, and all arrive. */
static void
full_socket_queues_in_order(void **state)
{
	struct conn_pair *pair = *state;
	struct rp_wire_conn *other = NULL;
	struct rp_wire_msg *msg = NULL;
	uint32_t sent = 0, got = 0;
	int rc;

	assert_int_equal(rp_wire_conn_create(&pair->peer, &conn_pair_framing, &other), 0);
	fill_socket(pair->conn);
	for (sent = 0; sent < 20; sent++) {
		uint8_t bytes[HEADER_BYTES + 100];
		struct iovec iov = {.iov_base = bytes, .iov_len = conn_make_message(bytes, 100, (uint8_t)sent)};
		int fd = conn_pair_eventfd(sent + 1);

		assert_int_equal(rp_wire_conn_send(pair->conn, &iov, 1, &fd, sent % 2), 0);
		rp_wire_fd_close(&fd);
	}
	assert_int_equal(rp_wire_conn_flush(pair->conn), -EAGAIN);
	do {
		rc = rp_wire_conn_flush(pair->conn);
		assert_true(rc == 0 || rc == -EAGAIN);
		while (rp_wire_conn_receive(other, &msg, NULL) == 0) {
			if (msg->bytes[HEADER_BYTES] == 0xff)
				continue;
			conn_assert_message(msg, 100, (uint8_t)got, got % 2);
			if (msg->fds_count > 0)
				assert_int_equal(conn_pair_eventfd_value(msg->fds[0]), got + 1);
			got++;
		}
	} while (rc == -EAGAIN);
	assert_int_equal(got, sent);
	assert_int_equal(rp_wire_conn_poll_events(pair->conn), POLLIN);
	rp_wire_conn_destroy(other);
}

/* A message far larger than the socket: its rest is queued whatever the limit says, byte for byte. */
static void
partial_write_is_finished(void **state)
{
	struct conn_pair *pair = *state;
	size_t total_bytes = HEADER_BYTES + BIG_PAYLOAD_BYTES, got_bytes = 0, i;
	uint8_t *sent = malloc(total_bytes), *got = malloc(total_bytes);
	struct iovec iov = {.iov_base = sent, .iov_len = total_bytes};
	int fd = conn_pair_eventfd(1);

	conn_make_message(sent, BIG_PAYLOAD_BYTES, 0);
	for (i = 0; i < BIG_PAYLOAD_BYTES; i++)
		sent[HEADER_BYTES + i] = (uint8_t)(i * 7 + i / 251);
	assert_int_equal(rp_wire_conn_send(pair->conn, &iov, 1, &fd, 1), 0);
	rp_wire_fd_close(&fd);
	assert_int_equal(rp_wire_conn_poll_events(pair->conn), POLLIN | POLLOUT);
	while (got_bytes < total_bytes) {
		ssize_t bytes = recv(pair->peer, got + got_bytes, total_bytes - got_bytes, 0);

		assert_true(bytes > 0);
		got_bytes += (size_t)bytes;
		rp_wire_conn_flush(pair->conn);
	}
	assert_memory_equal(sent, got, total_bytes);
	assert_int_equal(rp_wire_conn_flush(pair->conn), 0);
	free(sent);
	free(got);
}

static void
read_all(int peer)
{
	uint8_t bytes[4096];

	while (recv(peer, bytes, sizeof(bytes), MSG_DONTWAIT) > 0)
		;
}

/* Twice: what was written out counts no more. */
static void
output_has_a_limit(void **state)
{
	struct conn_pair *pair = *state;
	uint8_t bytes[HEADER_BYTES + 1000];
	struct iovec iov = {.iov_base = bytes, .iov_len = conn_make_message(bytes, 1000, 0)};
	int round;

	for (round = 0; round < 2; round++) {
		size_t queued = 0;
		int rc;

		fill_socket(pair->conn);
		while ((rc = rp_wire_conn_send(pair->conn, &iov, 1, NULL, 0)) == 0)
			queued += iov.iov_len;
		assert_int_equal(rc, -ENOSPC);
		assert_true(queued <= OUTPUT_MAX_BYTES);
		assert_true(queued >= OUTPUT_MAX_BYTES - 2 * iov.iov_len);
		while (rp_wire_conn_flush(pair->conn) == -EAGAIN)
			read_all(pair->peer);
		read_all(pair->peer);
	}
}

/* A queued message that the socket takes in two bites carries its descriptors in the first one only. */
static void
queued_message_is_written_in_bites(void **state)
{
	struct conn_pair *pair = *state;
	struct rp_wire_framing roomy = conn_pair_framing;
	struct rp_wire_conn *other = NULL;
	struct rp_wire_msg *msg = NULL;
	uint8_t *bytes = malloc(HEADER_BYTES + BIG_PAYLOAD_BYTES);
	struct iovec iov = {.iov_base = bytes, .iov_len = conn_make_message(bytes, BIG_PAYLOAD_BYTES, 0x66)};
	int fd, rc;

	conn_pair_teardown(state);
	roomy.payload_max_bytes = BIG_PAYLOAD_BYTES;
	roomy.output_max_bytes = 2 * (size_t)BIG_PAYLOAD_BYTES;
	conn_pair_open(pair, &roomy);
	fd = conn_pair_eventfd(11);
	assert_int_equal(rp_wire_conn_create(&pair->peer, &roomy, &other), 0);
	fill_socket(pair->conn);
	assert_int_equal(rp_wire_conn_send(pair->conn, &iov, 1, &fd, 1), 0);
	do {
		assert_int_not_equal(rp_wire_conn_flush(pair->conn), -ENOTCONN);
		while ((rc = rp_wire_conn_receive(other, &msg, NULL)) == 0 && msg->size_bytes != iov.iov_len)
			;
	} while (rc == -EAGAIN);
	assert_int_equal(rc, 0);
	assert_memory_equal(msg->bytes, bytes, iov.iov_len);
	assert_int_equal(msg->fds_count, 1);
	assert_int_equal(conn_pair_eventfd_value(msg->fds[0]), 11);
	rp_wire_conn_destroy(other);
	pair->conn = rp_wire_conn_destroy(pair->conn);
	rp_wire_fd_close(&fd);
	free(bytes);
}

/* A peer that asks for descriptors and never reads: bytes alone would let it have thousands. */
static void
queued_descriptors_have_a_limit(void **state)
{
	struct conn_pair *pair = *state;
	uint8_t bytes[HEADER_BYTES];
	struct iovec iov = {.iov_base = bytes, .iov_len = conn_make_message(bytes, 0, 0)};
	int fds[FDS_MAX];
	unsigned int queued = 0, i;
	int rc;

	fill_socket(pair->conn);
	for (i = 0; i < FDS_MAX; i++)
		fds[i] = conn_pair_eventfd(1);
	while ((rc = rp_wire_conn_send(pair->conn, &iov, 1, fds, FDS_MAX)) == 0)
		queued += FDS_MAX;
	assert_int_equal(rc, -ENOSPC);
	assert_int_equal(queued, OUTPUT_FDS_MAX);
	assert_int_equal(rp_wire_conn_send(pair->conn, &iov, 1, NULL, 0), 0);
	rp_wire_fd_close_all(fds, FDS_MAX);
}

static void
peer_leaves_with_output_queued(void **state)
{
	struct conn_pair *pair = *state;
	uint8_t bytes[HEADER_BYTES];
	struct iovec iov = {.iov_base = bytes, .iov_len = conn_make_message(bytes, 0, 0)};
	int fd = conn_pair_eventfd(1);

	fill_socket(pair->conn);
	assert_int_equal(rp_wire_conn_send(pair->conn, &iov, 1, &fd, 1), 0);
	rp_wire_fd_close(&fd);
	rp_wire_fd_close(&pair->peer);
	assert_int_equal(rp_wire_conn_flush(pair->conn), -ENOTCONN);
	conn_assert_refused(pair->conn, -ENOTCONN, "peer left");
}

static void
send_one(struct rp_wire_conn *conn, uint32_t payload_bytes, uint8_t fill, int *fd)
{
	uint8_t *bytes = malloc(HEADER_BYTES + payload_bytes);
	struct iovec iov = {.iov_base = bytes};

	assert_non_null(bytes);
	iov.iov_len = conn_make_message(bytes, payload_bytes, fill);
	assert_int_equal(rp_wire_conn_send(conn, &iov, 1, fd, fd == NULL ? 0 : 1), 0);
	free(bytes);
	if (fd != NULL)
		rp_wire_fd_close(fd);
}

static bool
peer_hears(const struct conn_pair *pair)
{
	struct pollfd peer = {.fd = pair->peer, .events = POLLIN};

	return poll(&peer, 1, 0) == 1;
}

static void
corked_messages_leave_together(void **state)
{
	struct conn_pair *pair = *state;

	rp_wire_conn_cork(pair->conn);
	send_one(pair->conn, 10, 1, NULL);
	send_one(pair->conn, 10, 2, NULL);
	assert_false(peer_hears(pair));
	assert_int_equal(rp_wire_conn_poll_events(pair->conn), POLLIN);
	assert_int_equal(rp_wire_conn_uncork(pair->conn), 0);
	assert_true(peer_hears(pair));
	/* Twice is allowed. */
	assert_int_equal(rp_wire_conn_uncork(pair->conn), 0);
}

/* No more than a few are kept back, so that the peer has something to do. */
static void
corked_messages_do_not_wait_for_many(void **state)
{
	struct conn_pair *pair = *state;
	unsigned int sent = 0;

	rp_wire_conn_cork(pair->conn);
	while (!peer_hears(pair) && sent++ < 1000)
		send_one(pair->conn, 10, 1, NULL);
	assert_in_range(sent, 2, 64);
	assert_int_equal(rp_wire_conn_uncork(pair->conn), 0);
}

/* A flight is of use when all of it is there. Not for ever: what has no end leaves in pieces. */
static void
a_flight_leaves_together(void **state)
{
	struct conn_pair *pair = *state;
	unsigned int sent;

	rp_wire_conn_cork_flight(pair->conn);
	for (sent = 0; sent < 20; sent++)
		send_one(pair->conn, 10, 1, NULL);
	/* Who gathers less meanwhile makes it no smaller. */
	rp_wire_conn_cork(pair->conn);
	send_one(pair->conn, 10, 1, NULL);
	assert_false(peer_hears(pair));
	assert_int_equal(rp_wire_conn_push(pair->conn), 0);
	assert_true(peer_hears(pair));
	assert_int_equal(rp_wire_conn_uncork(pair->conn), 0);
}

static void
a_flight_without_end_leaves_in_pieces(void **state)
{
	struct conn_pair *pair = *state;
	unsigned int sent = 0;

	rp_wire_conn_cork_flight(pair->conn);
	while (!peer_hears(pair) && sent++ < 1000)
		send_one(pair->conn, 10, 1, NULL);
	assert_in_range(sent, 20, 64);
	assert_int_equal(rp_wire_conn_uncork(pair->conn), 0);
}

/* What nobody waits for wakes nobody: it leaves with the next message, before it, or when output is flushed. */
static void
what_may_leave_later_goes_with_the_next(void **state)
{
	struct conn_pair *pair = *state;
	struct rp_wire_conn *other = NULL;
	uint8_t bytes[HEADER_BYTES + 10];
	struct iovec iov = {.iov_base = bytes, .iov_len = conn_make_message(bytes, 10, 1)};
	int fd = conn_pair_eventfd(1);
	uint8_t i;

	assert_int_equal(rp_wire_conn_send_later(pair->conn, &iov, 1), 0);
	assert_false(peer_hears(pair));
	assert_false(rp_wire_conn_is_idle(pair->conn));
	assert_int_equal(rp_wire_conn_poll_events(pair->conn), POLLIN | POLLOUT);
	assert_int_equal(rp_wire_conn_flush(pair->conn), 0);
	assert_true(peer_hears(pair));
	assert_int_equal(rp_wire_conn_poll_events(pair->conn), POLLIN);
	conn_make_message(bytes, 10, 2);
	assert_int_equal(rp_wire_conn_send_later(pair->conn, &iov, 1), 0);
	send_one(pair->conn, 10, 3, NULL);
	assert_true(rp_wire_conn_is_idle(pair->conn));
	conn_make_message(bytes, 10, 4);
	assert_int_equal(rp_wire_conn_send_later(pair->conn, &iov, 1), 0);
	send_one(pair->conn, 10, 5, &fd);
	assert_true(rp_wire_conn_is_idle(pair->conn));
	assert_int_equal(rp_wire_conn_create(&pair->peer, &conn_pair_framing, &other), 0);
	for (i = 1; i <= 5; i++)
		conn_assert_message(conn_receive(other), 10, i, i == 5 ? 1 : 0);
	rp_wire_conn_destroy(other);
	iov.iov_len = 0;
	assert_int_equal(rp_wire_conn_send_later(pair->conn, &iov, 1), -EINVAL);
}

/* Small ones, ones with descriptors and large ones, in the order in which they were sent, whatever the socket takes. */
static void
corked_messages_keep_their_order(void **state)
{
	static const uint32_t sizes[] = {100, 100, 8000, 60000, 100};
	struct conn_pair *pair = *state;
	struct rp_wire_conn *other = NULL;
	struct rp_wire_framing framing = conn_pair_framing;
	struct rp_wire_msg *msg = NULL;
	uint8_t sent = 0, got;
	int rc;

	framing.payload_max_bytes = 60000;
	assert_int_equal(rp_wire_conn_create(&pair->peer, &framing, &other), 0);
	rp_wire_conn_cork(pair->conn);
	while ((rp_wire_conn_poll_events(pair->conn) & POLLOUT) == 0 && sent < 200) {
		int fd = sent % 5 == 1 ? conn_pair_eventfd(1) : -1;

		send_one(pair->conn, sizes[sent % 5], sent, fd >= 0 ? &fd : NULL);
		sent++;
	}
	assert_in_range(sent, 5, 199);
	/* The socket is full: these stay behind what waits. */
	send_one(pair->conn, 100, sent++, NULL);
	assert_int_equal(rp_wire_conn_uncork(pair->conn), 0);
	send_one(pair->conn, 100, sent++, NULL);
	for (got = 0; got < sent; got++) {
		while ((rc = rp_wire_conn_receive(other, &msg, NULL)) == -EAGAIN)
			assert_int_not_equal(rp_wire_conn_flush(pair->conn), -ENOTCONN);
		assert_int_equal(rc, 0);
		assert_int_equal(msg->bytes[HEADER_BYTES], got);
		assert_int_equal(msg->fds_count, got % 5 == 1 && got < sent - 2 ? 1 : 0);
	}
	assert_int_equal(rp_wire_conn_flush(pair->conn), 0);
	rp_wire_conn_destroy(other);
}

static void
corked_messages_of_a_peer_that_left(void **state)
{
	struct conn_pair *pair = *state;

	rp_wire_conn_cork(pair->conn);
	send_one(pair->conn, 10, 1, NULL);
	rp_wire_fd_close(&pair->peer);
	assert_int_equal(rp_wire_conn_uncork(pair->conn), -ENOTCONN);
	/* And what never leaves goes with its connection. */
	rp_wire_conn_cork(pair->conn);
	send_one(pair->conn, 10, 1, NULL);
}

/* Whose bytes are lent, and for how long. */
static struct {
	uint8_t *bytes; /* NULL: lost */
	unsigned int begun;
	unsigned int done;
} loan;

static const uint8_t *
begin_lending(void *ctx)
{
	assert_ptr_equal(ctx, &loan);
	loan.begun += loan.bytes != NULL;
	return loan.bytes;
}

static void
end_lending(void *ctx)
{
	assert_ptr_equal(ctx, &loan);
	loan.begun--;
}

static void
done_lending(void *ctx)
{
	assert_ptr_equal(ctx, &loan);
	loan.done++;
}

static const struct rp_wire_lender lender = {.begin = begin_lending, .end = end_lending, .done = done_lending};

/* More than any socket takes. @param first_bytes of it are not lent. */
static int
lend(struct conn_pair *pair, uint8_t *message, size_t first_bytes)
{
	size_t size_bytes = conn_make_message(message, BIG_PAYLOAD_BYTES, 0x3d);
	const struct iovec iov[] = {
		{.iov_base = message, .iov_len = first_bytes},
		{.iov_base = message + first_bytes, .iov_len = size_bytes - first_bytes},
	};

	memset(&loan, 0, sizeof(loan));
	loan.bytes = message + first_bytes;
	return rp_wire_conn_send_lent(pair->conn, iov, 2, &lender, &loan);
}

static void
read_message(struct conn_pair *pair, const uint8_t *expected, size_t size_bytes)
{
	static uint8_t bytes[65536];
	size_t got_bytes = 0;

	while (got_bytes < size_bytes) {
		size_t left_bytes = size_bytes - got_bytes;
		ssize_t got = recv(pair->peer, bytes, left_bytes < sizeof(bytes) ? left_bytes : sizeof(bytes), 0);

		assert_true(got > 0);
		assert_memory_equal(bytes, expected + got_bytes, got);
		got_bytes += (size_t)got;
		(void)rp_wire_conn_flush(pair->conn);
	}
}

static void
what_is_lent_is_written_from_where_it_is(void **state)
{
	uint8_t *message = malloc(HEADER_BYTES + BIG_PAYLOAD_BYTES), *moved = malloc(HEADER_BYTES + BIG_PAYLOAD_BYTES);
	static const size_t firsts[] = {0, HEADER_BYTES, 500};
	struct conn_pair *pair = *state;
	unsigned int i;

	assert_non_null(message);
	assert_non_null(moved);
	for (i = 0; i < 3; i++) {
		assert_int_equal(lend(pair, message, firsts[i]), 1);
		assert_int_equal(rp_wire_conn_poll_events(pair->conn), POLLIN | POLLOUT);
		/* To somewhere else, as an owner may that has it back. */
		memcpy(moved, message, HEADER_BYTES + BIG_PAYLOAD_BYTES);
		loan.bytes = moved + firsts[i];
		memset(message, 0, HEADER_BYTES + BIG_PAYLOAD_BYTES);
		assert_int_equal(loan.done, 0);
		read_message(pair, moved, HEADER_BYTES + BIG_PAYLOAD_BYTES);
		assert_int_equal(loan.begun, 0);
		assert_int_equal(loan.done, 1);
		assert_int_equal(rp_wire_conn_poll_events(pair->conn), POLLIN);
	}
	free(moved);
	free(message);
}

static void
what_is_lent_waits_behind_what_waits(void **state)
{
	uint8_t *message = malloc(HEADER_BYTES + BIG_PAYLOAD_BYTES);
	uint8_t before[HEADER_BYTES + 1000];
	struct conn_pair *pair = *state;
	size_t size_bytes, i;

	assert_non_null(message);
	fill_socket(pair->conn);
	assert_int_equal(lend(pair, message, HEADER_BYTES), -ENOSPC);
	assert_int_equal(loan.done, 0);
	free(message);
	size_bytes = conn_make_message(before, 1000, 0xff);
	message = malloc(HEADER_BYTES + 3000);
	assert_non_null(message);
	conn_make_message(message, 3000, 0x71);
	memset(&loan, 0, sizeof(loan));
	loan.bytes = message + HEADER_BYTES;
	assert_int_equal(rp_wire_conn_send_lent(pair->conn,
						(const struct iovec[]){{.iov_base = message, .iov_len = HEADER_BYTES},
								       {.iov_base = loan.bytes, .iov_len = 3000}},
						2, &lender, &loan),
			 1);
	for (i = 0; loan.done == 0; i++)
		read_message(pair, before, size_bytes);
	/* How many there were is the kernel's; the last of them are still there. */
	while (recv(pair->peer, before, 1, MSG_PEEK) == 1) {
		struct header header;

		assert_int_equal(recv(pair->peer, &header, sizeof(header), MSG_PEEK), sizeof(header));
		if (header.payload_bytes == 3000)
			break;
		conn_make_message(before, 1000, 0xff);
		read_message(pair, before, size_bytes);
	}
	read_message(pair, message, HEADER_BYTES + 3000);
	free(message);
}

static void
what_is_lost_ends_the_connection(void **state)
{
	uint8_t *message = malloc(HEADER_BYTES + BIG_PAYLOAD_BYTES);
	struct conn_pair *pair = *state;

	assert_non_null(message);
	assert_int_equal(lend(pair, message, HEADER_BYTES), 1);
	loan.bytes = NULL;
	free(message);
	assert_int_equal(rp_wire_conn_flush(pair->conn), -ENOTCONN);
	pair->conn = rp_wire_conn_destroy(pair->conn);
	assert_int_equal(loan.begun, 0);
	assert_int_equal(loan.done, 1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_PAIR(send_refuses_nonsense),
		WITH_PAIR(send_reaches_a_connection),
		WITH_PAIR(what_is_lent_is_written_from_where_it_is),
		WITH_PAIR(what_is_lent_waits_behind_what_waits),
		WITH_PAIR(what_is_lost_ends_the_connection),
		WITH_PAIR(full_socket_queues_in_order),
		WITH_PAIR(partial_write_is_finished),
		WITH_PAIR(output_has_a_limit),
		WITH_PAIR(queued_message_is_written_in_bites),
		WITH_PAIR(queued_descriptors_have_a_limit),
		WITH_PAIR(peer_leaves_with_output_queued),
		WITH_PAIR(corked_messages_leave_together),
		WITH_PAIR(corked_messages_do_not_wait_for_many),
		WITH_PAIR(a_flight_leaves_together),
		WITH_PAIR(a_flight_without_end_leaves_in_pieces),
		WITH_PAIR(what_may_leave_later_goes_with_the_next),
		WITH_PAIR(corked_messages_keep_their_order),
		WITH_PAIR(corked_messages_of_a_peer_that_left),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
