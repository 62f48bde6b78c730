/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VS_VHOST_H
#define VS_VHOST_H

#include "guest.h"

/**
 * @file
 * librte_vhost for one guest: the socket that it listens on, what its thread tells us, and
 * frames by its rings.
 *
 * Threads: making and ending, the main lcore; the callbacks, librte_vhost's; frames, workers
 * between two quiescent states.
 */

/**
 * Listen on guest->vhost_path.
 *
 * @return 0 or -EIO (librte_vhost has logged why).
 */
int vs_vhost_start(struct vs_guest *guest, struct rp_wire_why *why);

/** The connection, the device and the socket are gone after it. */
void vs_vhost_stop(struct vs_guest *guest);

/** Frames that the guest has sent. @return how many. */
unsigned int vs_vhost_receive(struct vs_guest *guest, unsigned int pair, struct rte_mbuf **ret_frames);

/** Frames into a receive ring. They stay the caller's. @return how many were taken. */
unsigned int vs_vhost_send(struct vs_guest *guest, unsigned int pair, struct rte_mbuf **frames, unsigned int count);

#endif
