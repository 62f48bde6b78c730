/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef RP_DMA_TABLE_H
#define RP_DMA_TABLE_H

#include <stdbool.h>
#include <stdint.h>

/**
 * @file
 * The mappings of a space at one moment, never changed once published. A change
 * (edit.h) makes another table, which shares with this one all that it did not touch.
 *
 * The algorithm: a tree over the 64 bits of an address, six of them in each node, so
 * that a node's 64 slots are eight cache lines. What a slot says of its addresses fits
 * one word:
 *
 * - nothing is there (0);
 * - one mapping is exactly there: its address here and its rights. A page-granular
 *   mapping is eight bytes, and a translation ends at the word that it would load from
 *   a plain array;
 * - a bucket: up to eight mappings that touch these addresses, sorted, with their own
 *   bounds. Odd sizes, huge ones and lonely ones are here; a mapping that fills several
 *   slots has one bucket for all of them;
 * - a node, of the next six bits, or further below where all mappings lie close
 *   together (then the node says where).
 *
 * A table is one such word, for all addresses. Its depth is bounded by the bits of an
 * address, so neither looking up nor changing depends on how many mappings there are.
 * A node stands for more than eight mappings when it is made, and goes when three are
 * left, so memory is bounded too: some 10 bytes for each of a million pages one behind
 * the other, 50 for pages anywhere, 320 for what a peer can do at worst (eight one-byte
 * mappings beside each other and one more at each six bits' distance).
 *
 * Threads: whoever has a table may read it; who frees it must know that nobody
 * reads it any more (reader.c).
 */

/** Ends are inclusive, so that a range may end at 2^64. */
struct rp_dma_entry {
	uint64_t first_iova;
	uint64_t last_iova;
	uint8_t *hva; /* of first_iova; NULL: no file */
	uint32_t access_mask;
};

#define RP_DMA_NODE_BITS 6u
#define RP_DMA_NODE_SLOTS 64u
#define RP_DMA_BUCKET_MAX 8u
/* As if the word that is the table were a slot of 2^66 addresses: its node has the highest six bits. */
#define RP_DMA_TABLE_SPAN 66u
#define RP_DMA_TABLE_EMPTY UINT64_C(0)

/* The lowest bits of a slot. */
enum rp_dma_slot_kind {
	RP_DMA_SLOT_BUCKET = 0, /* or nothing */
	RP_DMA_SLOT_NODE = 1, /* of the next bits */
	RP_DMA_SLOT_SKIP = 2, /* a node further below: look whether the address is in it */
	RP_DMA_SLOT_PAGE = 3, /* one mapping, as large as the slot */
};

#define RP_DMA_SLOT_KIND_MASK UINT64_C(3)
/* Of a page: the rights, then the address here, whose lowest bits must be 0. */
#define RP_DMA_PAGE_ACCESS_SHIFT 2u
#define RP_DMA_PAGE_HVA_MASK (~UINT64_C(15))

struct rp_dma_bucket {
	struct rp_dma_bucket *next; /* a change's (edit.c), as are the three below */
	uint64_t edit_number;
	uint8_t gone_mask;
	bool gone;
	uint8_t count;
	struct rp_dma_entry entries[];
};

struct rp_dma_node {
	_Alignas(64) uint64_t slots[RP_DMA_NODE_SLOTS];
	uint64_t first_iova; /* of slot 0 */
	uint32_t starts_count; /* mappings that begin in it */
	uint8_t shift; /* a slot has 2^shift addresses */
	bool gone; /* from here on a change's (edit.c) */
	uint64_t gone_mask;
	uint64_t edit_number;
	struct rp_dma_node *next;
};

static inline enum rp_dma_slot_kind
rp_dma_slot_kind(uint64_t slot)
{
	return (enum rp_dma_slot_kind)(slot & RP_DMA_SLOT_KIND_MASK);
}

static inline struct rp_dma_node *
rp_dma_slot_node(uint64_t slot)
{
	return (struct rp_dma_node *)(uintptr_t)(slot & ~RP_DMA_SLOT_KIND_MASK);
}

static inline struct rp_dma_bucket *
rp_dma_slot_bucket(uint64_t slot)
{
	return (struct rp_dma_bucket *)(uintptr_t)slot;
}

static inline void
rp_dma_slot_page(uint64_t slot, uint64_t iova, unsigned int span, struct rp_dma_entry *ret_entry)
{
	/* No slot of all addresses is a page: for who does not know that. */
	uint64_t within_mask = (UINT64_C(1) << (span & 63u)) - 1;

	ret_entry->first_iova = iova & ~within_mask;
	ret_entry->last_iova = iova | within_mask;
	ret_entry->hva = (uint8_t *)(uintptr_t)(slot & RP_DMA_PAGE_HVA_MASK);
	ret_entry->access_mask = (uint32_t)(slot >> RP_DMA_PAGE_ACCESS_SHIFT) & 3u;
}

/** The last address of a node; that of the highest one is 2^64 - 1. */
static inline uint64_t
rp_dma_node_last(const struct rp_dma_node *node)
{
	return node->first_iova + ((UINT64_C(1) << RP_DMA_NODE_BITS << node->shift) - 1);
}

static inline unsigned int
rp_dma_node_index(const struct rp_dma_node *node, uint64_t iova)
{
	return (unsigned int)(iova >> node->shift) & (RP_DMA_NODE_SLOTS - 1);
}

static inline bool
rp_dma_bucket_find(const struct rp_dma_bucket *bucket, uint64_t iova, struct rp_dma_entry *ret_entry)
{
	unsigned int i;

	for (i = 0; i < bucket->count; i++) {
		if (bucket->entries[i].last_iova < iova)
			continue;
		*ret_entry = bucket->entries[i];
		return ret_entry->first_iova <= iova;
	}
	return false;
}

/** The entry that holds `iova`. Here to be part of whoever calls it: this is the data path. @return whether there is one. */
static inline bool
rp_dma_table_find(uint64_t table, uint64_t iova, struct rp_dma_entry *ret_entry)
{
	unsigned int span = RP_DMA_TABLE_SPAN;
	uint64_t slot = table;
	const struct rp_dma_node *node;

	for (;;) {
		switch (rp_dma_slot_kind(slot)) {
		case RP_DMA_SLOT_NODE:
			/* Not what the node says: the address of the next slot is then known before this one. */
			span -= RP_DMA_NODE_BITS;
			node = rp_dma_slot_node(slot);
			slot = node->slots[iova >> span & (RP_DMA_NODE_SLOTS - 1)];
			break;
		case RP_DMA_SLOT_SKIP:
			node = rp_dma_slot_node(slot);
			if (iova < node->first_iova || iova > rp_dma_node_last(node))
				return false;
			span = node->shift;
			slot = node->slots[rp_dma_node_index(node, iova)];
			break;
		case RP_DMA_SLOT_PAGE:
			rp_dma_slot_page(slot, iova, span, ret_entry);
			return true;
		case RP_DMA_SLOT_BUCKET:
		default:
			return slot != 0 && rp_dma_bucket_find(rp_dma_slot_bucket(slot), iova, ret_entry);
		}
	}
}

/** The first entry that ends at `iova` or above. @return whether there is one. */
bool rp_dma_table_next(uint64_t table, uint64_t iova, struct rp_dma_entry *ret_entry);

/** How many there are; does not count. */
uint32_t rp_dma_table_count(uint64_t table);

/** Number `index` in address order, which must be below the count. */
void rp_dma_table_at(uint64_t table, uint32_t index, struct rp_dma_entry *ret_entry);

#endif
