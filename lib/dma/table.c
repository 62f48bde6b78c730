/* SPDX-License-Identifier: BSD-3-Clause */
#include <assert.h>

#include "table.h"

static uint64_t
first_of_slot(const struct rp_dma_node *node, unsigned int index)
{
	return node->first_iova + ((uint64_t)index << node->shift);
}

static bool
next_in_bucket(const struct rp_dma_bucket *bucket, uint64_t iova, struct rp_dma_entry *ret_entry)
{
	unsigned int i;

	for (i = 0; i < bucket->count; i++) {
		if (bucket->entries[i].last_iova >= iova) {
			*ret_entry = bucket->entries[i];
			return true;
		}
	}
	return false;
}

static bool next_in_node(const struct rp_dma_node *node, uint64_t iova, struct rp_dma_entry *ret_entry);

/* `first` is the slot's first address; the slot ends at `iova` or above. */
static bool
next_in_slot(uint64_t slot, uint64_t first, unsigned int span, uint64_t iova, struct rp_dma_entry *ret_entry)
{
	switch (rp_dma_slot_kind(slot)) {
	case RP_DMA_SLOT_NODE:
	case RP_DMA_SLOT_SKIP:
		return next_in_node(rp_dma_slot_node(slot), iova, ret_entry);
	case RP_DMA_SLOT_PAGE:
		rp_dma_slot_page(slot, first, span, ret_entry);
		return true;
	case RP_DMA_SLOT_BUCKET:
	default:
		return slot != 0 && next_in_bucket(rp_dma_slot_bucket(slot), iova, ret_entry);
	}
}

static bool
next_in_node(const struct rp_dma_node *node, uint64_t iova, struct rp_dma_entry *ret_entry)
{
	unsigned int i;

	if (iova > rp_dma_node_last(node))
		return false;
	for (i = iova <= node->first_iova ? 0 : rp_dma_node_index(node, iova); i < RP_DMA_NODE_SLOTS; i++) {
		if (next_in_slot(node->slots[i], first_of_slot(node, i), node->shift, iova, ret_entry))
			return true;
	}
	return false;
}

bool
rp_dma_table_next(uint64_t table, uint64_t iova, struct rp_dma_entry *ret_entry)
{
	return next_in_slot(table, 0, RP_DMA_TABLE_SPAN, iova, ret_entry);
}

/* A bucket's mappings may begin in a slot before it: those are counted there. */
static uint32_t
starts_in_bucket(const struct rp_dma_bucket *bucket, uint64_t first)
{
	uint32_t i, count = 0;

	for (i = 0; i < bucket->count; i++)
		count += bucket->entries[i].first_iova >= first;
	return count;
}

static uint32_t
starts_in_slot(uint64_t slot, uint64_t first)
{
	switch (rp_dma_slot_kind(slot)) {
	case RP_DMA_SLOT_NODE:
	case RP_DMA_SLOT_SKIP:
		return rp_dma_slot_node(slot)->starts_count;
	case RP_DMA_SLOT_PAGE:
		return 1;
	case RP_DMA_SLOT_BUCKET:
	default:
		return slot == 0 ? 0 : starts_in_bucket(rp_dma_slot_bucket(slot), first);
	}
}

uint32_t
rp_dma_table_count(uint64_t table)
{
	return starts_in_slot(table, 0);
}

static void
at_in_bucket(const struct rp_dma_bucket *bucket, uint64_t first, uint32_t index, struct rp_dma_entry *ret_entry)
{
	const struct rp_dma_entry *entry = bucket->entries;

	while (entry->first_iova < first)
		entry++;
	*ret_entry = entry[index];
}

void
rp_dma_table_at(uint64_t table, uint32_t index, struct rp_dma_entry *ret_entry)
{
	unsigned int i, span = RP_DMA_TABLE_SPAN;
	uint64_t slot = table, first = 0;
	const struct rp_dma_node *node;
	uint32_t count;

	assert(index < rp_dma_table_count(table));
	while (rp_dma_slot_kind(slot) == RP_DMA_SLOT_NODE || rp_dma_slot_kind(slot) == RP_DMA_SLOT_SKIP) {
		node = rp_dma_slot_node(slot);
		for (i = 0;; i++) {
			count = starts_in_slot(node->slots[i], first_of_slot(node, i));
			if (index < count)
				break;
			index -= count;
		}
		slot = node->slots[i];
		first = first_of_slot(node, i);
		span = node->shift;
	}
	if (rp_dma_slot_kind(slot) == RP_DMA_SLOT_PAGE)
		rp_dma_slot_page(slot, first, span, ret_entry);
	else
		at_in_bucket(rp_dma_slot_bucket(slot), first, index, ret_entry);
}
