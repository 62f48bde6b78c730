/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SA_DATAPATH_H
#define SA_DATAPATH_H

#include <stdbool.h>
#include <stdint.h>

#include "rp_dma.h"
#include "sa_bell.h"
#include "sa_gate.h"
#include "sa_idle.h"
#include "sa_place.h"
#include "sa_ring.h"
#include "sa_switch.h"
#include "sa_uplink.h"

/**
 * @file
 * The data path: which rings run, and the loop that serves them.
 *
 * Threads: iterate, run: the data path; stop: any; the rest: the control side,
 * where ring and reader changes need the gate closed.
 */

struct sa_datapath {
	struct sa_gate gate;
	struct sa_switch sw;
	struct sa_ring_scratch scratch;
	struct sa_place place;
	struct sa_uplink *uplink; /* NULL: none */
	struct sa_port *uplink_port;
	struct rp_dma_reader *readers[2 * SOFTACCEL_FUNCTIONS_MAX]; /* the guest's, and of local rings */
	unsigned int readers_count;
	struct sa_ring **running;
	unsigned int running_count;
	unsigned int running_room;
	struct sa_ring **watched; /* of the running ones, those whose own doorbell is looked at, ... */
	unsigned int watched_rings_count;
	struct sa_bell **bells; /* ... then the doorbells that several have, each once, and ... */
	uint32_t **doorbells; /* ... these, of both, side by side: a ring is touched when it was rung */
	unsigned int watched_count; /* of them */
	uint64_t collections_count;
	bool watched_stale; /* another ring, or a judgement */
	uint64_t watched_as_of; /* the opening of the gate since when it is so */
	int kick_epoll_fd; /* kick eventfds of running rings, the gate's, and what announces the uplink's packets */
	struct rp_wire_caller *caller; /* of the interrupts */
	int notice_fd; /* an eventfd for the control side: a ring broke */
	struct sa_idle idle;
	uint32_t aged_s;
	unsigned int drain_iterations_count;
	uint64_t now_ms; /* the coarse clock, once an iteration */
	uint64_t judge_ms; /* when doorbells are judged next */
	struct softaccel_sleep_counters sleeps; /* atomic words */
	bool stop; /* atomic */
};

/** @return 0 or a negative errno. */
int sa_datapath_init(struct sa_datapath *path, const struct softaccel_config *config);
void sa_datapath_fini(struct sa_datapath *path);

/** Make an ethdev the uplink. @return 0, -ENOMEM, -ENOSPC, or what sa_uplink_create() says. */
int sa_datapath_uplink_add(struct sa_datapath *path, uint16_t ethdev_port, struct rp_wire_why *why);

/** The loop keeps every reader online while it iterates. */
void sa_datapath_reader_add(struct sa_datapath *path, struct rp_dma_reader *reader);
void sa_datapath_reader_remove(struct sa_datapath *path, struct rp_dma_reader *reader);

/** @return 0, -ENOMEM, or what epoll_ctl(2) says. */
int sa_datapath_ring_add(struct sa_datapath *path, struct sa_ring *ring);
/** A ring that is not there is allowed. */
void sa_datapath_ring_remove(struct sa_datapath *path, struct sa_ring *ring);

/** One iteration. @return what was done. */
unsigned int sa_datapath_poll(struct sa_datapath *path);
/** Iterations until one finds nothing, or enough was done. @return what was done. */
unsigned int sa_datapath_drain(struct sa_datapath *path, unsigned int enough);
void sa_datapath_run(struct sa_datapath *path);
void sa_datapath_stop(struct sa_datapath *path);

#endif
