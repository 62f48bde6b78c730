/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef RP_WIRE_SOCKET_H
#define RP_WIRE_SOCKET_H

#include <sys/types.h>

#include "rp_wire_why.h"

/**
 * @file
 * Unix stream sockets: listen, accept, connect. All descriptors are
 * close-on-exec and non-blocking.
 *
 * Threads: no state; any thread.
 */

/**
 * Listen on a path. A stale socket file (nobody accepts on it) is replaced; a
 * live one, and any file that is not a socket, is left alone. Two processes
 * that start on one stale path in the same instant are not kept apart.
 *
 * @param path at most 107 bytes.
 * @param ret_fd set on success; the caller owns it and unlinks the path.
 * @return 0, -EADDRINUSE (somebody listens there), -EEXIST (not a socket),
 *         -ENAMETOOLONG, -EINVAL (empty path), or what lstat(2), connect(2),
 *         unlink(2), bind(2) and listen(2) say.
 */
int rp_wire_socket_listen(const char *path, int *ret_fd, struct rp_wire_why *why);

/**
 * As rp_wire_socket_listen(), with the permissions of the socket file: set before
 * anybody can connect.
 *
 * @param file_mode permission bits; 0: as the umask leaves them.
 * @return as above, and what chmod(2) says.
 */
int rp_wire_socket_listen_mode(const char *path, mode_t file_mode, int *ret_fd, struct rp_wire_why *why);

/**
 * Accept one connection.
 *
 * @return 0, -EAGAIN when none waits, or what accept4(2) says.
 */
int rp_wire_socket_accept(int listen_fd, int *ret_fd);

/**
 * Give what is sent on a socket more room in the kernel, so that who sends much sleeps
 * less often. As far as the system allows (net.core.wmem_max); a socket that has more keeps it.
 *
 * @param fd borrowed; what is no socket is left alone.
 */
void rp_wire_socket_widen(int fd, int bytes);

/**
 * Connect to a path; does not wait for the peer to accept.
 *
 * @return 0, -ENAMETOOLONG, or what connect(2) says (-ENOENT, -ECONNREFUSED:
 *         nobody listens yet; try again later).
 */
int rp_wire_socket_connect(const char *path, int *ret_fd, struct rp_wire_why *why);

#endif
