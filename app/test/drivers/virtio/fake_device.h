/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FAKE_DEVICE_H
#define FAKE_DEVICE_H

#include "test_support.h"

#include "rp_accel_transport.h"
#include "rp_accel_vendor.h"
#include "rp_dma.h"
#include "rp_vring_dev.h"

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
	uint32_t doorbell; /* as the driver said */
	unsigned int doorbells_told;
};

#define FAKE_COMMANDS_MAX 32u
#define FAKE_CTRL_SIZE 64u
#define FAKE_MAPS_MAX 64u

/* A command as it came. */
struct fake_command {
	uint8_t class;
	uint8_t number;
	uint8_t data[16];
	uint32_t size_bytes;
};

/* The control queue, which reads its ring from the memory that was mapped for it. */
struct fake_ctrl {
	struct rp_dma_space *space;
	struct rp_dma_reader *reader;
	bool running;
	struct rp_vring_dev ring;
	struct rp_vring_note notes[FAKE_CTRL_SIZE];
	unsigned int starts_count;
	unsigned int resets_count; /* by queue_reset */
	struct fake_command commands[FAKE_COMMANDS_MAX];
	unsigned int commands_count; /* all of them, though only the first are kept */
	unsigned int pending_processes; /* no lie: as often process is called before it looks at a kick */
	bool kicked;

	/* What it was told. */
	uint16_t pairs;
	uint8_t mac[6];
	uint8_t promiscuous;
	uint8_t all_multicast;
};

struct fake_map {
	uint64_t iova;
	uint64_t size_bytes;
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
	int give_error;
	bool ctrl_silent; /* kicks of the control queue are not looked at */
	unsigned int ctrl_refused_after; /* commands that are still taken; then the answer is an error; 0: no limit */
	bool ctrl_refuses_ones; /* refuse the command ctrl_refused (class << 8 | number) when its data begins with 1 */
	unsigned int ctrl_refused;
	uint8_t ctrl_answer; /* instead of OK */
	bool ctrl_answer_kept; /* nothing is written over what was there */
	bool ctrl_answers_twice;
	uint16_t ctrl_index_add; /* to the index of the used ring, split */
	uint32_t ctrl_id_xor; /* of what was used */
	uint32_t ctrl_written_add; /* to its length */
	uint64_t map_refused_at; /* -EEXIST: somebody else's memory is there; 0: nowhere */
	uint32_t fail_after; /* accesses that still succeed, then fail_error; 0: no limit */
	int fail_error;
};

struct fake_device {
	struct fake_lies lies;
	uint8_t config_space[256];
	uint64_t region_sizes[9];
	uint64_t features;
	uint16_t num_queues;
	uint16_t num_queues_without_mq; /* what it has from a reset until MQ is negotiated; 0: the same */
	bool has_mq; /* negotiated */
	struct fake_queue queues[FAKE_QUEUES_MAX];
	uint8_t net_config[64];
	struct rp_accel_vendor_header vendor;
	uint32_t wishes[FAKE_QUEUES_MAX / 32 + 1];
	struct rp_accel_transport_info info;
	int notify_fd; /* owned; the file behind the notify BAR */
	bool takes_many; /* before it is opened: vectors and registers, many at a time */
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
	unsigned int flights_count; /* of vectors and registers together */
	unsigned int accesses_count;
	unsigned int bus_resets_count;
	unsigned int doorbell_messages_count;
	uint16_t doorbell_value;
	uint64_t doorbell_offset;
	uint64_t io_fds_at[FAKE_QUEUES_MAX]; /* by the value for which an eventfd was asked */
	struct fake_ctrl ctrl;
	struct fake_map maps[FAKE_MAPS_MAX];
	unsigned int dma_maps_count;
	unsigned int closes_count;
	bool is_elsewhere; /* somebody else has its descriptors too: close ends nothing */
	bool quiet;
	int process_error;
};

/* fake_memory.c: operations of the transport */
int fake_dma_map(void *priv, uint64_t iova, uint64_t size_bytes, int fd, uint64_t offset_bytes, void *hva,
		 struct rp_wire_why *why);
int fake_dma_unmap(void *priv, uint64_t iova, uint64_t size_bytes, struct rp_wire_why *why);

/* fake_ctrl.c */
unsigned int fake_ctrl_index(const struct fake_device *fake);
void fake_ctrl_init(struct fake_device *fake);
void fake_ctrl_fini(struct fake_device *fake);
void fake_ctrl_reset(struct fake_device *fake);
void fake_ctrl_start(struct fake_device *fake);
void fake_ctrl_kick(struct fake_device *fake);
void fake_ctrl_process(struct fake_device *fake);
/* Unasked, the last answer once more. */
void fake_ctrl_answer_again(struct fake_device *fake);

/* Class A, 4 queues of 256 entries, a page for each doorbell, one vector more than queues. */
void fake_init(struct fake_device *fake);
void fake_fini(struct fake_device *fake);
/* Without the ring state capability: class B. */
void fake_remove_vendor(struct fake_device *fake);
/* With a control queue after its 2 pairs, and all that is set by it. */
void fake_add_control(struct fake_device *fake);
void fake_put_u32(struct fake_device *fake, unsigned int at, uint32_t value);
/* The same device, and what takes_many says (fake_many.c). */
struct rp_accel_transport fake_many(const struct rp_accel_transport *one);
struct rp_accel_transport fake_transport(struct fake_device *fake);

#define FAKE_FEATURE(bit) (1ull << (bit))
#define FAKE_MAC FAKE_FEATURE(5)
#define FAKE_CTRL_VQ FAKE_FEATURE(17)
#define FAKE_CTRL_RX FAKE_FEATURE(18)
#define FAKE_MQ FAKE_FEATURE(22)
#define FAKE_CTRL_MAC_ADDR FAKE_FEATURE(23)
#define FAKE_CONTROL (FAKE_CTRL_VQ | FAKE_CTRL_RX | FAKE_MQ | FAKE_CTRL_MAC_ADDR)
#define FAKE_VERSION_1 FAKE_FEATURE(32)
#define FAKE_ACCESS_PLATFORM FAKE_FEATURE(33)
#define FAKE_PACKED FAKE_FEATURE(34)
#define FAKE_ORDER_PLATFORM FAKE_FEATURE(36)
#define FAKE_NOTIFICATION_DATA FAKE_FEATURE(38)
#define FAKE_RING_RESET FAKE_FEATURE(40)

#endif
