/* SPDX-License-Identifier: BSD-3-Clause */
#include <sched.h>

#include "change.h"
#include "visit.h"

/* Each thread tries its own place first, so that lines stay where they are. */
static uint32_t
favourite(void)
{
	uint64_t self = (uint64_t)pthread_self();

	return (uint32_t)((self * 0x9e3779b97f4a7c15u) >> 32) % RP_DMA_VISITS_COUNT;
}

struct rp_dma_visit *
rp_dma_visit_begin(struct rp_dma_space *space)
{
	uint32_t first = favourite(), i;

	for (;;) {
		uint64_t epoch = atomic_load_explicit(&space->epoch, memory_order_acquire);

		for (i = 0; i < RP_DMA_VISITS_COUNT; i++) {
			struct rp_dma_visit *visit = &space->visits[(first + i) % RP_DMA_VISITS_COUNT];
			uint64_t none = 0;

			if (atomic_compare_exchange_strong_explicit(&visit->epoch, &none, epoch, memory_order_seq_cst,
								    memory_order_relaxed))
				return visit;
		}
		sched_yield();
	}
}

uint64_t
rp_dma_visit_table(struct rp_dma_space *space)
{
	return atomic_load_explicit(&space->table, memory_order_seq_cst);
}

void
rp_dma_visit_end(struct rp_dma_space *space, struct rp_dma_visit *visit)
{
	atomic_store_explicit(&visit->epoch, 0, memory_order_seq_cst);
	rp_dma_change_wake(space);
}
