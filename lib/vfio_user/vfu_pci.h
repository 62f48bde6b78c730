/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFU_PCI_H
#define VFU_PCI_H

#include <stdbool.h>
#include <stdint.h>

#include "rp_vfu_pci.h"

/*
 * What the parts of a PCI function share:
 *
 *   pci.c         life, and what the server calls
 *   pci_config.c  configuration space: accesses, and what a write brings about
 *   pci_bar.c     BARs: registers, and who answers for which part of a region
 *   pci_caps.c    the two lists of capabilities
 *   pci_std.c     PCI Express, power management
 *   pci_irq.c     vectors and their masks, INTx
 *   pci_msi.c     MSI
 *   pci_msix.c    MSI-X
 *   pci_list.c    the listing
 *   pci_state.c   what a guest has made of it, for migration
 *
 * What a write brings about is found by comparing configuration space before and
 * after it, so that width and alignment of the access do not matter.
 */

#define VFU_PCI_CONFIG_BYTES 256u
#define VFU_PCIE_CONFIG_BYTES 4096u
#define VFU_PCI_HEADER_BYTES 64u
#define VFU_PCI_MSI_VECTORS_MAX 32u
#define VFU_PCI_HOOKS_MAX 32u
#define VFU_PCI_MSIX_ENTRY_BYTES 16u

/* A capability that is more than bytes. */
struct vfu_pci_hook {
	uint32_t offset_bytes;
	uint32_t size_bytes;
	int (*read)(void *ctx, uint32_t at, uint32_t count_bytes, uint8_t *ret_bytes);
	int (*write)(void *ctx, uint32_t at, uint32_t count_bytes, const uint8_t *bytes);
	void *ctx;
};

struct vfu_pci_bar {
	bool used; /* as a BAR, or as the upper half of one */
	bool upper;
	struct rp_vfu_pci_bar bar;
};

/*
 * A vector: what the server says to signal, unless the guest masks it; then what
 * is signalled stays in parked_fd.
 */
struct vfu_pci_vector {
	int client_fd; /* borrowed from the server, -1: none */
	int parked_fd; /* owned; -1 unless it is masked and somebody listens or signals, or it still is pending */
	bool masked;
};

struct vfu_pci_vectors {
	uint32_t count;
	struct vfu_pci_vector *vectors;
};

struct vfu_pci_msix {
	uint32_t cap_at; /* in configuration space; 0: no MSI-X */
	struct rp_vfu_pci_msix config;
	uint8_t *table;
	bool *owned; /* by vector: a client wrote its control word */
};

struct rp_vfu_pci {
	struct rp_vfu_server *server; /* NULL while it is described */
	struct rp_vfu_pci_ops ops;
	void *ctx;
	struct rp_vfu_server_config server_config; /* what was given */
	struct rp_wire_why failed; /* the first call that did; error 0: none */

	uint32_t size_bytes; /* of configuration space */
	uint8_t bytes[VFU_PCIE_CONFIG_BYTES];
	uint8_t initial[VFU_PCIE_CONFIG_BYTES];
	uint8_t writable[VFU_PCIE_CONFIG_BYTES];
	uint8_t taken[VFU_PCIE_CONFIG_BYTES / 4]; /* by capabilities */
	uint32_t last_cap_at; /* 0: the list is empty */
	uint32_t last_extended_at;
	struct vfu_pci_hook hooks[VFU_PCI_HOOKS_MAX];
	uint32_t hooks_count;

	struct vfu_pci_bar bars[RP_VFU_PCI_BARS_COUNT];
	struct vfu_pci_vectors irqs[RP_VFU_PCI_IRQS_COUNT]; /* of MSI and MSI-X */
	struct vfu_pci_msix msix;
	uint32_t msi_at; /* capabilities; 0: none */
	uint32_t express_at;
	uint32_t power_at;

	bool intx;
	bool intx_asserted;
	bool intx_disabled; /* by the guest, when it was last looked at */
	bool intx_signalling; /* irq_changed() is our own doing */
};

static inline uint32_t
vfu_pci_get(const uint8_t *bytes, uint32_t size_bytes)
{
	uint32_t value = 0;

	while (size_bytes-- > 0)
		value = value << 8 | bytes[size_bytes];
	return value;
}

static inline void
vfu_pci_put(uint8_t *bytes, uint32_t size_bytes, uint32_t value)
{
	uint32_t i;

	for (i = 0; i < size_bytes; i++)
		bytes[i] = (uint8_t)(value >> (8 * i));
}

/* A part of the description is done: remember the first failure, and tell its reason. @return rc. */
int vfu_pci_describe(struct rp_vfu_pci *pci, int rc, const struct rp_wire_why *reason, struct rp_wire_why *why);
/* Whether it still is described. @return 0 or -EBUSY. */
int vfu_pci_check_open(const struct rp_vfu_pci *pci, struct rp_wire_why *why);
/* A reset by either way. @return what the device says, 0 when it has none. */
int vfu_pci_reset(struct rp_vfu_pci *pci, enum rp_vfu_pci_reset kind);

/* pci_config.c; accesses are within configuration space. */
int vfu_pci_config_read(void *ctx, uint32_t region, uint64_t at, uint32_t count_bytes, uint8_t *ret_bytes);
int vfu_pci_config_write(void *ctx, uint32_t region, uint64_t at, uint32_t count_bytes, const uint8_t *bytes);
/* First values, and what may be written, of a register; only while it is described. */
void vfu_pci_config_put(struct rp_vfu_pci *pci, uint32_t at, uint32_t size_bytes, uint32_t value, uint32_t writable);

/* pci_caps.c; of which a function has one. @param at where it is kept, 0: not added yet. */
int vfu_pci_add_once(struct rp_vfu_pci *pci, const struct rp_vfu_pci_cap *cap, uint32_t *at, struct rp_wire_why *why);

/* pci_bar.c */
void vfu_pci_bar_region(const struct rp_vfu_pci *pci, uint32_t index, struct rp_vfu_region *ret_region);
/* What of a BAR may be mmapped overlaps the range. */
bool vfu_pci_bar_is_mappable(const struct rp_vfu_region *region, uint64_t offset_bytes, uint64_t size_bytes);

/* pci_irq.c */
int vfu_pci_vectors_init(struct vfu_pci_vectors *vectors, uint32_t count);
void vfu_pci_vectors_fini(struct vfu_pci_vectors *vectors);
/* Nothing is masked and nothing pending any more. */
void vfu_pci_vectors_reset(struct rp_vfu_pci *pci);
void vfu_pci_vector_mask(struct rp_vfu_pci *pci, uint32_t irq_index, uint32_t number, bool masked);
/* As if it had been signalled while it was masked. */
void vfu_pci_vector_pend(struct rp_vfu_pci *pci, uint32_t irq_index, uint32_t number);
bool vfu_pci_vector_is_pending(const struct rp_vfu_pci *pci, uint32_t irq_index, uint32_t number);
/* What the server says. */
void vfu_pci_irq_changed(struct rp_vfu_pci *pci, uint32_t irq_index, uint32_t number, int eventfd);
/* The guest enabled or disabled INTx. */
void vfu_pci_intx_update(struct rp_vfu_pci *pci);

/* pci_msi.c, pci_msix.c: masks as they are in configuration space and in the table. */
void vfu_pci_msi_update(struct rp_vfu_pci *pci);
/* Write the pending bits into configuration space, to be read. */
void vfu_pci_msi_pending(struct rp_vfu_pci *pci);
void vfu_pci_msix_update(struct rp_vfu_pci *pci);
void vfu_pci_msix_reset(struct rp_vfu_pci *pci);
void vfu_pci_msix_fini(struct rp_vfu_pci *pci);

/* A piece of a BAR that the library serves. */
enum vfu_pci_msix_part {
	VFU_PCI_MSIX_NONE,
	VFU_PCI_MSIX_TABLE,
	VFU_PCI_MSIX_PENDING,
};

/*
 * Whose the first byte of an access is.
 * @param ret_count_bytes how many bytes from there on are the same one's.
 */
enum vfu_pci_msix_part vfu_pci_msix_part(const struct rp_vfu_pci *pci, uint32_t bar, uint64_t at, uint32_t count_bytes,
					 uint32_t *ret_count_bytes);
/* `at` counts from the part's begin; within it. */
void vfu_pci_msix_read(struct rp_vfu_pci *pci, enum vfu_pci_msix_part part, uint32_t at, uint32_t count_bytes,
		       uint8_t *ret_bytes);
void vfu_pci_msix_write(struct rp_vfu_pci *pci, enum vfu_pci_msix_part part, uint32_t at, uint32_t count_bytes,
			const uint8_t *bytes);
/* Where a part begins in its BAR. */
uint32_t vfu_pci_msix_begin(const struct rp_vfu_pci *pci, enum vfu_pci_msix_part part);

#endif
