/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef PACKETS_PEER_H
#define PACKETS_PEER_H

#include <rte_mbuf.h>

#include "packets_side.h"
#include "sa_mac.h"

/*
 * What a switch on librte_vhost is made of: rte_vhost_dequeue_burst(), the learning and
 * the looking up of addresses that softaccel does, by the same functions, and
 * rte_vhost_enqueue_burst(). In this process, so that it is on the device's CPU as ours is. There may
 * be several, if their names differ.
 */

struct packets_peer_guest {
	struct sa_mac_owner macs; /* first: what the table finds is the guest */
	char socket_path[64];
	bool registered;
	int vid; /* atomic; -1: not there */
};

struct packets_peer {
	unsigned int pairs;
	struct sa_mac_table *macs;
	struct rte_mempool *pool;
	struct packets_peer_guest guests[PACKETS_GUESTS];
	uint32_t now_s;
};

/* 0 or a negative errno, after one line on stderr. Ended by packets_peer_close(), also when it failed. */
int packets_peer_open(struct packets_peer *peer, const char *directory, const char *name, unsigned int pairs);
/* The guests have left, and nobody polls. */
void packets_peer_close(struct packets_peer *peer);

/* All guests' rings are up: from now on they are polled and nobody is to kick. @return 0 or -ETIMEDOUT. */
int packets_peer_wait(struct packets_peer *peer);

/* The device's thread: one turn. @return how many packets. */
unsigned int packets_peer_poll(struct packets_peer *peer);

#endif
