/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <linux/pci_regs.h>

#include "vfu_pci.h"

#define CAP_BYTES 12u
#define PLACE_MULTIPLE_BYTES 8u

static uint64_t
table_bytes(const struct rp_vfu_pci_msix *msix)
{
	return (uint64_t)msix->vectors_count * VFU_PCI_MSIX_ENTRY_BYTES;
}

/* A bit for each vector, in quad words. */
static uint64_t
pending_bytes(const struct rp_vfu_pci_msix *msix)
{
	return (msix->vectors_count + UINT64_C(63)) / 64 * 8;
}

static int
check_place(const struct rp_vfu_pci *pci, uint32_t bar, uint32_t offset_bytes, uint64_t size_bytes, const char *name,
	    struct rp_wire_why *why)
{
	const struct rp_vfu_region *region;

	if (bar >= RP_VFU_PCI_BARS_COUNT || !pci->bars[bar].used || pci->bars[bar].upper || pci->bars[bar].bar.io)
		return rp_wire_why_set(why, -EINVAL, "%s: BAR %u is no memory BAR that was described", name, bar);
	region = &pci->bars[bar].bar.region;
	if (offset_bytes % PLACE_MULTIPLE_BYTES != 0)
		return rp_wire_why_set(why, -EINVAL, "%s: offset 0x%x, expected a multiple of %u", name, offset_bytes,
				       PLACE_MULTIPLE_BYTES);
	if (offset_bytes > region->size_bytes || size_bytes > region->size_bytes - offset_bytes)
		return rp_wire_why_set(why, -EINVAL, "%s: %u bytes at 0x%x leave BAR %u", name, (uint32_t)size_bytes,
				       offset_bytes, bar);
	if (vfu_pci_bar_is_mappable(region, offset_bytes, size_bytes))
		return rp_wire_why_set(why, -EINVAL, "%s: lies in memory of BAR %u that can be mmapped", name, bar);
	/* Messages would have to reach that memory past the library. */
	if (region->fd >= 0 && (region->read == NULL || region->write == NULL))
		return rp_wire_why_set(why, -EINVAL, "%s: BAR %u has memory and no handlers", name, bar);
	return 0;
}

static int
check_msix(const struct rp_vfu_pci *pci, const struct rp_vfu_pci_msix *msix, struct rp_wire_why *why)
{
	int rc;

	if (msix->vectors_count == 0 || msix->vectors_count > RP_VFU_IRQ_VECTORS_MAX)
		return rp_wire_why_set(why, -EINVAL, "vectors_count: %u, expected 1 to %u", msix->vectors_count,
				       RP_VFU_IRQ_VECTORS_MAX);
	rc = check_place(pci, msix->table_bar, msix->table_offset_bytes, table_bytes(msix), "table", why);
	if (rc == 0)
		rc = check_place(pci, msix->pending_bar, msix->pending_offset_bytes, pending_bytes(msix),
				 "pending bits", why);
	if (rc < 0)
		return rc;
	if (msix->table_bar == msix->pending_bar &&
	    msix->table_offset_bytes < msix->pending_offset_bytes + pending_bytes(msix) &&
	    msix->pending_offset_bytes < msix->table_offset_bytes + table_bytes(msix))
		return rp_wire_why_set(why, -EINVAL, "table and pending bits overlap");
	return 0;
}

static int
add_cap(struct rp_vfu_pci *pci, const struct rp_vfu_pci_msix *msix, struct rp_wire_why *why)
{
	uint8_t bytes[CAP_BYTES] = {0}, writable[CAP_BYTES] = {0};
	const struct rp_vfu_pci_cap cap = {
		.id = PCI_CAP_ID_MSIX, .size_bytes = sizeof(bytes), .bytes = bytes, .writable = writable};

	vfu_pci_put(bytes + PCI_MSIX_FLAGS, 2, msix->vectors_count - 1);
	vfu_pci_put(writable + PCI_MSIX_FLAGS, 2, PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL);
	vfu_pci_put(bytes + PCI_MSIX_TABLE, 4, msix->table_offset_bytes | msix->table_bar);
	vfu_pci_put(bytes + PCI_MSIX_PBA, 4, msix->pending_offset_bytes | msix->pending_bar);
	return vfu_pci_add_once(pci, &cap, &pci->msix.cap_at, why);
}

static int
make_table(struct rp_vfu_pci *pci, const struct rp_vfu_pci_msix *msix)
{
	pci->msix.config = *msix;
	pci->msix.table = calloc(msix->vectors_count, VFU_PCI_MSIX_ENTRY_BYTES);
	pci->msix.owned = calloc(msix->vectors_count, sizeof(*pci->msix.owned));
	if (pci->msix.table == NULL || pci->msix.owned == NULL)
		return -ENOMEM;
	vfu_pci_msix_reset(pci);
	return vfu_pci_vectors_init(&pci->irqs[RP_VFU_PCI_MSIX_IRQ], msix->vectors_count);
}

int
rp_vfu_pci_add_msix(struct rp_vfu_pci *pci, const struct rp_vfu_pci_msix *msix, struct rp_wire_why *why)
{
	struct rp_wire_why reason = {.error = 0};
	int rc = check_msix(pci, msix, &reason);

	if (rc == 0)
		rc = add_cap(pci, msix, &reason);
	if (rc == 0 && make_table(pci, msix) < 0)
		rc = rp_wire_why_set(&reason, -ENOMEM, "no memory for %u vectors", msix->vectors_count);
	if (rc < 0)
		rp_wire_why_prefix(&reason, "MSI-X: ");
	return vfu_pci_describe(pci, rc, &reason, why);
}

void
vfu_pci_msix_fini(struct rp_vfu_pci *pci)
{
	free(pci->msix.table);
	free(pci->msix.owned);
}

/* 6.8.2.9: a vector is masked until somebody sets it up. */
void
vfu_pci_msix_reset(struct rp_vfu_pci *pci)
{
	struct vfu_pci_msix *msix = &pci->msix;
	uint32_t i;

	if (msix->cap_at == 0)
		return;
	memset(msix->table, 0, table_bytes(&msix->config));
	for (i = 0; i < msix->config.vectors_count; i++) {
		msix->table[i * VFU_PCI_MSIX_ENTRY_BYTES + PCI_MSIX_ENTRY_VECTOR_CTRL] = PCI_MSIX_ENTRY_CTRL_MASKBIT;
		msix->owned[i] = false;
	}
}

static bool
is_masked(const struct rp_vfu_pci *pci, uint32_t number)
{
	const uint8_t *entry = pci->msix.table + number * VFU_PCI_MSIX_ENTRY_BYTES;
	uint32_t control = vfu_pci_get(pci->bytes + pci->msix.cap_at + PCI_MSIX_FLAGS, 2);

	if ((control & PCI_MSIX_FLAGS_ENABLE) != 0 && (control & PCI_MSIX_FLAGS_MASKALL) != 0)
		return true;
	return pci->msix.owned[number] && (entry[PCI_MSIX_ENTRY_VECTOR_CTRL] & PCI_MSIX_ENTRY_CTRL_MASKBIT) != 0;
}

void
vfu_pci_msix_update(struct rp_vfu_pci *pci)
{
	uint32_t i;

	for (i = 0; i < pci->irqs[RP_VFU_PCI_MSIX_IRQ].count; i++)
		vfu_pci_vector_mask(pci, RP_VFU_PCI_MSIX_IRQ, i, is_masked(pci, i));
}

uint32_t
vfu_pci_msix_begin(const struct rp_vfu_pci *pci, enum vfu_pci_msix_part part)
{
	return part == VFU_PCI_MSIX_TABLE ? pci->msix.config.table_offset_bytes : pci->msix.config.pending_offset_bytes;
}

enum vfu_pci_msix_part
vfu_pci_msix_part(const struct rp_vfu_pci *pci, uint32_t bar, uint64_t at, uint32_t count_bytes,
		  uint32_t *ret_count_bytes)
{
	const struct rp_vfu_pci_msix *config = &pci->msix.config;
	const struct {
		enum vfu_pci_msix_part part;
		uint32_t bar;
		uint64_t size_bytes;
	} parts[] = {
		{VFU_PCI_MSIX_TABLE, config->table_bar, table_bytes(config)},
		{VFU_PCI_MSIX_PENDING, config->pending_bar, pending_bytes(config)},
	};
	uint64_t end = at + count_bytes;
	uint32_t i;

	*ret_count_bytes = count_bytes;
	if (pci->msix.cap_at == 0)
		return VFU_PCI_MSIX_NONE;
	for (i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
		uint64_t begin = vfu_pci_msix_begin(pci, parts[i].part), limit = begin + parts[i].size_bytes;

		if (parts[i].bar != bar || at >= limit)
			continue;
		if (at >= begin) {
			*ret_count_bytes = (uint32_t)((limit < at + count_bytes ? limit : at + count_bytes) - at);
			return parts[i].part;
		}
		end = begin < end ? begin : end;
	}
	*ret_count_bytes = (uint32_t)(end - at);
	return VFU_PCI_MSIX_NONE;
}

static uint8_t
pending_byte(const struct rp_vfu_pci *pci, uint32_t at)
{
	uint32_t bit, count = pci->msix.config.vectors_count;
	uint8_t byte = 0;

	for (bit = 0; bit < 8 && at * 8 + bit < count; bit++)
		if (vfu_pci_vector_is_pending(pci, RP_VFU_PCI_MSIX_IRQ, at * 8 + bit))
			byte |= (uint8_t)(1u << bit);
	return byte;
}

void
vfu_pci_msix_read(struct rp_vfu_pci *pci, enum vfu_pci_msix_part part, uint32_t at, uint32_t count_bytes,
		  uint8_t *ret_bytes)
{
	uint32_t i;

	if (part == VFU_PCI_MSIX_TABLE)
		memcpy(ret_bytes, pci->msix.table + at, count_bytes);
	for (i = 0; part == VFU_PCI_MSIX_PENDING && i < count_bytes; i++)
		ret_bytes[i] = pending_byte(pci, at + i);
}

void
vfu_pci_msix_write(struct rp_vfu_pci *pci, enum vfu_pci_msix_part part, uint32_t at, uint32_t count_bytes,
		   const uint8_t *bytes)
{
	struct vfu_pci_msix *msix = &pci->msix;
	uint32_t i, number;

	/* The pending bits are read-only. */
	if (part != VFU_PCI_MSIX_TABLE)
		return;
	for (i = 0; i < count_bytes; i++) {
		uint32_t in_entry = (at + i) % VFU_PCI_MSIX_ENTRY_BYTES;

		if (in_entry < PCI_MSIX_ENTRY_VECTOR_CTRL)
			msix->table[at + i] = bytes[i];
		else if (in_entry == PCI_MSIX_ENTRY_VECTOR_CTRL)
			msix->table[at + i] = bytes[i] & PCI_MSIX_ENTRY_CTRL_MASKBIT;
		if (in_entry == PCI_MSIX_ENTRY_VECTOR_CTRL)
			msix->owned[(at + i) / VFU_PCI_MSIX_ENTRY_BYTES] = true;
	}
	for (number = at / VFU_PCI_MSIX_ENTRY_BYTES; number <= (at + count_bytes - 1) / VFU_PCI_MSIX_ENTRY_BYTES;
	     number++)
		vfu_pci_vector_mask(pci, RP_VFU_PCI_MSIX_IRQ, number, is_masked(pci, number));
}
