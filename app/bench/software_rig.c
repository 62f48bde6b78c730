/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include <linux/virtio_config.h>
#include <rte_vhost.h>

#include "guest.h"
#include "rp_wire_fd.h"
#include "software_rig.h"
#include "vhost_listen.h"

#define GPA 0x40000000ull
#define RING_NUM 256u
#define RING_BYTES 0x10000u
#define CONNECT_LIMIT_NS 30000000000ull
#define CONNECT_PAUSE_US 10000u
#define ANSWER_LIMIT_MS 20000u

/* librte_vhost's callbacks know nobody: the device that came last. */
static int latest_vid = -1;

static int
on_new_device(int vid)
{
	__atomic_store_n(&latest_vid, vid, __ATOMIC_RELEASE);
	return 0;
}

static void
on_destroy_device(int vid)
{
	(void)vid;
}

static int
backend_open(struct software_rig *rig)
{
	static const struct rte_vhost_device_ops ops = {
		.new_device = on_new_device,
		.destroy_device = on_destroy_device,
	};

	return vfu_rig_complain("librte_vhost", vhost_listen(rig->socket_backend, 0, &ops, &rig->backend_runs), NULL);
}

static void
process_port(void *ctx)
{
	rp_port_process(ctx);
}

static int
port_open(struct software_rig *rig)
{
	static const struct rp_accel_driver *const drivers[] = {NULL};
	static const struct rp_accel_registry registry = {.drivers = drivers};
	static const struct rp_port_ops ops;
	const struct rp_port_config config = {
		.name = "bench",
		.socket_path = rig->socket_port,
		.queue_pairs = 1,
		.software = {.socket_path = rig->socket_backend,
			     .socket_mode = RP_PORT_CLIENT,
			     .timeout_ms = ANSWER_LIMIT_MS},
	};
	struct rp_wire_why why = {0};
	int rc = rp_port_create(&config, &registry, &ops, NULL, &rig->port, &why);

	if (rc == 0)
		rc = sleeper_start(&rig->port_thread, rp_port_fd(rig->port), process_port, rig->port);
	return vfu_rig_complain("port", rc, &why);
}

int
software_side_start(struct software_side *side, unsigned int queue, uint32_t base, struct rp_wire_why *why)
{
	const struct guest_ring ring = {
		.ring = side->rings[queue],
		.base = base,
		.memory = side->memory,
		.gpa = GPA,
		.kick_fd = side->kick_fds[queue],
		.call_fd = side->call_fds[queue],
	};

	return guest_ring_start(side->frontend, queue, &ring, why);
}

static int
rings_open(struct software_side *side, uint64_t features, struct rp_wire_why *why)
{
	unsigned int queue;
	int rc = 0;

	for (queue = 0; rc == 0 && queue < side->queues_count; queue++) {
		uint64_t offset = (uint64_t)queue * RING_BYTES;

		side->kick_fds[queue] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		side->call_fds[queue] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		rc = rp_vring_drv_create(RING_NUM, side->memory + offset, GPA + offset, features, &side->rings[queue]);
		if (rc == 0)
			rc = software_side_start(side, queue, rp_vring_position_fresh(features), why);
	}
	return rc;
}

static size_t
memory_bytes(const struct software_side *side)
{
	return (size_t)side->queues_count * RING_BYTES;
}

static int
negotiate(struct software_side *side, const char *path, uint64_t *ret_features, struct rp_wire_why *why)
{
	const struct rp_vhu_frontend_config config = {
		.protocol_features = 1ull << RP_VHU_PF_REPLY_ACK_BIT | 1ull << RP_VHU_PF_MQ_BIT,
		.queues_max = SOFTWARE_RIG_QUEUES_MAX,
		.timeout_ms = ANSWER_LIMIT_MS,
		.need_reply_always = true,
	};
	static const struct rp_vhu_frontend_ops ops;
	int fd = -1, rc = guest_connect(path, CONNECT_LIMIT_NS, CONNECT_PAUSE_US, &fd, why);

	if (rc == 0)
		rc = rp_vhu_frontend_create(&fd, &config, &ops, side, &side->frontend);
	rp_wire_fd_close(&fd);
	if (rc == 0)
		rc = rp_vhu_frontend_negotiate(side->frontend, why);
	if (rc < 0)
		return rc;
	/* Split: the kind that moves alone, and what most guests have. */
	*ret_features = rp_vhu_frontend_features_offered(side->frontend) & ~(1ull << VIRTIO_F_RING_PACKED);
	return rp_vhu_frontend_set_features(side->frontend, *ret_features, why);
}

static int
side_open(struct software_side *side, const char *path)
{
	struct rp_vhu_region region = {.gpa = GPA, .size_bytes = memory_bytes(side)};
	struct rp_wire_why why = {0};
	uint64_t features = 0;
	int rc;

	side->memory_fd = memfd_create("bench-guest", MFD_CLOEXEC);
	if (side->memory_fd < 0 || ftruncate(side->memory_fd, (off_t)memory_bytes(side)) < 0)
		return vfu_rig_complain("guest memory", -errno, NULL);
	side->memory = mmap(NULL, memory_bytes(side), PROT_READ | PROT_WRITE, MAP_SHARED, side->memory_fd, 0);
	if (side->memory == MAP_FAILED)
		return vfu_rig_complain("guest memory", -errno, NULL);
	region.uva = (uint64_t)(uintptr_t)side->memory;
	region.fd = side->memory_fd;
	rc = negotiate(side, path, &features, &why);
	if (rc == 0)
		rc = rp_vhu_frontend_set_mem_table(side->frontend, &region, 1, &why);
	if (rc == 0)
		rc = rings_open(side, features, &why);
	return vfu_rig_complain(path, rc, &why);
}

static void
side_close(struct software_side *side)
{
	unsigned int queue;

	side->frontend = rp_vhu_frontend_destroy(side->frontend);
	for (queue = 0; queue < side->queues_count; queue++) {
		side->rings[queue] = rp_vring_drv_destroy(side->rings[queue]);
		rp_wire_fd_close(&side->kick_fds[queue]);
		rp_wire_fd_close(&side->call_fds[queue]);
	}
	if (side->memory != MAP_FAILED)
		munmap(side->memory, memory_bytes(side));
	rp_wire_fd_close(&side->memory_fd);
}

static void
side_empty(struct software_side *side, unsigned int queues_count)
{
	unsigned int queue;

	side->queues_count = queues_count;
	side->memory = MAP_FAILED;
	side->memory_fd = -1;
	for (queue = 0; queue < SOFTWARE_RIG_QUEUES_MAX; queue++)
		side->kick_fds[queue] = side->call_fds[queue] = -1;
}

int
software_rig_open(struct software_rig *rig, const struct bench_options *options, unsigned int queues_count, bool port)
{
	int rc;

	memset(rig, 0, sizeof(*rig));
	side_empty(&rig->direct, queues_count);
	side_empty(&rig->through, queues_count);
	rc = vfu_rig_open(&rig->base, options);
	if (rc < 0)
		return rc;
	snprintf(rig->socket_backend, sizeof(rig->socket_backend), "%s/backend", rig->base.directory);
	snprintf(rig->socket_port, sizeof(rig->socket_port), "%s/port", rig->base.directory);
	rc = backend_open(rig);
	if (rc == 0 && port)
		rc = port_open(rig);
	if (rc == 0)
		rc = side_open(&rig->direct, rig->socket_backend);
	if (rc == 0 && port)
		rc = side_open(&rig->through, rig->socket_port);
	return rc;
}

int
software_rig_kick_fd(const struct software_rig *rig, unsigned int queue)
{
	int vid = __atomic_load_n(&latest_vid, __ATOMIC_ACQUIRE);
	struct rte_vhost_vring ring;

	if (vid < 0 || queue >= rig->direct.queues_count ||
	    rte_vhost_get_vhost_vring(vid, (uint16_t)queue, &ring) < 0 || ring.kickfd < 0)
		return -ENOENT;
	return ring.kickfd;
}

void
software_rig_close(struct software_rig *rig)
{
	side_close(&rig->direct);
	side_close(&rig->through);
	sleeper_stop(&rig->port_thread);
	rig->port = rp_port_destroy(rig->port);
	if (rig->backend_runs)
		rte_vhost_driver_unregister(rig->socket_backend);
	vfu_rig_close(&rig->base);
}
