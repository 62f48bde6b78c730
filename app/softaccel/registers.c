/* SPDX-License-Identifier: BSD-3-Clause */
#include "sa_device.h"

static int
on_enable(void *ctx, unsigned int number)
{
	return sa_queue_enable(ctx, number);
}

static int
on_stop(void *ctx, unsigned int number, enum rp_vfu_virtio_stop kind)
{
	if (kind == RP_VFU_VIRTIO_STOP)
		return sa_queue_stop(ctx, number);
	sa_queue_reset(ctx, number);
	return 0;
}

static void
on_driver_ok(void *ctx)
{
	struct softaccel_function *function = ctx;
	unsigned int number;

	for (number = 0; number < function->queues_count; number++) {
		struct rp_wire_why why = {.error = 0};

		if (sa_queue_update(function, number, SA_START_ENABLED, &why) < 0)
			sa_device_event(function, "queue %u: cannot start: %s", number, why.text);
	}
}

static void
on_doorbell(void *ctx, unsigned int number)
{
	sa_queue_doorbell(ctx, number);
}

void
sa_queue_rewire(struct softaccel_function *function, unsigned int number)
{
	struct sa_queue *queue = &function->queues[number];
	int call_fd = sa_queue_call_fd(function, queue);

	if (queue->carriage != NULL) {
		sa_messenger_set_call(function->messenger, queue->carriage, call_fd);
		return;
	}
	/* The fields of a ring that runs are read here and there, but only this side writes this one. */
	if (!queue->attached || queue->ring.call_fd == call_fd)
		return;
	sa_gate_close(&function->path->gate);
	sa_ring_set_call(&queue->ring, call_fd);
	sa_gate_open(&function->path->gate);
}

static void
on_vector(void *ctx, unsigned int number)
{
	sa_queue_rewire(ctx, number);
}

static void
on_features_refused(void *ctx, uint64_t features)
{
	const struct softaccel_function *function = ctx;

	sa_device_event(function, "features 0x%llx refused, expected VERSION_1 and some of 0x%llx",
			(unsigned long long)features, (unsigned long long)function->features);
}

/* virtio 1.2, 2.4: everything but the counters and what PCI keeps. */
static void
on_reset(void *ctx)
{
	struct softaccel_function *function = ctx;
	unsigned int number;

	if (rp_vfu_virtio_status(function->virtio) != 0)
		sa_device_event(function, "reset");
	for (number = 0; number < function->queues_count; number++) {
		sa_queue_forgive(function, number);
		/* So that it is not said to be reset by itself. */
		rp_vfu_virtio_queue_stopped(function->virtio, number);
		sa_queue_reset(function, number);
	}
	sa_gate_close(&function->path->gate);
	sa_doorbells_clear(&function->doorbells);
	for (number = 0; number < function->queues_count; number++)
		(void)sa_bell_unheard(&function->queues[number].ring);
	sa_gate_open(&function->path->gate);
}

static void
on_look(void *ctx, unsigned int number, struct rp_vfu_virtio_counters *ret_counters)
{
	struct softaccel_function *function = ctx;
	struct sa_queue *queue = &function->queues[number];
	struct softaccel_queue_counters counters;

	sa_queue_watch_drain(function, number);
	softaccel_queue_counters(function, number, &counters);
	queue->regs->position = sa_queue_position(queue);
	queue->regs->broken = sa_ring_state(&queue->ring) == SOFTACCEL_QUEUE_BROKEN && !sa_queue_is_changing(queue);
	*ret_counters = (struct rp_vfu_virtio_counters){
		.direct_kicks = counters.direct_kicks,
		.eventfd_kicks = counters.eventfd_kicks,
		.interrupts = counters.interrupts,
		.packets = counters.packets,
		.bytes = counters.bytes,
		.errors = counters.errors,
	};
}

const struct rp_vfu_virtio_ops sa_registers_ops = {
	.queue_enable = on_enable,
	.queue_stop = on_stop,
	.queue_vector = on_vector,
	.queue_doorbell = on_doorbell,
	.driver_ok = on_driver_ok,
	.features_refused = on_features_refused,
	.reset = on_reset,
	.look = on_look,
};
