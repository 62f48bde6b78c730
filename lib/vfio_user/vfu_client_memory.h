/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFU_CLIENT_MEMORY_H
#define VFU_CLIENT_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "rp_vfu_client.h"

/*
 * The client's own view of what it gave the server: which addresses, with which
 * rights, and where they are in this process. An array sorted by address; ranges
 * do not overlap. Nothing here knows of messages.
 */

/* What one map call brought; a split leaves its parts with one of it. */
struct rp_vfu_backing {
	unsigned int refs_count;
	void *mapping; /* mmapped by us; NULL: the memory is our caller's */
	size_t mapping_bytes;
	bool refused; /* by the server: parts of it that wait for an unmap's reply are gone too */
};

struct rp_vfu_range {
	uint64_t iova;
	uint64_t last; /* inclusive, so that a range may end at 2^64 */
	uint8_t *hva; /* NULL: not in this process, ask the owner */
	uint32_t access_mask;
	struct rp_vfu_backing *backing;
};

/* Zero-initialise. */
struct rp_vfu_memory {
	struct rp_vfu_range *ranges;
	size_t count;
	size_t room;
};

/*
 * Add what a caller described; its descriptor is mapped when it has no pointer.
 * A descriptor that cannot be mapped leaves a range that is not in this process.
 *
 * @param ret_backing a reference to what was added, given back with rp_vfu_backing_put().
 * @return 0, -EINVAL (size, rights, a range that wraps), -EEXIST (overlap), -ENOMEM; nothing has changed then.
 */
int rp_vfu_memory_add(struct rp_vfu_memory *memory, const struct rp_vfu_client_memory *given,
		      struct rp_vfu_backing **ret_backing, struct rp_wire_why *why);

/*
 * Move what lies in [iova, last] to another memory, splitting what straddles.
 * @return 0 or -ENOMEM; nothing has changed then.
 */
int rp_vfu_memory_take(struct rp_vfu_memory *memory, uint64_t iova, uint64_t last, struct rp_vfu_memory *into);

/* Move everything back that nothing new overlaps; the rest goes. */
void rp_vfu_memory_put_back(struct rp_vfu_memory *memory, struct rp_vfu_memory *from);

/* Give back a reference; the last one unmaps. */
void rp_vfu_backing_put(struct rp_vfu_backing *backing);

/* Drop the ranges of a map call that the server refused. The caller holds a reference. */
void rp_vfu_memory_refuse(struct rp_vfu_memory *memory, struct rp_vfu_backing *backing);

/* @return the range that holds an address, NULL: none. */
const struct rp_vfu_range *rp_vfu_memory_find(const struct rp_vfu_memory *memory, uint64_t iova);

/* Drop everything. */
void rp_vfu_memory_clear(struct rp_vfu_memory *memory);

#endif
