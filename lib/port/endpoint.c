/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "port.h"
#include "rp_wire_clock.h"
#include "rp_wire_fd.h"
#include "rp_wire_socket.h"

static void
attach(struct rp_port *port, int *fd)
{
	int rc = rp_vhu_backend_attach(port->backend, fd);

	if (rc == -EBUSY)
		port_event(port, RP_PORT_EVENT_WARNING, -1, "frontend-refused",
			   "a second frontend connected to %s and was turned away", port->socket_path);
	else if (rc < 0)
		port_event(port, RP_PORT_EVENT_ERROR, -1, "frontend-refused", "%s", strerror(-rc));
	else
		port_event(port, RP_PORT_EVENT_NOTICE, -1, "frontend-connected", "pid %d on %s",
			   (int)rp_vhu_backend_peer(port->backend), port->socket_path);
}

static void
listen_ready(struct rp_port *port, struct port_source *source)
{
	RP_WIRE_FD_SCOPED int fd = -1;

	if (rp_wire_socket_accept(source->fd, &fd) == 0)
		attach(port, &fd);
}

int
port_endpoint_open(struct rp_port *port, struct rp_wire_why *why)
{
	int rc;

	if (port->socket_mode == RP_PORT_CLIENT) {
		port->connect_at_ms = rp_wire_clock_ms();
		return 0;
	}
	rc = rp_wire_socket_listen(port->socket_path, &port->listen_fd, why);
	if (rc < 0)
		return rc;
	return port_source_add(port, &port->listen_source, port->listen_fd, listen_ready, 0);
}

void
port_endpoint_close(struct rp_port *port)
{
	if (port->listen_fd < 0)
		return;
	port_source_remove(port, &port->listen_source);
	rp_wire_fd_close(&port->listen_fd);
	unlink(port->socket_path);
}

void
port_endpoint_lost(struct rp_port *port)
{
	if (port->socket_mode == RP_PORT_CLIENT && !port->closing)
		port->connect_at_ms = rp_wire_clock_ms() + port->reconnect_ms;
}

void
port_endpoint_tick(struct rp_port *port, uint64_t now_ms)
{
	RP_WIRE_FD_SCOPED int fd = -1;
	struct rp_wire_why why;

	if (port->connect_at_ms == 0 || now_ms < port->connect_at_ms)
		return;
	port->connect_at_ms = 0;
	if (rp_wire_socket_connect(port->socket_path, &fd, &why) == 0) {
		port->connect_logged = false;
		attach(port, &fd);
		return;
	}
	if (!port->connect_logged)
		port_event(port, RP_PORT_EVENT_NOTICE, -1, "frontend-waiting", "%s; trying every %u ms", why.text,
			   port->reconnect_ms);
	port->connect_logged = true;
	port->connect_at_ms = now_ms + port->reconnect_ms;
}
