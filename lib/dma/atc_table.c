/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdlib.h>

#include "atc.h"

/* Of info. */
#define INFO_VALID UINT64_C(0x80)
#define INFO_IDENTITY UINT64_C(0x40)
#define INFO_ACCESS_MASK UINT64_C(0x3)
#define INFO_SHIFT_AT 8u
#define INFO_PASID_AT 32u

/* Of used. What is new is spared once, since somebody waits for it; what was found, twice. */
#define USED_NEW 1u
#define USED_AGAIN 2u

/* What a place holds, as one look or one change sees it. */
struct content {
	uint64_t page;
	uint64_t address;
	uint64_t info;
};

static uint64_t
info_of(uint32_t pasid, unsigned int shift, uint64_t rights)
{
	return (uint64_t)pasid << INFO_PASID_AT | (uint64_t)shift << INFO_SHIFT_AT | INFO_VALID | rights;
}

static unsigned int
shift_of(uint64_t info)
{
	return (unsigned int)(info >> INFO_SHIFT_AT) & 0xffu;
}

/* Whose block of which size it is, whatever may be done there. */
static uint64_t
key_of(uint64_t info)
{
	return info & ~(INFO_ACCESS_MASK | INFO_IDENTITY);
}

int
rp_dma_atc_table_init(struct rp_dma_atc_table *table, uint32_t entries_max)
{
	uint32_t i;

	table->sets_count = entries_max / RP_DMA_ATC_WAYS;
	table->places = malloc(entries_max * sizeof(*table->places));
	table->hands = calloc(table->sets_count, sizeof(*table->hands));
	if (table->places == NULL || table->hands == NULL) {
		rp_dma_atc_table_fini(table);
		return -ENOMEM;
	}
	for (i = 0; i < entries_max; i++) {
		struct rp_dma_atc_place *place = &table->places[i];

		atomic_init(&place->changes, 0);
		atomic_init(&place->used, 0);
		atomic_init(&place->page, 0);
		atomic_init(&place->address, 0);
		atomic_init(&place->info, 0);
	}
	atomic_init(&table->shifts_mask, 0);
	return 0;
}

void
rp_dma_atc_table_fini(struct rp_dma_atc_table *table)
{
	free(table->places);
	free(table->hands);
	table->places = NULL;
	table->hands = NULL;
}

static uint32_t
set_of(const struct rp_dma_atc_table *table, uint32_t pasid, unsigned int shift, uint64_t page)
{
	uint64_t mixed = page ^ ((uint64_t)pasid << 20) ^ ((uint64_t)shift << 52);

	mixed *= UINT64_C(0x9e3779b97f4a7c15);
	return (uint32_t)(mixed >> 32) & (table->sets_count - 1);
}

static struct rp_dma_atc_place *
places_of(const struct rp_dma_atc_table *table, uint32_t pasid, unsigned int shift, uint64_t page)
{
	return &table->places[set_of(table, pasid, shift, page) * RP_DMA_ATC_WAYS];
}

/* Without a lock. @return whether it was whole; if not it is being changed. */
static bool
look(const struct rp_dma_atc_place *place, struct content *ret_content)
{
	uint32_t changes = atomic_load_explicit(&place->changes, memory_order_seq_cst);

	ret_content->page = atomic_load_explicit(&place->page, memory_order_acquire);
	ret_content->address = atomic_load_explicit(&place->address, memory_order_acquire);
	ret_content->info = atomic_load_explicit(&place->info, memory_order_acquire);
	return (changes & 1) == 0 && atomic_load_explicit(&place->changes, memory_order_relaxed) == changes;
}

static void
change(struct rp_dma_atc_place *place, const struct content *content)
{
	uint32_t changes = atomic_load_explicit(&place->changes, memory_order_relaxed);

	atomic_store_explicit(&place->changes, changes + 1, memory_order_relaxed);
	atomic_store_explicit(&place->page, content->page, memory_order_release);
	atomic_store_explicit(&place->address, content->address, memory_order_release);
	atomic_store_explicit(&place->info, content->info, memory_order_release);
	atomic_store_explicit(&place->changes, changes + 2, memory_order_seq_cst);
}

static bool
find_in_set(struct rp_dma_atc_place *places, uint64_t page, uint64_t key, uint32_t access_mask,
	    struct content *ret_content)
{
	unsigned int way;

	for (way = 0; way < RP_DMA_ATC_WAYS; way++) {
		if (!look(&places[way], ret_content) || ret_content->page != page || key_of(ret_content->info) != key ||
		    (ret_content->info & access_mask) != access_mask)
			continue;
		if (atomic_load_explicit(&places[way].used, memory_order_relaxed) != USED_AGAIN)
			atomic_store_explicit(&places[way].used, USED_AGAIN, memory_order_relaxed);
		return true;
	}
	return false;
}

bool
rp_dma_atc_table_find(struct rp_dma_atc_table *table, uint32_t pasid, uint64_t iova, uint32_t access_mask,
		      struct rp_dma_translation *ret_translation)
{
	uint64_t shifts = atomic_load_explicit(&table->shifts_mask, memory_order_seq_cst);

	for (; shifts != 0; shifts &= shifts - 1) {
		unsigned int shift = (unsigned int)__builtin_ctzll(shifts);
		uint64_t offset_mask = (UINT64_C(1) << shift) - 1, page = iova >> shift;
		struct content content;

		if (!find_in_set(places_of(table, pasid, shift, page), page, info_of(pasid, shift, 0), access_mask,
				 &content))
			continue;
		*ret_translation = (struct rp_dma_translation){
			.iova = iova,
			.size_bytes = offset_mask + 1 - (iova & offset_mask),
			.address = content.address + (iova & offset_mask),
			.access_mask = (uint32_t)(content.info & INFO_ACCESS_MASK),
			.identity = (content.info & INFO_IDENTITY) != 0,
		};
		return true;
	}
	return false;
}

/* Of that size there is one more, or one less. */
static void
count_shift(struct rp_dma_atc_table *table, unsigned int shift, bool more)
{
	uint64_t bit = UINT64_C(1) << shift;
	uint64_t shifts = atomic_load_explicit(&table->shifts_mask, memory_order_relaxed);

	table->count += more ? 1 : UINT32_MAX;
	table->shift_counts[shift] += more ? 1 : UINT32_MAX;
	if (more)
		atomic_store_explicit(&table->shifts_mask, shifts | bit, memory_order_seq_cst);
	else if (table->shift_counts[shift] == 0)
		atomic_store_explicit(&table->shifts_mask, shifts & ~bit, memory_order_seq_cst);
}

static uint64_t
writers_info(const struct rp_dma_atc_place *place)
{
	return atomic_load_explicit(&place->info, memory_order_relaxed);
}

/* The one of the set that holds the block, is free, or was not used since the hand passed. */
static struct rp_dma_atc_place *
choose(struct rp_dma_atc_table *table, struct rp_dma_atc_place *places, uint64_t page, uint64_t key)
{
	uint8_t *hand = &table->hands[(places - table->places) / RP_DMA_ATC_WAYS];
	unsigned int way;

	for (way = 0; way < RP_DMA_ATC_WAYS; way++)
		if (key_of(writers_info(&places[way])) == key &&
		    atomic_load_explicit(&places[way].page, memory_order_relaxed) == page)
			return &places[way];
	for (way = 0; way < RP_DMA_ATC_WAYS; way++)
		if (writers_info(&places[way]) == 0)
			return &places[way];
	/* So often round at most: unless readers raise what the hand has lowered, and then any will do. */
	for (way = 0; way < (USED_AGAIN + 1) * RP_DMA_ATC_WAYS; way++) {
		struct rp_dma_atc_place *place = &places[*hand];
		uint32_t used = atomic_load_explicit(&place->used, memory_order_relaxed);

		*hand = (uint8_t)((*hand + 1u) % RP_DMA_ATC_WAYS);
		if (used == 0)
			return place;
		atomic_store_explicit(&place->used, used - 1, memory_order_relaxed);
	}
	return &places[*hand];
}

/* The largest block around an address that a range holds, and that leads to a block. */
static unsigned int
largest_shift(const struct rp_dma_translation *range, uint64_t iova)
{
	uint64_t last_iova = range->iova + (range->size_bytes - 1), delta = range->address - range->iova;
	unsigned int shift = RP_DMA_ATC_SHIFT_MIN;

	while (shift < RP_DMA_ATC_SHIFT_MAX) {
		uint64_t offset_mask = (UINT64_C(2) << shift) - 1, first_iova = iova & ~offset_mask;

		if ((delta & offset_mask) != 0 || first_iova < range->iova || last_iova - first_iova < offset_mask)
			break;
		shift++;
	}
	return shift;
}

bool
rp_dma_atc_table_insert(struct rp_dma_atc_table *table, uint32_t pasid, const struct rp_dma_translation *range,
			uint64_t iova)
{
	unsigned int shift = largest_shift(range, iova);
	uint64_t page = iova >> shift;
	const struct content content = {
		.page = page,
		.address = (page << shift) + (range->address - range->iova),
		.info = info_of(pasid, shift,
				(range->access_mask & INFO_ACCESS_MASK) | (range->identity ? INFO_IDENTITY : 0)),
	};
	struct rp_dma_atc_place *place =
		choose(table, places_of(table, pasid, shift, page), page, key_of(content.info));
	uint64_t before = writers_info(place);
	bool is_other = before != 0 && (key_of(before) != key_of(content.info) ||
					atomic_load_explicit(&place->page, memory_order_relaxed) != page);

	change(place, &content);
	atomic_store_explicit(&place->used, USED_NEW, memory_order_relaxed);
	if (before == 0 || is_other)
		count_shift(table, shift, true);
	if (is_other)
		count_shift(table, shift_of(before), false);
	return is_other;
}

static void
drop(struct rp_dma_atc_table *table, struct rp_dma_atc_place *place)
{
	const struct content nothing = {.info = 0};
	unsigned int shift = shift_of(writers_info(place));

	change(place, &nothing);
	count_shift(table, shift, false);
}

static bool
is_touched(const struct rp_dma_atc_place *place, const struct rp_dma_atc_invalidation *invalidation)
{
	uint64_t info = writers_info(place);
	unsigned int shift = shift_of(info);
	uint64_t first_iova = atomic_load_explicit(&place->page, memory_order_relaxed) << shift;

	return info != 0 && rp_dma_atc_touches(invalidation, (uint32_t)(info >> INFO_PASID_AT), first_iova,
					       first_iova + ((UINT64_C(1) << shift) - 1));
}

static void
drop_in(struct rp_dma_atc_table *table, struct rp_dma_atc_place *places, uint32_t places_count,
	const struct rp_dma_atc_invalidation *invalidation)
{
	uint32_t i;

	for (i = 0; i < places_count; i++)
		if (is_touched(&places[i], invalidation))
			drop(table, &places[i]);
}

/* Blocks of all sizes that a range touches. */
static uint64_t
blocks_in(uint64_t shifts, const struct rp_dma_atc_invalidation *invalidation)
{
	uint64_t blocks = 0;

	for (; shifts != 0; shifts &= shifts - 1) {
		unsigned int shift = (unsigned int)__builtin_ctzll(shifts);

		blocks += (invalidation->last_iova >> shift) - (invalidation->first_iova >> shift) + 1;
	}
	return blocks;
}

void
rp_dma_atc_table_remove(struct rp_dma_atc_table *table, const struct rp_dma_atc_invalidation *invalidation)
{
	uint64_t shifts = atomic_load_explicit(&table->shifts_mask, memory_order_relaxed);

	if (invalidation->all_pasids || blocks_in(shifts, invalidation) > table->sets_count) {
		drop_in(table, table->places, table->sets_count * RP_DMA_ATC_WAYS, invalidation);
		return;
	}
	for (; shifts != 0; shifts &= shifts - 1) {
		unsigned int shift = (unsigned int)__builtin_ctzll(shifts);
		uint64_t page = invalidation->first_iova >> shift, last = invalidation->last_iova >> shift;

		for (;; page++) {
			drop_in(table, places_of(table, invalidation->pasid, shift, page), RP_DMA_ATC_WAYS,
				invalidation);
			if (page == last)
				break;
		}
	}
}
