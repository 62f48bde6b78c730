/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <string.h>

#include "rp_wire_clock.h"
#include "rp_wire_conn.h"
#include "vfu_client.h"

#define MESSAGES_PER_TURN 64
#define ERRNO_MAX 4095

static int
gone(struct rp_vfu_client *client, int error, const struct rp_wire_why *reason, struct rp_wire_why *why)
{
	if (why != NULL)
		*why = *reason;
	return rp_vfu_client_leave(client, error, reason);
}

/*
 * A command of the server's. It may be waiting for the answer, so it gets one
 * at once, also while we wait ourselves.
 */
static int
refuse_command(struct rp_vfu_client *client, const struct rp_vfu_msg_view *command)
{
	struct rp_vfu_header header = {
		.id = command->header.id,
		.command = command->header.command,
		.size_bytes = sizeof(header),
		.flags = RP_VFU_TYPE_REPLY | RP_VFU_FLAG_ERROR,
	};
	struct iovec iov = {.iov_base = &header, .iov_len = sizeof(header)};
	struct rp_wire_why reason;
	int rc;

	if ((command->header.flags & RP_VFU_FLAG_NO_REPLY) != 0)
		return 0;
	rc = rp_vfu_msg_check_command(command, RP_VFU_TO_CLIENT, client->state, &client->terms, NULL, NULL);
	header.error = rp_vfu_errno_wire(rc < 0 ? rc : -ENOTSUP);
	rc = rp_wire_conn_send(client->conn, &iov, 1, NULL, 0);
	if (rc == 0)
		return 0;
	rp_wire_why_set(&reason, -ENOTCONN, "the server sends commands and does not read the replies: %s",
			strerror(-rc));
	return rp_vfu_client_leave(client, -ENOTCONN, &reason);
}

/*
 * @param call NULL: no reply is expected.
 * @return 0 (the reply of `call`), -EAGAIN (something else, dealt with), or an error; the server is gone then.
 */
static int
take_message(struct rp_vfu_client *client, struct rp_vfu_call *call, struct rp_wire_msg *msg, struct rp_wire_why *why)
{
	struct rp_vfu_msg_view view;
	struct rp_wire_why reason;

	rp_vfu_msg_parse(msg, &view);
	if ((view.header.flags & RP_VFU_TYPE_MASK) == RP_VFU_TYPE_COMMAND) {
		int rc;

		rp_wire_msg_drop(msg);
		rc = refuse_command(client, &view);
		return rc == 0 ? -EAGAIN : rp_wire_why_set(why, rc, "the server sends commands and reads no replies");
	}
	if (call == NULL || view.header.id != call->id) {
		/* Whose reply it was meant to be cannot be known, nor what the next one will be. */
		rp_wire_why_set(&reason, -EBADMSG, "%s: reply: id %u, which is of no command under way",
				rp_vfu_msg_name(view.header.command), view.header.id);
		return gone(client, -EBADMSG, &reason, why);
	}
	call->msg = msg;
	call->reply = view;
	return 0;
}

static int
wait_for_socket(struct rp_vfu_client *client, uint64_t deadline_ms)
{
	struct pollfd socket = {.fd = rp_wire_conn_fd(client->conn)};
	uint64_t now_ms = rp_wire_clock_ms();
	uint64_t left_ms = deadline_ms - now_ms;

	if (now_ms >= deadline_ms)
		return -ETIMEDOUT;
	socket.events = rp_wire_conn_poll_events(client->conn);
	(void)poll(&socket, 1, left_ms > INT_MAX ? INT_MAX : (int)left_ms);
	if ((socket.revents & POLLOUT) != 0 && rp_wire_conn_flush(client->conn) == -ENOTCONN)
		return -ENOTCONN;
	return 0;
}

static int
wait_for_reply(struct rp_vfu_client *client, struct rp_vfu_call *call, struct rp_wire_why *why)
{
	uint64_t deadline_ms = rp_wire_clock_ms() + client->timeout_ms;
	struct rp_wire_why reason;

	for (;;) {
		struct rp_wire_msg *msg;
		int rc = rp_wire_conn_receive(client->conn, &msg, &reason);

		if (rc == 0) {
			rc = take_message(client, call, msg, why);
			if (rc != -EAGAIN)
				return rc;
			/* A server that only sends commands does not make this last for ever. */
			if (rp_wire_clock_ms() < deadline_ms)
				continue;
			rc = -ETIMEDOUT;
		} else if (rc == -EAGAIN) {
			rc = wait_for_socket(client, deadline_ms);
			if (rc == 0)
				continue;
			rp_wire_why_set(&reason, rc, "peer left");
		}
		if (rc == -ETIMEDOUT)
			rp_wire_why_set(&reason, rc, "%s: no reply within %u ms", rp_vfu_msg_name(call->command),
					client->timeout_ms);
		return gone(client, rc == -ETIMEDOUT ? rc : -ENOTCONN, &reason, why);
	}
}

static int
send_command(struct rp_vfu_client *client, struct rp_vfu_call *call, struct rp_wire_why *why)
{
	struct rp_vfu_header header = {
		.id = client->next_id++,
		.command = call->command,
		.size_bytes = (uint32_t)sizeof(header) + call->payload_bytes + call->data_bytes,
		.flags = RP_VFU_TYPE_COMMAND,
	};
	struct iovec iov[] = {
		{.iov_base = &header, .iov_len = sizeof(header)},
		{.iov_base = (void *)call->payload, .iov_len = call->payload_bytes},
		{.iov_base = (void *)call->data, .iov_len = call->data_bytes},
	};
	struct rp_wire_why reason;
	int rc;

	call->id = header.id;
	rc = rp_wire_conn_send(client->conn, iov, 3, call->fds, call->fds_count);
	if (rc == 0)
		return 0;
	rp_wire_why_set(&reason, -ENOTCONN, "%s could not be sent: %s", rp_vfu_msg_name(call->command),
			rc == -ENOTCONN ? "peer left" : strerror(-rc));
	return gone(client, -ENOTCONN, &reason, why);
}

/* What a caller gets for the errno of an error reply. */
static int
server_error(uint32_t error)
{
	/* These say something about the connection or the reply here, and no errno must not look like success. */
	if (error == 0 || error > ERRNO_MAX || error == ENOTCONN || error == ETIMEDOUT || error == EBADMSG)
		return -EIO;
	return -(int)error;
}

int
rp_vfu_client_call(struct rp_vfu_client *client, struct rp_vfu_call *call, struct rp_wire_why *why)
{
	int rc;

	if (client->conn == NULL)
		return rp_wire_why_set(why, -ENOTCONN, "the server is gone");
	if (client->state == RP_VFU_STATE_READY && call->fds_count > client->terms.value[RP_VFU_TERM_MSG_FDS])
		return rp_wire_why_set(why, -ENOTSUP, "%s: the server takes no descriptors",
				       rp_vfu_msg_name(call->command));
	rc = send_command(client, call, why);
	if (rc == 0)
		rc = wait_for_reply(client, call, why);
	if (rc < 0)
		return rc;
	rc = rp_vfu_msg_check_reply(&call->reply, call->command, why);
	if (rc == 0 && (call->reply.header.flags & RP_VFU_FLAG_ERROR) != 0) {
		uint32_t error = call->reply.header.error;

		rc = rp_wire_why_set(why, server_error(error), "%s: the server refused: error %u (%s)",
				     rp_vfu_msg_name(call->command), error,
				     error <= ERRNO_MAX ? strerror((int)error) : "not an errno value");
	}
	if (rc < 0)
		rp_wire_msg_drop(call->msg);
	return rc;
}

int
rp_vfu_client_serve(struct rp_vfu_client *client, struct rp_wire_why *why)
{
	struct rp_wire_why reason;
	struct rp_wire_msg *msg;
	unsigned int turn;
	int rc = 0;

	if (client->conn == NULL)
		return rp_wire_why_set(why, -ENOTCONN, "the server is gone");
	if (rp_wire_conn_flush(client->conn) == -ENOTCONN) {
		rp_wire_why_set(&reason, -ENOTCONN, "peer left");
		return gone(client, -ENOTCONN, &reason, why);
	}
	for (turn = 0; turn < MESSAGES_PER_TURN && rc == 0; turn++) {
		rc = rp_wire_conn_receive(client->conn, &msg, &reason);
		if (rc == 0)
			rc = take_message(client, NULL, msg, why) == -EAGAIN ? 0 : -ENOTCONN;
		else if (rc != -EAGAIN)
			rc = gone(client, -ENOTCONN, &reason, why);
	}
	return rc == -ENOTCONN ? rc : 0;
}
