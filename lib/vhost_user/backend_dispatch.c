/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <string.h>

#include "rp_wire_fd.h"
#include "vhu_backend.h"

#define REPLY_ROOM (sizeof(struct rp_vhu_wire_config) + RP_VHU_CONFIG_MAX)

/* Parallel to the message table. */
static const vhu_handler handlers[] = {
	[RP_VHU_GET_FEATURES] = vhu_on_get_features,
	[RP_VHU_SET_FEATURES] = vhu_on_set_features,
	[RP_VHU_SET_OWNER] = vhu_on_set_owner,
	[RP_VHU_RESET_OWNER] = vhu_on_reset_owner,
	[RP_VHU_SET_MEM_TABLE] = vhu_on_set_mem_table,
	[RP_VHU_SET_LOG_BASE] = vhu_on_set_log_base,
	[RP_VHU_SET_LOG_FD] = vhu_on_set_log_fd,
	[RP_VHU_SET_VRING_NUM] = vhu_on_set_vring_num,
	[RP_VHU_SET_VRING_ADDR] = vhu_on_set_vring_addr,
	[RP_VHU_SET_VRING_BASE] = vhu_on_set_vring_base,
	[RP_VHU_GET_VRING_BASE] = vhu_on_get_vring_base,
	[RP_VHU_SET_VRING_KICK] = vhu_on_set_vring_kick,
	[RP_VHU_SET_VRING_CALL] = vhu_on_set_vring_call,
	[RP_VHU_SET_VRING_ERR] = vhu_on_set_vring_err,
	[RP_VHU_GET_PROTOCOL_FEATURES] = vhu_on_get_protocol_features,
	[RP_VHU_SET_PROTOCOL_FEATURES] = vhu_on_set_protocol_features,
	[RP_VHU_GET_QUEUE_NUM] = vhu_on_get_queue_num,
	[RP_VHU_SET_VRING_ENABLE] = vhu_on_set_vring_enable,
	[RP_VHU_SEND_RARP] = vhu_on_send_rarp,
	[RP_VHU_NET_SET_MTU] = vhu_on_set_mtu,
	[RP_VHU_SET_BACKEND_REQ_FD] = vhu_on_set_backend_req_fd,
	[RP_VHU_IOTLB_MSG] = vhu_on_iotlb,
	[RP_VHU_GET_CONFIG] = vhu_on_get_config,
	[RP_VHU_SET_CONFIG] = vhu_on_set_config,
	[RP_VHU_GET_INFLIGHT_FD] = vhu_on_get_inflight_fd,
	[RP_VHU_SET_INFLIGHT_FD] = vhu_on_set_inflight_fd,
	[RP_VHU_RESET_DEVICE] = vhu_on_reset_device,
	[RP_VHU_GET_MAX_MEM_SLOTS] = vhu_on_get_max_mem_slots,
	[RP_VHU_ADD_MEM_REG] = vhu_on_add_mem_reg,
	[RP_VHU_REM_MEM_REG] = vhu_on_rem_mem_reg,
	[RP_VHU_SET_STATUS] = vhu_on_set_status,
	[RP_VHU_GET_STATUS] = vhu_on_get_status,
};

uint64_t
vhu_request_u64(const struct vhu_request *request)
{
	uint64_t value;

	memcpy(&value, request->payload, sizeof(value));
	return value;
}

void
vhu_request_reply_u64(struct vhu_request *request, uint64_t value)
{
	memcpy(request->reply, &value, sizeof(value));
	request->reply_bytes = sizeof(value);
}

/*
 * Answer or refuse, never hang: a request that always has a payload in answer
 * gets an empty one when it is refused, which no frontend takes for a value.
 */
static int
answer(struct rp_vhu_backend *backend, const struct rp_vhu_header *header, const struct rp_vhu_msg_row *row,
       const struct vhu_request *request, int error)
{
	bool acked = (header->flags & RP_VHU_FLAG_NEED_REPLY) != 0 &&
		     (backend->protocol_features & 1ull << RP_VHU_PF_REPLY_ACK_BIT) != 0;
	uint64_t value = error != 0;

	if (row != NULL && row->reply == RP_VHU_REPLY_PAYLOAD)
		return rp_vhu_msg_send(backend->conn, header->request, RP_VHU_FLAG_REPLY, request->reply,
				       error != 0 ? 0 : request->reply_bytes, &request->reply_fd,
				       error == 0 && request->reply_fd >= 0 ? 1 : 0);
	if (acked || (row != NULL && row->reply == RP_VHU_REPLY_STATUS))
		return rp_vhu_msg_send(backend->conn, header->request, RP_VHU_FLAG_REPLY, &value, sizeof(value), NULL,
				       0);
	return 0;
}

static int
handle(struct rp_vhu_backend *backend, struct vhu_request *request, uint32_t id, struct rp_wire_why *why)
{
	vhu_handler handler = id < sizeof(handlers) / sizeof(handlers[0]) ? handlers[id] : NULL;

	return handler != NULL ? handler(backend, request, why) : rp_wire_why_set(why, -ENOTSUP, "no handler");
}

/* Many of these come in a row, and mean something together. */
static bool
is_of_rings(uint32_t request)
{
	return (request >= RP_VHU_SET_VRING_NUM && request <= RP_VHU_SET_VRING_BASE) ||
	       (request >= RP_VHU_SET_VRING_KICK && request <= RP_VHU_SET_VRING_ERR) ||
	       request == RP_VHU_SET_VRING_ENABLE;
}

static bool
is_waited_for(const struct rp_vhu_backend *backend, const struct rp_vhu_header *header)
{
	return (header->flags & RP_VHU_FLAG_NEED_REPLY) != 0 &&
	       (backend->protocol_features & 1ull << RP_VHU_PF_REPLY_ACK_BIT) != 0;
}

void
vhu_backend_settle(struct rp_vhu_backend *backend)
{
	if (backend->ops->settle != NULL)
		backend->ops->settle(backend->ctx);
}

int
vhu_backend_dispatch(struct rp_vhu_backend *backend, struct rp_wire_msg *msg, struct rp_wire_why *why)
{
	uint8_t reply[REPLY_ROOM];
	const struct rp_vhu_msg_row *row;
	struct rp_vhu_header header;
	struct vhu_request request = {
		.msg = msg,
		.payload = msg->bytes + sizeof(header),
		.size_bytes = (uint32_t)(msg->size_bytes - sizeof(header)),
		.reply = reply,
		.reply_fd = -1,
	};
	int rc;

	memcpy(&header, msg->bytes, sizeof(header));
	if ((header.flags & RP_VHU_FLAG_REPLY) != 0)
		return rp_wire_why_set(why, -EPROTO, "header: flags: a reply (0x%x) where a request is expected",
				       header.flags);
	/* Not before a ring is stopped: it would be started only for that. */
	if (!is_of_rings(header.request) && header.request != RP_VHU_GET_VRING_BASE)
		vhu_backend_settle(backend);
	row = rp_vhu_msg_find(header.request);
	rc = rp_vhu_msg_check(row, header.request, request.payload, request.size_bytes, msg->fds_count,
			      backend->protocol_features, why);
	if (rc == 0) {
		rc = handle(backend, &request, header.request, why);
		if (rc < 0)
			rp_wire_why_prefix(why, "%s: ", row->name);
	}
	if (rc < 0 && backend->ops->refused != NULL)
		backend->ops->refused(backend->ctx, why);
	if (rp_wire_why_closes(rc))
		return rc;
	if (is_waited_for(backend, &header))
		vhu_backend_settle(backend);
	rc = answer(backend, &header, row, &request, rc);
	rp_wire_fd_close(&request.reply_fd);
	if (rc < 0)
		return rp_wire_why_set(why, -ENOTCONN, "%s",
				       rc == -ENOSPC ? "the frontend does not read its answers" :
						       "peer left before it was answered");
	return 0;
}
