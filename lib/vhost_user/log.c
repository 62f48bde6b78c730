/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "rp_vhu_log.h"
#include "rp_wire_fd.h"

#define PAGES_PER_BYTE 8u

struct rp_vhu_log {
	uint8_t *bits;
	uint64_t size_bytes;
	void *map;
	size_t map_bytes;
};

static int
check_file(int fd, uint64_t size_bytes, uint64_t offset_bytes, struct rp_wire_why *why)
{
	unsigned long long end_bytes = offset_bytes + size_bytes;
	struct stat st;

	if (size_bytes == 0 || end_bytes < offset_bytes)
		return rp_wire_why_set(why, -EBADMSG,
				       "log: %llu bytes at offset 0x%llx, expected at least one and none beyond 2^64",
				       (unsigned long long)size_bytes, (unsigned long long)offset_bytes);
	if (fstat(fd, &st) < 0)
		return rp_wire_why_set(why, -EBADMSG, "descriptor: %s", strerror(errno));
	if (!S_ISREG(st.st_mode) || (uint64_t)st.st_size < end_bytes)
		return rp_wire_why_set(why, -EBADMSG, "descriptor: no file, or one of %lld bytes; the log ends at %llu",
				       (long long)st.st_size, end_bytes);
	return 0;
}

int
rp_vhu_log_create(int fd, uint64_t size_bytes, uint64_t offset_bytes, struct rp_vhu_log **ret_log,
		  struct rp_wire_why *why)
{
	uint64_t page_bytes = rp_wire_fd_page_bytes(fd), into_page = offset_bytes % page_bytes;
	struct rp_vhu_log *log;
	int rc = check_file(fd, size_bytes, offset_bytes, why);

	if (rc < 0)
		return rc;
	log = calloc(1, sizeof(*log));
	if (log == NULL)
		return rp_wire_why_set(why, -ENOSPC, "log: no memory");
	log->map_bytes = (size_t)((into_page + size_bytes + page_bytes - 1) / page_bytes * page_bytes);
	log->map =
		mmap(NULL, log->map_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, (off_t)(offset_bytes - into_page));
	if (log->map == MAP_FAILED) {
		free(log);
		return rp_wire_why_set(why, -EBADMSG, "descriptor: mmap: %s", strerror(errno));
	}
	log->bits = (uint8_t *)log->map + into_page;
	log->size_bytes = size_bytes;
	*ret_log = log;
	return 0;
}

struct rp_vhu_log *
rp_vhu_log_destroy(struct rp_vhu_log *log)
{
	if (log == NULL)
		return NULL;
	munmap(log->map, log->map_bytes);
	free(log);
	return NULL;
}

bool
rp_vhu_log_covers(const struct rp_vhu_log *log, uint64_t gpa, uint64_t size_bytes)
{
	if (size_bytes == 0)
		return true;
	return gpa + (size_bytes - 1) >= gpa &&
	       (gpa + (size_bytes - 1)) / RP_VHU_LOG_PAGE_BYTES / PAGES_PER_BYTE < log->size_bytes;
}

void
rp_vhu_log_mark(struct rp_vhu_log *log, uint64_t gpa, uint64_t size_bytes)
{
	uint64_t page = gpa / RP_VHU_LOG_PAGE_BYTES, last, most = log->size_bytes * PAGES_PER_BYTE - 1;

	if (size_bytes == 0 || page > most)
		return;
	last = size_bytes - 1 > UINT64_MAX - gpa ? most : (gpa + (size_bytes - 1)) / RP_VHU_LOG_PAGE_BYTES;
	if (last > most)
		last = most;
	for (; page <= last; page++) {
		uint8_t *byte = &log->bits[page / PAGES_PER_BYTE];
		uint8_t bit = (uint8_t)(1u << page % PAGES_PER_BYTE);

		/* The write that is logged must be there when the frontend takes the bit. */
		if ((__atomic_load_n(byte, __ATOMIC_SEQ_CST) & bit) == 0)
			__atomic_fetch_or(byte, bit, __ATOMIC_SEQ_CST);
	}
}
