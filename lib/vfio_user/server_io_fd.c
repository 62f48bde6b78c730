/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <string.h>

#include "vfu_server.h"

#define ENTRY_BYTES sizeof(struct rp_vfu_wire_io_fd)

/*
 * Theory of operation: the entries of a reply name descriptors that travel with
 * it, of which a message carries few. The specification's command has one reply,
 * so what does not fit is left out and written by message; the paged one begins
 * where the client says, so that it sees everything in as many calls as it takes.
 * The specification knows no shadow: only the paged command lists them, or a
 * client that does not know them would signal without leaving the value.
 */

static unsigned int
fds_room(const struct rp_vfu_server *server)
{
	uint64_t agreed = server->terms.value[RP_VFU_TERM_MSG_FDS];

	return agreed < RP_VFU_MSG_FDS_MAX ? (unsigned int)agreed : RP_VFU_MSG_FDS_MAX;
}

/* @return the place of `fd` among the descriptors of the reply, -1 when it is full. */
static int
fd_index(struct rp_vfu_reply *reply, int fd, unsigned int max)
{
	unsigned int i;

	for (i = 0; i < reply->fds_count; i++) {
		if (reply->fds[i] == fd)
			return (int)i;
	}
	if (reply->fds_count >= max)
		return -1;
	reply->fds[reply->fds_count] = fd;
	return (int)reply->fds_count++;
}

/* @return false, with the reply as it was, when its descriptors do not fit. */
static bool
fill_entry(const struct rp_vfu_io_fd *place, unsigned int fds_max, struct rp_vfu_wire_io_fd *ret_entry,
	   struct rp_vfu_reply *reply)
{
	unsigned int had_count = reply->fds_count;
	int event = fd_index(reply, place->fd, fds_max);
	int shadow = place->has_shadow ? fd_index(reply, place->shadow_fd, fds_max) : 0;

	if (event < 0 || shadow < 0) {
		reply->fds_count = had_count;
		return false;
	}
	*ret_entry = (struct rp_vfu_wire_io_fd){
		.offset_bytes = place->offset_bytes,
		.size_bytes = place->size_bytes,
		.fd_index = (uint32_t)event,
		.type = place->has_shadow ? RP_VFU_IO_FD_TYPE_SHADOW : RP_VFU_IO_FD_TYPE_IOEVENTFD,
		.flags = place->has_datamatch ? RP_VFU_IO_FD_DATAMATCH_MASK : 0,
		.padding = (uint32_t)shadow,
		.datamatch = place->has_shadow	  ? place->shadow_offset_bytes :
			     place->has_datamatch ? place->datamatch :
						    0,
	};
	return true;
}

static const struct rp_vfu_region *
find_region(const struct rp_vfu_server *server, uint32_t index, struct rp_wire_why *why)
{
	if (index < server->regions_count)
		return &server->regions[index];
	rp_wire_why_set(why, -EBADMSG, "index: %u, expected below %u", index, server->regions_count);
	return NULL;
}

/* The entries behind the head of a reply, or only how many bytes they take when the client has no room for them. */
static void
put_list(struct rp_vfu_reply *reply, const uint8_t *list, uint32_t count, uint32_t room_bytes, uint32_t head_bytes)
{
	uint32_t list_bytes = count * (uint32_t)ENTRY_BYTES;

	if (room_bytes >= head_bytes + list_bytes) {
		reply->data = list;
		reply->data_bytes = list_bytes;
	} else {
		/* Indices into descriptors that are not listed would serve nobody. */
		reply->fds_count = 0;
	}
}

int
rp_vfu_server_on_io_fds(struct rp_vfu_server *server, const struct rp_vfu_msg_view *command, int *fds,
			struct rp_vfu_reply *reply, struct rp_wire_why *why)
{
	struct rp_vfu_wire_io_fds_request info;
	const struct rp_vfu_region *region;
	uint32_t i, room_bytes;
	uint8_t *list;

	(void)fds;
	memcpy(&info, command->payload, sizeof(info));
	region = find_region(server, info.index, why);
	if (region == NULL)
		return -EBADMSG;
	list = rp_vfu_server_scratch(server, region->io_fds_count * ENTRY_BYTES);
	if (list == NULL)
		return rp_wire_why_set(why, -ENOSPC, "no memory for the reply");
	info.count = 0;
	for (i = 0; i < region->io_fds_count; i++) {
		struct rp_vfu_wire_io_fd entry;

		if (region->io_fds[i].has_shadow)
			continue;
		if (!fill_entry(&region->io_fds[i], fds_room(server), &entry, reply))
			break;
		memcpy(list + info.count++ * ENTRY_BYTES, &entry, sizeof(entry));
	}
	room_bytes = info.argsz;
	info.argsz = (uint32_t)(sizeof(info) + info.count * ENTRY_BYTES);
	put_list(reply, list, info.count, room_bytes, sizeof(info));
	memcpy(reply->fixed, &info, sizeof(info));
	reply->fixed_bytes = sizeof(info);
	return 0;
}

/* A place whose descriptors no message can carry is written by message, and not in the list. */
static bool
is_listed(const struct rp_vfu_io_fd *place, unsigned int fds_max)
{
	return (place->has_shadow ? 2u : 1u) <= fds_max;
}

/* Fill a page with the listed places from number `first` on, and count all of them. */
static void
fill_page(const struct rp_vfu_region *region, uint32_t first, unsigned int fds_max, uint8_t *list,
	  struct rp_vfu_wire_io_fds_page *page, struct rp_vfu_reply *reply)
{
	bool is_full = false;
	uint32_t i;

	for (i = 0; i < region->io_fds_count; i++) {
		struct rp_vfu_wire_io_fd entry;

		if (!is_listed(&region->io_fds[i], fds_max) || page->total++ < first || is_full)
			continue;
		is_full = !fill_entry(&region->io_fds[i], fds_max, &entry, reply);
		if (!is_full)
			memcpy(list + page->count++ * ENTRY_BYTES, &entry, sizeof(entry));
	}
}

int
rp_vfu_server_on_io_fds_page(struct rp_vfu_server *server, const struct rp_vfu_msg_view *command, int *fds,
			     struct rp_vfu_reply *reply, struct rp_wire_why *why)
{
	struct rp_vfu_wire_io_fds_page_request request;
	struct rp_vfu_wire_io_fds_page page = {.argsz = sizeof(page)};
	const struct rp_vfu_region *region;
	uint8_t *list;

	(void)fds;
	memcpy(&request, command->payload, sizeof(request));
	region = find_region(server, request.index, why);
	if (region == NULL)
		return -EBADMSG;
	list = rp_vfu_server_scratch(server, region->io_fds_count * ENTRY_BYTES);
	if (list == NULL)
		return rp_wire_why_set(why, -ENOSPC, "no memory for the reply");
	page.index = request.index;
	fill_page(region, request.first, fds_room(server), list, &page, reply);
	if (request.first > page.total)
		return rp_wire_why_set(why, -EBADMSG, "first: %u, but region %u has %u places", request.first,
				       request.index, page.total);
	page.argsz += page.count * (uint32_t)ENTRY_BYTES;
	put_list(reply, list, page.count, request.argsz, sizeof(page));
	memcpy(reply->fixed, &page, sizeof(page));
	reply->fixed_bytes = sizeof(page);
	return 0;
}
