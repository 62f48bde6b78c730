/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef PLACE_H
#define PLACE_H

#include "rp_port.h"

/*
 * Inside of lib/port: which queue of which accelerator a queue of the port has, and how it
 * gets another.
 */

struct port_queue;

/* A queue of an accelerator. */
struct port_place {
	int accelerator; /* -1: none */
	unsigned int queue;
};

/* place.c */
/* All queues of the port, as its list of accelerators says. */
void port_places_assign(struct rp_port *port);
bool port_place_is_same(const struct port_place *a, const struct port_place *b);
struct port_place port_place_of(const struct port_queue *queue);
/* Of another accelerator, for whole pairs. 0, or -ENOSPC. */
int port_places_choose(const struct rp_port *port, unsigned int accelerator, struct port_queue *const *queues,
		       unsigned int count, struct port_place *ret_places);
/* What the device counted there. False, and zeroes: it cannot be asked. */
bool port_place_counters(const struct rp_port *port, const struct port_place *place,
			 struct rp_accel_queue_counters *ret);
/* From now on it has this one, where `base` is counted, and nobody is asked. */
void port_place_set(struct port_queue *queue, const struct port_place *place,
		    const struct rp_accel_queue_counters *base);
/* From now on it has this one; no accelerator serves it. */
void port_place_take(struct rp_port *port, struct port_queue *queue, const struct port_place *place);
/* An accelerator let go of a ring that it may have begun, and should not have: back to where it came from. */
void port_place_return(struct rp_port *port, struct port_queue *queue);
/* As a predecessor had it; to be judged when all are known: port_places_check(). 0, or -ENOTSUP. */
int port_place_adopt(struct rp_port *port, struct port_queue *queue, const struct port_place *place,
		     struct rp_wire_why *why);
/* No two queues have the same. 0, or -EBADMSG. */
int port_places_check(const struct rp_port *port, struct rp_wire_why *why);

/* queue.c */
void port_queue_counters_keep(struct port_queue *queue, const struct rp_accel_queue_counters *now,
			      const struct rp_accel_queue_counters *since);

/* transfer.c */
void port_transfer_tell(const struct rp_port *port, const struct port_queue *queue, const struct port_place *from);

/* fail_over.c */
/* The accelerator failed, with proof: what it had goes to another one, if that is configured. */
void port_fail_over(struct rp_port *port, unsigned int accelerator);

#endif
