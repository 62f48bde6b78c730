/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include <linux/pci_regs.h>

#include "vfu_pci.h"

/* PCI 3.0, 6.2.5.1. */
#define IO_MIN_BYTES 4u
#define IO_MAX_BYTES 256u
#define MEMORY_MIN_BYTES 16u
#define MEMORY_MAX_BYTES 0x80000000u
#define WIDE_MAX_BYTES (UINT64_C(1) << 63)

static int
check_size(const struct rp_vfu_pci_bar *bar, struct rp_wire_why *why)
{
	uint64_t size_bytes = bar->region.size_bytes;
	uint64_t min_bytes = bar->io ? IO_MIN_BYTES : MEMORY_MIN_BYTES;
	uint64_t max_bytes = bar->io ? IO_MAX_BYTES : bar->wide ? WIDE_MAX_BYTES : MEMORY_MAX_BYTES;

	if (size_bytes < min_bytes || size_bytes > max_bytes || (size_bytes & (size_bytes - 1)) != 0)
		return rp_wire_why_set(why, -EINVAL,
				       "size_bytes: 0x%" PRIx64 ", expected a power of two from 0x%" PRIx64
				       " to 0x%" PRIx64,
				       size_bytes, min_bytes, max_bytes);
	if (bar->io && (bar->wide || bar->prefetchable))
		return rp_wire_why_set(why, -EINVAL, "io: I/O space is neither 64-bit nor prefetchable");
	return 0;
}

static uint32_t
kind_bits(const struct rp_vfu_pci_bar *bar)
{
	if (bar->io)
		return PCI_BASE_ADDRESS_SPACE_IO;
	return (bar->wide ? PCI_BASE_ADDRESS_MEM_TYPE_64 : 0) | (bar->prefetchable ? PCI_BASE_ADDRESS_MEM_PREFETCH : 0);
}

static int
add_bar(struct rp_vfu_pci *pci, uint32_t index, const struct rp_vfu_pci_bar *bar, struct rp_wire_why *why)
{
	uint32_t at = PCI_BASE_ADDRESS_0 + 4 * index, registers = bar->wide ? 2 : 1;
	/* The bits that do not take a write are how a driver finds the size. */
	uint64_t writable = ~(bar->region.size_bytes - 1);
	int rc = vfu_pci_check_open(pci, why);

	if (rc < 0)
		return rc;
	if (index >= RP_VFU_PCI_BARS_COUNT || registers > RP_VFU_PCI_BARS_COUNT - index)
		return rp_wire_why_set(why, -EINVAL, "expected a number below %u",
				       RP_VFU_PCI_BARS_COUNT + 1 - registers);
	if (pci->bars[index].used || (bar->wide && pci->bars[index + 1].used))
		return rp_wire_why_set(why, -EEXIST, "its register is taken");
	rc = check_size(bar, why);
	if (rc < 0)
		return rc;
	pci->bars[index] = (struct vfu_pci_bar){.used = true, .bar = *bar};
	vfu_pci_config_put(pci, at, 4, kind_bits(bar), (uint32_t)writable);
	pci->writable[PCI_COMMAND] |= bar->io ? PCI_COMMAND_IO : PCI_COMMAND_MEMORY;
	if (bar->wide) {
		pci->bars[index + 1] = (struct vfu_pci_bar){.used = true, .upper = true};
		vfu_pci_config_put(pci, at + 4, 4, 0, (uint32_t)(writable >> 32));
	}
	return 0;
}

int
rp_vfu_pci_bar(struct rp_vfu_pci *pci, uint32_t index, const struct rp_vfu_pci_bar *bar, struct rp_wire_why *why)
{
	struct rp_wire_why reason = {.error = 0};
	int rc = add_bar(pci, index, bar, &reason);

	if (rc < 0)
		rp_wire_why_prefix(&reason, "BAR %u: ", index);
	return vfu_pci_describe(pci, rc, &reason, why);
}

bool
vfu_pci_bar_is_mappable(const struct rp_vfu_region *region, uint64_t offset_bytes, uint64_t size_bytes)
{
	uint32_t i;

	if (region->fd < 0)
		return false;
	if (region->areas == NULL)
		return true;
	for (i = 0; i < region->areas_count; i++) {
		const struct rp_vfu_area *area = &region->areas[i];

		if (offset_bytes < area->offset_bytes + area->size_bytes &&
		    area->offset_bytes < offset_bytes + size_bytes)
			return true;
	}
	return false;
}

static void *
ctx_of(const struct rp_vfu_pci *pci, const struct rp_vfu_region *region)
{
	return region->ctx != NULL ? region->ctx : pci->ctx;
}

static int
bar_read(void *ctx, uint32_t index, uint64_t at, uint32_t count_bytes, uint8_t *ret_bytes)
{
	struct rp_vfu_pci *pci = ctx;
	const struct rp_vfu_region *region = &pci->bars[index].bar.region;
	int rc = 0;

	while (count_bytes > 0 && rc == 0) {
		uint32_t count;
		enum vfu_pci_msix_part part = vfu_pci_msix_part(pci, index, at, count_bytes, &count);

		if (part != VFU_PCI_MSIX_NONE)
			vfu_pci_msix_read(pci, part, (uint32_t)at - vfu_pci_msix_begin(pci, part), count, ret_bytes);
		else if (region->read != NULL)
			rc = region->read(ctx_of(pci, region), index, at, count, ret_bytes);
		at += count;
		ret_bytes += count;
		count_bytes -= count;
	}
	return rc;
}

static int
bar_write(void *ctx, uint32_t index, uint64_t at, uint32_t count_bytes, const uint8_t *bytes)
{
	struct rp_vfu_pci *pci = ctx;
	const struct rp_vfu_region *region = &pci->bars[index].bar.region;
	int rc = 0;

	while (count_bytes > 0 && rc == 0) {
		uint32_t count;
		enum vfu_pci_msix_part part = vfu_pci_msix_part(pci, index, at, count_bytes, &count);

		if (part != VFU_PCI_MSIX_NONE)
			vfu_pci_msix_write(pci, part, (uint32_t)at - vfu_pci_msix_begin(pci, part), count, bytes);
		else if (region->write != NULL)
			rc = region->write(ctx_of(pci, region), index, at, count, bytes);
		at += count;
		bytes += count;
		count_bytes -= count;
	}
	return rc;
}

void
vfu_pci_bar_region(const struct rp_vfu_pci *pci, uint32_t index, struct rp_vfu_region *ret_region)
{
	const struct vfu_pci_bar *bar = &pci->bars[index];
	bool has_msix =
		pci->msix.cap_at != 0 && (pci->msix.config.table_bar == index || pci->msix.config.pending_bar == index);

	if (!bar->used || bar->upper)
		return;
	*ret_region = bar->bar.region;
	ret_region->ctx = NULL;
	if (has_msix) {
		ret_region->readable = true;
		ret_region->writable = true;
	}
	/* Without handlers messages reach its memory by the server's own hands. */
	if (has_msix || ret_region->read != NULL)
		ret_region->read = bar_read;
	if (has_msix || ret_region->write != NULL)
		ret_region->write = bar_write;
}
