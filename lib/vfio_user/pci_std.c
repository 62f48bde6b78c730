/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>

#include <linux/pci_regs.h>

#include "vfu_pci.h"

#define EXPRESS_BYTES 60u /* PCIe 3.0, 7.8: version 2, without a slot */
#define EXPRESS_VERSION 2u
#define LINK_SPEED_2_5GT 1u
#define LINK_WIDTH_1 (1u << 4)
#define POWER_VERSION 3u

/* Default values of 7.8.4: relaxed ordering, no snoop, reads of 512 bytes. */
#define CONTROL_DEFAULT (PCI_EXP_DEVCTL_RELAX_EN | PCI_EXP_DEVCTL_NOSNOOP_EN | PCI_EXP_DEVCTL_READRQ_512B)
#define CONTROL_WRITABLE                                                                                               \
	(PCI_EXP_DEVCTL_CERE | PCI_EXP_DEVCTL_NFERE | PCI_EXP_DEVCTL_FERE | PCI_EXP_DEVCTL_URRE |                      \
	 PCI_EXP_DEVCTL_RELAX_EN | PCI_EXP_DEVCTL_PAYLOAD | PCI_EXP_DEVCTL_NOSNOOP_EN | PCI_EXP_DEVCTL_READRQ)
#define LINK_WRITABLE (PCI_EXP_LNKCTL_ASPMC | PCI_EXP_LNKCTL_RCB | PCI_EXP_LNKCTL_CCC | PCI_EXP_LNKCTL_ES)

int
rp_vfu_pci_add_express(struct rp_vfu_pci *pci, struct rp_wire_why *why)
{
	bool has_reset = pci->ops.reset != NULL;
	uint8_t bytes[EXPRESS_BYTES] = {0}, writable[EXPRESS_BYTES] = {0};
	const struct rp_vfu_pci_cap cap = {
		.id = PCI_CAP_ID_EXP, .size_bytes = sizeof(bytes), .bytes = bytes, .writable = writable};
	struct rp_wire_why reason = {.error = 0};

	if (pci->size_bytes < VFU_PCIE_CONFIG_BYTES)
		return vfu_pci_describe(pci,
					rp_wire_why_set(&reason, -EINVAL,
							"PCI Express: configuration space has %u bytes (express is "
							"false)",
							pci->size_bytes),
					&reason, why);
	vfu_pci_put(bytes + PCI_EXP_FLAGS, 2, EXPRESS_VERSION | PCI_EXP_TYPE_ENDPOINT << 4);
	vfu_pci_put(bytes + PCI_EXP_DEVCAP, 4, PCI_EXP_DEVCAP_RBER | (has_reset ? PCI_EXP_DEVCAP_FLR : 0));
	vfu_pci_put(bytes + PCI_EXP_DEVCTL, 2, CONTROL_DEFAULT);
	vfu_pci_put(writable + PCI_EXP_DEVCTL, 2, CONTROL_WRITABLE | (has_reset ? PCI_EXP_DEVCTL_BCR_FLR : 0));
	vfu_pci_put(bytes + PCI_EXP_LNKCAP, 4, LINK_SPEED_2_5GT | LINK_WIDTH_1);
	vfu_pci_put(writable + PCI_EXP_LNKCTL, 2, LINK_WRITABLE);
	vfu_pci_put(bytes + PCI_EXP_LNKSTA, 2, LINK_SPEED_2_5GT | LINK_WIDTH_1);
	vfu_pci_put(bytes + PCI_EXP_LNKCAP2, 4, PCI_EXP_LNKCAP2_SLS_2_5GB);
	vfu_pci_put(bytes + PCI_EXP_LNKCTL2, 2, LINK_SPEED_2_5GT);
	return vfu_pci_add_once(pci, &cap, &pci->express_at, why);
}

int
rp_vfu_pci_add_power(struct rp_vfu_pci *pci, struct rp_wire_why *why)
{
	uint8_t bytes[PCI_PM_SIZEOF] = {0}, writable[PCI_PM_SIZEOF] = {0};
	const struct rp_vfu_pci_cap cap = {
		.id = PCI_CAP_ID_PM, .size_bytes = sizeof(bytes), .bytes = bytes, .writable = writable};

	vfu_pci_put(bytes + PCI_PM_PMC, 2, POWER_VERSION);
	vfu_pci_put(bytes + PCI_PM_CTRL, 2, PCI_PM_CTRL_NO_SOFT_RESET);
	vfu_pci_put(writable + PCI_PM_CTRL, 2, PCI_PM_CTRL_STATE_MASK);
	return vfu_pci_add_once(pci, &cap, &pci->power_at, why);
}
