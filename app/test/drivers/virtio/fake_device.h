/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FAKE_DEVICE_H
#define FAKE_DEVICE_H

#include "test_support.h"

#include "rp_accel_transport.h"
#include "rp_accel_vendor.h"

/*
 * A virtio-net PCI device in memory, behind a transport. It keeps the rules until a
 * test tells it to lie, and asserts that registers are accessed with their width.
 */

#define FAKE_QUEUES_MAX 300u
#define FAKE_VECTORS_MAX 300u
#define FAKE_PAGE 4096u

/* Where its structures are. */
#define FAKE_BAR_MSIX 0u
#define FAKE_BAR_REGISTERS 2u
#define FAKE_BAR_NOTIFY 4u
#define FAKE_COMMON 0x0u
#define FAKE_ISR 0x1000u
#define FAKE_CONFIG 0x2000u
#define FAKE_VENDOR 0x4000u

/* Where its capabilities are in configuration space, in the order of the list. */
#define FAKE_CAP_COMMON 0x40u
#define FAKE_CAP_NOTIFY 0x50u
#define FAKE_CAP_ISR 0x64u
#define FAKE_CAP_CONFIG 0x74u
#define FAKE_CAP_VENDOR 0x84u
#define FAKE_CAP_MSIX 0x94u

struct fake_queue {
	uint16_t size_max;
	uint16_t size;
	uint16_t vector;
	uint16_t enable;
	uint16_t notify_off;
	uint64_t desc;
	uint64_t driver;
	uint64_t device;
	uint32_t position;
	uint32_t control;
	uint64_t counters[6];
};

/* What it does against the rules. */
struct fake_lies {
	bool reset_ignored; /* device_status stays as it is */
	bool bus_reset_heals; /* ... until the transport's reset */
	bool features_refused;
	bool size_refused;
	bool vector_refused;
	bool enable_refused;
	bool enable_kept; /* queue_enable stays 1 after a stop */
	bool stop_ignored;
	unsigned int stopping_reads; /* no lie: as often control says "stopping" after a stop */
	bool queue_reset_stuck;
	bool generation_runs;
	uint32_t position_xor; /* what reads of the position are changed by */
	bool all_ones; /* registers read as those of a device that is not there */
	uint8_t status_or; /* what appears in device_status once DRIVER_OK is set */
	int window_error;
	uint64_t window_skew_bytes;
	int irq_error;
	int dma_error;
	uint32_t fail_after; /* accesses that still succeed, then fail_error; 0: no limit */
	int fail_error;
};

struct fake_device {
	struct fake_lies lies;
	uint8_t config_space[256];
	uint64_t region_sizes[9];
	uint64_t features;
	uint16_t num_queues;
	struct fake_queue queues[FAKE_QUEUES_MAX];
	uint8_t net_config[64];
	struct rp_accel_vendor_header vendor;
	struct rp_accel_transport_info info;
	int notify_fd; /* owned; the file behind the notify BAR */
	bool has_io_fds;
	int io_fd; /* owned; handed out as duplicates */

	/* Registers. */
	uint32_t device_select;
	uint32_t driver_select;
	uint64_t driver_features;
	uint16_t config_vector;
	uint8_t status;
	uint8_t generation;
	uint16_t queue_select;
	bool queue_reset_busy;

	/* What was seen. */
	int irq_fds[FAKE_VECTORS_MAX]; /* numbers as given; nothing is duplicated */
	unsigned int irq_sets_count;
	unsigned int accesses_count;
	unsigned int bus_resets_count;
	unsigned int doorbell_messages_count;
	uint16_t doorbell_value;
	uint64_t doorbell_offset;
	unsigned int dma_maps_count;
	unsigned int closes_count;
	bool quiet;
	int process_error;
};

/* Class A, 4 queues of 256 entries, a page for each doorbell, one vector more than queues. */
void fake_init(struct fake_device *fake);
void fake_fini(struct fake_device *fake);
/* Without the ring state capability: class B. */
void fake_remove_vendor(struct fake_device *fake);
void fake_put_u32(struct fake_device *fake, unsigned int at, uint32_t value);
struct rp_accel_transport fake_transport(struct fake_device *fake);

#define FAKE_FEATURE(bit) (1ull << (bit))
#define FAKE_MAC FAKE_FEATURE(5)
#define FAKE_CTRL_VQ FAKE_FEATURE(17)
#define FAKE_MQ FAKE_FEATURE(22)
#define FAKE_VERSION_1 FAKE_FEATURE(32)
#define FAKE_ACCESS_PLATFORM FAKE_FEATURE(33)
#define FAKE_PACKED FAKE_FEATURE(34)
#define FAKE_ORDER_PLATFORM FAKE_FEATURE(36)
#define FAKE_NOTIFICATION_DATA FAKE_FEATURE(38)
#define FAKE_RING_RESET FAKE_FEATURE(40)

#endif
