/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef PACKETS_H
#define PACKETS_H

#include "packets_rig.h"

/*
 * What the scenarios of packets share: one measurement of two devices of a rig, in turns,
 * with one load.
 */

/* What every driver here negotiates: what librte_vhost and softaccel both have, and no offload. */
#define PACKETS_FEATURES (1ull << VIRTIO_F_VERSION_1 | 1ull << VIRTIO_NET_F_MRG_RXBUF)

/* Two kinds of ring, and two kinds of work. */
enum packets_family {
	PACKETS_SPLIT, /* the same work as the peer: two copies, its instruction set */
	PACKETS_PACKED,
	PACKETS_SWITCH_SPLIT, /* softaccel as it is used */
	PACKETS_SWITCH_PACKED,
	PACKETS_FAMILIES_COUNT,
};

struct packets_measure {
	const char *bench; /* packets per second; higher is better */
	const char *idle_bench; /* how often the generator looked for packets and found none */
	const char *alone_bench; /* the device's time for a packet, with both ends in its own thread; lower is better */
	const char *peer;
	enum packets_device ours, theirs;
	unsigned int pairs_wanted; /* 0: the usual number */
	unsigned int share; /* as in struct bench_pairs_config */
	struct packets_load load;
};

/* @return 0 or a negative errno, after one line on stderr. */
int packets_compare(struct packets_rig *rig, const struct packets_measure *measure, struct bench_rows *rows);

/* As alone_bench says. */
int packets_compare_alone(struct packets_rig *rig, const struct packets_measure *measure, struct bench_rows *rows);

#endif
