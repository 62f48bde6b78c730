/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VIRTIO_FIXTURE_H
#define VIRTIO_FIXTURE_H

#include <linux/virtio_config.h>
#include <linux/virtio_pci.h>

#include "function.h"
#include "rp_vfu_virtio.h"

/*
 * A virtio device of three queues with as many vectors and one more, which
 * remembers what it is told; its driver is a peer made of bytes.
 */

#define VIRTIO_QUEUES 3u
#define VIRTIO_SIZE_MAX 128u
#define VIRTIO_CONFIG_BYTES 10u
#define VIRTIO_RESET_MASK (1ull << 40)
#define VIRTIO_PACKED_MASK (1ull << 34)
#define VIRTIO_FEATURES (1ull << VIRTIO_F_VERSION_1 | VIRTIO_PACKED_MASK | VIRTIO_RESET_MASK | 0x30000020)

#define VIRTIO_REGISTERS RP_VFU_VIRTIO_BAR_REGISTERS
#define VIRTIO_NOTIFY RP_VFU_VIRTIO_BAR_NOTIFY
#define VIRTIO_ISR_AT 0x1000u
#define VIRTIO_CONFIG_AT 0x2000u
#define VIRTIO_STATE_AT 0x4000u

struct virtio_fixture {
	struct function function;
	struct rp_vfu_virtio *virtio;
	struct test_leaks before;

	int enable_result;
	int stop_result;
	unsigned int enables, stops, resets, vectors, readies, refusals, looks, config_writes;
	unsigned int doorbells; /* words about one */
	unsigned int last_queue;
	enum rp_vfu_virtio_stop last_stop;
	uint8_t status_at_reset;
	uint64_t refused_features;
	uint32_t stop_position; /* what a stop leaves */
	struct rp_vfu_virtio_counters counters;
	bool look_broken;
	uint32_t config_at, config_count;
	uint8_t config_written[VIRTIO_CONFIG_BYTES];
};

extern struct virtio_fixture virtio_fixture;
extern const struct rp_vfu_virtio_ops virtio_ops;
extern const struct rp_vfu_virtio_config virtio_config;

/* With another description; then a client, bus mastering on. */
void virtio_start_as(const struct rp_vfu_virtio_config *config);
int virtio_setup(void **state);
int virtio_teardown(void **state);

/* A field of the common configuration. */
uint32_t virtio_get(uint32_t at, uint32_t count);
void virtio_put(uint32_t at, uint32_t count, uint32_t value);
/* As a driver does, up to DRIVER_OK or FEATURES_OK. */
void virtio_negotiate(uint64_t features);
void virtio_ready(uint64_t features);
void virtio_enable(unsigned int queue);
/* The entry of a queue in the ring state's block; a number of its two first words. */
uint32_t virtio_state(unsigned int queue, uint32_t at);
void virtio_set_state(unsigned int queue, uint32_t at, uint32_t value);
#define VIRTIO_POSITION 0u
#define VIRTIO_CONTROL 4u
#define VIRTIO_DOORBELL 56u

#endif
