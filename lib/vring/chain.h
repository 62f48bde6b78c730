/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef RP_VRING_CHAIN_H
#define RP_VRING_CHAIN_H

#include "rp_vring_dev.h"

/**
 * @file
 * What a chain is made of, whatever the format: parts that are translated and
 * checked one after the other, and indirect tables, which are read once.
 *
 * Threads: the ring's.
 */

#define CHAIN_DESC_BYTES 16u /* of a descriptor of either format, virtio 1.2, 2.7.5 and 2.8.13 */

/** An indirect table; it may lie across mappings, at any alignment. */
struct chain_table {
	uint64_t iova;
	const uint8_t *base; /* its start here */
	uint64_t contiguous_bytes; /* how much of it lies together there */
	uint32_t count;
};

/**
 * How indirect tables are found where no reader knows their addresses.
 *
 * find: @return 0 with where `iova` is and how many bytes lie together there, at most
 * size_bytes and at least 1; or an error, which the follower returns and which does not
 * break the ring.
 */
struct vring_reach {
	int (*find)(void *ctx, uint64_t iova, uint64_t size_bytes, const void **ret_hva, uint64_t *ret_bytes);
	void *ctx;
};

/** An empty chain. */
static inline void
chain_start(struct rp_vring_chain *chain, uint16_t head)
{
	chain->head = head;
	chain->out_count = 0;
	chain->in_count = 0;
	chain->out_bytes = 0;
	chain->in_bytes = 0;
	chain->table = (struct rp_vring_span){0};
}

/** Append a buffer, which becomes as many parts as it lies in mappings. @return 0 or -EBADMSG (ring broken). */
int rp_vring_chain_add(struct rp_vring_dev *ring, struct rp_vring_chain *chain, uint64_t iova, uint32_t size_bytes,
		       bool writable);

/**
 * Judge the descriptor that refers to a table.
 * @return 1: it can be read; 0: of a ring whose chains are spans, it is noted in the chain
 *         and to be followed when its bytes are there; -EBADMSG (ring broken).
 */
int rp_vring_chain_table_open(struct rp_vring_dev *ring, struct rp_vring_chain *chain, uint64_t iova,
			      uint32_t size_bytes, struct chain_table *ret_table);

/** Find a table that was judged and noted, in the memory of the ring's reader; with a reach it is found as it is read. */
void rp_vring_chain_table_reach(struct rp_vring_dev *ring, uint64_t iova, uint32_t size_bytes,
				struct chain_table *ret_table);

/** Copy one descriptor of a table. @return 0, -EBADMSG (ring broken) or what the ring's reach says. */
int rp_vring_chain_table_read(struct rp_vring_dev *ring, const struct chain_table *table, uint32_t index,
			      void *ret_desc);

#endif
