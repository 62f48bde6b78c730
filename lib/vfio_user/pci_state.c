/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <string.h>

#include <linux/pci_regs.h>

#include "vfu_pci.h"

/*
 * What a guest has made of a function, for a device's stream of migration. All
 * numbers little-endian:
 *
 *   magic, bytes of configuration space, vectors of MSI, vectors of MSI-X   4 each
 *   configuration space
 *   the MSI-X table                                                        16 a vector
 *   of each vector of MSI-X, then of MSI: flags                             1 each
 */

#define MAGIC 0x50505052u /* "RPPP" */
#define HEADER_BYTES 16u
#define OWNED 0x1u /* the client wrote its control word */
#define PENDING 0x2u

static const uint32_t vector_irqs[] = {RP_VFU_PCI_MSIX_IRQ, RP_VFU_PCI_MSI_IRQ};
#define VECTOR_IRQS_COUNT (sizeof(vector_irqs) / sizeof(vector_irqs[0]))

static uint32_t
table_bytes(const struct rp_vfu_pci *pci)
{
	return pci->irqs[RP_VFU_PCI_MSIX_IRQ].count * VFU_PCI_MSIX_ENTRY_BYTES;
}

uint32_t
rp_vfu_pci_state_bytes(const struct rp_vfu_pci *pci)
{
	return HEADER_BYTES + pci->size_bytes + table_bytes(pci) + pci->irqs[RP_VFU_PCI_MSIX_IRQ].count +
	       pci->irqs[RP_VFU_PCI_MSI_IRQ].count;
}

static void
put_header(const struct rp_vfu_pci *pci, uint8_t *ret_header)
{
	vfu_pci_put(ret_header, 4, MAGIC);
	vfu_pci_put(ret_header + 4, 4, pci->size_bytes);
	vfu_pci_put(ret_header + 8, 4, pci->irqs[RP_VFU_PCI_MSI_IRQ].count);
	vfu_pci_put(ret_header + 12, 4, pci->irqs[RP_VFU_PCI_MSIX_IRQ].count);
}

void
rp_vfu_pci_save(const struct rp_vfu_pci *pci, uint8_t *ret_bytes)
{
	uint8_t *at = ret_bytes + HEADER_BYTES;
	uint32_t i, number;

	put_header(pci, ret_bytes);
	memcpy(at, pci->bytes, pci->size_bytes);
	at += pci->size_bytes;
	if (table_bytes(pci) > 0)
		memcpy(at, pci->msix.table, table_bytes(pci));
	at += table_bytes(pci);
	for (i = 0; i < VECTOR_IRQS_COUNT; i++) {
		for (number = 0; number < pci->irqs[vector_irqs[i]].count; number++) {
			uint8_t flags = vfu_pci_vector_is_pending(pci, vector_irqs[i], number) ? PENDING : 0;

			if (vector_irqs[i] == RP_VFU_PCI_MSIX_IRQ && pci->msix.owned[number])
				flags |= OWNED;
			*at++ = flags;
		}
	}
}

/* What the library changes by itself, and a guest cannot. */
static uint8_t
live_mask(const struct rp_vfu_pci *pci, uint32_t at)
{
	if (at == PCI_STATUS)
		return PCI_STATUS_INTERRUPT;
	if (pci->msi_at != 0 && at - (pci->msi_at + PCI_MSI_PENDING_64) < 4)
		return 0xff;
	return 0;
}

static int
check_state(const struct rp_vfu_pci *pci, const uint8_t *bytes, uint32_t count_bytes, struct rp_wire_why *why)
{
	const uint8_t *space = bytes + HEADER_BYTES;
	uint8_t header[HEADER_BYTES];
	uint32_t i;

	if (count_bytes != rp_vfu_pci_state_bytes(pci))
		return rp_wire_why_set(why, -EMSGSIZE, "PCI state: %u bytes, expected %u", count_bytes,
				       rp_vfu_pci_state_bytes(pci));
	put_header(pci, header);
	if (memcmp(bytes, header, sizeof(header)) != 0)
		return rp_wire_why_set(why, -EBADMSG, "PCI state: header: of another function or format");
	for (i = 0; i < pci->size_bytes; i++) {
		uint8_t fixed = (uint8_t) ~(pci->writable[i] | live_mask(pci, i));

		if ((space[i] & fixed) != (pci->initial[i] & fixed))
			return rp_wire_why_set(why, -EBADMSG,
					       "PCI state: configuration space at 0x%x: 0x%02x, expected 0x%02x: "
					       "another device",
					       i, space[i], pci->initial[i]);
	}
	return 0;
}

static void
load_vectors(struct rp_vfu_pci *pci, const uint8_t *table, const uint8_t *flags)
{
	uint32_t i, number;

	for (number = 0; number < pci->irqs[RP_VFU_PCI_MSIX_IRQ].count; number++) {
		vfu_pci_msix_write(pci, VFU_PCI_MSIX_TABLE, number * VFU_PCI_MSIX_ENTRY_BYTES, VFU_PCI_MSIX_ENTRY_BYTES,
				   table + number * VFU_PCI_MSIX_ENTRY_BYTES);
		pci->msix.owned[number] = (flags[number] & OWNED) != 0;
	}
	vfu_pci_msix_update(pci);
	for (i = 0; i < VECTOR_IRQS_COUNT; i++) {
		for (number = 0; number < pci->irqs[vector_irqs[i]].count; number++)
			if ((*flags++ & PENDING) != 0)
				vfu_pci_vector_pend(pci, vector_irqs[i], number);
	}
}

int
rp_vfu_pci_load(struct rp_vfu_pci *pci, const uint8_t *bytes, uint32_t count_bytes, struct rp_wire_why *why)
{
	const uint8_t *space = bytes + HEADER_BYTES;
	uint8_t written[VFU_PCIE_CONFIG_BYTES];
	int rc;

	if (pci->server == NULL)
		return rp_wire_why_set(why, -EINVAL, "PCI state: the function does not listen yet");
	rc = check_state(pci, bytes, count_bytes, why);
	if (rc < 0)
		return rc;
	memcpy(written, space, pci->size_bytes);
	/* A stream says what is, and asks for nothing. */
	if (pci->express_at != 0)
		written[pci->express_at + PCI_EXP_DEVCTL + 1] &= (uint8_t) ~(PCI_EXP_DEVCTL_BCR_FLR >> 8);
	vfu_pci_config_write(pci, RP_VFU_PCI_CONFIG_REGION, 0, pci->size_bytes, written);
	load_vectors(pci, space + pci->size_bytes, space + pci->size_bytes + table_bytes(pci));
	return 0;
}
