/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * A migration begins, or ends, under running rings. All that the hardware serves goes to
 * the software backend before the request is answered, if that logs what it writes; else to
 * private rings (shadow.c), where it can; else the request is refused, and all is as it was.
 */

#include <errno.h>

#include "port.h"

#define LOG_ALL_MASK (1ull << RP_VHU_F_LOG_ALL_BIT)

bool
port_log_is_offered(const struct rp_port *port)
{
	/* What is written is logged by guest-physical addresses, which such a backend does not know. */
	return port_software_configured(port) && !port->access_platform &&
	       (port_software_features(port) & LOG_ALL_MASK) != 0 &&
	       (port_software_protocol_features(port) & 1ull << RP_VHU_PF_LOG_SHMFD_BIT) != 0;
}

bool
port_log_by_software(const struct rp_port *port)
{
	return port_log_is_offered(port) && !port->software_refused_log && !port->software_refused_logging;
}

/* Something that is not logged may still be written to the guest's memory. */
static bool
writes_unseen(const struct rp_port *port)
{
	unsigned int i;

	for (i = 0; i < port->queues_count; i++) {
		const struct port_queue *queue = &port->queues[i];

		if (port_wish_is_unproven(queue) || (queue->running && queue->shadow.ring == NULL) ||
		    (queue->software == PORT_SOFTWARE_RING_SERVES && !port_log_by_software(port)))
			return true;
	}
	return false;
}

/* Found out now, all can stay as it is. */
static int
may_begin(struct rp_port *port, struct rp_wire_why *why)
{
	unsigned int i;
	int rc;

	if (!port_log_by_software(port) || !port_software_usable(port))
		return port_shadow_may_log(port, why);
	for (i = 0; i < port->queues_count; i++) {
		if (!port->queues[i].running)
			continue;
		rc = port_position_keep(port, &port->queues[i], why);
		if (rc < 0) {
			rp_wire_why_prefix(why, "LOG_ALL: ");
			return rc;
		}
	}
	return 0;
}

static void
tell_software(struct rp_port *port, uint64_t features)
{
	struct rp_wire_why why = {0};
	int rc;

	if (!port_software_configured(port))
		return;
	rc = port_software_set_features(port, features, &why);
	port->software_refused_logging = rc < 0 && rc != -ENOTCONN && (features & LOG_ALL_MASK) != 0;
	if (rc < 0 && rc != -ENOTCONN)
		port_event(port, RP_PORT_EVENT_WARNING, -1, "software-features-refused", "%s", why.text);
}

static void
change_rings(struct rp_port *port, struct rp_wire_why *why)
{
	unsigned int i;

	for (i = 0; i < port->queues_count; i++) {
		struct port_queue *queue = &port->queues[i];

		if (queue->running && port_shadow_must_change(port, queue))
			port_queue_renew(port, queue, why);
		else
			port_shadow_log(port, queue);
	}
}

int
port_log_set(struct rp_port *port, uint64_t features, struct rp_wire_why *why)
{
	bool begins = (features & LOG_ALL_MASK) != 0;
	uint64_t before = port->features;
	unsigned int i;
	int rc = begins ? may_begin(port, why) : 0;

	if (rc < 0)
		return rc;
	tell_software(port, features);
	/* It said no, or hangs: the other way, if there is one. */
	rc = begins ? may_begin(port, why) : 0;
	if (rc < 0) {
		tell_software(port, before);
		return rc;
	}
	port->features = features;
	/* What was refused before was something else. */
	for (i = 0; i < port->queues_count; i++)
		port_wish_begin(&port->queues[i]);
	if (begins)
		port_moves_run(port);
	change_rings(port, why);
	/* A queue that let go and did not start again writes nothing. */
	if (!begins || !writes_unseen(port))
		return 0;
	port->features = before;
	tell_software(port, before);
	for (i = 0; i < port->queues_count; i++)
		port_shadow_log(port, &port->queues[i]);
	return rp_wire_why_set(why, -EIO, "LOG_ALL: a device may write to the guest's memory, and nobody sees what");
}
