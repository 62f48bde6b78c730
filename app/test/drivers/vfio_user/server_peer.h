/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SERVER_PEER_H
#define SERVER_PEER_H

#include "test_support.h"

#include <pthread.h>
#include <sys/types.h>

#include "rp_vfu_server.h"

/*
 * A vfio-user server with a thread, or a process, of its own. What belongs to the
 * server may be looked at between server_peer_lock() and server_peer_unlock().
 */
struct server_peer {
	struct rp_vfu_server *server;
	pthread_t thread;
	pthread_mutex_t lock;
	int stop_fd;
};

void server_peer_start(struct server_peer *peer, const struct rp_vfu_server_config *config,
		       const struct rp_vfu_server_ops *ops, void *ctx);
/* Disconnects and joins; may be called again. */
void server_peer_stop(struct server_peer *peer);
void server_peer_lock(struct server_peer *peer);
void server_peer_unlock(struct server_peer *peer);

/* A process that serves until it is killed; it listens on return. The caller reaps it. */
pid_t server_peer_fork(const struct rp_vfu_server_config *config, const struct rp_vfu_server_ops *ops, void *ctx);

#endif
