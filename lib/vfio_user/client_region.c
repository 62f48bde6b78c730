/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "vfu_client.h"

/*
 * Region access. What fits one message is one command; what does not goes in pieces
 * that are all under way at once.
 */

static int
check_echo(const struct rp_vfu_call *call, const struct rp_vfu_wire_region_access *asked, struct rp_wire_why *why)
{
	uint32_t data_bytes = call->command == RP_VFU_REGION_READ ? asked->count_bytes : 0;
	struct rp_vfu_wire_region_access answer;

	memcpy(&answer, call->reply.payload, sizeof(answer));
	if (memcmp(&answer, asked, sizeof(answer)) != 0)
		return rp_wire_why_set(why, -EBADMSG,
				       "%s: reply: %u bytes at 0x%" PRIx64 " of region %u, asked for %u at 0x%" PRIx64
				       " of %u",
				       rp_vfu_msg_name(call->command), answer.count_bytes, answer.offset_bytes,
				       answer.region, asked->count_bytes, asked->offset_bytes, asked->region);
	if (call->reply.payload_bytes != sizeof(answer) + data_bytes)
		return rp_wire_why_set(why, -EBADMSG, "%s: reply: %zu bytes of data, expected %u",
				       rp_vfu_msg_name(call->command), call->reply.payload_bytes - sizeof(answer),
				       data_bytes);
	return 0;
}

int
rp_vfu_client_take_answer(const struct rp_vfu_call *call, const struct rp_vfu_wire_region_access *asked,
			  void *ret_bytes, struct rp_wire_why *why)
{
	int rc = check_echo(call, asked, why);

	if (rc == 0 && ret_bytes != NULL)
		memcpy(ret_bytes, call->reply.payload + sizeof(*asked), asked->count_bytes);
	return rc;
}

static int
check_range(uint64_t offset_bytes, uint32_t count_bytes, struct rp_wire_why *why)
{
	if (count_bytes == 0 || offset_bytes > UINT64_MAX - count_bytes)
		return rp_wire_why_set(why, -EINVAL, "%u bytes at 0x%" PRIx64 " of a region", count_bytes,
				       offset_bytes);
	return 0;
}

/* Of one message. */
static int
check_piece(const struct rp_vfu_client *client, uint64_t offset_bytes, uint32_t count_bytes, struct rp_wire_why *why)
{
	if (count_bytes > client->terms.value[RP_VFU_TERM_DATA_XFER])
		return rp_wire_why_set(why, -EINVAL, "%u bytes of a region, expected at most %" PRIu64, count_bytes,
				       client->terms.value[RP_VFU_TERM_DATA_XFER]);
	return check_range(offset_bytes, count_bytes, why);
}

/* An access under way that nobody waits for. */
struct access {
	struct rp_vfu_call call;
	struct rp_vfu_wire_region_access asked;
	void *ret_bytes; /* of a read */
	struct rp_vfu_client_done done;
};

static void
on_reply(struct rp_vfu_client *client, struct rp_vfu_call *call)
{
	struct access *access = call->owner;
	int error = call->error;

	if (error == 0)
		error = rp_vfu_client_take_answer(call, &access->asked, access->ret_bytes, &call->why);
	rp_vfu_client_tell(client, &access->done, error, &call->why);
	free(access);
}

/* @param data NULL: it is a read. */
static int
start(struct rp_vfu_client *client, const struct rp_vfu_wire_region_access *asked, const void *data, void *ret_bytes,
      const struct rp_vfu_client_done *done, struct rp_wire_why *why)
{
	struct access *access = calloc(1, sizeof(*access));
	int rc;

	if (access == NULL)
		return rp_wire_why_set(why, -ENOMEM, "no memory for an access");
	access->asked = *asked;
	access->ret_bytes = ret_bytes;
	access->done = *done;
	access->call = (struct rp_vfu_call){
		.command = data == NULL ? RP_VFU_REGION_READ : RP_VFU_REGION_WRITE,
		.payload = &access->asked,
		.payload_bytes = sizeof(access->asked),
		.data = data,
		.data_bytes = data == NULL ? 0 : asked->count_bytes,
		.arrived = on_reply,
		.owner = access,
	};
	rc = rp_vfu_client_submit(client, &access->call, why);
	if (rc < 0)
		free(access);
	return rc;
}

int
rp_vfu_client_region_read_start(struct rp_vfu_client *client, uint32_t region, uint64_t offset_bytes,
				uint32_t count_bytes, void *ret_bytes, const struct rp_vfu_client_done *done,
				struct rp_wire_why *why)
{
	const struct rp_vfu_wire_region_access asked = {offset_bytes, region, count_bytes};
	int rc = check_piece(client, offset_bytes, count_bytes, why);

	if (rc == 0)
		rc = start(client, &asked, NULL, ret_bytes, done, why);
	rp_vfu_client_watch(client);
	return rc;
}

int
rp_vfu_client_region_write_start(struct rp_vfu_client *client, uint32_t region, uint64_t offset_bytes,
				 uint32_t count_bytes, const void *bytes, const struct rp_vfu_client_done *done,
				 struct rp_wire_why *why)
{
	const struct rp_vfu_wire_region_access asked = {offset_bytes, region, count_bytes};
	int rc = check_piece(client, offset_bytes, count_bytes, why);

	if (rc == 0)
		rc = start(client, &asked, bytes, NULL, done, why);
	rp_vfu_client_watch(client);
	return rc;
}

int
rp_vfu_client_region_write_post(struct rp_vfu_client *client, uint32_t region, uint64_t offset_bytes,
				uint32_t count_bytes, const void *bytes, struct rp_wire_why *why)
{
	const struct rp_vfu_wire_region_access asked = {offset_bytes, region, count_bytes};
	struct rp_vfu_call call = {
		.command = RP_VFU_REGION_WRITE,
		.posted = true,
		.payload = &asked,
		.payload_bytes = sizeof(asked),
		.data = bytes,
		.data_bytes = count_bytes,
	};
	int rc = check_piece(client, offset_bytes, count_bytes, why);

	if (rc == 0)
		rc = rp_vfu_client_submit_wait(client, &call, why);
	rp_vfu_client_watch(client);
	return rc;
}

static int
access_once(struct rp_vfu_client *client, const struct rp_vfu_wire_region_access *asked, const void *data,
	    void *ret_bytes, struct rp_wire_why *why)
{
	struct rp_vfu_call call = {
		.command = data == NULL ? RP_VFU_REGION_READ : RP_VFU_REGION_WRITE,
		.payload = asked,
		.payload_bytes = sizeof(*asked),
		.data = data,
		.data_bytes = data == NULL ? 0 : asked->count_bytes,
		.expected_bytes = (uint32_t)sizeof(*asked) + (data == NULL ? asked->count_bytes : 0),
	};
	int rc = rp_vfu_client_call(client, &call, why);

	return rc < 0 ? rc : rp_vfu_client_take_answer(&call, asked, ret_bytes, why);
}

/* More than a message carries: pieces, as many under way as there may be. */
static int
access_in_pieces(struct rp_vfu_client *client, const struct rp_vfu_wire_region_access *asked, const uint8_t *data,
		 uint8_t *ret_bytes, struct rp_wire_why *why)
{
	uint32_t max_bytes = (uint32_t)client->terms.value[RP_VFU_TERM_DATA_XFER], at_bytes = 0;
	struct rp_vfu_batch batch = {.outstanding = 0};
	const struct rp_vfu_client_done done = rp_vfu_batch_done(&batch);
	int rc = rp_vfu_client_may_wait(client, RP_VFU_REGION_READ, why);
	uint64_t deadline_ms = 0;

	while (rc == 0 && at_bytes < asked->count_bytes && batch.error == 0) {
		uint32_t left_bytes = asked->count_bytes - at_bytes;
		const struct rp_vfu_wire_region_access piece = {
			.offset_bytes = asked->offset_bytes + at_bytes,
			.region = asked->region,
			.count_bytes = left_bytes < max_bytes ? left_bytes : max_bytes,
		};

		rc = start(client, &piece, data == NULL ? NULL : data + at_bytes,
			   data == NULL ? ret_bytes + at_bytes : NULL, &done, why);
		if (rc == 0) {
			batch.outstanding++;
			at_bytes += piece.count_bytes;
			deadline_ms = 0;
		} else if (rc == -EAGAIN) {
			rc = rp_vfu_client_make_room(client, &deadline_ms, why);
		}
	}
	return rp_vfu_batch_wait(client, &batch, rc, why);
}

static int
access_all(struct rp_vfu_client *client, const struct rp_vfu_wire_region_access *asked, const void *data,
	   void *ret_bytes, struct rp_wire_why *why)
{
	int rc = check_range(asked->offset_bytes, asked->count_bytes, why);

	if (rc < 0)
		return rc;
	if (asked->count_bytes <= client->terms.value[RP_VFU_TERM_DATA_XFER])
		return access_once(client, asked, data, ret_bytes, why);
	return access_in_pieces(client, asked, data, ret_bytes, why);
}

int
rp_vfu_client_region_read(struct rp_vfu_client *client, uint32_t region, uint64_t offset_bytes, uint32_t count_bytes,
			  void *ret_bytes, struct rp_wire_why *why)
{
	const struct rp_vfu_wire_region_access asked = {offset_bytes, region, count_bytes};

	return access_all(client, &asked, NULL, ret_bytes, why);
}

int
rp_vfu_client_region_write(struct rp_vfu_client *client, uint32_t region, uint64_t offset_bytes, uint32_t count_bytes,
			   const void *bytes, struct rp_wire_why *why)
{
	const struct rp_vfu_wire_region_access asked = {offset_bytes, region, count_bytes};

	return access_all(client, &asked, bytes, NULL, why);
}
