/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <string.h>

#include "split.h"

/* A descriptor as it was when it was read, in host byte order. */
struct part {
	uint64_t iova;
	uint32_t size_bytes;
	uint16_t flags;
	uint16_t next;
};

/* The table that a chain is being followed in: the ring's own, or an indirect one. */
struct source {
	uint64_t iova;
	const uint8_t *base; /* the table's start here */
	uint64_t contiguous_bytes; /* how much of it lies together there */
	uint32_t count;
	bool indirect;
};

static int
add_part(struct rp_vring_dev *ring, const struct part *part, struct rp_vring_chain *chain)
{
	bool writable = (part->flags & SPLIT_DESC_WRITE) != 0;
	uint32_t *total_bytes = writable ? &chain->in_bytes : &chain->out_bytes;
	uint16_t *count = writable ? &chain->in_count : &chain->out_count;
	uint64_t iova = part->iova, left_bytes = part->size_bytes, last_iova;

	if (part->size_bytes == 0)
		return rp_vring_split_break(ring, "a descriptor is empty");
	if (__builtin_add_overflow(iova, left_bytes - 1, &last_iova))
		return rp_vring_split_break(ring, "a buffer ends beyond 2^64");
	/* 2.7.4.2 */
	if (!writable && chain->in_count > 0)
		return rp_vring_split_break(ring, "a readable descriptor follows a writable one");
	/* 2.7.5 */
	if (__builtin_add_overflow(*total_bytes, part->size_bytes, total_bytes))
		return rp_vring_split_break(ring, "a chain is longer than 2^32 bytes");
	while (left_bytes > 0) {
		struct iovec *iov = &chain->iov[chain->out_count + chain->in_count];
		uint64_t here_bytes;

		if (chain->out_count + chain->in_count == RP_VRING_SEGMENTS_MAX)
			return rp_vring_split_break(ring, "a chain has too many parts");
		iov->iov_base = rp_dma_reader_translate(ring->reader, iova, left_bytes,
							writable ? RP_DMA_WRITE : RP_DMA_READ, &here_bytes);
		if (iov->iov_base == NULL)
			return rp_vring_split_break(ring, "a buffer is not mapped with the access it needs");
		iov->iov_len = here_bytes;
		iova += here_bytes;
		left_bytes -= here_bytes;
		(*count)++;
	}
	return 0;
}

/* An indirect table may lie across mappings, at any alignment: copy, in pieces if need be. */
static int
read_bytes(struct rp_vring_dev *ring, uint64_t iova, uint8_t *bytes, uint64_t left_bytes)
{
	while (left_bytes > 0) {
		uint64_t here_bytes;
		const void *hva = rp_dma_reader_translate(ring->reader, iova, left_bytes, RP_DMA_READ, &here_bytes);

		if (hva == NULL)
			return rp_vring_split_break(ring, "an indirect table is not mapped");
		memcpy(bytes, hva, here_bytes);
		iova += here_bytes;
		bytes += here_bytes;
		left_bytes -= here_bytes;
	}
	return 0;
}

static int
read_part(struct rp_vring_dev *ring, const struct source *source, uint16_t index, struct part *ret_part)
{
	uint64_t at = (uint64_t)index * sizeof(struct split_desc);
	struct split_desc copy = {0};
	int rc;

	if (!source->indirect) {
		ret_part->iova = split_load64(source->base + at + offsetof(struct split_desc, addr));
		ret_part->size_bytes = split_load32(source->base + at + offsetof(struct split_desc, len));
		ret_part->flags = split_load16(source->base + at + offsetof(struct split_desc, flags));
		ret_part->next = split_load16(source->base + at + offsetof(struct split_desc, next));
		return 0;
	}
	if (at + sizeof(copy) <= source->contiguous_bytes) {
		memcpy(&copy, source->base + at, sizeof(copy));
	} else {
		rc = read_bytes(ring, source->iova + at, (uint8_t *)&copy, sizeof(copy));
		if (rc < 0)
			return rc;
	}
	ret_part->iova = le64toh(copy.addr);
	ret_part->size_bytes = le32toh(copy.len);
	ret_part->flags = le16toh(copy.flags);
	ret_part->next = le16toh(copy.next);
	return 0;
}

/*
 * Follow a chain within one table. The number of steps is bounded by the table,
 * whatever `next` says, so a loop ends as a chain that is too long.
 *
 * ret_table receives the descriptor that refers to an indirect table when the
 * chain ends in one (its flags are 0 otherwise).
 */
static int
walk_source(struct rp_vring_dev *ring, const struct source *source, uint16_t index, struct rp_vring_chain *chain,
	    struct part *ret_table)
{
	uint32_t steps;

	for (steps = 0; steps < source->count; steps++) {
		struct part part;
		int rc;

		if (index >= source->count)
			return rp_vring_split_break(ring, "a descriptor index is beyond its table");
		rc = read_part(ring, source, index, &part);
		if (rc < 0)
			return rc;
		if ((part.flags & SPLIT_DESC_INDIRECT) != 0) {
			*ret_table = part;
			return 0;
		}
		rc = add_part(ring, &part, chain);
		if (rc < 0)
			return rc;
		if ((part.flags & SPLIT_DESC_NEXT) == 0)
			return 0;
		index = part.next;
	}
	return rp_vring_split_break(ring, "a chain is longer than its table");
}

/* 2.7.5.3; the writable flag of the descriptor that refers to the table is to be ignored. */
static int
open_indirect(struct rp_vring_dev *ring, const struct part *table, struct source *ret_source)
{
	uint64_t last_iova;

	if ((ring->layout.features & SPLIT_INDIRECT_DESC_MASK) == 0)
		return rp_vring_split_break(ring, "an indirect table was not negotiated");
	if ((table->flags & SPLIT_DESC_NEXT) != 0)
		return rp_vring_split_break(ring, "an indirect table is followed by a descriptor");
	if (table->size_bytes == 0 || table->size_bytes % sizeof(struct split_desc) != 0)
		return rp_vring_split_break(ring, "an indirect table's size is no multiple of 16");
	if (table->size_bytes / sizeof(struct split_desc) > RP_VRING_NUM_MAX)
		return rp_vring_split_break(ring, "an indirect table is longer than any queue");
	if (__builtin_add_overflow(table->iova, (uint64_t)table->size_bytes - 1, &last_iova))
		return rp_vring_split_break(ring, "an indirect table ends beyond 2^64");
	*ret_source = (struct source){
		.iova = table->iova,
		.count = table->size_bytes / (uint32_t)sizeof(struct split_desc),
		.indirect = true,
	};
	ret_source->base = rp_dma_reader_translate(ring->reader, table->iova, table->size_bytes, RP_DMA_READ,
						   &ret_source->contiguous_bytes);
	return 0;
}

int
rp_vring_split_walk(struct rp_vring_dev *ring, uint16_t head, struct rp_vring_chain *ret_chain)
{
	struct source source = {
		.base = ring->desc,
		.count = ring->layout.num,
	};
	struct part table = {0}, nested = {0};
	int rc;

	ret_chain->head = head;
	ret_chain->out_count = 0;
	ret_chain->in_count = 0;
	ret_chain->out_bytes = 0;
	ret_chain->in_bytes = 0;
	rc = walk_source(ring, &source, head, ret_chain, &table);
	if (rc < 0 || table.flags == 0)
		return rc;
	rc = open_indirect(ring, &table, &source);
	if (rc < 0)
		return rc;
	rc = walk_source(ring, &source, 0, ret_chain, &nested);
	if (rc == 0 && nested.flags != 0)
		return rp_vring_split_break(ring, "an indirect table refers to another");
	return rc;
}
