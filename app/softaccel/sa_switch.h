/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SA_SWITCH_H
#define SA_SWITCH_H

#include <stdbool.h>
#include <stdint.h>

#include <rte_mbuf.h>

#include "sa_flow.h"
#include "sa_mac.h"
#include "sa_ring.h"
#include "softaccel.h"

/**
 * @file
 * A learning Ethernet switch between the functions and the uplink.
 *
 * Theory of operation: a switch port is a group of functions, or the uplink.
 * Frames to a known address go to its port, others to all ports but the one
 * they came from. Within a port of functions the flow chooses the receive ring
 * among all that run there, in a fixed order, so a flow keeps to its ring until
 * the set of running rings changes.
 *
 * Threads: the data path; ports and rings are added and removed by the control
 * side with the gate closed.
 */

#define SA_PORTS_MAX (SOFTACCEL_FUNCTIONS_MAX + 1u)
/** What a guest may have behind its port (bridges, containers), and what a network may. */
#define SA_FUNCTION_MACS_MAX 256u
#define SA_UPLINK_MACS_MAX 4096u

struct sa_uplink;

struct sa_port {
	struct sa_mac_owner macs; /* first: what the table finds is the port */
	char name[SOFTACCEL_GROUP_NAME_MAX];
	struct sa_uplink *uplink; /* NULL: functions */
	struct sa_ring **receive_rings; /* running, in order */
	unsigned int receive_count;
	unsigned int receive_room;
	unsigned int held_count; /* frames that wait for its rings (sa_held.h) */
	struct softaccel_port_counters counters; /* atomic words */
};

struct sa_switch {
	struct sa_mac_table *macs;
	struct sa_port *ports[SA_PORTS_MAX];
	unsigned int ports_count;
	struct sa_ring **dirty; /* receive rings to flush at the end of an iteration */
	unsigned int dirty_count;
	unsigned int dirty_room;
	struct sa_ring_scratch *scratch; /* borrowed */
	enum softaccel_copies copies;
	uint32_t packet_bytes_max; /* virtio-net header and frame */
	uint32_t now_s;
};

static inline void
sa_port_drop(struct sa_port *port, enum softaccel_drop why)
{
	sa_count(&port->counters.drops[why], 1);
}

/** What the table says about a port, for other threads. */
static inline void
sa_port_show_macs(struct sa_port *port)
{
	__atomic_store_n(&port->counters.macs_count, port->macs.count, __ATOMIC_RELAXED);
	__atomic_store_n(&port->counters.macs_refused, port->macs.refused_count, __ATOMIC_RELAXED);
}

/** Which of a port's running receive rings (there is one at least) frames of a hash go to. */
static inline struct sa_ring *
sa_switch_ring_of(const struct sa_port *port, uint32_t hash)
{
	return port->receive_rings[(uint64_t)hash * port->receive_count >> 32];
}

/** The same of a frame. */
static inline struct sa_ring *
sa_switch_receive_ring(const struct sa_port *port, const uint8_t *frame, uint32_t frame_bytes)
{
	return sa_switch_ring_of(port, port->receive_count > 1 ? sa_flow_hash(frame, frame_bytes) : 0);
}

/** What was filled is published at the end of the iteration. */
static inline void
sa_switch_mark_dirty(struct sa_switch *sw, struct sa_ring *ring)
{
	if (ring->dirty || ring->unpublished_count == 0)
		return;
	ring->dirty = true;
	sw->dirty[sw->dirty_count++] = ring;
}

/** @return 0 or -ENOMEM. */
int sa_switch_init(struct sa_switch *sw, struct sa_ring_scratch *scratch, enum softaccel_copies copies);
/** Ends its ports too. */
void sa_switch_fini(struct sa_switch *sw);

/**
 * The port of a group, made when it is the first of its name.
 * @param group NULL: a new port.
 * @return 0, -ENOSPC or -ENOMEM.
 */
int sa_switch_port(struct sa_switch *sw, const char *group, struct sa_port **ret_port);

/** A ring that is changing hands (sa_held.h) is there already. @return 0 or -ENOMEM. */
int sa_switch_ring_add(struct sa_switch *sw, struct sa_ring *ring);
/** Its flows go to other rings, or nowhere; one that is changing hands keeps them. */
void sa_switch_ring_remove(struct sa_ring *ring);
/** Whatever the ring was changing to: it is not to come. What waited for it is dropped. */
void sa_switch_ring_give_up(struct sa_ring *ring);
/** A ring may have got buffers: deliver what waits for it. */
void sa_switch_deliver_held(struct sa_switch *sw, struct sa_ring *ring);

/** Take what the guest sent on a transmit ring and switch it. @return how many frames. */
unsigned int sa_switch_serve(struct sa_switch *sw, struct sa_ring *ring);

/** Switch packets that came from a port. The mbufs stay the caller's; what goes out later has a reference. */
void sa_switch_forward(struct sa_switch *sw, struct sa_port *from, struct rte_mbuf **mbufs, unsigned int count);

/** End of an iteration: publish, interrupt, send what waits for the uplink. */
void sa_switch_flush(struct sa_switch *sw);

#endif
