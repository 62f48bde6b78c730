/* SPDX-License-Identifier: BSD-3-Clause */
#include <endian.h>
#include <stddef.h>
#include <string.h>
#include <sys/eventfd.h>

#include "sa_device.h"

/* virtio 1.2, 4.1.4.5: reading the interrupt status clears it, and deasserts the pin. */
static void
isr_read(struct softaccel_function *function, uint32_t at, uint32_t count, uint8_t *ret_bytes)
{
	(void)count;
	if (at > 0)
		return;
	ret_bytes[0] = function->isr;
	function->isr = 0;
	rp_vfu_pci_intx(function->pci, false);
}

/* virtio 1.2, 5.1.4. */
static void
net_config_read(struct softaccel_function *function, uint32_t at, uint32_t count, uint8_t *ret_bytes)
{
	struct virtio_net_config config = {
		.status = htole16(VIRTIO_NET_S_LINK_UP),
		.max_virtqueue_pairs = htole16(function->queues_count / 2),
	};
	uint8_t image[SA_NET_CONFIG_BYTES] = {0};

	memcpy(config.mac, function->mac, sizeof(config.mac));
	memcpy(image, &config, sizeof(config));
	memcpy(ret_bytes, image + at, count);
}

/* Without a control queue nothing of it can be changed. */
static void
ignore_write(struct softaccel_function *function, uint32_t at, uint32_t count, const uint8_t *bytes)
{
	(void)function;
	(void)at;
	(void)count;
	(void)bytes;
}

struct block {
	uint32_t offset;
	uint32_t bytes; /* 0: sa_vendor_bytes() */
	void (*read)(struct softaccel_function *function, uint32_t at, uint32_t count, uint8_t *ret_bytes);
	void (*write)(struct softaccel_function *function, uint32_t at, uint32_t count, const uint8_t *bytes);
};

/* clang-format off */
static const struct block blocks[] = {
	{ SA_COMMON_OFFSET,     SA_COMMON_BYTES,     sa_common_read,  sa_common_write },
	{ SA_ISR_OFFSET,        SA_ISR_BYTES,        isr_read,        ignore_write },
	{ SA_NET_CONFIG_OFFSET, SA_NET_CONFIG_BYTES, net_config_read, ignore_write },
	{ SA_VENDOR_OFFSET,     0,                   sa_vendor_read,  sa_vendor_write },
};
/* clang-format on */

static uint32_t
block_bytes(const struct softaccel_function *function, const struct block *block)
{
	return block->bytes != 0 ? block->bytes : sa_vendor_bytes(function);
}

int
sa_registers_read(void *ctx, uint32_t region, uint64_t at, uint32_t count, uint8_t *ret_bytes)
{
	struct softaccel_function *function = ctx;
	unsigned int i;

	(void)region;
	memset(ret_bytes, 0, count);
	for (i = 0; i < RTE_DIM(blocks); i++) {
		uint64_t end = blocks[i].offset + block_bytes(function, &blocks[i]);
		uint64_t first = RTE_MAX(at, blocks[i].offset);

		end = RTE_MIN(end, at + count);
		if (first < end)
			blocks[i].read(function, (uint32_t)(first - blocks[i].offset), (uint32_t)(end - first),
				       ret_bytes + (first - at));
	}
	return 0;
}

int
sa_registers_write(void *ctx, uint32_t region, uint64_t at, uint32_t count, const uint8_t *bytes)
{
	struct softaccel_function *function = ctx;
	unsigned int i;

	(void)region;
	for (i = 0; i < RTE_DIM(blocks); i++) {
		uint64_t end = blocks[i].offset + block_bytes(function, &blocks[i]);

		if (at >= blocks[i].offset && at + count <= end)
			blocks[i].write(function, (uint32_t)(at - blocks[i].offset), count, bytes);
	}
	return 0;
}

int
sa_notify_read(void *ctx, uint32_t region, uint64_t at, uint32_t count, uint8_t *ret_bytes)
{
	struct softaccel_function *function = ctx;

	(void)region;
	memcpy(ret_bytes, function->doorbells.memory + at, count);
	return 0;
}

int
sa_notify_write(void *ctx, uint32_t region, uint64_t at, uint32_t count, const uint8_t *bytes)
{
	struct softaccel_function *function = ctx;
	int queue = sa_doorbells_queue_at(&function->doorbells, at);

	(void)region;
	(void)bytes;
	/* virtio 1.2, 4.1.5.2: 16 bits; 32 with NOTIFICATION_DATA, which is not offered but harmless. */
	if (queue >= 0 && (count == 2 || count == 4))
		eventfd_write(function->doorbells.kick_fds[queue], 1);
	return 0;
}
