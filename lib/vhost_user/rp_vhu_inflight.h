/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef RP_VHU_INFLIGHT_H
#define RP_VHU_INFLIGHT_H

#include <stdbool.h>
#include <stdint.h>

#include "rp_wire_why.h"

/**
 * @file
 * The in-flight region: memory that outlives a backend, in which it notes what it took
 * from a ring and has not given back. The backend makes the file, the frontend keeps it
 * and hands it to the next backend, which does again what the last one left undone.
 *
 * Theory of operation: the region is read once, when a ring's notes are opened
 * (rp_vhu_inflight_split_create(), rp_vhu_inflight_packed_create()): copied, checked,
 * repaired as the specification says. From then on it is only written, in an order that
 * leaves it repairable after each single store. What it is compared with is memory of our
 * own: whoever writes to the region meanwhile confuses the next backend, not this one.
 *
 * Byte order: the host's.
 *
 * Ownership: a region is the creator's, and must outlive the notes of its rings.
 *
 * Threads: a region and the notes of a ring each belong to one thread at a time; rings
 * are independent of each other.
 *
 * Specification: vhost-user.rst, "Inflight I/O tracking".
 */

/** What a region has room for. */
struct rp_vhu_inflight_layout {
	bool packed; /**< VIRTIO_F_RING_PACKED is negotiated */
	uint16_t queues_count; /**< 1 to RP_VHU_QUEUES_MAX */
	uint16_t queue_num; /**< entries of each queue, 1 to 32768 */
};

/** Where a region's first queue may begin in its file: a multiple of this; so far each is from the next. */
#define RP_VHU_INFLIGHT_ALIGN_BYTES 64u

struct rp_vhu_inflight;

/** @return the bytes of a region with this layout; 0: counts out of range. */
uint64_t rp_vhu_inflight_bytes(const struct rp_vhu_inflight_layout *layout);

/**
 * Make the file of a new region: zeros, sealed against growing and shrinking.
 *
 * @param ret_fd the caller's.
 * @return 0, -EBADMSG (counts out of range), -ENOSPC (no memory, no descriptor).
 */
int rp_vhu_inflight_file(const struct rp_vhu_inflight_layout *layout, int *ret_fd, struct rp_wire_why *why);

/**
 * Map a region.
 *
 * @param fd borrowed; must be sealed against shrinking: a file that shrinks would end
 *        this process.
 * @param layout copied.
 * @param size_bytes of the region: at least what the layout needs.
 * @param offset_bytes of the region in the file, a multiple of RP_VHU_INFLIGHT_ALIGN_BYTES.
 * @return 0, -EBADMSG (counts, size or offset; no sealed file, one that ends before; a
 *         queue's version is not 0 or 1, or its number of entries not the layout's),
 *         -ENOSPC (no memory).
 */
int rp_vhu_inflight_create(int fd, const struct rp_vhu_inflight_layout *layout, uint64_t size_bytes,
			   uint64_t offset_bytes, struct rp_vhu_inflight **ret_inflight, struct rp_wire_why *why);

/** Unmap and free, after the notes of its rings. NULL is allowed. @return NULL. */
struct rp_vhu_inflight *rp_vhu_inflight_destroy(struct rp_vhu_inflight *inflight);

/** @return the layout, borrowed. */
const struct rp_vhu_inflight_layout *rp_vhu_inflight_layout(const struct rp_vhu_inflight *inflight);

/* Split rings. */

struct rp_vhu_inflight_split;

/**
 * Open a split ring's notes. Those of a queue that never had any are begun; else what a
 * backend left half done when it died is completed.
 *
 * @param ring_num entries of the ring, at most the layout's.
 * @param used_idx the idx field of the used ring, from guest memory.
 * @return 0, -EINVAL (queue, ring_num, a region of packed rings), -ENOMEM, -EBADMSG (the
 *         region's or used_idx's contents; why names the field; nothing was written).
 */
int rp_vhu_inflight_split_create(struct rp_vhu_inflight *inflight, unsigned int queue, uint16_t ring_num,
				 uint16_t used_idx, struct rp_vhu_inflight_split **ret_split, struct rp_wire_why *why);

/** Free; the region stays as it is. NULL is allowed. @return NULL. */
struct rp_vhu_inflight_split *rp_vhu_inflight_split_destroy(struct rp_vhu_inflight_split *split);

/**
 * What has to be done again: heads in the order in which they were taken. They are in
 * flight, and need no rp_vhu_inflight_split_take().
 *
 * @param ret_heads borrowed, as found when the notes were opened.
 * @return how many.
 */
unsigned int rp_vhu_inflight_split_pending(const struct rp_vhu_inflight_split *split, const uint16_t **ret_heads);

/** @return the next entry of the available ring: what is used and what is in flight lies before it. */
uint16_t rp_vhu_inflight_split_avail_idx(const struct rp_vhu_inflight_split *split);

/**
 * A head was taken from the available ring. Before anything is done about it.
 *
 * @return 0, -EBADMSG (no such head), -EBUSY (it is in flight already).
 */
int rp_vhu_inflight_split_take(struct rp_vhu_inflight_split *split, uint16_t head);

/**
 * A head's work is done, and it goes into the used ring. Before the used ring's idx is
 * written; any number before rp_vhu_inflight_split_used().
 *
 * @return 0, -EBADMSG (no such head), -EBUSY (it is not in flight).
 */
int rp_vhu_inflight_split_done(struct rp_vhu_inflight_split *split, uint16_t head);

/** The used ring's idx was written, for all that is done. */
void rp_vhu_inflight_split_used(struct rp_vhu_inflight_split *split);

/* Packed rings. */

struct rp_vhu_inflight_packed;

/** A descriptor, in the host's byte order (virtio 1.2, 2.8.13). */
struct rp_vhu_inflight_desc {
	uint64_t addr;
	uint32_t len_bytes;
	uint16_t id;
	uint16_t flags;
};

/** @param index below the ring's size. @return the flags of a descriptor of the ring, in the host's byte order. */
typedef uint16_t (*rp_vhu_inflight_flags)(void *ctx, uint16_t index);

/**
 * Open a packed ring's notes, as rp_vhu_inflight_split_create().
 *
 * @param used where a queue that never had notes goes on: bits 0-14 the next used
 *        descriptor, bit 15 its wrap counter. Else the region knows better.
 * @param flags reads the ring; called at most once, inside this call.
 * @return as rp_vhu_inflight_split_create(); -EINVAL also for `used` beyond the ring.
 */
int rp_vhu_inflight_packed_create(struct rp_vhu_inflight *inflight, unsigned int queue, uint16_t ring_num,
				  uint16_t used, rp_vhu_inflight_flags flags, void *flags_ctx,
				  struct rp_vhu_inflight_packed **ret_packed, struct rp_wire_why *why);

/** Free; the region stays as it is. NULL is allowed. @return NULL. */
struct rp_vhu_inflight_packed *rp_vhu_inflight_packed_destroy(struct rp_vhu_inflight_packed *packed);

/**
 * What has to be done again: entries in the order in which they were taken; see
 * rp_vhu_inflight_packed_descs(). They are in flight already.
 *
 * @param ret_entries borrowed, as found when the notes were opened.
 * @return how many.
 */
unsigned int rp_vhu_inflight_packed_pending(const struct rp_vhu_inflight_packed *packed, const uint16_t **ret_entries);

/**
 * The descriptors of an entry in flight. After a crash they come from the region: check
 * them as if the guest had just written them.
 *
 * @param room of ret_descs.
 * @return how many, -EINVAL (not in flight), -ENOSPC (more than room).
 */
int rp_vhu_inflight_packed_descs(const struct rp_vhu_inflight_packed *packed, uint16_t entry,
				 struct rp_vhu_inflight_desc *ret_descs, unsigned int room);

/** @return where the ring goes on, as the base in struct rp_vhu_vring: available and used, with wrap counters. */
uint32_t rp_vhu_inflight_packed_base(const struct rp_vhu_inflight_packed *packed);

/**
 * A buffer was taken from the ring. Before anything is done about it.
 *
 * @param descs its descriptors in the ring (one, if it is an indirect one), borrowed.
 * @param ret_entry names it from now on.
 * @return 0, -EINVAL (count is 0), -ENOSPC (more in flight than the ring has),
 *         -EBUSY (something is done and not used yet: rp_vhu_inflight_packed_used() first).
 */
int rp_vhu_inflight_packed_take(struct rp_vhu_inflight_packed *packed, const struct rp_vhu_inflight_desc *descs,
				uint16_t count, uint16_t *ret_entry);

/**
 * A buffer's work is done; any number before rp_vhu_inflight_packed_use().
 *
 * @return 0, -EBUSY (it is not in flight, or between _use() and _used()).
 */
int rp_vhu_inflight_packed_done(struct rp_vhu_inflight_packed *packed, uint16_t entry);

/**
 * All that is done will be used descriptors next. Write their flags after it, those of the
 * first one last; then rp_vhu_inflight_packed_used().
 */
void rp_vhu_inflight_packed_use(struct rp_vhu_inflight_packed *packed);

/** The flags were written. Nothing happens without rp_vhu_inflight_packed_use(). */
void rp_vhu_inflight_packed_used(struct rp_vhu_inflight_packed *packed);

#endif
