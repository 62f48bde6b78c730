/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <inttypes.h>

#include "virtio.h"

/*
 * The guest's memory. It may lie anywhere; the control queue's own makes way for it.
 * Where it lies is written down only for a device that has a control queue.
 */

/* A refusal that is neither an overlap nor a limit leaves the device without the guest's memory: it is of no use. */
static int
map_error(const struct virtio_memory *memory, int error, struct rp_wire_why *why)
{
	if (error == 0 || error == -EEXIST || error == -ENOSPC || memory->is_peers)
		return error;
	if (error != -ENOMEM)
		return vdrv_error_from_transport(error, why);
	why->error = -ENOSPC;
	return -ENOSPC;
}

static int
map(struct virtio_device *device, const struct virtio_memory *memory, struct rp_wire_why *why)
{
	const struct rp_accel_transport *transport = &device->transport;
	int rc = map_error(memory,
			   transport->ops->dma_map(transport->priv, memory->iova, memory->size_bytes, memory->fd,
						   memory->offset_bytes, memory->hva, why),
			   why);

	if (rc == 0 && device->ctrlq.present)
		vdrv_mapped_add(&device->mapped, memory->iova, memory->size_bytes);
	return rc;
}

static int
unmap(struct virtio_device *device, uint64_t iova, uint64_t size_bytes, struct rp_wire_why *why)
{
	const struct rp_accel_transport *transport = &device->transport;
	int rc = transport->ops->dma_unmap(transport->priv, iova, size_bytes, why);

	if (rc < 0)
		return vdrv_error_from_transport(rc, why);
	/* What cannot be written down stays taken, and is not used for the control queue. */
	if (device->ctrlq.present && vdrv_mapped_reserve(&device->mapped) == 0)
		vdrv_mapped_remove(&device->mapped, iova, size_bytes);
	return 0;
}

/* The control queue's memory is somewhere again, or the guest's is not there. */
static int
settle(struct virtio_device *device, const struct virtio_memory *memory, int rc, struct rp_wire_why *why)
{
	struct rp_wire_why words = {0};
	int other_rc = vdrv_ctrlq_memory_take(device, &words);

	if (other_rc == 0)
		return rc;
	if (other_rc == -ENOTSUP && rc < 0)
		return rc;
	if (other_rc == -ENOTSUP) {
		other_rc = unmap(device, memory->iova, memory->size_bytes, &words);
		if (other_rc == 0)
			other_rc = vdrv_ctrlq_memory_take(device, &words);
		if (!vdrv_error_is_loss(other_rc))
			return rp_wire_why_set(why, -EEXIST,
					       "memory at 0x%" PRIx64 ": the control queue's own is there: %.120s",
					       memory->iova, words.text);
	}
	*why = words;
	return other_rc;
}

int
vdrv_dma_map(struct virtio_device *device, const struct virtio_memory *memory, struct rp_wire_why *why)
{
	int rc;

	if (device->ctrlq.present && vdrv_mapped_reserve(&device->mapped) < 0)
		return rp_wire_why_set(why, -ENOSPC, "no memory");
	if (!vdrv_ctrlq_memory_is_at(device, memory->iova, memory->size_bytes))
		return map(device, memory, why);
	rc = vdrv_ctrlq_make_way(device, why);
	if (rc < 0)
		return rc;
	rc = map(device, memory, why);
	return vdrv_error_is_loss(rc) ? rc : settle(device, memory, rc, why);
}

int
vdrv_dma_unmap(struct virtio_device *device, uint64_t iova, uint64_t size_bytes, struct rp_wire_why *why)
{
	return unmap(device, iova, size_bytes, why);
}
