/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "fake_kernel.h"

/* The IOMMU of the fake: what a container has mapped, and what it refuses as the real one does. */

/* The smallest page of the IOMMU, or this machine's if that is larger. */
static uint64_t
page_bytes(const struct fake_kernel *fake)
{
	uint64_t own_bytes = (uint64_t)sysconf(_SC_PAGESIZE), sizes;

	memcpy(&sizes, fake->iommu.bytes + offsetof(struct vfio_iommu_type1_info, iova_pgsizes), sizeof(sizes));
	return (sizes & -sizes) > own_bytes ? sizes & -sizes : own_bytes;
}

int
fake_map_dma(struct fake_kernel *fake, struct fake_container *container, const struct vfio_iommu_type1_dma_map *map)
{
	struct fake_mapping *mapping;
	unsigned int i;

	fake->maps_count++;
	assert_int_equal(map->argsz, sizeof(*map));
	assert_int_equal(map->flags, VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE);
	assert_int_not_equal(map->vaddr, 0);
	if (fake->map_error != 0)
		return fake->map_error;
	if ((map->iova | map->size | map->vaddr) % page_bytes(fake) != 0)
		return -EINVAL;
	/* The books are to see an overlap first; looking for one here costs, so only where it is cheap. */
	for (i = 0; container->mappings_count < 64 && i < container->mappings_count; i++) {
		mapping = &container->mappings[i];
		if (mapping->iova < map->iova + map->size && map->iova < mapping->iova + mapping->size_bytes)
			return -EEXIST;
	}
	if (container->mappings == NULL)
		container->mappings = calloc(FAKE_MAPPINGS, sizeof(*container->mappings));
	assert_non_null(container->mappings);
	if (container->mappings_count == FAKE_MAPPINGS)
		return -ENOSPC;
	container->mappings[container->mappings_count++] =
		(struct fake_mapping){.iova = map->iova, .size_bytes = map->size, .hva = map->vaddr};
	if (container->mappings_count > fake->mapped_most)
		fake->mapped_most = container->mappings_count;
	return 0;
}

int
fake_unmap_dma(struct fake_kernel *fake, struct fake_container *container, struct vfio_iommu_type1_dma_unmap *unmap)
{
	unsigned int i;

	fake->unmaps_count++;
	if (fake->unmap_error != 0)
		return fake->unmap_error;
	for (i = container->mappings_count; i-- > 0;) {
		if (container->mappings[i].iova != unmap->iova)
			continue;
		assert_int_equal(container->mappings[i].size_bytes, unmap->size);
		container->mappings[i] = container->mappings[--container->mappings_count];
		unmap->size -= fake->unmap_short_bytes;
		return 0;
	}
	unmap->size = 0;
	return 0;
}
