/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VS_SWITCH_H
#define VS_SWITCH_H

#include <stdbool.h>
#include <stdint.h>

#include <rte_ethdev.h>
#include <rte_mempool.h>
#include <rte_rcu_qsbr.h>
#include <rte_spinlock.h>

#include "mac.h"
#include "rp_port.h"

/**
 * @file
 * What the switch consists of. A port is an ethdev, or a guest. A guest has two ways: its
 * rings served by librte_vhost in this process, and the wire, an ethdev whose other end is
 * the accelerator's uplink. Which of them a frame for it takes, each of its receive queues
 * says.
 *
 * Threads: the main lcore makes, changes and ends all of it; the worker lcores read it. Port
 * number n is received from by worker n modulo their number; anyone sends to it, by out.h.
 * Counters that have two writers are written under the lock of the port's egress.
 */

#define VS_PORTS_MAX 64u
#define VS_PAIRS_MAX 64u /**< of a guest: one word has a bit for each */
#define VS_BURST 32u
#define VS_EGRESS_FRAMES 1024u /**< that wait for a port; a power of two */
#define VS_NO_ETHDEV RTE_MAX_ETHPORTS

enum vs_path {
	VS_PATH_ETHDEV,
	VS_PATH_SOFTWARE, /**< a guest's rings, by librte_vhost */
	VS_PATH_HARDWARE, /**< a guest's wire */
	VS_PATHS_COUNT,
};

enum vs_drop {
	VS_DROP_NO_QUEUE, /**< to a guest that has no receive queue running */
	VS_DROP_QUEUE_FULL, /**< the port took no more, and too much was waiting */
	VS_DROP_SAME_PORT, /**< the destination is where it came from */
	VS_DROP_LENGTH, /**< shorter than an Ethernet header, or in several pieces */
	VS_DROPS_COUNT,
};

struct vs_counters {
	uint64_t in[VS_PATHS_COUNT];
	uint64_t out[VS_PATHS_COUNT];
	uint64_t flooded; /**< of what came in */
	uint64_t drops[VS_DROPS_COUNT];
};

struct vs_egress {
	rte_spinlock_t lock;
	uint32_t head, tail; /**< both only grow; written under the lock */
	struct rte_mbuf *frames[VS_EGRESS_FRAMES];
};

struct vs_guest;

struct vs_port {
	char name[RP_PORT_NAME_MAX];
	unsigned int number;
	uint16_t ethdev; /**< a guest's is its wire; VS_NO_ETHDEV: it has none */
	bool is_started; /**< the ethdev; workers read it */
	bool is_up; /**< its link, as the main lcore saw it last */
	unsigned int looks_down; /**< so often was it down since it was up, or started anew */
	struct vs_guest *guest; /**< NULL: an ethdev is all that it is */
	struct vs_counters counters;
	struct vs_egress egress;
};

struct vs_switch {
	unsigned int ports_count;
	struct vs_port *ports[VS_PORTS_MAX];
	struct vs_mac_table *mac;
	struct rte_mempool *pool;
	struct rte_rcu_qsbr *readers; /**< the workers: who waits for them knows that none uses what was taken away */
	unsigned int workers_count;
	unsigned int idle_us; /**< how long an idle worker sleeps; 0: never */
	bool ended;
};

/** @return 0 or -ENOMEM. */
int vs_switch_create(unsigned int ports_count, struct vs_switch **ret_sw);

/** Its ports too, which nobody serves any more. NULL is allowed. @return NULL. */
struct vs_switch *vs_switch_destroy(struct vs_switch *sw);

/** @return the new port, without a way in or out, or NULL: no memory. */
struct vs_port *vs_switch_add(struct vs_switch *sw, const char *name);

/** @return NULL: there is none. */
struct vs_port *vs_switch_find(const struct vs_switch *sw, const char *name);

/** For a worker, until its next quiescent state. @return whether the port's ethdev may be used. */
static inline bool
vs_port_has_ethdev(const struct vs_port *port)
{
	return __atomic_load_n(&port->is_started, __ATOMIC_ACQUIRE);
}

/** One writer at a time; readers see whole numbers. */
static inline void
vs_count(uint64_t *counter, uint64_t more)
{
	__atomic_store_n(counter, *counter + more, __ATOMIC_RELAXED);
}

static inline uint64_t
vs_counted(const uint64_t *counter)
{
	return __atomic_load_n(counter, __ATOMIC_RELAXED);
}

/** Seconds of a clock that never goes back. */
uint32_t vs_now_s(void);

/** Milliseconds of that clock. */
uint64_t vs_now_ms(void);

/** "ethdev", "software", "hardware". */
const char *vs_path_name(enum vs_path path);

/** "no_queue", "queue_full", "same_port", "length". */
const char *vs_drop_name(enum vs_drop drop);

#endif
