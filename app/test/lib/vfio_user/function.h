/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FUNCTION_H
#define FUNCTION_H

#include "peer.h"
#include "rp_vfu_pci.h"

/*
 * A PCI function of every kind of thing, which counts what it is told, and a
 * peer made of bytes that reads and writes its regions. Its BARs:
 *
 *   0  64 KiB, 64-bit, handlers; MSI-X's table at 0x1000, its pending bits at 0x2000
 *   2  16 KiB, 32-bit, prefetchable, all of it memory that can be mmapped
 *   3  64 bytes of I/O space, handlers
 *
 * Capabilities, in the order of the list: power management, MSI with 8 vectors,
 * MSI-X with 70, a vendor's own with handlers, PCI Express; extended: a serial
 * number, a vendor's own.
 */

#define FUNCTION_MSI_COUNT 8u
#define FUNCTION_MSIX_COUNT 70u
#define FUNCTION_TABLE 0x1000u
#define FUNCTION_PENDING 0x2000u
#define FUNCTION_POWER 0x40u
#define FUNCTION_MSI 0x48u
#define FUNCTION_MSIX 0x60u
#define FUNCTION_VENDOR 0x6cu
#define FUNCTION_VENDOR_BYTES 11u
#define FUNCTION_EXPRESS 0x78u
#define FUNCTION_COMMAND 0x04u
#define FUNCTION_STATUS 0x06u

#define FUNCTION_CONFIG RP_VFU_PCI_CONFIG_REGION

struct function {
	struct rp_vfu_pci *pci;
	struct peer peer;
	bool connected; /* the peer is */
	int memory_fd;
	uint8_t registers[65536];

	unsigned int resets;
	enum rp_vfu_pci_reset last_reset;
	int reset_result;
	bool was_master_at_reset;
	int quiesce_result;
	unsigned int quiesces;
	uint64_t token; /* of the last one */
	unsigned int arcs; /* of migration */
	uint8_t moved_in[8];
	unsigned int masters_on;
	unsigned int masters_off;
	unsigned int irq_changes;
	int irq_fds[RP_VFU_PCI_IRQS_COUNT][FUNCTION_MSIX_COUNT]; /* as told, -1: none */
	unsigned int bar_reads;
	unsigned int bar_writes;
	uint64_t last_at;
	uint32_t last_count;
	unsigned int vendor_reads;
	unsigned int vendor_writes;
	uint32_t vendor_at;
	uint32_t vendor_count;
	unsigned int connects;
	unsigned int disconnects;
	unsigned int dma_changes;
	unsigned int refusals;
	int fail_with; /* what handlers return */
};

/* Described and not yet listening: a function without BARs and capabilities, then one with all of them. */
void function_begin(struct function *function, bool express, bool with_reset);
void function_describe(struct function *function);
/* Listen, connect and negotiate. */
void function_serve(struct function *function);
/* All of it. */
void function_start(struct function *function);
void function_close(struct function *function);

/* Accesses by message. @return the errno in the reply, 0: none. */
uint32_t function_read(struct function *function, uint32_t region, uint64_t at, uint32_t count, void *ret_bytes);
uint32_t function_write(struct function *function, uint32_t region, uint64_t at, uint32_t count, const void *bytes);
/* A little-endian number of 1 to 4 bytes. */
uint32_t function_get(struct function *function, uint32_t region, uint64_t at, uint32_t count);
void function_put(struct function *function, uint32_t region, uint64_t at, uint32_t count, uint32_t value);

/* SET_IRQS of one vector. @param eventfd -1: none. */
void function_attach(struct function *function, uint32_t irq_index, uint32_t vector, int eventfd);
/* SET_IRQS with an action and no data. */
void function_irq_action(struct function *function, uint32_t irq_index, uint32_t vector, uint32_t action);
/* DEVICE_RESET. @return the errno in the reply. */
uint32_t function_reset(struct function *function);

/* What an eventfd counted, which is forgotten by this. */
uint64_t function_signals(int eventfd);

#endif
