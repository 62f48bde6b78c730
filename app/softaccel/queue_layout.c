/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdlib.h>

#include "sa_device.h"

/* A ring that needs them keeps them for as long as the function lives: what was lent is not moved. */
static int
lend_notes(const struct softaccel_function *function, struct sa_queue *queue, struct rp_vring_layout *layout,
	   struct rp_wire_why *why)
{
	if (!rp_vring_dev_needs_notes(layout->features))
		return 0;
	if (queue->notes == NULL)
		queue->notes = calloc(function->queue_size_max, sizeof(*queue->notes));
	if (queue->notes == NULL)
		return rp_wire_why_set(why, -ENOMEM, "no memory for a ring of %u entries", function->queue_size_max);
	layout->notes = queue->notes;
	return 0;
}

int
sa_queue_layout(const struct softaccel_function *function, struct sa_queue *queue, struct rp_vring_layout *ret_layout,
		struct rp_wire_why *why)
{
	rp_vfu_virtio_queue_layout(function->virtio, (unsigned int)(queue - function->queues), ret_layout);
	return lend_notes(function, queue, ret_layout, why);
}

void
sa_queue_fini(struct softaccel_function *function, unsigned int number)
{
	free(function->queues[number].notes);
	function->queues[number].notes = NULL;
}
