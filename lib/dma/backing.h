/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef RP_DMA_BACKING_H
#define RP_DMA_BACKING_H

#include <stdint.h>
#include <sys/queue.h>

#include "rp_dma.h"

/**
 * @file
 * What stands behind a mapping: pages of a file, mapped once, counted by the
 * entries that point into them; and the file itself, kept once however many
 * mappings it has (a guest with an IOMMU maps page by page from one file, and
 * our descriptor table is short).
 *
 * Threads: the space's writer.
 */

struct rp_dma_file;
struct rp_dma_backing;

LIST_HEAD(rp_dma_files, rp_dma_file);

/**
 * Map the pages that enclose a mapping's bytes.
 *
 * @param files of the space; its file is added or found there.
 * @param ret_backing holds one reference for the caller.
 * @param ret_hva where the mapping's first byte is.
 * @return 0, -EBADMSG (the file is too short or refuses), -ENOSPC (descriptors, memory).
 */
int rp_dma_backing_create(struct rp_dma_files *files, const struct rp_dma_mapping *mapping,
			  struct rp_dma_backing **ret_backing, uint8_t **ret_hva, struct rp_wire_why *why);

/** One more entry points into it. NULL is allowed. */
void rp_dma_backing_ref(struct rp_dma_backing *backing);

/** One less; the last one unmaps the pages and may close the file. NULL is allowed. */
void rp_dma_backing_unref(struct rp_dma_backing *backing);

/** The descriptor, borrowed; -1 for NULL. */
int rp_dma_backing_fd(const struct rp_dma_backing *backing);

#endif
