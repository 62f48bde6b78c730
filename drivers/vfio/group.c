/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/vfio.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "kvfio.h"

#define BACKOFF_FIRST_MS 10u
#define BACKOFF_MAX_MS 250u

static bool
exists(const struct kvfio_kernel *kernel, const char *name)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/%s", kernel->dev, name);
	return access(path, F_OK) == 0;
}

/* There is a group in sysfs, and no file to open it by. */
static int
explain_absent(const struct kvfio_kernel *kernel, unsigned int number, struct rp_wire_why *why)
{
	char name[32];

	snprintf(name, sizeof(name), "noiommu-%u", number);
	if (exists(kernel, name))
		return rp_wire_why_set(
			why, -ENOTSUP,
			"group %u is in no-IOMMU mode, in which a device could write any memory: refused; "
			"turn the IOMMU on (firmware, intel_iommu=on)",
			number);
	if (exists(kernel, "devices"))
		return rp_wire_why_set(why, -ENOTSUP,
				       "this kernel has VFIO device files (%s/devices, iommufd) only, expected %s/%u: "
				       "use a kernel with CONFIG_VFIO_GROUP",
				       kernel->dev, kernel->dev, number);
	if (!exists(kernel, "vfio"))
		return rp_wire_why_set(why, -ENOENT, "%s/vfio is not there: load VFIO (modprobe vfio-pci)",
				       kernel->dev);
	return rp_wire_why_set(why, -ENOENT, "%s/%u is not there: bind the device to vfio-pci again", kernel->dev,
			       number);
}

static int
explain(const struct kvfio_kernel *kernel, unsigned int number, uint32_t waited_ms, int error, struct rp_wire_why *why)
{
	switch (error) {
	case -ENOENT:
	case -ENXIO:
	case -ENODEV:
		return explain_absent(kernel, number, why);
	case -EBUSY:
		return rp_wire_why_set(
			why, -EBUSY,
			"group %u is still open in another process after %u ms (a VMM that was given it, "
			"or another user: fuser %s/%u)",
			number, waited_ms, kernel->dev, number);
	case -EACCES:
	case -EPERM:
		return rp_wire_why_set(why, -EACCES,
				       "%s/%u: %s: give it to the user of this process (chown, or a udev rule)",
				       kernel->dev, number, strerror(-error));
	default:
		return rp_wire_why_set(why, error, "%s/%u: %s", kernel->dev, number, strerror(-error));
	}
}

int
kvfio_group_open(const struct kvfio_kernel *kernel, unsigned int number, uint32_t busy_wait_ms, int *ret_fd,
		 struct rp_wire_why *why)
{
	uint32_t waited_ms = 0, step_ms = BACKOFF_FIRST_MS;
	char path[PATH_MAX];
	int fd;

	snprintf(path, sizeof(path), "%s/%u", kernel->dev, number);
	for (;;) {
		fd = kernel->open(kernel->ctx, path, O_RDWR);
		if (fd != -EBUSY || waited_ms >= busy_wait_ms)
			break;
		if (step_ms > busy_wait_ms - waited_ms)
			step_ms = busy_wait_ms - waited_ms;
		kernel->sleep_ms(kernel->ctx, step_ms);
		waited_ms += step_ms;
		step_ms = 2 * step_ms < BACKOFF_MAX_MS ? 2 * step_ms : BACKOFF_MAX_MS;
	}
	if (fd < 0)
		return explain(kernel, number, waited_ms, fd, why);
	*ret_fd = fd;
	return 0;
}

int
kvfio_group_check(const struct kvfio_kernel *kernel, unsigned int number, int fd, bool *ret_in_container,
		  struct rp_wire_why *why)
{
	struct vfio_group_status status = {.argsz = sizeof(status)};
	int rc = kernel->ioctl(kernel->ctx, fd, VFIO_GROUP_GET_STATUS, &status);

	if (rc < 0)
		return rp_wire_why_set(why, -EIO, "group %u: status: %s", number, strerror(-rc));
	if ((status.flags & VFIO_GROUP_FLAGS_VIABLE) == 0)
		return kvfio_sysfs_explain_group(kernel, number, why);
	*ret_in_container = (status.flags & VFIO_GROUP_FLAGS_CONTAINER_SET) != 0;
	return 0;
}
