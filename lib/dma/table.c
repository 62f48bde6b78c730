/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdlib.h>
#include <string.h>

#include "table.h"

const struct rp_dma_table rp_dma_table_empty = {0};

static struct rp_dma_table *
table_alloc(uint32_t count)
{
	struct rp_dma_table *table = malloc(sizeof(*table) + count * sizeof(table->entries[0]));

	if (table != NULL)
		table->count = count;
	return table;
}

void
rp_dma_table_free(const struct rp_dma_table *table)
{
	if (table != &rp_dma_table_empty)
		free((void *)(uintptr_t)table);
}

uint32_t
rp_dma_table_lower(const struct rp_dma_table *table, uint64_t iova)
{
	uint32_t low = 0, high = table->count;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;

		if (table->entries[middle].last_iova < iova)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

const struct rp_dma_entry *
rp_dma_table_find(const struct rp_dma_table *table, uint64_t iova)
{
	uint32_t index = rp_dma_table_lower(table, iova);

	if (index == table->count || table->entries[index].first_iova > iova)
		return NULL;
	return &table->entries[index];
}

static void
copy_entries(struct rp_dma_entry *to, const struct rp_dma_entry *from, uint32_t count)
{
	if (count > 0)
		memcpy(to, from, count * sizeof(*to));
}

struct rp_dma_table *
rp_dma_table_with(const struct rp_dma_table *table, const struct rp_dma_entry *entry)
{
	uint32_t at = rp_dma_table_lower(table, entry->first_iova);
	struct rp_dma_table *next = table_alloc(table->count + 1);

	if (next == NULL)
		return NULL;
	copy_entries(next->entries, table->entries, at);
	next->entries[at] = *entry;
	copy_entries(&next->entries[at + 1], &table->entries[at], table->count - at);
	return next;
}

/* The entries from `begin` up to, not including, `end` touch the range; the outer two may stick out of it. */
struct cut {
	uint32_t begin;
	uint32_t end;
	uint32_t left_count; /* 1: the first sticks out below */
	uint32_t right_count; /* 1: the last sticks out above */
};

static struct cut
find_cut(const struct rp_dma_table *table, uint64_t first_iova, uint64_t last_iova)
{
	struct cut cut = {.begin = rp_dma_table_lower(table, first_iova)};

	cut.end = rp_dma_table_lower(table, last_iova);
	if (cut.end < table->count && table->entries[cut.end].first_iova <= last_iova)
		cut.end++;
	if (cut.begin < cut.end) {
		cut.left_count = table->entries[cut.begin].first_iova < first_iova;
		cut.right_count = table->entries[cut.end - 1].last_iova > last_iova;
	}
	return cut;
}

uint32_t
rp_dma_table_count_without(const struct rp_dma_table *table, uint64_t first_iova, uint64_t last_iova)
{
	struct cut cut = find_cut(table, first_iova, last_iova);

	return table->count - (cut.end - cut.begin) + cut.left_count + cut.right_count;
}

struct rp_dma_table *
rp_dma_table_without(const struct rp_dma_table *table, uint64_t first_iova, uint64_t last_iova)
{
	struct cut cut = find_cut(table, first_iova, last_iova);
	struct rp_dma_table *next =
		table_alloc(table->count - (cut.end - cut.begin) + cut.left_count + cut.right_count);
	uint32_t at = cut.begin;

	if (next == NULL)
		return NULL;
	copy_entries(next->entries, table->entries, cut.begin);
	if (cut.left_count > 0) {
		next->entries[at] = table->entries[cut.begin];
		next->entries[at++].last_iova = first_iova - 1;
	}
	if (cut.right_count > 0) {
		struct rp_dma_entry *right = &next->entries[at++];
		uint64_t gone_bytes;

		*right = table->entries[cut.end - 1];
		gone_bytes = last_iova + 1 - right->first_iova;
		right->first_iova += gone_bytes;
		right->offset_bytes += gone_bytes;
		if (right->hva != NULL)
			right->hva += gone_bytes;
	}
	copy_entries(&next->entries[at], &table->entries[cut.end], table->count - cut.end);
	return next;
}

struct rp_dma_table *
rp_dma_table_replaced(const struct rp_dma_table *table, const struct rp_dma_entry *entry)
{
	struct rp_dma_table *rest = rp_dma_table_without(table, entry->first_iova, entry->last_iova), *next;

	if (rest == NULL)
		return NULL;
	next = rp_dma_table_with(rest, entry);
	free(rest);
	return next;
}
