/* SPDX-License-Identifier: BSD-3-Clause */
#include <endian.h>
#include <linux/pci_regs.h>
#include <linux/virtio_config.h>
#include <linux/virtio_pci.h>
#include <string.h>
#include <unistd.h>

#include "rp_accel_vendor.h"
#include "rp_vring_position.h"
#include "virtio.h"

#define NO_VECTOR 0xffffu
#define UNWRITTEN 0xffffffffu /* of a state register: nothing that a driver writes */
#define CONFIG_MAX_BYTES 64u

/* The register BAR as it reads. All of it is little-endian. */
struct registers {
	struct virtio_pci_common_cfg common;
	uint32_t isr[2]; /* of INTx, which there is not */
	struct rp_accel_vendor_header header;
	struct rp_accel_vendor_queue state[VIRTIO_QUEUES];
	uint8_t config[CONFIG_MAX_BYTES];
};
static_assert(sizeof(struct registers) <= VIRTIO_REGISTERS_BYTES, "the BAR has room");

void
virtio_reset(struct virtio *virtio)
{
	*virtio = (struct virtio){.offered_features = virtio->offered_features,
				  .config = virtio->config,
				  .config_bytes = virtio->config_bytes,
				  .config_vector = NO_VECTOR};
	for (unsigned int i = 0; i < VIRTIO_QUEUES; i++)
		virtio->queues[i] = (struct virtio_queue){.size = VIRTIO_QUEUE_SIZE, .vector = NO_VECTOR};
}

bool
virtio_wants(const struct virtio *virtio, unsigned int queue)
{
	return virtio->queues[queue].enabled && (virtio->status & VIRTIO_CONFIG_S_DRIVER_OK) != 0;
}

static uint32_t
half_of(uint64_t number, uint32_t half)
{
	return htole32(half < 2 ? (uint32_t)(number >> 32 * half) : 0);
}

static void
set_half(uint64_t *number, uint32_t half, uint32_t value)
{
	if (half < 2)
		*number = (*number & ~(0xffffffffull << 32 * half)) | (uint64_t)le32toh(value) << 32 * half;
}

static void
queue_image(const struct virtio *virtio, struct virtio_pci_common_cfg *cfg)
{
	const struct virtio_queue *queue = &virtio->queues[virtio->select % VIRTIO_QUEUES];

	/* A size of 0 says that there is no such queue (4.1.5.1.3). */
	if (virtio->select >= VIRTIO_QUEUES)
		return;
	cfg->queue_size = htole16(queue->size);
	cfg->queue_msix_vector = htole16(queue->vector);
	cfg->queue_enable = htole16(queue->enabled);
	cfg->queue_notify_off = htole16(virtio->select);
	cfg->queue_desc_lo = half_of(queue->iova[0], 0);
	cfg->queue_desc_hi = half_of(queue->iova[0], 1);
	cfg->queue_avail_lo = half_of(queue->iova[1], 0);
	cfg->queue_avail_hi = half_of(queue->iova[1], 1);
	cfg->queue_used_lo = half_of(queue->iova[2], 0);
	cfg->queue_used_hi = half_of(queue->iova[2], 1);
}

static struct registers
image_of(const struct virtio *virtio)
{
	struct registers image = {
		.common = {.device_feature_select = htole32(virtio->device_half),
			   .device_feature = half_of(virtio->offered_features, virtio->device_half),
			   .guest_feature_select = htole32(virtio->driver_half),
			   .guest_feature = half_of(virtio->features, virtio->driver_half),
			   .msix_config = htole16(virtio->config_vector),
			   .num_queues = htole16(VIRTIO_QUEUES),
			   .device_status = virtio->status,
			   .queue_select = htole16(virtio->select)},
		.header = {.magic = htole32(RP_ACCEL_VENDOR_MAGIC),
			   .version = htole16(RP_ACCEL_VENDOR_VERSION),
			   .stride_bytes = htole16(sizeof(struct rp_accel_vendor_queue)),
			   .queues_count = htole32(VIRTIO_QUEUES),
			   .flags = htole32(RP_ACCEL_VENDOR_RING_STATE_MASK | RP_ACCEL_VENDOR_NOTIFY_ADDRESS_MASK)},
	};

	queue_image(virtio, &image.common);
	for (unsigned int i = 0; i < VIRTIO_QUEUES; i++) {
		const struct virtio_queue *queue = &virtio->queues[i];

		image.state[i].position = htole32(queue->position);
		image.state[i].control = htole32(queue->broken ? RP_ACCEL_VENDOR_BROKEN : queue->enabled);
	}
	memcpy(image.config, virtio->config, virtio->config_bytes);
	return image;
}

void
virtio_read(const struct virtio *virtio, uint64_t at, uint32_t count, uint8_t *ret_bytes)
{
	const struct registers image = image_of(virtio);

	memset(ret_bytes, 0, count);
	if (at < sizeof(image))
		memcpy(ret_bytes, (const uint8_t *)&image + at,
		       count < sizeof(image) - at ? count : sizeof(image) - at);
}

static void
set_status(struct virtio *virtio, uint8_t status)
{
	uint8_t added = (uint8_t)(status & ~virtio->status);

	if (status == 0) {
		virtio_reset(virtio);
		return;
	}
	if ((virtio->features & ~virtio->offered_features) != 0 || (virtio->features & 1ull << VIRTIO_F_VERSION_1) == 0)
		added &= (uint8_t)~VIRTIO_CONFIG_S_FEATURES_OK;
	for (unsigned int i = 0; i < VIRTIO_QUEUES && (added & VIRTIO_CONFIG_S_FEATURES_OK) != 0; i++)
		virtio->queues[i].position = rp_vring_position_fresh(virtio->features);
	virtio->status |= added;
}

static uint16_t
vector_of(uint16_t value)
{
	/* What cannot be mapped reads back as "none" (4.1.5.1.2). */
	return le16toh(value) < VIRTIO_VECTORS ? le16toh(value) : NO_VECTOR;
}

static void
take_queue(struct virtio *virtio, const struct virtio_pci_common_cfg *cfg)
{
	struct virtio_queue *queue = &virtio->queues[virtio->select];

	queue->vector = vector_of(cfg->queue_msix_vector);
	/* A ring that runs stays where it is, and is disabled by a reset or a stop alone. */
	if (queue->enabled)
		return;
	if (cfg->queue_size != 0 && le16toh(cfg->queue_size) <= VIRTIO_QUEUE_SIZE)
		queue->size = le16toh(cfg->queue_size);
	set_half(&queue->iova[0], 0, cfg->queue_desc_lo);
	set_half(&queue->iova[0], 1, cfg->queue_desc_hi);
	set_half(&queue->iova[1], 0, cfg->queue_avail_lo);
	set_half(&queue->iova[1], 1, cfg->queue_avail_hi);
	set_half(&queue->iova[2], 0, cfg->queue_used_lo);
	set_half(&queue->iova[2], 1, cfg->queue_used_hi);
	queue->enabled = cfg->queue_enable == htole16(1) && (virtio->status & VIRTIO_CONFIG_S_FEATURES_OK) != 0;
	queue->begun = queue->enabled;
}

static void
take_state(struct virtio_queue *queue, const struct rp_accel_vendor_queue *state)
{
	if (!queue->enabled)
		queue->position = le32toh(state->position);
	if (state->control == htole32(RP_ACCEL_VENDOR_STOP))
		queue->enabled = queue->broken = false;
}

/* Of any width and alignment: what was not written is taken over as it was. */
void
virtio_write(struct virtio *virtio, uint64_t at, uint32_t count, const uint8_t *bytes)
{
	struct registers image = image_of(virtio);
	const struct virtio_pci_common_cfg *cfg = &image.common;
	bool same_queue, status_written = at <= VIRTIO_PCI_COMMON_STATUS && at + count > VIRTIO_PCI_COMMON_STATUS;

	if (at + count > sizeof(image))
		return;
	for (unsigned int i = 0; i < VIRTIO_QUEUES; i++)
		image.state[i].control = UNWRITTEN;
	memcpy((uint8_t *)&image + at, bytes, count);
	if ((virtio->status & VIRTIO_CONFIG_S_FEATURES_OK) == 0)
		set_half(&virtio->features, virtio->driver_half, cfg->guest_feature);
	virtio->device_half = le32toh(cfg->device_feature_select);
	virtio->driver_half = le32toh(cfg->guest_feature_select);
	virtio->config_vector = vector_of(cfg->msix_config);
	same_queue = virtio->select == le16toh(cfg->queue_select);
	virtio->select = le16toh(cfg->queue_select);
	if (same_queue && virtio->select < VIRTIO_QUEUES)
		take_queue(virtio, cfg);
	for (unsigned int i = 0; i < VIRTIO_QUEUES; i++)
		take_state(&virtio->queues[i], &image.state[i]);
	if (status_written)
		set_status(virtio, cfg->device_status);
}

static void
add_cap(struct rp_vfu_pci *pci, uint8_t type, uint8_t bar, uint32_t at, uint32_t bytes)
{
	/* The doorbell of a queue is its number times a page away from the first. */
	struct virtio_pci_notify_cap notify = {.notify_off_multiplier = htole32((uint32_t)sysconf(_SC_PAGESIZE))};
	const struct rp_vfu_pci_cap cap = {
		.id = PCI_CAP_ID_VNDR,
		.size_bytes = type == VIRTIO_PCI_CAP_NOTIFY_CFG ? sizeof(notify) : sizeof(notify.cap),
		.bytes = &notify,
	};

	notify.cap.cap_len = (uint8_t)cap.size_bytes;
	notify.cap.cfg_type = type;
	notify.cap.bar = bar;
	notify.cap.offset = htole32(at);
	notify.cap.length = htole32(bytes);
	rp_vfu_pci_add(pci, &cap, NULL, NULL);
}

void
virtio_describe(const struct virtio *virtio, struct rp_vfu_pci *pci, uint8_t registers_bar, uint8_t notify_bar)
{
	const struct rp_accel_vendor_cap state = {
		.cap_len = sizeof(state),
		.cfg_type = RP_ACCEL_VENDOR_CFG_TYPE,
		.vendor_id = htole16(RP_ACCEL_VENDOR_ID),
		.bar = registers_bar,
		.offset_bytes = htole32(offsetof(struct registers, header)),
		.length_bytes = htole32(offsetof(struct registers, config) - offsetof(struct registers, header)),
	};
	const struct rp_vfu_pci_cap cap = {.id = PCI_CAP_ID_VNDR, .size_bytes = sizeof(state), .bytes = &state};

	add_cap(pci, VIRTIO_PCI_CAP_COMMON_CFG, registers_bar, 0, sizeof(struct virtio_pci_common_cfg));
	add_cap(pci, VIRTIO_PCI_CAP_ISR_CFG, registers_bar, offsetof(struct registers, isr), 4);
	add_cap(pci, VIRTIO_PCI_CAP_NOTIFY_CFG, notify_bar, 0, VIRTIO_QUEUES * (uint32_t)sysconf(_SC_PAGESIZE));
	add_cap(pci, VIRTIO_PCI_CAP_DEVICE_CFG, registers_bar, offsetof(struct registers, config),
		virtio->config_bytes);
	rp_vfu_pci_add(pci, &cap, NULL, NULL);
}
