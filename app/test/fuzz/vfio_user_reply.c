/* SPDX-License-Identifier: BSD-3-Clause */
#include <string.h>
#include <unistd.h>

#include "vfio_user.h"
#include "vfio_user_iommu.h"

/* Answers to commands, that fit what was asked but for what the input wants otherwise. */

static void
device_info(struct fuzz_vfu_message *message, struct fuzz_input *input)
{
	struct rp_vfu_wire_device_info info = {
		.argsz = sizeof(info),
		.flags = RP_VFU_DEVICE_FLAG_PCI_MASK | RP_VFU_DEVICE_FLAG_RESET_MASK,
		.regions_count = FUZZ_VFU_REGIONS,
		.irqs_count = RP_VFU_PCI_IRQS_COUNT,
	};

	if (fuzz_u8(input) >= 240) {
		info.flags = fuzz_u8(input);
		info.regions_count = (uint32_t)fuzz_number(input);
		info.irqs_count = (uint32_t)fuzz_number(input);
	}
	fuzz_vfu_put(message, &info, sizeof(info), 0);
}

/* With a sparse capability of as many areas as the input says. */
static void
region_info(struct fuzz_vfu_message *message, struct fuzz_input *input, const struct fuzz_vfu_asked *asked)
{
	const uint64_t page_bytes = (uint64_t)sysconf(_SC_PAGESIZE);
	struct {
		struct rp_vfu_wire_region_info info;
		struct rp_vfu_wire_cap cap;
		struct rp_vfu_wire_sparse sparse;
		struct rp_vfu_wire_sparse_area areas[4];
	} __attribute__((packed)) reply = {.info.flags = RP_VFU_REGION_FLAG_READ_MASK | RP_VFU_REGION_FLAG_WRITE_MASK};
	unsigned int kind = fuzz_below(input, 8), i;
	size_t size_bytes = sizeof(reply.info);

	memcpy(&reply.info.index, asked->payload + 8, sizeof(reply.info.index));
	reply.info.size_bytes = FUZZ_VFU_REGION_BYTES;
	if (kind == 0)
		reply.info.size_bytes = fuzz_number(input);
	if (kind == 1)
		reply.info.offset_bytes = fuzz_number(input);
	if (kind >= 2 || fuzz_u8(input) >= 128) {
		reply.info.flags |= RP_VFU_REGION_FLAG_MMAP_MASK;
		fuzz_vfu_add_fd(message, fuzz_u8(input) < 224 ? FUZZ_FD_SEALED : FUZZ_FD_SMALL);
	}
	if (kind >= 5) {
		reply.info.flags |= RP_VFU_REGION_FLAG_CAPS_MASK;
		reply.info.cap_offset_bytes = sizeof(reply.info);
		reply.cap.id = RP_VFU_CAP_SPARSE_MMAP;
		reply.cap.version = 1;
		reply.sparse.areas_count = fuzz_below(input, 5);
		size_bytes +=
			sizeof(reply.cap) + sizeof(reply.sparse) + reply.sparse.areas_count * sizeof(reply.areas[0]);
		for (i = 0; i < reply.sparse.areas_count; i++) {
			reply.areas[i].offset_bytes = 2 * i * page_bytes;
			reply.areas[i].size_bytes = page_bytes;
			if (fuzz_u8(input) >= 240)
				reply.areas[i].offset_bytes = fuzz_number(input);
			if (fuzz_u8(input) >= 240)
				reply.areas[i].size_bytes = fuzz_number(input);
		}
		if (fuzz_u8(input) >= 240)
			reply.sparse.areas_count = (uint32_t)fuzz_number(input);
		if (fuzz_u8(input) >= 240)
			reply.cap.next_bytes = fuzz_u8(input);
		if (fuzz_u8(input) >= 240)
			reply.cap.id = fuzz_u8(input);
	}
	reply.info.argsz = (uint32_t)size_bytes;
	fuzz_vfu_put(message, &reply, size_bytes, 0);
}

/* An entry is as long as the specification says, or as one that has fields of its own for a shadow. */
struct place {
	struct rp_vfu_wire_io_fd fd;
	uint64_t more;
} __attribute__((packed));

static struct place
io_fd(struct fuzz_input *input)
{
	struct place place = {.fd.offset_bytes = 4ull * fuzz_u8(input), .fd.size_bytes = 4};
	unsigned int kind;

	place.fd.fd_index = fuzz_below(input, 6);
	kind = fuzz_u8(input);
	place.fd.type = kind < 160 ? RP_VFU_IO_FD_TYPE_IOEVENTFD :
			kind < 192 ? RP_VFU_IO_FD_TYPE_IOREGIONFD :
			kind < 250 ? RP_VFU_IO_FD_TYPE_SHADOW :
				     kind;
	if (fuzz_u8(input) >= 224)
		place.fd.size_bytes = fuzz_number(input);
	if (fuzz_u8(input) >= 224)
		place.fd.flags = fuzz_u8(input);
	if (place.fd.type != RP_VFU_IO_FD_TYPE_SHADOW)
		return place;
	place.fd.padding = fuzz_below(input, 6);
	place.fd.datamatch = fuzz_u8(input) < 224 ? 8ull * fuzz_u8(input) : fuzz_number(input);
	return place;
}

/* The places of a region, or a page of them; behind an eventfd for each, a file for shadows. */
static void
io_fds(struct fuzz_vfu_message *message, struct fuzz_input *input, const struct fuzz_vfu_asked *asked, bool page)
{
	struct rp_vfu_wire_io_fds_page head = {.count = fuzz_below(input, 5)};
	bool is_long = fuzz_u8(input) >= 192;
	size_t head_bytes = page ? sizeof(head) : sizeof(struct rp_vfu_wire_io_fds_request);
	size_t place_bytes = is_long ? sizeof(struct place) : sizeof(struct rp_vfu_wire_io_fd);
	size_t size_bytes = head_bytes + head.count * place_bytes;
	uint32_t i, first;

	memcpy(&head.index, asked->payload + 8, sizeof(head.index));
	memcpy(&first, asked->payload + 12, sizeof(first));
	if (page)
		head.total =
			fuzz_u8(input) < 192 ? first + head.count + fuzz_below(input, 3) : (uint32_t)fuzz_number(input);
	head.argsz = (uint32_t)size_bytes;
	fuzz_vfu_put(message, &head, head_bytes, size_bytes - head_bytes);
	for (i = 0; i < head.count; i++) {
		const struct place place = io_fd(input);

		memcpy(message->bytes + FUZZ_VFU_HEADER_BYTES + head_bytes + i * place_bytes, &place, place_bytes);
		fuzz_vfu_add_fd(message, FUZZ_FD_EVENT);
	}
	if (head.count > 0)
		fuzz_vfu_add_fd(message, FUZZ_FD_SEALED);
	if (fuzz_u8(input) >= 240) {
		head.count = (uint32_t)fuzz_number(input);
		memcpy(message->bytes + FUZZ_VFU_HEADER_BYTES, &head, head_bytes);
	}
}

static void
irq_info(struct fuzz_vfu_message *message, struct fuzz_input *input, const struct fuzz_vfu_asked *asked)
{
	struct rp_vfu_wire_irq_info info;

	memcpy(&info, asked->payload, sizeof(info));
	info.flags = RP_VFU_IRQ_FLAG_EVENTFD_MASK;
	info.count = fuzz_u8(input) < 224 ? FUZZ_VFU_VECTORS : (uint32_t)fuzz_number(input);
	fuzz_vfu_put(message, &info, sizeof(info), 0);
}

static void
write_multi_done(struct fuzz_vfu_message *message, struct fuzz_input *input, const struct fuzz_vfu_asked *asked)
{
	unsigned int kind = fuzz_u8(input);
	uint64_t done;

	memcpy(&done, asked->payload, sizeof(done));
	if (kind >= 224)
		done = fuzz_number(input);
	else if (kind >= 192)
		done -= done > 0 ? 1 : 0;
	fuzz_vfu_put(message, &done, sizeof(done), 0);
}

/* Bits of dirty pages: none, or all, also those of the last word that stand for nothing. */
static void
fill_bits(struct fuzz_vfu_message *message, struct fuzz_input *input, size_t at_bytes)
{
	uint8_t pattern = fuzz_u8(input) < 128 ? 0 : fuzz_u8(input);
	size_t begin_bytes = FUZZ_VFU_HEADER_BYTES + at_bytes;

	if (message->size_bytes > begin_bytes)
		memset(message->bytes + begin_bytes, pattern, message->size_bytes - begin_bytes);
}

static void
unmapped(struct fuzz_vfu_message *message, struct fuzz_input *input, const struct fuzz_vfu_asked *asked)
{
	struct {
		struct rp_vfu_wire_dma_unmap unmap;
		struct rp_vfu_wire_bitmap bitmap;
	} __attribute__((packed)) head;

	memcpy(&head, asked->payload, sizeof(head));
	if ((head.unmap.flags & RP_VFU_DMA_UNMAP_DIRTY_MASK) == 0) {
		fuzz_vfu_put(message, &head.unmap, sizeof(head.unmap), 0);
		return;
	}
	fuzz_vfu_put(message, &head, sizeof(head), head.bitmap.size_bytes % (FUZZ_VFU_PAYLOAD_MAX - sizeof(head)));
	fill_bits(message, input, sizeof(head));
}

/* What a feature that is read has as data, in place of which the message has room. @return its size. */
static size_t
feature_data(struct fuzz_input *input, uint32_t index, uint8_t *ret_data)
{
	struct rp_vfu_wire_mig_state state;
	uint64_t flags;

	switch (index) {
	case RP_VFU_FEATURE_MIGRATION:
		flags = fuzz_u8(input) < 224 ? RP_VFU_MIGRATION_STOP_COPY_MASK : fuzz_number(input);
		memcpy(ret_data, &flags, sizeof(flags));
		return sizeof(flags);
	case RP_VFU_FEATURE_MIG_DEVICE_STATE:
		state = (struct rp_vfu_wire_mig_state){.device_state = fuzz_u8(input) % 16};
		memcpy(ret_data, &state, sizeof(state));
		return sizeof(state);
	default:
		return fuzz_below(input, 128);
	}
}

static void
feature_reply(struct fuzz_vfu_message *message, struct fuzz_input *input, const struct fuzz_vfu_asked *asked)
{
	uint8_t bytes[sizeof(asked->payload)];
	size_t size_bytes = asked->header.size_bytes - FUZZ_VFU_HEADER_BYTES, report_bytes = 0;
	struct rp_vfu_wire_feature feature;
	uint64_t number;
	uint32_t index;

	memcpy(bytes, asked->payload, sizeof(bytes));
	memcpy(&feature, bytes, sizeof(feature));
	index = feature.flags & RP_VFU_FEATURE_INDEX_MASK;
	if ((feature.flags & RP_VFU_FEATURE_GET_MASK) == 0) {
		/* A set comes back as it was understood. */
		number = fuzz_u8(input) < 192 ? 0 : fuzz_number(input);
		if (number != 0)
			memcpy(bytes + sizeof(feature), &number, sizeof(number));
	} else if (index == RP_VFU_FEATURE_DMA_LOGGING_REPORT && size_bytes > sizeof(feature)) {
		report_bytes = size_bytes;
		size_bytes = feature.argsz;
	} else if ((feature.flags & RP_VFU_FEATURE_PROBE_MASK) == 0) {
		memset(bytes + sizeof(feature), 0x5a, sizeof(bytes) - sizeof(feature));
		size_bytes = sizeof(feature) + feature_data(input, index, bytes + sizeof(feature));
	}
	if (fuzz_u8(input) >= 224)
		size_bytes = sizeof(feature) + fuzz_below(input, 192);
	size_bytes = size_bytes < FUZZ_VFU_PAYLOAD_MAX ? size_bytes : FUZZ_VFU_PAYLOAD_MAX;
	feature.argsz = (uint32_t)size_bytes;
	memcpy(bytes, &feature, sizeof(feature));
	fuzz_vfu_put(message, bytes, size_bytes < sizeof(bytes) ? size_bytes : sizeof(bytes),
		     size_bytes < sizeof(bytes) ? 0 : size_bytes - sizeof(bytes));
	if (report_bytes > 0)
		fill_bits(message, input, report_bytes);
}

static void
mig_data_reply(struct fuzz_vfu_message *message, struct fuzz_input *input, const struct fuzz_vfu_asked *asked)
{
	unsigned int kind = fuzz_u8(input);
	struct rp_vfu_wire_mig_data mig;
	size_t data_bytes;

	memcpy(&mig, asked->payload, sizeof(mig));
	if (kind >= 224)
		mig.size_bytes = (uint32_t)fuzz_number(input);
	else if (kind >= 192)
		mig.size_bytes /= 2;
	data_bytes = mig.size_bytes % (FUZZ_VFU_PAYLOAD_MAX - sizeof(mig));
	if (fuzz_u8(input) >= 224)
		data_bytes = fuzz_below(input, 64);
	fuzz_vfu_put(message, &mig, sizeof(mig), data_bytes);
}

/* The beginning of the command, with as many bytes of data as it asked for. */
static void
echo(struct fuzz_vfu_message *message, const struct fuzz_vfu_asked *asked, const struct rp_vfu_msg *row)
{
	uint32_t data_bytes = 0;

	if (row->command == RP_VFU_REGION_READ)
		memcpy(&data_bytes, asked->payload + 12, sizeof(data_bytes));
	if (row->command == RP_VFU_DMA_READ)
		memcpy(&data_bytes, asked->payload + 8, sizeof(data_bytes));
	if (data_bytes > FUZZ_VFU_PAYLOAD_MAX - sizeof(asked->payload))
		data_bytes = FUZZ_VFU_PAYLOAD_MAX - sizeof(asked->payload);
	fuzz_vfu_put(message, asked->payload,
		     row->reply_min_bytes < sizeof(asked->payload) ? row->reply_min_bytes : sizeof(asked->payload),
		     data_bytes);
}

/* What an answer says, by its command. */
static void
fill(struct fuzz_vfu_message *message, struct fuzz_input *input, const struct fuzz_vfu_asked *asked,
     const struct rp_vfu_msg *row)
{
	switch (row->command) {
	case RP_VFU_VERSION:
		fuzz_vfu_version(message, input, true);
		break;
	case RP_VFU_DMA_UNMAP:
		unmapped(message, input, asked);
		break;
	case RP_VFU_DEVICE_GET_INFO:
		device_info(message, input);
		break;
	case RP_VFU_DEVICE_GET_REGION_INFO:
		region_info(message, input, asked);
		break;
	case RP_VFU_DEVICE_GET_REGION_IO_FDS:
	case RP_VFU_DEVICE_GET_REGION_IO_FDS_PAGE:
		io_fds(message, input, asked, row->command == RP_VFU_DEVICE_GET_REGION_IO_FDS_PAGE);
		break;
	case RP_VFU_DEVICE_GET_IRQ_INFO:
		irq_info(message, input, asked);
		break;
	case RP_VFU_REGION_WRITE_MULTI:
		write_multi_done(message, input, asked);
		break;
	case RP_VFU_DEVICE_FEATURE:
		feature_reply(message, input, asked);
		break;
	case RP_VFU_MIG_DATA_READ:
		mig_data_reply(message, input, asked);
		break;
	default:
		if (fuzz_vfu_iommu_reply(message, input, asked))
			break;
		echo(message, asked, row);
		break;
	}
}

void
fuzz_vfu_reply(struct fuzz_vfu_message *ret_message, struct fuzz_input *input, const struct fuzz_vfu_asked *asked)
{
	const struct rp_vfu_msg *row = rp_vfu_msg_find(asked->header.command);
	const uint32_t error = fuzz_u8(input);

	fuzz_vfu_begin(ret_message, asked->header.id, asked->header.command, RP_VFU_TYPE_REPLY, 0);
	if (error >= 240) {
		ret_message->bytes[offsetof(struct rp_vfu_header, flags)] |= RP_VFU_FLAG_ERROR;
		ret_message->bytes[offsetof(struct rp_vfu_header, error)] = fuzz_u8(input);
	} else if (row != NULL) {
		fill(ret_message, input, asked, row);
	}
	fuzz_vfu_deviate(ret_message, input);
}
