/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VIRTIO_H
#define VIRTIO_H

#include "rp_vfu_pci.h"
#include "rp_vring_dev.h"

/*
 * The registers that each virtio device on PCI has (virtio 1.2, 4.1.4), and the ring
 * state capability (rp_accel_vendor.h): to be taken as they are. The device looks at
 * the state that they leave behind, and keeps `position` true.
 */

#define VIRTIO_QUEUES 2u
#define VIRTIO_QUEUE_SIZE 256u
#define VIRTIO_VECTORS (VIRTIO_QUEUES + 1) /* one for the configuration */
#define VIRTIO_REGISTERS_BYTES 0x1000u

struct virtio_queue {
	bool enabled;
	bool begun; /* enabled anew since the device looked: whatever ring it has is another one */
	bool broken; /* set by the device */
	uint16_t size;
	uint16_t vector;
	uint64_t iova[3]; /* descriptors, available, used */
	uint32_t position; /* where the ring is (rp_vring_position.h) */
};

struct virtio {
	uint64_t offered_features;
	const void *config; /* device configuration, borrowed */
	uint32_t config_bytes;

	uint64_t features; /* of the driver */
	uint32_t device_half;
	uint32_t driver_half;
	uint16_t config_vector;
	uint16_t select;
	uint8_t status;
	struct virtio_queue queues[VIRTIO_QUEUES];
};

/* As after power-on; what is offered stays. */
void virtio_reset(struct virtio *virtio);

/* Accesses to the register BAR, within VIRTIO_REGISTERS_BYTES. */
void virtio_read(const struct virtio *virtio, uint64_t at, uint32_t count, uint8_t *ret_bytes);
void virtio_write(struct virtio *virtio, uint64_t at, uint32_t count, const uint8_t *bytes);

/* The capabilities that lead to the registers, and to doorbells a page apart from each other in another BAR. */
void virtio_describe(const struct virtio *virtio, struct rp_vfu_pci *pci, uint8_t registers_bar, uint8_t notify_bar);

/* Whether the queue is to run, as far as the driver is concerned. */
bool virtio_wants(const struct virtio *virtio, unsigned int queue);

#endif
