/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef DOORBELLS_H
#define DOORBELLS_H

#include "rp_port.h"

/* Inside of lib/port: what of a queue's device is in the frontend's hands, its doorbell and its VFIO file. */

struct port_queue;

/* doorbell.c */
void port_doorbell_started(struct rp_port *port, struct port_queue *queue);
void port_doorbell_stopped(struct rp_port *port, struct port_queue *queue); /* by us: take it back */
/*
 * While rings have no owner, what is stopped is only noted, and the frontend asked afterwards: it may be woken by that,
 * on the processor that the move needs. Released before anybody waits.
 */
void port_doorbells_hold(struct rp_port *port);
void port_doorbells_release(struct rp_port *port);
void port_doorbell_dropped(struct rp_port *port, struct port_queue *queue); /* by the frontend's GET_VRING_BASE */
void port_doorbell_disconnected(struct port_queue *queue);
void port_doorbell_policy(struct rp_port *port, struct port_queue *queue, enum rp_port_doorbell_policy policy);
void port_doorbell_reply(struct rp_port *port, struct port_queue *queue, int error);
void port_doorbell_tick(struct rp_port *port, struct port_queue *queue, uint64_t now_ms);
uint64_t port_doorbell_deadline(const struct rp_port *port, const struct port_queue *queue); /* 0: none */
bool port_doorbell_outstanding(const struct port_queue *queue);

bool port_doorbell_is_wanted(const struct rp_port *port, const struct port_queue *queue);
/* The guest has the doorbell of the device that serves the queue now. */
bool port_doorbell_is_mapped(const struct port_queue *queue);

/* doorbell_wish.c */
/* Before the doorbell is given away, and once it is back. 0, or the accelerator failed now. */
int port_doorbell_tell(struct rp_port *port, struct port_queue *queue, bool page);
/* Nobody has the doorbell, and the device does not know. */
bool port_doorbell_untold(const struct rp_port *port, const struct port_queue *queue);
void port_doorbell_heard(struct rp_port *port, unsigned int accelerator); /* its wishes changed */
/* For a successor that may know nothing of wishes: every device watches. */
void port_doorbell_watch_all(struct rp_port *port);

/* vfio_file.c */
/* Give or take back what is due; -ENOSPC: the channel is full, later. */
int port_vfio_file_update(struct rp_port *port, struct port_queue *queue);
void port_vfio_file_started(struct port_queue *queue);
void port_vfio_file_channel(struct port_queue *queue); /* there is a new one */
void port_vfio_file_reset(struct rp_port *port, struct port_queue *queue); /* RESET_DEVICE */
void port_vfio_file_renewed(struct port_queue *queue, unsigned int accelerator); /* another was opened in its place */
void port_vfio_file_disconnected(struct port_queue *queue);
void port_vfio_file_reply(struct rp_port *port, struct port_queue *queue, int error);
void port_vfio_file_tick(struct rp_port *port, struct port_queue *queue, uint64_t now_ms);
uint64_t port_vfio_file_deadline(const struct rp_port *port, const struct port_queue *queue); /* 0: none */
/* The frontend has it, and may be waited for to give it back. */
bool port_vfio_file_outstanding(const struct port_queue *queue);

#endif
