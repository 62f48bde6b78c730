/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <inttypes.h>
#include <linux/vfio.h>
#include <string.h>
#include <sys/stat.h>

#include "rp_dma_section.h"
#include "kvfio.h"

static uint64_t
holder(const struct kvfio_device *device)
{
	return UINT64_C(1) << device->slot;
}

static int
check_place(const struct kvfio_iommu *iommu, uint64_t iova, uint64_t size_bytes, struct rp_wire_why *why)
{
	const struct rp_dma_section section = {.kind = RP_DMA_SECTION_RAM, .iova = iova, .size_bytes = size_bytes};
	const struct rp_dma_section_iommu rule = {
		.ranges = iommu->ranges,
		.ranges_count = iommu->ranges_count,
		.page_bytes = iommu->page_bytes,
	};

	return rp_dma_section_check(&section, &rule, NULL, why);
}

static int
identify(struct kvfio_mapping *mapping, int fd, const void *hva, struct rp_wire_why *why)
{
	struct stat st;

	if (fd < 0 && hva == NULL)
		return rp_wire_why_set(why, -EINVAL, "DMA: neither a file nor an address");
	if (fd < 0) {
		mapping->offset_bytes = (uintptr_t)hva;
		return 0;
	}
	if (fstat(fd, &st) < 0)
		return rp_wire_why_set(why, -errno, "DMA: file: %s", strerror(errno));
	mapping->file_device = st.st_dev;
	mapping->file_inode = st.st_ino;
	return 0;
}

static bool
is_same(const struct kvfio_mapping *a, const struct kvfio_mapping *b)
{
	return a->iova == b->iova && a->size_bytes == b->size_bytes && a->file_device == b->file_device &&
	       a->file_inode == b->file_inode && a->offset_bytes == b->offset_bytes;
}

/* Another device of the container may have the same memory of the same guest. */
static int
share(struct kvfio_mapping *other, const struct kvfio_mapping *wanted, struct rp_wire_why *why)
{
	if (!is_same(other, wanted))
		return rp_wire_why_set(
			why, -EEXIST,
			"DMA 0x%" PRIx64 " + 0x%" PRIx64 ": other memory is mapped at 0x%" PRIx64 " + 0x%" PRIx64 "%s",
			wanted->iova, wanted->size_bytes, other->iova, other->size_bytes,
			(other->holders_mask & wanted->holders_mask) != 0 ?
				"" :
				" by another device of the same container: one guest for each container");
	if ((other->holders_mask & wanted->holders_mask) != 0)
		return rp_wire_why_set(why, -EEXIST, "DMA 0x%" PRIx64 " + 0x%" PRIx64 ": is mapped already",
				       wanted->iova, wanted->size_bytes);
	other->holders_mask |= wanted->holders_mask;
	return 0;
}

static int
explain_map(const struct kvfio_device *device, const struct kvfio_mapping *wanted, int error, struct rp_wire_why *why)
{
	const struct kvfio_kernel *kernel = device->host->kernel;

	switch (error) {
	case -ENOMEM:
		return kvfio_memlock_explain(kernel, wanted->size_bytes, why);
	case -ENOSPC:
		return kvfio_entries_explain(kernel, device->group->container->books.count, why);
	case -EEXIST:
		return rp_wire_why_set(why, -EEXIST,
				       "DMA 0x%" PRIx64 " + 0x%" PRIx64
				       ": the application that lent its container has mapped something there",
				       wanted->iova, wanted->size_bytes);
	case -EINVAL:
		return rp_wire_why_set(why, -ENOSPC,
				       "DMA 0x%" PRIx64 " + 0x%" PRIx64 ": the IOMMU refuses this address or alignment",
				       wanted->iova, wanted->size_bytes);
	default:
		return rp_wire_why_set(why, error, "DMA 0x%" PRIx64 " + 0x%" PRIx64 ": memory cannot be pinned: %s",
				       wanted->iova, wanted->size_bytes, strerror(-error));
	}
}

static int
map_iommu(const struct kvfio_device *device, const struct kvfio_mapping *wanted, void *hva)
{
	struct vfio_iommu_type1_dma_map request = {
		.argsz = sizeof(request),
		.flags = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE,
		.vaddr = (uintptr_t)hva,
		.iova = wanted->iova,
		.size = wanted->size_bytes,
	};
	const struct kvfio_kernel *kernel = device->host->kernel;

	return kernel->ioctl(kernel->ctx, device->group->container->fd, VFIO_IOMMU_MAP_DMA, &request);
}

static int
unmap_iommu(const struct kvfio_device *device, const struct kvfio_mapping *mapping, struct rp_wire_why *why)
{
	struct vfio_iommu_type1_dma_unmap request = {
		.argsz = sizeof(request),
		.iova = mapping->iova,
		.size = mapping->size_bytes,
	};
	const struct kvfio_kernel *kernel = device->host->kernel;
	int rc = kernel->ioctl(kernel->ctx, device->group->container->fd, VFIO_IOMMU_UNMAP_DMA, &request);

	if (rc < 0)
		return rp_wire_why_set(why, -EIO, "DMA 0x%" PRIx64 " + 0x%" PRIx64 ": unmap: %s", mapping->iova,
				       mapping->size_bytes, strerror(-rc));
	/* The kernel writes back how much it found. */
	if (request.size != mapping->size_bytes)
		return rp_wire_why_set(
			why, -EIO, "DMA 0x%" PRIx64 " + 0x%" PRIx64 ": unmap: 0x%" PRIx64 " bytes were mapped there",
			mapping->iova, mapping->size_bytes, (uint64_t)request.size);
	return 0;
}

/* The caller's mapping of a file, or, where an IOMMU with larger pages than this machine's wants another, our own. */
static int
find_memory(const struct kvfio_iommu *iommu, struct kvfio_mapping *wanted, int fd, void **hva, struct rp_wire_why *why)
{
	int rc;

	if (*hva != NULL && (fd < 0 || (uintptr_t)*hva % iommu->page_bytes == 0))
		return 0;
	if (wanted->offset_bytes > INT64_MAX)
		return rp_wire_why_set(why, -EINVAL, "DMA: file offset 0x%" PRIx64, wanted->offset_bytes);
	rc = rp_dma_section_memory(fd, wanted->offset_bytes, wanted->size_bytes, iommu->page_bytes, hva);
	if (rc < 0)
		return rp_wire_why_set(why, rc, "DMA 0x%" PRIx64 " + 0x%" PRIx64 ": mmap: %s", wanted->iova,
				       wanted->size_bytes, strerror(-rc));
	wanted->own_hva = *hva;
	return 0;
}

static int
map_new(struct kvfio_device *device, struct kvfio_mapping *wanted, int fd, void *hva, struct rp_wire_why *why)
{
	int rc = find_memory(&device->group->container->iommu, wanted, fd, &hva, why);

	if (rc < 0)
		return rc;
	rc = map_iommu(device, wanted, hva);
	if (rc < 0) {
		kvfio_mapping_forget(wanted);
		return explain_map(device, wanted, rc, why);
	}
	rc = kvfio_books_add(&device->group->container->books, wanted);
	if (rc < 0) {
		unmap_iommu(device, wanted, NULL);
		kvfio_mapping_forget(wanted);
		return rp_wire_why_set(why, rc, "no memory");
	}
	return 0;
}

int
kvfio_dma_adopt(struct kvfio_device *device, const struct kvfio_mapping *given, const struct rp_accel_memory *memory,
		struct rp_wire_why *why)
{
	struct kvfio_container *container = device->group->container;
	struct kvfio_mapping *other, wanted = {
					     .iova = memory->iova,
					     .size_bytes = memory->size_bytes,
					     .offset_bytes = memory->offset_bytes,
					     .holders_mask = holder(device),
				     };
	int rc = check_place(&container->iommu, memory->iova, memory->size_bytes, why);

	if (rc == 0)
		rc = identify(&wanted, memory->fd, NULL, why);
	if (rc == 0 && !is_same(&wanted, given))
		rc = rp_wire_why_set(why, -EBADMSG,
				     "DMA 0x%" PRIx64 " + 0x%" PRIx64 ": is mapped from another file than ours",
				     given->iova, given->size_bytes);
	if (rc < 0)
		return rc;
	other = kvfio_books_find(&container->books, wanted.iova, wanted.size_bytes);
	if (other != NULL)
		return share(other, &wanted, why);
	rc = kvfio_books_add(&container->books, &wanted);
	return rc < 0 ? rp_wire_why_set(why, rc, "no memory") : 0;
}

void
kvfio_dma_forget_all(struct kvfio_device *device)
{
	struct kvfio_books *books = &device->group->container->books;
	struct kvfio_mapping *mapping, *next;

	for (mapping = books->first; mapping != NULL; mapping = next) {
		next = mapping->next;
		mapping->holders_mask &= ~holder(device);
		if (mapping->holders_mask == 0)
			kvfio_books_remove(books, mapping);
	}
}

bool
kvfio_dma_is_held(const struct kvfio_device *device, const struct kvfio_mapping *mapping)
{
	return (mapping->holders_mask & holder(device)) != 0;
}

int
kvfio_dma_map(struct kvfio_device *device, uint64_t iova, uint64_t size_bytes, int fd, uint64_t offset_bytes, void *hva,
	      struct rp_wire_why *why)
{
	struct kvfio_container *container = device->group->container;
	struct kvfio_mapping *other, wanted = {
					     .iova = iova,
					     .size_bytes = size_bytes,
					     .offset_bytes = offset_bytes,
					     .holders_mask = holder(device),
				     };
	int rc = check_place(&container->iommu, iova, size_bytes, why);

	if (rc == 0)
		rc = identify(&wanted, fd, hva, why);
	if (rc < 0)
		return rc;
	other = kvfio_books_find(&container->books, iova, size_bytes);
	return other != NULL ? share(other, &wanted, why) : map_new(device, &wanted, fd, hva, why);
}

/* The last that holds it takes it out of the IOMMU. What cannot be taken out stays in the books. */
static int
let_go(struct kvfio_device *device, struct kvfio_mapping *mapping, struct rp_wire_why *why)
{
	int rc;

	if (mapping->holders_mask == holder(device)) {
		rc = unmap_iommu(device, mapping, why);
		if (rc < 0)
			return rc;
		kvfio_books_remove(&device->group->container->books, mapping);
		return 0;
	}
	mapping->holders_mask &= ~holder(device);
	return 0;
}

int
kvfio_dma_unmap(struct kvfio_device *device, uint64_t iova, uint64_t size_bytes, struct rp_wire_why *why)
{
	struct kvfio_mapping *mapping = NULL;

	if (device->cut)
		return 0;
	if (size_bytes != 0 && size_bytes - 1 <= UINT64_MAX - iova)
		mapping = kvfio_books_find(&device->group->container->books, iova, size_bytes);
	if (mapping == NULL || mapping->iova != iova || mapping->size_bytes != size_bytes ||
	    (mapping->holders_mask & holder(device)) == 0)
		return rp_wire_why_set(why, -EINVAL, "DMA 0x%" PRIx64 " + 0x%" PRIx64 ": was not mapped as such", iova,
				       size_bytes);
	return let_go(device, mapping, why);
}

int
kvfio_dma_unmap_all(struct kvfio_device *device, struct rp_wire_why *why)
{
	struct kvfio_mapping *mapping, *next;
	int rc, first = 0;

	for (mapping = device->group->container->books.first; mapping != NULL; mapping = next) {
		next = mapping->next;
		if ((mapping->holders_mask & holder(device)) == 0)
			continue;
		rc = let_go(device, mapping, first == 0 ? why : NULL);
		if (first == 0)
			first = rc;
	}
	return first;
}
