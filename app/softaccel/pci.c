/* SPDX-License-Identifier: BSD-3-Clause */
#include <endian.h>
#include <errno.h>
#include <stddef.h>
#include <string.h>

#include <linux/pci_regs.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_pci.h>

#include "sa_device.h"

/* Red Hat's identifiers, which every modern virtio device uses (virtio 1.2, 4.1.2). */
#define VENDOR_ID 0x1af4u
#define DEVICE_ID (0x1040u + VIRTIO_ID_NET)
#define REVISION 1u
#define CLASS_NETWORK_ETHERNET 0x020000u

/* Where the capabilities are. */
#define CAP_MSIX 0x40u
#define CAP_COMMON 0x50u
#define CAP_NOTIFY 0x60u
#define CAP_ISR 0x74u
#define CAP_NET_CONFIG 0x84u
#define CAP_PCI_CFG 0x94u
#define CAP_PCI_CFG_DATA (CAP_PCI_CFG + offsetof(struct virtio_pci_cfg_cap, pci_cfg_data))
#define CAP_VENDOR 0xa8u

static void
put16(uint8_t *bytes, uint16_t value)
{
	value = htole16(value);
	memcpy(bytes, &value, sizeof(value));
}

static void
put32(uint8_t *bytes, uint32_t value)
{
	value = htole32(value);
	memcpy(bytes, &value, sizeof(value));
}

static uint32_t
get32(const uint8_t *bytes)
{
	uint32_t value;

	memcpy(&value, bytes, sizeof(value));
	return le32toh(value);
}

static void
put_bar(struct sa_pci *pci, unsigned int bar, uint64_t size_bytes)
{
	unsigned int at = PCI_BASE_ADDRESS_0 + 4 * bar;

	put32(pci->bytes + at, PCI_BASE_ADDRESS_SPACE_MEMORY | PCI_BASE_ADDRESS_MEM_TYPE_64);
	/* The bits that do not take a write are how a driver finds the size. */
	put32(pci->writable + at, (uint32_t) ~(size_bytes - 1));
	put32(pci->writable + at + 4, 0xffffffffu);
}

static void
put_virtio_cap(struct sa_pci *pci, unsigned int at, unsigned int next, uint8_t type, uint8_t bar, uint32_t offset,
	       uint32_t length)
{
	struct virtio_pci_cap cap = {
		.cap_vndr = PCI_CAP_ID_VNDR,
		.cap_next = (uint8_t)next,
		.cap_len = sizeof(cap),
		.cfg_type = type,
		.bar = bar,
		.offset = htole32(offset),
		.length = htole32(length),
	};

	memcpy(pci->bytes + at, &cap, sizeof(cap));
}

static void
put_header(struct sa_pci *pci)
{
	put16(pci->bytes + PCI_VENDOR_ID, VENDOR_ID);
	put16(pci->bytes + PCI_DEVICE_ID, DEVICE_ID);
	put16(pci->bytes + PCI_STATUS, PCI_STATUS_CAP_LIST);
	put32(pci->bytes + PCI_CLASS_REVISION, CLASS_NETWORK_ETHERNET << 8 | REVISION);
	put16(pci->bytes + PCI_SUBSYSTEM_VENDOR_ID, VENDOR_ID);
	put16(pci->bytes + PCI_SUBSYSTEM_ID, VIRTIO_ID_NET);
	pci->bytes[PCI_CAPABILITY_LIST] = CAP_MSIX;
	put16(pci->writable + PCI_COMMAND, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER | PCI_COMMAND_INTX_DISABLE);
	pci->writable[PCI_CACHE_LINE_SIZE] = 0xff;
	pci->writable[PCI_LATENCY_TIMER] = 0xff;
	pci->writable[PCI_INTERRUPT_LINE] = 0xff;
}

static void
put_capabilities(struct softaccel_function *function)
{
	struct sa_pci *pci = &function->pci;
	uint8_t *bytes = pci->bytes;

	bytes[CAP_MSIX] = PCI_CAP_ID_MSIX;
	bytes[CAP_MSIX + 1] = CAP_COMMON;
	put16(bytes + CAP_MSIX + PCI_MSIX_FLAGS, (uint16_t)(sa_device_vectors(function) - 1));
	put16(pci->writable + CAP_MSIX + PCI_MSIX_FLAGS, PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL);
	put32(bytes + CAP_MSIX + PCI_MSIX_TABLE, SA_BAR_MSIX);
	put32(bytes + CAP_MSIX + PCI_MSIX_PBA, SA_MSIX_PENDING_OFFSET | SA_BAR_MSIX);

	put_virtio_cap(pci, CAP_COMMON, CAP_NOTIFY, VIRTIO_PCI_CAP_COMMON_CFG, SA_BAR_REGISTERS, SA_COMMON_OFFSET,
		       SA_COMMON_BYTES);
	put_virtio_cap(pci, CAP_NOTIFY, CAP_ISR, VIRTIO_PCI_CAP_NOTIFY_CFG, SA_BAR_NOTIFY, 0,
		       (uint32_t)function->doorbells.size_bytes);
	bytes[CAP_NOTIFY + VIRTIO_PCI_CAP_LEN] = sizeof(struct virtio_pci_notify_cap);
	put32(bytes + CAP_NOTIFY + VIRTIO_PCI_NOTIFY_CAP_MULT, function->doorbells.multiplier_bytes);
	put_virtio_cap(pci, CAP_ISR, CAP_NET_CONFIG, VIRTIO_PCI_CAP_ISR_CFG, SA_BAR_REGISTERS, SA_ISR_OFFSET,
		       SA_ISR_BYTES);
	put_virtio_cap(pci, CAP_NET_CONFIG, CAP_PCI_CFG, VIRTIO_PCI_CAP_DEVICE_CFG, SA_BAR_REGISTERS,
		       SA_NET_CONFIG_OFFSET, SA_NET_CONFIG_BYTES);
	put_virtio_cap(pci, CAP_PCI_CFG, CAP_VENDOR, VIRTIO_PCI_CAP_PCI_CFG, 0, 0, 0);
	bytes[CAP_PCI_CFG + VIRTIO_PCI_CAP_LEN] = sizeof(struct virtio_pci_cfg_cap);
	pci->writable[CAP_PCI_CFG + VIRTIO_PCI_CAP_BAR] = 0xff;
	put32(pci->writable + CAP_PCI_CFG + VIRTIO_PCI_CAP_OFFSET, 0xffffffffu);
	put32(pci->writable + CAP_PCI_CFG + VIRTIO_PCI_CAP_LENGTH, 0xffffffffu);
}

static void
put_vendor_cap(struct softaccel_function *function)
{
	struct rp_accel_vendor_cap cap = {
		.cap_vndr = PCI_CAP_ID_VNDR,
		.cap_next = 0,
		.cap_len = sizeof(cap),
		.cfg_type = RP_ACCEL_VENDOR_CFG_TYPE,
		.vendor_id = htole16(RP_ACCEL_VENDOR_ID),
		.bar = SA_BAR_REGISTERS,
		.offset_bytes = htole32(SA_VENDOR_OFFSET),
		.length_bytes = htole32(sa_vendor_bytes(function)),
	};

	memcpy(function->pci.bytes + CAP_VENDOR, &cap, sizeof(cap));
}

void
sa_pci_init(struct softaccel_function *function)
{
	struct sa_pci *pci = &function->pci;
	unsigned int i;

	memset(pci, 0, sizeof(*pci));
	put_header(pci);
	put_bar(pci, SA_BAR_MSIX, SA_MSIX_BAR_BYTES);
	put_bar(pci, SA_BAR_REGISTERS, SA_REGISTERS_BAR_BYTES);
	put_bar(pci, SA_BAR_NOTIFY, function->doorbells.size_bytes);
	put_capabilities(function);
	put_vendor_cap(function);
	/* A vector is masked until somebody sets it up. */
	for (i = 0; i < sa_device_vectors(function); i++)
		put32(pci->msix_bar + i * PCI_MSIX_ENTRY_SIZE + PCI_MSIX_ENTRY_VECTOR_CTRL,
		      PCI_MSIX_ENTRY_CTRL_MASKBIT);
}

bool
sa_pci_is_bus_master(const struct softaccel_function *function)
{
	return (function->pci.bytes[PCI_COMMAND] & PCI_COMMAND_MASTER) != 0;
}

/*
 * virtio 1.2, 4.1.4.10: a window through which a BAR is reached by configuration
 * accesses.
 */
struct window {
	bool to_registers; /* else to the doorbells */
	uint32_t offset;
	uint32_t length;
};

/* 4.1.4.10.2: 1, 2 or 4 bytes, aligned; anything else does nothing. */
static bool
open_window(const struct softaccel_function *function, uint64_t at, uint32_t count, struct window *ret_window)
{
	const uint8_t *cap = function->pci.bytes + CAP_PCI_CFG;
	uint32_t offset = get32(cap + VIRTIO_PCI_CAP_OFFSET);
	uint32_t length = get32(cap + VIRTIO_PCI_CAP_LENGTH);
	uint8_t bar = cap[VIRTIO_PCI_CAP_BAR];
	uint64_t room = bar == SA_BAR_REGISTERS ? SA_REGISTERS_BAR_BYTES : function->doorbells.size_bytes;

	if (at != CAP_PCI_CFG_DATA || (bar != SA_BAR_REGISTERS && bar != SA_BAR_NOTIFY) ||
	    (length != 1 && length != 2 && length != 4) || count < length || count > sizeof(uint32_t) ||
	    offset % length != 0 || (uint64_t)offset + length > room)
		return false;
	*ret_window = (struct window){.to_registers = bar == SA_BAR_REGISTERS, .offset = offset, .length = length};
	return true;
}

int
sa_pci_config_read(void *ctx, uint32_t region, uint64_t at, uint32_t count, uint8_t *ret_bytes)
{
	struct softaccel_function *function = ctx;
	struct window window;

	(void)region;
	memcpy(ret_bytes, function->pci.bytes + at, count);
	if (!open_window(function, at, count, &window))
		return 0;
	if (window.to_registers)
		return sa_registers_read(function, SA_BAR_REGISTERS, window.offset, window.length, ret_bytes);
	return sa_notify_read(function, SA_BAR_NOTIFY, window.offset, window.length, ret_bytes);
}

int
sa_pci_config_write(void *ctx, uint32_t region, uint64_t at, uint32_t count, const uint8_t *bytes)
{
	struct softaccel_function *function = ctx;
	struct sa_pci *pci = &function->pci;
	struct window window;
	uint32_t i;

	(void)region;
	for (i = 0; i < count; i++) {
		uint8_t mask = pci->writable[at + i];

		pci->bytes[at + i] = (uint8_t)((pci->bytes[at + i] & ~mask) | (bytes[i] & mask));
	}
	if (!open_window(function, at, count, &window))
		return 0;
	if (window.to_registers)
		return sa_registers_write(function, SA_BAR_REGISTERS, window.offset, window.length, bytes);
	return sa_notify_write(function, SA_BAR_NOTIFY, window.offset, window.length, bytes);
}

/* Vectors are set up by message (SET_IRQS); the table is only kept for those who read it back. */
int
sa_pci_msix_read(void *ctx, uint32_t region, uint64_t at, uint32_t count, uint8_t *ret_bytes)
{
	struct softaccel_function *function = ctx;

	(void)region;
	memcpy(ret_bytes, function->pci.msix_bar + at, count);
	return 0;
}

int
sa_pci_msix_write(void *ctx, uint32_t region, uint64_t at, uint32_t count, const uint8_t *bytes)
{
	struct softaccel_function *function = ctx;

	(void)region;
	/* The pending bits are read-only. */
	if (at + count <= SA_MSIX_PENDING_OFFSET)
		memcpy(function->pci.msix_bar + at, bytes, count);
	return 0;
}
