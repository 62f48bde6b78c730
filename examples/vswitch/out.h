/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VS_OUT_H
#define VS_OUT_H

#include "switch.h"

/**
 * @file
 * Frames to a port. What it does not take at once waits in its egress queue, in order: so a
 * ring that nobody has for a moment, while it moves, costs no frame.
 *
 * Threads: any worker.
 */

/** @param frames one reference of each is taken. */
void vs_out_send(struct vs_port *port, struct rte_mbuf **frames, unsigned int count);

/** Try again what waits. @return whether anything went. */
bool vs_out_flush(struct vs_port *port);

/** How many frames wait, about. Any thread. */
unsigned int vs_out_waiting(const struct vs_port *port);

#endif
