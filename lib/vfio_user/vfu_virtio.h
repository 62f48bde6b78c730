/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFU_VIRTIO_H
#define VFU_VIRTIO_H

#include "rp_vfu_virtio.h"

/*
 *   virtio.c            life; what queues and interrupts are
 *   virtio_common.c     the common configuration
 *   virtio_registers.c  which block an address of the register BAR is in
 *   virtio_state.c      the ring state capability's block
 *   virtio_doorbell.c   doorbells in memory of ours
 *   virtio_caps.c       BARs, capabilities, the window through configuration space
 */

/* The register BAR. */
#define VFU_VIRTIO_BAR_BYTES 0x10000u
#define VFU_VIRTIO_COMMON_AT 0x0000u
#define VFU_VIRTIO_COMMON_BYTES 0x40u
#define VFU_VIRTIO_ISR_AT 0x1000u
#define VFU_VIRTIO_ISR_BYTES 0x4u
#define VFU_VIRTIO_CONFIG_AT 0x2000u
#define VFU_VIRTIO_STATE_AT 0x4000u

#define VFU_VIRTIO_ISR_QUEUE_MASK 1u /* 4.1.4.5 */
#define VFU_VIRTIO_ISR_CONFIG_MASK 2u

struct rp_vfu_virtio {
	struct rp_vfu_virtio_config config;
	struct rp_vfu_virtio_ops ops;
	void *ctx;
	struct rp_vfu_pci *pci; /* NULL until it is described */
	uint32_t window_at; /* in configuration space */
	uint8_t config_bytes[RP_VFU_VIRTIO_CONFIG_MAX_BYTES];

	int doorbells_fd; /* -1: the device's own */
	uint8_t *doorbells;
	uint64_t doorbells_bytes;
	uint32_t stride_bytes;
	bool rung[RP_VFU_VIRTIO_QUEUES_MAX]; /* their doorbell was found rung, and they were not asked about yet */

	uint64_t features; /* of the driver */
	uint32_t device_half;
	uint32_t driver_half;
	uint16_t config_vector;
	uint16_t select;
	uint8_t status;
	uint8_t generation;
	uint8_t isr;
	struct rp_vfu_virtio_queue *queues;
};

/* virtio.c */

/* A queue's registers as after power-on, its position as of a fresh ring. */
void vfu_virtio_queue_reset(struct rp_vfu_virtio *virtio, unsigned int queue);
/* What the driver wrote, if it is one of RP_ACCEL_VENDOR_DOORBELL_*. */
void vfu_virtio_queue_doorbell(struct rp_vfu_virtio *virtio, unsigned int queue, uint32_t doorbell);
void vfu_virtio_queue_stop(struct rp_vfu_virtio *virtio, unsigned int queue, enum rp_vfu_virtio_stop kind);
/* A driver set these bits of the status, or wrote 0. */
void vfu_virtio_set_status(struct rp_vfu_virtio *virtio, uint8_t status);

/* virtio_common.c, virtio_state.c: `at` counts from the block's begin; within it. */
void vfu_virtio_common_read(const struct rp_vfu_virtio *virtio, uint32_t at, uint32_t count_bytes, uint8_t *ret_bytes);
void vfu_virtio_common_write(struct rp_vfu_virtio *virtio, uint32_t at, uint32_t count_bytes, const uint8_t *bytes);
uint32_t vfu_virtio_state_bytes(const struct rp_vfu_virtio *virtio);
void vfu_virtio_state_read(struct rp_vfu_virtio *virtio, uint32_t at, uint32_t count_bytes, uint8_t *ret_bytes);
void vfu_virtio_state_write(struct rp_vfu_virtio *virtio, uint32_t at, uint32_t count_bytes, const uint8_t *bytes);

/* virtio_registers.c: handlers of the BAR; ctx is the object. */
int vfu_virtio_read(void *ctx, uint32_t region, uint64_t at, uint32_t count_bytes, uint8_t *ret_bytes);
int vfu_virtio_write(void *ctx, uint32_t region, uint64_t at, uint32_t count_bytes, const uint8_t *bytes);

/* virtio_doorbell.c */
/* How many doorbells there are before that of a queue, which is its queue_notify_off too. */
static inline unsigned int
vfu_virtio_doorbell_index(const struct rp_vfu_virtio_config *config, unsigned int queue)
{
	return config->notify_group_queues > 1 ? queue / config->notify_group_queues : queue;
}

int vfu_virtio_doorbells_init(struct rp_vfu_virtio *virtio, struct rp_wire_why *why);
void vfu_virtio_doorbells_fini(struct rp_vfu_virtio *virtio);
void vfu_virtio_doorbells_clear(struct rp_vfu_virtio *virtio);

#endif
