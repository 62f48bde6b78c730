/* SPDX-License-Identifier: BSD-3-Clause */

/* A port without a software backend: what software.h promises, said of none. */

#include <errno.h>
#include <string.h>

#include "port.h"
#include "software.h"

static int
none(struct rp_wire_why *why)
{
	return rp_wire_why_set(why, -ENOTCONN, "there is no software backend");
}

int
port_software_open(struct rp_port *port, const struct rp_port_software_config *config, struct rp_wire_why *why)
{
	(void)port, (void)config;
	return rp_wire_why_set(why, -ENOTSUP, "software: not in this build");
}

void
port_software_close(struct rp_port *port)
{
	(void)port;
}

void
port_software_tick(struct rp_port *port, uint64_t now_ms)
{
	(void)port, (void)now_ms;
}

uint64_t
port_software_deadline(const struct rp_port *port)
{
	(void)port;
	return 0;
}

bool
port_software_configured(const struct rp_port *port)
{
	(void)port;
	return false;
}

bool
port_software_usable(const struct rp_port *port)
{
	(void)port;
	return false;
}

const char *
port_software_reason(const struct rp_port *port)
{
	(void)port;
	return "there is no software backend";
}

bool
port_software_known(const struct rp_port *port)
{
	(void)port;
	return false;
}

uint64_t
port_software_features(const struct rp_port *port)
{
	(void)port;
	return 0;
}

uint64_t
port_software_protocol_features(const struct rp_port *port)
{
	(void)port;
	return 0;
}

unsigned int
port_software_queues_max(const struct rp_port *port)
{
	(void)port;
	return 0;
}

int
port_software_set_features(struct rp_port *port, uint64_t features, struct rp_wire_why *why)
{
	(void)port, (void)features;
	return none(why);
}

int
port_software_set_memory(struct rp_port *port, struct rp_wire_why *why)
{
	(void)port;
	return none(why);
}

int
port_software_set_log(struct rp_port *port, struct rp_wire_why *why)
{
	(void)port;
	return none(why);
}

int
port_software_set_inflight(struct rp_port *port, struct rp_wire_why *why)
{
	(void)port;
	return none(why);
}

int
port_software_get_inflight(struct rp_port *port, uint16_t queues_count, uint16_t queue_num, int *ret_fd,
			   uint64_t *ret_size_bytes, uint64_t *ret_offset_bytes, struct rp_wire_why *why)
{
	(void)port, (void)queues_count, (void)queue_num, (void)ret_fd, (void)ret_size_bytes, (void)ret_offset_bytes;
	return none(why);
}

int
port_software_get_config(struct rp_port *port, uint32_t offset_bytes, uint32_t size_bytes, uint8_t *ret_bytes,
			 struct rp_wire_why *why)
{
	(void)port, (void)offset_bytes, (void)size_bytes, (void)ret_bytes;
	return none(why);
}

int
port_software_set_config(struct rp_port *port, uint32_t offset_bytes, uint32_t size_bytes, const uint8_t *bytes,
			 uint32_t flags, struct rp_wire_why *why)
{
	(void)port, (void)offset_bytes, (void)size_bytes, (void)bytes, (void)flags;
	return none(why);
}

int
port_software_set_mtu(struct rp_port *port, uint16_t mtu_bytes, struct rp_wire_why *why)
{
	(void)port, (void)mtu_bytes;
	return none(why);
}

int
port_software_send_rarp(struct rp_port *port, const uint8_t mac[6], struct rp_wire_why *why)
{
	(void)port, (void)mac;
	return none(why);
}

void
port_software_frontend_gone(struct rp_port *port)
{
	(void)port;
}

void
port_software_ring_started(struct rp_port *port, struct port_queue *queue)
{
	(void)port, (void)queue;
}

void
port_software_ring_stopped(struct rp_port *port, struct port_queue *queue)
{
	(void)port, (void)queue;
}

int
port_software_serve(struct rp_port *port, struct port_queue *queue, struct rp_wire_why *why)
{
	(void)port, (void)queue;
	return none(why);
}

int
port_software_take(struct rp_port *port, struct port_queue *const *queues, unsigned int queues_count,
		   struct rp_wire_why *why)
{
	(void)port, (void)queues, (void)queues_count;
	return none(why);
}

int
port_software_ring_call(struct rp_port *port, struct port_queue *queue, struct rp_wire_why *why)
{
	(void)port, (void)queue;
	return none(why);
}

int
port_software_ring_kick(struct rp_port *port, struct port_queue *queue, struct rp_wire_why *why)
{
	(void)port, (void)queue;
	return none(why);
}

int
port_software_ring_err(struct rp_port *port, struct port_queue *queue, struct rp_wire_why *why)
{
	(void)port, (void)queue;
	return none(why);
}

int
port_software_ring_log(struct rp_port *port, struct port_queue *queue, struct rp_wire_why *why)
{
	(void)port, (void)queue;
	return none(why);
}

void
port_software_get_info(const struct rp_port *port, struct rp_port_software_info *ret_info)
{
	(void)port;
	memset(ret_info, 0, sizeof(*ret_info));
}
