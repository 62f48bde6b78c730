/* SPDX-License-Identifier: BSD-3-Clause */
#include <string.h>
#include <unistd.h>

#include "vhost_user.h"

uint8_t *
fuzz_message_begin(struct fuzz_message *message, uint32_t request, uint32_t flags, uint32_t size_bytes)
{
	const uint32_t header[3] = {request, flags, size_bytes};

	message->fds_count = 0;
	message->size_bytes = FUZZ_HEADER_BYTES + size_bytes;
	memcpy(message->bytes, header, sizeof(header));
	memset(message->bytes + sizeof(header), 0, size_bytes);
	return message->bytes + sizeof(header);
}

static void
put_u64(uint8_t *payload, uint64_t value)
{
	memcpy(payload, &value, sizeof(value));
}

static void
add_fd(struct fuzz_message *message, enum fuzz_fd kind)
{
	message->fds[message->fds_count++] = fuzz_fd(kind);
}

/* Regions side by side, or where the input says. */
static struct rp_vhu_wire_region
region(struct fuzz_input *input, unsigned int index)
{
	struct rp_vhu_wire_region region = {
		.gpa = FUZZ_GPA + (uint64_t)index * FUZZ_MEMORY_BYTES,
		.size_bytes = FUZZ_MEMORY_BYTES,
		.uva = FUZZ_UVA + (uint64_t)index * FUZZ_MEMORY_BYTES,
	};

	switch (fuzz_below(input, 8)) {
	case 0:
		region.gpa = fuzz_number(input);
		break;
	case 1:
		region.uva = fuzz_number(input);
		break;
	case 2:
		region.size_bytes = fuzz_number(input);
		break;
	case 3:
		region.offset_bytes = fuzz_number(input);
		break;
	default:
		break;
	}
	return region;
}

static void
table(struct fuzz_message *message, struct fuzz_input *input, uint32_t flags)
{
	struct rp_vhu_wire_mem_table regions = {.count = 1 + fuzz_below(input, RP_VHU_REGIONS_MAX)};
	uint32_t size_bytes = (uint32_t)(8 + regions.count * sizeof(regions.regions[0]));
	unsigned int i;

	for (i = 0; i < regions.count; i++)
		regions.regions[i] = region(input, i);
	memcpy(fuzz_message_begin(message, RP_VHU_SET_MEM_TABLE, flags, size_bytes), &regions, size_bytes);
	for (i = 0; i < regions.count; i++)
		add_fd(message, i % 2 == 0 ? FUZZ_FD_SEALED : FUZZ_FD_SEALED_TWIN);
}

static uint32_t
ring_number(struct fuzz_input *input, uint32_t request)
{
	switch (request) {
	case RP_VHU_SET_VRING_NUM:
		return 1u << fuzz_below(input, 17);
	case RP_VHU_SET_VRING_ENABLE:
		return fuzz_below(input, 3);
	case RP_VHU_SET_VRING_BASE:
		return (uint32_t)fuzz_number(input);
	default:
		return 0;
	}
}

static void
ring_addresses(uint8_t *payload, struct fuzz_input *input, uint32_t queue)
{
	struct rp_vhu_wire_vring_addr addr = {
		.index = queue,
		.desc_uva = FUZZ_UVA + queue * 0x10000ull,
		.used_uva = FUZZ_UVA + queue * 0x10000ull + 0x4000,
		.avail_uva = FUZZ_UVA + queue * 0x10000ull + 0x8000,
	};

	switch (fuzz_below(input, 8)) {
	case 0:
		addr.desc_uva = fuzz_number(input);
		break;
	case 1:
		addr.used_uva = fuzz_number(input);
		break;
	case 2:
		addr.flags = RP_VHU_VRING_ADDR_LOG_MASK;
		addr.log_gpa = fuzz_number(input);
		break;
	default:
		break;
	}
	memcpy(payload, &addr, sizeof(addr));
}

static void
config(struct fuzz_message *message, struct fuzz_input *input, uint32_t request, uint32_t flags)
{
	const struct rp_vhu_wire_config config = {
		.offset_bytes = fuzz_below(input, 64),
		.size_bytes = 1 + fuzz_below(input, 32),
		.flags = fuzz_below(input, 3),
	};
	uint8_t *payload = fuzz_message_begin(message, request, flags, (uint32_t)sizeof(config) + config.size_bytes);

	memcpy(payload, &config, sizeof(config));
}

static void
iotlb(uint8_t *payload, struct fuzz_input *input)
{
	const struct rp_vhu_wire_iotlb iotlb = {
		.iova = fuzz_number(input),
		.size_bytes = fuzz_number(input),
		.uva = fuzz_number(input),
		.perm = (uint8_t)fuzz_below(input, 5),
		.type = (uint8_t)fuzz_below(input, 6),
	};

	memcpy(payload, &iotlb, sizeof(iotlb));
}

/* Fields that fit: what a frontend would say that has FUZZ_QUEUES rings in memory as above. */
static void
sensible_request(struct fuzz_message *message, struct fuzz_input *input, const struct rp_vhu_msg_row *row,
		 uint32_t flags, uint64_t features, uint64_t protocol_features)
{
	const uint32_t queue = fuzz_below(input, FUZZ_QUEUES + 1);
	uint8_t *payload = fuzz_message_begin(message, row->id, flags, row->payload_min_bytes);
	struct rp_vhu_wire_mem_slot slot = {0};
	struct rp_vhu_wire_vring_state state;
	struct rp_vhu_wire_inflight inflight = {0};

	switch (row->id) {
	case RP_VHU_SET_FEATURES:
		put_u64(payload, features & ~(fuzz_u8(input) < 128 ? 0 : fuzz_number(input)));
		break;
	case RP_VHU_SET_PROTOCOL_FEATURES:
		put_u64(payload, protocol_features & ~(fuzz_u8(input) < 128 ? 0 : fuzz_number(input)));
		break;
	case RP_VHU_SET_MEM_TABLE:
		table(message, input, flags);
		return;
	case RP_VHU_ADD_MEM_REG:
	case RP_VHU_REM_MEM_REG:
		slot.region = region(input, queue);
		memcpy(payload, &slot, sizeof(slot));
		break;
	case RP_VHU_SET_VRING_NUM:
	case RP_VHU_SET_VRING_BASE:
	case RP_VHU_GET_VRING_BASE:
	case RP_VHU_SET_VRING_ENABLE:
		state = (struct rp_vhu_wire_vring_state){.index = queue, .num = ring_number(input, row->id)};
		memcpy(payload, &state, sizeof(state));
		break;
	case RP_VHU_SET_VRING_ADDR:
		ring_addresses(payload, input, queue);
		break;
	case RP_VHU_SET_VRING_KICK:
	case RP_VHU_SET_VRING_CALL:
	case RP_VHU_SET_VRING_ERR:
		if (fuzz_u8(input) < 192) {
			put_u64(payload, queue);
			add_fd(message, FUZZ_FD_EVENT);
		} else {
			put_u64(payload, queue | RP_VHU_VRING_NOFD_MASK);
		}
		return;
	case RP_VHU_GET_CONFIG:
	case RP_VHU_SET_CONFIG:
		config(message, input, row->id, flags);
		break;
	case RP_VHU_IOTLB_MSG:
		iotlb(payload, input);
		break;
	case RP_VHU_GET_INFLIGHT_FD:
	case RP_VHU_SET_INFLIGHT_FD:
		inflight.mmap_bytes = row->id == RP_VHU_SET_INFLIGHT_FD ? fuzz_number(input) : 0;
		inflight.queues_count = (uint16_t)fuzz_below(input, FUZZ_QUEUES + 2);
		inflight.queue_num = (uint16_t)(1u << fuzz_below(input, 16));
		memcpy(payload, &inflight, sizeof(inflight));
		break;
	default:
		if (row->payload_min_bytes >= 8)
			put_u64(payload, fuzz_number(input));
		if (row->payload_min_bytes >= 16)
			put_u64(payload + 8, fuzz_number(input));
		break;
	}
	while (message->fds_count < row->fds_min)
		add_fd(message, FUZZ_FD_SEALED);
}

/* Any number of descriptors of any kind in place of those that belong to it. */
static void
other_descriptors(struct fuzz_message *message, struct fuzz_input *input)
{
	unsigned int count = fuzz_below(input, FUZZ_FDS_MAX + 1);

	if (count > 8 && count < 24)
		count %= 3;
	message->fds_count = 0;
	while (message->fds_count < count)
		add_fd(message, (enum fuzz_fd)fuzz_below(input, FUZZ_FDS_COUNT));
}

/* What is wrong with a message that was right. */
static void
deviate(struct fuzz_message *message, struct fuzz_input *input)
{
	uint32_t size_bytes;

	switch (fuzz_below(input, 16)) {
	case 0:
		other_descriptors(message, input);
		break;
	case 1: /* a payload of another size, and the header says so */
		size_bytes = fuzz_u16(input) % (FUZZ_PAYLOAD_MAX + 1);
		memcpy(message->bytes + 8, &size_bytes, sizeof(size_bytes));
		message->size_bytes = FUZZ_HEADER_BYTES + size_bytes;
		break;
	case 2: /* and the header does not say so */
		size_bytes = (uint32_t)fuzz_number(input);
		memcpy(message->bytes + 8, &size_bytes, sizeof(size_bytes));
		break;
	case 3:
		message->bytes[4] = fuzz_u8(input);
		break;
	case 4:
		fuzz_bytes(input, message->bytes + FUZZ_HEADER_BYTES, message->size_bytes - FUZZ_HEADER_BYTES);
		break;
	case 5:
		message->bytes[fuzz_below(input, message->size_bytes > 255 ? 255 : message->size_bytes)] ^=
			fuzz_u8(input);
		break;
	default:
		break;
	}
}

void
fuzz_message_request(struct fuzz_message *ret_message, struct fuzz_input *input, const struct rp_vhu_msg_row *row,
		     uint64_t features, uint64_t protocol_features)
{
	uint32_t flags = RP_VHU_VERSION | (fuzz_u8(input) < 128 ? RP_VHU_FLAG_NEED_REPLY : 0);

	memset(ret_message->bytes, 0, sizeof(ret_message->bytes));
	sensible_request(ret_message, input, row, flags, features, protocol_features);
	deviate(ret_message, input);
}

void
fuzz_message_channel(struct fuzz_message *ret_message, struct fuzz_input *input, const struct rp_vhu_msg_row *row)
{
	const uint64_t page_bytes = (uint64_t)sysconf(_SC_PAGESIZE);
	uint32_t flags = RP_VHU_VERSION | (fuzz_u8(input) < 192 ? RP_VHU_FLAG_NEED_REPLY : 0);
	uint64_t queue = fuzz_below(input, FUZZ_QUEUES + 1);
	uint8_t *payload;

	memset(ret_message->bytes, 0, sizeof(ret_message->bytes));
	payload = fuzz_message_begin(ret_message, row->id, flags, row->payload_min_bytes);
	if (row->payload_min_bytes == 32) {
		iotlb(payload, input);
	} else if (row->fds_max == 1 && row->fds_min == 0) { /* a notify area or a VFIO file, or neither any more */
		bool none = fuzz_u8(input) >= 192;

		put_u64(payload, none ? queue | RP_VHU_VRING_NOFD_MASK : queue);
		if (row->payload_min_bytes == 24 && !none) {
			put_u64(payload + 8, page_bytes);
			put_u64(payload + 16, fuzz_below(input, 4) * page_bytes);
			add_fd(ret_message, FUZZ_FD_SEALED);
		} else if (!none) {
			add_fd(ret_message, fuzz_u8(input) < 128 ? FUZZ_FD_NULL : FUZZ_FD_ZERO);
			if (row->payload_min_bytes == 16)
				put_u64(payload + 8, fuzz_below(input, 3));
		}
	} else if (row->payload_min_bytes >= 8) {
		put_u64(payload, fuzz_number(input));
	}
	while (ret_message->fds_count < row->fds_min)
		add_fd(ret_message, FUZZ_FD_SEALED);
	deviate(ret_message, input);
}

void
fuzz_message_raw(struct fuzz_message *ret_message, struct fuzz_input *input)
{
	ret_message->fds_count = 0;
	ret_message->size_bytes = 1 + fuzz_below(input, 64);
	fuzz_bytes(input, ret_message->bytes, ret_message->size_bytes);
	if (fuzz_u8(input) >= 128)
		other_descriptors(ret_message, input);
}

void
fuzz_message_send(const struct fuzz_message *message, struct fuzz_input *input, int peer)
{
	unsigned int cut = fuzz_u8(input);
	size_t size_bytes = message->size_bytes;

	if (cut >= 252)
		size_bytes = cut % 2 == 0 ? 1 : (size_bytes + 1) / 2;
	fuzz_send(peer, message->bytes, size_bytes, message->fds, message->fds_count);
}
