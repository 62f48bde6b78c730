/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <string.h>

#include "vfu_server.h"

int
rp_vfu_server_on_device_info(struct rp_vfu_server *server, const struct rp_vfu_msg_view *command, int *fds,
			     struct rp_vfu_reply *reply, struct rp_wire_why *why)
{
	struct rp_vfu_wire_device_info info = {
		.argsz = sizeof(info),
		.flags = (server->resettable ? RP_VFU_DEVICE_FLAG_RESET_MASK : 0) |
			 (server->pci ? RP_VFU_DEVICE_FLAG_PCI_MASK : 0),
		.regions_count = server->regions_count,
		.irqs_count = server->irqs_count,
	};

	(void)command;
	(void)fds;
	(void)why;
	memcpy(reply->fixed, &info, sizeof(info));
	reply->fixed_bytes = sizeof(info);
	return 0;
}

int
rp_vfu_server_on_irq_info(struct rp_vfu_server *server, const struct rp_vfu_msg_view *command, int *fds,
			  struct rp_vfu_reply *reply, struct rp_wire_why *why)
{
	struct rp_vfu_wire_irq_info info;

	(void)fds;
	memcpy(&info, command->payload, sizeof(info));
	if (info.index >= server->irqs_count)
		return rp_wire_why_set(why, -EBADMSG, "index: %u, expected below %u", info.index, server->irqs_count);
	info.argsz = sizeof(info);
	info.flags = server->irqs[info.index].type.flags;
	info.count = server->irqs[info.index].type.count;
	memcpy(reply->fixed, &info, sizeof(info));
	reply->fixed_bytes = sizeof(info);
	return 0;
}

static uint32_t
sparse_bytes(const struct rp_vfu_region *region)
{
	return (uint32_t)(sizeof(struct rp_vfu_wire_cap) + sizeof(struct rp_vfu_wire_sparse) +
			  region->areas_count * sizeof(struct rp_vfu_wire_sparse_area));
}

static uint8_t *
put(uint8_t *at, const void *bytes, size_t count)
{
	memcpy(at, bytes, count);
	return at + count;
}

static int
put_sparse(struct rp_vfu_server *server, const struct rp_vfu_region *region, struct rp_vfu_reply *reply)
{
	const struct rp_vfu_wire_cap cap = {.id = RP_VFU_CAP_SPARSE_MMAP, .version = 1};
	const struct rp_vfu_wire_sparse sparse = {.areas_count = region->areas_count};
	uint8_t *at = rp_vfu_server_scratch(server, sparse_bytes(region));
	uint32_t i;

	if (at == NULL)
		return -ENOSPC;
	reply->data = at;
	reply->data_bytes = sparse_bytes(region);
	at = put(at, &cap, sizeof(cap));
	at = put(at, &sparse, sizeof(sparse));
	for (i = 0; i < region->areas_count; i++) {
		const struct rp_vfu_wire_sparse_area area = {
			.offset_bytes = region->areas[i].offset_bytes,
			.size_bytes = region->areas[i].size_bytes,
		};

		at = put(at, &area, sizeof(area));
	}
	return 0;
}

/* A client that takes no descriptors, and one that may map nothing, see a region of messages. */
static bool
is_mappable(const struct rp_vfu_server *server, const struct rp_vfu_region *region)
{
	return region->fd >= 0 && server->terms.value[RP_VFU_TERM_MSG_FDS] > 0 &&
	       (region->areas == NULL || region->areas_count > 0);
}

int
rp_vfu_server_on_region_info(struct rp_vfu_server *server, const struct rp_vfu_msg_view *command, int *fds,
			     struct rp_vfu_reply *reply, struct rp_wire_why *why)
{
	struct rp_vfu_wire_region_info info;
	const struct rp_vfu_region *region;
	uint32_t room_bytes;

	(void)fds;
	memcpy(&info, command->payload, sizeof(info));
	if (info.index >= server->regions_count)
		return rp_wire_why_set(why, -EBADMSG, "index: %u, expected below %u", info.index,
				       server->regions_count);
	region = &server->regions[info.index];
	room_bytes = info.argsz;
	info = (struct rp_vfu_wire_region_info){
		.argsz = sizeof(info),
		.flags = (region->readable ? RP_VFU_REGION_FLAG_READ_MASK : 0) |
			 (region->writable ? RP_VFU_REGION_FLAG_WRITE_MASK : 0),
		.index = info.index,
		.size_bytes = region->size_bytes,
	};
	if (is_mappable(server, region)) {
		info.flags |= RP_VFU_REGION_FLAG_MMAP_MASK;
		info.offset_bytes = region->fd_offset_bytes;
		reply->fds[reply->fds_count++] = region->fd;
		if (region->areas != NULL) {
			/* Also in a cut off reply: clients refuse the flag with an offset of 0. */
			info.flags |= RP_VFU_REGION_FLAG_CAPS_MASK;
			info.cap_offset_bytes = sizeof(info);
			info.argsz += sparse_bytes(region);
			if (room_bytes >= info.argsz && put_sparse(server, region, reply) < 0)
				return rp_wire_why_set(why, -ENOSPC, "no memory for the reply");
		}
	}
	memcpy(reply->fixed, &info, sizeof(info));
	reply->fixed_bytes = sizeof(info);
	return 0;
}
