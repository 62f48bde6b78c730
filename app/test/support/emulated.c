/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <endian.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "rp_wire_fd.h"

/*
 * An eventfd's counter is in host byte order, so a user-mode emulator of another byte
 * order must turn its eight bytes. qemu-user does, for the descriptor number that
 * eventfd(2) returned; for a duplicate or one that came over a socket it does not, and
 * the counter reads as 2^56. The linker puts these in the place of the real calls
 * (--wrap) in emulated tests: they hide each eventfd from the emulator's table and turn
 * the bytes of all of them.
 */

int __real_eventfd(unsigned int value, int flags);
ssize_t __real_read(int fd, void *bytes, size_t size_bytes);
ssize_t __real_write(int fd, const void *bytes, size_t size_bytes);

int __wrap_eventfd(unsigned int value, int flags);
int __wrap_eventfd_read(int fd, eventfd_t *ret_value);
int __wrap_eventfd_write(int fd, eventfd_t value);
ssize_t __wrap_read(int fd, void *bytes, size_t size_bytes);
ssize_t __wrap_write(int fd, const void *bytes, size_t size_bytes);

static int
is_eventfd(int fd)
{
	static const char name[] = "anon_inode:[eventfd]";
	char path[32], target[sizeof(name)];
	int saved_errno = errno;
	ssize_t length;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	length = readlink(path, target, sizeof(target));
	errno = saved_errno;
	return length == (ssize_t)strlen(name) && memcmp(target, name, strlen(name)) == 0;
}

/* fcntl(2) makes a duplicate that the emulator does not know to be an eventfd. */
int
__wrap_eventfd(unsigned int value, int flags)
{
	int fd = __real_eventfd(0, flags), hidden;

	if (fd < 0)
		return fd;
	hidden = fcntl(fd, (flags & EFD_CLOEXEC) != 0 ? F_DUPFD_CLOEXEC : F_DUPFD, 0);
	rp_wire_fd_close(&fd);
	if (hidden >= 0 && value > 0)
		__wrap_eventfd_write(hidden, value);
	return hidden;
}

ssize_t
__wrap_read(int fd, void *bytes, size_t size_bytes)
{
	ssize_t got = __real_read(fd, bytes, size_bytes);
	uint64_t value;

	if (got == sizeof(value) && is_eventfd(fd)) {
		memcpy(&value, bytes, sizeof(value));
		value = le64toh(value);
		memcpy(bytes, &value, sizeof(value));
	}
	return got;
}

ssize_t
__wrap_write(int fd, const void *bytes, size_t size_bytes)
{
	uint64_t value;

	if (size_bytes != sizeof(value) || !is_eventfd(fd))
		return __real_write(fd, bytes, size_bytes);
	memcpy(&value, bytes, sizeof(value));
	value = htole64(value);
	return __real_write(fd, &value, sizeof(value));
}

int
__wrap_eventfd_read(int fd, eventfd_t *ret_value)
{
	return __wrap_read(fd, ret_value, sizeof(*ret_value)) == sizeof(*ret_value) ? 0 : -1;
}

int
__wrap_eventfd_write(int fd, eventfd_t value)
{
	return __wrap_write(fd, &value, sizeof(value)) == sizeof(value) ? 0 : -1;
}
