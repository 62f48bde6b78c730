/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFU_EVENTFD_H
#define VFU_EVENTFD_H

#include <stdbool.h>

#include "rp_wire_caller.h"

/* An eventfd that a peer gave us is input: it may be something else, or full. */

/*
 * Whether a descriptor can be signalled like an eventfd: an anonymous inode. A
 * pipe, socket, terminal or file, to which writing could block or do harm, is not.
 */
bool rp_vfu_eventfd_is(int fd);

/* Add 1. A full one is signalled already. @param fd -1: nothing happens. */
void rp_vfu_eventfd_signal(struct rp_wire_caller *caller, int fd);

struct rp_vfu_server;

/* What a server signals with, for its own thread; server.c. */
struct rp_wire_caller *rp_vfu_server_caller(const struct rp_vfu_server *server);

#endif
