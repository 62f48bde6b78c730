/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SA_IDLE_H
#define SA_IDLE_H

#include <stdint.h>

/**
 * @file
 * How long an idle data path sleeps.
 *
 * A store to a mapped doorbell wakes nobody, so the sleep is what bounds the
 * latency of the first kick after a pause. It begins short, because a pause is
 * most often short, and doubles to a ceiling that costs about one per cent
 * of a core.
 *
 * Threads: one thread.
 */

#define SA_IDLE_SPINS 64u /* iterations without work before the first sleep */
#define SA_IDLE_FIRST_US 20u
#define SA_IDLE_LAST_US 1000u
/** With no ring running nobody can kick; only the uplink is emptied. */
#define SA_IDLE_DRAIN_US 10000u
/** With an uplink that announces its packets: one that its driver missed to announce is late, and not lost. */
#define SA_IDLE_ANNOUNCED_S 1

struct sa_idle {
	unsigned int spins_count;
	uint32_t sleep_us;
};

/** Something was done: start over. */
static inline void
sa_idle_reset(struct sa_idle *idle)
{
	idle->spins_count = 0;
	idle->sleep_us = 0;
}

/** Nothing was done. @return how long to sleep now; 0: look again at once. */
static inline uint32_t
sa_idle_next_us(struct sa_idle *idle)
{
	if (idle->spins_count < SA_IDLE_SPINS) {
		idle->spins_count++;
		return 0;
	}
	if (idle->sleep_us == 0)
		idle->sleep_us = SA_IDLE_FIRST_US;
	else if (idle->sleep_us < SA_IDLE_LAST_US / 2)
		idle->sleep_us *= 2;
	else
		idle->sleep_us = SA_IDLE_LAST_US;
	return idle->sleep_us;
}

#endif
