/* SPDX-License-Identifier: BSD-3-Clause */
#include <string.h>

#include "chain.h"
#include "dev.h"
#include "ring.h"

static int
add_span(struct rp_vring_dev *ring, struct rp_vring_chain *chain, uint64_t iova, uint32_t size_bytes, uint16_t *count)
{
	uint32_t at = (uint32_t)chain->out_count + chain->in_count;

	if (at == RP_VRING_SEGMENTS_MAX)
		return rp_vring_dev_break(ring, "a chain has too many parts");
	chain->spans[at] = (struct rp_vring_span){.iova = iova, .size_bytes = size_bytes};
	(*count)++;
	return 0;
}

int
rp_vring_chain_add(struct rp_vring_dev *ring, struct rp_vring_chain *chain, uint64_t iova, uint32_t size_bytes,
		   bool writable)
{
	uint32_t *total_bytes = writable ? &chain->in_bytes : &chain->out_bytes;
	uint16_t *count = writable ? &chain->in_count : &chain->out_count;
	uint64_t left_bytes = size_bytes, last_iova;

	if (size_bytes == 0)
		return rp_vring_dev_break(ring, "a descriptor is empty");
	if (__builtin_add_overflow(iova, left_bytes - 1, &last_iova))
		return rp_vring_dev_break(ring, "a buffer ends beyond 2^64");
	/* 2.7.4.2, 2.8.17 */
	if (!writable && chain->in_count > 0)
		return rp_vring_dev_break(ring, "a readable descriptor follows a writable one");
	/* 2.7.5 */
	if (__builtin_add_overflow(*total_bytes, size_bytes, total_bytes))
		return rp_vring_dev_break(ring, "a chain is longer than 2^32 bytes");
	if (ring->spans)
		return add_span(ring, chain, iova, size_bytes, count);
	while (left_bytes > 0) {
		struct iovec *iov = &chain->iov[chain->out_count + chain->in_count];
		uint64_t here_bytes;

		if (chain->out_count + chain->in_count == RP_VRING_SEGMENTS_MAX)
			return rp_vring_dev_break(ring, "a chain has too many parts");
		iov->iov_base = rp_vring_dev_translate(ring, iova, left_bytes, writable ? RP_DMA_WRITE : RP_DMA_READ,
						       &here_bytes);
		if (iov->iov_base == NULL)
			return rp_vring_dev_out_of_reach(ring, "a buffer is not mapped with the access it needs");
		iov->iov_len = here_bytes;
		iova += here_bytes;
		left_bytes -= here_bytes;
		(*count)++;
	}
	return 0;
}

int
rp_vring_chain_table_open(struct rp_vring_dev *ring, struct rp_vring_chain *chain, uint64_t iova, uint32_t size_bytes,
			  struct chain_table *ret_table)
{
	uint64_t last_iova;

	if ((ring->layout.features & VRING_INDIRECT_DESC_MASK) == 0)
		return rp_vring_dev_break(ring, "an indirect table was not negotiated");
	if (size_bytes == 0 || size_bytes % CHAIN_DESC_BYTES != 0)
		return rp_vring_dev_break(ring, "an indirect table's size is no multiple of 16");
	if (size_bytes / CHAIN_DESC_BYTES > RP_VRING_NUM_MAX)
		return rp_vring_dev_break(ring, "an indirect table is longer than any queue");
	if (__builtin_add_overflow(iova, (uint64_t)size_bytes - 1, &last_iova))
		return rp_vring_dev_break(ring, "an indirect table ends beyond 2^64");
	if (ring->spans) {
		chain->table = (struct rp_vring_span){.iova = iova, .size_bytes = size_bytes};
		return 0;
	}
	rp_vring_chain_table_reach(ring, iova, size_bytes, ret_table);
	return 1;
}

void
rp_vring_chain_table_reach(struct rp_vring_dev *ring, uint64_t iova, uint32_t size_bytes, struct chain_table *ret_table)
{
	ret_table->iova = iova;
	ret_table->count = size_bytes / CHAIN_DESC_BYTES;
	ret_table->contiguous_bytes = 0;
	ret_table->base = NULL;
	if (ring->reach != NULL)
		return;
	ret_table->base = rp_vring_dev_translate(ring, iova, size_bytes, RP_DMA_READ, &ret_table->contiguous_bytes);
}

/* Where some of the bytes of a table are. */
static int
find(struct rp_vring_dev *ring, uint64_t iova, uint64_t size_bytes, const void **ret_hva, uint64_t *ret_bytes)
{
	if (ring->reach != NULL)
		return ring->reach->find(ring->reach->ctx, iova, size_bytes, ret_hva, ret_bytes);
	*ret_hva = rp_vring_dev_translate(ring, iova, size_bytes, RP_DMA_READ, ret_bytes);
	return *ret_hva == NULL ? rp_vring_dev_out_of_reach(ring, "an indirect table is not mapped") : 0;
}

static int
read_bytes(struct rp_vring_dev *ring, uint64_t iova, uint8_t *bytes, uint64_t left_bytes)
{
	while (left_bytes > 0) {
		uint64_t here_bytes;
		const void *hva;
		int rc = find(ring, iova, left_bytes, &hva, &here_bytes);

		if (rc < 0)
			return rc;
		memcpy(bytes, hva, here_bytes);
		iova += here_bytes;
		bytes += here_bytes;
		left_bytes -= here_bytes;
	}
	return 0;
}

int
rp_vring_chain_table_read(struct rp_vring_dev *ring, const struct chain_table *table, uint32_t index, void *ret_desc)
{
	uint64_t at = (uint64_t)index * CHAIN_DESC_BYTES;

	if (at + CHAIN_DESC_BYTES > table->contiguous_bytes)
		return read_bytes(ring, table->iova + at, ret_desc, CHAIN_DESC_BYTES);
	memcpy(ret_desc, table->base + at, CHAIN_DESC_BYTES);
	return 0;
}
