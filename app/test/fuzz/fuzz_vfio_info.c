/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <linux/vfio.h>
#include <string.h>

#include "fuzz.h"
#include "kvfio.h"

/*
 * What a kernel says of a region, an address space and an interrupt, in answers whose
 * chains of capabilities the input bends. The kernel writes no more than it was given
 * room for; all else may be wrong.
 */

#define ANSWER_MAX 4096u
#define ROUNDS_MAX 4u /* of one question */

struct kernel {
	struct fuzz_input *input;
	unsigned int asked_count; /* since the last answer that fitted */
	bool lied; /* an answer was of something else than was asked for, or of no page size */
};

struct answer {
	uint8_t bytes[ANSWER_MAX];
	uint32_t size_bytes;
};

static uint64_t
usually(struct fuzz_input *input, uint64_t value)
{
	return fuzz_u8(input) < 224 ? value : fuzz_number(input);
}

static void
append(struct answer *answer, const void *bytes, uint32_t size_bytes)
{
	if (size_bytes > ANSWER_MAX - answer->size_bytes)
		return;
	memcpy(answer->bytes + answer->size_bytes, bytes, size_bytes);
	answer->size_bytes += size_bytes;
}

/* Areas or ranges: pairs of numbers that ascend, behind a count of them. */
static void
append_pairs(struct answer *answer, struct fuzz_input *input, uint64_t step_bytes, uint64_t size_bytes)
{
	uint32_t count = fuzz_below(input, 80), said[2] = {(uint32_t)usually(input, count), 0}, i;

	append(answer, said, sizeof(said));
	for (i = 0; i < count; i++) {
		uint64_t pair[2];

		pair[0] = usually(input, i * step_bytes);
		pair[1] = usually(input, size_bytes == 0 ? i * step_bytes + step_bytes / 2 : size_bytes);
		append(answer, pair, sizeof(pair));
	}
}

/* @param pairs_id what has areas, or ranges (size_bytes 0). @return where the first one is. */
static uint32_t
append_chain(struct answer *answer, struct fuzz_input *input, uint16_t pairs_id, uint64_t size_bytes)
{
	uint32_t count = fuzz_below(input, 4), first_bytes = count == 0 ? 0 : answer->size_bytes, i;

	for (i = 0; i < count; i++) {
		struct vfio_info_cap_header header = {.id = (uint16_t)fuzz_below(input, 5), .version = 1};
		uint32_t at_bytes = answer->size_bytes, words[2] = {(uint32_t)fuzz_number(input), 0};

		append(answer, &header, sizeof(header));
		/* Without what it should have it is a header alone. */
		if (fuzz_u8(input) >= 224)
			;
		else if (header.id == pairs_id)
			append_pairs(answer, input, 0x10000, size_bytes);
		else
			append(answer, words, sizeof(words));
		header.next = (uint32_t)usually(input, i + 1 < count ? answer->size_bytes : 0);
		if (at_bytes + sizeof(header) <= ANSWER_MAX)
			memcpy(answer->bytes + at_bytes, &header, sizeof(header));
	}
	return (uint32_t)usually(input, first_bytes);
}

static void
describe_region(struct kernel *kernel, struct answer *answer, uint32_t index)
{
	struct vfio_region_info info = {
		.flags = VFIO_REGION_INFO_FLAG_READ | VFIO_REGION_INFO_FLAG_WRITE,
		.index = (uint32_t)usually(kernel->input, index),
		.size = usually(kernel->input, 0x100000),
		.offset = usually(kernel->input, (uint64_t)index << 40),
	};
	unsigned int kind = fuzz_u8(kernel->input);

	answer->size_bytes = sizeof(info);
	if (kind >= 64)
		info.flags |= VFIO_REGION_INFO_FLAG_MMAP;
	if (kind >= 128) {
		info.flags |= VFIO_REGION_INFO_FLAG_CAPS;
		info.cap_offset = append_chain(answer, kernel->input, VFIO_REGION_INFO_CAP_SPARSE_MMAP, 0x8000);
	}
	memcpy(answer->bytes, &info, sizeof(info));
}

static void
describe_iommu(struct kernel *kernel, struct answer *answer)
{
	struct vfio_iommu_type1_info info = {
		.flags = fuzz_below(kernel->input, 4),
		.iova_pgsizes = usually(kernel->input, 0x40201000),
	};

	answer->size_bytes = sizeof(info);
	if ((info.flags & VFIO_IOMMU_INFO_CAPS) != 0)
		info.cap_offset = append_chain(answer, kernel->input, VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE, 0);
	memcpy(answer->bytes, &info, sizeof(info));
}

static void
describe_irq(struct kernel *kernel, struct answer *answer, uint32_t index)
{
	struct vfio_irq_info info = {
		.flags = VFIO_IRQ_INFO_EVENTFD,
		.index = (uint32_t)usually(kernel->input, index),
		.count = (uint32_t)usually(kernel->input, 4),
	};

	answer->size_bytes = sizeof(info);
	memcpy(answer->bytes, &info, sizeof(info));
	kernel->lied |= info.index != index;
}

static bool
has_no_page(const struct answer *answer)
{
	struct vfio_iommu_type1_info info;

	memcpy(&info, answer->bytes, sizeof(info));
	return (info.flags & VFIO_IOMMU_INFO_PGSIZES) != 0 && info.iova_pgsizes == 0;
}

static int
on_ioctl(void *ctx, int fd, unsigned long request, void *argument)
{
	struct kernel *kernel = ctx;
	struct answer answer = {.size_bytes = 0};
	uint32_t room_bytes, index, argsz, error = fuzz_u8(kernel->input);
	bool cut = fuzz_u8(kernel->input) >= 240;

	(void)fd;
	fuzz_require(++kernel->asked_count <= ROUNDS_MAX, "nobody asks for ever");
	memcpy(&room_bytes, argument, sizeof(room_bytes));
	memcpy(&index, (uint8_t *)argument + 8, sizeof(index));
	if (error >= 240) {
		kernel->asked_count = 0;
		return error >= 248 ? -EINVAL : -ENOTTY;
	}
	if (request == VFIO_DEVICE_GET_REGION_INFO)
		describe_region(kernel, &answer, index);
	else if (request == VFIO_IOMMU_GET_INFO)
		describe_iommu(kernel, &answer);
	else
		describe_irq(kernel, &answer, index);
	argsz = cut ? (uint32_t)fuzz_number(kernel->input) : answer.size_bytes;
	memcpy(answer.bytes, &argsz, sizeof(argsz));
	memcpy(argument, answer.bytes, room_bytes < answer.size_bytes ? room_bytes : answer.size_bytes);
	if (argsz <= room_bytes) {
		kernel->asked_count = 0;
		memcpy(&argsz, answer.bytes + 8, sizeof(argsz));
		kernel->lied |= request == VFIO_DEVICE_GET_REGION_INFO && argsz != index;
		kernel->lied |= request == VFIO_IOMMU_GET_INFO && has_no_page(&answer);
	}
	return 0;
}

static void
check_iommu(const struct kvfio_iommu *iommu)
{
	unsigned int i;

	fuzz_require(iommu->ranges_count <= RP_DMA_IOVA_RANGES_MAX, "ranges fit");
	fuzz_require(iommu->page_bytes != 0 && (iommu->page_bytes & (iommu->page_bytes - 1)) == 0, "pages have a size");
	for (i = 0; i < iommu->ranges_count; i++) {
		fuzz_require(iommu->ranges[i].first <= iommu->ranges[i].last, "a range has a length");
		fuzz_require(i == 0 || iommu->ranges[i - 1].last < iommu->ranges[i].first, "ranges are in order");
	}
}

static void
check_region(const struct kvfio_device *device, uint32_t index, struct fuzz_input *input)
{
	const struct kvfio_region *region = &device->regions[index];
	uint64_t offset_bytes = fuzz_number(input), size_bytes = fuzz_number(input);
	struct rp_accel_transport_window window;
	unsigned int i;

	fuzz_require(region->file_offset_bytes <= INT64_MAX &&
			     region->size_bytes <= INT64_MAX - region->file_offset_bytes,
		     "a region lies in its file");
	fuzz_require(region->areas_count <= VFIO_AREAS_MAX, "areas have a limit");
	for (i = 0; i < region->areas_count; i++)
		fuzz_require(region->areas[i].offset_bytes <= region->size_bytes &&
				     region->areas[i].size_bytes <= region->size_bytes - region->areas[i].offset_bytes,
			     "an area lies in its region");
	if (kvfio_region_window(device, index, offset_bytes, size_bytes, &window, NULL) == 0)
		fuzz_require(offset_bytes <= region->size_bytes && size_bytes <= region->size_bytes - offset_bytes,
			     "a window lies in its region");
}

static void
ask(struct kernel *kernel, struct kvfio_device *device)
{
	const struct kvfio_kernel *calls = device->host->kernel;
	struct kvfio_iommu iommu;
	uint32_t i;
	int rc;

	kernel->lied = false;
	kernel->asked_count = 0;
	switch (fuzz_below(kernel->input, 3)) {
	case 0:
		rc = kvfio_iommu_read(calls, -1, &iommu, NULL);
		fuzz_require(rc != 0 || !kernel->lied, "an IOMMU has a page size");
		if (rc == 0)
			check_iommu(&iommu);
		break;
	case 1:
		rc = kvfio_regions_read(device, VFIO_REGIONS_COUNT, NULL);
		fuzz_require(rc != 0 || !kernel->lied, "a region is the one that was asked for");
		for (i = 0; rc == 0 && i < VFIO_REGIONS_COUNT; i++)
			check_region(device, i, kernel->input);
		kvfio_regions_free(device);
		break;
	default:
		rc = kvfio_irq_count(device, fuzz_below(kernel->input, VFIO_PCI_NUM_IRQS), NULL);
		fuzz_require(rc <= 2048, "vectors have a limit");
		fuzz_require(rc <= 0 || !kernel->lied, "an interrupt is the one that was asked for");
		break;
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size_bytes)
{
	struct fuzz_input input = {bytes, size_bytes};
	struct kernel kernel = {.input = &input};
	const struct kvfio_kernel calls = {.ctx = &kernel, .ioctl = on_ioctl};
	struct kvfio_host host = {.kernel = &calls};
	struct kvfio_device device = {.host = &host, .fd = -1, .irqs_count = VFIO_PCI_NUM_IRQS};

	fuzz_begin();
	while (input.left_bytes > 0)
		ask(&kernel, &device);
	fuzz_end();
	return 0;
}
