/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <sched.h>
#include <time.h>

#include "port.h"

#define NS_PER_MS 1000000u
#define NS_PER_S 1000000000u
/* A processor that sleeps wakes about so much later than it was asked to; what is over is waited for awake. */
#define WAKE_NS 120000u

static uint64_t
now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
}

uint64_t
port_drain_end(const struct rp_port *port)
{
	return now_ns() + (uint64_t)port->drain_ms * NS_PER_MS;
}

void
port_drain_until(uint64_t end_ns)
{
	const uint64_t wake_ns = end_ns - WAKE_NS;
	const struct timespec wake = {.tv_sec = (time_t)(wake_ns / NS_PER_S), .tv_nsec = (long)(wake_ns % NS_PER_S)};

	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &wake, NULL) == EINTR)
		;
	while (now_ns() < end_ns)
		sched_yield();
}

void
port_drain(const struct rp_port *port)
{
	port_drain_until(port_drain_end(port));
}
