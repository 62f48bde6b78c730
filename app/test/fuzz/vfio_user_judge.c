/* SPDX-License-Identifier: BSD-3-Clause */
#include <string.h>

#include "vfio_user.h"

/* The rules of answers, said once more: what the client must not have taken for success. */

struct said {
	const uint8_t *payload;
	uint32_t payload_bytes;
	const uint8_t *asked;
	uint32_t asked_bytes; /* of the command's payload, of which the beginning is there */
};

static uint32_t
number32(const uint8_t *bytes, size_t at_bytes)
{
	uint32_t value;

	memcpy(&value, bytes + at_bytes, sizeof(value));
	return value;
}

static uint64_t
number64(const uint8_t *bytes, size_t at_bytes)
{
	uint64_t value;

	memcpy(&value, bytes + at_bytes, sizeof(value));
	return value;
}

static bool
differs(const struct said *said, size_t at_bytes, size_t size_bytes)
{
	return memcmp(said->payload + at_bytes, said->asked + at_bytes, size_bytes) != 0;
}

static bool
access_lies(const struct said *said, bool data)
{
	uint64_t data_bytes = data ? number32(said->asked, 12) : 0;

	return differs(said, 0, 16) || said->payload_bytes != 16 + data_bytes;
}

static bool
unmap_lies(const struct said *said)
{
	uint64_t bits_bytes;

	if (differs(said, 8, 16))
		return true;
	if ((number32(said->asked, 4) & RP_VFU_DMA_UNMAP_DIRTY_MASK) == 0)
		return said->payload_bytes != 24;
	bits_bytes = number64(said->asked, 32);
	return said->payload_bytes != 40 + bits_bytes || differs(said, 24, 16);
}

/* A list that does not fit its message, or, of pages, its total. */
static bool
io_fds_lie(const struct said *said, bool page)
{
	uint32_t head_bytes = page ? sizeof(struct rp_vfu_wire_io_fds_page) : sizeof(struct rp_vfu_wire_io_fds_request);
	uint32_t count = number32(said->payload, 12), first = number32(said->asked, 12), total, list_bytes;

	if (number32(said->payload, 0) != said->payload_bytes || differs(said, 8, 4))
		return true;
	list_bytes = said->payload_bytes - head_bytes;
	if (count > 0 && (list_bytes % count != 0 || list_bytes / count < sizeof(struct rp_vfu_wire_io_fd)))
		return true;
	if (!page)
		return false;
	total = number32(said->payload, 16);
	return total > RP_VFU_IO_FDS_MAX || (first < total ? count == 0 || count > total - first : count != 0);
}

static bool
feature_lies(const struct said *said)
{
	uint32_t flags = number32(said->asked, 4), room_bytes = number32(said->asked, 0);
	uint32_t index = flags & RP_VFU_FEATURE_INDEX_MASK;
	uint64_t page_bytes;

	if (differs(said, 4, 4) || number32(said->payload, 0) != said->payload_bytes)
		return true;
	if ((flags & RP_VFU_FEATURE_PROBE_MASK) != 0)
		return false;
	if ((flags & RP_VFU_FEATURE_GET_MASK) != 0) {
		/* Of one size: both are asked for with room for 8 bytes, and a report with its own. */
		if (index == RP_VFU_FEATURE_MIGRATION || index == RP_VFU_FEATURE_MIG_DEVICE_STATE)
			return said->payload_bytes != 16;
		if (index == RP_VFU_FEATURE_DMA_LOGGING_REPORT)
			return said->payload_bytes != room_bytes || differs(said, 8, 24);
		return said->payload_bytes > room_bytes;
	}
	if (said->payload_bytes != said->asked_bytes)
		return true;
	if (index == RP_VFU_FEATURE_MIG_DEVICE_STATE)
		return differs(said, 8, 4);
	if (index != RP_VFU_FEATURE_DMA_LOGGING_START)
		return false;
	page_bytes = number64(said->payload, 8);
	return page_bytes == 0 || (page_bytes & (page_bytes - 1)) != 0;
}

static bool
mig_data_lies(const struct said *said)
{
	uint32_t size_bytes = number32(said->payload, 4);

	return size_bytes > number32(said->asked, 4) || said->payload_bytes - 8 < size_bytes;
}

static bool
payload_lies(const struct said *said, uint16_t command)
{
	switch (command) {
	case RP_VFU_DMA_UNMAP:
		return unmap_lies(said);
	case RP_VFU_DEVICE_GET_REGION_INFO:
		/* One that says that there is more is not looked at, and asked for again. */
		return number32(said->payload, 0) <= said->payload_bytes && differs(said, 8, 4);
	case RP_VFU_DEVICE_GET_REGION_IO_FDS:
	case RP_VFU_DEVICE_GET_REGION_IO_FDS_PAGE:
		return io_fds_lie(said, command == RP_VFU_DEVICE_GET_REGION_IO_FDS_PAGE);
	case RP_VFU_DEVICE_GET_IRQ_INFO:
		return differs(said, 8, 4) || number32(said->payload, 12) > RP_VFU_IRQ_VECTORS_MAX;
	case RP_VFU_REGION_READ:
	case RP_VFU_REGION_WRITE:
		return access_lies(said, command == RP_VFU_REGION_READ);
	case RP_VFU_REGION_WRITE_MULTI:
		return differs(said, 0, 8);
	case RP_VFU_DEVICE_FEATURE:
		return feature_lies(said);
	case RP_VFU_MIG_DATA_READ:
		return mig_data_lies(said);
	case RP_VFU_INVALIDATE:
		return differs(said, 0, 8);
	default:
		return false;
	}
}

bool
fuzz_vfu_is_framed(const struct fuzz_vfu_message *message)
{
	return message->size_bytes >= FUZZ_VFU_HEADER_BYTES &&
	       number32(message->bytes, offsetof(struct rp_vfu_header, size_bytes)) == message->size_bytes;
}

bool
fuzz_vfu_reply_lies(const struct fuzz_vfu_message *message, const struct fuzz_vfu_asked *asked)
{
	const struct rp_vfu_msg *row = rp_vfu_msg_find(asked->header.command);
	const struct said said = {
		.payload = message->bytes + FUZZ_VFU_HEADER_BYTES,
		.payload_bytes = message->size_bytes - FUZZ_VFU_HEADER_BYTES,
		.asked = asked->payload,
		.asked_bytes = asked->header.size_bytes - FUZZ_VFU_HEADER_BYTES,
	};
	struct rp_vfu_header header;

	if (row == NULL || !fuzz_vfu_is_framed(message))
		return false;
	memcpy(&header, message->bytes, sizeof(header));
	if (header.id != asked->header.id)
		return true;
	if (header.flags != RP_VFU_TYPE_REPLY)
		return false;
	return header.command != asked->header.command || said.payload_bytes < row->reply_min_bytes ||
	       said.payload_bytes > row->reply_max_bytes || message->fds_count > row->reply_fds_max ||
	       payload_lies(&said, row->command);
}
