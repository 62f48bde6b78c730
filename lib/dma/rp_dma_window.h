/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef RP_DMA_WINDOW_H
#define RP_DMA_WINDOW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "rp_dma.h"

/** As many as there are masks of access. */
#define RP_DMA_WINDOW_MASKS ((RP_DMA_READ | RP_DMA_WRITE) + 1u)

/**
 * @file
 * Many translations at a time: what a reader found last, kept, because the buffers of a
 * burst lie in the same mapping more often than not.
 *
 * Theory of operation: a window is one mapping of the table that the space had when it was
 * found. It is looked through only after rp_dma_window_refresh(), which forgets it when the
 * space has another table by now; so a burst sees the mappings of its begin or newer ones,
 * and what it was given is good until the reader's next quiescent point, like every address.
 *
 * Source: as rp_dma.h.
 *
 * Threads: the reader's. Ownership: the caller's memory; zeroes are a window through which
 * nothing is seen.
 */
struct rp_dma_window {
	uint64_t first_iova; /* private, as all */
	uint8_t *hva; /* of first_iova */
	uint64_t seen_bytes[RP_DMA_WINDOW_MASKS]; /* from there on, with the access that is the index; 0: nothing */
	uint64_t table;
	uint64_t generation;
};

/** Before each burst of looks: forget what is not known to be so any more. Online. */
void rp_dma_window_refresh(struct rp_dma_window *window, const struct rp_dma_reader *reader);

/**
 * Move the window to the mapping of an address; by the table of this moment. Online.
 *
 * @return whether it is mapped with that access and a file; else nothing is seen through it.
 */
bool rp_dma_window_move(struct rp_dma_window *window, const struct rp_dma_reader *reader, uint64_t iova,
			uint32_t access_mask);

/** Count what was translated through windows (rp_dma_reader_counters). Reader's thread. */
void rp_dma_window_count(struct rp_dma_reader *reader, uint64_t translations);

/**
 * Whether all of some bytes are seen through a window: those from `at_bytes` behind its first one on, when from there
 * on seen_bytes are seen. An address before the window is beyond it by the subtraction, and no bytes are too many.
 */
static inline bool
rp_dma_window_sees(uint64_t seen_bytes, uint64_t at_bytes, uint64_t size_bytes)
{
	return at_bytes < seen_bytes && size_bytes - 1 < seen_bytes - at_bytes;
}

/**
 * Translate, after rp_dma_window_refresh(), before the reader's next quiescent point.
 *
 * @return the address of `iova` when all bytes are seen with that access; else NULL, which
 *         says nothing about whether it is mapped. Also NULL when size_bytes is 0.
 */
static inline void *
rp_dma_window_translate(const struct rp_dma_window *window, uint64_t iova, uint64_t size_bytes, uint32_t access_mask)
{
	uint64_t at_bytes = iova - window->first_iova;

	if (!rp_dma_window_sees(window->seen_bytes[access_mask % RP_DMA_WINDOW_MASKS], at_bytes, size_bytes))
		return NULL;
	return window->hva + at_bytes;
}

#endif
