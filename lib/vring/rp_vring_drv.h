/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef RP_VRING_DRV_H
#define RP_VRING_DRV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "rp_vring_dev.h"

/**
 * @file
 * The driver's side of a virtqueue, split (virtio 1.2, 2.7) or packed (2.8), in
 * memory that the caller owns; the features decide, as in rp_vring_dev.h. Used by tests, benchmarks and small VMM-shaped programs. It trusts
 * the device no more than the device trusts it: which descriptors are out is kept
 * in private memory.
 *
 * Threads: one thread per ring.
 *
 * Errors: -EINVAL and -ENOSPC are the caller's, -EBADMSG the device's.
 */

struct rp_vring_drv;

/** One part of a chain. */
struct rp_vring_part {
	uint64_t iova;
	uint32_t size_bytes;
	bool device_writes;
};

/**
 * Bytes that a ring of `num` entries needs, aligned to 4096; its three parts in the
 * order of the layout.
 *
 * @param features VIRTIO_F_RING_PACKED is looked at.
 */
size_t rp_vring_drv_bytes(uint16_t num, uint64_t features);

/**
 * Lay out a fresh ring in `memory`.
 *
 * @param memory zeroed by this call; rp_vring_drv_bytes(num, features) long, aligned to 4096.
 * @param memory_iova the device's address of it.
 * @param features as negotiated (event index is used when in them). The ring
 *        begins at rp_vring_position_fresh(features).
 * @return 0, -EINVAL, -ENOMEM.
 */
int rp_vring_drv_create(uint16_t num, void *memory, uint64_t memory_iova, uint64_t features,
			struct rp_vring_drv **ret_ring);

/** What of a ring with nothing out is not in its memory. Plain numbers, for another process. */
struct rp_vring_drv_state {
	uint32_t position; /**< as rp_vring_position.h encodes it */
	uint16_t first_free; /**< the descriptor (split) or id (packed) that the next chain begins with */
	bool interrupt_wanted;
};

/** Where another can go on. @return 0, -EBUSY (chains are out). */
int rp_vring_drv_save(const struct rp_vring_drv *ring, struct rp_vring_drv_state *ret_state);

/**
 * Go on with a ring where rp_vring_drv_save() left it, in this process or another.
 * Nothing is written to the memory.
 *
 * @param memory that of the ring, at any place; otherwise as rp_vring_drv_create().
 * @param state input: judged.
 * @return 0, -EINVAL (as rp_vring_drv_create()), -EBADMSG (a position or descriptor that cannot be, or
 *         a split ring's memory that says another position), -ENOMEM.
 */
int rp_vring_drv_resume(uint16_t num, void *memory, uint64_t memory_iova, uint64_t features,
			const struct rp_vring_drv_state *state, struct rp_vring_drv **ret_ring);

/** Free the bookkeeping; the memory is the caller's. NULL is allowed. @return NULL. */
struct rp_vring_drv *rp_vring_drv_destroy(struct rp_vring_drv *ring);

/** The layout to tell the device; its notes are NULL. */
void rp_vring_drv_layout(const struct rp_vring_drv *ring, struct rp_vring_layout *ret_layout);

/**
 * Make a chain available (and publish it).
 *
 * @param cookie given back by rp_vring_drv_get().
 * @return 0, -ENOSPC (too few free descriptors), -EINVAL (no parts, an empty one,
 *         one that the device reads after one that it writes, or 2^32 bytes and more).
 */
int rp_vring_drv_add(struct rp_vring_drv *ring, const struct rp_vring_part *parts, uint16_t parts_count, void *cookie);

/** Bytes of a table for rp_vring_drv_add_indirect(). */
#define RP_VRING_TABLE_BYTES(parts_count) ((size_t)(parts_count)*16)

/**
 * Make a chain available whose parts are in an indirect table; it takes one descriptor
 * of the ring (virtio 1.2, 2.7.5.3 and 2.8.7).
 *
 * @param table written by this call, RP_VRING_TABLE_BYTES(parts_count) long; the device's
 *        until the chain came back.
 * @param table_iova the device's address of it.
 * @return as rp_vring_drv_add(); -EINVAL also without VIRTIO_F_INDIRECT_DESC.
 */
int rp_vring_drv_add_indirect(struct rp_vring_drv *ring, const struct rp_vring_part *parts, uint16_t parts_count,
			      void *table, uint64_t table_iova, void *cookie);

/** Whether the device wants a kick for what was added since the last call (virtio 1.2, 2.7.10 and 2.8.14). */
bool rp_vring_drv_needs_kick(struct rp_vring_drv *ring);

/**
 * Take one used chain. With VIRTIO_F_IN_ORDER a device may write one used entry for
 * several chains (2.7.9, 2.8.8): those it skipped count as fully written.
 *
 * @param ret_cookie set when 1 is returned, as is ret_written_bytes.
 * @return 1, 0 when there is none, -EBADMSG (the device wrote an index beyond what
 *         is out, an id that is not out, or more bytes than the chain takes; nothing
 *         is taken).
 */
int rp_vring_drv_get(struct rp_vring_drv *ring, void **ret_cookie, uint32_t *ret_written_bytes);

/**
 * Ask for interrupts or for none; when asking, look for used chains once more after it.
 * A fresh ring asks for them, and while it does each rp_vring_drv_get() asks again.
 */
void rp_vring_drv_set_interrupt(struct rp_vring_drv *ring, bool wanted);

/** Free descriptors. */
uint16_t rp_vring_drv_free_count(const struct rp_vring_drv *ring);

#endif
