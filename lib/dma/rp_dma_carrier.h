/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef RP_DMA_CARRIER_H
#define RP_DMA_CARRIER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "rp_dma.h"

/**
 * @file
 * Who moves the bytes that no file stands behind: a space knows a carrier, and
 * hands it transfers. lib/vfio_user's server is one (VFIO_USER_DMA_READ and
 * VFIO_USER_DMA_WRITE messages, or the payload window).
 *
 * Source: vfio-user, "VFIO_USER_DMA_READ" and "VFIO_USER_DMA_WRITE".
 *
 * Threads: submit() and cancel() are called from any thread, several at a time,
 * never with a lock of the space held. finished() is the carrier's to call, from
 * one thread at a time.
 *
 * Ownership: a transfer is the submitter's (lib/dma); it is lent to the carrier
 * from submit() until finished() is called or cancel() returns.
 *
 * A transfer may be submitted for a range whose unmap was started a moment ago:
 * it was looked up before. It holds the unmap (rp_dma_space_settled()) until it
 * has finished. Who cannot let it run to its end calls finished() with
 * -ECANCELED, and looks again each time something is submitted.
 */

/** One contiguous piece of an access. */
struct rp_dma_transfer {
	bool write; /**< true: our bytes go to the peer's memory */
	uint64_t iova; /**< of a range without a file */
	uint64_t size_bytes; /**< any size but 0; the carrier cuts it into messages and pipelines them */
	void *bytes; /**< ours; good until finished or cancelled */
	/**
	 * Exactly once, in the carrier's thread, never from inside submit(), not
	 * after cancel() returned. error: 0, -ECANCELED, -ENOTCONN, or what the peer
	 * answered, as a negative errno.
	 */
	void (*finished)(struct rp_dma_transfer *transfer, int error);
	void *owner; /**< the submitter's */
	/* The carrier's from here, while it has the transfer. */
	TAILQ_ENTRY(rp_dma_transfer) link;
	uint64_t sent_bytes; /**< how far commands went out */
	uint64_t answered_bytes;
	int error; /**< the first one */
	uint32_t in_flight_count;
	void *carrier_data;
};

/** What a carrier does. */
struct rp_dma_carrier_ops {
	/**
	 * Take a transfer: queue it, wake the carrier's thread. Transfers may
	 * overtake each other; a fence is to wait until one has finished.
	 *
	 * @return 0, -ENOTCONN (no peer), -ENOTSUP. On failure finished() is not called.
	 */
	int (*submit)(void *ctx, struct rp_dma_transfer *transfer);
	/**
	 * Give a transfer up. When it returns nothing touches transfer->bytes, and
	 * finished() neither runs nor will run: answers that come late are swallowed.
	 * From inside finished() of the same transfer it is not called.
	 *
	 * @return 0, or -ENOENT: it had finished already (finished() has returned).
	 */
	int (*cancel)(void *ctx, struct rp_dma_transfer *transfer);
};

/**
 * Say who carries. Writer's thread, before readers, accesses and maps.
 *
 * @param ops not copied; NULL: nobody, ranges without a file are -ENOTSUP.
 * @param ctx the carrier's, handed to each op.
 */
void rp_dma_space_set_carrier(struct rp_dma_space *space, const struct rp_dma_carrier_ops *ops, void *ctx);

#endif
