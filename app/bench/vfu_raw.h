/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFU_RAW_H
#define VFU_RAW_H

#include <stddef.h>
#include <stdint.h>

#include "rp_vfu_proto.h"

/*
 * A vfio-user client that does as little as one can: what a server costs is not hidden
 * behind what its client costs, and any server can be measured with it.
 */

/* How somebody waits for bytes. */
enum vfu_wait {
	VFU_WAIT_RECV, /* asleep in recv(2): can wait for nothing else */
	VFU_WAIT_POLL, /* asleep in poll(2), as whoever has more than one descriptor */
	VFU_WAIT_SPIN,
};

struct vfu_raw {
	int fd;
	enum vfu_wait wait;
	uint16_t id;
};

#define VFU_RAW_IN_FLIGHT 64u

/* Connect and agree on the version. @return 0 or a negative errno. */
int vfu_raw_connect(struct vfu_raw *raw, const char *socket_path);
void vfu_raw_close(struct vfu_raw *raw);

/* Send all of it. fd -1: none. @return 0 or -ENOTCONN. */
int vfu_raw_send(int socket_fd, const void *bytes, size_t size_bytes, int fd);

/* Receive all of it. @return 0 or -ENOTCONN. */
int vfu_raw_receive(int socket_fd, enum vfu_wait wait, void *ret_bytes, size_t size_bytes);

/* Read `count_bytes` (at most 64) of a region. @return 0, -ENOTCONN, -EIO (refused). */
int vfu_raw_region_read(struct vfu_raw *raw, uint32_t region, uint64_t offset_bytes, void *ret_bytes,
			uint32_t count_bytes);

/* Pages to be mapped or unmapped one by one. */
struct vfu_raw_pages {
	uint64_t iova; /* of the first; the others follow */
	uint64_t page_bytes;
	unsigned int count;
	int fd; /* -1: none; else a file of `file_pages` */
	unsigned int file_pages;
};

/* A command for each page, `in_flight` (at most VFU_RAW_IN_FLIGHT) before an answer is waited for. */
int vfu_raw_map(struct vfu_raw *raw, const struct vfu_raw_pages *pages, unsigned int in_flight);
int vfu_raw_unmap(struct vfu_raw *raw, const struct vfu_raw_pages *pages, unsigned int in_flight);

#endif
