/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef RP_DMA_VISIT_H
#define RP_DMA_VISIT_H

#include "space.h"

/**
 * @file
 * A short look into a space by a thread that has no reader: it takes a free
 * place in the space and is, until it gives it back, what an online reader is
 * (reader.h): the writer lets go of nothing that it may have seen.
 *
 * Threads: any. A visit is short, waits for nobody, and is not nested.
 */

/** Begin. The tables and pages found from here on are good until rp_dma_visit_end(). */
struct rp_dma_visit *rp_dma_visit_begin(struct rp_dma_space *space);

/** The table of this moment. */
uint64_t rp_dma_visit_table(struct rp_dma_space *space);

/** End; tells the writer when it may be waiting. */
void rp_dma_visit_end(struct rp_dma_space *space, struct rp_dma_visit *visit);

#endif
