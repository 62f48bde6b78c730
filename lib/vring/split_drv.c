/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <string.h>

#include "drv.h"
#include "split.h"

static size_t
round_up(size_t bytes)
{
	return (bytes + DRV_CACHE_LINE_BYTES - 1) / DRV_CACHE_LINE_BYTES * DRV_CACHE_LINE_BYTES;
}

size_t
rp_vring_split_avail_at(uint16_t num)
{
	return round_up(split_desc_bytes(num));
}

/* The event indices are always given room, so that a ring's size does not depend on them. */
size_t
rp_vring_split_used_at(uint16_t num)
{
	return round_up(rp_vring_split_avail_at(num) + split_avail_bytes(num, VRING_EVENT_IDX_MASK));
}

size_t
rp_vring_split_end(uint16_t num)
{
	return rp_vring_split_used_at(num) + split_used_bytes(num, VRING_EVENT_IDX_MASK);
}

static uint16_t
flags_of(const struct drv_chain *chain, uint16_t i)
{
	bool last = i + 1 == chain->parts_count;

	if (chain->indirect && last)
		return SPLIT_DESC_INDIRECT;
	return (uint16_t)((chain->parts[i].device_writes ? SPLIT_DESC_WRITE : 0) | (last ? 0 : SPLIT_DESC_NEXT));
}

static void
publish(struct rp_vring_drv *ring, uint16_t head)
{
	uint16_t place = ring->next_avail & (ring->layout.num - 1);

	vring_store16(ring->avail + SPLIT_ENTRIES_AT + place * SPLIT_AVAIL_BYTES, head);
	ring->next_avail++;
	if (ring->unkicked_count <= UINT16_MAX)
		ring->unkicked_count++;
	vring_store16_release(ring->avail + SPLIT_INDEX_AT, ring->next_avail);
}

void
rp_vring_split_add(struct rp_vring_drv *ring, const struct drv_chain *chain)
{
	uint16_t head = ring->free_head, at = head, i;

	for (i = 0; i < chain->parts_count; i++) {
		uint8_t *desc = ring->desc + at * sizeof(struct split_desc);
		bool last = i + 1 == chain->parts_count;

		vring_store64(desc + offsetof(struct split_desc, addr), chain->parts[i].iova);
		vring_store32(desc + offsetof(struct split_desc, len), chain->parts[i].size_bytes);
		vring_store16(desc + offsetof(struct split_desc, flags), flags_of(chain, i));
		vring_store16(desc + offsetof(struct split_desc, next), last ? 0 : ring->slots[at].next);
		if (!last)
			at = ring->slots[at].next;
	}
	ring->free_head = ring->slots[at].next;
	ring->free_count = (uint16_t)(ring->free_count - chain->parts_count);
	ring->slots[head].cookie = chain->cookie;
	ring->slots[head].writable_bytes = chain->writable_bytes;
	ring->slots[head].parts_count = chain->parts_count;
	ring->slots[head].index = ring->next_avail;
	publish(ring, head);
}

void
rp_vring_split_table(const struct rp_vring_part *parts, uint16_t parts_count, uint8_t *table)
{
	uint16_t i;

	for (i = 0; i < parts_count; i++) {
		bool last = i + 1 == parts_count;
		const struct split_desc desc = {
			.addr = htole64(parts[i].iova),
			.len = htole32(parts[i].size_bytes),
			.flags = htole16((uint16_t)((parts[i].device_writes ? SPLIT_DESC_WRITE : 0) |
						    (last ? 0 : SPLIT_DESC_NEXT))),
			.next = htole16(last ? 0 : (uint16_t)(i + 1)),
		};

		memcpy(table + i * sizeof(desc), &desc, sizeof(desc));
	}
}

bool
rp_vring_split_needs_kick(const struct rp_vring_drv *ring, uint32_t added_count)
{
	if (ring->event_idx)
		return split_event_passed(vring_load16(ring->used + split_avail_event_at(ring->layout.num)),
					  ring->next_avail, added_count);
	return (vring_load16(ring->used + SPLIT_FLAGS_AT) & SPLIT_NO_NOTIFY) == 0;
}

/* In order the table is gone through from its begin to its end (2.7.5), so a chain goes to the end of the list. */
static void
free_chain(struct rp_vring_drv *ring, uint16_t head)
{
	uint16_t parts_count = ring->slots[head].parts_count, last = head, i;

	for (i = 1; i < parts_count; i++)
		last = ring->slots[last].next;
	if (ring->in_order) {
		if (ring->free_count == 0)
			ring->free_head = head;
		/* The oldest chain follows what is free, also when nothing is. */
		ring->slots[ring->free_tail].next = head;
		ring->free_tail = last;
		ring->oldest = (uint16_t)((head + parts_count) % ring->layout.num);
	} else {
		ring->slots[last].next = ring->free_head;
		ring->free_head = head;
	}
	ring->free_count = (uint16_t)(ring->free_count + parts_count);
	ring->slots[head].parts_count = 0;
}

/*
 * Read the used entry whose turn it is. In order it may stand for all chains up to
 * its own, as many as lie between them in the available ring; the index must have
 * counted them.
 */
static int
read_entry(struct rp_vring_drv *ring, struct drv_batch *ret_batch)
{
	uint16_t index = vring_load16_acquire(ring->used + SPLIT_INDEX_AT);
	uint16_t count = (uint16_t)(index - ring->next_used);
	uint16_t place = ring->next_used & (ring->layout.num - 1);
	const uint8_t *entry = ring->used + SPLIT_ENTRIES_AT + (size_t)place * SPLIT_USED_BYTES;
	uint32_t id, written_bytes;

	if (count == 0)
		return 0;
	if (count > ring->out_count)
		return -EBADMSG;
	id = vring_load32(entry);
	written_bytes = vring_load32(entry + SPLIT_USED_LEN_AT);
	if (!drv_may_come_back(ring, id, written_bytes))
		return -EBADMSG;
	if (ring->in_order && (uint16_t)(ring->slots[id].index - ring->next_used) >= count)
		return -EBADMSG;
	*ret_batch = (struct drv_batch){.open = true, .last = (uint16_t)id, .last_written_bytes = written_bytes};
	return 1;
}

int
rp_vring_split_get(struct rp_vring_drv *ring, void **ret_cookie, uint32_t *ret_written_bytes)
{
	uint16_t head;
	int rc;

	if (!ring->batch.open) {
		rc = read_entry(ring, &ring->batch);
		if (rc <= 0)
			return rc;
	}
	head = ring->in_order ? ring->oldest : ring->batch.last;
	ring->batch.open = head != ring->batch.last;
	*ret_cookie = ring->slots[head].cookie;
	*ret_written_bytes = ring->batch.open ? ring->slots[head].writable_bytes : ring->batch.last_written_bytes;
	free_chain(ring, head);
	ring->next_used++;
	return 1;
}

void
rp_vring_split_set_interrupt(struct rp_vring_drv *ring)
{
	if (ring->event_idx)
		vring_store16(ring->avail + split_used_event_at(ring->layout.num),
			      ring->interrupt_wanted ? ring->next_used : (uint16_t)(ring->next_used - 1));
	else
		vring_store16(ring->avail + SPLIT_FLAGS_AT, ring->interrupt_wanted ? 0 : SPLIT_NO_INTERRUPT);
}
