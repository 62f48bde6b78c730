/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdint.h>
#include <unistd.h>

#include <rte_memory.h>

#include "sa_place.h"

void
sa_place_init(struct sa_place *place, struct rte_mempool *pool)
{
	*place = (struct sa_place){.pool = pool, .thread = {.node = RP_DMA_NODE_ANY, .sent = RP_DMA_NODE_ANY}};
	rp_dma_vote_init(&place->vote);
}

static uintptr_t
page_bytes_of(const void *memory)
{
	const struct rte_memseg *segment = rte_mem_virt2memseg(memory, NULL);

	return segment != NULL ? (uintptr_t)segment->hugepage_sz : (uintptr_t)sysconf(_SC_PAGESIZE);
}

/* Its whole pages, as large as they are: the kernel moves no part of one, and the rest of it is somebody else's. */
static void
move_chunk(struct rte_mempool *pool, void *node, struct rte_mempool_memhdr *chunk, unsigned int index)
{
	uintptr_t page_bytes = page_bytes_of(chunk->addr), begin = (uintptr_t)chunk->addr;
	uintptr_t end = (begin + chunk->len) & ~(page_bytes - 1);

	(void)pool;
	(void)index;
	begin = (begin + page_bytes - 1) & ~(page_bytes - 1);
	if (begin < end)
		rp_dma_node_place((uint8_t *)chunk->addr + (begin - (uintptr_t)chunk->addr), end - begin,
				  *(const int *)node);
}

void
sa_place_vote(struct sa_place *place, int node, int by)
{
	if (rp_dma_vote_cast(&place->vote, node, by))
		rte_mempool_mem_iter(place->pool, move_chunk, &place->vote.node);
}

void
sa_place_begin(struct sa_place *place)
{
	rp_dma_follow_begin(&place->thread);
}

void
sa_place_end(struct sa_place *place)
{
	rp_dma_follow_end(&place->thread);
}
