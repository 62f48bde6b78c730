/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "rp_wire_conn.h"
#include "rp_wire_fd.h"
#include "vfu_client.h"
#include "vfu_eventfd.h"

/*
 * The descriptors that stand for writes of a region. One message carries no more
 * descriptors than were agreed on; with ringpass.io_fds the list comes in pages, each
 * with the descriptors of its own entries.
 */

#define FLAGS_MASK (RP_VFU_IO_FD_DATAMATCH_MASK | RP_VFU_IO_FD_PIO_MASK)

/*
 * An entry as a peer may send it that has a shadow in fields of its own. Ours has it in
 * the padding and in the place of datamatch, which a shadow has no use for.
 */
struct shadow_entry {
	uint64_t offset_bytes;
	uint64_t size_bytes;
	uint32_t fd_index;
	uint32_t type;
	uint32_t flags;
	uint32_t shadow_fd_index;
	uint64_t shadow_offset_bytes;
	uint64_t datamatch;
} __attribute__((packed));
static_assert(sizeof(struct shadow_entry) == 48, "io fd with a shadow");

/*
 * The entries of a reply. The specification does not promise their size, only
 * that they are as large as each other.
 */
struct list {
	struct rp_vfu_call call;
	const uint8_t *entries;
	uint32_t count;
	uint32_t stride_bytes;
	uint32_t total; /* of the region; without pages: what is here */
};

static int
measure(struct list *list, uint32_t list_bytes, struct rp_wire_why *why)
{
	if (list->count == 0)
		return 0;
	list->stride_bytes = list_bytes / list->count;
	if (list->stride_bytes < sizeof(struct rp_vfu_wire_io_fd) || list_bytes % list->count != 0)
		return rp_wire_why_set(why, -EBADMSG, "count: %u places in %u bytes", list->count, list_bytes);
	return 0;
}

static int
parse_head(struct list *list, uint32_t region, struct rp_wire_why *why)
{
	/* A page begins with the same fields. */
	struct rp_vfu_wire_io_fds_request head;

	memcpy(&head, list->call.reply.payload, sizeof(head));
	if (head.index != region)
		return rp_wire_why_set(why, -EBADMSG, "index: %u, asked for %u", head.index, region);
	if (head.argsz != list->call.reply.payload_bytes)
		return rp_wire_why_set(why, -EBADMSG, "argsz: %u, in a reply of %u bytes", head.argsz,
				       list->call.reply.payload_bytes);
	list->count = head.count;
	return 0;
}

static int
parse_list(struct list *list, uint32_t region, struct rp_wire_why *why)
{
	int rc = parse_head(list, region, why);

	if (rc < 0)
		return rc;
	list->entries = list->call.reply.payload + sizeof(struct rp_vfu_wire_io_fds_request);
	list->total = list->count;
	return measure(list, list->call.reply.payload_bytes - (uint32_t)sizeof(struct rp_vfu_wire_io_fds_request), why);
}

static int
parse_page(struct list *list, uint32_t region, uint32_t first, struct rp_wire_why *why)
{
	struct rp_vfu_wire_io_fds_page head;
	int rc = parse_head(list, region, why);

	if (rc < 0)
		return rc;
	memcpy(&head, list->call.reply.payload, sizeof(head));
	list->entries = list->call.reply.payload + sizeof(head);
	list->total = head.total;
	if (head.total > RP_VFU_IO_FDS_MAX)
		return rp_wire_why_set(why, -EBADMSG, "total: %u places, expected at most %u", head.total,
				       RP_VFU_IO_FDS_MAX);
	/* A page without a place would be asked for again for ever. */
	if (first < head.total ? head.count == 0 || head.count > head.total - first : head.count != 0)
		return rp_wire_why_set(why, -EBADMSG, "count: %u places from %u of %u", head.count, first, head.total);
	return measure(list, list->call.reply.payload_bytes - (uint32_t)sizeof(head), why);
}

static bool
has_pages(const struct rp_vfu_client *client)
{
	return (client->terms.named_mask & (1u << RP_VFU_TERM_IO_FDS)) != 0;
}

static const char *
name_of(const struct rp_vfu_client *client)
{
	return rp_vfu_msg_name(has_pages(client) ? RP_VFU_DEVICE_GET_REGION_IO_FDS_PAGE :
						   RP_VFU_DEVICE_GET_REGION_IO_FDS);
}

/* The list, or the page of it that begins with a place. */
static int
ask(struct rp_vfu_client *client, uint32_t region, uint32_t first, struct list *ret_list, struct rp_wire_why *why)
{
	bool pages = has_pages(client);
	uint16_t command = pages ? RP_VFU_DEVICE_GET_REGION_IO_FDS_PAGE : RP_VFU_DEVICE_GET_REGION_IO_FDS;
	const struct rp_vfu_msg *row = rp_vfu_msg_find(command);
	/* Both requests have these fields; `first` is in the place of a count that must be 0. */
	const struct rp_vfu_wire_io_fds_page_request request = {
		.argsz = row->reply_max_bytes,
		.index = region,
		.first = first,
	};
	int rc;

	*ret_list = (struct list){.call = {
					  .command = command,
					  .payload = &request,
					  .payload_bytes = sizeof(request),
				  }};
	rc = rp_vfu_client_call(client, &ret_list->call, why);
	ret_list->call.payload = NULL;
	/* A server that does not know the command has none either. */
	if (rc == -ENOTSUP)
		return rp_wire_why_set(why, -ENOENT, "%s: the server does not support it", row->name);
	if (rc < 0)
		return rc;
	rc = pages ? parse_page(ret_list, region, first, why) : parse_list(ret_list, region, why);
	if (rc < 0) {
		rp_wire_why_prefix(why, "%s: reply: region %u: ", row->name, region);
		rp_wire_msg_drop(ret_list->call.msg);
	}
	return rc;
}

/* Either kind of entry, as the longer one. */
static void
read_entry(const struct list *list, uint32_t index, struct shadow_entry *ret_entry)
{
	const uint8_t *bytes = list->entries + (size_t)index * list->stride_bytes;
	struct rp_vfu_wire_io_fd entry;

	memset(ret_entry, 0, sizeof(*ret_entry));
	if (list->stride_bytes >= sizeof(*ret_entry)) {
		memcpy(ret_entry, bytes, sizeof(*ret_entry));
		return;
	}
	memcpy(&entry, bytes, sizeof(entry));
	memcpy(ret_entry, bytes, offsetof(struct shadow_entry, shadow_fd_index));
	if (entry.type == RP_VFU_IO_FD_TYPE_SHADOW) {
		ret_entry->shadow_fd_index = entry.padding;
		ret_entry->shadow_offset_bytes = entry.datamatch;
	} else {
		ret_entry->datamatch = entry.datamatch;
	}
}

static int
check_fd_index(const struct list *list, uint32_t fd_index, struct rp_wire_why *why)
{
	if (fd_index >= list->call.reply.fds_count)
		return rp_wire_why_set(why, -EBADMSG, "fd_index: %u of %u descriptors", fd_index,
				       list->call.reply.fds_count);
	return 0;
}

static int
check_eventfd(const struct list *list, uint32_t fd_index, struct rp_wire_why *why)
{
	int rc = check_fd_index(list, fd_index, why);

	if (rc == 0 && !rp_vfu_eventfd_is(list->call.msg->fds[fd_index]))
		rc = rp_wire_why_set(why, -EBADMSG, "descriptor %u: not an eventfd", fd_index);
	return rc;
}

static int
check_shadow(const struct list *list, const struct shadow_entry *entry, struct rp_wire_why *why)
{
	uint64_t size_bytes = entry->size_bytes == 0 ? sizeof(uint64_t) : entry->size_bytes;
	struct stat st;
	int rc = check_fd_index(list, entry->shadow_fd_index, why);

	if (rc < 0)
		return rc;
	if (fstat(list->call.msg->fds[entry->shadow_fd_index], &st) < 0 || !S_ISREG(st.st_mode) || st.st_size < 0)
		return rp_wire_why_set(why, -EBADMSG, "descriptor %u: not a file", entry->shadow_fd_index);
	if (entry->shadow_offset_bytes % size_bytes != 0 || entry->shadow_offset_bytes > (uint64_t)st.st_size ||
	    size_bytes > (uint64_t)st.st_size - entry->shadow_offset_bytes)
		return rp_wire_why_set(why, -EBADMSG,
				       "descriptor %u: a file of %" PRIu64 " bytes, and a value at %" PRIu64,
				       entry->shadow_fd_index, (uint64_t)st.st_size, entry->shadow_offset_bytes);
	return 0;
}

static int
check_place(const struct list *list, const struct shadow_entry *entry, uint64_t region_bytes, struct rp_wire_why *why)
{
	uint64_t size_bytes = entry->size_bytes;

	if (size_bytes > 8 || (size_bytes & (size_bytes - 1)) != 0)
		return rp_wire_why_set(why, -EBADMSG, "size: %" PRIu64, size_bytes);
	if (entry->offset_bytes >= region_bytes || size_bytes > region_bytes - entry->offset_bytes)
		return rp_wire_why_set(why, -EBADMSG, "%" PRIu64 " bytes at 0x%" PRIx64 " leave the region", size_bytes,
				       entry->offset_bytes);
	switch (entry->type) {
	case RP_VFU_IO_FD_TYPE_IOREGIONFD:
		return check_fd_index(list, entry->fd_index, why);
	case RP_VFU_IO_FD_TYPE_IOEVENTFD:
	case RP_VFU_IO_FD_TYPE_SHADOW:
		if ((entry->flags & ~FLAGS_MASK) != 0)
			return rp_wire_why_set(why, -EBADMSG, "flags: 0x%x", entry->flags);
		if (entry->type == RP_VFU_IO_FD_TYPE_SHADOW) {
			int rc = check_shadow(list, entry, why);

			if (rc < 0)
				return rc;
		}
		return check_eventfd(list, entry->fd_index, why);
	default:
		return rp_wire_why_set(why, -EBADMSG, "type: %u", entry->type);
	}
}

/* Duplicates, because places may share a descriptor. */
static int
take_place(const struct list *list, const struct shadow_entry *entry, struct rp_vfu_client_place *ret_place,
	   struct rp_wire_why *why)
{
	bool shadow = entry->type == RP_VFU_IO_FD_TYPE_SHADOW;
	struct rp_vfu_client_place place = {
		.offset_bytes = entry->offset_bytes,
		.size_bytes = entry->size_bytes,
		.type = entry->type,
		.flags = entry->flags,
		.datamatch = entry->datamatch,
		.shadow_fd = -1,
		.shadow_offset_bytes = shadow ? entry->shadow_offset_bytes : 0,
	};

	place.fd = rp_wire_fd_dup(list->call.msg->fds[entry->fd_index]);
	if (place.fd >= 0 && shadow)
		place.shadow_fd = rp_wire_fd_dup(list->call.msg->fds[entry->shadow_fd_index]);
	if (place.fd < 0 || (shadow && place.shadow_fd < 0)) {
		if (place.fd >= 0)
			rp_wire_fd_close(&place.fd);
		return rp_wire_why_set(why, -ENOMEM, "no descriptors left");
	}
	*ret_place = place;
	return 0;
}

void
rp_vfu_client_places_close(struct rp_vfu_client_place *places, unsigned int count)
{
	unsigned int i;

	for (i = 0; i < count; i++) {
		rp_wire_fd_close(&places[i].fd);
		rp_wire_fd_close(&places[i].shadow_fd);
	}
}

static int
take_list(const struct list *list, uint64_t region_bytes, struct rp_vfu_client_place *places, unsigned int room,
	  unsigned int *count, struct rp_wire_why *why)
{
	uint32_t i;

	for (i = 0; i < list->count && *count < room; i++) {
		struct shadow_entry entry;
		int rc;

		read_entry(list, i, &entry);
		rc = check_place(list, &entry, region_bytes, why);
		if (rc == 0)
			rc = take_place(list, &entry, &places[*count], why);
		if (rc < 0) {
			rp_wire_why_prefix(why, "place %u: ", i);
			return rc;
		}
		(*count)++;
	}
	return 0;
}

int
rp_vfu_client_places(struct rp_vfu_client *client, uint32_t region, struct rp_vfu_client_place *ret_places,
		     unsigned int room, unsigned int *ret_count, struct rp_wire_why *why)
{
	struct rp_vfu_client_region info;
	unsigned int count = 0;
	uint32_t first = 0, total = 1;
	int rc = rp_vfu_client_region_info(client, region, &info, why);

	while (rc == 0 && first < total && count < room) {
		struct list list;

		rc = ask(client, region, first, &list, why);
		if (rc < 0)
			break;
		total = list.total;
		first += list.count;
		rc = take_list(&list, info.size_bytes, ret_places, room, &count, why);
		rp_wire_msg_drop(list.call.msg);
		if (rc < 0)
			rp_wire_why_prefix(why, "%s: reply: region %u: ", name_of(client), region);
	}
	if (rc < 0) {
		rp_vfu_client_places_close(ret_places, count);
		return rc;
	}
	*ret_count = count;
	return 0;
}

/* A write as somebody wants to make it. */
struct wanted {
	uint64_t offset_bytes;
	uint64_t size_bytes;
	uint64_t value;
};

/* Width 0 in the list stands for a write of any width, and without datamatch an entry does for any value. */
static bool
stands_for(const struct shadow_entry *entry, const struct wanted *wanted)
{
	return entry->type == RP_VFU_IO_FD_TYPE_IOEVENTFD && entry->offset_bytes == wanted->offset_bytes &&
	       (entry->size_bytes == wanted->size_bytes || entry->size_bytes == 0) &&
	       (entry->flags == 0 ||
		(entry->flags == RP_VFU_IO_FD_DATAMATCH_MASK && entry->datamatch == wanted->value));
}

/* @return 0, -ENOENT (not in this list), -EBADMSG. */
static int
pick(const struct list *list, const struct wanted *wanted, int *ret_fd, struct rp_wire_why *why)
{
	uint32_t i;

	for (i = 0; i < list->count; i++) {
		struct shadow_entry entry;
		int rc;

		read_entry(list, i, &entry);
		if (!stands_for(&entry, wanted))
			continue;
		rc = check_eventfd(list, entry.fd_index, why);
		if (rc == 0)
			*ret_fd = rp_wire_fd_take(&list->call.msg->fds[entry.fd_index]);
		return rc;
	}
	return rp_wire_why_set(why, -ENOENT, "no eventfd for %" PRIu64 " bytes at 0x%" PRIx64, wanted->size_bytes,
			       wanted->offset_bytes);
}

int
rp_vfu_client_io_fd(struct rp_vfu_client *client, uint32_t region, uint64_t offset_bytes, uint64_t size_bytes,
		    uint64_t value, int *ret_fd, struct rp_wire_why *why)
{
	const struct wanted wanted = {offset_bytes, size_bytes, value};
	uint32_t first = 0, total = 1;
	int rc = -ENOENT;

	while (rc == -ENOENT && first < total) {
		struct list list;

		rc = ask(client, region, first, &list, why);
		if (rc < 0)
			return rc;
		total = list.total;
		first += list.count;
		rc = pick(&list, &wanted, ret_fd, why);
		rp_wire_msg_drop(list.call.msg);
	}
	if (rc < 0)
		rp_wire_why_prefix(why, "%s: reply: region %u: ", name_of(client), region);
	return rc;
}
