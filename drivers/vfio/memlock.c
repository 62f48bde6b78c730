/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kvfio.h"

/* The rest of the line that starts with a word; false: no such line. */
static bool
find_line(const char *path, const char *word, char *ret_rest, size_t room_bytes)
{
	FILE *file = fopen(path, "re");
	char line[256];
	bool found = false;

	while (file != NULL && !found && fgets(line, sizeof(line), file) != NULL) {
		found = strncmp(line, word, strlen(word)) == 0;
		if (found)
			snprintf(ret_rest, room_bytes, "%.*s", (int)strcspn(line + strlen(word), "\n"),
				 line + strlen(word));
	}
	if (file != NULL)
		fclose(file);
	return found;
}

static bool
read_locked(const struct kvfio_kernel *kernel, uint64_t *ret_bytes)
{
	char path[PATH_MAX], rest[128], *end;
	unsigned long long kib;

	snprintf(path, sizeof(path), "%s/self/status", kernel->proc);
	if (!find_line(path, "VmLck:", rest, sizeof(rest)))
		return false;
	kib = strtoull(rest, &end, 10);
	*ret_bytes = kib * 1024;
	return end != rest && kib <= UINT64_MAX / 1024;
}

static bool
read_limit(const struct kvfio_kernel *kernel, uint64_t *ret_bytes)
{
	char path[PATH_MAX], rest[128], *end;

	snprintf(path, sizeof(path), "%s/self/limits", kernel->proc);
	/* "unlimited" is no number. */
	if (!find_line(path, "Max locked memory", rest, sizeof(rest)))
		return false;
	*ret_bytes = strtoull(rest, &end, 10);
	return end != rest;
}

int
kvfio_memlock_explain(const struct kvfio_kernel *kernel, uint64_t wanted_bytes, struct rp_wire_why *why)
{
	uint64_t locked_bytes, limit_bytes;

	if (!read_locked(kernel, &locked_bytes) || !read_limit(kernel, &limit_bytes) ||
	    (locked_bytes <= limit_bytes && wanted_bytes <= limit_bytes - locked_bytes))
		return rp_wire_why_set(
			why, -ENOSPC,
			"DMA: %llu MiB cannot be pinned: out of memory (not for the limit on locked memory)",
			kvfio_mib(wanted_bytes));
	return rp_wire_why_set(
		why, -ENOSPC,
		"DMA: locked memory: %llu MiB wanted, %llu MiB locked now, the limit is %llu MiB: raise it "
		"(ulimit -l unlimited, LimitMEMLOCK=infinity in the unit) or grant CAP_IPC_LOCK",
		kvfio_mib(wanted_bytes), kvfio_mib(locked_bytes), (unsigned long long)(limit_bytes >> 20));
}

int
kvfio_entries_explain(const struct kvfio_kernel *kernel, unsigned int count, struct rp_wire_why *why)
{
	char path[PATH_MAX], limit[32] = "unknown";

	snprintf(path, sizeof(path), "%s/module/vfio_iommu_type1/parameters/dma_entry_limit", kernel->sysfs);
	find_line(path, "", limit, sizeof(limit));
	return rp_wire_why_set(
		why, -ENOSPC,
		"DMA: %u mappings are all that the kernel allows (dma_entry_limit of vfio_iommu_type1: %s): "
		"raise it, or give the guest memory in fewer pieces",
		count, limit);
}
