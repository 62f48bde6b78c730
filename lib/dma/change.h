/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef RP_DMA_CHANGE_H
#define RP_DMA_CHANGE_H

#include "space.h"

/**
 * @file
 * How a range goes: its table is replaced, and what was there is let go of when
 * nobody has it any more: readers and visits by their epochs (reader.h), longer
 * references by holds.
 *
 * Holds are entered with the lock held, and a table is published with the lock
 * held: a hold whose ticket is a change's or newer saw the table of that change.
 *
 * Threads: changes belong to the writer; holds to any thread, under the lock.
 */

enum rp_dma_hold_kind {
	RP_DMA_HOLD_TRANSFER, /* of an access, with the carrier */
	RP_DMA_HOLD_MOVING, /* a buffer's bytes, with the carrier */
	RP_DMA_HOLD_DIRECT, /* a pointer into mapped memory was given out */
	RP_DMA_HOLD_BOUNCE, /* a buffer of ours was given out: told and ended, but not waited for */
};

/** Enter a hold of what the present table says. Lock held. */
void rp_dma_hold_open(struct rp_dma_space *space, struct rp_dma_hold *hold, uint64_t first_iova, uint64_t last_iova,
		      enum rp_dma_hold_kind kind, void *owner);

/** Let go; once more does nothing. Lock held; rp_dma_change_wake() before it is released. */
void rp_dma_hold_close(struct rp_dma_space *space, struct rp_dma_hold *hold);

/** Something ended that a change may wait for. Any thread, with or without the lock. */
void rp_dma_change_wake(struct rp_dma_space *space);

/** A change that frees itself when it has settled. @return NULL: no memory, and why says so. */
struct rp_dma_change *rp_dma_change_alloc(struct rp_wire_why *why);

/** One that has not begun. */
void rp_dma_change_free(struct rp_dma_change *change);

/** Commit the edit that took a range, and publish its table; from here the range waits to settle. The writer's. */
void rp_dma_change_begin(struct rp_dma_space *space, struct rp_dma_change *change, struct rp_dma_edit *edit,
			 uint64_t first_iova, uint64_t last_iova);

/** Sleep until it has settled; the change is the caller's again. */
void rp_dma_change_wait(struct rp_dma_space *space, struct rp_dma_change *change);

/** Sleep until all have settled. */
void rp_dma_change_wait_all(struct rp_dma_space *space);

/** Let go of every change, whoever still has a hold. */
void rp_dma_change_end_all(struct rp_dma_space *space);

#endif
