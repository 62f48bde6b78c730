/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <rte_vhost.h>

#include "packets_peer.h"
#include "sa_flow.h"
#include "vfu_rig.h"
#include "vhost_listen.h"

#define MBUFS_COUNT 4096u
#define MBUF_CACHE 64u
#define MACS_MAX 256u
#define READY_LIMIT_NS 20000000000ull
#define READY_PAUSE_US 1000u

#define PEERS_MAX 2u

/* Callbacks carry a number and a path, no context. */
static struct packets_peer *peers_of_callbacks[PEERS_MAX];

static struct packets_peer_guest *
guest_of(int vid)
{
	char path[PATH_MAX];
	unsigned int peer, i;

	if (rte_vhost_get_ifname(vid, path, sizeof(path)) < 0)
		return NULL;
	for (peer = 0; peer < PEERS_MAX; peer++) {
		for (i = 0; peers_of_callbacks[peer] != NULL && i < PACKETS_GUESTS; i++) {
			if (strcmp(peers_of_callbacks[peer]->guests[i].socket_path, path) == 0)
				return &peers_of_callbacks[peer]->guests[i];
		}
	}
	return NULL;
}

/* Another one in its place, where there is one. @return whether there was. */
static bool
replace_in_callbacks(const struct packets_peer *old, struct packets_peer *other)
{
	unsigned int i;

	for (i = 0; i < PEERS_MAX; i++) {
		if (peers_of_callbacks[i] == old) {
			peers_of_callbacks[i] = other;
			return true;
		}
	}
	return false;
}

static int
on_new_device(int vid)
{
	struct packets_peer_guest *guest = guest_of(vid);

	if (guest != NULL)
		__atomic_store_n(&guest->vid, vid, __ATOMIC_RELEASE);
	return 0;
}

static void
on_destroy_device(int vid)
{
	struct packets_peer_guest *guest = guest_of(vid);

	if (guest != NULL)
		__atomic_store_n(&guest->vid, -1, __ATOMIC_RELEASE);
}

static int
listen_for(struct packets_peer_guest *guest)
{
	static const struct rte_vhost_device_ops ops = {
		.new_device = on_new_device,
		.destroy_device = on_destroy_device,
	};

	return vhost_listen(guest->socket_path, RTE_VHOST_USER_NET_COMPLIANT_OL_FLAGS, &ops, &guest->registered);
}

int
packets_peer_open(struct packets_peer *peer, const char *directory, const char *name, unsigned int pairs)
{
	unsigned int i;
	int rc;

	*peer = (struct packets_peer){.pairs = pairs};
	if (!replace_in_callbacks(NULL, peer))
		return vfu_rig_complain("librte_vhost", -ENOSPC, NULL);
	peer->pool =
		rte_pktmbuf_pool_create(name, MBUFS_COUNT, MBUF_CACHE, 0, RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY);
	rc = peer->pool == NULL ? -ENOMEM : sa_mac_table_create(PACKETS_GUESTS * MACS_MAX, &peer->macs);
	for (i = 0; rc == 0 && i < PACKETS_GUESTS; i++) {
		peer->guests[i].macs.quota = MACS_MAX;
		peer->guests[i].vid = -1;
		snprintf(peer->guests[i].socket_path, sizeof(peer->guests[i].socket_path), "%s/%s%u", directory, name,
			 i);
		rc = listen_for(&peer->guests[i]);
	}
	return vfu_rig_complain("librte_vhost", rc, NULL);
}

void
packets_peer_close(struct packets_peer *peer)
{
	unsigned int i;

	for (i = 0; i < PACKETS_GUESTS; i++) {
		if (peer->guests[i].registered)
			rte_vhost_driver_unregister(peer->guests[i].socket_path);
		peer->guests[i].registered = false;
	}
	replace_in_callbacks(peer, NULL);
	peer->macs = sa_mac_table_destroy(peer->macs);
	rte_mempool_free(peer->pool);
	peer->pool = NULL;
}

int
packets_peer_wait(struct packets_peer *peer)
{
	uint64_t deadline_ns = bench_now_ns() + READY_LIMIT_NS;
	unsigned int i = 0, queue;

	while (i < PACKETS_GUESTS) {
		int vid = __atomic_load_n(&peer->guests[i].vid, __ATOMIC_ACQUIRE);

		if (bench_now_ns() > deadline_ns)
			return vfu_rig_complain("librte_vhost", -ETIMEDOUT, NULL);
		if (vid < 0) {
			usleep(READY_PAUSE_US);
			continue;
		}
		for (queue = 0; queue < 2 * peer->pairs; queue++)
			rte_vhost_enable_guest_notification(vid, (uint16_t)queue, 0);
		i++;
	}
	return 0;
}

/* Frames that go to one queue, one behind the other. */
struct burst {
	const struct packets_peer_guest *to;
	uint16_t queue;
	uint16_t count;
	bool all; /* frames between the last addresses are for it, whatever else they hold */
	struct sa_mac_pair last;
	struct rte_mbuf *mbufs[PACKETS_BURST];
};

static void
send_burst(struct burst *burst)
{
	if (burst->count > 0)
		rte_vhost_enqueue_burst(burst->to->vid, burst->queue, burst->mbufs, burst->count);
	burst->count = 0;
	burst->all = false;
}

static struct packets_peer_guest *
other_guest(struct packets_peer *peer, const struct packets_peer_guest *from)
{
	return &peer->guests[from == &peer->guests[0] ? 1 : 0];
}

/* As in softaccel's switch: the frames of a burst are between few, and are looked up when that changes. */
static inline bool
goes_with_the_last(struct burst *burst, struct rte_mbuf *mbuf)
{
	const struct sa_mac_pair pair = sa_mac_pair_of(rte_pktmbuf_mtod(mbuf, const uint8_t *));

	if (burst->all && sa_mac_pair_is(&pair, &burst->last)) {
		burst->mbufs[burst->count++] = mbuf;
		return true;
	}
	burst->all = false;
	burst->last = pair;
	return false;
}

static void
forward_one(struct packets_peer *peer, struct packets_peer_guest *from, struct rte_mbuf *mbuf, struct burst *burst)
{
	const uint8_t *frame = rte_pktmbuf_mtod(mbuf, const uint8_t *);
	sa_mac destination = sa_mac_from_bytes(frame);
	struct packets_peer_guest *to = NULL;
	uint32_t hash = peer->pairs > 1 ? sa_flow_hash(frame, rte_pktmbuf_pkt_len(mbuf)) : 0;
	uint16_t queue = (uint16_t)PACKETS_RX((uint64_t)hash * peer->pairs >> 32);
	bool known, found;

	known = sa_mac_learn(peer->macs, sa_mac_from_bytes(frame + 6), &from->macs, peer->now_s);
	if (!sa_mac_is_group(destination))
		to = (struct packets_peer_guest *)sa_mac_find(peer->macs, destination, peer->now_s);
	if (to == from)
		return;
	found = to != NULL;
	/* Of two, all but this one is the other one. */
	if (!found)
		to = other_guest(peer, from);
	if (burst->count > 0 && (burst->to != to || burst->queue != queue))
		send_burst(burst);
	burst->to = to;
	burst->queue = queue;
	burst->mbufs[burst->count++] = mbuf;
	burst->all = known && found && peer->pairs == 1;
}

static void
keep_time(struct packets_peer *peer)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
	peer->now_s = (uint32_t)now.tv_sec;
}

unsigned int
packets_peer_poll(struct packets_peer *peer)
{
	struct rte_mbuf *mbufs[PACKETS_BURST];
	unsigned int guest, pair, packets = 0;
	struct burst burst = {.count = 0};
	uint16_t count, i;

	keep_time(peer);
	for (guest = 0; guest < PACKETS_GUESTS; guest++) {
		for (pair = 0; pair < peer->pairs; pair++) {
			count = rte_vhost_dequeue_burst(peer->guests[guest].vid, (uint16_t)PACKETS_TX(pair), peer->pool,
							mbufs, PACKETS_BURST);
			for (i = 0; i < count; i++)
				if (!goes_with_the_last(&burst, mbufs[i]))
					forward_one(peer, &peer->guests[guest], mbufs[i], &burst);
			send_burst(&burst);
			rte_pktmbuf_free_bulk(mbufs, count);
			packets += count;
		}
	}
	return packets;
}
