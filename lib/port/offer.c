/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * What the port offers its frontend is fixed for its life: what all accelerators and the
 * software backend can do, and how many rings there are. Until the software backend was
 * seen once that is not known, and no frontend is served.
 */

#include <errno.h>
#include <linux/virtio_net.h>
#include <string.h>

#include "port.h"
#include "rp_wire_clock.h"

#define BIT(n) (1ULL << (n))

/* ACCESS_PLATFORM, NOTIFICATION_DATA, NOTIF_CONFIG_DATA, RING_RESET: not for accelerators to say whether the guest gets them. */
#define HIDDEN (BIT(33) | BIT(38) | BIT(39) | BIT(40))

/*
 * MQ is ours because the control queue never leaves the VMM; GUEST_ANNOUNCE is
 * the VMM's own doing and only says that it need not send RARP through us.
 */
uint64_t
port_offer_own_features(const struct rp_port *port)
{
	uint64_t features = BIT(RP_VHU_F_PROTOCOL_FEATURES_BIT);

	if (port->migratable || port_log_is_offered(port))
		features |= BIT(RP_VHU_F_LOG_ALL_BIT);
	if (port->access_platform && (!port_software_configured(port) ||
				      (port_software_features(port) & BIT(RP_VHU_F_ACCESS_PLATFORM_BIT)) != 0))
		features |= BIT(RP_VHU_F_ACCESS_PLATFORM_BIT);
	if (port->device == RP_PORT_DEVICE_NET)
		features |= BIT(VIRTIO_NET_F_GUEST_ANNOUNCE) | (port->queues_count > 2 ? BIT(VIRTIO_NET_F_MQ) : 0);
	return features;
}

uint64_t
port_offer_features(const struct rp_port *port)
{
	uint64_t features = port->features_common;

	if (port_software_configured(port))
		features &= port_software_features(port) & ~(HIDDEN | BIT(RP_VHU_F_LOG_ALL_BIT));
	return features | port_offer_own_features(port);
}

uint64_t
port_offer_protocol_features(const struct rp_port *port, uint64_t profile_mask)
{
	uint64_t features = BIT(RP_VHU_PF_MQ_BIT) | BIT(RP_VHU_PF_REPLY_ACK_BIT) | BIT(RP_VHU_PF_BACKEND_REQ_BIT) |
			    BIT(RP_VHU_PF_BACKEND_SEND_FD_BIT) | BIT(RP_VHU_PF_HOST_NOTIFIER_BIT) |
			    BIT(RP_VHU_PF_CONFIGURE_MEM_SLOTS_BIT);
	uint64_t passed_on = BIT(RP_VHU_PF_RARP_BIT) | BIT(RP_VHU_PF_MTU_BIT);

	features &= profile_mask;
	if (port_software_configured(port)) {
		/* Whether what is said region by region fits, the software backend says only of all. */
		features &= ~BIT(RP_VHU_PF_CONFIGURE_MEM_SLOTS_BIT);
		if (port->device == RP_PORT_DEVICE_OTHER)
			passed_on = BIT(RP_VHU_PF_CONFIG_BIT) | BIT(RP_VHU_PF_INFLIGHT_SHMFD_BIT);
		features |= port_software_protocol_features(port) & passed_on;
	}
	if ((port_offer_own_features(port) & BIT(RP_VHU_F_LOG_ALL_BIT)) != 0)
		features |= BIT(RP_VHU_PF_LOG_SHMFD_BIT);
	/* QEMU takes it for a net device's mistake, and says so at each start. */
	if (port->profile == RP_VHU_PROFILE_EXTENDED && port->device == RP_PORT_DEVICE_NET)
		features |= BIT(RP_VHU_PF_CONFIG_BIT);
	if (port->memory_kind == RP_PORT_MEMORY_TABLE)
		features &= ~BIT(RP_VHU_PF_CONFIGURE_MEM_SLOTS_BIT);
	return features;
}

/* Without accelerators it has the rings of the software backend. */
static int
make_queues(struct rp_port *port, struct rp_wire_why *why)
{
	unsigned int has = port_software_queues_max(port), wanted = port->queue_pairs * 2u;
	int rc;

	if (port->queues_count != 0)
		return 0;
	if (has > RP_VHU_QUEUES_MAX)
		has = RP_VHU_QUEUES_MAX;
	if (port->device == RP_PORT_DEVICE_NET)
		has &= ~1u;
	if (has == 0)
		return rp_wire_why_set(why, -EINVAL, "the software backend has no rings");
	if (wanted > has)
		port_event(port, RP_PORT_EVENT_WARNING, -1, "queues-fewer",
			   "queue_pairs: %u wanted, the software backend has %u", wanted / 2, has / 2);
	rc = port_queues_create(port, wanted == 0 || wanted > has ? has : wanted);
	return rc < 0 ? rp_wire_why_set(why, rc, "no memory") : 0;
}

int
port_offer_open(struct rp_port *port, struct rp_wire_why *why)
{
	int rc;

	if (port_software_configured(port)) {
		if (!port_software_known(port)) {
			port_event(port, RP_PORT_EVENT_NOTICE, -1, "software-awaited",
				   "no frontend is served before the software backend was seen once");
			return port->backend != NULL ? 0 : port_vhost_open(port, why);
		}
		rc = make_queues(port, why);
		if (rc < 0)
			return rc;
		port_vhost_close(port);
	}
	port->features_offered = port_offer_features(port);
	rc = port_vhost_open(port, why);
	if (rc == 0)
		rc = port_endpoint_open(port, why);
	port->serving = rc == 0;
	return rc;
}

void
port_offer_tick(struct rp_port *port, uint64_t now_ms)
{
	struct rp_wire_why why = {0};

	if (port->serve_at_ms == 0 || now_ms < port->serve_at_ms)
		return;
	port->serve_at_ms = 0;
	if (port->serving || port_offer_open(port, &why) == 0)
		return;
	port_event(port, RP_PORT_EVENT_ERROR, -1, "frontend-not-served", "%s; trying again in %u ms", why.text,
		   port->reconnect_ms);
	port_endpoint_close(port);
	port->serve_at_ms = now_ms + port->reconnect_ms;
}
