/* SPDX-License-Identifier: BSD-3-Clause */
#include <poll.h>

#include "rp_wire_clock.h"
#include "vfu_server.h"
#include "vfu_server_iommu.h"

/*
 * Waiting for a client that speaks all the time: asleep in the read of its next
 * message, which saves the poll(2) before it. What is not a message of the client's
 * cannot end that sleep, so it is short, and there is none while something else is
 * expected.
 */

/* So late, at most, is seen what came while the read slept. */
#define READ_SLEEP_MS 10
/* What else there is to look at has its turn after so many messages. */
#define MESSAGES_WITHOUT_A_LOOK 64u

int
rp_vfu_server_allow_wait(struct rp_vfu_server *server)
{
	server->speaks = false;
	server->unlooked_count = 0;
	return rp_wire_conn_allow_wait(server->conn, READ_SLEEP_MS);
}

static bool
may_sleep_in_read(const struct rp_vfu_server *server)
{
	/* Once round for a timer that has just been missed. */
	uint64_t soon_ms = rp_wire_clock_ms() + 2 * READ_SLEEP_MS;

	return server->speaks && server->unlooked_count < MESSAGES_WITHOUT_A_LOOK && server->conn != NULL &&
	       server->state == RP_VFU_STATE_READY && server->twin == NULL && !server->deferred.active &&
	       !rp_vfu_server_invalidations_wait(server) && STAILQ_EMPTY(&server->held) &&
	       !rp_wire_conn_has_ahead(server->conn) && (rp_wire_conn_poll_events(server->conn) & POLLOUT) == 0 &&
	       (server->timer_ms == 0 || server->timer_ms > soon_ms) && rp_vfu_carrier_may_sleep(server->carrier);
}

/* One message. Whatever is not one is for a turn that looks at everything. */
static int
sleep_in_read(struct rp_vfu_server *server)
{
	struct rp_wire_why why;
	struct rp_wire_msg *msg;

	if (rp_wire_conn_receive_wait(server->conn, 0, &msg, &why) < 0) {
		server->speaks = false;
		return rp_vfu_server_process(server);
	}
	server->unlooked_count++;
	if (rp_vfu_server_dispatch(server, msg, &why) < 0)
		rp_vfu_server_drop_client(server, &why);
	return may_sleep_in_read(server) ? 0 : rp_vfu_server_process(server);
}

int
rp_vfu_server_wait(struct rp_vfu_server *server, int timeout_ms)
{
	struct pollfd wait = {.fd = server->epoll_fd, .events = POLLIN};

	if ((timeout_ms < 0 || timeout_ms >= 2 * READ_SLEEP_MS) && may_sleep_in_read(server))
		return sleep_in_read(server);
	(void)poll(&wait, 1, timeout_ms);
	return rp_vfu_server_process(server);
}
