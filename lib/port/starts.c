/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * Rings that start together. A frontend starts all rings of a device in a row; each start costs the
 * accelerator several round trips, and many starts together hardly more than one. So what starts a ring is put
 * off until the frontend waits for something, or has said all that there was to read (settle, in
 * rp_vhu_backend.h): nobody can tell the difference but by the clock.
 *
 * Only a ring that nobody has, and that goes to an accelerator, waits so. Whatever else happens to it
 * meanwhile finds it as it is: not started.
 */

#include <stdlib.h>

#include "port.h"

struct list {
	struct port_queue *queues[RP_VHU_QUEUES_MAX];
	unsigned int count;
};

void
port_starts_add(struct rp_port *port, struct port_queue *queue)
{
	if (port_queue_owner(queue) == RP_PORT_OWNER_NONE && port_wish_target(port, queue) == RP_PORT_OWNER_HARDWARE) {
		queue->start_due = true;
		port->starts_due = true;
	} else {
		port_queue_update(port, queue, NULL);
	}
}

static void
one_by_one(struct rp_port *port, const struct list *list)
{
	unsigned int i;

	for (i = 0; i < list->count; i++)
		port_queue_update(port, list->queues[i], NULL);
}

static void
together(struct rp_port *port, unsigned int accelerator, const struct list *list)
{
	struct rp_accel_queue_start *starts = calloc(list->count, sizeof(*starts));
	unsigned int i;

	if (starts == NULL) {
		one_by_one(port, list);
		return;
	}
	port_queues_start(port, accelerator, list->queues, starts, list->count);
	port_net_update(port, accelerator);
	for (i = 0; i < list->count; i++)
		if (starts[i].error < 0)
			port_move_not_given(port, list->queues[i], RP_PORT_OWNER_HARDWARE, starts[i].error,
					    &starts[i].why);
	free(starts);
}

static void
run(struct rp_port *port, unsigned int accelerator, const struct list *list)
{
	if (list->count > 1 && port_accelerator_usable(port, (int)accelerator) &&
	    port->accelerators[accelerator].accel.ops->queues_start != NULL)
		together(port, accelerator, list);
	else
		one_by_one(port, list);
}

/* Those of one accelerator that still should start. */
static void
collect(struct rp_port *port, unsigned int accelerator, struct list *list)
{
	unsigned int i;

	list->count = 0;
	for (i = 0; i < port->queues_count; i++) {
		struct port_queue *queue = &port->queues[i];

		if (!queue->start_due || !port_queue_is_on(queue, accelerator))
			continue;
		queue->start_due = false;
		if (port_queue_owner(queue) != RP_PORT_OWNER_NONE)
			continue;
		if (port_wish_target(port, queue) == RP_PORT_OWNER_HARDWARE)
			list->queues[list->count++] = queue;
		else
			port_queue_update(port, queue, NULL);
	}
}

void
port_starts_run(struct rp_port *port)
{
	struct list list;
	unsigned int i;

	if (!port->starts_due)
		return;
	port->starts_due = false;
	for (i = 0; i < port->accelerators_count; i++) {
		collect(port, i, &list);
		run(port, i, &list);
	}
}

/* Each by itself, until one is refused. */
static int
give_one_by_one(struct rp_port *port, struct port_queue *const *queues, unsigned int count, struct rp_wire_why *why)
{
	unsigned int i;
	int rc = 0;

	for (i = 0; i < count && rc == 0; i++)
		rc = port_move_give_only(port, queues[i], RP_PORT_OWNER_HARDWARE, why);
	return rc;
}

static int
give_together(struct rp_port *port, unsigned int accelerator, struct port_queue *const *queues, unsigned int count,
	      struct rp_wire_why *why)
{
	struct rp_accel_queue_start *starts = calloc(count, sizeof(*starts));
	unsigned int i;
	int rc = 0;

	if (starts == NULL)
		return give_one_by_one(port, queues, count, why);
	port_queues_start(port, accelerator, queues, starts, count);
	port_net_update(port, accelerator);
	for (i = 0; i < count; i++) {
		if (starts[i].error == 0)
			continue;
		if (rc == 0) {
			rc = starts[i].error;
			*why = starts[i].why;
		}
		port_move_note_refusal(port, queues[i], RP_PORT_OWNER_HARDWARE, RP_PORT_OWNER_HARDWARE, starts[i].error,
				       &starts[i].why);
	}
	free(starts);
	return rc;
}

/* How many from the first on are of the same accelerator. */
static unsigned int
row_of(struct port_queue *const *queues, unsigned int count)
{
	unsigned int i;

	for (i = 1; i < count && queues[i]->accelerator == queues[0]->accelerator; i++)
		;
	return i;
}

int
port_starts_give(struct rp_port *port, struct port_queue *const *queues, unsigned int count, struct rp_wire_why *why)
{
	unsigned int at, row;
	int rc = 0;

	for (at = 0; at < count && rc == 0; at += row) {
		int accelerator = queues[at]->accelerator;

		row = row_of(queues + at, count - at);
		if (row > 1 && port_accelerator_usable(port, accelerator) &&
		    port->accelerators[accelerator].accel.ops->queues_start != NULL)
			rc = give_together(port, (unsigned int)accelerator, queues + at, row, why);
		else
			rc = give_one_by_one(port, queues + at, row, why);
	}
	return rc;
}

/* What is not known before it starts, or changes until then, is not told ahead: whose ring it is, where that lies. */
static bool
may_be_prepared(const struct rp_port *port, const struct port_queue *queue, int accelerator)
{
	return port_accelerator_usable(port, accelerator) &&
	       port->accelerators[accelerator].accel.ops->queues_prepare != NULL &&
	       port->accelerators[accelerator].info.class == RP_ACCEL_CLASS_A && !port->relay_interrupts &&
	       port->iommu == NULL && queue->shadow.ring == NULL;
}

/* Of one accelerator. */
static int
prepare_row(struct rp_port *port, struct port_queue *const *queues, const struct port_place *places, unsigned int count,
	    struct rp_wire_why *why)
{
	struct rp_accel_queue_start *starts = calloc(count, sizeof(*starts));
	const struct rp_accel *accel;
	unsigned int known = 0, i;
	int rc = 0;

	/* It is only a start that takes longer. */
	if (starts == NULL)
		return 0;
	for (i = 0; i < count; i++) {
		if (!may_be_prepared(port, queues[i], places[i].accelerator))
			continue;
		starts[known].queue = places[i].queue;
		starts[known].config = port_queue_ring(queues[i]);
		starts[known++].config.call_fd = queues[i]->call_fd;
	}
	if (known > 0) {
		accel = &port->accelerators[places[0].accelerator].accel;
		rc = accel->ops->queues_prepare(accel->priv, starts, known, why);
	}
	free(starts);
	if (rc < 0)
		port_accelerator_fail(port, (unsigned int)places[0].accelerator, rc, why);
	return rc;
}

int
port_starts_prepare(struct rp_port *port, struct port_queue *const *queues, const struct port_place *places,
		    unsigned int count, struct rp_wire_why *why)
{
	unsigned int at, row;
	int rc = 0;

	for (at = 0; at < count && rc == 0; at += row) {
		for (row = 1; at + row < count && places[at + row].accelerator == places[at].accelerator; row++)
			;
		rc = prepare_row(port, queues + at, places + at, row, why);
	}
	return rc;
}

void
port_starts_forget(struct rp_port *port, const struct port_place *places, unsigned int count)
{
	unsigned int i;

	for (i = 0; i < count; i++) {
		const struct rp_accel *accel = &port->accelerators[places[i].accelerator].accel;

		if (port_accelerator_usable(port, places[i].accelerator) && accel->ops->queue_forget != NULL)
			accel->ops->queue_forget(accel->priv, places[i].queue);
	}
}
