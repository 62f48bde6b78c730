/* SPDX-License-Identifier: BSD-3-Clause */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "edit.h"

/*
 * Theory of operation. Each node and bucket says which edit made it: that edit may
 * change it in place, every other one copies it first. What is replaced goes to the
 * edit's list of what is gone; what the edit made itself and replaced again is only
 * marked, and freed when it ends. Mappings that were erased are marked where they
 * begin, in the old node or bucket, so that no memory is needed to remember them, and
 * each is dropped once however many slots it filled.
 */

/* With so few a node is not worth its memory; well below what makes one, or they would alternate. */
#define COLLAPSE_MAX 3u

/* The addresses of a slot. */
struct place {
	uint64_t first;
	uint64_t last;
	unsigned int span; /* 2^span of them */
};

struct range {
	uint64_t first;
	uint64_t last;
};

/* A mapping on its way into the slots of one node. */
struct newcomer {
	const struct rp_dma_entry *entry;
	uint64_t filling; /* the bucket of the slots that it fills, this node's only; 0: not made yet */
};

static const struct place everywhere = {0, UINT64_MAX, RP_DMA_TABLE_SPAN};

static struct place
place_of(const struct rp_dma_node *node, unsigned int index)
{
	uint64_t first = node->first_iova + ((uint64_t)index << node->shift);

	return (struct place){first, first + ((UINT64_C(1) << node->shift) - 1), node->shift};
}

static uint64_t
higher(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

static uint64_t
lower(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static bool
is_node(uint64_t slot)
{
	return rp_dma_slot_kind(slot) == RP_DMA_SLOT_NODE || rp_dma_slot_kind(slot) == RP_DMA_SLOT_SKIP;
}

static uint64_t
slot_of_node(const struct rp_dma_node *node, unsigned int span)
{
	return (uint64_t)(uintptr_t)node |
	       (node->shift + RP_DMA_NODE_BITS == span ? RP_DMA_SLOT_NODE : RP_DMA_SLOT_SKIP);
}

static uint64_t
slot_of_bucket(const struct rp_dma_bucket *bucket)
{
	return (uint64_t)(uintptr_t)bucket;
}

static struct rp_dma_node *
make_node(struct rp_dma_edit *edit)
{
	struct rp_dma_node *node = rp_dma_pool_get(edit->pool);

	if (node == NULL) {
		edit->failed = true;
		return NULL;
	}
	node->gone = false;
	node->gone_mask = 0;
	node->edit_number = edit->number;
	node->next = edit->made_nodes;
	edit->made_nodes = node;
	return node;
}

static struct rp_dma_bucket *
make_bucket(struct rp_dma_edit *edit, unsigned int count)
{
	struct rp_dma_bucket *bucket = malloc(sizeof(*bucket) + count * sizeof(bucket->entries[0]));

	if (bucket == NULL) {
		edit->failed = true;
		return NULL;
	}
	bucket->gone = false;
	bucket->gone_mask = 0;
	bucket->count = (uint8_t)count;
	bucket->edit_number = edit->number;
	bucket->next = edit->made_buckets;
	edit->made_buckets = bucket;
	return bucket;
}

static void
retire_node(struct rp_dma_edit *edit, struct rp_dma_node *node)
{
	node->gone = true;
	if (node->edit_number == edit->number)
		return;
	node->next = edit->gone.nodes;
	edit->gone.nodes = node;
}

static void
retire_bucket(struct rp_dma_edit *edit, struct rp_dma_bucket *bucket)
{
	if (bucket->gone)
		return;
	bucket->gone = true;
	if (bucket->edit_number == edit->number)
		return;
	bucket->next = edit->gone.buckets;
	edit->gone.buckets = bucket;
}

/* One that this edit may change. @return NULL: no memory. */
static struct rp_dma_node *
own_node(struct rp_dma_edit *edit, struct rp_dma_node *old)
{
	struct rp_dma_node *node;

	if (old->edit_number == edit->number)
		return old;
	node = make_node(edit);
	if (node == NULL)
		return NULL;
	memcpy(node->slots, old->slots, sizeof(node->slots));
	node->first_iova = old->first_iova;
	node->starts_count = old->starts_count;
	node->shift = old->shift;
	retire_node(edit, old);
	return node;
}

static bool
is_erased(const struct rp_dma_entry *entry, const struct range *range)
{
	return entry->first_iova <= range->last && entry->last_iova >= range->first;
}

/* Everything below the slot goes; its mappings are erased, or have been put elsewhere. */
static void
bury(struct rp_dma_edit *edit, uint64_t slot, struct place place, bool erased)
{
	unsigned int i;

	if (is_node(slot)) {
		struct rp_dma_node *node = rp_dma_slot_node(slot);

		for (i = 0; i < RP_DMA_NODE_SLOTS; i++) {
			if (rp_dma_slot_kind(node->slots[i]) != RP_DMA_SLOT_PAGE)
				bury(edit, node->slots[i], place_of(node, i), erased);
			else if (erased)
				node->gone_mask |= UINT64_C(1) << i;
		}
		retire_node(edit, node);
	} else if (slot != 0) {
		struct rp_dma_bucket *bucket = rp_dma_slot_bucket(slot);

		for (i = 0; erased && i < bucket->count; i++) {
			if (bucket->entries[i].first_iova >= place.first)
				bucket->gone_mask |= (uint8_t)(1u << i);
		}
		retire_bucket(edit, bucket);
	}
}

/* @return the slot after it; *starts_count mappings more began there and are gone. */
static uint64_t
erase_from_bucket(struct rp_dma_edit *edit, uint64_t slot, struct place place, const struct range *range,
		  uint32_t *starts_count)
{
	struct rp_dma_bucket *bucket = rp_dma_slot_bucket(slot), *kept = NULL;
	unsigned int i, kept_count = 0;
	uint8_t begins_mask = 0;

	for (i = 0; i < bucket->count; i++) {
		if (!is_erased(&bucket->entries[i], range))
			kept_count++;
		else if (bucket->entries[i].first_iova >= place.first)
			begins_mask |= (uint8_t)(1u << i);
	}
	if (kept_count == bucket->count)
		return slot;
	if (kept_count > 0) {
		kept = make_bucket(edit, kept_count);
		if (kept == NULL)
			return slot;
		for (i = kept_count = 0; i < bucket->count; i++) {
			if (!is_erased(&bucket->entries[i], range))
				kept->entries[kept_count++] = bucket->entries[i];
		}
	}
	*starts_count += (uint32_t)__builtin_popcount(begins_mask);
	bucket->gone_mask |= begins_mask;
	retire_bucket(edit, bucket);
	return slot_of_bucket(kept);
}

/* Up to `max` mappings below a slot, in order, those that fill several slots once. @return how many, or max + 1. */
static unsigned int
collect(uint64_t slot, uint64_t first, unsigned int max, struct rp_dma_entry *entries)
{
	unsigned int count = 0;
	uint64_t iova = first;

	while (count <= max && rp_dma_table_next(slot, iova, &entries[count])) {
		iova = entries[count++].last_iova + 1;
		if (iova == 0)
			break;
	}
	return count;
}

static uint64_t
only_child(const struct rp_dma_node *node)
{
	uint64_t child = 0;
	unsigned int i;

	for (i = 0; i < RP_DMA_NODE_SLOTS; i++) {
		if (node->slots[i] == 0)
			continue;
		if (child != 0)
			return 0;
		child = node->slots[i];
	}
	return is_node(child) ? child : 0;
}

/* What is to stand in the place of a node from which something was erased: less than a node, if that will do. */
static uint64_t
tidy(struct rp_dma_edit *edit, struct rp_dma_node *node, struct place place)
{
	struct rp_dma_entry entries[COLLAPSE_MAX + 2];
	uint64_t slot = slot_of_node(node, place.span), child;
	struct rp_dma_bucket *bucket;
	unsigned int count;

	child = only_child(node);
	if (child != 0) {
		retire_node(edit, node);
		return slot_of_node(rp_dma_slot_node(child), place.span);
	}
	if (node->starts_count > COLLAPSE_MAX)
		return slot;
	/* One may begin before the node. */
	count = collect(slot, node->first_iova, COLLAPSE_MAX + 1, entries);
	assert(count <= COLLAPSE_MAX + 1);
	if (count == 0) {
		bury(edit, slot, place, false);
		return 0;
	}
	bucket = make_bucket(edit, count);
	if (bucket == NULL)
		return slot;
	memcpy(bucket->entries, entries, count * sizeof(entries[0]));
	bury(edit, slot, place, false);
	return slot_of_bucket(bucket);
}

static uint64_t
erase_from_node(struct rp_dma_edit *edit, uint64_t slot, struct place place, const struct range *range,
		uint32_t *starts_count)
{
	struct rp_dma_node *old = rp_dma_slot_node(slot), *node;
	uint64_t first = higher(range->first, old->first_iova), last = lower(range->last, rp_dma_node_last(old));
	unsigned int i;

	if (first > last)
		return slot;
	if (first == old->first_iova && last == rp_dma_node_last(old)) {
		*starts_count += old->starts_count;
		bury(edit, slot, place, true);
		return 0;
	}
	assert(old->edit_number != edit->number);
	node = own_node(edit, old);
	if (node == NULL)
		return slot;
	for (i = rp_dma_node_index(node, first); i <= rp_dma_node_index(node, last); i++) {
		struct place within = place_of(node, i);
		uint32_t gone_count = 0;

		if (rp_dma_slot_kind(node->slots[i]) == RP_DMA_SLOT_PAGE) {
			old->gone_mask |= UINT64_C(1) << i;
			node->slots[i] = 0;
			gone_count = 1;
		} else if (is_node(node->slots[i])) {
			node->slots[i] = erase_from_node(edit, node->slots[i], within, range, &gone_count);
		} else if (node->slots[i] != 0) {
			node->slots[i] = erase_from_bucket(edit, node->slots[i], within, range, &gone_count);
		}
		node->starts_count -= gone_count;
		*starts_count += gone_count;
	}
	return edit->failed ? slot : tidy(edit, node, place);
}

static uint64_t insert_into_slot(struct rp_dma_edit *edit, uint64_t slot, struct place place,
				 struct newcomer *newcomer);

/* The smallest node that has both addresses, with nothing in it. */
static struct rp_dma_node *
make_node_around(struct rp_dma_edit *edit, uint64_t first, uint64_t last)
{
	unsigned int highest_bit = 63u - (unsigned int)__builtin_clzll((first ^ last) | 1);
	struct rp_dma_node *node = make_node(edit);

	if (node == NULL)
		return NULL;
	memset(node->slots, 0, sizeof(node->slots));
	node->starts_count = 0;
	node->shift = (uint8_t)(highest_bit / RP_DMA_NODE_BITS * RP_DMA_NODE_BITS);
	node->first_iova = first & ~((UINT64_C(1) << RP_DMA_NODE_BITS << node->shift) - 1);
	return node;
}

/* Into a node of this edit, as far as it touches it. */
static void
insert_into_node(struct rp_dma_edit *edit, struct rp_dma_node *node, const struct rp_dma_entry *entry)
{
	uint64_t first = higher(entry->first_iova, node->first_iova);
	uint64_t last = lower(entry->last_iova, rp_dma_node_last(node));
	struct newcomer newcomer = {.entry = entry};
	unsigned int i;

	for (i = rp_dma_node_index(node, first); i <= rp_dma_node_index(node, last); i++)
		node->slots[i] = insert_into_slot(edit, node->slots[i], place_of(node, i), &newcomer);
	node->starts_count += entry->first_iova >= node->first_iova;
}

static uint64_t
insert_below(struct rp_dma_edit *edit, uint64_t slot, struct place place, const struct rp_dma_entry *entry)
{
	struct rp_dma_node *old = rp_dma_slot_node(slot), *node;
	uint64_t first = higher(entry->first_iova, place.first), last = lower(entry->last_iova, place.last);

	if (first >= old->first_iova && last <= rp_dma_node_last(old)) {
		node = own_node(edit, old);
		if (node == NULL)
			return slot;
	} else {
		/* It lies beside what all others are close together in. */
		node = make_node_around(edit, lower(first, old->first_iova), higher(last, rp_dma_node_last(old)));
		if (node == NULL)
			return slot;
		node->slots[rp_dma_node_index(node, old->first_iova)] = slot_of_node(old, node->shift);
		node->starts_count = old->starts_count;
	}
	insert_into_node(edit, node, entry);
	return slot_of_node(node, place.span);
}

/* Nothing is in the slot. */
static uint64_t
fill(struct rp_dma_edit *edit, struct place place, struct newcomer *newcomer)
{
	const struct rp_dma_entry *entry = newcomer->entry;
	uint64_t hva = (uint64_t)(uintptr_t)entry->hva;
	bool fills = entry->first_iova <= place.first && entry->last_iova >= place.last;
	struct rp_dma_bucket *bucket;

	if (entry->first_iova == place.first && entry->last_iova == place.last && place.span < 64 &&
	    (hva & ~RP_DMA_PAGE_HVA_MASK) == 0)
		return hva | (uint64_t)entry->access_mask << RP_DMA_PAGE_ACCESS_SHIFT | RP_DMA_SLOT_PAGE;
	if (fills && newcomer->filling != 0)
		return newcomer->filling;
	bucket = make_bucket(edit, 1);
	if (bucket == NULL)
		return 0;
	bucket->entries[0] = *entry;
	if (fills)
		newcomer->filling = slot_of_bucket(bucket);
	return slot_of_bucket(bucket);
}

/* The bucket has no room: its mappings and the new one go into a node. */
static uint64_t
burst(struct rp_dma_edit *edit, uint64_t slot, struct place place, const struct rp_dma_entry *entry)
{
	struct rp_dma_bucket *bucket = rp_dma_slot_bucket(slot);
	const struct rp_dma_entry *entries = bucket->entries;
	uint64_t first = lower(entries[0].first_iova, entry->first_iova);
	uint64_t last = higher(entries[bucket->count - 1].last_iova, entry->last_iova);
	struct rp_dma_node *node = make_node_around(edit, higher(first, place.first), lower(last, place.last));
	unsigned int i;

	if (node == NULL)
		return slot;
	for (i = 0; i < bucket->count; i++)
		insert_into_node(edit, node, &entries[i]);
	insert_into_node(edit, node, entry);
	retire_bucket(edit, bucket);
	return slot_of_node(node, place.span);
}

static uint64_t
insert_into_bucket(struct rp_dma_edit *edit, uint64_t slot, struct place place, const struct rp_dma_entry *entry)
{
	struct rp_dma_bucket *old = rp_dma_slot_bucket(slot), *bucket;
	unsigned int at = 0;

	if (old->count == RP_DMA_BUCKET_MAX)
		return burst(edit, slot, place, entry);
	bucket = make_bucket(edit, old->count + 1u);
	if (bucket == NULL)
		return slot;
	while (at < old->count && old->entries[at].last_iova < entry->first_iova)
		at++;
	memcpy(bucket->entries, old->entries, at * sizeof(old->entries[0]));
	bucket->entries[at] = *entry;
	memcpy(&bucket->entries[at + 1], &old->entries[at], (old->count - at) * sizeof(old->entries[0]));
	retire_bucket(edit, old);
	return slot_of_bucket(bucket);
}

static uint64_t
insert_into_slot(struct rp_dma_edit *edit, uint64_t slot, struct place place, struct newcomer *newcomer)
{
	if (edit->failed)
		return slot;
	if (slot == 0)
		return fill(edit, place, newcomer);
	if (is_node(slot))
		return insert_below(edit, slot, place, newcomer->entry);
	assert(rp_dma_slot_kind(slot) == RP_DMA_SLOT_BUCKET);
	return insert_into_bucket(edit, slot, place, newcomer->entry);
}

void
rp_dma_edit_begin(struct rp_dma_edit *edit, struct rp_dma_pool *pool, uint64_t table)
{
	*edit = (struct rp_dma_edit){.pool = pool, .table = table, .number = ++pool->edits_count};
}

void
rp_dma_edit_erase(struct rp_dma_edit *edit, uint64_t first_iova, uint64_t last_iova)
{
	const struct range range = {first_iova, last_iova};
	uint32_t starts_count = 0;

	if (is_node(edit->table))
		edit->table = erase_from_node(edit, edit->table, everywhere, &range, &starts_count);
	else if (edit->table != 0)
		edit->table = erase_from_bucket(edit, edit->table, everywhere, &range, &starts_count);
}

void
rp_dma_edit_insert(struct rp_dma_edit *edit, const struct rp_dma_entry *entry)
{
	struct newcomer newcomer = {.entry = entry};

	edit->table = insert_into_slot(edit, edit->table, everywhere, &newcomer);
}

/* What the edit made: all of it, or what it replaced itself. */
static void
free_made(struct rp_dma_edit *edit, bool all)
{
	struct rp_dma_node *node, *next_node;
	struct rp_dma_bucket *bucket, *next_bucket;

	for (node = edit->made_nodes; node != NULL; node = next_node) {
		next_node = node->next;
		if (all || node->gone)
			rp_dma_pool_put(edit->pool, node);
	}
	for (bucket = edit->made_buckets; bucket != NULL; bucket = next_bucket) {
		next_bucket = bucket->next;
		if (all || bucket->gone)
			free(bucket);
	}
}

struct rp_dma_gone
rp_dma_edit_commit(struct rp_dma_edit *edit)
{
	assert(!edit->failed);
	free_made(edit, false);
	return edit->gone;
}

void
rp_dma_edit_abort(struct rp_dma_edit *edit)
{
	struct rp_dma_node *node;
	struct rp_dma_bucket *bucket;

	for (node = edit->gone.nodes; node != NULL; node = node->next) {
		node->gone = false;
		node->gone_mask = 0;
	}
	for (bucket = edit->gone.buckets; bucket != NULL; bucket = bucket->next) {
		bucket->gone = false;
		bucket->gone_mask = 0;
	}
	free_made(edit, true);
}

static void
dispose_of_node(struct rp_dma_node *node, void (*drop)(void *ctx, uint8_t *hva), void *ctx)
{
	struct rp_dma_entry entry;
	uint64_t mask;

	for (mask = node->gone_mask; drop != NULL && mask != 0; mask &= mask - 1) {
		rp_dma_slot_page(node->slots[__builtin_ctzll(mask)], 0, node->shift, &entry);
		if (entry.hva != NULL)
			drop(ctx, entry.hva);
	}
}

void
rp_dma_gone_dispose(struct rp_dma_gone *gone, struct rp_dma_pool *pool, void (*drop)(void *ctx, uint8_t *hva),
		    void *ctx)
{
	struct rp_dma_node *node, *next_node;
	struct rp_dma_bucket *bucket, *next_bucket;
	unsigned int i;

	for (node = gone->nodes; node != NULL; node = next_node) {
		next_node = node->next;
		dispose_of_node(node, drop, ctx);
		rp_dma_pool_put(pool, node);
	}
	for (bucket = gone->buckets; bucket != NULL; bucket = next_bucket) {
		next_bucket = bucket->next;
		for (i = 0; i < bucket->count; i++) {
			if (drop != NULL && (bucket->gone_mask & 1u << i) != 0 && bucket->entries[i].hva != NULL)
				drop(ctx, bucket->entries[i].hva);
		}
		free(bucket);
	}
	*gone = (struct rp_dma_gone){0};
}
