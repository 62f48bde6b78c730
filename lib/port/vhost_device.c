/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * What the frontend says of the device, its memory and its log: most of it concerns the
 * software backend alone, and is passed on before it is answered. One that is not there is
 * told later, and one that hangs was disconnected: neither is the frontend's affair.
 */

#include <errno.h>

#include "port.h"

int
port_vhost_answer(struct rp_port *port, const char *what, int rc, struct rp_wire_why *why)
{
	if (rc == 0 || rc == -ENOTCONN)
		return 0;
	port_event(port, RP_PORT_EVENT_WARNING, -1, "software-refused", "%s: %s", what, why->text);
	return rc == -ETIMEDOUT || rc == -EIO || rc == -EPROTO ? 0 : rc;
}

int
port_vhost_memory(void *ctx, struct rp_wire_why *why)
{
	struct rp_port *port = ctx;
	unsigned int i;
	int rc;

	port_iommu_wake(port);
	if (!port_software_configured(port))
		return 0;
	port->memory_stale = false;
	rc = port_vhost_answer(port, "memory", port_software_set_memory(port, why), why);
	/* Rings that waited for it. */
	for (i = 0; i < port->queues_count; i++)
		port_queue_update(port, &port->queues[i], NULL);
	return rc;
}

int
port_vhost_vring_err(void *ctx, unsigned int index, struct rp_wire_why *why)
{
	struct rp_port *port = ctx;
	struct port_queue *queue = &port->queues[index];

	if (queue->software != PORT_SOFTWARE_RING_SERVES)
		return 0;
	return port_vhost_answer(port, "error descriptor", port_software_ring_err(port, queue, why), why);
}

void
port_vhost_log(void *ctx, struct rp_vhu_log *log)
{
	struct rp_port *port = ctx;
	struct rp_wire_why why = {0};
	int rc;

	if (!port_software_configured(port))
		return;
	rc = port_software_set_log(port, &why);
	port->software_refused_log = log != NULL && rc < 0 && rc != -ENOTCONN;
	port_vhost_answer(port, "log", rc, &why);
}

int
port_vhost_inflight_get(void *ctx, uint16_t queues_count, uint16_t queue_num, int *ret_fd, uint64_t *ret_size_bytes,
			uint64_t *ret_offset_bytes, struct rp_wire_why *why)
{
	int rc =
		port_software_get_inflight(ctx, queues_count, queue_num, ret_fd, ret_size_bytes, ret_offset_bytes, why);

	/* Nothing else can be answered; the connection stays. */
	return rc == -ENOTCONN || rc == -EPROTO ? -EBUSY : rc;
}

void
port_vhost_inflight(void *ctx, struct rp_vhu_inflight *inflight)
{
	struct rp_port *port = ctx;
	struct rp_wire_why why = {0};

	(void)inflight;
	if (port_software_configured(port) && port->device == RP_PORT_DEVICE_OTHER)
		port_vhost_answer(port, "in-flight region", port_software_set_inflight(port, &why), &why);
}

int
port_vhost_config_get(void *ctx, uint32_t offset_bytes, uint32_t size_bytes, uint8_t *ret_bytes,
		      struct rp_wire_why *why)
{
	struct rp_port *port = ctx;
	int rc;

	if (port->device == RP_PORT_DEVICE_NET) {
		port_net_config(port, offset_bytes, size_bytes, ret_bytes);
		return 0;
	}
	rc = port_software_get_config(port, offset_bytes, size_bytes, ret_bytes, why);
	return rc == -ENOTCONN || rc == -EPROTO ? -EBUSY : rc;
}

int
port_vhost_config_set(void *ctx, uint32_t offset_bytes, uint32_t size_bytes, const uint8_t *bytes, uint32_t flags,
		      struct rp_wire_why *why)
{
	struct rp_port *port = ctx;

	if (port->device == RP_PORT_DEVICE_NET)
		return 0;
	return port_vhost_answer(port, "configuration",
				 port_software_set_config(port, offset_bytes, size_bytes, bytes, flags, why), why);
}

int
port_vhost_mtu(void *ctx, uint16_t mtu_bytes, struct rp_wire_why *why)
{
	return port_vhost_answer(ctx, "MTU", port_software_set_mtu(ctx, mtu_bytes, why), why);
}

int
port_vhost_rarp(void *ctx, const uint8_t mac[6], struct rp_wire_why *why)
{
	return port_vhost_answer(ctx, "RARP", port_software_send_rarp(ctx, mac, why), why);
}
