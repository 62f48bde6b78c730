/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VS_FORWARD_H
#define VS_FORWARD_H

#include "switch.h"

/**
 * @file
 * The worker lcores: what comes in by their ports is learned from, and sent on.
 *
 * Threads: start and stop, the main lcore.
 */

/** On all worker lcores. @return 0 or -ENODEV: there is none. */
int vs_forward_start(struct vs_switch *sw, struct rp_wire_why *why);

/** They have returned after it. */
void vs_forward_stop(struct vs_switch *sw);

#endif
