/* SPDX-License-Identifier: BSD-3-Clause */
#include "chain.h"
#include "dev.h"
#include "split.h"

/* A descriptor as it was when it was read, in host byte order. */
struct part {
	uint64_t iova;
	uint32_t size_bytes;
	uint16_t flags;
	uint16_t next;
};

/* The table that a chain is being followed in: an indirect one, or else the ring's own. */
struct source {
	const struct chain_table *table;
	uint32_t count;
};

static int
read_part(struct rp_vring_dev *ring, const struct source *source, uint16_t index, struct part *ret_part)
{
	const uint8_t *desc = ring->desc + (size_t)index * sizeof(struct split_desc);
	struct split_desc copy;
	int rc;

	if (source->table == NULL) {
		ret_part->iova = vring_load64(desc + offsetof(struct split_desc, addr));
		ret_part->size_bytes = vring_load32(desc + offsetof(struct split_desc, len));
		ret_part->flags = vring_load16(desc + offsetof(struct split_desc, flags));
		ret_part->next = vring_load16(desc + offsetof(struct split_desc, next));
		return 0;
	}
	rc = rp_vring_chain_table_read(ring, source->table, index, &copy);
	if (rc < 0)
		return rc;
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
			return rp_vring_dev_break(ring, "a descriptor index is beyond its table");
		rc = read_part(ring, source, index, &part);
		if (rc < 0)
			return rc;
		if ((part.flags & SPLIT_DESC_INDIRECT) != 0) {
			*ret_table = part;
			return 0;
		}
		rc = rp_vring_chain_add(ring, chain, part.iova, part.size_bytes, (part.flags & SPLIT_DESC_WRITE) != 0);
		if (rc < 0)
			return rc;
		if ((part.flags & SPLIT_DESC_NEXT) == 0)
			return 0;
		index = part.next;
	}
	return rp_vring_dev_break(ring, "a chain is longer than its table");
}

int
rp_vring_split_follow(struct rp_vring_dev *ring, const struct chain_table *table, struct rp_vring_chain *chain)
{
	const struct source source = {.table = table, .count = table->count};
	struct part nested = {0};
	int rc = walk_source(ring, &source, 0, chain, &nested);

	if (rc == 0 && nested.flags != 0)
		return rp_vring_dev_break(ring, "an indirect table refers to another");
	return rc;
}

int
rp_vring_split_walk(struct rp_vring_dev *ring, uint16_t head, struct rp_vring_chain *ret_chain)
{
	const struct source source = {.count = ring->layout.num};
	struct part part = {0};
	struct chain_table table;
	int rc;

	chain_start(ret_chain, head);
	rc = walk_source(ring, &source, head, ret_chain, &part);
	if (rc < 0 || part.flags == 0)
		return rc;
	/* 2.7.5.3; the writable flag of this descriptor is to be ignored. */
	if ((part.flags & SPLIT_DESC_NEXT) != 0)
		return rp_vring_dev_break(ring, "an indirect table is followed by a descriptor");
	rc = rp_vring_chain_table_open(ring, ret_chain, part.iova, part.size_bytes, &table);
	return rc == 1 ? rp_vring_split_follow(ring, &table, ret_chain) : rc;
}
