/* SPDX-License-Identifier: BSD-3-Clause */
#include <string.h>

#include "vfio_user.h"
#include "vfio_user_iommu.h"

#define DATA_MAX 256u

uint8_t *
fuzz_vfu_begin(struct fuzz_vfu_message *message, uint16_t id, uint16_t command, uint32_t flags, uint32_t payload_bytes)
{
	const struct rp_vfu_header header = {
		.id = id,
		.command = command,
		.size_bytes = FUZZ_VFU_HEADER_BYTES + payload_bytes,
		.flags = flags,
	};

	message->fds_count = 0;
	message->size_bytes = header.size_bytes;
	memset(message->bytes, 0, sizeof(message->bytes));
	memcpy(message->bytes, &header, sizeof(header));
	return message->bytes + sizeof(header);
}

void
fuzz_vfu_add_fd(struct fuzz_vfu_message *message, enum fuzz_fd kind)
{
	message->fds[message->fds_count++] = fuzz_fd(kind);
}

static void
set_size(struct fuzz_vfu_message *message, uint32_t size_bytes)
{
	message->size_bytes = size_bytes;
	memcpy(message->bytes + offsetof(struct rp_vfu_header, size_bytes), &size_bytes, sizeof(size_bytes));
}

/* Put a structure into the payload, and add as much data behind it. */
void
fuzz_vfu_put(struct fuzz_vfu_message *message, const void *fields, size_t fields_bytes, size_t data_bytes)
{
	memcpy(message->bytes + FUZZ_VFU_HEADER_BYTES, fields, fields_bytes);
	set_size(message, (uint32_t)(FUZZ_VFU_HEADER_BYTES + fields_bytes + data_bytes));
}

void
fuzz_vfu_version(struct fuzz_vfu_message *message, struct fuzz_input *input, bool reply)
{
	static const char *const texts[] = {
		"",
		"{\"capabilities\":{\"max_msg_fds\":16,\"max_data_xfer_size\":1048576,\"max_dma_maps\":65535,"
		"\"pgsizes\":4096,\"migration\":{\"pgsize\":4096,\"max_bitmap_size\":256},\"write_multiple\":true}}",
		"{\"capabilities\":{\"max_msg_fds\":1,\"max_data_xfer_size\":4096,\"max_dma_maps\":2}}",
		"{\"capabilities\":{\"max_msg_fds\":16,\"twin_socket\":{\"supported\":true}}}",
		"{\"capabilities\":{\"max_msg_fds\":16,\"max_data_xfer_size\":65536,\"twin_socket\":{\"supported\":"
		"true},"
		"\"migration\":{\"pgsize\":4096,\"max_bitmap_size\":32},\"write_multiple\":true,"
		"\"ringpass.remap\":true,\"ringpass.serve\":true,\"ringpass.io_fds\":true,"
		"\"ringpass.window\":{\"size\":65536}}}",
		"{\"capabilities\":{\"max_msg_fds\":16,\"ringpass.remap\":true,\"ringpass.serve\":true,"
		"\"ringpass.io_fds\":true,\"ringpass.access_multiple\":true,\"ringpass.window\":{\"size\":1048576}}}",
		"{\"capabilities\":{\"max_msg_fds\":16,\"ringpass.remap\":true,\"ringpass.serve\":true,"
		"\"ringpass.iommu\":{\"translations\":4,\"invalidations\":4,\"page_requests\":4,\"pasid_bits\":20}}}",
		"{\"capabilities\":{\"max_msg_fds\":16,\"twin_socket\":{\"supported\":true},\"ringpass.window\":"
		"{\"size\":65536},\"ringpass.iommu\":{\"translations\":2,\"invalidations\":2,\"page_requests\":2,"
		"\"pasid_bits\":1}}}",
	};
	static const char *const replies[] = {
		[3] = "{\"capabilities\":{\"max_msg_fds\":16,\"twin_socket\":{\"supported\":true,\"fd_index\":0}}}",
		[4] = "{\"capabilities\":{\"max_msg_fds\":16,\"max_data_xfer_size\":65536,"
		      "\"twin_socket\":{\"supported\":true,\"fd_index\":0},"
		      "\"migration\":{\"pgsize\":4096,\"max_bitmap_size\":32},\"write_multiple\":true,"
		      "\"ringpass.remap\":true,\"ringpass.serve\":true,\"ringpass.io_fds\":true,"
		      "\"ringpass.window\":{\"size\":65536,\"fd_index\":1}}}",
		[5] = "{\"capabilities\":{\"max_msg_fds\":16,\"ringpass.remap\":true,\"ringpass.serve\":true,"
		      "\"ringpass.io_fds\":true,\"ringpass.window\":{\"size\":1048576,\"fd_index\":0}}}",
		[7] = "{\"capabilities\":{\"max_msg_fds\":16,\"twin_socket\":{\"supported\":true,\"fd_index\":0},"
		      "\"ringpass.window\":{\"size\":65536,\"fd_index\":1},\"ringpass.iommu\":{\"translations\":2,"
		      "\"invalidations\":2,\"page_requests\":2,\"pasid_bits\":1}}}",
	};
	const struct rp_vfu_wire_version numbers = {RP_VFU_VERSION_MAJOR, RP_VFU_VERSION_MINOR};
	unsigned int choice = fuzz_below(input, sizeof(texts) / sizeof(texts[0]));
	const char *text = reply && choice >= 3 && choice != 6 ? replies[choice] : texts[choice];
	size_t text_bytes = text[0] == '\0' ? 0 : strlen(text) + 1;

	fuzz_vfu_put(message, &numbers, sizeof(numbers), text_bytes);
	memcpy(message->bytes + FUZZ_VFU_HEADER_BYTES + sizeof(numbers), text, text_bytes);
	if (!reply)
		return;
	if (choice == 3 || choice == 4 || choice == 7)
		fuzz_vfu_add_fd(message, FUZZ_FD_SOCKET);
	if (choice >= 4 && choice != 6)
		fuzz_vfu_add_fd(message, FUZZ_FD_SEALED);
}

/* Mappings side by side in steps of a quarter, or where the input says. */
struct range {
	uint64_t iova;
	uint64_t size_bytes;
};

static struct range
range(struct fuzz_input *input)
{
	struct range range;

	range.iova = FUZZ_GPA + (uint64_t)fuzz_below(input, 16) * (FUZZ_MEMORY_BYTES / 4);
	range.size_bytes = (uint64_t)(1 + fuzz_below(input, 6)) * (FUZZ_MEMORY_BYTES / 4);
	switch (fuzz_below(input, 8)) {
	case 0:
		range.iova = fuzz_number(input);
		break;
	case 1:
		range.size_bytes = fuzz_number(input);
		break;
	case 2:
		range.iova += fuzz_u16(input);
		break;
	default:
		break;
	}
	return range;
}

static void
dma_map(struct fuzz_vfu_message *message, struct fuzz_input *input)
{
	static const enum fuzz_fd kinds[] = {FUZZ_FD_SEALED, FUZZ_FD_SEALED_TWIN, FUZZ_FD_SMALL, FUZZ_FD_ZERO};
	struct rp_vfu_wire_dma_map map = {.argsz = sizeof(map), .flags = 1 + fuzz_below(input, 3)};
	unsigned int kind = fuzz_below(input, 8);
	struct range where = range(input);

	map.iova = where.iova;
	map.size_bytes = where.size_bytes;
	if (fuzz_u8(input) >= 192)
		map.offset_bytes = fuzz_number(input);
	fuzz_vfu_put(message, &map, sizeof(map), 0);
	if (kind < 4)
		fuzz_vfu_add_fd(message, kinds[kind]);
}

static void
dma_unmap(struct fuzz_vfu_message *message, struct fuzz_input *input)
{
	struct rp_vfu_wire_dma_unmap unmap = {.argsz = sizeof(unmap), .flags = fuzz_below(input, 16)};
	const uint64_t bitmap[2] = {4096, 64};
	bool dirty = unmap.flags == RP_VFU_DMA_UNMAP_DIRTY_MASK;
	struct range where = range(input);

	if (unmap.flags > 3)
		unmap.flags = 0;
	unmap.iova = where.iova;
	unmap.size_bytes = where.size_bytes;
	if (dirty)
		unmap.argsz += (uint32_t)sizeof(bitmap) + 64;
	fuzz_vfu_put(message, &unmap, sizeof(unmap), dirty ? sizeof(bitmap) : 0);
	if (dirty)
		memcpy(message->bytes + FUZZ_VFU_HEADER_BYTES + sizeof(unmap), bitmap, sizeof(bitmap));
}

/* What begins with argsz, flags, index and a fourth number. */
static void
indexed(struct fuzz_vfu_message *message, struct fuzz_input *input, uint32_t payload_bytes)
{
	const uint32_t fields[4] = {fuzz_u16(input), 0, fuzz_below(input, FUZZ_VFU_REGIONS + 1), fuzz_u8(input)};

	fuzz_vfu_put(message, fields, sizeof(fields), payload_bytes - sizeof(fields));
}

static void
set_irqs(struct fuzz_vfu_message *message, struct fuzz_input *input)
{
	static const uint32_t kinds[] = {RP_VFU_IRQ_DATA_NONE_MASK, RP_VFU_IRQ_DATA_BOOL_MASK,
					 RP_VFU_IRQ_DATA_EVENTFD_MASK};
	static const uint32_t actions[] = {RP_VFU_IRQ_ACTION_TRIGGER_MASK, RP_VFU_IRQ_ACTION_MASK_MASK,
					   RP_VFU_IRQ_ACTION_UNMASK_MASK};
	unsigned int kind = fuzz_below(input, 3);
	struct rp_vfu_wire_irq_set set = {
		.flags = kinds[kind] | actions[fuzz_below(input, 3)],
		.index = fuzz_below(input, RP_VFU_PCI_IRQS_COUNT + 1),
		.start = fuzz_below(input, FUZZ_VFU_VECTORS + 1),
		.count = fuzz_below(input, FUZZ_VFU_VECTORS + 2),
	};
	uint32_t data_bytes = kind == 1 ? set.count : 0;
	unsigned int i;

	if (fuzz_u8(input) >= 224)
		set.start = (uint32_t)fuzz_number(input);
	set.argsz = (uint32_t)sizeof(set) + data_bytes;
	fuzz_vfu_put(message, &set, sizeof(set), data_bytes);
	for (i = 0; i < data_bytes; i++)
		message->bytes[FUZZ_VFU_HEADER_BYTES + sizeof(set) + i] = fuzz_u8(input) & 1;
	for (i = 0; kind == 2 && i < set.count; i++)
		fuzz_vfu_add_fd(message, FUZZ_FD_EVENT);
}

static void
region_access(struct fuzz_vfu_message *message, struct fuzz_input *input, bool data)
{
	struct rp_vfu_wire_region_access access = {
		.offset_bytes = fuzz_u16(input),
		.region = fuzz_below(input, FUZZ_VFU_REGIONS + 1),
		.count_bytes = 1 + fuzz_below(input, DATA_MAX),
	};

	switch (fuzz_below(input, 8)) {
	case 0:
		access.offset_bytes = fuzz_number(input);
		break;
	case 1:
		access.count_bytes = (uint32_t)fuzz_number(input);
		break;
	default:
		break;
	}
	fuzz_vfu_put(message, &access, sizeof(access), data ? access.count_bytes % (DATA_MAX + 1) : 0);
}

static void
dma_access(struct fuzz_vfu_message *message, struct fuzz_input *input, bool data)
{
	struct rp_vfu_wire_dma_access access = {
		.iova = FUZZ_GPA + fuzz_u16(input),
		.count_bytes = fuzz_below(input, DATA_MAX),
	};
	unsigned int where;

	where = fuzz_u8(input);
	if (where >= 240)
		access.iova = fuzz_number(input);
	else if (where >= 192) /* across the end of a mapping */
		access.iova = FUZZ_GPA + (1 + where % 3) * FUZZ_MEMORY_BYTES - 1 - access.iova % 64;
	if (fuzz_u8(input) >= 224)
		access.count_bytes = fuzz_number(input);
	fuzz_vfu_put(message, &access, sizeof(access), data ? access.count_bytes % (DATA_MAX + 1) : 0);
}

static void
window_access(struct fuzz_vfu_message *message, struct fuzz_input *input)
{
	struct rp_vfu_wire_window_access access = {
		.iova = FUZZ_GPA + fuzz_u16(input),
		.count_bytes = fuzz_u16(input),
		.window_offset_bytes = fuzz_u16(input),
	};

	if (fuzz_u8(input) >= 224)
		access.count_bytes = fuzz_number(input);
	if (fuzz_u8(input) >= 224)
		access.window_offset_bytes = fuzz_number(input);
	fuzz_vfu_put(message, &access, sizeof(access), 0);
}

static void
write_multi(struct fuzz_vfu_message *message, struct fuzz_input *input)
{
	struct {
		uint64_t count;
		struct rp_vfu_wire_region_write1 writes[8];
	} __attribute__((packed)) multi = {.count = 1 + fuzz_below(input, 8)};
	size_t size_bytes = sizeof(multi.count) + multi.count * sizeof(multi.writes[0]);
	unsigned int i;

	for (i = 0; i < multi.count; i++) {
		multi.writes[i].offset_bytes = fuzz_u8(input);
		multi.writes[i].region = fuzz_below(input, FUZZ_VFU_REGIONS + 1);
		multi.writes[i].count_bytes = fuzz_below(input, 10);
	}
	if (fuzz_u8(input) >= 224)
		multi.count = fuzz_number(input);
	fuzz_vfu_put(message, &multi, size_bytes, 0);
}

static void
access_multi(struct fuzz_vfu_message *message, struct fuzz_input *input)
{
	struct {
		uint64_t count;
		struct rp_vfu_wire_region_access1 accesses[8];
	} __attribute__((packed)) multi = {.count = 1 + fuzz_below(input, 8)};
	size_t size_bytes = sizeof(multi.count) + multi.count * sizeof(multi.accesses[0]);
	unsigned int i;

	for (i = 0; i < multi.count; i++) {
		multi.accesses[i].offset_bytes = fuzz_u8(input);
		multi.accesses[i].region = fuzz_below(input, FUZZ_VFU_REGIONS + 1);
		multi.accesses[i].count_bytes = (uint16_t)fuzz_below(input, 10);
		multi.accesses[i].flags = (uint16_t)fuzz_below(input, 3);
	}
	if (fuzz_u8(input) >= 224)
		multi.count = fuzz_number(input);
	fuzz_vfu_put(message, &multi, size_bytes, 0);
}

static void
feature(struct fuzz_vfu_message *message, struct fuzz_input *input)
{
	struct rp_vfu_wire_feature feature = {.argsz = 64};
	uint8_t *behind = message->bytes + FUZZ_VFU_HEADER_BYTES + sizeof(feature);
	uint32_t data_bytes = fuzz_below(input, 64);
	uint64_t number;
	unsigned int i;
	bool state;

	feature.flags = fuzz_below(input, 12);
	feature.flags |= (uint32_t)fuzz_below(input, 8) << 16;
	state = (feature.flags & RP_VFU_FEATURE_INDEX_MASK) == RP_VFU_FEATURE_MIG_DEVICE_STATE;
	if (state)
		behind[0] = (uint8_t)fuzz_below(input, 9);
	if (fuzz_u8(input) >= 224)
		feature.argsz = (uint32_t)fuzz_number(input);
	fuzz_vfu_put(message, &feature, sizeof(feature), data_bytes);
	for (i = 0; !state && i + sizeof(number) <= data_bytes && i < 32; i += sizeof(number)) {
		number = fuzz_number(input);
		memcpy(behind + i, &number, sizeof(number));
	}
}

static void
mig_data(struct fuzz_vfu_message *message, struct fuzz_input *input, bool data)
{
	struct rp_vfu_wire_mig_data mig = {.argsz = 8 + fuzz_u8(input), .size_bytes = fuzz_below(input, 64)};

	if (fuzz_u8(input) >= 224)
		mig.size_bytes = (uint32_t)fuzz_number(input);
	fuzz_vfu_put(message, &mig, sizeof(mig), data ? mig.size_bytes % 64 : 0);
}

static void
sensible_command(struct fuzz_vfu_message *message, struct fuzz_input *input, const struct rp_vfu_msg *row)
{
	switch (row->command) {
	case RP_VFU_VERSION:
		fuzz_vfu_version(message, input, false);
		break;
	case RP_VFU_DMA_MAP:
	case RP_VFU_DMA_REMAP:
		dma_map(message, input);
		break;
	case RP_VFU_DMA_UNMAP:
		dma_unmap(message, input);
		break;
	case RP_VFU_DEVICE_GET_INFO:
	case RP_VFU_DEVICE_GET_REGION_INFO:
	case RP_VFU_DEVICE_GET_REGION_IO_FDS:
	case RP_VFU_DEVICE_GET_IRQ_INFO:
	case RP_VFU_DEVICE_GET_REGION_IO_FDS_PAGE:
		indexed(message, input, row->payload_min_bytes);
		break;
	case RP_VFU_DEVICE_SET_IRQS:
		set_irqs(message, input);
		break;
	case RP_VFU_REGION_READ:
	case RP_VFU_REGION_WRITE:
		region_access(message, input, row->command == RP_VFU_REGION_WRITE);
		break;
	case RP_VFU_DMA_READ:
	case RP_VFU_DMA_WRITE:
		dma_access(message, input, row->command == RP_VFU_DMA_WRITE);
		break;
	case RP_VFU_WINDOW_READ:
	case RP_VFU_WINDOW_WRITE:
		window_access(message, input);
		break;
	case RP_VFU_REGION_WRITE_MULTI:
		write_multi(message, input);
		break;
	case RP_VFU_REGION_ACCESS_MULTI:
		access_multi(message, input);
		break;
	case RP_VFU_DEVICE_FEATURE:
		feature(message, input);
		break;
	case RP_VFU_MIG_DATA_READ:
	case RP_VFU_MIG_DATA_WRITE:
		mig_data(message, input, row->command == RP_VFU_MIG_DATA_WRITE);
		break;
	default:
		if (fuzz_vfu_iommu_command(message, input, row->command))
			break;
		set_size(message, FUZZ_VFU_HEADER_BYTES + row->payload_min_bytes);
		fuzz_bytes(input, message->bytes + FUZZ_VFU_HEADER_BYTES, row->payload_min_bytes);
		break;
	}
}

static void
other_descriptors(struct fuzz_vfu_message *message, struct fuzz_input *input)
{
	unsigned int i;

	message->fds_count = fuzz_below(input, FUZZ_VFU_FDS_MAX + 1);
	for (i = 0; i < message->fds_count; i++)
		message->fds[i] = fuzz_fd((enum fuzz_fd)fuzz_below(input, FUZZ_FDS_COUNT));
}

void
fuzz_vfu_deviate(struct fuzz_vfu_message *message, struct fuzz_input *input)
{
	uint32_t number;
	uint8_t bits;

	switch (fuzz_below(input, 16)) {
	case 0:
		other_descriptors(message, input);
		break;
	case 1: /* a payload of another size, and the header says so */
		set_size(message, FUZZ_VFU_HEADER_BYTES + fuzz_u16(input) % (FUZZ_VFU_PAYLOAD_MAX + 1));
		break;
	case 2: /* and the header does not say so */
		number = message->size_bytes;
		set_size(message, (uint32_t)fuzz_number(input));
		message->size_bytes = number;
		break;
	case 3:
		message->bytes[offsetof(struct rp_vfu_header, flags)] = fuzz_u8(input);
		break;
	case 4:
		fuzz_bytes(input, message->bytes + FUZZ_VFU_HEADER_BYTES, message->size_bytes - FUZZ_VFU_HEADER_BYTES);
		break;
	case 5:
		bits = fuzz_u8(input);
		message->bytes[fuzz_below(input, message->size_bytes > 255 ? 255 : message->size_bytes)] ^= bits;
		break;
	case 6: /* the first number of the payload, which is often argsz */
		number = (uint32_t)fuzz_number(input);
		memcpy(message->bytes + FUZZ_VFU_HEADER_BYTES, &number, sizeof(number));
		break;
	case 7:
		fuzz_vfu_add_pasid(message, input);
		break;
	default:
		break;
	}
}

void
fuzz_vfu_command(struct fuzz_vfu_message *ret_message, struct fuzz_input *input, const struct rp_vfu_msg *row,
		 uint16_t id)
{
	fuzz_vfu_begin(ret_message, id, row->command, fuzz_u8(input) < 224 ? 0 : RP_VFU_FLAG_NO_REPLY, 0);
	sensible_command(ret_message, input, row);
	fuzz_vfu_deviate(ret_message, input);
}

void
fuzz_vfu_raw(struct fuzz_vfu_message *ret_message, struct fuzz_input *input)
{
	ret_message->fds_count = 0;
	ret_message->size_bytes = 1 + fuzz_below(input, 64);
	fuzz_bytes(input, ret_message->bytes, ret_message->size_bytes);
	if (fuzz_u8(input) >= 128)
		other_descriptors(ret_message, input);
}

bool
fuzz_vfu_send(const struct fuzz_vfu_message *message, struct fuzz_input *input, int peer)
{
	unsigned int cut = fuzz_u8(input);
	size_t size_bytes = message->size_bytes;

	if (cut >= 252)
		size_bytes = cut % 2 == 0 ? 1 : (size_bytes + 1) / 2;
	return fuzz_send(peer, message->bytes, size_bytes, message->fds, message->fds_count) == message->size_bytes;
}
