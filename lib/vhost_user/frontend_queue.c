/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <string.h>

#include "rp_wire_fd.h"
#include "vhu_frontend.h"

static uint64_t
vring_fd_word(unsigned int queue, int fd)
{
	return queue | (fd < 0 ? (uint64_t)RP_VHU_VRING_NOFD_MASK : 0);
}

static int
keep_kick(struct rp_vhu_frontend *frontend, unsigned int queue, int kick_fd)
{
	int copy = kick_fd < 0 ? -1 : rp_wire_fd_dup(kick_fd);

	if (kick_fd >= 0 && copy < 0)
		return copy;
	rp_wire_fd_replace(&frontend->rings[queue].kick_fd, &copy);
	return 0;
}

int
rp_vhu_frontend_ring_start(struct rp_vhu_frontend *frontend, unsigned int queue,
			   const struct rp_vhu_frontend_ring *ring, struct rp_wire_why *why)
{
	struct rp_vhu_wire_vring_state num = {.index = queue, .num = ring->num};
	struct rp_vhu_wire_vring_state base = {.index = queue, .num = ring->base};
	struct rp_vhu_wire_vring_addr addr = {
		.index = queue,
		.desc_uva = ring->desc_uva,
		.used_uva = ring->used_uva,
		.avail_uva = ring->avail_uva,
	};
	uint64_t kick = vring_fd_word(queue, ring->kick_fd);
	int rc;

	if (queue >= frontend->config.queues_max)
		return rp_wire_why_set(why, -EINVAL, "queue %u", queue);
	rc = keep_kick(frontend, queue, ring->kick_fd);
	if (rc < 0)
		return rp_wire_why_set(why, rc, "kick descriptor: %s", strerror(-rc));
	rc = vhu_frontend_mention(frontend, RP_VHU_SET_VRING_NUM, &num, sizeof(num), NULL, 0, why);
	if (rc == 0)
		rc = vhu_frontend_mention(frontend, RP_VHU_SET_VRING_BASE, &base, sizeof(base), NULL, 0, why);
	if (rc == 0)
		rc = vhu_frontend_mention(frontend, RP_VHU_SET_VRING_ADDR, &addr, sizeof(addr), NULL, 0, why);
	if (rc == 0) {
		/* Offers may come as soon as the backend has read the kick. */
		frontend->rings[queue].started = true;
		rc = vhu_frontend_tell(frontend, RP_VHU_SET_VRING_KICK, &kick, sizeof(kick), &ring->kick_fd,
				       ring->kick_fd >= 0, why);
	}
	if (rc == 0)
		rc = rp_vhu_frontend_ring_call(frontend, queue, ring->call_fd, why);
	if (rc < 0) {
		frontend->rings[queue].started = false;
		vhu_frontend_unmap(frontend, queue);
	}
	return rc;
}

int
rp_vhu_frontend_ring_stop(struct rp_vhu_frontend *frontend, unsigned int queue, uint32_t *ret_base,
			  struct rp_wire_why *why)
{
	struct rp_vhu_wire_vring_state state = {.index = queue};
	struct rp_vhu_wire_vring_state answer = {0};
	int rc;

	if (queue >= frontend->config.queues_max)
		return rp_wire_why_set(why, -EINVAL, "queue %u", queue);
	vhu_frontend_unmap(frontend, queue);
	frontend->rings[queue].started = false;
	rc = vhu_frontend_call(frontend, RP_VHU_GET_VRING_BASE, &state, sizeof(state), NULL, 0, false, &answer,
			       sizeof(answer), why);
	if (rc < 0)
		return rc;
	if (answer.index != queue)
		return rp_wire_why_set(why, -EBADMSG, "GET_VRING_BASE: answer: ring %u, expected %u", answer.index,
				       queue);
	*ret_base = answer.num;
	return 0;
}

int
rp_vhu_frontend_ring_enable(struct rp_vhu_frontend *frontend, unsigned int queue, bool enabled, struct rp_wire_why *why)
{
	struct rp_vhu_wire_vring_state state = {.index = queue, .num = enabled};

	if (queue >= frontend->config.queues_max)
		return rp_wire_why_set(why, -EINVAL, "queue %u", queue);
	return vhu_frontend_tell(frontend, RP_VHU_SET_VRING_ENABLE, &state, sizeof(state), NULL, 0, why);
}

int
rp_vhu_frontend_ring_call(struct rp_vhu_frontend *frontend, unsigned int queue, int call_fd, struct rp_wire_why *why)
{
	uint64_t word = vring_fd_word(queue, call_fd);

	if (queue >= frontend->config.queues_max)
		return rp_wire_why_set(why, -EINVAL, "queue %u", queue);
	return vhu_frontend_tell(frontend, RP_VHU_SET_VRING_CALL, &word, sizeof(word), &call_fd, call_fd >= 0, why);
}
