/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "rp_wire_conn.h"
#include "vfu_client.h"
#include "vfu_client_iommu.h"
#include "vfu_stream.h"

/*
 * Commands of the server's. A write is carried out when it comes, because its data
 * is gone with the message; a read when its reply can go out, so that a server which
 * asks for much and reads nothing costs us what it asked for in 32 bytes each.
 * Replies leave in the order of the commands.
 */

/* Where a byte of the server's address space is, and how many follow it there. */
struct place {
	const struct rp_vfu_range *range;
	uint32_t pasid; /* RP_VFU_NO_PASID: none */
	uint8_t *hva; /* NULL: our caller knows */
	uint64_t bytes;
};

static const struct rp_vfu_range *
find(const struct rp_vfu_client *client, uint32_t pasid, uint64_t iova)
{
	const struct rp_vfu_memory *memory = rp_vfu_client_memory_of(client, pasid);
	const struct rp_vfu_range *range = memory == NULL ? NULL : rp_vfu_memory_find(memory, iova);
	const struct rp_vfu_leaving *leaving = TAILQ_FIRST(&client->leaving);

	/* What is being taken back is the server's until it says that it let go. */
	for (; range == NULL && leaving != NULL; leaving = TAILQ_NEXT(leaving, link))
		if (leaving->pasid == pasid)
			range = rp_vfu_memory_find(&leaving->memory, iova);
	return range;
}

/* Whether our caller can be asked for memory that is not in this process. */
static bool
has_callback(const struct rp_vfu_client *client, uint32_t pasid, bool reading)
{
	if (pasid != RP_VFU_NO_PASID)
		return rp_vfu_client_iommu_has_callback(client, reading);
	return reading ? client->ops.dma_read != NULL : client->ops.dma_write != NULL;
}

static int
locate(const struct rp_vfu_client *client, uint32_t pasid, uint64_t iova, uint64_t count_bytes, uint32_t access_mask,
       struct place *ret_place)
{
	const struct rp_vfu_range *range = find(client, pasid, iova);
	bool reading = access_mask == RP_VFU_DMA_MAP_READ_MASK;

	if (range == NULL)
		return -EFAULT;
	if ((range->access_mask & access_mask) == 0)
		return -EACCES;
	if (range->hva == NULL && !has_callback(client, pasid, reading))
		return -ENOTSUP;
	ret_place->range = range;
	ret_place->pasid = pasid;
	ret_place->hva = range->hva == NULL ? NULL : range->hva + (iova - range->iova);
	ret_place->bytes = range->last - iova < count_bytes ? range->last - iova + 1 : count_bytes;
	return 0;
}

/* Whether every byte may be reached, before the first one is. */
static int
check_range(const struct rp_vfu_client *client, const struct rp_vfu_access *access, uint32_t access_mask)
{
	uint64_t done_bytes = 0;

	while (done_bytes < access->wire.count_bytes) {
		struct place place;
		int rc = locate(client, access->pasid, access->wire.iova + done_bytes,
				access->wire.count_bytes - done_bytes, access_mask, &place);

		if (rc < 0)
			return rc;
		done_bytes += place.bytes;
	}
	return 0;
}

static int
copy_out(struct rp_vfu_client *client, const struct place *place, uint64_t iova, uint8_t *ret_bytes, bool shared)
{
	int rc;

	if (place->hva != NULL) {
		if (shared)
			rp_vfu_stream_out(ret_bytes, place->hva, place->bytes);
		else
			memcpy(ret_bytes, place->hva, place->bytes);
		return 0;
	}
	client->inside = true;
	if (place->pasid != RP_VFU_NO_PASID)
		rc = rp_vfu_client_iommu_read(client, place->pasid, iova, place->bytes, ret_bytes);
	else
		rc = client->ops.dma_read(client->ctx, iova, place->bytes, ret_bytes);
	client->inside = false;
	return rc;
}

static int
copy_in(struct rp_vfu_client *client, const struct place *place, uint64_t iova, const uint8_t *bytes, bool shared)
{
	int rc;

	if (place->hva != NULL) {
		if (shared)
			rp_vfu_stream_in(place->hva, bytes, place->bytes);
		else
			memcpy(place->hva, bytes, place->bytes);
		return 0;
	}
	client->inside = true;
	if (place->pasid != RP_VFU_NO_PASID)
		rc = rp_vfu_client_iommu_write(client, place->pasid, iova, place->bytes, bytes);
	else
		rc = client->ops.dma_write(client->ctx, iova, place->bytes, bytes);
	client->inside = false;
	/* The rest of the message is gone with its connection. */
	return client->conn == NULL ? -ENOTCONN : rc;
}

/* @param shared the server reads the bytes from there, and not from a message. */
static int
read_memory(struct rp_vfu_client *client, const struct rp_vfu_access *access, uint8_t *ret_bytes, bool shared)
{
	uint64_t done_bytes = 0;
	int rc = check_range(client, access, RP_VFU_DMA_MAP_READ_MASK);

	while (rc == 0 && done_bytes < access->wire.count_bytes) {
		struct place place;

		rc = locate(client, access->pasid, access->wire.iova + done_bytes,
			    access->wire.count_bytes - done_bytes, RP_VFU_DMA_MAP_READ_MASK, &place);
		if (rc == 0)
			rc = copy_out(client, &place, access->wire.iova + done_bytes, ret_bytes + done_bytes, shared);
		if (rc == 0)
			done_bytes += place.bytes;
	}
	return rc;
}

/* @param shared the server wrote the bytes there, and not into a message. */
static int
write_memory(struct rp_vfu_client *client, const struct rp_vfu_access *access, const uint8_t *bytes, bool shared)
{
	uint64_t done_bytes = 0;
	int rc = check_range(client, access, RP_VFU_DMA_MAP_WRITE_MASK);

	while (rc == 0 && done_bytes < access->wire.count_bytes) {
		struct place place;

		rc = locate(client, access->pasid, access->wire.iova + done_bytes,
			    access->wire.count_bytes - done_bytes, RP_VFU_DMA_MAP_WRITE_MASK, &place);
		if (rc == 0)
			rc = copy_in(client, &place, access->wire.iova + done_bytes, bytes + done_bytes, shared);
		if (rc == 0)
			done_bytes += place.bytes;
	}
	return rc;
}

static int
check_access(const struct rp_vfu_wire_dma_access *access, uint64_t max_bytes)
{
	if (access->count_bytes == 0 || access->count_bytes - 1 > UINT64_MAX - access->iova)
		return -EBADMSG;
	return access->count_bytes > max_bytes ? -EMSGSIZE : 0;
}

/* Below that a copy costs less than asking where to read to. */
#define PLACE_FROM_BYTES (16u * 1024u)

static uint8_t *
place_of_write(struct rp_vfu_client *client, const void *bytes, size_t payload_bytes)
{
	struct rp_vfu_wire_dma_access access;
	struct rp_vfu_header header;
	struct place place;

	memcpy(&header, bytes, sizeof(header));
	memcpy(&access, (const uint8_t *)bytes + sizeof(header), sizeof(access));
	if ((header.flags & (RP_VFU_TYPE_MASK | RP_VFU_FLAG_ERROR)) != RP_VFU_TYPE_COMMAND ||
	    header.command != RP_VFU_DMA_WRITE || client->state != RP_VFU_STATE_READY ||
	    access.count_bytes != payload_bytes - sizeof(access) ||
	    check_access(&access, client->terms.value[RP_VFU_TERM_DATA_XFER]) < 0 ||
	    locate(client, RP_VFU_NO_PASID, access.iova, access.count_bytes, RP_VFU_DMA_MAP_WRITE_MASK, &place) < 0 ||
	    place.bytes < access.count_bytes)
		return NULL;
	return place.hva;
}

static uint8_t *
begin_placing(void *ctx, const void *header, size_t payload_bytes)
{
	struct rp_vfu_client *client = ctx;
	uint8_t *at = place_of_write(client, header, payload_bytes);

	/* An unmap may be over before a message on the other socket is. */
	if (client->placed_at != NULL && at != client->placed_at)
		client->placed_in_vain = true;
	if (client->placed_in_vain)
		return NULL;
	client->placed_at = at;
	return at;
}

static void
end_placing(void *ctx)
{
	(void)ctx;
}

const struct rp_wire_placer rp_vfu_client_placer = {
	.head_bytes = sizeof(struct rp_vfu_wire_dma_access),
	.payload_min_bytes = PLACE_FROM_BYTES,
	.begin = begin_placing,
	.end = end_placing,
};

static int
finish_placed(struct rp_vfu_client *client, const struct rp_vfu_access *access)
{
	return client->placed_in_vain ? -EFAULT : check_range(client, access, RP_VFU_DMA_MAP_WRITE_MASK);
}

static int
serve_dma(struct rp_vfu_client *client, const struct rp_vfu_msg_view *command, struct rp_vfu_access *access)
{
	uint64_t data_bytes = command->header.command == RP_VFU_DMA_READ ? 0 : access->wire.count_bytes;
	uint32_t trailer_bytes;
	int rc = check_access(&access->wire, client->terms.value[RP_VFU_TERM_DATA_XFER]);

	if (rc < 0)
		return rc;
	rc = rp_vfu_msg_take_pasid(command, &client->terms, sizeof(access->wire) + data_bytes, sizeof(access->wire),
				   &access->pasid, &trailer_bytes, NULL);
	/* Data that is not as long as count says was always a broken field. */
	if (rc == -EMSGSIZE && data_bytes > 0)
		return -EBADMSG;
	/* A read waits for its reply. */
	if (rc < 0 || command->header.command == RP_VFU_DMA_READ)
		return rc;
	if (client->placed_at != NULL)
		return finish_placed(client, access);
	return write_memory(client, access, command->payload + sizeof(access->wire) + trailer_bytes, false);
}

static int
serve_window(struct rp_vfu_client *client, const struct rp_vfu_msg_view *command, struct rp_vfu_access *access)
{
	struct rp_vfu_wire_window_access where;
	uint32_t trailer_bytes;
	uint8_t *bytes;
	int rc = check_access(&access->wire, client->window.size_bytes);

	if (rc == 0)
		rc = rp_vfu_msg_take_pasid(command, &client->terms, sizeof(where), sizeof(where), &access->pasid,
					   &trailer_bytes, NULL);
	if (rc < 0)
		return rc;
	memcpy(&where, command->payload, sizeof(where));
	bytes = rp_vfu_window_at(&client->window, where.window_offset_bytes, access->wire.count_bytes);
	if (bytes == NULL)
		return -EBADMSG;
	return command->header.command == RP_VFU_WINDOW_READ ? read_memory(client, access, bytes, true) :
							       write_memory(client, access, bytes, true);
}

/* Everything that can be wrong with a command; all but a DMA_READ is carried out. */
static int
execute(struct rp_vfu_client *client, const struct rp_vfu_msg_view *command, struct rp_vfu_access *access)
{
	int rc = rp_vfu_msg_check_command(command, RP_VFU_TO_CLIENT, client->state, &client->terms, NULL, NULL);

	if (rc < 0)
		return rc;
	if (command->header.command == RP_VFU_TRANSLATE || command->header.command == RP_VFU_PAGE_REQUEST)
		return rp_vfu_client_iommu_serve(client, command);
	memcpy(&access->wire, command->payload, sizeof(access->wire));
	switch (command->header.command) {
	case RP_VFU_DMA_READ:
	case RP_VFU_DMA_WRITE:
		return serve_dma(client, command, access);
	case RP_VFU_WINDOW_READ:
	case RP_VFU_WINDOW_WRITE:
		return serve_window(client, command, access);
	default:
		return -ENOTSUP;
	}
}

int
rp_vfu_client_serve(struct rp_vfu_client *client, const struct rp_vfu_msg_view *command)
{
	struct rp_vfu_owed owed = {
		.header = {.id = command->header.id, .command = command->header.command, .flags = RP_VFU_TYPE_REPLY},
		.access = {.pasid = RP_VFU_NO_PASID},
	};
	int rc = execute(client, command, &owed.access);

	client->placed_at = NULL;
	client->placed_in_vain = false;
	if (client->conn == NULL)
		return -ENOTCONN;
	/* A translation that is answered has its own way. */
	if ((command->header.flags & RP_VFU_FLAG_NO_REPLY) != 0 ||
	    (rc == 0 && command->header.command == RP_VFU_TRANSLATE))
		return rp_vfu_client_iommu_pay(client);
	if (rc < 0) {
		owed.header.flags |= RP_VFU_FLAG_ERROR;
		owed.header.error = rp_vfu_errno_wire(rc);
	}
	client->owed[(client->owed_first + client->owed_count) % RP_VFU_OWED_MAX] = owed;
	client->owed_count++;
	return rp_vfu_client_pay(client);
}

/* The data of a DMA_READ's reply, in place when it is in one piece. */
static int
gather(struct rp_vfu_client *client, const struct rp_vfu_access *access, const uint8_t **ret_bytes)
{
	struct place place;
	int rc = locate(client, access->pasid, access->wire.iova, access->wire.count_bytes, RP_VFU_DMA_MAP_READ_MASK,
			&place);

	if (rc < 0)
		return rc;
	if (place.hva != NULL && place.bytes == access->wire.count_bytes) {
		*ret_bytes = place.hva;
		return 0;
	}
	if (client->scratch == NULL)
		client->scratch = malloc(client->terms.value[RP_VFU_TERM_DATA_XFER]);
	if (client->scratch == NULL)
		return -ENOSPC;
	*ret_bytes = client->scratch;
	return read_memory(client, access, client->scratch, false);
}

/* The server copies what this is about while we copy the next. */
static bool
is_worth_a_send(const struct rp_vfu_owed *owed)
{
	return owed->header.command == RP_VFU_WINDOW_READ || owed->header.command == RP_VFU_WINDOW_WRITE;
}

static int
send_reply(struct rp_vfu_client *client, struct rp_vfu_owed *owed)
{
	const uint8_t *data = NULL;
	struct iovec iov[3] = {
		{.iov_base = &owed->header, .iov_len = sizeof(owed->header)},
		{.iov_base = &owed->access.wire, .iov_len = sizeof(owed->access.wire)},
	};
	unsigned int parts = 2;
	int rc = 0;

	if ((owed->header.flags & RP_VFU_FLAG_ERROR) == 0 && owed->header.command == RP_VFU_DMA_READ)
		rc = gather(client, &owed->access, &data);
	/* A callback may have used the connection, and found its end. */
	if (client->conn == NULL)
		return -ENOTCONN;
	if (rc < 0) {
		owed->header.flags |= RP_VFU_FLAG_ERROR;
		owed->header.error = rp_vfu_errno_wire(rc);
	}
	if ((owed->header.flags & RP_VFU_FLAG_ERROR) != 0 || owed->header.command == RP_VFU_PAGE_REQUEST) {
		parts = 1;
	} else if (data != NULL) {
		iov[2] = (struct iovec){.iov_base = (void *)data, .iov_len = owed->access.wire.count_bytes};
		parts = 3;
	}
	owed->header.size_bytes = (uint32_t)(iov[0].iov_len + (parts > 1 ? iov[1].iov_len : 0) + iov[2].iov_len);
	rc = rp_wire_conn_send(rp_vfu_client_serving(client), iov, parts, NULL, 0);
	return rc == 0 && is_worth_a_send(owed) ? rp_wire_conn_push(rp_vfu_client_serving(client)) : rc;
}

int
rp_vfu_client_pay(struct rp_vfu_client *client)
{
	/* No more than one reply is kept beyond what the socket takes. */
	while (client->owed_count > 0 && (rp_wire_conn_poll_events(rp_vfu_client_serving(client)) & POLLOUT) == 0) {
		struct rp_vfu_owed *owed = &client->owed[client->owed_first];
		struct rp_wire_why reason;
		int rc = send_reply(client, owed);

		if (rc == -ENOTCONN && client->conn == NULL)
			return rc;
		if (rc < 0) {
			rp_wire_why_set(&reason, -ENOTCONN, "the reply to a %s could not be sent: %s",
					rp_vfu_msg_name(owed->header.command),
					rc == -ENOTCONN ? "peer left" : strerror(-rc));
			return rp_vfu_client_leave(client, -ENOTCONN, &reason);
		}
		client->owed_first = (client->owed_first + 1) % RP_VFU_OWED_MAX;
		client->owed_count--;
	}
	return rp_vfu_client_iommu_pay(client);
}
