/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * The software backend comes, goes, and lets go: what it says of that is noted here, and
 * done by the next port_moves_run(). And what it may have swallowed is made good for: one
 * that was away from a ring may think that it has interrupted for what it has not.
 */

#include "port.h"
#include "rp_wire_clock.h"

#define CALL_AGAIN_FIRST_MS 10
#define CALL_AGAIN_LAST_MS 640

void
port_move_software_usable(struct rp_port *port)
{
	unsigned int i;

	port->software_refused_log = port->software_refused_logging = false;
	for (i = 0; i < port->queues_count; i++)
		port->queues[i].software_refused[0] = '\0';
	if (!port->serving)
		port->serve_at_ms = rp_wire_clock_ms();
}

void
port_move_software_gone(struct rp_port *port)
{
	unsigned int i;

	for (i = 0; i < port->queues_count; i++) {
		struct port_queue *queue = &port->queues[i];

		if (!queue->software_served || queue->software == PORT_SOFTWARE_RING_SERVES)
			continue;
		if (port_wish_anybody(port, queue))
			port_move_left(queue, RP_PORT_OWNER_SOFTWARE);
		queue->call_again.at_ms = 0;
		port_event(port, RP_PORT_EVENT_WARNING, (int)queue->index, "software-lost",
			   "the software backend went with the ring");
	}
}

void
port_move_software_proven(struct rp_port *port)
{
	unsigned int i;

	for (i = 0; i < port->queues_count; i++) {
		struct port_queue *queue = &port->queues[i];

		if (!queue->software_served || queue->software == PORT_SOFTWARE_RING_SERVES ||
		    queue->software == PORT_SOFTWARE_RING_UNPROVEN)
			continue;
		queue->software_served = false;
		if (!queue->handed_back)
			port_queue_released(port, queue);
		queue->handed_back = false;
	}
}

void
port_move_software_config_changed(struct rp_port *port)
{
	port_net_tell(port);
}

/* What it used since then is interrupted for, whatever the new owner thinks; a ring that stands still needs nothing. */
static void
call_again(struct rp_port *port, struct port_queue *queue, uint64_t now_ms)
{
	struct port_call_again *again = &queue->call_again;
	uint16_t used;

	if (!port_position_used(port, queue, &used) || used != again->used) {
		port_relay_call(port, queue);
		again->at_ms = 0;
		return;
	}
	again->delay_ms *= 2;
	again->at_ms = again->delay_ms > CALL_AGAIN_LAST_MS ? 0 : now_ms + again->delay_ms;
}

void
port_move_tick(struct rp_port *port, uint64_t now_ms)
{
	unsigned int i;

	for (i = 0; i < port->queues_count; i++) {
		struct port_queue *queue = &port->queues[i];

		if (queue->call_again.at_ms != 0 && now_ms >= queue->call_again.at_ms)
			call_again(port, queue, now_ms);
	}
}

uint64_t
port_move_deadline(const struct rp_port *port)
{
	uint64_t earliest_ms = 0;
	unsigned int i;

	for (i = 0; i < port->queues_count; i++) {
		uint64_t at_ms = port->queues[i].call_again.at_ms;

		if (at_ms != 0 && (earliest_ms == 0 || at_ms < earliest_ms))
			earliest_ms = at_ms;
	}
	return earliest_ms;
}

void
port_move_call_again(const struct rp_port *port, struct port_queue *queue)
{
	struct port_call_again *again = &queue->call_again;

	if (!port_position_used(port, queue, &again->used))
		again->used = 0;
	again->delay_ms = CALL_AGAIN_FIRST_MS;
	again->at_ms = rp_wire_clock_ms() + again->delay_ms;
}
