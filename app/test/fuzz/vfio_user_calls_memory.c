/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdlib.h>

#include "vfio_user_caller.h"

/* Memory for the server, taken back in every way, and which pages of it were written. */

#define RANGES_MAX 3u

static struct rp_vfu_client_memory
slot(struct fuzz_vfu_caller *caller)
{
	struct rp_vfu_client_memory memory = {
		.iova = FUZZ_GPA + (uint64_t)fuzz_below(caller->input, FUZZ_VFU_SLOTS_COUNT) * FUZZ_MEMORY_BYTES,
		.size_bytes = FUZZ_MEMORY_BYTES,
		.fd = -1,
	};

	memory.access_mask = 1 + fuzz_below(caller->input, 3);
	return memory;
}

static void
place_it(struct fuzz_vfu_caller *caller, struct rp_vfu_client_memory *memory, unsigned int kind)
{
	if (kind < 96)
		memory->fd = fuzz_fd(FUZZ_FD_SEALED);
	else if (kind < 176)
		memory->hva = caller->memory;
}

void
fuzz_vfu_memory(struct fuzz_vfu_caller *caller)
{
	struct rp_vfu_client_memory memory = slot(caller);
	const struct rp_vfu_client_done done = fuzz_vfu_done(caller);
	unsigned int kind = fuzz_u8(caller->input), end = fuzz_u8(caller->input);

	place_it(caller, &memory, kind);
	if (kind % 2 == 0)
		FUZZ_VFU_CALL(caller, rp_vfu_client_dma_map_memory(caller->client, &memory, NULL));
	else if (rp_vfu_client_dma_map_start(caller->client, &memory, &done, NULL) == 0)
		caller->started_count++;
	if (end < 64)
		FUZZ_VFU_CALL(caller, rp_vfu_client_dma_unmap(caller->client, memory.iova, FUZZ_MEMORY_BYTES, NULL));
	else if (end < 128 &&
		 rp_vfu_client_dma_unmap_start(caller->client, memory.iova, FUZZ_MEMORY_BYTES, &done, NULL) == 0)
		caller->started_count++;
}

void
fuzz_vfu_memory_many(struct fuzz_vfu_caller *caller)
{
	struct rp_vfu_client_memory memories[FUZZ_VFU_SLOTS_COUNT];
	unsigned int kind = fuzz_below(caller->input, 8), count = fuzz_below(caller->input, FUZZ_VFU_SLOTS_COUNT + 1),
		     i;

	for (i = 0; i < count; i++) {
		memories[i] = slot(caller);
		place_it(caller, &memories[i], fuzz_u8(caller->input));
	}
	if (kind < 4)
		FUZZ_VFU_CALL(caller, rp_vfu_client_dma_map_many(caller->client, memories, count, NULL));
	else if (kind < 6)
		FUZZ_VFU_CALL(caller, rp_vfu_client_dma_unmap_many(caller->client, memories, count, NULL));
	else if (kind == 6)
		FUZZ_VFU_CALL(caller, rp_vfu_client_dma_unmap_all(caller->client, NULL));
	else if (count > 0)
		FUZZ_VFU_CALL(caller, rp_vfu_client_dma_map(caller->client, memories[0].iova, memories[0].size_bytes,
							    memories[0].fd, 0, memories[0].access_mask, NULL));
}

void
fuzz_vfu_remap(struct fuzz_vfu_caller *caller)
{
	struct rp_vfu_client_memory memory = slot(caller);
	const struct rp_vfu_client_done done = fuzz_vfu_done(caller);
	unsigned int kind = fuzz_u8(caller->input);

	place_it(caller, &memory, kind);
	if (kind % 2 == 0)
		FUZZ_VFU_CALL(caller, rp_vfu_client_dma_remap(caller->client, &memory, NULL));
	else if (rp_vfu_client_dma_remap_start(caller->client, &memory, &done, NULL) == 0)
		caller->started_count++;
}

/* A report of dirty pages into memory that is as large as it must be and no larger. */
static void
report(struct fuzz_vfu_caller *caller, bool unmap)
{
	const uint64_t page_bytes = 4096ull << fuzz_below(caller->input, 6);
	const uint64_t first_bytes = (uint64_t)fuzz_below(caller->input, FUZZ_VFU_SLOTS_COUNT) * FUZZ_MEMORY_BYTES;
	const uint64_t size_bytes = page_bytes * (1 + fuzz_u16(caller->input) % 1024);
	const uint64_t pages = size_bytes / page_bytes, words = (pages + 63) / 64;
	uint64_t *bits = calloc(words, sizeof(*bits));
	int rc;

	fuzz_require(bits != NULL, "memory for bits");
	if (unmap)
		rc = FUZZ_VFU_CALL(caller, rp_vfu_client_dma_unmap_dirty(caller->client, FUZZ_GPA + first_bytes,
									 size_bytes, page_bytes, bits, NULL));
	else
		rc = FUZZ_VFU_CALL(caller, rp_vfu_client_logging_report(caller->client, FUZZ_GPA + first_bytes,
									size_bytes, page_bytes, bits, NULL));
	if (rc == 0 && pages % 64 != 0)
		fuzz_require(bits[words - 1] >> (pages % 64) == 0, "no page is dirty behind the range");
	free(bits);
}

void
fuzz_vfu_log(struct fuzz_vfu_caller *caller)
{
	struct rp_vfu_client_range ranges[RANGES_MAX] = {{FUZZ_GPA, FUZZ_MEMORY_BYTES}};
	uint64_t page_bytes = 4096;

	switch (fuzz_below(caller->input, 4)) {
	case 0:
		if (FUZZ_VFU_CALL(caller,
				  rp_vfu_client_logging_start(caller->client, &page_bytes, ranges,
							      fuzz_below(caller->input, RANGES_MAX + 1), NULL)) == 0)
			fuzz_require(page_bytes != 0 && (page_bytes & (page_bytes - 1)) == 0, "pages have a size");
		break;
	case 1:
		report(caller, false);
		break;
	case 2:
		FUZZ_VFU_CALL(caller, rp_vfu_client_logging_stop(caller->client, NULL));
		break;
	default:
		report(caller, true);
		break;
	}
}
