/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "conn.h"
#include "rp_wire_fd.h"

/* Sending: at once, together, or when the socket takes it. */

/* A peer that asks for descriptors and never reads must not use up our table. */
#define OUTPUT_FDS_MAX (4 * RP_WIRE_FDS_MAX)
#define IOV_MAX_PARTS 8
/* What is gathered while corked; a larger message is worth its own call. */
#define CORK_ROOM_BYTES (CORK_MESSAGES_MAX * CORK_MESSAGE_MAX_BYTES)
/* Then they leave: the peer works on them while the next ones are made. Measured: 8 and more take turns with it. */
#define CORK_MESSAGES_MAX 4
/* Whoever waits for all of them is woken once. */
#define CORK_FLIGHT_MAX 32
#define CORK_MESSAGE_MAX_BYTES (8 * 1024)

/* A message, or its rest, that the socket did not take yet. */
struct rp_wire_output {
	STAILQ_ENTRY(rp_wire_output) link;
	size_t size_bytes;
	size_t sent_bytes;
	size_t lent_bytes; /* of the end: not in `bytes` */
	const struct rp_wire_lender *lender; /* NULL: nothing is lent */
	void *lender_ctx;
	unsigned int fds_count; /* go out with the first byte, then closed */
	int fds[RP_WIRE_FDS_MAX];
	uint8_t bytes[];
};

static void
output_free(struct rp_wire_output *output)
{
	rp_wire_fd_close_all(output->fds, output->fds_count);
	if (output->lender != NULL)
		output->lender->done(output->lender_ctx);
	free(output);
}

void
rp_wire_outputs_free(struct rp_wire_conn *conn)
{
	struct rp_wire_output *output;

	while ((output = STAILQ_FIRST(&conn->outputs)) != NULL) {
		STAILQ_REMOVE_HEAD(&conn->outputs, link);
		output_free(output);
	}
	free(conn->gathered);
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
	     size_t sent_bytes, const int *fds, unsigned int fds_count, struct rp_wire_output **ret_output)
{
	struct rp_wire_output *output;
	size_t at = 0;
	unsigned int i;

	if (conn->output_fds_count + fds_count > OUTPUT_FDS_MAX)
		return -ENOSPC;
	for (i = 0; i < iov_count; i++)
		at += iov[i].iov_len;
	output = malloc(sizeof(*output) + at);
	if (output == NULL)
		return -ENOSPC;
	output->lent_bytes = total_bytes - at;
	output->lender = NULL;
	for (i = 0, at = 0; i < iov_count; i++) {
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
	*ret_output = output;
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
	struct rp_wire_output *output;
	ssize_t sent = 0;

	conn->gathered_bytes = 0;
	conn->gathered_count = 0;
	conn->later = false;
	if (iov.iov_len == 0)
		return 0;
	if (STAILQ_EMPTY(&conn->outputs))
		sent = write_some(conn->fd, &iov, 1, NULL, 0);
	if (sent == (ssize_t)iov.iov_len)
		return 0;
	if (sent < 0 && sent != -EAGAIN)
		return (int)sent;
	/* They were accepted: the limit is for what comes after them. */
	if (queue_output(conn, &iov, 1, iov.iov_len, sent < 0 ? 0 : (size_t)sent, NULL, 0, &output) < 0)
		return give_up(conn);
	return 0;
}

static void
cork(struct rp_wire_conn *conn, unsigned int messages_max)
{
	if (conn->gathered == NULL)
		conn->gathered = malloc(CORK_ROOM_BYTES);
	/* A flight stays one. */
	if (!conn->corked || messages_max > conn->cork_messages_max)
		conn->cork_messages_max = messages_max;
	conn->corked = conn->gathered != NULL;
}

void
rp_wire_conn_cork(struct rp_wire_conn *conn)
{
	cork(conn, CORK_MESSAGES_MAX);
}

void
rp_wire_conn_cork_flight(struct rp_wire_conn *conn)
{
	cork(conn, CORK_FLIGHT_MAX);
}

int
rp_wire_conn_push(struct rp_wire_conn *conn)
{
	return send_gathered(conn);
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

	if (total_bytes > CORK_MESSAGE_MAX_BYTES || !STAILQ_EMPTY(&conn->outputs) ||
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

/* What is done of a message at once. @return 0: all of it, 1: *ret_sent_bytes of it, the rest is to be queued; an error. */
static int
send_at_once(struct rp_wire_conn *conn, const struct iovec *iov, unsigned int iov_count, size_t total_bytes,
	     const int *fds, unsigned int fds_count, size_t *ret_sent_bytes)
{
	ssize_t sent = 0;
	int rc;

	*ret_sent_bytes = 0;
	/* Behind what waited for it (send_later). */
	if (fds_count == 0 && (conn->corked || conn->later) && gather(conn, iov, iov_count, total_bytes))
		return conn->corked && conn->gathered_count < conn->cork_messages_max ? 0 : send_gathered(conn);
	rc = send_gathered(conn);
	if (rc < 0)
		return rc;
	if (STAILQ_EMPTY(&conn->outputs)) {
		sent = write_some(conn->fd, iov, iov_count, fds, fds_count);
		if (sent < 0 && sent != -EAGAIN)
			return (int)sent;
		*ret_sent_bytes = sent > 0 ? (size_t)sent : 0;
		if (*ret_sent_bytes == total_bytes)
			return 0;
	}
	/* A message once begun must be finished, whatever the limit says. */
	if (*ret_sent_bytes == 0 && conn->output_bytes + total_bytes > conn->framing->output_max_bytes)
		return -ENOSPC;
	return 1;
}

static size_t
bytes_of(const struct iovec *iov, unsigned int iov_count)
{
	size_t bytes = 0;
	unsigned int i;

	for (i = 0; i < iov_count; i++)
		bytes += iov[i].iov_len;
	return bytes;
}

int
rp_wire_conn_send(struct rp_wire_conn *conn, const struct iovec *iov, unsigned int iov_count, const int *fds,
		  unsigned int fds_count)
{
	struct rp_wire_output *output;
	size_t total_bytes, sent_bytes;
	int rc;

	if (fds_count > conn->framing->fds_max || iov_count > IOV_MAX_PARTS)
		return -EINVAL;
	total_bytes = bytes_of(iov, iov_count);
	/* Nothing to send could carry no descriptor either: they would be lost without a word. */
	if (total_bytes == 0)
		return -EINVAL;
	rc = send_at_once(conn, iov, iov_count, total_bytes, fds, fds_count, &sent_bytes);
	if (rc <= 0)
		return rc;
	rc = queue_output(conn, iov, iov_count, total_bytes, sent_bytes, fds, sent_bytes > 0 ? 0 : fds_count, &output);
	return rc < 0 && sent_bytes > 0 ? give_up(conn) : rc;
}

int
rp_wire_conn_send_later(struct rp_wire_conn *conn, const struct iovec *iov, unsigned int iov_count)
{
	size_t total_bytes = bytes_of(iov, iov_count);

	if (conn->gathered == NULL)
		conn->gathered = malloc(CORK_ROOM_BYTES);
	if (conn->gathered == NULL || total_bytes == 0 || iov_count > IOV_MAX_PARTS ||
	    !gather(conn, iov, iov_count, total_bytes))
		return rp_wire_conn_send(conn, iov, iov_count, NULL, 0);
	conn->later = true;
	return conn->gathered_count < CORK_FLIGHT_MAX ? 0 : send_gathered(conn);
}

int
rp_wire_conn_send_lent(struct rp_wire_conn *conn, const struct iovec *iov, unsigned int iov_count,
		       const struct rp_wire_lender *lender, void *ctx)
{
	struct rp_wire_output *output;
	size_t total_bytes, sent_bytes;
	int rc;

	if (iov_count == 0 || iov_count > IOV_MAX_PARTS)
		return -EINVAL;
	total_bytes = bytes_of(iov, iov_count);
	if (total_bytes == 0)
		return -EINVAL;
	rc = send_at_once(conn, iov, iov_count, total_bytes, NULL, 0, &sent_bytes);
	if (rc <= 0)
		return rc;
	rc = queue_output(conn, iov, iov_count - 1, total_bytes, sent_bytes, NULL, 0, &output);
	if (rc < 0)
		return sent_bytes > 0 ? give_up(conn) : rc;
	output->lender = lender;
	output->lender_ctx = ctx;
	return 1;
}

static ssize_t
write_output(struct rp_wire_conn *conn, const struct rp_wire_output *output)
{
	size_t own_bytes = output->size_bytes - output->lent_bytes;
	const uint8_t *lent = NULL;
	struct iovec iov[2];
	unsigned int parts = 0;
	size_t at_bytes = 0;
	ssize_t sent;

	if (output->sent_bytes < own_bytes)
		iov[parts++] = (struct iovec){.iov_base = (void *)(output->bytes + output->sent_bytes),
					      .iov_len = own_bytes - output->sent_bytes};
	else
		at_bytes = output->sent_bytes - own_bytes;
	if (output->lender != NULL) {
		lent = output->lender->begin(output->lender_ctx);
		if (lent == NULL)
			return give_up(conn);
		iov[parts++] =
			(struct iovec){.iov_base = (void *)(lent + at_bytes), .iov_len = output->lent_bytes - at_bytes};
	}
	sent = write_some(conn->fd, iov, parts, output->fds, output->fds_count);
	if (lent != NULL)
		output->lender->end(output->lender_ctx);
	return sent;
}

int
rp_wire_conn_flush(struct rp_wire_conn *conn)
{
	struct rp_wire_output *output;
	int rc;

	if (conn->later) {
		rc = send_gathered(conn);
		if (rc < 0)
			return rc;
	}
	while ((output = STAILQ_FIRST(&conn->outputs)) != NULL) {
		ssize_t sent = write_output(conn, output);

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
