/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>

#include "fake_device.h"

static bool
map_is_at(const struct fake_map *map, uint64_t iova, uint64_t size_bytes)
{
	return map->size_bytes != 0 && map->iova < iova + size_bytes && iova < map->iova + map->size_bytes;
}

/* The memory of a caller who has none himself is not looked into. */
static void
see_memory(struct fake_device *fake, uint64_t iova, uint64_t size_bytes, int fd, uint64_t offset_bytes)
{
	const struct rp_dma_mapping mapping = {
		.iova = iova,
		.size_bytes = size_bytes,
		.offset_bytes = offset_bytes,
		.access_mask = RP_DMA_READ | RP_DMA_WRITE,
		.fd = fd,
	};

	assert_int_equal(rp_dma_space_map(fake->ctrl.space, &mapping, NULL), 0);
}

int
fake_dma_map(void *priv, uint64_t iova, uint64_t size_bytes, int fd, uint64_t offset_bytes, void *hva,
	     struct rp_wire_why *why)
{
	struct fake_device *fake = priv;
	struct fake_map *room = NULL;
	unsigned int i;

	if (fake->lies.dma_error != 0)
		return rp_wire_why_set(why, fake->lies.dma_error, "mapping refused");
	if (fake->lies.map_refused_at != 0 && fake->lies.map_refused_at == iova)
		return rp_wire_why_set(why, -EEXIST, "somebody else's memory is there");
	assert_true(rp_dma_iova_allowed(fake->info.iova_ranges, fake->info.iova_ranges_count, iova, size_bytes));
	for (i = 0; i < FAKE_MAPS_MAX; i++) {
		if (map_is_at(&fake->maps[i], iova, size_bytes))
			return rp_wire_why_set(why, -EEXIST, "it overlaps what is mapped");
		if (fake->maps[i].size_bytes == 0)
			room = &fake->maps[i];
	}
	assert_non_null(room);
	*room = (struct fake_map){iova, size_bytes};
	if (hva != NULL)
		see_memory(fake, iova, size_bytes, fd, offset_bytes);
	fake->dma_maps_count++;
	return 0;
}

int
fake_dma_unmap(void *priv, uint64_t iova, uint64_t size_bytes, struct rp_wire_why *why)
{
	struct fake_device *fake = priv;
	unsigned int i;

	if (fake->lies.dma_error != 0)
		return rp_wire_why_set(why, fake->lies.dma_error, "mapping refused");
	for (i = 0; i < FAKE_MAPS_MAX; i++)
		if (fake->maps[i].iova == iova && fake->maps[i].size_bytes == size_bytes)
			break;
	assert_true(i < FAKE_MAPS_MAX);
	fake->maps[i] = (struct fake_map){0};
	/* Memory of a ring that runs is not taken away. */
	if (fake->ctrl.running)
		assert_false(fake->queues[fake_ctrl_index(fake)].desc - iova < size_bytes);
	/* A test that failed left it as it was. */
	rp_dma_reader_offline(fake->ctrl.reader);
	assert_int_equal(rp_dma_space_unmap(fake->ctrl.space, iova, size_bytes, NULL), 0);
	fake->dma_maps_count--;
	return 0;
}
