/* SPDX-License-Identifier: BSD-3-Clause */
#include <stddef.h>

#include "guest.h"
#include "libraries.h"

#define VERSION_1 (UINT64_C(1) << 32)
#define VRING                                                                                                          \
	.rounds = 32, .operations = 32, .open = count_vring_open, .prepare = count_vring_prepare,                      \
	.settle = count_vring_settle, .close = count_vring_close
#define DMA .open = count_dma_open, .close = count_dma_close

/* clang-format off */
const struct count_scenario count_scenarios[] = {
	{"vring_split", VRING, .run = count_vring_run, .features = VERSION_1},
	{"vring_split_event_idx", VRING, .run = count_vring_run, .features = VERSION_1 | F_EVENT_IDX},
	{"vring_split_indirect", VRING, .run = count_vring_run, .features = VERSION_1 | F_INDIRECT_DESC},
	{"vring_packed", VRING, .run = count_vring_run, .features = VERSION_1 | F_RING_PACKED},
	{"vring_packed_in_order", VRING, .run = count_vring_run, .features = VERSION_1 | F_RING_PACKED | F_IN_ORDER},
	{"vring_burst_split", VRING, .run = count_vring_burst, .features = VERSION_1},
	{"vring_burst_split_indirect", VRING, .run = count_vring_burst, .features = VERSION_1 | F_INDIRECT_DESC},
	{"vring_burst_split_mappings", VRING, .run = count_vring_burst, .features = VERSION_1, .size = 2},
	{"vring_burst_packed", VRING, .run = count_vring_burst, .features = VERSION_1 | F_RING_PACKED},
	{"vring_burst_packed_indirect", VRING, .run = count_vring_burst,
	 .features = VERSION_1 | F_RING_PACKED | F_INDIRECT_DESC},
	{"dma_translate_1", 16, 256, DMA, .run = count_dma_translate, .size = 1},
	{"dma_translate_64", 16, 256, DMA, .run = count_dma_translate, .size = 64},
	{"dma_translate_1k", 16, 256, DMA, .run = count_dma_translate, .size = 1024},
	{"dma_translate_16k", 16, 256, DMA, .run = count_dma_translate, .size = 16384},
	{"dma_map_unmap_1k", 16, 1, DMA, .run = count_dma_change, .size = 1024},
	{"dma_map_unmap_16k", 16, 1, DMA, .run = count_dma_change, .size = 16384},
	{NULL},
};
/* clang-format on */
