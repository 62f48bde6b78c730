/* SPDX-License-Identifier: BSD-3-Clause */
#include "rp_dma_iova.h"

#include <errno.h>
#include <inttypes.h>
#include <stddef.h>

/* The last bytes are left alone: an end that is 2^64 cannot be written down. */
static const struct rp_dma_iova_range anywhere = {0, UINT64_MAX - 0xffff};

static bool
fits(const struct rp_dma_iova_range *range, uint64_t iova, uint64_t size_bytes)
{
	return iova >= range->first && iova <= range->last && size_bytes - 1 <= range->last - iova;
}

bool
rp_dma_iova_allowed(const struct rp_dma_iova_range *allowed, unsigned int allowed_count, uint64_t iova,
		    uint64_t size_bytes)
{
	unsigned int i;

	if (size_bytes == 0)
		return false;
	if (allowed_count == 0)
		return size_bytes - 1 <= UINT64_MAX - iova;
	for (i = 0; i < allowed_count; i++)
		if (fits(&allowed[i], iova, size_bytes))
			return true;
	return false;
}

/* Something taken that the place would cover; NULL: it is free. */
static const struct rp_dma_iova_range *
obstacle(const struct rp_dma_iova_range *taken, unsigned int taken_count, uint64_t iova, uint64_t size_bytes)
{
	unsigned int i;

	for (i = 0; i < taken_count; i++)
		if (taken[i].first <= iova + (size_bytes - 1) && taken[i].last >= iova)
			return &taken[i];
	return NULL;
}

/* The highest place in one range, below whatever is in the way. */
static bool
find_in(const struct rp_dma_iova_range *range, const struct rp_dma_iova_range *taken, unsigned int taken_count,
	uint64_t size_bytes, uint64_t align_bytes, uint64_t *ret_iova)
{
	uint64_t last = range->last < anywhere.last ? range->last : anywhere.last;

	while (last >= range->first && size_bytes - 1 <= last - range->first) {
		uint64_t iova = (last - (size_bytes - 1)) & ~(align_bytes - 1);
		const struct rp_dma_iova_range *other;

		if (iova < range->first)
			return false;
		other = obstacle(taken, taken_count, iova, size_bytes);
		if (other == NULL) {
			*ret_iova = iova;
			return true;
		}
		if (other->first == 0)
			return false;
		last = other->first - 1;
	}
	return false;
}

int
rp_dma_iova_find(const struct rp_dma_iova_range *allowed, unsigned int allowed_count,
		 const struct rp_dma_iova_range *taken, unsigned int taken_count, uint64_t size_bytes,
		 uint64_t align_bytes, uint64_t *ret_iova, struct rp_wire_why *why)
{
	uint64_t best = 0, iova;
	bool found = false;
	unsigned int i;

	if (size_bytes == 0 || align_bytes == 0 || (align_bytes & (align_bytes - 1)) != 0)
		return rp_wire_why_set(why, -EINVAL, "address range: 0x%" PRIx64 " bytes aligned to 0x%" PRIx64,
				       size_bytes, align_bytes);
	if (allowed_count == 0) {
		allowed = &anywhere;
		allowed_count = 1;
	}
	for (i = 0; i < allowed_count; i++) {
		if (!find_in(&allowed[i], taken, taken_count, size_bytes, align_bytes, &iova))
			continue;
		if (!found || iova > best)
			best = iova;
		found = true;
	}
	if (!found)
		return rp_wire_why_set(
			why, -ENOSPC, "address range: no free 0x%" PRIx64 " bytes in %u allowed ranges beside %u taken",
			size_bytes, allowed_count, taken_count);
	*ret_iova = best;
	return 0;
}
