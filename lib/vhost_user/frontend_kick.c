/* SPDX-License-Identifier: BSD-3-Clause */
#include <endian.h>
#include <errno.h>

#include "rp_wire_caller.h"
#include "vhu_frontend.h"

int
rp_vhu_frontend_kick(struct rp_vhu_frontend *frontend, unsigned int queue)
{
	const struct vhu_frontend_queue *ring = &frontend->queues[queue < frontend->config.queues_max ? queue : 0];

	if (queue >= frontend->config.queues_max)
		return -EINVAL;
	if (ring->map.address != NULL && ring->started) {
		/* virtio 1.2, 4.1.5.2: the queue's index, 16 bits, little-endian. */
		__atomic_store_n((uint16_t *)ring->map.address, htole16((uint16_t)queue), __ATOMIC_SEQ_CST);
		return 1;
	}
	return ring->kick_fd < 0 ? 0 : rp_wire_caller_call(frontend->caller, ring->kick_fd);
}
