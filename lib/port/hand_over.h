/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef HAND_OVER_H
#define HAND_OVER_H

/*
 * Inside of hand_over*.c:
 *
 *   hand_over_give.c          packs a port, or calls that off; leaves it
 *   hand_over_adopt.c         makes a port of what was packed
 *   hand_over_queue.c         both, of a queue
 *   hand_over_accelerators.c  both, of the accelerators
 *   hand_over_software.c      both, of what is known of the software backend
 */

#include "port.h"
#include "rp_port_hand_over.h"

#define PORT_GIVEN_VERSION 1u

/* Names of parts. */
#define PORT_GIVEN_FRONTEND "frontend"
#define PORT_GIVEN_QUEUE "queue"
#define PORT_GIVEN_ACCELERATOR "accelerator"
#define PORT_GIVEN_SOFTWARE "software"

/* hand_over_queue.c */
void port_queue_pack(const struct port_queue *queue, struct rp_wire_parcel *parcel);
/* With the frontend's rings, memory and accelerators there. 0, -EBADMSG, or what its device says. */
int port_queue_unpack(struct rp_port *port, struct port_queue *queue, struct rp_wire_parcel *parcel,
		      struct rp_wire_why *why);

/* hand_over_accelerators.c */
/* 0, or why one of them cannot be given. */
int port_accelerators_check(const struct rp_port *port, struct rp_wire_why *why);
int port_accelerators_pack(const struct rp_port *port, struct rp_wire_parcel *parcel, struct rp_wire_why *why);
/* With the frontend's memory there; makes the queues. */
int port_accelerators_unpack(struct rp_port *port, const struct rp_port_config *config, struct rp_wire_parcel *parcel,
			     struct rp_wire_why *why);

/* hand_over_software.c: what the frontend's offer rests on. The backend itself is connected to anew. */
void port_software_pack(const struct rp_port *port, struct rp_wire_parcel *parcel);
void port_software_unpack(struct rp_port *port, struct rp_wire_parcel *parcel);

#endif
