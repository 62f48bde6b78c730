/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>

#include "vfu_client.h"

static int
set_irqs(struct rp_vfu_client *client, const struct rp_vfu_wire_irq_set *set, int eventfd, struct rp_wire_why *why)
{
	struct rp_vfu_call call = {
		.command = RP_VFU_DEVICE_SET_IRQS,
		.payload = set,
		.payload_bytes = sizeof(*set),
		.fds = &eventfd,
		.fds_count = eventfd >= 0 ? 1 : 0,
	};

	return rp_vfu_client_call(client, &call, why);
}

int
rp_vfu_client_irq_set(struct rp_vfu_client *client, uint32_t irq_index, uint32_t vector, int eventfd,
		      struct rp_wire_why *why)
{
	const struct rp_vfu_wire_irq_set set = {
		.argsz = sizeof(set),
		.flags = RP_VFU_IRQ_DATA_EVENTFD_MASK | RP_VFU_IRQ_ACTION_TRIGGER_MASK,
		.index = irq_index,
		.start = vector,
		.count = 1,
	};

	return set_irqs(client, &set, eventfd, why);
}

int
rp_vfu_client_irq_disable(struct rp_vfu_client *client, uint32_t irq_index, struct rp_wire_why *why)
{
	const struct rp_vfu_wire_irq_set set = {
		.argsz = sizeof(set),
		.flags = RP_VFU_IRQ_DATA_NONE_MASK | RP_VFU_IRQ_ACTION_TRIGGER_MASK,
		.index = irq_index,
	};

	return set_irqs(client, &set, -1, why);
}
