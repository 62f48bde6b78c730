/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <string.h>

#include <linux/virtio_net.h>
#include <rte_vhost.h>

#include "vhost.h"

#define FLAGS (RTE_VHOST_USER_LINEARBUF_SUPPORT | RTE_VHOST_USER_NET_COMPLIANT_OL_FLAGS)

/* A frame goes out by ways that complete no checksum and cut no segments: the guest does both itself. */
#define NOT_OFFERED                                                                                                    \
	(1ull << VIRTIO_NET_F_CSUM | 1ull << VIRTIO_NET_F_HOST_TSO4 | 1ull << VIRTIO_NET_F_HOST_TSO6 |                 \
	 1ull << VIRTIO_NET_F_HOST_ECN | 1ull << VIRTIO_NET_F_HOST_UFO | 1ull << VIRTIO_NET_F_GUEST_TSO4 |             \
	 1ull << VIRTIO_NET_F_GUEST_TSO6 | 1ull << VIRTIO_NET_F_GUEST_ECN | 1ull << VIRTIO_NET_F_GUEST_UFO)

/* librte_vhost calls back with a number only. Written while no socket of that guest is there. */
static struct vs_guest *guests[VS_PORTS_MAX];

static struct vs_guest *
find(int vid)
{
	char path[sizeof(guests[0]->vhost_path)];
	unsigned int i;

	if (rte_vhost_get_ifname(vid, path, sizeof(path)) < 0)
		return NULL;
	for (i = 0; i < RTE_DIM(guests); i++) {
		if (guests[i] != NULL && strcmp(guests[i]->vhost_path, path) == 0)
			return guests[i];
	}
	return NULL;
}

/*
 * The callbacks run while a request waits for its answer, and the one who waits may be the main
 * lcore in rp_port_move(): nothing here may wait for the main lcore.
 */

static int
on_device(int vid)
{
	struct vs_guest *guest = find(vid);

	if (guest == NULL)
		return -1;
	__atomic_store_n(&guest->vid, vid, __ATOMIC_RELEASE);
	return 0;
}

static void
on_no_device(int vid)
{
	struct vs_guest *guest = find(vid);

	if (guest == NULL)
		return;
	__atomic_store_n(&guest->vid, -1, __ATOMIC_RELEASE);
	/* The device is freed after this: no worker may be in a burst of it. */
	rte_rcu_qsbr_synchronize(guest->sw->readers, RTE_QSBR_THRID_INVALID);
}

/* The next connection begins with no ring: what the last one had enabled is not taken back ring by ring. */
static void
on_no_connection(int vid)
{
	struct vs_guest *guest = find(vid);

	if (guest == NULL)
		return;
	__atomic_store_n(&guest->transmit_mask, 0, __ATOMIC_RELAXED);
	if (!guest->config.ringpass)
		__atomic_store_n(&guest->owners.software_mask, 0, __ATOMIC_RELAXED);
}

static void
set_bit(uint64_t *mask, uint64_t bit, int is_set)
{
	if (is_set)
		__atomic_fetch_or(mask, bit, __ATOMIC_RELAXED);
	else
		__atomic_fetch_and(mask, ~bit, __ATOMIC_RELAXED);
}

static int
on_ring(int vid, uint16_t ring, int enable)
{
	struct vs_guest *guest = find(vid);
	uint64_t bit = 1ull << ring / 2;

	if (guest == NULL || ring / 2 >= VS_PAIRS_MAX)
		return 0;
	/* Behind Ringpass the port knows who has a receive ring; this one may be parked. */
	if (ring % 2 == 1)
		set_bit(&guest->transmit_mask, bit, enable);
	else if (!guest->config.ringpass)
		set_bit(&guest->owners.software_mask, bit, enable);
	return 0;
}

static int
set_up(struct vs_guest *guest)
{
	static const struct rte_vhost_device_ops ops = {
		.new_device = on_device,
		.destroy_device = on_no_device,
		.destroy_connection = on_no_connection,
		.vring_state_changed = on_ring,
	};
	const char *path = guest->vhost_path;

	if (rte_vhost_driver_disable_features(path, NOT_OFFERED) < 0 ||
	    rte_vhost_driver_callback_register(path, &ops) < 0)
		return -EIO;
	return rte_vhost_driver_start(path) < 0 ? -EIO : 0;
}

int
vs_vhost_start(struct vs_guest *guest, struct rp_wire_why *why)
{
	unsigned int number = guest->switch_port->number;

	guest->vid = -1;
	if (rte_vhost_driver_register(guest->vhost_path, FLAGS) < 0)
		return rp_wire_why_set(why, -EIO, "%s: librte_vhost does not take it", guest->vhost_path);
	guests[number] = guest;
	if (set_up(guest) < 0) {
		vs_vhost_stop(guest);
		return rp_wire_why_set(why, -EIO, "%s: librte_vhost cannot listen on it", guest->vhost_path);
	}
	return 0;
}

void
vs_vhost_stop(struct vs_guest *guest)
{
	unsigned int number = guest->switch_port->number;

	if (guests[number] != guest)
		return;
	rte_vhost_driver_unregister(guest->vhost_path);
	guests[number] = NULL;
}

unsigned int
vs_vhost_receive(struct vs_guest *guest, unsigned int pair, struct rte_mbuf **ret_frames)
{
	int vid = __atomic_load_n(&guest->vid, __ATOMIC_ACQUIRE);

	if (vid < 0)
		return 0;
	return rte_vhost_dequeue_burst(vid, (uint16_t)(2 * pair + 1), guest->sw->pool, ret_frames, VS_BURST);
}

unsigned int
vs_vhost_send(struct vs_guest *guest, unsigned int pair, struct rte_mbuf **frames, unsigned int count)
{
	int vid = __atomic_load_n(&guest->vid, __ATOMIC_ACQUIRE);

	if (vid < 0)
		return 0;
	return rte_vhost_enqueue_burst(vid, (uint16_t)(2 * pair), frames, (uint16_t)count);
}
