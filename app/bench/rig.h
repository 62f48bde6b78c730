/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef RIG_H
#define RIG_H

#include <pthread.h>

#include "bench.h"
#include "rp_port.h"
#include "rp_vhu_frontend.h"
#include "rp_vring_drv.h"
#include "softaccel.h"

/*
 * Guest, port and accelerator in one process.
 *
 * The guest is the caller's thread, on its own CPU. The device's thread has the
 * other CPU and never sleeps; when asked, it answers the placement probe instead
 * of serving rings, because a third spinning thread would falsify both. The
 * port's thread and softaccel's control thread sleep unless they are needed.
 */

#define RIG_QUEUES 2u
#define RIG_TX 1u
#define RIG_RING_NUM 256u

enum rig_task {
	RIG_TASK_SERVE,
	RIG_TASK_ECHO,
	RIG_TASK_STOP,
};

struct rig {
	const struct bench_options *options;
	char directory[32];
	char socket_device[64];
	char socket_port[64];

	struct softaccel *accel;
	pthread_t device_thread, control_thread, port_thread;
	bool device_runs, control_runs, port_runs;
	enum rig_task task; /* atomic */
	int control_stop_fd;
	struct place_probe probe;

	struct rp_port *port; /* of the port's thread while that runs */
	int port_fd; /* an eventfd: look at `policy` and `port_stop` */
	enum rp_port_doorbell_policy policy; /* atomic */
	bool port_stop; /* atomic */

	struct rp_vhu_frontend *frontend;
	int memory_fd;
	uint8_t *memory;
	struct rp_vring_drv *rings[RIG_QUEUES];
	int kick_fds[RIG_QUEUES];
};

/* 0 or a negative errno, after one line on stderr. Ended by rig_close(), also when it failed. */
int rig_open(struct rig *rig, const struct bench_options *options);
void rig_close(struct rig *rig);

/* Kick by the mapped doorbell, or by the port's relay. 0 or -ETIMEDOUT; returns when it has settled. */
int rig_kick_directly(struct rig *rig, bool direct);

/* Where the CPUs are now. */
double rig_hop_ns(struct rig *rig);

/* A packet on the tx ring, not yet kicked. @return 1 the device wants a kick, 0 not, or a negative errno. */
int rig_packet_add(struct rig *rig);

/* Spin until the device has used it. 0 or a negative errno. */
int rig_packet_wait(struct rig *rig);

#endif
