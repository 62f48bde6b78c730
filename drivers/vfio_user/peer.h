/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFIO_USER_PEER_H
#define VFIO_USER_PEER_H

#include <stdbool.h>

#include "rp_wire_why.h"

/*
 * A descriptor of the process at the other end of a socket, or -1: no proof of its
 * end can be had. *ret_pid is 0 then.
 */
int vfio_user_peer_open(int socket_fd, int *ret_pid);

/*
 * Whether a descriptor that came from elsewhere is of that process. Unlike its number, it cannot
 * be another's by now.
 * @return 0; -EBADMSG: it is not; -ENOTCONN: the process has exited.
 */
int vfio_user_peer_check(int pidfd, int socket_fd, struct rp_wire_why *why);

/* Whether the process, all its threads included, is seen to have exited. */
bool vfio_user_peer_exited(int pidfd);

#endif
