/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef PACKETS_RIG_H
#define PACKETS_RIG_H

#include <pthread.h>

#include "packets_null.h"
#include "packets_peer.h"
#include "packets_side.h"
#include "rp_port.h"
#include "sleeper.h"
#include "softaccel.h"

/*
 * Pairs of guests, the devices between them, and the thread of the device's CPU, which is
 * one device at a time: softaccel, a switch on librte_vhost, or none. The generator is the
 * caller's thread, on the guest's CPU. Threads of ports and of softaccel's control side
 * sleep while packets flow.
 */

enum packets_device {
	PACKETS_PORT, /* softaccel through a port of Ringpass for each guest */
	PACKETS_WHOLE, /* the same softaccel, two more of its functions passed whole to the driver */
	PACKETS_PEER, /* librte_vhost */
	PACKETS_BEHIND_PORTS, /* another of librte_vhost, of which each guest has a port; not with PACKETS_PORT */
	PACKETS_NULL,
	PACKETS_COPY, /* a null device that copies */
	PACKETS_DEVICES_COUNT,
};

struct packets_rig_config {
	bool devices[PACKETS_DEVICES_COUNT]; /* what is wanted */
	struct packets_shape shape;
	bool whole_first, peer_first; /* before the ports: which one comes first must make no difference */
	enum softaccel_copies copies;
	enum softaccel_isa isa;
};

enum packets_task {
	PACKETS_TASK_SLEEP,
	PACKETS_TASK_SERVE,
	PACKETS_TASK_ECHO, /* of the placement probe */
	PACKETS_TASK_ALONE,
	PACKETS_TASK_STOP,
};

#define PACKETS_ROUNDS 100u

/* Both ends of a device in the device's thread, one after the other; only the device is timed. */
struct packets_alone {
	const struct packets_load *load;
	double device_ns; /* of a packet, median of the rounds */
	int rc;
	bool done; /* atomic: the rest is the caller's again */
};

#define PACKETS_FUNCTIONS 4u

struct packets_rig {
	const struct bench_options *options;
	struct packets_rig_config config;
	char directory[32];
	char socket_functions[PACKETS_FUNCTIONS][64];
	char socket_ports[PACKETS_GUESTS][64];

	struct softaccel *accel;
	pthread_t device_thread;
	bool device_runs;
	struct sleeper control, port_threads[PACKETS_GUESTS];
	struct rp_port *ports[PACKETS_GUESTS]; /* of its thread while that runs */

	struct packets_peer peer, behind;
	struct packets_null null, copy;
	struct packets_side sides[PACKETS_DEVICES_COUNT];

	int wake_fd; /* an eventfd: the device's thread is to look at `task` */
	enum packets_task task; /* atomic: what the device's thread is to do */
	enum packets_task doing; /* atomic: and what it does */
	enum packets_device device; /* which one it is; changed while it echoes or sleeps */
	struct packets_alone alone;
	struct place_probe probe;
};

/* 0 or a negative errno, after one line on stderr. Ended by packets_rig_close(), also when it failed. */
int packets_rig_open(struct packets_rig *rig, const struct bench_options *options,
		     const struct packets_rig_config *config);
void packets_rig_close(struct packets_rig *rig);

/* packets_rig_device.c: the device's thread. */
int packets_rig_device_start(struct packets_rig *rig);
void packets_rig_device_stop(struct packets_rig *rig);

/* The device's thread serves no ring now; what is connected or left is safe from it. */
void packets_rig_rest(struct packets_rig *rig);

/* Where the CPUs are now. */
double packets_rig_hop_ns(struct packets_rig *rig);

/* Load for one of the devices, which its thread serves meanwhile. @return as packets_load_run(). */
int packets_rig_measure(struct packets_rig *rig, enum packets_device device, const struct packets_load *load,
			uint64_t duration_ns, struct packets_result *ret_result);

/* The device's time for a packet, wherever the CPUs are. @return 0 or a negative errno. */
int packets_rig_measure_alone(struct packets_rig *rig, enum packets_device device, const struct packets_load *load,
			      double *ret_device_ns);

#endif
