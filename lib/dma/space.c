/* SPDX-License-Identifier: BSD-3-Clause */
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "change.h"
#include "io.h"
#include "log.h"
#include "reader.h"

#define MAPPINGS_MAX_DEFAULT 65536u
#define BOUNCE_BYTES_MAX_DEFAULT (UINT64_C(16) << 20)
#define MAPS_MAX_DEFAULT 65536u

static uint64_t
or_default(uint64_t limit, uint64_t standard)
{
	return limit != 0 ? limit : standard;
}

int
rp_dma_space_create(const struct rp_dma_limits *limits, struct rp_dma_space **ret_space)
{
	struct rp_dma_space *space = aligned_alloc(_Alignof(struct rp_dma_space), sizeof(*space));

	if (space == NULL)
		return -ENOMEM;
	memset(space, 0, sizeof(*space));
	pthread_mutex_init(&space->lock, NULL);
	pthread_cond_init(&space->changed, NULL);
	atomic_init(&space->table, &rp_dma_table_empty);
	atomic_init(&space->epoch, 1);
	space->mappings_max = (uint32_t)or_default(limits != NULL ? limits->mappings_max : 0, MAPPINGS_MAX_DEFAULT);
	rp_dma_books_init(&space->books,
			  or_default(limits != NULL ? limits->bounce_bytes_max : 0, BOUNCE_BYTES_MAX_DEFAULT),
			  or_default(limits != NULL ? limits->maps_max : 0, MAPS_MAX_DEFAULT));
	LIST_INIT(&space->files);
	LIST_INIT(&space->readers);
	LIST_INIT(&space->holds);
	LIST_INIT(&space->completions);
	LIST_INIT(&space->listeners);
	TAILQ_INIT(&space->changes);
	*ret_space = space;
	return 0;
}

struct rp_dma_space *
rp_dma_space_destroy(struct rp_dma_space *space)
{
	if (space == NULL)
		return NULL;
	assert(LIST_EMPTY(&space->readers));
	rp_dma_books_end_waiters(space);
	rp_dma_maps_end(space);
	rp_dma_io_end_all(space);
	assert(rp_dma_bounce_used_bytes(space) == 0 && rp_dma_map_count(space) == 0);
	rp_dma_change_end_all(space);
	rp_dma_log_stop(space);
	rp_dma_space_clear(space);
	pthread_cond_destroy(&space->changed);
	pthread_mutex_destroy(&space->lock);
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
mapping_check(const struct rp_dma_mapping *mapping, uint64_t *ret_last_iova, struct rp_wire_why *why)
{
	const uint32_t known_mask = RP_DMA_READ | RP_DMA_WRITE;
	int rc;

	rc = range_check("map", mapping->iova, mapping->size_bytes, ret_last_iova, why);
	if (rc < 0)
		return rc;
	if (mapping->access_mask == 0 || (mapping->access_mask & ~known_mask) != 0)
		return rp_wire_why_set(why, -EBADMSG, "map: access: is 0x%" PRIx32 ", expected read, write or both",
				       mapping->access_mask);
	if (mapping->fd < -1)
		return rp_wire_why_set(why, -EBADMSG, "map: file: is descriptor %d", mapping->fd);
	return 0;
}

static int
overlap_check(const struct rp_dma_table *table, uint64_t first_iova, uint64_t last_iova, struct rp_wire_why *why)
{
	uint32_t above = rp_dma_table_lower(table, first_iova);

	if (above == table->count || table->entries[above].first_iova > last_iova)
		return 0;
	return rp_wire_why_set(why, -EEXIST, "map: 0x%" PRIx64 " to 0x%" PRIx64 " overlaps 0x%" PRIx64 " to 0x%" PRIx64,
			       first_iova, last_iova, table->entries[above].first_iova,
			       table->entries[above].last_iova);
}

static int
entry_create(struct rp_dma_space *space, const struct rp_dma_mapping *mapping, struct rp_dma_entry *entry,
	     struct rp_wire_why *why)
{
	entry->first_iova = mapping->iova;
	entry->access_mask = mapping->access_mask;
	if (mapping->fd < 0)
		return 0;
	entry->offset_bytes = mapping->offset_bytes;
	return rp_dma_backing_create(&space->files, mapping, &entry->backing, &entry->hva, why);
}

int
rp_dma_space_map(struct rp_dma_space *space, const struct rp_dma_mapping *mapping, struct rp_wire_why *why)
{
	const struct rp_dma_table *table = current(space);
	struct rp_dma_entry entry = {0};
	struct rp_dma_table *next;
	int rc;

	rc = mapping_check(mapping, &entry.last_iova, why);
	if (rc == 0)
		rc = overlap_check(table, mapping->iova, entry.last_iova, why);
	if (rc < 0)
		return rc;
	if (table->count >= space->mappings_max)
		return rp_wire_why_set(why, -ENOSPC, "map: there are %" PRIu32 " mappings already, the most allowed",
				       table->count);
	rc = entry_create(space, mapping, &entry, why);
	if (rc < 0)
		return rc;
	next = rp_dma_table_with(table, &entry);
	if (next == NULL) {
		rp_dma_backing_unref(entry.backing);
		return rp_wire_why_set(why, -ENOSPC, "map: no memory");
	}
	pthread_mutex_lock(&space->lock);
	rp_dma_space_publish(space, next);
	pthread_mutex_unlock(&space->lock);
	rp_dma_space_retire(space, table);
	return 0;
}

/* Put one mapping in the place of a range. @return 0 when `change` has begun, or a negative errno. */
static int
remap(struct rp_dma_space *space, struct rp_dma_change *change, const struct rp_dma_mapping *mapping,
      struct rp_wire_why *why)
{
	struct rp_dma_entry entry = {0};
	struct rp_dma_table *next;
	int rc;

	rc = mapping_check(mapping, &entry.last_iova, why);
	if (rc < 0)
		return rc;
	if (rp_dma_table_count_without(current(space), mapping->iova, entry.last_iova) >= space->mappings_max)
		return rp_wire_why_set(why, -ENOSPC, "map: there are %" PRIu32 " mappings already, the most allowed",
				       current(space)->count);
	rc = entry_create(space, mapping, &entry, why);
	if (rc < 0)
		return rc;
	next = rp_dma_table_replaced(current(space), &entry);
	if (next == NULL) {
		rp_dma_backing_unref(entry.backing);
		return rp_wire_why_set(why, -ENOSPC, "map: no memory");
	}
	rp_dma_change_begin(space, change, next, entry.first_iova, entry.last_iova);
	return 0;
}

int
rp_dma_space_remap(struct rp_dma_space *space, const struct rp_dma_mapping *mapping, struct rp_wire_why *why)
{
	struct rp_dma_change change = {0};
	int rc = remap(space, &change, mapping, why);

	if (rc == 0)
		rp_dma_change_wait(space, &change);
	return rc;
}

/* Take what lies in a range. @return 1 when `change` has begun, 0 when nothing was there, or a negative errno. */
static int
unmap(struct rp_dma_space *space, struct rp_dma_change *change, uint64_t iova, uint64_t size_bytes,
      struct rp_wire_why *why)
{
	const struct rp_dma_table *table = current(space);
	struct rp_dma_table *next;
	uint64_t last_iova = 0;
	uint32_t first_index;
	int rc;

	rc = range_check("unmap", iova, size_bytes, &last_iova, why);
	if (rc < 0)
		return rc;
	first_index = rp_dma_table_lower(table, iova);
	if (first_index == table->count || table->entries[first_index].first_iova > last_iova)
		return 0;
	if (rp_dma_table_count_without(table, iova, last_iova) > space->mappings_max)
		return rp_wire_why_set(why, -ENOSPC,
				       "unmap: would split a mapping; there are %" PRIu32 ", the most allowed",
				       table->count);
	next = rp_dma_table_without(table, iova, last_iova);
	if (next == NULL)
		return rp_wire_why_set(why, -ENOSPC, "unmap: no memory");
	rp_dma_change_begin(space, change, next, iova, last_iova);
	return 1;
}

int
rp_dma_space_unmap(struct rp_dma_space *space, uint64_t iova, uint64_t size_bytes, struct rp_wire_why *why)
{
	struct rp_dma_change change = {0};
	int rc = unmap(space, &change, iova, size_bytes, why);

	if (rc == 1)
		rp_dma_change_wait(space, &change);
	return rc < 0 ? rc : 0;
}

void
rp_dma_space_clear(struct rp_dma_space *space)
{
	struct rp_dma_change change = {0};

	if (current(space) != &rp_dma_table_empty) {
		rp_dma_change_begin(space, &change, &rp_dma_table_empty, 0, UINT64_MAX);
		rp_dma_change_wait(space, &change);
	}
	rp_dma_change_wait_all(space);
	rp_dma_space_synchronize(space);
}

/* Of the last change. Take stock at once: most changes have nobody to wait for. */
static uint64_t
last_ticket(struct rp_dma_space *space)
{
	return rp_dma_space_settled(space, space->ticket) ? RP_DMA_SETTLED : space->ticket;
}

int
rp_dma_space_remap_start(struct rp_dma_space *space, const struct rp_dma_mapping *mapping, uint64_t *ret_ticket,
			 struct rp_wire_why *why)
{
	struct rp_dma_change *change = rp_dma_change_alloc(why);
	int rc;

	if (change == NULL)
		return -ENOSPC;
	rc = remap(space, change, mapping, why);
	if (rc < 0)
		rp_dma_change_free(change);
	else
		*ret_ticket = last_ticket(space);
	return rc;
}

int
rp_dma_space_unmap_start(struct rp_dma_space *space, uint64_t iova, uint64_t size_bytes, uint64_t *ret_ticket,
			 struct rp_wire_why *why)
{
	struct rp_dma_change *change = rp_dma_change_alloc(why);
	int rc;

	if (change == NULL)
		return -ENOSPC;
	rc = unmap(space, change, iova, size_bytes, why);
	if (rc == 1) {
		*ret_ticket = last_ticket(space);
		return 0;
	}
	rp_dma_change_free(change);
	if (rc == 0)
		*ret_ticket = RP_DMA_SETTLED;
	return rc;
}

int
rp_dma_space_clear_start(struct rp_dma_space *space, uint64_t *ret_ticket)
{
	struct rp_dma_change *change;

	*ret_ticket = RP_DMA_SETTLED;
	if (current(space) == &rp_dma_table_empty)
		return 0;
	change = rp_dma_change_alloc(NULL);
	if (change == NULL)
		return -ENOSPC;
	rp_dma_change_begin(space, change, &rp_dma_table_empty, 0, UINT64_MAX);
	*ret_ticket = last_ticket(space);
	return 0;
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
