/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "rp_wire_fd.h"
#include "rp_wire_socket.h"
#include "vfu_server.h"
#include "vfu_server_iommu.h"

#define REPLIES_PER_TURN 256

int
rp_vfu_server_twin_create(struct rp_vfu_server *server)
{
	RP_WIRE_FD_SCOPED int ours = -1;
	int ends[2], rc;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
		return -errno;
	/* The client may do so itself, or not. */
	rp_wire_socket_widen(ends[0], RP_VFU_SEND_ROOM_BYTES);
	rp_wire_socket_widen(ends[1], RP_VFU_SEND_ROOM_BYTES);
	ours = ends[0];
	server->handed_fd = ends[1];
	rc = rp_wire_conn_create(&ours, &rp_vfu_framing, &server->twin);
	if (rc == 0)
		rc = rp_vfu_server_poll(server, EPOLL_CTL_ADD, rp_wire_conn_fd(server->twin), EPOLLIN);
	if (rc < 0) {
		rp_vfu_server_twin_destroy(server);
		rp_wire_fd_close(&server->handed_fd);
		return rc;
	}
	server->twin_watched_events = EPOLLIN;
	/* Answers come there and nowhere else. */
	rp_wire_conn_set_placer(server->conn, NULL, NULL);
	rp_wire_conn_set_placer(server->twin, &rp_vfu_carrier_placer, server->carrier);
	return 0;
}

int
rp_vfu_server_twin_serve(struct rp_vfu_server *server, struct rp_wire_why *why)
{
	struct rp_vfu_msg_view view;
	struct rp_wire_msg *msg;
	unsigned int turn;
	int rc;

	rc = rp_wire_conn_flush(server->twin);
	if (rc == -ENOTCONN)
		return rp_wire_why_set(why, rc, "second socket: peer left");
	for (turn = 0; turn < REPLIES_PER_TURN; turn++) {
		rc = rp_wire_conn_receive(server->twin, &msg, why);
		if (rc == -EAGAIN)
			return 0;
		if (rc < 0)
			return rc;
		rp_vfu_msg_parse(msg, &view);
		if ((view.header.flags & RP_VFU_TYPE_MASK) != RP_VFU_TYPE_REPLY)
			return rp_wire_why_set(why, -ENOTCONN,
					       "second socket: %s: a command; only the server's go there",
					       rp_vfu_msg_name(view.header.command));
		rc = rp_vfu_server_iommu_reply(server, &view, why);
		if (rc == -ENOENT)
			rc = rp_vfu_carrier_reply(server->carrier, &view, why);
		rp_wire_msg_drop(msg);
		if (rc == -ENOENT)
			return rp_wire_why_set(why, -ENOTCONN, "second socket: %s: a reply, with no command under way",
					       rp_vfu_msg_name(view.header.command));
		if (rc < 0)
			return rc;
	}
	/* What was read ahead is no event of the socket's. */
	rp_vfu_carrier_wake(server->carrier);
	return 0;
}

void
rp_vfu_server_twin_destroy(struct rp_vfu_server *server)
{
	server->twin = rp_wire_conn_destroy(server->twin);
}
