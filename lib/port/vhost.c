/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_net.h>
#include <stdio.h>
#include <string.h>

#include "port.h"
#include "rp_vring_position.h"
#include "rp_wire_fd.h"

#define BIT(n) (1ULL << (n))

/*
 * A duplicate that is ours to poll and hand on. Non-blocking for those to whom it is handed on; who holds it can
 * undo that, and for us it does not matter.
 */
static int
adopt(int *held, int fd)
{
	RP_WIRE_FD_SCOPED int copy = -1;
	int flags;

	if (fd >= 0) {
		copy = rp_wire_fd_dup(fd);
		if (copy < 0)
			return copy;
		flags = fcntl(copy, F_GETFL);
		if (flags < 0 || ((flags & O_NONBLOCK) == 0 && fcntl(copy, F_SETFL, flags | O_NONBLOCK) < 0))
			return -errno;
	}
	rp_wire_fd_replace(held, &copy);
	return 0;
}

int
port_vhost_adopt_kick(struct port_queue *queue, int fd)
{
	queue->kick_failed = false;
	return adopt(&queue->kick_fd, fd);
}

int
port_vhost_adopt_call(struct port_queue *queue, int fd)
{
	queue->call_failed = false;
	return adopt(&queue->call_fd, fd);
}

static int
on_features(void *ctx, uint64_t features, struct rp_wire_why *why)
{
	struct rp_port *port = ctx;
	unsigned int i;
	int rc;

	if (port->features_acked && features == port->features)
		return 0; /* VMMs send it once per queue pair */
	if (port->features_acked && (features ^ port->features) == BIT(RP_VHU_F_LOG_ALL_BIT))
		return port_log_set(port, features, why);
	for (i = 0; i < port->queues_count; i++)
		if (port_queue_owner(&port->queues[i]) != RP_PORT_OWNER_NONE)
			return rp_wire_why_set(why, -EBUSY, "features: 0x%llx while ring %u runs with 0x%llx",
					       (unsigned long long)features, i, (unsigned long long)port->features);
	rc = port_accelerators_features(port, features, why);
	if (rc < 0)
		return rc;
	if (port_software_configured(port)) {
		rc = port_vhost_answer(port, "features", port_software_set_features(port, features, why), why);
		if (rc < 0)
			return rc;
	}
	port_iommu_forget(port);
	port->features = features;
	port->features_acked = true;
	port_windows_update(port);
	return 0;
}

int
port_vhost_map(struct rp_port *port, const struct rp_vhu_region *region, struct rp_wire_why *why)
{
	const struct rp_dma_mapping mapping = {
		.iova = region->gpa,
		.size_bytes = region->size_bytes,
		.offset_bytes = region->offset_bytes,
		.access_mask = RP_DMA_READ | RP_DMA_WRITE,
		.fd = region->fd,
	};

	return rp_dma_space_map(port->memory, &mapping, why);
}

static int
on_region_add(void *ctx, const struct rp_vhu_region *region, struct rp_wire_why *why)
{
	struct rp_port *port = ctx;
	int rc = port_vhost_map(port, region, why);

	if (rc < 0)
		return rc;
	rc = port_accelerators_region_add(port, region, why);
	if (rc < 0)
		rp_dma_space_unmap(port->memory, region->gpa, region->size_bytes, NULL);
	else
		port->memory_stale = port_software_configured(port);
	return rc;
}

static void
on_region_remove(void *ctx, const struct rp_vhu_region *region)
{
	struct rp_port *port = ctx;

	port_iommu_region_remove(port, region);
	port_accelerators_region_remove(port, region);
	port->memory_stale = port_software_configured(port);
	rp_dma_space_unmap(port->memory, region->gpa, region->size_bytes, NULL);
}

static int
on_vring_start(void *ctx, unsigned int index, const struct rp_vhu_vring *vring, struct rp_wire_why *why)
{
	struct rp_port *port = ctx;
	struct port_queue *queue = &port->queues[index];
	int rc;

	rc = port_vhost_adopt_kick(queue, vring->kick_fd);
	if (rc == 0)
		rc = port_vhost_adopt_call(queue, vring->call_fd);
	if (rc < 0)
		return rp_wire_why_set(why, rc, "ring %u: descriptor: %s", index, strerror(-rc));
	queue->vring = *vring;
	/* What a ring's memory says of it is read when it is known where that is. */
	if (!vring->iova)
		rc = port_position_from_frontend(port, queue, why);
	else if (vring->base != PORT_POSITION_LOST_TO_FRONTEND)
		rc = rp_vring_position_check(port->features, vring->num, vring->base, why);
	if (rc < 0) {
		rp_wire_fd_close(&queue->kick_fd);
		rp_wire_fd_close(&queue->call_fd);
		return rc;
	}
	queue->frontend_started = true;
	port_ring_node_tell(port, queue);
	queue->frontend_enabled = vring->enabled;
	queue->served_before = false;
	queue->broken = false;
	queue->had = RP_PORT_OWNER_NONE;
	port_wish_begin(queue);
	if (port_software_configured(port) && queue->software == PORT_SOFTWARE_RING_NONE)
		port_software_ring_started(port, queue);
	/* A ring that no accelerator can serve now stays stopped and says why; it is not the frontend's mistake. */
	if (vring->iova)
		port_iommu_ring_start(port, queue);
	else
		port_starts_add(port, queue);
	return 0;
}

/* GET_VRING_BASE, and nothing else. */
static bool
asked_to_stop(enum rp_vhu_stop why_stopped)
{
	return why_stopped == RP_VHU_STOP_DRAIN || why_stopped == RP_VHU_STOP_LEAVE;
}

static void
on_vring_stop(void *ctx, unsigned int index, enum rp_vhu_stop why_stopped, uint32_t *ret_base)
{
	struct rp_port *port = ctx;
	struct port_queue *queue = &port->queues[index];

	if (why_stopped == RP_VHU_STOP_END && port_doorbell_outstanding(queue))
		port->doorbells_left = true;
	/* A master of 2018 keeps the notify area and shows it at the next start, whoever serves the ring then. */
	if (port->profile == RP_VHU_PROFILE_VFIO2018 && asked_to_stop(why_stopped))
		port_doorbell_stopped(port, queue);
	/* Others dropped it by themselves before they asked, unless they asked for no stop at all. */
	else if (why_stopped != RP_VHU_STOP_MEMORY && why_stopped != RP_VHU_STOP_STATUS)
		port_doorbell_dropped(port, queue);
	queue->frontend_started = false;
	port_ring_node_tell(port, queue);
	queue->start_due = false;
	queue->had = RP_PORT_OWNER_NONE;
	/* All of them end, and such a backend may have to stop for each. */
	if (why_stopped == RP_VHU_STOP_END)
		port_move_release_all(port);
	port_queue_update(port, queue, NULL);
	if (port_wish_is_unproven(queue) && !queue->handed_back) {
		port_queue_released(port, queue);
		queue->handed_back = true;
	}
	/* The same ring comes again, inside the same request. */
	if (port_software_configured(port) && why_stopped != RP_VHU_STOP_MEMORY)
		port_software_ring_stopped(port, queue);
	port_iommu_ring_stop(port, queue);
	*ret_base = port_position_to_frontend(queue);
	queue->fresh_told = why_stopped != RP_VHU_STOP_END && *ret_base == rp_vring_position_fresh(port->features);
	rp_wire_fd_close(&queue->kick_fd);
	rp_wire_fd_close(&queue->call_fd);
}

static int
on_vring_enable(void *ctx, unsigned int index, bool enabled, struct rp_wire_why *why)
{
	struct rp_port *port = ctx;
	struct port_queue *queue = &port->queues[index];

	(void)why;
	queue->frontend_enabled = enabled;
	port_starts_add(port, queue);
	if (enabled && queue->frontend_started && port_software_configured(port) &&
	    queue->software != PORT_SOFTWARE_RING_SERVES)
		port_software_ring_started(port, queue);
	return 0;
}

static int
on_vring_call(void *ctx, unsigned int index, int call_fd, struct rp_wire_why *why)
{
	struct rp_port *port = ctx;
	struct port_queue *queue = &port->queues[index];
	const struct rp_accel *accel;
	int rc = port_vhost_adopt_call(queue, call_fd);

	if (rc < 0)
		return rp_wire_why_set(why, rc, "ring %u: call descriptor: %s", index, strerror(-rc));
	if (queue->software == PORT_SOFTWARE_RING_SERVES) {
		rc = port_vhost_answer(port, "call descriptor", port_software_ring_call(port, queue, why), why);
		port_relay_call(port, queue);
		return rc;
	}
	if (!queue->running)
		return 0;
	if (queue->shadow.ring != NULL) {
		port_relay_nudge(port, queue, true);
		return 0;
	}
	accel = &port->accelerators[queue->accelerator].accel;
	rc = accel->ops->queue_call(accel->priv, queue->accelerator_queue, port_relay_interrupt_fd(port, queue), why);
	if (rc < 0) {
		port_accelerator_fail(port, (unsigned int)queue->accelerator, rc, why);
		return rc;
	}
	/* An interrupt may have gone to the old eventfd while the VMM swapped. */
	port_relay_nudge(port, queue, true);
	return 0;
}

static int
on_vring_kick(void *ctx, unsigned int index, int kick_fd, struct rp_wire_why *why)
{
	struct rp_port *port = ctx;
	struct port_queue *queue = &port->queues[index];
	int rc;

	port_source_remove(port, &queue->kick_source);
	rc = port_vhost_adopt_kick(queue, kick_fd);
	if (rc < 0)
		return rp_wire_why_set(why, rc, "ring %u: kick descriptor: %s", index, strerror(-rc));
	if (queue->software == PORT_SOFTWARE_RING_SERVES) {
		rc = port_vhost_answer(port, "kick descriptor", port_software_ring_kick(port, queue, why), why);
		port_relay_nudge(port, queue, false);
		return rc;
	}
	if (!queue->running)
		return 0;
	rc = port_relay_start(port, queue);
	if (rc < 0)
		return rp_wire_why_set(why, rc, "ring %u: kick descriptor: %s", index, strerror(-rc));
	port_relay_nudge(port, queue, false);
	return 0;
}

static int
on_vring_log(void *ctx, unsigned int index, bool log_used, uint64_t log_gpa, struct rp_wire_why *why)
{
	struct rp_port *port = ctx;
	struct port_queue *queue = &port->queues[index];

	queue->vring.log_used = log_used;
	queue->vring.log_gpa = log_gpa;
	if (queue->software != PORT_SOFTWARE_RING_SERVES)
		return 0;
	return port_vhost_answer(port, "log", port_software_ring_log(port, queue, why), why);
}

static void
on_channel_up(void *ctx)
{
	struct rp_port *port = ctx;

	unsigned int i;

	port->channel_up = true;
	port_iommu_wake(port);
	for (i = 0; i < port->queues_count; i++)
		port_vfio_file_channel(&port->queues[i]);
}

static void
on_channel_reply(void *ctx, uint64_t token, int error)
{
	uint64_t index = token & PORT_TOKEN_INDEX_MASK;
	struct rp_port *port = ctx;

	if ((token & PORT_TOKEN_IOTLB) != 0) {
		port_iommu_reply(port, index, error);
		return;
	}
	if (index >= port->queues_count)
		return;
	if ((token & PORT_TOKEN_VFIO_FILE) != 0)
		port_vfio_file_reply(port, &port->queues[index], error);
	else if ((token & PORT_TOKEN_CONFIG) == 0)
		port_doorbell_reply(port, &port->queues[index], error);
}

static void
on_reset(void *ctx)
{
	struct rp_port *port = ctx;
	unsigned int i;

	for (i = 0; i < port->queues_count; i++)
		port_vfio_file_reset(port, &port->queues[i]);
}

static void
on_refused(void *ctx, const struct rp_wire_why *why)
{
	struct rp_port *port = ctx;

	/* The first, because those after it are often only its consequences. */
	if (port->refused[0] == '\0')
		snprintf(port->refused, sizeof(port->refused), "the frontend has not started the ring; refused: %.110s",
			 why->text);
	port_event(port, RP_PORT_EVENT_WARNING, -1, "message-refused", "%s", why->text);
}

static void
on_disconnected(void *ctx, const struct rp_wire_why *why)
{
	struct rp_port *port = ctx;
	unsigned int i;

	for (i = 0; i < port->queues_count; i++) {
		if (port_doorbell_outstanding(&port->queues[i]))
			port->doorbells_left = true;
		port_doorbell_disconnected(&port->queues[i]);
		port_vfio_file_disconnected(&port->queues[i]);
		port->queues[i].frontend_enabled = false;
	}
	/* A guest whose VMM only hung up may still store to what it was given. */
	for (i = 0; i < port->accelerators_count; i++)
		port_files_release(port->files, &port->accelerators[i], !port->doorbells_left);
	port->doorbells_left = false;
	port->channel_up = false;
	port->config_at_ms = 0;
	if (port->features_acked && (port->features & BIT(RP_VHU_F_ACCESS_PLATFORM_BIT)) == 0 && !port->closing)
		port_accelerators_ahead(port);
	port->features_acked = false;
	port_windows_update(port);
	port_iommu_forget(port);
	port->memory_stale = false;
	port->refused[0] = '\0';
	port->log_fd_failed = false;
	if (port_software_configured(port))
		port_software_frontend_gone(port);
	port_event(port, RP_PORT_EVENT_NOTICE, -1, "frontend-disconnected", "%s", why->text);
	port_endpoint_lost(port);
}

static void
on_settle(void *ctx)
{
	port_starts_run(ctx);
}

static const struct rp_vhu_backend_ops backend_ops = {
	.features = on_features,
	.region_add = on_region_add,
	.region_remove = on_region_remove,
	.vring_start = on_vring_start,
	.vring_stop = on_vring_stop,
	.vring_enable = on_vring_enable,
	.settle = on_settle,
	.vring_call = on_vring_call,
	.vring_kick = on_vring_kick,
	.vring_log = on_vring_log,
	.vring_err = port_vhost_vring_err,
	.memory = port_vhost_memory,
	.log = port_vhost_log,
	.inflight_get = port_vhost_inflight_get, /* offered of the software backend's devices only */
	.inflight = port_vhost_inflight,
	.config_get = port_vhost_config_get,
	.config_set = port_vhost_config_set,
	.mtu = port_vhost_mtu,
	.rarp = port_vhost_rarp,
	.iotlb_update = port_iommu_on_update,
	.iotlb_invalidate = port_iommu_on_invalidate,
	.reset = on_reset,
	.channel_up = on_channel_up,
	.channel_reply = on_channel_reply,
	.refused = on_refused,
	.disconnected = on_disconnected,
};

static void
backend_ready(struct rp_port *port, struct port_source *source)
{
	(void)source;
	rp_vhu_backend_process(port->backend);
	port_iommu_run(port);
}

uint16_t
port_vhost_largest_ring(const struct rp_port *port)
{
	uint16_t num = 0;
	unsigned int i;

	for (i = 0; i < port->accelerators_count; i++)
		if (num == 0 || port->accelerators[i].info.queue_size_max < num)
			num = port->accelerators[i].info.queue_size_max;
	return num;
}

int
port_vhost_open(struct rp_port *port, struct rp_wire_why *why)
{
	bool is_net = port->device == RP_PORT_DEVICE_NET;
	unsigned int rings = port->queues_count == 0 ? 2 : port->queues_count; /* not known yet: nobody is served */
	struct rp_vhu_dialect dialect;
	struct rp_vhu_backend_config config = {
		.profile = port->profile,
		.numbers = port->numbers,
		.features = port->features_offered,
		.queues_max = (uint16_t)rings,
		.queues_told = (uint16_t)(is_net ? rings / 2 : rings), /* QEMU compares it with pairs */
		/* Of one that was adopted it is what the frontend knows. */
		.vring_num_max = port->accelerators_count == 0 ? port->vring_num_max : port_vhost_largest_ring(port),
	};
	int rc;

	rc = rp_vhu_dialect_init(&dialect, port->profile, &port->numbers, why);
	if (rc < 0)
		return rc;
	config.protocol_features = port_offer_protocol_features(port, dialect.protocol_features);
	port->vring_num_max = config.vring_num_max;
	rc = rp_vhu_backend_create(&config, &backend_ops, port, &port->backend, why);
	if (rc < 0)
		return rc;
	return port_source_add(port, &port->backend_source, rp_vhu_backend_fd(port->backend), backend_ready, 0);
}

void
port_vhost_close(struct rp_port *port)
{
	port_source_remove(port, &port->backend_source);
	port->backend = rp_vhu_backend_destroy(port->backend);
}
