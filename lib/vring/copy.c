/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>

#include "chain.h"
#include "dev.h"
#include "rp_vring_copy.h"

int
rp_vring_dev_init_copy(struct rp_vring_dev *ring, const struct rp_vring_layout *layout, uint32_t position,
		       const struct rp_vring_copy *copy, struct rp_wire_why *why)
{
	int rc = rp_vring_dev_prepare(ring, layout, position, why);

	if (rc < 0)
		return rc;
	ring->desc = copy->parts[0];
	ring->avail = copy->parts[1];
	ring->used = copy->parts[2];
	ring->spans = true;
	ring->broken_why = NULL;
	return 0;
}

int
rp_vring_dev_follow(struct rp_vring_dev *ring, struct rp_vring_chain *chain, const void *table)
{
	const struct chain_table fetched = {
		.iova = chain->table.iova,
		.base = table,
		.contiguous_bytes = chain->table.size_bytes,
		.count = (uint32_t)(chain->table.size_bytes / CHAIN_DESC_BYTES),
	};

	if (ring->broken_why != NULL)
		return -EBADMSG;
	if (fetched.count == 0)
		return 0;
	chain->table = (struct rp_vring_span){0};
	return ring->packed ? rp_vring_packed_follow(ring, &fetched, chain) :
			      rp_vring_split_follow(ring, &fetched, chain);
}
