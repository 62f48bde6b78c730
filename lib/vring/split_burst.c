/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>

#include "burst.h"
#include "chain.h"
#include "split.h"

#define SPLIT_DESC_FLAGS (SPLIT_DESC_NEXT | SPLIT_DESC_WRITE | SPLIT_DESC_INDIRECT)
#define ODD_INDEX UINT16_MAX
#define TABLE_ALIGN_BYTES 8u /* so that each half of a descriptor is one load */
#define TABLES_AHEAD 4u /* fetched while the ones before them are followed */

/* A table of descriptors: the ring's, or an indirect one. */
struct table {
	const uint8_t *descs;
	uint32_t count;
};

/* A descriptor in two loads. */
struct desc {
	uint64_t iova;
	uint64_t meta;
};

/* How many chains to look at; when the index is wrong and nothing was announced before, one that is not there. */
static uint16_t
waiting(struct rp_vring_dev *ring, uint16_t ahead, uint16_t max_count)
{
	uint16_t seen = (uint16_t)(ring->seen_avail - ring->next_avail), count;

	if ((uint32_t)ahead + max_count > seen) {
		if (!rp_vring_split_look(ring))
			return seen > ahead ? (uint16_t)(seen - ahead) : ODD_INDEX;
		seen = (uint16_t)(ring->seen_avail - ring->next_avail);
	}
	if (seen <= ahead)
		return 0;
	count = (uint16_t)(seen - ahead);
	return count < max_count ? count : max_count;
}

static inline const uint8_t *
desc_at(const uint8_t *descs, uint32_t index)
{
	return descs + (size_t)index * sizeof(struct split_desc);
}

static inline struct desc
read_desc(const uint8_t *at)
{
	return (struct desc){.iova = vring_load64(at), .meta = vring_load64(at + BURST_META_AT)};
}

/* @return how many of the heads are within the table. */
static inline uint16_t
read_run(const uint8_t *entries, const uint8_t *descs, uint16_t num, uint16_t *ret_heads, uint16_t count)
{
	uint16_t i;

	for (i = 0; i < count; i++) {
		ret_heads[i] = vring_load16(entries + (size_t)i * SPLIT_AVAIL_BYTES);
		if (ret_heads[i] >= num)
			break;
		__builtin_prefetch(desc_at(descs, ret_heads[i]));
	}
	return i;
}

/* The entries of a burst are one run, or two. */
static inline uint16_t
read_heads(const struct rp_vring_dev *ring, uint16_t at, uint16_t *ret_heads, uint16_t count)
{
	const uint8_t *entries = ring->avail + SPLIT_ENTRIES_AT;
	uint16_t num = ring->layout.num, slot = at & (uint16_t)(num - 1), run_count, read_count;

	run_count = split_run(slot, num, count);
	read_count = read_run(entries + (size_t)slot * SPLIT_AVAIL_BYTES, ring->desc, num, ret_heads, run_count);
	if (__builtin_expect(read_count == count || read_count < run_count, 1))
		return read_count;
	return (uint16_t)(run_count +
			  read_run(entries, ring->desc, num, ret_heads + run_count, (uint16_t)(count - run_count)));
}

static inline bool
goes_on(struct desc desc)
{
	return (burst_third(desc.meta) & (SPLIT_DESC_NEXT | SPLIT_DESC_INDIRECT)) != 0;
}

static inline bool
is_writable(struct desc desc)
{
	return (burst_third(desc.meta) & SPLIT_DESC_WRITE) != 0;
}

/* A list of two and more, of which two were read. @return whether it is plain. */
static __attribute__((noinline)) bool
look_at_list(struct burst *burst, const struct table *table, struct desc first, struct desc second,
	     struct rp_vring_burst_chain *chain)
{
	uint32_t limit = table->count < RP_VRING_BURST_PIECES ? table->count : RP_VRING_BURST_PIECES, count;
	struct desc desc = second;

	burst_chain_start(chain);
	if (!rp_vring_burst_add(burst, chain, first.iova, burst_len(first.meta), is_writable(first)))
		return false;
	for (count = 2; count <= limit; count++) {
		uint16_t flags = burst_third(desc.meta), next = burst_fourth(desc.meta);

		if ((flags & SPLIT_DESC_INDIRECT) != 0 ||
		    !rp_vring_burst_add(burst, chain, desc.iova, burst_len(desc.meta), is_writable(desc)))
			return false;
		if ((flags & SPLIT_DESC_NEXT) == 0) {
			burst->pieces_count += count;
			return true;
		}
		if (next >= table->count)
			return false;
		desc = read_desc(desc_at(table->descs, next));
	}
	/* As many descriptors as the table has, and one more, are a loop. */
	return false;
}

/* From its first descriptor as it was read; in an indirect one no other is referred to. @return whether it is plain. */
static bool
look_at_chain(struct burst *burst, const struct table *table, struct desc first, struct rp_vring_burst_chain *chain)
{
	uint16_t next;

	if (!goes_on(first))
		return burst_single(burst, chain, first.iova, burst_len(first.meta), is_writable(first));
	next = burst_fourth(first.meta);
	if ((burst_third(first.meta) & SPLIT_DESC_INDIRECT) != 0 || next >= table->count || table->count < 2)
		return false;
	return look_at_list(burst, table, first, read_desc(desc_at(table->descs, next)), chain);
}

static inline struct table
own_table(const struct burst *burst)
{
	return (struct table){.descs = burst->ring->desc, .count = burst->ring->layout.num};
}

/* What is the same for all chains of a run. */
struct run {
	struct table table;
	uint64_t first_iova; /* of the window, and what else there is of it */
	uint8_t *hva;
	uint64_t seen_bytes;
	uint16_t flags; /* of each piece but for SPLIT_DESC_NEXT */
};

static inline bool
look_at_piece(const struct run *run, struct desc desc, struct iovec *ret_piece)
{
	uint64_t at_bytes = desc.iova - run->first_iova;
	uint32_t size_bytes = burst_len(desc.meta);

	if (!rp_dma_window_sees(run->seen_bytes, at_bytes, size_bytes))
		return false;
	*ret_piece = (struct iovec){.iov_base = run->hva + at_bytes, .iov_len = size_bytes};
	return true;
}

/*
 * The shapes of a data path, told apart by one comparison: one piece, or two (a header and what follows it), of the
 * kind of the run. @return how many pieces; 0: it is another shape, or not seen through the window.
 */
static inline uint8_t
look_at_shape(const struct run *run, struct desc first, struct rp_vring_burst_chain *chain)
{
	uint16_t flags = burst_third(first.meta) & SPLIT_DESC_FLAGS, next = burst_fourth(first.meta);
	bool writable = run->flags != 0;
	struct desc second;
	uint32_t all_bytes;

	if (!look_at_piece(run, first, &chain->iov[0]))
		return 0;
	if (flags == run->flags) {
		burst_say(chain, writable, 1, burst_len(first.meta));
		return 1;
	}
	if (flags != (run->flags | SPLIT_DESC_NEXT) || next >= run->table.count || run->table.count < 2)
		return 0;
	second = read_desc(desc_at(run->table.descs, next));
	if ((burst_third(second.meta) & SPLIT_DESC_FLAGS) != run->flags ||
	    !look_at_piece(run, second, &chain->iov[1]) ||
	    __builtin_add_overflow(burst_len(first.meta), burst_len(second.meta), &all_bytes))
		return 0;
	burst_say(chain, writable, 2, all_bytes);
	return 2;
}

static inline struct run
begin_run(const struct burst *burst, struct table table, bool writable)
{
	return (struct run){
		.table = table,
		.first_iova = burst->window.first_iova,
		.hva = burst->window.hva,
		.seen_bytes = burst->window.seen_bytes[writable ? RP_DMA_WRITE : RP_DMA_READ],
		.flags = writable ? SPLIT_DESC_WRITE : 0,
	};
}

/* @return how many chains have such a shape, from the first one on. */
static inline __attribute__((always_inline)) uint16_t
look_at_run(struct burst *burst, const uint16_t *heads, struct rp_vring_burst_chain *chains, uint16_t count,
	    bool writable)
{
	const struct run run = begin_run(burst, own_table(burst), writable);
	uint32_t pieces_count = 0;
	uint16_t i;

	for (i = 0; i < count; i++) {
		uint8_t pieces = look_at_shape(&run, read_desc(desc_at(run.table.descs, heads[i])), &chains[i]);

		if (__builtin_expect(pieces == 0, 0))
			break;
		chains[i].head = heads[i];
		pieces_count += pieces;
	}
	burst->pieces_count += pieces_count;
	return i;
}

/* A table that is seen whole, and aligned. @return whether the chain is plain. */
static bool
look_at_table(struct burst *burst, struct desc desc, struct rp_vring_burst_chain *chain)
{
	uint32_t size_bytes = burst_len(desc.meta);
	struct table table = {.count = size_bytes / CHAIN_DESC_BYTES};
	struct desc first;
	struct run run;
	uint8_t pieces;

	if ((burst->ring->layout.features & VRING_INDIRECT_DESC_MASK) == 0 ||
	    (burst_third(desc.meta) & SPLIT_DESC_NEXT) != 0 || size_bytes % CHAIN_DESC_BYTES != 0 ||
	    table.count > RP_VRING_NUM_MAX)
		return false;
	table.descs = burst_see(burst, desc.iova, size_bytes, false);
	if (table.descs == NULL || (uintptr_t)table.descs % TABLE_ALIGN_BYTES != 0)
		return false;
	first = read_desc(table.descs);
	run = begin_run(burst, table, is_writable(first));
	pieces = look_at_shape(&run, first, chain);
	burst->pieces_count += 1u + pieces;
	return pieces != 0 || look_at_chain(burst, &table, first, chain);
}

/* A guess: what the descriptor says may be another thing by the time it counts. */
static void
fetch_table(const struct burst *burst, uint16_t head)
{
	struct desc desc = read_desc(desc_at(burst->ring->desc, head));
	const void *table = rp_dma_window_translate(&burst->window, desc.iova, CHAIN_DESC_BYTES, RP_DMA_READ);

	if (table != NULL)
		__builtin_prefetch(table);
}

/* @return how many chains are indirect and plain, from the first one on. */
static uint16_t
look_at_tables(struct burst *burst, const uint16_t *heads, struct rp_vring_burst_chain *chains, uint16_t count)
{
	const struct table own = own_table(burst);
	uint16_t i;

	for (i = 0; i < count; i++) {
		struct desc desc = read_desc(desc_at(own.descs, heads[i]));

		if (i + TABLES_AHEAD < count)
			fetch_table(burst, heads[i + TABLES_AHEAD]);
		if ((burst_third(desc.meta) & SPLIT_DESC_INDIRECT) == 0 || !look_at_table(burst, desc, &chains[i]))
			break;
		chains[i].head = heads[i];
	}
	return i;
}

/* Which way is tried is a guess from the first descriptor; each way reads it for itself. @return how many are plain. */
static uint16_t
look_at_some(struct burst *burst, const uint16_t *heads, struct rp_vring_burst_chain *chains, uint16_t count)
{
	const struct table own = own_table(burst);
	struct desc first = read_desc(desc_at(own.descs, heads[0]));
	uint16_t some;

	if ((burst_third(first.meta) & SPLIT_DESC_INDIRECT) != 0) {
		some = look_at_tables(burst, heads, chains, count);
	} else {
		/* The window is to be where the run begins. */
		burst_see(burst, first.iova, burst_len(first.meta), is_writable(first));
		some = is_writable(first) ? look_at_run(burst, heads, chains, count, true) :
					    look_at_run(burst, heads, chains, count, false);
	}
	if (some > 0 || !look_at_chain(burst, &own, first, &chains[0]))
		return some;
	chains[0].head = heads[0];
	return 1;
}

uint16_t
rp_vring_split_burst(struct burst *burst, uint16_t ahead, struct rp_vring_burst_chain *ret_chains, uint16_t max_count)
{
	struct rp_vring_dev *ring = burst->ring;
	uint16_t heads[RP_VRING_BURST_MAX], heads_count, count, some, i;

	count = waiting(ring, ahead, max_count);
	burst->odd = count == ODD_INDEX;
	if (burst->odd)
		return 0;
	heads_count = read_heads(ring, (uint16_t)(ring->next_avail + ahead), heads, count);
	for (i = 0; i < heads_count; i = (uint16_t)(i + some)) {
		some = look_at_some(burst, heads + i, ret_chains + i, (uint16_t)(heads_count - i));
		if (some == 0)
			break;
	}
	burst->odd = i < count;
	return i;
}

static inline bool
fill_run(uint8_t *entry, uint16_t num, const struct rp_vring_done *done, uint16_t count)
{
	uint16_t i;

	for (i = 0; i < count; i++, entry += SPLIT_USED_BYTES) {
		if (done[i].head >= num)
			return false;
		vring_store32(entry, done[i].head);
		vring_store32(entry + SPLIT_USED_LEN_AT, done[i].written_bytes);
	}
	return true;
}

int
rp_vring_split_fill_burst(struct rp_vring_dev *ring, uint16_t ahead, const struct rp_vring_done *done, uint16_t count)
{
	uint16_t num = ring->layout.num, slot = (uint16_t)(ring->next_used + ahead) & (uint16_t)(num - 1), run_count;
	uint8_t *entries = ring->used + SPLIT_ENTRIES_AT;

	run_count = split_run(slot, num, count);
	if (!fill_run(entries + (size_t)slot * SPLIT_USED_BYTES, num, done, run_count) ||
	    !fill_run(entries, num, done + run_count, (uint16_t)(count - run_count)))
		return -EINVAL;
	return 0;
}
