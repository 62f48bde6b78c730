/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * The backend channel: our requests to the frontend. Sent at once, answered some
 * time; answers come in the order of the requests. A frontend that breaks that
 * loses the channel, not the connection.
 */

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "rp_wire_fd.h"
#include "vhu_backend.h"

#define BIT(n) (1ull << (n))

void
vhu_channel_close(struct rp_vhu_backend *backend)
{
	backend->channel = vhu_backend_drop(backend, backend->channel);
	while (backend->pending_count > 0) {
		uint64_t token = backend->pending[backend->pending_head].token;

		backend->pending_head = (backend->pending_head + 1) % VHU_PENDING_MAX;
		backend->pending_count--;
		if (backend->ops->channel_reply != NULL)
			backend->ops->channel_reply(backend->ctx, token, -ENOTCONN);
	}
}

int
vhu_channel_check_socket(int fd, struct rp_wire_why *why)
{
	int domain = -1, type = -1;
	socklen_t domain_bytes = sizeof(domain), type_bytes = sizeof(type);

	if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &domain_bytes) == 0 &&
	    getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &type_bytes) == 0 && domain == AF_UNIX && type == SOCK_STREAM)
		return 0;
	return rp_wire_why_set(why, -EBADMSG, "descriptor: is not a Unix stream socket");
}

int
vhu_on_set_backend_req_fd(struct rp_vhu_backend *backend, struct vhu_request *request, struct rp_wire_why *why)
{
	struct rp_wire_conn *channel = NULL;
	int rc = vhu_channel_check_socket(request->msg->fds[0], why);

	if (rc < 0)
		return rc;
	rc = rp_wire_conn_create(&request->msg->fds[0], &rp_vhu_msg_framing, &channel);
	if (rc == 0)
		rc = rp_wire_conn_watch(channel, backend->epoll_fd);
	if (rc < 0) {
		vhu_backend_drop(backend, channel);
		return rp_wire_why_set(why, rc == -ENOMEM ? -ENOSPC : -EBADMSG, "descriptor: cannot be polled: %s",
				       strerror(-rc));
	}
	vhu_channel_close(backend);
	backend->channel = channel;
	if (backend->ops->channel_up != NULL)
		backend->ops->channel_up(backend->ctx);
	return 0;
}

static int
take_reply(struct rp_vhu_backend *backend, const struct rp_wire_msg *msg, struct rp_wire_why *why)
{
	struct vhu_pending pending;
	struct rp_vhu_header header;
	uint64_t value;

	memcpy(&header, msg->bytes, sizeof(header));
	if (backend->pending_count == 0)
		return rp_wire_why_set(why, -EPROTO, "request %u: nothing was asked", header.request);
	pending = backend->pending[backend->pending_head];
	if ((header.flags & RP_VHU_FLAG_REPLY) == 0 || header.request != pending.request ||
	    header.size_bytes != sizeof(value))
		return rp_wire_why_set(why, -EPROTO,
				       "request %u, flags 0x%x, %u bytes, expected a reply of 8 bytes to %u",
				       header.request, header.flags, header.size_bytes, pending.request);
	memcpy(&value, msg->bytes + sizeof(header), sizeof(value));
	backend->pending_head = (backend->pending_head + 1) % VHU_PENDING_MAX;
	backend->pending_count--;
	if (backend->ops->channel_reply != NULL)
		backend->ops->channel_reply(backend->ctx, pending.token, value == 0 ? 0 : -EREMOTEIO);
	return 0;
}

void
vhu_channel_process(struct rp_vhu_backend *backend)
{
	struct rp_wire_why why = {0};
	struct rp_wire_msg *msg;
	int rc = 0;

	if (backend->channel == NULL)
		return;
	if (rp_wire_conn_flush(backend->channel) == -ENOTCONN)
		rc = rp_wire_why_set(&why, -ENOTCONN, "peer left");
	while (rc == 0) {
		rc = rp_wire_conn_receive(backend->channel, &msg, &why);
		if (rc < 0)
			break;
		rc = take_reply(backend, msg, &why);
		rp_wire_msg_drop(msg);
	}
	if (rc == -EAGAIN) {
		rp_wire_conn_watch(backend->channel, backend->epoll_fd);
		return;
	}
	rp_wire_why_prefix(&why, "backend channel: ");
	/* A frontend that leaves closes both; the connection's own end says so. */
	if (rc != -ENOTCONN && backend->ops->refused != NULL)
		backend->ops->refused(backend->ctx, &why);
	vhu_channel_close(backend);
}

int
vhu_channel_require(const struct rp_vhu_backend *backend, uint64_t bits, struct rp_wire_why *why)
{
	const uint64_t missing =
		(bits | BIT(RP_VHU_PF_BACKEND_REQ_BIT) | BIT(RP_VHU_PF_REPLY_ACK_BIT)) & ~backend->protocol_features;
	char names[RP_WIRE_WHY_MAX];

	if (missing != 0) {
		rp_vhu_dialect_feature_names(&backend->dialect, missing, names, sizeof(names));
		return rp_wire_why_set(why, -ENOTSUP, "the frontend did not negotiate %s", names);
	}
	if (backend->channel == NULL)
		return rp_wire_why_set(why, -ENOTSUP, "the frontend opened no backend channel");
	if (backend->pending_count == VHU_PENDING_MAX)
		return rp_wire_why_set(why, -ENOSPC, "%u requests wait for the frontend's answer", VHU_PENDING_MAX);
	return 0;
}

int
vhu_channel_send(struct rp_vhu_backend *backend, uint32_t request, const void *payload, uint32_t size_bytes, int fd,
		 uint64_t token, struct rp_wire_why *why)
{
	unsigned int tail = (backend->pending_head + backend->pending_count) % VHU_PENDING_MAX;
	int rc = rp_vhu_msg_send(backend->channel, request, RP_VHU_FLAG_NEED_REPLY, payload, size_bytes, &fd,
				 fd >= 0 ? 1 : 0);

	if (rc < 0)
		return rp_wire_why_set(why, rc, "backend channel: %s", strerror(-rc));
	backend->pending[tail] = (struct vhu_pending){.request = request, .token = token};
	backend->pending_count++;
	rp_wire_conn_watch(backend->channel, backend->epoll_fd);
	return 0;
}

int
rp_vhu_backend_config_changed(struct rp_vhu_backend *backend, uint64_t token, struct rp_wire_why *why)
{
	int rc = vhu_channel_require(backend, BIT(RP_VHU_PF_CONFIG_BIT), why);

	if (rc < 0)
		return rc;
	return vhu_channel_send(backend, RP_VHU_BACKEND_CONFIG_CHANGE_MSG, NULL, 0, -1, token, why);
}
