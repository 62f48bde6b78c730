/* SPDX-License-Identifier: BSD-3-Clause */
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "reader.h"

#define MAPPINGS_MAX_DEFAULT 65536u

int
rp_dma_space_create(const struct rp_dma_limits *limits, struct rp_dma_space **ret_space)
{
	struct rp_dma_space *space = calloc(1, sizeof(*space));

	if (space == NULL)
		return -ENOMEM;
	atomic_init(&space->table, &rp_dma_table_empty);
	atomic_init(&space->epoch, 1);
	space->mappings_max = MAPPINGS_MAX_DEFAULT;
	if (limits != NULL && limits->mappings_max != 0)
		space->mappings_max = limits->mappings_max;
	LIST_INIT(&space->files);
	LIST_INIT(&space->readers);
	*ret_space = space;
	return 0;
}

struct rp_dma_space *
rp_dma_space_destroy(struct rp_dma_space *space)
{
	if (space == NULL)
		return NULL;
	assert(LIST_EMPTY(&space->readers));
	rp_dma_space_clear(space);
	free(space);
	return NULL;
}

/* Only the writer changes it, so the writer needs no order. */
static const struct rp_dma_table *
current(const struct rp_dma_space *space)
{
	return atomic_load_explicit(&space->table, memory_order_relaxed);
}

static int
range_check(const char *verb, uint64_t iova, uint64_t size_bytes, uint64_t *ret_last_iova, struct rp_wire_why *why)
{
	if (size_bytes == 0)
		return rp_wire_why_set(why, -EBADMSG, "%s: size: is 0", verb);
	if (__builtin_add_overflow(iova, size_bytes - 1, ret_last_iova))
		return rp_wire_why_set(why, -EBADMSG,
				       "%s: address 0x%" PRIx64 " and size 0x%" PRIx64 " end beyond 2^64", verb, iova,
				       size_bytes);
	return 0;
}

static int
mapping_check(const struct rp_dma_space *space, const struct rp_dma_mapping *mapping, uint64_t *ret_last_iova,
	      struct rp_wire_why *why)
{
	const struct rp_dma_table *table = current(space);
	const uint32_t known_mask = RP_DMA_READ | RP_DMA_WRITE;
	uint32_t above;
	int rc;

	rc = range_check("map", mapping->iova, mapping->size_bytes, ret_last_iova, why);
	if (rc < 0)
		return rc;
	if (mapping->access_mask == 0 || (mapping->access_mask & ~known_mask) != 0)
		return rp_wire_why_set(why, -EBADMSG, "map: access: is 0x%" PRIx32 ", expected read, write or both",
				       mapping->access_mask);
	if (mapping->fd < -1)
		return rp_wire_why_set(why, -EBADMSG, "map: file: is descriptor %d", mapping->fd);
	above = rp_dma_table_lower(table, mapping->iova);
	if (above < table->count && table->entries[above].first_iova <= *ret_last_iova)
		return rp_wire_why_set(why, -EEXIST,
				       "map: 0x%" PRIx64 " to 0x%" PRIx64 " overlaps 0x%" PRIx64 " to 0x%" PRIx64,
				       mapping->iova, *ret_last_iova, table->entries[above].first_iova,
				       table->entries[above].last_iova);
	if (table->count >= space->mappings_max)
		return rp_wire_why_set(why, -ENOSPC, "map: there are %" PRIu32 " mappings already, the most allowed",
				       table->count);
	return 0;
}

int
rp_dma_space_map(struct rp_dma_space *space, const struct rp_dma_mapping *mapping, struct rp_wire_why *why)
{
	struct rp_dma_entry entry = {
		.first_iova = mapping->iova,
		.access_mask = mapping->access_mask,
	};
	struct rp_dma_table *next;
	int rc;

	rc = mapping_check(space, mapping, &entry.last_iova, why);
	if (rc < 0)
		return rc;
	if (mapping->fd >= 0) {
		entry.offset_bytes = mapping->offset_bytes;
		rc = rp_dma_backing_create(&space->files, mapping, &entry.backing, &entry.hva, why);
		if (rc < 0)
			return rc;
	}
	next = rp_dma_table_with(current(space), &entry);
	if (next == NULL) {
		rp_dma_backing_unref(entry.backing);
		return rp_wire_why_set(why, -ENOSPC, "map: no memory");
	}
	rp_dma_space_retire(space, rp_dma_space_publish(space, next));
	return 0;
}

/* Every entry holds one reference in the space's name; an entry that is cut goes on as one or two. */
static void
ref_rests(const struct rp_dma_table *table, uint64_t first_iova, uint64_t last_iova)
{
	const struct rp_dma_entry *left = rp_dma_table_find(table, first_iova);
	const struct rp_dma_entry *right = rp_dma_table_find(table, last_iova);

	if (left != NULL && left->first_iova < first_iova)
		rp_dma_backing_ref(left->backing);
	if (right != NULL && right->last_iova > last_iova)
		rp_dma_backing_ref(right->backing);
}

/* Publish what is left, and when nobody can reach the range any more, let go of what was there. */
static void
replace_range(struct rp_dma_space *space, const struct rp_dma_table *next, uint64_t first_iova, uint64_t last_iova)
{
	const struct rp_dma_table *old = current(space);
	uint32_t i;

	ref_rests(old, first_iova, last_iova);
	rp_dma_space_publish(space, next);
	rp_dma_space_synchronize(space);
	for (i = rp_dma_table_lower(old, first_iova); i < old->count && old->entries[i].first_iova <= last_iova; i++)
		rp_dma_backing_unref(old->entries[i].backing);
	rp_dma_table_free(old);
}

int
rp_dma_space_unmap(struct rp_dma_space *space, uint64_t iova, uint64_t size_bytes, struct rp_wire_why *why)
{
	const struct rp_dma_table *table = current(space);
	struct rp_dma_table *next;
	uint64_t last_iova = 0;
	uint32_t first_index, left_count;
	int rc;

	rc = range_check("unmap", iova, size_bytes, &last_iova, why);
	if (rc < 0)
		return rc;
	first_index = rp_dma_table_lower(table, iova);
	if (first_index == table->count || table->entries[first_index].first_iova > last_iova)
		return 0;
	left_count = rp_dma_table_count_without(table, iova, last_iova);
	if (left_count > space->mappings_max)
		return rp_wire_why_set(why, -ENOSPC,
				       "unmap: would split a mapping; there are %" PRIu32 ", the most allowed",
				       table->count);
	next = rp_dma_table_without(table, iova, last_iova);
	if (next == NULL)
		return rp_wire_why_set(why, -ENOSPC, "unmap: no memory");
	replace_range(space, next, iova, last_iova);
	return 0;
}

void
rp_dma_space_clear(struct rp_dma_space *space)
{
	if (current(space) != &rp_dma_table_empty)
		replace_range(space, &rp_dma_table_empty, 0, UINT64_MAX);
	else
		rp_dma_space_synchronize(space);
}

uint32_t
rp_dma_space_count(const struct rp_dma_space *space)
{
	return current(space)->count;
}

int
rp_dma_space_at(const struct rp_dma_space *space, uint32_t index, struct rp_dma_mapping *ret_mapping)
{
	const struct rp_dma_table *table = current(space);
	const struct rp_dma_entry *entry;

	if (index >= table->count)
		return -EINVAL;
	entry = &table->entries[index];
	*ret_mapping = (struct rp_dma_mapping){
		.iova = entry->first_iova,
		.size_bytes = entry->last_iova - entry->first_iova + 1,
		.offset_bytes = entry->offset_bytes,
		.access_mask = entry->access_mask,
		.fd = rp_dma_backing_fd(entry->backing),
		.hva = entry->hva,
	};
	return 0;
}

void *
rp_dma_space_translate(const struct rp_dma_space *space, uint64_t iova, uint64_t size_bytes, uint32_t access_mask)
{
	const struct rp_dma_entry *entry = rp_dma_table_find(current(space), iova);

	if (entry == NULL || entry->hva == NULL || (entry->access_mask & access_mask) != access_mask ||
	    size_bytes == 0 || size_bytes - 1 > entry->last_iova - iova)
		return NULL;
	return entry->hva + (iova - entry->first_iova);
}
