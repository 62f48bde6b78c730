/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>

#include "port.h"

int
rp_port_move(struct rp_port *port, unsigned int first, unsigned int queues_count, enum rp_port_wish wish,
	     struct rp_wire_why *why)
{
	unsigned int i;

	if (queues_count == 0 && first < port->queues_count)
		queues_count = port->queues_count - first;
	if (queues_count == 0 || first >= port->queues_count || queues_count > port->queues_count - first)
		return rp_wire_why_set(why, -EINVAL, "queues: %u from %u on, there are %u", queues_count, first,
				       port->queues_count);
	if (wish == RP_PORT_WISH_SOFTWARE && !port_software_configured(port))
		return rp_wire_why_set(why, -ENOTSUP, "there is no software backend");
	for (i = first; i < first + queues_count; i++)
		port->queues[i].wish = wish;
	return 0;
}

void
port_move_software_usable(struct rp_port *port)
{
	(void)port;
}

void
port_move_software_gone(struct rp_port *port)
{
	(void)port;
}

void
port_move_software_proven(struct rp_port *port)
{
	(void)port;
}

void
port_move_software_config_changed(struct rp_port *port)
{
	(void)port;
}
