/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VS_LINKS_H
#define VS_LINKS_H

#include "switch.h"

/**
 * @file
 * Which ethdevs have a link. DPDK's memif connects, as a client, only when it is started: one
 * whose other end has left is started anew until there is another.
 *
 * Threads: the main lcore.
 */

/** To be called now and then. */
void vs_links_look(struct vs_switch *sw);

#endif
