/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdlib.h>

#include "packed.h"
#include "shadow.h"
#include "split.h"

#define UNIT_BYTES (SHADOW_UNIT_PARTS * CHAIN_DESC_BYTES)
#define TABLE_ALIGN_BYTES 16u

/* Each chain that is out can have one unit, and one of them the most that a chain has. */
static uint32_t
units_for(uint16_t num)
{
	return num + SHADOW_UNITS_MORE;
}

size_t
rp_vring_shadow_tables_bytes(uint16_t num)
{
	return (size_t)units_for(num) * UNIT_BYTES;
}

static int
find_table(void *ctx, uint64_t iova, uint64_t size_bytes, const void **ret_hva, uint64_t *ret_bytes)
{
	const struct rp_vring_shadow *shadow = ctx;
	const struct shadow_reach *reach = shadow->reach;
	struct rp_vring_shadow_place place;
	int rc = reach->with.translate(reach->with.ctx, iova, size_bytes, RP_DMA_READ, reach->ahead, &place);

	if (rc < 0)
		return rc;
	*ret_hva = place.hva;
	*ret_bytes = place.size_bytes;
	return 0;
}

int
rp_vring_shadow_reach_open(struct rp_vring_shadow *shadow, const struct rp_vring_shadow_translation *with, uint16_t num,
			   struct rp_wire_why *why)
{
	uint32_t units_count = units_for(num);

	if (((uintptr_t)with->tables | with->tables_iova) % TABLE_ALIGN_BYTES != 0)
		return rp_wire_why_set(why, -EINVAL, "shadow: tables: expected addresses that are multiples of %u",
				       TABLE_ALIGN_BYTES);
	shadow->reach = calloc(1, sizeof(*shadow->reach) + units_count);
	if (shadow->reach == NULL)
		return rp_wire_why_set(why, -ENOMEM, "shadow: no memory for %u tables", units_count);
	shadow->reach->with = *with;
	shadow->reach->tables = (struct vring_reach){.find = find_table, .ctx = shadow};
	shadow->reach->units_count = units_count;
	return 0;
}

/* One part more, or more of the last one. @return false: they are too many. */
static bool
add_part(struct rp_vring_shadow *shadow, uint16_t *count, const struct rp_vring_shadow_place *place, bool writes)
{
	struct rp_vring_part *last = *count == 0 ? NULL : &shadow->parts[*count - 1];

	/* A chain is shorter than 2^32 bytes in each direction: the sum is, too. */
	if (last != NULL && last->device_writes == writes && last->iova + last->size_bytes == place->device_iova) {
		last->size_bytes += (uint32_t)place->size_bytes;
		return true;
	}
	if (*count == RP_VRING_SEGMENTS_MAX)
		return false;
	shadow->parts[(*count)++] = (struct rp_vring_part){
		.iova = place->device_iova,
		.size_bytes = (uint32_t)place->size_bytes,
		.device_writes = writes,
	};
	return true;
}

static int
translate_span(struct rp_vring_shadow *shadow, const struct rp_vring_span *span, bool writes, uint16_t *count)
{
	const struct shadow_reach *reach = shadow->reach;
	uint32_t access_mask = writes ? RP_DMA_WRITE : RP_DMA_READ;
	uint64_t done_bytes = 0;

	while (done_bytes < span->size_bytes) {
		struct rp_vring_shadow_place place;
		int rc = reach->with.translate(reach->with.ctx, span->iova + done_bytes, span->size_bytes - done_bytes,
					       access_mask, reach->ahead, &place);

		if (rc < 0)
			return rc;
		if (!add_part(shadow, count, &place, writes))
			return -EFAULT;
		done_bytes += place.size_bytes;
	}
	return 0;
}

int
rp_vring_shadow_reach_parts(struct rp_vring_shadow *shadow)
{
	const struct rp_vring_chain *chain = &shadow->chain;
	uint16_t count = 0, i;
	int result = 0;

	/* To the end, whatever is missing: all that is missing is asked for at once. A refusal is final. */
	for (i = 0; i < chain->out_count + chain->in_count; i++) {
		int rc = translate_span(shadow, &chain->spans[i], i >= chain->out_count, &count);

		if (rc == -EFAULT)
			return rc;
		if (rc < 0)
			result = rc;
	}
	return result < 0 ? result : count;
}

static bool
find_units(const struct shadow_reach *reach, uint32_t from, uint32_t to, uint16_t wanted, uint32_t *ret_at)
{
	uint32_t at, run = 0;

	for (at = from; at < to; at++) {
		run = reach->units[at] != 0 ? 0 : run + 1;
		if (run < wanted)
			continue;
		*ret_at = at + 1 - run;
		return true;
	}
	return false;
}

bool
rp_vring_shadow_reach_room(struct rp_vring_shadow *shadow, uint16_t parts_count, struct shadow_chain *ret_units)
{
	const struct shadow_reach *reach = shadow->reach;
	uint16_t wanted = (uint16_t)((parts_count + SHADOW_UNIT_PARTS - 1) / SHADOW_UNIT_PARTS);

	ret_units->units_count = 0;
	if (parts_count == 1 || !reach->with.indirect)
		return parts_count <= rp_vring_drv_free_count(shadow->device);
	if (rp_vring_drv_free_count(shadow->device) == 0)
		return false;
	if (!find_units(reach, reach->next_unit, reach->units_count, wanted, &ret_units->units_at) &&
	    !find_units(reach, 0, reach->units_count, wanted, &ret_units->units_at))
		return false;
	ret_units->units_count = wanted;
	return true;
}

void
rp_vring_shadow_reach_put(struct rp_vring_shadow *shadow, struct shadow_chain *chain, uint16_t parts_count)
{
	struct shadow_reach *reach = shadow->reach;
	uint64_t at = (uint64_t)chain->units_at * UNIT_BYTES;
	const struct rp_vring_part table = {
		.iova = reach->with.tables_iova + at,
		.size_bytes = (uint32_t)RP_VRING_TABLE_BYTES(parts_count),
	};
	struct drv_chain to_device = {
		.parts = shadow->parts,
		.parts_count = parts_count,
		.writable_bytes = chain->in_bytes,
		.cookie = chain,
	};
	uint16_t i;

	if (chain->units_count != 0) {
		for (i = 0; i < chain->units_count; i++)
			reach->units[chain->units_at + i] = 1;
		reach->next_unit = chain->units_at + chain->units_count;
		if (shadow->guest.packed)
			rp_vring_packed_table(shadow->parts, parts_count, (uint8_t *)reach->with.tables + at);
		else
			rp_vring_split_table(shadow->parts, parts_count, (uint8_t *)reach->with.tables + at);
		to_device.parts = &table;
		to_device.parts_count = 1;
		to_device.indirect = true;
	}
	/* There is room: it was looked for. */
	rp_vring_drv_put(shadow->device, &to_device);
}

void
rp_vring_shadow_reach_release(struct rp_vring_shadow *shadow, const struct shadow_chain *chain)
{
	uint16_t i;

	shadow->desc_out_count -= shadow_desc_count(chain);
	for (i = 0; i < chain->units_count; i++)
		shadow->reach->units[chain->units_at + i] = 0;
}
