/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdint.h>
#include <time.h>
#include <unistd.h>

#include <rte_memory.h>

#include "rp_dma_node.h"
#include "sa_place.h"

void
sa_place_init(struct sa_place *place, struct rte_mempool *pool)
{
	*place = (struct sa_place){.node = RP_DMA_NODE_ANY, .pool = pool, .thread_node = RP_DMA_NODE_ANY};
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

static int
most_voted(const struct sa_place *place)
{
	int node, most = place->node;

	for (node = 0; node < SA_PLACE_NODES_MAX; node++)
		if (place->votes[node] > (most < 0 ? 0 : place->votes[most]))
			most = node;
	return most;
}

static uint64_t
seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec;
}

void
sa_place_vote(struct sa_place *place, int node, int by)
{
	uint64_t now_s;
	int most;

	if (node < 0 || node >= SA_PLACE_NODES_MAX)
		return;
	place->votes[node] += (unsigned int)by;
	most = most_voted(place);
	if (most == place->node)
		return;
	now_s = seconds();
	if (place->node != RP_DMA_NODE_ANY && now_s - place->moved_s < SA_PLACE_SETTLE_S)
		return;
	place->moved_s = now_s;
	place->node = most;
	rte_mempool_mem_iter(place->pool, move_chunk, &most);
}

void
sa_place_begin(struct sa_place *place)
{
	place->thread_node = RP_DMA_NODE_ANY;
	if (sched_getaffinity(0, sizeof(place->allowed), &place->allowed) < 0)
		CPU_ZERO(&place->allowed);
}

void
sa_place_move_thread(struct sa_place *place)
{
	place->thread_node = place->node;
	/* From one node to another it goes by way of all that it may run on. */
	if (sched_setaffinity(0, sizeof(place->allowed), &place->allowed) == 0)
		rp_dma_node_run(place->node);
}

void
sa_place_end(struct sa_place *place)
{
	if (place->thread_node != RP_DMA_NODE_ANY)
		sched_setaffinity(0, sizeof(place->allowed), &place->allowed);
	place->thread_node = RP_DMA_NODE_ANY;
}
