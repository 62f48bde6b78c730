/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "rp_wire_conn.h"
#include "rp_wire_fd.h"
#include "vfu_client.h"
#include "vfu_eventfd.h"

/*
 * The entries of a reply. The specification does not promise their size, only
 * that they are as large as each other.
 */
struct list {
	const uint8_t *entries;
	uint32_t count;
	uint32_t stride_bytes;
};

static int
parse_list(const struct rp_vfu_call *call, uint32_t region, struct list *ret_list, struct rp_wire_why *why)
{
	struct rp_vfu_wire_io_fds_request head;
	uint32_t list_bytes;

	memcpy(&head, call->reply.payload, sizeof(head));
	if (head.index != region)
		return rp_wire_why_set(why, -EBADMSG, "index: %u, asked for %u", head.index, region);
	if (head.argsz != call->reply.payload_bytes)
		return rp_wire_why_set(why, -EBADMSG, "argsz: %u, in a reply of %u bytes", head.argsz,
				       call->reply.payload_bytes);
	list_bytes = head.argsz - (uint32_t)sizeof(head);
	*ret_list = (struct list){.entries = call->reply.payload + sizeof(head), .count = head.count};
	if (head.count == 0)
		return 0;
	ret_list->stride_bytes = list_bytes / head.count;
	if (ret_list->stride_bytes < sizeof(struct rp_vfu_wire_io_fd) || list_bytes % head.count != 0)
		return rp_wire_why_set(why, -EBADMSG, "count: %u places in %u bytes", head.count, list_bytes);
	return 0;
}

static int
check_entry(const struct rp_vfu_wire_io_fd *entry, const struct rp_vfu_call *call, struct rp_wire_why *why)
{
	if (entry->fd_index >= call->reply.fds_count)
		return rp_wire_why_set(why, -EBADMSG, "fd_index: %u of %u descriptors", entry->fd_index,
				       call->reply.fds_count);
	if (!rp_vfu_eventfd_is(call->msg->fds[entry->fd_index]))
		return rp_wire_why_set(why, -EBADMSG, "descriptor %u: not an eventfd", entry->fd_index);
	return 0;
}

/* Width 0 in the list stands for a write of any width. */
static bool
stands_for(const struct rp_vfu_wire_io_fd *entry, uint64_t offset_bytes, uint64_t size_bytes)
{
	return entry->type == RP_VFU_IO_FD_TYPE_IOEVENTFD && entry->flags == 0 && entry->offset_bytes == offset_bytes &&
	       (entry->size_bytes == size_bytes || entry->size_bytes == 0);
}

static int
pick(struct rp_vfu_call *call, const struct list *list, uint64_t offset_bytes, uint64_t size_bytes, int *ret_fd,
     struct rp_wire_why *why)
{
	uint32_t i;

	for (i = 0; i < list->count; i++) {
		struct rp_vfu_wire_io_fd entry;
		int rc;

		memcpy(&entry, list->entries + (size_t)i * list->stride_bytes, sizeof(entry));
		if (!stands_for(&entry, offset_bytes, size_bytes))
			continue;
		rc = check_entry(&entry, call, why);
		if (rc == 0)
			*ret_fd = rp_wire_fd_take(&call->msg->fds[entry.fd_index]);
		return rc;
	}
	return rp_wire_why_set(why, -ENOENT, "no eventfd for %" PRIu64 " bytes at 0x%" PRIx64, size_bytes,
			       offset_bytes);
}

int
rp_vfu_client_io_fd(struct rp_vfu_client *client, uint32_t region, uint64_t offset_bytes, uint64_t size_bytes,
		    int *ret_fd, struct rp_wire_why *why)
{
	const struct rp_vfu_msg *row = rp_vfu_msg_find(RP_VFU_DEVICE_GET_REGION_IO_FDS);
	struct rp_vfu_wire_io_fds_request request = {.argsz = row->reply_max_bytes, .index = region};
	struct rp_vfu_call call = {
		.command = RP_VFU_DEVICE_GET_REGION_IO_FDS,
		.payload = &request,
		.payload_bytes = sizeof(request),
	};
	struct list list = {.count = 0};
	int rc = rp_vfu_client_call(client, &call, why);

	/* A server that does not know the command has none either. */
	if (rc == -ENOTSUP)
		return rp_wire_why_set(why, -ENOENT, "DEVICE_GET_REGION_IO_FDS: the server does not support it");
	if (rc < 0)
		return rc;
	rc = parse_list(&call, region, &list, why);
	if (rc == 0)
		rc = pick(&call, &list, offset_bytes, size_bytes, ret_fd, why);
	if (rc < 0)
		rp_wire_why_prefix(why, "DEVICE_GET_REGION_IO_FDS: reply: region %u: ", region);
	rp_wire_msg_drop(call.msg);
	return rc;
}
