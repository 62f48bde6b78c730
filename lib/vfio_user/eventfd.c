/* SPDX-License-Identifier: BSD-3-Clause */
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
rp_vfu_eventfd_signal(struct rp_wire_caller *caller, int fd)
{
	/* It is the peer's to make blocking and to fill. */
	if (fd >= 0)
		(void)rp_wire_caller_call(caller, fd);
}
