/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SA_HELD_H
#define SA_HELD_H

#include <stdbool.h>

#include <rte_mbuf.h>

/**
 * @file
 * Frames for a receive ring that changes hands.
 *
 * Theory of operation: a ring that turns out to be reached by messages, or no longer
 * has to be, is nobody's for a moment: the data path has let go of it, and who
 * serves it next has no buffer yet. What comes meanwhile waits here, as in the memory
 * of a card, and is delivered first when the ring goes on. So does what finds no buffer on
 * a ring that is carried: the guest may have some that were not brought yet.
 *
 * Threads: the data path; the control side with the gate closed.
 */

/**
 * Of all rings of one switch port together: mbufs are everybody's, and a guest that never
 * makes buffers available on many queues must not keep them from the others.
 */
#define SA_HELD_MAX 64u

struct sa_held {
	bool changing; /* frames wait, also when there is none yet ... */
	bool arrived; /* ... until this and buffers: who serves the ring next has it */
	unsigned int count;
	struct rte_mbuf *mbufs[SA_HELD_MAX];
};

/** Frames wait from now on. */
void sa_held_begin(struct sa_held *held);

/**
 * Keep a frame; the caller's reference stays the caller's.
 * @param port_count how many the port holds; counted on.
 * @return false: there is no room.
 */
bool sa_held_keep(struct sa_held *held, unsigned int *port_count, struct rte_mbuf *mbuf);

/** The first ones were dealt with. */
void sa_held_forget(struct sa_held *held, unsigned int *port_count, unsigned int count);

#endif
