/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SETUP_RIG_H
#define SETUP_RIG_H

#include <pthread.h>

#include "bench.h"
#include "rp_port.h"
#include "rp_vhu_frontend.h"
#include "rp_vring_drv.h"
#include "sleeper.h"
#include "softaccel.h"

/*
 * Two backends that a frontend may connect to: a port with a softaccel function behind it, over
 * vfio-user, and librte_vhost. The device's thread has a CPU of its own and serves one of the two at
 * a time; whatever else there is (the frontend, the port's thread, softaccel's control side, librte_vhost's own
 * thread) shares the guest's CPU.
 */

enum setup_task {
	SETUP_TASK_OURS, /* softaccel's data path */
	SETUP_TASK_PEER, /* takes from every transmit ring of librte_vhost's device */
	SETUP_TASK_ECHO, /* the placement probe's other side */
	SETUP_TASK_STOP,
};

struct setup_rig {
	const struct bench_options *options;
	unsigned int pairs_count;
	char directory[40];
	char socket_device[64], socket_port[64], socket_peer[64];

	struct softaccel *accel;
	struct rp_port *port; /* of its thread while that runs */
	bool peer_runs;
	pthread_t device_thread;
	bool device_runs;
	struct sleeper control, port_thread;
	enum setup_task task; /* atomic: what the device's thread is to do */
	enum setup_task doing; /* atomic: and what it does */
	struct place_probe probe;
	uint64_t rest_ns; /* how long librte_vhost last let its first answer be waited for */

	int memory_fd;
	uint8_t *memory;
	uint64_t memory_bytes;
	struct rp_vring_drv **rings;
	int *kick_fds, *call_fds;
};

/* 0 or a negative errno, after one line on stderr. Ended by setup_rig_close(), also when it failed. */
int setup_rig_open(struct setup_rig *rig, const struct bench_options *options, unsigned int pairs_count);
void setup_rig_close(struct setup_rig *rig);

/* What the guest of a lap needs. */
uint64_t setup_guest_bytes(unsigned int pairs_count);

/* Returns when the device's thread is at it. */
void setup_rig_do(struct setup_rig *rig, enum setup_task task);

/*
 * A frontend comes, as a VMM does, waits for its first answer (of the port it asks only after as long as librte_vhost
 * last took), sets up all pairs, has one packet sent through the last of them, and goes.
 *
 * @param ours the port; else librte_vhost.
 * @param ret_ns from the first answer to the packet in the used ring.
 */
int setup_rig_lap(struct setup_rig *rig, bool ours, double *ret_ns);

#endif
