/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * Rings that the software backend is told of and does not serve, where its kind wants that:
 * librte_vhost becomes ready only when rings 0 and 1 are there and enabled, and counts at that
 * moment how many there are. Afterwards a ring that the hardware has is *parked*: disabled, so
 * that the application sends nothing into it, and at an empty ring of ours, with our eventfds:
 * whatever makes the backend look at its addresses anew, or write to them, finds nothing of
 * the guest's. In a move it is parked only after the hardware has it, and nobody waits for an
 * answer to that: until the backend hears of it, one that sleeps on the guest's eventfd may
 * take a kick; move.c kicks the hardware once more behind it.
 */

#include <errno.h>
#include <string.h>

#include "rp_vring_position.h"
#include "software_parts.h"

#define PAIR 2u

int
port_software_park(struct rp_port *port, struct port_queue *queue, struct rp_wire_why *why)
{
	struct port_software *software = port->software;
	struct port_software_setup setup = {
		.base = rp_vring_position_fresh(port->features),
		.kick_fd = software->park_kick_fd,
		.call_fd = software->park_call_fd,
	};
	int rc = 0;

	software->rings[queue->index].announced = PORT_SOFTWARE_ANNOUNCED_NOTHING;
	if (software->park_bytes == 0 || software->regions_count == 0)
		return 0;
	if (software->rings[queue->index].enabled)
		rc = port_software_enable(port, queue->index, false, false, why);
	if (rc < 0)
		return rc;
	if (software->kind->half_position)
		setup.base &= 0xffff;
	setup.num = port_software_park_place(port, queue->index, &setup.desc_uva, &setup.avail_uva, &setup.used_uva);
	rc = port_software_describe(port, queue->index, &setup, false, why);
	if (rc == 0)
		queue->software = PORT_SOFTWARE_RING_PARKED;
	return rc;
}

void
port_software_park_again(struct rp_port *port)
{
	unsigned int i;

	for (i = 0; i < port->queues_count && port_software_there(port); i++)
		if (port->queues[i].software == PORT_SOFTWARE_RING_PARKED)
			port_software_park(port, &port->queues[i], NULL);
}

void
port_software_mention_all(struct rp_port *port)
{
	struct port_software *software = port->software;
	unsigned int i;

	if (!port_software_parks(port) || software->pair_ready)
		return;
	for (i = 0; i < port->queues_count && i < software->queues_max && software->frontend != NULL; i++) {
		struct rp_vhu_vring vring;

		if (software->rings[i].mentioned || rp_vhu_backend_vring(port->backend, i, &vring) < 0)
			continue;
		if (vring.started || vring.call_fd >= 0)
			port_software_enable(port, i, false, false, NULL);
	}
}

static bool
is_up(const struct rp_port *port, unsigned int index)
{
	enum port_software_ring ring = port->queues[index].software;

	return (ring == PORT_SOFTWARE_RING_SERVES || ring == PORT_SOFTWARE_RING_PARKED) &&
	       port->software->rings[index].enabled;
}

/* Half of the first pair, that somebody else serves: there it is for as long as it takes to become ready. */
static int
stand_in(struct rp_port *port, struct port_queue *queue, struct rp_wire_why *why)
{
	int rc = 0;

	if (queue->software == PORT_SOFTWARE_RING_SERVES || !queue->frontend_started || !queue->frontend_enabled)
		return 0;
	if (queue->software == PORT_SOFTWARE_RING_NONE)
		rc = port_software_park(port, queue, why);
	if (rc == 0 && queue->software == PORT_SOFTWARE_RING_PARKED)
		rc = port_software_enable(port, queue->index, true, true, why);
	return rc;
}

int
port_software_make_ready(struct rp_port *port, struct rp_wire_why *why)
{
	struct port_software *software = port->software;
	unsigned int i;
	int rc = 0;

	if (!port_software_parks(port) || software->pair_ready || port->queues_count < PAIR)
		return 0;
	for (i = 0; i < PAIR; i++)
		if (!port->queues[i].frontend_started || !port->queues[i].frontend_enabled)
			return 0;
	port_software_mention_all(port);
	for (i = 0; i < PAIR && rc == 0 && software->frontend != NULL; i++)
		rc = stand_in(port, &port->queues[i], why);
	if (rc < 0 || software->frontend == NULL)
		return rc;
	software->pair_ready = is_up(port, 0) && is_up(port, 1);
	for (i = 0; i < PAIR && software->pair_ready && software->frontend != NULL; i++)
		if (port->queues[i].software == PORT_SOFTWARE_RING_PARKED)
			port_software_enable(port, i, false, false, NULL);
	return 0;
}

/*
 * GET_VRING_BASE takes none of librte_vhost's locks: it trusts the application to be out of its rings by then,
 * and DPDK's vhost PMD, which looks at one flag after it has set another without a fence between them, may be
 * in one still. It sends into none that is disabled, and ENABLE waits for the lock.
 */
static int
disable_served(struct rp_port *port, struct rp_wire_why *why)
{
	unsigned int i;
	int rc = 0;

	for (i = 0; i < port->queues_count && rc == 0; i++)
		if (port->queues[i].software == PORT_SOFTWARE_RING_SERVES && port->software->rings[i].enabled)
			rc = port_software_enable(port, i, false, false, why);
	return rc;
}

/* Ring 0 first: while 0 and 1 are up, librte_vhost starts the device again at once. */
int
port_software_stop_device(struct rp_port *port, struct rp_wire_why *why)
{
	struct port_software *software = port->software;
	unsigned int i;
	int rc = disable_served(port, why);

	if (rc < 0)
		return rc;
	for (i = 0; i < port->queues_count; i++) {
		struct port_queue *queue = &port->queues[i];
		bool served = queue->software == PORT_SOFTWARE_RING_SERVES;
		uint32_t answer = 0;

		if (!served && queue->software != PORT_SOFTWARE_RING_PARKED)
			continue;
		rc = port_software_checked(port, rp_vhu_frontend_ring_stop(software->frontend, i, &answer, why));
		if (rc < 0)
			return rc;
		queue->software = PORT_SOFTWARE_RING_NONE;
		software->pair_ready = false;
		if (served)
			port_software_position(port, queue, answer);
	}
	return 0;
}

static bool
any_started(const struct rp_port *port)
{
	unsigned int i;

	for (i = 0; i < port->queues_count && !port->queues[i].frontend_started; i++)
		;
	return i < port->queues_count;
}

void
port_software_ring_started(struct rp_port *port, struct port_queue *queue)
{
	(void)queue;
	/* Later: it may be given this very ring to serve by then. */
	if (port_software_configured(port) && port->software->kind != NULL && port_software_parks(port))
		port->software->rings_due = true;
}

/* When the frontend has stopped all of them, the application hears that the device stopped, as without us. */
void
port_software_ring_stopped(struct rp_port *port, struct port_queue *queue)
{
	struct rp_wire_why why = {0};

	if (!port_software_there(port))
		return;
	port->software->rings[queue->index].flags_kept = false;
	if (port_software_parks(port) && !any_started(port) && port_software_stop_device(port, &why) < 0 &&
	    port->software->frontend != NULL)
		port_software_drop(port, &why);
}
