/* SPDX-License-Identifier: BSD-3-Clause */
#include <string.h>

#include "vfu_virtio.h"

struct block {
	uint32_t at;
	uint32_t (*bytes)(const struct rp_vfu_virtio *virtio);
	void (*read)(struct rp_vfu_virtio *virtio, uint32_t at, uint32_t count_bytes, uint8_t *ret_bytes);
	void (*write)(struct rp_vfu_virtio *virtio, uint32_t at, uint32_t count_bytes, const uint8_t *bytes);
};

static uint32_t
common_bytes(const struct rp_vfu_virtio *virtio)
{
	(void)virtio;
	return VFU_VIRTIO_COMMON_BYTES;
}

static void
common_read(struct rp_vfu_virtio *virtio, uint32_t at, uint32_t count_bytes, uint8_t *ret_bytes)
{
	vfu_virtio_common_read(virtio, at, count_bytes, ret_bytes);
}

static uint32_t
isr_bytes(const struct rp_vfu_virtio *virtio)
{
	(void)virtio;
	return VFU_VIRTIO_ISR_BYTES;
}

/* 4.1.4.5: reading the interrupt status clears it, and deasserts the pin. */
static void
isr_read(struct rp_vfu_virtio *virtio, uint32_t at, uint32_t count_bytes, uint8_t *ret_bytes)
{
	(void)count_bytes;
	if (at > 0)
		return;
	ret_bytes[0] = virtio->isr;
	virtio->isr = 0;
	if (virtio->pci != NULL)
		rp_vfu_pci_intx(virtio->pci, false);
}

static uint32_t
config_bytes(const struct rp_vfu_virtio *virtio)
{
	return virtio->config.config_bytes;
}

static void
config_read(struct rp_vfu_virtio *virtio, uint32_t at, uint32_t count_bytes, uint8_t *ret_bytes)
{
	memcpy(ret_bytes, virtio->config_bytes + at, count_bytes);
}

static void
config_write(struct rp_vfu_virtio *virtio, uint32_t at, uint32_t count_bytes, const uint8_t *bytes)
{
	if (virtio->ops.config_write != NULL)
		virtio->ops.config_write(virtio->ctx, at, count_bytes, bytes);
}

/* clang-format off */
static const struct block blocks[] = {
	{ VFU_VIRTIO_COMMON_AT, common_bytes,           common_read,           vfu_virtio_common_write },
	{ VFU_VIRTIO_ISR_AT,    isr_bytes,              isr_read,              NULL },
	{ VFU_VIRTIO_CONFIG_AT, config_bytes,           config_read,           config_write },
	{ VFU_VIRTIO_STATE_AT,  vfu_virtio_state_bytes, vfu_virtio_state_read, vfu_virtio_state_write },
};
/* clang-format on */
#define BLOCKS_COUNT (sizeof(blocks) / sizeof(blocks[0]))

/* The part of an access that is the block's. @return whether there is one. */
static bool
part_of(const struct rp_vfu_virtio *virtio, const struct block *block, uint64_t at, uint32_t count_bytes,
	uint64_t *ret_first, uint32_t *ret_count_bytes)
{
	uint64_t end = (uint64_t)block->at + block->bytes(virtio);

	*ret_first = at > block->at ? at : block->at;
	end = end < at + count_bytes ? end : at + count_bytes;
	*ret_count_bytes = *ret_first < end ? (uint32_t)(end - *ret_first) : 0;
	return *ret_count_bytes > 0;
}

int
vfu_virtio_read(void *ctx, uint32_t region, uint64_t at, uint32_t count_bytes, uint8_t *ret_bytes)
{
	struct rp_vfu_virtio *virtio = ctx;
	uint64_t first;
	uint32_t count;
	unsigned int i;

	(void)region;
	memset(ret_bytes, 0, count_bytes);
	for (i = 0; i < BLOCKS_COUNT; i++) {
		if (part_of(virtio, &blocks[i], at, count_bytes, &first, &count))
			blocks[i].read(virtio, (uint32_t)(first - blocks[i].at), count, ret_bytes + (first - at));
	}
	return 0;
}

int
vfu_virtio_write(void *ctx, uint32_t region, uint64_t at, uint32_t count_bytes, const uint8_t *bytes)
{
	struct rp_vfu_virtio *virtio = ctx;
	uint64_t first;
	uint32_t count;
	unsigned int i;

	(void)region;
	for (i = 0; i < BLOCKS_COUNT; i++) {
		if (blocks[i].write != NULL && part_of(virtio, &blocks[i], at, count_bytes, &first, &count))
			blocks[i].write(virtio, (uint32_t)(first - blocks[i].at), count, bytes + (first - at));
	}
	return 0;
}
