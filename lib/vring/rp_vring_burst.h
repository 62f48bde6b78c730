/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef RP_VRING_BURST_H
#define RP_VRING_BURST_H

#include <stdint.h>
#include <sys/uio.h>

#include "rp_vring_dev.h"

/**
 * @file
 * The device's side of a virtqueue (rp_vring_dev.h), many chains at a time. What it
 * says there holds here: what a driver may write, threads, ownership, errors.
 *
 * Theory of operation: a chain of a data path is short. It is told in 80 bytes here
 * instead of 4 KiB, and a burst is judged in one go while the lines of the next
 * descriptors are on their way. The rules are those of rp_vring_dev_peek(), and both may
 * be used on one ring in turns.
 *
 * A chain that breaks a rule ends the burst before it; it breaks the ring when it is the
 * first one that is looked at. So what came before it can be used and published.
 *
 * Source: virtio 1.2, 2.7 and 2.8.
 */

/** Chains of one burst. */
#define RP_VRING_BURST_MAX 64u

/** Pieces of a chain of a burst: a buffer that lies in two mappings is two. */
#define RP_VRING_BURST_PIECES 4u

/** As struct rp_vring_chain, of few pieces. */
struct rp_vring_burst_chain {
	uint16_t head; /**< give back with rp_vring_dev_fill_burst() or rp_vring_dev_fill() */
	uint8_t out_count; /**< pieces that the device reads: iov[0 .. out_count) */
	uint8_t in_count; /**< pieces that the device writes: iov[out_count .. out_count + in_count) */
	uint32_t out_bytes;
	uint32_t in_bytes;
	struct iovec iov[RP_VRING_BURST_PIECES]; /**< good until the reader's next quiescent point */
};

/** What was done with a chain. */
struct rp_vring_done {
	uint16_t head;
	uint32_t written_bytes; /**< that the device wrote to it */
};

/**
 * Look at up to `max_count` chains from the one `ahead` entries from the next on, without
 * taking them; rp_vring_dev_advance() takes them.
 *
 * @param ret_chains room for max_count.
 * @param max_count 1 to RP_VRING_BURST_MAX.
 * @return how many; 0 when there is none; -EBADMSG when the first one broke the ring, or as
 *         rp_vring_dev_peek(); -EMSGSIZE: the first one has more than RP_VRING_BURST_PIECES
 *         pieces, so it is for rp_vring_dev_peek(), the ring is sound; -EINVAL: max_count, or a ring
 *         of rp_vring_copy.h.
 */
int rp_vring_dev_peek_burst(struct rp_vring_dev *ring, uint16_t ahead, struct rp_vring_burst_chain *ret_chains,
			    uint16_t max_count);

/** Peek at the next chains and take them. @return as rp_vring_dev_peek_burst(). */
int rp_vring_dev_pop_burst(struct rp_vring_dev *ring, struct rp_vring_burst_chain *ret_chains, uint16_t max_count);

/**
 * As many calls of rp_vring_dev_fill(), for consecutive entries.
 *
 * @param ahead of the first one.
 * @param count up to RP_VRING_BURST_MAX.
 * @return as rp_vring_dev_fill(); with an error some may have been filled, which means nothing
 *         before they are published.
 */
int rp_vring_dev_fill_burst(struct rp_vring_dev *ring, uint16_t ahead, const struct rp_vring_done *done,
			    uint16_t count);

#endif
