/* SPDX-License-Identifier: BSD-3-Clause */
#include <endian.h>
#include <stddef.h>
#include <string.h>

#include <linux/virtio_pci.h>

#include "sa_device.h"

/*
 * virtio 1.2, 4.1.4.3. Reading makes an image of the whole block, so any width
 * works; a write must be exactly one field (4.1.3.1), others do nothing, as on
 * hardware.
 */

struct common_image {
	struct virtio_pci_common_cfg cfg;
	uint16_t queue_notify_data;
	uint16_t queue_reset;
	uint8_t rest[4];
};
static_assert(sizeof(struct common_image) == SA_COMMON_BYTES, "common configuration");

static struct sa_queue *
selected(struct softaccel_function *function)
{
	return function->queue_select < function->queues_count ? &function->queues[function->queue_select] : NULL;
}

static uint32_t
half(uint64_t value, uint32_t select)
{
	return select > 1 ? 0 : (uint32_t)(value >> (32 * select));
}

static void
put_queue(struct softaccel_function *function, struct virtio_pci_common_cfg *cfg)
{
	const struct sa_queue *queue = selected(function);

	/* 4.1.5.1.3: a size of 0 says that there is no such queue. */
	if (queue == NULL)
		return;
	cfg->queue_size = htole16(queue->size);
	cfg->queue_msix_vector = htole16(queue->msix_vector);
	cfg->queue_enable = htole16(queue->enabled);
	cfg->queue_notify_off = htole16(function->queue_select);
	cfg->queue_desc_lo = htole32(half(queue->desc_iova, 0));
	cfg->queue_desc_hi = htole32(half(queue->desc_iova, 1));
	cfg->queue_avail_lo = htole32(half(queue->avail_iova, 0));
	cfg->queue_avail_hi = htole32(half(queue->avail_iova, 1));
	cfg->queue_used_lo = htole32(half(queue->used_iova, 0));
	cfg->queue_used_hi = htole32(half(queue->used_iova, 1));
}

void
sa_common_read(struct softaccel_function *function, uint32_t at, uint32_t count, uint8_t *ret_bytes)
{
	struct common_image image = {
		.cfg =
			{
				.device_feature_select = htole32(function->device_feature_select),
				.device_feature = htole32(half(function->features, function->device_feature_select)),
				.guest_feature_select = htole32(function->driver_feature_select),
				.guest_feature =
					htole32(half(function->driver_features, function->driver_feature_select)),
				.msix_config = htole16(function->msix_config),
				.num_queues = htole16(function->queues_count),
				.device_status = function->status,
				.queue_select = htole16(function->queue_select),
			},
	};

	put_queue(function, &image.cfg);
	memcpy(ret_bytes, (const uint8_t *)&image + at, count);
}

static void
set_device_feature_select(struct softaccel_function *function, uint32_t value)
{
	function->device_feature_select = value;
}

static void
set_driver_feature_select(struct softaccel_function *function, uint32_t value)
{
	function->driver_feature_select = value;
}

static void
replace_half(uint64_t *number, uint32_t select, uint32_t value)
{
	unsigned int shift = 32 * select;

	*number = (*number & ~(0xffffffffull << shift)) | (uint64_t)value << shift;
}

static void
set_driver_feature(struct softaccel_function *function, uint32_t value)
{
	/* 2.2.1: settled once FEATURES_OK is. */
	if (function->driver_feature_select > 1 || (function->status & VIRTIO_CONFIG_S_FEATURES_OK) != 0)
		return;
	replace_half(&function->driver_features, function->driver_feature_select, value);
}

static uint16_t
valid_vector(const struct softaccel_function *function, uint32_t value)
{
	/* 4.1.5.1.2: what cannot be mapped reads back as "none". */
	return value < sa_device_vectors(function) ? (uint16_t)value : SA_NO_VECTOR;
}

static void
set_msix_config(struct softaccel_function *function, uint32_t value)
{
	function->msix_config = valid_vector(function, value);
}

static bool
features_acceptable(const struct softaccel_function *function)
{
	return (function->driver_features & ~function->features) == 0 &&
	       (function->driver_features & SA_FEATURE(VIRTIO_F_VERSION_1)) != 0;
}

static void
set_device_status(struct softaccel_function *function, uint32_t value)
{
	uint8_t added = (uint8_t)(value & ~function->status);
	unsigned int number;

	if (value == 0) {
		sa_device_reset(function);
		return;
	}
	if ((added & VIRTIO_CONFIG_S_FEATURES_OK) != 0 && !features_acceptable(function)) {
		sa_device_event(function, "features 0x%llx refused, expected VERSION_1 and some of 0x%llx",
				(unsigned long long)function->driver_features, (unsigned long long)function->features);
		added &= (uint8_t)~VIRTIO_CONFIG_S_FEATURES_OK;
	}
	/* 2.1.1: bits are only added. */
	function->status |= added;
	for (number = 0; (added & VIRTIO_CONFIG_S_FEATURES_OK) != 0 && number < function->queues_count; number++)
		sa_queue_negotiated(function, number);
	if ((added & VIRTIO_CONFIG_S_DRIVER_OK) == 0)
		return;
	for (number = 0; number < function->queues_count; number++) {
		struct rp_wire_why why = {.error = 0};

		if (sa_queue_update(function, number, &why) < 0)
			sa_device_event(function, "queue %u: cannot start: %s", number, why.text);
	}
}

static void
set_queue_select(struct softaccel_function *function, uint32_t value)
{
	function->queue_select = (uint16_t)value;
}

/* What a running ring uses cannot change under it. @return NULL: the write does nothing. */
static struct sa_queue *
selected_disabled(struct softaccel_function *function)
{
	struct sa_queue *queue = selected(function);

	return queue != NULL && !queue->enabled ? queue : NULL;
}

static void
set_queue_size(struct softaccel_function *function, uint32_t value)
{
	struct sa_queue *queue = selected_disabled(function);

	if (queue != NULL && value > 0 && value <= function->queue_size_max)
		queue->size = (uint16_t)value;
}

static void
set_queue_vector(struct softaccel_function *function, uint32_t value)
{
	struct sa_queue *queue = selected(function);

	if (queue == NULL)
		return;
	queue->msix_vector = valid_vector(function, value);
	sa_queue_rewire(function, function->queue_select);
}

static void
set_queue_enable(struct softaccel_function *function, uint32_t value)
{
	if (selected(function) != NULL && value == 1)
		sa_queue_enable(function, function->queue_select);
}

static void
set_queue_reset(struct softaccel_function *function, uint32_t value)
{
	if (selected(function) != NULL && value == 1 &&
	    (function->driver_features & SA_FEATURE(VIRTIO_F_RING_RESET)) != 0)
		sa_queue_reset(function, function->queue_select);
}

/* clang-format off */
static const struct {
	uint8_t at;
	uint8_t bytes;
	void (*set)(struct softaccel_function *function, uint32_t value);
} fields[] = {
	{ VIRTIO_PCI_COMMON_DFSELECT, 4, set_device_feature_select },
	{ VIRTIO_PCI_COMMON_GFSELECT, 4, set_driver_feature_select },
	{ VIRTIO_PCI_COMMON_GF,       4, set_driver_feature },
	{ VIRTIO_PCI_COMMON_MSIX,     2, set_msix_config },
	{ VIRTIO_PCI_COMMON_STATUS,   1, set_device_status },
	{ VIRTIO_PCI_COMMON_Q_SELECT, 2, set_queue_select },
	{ VIRTIO_PCI_COMMON_Q_SIZE,   2, set_queue_size },
	{ VIRTIO_PCI_COMMON_Q_MSIX,   2, set_queue_vector },
	{ VIRTIO_PCI_COMMON_Q_ENABLE, 2, set_queue_enable },
	{ offsetof(struct common_image, queue_reset), 2, set_queue_reset },
};

static const struct {
	uint8_t at;
	uint8_t half;
	uint8_t field; /* of struct sa_queue */
} addresses[] = {
	{ VIRTIO_PCI_COMMON_Q_DESCLO,  0, offsetof(struct sa_queue, desc_iova) },
	{ VIRTIO_PCI_COMMON_Q_DESCHI,  1, offsetof(struct sa_queue, desc_iova) },
	{ VIRTIO_PCI_COMMON_Q_AVAILLO, 0, offsetof(struct sa_queue, avail_iova) },
	{ VIRTIO_PCI_COMMON_Q_AVAILHI, 1, offsetof(struct sa_queue, avail_iova) },
	{ VIRTIO_PCI_COMMON_Q_USEDLO,  0, offsetof(struct sa_queue, used_iova) },
	{ VIRTIO_PCI_COMMON_Q_USEDHI,  1, offsetof(struct sa_queue, used_iova) },
};
/* clang-format on */

static void
set_address(struct softaccel_function *function, uint32_t at, uint32_t value)
{
	struct sa_queue *queue = selected_disabled(function);
	unsigned int i;

	for (i = 0; queue != NULL && i < RTE_DIM(addresses); i++) {
		if (addresses[i].at == at)
			replace_half((uint64_t *)(void *)((uint8_t *)queue + addresses[i].field), addresses[i].half,
				     value);
	}
}

void
sa_common_write(struct softaccel_function *function, uint32_t at, uint32_t count, const uint8_t *bytes)
{
	uint32_t value = 0;
	unsigned int i;

	/* 4.1.3.1 lets a driver write a 64-bit field as two halves, and some do it at once. */
	if (count == sizeof(uint64_t)) {
		sa_common_write(function, at, sizeof(uint32_t), bytes);
		sa_common_write(function, at + 4, sizeof(uint32_t), bytes + 4);
		return;
	}
	if (count > sizeof(value))
		return;
	memcpy(&value, bytes, count);
	value = le32toh(value);
	for (i = 0; i < RTE_DIM(fields); i++) {
		if (fields[i].at == at && fields[i].bytes == count)
			fields[i].set(function, value);
	}
	if (count == sizeof(value))
		set_address(function, at, value);
}
