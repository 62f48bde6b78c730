/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "drv.h"
#include "packed.h"
#include "split.h"

#define RING_ALIGN_BYTES 4096u

static size_t
round_up(size_t bytes, size_t align_bytes)
{
	return (bytes + align_bytes - 1) / align_bytes * align_bytes;
}

size_t
rp_vring_drv_bytes(uint16_t num, uint64_t features)
{
	return round_up(vring_is_packed(features) ? rp_vring_packed_end(num) : rp_vring_split_end(num),
			RING_ALIGN_BYTES);
}

static bool
num_is_valid(uint16_t num, uint64_t features)
{
	return vring_is_packed(features) ? packed_num_valid(num) : split_num_valid(num);
}

static void
lay_out(struct rp_vring_drv *ring, uint16_t num, uint8_t *memory, uint64_t memory_iova, uint64_t features)
{
	bool packed = vring_is_packed(features);
	size_t avail_at = packed ? rp_vring_packed_driver_event_at(num) : rp_vring_split_avail_at(num);
	size_t used_at = packed ? rp_vring_packed_device_event_at(num) : rp_vring_split_used_at(num);

	ring->desc = memory;
	ring->avail = memory + avail_at;
	ring->used = memory + used_at;
	ring->layout = (struct rp_vring_layout){
		.num = num,
		.desc_iova = memory_iova,
		.avail_iova = memory_iova + avail_at,
		.used_iova = memory_iova + used_at,
		.features = features,
	};
}

int
rp_vring_drv_new(uint16_t num, void *memory, uint64_t memory_iova, uint64_t features, struct rp_vring_drv **ret_ring)
{
	struct rp_vring_drv *ring;
	uint16_t i;

	if (!num_is_valid(num, features) || (uintptr_t)memory % RING_ALIGN_BYTES != 0 ||
	    memory_iova % RING_ALIGN_BYTES != 0)
		return -EINVAL;
	ring = calloc(1, sizeof(*ring) + num * sizeof(ring->slots[0]));
	if (ring == NULL)
		return -ENOMEM;
	lay_out(ring, num, memory, memory_iova, features);
	ring->packed = vring_is_packed(features);
	ring->in_order = vring_is_in_order(features);
	ring->event_idx = vring_has_events(features);
	/* 2.8.1 */
	ring->avail_wrap = true;
	ring->used_wrap = true;
	for (i = 0; i < num; i++)
		ring->slots[i].next = (uint16_t)(i + 1);
	ring->free_tail = (uint16_t)(num - 1);
	ring->free_count = num;
	*ret_ring = ring;
	return 0;
}

int
rp_vring_drv_create(uint16_t num, void *memory, uint64_t memory_iova, uint64_t features, struct rp_vring_drv **ret_ring)
{
	int rc = rp_vring_drv_new(num, memory, memory_iova, features, ret_ring);

	if (rc < 0)
		return rc;
	memset(memory, 0, rp_vring_drv_bytes(num, features));
	rp_vring_drv_set_interrupt(*ret_ring, true);
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

/* @return 0 with the bytes that the device may write, or -EINVAL. */
static int
check_parts(const struct rp_vring_part *parts, uint16_t parts_count, uint32_t *ret_writable_bytes)
{
	uint32_t bytes[2] = {0, 0};
	uint16_t i;

	if (parts_count == 0)
		return -EINVAL;
	for (i = 0; i < parts_count; i++) {
		uint32_t *total_bytes = &bytes[parts[i].device_writes];

		if (parts[i].size_bytes == 0 || (i > 0 && parts[i - 1].device_writes && !parts[i].device_writes) ||
		    __builtin_add_overflow(*total_bytes, parts[i].size_bytes, total_bytes))
			return -EINVAL;
	}
	*ret_writable_bytes = bytes[true];
	return 0;
}

int
rp_vring_drv_put(struct rp_vring_drv *ring, const struct drv_chain *chain)
{
	if (chain->parts_count > ring->free_count)
		return -ENOSPC;
	if (ring->packed)
		rp_vring_packed_add(ring, chain);
	else
		rp_vring_split_add(ring, chain);
	ring->out_count++;
	return 0;
}

int
rp_vring_drv_add(struct rp_vring_drv *ring, const struct rp_vring_part *parts, uint16_t parts_count, void *cookie)
{
	struct drv_chain chain = {.parts = parts, .parts_count = parts_count, .cookie = cookie};
	int rc = check_parts(parts, parts_count, &chain.writable_bytes);

	return rc < 0 ? rc : rp_vring_drv_put(ring, &chain);
}

int
rp_vring_drv_add_indirect(struct rp_vring_drv *ring, const struct rp_vring_part *parts, uint16_t parts_count,
			  void *table, uint64_t table_iova, void *cookie)
{
	const struct rp_vring_part part = {
		.iova = table_iova,
		.size_bytes = (uint32_t)RP_VRING_TABLE_BYTES(parts_count),
	};
	struct drv_chain chain = {.parts = &part, .parts_count = 1, .indirect = true, .cookie = cookie};
	int rc = check_parts(parts, parts_count, &chain.writable_bytes);

	if (rc < 0 || (ring->layout.features & VRING_INDIRECT_DESC_MASK) == 0)
		return -EINVAL;
	/* The table of a chain that finds no room is left alone: the device may have it. */
	if (ring->free_count == 0)
		return -ENOSPC;
	if (ring->packed)
		rp_vring_packed_table(parts, parts_count, table);
	else
		rp_vring_split_table(parts, parts_count, table);
	return rp_vring_drv_put(ring, &chain);
}

bool
rp_vring_drv_needs_kick(struct rp_vring_drv *ring)
{
	uint32_t added_count = ring->unkicked_count;

	ring->unkicked_count = 0;
	if (added_count == 0)
		return false;
	vring_full_fence();
	return ring->packed ? rp_vring_packed_needs_kick(ring, added_count) :
			      rp_vring_split_needs_kick(ring, added_count);
}

static void
write_wish(struct rp_vring_drv *ring)
{
	if (ring->packed)
		rp_vring_packed_set_interrupt(ring);
	else
		rp_vring_split_set_interrupt(ring);
	vring_full_fence();
}

int
rp_vring_drv_get(struct rp_vring_drv *ring, void **ret_cookie, uint32_t *ret_written_bytes)
{
	int rc = ring->packed ? rp_vring_packed_get(ring, ret_cookie, ret_written_bytes) :
				rp_vring_split_get(ring, ret_cookie, ret_written_bytes);

	if (rc != 1)
		return rc;
	ring->out_count--;
	/* As long as it is wanted, the next one is: an event index is passed only once. */
	if (ring->interrupt_wanted && ring->event_idx)
		write_wish(ring);
	return 1;
}

void
rp_vring_drv_set_interrupt(struct rp_vring_drv *ring, bool wanted)
{
	ring->interrupt_wanted = wanted;
	write_wish(ring);
}
