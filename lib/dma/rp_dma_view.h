/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef RP_DMA_VIEW_H
#define RP_DMA_VIEW_H

#include <stdint.h>

#include "rp_dma.h"
#include "rp_dma_atc.h"

/**
 * @file
 * A range of an address space in one piece, though it is mapped in several. A guest
 * with an IOMMU gives its device consecutive addresses for pages that lie anywhere;
 * a ring of more than a page then has no pointer. A view maps the same pages of the
 * same files once more, side by side.
 *
 * Theory of operation: a view stands for what was mapped when it was made. A change of
 * the space that touches its range ends it, for good, also when the same pages come
 * back. A reader that asks again at each new generation never uses it longer than it
 * might use a translated address.
 *
 * Source: the memory of rings, virtio 1.2, 2.7 and 2.8, by VIRTIO_F_ACCESS_PLATFORM.
 *
 * Threads: create and destroy: the space's writer; translate: a reader's.
 *
 * Errors: the dictionary of rp_wire_why.h.
 */

struct rp_dma_view;

/**
 * Make a view. It counts as maps of the space (rp_dma_limits.maps_max), one for each
 * mapping in its range.
 *
 * @param space borrowed; outlives the view.
 * @param access_mask RP_DMA_READ, RP_DMA_WRITE or both: what each mapping must allow.
 * @return 0, -EINVAL (size is 0, or no or unknown access bits), -EBADMSG (empty beyond
 *         2^64, or a part that is not mapped with that access and a file), -ENOTSUP (two
 *         mappings meet elsewhere than at a page's end, or their file has larger pages),
 *         -ENOSPC (memory, or a limit).
 */
int rp_dma_view_create(struct rp_dma_space *space, uint64_t iova, uint64_t size_bytes, uint32_t access_mask,
		       struct rp_dma_view **ret_view, struct rp_wire_why *why);

/**
 * The same of addresses that a cache translates: what they lead to is in the space. Ends also
 * when the cache knows one of them no more, or otherwise.
 *
 * @param atc borrowed, of that space; without a PASID. NULL: nothing is translated.
 * @return as rp_dma_view_create(), or -EAGAIN: a translation is not known, see rp_dma_atc_want().
 */
int rp_dma_view_create_translated(struct rp_dma_space *space, struct rp_dma_atc *atc, uint64_t iova,
				  uint64_t size_bytes, uint32_t access_mask, struct rp_dma_view **ret_view,
				  struct rp_wire_why *why);

/** No reader uses it any more. NULL is allowed. @return NULL. */
struct rp_dma_view *rp_dma_view_destroy(struct rp_dma_view *view);

/**
 * Translate the whole view, online.
 *
 * @param reader of the view's space.
 * @return the address of its first byte, good as long as rp_dma_reader_generation() is
 *         what it is; NULL when the range was changed since the view was made.
 */
void *rp_dma_view_translate(const struct rp_dma_view *view, struct rp_dma_reader *reader);

#endif
