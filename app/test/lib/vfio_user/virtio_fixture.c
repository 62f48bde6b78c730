/* SPDX-License-Identifier: BSD-3-Clause */
#include <linux/pci_regs.h>

#include "virtio_fixture.h"

struct virtio_fixture virtio_fixture;

static const uint8_t device_config[VIRTIO_CONFIG_BYTES] = {2, 0, 0, 0, 0, 0x52, 1, 0, 1, 0};

const struct rp_vfu_virtio_config virtio_config = {
	.features = VIRTIO_FEATURES,
	.queues_count = VIRTIO_QUEUES,
	.queue_size_max = VIRTIO_SIZE_MAX,
	.vectors_count = VIRTIO_QUEUES + 1,
	.has_counters = true,
	.config = device_config,
	.config_bytes = VIRTIO_CONFIG_BYTES,
};

static int
on_enable(void *ctx, unsigned int queue)
{
	struct virtio_fixture *fixture = ctx;

	fixture->enables++;
	fixture->last_queue = queue;
	return fixture->enable_result;
}

static int
on_stop(void *ctx, unsigned int queue, enum rp_vfu_virtio_stop kind)
{
	struct virtio_fixture *fixture = ctx;

	fixture->stops++;
	fixture->last_queue = queue;
	fixture->last_stop = kind;
	rp_vfu_virtio_queue(fixture->virtio, queue)->position = fixture->stop_position;
	return fixture->stop_result;
}

static void
on_vector(void *ctx, unsigned int queue)
{
	struct virtio_fixture *fixture = ctx;

	fixture->vectors++;
	fixture->last_queue = queue;
}

static void
on_doorbell(void *ctx, unsigned int queue)
{
	struct virtio_fixture *fixture = ctx;

	fixture->doorbells++;
	fixture->last_queue = queue;
}

static void
on_driver_ok(void *ctx)
{
	((struct virtio_fixture *)ctx)->readies++;
}

static void
on_features_refused(void *ctx, uint64_t features)
{
	struct virtio_fixture *fixture = ctx;

	fixture->refusals++;
	fixture->refused_features = features;
}

static void
on_reset(void *ctx)
{
	struct virtio_fixture *fixture = ctx;

	fixture->resets++;
	fixture->status_at_reset = rp_vfu_virtio_status(fixture->virtio);
}

static void
on_look(void *ctx, unsigned int queue, struct rp_vfu_virtio_counters *ret_counters)
{
	struct virtio_fixture *fixture = ctx;

	fixture->looks++;
	*ret_counters = fixture->counters;
	rp_vfu_virtio_queue(fixture->virtio, queue)->broken = fixture->look_broken;
}

static void
on_config_write(void *ctx, uint32_t at, uint32_t count, const uint8_t *bytes)
{
	struct virtio_fixture *fixture = ctx;

	fixture->config_writes++;
	fixture->config_at = at;
	fixture->config_count = count;
	memcpy(fixture->config_written, bytes, count);
}

const struct rp_vfu_virtio_ops virtio_ops = {
	.queue_enable = on_enable,
	.queue_stop = on_stop,
	.queue_vector = on_vector,
	.queue_doorbell = on_doorbell,
	.driver_ok = on_driver_ok,
	.features_refused = on_features_refused,
	.reset = on_reset,
	.look = on_look,
	.config_write = on_config_write,
};

void
virtio_start_as(const struct rp_vfu_virtio_config *config)
{
	struct virtio_fixture *fixture = &virtio_fixture;
	struct rp_wire_why why = {.text = ""};

	memset(fixture, 0, sizeof(*fixture));
	test_leaks_read(&fixture->before);
	function_begin(&fixture->function, true, true);
	if (rp_vfu_virtio_create(config, &virtio_ops, fixture, &fixture->virtio, &why) < 0)
		fail_msg("%s", why.text);
	rp_vfu_virtio_describe(fixture->virtio, fixture->function.pci);
	function_serve(&fixture->function);
	function_put(&fixture->function, FUNCTION_CONFIG, PCI_COMMAND, 2, PCI_COMMAND_MASTER | PCI_COMMAND_MEMORY);
}

int
virtio_setup(void **state)
{
	(void)state;
	virtio_start_as(&virtio_config);
	return 0;
}

int
virtio_teardown(void **state)
{
	(void)state;
	function_close(&virtio_fixture.function);
	virtio_fixture.virtio = rp_vfu_virtio_destroy(virtio_fixture.virtio);
	test_leaks_assert_none(&virtio_fixture.before);
	return 0;
}

uint32_t
virtio_get(uint32_t at, uint32_t count)
{
	return function_get(&virtio_fixture.function, VIRTIO_REGISTERS, at, count);
}

void
virtio_put(uint32_t at, uint32_t count, uint32_t value)
{
	function_put(&virtio_fixture.function, VIRTIO_REGISTERS, at, count, value);
}

void
virtio_negotiate(uint64_t features)
{
	uint32_t half;

	virtio_put(VIRTIO_PCI_COMMON_STATUS, 1, 0);
	virtio_put(VIRTIO_PCI_COMMON_STATUS, 1, VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER);
	for (half = 0; half < 2; half++) {
		virtio_put(VIRTIO_PCI_COMMON_GFSELECT, 4, half);
		virtio_put(VIRTIO_PCI_COMMON_GF, 4, (uint32_t)(features >> 32 * half));
	}
	virtio_put(VIRTIO_PCI_COMMON_STATUS, 1,
		   VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER | VIRTIO_CONFIG_S_FEATURES_OK);
}

void
virtio_enable(unsigned int queue)
{
	virtio_put(VIRTIO_PCI_COMMON_Q_SELECT, 2, queue);
	virtio_put(VIRTIO_PCI_COMMON_Q_ENABLE, 2, 1);
}

void
virtio_ready(uint64_t features)
{
	virtio_negotiate(features);
	virtio_put(VIRTIO_PCI_COMMON_STATUS, 1, virtio_get(VIRTIO_PCI_COMMON_STATUS, 1) | VIRTIO_CONFIG_S_DRIVER_OK);
}

static uint32_t
state_at(unsigned int queue)
{
	return VIRTIO_STATE_AT + 16 + 64 * queue;
}

uint32_t
virtio_state(unsigned int queue, uint32_t at)
{
	return virtio_get(state_at(queue) + at, 4);
}

void
virtio_set_state(unsigned int queue, uint32_t at, uint32_t value)
{
	virtio_put(state_at(queue) + at, 4, value);
}
