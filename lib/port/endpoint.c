/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <string.h>

#include "port.h"
#include "rp_wire_clock.h"
#include "rp_wire_fd.h"

static void
attach(struct rp_port *port, int *fd)
{
	int rc = rp_vhu_backend_attach(port->backend, fd);

	if (rc == 0) {
		port->connect_logged = false;
		port_event(port, RP_PORT_EVENT_NOTICE, -1, "frontend-connected", "pid %d on %s",
			   (int)rp_vhu_backend_peer(port->backend), port->socket_path);
		return;
	}
	if (rc == -EBUSY)
		port_event(port, RP_PORT_EVENT_WARNING, -1, "frontend-refused",
			   "a second frontend connected to %s and was turned away", port->socket_path);
	else
		port_event(port, RP_PORT_EVENT_ERROR, -1, "frontend-refused", "%s", strerror(-rc));
	port_endpoint_lost(port);
}

static void
process(struct rp_port *port, uint64_t now_ms)
{
	RP_WIRE_FD_SCOPED int fd = -1;
	struct rp_wire_why why;
	int rc = rp_vhu_endpoint_process(port->endpoint, now_ms, &fd, &why);

	if (rc == 0) {
		attach(port, &fd);
		return;
	}
	if (rc == -EAGAIN || port->connect_logged || port->socket_mode != RP_PORT_CLIENT)
		return;
	port_event(port, RP_PORT_EVENT_NOTICE, -1, "frontend-waiting", "%s; trying every %u ms", why.text,
		   port->reconnect_ms);
	port->connect_logged = true;
}

static void
listen_ready(struct rp_port *port, struct port_source *source)
{
	(void)source;
	process(port, rp_wire_clock_ms());
}

int
port_endpoint_make(struct rp_port *port, const char *path, enum rp_port_socket_mode mode, uint32_t retry_ms,
		   struct rp_vhu_endpoint **ret_endpoint, struct rp_wire_why *why)
{
	RP_WIRE_FD_SCOPED int listen_fd = -1;
	struct rp_vhu_endpoint_config config = {
		.path = path,
		.mode = mode == RP_PORT_CLIENT ? RP_VHU_ENDPOINT_CLIENT : RP_VHU_ENDPOINT_SERVER,
		.retry_ms = retry_ms,
	};
	int rc = 0;

	if (mode == RP_PORT_SERVER && port->ops != NULL && port->ops->listen != NULL)
		rc = port->ops->listen(port->ctx, path, &listen_fd, why);
	if (rc < 0)
		return rc;
	if (listen_fd >= 0)
		config.listen_fd = &listen_fd;
	return rp_vhu_endpoint_create(&config, ret_endpoint, why);
}

int
port_endpoint_open(struct rp_port *port, struct rp_wire_why *why)
{
	int rc = port_endpoint_make(port, port->socket_path, port->socket_mode, port->reconnect_ms, &port->endpoint,
				    why);

	if (rc < 0 || rp_vhu_endpoint_fd(port->endpoint) < 0)
		return rc;
	return port_source_add(port, &port->listen_source, rp_vhu_endpoint_fd(port->endpoint), listen_ready, 0);
}

void
port_endpoint_close(struct rp_port *port)
{
	port_source_remove(port, &port->listen_source);
	port->endpoint = rp_vhu_endpoint_destroy(port->endpoint);
}

void
port_endpoint_lost(struct rp_port *port)
{
	if (port->endpoint != NULL && !port->closing)
		rp_vhu_endpoint_lost(port->endpoint, rp_wire_clock_ms());
}

uint64_t
port_endpoint_deadline(const struct rp_port *port)
{
	return port->endpoint == NULL ? 0 : rp_vhu_endpoint_deadline_ms(port->endpoint);
}

void
port_endpoint_tick(struct rp_port *port, uint64_t now_ms)
{
	uint64_t at_ms = port_endpoint_deadline(port);

	if (at_ms != 0 && now_ms >= at_ms)
		process(port, now_ms);
}
