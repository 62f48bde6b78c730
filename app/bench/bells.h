/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef BELLS_H
#define BELLS_H

#include <sys/epoll.h>

#include "rig.h"
#include "rp_vfu_virtio.h"
#include "sa_doorbell.h"

/*
 * A device that does nothing but look whether it was kicked, and say when it saw it: a
 * virtio function with the doorbells that softaccel gives one, through the port as any other.
 */

enum bells_look {
	BELLS_LOOK_WORDS, /* at the doorbells: a load each, and an exchange where it was rung */
	BELLS_LOOK_EVENTFD, /* one: read(2) until there is something to be read */
	BELLS_LOOK_EVENTFDS, /* many: epoll_wait(2), and read(2) */
};

struct bells {
	struct rp_vfu_virtio *virtio;
	struct rp_vfu_pci *pci;
	enum softaccel_doorbell layout; /* before it is opened */
	struct sa_doorbells doorbells;
	uint32_t *looked_at[RIG_QUEUES_MAX]; /* each word once */
	unsigned int words_count;

	/* What the device's thread does; changed while it answers the probe (rig_hop_ns()). */
	enum bells_look look;
	unsigned int watched_count; /* of the words, from `first` on */
	unsigned int first;
	int eventfd; /* or the set of them */
	bool loaded; /* frames are moved between two looks */
	uint8_t *frames;

	_Alignas(128) uint64_t seen_ns; /* atomic: when it saw a kick; 0: not yet */
	unsigned int seen_queue; /* with it, of words: whose kick it is */
};

/* Its ctx is a `struct bells *`, zeroed but for the layout. */
extern const struct rig_device rig_bells;

#endif
