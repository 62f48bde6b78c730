/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "virtio.h"
#include "virtio_regs.h"

/* What becomes of a feature bit that the device offers. A bit without a row is withheld. */
enum use {
	OFFERED, /* the guest may have it */
	OURS, /* set on the device, whatever the guest says, and not shown to it */
	OURS_TO_STOP, /* as OURS, when nothing better stops a queue */
	OURS_BY_CONTROL, /* as OURS, when there is a control queue, which is driven by us */
	WITHHELD, /* needs what a port does not give */
};

struct feature {
	uint8_t bit;
	enum use use;
	const char *name;
};

/*
 * virtio 1.2, 5.1.3 and 6. A guest's control queue never leaves the VMM: the device's
 * own is ours, and what the guest would set through it is withheld where a port has no
 * use for it. Withheld is also what changes the doorbell's value, and what concerns
 * the device's owner.
 */
/* clang-format off */
static const struct feature features[] = {
	{0,  OFFERED,  "CSUM"},
	{1,  OFFERED,  "GUEST_CSUM"},
	{2,  WITHHELD, "CTRL_GUEST_OFFLOADS"},
	{3,  OFFERED,  "MTU"},
	{5,  OFFERED,  "MAC"},
	{7,  OFFERED,  "GUEST_TSO4"},
	{8,  OFFERED,  "GUEST_TSO6"},
	{9,  OFFERED,  "GUEST_ECN"},
	{10, OFFERED,  "GUEST_UFO"},
	{11, OFFERED,  "HOST_TSO4"},
	{12, OFFERED,  "HOST_TSO6"},
	{13, OFFERED,  "HOST_ECN"},
	{14, OFFERED,  "HOST_UFO"},
	{15, OFFERED,  "MRG_RXBUF"},
	{16, OFFERED,  "STATUS"},
	{17, OURS_BY_CONTROL, "CTRL_VQ"},
	{18, OURS_BY_CONTROL, "CTRL_RX"},
	{19, WITHHELD, "CTRL_VLAN"},
	{20, WITHHELD, "CTRL_RX_EXTRA"},
	{21, WITHHELD, "GUEST_ANNOUNCE"},
	{22, OURS_BY_CONTROL, "MQ"},
	{23, OURS_BY_CONTROL, "CTRL_MAC_ADDR"},
	{28, OFFERED,  "INDIRECT_DESC"},
	{29, OFFERED,  "EVENT_IDX"},
	{32, OFFERED,  "VERSION_1"},
	{33, OURS,     "ACCESS_PLATFORM"},
	{34, OFFERED,  "RING_PACKED"},
	{35, OFFERED,  "IN_ORDER"},
	{36, OURS,     "ORDER_PLATFORM"},
	{37, WITHHELD, "SR_IOV"},
	{38, WITHHELD, "NOTIFICATION_DATA"},
	{39, WITHHELD, "NOTIF_CONFIG_DATA"},
	{40, OURS_TO_STOP, "RING_RESET"},
	{41, WITHHELD, "ADMIN_VQ"},
	{50, WITHHELD, "DEVICE_STATS"},
	{51, WITHHELD, "HASH_TUNNEL"},
	{52, WITHHELD, "VQ_NOTF_COAL"},
	{53, WITHHELD, "NOTF_COAL"},
	{54, OFFERED,  "GUEST_USO4"},
	{55, OFFERED,  "GUEST_USO6"},
	{56, OFFERED,  "HOST_USO"},
	{57, WITHHELD, "HASH_REPORT"},
	{59, OFFERED,  "GUEST_HDRLEN"},
	{60, WITHHELD, "RSS"},
	{61, OFFERED,  "RSC_EXT"},
	{62, WITHHELD, "STANDBY"},
	{63, OFFERED,  "SPEED_DUPLEX"},
};
/* clang-format on */

#define FEATURES_COUNT (sizeof(features) / sizeof(features[0]))

static uint64_t
mask_of(enum use use)
{
	uint64_t mask = 0;
	size_t i;

	for (i = 0; i < FEATURES_COUNT; i++)
		if (features[i].use == use)
			mask |= 1ull << features[i].bit;
	return mask;
}

static const char *
name_of(unsigned int bit)
{
	size_t i;

	for (i = 0; i < FEATURES_COUNT; i++)
		if (features[i].bit == bit)
			return features[i].name;
	return NULL;
}

bool
vdrv_feature(uint64_t mask, unsigned int bit)
{
	return (mask >> bit & 1) != 0;
}

bool
vdrv_is_packed(const struct virtio_device *device)
{
	return vdrv_feature(device->guest_features, VIRTIO_F_RING_PACKED_BIT);
}

uint64_t
vdrv_features_offered(uint64_t device_features)
{
	return device_features & mask_of(OFFERED);
}

uint64_t
vdrv_features_own(uint64_t device_features, bool has_ring_state)
{
	bool has_control = vdrv_feature(device_features, VIRTIO_NET_F_CTRL_VQ_BIT);
	uint64_t mask = mask_of(OURS);

	if (has_control)
		mask |= mask_of(OURS_BY_CONTROL);
	/* The ring state capability stops data queues. */
	if (!has_ring_state || has_control)
		mask |= mask_of(OURS_TO_STOP);
	return device_features & mask;
}

void
vdrv_features_names(uint64_t mask, char *ret_text, size_t size)
{
	size_t used = 0;
	unsigned int bit;

	ret_text[0] = '\0';
	for (bit = 0; bit < 64; bit++) {
		const char *name = name_of(bit);
		const char *comma = used > 0 ? ", " : "";

		if (!vdrv_feature(mask, bit))
			continue;
		if (name != NULL)
			snprintf(ret_text + used, size - used, "%s%s", comma, name);
		else
			snprintf(ret_text + used, size - used, "%sbit %u", comma, bit);
		used = strlen(ret_text);
	}
}

int
vdrv_features_check(uint64_t device_features, uint64_t guest_features, struct rp_wire_why *why)
{
	uint64_t refused = guest_features & ~vdrv_features_offered(device_features);
	char names[160];

	if (refused != 0) {
		vdrv_features_names(refused, names, sizeof(names));
		return rp_wire_why_set(why, -ENOTSUP, "features: the device was not offered with %s", names);
	}
	/* Without it headers are shorter and in the guest's byte order: no virtio 1.x device does that. */
	if (!vdrv_feature(guest_features, VIRTIO_F_VERSION_1_BIT))
		return rp_wire_why_set(why, -ENOTSUP, "features: the guest did not accept VERSION_1 (a legacy driver)");
	return 0;
}
