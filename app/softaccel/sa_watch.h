/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SA_WATCH_H
#define SA_WATCH_H

#include <stdbool.h>
#include <stdint.h>

/**
 * @file
 * Whether a queue's doorbell has to be looked at, and whether it is worth it.
 *
 * Theory of operation: a store to a doorbell wakes nobody, so while a doorbell is
 * watched the data path never sleeps for long. A driver that knows better says when
 * nobody can store there (rp_accel_vendor.h, `doorbell`); then kicks come by eventfd, and a
 * data path that watches nothing sleeps until it is woken. In return the queue says
 * whether it would like its doorbell: it would when it starts and when it was kicked often, and would
 * not when it had next to nothing to do for some seconds.
 *
 * After the doorbell was given back it is watched a little longer, for a processor that has not noticed,
 * and then the queue is taken as kicked, once.
 *
 * Threads: begin, tell: the control side, with the gate closed; the rest: the data path;
 * what is atomic may be read by any.
 */

/** So many kicks by eventfd within so long: the doorbell is worth it. */
#define SA_WATCH_KICKS 32u
#define SA_WATCH_KICKS_MS 1000u
/** Kicks and packets of a period; with less the queue is idle. */
#define SA_WATCH_USES 32u
/** How often watched doorbells are judged. */
#define SA_WATCH_JUDGE_MS 50u

/** What becomes of a judgement. */
enum sa_watch_verdict {
	SA_WATCH_SAME,
	SA_WATCH_WISH, /* wants_page is another */
	SA_WATCH_KICK, /* the doorbell is watched no more: behave as if it had been rung */
};

struct sa_watch {
	bool watched; /* atomic: look at the doorbell */
	bool wants_page; /* atomic */
	bool never; /* nobody can map it, ever */
	uint32_t idle_ms; /* with less to do than that long it is idle; 0: never */
	uint8_t doorbell; /* atomic: RP_ACCEL_VENDOR_DOORBELL_* */
	uint64_t until_ms; /* given back, and watched until then; 0: not */
	uint64_t period_ms; /* since when uses are counted ... */
	uint64_t period_uses; /* ... from that number on */
	uint64_t kicks_ms;
	uint32_t kicks;
};

/** A queue starts: it is in use. */
void sa_watch_begin(struct sa_watch *watch, uint8_t doorbell, uint64_t now_ms, uint64_t uses);
/** The driver said who may store. */
void sa_watch_tell(struct sa_watch *watch, uint8_t doorbell, uint64_t now_ms);
/** It was kicked by eventfd. @return whether it wants its doorbell now, and did not before. */
bool sa_watch_kicked(struct sa_watch *watch, uint64_t count, uint64_t now_ms);
/** @param uses of it so far: kicks and packets. */
enum sa_watch_verdict sa_watch_judge(struct sa_watch *watch, uint64_t uses, uint64_t now_ms);

static inline bool
sa_watch_wants_page(const struct sa_watch *watch)
{
	return __atomic_load_n(&watch->wants_page, __ATOMIC_RELAXED);
}

#endif
