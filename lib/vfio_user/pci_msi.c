/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>

#include <linux/pci_regs.h>

#include "vfu_pci.h"

#define MSI_BYTES 24u /* 64-bit, with masks */

static int
add_vectors(struct rp_vfu_pci *pci, uint32_t count, struct rp_wire_why *why)
{
	struct rp_wire_why reason = {.error = 0};
	int rc = 0;

	if (count == 0 || count > VFU_PCI_MSI_VECTORS_MAX || (count & (count - 1)) != 0)
		rc = rp_wire_why_set(&reason, -EINVAL, "MSI: vectors_count: %u, expected a power of two up to %u",
				     count, VFU_PCI_MSI_VECTORS_MAX);
	else if (vfu_pci_vectors_init(&pci->irqs[RP_VFU_PCI_MSI_IRQ], count) < 0)
		rc = rp_wire_why_set(&reason, -ENOMEM, "MSI: no memory for %u vectors", count);
	return vfu_pci_describe(pci, rc, &reason, why);
}

int
rp_vfu_pci_add_msi(struct rp_vfu_pci *pci, uint32_t vectors_count, struct rp_wire_why *why)
{
	uint8_t bytes[MSI_BYTES] = {0}, writable[MSI_BYTES] = {0};
	const struct rp_vfu_pci_cap cap = {
		.id = PCI_CAP_ID_MSI, .size_bytes = sizeof(bytes), .bytes = bytes, .writable = writable};
	uint32_t log = 0;
	int rc;

	while (log < 5 && 1u << log < vectors_count)
		log++;
	vfu_pci_put(bytes + PCI_MSI_FLAGS, 2, PCI_MSI_FLAGS_64BIT | PCI_MSI_FLAGS_MASKBIT | log << 1);
	vfu_pci_put(writable + PCI_MSI_FLAGS, 2, PCI_MSI_FLAGS_ENABLE | PCI_MSI_FLAGS_QSIZE);
	vfu_pci_put(writable + PCI_MSI_ADDRESS_LO, 4, ~3u);
	vfu_pci_put(writable + PCI_MSI_ADDRESS_HI, 4, UINT32_MAX);
	vfu_pci_put(writable + PCI_MSI_DATA_64, 2, UINT16_MAX);
	vfu_pci_put(writable + PCI_MSI_MASK_64, 4, UINT32_MAX >> (32 - (1u << log)));
	rc = vfu_pci_add_once(pci, &cap, &pci->msi_at, why);
	return rc < 0 ? rc : add_vectors(pci, vectors_count, why);
}

void
vfu_pci_msi_update(struct rp_vfu_pci *pci)
{
	uint32_t i, masks;

	if (pci->msi_at == 0)
		return;
	masks = vfu_pci_get(pci->bytes + pci->msi_at + PCI_MSI_MASK_64, 4);
	for (i = 0; i < pci->irqs[RP_VFU_PCI_MSI_IRQ].count; i++)
		vfu_pci_vector_mask(pci, RP_VFU_PCI_MSI_IRQ, i, (masks >> i & 1) != 0);
}

void
vfu_pci_msi_pending(struct rp_vfu_pci *pci)
{
	uint32_t i, pending = 0;

	if (pci->msi_at == 0)
		return;
	for (i = 0; i < pci->irqs[RP_VFU_PCI_MSI_IRQ].count; i++)
		pending |= (uint32_t)vfu_pci_vector_is_pending(pci, RP_VFU_PCI_MSI_IRQ, i) << i;
	vfu_pci_put(pci->bytes + pci->msi_at + PCI_MSI_PENDING_64, 4, pending);
}
