/* SPDX-License-Identifier: BSD-3-Clause */
#include <endian.h>
#include <stddef.h>
#include <string.h>

#include <linux/pci_regs.h>
#include <linux/virtio_pci.h>

#include "rp_accel_vendor.h"
#include "vfu_virtio.h"

/* Room for 257 vectors of 16 bytes, then the pending bits. */
#define MSIX_BAR_BYTES 0x4000u
#define MSIX_PENDING_AT 0x3000u

#define WINDOW_DATA_AT ((uint32_t)offsetof(struct virtio_pci_cfg_cap, pci_cfg_data))

/* 4.1.4.10: a window through which a BAR is reached by configuration accesses. */
struct window {
	bool to_registers; /* else to the doorbells */
	uint32_t at;
	uint32_t count_bytes;
};

static struct rp_vfu_region
notify_region(const struct rp_vfu_virtio *virtio)
{
	if (virtio->config.notify_stride_bytes != 0)
		return virtio->config.notify;
	/* Without handlers: a kick by message is written to the same memory. */
	return (struct rp_vfu_region){virtio->doorbells_bytes, true, true, .fd = virtio->doorbells_fd};
}

/* 4.1.4.10.2: 1, 2 or 4 bytes, aligned; anything else does nothing. */
static bool
open_window(const struct rp_vfu_virtio *virtio, uint32_t at, uint32_t count_bytes, struct window *ret_window)
{
	uint32_t offset = rp_vfu_pci_get(virtio->pci, virtio->window_at + VIRTIO_PCI_CAP_OFFSET, 4);
	uint32_t length = rp_vfu_pci_get(virtio->pci, virtio->window_at + VIRTIO_PCI_CAP_LENGTH, 4);
	uint32_t bar = rp_vfu_pci_get(virtio->pci, virtio->window_at + VIRTIO_PCI_CAP_BAR, 1);
	uint64_t room_bytes =
		bar == RP_VFU_VIRTIO_BAR_REGISTERS ? VFU_VIRTIO_BAR_BYTES : notify_region(virtio).size_bytes;

	if (at != WINDOW_DATA_AT || (bar != RP_VFU_VIRTIO_BAR_REGISTERS && bar != RP_VFU_VIRTIO_BAR_NOTIFY) ||
	    (length != 1 && length != 2 && length != 4) || count_bytes < length || offset % length != 0 ||
	    (uint64_t)offset + length > room_bytes)
		return false;
	*ret_window = (struct window){bar == RP_VFU_VIRTIO_BAR_REGISTERS, offset, length};
	return true;
}

static int
notify_read(struct rp_vfu_virtio *virtio, uint32_t at, uint32_t count_bytes, uint8_t *ret_bytes)
{
	const struct rp_vfu_region *region = &virtio->config.notify;

	if (virtio->doorbells != NULL)
		memcpy(ret_bytes, virtio->doorbells + at, count_bytes);
	else if (region->read != NULL)
		return region->read(region->ctx != NULL ? region->ctx : virtio->ctx, RP_VFU_VIRTIO_BAR_NOTIFY, at,
				    count_bytes, ret_bytes);
	return 0;
}

static int
notify_write(struct rp_vfu_virtio *virtio, uint32_t at, uint32_t count_bytes, const uint8_t *bytes)
{
	const struct rp_vfu_region *region = &virtio->config.notify;

	if (virtio->doorbells != NULL)
		memcpy(virtio->doorbells + at, bytes, count_bytes);
	else if (region->write != NULL)
		return region->write(region->ctx != NULL ? region->ctx : virtio->ctx, RP_VFU_VIRTIO_BAR_NOTIFY, at,
				     count_bytes, bytes);
	return 0;
}

static int
window_read(void *ctx, uint32_t at, uint32_t count_bytes, uint8_t *ret_bytes)
{
	struct rp_vfu_virtio *virtio = ctx;
	struct window window;

	if (!open_window(virtio, at, count_bytes, &window))
		return 0;
	if (window.to_registers)
		return vfu_virtio_read(virtio, RP_VFU_VIRTIO_BAR_REGISTERS, window.at, window.count_bytes, ret_bytes);
	return notify_read(virtio, window.at, window.count_bytes, ret_bytes);
}

static int
window_write(void *ctx, uint32_t at, uint32_t count_bytes, const uint8_t *bytes)
{
	struct rp_vfu_virtio *virtio = ctx;
	struct window window;

	if (!open_window(virtio, at, count_bytes, &window))
		return 0;
	if (window.to_registers)
		return vfu_virtio_write(virtio, RP_VFU_VIRTIO_BAR_REGISTERS, window.at, window.count_bytes, bytes);
	return notify_write(virtio, window.at, window.count_bytes, bytes);
}

static void
add_bars(struct rp_vfu_virtio *virtio)
{
	const struct rp_vfu_pci_bar table = {.wide = true, .region = {MSIX_BAR_BYTES, true, true, .fd = -1}};
	const struct rp_vfu_pci_bar registers = {
		.wide = true,
		.region = {VFU_VIRTIO_BAR_BYTES, true, true, .fd = -1, .read = vfu_virtio_read,
			   .write = vfu_virtio_write, .ctx = virtio},
	};
	const struct rp_vfu_pci_bar notify = {.wide = true, .region = notify_region(virtio)};
	const struct rp_vfu_pci_msix msix = {virtio->config.vectors_count, RP_VFU_VIRTIO_BAR_MSIX, 0,
					     RP_VFU_VIRTIO_BAR_MSIX, MSIX_PENDING_AT};

	if (virtio->config.vectors_count > 0)
		rp_vfu_pci_bar(virtio->pci, RP_VFU_VIRTIO_BAR_MSIX, &table, NULL);
	rp_vfu_pci_bar(virtio->pci, RP_VFU_VIRTIO_BAR_REGISTERS, &registers, NULL);
	rp_vfu_pci_bar(virtio->pci, RP_VFU_VIRTIO_BAR_NOTIFY, &notify, NULL);
	if (virtio->config.vectors_count > 0)
		rp_vfu_pci_add_msix(virtio->pci, &msix, NULL);
}

static void
add_cap(struct rp_vfu_virtio *virtio, uint8_t type, uint32_t bar, uint32_t at, uint64_t bytes)
{
	/* The longest one is the notify capability: the distance of doorbells follows. */
	struct virtio_pci_notify_cap notify = {
		.cap = {.cap_len = type == VIRTIO_PCI_CAP_NOTIFY_CFG ? sizeof(notify) : sizeof(notify.cap),
			.cfg_type = type,
			.bar = (uint8_t)bar,
			.offset = htole32(at),
			.length = htole32((uint32_t)bytes)},
		.notify_off_multiplier = htole32(virtio->stride_bytes),
	};
	const struct rp_vfu_pci_cap cap = {
		.id = PCI_CAP_ID_VNDR,
		.offset_bytes = type == VIRTIO_PCI_CAP_COMMON_CFG ? virtio->config.capabilities_offset_bytes : 0,
		.size_bytes = notify.cap.cap_len,
		.bytes = &notify,
	};

	rp_vfu_pci_add(virtio->pci, &cap, NULL, NULL);
}

static void
add_window(struct rp_vfu_virtio *virtio)
{
	const struct virtio_pci_cfg_cap bytes = {.cap = {.cap_len = sizeof(bytes), .cfg_type = VIRTIO_PCI_CAP_PCI_CFG}};
	const struct virtio_pci_cfg_cap writable = {.cap = {.bar = 0xff, .offset = UINT32_MAX, .length = UINT32_MAX}};
	const struct rp_vfu_pci_cap cap = {
		.id = PCI_CAP_ID_VNDR,
		.size_bytes = sizeof(bytes),
		.bytes = &bytes,
		.writable = &writable,
		.read = window_read,
		.write = window_write,
		.ctx = virtio,
	};

	rp_vfu_pci_add(virtio->pci, &cap, &virtio->window_at, NULL);
}

static void
add_state(struct rp_vfu_virtio *virtio)
{
	const struct rp_accel_vendor_cap bytes = {
		.cap_len = sizeof(bytes),
		.cfg_type = RP_ACCEL_VENDOR_CFG_TYPE,
		.vendor_id = htole16(RP_ACCEL_VENDOR_ID),
		.bar = RP_VFU_VIRTIO_BAR_REGISTERS,
		.offset_bytes = htole32(VFU_VIRTIO_STATE_AT),
		.length_bytes = htole32(vfu_virtio_state_bytes(virtio)),
	};
	const struct rp_vfu_pci_cap cap = {.id = PCI_CAP_ID_VNDR, .size_bytes = sizeof(bytes), .bytes = &bytes};

	rp_vfu_pci_add(virtio->pci, &cap, NULL, NULL);
}

void
rp_vfu_virtio_describe(struct rp_vfu_virtio *virtio, struct rp_vfu_pci *pci)
{
	virtio->pci = pci;
	add_bars(virtio);
	add_cap(virtio, VIRTIO_PCI_CAP_COMMON_CFG, RP_VFU_VIRTIO_BAR_REGISTERS, VFU_VIRTIO_COMMON_AT,
		VFU_VIRTIO_COMMON_BYTES);
	add_cap(virtio, VIRTIO_PCI_CAP_NOTIFY_CFG, RP_VFU_VIRTIO_BAR_NOTIFY, 0, notify_region(virtio).size_bytes);
	add_cap(virtio, VIRTIO_PCI_CAP_ISR_CFG, RP_VFU_VIRTIO_BAR_REGISTERS, VFU_VIRTIO_ISR_AT, VFU_VIRTIO_ISR_BYTES);
	if (virtio->config.config_bytes > 0)
		add_cap(virtio, VIRTIO_PCI_CAP_DEVICE_CFG, RP_VFU_VIRTIO_BAR_REGISTERS, VFU_VIRTIO_CONFIG_AT,
			virtio->config.config_bytes);
	add_window(virtio);
	add_state(virtio);
}
