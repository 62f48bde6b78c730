/* SPDX-License-Identifier: BSD-3-Clause */

/* Rings that nobody has are given to one side, or to the one that may stand in for it. */

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "port.h"

/* The other side is gone, or hangs: that it cannot be used is known by other means. */
static bool
is_lost(int error)
{
	return error == -ENOTCONN || error == -ETIMEDOUT || error == -EIO;
}

static void
refuse(char *held, const struct rp_wire_why *why, int error)
{
	snprintf(held, RP_PORT_REASON_MAX, "refused: %.140s", why->text[0] != '\0' ? why->text : strerror(-error));
}

static void
note_served(struct rp_port *port, struct port_queue *queue)
{
	char text[PORT_POSITION_TEXT_MAX];

	queue->software_served = true;
	queue->reason[0] = '\0';
	if (queue->served_before && queue->had != RP_PORT_OWNER_HARDWARE)
		queue->moves++;
	port_move_reached(queue, RP_PORT_OWNER_SOFTWARE);
	port_queue_resumed(port, queue);
	port_position_text(port, queue->position, text, sizeof(text));
	port_event(port, RP_PORT_EVENT_NOTICE, (int)queue->index, "software-started", "from %s, %u entries", text,
		   queue->vring.num);
	if (queue->served_before)
		port_move_call_again(port, queue);
	port_relay_nudge(port, queue, queue->served_before);
	queue->served_before = true;
}

static int
serve(struct rp_port *port, struct port_queue *const *queues, unsigned int count, struct rp_wire_why *why)
{
	unsigned int served_count, i;
	int rc;

	for (i = 0; i < count; i++)
		assert(!queues[i]->running);
	rc = port_software_serve_together(port, queues, count, &served_count, why);
	for (i = 0; i < served_count; i++)
		note_served(port, queues[i]);
	/* It may have begun. */
	for (; i < count; i++)
		queues[i]->software_served = queues[i]->software == PORT_SOFTWARE_RING_UNPROVEN;
	if (rc < 0 && served_count < count)
		port_event(port, RP_PORT_EVENT_ERROR, (int)queues[served_count]->index, "software-start-failed", "%s",
			   why->text);
	return rc;
}

static bool
is_there(const struct rp_port *port, const struct port_queue *queue, enum rp_port_owner side)
{
	return side == RP_PORT_OWNER_SOFTWARE ? port_software_usable(port) :
						port_accelerator_usable(port, queue->accelerator);
}

/*
 * `by` did not do its part, so the ring does not get to `side`. One that is gone, or hangs,
 * refused nothing; any other would only say the same again.
 */
void
port_move_note_refusal(struct rp_port *port, struct port_queue *queue, enum rp_port_owner side, enum rp_port_owner by,
		       int error, const struct rp_wire_why *why)
{
	if (!port_software_configured(port) || (is_lost(error) && !is_there(port, queue, by)))
		return;
	refuse(side == RP_PORT_OWNER_SOFTWARE ? queue->software_refused : queue->hardware_refused, why, error);
}

int
port_move_give_only(struct rp_port *port, struct port_queue *queue, enum rp_port_owner to, struct rp_wire_why *why)
{
	int rc = to == RP_PORT_OWNER_SOFTWARE ? serve(port, &queue, 1, why) : port_queue_start(port, queue, why);

	if (to == RP_PORT_OWNER_HARDWARE)
		port_net_update(port, (unsigned int)queue->accelerator);
	if (rc < 0)
		port_move_note_refusal(port, queue, to, to, rc, why);
	return rc;
}

static int
stand_in(struct rp_port *port, struct port_queue *queue, enum rp_port_owner refused, int error, struct rp_wire_why *why)
{
	enum rp_port_owner next;

	if (!port_software_configured(port))
		return error;
	next = port_wish_target(port, queue);
	return next == refused || next == RP_PORT_OWNER_NONE ? error : port_move_give_only(port, queue, next, why);
}

int
port_move_give(struct rp_port *port, struct port_queue *queue, enum rp_port_owner to, struct rp_wire_why *why)
{
	int rc = port_move_give_only(port, queue, to, why);

	return rc == 0 ? 0 : stand_in(port, queue, to, rc, why);
}

int
port_move_not_given(struct rp_port *port, struct port_queue *queue, enum rp_port_owner to, int error,
		    struct rp_wire_why *why)
{
	port_move_note_refusal(port, queue, to, to, error, why);
	return stand_in(port, queue, to, error, why);
}

int
port_move_give_together(struct rp_port *port, struct port_queue *const *queues, unsigned int count,
			enum rp_port_owner to, struct rp_wire_why *why)
{
	if (count == 0)
		return 0;
	return to == RP_PORT_OWNER_SOFTWARE ? serve(port, queues, count, why) :
					      port_starts_give(port, queues, count, why);
}
