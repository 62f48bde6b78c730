/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * Who should serve a queue, derived from facts by one function. What a side refused is a
 * fact too, for as long as asking again would bring the same answer.
 *
 *   wish      hardware can  software can   served by
 *   auto      yes           -              hardware
 *             no            yes            software
 *   hardware  yes           -              hardware
 *             no            yes            software where it is there already, or the
 *                                          accelerator is gone; else nobody
 *   software  -             yes            software
 *             yes           no             hardware where it is there already; else nobody
 *
 * While a migration logs what is written, software serves whatever is wished, if it logs,
 * and hardware, with a private ring, if it does not.
 */

#include <stdio.h>

#include "port.h"

enum rp_port_owner
port_queue_owner(const struct port_queue *queue)
{
	if (queue->running)
		return RP_PORT_OWNER_HARDWARE;
	return queue->software == PORT_SOFTWARE_RING_SERVES ? RP_PORT_OWNER_SOFTWARE : RP_PORT_OWNER_NONE;
}

bool
port_wish_anybody(const struct rp_port *port, const struct port_queue *queue)
{
	return queue->user_enabled && queue->frontend_enabled && queue->frontend_started && port->features_acked &&
	       !queue->position_lost && !queue->broken && !queue->iommu.waits;
}

/* It may be touched still, or nobody looked yet at where it stands. */
bool
port_wish_is_unproven(const struct port_queue *queue)
{
	return queue->unproven || queue->software == PORT_SOFTWARE_RING_UNPROVEN ||
	       (queue->software_served && queue->software != PORT_SOFTWARE_RING_SERVES);
}

/* Software had it, so it is in mid-life by now. */
static bool
must_be_fresh(const struct rp_port *port, const struct port_queue *queue)
{
	return queue->software == PORT_SOFTWARE_RING_SERVES && queue->ring_policy == RP_PORT_RING_DIRECT &&
	       port->accelerators[queue->accelerator].info.class != RP_ACCEL_CLASS_A;
}

static bool
hardware_can(const struct rp_port *port, const struct port_queue *queue)
{
	if (!port_accelerator_usable(port, queue->accelerator) || port->accelerators[queue->accelerator].moving)
		return false;
	if (queue->running)
		return true;
	return !port_wish_is_unproven(queue) && queue->hardware_refused[0] == '\0' && !must_be_fresh(port, queue);
}

static bool
software_can(const struct rp_port *port, const struct port_queue *queue)
{
	if (queue->software == PORT_SOFTWARE_RING_SERVES)
		return true;
	return !port_wish_is_unproven(queue) && queue->software_refused[0] == '\0' && port_software_configured(port) &&
	       port_software_usable(port) && !port->memory_stale && queue->index < port_software_queues_max(port) &&
	       (!port_shadow_logging(port) || port_log_by_software(port));
}

enum rp_port_owner
port_wish_target(const struct rp_port *port, const struct port_queue *queue)
{
	bool hardware = hardware_can(port, queue), software = software_can(port, queue);
	bool logging = port_shadow_logging(port), by_software = logging && port_log_by_software(port);
	enum rp_port_wish wish = logging && !by_software ? RP_PORT_WISH_AUTO : queue->wish;

	if (!port_wish_anybody(port, queue))
		return RP_PORT_OWNER_NONE;
	if (software && by_software && queue->shadow.ring == NULL)
		return RP_PORT_OWNER_SOFTWARE;
	if (wish == RP_PORT_WISH_SOFTWARE) {
		if (software)
			return RP_PORT_OWNER_SOFTWARE;
		return hardware && queue->running ? RP_PORT_OWNER_HARDWARE : RP_PORT_OWNER_NONE;
	}
	if (hardware)
		return RP_PORT_OWNER_HARDWARE;
	if (software && (wish == RP_PORT_WISH_AUTO || queue->software == PORT_SOFTWARE_RING_SERVES ||
			 !port_accelerator_usable(port, queue->accelerator)))
		return RP_PORT_OWNER_SOFTWARE;
	return RP_PORT_OWNER_NONE;
}

static const char *
why_not_hardware(const struct rp_port *port, const struct port_queue *queue)
{
	if (queue->accelerator < 0)
		return "no accelerator has this queue";
	if (!port_accelerator_usable(port, queue->accelerator))
		return port->accelerators[queue->accelerator].reason;
	if (queue->hardware_refused[0] != '\0')
		return queue->hardware_refused;
	if (port_shadow_logging(port) && queue->software == PORT_SOFTWARE_RING_SERVES)
		return "a migration logs what is written, which the software backend does";
	if (must_be_fresh(port, queue))
		return "direct is the user's choice, but the device starts fresh rings only (class B)";
	return queue->reason[0] != '\0' ? queue->reason : "it goes to the accelerator soon";
}

static const char *
why_not_software(const struct rp_port *port, const struct port_queue *queue)
{
	if (!port_software_configured(port))
		return "there is no software backend";
	if (!port_software_usable(port))
		return port_software_reason(port);
	if (queue->index >= port_software_queues_max(port))
		return "the software backend has fewer rings";
	if (queue->software_refused[0] != '\0')
		return queue->software_refused;
	if (port_shadow_logging(port) && !port_log_by_software(port))
		return "a migration logs what is written, which the software backend does not";
	return "it goes to the software backend soon";
}

const char *
port_wish_why_not(const struct rp_port *port, const struct port_queue *queue, enum rp_port_owner side)
{
	return side == RP_PORT_OWNER_SOFTWARE ? why_not_software(port, queue) : why_not_hardware(port, queue);
}

void
port_wish_reason(const struct rp_port *port, const struct port_queue *queue, char *ret_text, size_t size)
{
	enum rp_port_owner owner = port_queue_owner(queue), wished = RP_PORT_OWNER_HARDWARE;

	if (queue->wish == RP_PORT_WISH_SOFTWARE ||
	    (queue->wish == RP_PORT_WISH_AUTO && queue->accelerator < 0 && port_software_configured(port)))
		wished = RP_PORT_OWNER_SOFTWARE;
	if (owner == wished)
		snprintf(ret_text, size, "%s", "");
	else if (owner == RP_PORT_OWNER_NONE)
		port_queue_reason(port, queue, ret_text, size);
	else
		snprintf(ret_text, size, "%s", port_wish_why_not(port, queue, wished));
}

void
port_wish_begin(struct port_queue *queue)
{
	queue->hardware_refused[0] = '\0';
	queue->software_refused[0] = '\0';
}
