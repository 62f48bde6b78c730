/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef RP_DMA_PASID_H
#define RP_DMA_PASID_H

#include <stdbool.h>
#include <stdint.h>

#include "rp_dma.h"

/**
 * @file
 * The address spaces of one device that uses several: one for each process address
 * space identifier (PASID) that its client gave it. They share files and memory, so
 * that a space costs some ten kilobytes, and one mapping of a file here serves all.
 *
 * Source: PCI Express, "Process Address Space ID (PASID)": 20 bits; vfio-user with
 * `ringpass.iommu` (doc/protocol/vfio-user-iommu.md).
 *
 * A data path thread has one reader for all spaces. It enters a space before it
 * translates there, which costs a lookup and, the first time after a quiescent point,
 * a store; its next quiescent point leaves all that it entered. So a space may be
 * changed or closed while threads work in others.
 *
 * Threads: as rp_dma.h. The set and all of its spaces have one writer; a
 * rp_dma_pasid_reader belongs to one thread, but the writer makes and destroys it. Where
 * that is the writer's own thread, it is offline while a space is changed or closed.
 *
 * Ownership: the set owns its spaces. They are not destroyed with rp_dma_space_destroy().
 *
 * Errors: the dictionary of rp_wire_why.h.
 */

#define RP_DMA_PASID_BITS 20u
/** No PASID has this number: for those who mean the space without one, which is not in a set. */
#define RP_DMA_NO_PASID UINT32_MAX
/** Readers of one set. */
#define RP_DMA_PASID_READERS_MAX 64u

struct rp_dma_pasids;
struct rp_dma_pasid_reader;

/** Limits of a set. Zero means the default. */
struct rp_dma_pasid_limits {
	uint32_t spaces_max; /**< default 1024, at most 2^20; beyond: -ENOSPC */
	struct rp_dma_limits space; /**< of each of its spaces */
};

/**
 * Make an empty set.
 *
 * @param limits NULL for the defaults.
 * @return 0 or -ENOMEM.
 */
int rp_dma_pasids_create(const struct rp_dma_pasid_limits *limits, struct rp_dma_pasids **ret_pasids);

/** End all spaces (rp_dma_space_destroy()) and the set. Its readers must be gone. NULL is allowed. @return NULL. */
struct rp_dma_pasids *rp_dma_pasids_destroy(struct rp_dma_pasids *pasids);

/**
 * Find the space of a PASID, or make it. A new one is empty, and has no carrier, wake
 * function or listener. Writer's thread.
 *
 * @param ret_space the set's.
 * @return 1 (made), 0 (it was there), -EBADMSG (more than 20 bits), -ENOSPC (limit or memory).
 */
int rp_dma_pasids_open(struct rp_dma_pasids *pasids, uint32_t pasid, struct rp_dma_space **ret_space,
		       struct rp_wire_why *why);

/** The space of a PASID, or NULL. Writer's thread. */
struct rp_dma_space *rp_dma_pasids_find(const struct rp_dma_pasids *pasids, uint32_t pasid);

/**
 * The first space from a PASID on: to walk over all. Writer's thread.
 *
 * @param from_pasid 0, or one more than the last one's.
 * @return whether there is one.
 */
bool rp_dma_pasids_next(const struct rp_dma_pasids *pasids, uint32_t from_pasid, uint32_t *ret_pasid,
			struct rp_dma_space **ret_space);

/**
 * Take a space away and end it, as rp_dma_space_destroy() does; waits for readers. No
 * thread may be inside a call on it. What was never opened is ignored. Writer's thread.
 *
 * @return 0, or -ENOSPC (no memory; nothing changed).
 */
int rp_dma_pasids_close(struct rp_dma_pasids *pasids, uint32_t pasid);

/** How many spaces there are. Writer's thread. */
uint32_t rp_dma_pasids_count(const struct rp_dma_pasids *pasids);

/**
 * Make a reader of all spaces, those to come included. It starts offline. Writer's thread.
 *
 * @return 0, -ENOSPC (RP_DMA_PASID_READERS_MAX) or -ENOMEM.
 */
int rp_dma_pasid_reader_create(struct rp_dma_pasids *pasids, struct rp_dma_pasid_reader **ret_reader);

/** End a reader; it must be offline. Writer's thread. NULL is allowed. @return NULL. */
struct rp_dma_pasid_reader *rp_dma_pasid_reader_destroy(struct rp_dma_pasid_reader *reader);

/** From here until rp_dma_pasid_reader_offline() the reader may enter spaces. The reader's thread. */
void rp_dma_pasid_reader_online(struct rp_dma_pasid_reader *reader);

/** Leave all that was entered; call before sleeping. The reader's thread. */
void rp_dma_pasid_reader_offline(struct rp_dma_pasid_reader *reader);

/** A quiescent point: all that was entered is left, addresses translated before are void. Online only; the reader's thread. */
void rp_dma_pasid_reader_quiescent(struct rp_dma_pasid_reader *reader);

/**
 * Enter a space, online. The reader's thread.
 *
 * @return the space's reader, which is online until the next quiescent point and is for
 *         translating and marking only, or NULL: that PASID has no space.
 */
struct rp_dma_reader *rp_dma_pasid_reader_enter(struct rp_dma_pasid_reader *reader, uint32_t pasid);

#endif
