/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * How a ring is given to the software backend (software_give.c), and taken from it with proof.
 *
 *   kind            given by                               taken by
 *   specification   ENABLE(1) NUM BASE ADDR KICK CALL      GET_VRING_BASE: where it stands is the answer
 *   librte_vhost    NUM BASE ADDR KICK CALL ENABLE(1);     split: ENABLE(0), acknowledged; where it stands is
 *                   the ring was disabled                  the used index. Then a parked ring takes its place
 *                                                          packed: ENABLE(0) and GET_VRING_BASE of all; those that
 *                                                          stay start again
 *
 * The text has a backend discard what is sent on a ring that is started (KICK) and not enabled
 * yet: so it is enabled first. librte_vhost may touch a ring as soon as it is enabled, with
 * whatever it knows of it by then: so it is enabled last.
 */

#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "rp_vring_position.h"
#include "software_parts.h"

#define BIT(n) (1ull << (n))

static bool
can_enable(const struct rp_port *port)
{
	return (port->software->features_told & BIT(RP_VHU_F_PROTOCOL_FEATURES_BIT)) != 0;
}

static void
on_done(void *ctx, int error, const void *payload, uint32_t size_bytes, int *fds, unsigned int fds_count)
{
	int *first_error = ctx;

	(void)payload, (void)size_bytes, (void)fds, (void)fds_count;
	if (first_error != NULL && *first_error == 0)
		*first_error = error;
}

int
port_software_say(struct rp_port *port, uint32_t request, const void *payload, uint32_t size_bytes, const int *fd,
		  bool wait, int *first_error, struct rp_wire_why *why)
{
	return rp_vhu_frontend_submit(port->software->frontend, request, payload, size_bytes, fd,
				      fd != NULL && *fd >= 0, wait, on_done, first_error, why);
}

int
port_software_enable(struct rp_port *port, unsigned int queue, bool enabled, bool wait, struct rp_wire_why *why)
{
	const struct rp_vhu_wire_vring_state state = {queue, enabled};
	int rc;

	if (!can_enable(port))
		return 0;
	if (wait)
		rc = rp_vhu_frontend_ring_enable(port->software->frontend, queue, enabled, why);
	else
		rc = port_software_say(port, RP_VHU_SET_VRING_ENABLE, &state, sizeof(state), NULL, false, NULL, why);
	rc = port_software_checked(port, rc);
	if (rc == 0) {
		port->software->rings[queue].mentioned = true;
		port->software->rings[queue].enabled = enabled;
	}
	return rc;
}

/* The flags of a split ring's used ring, the device's to write: virtio 1.2, 2.7.8. */
static uint16_t *
used_flags(const struct rp_port *port, const struct port_queue *queue)
{
	uint16_t *at;

	if (port_position_is_packed(port))
		return NULL;
	at = port_ring_part(port, queue, RP_VRING_PARTS_COUNT - 1, sizeof(*at), RP_DMA_READ | RP_DMA_WRITE);
	return at != NULL && (uintptr_t)at % sizeof(*at) == 0 ? at : NULL;
}

/* A backend that polls says that it wants no kicks: that is not the next owner's wish. */
static void
keep_flags(struct rp_port *port, struct port_queue *queue)
{
	struct port_software_told *told = &port->software->rings[queue->index];
	uint16_t *at = used_flags(port, queue);

	/* Nobody would log it, and who logs is not the hardware. */
	if (at == NULL || !queue->frontend_started || port_shadow_logging(port))
		return;
	told->flags = __atomic_load_n(at, __ATOMIC_RELAXED);
	told->flags_kept = told->flags != 0;
	if (told->flags_kept)
		__atomic_store_n(at, 0, __ATOMIC_RELAXED);
}

void
port_software_restore_flags(struct rp_port *port, struct port_queue *queue)
{
	struct port_software_told *told = &port->software->rings[queue->index];
	uint16_t *at = told->flags_kept ? used_flags(port, queue) : NULL;

	if (at != NULL && !port_shadow_logging(port))
		__atomic_store_n(at, told->flags, __ATOMIC_RELAXED);
	told->flags_kept = false;
}

static void
wrong_answer(struct rp_port *port, struct port_queue *queue, uint32_t answer, const char *instead)
{
	port_event(port, RP_PORT_EVENT_WARNING, (int)queue->index, "software-position",
		   "GET_VRING_BASE: the software backend answered 0x%x, which is no place in the ring%s", answer,
		   instead);
}

static void
packed_position(struct rp_port *port, struct port_queue *queue, uint32_t answer)
{
	uint32_t position = answer;

	if (port->software->kind->half_position || answer >> 16 == 0)
		position = rp_vring_position_drained(port->features, (uint16_t)answer);
	if (rp_vring_position_check(port->features, queue->vring.num, position, NULL) == 0) {
		queue->position = position;
		return;
	}
	wrong_answer(port, queue, answer, ": nobody knows where it stands");
	queue->position_lost = true;
}

/*
 * A network card's ring is drained before this is answered, so the used index is the same
 * number, and the one to be believed. Another device may have left requests in flight, which
 * its region knows of.
 */
void
port_software_position(struct rp_port *port, struct port_queue *queue, uint32_t answer)
{
	uint16_t used;

	if (port_position_is_packed(port)) {
		packed_position(port, queue, answer);
		return;
	}
	if (!port_position_used(port, queue, &used)) {
		/* Where its used index is was taken back a moment ago. */
		if (answer <= UINT16_MAX)
			queue->position = answer;
		return;
	}
	queue->position = used;
	if (answer == used)
		return;
	if (answer > UINT16_MAX || (uint16_t)(answer - used) > queue->vring.num)
		wrong_answer(port, queue, answer, ": the used index holds");
	else if (port->device != RP_PORT_DEVICE_NET)
		queue->position = answer;
}

/* No proof: the ring stays with it, until its process ends or comes back. */
static int
not_taken(struct rp_port *port, int error, struct rp_wire_why *why)
{
	if (port->software->frontend != NULL)
		port_software_drop(port, why);
	return error == -ETIMEDOUT || error == -ENOTCONN ? error : -EIO;
}

static int
take_by_disabling(struct rp_port *port, struct port_queue *queue, struct rp_wire_why *why)
{
	int rc = port_software_enable(port, queue->index, false, true, why);

	if (rc < 0)
		return not_taken(port, rc, why);
	port_position_from_ring(port, queue);
	keep_flags(port, queue);
	/* The ring is let go of: what fails from here on is the connection's affair. */
	queue->software = PORT_SOFTWARE_RING_NONE;
	if (port->software->parks_later)
		port->software->rings_due = true;
	else
		port_software_park(port, queue, NULL);
	return 0;
}

static int
take_by_stopping(struct rp_port *port, struct port_queue *queue, struct rp_wire_why *why)
{
	uint32_t answer = 0;
	int rc = rp_vhu_frontend_ring_stop(port->software->frontend, queue->index, &answer, why);

	rc = port_software_checked(port, rc);
	if (rc < 0)
		return not_taken(port, rc, why);
	queue->software = PORT_SOFTWARE_RING_NONE;
	port_software_position(port, queue, answer);
	keep_flags(port, queue);
	return 0;
}

static bool
is_among(const struct port_queue *queue, struct port_queue *const *queues, unsigned int queues_count)
{
	unsigned int i;

	for (i = 0; i < queues_count && queues[i] != queue; i++)
		;
	return i < queues_count;
}

/*
 * What the application took from a transmit ring may be on its way into a receive ring: those
 * are the odd ones (virtio 1.2, 5.1.2), and they stop a while before the device does.
 */
static int
stop_transmitting(struct rp_port *port, struct rp_wire_why *why)
{
	bool any = false;
	unsigned int i;
	int rc = 0;

	for (i = 1; i < port->queues_count && rc == 0; i += 2) {
		if (port->queues[i].software != PORT_SOFTWARE_RING_SERVES)
			continue;
		rc = port_software_enable(port, i, false, true, why);
		any = true;
	}
	if (any && rc == 0)
		port_drain(port);
	return rc;
}

/* Only the stop of the whole device tells where a packed ring stands. Those that are not meant go on. */
static int
take_by_restart(struct rp_port *port, struct port_queue *const *queues, unsigned int queues_count,
		struct rp_wire_why *why)
{
	bool goes_on[RP_VHU_QUEUES_MAX] = {false};
	struct rp_wire_why unused = {0};
	unsigned int i;
	int rc;

	for (i = 0; i < port->queues_count; i++)
		goes_on[i] = port->queues[i].software == PORT_SOFTWARE_RING_SERVES &&
			     !is_among(&port->queues[i], queues, queues_count);
	rc = stop_transmitting(port, why);
	if (rc == 0)
		rc = port_software_stop_device(port, why);
	if (rc < 0)
		return not_taken(port, rc, why);
	for (i = 0; i < port->queues_count && port->software->frontend != NULL; i++)
		if (goes_on[i] &&
		    (port->queues[i].position_lost || port_software_give(port, &port->queues[i], &unused) < 0))
			port->software->gone_due = true;
	for (i = 0; i < queues_count && port->software->frontend != NULL; i++)
		port_software_park(port, queues[i], NULL);
	if (port->software->frontend != NULL)
		port_software_make_ready(port, NULL);
	return 0;
}

int
port_software_take(struct rp_port *port, struct port_queue *const *queues, unsigned int queues_count,
		   struct rp_wire_why *why)
{
	struct rp_wire_why unused = {0};
	unsigned int i, serves_count = 0;
	int rc = 0;

	if (why == NULL)
		why = &unused;
	for (i = 0; i < queues_count; i++) {
		if (queues[i]->software == PORT_SOFTWARE_RING_UNPROVEN)
			return rp_wire_why_set(why, -ENOTCONN,
					       "ring %u: nothing proves that the software backend let go of it",
					       queues[i]->index);
		serves_count += queues[i]->software == PORT_SOFTWARE_RING_SERVES;
	}
	if (serves_count == 0)
		return 0;
	if (port_software_parks(port) && (port_position_is_packed(port) || !can_enable(port)))
		return take_by_restart(port, queues, queues_count, why);
	for (i = 0; i < queues_count && rc == 0; i++) {
		if (queues[i]->software != PORT_SOFTWARE_RING_SERVES)
			continue;
		if (port_software_parks(port) && port->software->kind->disabled_is_let_go)
			rc = take_by_disabling(port, queues[i], why);
		else
			rc = take_by_stopping(port, queues[i], why);
	}
	return rc;
}
