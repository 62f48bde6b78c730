/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "rp_wire_caller.h"
#include "rp_wire_fd.h"
#include "vhu_frontend.h"

#define TIMEOUT_DEFAULT_MS 5000

int
rp_vhu_frontend_create(int *fd, const struct rp_vhu_frontend_config *config, const struct rp_vhu_frontend_ops *ops,
		       void *ctx, struct rp_vhu_frontend **ret_frontend)
{
	struct rp_vhu_frontend *frontend;
	struct rp_vhu_dialect dialect;
	socklen_t type_bytes = sizeof(int);
	int rc, type;

	if (config->queues_max == 0 || config->queues_max > RP_VHU_QUEUES_MAX || config->timeout_ms > INT_MAX)
		return -EINVAL;
	if (rp_vhu_dialect_init(&dialect, config->profile, &config->numbers, NULL) < 0)
		return -EINVAL;
	/* What is no socket could be taken, but not be polled. */
	if (getsockopt(*fd, SOL_SOCKET, SO_TYPE, &type, &type_bytes) < 0)
		return -EINVAL;
	frontend = calloc(1, sizeof(*frontend));
	if (frontend == NULL)
		return -ENOMEM;
	frontend->config = *config;
	frontend->dialect = dialect;
	frontend->config.protocol_features &= dialect.protocol_features;
	frontend->config.protocol_features |= dialect.vfio_mask;
	if (frontend->config.timeout_ms == 0)
		frontend->config.timeout_ms = TIMEOUT_DEFAULT_MS;
	if (frontend->config.notify_slot_bytes == 0)
		frontend->config.notify_slot_bytes = (uint64_t)sysconf(_SC_PAGESIZE);
	frontend->ops = ops;
	frontend->ctx = ctx;
	frontend->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	rc = frontend->epoll_fd < 0 ? -ENOMEM : vhu_frontend_create_queues(frontend);
	if (rc == 0)
		rc = rp_wire_caller_take(&frontend->caller);
	if (rc == 0 && config->vfio_files == NULL)
		rc = rp_vhu_vfio_files_create(NULL, NULL, &frontend->own_vfio_files);
	frontend->vfio_files = config->vfio_files != NULL ? config->vfio_files : frontend->own_vfio_files;
	if (rc == 0)
		rc = rp_wire_conn_create(fd, &rp_vhu_msg_framing, &frontend->conn);
	if (rc == 0)
		rc = rp_wire_conn_watch(frontend->conn, frontend->epoll_fd);
	if (rc < 0)
		goto fail;
	*ret_frontend = frontend;
	return 0;
fail:
	rp_vhu_frontend_destroy(frontend);
	return rc;
}

static void
fail_outstanding(struct rp_vhu_frontend *frontend)
{
	while (frontend->outstanding_count > 0) {
		struct vhu_outstanding first = frontend->outstanding[frontend->outstanding_head];

		frontend->outstanding_head = (frontend->outstanding_head + 1) % VHU_OUTSTANDING_MAX;
		frontend->outstanding_count--;
		if (first.done != NULL)
			first.done(first.done_ctx, -ENOTCONN, NULL, 0, NULL, 0);
	}
}

static void
release(struct rp_vhu_frontend *frontend)
{
	if (frontend->queues != NULL) {
		vhu_frontend_reset_queues(frontend);
		vhu_frontend_drop_vfio_files(frontend);
	}
	vhu_frontend_close_channel(frontend);
	frontend->conn = vhu_frontend_drop(frontend, frontend->conn);
	fail_outstanding(frontend);
}

void
vhu_frontend_lose(struct rp_vhu_frontend *frontend, const struct rp_wire_why *why)
{
	if (frontend->conn == NULL)
		return;
	frontend->lost = *why;
	release(frontend);
	if (frontend->ops != NULL && frontend->ops->disconnected != NULL)
		frontend->ops->disconnected(frontend->ctx, why);
}

struct rp_vhu_frontend *
rp_vhu_frontend_destroy(struct rp_vhu_frontend *frontend)
{
	if (frontend == NULL)
		return NULL;
	release(frontend);
	vhu_frontend_destroy_queues(frontend);
	rp_vhu_vfio_files_destroy(frontend->own_vfio_files);
	frontend->caller = rp_wire_caller_give(frontend->caller);
	rp_wire_fd_close(&frontend->epoll_fd);
	free(frontend);
	return NULL;
}

int
rp_vhu_frontend_fd(const struct rp_vhu_frontend *frontend)
{
	return frontend->epoll_fd;
}

/* The backend may hold the socket too: closing our number of it does not take it out of the epoll. */
struct rp_wire_conn *
vhu_frontend_drop(struct rp_vhu_frontend *frontend, struct rp_wire_conn *conn)
{
	if (conn != NULL)
		epoll_ctl(frontend->epoll_fd, EPOLL_CTL_DEL, rp_wire_conn_fd(conn), NULL);
	return rp_wire_conn_destroy(conn);
}

bool
vhu_frontend_can_ack(const struct rp_vhu_frontend *frontend)
{
	return (frontend->protocol_features & 1ull << RP_VHU_PF_REPLY_ACK_BIT) != 0;
}

int
rp_vhu_frontend_submit(struct rp_vhu_frontend *frontend, uint32_t request, const void *payload, uint32_t size_bytes,
		       const int *fds, unsigned int fds_count, bool need_reply, rp_vhu_frontend_done done,
		       void *done_ctx, struct rp_wire_why *why)
{
	const struct rp_vhu_msg_row *row = rp_vhu_msg_find(request);
	bool acked = need_reply && vhu_frontend_can_ack(frontend);
	bool answered;
	int rc;

	if (frontend->conn == NULL)
		return rp_wire_why_set(why, -ENOTCONN, "%s", frontend->lost.text);
	rc = rp_vhu_msg_check(row, request, payload, size_bytes, fds_count, frontend->protocol_features, why);
	if (rc < 0)
		return rc == -ENOTSUP ? rc : -EINVAL;
	answered = row->reply != RP_VHU_REPLY_ACK || acked;
	if (answered && frontend->outstanding_count == VHU_OUTSTANDING_MAX)
		return rp_wire_why_set(why, -ENOSPC, "%u requests wait for an answer", VHU_OUTSTANDING_MAX);
	rc = rp_vhu_msg_send(frontend->conn, request, acked ? RP_VHU_FLAG_NEED_REPLY : 0, payload, size_bytes, fds,
			     fds_count);
	if (rc < 0)
		return rp_wire_why_set(why, rc, "%s: %s", row->name, strerror(-rc));
	rp_wire_conn_watch(frontend->conn, frontend->epoll_fd);
	if (answered) {
		unsigned int tail = (frontend->outstanding_head + frontend->outstanding_count) % VHU_OUTSTANDING_MAX;

		frontend->outstanding[tail] = (struct vhu_outstanding){request, row->reply, done, done_ctx};
		frontend->outstanding_count++;
	} else if (done != NULL) {
		done(done_ctx, 0, NULL, 0, NULL, 0);
	}
	return 0;
}

static int
take_answer(struct rp_vhu_frontend *frontend, struct rp_wire_msg *msg, struct rp_wire_why *why)
{
	const uint8_t *payload = msg->bytes + sizeof(struct rp_vhu_header);
	struct vhu_outstanding first;
	struct rp_vhu_header header;
	uint64_t value = 0;
	int error = 0;

	memcpy(&header, msg->bytes, sizeof(header));
	if ((header.flags & RP_VHU_FLAG_REPLY) == 0 || frontend->outstanding_count == 0)
		return rp_wire_why_set(why, -EPROTO, "request %u, flags 0x%x: nothing like it was asked",
				       header.request, header.flags);
	first = frontend->outstanding[frontend->outstanding_head];
	if (header.request != first.request)
		return rp_wire_why_set(why, -EPROTO, "an answer to request %u, expected one to %u", header.request,
				       first.request);
	/* Of an answer that is always there, none at all means done, too: see RP_VHU_REPLY_STATUS. */
	if (first.reply == RP_VHU_REPLY_ACK || (first.reply == RP_VHU_REPLY_STATUS && header.size_bytes != 0)) {
		if (header.size_bytes != sizeof(value))
			return rp_wire_why_set(why, -EPROTO, "an acknowledgement of %u bytes, expected 8",
					       header.size_bytes);
		memcpy(&value, payload, sizeof(value));
		error = value == 0 ? 0 : -EREMOTEIO;
	} else if (first.reply == RP_VHU_REPLY_PAYLOAD && header.size_bytes == 0) {
		error = -EREMOTEIO; /* how a request that must be answered is refused */
	}
	frontend->outstanding_head = (frontend->outstanding_head + 1) % VHU_OUTSTANDING_MAX;
	frontend->outstanding_count--;
	frontend->in_callback = true;
	if (first.done != NULL)
		first.done(first.done_ctx, error, error == 0 ? payload : NULL, error == 0 ? header.size_bytes : 0,
			   msg->fds, msg->fds_count);
	frontend->in_callback = false;
	return 0;
}

int
vhu_frontend_serve_requests(struct rp_vhu_frontend *frontend)
{
	struct rp_wire_why why = {0};
	struct rp_wire_msg *msg;
	int rc = 0;

	if (frontend->conn == NULL)
		return -ENOTCONN;
	if (rp_wire_conn_flush(frontend->conn) == -ENOTCONN)
		rc = rp_wire_why_set(&why, -ENOTCONN, "the backend left");
	while (rc == 0) {
		rc = rp_wire_conn_receive(frontend->conn, &msg, &why);
		if (rc < 0)
			break;
		rc = take_answer(frontend, msg, &why);
		rp_wire_msg_drop(msg);
	}
	if (rc == -EAGAIN) {
		rp_wire_conn_watch(frontend->conn, frontend->epoll_fd);
		return 0;
	}
	vhu_frontend_lose(frontend, &why);
	return -ENOTCONN;
}

int
rp_vhu_frontend_process(struct rp_vhu_frontend *frontend)
{
	int rc = frontend->in_callback ? -EBUSY : vhu_frontend_serve_requests(frontend);

	if (rc == 0)
		vhu_frontend_serve_channel(frontend);
	return rc;
}

uint64_t
rp_vhu_frontend_features_offered(const struct rp_vhu_frontend *frontend)
{
	return frontend->features_offered;
}

uint64_t
rp_vhu_frontend_protocol_features(const struct rp_vhu_frontend *frontend)
{
	return frontend->protocol_features;
}

uint16_t
rp_vhu_frontend_queues_offered(const struct rp_vhu_frontend *frontend)
{
	return frontend->queues_offered;
}
