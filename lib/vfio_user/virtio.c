/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <linux/virtio_config.h>

#include "rp_accel_vendor.h"
#include "rp_vring_dev.h"
#include "vfu_virtio.h"

#define NOTIFY_STRIDE_MIN_BYTES 2u

static int
check_notify(const struct rp_vfu_virtio_config *config, struct rp_wire_why *why)
{
	uint64_t stride = config->notify_stride_bytes;
	uint64_t wanted =
		stride * vfu_virtio_doorbell_index(config, config->queues_count - 1u) + NOTIFY_STRIDE_MIN_BYTES;

	if (config->notify_group_queues > RP_VFU_VIRTIO_QUEUES_MAX)
		return rp_wire_why_set(why, -EINVAL, "notify_group_queues: %u, expected at most %u",
				       config->notify_group_queues, RP_VFU_VIRTIO_QUEUES_MAX);
	if (stride == 0)
		return 0;
	if (stride < NOTIFY_STRIDE_MIN_BYTES || (stride & (stride - 1)) != 0)
		return rp_wire_why_set(why, -EINVAL, "notify_stride_bytes: %u, expected a power of two from %u on",
				       config->notify_stride_bytes, NOTIFY_STRIDE_MIN_BYTES);
	if (config->notify.size_bytes < wanted)
		return rp_wire_why_set(why, -EINVAL, "notify: 0x%llx bytes, expected at least 0x%llx",
				       (unsigned long long)config->notify.size_bytes, (unsigned long long)wanted);
	return 0;
}

static int
check(const struct rp_vfu_virtio_config *config, struct rp_wire_why *why)
{
	if ((config->features & 1ull << VIRTIO_F_VERSION_1) == 0)
		return rp_wire_why_set(why, -EINVAL, "features: 0x%llx, expected VIRTIO_F_VERSION_1 among them",
				       (unsigned long long)config->features);
	if (config->queues_count == 0 || config->queues_count > RP_VFU_VIRTIO_QUEUES_MAX)
		return rp_wire_why_set(why, -EINVAL, "queues_count: %u, expected 1 to %u", config->queues_count,
				       RP_VFU_VIRTIO_QUEUES_MAX);
	if (config->queue_size_max == 0 || config->queue_size_max > RP_VFU_VIRTIO_QUEUE_SIZE_MAX)
		return rp_wire_why_set(why, -EINVAL, "queue_size_max: %u, expected 1 to %u", config->queue_size_max,
				       RP_VFU_VIRTIO_QUEUE_SIZE_MAX);
	if (config->vectors_count > config->queues_count + 1u)
		return rp_wire_why_set(why, -EINVAL, "vectors_count: %u, expected at most one a queue and one more",
				       config->vectors_count);
	if (config->config_bytes > RP_VFU_VIRTIO_CONFIG_MAX_BYTES ||
	    (config->config_bytes > 0 && config->config == NULL))
		return rp_wire_why_set(why, -EINVAL, "config: %u bytes, expected some, and at most %u",
				       config->config_bytes, RP_VFU_VIRTIO_CONFIG_MAX_BYTES);
	return check_notify(config, why);
}

static void
set_first_values(struct rp_vfu_virtio *virtio)
{
	unsigned int queue;

	virtio->features = 0;
	virtio->device_half = virtio->driver_half = 0;
	virtio->config_vector = RP_VFU_VIRTIO_NO_VECTOR;
	virtio->select = 0;
	virtio->status = virtio->isr = 0;
	for (queue = 0; queue < virtio->config.queues_count; queue++)
		vfu_virtio_queue_reset(virtio, queue);
}

int
rp_vfu_virtio_create(const struct rp_vfu_virtio_config *config, const struct rp_vfu_virtio_ops *ops, void *ctx,
		     struct rp_vfu_virtio **ret_virtio, struct rp_wire_why *why)
{
	struct rp_vfu_virtio *virtio;
	int rc = check(config, why);

	if (rc < 0)
		return rc;
	virtio = calloc(1, sizeof(*virtio));
	if (virtio != NULL)
		virtio->queues = calloc(config->queues_count, sizeof(*virtio->queues));
	if (virtio == NULL || virtio->queues == NULL) {
		free(virtio);
		return rp_wire_why_set(why, -ENOMEM, "no memory for the registers of %u queues", config->queues_count);
	}
	virtio->config = *config;
	virtio->config.config = NULL;
	if (config->config_bytes > 0)
		memcpy(virtio->config_bytes, config->config, config->config_bytes);
	if (ops != NULL)
		virtio->ops = *ops;
	virtio->ctx = ctx;
	set_first_values(virtio);
	rc = vfu_virtio_doorbells_init(virtio, why);
	if (rc < 0) {
		rp_vfu_virtio_destroy(virtio);
		return rc;
	}
	*ret_virtio = virtio;
	return 0;
}

struct rp_vfu_virtio *
rp_vfu_virtio_destroy(struct rp_vfu_virtio *virtio)
{
	if (virtio == NULL)
		return NULL;
	vfu_virtio_doorbells_fini(virtio);
	free(virtio->queues);
	free(virtio);
	return NULL;
}

void
rp_vfu_virtio_reset(struct rp_vfu_virtio *virtio)
{
	if (virtio->ops.reset != NULL)
		virtio->ops.reset(virtio->ctx);
	set_first_values(virtio);
	vfu_virtio_doorbells_clear(virtio);
	if (virtio->pci != NULL)
		rp_vfu_pci_intx(virtio->pci, false);
}

uint64_t
rp_vfu_virtio_features(const struct rp_vfu_virtio *virtio)
{
	return virtio->features;
}

uint8_t
rp_vfu_virtio_status(const struct rp_vfu_virtio *virtio)
{
	return virtio->status;
}

struct rp_vfu_virtio_queue *
rp_vfu_virtio_queue(struct rp_vfu_virtio *virtio, unsigned int queue)
{
	return &virtio->queues[queue];
}

bool
rp_vfu_virtio_queue_wanted(const struct rp_vfu_virtio *virtio, unsigned int queue)
{
	return virtio->queues[queue].enabled && !virtio->queues[queue].stopping &&
	       (virtio->status & VIRTIO_CONFIG_S_DRIVER_OK) != 0 && virtio->pci != NULL &&
	       rp_vfu_pci_is_bus_master(virtio->pci);
}

void
rp_vfu_virtio_queue_layout(const struct rp_vfu_virtio *virtio, unsigned int queue, struct rp_vring_layout *ret_layout)
{
	const struct rp_vfu_virtio_queue *regs = &virtio->queues[queue];

	*ret_layout = (struct rp_vring_layout){
		.num = regs->size,
		.desc_iova = regs->desc_iova,
		.avail_iova = regs->avail_iova,
		.used_iova = regs->used_iova,
		.features = virtio->features,
	};
}

void
vfu_virtio_queue_reset(struct rp_vfu_virtio *virtio, unsigned int queue)
{
	virtio->queues[queue] = (struct rp_vfu_virtio_queue){
		.size = virtio->config.queue_size_max,
		.vector = RP_VFU_VIRTIO_NO_VECTOR,
		.position = rp_vring_position_fresh(virtio->features),
		.doorbell = RP_ACCEL_VENDOR_DOORBELL_ANY,
		.wants_page = true,
	};
}

void
rp_vfu_virtio_queue_stopped(struct rp_vfu_virtio *virtio, unsigned int queue)
{
	struct rp_vfu_virtio_queue *regs = &virtio->queues[queue];

	regs->enabled = regs->stopping = regs->broken = false;
}

void
vfu_virtio_queue_stop(struct rp_vfu_virtio *virtio, unsigned int queue, enum rp_vfu_virtio_stop kind)
{
	struct rp_vfu_virtio_queue *regs = &virtio->queues[queue];
	int rc = 0;

	if (!regs->enabled || (regs->stopping && kind == RP_VFU_VIRTIO_STOP))
		return;
	if (virtio->ops.queue_stop != NULL)
		rc = virtio->ops.queue_stop(virtio->ctx, queue, kind);
	if (rc == -EINPROGRESS)
		regs->stopping = true;
	else
		rp_vfu_virtio_queue_stopped(virtio, queue);
}

static bool
features_acceptable(const struct rp_vfu_virtio *virtio)
{
	return (virtio->features & ~virtio->config.features) == 0 &&
	       (virtio->features & 1ull << VIRTIO_F_VERSION_1) != 0;
}

void
vfu_virtio_set_status(struct rp_vfu_virtio *virtio, uint8_t status)
{
	/* 2.1.1: bits are only added; one of them is the device's alone. */
	uint8_t added = (uint8_t)(status & ~virtio->status & ~VIRTIO_CONFIG_S_NEEDS_RESET);
	unsigned int queue;

	if (status == 0) {
		rp_vfu_virtio_reset(virtio);
		return;
	}
	if ((added & VIRTIO_CONFIG_S_FEATURES_OK) != 0 && !features_acceptable(virtio)) {
		if (virtio->ops.features_refused != NULL)
			virtio->ops.features_refused(virtio->ctx, virtio->features);
		added &= (uint8_t)~VIRTIO_CONFIG_S_FEATURES_OK;
	}
	virtio->status |= added;
	for (queue = 0; (added & VIRTIO_CONFIG_S_FEATURES_OK) != 0 && queue < virtio->config.queues_count; queue++)
		virtio->queues[queue].position = rp_vring_position_fresh(virtio->features);
	if ((added & VIRTIO_CONFIG_S_DRIVER_OK) != 0 && virtio->ops.driver_ok != NULL)
		virtio->ops.driver_ok(virtio->ctx);
}

static int
interrupt(struct rp_vfu_virtio *virtio, uint16_t vector, uint8_t isr_mask)
{
	if (virtio->pci == NULL)
		return 0;
	if (virtio->config.vectors_count == 0) {
		virtio->isr |= isr_mask;
		return rp_vfu_pci_intx(virtio->pci, true);
	}
	/* A vector is a write to memory, the pin is not. */
	if (vector == RP_VFU_VIRTIO_NO_VECTOR || !rp_vfu_pci_is_bus_master(virtio->pci))
		return 0;
	return rp_vfu_pci_irq_trigger(virtio->pci, RP_VFU_PCI_MSIX_IRQ, vector);
}

int
rp_vfu_virtio_interrupt(struct rp_vfu_virtio *virtio, unsigned int queue)
{
	return interrupt(virtio, virtio->queues[queue].vector, VFU_VIRTIO_ISR_QUEUE_MASK);
}

static void
tell_config(struct rp_vfu_virtio *virtio)
{
	if ((virtio->status & VIRTIO_CONFIG_S_DRIVER_OK) != 0)
		interrupt(virtio, virtio->config_vector, VFU_VIRTIO_ISR_CONFIG_MASK);
}

/* A driver that does not know the register never wrote to it, and is left alone. */
static void
tell_wish(struct rp_vfu_virtio *virtio, unsigned int queue)
{
	const struct rp_vfu_virtio_queue *regs = &virtio->queues[queue];
	uint8_t wanted = regs->wants_page ? RP_ACCEL_VENDOR_DOORBELL_PAGE : RP_ACCEL_VENDOR_DOORBELL_EVENTFD;

	if (regs->doorbell != RP_ACCEL_VENDOR_DOORBELL_ANY && regs->doorbell != wanted)
		tell_config(virtio);
}

void
rp_vfu_virtio_want_page(struct rp_vfu_virtio *virtio, unsigned int queue, bool page)
{
	if (virtio->queues[queue].wants_page == page)
		return;
	virtio->queues[queue].wants_page = page;
	tell_wish(virtio, queue);
}

void
vfu_virtio_queue_doorbell(struct rp_vfu_virtio *virtio, unsigned int queue, uint32_t doorbell)
{
	if (!virtio->config.has_doorbell_wishes || doorbell > RP_ACCEL_VENDOR_DOORBELL_PAGE)
		return;
	virtio->queues[queue].doorbell = (uint8_t)doorbell;
	if (virtio->ops.queue_doorbell != NULL)
		virtio->ops.queue_doorbell(virtio->ctx, queue);
	tell_wish(virtio, queue);
}

int
rp_vfu_virtio_set_config(struct rp_vfu_virtio *virtio, uint32_t at, const void *bytes, uint32_t count_bytes)
{
	if (at > virtio->config.config_bytes || count_bytes > virtio->config.config_bytes - at)
		return -EINVAL;
	memcpy(virtio->config_bytes + at, bytes, count_bytes);
	virtio->generation++;
	tell_config(virtio);
	return 0;
}

void
rp_vfu_virtio_needs_reset(struct rp_vfu_virtio *virtio)
{
	virtio->status |= VIRTIO_CONFIG_S_NEEDS_RESET;
	tell_config(virtio);
}
