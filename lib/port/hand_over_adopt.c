/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * A port is made of what a predecessor packed. First everything is looked at and judged, and
 * nothing is told to anybody but a kick for each ring that runs; what can fail has not
 * changed anything then. Only at the end do rings that were stopped for it start again.
 */

#include <errno.h>
#include <string.h>

#include "hand_over.h"
#include "rp_wire_clock.h"

static int
unpack_port(struct rp_port *port, struct rp_wire_parcel *parcel, unsigned int *ret_queues_count,
	    struct rp_wire_why *why)
{
	uint64_t version = rp_wire_parcel_get_number(parcel, "version", UINT32_MAX);
	char name[RP_PORT_NAME_MAX];
	int rc = rp_wire_parcel_result(parcel, why);

	if (rc == 0 && version != PORT_GIVEN_VERSION)
		rc = rp_wire_why_set(why, -ENOTSUP, "version: %u, expected %u", (unsigned int)version,
				     PORT_GIVEN_VERSION);
	if (rc < 0)
		return rc;
	rp_wire_parcel_get_text(parcel, "name", name, sizeof(name));
	*ret_queues_count = (unsigned int)rp_wire_parcel_get_number(parcel, "queues_count", RP_VHU_QUEUES_MAX);
	port->vring_num_max = (uint16_t)rp_wire_parcel_get_number(parcel, "vring_num_max", 32768);
	port->features_offered = rp_wire_parcel_get_number(parcel, "features_offered", UINT64_MAX);
	port->features_acked = rp_wire_parcel_get_bool(parcel, "features_acked");
	port->channel_up = rp_wire_parcel_get_bool(parcel, "channel_up");
	rp_wire_parcel_get_text(parcel, "refused", port->refused, sizeof(port->refused));
	if (rp_wire_parcel_get_bool(parcel, "config_due"))
		port->config_at_ms = rp_wire_clock_ms();
	if (rp_wire_parcel_has(parcel, "link_down_told"))
		port->link_down_told = rp_wire_parcel_get_bool(parcel, "link_down_told");
	port->software_refused_log = rp_wire_parcel_get_bool(parcel, "software_refused_log");
	port->software_refused_logging = rp_wire_parcel_get_bool(parcel, "software_refused_logging");
	port_software_unpack(port, parcel);
	rc = rp_wire_parcel_result(parcel, why);
	if (rc == 0 && strcmp(name, port->name) != 0)
		rc = rp_wire_why_set(why, -EBADMSG, "name: found '%s', expected '%s'", name, port->name);
	if (rc == 0 && *ret_queues_count == 0)
		rc = rp_wire_why_set(why, -EBADMSG, "queues_count: 0, expected some");
	return rc;
}

static int
unpack_frontend(struct rp_port *port, struct rp_wire_parcel *parcel, unsigned int queues_count, struct rp_wire_why *why)
{
	int rc;

	/* So many are told of. Until they are there, nobody may look for them. */
	port->queues_count = queues_count;
	rc = port_vhost_open(port, why);
	port->queues_count = 0;
	if (rc < 0)
		return rc;
	rp_wire_parcel_enter(parcel, PORT_GIVEN_FRONTEND, 0);
	rc = rp_vhu_backend_adopt(port->backend, parcel, why);
	rp_wire_parcel_leave(parcel);
	if (rc < 0)
		return rc;
	port->features = rp_vhu_backend_features(port->backend);
	return 0;
}

static int
map_memory(struct rp_port *port, struct rp_wire_why *why)
{
	unsigned int i;
	int rc = 0;

	for (i = 0; i < rp_vhu_backend_regions_count(port->backend) && rc == 0; i++) {
		struct rp_vhu_region region;

		rp_vhu_backend_region(port->backend, i, &region);
		rc = port_vhost_map(port, &region, why);
	}
	return rc;
}

/* What the frontend was told rests on these. */
static int
check_offer(const struct rp_port *port, unsigned int queues_count, uint16_t vring_num_max, struct rp_wire_why *why)
{
	uint64_t lost = port->features_offered & ~port_offer_features(port);

	if (port->queues_count != queues_count)
		return rp_wire_why_set(why, -ENOTSUP, "there are %u queues now, the frontend knows %u",
				       port->queues_count, queues_count);
	if (lost != 0)
		return rp_wire_why_set(why, -ENOTSUP, "features 0x%llx were offered, and cannot be any more",
				       (unsigned long long)lost);
	if (port->accelerators_count > 0 && port_vhost_largest_ring(port) != vring_num_max)
		return rp_wire_why_set(why, -ENOTSUP, "rings have at most %u entries now, and %u before",
				       port_vhost_largest_ring(port), vring_num_max);
	return 0;
}

static int
unpack_queues(struct rp_port *port, struct rp_wire_parcel *parcel, struct rp_wire_why *why)
{
	unsigned int i;
	int rc = 0;

	for (i = 0; i < port->queues_count && rc == 0; i++) {
		rp_wire_parcel_enter(parcel, PORT_GIVEN_QUEUE, i);
		rc = port_queue_unpack(port, &port->queues[i], parcel, why);
		rp_wire_parcel_leave(parcel);
		if (rc < 0)
			rp_wire_why_prefix(why, "queue %u: ", i);
	}
	return rc;
}

static int
unpack(struct rp_port *port, const struct rp_port_config *config, struct rp_wire_parcel *parcel,
       struct rp_wire_why *why)
{
	unsigned int queues_count = 0;
	int rc = 0;

	if (config->windows_count > 0)
		rc = rp_wire_why_set(why, -ENOTSUP, "windows: expected none, they are not handed over");
	if (rc == 0 && config->software.socket_path != NULL)
		rc = port_software_open(port, &config->software, why);
	if (rc == 0)
		rc = unpack_port(port, parcel, &queues_count, why);
	if (rc == 0)
		rc = unpack_frontend(port, parcel, queues_count, why);
	if (rc == 0)
		rc = map_memory(port, why);
	if (rc == 0)
		rc = port_accelerators_unpack(port, config, parcel, why);
	if (rc == 0 && config->accelerators_count == 0)
		rc = port_queues_create(port, queues_count);
	if (rc == 0)
		rc = check_offer(port, queues_count, port->vring_num_max, why);
	if (rc == 0)
		rc = unpack_queues(port, parcel, why);
	return rc < 0 ? rc : port_places_check(port, why);
}

static void
go_on(struct rp_port *port)
{
	unsigned int i;

	port->memory_stale = port_software_configured(port);
	port_event(port, RP_PORT_EVENT_NOTICE, -1, "frontend-adopted", "pid %d on %s",
		   (int)rp_vhu_backend_peer(port->backend), port->socket_path);
	for (i = 0; i < port->queues_count; i++) {
		struct port_queue *queue = &port->queues[i];

		port_ring_node_tell(port, queue);
		if (queue->running)
			port_event(port, RP_PORT_EVENT_NOTICE, (int)i, "queue-adopted", "accelerator %d queue %u runs",
				   queue->accelerator, queue->accelerator_queue);
	}
	for (i = 0; i < port->accelerators_count; i++) {
		port_doorbell_heard(port, i);
		port_net_opened(port, i);
	}
	rp_port_resume(port);
}

int
rp_port_adopt(const struct rp_port_config *config, const struct rp_accel_registry *registry,
	      const struct rp_port_ops *ops, void *ctx, struct rp_wire_parcel *parcel, struct rp_port **ret_port,
	      struct rp_wire_why *why)
{
	struct rp_wire_why unused = {0};
	struct rp_port *port;
	int rc;

	if (why == NULL)
		why = &unused;
	rc = port_make(config, registry, ops, ctx, &port, why);
	if (rc < 0)
		return rc;
	rc = unpack(port, config, parcel, why);
	if (rc == 0)
		rc = port_endpoint_open(port, why);
	if (rc < 0) {
		rp_port_leave(port);
		return rc;
	}
	rp_vhu_endpoint_connected(port->endpoint);
	port->serving = true;
	go_on(port);
	*ret_port = port;
	return 0;
}
