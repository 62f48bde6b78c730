/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "peer.h"
#include "rp_wire_fd.h"

/* Linux 6.5; older C libraries do not name it. */
#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77
#endif

static int
pidfd_of_socket(int socket_fd, int pid)
{
	socklen_t size = sizeof(int);
	int pidfd = -1;

	if (getsockopt(socket_fd, SOL_SOCKET, SO_PEERPIDFD, &pidfd, &size) == 0)
		return pidfd;
	/* Any other error means that the process is gone, and its number may be another's by now. */
	return errno == ENOPROTOOPT ? (int)syscall(SYS_pidfd_open, pid, 0) : -1;
}

int
vfio_user_peer_open(int socket_fd, int *ret_pid)
{
	RP_WIRE_FD_SCOPED int pidfd = -1;
	struct ucred credentials = {0};
	socklen_t size = sizeof(credentials);

	*ret_pid = 0;
	if (getsockopt(socket_fd, SOL_SOCKET, SO_PEERCRED, &credentials, &size) < 0 || credentials.pid <= 0)
		return -1;
	pidfd = pidfd_of_socket(socket_fd, credentials.pid);
	/*
	 * The kernel names the process that called listen(2). When that one has exited
	 * although somebody answered, the device is its child, and its end proves nothing.
	 */
	if (pidfd < 0 || vfio_user_peer_exited(pidfd))
		return -1;
	*ret_pid = credentials.pid;
	return rp_wire_fd_take(&pidfd);
}

bool
vfio_user_peer_exited(int pidfd)
{
	struct pollfd pollfd = {.fd = pidfd, .events = POLLIN};

	return pidfd >= 0 && poll(&pollfd, 1, 0) == 1 && (pollfd.revents & POLLIN) != 0;
}
