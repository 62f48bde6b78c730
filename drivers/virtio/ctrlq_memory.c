/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "rp_wire_fd.h"
#include "virtio.h"

/*
 * The memory of the control queue, ours and not the guest's: a file that the device
 * cannot shrink under us, at an address where the guest has nothing. When the guest
 * gets memory there later, it is ours that moves.
 */

/*
 * Free room kept above it. Whoever else looks for a place (a port, for private rings)
 * looks from the top down and does not know of this one.
 */
#define ROOM_ABOVE_BYTES (1ull << 30)
/* Of another owner of memory in the same container (EEXIST). */
#define TRIES_MAX 16u

static uint64_t
page_bytes(const struct virtio_device *device)
{
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);

	return device->transport_info.iova_page_bytes > page ? device->transport_info.iova_page_bytes : page;
}

static int
create(struct virtio_device *device, struct rp_wire_why *why)
{
	struct virtio_ctrlq *ctrlq = &device->ctrlq;
	uint64_t page = page_bytes(device);
	RP_WIRE_FD_SCOPED int fd = memfd_create("ringpass-control-queue", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	void *memory;

	ctrlq->memory_bytes = (vdrv_ctrlq_bytes(ctrlq) + page - 1) / page * page;
	if (fd < 0 || ftruncate(fd, (off_t)ctrlq->memory_bytes) < 0 ||
	    fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0)
		return rp_wire_why_set(why, -ENOTSUP, "memory: %s", strerror(errno));
	memory = mmap(NULL, ctrlq->memory_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (memory == MAP_FAILED)
		return rp_wire_why_set(why, -ENOTSUP, "memory: mmap: %s", strerror(errno));
	ctrlq->memory = memory;
	ctrlq->memory_fd = rp_wire_fd_take(&fd);
	return 0;
}

int
vdrv_ctrlq_memory_adopt(struct virtio_ctrlq *ctrlq, int *fd, uint64_t memory_bytes, struct rp_wire_why *why)
{
	int seals = fcntl(*fd, F_GET_SEALS);
	struct stat st;
	void *memory;

	if (fstat(*fd, &st) < 0 || seals < 0 || (seals & F_SEAL_SHRINK) == 0 || (uint64_t)st.st_size != memory_bytes)
		return rp_wire_why_set(why, -EBADMSG,
				       "control queue: memory: expected a memfd of %" PRIu64
				       " bytes, sealed against shrinking",
				       memory_bytes);
	memory = mmap(NULL, memory_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, *fd, 0);
	if (memory == MAP_FAILED)
		return rp_wire_why_set(why, -ENOMEM, "control queue: memory: mmap: %s", strerror(errno));
	ctrlq->memory = memory;
	ctrlq->memory_bytes = memory_bytes;
	ctrlq->memory_fd = rp_wire_fd_take(fd);
	return 0;
}

/* The highest free place; with room above it, if there is so much. */
static int
find_place(const struct virtio_device *device, const struct virtio_mapped *taken, uint64_t *ret_iova,
	   struct rp_wire_why *why)
{
	const struct rp_accel_transport_info *info = &device->transport_info;
	uint64_t size_bytes = device->ctrlq.memory_bytes;

	if (rp_dma_iova_find(info->iova_ranges, info->iova_ranges_count, taken->ranges, taken->count,
			     size_bytes + ROOM_ABOVE_BYTES, page_bytes(device), ret_iova, NULL) == 0)
		return 0;
	return rp_dma_iova_find(info->iova_ranges, info->iova_ranges_count, taken->ranges, taken->count, size_bytes,
				page_bytes(device), ret_iova, why);
}

static int
map_somewhere(struct virtio_device *device, struct virtio_mapped *taken, struct rp_wire_why *why)
{
	const struct rp_accel_transport *transport = &device->transport;
	struct virtio_ctrlq *ctrlq = &device->ctrlq;
	unsigned int try;
	int rc = 0;

	for (try = 0; try < TRIES_MAX; try++) {
		rc = find_place(device, taken, &ctrlq->iova, why);
		if (rc < 0)
			return rc;
		rc = transport->ops->dma_map(transport->priv, ctrlq->iova, ctrlq->memory_bytes, ctrlq->memory_fd, 0,
					     ctrlq->memory, why);
		if (rc != -EEXIST)
			break;
		if (vdrv_mapped_reserve(taken) < 0)
			return -ENOMEM;
		vdrv_mapped_add(taken, ctrlq->iova, ctrlq->memory_bytes);
	}
	ctrlq->mapped = rc == 0;
	return rc;
}

int
vdrv_ctrlq_memory_take(struct virtio_device *device, struct rp_wire_why *why)
{
	struct virtio_mapped taken;
	int rc = 0;

	if (device->ctrlq.memory == NULL)
		rc = create(device, why);
	if (rc < 0 || device->ctrlq.mapped)
		return rc;
	rc = vdrv_mapped_copy(&device->mapped, &taken);
	if (rc == 0)
		rc = map_somewhere(device, &taken, why);
	vdrv_mapped_release(&taken);
	if (rc == 0 || vdrv_error_is_loss(rc))
		return rc;
	/* Only what is said by this queue cannot be had; the device goes on without. */
	if (rc == -ENOMEM && why->text[0] == '\0')
		rp_wire_why_set(why, rc, "no memory");
	rp_wire_why_prefix(why, "memory of its own: ");
	why->error = -ENOTSUP;
	return -ENOTSUP;
}

int
vdrv_ctrlq_memory_give(struct virtio_device *device, struct rp_wire_why *why)
{
	const struct rp_accel_transport *transport = &device->transport;
	struct virtio_ctrlq *ctrlq = &device->ctrlq;
	int rc;

	if (!ctrlq->mapped)
		return 0;
	rc = transport->ops->dma_unmap(transport->priv, ctrlq->iova, ctrlq->memory_bytes, why);
	if (rc < 0) {
		rp_wire_why_prefix(why, "control queue: memory: ");
		return vdrv_error_from_transport(rc, why);
	}
	ctrlq->mapped = false;
	return 0;
}

bool
vdrv_ctrlq_memory_is_at(const struct virtio_device *device, uint64_t iova, uint64_t size_bytes)
{
	const struct virtio_ctrlq *ctrlq = &device->ctrlq;

	return ctrlq->mapped && size_bytes != 0 && iova <= ctrlq->iova + (ctrlq->memory_bytes - 1) &&
	       (ctrlq->iova <= iova || ctrlq->iova - iova < size_bytes);
}

void
vdrv_ctrlq_memory_release(struct virtio_device *device)
{
	struct virtio_ctrlq *ctrlq = &device->ctrlq;

	if (ctrlq->memory != NULL)
		munmap(ctrlq->memory, ctrlq->memory_bytes);
	ctrlq->memory = NULL;
	rp_wire_fd_close(&ctrlq->memory_fd);
}
