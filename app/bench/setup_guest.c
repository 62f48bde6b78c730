/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * The frontend of a lap. It speaks as QEMU does: nothing of a ring is acknowledged but the last
 * SET_VRING_ENABLE, and every ring is described before the first is enabled.
 */

#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <linux/virtio_config.h>

#include "guest.h"
#include "rp_vhu_proto.h"
#include "rp_wire_fd.h"
#include "setup_rig.h"

#define GPA 0x40000000ull
#define RING_NUM 256u
#define RING_BYTES 0x4000u
#define PACKET_ROOM 0x1000u
#define PACKET_BYTES (12u + 64u) /* behind struct virtio_net_hdr_v1 */
#define CONNECT_LIMIT_NS 10000000000ull
#define USED_LIMIT_NS 5000000000ull
#define CONNECT_PAUSE_US 200u
#define ANSWER_LIMIT_MS 20000u

/* The answer to a request that nobody waits for in place. */
struct answer {
	bool there;
	int error;
};

uint64_t
setup_guest_bytes(unsigned int pairs_count)
{
	return 2ull * pairs_count * RING_BYTES + PACKET_ROOM;
}

static void
on_answer(void *done_ctx, int error, const void *payload, uint32_t size_bytes, int *fds, unsigned int fds_count)
{
	struct answer *answer = done_ctx;

	(void)payload, (void)size_bytes, (void)fds, (void)fds_count;
	*answer = (struct answer){.there = true, .error = error};
}

static int
wait_on(struct rp_vhu_frontend *frontend, const struct answer *answer)
{
	struct pollfd wait = {.fd = rp_vhu_frontend_fd(frontend), .events = POLLIN};
	int rc = 0;

	while (rc == 0 && !answer->there)
		rc = poll(&wait, 1, ANSWER_LIMIT_MS) > 0 ? rp_vhu_frontend_process(frontend) : -ETIMEDOUT;
	return rc < 0 ? rc : answer->error;
}

/* A VMM sleeps in sendmsg(2) while its socket is full. */
static int
say(struct rp_vhu_frontend *frontend, uint32_t request, const void *payload, uint32_t size_bytes, const int *fd)
{
	struct pollfd wait = {.fd = rp_vhu_frontend_fd(frontend), .events = POLLIN};
	int rc;

	while ((rc = rp_vhu_frontend_submit(frontend, request, payload, size_bytes, fd, fd != NULL, false, NULL, NULL,
					    NULL)) == -ENOSPC) {
		if (poll(&wait, 1, ANSWER_LIMIT_MS) <= 0)
			return -ETIMEDOUT;
		rc = rp_vhu_frontend_process(frontend);
		if (rc < 0)
			break;
	}
	return rc;
}

static int
describe(struct setup_rig *rig, struct rp_vhu_frontend *frontend, unsigned int queue)
{
	const uint64_t uva = (uint64_t)(uintptr_t)rig->memory - GPA, word = queue;
	const struct rp_vhu_wire_vring_state num = {queue, RING_NUM}, base = {queue, 0};
	struct rp_vhu_wire_vring_addr addr = {.index = queue};
	struct rp_vring_layout layout;
	int rc;

	rp_vring_drv_layout(rig->rings[queue], &layout);
	addr.desc_uva = layout.desc_iova + uva;
	addr.avail_uva = layout.avail_iova + uva;
	addr.used_uva = layout.used_iova + uva;
	rc = say(frontend, RP_VHU_SET_VRING_NUM, &num, sizeof(num), NULL);
	if (rc == 0)
		rc = say(frontend, RP_VHU_SET_VRING_BASE, &base, sizeof(base), NULL);
	if (rc == 0)
		rc = say(frontend, RP_VHU_SET_VRING_ADDR, &addr, sizeof(addr), NULL);
	if (rc == 0)
		rc = say(frontend, RP_VHU_SET_VRING_KICK, &word, sizeof(word), &rig->kick_fds[queue]);
	if (rc == 0)
		rc = say(frontend, RP_VHU_SET_VRING_CALL, &word, sizeof(word), &rig->call_fds[queue]);
	return rc;
}

static int
enable_all(struct setup_rig *rig, struct rp_vhu_frontend *frontend)
{
	unsigned int last = 2 * rig->pairs_count - 1, queue;
	struct rp_vhu_wire_vring_state state = {.num = 1};
	struct answer answer = {.there = false};
	int rc = 0;

	for (queue = 0; rc == 0 && queue < last; queue++) {
		state.index = queue;
		rc = say(frontend, RP_VHU_SET_VRING_ENABLE, &state, sizeof(state), NULL);
	}
	state.index = last;
	if (rc == 0)
		rc = rp_vhu_frontend_submit(frontend, RP_VHU_SET_VRING_ENABLE, &state, sizeof(state), NULL, 0, true,
					    on_answer, &answer, NULL);
	return rc < 0 ? rc : wait_on(frontend, &answer);
}

static int
set_up(struct setup_rig *rig, struct rp_vhu_frontend *frontend, uint64_t features, struct rp_wire_why *why)
{
	const struct rp_vhu_region region = {
		.gpa = GPA,
		.size_bytes = rig->memory_bytes,
		.uva = (uint64_t)(uintptr_t)rig->memory,
		.fd = rig->memory_fd,
	};
	unsigned int queue;
	int rc = rp_vhu_frontend_set_features(frontend, features, why);

	if (rc == 0)
		rc = rp_vhu_frontend_set_mem_table(frontend, &region, 1, why);
	for (queue = 0; rc == 0 && queue < 2 * rig->pairs_count; queue++)
		rc = describe(rig, frontend, queue);
	return rc < 0 ? rc : enable_all(rig, frontend);
}

/* Through the last pair, and the last of all is the one that is waited for. */
static int
send_packet(struct setup_rig *rig)
{
	const unsigned int queue = 2 * rig->pairs_count - 1;
	const uint64_t at = rig->memory_bytes - PACKET_ROOM;
	const struct rp_vring_part part = {.iova = GPA + at, .size_bytes = PACKET_BYTES};
	uint64_t deadline_ns = bench_now_ns() + USED_LIMIT_NS;
	uint32_t written_bytes;
	void *cookie;
	int rc;

	memset(rig->memory + at, 0, PACKET_BYTES);
	rc = rp_vring_drv_add(rig->rings[queue], &part, 1, rig);
	if (rc == 0)
		rc = rp_vring_drv_needs_kick(rig->rings[queue]);
	if (rc > 0)
		eventfd_write(rig->kick_fds[queue], 1);
	while (rc >= 0 && (rc = rp_vring_drv_get(rig->rings[queue], &cookie, &written_bytes)) == 0) {
		if (bench_now_ns() > deadline_ns)
			return -ETIMEDOUT;
		/* Whoever relays the kick may need this CPU. */
		sched_yield();
	}
	return rc < 0 ? rc : 0;
}

static int
rings_fresh(struct setup_rig *rig, uint64_t features)
{
	unsigned int queue;
	int rc = 0;

	for (queue = 0; rc == 0 && queue < 2 * rig->pairs_count; queue++) {
		uint64_t offset = (uint64_t)queue * RING_BYTES;
		eventfd_t old;

		(void)eventfd_read(rig->kick_fds[queue], &old);
		(void)eventfd_read(rig->call_fds[queue], &old);
		rc = rp_vring_drv_create(RING_NUM, rig->memory + offset, GPA + offset, features, &rig->rings[queue]);
	}
	return rc;
}

static int
run(struct setup_rig *rig, struct rp_vhu_frontend *frontend, bool ours, double *ret_ns, struct rp_wire_why *why)
{
	struct answer answer = {.there = false};
	uint64_t features, started_ns, asked_ns;
	int rc;

	if (ours)
		usleep((useconds_t)(rig->rest_ns / 1000));
	asked_ns = bench_now_ns();
	rc = rp_vhu_frontend_submit(frontend, RP_VHU_GET_FEATURES, NULL, 0, NULL, 0, false, on_answer, &answer, why);
	if (rc == 0)
		rc = wait_on(frontend, &answer);
	/* What comes before the first answer is how long a listener takes to look: a second of librte_vhost's. */
	started_ns = bench_now_ns();
	if (!ours)
		rig->rest_ns = started_ns - asked_ns;
	if (rc == 0)
		rc = rp_vhu_frontend_negotiate(frontend, why);
	if (rc < 0)
		return rc;
	/* What both have: split rings, and nothing else that takes time. */
	features = rp_vhu_frontend_features_offered(frontend) &
		   (1ull << VIRTIO_F_VERSION_1 | 1ull << RP_VHU_F_PROTOCOL_FEATURES_BIT);
	rc = set_up(rig, frontend, features, why);
	if (rc == 0)
		rc = send_packet(rig);
	*ret_ns = (double)(bench_now_ns() - started_ns);
	return rc;
}

int
setup_rig_lap(struct setup_rig *rig, bool ours, double *ret_ns)
{
	const struct rp_vhu_frontend_config config = {
		.protocol_features = 1ull << RP_VHU_PF_REPLY_ACK_BIT | 1ull << RP_VHU_PF_MQ_BIT,
		.queues_max = (uint16_t)(2 * rig->pairs_count),
		.timeout_ms = ANSWER_LIMIT_MS,
	};
	static const struct rp_vhu_frontend_ops ops;
	struct rp_vhu_frontend *frontend = NULL;
	struct rp_wire_why why = {0};
	unsigned int queue;
	int fd = -1, rc;

	setup_rig_do(rig, ours ? SETUP_TASK_OURS : SETUP_TASK_PEER);
	rc = rings_fresh(rig, 1ull << VIRTIO_F_VERSION_1);
	if (rc == 0)
		rc = guest_connect(ours ? rig->socket_port : rig->socket_peer, CONNECT_LIMIT_NS, CONNECT_PAUSE_US, &fd,
				   &why);
	if (rc == 0)
		rc = rp_vhu_frontend_create(&fd, &config, &ops, rig, &frontend);
	rp_wire_fd_close(&fd);
	if (rc == 0)
		rc = run(rig, frontend, ours, ret_ns, &why);
	rp_vhu_frontend_destroy(frontend);
	for (queue = 0; queue < 2 * rig->pairs_count; queue++)
		rig->rings[queue] = rp_vring_drv_destroy(rig->rings[queue]);
	if (rc < 0)
		fprintf(stderr, "ringpass-bench: setup: %s: %s\n", ours ? "port" : "librte_vhost",
			why.text[0] != '\0' ? why.text : strerror(-rc));
	return rc;
}
