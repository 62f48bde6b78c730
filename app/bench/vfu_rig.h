/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFU_RIG_H
#define VFU_RIG_H

#include <pthread.h>

#include "bench.h"
#include "rp_vfu_server.h"
#include "vfu_raw.h"

/*
 * A vfio-user device of one thread, on the device's CPU, and the client in the caller's
 * thread, on the guest's. The device's thread does one of these at a time; what a device
 * costs is compared with an echo over a bare pair of sockets, by the same thread, that
 * sleeps or spins as the device did.
 */
enum vfu_task {
	VFU_TASK_SERVE_ASLEEP, /* poll(2), then rp_vfu_server_process() */
	VFU_TASK_SERVE_WAITING, /* rp_vfu_server_wait(), and nothing else is looked at */
	VFU_TASK_SERVE_SPINNING, /* rp_vfu_server_process() again and again */
	VFU_TASK_FLOOR, /* as vfu_rig_floor_begin() said */
	VFU_TASK_JOB, /* what vfu_rig_job() was given, once; then VFU_TASK_SERVE_ASLEEP */
	VFU_TASK_PROBE, /* the placement probe's other side */
	VFU_TASK_STOP,
};

#define VFU_RIG_REGION 0u /* registers, with handlers */
#define VFU_RIG_REGION_BYTES 0x1000u
/* A register's read, and its answer: what the floor sends and gets. */
#define VFU_RIG_REGISTER_BYTES 4u
#define VFU_RIG_PING_BYTES 32u
#define VFU_RIG_PONG_BYTES (32u + VFU_RIG_REGISTER_BYTES)

struct vfu_rig {
	const struct bench_options *options;
	char directory[40];
	char socket_path[64];
	uint32_t registers[VFU_RIG_REGION_BYTES / VFU_RIG_REGISTER_BYTES];

	struct rp_vfu_server *server; /* of the device's thread */
	pthread_t device_thread;
	bool device_runs, opened;
	enum vfu_task task; /* atomic: what the device's thread is to do */
	enum vfu_task doing; /* atomic: and what it does */
	int wake_fd; /* an eventfd: look at `task` */
	int floor_fds[2]; /* the caller's, the device's */
	enum vfu_wait floor_wait;
	void (*job)(void *ctx);
	void *job_ctx;
	struct place_probe probe;
};

/* 0 or a negative errno, after one line on stderr. Ended by vfu_rig_close(), also when it failed. */
int vfu_rig_open(struct vfu_rig *rig, const struct bench_options *options);
void vfu_rig_close(struct vfu_rig *rig);

/* Returns when the device's thread is at it. */
void vfu_rig_do(struct vfu_rig *rig, enum vfu_task task);

/* The device's thread does this once; returns at once. The job tells when it is through. */
void vfu_rig_job(struct vfu_rig *rig, void (*job)(void *ctx), void *ctx);

/* Both ends of the floor wait so. */
void vfu_rig_floor_begin(struct vfu_rig *rig, enum vfu_wait wait);

/* One ping and its pong. @return 0 or -ENOTCONN. */
int vfu_rig_floor(struct vfu_rig *rig);

/* One figure and what it is compared with. Each side sets up what it needs, measures, and returns one value. */
struct vfu_measure {
	const char *name;
	const char *unit;
	const char *peer;
	int (*ours)(void *ctx, double *ret_value);
	int (*theirs)(void *ctx, double *ret_value);
	void *ctx;
	unsigned int share; /* of what is left of the scenario's time, as in bench_pairs_config */
};

/* Where the CPUs are now. */
double vfu_rig_hop_ns(struct vfu_rig *rig);

/* Pairs of it, until one placement has enough, and a row for each placement. @return 0 or a negative errno. */
int vfu_rig_measure(struct vfu_rig *rig, const struct vfu_measure *measure, struct bench_rows *rows);

/* Says what went wrong. @return rc. */
int vfu_rig_complain(const char *what, int rc, const struct rp_wire_why *why);

#endif
