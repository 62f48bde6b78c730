/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef RP_WIRE_CLOCK_H
#define RP_WIRE_CLOCK_H

#include <stdint.h>
#include <time.h>

/**
 * @file
 * Monotonic time for deadlines. Threads: no state; any thread.
 */

/** Milliseconds of CLOCK_MONOTONIC; never goes back. */
static inline uint64_t
rp_wire_clock_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

#endif
