/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef RIG_H
#define RIG_H

#include <pthread.h>

#include "bench.h"
#include "rp_port.h"
#include "rp_vhu_frontend.h"
#include "rp_vring_drv.h"
#include "sleeper.h"

/*
 * Guest, port and device in one process.
 *
 * The guest is the caller's thread, on its own CPU. The device's thread has the
 * other CPU and never sleeps; when asked, it answers the placement probe instead
 * of serving, because a third spinning thread would falsify both. The port's
 * thread and the device's control thread sleep unless they are needed.
 */

#define RIG_QUEUES_MAX 256u
#define RIG_TX 1u
#define RIG_RING_NUM 256u

enum rig_task {
	RIG_TASK_SERVE,
	RIG_TASK_ECHO,
	RIG_TASK_STOP,
};

struct rig;

/* What kind of device is behind the port. */
struct rig_device {
	/* It listens at rig->socket_device on return. @return 0 or a negative errno. Closed also when that failed. */
	int (*open)(struct rig *rig, struct rp_wire_why *why);
	void (*close)(struct rig *rig);
	/* The control thread's: to poll, and what to do then. */
	int (*fd)(struct rig *rig);
	void (*process)(struct rig *rig);
	/* One turn of the device's thread. */
	void (*serve)(struct rig *rig);
	/* Around all of them, in that thread; may be NULL. */
	int (*begin)(struct rig *rig);
	void (*end)(struct rig *rig);
};

struct rig_config {
	const struct rig_device *device;
	void *device_ctx;
	unsigned int queues_count; /* an even number, up to RIG_QUEUES_MAX */
	bool interrupts; /* the guest wants them, by call_fds */
};

/* One in `step` of them, from the first on. */
struct rig_queues {
	unsigned int first;
	unsigned int step;
};

struct rig {
	const struct bench_options *options;
	struct rig_config config;
	char directory[40];
	char socket_device[64];
	char socket_port[64];

	pthread_t device_thread, port_thread;
	bool device_opened, device_runs, port_runs;
	struct sleeper control;
	enum rig_task task; /* atomic */
	struct place_probe probe;

	struct rp_port *port; /* of the port's thread while that runs */
	int port_fd; /* an eventfd: look at `policy` and `port_stop` */
	enum rp_port_doorbell_policy policy; /* atomic */
	struct rig_queues wanted; /* of these */
	bool port_stop; /* atomic */

	struct rp_vhu_frontend *frontend;
	int memory_fd;
	uint8_t *memory;
	struct rp_vring_drv *rings[RIG_QUEUES_MAX];
	int kick_fds[RIG_QUEUES_MAX];
	int call_fds[RIG_QUEUES_MAX];
};

/* softaccel's core, which serves rings. Its ctx is a `struct softaccel *`. */
extern const struct rig_device rig_softaccel;

/* 0 or a negative errno, after one line on stderr. Ended by rig_close(), also when it failed. */
int rig_open(struct rig *rig, const struct rig_config *config, const struct bench_options *options);
void rig_close(struct rig *rig);

/* Kick by the mapped doorbells, or by the port's relay. 0 or -ETIMEDOUT; returns when it has settled. */
int rig_kick_directly(struct rig *rig, bool direct);
/* These queues only. */
int rig_kick_some_directly(struct rig *rig, struct rig_queues queues, bool direct);

/* Where the CPUs are now. */
double rig_hop_ns(struct rig *rig);

/* The device's thread does nothing of its own between the two: what it looks at may be changed. */
void rig_hold(struct rig *rig);
void rig_release(struct rig *rig);

/* A packet on the tx ring, not yet kicked. @return 1 the device wants a kick, 0 not, or a negative errno. */
int rig_packet_add(struct rig *rig);

/* Spin until the device has used it. 0 or a negative errno. */
int rig_packet_wait(struct rig *rig);

/* Says what went wrong. @return rc. */
int rig_complain(const char *what, int rc, const struct rp_wire_why *why);

#endif
