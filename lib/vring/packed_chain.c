/* SPDX-License-Identifier: BSD-3-Clause */
#include "chain.h"
#include "dev.h"
#include "packed.h"

static uint16_t
load_flags(const uint8_t *desc)
{
	return vring_load16(desc + offsetof(struct packed_desc, flags));
}

static int
add_desc(struct rp_vring_dev *ring, const uint8_t *desc, uint16_t flags, struct rp_vring_chain *chain)
{
	return rp_vring_chain_add(ring, chain, vring_load64(desc + offsetof(struct packed_desc, addr)),
				  vring_load32(desc + offsetof(struct packed_desc, len)),
				  (flags & PACKED_DESC_WRITE) != 0);
}

/* 2.8.7: all of the table is the chain; in it only the writable flag means something. */
int
rp_vring_packed_follow(struct rp_vring_dev *ring, const struct chain_table *table, struct rp_vring_chain *chain)
{
	uint32_t i;

	for (i = 0; i < table->count; i++) {
		struct packed_desc copy;
		int rc = rp_vring_chain_table_read(ring, table, i, &copy);

		if (rc == 0)
			rc = rp_vring_chain_add(ring, chain, le64toh(copy.addr), le32toh(copy.len),
						(le16toh(copy.flags) & PACKED_DESC_WRITE) != 0);
		if (rc < 0)
			return rc;
	}
	return 0;
}

static int
add_table(struct rp_vring_dev *ring, const uint8_t *desc, uint16_t flags, struct rp_vring_chain *chain)
{
	uint32_t size_bytes = vring_load32(desc + offsetof(struct packed_desc, len));
	struct chain_table table;
	int rc;

	if ((flags & PACKED_DESC_NEXT) != 0)
		return rp_vring_dev_break(ring, "an indirect table is followed by a descriptor");
	rc = rp_vring_chain_table_open(ring, chain, vring_load64(desc + offsetof(struct packed_desc, addr)), size_bytes,
				       &table);
	if (rc < 0)
		return rc;
	if (size_bytes / CHAIN_DESC_BYTES > RP_VRING_SEGMENTS_MAX)
		return rp_vring_dev_break(ring, "a chain has too many parts");
	return rc == 1 ? rp_vring_packed_follow(ring, &table, chain) : 0;
}

/* Follow a list to its last descriptor, with the flags of the first one as they were read. */
static int
add_list(struct rp_vring_dev *ring, uint16_t at, bool wrap, uint16_t flags, struct packed_walk *walk,
	 const uint8_t **ret_last)
{
	const uint8_t *desc = ring->desc + (size_t)at * sizeof(struct packed_desc);

	for (;;) {
		int rc = add_desc(ring, desc, flags, walk->chain);

		if (rc < 0)
			return rc;
		walk->skip++;
		*ret_last = desc;
		if ((flags & PACKED_DESC_NEXT) == 0)
			return 0;
		if (walk->skip == walk->room)
			return rp_vring_dev_break(ring, "a chain is longer than the ring has room");
		packed_move(ring->layout.num, &at, &wrap, 1);
		desc = ring->desc + (size_t)at * sizeof(struct packed_desc);
		flags = load_flags(desc);
		/* 2.8.6: the first one is made available last. */
		if (!packed_is_available(flags, wrap))
			return rp_vring_dev_break(ring, "a chain goes on in a descriptor that is not available");
		/* 2.8.19 */
		if ((flags & PACKED_DESC_INDIRECT) != 0)
			return rp_vring_dev_break(ring, "an indirect table is part of a chain");
	}
}

int
rp_vring_packed_walk(struct rp_vring_dev *ring, uint16_t at, bool wrap, struct packed_walk *walk)
{
	const uint8_t *desc = ring->desc + (size_t)at * sizeof(struct packed_desc), *last = desc;
	uint16_t flags = vring_load16_acquire(desc + offsetof(struct packed_desc, flags));
	int rc;

	if (!packed_is_available(flags, wrap))
		return 0;
	chain_start(walk->chain, VRING_NO_ID);
	walk->skip = 0;
	if ((flags & PACKED_DESC_INDIRECT) != 0) {
		rc = add_table(ring, desc, flags, walk->chain);
		walk->skip = 1;
	} else {
		rc = add_list(ring, at, wrap, flags, walk, &last);
	}
	if (rc < 0)
		return rc;
	walk->chain->head = vring_load16(last + offsetof(struct packed_desc, id));
	if (walk->chain->head >= ring->layout.num)
		return rp_vring_dev_break(ring, "a buffer id is beyond the ring");
	return 1;
}
