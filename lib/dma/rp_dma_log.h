/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef RP_DMA_LOG_H
#define RP_DMA_LOG_H

#include <stdbool.h>
#include <stdint.h>

#include "rp_dma.h"

/**
 * @file
 * Which pages of an address space the device has written since they were last
 * reported: dirty tracking for migration.
 *
 * Source: vfio-user, VFIO_USER_DEVICE_FEATURE with VFIO_DEVICE_FEATURE_DMA_LOGGING_START,
 * _STOP and _REPORT, and VFIO_USER_DMA_UNMAP with VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP.
 *
 * A log is begun for all that is to be watched (rp_dma_log_start()), or mapping by
 * mapping, each with pages of its own size (rp_dma_log_add(), rp_dma_log_remove()), or
 * both. It knows addresses, not mappings: what is unmapped stays in it until it is
 * reported or removed. To answer an unmap with its bitmap, start the unmap, wait until it has
 * settled (then nobody marks its pages any more), report its range.
 *
 * Who marks: rp_dma_io_* after a write, rp_dma_unmap() of what was mapped for
 * writing, each by itself. Who writes through translated addresses marks by hand,
 * after the write and before its quiescent point.
 *
 * Threads: start, stop, add, remove and report are the writer's (all but report wait
 * for readers, as an unmap does); mark is any thread's and takes no lock.
 *
 * Errors: the dictionary of rp_wire_why.h.
 */

/** More of them in one log are refused. */
#define RP_DMA_LOG_RANGES_MAX 1024u

/** Addresses to watch. */
struct rp_dma_log_range {
	uint64_t iova; /**< need not be a multiple of the page; its page is watched */
	uint64_t size_bytes; /**< at least 1; iova + size_bytes may be 2^64 but not more */
};

/**
 * Begin to watch ranges, with nothing dirty. Whatever a reader or an access writes
 * when this has returned is in the log; so is what is written through a pointer of
 * rp_dma_map() before it is unmapped.
 *
 * @param page_bytes a power of two: what one bit stands for.
 * @param ranges may overlap; not kept.
 * @return 0, -EBUSY (a log is on), -EBADMSG (page size, no range, an empty one or
 *         one beyond 2^64), -ENOSPC (too many ranges or pages, no memory).
 */
int rp_dma_log_start(struct rp_dma_space *space, uint64_t page_bytes, const struct rp_dma_log_range *ranges,
		     uint32_t ranges_count, struct rp_wire_why *why);

/**
 * Watch one more range, with pages of its own size: a mapping, say. Begins a log when
 * none is on; what is in the log stays.
 *
 * @param page_bytes a power of two: what one bit stands for.
 * @param range its pages must not be watched yet.
 * @return 0, -EEXIST (a page of it is watched), -EBADMSG (page size, an empty range or one
 *         beyond 2^64), -ENOSPC (as many ranges as there may be mappings, too many pages, no memory).
 */
int rp_dma_log_add(struct rp_dma_space *space, uint64_t page_bytes, const struct rp_dma_log_range *range,
		   struct rp_wire_why *why);

/**
 * Watch no more what was added or started with and touches the range: all of it, also
 * what lies outside. What was not reported is forgotten. The last one ends the log.
 *
 * @return 0, -EBADMSG (an empty range or one beyond 2^64), -ENOSPC (no memory; nothing changed).
 */
int rp_dma_log_remove(struct rp_dma_space *space, const struct rp_dma_log_range *range, struct rp_wire_why *why);

/** End it; what was not reported is forgotten. Nothing happens when none is on. */
void rp_dma_log_stop(struct rp_dma_space *space);

/** Whether one is on (writer's thread). */
bool rp_dma_log_is_on(const struct rp_dma_space *space);

/**
 * Bytes were written. Any thread, with or without a reader, no lock; what is not
 * watched is ignored. Size 0 is nothing; what wraps is cut at 2^64.
 */
void rp_dma_log_mark(struct rp_dma_space *space, uint64_t iova, uint64_t size_bytes);

/** The same in the thread of a reader that is online; costs one load when no log is on. */
void rp_dma_reader_mark(struct rp_dma_reader *reader, uint64_t iova, uint64_t size_bytes);

/** The bytes of a bitmap with a bit for each page: whole 64-bit words. Any thread. */
uint64_t rp_dma_log_bitmap_bytes(uint64_t size_bytes, uint64_t page_bytes);

/**
 * Report and clear a range, or a piece of one. Pages that are not watched are clean.
 * Who cannot deliver the bitmap marks the pages again.
 *
 * @param page_bytes of the bitmap, a power of two, at least that of what is watched there.
 * @param iova a multiple of page_bytes.
 * @param size_bytes a multiple of page_bytes, at least one.
 * @param ret_bitmap page n of the range is bit n % 64 of word n / 64, words in host
 *        order; any alignment. Written whole on success, untouched on failure.
 * @param bitmap_bytes its room, at least rp_dma_log_bitmap_bytes().
 * @return 0, -EBUSY (no log is on), -EBADMSG (page size, alignment, beyond 2^64),
 *         -EMSGSIZE (room).
 */
int rp_dma_log_report(struct rp_dma_space *space, uint64_t iova, uint64_t size_bytes, uint64_t page_bytes,
		      void *ret_bitmap, uint64_t bitmap_bytes, struct rp_wire_why *why);

#endif
