/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef RP_DMA_IO_INTERNAL_H
#define RP_DMA_IO_INTERNAL_H

#include "space.h"

/**
 * @file
 * What the rest of the library asks of accesses. Threads: the writer's, when the
 * space ends.
 */

/** End every access under way with -ECANCELED; done() runs here. */
void rp_dma_io_end_all(struct rp_dma_space *space);

#endif
