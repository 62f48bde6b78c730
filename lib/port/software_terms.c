/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * What the software backend offers, as it was seen first: a port's features are fixed for its
 * life, so one that comes back with less is refused, in words.
 */

#include <errno.h>

#include "software_parts.h"

#define BIT(n) (1ull << (n))

/* What is asked of it, whatever is offered to the frontend. */
#define WANTED                                                                                                         \
	(BIT(RP_VHU_PF_MQ_BIT) | BIT(RP_VHU_PF_LOG_SHMFD_BIT) | BIT(RP_VHU_PF_RARP_BIT) |                              \
	 BIT(RP_VHU_PF_REPLY_ACK_BIT) | BIT(RP_VHU_PF_MTU_BIT))
/* And of another device than a network card, whose configuration and requests are its affair alone. */
#define WANTED_OF_OTHERS                                                                                               \
	(BIT(RP_VHU_PF_BACKEND_REQ_BIT) | BIT(RP_VHU_PF_CONFIG_BIT) | BIT(RP_VHU_PF_INFLIGHT_SHMFD_BIT))

bool
port_software_known(const struct rp_port *port)
{
	return port->software != NULL && port->software->known;
}

uint64_t
port_software_features(const struct rp_port *port)
{
	return port_software_known(port) ? port->software->features : 0;
}

uint64_t
port_software_protocol_features(const struct rp_port *port)
{
	return port_software_known(port) ? port->software->protocol_features : 0;
}

unsigned int
port_software_queues_max(const struct rp_port *port)
{
	return port_software_known(port) ? port->software->queues_max : 0;
}

uint64_t
port_software_wanted(const struct rp_port *port)
{
	/* It asks for translations over its channel. */
	uint64_t asks = port->access_platform ? BIT(RP_VHU_PF_BACKEND_REQ_BIT) : 0;

	return WANTED | asks | (port->device == RP_PORT_DEVICE_NET ? 0 : WANTED_OF_OTHERS);
}

/* A network card's queues are pairs of rings: vhost-user.rst, "Multiple queue support". */
static unsigned int
its_rings(const struct rp_port *port)
{
	unsigned int queues = rp_vhu_frontend_queues_offered(port->software->frontend);
	bool net = port->device == RP_PORT_DEVICE_NET;

	/* Without MQ nobody says how many rings another device has. */
	if (!net && (rp_vhu_frontend_protocol_features(port->software->frontend) & BIT(RP_VHU_PF_MQ_BIT)) == 0)
		return RP_VHU_QUEUES_MAX;
	queues *= net ? 2 : 1;
	return queues < RP_VHU_QUEUES_MAX ? queues : RP_VHU_QUEUES_MAX;
}

/* Of what was agreed, what is the frontend's affair. */
static uint64_t
for_the_frontend(const struct rp_port *port, uint64_t protocol_features)
{
	uint64_t mask = BIT(RP_VHU_PF_LOG_SHMFD_BIT) | BIT(RP_VHU_PF_RARP_BIT) | BIT(RP_VHU_PF_MTU_BIT);

	if (port->device != RP_PORT_DEVICE_NET)
		mask |= BIT(RP_VHU_PF_CONFIG_BIT) | BIT(RP_VHU_PF_INFLIGHT_SHMFD_BIT);
	return protocol_features & mask;
}

int
port_software_compare(struct rp_port *port, struct rp_wire_why *why)
{
	struct port_software *software = port->software;
	uint64_t features = rp_vhu_frontend_features_offered(software->frontend);
	uint64_t protocol_features = for_the_frontend(port, rp_vhu_frontend_protocol_features(software->frontend));
	unsigned int queues_max = its_rings(port);

	/* Its parked rings would have to be translated, too. */
	if (port->access_platform && port_software_parks(port))
		return rp_wire_why_set(why, -ENOTSUP,
				       "access_platform: a software backend of kind %s cannot be behind it",
				       rp_port_software_kind_name(software->kind->kind));
	if (!software->known) {
		software->features = features;
		software->protocol_features = protocol_features;
		software->queues_max = queues_max;
		software->known = true;
		return 0;
	}
	if ((software->features & ~features) != 0)
		return rp_wire_why_set(why, -ENOTSUP, "it came back without features 0x%llx that it offered before",
				       (unsigned long long)(software->features & ~features));
	if ((software->protocol_features & ~protocol_features) != 0)
		return rp_wire_why_set(why, -ENOTSUP,
				       "it came back without protocol features 0x%llx that it offered before",
				       (unsigned long long)(software->protocol_features & ~protocol_features));
	if (queues_max < software->queues_max)
		return rp_wire_why_set(why, -ENOTSUP, "it came back with %u rings, and had %u before", queues_max,
				       software->queues_max);
	return 0;
}
