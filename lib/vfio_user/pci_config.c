/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <string.h>

#include <linux/pci_regs.h>

#include "vfu_pci.h"

void
vfu_pci_config_put(struct rp_vfu_pci *pci, uint32_t at, uint32_t size_bytes, uint32_t value, uint32_t writable)
{
	vfu_pci_put(pci->bytes + at, size_bytes, value);
	vfu_pci_put(pci->writable + at, size_bytes, writable);
}

static bool
is_number(const struct rp_vfu_pci *pci, uint32_t offset_bytes, uint32_t size_bytes)
{
	return (size_bytes == 1 || size_bytes == 2 || size_bytes == 4) && offset_bytes < pci->size_bytes &&
	       size_bytes <= pci->size_bytes - offset_bytes;
}

uint32_t
rp_vfu_pci_get(const struct rp_vfu_pci *pci, uint32_t offset_bytes, uint32_t size_bytes)
{
	return is_number(pci, offset_bytes, size_bytes) ? vfu_pci_get(pci->bytes + offset_bytes, size_bytes) : 0;
}

int
rp_vfu_pci_set(struct rp_vfu_pci *pci, uint32_t offset_bytes, uint32_t size_bytes, uint32_t value)
{
	if (!is_number(pci, offset_bytes, size_bytes))
		return -EINVAL;
	vfu_pci_put(pci->bytes + offset_bytes, size_bytes, value);
	return 0;
}

bool
rp_vfu_pci_is_bus_master(const struct rp_vfu_pci *pci)
{
	bool awake = pci->power_at == 0 || (pci->bytes[pci->power_at + PCI_PM_CTRL] & PCI_PM_CTRL_STATE_MASK) == 0;

	return awake && (pci->bytes[PCI_COMMAND] & PCI_COMMAND_MASTER) != 0;
}

/* An access inside of one capability is its author's to see; a larger one reads and writes what is stored. */
static const struct vfu_pci_hook *
find_hook(const struct rp_vfu_pci *pci, uint64_t at, uint32_t count_bytes)
{
	uint32_t i;

	for (i = 0; i < pci->hooks_count; i++) {
		const struct vfu_pci_hook *hook = &pci->hooks[i];

		if (at >= hook->offset_bytes && at + count_bytes <= hook->offset_bytes + hook->size_bytes)
			return hook;
	}
	return NULL;
}

int
vfu_pci_config_read(void *ctx, uint32_t region, uint64_t at, uint32_t count_bytes, uint8_t *ret_bytes)
{
	struct rp_vfu_pci *pci = ctx;
	const struct vfu_pci_hook *hook = find_hook(pci, at, count_bytes);

	(void)region;
	vfu_pci_msi_pending(pci);
	memcpy(ret_bytes, pci->bytes + at, count_bytes);
	if (hook == NULL || hook->read == NULL)
		return 0;
	return hook->read(hook->ctx, (uint32_t)(at - hook->offset_bytes), count_bytes, ret_bytes);
}

/* Only the states that there are can be entered (PCI PM 1.2, 3.2.4). */
static void
settle_power(struct rp_vfu_pci *pci, const uint8_t *before)
{
	uint32_t at = pci->power_at + PCI_PM_CTRL;
	uint8_t state = pci->bytes[at] & PCI_PM_CTRL_STATE_MASK;

	if (pci->power_at != 0 && state != 0 && state != PCI_PM_CTRL_STATE_MASK)
		pci->bytes[at] =
			(uint8_t)((pci->bytes[at] & ~PCI_PM_CTRL_STATE_MASK) | (before[at] & PCI_PM_CTRL_STATE_MASK));
}

/* The bit reads as 0 (PCIe 3.0, 7.8.4). */
static bool
take_function_reset(struct rp_vfu_pci *pci)
{
	uint32_t at = pci->express_at + PCI_EXP_DEVCTL;
	uint32_t control;

	if (pci->express_at == 0)
		return false;
	control = vfu_pci_get(pci->bytes + at, 2);
	vfu_pci_put(pci->bytes + at, 2, control & ~(uint32_t)PCI_EXP_DEVCTL_BCR_FLR);
	return (control & PCI_EXP_DEVCTL_BCR_FLR) != 0;
}

static void
bring_about(struct rp_vfu_pci *pci, const uint8_t *before, bool was_master)
{
	settle_power(pci, before);
	if (take_function_reset(pci)) {
		/* What else was written with the bit is lost anyway, and was not acted on. */
		memcpy(pci->bytes, before, pci->size_bytes);
		/* Nobody is there to be told why it failed. */
		(void)vfu_pci_reset(pci, RP_VFU_PCI_RESET_FUNCTION);
		return;
	}
	if (rp_vfu_pci_is_bus_master(pci) != was_master && pci->ops.bus_master != NULL)
		pci->ops.bus_master(pci->ctx, !was_master);
	vfu_pci_intx_update(pci);
	vfu_pci_msi_update(pci);
	if (pci->msix.cap_at != 0 && memcmp(before + pci->msix.cap_at, pci->bytes + pci->msix.cap_at, 4) != 0)
		vfu_pci_msix_update(pci);
}

int
vfu_pci_config_write(void *ctx, uint32_t region, uint64_t at, uint32_t count_bytes, const uint8_t *bytes)
{
	struct rp_vfu_pci *pci = ctx;
	const struct vfu_pci_hook *hook = find_hook(pci, at, count_bytes);
	bool was_master = rp_vfu_pci_is_bus_master(pci);
	uint8_t before[VFU_PCIE_CONFIG_BYTES];
	uint32_t i;

	(void)region;
	memcpy(before, pci->bytes, pci->size_bytes);
	for (i = 0; i < count_bytes; i++) {
		uint8_t mask = pci->writable[at + i];

		pci->bytes[at + i] = (uint8_t)((pci->bytes[at + i] & ~mask) | (bytes[i] & mask));
	}
	bring_about(pci, before, was_master);
	if (hook == NULL || hook->write == NULL)
		return 0;
	return hook->write(hook->ctx, (uint32_t)(at - hook->offset_bytes), count_bytes, bytes);
}
