/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include "rp_wire_clock.h"
#include "rp_wire_fd.h"
#include "vhu_frontend.h"

#define ANSWER_MAX_BYTES (sizeof(struct rp_vhu_wire_config) + RP_VHU_CONFIG_MAX)

struct waiting {
	bool done;
	int error;
	uint32_t size_bytes;
	uint8_t payload[ANSWER_MAX_BYTES];
};

static void
on_done(void *ctx, int error, const void *payload, uint32_t size_bytes, int *fds, unsigned int fds_count)
{
	struct waiting *waiting = ctx;

	(void)fds, (void)fds_count;
	waiting->done = true;
	waiting->error = error;
	waiting->size_bytes = size_bytes;
	if (size_bytes > sizeof(waiting->payload))
		waiting->error = -EBADMSG;
	else if (size_bytes > 0)
		memcpy(waiting->payload, payload, size_bytes);
}

static int
wait_for(struct rp_vhu_frontend *frontend, struct waiting *waiting, struct rp_wire_why *why)
{
	uint64_t deadline_ms = rp_wire_clock_ms() + frontend->config.timeout_ms;

	while (!waiting->done) {
		struct pollfd wait[2] = {{.fd = -1}, {.fd = -1}};
		uint64_t now_ms = rp_wire_clock_ms();

		if (now_ms >= deadline_ms) {
			/* Whatever comes later would be taken for the answer to something else. */
			rp_wire_why_set(why, -ETIMEDOUT, "no answer within %u ms", frontend->config.timeout_ms);
			vhu_frontend_lose(frontend, why);
			return -ETIMEDOUT;
		}
		wait[0].fd = rp_wire_conn_fd(frontend->conn);
		wait[0].events = rp_wire_conn_poll_events(frontend->conn);
		if (frontend->channel != NULL && !frontend->config.deaf_while_waiting) {
			wait[1].fd = rp_wire_conn_fd(frontend->channel);
			wait[1].events = rp_wire_conn_poll_events(frontend->channel);
		}
		poll(wait, 2, (int)(deadline_ms - now_ms));
		if (wait[1].revents != 0)
			vhu_frontend_serve_channel(frontend);
		if (wait[0].revents != 0)
			vhu_frontend_serve_requests(frontend);
	}
	if (waiting->error == -ENOTCONN)
		return rp_wire_why_set(why, -ENOTCONN, "%s", frontend->lost.text);
	if (waiting->error < 0)
		return rp_wire_why_set(why, waiting->error, "refused by the backend");
	return 0;
}

/* An answer, with payload if `answer` is given: exactly `answer_bytes` of it. */
static int
call(struct rp_vhu_frontend *frontend, uint32_t request, const void *payload, uint32_t size_bytes, const int *fds,
     unsigned int fds_count, bool need_reply, void *answer, uint32_t answer_bytes, struct rp_wire_why *why)
{
	struct rp_wire_why unused = {0};
	struct waiting waiting = {0};
	int rc;

	if (why == NULL)
		why = &unused;
	if (frontend->in_callback)
		return rp_wire_why_set(why, -EBUSY, "a callback cannot wait for an answer");
	rc = rp_vhu_frontend_submit(frontend, request, payload, size_bytes, fds, fds_count, need_reply, on_done,
				    &waiting, why);
	if (rc < 0)
		return rc;
	rc = wait_for(frontend, &waiting, why);
	if (rc == 0 && answer != NULL && waiting.size_bytes != answer_bytes)
		rc = rp_wire_why_set(why, -EBADMSG, "answer: %u bytes, expected %u", waiting.size_bytes, answer_bytes);
	if (rc == 0 && answer != NULL)
		memcpy(answer, waiting.payload, answer_bytes);
	if (rc < 0)
		rp_wire_why_prefix(why, "%s: ", rp_vhu_msg_find(request)->name);
	return rc;
}

static int
get_u64(struct rp_vhu_frontend *frontend, uint32_t request, uint64_t *ret_value, struct rp_wire_why *why)
{
	return call(frontend, request, NULL, 0, NULL, 0, false, ret_value, sizeof(*ret_value), why);
}

/* Without acknowledgements only the answer to a later request tells that this one was handled. */
static int
tell(struct rp_vhu_frontend *frontend, uint32_t request, const void *payload, uint32_t size_bytes, const int *fds,
     unsigned int fds_count, struct rp_wire_why *why)
{
	uint64_t features;
	int rc = call(frontend, request, payload, size_bytes, fds, fds_count, true, NULL, 0, why);

	if (rc < 0 || vhu_frontend_can_ack(frontend))
		return rc;
	return get_u64(frontend, RP_VHU_GET_FEATURES, &features, why);
}

/* A message that is answered only if the frontend asks for every answer. */
static int
mention(struct rp_vhu_frontend *frontend, uint32_t request, const void *payload, uint32_t size_bytes, const int *fds,
	unsigned int fds_count, struct rp_wire_why *why)
{
	return call(frontend, request, payload, size_bytes, fds, fds_count, frontend->config.need_reply_always, NULL, 0,
		    why);
}

static int
open_channel(struct rp_vhu_frontend *frontend, struct rp_wire_why *why)
{
	int pair[2];
	int rc;

	if (frontend->channel != NULL)
		return 0;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0)
		return rp_wire_why_set(why, -errno, "socketpair: %s", strerror(errno));
	rc = rp_wire_conn_create(&pair[0], &rp_vhu_msg_framing, &frontend->channel);
	if (rc == 0)
		rc = vhu_frontend_watch(frontend, frontend->channel);
	if (rc == 0)
		rc = tell(frontend, RP_VHU_SET_BACKEND_REQ_FD, NULL, 0, &pair[1], 1, why);
	rp_wire_fd_close_all(pair, 2);
	if (rc < 0)
		frontend->channel = vhu_frontend_drop(frontend, frontend->channel);
	return rc;
}

static int
negotiate_protocol(struct rp_vhu_frontend *frontend, struct rp_wire_why *why)
{
	uint64_t offered, queues = 1;
	int rc = get_u64(frontend, RP_VHU_GET_PROTOCOL_FEATURES, &offered, why);

	if (rc < 0)
		return rc;
	offered &= frontend->config.protocol_features;
	rc = mention(frontend, RP_VHU_SET_PROTOCOL_FEATURES, &offered, sizeof(offered), NULL, 0, why);
	if (rc < 0)
		return rc;
	frontend->protocol_features = offered;
	if ((offered & 1ull << RP_VHU_PF_MQ_BIT) != 0)
		rc = get_u64(frontend, RP_VHU_GET_QUEUE_NUM, &queues, why);
	if (rc == 0 && (queues == 0 || queues > RP_VHU_QUEUES_MAX))
		rc = rp_wire_why_set(why, -EBADMSG, "GET_QUEUE_NUM: %llu, expected 1 to %u", (unsigned long long)queues,
				     RP_VHU_QUEUES_MAX);
	if (rc < 0)
		return rc;
	frontend->queues_offered = (uint16_t)queues;
	if ((offered & 1ull << RP_VHU_PF_BACKEND_REQ_BIT) != 0)
		rc = open_channel(frontend, why);
	return rc;
}

int
rp_vhu_frontend_negotiate(struct rp_vhu_frontend *frontend, struct rp_wire_why *why)
{
	int rc = get_u64(frontend, RP_VHU_GET_FEATURES, &frontend->features_offered, why);

	if (rc < 0)
		return rc;
	frontend->queues_offered = 1;
	if ((frontend->features_offered & 1ull << RP_VHU_F_PROTOCOL_FEATURES_BIT) != 0)
		rc = negotiate_protocol(frontend, why);
	return rc < 0 ? rc : tell(frontend, RP_VHU_SET_OWNER, NULL, 0, NULL, 0, why);
}

int
rp_vhu_frontend_set_features(struct rp_vhu_frontend *frontend, uint64_t features, struct rp_wire_why *why)
{
	int rc = tell(frontend, RP_VHU_SET_FEATURES, &features, sizeof(features), NULL, 0, why);

	if (rc == 0)
		frontend->features = features;
	return rc;
}

static struct rp_vhu_wire_region
region_to_wire(const struct rp_vhu_region *region)
{
	return (struct rp_vhu_wire_region){
		.gpa = region->gpa,
		.size_bytes = region->size_bytes,
		.uva = region->uva,
		.offset_bytes = region->offset_bytes,
	};
}

int
rp_vhu_frontend_set_mem_table(struct rp_vhu_frontend *frontend, const struct rp_vhu_region *regions, unsigned int count,
			      struct rp_wire_why *why)
{
	struct rp_vhu_wire_mem_table wire = {.count = count};
	int fds[RP_VHU_REGIONS_MAX];
	unsigned int i;

	if (count == 0 || count > RP_VHU_REGIONS_MAX)
		return rp_wire_why_set(why, -EINVAL, "%u regions, expected 1 to %u", count, RP_VHU_REGIONS_MAX);
	for (i = 0; i < count; i++) {
		wire.regions[i] = region_to_wire(&regions[i]);
		fds[i] = regions[i].fd;
	}
	return tell(frontend, RP_VHU_SET_MEM_TABLE, &wire, (uint32_t)(8 + count * sizeof(wire.regions[0])), fds, count,
		    why);
}

int
rp_vhu_frontend_add_mem_reg(struct rp_vhu_frontend *frontend, const struct rp_vhu_region *region,
			    struct rp_wire_why *why)
{
	struct rp_vhu_wire_mem_slot wire = {.region = region_to_wire(region)};

	return tell(frontend, RP_VHU_ADD_MEM_REG, &wire, sizeof(wire), &region->fd, 1, why);
}

int
rp_vhu_frontend_rem_mem_reg(struct rp_vhu_frontend *frontend, const struct rp_vhu_region *region,
			    struct rp_wire_why *why)
{
	struct rp_vhu_wire_mem_slot wire = {.region = region_to_wire(region)};

	return tell(frontend, RP_VHU_REM_MEM_REG, &wire, sizeof(wire), NULL, 0, why);
}

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
	rc = mention(frontend, RP_VHU_SET_VRING_NUM, &num, sizeof(num), NULL, 0, why);
	if (rc == 0)
		rc = mention(frontend, RP_VHU_SET_VRING_BASE, &base, sizeof(base), NULL, 0, why);
	if (rc == 0)
		rc = mention(frontend, RP_VHU_SET_VRING_ADDR, &addr, sizeof(addr), NULL, 0, why);
	if (rc == 0) {
		/* Offers may come as soon as the backend has read the kick. */
		frontend->rings[queue].started = true;
		rc = tell(frontend, RP_VHU_SET_VRING_KICK, &kick, sizeof(kick), &ring->kick_fd, ring->kick_fd >= 0,
			  why);
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
	rc = call(frontend, RP_VHU_GET_VRING_BASE, &state, sizeof(state), NULL, 0, false, &answer, sizeof(answer), why);
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
	return tell(frontend, RP_VHU_SET_VRING_ENABLE, &state, sizeof(state), NULL, 0, why);
}

int
rp_vhu_frontend_ring_call(struct rp_vhu_frontend *frontend, unsigned int queue, int call_fd, struct rp_wire_why *why)
{
	uint64_t word = vring_fd_word(queue, call_fd);

	if (queue >= frontend->config.queues_max)
		return rp_wire_why_set(why, -EINVAL, "queue %u", queue);
	return tell(frontend, RP_VHU_SET_VRING_CALL, &word, sizeof(word), &call_fd, call_fd >= 0, why);
}

int
rp_vhu_frontend_get_config(struct rp_vhu_frontend *frontend, uint32_t offset_bytes, uint32_t size_bytes,
			   uint8_t *ret_bytes, struct rp_wire_why *why)
{
	uint8_t question[ANSWER_MAX_BYTES] = {0}, answer[ANSWER_MAX_BYTES];
	struct rp_vhu_wire_config config = {.offset_bytes = offset_bytes, .size_bytes = size_bytes};
	uint32_t total_bytes = (uint32_t)sizeof(config) + size_bytes;
	int rc;

	if (size_bytes == 0 || size_bytes > RP_VHU_CONFIG_MAX)
		return rp_wire_why_set(why, -EINVAL, "%u bytes of configuration space", size_bytes);
	memcpy(question, &config, sizeof(config));
	rc = call(frontend, RP_VHU_GET_CONFIG, question, total_bytes, NULL, 0, false, answer, total_bytes, why);
	if (rc == 0 && memcmp(answer, question, offsetof(struct rp_vhu_wire_config, flags)) != 0)
		rc = rp_wire_why_set(why, -EBADMSG, "GET_CONFIG: answer: not the offset and size that were asked");
	if (rc == 0)
		memcpy(ret_bytes, answer + sizeof(config), size_bytes);
	return rc;
}

int
rp_vhu_frontend_reset_device(struct rp_vhu_frontend *frontend, struct rp_wire_why *why)
{
	unsigned int i;

	if ((frontend->protocol_features & 1ull << RP_VHU_PF_RESET_DEVICE_BIT) == 0)
		return rp_wire_why_set(why, -ENOTSUP, "RESET_DEVICE: was not negotiated");
	vhu_frontend_unmap_all(frontend);
	for (i = 0; i < frontend->config.queues_max; i++)
		frontend->rings[i].started = false;
	return tell(frontend, RP_VHU_RESET_DEVICE, NULL, 0, NULL, 0, why);
}
