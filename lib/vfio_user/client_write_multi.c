/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "vfu_client.h"

/* Many small writes in one message. */

#define WRITES_MAX 1024u /* of one message, as the row says */
#define WRITE_MAX_BYTES 8u

static int
check_writes(const struct rp_vfu_client_write *writes, unsigned int count, struct rp_wire_why *why)
{
	unsigned int i;

	for (i = 0; i < count; i++) {
		if (writes[i].count_bytes == 0 || writes[i].count_bytes > WRITE_MAX_BYTES ||
		    writes[i].offset_bytes > UINT64_MAX - writes[i].count_bytes)
			return rp_wire_why_set(why, -EINVAL, "write %u: %u bytes at 0x%" PRIx64 ", expected 1 to %u", i,
					       writes[i].count_bytes, writes[i].offset_bytes, WRITE_MAX_BYTES);
	}
	return 0;
}

/* @param ret_done how many of them the server says it did. */
static int
write_message(struct rp_vfu_client *client, const struct rp_vfu_client_write *writes, unsigned int count,
	      struct rp_vfu_wire_region_write1 *room, unsigned int *ret_done, struct rp_wire_why *why)
{
	uint64_t announced = count, answer;
	struct rp_vfu_call call = {
		.command = RP_VFU_REGION_WRITE_MULTI,
		.payload = &announced,
		.payload_bytes = sizeof(announced),
		.data = room,
		.data_bytes = count * (uint32_t)sizeof(*room),
	};
	unsigned int i;
	int rc;

	for (i = 0; i < count; i++) {
		room[i] = (struct rp_vfu_wire_region_write1){
			.offset_bytes = writes[i].offset_bytes,
			.region = writes[i].region,
			.count_bytes = writes[i].count_bytes,
		};
		memcpy(&room[i].data, writes[i].bytes, writes[i].count_bytes);
	}
	rc = rp_vfu_client_call(client, &call, why);
	if (rc < 0)
		return rc;
	memcpy(&answer, call.reply.payload, sizeof(answer));
	if (answer > count)
		return rp_wire_why_set(why, -EBADMSG, "REGION_WRITE_MULTI: reply: %" PRIu64 " writes of %u", answer,
				       count);
	*ret_done = (unsigned int)answer;
	if (answer < count)
		return rp_wire_why_set(why, -EIO, "REGION_WRITE_MULTI: the server did %u writes of %u", *ret_done,
				       count);
	return 0;
}

int
rp_vfu_client_region_write_multi(struct rp_vfu_client *client, const struct rp_vfu_client_write *writes,
				 unsigned int count, unsigned int *ret_done, struct rp_wire_why *why)
{
	uint64_t xfer_bytes = client->terms.value[RP_VFU_TERM_DATA_XFER];
	unsigned int most = (unsigned int)(xfer_bytes / sizeof(struct rp_vfu_wire_region_write1)), done = 0;
	struct rp_vfu_wire_region_write1 *room;
	int rc = check_writes(writes, count, why);

	if (rc < 0)
		return rc;
	if ((client->terms.named_mask & (1u << RP_VFU_TERM_WRITE_MULTI)) == 0)
		return rp_wire_why_set(why, -ENOTSUP, "REGION_WRITE_MULTI: its capability was not agreed on");
	most = most < WRITES_MAX ? most : WRITES_MAX;
	room = calloc(most, sizeof(*room));
	if (room == NULL)
		return rp_wire_why_set(why, -ENOMEM, "REGION_WRITE_MULTI: no memory");
	while (rc == 0 && done < count) {
		unsigned int some = count - done < most ? count - done : most, some_done = 0;

		rc = write_message(client, writes + done, some, room, &some_done, why);
		done += some_done;
	}
	free(room);
	if (ret_done != NULL)
		*ret_done = done;
	return rc;
}
