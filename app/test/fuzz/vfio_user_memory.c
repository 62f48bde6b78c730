/* SPDX-License-Identifier: BSD-3-Clause */
#include <string.h>

#include "vfio_user_memory.h"

static void
on_done(struct rp_dma_io *io, int error)
{
	struct fuzz_vfu_slot *slot = io->ctx;

	fuzz_require(slot->busy, "an access ends once");
	fuzz_require(error <= 0, "an error is one");
	slot->busy = false;
}

/* Segments that fit the mappings, or nearly. The bytes of all of them are the same: nobody reads them. */
void
fuzz_vfu_memory_access(struct fuzz_vfu_memory *memory)
{
	static uint8_t bytes[FUZZ_VFU_SEGMENTS_MAX][UINT16_MAX];
	struct fuzz_vfu_slot *slot = &memory->slots[fuzz_below(memory->input, FUZZ_VFU_SLOTS)];
	unsigned int i;

	if (slot->busy) {
		rp_dma_io_cancel(&slot->io);
		slot->busy = false;
		return;
	}
	memset(slot, 0, sizeof(*slot));
	slot->io.write = fuzz_u8(memory->input) >= 128;
	slot->io.segments = slot->segments;
	slot->io.segments_count = fuzz_below(memory->input, FUZZ_VFU_SEGMENTS_MAX + 1);
	slot->io.done = on_done;
	slot->io.ctx = slot;
	for (i = 0; i < slot->io.segments_count; i++) {
		slot->segments[i].iova = FUZZ_GPA + (uint64_t)fuzz_below(memory->input, 16) * (FUZZ_MEMORY_BYTES / 4);
		slot->segments[i].size_bytes = fuzz_u16(memory->input);
		slot->segments[i].bytes = bytes[i];
		if (fuzz_u8(memory->input) >= 240)
			slot->segments[i].iova = fuzz_number(memory->input);
	}
	slot->busy = true;
	/* Done may have been called by now, but not for what was refused. */
	if (rp_dma_io_submit(memory->space, &slot->io) < 0) {
		fuzz_require(slot->busy, "what was refused is not done");
		slot->busy = false;
	}
}

static void
on_mapped(void *ctx, int error, void *bytes, uint64_t size_bytes)
{
	struct fuzz_vfu_map *map = ctx;

	fuzz_require(map->state == MAP_COMING, "a map ends once");
	fuzz_require((error == 0) == (bytes != NULL), "a map has bytes, or an error");
	map->state = error == 0 ? MAP_THERE : MAP_NONE;
	map->bytes = bytes;
	map->size_bytes = size_bytes;
}

/* All of it was written, or none. */
static void
unmap(struct fuzz_vfu_memory *memory, struct fuzz_vfu_map *map)
{
	uint64_t written_bytes = map->access_mask == RP_DMA_READ ? 0 : map->size_bytes;

	if (written_bytes > 0)
		memset(map->bytes, 0x77, written_bytes);
	fuzz_require(rp_dma_unmap_start(memory->space, map->bytes, map->size_bytes, map->access_mask, written_bytes,
					NULL, NULL) == 0,
		     "what was mapped can be unmapped");
	map->state = MAP_NONE;
}

void
fuzz_vfu_memory_map(struct fuzz_vfu_memory *memory)
{
	struct fuzz_vfu_map *map = &memory->maps[fuzz_below(memory->input, FUZZ_VFU_SLOTS)];
	uint64_t iova = FUZZ_GPA + (uint64_t)fuzz_below(memory->input, 16) * (FUZZ_MEMORY_BYTES / 4);
	uint64_t size_bytes = fuzz_u16(memory->input);

	if (map->state == MAP_THERE)
		unmap(memory, map);
	if (map->state != MAP_NONE)
		return;
	map->access_mask = 1 + fuzz_below(memory->input, 3);
	map->state = MAP_COMING;
	if (rp_dma_map_start(memory->space, iova, size_bytes, map->access_mask, on_mapped, map) < 0) {
		fuzz_require(map->state == MAP_COMING, "what was refused is not done");
		map->state = MAP_NONE;
	}
}

/* Nobody holds memory of a space that goes. */
void
fuzz_vfu_memory_let_go(struct fuzz_vfu_memory *memory)
{
	unsigned int i;

	for (i = 0; i < FUZZ_VFU_SLOTS; i++) {
		if (memory->maps[i].state == MAP_THERE)
			unmap(memory, &memory->maps[i]);
	}
}

/* Whoever holds a pointer into a range that goes lets go of it; the client's answer waits for that. */
static void
on_going(struct rp_dma_listener *listener, uint64_t first_iova, uint64_t last_iova)
{
	(void)first_iova, (void)last_iova;
	fuzz_vfu_memory_let_go(listener->ctx);
}

void
fuzz_vfu_memory_check_idle(const struct fuzz_vfu_memory *memory)
{
	unsigned int i;

	for (i = 0; i < FUZZ_VFU_SLOTS; i++)
		fuzz_require(memory->maps[i].state != MAP_COMING, "a map comes, or its client has gone");

	for (i = 0; i < FUZZ_VFU_SLOTS; i++)
		fuzz_require(!memory->slots[i].busy, "an access ends with its client");
}

void
fuzz_vfu_memory_begin(struct fuzz_vfu_memory *memory, struct rp_dma_space *space, struct fuzz_input *input)
{
	*memory = (struct fuzz_vfu_memory){.space = space, .input = input};
	memory->listener = (struct rp_dma_listener){.going = on_going, .ctx = memory};
	rp_dma_space_listen(space, &memory->listener);
}
