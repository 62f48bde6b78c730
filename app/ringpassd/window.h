/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef WINDOW_H
#define WINDOW_H

#include "rp_port.h"

/**
 * @file
 * A peer-to-peer window as a user writes it: "of=1,bar=4,to=0,iova=0x3800000000,offset=0x1000,size=0x2000".
 *
 * Threads: no state; any thread.
 */

#define RPD_WINDOW_EXPECTED "of=N,bar=N,to=N,iova=N, and offset=N or size=N; numbers decimal or 0x..."

/** @param ret_window set on success. @return 0 or -EBADMSG (why says what was found and what was expected). */
int rpd_window_parse(const char *text, struct rp_port_window *ret_window, struct rp_wire_why *why);

#endif
