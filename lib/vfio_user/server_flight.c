/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <string.h>

#include "vfu_flight.h"

#define ERRNO_MAX 4095
/* The specification's table gives a write's reply a count of 4 bytes; what peers send has 8. */
#define WRITE_REPLY_SHORT_BYTES 12u

uint16_t
rp_vfu_flight_command(const struct rp_vfu_flight *flight)
{
	if (flight->window_slot >= 0)
		return flight->write ? RP_VFU_WINDOW_WRITE : RP_VFU_WINDOW_READ;
	return flight->write ? RP_VFU_DMA_WRITE : RP_VFU_DMA_READ;
}

static int
lies(const struct rp_vfu_msg_view *reply, struct rp_wire_why *why, const char *what)
{
	return rp_wire_why_set(why, -EBADMSG, "%s: reply: %s", rp_vfu_msg_name(reply->header.command), what);
}

int
rp_vfu_flight_judge(const struct rp_vfu_flight *flight, const struct rp_vfu_msg_view *reply, int *ret_error,
		    struct rp_wire_why *why)
{
	struct rp_vfu_wire_dma_access access = {.iova = 0};
	bool carries = !flight->write && flight->window_slot < 0;
	bool may_be_short = flight->write && flight->window_slot < 0;
	uint32_t data_bytes;

	*ret_error = 0;
	if (reply->fds_count > 0)
		return lies(reply, why, "has descriptors");
	if ((reply->header.flags & RP_VFU_FLAG_ERROR) != 0) {
		if (reply->payload_bytes != 0)
			return lies(reply, why, "an error with a payload");
		*ret_error =
			reply->header.error == 0 || reply->header.error > ERRNO_MAX ? -EIO : -(int)reply->header.error;
		return 0;
	}
	if (reply->payload_bytes < (may_be_short ? WRITE_REPLY_SHORT_BYTES : sizeof(access)))
		return lies(reply, why, "is too short");
	data_bytes = reply->payload_bytes < sizeof(access) ? 0 : reply->payload_bytes - (uint32_t)sizeof(access);
	memcpy(&access, reply->payload, reply->payload_bytes < sizeof(access) ? sizeof(access.iova) : sizeof(access));
	if (reply->payload_bytes < sizeof(access)) {
		uint32_t count_bytes;

		memcpy(&count_bytes, reply->payload + sizeof(access.iova), sizeof(count_bytes));
		access.count_bytes = count_bytes;
	}
	if (access.iova != flight->iova)
		return lies(reply, why, "address: not the command's");
	if (access.count_bytes > flight->count_bytes)
		return lies(reply, why, "count: more than the command's");
	if (data_bytes != (carries ? access.count_bytes : 0))
		return lies(reply, why, "data: not as many bytes as count says");
	if (access.count_bytes < flight->count_bytes)
		*ret_error = -EIO; /* a short access serves nobody: what it left out is not said */
	return 0;
}
