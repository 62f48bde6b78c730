/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <string.h>

#include "virtio.h"
#include "virtio_regs.h"

/*
 * What the device is to receive. A wish is judged by what the device has, kept, and
 * told by the control queue; a device that was reset has forgotten it and is told
 * again (virtio 1.2, 5.1.6.5).
 */

#define MULTICAST_MASK 0x01u /* of a MAC's first byte */

/* 5.1.6.5.1, 5.1.6.5.2, 5.1.6.5.5 */
#define CLASS_RX 0u
#define RX_PROMISCUOUS 0u
#define RX_ALL_MULTICAST 1u
#define CLASS_MAC 1u
#define MAC_ADDRESS_SET 1u
#define CLASS_MQ 4u
#define MQ_PAIRS_SET 0u

static bool
has(const struct virtio_device *device, unsigned int bit)
{
	return device->ctrlq.present && vdrv_feature(device->device_features, bit);
}

static bool
is_own_mac(const struct virtio_device *device, const uint8_t *mac)
{
	return device->has_mac && memcmp(device->mac, mac, sizeof(device->mac)) == 0;
}

static int
check_mac(const struct virtio_device *device, const uint8_t *mac, struct rp_wire_why *why)
{
	static const uint8_t none[6];

	if ((mac[0] & MULTICAST_MASK) != 0 || memcmp(mac, none, sizeof(none)) == 0)
		return rp_wire_why_set(why, -EINVAL, "MAC: %s address, expected that of one card",
				       (mac[0] & MULTICAST_MASK) != 0 ? "a multicast" : "an empty");
	if (has(device, VIRTIO_NET_F_CTRL_MAC_ADDR_BIT) || is_own_mac(device, mac))
		return 0;
	return rp_wire_why_set(why, -ENOTSUP, "MAC: the device has no %s to set it by: give the guest the device's own",
			       device->ctrlq.present ? "CTRL_MAC_ADDR" : "control queue");
}

int
vdrv_net_check(const struct virtio_device *device, const struct rp_accel_net *net, struct rp_wire_why *why)
{
	unsigned int pairs_count = device->queues_count / 2;

	if (net->queue_pairs == 0 || net->queue_pairs > pairs_count)
		return rp_wire_why_set(why, -EINVAL, "queue pairs: %u, expected 1 to %u%s", net->queue_pairs,
				       pairs_count, vdrv_queues_limit(device));
	return net->has_mac ? check_mac(device, net->mac, why) : 0;
}

static int
tell_pairs(struct virtio_device *device, uint16_t pairs_count, struct rp_wire_why *why)
{
	const uint8_t data[] = {(uint8_t)pairs_count, (uint8_t)(pairs_count >> 8)};
	const struct virtio_command command = {"VQ_PAIRS_SET", CLASS_MQ, MQ_PAIRS_SET, data, sizeof(data)};

	return has(device, VIRTIO_NET_F_MQ_BIT) ? vdrv_ctrlq_command(device, &command, why) : 0;
}

static int
tell_mac(struct virtio_device *device, const struct rp_accel_net *net, struct rp_wire_why *why)
{
	const uint8_t *mac = net->has_mac ? net->mac : device->mac;
	const struct virtio_command command = {"MAC_ADDR_SET", CLASS_MAC, MAC_ADDRESS_SET, mac, sizeof(device->mac)};
	int rc;

	/* Its own is what it has after a reset. */
	if (!has(device, VIRTIO_NET_F_CTRL_MAC_ADDR_BIT) ||
	    (!device->mac_was_set && (!net->has_mac || is_own_mac(device, mac))) || (!net->has_mac && !device->has_mac))
		return 0;
	rc = vdrv_ctrlq_command(device, &command, why);
	if (rc == 0)
		device->mac_was_set = true;
	return rc;
}

static int
tell_rx_mode(struct virtio_device *device, const struct rp_accel_net *net, struct rp_wire_why *why)
{
	const uint8_t promiscuous = net->promiscuous, all_multicast = net->all_multicast;
	const struct virtio_command commands[] = {
		{"RX_PROMISC", CLASS_RX, RX_PROMISCUOUS, &promiscuous, 1},
		{"RX_ALLMULTI", CLASS_RX, RX_ALL_MULTICAST, &all_multicast, 1},
	};
	int rc;

	/* Without it a device receives whatever the address. */
	if (!has(device, VIRTIO_NET_F_CTRL_RX_BIT))
		return 0;
	rc = vdrv_ctrlq_command(device, &commands[0], why);
	return rc < 0 ? rc : vdrv_ctrlq_command(device, &commands[1], why);
}

static int
tell(struct virtio_device *device, const struct rp_accel_net *net, struct rp_wire_why *why)
{
	int rc = tell_pairs(device, net->queue_pairs, why);

	if (rc == 0)
		rc = tell_mac(device, net, why);
	return rc < 0 ? rc : tell_rx_mode(device, net, why);
}

int
vdrv_net_tell(struct virtio_device *device, struct rp_wire_why *why)
{
	int rc;

	if (!device->has_net || device->net_told)
		return 0;
	rc = tell(device, &device->net, why);
	device->net_told = rc == 0;
	return rc;
}

int
vdrv_net_set(struct virtio_device *device, const struct rp_accel_net *net, struct rp_wire_why *why)
{
	struct rp_wire_why words = {0};
	int rc = vdrv_net_check(device, net, why);

	if (rc < 0)
		return rc;
	if (device->negotiated)
		rc = tell(device, net, why);
	if (rc == 0) {
		device->net = *net;
		device->has_net = true;
		device->net_told = device->negotiated;
		return 0;
	}
	if (rc != -ENOTSUP)
		return rc;
	/* It may have taken a part: back to what it was told before. If it refuses that too, it is told with the next queue. */
	device->net_told = false;
	if (vdrv_error_is_loss(vdrv_net_tell(device, &words))) {
		*why = words;
		return words.error;
	}
	return rc;
}
