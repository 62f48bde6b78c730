/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "rp_wire_clock.h"
#include "rp_wire_conn.h"
#include "vfu_client.h"

/*
 * Commands under way. Each has a slot by its id, so that a reply finds it in one
 * step, and a place in a queue by age, whose head has the next deadline. Whether
 * somebody waits for the reply or a function hears of it makes no difference here.
 */

#define ERRNO_MAX 4095

static struct rp_vfu_call **
slot_of(struct rp_vfu_client *client, uint16_t id)
{
	return &client->calls[id % RP_VFU_CALL_SLOTS];
}

static void
finish(struct rp_vfu_client *client, struct rp_vfu_call *call, int error)
{
	*slot_of(client, call->id) = NULL;
	TAILQ_REMOVE(&client->under_way, call, link);
	client->calls_count--;
	call->error = error;
	call->finished = true;
	if (call->arrived != NULL)
		call->arrived(client, call);
}

void
rp_vfu_client_finish_all(struct rp_vfu_client *client, int error, const struct rp_wire_why *why)
{
	struct rp_vfu_call *call;

	while ((call = TAILQ_FIRST(&client->under_way)) != NULL) {
		call->why = *why;
		call->why.error = error;
		finish(client, call, error);
	}
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

static int
judge(struct rp_vfu_call *call)
{
	uint32_t error = call->reply.header.error;
	int rc = rp_vfu_msg_check_reply(&call->reply, call->command, &call->why);

	if (rc < 0 || (call->reply.header.flags & RP_VFU_FLAG_ERROR) == 0)
		return rc;
	return rp_wire_why_set(&call->why, server_error(error), "%s: the server refused: error %u (%s)",
			       rp_vfu_msg_name(call->command), error,
			       error <= ERRNO_MAX ? strerror((int)error) : "not an errno value");
}

int
rp_vfu_client_take_reply(struct rp_vfu_client *client, struct rp_wire_msg *msg, const struct rp_vfu_msg_view *view)
{
	struct rp_vfu_call *call = *slot_of(client, view->header.id);
	struct rp_wire_why reason;
	int rc;

	if (call == NULL || call->id != view->header.id) {
		/* Whose reply it was meant to be cannot be known, nor what the next one will be. */
		rp_wire_why_set(&reason, -EBADMSG, "%s: reply: id %u, which is of no command under way",
				rp_vfu_msg_name(view->header.command), view->header.id);
		return rp_vfu_client_leave(client, -EBADMSG, &reason);
	}
	call->msg = msg;
	call->reply = *view;
	rc = judge(call);
	if (rc < 0)
		rp_wire_msg_drop(msg);
	finish(client, call, rc);
	return 0;
}

static int
check_room(struct rp_vfu_client *client, const struct rp_vfu_call *call, struct rp_wire_why *why)
{
	bool queued = (rp_wire_conn_poll_events(client->conn) & POLLOUT) != 0;

	if (!call->posted && client->calls_count >= RP_VFU_CALLS_MAX)
		return rp_wire_why_set(why, -EAGAIN, "%s: %u commands are under way", rp_vfu_msg_name(call->command),
				       client->calls_count);
	/* What we owe the server comes first, or both ends could wait for each other. */
	if (queued && client->owed_count > 0 && client->twin == NULL)
		return rp_wire_why_set(why, -EAGAIN, "%s: the server does not read", rp_vfu_msg_name(call->command));
	return 0;
}

static void
choose_id(struct rp_vfu_client *client, struct rp_vfu_call *call)
{
	/* There are more slots than calls. */
	while (*slot_of(client, client->next_id) != NULL)
		client->next_id++;
	call->id = client->next_id++;
}

static int
send_failed(struct rp_vfu_client *client, const struct rp_vfu_call *call, int error, struct rp_wire_why *why)
{
	const char *name = rp_vfu_msg_name(call->command);
	struct rp_wire_why reason;

	if (error == -EINVAL)
		return rp_wire_why_set(why, error, "%s: a bad descriptor", name);
	if (error == -ENOSPC && (rp_wire_conn_poll_events(client->conn) & POLLOUT) != 0)
		return rp_wire_why_set(why, -EAGAIN, "%s: the server does not read", name);
	if (error == -ENOSPC)
		return rp_wire_why_set(why, -ENOMEM, "%s: no memory, or no descriptors left", name);
	rp_wire_why_set(&reason, -ENOTCONN, "%s could not be sent: peer left", name);
	if (why != NULL)
		*why = reason;
	return rp_vfu_client_leave(client, -ENOTCONN, &reason);
}

static int
send_command(struct rp_vfu_client *client, struct rp_vfu_call *call, struct rp_wire_why *why)
{
	struct rp_vfu_header header = {
		.id = call->id,
		.command = call->command,
		.size_bytes = (uint32_t)sizeof(header) + call->payload_bytes + call->data_bytes,
		.flags = RP_VFU_TYPE_COMMAND | (call->posted ? RP_VFU_FLAG_NO_REPLY : 0),
	};
	struct iovec iov[] = {
		{.iov_base = &header, .iov_len = sizeof(header)},
		{.iov_base = (void *)call->payload, .iov_len = call->payload_bytes},
		{.iov_base = (void *)call->data, .iov_len = call->data_bytes},
	};
	int rc = call->later ? rp_wire_conn_send_later(client->conn, iov, 3) :
			       rp_wire_conn_send(client->conn, iov, 3, call->fds, call->fds_count);

	return rc < 0 ? send_failed(client, call, rc, why) : 0;
}

int
rp_vfu_client_submit(struct rp_vfu_client *client, struct rp_vfu_call *call, struct rp_wire_why *why)
{
	int rc;

	if (client->conn == NULL)
		return rp_wire_why_set(why, -ENOTCONN, "the server is gone");
	if (client->state == RP_VFU_STATE_READY && call->fds_count > client->terms.value[RP_VFU_TERM_MSG_FDS])
		return rp_wire_why_set(why, -ENOTSUP, "%s: the server takes no descriptors",
				       rp_vfu_msg_name(call->command));
	rc = check_room(client, call, why);
	if (rc < 0)
		return rc;
	choose_id(client, call);
	rc = send_command(client, call, why);
	if (rc < 0 || call->posted)
		return rc;
	call->finished = false;
	call->deadline_ms = rp_wire_clock_ms() + client->timeout_ms;
	*slot_of(client, call->id) = call;
	TAILQ_INSERT_TAIL(&client->under_way, call, link);
	client->calls_count++;
	return 0;
}

int
rp_vfu_client_may_wait(const struct rp_vfu_client *client, uint16_t command, struct rp_wire_why *why)
{
	if (client->inside)
		return rp_wire_why_set(why, -EBUSY, "%s: from inside a callback", rp_vfu_msg_name(command));
	if (client->conn == NULL)
		return rp_wire_why_set(why, -ENOTCONN, "the server is gone");
	return 0;
}

int
rp_vfu_client_make_room(struct rp_vfu_client *client, uint64_t *deadline_ms, struct rp_wire_why *why)
{
	struct rp_wire_why reason;
	int rc;

	if (*deadline_ms == 0)
		*deadline_ms = rp_wire_clock_ms() + client->timeout_ms;
	rc = rp_vfu_client_step(client);
	if (rc == -EAGAIN)
		rc = rp_vfu_client_sleep(client, *deadline_ms);
	if (rc == 0)
		rc = rp_vfu_client_check_time(client);
	if (rc < 0)
		return rp_wire_why_set(why, -ENOTCONN, "the server is gone");
	if (rp_wire_clock_ms() < *deadline_ms)
		return 0;
	rp_wire_why_set(&reason, -ETIMEDOUT, "the server has not read for %u ms", client->timeout_ms);
	if (why != NULL)
		*why = reason;
	return rp_vfu_client_leave(client, -ETIMEDOUT, &reason);
}

int
rp_vfu_client_submit_wait(struct rp_vfu_client *client, struct rp_vfu_call *call, struct rp_wire_why *why)
{
	uint64_t deadline_ms = 0;
	int rc = rp_vfu_client_may_wait(client, call->command, why);

	if (rc < 0)
		return rc;
	do {
		rc = rp_vfu_client_submit(client, call, why);
	} while (rc == -EAGAIN && (rc = rp_vfu_client_make_room(client, &deadline_ms, why)) == 0);
	return rc;
}

/* One message, or sleep for one. The end of the connection finishes every call, so this has an end. */
static void
wait_for_message(struct rp_vfu_client *client)
{
	int rc = rp_vfu_client_step(client);

	if (rc == -EAGAIN)
		rc = rp_vfu_client_sleep(client, UINT64_MAX);
	else if (rc < 0)
		return;
	/* A server that only sends commands does not make this last for ever. */
	if (rc == 0)
		(void)rp_vfu_client_check_time(client);
}

int
rp_vfu_client_call(struct rp_vfu_client *client, struct rp_vfu_call *call, struct rp_wire_why *why)
{
	int rc = rp_vfu_client_submit_wait(client, call, why);

	if (rc < 0)
		return rc;
	/* There is hardly ever something to read already. */
	(void)rp_vfu_client_await(client, call);
	while (!call->finished)
		wait_for_message(client);
	rp_vfu_client_watch(client);
	if (call->error < 0 && why != NULL)
		*why = call->why;
	return call->error;
}

void
rp_vfu_client_tell(struct rp_vfu_client *client, const struct rp_vfu_client_done *done, int error,
		   const struct rp_wire_why *why)
{
	bool before = client->inside;

	if (done->done == NULL)
		return;
	client->inside = true;
	done->done(done->ctx, error, why);
	client->inside = before;
}

static void
on_batch_done(void *ctx, int error, const struct rp_wire_why *why)
{
	struct rp_vfu_batch *batch = ctx;

	batch->outstanding--;
	if (error == 0 || batch->error < 0)
		return;
	batch->error = error;
	batch->why = *why;
}

struct rp_vfu_client_done
rp_vfu_batch_done(struct rp_vfu_batch *batch)
{
	return (struct rp_vfu_client_done){.done = on_batch_done, .ctx = batch};
}

/* Nothing is there at first, and then mostly all of it. */
static void
wait_for_flight(struct rp_vfu_client *client)
{
	if (client->conn == NULL || rp_wire_conn_has_ahead(client->conn))
		return;
	if (rp_vfu_client_sleep(client, UINT64_MAX) < 0 || client->conn == NULL)
		return;
	rp_wire_conn_expect_many(client->conn);
}

int
rp_vfu_batch_wait(struct rp_vfu_client *client, struct rp_vfu_batch *batch, int rc, struct rp_wire_why *why)
{
	if (batch->outstanding > 1)
		wait_for_flight(client);
	while (batch->outstanding > 0)
		wait_for_message(client);
	rp_vfu_client_watch(client);
	if (batch->error < 0) {
		if (why != NULL)
			*why = batch->why;
		return batch->error;
	}
	return rc;
}

/* A command of which only success or failure is of interest. */
struct plain {
	struct rp_vfu_call call;
	struct rp_vfu_client_done done;
};

static void
on_plain_reply(struct rp_vfu_client *client, struct rp_vfu_call *call)
{
	struct plain *plain = call->owner;

	rp_vfu_client_tell(client, &plain->done, call->error, &call->why);
	free(plain);
}

int
rp_vfu_client_start_plain(struct rp_vfu_client *client, const struct rp_vfu_call *call,
			  const struct rp_vfu_client_done *done, struct rp_wire_why *why)
{
	struct plain *plain = malloc(sizeof(*plain));
	int rc;

	if (plain == NULL)
		return rp_wire_why_set(why, -ENOMEM, "%s: no memory", rp_vfu_msg_name(call->command));
	plain->call = *call;
	plain->call.arrived = on_plain_reply;
	plain->call.owner = plain;
	plain->done = *done;
	rc = rp_vfu_client_submit(client, &plain->call, why);
	if (rc < 0)
		free(plain);
	return rc;
}

int
rp_vfu_client_wait(struct rp_vfu_client *client, struct rp_wire_why *why)
{
	int rc = rp_vfu_client_may_wait(client, 0, why);

	if (rc < 0)
		return rc;
	while (client->calls_count > 0)
		wait_for_message(client);
	rp_vfu_client_watch(client);
	return client->conn == NULL ? rp_wire_why_set(why, -ENOTCONN, "the server is gone") : 0;
}
