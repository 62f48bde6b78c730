/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>

#include "drv.h"
#include "rp_vring_position.h"
#include "split.h"

/*
 * With nothing out, the driver's side of a ring is its position and the order in which
 * descriptors are taken; in order that matters to the device, and it is a circle.
 */

#define WRAP_MASK 0x8000u

static uint32_t
position_of(const struct rp_vring_drv *ring)
{
	uint16_t at = ring->next_avail;

	if (ring->packed && ring->avail_wrap)
		at = (uint16_t)(at | WRAP_MASK);
	return rp_vring_position_drained(ring->layout.features, at);
}

int
rp_vring_drv_save(const struct rp_vring_drv *ring, struct rp_vring_drv_state *ret_state)
{
	if (ring->out_count > 0)
		return -EBUSY;
	*ret_state = (struct rp_vring_drv_state){
		.position = position_of(ring),
		.first_free = ring->free_head,
		.interrupt_wanted = ring->interrupt_wanted,
	};
	return 0;
}

static int
check(const struct rp_vring_drv *ring, const struct rp_vring_drv_state *state)
{
	uint16_t at = (uint16_t)state->position;

	if (state->first_free >= ring->layout.num)
		return -EBADMSG;
	if (rp_vring_position_check(ring->layout.features, ring->layout.num, state->position, NULL) < 0)
		return -EBADMSG;
	if (!ring->packed && (vring_load16(ring->avail + SPLIT_INDEX_AT) != at ||
			      vring_load16_acquire(ring->used + SPLIT_INDEX_AT) != at))
		return -EBADMSG;
	return 0;
}

static void
move_to(struct rp_vring_drv *ring, uint16_t at)
{
	ring->next_avail = ring->packed ? (uint16_t)(at & ~WRAP_MASK) : at;
	ring->next_used = ring->next_avail;
	if (!ring->packed)
		return;
	ring->avail_wrap = (at & WRAP_MASK) != 0;
	ring->used_wrap = ring->avail_wrap;
}

int
rp_vring_drv_resume(uint16_t num, void *memory, uint64_t memory_iova, uint64_t features,
		    const struct rp_vring_drv_state *state, struct rp_vring_drv **ret_ring)
{
	struct rp_vring_drv *ring;
	int rc = rp_vring_drv_new(num, memory, memory_iova, features, &ring);

	if (rc < 0)
		return rc;
	rc = check(ring, state);
	if (rc < 0) {
		rp_vring_drv_destroy(ring);
		return rc;
	}
	move_to(ring, (uint16_t)state->position);
	ring->slots[num - 1].next = 0;
	ring->free_head = state->first_free;
	ring->free_tail = (uint16_t)((state->first_free + num - 1) % num);
	ring->oldest = state->first_free;
	ring->interrupt_wanted = state->interrupt_wanted;
	*ret_ring = ring;
	return 0;
}
