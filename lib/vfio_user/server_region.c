/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "vfu_server.h"

/* Whether the range lies in the memory behind the region. */
static bool
in_memory(const struct rp_vfu_region *region, uint64_t offset_bytes, uint32_t count_bytes)
{
	uint32_t i;

	if (region->fd < 0)
		return false;
	if (region->areas == NULL)
		return true;
	for (i = 0; i < region->areas_count; i++) {
		const struct rp_vfu_area *area = &region->areas[i];

		if (offset_bytes >= area->offset_bytes && offset_bytes - area->offset_bytes <= area->size_bytes &&
		    count_bytes <= area->size_bytes - (offset_bytes - area->offset_bytes))
			return true;
	}
	return false;
}

/* What can be mmapped must be reachable by messages too ("Read and Write Operations"). */
static int
memory_read(const struct rp_vfu_region *region, uint64_t offset_bytes, uint32_t count_bytes, uint8_t *ret_bytes)
{
	ssize_t got = pread(region->fd, ret_bytes, count_bytes, (off_t)(region->fd_offset_bytes + offset_bytes));

	if (got < 0)
		return -errno;
	return (size_t)got == count_bytes ? 0 : -EIO;
}

static int
memory_write(const struct rp_vfu_region *region, uint64_t offset_bytes, uint32_t count_bytes, const uint8_t *bytes)
{
	ssize_t put = pwrite(region->fd, bytes, count_bytes, (off_t)(region->fd_offset_bytes + offset_bytes));

	if (put < 0)
		return -errno;
	return (size_t)put == count_bytes ? 0 : -EIO;
}

/* @return NULL when there is none for this access; the error is in ret_error. */
static const struct rp_vfu_region *
find_region(const struct rp_vfu_server *server, const struct rp_vfu_wire_region_access *access, int *ret_error,
	    struct rp_wire_why *why)
{
	uint64_t max_bytes = server->terms.value[RP_VFU_TERM_DATA_XFER];
	const struct rp_vfu_region *region;

	if (access->count_bytes > max_bytes) {
		*ret_error =
			rp_wire_why_set(why, -EMSGSIZE, "count: %u, expected at most %" PRIu64 " (max_data_xfer_size)",
					access->count_bytes, max_bytes);
		return NULL;
	}
	if (access->region >= server->regions_count) {
		*ret_error = rp_wire_why_set(why, -EBADMSG, "region: %u, expected below %u", access->region,
					     server->regions_count);
		return NULL;
	}
	region = &server->regions[access->region];
	if (access->offset_bytes > region->size_bytes ||
	    access->count_bytes > region->size_bytes - access->offset_bytes) {
		*ret_error = rp_wire_why_set(
			why, -EBADMSG, "offset: %u bytes at 0x%" PRIx64 " leave region %u of 0x%" PRIx64 " bytes",
			access->count_bytes, access->offset_bytes, access->region, region->size_bytes);
		return NULL;
	}
	return region;
}

static int
device_failed(int error, const struct rp_vfu_wire_region_access *access, struct rp_wire_why *why)
{
	return rp_wire_why_set(why, error, "region %u, %u bytes at 0x%" PRIx64 ": %s", access->region,
			       access->count_bytes, access->offset_bytes, strerror(-error));
}

static void *
ctx_of(const struct rp_vfu_server *server, const struct rp_vfu_region *region)
{
	return region->ctx != NULL ? region->ctx : server->ctx;
}

static int
read_region(struct rp_vfu_server *server, const struct rp_vfu_region *region,
	    const struct rp_vfu_wire_region_access *access, uint8_t *ret_bytes)
{
	if (!region->readable)
		return -EACCES;
	if (region->read != NULL)
		return region->read(ctx_of(server, region), access->region, access->offset_bytes, access->count_bytes,
				    ret_bytes);
	if (!in_memory(region, access->offset_bytes, access->count_bytes))
		return -EACCES;
	return memory_read(region, access->offset_bytes, access->count_bytes, ret_bytes);
}

static int
write_region(struct rp_vfu_server *server, const struct rp_vfu_region *region,
	     const struct rp_vfu_wire_region_access *access, const uint8_t *bytes)
{
	if (!region->writable)
		return -EACCES;
	if (region->write != NULL)
		return region->write(ctx_of(server, region), access->region, access->offset_bytes, access->count_bytes,
				     bytes);
	if (!in_memory(region, access->offset_bytes, access->count_bytes))
		return -EACCES;
	return memory_write(region, access->offset_bytes, access->count_bytes, bytes);
}

/* One of several in a message: nothing was begun that an answer could come to later. */
static int
finish_one(int rc, const struct rp_vfu_wire_region_access *access, struct rp_wire_why *why)
{
	return rc < 0 ? device_failed(rc == -EINPROGRESS ? -EIO : rc, access, why) : 0;
}

/* The device has had its command; it may say that the answer comes later. @param reply NULL: it may not. */
static int
finish(struct rp_vfu_server *server, int rc, const struct rp_vfu_wire_region_access *access, struct rp_vfu_reply *reply,
       struct rp_wire_why *why)
{
	if (rc == -EINPROGRESS && reply != NULL)
		return rp_vfu_server_await_answer(reply);
	rp_vfu_later_end(&server->later);
	return finish_one(rc, access, why);
}

int
rp_vfu_server_on_region_read(struct rp_vfu_server *server, const struct rp_vfu_msg_view *command, int *fds,
			     struct rp_vfu_reply *reply, struct rp_wire_why *why)
{
	struct rp_vfu_wire_region_access access;
	const struct rp_vfu_region *region;
	uint8_t *bytes;
	int rc;

	(void)fds;
	memcpy(&access, command->payload, sizeof(access));
	region = find_region(server, &access, &rc, why);
	if (region == NULL)
		return rc;
	bytes = rp_vfu_server_scratch(server, access.count_bytes);
	if (bytes == NULL)
		return rp_wire_why_set(why, -ENOSPC, "no memory for %u bytes", access.count_bytes);
	/* What a device does not fill in must not be the bytes of an earlier reply. */
	memset(bytes, 0, access.count_bytes);
	memcpy(reply->fixed, &access, sizeof(access));
	reply->fixed_bytes = sizeof(access);
	reply->data = bytes;
	reply->data_bytes = access.count_bytes;
	rp_vfu_later_begin(&server->later, access.count_bytes);
	return finish(server, read_region(server, region, &access, bytes), &access, reply, why);
}

int
rp_vfu_server_on_region_write(struct rp_vfu_server *server, const struct rp_vfu_msg_view *command, int *fds,
			      struct rp_vfu_reply *reply, struct rp_wire_why *why)
{
	struct rp_vfu_wire_region_access access;
	const struct rp_vfu_region *region;
	int rc;

	(void)fds;
	memcpy(&access, command->payload, sizeof(access));
	region = find_region(server, &access, &rc, why);
	if (region == NULL)
		return rc;
	memcpy(reply->fixed, &access, sizeof(access));
	reply->fixed_bytes = sizeof(access);
	rp_vfu_later_begin(&server->later, 0);
	return finish(server, write_region(server, region, &access, command->payload + sizeof(access)), &access,
		      server->late_writes ? reply : NULL, why);
}

/* What can be wrong with one access of several before the device sees any. */
static int
check_one(const struct rp_vfu_server *server, const struct rp_vfu_wire_region_access *access, bool write,
	  struct rp_wire_why *why)
{
	const struct rp_vfu_region *region;
	bool allowed, registers;
	int rc;

	region = find_region(server, access, &rc, why);
	if (region == NULL)
		return rc;
	allowed = write ? region->writable : region->readable;
	registers = write ? region->write != NULL : region->read != NULL;
	if (!allowed || (!registers && !in_memory(region, access->offset_bytes, access->count_bytes)))
		return device_failed(-EACCES, access, why);
	return 0;
}

static int
check_write1(const struct rp_vfu_server *server, const struct rp_vfu_wire_region_write1 *write, struct rp_wire_why *why)
{
	const struct rp_vfu_wire_region_access access = {
		.offset_bytes = write->offset_bytes,
		.region = write->region,
		.count_bytes = write->count_bytes,
	};

	return check_one(server, &access, true, why);
}

static int
write1(struct rp_vfu_server *server, const struct rp_vfu_wire_region_write1 *write, struct rp_wire_why *why)
{
	const struct rp_vfu_wire_region_access access = {
		.offset_bytes = write->offset_bytes,
		.region = write->region,
		.count_bytes = write->count_bytes,
	};
	int rc = write_region(server, &server->regions[write->region], &access, (const uint8_t *)&write->data);

	return finish_one(rc, &access, why);
}

static struct rp_vfu_wire_region_write1
write1_at(const struct rp_vfu_msg_view *command, uint64_t index)
{
	struct rp_vfu_wire_region_write1 write;

	memcpy(&write, command->payload + sizeof(uint64_t) + index * sizeof(write), sizeof(write));
	return write;
}

/*
 * Posted, with no reply wanted: what a client had in its queue, made into one message.
 * Each write is its own, so one that is refused takes none of the others with it.
 */
static int
write_each(struct rp_vfu_server *server, const struct rp_vfu_msg_view *command, uint64_t count, struct rp_wire_why *why)
{
	struct rp_wire_why refusal;
	int first = 0;
	uint64_t i;

	for (i = 0; i < count; i++) {
		struct rp_vfu_wire_region_write1 write = write1_at(command, i);
		int rc = check_write1(server, &write, &refusal);

		if (rc == 0)
			rc = write1(server, &write, &refusal);
		if (rc < 0 && first == 0) {
			first = rc;
			*why = refusal;
			rp_wire_why_prefix(why, "write %" PRIu64 ": ", i);
		}
	}
	return first;
}

/* With a reply: everything that the server can judge first, then the writes up to the first that the device refuses. */
static int
write_counted(struct rp_vfu_server *server, const struct rp_vfu_msg_view *command, uint64_t count, uint64_t *ret_done,
	      struct rp_wire_why *why)
{
	struct rp_vfu_wire_region_write1 write;
	uint64_t i;
	int rc = 0;

	for (i = 0; i < count; i++) {
		write = write1_at(command, i);
		rc = check_write1(server, &write, why);
		if (rc < 0) {
			rp_wire_why_prefix(why, "write %" PRIu64 ": ", i);
			return rc;
		}
	}
	for (i = 0; i < count && rc == 0; i += rc == 0) {
		write = write1_at(command, i);
		rc = write1(server, &write, why);
	}
	*ret_done = i;
	return i == 0 ? rc : 0;
}

int
rp_vfu_server_on_region_write_multi(struct rp_vfu_server *server, const struct rp_vfu_msg_view *command, int *fds,
				    struct rp_vfu_reply *reply, struct rp_wire_why *why)
{
	uint64_t count, done = 0;
	int rc;

	(void)fds;
	memcpy(&count, command->payload, sizeof(count));
	if ((command->header.flags & RP_VFU_FLAG_NO_REPLY) != 0)
		return write_each(server, command, count, why);
	rc = write_counted(server, command, count, &done, why);
	memcpy(reply->fixed, &done, sizeof(done));
	reply->fixed_bytes = sizeof(done);
	return rc;
}

static struct rp_vfu_wire_region_access1
access1_at(const struct rp_vfu_msg_view *command, uint64_t index)
{
	struct rp_vfu_wire_region_access1 access;

	memcpy(&access, command->payload + sizeof(uint64_t) + index * sizeof(access), sizeof(access));
	return access;
}

static struct rp_vfu_wire_region_access
plain(const struct rp_vfu_wire_region_access1 *access)
{
	return (struct rp_vfu_wire_region_access){access->offset_bytes, access->region, access->count_bytes};
}

/* @param ret_word of the reply: zeroes but for what is read. */
static int
access1(struct rp_vfu_server *server, const struct rp_vfu_wire_region_access1 *access, uint8_t *ret_word,
	struct rp_wire_why *why)
{
	const struct rp_vfu_region *region = &server->regions[access->region];
	const struct rp_vfu_wire_region_access one = plain(access);
	int rc;

	if ((access->flags & RP_VFU_ACCESS1_WRITE_MASK) != 0)
		rc = write_region(server, region, &one, (const uint8_t *)&access->data);
	else
		rc = read_region(server, region, &one, ret_word);
	return finish_one(rc, &one, why);
}

/* In their order, and as with the counted writes: what can be judged first, then up to what the device refuses. */
int
rp_vfu_server_on_region_access_multi(struct rp_vfu_server *server, const struct rp_vfu_msg_view *command, int *fds,
				     struct rp_vfu_reply *reply, struct rp_wire_why *why)
{
	struct rp_vfu_wire_region_access1 access;
	struct rp_vfu_wire_region_access one;
	uint64_t i, count;
	uint8_t *words;
	int rc = 0;

	(void)fds;
	memcpy(&count, command->payload, sizeof(count));
	for (i = 0; i < count; i++) {
		access = access1_at(command, i);
		one = plain(&access);
		rc = check_one(server, &one, (access.flags & RP_VFU_ACCESS1_WRITE_MASK) != 0, why);
		if (rc < 0) {
			rp_wire_why_prefix(why, "access %" PRIu64 ": ", i);
			return rc;
		}
	}
	reply->data_bytes = (uint32_t)(count * sizeof(uint64_t));
	words = rp_vfu_server_scratch(server, reply->data_bytes);
	if (words == NULL)
		return rp_wire_why_set(why, -ENOSPC, "no memory for %u bytes", reply->data_bytes);
	memset(words, 0, reply->data_bytes);
	reply->data = words;
	for (i = 0; i < count && rc == 0; i += rc == 0) {
		access = access1_at(command, i);
		rc = access1(server, &access, words + i * sizeof(uint64_t), why);
	}
	memcpy(reply->fixed, &i, sizeof(i));
	reply->fixed_bytes = sizeof(i);
	return i == 0 ? rc : 0;
}
