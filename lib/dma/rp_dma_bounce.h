/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef RP_DMA_BOUNCE_H
#define RP_DMA_BOUNCE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "rp_dma.h"

/**
 * @file
 * A device's way to a range of an address space as a pointer: direct where a file
 * is mapped, a bounce buffer where not. The device sees no difference: it maps,
 * uses the bytes, unmaps and says how many it has written.
 *
 * A bounce buffer that may be read is filled before it is given out; one that may
 * be written is zeros otherwise, and written back by the unmap, as far as was
 * accessed. It is counted in the space (rp_dma_limits.bounce_bytes_max) from map to
 * the end of the unmap. A map may be shorter than asked for: at the end of a
 * mapping, or for want of space; go on behind it. With no space at all it fails with
 * -ENOSPC; a waiter is called when some is free.
 *
 * When the range goes (unmap, remap, a peer that left), listeners are told
 * (rp_dma_space_listen()). A direct pointer holds the old bytes until it is unmapped,
 * and the peer's answer with them. A bounce buffer ends: it can be read and written
 * on, but nothing is written back, and the unmap that would have done it says
 * -ECANCELED. A buffer that is being filled or written back holds the range until its
 * bytes have moved.
 *
 * Threads: any, several at a time. The forms that wait (rp_dma_map(), rp_dma_unmap())
 * are not for the carrier's thread, unless the range has a file.
 *
 * Ownership: the bytes are the space's; they are good from map to unmap. A pointer is
 * looked up, never followed: a stray one, one of another space, one unmapped before
 * are -EINVAL. A device that wrote in front of its buffer is found out by a magic
 * there: -EINVAL, and none of its bytes is written back.
 *
 * Errors: -EFAULT (not mapped with that access), -ENOSPC (no space for a buffer, too
 * many maps), -ENOTSUP (no file, and nobody carries), -ENOTCONN, -ECANCELED (the
 * range or the space went meanwhile), -EINVAL (the caller's mistake), -ENOMEM, and
 * what the peer answered.
 */

/**
 * Map a range, and wait until its bytes are there.
 *
 * @param access_mask RP_DMA_READ: the device reads the bytes; RP_DMA_WRITE: it writes them.
 * @param ret_bytes as far from a multiple of 64 as iova is, when it is a bounce buffer.
 * @param ret_size_bytes at least 1, at most size_bytes.
 * @return 0, or -EFAULT, -ENOSPC, -ENOTSUP, -ENOTCONN, -ECANCELED, -EINVAL (size 0, no or
 *         unknown access bits), -ENOMEM, or what the peer answered.
 */
int rp_dma_map(struct rp_dma_space *space, uint64_t iova, uint64_t size_bytes, uint32_t access_mask, void **ret_bytes,
	       uint64_t *ret_size_bytes);

/**
 * Let go of a map, and wait until what was written is with the peer. If it was one,
 * the pointer is void whatever this returns; space is free and waiters are called.
 *
 * @param size_bytes, access_mask as they were mapped.
 * @param accessed_bytes how much was written from the start; at most size_bytes.
 * @return 0, -EINVAL (no such map of this space, or accessed beyond its end: nothing
 *         happened; or the magic in front of it is gone), -ECANCELED (the range went before it could be written back), -ENOTCONN,
 *         or what the peer answered: then the bytes were not all written.
 */
int rp_dma_unmap(struct rp_dma_space *space, void *bytes, uint64_t size_bytes, uint32_t access_mask,
		 uint64_t accessed_bytes);

/** How a map that may take a while ends: as rp_dma_map() returns. bytes is NULL after an error. */
typedef void rp_dma_map_done(void *ctx, int error, void *bytes, uint64_t size_bytes);

/** How an unmap that may take a while ends: as rp_dma_unmap() returns. */
typedef void rp_dma_unmap_done(void *ctx, int error);

/**
 * Map without waiting. When nothing is to be fetched done() runs inside this call,
 * else in the carrier's thread, or in the one that ends the space.
 *
 * @param done runs once, unless this returns an error. May map and unmap.
 * @return 0, or an error of rp_dma_map(); then done() is not called.
 */
int rp_dma_map_start(struct rp_dma_space *space, uint64_t iova, uint64_t size_bytes, uint32_t access_mask,
		     rp_dma_map_done *done, void *ctx);

/**
 * Unmap without waiting. When nothing is to be written back done() runs inside this
 * call, else in the carrier's thread, or in the one that ends the space. The pointer
 * is void when this has returned 0.
 *
 * @param done runs once, unless this returns an error. May map and unmap. NULL: none.
 * @return 0, or -EINVAL (no such map, or accessed beyond its end); then done() is not called.
 */
int rp_dma_unmap_start(struct rp_dma_space *space, void *bytes, uint64_t size_bytes, uint32_t access_mask,
		       uint64_t accessed_bytes, rp_dma_unmap_done *done, void *ctx);

/** Who waits for space. Caller-owned, zero-initialised, stays until it was called or cancelled. */
struct rp_dma_waiter {
	/**
	 * There may be space: try again, register again if there was not. Once for each
	 * registration, in the thread that freed some or that registers. May do whatever
	 * that thread may, and free the waiter.
	 */
	void (*freed)(struct rp_dma_waiter *waiter);
	void *ctx; /**< the caller's */
	/* Private from here. */
	TAILQ_ENTRY(rp_dma_waiter) link;
	uint64_t round;
	bool waiting;
};

/**
 * Be called when a map may succeed again: after each unmap, and at once when there
 * is space now. Any thread. Nothing happens when it waits already.
 */
void rp_dma_waiter_register(struct rp_dma_space *space, struct rp_dma_waiter *waiter);

/** Wait no more. When it returns freed() neither runs nor will, but in the calling thread. Any thread. */
void rp_dma_waiter_cancel(struct rp_dma_space *space, struct rp_dma_waiter *waiter);

/** Bytes of bounce buffers that are out or under way at this moment. Any thread. */
uint64_t rp_dma_bounce_used_bytes(const struct rp_dma_space *space);

/** Maps of either kind that are out or under way at this moment. Any thread. */
uint64_t rp_dma_map_count(const struct rp_dma_space *space);

#endif
