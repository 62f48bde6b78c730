/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "rp_wire_fd.h"
#include "vhu_frontend.h"

#define NUM_MAX 32768u /* virtio 1.2, 2.7 and 2.8 */
#define PACKED_INDEX_MASK 0x7fffu

int
vhu_frontend_create_queues(struct rp_vhu_frontend *frontend)
{
	unsigned int i;

	frontend->queues = calloc(frontend->config.queues_max, sizeof(*frontend->queues));
	if (frontend->queues == NULL)
		return -ENOMEM;
	for (i = 0; i < frontend->config.queues_max; i++)
		frontend->queues[i].kick_fd = -1;
	return 0;
}

void
vhu_frontend_destroy_queues(struct rp_vhu_frontend *frontend)
{
	if (frontend->queues == NULL)
		return;
	vhu_frontend_reset_queues(frontend);
	vhu_frontend_drop_vfio_files(frontend);
	free(frontend->queues);
	frontend->queues = NULL;
}

void
vhu_frontend_reset_queues(struct rp_vhu_frontend *frontend)
{
	unsigned int i;

	vhu_frontend_unmap_all(frontend);
	for (i = 0; i < frontend->config.queues_max; i++) {
		rp_wire_fd_close(&frontend->queues[i].kick_fd);
		frontend->queues[i].started = false;
	}
}

int
vhu_frontend_queue_of(struct rp_vhu_frontend *frontend, uint64_t queue_flags, unsigned int fds_count,
		      struct vhu_frontend_queue **ret_queue, struct rp_wire_why *why)
{
	unsigned int queue = queue_flags & RP_VHU_VRING_INDEX_MASK;

	if (queue >= frontend->config.queues_max)
		return rp_wire_why_set(why, -EBADMSG, "queue: %u, expected 0 to %u", queue,
				       frontend->config.queues_max - 1u);
	/* Profile vfio2018 is older than that feature: its two messages have descriptors of their own right. */
	if (fds_count > 0 && frontend->dialect.profile != RP_VHU_PROFILE_VFIO2018 &&
	    (frontend->protocol_features & 1ull << RP_VHU_PF_BACKEND_SEND_FD_BIT) == 0)
		return rp_wire_why_set(why, -ENOTSUP, "descriptor: BACKEND_SEND_FD was not negotiated");
	*ret_queue = &frontend->queues[queue];
	return 0;
}

/* What every call about a ring begins with. */
static int
check_queue(const struct rp_vhu_frontend *frontend, unsigned int queue, struct rp_wire_why *why)
{
	if (queue >= frontend->config.queues_max)
		return rp_wire_why_set(why, -EINVAL, "queue %u, expected 0 to %u", queue,
				       frontend->config.queues_max - 1u);
	return vhu_frontend_may_wait(frontend, why);
}

static bool
is_packed(const struct rp_vhu_frontend *frontend)
{
	return (frontend->features & 1ull << RP_VHU_F_RING_PACKED_BIT) != 0;
}

static int
check_addresses(const struct rp_vhu_frontend *frontend, const struct rp_vhu_frontend_ring *ring,
		struct rp_wire_why *why)
{
	/* virtio 1.2, 2.7 and 2.8.10.1 */
	uint64_t avail_mask = is_packed(frontend) ? 3 : 1;

	if ((ring->desc_uva & 15) != 0 || (ring->avail_uva & avail_mask) != 0 || (ring->used_uva & 3) != 0)
		return rp_wire_why_set(why, -EINVAL,
				       "addresses: 0x%llx, 0x%llx, 0x%llx, expected multiples of 16, %u, 4",
				       (unsigned long long)ring->desc_uva, (unsigned long long)ring->avail_uva,
				       (unsigned long long)ring->used_uva, (unsigned int)avail_mask + 1);
	if ((ring->flags & ~RP_VHU_VRING_ADDR_LOG_MASK) != 0 || (ring->flags == 0 && ring->log_gpa != 0))
		return rp_wire_why_set(why, -EINVAL, "flags: 0x%x with log_gpa 0x%llx, expected 1, or 0 and 0",
				       ring->flags, (unsigned long long)ring->log_gpa);
	return 0;
}

static int
check_ring(const struct rp_vhu_frontend *frontend, const struct rp_vhu_frontend_ring *ring, struct rp_wire_why *why)
{
	bool packed = is_packed(frontend);
	uint32_t next_avail = ring->base & PACKED_INDEX_MASK, next_used = ring->base >> 16 & PACKED_INDEX_MASK;

	if (ring->num == 0 || ring->num > NUM_MAX || (!packed && (ring->num & (ring->num - 1)) != 0))
		return rp_wire_why_set(why, -EINVAL, "num: %u, expected 1 to %u%s", ring->num, NUM_MAX,
				       packed ? "" : ", a power of two");
	if (!packed && ring->base > UINT16_MAX)
		return rp_wire_why_set(why, -EINVAL, "base: 0x%x, expected 16 bits", ring->base);
	if (packed && (next_avail >= ring->num || next_used >= ring->num))
		return rp_wire_why_set(why, -EINVAL, "base: 0x%x, expected two entries of %u", ring->base, ring->num);
	return check_addresses(frontend, ring, why);
}

static uint64_t
vring_fd_word(unsigned int queue, int fd)
{
	return queue | (fd < 0 ? (uint64_t)RP_VHU_VRING_NOFD_MASK : 0);
}

static int
keep_kick(struct rp_vhu_frontend *frontend, unsigned int queue, int kick_fd, struct rp_wire_why *why)
{
	int copy = kick_fd < 0 ? -1 : rp_wire_fd_dup(kick_fd);

	if (kick_fd >= 0 && copy < 0)
		return rp_wire_why_set(why, copy, "kick descriptor: %s", strerror(-copy));
	rp_wire_fd_replace(&frontend->queues[queue].kick_fd, &copy);
	return 0;
}

static struct rp_vhu_wire_vring_addr
addr_to_wire(unsigned int queue, const struct rp_vhu_frontend_ring *ring)
{
	return (struct rp_vhu_wire_vring_addr){
		.index = queue,
		.flags = ring->flags,
		.desc_uva = ring->desc_uva,
		.used_uva = ring->used_uva,
		.avail_uva = ring->avail_uva,
		.log_gpa = ring->log_gpa,
	};
}

/* How the ring looks: nothing that makes it run. */
static int
describe(struct rp_vhu_frontend *frontend, unsigned int queue, const struct rp_vhu_frontend_ring *ring,
	 struct rp_wire_why *why)
{
	struct rp_vhu_wire_vring_state num = {.index = queue, .num = ring->num};
	struct rp_vhu_wire_vring_state base = {.index = queue, .num = ring->base};
	struct rp_vhu_wire_vring_addr addr = addr_to_wire(queue, ring);
	int rc = vhu_frontend_mention(frontend, RP_VHU_SET_VRING_NUM, &num, sizeof(num), NULL, 0, why);

	if (rc == 0)
		rc = vhu_frontend_mention(frontend, RP_VHU_SET_VRING_BASE, &base, sizeof(base), NULL, 0, why);
	if (rc == 0)
		rc = vhu_frontend_mention(frontend, RP_VHU_SET_VRING_ADDR, &addr, sizeof(addr), NULL, 0, why);
	return rc;
}

/* Sight of the doorbell ends with the ring; what is kept of it is the profile's affair. */
static void
stop_queue(struct rp_vhu_frontend *frontend, unsigned int queue)
{
	if (frontend->dialect.profile != RP_VHU_PROFILE_VFIO2018)
		vhu_frontend_unmap(frontend, queue);
	vhu_frontend_hide(frontend, queue);
}

int
rp_vhu_frontend_ring_start(struct rp_vhu_frontend *frontend, unsigned int queue,
			   const struct rp_vhu_frontend_ring *ring, struct rp_wire_why *why)
{
	uint64_t kick = vring_fd_word(queue, ring->kick_fd);
	int rc = check_queue(frontend, queue, why);

	if (rc == 0)
		rc = check_ring(frontend, ring, why);
	if (rc == 0)
		rc = keep_kick(frontend, queue, ring->kick_fd, why);
	if (rc < 0)
		return rc;
	rc = describe(frontend, queue, ring, why);
	if (rc == 0) {
		/* Offers may come as soon as the backend has read the kick. */
		vhu_frontend_show(frontend, queue);
		rc = vhu_frontend_tell(frontend, RP_VHU_SET_VRING_KICK, &kick, sizeof(kick), &ring->kick_fd,
				       ring->kick_fd >= 0, why);
	}
	if (rc == 0)
		rc = rp_vhu_frontend_ring_call(frontend, queue, ring->call_fd, why);
	if (rc < 0)
		stop_queue(frontend, queue);
	return rc;
}

int
rp_vhu_frontend_ring_addr(struct rp_vhu_frontend *frontend, unsigned int queue, const struct rp_vhu_frontend_ring *ring,
			  struct rp_wire_why *why)
{
	struct rp_vhu_wire_vring_addr addr = addr_to_wire(queue, ring);
	int rc = check_queue(frontend, queue, why);

	if (rc == 0)
		rc = check_addresses(frontend, ring, why);
	if (rc < 0)
		return rc;
	/* Until it has it, the backend may write to the used ring and log nothing. */
	return vhu_frontend_tell(frontend, RP_VHU_SET_VRING_ADDR, &addr, sizeof(addr), NULL, 0, why);
}

int
rp_vhu_frontend_ring_stop(struct rp_vhu_frontend *frontend, unsigned int queue, uint32_t *ret_base,
			  struct rp_wire_why *why)
{
	struct rp_vhu_wire_vring_state state = {.index = queue};
	struct rp_vhu_wire_vring_state answer = {0};
	int rc = check_queue(frontend, queue, why);

	if (rc < 0)
		return rc;
	stop_queue(frontend, queue);
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
	int rc = check_queue(frontend, queue, why);

	return rc < 0 ? rc : vhu_frontend_tell(frontend, RP_VHU_SET_VRING_ENABLE, &state, sizeof(state), NULL, 0, why);
}

static int
set_eventfd(struct rp_vhu_frontend *frontend, uint32_t request, unsigned int queue, int fd, struct rp_wire_why *why)
{
	uint64_t word = vring_fd_word(queue, fd);
	int rc = check_queue(frontend, queue, why);

	return rc < 0 ? rc : vhu_frontend_tell(frontend, request, &word, sizeof(word), &fd, fd >= 0, why);
}

int
rp_vhu_frontend_ring_call(struct rp_vhu_frontend *frontend, unsigned int queue, int call_fd, struct rp_wire_why *why)
{
	return set_eventfd(frontend, RP_VHU_SET_VRING_CALL, queue, call_fd, why);
}

int
rp_vhu_frontend_ring_err(struct rp_vhu_frontend *frontend, unsigned int queue, int err_fd, struct rp_wire_why *why)
{
	return set_eventfd(frontend, RP_VHU_SET_VRING_ERR, queue, err_fd, why);
}
