/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef TELEMETRY_H
#define TELEMETRY_H

#include "softaccel.h"

/**
 * @file
 * DPDK telemetry: /softaccel/functions, /softaccel/queues,FUNCTION[,FIRST_QUEUE],
 * /softaccel/dma,FUNCTION, /softaccel/sleeps, /softaccel/nodes and /softaccel/uplink.
 *
 * Threads: start and stop: the main thread; DPDK's telemetry thread answers.
 */

/** Functions must not be added afterwards. */
void telemetry_start(const struct softaccel *accel);

/** The accelerator is not touched any more. */
void telemetry_stop(void);

#endif
