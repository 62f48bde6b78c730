/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <limits.h>
#include <linux/vfio.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "kvfio.h"
#include "rp_wire_fd.h"

#define PAUSE_MS 10u

int
kvfio_keep_check_file(const struct kvfio_kernel *kernel, const char *name, int fd, struct rp_wire_why *why)
{
	struct stat ours, wanted;
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/%s", kernel->dev, name);
	if (fstat(fd, &ours) < 0 || stat(path, &wanted) < 0)
		return rp_wire_why_set(why, -errno, "%s: %s", path, strerror(errno));
	if ((ours.st_mode & S_IFMT) != (wanted.st_mode & S_IFMT) || ours.st_rdev != wanted.st_rdev)
		return rp_wire_why_set(why, -EINVAL, "found another file, expected %s", path);
	return 0;
}

static int
check_group_file(const struct kvfio_kernel *kernel, unsigned int number, int fd, struct rp_wire_why *why)
{
	char name[16];
	int rc;

	snprintf(name, sizeof(name), "%u", number);
	rc = kvfio_keep_check_file(kernel, name, fd, why);
	if (rc < 0)
		rp_wire_why_prefix(why, "group %u, kept: ", number);
	return rc;
}

/* Of a predecessor that died it is still in its container, with guest memory pinned in it. */
static int
leave_container(const struct kvfio_kernel *kernel, unsigned int number, int fd, uint32_t busy_wait_ms,
		struct rp_wire_why *why)
{
	uint32_t waited_ms = 0;
	bool is_in = false;
	int rc = kvfio_group_check(kernel, number, fd, &is_in, why);

	if (rc < 0 || !is_in)
		return rc;
	while ((rc = kernel->ioctl(kernel->ctx, fd, VFIO_GROUP_UNSET_CONTAINER, NULL)) == -EBUSY &&
	       waited_ms < busy_wait_ms) {
		kernel->sleep_ms(kernel->ctx, PAUSE_MS);
		waited_ms += PAUSE_MS;
	}
	if (rc < 0)
		return rp_wire_why_set(why, rc, "group %u, kept: cannot leave its container: %s%s", number,
				       strerror(-rc),
				       rc == -EBUSY ? " (another process still has a device of it open)" : "");
	return 0;
}

/* @return whether there is one that is of use. */
static bool
take(struct kvfio_host *host, unsigned int number, uint32_t busy_wait_ms, int *ret_fd)
{
	RP_WIRE_FD_SCOPED int fd = -1;
	struct rp_wire_why why = {0};
	int rc;

	host->keeper->take(host->keeper_ctx, number, &fd);
	if (fd < 0)
		return false;
	rc = check_group_file(host->kernel, number, fd, &why);
	if (rc == 0)
		rc = leave_container(host->kernel, number, fd, busy_wait_ms, &why);
	if (rc < 0) {
		host->keeper->closed(host->keeper_ctx, number, &why);
		return false;
	}
	*ret_fd = rp_wire_fd_take(&fd);
	return true;
}

int
kvfio_keep_open(struct kvfio_host *host, unsigned int number, uint32_t busy_wait_ms, int *ret_fd,
		struct rp_wire_why *why)
{
	int rc;

	if (host->keeper != NULL && take(host, number, busy_wait_ms, ret_fd))
		return 0;
	rc = kvfio_group_open(host->kernel, number, busy_wait_ms, ret_fd, why);
	if (rc == 0 && host->keeper != NULL)
		host->keeper->opened(host->keeper_ctx, number, *ret_fd);
	return rc;
}

void
kvfio_keep_close(struct kvfio_host *host, unsigned int number, int *fd)
{
	rp_wire_fd_close(fd);
	if (host->keeper != NULL)
		host->keeper->closed(host->keeper_ctx, number, NULL);
}
