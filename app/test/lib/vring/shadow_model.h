/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SHADOW_MODEL_H
#define SHADOW_MODEL_H

#include "rp_vring_drv.h"
#include "shadow_rig.h"

/*
 * A guest, a shadow and a device in one thread, in every order that a seed gives. The
 * device uses chains in any order (in order when that was negotiated); the shadow is
 * rebased, drained, followed by an owner without a shadow or by another one, while chains
 * are out. A model knows what each chain is made of, who has it, and which pages were
 * written. What must hold: each owner finds what is not done, oldest first; each chain
 * comes back once, with the bytes and the length that were given to it; nobody who
 * sleeps is forgotten (each acts only when it was woken); and the pages that are
 * reported are those that were written.
 */

#define MODEL_NUM_MAX 256u
#define MODEL_PARTS_MAX 6u
#define MODEL_LOG_PAGE_BYTES 0x1000u /* what a bit of a vhost log stands for, whatever the page size is */
#define MODEL_PAGES (GUEST_BYTES / MODEL_LOG_PAGE_BYTES)
#define MODEL_RING_BYTES_MAX 0x4000u

/* A chain; its buffers and its table are in the room of the same number. */
struct model_chain {
	bool out; /* the guest's, and not back */
	bool taken; /* by the device that is there now, or its owner */
	bool used; /* by the device */
	uint32_t number;
	uint32_t in_bytes;
	uint32_t written_bytes;
	uint16_t parts_count;
	struct rp_vring_part parts[MODEL_PARTS_MAX];
};

struct model {
	struct guest *guest;
	struct rp_vring_drv *drv;
	struct rig rig;
	uint16_t num;
	uint64_t features;
	unsigned int seed;
	uint32_t room_bytes;
	struct model_chain chains[MODEL_NUM_MAX];
	uint32_t sent, limit, back;

	uint16_t held_heads[MODEL_NUM_MAX]; /* by the device */
	uint16_t held_rooms[MODEL_NUM_MAX];
	uint16_t held_count;

	bool guest_woken, forward_woken, return_woken, device_woken;
	bool logging;
	uint8_t expected[MODEL_PAGES], reported[MODEL_PAGES]; /* by page */
	uint8_t ring_before[MODEL_RING_BYTES_MAX];
	bool ring_reported[MODEL_RING_BYTES_MAX];
	uint32_t ring_bytes;

	uint32_t drains, rebases, redone;
};

extern struct model model;

uint32_t model_below(uint32_t limit);

/* What each does when it is its turn; it does what it was woken for. */
void model_guest_step(void);
void model_device_step(void);

/* The chain whose turn it is: of what the current owner does not have, the oldest that is not done; NULL: none. */
struct model_chain *model_next(void);

/* Write the beginning of what may be written, most often all of it or nothing, and call the chain used. */
void model_work_on(struct model_chain *chain);

/* What the device took and did not use is nobody's; it may have written to it all the same. */
void model_device_lets_go(void);

#endif
