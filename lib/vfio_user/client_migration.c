/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <string.h>

#include "vfu_client.h"

/* MIG_DATA_READ and MIG_DATA_WRITE: the device's state, a stream in each direction. */

static uint32_t
piece_of(const struct rp_vfu_client *client, size_t left_bytes)
{
	uint64_t max_bytes = client->terms.value[RP_VFU_TERM_DATA_XFER];

	return left_bytes < max_bytes ? (uint32_t)left_bytes : (uint32_t)max_bytes;
}

static int
read_piece(struct rp_vfu_client *client, uint8_t *ret_bytes, uint32_t count_bytes, uint32_t *ret_count_bytes,
	   struct rp_wire_why *why)
{
	const struct rp_vfu_wire_mig_data asked = {
		.argsz = (uint32_t)sizeof(asked) + count_bytes,
		.size_bytes = count_bytes,
	};
	struct rp_vfu_call call = {
		.command = RP_VFU_MIG_DATA_READ,
		.payload = &asked,
		.payload_bytes = sizeof(asked),
	};
	struct rp_vfu_wire_mig_data answer;
	int rc = rp_vfu_client_call(client, &call, why);

	if (rc < 0)
		return rc;
	memcpy(&answer, call.reply.payload, sizeof(answer));
	if (answer.size_bytes > count_bytes)
		return rp_wire_why_set(why, -EBADMSG, "MIG_DATA_READ: reply: %u bytes, asked for %u", answer.size_bytes,
				       count_bytes);
	/* Padding behind the data is legal enough: the reference server always sends as much as was asked for. */
	if (call.reply.payload_bytes - sizeof(answer) < answer.size_bytes)
		return rp_wire_why_set(why, -EBADMSG, "MIG_DATA_READ: reply: %zu bytes of data, expected at least %u",
				       call.reply.payload_bytes - sizeof(answer), answer.size_bytes);
	memcpy(ret_bytes, call.reply.payload + sizeof(answer), answer.size_bytes);
	*ret_count_bytes = answer.size_bytes;
	return 0;
}

int
rp_vfu_client_migration_read(struct rp_vfu_client *client, void *ret_bytes, size_t room_bytes, size_t *ret_count_bytes,
			     struct rp_wire_why *why)
{
	size_t done_bytes = 0;

	while (done_bytes < room_bytes) {
		uint32_t asked_bytes = piece_of(client, room_bytes - done_bytes), got_bytes = 0;
		int rc = read_piece(client, (uint8_t *)ret_bytes + done_bytes, asked_bytes, &got_bytes, why);

		if (rc < 0)
			return rc;
		done_bytes += got_bytes;
		if (got_bytes < asked_bytes)
			break;
	}
	*ret_count_bytes = done_bytes;
	return 0;
}

static int
write_piece(struct rp_vfu_client *client, const uint8_t *bytes, uint32_t count_bytes, struct rp_wire_why *why)
{
	const struct rp_vfu_wire_mig_data head = {
		.argsz = (uint32_t)sizeof(head) + count_bytes,
		.size_bytes = count_bytes,
	};
	struct rp_vfu_call call = {
		.command = RP_VFU_MIG_DATA_WRITE,
		.payload = &head,
		.payload_bytes = sizeof(head),
		.data = bytes,
		.data_bytes = count_bytes,
	};

	return rp_vfu_client_call(client, &call, why);
}

int
rp_vfu_client_migration_write(struct rp_vfu_client *client, const void *bytes, size_t count_bytes,
			      struct rp_wire_why *why)
{
	size_t done_bytes = 0;
	int rc = 0;

	/* One after the other: behind a piece that was refused the rest of a stream means nothing. */
	while (rc == 0 && done_bytes < count_bytes) {
		uint32_t piece_bytes = piece_of(client, count_bytes - done_bytes);

		rc = write_piece(client, (const uint8_t *)bytes + done_bytes, piece_bytes, why);
		done_bytes += piece_bytes;
	}
	return rc;
}
