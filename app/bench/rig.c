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
#include <rte_pause.h>

#include "rig.h"
#include "rp_virtio.h"
#include "rp_wire_fd.h"
#include "rp_wire_socket.h"

#define GPA 0x40000000ull
#define RING_BYTES 0x10000u
#define PACKET_BYTES_MAX 0x10000u
#define HEADER_BYTES 12u /* struct virtio_net_hdr_v1 */
#define PACKET_BYTES 64u
#define SWITCH_LIMIT_NS 60000000000ull
#define USED_LIMIT_NS 60000000000ull
/* The port drains the kick eventfd once, 20 ms after a doorbell was mapped. */
#define SETTLE_US 50000u

int
rig_complain(const char *what, int rc, const struct rp_wire_why *why)
{
	if (rc < 0)
		fprintf(stderr, "ringpass-bench: %s: %s\n", what,
			why != NULL && why->text[0] != '\0' ? why->text : strerror(-rc));
	return rc;
}

static size_t
packet_offset(const struct rig *rig)
{
	return (size_t)rig->config.queues_count * RING_BYTES;
}

static size_t
memory_bytes(const struct rig *rig)
{
	return packet_offset(rig) + PACKET_BYTES_MAX;
}

static void *
device_main(void *ctx)
{
	struct rig *rig = ctx;
	const struct rig_device *device = rig->config.device;
	enum rig_task task;

	if (device->begin != NULL && device->begin(rig) < 0)
		abort();
	while ((task = __atomic_load_n(&rig->task, __ATOMIC_ACQUIRE)) != RIG_TASK_STOP) {
		if (task == RIG_TASK_ECHO)
			place_echo(&rig->probe);
		else
			device->serve(rig);
	}
	if (device->end != NULL)
		device->end(rig);
	return NULL;
}

static void
process_device(void *ctx)
{
	struct rig *rig = ctx;

	rig->config.device->process(rig);
}

static void *
port_main(void *ctx)
{
	struct rig *rig = ctx;
	struct pollfd wait[2] = {
		{.fd = rp_port_fd(rig->port), .events = POLLIN},
		{.fd = rig->port_fd, .events = POLLIN},
	};
	unsigned int queue;
	eventfd_t told;

	place_before_spinners();
	while (!__atomic_load_n(&rig->port_stop, __ATOMIC_ACQUIRE)) {
		poll(wait, 2, -1);
		if (wait[0].revents != 0)
			rp_port_process(rig->port);
		if (wait[1].revents == 0 || eventfd_read(rig->port_fd, &told) < 0)
			continue;
		for (queue = rig->wanted.first; queue < rig->config.queues_count; queue += rig->wanted.step)
			rp_port_queue_doorbell(rig->port, queue, __atomic_load_n(&rig->policy, __ATOMIC_ACQUIRE), NULL);
	}
	return NULL;
}

static int
device_open(struct rig *rig)
{
	struct rp_wire_why why = {0};
	int rc;

	rig->device_opened = true;
	rc = rig->config.device->open(rig, &why);
	if (rc == 0)
		rc = place_start(&rig->device_thread, rig->options->device_cpu, device_main, rig);
	rig->device_runs = rc == 0;
	if (rc == 0)
		rc = sleeper_start(&rig->control, rig->config.device->fd(rig), process_device, rig);
	return rig_complain("device", rc, &why);
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
		.queue_pairs = (uint16_t)(rig->config.queues_count / 2),
		/* The guest drops no doorbell; it is us who take them away, and give them back. */
		.doorbell_delay_ms = 1,
		.doorbell_delay_max_ms = 1,
	};
	struct rp_wire_why why = {0};
	int rc;

	snprintf(arguments, sizeof(arguments), "vfio-user,socket=%s", rig->socket_device);
	rc = rp_port_create(&config, &registry, &ops, NULL, &rig->port, &why);
	if (rc == 0)
		rc = -pthread_create(&rig->port_thread, NULL, port_main, rig);
	rig->port_runs = rc == 0;
	return rig_complain("port", rc, &why);
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
	rp_vring_drv_set_interrupt(rig->rings[queue], rig->config.interrupts);
	rp_vring_drv_layout(rig->rings[queue], &layout);
	ring = (struct rp_vhu_frontend_ring){
		.num = layout.num,
		.base = rp_vring_position_fresh(features),
		.desc_uva = layout.desc_iova + uva,
		.avail_uva = layout.avail_iova + uva,
		.used_uva = layout.used_iova + uva,
		.kick_fd = rig->kick_fds[queue],
		.call_fd = rig->config.interrupts ? rig->call_fds[queue] : -1,
	};
	rc = rp_vhu_frontend_ring_start(rig->frontend, queue, &ring, why);
	return rc < 0 ? rc : rp_vhu_frontend_ring_enable(rig->frontend, queue, true, why);
}

static int
guest_connect(struct rig *rig, struct rp_wire_why *why)
{
	const struct rp_vhu_frontend_config config = {.protocol_features = UINT64_MAX, .queues_max = RIG_QUEUES_MAX};
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
	struct rp_vhu_region region = {.gpa = GPA, .size_bytes = memory_bytes(rig), .fd = rig->memory_fd};
	struct rp_wire_why why = {0};
	unsigned int queue;
	uint64_t features;
	int rc;

	if (ftruncate(rig->memory_fd, (off_t)memory_bytes(rig)) < 0)
		return rig_complain("guest memory", -errno, NULL);
	rig->memory = mmap(NULL, memory_bytes(rig), PROT_READ | PROT_WRITE, MAP_SHARED, rig->memory_fd, 0);
	if (rig->memory == MAP_FAILED)
		return rig_complain("guest memory", -errno, NULL);
	region.uva = (uint64_t)(uintptr_t)rig->memory;
	rc = guest_connect(rig, &why);
	if (rc < 0)
		return rig_complain("guest", rc, &why);
	/* Split, whatever else there is: figures of one format are compared with each other. */
	features = rp_vhu_frontend_features_offered(rig->frontend) & ~(1ull << VIRTIO_F_RING_PACKED);
	rc = rp_vhu_frontend_set_features(rig->frontend, features, &why);
	if (rc == 0)
		rc = rp_vhu_frontend_set_mem_table(rig->frontend, &region, 1, &why);
	for (queue = 0; rc == 0 && queue < rig->config.queues_count; queue++)
		rc = ring_open(rig, queue, features, &why);
	return rig_complain("guest", rc, &why);
}

int
rig_open(struct rig *rig, const struct rig_config *config, const struct bench_options *options)
{
	unsigned int queue;
	int rc;

	memset(rig, 0, sizeof(*rig));
	rig->options = options;
	rig->config = *config;
	rig->memory = MAP_FAILED;
	rig->port_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	rig->memory_fd = memfd_create("bench-guest", MFD_CLOEXEC);
	for (queue = 0; queue < RIG_QUEUES_MAX; queue++)
		rig->kick_fds[queue] = rig->call_fds[queue] = -1;
	for (queue = 0; queue < config->queues_count; queue++) {
		rig->kick_fds[queue] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		rig->call_fds[queue] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	}
	snprintf(rig->directory, sizeof(rig->directory), "/tmp/ringpass-bench.XXXXXX");
	if (mkdtemp(rig->directory) == NULL) {
		rc = rig_complain(rig->directory, -errno, NULL);
		rig->directory[0] = '\0';
		return rc;
	}
	snprintf(rig->socket_device, sizeof(rig->socket_device), "%s/device", rig->directory);
	snprintf(rig->socket_port, sizeof(rig->socket_port), "%s/port", rig->directory);
	/* Threads inherit it; those with another place say so themselves. */
	rc = rig_complain("guest CPU", place_pin(options->guest_cpu), NULL);
	if (rc == 0)
		rc = device_open(rig);
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
	sleeper_stop(&rig->control);
	__atomic_store_n(&rig->task, RIG_TASK_STOP, __ATOMIC_RELEASE);
	if (rig->device_runs)
		pthread_join(rig->device_thread, NULL);
	if (rig->device_opened)
		rig->config.device->close(rig);
	for (queue = 0; queue < RIG_QUEUES_MAX; queue++)
		rig->rings[queue] = rp_vring_drv_destroy(rig->rings[queue]);
	if (rig->memory != MAP_FAILED)
		munmap(rig->memory, memory_bytes(rig));
	rp_wire_fd_close_all(rig->kick_fds, RIG_QUEUES_MAX);
	rp_wire_fd_close_all(rig->call_fds, RIG_QUEUES_MAX);
	rp_wire_fd_close(&rig->memory_fd);
	rp_wire_fd_close(&rig->port_fd);
	if (rig->directory[0] != '\0')
		rmdir(rig->directory);
}

static bool
kicks_are(const struct rig *rig, struct rig_queues queues, bool direct)
{
	unsigned int queue;

	for (queue = queues.first; queue < rig->config.queues_count; queue += queues.step) {
		if ((rp_vhu_frontend_notify_map(rig->frontend, queue).address != NULL) != direct)
			return false;
	}
	return true;
}

int
rig_kick_some_directly(struct rig *rig, struct rig_queues queues, bool direct)
{
	uint64_t deadline_ns = bench_now_ns() + SWITCH_LIMIT_NS;

	rig->wanted = queues;
	__atomic_store_n(&rig->policy, direct ? RP_PORT_DOORBELL_AUTO : RP_PORT_DOORBELL_RELAY, __ATOMIC_RELEASE);
	eventfd_write(rig->port_fd, 1);
	while (!kicks_are(rig, queues, direct)) {
		if (bench_now_ns() > deadline_ns)
			return rig_complain(direct ? "doorbells, to be mapped" : "doorbells, to be revoked", -ETIMEDOUT,
					    NULL);
		rp_vhu_frontend_process(rig->frontend);
		usleep(200);
	}
	usleep(SETTLE_US);
	return 0;
}

int
rig_kick_directly(struct rig *rig, bool direct)
{
	return rig_kick_some_directly(rig, (struct rig_queues){0, 1}, direct);
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

void
rig_hold(struct rig *rig)
{
	__atomic_store_n(&rig->task, RIG_TASK_ECHO, __ATOMIC_RELEASE);
	/* Who answers the probe does nothing else. */
	(void)place_hop_ns(&rig->probe);
}

void
rig_release(struct rig *rig)
{
	__atomic_store_n(&rig->task, RIG_TASK_SERVE, __ATOMIC_RELEASE);
}

int
rig_packet_add(struct rig *rig)
{
	const struct rp_vring_part part = {.iova = GPA + packet_offset(rig), .size_bytes = HEADER_BYTES + PACKET_BYTES};
	int rc;

	memset(rig->memory + packet_offset(rig), 0, HEADER_BYTES);
	memset(rig->memory + packet_offset(rig) + HEADER_BYTES, 0x02, PACKET_BYTES);
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
			return rig_complain("packet", -ETIMEDOUT, NULL);
		rte_pause();
	}
	return rc < 0 ? rig_complain("packet", rc, NULL) : 0;
}
