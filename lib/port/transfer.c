/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * How rings get from one accelerator to another while the guest runs.
 *
 * All of them are stopped by the accelerator that has them, transmit first; what is under way in
 * it comes back into the receive rings before these go. Then all start on the other, receive
 * first (move_order.h), where the first said that they stand. So at no time do two have a ring.
 *
 * The doorbell in the guest's hands is the first accelerator's until its frontend gave it back
 * (doorbell.c): stores that fall on it meanwhile are made good for by a kick then.
 *
 * When a side does not do its part, each ring goes back to the accelerator that had it. One that
 * the second may have begun, and of which nothing proves that it let go, stays with that,
 * stopped; it comes back with the proof.
 */

#include <errno.h>
#include <stdlib.h>

#include "move_order.h"
#include "port.h"

#define PAIR 2u

struct transfer {
	struct port_queue *queues[RP_VHU_QUEUES_MAX];
	struct port_place from[RP_VHU_QUEUES_MAX];
	struct port_place to[RP_VHU_QUEUES_MAX];
	bool ran[RP_VHU_QUEUES_MAX];
	uint64_t moves[RP_VHU_QUEUES_MAX];
	struct rp_accel_queue_counters from_last[RP_VHU_QUEUES_MAX]; /* what each had counted before they stopped */
	struct rp_accel_queue_counters to_base[RP_VHU_QUEUES_MAX];
	unsigned int count;
	unsigned int accelerator;
};

void
port_transfer_tell(const struct rp_port *port, const struct port_queue *queue, const struct port_place *from)
{
	port_event(port, RP_PORT_EVENT_NOTICE, (int)queue->index, "queue-transferred",
		   "from accelerator %d queue %u to accelerator %d queue %u", from->accelerator, from->queue,
		   queue->accelerator, queue->accelerator_queue);
}

static bool
is_there(const struct transfer *transfer, unsigned int i)
{
	return port_queue_is_on(transfer->queues[i], transfer->accelerator);
}

static int
check_class(const struct rp_port *port, const struct port_queue *queue, int accelerator, struct rp_wire_why *why)
{
	enum rp_accel_class class = port->accelerators[accelerator].info.class;

	if (class == RP_ACCEL_CLASS_A)
		return 0;
	return rp_wire_why_set(why, -ENOTSUP,
			       "queue %u runs, and accelerator %d is of class %s: expected one that says, and is told, "
			       "where a ring stands (class A)",
			       queue->index, accelerator, rp_accel_class_name(class));
}

static int
check_ring(const struct rp_port *port, const struct port_queue *queue, unsigned int accelerator,
	   struct rp_wire_why *why)
{
	int rc;

	if (queue->unproven)
		return rp_wire_why_set(why, -EBUSY,
				       "queue %u: accelerator %d failed, and nothing proves that it let go of the ring",
				       queue->index, queue->accelerator);
	if (!queue->running)
		return 0;
	rc = check_class(port, queue, queue->accelerator, why);
	return rc < 0 ? rc : check_class(port, queue, (int)accelerator, why);
}

static int
collect(struct rp_port *port, unsigned int first, unsigned int count, struct transfer *transfer,
	struct rp_wire_why *why)
{
	unsigned int i;
	int rc;

	for (i = first; i < first + count; i++) {
		struct port_queue *queue = &port->queues[i];
		unsigned int at = transfer->count;

		if (port_queue_is_on(queue, transfer->accelerator) && !queue->unproven)
			continue;
		rc = check_ring(port, queue, transfer->accelerator, why);
		if (rc < 0)
			return rc;
		transfer->queues[at] = queue;
		transfer->from[at] = port_place_of(queue);
		transfer->ran[at] = queue->running;
		transfer->moves[at] = queue->moves;
		transfer->count++;
	}
	rc = port_places_choose(port, transfer->accelerator, transfer->queues, transfer->count, transfer->to);
	return rc == 0 ? 0 :
			 rp_wire_why_set(why, rc, "accelerator %u has fewer than %u queue pairs free",
					 transfer->accelerator, transfer->count / PAIR);
}

static bool
is_kind(const struct port_queue *queue, unsigned int first, unsigned int turn)
{
	return (queue->index & 1) == (first ^ turn);
}

/* What each device receives: before its rings go, and after they came. */
static void
tell_nets(struct rp_port *port, const struct transfer *transfer)
{
	unsigned int i;

	for (i = 0; i < transfer->count; i++)
		port_net_update(port, (unsigned int)transfer->from[i].accelerator);
	port_net_update(port, transfer->accelerator);
}

static int
stop_kind(struct rp_port *port, const struct transfer *transfer, unsigned int turn, bool *waits,
	  struct rp_wire_why *why)
{
	unsigned int i;
	int rc = 0;

	for (i = 0; i < transfer->count && rc == 0; i++) {
		struct port_queue *queue = transfer->queues[i];

		if (!transfer->ran[i] || !is_kind(queue, port_move_order.taken_first, turn))
			continue;
		/* By what was done to the one before. */
		if (!queue->running)
			return rp_wire_why_set(why, -ENOTCONN, "%s", port->accelerators[queue->accelerator].reason);
		if (*waits && turn == 1)
			port_drain(port);
		*waits = turn == 0;
		rc = port_queue_stop(port, queue, why);
	}
	return rc;
}

static int
stop(struct rp_port *port, struct transfer *transfer, struct rp_wire_why *why)
{
	bool waits = false;
	unsigned int i;
	int rc;

	/* Whoever is asked is asked before: nobody serves the rings meanwhile. */
	for (i = 0; i < transfer->count; i++) {
		struct rp_accel_queue_counters unused;

		port_place_counters(port, &transfer->to[i], &transfer->to_base[i]);
		port_queue_counters(port, transfer->queues[i], &unused);
		transfer->from_last[i] = transfer->queues[i]->counters_last;
		transfer->queues[i]->leaving = true;
	}
	tell_nets(port, transfer);
	rc = stop_kind(port, transfer, 0, &waits, why);
	/* Those of the first kind were taken back during the drain. */
	port_doorbells_hold(port);
	if (rc == 0)
		rc = stop_kind(port, transfer, 1, &waits, why);
	for (i = 0; i < transfer->count; i++)
		transfer->queues[i]->leaving = false;
	return rc;
}

/* Those that ran and may run: of a ring that was not drained nobody knows where it stands. */
static unsigned int
sort(const struct rp_port *port, const struct transfer *transfer, struct port_queue **ret_queues)
{
	unsigned int turn, i, count = 0;

	for (turn = 0; turn < PAIR; turn++)
		for (i = 0; i < transfer->count; i++)
			if (transfer->ran[i] && is_kind(transfer->queues[i], port_move_order.given_first, turn) &&
			    port_wish_anybody(port, transfer->queues[i]))
				ret_queues[count++] = transfer->queues[i];
	return count;
}

static int
start_together(struct rp_port *port, unsigned int accelerator, struct port_queue *const *queues, unsigned int count,
	       struct rp_wire_why *why)
{
	struct rp_accel_queue_start *starts = calloc(count, sizeof(*starts));
	unsigned int i;
	int rc = 0;

	if (starts == NULL)
		return rp_wire_why_set(why, -ENOSPC, "no memory");
	port_queues_start(port, accelerator, queues, starts, count);
	for (i = 0; i < count && rc == 0; i++) {
		rc = starts[i].error;
		if (rc < 0)
			*why = starts[i].why;
	}
	free(starts);
	return rc;
}

static int
start(struct rp_port *port, struct transfer *transfer, struct rp_wire_why *why)
{
	struct port_queue *queues[RP_VHU_QUEUES_MAX];
	unsigned int count = sort(port, transfer, queues), i;
	int rc = 0;

	for (i = 0; i < transfer->count; i++) {
		port_queue_counters_end(transfer->queues[i]);
		port_place_set(transfer->queues[i], &transfer->to[i], &transfer->to_base[i]);
	}
	if (count > 1 && port_accelerator_usable(port, (int)transfer->accelerator) &&
	    port->accelerators[transfer->accelerator].accel.ops->queues_start != NULL)
		return start_together(port, transfer->accelerator, queues, count, why);
	for (i = 0; i < count && rc == 0; i++)
		rc = port_queue_start(port, queues[i], why);
	return rc;
}

/* Until it stopped. */
static void
count_the_rest(struct rp_port *port, const struct transfer *transfer)
{
	struct rp_accel_queue_counters now;
	unsigned int i;

	for (i = 0; i < transfer->count; i++)
		if (port_place_counters(port, &transfer->from[i], &now))
			port_queue_counters_keep(transfer->queues[i], &now, &transfer->from_last[i]);
}

/* What arrived leaves again; what does not let go, or may have begun, is kept a place where it was. */
static void
take_back(struct rp_port *port, struct transfer *transfer)
{
	struct rp_wire_why unused = {0};
	unsigned int turn, i;

	for (turn = 0; turn < PAIR; turn++)
		for (i = 0; i < transfer->count; i++) {
			struct port_queue *queue = transfer->queues[i];

			if (is_there(transfer, i) && queue->running &&
			    is_kind(queue, port_move_order.taken_first, turn))
				port_queue_stop(port, queue, &unused);
		}
	for (i = 0; i < transfer->count; i++) {
		struct port_queue *queue = transfer->queues[i];

		if (!is_there(transfer, i) || queue->running)
			continue;
		queue->comes_back = queue->unproven;
		queue->back = transfer->from[i];
		if (!queue->unproven)
			port_place_take(port, queue, &transfer->from[i]);
	}
}

static void
put_back(struct rp_port *port, struct transfer *transfer)
{
	struct port_queue *queues[RP_VHU_QUEUES_MAX];
	unsigned int count = sort(port, transfer, queues), i;

	take_back(port, transfer);
	for (i = 0; i < count; i++)
		port_queue_update(port, queues[i], NULL);
}

/* Those that run, while they still do. */
static int
prepare(struct rp_port *port, const struct transfer *transfer, struct rp_wire_why *why)
{
	struct port_queue *queues[RP_VHU_QUEUES_MAX];
	struct port_place places[RP_VHU_QUEUES_MAX];
	unsigned int count = 0, i;

	for (i = 0; i < transfer->count; i++) {
		if (!transfer->ran[i])
			continue;
		queues[count] = transfer->queues[i];
		places[count++] = transfer->to[i];
	}
	return port_starts_prepare(port, queues, places, count, why);
}

static int
run(struct rp_port *port, struct transfer *transfer, struct rp_wire_why *why)
{
	unsigned int i;
	int rc = prepare(port, transfer, why);
	bool stopped;

	if (rc == 0)
		rc = stop(port, transfer, why);
	stopped = rc == 0;
	if (stopped)
		rc = start(port, transfer, why);
	port_doorbells_release(port);
	port_starts_forget(port, transfer->to, transfer->count);
	if (stopped)
		count_the_rest(port, transfer);
	if (rc < 0) {
		port_event(port, RP_PORT_EVENT_WARNING, (int)transfer->queues[0]->index, "transfer-failed",
			   "to accelerator %u: %s", transfer->accelerator, why->text);
		put_back(port, transfer);
	}
	for (i = 0; i < transfer->count; i++) {
		struct port_queue *queue = transfer->queues[i];

		/* However it came about: one change. */
		if (transfer->ran[i] && queue->running)
			queue->moves = transfer->moves[i] + (rc == 0);
		if (rc == 0)
			port_transfer_tell(port, queue, &transfer->from[i]);
		port_vfio_file_update(port, queue);
	}
	tell_nets(port, transfer);
	port_net_moved(port);
	return rc;
}

static int
check_range(const struct rp_port *port, unsigned int first, unsigned int count, unsigned int accelerator,
	    struct rp_wire_why *why)
{
	if (count == 0 || first >= port->queues_count || count > port->queues_count - first)
		return rp_wire_why_set(why, -EINVAL, "queues: %u from %u on, there are %u", count, first,
				       port->queues_count);
	if (first % PAIR != 0 || count % PAIR != 0)
		return rp_wire_why_set(why, -EINVAL, "queues: %u from %u on, expected whole pairs", count, first);
	if (accelerator >= port->accelerators_count)
		return rp_wire_why_set(why, -EINVAL, "accelerator: %u, there are %u", accelerator,
				       port->accelerators_count);
	if (!port_accelerator_usable(port, (int)accelerator))
		return rp_wire_why_set(why, -ENOTCONN, "accelerator %u: %s", accelerator,
				       port->accelerators[accelerator].reason);
	return 0;
}

int
rp_port_transfer(struct rp_port *port, unsigned int first, unsigned int queues_count, unsigned int accelerator,
		 struct rp_wire_why *why)
{
	struct transfer transfer = {.accelerator = accelerator};
	struct rp_wire_why unused;
	int rc;

	if (why == NULL)
		why = &unused;
	if (queues_count == 0 && first < port->queues_count)
		queues_count = port->queues_count - first;
	rc = check_range(port, first, queues_count, accelerator, why);
	if (rc == 0)
		rc = collect(port, first, queues_count, &transfer, why);
	if (rc == 0 && transfer.count > 0)
		rc = run(port, &transfer, why);
	/* What nobody served, or software instead, may be served now. */
	if (rc == 0)
		rc = port_moves_run_of(port, first, queues_count, why);
	port_timer_update(port);
	return rc;
}
