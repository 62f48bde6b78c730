/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "hand_over.h"
#include "rp_accel_hand_over.h"

int
port_accelerators_check(const struct rp_port *port, struct rp_wire_why *why)
{
	unsigned int i;

	for (i = 0; i < port->accelerators_count; i++) {
		const struct port_accelerator *accelerator = &port->accelerators[i];

		if (!port_accelerator_usable(port, (int)i))
			return rp_wire_why_set(why, -ENOTSUP, "accelerator %u: %s", i, accelerator->reason);
		if (accelerator->moving || accelerator->private.mapped)
			return rp_wire_why_set(why, -ENOTSUP, "accelerator %u: it has private rings", i);
	}
	return 0;
}

static void
pack_net(const struct port_accelerator *accelerator, struct rp_wire_parcel *parcel)
{
	const struct rp_accel_net *net = &accelerator->net;
	uint64_t mac = 0;
	unsigned int i;

	for (i = 0; i < sizeof(net->mac); i++)
		mac = mac << 8 | net->mac[i];
	rp_wire_parcel_put_number(parcel, "net_valid", accelerator->net_valid);
	rp_wire_parcel_put_number(parcel, "net_queue_pairs", net->queue_pairs);
	rp_wire_parcel_put_number(parcel, "net_has_mac", net->has_mac);
	rp_wire_parcel_put_number(parcel, "net_mac", mac);
	rp_wire_parcel_put_number(parcel, "net_promiscuous", net->promiscuous);
	rp_wire_parcel_put_number(parcel, "net_all_multicast", net->all_multicast);
	rp_wire_parcel_put_text(parcel, "net_reason", accelerator->net_reason);
}

static void
unpack_net(struct port_accelerator *accelerator, struct rp_wire_parcel *parcel)
{
	struct rp_accel_net *net = &accelerator->net;
	uint64_t mac = rp_wire_parcel_get_number(parcel, "net_mac", (1ull << 48) - 1);
	unsigned int i;

	for (i = 0; i < sizeof(net->mac); i++)
		net->mac[i] = (uint8_t)(mac >> 8 * (sizeof(net->mac) - 1 - i));
	accelerator->net_valid = rp_wire_parcel_get_bool(parcel, "net_valid");
	net->queue_pairs = (uint16_t)rp_wire_parcel_get_number(parcel, "net_queue_pairs", RP_VHU_QUEUES_MAX / 2);
	net->has_mac = rp_wire_parcel_get_bool(parcel, "net_has_mac");
	net->promiscuous = rp_wire_parcel_get_bool(parcel, "net_promiscuous");
	net->all_multicast = rp_wire_parcel_get_bool(parcel, "net_all_multicast");
	rp_wire_parcel_get_text(parcel, "net_reason", accelerator->net_reason, sizeof(accelerator->net_reason));
}

int
port_accelerators_pack(const struct rp_port *port, struct rp_wire_parcel *parcel, struct rp_wire_why *why)
{
	unsigned int i;
	int rc = 0;

	for (i = 0; i < port->accelerators_count && rc == 0; i++) {
		const struct port_accelerator *accelerator = &port->accelerators[i];

		rp_wire_parcel_enter(parcel, PORT_GIVEN_ACCELERATOR, i);
		rp_wire_parcel_put_number(parcel, "features_set", accelerator->features_set);
		rp_wire_parcel_put_number(parcel, "stops_whole", accelerator->stops_whole);
		pack_net(accelerator, parcel);
		rc = rp_accel_give(&accelerator->accel, parcel, why);
		rp_wire_parcel_leave(parcel);
		if (rc < 0)
			rp_wire_why_prefix(why, "accelerator %u: ", i);
	}
	return rc;
}

static unsigned int
memories_of(const struct rp_port *port, struct rp_accel_memory *ret_memories)
{
	unsigned int count = rp_vhu_backend_regions_count(port->backend), i;
	struct rp_vhu_region region;

	for (i = 0; i < count; i++) {
		rp_vhu_backend_region(port->backend, i, &region);
		ret_memories[i] = (struct rp_accel_memory){
			.iova = region.gpa,
			.size_bytes = region.size_bytes,
			.fd = region.fd,
			.offset_bytes = region.offset_bytes,
			.hva = rp_dma_space_translate(port->memory, region.gpa, 1, RP_DMA_READ),
		};
	}
	return count;
}

static int
unpack_one(struct rp_port *port, unsigned int index, struct rp_wire_parcel *parcel, struct rp_wire_why *why)
{
	struct port_accelerator *accelerator = &port->accelerators[index];
	struct rp_accel_memory memories[RP_VHU_SLOTS_MAX];
	unsigned int memories_count = memories_of(port, memories);
	int rc;

	accelerator->features_set = rp_wire_parcel_get_bool(parcel, "features_set");
	accelerator->stops_whole = rp_wire_parcel_get_bool(parcel, "stops_whole");
	unpack_net(accelerator, parcel);
	rc = rp_wire_parcel_result(parcel, why);
	if (rc == 0)
		rc = rp_accel_adopt(port->registry, accelerator->arguments, parcel, memories, memories_count,
				    &accelerator->accel, why);
	return rc < 0 ? rc : port_accelerator_opened(port, index, why);
}

int
port_accelerators_unpack(struct rp_port *port, const struct rp_port_config *config, struct rp_wire_parcel *parcel,
			 struct rp_wire_why *why)
{
	unsigned int i;
	int rc;

	for (i = 0; i < config->accelerators_count; i++) {
		struct port_accelerator *accelerator = &port->accelerators[i];

		rc = port_accelerator_prepare(port, config->accelerators[i], why);
		if (rc < 0)
			return rc;
		rp_wire_parcel_enter(parcel, PORT_GIVEN_ACCELERATOR, i);
		rc = unpack_one(port, i, parcel, why);
		rp_wire_parcel_leave(parcel);
		if (rc < 0) {
			rp_wire_why_prefix(why, "accelerator %u (%s): ", i, accelerator->arguments);
			return rc;
		}
	}
	return port_accelerators_queues(port, config, why);
}
