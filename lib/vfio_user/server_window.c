/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "rp_wire_fd.h"
#include "vfu_server_window.h"

uint64_t
rp_vfu_server_window_whole(uint64_t bytes)
{
	return bytes - bytes % RP_VFU_WINDOW_SLOT_BYTES;
}

static uint32_t
slots_of(uint64_t bytes)
{
	return (uint32_t)((bytes + RP_VFU_WINDOW_SLOT_BYTES - 1) / RP_VFU_WINDOW_SLOT_BYTES);
}

int
rp_vfu_server_window_open(struct rp_vfu_server_window *window, uint64_t size_bytes)
{
	void *mapping;

	*window = (struct rp_vfu_server_window){.fd = -1};
	window->taken = calloc(slots_of(size_bytes), 1);
	if (window->taken == NULL)
		return -ENOMEM;
	window->fd = memfd_create("vfio-user-window", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (window->fd < 0 || ftruncate(window->fd, (off_t)size_bytes) < 0 ||
	    fcntl(window->fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0)
		goto failed;
	mapping = mmap(NULL, size_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, window->fd, 0);
	if (mapping == MAP_FAILED)
		goto failed;
	window->bytes = mapping;
	window->size_bytes = size_bytes;
	return 0;
failed:
	rp_vfu_server_window_close(window);
	return -ENOMEM;
}

void
rp_vfu_server_window_close(struct rp_vfu_server_window *window)
{
	if (window->bytes != NULL)
		munmap(window->bytes, window->size_bytes);
	window->bytes = NULL;
	window->size_bytes = 0;
	rp_wire_fd_close(&window->fd);
	free(window->taken);
	window->taken = NULL;
}

static uint32_t
free_from(const struct rp_vfu_server_window *window, uint32_t slot, uint32_t wanted)
{
	uint32_t count = 0, slots_count = slots_of(window->size_bytes);

	while (count < wanted && slot + count < slots_count && window->taken[slot + count] == 0)
		count++;
	return count;
}

int
rp_vfu_server_window_take(struct rp_vfu_server_window *window, uint32_t bytes)
{
	uint32_t slots_count = slots_of(window->size_bytes), wanted = slots_of(bytes), slot = 0;

	/* From the begin: what was in use a moment ago is still in somebody's cache. */
	while (slot + wanted <= slots_count) {
		uint32_t count = free_from(window, slot, wanted);

		if (count == wanted) {
			memset(&window->taken[slot], 1, wanted);
			return (int)slot;
		}
		slot += count + 1;
	}
	return -1;
}

void
rp_vfu_server_window_release(struct rp_vfu_server_window *window, int slot, uint32_t bytes)
{
	memset(&window->taken[slot], 0, slots_of(bytes));
}
