/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef RP_VRING_DRV_PRIVATE_H
#define RP_VRING_DRV_PRIVATE_H

#include "ring.h"
#include "rp_vring_drv.h"

/**
 * @file
 * The two formats of the driver's side behind rp_vring_drv.h.
 *
 * Slots are numbered as the format numbers chains: by first descriptor (split) or
 * by buffer id (packed).
 *
 * In order, chains are numbered so that the one after the oldest is known without
 * a list: descriptors (split) or ids (packed) are taken around the table and come
 * back around the table.
 *
 * Threads: the ring's.
 */

#define DRV_CACHE_LINE_BYTES 64u

/** What the driver must remember; the ring's memory is the device's to write. */
struct drv_slot {
	void *cookie;
	uint32_t writable_bytes; /* of the chain that starts here */
	uint16_t parts_count; /* descriptors of the ring that the chain takes, while it is out; else 0 */
	uint16_t next; /* split: in the chain; both: in the list of free ones */
	uint16_t index; /* split: its entry in the available ring */
};

/** One used entry that the device wrote for several chains. */
struct drv_batch {
	bool open;
	uint16_t last;
	uint32_t last_written_bytes;
};

struct rp_vring_drv {
	struct rp_vring_layout layout;
	uint8_t *desc;
	uint8_t *avail; /* packed: driver event suppression */
	uint8_t *used; /* packed: device event suppression */
	bool packed;
	bool in_order;
	bool event_idx;
	bool interrupt_wanted;
	bool avail_wrap; /* packed: of next_avail and next_used */
	bool used_wrap;
	uint16_t next_avail; /* index, or descriptor */
	uint16_t next_used;
	uint16_t free_head; /* of the list of free descriptors, or ids */
	uint16_t free_tail;
	uint16_t free_count; /* descriptors */
	uint16_t oldest; /* in order: the slot whose turn it is */
	uint32_t out_count; /* chains that the device has */
	uint32_t unkicked_count; /* since the last decision, packed: descriptors; stops growing above 65535 */
	struct drv_batch batch;
	struct drv_slot slots[];
};

/** A chain to be written, already judged. */
struct drv_chain {
	const struct rp_vring_part *parts;
	uint16_t parts_count;
	bool indirect; /* the last part is a table */
	uint32_t writable_bytes;
	void *cookie;
};

/** A ring that nobody used, all free; nothing of the memory is touched. @return 0, -EINVAL, -ENOMEM. */
int rp_vring_drv_new(uint16_t num, void *memory, uint64_t memory_iova, uint64_t features,
		     struct rp_vring_drv **ret_ring);

/** Make a judged chain available. @return 0 or -ENOSPC. */
int rp_vring_drv_put(struct rp_vring_drv *ring, const struct drv_chain *chain);

/** Where the second and third part of a ring begin, and where it ends. */
size_t rp_vring_split_avail_at(uint16_t num);
size_t rp_vring_split_used_at(uint16_t num);
size_t rp_vring_split_end(uint16_t num);
size_t rp_vring_packed_driver_event_at(uint16_t num);
size_t rp_vring_packed_device_event_at(uint16_t num);
size_t rp_vring_packed_end(uint16_t num);

/* For each format: there is room for the chain; what the public function of that name does. */
void rp_vring_split_add(struct rp_vring_drv *ring, const struct drv_chain *chain);
void rp_vring_split_table(const struct rp_vring_part *parts, uint16_t parts_count, uint8_t *table);
bool rp_vring_split_needs_kick(const struct rp_vring_drv *ring, uint32_t added_count);
int rp_vring_split_get(struct rp_vring_drv *ring, void **ret_cookie, uint32_t *ret_written_bytes);
void rp_vring_split_set_interrupt(struct rp_vring_drv *ring);

void rp_vring_packed_add(struct rp_vring_drv *ring, const struct drv_chain *chain);
void rp_vring_packed_table(const struct rp_vring_part *parts, uint16_t parts_count, uint8_t *table);
bool rp_vring_packed_needs_kick(const struct rp_vring_drv *ring, uint32_t added_count);
int rp_vring_packed_get(struct rp_vring_drv *ring, void **ret_cookie, uint32_t *ret_written_bytes);
void rp_vring_packed_set_interrupt(struct rp_vring_drv *ring);

/** @return whether the device may give this back: it is out, and was not written beyond its end. */
static inline bool
drv_may_come_back(const struct rp_vring_drv *ring, uint32_t id, uint32_t written_bytes)
{
	return id < ring->layout.num && ring->slots[id].parts_count != 0 &&
	       written_bytes <= ring->slots[id].writable_bytes;
}

#endif
