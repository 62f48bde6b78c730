/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "rp_vring_drv.h"
#include "split.h"

#define PAGE_BYTES 4096u
#define CACHE_LINE_BYTES 64u

/* What the driver must remember of a descriptor; the ring's memory is the device's to read only. */
struct slot {
	void *cookie;
	uint32_t writable_bytes; /* of the chain that starts here */
	uint16_t parts_count; /* of the chain that starts here and is out; else 0 */
	uint16_t next; /* in the chain, or in the list of free ones */
};

struct rp_vring_drv {
	struct rp_vring_layout layout;
	uint8_t *desc;
	uint8_t *avail;
	uint8_t *used;
	uint16_t next_avail;
	uint16_t next_used;
	uint16_t free_head;
	uint16_t free_count;
	uint32_t out_count; /* chains that the device has */
	uint32_t unkicked_count;
	bool interrupt_wanted;
	struct slot slots[];
};

static size_t
round_up(size_t bytes, size_t align_bytes)
{
	return (bytes + align_bytes - 1) / align_bytes * align_bytes;
}

/* The event indices are always given room, so that a ring's size does not depend on features. */
static size_t
avail_at(uint16_t num)
{
	return round_up(split_desc_bytes(num), CACHE_LINE_BYTES);
}

static size_t
used_at(uint16_t num)
{
	return round_up(avail_at(num) + split_avail_bytes(num, SPLIT_EVENT_IDX_MASK), CACHE_LINE_BYTES);
}

size_t
rp_vring_drv_bytes(uint16_t num)
{
	return round_up(used_at(num) + split_used_bytes(num, SPLIT_EVENT_IDX_MASK), PAGE_BYTES);
}

int
rp_vring_drv_create(uint16_t num, void *memory, uint64_t memory_iova, uint64_t features, struct rp_vring_drv **ret_ring)
{
	struct rp_vring_drv *ring;
	uint16_t i;

	if (!split_num_valid(num) || (uintptr_t)memory % PAGE_BYTES != 0 || memory_iova % PAGE_BYTES != 0)
		return -EINVAL;
	ring = calloc(1, sizeof(*ring) + num * sizeof(ring->slots[0]));
	if (ring == NULL)
		return -ENOMEM;
	memset(memory, 0, rp_vring_drv_bytes(num));
	ring->desc = memory;
	ring->avail = ring->desc + avail_at(num);
	ring->used = ring->desc + used_at(num);
	ring->layout = (struct rp_vring_layout){
		.num = num,
		.desc_iova = memory_iova,
		.avail_iova = memory_iova + avail_at(num),
		.used_iova = memory_iova + used_at(num),
		.features = features,
	};
	for (i = 0; i < num; i++)
		ring->slots[i].next = (uint16_t)(i + 1);
	ring->free_count = num;
	ring->interrupt_wanted = true;
	*ret_ring = ring;
	return 0;
}

struct rp_vring_drv *
rp_vring_drv_destroy(struct rp_vring_drv *ring)
{
	free(ring);
	return NULL;
}

void
rp_vring_drv_layout(const struct rp_vring_drv *ring, struct rp_vring_layout *ret_layout)
{
	*ret_layout = ring->layout;
}

uint16_t
rp_vring_drv_free_count(const struct rp_vring_drv *ring)
{
	return ring->free_count;
}

static int
check_parts(const struct rp_vring_part *parts, uint16_t parts_count)
{
	uint16_t i;

	if (parts_count == 0)
		return -EINVAL;
	for (i = 0; i < parts_count; i++) {
		if (parts[i].size_bytes == 0 || (i > 0 && parts[i - 1].device_writes && !parts[i].device_writes))
			return -EINVAL;
	}
	return 0;
}

int
rp_vring_drv_add(struct rp_vring_drv *ring, const struct rp_vring_part *parts, uint16_t parts_count, void *cookie)
{
	uint16_t head = ring->free_head, at = head, place, i;
	uint32_t writable_bytes = 0;
	int rc = check_parts(parts, parts_count);

	if (rc < 0)
		return rc;
	if (parts_count > ring->free_count)
		return -ENOSPC;
	for (i = 0; i < parts_count; i++) {
		uint8_t *desc = ring->desc + at * sizeof(struct split_desc);
		uint16_t flags = parts[i].device_writes ? SPLIT_DESC_WRITE : 0;

		if (i + 1 < parts_count)
			flags |= SPLIT_DESC_NEXT;
		if (parts[i].device_writes)
			writable_bytes += parts[i].size_bytes;
		split_store64(desc + offsetof(struct split_desc, addr), parts[i].iova);
		split_store32(desc + offsetof(struct split_desc, len), parts[i].size_bytes);
		split_store16(desc + offsetof(struct split_desc, flags), flags);
		split_store16(desc + offsetof(struct split_desc, next), i + 1 < parts_count ? ring->slots[at].next : 0);
		if (i + 1 < parts_count)
			at = ring->slots[at].next;
	}
	ring->free_head = ring->slots[at].next;
	ring->free_count = (uint16_t)(ring->free_count - parts_count);
	ring->slots[head].cookie = cookie;
	ring->slots[head].writable_bytes = writable_bytes;
	ring->slots[head].parts_count = parts_count;
	ring->out_count++;
	place = ring->next_avail & (ring->layout.num - 1);
	split_store16(ring->avail + SPLIT_ENTRIES_AT + place * SPLIT_AVAIL_BYTES, head);
	ring->next_avail++;
	if (ring->unkicked_count <= UINT16_MAX)
		ring->unkicked_count++;
	split_store16_release(ring->avail + SPLIT_INDEX_AT, ring->next_avail);
	return 0;
}

bool
rp_vring_drv_needs_kick(struct rp_vring_drv *ring)
{
	uint32_t added_count = ring->unkicked_count;

	ring->unkicked_count = 0;
	if (added_count == 0)
		return false;
	split_full_fence();
	if ((ring->layout.features & SPLIT_EVENT_IDX_MASK) != 0)
		return split_event_passed(split_load16(ring->used + split_avail_event_at(ring->layout.num)),
					  ring->next_avail, added_count);
	return (split_load16(ring->used + SPLIT_FLAGS_AT) & SPLIT_NO_NOTIFY) == 0;
}

static void
write_used_event(struct rp_vring_drv *ring)
{
	uint16_t event = ring->interrupt_wanted ? ring->next_used : (uint16_t)(ring->next_used - 1);

	split_store16(ring->avail + split_used_event_at(ring->layout.num), event);
	split_full_fence();
}

static void
free_chain(struct rp_vring_drv *ring, uint16_t head)
{
	uint16_t last = head, i;

	for (i = 1; i < ring->slots[head].parts_count; i++)
		last = ring->slots[last].next;
	ring->slots[last].next = ring->free_head;
	ring->free_head = head;
	ring->free_count = (uint16_t)(ring->free_count + ring->slots[head].parts_count);
	ring->slots[head].parts_count = 0;
	ring->out_count--;
}

int
rp_vring_drv_get(struct rp_vring_drv *ring, void **ret_cookie, uint32_t *ret_written_bytes)
{
	uint16_t index = split_load16_acquire(ring->used + SPLIT_INDEX_AT);
	uint16_t count = (uint16_t)(index - ring->next_used);
	uint16_t place = ring->next_used & (ring->layout.num - 1);
	const uint8_t *entry = ring->used + SPLIT_ENTRIES_AT + (size_t)place * SPLIT_USED_BYTES;
	uint32_t id, written_bytes;

	if (count == 0)
		return 0;
	if (count > ring->out_count)
		return -EBADMSG;
	id = split_load32(entry);
	written_bytes = split_load32(entry + SPLIT_USED_LEN_AT);
	if (id >= ring->layout.num || ring->slots[id].parts_count == 0 ||
	    written_bytes > ring->slots[id].writable_bytes)
		return -EBADMSG;
	*ret_cookie = ring->slots[id].cookie;
	*ret_written_bytes = written_bytes;
	free_chain(ring, (uint16_t)id);
	ring->next_used++;
	/* As long as it is wanted, the next one is: an event index is passed only once. */
	if (ring->interrupt_wanted && (ring->layout.features & SPLIT_EVENT_IDX_MASK) != 0)
		write_used_event(ring);
	return 1;
}

void
rp_vring_drv_set_interrupt(struct rp_vring_drv *ring, bool wanted)
{
	ring->interrupt_wanted = wanted;
	if ((ring->layout.features & SPLIT_EVENT_IDX_MASK) != 0) {
		write_used_event(ring);
		return;
	}
	split_store16(ring->avail + SPLIT_FLAGS_AT, wanted ? 0 : SPLIT_NO_INTERRUPT);
	split_full_fence();
}
