/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <inttypes.h>

#include "rp_accel_vendor.h"
#include "virtio.h"
#include "virtio_regs.h"

/* What a structure must be to be used at all. */
struct rule {
	const char *name;
	bool required;
	uint32_t min_bytes;
	uint32_t alignment_bytes;
};

/* 4.1.4.3.1, 4.1.4.4.1, 4.1.4.5.1, 4.1.4.6.1; rp_accel_vendor.h; PCI Local Bus 3.0, 6.8.2 */
/* clang-format off */
static const struct rule rules[VIRTIO_STRUCTURES_COUNT] = {
	[VIRTIO_COMMON]     = {"common configuration", true, COMMON_BYTES, 4},
	[VIRTIO_NOTIFY]     = {"notify", true, VIRTIO_DOORBELL_BYTES, 2},
	[VIRTIO_ISR]        = {"ISR", false, 1, 1},
	[VIRTIO_CONFIG]     = {"device configuration", false, NET_CONFIG_MAC_BYTES, 4},
	[VIRTIO_VENDOR]     = {"ring state", false, sizeof(struct rp_accel_vendor_header), 8},
	[VIRTIO_MSIX_TABLE] = {"MSI-X table", false, PCI_MSIX_ENTRY_BYTES, 8},
	[VIRTIO_MSIX_PBA]   = {"MSI-X pending bits", false, 8, 8},
};
/* clang-format on */

const char *
vdrv_structure_name(enum virtio_structure structure)
{
	return rules[structure].name;
}

static int
check_one(const struct rp_accel_transport *transport, const struct virtio_place *place, const struct rule *rule,
	  struct rp_wire_why *why)
{
	uint64_t bar_bytes;
	int rc;

	if (place->length_bytes < rule->min_bytes)
		return rp_wire_why_set(why, -EBADMSG, "%s: length: %" PRIu64 ", expected at least %u", rule->name,
				       place->length_bytes, rule->min_bytes);
	if (place->offset_bytes % rule->alignment_bytes != 0)
		return rp_wire_why_set(why, -EBADMSG, "%s: offset: 0x%" PRIx64 ", expected a multiple of %u",
				       rule->name, place->offset_bytes, rule->alignment_bytes);
	rc = transport->ops->region_size(transport->priv, place->bar, &bar_bytes, why);
	if (rc < 0)
		return rc;
	if (bar_bytes == 0)
		return rp_wire_why_set(why, -EBADMSG, "%s: BAR: %u is absent", rule->name, place->bar);
	/* Both are 32-bit numbers on the wire: the sum cannot wrap. */
	if (place->offset_bytes + place->length_bytes > bar_bytes)
		return rp_wire_why_set(why, -EBADMSG,
				       "%s: offset 0x%" PRIx64 " and length 0x%" PRIx64 " reach beyond "
				       "BAR %u, which has 0x%" PRIx64 " bytes",
				       rule->name, place->offset_bytes, place->length_bytes, place->bar, bar_bytes);
	return 0;
}

static bool
overlaps(const struct virtio_place *place, uint32_t bar, uint64_t offset_bytes, uint64_t size_bytes)
{
	return place->present && place->bar == bar && place->offset_bytes < offset_bytes + size_bytes &&
	       offset_bytes < place->offset_bytes + place->length_bytes;
}

static int
check_overlap(const struct virtio_layout *layout, enum virtio_structure structure, struct rp_wire_why *why)
{
	const struct virtio_place *place = &layout->places[structure];
	unsigned int i;

	for (i = 0; i < (unsigned int)structure; i++)
		if (overlaps(&layout->places[i], place->bar, place->offset_bytes, place->length_bytes))
			return rp_wire_why_set(why, -EBADMSG, "%s: overlaps the %s in BAR %u", rules[structure].name,
					       rules[i].name, place->bar);
	return 0;
}

static int
say_missing(const struct virtio_layout *layout, const struct rule *rule, struct rp_wire_why *why)
{
	if (layout->pci_device <= VIRTIO_PCI_DEVICE_TRANSITIONAL_LAST)
		return rp_wire_why_set(why, -ENOTSUP,
				       "PCI device %04x:%04x is legacy-only (no %s capability): expected virtio 1.x "
				       "(QEMU: disable-modern=off)",
				       layout->pci_vendor, layout->pci_device, rule->name);
	return rp_wire_why_set(why, -ENOTSUP, "no %s capability: not a virtio 1.x device", rule->name);
}

int
vdrv_layout_check(const struct rp_accel_transport *transport, const struct virtio_layout *layout,
		  struct rp_wire_why *why)
{
	unsigned int i;
	int rc;

	for (i = 0; i < VIRTIO_STRUCTURES_COUNT; i++) {
		if (!layout->places[i].present) {
			if (!rules[i].required)
				continue;
			return say_missing(layout, &rules[i], why);
		}
		rc = check_one(transport, &layout->places[i], &rules[i], why);
		if (rc == 0)
			rc = check_overlap(layout, (enum virtio_structure)i, why);
		if (rc < 0)
			return rc;
	}
	return 0;
}

enum virtio_structure
vdrv_layout_find(const struct virtio_layout *layout, uint32_t bar, uint64_t offset_bytes, uint64_t size_bytes)
{
	unsigned int i;

	for (i = 0; i < VIRTIO_STRUCTURES_COUNT; i++)
		if (i != VIRTIO_NOTIFY && overlaps(&layout->places[i], bar, offset_bytes, size_bytes))
			return (enum virtio_structure)i;
	return VIRTIO_STRUCTURES_COUNT;
}
