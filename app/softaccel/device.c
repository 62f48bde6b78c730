/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>

#include "rp_wire_fd.h"
#include "sa_device.h"

#define FEATURES                                                                                                       \
	(SA_FEATURE(VIRTIO_F_VERSION_1) | SA_FEATURE(VIRTIO_F_ACCESS_PLATFORM) | SA_FEATURE(VIRTIO_F_ORDER_PLATFORM) | \
	 SA_FEATURE(VIRTIO_F_RING_RESET) | SA_FEATURE(VIRTIO_RING_F_EVENT_IDX) |                                       \
	 SA_FEATURE(VIRTIO_RING_F_INDIRECT_DESC) | SA_FEATURE(VIRTIO_F_RING_PACKED) | SA_FEATURE(VIRTIO_F_IN_ORDER) |  \
	 SA_FEATURE(VIRTIO_NET_F_CSUM) | SA_FEATURE(VIRTIO_NET_F_GUEST_CSUM) | SA_FEATURE(VIRTIO_NET_F_MAC) |          \
	 SA_FEATURE(VIRTIO_NET_F_MRG_RXBUF) | SA_FEATURE(VIRTIO_NET_F_STATUS))

void
sa_device_event(const struct softaccel_function *function, const char *format, ...)
{
	char text[RP_WIRE_WHY_MAX + 160];
	int used;
	va_list args;

	if (function->ops == NULL || function->ops->event == NULL)
		return;
	used = snprintf(text, sizeof(text), "%s: ", function->socket_path);
	va_start(args, format);
	vsnprintf(text + used, sizeof(text) - (size_t)used, format, args);
	va_end(args);
	function->ops->event(function->ops_ctx, text);
}

static int
on_reset(void *ctx, enum rp_vfu_pci_reset kind)
{
	struct softaccel_function *function = ctx;

	(void)kind;
	rp_vfu_virtio_reset(function->virtio);
	return 0;
}

static void
on_irq_changed(void *ctx, uint32_t irq_index, uint32_t vector, int eventfd)
{
	struct softaccel_function *function = ctx;
	unsigned int number;

	if (irq_index != RP_VFU_PCI_MSIX_IRQ || vector >= sa_device_vectors(function))
		return;
	function->call_fds[vector] = eventfd;
	/* Vectors come in hundreds, one by one: of the others nothing changed. */
	for (number = 0; number < function->queues_count; number++)
		if (rp_vfu_virtio_queue(function->virtio, number)->vector == vector)
			sa_queue_rewire(function, number);
}

void
sa_device_hear_calls(struct softaccel_function *function)
{
	eventfd_t count;

	/* All queues call there; the pin does not say which. */
	if (function->intx_fd >= 0 && eventfd_read(function->intx_fd, &count) == 0)
		rp_vfu_virtio_interrupt(function->virtio, 0);
}

static void
count_mappings(struct softaccel_function *function)
{
	uint64_t before = function->mapped.mappings_count;
	uint64_t now = rp_dma_space_count(rp_vfu_server_dma(function->server));

	if (now > before)
		sa_count(&function->mapped.mappings_added, now - before);
	else
		sa_count(&function->mapped.mappings_removed, before - now);
	__atomic_store_n(&function->mapped.mappings_count, now, __ATOMIC_RELAXED);
}

static void
on_dma_changed(void *ctx)
{
	struct softaccel_function *function = ctx;
	unsigned int number;

	count_mappings(function);
	function->memory_changed = true;
	if (!function->connected)
		return;
	/* After a client came back, a ring runs again once its memory has. Until then there is nothing to say. */
	for (number = 0; number < function->queues_count; number++)
		sa_queue_update(function, number, SA_START_FOUND, NULL);
}

static void
on_connected(void *ctx)
{
	struct softaccel_function *function = ctx;

	function->connected = true;
	sa_device_event(function, "client connected");
}

/* A ring that is awake is looked at again and again: without its memory it would count as broken. */
static void
on_leaving(void *ctx)
{
	struct softaccel_function *function = ctx;
	unsigned int number;

	function->connected = false;
	for (number = 0; number < function->queues_count; number++)
		sa_queue_leave(function, number);
}

static void
on_disconnected(void *ctx, const struct rp_wire_why *why)
{
	struct softaccel_function *function = ctx;
	unsigned int number;

	for (number = 0; number < function->queues_count; number++)
		sa_queue_forgive(function, number);
	sa_device_event(function, "client disconnected: %s", why->text);
}

static void
on_refused(void *ctx, const struct rp_wire_why *why)
{
	sa_device_event(ctx, "refused: %s", why->text);
}

static const struct rp_vfu_pci_ops pci_ops = {
	.reset = on_reset,
	.irq_changed = on_irq_changed,
	.dma_changed = on_dma_changed,
	.connected = on_connected,
	.leaving = on_leaving,
	.disconnected = on_disconnected,
	.refused = on_refused,
};

static int
check_config(const struct softaccel_function_config *config, struct rp_wire_why *why)
{
	if (config->socket_path == NULL || config->socket_path[0] == '\0')
		return rp_wire_why_set(why, -EINVAL, "socket: missing, expected a path");
	if (config->queue_pairs == 0 || config->queue_pairs > SOFTACCEL_QUEUE_PAIRS_MAX)
		return rp_wire_why_set(why, -EINVAL, "queue_pairs: %u, expected 1 to %u", config->queue_pairs,
				       SOFTACCEL_QUEUE_PAIRS_MAX);
	if (config->queue_size == 0 || config->queue_size > SOFTACCEL_QUEUE_SIZE_MAX ||
	    (config->queue_size & (config->queue_size - 1)) != 0)
		return rp_wire_why_set(why, -EINVAL, "queue_size: %u, expected a power of two up to %u",
				       config->queue_size, SOFTACCEL_QUEUE_SIZE_MAX);
	if ((config->mac[0] & 1) != 0)
		return rp_wire_why_set(why, -EINVAL, "mac: is a group address");
	if (config->group != NULL && (config->group[0] == '\0' || strlen(config->group) >= SOFTACCEL_GROUP_NAME_MAX))
		return rp_wire_why_set(why, -EINVAL, "group: expected a name of 1 to %u characters",
				       SOFTACCEL_GROUP_NAME_MAX - 1);
	return 0;
}

static int
make_parts(struct softaccel_function *function, const struct softaccel_function_config *config)
{
	int rc;

	function->socket_path = strdup(config->socket_path);
	function->queues = calloc(function->queues_count, sizeof(*function->queues));
	function->call_fds = malloc((function->queues_count + 1u) * sizeof(*function->call_fds));
	if (config->msix_off) {
		function->intx_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		if (function->intx_fd < 0)
			return -errno;
	}
	if (function->socket_path == NULL || function->queues == NULL || function->call_fds == NULL)
		return -ENOMEM;
	memset(function->call_fds, 0xff, (function->queues_count + 1u) * sizeof(*function->call_fds));
	rc = sa_doorbells_init(&function->doorbells, config->doorbell, function->queues_count);
	if (rc == 0)
		rc = sa_bells_init(&function->bells, &function->doorbells);
	if (rc < 0)
		return rc;
	sa_gate_close(&function->path->gate);
	rc = sa_switch_port(&function->path->sw, config->group, &function->port);
	sa_gate_open(&function->path->gate);
	return rc;
}

static int
make_reader(struct softaccel_function *function)
{
	int rc = rp_dma_reader_create(rp_vfu_server_dma(function->server), &function->reader);

	if (rc < 0)
		return rc;
	sa_gate_close(&function->path->gate);
	sa_datapath_reader_add(function->path, function->reader);
	sa_gate_open(&function->path->gate);
	return 0;
}

static uint64_t
features_of(const struct softaccel_function_config *config)
{
	uint64_t features = FEATURES;

	if (config->packed_off)
		features &= ~SA_FEATURE(VIRTIO_F_RING_PACKED);
	if (config->in_order_off)
		features &= ~SA_FEATURE(VIRTIO_F_IN_ORDER);
	return features;
}

int
sa_device_create(struct sa_datapath *path, const struct softaccel_function_config *config, unsigned int number,
		 const struct softaccel_ops *ops, void *ctx, struct softaccel_function **ret_function,
		 struct rp_wire_why *why)
{
	struct softaccel_function *function;
	unsigned int queue;
	int rc = check_config(config, why);

	if (rc < 0)
		return rc;
	function = calloc(1, sizeof(*function));
	if (function == NULL)
		return rp_wire_why_set(why, -ENOMEM, "no memory for a function");
	function->path = path;
	function->ops = ops;
	function->ops_ctx = ctx;
	function->queues_count = (uint16_t)(2 * config->queue_pairs);
	function->queue_size_max = config->queue_size;
	function->features = features_of(config);
	function->dma = config->dma;
	function->iommu = config->iommu;
	function->idle_ms = config->doorbell == SOFTACCEL_DOORBELL_NONE ? 0 : config->idle_ms;
	function->memory_changed = true;
	function->doorbells.fd = -1;
	function->intx_fd = -1;
	memcpy(function->mac, config->mac, sizeof(function->mac));
	rc = make_parts(function, config);
	if (rc < 0)
		rp_wire_why_set(why, rc, "cannot make a function: %s", strerror(-rc));
	if (rc == 0)
		rc = sa_pci_serve(function, &pci_ops, why);
	for (queue = 0; rc == 0 && queue < function->queues_count; queue++)
		sa_queue_init(function, queue, number * 2 * SOFTACCEL_QUEUE_PAIRS_MAX + queue);
	if (rc == 0) {
		rc = make_reader(function);
		if (rc < 0)
			rp_wire_why_set(why, rc, "cannot make a function: %s", strerror(-rc));
	}
	if (rc < 0) {
		sa_device_destroy(function);
		return rc;
	}
	*ret_function = function;
	return 0;
}

struct softaccel_function *
sa_device_destroy(struct softaccel_function *function)
{
	unsigned int number;

	if (function == NULL)
		return NULL;
	if (function->reader != NULL) {
		for (number = 0; number < function->queues_count; number++)
			sa_queue_reset(function, number);
		sa_gate_close(&function->path->gate);
		sa_datapath_reader_remove(function->path, function->reader);
		sa_gate_open(&function->path->gate);
		function->reader = rp_dma_reader_destroy(function->reader);
		sa_carried_fini(function);
	}
	function->pci = rp_vfu_pci_destroy(function->pci);
	function->server = NULL;
	function->virtio = rp_vfu_virtio_destroy(function->virtio);
	sa_bells_fini(&function->bells);
	sa_doorbells_fini(&function->doorbells);
	rp_wire_fd_close(&function->intx_fd);
	for (number = 0; function->queues != NULL && number < function->queues_count; number++)
		sa_queue_fini(function, number);
	free(function->call_fds);
	free(function->queues);
	free(function->socket_path);
	free(function);
	return NULL;
}

void
sa_device_notice(struct softaccel_function *function)
{
	unsigned int number;

	for (number = 0; number < function->queues_count; number++) {
		sa_queue_notice(function, number);
		sa_queue_say_wish(function, number);
	}
}
