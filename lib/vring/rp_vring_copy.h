/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef RP_VRING_COPY_H
#define RP_VRING_COPY_H

#include "rp_vring_dev.h"

/**
 * @file
 * The device's side of a virtqueue (rp_vring_dev.h) on a private copy of the
 * ring, for a device that reaches the driver's memory by messages.
 *
 * The caller brings the copy up to date between calls and carries back what
 * was written to it; rp_vring_mirror.h does both. Nothing is translated: parts of
 * chains are spans of the driver's memory (rp_vring_chain.spans), and whether they
 * are mapped is found out by whoever moves their bytes. An indirect table is named
 * in the chain, fetched by the caller, and followed as it was fetched: the driver
 * cannot change what is judged.
 *
 * Source: virtio 1.2, 2.7 and 2.8.
 *
 * Threads: one thread. Ownership: the copy's memory is the caller's while the
 * ring is used. Errors: as rp_vring_dev.h.
 */

/** Where the copies of the three parts are. */
struct rp_vring_copy {
	void *parts[RP_VRING_PARTS_COUNT]; /**< aligned to 16; as many bytes as rp_vring_part_bytes() says */
};

/**
 * Take a ring that is a copy, at a given position. Nothing is written to it.
 *
 * @param layout as for rp_vring_dev_init(); its addresses are judged, not used.
 * @param copy the memory is borrowed.
 * @return as rp_vring_dev_init(), but for what is about mappings.
 */
int rp_vring_dev_init_copy(struct rp_vring_dev *ring, const struct rp_vring_layout *layout, uint32_t position,
			   const struct rp_vring_copy *copy, struct rp_wire_why *why);

/**
 * Add what an indirect table holds to a chain that names one (chain->table), and
 * forget the name.
 *
 * @param table chain->table.size_bytes of it, at any alignment.
 * @return 0 (also when the chain names none), or -EBADMSG (ring broken).
 */
int rp_vring_dev_follow(struct rp_vring_dev *ring, struct rp_vring_chain *chain, const void *table);

#endif
