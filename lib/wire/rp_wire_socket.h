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

#define RP_WIRE_SOCKET_PATH_ROOM 108 /**< bytes of a path, with its zero byte */

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
 * Judge a descriptor that somebody else made, and get it ready: a Unix stream socket
 * that listens on a path. It becomes close-on-exec and non-blocking. Whether the file of
 * that path is still this socket's cannot be told from here.
 *
 * @param fd borrowed.
 * @param ret_path set on success: what it was bound to, at most 107 bytes and a zero byte.
 * @return 0, -EINVAL (it is something else: why says what), or what fcntl(2) says.
 */
int rp_wire_socket_check_listening(int fd, char ret_path[RP_WIRE_SOCKET_PATH_ROOM], struct rp_wire_why *why);

/**
 * Accept one connection.
 *
 * @return 0, -EAGAIN when none waits, or what accept4(2) says.
 */
int rp_wire_socket_accept(int listen_fd, int *ret_fd);

/**
 * End a connection, before it is closed, so that the peer finds an end. Where a socket is only closed, a peer that has
 * sent something which was not read finds ECONNRESET, and not every one survives that (QEMU 11.1.3:
 * doc/howto/vfio-user-pci.md). What was sent is thrown away, descriptors too.
 *
 * @param fd borrowed. It ends for whoever else holds the socket, too.
 */
void rp_wire_socket_end(int fd);

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
