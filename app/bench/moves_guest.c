/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <poll.h>
#include <stddef.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include <linux/virtio_config.h>
#include <linux/virtio_net.h>
#include <linux/virtio_ring.h>

#include "guest.h"
#include "moves_rig.h"
#include "packets.h"
#include "rp_wire_fd.h"
#include "vfu_rig.h"

#define CONNECT_LIMIT_NS 30000000000ull
#define CONNECT_PAUSE_US 10000u
#define ANSWER_LIMIT_MS 20000u

static int
open_ring(struct moves_rig *rig, unsigned int queue)
{
	const uint64_t offset = (uint64_t)queue * MOVES_RING_BYTES;
	struct rp_vring_layout layout;
	int rc;

	rig->kick_fds[queue] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	rig->call_fds[queue] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (rig->kick_fds[queue] < 0 || rig->call_fds[queue] < 0)
		return -errno;
	rc = rp_vring_drv_create(MOVES_RING_NUM, rig->memory + offset, MOVES_GPA + offset, rig->features,
				 &rig->rings[queue]);
	if (rc < 0)
		return rc;
	rp_vring_drv_set_interrupt(rig->rings[queue], false);
	rp_vring_drv_layout(rig->rings[queue], &layout);
	rig->used_indices[queue] = (const uint16_t *)(const void *)(rig->memory + (layout.used_iova - MOVES_GPA) +
								    offsetof(struct vring_used, idx));
	return 0;
}

int
moves_guest_open(struct moves_rig *rig)
{
	unsigned int queue;
	int rc = 0;

	rig->features = PACKETS_FEATURES;
	rig->memory_fd = memfd_create("bench-guest", MFD_CLOEXEC);
	if (rig->memory_fd < 0 || ftruncate(rig->memory_fd, MOVES_MEMORY_BYTES) < 0)
		return vfu_rig_complain("guest memory", -errno, NULL);
	rig->memory =
		mmap(NULL, MOVES_MEMORY_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, rig->memory_fd, 0);
	if (rig->memory == MAP_FAILED)
		return vfu_rig_complain("guest memory", -errno, NULL);
	for (queue = 0; rc == 0 && queue < MOVES_QUEUES; queue++)
		rc = open_ring(rig, queue);
	return vfu_rig_complain("guest", rc, NULL);
}

void
moves_guest_close(struct moves_rig *rig)
{
	unsigned int queue;

	for (queue = 0; queue < MOVES_QUEUES; queue++)
		rig->rings[queue] = rp_vring_drv_destroy(rig->rings[queue]);
	rp_wire_fd_close_all(rig->kick_fds, MOVES_QUEUES);
	rp_wire_fd_close_all(rig->call_fds, MOVES_QUEUES);
	if (rig->memory != MAP_FAILED)
		munmap(rig->memory, MOVES_MEMORY_BYTES);
	rp_wire_fd_close(&rig->memory_fd);
}

static int
dial(struct moves_rig *rig, struct rp_wire_why *why)
{
	const struct rp_vhu_frontend_config config = {
		.protocol_features = UINT64_MAX,
		.queues_max = MOVES_QUEUES,
		.timeout_ms = ANSWER_LIMIT_MS,
	};
	static const struct rp_vhu_frontend_ops ops;
	int fd = -1, rc = guest_connect(rig->socket_port, CONNECT_LIMIT_NS, CONNECT_PAUSE_US, &fd, why);

	if (rc == 0)
		rc = rp_vhu_frontend_create(&fd, &config, &ops, rig, &rig->frontend);
	rp_wire_fd_close(&fd);
	return rc;
}

static int
start_ring(struct moves_rig *rig, unsigned int queue, struct rp_wire_why *why)
{
	const struct guest_ring ring = {
		.ring = rig->rings[queue],
		.base = rp_vring_position_fresh(rig->features),
		.memory = rig->memory,
		.gpa = MOVES_GPA,
		.kick_fd = rig->kick_fds[queue],
		.call_fd = rig->call_fds[queue],
	};

	return guest_ring_start(rig->frontend, queue, &ring, why);
}

static int
connect_guest(struct moves_rig *rig)
{
	const struct rp_vhu_region region = {
		.gpa = MOVES_GPA,
		.size_bytes = MOVES_MEMORY_BYTES,
		.uva = (uint64_t)(uintptr_t)rig->memory,
		.fd = rig->memory_fd,
	};
	struct rp_wire_why why = {0};
	unsigned int queue;
	int rc = dial(rig, &why);

	if (rc == 0)
		rc = rp_vhu_frontend_negotiate(rig->frontend, &why);
	if (rc == 0)
		rc = rp_vhu_frontend_set_features(rig->frontend, rig->features | 1ull << RP_VHU_F_PROTOCOL_FEATURES_BIT,
						  &why);
	if (rc == 0)
		rc = rp_vhu_frontend_set_mem_table(rig->frontend, &region, 1, &why);
	for (queue = 0; rc == 0 && queue < MOVES_QUEUES; queue++)
		rc = start_ring(rig, queue, &why);
	return vfu_rig_complain("guest", rc, &why);
}

/* A store to a doorbell, or a write to an eventfd: which of them, the frontend knows. */
static void
kick(struct moves_rig *rig)
{
	unsigned int queue;
	eventfd_t told;

	if (eventfd_read(rig->kick_fd, &told) < 0)
		return;
	for (queue = 0; queue < MOVES_QUEUES; queue++)
		(void)rp_vhu_frontend_kick(rig->frontend, queue);
}

void *
moves_guest_vmm(void *ctx)
{
	struct moves_rig *rig = ctx;
	struct pollfd wait[3] = {
		{.events = POLLIN},
		{.fd = rig->kick_fd, .events = POLLIN},
		{.fd = rig->vmm_stop_fd, .events = POLLIN},
	};
	int rc = connect_guest(rig);

	wait[0].fd = rc == 0 ? rp_vhu_frontend_fd(rig->frontend) : -1;
	__atomic_store_n(&rig->vmm_rc, rc, __ATOMIC_RELEASE);
	while (rc == 0 && wait[2].revents == 0) {
		poll(wait, 3, -1);
		if (wait[0].revents != 0)
			rc = rp_vhu_frontend_process(rig->frontend);
		if (wait[1].revents != 0)
			kick(rig);
	}
	rig->frontend = rp_vhu_frontend_destroy(rig->frontend);
	return NULL;
}
