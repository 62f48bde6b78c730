/* SPDX-License-Identifier: BSD-3-Clause */
#include <inttypes.h>

#include <linux/pci_regs.h>

#include "vfu_pci.h"

static const char *
cap_name(uint32_t id)
{
	switch (id) {
	case PCI_CAP_ID_PM:
		return "power management";
	case PCI_CAP_ID_MSI:
		return "MSI";
	case PCI_CAP_ID_VNDR:
		return "vendor specific";
	case PCI_CAP_ID_EXP:
		return "PCI Express";
	case PCI_CAP_ID_MSIX:
		return "MSI-X";
	default:
		return "other";
	}
}

static void
list_bars(const struct rp_vfu_pci *pci, FILE *file)
{
	uint32_t i;

	for (i = 0; i < RP_VFU_PCI_BARS_COUNT; i++) {
		const struct rp_vfu_pci_bar *bar = &pci->bars[i].bar;

		if (!pci->bars[i].used || pci->bars[i].upper)
			continue;
		fprintf(file, "  BAR %u: 0x%" PRIx64 " bytes of %s%s%s, address 0x%08x%s", i, bar->region.size_bytes,
			bar->io ? "I/O" : "memory", bar->wide ? ", 64-bit" : "",
			bar->prefetchable ? ", prefetchable" : "",
			bar->wide ? rp_vfu_pci_get(pci, PCI_BASE_ADDRESS_0 + 4 * (i + 1), 4) :
				    rp_vfu_pci_get(pci, PCI_BASE_ADDRESS_0 + 4 * i, 4),
			bar->wide ? "" : "\n");
		if (bar->wide)
			fprintf(file, "%08x\n", rp_vfu_pci_get(pci, PCI_BASE_ADDRESS_0 + 4 * i, 4));
	}
}

static void
list_caps(const struct rp_vfu_pci *pci, FILE *file)
{
	uint32_t at;

	/* Both lists are our own and end: each was linked behind the one before it. */
	for (at = rp_vfu_pci_get(pci, PCI_CAPABILITY_LIST, 1); at != 0;
	     at = rp_vfu_pci_get(pci, at + PCI_CAP_LIST_NEXT, 1)) {
		uint32_t id = rp_vfu_pci_get(pci, at, 1);

		fprintf(file, "  0x%02x: capability 0x%02x, %s\n", at, id, cap_name(id));
	}
	for (at = pci->last_extended_at != 0 ? VFU_PCI_CONFIG_BYTES : 0; at != 0; at = rp_vfu_pci_get(pci, at, 4) >> 20)
		fprintf(file, "  0x%03x: extended capability 0x%04x, version %u\n", at, rp_vfu_pci_get(pci, at, 2),
			rp_vfu_pci_get(pci, at + 2, 1) & 0xf);
}

static void
list_vectors(const struct rp_vfu_pci *pci, FILE *file)
{
	static const char *const names[RP_VFU_PCI_IRQS_COUNT] = {
		[RP_VFU_PCI_MSI_IRQ] = "MSI", [RP_VFU_PCI_MSIX_IRQ] = "MSI-X"};
	uint32_t index, i;

	for (index = 0; index < RP_VFU_PCI_IRQS_COUNT; index++) {
		uint32_t attached = 0, masked = 0, pending = 0;

		if (pci->irqs[index].count == 0)
			continue;
		for (i = 0; i < pci->irqs[index].count; i++) {
			attached += pci->irqs[index].vectors[i].client_fd >= 0;
			masked += pci->irqs[index].vectors[i].masked;
			pending += vfu_pci_vector_is_pending(pci, index, i);
		}
		fprintf(file, "  %s: %u vectors, %u attached, %u masked by the guest, %u pending\n", names[index],
			pci->irqs[index].count, attached, masked, pending);
	}
}

void
rp_vfu_pci_list(const struct rp_vfu_pci *pci, FILE *file)
{
	fprintf(file, "%04x:%04x class %06x revision %02x, subsystem %04x:%04x, %u bytes, bus mastering %s\n",
		rp_vfu_pci_get(pci, PCI_VENDOR_ID, 2), rp_vfu_pci_get(pci, PCI_DEVICE_ID, 2),
		rp_vfu_pci_get(pci, PCI_CLASS_REVISION, 4) >> 8, rp_vfu_pci_get(pci, PCI_CLASS_REVISION, 1),
		rp_vfu_pci_get(pci, PCI_SUBSYSTEM_VENDOR_ID, 2), rp_vfu_pci_get(pci, PCI_SUBSYSTEM_ID, 2),
		pci->size_bytes, rp_vfu_pci_is_bus_master(pci) ? "on" : "off");
	list_bars(pci, file);
	if (pci->intx)
		fprintf(file, "  INTA: %s\n", pci->intx_asserted ? "asserted" : "not asserted");
	list_caps(pci, file);
	list_vectors(pci, file);
}
