/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "rp_wire_clock.h"
#include "rp_wire_conn.h"
#include "rp_wire_fd.h"
#include "vfu_client.h"
#include "vfu_client_iommu.h"

/*
 * One message after the other, whoever waits for what: replies go to their calls,
 * commands of the server are served. Nothing here calls itself: a callback may
 * start commands, but not wait for one.
 *
 * While more replies are owed than we keep, nothing is read; while the server does
 * not read, nothing is kept but the one message that its socket half took. So a
 * server that sends for ever and never reads costs what the limits say.
 */

#define MESSAGES_PER_TURN 64

static int
peer_left(struct rp_vfu_client *client, const struct rp_wire_why *reason)
{
	return rp_vfu_client_leave(client, -ENOTCONN, reason);
}

struct rp_wire_conn *
rp_vfu_client_serving(const struct rp_vfu_client *client)
{
	return client->twin != NULL ? client->twin : client->conn;
}

/* Commands come from one of the two, and only there do they have to wait for our answers. */
static bool
may_read(const struct rp_vfu_client *client, const struct rp_wire_conn *conn)
{
	return conn != rp_vfu_client_serving(client) || client->owed_count < RP_VFU_OWED_MAX;
}

static int
take_message(struct rp_vfu_client *client, const struct rp_wire_conn *conn, struct rp_wire_msg *msg)
{
	struct rp_vfu_msg_view view;
	struct rp_wire_why reason;

	rp_vfu_msg_parse(msg, &view);
	if ((view.header.flags & RP_VFU_TYPE_MASK) == RP_VFU_TYPE_COMMAND) {
		rp_wire_msg_drop(msg);
		if (conn == rp_vfu_client_serving(client))
			return rp_vfu_client_serve(client, &view);
		rp_wire_why_set(&reason, -EBADMSG, "%s: not on the twin socket", rp_vfu_msg_name(view.header.command));
		return peer_left(client, &reason);
	}
	if (conn == client->twin) {
		rp_wire_why_set(&reason, -EBADMSG, "%s: a reply on the twin socket",
				rp_vfu_msg_name(view.header.command));
		return peer_left(client, &reason);
	}
	if (rp_vfu_client_take_reply(client, msg, &view) < 0 || client->conn == NULL)
		return -ENOTCONN;
	/* Whoever heard of it may have known an answer then. */
	return rp_vfu_client_iommu_pay(client);
}

static int
step_on(struct rp_vfu_client *client, struct rp_wire_conn *conn)
{
	struct rp_wire_why reason;
	struct rp_wire_msg *msg;
	int rc = -EAGAIN;

	if (may_read(client, conn))
		rc = rp_wire_conn_receive(conn, &msg, &reason);
	if (rc == 0)
		return take_message(client, conn, msg);
	return rc == -EAGAIN ? rc : peer_left(client, &reason);
}

int
rp_vfu_client_step(struct rp_vfu_client *client)
{
	int rc;

	if (client->conn == NULL)
		return -ENOTCONN;
	rc = step_on(client, client->conn);
	if (rc == -EAGAIN && client->twin != NULL)
		rc = step_on(client, client->twin);
	return rc;
}

static short
events_of(const struct rp_vfu_client *client, const struct rp_wire_conn *conn)
{
	short events = rp_wire_conn_poll_events(conn);

	return may_read(client, conn) ? events : (short)(events & ~POLLIN);
}

static int
flush(struct rp_vfu_client *client)
{
	struct rp_wire_why reason;
	int rc = rp_wire_conn_flush(client->conn);

	if ((rc == 0 || rc == -EAGAIN) && client->twin != NULL)
		rc = rp_wire_conn_flush(client->twin);
	if (rc < 0 && rc != -EAGAIN) {
		rp_wire_why_set(&reason, -ENOTCONN, "peer left");
		return peer_left(client, &reason);
	}
	return rp_vfu_client_pay(client);
}

/*
 * One socket and nothing to write: sleeping in the read costs less than poll(2) before it, a
 * seventh of a round trip asleep. Its time limit is the socket's, which is that of a command
 * just sent.
 */
static bool
may_sleep_in_read(const struct rp_vfu_client *client)
{
	const struct rp_vfu_call *oldest = TAILQ_FIRST(&client->under_way);

	return client->twin == NULL && events_of(client, client->conn) == POLLIN && oldest != NULL &&
	       rp_wire_clock_ms() + client->timeout_ms <= oldest->deadline_ms + 1;
}

int
rp_vfu_client_await(struct rp_vfu_client *client, const struct rp_vfu_call *call)
{
	struct rp_wire_why reason;
	struct rp_wire_msg *msg;
	int rc;

	if (rp_wire_conn_has_ahead(client->conn))
		return 0;
	if (!may_sleep_in_read(client))
		return rp_vfu_client_sleep(client, UINT64_MAX);
	/* Of several, another's may come first. */
	rc = rp_wire_conn_receive_wait(client->conn, client->calls_count == 1 ? call->expected_bytes : 0, &msg,
				       &reason);
	if (rc == 0)
		return take_message(client, client->conn, msg);
	return rc == -EAGAIN ? 0 : peer_left(client, &reason);
}

int
rp_vfu_client_sleep(struct rp_vfu_client *client, uint64_t deadline_ms)
{
	const struct rp_vfu_call *oldest = TAILQ_FIRST(&client->under_way);
	uint64_t now_ms = rp_wire_clock_ms();
	struct pollfd sockets[2] = {
		{.fd = rp_wire_conn_fd(client->conn), .events = events_of(client, client->conn)},
	};
	unsigned int count = 1;
	uint64_t left_ms;

	if (client->twin != NULL) {
		sockets[count].fd = rp_wire_conn_fd(client->twin);
		sockets[count++].events = events_of(client, client->twin);
	}
	if (oldest != NULL && oldest->deadline_ms < deadline_ms)
		deadline_ms = oldest->deadline_ms;
	left_ms = deadline_ms > now_ms ? deadline_ms - now_ms : 0;
	(void)poll(sockets, count, left_ms > INT_MAX ? INT_MAX : (int)left_ms);
	return ((sockets[0].revents | sockets[1].revents) & POLLOUT) != 0 ? flush(client) : 0;
}

int
rp_vfu_client_check_time(struct rp_vfu_client *client)
{
	const struct rp_vfu_call *oldest = TAILQ_FIRST(&client->under_way);
	struct rp_wire_why reason;

	if (client->conn == NULL)
		return -ENOTCONN;
	if (oldest == NULL || rp_wire_clock_ms() < oldest->deadline_ms)
		return 0;
	rp_wire_why_set(&reason, -ETIMEDOUT, "%s: no reply within %u ms", rp_vfu_msg_name(oldest->command),
			client->timeout_ms);
	(void)rp_vfu_client_leave(client, -ETIMEDOUT, &reason);
	return -ENOTCONN;
}

/* What was read ahead is no event of the socket's. */
static bool
has_ahead(const struct rp_vfu_client *client, const struct rp_wire_conn *conn)
{
	return rp_wire_conn_has_ahead(conn) && may_read(client, conn);
}

static void
ring_at_once(struct rp_vfu_client *client)
{
	const struct itimerspec when = {.it_value = {.tv_nsec = 1}};

	client->timer_armed = timerfd_settime(client->timer_fd, TFD_TIMER_ABSTIME, &when, NULL) == 0;
}

static void
arm_timer(struct rp_vfu_client *client)
{
	const struct rp_vfu_call *oldest = TAILQ_FIRST(&client->under_way);
	struct itimerspec when = {.it_interval = {0}};

	/* One that is armed rings early at worst, and is then armed for whoever is the oldest. */
	if (oldest == NULL || client->timer_armed)
		return;
	when.it_value.tv_sec = (time_t)(oldest->deadline_ms / 1000);
	when.it_value.tv_nsec = (long)(oldest->deadline_ms % 1000) * 1000000 + 1;
	client->timer_armed = timerfd_settime(client->timer_fd, TFD_TIMER_ABSTIME, &when, NULL) == 0;
}

static void
read_timer(struct rp_vfu_client *client)
{
	uint64_t rings;

	if (client->timer_armed && read(client->timer_fd, &rings, sizeof(rings)) == sizeof(rings))
		client->timer_armed = false;
}

static void
watch(const struct rp_vfu_client *client, const struct rp_wire_conn *conn, uint32_t *watched_events)
{
	short events = events_of(client, conn);
	struct epoll_event event = {.events = 0};

	if ((events & POLLIN) != 0)
		event.events |= EPOLLIN;
	if ((events & POLLOUT) != 0)
		event.events |= EPOLLOUT;
	if (event.events == *watched_events)
		return;
	if (epoll_ctl(client->epoll_fd, EPOLL_CTL_MOD, rp_wire_conn_fd(conn), &event) == 0)
		*watched_events = event.events;
}

void
rp_vfu_client_watch(struct rp_vfu_client *client)
{
	/* While VERSION is under way nobody polls. */
	if (client->conn == NULL || client->epoll_fd < 0)
		return;
	if (has_ahead(client, client->conn) || (client->twin != NULL && has_ahead(client, client->twin)))
		ring_at_once(client);
	else
		arm_timer(client);
	watch(client, client->conn, &client->watched_events);
	if (client->twin != NULL)
		watch(client, client->twin, &client->twin_watched_events);
}

static bool
wants_to_write(const struct rp_vfu_client *client)
{
	return (rp_wire_conn_poll_events(client->conn) & POLLOUT) != 0 ||
	       (rp_wire_conn_poll_events(rp_vfu_client_serving(client)) & POLLOUT) != 0;
}

/* What the commands of one turn are answered with leaves together. */
static int
take_messages(struct rp_vfu_client *client)
{
	struct rp_wire_why reason;
	unsigned int turn;
	int rc = 0;

	rp_wire_conn_cork(rp_vfu_client_serving(client));
	for (turn = 0; turn < MESSAGES_PER_TURN && rc == 0; turn++)
		rc = rp_vfu_client_step(client);
	if (client->conn == NULL || rp_wire_conn_uncork(rp_vfu_client_serving(client)) == 0)
		return rc;
	rp_wire_why_set(&reason, -ENOTCONN, "peer left before its replies");
	return peer_left(client, &reason);
}

int
rp_vfu_client_process(struct rp_vfu_client *client)
{
	int rc = 0;

	if (client->conn == NULL)
		return -ENOTCONN;
	if (client->inside)
		return -EBUSY;
	if (wants_to_write(client))
		rc = flush(client);
	if (rc == 0)
		(void)take_messages(client);
	read_timer(client);
	(void)rp_vfu_client_check_time(client);
	rp_vfu_client_watch(client);
	return client->conn == NULL ? -ENOTCONN : 0;
}

int
rp_vfu_client_poll_init(struct rp_vfu_client *client)
{
	struct epoll_event event = {.events = EPOLLIN};

	client->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	client->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (client->epoll_fd < 0 || client->timer_fd < 0 ||
	    epoll_ctl(client->epoll_fd, EPOLL_CTL_ADD, client->timer_fd, &event) < 0 ||
	    epoll_ctl(client->epoll_fd, EPOLL_CTL_ADD, rp_wire_conn_fd(client->conn), &event) < 0)
		return -errno;
	client->watched_events = event.events;
	if (client->twin == NULL)
		return 0;
	client->twin_watched_events = event.events;
	return epoll_ctl(client->epoll_fd, EPOLL_CTL_ADD, rp_wire_conn_fd(client->twin), &event) < 0 ? -errno : 0;
}

void
rp_vfu_client_poll_close(struct rp_vfu_client *client)
{
	rp_wire_fd_close(&client->timer_fd);
	rp_wire_fd_close(&client->epoll_fd);
}
