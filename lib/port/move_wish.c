/* SPDX-License-Identifier: BSD-3-Clause */

/* What the user wishes of queues, now, and what came of it. */

#include <errno.h>
#include <string.h>

#include "port.h"

/* Whether the wish came true; what was done about it said `error`. */
static int
verdict(const struct rp_port *port, const struct port_queue *queue, int error, struct rp_wire_why *why)
{
	enum rp_port_owner wished =
		queue->wish == RP_PORT_WISH_SOFTWARE ? RP_PORT_OWNER_SOFTWARE : RP_PORT_OWNER_HARDWARE;
	const char *reason;

	if (queue->wish == RP_PORT_WISH_AUTO || port_queue_owner(queue) == wished)
		return 0;
	reason = port_wish_why_not(port, queue, wished);
	if (wished == RP_PORT_OWNER_HARDWARE && queue->accelerator < 0)
		return rp_wire_why_set(why, -ENOTSUP, "queue %u: %s", queue->index, reason);
	if (wished == RP_PORT_OWNER_HARDWARE ? !port_accelerator_usable(port, queue->accelerator) :
					       !port_software_usable(port))
		return rp_wire_why_set(why, -ENOTCONN, "queue %u: %s", queue->index, reason);
	if (queue->frontend_started && queue->position_lost)
		return rp_wire_why_set(why, -ENOTSUP, "queue %u: %s", queue->index, PORT_POSITION_LOST);
	if (!port_wish_anybody(port, queue))
		return 0;
	if (error < 0) {
		if (strncmp(why->text, "queue ", 6) != 0)
			rp_wire_why_prefix(why, "queue %u: ", queue->index);
		return error;
	}
	return rp_wire_why_set(why, -ENOTSUP, "queue %u: %s", queue->index, reason);
}

int
rp_port_move(struct rp_port *port, unsigned int first, unsigned int queues_count, enum rp_port_wish wish,
	     struct rp_wire_why *why)
{
	struct rp_wire_why said = {0}, unused;
	unsigned int i;
	int rc, worst = 0;

	if (why == NULL)
		why = &unused;
	if (queues_count == 0 && first < port->queues_count)
		queues_count = port->queues_count - first;
	if (queues_count == 0 || first >= port->queues_count || queues_count > port->queues_count - first)
		return rp_wire_why_set(why, -EINVAL, "queues: %u from %u on, there are %u", queues_count, first,
				       port->queues_count);
	if (wish == RP_PORT_WISH_SOFTWARE && !port_software_configured(port))
		return rp_wire_why_set(why, -ENOTSUP, "there is no software backend");
	for (i = first; i < first + queues_count; i++) {
		port->queues[i].wish = wish;
		port_wish_begin(&port->queues[i]);
	}
	rc = port_moves_run_of(port, first, queues_count, &said);
	for (i = first; i < first + queues_count && worst == 0; i++) {
		*why = said;
		worst = verdict(port, &port->queues[i], rc, why);
	}
	port_timer_update(port);
	return worst;
}
