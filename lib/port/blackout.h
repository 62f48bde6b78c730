/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef BLACKOUT_H
#define BLACKOUT_H

#include "rp_port.h"

/* How long nobody served a ring while it moved, of the last moves. */
struct port_blackouts {
	uint32_t us[RP_PORT_BLACKOUTS_KEPT];
	unsigned int next;
	unsigned int count;
};

void port_blackout_add(struct port_blackouts *blackouts, uint64_t us);
/* Sets the four fields of it, the middle one of an even number being the smaller. */
void port_blackout_tell(const struct port_blackouts *blackouts, struct rp_port_queue_info *info);

#endif
