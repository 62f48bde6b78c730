/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef RP_VHU_ENDPOINT_H
#define RP_VHU_ENDPOINT_H

#include <stdint.h>
#include <sys/types.h>

#include "rp_wire_why.h"

/**
 * @file
 * Where connections come from: a Unix socket that is listened on, or one that is
 * connected to again and again. Either end of the protocol may be either of them; what
 * comes out is a connected socket for rp_vhu_backend_attach() or rp_vhu_frontend_create().
 *
 * Theory of operation: no thread and no timer of its own. Poll rp_vhu_endpoint_fd()
 * (server) and wait until rp_vhu_endpoint_deadline_ms() (client); call
 * rp_vhu_endpoint_process() when either is due, and rp_vhu_endpoint_lost() when a
 * connection that it gave has ended.
 *
 * Ownership: sockets that come out are the caller's.
 *
 * Errors: see rp_wire_why.h, and the errno values of the socket calls.
 *
 * Threads: one thread.
 */

struct rp_vhu_endpoint;

enum rp_vhu_endpoint_mode {
	RP_VHU_ENDPOINT_SERVER, /**< listen; every connection that comes is given out */
	RP_VHU_ENDPOINT_CLIENT, /**< connect; one connection at a time */
};

struct rp_vhu_endpoint_config {
	const char *path; /**< of the socket, at most 107 bytes; copied */
	enum rp_vhu_endpoint_mode mode;
	/** Server: permissions of the socket file, set before anybody can connect; 0: as the umask leaves them. */
	mode_t file_mode;
	/**
	 * Server: NULL, or a socket that listens on path already, inherited from a predecessor or a service
	 * manager; taken on success. Its file stays the giver's: it is never removed here.
	 */
	int *listen_fd;
	uint32_t retry_ms; /**< client: from a failed attempt, or a lost connection, to the next attempt; 0: 1000 */
};

/**
 * Make an endpoint. A server listens at once: a stale socket file is replaced, a live one
 * and any other file are left alone. A client's first attempt is due at once.
 *
 * @return 0, -EINVAL (path, mode, file_mode; listen_fd is no Unix stream socket that listens
 *         on path), -ENAMETOOLONG, -EADDRINUSE (somebody listens there), -EEXIST (not a
 *         socket), -ENOMEM, or what the socket calls say.
 */
int rp_vhu_endpoint_create(const struct rp_vhu_endpoint_config *config, struct rp_vhu_endpoint **ret_endpoint,
			   struct rp_wire_why *why);

/** Stop listening and remove the socket file, if this endpoint made it and it is still there. NULL is allowed. @return NULL. */
struct rp_vhu_endpoint *rp_vhu_endpoint_destroy(struct rp_vhu_endpoint *endpoint);

/** @return the descriptor to poll for POLLIN, -1 in client mode. Borrowed. */
int rp_vhu_endpoint_fd(const struct rp_vhu_endpoint *endpoint);

/** @return when to call rp_vhu_endpoint_process(), in rp_wire_clock_ms()'s time; 0: there is no such time. */
uint64_t rp_vhu_endpoint_deadline_ms(const struct rp_vhu_endpoint *endpoint);

/**
 * Accept, or connect if it is time. Never waits.
 *
 * @param now_ms rp_wire_clock_ms().
 * @param ret_fd set on success: connected, close-on-exec, non-blocking.
 * @return 0, -EAGAIN (nobody there; not time), in client mode what connect(2) says
 *         (-ENOENT, -ECONNREFUSED: nobody listens; the next attempt is due after
 *         retry_ms), in server mode what accept4(2) says (-EMFILE: somebody waits still).
 */
int rp_vhu_endpoint_process(struct rp_vhu_endpoint *endpoint, uint64_t now_ms, int *ret_fd, struct rp_wire_why *why);

/** There is a connection that it did not give: a client makes none before that is lost. */
void rp_vhu_endpoint_connected(struct rp_vhu_endpoint *endpoint);

/** A connection that it gave has ended. A client connects again after retry_ms; a server goes on listening. */
void rp_vhu_endpoint_lost(struct rp_vhu_endpoint *endpoint, uint64_t now_ms);

#endif
