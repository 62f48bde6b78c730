/* SPDX-License-Identifier: BSD-3-Clause */
#include "reader.h"
#include "rp_dma_window.h"
#include "table.h"

/* A table that this generation of the reader may have seen is not freed, so no other one is in its place. */
void
rp_dma_window_refresh(struct rp_dma_window *window, const struct rp_dma_reader *reader)
{
	uint64_t table = atomic_load_explicit(&reader->space->table, memory_order_seq_cst);

	if (window->generation != reader->generation || window->table != table)
		window->access_mask = 0;
}

bool
rp_dma_window_move(struct rp_dma_window *window, const struct rp_dma_reader *reader, uint64_t iova,
		   uint32_t access_mask)
{
	uint64_t table = atomic_load_explicit(&reader->space->table, memory_order_seq_cst);
	struct rp_dma_entry entry;

	window->access_mask = 0;
	if (!rp_dma_table_find(table, iova, &entry) || entry.hva == NULL ||
	    (entry.access_mask & access_mask) != access_mask)
		return false;
	*window = (struct rp_dma_window){
		.first_iova = entry.first_iova,
		.last_iova = entry.last_iova,
		.hva = entry.hva,
		.access_mask = entry.access_mask,
		.table = table,
		.generation = reader->generation,
	};
	return true;
}

void
rp_dma_window_count(struct rp_dma_reader *reader, uint64_t translations)
{
	atomic_store_explicit(&reader->translations,
			      atomic_load_explicit(&reader->translations, memory_order_relaxed) + translations,
			      memory_order_relaxed);
}
