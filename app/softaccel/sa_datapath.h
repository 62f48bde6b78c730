/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SA_DATAPATH_H
#define SA_DATAPATH_H

#include <stdbool.h>
#include <stdint.h>

#include "rp_dma.h"
#include "sa_gate.h"
#include "sa_idle.h"
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
	struct sa_uplink *uplink; /* NULL: none */
	struct sa_port *uplink_port;
	struct rp_dma_reader *readers[2 * SOFTACCEL_FUNCTIONS_MAX]; /* the guest's, and of local rings */
	unsigned int readers_count;
	struct sa_ring **running;
	unsigned int running_count;
	unsigned int running_room;
	int kick_epoll_fd; /* kick eventfds of running rings, and the gate's */
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
