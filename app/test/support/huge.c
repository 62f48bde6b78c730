/* SPDX-License-Identifier: BSD-3-Clause */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <unistd.h>

#include "rp_wire_fd.h"
#include "test_support.h"

/* How many pages the machine makes when they are asked for beyond those set aside, and how many it has made. */
#define POOL "/sys/kernel/mm/hugepages/hugepages-2048kB/"
#define HUGE_2MB_FLAG (21u << 26) /* MFD_HUGE_2MB, which glibc lacks */

static int allowed_fd = -1;
static long before;

static long
read_count(int fd)
{
	char text[32] = "";

	return pread(fd, text, sizeof(text) - 1, 0) > 0 ? strtol(text, NULL, 10) : -1;
}

static bool
allow(int fd, long count)
{
	char text[32];
	int length = snprintf(text, sizeof(text), "%ld\n", count);

	return pwrite(fd, text, (size_t)length, 0) == length;
}

/* Mapped once, its pages are this file's for as long as it lives. @return -1: there are not so many. */
static int
make(size_t size_bytes)
{
	RP_WIRE_FD_SCOPED int fd =
		memfd_create("ringpass-test-huge", MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_HUGETLB | HUGE_2MB_FLAG);
	void *memory;

	if (fd < 0 || ftruncate(fd, (off_t)size_bytes) < 0)
		return -1;
	memory = mmap(NULL, size_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (memory == MAP_FAILED)
		return -1;
	munmap(memory, size_bytes);
	return rp_wire_fd_take(&fd);
}

/* What was allowed, and the pages may still not be there. */
static bool
can_make(size_t size_bytes)
{
	RP_WIRE_FD_SCOPED int fd = make(size_bytes);

	return fd >= 0;
}

bool
test_huge_allow(size_t size_bytes)
{
	RP_WIRE_FD_SCOPED int made_fd = open(POOL "surplus_hugepages", O_RDONLY | O_CLOEXEC);
	long made;

	/* One program at a time, or what is put back is not what was there. */
	allowed_fd = open(POOL "nr_overcommit_hugepages", O_RDWR | O_CLOEXEC);
	if (allowed_fd >= 0 && made_fd >= 0 && flock(allowed_fd, LOCK_EX) == 0) {
		before = read_count(allowed_fd);
		made = read_count(made_fd);
		if (before >= 0 && made >= 0 &&
		    allow(allowed_fd, before + made + (long)(size_bytes / TEST_HUGE_PAGE_BYTES))) {
			if (can_make(size_bytes))
				return true;
			test_huge_restore();
		}
	}
	rp_wire_fd_close(&allowed_fd);
	return false;
}

/* Pages that were made stay made. */
void
test_huge_restore(void)
{
	bool good = allow(allowed_fd, before);

	rp_wire_fd_close(&allowed_fd);
	assert_true(good);
}

int
test_huge_memfd(size_t size_bytes)
{
	int fd = make(size_bytes);

	if (fd < 0 && test_huge_allow(size_bytes)) {
		fd = make(size_bytes);
		test_huge_restore();
	}
	if (fd < 0) {
		print_message("SKIP: no %zu bytes of free huge pages of 2 MiB, and none are to be had\n", size_bytes);
		skip();
	}
	return fd;
}
