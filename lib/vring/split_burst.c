/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>

#include "burst.h"
#include "split.h"

#define ODD_INDEX UINT16_MAX

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

static const uint8_t *
desc_of(const struct rp_vring_dev *ring, uint16_t index)
{
	return ring->desc + (size_t)index * sizeof(struct split_desc);
}

/* @return how many of the heads are within the table. */
static uint16_t
read_heads(const struct rp_vring_dev *ring, uint16_t at, uint16_t *ret_heads, uint16_t count)
{
	const uint8_t *entries = ring->avail + SPLIT_ENTRIES_AT;
	uint16_t num = ring->layout.num, i;

	for (i = 0; i < count; i++) {
		uint16_t slot = (uint16_t)(at + i) & (uint16_t)(num - 1);

		ret_heads[i] = vring_load16(entries + (size_t)slot * SPLIT_AVAIL_BYTES);
		if (ret_heads[i] >= num)
			break;
		__builtin_prefetch(desc_of(ring, ret_heads[i]));
	}
	return i;
}

/* A chain of several, from the first descriptor as it was read. @return whether it is plain. */
static bool
look_at_list(struct burst *burst, uint64_t iova, uint64_t meta, struct rp_vring_burst_chain *chain)
{
	const struct rp_vring_dev *ring = burst->ring;
	uint16_t flags, next;

	burst_chain_start(chain);
	for (;;) {
		const uint8_t *desc;

		flags = burst_third(meta);
		if ((flags & SPLIT_DESC_INDIRECT) != 0 ||
		    !rp_vring_burst_add(burst, chain, iova, burst_len(meta), (flags & SPLIT_DESC_WRITE) != 0))
			return false;
		if ((flags & SPLIT_DESC_NEXT) == 0)
			break;
		next = burst_fourth(meta);
		/* As many descriptors as the table has, and one more, are a loop. */
		if (next >= ring->layout.num || chain->out_count + chain->in_count == ring->layout.num)
			return false;
		desc = desc_of(ring, next);
		iova = vring_load64(desc);
		meta = vring_load64(desc + BURST_META_AT);
	}
	burst->pieces_count += (uint32_t)chain->out_count + chain->in_count;
	return true;
}

uint16_t
rp_vring_split_burst(struct burst *burst, uint16_t ahead, struct rp_vring_burst_chain *ret_chains, uint16_t max_count)
{
	struct rp_vring_dev *ring = burst->ring;
	uint16_t heads[RP_VRING_BURST_MAX], heads_count, count, i;

	count = waiting(ring, ahead, max_count);
	burst->odd = count == ODD_INDEX;
	if (burst->odd)
		return 0;
	heads_count = read_heads(ring, (uint16_t)(ring->next_avail + ahead), heads, count);
	for (i = 0; i < heads_count; i++) {
		struct rp_vring_burst_chain *chain = &ret_chains[i];
		const uint8_t *desc = desc_of(ring, heads[i]);
		uint64_t iova = vring_load64(desc), meta = vring_load64(desc + BURST_META_AT);
		uint16_t flags = burst_third(meta);
		bool plain;

		chain->head = heads[i];
		if (__builtin_expect((flags & (SPLIT_DESC_NEXT | SPLIT_DESC_INDIRECT)) == 0, 1))
			plain = burst_single(burst, chain, iova, burst_len(meta), (flags & SPLIT_DESC_WRITE) != 0);
		else
			plain = look_at_list(burst, iova, meta, chain);
		if (!plain)
			break;
	}
	burst->odd = i < count;
	return i;
}

int
rp_vring_split_fill_burst(struct rp_vring_dev *ring, uint16_t ahead, const struct rp_vring_done *done, uint16_t count)
{
	uint16_t at = (uint16_t)(ring->next_used + ahead), num = ring->layout.num, i;
	uint8_t *entries = ring->used + SPLIT_ENTRIES_AT;

	for (i = 0; i < count; i++) {
		uint8_t *entry = entries + (size_t)((at + i) & (num - 1)) * SPLIT_USED_BYTES;

		if (done[i].head >= num)
			return -EINVAL;
		vring_store32(entry, done[i].head);
		vring_store32(entry + SPLIT_USED_LEN_AT, done[i].written_bytes);
	}
	return 0;
}
