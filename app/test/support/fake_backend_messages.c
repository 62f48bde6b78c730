/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fake_backend_parts.h"
#include "rp_vhu_msg.h"
#include "rp_vring_position.h"
#include "rp_wire_fd.h"

#define BIT(n) (1ull << (n))
#define NO_RING 255

struct request {
	struct rp_vhu_header header;
	const uint8_t *payload;
	struct rp_wire_msg *msg;
	uint8_t reply[300];
	uint32_t reply_bytes; /* 0: an acknowledgement, if one is wanted */
	bool replied; /* there is an answer of its own, be it empty */
	int reply_fd;
};

static uint64_t
u64_of(const struct request *request)
{
	uint64_t value = 0;

	memcpy(&value, request->payload, request->header.size_bytes < 8 ? request->header.size_bytes : 8);
	return value;
}

static void
reply_u64(struct request *request, uint64_t value)
{
	memcpy(request->reply, &value, sizeof(value));
	request->reply_bytes = sizeof(value);
	request->replied = true;
}

static unsigned int
ring_of(const struct request *request)
{
	switch (request->header.request) {
	case RP_VHU_SET_VRING_NUM:
	case RP_VHU_SET_VRING_ADDR:
	case RP_VHU_SET_VRING_BASE:
	case RP_VHU_GET_VRING_BASE:
	case RP_VHU_SET_VRING_KICK:
	case RP_VHU_SET_VRING_CALL:
	case RP_VHU_SET_VRING_ERR:
	case RP_VHU_SET_VRING_ENABLE:
		return request->payload[0] < FAKE_BACKEND_RINGS ? request->payload[0] : NO_RING;
	default:
		return NO_RING;
	}
}

static int
set_features(struct fake_backend_run *run, struct request *request)
{
	struct fake_backend *fake = run->fake;
	uint64_t features = u64_of(request);

	if ((features & ~fake->features) != 0)
		return -1;
	if (fake->device_ready && ((features ^ fake->features_acked) & ~BIT(RP_VHU_F_LOG_ALL_BIT)) != 0)
		return -1; /* librte_vhost, while the device runs */
	fake->features_acked = features;
	return 0;
}

static int
set_mem_table(struct fake_backend_run *run, struct request *request)
{
	struct fake_backend *fake = run->fake;
	struct rp_vhu_wire_mem_table table = {0};
	struct rp_wire_why why;
	unsigned int i;

	memcpy(&table, request->payload, request->header.size_bytes);
	if (table.count > RP_VHU_REGIONS_MAX || table.count != request->msg->fds_count)
		return -1;
	for (i = 0; i < FAKE_BACKEND_RINGS; i++)
		fake_backend_ring_pause(run, i);
	rp_dma_space_clear(run->space);
	fake->regions_count = 0;
	for (i = 0; i < table.count; i++) {
		const struct rp_dma_mapping mapping = {
			.iova = table.regions[i].gpa,
			.size_bytes = table.regions[i].size_bytes,
			.offset_bytes = table.regions[i].offset_bytes,
			.access_mask = RP_DMA_READ | RP_DMA_WRITE,
			.fd = request->msg->fds[i],
		};

		if (rp_dma_space_map(run->space, &mapping, &why) < 0)
			return -1;
		fake->regions[fake->regions_count++] = table.regions[i];
	}
	fake_backend_rings_memory_changed(run);
	return 0;
}

static int
set_log_base(struct fake_backend_run *run, struct request *request)
{
	struct rp_vhu_wire_log log;

	memcpy(&log, request->payload, sizeof(log));
	run->log = rp_vhu_log_destroy(run->log);
	request->replied = true; /* empty, as librte_vhost does */
	if (request->msg->fds_count != 1 ||
	    rp_vhu_log_create(request->msg->fds[0], log.size_bytes, log.offset_bytes, &run->log, NULL) < 0)
		return -1;
	run->fake->has_log = true;
	return 0;
}

static int
set_vring_num(struct fake_backend_run *run, struct request *request)
{
	struct rp_vhu_wire_vring_state state;

	memcpy(&state, request->payload, sizeof(state));
	fake_backend_ring_pause(run, state.index);
	run->fake->rings[state.index].num = (uint16_t)state.num;
	return 0;
}

static int
set_vring_base(struct fake_backend_run *run, struct request *request)
{
	struct rp_vhu_wire_vring_state state;
	bool half;

	memcpy(&state, request->payload, sizeof(state));
	half = run->fake->kind == FAKE_BACKEND_LIBRTE_VHOST || state.num >> 16 == 0;
	fake_backend_ring_pause(run, state.index);
	run->fake->rings[state.index].base = state.num;
	run->fake->rings[state.index].bases_told++;
	run->rings[state.index].at = fake_backend_is_packed(run->fake) && half ?
					     rp_vring_position_drained(BIT(34), (uint16_t)state.num) :
					     state.num;
	return 0;
}

static int
set_vring_addr(struct fake_backend_run *run, struct request *request)
{
	struct rp_vhu_wire_vring_addr addr;
	struct fake_backend_ring *ring;

	memcpy(&addr, request->payload, sizeof(addr));
	fake_backend_ring_pause(run, addr.index);
	ring = &run->fake->rings[addr.index];
	ring->desc_uva = addr.desc_uva;
	ring->addr_flags = addr.flags;
	ring->log_gpa = addr.log_gpa;
	ring->has_address = true;
	run->rings[addr.index].avail_uva = addr.avail_uva;
	run->rings[addr.index].used_uva = addr.used_uva;
	return 0;
}

static int
get_vring_base(struct fake_backend_run *run, struct request *request)
{
	struct rp_vhu_wire_vring_state state;
	struct fake_backend *fake = run->fake;
	struct fake_backend_ring *ring;
	unsigned int i;

	memcpy(&state, request->payload, sizeof(state));
	ring = &fake->rings[state.index];
	ring->stopped_enabled += ring->enabled && fake->kind == FAKE_BACKEND_LIBRTE_VHOST;
	for (i = 0; i < FAKE_BACKEND_RINGS; i++)
		if (fake->kind == FAKE_BACKEND_LIBRTE_VHOST || i == state.index)
			fake_backend_ring_pause(run, i);
	fake->device_ready = false;
	ring->started = ring->has_kick = false;
	rp_wire_fd_close(&run->rings[state.index].kick_fd);
	if (fake->kind == FAKE_BACKEND_LIBRTE_VHOST) {
		ring->has_call = ring->has_address = false;
		rp_wire_fd_close(&run->rings[state.index].call_fd);
	}
	state.num = run->rings[state.index].at;
	if (fake->kind == FAKE_BACKEND_LIBRTE_VHOST)
		state.num &= 0xffff;
	if (fake->lies) {
		state.num = fake->lie_base;
		state.index += fake->lie_index;
	}
	memcpy(request->reply, &state, sizeof(state));
	request->reply_bytes = sizeof(state);
	request->replied = true;
	return 0;
}

static int
set_fd(struct fake_backend_run *run, struct request *request)
{
	struct fake_backend_run_ring *ring = &run->rings[request->payload[0]];
	struct fake_backend_ring *shown = &run->fake->rings[request->payload[0]];
	int fd = request->msg->fds_count > 0 ? rp_wire_fd_take(&request->msg->fds[0]) : -1;

	if (request->header.request == RP_VHU_SET_VRING_KICK) {
		shown->has_kick = shown->started = true;
		rp_wire_fd_replace(&ring->kick_fd, &fd);
	} else if (request->header.request == RP_VHU_SET_VRING_CALL) {
		shown->has_call = true;
		rp_wire_fd_replace(&ring->call_fd, &fd);
	} else {
		shown->has_err = fd >= 0;
		rp_wire_fd_replace(&ring->err_fd, &fd);
	}
	return 0;
}

static int
set_vring_enable(struct fake_backend_run *run, struct request *request)
{
	struct rp_vhu_wire_vring_state state;

	memcpy(&state, request->payload, sizeof(state));
	run->fake->rings[state.index].enabled = state.num != 0;
	return 0;
}

static int
get_config(struct fake_backend_run *run, struct request *request)
{
	struct rp_vhu_wire_config config;

	memcpy(&config, request->payload, sizeof(config));
	if (config.offset_bytes + config.size_bytes > sizeof(run->fake->config))
		return -1;
	memcpy(request->reply, &config, sizeof(config));
	memcpy(request->reply + sizeof(config), run->fake->config + config.offset_bytes, config.size_bytes);
	request->reply_bytes = (uint32_t)sizeof(config) + config.size_bytes;
	request->replied = true;
	return 0;
}

static int
set_config(struct fake_backend_run *run, struct request *request)
{
	struct rp_vhu_wire_config config;

	memcpy(&config, request->payload, sizeof(config));
	if (config.offset_bytes + config.size_bytes > sizeof(run->fake->config))
		return -1;
	memcpy(run->fake->config + config.offset_bytes, request->payload + sizeof(config), config.size_bytes);
	return 0;
}

static int
get_inflight(struct request *request)
{
	struct rp_vhu_wire_inflight inflight;

	memcpy(&inflight, request->payload, sizeof(inflight));
	inflight.mmap_bytes = 65536;
	inflight.mmap_offset_bytes = 0;
	request->reply_fd = memfd_create("fake-inflight", MFD_CLOEXEC);
	if (request->reply_fd < 0 || ftruncate(request->reply_fd, 65536) < 0)
		return -1;
	memcpy(request->reply, &inflight, sizeof(inflight));
	request->reply_bytes = request->header.size_bytes;
	request->replied = true;
	return 0;
}

static int
act(struct fake_backend_run *run, struct request *request)
{
	struct fake_backend *fake = run->fake;
	int fd;

	switch (request->header.request) {
	case RP_VHU_GET_FEATURES:
		reply_u64(request, fake->features);
		return 0;
	case RP_VHU_SET_FEATURES:
		return set_features(run, request);
	case RP_VHU_GET_PROTOCOL_FEATURES:
		reply_u64(request, fake->protocol_features);
		return 0;
	case RP_VHU_SET_PROTOCOL_FEATURES:
		fake->protocol_features_acked = u64_of(request);
		return (fake->protocol_features_acked & ~fake->protocol_features) != 0 ? -1 : 0;
	case RP_VHU_GET_QUEUE_NUM:
		reply_u64(request, fake->queues);
		return 0;
	case RP_VHU_SET_OWNER:
		return 0;
	case RP_VHU_SET_MEM_TABLE:
		return set_mem_table(run, request);
	case RP_VHU_SET_LOG_BASE:
		return set_log_base(run, request);
	case RP_VHU_SET_LOG_FD:
		fake->has_log_fd = request->msg->fds_count == 1;
		return 0;
	case RP_VHU_SET_VRING_NUM:
		return set_vring_num(run, request);
	case RP_VHU_SET_VRING_BASE:
		return set_vring_base(run, request);
	case RP_VHU_SET_VRING_ADDR:
		return set_vring_addr(run, request);
	case RP_VHU_GET_VRING_BASE:
		return get_vring_base(run, request);
	case RP_VHU_SET_VRING_KICK:
	case RP_VHU_SET_VRING_CALL:
	case RP_VHU_SET_VRING_ERR:
		return set_fd(run, request);
	case RP_VHU_SET_VRING_ENABLE:
		return set_vring_enable(run, request);
	case RP_VHU_SET_BACKEND_REQ_FD:
		fd = request->msg->fds_count > 0 ? rp_wire_fd_take(&request->msg->fds[0]) : -1;
		rp_wire_fd_replace(&run->channel_fd, &fd);
		return 0;
	case RP_VHU_GET_CONFIG:
		return get_config(run, request);
	case RP_VHU_SET_CONFIG:
		return set_config(run, request);
	case RP_VHU_GET_INFLIGHT_FD:
		return get_inflight(request);
	case RP_VHU_SET_INFLIGHT_FD:
		fake->has_inflight = request->msg->fds_count == 1;
		return 0;
	case RP_VHU_NET_SET_MTU:
		fake->mtu_bytes = u64_of(request);
		return 0;
	case RP_VHU_IOTLB_MSG:
		memcpy(&fake->iotlb, request->payload, sizeof(fake->iotlb));
		if (fake->iotlb.type == RP_VHU_IOTLB_UPDATE)
			fake->iotlb_updates++;
		else
			fake->iotlb_invalidations++;
		return 0;
	case RP_VHU_SEND_RARP:
		fake->rarps++;
		return 0;
	default:
		return -1;
	}
}

static int
answer(struct fake_backend_run *run, struct request *request, int rc)
{
	uint64_t value = rc < 0;

	if (request->replied)
		return rp_vhu_msg_send(run->conn, request->header.request, RP_VHU_FLAG_REPLY, request->reply,
				       rc < 0 ? 0 : request->reply_bytes, &request->reply_fd, request->reply_fd >= 0);
	if ((request->header.flags & RP_VHU_FLAG_NEED_REPLY) != 0)
		return rp_vhu_msg_send(run->conn, request->header.request, RP_VHU_FLAG_REPLY, &value, sizeof(value),
				       NULL, 0);
	/* librte_vhost closes the connection then. */
	return rc;
}

static void
remember(struct fake_backend *fake, const struct request *request)
{
	unsigned int ring = ring_of(request);

	if (fake->history_count < FAKE_BACKEND_HISTORY) {
		fake->history[fake->history_count].request = (uint8_t)request->header.request;
		fake->history[fake->history_count].ring = (uint8_t)ring;
		fake->history_count++;
	}
	if (ring != NO_RING)
		fake->rings[ring].mentioned = true;
}

int
fake_backend_handle(struct fake_backend_run *run, struct rp_wire_msg *msg)
{
	struct request request = {.msg = msg, .payload = msg->bytes + sizeof(struct rp_vhu_header), .reply_fd = -1};
	struct fake_backend *fake = run->fake;
	int rc;

	memcpy(&request.header, msg->bytes, sizeof(request.header));
	remember(fake, &request);
	if (fake->die_at == request.header.request) {
		fake->die_at = 0;
		return -1;
	}
	rc = fake->refuse == request.header.request ? -1 : act(run, &request);
	fake_backend_rings_settle(run);
	rc = answer(run, &request, rc);
	rp_wire_fd_close(&request.reply_fd);
	if (fake->die_after == request.header.request) {
		fake->die_after = 0;
		return -1;
	}
	return rc < 0 ? -1 : 0;
}
