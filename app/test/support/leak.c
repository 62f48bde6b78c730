/* SPDX-License-Identifier: BSD-3-Clause */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "test_support.h"

void
test_leaks_read(struct test_leaks *ret_leaks)
{
	char line[4352];
	struct dirent *entry;
	DIR *dir = opendir("/proc/self/fd");
	FILE *maps = fopen("/proc/self/maps", "re");

	memset(ret_leaks, 0, sizeof(*ret_leaks));
	assert_non_null(dir);
	assert_non_null(maps);
	while ((entry = readdir(dir)) != NULL)
		ret_leaks->fds_count++;
	while (fgets(line, sizeof(line), maps) != NULL) {
		char sharing;

		/* What a rp_wire_caller was is kept for the next one. */
		if (sscanf(line, "%*s %*3c%c", &sharing) == 1 && sharing == 's' && strstr(line, "/[aio]") == NULL)
			ret_leaks->mappings_count++;
	}
	fclose(maps);
	closedir(dir);
}

void
test_leaks_assert_none(const struct test_leaks *before)
{
	struct test_leaks now;

	test_leaks_read(&now);
	assert_int_equal(now.fds_count, before->fds_count);
	assert_int_equal(now.mappings_count, before->mappings_count);
}

int
test_memfd(size_t size_bytes, bool sealed)
{
	int fd = memfd_create("ringpass-test", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, (off_t)size_bytes), 0);
	if (sealed)
		assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK), 0);
	return fd;
}
