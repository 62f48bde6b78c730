/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FUZZ_VFIO_USER_MEMORY_H
#define FUZZ_VFIO_USER_MEMORY_H

#include "fuzz.h"
#include "rp_dma_bounce.h"
#include "rp_dma_io.h"

/*
 * A device that uses its client's memory: accesses, and maps that it holds. Each ends
 * once, and lets go when its range goes.
 */

#define FUZZ_VFU_SLOTS 6u /* accesses, and maps, at one time */
#define FUZZ_VFU_SEGMENTS_MAX 3u

/* The device's access to the client's memory. */
struct fuzz_vfu_slot {
	struct rp_dma_io io;
	struct rp_dma_segment segments[FUZZ_VFU_SEGMENTS_MAX];
	bool busy;
};

/* A map of the client's memory, direct or a bounce buffer. */
struct fuzz_vfu_map {
	enum {
		MAP_NONE,
		MAP_COMING,
		MAP_THERE,
	} state;
	uint32_t access_mask;
	void *bytes;
	uint64_t size_bytes;
};

struct fuzz_vfu_memory {
	struct rp_dma_space *space;
	struct fuzz_input *input;
	struct fuzz_vfu_slot slots[FUZZ_VFU_SLOTS];
	struct fuzz_vfu_map maps[FUZZ_VFU_SLOTS];
	struct rp_dma_listener listener;
};

void fuzz_vfu_memory_begin(struct fuzz_vfu_memory *memory, struct rp_dma_space *space, struct fuzz_input *input);

/* Begin an access, or cancel one. */
void fuzz_vfu_memory_access(struct fuzz_vfu_memory *memory);

/* Begin a map, or end one. */
void fuzz_vfu_memory_map(struct fuzz_vfu_memory *memory);

/* End all maps that are there. */
void fuzz_vfu_memory_let_go(struct fuzz_vfu_memory *memory);

/* Nothing is under way without a client. */
void fuzz_vfu_memory_check_idle(const struct fuzz_vfu_memory *memory);

#endif
