/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
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

/* 0: it is not said. */
static int
pid_of_socket(int socket_fd)
{
	struct ucred credentials = {0};
	socklen_t size = sizeof(credentials);

	if (getsockopt(socket_fd, SOL_SOCKET, SO_PEERCRED, &credentials, &size) < 0 || credentials.pid <= 0)
		return 0;
	return credentials.pid;
}

int
vfio_user_peer_open(int socket_fd, int *ret_pid)
{
	RP_WIRE_FD_SCOPED int pidfd = -1;
	int pid = pid_of_socket(socket_fd);

	*ret_pid = 0;
	if (pid == 0)
		return -1;
	pidfd = pidfd_of_socket(socket_fd, pid);
	/*
	 * The kernel names the process that called listen(2). When that one has exited
	 * although somebody answered, the device is its child, and its end proves nothing.
	 */
	if (pidfd < 0 || vfio_user_peer_exited(pidfd))
		return -1;
	*ret_pid = pid;
	return rp_wire_fd_take(&pidfd);
}

/* pidfd_open(2): 0 when it is no such descriptor, -1 when the process was reaped. */
static int
pid_of_pidfd(int pidfd)
{
	char path[64], line[128];
	int pid = 0;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", pidfd);
	file = fopen(path, "re");
	while (file != NULL && pid == 0 && fgets(line, sizeof(line), file) != NULL)
		if (sscanf(line, "Pid: %d", &pid) != 1)
			pid = 0;
	if (file != NULL)
		fclose(file);
	return pid;
}

int
vfio_user_peer_check(int pidfd, int socket_fd, struct rp_wire_why *why)
{
	int pid = pid_of_pidfd(pidfd), wanted = pid_of_socket(socket_fd);

	if (pid == 0)
		return rp_wire_why_set(why, -EBADMSG, "peer: not a descriptor of a process");
	if (pid < 0 || vfio_user_peer_exited(pidfd))
		return rp_wire_why_set(why, -ENOTCONN, "the device process left: it exited meanwhile");
	if (pid != wanted)
		return rp_wire_why_set(why, -EBADMSG, "peer: process %d, expected %d, which is at the other end", pid,
				       wanted);
	return 0;
}

bool
vfio_user_peer_exited(int pidfd)
{
	struct pollfd pollfd = {.fd = pidfd, .events = POLLIN};

	return pidfd >= 0 && poll(&pollfd, 1, 0) == 1 && (pollfd.revents & POLLIN) != 0;
}
