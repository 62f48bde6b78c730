/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include <linux/virtio_config.h>

#include "guest.h"
#include "packets_side.h"
#include "rp_virtio.h"
#include "rp_vring_position.h"
#include "rp_wire_fd.h"
#include "vfu_rig.h"

#define CONNECT_LIMIT_NS 30000000000ull
#define CONNECT_PAUSE_US 10000u
#define DOORBELL_LIMIT_NS 10000000000ull
#define DOORBELL_PAUSE_US 200u
#define ANSWER_LIMIT_MS 20000u

static int
start_behind_frontend(struct packets_side *side, struct packets_guest *guest, unsigned int queue,
		      struct rp_wire_why *why)
{
	const struct guest_ring ring = {
		.ring = guest->rings[queue].layout,
		.base = rp_vring_position_fresh(side->features),
		.memory = side->memory,
		.gpa = PACKETS_GPA,
		.kick_fd = guest->kick_fds[queue],
		.call_fd = guest->call_fds[queue],
	};

	return guest_ring_start(guest->frontend, queue, &ring, why);
}

static int
dial(struct packets_guest *guest, const char *path, struct rp_wire_why *why)
{
	const struct rp_vhu_frontend_config config = {
		.protocol_features = 1ull << RP_VHU_PF_REPLY_ACK_BIT | 1ull << RP_VHU_PF_MQ_BIT |
				     1ull << RP_VHU_PF_BACKEND_REQ_BIT | 1ull << RP_VHU_PF_BACKEND_SEND_FD_BIT |
				     1ull << RP_VHU_PF_HOST_NOTIFIER_BIT,
		.queues_max = PACKETS_QUEUES_MAX,
		.timeout_ms = ANSWER_LIMIT_MS,
	};
	static const struct rp_vhu_frontend_ops ops;
	int fd = -1, rc = guest_connect(path, CONNECT_LIMIT_NS, CONNECT_PAUSE_US, &fd, why);

	if (rc == 0)
		rc = rp_vhu_frontend_create(&fd, &config, &ops, guest, &guest->frontend);
	rp_wire_fd_close(&fd);
	return rc;
}

static int
negotiate(struct packets_side *side, struct packets_guest *guest, struct rp_wire_why *why)
{
	uint64_t features = side->features | 1ull << RP_VHU_F_PROTOCOL_FEATURES_BIT;
	int rc = rp_vhu_frontend_negotiate(guest->frontend, why);

	if (rc == 0 && (features & ~rp_vhu_frontend_features_offered(guest->frontend)) != 0)
		rc = rp_wire_why_set(
			why, -ENOTSUP, "features 0x%llx are not offered",
			(unsigned long long)(features & ~rp_vhu_frontend_features_offered(guest->frontend)));
	return rc < 0 ? rc : rp_vhu_frontend_set_features(guest->frontend, features, why);
}

static int
set_up(struct packets_side *side, struct packets_guest *guest, struct rp_wire_why *why)
{
	const struct rp_vhu_region region = {
		.gpa = PACKETS_GPA,
		.size_bytes = PACKETS_MEMORY_BYTES,
		.uva = (uint64_t)(uintptr_t)side->memory,
		.fd = side->memory_fd,
	};
	unsigned int queue;
	int rc = negotiate(side, guest, why);

	if (rc == 0)
		rc = rp_vhu_frontend_set_mem_table(guest->frontend, &region, 1, why);
	for (queue = 0; rc == 0 && queue < 2 * side->pairs; queue++)
		rc = start_behind_frontend(side, guest, queue, why);
	return rc;
}

int
packets_guests_connect(struct packets_side *side, const char *const *socket_paths)
{
	struct rp_wire_why why = {0};
	unsigned int guest;
	int rc = 0;

	/* Both, before either waits for an answer: whoever looks for new ones once a second takes them together. */
	for (guest = 0; rc == 0 && guest < PACKETS_GUESTS; guest++)
		rc = dial(&side->guests[guest], socket_paths[guest], &why);
	for (guest = 0; rc == 0 && guest < PACKETS_GUESTS; guest++)
		rc = set_up(side, &side->guests[guest], &why);
	return vfu_rig_complain("guests", rc, &why);
}

static int
start_queue(struct packets_side *side, struct packets_guest *guest, unsigned int queue, struct rp_wire_why *why)
{
	struct rp_accel_queue_config config;
	struct rp_accel_notify_area area;
	struct rp_vring_layout layout;
	int rc;

	rp_vring_drv_layout(guest->rings[queue].layout, &layout);
	config = (struct rp_accel_queue_config){
		.num = layout.num,
		.position = rp_vring_position_fresh(side->features),
		.desc_iova = layout.desc_iova,
		.avail_iova = layout.avail_iova,
		.used_iova = layout.used_iova,
		.call_fd = guest->call_fds[queue],
	};
	rc = guest->accel.ops->queue_notify_area(guest->accel.priv, queue, &area, why);
	if (rc < 0)
		return rc;
	guest->doorbells[queue] =
		mmap(NULL, area.size_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, area.fd, (off_t)area.offset_bytes);
	if (guest->doorbells[queue] == MAP_FAILED) {
		guest->doorbells[queue] = NULL;
		return -errno;
	}
	if (guest->accel.ops->queue_doorbell != NULL)
		rc = guest->accel.ops->queue_doorbell(guest->accel.priv, queue, true, why);
	if (rc < 0 && rc != -ENOTSUP)
		return rc;
	return guest->accel.ops->queue_start(guest->accel.priv, queue, &config, why);
}

static int
take(struct packets_side *side, struct packets_guest *guest, const char *socket_path)
{
	static const struct rp_accel_driver *const drivers[] = {&rp_virtio_vfio_user_driver, NULL};
	static const struct rp_accel_registry registry = {.drivers = drivers};
	const struct rp_accel_net net = {.queue_pairs = (uint16_t)side->pairs};
	struct rp_wire_why why = {0};
	char arguments[128];
	unsigned int queue;
	int rc;

	snprintf(arguments, sizeof(arguments), "vfio-user,socket=%s", socket_path);
	rc = rp_accel_open(&registry, arguments, &guest->accel, &why);
	if (rc == 0)
		rc = guest->accel.ops->dma_map(guest->accel.priv, PACKETS_GPA, PACKETS_MEMORY_BYTES, side->memory_fd, 0,
					       side->memory, &why);
	if (rc == 0)
		rc = guest->accel.ops->set_features(guest->accel.priv, side->features, &why);
	if (rc == 0 && side->pairs > 1)
		rc = guest->accel.ops->net_set(guest->accel.priv, &net, &why);
	for (queue = 0; rc == 0 && queue < 2 * side->pairs; queue++)
		rc = start_queue(side, guest, queue, &why);
	return vfu_rig_complain(socket_path, rc, &why);
}

int
packets_guests_take(struct packets_side *side, const char *const *socket_paths)
{
	unsigned int guest;
	int rc = 0;

	for (guest = 0; rc == 0 && guest < PACKETS_GUESTS; guest++)
		rc = take(side, &side->guests[guest], socket_paths[guest]);
	return rc;
}

void
packets_guest_disconnect(struct packets_guest *guest)
{
	unsigned int queue;

	for (queue = 0; queue < PACKETS_QUEUES_MAX; queue++) {
		if (guest->doorbells[queue] != NULL)
			munmap(guest->doorbells[queue], (size_t)sysconf(_SC_PAGESIZE));
		guest->doorbells[queue] = NULL;
	}
	guest->frontend = rp_vhu_frontend_destroy(guest->frontend);
	rp_accel_close(&guest->accel);
}

static int
wait_doorbells(struct packets_side *side, struct packets_guest *guest)
{
	uint64_t deadline_ns = bench_now_ns() + DOORBELL_LIMIT_NS;
	unsigned int queue = 0;

	while (queue < 2 * side->pairs) {
		if (rp_vhu_frontend_notify_map(guest->frontend, queue).address != NULL) {
			queue++;
			continue;
		}
		if (bench_now_ns() > deadline_ns)
			return vfu_rig_complain("doorbell, to be mapped", -ETIMEDOUT, NULL);
		rp_vhu_frontend_process(guest->frontend);
		usleep(DOORBELL_PAUSE_US);
	}
	return 0;
}

int
packets_guests_wait_doorbells(struct packets_side *side)
{
	unsigned int guest;
	int rc = 0;

	for (guest = 0; rc == 0 && guest < PACKETS_GUESTS; guest++)
		rc = wait_doorbells(side, &side->guests[guest]);
	return rc;
}
