/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef RP_PORT_HAND_OVER_H
#define RP_PORT_HAND_OVER_H

#include "rp_port.h"
#include "rp_wire_parcel.h"

/**
 * @file
 * A port goes from one process to its successor while its frontend stays connected and the
 * hardware serves its rings.
 *
 * Theory of operation: rp_port_give() packs what a successor needs (rp_wire_parcel.h):
 * what the frontend said, its sockets and eventfds, the accelerators and who serves which
 * ring. rp_port_leave() then ends the port here without a word to anybody. Until then the
 * hand-over may be called off: rp_port_resume(). rp_port_adopt() makes a port of it.
 *
 *   queue is        meanwhile
 *   direct          served: guest and device need nobody
 *   relayed         the device has the ring; kicks wait in their eventfd
 *   shadow          stopped where it stands: its private ring is this process's memory
 *   software        stopped where it stands: its software backend's connection is this process's
 *   stopped         stopped
 *
 * What is stopped by it goes on in the successor, from the position that is packed. Who
 * cannot be stopped alone (a device that stops all queues or none) makes the port one that
 * cannot be given.
 *
 * A port that cannot be given, or adopted, is destroyed, and the frontend connects anew.
 *
 * Threads: the port's.
 */

/**
 * Pack a port. Between this and rp_port_leave() or rp_port_resume() nothing else of the port
 * may be called.
 *
 * @param parcel in a scope of the caller's. After a failure nothing of the port is in it.
 * @return 0; -ENOTCONN (no frontend is connected: there is nothing to keep alive); -EAGAIN (a
 *         message is half read or half sent: rp_port_process(), and try again); -ENOTSUP
 *         (why says what of it cannot be given); what stopping a queue says; -ENOMEM, -ENOSPC,
 *         -EMFILE. After a failure the port goes on as it was.
 */
int rp_port_give(struct rp_port *port, struct rp_wire_parcel *parcel, struct rp_wire_why *why);

/** Go on after all with a port that was packed. */
void rp_port_resume(struct rp_port *port);

/**
 * End a port that was packed: neither frontend nor device hears of it. Its descriptors
 * are closed; those in the parcel, and their duplicates elsewhere, are not. NULL is allowed.
 *
 * @return NULL.
 */
struct rp_port *rp_port_leave(struct rp_port *port);

/**
 * Make a port that goes on where another process left. As rp_port_create(), but the frontend
 * is connected, and rings run.
 *
 * @param config of the port that was packed; another one is found out where it concerns the frontend.
 * @param parcel in the same scope; what is in it is judged as a frontend's messages are.
 * @return as rp_port_create(); -EBADMSG (the parcel), -ENOTSUP (another version, or what the
 *         frontend was told does not hold here), and what rp_accel_adopt() says. After a failure
 *         nothing is held, and nobody was told anything; destroy the parcel before the device is
 *         opened anew.
 */
int rp_port_adopt(const struct rp_port_config *config, const struct rp_accel_registry *registry,
		  const struct rp_port_ops *ops, void *ctx, struct rp_wire_parcel *parcel, struct rp_port **ret_port,
		  struct rp_wire_why *why);

#endif
