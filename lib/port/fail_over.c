/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * An accelerator is dead, and it is certain that it touches nothing any more: its queue pairs go
 * to the next one that has pairs free, and stay there. A ring goes on where it says that it
 * stands; a packed ring does not say, and begins there when the guest's driver makes it anew.
 */

#include "move_order.h"
#include "port.h"

#define PAIR 2u

static bool
is_released(const struct port_queue *queue, unsigned int accelerator)
{
	return port_queue_is_on(queue, accelerator) && !queue->running && !queue->unproven;
}

/* Rings in mid-life can start there. */
static bool
may_take_over(const struct rp_port *port, unsigned int accelerator)
{
	return port_accelerator_usable(port, (int)accelerator) &&
	       port->accelerators[accelerator].info.class == RP_ACCEL_CLASS_A;
}

static bool
find(const struct rp_port *port, struct port_queue *const *pair, struct port_place *ret_places)
{
	unsigned int i;

	for (i = 0; i < port->accelerators_count; i++)
		if (may_take_over(port, i) && port_places_choose(port, i, pair, PAIR, ret_places) == 0)
			return true;
	return false;
}

static bool
fail_over_pair(struct rp_port *port, unsigned int first)
{
	struct port_queue *pair[PAIR] = {&port->queues[first], &port->queues[first + 1]};
	struct port_place places[PAIR], from;
	unsigned int i;

	if (!find(port, pair, places))
		return false;
	for (i = 0; i < PAIR; i++) {
		from = port_place_of(pair[i]);
		port_place_take(port, pair[i], &places[i]);
		port_transfer_tell(port, pair[i], &from);
	}
	return true;
}

void
port_fail_over(struct rp_port *port, unsigned int accelerator)
{
	bool moved[RP_VHU_QUEUES_MAX / PAIR] = {false};
	unsigned int turn, i;

	if (!port->fail_over)
		return;
	for (i = 0; i + 1 < port->queues_count; i += PAIR)
		if (is_released(&port->queues[i], accelerator) && is_released(&port->queues[i + 1], accelerator))
			moved[i / PAIR] = fail_over_pair(port, i);
	for (turn = 0; turn < PAIR; turn++)
		for (i = 0; i < port->queues_count; i++)
			if (moved[i / PAIR] && (i & 1) == (port_move_order.given_first ^ turn))
				port_queue_update(port, &port->queues[i], NULL);
	port_net_moved(port);
}
