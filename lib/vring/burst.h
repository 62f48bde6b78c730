/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef RP_VRING_BURST_PRIVATE_H
#define RP_VRING_BURST_PRIVATE_H

#include "dev.h"
#include "rp_vring_burst.h"

/**
 * @file
 * What the two formats of a burst share. They know plain chains only: a few descriptors in
 * the ring itself, each in a mapping that is seen through the window. At anything else, right
 * or wrong, they stop, having read it but neither noted nor judged it; burst.c then has it read
 * anew and judged by who knows all of it.
 *
 * Threads: the ring's.
 */

struct burst {
	struct rp_vring_dev *ring;
	struct rp_dma_window window; /* here and not in the ring: stores to chains cannot change it */
	uint32_t pieces_count; /* translated */
	bool odd; /* it stopped at a chain that is not plain; else there is none */
};

/* The half of a descriptor behind the address, in one load: length, then two fields of 16 bits. */
#define BURST_META_AT 8u

static inline uint32_t
burst_len(uint64_t meta)
{
	return (uint32_t)meta;
}

/* Split: flags; packed: the buffer id. */
static inline uint16_t
burst_third(uint64_t meta)
{
	return (uint16_t)(meta >> 32);
}

/* Split: the next descriptor; packed: flags. */
static inline uint16_t
burst_fourth(uint64_t meta)
{
	return (uint16_t)(meta >> 48);
}

/** Move the window to an address that is not seen through it, and look again. */
void *rp_vring_burst_search(struct burst *burst, uint64_t iova, uint32_t size_bytes, uint32_t access_mask);

/** @return where a piece is, or NULL: it does not lie in one mapping with that access, or it is empty. */
static inline void *
burst_see(struct burst *burst, uint64_t iova, uint32_t size_bytes, bool writable)
{
	uint32_t access_mask = writable ? RP_DMA_WRITE : RP_DMA_READ;
	void *hva = rp_dma_window_translate(&burst->window, iova, size_bytes, access_mask);

	if (__builtin_expect(hva != NULL, 1))
		return hva;
	return rp_vring_burst_search(burst, iova, size_bytes, access_mask);
}

/** A chain of pieces that are all readable or all writable. */
static inline void
burst_say(struct rp_vring_burst_chain *chain, bool writable, uint8_t count, uint32_t size_bytes)
{
	if (writable) {
		chain->out_count = 0;
		chain->in_count = count;
		chain->out_bytes = 0;
		chain->in_bytes = size_bytes;
	} else {
		chain->out_count = count;
		chain->in_count = 0;
		chain->out_bytes = size_bytes;
		chain->in_bytes = 0;
	}
}

/** A chain of one descriptor. @return whether it is plain. */
static inline bool
burst_single(struct burst *burst, struct rp_vring_burst_chain *chain, uint64_t iova, uint32_t size_bytes, bool writable)
{
	void *hva = burst_see(burst, iova, size_bytes, writable);

	if (__builtin_expect(hva == NULL, 0))
		return false;
	burst_say(chain, writable, 1, size_bytes);
	chain->iov[0] = (struct iovec){.iov_base = hva, .iov_len = size_bytes};
	burst->pieces_count++;
	return true;
}

static inline void
burst_chain_start(struct rp_vring_burst_chain *chain)
{
	chain->out_count = 0;
	chain->in_count = 0;
	chain->out_bytes = 0;
	chain->in_bytes = 0;
}

/** One descriptor more, of a chain of several. @return whether it is plain. */
bool rp_vring_burst_add(struct burst *burst, struct rp_vring_burst_chain *chain, uint64_t iova, uint32_t size_bytes,
			bool writable);

/**
 * Look at plain chains; burst->odd says why there are not more.
 * @return how many.
 */
uint16_t rp_vring_split_burst(struct burst *burst, uint16_t ahead, struct rp_vring_burst_chain *ret_chains,
			      uint16_t max_count);
uint16_t rp_vring_packed_burst(struct burst *burst, uint16_t ahead, struct rp_vring_burst_chain *ret_chains,
			       uint16_t max_count);

/** As rp_vring_dev_fill_burst(), of a ring in any order whose entries `ahead` to the last one exist. @return 0 or -EINVAL. */
int rp_vring_split_fill_burst(struct rp_vring_dev *ring, uint16_t ahead, const struct rp_vring_done *done,
			      uint16_t count);
int rp_vring_packed_fill_burst(struct rp_vring_dev *ring, uint16_t ahead, const struct rp_vring_done *done,
			       uint16_t count);

#endif
