/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <string.h>

#include "rp_accel_vendor.h"
#include "virtio.h"
#include "virtio_regs.h"

/*
 * Configuration space is read once and then judged, so that the device cannot
 * say one thing while it is checked and another when it is used.
 */
struct config_space {
	uint8_t bytes[PCI_CONFIG_BYTES];
};

static uint16_t
get_u16(const struct config_space *space, unsigned int at)
{
	return (uint16_t)(space->bytes[at] | space->bytes[at + 1] << 8);
}

static uint32_t
get_u32(const struct config_space *space, unsigned int at)
{
	return get_u16(space, at) | (uint32_t)get_u16(space, at + 2) << 16;
}

/* Of several structures of one kind the first is the one that the device prefers (4.1.4.1). */
static void
set_place(struct virtio_place *place, uint32_t bar, uint64_t offset_bytes, uint64_t length_bytes)
{
	if (place->present)
		return;
	place->present = true;
	place->bar = bar;
	place->offset_bytes = offset_bytes;
	place->length_bytes = length_bytes;
}

static int
check_length(const struct config_space *space, unsigned int at, unsigned int min_bytes, const char *name,
	     struct rp_wire_why *why)
{
	unsigned int length_bytes = space->bytes[at + VIRTIO_CAP_LEN];

	if (length_bytes < min_bytes)
		return rp_wire_why_set(why, -EBADMSG, "%s capability at 0x%02x: cap_len: %u, expected at least %u",
				       name, at, length_bytes, min_bytes);
	if (at + length_bytes > PCI_CONFIG_BYTES)
		return rp_wire_why_set(why, -EBADMSG,
				       "%s capability at 0x%02x: cap_len: %u reaches beyond configuration space", name,
				       at, length_bytes);
	return 0;
}

/* 4.1.4: common, notify, ISR, device configuration */
static int
take_virtio(const struct config_space *space, unsigned int at, struct virtio_layout *layout, struct rp_wire_why *why)
{
	static const enum virtio_structure structures[] = {
		[VIRTIO_CAP_TYPE_COMMON] = VIRTIO_COMMON,
		[VIRTIO_CAP_TYPE_NOTIFY] = VIRTIO_NOTIFY,
		[VIRTIO_CAP_TYPE_ISR] = VIRTIO_ISR,
		[VIRTIO_CAP_TYPE_DEVICE] = VIRTIO_CONFIG,
	};
	enum virtio_structure structure = structures[space->bytes[at + VIRTIO_CAP_CFG_TYPE]];
	struct virtio_place *place = &layout->places[structure];
	int rc = check_length(space, at, structure == VIRTIO_NOTIFY ? VIRTIO_CAP_NOTIFY_BYTES : VIRTIO_CAP_BYTES,
			      vdrv_structure_name(structure), why);

	/* Reserved BAR numbers are to be ignored (4.1.4.1). */
	if (rc < 0 || space->bytes[at + VIRTIO_CAP_BAR] >= PCI_BARS_COUNT || place->present)
		return rc;
	set_place(place, space->bytes[at + VIRTIO_CAP_BAR], get_u32(space, at + VIRTIO_CAP_OFFSET),
		  get_u32(space, at + VIRTIO_CAP_LENGTH));
	if (structure == VIRTIO_NOTIFY)
		layout->notify_multiplier = get_u32(space, at + VIRTIO_CAP_MULTIPLIER);
	return 0;
}

/* The vendor data capability belongs to whom its vendor_id names; others' are none of our business. */
static int
take_vendor(const struct config_space *space, unsigned int at, struct virtio_layout *layout, struct rp_wire_why *why)
{
	unsigned int id_at = at + (unsigned int)offsetof(struct rp_accel_vendor_cap, vendor_id);
	unsigned int bar_at = at + (unsigned int)offsetof(struct rp_accel_vendor_cap, bar);
	int rc;

	if (id_at + 2 > PCI_CONFIG_BYTES || get_u16(space, id_at) != RP_ACCEL_VENDOR_ID)
		return 0;
	rc = check_length(space, at, sizeof(struct rp_accel_vendor_cap), vdrv_structure_name(VIRTIO_VENDOR), why);
	if (rc < 0 || space->bytes[bar_at] >= PCI_BARS_COUNT)
		return rc;
	set_place(&layout->places[VIRTIO_VENDOR], space->bytes[bar_at],
		  get_u32(space, at + (unsigned int)offsetof(struct rp_accel_vendor_cap, offset_bytes)),
		  get_u32(space, at + (unsigned int)offsetof(struct rp_accel_vendor_cap, length_bytes)));
	return 0;
}

static int
take_msix(const struct config_space *space, unsigned int at, struct virtio_layout *layout, struct rp_wire_why *why)
{
	uint32_t vectors_count, table, pba;

	if (at + PCI_MSIX_CAP_BYTES > PCI_CONFIG_BYTES)
		return rp_wire_why_set(why, -EBADMSG, "MSI-X capability at 0x%02x: reaches beyond configuration space",
				       at);
	vectors_count = (get_u16(space, at + PCI_MSIX_CONTROL) & PCI_MSIX_CONTROL_SIZE_MASK) + 1u;
	table = get_u32(space, at + PCI_MSIX_TABLE);
	pba = get_u32(space, at + PCI_MSIX_PBA);
	if ((table & PCI_MSIX_BIR_MASK) >= PCI_BARS_COUNT || (pba & PCI_MSIX_BIR_MASK) >= PCI_BARS_COUNT)
		return rp_wire_why_set(why, -EBADMSG, "MSI-X capability at 0x%02x: BAR: reserved number", at);
	set_place(&layout->places[VIRTIO_MSIX_TABLE], table & PCI_MSIX_BIR_MASK, table & ~PCI_MSIX_BIR_MASK,
		  (uint64_t)vectors_count * PCI_MSIX_ENTRY_BYTES);
	/* A bit for each vector, in quad words. */
	set_place(&layout->places[VIRTIO_MSIX_PBA], pba & PCI_MSIX_BIR_MASK, pba & ~PCI_MSIX_BIR_MASK,
		  (vectors_count + 63u) / 64u * 8u);
	return 0;
}

static int
take(const struct config_space *space, unsigned int at, struct virtio_layout *layout, struct rp_wire_why *why)
{
	if (space->bytes[at] == PCI_CAP_ID_MSIX)
		return take_msix(space, at, layout, why);
	/* The list's pointers are multiples of four, so a header of four bytes is always inside. */
	if (space->bytes[at] != PCI_CAP_ID_VENDOR)
		return 0;
	switch (space->bytes[at + VIRTIO_CAP_CFG_TYPE]) {
	case VIRTIO_CAP_TYPE_COMMON:
	case VIRTIO_CAP_TYPE_NOTIFY:
	case VIRTIO_CAP_TYPE_ISR:
	case VIRTIO_CAP_TYPE_DEVICE:
		return take_virtio(space, at, layout, why);
	case RP_ACCEL_VENDOR_CFG_TYPE:
		return take_vendor(space, at, layout, why);
	default:
		return 0;
	}
}

static int
walk(const struct config_space *space, struct virtio_layout *layout, struct rp_wire_why *why)
{
	uint64_t seen_mask = 0; /* a bit for each multiple of four */
	unsigned int at;

	/* Whoever needs a structure says that it is missing. */
	if ((get_u16(space, PCI_STATUS) & PCI_STATUS_CAPABILITIES_MASK) == 0)
		return 0;
	for (at = space->bytes[PCI_CAPABILITIES] & ~3u; at != 0; at = space->bytes[at + 1] & ~3u) {
		int rc;

		if (at < PCI_HEADER_BYTES)
			return rp_wire_why_set(why, -EBADMSG,
					       "PCI capability list: points to 0x%02x, inside the header", at);
		if ((seen_mask & (1ull << (at / 4))) != 0)
			return rp_wire_why_set(why, -EBADMSG, "PCI capability list: loops at 0x%02x", at);
		seen_mask |= 1ull << (at / 4);
		rc = take(space, at, layout, why);
		if (rc < 0)
			return rc;
	}
	return 0;
}

static int
check_identity(const struct virtio_layout *layout, struct rp_wire_why *why)
{
	uint16_t vendor = layout->pci_vendor, id = layout->pci_device;

	if (vendor == PCI_ABSENT)
		return rp_wire_why_set(why, -EIO, "PCI configuration space: the device does not answer (all ones)");
	if (vendor != VIRTIO_PCI_VENDOR || id < VIRTIO_PCI_DEVICE_TRANSITIONAL_NET || id > VIRTIO_PCI_DEVICE_LAST)
		return rp_wire_why_set(why, -ENOTSUP, "PCI device %04x:%04x is not a virtio device", vendor, id);
	if (id != VIRTIO_PCI_DEVICE_TRANSITIONAL_NET && id != VIRTIO_PCI_DEVICE_MODERN + VIRTIO_DEVICE_NET)
		return rp_wire_why_set(why, -ENOTSUP, "PCI device %04x:%04x is not a virtio network device", vendor,
				       id);
	return 0;
}

int
vdrv_capabilities_read(const struct rp_accel_transport *transport, struct virtio_layout *ret_layout,
		       struct rp_wire_why *why)
{
	struct config_space space;
	uint64_t size_bytes;
	int rc = transport->ops->region_size(transport->priv, RP_ACCEL_TRANSPORT_CONFIG_REGION, &size_bytes, why);

	if (rc < 0)
		return rc;
	if (size_bytes < PCI_CONFIG_BYTES)
		return rp_wire_why_set(why, -EBADMSG,
				       "PCI configuration space: %" PRIu64 " bytes, expected at least %u", size_bytes,
				       PCI_CONFIG_BYTES);
	rc = transport->ops->region_read(transport->priv, RP_ACCEL_TRANSPORT_CONFIG_REGION, 0, sizeof(space.bytes),
					 space.bytes, why);
	if (rc < 0)
		return rc;
	memset(ret_layout, 0, sizeof(*ret_layout));
	ret_layout->pci_vendor = get_u16(&space, PCI_VENDOR_ID);
	ret_layout->pci_device = get_u16(&space, PCI_DEVICE_ID);
	rc = check_identity(ret_layout, why);
	return rc < 0 ? rc : walk(&space, ret_layout, why);
}
