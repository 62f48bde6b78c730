/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <string.h>

#include "drv.h"
#include "packed.h"

static size_t
round_up(size_t bytes)
{
	return (bytes + DRV_CACHE_LINE_BYTES - 1) / DRV_CACHE_LINE_BYTES * DRV_CACHE_LINE_BYTES;
}

size_t
rp_vring_packed_driver_event_at(uint16_t num)
{
	return round_up((size_t)num * sizeof(struct packed_desc));
}

/* Each side writes its own one often: not on one cache line. */
size_t
rp_vring_packed_device_event_at(uint16_t num)
{
	return rp_vring_packed_driver_event_at(num) + DRV_CACHE_LINE_BYTES;
}

size_t
rp_vring_packed_end(uint16_t num)
{
	return rp_vring_packed_device_event_at(num) + DRV_CACHE_LINE_BYTES;
}

static uint8_t *
desc_of(const struct rp_vring_drv *ring, uint16_t at)
{
	return ring->desc + (size_t)at * sizeof(struct packed_desc);
}

static uint16_t
flags_of(const struct drv_chain *chain, uint16_t i, bool wrap)
{
	uint32_t flags = packed_available_flags(wrap);

	if (chain->indirect)
		return (uint16_t)(flags | PACKED_DESC_INDIRECT);
	if (chain->parts[i].device_writes)
		flags |= PACKED_DESC_WRITE;
	if (i + 1 < chain->parts_count)
		flags |= PACKED_DESC_NEXT;
	return (uint16_t)flags;
}

static uint16_t
take_id(struct rp_vring_drv *ring, const struct drv_chain *chain)
{
	uint16_t id = ring->free_head;
	struct drv_slot *slot = &ring->slots[id];

	ring->free_head = slot->next;
	ring->free_count = (uint16_t)(ring->free_count - chain->parts_count);
	slot->cookie = chain->cookie;
	slot->writable_bytes = chain->writable_bytes;
	slot->parts_count = chain->parts_count;
	return id;
}

void
rp_vring_packed_add(struct rp_vring_drv *ring, const struct drv_chain *chain)
{
	uint8_t *first_desc = desc_of(ring, ring->next_avail);
	uint16_t first_flags = flags_of(chain, 0, ring->avail_wrap), id = take_id(ring, chain), i;

	for (i = 0; i < chain->parts_count; i++) {
		uint8_t *desc = desc_of(ring, ring->next_avail);

		vring_store64(desc + offsetof(struct packed_desc, addr), chain->parts[i].iova);
		vring_store32(desc + offsetof(struct packed_desc, len), chain->parts[i].size_bytes);
		vring_store16(desc + offsetof(struct packed_desc, id), id);
		if (i > 0)
			vring_store16(desc + offsetof(struct packed_desc, flags), flags_of(chain, i, ring->avail_wrap));
		packed_move(ring->layout.num, &ring->next_avail, &ring->avail_wrap, 1);
	}
	if (ring->unkicked_count <= UINT16_MAX)
		ring->unkicked_count += chain->parts_count;
	vring_store16_release(first_desc + offsetof(struct packed_desc, flags), first_flags);
}

void
rp_vring_packed_table(const struct rp_vring_part *parts, uint16_t parts_count, uint8_t *table)
{
	uint16_t i;

	for (i = 0; i < parts_count; i++) {
		const struct packed_desc desc = {
			.addr = htole64(parts[i].iova),
			.len = htole32(parts[i].size_bytes),
			.flags = htole16(parts[i].device_writes ? PACKED_DESC_WRITE : 0),
		};

		memcpy(table + i * sizeof(desc), &desc, sizeof(desc));
	}
}

bool
rp_vring_packed_needs_kick(const struct rp_vring_drv *ring, uint32_t added_count)
{
	return packed_is_wanted(vring_load32(ring->used), ring->event_idx, ring->layout.num, ring->next_avail,
				ring->avail_wrap, added_count);
}

/* In order, ids are gone through from the first to the last, so one that came back goes to the end of the list. */
static void
give_id(struct rp_vring_drv *ring, uint16_t id)
{
	struct drv_slot *slot = &ring->slots[id];

	if (ring->in_order) {
		if (ring->out_count == ring->layout.num)
			ring->free_head = id;
		ring->slots[ring->free_tail].next = id;
		ring->free_tail = id;
		ring->oldest = (uint16_t)((id + 1) % ring->layout.num);
	} else {
		slot->next = ring->free_head;
		ring->free_head = id;
	}
	ring->free_count = (uint16_t)(ring->free_count + slot->parts_count);
	slot->parts_count = 0;
}

/* Read the used descriptor whose turn it is. In order it may stand for all chains up to its own. */
static int
read_used(struct rp_vring_drv *ring, struct drv_batch *ret_batch)
{
	const uint8_t *desc = desc_of(ring, ring->next_used);
	uint16_t flags = vring_load16_acquire(desc + offsetof(struct packed_desc, flags)), id;
	uint32_t written_bytes;

	if (!packed_is_used(flags, ring->used_wrap))
		return 0;
	id = vring_load16(desc + offsetof(struct packed_desc, id));
	written_bytes = vring_load32(desc + offsetof(struct packed_desc, len));
	/*
	 * 2.8.4: without the flag the length says nothing. But QEMU's devices never set the
	 * flag, and Linux never looks at it: a length that can be is one, any other is none.
	 */
	if ((flags & PACKED_DESC_WRITE) == 0 && !drv_may_come_back(ring, id, written_bytes))
		written_bytes = 0;
	if (!drv_may_come_back(ring, id, written_bytes))
		return -EBADMSG;
	*ret_batch = (struct drv_batch){.open = true, .last = id, .last_written_bytes = written_bytes};
	return 1;
}

int
rp_vring_packed_get(struct rp_vring_drv *ring, void **ret_cookie, uint32_t *ret_written_bytes)
{
	uint16_t id;
	int rc;

	if (!ring->batch.open) {
		rc = read_used(ring, &ring->batch);
		if (rc <= 0)
			return rc;
	}
	id = ring->in_order ? ring->oldest : ring->batch.last;
	ring->batch.open = id != ring->batch.last;
	*ret_cookie = ring->slots[id].cookie;
	*ret_written_bytes = ring->batch.open ? ring->slots[id].writable_bytes : ring->batch.last_written_bytes;
	packed_move(ring->layout.num, &ring->next_used, &ring->used_wrap, ring->slots[id].parts_count);
	give_id(ring, id);
	return 1;
}

void
rp_vring_packed_set_interrupt(struct rp_vring_drv *ring)
{
	vring_store32(ring->avail,
		      packed_event(ring->interrupt_wanted, ring->event_idx, ring->next_used, ring->used_wrap));
}
