/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "rp_wire_clock.h"
#include "rp_wire_fd.h"
#include "small_port.h"

#define POLL_MS 1
#define LIMIT_MS 20000
#define BIT(n) (1ull << (n))
/* INDIRECT_DESC, EVENT_IDX, VERSION_1, RING_PACKED, IN_ORDER, MRG_RXBUF, MQ, and the protocol's own. */
#define FEATURES                                                                                                       \
	(BIT(28) | BIT(29) | BIT(32) | BIT(34) | BIT(35) | BIT(15) | BIT(22) | BIT(RP_VHU_F_PROTOCOL_FEATURES_BIT) |   \
	 BIT(RP_VHU_F_LOG_ALL_BIT))

/* What lib/port has elsewhere, and software.h does not need more of. */
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

/* No guest with an IOMMU. */
bool
port_iommu_is_on(const struct rp_port *port)
{
	(void)port;
	return false;
}

bool
port_iommu_permits(const struct rp_port *port, uint64_t iova, uint8_t perm)
{
	(void)port, (void)iova, (void)perm;
	return false;
}

int
port_iommu_find(struct rp_port *port, uint64_t iova, uint64_t size_bytes, uint8_t perm, bool ahead, uint64_t *ret_gpa,
		uint64_t *ret_bytes)
{
	(void)port, (void)iova, (void)size_bytes, (void)perm, (void)ahead, (void)ret_gpa, (void)ret_bytes;
	return -EFAULT;
}

bool
port_shadow_logging(const struct rp_port *port)
{
	return (port->features & BIT(RP_VHU_F_LOG_ALL_BIT)) != 0;
}

const char *
rp_port_software_kind_name(enum rp_port_software_kind kind)
{
	return kind == RP_PORT_SOFTWARE_LIBRTE_VHOST ? "librte_vhost" : "specification";
}

static struct small_port *
small_of(struct rp_port *port)
{
	return (struct small_port *)port; /* its first member */
}

static void
note(struct small_port *small, int rc, const struct rp_wire_why *why)
{
	small->request_error = rc;
	if (rc < 0)
		small->why = *why;
	if (rc < 0 && getenv("TEST_PORT_LOG") != NULL)
		fprintf(stderr, "%d: %s\n", rc, why->text);
}

static bool
should_serve(const struct small_port *small, const struct port_queue *queue)
{
	return small->serves && queue->frontend_started && queue->frontend_enabled &&
	       queue->software != PORT_SOFTWARE_RING_UNPROVEN;
}

static void
serve_what_should(struct small_port *small)
{
	struct rp_wire_why why = {0};
	unsigned int i;

	for (i = 0; i < small->port.queues_count; i++)
		if (should_serve(small, &small->port.queues[i]))
			note(small, port_software_serve(&small->port, &small->port.queues[i], &why), &why);
}

void
port_move_software_usable(struct rp_port *port)
{
	small_of(port)->usables++;
	serve_what_should(small_of(port));
}

void
port_move_software_gone(struct rp_port *port)
{
	small_of(port)->gones++;
}

void
port_move_software_proven(struct rp_port *port)
{
	unsigned int i;

	small_of(port)->provens++;
	for (i = 0; i < port->queues_count; i++)
		if (port->queues[i].frontend_started && port->queues[i].software == PORT_SOFTWARE_RING_NONE)
			port_position_from_ring(port, &port->queues[i]);
	serve_what_should(small_of(port));
}

void
port_move_software_config_changed(struct rp_port *port)
{
	small_of(port)->config_changes++;
}

static void
on_event(void *ctx, const struct rp_port_event *event)
{
	struct small_port *small = ctx;
	size_t room = sizeof(small->log) - small->log_used;
	int wrote;

	if (getenv("TEST_PORT_LOG") != NULL)
		fprintf(stderr, "queue %d %s: %s\n", event->queue, event->name, event->text);
	if (event->level <= RP_PORT_EVENT_WARNING)
		snprintf(small->last_words, sizeof(small->last_words), "%s", event->text);
	wrote = snprintf(small->log + small->log_used, room, "\n%s ", event->name);
	if (wrote > 0 && (size_t)wrote < room)
		small->log_used += (size_t)wrote;
}

static const struct rp_port_ops port_ops = {.event = on_event};

static int
on_features(void *ctx, uint64_t features, struct rp_wire_why *why)
{
	struct small_port *small = ctx;
	int rc = port_software_set_features(&small->port, features, why);

	note(small, rc, why);
	if (rc < 0 && rc != -ENOTCONN && rc != -ETIMEDOUT)
		return rc;
	small->port.features = features;
	small->port.features_acked = true;
	return 0;
}

static int
on_region_add(void *ctx, const struct rp_vhu_region *region, struct rp_wire_why *why)
{
	struct small_port *small = ctx;
	const struct rp_dma_mapping mapping = {
		.iova = region->gpa,
		.size_bytes = region->size_bytes,
		.offset_bytes = region->offset_bytes,
		.access_mask = RP_DMA_READ | RP_DMA_WRITE,
		.fd = region->fd,
	};

	return rp_dma_space_map(small->port.memory, &mapping, why);
}

static void
on_region_remove(void *ctx, const struct rp_vhu_region *region)
{
	struct small_port *small = ctx;

	rp_dma_space_unmap(small->port.memory, region->gpa, region->size_bytes, NULL);
}

static int
on_memory(void *ctx, struct rp_wire_why *why)
{
	struct small_port *small = ctx;
	int rc = port_software_set_memory(&small->port, why);

	note(small, rc, why);
	if (rc == 0)
		serve_what_should(small);
	return rc == -ENOTCONN || rc == -ETIMEDOUT ? 0 : rc;
}

static int
on_vring_start(void *ctx, unsigned int index, const struct rp_vhu_vring *vring, struct rp_wire_why *why)
{
	struct small_port *small = ctx;
	struct port_queue *queue = &small->port.queues[index];
	int rc;

	queue->vring = *vring;
	rc = port_position_from_frontend(&small->port, queue, why);
	if (rc < 0)
		return rc;
	queue->kick_fd = vring->kick_fd < 0 ? -1 : rp_wire_fd_dup(vring->kick_fd);
	queue->call_fd = vring->call_fd < 0 ? -1 : rp_wire_fd_dup(vring->call_fd);
	queue->frontend_started = true;
	queue->frontend_enabled = vring->enabled;
	if (queue->software == PORT_SOFTWARE_RING_NONE)
		port_software_ring_started(&small->port, queue);
	if (should_serve(small, queue))
		note(small, port_software_serve(&small->port, queue, why), why);
	return 0;
}

static void
on_vring_stop(void *ctx, unsigned int index, enum rp_vhu_stop stop, uint32_t *ret_base)
{
	struct small_port *small = ctx;
	struct port_queue *queue = &small->port.queues[index];
	struct rp_wire_why why = {0};

	if (queue->software == PORT_SOFTWARE_RING_SERVES)
		note(small, port_software_take(&small->port, &queue, 1, &why), &why);
	queue->frontend_started = false;
	if (stop != RP_VHU_STOP_MEMORY)
		port_software_ring_stopped(&small->port, queue);
	*ret_base = port_position_to_frontend(queue);
	rp_wire_fd_close(&queue->kick_fd);
	rp_wire_fd_close(&queue->call_fd);
}

static int
on_vring_enable(void *ctx, unsigned int index, bool enabled, struct rp_wire_why *why)
{
	struct small_port *small = ctx;
	struct port_queue *queue = &small->port.queues[index];

	queue->frontend_enabled = enabled;
	if (should_serve(small, queue))
		note(small, port_software_serve(&small->port, queue, why), why);
	else if (!enabled && queue->software == PORT_SOFTWARE_RING_SERVES)
		note(small, port_software_take(&small->port, &queue, 1, why), why);
	else if (enabled)
		port_software_ring_started(&small->port, queue);
	return 0;
}

static int
on_vring_call(void *ctx, unsigned int index, int call_fd, struct rp_wire_why *why)
{
	struct small_port *small = ctx;
	struct port_queue *queue = &small->port.queues[index];
	int copy = call_fd < 0 ? -1 : rp_wire_fd_dup(call_fd);

	rp_wire_fd_replace(&queue->call_fd, &copy);
	return port_software_ring_call(&small->port, queue, why);
}

static int
on_vring_kick(void *ctx, unsigned int index, int kick_fd, struct rp_wire_why *why)
{
	struct small_port *small = ctx;
	struct port_queue *queue = &small->port.queues[index];
	int copy = kick_fd < 0 ? -1 : rp_wire_fd_dup(kick_fd);

	rp_wire_fd_replace(&queue->kick_fd, &copy);
	return port_software_ring_kick(&small->port, queue, why);
}

static int
on_vring_log(void *ctx, unsigned int index, bool log_used, uint64_t log_gpa, struct rp_wire_why *why)
{
	struct small_port *small = ctx;

	small->port.queues[index].vring.log_used = log_used;
	small->port.queues[index].vring.log_gpa = log_gpa;
	return port_software_ring_log(&small->port, &small->port.queues[index], why);
}

static void
on_log(void *ctx, struct rp_vhu_log *log)
{
	struct small_port *small = ctx;
	struct rp_wire_why why = {0};

	if (log != NULL)
		note(small, port_software_set_log(&small->port, &why), &why);
}

static void
on_disconnected(void *ctx, const struct rp_wire_why *why)
{
	struct small_port *small = ctx;

	(void)why;
	small->port.features_acked = false;
	small->port.features = 0;
	port_software_frontend_gone(&small->port);
	rp_vhu_endpoint_lost(small->endpoint, rp_wire_clock_ms());
}

static const struct rp_vhu_backend_ops backend_ops = {
	.features = on_features,
	.region_add = on_region_add,
	.region_remove = on_region_remove,
	.memory = on_memory,
	.vring_start = on_vring_start,
	.vring_stop = on_vring_stop,
	.vring_enable = on_vring_enable,
	.vring_call = on_vring_call,
	.vring_kick = on_vring_kick,
	.log = on_log,
	.vring_log = on_vring_log,
	.disconnected = on_disconnected,
};

static void
process(struct small_port *small)
{
	struct rp_port *port = &small->port;
	struct epoll_event event;
	uint64_t now_ms, at_ms;
	int fd = -1;

	while (epoll_wait(port->epoll_fd, &event, 1, 0) == 1) {
		struct port_source *source = event.data.ptr;

		source->ready(port, source);
	}
	if (small->endpoint != NULL && rp_vhu_endpoint_process(small->endpoint, rp_wire_clock_ms(), &fd, NULL) == 0)
		rp_vhu_backend_attach(port->backend, &fd);
	rp_wire_fd_close(&fd);
	if (port->backend != NULL)
		rp_vhu_backend_process(port->backend);
	/* As a timer would. */
	now_ms = rp_wire_clock_ms();
	at_ms = port_software_deadline(port);
	if (at_ms != 0 && now_ms >= at_ms)
		port_software_tick(port, now_ms);
}

static void *
run(void *ctx)
{
	struct small_port *small = ctx;
	bool stop = false;

	while (!stop) {
		struct pollfd wait[2] = {{.fd = small->port.epoll_fd, .events = POLLIN}, {.fd = -1, .events = POLLIN}};

		pthread_mutex_lock(&small->lock);
		process(small);
		if (small->port.backend != NULL)
			wait[1].fd = rp_vhu_backend_fd(small->port.backend);
		stop = small->stop;
		pthread_mutex_unlock(&small->lock);
		poll(wait, 2, POLL_MS);
	}
	return NULL;
}

void
small_port_open(struct small_port *small, const struct rp_port_software_config *config)
{
	struct rp_wire_why why = {0};

	memset(small, 0, sizeof(*small));
	pthread_mutex_init(&small->lock, NULL);
	small->port.ops = &port_ops;
	small->port.ctx = small;
	snprintf(small->port.name, sizeof(small->port.name), "small");
	small->port.epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	assert_true(small->port.epoll_fd >= 0);
	assert_int_equal(rp_dma_space_create(NULL, &small->port.memory), 0);
	if (port_software_open(&small->port, config, &why) < 0)
		fail_msg("port_software_open: %s", why.text);
	assert_int_equal(pthread_create(&small->thread, NULL, run, small), 0);
}

void
small_port_listen(struct small_port *small, const char *path, unsigned int queues_count)
{
	const struct rp_vhu_endpoint_config endpoint = {.path = path, .mode = RP_VHU_ENDPOINT_SERVER};
	struct rp_vhu_backend_config config = {
		.protocol_features =
			BIT(RP_VHU_PF_MQ_BIT) | BIT(RP_VHU_PF_REPLY_ACK_BIT) | BIT(RP_VHU_PF_LOG_SHMFD_BIT),
		.queues_max = (uint16_t)queues_count,
	};
	struct rp_wire_why why = {0};
	unsigned int i;

	if (!small_port_wait_usable(small, true, LIMIT_MS))
		fail_msg("the software backend is not usable: %s", small_port_info(small).reason);
	pthread_mutex_lock(&small->lock);
	config.features = port_software_features(&small->port) & FEATURES;
	small->port.queues = calloc(queues_count, sizeof(*small->port.queues));
	assert_non_null(small->port.queues);
	small->port.queues_count = queues_count;
	for (i = 0; i < queues_count; i++) {
		small->port.queues[i].index = i;
		small->port.queues[i].kick_fd = small->port.queues[i].call_fd = -1;
	}
	if (rp_vhu_backend_create(&config, &backend_ops, small, &small->port.backend, &why) < 0)
		fail_msg("rp_vhu_backend_create: %s", why.text);
	if (rp_vhu_endpoint_create(&endpoint, &small->endpoint, &why) < 0)
		fail_msg("rp_vhu_endpoint_create: %s", why.text);
	pthread_mutex_unlock(&small->lock);
}

void
small_port_close(struct small_port *small)
{
	pthread_mutex_lock(&small->lock);
	small->stop = true;
	pthread_mutex_unlock(&small->lock);
	pthread_join(small->thread, NULL);
	small->port.backend = rp_vhu_backend_destroy(small->port.backend);
	small->endpoint = rp_vhu_endpoint_destroy(small->endpoint);
	port_software_close(&small->port);
	rp_dma_space_destroy(small->port.memory);
	free(small->port.queues);
	rp_wire_fd_close(&small->port.epoll_fd);
	pthread_mutex_destroy(&small->lock);
}

int
small_port_serve(struct small_port *small, unsigned int queue)
{
	int rc;

	pthread_mutex_lock(&small->lock);
	rc = port_software_serve(&small->port, &small->port.queues[queue], &small->why);
	pthread_mutex_unlock(&small->lock);
	return rc;
}

unsigned int
small_port_serve_together(struct small_port *small, unsigned int queue, unsigned int queues_count)
{
	struct port_queue *queues[RP_VHU_QUEUES_MAX];
	unsigned int i, served_count;

	pthread_mutex_lock(&small->lock);
	for (i = 0; i < queues_count; i++)
		queues[i] = &small->port.queues[queue + i];
	small->why.error = 0;
	port_software_serve_together(&small->port, queues, queues_count, &served_count, &small->why);
	pthread_mutex_unlock(&small->lock);
	return served_count;
}

void
small_port_announce(struct small_port *small, unsigned int queues_count)
{
	struct port_queue *queues[RP_VHU_QUEUES_MAX];
	unsigned int i;

	pthread_mutex_lock(&small->lock);
	for (i = 0; i < queues_count; i++) {
		queues[i] = &small->port.queues[i];
		queues[i]->running = i % 2 == 0;
	}
	port_software_announce(&small->port, queues, queues_count);
	for (i = 0; i < queues_count; i++)
		queues[i]->running = false;
	pthread_mutex_unlock(&small->lock);
}

void
small_port_park_hold(struct small_port *small)
{
	pthread_mutex_lock(&small->lock);
	port_software_park_hold(&small->port);
	pthread_mutex_unlock(&small->lock);
}

void
small_port_park_due(struct small_port *small)
{
	pthread_mutex_lock(&small->lock);
	port_software_park_due(&small->port);
	pthread_mutex_unlock(&small->lock);
}

int
small_port_take(struct small_port *small, unsigned int queue, unsigned int queues_count)
{
	struct port_queue *queues[RP_VHU_QUEUES_MAX];
	unsigned int i;
	int rc;

	pthread_mutex_lock(&small->lock);
	for (i = 0; i < queues_count; i++)
		queues[i] = &small->port.queues[queue + i];
	rc = port_software_take(&small->port, queues, queues_count, &small->why);
	pthread_mutex_unlock(&small->lock);
	return rc;
}

enum port_software_ring
small_port_ring(struct small_port *small, unsigned int queue)
{
	enum port_software_ring ring;

	pthread_mutex_lock(&small->lock);
	ring = small->port.queues[queue].software;
	pthread_mutex_unlock(&small->lock);
	return ring;
}

uint32_t
small_port_position(struct small_port *small, unsigned int queue)
{
	uint32_t position;

	pthread_mutex_lock(&small->lock);
	position = small->port.queues[queue].position;
	pthread_mutex_unlock(&small->lock);
	return position;
}

void
small_port_set_position(struct small_port *small, unsigned int queue, uint32_t position)
{
	pthread_mutex_lock(&small->lock);
	small->port.queues[queue].position = position;
	pthread_mutex_unlock(&small->lock);
}

struct rp_port_software_info
small_port_info(struct small_port *small)
{
	struct rp_port_software_info info;

	pthread_mutex_lock(&small->lock);
	port_software_get_info(&small->port, &info);
	pthread_mutex_unlock(&small->lock);
	return info;
}

unsigned int
small_port_events(struct small_port *small, const char *name)
{
	unsigned int count = 0;
	const char *at;
	char word[64];

	snprintf(word, sizeof(word), "\n%s ", name);
	pthread_mutex_lock(&small->lock);
	for (at = small->log; (at = strstr(at, word)) != NULL; at += strlen(word) - 1)
		count++;
	pthread_mutex_unlock(&small->lock);
	return count;
}

bool
small_port_wait_ring(struct small_port *small, unsigned int queue, enum port_software_ring ring, unsigned int limit_ms)
{
	uint64_t deadline_ms = rp_wire_clock_ms() + limit_ms;

	while (small_port_ring(small, queue) != ring) {
		if (rp_wire_clock_ms() >= deadline_ms)
			return false;
		usleep(500);
	}
	return true;
}

bool
small_port_wait_usable(struct small_port *small, bool usable, unsigned int limit_ms)
{
	uint64_t deadline_ms = rp_wire_clock_ms() + limit_ms;

	while (small_port_info(small).usable != usable) {
		if (rp_wire_clock_ms() >= deadline_ms)
			return false;
		usleep(500);
	}
	return true;
}
