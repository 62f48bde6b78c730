/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "rp_wire_clock.h"
#include "vfu_server.h"
#include "vfu_server_iommu.h"

/* Then others of this thread have their turn. */
#define MESSAGES_PER_TURN 64
/* A reader of the data path tells nobody that it has passed: whoever waits for one looks again. */
#define SETTLE_LOOK_MS 1
/* A device says when it stands still; what is looked for is a client that left. */
#define QUIET_LOOK_MS 100
/* What is kept of commands that have to wait: so many, and one beyond so many bytes. */
#define HELD_MAX 256u
#define HELD_FULL_BYTES (1024u * 1024u)

bool
rp_vfu_server_may_await(const struct rp_vfu_server *server)
{
	return server->twin != NULL || server->terms.value[RP_VFU_TERM_SERVE] != 0;
}

static bool
output_waits(const struct rp_vfu_server *server)
{
	return (rp_wire_conn_poll_events(server->conn) & POLLOUT) != 0;
}

/*
 * Commands are answered in their order, and while a reply waits for the client to
 * read no further one is taken: what a client that does not read can make us keep
 * is one reply.
 */
static bool
commands_must_wait(const struct rp_vfu_server *server)
{
	return server->deferred.active || output_waits(server);
}

static bool
may_hold_more(const struct rp_vfu_server *server)
{
	return server->held_count < HELD_MAX && server->held_bytes < HELD_FULL_BYTES;
}

/* Answers to our commands stand between the client's: they are taken also when commands are not. */
static bool
may_receive(const struct rp_vfu_server *server)
{
	if (!commands_must_wait(server) && STAILQ_EMPTY(&server->held))
		return true;
	if (!may_hold_more(server))
		return false;
	return rp_vfu_server_iommu_receives(server) ||
	       (server->twin == NULL && rp_vfu_carrier_is_awaiting(server->carrier));
}

static int
hold(struct rp_vfu_server *server, struct rp_wire_msg *msg)
{
	struct rp_vfu_held *held = malloc(sizeof(*held) + msg->size_bytes);

	if (held == NULL)
		return -ENOMEM;
	held->msg = *msg;
	held->msg.bytes = held->bytes;
	memcpy(held->bytes, msg->bytes, msg->size_bytes);
	msg->fds_count = 0; /* they are the copy's now */
	STAILQ_INSERT_TAIL(&server->held, held, link);
	server->held_count++;
	server->held_bytes += msg->size_bytes;
	return 0;
}

static struct rp_vfu_held *
take_held(struct rp_vfu_server *server)
{
	struct rp_vfu_held *held = STAILQ_FIRST(&server->held);

	STAILQ_REMOVE_HEAD(&server->held, link);
	server->held_count--;
	server->held_bytes -= held->msg.size_bytes;
	return held;
}

void
rp_vfu_server_drop_held(struct rp_vfu_server *server)
{
	while (!STAILQ_EMPTY(&server->held)) {
		struct rp_vfu_held *held = take_held(server);

		rp_wire_msg_drop(&held->msg);
		free(held);
	}
}

/* Whether what was received has to wait for its turn. */
static bool
is_to_be_held(const struct rp_vfu_server *server, const struct rp_wire_msg *msg)
{
	struct rp_vfu_msg_view view;

	rp_vfu_msg_parse(msg, &view);
	if ((view.header.flags & RP_VFU_TYPE_MASK) != RP_VFU_TYPE_COMMAND ||
	    (!commands_must_wait(server) && STAILQ_EMPTY(&server->held)))
		return false;
	/* What is waited for may need these. */
	return output_waits(server) || !rp_vfu_server_iommu_overtakes(server, &view);
}

static int
serve_held(struct rp_vfu_server *server, struct rp_wire_why *why)
{
	struct rp_vfu_held *held = take_held(server);
	int rc = rp_vfu_server_dispatch(server, &held->msg, why);

	free(held);
	return rc;
}

/*
 * Who gathers writes has mostly sent what it wants to know of them behind them. A message with descriptors is read
 * alone, so that nobody knows yet what came behind it: a driver's registers, where interrupts are wired.
 */
static bool
is_one_of_many(const struct rp_wire_msg *msg)
{
	struct rp_vfu_msg_view view;

	rp_vfu_msg_parse(msg, &view);
	return view.header.command == RP_VFU_REGION_WRITE_MULTI || view.header.command == RP_VFU_REGION_ACCESS_MULTI ||
	       (view.header.command == RP_VFU_DEVICE_SET_IRQS && msg->fds_count > 0);
}

/* Deal with one message. @return 0, -EAGAIN when none can be dealt with now, or an error. */
static int
serve_message(struct rp_vfu_server *server, struct rp_wire_why *why)
{
	struct rp_wire_msg *msg;
	int rc;

	if (!STAILQ_EMPTY(&server->held) && !commands_must_wait(server))
		return serve_held(server, why);
	if (!may_receive(server))
		return -EAGAIN;
	rc = rp_wire_conn_receive(server->conn, &msg, why);
	if (rc < 0)
		return rc;
	server->speaks = true;
	server->expects_more = is_one_of_many(msg);
	/* Answers leave together while more commands are at hand, or as good as. */
	if (server->expects_more)
		rp_wire_conn_cork_flight(server->conn);
	else if (rp_wire_conn_has_ahead(server->conn))
		rp_wire_conn_cork(server->conn);
	if (!is_to_be_held(server, msg))
		return rp_vfu_server_dispatch(server, msg, why);
	rc = hold(server, msg);
	return rc < 0 ? rp_wire_why_set(why, -ENOTCONN, "no memory for a command that has to wait") : 0;
}

static bool
is_settled(struct rp_vfu_server *server)
{
	const struct rp_vfu_deferred *deferred = &server->deferred;

	/* Also what was submitted by somebody who had looked before; and who sends much ahead of an answer gets none. */
	if (!deferred->awaits_answer && (!rp_vfu_server_may_await(server) || !may_hold_more(server)))
		rp_vfu_carrier_abandon(server->carrier, deferred->first_iova, deferred->last_iova);
	return (!deferred->awaits_device || rp_vfu_server_is_quiet(server)) &&
	       (!deferred->awaits_answer || rp_vfu_later_is_given(&server->later)) &&
	       rp_dma_space_settled(rp_vfu_server_space(server, deferred->pasid), deferred->ticket);
}

static int
answer_deferred(struct rp_vfu_server *server, struct rp_wire_why *why)
{
	struct rp_vfu_deferred *deferred = &server->deferred;
	struct rp_vfu_reply reply = {.fixed_bytes = deferred->fixed_bytes};
	struct rp_wire_why refusal;
	int rc = 0;

	if (!deferred->active)
		return 0;
	if (!is_settled(server))
		return rp_vfu_conn_hung_up(server->conn) ? rp_wire_why_set(why, -ENOTCONN, "peer left") : 0;
	memcpy(reply.fixed, deferred->fixed, deferred->fixed_bytes);
	if (deferred->finish != NULL)
		rc = deferred->finish(server, &reply, &refusal);
	deferred->active = false;
	if (rc < 0) {
		rp_wire_why_prefix(&refusal, "%s: ", rp_vfu_msg_name(deferred->header.command));
		rp_vfu_server_tell_refused(server, &refusal);
	}
	if ((deferred->header.flags & RP_VFU_FLAG_NO_REPLY) != 0)
		return 0;
	return rp_vfu_server_reply(server, &deferred->header, &reply, rc, why);
}

/* @return 0, -EAGAIN when none can be dealt with now, or an error. */
static int
serve_messages(struct rp_vfu_server *server, struct rp_wire_why *why)
{
	unsigned int turn;
	int rc = 0;

	for (turn = 0; rc == 0 && turn < MESSAGES_PER_TURN; turn++) {
		rc = serve_message(server, why);
		if (rc == 0 && !server->expects_more && !rp_wire_conn_has_ahead(server->conn) &&
		    rp_wire_conn_uncork(server->conn) < 0)
			rc = rp_wire_why_set(why, -ENOTCONN, "peer left before its replies");
	}
	return rc;
}

/* @param ret_drained nothing more of the client's was there to be taken. */
static int
serve_commands(struct rp_vfu_server *server, bool *ret_drained, struct rp_wire_why *why)
{
	int rc;

	*ret_drained = false;
	rc = rp_wire_conn_flush(server->conn);
	if (rc == -ENOTCONN)
		return rp_wire_why_set(why, rc, "peer left before its replies");
	rc = answer_deferred(server, why);
	if (rc == 0)
		rc = rp_vfu_server_invalidations_settle(server, why);
	if (rc < 0)
		return rc;
	rc = serve_messages(server, why);
	/* Also what a client is told before its end. */
	if (rp_wire_conn_uncork(server->conn) < 0 && (rc == 0 || rc == -EAGAIN))
		return rp_wire_why_set(why, -ENOTCONN, "peer left before its replies");
	if (rc == -EAGAIN) {
		*ret_drained = STAILQ_EMPTY(&server->held) && !commands_must_wait(server);
		return 0;
	}
	/* That may have been all: then the socket does not call again, and what waits for its silence would wait on. */
	if (rc == 0)
		rp_vfu_carrier_wake(server->carrier);
	return rc;
}

static int
check_deadline(struct rp_vfu_server *server, struct rp_wire_why *why)
{
	uint64_t expirations;

	if (read(server->timer_fd, &expirations, sizeof(expirations)) < 0)
		return 0;
	server->timer_ms = 0;
	if (rp_vfu_carrier_deadline_ms(server->carrier) > rp_wire_clock_ms())
		return 0;
	return rp_wire_why_set(why, -ENOTCONN, "the client did not answer a command for its memory in time");
}

/* Commands of our own, where they may go. */
static int
pump(struct rp_vfu_server *server, struct rp_wire_conn *conn, struct rp_wire_why *why)
{
	int rc = rp_vfu_server_iommu_pump(server, conn, why);

	return rc < 0 ? rc : rp_vfu_carrier_pump(server->carrier, conn, why);
}

int
rp_vfu_server_serve(struct rp_vfu_server *server, struct rp_wire_why *why)
{
	bool drained = false;
	int rc = 0;

	rp_vfu_carrier_awake(server->carrier);
	if (server->timer_ms != 0)
		rc = check_deadline(server, why);
	if (rc == 0 && server->twin != NULL)
		rc = rp_vfu_server_twin_serve(server, why);
	if (rc == 0)
		rc = serve_commands(server, &drained, why);
	if (rc < 0 || server->state != RP_VFU_STATE_READY)
		return rc;
	if (server->twin != NULL)
		return pump(server, server->twin, why);
	/* A client may serve nothing while it waits for an answer of ours; unless it said that it does. */
	if (drained || rp_vfu_server_may_await(server))
		return pump(server, server->conn, why);
	return 0;
}

static void
watch_conn(const struct rp_vfu_server *server, struct rp_wire_conn *conn, bool receive, uint32_t *watched_events)
{
	uint32_t events = receive ? EPOLLIN : 0;

	if ((rp_wire_conn_poll_events(conn) & POLLOUT) != 0)
		events |= EPOLLOUT;
	if (events != *watched_events && rp_vfu_server_poll(server, EPOLL_CTL_MOD, rp_wire_conn_fd(conn), events) == 0)
		*watched_events = events;
}

static void
set_timer(struct rp_vfu_server *server)
{
	const struct rp_vfu_deferred *deferred = &server->deferred;
	bool settles = rp_vfu_server_invalidations_wait(server);
	bool looks = settles || (deferred->active && (deferred->awaits_device || deferred->ticket != RP_DMA_SETTLED));
	uint64_t look_ms = deferred->awaits_device && !settles ? QUIET_LOOK_MS : SETTLE_LOOK_MS;
	uint64_t at_ms = looks ? rp_wire_clock_ms() + look_ms : rp_vfu_carrier_deadline_ms(server->carrier);
	struct itimerspec timer = {
		.it_value = {.tv_sec = (time_t)(at_ms / 1000), .tv_nsec = (long)(at_ms % 1000) * 1000000}};

	/* One that goes off too early looks again and costs nothing else. */
	if (at_ms == UINT64_MAX || (server->timer_ms != 0 && server->timer_ms <= at_ms))
		return;
	if (timerfd_settime(server->timer_fd, TFD_TIMER_ABSTIME, &timer, NULL) == 0)
		server->timer_ms = at_ms;
}

void
rp_vfu_server_watch(struct rp_vfu_server *server)
{
	watch_conn(server, server->conn, may_receive(server), &server->watched_events);
	if (server->twin != NULL)
		watch_conn(server, server->twin, true, &server->twin_watched_events);
	set_timer(server);
}
