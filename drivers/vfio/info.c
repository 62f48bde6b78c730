/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <linux/vfio.h>
#include <stdlib.h>
#include <string.h>

#include "kvfio.h"

/* A chain can grow between two questions, when a group joins; not for ever. */
#define ROUNDS_MAX 4u

static int
ask_once(const struct kvfio_kernel *kernel, int fd, unsigned long request, const void *question, size_t fixed_bytes,
	 size_t room_bytes, struct kvfio_info *ret_info, uint32_t *ret_argsz, struct rp_wire_why *why)
{
	uint32_t argsz = (uint32_t)room_bytes;
	uint8_t *bytes = calloc(1, room_bytes);
	int rc;

	if (bytes == NULL)
		return rp_wire_why_set(why, -ENOMEM, "no memory");
	memcpy(bytes, question, fixed_bytes);
	memcpy(bytes, &argsz, sizeof(argsz));
	rc = kernel->ioctl(kernel->ctx, fd, request, bytes);
	if (rc < 0) {
		free(bytes);
		return rp_wire_why_set(why, rc, "VFIO: %s", strerror(-rc));
	}
	memcpy(ret_argsz, bytes, sizeof(*ret_argsz));
	ret_info->bytes = bytes;
	ret_info->size_bytes = room_bytes;
	return 0;
}

int
kvfio_info_ask(const struct kvfio_kernel *kernel, int fd, unsigned long request, const void *question,
	       size_t fixed_bytes, struct kvfio_info *ret_info, struct rp_wire_why *why)
{
	size_t room_bytes = fixed_bytes;
	struct kvfio_info info;
	uint32_t argsz = 0;
	unsigned int i;
	int rc;

	for (i = 0; i < ROUNDS_MAX; i++) {
		rc = ask_once(kernel, fd, request, question, fixed_bytes, room_bytes, &info, &argsz, why);
		if (rc < 0)
			return rc;
		if (argsz <= room_bytes) {
			/* An older kernel may know fewer fields: those stay zero. */
			*ret_info = info;
			return 0;
		}
		free(info.bytes);
		if (argsz > VFIO_INFO_MAX_BYTES)
			break;
		room_bytes = argsz;
	}
	return rp_wire_why_set(why, -EBADMSG, "VFIO: answer: argsz: %u, expected at most %u that stay as they are",
			       argsz, VFIO_INFO_MAX_BYTES);
}

int
kvfio_info_capability(const struct kvfio_info *info, size_t fixed_bytes, uint32_t first_bytes, uint16_t id,
		      struct kvfio_capability *ret_capability, struct rp_wire_why *why)
{
	struct vfio_info_cap_header header;
	size_t at = first_bytes, before = fixed_bytes;

	while (at != 0) {
		/* Each lies behind the one before, so that the walk ends. */
		if (at < before || at > info->size_bytes || info->size_bytes - at < sizeof(header))
			return rp_wire_why_set(
				why, -EBADMSG,
				"VFIO: capability at %zu, expected from %zu on within an answer of %zu bytes", at,
				before, info->size_bytes);
		memcpy(&header, info->bytes + at, sizeof(header));
		if (header.id == id) {
			ret_capability->bytes = info->bytes + at;
			ret_capability->size_bytes =
				(header.next > at && header.next <= info->size_bytes ? header.next : info->size_bytes) -
				at;
			return 1;
		}
		before = at + sizeof(header);
		at = header.next;
	}
	return 0;
}
