/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef RP_DMA_IOVA_H
#define RP_DMA_IOVA_H

#include <stdbool.h>
#include <stdint.h>

#include "rp_wire_why.h"

/**
 * @file
 * Where in a device's address space something of our own can lie (a private ring,
 * the control queue), beside the guest's memory and outside of what the IOMMU
 * keeps for itself (reserved ranges, the MSI window, what is beyond its aperture).
 *
 * Theory of operation: who owns an address space knows what is allowed and what is
 * taken; this finds a place, and says whether one is still good. Places are found
 * from the top down, where guests have no memory and hotplug arrives last.
 *
 * Threads: no state. Errors: the dictionary of rp_wire_why.h.
 */

#define RP_DMA_IOVA_RANGES_MAX 16u

/** Addresses, both ends included. */
struct rp_dma_iova_range {
	uint64_t first;
	uint64_t last;
};

/**
 * Find a place.
 *
 * @param allowed in any order, not overlapping; allowed_count 0: anywhere.
 * @param taken in any order, may overlap.
 * @param size_bytes at least 1. @param align_bytes a power of two.
 * @param ret_iova the highest place that is good; never within the last 64 KiB of
 *        2^64, so that an end never wraps.
 * @return 0, -ENOSPC (why says how much was looked for), -EINVAL (size or alignment).
 */
int rp_dma_iova_find(const struct rp_dma_iova_range *allowed, unsigned int allowed_count,
		     const struct rp_dma_iova_range *taken, unsigned int taken_count, uint64_t size_bytes,
		     uint64_t align_bytes, uint64_t *ret_iova, struct rp_wire_why *why);

/** Whether [iova, iova + size_bytes) lies within one allowed range (none: anywhere) and does not wrap. */
bool rp_dma_iova_allowed(const struct rp_dma_iova_range *allowed, unsigned int allowed_count, uint64_t iova,
			 uint64_t size_bytes);

#endif
