/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef RP_DMA_COPY_H
#define RP_DMA_COPY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/**
 * @file
 * Copying to and from memory that a guest reads and writes meanwhile: what fits
 * one access is one, so that nobody sees half of it, and ordered: a read
 * acquires, a write releases.
 *
 * Threads: any.
 */

#define RP_DMA_COPY_ONE(type, shared, ours, to_shared)                                                                 \
	do {                                                                                                           \
		if (to_shared)                                                                                         \
			__atomic_store_n((type *)(void *)(shared), *(type *)(void *)(ours), __ATOMIC_RELEASE);         \
		else                                                                                                   \
			*(type *)(void *)(ours) = __atomic_load_n((type *)(void *)(shared), __ATOMIC_ACQUIRE);         \
	} while (0)

/** Whether both addresses are aligned to that many bytes, a power of two. */
static inline bool
rp_dma_copy_fits(const uint8_t *shared, const uint8_t *ours, uint64_t size_bytes)
{
	return (((uintptr_t)shared | (uintptr_t)ours) & (size_bytes - 1)) == 0;
}

/** Copy between shared memory and ours, in the direction that is said. */
static inline void
rp_dma_copy(uint8_t *shared, uint8_t *ours, uint64_t size_bytes, bool to_shared)
{
	if (size_bytes == 1)
		RP_DMA_COPY_ONE(uint8_t, shared, ours, to_shared);
	else if (size_bytes == 2 && rp_dma_copy_fits(shared, ours, 2))
		RP_DMA_COPY_ONE(uint16_t, shared, ours, to_shared);
	else if (size_bytes == 4 && rp_dma_copy_fits(shared, ours, 4))
		RP_DMA_COPY_ONE(uint32_t, shared, ours, to_shared);
	else if (size_bytes == 8 && rp_dma_copy_fits(shared, ours, 8))
		RP_DMA_COPY_ONE(uint64_t, shared, ours, to_shared);
	else if (to_shared)
		memcpy(shared, ours, size_bytes);
	else
		memcpy(ours, shared, size_bytes);
}

#endif
