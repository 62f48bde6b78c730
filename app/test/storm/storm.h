/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef STORM_H
#define STORM_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "books.h"
#include "rp_port.h"
#include "station.h"

/*
 * Queues that move while numbered frames flow. Three stations, each a vhost-user
 * frontend with memory and rings of its own and no machine:
 *
 *                       +---- softaccel ---- port ---- STORM_PEER_HARDWARE
 *    guest ---- port ---+
 *                       +---- switch (testpmd, OVS) --- STORM_PEER_SOFTWARE
 *
 * The two last are one peer, with a leg in each plane: what the guest sends arrives
 * at one of them, whoever serves its queues, and the books do not ask at which.
 *
 * Threads: the driver's (driver.c) fills and empties all rings; the one of main() is
 * the VMM, it alone speaks on the vhost-user connections (chaos.c); the mover's
 * (mover.c) asks the port for moves; each port has its own (served.c).
 */

#define STORM_PAIRS_MAX 4u

/* Which plane a frame went through. */
enum storm_leg {
	STORM_HARDWARE,
	STORM_SOFTWARE,
	STORM_LEGS,
};

struct storm_options {
	const char *guest_path; /* socket that the guest's port serves, or the switch itself (baseline) */
	const char *peer_path; /* that the peer's port serves; NULL: there is no hardware */
	const char *software_path; /* the switch's, for the guest's port; NULL: there is none */
	const char *software_peer_path; /* the switch's, for the peer */
	const char *guest_accelerators[STORM_PAIRS_MAX];
	const char *peer_accelerators[STORM_PAIRS_MAX];
	unsigned int accelerators_count;
	unsigned int pairs_count;
	unsigned int moves_count;
	unsigned int seed;
	unsigned int drain_ms;
	unsigned int progress; /* frames of each flow between two moves */
	unsigned int answer_limit_s; /* how long a flow may stand still */
	bool software_listens; /* the switch connects to us */
	bool packed;
	bool shadow; /* hardware serves private rings */
	bool class_b; /* the device's capability is hidden */
	bool pairs_only; /* no move of a single queue */
	bool calm; /* nothing but moves */
	bool stay; /* the VMM keeps its connection: the switch forgets its counters with it */
	bool policies; /* an operator tries what there is, too */
	bool verbose;
};

/* Of the log of what is written to memory. */
enum storm_log {
	STORM_LOG_OFF,
	STORM_LOG_CHANGES, /* on or off: both may be */
	STORM_LOG_SET, /* what is used from now on must be in it */
	STORM_LOG_WATCHED, /* and the driver notes what that is */
};

struct served_port {
	struct rp_port *port;
	pthread_t thread;
	pthread_mutex_t lock;
	atomic_bool stop;
	bool verbose;
};

struct storm_counts {
	unsigned int moves_done; /* calls that succeeded */
	unsigned int moves_refused; /* while a migration was logged */
	unsigned int stops; /* of all rings or one pair, and a start where they stood */
	unsigned int reboots;
	unsigned int hotplugs;
	unsigned int swaps; /* of the eventfds for interrupts */
	unsigned int reconnects;
	unsigned int logs; /* LOG_ALL set and cleared */
	unsigned int disables; /* a pair, and enabled again */
	unsigned int positions_wrong; /* GET_VRING_BASE told another one than the ring has */
	unsigned int log_pages; /* that must be in the log */
	unsigned int log_missing; /* and are not */
};

/* One queue pair, as the driver has it; what the guest sends is under the guest's lock. */
struct storm_lane {
	uint32_t sequences[STATION_RING_NUM]; /* asks in the transmit ring, by buffer */
	uint32_t again[STATION_RING_NUM]; /* asks that a ring took with it, and no device had taken */
	unsigned int again_count, again_at;
	enum storm_leg pending[STATION_RING_NUM]; /* legs of answers to give */
	unsigned int pending_head, pending_count;
	enum storm_leg last_leg; /* through which the guest was heard last */
	uint32_t written_off[BOOKS_FLOWS]; /* no credit is held for these any more; they are still in the books */
	uint64_t moved_ms[BOOKS_FLOWS]; /* when one arrived, or was written off */
};

struct storm {
	struct storm_options options;
	struct storm_lane lanes[STORM_PAIRS_MAX];
	struct station guest;
	struct station peers[STORM_LEGS];
	struct served_port guest_port;
	struct served_port peer_port;
	struct books books;
	struct storm_counts counts;
	uint64_t features_mask;
	pthread_t driver;
	pthread_t mover;
	atomic_bool quiet; /* the driver sends nothing new */
	atomic_bool stop; /* the driver ends */
	atomic_bool moved; /* the mover has done its moves */
	atomic_uint guest_turns; /* of the driver: all that the guest's rings had was taken */
	atomic_int log_state; /* enum storm_log */
	uint64_t log_used_total[STATION_QUEUES_MAX]; /* when it began; under the guest's lock */
	atomic_uint epoch; /* changes with everything that the VMM does to rings */
	atomic_uint still; /* the VMM keeps rings from running: nothing can move on */
	atomic_int route[STORM_PAIRS_MAX]; /* leg that has the receive ring */
	atomic_bool split[STORM_PAIRS_MAX]; /* the legs of the two rings differ */
	atomic_uint_fast64_t progress[STORM_PAIRS_MAX][BOOKS_FLOWS]; /* frames received */
};

/* "storm: ..." on standard error, and the end of the program. */
void storm_die(const char *format, ...) __attribute__((noreturn, format(printf, 1, 2)));

void served_open(struct served_port *served, const struct rp_port_config *config,
		 const struct rp_accel_registry *registry, bool verbose);
void served_close(struct served_port *served);
void served_lock(struct served_port *served);
void served_unlock(struct served_port *served);
/* Two drivers: "vfio-user", and "vfio-user-b", whose devices are class B. */
extern const struct rp_accel_registry storm_registry;

void *driver_main(void *storm);
void *mover_main(void *storm);

/* Serve the stations' connections, and learn where the rings are, for `ms`. */
void vmm_serve(struct storm *storm, unsigned int ms);
/* One thing that a VMM may do while queues move. */
void chaos_do(struct storm *storm, unsigned int *seed);
/* What it began and did not end. */
void chaos_end(struct storm *storm);

#endif
