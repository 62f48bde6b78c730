/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <string.h>

#include "virtio.h"

#define MULTICAST_MASK 0x01u /* of a MAC's first byte */

/*
 * A device without a control queue receives whatever the address and in all its queues
 * (virtio 1.2, 5.1.6.5): there is nothing to say, but it cannot be another card either.
 */
int
vdrv_net_set(struct virtio_device *device, const struct rp_accel_net *net, struct rp_wire_why *why)
{
	unsigned int pairs_count = device->queues_count / 2;

	if (net->queue_pairs == 0 || net->queue_pairs > pairs_count)
		return rp_wire_why_set(why, -EINVAL, "queue pairs: %u, expected 1 to %u", net->queue_pairs,
				       pairs_count);
	if (!net->has_mac)
		return 0;
	if ((net->mac[0] & MULTICAST_MASK) != 0)
		return rp_wire_why_set(why, -EINVAL, "MAC: a multicast address, expected that of one card");
	if (device->has_mac && memcmp(device->mac, net->mac, sizeof(device->mac)) == 0)
		return 0;
	return rp_wire_why_set(why, -ENOTSUP,
			       "MAC: the device has no control queue to set it by: give the guest the device's own");
}
