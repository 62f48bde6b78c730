/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <linux/kcmp.h>
#include <linux/magic.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "rp_wire_fd.h"

void
rp_wire_fd_close(int *fd)
{
	int saved_errno = errno;

	if (*fd >= 0)
		close(*fd);
	*fd = -1;
	errno = saved_errno;
}

void
rp_wire_fd_close_all(int *fds, unsigned int count)
{
	unsigned int i;

	for (i = 0; i < count; i++)
		rp_wire_fd_close(&fds[i]);
}

int
rp_wire_fd_take(int *fd)
{
	int taken = *fd;

	*fd = -1;
	return taken;
}

int
rp_wire_fd_dup(int fd)
{
	int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);

	return copy < 0 ? -errno : copy;
}

void
rp_wire_fd_replace(int *held, int *fd)
{
	rp_wire_fd_close(held);
	*held = rp_wire_fd_take(fd);
}

int
rp_wire_fd_same_process(pid_t pid_a, int a, pid_t pid_b, int b)
{
	long order = syscall(SYS_kcmp, pid_a, pid_b, KCMP_FILE, a, b);

	return order < 0 ? -errno : order == 0;
}

int
rp_wire_fd_same(int a, int b)
{
	return rp_wire_fd_same_process(getpid(), a, getpid(), b);
}

uint64_t
rp_wire_fd_page_bytes(int fd)
{
	struct statfs fs;

	if (fstatfs(fd, &fs) == 0 && fs.f_type == HUGETLBFS_MAGIC && fs.f_bsize > 0)
		return (uint64_t)fs.f_bsize;
	return (uint64_t)sysconf(_SC_PAGESIZE);
}
