/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "rp_wire_fd.h"
#include "vhu_backend.h"

#define BIT(n) (1ull << (n))

#define MESSAGES_PER_PROCESS 64

static int
check_config(const struct rp_vhu_backend_config *config, const struct rp_vhu_dialect *dialect, struct rp_wire_why *why)
{
	uint64_t unknown = config->protocol_features & ~dialect->protocol_features;
	char names[RP_WIRE_WHY_MAX];

	if (config->queues_max == 0 || config->queues_max > RP_VHU_QUEUES_MAX)
		return rp_wire_why_set(why, -EINVAL, "queues_max: %u, expected 1 to %u", config->queues_max,
				       RP_VHU_QUEUES_MAX);
	if ((config->vring_num_max & (config->vring_num_max - 1)) != 0)
		return rp_wire_why_set(why, -EINVAL, "vring_num_max: %u, expected a power of two",
				       config->vring_num_max);
	if (config->queues_told > config->queues_max)
		return rp_wire_why_set(why, -EINVAL, "queues_told: %u, expected at most %u", config->queues_told,
				       config->queues_max);
	if (unknown != 0) {
		rp_vhu_dialect_feature_names(dialect, unknown, names, sizeof(names));
		return rp_wire_why_set(why, -EINVAL, "protocol_features: not implemented in profile '%s': %s",
				       rp_vhu_profile_name(config->profile), names);
	}
	return 0;
}

int
rp_vhu_backend_create(const struct rp_vhu_backend_config *config, const struct rp_vhu_backend_ops *ops, void *ctx,
		      struct rp_vhu_backend **ret_backend, struct rp_wire_why *why)
{
	struct rp_vhu_dialect dialect;
	struct rp_vhu_backend *backend;
	int rc = rp_vhu_dialect_init(&dialect, config->profile, &config->numbers, why);

	if (rc == 0)
		rc = check_config(config, &dialect, why);
	if (rc < 0)
		return rc;
	backend = calloc(1, sizeof(*backend));
	if (backend == NULL)
		return rp_wire_why_set(why, -ENOMEM, "no memory");
	backend->dialect = dialect;
	backend->config = *config;
	backend->config.protocol_features |= dialect.vfio_mask;
	backend->config.features |= BIT(RP_VHU_F_PROTOCOL_FEATURES_BIT);
	if (backend->config.vring_num_max == 0)
		backend->config.vring_num_max = 32768;
	if (backend->config.queues_told == 0)
		backend->config.queues_told = config->queues_max;
	backend->ops = ops;
	backend->ctx = ctx;
	backend->log_fd = backend->log_file.fd = backend->inflight_file.fd = -1;
	backend->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (backend->epoll_fd < 0 || vhu_vrings_create(backend) < 0) {
		rp_vhu_backend_destroy(backend);
		return rp_wire_why_set(why, -ENOMEM, "no memory, or no descriptor");
	}
	*ret_backend = backend;
	return 0;
}

struct rp_vhu_backend *
rp_vhu_backend_destroy(struct rp_vhu_backend *backend)
{
	if (backend == NULL)
		return NULL;
	rp_vhu_backend_detach(backend);
	rp_wire_fd_close(&backend->epoll_fd);
	free(backend->vrings);
	free(backend);
	return NULL;
}

/*
 * A socket that the peer handed over may have other holders: closing our number
 * of it does not take it out of the epoll, and whoever holds it could keep ours
 * awake for ever.
 */
struct rp_wire_conn *
vhu_backend_drop(struct rp_vhu_backend *backend, struct rp_wire_conn *conn)
{
	if (conn != NULL)
		epoll_ctl(backend->epoll_fd, EPOLL_CTL_DEL, rp_wire_conn_fd(conn), NULL);
	return rp_wire_conn_destroy(conn);
}

int
rp_vhu_backend_attach(struct rp_vhu_backend *backend, int *fd)
{
	struct ucred peer = {0};
	socklen_t size = sizeof(peer);
	int rc;

	if (backend->conn != NULL)
		return -EBUSY;
	/* What is no socket could be taken, but not be polled. */
	if (getsockopt(*fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0)
		return -EINVAL;
	rc = rp_wire_conn_create(fd, &rp_vhu_request_framing, &backend->conn);
	if (rc < 0)
		return rc;
	rc = rp_wire_conn_watch(backend->conn, backend->epoll_fd);
	if (rc < 0) {
		backend->conn = vhu_backend_drop(backend, backend->conn);
		return rc;
	}
	backend->peer = peer.pid;
	backend->offered = backend->config.features;
	return 0;
}

static void
forget_words(struct rp_vhu_backend *backend)
{
	backend->peer = 0;
	backend->features_asked = false;
	backend->features_acked = false;
	backend->features = 0;
	backend->protocol_features = 0;
	backend->status = 0;
	backend->detach_wanted = false;
}

void
vhu_backend_forget(struct rp_vhu_backend *backend)
{
	vhu_vrings_forget(backend);
	backend->channel = vhu_backend_drop(backend, backend->channel);
	backend->pending_head = backend->pending_count = 0;
	backend->log = rp_vhu_log_destroy(backend->log);
	rp_wire_fd_close(&backend->log_file.fd);
	rp_wire_fd_close(&backend->log_fd);
	rp_vhu_inflight_destroy(backend->inflight);
	backend->inflight = NULL;
	rp_wire_fd_close(&backend->inflight_file.fd);
	while (backend->regions_count > 0)
		rp_wire_fd_close(&backend->regions[--backend->regions_count].fd);
	backend->conn = vhu_backend_drop(backend, backend->conn);
	forget_words(backend);
}

void
vhu_backend_close(struct rp_vhu_backend *backend, const struct rp_wire_why *why)
{
	if (backend->conn == NULL || backend->closing)
		return;
	backend->closing = true;
	vhu_vrings_clear(backend, RP_VHU_STOP_END);
	vhu_channel_close(backend);
	vhu_log_clear(backend);
	vhu_inflight_clear(backend);
	vhu_memory_clear(backend);
	backend->conn = vhu_backend_drop(backend, backend->conn);
	backend->closing = false;
	forget_words(backend);
	if (backend->ops->disconnected != NULL)
		backend->ops->disconnected(backend->ctx, why);
}

void
rp_vhu_backend_detach(struct rp_vhu_backend *backend)
{
	const struct rp_wire_why why = {.error = -ENOTCONN, .text = "detached"};

	if (backend->in_process)
		backend->detach_wanted = true;
	else
		vhu_backend_close(backend, &why);
}

bool
rp_vhu_backend_attached(const struct rp_vhu_backend *backend)
{
	return backend->conn != NULL;
}

int
rp_vhu_backend_fd(const struct rp_vhu_backend *backend)
{
	return backend->epoll_fd;
}

static int
process_requests(struct rp_vhu_backend *backend, struct rp_wire_why *why)
{
	unsigned int count;
	int rc;

	if (rp_wire_conn_flush(backend->conn) == -ENOTCONN)
		return rp_wire_why_set(why, -ENOTCONN, "peer left");
	/* What was read ahead is no event of the socket's. */
	for (count = 0; count < MESSAGES_PER_PROCESS || rp_wire_conn_has_ahead(backend->conn); count++) {
		struct rp_wire_msg *msg;

		rc = rp_wire_conn_receive(backend->conn, &msg, why);
		if (rc == -EAGAIN)
			break;
		if (rc == 0) {
			rc = vhu_backend_dispatch(backend, msg, why);
			rp_wire_msg_drop(msg);
		}
		if (rc < 0)
			return rc;
		if (backend->detach_wanted)
			return rp_wire_why_set(why, -ENOTCONN, "detached");
	}
	vhu_backend_settle(backend);
	return rp_wire_conn_watch(backend->conn, backend->epoll_fd);
}

int
rp_vhu_backend_process(struct rp_vhu_backend *backend)
{
	struct rp_wire_why why = {0};
	int rc;

	if (backend->conn == NULL)
		return 0;
	backend->in_process = true;
	vhu_channel_process(backend);
	rc = backend->detach_wanted ? rp_wire_why_set(&why, -ENOTCONN, "detached") : process_requests(backend, &why);
	backend->in_process = false;
	if (rc < 0)
		vhu_backend_close(backend, &why);
	return 0;
}

void
rp_vhu_backend_set_offer(struct rp_vhu_backend *backend, uint64_t features)
{
	backend->config.features = features | BIT(RP_VHU_F_PROTOCOL_FEATURES_BIT);
	if (!backend->features_asked)
		backend->offered = backend->config.features;
}

uint64_t
rp_vhu_backend_features(const struct rp_vhu_backend *backend)
{
	return backend->features;
}

uint64_t
rp_vhu_backend_protocol_features(const struct rp_vhu_backend *backend)
{
	return backend->protocol_features;
}

const struct rp_vhu_dialect *
rp_vhu_backend_dialect(const struct rp_vhu_backend *backend)
{
	return &backend->dialect;
}

pid_t
rp_vhu_backend_peer(const struct rp_vhu_backend *backend)
{
	return backend->peer;
}
