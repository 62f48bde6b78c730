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

#define MAPPINGS_MAX_DEFAULT (1u << 20)
#define BOUNCE_BYTES_MAX_DEFAULT (UINT64_C(16) << 20)
#define MAPS_MAX_DEFAULT 65536u

static uint64_t
or_default(uint64_t limit, uint64_t standard)
{
	return limit != 0 ? limit : standard;
}

void
rp_dma_store_init(struct rp_dma_store *store)
{
	rp_dma_pool_init(&store->pool);
	rp_dma_backing_init(&store->backing);
}

void
rp_dma_store_end(struct rp_dma_store *store)
{
	assert(store->backing.windows_count == 0);
	rp_dma_pool_end(&store->pool);
}

int
rp_dma_space_create(const struct rp_dma_limits *limits, struct rp_dma_space **ret_space)
{
	return rp_dma_space_create_in(limits, NULL, ret_space);
}

int
rp_dma_space_create_in(const struct rp_dma_limits *limits, struct rp_dma_store *store, struct rp_dma_space **ret_space)
{
	struct rp_dma_space *space = aligned_alloc(_Alignof(struct rp_dma_space), sizeof(*space));

	if (space == NULL)
		return -ENOMEM;
	memset(space, 0, sizeof(*space));
	pthread_mutex_init(&space->lock, NULL);
	pthread_cond_init(&space->changed, NULL);
	atomic_init(&space->table, RP_DMA_TABLE_EMPTY);
	atomic_init(&space->epoch, 1);
	space->mappings_max = (uint32_t)or_default(limits != NULL ? limits->mappings_max : 0, MAPPINGS_MAX_DEFAULT);
	rp_dma_books_init(&space->books,
			  or_default(limits != NULL ? limits->bounce_bytes_max : 0, BOUNCE_BYTES_MAX_DEFAULT),
			  or_default(limits != NULL ? limits->maps_max : 0, MAPS_MAX_DEFAULT));
	space->store = store != NULL ? store : &space->own_store;
	rp_dma_store_init(&space->own_store);
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
	rp_dma_store_end(&space->own_store);
	pthread_cond_destroy(&space->changed);
	pthread_mutex_destroy(&space->lock);
	free(space);
	return NULL;
}

/* Only the writer changes it, so the writer needs no order. */
static uint64_t
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
overlap_check(uint64_t table, uint64_t first_iova, uint64_t last_iova, struct rp_wire_why *why)
{
	struct rp_dma_entry above;

	if (!rp_dma_table_next(table, first_iova, &above) || above.first_iova > last_iova)
		return 0;
	return rp_wire_why_set(why, -EEXIST, "map: 0x%" PRIx64 " to 0x%" PRIx64 " overlaps 0x%" PRIx64 " to 0x%" PRIx64,
			       first_iova, last_iova, above.first_iova, above.last_iova);
}

static int
entry_create(struct rp_dma_space *space, const struct rp_dma_mapping *mapping, struct rp_dma_entry *entry,
	     struct rp_wire_why *why)
{
	entry->first_iova = mapping->iova;
	entry->access_mask = mapping->access_mask;
	return mapping->fd < 0 ? 0 : rp_dma_backing_get(&space->store->backing, mapping, &entry->hva, why);
}

static int
full(const struct rp_dma_space *space, struct rp_wire_why *why)
{
	return rp_wire_why_set(why, -ENOSPC, "map: there are %" PRIu32 " mappings already, the most allowed",
			       rp_dma_space_count(space));
}

int
rp_dma_space_map(struct rp_dma_space *space, const struct rp_dma_mapping *mapping, struct rp_wire_why *why)
{
	struct rp_dma_entry entry = {0};
	struct rp_dma_edit edit;
	struct rp_dma_gone gone;
	int rc;

	rc = mapping_check(mapping, &entry.last_iova, why);
	if (rc == 0)
		rc = overlap_check(current(space), mapping->iova, entry.last_iova, why);
	if (rc < 0)
		return rc;
	if (rp_dma_space_count(space) >= space->mappings_max)
		return full(space, why);
	rc = entry_create(space, mapping, &entry, why);
	if (rc < 0)
		return rc;
	rp_dma_edit_begin(&edit, &space->store->pool, current(space));
	rp_dma_edit_insert(&edit, &entry);
	if (edit.failed) {
		rp_dma_edit_abort(&edit);
		rp_dma_backing_unref(&space->store->backing, entry.hva);
		return rp_wire_why_set(why, -ENOSPC, "map: no memory");
	}
	gone = rp_dma_edit_commit(&edit);
	pthread_mutex_lock(&space->lock);
	rp_dma_space_publish(space, edit.table);
	pthread_mutex_unlock(&space->lock);
	rp_dma_space_retire(space, &gone);
	return 0;
}

/* What an erased range leaves of the mappings that straddle its ends. */
struct rests {
	struct rp_dma_entry entries[2];
	unsigned int count;
};

/* Erase a range, and put back what lies outside of it. */
static struct rests
cut(struct rp_dma_edit *edit, uint64_t first_iova, uint64_t last_iova)
{
	uint64_t erase_first_iova = first_iova, erase_last_iova = last_iova;
	struct rests rests = {.count = 0};
	struct rp_dma_entry entry;
	unsigned int i;

	if (rp_dma_table_find(edit->table, first_iova, &entry) && entry.first_iova < first_iova) {
		erase_first_iova = entry.first_iova;
		entry.last_iova = first_iova - 1;
		rests.entries[rests.count++] = entry;
	}
	if (rp_dma_table_find(edit->table, last_iova, &entry) && entry.last_iova > last_iova) {
		erase_last_iova = entry.last_iova;
		if (entry.hva != NULL)
			entry.hva += last_iova + 1 - entry.first_iova;
		entry.first_iova = last_iova + 1;
		rests.entries[rests.count++] = entry;
	}
	rp_dma_edit_erase(edit, erase_first_iova, erase_last_iova);
	for (i = 0; i < rests.count; i++)
		rp_dma_edit_insert(edit, &rests.entries[i]);
	return rests;
}

/* The rests of what is cut are mappings of their own; what was cut lets go when the change has settled. */
static void
ref_rests(struct rp_dma_space *space, const struct rests *rests)
{
	unsigned int i;

	for (i = 0; i < rests->count; i++)
		rp_dma_backing_ref(&space->store->backing, rests->entries[i].hva);
}

/* Put one mapping in the place of a range. @return 0 when `change` has begun, or a negative errno. */
static int
remap(struct rp_dma_space *space, struct rp_dma_change *change, const struct rp_dma_mapping *mapping,
      struct rp_wire_why *why)
{
	struct rp_dma_entry entry = {0};
	struct rp_dma_edit edit;
	struct rests rests;
	int rc;

	rc = mapping_check(mapping, &entry.last_iova, why);
	if (rc == 0)
		rc = entry_create(space, mapping, &entry, why);
	if (rc < 0)
		return rc;
	rp_dma_edit_begin(&edit, &space->store->pool, current(space));
	rests = cut(&edit, entry.first_iova, entry.last_iova);
	rp_dma_edit_insert(&edit, &entry);
	if (edit.failed)
		rc = rp_wire_why_set(why, -ENOSPC, "map: no memory");
	else if (rp_dma_table_count(edit.table) > space->mappings_max)
		rc = full(space, why);
	if (rc < 0) {
		rp_dma_edit_abort(&edit);
		rp_dma_backing_unref(&space->store->backing, entry.hva);
		return rc;
	}
	ref_rests(space, &rests);
	rp_dma_change_begin(space, change, &edit, entry.first_iova, entry.last_iova);
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
	struct rp_dma_entry above;
	struct rp_dma_edit edit;
	uint64_t last_iova = 0;
	struct rests rests;
	int rc;

	rc = range_check("unmap", iova, size_bytes, &last_iova, why);
	if (rc < 0)
		return rc;
	if (!rp_dma_table_next(current(space), iova, &above) || above.first_iova > last_iova)
		return 0;
	rp_dma_edit_begin(&edit, &space->store->pool, current(space));
	rests = cut(&edit, iova, last_iova);
	if (edit.failed)
		rc = rp_wire_why_set(why, -ENOSPC, "unmap: no memory");
	else if (rp_dma_table_count(edit.table) > space->mappings_max)
		rc = rp_wire_why_set(why, -ENOSPC,
				     "unmap: would split a mapping; there are %" PRIu32 ", the most allowed",
				     rp_dma_space_count(space));
	if (rc < 0) {
		rp_dma_edit_abort(&edit);
		return rc;
	}
	ref_rests(space, &rests);
	rp_dma_change_begin(space, change, &edit, iova, last_iova);
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

static void
clear(struct rp_dma_space *space, struct rp_dma_change *change)
{
	struct rp_dma_edit edit;

	rp_dma_edit_begin(&edit, &space->store->pool, current(space));
	/* All of it: nothing is copied, so nothing can fail. */
	rp_dma_edit_erase(&edit, 0, UINT64_MAX);
	rp_dma_change_begin(space, change, &edit, 0, UINT64_MAX);
}

void
rp_dma_space_clear(struct rp_dma_space *space)
{
	struct rp_dma_change change = {0};

	if (current(space) != RP_DMA_TABLE_EMPTY) {
		clear(space, &change);
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
	if (current(space) == RP_DMA_TABLE_EMPTY)
		return 0;
	change = rp_dma_change_alloc(NULL);
	if (change == NULL)
		return -ENOSPC;
	clear(space, change);
	*ret_ticket = last_ticket(space);
	return 0;
}

uint32_t
rp_dma_space_count(const struct rp_dma_space *space)
{
	return rp_dma_table_count(current(space));
}

static void
describe(const struct rp_dma_space *space, const struct rp_dma_entry *entry, struct rp_dma_mapping *ret_mapping)
{
	*ret_mapping = (struct rp_dma_mapping){
		.iova = entry->first_iova,
		.size_bytes = entry->last_iova - entry->first_iova + 1,
		.access_mask = entry->access_mask,
		.hva = entry->hva,
	};
	ret_mapping->fd = rp_dma_backing_fd(&space->store->backing, entry->hva, &ret_mapping->offset_bytes);
}

int
rp_dma_space_at(const struct rp_dma_space *space, uint32_t index, struct rp_dma_mapping *ret_mapping)
{
	struct rp_dma_entry entry;

	if (index >= rp_dma_space_count(space))
		return -EINVAL;
	rp_dma_table_at(current(space), index, &entry);
	describe(space, &entry, ret_mapping);
	return 0;
}

bool
rp_dma_space_next(const struct rp_dma_space *space, uint64_t iova, struct rp_dma_mapping *ret_mapping)
{
	struct rp_dma_entry entry;

	if (!rp_dma_table_next(current(space), iova, &entry))
		return false;
	describe(space, &entry, ret_mapping);
	return true;
}

void *
rp_dma_space_translate(const struct rp_dma_space *space, uint64_t iova, uint64_t size_bytes, uint32_t access_mask)
{
	struct rp_dma_entry entry;

	if (!rp_dma_table_find(current(space), iova, &entry) || entry.hva == NULL ||
	    (entry.access_mask & access_mask) != access_mask || size_bytes == 0 ||
	    size_bytes - 1 > entry.last_iova - iova)
		return NULL;
	return entry.hva + (iova - entry.first_iova);
}
