/* SPDX-License-Identifier: BSD-3-Clause */
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "rp_vring_position.h"
#include "rp_wire_fd.h"
#include "rp_wire_socket.h"
#include "storm.h"

#define QUEUE_BYTES 0x100000ull
#define RING_ROOM_BYTES 0x10000u
#define PLUGGED_BYTES 0x200000u
#define LIMIT_MS 60000
#define OK(station, call) require(station, call, &why, #call)

static void
require(const struct station *station, int rc, const struct rp_wire_why *why, const char *call)
{
	if (rc < 0)
		storm_die("%s: %.60s: %d: %s", station->name, call, rc, why->text);
}

static int
on_notify_area(void *ctx, unsigned int index, const struct rp_vhu_notify_map *map, struct rp_wire_why *why)
{
	struct station *station = ctx;
	struct station_queue *queue = &station->queues[index];

	(void)why;
	pthread_mutex_lock(&queue->doorbell_lock);
	queue->doorbell = map->address;
	pthread_mutex_unlock(&queue->doorbell_lock);
	return 0;
}

static void
on_disconnected(void *ctx, const struct rp_wire_why *why)
{
	const struct station *station = ctx;

	storm_die("%s: the backend left: %s", station->name, why->text);
}

static const struct rp_vhu_frontend_ops frontend_ops = {
	.notify_area = on_notify_area,
	.disconnected = on_disconnected,
};

static void
memory_open(struct station *station)
{
	station->memory_bytes = station->queues_count * QUEUE_BYTES;
	station->memory_fd = memfd_create(station->name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (station->memory_fd < 0 || ftruncate(station->memory_fd, (off_t)station->memory_bytes) < 0)
		storm_die("memfd");
	station->memory = mmap(NULL, station->memory_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, station->memory_fd, 0);
	if (station->memory == MAP_FAILED)
		storm_die("mmap");
}

static void
ring_open(struct station *station, unsigned int index)
{
	struct station_queue *queue = &station->queues[index];
	uint64_t offset = index * QUEUE_BYTES;
	uint16_t i;

	if (rp_vring_drv_create(STATION_RING_NUM, station->memory + offset, STATION_GPA + offset, station->features,
				&queue->ring) < 0)
		storm_die("rp_vring_drv_create");
	queue->used_total = 0;
	queue->awake = true;
	queue->away_count = 0;
	queue->parts_due = 0;
	queue->free_count = STATION_RING_NUM;
	queue->out_head = queue->out_count = 0;
	memset(queue->written, 0, sizeof(queue->written));
	memset(queue->away, 0, sizeof(queue->away));
	for (i = 0; i < STATION_RING_NUM; i++)
		queue->free_buffers[i] = i;
}

static void
eventfds_open(struct station_queue *queue)
{
	pthread_mutex_init(&queue->doorbell_lock, NULL);
	queue->kick_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	queue->call_fds[0] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	queue->call_fds[1] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (queue->kick_fd < 0 || queue->call_fds[0] < 0 || queue->call_fds[1] < 0)
		storm_die("eventfd");
}

void
station_set_memory(struct station *station)
{
	struct rp_wire_why why = {0};
	struct rp_vhu_region regions[2] = {
		{
			.gpa = STATION_GPA,
			.size_bytes = station->memory_bytes,
			.uva = (uint64_t)(uintptr_t)station->memory,
			.fd = station->memory_fd,
		},
		{
			.gpa = STATION_PLUGGED_GPA,
			.size_bytes = PLUGGED_BYTES,
			.uva = (uint64_t)(uintptr_t)station->plugged,
			.fd = station->plugged_fd,
		},
	};

	OK(station, rp_vhu_frontend_set_mem_table(station->frontend, regions, station->plugged != NULL ? 2 : 1, &why));
}

void
station_plug(struct station *station, bool plugged)
{
	if (plugged) {
		station->plugged_fd = memfd_create("plugged", MFD_CLOEXEC);
		if (station->plugged_fd < 0 || ftruncate(station->plugged_fd, PLUGGED_BYTES) < 0)
			storm_die("memfd");
		station->plugged =
			mmap(NULL, PLUGGED_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, station->plugged_fd, 0);
		if (station->plugged == MAP_FAILED)
			storm_die("mmap");
		station_set_memory(station);
		return;
	}
	munmap(station->plugged, PLUGGED_BYTES);
	station->plugged = NULL;
	rp_wire_fd_close(&station->plugged_fd);
	station_set_memory(station);
}

static void
await_backend(const struct station *station, const char *socket_path, int *ret_fd)
{
	struct rp_wire_why why = {0};
	int listen_fd = -1, rc;

	OK(station, rp_wire_socket_listen(socket_path, &listen_fd, &why));
	do {
		struct pollfd wait = {.fd = listen_fd, .events = POLLIN};

		if (poll(&wait, 1, LIMIT_MS) <= 0)
			storm_die("%s: nobody connects to %s", station->name, socket_path);
		rc = rp_wire_socket_accept(listen_fd, ret_fd);
	} while (rc < 0);
	rp_wire_fd_close(&listen_fd);
	unlink(socket_path);
}

static void
negotiate(struct station *station, int *fd)
{
	struct rp_vhu_frontend_config config = {
		/* Who acks STATUS has to use it: librte_vhost waits for DRIVER_OK then. */
		.protocol_features = ~(1ull << RP_VHU_PF_STATUS_BIT),
		.queues_max = (uint16_t)station->queues_count,
		.timeout_ms = 30000,
		.deaf_while_waiting = true,
		.need_reply_always = station->options.replies,
	};
	struct rp_wire_why why = {0};

	OK(station, rp_vhu_frontend_create(fd, &config, &frontend_ops, station, &station->frontend));
	OK(station, rp_vhu_frontend_negotiate(station->frontend, &why));
}

void
station_reconnect(struct station *station, const char *socket_path)
{
	struct rp_wire_why why = {0};
	int fd = -1;

	station->frontend = rp_vhu_frontend_destroy(station->frontend);
	OK(station, rp_wire_socket_connect(socket_path, &fd, &why));
	negotiate(station, &fd);
}

void
station_open(struct station *station, const char *name, const char *socket_path, unsigned int queues_count,
	     const struct station_options *options)
{
	struct rp_wire_why why = {0};
	unsigned int i;
	int fd = -1;

	memset(station, 0, sizeof(*station));
	station->name = name;
	station->queues_count = queues_count;
	station->plugged_fd = -1;
	station->options = *options;
	pthread_mutex_init(&station->lock, NULL);
	if (options->listens)
		await_backend(station, socket_path, &fd);
	else
		OK(station, rp_wire_socket_connect(socket_path, &fd, &why));
	negotiate(station, &fd);
	station->features = rp_vhu_frontend_features_offered(station->frontend) & options->features;
	OK(station, rp_vhu_frontend_set_features(station->frontend, station->features, &why));
	memory_open(station);
	station_set_memory(station);
	for (i = 0; i < queues_count; i++) {
		eventfds_open(&station->queues[i]);
		ring_open(station, i);
	}
}

void
station_close(struct station *station)
{
	unsigned int i;

	station->frontend = rp_vhu_frontend_destroy(station->frontend);
	for (i = 0; i < station->queues_count; i++) {
		station->queues[i].ring = rp_vring_drv_destroy(station->queues[i].ring);
		rp_wire_fd_close(&station->queues[i].kick_fd);
		rp_wire_fd_close(&station->queues[i].call_fds[0]);
		rp_wire_fd_close(&station->queues[i].call_fds[1]);
	}
	if (station->plugged != NULL)
		munmap(station->plugged, PLUGGED_BYTES);
	rp_wire_fd_close(&station->plugged_fd);
	munmap(station->memory, station->memory_bytes);
	rp_wire_fd_close(&station->memory_fd);
}

struct rp_vhu_frontend_ring
station_ring(struct station *station, unsigned int index, uint32_t base)
{
	struct station_queue *queue = &station->queues[index];
	uint64_t uva = (uint64_t)(uintptr_t)station->memory - STATION_GPA;
	struct rp_vring_layout layout;

	rp_vring_drv_layout(queue->ring, &layout);
	return (struct rp_vhu_frontend_ring){
		.num = layout.num,
		.base = base,
		.desc_uva = layout.desc_iova + uva,
		.avail_uva = layout.avail_iova + uva,
		.used_uva = layout.used_iova + uva,
		.kick_fd = queue->kick_fd,
		.call_fd = queue->call_fds[queue->call_now],
		.flags = station->logging ? RP_VHU_VRING_ADDR_LOG_MASK : 0,
		.log_gpa = station->logging ? layout.used_iova : 0,
	};
}

void
station_start(struct station *station, unsigned int index, uint32_t base)
{
	struct rp_vhu_frontend_ring ring = station_ring(station, index, base);
	struct rp_wire_why why = {0};

	OK(station, rp_vhu_frontend_ring_start(station->frontend, index, &ring, &why));
	station->queues[index].started = true;
}

void
station_enable(struct station *station, unsigned int index, bool enabled)
{
	struct rp_wire_why why = {0};

	OK(station, rp_vhu_frontend_ring_enable(station->frontend, index, enabled, &why));
}

void
station_swap_call(struct station *station, unsigned int index)
{
	struct station_queue *queue = &station->queues[index];
	struct rp_wire_why why = {0};

	/* The driver listens to both. */
	queue->call_now = 1 - queue->call_now;
	OK(station, rp_vhu_frontend_ring_call(station->frontend, index, queue->call_fds[queue->call_now], &why));
}

uint32_t
station_stop(struct station *station, unsigned int index)
{
	struct rp_wire_why why = {0};
	uint32_t base = 0;

	OK(station, rp_vhu_frontend_ring_stop(station->frontend, index, &base, &why));
	station->queues[index].started = false;
	return base;
}

void
station_start_all(struct station *station)
{
	unsigned int i;

	for (i = 0; i < station->queues_count; i++)
		station_start(station, i, rp_vring_position_fresh(station->features));
	for (i = 0; i < station->queues_count; i++)
		station_enable(station, i, true);
}

void
station_renew(struct station *station)
{
	uint8_t *memory = station->memory;
	uint64_t memory_bytes = station->memory_bytes;
	int memory_fd = station->memory_fd;
	struct rp_wire_why why = {0};
	unsigned int i;

	for (i = 0; i < station->queues_count; i++)
		station->queues[i].ring = rp_vring_drv_destroy(station->queues[i].ring);
	memory_open(station);
	for (i = 0; i < station->queues_count; i++)
		ring_open(station, i);
	OK(station, rp_vhu_frontend_set_features(station->frontend, station->features, &why));
	station_set_memory(station);
	munmap(memory, memory_bytes);
	rp_wire_fd_close(&memory_fd);
}

uint32_t
station_position(const struct station *station, unsigned int index)
{
	uint64_t total = station->queues[index].used_total;
	uint32_t half;

	if ((station->features & (1ull << RP_VHU_F_RING_PACKED_BIT)) == 0)
		return (uint16_t)total;
	half = (uint32_t)(total % STATION_RING_NUM) | (total / STATION_RING_NUM % 2 == 0 ? 0x8000u : 0);
	return half << 16 | half;
}
