/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SERVER_H
#define SERVER_H

#include <event2/event.h>

#include "rpc.h"

/**
 * @file
 * The RPC socket: many clients, one JSON object a line (doc/protocol/rpc.md).
 *
 * Theory of operation: nothing here waits. A client's input is at most one line;
 * what it sends faster than it reads the answers stays in its socket. Events, which
 * come whether it reads or not, pile up to RPD_CLIENT_OUTPUT_MAX; then it is dropped,
 * as is one that takes nothing for stall_ms. A client that must go is only
 * marked, and freed from the loop: it may be in the middle of a call, and what that
 * does may be an event for the others.
 *
 * The process ignores SIGPIPE: libevent writes to clients that may have left.
 *
 * Threads: the event loop's.
 */

#define RPD_CLIENTS_MAX 64u
#define RPD_CLIENT_LINE_MAX 65536u
#define RPD_CLIENT_OUTPUT_PAUSE 65536u
#define RPD_CLIENT_OUTPUT_MAX 1048576u
#define RPD_CLIENT_STALL_MS 10000u
#define RPD_SERVER_FILE_MODE 0600

struct rpd_server;

struct rpd_server_config {
	struct event_base *base;
	const char *path;
	const struct rpd_rpc *rpc;
	/** NULL, or a socket that listens on path already; taken on success, and its file is left alone. */
	int *listen_fd;
	uint32_t stall_ms; /**< 0: RPD_CLIENT_STALL_MS */
	/** What happens to clients, for the log. */
	void (*event)(void *ctx, const struct rp_port_event *event);
	void *ctx;
};

/**
 * Listen; only the owner of the process may connect (mode 0600), or whom the giver of listen_fd lets.
 *
 * @param config copied; rpc must outlive the server.
 * @return 0, -ENOMEM, or what rp_wire_socket_listen() says.
 */
int rpd_server_create(const struct rpd_server_config *config, struct rpd_server **ret_server, struct rp_wire_why *why);

/** Drop the clients, unlink the socket that it made. NULL is allowed. @return NULL. */
struct rpd_server *rpd_server_destroy(struct rpd_server *server);

/**
 * Take no more clients and no more requests; call done when all that was answered is out, or nobody
 * takes it. Not from within a call: later, from the loop.
 */
void rpd_server_end(struct rpd_server *server, void (*done)(void *ctx), void *ctx);

/** Pass an event on to the clients that watch. NULL is allowed. */
void rpd_server_event(struct rpd_server *server, const struct rp_port_event *event);

unsigned int rpd_server_clients_count(const struct rpd_server *server);

#endif
