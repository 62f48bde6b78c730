/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "conn.h"
#include "rp_wire_fd.h"

#define HEADER_MAX 64

int
rp_wire_conn_create(int *fd, const struct rp_wire_framing *framing, struct rp_wire_conn **ret_conn)
{
	bool reads_ahead = framing->ahead_bytes > 0 || framing->fds_alone;
	struct rp_wire_conn *conn;
	int flags;

	if (*fd < 0 || framing->header_bytes == 0 || framing->header_bytes > HEADER_MAX ||
	    framing->fds_max > RP_WIRE_FDS_MAX || framing->ahead_bytes > framing->header_bytes ||
	    (framing->ahead_bytes > 0 && framing->fds_alone))
		return -EINVAL;
	flags = fcntl(*fd, F_GETFL);
	if (flags < 0 || fcntl(*fd, F_SETFL, flags | O_NONBLOCK) < 0)
		return -EINVAL;
	conn = calloc(1, sizeof(*conn));
	if (conn == NULL)
		return -ENOMEM;
	conn->msg.bytes = malloc(framing->header_bytes);
	if (reads_ahead)
		conn->ahead = malloc(RP_WIRE_AHEAD_ROOM_BYTES);
	if (conn->msg.bytes == NULL || (reads_ahead && conn->ahead == NULL)) {
		free(conn->msg.bytes);
		free(conn->ahead);
		free(conn);
		return -ENOMEM;
	}
	conn->room_bytes = framing->header_bytes;
	conn->want_bytes = framing->header_bytes;
	conn->framing = framing;
	conn->fd = rp_wire_fd_take(fd);
	STAILQ_INIT(&conn->outputs);
	*ret_conn = conn;
	return 0;
}

void
rp_wire_conn_set_placer(struct rp_wire_conn *conn, const struct rp_wire_placer *placer, void *ctx)
{
	conn->placer = placer;
	conn->placer_ctx = ctx;
}

struct rp_wire_conn *
rp_wire_conn_destroy(struct rp_wire_conn *conn)
{
	if (conn == NULL)
		return NULL;
	rp_wire_msg_drop(&conn->msg);
	rp_wire_fd_close_all(conn->later_fds, conn->later_fds_count);
	rp_wire_outputs_free(conn);
	rp_wire_fd_close(&conn->fd);
	free(conn->ahead);
	free(conn->msg.bytes);
	free(conn);
	return NULL;
}

int
rp_wire_conn_fd(const struct rp_wire_conn *conn)
{
	return conn->fd;
}

short
rp_wire_conn_poll_events(const struct rp_wire_conn *conn)
{
	return STAILQ_EMPTY(&conn->outputs) && !conn->later ? POLLIN : POLLIN | POLLOUT;
}

int
rp_wire_conn_watch(struct rp_wire_conn *conn, int epoll_fd)
{
	short events = rp_wire_conn_poll_events(conn);
	struct epoll_event event = {.events = EPOLLIN | ((events & POLLOUT) != 0 ? (uint32_t)EPOLLOUT : 0)};

	if (events == conn->watched_events)
		return 0;
	if (epoll_ctl(epoll_fd, conn->watched_events == 0 ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, conn->fd, &event) < 0)
		return -errno;
	conn->watched_events = events;
	return 0;
}

bool
rp_wire_conn_is_idle(const struct rp_wire_conn *conn)
{
	bool reading = !conn->msg_handed_out && conn->have_bytes > 0;

	return !reading && conn->ahead_bytes == 0 && conn->later_fds_count == 0 && conn->failed == 0 &&
	       STAILQ_EMPTY(&conn->outputs) && conn->gathered_bytes == 0;
}

void
rp_wire_msg_drop(struct rp_wire_msg *msg)
{
	rp_wire_fd_close_all(msg->fds, msg->fds_count);
	msg->fds_count = 0;
}

static void
start_next_message(struct rp_wire_conn *conn)
{
	rp_wire_msg_drop(&conn->msg);
	rp_wire_ahead_begin(conn);
	conn->msg_handed_out = false;
	conn->header_done = false;
	conn->asks = false;
	conn->placed = false;
	conn->have_bytes = 0;
	conn->want_bytes = conn->framing->header_bytes;
	conn->msg.size_bytes = 0;
}

/* Everything that the kernel installed is ours from here, whatever happens next. */
static int
take_descriptors(struct rp_wire_conn *conn, struct msghdr *header, struct rp_wire_why *why)
{
	unsigned int refused = 0;
	struct cmsghdr *control;

	for (control = CMSG_FIRSTHDR(header); control != NULL; control = CMSG_NXTHDR(header, control)) {
		size_t count, i;

		if (control->cmsg_level != SOL_SOCKET || control->cmsg_type != SCM_RIGHTS)
			continue;
		count = (control->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (i = 0; i < count; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(control) + i * sizeof(int), sizeof(int));
			if (conn->msg.fds_count < conn->framing->fds_max) {
				conn->msg.fds[conn->msg.fds_count++] = fd;
			} else {
				rp_wire_fd_close(&fd);
				refused++;
			}
		}
	}
	if (refused > 0)
		return rp_wire_why_set(why, -EPROTO, "descriptors: %u with one message, expected at most %u",
				       conn->msg.fds_count + refused, conn->framing->fds_max);
	if ((header->msg_flags & MSG_CTRUNC) != 0)
		return rp_wire_why_set(why, -EPROTO,
				       "descriptors: truncated: more than %u at once, or this process has too many "
				       "files open",
				       RP_WIRE_FDS_MAX);
	return 0;
}

int
rp_wire_conn_read_into(struct rp_wire_conn *conn, struct iovec *iov, unsigned int iov_count, struct rp_wire_why *why)
{
	union {
		char bytes[CMSG_SPACE(sizeof(int) * RP_WIRE_FDS_MAX)];
		struct cmsghdr align;
	} control;
	struct msghdr header = {
		.msg_iov = iov,
		.msg_iovlen = iov_count,
		.msg_control = control.bytes,
		.msg_controllen = sizeof(control.bytes),
	};
	bool waits = conn->waits;
	ssize_t got;
	int rc;

	conn->waits = false;
	do {
		got = recvmsg(conn->fd, &header, MSG_CMSG_CLOEXEC | (waits ? 0 : MSG_DONTWAIT));
	} while (got < 0 && errno == EINTR && !waits);
	if (got < 0) {
		/* Whoever let it wait knows until when. */
		if (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)
			return -EAGAIN;
		return rp_wire_why_set(why, -ENOTCONN, "peer left: %s", strerror(errno));
	}
	rc = take_descriptors(conn, &header, why);
	if (rc < 0)
		return rc;
	if (got == 0) {
		if (conn->have_bytes > 0)
			return rp_wire_why_set(why, -ENOTCONN, "peer left in the middle of a message");
		return rp_wire_why_set(why, -ENOTCONN, "peer left");
	}
	conn->have_bytes += (size_t)got;
	return 0;
}

static int
make_room(struct rp_wire_conn *conn, size_t bytes)
{
	uint8_t *bigger;

	if (bytes <= conn->room_bytes)
		return 0;
	bigger = realloc(conn->msg.bytes, bytes);
	if (bigger == NULL)
		return -ENOMEM;
	conn->msg.bytes = bigger;
	conn->room_bytes = bytes;
	return 0;
}

static size_t
placed_from(const struct rp_wire_conn *conn)
{
	return conn->framing->header_bytes + conn->placer->head_bytes;
}

/* Nobody wants the bytes any more: the rest is read into the message, to be thrown away with it. */
static int
stop_placing(struct rp_wire_conn *conn, struct rp_wire_why *why)
{
	size_t from_bytes = placed_from(conn);

	if (make_room(conn, conn->want_bytes) < 0)
		return rp_wire_why_set(why, -EPROTO, "no memory for a message of %zu bytes", conn->want_bytes);
	if (conn->have_bytes > from_bytes)
		memset(conn->msg.bytes + from_bytes, 0, conn->have_bytes - from_bytes);
	conn->placed = false;
	return 0;
}

static int
read_placed(struct rp_wire_conn *conn, struct rp_wire_why *why)
{
	size_t from_bytes = placed_from(conn);
	uint8_t *place =
		conn->placer->begin(conn->placer_ctx, conn->msg.bytes, conn->want_bytes - conn->framing->header_bytes);
	struct iovec iov;
	int rc = 0;

	if (place == NULL)
		return stop_placing(conn, why);
	iov.iov_base = place + (conn->have_bytes - from_bytes);
	iov.iov_len = conn->want_bytes - conn->have_bytes;
	if (conn->ahead_bytes > 0)
		conn->have_bytes += rp_wire_ahead_take(conn, iov.iov_base, iov.iov_len);
	else
		rc = rp_wire_conn_read_into(conn, &iov, 1, why);
	conn->placer->end(conn->placer_ctx);
	return rc;
}

static int
read_some(struct rp_wire_conn *conn, struct rp_wire_why *why)
{
	struct iovec iov = {
		.iov_base = conn->msg.bytes + conn->have_bytes,
		.iov_len = conn->want_bytes - conn->have_bytes,
	};

	if (conn->placed)
		return read_placed(conn, why);
	if (conn->ahead_bytes > 0) {
		conn->have_bytes += rp_wire_ahead_take(conn, iov.iov_base, iov.iov_len);
		return 0;
	}
	if (!conn->header_done && conn->ahead != NULL)
		return rp_wire_ahead_read(conn, why);
	return rp_wire_conn_read_into(conn, &iov, 1, why);
}

/* The message's head is whole: whether the placer knows of its payload. */
static int
ask_placer(struct rp_wire_conn *conn, struct rp_wire_why *why)
{
	size_t payload_bytes = conn->total_bytes - conn->framing->header_bytes;

	conn->asks = false;
	conn->want_bytes = conn->total_bytes;
	conn->placed =
		conn->placer != NULL && conn->placer->begin(conn->placer_ctx, conn->msg.bytes, payload_bytes) != NULL;
	if (conn->placed)
		conn->placer->end(conn->placer_ctx);
	else if (make_room(conn, conn->total_bytes) < 0)
		return rp_wire_why_set(why, -EPROTO, "no memory for a payload of %zu bytes", payload_bytes);
	return 0;
}

static int
header_complete(struct rp_wire_conn *conn, struct rp_wire_why *why)
{
	const struct rp_wire_framing *framing = conn->framing;
	size_t payload_bytes = 0;
	int rc = framing->payload_bytes(conn->msg.bytes, &payload_bytes, why);

	if (rc < 0)
		return rc;
	if (payload_bytes > framing->payload_max_bytes)
		return rp_wire_why_set(why, -EPROTO, "header: size: payload of %zu bytes, expected at most %zu",
				       payload_bytes, framing->payload_max_bytes);
	rp_wire_ahead_sort_fds(conn, payload_bytes);
	conn->asks = conn->placer != NULL && payload_bytes >= conn->placer->payload_min_bytes;
	conn->total_bytes = framing->header_bytes + payload_bytes;
	conn->want_bytes = conn->asks ? placed_from(conn) : conn->total_bytes;
	if (make_room(conn, conn->want_bytes) < 0)
		return rp_wire_why_set(why, -EPROTO, "no memory for a payload of %zu bytes", payload_bytes);
	conn->header_done = true;
	return 0;
}

static int
read_whole_message(struct rp_wire_conn *conn, struct rp_wire_why *why)
{
	for (;;) {
		int rc;

		if (conn->have_bytes < conn->want_bytes)
			rc = read_some(conn, why);
		else if (!conn->header_done)
			rc = header_complete(conn, why);
		else if (conn->asks)
			rc = ask_placer(conn, why);
		else
			return 0;
		if (rc < 0)
			return rc;
	}
}

int
rp_wire_conn_receive(struct rp_wire_conn *conn, struct rp_wire_msg **ret_msg, struct rp_wire_why *why)
{
	int rc;

	if (conn->msg_handed_out)
		start_next_message(conn);
	if (conn->failed != 0)
		return rp_wire_why_set(why, conn->failed, "connection: has failed before");
	rc = read_whole_message(conn, why);
	if (rc == -EAGAIN) {
		conn->in_a_row = false;
		return rc;
	}
	if (rc < 0) {
		conn->failed = rc;
		rp_wire_msg_drop(&conn->msg);
		rp_wire_fd_close_all(conn->later_fds, conn->later_fds_count);
		conn->later_fds_count = 0;
		return rc;
	}
	conn->msg.size_bytes = conn->have_bytes;
	conn->msg_handed_out = true;
	*ret_msg = &conn->msg;
	return 0;
}
