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

/* The places of before the library had this: the first one leaves a gap behind MSI-X. */
#define CAP_COMMON 0x50u
#define CAP_PCI_CFG_DATA ((uint32_t)offsetof(struct virtio_pci_cfg_cap, pci_cfg_data))

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
open_window(const struct softaccel_function *function, uint32_t at, uint32_t count, struct window *ret_window)
{
	uint32_t offset = rp_vfu_pci_get(function->pci, function->window_at + VIRTIO_PCI_CAP_OFFSET, 4);
	uint32_t length = rp_vfu_pci_get(function->pci, function->window_at + VIRTIO_PCI_CAP_LENGTH, 4);
	uint32_t bar = rp_vfu_pci_get(function->pci, function->window_at + VIRTIO_PCI_CAP_BAR, 1);
	uint64_t room = bar == SA_BAR_REGISTERS ? SA_REGISTERS_BAR_BYTES : function->doorbells.size_bytes;

	if (at != CAP_PCI_CFG_DATA || (bar != SA_BAR_REGISTERS && bar != SA_BAR_NOTIFY) ||
	    (length != 1 && length != 2 && length != 4) || count < length || offset % length != 0 ||
	    (uint64_t)offset + length > room)
		return false;
	*ret_window = (struct window){.to_registers = bar == SA_BAR_REGISTERS, .offset = offset, .length = length};
	return true;
}

static int
window_read(void *ctx, uint32_t at, uint32_t count, uint8_t *ret_bytes)
{
	struct softaccel_function *function = ctx;
	struct window window;

	if (!open_window(function, at, count, &window))
		return 0;
	if (window.to_registers)
		return sa_registers_read(function, SA_BAR_REGISTERS, window.offset, window.length, ret_bytes);
	return sa_notify_read(function, SA_BAR_NOTIFY, window.offset, window.length, ret_bytes);
}

static int
window_write(void *ctx, uint32_t at, uint32_t count, const uint8_t *bytes)
{
	struct softaccel_function *function = ctx;
	struct window window;

	if (!open_window(function, at, count, &window))
		return 0;
	if (window.to_registers)
		return sa_registers_write(function, SA_BAR_REGISTERS, window.offset, window.length, bytes);
	return sa_notify_write(function, SA_BAR_NOTIFY, window.offset, window.length, bytes);
}

/* What is refused is remembered until rp_vfu_pci_listen(). */
static void
add_virtio_cap(struct softaccel_function *function, uint32_t at, uint8_t type, uint8_t bar, uint32_t offset,
	       uint32_t length)
{
	/* The longest one is the notify capability: the multiplier follows. */
	struct virtio_pci_notify_cap notify = {
		.cap =
			{
				.cap_len = type == VIRTIO_PCI_CAP_NOTIFY_CFG ? sizeof(notify) : sizeof(notify.cap),
				.cfg_type = type,
				.bar = bar,
				.offset = htole32(offset),
				.length = htole32(length),
			},
		.notify_off_multiplier = htole32(function->doorbells.multiplier_bytes),
	};
	const struct rp_vfu_pci_cap cap = {
		.id = PCI_CAP_ID_VNDR, .offset_bytes = at, .size_bytes = notify.cap.cap_len, .bytes = &notify};

	rp_vfu_pci_add(function->pci, &cap, NULL, NULL);
}

static void
add_window_cap(struct softaccel_function *function)
{
	const struct virtio_pci_cfg_cap bytes = {
		.cap = {.cap_len = sizeof(bytes), .cfg_type = VIRTIO_PCI_CAP_PCI_CFG},
	};
	const struct virtio_pci_cfg_cap writable = {
		.cap = {.bar = 0xff, .offset = 0xffffffffu, .length = 0xffffffffu},
	};
	const struct rp_vfu_pci_cap cap = {
		.id = PCI_CAP_ID_VNDR,
		.size_bytes = sizeof(bytes),
		.bytes = &bytes,
		.writable = &writable,
		.read = window_read,
		.write = window_write,
	};

	rp_vfu_pci_add(function->pci, &cap, &function->window_at, NULL);
}

static void
add_vendor_cap(struct softaccel_function *function)
{
	const struct rp_accel_vendor_cap bytes = {
		.cap_len = sizeof(bytes),
		.cfg_type = RP_ACCEL_VENDOR_CFG_TYPE,
		.vendor_id = htole16(RP_ACCEL_VENDOR_ID),
		.bar = SA_BAR_REGISTERS,
		.offset_bytes = htole32(SA_VENDOR_OFFSET),
		.length_bytes = htole32(sa_vendor_bytes(function)),
	};
	const struct rp_vfu_pci_cap cap = {.id = PCI_CAP_ID_VNDR, .size_bytes = sizeof(bytes), .bytes = &bytes};

	rp_vfu_pci_add(function->pci, &cap, NULL, NULL);
}

static void
add_capabilities(struct softaccel_function *function)
{
	const struct rp_vfu_pci_msix msix = {
		.vectors_count = sa_device_vectors(function),
		.table_bar = SA_BAR_MSIX,
		.pending_bar = SA_BAR_MSIX,
		.pending_offset_bytes = SA_MSIX_PENDING_OFFSET,
	};

	if (function->intx_fd < 0)
		rp_vfu_pci_add_msix(function->pci, &msix, NULL);
	add_virtio_cap(function, CAP_COMMON, VIRTIO_PCI_CAP_COMMON_CFG, SA_BAR_REGISTERS, SA_COMMON_OFFSET,
		       SA_COMMON_BYTES);
	add_virtio_cap(function, 0, VIRTIO_PCI_CAP_NOTIFY_CFG, SA_BAR_NOTIFY, 0,
		       (uint32_t)function->doorbells.size_bytes);
	add_virtio_cap(function, 0, VIRTIO_PCI_CAP_ISR_CFG, SA_BAR_REGISTERS, SA_ISR_OFFSET, SA_ISR_BYTES);
	add_virtio_cap(function, 0, VIRTIO_PCI_CAP_DEVICE_CFG, SA_BAR_REGISTERS, SA_NET_CONFIG_OFFSET,
		       SA_NET_CONFIG_BYTES);
	add_window_cap(function);
	add_vendor_cap(function);
	/* Behind a root port a guest sees a PCI Express device then, which it can reset by itself. */
	rp_vfu_pci_add_express(function->pci, NULL);
}

static void
add_bars(struct softaccel_function *function, const struct rp_vfu_io_fd *io_fds)
{
	const struct rp_vfu_pci_bar msix = {.wide = true, .region = {SA_MSIX_BAR_BYTES, true, true, .fd = -1}};
	const struct rp_vfu_pci_bar registers = {
		.wide = true,
		.region = {SA_REGISTERS_BAR_BYTES, true, true, .fd = -1, .read = sa_registers_read,
			   .write = sa_registers_write},
	};
	const struct rp_vfu_pci_bar notify = {
		.wide = true,
		.region = {function->doorbells.size_bytes, true, true, .fd = function->doorbells.fd, .io_fds = io_fds,
			   .io_fds_count = function->queues_count, .read = sa_notify_read, .write = sa_notify_write},
	};

	if (function->intx_fd < 0)
		rp_vfu_pci_bar(function->pci, SA_BAR_MSIX, &msix, NULL);
	rp_vfu_pci_bar(function->pci, SA_BAR_REGISTERS, &registers, NULL);
	rp_vfu_pci_bar(function->pci, SA_BAR_NOTIFY, &notify, NULL);
}

int
sa_pci_serve(struct softaccel_function *function, const struct rp_vfu_pci_ops *ops, struct rp_wire_why *why)
{
	const struct rp_vfu_pci_config config = {
		.vendor_id = VENDOR_ID,
		.device_id = DEVICE_ID,
		.subsystem_vendor_id = VENDOR_ID,
		.subsystem_id = VIRTIO_ID_NET,
		.class_code = CLASS_NETWORK_ETHERNET,
		.revision = REVISION,
		.intx = function->intx_fd >= 0,
		.express = true,
	};
	struct rp_vfu_io_fd io_fds[2 * SOFTACCEL_QUEUE_PAIRS_MAX];
	unsigned int number;
	int rc;

	for (number = 0; number < function->queues_count; number++)
		io_fds[number] = (struct rp_vfu_io_fd){
			.offset_bytes = (uint64_t)number * function->doorbells.multiplier_bytes,
			.size_bytes = sizeof(uint16_t),
			.fd = function->doorbells.kick_fds[number],
		};
	rc = rp_vfu_pci_create(&config, ops, function, &function->pci, why);
	if (rc < 0)
		return rc;
	add_bars(function, io_fds);
	add_capabilities(function);
	rc = rp_vfu_pci_listen(function->pci, function->socket_path, why);
	function->server = rp_vfu_pci_server(function->pci);
	return rc;
}
