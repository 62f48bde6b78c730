/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef RP_DMA_BACKING_H
#define RP_DMA_BACKING_H

#include <stdint.h>
#include <sys/queue.h>

#include "rp_dma.h"

/**
 * @file
 * What stands behind mappings: files, each kept once however many mappings it has (a
 * guest with an IOMMU maps page by page from one file, and our descriptor table is
 * short); and windows, the pieces of a file that are mapped here. A window is larger
 * than the mapping that it was made for, so that the next ones find it: a process has
 * 65530 of them at most, and each costs the kernel a system call and a search tree's
 * entry.
 *
 * Windows are counted by the mappings that point into them, and found by these
 * pointers: a mapping remembers nothing else.
 *
 * Threads: the space's writer.
 */

struct rp_dma_file;
struct rp_dma_window;

LIST_HEAD(rp_dma_files, rp_dma_file);

struct rp_dma_backing {
	struct rp_dma_files files;
	void *windows; /* by their addresses here; of tsearch(3) */
	struct rp_dma_window *last; /* the one found last: only a guess */
	uint32_t windows_count;
};

void rp_dma_backing_init(struct rp_dma_backing *backing);

/**
 * Find or make the window that has a mapping's bytes, with that access.
 *
 * @param ret_hva where the mapping's first byte is. It is one reference, the caller's.
 * @return 0, -EBADMSG (the file is too short or refuses), -ENOSPC (descriptors, memory).
 */
int rp_dma_backing_get(struct rp_dma_backing *backing, const struct rp_dma_mapping *mapping, uint8_t **ret_hva,
		       struct rp_wire_why *why);

/** One more mapping points there. NULL is allowed. */
void rp_dma_backing_ref(struct rp_dma_backing *backing, uint8_t *hva);

/** One less; the last one unmaps the window and may close the file. NULL is allowed. */
void rp_dma_backing_unref(struct rp_dma_backing *backing, uint8_t *hva);

/** The descriptor, borrowed, and where in the file it is; -1 and 0 for NULL. */
int rp_dma_backing_fd(const struct rp_dma_backing *backing, const uint8_t *hva, uint64_t *ret_offset_bytes);

#endif
