/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * A guest's driver allocates its ring in one piece of IOVAs, whose pages may lie anywhere
 * in guest-physical memory. A part that lies apart is put together here page by page, from
 * the files that the guest's memory is made of, so that whoever reads it sees one piece.
 */

#include <errno.h>
#include <inttypes.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

#include "port.h"
#include "rp_wire_fd.h"

#define PARTS RP_VRING_PARTS_COUNT

struct part {
	uint64_t iova;
	uint64_t size_bytes;
	uint8_t perm; /* that it must have */
};

static void
describe(const struct rp_port *port, const struct port_queue *queue, struct part ret_parts[PARTS])
{
	const struct rp_vring_layout layout = {.num = queue->vring.num, .features = port->features};
	const uint64_t iovas[PARTS] = {queue->vring.desc_gpa, queue->vring.avail_gpa, queue->vring.used_gpa};
	const uint8_t both = RP_VHU_IOTLB_READ_MASK | RP_VHU_IOTLB_WRITE_MASK;
	uint64_t sizes[PARTS];
	unsigned int i;

	rp_vring_part_bytes(&layout, sizes);
	for (i = 0; i < PARTS; i++)
		ret_parts[i] = (struct part){.iova = iovas[i], .size_bytes = sizes[i], .perm = RP_VHU_IOTLB_READ_MASK};
	/* virtio 1.2, 2.7.8; and of a packed ring, 2.8: descriptors are written back in their place. */
	ret_parts[2].perm = both;
	if (port_position_is_packed(port))
		ret_parts[0].perm = both;
}

static const char *
name_of(unsigned int part)
{
	static const char *const names[PARTS] = {"descriptor table", "driver area", "device area"};

	return names[part];
}

static int
find_region(const struct rp_port *port, uint64_t gpa, struct rp_vhu_region *ret_region)
{
	unsigned int i;

	for (i = 0; i < rp_vhu_backend_regions_count(port->backend); i++)
		if (rp_vhu_backend_region(port->backend, i, ret_region) == 0 &&
		    gpa - ret_region->gpa < ret_region->size_bytes)
			return 0;
	return -EFAULT;
}

/* The pages around a part's piece at its place in the reserved addresses. */
static int
place_piece(const struct rp_port *port, uint8_t *at, uint64_t gpa, uint64_t size_bytes, int protection)
{
	uint64_t page_bytes = (uint64_t)sysconf(_SC_PAGESIZE), file_at;
	struct rp_vhu_region region;

	if (find_region(port, gpa, &region) < 0)
		return -EFAULT;
	/* A huge page is mapped whole: over what lies behind. */
	if (rp_wire_fd_page_bytes(region.fd) != page_bytes)
		return -ENOTSUP;
	file_at = region.offset_bytes + (gpa - region.gpa);
	if (((uintptr_t)at | file_at | size_bytes) % page_bytes != 0 ||
	    size_bytes > region.size_bytes - (gpa - region.gpa))
		return -EBADMSG;
	return mmap(at, size_bytes, protection, MAP_SHARED | MAP_FIXED, region.fd, (off_t)file_at) == MAP_FAILED ?
		       -ENOSPC :
		       0;
}

/* Put a part together that lies apart. Each page of it is known by now. */
static int
assemble(struct rp_port *port, struct port_iommu_ring *ring, unsigned int index, const struct part *part)
{
	uint64_t page_bytes = (uint64_t)sysconf(_SC_PAGESIZE), into = part->iova & (page_bytes - 1), done;
	uint64_t total = (into + part->size_bytes + page_bytes - 1) & ~(page_bytes - 1);
	int protection = PROT_READ | (ring->writable[index] ? PROT_WRITE : 0), rc = 0;
	uint8_t *at = mmap(NULL, total, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (at == MAP_FAILED)
		return -ENOSPC;
	ring->maps[index] = at;
	ring->map_bytes[index] = total;
	for (done = 0; rc == 0 && done < total; done += page_bytes) {
		uint64_t gpa, bytes;

		rc = port_iommu_find(port, part->iova - into + done, page_bytes, part->perm, false, &gpa, &bytes);
		if (rc == 0 && bytes < page_bytes)
			rc = -EBADMSG;
		if (rc == 0)
			rc = place_piece(port, at + done, gpa, page_bytes, protection);
	}
	ring->parts[index] = at + into;
	return rc;
}

/* All of its translations, whatever is missing: asked for at once. */
static int
look_up(struct rp_port *port, struct port_iommu_ring *ring, unsigned int index, const struct part *part,
	uint64_t *ret_gpa)
{
	const uint8_t both = RP_VHU_IOTLB_READ_MASK | RP_VHU_IOTLB_WRITE_MASK;
	uint64_t done, bytes, gpa, expected = 0;
	int result = 0, rc;

	*ret_gpa = UINT64_MAX;
	ring->writable[index] = true;
	for (done = 0; done < part->size_bytes; done += bytes) {
		uint64_t rest = part->size_bytes - done;

		rc = port_iommu_find(port, part->iova + done, rest, part->perm, false, &gpa, &bytes);
		if (rc == -EFAULT)
			return rc;
		if (rc < 0) {
			uint64_t page_rest = PORT_IOMMU_PAGE_BYTES - (part->iova + done) % PORT_IOMMU_PAGE_BYTES;

			result = rc;
			bytes = rest < page_rest ? rest : page_rest;
			continue;
		}
		if (done == 0)
			*ret_gpa = expected = gpa;
		if (gpa != expected + done)
			*ret_gpa = UINT64_MAX;
		ring->identity &= gpa == part->iova + done;
		ring->writable[index] &= port_iommu_permits(port, part->iova + done, both);
	}
	return result;
}

static int
open_part(struct rp_port *port, struct port_iommu_ring *ring, unsigned int index, const struct part *part, uint64_t gpa)
{
	if (gpa != UINT64_MAX)
		ring->parts[index] =
			rp_dma_space_translate(port->memory, gpa, part->size_bytes, RP_DMA_READ | RP_DMA_WRITE);
	/* What lies together may still lie in two regions. */
	if (gpa != UINT64_MAX && ring->parts[index] != NULL)
		return 0;
	return assemble(port, ring, index, part);
}

int
port_iommu_ring_open(struct rp_port *port, struct port_queue *queue, struct rp_wire_why *why)
{
	struct port_iommu_ring *ring = &queue->iommu;
	struct part parts[PARTS];
	uint64_t gpas[PARTS];
	unsigned int i;
	int result = 0, rc;

	port_iommu_ring_close(queue);
	describe(port, queue, parts);
	ring->identity = true;
	for (i = 0; i < PARTS; i++) {
		rc = look_up(port, ring, i, &parts[i], &gpas[i]);
		if (rc == -EFAULT)
			return rp_wire_why_set(
				why, rc, "ring %u: the guest's IOMMU does not let the device to its %s at 0x%" PRIx64,
				queue->index, name_of(i), parts[i].iova);
		if (rc < 0)
			result = rc;
	}
	if (result == 0 && ring->identity && port_iommu_all_identity(port) == -EAGAIN)
		result = -EAGAIN;
	if (result < 0)
		return rp_wire_why_set(why, result, "ring %u: its translations are being asked for", queue->index);
	ring->open = true;
	for (i = 0; i < PARTS; i++) {
		rc = open_part(port, ring, i, &parts[i], gpas[i]);
		if (rc == 0 && (uintptr_t)ring->parts[i] % (i == 0 ? 16 : i == 1 ? 2 : 4) == 0)
			continue;
		port_iommu_ring_close(queue);
		if (rc == -ENOTSUP)
			return rp_wire_why_set(why, rc,
					       "ring %u: its %s at 0x%" PRIx64
					       " lies apart, in huge pages, which cannot be put together",
					       queue->index, name_of(i), parts[i].iova);
		return rp_wire_why_set(why, rc < 0 ? rc : -EBADMSG, "ring %u: its %s at 0x%" PRIx64 " cannot be mapped",
				       queue->index, name_of(i), parts[i].iova);
	}
	return 0;
}

void
port_iommu_ring_close(struct port_queue *queue)
{
	struct port_iommu_ring *ring = &queue->iommu;
	unsigned int i;

	for (i = 0; i < PARTS; i++) {
		if (ring->maps[i] != NULL)
			munmap(ring->maps[i], ring->map_bytes[i]);
		ring->maps[i] = ring->parts[i] = NULL;
	}
	ring->open = ring->identity = false;
}

bool
port_iommu_ring_overlaps(const struct rp_port *port, const struct port_queue *queue, uint64_t iova, uint64_t size_bytes)
{
	struct part parts[PARTS];
	unsigned int i;

	if (!queue->iommu.open)
		return false;
	describe(port, queue, parts);
	for (i = 0; i < PARTS; i++)
		if (parts[i].iova - iova < size_bytes || iova - parts[i].iova < parts[i].size_bytes)
			return true;
	return false;
}
