/* SPDX-License-Identifier: BSD-3-Clause */
#include "hand_over.h"
#include "software_parts.h"

void
port_software_pack(const struct rp_port *port, struct rp_wire_parcel *parcel)
{
	const struct port_software *software = port->software;

	if (software == NULL)
		return;
	rp_wire_parcel_enter(parcel, PORT_GIVEN_SOFTWARE, 0);
	rp_wire_parcel_put_number(parcel, "features", software->features);
	rp_wire_parcel_put_number(parcel, "protocol_features", software->protocol_features);
	rp_wire_parcel_put_number(parcel, "queues_max", software->queues_max);
	rp_wire_parcel_put_number(parcel, "mtu_bytes", software->mtu_bytes);
	rp_wire_parcel_leave(parcel);
}

void
port_software_unpack(struct rp_port *port, struct rp_wire_parcel *parcel)
{
	struct port_software *software = port->software;

	if (software == NULL)
		return;
	rp_wire_parcel_enter(parcel, PORT_GIVEN_SOFTWARE, 0);
	software->features = rp_wire_parcel_get_number(parcel, "features", UINT64_MAX);
	software->protocol_features = rp_wire_parcel_get_number(parcel, "protocol_features", UINT64_MAX);
	software->queues_max = (unsigned int)rp_wire_parcel_get_number(parcel, "queues_max", RP_VHU_QUEUES_MAX);
	software->mtu_bytes = (uint16_t)rp_wire_parcel_get_number(parcel, "mtu_bytes", UINT16_MAX);
	software->known = true;
	rp_wire_parcel_leave(parcel);
}
