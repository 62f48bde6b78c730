/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef RP_VFU_PCI_H
#define RP_VFU_PCI_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "rp_vfu_server.h"

/**
 * @file
 * A PCI function, for whoever writes a device: configuration space, BARs,
 * capabilities and interrupts on top of rp_vfu_server.
 *
 * Theory of operation: a function is described call by call (identity, BARs,
 * capabilities in the order of their list), then rp_vfu_pci_listen() makes the
 * server. From then on the library answers for what every PCI device does alike:
 * write masks and the sizing of BARs, the capability list, the MSI-X table with
 * its pending bits, masks, INTx and its disable bit, bus mastering, power state,
 * resets. The device sees what is its own: accesses to its registers, a reset,
 * whether it may reach memory, what to signal.
 *
 * Masks: while a vector is masked (its bit in the MSI-X table or in the MSI
 * capability, or MSI-X's function mask) irq_changed() hands out an eventfd that
 * nobody listens to; what is signalled meanwhile shows in the pending bits and is
 * delivered at the unmasking. So a data path does not look at masks. It costs a
 * descriptor while it is masked and somebody listens or signals. The reset
 * value of a vector's mask bit in the MSI-X table is 1, yet a client that attaches
 * its eventfds (SET_IRQS) may never touch the table, which VFIO keeps from it: a
 * mask bit of the table counts only after a client wrote that vector's control word.
 *
 * Everything that comes through a region is a guest's to choose: any offset, any
 * width, any value. Registers are little-endian whatever this machine is; bytes
 * given to and by callbacks are as the guest sees them.
 *
 * Describing: a call that fails makes rp_vfu_pci_listen() fail for the same
 * reason, so that it is enough to look at that one's result.
 *
 * Threads: one, that of the server (rp_vfu_server.h); callbacks run in it.
 *
 * Ownership: arrays and masks are copied when the call that gives them returns,
 * those inside of a region when rp_vfu_pci_listen() does. Descriptors are
 * borrowed while the function lives.
 *
 * Specification: PCI Local Bus 3.0, chapter 6; PCI Express Base 3.0, chapter 7;
 * PCI Bus Power Management 1.2. Numbers: linux/pci_regs.h.
 */

struct rp_vfu_pci;

/** Why a device is reset. */
enum rp_vfu_pci_reset {
	RP_VFU_PCI_RESET_DEVICE, /**< the message DEVICE_RESET */
	RP_VFU_PCI_RESET_FUNCTION, /**< a guest wrote Initiate Function Level Reset */
};

/** Copied. Each may be NULL. */
struct rp_vfu_pci_ops {
	/**
	 * Become as new. Bus mastering is off by then; afterwards configuration space and the MSI-X
	 * table are set to their first values, whatever this returns. Without it the device has no reset.
	 * @return 0 or a negative errno, which goes into the reply to a message.
	 */
	int (*reset)(void *ctx, enum rp_vfu_pci_reset kind);
	/**
	 * The guest switched bus mastering (or its power state did). Off: when this returns the
	 * device touches no memory of the guest's and signals nothing, until it is on again.
	 */
	void (*bus_master)(void *ctx, bool on);
	/**
	 * As in rp_vfu_server_ops: for a device that takes longer to stand still than a callback
	 * may take. It comes before a reset by message; a Function Level Reset cannot wait.
	 */
	int (*quiesce)(void *ctx, uint64_t token);
	/** As irq_changed() of rp_vfu_server_ops; masks of the guest's are behind it too. */
	void (*irq_changed)(void *ctx, uint32_t irq_index, uint32_t vector, int eventfd);
	/** As in rp_vfu_server_ops, as are the others. */
	void (*dma_changed)(void *ctx);
	void (*connected)(void *ctx);
	void (*leaving)(void *ctx);
	void (*disconnected)(void *ctx, const struct rp_wire_why *why);
	void (*refused)(void *ctx, const struct rp_wire_why *why);
};

struct rp_vfu_pci_config {
	uint16_t vendor_id;
	uint16_t device_id;
	uint16_t subsystem_vendor_id;
	uint16_t subsystem_id;
	uint32_t class_code; /**< 24 bits: class, subclass, programming interface */
	uint8_t revision;
	bool intx; /**< has an interrupt pin (INTA) */
	bool express; /**< 4096 bytes of configuration space instead of 256; see rp_vfu_pci_add_express() */
	/**
	 * What the server is told beside that: migration, logging, limits. Its socket_path, regions,
	 * irqs, pci and resettable are not looked at. Callbacks of migration get this function's ctx.
	 */
	struct rp_vfu_server_config server;
};

/** A base address register and what is behind it. */
struct rp_vfu_pci_bar {
	bool io; /**< I/O space: 4 to 256 bytes; else memory, of at least 16 */
	bool wide; /**< 64-bit; takes the register behind it too */
	bool prefetchable;
	struct rp_vfu_region region; /**< size_bytes, handlers, memory; flags and fd as for a server */
};

/**
 * A capability. The library writes its id, version and next pointer; the other
 * bytes are the author's, little-endian.
 */
struct rp_vfu_pci_cap {
	uint16_t id;
	bool extended; /**< in the list that begins at 0x100; its header has 4 bytes instead of 2 */
	uint8_t version; /**< of an extended one */
	uint32_t offset_bytes; /**< in configuration space, a multiple of 4; 0: behind what is there */
	uint32_t size_bytes; /**< header included */
	const void *bytes; /**< `size_bytes`, of which those of the header do not matter */
	const void *writable; /**< `size_bytes`, a bit that a guest may change is set; NULL: none */
	/**
	 * An access inside of the capability; `at` counts from its begin. ret_bytes has what is stored.
	 * @return 0 or a negative errno, which goes into the reply.
	 */
	int (*read)(void *ctx, uint32_t at, uint32_t count_bytes, uint8_t *ret_bytes);
	/** As read(); what may be changed was stored. */
	int (*write)(void *ctx, uint32_t at, uint32_t count_bytes, const uint8_t *bytes);
	void *ctx; /**< given to both; NULL: the function's own */
};

/** Where MSI-X keeps its table and its pending bits: in BARs of handlers, served by the library. */
struct rp_vfu_pci_msix {
	uint32_t vectors_count; /**< 1 to 2048 */
	uint32_t table_bar; /**< was described already, as pending_bar was */
	uint32_t table_offset_bytes; /**< multiple of 8, as the other */
	uint32_t pending_bar;
	uint32_t pending_offset_bytes;
};

/**
 * Begin a function.
 * @param ops copied. @param ctx given to each callback, those of regions and capabilities too.
 * @param ret_pci set on success.
 * @return 0, -EINVAL (class_code; why names it) or -ENOMEM.
 */
int rp_vfu_pci_create(const struct rp_vfu_pci_config *config, const struct rp_vfu_pci_ops *ops, void *ctx,
		      struct rp_vfu_pci **ret_pci, struct rp_wire_why *why);

/** End it with its server, as rp_vfu_server_destroy(). NULL is allowed. @return NULL. */
struct rp_vfu_pci *rp_vfu_pci_destroy(struct rp_vfu_pci *pci);

/**
 * Describe a BAR; before the capabilities that refer to it.
 * @param index 0 to 5; a 64-bit one up to 4.
 * @return 0, -EINVAL (size or kind; why names it), -EEXIST (the register is taken) or
 *         -EBUSY (it listens already).
 */
int rp_vfu_pci_bar(struct rp_vfu_pci *pci, uint32_t index, const struct rp_vfu_pci_bar *bar, struct rp_wire_why *why);

/**
 * Add a capability at the end of its list.
 * @param ret_offset_bytes where it is; may be NULL.
 * @return 0, -EINVAL (offset, size or id; why names it), -EEXIST (overlaps what is there),
 *         -ENOSPC (no room), -ENOTSUP (an extended one without `express`) or -EBUSY (it listens already).
 */
int rp_vfu_pci_add(struct rp_vfu_pci *pci, const struct rp_vfu_pci_cap *cap, uint32_t *ret_offset_bytes,
		   struct rp_wire_why *why);

/**
 * Add MSI-X (PCI 3.0, 6.8.2).
 * @return as rp_vfu_pci_add(); -EINVAL also when table or pending bits leave their BAR,
 *         overlap, lie in memory that can be mmapped, or in a BAR that has memory and no handlers;
 *         -ENOMEM.
 */
int rp_vfu_pci_add_msix(struct rp_vfu_pci *pci, const struct rp_vfu_pci_msix *msix, struct rp_wire_why *why);

/**
 * Add MSI (PCI 3.0, 6.8.1), 64-bit with masks.
 * @param vectors_count a power of two up to 32. @return as rp_vfu_pci_add(), -ENOMEM.
 */
int rp_vfu_pci_add_msi(struct rp_vfu_pci *pci, uint32_t vectors_count, struct rp_wire_why *why);

/**
 * Add PCI Express (PCIe 3.0, 7.8): an endpoint on a link of one lane, with Function
 * Level Reset when there is a reset(). @return as rp_vfu_pci_add(); -EINVAL without `express`.
 */
int rp_vfu_pci_add_express(struct rp_vfu_pci *pci, struct rp_wire_why *why);

/**
 * Add power management: D0 and D3hot, in which the function is no bus master; nothing
 * is lost on the way back. @return as rp_vfu_pci_add().
 */
int rp_vfu_pci_add_power(struct rp_vfu_pci *pci, struct rp_wire_why *why);

/**
 * Make the server; the description is complete.
 * @return 0, -EBUSY (it listens already), what the first call that failed had returned,
 *         or what rp_vfu_server_create() says.
 */
int rp_vfu_pci_listen(struct rp_vfu_pci *pci, const char *socket_path, struct rp_wire_why *why);

/** To poll, to process, for the client's memory. Borrowed. @return NULL before rp_vfu_pci_listen(). */
struct rp_vfu_server *rp_vfu_pci_server(const struct rp_vfu_pci *pci);

/** Whether the device may reach memory and signal vectors. */
bool rp_vfu_pci_is_bus_master(const struct rp_vfu_pci *pci);

/** Signal a vector of MSI or MSI-X. @return as rp_vfu_server_irq_trigger(). */
int rp_vfu_pci_irq_trigger(struct rp_vfu_pci *pci, uint32_t irq_index, uint32_t vector);

/** @return what irq_changed() gave last for a vector, borrowed, -1 when none. */
int rp_vfu_pci_irq_fd(const struct rp_vfu_pci *pci, uint32_t irq_index, uint32_t vector);

/**
 * Set the level of the interrupt pin. While it is asserted the client is signalled
 * each time that it unmasks; not while the guest disables INTx.
 * @return 0 or -EINVAL (the function has no pin).
 */
int rp_vfu_pci_intx(struct rp_vfu_pci *pci, bool asserted);

/**
 * A number in configuration space.
 * @param size_bytes 1, 2 or 4. @return what is stored there; 0 outside of it.
 */
uint32_t rp_vfu_pci_get(const struct rp_vfu_pci *pci, uint32_t offset_bytes, uint32_t size_bytes);

/**
 * Change a number in configuration space, past the write masks and without any effect but to
 * be read. A reset undoes it unless it was made before rp_vfu_pci_listen().
 * @param size_bytes 1, 2 or 4. @return 0 or -EINVAL (outside of it, or another size).
 */
int rp_vfu_pci_set(struct rp_vfu_pci *pci, uint32_t offset_bytes, uint32_t size_bytes, uint32_t value);

/** Bytes of rp_vfu_pci_save(): the same for each function of this description. */
uint32_t rp_vfu_pci_state_bytes(const struct rp_vfu_pci *pci);

/**
 * What the guest has made of the function: configuration space, the MSI-X table, what is pending.
 * A part of a device's stream of migration; little-endian.
 * @param ret_bytes rp_vfu_pci_state_bytes() of them.
 */
void rp_vfu_pci_save(const struct rp_vfu_pci *pci, uint8_t *ret_bytes);

/**
 * Take over what another function of this description saved, as after a reset, with the callbacks
 * of a guest that wrote it (not those of capabilities). It is judged: only what a guest can change is changed. What is pending is signalled
 * when somebody can hear it and the guest unmasks it; the level of INTx is the device's to set.
 * @return 0; -EMSGSIZE, -EBADMSG (why names it; nothing changed); -EINVAL (it does not listen yet).
 */
int rp_vfu_pci_load(struct rp_vfu_pci *pci, const uint8_t *bytes, uint32_t count_bytes, struct rp_wire_why *why);

/** Write what it is and how it stands, for people: identity, BARs, capabilities, vectors. */
void rp_vfu_pci_list(const struct rp_vfu_pci *pci, FILE *file);

#endif
