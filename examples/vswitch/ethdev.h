/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VS_ETHDEV_H
#define VS_ETHDEV_H

#include <stdint.h>

#include <rte_mempool.h>

#include "rp_wire_why.h"

/**
 * @file
 * An ethdev as the switch wants it: one queue each way, all that passes by, no offloads.
 *
 * Threads: the main lcore.
 */

/**
 * Configure and start it.
 *
 * @param name as DPDK has it: net_tap0, net_memif0, 0000:01:00.0.
 * @return 0, -ENODEV (there is none of that name), or what the device says.
 */
int vs_ethdev_start(const char *name, struct rte_mempool *pool, uint16_t *ret_ethdev, struct rp_wire_why *why);

/** Stop and close all that there are: a TAP interface stays until its ethdev is closed. */
void vs_ethdev_close_all(void);

#endif
