/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_net.h>
#include <stdio.h>
#include <string.h>

#include "port.h"
#include "rp_wire_fd.h"

#define BIT(n) (1ULL << (n))

/*
 * MQ is ours because the control queue never leaves the VMM; GUEST_ANNOUNCE is
 * the VMM's own doing and only says that it need not send RARP through us.
 */
uint64_t
port_vhost_own_features(const struct rp_port *port)
{
	return BIT(VIRTIO_NET_F_GUEST_ANNOUNCE) | BIT(RP_VHU_F_PROTOCOL_FEATURES_BIT) |
	       (port->queues_count > 2 ? BIT(VIRTIO_NET_F_MQ) : 0) | (port->migratable ? BIT(RP_VHU_F_LOG_ALL_BIT) : 0);
}

/*
 * A duplicate that is ours to poll and hand on. Non-blocking, because a peer could
 * fill its eventfd and have us wait for ever.
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

/* Something that is not logged may still be written to the guest's memory. */
static bool
writes_unseen(const struct rp_port *port)
{
	unsigned int i;

	for (i = 0; i < port->queues_count; i++)
		if (port->queues[i].unproven || (port->queues[i].running && port->queues[i].shadow.ring == NULL))
			return true;
	return false;
}

/* A migration begins or ends, under running rings. */
static int
set_log(struct rp_port *port, uint64_t features, struct rp_wire_why *why)
{
	bool begins = (features & BIT(RP_VHU_F_LOG_ALL_BIT)) != 0;
	uint64_t before = port->features;
	unsigned int i;
	int rc = begins ? port_shadow_may_log(port, why) : 0;

	if (rc < 0)
		return rc;
	port->features = features;
	for (i = 0; i < port->queues_count; i++) {
		struct port_queue *queue = &port->queues[i];

		if (queue->running && port_shadow_must_change(port, queue))
			port_queue_renew(port, queue, why);
		else
			port_shadow_log(port, queue);
	}
	/* A queue that let go and did not start again writes nothing. */
	if (!begins || !writes_unseen(port))
		return 0;
	port->features = before;
	for (i = 0; i < port->queues_count; i++)
		port_shadow_log(port, &port->queues[i]);
	return rp_wire_why_set(why, -EIO, "LOG_ALL: a device may write to the guest's memory, and nobody sees what");
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
		return set_log(port, features, why);
	for (i = 0; i < port->queues_count; i++)
		if (port->queues[i].running)
			return rp_wire_why_set(why, -EBUSY, "features: 0x%llx while ring %u runs with 0x%llx",
					       (unsigned long long)features, i, (unsigned long long)port->features);
	rc = port_accelerators_features(port, features, why);
	if (rc < 0)
		return rc;
	port->features = features;
	port->features_acked = true;
	return 0;
}

static int
on_region_add(void *ctx, const struct rp_vhu_region *region, struct rp_wire_why *why)
{
	struct rp_port *port = ctx;
	struct rp_dma_mapping mapping = {
		.iova = region->gpa,
		.size_bytes = region->size_bytes,
		.offset_bytes = region->offset_bytes,
		.access_mask = RP_DMA_READ | RP_DMA_WRITE,
		.fd = region->fd,
	};
	int rc = rp_dma_space_map(port->memory, &mapping, why);

	if (rc < 0)
		return rc;
	rc = port_accelerators_region_add(port, region, why);
	if (rc < 0)
		rp_dma_space_unmap(port->memory, region->gpa, region->size_bytes, NULL);
	return rc;
}

static void
on_region_remove(void *ctx, const struct rp_vhu_region *region)
{
	struct rp_port *port = ctx;

	port_accelerators_region_remove(port, region);
	rp_dma_space_unmap(port->memory, region->gpa, region->size_bytes, NULL);
}

static int
on_vring_start(void *ctx, unsigned int index, const struct rp_vhu_vring *vring, struct rp_wire_why *why)
{
	struct rp_port *port = ctx;
	struct port_queue *queue = &port->queues[index];
	int rc;

	rc = adopt(&queue->kick_fd, vring->kick_fd);
	if (rc == 0)
		rc = adopt(&queue->call_fd, vring->call_fd);
	if (rc < 0)
		return rp_wire_why_set(why, rc, "ring %u: descriptor: %s", index, strerror(-rc));
	queue->vring = *vring;
	rc = port_position_from_frontend(port, queue, why);
	if (rc < 0) {
		rp_wire_fd_close(&queue->kick_fd);
		rp_wire_fd_close(&queue->call_fd);
		return rc;
	}
	queue->frontend_started = true;
	queue->frontend_enabled = vring->enabled;
	queue->served_before = false;
	queue->broken = false;
	/* A ring that no accelerator can serve now stays stopped and says why; it is not the frontend's mistake. */
	port_queue_update(port, queue, NULL);
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
	port_queue_update(port, queue, NULL);
	if (queue->unproven && !queue->handed_back) {
		port_queue_released(port, queue);
		queue->handed_back = true;
	}
	*ret_base = port_position_to_frontend(queue);
	rp_wire_fd_close(&queue->kick_fd);
	rp_wire_fd_close(&queue->call_fd);
}

static int
on_vring_enable(void *ctx, unsigned int index, bool enabled, struct rp_wire_why *why)
{
	struct rp_port *port = ctx;

	(void)why;
	port->queues[index].frontend_enabled = enabled;
	port_queue_update(port, &port->queues[index], NULL);
	return 0;
}

static int
on_vring_call(void *ctx, unsigned int index, int call_fd, struct rp_wire_why *why)
{
	struct rp_port *port = ctx;
	struct port_queue *queue = &port->queues[index];
	const struct rp_accel *accel;
	int rc = adopt(&queue->call_fd, call_fd);

	if (rc < 0)
		return rp_wire_why_set(why, rc, "ring %u: call descriptor: %s", index, strerror(-rc));
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
	rc = adopt(&queue->kick_fd, kick_fd);
	if (rc < 0)
		return rp_wire_why_set(why, rc, "ring %u: kick descriptor: %s", index, strerror(-rc));
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

	(void)why;
	port->queues[index].vring.log_used = log_used;
	port->queues[index].vring.log_gpa = log_gpa;
	return 0;
}

static int
on_config_get(void *ctx, uint32_t offset_bytes, uint32_t size_bytes, uint8_t *ret_bytes, struct rp_wire_why *why)
{
	(void)why;
	port_net_config(ctx, offset_bytes, size_bytes, ret_bytes);
	return 0;
}

static void
on_channel_up(void *ctx)
{
	struct rp_port *port = ctx;

	unsigned int i;

	port->channel_up = true;
	for (i = 0; i < port->queues_count; i++)
		port_vfio_file_channel(&port->queues[i]);
}

static void
on_channel_reply(void *ctx, uint64_t token, int error)
{
	uint64_t index = token & PORT_TOKEN_INDEX_MASK;
	struct rp_port *port = ctx;

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
	port->features_acked = false;
	port->refused[0] = '\0';
	port_event(port, RP_PORT_EVENT_NOTICE, -1, "frontend-disconnected", "%s", why->text);
	port_endpoint_lost(port);
}

static const struct rp_vhu_backend_ops backend_ops = {
	.features = on_features,
	.region_add = on_region_add,
	.region_remove = on_region_remove,
	.vring_start = on_vring_start,
	.vring_stop = on_vring_stop,
	.vring_enable = on_vring_enable,
	.vring_call = on_vring_call,
	.vring_kick = on_vring_kick,
	.vring_log = on_vring_log,
	.config_get = on_config_get,
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
}

int
port_vhost_open(struct rp_port *port, struct rp_wire_why *why)
{
	struct rp_vhu_dialect dialect;
	struct rp_vhu_backend_config config = {
		.profile = port->profile,
		.numbers = port->numbers,
		.features = port->features_offered,
		.protocol_features = BIT(RP_VHU_PF_MQ_BIT) | BIT(RP_VHU_PF_REPLY_ACK_BIT) |
				     BIT(RP_VHU_PF_BACKEND_REQ_BIT) | BIT(RP_VHU_PF_BACKEND_SEND_FD_BIT) |
				     BIT(RP_VHU_PF_HOST_NOTIFIER_BIT) | BIT(RP_VHU_PF_CONFIGURE_MEM_SLOTS_BIT),
		.queues_max = (uint16_t)port->queues_count,
		.queues_told = (uint16_t)(port->queues_count / 2), /* QEMU compares it with pairs */
		.vring_num_max = port->accelerators[0].info.queue_size_max,
	};
	unsigned int i;
	int rc;

	rc = rp_vhu_dialect_init(&dialect, port->profile, &port->numbers, why);
	if (rc < 0)
		return rc;
	config.protocol_features &= dialect.protocol_features;
	if (port->migratable)
		config.protocol_features |= BIT(RP_VHU_PF_LOG_SHMFD_BIT);
	/* QEMU takes it for a net device's mistake, and says so at each start. */
	if (port->profile == RP_VHU_PROFILE_EXTENDED)
		config.protocol_features |= BIT(RP_VHU_PF_CONFIG_BIT);
	if (port->memory_kind == RP_PORT_MEMORY_TABLE)
		config.protocol_features &= ~BIT(RP_VHU_PF_CONFIGURE_MEM_SLOTS_BIT);
	for (i = 1; i < port->accelerators_count; i++)
		if (port->accelerators[i].info.queue_size_max < config.vring_num_max)
			config.vring_num_max = port->accelerators[i].info.queue_size_max;
	port->vring_num_max = config.vring_num_max;
	rc = rp_vhu_backend_create(&config, &backend_ops, port, &port->backend, why);
	if (rc < 0)
		return rc;
	return port_source_add(port, &port->backend_source, rp_vhu_backend_fd(port->backend), backend_ready, 0);
}
