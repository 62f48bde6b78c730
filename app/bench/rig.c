/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include <linux/virtio_config.h>
#include <rte_lcore.h>
#include <rte_pause.h>

#include "rig.h"
#include "rp_virtio.h"
#include "rp_wire_fd.h"
#include "rp_wire_socket.h"

#define GPA 0x40000000ull
#define RING_BYTES 0x10000u
#define PACKET_OFFSET (RIG_QUEUES * RING_BYTES)
#define MEMORY_BYTES (PACKET_OFFSET + 0x10000u)
#define HEADER_BYTES 12u /* struct virtio_net_hdr_v1 */
#define PACKET_BYTES 64u
#define SWITCH_LIMIT_NS 5000000000ull
#define USED_LIMIT_NS 1000000000ull
/* The port drains the kick eventfd once, 20 ms after a doorbell was mapped. */
#define SETTLE_US 50000u

static int
complain(const char *what, int rc, const struct rp_wire_why *why)
{
	if (rc < 0)
		fprintf(stderr, "ringpass-bench: %s: %s\n", what,
			why != NULL && why->text[0] != '\0' ? why->text : strerror(-rc));
	return rc;
}

static void *
device_main(void *ctx)
{
	struct rig *rig = ctx;
	enum rig_task task;

	if (place_pin(rig->options->device_cpu) < 0 || rte_thread_register() < 0)
		abort();
	while ((task = __atomic_load_n(&rig->task, __ATOMIC_ACQUIRE)) != RIG_TASK_STOP) {
		if (task == RIG_TASK_ECHO)
			place_echo(&rig->probe);
		else
			softaccel_poll(rig->accel);
	}
	rte_thread_unregister();
	return NULL;
}

static void *
control_main(void *ctx)
{
	struct rig *rig = ctx;
	struct pollfd wait[2] = {
		{.fd = softaccel_fd(rig->accel), .events = POLLIN},
		{.fd = rig->control_stop_fd, .events = POLLIN},
	};

	do {
		softaccel_process(rig->accel);
		poll(wait, 2, -1);
	} while (wait[1].revents == 0);
	return NULL;
}

static void *
port_main(void *ctx)
{
	struct rig *rig = ctx;
	struct pollfd wait[2] = {
		{.fd = rp_port_fd(rig->port), .events = POLLIN},
		{.fd = rig->port_fd, .events = POLLIN},
	};
	eventfd_t told;

	while (!__atomic_load_n(&rig->port_stop, __ATOMIC_ACQUIRE)) {
		poll(wait, 2, -1);
		if (wait[0].revents != 0)
			rp_port_process(rig->port);
		if (wait[1].revents != 0 && eventfd_read(rig->port_fd, &told) == 0)
			rp_port_queue_doorbell(rig->port, RIG_TX, __atomic_load_n(&rig->policy, __ATOMIC_ACQUIRE),
					       NULL);
	}
	return NULL;
}

static int
accelerator_open(struct rig *rig)
{
	struct softaccel_function_config config = {
		.socket_path = rig->socket_device,
		.queue_pairs = 1,
		.queue_size = RIG_RING_NUM,
		.mac = {0x52, 0x54, 0, 0, 0, 1},
	};
	struct softaccel_function *function;
	struct rp_wire_why why = {0};
	int rc = softaccel_create(&(struct softaccel_config){.mbufs_count = 2048}, NULL, NULL, &rig->accel, &why);

	if (rc == 0)
		rc = softaccel_function_add(rig->accel, &config, &function, &why);
	if (rc == 0)
		rc = -pthread_create(&rig->device_thread, NULL, device_main, rig);
	rig->device_runs = rc == 0;
	if (rc == 0)
		rc = -pthread_create(&rig->control_thread, NULL, control_main, rig);
	rig->control_runs = rc == 0;
	return complain("softaccel", rc, &why);
}

static int
port_open(struct rig *rig)
{
	static const struct rp_accel_driver *const drivers[] = {&rp_virtio_vfio_user_driver, NULL};
	static const struct rp_accel_registry registry = {.drivers = drivers};
	static const struct rp_port_ops ops;
	char arguments[96];
	const char *accelerators[1] = {arguments};
	struct rp_port_config config = {
		.name = "bench",
		.socket_path = rig->socket_port,
		.accelerators = accelerators,
		.accelerators_count = 1,
		.doorbell_delay_ms = 1,
	};
	struct rp_wire_why why = {0};
	int rc;

	snprintf(arguments, sizeof(arguments), "vfio-user,socket=%s", rig->socket_device);
	rc = rp_port_create(&config, &registry, &ops, NULL, &rig->port, &why);
	if (rc == 0)
		rc = -pthread_create(&rig->port_thread, NULL, port_main, rig);
	rig->port_runs = rc == 0;
	return complain("port", rc, &why);
}

static int
ring_open(struct rig *rig, unsigned int queue, uint64_t features, struct rp_wire_why *why)
{
	uint64_t offset = (uint64_t)queue * RING_BYTES, uva = (uint64_t)(uintptr_t)rig->memory - GPA;
	struct rp_vhu_frontend_ring ring;
	struct rp_vring_layout layout;
	int rc = rp_vring_drv_create(RIG_RING_NUM, rig->memory + offset, GPA + offset, features, &rig->rings[queue]);

	if (rc < 0)
		return rc;
	rp_vring_drv_set_interrupt(rig->rings[queue], false);
	rp_vring_drv_layout(rig->rings[queue], &layout);
	ring = (struct rp_vhu_frontend_ring){
		.num = layout.num,
		.base = rp_vring_position_fresh(features),
		.desc_uva = layout.desc_iova + uva,
		.avail_uva = layout.avail_iova + uva,
		.used_uva = layout.used_iova + uva,
		.kick_fd = rig->kick_fds[queue],
		.call_fd = -1,
	};
	rc = rp_vhu_frontend_ring_start(rig->frontend, queue, &ring, why);
	return rc < 0 ? rc : rp_vhu_frontend_ring_enable(rig->frontend, queue, true, why);
}

static int
guest_connect(struct rig *rig, struct rp_wire_why *why)
{
	const struct rp_vhu_frontend_config config = {.protocol_features = UINT64_MAX, .queues_max = RIG_QUEUES};
	static const struct rp_vhu_frontend_ops ops;
	int fd = -1, rc = rp_wire_socket_connect(rig->socket_port, &fd, why);

	if (rc == 0)
		rc = rp_vhu_frontend_create(&fd, &config, &ops, rig, &rig->frontend);
	rp_wire_fd_close(&fd);
	return rc < 0 ? rc : rp_vhu_frontend_negotiate(rig->frontend, why);
}

static int
guest_open(struct rig *rig)
{
	struct rp_vhu_region region = {.gpa = GPA, .size_bytes = MEMORY_BYTES, .fd = rig->memory_fd};
	struct rp_wire_why why = {0};
	unsigned int queue;
	uint64_t features;
	int rc;

	if (ftruncate(rig->memory_fd, MEMORY_BYTES) < 0)
		return complain("guest memory", -errno, NULL);
	rig->memory = mmap(NULL, MEMORY_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, rig->memory_fd, 0);
	if (rig->memory == MAP_FAILED)
		return complain("guest memory", -errno, NULL);
	region.uva = (uint64_t)(uintptr_t)rig->memory;
	rc = guest_connect(rig, &why);
	if (rc < 0)
		return complain("guest", rc, &why);
	/* Split, whatever else there is: figures of one format are compared with each other. */
	features = rp_vhu_frontend_features_offered(rig->frontend) & ~(1ull << VIRTIO_F_RING_PACKED);
	rc = rp_vhu_frontend_set_features(rig->frontend, features, &why);
	if (rc == 0)
		rc = rp_vhu_frontend_set_mem_table(rig->frontend, &region, 1, &why);
	for (queue = 0; rc == 0 && queue < RIG_QUEUES; queue++)
		rc = ring_open(rig, queue, features, &why);
	return complain("guest", rc, &why);
}

int
rig_open(struct rig *rig, const struct bench_options *options)
{
	unsigned int queue;
	int rc;

	memset(rig, 0, sizeof(*rig));
	rig->options = options;
	rig->memory = MAP_FAILED;
	rig->control_stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	rig->port_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	rig->memory_fd = memfd_create("bench-guest", MFD_CLOEXEC);
	for (queue = 0; queue < RIG_QUEUES; queue++)
		rig->kick_fds[queue] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	snprintf(rig->directory, sizeof(rig->directory), "/tmp/ringpass-bench.XXXXXX");
	if (mkdtemp(rig->directory) == NULL) {
		rc = complain(rig->directory, -errno, NULL);
		rig->directory[0] = '\0';
		return rc;
	}
	snprintf(rig->socket_device, sizeof(rig->socket_device), "%s/device", rig->directory);
	snprintf(rig->socket_port, sizeof(rig->socket_port), "%s/port", rig->directory);
	/* Threads inherit it; those with another place say so themselves. */
	rc = complain("guest CPU", place_pin(options->guest_cpu), NULL);
	if (rc == 0)
		rc = accelerator_open(rig);
	if (rc == 0)
		rc = port_open(rig);
	return rc == 0 ? guest_open(rig) : rc;
}

void
rig_close(struct rig *rig)
{
	unsigned int queue;

	rig->frontend = rp_vhu_frontend_destroy(rig->frontend);
	__atomic_store_n(&rig->port_stop, true, __ATOMIC_RELEASE);
	eventfd_write(rig->port_fd, 1);
	if (rig->port_runs)
		pthread_join(rig->port_thread, NULL);
	rig->port = rp_port_destroy(rig->port);
	/* The control side waits for the data path at its gate: it ends first. */
	eventfd_write(rig->control_stop_fd, 1);
	if (rig->control_runs)
		pthread_join(rig->control_thread, NULL);
	__atomic_store_n(&rig->task, RIG_TASK_STOP, __ATOMIC_RELEASE);
	if (rig->device_runs)
		pthread_join(rig->device_thread, NULL);
	rig->accel = softaccel_destroy(rig->accel);
	for (queue = 0; queue < RIG_QUEUES; queue++)
		rig->rings[queue] = rp_vring_drv_destroy(rig->rings[queue]);
	if (rig->memory != MAP_FAILED)
		munmap(rig->memory, MEMORY_BYTES);
	rp_wire_fd_close_all(rig->kick_fds, RIG_QUEUES);
	rp_wire_fd_close(&rig->memory_fd);
	rp_wire_fd_close(&rig->port_fd);
	rp_wire_fd_close(&rig->control_stop_fd);
	if (rig->directory[0] != '\0')
		rmdir(rig->directory);
}

int
rig_kick_directly(struct rig *rig, bool direct)
{
	uint64_t deadline_ns = bench_now_ns() + SWITCH_LIMIT_NS;

	__atomic_store_n(&rig->policy, direct ? RP_PORT_DOORBELL_AUTO : RP_PORT_DOORBELL_RELAY, __ATOMIC_RELEASE);
	eventfd_write(rig->port_fd, 1);
	while ((rp_vhu_frontend_notify_map(rig->frontend, RIG_TX).address != NULL) != direct) {
		if (bench_now_ns() > deadline_ns)
			return complain(direct ? "doorbell, to be mapped" : "doorbell, to be revoked", -ETIMEDOUT,
					NULL);
		rp_vhu_frontend_process(rig->frontend);
		usleep(200);
	}
	usleep(SETTLE_US);
	return 0;
}

double
rig_hop_ns(struct rig *rig)
{
	double hop_ns;

	__atomic_store_n(&rig->task, RIG_TASK_ECHO, __ATOMIC_RELEASE);
	hop_ns = place_hop_ns(&rig->probe);
	__atomic_store_n(&rig->task, RIG_TASK_SERVE, __ATOMIC_RELEASE);
	return hop_ns;
}

int
rig_packet_add(struct rig *rig)
{
	const struct rp_vring_part part = {.iova = GPA + PACKET_OFFSET, .size_bytes = HEADER_BYTES + PACKET_BYTES};
	int rc;

	memset(rig->memory + PACKET_OFFSET, 0, HEADER_BYTES);
	memset(rig->memory + PACKET_OFFSET + HEADER_BYTES, 0x02, PACKET_BYTES);
	rc = rp_vring_drv_add(rig->rings[RIG_TX], &part, 1, rig);
	return rc < 0 ? rc : rp_vring_drv_needs_kick(rig->rings[RIG_TX]);
}

int
rig_packet_wait(struct rig *rig)
{
	uint64_t deadline_ns = bench_now_ns() + USED_LIMIT_NS;
	uint32_t written_bytes, spins;
	void *cookie;
	int rc;

	for (spins = 1; (rc = rp_vring_drv_get(rig->rings[RIG_TX], &cookie, &written_bytes)) == 0; spins++) {
		if (spins % 4096 == 0 && bench_now_ns() > deadline_ns)
			return complain("packet", -ETIMEDOUT, NULL);
		rte_pause();
	}
	return rc < 0 ? complain("packet", rc, NULL) : 0;
}
