/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * How a ring gets from one side to the other while the guest runs.
 *
 * Rings move in groups, mostly pairs. All of a group are taken from who has them, with
 * proof, the first kind, a while, then the second (move_order.h); then all are given. So
 * at no time do two have a ring, and what was under way in the old owner comes back before
 * its last ring goes. When a side does not do its part, each ring goes back to the side
 * that had it; what was refused is not tried again by itself (wish.c).
 *
 * The doorbell is taken back without waiting (doorbell.c); on its answer the new owner is
 * kicked once, for stores that fell on the page while nobody watched it. The guest is
 * called at once, and once more after the new owner got on (survive.c).
 */

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "move_order.h"
#include "port.h"

#define PAIR 2u

struct group {
	struct port_queue *queues[RP_VHU_QUEUES_MAX];
	enum rp_port_owner from[RP_VHU_QUEUES_MAX];
	uint64_t moves[RP_VHU_QUEUES_MAX];
	unsigned int count;
	enum rp_port_owner to;
};

static uint64_t
clock_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

void
port_move_left(struct port_queue *queue, enum rp_port_owner owner)
{
	queue->had = owner;
	queue->had_accelerator = queue->accelerator;
	queue->left_us = clock_us();
}

void
port_move_reached(struct port_queue *queue, enum rp_port_owner owner)
{
	bool between = queue->had == RP_PORT_OWNER_HARDWARE && owner == RP_PORT_OWNER_HARDWARE &&
		       queue->had_accelerator != queue->accelerator;

	if (between || (queue->had != RP_PORT_OWNER_NONE && queue->had != owner)) {
		if (between)
			queue->moves_between_accelerators++;
		else if (owner == RP_PORT_OWNER_HARDWARE)
			queue->moves_to_hardware++;
		else
			queue->moves_to_software++;
		port_blackout_add(&queue->blackouts, clock_us() - queue->left_us);
	}
	queue->had = RP_PORT_OWNER_NONE;
}

static void
taken(struct rp_port *port, struct port_queue *queue)
{
	char text[PORT_POSITION_TEXT_MAX];

	queue->software_served = false;
	queue->call_again.at_ms = 0;
	/* Going nowhere: that is a change by itself. */
	if (!port_wish_anybody(port, queue) && !queue->position_lost && queue->frontend_started &&
	    queue->frontend_enabled)
		queue->moves++;
	port_position_text(port, queue->position, text, sizeof(text));
	port_event(port, RP_PORT_EVENT_NOTICE, (int)queue->index, "software-stopped", "at %s",
		   queue->position_lost ? "an unknown position" : text);
}

static int
take(struct rp_port *port, struct port_queue *const *queues, unsigned int count, struct rp_wire_why *why)
{
	unsigned int i;
	int rc;

	for (i = 0; i < count; i++)
		if (port_wish_anybody(port, queues[i]))
			port_move_left(queues[i], RP_PORT_OWNER_SOFTWARE);
	rc = port_software_take(port, queues, count, why);
	if (rc < 0)
		port_event(port, RP_PORT_EVENT_ERROR, (int)queues[0]->index, "software-stop-failed", "%s", why->text);
	for (i = 0; i < count; i++)
		if (queues[i]->software == PORT_SOFTWARE_RING_NONE || queues[i]->software == PORT_SOFTWARE_RING_PARKED)
			taken(port, queues[i]);
	return rc;
}

int
port_move_release(struct rp_port *port, struct port_queue *queue, struct rp_wire_why *why)
{
	if (queue->software == PORT_SOFTWARE_RING_SERVES)
		return take(port, &queue, 1, why);
	return queue->running ? port_queue_stop(port, queue, why) : 0;
}

void
port_move_release_all(struct rp_port *port)
{
	struct port_queue *queues[RP_VHU_QUEUES_MAX];
	struct rp_wire_why why = {0};
	unsigned int count = 0, i;

	for (i = 0; i < port->queues_count; i++)
		if (port->queues[i].software == PORT_SOFTWARE_RING_SERVES)
			queues[count++] = &port->queues[i];
	if (count > 0)
		take(port, queues, count, &why);
}

static bool
is_kind(const struct port_queue *queue, unsigned int first, unsigned int turn)
{
	return (queue->index & 1) == (first ^ turn);
}

static bool
all_from(const struct group *group, enum rp_port_owner side)
{
	unsigned int i;

	for (i = 0; i < group->count; i++)
		if (group->from[i] != side)
			return false;
	return true;
}

/* Where packed rings stand, such a backend says only when all of it stops. */
static bool
stops_whole(const struct rp_port *port)
{
	struct rp_port_software_info info;

	if (!port_position_is_packed(port))
		return false;
	port_software_get_info(port, &info);
	return info.kind == RP_PORT_SOFTWARE_LIBRTE_VHOST;
}

static int
take_whole(struct rp_port *port, const struct group *group, struct rp_wire_why *why)
{
	struct port_queue *sorted[RP_VHU_QUEUES_MAX];
	unsigned int turn, i, count = 0;

	for (turn = 0; turn < 2; turn++)
		for (i = 0; i < group->count; i++)
			if (is_kind(group->queues[i], port_move_order.taken_first, turn))
				sorted[count++] = group->queues[i];
	return take(port, sorted, count, why);
}

/* Whether all that the accelerator serves is in the group. */
static bool
covers(const struct rp_port *port, const struct group *group, int accelerator)
{
	unsigned int running = 0, i;

	for (i = 0; i < port->queues_count; i++)
		running += port->queues[i].running && port->queues[i].accelerator == accelerator;
	for (i = 0; i < group->count; i++)
		running -= group->queues[i]->running && group->queues[i]->accelerator == accelerator;
	return running == 0;
}

static int
release_one(struct rp_port *port, const struct group *group, struct port_queue *queue, struct rp_wire_why *why)
{
	int rc = port_move_release(port, queue, why);

	if (rc != -ENOTSUP || !queue->running)
		return rc;
	port->accelerators[queue->accelerator].stops_whole = true;
	return covers(port, group, queue->accelerator) ?
		       port_accelerator_quiesce(port, (unsigned int)queue->accelerator, why) :
		       rc;
}

/* What can be said to the new owner meanwhile need not be said while nobody serves. */
static void
drain(struct rp_port *port, const struct group *group)
{
	const uint64_t end_ns = port_drain_end(port);

	if (group->to == RP_PORT_OWNER_SOFTWARE)
		port_software_announce(port, group->queues, group->count);
	port_drain_until(end_ns);
}

static int
release_kind(struct rp_port *port, const struct group *group, unsigned int turn, bool *waits, struct rp_wire_why *why)
{
	unsigned int i;
	int rc = 0;

	for (i = 0; i < group->count && rc == 0; i++) {
		struct port_queue *queue = group->queues[i];

		if (!is_kind(queue, port_move_order.taken_first, turn))
			continue;
		if (*waits && turn == 1)
			drain(port, group);
		*waits = turn == 0;
		rc = release_one(port, group, queue, why);
	}
	return rc;
}

static int
release(struct rp_port *port, const struct group *group, struct rp_wire_why *why)
{
	bool waits = false;
	unsigned int i;
	int rc = 0;

	for (i = 0; i < group->count && rc == 0; i++) {
		if (group->from[i] != RP_PORT_OWNER_HARDWARE)
			continue;
		rc = port_position_keep(port, group->queues[i], why);
		/* A pair receives nothing any more before its ring goes. */
		if (rc == 0)
			port_net_update(port, (unsigned int)group->queues[i]->accelerator);
	}
	if (rc < 0)
		return rc;
	if (all_from(group, RP_PORT_OWNER_SOFTWARE) && stops_whole(port))
		return take_whole(port, group, why);
	rc = release_kind(port, group, 0, &waits, why);
	/* Those of the first kind were taken back during the drain. */
	port_doorbells_hold(port);
	return rc < 0 ? rc : release_kind(port, group, 1, &waits, why);
}

/* Those that nobody has, in the order in which they are given. */
static unsigned int
to_be_given(struct rp_port *port, const struct group *group, struct port_queue **ret_queues)
{
	unsigned int turn, i, count = 0;

	for (turn = 0; turn < 2; turn++)
		for (i = 0; i < group->count; i++) {
			struct port_queue *queue = group->queues[i];

			if (is_kind(queue, port_move_order.given_first, turn) && port_wish_anybody(port, queue) &&
			    port_queue_owner(queue) == RP_PORT_OWNER_NONE && !port_wish_is_unproven(queue))
				ret_queues[count++] = queue;
		}
	return count;
}

/* Asking it would only say so once more. */
static bool
is_gone(const struct rp_port *port, const struct port_queue *queue, enum rp_port_owner side)
{
	return side == RP_PORT_OWNER_HARDWARE && !port_accelerator_usable(port, queue->accelerator);
}

/* Those that arrived return, and all that nobody has go to whom they came from, else to who may stand in. */
static void
put_back(struct rp_port *port, const struct group *group)
{
	struct rp_wire_why why = {0};
	unsigned int turn, i;

	for (i = 0; i < group->count; i++)
		if (port_queue_owner(group->queues[i]) == group->to && group->from[i] != group->to)
			port_move_release(port, group->queues[i], &why);
	for (turn = 0; turn < 2; turn++)
		for (i = 0; i < group->count; i++) {
			struct port_queue *queue = group->queues[i];

			if (!is_kind(queue, port_move_order.given_first, turn) || !port_wish_anybody(port, queue) ||
			    port_queue_owner(queue) != RP_PORT_OWNER_NONE || port_wish_is_unproven(queue))
				continue;
			if (is_gone(port, queue, group->from[i]) ||
			    port_move_give_only(port, queue, group->from[i], &why) < 0)
				port_queue_update(port, queue, &why);
		}
}

int
port_move_pause(struct rp_port *port, struct rp_wire_why *why)
{
	struct group group = {.to = RP_PORT_OWNER_NONE};
	unsigned int i;
	int rc;

	for (i = 0; i < port->queues_count; i++) {
		struct port_queue *queue = &port->queues[i];
		enum rp_port_owner owner = port_queue_owner(queue);

		if (owner == RP_PORT_OWNER_NONE || (owner == RP_PORT_OWNER_HARDWARE && queue->shadow.ring == NULL))
			continue;
		group.queues[group.count] = queue;
		group.from[group.count] = owner;
		group.moves[group.count++] = queue->moves;
	}
	rc = group.count == 0 ? 0 : release(port, &group, why);
	port_doorbells_release(port);
	if (rc < 0)
		put_back(port, &group);
	for (i = 0; i < group.count; i++)
		group.queues[i]->moves = group.moves[i];
	return rc;
}

/* Until now the software backend still had the guest's kicks, and may have taken one that was not for it any more. */
static void
kick_once_more(struct rp_port *port, const struct group *group)
{
	unsigned int i;

	for (i = 0; i < group->count; i++)
		if (group->queues[i]->running)
			port_relay_nudge(port, group->queues[i], false);
}

/* Taken from who has them, and given. @param ret_held they were not taken. */
static int
pass_on(struct rp_port *port, const struct group *group, bool *ret_held, struct rp_wire_why *why)
{
	struct port_place places[RP_VHU_QUEUES_MAX];
	struct port_queue *queues[RP_VHU_QUEUES_MAX];
	unsigned int prepared = 0, i;
	int rc = 0;

	for (i = 0; group->to == RP_PORT_OWNER_HARDWARE && i < group->count; i++)
		places[prepared++] = port_place_of(group->queues[i]);
	*ret_held = false;
	rc = port_starts_prepare(port, group->queues, places, prepared, why);
	if (rc == 0) {
		rc = release(port, group, why);
		*ret_held = rc < 0;
	}
	if (rc == 0)
		rc = port_move_give_together(port, queues, to_be_given(port, group, queues), group->to, why);
	port_doorbells_release(port);
	port_starts_forget(port, places, prepared);
	return rc;
}

static int
move(struct rp_port *port, struct group *group, struct rp_wire_why *why)
{
	unsigned int i;
	bool held;
	int rc;

	port_software_park_hold(port);
	rc = pass_on(port, group, &held, why);
	if (rc < 0) {
		port_event(port, RP_PORT_EVENT_WARNING, (int)group->queues[0]->index, "move-failed", "to %s: %s",
			   rp_port_owner_name(group->to), why->text);
		for (i = 0; i < group->count; i++)
			port_move_note_refusal(port, group->queues[i], group->to, held ? group->from[i] : group->to, rc,
					       why);
		put_back(port, group);
	}
	port_software_park_due(port);
	kick_once_more(port, group);
	for (i = 0; i < group->count; i++) {
		struct port_queue *queue = group->queues[i];

		/* However it came about: one change. */
		if (port_queue_owner(queue) == group->to)
			queue->moves = group->moves[i] + 1;
		if (queue->accelerator >= 0)
			port_net_update(port, (unsigned int)queue->accelerator);
	}
	return rc;
}

/* Those of [first, first + count) that are on one side and should be on the other. */
static void
collect(struct rp_port *port, unsigned int first, unsigned int count, enum rp_port_owner to, struct group *group)
{
	unsigned int i;

	group->count = 0;
	group->to = to;
	for (i = first; i < first + count; i++) {
		struct port_queue *queue = &port->queues[i];
		enum rp_port_owner owner = port_queue_owner(queue);

		if (owner == RP_PORT_OWNER_NONE || owner == to || port_wish_target(port, queue) != to)
			continue;
		group->queues[group->count] = queue;
		group->from[group->count] = owner;
		group->moves[group->count++] = queue->moves;
	}
}

/* Rings that nobody has, and rings that nobody should have. */
static int
settle(struct rp_port *port, unsigned int first, unsigned int count, struct rp_wire_why *why)
{
	unsigned int turn, i;
	int rc, worst = 0;

	for (turn = 0; turn < 2; turn++)
		for (i = first; i < first + count; i++) {
			if (!is_kind(&port->queues[i], port_move_order.given_first, turn))
				continue;
			rc = port_queue_update(port, &port->queues[i], why);
			if (rc < 0 && worst == 0)
				worst = rc;
		}
	return worst;
}

static bool
one_stops_whole(const struct rp_port *port, unsigned int first, unsigned int count)
{
	unsigned int i;

	for (i = first; i < first + count; i++) {
		int accelerator = port->queues[i].accelerator;

		if (port->queues[i].running && port->accelerators[accelerator].stops_whole)
			return true;
	}
	return false;
}

static int
run_together(struct rp_port *port, unsigned int first, unsigned int count, struct rp_wire_why *why)
{
	static const enum rp_port_owner sides[] = {RP_PORT_OWNER_SOFTWARE, RP_PORT_OWNER_HARDWARE};
	struct group group;
	unsigned int side;
	int rc, worst = 0;

	for (side = 0; side < 2; side++) {
		collect(port, first, count, sides[side], &group);
		rc = group.count == 0 ? 0 : move(port, &group, why);
		if (rc < 0 && worst == 0)
			worst = rc;
	}
	return worst;
}

/* Pair by pair: what one refuses need not hold up another. */
static int
run_apart(struct rp_port *port, unsigned int first, unsigned int count, struct rp_wire_why *why)
{
	unsigned int at = first, end = first + count, part;
	int rc, worst = 0;

	while (at < end) {
		bool whole = stops_whole(port) || one_stops_whole(port, at, end - at);

		part = port->device == RP_PORT_DEVICE_NET ? 2 - (at & 1) : 1;
		if (whole || part > end - at)
			part = end - at;
		rc = run_together(port, at, part, why);
		/* Found out only now: all of it together may do. */
		if (rc == -ENOTSUP && !whole && one_stops_whole(port, at, end - at)) {
			unsigned int i;

			for (i = at; i < at + part; i++)
				port_wish_begin(&port->queues[i]);
			continue;
		}
		if (rc < 0 && worst == 0)
			worst = rc;
		at += part;
	}
	return worst;
}

/*
 * All of it together, first: while one pair of a network card is here and another there, an answer may come back
 * to the side that no longer has, or does not have yet, the ring that it is steered to.
 */
int
port_moves_run_of(struct rp_port *port, unsigned int first, unsigned int count, struct rp_wire_why *why)
{
	int settled = settle(port, first, count, why);
	int rc = run_together(port, first, count, why);
	unsigned int i;

	if (rc < 0 && count > PAIR) {
		for (i = first; i < first + count; i++)
			port_wish_begin(&port->queues[i]);
		rc = run_apart(port, first, count, why);
	}
	return settled < 0 ? settled : rc;
}

void
port_moves_run(struct rp_port *port)
{
	struct rp_wire_why why = {0};

	if (!port_software_configured(port) || port->closing || port->in_moves)
		return;
	port->in_moves = true;
	/* A table that was refused came and went again: the software backend was not told. */
	if (port->memory_stale) {
		port->memory_stale = false;
		port_software_set_memory(port, &why);
	}
	port_moves_run_of(port, 0, port->queues_count, &why);
	port->in_moves = false;
}
