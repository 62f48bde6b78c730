/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef PORT_IOMMU_H
#define PORT_IOMMU_H

/*
 * A guest with an IOMMU in front of its device (VIRTIO_F_ACCESS_PLATFORM): the addresses of
 * its rings and buffers are IOVAs, of which the frontend says on request what is behind
 * them. Inside:
 *
 *   iommu.c        translations: told, taken back, asked for; who waits for one
 *   iommu_table.c  those that are known
 *   iommu_ring.c   a ring whose pages lie anywhere in guest-physical memory
 *
 * Two rules, each of which is a deadlock when it is broken. The frontend answers a miss
 * only after the update that it sent inside was acknowledged, and reads nothing of ours
 * while it waits: so nothing here waits for an answer. And an invalidation is acknowledged
 * when the device's accesses to its range are over, not when somebody's pending miss is: a
 * chain that waits for a translation was not taken from its ring, so nothing must be
 * waited for; it is only asked for again.
 */

#include <stdbool.h>
#include <stdint.h>

#include "rp_vhu_backend.h"
#include "rp_vring_shadow.h"

#define PORT_IOMMU_PAGE_BYTES 4096u /* the smallest page of any guest's IOMMU */

struct rp_port;
struct rp_port_info;
struct port_queue;
struct port_iommu;

/* A ring whose parts are IOVAs, where we see it. */
struct port_iommu_ring {
	bool waits; /* the frontend started it, and not all of its translations are there */
	bool open; /* the rest is valid */
	bool identity; /* all of it lies where its IOVAs say */
	bool writable[RP_VRING_PARTS_COUNT];
	void *parts[RP_VRING_PARTS_COUNT];
	void *maps[RP_VRING_PARTS_COUNT]; /* made for a part that lies apart; NULL: none */
	uint64_t map_bytes[RP_VRING_PARTS_COUNT];
	bool stopped; /* its accelerator was stopped for an invalidation: it starts again */
	bool told; /* what is wrong with its addresses was said */
	uint64_t refused_iova; /* the last one that a chain was refused for */
	uint64_t refused_count; /* chains, of rings that ended */
	uint64_t refused_told;
};

/* iommu.c */
int port_iommu_open(struct rp_port *port, struct rp_wire_why *why);
void port_iommu_close(struct rp_port *port);
/* The frontend negotiated it: addresses are IOVAs. */
bool port_iommu_is_on(const struct rp_port *port);
void port_iommu_forget(struct rp_port *port); /* all that was told */
/* Callbacks of the vhost-user backend; inside requests that the frontend waits in. */
int port_iommu_on_update(void *ctx, const struct rp_vhu_iotlb *entry, struct rp_wire_why *why);
void port_iommu_on_invalidate(void *ctx, uint64_t iova, uint64_t size_bytes);
void port_iommu_reply(struct rp_port *port, uint64_t slot, int error); /* to a miss */
void port_iommu_region_remove(struct rp_port *port, const struct rp_vhu_region *region);
/*
 * What is behind an IOVA. 0 and how much lies together there; -EAGAIN: it was asked for;
 * -EFAULT: the frontend said that there is nothing, or not with that permission.
 *
 * @param ahead whoever will need it asks again: a refusal stays, to be told to him.
 */
int port_iommu_find(struct rp_port *port, uint64_t iova, uint64_t size_bytes, uint8_t perm, bool ahead,
		    uint64_t *ret_gpa, uint64_t *ret_bytes);
/* Whether that is known to be permitted; asks nobody. */
bool port_iommu_permits(const struct rp_port *port, uint64_t iova, uint8_t perm);
/* All of the guest's memory is where its IOVAs say, as far as was told. -EAGAIN: it was asked for. */
int port_iommu_all_identity(struct rp_port *port); /* 0: yes; -EFAULT: no */
/* The next chain of a ring, translated: rp_vring_shadow_translate; its context is the queue. */
int port_iommu_translate(void *ctx, uint64_t iova, uint64_t size_bytes, uint32_t access_mask, bool ahead,
			 struct rp_vring_shadow_place *ret_place);
/* The frontend starts the ring, whose base was judged; and stops it. */
void port_iommu_ring_start(struct rp_port *port, struct port_queue *queue);
void port_iommu_ring_stop(struct rp_port *port, struct port_queue *queue);
void port_iommu_wake(struct rp_port *port); /* the next run looks at all who wait */
void port_iommu_wake_now(struct rp_port *port); /* and it comes by itself */
/* Who waited may go on. Never inside a request. */
void port_iommu_run(struct rp_port *port);
void port_iommu_tick(struct rp_port *port, uint64_t now_ms);
uint64_t port_iommu_deadline(const struct rp_port *port); /* 0: none */
struct rp_port_iommu_info *port_iommu_counters(const struct rp_port *port);
void port_iommu_get_info(const struct rp_port *port, struct rp_port_info *ret_info);

/* iommu_ring.c */
/* Find a ring's parts, or ask for them. 0: it can be served; -EAGAIN; -EFAULT, -EBADMSG: it cannot, why says it. */
int port_iommu_ring_open(struct rp_port *port, struct port_queue *queue, struct rp_wire_why *why);
void port_iommu_ring_close(struct port_queue *queue);
bool port_iommu_ring_overlaps(const struct rp_port *port, const struct port_queue *queue, uint64_t iova,
			      uint64_t size_bytes);
/* ring_part.c */
/* Where a part of a ring is for us, IOMMU or not: its first bytes, with that access; or NULL. */
void *port_ring_part(const struct rp_port *port, const struct port_queue *queue, unsigned int part, uint64_t size_bytes,
		     uint32_t access_mask);

#endif
