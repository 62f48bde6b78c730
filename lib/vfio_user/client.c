/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "rp_wire_conn.h"
#include "rp_wire_fd.h"
#include "rp_wire_socket.h"
#include "vfu_client.h"
#include "vfu_client_iommu.h"

#define DEFAULT_TIMEOUT_MS 5000

static int
pid_of(int socket_fd)
{
	struct ucred peer;
	socklen_t bytes = sizeof(peer);

	return getsockopt(socket_fd, SOL_SOCKET, SO_PEERCRED, &peer, &bytes) < 0 ? 0 : peer.pid;
}

int
rp_vfu_client_take_socket(struct rp_vfu_client *client, int *fd, struct rp_wire_why *why)
{
	int rc;

	client->peer_pid = pid_of(*fd);
	rp_wire_socket_widen(*fd, RP_VFU_SEND_ROOM_BYTES);
	rc = rp_wire_conn_create(fd, &rp_vfu_framing, &client->conn);
	if (rc == 0)
		rc = rp_wire_conn_allow_wait(client->conn, client->timeout_ms);
	return rc < 0 ? rp_wire_why_set(why, rc, "%s", strerror(-rc)) : 0;
}

static int
connect_to(struct rp_vfu_client *client, const char *socket_path, struct rp_wire_why *why)
{
	RP_WIRE_FD_SCOPED int fd = -1;
	int rc = rp_wire_socket_connect(socket_path, &fd, why);

	if (rc < 0)
		return rc;
	rc = rp_vfu_client_take_socket(client, &fd, why);
	if (rc < 0)
		rp_wire_why_prefix(why, "%s: ", socket_path);
	return rc;
}

struct rp_vfu_client *
rp_vfu_client_new(const struct rp_vfu_client_config *config, const struct rp_vfu_client_ops *ops, void *ctx)
{
	struct rp_vfu_client *client = calloc(1, sizeof(*client));

	if (client == NULL)
		return NULL;
	if (ops != NULL)
		client->ops = *ops;
	client->ctx = ctx;
	client->epoll_fd = -1;
	client->timer_fd = -1;
	TAILQ_INIT(&client->under_way);
	TAILQ_INIT(&client->leaving);
	LIST_INIT(&client->pasids);
	client->timeout_ms = config->timeout_ms == 0 ? DEFAULT_TIMEOUT_MS : config->timeout_ms;
	return client;
}

void
rp_vfu_client_ready(struct rp_vfu_client *client)
{
	rp_wire_conn_set_placer(rp_vfu_client_serving(client), &rp_vfu_client_placer, client);
	client->state = RP_VFU_STATE_READY;
	client->announced = true;
	/* What came already, together with the answer to VERSION. */
	rp_vfu_client_watch(client);
}

int
rp_vfu_client_create(const struct rp_vfu_client_config *config, const struct rp_vfu_client_ops *ops, void *ctx,
		     struct rp_vfu_client **ret_client, struct rp_wire_why *why)
{
	struct rp_vfu_client *client = rp_vfu_client_new(config, ops, ctx);
	int rc;

	if (client == NULL)
		return rp_wire_why_set(why, -ENOMEM, "no memory for a client");
	rc = rp_vfu_client_iommu_init(client, config->iommu, why);
	if (rc == 0)
		rc = connect_to(client, config->socket_path, why);
	if (rc == 0)
		rc = rp_vfu_client_negotiate(client, config, why);
	if (rc == 0) {
		rc = rp_vfu_client_poll_init(client);
		if (rc < 0)
			rp_wire_why_set(why, rc, "what is polled: %s", strerror(-rc));
	}
	if (rc < 0) {
		rp_vfu_client_destroy(client);
		return rc;
	}
	rp_vfu_client_ready(client);
	*ret_client = client;
	return 0;
}

struct rp_vfu_client *
rp_vfu_client_destroy(struct rp_vfu_client *client)
{
	struct rp_wire_why reason;
	uint32_t i;

	if (client == NULL)
		return NULL;
	client->conn = rp_wire_conn_destroy(client->conn);
	client->twin = rp_wire_conn_destroy(client->twin);
	rp_wire_why_set(&reason, -ECANCELED, "the client is being destroyed");
	rp_vfu_client_finish_all(client, -ECANCELED, &reason);
	rp_vfu_client_poll_close(client);
	for (i = 0; client->regions != NULL && i < client->device.regions_count; i++) {
		rp_wire_fd_close(&client->regions[i].fd);
		free(client->regions[i].areas);
	}
	rp_vfu_memory_clear(&client->memory);
	rp_vfu_client_iommu_fini(client);
	rp_vfu_window_close(&client->window);
	free(client->regions);
	free(client->scratch);
	free(client);
	return NULL;
}

int
rp_vfu_client_leave(struct rp_vfu_client *client, int error, const struct rp_wire_why *why)
{
	/* A copy: a callback may end what the reason lies in. */
	const struct rp_wire_why reason = *why;

	client->conn = rp_wire_conn_destroy(client->conn);
	client->twin = rp_wire_conn_destroy(client->twin);
	client->peer_pid = 0;
	rp_vfu_client_iommu_leave(client);
	rp_vfu_client_finish_all(client, error, &reason);
	if (client->announced && client->ops.disconnected != NULL)
		client->ops.disconnected(client->ctx, &reason);
	return error;
}

int
rp_vfu_client_fd(const struct rp_vfu_client *client)
{
	return client->conn == NULL ? -1 : client->epoll_fd;
}

int
rp_vfu_client_socket_fd(const struct rp_vfu_client *client)
{
	return client->conn == NULL ? -1 : rp_wire_conn_fd(client->conn);
}

bool
rp_vfu_client_connected(const struct rp_vfu_client *client)
{
	return client->conn != NULL;
}

int
rp_vfu_client_peer(const struct rp_vfu_client *client)
{
	return client->peer_pid;
}
