/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * Memory of our own that a device reaches: private rings, one slot for each queue that
 * it serves. It lies in the device's address space beside the guest's memory, at a
 * place that its IOMMU has; when the guest gets memory in that very place, the private
 * rings stop, move elsewhere, and go on.
 *
 * Other ports may have mapped something of theirs in the same address space (devices
 * of one VFIO container): a place that is refused as taken is not tried again.
 */

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "port.h"
#include "rp_vring_shadow.h"
#include "rp_wire_fd.h"

#define TRIES_MAX 24u
#define TAKEN_MAX (RP_VHU_SLOTS_MAX + 1 + RP_PORT_ACCELERATORS_MAX + TRIES_MAX)
#define RING_PACKED_MASK (1ull << 34)
#define RING_ALIGN_BYTES 4096u /* lib/vring wants it so */

struct taken {
	struct rp_dma_iova_range ranges[TAKEN_MAX];
	unsigned int count;
};

static uint64_t
round_up(uint64_t size_bytes, uint64_t page_bytes)
{
	return (size_bytes + page_bytes - 1) & ~(page_bytes - 1);
}

static uint64_t
page_bytes_of(const struct port_accelerator *accelerator)
{
	uint64_t page_bytes = (uint64_t)sysconf(_SC_PAGESIZE);

	return accelerator->info.iova_page_bytes > page_bytes ? accelerator->info.iova_page_bytes : page_bytes;
}

static void
take(struct taken *taken, uint64_t iova, uint64_t size_bytes)
{
	if (taken->count < TAKEN_MAX)
		taken->ranges[taken->count++] = (struct rp_dma_iova_range){iova, iova + (size_bytes - 1)};
}

static void
take_what_is_known(const struct rp_port *port, struct taken *taken)
{
	struct rp_vhu_region region;
	unsigned int i;

	taken->count = 0;
	for (i = 0; i < rp_vhu_backend_regions_count(port->backend); i++)
		if (rp_vhu_backend_region(port->backend, i, &region) == 0)
			take(taken, region.gpa, region.size_bytes);
	if (port->coming != NULL)
		take(taken, port->coming->gpa, port->coming->size_bytes);
	for (i = 0; i < port->accelerators_count; i++)
		if (port->accelerators[i].private.mapped)
			take(taken, port->accelerators[i].private.iova, port->accelerators[i].private.size_bytes);
}

/* How large the stranger is that lies there nobody says: each time four times as much is left out below it. */
static void
skip(struct taken *taken, const struct port_private *rings, unsigned int tries)
{
	uint64_t below = rings->size_bytes << 2 * tries;

	if (below >> 2 * tries != rings->size_bytes || below > rings->iova)
		below = rings->iova;
	take(taken, rings->iova - below, rings->size_bytes + below);
}

static int
map(struct rp_port *port, struct port_accelerator *accelerator, struct rp_wire_why *why)
{
	struct port_private *rings = &accelerator->private;
	const struct rp_accel *accel = &accelerator->accel;
	struct taken taken;
	unsigned int i;
	int rc = -ENOSPC;

	take_what_is_known(port, &taken);
	for (i = 0; i < TRIES_MAX; i++) {
		rc = rp_dma_iova_find(accelerator->info.iova_ranges, accelerator->info.iova_ranges_count, taken.ranges,
				      taken.count, rings->size_bytes, page_bytes_of(accelerator), &rings->iova, why);
		if (rc < 0)
			break;
		rc = accel->ops->dma_map(accel->priv, rings->iova, rings->size_bytes, rings->fd, 0, rings->hva, why);
		if (rc != -EEXIST)
			break;
		skip(&taken, rings, i);
	}
	rings->mapped = rc == 0;
	if (rc < 0)
		rp_wire_why_prefix(why, "private rings: ");
	return rc;
}

static uint64_t
ring_bytes(const struct rp_port *port)
{
	uint64_t split = rp_vring_shadow_bytes(port->vring_num_max, 0);
	uint64_t packed = rp_vring_shadow_bytes(port->vring_num_max, RING_PACKED_MASK);

	return split > packed ? split : packed;
}

uint64_t
port_private_tables_at(const struct rp_port *port)
{
	return ring_bytes(port);
}

/* Of the first ring that knows. */
static int
node_of_guest(const struct rp_port *port, unsigned int index)
{
	int node = RP_DMA_NODE_ANY;
	unsigned int i;

	for (i = 0; i < port->queues_count && node == RP_DMA_NODE_ANY; i++) {
		const struct port_queue *queue = &port->queues[i];

		if (port_queue_is_on(queue, index))
			node = port_ring_node(port, queue);
	}
	return node;
}

static int
allocate(struct rp_port *port, unsigned int index, struct rp_wire_why *why)
{
	struct port_accelerator *accelerator = &port->accelerators[index];
	struct port_private *rings = &accelerator->private;
	/* For those too that may be moved to it. */
	unsigned int queues_count = accelerator->info.queues_count;
	unsigned int slots = queues_count < port->queues_count ? queues_count : port->queues_count;
	int error;

	rings->slot_bytes = ring_bytes(port);
	if (port->access_platform)
		rings->slot_bytes += round_up(rp_vring_shadow_tables_bytes(port->vring_num_max), RING_ALIGN_BYTES);
	rings->size_bytes = round_up(rings->slot_bytes * slots, page_bytes_of(accelerator));
	rings->hva = MAP_FAILED;
	rings->fd = memfd_create("ringpass-private-rings", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	/* A device process is given the file: shrunk by it, it would end us. */
	if (rings->fd >= 0 && ftruncate(rings->fd, (off_t)rings->size_bytes) == 0 &&
	    fcntl(rings->fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) == 0)
		rings->hva = mmap(NULL, rings->size_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, rings->fd, 0);
	if (rings->hva != MAP_FAILED) {
		/* Beside the guest's rings that they are copied from and to; wherever it is, it works. */
		rp_dma_node_place(rings->hva, rings->size_bytes, node_of_guest(port, index));
		return 0;
	}
	error = errno;
	rp_wire_why_set(why, -ENOSPC, "private rings: %" PRIu64 " bytes of memory: %s", rings->size_bytes,
			strerror(error));
	rings->hva = NULL;
	port_private_close(accelerator);
	return -ENOSPC;
}

int
port_private_slot(struct rp_port *port, const struct port_queue *queue, void **ret_memory, uint64_t *ret_iova,
		  struct rp_wire_why *why)
{
	struct port_accelerator *accelerator = &port->accelerators[queue->accelerator];
	struct port_private *rings = &accelerator->private;
	int rc = 0;

	if (rings->hva == NULL)
		rc = allocate(port, (unsigned int)queue->accelerator, why);
	if (rc == 0 && !rings->mapped)
		rc = map(port, accelerator, why);
	if (rc < 0)
		return rc;
	*ret_memory = rings->hva + queue->accelerator_queue * rings->slot_bytes;
	*ret_iova = rings->iova + queue->accelerator_queue * rings->slot_bytes;
	return 0;
}

bool
port_private_in_the_way(const struct port_accelerator *accelerator, const struct rp_vhu_region *region)
{
	const struct port_private *rings = &accelerator->private;

	return rings->mapped && region->gpa <= rings->iova + (rings->size_bytes - 1) &&
	       rings->iova <= region->gpa + (region->size_bytes - 1);
}

int
port_private_unmap(struct port_accelerator *accelerator, struct rp_wire_why *why)
{
	const struct rp_accel *accel = &accelerator->accel;
	struct port_private *rings = &accelerator->private;
	int rc;

	if (!rings->mapped)
		return 0;
	rc = accel->ops->dma_unmap(accel->priv, rings->iova, rings->size_bytes, why);
	rings->mapped = rc < 0;
	return rc;
}

void
port_private_close(struct port_accelerator *accelerator)
{
	struct port_private *rings = &accelerator->private;

	if (rings->hva != NULL)
		munmap(rings->hva, rings->size_bytes);
	rp_wire_fd_close(&rings->fd);
	*rings = (struct port_private){.fd = -1};
}
