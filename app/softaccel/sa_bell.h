/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SA_BELL_H
#define SA_BELL_H

#include "sa_doorbell.h"
#include "sa_switch.h"

/**
 * @file
 * One doorbell of several rings.
 *
 * Theory of operation: what a guest stores is its queue's number, and that is no more than a hint.
 * The guest may know the queue by another number, or lie; and of two of its processors that store
 * before anybody looked, only the later one's number is there. So the ring that is named wakes
 * first, and then each of the others is looked at: it wakes if there is something on it. All of them
 * before any frame is moved in this turn: a receive ring that is asleep drops frames, and its kick
 * may be the one that is covered.
 *
 * No kick is lost by that. A driver makes its entries visible before it stores to the doorbell
 * (virtio 1.2, 2.7.13). All stores to the word, and the exchange that takes them, have one order,
 * because they are to one place. A store before the exchange is taken by it, or lies under one that is.
 * Either way its entries are visible to us when that word is: on processors on which a store
 * becomes visible to all others at once (x86, Armv8) what was visible before an earlier store to a place
 * is so to whoever reads a later one. And we look at rings after the exchange. A store behind the
 * exchange changes the word again, which the next turn finds.
 *
 * What cannot be looked at:
 * - a ring that the data path does not have (it changes hands, the translation of an address is
 *   asked for, its client left): the word may be gone when it comes back. It is remembered that it may
 *   have been rung (sa_ring.unheard), and made good for when it starts.
 * - a ring that is carried: its courier is rung.
 *
 * Threads: answer: the data path; init, add, fini: before and after it; the rest: the control side
 * with the gate closed.
 */

struct sa_bell {
	uint32_t *word;
	unsigned int first; /* queue */
	unsigned int count;
	struct sa_ring **rings; /* all of them, whether they run or not */
	uint64_t collected; /* the data path's: its last list of doorbells that this one is in */
};

/** Of one function; all zeroes where each queue has a doorbell of its own. */
struct sa_bells {
	struct sa_bell *bells;
	struct sa_ring **rings;
};

/** @return 0 or -ENOMEM. */
int sa_bells_init(struct sa_bells *bells, const struct sa_doorbells *doorbells);
void sa_bells_fini(struct sa_bells *bells);
/** A ring's bell becomes known to both; nothing where there is none. */
void sa_bells_add(struct sa_bells *bells, const struct sa_doorbells *doorbells, unsigned int number,
		  struct sa_ring *ring);

/** Look at the word, and when it was rung at the rings. @return what was done; 0: it was not rung. */
unsigned int sa_bell_answer(struct sa_bell *bell, struct sa_switch *sw);

/** Whether a ring was rung while the data path did not have it; only once. */
bool sa_bell_unheard(struct sa_ring *ring);
/** Forget that a ring was rung, whatever kind of doorbell it has; others that may be meant are told. @return whether it was. */
bool sa_bell_forget(struct sa_ring *ring);

#endif
