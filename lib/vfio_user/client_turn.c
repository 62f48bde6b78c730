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

static bool
may_read(const struct rp_vfu_client *client)
{
	return client->owed_count < RP_VFU_OWED_MAX;
}

static int
take_message(struct rp_vfu_client *client, struct rp_wire_msg *msg)
{
	struct rp_vfu_msg_view view;

	rp_vfu_msg_parse(msg, &view);
	if ((view.header.flags & RP_VFU_TYPE_MASK) == RP_VFU_TYPE_COMMAND) {
		rp_wire_msg_drop(msg);
		return rp_vfu_client_serve(client, &view);
	}
	return rp_vfu_client_take_reply(client, msg, &view) < 0 || client->conn == NULL ? -ENOTCONN : 0;
}

int
rp_vfu_client_step(struct rp_vfu_client *client)
{
	struct rp_wire_why reason;
	struct rp_wire_msg *msg;
	int rc = -EAGAIN;

	if (client->conn == NULL)
		return -ENOTCONN;
	if (may_read(client))
		rc = rp_wire_conn_receive(client->conn, &msg, &reason);
	if (rc == 0)
		return take_message(client, msg);
	return rc == -EAGAIN ? rc : peer_left(client, &reason);
}

static short
events_of(const struct rp_vfu_client *client)
{
	short events = rp_wire_conn_poll_events(client->conn);

	return may_read(client) ? events : (short)(events & ~POLLIN);
}

static int
flush(struct rp_vfu_client *client)
{
	struct rp_wire_why reason;
	int rc = rp_wire_conn_flush(client->conn);

	if (rc < 0 && rc != -EAGAIN) {
		rp_wire_why_set(&reason, -ENOTCONN, "peer left");
		return peer_left(client, &reason);
	}
	return rp_vfu_client_pay(client);
}

int
rp_vfu_client_sleep(struct rp_vfu_client *client, uint64_t deadline_ms)
{
	struct pollfd socket = {.fd = rp_wire_conn_fd(client->conn), .events = events_of(client)};
	const struct rp_vfu_call *oldest = TAILQ_FIRST(&client->under_way);
	uint64_t now_ms = rp_wire_clock_ms();
	uint64_t left_ms;

	if (oldest != NULL && oldest->deadline_ms < deadline_ms)
		deadline_ms = oldest->deadline_ms;
	left_ms = deadline_ms > now_ms ? deadline_ms - now_ms : 0;
	(void)poll(&socket, 1, left_ms > INT_MAX ? INT_MAX : (int)left_ms);
	return (socket.revents & POLLOUT) != 0 ? flush(client) : 0;
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

void
rp_vfu_client_watch(struct rp_vfu_client *client)
{
	struct epoll_event event = {.events = 0};
	short events;

	if (client->conn == NULL)
		return;
	arm_timer(client);
	events = events_of(client);
	if ((events & POLLIN) != 0)
		event.events |= EPOLLIN;
	if ((events & POLLOUT) != 0)
		event.events |= EPOLLOUT;
	if (event.events == client->watched_events)
		return;
	if (epoll_ctl(client->epoll_fd, EPOLL_CTL_MOD, rp_wire_conn_fd(client->conn), &event) == 0)
		client->watched_events = event.events;
}

int
rp_vfu_client_process(struct rp_vfu_client *client)
{
	unsigned int turn;
	int rc = 0;

	if (client->conn == NULL)
		return -ENOTCONN;
	if (client->inside)
		return -EBUSY;
	if ((rp_wire_conn_poll_events(client->conn) & POLLOUT) != 0)
		rc = flush(client);
	for (turn = 0; turn < MESSAGES_PER_TURN && rc == 0; turn++)
		rc = rp_vfu_client_step(client);
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
	return 0;
}

void
rp_vfu_client_poll_close(struct rp_vfu_client *client)
{
	rp_wire_fd_close(&client->timer_fd);
	rp_wire_fd_close(&client->epoll_fd);
}
