/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VS_TELEMETRY_H
#define VS_TELEMETRY_H

#include "mailbox.h"
#include "switch.h"

/**
 * @file
 * The switch in DPDK's telemetry: /vswitch/ports, /vswitch/stats,PORT, /vswitch/queues,PORT[,FIRST].
 *
 * Threads: start and stop, the main lcore.
 */

/** @param mailbox by which the answers are made where the ports live. */
void vs_telemetry_start(struct vs_switch *sw, struct vs_mailbox *mailbox);

/** No question reaches the switch after it. The mailbox has ended. */
void vs_telemetry_stop(void);

#endif
