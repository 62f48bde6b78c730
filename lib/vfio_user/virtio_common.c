/* SPDX-License-Identifier: BSD-3-Clause */
#include <assert.h>
#include <endian.h>
#include <stddef.h>
#include <string.h>

#include <linux/virtio_config.h>
#include <linux/virtio_pci.h>

#include "vfu_virtio.h"

#ifndef VIRTIO_F_RING_RESET
#define VIRTIO_F_RING_RESET 40
#endif

/*
 * virtio 1.2, 4.1.4.3. Reading copies from an image of the whole block. Writing
 * overlays such an image, field by field, so that any width works and each field
 * is judged with those before it in effect.
 */

struct common {
	struct virtio_pci_common_cfg cfg;
	uint16_t queue_notify_data;
	uint16_t queue_reset;
	uint8_t rest[4];
};
static_assert(sizeof(struct common) == VFU_VIRTIO_COMMON_BYTES, "common configuration");

static struct rp_vfu_virtio_queue *
selected(const struct rp_vfu_virtio *virtio)
{
	return virtio->select < virtio->config.queues_count ? &virtio->queues[virtio->select] : NULL;
}

static uint32_t
half_of(uint64_t number, uint32_t half)
{
	return htole32(half < 2 ? (uint32_t)(number >> 32 * half) : 0);
}

static void
set_half(uint64_t *number, uint32_t half, uint32_t value)
{
	*number = (*number & ~(0xffffffffull << 32 * half)) | (uint64_t)value << 32 * half;
}

static void
queue_image(const struct rp_vfu_virtio *virtio, struct virtio_pci_common_cfg *cfg)
{
	const struct rp_vfu_virtio_queue *queue = selected(virtio);

	/* 4.1.5.1.3: a size of 0 says that there is no such queue. */
	if (queue == NULL)
		return;
	cfg->queue_size = htole16(queue->size);
	cfg->queue_msix_vector = htole16(queue->vector);
	cfg->queue_enable = htole16(queue->enabled);
	cfg->queue_notify_off = htole16((uint16_t)vfu_virtio_doorbell_index(&virtio->config, virtio->select));
	cfg->queue_desc_lo = half_of(queue->desc_iova, 0);
	cfg->queue_desc_hi = half_of(queue->desc_iova, 1);
	cfg->queue_avail_lo = half_of(queue->avail_iova, 0);
	cfg->queue_avail_hi = half_of(queue->avail_iova, 1);
	cfg->queue_used_lo = half_of(queue->used_iova, 0);
	cfg->queue_used_hi = half_of(queue->used_iova, 1);
}

static struct common
image_of(const struct rp_vfu_virtio *virtio)
{
	struct common image = {
		.cfg = {.device_feature_select = htole32(virtio->device_half),
			.device_feature = half_of(virtio->config.features, virtio->device_half),
			.guest_feature_select = htole32(virtio->driver_half),
			.guest_feature = half_of(virtio->features, virtio->driver_half),
			.msix_config = htole16(virtio->config_vector),
			.num_queues = htole16(virtio->config.queues_count),
			.device_status = virtio->status,
			.config_generation = virtio->generation,
			.queue_select = htole16(virtio->select)},
	};

	queue_image(virtio, &image.cfg);
	return image;
}

void
vfu_virtio_common_read(const struct rp_vfu_virtio *virtio, uint32_t at, uint32_t count_bytes, uint8_t *ret_bytes)
{
	const struct common image = image_of(virtio);

	memcpy(ret_bytes, (const uint8_t *)&image + at, count_bytes);
}

static void
set_device_half(struct rp_vfu_virtio *virtio, uint32_t value)
{
	virtio->device_half = value;
}

static void
set_driver_half(struct rp_vfu_virtio *virtio, uint32_t value)
{
	virtio->driver_half = value;
}

static void
set_features(struct rp_vfu_virtio *virtio, uint32_t value)
{
	/* 2.2.1: settled once FEATURES_OK is. */
	if (virtio->driver_half < 2 && (virtio->status & VIRTIO_CONFIG_S_FEATURES_OK) == 0)
		set_half(&virtio->features, virtio->driver_half, value);
}

/* 4.1.5.1.2: what cannot be mapped reads back as "none". */
static uint16_t
valid_vector(const struct rp_vfu_virtio *virtio, uint32_t value)
{
	return value < virtio->config.vectors_count ? (uint16_t)value : RP_VFU_VIRTIO_NO_VECTOR;
}

static void
set_config_vector(struct rp_vfu_virtio *virtio, uint32_t value)
{
	virtio->config_vector = valid_vector(virtio, value);
}

static void
set_status(struct rp_vfu_virtio *virtio, uint32_t value)
{
	vfu_virtio_set_status(virtio, (uint8_t)value);
}

static void
set_select(struct rp_vfu_virtio *virtio, uint32_t value)
{
	virtio->select = (uint16_t)value;
}

/* @return NULL: the write does nothing, because what a running ring uses cannot change under it. */
static struct rp_vfu_virtio_queue *
selected_disabled(const struct rp_vfu_virtio *virtio)
{
	struct rp_vfu_virtio_queue *queue = selected(virtio);

	return queue != NULL && !queue->enabled ? queue : NULL;
}

static void
set_size(struct rp_vfu_virtio *virtio, uint32_t value)
{
	struct rp_vfu_virtio_queue *queue = selected_disabled(virtio);

	if (queue != NULL && value > 0 && value <= virtio->config.queue_size_max)
		queue->size = (uint16_t)value;
}

static void
set_vector(struct rp_vfu_virtio *virtio, uint32_t value)
{
	struct rp_vfu_virtio_queue *queue = selected(virtio);

	if (queue == NULL)
		return;
	queue->vector = valid_vector(virtio, value);
	if (virtio->ops.queue_vector != NULL)
		virtio->ops.queue_vector(virtio->ctx, virtio->select);
}

static void
set_enable(struct rp_vfu_virtio *virtio, uint32_t value)
{
	struct rp_vfu_virtio_queue *queue = selected_disabled(virtio);

	if (queue == NULL || value != 1 || (virtio->status & VIRTIO_CONFIG_S_FEATURES_OK) == 0)
		return;
	queue->enabled = true;
	queue->broken = false;
	if (virtio->ops.queue_enable != NULL && virtio->ops.queue_enable(virtio->ctx, virtio->select) < 0)
		queue->enabled = false;
}

static void
set_reset(struct rp_vfu_virtio *virtio, uint32_t value)
{
	if (selected(virtio) == NULL || value != 1 || (virtio->features & 1ull << VIRTIO_F_RING_RESET) == 0)
		return;
	vfu_virtio_queue_stop(virtio, virtio->select, RP_VFU_VIRTIO_STOP_RESET);
	vfu_virtio_queue_reset(virtio, virtio->select);
}

/* Six halves, one behind the other. */
static void
set_address(struct rp_vfu_virtio *virtio, uint32_t at, uint32_t value)
{
	struct rp_vfu_virtio_queue *queue = selected_disabled(virtio);
	uint32_t number = (at - VIRTIO_PCI_COMMON_Q_DESCLO) / 4;

	if (queue == NULL)
		return;
	set_half(number < 2 ? &queue->desc_iova :
		 number < 4 ? &queue->avail_iova :
			      &queue->used_iova,
		 number % 2, value);
}

/* In the order of their offsets. What is not here is read-only; what has no function is half an address. */
/* clang-format off */
static const struct {
	uint8_t at;
	uint8_t bytes;
	void (*set)(struct rp_vfu_virtio *virtio, uint32_t value);
} fields[] = {
	{ VIRTIO_PCI_COMMON_DFSELECT,  4, set_device_half },
	{ VIRTIO_PCI_COMMON_GFSELECT,  4, set_driver_half },
	{ VIRTIO_PCI_COMMON_GF,        4, set_features },
	{ VIRTIO_PCI_COMMON_MSIX,      2, set_config_vector },
	{ VIRTIO_PCI_COMMON_STATUS,    1, set_status },
	{ VIRTIO_PCI_COMMON_Q_SELECT,  2, set_select },
	{ VIRTIO_PCI_COMMON_Q_SIZE,    2, set_size },
	{ VIRTIO_PCI_COMMON_Q_MSIX,    2, set_vector },
	{ VIRTIO_PCI_COMMON_Q_ENABLE,  2, set_enable },
	{ VIRTIO_PCI_COMMON_Q_DESCLO,  4, NULL },
	{ VIRTIO_PCI_COMMON_Q_DESCHI,  4, NULL },
	{ VIRTIO_PCI_COMMON_Q_AVAILLO, 4, NULL },
	{ VIRTIO_PCI_COMMON_Q_AVAILHI, 4, NULL },
	{ VIRTIO_PCI_COMMON_Q_USEDLO,  4, NULL },
	{ VIRTIO_PCI_COMMON_Q_USEDHI,  4, NULL },
	{ offsetof(struct common, queue_reset), 2, set_reset },
};
/* clang-format on */

static uint32_t
little_endian(const uint8_t *bytes, unsigned int count)
{
	uint32_t value = 0;

	while (count-- > 0)
		value = value << 8 | bytes[count];
	return value;
}

/* The field as it is, with what is written of it. */
static uint32_t
overlaid(const struct rp_vfu_virtio *virtio, unsigned int field, uint32_t at, uint32_t count_bytes,
	 const uint8_t *bytes)
{
	struct common image;

	/* As drivers do it: all of it is new. */
	if (at == fields[field].at && count_bytes == fields[field].bytes)
		return little_endian(bytes, count_bytes);
	image = image_of(virtio);
	memcpy((uint8_t *)&image + at, bytes, count_bytes);
	return little_endian((const uint8_t *)&image + fields[field].at, fields[field].bytes);
}

void
vfu_virtio_common_write(struct rp_vfu_virtio *virtio, uint32_t at, uint32_t count_bytes, const uint8_t *bytes)
{
	unsigned int i;

	for (i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
		uint32_t value;

		if (at >= fields[i].at + (uint32_t)fields[i].bytes || fields[i].at >= at + count_bytes)
			continue;
		value = overlaid(virtio, i, at, count_bytes, bytes);
		if (fields[i].set != NULL)
			fields[i].set(virtio, value);
		else
			set_address(virtio, fields[i].at, value);
	}
}
