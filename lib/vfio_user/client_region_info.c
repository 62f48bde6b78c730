/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vfu_client.h"

static bool
is_aligned(uint64_t value)
{
	return (value & ((uint64_t)sysconf(_SC_PAGESIZE) - 1)) == 0;
}

static bool
overlap(const struct rp_vfu_client_area *a, const struct rp_vfu_client_area *b)
{
	return a->offset_bytes < b->offset_bytes + b->size_bytes && b->offset_bytes < a->offset_bytes + a->size_bytes;
}

static int
check_areas(const struct rp_vfu_region_reply *reply, struct rp_wire_why *why)
{
	uint32_t i, j;

	for (i = 0; i < reply->areas_count; i++) {
		const struct rp_vfu_client_area *area = &reply->areas[i];

		if (area->size_bytes == 0 || !is_aligned(area->offset_bytes) || !is_aligned(area->size_bytes))
			return rp_wire_why_set(why, -EBADMSG,
					       "area %u: 0x%" PRIx64 " bytes at 0x%" PRIx64 " are not whole pages", i,
					       area->size_bytes, area->offset_bytes);
		if (area->offset_bytes > reply->info.size_bytes ||
		    area->size_bytes > reply->info.size_bytes - area->offset_bytes)
			return rp_wire_why_set(why, -EBADMSG,
					       "area %u: 0x%" PRIx64 " bytes at 0x%" PRIx64
					       " leave the region of 0x%" PRIx64,
					       i, area->size_bytes, area->offset_bytes, reply->info.size_bytes);
		for (j = 0; j < i; j++) {
			if (overlap(area, &reply->areas[j]))
				return rp_wire_why_set(why, -EBADMSG, "area %u: overlaps area %u", i, j);
		}
	}
	return 0;
}

/* The body of a sparse mmap capability: a count, then as many areas. */
static int
parse_sparse(const uint8_t *body, uint32_t body_bytes, struct rp_vfu_region_reply *reply, struct rp_wire_why *why)
{
	struct rp_vfu_wire_sparse sparse;
	uint32_t i;

	if (reply->areas != NULL)
		return rp_wire_why_set(why, -EBADMSG, "capabilities: two lists of areas");
	if (body_bytes < sizeof(sparse))
		return rp_wire_why_set(why, -EBADMSG, "capabilities: a list of areas is cut off");
	memcpy(&sparse, body, sizeof(sparse));
	body_bytes -= (uint32_t)sizeof(sparse);
	if (sparse.areas_count > RP_VFU_SPARSE_AREAS_MAX ||
	    sparse.areas_count > body_bytes / sizeof(struct rp_vfu_wire_sparse_area))
		return rp_wire_why_set(why, -EBADMSG, "capabilities: %u areas in %u bytes", sparse.areas_count,
				       body_bytes);
	reply->areas = calloc(sparse.areas_count + 1, sizeof(*reply->areas));
	if (reply->areas == NULL)
		return rp_wire_why_set(why, -ENOSPC, "no memory for %u areas", sparse.areas_count);
	reply->areas_count = sparse.areas_count;
	for (i = 0; i < sparse.areas_count; i++) {
		struct rp_vfu_wire_sparse_area area;

		memcpy(&area, body + sizeof(sparse) + i * sizeof(area), sizeof(area));
		reply->areas[i].offset_bytes = area.offset_bytes;
		reply->areas[i].size_bytes = area.size_bytes;
	}
	return 0;
}

static int
parse_caps(const uint8_t *payload, uint32_t payload_bytes, struct rp_vfu_region_reply *reply, struct rp_wire_why *why)
{
	uint32_t at = reply->info.cap_offset_bytes;
	uint32_t steps_left = payload_bytes / sizeof(struct rp_vfu_wire_cap);

	while (at != 0) {
		struct rp_vfu_wire_cap cap;
		int rc;

		if (at < sizeof(reply->info) || at > payload_bytes || payload_bytes - at < sizeof(cap))
			return rp_wire_why_set(why, -EBADMSG, "capabilities: offset %u of a reply of %u bytes", at,
					       payload_bytes);
		if (steps_left-- == 0)
			return rp_wire_why_set(why, -EBADMSG, "capabilities: the chain is a loop");
		memcpy(&cap, payload + at, sizeof(cap));
		if (cap.id == RP_VFU_CAP_SPARSE_MMAP) {
			rc = parse_sparse(payload + at + sizeof(cap), payload_bytes - at - (uint32_t)sizeof(cap), reply,
					  why);
			if (rc < 0)
				return rc;
		}
		at = cap.next_bytes;
	}
	return 0;
}

static int
check_sizes(const struct rp_vfu_region_reply *reply, bool bar, struct rp_wire_why *why)
{
	uint64_t size_bytes = reply->info.size_bytes;

	if (bar && (size_bytes & (size_bytes - 1)) != 0)
		return rp_wire_why_set(why, -EBADMSG, "size: 0x%" PRIx64 " of a BAR is not a power of two", size_bytes);
	if ((reply->info.flags & RP_VFU_REGION_FLAG_MMAP_MASK) == 0)
		return 0;
	if (size_bytes == 0)
		return rp_wire_why_set(why, -EBADMSG, "size: 0, and mmap-able");
	if (!is_aligned(reply->info.offset_bytes))
		return rp_wire_why_set(why, -EBADMSG, "offset: 0x%" PRIx64 " is no multiple of the page size",
				       reply->info.offset_bytes);
	if (size_bytes > INT64_MAX || reply->info.offset_bytes > INT64_MAX - size_bytes)
		return rp_wire_why_set(why, -EBADMSG, "offset: 0x%" PRIx64 " and size 0x%" PRIx64 " leave every file",
				       reply->info.offset_bytes, size_bytes);
	if (reply->areas == NULL && !is_aligned(size_bytes))
		return rp_wire_why_set(why, -EBADMSG, "size: 0x%" PRIx64 " is not of whole pages, and mmap-able",
				       size_bytes);
	return check_areas(reply, why);
}

int
rp_vfu_region_reply_parse(const uint8_t *payload, uint32_t payload_bytes, uint32_t region, bool bar,
			  struct rp_vfu_region_reply *ret_reply, struct rp_wire_why *why)
{
	struct rp_vfu_region_reply reply = {.areas = NULL};
	int rc = 0;

	if (payload_bytes < sizeof(reply.info))
		return rp_wire_why_set(why, -EBADMSG, "payload: %u bytes, expected at least %zu", payload_bytes,
				       sizeof(reply.info));
	memcpy(&reply.info, payload, sizeof(reply.info));
	if (reply.info.index != region)
		return rp_wire_why_set(why, -EBADMSG, "index: %u, asked for %u", reply.info.index, region);
	if ((reply.info.flags & RP_VFU_REGION_FLAG_CAPS_MASK) != 0)
		rc = parse_caps(payload, payload_bytes, &reply, why);
	if (rc == 0)
		rc = check_sizes(&reply, bar, why);
	if (rc < 0) {
		free(reply.areas);
		return rc;
	}
	*ret_reply = reply;
	return 0;
}

/* How much of the region lies in the file. */
static uint64_t
mapped_end(const struct rp_vfu_region_reply *reply)
{
	uint64_t end = 0;
	uint32_t i;

	if (reply->areas == NULL)
		return reply->info.size_bytes;
	for (i = 0; i < reply->areas_count; i++) {
		uint64_t area_end = reply->areas[i].offset_bytes + reply->areas[i].size_bytes;

		end = area_end > end ? area_end : end;
	}
	return end;
}

int
rp_vfu_region_reply_check_file(const struct rp_vfu_region_reply *reply, int fd, struct rp_wire_why *why)
{
	uint64_t end = mapped_end(reply);
	struct stat st;

	if (fstat(fd, &st) < 0)
		return rp_wire_why_set(why, -EBADMSG, "descriptor: %s", strerror(errno));
	/* The size of a device node cannot be asked. */
	if (!S_ISREG(st.st_mode))
		return 0;
	if (reply->info.offset_bytes + end > (uint64_t)st.st_size)
		return rp_wire_why_set(why, -EBADMSG,
				       "descriptor: the file ends at 0x%" PRIx64
				       ", before what may be mapped of it (0x%" PRIx64 ")",
				       (uint64_t)st.st_size, reply->info.offset_bytes + end);
	return 0;
}
