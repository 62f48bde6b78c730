/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "rp_wire_fd.h"
#include "vhu_frontend.h"

/* As QEMU has it on the wire; backends answer with as much as they were asked with, or with 20 bytes. */
struct padded {
	struct rp_vhu_wire_inflight wire;
	uint8_t padding[4];
};
static_assert(sizeof(struct padded) == 24, "padded inflight");

static int
check_answer(const struct rp_vhu_wire_inflight *asked, const struct rp_vhu_wire_inflight *wire, uint32_t size_bytes,
	     int fd, struct rp_wire_why *why)
{
	uint64_t end_bytes = wire->mmap_offset_bytes + wire->mmap_bytes;
	struct stat st;

	if (size_bytes != sizeof(*wire) && size_bytes != sizeof(struct padded))
		return rp_wire_why_set(why, -EBADMSG, "GET_INFLIGHT_FD: answer: %u bytes, expected 20 or 24",
				       size_bytes);
	if (wire->queues_count != asked->queues_count || wire->queue_num != asked->queue_num)
		return rp_wire_why_set(why, -EBADMSG, "GET_INFLIGHT_FD: answer: %u queues of %u, expected %u of %u",
				       wire->queues_count, wire->queue_num, asked->queues_count, asked->queue_num);
	if (fd < 0)
		return rp_wire_why_set(why, -EBADMSG, "GET_INFLIGHT_FD: answer: not one descriptor");
	if (wire->mmap_bytes == 0 || end_bytes < wire->mmap_bytes || fstat(fd, &st) < 0 ||
	    (uint64_t)st.st_size < end_bytes)
		return rp_wire_why_set(
			why, -EBADMSG, "GET_INFLIGHT_FD: answer: mmap size %llu at 0x%llx is not in its file",
			(unsigned long long)wire->mmap_bytes, (unsigned long long)wire->mmap_offset_bytes);
	return 0;
}

int
rp_vhu_frontend_get_inflight(struct rp_vhu_frontend *frontend, uint16_t queues_count, uint16_t queue_num,
			     struct rp_vhu_frontend_inflight *ret_inflight, struct rp_wire_why *why)
{
	const struct padded asked = {.wire = {.queues_count = queues_count, .queue_num = queue_num}};
	struct padded answer = {0};
	RP_WIRE_FD_SCOPED int fd = -1;
	uint32_t size_bytes = sizeof(answer);
	int rc;

	if (queues_count == 0 || queues_count > RP_VHU_QUEUES_MAX || queue_num == 0 || queue_num > 32768)
		return rp_wire_why_set(why, -EINVAL, "GET_INFLIGHT_FD: %u queues of %u", queues_count, queue_num);
	rc = vhu_frontend_call_fd(frontend, RP_VHU_GET_INFLIGHT_FD, &asked, sizeof(asked), &answer, &size_bytes, &fd,
				  why);
	if (rc == 0)
		rc = check_answer(&asked.wire, &answer.wire, size_bytes, fd, why);
	if (rc < 0)
		return rc;
	*ret_inflight = (struct rp_vhu_frontend_inflight){
		.fd = rp_wire_fd_take(&fd),
		.size_bytes = answer.wire.mmap_bytes,
		.offset_bytes = answer.wire.mmap_offset_bytes,
		.queues_count = queues_count,
		.queue_num = queue_num,
	};
	return 0;
}

int
rp_vhu_frontend_set_inflight(struct rp_vhu_frontend *frontend, const struct rp_vhu_frontend_inflight *inflight,
			     struct rp_wire_why *why)
{
	const struct padded wire = {.wire = {
					    .mmap_bytes = inflight->size_bytes,
					    .mmap_offset_bytes = inflight->offset_bytes,
					    .queues_count = inflight->queues_count,
					    .queue_num = inflight->queue_num,
				    }};

	return vhu_frontend_tell(frontend, RP_VHU_SET_INFLIGHT_FD, &wire, sizeof(wire), &inflight->fd, 1, why);
}
