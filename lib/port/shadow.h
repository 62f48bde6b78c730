/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SHADOW_H
#define SHADOW_H

/* Rings of our own in the guest's rings' place, and the memory that they lie in. A part of port.h. */

#include "port.h"

/* shadow.c */
bool port_shadow_logging(const struct rp_port *port);
/* Which ring the queue is started with. 0, or -ENOTSUP: what the user insists on cannot be. */
int port_shadow_choose(struct rp_port *port, struct port_queue *queue, bool *ret_shadow, struct rp_wire_why *why);
/* Whether a running queue has another ring than it should have, and can be moved. */
bool port_shadow_must_change(struct rp_port *port, const struct port_queue *queue);
/* 0, or why a queue that runs cannot be moved to where writes are logged; as the device's dma_map says, too. */
int port_shadow_may_log(struct rp_port *port, struct rp_wire_why *why);
void port_shadow_log(struct rp_port *port, struct port_queue *queue); /* features say whether */
/* Make a private ring; config says what to start the device with. */
int port_shadow_open(struct rp_port *port, struct port_queue *queue, struct rp_accel_queue_config *config,
		     struct rp_wire_why *why);
void port_shadow_begin(struct rp_port *port, struct port_queue *queue); /* the device was started */
void port_shadow_serve(struct rp_port *port, struct port_queue *queue); /* bounded by the ring's size */
/* The device let go: where the guest's ring stands. 0, or -EBADMSG: nobody knows. */
int port_shadow_end(struct rp_port *port, struct port_queue *queue, uint32_t *ret_position);
void port_shadow_close(struct port_queue *queue); /* without a word */
/* Chains that named what the guest's IOMMU does not permit. */
uint64_t port_queue_accesses_refused(const struct port_queue *queue);

/* private.c */
/* The queue's slot, mapped in its device: its ring, and behind it, with access_platform, tables. */
int port_private_slot(struct rp_port *port, const struct port_queue *queue, void **ret_memory, uint64_t *ret_iova,
		      struct rp_wire_why *why);
uint64_t port_private_tables_at(const struct rp_port *port); /* in a slot */
bool port_private_in_the_way(const struct port_accelerator *accelerator, const struct rp_vhu_region *region);
int port_private_unmap(struct port_accelerator *accelerator, struct rp_wire_why *why);
void port_private_close(struct port_accelerator *accelerator); /* the device is closed */

#endif
