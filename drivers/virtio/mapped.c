/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "virtio.h"

/*
 * Which addresses of the device's are taken by memory that the caller gave it: ranges
 * in ascending order that neither overlap nor touch, so that a guest whose memory was
 * mapped in many pieces takes few of them.
 */

#define ROOM_MIN 16u

/* The first range that ends at `first`, just before it, or later. */
static unsigned int
find(const struct virtio_mapped *mapped, uint64_t first)
{
	uint64_t before = first > 0 ? first - 1 : 0;
	unsigned int low = 0, high = mapped->count;

	while (low < high) {
		unsigned int middle = low + (high - low) / 2;

		if (mapped->ranges[middle].last < before)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static uint64_t
last_of(uint64_t iova, uint64_t size_bytes)
{
	return size_bytes - 1 > UINT64_MAX - iova ? UINT64_MAX : iova + (size_bytes - 1);
}

/* Put pieces in the place of the ranges from `from` to before `to`. */
static void
replace(struct virtio_mapped *mapped, unsigned int from, unsigned int to, const struct rp_dma_iova_range *pieces,
	unsigned int pieces_count)
{
	memmove(&mapped->ranges[from + pieces_count], &mapped->ranges[to],
		(mapped->count - to) * sizeof(mapped->ranges[0]));
	memcpy(&mapped->ranges[from], pieces, pieces_count * sizeof(mapped->ranges[0]));
	mapped->count += pieces_count - (to - from);
}

int
vdrv_mapped_reserve(struct virtio_mapped *mapped)
{
	unsigned int room = mapped->room == 0 ? ROOM_MIN : 2 * mapped->room;
	struct rp_dma_iova_range *ranges;

	if (mapped->count < mapped->room)
		return 0;
	ranges = reallocarray(mapped->ranges, room, sizeof(*ranges));
	if (ranges == NULL)
		return -ENOMEM;
	mapped->ranges = ranges;
	mapped->room = room;
	return 0;
}

void
vdrv_mapped_add(struct virtio_mapped *mapped, uint64_t iova, uint64_t size_bytes)
{
	struct rp_dma_iova_range merged = {.first = iova, .last = last_of(iova, size_bytes)};
	unsigned int from, to;

	if (size_bytes == 0)
		return;
	from = find(mapped, merged.first);
	for (to = from; to < mapped->count; to++) {
		const struct rp_dma_iova_range *other = &mapped->ranges[to];

		if (other->first > merged.last && other->first - 1 > merged.last)
			break;
		if (other->first < merged.first)
			merged.first = other->first;
		if (other->last > merged.last)
			merged.last = other->last;
	}
	replace(mapped, from, to, &merged, 1);
}

void
vdrv_mapped_remove(struct virtio_mapped *mapped, uint64_t iova, uint64_t size_bytes)
{
	struct rp_dma_iova_range pieces[2];
	unsigned int from, to, pieces_count = 0;
	uint64_t last = last_of(iova, size_bytes);

	if (size_bytes == 0)
		return;
	from = find(mapped, iova);
	if (from < mapped->count && mapped->ranges[from].last < iova)
		from++; /* it only touches */
	for (to = from; to < mapped->count && mapped->ranges[to].first <= last; to++) {
		const struct rp_dma_iova_range *other = &mapped->ranges[to];

		/* Only the first can begin before, and only the last can end behind. */
		if (other->first < iova)
			pieces[pieces_count++] = (struct rp_dma_iova_range){other->first, iova - 1};
		if (other->last > last)
			pieces[pieces_count++] = (struct rp_dma_iova_range){last + 1, other->last};
	}
	replace(mapped, from, to, pieces, pieces_count);
}

void
vdrv_mapped_release(struct virtio_mapped *mapped)
{
	free(mapped->ranges);
	*mapped = (struct virtio_mapped){0};
}

int
vdrv_mapped_copy(const struct virtio_mapped *mapped, struct virtio_mapped *ret_copy)
{
	*ret_copy = (struct virtio_mapped){0};
	if (mapped->count == 0)
		return 0;
	ret_copy->ranges = calloc(mapped->count, sizeof(*ret_copy->ranges));
	if (ret_copy->ranges == NULL)
		return -ENOMEM;
	memcpy(ret_copy->ranges, mapped->ranges, mapped->count * sizeof(*ret_copy->ranges));
	ret_copy->count = mapped->count;
	ret_copy->room = mapped->count;
	return 0;
}
