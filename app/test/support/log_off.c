/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * Preloaded into a program that logs what it writes to a guest's memory: nobody sees what
 * it logs. Its log is a copy of its own, so that all it does is as ever, but for nothing.
 * A test of live migration that passes all the same would pass without any logging.
 */

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* What QEMU calls the file. */
#define LOG_NAME "memfd:vhost-log"

typedef void *(*mmap_function)(void *, size_t, int, int, int, off64_t);

static int
is_log(int fd)
{
	char link[64], target[128];
	ssize_t size_bytes;

	if (fd < 0)
		return 0;
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	size_bytes = readlink(link, target, sizeof(target) - 1);
	if (size_bytes < 0)
		return 0;
	target[size_bytes] = '\0';
	return strstr(target, LOG_NAME) != NULL;
}

/* With 64 bit file offsets the two names are the same function, and a program may call either. */
void *
mmap64(void *address, size_t size_bytes, int protection, int flags, int fd, off64_t offset_bytes)
{
	mmap_function real = (mmap_function)dlsym(RTLD_NEXT, "mmap64");

	if ((flags & MAP_SHARED) != 0 && is_log(fd)) {
		flags = (flags & ~MAP_SHARED) | MAP_PRIVATE;
		fprintf(stderr, "log_off: a log that nobody reads\n");
	}
	return real(address, size_bytes, protection, flags, fd, offset_bytes);
}

#undef mmap
__asm__(".globl mmap\n.set mmap, mmap64\n");
