/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "vfu_client.h"

static int
check_echo(const struct rp_vfu_call *call, const struct rp_vfu_wire_region_access *asked, uint32_t data_bytes,
	   struct rp_wire_why *why)
{
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

static int
read_once(struct rp_vfu_client *client, const struct rp_vfu_wire_region_access *access, void *ret_bytes,
	  struct rp_wire_why *why)
{
	struct rp_vfu_call call = {
		.command = RP_VFU_REGION_READ,
		.payload = access,
		.payload_bytes = sizeof(*access),
	};
	int rc = rp_vfu_client_call(client, &call, why);

	if (rc == 0)
		rc = check_echo(&call, access, access->count_bytes, why);
	if (rc == 0)
		memcpy(ret_bytes, call.reply.payload + sizeof(*access), access->count_bytes);
	return rc;
}

static int
write_once(struct rp_vfu_client *client, const struct rp_vfu_wire_region_access *access, const void *bytes,
	   struct rp_wire_why *why)
{
	struct rp_vfu_call call = {
		.command = RP_VFU_REGION_WRITE,
		.payload = access,
		.payload_bytes = sizeof(*access),
		.data = bytes,
		.data_bytes = access->count_bytes,
	};
	int rc = rp_vfu_client_call(client, &call, why);

	return rc < 0 ? rc : check_echo(&call, access, 0, why);
}

static int
check_range(uint64_t offset_bytes, uint32_t count_bytes, struct rp_wire_why *why)
{
	if (count_bytes == 0 || offset_bytes > UINT64_MAX - count_bytes)
		return rp_wire_why_set(why, -EINVAL, "%u bytes at 0x%" PRIx64 " of a region", count_bytes,
				       offset_bytes);
	return 0;
}

/* The next piece of a transfer that one message may be too small for. */
static struct rp_vfu_wire_region_access
piece(const struct rp_vfu_client *client, uint32_t region, uint64_t offset_bytes, uint32_t left_bytes)
{
	uint64_t max_bytes = client->terms.value[RP_VFU_TERM_DATA_XFER];

	return (struct rp_vfu_wire_region_access){
		.offset_bytes = offset_bytes,
		.region = region,
		.count_bytes = left_bytes < max_bytes ? left_bytes : (uint32_t)max_bytes,
	};
}

int
rp_vfu_client_region_read(struct rp_vfu_client *client, uint32_t region, uint64_t offset_bytes, uint32_t count_bytes,
			  void *ret_bytes, struct rp_wire_why *why)
{
	uint32_t done_bytes = 0;
	int rc = check_range(offset_bytes, count_bytes, why);

	while (rc == 0 && done_bytes < count_bytes) {
		const struct rp_vfu_wire_region_access access =
			piece(client, region, offset_bytes + done_bytes, count_bytes - done_bytes);

		rc = read_once(client, &access, (uint8_t *)ret_bytes + done_bytes, why);
		done_bytes += access.count_bytes;
	}
	return rc;
}

int
rp_vfu_client_region_write(struct rp_vfu_client *client, uint32_t region, uint64_t offset_bytes, uint32_t count_bytes,
			   const void *bytes, struct rp_wire_why *why)
{
	uint32_t done_bytes = 0;
	int rc = check_range(offset_bytes, count_bytes, why);

	while (rc == 0 && done_bytes < count_bytes) {
		const struct rp_vfu_wire_region_access access =
			piece(client, region, offset_bytes + done_bytes, count_bytes - done_bytes);

		rc = write_once(client, &access, (const uint8_t *)bytes + done_bytes, why);
		done_bytes += access.count_bytes;
	}
	return rc;
}
