/* SPDX-License-Identifier: BSD-3-Clause */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "pool.h"
#include "table.h"

#define CHUNK_BYTES (UINT64_C(2) << 20)

/* Aligned to its size, so that a node leads to it; then its nodes. */
struct rp_dma_chunk {
	LIST_ENTRY(rp_dma_chunk) link;
	struct rp_dma_node *free; /* by their `next` */
	uint32_t used_count;
	uint32_t fresh_index; /* from here on never used, and not touched */
};

/* By then the rest of a huge page is no waste. */
#define NODES_BEFORE_HUGE (NODES_COUNT / 4)
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25 /* Linux 6.1 */
#endif

#define NODES_OFFSET ((sizeof(struct rp_dma_chunk) + 63) / 64 * 64)
#define NODES_COUNT ((CHUNK_BYTES - NODES_OFFSET) / sizeof(struct rp_dma_node))

void
rp_dma_pool_init(struct rp_dma_pool *pool)
{
	*pool = (struct rp_dma_pool){0};
	LIST_INIT(&pool->roomy);
	LIST_INIT(&pool->full);
}

#if defined(__SANITIZE_ADDRESS__)
/* So that who uses a node too long is found. */
void
rp_dma_pool_end(struct rp_dma_pool *pool)
{
	(void)pool;
}

struct rp_dma_node *
rp_dma_pool_get(struct rp_dma_pool *pool)
{
	(void)pool;
	return aligned_alloc(_Alignof(struct rp_dma_node), sizeof(struct rp_dma_node));
}

void
rp_dma_pool_put(struct rp_dma_pool *pool, struct rp_dma_node *node)
{
	(void)pool;
	free(node);
}
#else
/* The kernel aligns to its own pages: what is too much at both ends goes back. */
static struct rp_dma_chunk *
chunk_create(struct rp_dma_pool *pool)
{
	uint8_t *bytes = mmap(NULL, 2 * CHUNK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct rp_dma_chunk *chunk;
	uint64_t lead_bytes;

	if (bytes == MAP_FAILED)
		return NULL;
	lead_bytes = -(uint64_t)(uintptr_t)bytes % CHUNK_BYTES;
	if (lead_bytes > 0)
		munmap(bytes, lead_bytes);
	munmap(bytes + lead_bytes + CHUNK_BYTES, CHUNK_BYTES - lead_bytes);
	chunk = (struct rp_dma_chunk *)(void *)(bytes + lead_bytes);
	/* A small space stays small: a huge page would cost all of it at the first touch. */
	if (pool->chunks_count > 0)
		madvise(chunk, CHUNK_BYTES, MADV_HUGEPAGE);
	pool->chunks_count++;
	LIST_INSERT_HEAD(&pool->roomy, chunk, link);
	return chunk;
}

static void
chunk_destroy(struct rp_dma_pool *pool, struct rp_dma_chunk *chunk)
{
	LIST_REMOVE(chunk, link);
	pool->chunks_count--;
	munmap(chunk, CHUNK_BYTES);
}

void
rp_dma_pool_end(struct rp_dma_pool *pool)
{
	struct rp_dma_chunk *chunk = LIST_FIRST(&pool->roomy);

	assert(LIST_EMPTY(&pool->full));
	if (chunk != NULL) {
		assert(chunk->used_count == 0);
		chunk_destroy(pool, chunk);
	}
	assert(LIST_EMPTY(&pool->roomy));
}

/* One that was never used. */
static struct rp_dma_node *
take_fresh(struct rp_dma_chunk *chunk)
{
	/* Here, or some time later in the kernel's own: older ones know no other way. */
	if (chunk->fresh_index == NODES_BEFORE_HUGE && madvise(chunk, CHUNK_BYTES, MADV_HUGEPAGE) == 0)
		madvise(chunk, CHUNK_BYTES, MADV_COLLAPSE);
	return (struct rp_dma_node *)(void *)((uint8_t *)chunk + NODES_OFFSET) + chunk->fresh_index++;
}

struct rp_dma_node *
rp_dma_pool_get(struct rp_dma_pool *pool)
{
	struct rp_dma_chunk *chunk = LIST_FIRST(&pool->roomy);
	struct rp_dma_node *node;

	if (chunk == NULL)
		chunk = chunk_create(pool);
	if (chunk == NULL)
		return NULL;
	node = chunk->free;
	if (node != NULL)
		chunk->free = node->next;
	else
		node = take_fresh(chunk);
	if (++chunk->used_count == NODES_COUNT) {
		LIST_REMOVE(chunk, link);
		LIST_INSERT_HEAD(&pool->full, chunk, link);
	}
	return node;
}

void
rp_dma_pool_put(struct rp_dma_pool *pool, struct rp_dma_node *node)
{
	struct rp_dma_chunk *chunk = (struct rp_dma_chunk *)((uintptr_t)node & ~(uintptr_t)(CHUNK_BYTES - 1));

	if (chunk->used_count-- == NODES_COUNT) {
		LIST_REMOVE(chunk, link);
		LIST_INSERT_HEAD(&pool->roomy, chunk, link);
	}
	node->next = chunk->free;
	chunk->free = node;
	/* The last one stays: a guest maps and unmaps all day. */
	if (chunk->used_count == 0 && pool->chunks_count > 1)
		chunk_destroy(pool, chunk);
}
#endif
