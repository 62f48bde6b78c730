/* SPDX-License-Identifier: BSD-3-Clause */
#include <ctype.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "port.h"
#include "rp_wire_caller.h"
#include "rp_wire_clock.h"
#include "rp_wire_fd.h"

#define DOORBELL_DELAY_DEFAULT_MS 250
#define DOORBELL_DELAY_MAX_DEFAULT_MS 10000
#define RECONNECT_DEFAULT_MS 1000
#define DRAIN_DEFAULT_MS 2
#define EVENTS_PER_PROCESS 64
#define CLOSE_REVOKE_LIMIT_MS 1000

int
port_source_add(struct rp_port *port, struct port_source *source, int fd, port_ready ready, unsigned int index)
{
	struct epoll_event event = {.events = EPOLLIN, .data.ptr = source};

	source->ready = ready;
	source->index = index;
	if (epoll_ctl(port->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0)
		return -errno;
	source->fd = fd;
	return 0;
}

void
port_source_remove(struct rp_port *port, struct port_source *source)
{
	if (source->fd < 0)
		return;
	epoll_ctl(port->epoll_fd, EPOLL_CTL_DEL, source->fd, NULL);
	source->fd = -1;
}

/* Who may serve the queues. */
static int
check_sides(const struct rp_port_config *config, struct rp_wire_why *why)
{
	const char *path = config->software.socket_path;

	if (path == NULL) {
		if (config->wish == RP_PORT_WISH_SOFTWARE)
			return rp_wire_why_set(why, -EINVAL, "wish: \"software\", expected a software backend with it");
		if (config->device != RP_PORT_DEVICE_NET)
			return rp_wire_why_set(why, -EINVAL, "device: \"other\", expected a software backend with it");
		return 0;
	}
	if (path[0] == '\0' || strlen(path) >= sizeof(((struct rp_port_software_info *)0)->socket_path))
		return rp_wire_why_set(why, -EINVAL, "software: expected a path of 1 to 107 bytes");
	if (strcmp(path, config->socket_path) == 0)
		return rp_wire_why_set(why, -EINVAL, "software: expected another path than the frontend's socket");
	if (config->device != RP_PORT_DEVICE_NET && config->accelerators_count != 0)
		return rp_wire_why_set(why, -EINVAL,
				       "device: \"other\" with %u accelerators, expected none: they serve networks",
				       config->accelerators_count);
	if (config->wish == RP_PORT_WISH_HARDWARE && config->accelerators_count == 0)
		return rp_wire_why_set(why, -EINVAL, "wish: \"hardware\", expected accelerators with it");
	return 0;
}

static int
check_config(const struct rp_port_config *config, struct rp_wire_why *why)
{
	static const uint8_t no_mac[6];
	size_t i, length = config->name == NULL ? 0 : strlen(config->name);

	if (length == 0 || length >= RP_PORT_NAME_MAX)
		return rp_wire_why_set(why, -EINVAL, "name: %zu characters, expected 1 to %d", length,
				       RP_PORT_NAME_MAX - 1);
	for (i = 0; i < length; i++)
		if (!isalnum((unsigned char)config->name[i]) && strchr("_.-", config->name[i]) == NULL)
			return rp_wire_why_set(why, -EINVAL, "name: '%s', expected letters, digits, '_', '.' and '-'",
					       config->name);
	if (config->socket_path == NULL || strlen(config->socket_path) >= sizeof(((struct rp_port *)0)->socket_path))
		return rp_wire_why_set(why, -EINVAL, "socket: expected a path of at most 107 bytes");
	if (config->net.has_mac &&
	    ((config->net.mac[0] & 1) != 0 || memcmp(config->net.mac, no_mac, sizeof(no_mac)) == 0))
		return rp_wire_why_set(why, -EINVAL, "mac: expected the address of one card");
	if (config->migratable && config->ring == RP_PORT_RING_DIRECT)
		return rp_wire_why_set(why, -EINVAL, "migratable: expected ring \"auto\" or \"shadow\" with it");
	if (config->access_platform && config->migratable)
		return rp_wire_why_set(why, -EINVAL, "access_platform: expected not migratable with it");
	if (config->accelerators_count > RP_PORT_ACCELERATORS_MAX ||
	    (config->accelerators_count == 0 && config->software.socket_path == NULL))
		return rp_wire_why_set(why, -EINVAL,
				       "accelerators: %u given, expected 1 to %d, or none with a software backend",
				       config->accelerators_count, RP_PORT_ACCELERATORS_MAX);
	return check_sides(config, why);
}

static void
take_config(struct rp_port *port, const struct rp_port_config *config)
{
	snprintf(port->name, sizeof(port->name), "%s", config->name);
	snprintf(port->socket_path, sizeof(port->socket_path), "%s", config->socket_path);
	port->socket_mode = config->socket_mode;
	port->profile = config->profile;
	port->numbers = config->numbers;
	port->files = config->files;
	port->relay_interrupts = config->relay_interrupts;
	port->doorbell_delay_ms = config->doorbell_delay_ms ? config->doorbell_delay_ms : DOORBELL_DELAY_DEFAULT_MS;
	port->doorbell_delay_max_ms =
		config->doorbell_delay_max_ms ? config->doorbell_delay_max_ms : DOORBELL_DELAY_MAX_DEFAULT_MS;
	if (port->doorbell_delay_max_ms < port->doorbell_delay_ms)
		port->doorbell_delay_max_ms = port->doorbell_delay_ms;
	port->memory_kind = config->memory;
	port->net = config->net;
	port->migratable = config->migratable;
	port->access_platform = config->access_platform;
	port->reconnect_ms = config->reconnect_ms ? config->reconnect_ms : RECONNECT_DEFAULT_MS;
	port->device = config->device;
	port->queue_pairs = config->queue_pairs;
	port->doorbell = config->doorbell;
	port->ring = config->ring;
	port->wish = config->wish;
	port->fail_over = config->fail_over;
	port->drain_ms = config->software.drain_ms ? config->software.drain_ms : DRAIN_DEFAULT_MS;
}

/* What is there before anybody is connected to. */
static int
open_base(struct rp_port *port, struct rp_wire_why *why)
{
	int rc;

	port->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (port->epoll_fd < 0)
		return rp_wire_why_set(why, -errno, "epoll: %s", strerror(errno));
	rc = rp_wire_caller_take(&port->caller);
	if (rc < 0)
		return rp_wire_why_set(why, rc, "interrupts: io_setup: %s", strerror(-rc));
	rc = port_timer_open(port);
	if (rc < 0)
		return rp_wire_why_set(why, rc, "timerfd: %s", strerror(-rc));
	rc = rp_dma_space_create(NULL, &port->memory);
	if (rc < 0)
		return rp_wire_why_set(why, rc, "no memory");
	rc = rp_dma_reader_create(port->memory, &port->reader);
	if (rc < 0)
		return rp_wire_why_set(why, rc, "no memory");
	return port_iommu_open(port, why);
}

static int
open_parts(struct rp_port *port, const struct rp_port_config *config, struct rp_wire_why *why)
{
	int rc;

	if (config->software.socket_path != NULL) {
		rc = port_software_open(port, &config->software, why);
		if (rc < 0)
			return rc;
	}
	rc = port_windows_open(port, config, why);
	if (rc == 0)
		rc = port_accelerators_open(port, config, why);
	return rc < 0 ? rc : port_offer_open(port, why);
}

int
port_make(const struct rp_port_config *config, const struct rp_accel_registry *registry, const struct rp_port_ops *ops,
	  void *ctx, struct rp_port **ret_port, struct rp_wire_why *why)
{
	struct rp_port *port;
	int rc = check_config(config, why);

	if (rc < 0)
		return rc;
	port = calloc(1, sizeof(*port));
	if (port == NULL) {
		rp_wire_why_set(why, -ENOMEM, "no memory");
		return -ENOMEM;
	}
	/* A port for each of a thousand guests has one or two of them, not what the limit allows. */
	port->accelerators = calloc(config->accelerators_count + 1, sizeof(*port->accelerators));
	if (port->accelerators == NULL) {
		free(port);
		rp_wire_why_set(why, -ENOMEM, "no memory");
		return -ENOMEM;
	}
	port->epoll_fd = port->timer_fd = -1;
	port->timer_source.fd = port->listen_source.fd = port->backend_source.fd = -1;
	port->registry = registry;
	port->ops = ops;
	port->ctx = ctx;
	take_config(port, config);
	rc = open_base(port, why);
	if (rc < 0) {
		rp_port_destroy(port);
		return rc;
	}
	*ret_port = port;
	return 0;
}

int
rp_port_create(const struct rp_port_config *config, const struct rp_accel_registry *registry,
	       const struct rp_port_ops *ops, void *ctx, struct rp_port **ret_port, struct rp_wire_why *why)
{
	struct rp_port *port;
	int rc = port_make(config, registry, ops, ctx, &port, why);

	if (rc < 0)
		return rc;
	rc = open_parts(port, config, why);
	if (rc < 0) {
		rp_port_destroy(port);
		return rc;
	}
	port_timer_update(port);
	*ret_port = port;
	return 0;
}

/* Whether something of a device is still in the frontend's hands; asks for it where that is due. */
static bool
anything_out(struct rp_port *port)
{
	bool out = false;
	unsigned int i;

	for (i = 0; i < port->queues_count; i++) {
		port_vfio_file_update(port, &port->queues[i]);
		out |= port_doorbell_outstanding(&port->queues[i]) || port_vfio_file_outstanding(&port->queues[i]);
	}
	return out;
}

/* A page that the guest still stores to must not die: ask for the doorbells back first, then for the files. */
static void
revoke_all(struct rp_port *port)
{
	uint64_t deadline_ms = rp_wire_clock_ms() + CLOSE_REVOKE_LIMIT_MS;
	unsigned int i;

	for (i = 0; i < port->queues_count; i++)
		port_doorbell_stopped(port, &port->queues[i]);
	while (rp_vhu_backend_attached(port->backend) && anything_out(port)) {
		struct pollfd wait = {.fd = rp_vhu_backend_fd(port->backend), .events = POLLIN};
		uint64_t now_ms = rp_wire_clock_ms();

		if (now_ms >= deadline_ms) {
			port_event(port, RP_PORT_EVENT_WARNING, -1, "revoke-unanswered",
				   "the frontend did not give the doorbells and files back within %d ms",
				   CLOSE_REVOKE_LIMIT_MS);
			return;
		}
		if (poll(&wait, 1, (int)(deadline_ms - now_ms)) > 0)
			rp_vhu_backend_process(port->backend);
	}
}

struct rp_port *
rp_port_destroy(struct rp_port *port)
{
	if (port == NULL)
		return NULL;
	port->closing = true;
	if (port->backend != NULL) {
		port_endpoint_close(port);
		revoke_all(port);
		rp_vhu_backend_detach(port->backend);
		port_vhost_close(port);
	}
	port_software_close(port);
	port_accelerators_close(port);
	port_queues_destroy(port);
	port_iommu_close(port);
	port->reader = rp_dma_reader_destroy(port->reader);
	port->memory = rp_dma_space_destroy(port->memory);
	port_timer_close(port);
	port->caller = rp_wire_caller_give(port->caller);
	rp_wire_fd_close(&port->epoll_fd);
	free(port->windows);
	free(port->accelerators);
	free(port);
	return NULL;
}

int
rp_port_fd(const struct rp_port *port)
{
	return port->epoll_fd;
}

/* A kick or an interrupt changes nothing about who should serve what. */
static bool
is_of_ring(const struct rp_port *port, const struct port_source *source)
{
	uintptr_t at = (uintptr_t)source, first = (uintptr_t)port->queues;

	return at - first < port->queues_count * sizeof(*port->queues);
}

int
rp_port_process(struct rp_port *port)
{
	bool may_move = false;
	unsigned int handled;

	/* One event at a time: a handler may remove any other source. */
	for (handled = 0; handled < EVENTS_PER_PROCESS; handled++) {
		struct port_source *source;
		struct epoll_event event;

		if (epoll_wait(port->epoll_fd, &event, 1, 0) != 1)
			break;
		source = event.data.ptr;
		may_move |= !is_of_ring(port, source);
		source->ready(port, source);
	}
	if (may_move)
		port_moves_run(port);
	port_timer_run(port);
	return 0;
}

static struct port_queue *
find_queue(struct rp_port *port, unsigned int index, struct rp_wire_why *why)
{
	if (index < port->queues_count)
		return &port->queues[index];
	if (port->queues_count == 0)
		rp_wire_why_set(why, -EINVAL, "queue: %u, there are none before the software backend was seen", index);
	else
		rp_wire_why_set(why, -EINVAL, "queue: %u, expected 0 to %u", index, port->queues_count - 1);
	return NULL;
}

static int
set_user_enabled(struct rp_port *port, unsigned int index, bool enabled, struct rp_wire_why *why)
{
	struct port_queue *queue = find_queue(port, index, why);
	int rc;

	if (queue == NULL)
		return -EINVAL;
	if (enabled && !port_software_configured(port) && !port_accelerator_usable(port, queue->accelerator))
		return rp_wire_why_set(why, -ENOTCONN, "queue %u: %s", index,
				       port->accelerators[queue->accelerator].reason);
	queue->user_enabled = enabled;
	if (enabled && queue->frontend_started && queue->position_lost)
		return rp_wire_why_set(why, -ENOTSUP, "queue %u: %s", index, PORT_POSITION_LOST);
	rc = port_queue_update(port, queue, why);
	if (rc == -ENOTSUP && !enabled)
		queue->user_enabled = true; /* it goes on as it was */
	port_vfio_file_update(port, queue);
	port_net_update(port, (unsigned int)queue->accelerator);
	port_timer_update(port);
	return rc;
}

int
rp_port_queue_enable(struct rp_port *port, unsigned int queue, struct rp_wire_why *why)
{
	return set_user_enabled(port, queue, true, why);
}

int
rp_port_queue_disable(struct rp_port *port, unsigned int queue, struct rp_wire_why *why)
{
	return set_user_enabled(port, queue, false, why);
}

int
rp_port_queue_doorbell(struct rp_port *port, unsigned int index, enum rp_port_doorbell_policy policy,
		       struct rp_wire_why *why)
{
	struct port_queue *queue = find_queue(port, index, why);

	if (queue == NULL)
		return -EINVAL;
	port_doorbell_policy(port, queue, policy);
	port_timer_update(port);
	return 0;
}

int
rp_port_queue_ring(struct rp_port *port, unsigned int index, enum rp_port_ring_policy policy, struct rp_wire_why *why)
{
	struct port_queue *queue = find_queue(port, index, why);
	int rc = 0;

	if (queue == NULL)
		return -EINVAL;
	if (port->migratable && policy == RP_PORT_RING_DIRECT)
		return rp_wire_why_set(why, -ENOTSUP,
				       "queue %u: the port is migratable, and nobody can say what a device writes to a "
				       "direct ring",
				       index);
	queue->ring_policy = policy;
	queue->hardware_refused[0] = '\0';
	if (queue->running && port_shadow_must_change(port, queue))
		rc = port_queue_renew(port, queue, why);
	else
		rc = port_queue_update(port, queue, why);
	/* With another ring the accelerator may be able to. */
	port_moves_run(port);
	port_timer_update(port);
	return rc;
}
