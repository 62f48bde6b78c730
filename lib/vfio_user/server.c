/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "rp_wire_caller.h"
#include "rp_wire_conn.h"
#include "rp_wire_fd.h"
#include "rp_wire_socket.h"
#include "vfu_eventfd.h"
#include "vfu_server.h"
#include "vfu_server_iommu.h"

#define DMA_TIMEOUT_DEFAULT_MS 10000u

int
rp_vfu_server_poll(const struct rp_vfu_server *server, int operation, int fd, uint32_t events)
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
	rc = rp_wire_caller_take(&server->caller);
	if (rc < 0)
		return rp_wire_why_set(why, rc, "interrupts: io_setup: %s", strerror(-rc));
	rc = rp_wire_socket_listen(server->socket_path, &server->listen_fd, why);
	if (rc < 0)
		return rc;
	rc = rp_vfu_server_poll(server, EPOLL_CTL_ADD, server->listen_fd, EPOLLIN);
	if (rc == 0)
		rc = rp_vfu_server_poll(server, EPOLL_CTL_ADD, rp_vfu_carrier_fd(server->carrier), EPOLLIN);
	if (rc == 0)
		rc = rp_vfu_server_poll(server, EPOLL_CTL_ADD, server->timer_fd, EPOLLIN);
	return rc < 0 ? rp_wire_why_set(why, rc, "epoll: %s", strerror(-rc)) : 0;
}

/* The address space, and who carries what no file stands behind. */
static int
make_memory(struct rp_vfu_server *server, const struct rp_vfu_server_config *config, struct rp_wire_why *why)
{
	const struct rp_dma_limits limits = {
		.mappings_max = RP_VFU_DMA_MAPS_MAX,
		.bounce_bytes_max = config->bounce_bytes_max,
	};
	uint32_t timeout_ms = config->dma_timeout_ms == 0 ? DMA_TIMEOUT_DEFAULT_MS : config->dma_timeout_ms;
	unsigned int flights_max = config->dma_commands_max == 0 ? RP_VFU_FLIGHTS_DEFAULT : config->dma_commands_max;
	int rc;

	if (flights_max > RP_VFU_FLIGHTS_MAX)
		return rp_wire_why_set(why, -EINVAL, "dma_commands_max: %u, expected at most %u", flights_max,
				       RP_VFU_FLIGHTS_MAX);
	server->window_bytes_max = config->window_bytes == 0 ? RP_VFU_WINDOW_DEFAULT_BYTES : config->window_bytes;
	if (server->window_bytes_max < RP_VFU_WINDOW_FLOOR_BYTES || server->window_bytes_max > RP_VFU_WINDOW_MAX_BYTES)
		return rp_wire_why_set(why, -EINVAL, "window_bytes: %u, expected %u to %u", config->window_bytes,
				       RP_VFU_WINDOW_FLOOR_BYTES, RP_VFU_WINDOW_MAX_BYTES);
	server->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (server->timer_fd < 0)
		return rp_wire_why_set(why, -errno, "timer: %s", strerror(errno));
	rc = rp_vfu_carrier_create(flights_max, timeout_ms, &server->carrier);
	if (rc == 0)
		rc = rp_dma_space_create(&limits, &server->dma);
	if (rc < 0)
		return rp_wire_why_set(why, rc, "an address space: %s", strerror(-rc));
	rp_dma_space_set_carrier(server->dma, &rp_vfu_carrier_ops, server->carrier);
	rp_dma_space_set_wake(server->dma, rp_vfu_carrier_wake, server->carrier);
	return rp_vfu_server_iommu_create(server, config->iommu, why);
}

int
rp_vfu_server_create(const struct rp_vfu_server_config *config, const struct rp_vfu_server_ops *ops, void *ctx,
		     struct rp_vfu_server **ret_server, struct rp_wire_why *why)
{
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
	server->timer_fd = -1;
	server->handed_fd = -1;
	server->window.fd = -1;
	STAILQ_INIT(&server->held);
	rp_vfu_later_init(&server->later);
	rc = rp_vfu_server_config_copy(server, config, why);
	if (rc == 0)
		rc = make_memory(server, config, why);
	if (rc == 0)
		rc = listen_and_watch(server, why);
	if (rc < 0) {
		rp_vfu_server_destroy(server);
		return rc;
	}
	*ret_server = server;
	return 0;
}

/*
 * A pointer that the device has (rp_dma_map()) may be this very thread's to let go of:
 * its bytes stay until then, and those of the next client are others.
 */
void
rp_vfu_server_drop_memory(struct rp_dma_space *dma)
{
	uint64_t ticket;

	if (rp_dma_space_clear_start(dma, &ticket) < 0)
		rp_dma_space_clear(dma);
	rp_dma_space_wait_readers(dma);
	(void)rp_dma_space_settled(dma, ticket);
}

void
rp_vfu_server_drop_client(struct rp_vfu_server *server, struct rp_wire_why *why)
{
	bool was_ready, had_memory;

	if (server->conn == NULL)
		return;
	was_ready = server->state == RP_VFU_STATE_READY;
	had_memory = rp_dma_space_count(server->dma) > 0;
	rp_wire_socket_end(rp_wire_conn_fd(server->conn));
	/* Closing it removes it from the epoll too: nothing else refers to the socket. */
	server->conn = rp_wire_conn_destroy(server->conn);
	if (was_ready && server->ops.leaving != NULL)
		server->ops.leaving(server->ctx);
	rp_vfu_server_drop_held(server);
	server->deferred.active = false;
	rp_vfu_later_end(&server->later);
	rp_wire_fd_close(&server->handed_fd);
	rp_vfu_server_twin_destroy(server);
	server->state = RP_VFU_STATE_NEW;
	rp_vfu_carrier_close(server->carrier);
	rp_vfu_server_iommu_close(server);
	rp_vfu_server_window_close(&server->window);
	rp_vfu_server_irqs_drop(server);
	rp_vfu_server_drop_memory(server->dma);
	had_memory |= rp_vfu_server_pasids_clear(server);
	rp_vfu_server_dirty_drop(server);
	rp_vfu_server_reset_drop(server);
	rp_vfu_server_migration_drop(server);
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
	rp_vfu_server_drop_client(server, &closing);
	if (server->listen_fd >= 0)
		unlink(server->socket_path);
	rp_wire_fd_close(&server->successor_fd);
	rp_wire_fd_close(&server->listen_fd);
	rp_wire_fd_close(&server->epoll_fd);
	rp_wire_fd_close(&server->timer_fd);
	rp_vfu_server_iommu_destroy(server);
	rp_dma_space_destroy(server->dma);
	rp_vfu_carrier_destroy(server->carrier);
	rp_vfu_later_fini(&server->later);
	server->caller = rp_wire_caller_give(server->caller);
	rp_vfu_server_config_free(server);
	free(server->scratch);
	free(server);
	return NULL;
}

struct rp_wire_caller *
rp_vfu_server_caller(const struct rp_vfu_server *server)
{
	return server->caller;
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

bool
rp_vfu_conn_hung_up(const struct rp_wire_conn *conn)
{
	struct pollfd client = {.fd = rp_wire_conn_fd(conn), .events = POLLRDHUP};

	return poll(&client, 1, 0) == 1 && (client.revents & (POLLHUP | POLLRDHUP | POLLERR)) != 0;
}

static void
adopt(struct rp_vfu_server *server, int *fd)
{
	struct rp_wire_why why;
	int rc;

	rp_wire_socket_widen(*fd, RP_VFU_SEND_ROOM_BYTES);
	rc = rp_wire_conn_create(fd, &rp_vfu_framing, &server->conn);

	if (rc == 0) {
		rc = rp_vfu_server_poll(server, EPOLL_CTL_ADD, rp_wire_conn_fd(server->conn), EPOLLIN);
		server->watched_events = EPOLLIN;
		server->state = RP_VFU_STATE_NEW;
		rp_wire_conn_set_placer(server->conn, &rp_vfu_carrier_placer, server->carrier);
	}
	if (rc == 0)
		rc = rp_vfu_server_allow_wait(server);
	if (rc == 0)
		return;
	server->conn = rp_wire_conn_destroy(server->conn);
	rp_wire_why_set(&why, rc, "a client could not be taken on: %s", strerror(-rc));
	if (server->ops.refused != NULL)
		server->ops.refused(server->ctx, &why);
}

/* accept(2) makes a socket before it looks whether there is anybody: ten times as dear, in each turn of who spins. */
static bool
somebody_waits(const struct rp_vfu_server *server)
{
	struct pollfd listener = {.fd = server->listen_fd, .events = POLLIN};

	return poll(&listener, 1, 0) == 1;
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
		if (!somebody_waits(server))
			return;
		/* Its successor is not refused on account of a client that is leaving. */
		if (server->conn != NULL && rp_vfu_conn_hung_up(server->conn))
			return;
		if (rp_wire_socket_accept(server->listen_fd, &fd) < 0)
			return;
		if (server->conn == NULL) {
			adopt(server, &fd);
			continue;
		}
		/* It may have left between the two: whoever was accepted then came after it. */
		if (rp_vfu_conn_hung_up(server->conn)) {
			server->successor_fd = rp_wire_fd_take(&fd);
			return;
		}
		rp_wire_why_set(&why, -EBUSY, "a second client was turned away: one is connected");
		rp_wire_socket_end(fd);
		if (server->ops.refused != NULL)
			server->ops.refused(server->ctx, &why);
	}
}

int
rp_vfu_server_process(struct rp_vfu_server *server)
{
	struct rp_wire_why why;

	server->unlooked_count = 0;
	/* What a client that left had, and somebody has let go of since. */
	(void)rp_dma_space_settled(server->dma, RP_DMA_SETTLED);
	rp_vfu_server_pasids_settle(server);
	if (server->conn != NULL) {
		if (rp_vfu_server_serve(server, &why) < 0)
			rp_vfu_server_drop_client(server, &why);
		else
			rp_vfu_server_watch(server);
	} else {
		rp_vfu_carrier_awake(server->carrier);
	}
	accept_clients(server);
	return 0;
}
