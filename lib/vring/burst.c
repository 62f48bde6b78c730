/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <string.h>

#include "burst.h"

/* A guest's memory is often two mappings, below and above 4 GiB: the one that was left is kept at hand. */
void *
rp_vring_burst_search(struct burst *burst, uint64_t iova, uint32_t size_bytes, uint32_t access_mask)
{
	struct rp_dma_window *left = &burst->ring->left_window, window = burst->window;

	rp_dma_window_refresh(left, burst->ring->reader);
	burst->window = *left;
	*left = window;
	if (rp_dma_window_translate(&burst->window, iova, size_bytes, access_mask) == NULL &&
	    !rp_dma_window_move(&burst->window, burst->ring->reader, iova, access_mask))
		return NULL;
	return rp_dma_window_translate(&burst->window, iova, size_bytes, access_mask);
}

bool
rp_vring_burst_add(struct burst *burst, struct rp_vring_burst_chain *chain, uint64_t iova, uint32_t size_bytes,
		   bool writable)
{
	unsigned int at = (unsigned int)chain->out_count + chain->in_count;
	uint32_t *total_bytes = writable ? &chain->in_bytes : &chain->out_bytes;
	void *hva;

	if (at == RP_VRING_BURST_PIECES || (!writable && chain->in_count > 0) ||
	    __builtin_add_overflow(*total_bytes, size_bytes, total_bytes))
		return false;
	hva = burst_see(burst, iova, size_bytes, writable);
	if (hva == NULL)
		return false;
	chain->iov[at] = (struct iovec){.iov_base = hva, .iov_len = size_bytes};
	*(writable ? &chain->in_count : &chain->out_count) += 1;
	return true;
}

static void
compact(const struct rp_vring_chain *chain, struct rp_vring_burst_chain *ret_chain)
{
	unsigned int count = (unsigned int)chain->out_count + chain->in_count;

	ret_chain->head = chain->head;
	ret_chain->out_count = (uint8_t)chain->out_count;
	ret_chain->in_count = (uint8_t)chain->in_count;
	ret_chain->out_bytes = chain->out_bytes;
	ret_chain->in_bytes = chain->in_bytes;
	memcpy(ret_chain->iov, chain->iov, count * sizeof(chain->iov[0]));
}

/* Whatever a chain is like. @return 1, 0, -EMSGSIZE or -EBADMSG. */
static int
peek_any(struct rp_vring_dev *ring, uint16_t ahead, struct rp_vring_burst_chain *ret_chain)
{
	struct rp_vring_chain chain;
	int rc = ring->packed ? rp_vring_packed_peek(ring, ahead, &chain) : rp_vring_split_peek(ring, ahead, &chain);

	if (rc != 1)
		return rc;
	if ((unsigned int)chain.out_count + chain.in_count > RP_VRING_BURST_PIECES)
		return -EMSGSIZE;
	compact(&chain, ret_chain);
	return 1;
}

/* It is judged when it is the first: what comes before it is to be used and published. */
static void
leave_for_later(struct rp_vring_dev *ring)
{
	ring->broken_why = NULL;
	ring->out_of_reach = false;
	ring->missed = false;
}

static bool
has_fast_path(const struct rp_vring_dev *ring)
{
	/* A cache of translations has books of its own; a split ring in order has notes. */
	return ring->layout.atc == NULL && (ring->packed || !ring->in_order);
}

static uint16_t
peek_plain(struct burst *burst, uint16_t ahead, struct rp_vring_burst_chain *ret_chains, uint16_t max_count)
{
	if (burst->ring->packed)
		return rp_vring_packed_burst(burst, ahead, ret_chains, max_count);
	return rp_vring_split_burst(burst, ahead, ret_chains, max_count);
}

/* @return how many; when there are none *ret_rc says why. */
static uint16_t
peek_fast(struct rp_vring_dev *ring, uint16_t ahead, struct rp_vring_burst_chain *ret_chains, uint16_t max_count,
	  int *ret_rc)
{
	struct burst burst = {.ring = ring, .window = ring->window};
	uint16_t count = 0;

	*ret_rc = 0;
	rp_dma_window_refresh(&burst.window, ring->reader);
	for (;;) {
		count = (uint16_t)(count + peek_plain(&burst, (uint16_t)(ahead + count), ret_chains + count,
						      (uint16_t)(max_count - count)));
		if (count == max_count || !burst.odd)
			break;
		*ret_rc = peek_any(ring, (uint16_t)(ahead + count), &ret_chains[count]);
		if (*ret_rc != 1 || ++count == max_count)
			break;
	}
	ring->window = burst.window;
	rp_dma_window_count(ring->reader, burst.pieces_count);
	return count;
}

static uint16_t
peek_slowly(struct rp_vring_dev *ring, uint16_t ahead, struct rp_vring_burst_chain *ret_chains, uint16_t max_count,
	    int *ret_rc)
{
	uint16_t count = 0;

	for (; count < max_count; count++) {
		*ret_rc = peek_any(ring, (uint16_t)(ahead + count), &ret_chains[count]);
		if (*ret_rc != 1)
			break;
	}
	return count;
}

int
rp_vring_dev_peek_burst(struct rp_vring_dev *ring, uint16_t ahead, struct rp_vring_burst_chain *ret_chains,
			uint16_t max_count)
{
	int rc = rp_vring_dev_check(ring);
	uint16_t count;

	if (rc < 0)
		return rc;
	if (max_count == 0 || max_count > RP_VRING_BURST_MAX || ring->spans)
		return -EINVAL;
	if (has_fast_path(ring))
		count = peek_fast(ring, ahead, ret_chains, max_count, &rc);
	else
		count = peek_slowly(ring, ahead, ret_chains, max_count, &rc);
	if (count == 0)
		return rc;
	if (rc == -EBADMSG)
		leave_for_later(ring);
	return count;
}

int
rp_vring_dev_pop_burst(struct rp_vring_dev *ring, struct rp_vring_burst_chain *ret_chains, uint16_t max_count)
{
	int rc = rp_vring_dev_peek_burst(ring, 0, ret_chains, max_count);

	if (rc > 0)
		rp_vring_dev_advance(ring, (uint16_t)rc);
	return rc;
}

static int
fill_slowly(struct rp_vring_dev *ring, uint16_t ahead, const struct rp_vring_done *done, uint16_t count)
{
	uint16_t i;
	int rc = 0;

	for (i = 0; rc == 0 && i < count; i++)
		rc = rp_vring_dev_fill(ring, (uint16_t)(ahead + i), done[i].head, done[i].written_bytes);
	return rc;
}

int
rp_vring_dev_fill_burst(struct rp_vring_dev *ring, uint16_t ahead, const struct rp_vring_done *done, uint16_t count)
{
	int rc = rp_vring_dev_check(ring);

	if (rc < 0)
		return rc;
	if ((uint32_t)ahead + count > ring->layout.num)
		return -EINVAL;
	if (ring->packed)
		return rp_vring_packed_fill_burst(ring, ahead, done, count);
	/* It has notes. */
	return ring->in_order ? fill_slowly(ring, ahead, done, count) :
				rp_vring_split_fill_burst(ring, ahead, done, count);
}
