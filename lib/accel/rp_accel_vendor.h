/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef RP_ACCEL_VENDOR_H
#define RP_ACCEL_VENDOR_H

#include <assert.h>
#include <stdint.h>

/**
 * @file
 * The ring state capability: a virtio vendor data capability
 * (VIRTIO_PCI_CAP_VENDOR_CFG, virtio 1.2, 4.1.4.9) by which a device lets its
 * driver stop one queue, read the ring's position and start it elsewhere (capability
 * class A), and by which it shows its counters. All fields little-endian.
 *
 * The capability points at a register block in a BAR: a header, then one entry
 * per queue, `stride_bytes` apart. Registers are accessed with their own width.
 *
 * Stopping: write RP_ACCEL_VENDOR_STOP to `control`. Most often the write completes
 * when the queue is drained and its ring will be touched no more; `position` then is
 * where the ring goes on. queue_enable reads 0 from then on. A device that reaches
 * the ring by messages to the very driver that waits cannot drain before it answers:
 * `control` then reads RP_ACCEL_VENDOR_STOPPING until it has, for at most
 * RP_ACCEL_VENDOR_STOPPING_MAX_MS if it is read again and again. Starting: program the
 * queue as usual, write `position`, then queue_enable = 1. A device reset sets it to
 * 0; FEATURES_OK and queue_reset set it to a fresh ring's: 0, or 0x80008000 when
 * VIRTIO_F_RING_PACKED was accepted.
 *
 * A position is encoded as in vhost-user's GET_VRING_BASE (rp_vring_position.h).
 *
 * Doorbells: a store to a doorbell's page wakes nobody, so whoever watches pages never sleeps
 * for long. With RP_ACCEL_VENDOR_DOORBELL_MASK the driver says in `doorbell` whether anybody may
 * store to a queue's page, and the device, in words behind the last entry, which queues' pages it
 * would like to be rung by: bit q % 32 of word q / 32, at rp_accel_vendor_wishes_at(). Whenever a
 * wish differs from what `doorbell` says (EVENTFD or PAGE) and either has changed, the device sends
 * its configuration change interrupt, and leaves config_generation as it is.
 *
 * Threads: constant data; any thread.
 */

#define RP_ACCEL_VENDOR_CFG_TYPE 9u /**< VIRTIO_PCI_CAP_VENDOR_CFG */
#define RP_ACCEL_VENDOR_ID 0x5250u /**< "RP": names the format, not a manufacturer */
#define RP_ACCEL_VENDOR_MAGIC 0x53525052u /**< "RPRS" */
#define RP_ACCEL_VENDOR_VERSION 1u

#define RP_ACCEL_VENDOR_RING_STATE_MASK 0x1u /**< flags: stop, position read and write work */
#define RP_ACCEL_VENDOR_NOTIFY_ADDRESS_MASK                                                                            \
	0x2u /**< flags: doorbells are decoded by address, for each queue that has it */
#define RP_ACCEL_VENDOR_COUNTERS_MASK 0x4u /**< flags: counters are maintained */
#define RP_ACCEL_VENDOR_DOORBELL_MASK 0x8u /**< flags: `doorbell` and the words of wishes are there */

#define RP_ACCEL_VENDOR_STOPPED 0u /**< control, read */
#define RP_ACCEL_VENDOR_RUNNING 1u /**< control, read */
#define RP_ACCEL_VENDOR_BROKEN 2u /**< control, read: the ring broke a rule; stop it and start anew */
#define RP_ACCEL_VENDOR_STOPPING 3u /**< control, read: read it again until it says something else */
#define RP_ACCEL_VENDOR_STOPPING_MAX_MS 2000u
#define RP_ACCEL_VENDOR_STOP 1u /**< control, written */

#define RP_ACCEL_VENDOR_DOORBELL_ANY 0u /**< doorbell: not said (after a reset): kicks come in any way */
#define RP_ACCEL_VENDOR_DOORBELL_EVENTFD 1u /**< doorbell: nobody stores to the page, from now on */
#define RP_ACCEL_VENDOR_DOORBELL_PAGE 2u /**< doorbell: the page may be stored to at any time */
/** After EVENTFD was written the device looks at the page this long, then takes the queue as kicked once. */
#define RP_ACCEL_VENDOR_DOORBELL_WATCH_MS 250u

/** In PCI configuration space. */
struct rp_accel_vendor_cap {
	uint8_t cap_vndr; /* 0x09 */
	uint8_t cap_next;
	uint8_t cap_len;
	uint8_t cfg_type; /* RP_ACCEL_VENDOR_CFG_TYPE */
	uint16_t vendor_id; /* RP_ACCEL_VENDOR_ID */
	uint8_t bar;
	uint8_t reserved;
	uint32_t offset_bytes; /* of the register block in the BAR */
	uint32_t length_bytes;
} __attribute__((packed));
static_assert(sizeof(struct rp_accel_vendor_cap) == 16, "vendor capability");

struct rp_accel_vendor_header {
	uint32_t magic;
	uint16_t version;
	uint16_t stride_bytes;
	uint32_t queues_count;
	uint32_t flags;
} __attribute__((packed));
static_assert(sizeof(struct rp_accel_vendor_header) == 16, "vendor header");

struct rp_accel_vendor_queue {
	uint32_t position; /* RW while stopped, RO while running */
	uint32_t control;
	uint64_t direct_kicks;
	uint64_t eventfd_kicks;
	uint64_t interrupts;
	uint64_t packets;
	uint64_t bytes;
	uint64_t errors;
	uint32_t doorbell; /* RW: RP_ACCEL_VENDOR_DOORBELL_* */
	uint32_t reserved;
} __attribute__((packed));
static_assert(sizeof(struct rp_accel_vendor_queue) == 64, "vendor queue");

/** Bytes of the words of wishes, 4 each. */
static inline uint64_t
rp_accel_vendor_wishes_bytes(uint32_t queues_count)
{
	return ((uint64_t)queues_count + 31) / 32 * 4;
}

/** Where in the register block they begin. */
static inline uint64_t
rp_accel_vendor_wishes_at(uint16_t stride_bytes, uint32_t queues_count)
{
	return sizeof(struct rp_accel_vendor_header) + (uint64_t)stride_bytes * queues_count;
}

#endif
