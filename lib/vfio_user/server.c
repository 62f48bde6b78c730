/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "rp_wire_conn.h"
#include "rp_wire_fd.h"
#include "rp_wire_socket.h"
#include "vfu_server.h"

/* Then others of this thread have their turn; epoll is level-triggered and calls again. */
#define COMMANDS_PER_TURN 64

static int
watch(const struct rp_vfu_server *server, int operation, int fd, uint32_t events)
{
	struct epoll_event event = {.events = events, .data.fd = fd};

	return epoll_ctl(server->epoll_fd, operation, fd, &event) < 0 ? -errno : 0;
}

static int
listen_and_watch(struct rp_vfu_server *server, struct rp_wire_why *why)
{
	int rc;

	server->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (server->epoll_fd < 0)
		return rp_wire_why_set(why, -errno, "epoll: %s", strerror(errno));
	rc = rp_wire_socket_listen(server->socket_path, &server->listen_fd, why);
	if (rc < 0)
		return rc;
	rc = watch(server, EPOLL_CTL_ADD, server->listen_fd, EPOLLIN);
	return rc < 0 ? rp_wire_why_set(why, rc, "epoll: %s", strerror(-rc)) : 0;
}

int
rp_vfu_server_create(const struct rp_vfu_server_config *config, const struct rp_vfu_server_ops *ops, void *ctx,
		     struct rp_vfu_server **ret_server, struct rp_wire_why *why)
{
	const struct rp_dma_limits limits = {.mappings_max = RP_VFU_DMA_MAPS_MAX};
	struct rp_vfu_server *server;
	int rc;

	if (config->socket_path == NULL)
		return rp_wire_why_set(why, -EINVAL, "socket_path: missing");
	server = calloc(1, sizeof(*server));
	if (server == NULL)
		return rp_wire_why_set(why, -ENOMEM, "no memory for a server");
	server->ops = *ops;
	server->ctx = ctx;
	server->listen_fd = -1;
	server->successor_fd = -1;
	server->epoll_fd = -1;
	rc = rp_vfu_server_config_copy(server, config, why);
	if (rc == 0) {
		rc = rp_dma_space_create(&limits, &server->dma);
		if (rc < 0)
			rp_wire_why_set(why, rc, "no memory for an address space");
	}
	if (rc == 0)
		rc = listen_and_watch(server, why);
	if (rc < 0) {
		rp_vfu_server_destroy(server);
		return rc;
	}
	*ret_server = server;
	return 0;
}

/* The client is gone: what it gave goes, what the device is stays. */
static void
drop_client(struct rp_vfu_server *server, struct rp_wire_why *why)
{
	bool was_ready, had_memory;

	if (server->conn == NULL)
		return;
	was_ready = server->state == RP_VFU_STATE_READY;
	had_memory = rp_dma_space_count(server->dma) > 0;
	/* Closing it removes it from the epoll too: nothing else refers to the socket. */
	server->conn = rp_wire_conn_destroy(server->conn);
	server->state = RP_VFU_STATE_NEW;
	rp_vfu_server_irqs_drop(server);
	rp_dma_space_clear(server->dma);
	if (had_memory && server->ops.dma_changed != NULL)
		server->ops.dma_changed(server->ctx);
	if (was_ready && server->ops.disconnected != NULL)
		server->ops.disconnected(server->ctx, why);
	if (!was_ready && server->ops.refused != NULL) {
		rp_wire_why_prefix(why, "client without a session: ");
		server->ops.refused(server->ctx, why);
	}
}

struct rp_vfu_server *
rp_vfu_server_destroy(struct rp_vfu_server *server)
{
	struct rp_wire_why closing = {.error = -ENOTCONN, .text = "the server is closed"};

	if (server == NULL)
		return NULL;
	drop_client(server, &closing);
	if (server->listen_fd >= 0)
		unlink(server->socket_path);
	rp_wire_fd_close(&server->successor_fd);
	rp_wire_fd_close(&server->listen_fd);
	rp_wire_fd_close(&server->epoll_fd);
	rp_dma_space_destroy(server->dma);
	rp_vfu_server_config_free(server);
	free(server->scratch);
	free(server);
	return NULL;
}

int
rp_vfu_server_fd(const struct rp_vfu_server *server)
{
	return server->epoll_fd;
}

struct rp_dma_space *
rp_vfu_server_dma(struct rp_vfu_server *server)
{
	return server->dma;
}

bool
rp_vfu_server_connected(const struct rp_vfu_server *server)
{
	return server->conn != NULL && server->state == RP_VFU_STATE_READY;
}

uint8_t *
rp_vfu_server_scratch(struct rp_vfu_server *server, size_t bytes)
{
	uint8_t *bigger;

	if (server->scratch != NULL && bytes <= server->scratch_bytes)
		return server->scratch;
	bigger = realloc(server->scratch, bytes == 0 ? 1 : bytes);
	if (bigger == NULL)
		return NULL;
	server->scratch = bigger;
	server->scratch_bytes = bytes;
	return bigger;
}

static bool
output_waits(const struct rp_vfu_server *server)
{
	return (rp_wire_conn_poll_events(server->conn) & POLLOUT) != 0;
}

/*
 * While a reply waits for the client to read, no further command is taken: what
 * a client that does not read can make us keep is one reply.
 */
static int
serve(struct rp_vfu_server *server, struct rp_wire_why *why)
{
	unsigned int turn;
	int rc;

	rc = rp_wire_conn_flush(server->conn);
	if (rc == -ENOTCONN)
		return rp_wire_why_set(why, rc, "peer left before its replies");
	for (turn = 0; turn < COMMANDS_PER_TURN && !output_waits(server); turn++) {
		struct rp_wire_msg *msg;

		rc = rp_wire_conn_receive(server->conn, &msg, why);
		if (rc == -EAGAIN)
			return 0;
		if (rc == 0)
			rc = rp_vfu_server_dispatch(server, msg, why);
		if (rc < 0)
			return rc;
	}
	return 0;
}

static void
watch_client(struct rp_vfu_server *server)
{
	uint32_t events = output_waits(server) ? EPOLLOUT : EPOLLIN;

	if (events != server->watched_events &&
	    watch(server, EPOLL_CTL_MOD, rp_wire_conn_fd(server->conn), events) == 0)
		server->watched_events = events;
}

static bool
client_hung_up(const struct rp_vfu_server *server)
{
	struct pollfd client = {.fd = rp_wire_conn_fd(server->conn), .events = POLLRDHUP};

	return poll(&client, 1, 0) == 1 && (client.revents & (POLLHUP | POLLRDHUP | POLLERR)) != 0;
}

static void
adopt(struct rp_vfu_server *server, int *fd)
{
	struct rp_wire_why why;
	int rc = rp_wire_conn_create(fd, &rp_vfu_framing, &server->conn);

	if (rc == 0) {
		rc = watch(server, EPOLL_CTL_ADD, rp_wire_conn_fd(server->conn), EPOLLIN);
		server->watched_events = EPOLLIN;
		server->state = RP_VFU_STATE_NEW;
	}
	if (rc == 0)
		return;
	server->conn = rp_wire_conn_destroy(server->conn);
	rp_wire_why_set(&why, rc, "a client could not be taken on: %s", strerror(-rc));
	if (server->ops.refused != NULL)
		server->ops.refused(server->ctx, &why);
}

static void
accept_clients(struct rp_vfu_server *server)
{
	struct rp_wire_why why;

	for (;;) {
		RP_WIRE_FD_SCOPED int fd = -1;

		if (server->conn == NULL && server->successor_fd >= 0) {
			adopt(server, &server->successor_fd);
			rp_wire_fd_close(&server->successor_fd);
		}
		/* Its successor is not refused on account of a client that is leaving. */
		if (server->conn != NULL && client_hung_up(server))
			return;
		if (rp_wire_socket_accept(server->listen_fd, &fd) < 0)
			return;
		if (server->conn == NULL) {
			adopt(server, &fd);
			continue;
		}
		/* It may have left between the two: whoever was accepted then came after it. */
		if (client_hung_up(server)) {
			server->successor_fd = rp_wire_fd_take(&fd);
			return;
		}
		rp_wire_why_set(&why, -EBUSY, "a second client was turned away: one is connected");
		if (server->ops.refused != NULL)
			server->ops.refused(server->ctx, &why);
	}
}

int
rp_vfu_server_process(struct rp_vfu_server *server)
{
	struct rp_wire_why why;

	if (server->conn != NULL) {
		if (serve(server, &why) < 0)
			drop_client(server, &why);
		else
			watch_client(server);
	}
	accept_clients(server);
	return 0;
}
