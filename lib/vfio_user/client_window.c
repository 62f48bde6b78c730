/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "rp_wire_fd.h"
#include "vfu_client_window.h"

int
rp_vfu_window_open(struct rp_vfu_window *window, int fd, uint64_t size_bytes, struct rp_wire_why *why)
{
	uint64_t page_bytes = rp_wire_fd_page_bytes(fd);
	struct stat st;
	int seals = fcntl(fd, F_GET_SEALS);
	void *mapping;
	int own_fd;

	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || seals < 0)
		return rp_wire_why_set(why, -EBADMSG, "ringpass.window: not a memfd");
	/* Or its owner could cut it off under our hands, which ends this process. */
	if ((seals & F_SEAL_SHRINK) == 0)
		return rp_wire_why_set(why, -EBADMSG, "ringpass.window: not sealed against shrinking");
	if (st.st_size < 0 || (uint64_t)st.st_size < size_bytes)
		return rp_wire_why_set(why, -EBADMSG, "ringpass.window: a file of %" PRIu64 " bytes, expected %" PRIu64,
				       (uint64_t)st.st_size, size_bytes);
	/* More would be mapped, and nothing be unmapped. */
	if (page_bytes > (uint64_t)sysconf(_SC_PAGESIZE) && size_bytes % page_bytes != 0)
		return rp_wire_why_set(why, -EBADMSG,
				       "ringpass.window: a file in pages of %" PRIu64 " bytes, expected %" PRIu64
				       " in whole ones",
				       page_bytes, size_bytes);
	mapping = mmap(NULL, size_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (mapping == MAP_FAILED)
		return rp_wire_why_set(why, errno == ENOMEM ? -ENOMEM : -EBADMSG, "ringpass.window: mmap: %s",
				       strerror(errno));
	own_fd = rp_wire_fd_dup(fd);
	if (own_fd < 0) {
		munmap(mapping, size_bytes);
		return rp_wire_why_set(why, -ENOMEM, "ringpass.window: dup: %s", strerror(-own_fd));
	}
	window->fd = own_fd;
	window->bytes = mapping;
	window->size_bytes = size_bytes;
	return 0;
}

void
rp_vfu_window_close(struct rp_vfu_window *window)
{
	if (window->bytes == NULL)
		return;
	munmap(window->bytes, window->size_bytes);
	rp_wire_fd_close(&window->fd);
	window->bytes = NULL;
	window->size_bytes = 0;
}

uint8_t *
rp_vfu_window_at(const struct rp_vfu_window *window, uint64_t offset_bytes, uint64_t count_bytes)
{
	if (window->bytes == NULL || offset_bytes > window->size_bytes ||
	    count_bytes > window->size_bytes - offset_bytes)
		return NULL;
	return window->bytes + offset_bytes;
}
