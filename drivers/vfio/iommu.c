/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <inttypes.h>
#include <linux/vfio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "kvfio.h"

static uint64_t
span(const struct rp_dma_iova_range *range)
{
	return range->last - range->first;
}

/* Of more ranges than we have room for, the largest stay: what is kept is allowed for sure. */
static void
keep(struct kvfio_iommu *iommu, const struct rp_dma_iova_range *range)
{
	unsigned int i, smallest = 0;

	if (iommu->ranges_count == RP_DMA_IOVA_RANGES_MAX) {
		for (i = 1; i < RP_DMA_IOVA_RANGES_MAX; i++)
			if (span(&iommu->ranges[i]) < span(&iommu->ranges[smallest]))
				smallest = i;
		if (span(range) <= span(&iommu->ranges[smallest]))
			return;
		memmove(&iommu->ranges[smallest], &iommu->ranges[smallest + 1],
			(RP_DMA_IOVA_RANGES_MAX - 1 - smallest) * sizeof(iommu->ranges[0]));
		iommu->ranges_count--;
	}
	iommu->ranges[iommu->ranges_count++] = *range;
}

static int
read_ranges(const struct kvfio_capability *capability, struct kvfio_iommu *iommu, struct rp_wire_why *why)
{
	struct vfio_iommu_type1_info_cap_iova_range fixed;
	uint64_t floor = 0;
	uint32_t i;

	if (capability->size_bytes < sizeof(fixed))
		return rp_wire_why_set(why, -EBADMSG, "VFIO: IOVA ranges: %zu bytes, expected at least %zu",
				       capability->size_bytes, sizeof(fixed));
	memcpy(&fixed, capability->bytes, sizeof(fixed));
	if (fixed.nr_iovas == 0 ||
	    fixed.nr_iovas > (capability->size_bytes - sizeof(fixed)) / sizeof(struct vfio_iova_range))
		return rp_wire_why_set(why, -EBADMSG, "VFIO: IOVA ranges: nr_iovas: %u, expected 1 to %zu",
				       fixed.nr_iovas,
				       (capability->size_bytes - sizeof(fixed)) / sizeof(struct vfio_iova_range));
	for (i = 0; i < fixed.nr_iovas; i++) {
		struct vfio_iova_range one;

		memcpy(&one, capability->bytes + sizeof(fixed) + i * sizeof(one), sizeof(one));
		if (one.start > one.end || one.start < floor || (i > 0 && floor == 0))
			return rp_wire_why_set(why, -EBADMSG,
					       "VFIO: IOVA range %u: 0x%" PRIx64 " to 0x%" PRIx64
					       ", expected from 0x%" PRIx64 " on, in order",
					       i, (uint64_t)one.start, (uint64_t)one.end, floor);
		keep(iommu, &(struct rp_dma_iova_range){one.start, one.end});
		floor = one.end + 1;
	}
	return 0;
}

static int
read_capabilities(const struct kvfio_info *info, uint32_t first_bytes, struct kvfio_iommu *iommu,
		  struct rp_wire_why *why)
{
	struct vfio_iommu_type1_info_dma_avail avail;
	struct kvfio_capability capability;
	int rc;

	rc = kvfio_info_capability(info, sizeof(struct vfio_iommu_type1_info), first_bytes,
				   VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE, &capability, why);
	if (rc == 1)
		rc = read_ranges(&capability, iommu, why);
	if (rc < 0)
		return rc;
	rc = kvfio_info_capability(info, sizeof(struct vfio_iommu_type1_info), first_bytes,
				   VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL, &capability, why);
	if (rc == 1 && capability.size_bytes >= sizeof(avail)) {
		memcpy(&avail, capability.bytes, sizeof(avail));
		iommu->has_available = true;
		iommu->available = avail.avail;
	}
	return rc < 0 ? rc : 0;
}

/* The smallest page that the IOMMU and this machine both have. */
static int
read_page(const struct vfio_iommu_type1_info *fixed, struct kvfio_iommu *iommu, struct rp_wire_why *why)
{
	uint64_t own_bytes = (uint64_t)sysconf(_SC_PAGESIZE), sizes = fixed->iova_pgsizes;

	iommu->page_bytes = own_bytes;
	if ((fixed->flags & VFIO_IOMMU_INFO_PGSIZES) == 0)
		return 0;
	if (sizes == 0)
		return rp_wire_why_set(why, -EBADMSG, "VFIO: IOMMU page sizes: 0x0, expected at least one");
	if ((sizes & -sizes) > own_bytes)
		iommu->page_bytes = sizes & -sizes;
	return 0;
}

int
kvfio_iommu_read(const struct kvfio_kernel *kernel, int container_fd, struct kvfio_iommu *ret_iommu,
		 struct rp_wire_why *why)
{
	struct vfio_iommu_type1_info fixed = {0};
	struct kvfio_iommu iommu = {0};
	struct kvfio_info info;
	int rc = kvfio_info_ask(kernel, container_fd, VFIO_IOMMU_GET_INFO, &fixed, sizeof(fixed), &info, why);

	if (rc < 0)
		return rc;
	memcpy(&fixed, info.bytes, sizeof(fixed));
	rc = read_page(&fixed, &iommu, why);
	if (rc == 0 && (fixed.flags & VFIO_IOMMU_INFO_CAPS) != 0)
		rc = read_capabilities(&info, fixed.cap_offset, &iommu, why);
	free(info.bytes);
	if (rc == 0)
		*ret_iommu = iommu;
	return rc;
}
