/* SPDX-License-Identifier: BSD-3-Clause */
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/stat.h>

#include "vfu_eventfd.h"

bool
rp_vfu_eventfd_is(int fd)
{
	struct stat st;

	/* Without /proc, which a sandbox may not have, the missing file type is what can be seen. */
	return fstat(fd, &st) == 0 && (st.st_mode & S_IFMT) == 0;
}

void
rp_vfu_eventfd_signal(int fd)
{
	struct pollfd ready = {.fd = fd, .events = POLLOUT};

	/* It is the peer's to make blocking and to fill; its flags cannot be changed behind its back. */
	if (fd >= 0 && poll(&ready, 1, 0) == 1 && (ready.revents & POLLOUT) != 0)
		(void)eventfd_write(fd, 1);
}
