/* SPDX-License-Identifier: BSD-3-Clause */
#include "reader.h"
#include "rp_dma_window.h"
#include "table.h"

static void
see_nothing(struct rp_dma_window *window)
{
	uint32_t mask;

	for (mask = 0; mask < RP_DMA_WINDOW_MASKS; mask++)
		window->seen_bytes[mask] = 0;
}

/* A table that this generation of the reader may have seen is not freed, so no other one is in its place. */
void
rp_dma_window_refresh(struct rp_dma_window *window, const struct rp_dma_reader *reader)
{
	uint64_t table = atomic_load_explicit(&reader->space->table, memory_order_seq_cst);

	if (window->generation != reader->generation || window->table != table)
		see_nothing(window);
}

bool
rp_dma_window_move(struct rp_dma_window *window, const struct rp_dma_reader *reader, uint64_t iova,
		   uint32_t access_mask)
{
	uint64_t table = atomic_load_explicit(&reader->space->table, memory_order_seq_cst);
	struct rp_dma_entry entry;
	uint32_t mask;

	see_nothing(window);
	if (!rp_dma_table_find(table, iova, &entry) || entry.hva == NULL ||
	    (entry.access_mask & access_mask) != access_mask)
		return false;
	window->first_iova = entry.first_iova;
	window->hva = entry.hva;
	/* What has a file is shorter than 2^63, so the count does not overflow. */
	for (mask = 0; mask < RP_DMA_WINDOW_MASKS; mask++)
		if ((entry.access_mask & mask) == mask)
			window->seen_bytes[mask] = entry.last_iova - entry.first_iova + 1;
	window->table = table;
	window->generation = reader->generation;
	return true;
}

void
rp_dma_window_count(struct rp_dma_reader *reader, uint64_t translations)
{
	atomic_store_explicit(&reader->translations,
			      atomic_load_explicit(&reader->translations, memory_order_relaxed) + translations,
			      memory_order_relaxed);
}
