/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "kvfio.h"

static int
real_open(void *ctx, const char *path, int flags)
{
	int fd = open(path, flags | O_CLOEXEC);

	(void)ctx;
	return fd >= 0 ? fd : -errno;
}

static int
real_ioctl(void *ctx, int fd, unsigned long request, void *argument)
{
	int rc;

	(void)ctx;
	do {
		rc = ioctl(fd, request, argument);
	} while (rc < 0 && errno == EINTR);
	return rc >= 0 ? rc : -errno;
}

static ssize_t
real_pread(void *ctx, int fd, void *bytes, size_t count_bytes, off_t offset_bytes)
{
	ssize_t rc = pread(fd, bytes, count_bytes, offset_bytes);

	(void)ctx;
	return rc >= 0 ? rc : -errno;
}

static ssize_t
real_pwrite(void *ctx, int fd, const void *bytes, size_t count_bytes, off_t offset_bytes)
{
	ssize_t rc = pwrite(fd, bytes, count_bytes, offset_bytes);

	(void)ctx;
	return rc >= 0 ? rc : -errno;
}

static void
real_sleep_ms(void *ctx, uint32_t ms)
{
	struct timespec left = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};

	(void)ctx;
	while (nanosleep(&left, &left) < 0 && errno == EINTR)
		;
}

const struct kvfio_kernel kvfio_kernel_real = {
	.open = real_open,
	.ioctl = real_ioctl,
	.pread = real_pread,
	.pwrite = real_pwrite,
	.sleep_ms = real_sleep_ms,
	.sysfs = "/sys",
	.dev = "/dev/vfio",
	.proc = "/proc",
};
