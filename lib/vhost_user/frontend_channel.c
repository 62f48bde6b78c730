/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "rp_wire_fd.h"
#include "vhu_frontend.h"

#define MESSAGES_PER_PROCESS 64

int
vhu_frontend_open_channel(struct rp_vhu_frontend *frontend, struct rp_wire_why *why)
{
	int pair[2];
	int rc;

	if (frontend->channel != NULL)
		return 0;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0)
		return rp_wire_why_set(why, -errno, "socketpair: %s", strerror(errno));
	rc = rp_wire_conn_create(&pair[0], &rp_vhu_msg_framing, &frontend->channel);
	if (rc == 0)
		rc = rp_wire_conn_watch(frontend->channel, frontend->epoll_fd);
	if (rc == 0)
		rc = vhu_frontend_tell(frontend, RP_VHU_SET_BACKEND_REQ_FD, NULL, 0, &pair[1], 1, why);
	rp_wire_fd_close_all(pair, 2);
	if (rc < 0)
		vhu_frontend_close_channel(frontend);
	return rc;
}

void
vhu_frontend_close_channel(struct rp_vhu_frontend *frontend)
{
	frontend->channel = vhu_frontend_drop(frontend, frontend->channel);
}

static void
config_changed(struct rp_vhu_frontend *frontend)
{
	if (frontend->ops != NULL && frontend->ops->config_changed != NULL)
		frontend->ops->config_changed(frontend->ctx);
}

static int
act(struct rp_vhu_frontend *frontend, const struct rp_vhu_msg_row *row, struct rp_wire_msg *msg,
    struct rp_wire_why *why)
{
	int rc = 0;

	/* A number means what the dialect says, not what it means in another. */
	if (row == &frontend->dialect.vfio_file)
		rc = vhu_frontend_take_vfio_file(frontend, msg, why);
	else if (row == &frontend->dialect.notify_area || row->id == RP_VHU_BACKEND_VRING_HOST_NOTIFIER_MSG)
		rc = vhu_frontend_take_notify_area(frontend, msg, why);
	else if (row->id == RP_VHU_BACKEND_IOTLB_MSG)
		rc = vhu_frontend_take_iotlb(frontend, msg, why);
	else if (row->id == RP_VHU_BACKEND_CONFIG_CHANGE_MSG)
		config_changed(frontend);
	else
		rc = rp_wire_why_set(why, -ENOTSUP, "nobody here to take it");
	if (rc < 0)
		rp_wire_why_prefix(why, "%s: ", row->name);
	return rc;
}

static void
report(struct rp_vhu_frontend *frontend, const struct rp_wire_why *why)
{
	if (frontend->ops != NULL && frontend->ops->refused != NULL)
		frontend->ops->refused(frontend->ctx, why);
}

static int
handle(struct rp_vhu_frontend *frontend, struct rp_wire_msg *msg, struct rp_wire_why *why)
{
	const struct rp_vhu_msg_row *row;
	struct rp_vhu_header header;
	int rc;

	memcpy(&header, msg->bytes, sizeof(header));
	if ((header.flags & RP_VHU_FLAG_REPLY) != 0)
		return rp_wire_why_set(why, -EPROTO, "header: flags: a reply (0x%x) where a request is expected",
				       header.flags);
	row = rp_vhu_dialect_find(&frontend->dialect, header.request);
	rc = rp_vhu_msg_check(row, header.request, msg->bytes + sizeof(header), header.size_bytes, msg->fds_count,
			      frontend->protocol_features, why);
	if (rc == 0)
		rc = act(frontend, row, msg, why);
	if (rc < 0)
		report(frontend, why);
	if ((header.flags & RP_VHU_FLAG_NEED_REPLY) != 0 && vhu_frontend_can_ack(frontend)) {
		uint64_t value = rc < 0;

		rc = rp_vhu_msg_send(frontend->channel, header.request, RP_VHU_FLAG_REPLY, &value, sizeof(value), NULL,
				     0);
		rp_wire_conn_watch(frontend->channel, frontend->epoll_fd);
		return rc == -ENOSPC ? rp_wire_why_set(why, -EPROTO, "the backend does not read its answers") : rc;
	}
	return 0;
}

void
vhu_frontend_serve_channel(struct rp_vhu_frontend *frontend)
{
	struct rp_wire_why why = {0};
	struct rp_wire_msg *msg;
	unsigned int count;
	int rc = 0;

	if (frontend->channel == NULL)
		return;
	rp_wire_conn_flush(frontend->channel);
	/*
	 * A backend that never stops talking must not keep us from our own time-outs. And one that misses one
	 * translation after the other has each told in a request of its own: half of the room is left to others.
	 */
	for (count = 0;
	     rc == 0 && count < MESSAGES_PER_PROCESS && frontend->outstanding_count < VHU_OUTSTANDING_MAX / 2;
	     count++) {
		rc = rp_wire_conn_receive(frontend->channel, &msg, &why);
		if (rc < 0)
			break;
		frontend->in_callback = true;
		rc = handle(frontend, msg, &why);
		frontend->in_callback = false;
		rp_wire_msg_drop(msg);
	}
	if (rc == 0 || rc == -EAGAIN) {
		rp_wire_conn_watch(frontend->channel, frontend->epoll_fd);
		return;
	}
	rp_wire_why_prefix(&why, "backend channel: ");
	/* A backend that leaves closes both; the connection's own end says so. */
	if (rc != -ENOTCONN)
		report(frontend, &why);
	/* Without the channel no doorbell can be taken back any more. */
	vhu_frontend_unmap_all(frontend);
	vhu_frontend_close_channel(frontend);
}
