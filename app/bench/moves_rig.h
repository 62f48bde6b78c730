/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef MOVES_RIG_H
#define MOVES_RIG_H

#include <pthread.h>

#include <rte_mbuf.h>

#include "bench.h"
#include "moves_book.h"
#include "rp_port.h"
#include "rp_vhu_frontend.h"
#include "rp_vring_drv.h"
#include "sleeper.h"
#include "softaccel.h"

/*
 * A guest's pair of rings whose port has two softaccels for accelerators and an application on librte_vhost for a
 * software backend. All receive from an endless source and send into nothing, so that whoever has the rings works
 * all the time.
 *
 * One thread, which never sleeps, is guest and data path of all owners in turn: nobody waits for a guest that
 * is away, and it is known who used an entry, and when. What a move needs shares the other CPU: the
 * port (the caller's thread), softaccel's control side, librte_vhost's own thread, and the VMM's.
 */

#define MOVES_RX 0u
#define MOVES_TX 1u
#define MOVES_QUEUES 2u
#define MOVES_BURST 32u
#define MOVES_RING_NUM 256u
#define MOVES_GPA 0x40000000ull
#define MOVES_RING_BYTES 0x10000u
#define MOVES_RINGS_BYTES (MOVES_QUEUES * MOVES_RING_BYTES)
#define MOVES_BUFFER_BYTES 2048u
#define MOVES_FRAME_BYTES (12u + 64u) /* struct virtio_net_hdr_v1 before it */
#define MOVES_MEMORY_BYTES (MOVES_RINGS_BYTES + (MOVES_RING_NUM + 1u) * MOVES_BUFFER_BYTES)
/* Between a pair's transmit and receive ring; what lib/port does by itself. */
#define MOVES_DRAIN_MS 2u

enum moves_owner {
	MOVES_HARDWARE,
	MOVES_OTHER_HARDWARE,
	MOVES_SOFTWARE,
};

#define MOVES_ACCELERATORS 2u

enum moves_task {
	MOVES_TASK_SERVE,
	MOVES_TASK_ECHO, /* the placement probe's other side */
	MOVES_TASK_STOP,
};

struct moves_software {
	struct rte_mempool *pool;
	struct rte_mbuf *frames[MOVES_BURST];
};

struct moves_rig {
	const struct bench_options *options;
	char directory[40];
	char socket_port[64], socket_software[64];
	bool software_runs, data_runs, vmm_runs;

	struct moves_accelerator {
		char source[32], socket_path[64];
		bool uplink_made;
		struct softaccel *accel;
		struct sleeper control;
	} accelerators[MOVES_ACCELERATORS];
	struct moves_software software;
	struct rp_port *port;
	pthread_t data_thread, vmm_thread;
	int vmm_stop_fd, kick_fd; /* eventfds */
	enum moves_task task, doing; /* atomic */
	bool both; /* atomic: the other accelerator has a part in it */
	unsigned int turns; /* of the data thread */
	struct place_probe probe;

	struct rp_vhu_frontend *frontend; /* of the VMM's thread */
	int vmm_rc; /* atomic; 1: not connected yet */
	uint64_t features;
	int memory_fd;
	uint8_t *memory;
	struct rp_vring_drv *rings[MOVES_QUEUES]; /* of the data thread, as are books */
	const uint16_t *used_indices[MOVES_QUEUES];
	int kick_fds[MOVES_QUEUES], call_fds[MOVES_QUEUES];
	int broken; /* atomic: what a ring was found to be */
	struct moves_book books[MOVES_QUEUES];
};

/* 0 or a negative errno, after one line on stderr. Ended by moves_rig_close(), also when it failed. */
int moves_rig_open(struct moves_rig *rig, const struct bench_options *options);
void moves_rig_close(struct moves_rig *rig);

/* Where the CPUs are now. */
double moves_rig_hop_ns(struct moves_rig *rig);

/* `use` has the books, one for each queue, for itself: the data thread does not look meanwhile. */
void moves_rig_with_books(struct moves_rig *rig, void (*use)(struct moves_book *books, void *ctx), void *ctx);

/*
 * Both rings to that owner; to the other hardware from hardware only, and back.
 * Returns when both were used there. @return 0 or a negative errno, after one line on stderr.
 */
int moves_rig_move(struct moves_rig *rig, enum moves_owner from, enum moves_owner to);

/* The port and its frontend do what is to be done. */
int moves_rig_run_for(struct moves_rig *rig, uint64_t ns);

/* moves_guest.c: memory and rings; the VMM. */
int moves_guest_open(struct moves_rig *rig);
void moves_guest_close(struct moves_rig *rig);
void *moves_guest_vmm(void *rig);

/* moves_data.c: the thread that never sleeps. */
void *moves_data_main(void *rig);

/* moves_software.c: the application on librte_vhost. There is one at a time. */
int moves_software_open(struct moves_software *software, const char *socket_path);
/* One turn, in the data thread. */
void moves_software_poll(struct moves_software *software);
void moves_software_close(struct moves_software *software, const char *socket_path);

#endif
