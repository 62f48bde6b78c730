/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef RP_DMA_LOG_INTERNAL_H
#define RP_DMA_LOG_INTERNAL_H

#include "rp_dma_log.h"
#include "space.h"

/**
 * @file
 * Marking from inside the library. Threads: any, within a visit or an online reader.
 */

void rp_dma_log_mark_visiting(struct rp_dma_space *space, uint64_t iova, uint64_t size_bytes);

#endif
