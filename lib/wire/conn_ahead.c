/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>

#include "conn.h"
#include "rp_wire_fd.h"

/*
 * One read for a small message instead of two, and one for many small ones.
 *
 * Theory of operation: the kernel ends a read behind the piece of the stream that
 * descriptors came with, so they belong to a message that begins in what was read, or
 * to the one that was being read before. With a header only so much is read ahead
 * that a message which may have descriptors does not end in it: theirs is the last
 * one that begins there. More is read only after a look that says that no descriptor
 * stands in it; or where a message that has some is written by itself (fds_alone): the
 * read then ends behind it, and it is the last one that begins there.
 */

/* Smaller ones come many at a time. */
#define SMALL_BYTES 256u
/* After descriptors stood in what was looked at, so many messages are read without a look. */
#define PEEKS_SKIPPED 16u

int
rp_wire_conn_allow_wait(struct rp_wire_conn *conn, uint32_t limit_ms)
{
	const struct timeval limit = {
		.tv_sec = limit_ms / 1000,
		.tv_usec = (suseconds_t)(limit_ms % 1000) * 1000,
	};
	int flags = fcntl(conn->fd, F_GETFL);

	/* Each call that is not to wait says so. */
	if (flags < 0 || fcntl(conn->fd, F_SETFL, flags & ~O_NONBLOCK) < 0 ||
	    setsockopt(conn->fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)) < 0)
		return -errno;
	return 0;
}

int
rp_wire_conn_receive_wait(struct rp_wire_conn *conn, size_t payload_bytes, struct rp_wire_msg **ret_msg,
			  struct rp_wire_why *why)
{
	int rc;

	/* Not for the rest of a message. */
	conn->waits = conn->ahead_bytes == 0 && (conn->msg_handed_out || conn->have_bytes == 0);
	conn->expected_bytes = payload_bytes <= SMALL_BYTES ? payload_bytes : 0;
	rc = rp_wire_conn_receive(conn, ret_msg, why);
	conn->waits = false;
	conn->expected_bytes = 0;
	return rc;
}

bool
rp_wire_conn_has_ahead(const struct rp_wire_conn *conn)
{
	return conn->ahead_bytes > 0;
}

void
rp_wire_conn_expect_many(struct rp_wire_conn *conn)
{
	conn->in_a_row = true;
}

/*
 * Read as many small messages as there are, if no descriptor is among them: without
 * room for control data a look says whether there are some, and installs none.
 *
 * @return 1: something was read; 0: to be read as usual; -EAGAIN: there is nothing.
 */
static int
read_many(struct rp_wire_conn *conn)
{
	struct iovec iov = {.iov_base = conn->ahead, .iov_len = RP_WIRE_AHEAD_ROOM_BYTES};
	struct msghdr header = {.msg_iov = &iov, .msg_iovlen = 1};
	ssize_t got;

	if (conn->peeks_skipped > 0) {
		conn->peeks_skipped--;
		return 0;
	}
	got = recvmsg(conn->fd, &header, MSG_PEEK | MSG_DONTWAIT);
	if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
		return -EAGAIN;
	if (got > 0 && (header.msg_flags & MSG_CTRUNC) != 0)
		conn->peeks_skipped = PEEKS_SKIPPED;
	if (got <= (ssize_t)(conn->framing->header_bytes + conn->framing->ahead_bytes) || conn->peeks_skipped > 0)
		return 0;
	/* They are there: what else arrives meanwhile comes behind them. */
	got = recv(conn->fd, conn->ahead, (size_t)got, MSG_DONTWAIT);
	if (got <= 0)
		return 0;
	conn->ahead_first = 0;
	conn->ahead_bytes = (size_t)got;
	return 1;
}

/* All that there is, with the descriptors of the last message that begins in it. */
static int
read_all(struct rp_wire_conn *conn, struct rp_wire_why *why)
{
	struct iovec iov = {.iov_base = conn->ahead, .iov_len = RP_WIRE_AHEAD_ROOM_BYTES};
	int rc;

	conn->own_fds_count = 0;
	rc = rp_wire_conn_read_into(conn, &iov, 1, why);
	conn->ahead_first = 0;
	conn->ahead_bytes = conn->have_bytes;
	conn->have_bytes = 0;
	return rc;
}

int
rp_wire_ahead_read(struct rp_wire_conn *conn, struct rp_wire_why *why)
{
	const size_t header_bytes = conn->framing->header_bytes;
	struct iovec iov[2] = {
		{.iov_base = conn->msg.bytes + conn->have_bytes, .iov_len = header_bytes - conn->have_bytes},
		{.iov_base = conn->ahead, .iov_len = conn->framing->ahead_bytes},
	};
	int rc;

	if (conn->framing->fds_alone && conn->have_bytes == 0)
		return read_all(conn, why);
	rc = conn->have_bytes == 0 && conn->in_a_row && !conn->waits ? read_many(conn) : 0;
	if (rc != 0)
		return rc < 0 ? rc : 0;
	conn->own_fds_count = conn->msg.fds_count;
	if (conn->expected_bytes > 0)
		iov[1].iov_len = conn->expected_bytes;
	rc = rp_wire_conn_read_into(conn, iov, 2, why);
	if (rc < 0)
		return rc;
	if (conn->have_bytes > header_bytes) {
		conn->ahead_first = 0;
		conn->ahead_bytes = conn->have_bytes - header_bytes;
		conn->have_bytes = header_bytes;
	}
	return 0;
}

size_t
rp_wire_ahead_take(struct rp_wire_conn *conn, uint8_t *ret_bytes, size_t bytes_max)
{
	size_t bytes = conn->ahead_bytes < bytes_max ? conn->ahead_bytes : bytes_max;

	memcpy(ret_bytes, conn->ahead + conn->ahead_first, bytes);
	conn->ahead_first += bytes;
	conn->ahead_bytes -= bytes;
	return bytes;
}

void
rp_wire_ahead_sort_fds(struct rp_wire_conn *conn, size_t payload_bytes)
{
	struct rp_wire_msg *msg = &conn->msg;

	if (conn->ahead_bytes <= payload_bytes)
		return;
	while (msg->fds_count > conn->own_fds_count)
		conn->later_fds[conn->later_fds_count++] = rp_wire_fd_take(&msg->fds[--msg->fds_count]);
}

void
rp_wire_ahead_begin(struct rp_wire_conn *conn)
{
	struct rp_wire_msg *msg = &conn->msg;

	conn->in_a_row = msg->size_bytes <= SMALL_BYTES;
	conn->own_fds_count = 0;
	/* They were put there last first. */
	while (conn->later_fds_count > 0)
		msg->fds[msg->fds_count++] = rp_wire_fd_take(&conn->later_fds[--conn->later_fds_count]);
}
