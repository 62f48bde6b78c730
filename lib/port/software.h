/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SOFTWARE_H
#define SOFTWARE_H

/*
 * The software backend behind a port, as the rest of lib/port sees it: two verbs for a
 * ring (it serves, it is taken), and what the frontend said, passed on. Inside:
 *
 *   software.c         the connection: made, asked, lost, made again
 *   software_terms.c   what it offers, the same ever after
 *   software_device.c  what the frontend says of the device, passed on, and said anew
 *   software_memory.c  the guest's memory, and ours where parked rings lie
 *   software_ring.c    how a ring is given to it, and taken from it: in which order
 *   software_give.c    and given, one or several
 *   software_iommu.c   translations that it asks for, and that are taken back
 *   software_park.c    rings that it is told of and does not serve
 *   software_proof.c   how it is known that it let go after its connection ended
 *   software_kind.c    which kinds of backend there are, and what is peculiar to them
 *
 * Every call waits for the backend's answer, at most the configured time: a backend that
 * does not answer is hung, and is disconnected. A ring that it had then is *unproven* until
 * the process was seen to end, or comes back.
 *
 * Nothing of this may be called from its own callbacks (the frontend library says -EBUSY);
 * what they find out is done at the next tick.
 */

#include <stdbool.h>
#include <stdint.h>

#include "rp_port.h"

struct port_queue;
struct port_software;

/* What the software backend has of a ring. */
enum port_software_ring {
	PORT_SOFTWARE_RING_NONE, /* nothing: it was never told of it, or was told that it stopped */
	PORT_SOFTWARE_RING_PARKED, /* an empty ring of ours in its place */
	PORT_SOFTWARE_RING_SERVES, /* the guest's */
	PORT_SOFTWARE_RING_UNPROVEN, /* it went, or hangs, and may still touch the guest's */
};

/* Made before accelerators decide on features. 0; the connection may come later. */
int port_software_open(struct rp_port *port, const struct rp_port_software_config *config, struct rp_wire_why *why);
void port_software_close(struct rp_port *port); /* stops what it serves, without a word about positions */
void port_software_tick(struct rp_port *port, uint64_t now_ms);
uint64_t port_software_deadline(const struct rp_port *port); /* 0: none */

bool port_software_configured(const struct rp_port *port);
/* It is connected, and knows what the frontend said so far: a ring can be given to it. */
bool port_software_usable(const struct rp_port *port);
const char *port_software_reason(const struct rp_port *port); /* why not usable */
/*
 * What it offers; 0 until it was connected once, and the same ever after: one that comes
 * back with less is refused, in words. Until then the port serves no frontend.
 */
bool port_software_known(const struct rp_port *port);
uint64_t port_software_features(const struct rp_port *port);
uint64_t port_software_protocol_features(const struct rp_port *port); /* RP_VHU_PF_* that the frontend may be offered */
unsigned int port_software_queues_max(const struct rp_port *port); /* rings */

/* What the frontend said. 0, or as the backend says; -ENOTCONN: it is not there, and is told when it is. */
int port_software_set_features(struct rp_port *port, uint64_t features, struct rp_wire_why *why);
int port_software_set_memory(struct rp_port *port, struct rp_wire_why *why); /* as rp_vhu_backend_region() has it now */
int port_software_set_log(struct rp_port *port, struct rp_wire_why *why); /* as rp_vhu_backend_log_file() has it now */
int port_software_set_inflight(struct rp_port *port, struct rp_wire_why *why); /* likewise */
int port_software_get_inflight(struct rp_port *port, uint16_t queues_count, uint16_t queue_num, int *ret_fd,
			       uint64_t *ret_size_bytes, uint64_t *ret_offset_bytes, struct rp_wire_why *why);
int port_software_get_config(struct rp_port *port, uint32_t offset_bytes, uint32_t size_bytes, uint8_t *ret_bytes,
			     struct rp_wire_why *why);
int port_software_set_config(struct rp_port *port, uint32_t offset_bytes, uint32_t size_bytes, const uint8_t *bytes,
			     uint32_t flags, struct rp_wire_why *why);
int port_software_set_mtu(struct rp_port *port, uint16_t mtu_bytes, struct rp_wire_why *why);
int port_software_send_rarp(struct rp_port *port, const uint8_t mac[6], struct rp_wire_why *why);
/* The frontend went: its memory is given back (the backend is disconnected, and connected again). */
void port_software_frontend_gone(struct rp_port *port);

/*
 * The frontend has started a ring (SET_VRING_KICK), which it does not serve yet: some
 * kinds want to be told of every ring before any is served. And has stopped it.
 */
void port_software_ring_started(struct rp_port *port, struct port_queue *queue);
void port_software_ring_stopped(struct rp_port *port, struct port_queue *queue);

/*
 * Have it serve the guest's ring from queue->position on.
 * 0; -ENOTCONN (not usable); what it says. On failure it does not touch the ring.
 */
int port_software_serve(struct rp_port *port, struct port_queue *queue, struct rp_wire_why *why);
/*
 * Several that it does not serve yet, for hardly more than one costs.
 * 0, or the first error: it does not touch any ring but the first *ret_served_count.
 */
int port_software_serve_together(struct rp_port *port, struct port_queue *const *queues, unsigned int count,
				 unsigned int *ret_served_count, struct rp_wire_why *why);
/*
 * Rings that it is about to be given, by port_software_serve_together(): between port_software_park_hold() and
 * port_software_park_due() only, and where nothing of it can be wrong by then. Of one that somebody still serves it is
 * told less.
 */
void port_software_announce(struct rp_port *port, struct port_queue *const *queues, unsigned int count);
/*
 * Between the two, rings that are taken from it are left as they are, disabled, while it is told what matters more; then
 * they are parked. No request of the frontend may come in between.
 */
void port_software_park_hold(struct rp_port *port);
void port_software_park_due(struct rp_port *port);
/*
 * Take the ring from it. 0: it touches it no more, queue->position says where it stands
 * (queue->position_lost: nobody knows). -ETIMEDOUT, -ENOTCONN, -EIO: there is no proof, the ring is
 * UNPROVEN. Several at once, because of packed rings, whose position only the stop of the
 * whole device tells: `others` that it serves go on.
 */
int port_software_take(struct rp_port *port, struct port_queue *const *queues, unsigned int queues_count,
		       struct rp_wire_why *why);
/* While it serves: the guest's eventfds were swapped, or whether writes to the used ring are logged. */
int port_software_ring_call(struct rp_port *port, struct port_queue *queue, struct rp_wire_why *why);
int port_software_ring_kick(struct rp_port *port, struct port_queue *queue, struct rp_wire_why *why);
int port_software_ring_err(struct rp_port *port, struct port_queue *queue, struct rp_wire_why *why);
int port_software_ring_log(struct rp_port *port, struct port_queue *queue, struct rp_wire_why *why);

/* software_iommu.c: what the guest's IOMMU says. Nothing is done for a backend that is not there. */
void port_software_iotlb_invalidate(struct rp_port *port, uint64_t iova, uint64_t size_bytes); /* waits for its word */
void port_software_iotlb_run(struct rp_port *port); /* tell it what it asked for, and is known by now */

void port_software_get_info(const struct rp_port *port, struct rp_port_software_info *ret_info);

/* What it calls back into the port: move.c. */
void port_move_software_usable(struct rp_port *port); /* it came (back), and may be given rings */
void port_move_software_gone(struct rp_port *port); /* rings that it served are UNPROVEN */
void port_move_software_proven(struct rp_port *port); /* UNPROVEN rings became NONE: it let go */
void port_move_software_config_changed(struct rp_port *port); /* CONFIG_CHANGE_MSG of it */

#endif
