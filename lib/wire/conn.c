/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>

#include "rp_wire_conn.h"
#include "rp_wire_fd.h"

#define HEADER_MAX 64
#define IOV_MAX_PARTS 8
/* A peer that asks for descriptors and never reads must not use up our table. */
#define OUTPUT_FDS_MAX (4 * RP_WIRE_FDS_MAX)
/* What is gathered while corked; a larger message is worth its own call. */
#define CORK_ROOM_BYTES (CORK_MESSAGES_MAX * CORK_MESSAGE_MAX_BYTES)
/* Then they leave: the peer works on them while the next ones are made. Measured: 8 and more take turns with it. */
#define CORK_MESSAGES_MAX 4
#define CORK_MESSAGE_MAX_BYTES (8 * 1024)

/* A message, or its rest, that the socket did not take yet. */
struct output {
	STAILQ_ENTRY(output) link;
	size_t size_bytes;
	size_t sent_bytes;
	unsigned int fds_count; /* go out with the first byte, then closed */
	int fds[RP_WIRE_FDS_MAX];
	uint8_t bytes[];
};

struct rp_wire_conn {
	int fd;
	const struct rp_wire_framing *framing;

	struct rp_wire_msg msg;
	size_t have_bytes; /* of msg.bytes */
	size_t want_bytes; /* header_bytes, then the whole message */
	size_t room_bytes; /* allocated at msg.bytes */
	bool header_done;
	bool placed; /* the end of the payload goes where the placer says */
	bool msg_handed_out;
	int failed; /* -EPROTO or -ENOTCONN: bytes or descriptors are lost, no message can follow */

	STAILQ_HEAD(output_queue, output) outputs;
	size_t output_bytes;
	unsigned int output_fds_count;

	const struct rp_wire_placer *placer; /* NULL: none */
	void *placer_ctx;

	bool corked;
	uint8_t *gathered; /* CORK_ROOM_BYTES; NULL: never corked */
	size_t gathered_bytes;
	unsigned int gathered_count;
};

int
rp_wire_conn_create(int *fd, const struct rp_wire_framing *framing, struct rp_wire_conn **ret_conn)
{
	struct rp_wire_conn *conn;
	int flags;

	if (*fd < 0 || framing->header_bytes == 0 || framing->header_bytes > HEADER_MAX ||
	    framing->fds_max > RP_WIRE_FDS_MAX)
		return -EINVAL;
	flags = fcntl(*fd, F_GETFL);
	if (flags < 0 || fcntl(*fd, F_SETFL, flags | O_NONBLOCK) < 0)
		return -EINVAL;
	conn = calloc(1, sizeof(*conn));
	if (conn == NULL)
		return -ENOMEM;
	conn->msg.bytes = malloc(framing->header_bytes);
	if (conn->msg.bytes == NULL) {
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

static void
output_free(struct output *output)
{
	rp_wire_fd_close_all(output->fds, output->fds_count);
	free(output);
}

struct rp_wire_conn *
rp_wire_conn_destroy(struct rp_wire_conn *conn)
{
	struct output *output;

	if (conn == NULL)
		return NULL;
	rp_wire_msg_drop(&conn->msg);
	while ((output = STAILQ_FIRST(&conn->outputs)) != NULL) {
		STAILQ_REMOVE_HEAD(&conn->outputs, link);
		output_free(output);
	}
	rp_wire_fd_close(&conn->fd);
	free(conn->gathered);
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
	return STAILQ_EMPTY(&conn->outputs) ? POLLIN : POLLIN | POLLOUT;
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
	conn->msg_handed_out = false;
	conn->header_done = false;
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

/* Into these parts. */
static int
read_into(struct rp_wire_conn *conn, struct iovec *iov, unsigned int iov_count, struct rp_wire_why *why)
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
	ssize_t got;
	int rc;

	do {
		got = recvmsg(conn->fd, &header, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
	} while (got < 0 && errno == EINTR);
	if (got < 0) {
		if (errno == EAGAIN || errno == EWOULDBLOCK)
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
	struct iovec iov[2];
	int rc;

	if (place == NULL)
		return stop_placing(conn, why);
	if (conn->have_bytes < from_bytes) {
		iov[0].iov_base = conn->msg.bytes + conn->have_bytes;
		iov[0].iov_len = from_bytes - conn->have_bytes;
		iov[1].iov_base = place;
		iov[1].iov_len = conn->want_bytes - from_bytes;
		rc = read_into(conn, iov, 2, why);
	} else {
		iov[0].iov_base = place + (conn->have_bytes - from_bytes);
		iov[0].iov_len = conn->want_bytes - conn->have_bytes;
		rc = read_into(conn, iov, 1, why);
	}
	conn->placer->end(conn->placer_ctx);
	return rc;
}

static int
read_some(struct rp_wire_conn *conn, struct rp_wire_why *why)
{
	struct iovec iov;

	if (conn->placed)
		return read_placed(conn, why);
	iov.iov_base = conn->msg.bytes + conn->have_bytes;
	iov.iov_len = conn->want_bytes - conn->have_bytes;
	return read_into(conn, &iov, 1, why);
}

/* Whether the placer knows of this payload. */
static bool
is_placed(const struct rp_wire_conn *conn, size_t payload_bytes)
{
	if (conn->placer == NULL || payload_bytes < conn->placer->payload_min_bytes ||
	    conn->placer->begin(conn->placer_ctx, conn->msg.bytes, payload_bytes) == NULL)
		return false;
	conn->placer->end(conn->placer_ctx);
	return true;
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
	conn->placed = is_placed(conn, payload_bytes);
	if (make_room(conn, framing->header_bytes + (conn->placed ? conn->placer->head_bytes : payload_bytes)) < 0)
		return rp_wire_why_set(why, -EPROTO, "no memory for a payload of %zu bytes", payload_bytes);
	conn->header_done = true;
	conn->want_bytes = framing->header_bytes + payload_bytes;
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
	if (rc == -EAGAIN)
		return rc;
	if (rc < 0) {
		conn->failed = rc;
		rp_wire_msg_drop(&conn->msg);
		return rc;
	}
	conn->msg.size_bytes = conn->have_bytes;
	conn->msg_handed_out = true;
	*ret_msg = &conn->msg;
	return 0;
}

/* Only a broken connection is -ENOTCONN: a caller's bad descriptor and a kernel limit leave it whole. */
static int
send_error(int error)
{
	switch (error) {
	case EAGAIN:
	case ENOBUFS:
	case ENOMEM:
	case ETOOMANYREFS: /* our user has too many descriptors in flight; the peer's reading frees them */
		return -EAGAIN;
	case EBADF:
	case EFAULT:
	case EINVAL:
		return -EINVAL;
	default:
		return -ENOTCONN;
	}
}

static ssize_t
write_some(int socket_fd, const struct iovec *iov, unsigned int iov_count, const int *fds, unsigned int fds_count)
{
	union {
		char bytes[CMSG_SPACE(sizeof(int) * RP_WIRE_FDS_MAX)];
		struct cmsghdr align;
	} control;
	struct msghdr header = {
		.msg_iov = (struct iovec *)iov,
		.msg_iovlen = iov_count,
	};
	ssize_t sent;

	if (fds_count > 0) {
		struct cmsghdr *rights;

		memset(&control, 0, sizeof(control));
		header.msg_control = control.bytes;
		header.msg_controllen = CMSG_SPACE(sizeof(int) * fds_count);
		rights = CMSG_FIRSTHDR(&header);
		rights->cmsg_level = SOL_SOCKET;
		rights->cmsg_type = SCM_RIGHTS;
		rights->cmsg_len = CMSG_LEN(sizeof(int) * fds_count);
		memcpy(CMSG_DATA(rights), fds, sizeof(int) * fds_count);
	}
	do {
		sent = sendmsg(socket_fd, &header, MSG_NOSIGNAL | MSG_DONTWAIT);
	} while (sent < 0 && errno == EINTR);
	return sent >= 0 ? sent : send_error(errno);
}

static int
queue_output(struct rp_wire_conn *conn, const struct iovec *iov, unsigned int iov_count, size_t total_bytes,
	     size_t sent_bytes, const int *fds, unsigned int fds_count)
{
	struct output *output;
	size_t at = 0;
	unsigned int i;

	if (conn->output_fds_count + fds_count > OUTPUT_FDS_MAX)
		return -ENOSPC;
	output = malloc(sizeof(*output) + total_bytes);
	if (output == NULL)
		return -ENOSPC;
	for (i = 0; i < iov_count; i++) {
		if (iov[i].iov_len == 0)
			continue;
		memcpy(output->bytes + at, iov[i].iov_base, iov[i].iov_len);
		at += iov[i].iov_len;
	}
	output->size_bytes = total_bytes;
	output->sent_bytes = sent_bytes;
	output->fds_count = 0;
	for (i = 0; i < fds_count; i++) {
		int copy = rp_wire_fd_dup(fds[i]);

		if (copy < 0) {
			output_free(output);
			return copy == -EBADF ? -EINVAL : -ENOSPC;
		}
		output->fds[output->fds_count++] = copy;
	}
	STAILQ_INSERT_TAIL(&conn->outputs, output, link);
	conn->output_bytes += total_bytes - sent_bytes;
	conn->output_fds_count += fds_count;
	return 0;
}

/* The peer holds half a message, or lacks one that we said was sent: nothing whole can follow. */
static int
give_up(struct rp_wire_conn *conn)
{
	shutdown(conn->fd, SHUT_RDWR);
	return -ENOTCONN;
}

static int
send_gathered(struct rp_wire_conn *conn)
{
	struct iovec iov = {.iov_base = conn->gathered, .iov_len = conn->gathered_bytes};
	ssize_t sent = 0;

	conn->gathered_bytes = 0;
	conn->gathered_count = 0;
	if (iov.iov_len == 0)
		return 0;
	if (STAILQ_EMPTY(&conn->outputs))
		sent = write_some(conn->fd, &iov, 1, NULL, 0);
	if (sent == (ssize_t)iov.iov_len)
		return 0;
	if (sent < 0 && sent != -EAGAIN)
		return (int)sent;
	/* They were accepted: the limit is for what comes after them. */
	if (queue_output(conn, &iov, 1, iov.iov_len, sent < 0 ? 0 : (size_t)sent, NULL, 0) < 0)
		return give_up(conn);
	return 0;
}

void
rp_wire_conn_cork(struct rp_wire_conn *conn)
{
	if (conn->gathered == NULL)
		conn->gathered = malloc(CORK_ROOM_BYTES);
	conn->corked = conn->gathered != NULL;
}

int
rp_wire_conn_uncork(struct rp_wire_conn *conn)
{
	conn->corked = false;
	return send_gathered(conn);
}

/* @return whether the message is with those that leave together. */
static bool
gather(struct rp_wire_conn *conn, const struct iovec *iov, unsigned int iov_count, size_t total_bytes)
{
	unsigned int i;

	if (!conn->corked || total_bytes > CORK_MESSAGE_MAX_BYTES || !STAILQ_EMPTY(&conn->outputs) ||
	    total_bytes > CORK_ROOM_BYTES - conn->gathered_bytes)
		return false;
	conn->gathered_count++;
	for (i = 0; i < iov_count; i++) {
		if (iov[i].iov_len > 0)
			memcpy(conn->gathered + conn->gathered_bytes, iov[i].iov_base, iov[i].iov_len);
		conn->gathered_bytes += iov[i].iov_len;
	}
	return true;
}

int
rp_wire_conn_send(struct rp_wire_conn *conn, const struct iovec *iov, unsigned int iov_count, const int *fds,
		  unsigned int fds_count)
{
	size_t total_bytes = 0;
	ssize_t sent = 0;
	unsigned int i;
	int rc;

	if (fds_count > conn->framing->fds_max || iov_count > IOV_MAX_PARTS)
		return -EINVAL;
	for (i = 0; i < iov_count; i++)
		total_bytes += iov[i].iov_len;
	/* Nothing to send could carry no descriptor either: they would be lost without a word. */
	if (total_bytes == 0)
		return -EINVAL;
	if (fds_count == 0 && gather(conn, iov, iov_count, total_bytes))
		return conn->gathered_count < CORK_MESSAGES_MAX ? 0 : send_gathered(conn);
	rc = send_gathered(conn);
	if (rc < 0)
		return rc;
	if (STAILQ_EMPTY(&conn->outputs)) {
		sent = write_some(conn->fd, iov, iov_count, fds, fds_count);
		if (sent < 0 && sent != -EAGAIN)
			return (int)sent;
		if (sent > 0)
			fds_count = 0;
		else
			sent = 0;
		if ((size_t)sent == total_bytes)
			return 0;
	}
	/* A message once begun must be finished, whatever the limit says. */
	if (sent == 0 && conn->output_bytes + total_bytes > conn->framing->output_max_bytes)
		return -ENOSPC;
	rc = queue_output(conn, iov, iov_count, total_bytes, (size_t)sent, fds, fds_count);
	return rc < 0 && sent > 0 ? give_up(conn) : rc;
}

int
rp_wire_conn_flush(struct rp_wire_conn *conn)
{
	struct output *output;

	while ((output = STAILQ_FIRST(&conn->outputs)) != NULL) {
		struct iovec iov = {
			.iov_base = output->bytes + output->sent_bytes,
			.iov_len = output->size_bytes - output->sent_bytes,
		};
		ssize_t sent = write_some(conn->fd, &iov, 1, output->fds, output->fds_count);

		if (sent < 0)
			return (int)sent;
		rp_wire_fd_close_all(output->fds, output->fds_count);
		conn->output_fds_count -= output->fds_count;
		output->fds_count = 0;
		output->sent_bytes += (size_t)sent;
		conn->output_bytes -= (size_t)sent;
		if (output->sent_bytes < output->size_bytes)
			continue;
		STAILQ_REMOVE_HEAD(&conn->outputs, link);
		output_free(output);
	}
	return 0;
}
