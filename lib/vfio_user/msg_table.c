/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "rp_vfu_msg.h"
#include "vfu_msg_iommu.h"

#define ARRAY_COUNT(array) (sizeof(array) / sizeof((array)[0]))

#define IRQ_DATA_MASK (RP_VFU_IRQ_DATA_NONE_MASK | RP_VFU_IRQ_DATA_BOOL_MASK | RP_VFU_IRQ_DATA_EVENTFD_MASK)
#define IRQ_ACTION_MASK (RP_VFU_IRQ_ACTION_MASK_MASK | RP_VFU_IRQ_ACTION_UNMASK_MASK | RP_VFU_IRQ_ACTION_TRIGGER_MASK)

static int
check_dma_map(const struct rp_vfu_msg_view *command, struct rp_wire_why *why)
{
	const uint32_t known = RP_VFU_DMA_MAP_READ_MASK | RP_VFU_DMA_MAP_WRITE_MASK;
	struct rp_vfu_wire_dma_map map;

	memcpy(&map, command->payload, sizeof(map));
	if ((map.flags & ~known) != 0)
		return rp_wire_why_set(why, -EBADMSG, "flags: 0x%x, expected readable (1), writeable (2) or both",
				       map.flags);
	if (map.flags == 0)
		return rp_wire_why_set(why, -EBADMSG, "flags: neither readable nor writeable");
	if (map.size_bytes == 0)
		return rp_wire_why_set(why, -EBADMSG, "size: 0");
	if (map.size_bytes - 1 > UINT64_MAX - map.iova)
		return rp_wire_why_set(why, -EBADMSG, "size: 0x%" PRIx64 " from address 0x%" PRIx64 " wraps",
				       map.size_bytes, map.iova);
	/* A file offset is an off_t; without a file the field means nothing. */
	if (command->fds_count > 0 && (map.offset_bytes > INT64_MAX || map.size_bytes > INT64_MAX - map.offset_bytes))
		return rp_wire_why_set(why, -EBADMSG, "offset: 0x%" PRIx64 " and size 0x%" PRIx64 " leave every file",
				       map.offset_bytes, map.size_bytes);
	return 0;
}

static int
check_dma_unmap(const struct rp_vfu_msg_view *command, struct rp_wire_why *why)
{
	const uint32_t known = RP_VFU_DMA_UNMAP_DIRTY_MASK | RP_VFU_DMA_UNMAP_ALL_MASK;
	struct rp_vfu_wire_dma_unmap unmap;

	memcpy(&unmap, command->payload, sizeof(unmap));
	if ((unmap.flags & ~known) != 0)
		return rp_wire_why_set(why, -EBADMSG, "flags: 0x%x, expected 0, dirty (1) or all (2)", unmap.flags);
	if (unmap.flags == known)
		return rp_wire_why_set(why, -EBADMSG, "flags: a bitmap of everything");
	if ((unmap.flags & RP_VFU_DMA_UNMAP_DIRTY_MASK) != 0 &&
	    command->payload_bytes != sizeof(unmap) + sizeof(struct rp_vfu_wire_bitmap))
		return rp_wire_why_set(why, -EMSGSIZE, "payload: %u bytes, expected %zu with the dirty flag",
				       command->payload_bytes, sizeof(unmap) + sizeof(struct rp_vfu_wire_bitmap));
	if ((unmap.flags & RP_VFU_DMA_UNMAP_ALL_MASK) != 0)
		return 0;
	if (unmap.size_bytes == 0)
		return rp_wire_why_set(why, -EBADMSG, "size: 0");
	if (unmap.size_bytes - 1 > UINT64_MAX - unmap.iova)
		return rp_wire_why_set(why, -EBADMSG, "size: 0x%" PRIx64 " from address 0x%" PRIx64 " wraps",
				       unmap.size_bytes, unmap.iova);
	return 0;
}

static int
check_io_fds(const struct rp_vfu_msg_view *command, struct rp_wire_why *why)
{
	struct rp_vfu_wire_io_fds_request request;

	memcpy(&request, command->payload, sizeof(request));
	if (request.flags != 0)
		return rp_wire_why_set(why, -EBADMSG, "flags: 0x%x, expected 0", request.flags);
	return 0;
}

static int
check_irq_data(const struct rp_vfu_msg_view *command, const struct rp_vfu_wire_irq_set *set, struct rp_wire_why *why)
{
	uint32_t data_bytes = command->payload_bytes - (uint32_t)sizeof(*set);
	uint32_t want_bytes = (set->flags & RP_VFU_IRQ_DATA_BOOL_MASK) != 0 ? set->count : 0;

	if (data_bytes != want_bytes)
		return rp_wire_why_set(why, -EBADMSG, "data: %u bytes, expected %u", data_bytes, want_bytes);
	if ((set->flags & RP_VFU_IRQ_DATA_EVENTFD_MASK) == 0) {
		if (command->fds_count > 0)
			return rp_wire_why_set(why, -EBADMSG, "descriptors: %u, expected none without DATA_EVENTFD",
					       command->fds_count);
		return 0;
	}
	if (command->fds_count != 0 && command->fds_count != set->count)
		return rp_wire_why_set(why, -EBADMSG, "descriptors: %u for %u vectors, expected one each or none",
				       command->fds_count, set->count);
	return 0;
}

static int
check_set_irqs(const struct rp_vfu_msg_view *command, struct rp_wire_why *why)
{
	struct rp_vfu_wire_irq_set set;
	uint32_t data, action;

	memcpy(&set, command->payload, sizeof(set));
	data = set.flags & IRQ_DATA_MASK;
	action = set.flags & IRQ_ACTION_MASK;
	if ((set.flags & ~(IRQ_DATA_MASK | IRQ_ACTION_MASK)) != 0)
		return rp_wire_why_set(why, -EBADMSG, "flags: 0x%x has unknown bits", set.flags);
	if (__builtin_popcount(data) != 1 || __builtin_popcount(action) != 1)
		return rp_wire_why_set(why, -EBADMSG, "flags: 0x%x, expected one kind of data and one action",
				       set.flags);
	if (set.count > UINT32_MAX - set.start)
		return rp_wire_why_set(why, -EBADMSG, "count: %u from vector %u wraps", set.count, set.start);
	if (set.count == 0 &&
	    (set.start != 0 || set.flags != (RP_VFU_IRQ_DATA_NONE_MASK | RP_VFU_IRQ_ACTION_TRIGGER_MASK)))
		return rp_wire_why_set(why, -EBADMSG, "count: 0, legal only to disable an index");
	return check_irq_data(command, &set, why);
}

static int
check_region_read(const struct rp_vfu_msg_view *command, struct rp_wire_why *why)
{
	struct rp_vfu_wire_region_access access;

	memcpy(&access, command->payload, sizeof(access));
	if (access.count_bytes == 0)
		return rp_wire_why_set(why, -EBADMSG, "count: 0");
	return 0;
}

static int
check_region_write(const struct rp_vfu_msg_view *command, struct rp_wire_why *why)
{
	uint32_t data_bytes = command->payload_bytes - (uint32_t)sizeof(struct rp_vfu_wire_region_access);
	struct rp_vfu_wire_region_access access;

	memcpy(&access, command->payload, sizeof(access));
	if (access.count_bytes == 0)
		return rp_wire_why_set(why, -EBADMSG, "count: 0");
	if (access.count_bytes != data_bytes)
		return rp_wire_why_set(why, -EBADMSG, "count: %u, but %u bytes of data", access.count_bytes,
				       data_bytes);
	return 0;
}

static int
check_write_multi(const struct rp_vfu_msg_view *command, struct rp_wire_why *why)
{
	uint32_t writes_bytes = command->payload_bytes - (uint32_t)sizeof(uint64_t);
	struct rp_vfu_wire_region_write1 write;
	uint64_t i, count;

	memcpy(&count, command->payload, sizeof(count));
	if (count == 0)
		return rp_wire_why_set(why, -EBADMSG, "wr_cnt: 0");
	if (writes_bytes % sizeof(write) != 0 || count != writes_bytes / sizeof(write))
		return rp_wire_why_set(why, -EBADMSG, "wr_cnt: %" PRIu64 ", but %u bytes of writes, %zu each", count,
				       writes_bytes, sizeof(write));
	for (i = 0; i < count; i++) {
		memcpy(&write, command->payload + sizeof(count) + i * sizeof(write), sizeof(write));
		if (write.count_bytes == 0 || write.count_bytes > sizeof(write.data))
			return rp_wire_why_set(why, -EBADMSG, "write %" PRIu64 ": count: %u, expected 1 to %zu", i,
					       write.count_bytes, sizeof(write.data));
	}
	return 0;
}

static int
check_access_multi(const struct rp_vfu_msg_view *command, struct rp_wire_why *why)
{
	uint32_t accesses_bytes = command->payload_bytes - (uint32_t)sizeof(uint64_t);
	struct rp_vfu_wire_region_access1 access;
	uint64_t i, count;

	memcpy(&count, command->payload, sizeof(count));
	if (count == 0)
		return rp_wire_why_set(why, -EBADMSG, "count: 0");
	if (accesses_bytes % sizeof(access) != 0 || count != accesses_bytes / sizeof(access))
		return rp_wire_why_set(why, -EBADMSG, "count: %" PRIu64 ", but %u bytes of accesses, %zu each", count,
				       accesses_bytes, sizeof(access));
	for (i = 0; i < count; i++) {
		memcpy(&access, command->payload + sizeof(count) + i * sizeof(access), sizeof(access));
		if (access.count_bytes == 0 || access.count_bytes > sizeof(access.data))
			return rp_wire_why_set(why, -EBADMSG, "access %" PRIu64 ": count: %u, expected 1 to %zu", i,
					       access.count_bytes, sizeof(access.data));
		if ((access.flags & ~RP_VFU_ACCESS1_WRITE_MASK) != 0)
			return rp_wire_why_set(why, -EBADMSG,
					       "access %" PRIu64 ": flags: 0x%x, expected 0 (read) or 1 (write)", i,
					       access.flags);
	}
	return 0;
}

static int
check_feature(const struct rp_vfu_msg_view *command, struct rp_wire_why *why)
{
	const uint32_t methods = RP_VFU_FEATURE_GET_MASK | RP_VFU_FEATURE_SET_MASK | RP_VFU_FEATURE_PROBE_MASK;
	struct rp_vfu_wire_feature feature;

	memcpy(&feature, command->payload, sizeof(feature));
	if ((feature.flags & ~(RP_VFU_FEATURE_INDEX_MASK | methods)) != 0)
		return rp_wire_why_set(why, -EBADMSG, "flags: 0x%x has unknown bits", feature.flags);
	if ((feature.flags & methods) == 0)
		return rp_wire_why_set(why, -EBADMSG, "flags: 0x%x, expected get, set or probe", feature.flags);
	if ((feature.flags & methods) == (RP_VFU_FEATURE_GET_MASK | RP_VFU_FEATURE_SET_MASK))
		return rp_wire_why_set(why, -EBADMSG, "flags: get and set at once");
	/* The reply to a set or a probe is as long as the command, and never cut off. */
	if ((feature.flags & methods) != RP_VFU_FEATURE_GET_MASK && feature.argsz < command->payload_bytes)
		return rp_wire_why_set(why, -EBADMSG, "argsz: %u, expected at least the payload's %u", feature.argsz,
				       command->payload_bytes);
	return 0;
}

static int
check_mig_data_read(const struct rp_vfu_msg_view *command, struct rp_wire_why *why)
{
	struct rp_vfu_wire_mig_data data;

	memcpy(&data, command->payload, sizeof(data));
	if (data.size_bytes == 0)
		return rp_wire_why_set(why, -EBADMSG, "size: 0");
	if (data.argsz - sizeof(data) < data.size_bytes)
		return rp_wire_why_set(why, -EBADMSG, "argsz: %u, expected %zu and the size %u", data.argsz,
				       sizeof(data), data.size_bytes);
	return 0;
}

static int
check_mig_data_write(const struct rp_vfu_msg_view *command, struct rp_wire_why *why)
{
	uint32_t data_bytes = command->payload_bytes - (uint32_t)sizeof(struct rp_vfu_wire_mig_data);
	struct rp_vfu_wire_mig_data data;

	memcpy(&data, command->payload, sizeof(data));
	if (data.size_bytes == 0)
		return rp_wire_why_set(why, -EBADMSG, "size: 0");
	if (data.size_bytes != data_bytes)
		return rp_wire_why_set(why, -EBADMSG, "size: %u, but %u bytes of data", data.size_bytes, data_bytes);
	return 0;
}

#define VERSION_MIN sizeof(struct rp_vfu_wire_version)
#define VERSION_MAX (VERSION_MIN + RP_VFU_VERSION_TEXT_MAX_BYTES)
#define UNMAP_MIN sizeof(struct rp_vfu_wire_dma_unmap)
#define BITMAP_BYTES sizeof(struct rp_vfu_wire_bitmap) /* behind an unmap that asks for dirty pages */
#define UNMAP_REPLY_MAX (UNMAP_MIN + BITMAP_BYTES + RP_VFU_DATA_XFER_MAX_BYTES)
#define REGION_MIN sizeof(struct rp_vfu_wire_region_info)
#define REGION_REPLY_MAX 65536 /* capabilities of kinds unknown to us included */
#define IO_FDS_MIN sizeof(struct rp_vfu_wire_io_fds_request)
#define IO_FDS_REPLY_MAX (IO_FDS_MIN + RP_VFU_IO_FDS_MAX * sizeof(struct rp_vfu_wire_io_fd))
#define IO_FDS_PAGE_REPLY_MAX                                                                                          \
	(sizeof(struct rp_vfu_wire_io_fds_page) + RP_VFU_IO_FDS_MAX * sizeof(struct rp_vfu_wire_io_fd))
#define IRQ_SET_MIN sizeof(struct rp_vfu_wire_irq_set)
#define ACCESS_MIN sizeof(struct rp_vfu_wire_region_access)
#define ACCESS_MAX (ACCESS_MIN + RP_VFU_DATA_XFER_MAX_BYTES)
#define WINDOW_BYTES sizeof(struct rp_vfu_wire_window_access)
#define MULTI_MIN sizeof(uint64_t)
#define MULTI_MAX (MULTI_MIN + 1024 * sizeof(struct rp_vfu_wire_region_write1))
#define ACCESSES_MIN sizeof(uint64_t)
#define ACCESSES_MAX (ACCESSES_MIN + RP_VFU_ACCESSES_MAX * sizeof(struct rp_vfu_wire_region_access1))
#define ACCESSES_REPLY_MAX (ACCESSES_MIN + RP_VFU_ACCESSES_MAX * sizeof(uint64_t))
#define FEATURE_MIN sizeof(struct rp_vfu_wire_feature)
#define FEATURE_MAX (FEATURE_MIN + RP_VFU_DATA_XFER_MAX_BYTES)
/* The longest report of dirty pages has a bitmap as long as the longest transfer. */
#define FEATURE_REPLY_MAX (FEATURE_MAX + sizeof(struct rp_vfu_wire_logging_report))
#define MIG_MIN sizeof(struct rp_vfu_wire_mig_data)
#define MIG_MAX (MIG_MIN + RP_VFU_DATA_XFER_MAX_BYTES)
#define TRANSLATE_BYTES sizeof(struct rp_vfu_wire_translate)
#define TRANSLATION_BYTES sizeof(struct rp_vfu_wire_translation)
#define INVALIDATE_BYTES sizeof(struct rp_vfu_wire_invalidate)
#define PAGE_REQUEST_MIN (sizeof(struct rp_vfu_wire_page_request) + sizeof(struct rp_vfu_wire_page))
#define PAGE_REQUEST_MAX                                                                                               \
	(sizeof(struct rp_vfu_wire_page_request) + RP_VFU_PAGE_GROUP_MAX * sizeof(struct rp_vfu_wire_page))
#define PAGE_RESPONSE_BYTES sizeof(struct rp_vfu_wire_page_response)

/* clang-format off */
static const struct rp_vfu_msg messages[] = {
	{ .command = RP_VFU_VERSION, .name = "VERSION",
	  .direction = RP_VFU_TO_SERVER, .states_mask = RP_VFU_IN_NEW_MASK,
	  .payload_min_bytes = VERSION_MIN, .payload_max_bytes = VERSION_MAX,
	  .reply = RP_VFU_REPLY_FIXED, .reply_min_bytes = VERSION_MIN, .reply_max_bytes = VERSION_MAX,
	  .reply_fds_max = 2 },
	{ .command = RP_VFU_DMA_MAP, .name = "DMA_MAP",
	  .direction = RP_VFU_TO_SERVER, .states_mask = RP_VFU_IN_READY_MASK,
	  .payload_min_bytes = sizeof(struct rp_vfu_wire_dma_map),
	  .payload_max_bytes = sizeof(struct rp_vfu_wire_dma_map), .argsz = true, .pasid = true, .fds_max = 1,
	  .reply = RP_VFU_REPLY_HEADER, .check = check_dma_map },
	{ .command = RP_VFU_DMA_UNMAP, .name = "DMA_UNMAP",
	  .direction = RP_VFU_TO_SERVER, .states_mask = RP_VFU_IN_READY_MASK,
	  .payload_min_bytes = UNMAP_MIN, .payload_max_bytes = UNMAP_MIN + BITMAP_BYTES, .argsz = true,
	  .reply = RP_VFU_REPLY_DATA, .reply_min_bytes = UNMAP_MIN, .reply_max_bytes = UNMAP_REPLY_MAX,
	  .check = check_dma_unmap },
	{ .command = RP_VFU_DEVICE_GET_INFO, .name = "DEVICE_GET_INFO",
	  .direction = RP_VFU_TO_SERVER, .states_mask = RP_VFU_IN_READY_MASK,
	  .payload_min_bytes = sizeof(struct rp_vfu_wire_device_info),
	  .payload_max_bytes = RP_VFU_DEVICE_INFO_LONG_BYTES, .argsz = true,
	  .reply = RP_VFU_REPLY_ARGSZ, .reply_min_bytes = sizeof(struct rp_vfu_wire_device_info),
	  .reply_max_bytes = RP_VFU_DEVICE_INFO_LONG_BYTES },
	{ .command = RP_VFU_DEVICE_GET_REGION_INFO, .name = "DEVICE_GET_REGION_INFO",
	  .direction = RP_VFU_TO_SERVER, .states_mask = RP_VFU_IN_READY_MASK,
	  .payload_min_bytes = REGION_MIN, .payload_max_bytes = REGION_MIN, .argsz = true,
	  .reply = RP_VFU_REPLY_ARGSZ, .reply_min_bytes = REGION_MIN, .reply_max_bytes = REGION_REPLY_MAX,
	  .reply_fds_max = 1 },
	{ .command = RP_VFU_DEVICE_GET_REGION_IO_FDS, .name = "DEVICE_GET_REGION_IO_FDS",
	  .direction = RP_VFU_TO_SERVER, .states_mask = RP_VFU_IN_READY_MASK,
	  .payload_min_bytes = IO_FDS_MIN, .payload_max_bytes = IO_FDS_MIN, .argsz = true,
	  .reply = RP_VFU_REPLY_ARGSZ, .reply_min_bytes = IO_FDS_MIN, .reply_max_bytes = IO_FDS_REPLY_MAX,
	  .reply_fds_max = RP_VFU_MSG_FDS_MAX, .check = check_io_fds },
	{ .command = RP_VFU_DEVICE_GET_IRQ_INFO, .name = "DEVICE_GET_IRQ_INFO",
	  .direction = RP_VFU_TO_SERVER, .states_mask = RP_VFU_IN_READY_MASK,
	  .payload_min_bytes = sizeof(struct rp_vfu_wire_irq_info),
	  .payload_max_bytes = sizeof(struct rp_vfu_wire_irq_info), .argsz = true,
	  .reply = RP_VFU_REPLY_ARGSZ, .reply_min_bytes = sizeof(struct rp_vfu_wire_irq_info),
	  .reply_max_bytes = sizeof(struct rp_vfu_wire_irq_info) },
	{ .command = RP_VFU_DEVICE_SET_IRQS, .name = "DEVICE_SET_IRQS",
	  .direction = RP_VFU_TO_SERVER, .states_mask = RP_VFU_IN_READY_MASK,
	  .payload_min_bytes = IRQ_SET_MIN, .payload_max_bytes = IRQ_SET_MIN + RP_VFU_IRQ_VECTORS_MAX,
	  .argsz = true, .fds_max = RP_VFU_MSG_FDS_MAX,
	  .reply = RP_VFU_REPLY_HEADER, .check = check_set_irqs },
	{ .command = RP_VFU_REGION_READ, .name = "REGION_READ",
	  .direction = RP_VFU_TO_SERVER, .states_mask = RP_VFU_IN_READY_MASK,
	  .payload_min_bytes = ACCESS_MIN, .payload_max_bytes = ACCESS_MIN,
	  .reply = RP_VFU_REPLY_DATA, .reply_min_bytes = ACCESS_MIN, .reply_max_bytes = ACCESS_MAX,
	  .check = check_region_read },
	{ .command = RP_VFU_REGION_WRITE, .name = "REGION_WRITE",
	  .direction = RP_VFU_TO_SERVER, .states_mask = RP_VFU_IN_READY_MASK,
	  .payload_min_bytes = ACCESS_MIN, .payload_max_bytes = ACCESS_MAX,
	  .reply = RP_VFU_REPLY_FIXED, .reply_min_bytes = ACCESS_MIN, .reply_max_bytes = ACCESS_MIN,
	  .check = check_region_write },
	{ .command = RP_VFU_DMA_READ, .name = "DMA_READ",
	  .direction = RP_VFU_TO_CLIENT, .states_mask = RP_VFU_IN_READY_MASK,
	  .payload_min_bytes = ACCESS_MIN, .payload_max_bytes = ACCESS_MIN, .pasid = true,
	  .reply = RP_VFU_REPLY_DATA, .reply_min_bytes = ACCESS_MIN, .reply_max_bytes = ACCESS_MAX },
	{ .command = RP_VFU_DMA_WRITE, .name = "DMA_WRITE",
	  .direction = RP_VFU_TO_CLIENT, .states_mask = RP_VFU_IN_READY_MASK,
	  .payload_min_bytes = ACCESS_MIN, .payload_max_bytes = ACCESS_MAX, .pasid = true,
	  .reply = RP_VFU_REPLY_FIXED, .reply_min_bytes = ACCESS_MIN, .reply_max_bytes = ACCESS_MIN },
	{ .command = RP_VFU_DEVICE_RESET, .name = "DEVICE_RESET",
	  .direction = RP_VFU_TO_SERVER, .states_mask = RP_VFU_IN_READY_MASK,
	  .reply = RP_VFU_REPLY_HEADER },
	{ .command = RP_VFU_DIRTY_PAGES, .name = "DIRTY_PAGES",
	  .direction = RP_VFU_TO_SERVER, .states_mask = RP_VFU_IN_READY_MASK,
	  .payload_min_bytes = FEATURE_MIN, .payload_max_bytes = FEATURE_MAX, .argsz = true,
	  .reply = RP_VFU_REPLY_ARGSZ, .reply_min_bytes = FEATURE_MIN, .reply_max_bytes = FEATURE_MAX },
	{ .command = RP_VFU_REGION_WRITE_MULTI, .name = "REGION_WRITE_MULTI",
	  .direction = RP_VFU_TO_SERVER, .states_mask = RP_VFU_IN_READY_MASK,
	  .terms_mask = 1u << RP_VFU_TERM_WRITE_MULTI,
	  .payload_min_bytes = MULTI_MIN, .payload_max_bytes = MULTI_MAX,
	  .reply = RP_VFU_REPLY_FIXED, .reply_min_bytes = MULTI_MIN, .reply_max_bytes = MULTI_MIN,
	  .check = check_write_multi },
	{ .command = RP_VFU_DEVICE_FEATURE, .name = "DEVICE_FEATURE",
	  .direction = RP_VFU_TO_SERVER, .states_mask = RP_VFU_IN_READY_MASK,
	  .payload_min_bytes = FEATURE_MIN, .payload_max_bytes = FEATURE_MAX, .argsz = true,
	  .reply = RP_VFU_REPLY_ARGSZ, .reply_min_bytes = FEATURE_MIN, .reply_max_bytes = FEATURE_REPLY_MAX,
	  .check = check_feature },
	{ .command = RP_VFU_MIG_DATA_READ, .name = "MIG_DATA_READ",
	  .direction = RP_VFU_TO_SERVER, .states_mask = RP_VFU_IN_READY_MASK,
	  .payload_min_bytes = MIG_MIN, .payload_max_bytes = MIG_MIN, .argsz = true,
	  .reply = RP_VFU_REPLY_DATA, .reply_min_bytes = MIG_MIN, .reply_max_bytes = MIG_MAX,
	  .check = check_mig_data_read },
	{ .command = RP_VFU_MIG_DATA_WRITE, .name = "MIG_DATA_WRITE",
	  .direction = RP_VFU_TO_SERVER, .states_mask = RP_VFU_IN_READY_MASK,
	  .payload_min_bytes = MIG_MIN, .payload_max_bytes = MIG_MAX,
	  .reply = RP_VFU_REPLY_HEADER, .check = check_mig_data_write },
	{ .command = RP_VFU_DMA_REMAP, .name = "DMA_REMAP",
	  .direction = RP_VFU_TO_SERVER, .states_mask = RP_VFU_IN_READY_MASK,
	  .terms_mask = 1u << RP_VFU_TERM_REMAP,
	  .payload_min_bytes = sizeof(struct rp_vfu_wire_dma_map),
	  .payload_max_bytes = sizeof(struct rp_vfu_wire_dma_map), .argsz = true, .pasid = true, .fds_max = 1,
	  .reply = RP_VFU_REPLY_HEADER, .check = check_dma_map },
	{ .command = RP_VFU_WINDOW_READ, .name = "WINDOW_READ",
	  .direction = RP_VFU_TO_CLIENT, .states_mask = RP_VFU_IN_READY_MASK,
	  .terms_mask = 1u << RP_VFU_TERM_WINDOW,
	  .payload_min_bytes = WINDOW_BYTES, .payload_max_bytes = WINDOW_BYTES, .pasid = true,
	  .reply = RP_VFU_REPLY_FIXED, .reply_min_bytes = ACCESS_MIN, .reply_max_bytes = ACCESS_MIN },
	{ .command = RP_VFU_WINDOW_WRITE, .name = "WINDOW_WRITE",
	  .direction = RP_VFU_TO_CLIENT, .states_mask = RP_VFU_IN_READY_MASK,
	  .terms_mask = 1u << RP_VFU_TERM_WINDOW,
	  .payload_min_bytes = WINDOW_BYTES, .payload_max_bytes = WINDOW_BYTES, .pasid = true,
	  .reply = RP_VFU_REPLY_FIXED, .reply_min_bytes = ACCESS_MIN, .reply_max_bytes = ACCESS_MIN },
	{ .command = RP_VFU_DEVICE_GET_REGION_IO_FDS_PAGE, .name = "DEVICE_GET_REGION_IO_FDS_PAGE",
	  .direction = RP_VFU_TO_SERVER, .states_mask = RP_VFU_IN_READY_MASK,
	  .terms_mask = 1u << RP_VFU_TERM_IO_FDS,
	  .payload_min_bytes = IO_FDS_MIN, .payload_max_bytes = IO_FDS_MIN, .argsz = true,
	  .reply = RP_VFU_REPLY_ARGSZ, .reply_min_bytes = sizeof(struct rp_vfu_wire_io_fds_page),
	  .reply_max_bytes = IO_FDS_PAGE_REPLY_MAX, .reply_fds_max = RP_VFU_MSG_FDS_MAX, .check = check_io_fds },
	{ .command = RP_VFU_TRANSLATE, .name = "TRANSLATE",
	  .direction = RP_VFU_TO_CLIENT, .states_mask = RP_VFU_IN_READY_MASK,
	  .terms_mask = 1u << RP_VFU_TERM_TRANSLATIONS,
	  .payload_min_bytes = TRANSLATE_BYTES, .payload_max_bytes = TRANSLATE_BYTES,
	  .reply = RP_VFU_REPLY_FIXED, .reply_min_bytes = TRANSLATION_BYTES, .reply_max_bytes = TRANSLATION_BYTES,
	  .check = rp_vfu_check_translate },
	{ .command = RP_VFU_INVALIDATE, .name = "INVALIDATE",
	  .direction = RP_VFU_TO_SERVER, .states_mask = RP_VFU_IN_READY_MASK,
	  .terms_mask = 1u << RP_VFU_TERM_INVALIDATIONS,
	  .payload_min_bytes = INVALIDATE_BYTES, .payload_max_bytes = INVALIDATE_BYTES,
	  .reply = RP_VFU_REPLY_FIXED, .reply_min_bytes = sizeof(uint64_t), .reply_max_bytes = sizeof(uint64_t),
	  .check = rp_vfu_check_invalidate },
	{ .command = RP_VFU_PAGE_REQUEST, .name = "PAGE_REQUEST",
	  .direction = RP_VFU_TO_CLIENT, .states_mask = RP_VFU_IN_READY_MASK,
	  .terms_mask = 1u << RP_VFU_TERM_PAGE_REQUESTS,
	  .payload_min_bytes = PAGE_REQUEST_MIN, .payload_max_bytes = PAGE_REQUEST_MAX,
	  .reply = RP_VFU_REPLY_HEADER, .check = rp_vfu_check_page_request },
	{ .command = RP_VFU_PAGE_RESPONSE, .name = "PAGE_RESPONSE",
	  .direction = RP_VFU_TO_SERVER, .states_mask = RP_VFU_IN_READY_MASK,
	  .terms_mask = 1u << RP_VFU_TERM_PAGE_REQUESTS,
	  .payload_min_bytes = PAGE_RESPONSE_BYTES, .payload_max_bytes = PAGE_RESPONSE_BYTES,
	  .reply = RP_VFU_REPLY_HEADER, .check = rp_vfu_check_page_response },
	{ .command = RP_VFU_REGION_ACCESS_MULTI, .name = "REGION_ACCESS_MULTI",
	  .direction = RP_VFU_TO_SERVER, .states_mask = RP_VFU_IN_READY_MASK,
	  .terms_mask = 1u << RP_VFU_TERM_ACCESS_MULTI,
	  .payload_min_bytes = ACCESSES_MIN, .payload_max_bytes = ACCESSES_MAX,
	  .reply = RP_VFU_REPLY_DATA, .reply_min_bytes = ACCESSES_MIN, .reply_max_bytes = ACCESSES_REPLY_MAX,
	  .check = check_access_multi },
};
/* clang-format on */

const struct rp_vfu_msg *
rp_vfu_msg_at(unsigned int index)
{
	return index < ARRAY_COUNT(messages) ? &messages[index] : NULL;
}

const struct rp_vfu_msg *
rp_vfu_msg_find(uint16_t command)
{
	const unsigned int standard_count = RP_VFU_MIG_DATA_WRITE;

	/* Commands are numbered without a gap from 1, ours from theirs, so the row is where it must be. */
	static_assert(ARRAY_COUNT(messages) ==
			      RP_VFU_MIG_DATA_WRITE + RP_VFU_EXTENSION_LAST - RP_VFU_EXTENSION_FIRST + 1,
		      "a row for each command, in order");
	if (command >= RP_VFU_EXTENSION_FIRST)
		return rp_vfu_msg_at(standard_count + command - RP_VFU_EXTENSION_FIRST);
	return command == 0 || command > standard_count ? NULL : rp_vfu_msg_at(command - 1u);
}
