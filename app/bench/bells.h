/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef BELLS_H
#define BELLS_H

#include <sys/epoll.h>

#include "rig.h"
#include "rp_vfu_virtio.h"

/*
 * A device that does nothing but look whether it was kicked, and say when it saw it: a
 * virtio function whose doorbells are a page each, through the port as any other.
 */

enum bells_look {
	BELLS_LOOK_WORDS, /* at the doorbells: a load each, and an exchange where it was rung */
	BELLS_LOOK_EVENTFD, /* one: read(2) until there is something to be read */
	BELLS_LOOK_EVENTFDS, /* many: epoll_wait(2), and read(2) */
};

struct bells {
	struct rp_vfu_virtio *virtio;
	struct rp_vfu_pci *pci;
	int words_fd;
	uint8_t *words;
	size_t words_bytes;
	size_t page_bytes;
	uint32_t *looked_at[RIG_QUEUES_MAX];

	/* What the device's thread does; changed while it answers the probe (rig_hop_ns()). */
	enum bells_look look;
	unsigned int watched_count; /* of the doorbells, from `first` on */
	unsigned int first;
	int eventfd; /* or the set of them */
	bool loaded; /* frames are moved between two looks */
	uint8_t *frames;

	_Alignas(128) uint64_t seen_ns; /* atomic: when it saw a kick; 0: not yet */
};

/* Its ctx is a `struct bells *`, zeroed. */
extern const struct rig_device rig_bells;

#endif
