/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <string.h>

#include "rp_vhu_msg.h"

#define PAYLOAD_MAX_BYTES 4096
#define OUTPUT_MAX_BYTES 65536

static int
check_fields(const struct rp_vhu_msg_row *row, const void *payload, uint32_t size_bytes, unsigned int fds_count,
	     struct rp_wire_why *why)
{
	if (size_bytes < row->payload_min_bytes || size_bytes > row->payload_max_bytes)
		return rp_wire_why_set(why, -EMSGSIZE, "payload: %u bytes, expected %u to %u", size_bytes,
				       row->payload_min_bytes, row->payload_max_bytes);
	if (fds_count < row->fds_min || fds_count > row->fds_max)
		return rp_wire_why_set(why, -EBADMSG, "descriptors: %u, expected %u to %u", fds_count, row->fds_min,
				       row->fds_max);
	return row->check == NULL ? 0 : row->check(payload, size_bytes, fds_count, why);
}

int
rp_vhu_msg_check(const struct rp_vhu_msg_row *row, uint32_t request, const void *payload, uint32_t size_bytes,
		 unsigned int fds_count, uint64_t protocol_features, struct rp_wire_why *why)
{
	int rc;

	if (row == NULL)
		return rp_wire_why_set(why, -ENOTSUP, "request %u: unknown", request);
	if (!row->implemented)
		rc = rp_wire_why_set(why, -ENOTSUP, "not implemented");
	else if (row->protocol_feature_bit >= 0 && (protocol_features & 1ull << row->protocol_feature_bit) == 0)
		rc = rp_wire_why_set(why, -ENOTSUP, "protocol feature %d was not negotiated",
				     row->protocol_feature_bit);
	else
		rc = check_fields(row, payload, size_bytes, fds_count, why);
	if (rc < 0)
		rp_wire_why_prefix(why, "%s: ", row->name);
	return rc;
}

static int
payload_bytes(const void *bytes, size_t *ret_bytes, struct rp_wire_why *why)
{
	struct rp_vhu_header header;

	memcpy(&header, bytes, sizeof(header));
	if ((header.flags & RP_VHU_VERSION_MASK) != RP_VHU_VERSION)
		return rp_wire_why_set(why, -EPROTO, "header: flags: 0x%x, expected version 1 in bits 0-1",
				       header.flags);
	*ret_bytes = header.size_bytes;
	return 0;
}

const struct rp_wire_framing rp_vhu_msg_framing = {
	.header_bytes = sizeof(struct rp_vhu_header),
	.payload_max_bytes = PAYLOAD_MAX_BYTES,
	.output_max_bytes = OUTPUT_MAX_BYTES,
	.fds_max = RP_VHU_REGIONS_MAX,
	.payload_bytes = payload_bytes,
};

const struct rp_wire_framing rp_vhu_request_framing = {
	.header_bytes = sizeof(struct rp_vhu_header),
	.payload_max_bytes = PAYLOAD_MAX_BYTES,
	.output_max_bytes = OUTPUT_MAX_BYTES,
	.fds_max = RP_VHU_REGIONS_MAX,
	.fds_alone = true, /* "Ancillary data": a sendmsg(2) for each; what is glued to it would get them */
	.payload_bytes = payload_bytes,
};

int
rp_vhu_msg_send(struct rp_wire_conn *conn, uint32_t request, uint32_t flags, const void *payload, uint32_t size_bytes,
		const int *fds, unsigned int fds_count)
{
	struct rp_vhu_header header = {
		.request = request,
		.flags = RP_VHU_VERSION | flags,
		.size_bytes = size_bytes,
	};
	struct iovec iov[2] = {
		{.iov_base = &header, .iov_len = sizeof(header)},
		{.iov_base = (void *)payload, .iov_len = size_bytes},
	};

	return rp_wire_conn_send(conn, iov, size_bytes == 0 ? 1 : 2, fds, fds_count);
}
