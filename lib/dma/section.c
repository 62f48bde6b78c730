/* SPDX-License-Identifier: BSD-3-Clause */

/* The rule: what fits an IOMMU, why it does not, and what could be done about it. */

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "rp_dma_section.h"
#include "rp_wire_fd.h"

/* clang-format off */
static const struct {
	const char *name;
	const char *cure;
} causes[RP_DMA_SECTION_CAUSES_COUNT] = {
	[RP_DMA_SECTION_FITS] = {"fits", NULL},
	[RP_DMA_SECTION_EMPTY] = {"empty", NULL},
	[RP_DMA_SECTION_GUEST_IOMMU] = {"guest-iommu", NULL},
	[RP_DMA_SECTION_INTERRUPTS] = {
		"interrupts", "have the device keep the table in another page or BAR "
		"(its firmware; of a device that QEMU assigned: x-msix-relocation)"},
	[RP_DMA_SECTION_MISALIGNED] = {"misaligned", NULL},
	[RP_DMA_SECTION_UNREACHABLE] = {"unreachable", "give it an address that the IOMMU has"},
	[RP_DMA_SECTION_OCCUPIED] = {"occupied", "give it an address where the guest has no memory"},
	[RP_DMA_SECTION_REFUSED] = {"refused", NULL},
};
/* clang-format on */

const char *
rp_dma_section_cause_name(enum rp_dma_section_cause cause)
{
	return causes[cause].name;
}

const char *
rp_dma_section_cure(enum rp_dma_section_cause cause)
{
	return causes[cause].cure;
}

static bool
is_multiple(const struct rp_dma_section *section, uint64_t page_bytes)
{
	uint64_t offset_bytes = section->kind == RP_DMA_SECTION_DEVICE ? section->offset_bytes : 0;

	return page_bytes == 0 || ((section->iova | section->size_bytes | offset_bytes) & (page_bytes - 1)) == 0;
}

static bool
is_range(const struct rp_dma_section *section)
{
	return section->size_bytes != 0 && section->size_bytes - 1 <= UINT64_MAX - section->iova;
}

static enum rp_dma_section_cause
judge(const struct rp_dma_section *section, const struct rp_dma_section_iommu *iommu)
{
	if (!is_range(section))
		return RP_DMA_SECTION_EMPTY;
	if (section->kind == RP_DMA_SECTION_DEVICE && iommu->guest_iommu)
		return RP_DMA_SECTION_GUEST_IOMMU;
	if (section->kind == RP_DMA_SECTION_DEVICE && section->has_interrupts)
		return RP_DMA_SECTION_INTERRUPTS;
	if (!is_multiple(section, iommu->page_bytes))
		return RP_DMA_SECTION_MISALIGNED;
	if (!rp_dma_iova_allowed(iommu->ranges, iommu->ranges_count, section->iova, section->size_bytes))
		return RP_DMA_SECTION_UNREACHABLE;
	return RP_DMA_SECTION_FITS;
}

static int
explain_misaligned(const struct rp_dma_section *section, uint64_t page_bytes, struct rp_wire_why *why)
{
	if (((section->iova | section->size_bytes) & (page_bytes - 1)) == 0)
		return rp_wire_why_set(why, -ENOSPC,
				       "DMA 0x%" PRIx64 " + 0x%" PRIx64 ": begins at 0x%" PRIx64
				       " of what is behind it, expected a multiple of the IOMMU's page, 0x%" PRIx64,
				       section->iova, section->size_bytes, section->offset_bytes, page_bytes);
	return rp_wire_why_set(why, -ENOSPC,
			       "DMA 0x%" PRIx64 " + 0x%" PRIx64 ": expected multiples of the IOMMU's page, 0x%" PRIx64,
			       section->iova, section->size_bytes, page_bytes);
}

static int
explain(const struct rp_dma_section *section, const struct rp_dma_section_iommu *iommu, enum rp_dma_section_cause cause,
	struct rp_wire_why *why)
{
	switch (cause) {
	case RP_DMA_SECTION_EMPTY:
		return rp_wire_why_set(why, -EINVAL, "DMA 0x%" PRIx64 " + 0x%" PRIx64 ": expected a range of addresses",
				       section->iova, section->size_bytes);
	case RP_DMA_SECTION_GUEST_IOMMU:
		return rp_wire_why_set(why, -ENOTSUP,
				       "DMA 0x%" PRIx64 " + 0x%" PRIx64
				       ": the guest's own IOMMU says what its device may reach",
				       section->iova, section->size_bytes);
	case RP_DMA_SECTION_INTERRUPTS:
		return rp_wire_why_set(
			why, -ENOTSUP,
			"DMA 0x%" PRIx64 " + 0x%" PRIx64
			": the MSI-X table or its pending bits lie in it, which no other device may write",
			section->iova, section->size_bytes);
	case RP_DMA_SECTION_MISALIGNED:
		return explain_misaligned(section, iommu->page_bytes, why);
	case RP_DMA_SECTION_UNREACHABLE:
		return rp_wire_why_set(
			why, -ENOSPC,
			"DMA 0x%" PRIx64 " + 0x%" PRIx64
			": beyond what the IOMMU can address, or in a range that it reserves (%u ranges, "
			"0x%" PRIx64 " to 0x%" PRIx64 ")",
			section->iova, section->size_bytes, iommu->ranges_count, iommu->ranges[0].first,
			iommu->ranges[iommu->ranges_count - 1].last);
	default:
		return 0;
	}
}

int
rp_dma_section_check(const struct rp_dma_section *section, const struct rp_dma_section_iommu *iommu,
		     enum rp_dma_section_cause *ret_cause, struct rp_wire_why *why)
{
	enum rp_dma_section_cause cause = judge(section, iommu);

	if (ret_cause != NULL)
		*ret_cause = cause;
	return explain(section, iommu, cause, why);
}

/* What of a hole lies in the section, in whole pages of it: offsets from its beginning. False: nothing. */
static bool
pages_of(const struct rp_dma_section *whole, const struct rp_dma_section_hole *hole, uint64_t page_bytes,
	 uint64_t *ret_first, uint64_t *ret_end)
{
	uint64_t last, first = hole->offset_bytes;

	if (hole->size_bytes == 0)
		return false;
	last = hole->size_bytes - 1 > UINT64_MAX - first ? UINT64_MAX : first + (hole->size_bytes - 1);
	if (last < whole->offset_bytes ||
	    (first > whole->offset_bytes && first - whole->offset_bytes > whole->size_bytes - 1))
		return false;
	first = first > whole->offset_bytes ? first - whole->offset_bytes : 0;
	last -= whole->offset_bytes;
	if (last > whole->size_bytes - 1)
		last = whole->size_bytes - 1;
	*ret_first = first & ~(page_bytes - 1);
	/* The section is a multiple of the page: this is not beyond its end. */
	*ret_end = (last | (page_bytes - 1)) + 1;
	return true;
}

static void
add_piece(const struct rp_dma_section *whole, uint64_t first, uint64_t end, bool has_interrupts,
	  struct rp_dma_section *pieces, unsigned int *count)
{
	struct rp_dma_section *piece = &pieces[*count];

	if (first == end)
		return;
	*piece = *whole;
	piece->iova += first;
	piece->offset_bytes += first;
	piece->size_bytes = end - first;
	piece->has_interrupts = has_interrupts;
	piece->tag += (*count)++;
}

unsigned int
rp_dma_section_cut(const struct rp_dma_section *whole, const struct rp_dma_section_hole *holes,
		   unsigned int holes_count, uint64_t page_bytes, struct rp_dma_section *ret_pieces)
{
	uint64_t first[RP_DMA_SECTION_HOLES_MAX], end[RP_DMA_SECTION_HOLES_MAX], at = 0;
	unsigned int i, found = 0, count = 0;

	ret_pieces[0] = *whole;
	if (page_bytes == 0)
		page_bytes = 1;
	if (!is_range(whole) || !is_multiple(whole, page_bytes))
		return 1;
	for (i = 0; i < holes_count && i < RP_DMA_SECTION_HOLES_MAX; i++)
		if (pages_of(whole, &holes[i], page_bytes, &first[found], &end[found]))
			found++;
	if (found == 2 && first[1] < first[0]) {
		uint64_t swap[2] = {first[0], end[0]};

		first[0] = first[1];
		end[0] = end[1];
		first[1] = swap[0];
		end[1] = swap[1];
	}
	for (i = 0; i < found; i++) {
		uint64_t from = first[i] > at ? first[i] : at;

		add_piece(whole, at, from, false, ret_pieces, &count);
		if (end[i] <= from)
			continue;
		add_piece(whole, from, end[i], true, ret_pieces, &count);
		at = end[i];
	}
	add_piece(whole, at, whole->size_bytes, false, ret_pieces, &count);
	return count;
}

int
rp_dma_section_memory(int fd, uint64_t offset_bytes, uint64_t size_bytes, uint64_t page_bytes, void **ret_memory)
{
	uint64_t own_bytes = (uint64_t)sysconf(_SC_PAGESIZE), file_bytes = rp_wire_fd_page_bytes(fd);
	uint64_t room_bytes, before_bytes, after_bytes, slack_bytes;
	uint8_t *room, *at;
	void *memory;
	int error;

	if (file_bytes > own_bytes) {
		/* What is mapped beyond the room would take the place of somebody else's. */
		if ((offset_bytes | size_bytes) % file_bytes != 0)
			return -EINVAL;
		if (page_bytes < file_bytes)
			page_bytes = file_bytes;
	}
	slack_bytes = page_bytes > own_bytes ? page_bytes - own_bytes : 0;
	if (size_bytes == 0 || offset_bytes > INT64_MAX || size_bytes > INT64_MAX - slack_bytes - own_bytes)
		return -EINVAL;
	/* Room for the pages that it ends in, and to move it to where one of the IOMMU's begins. */
	size_bytes = (size_bytes + own_bytes - 1) & ~(own_bytes - 1);
	room_bytes = size_bytes + slack_bytes;
	room = mmap(NULL, room_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (room == MAP_FAILED)
		return -errno;
	before_bytes = slack_bytes == 0 ? 0 : -(uintptr_t)room & (page_bytes - 1);
	after_bytes = slack_bytes - before_bytes;
	at = room + before_bytes;
	memory = mmap(at, size_bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, (off_t)offset_bytes);
	error = memory == MAP_FAILED ? -errno : 0;
	if (error != 0) {
		munmap(room, room_bytes);
		return error;
	}
	if (before_bytes > 0)
		munmap(room, before_bytes);
	if (after_bytes > 0)
		munmap(at + size_bytes, after_bytes);
	*ret_memory = memory;
	return 0;
}
