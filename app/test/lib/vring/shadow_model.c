/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdlib.h>

#include "shadow_model.h"

#define PART_BYTES_MAX 400u
#define TABLE_BYTES RP_VRING_TABLE_BYTES(MODEL_PARTS_MAX)

struct model model;

uint32_t
model_below(uint32_t limit)
{
	return (uint32_t)rand_r(&model.seed) % limit;
}

static uint8_t *
bytes_at(uint64_t iova)
{
	return model.guest->memory + (iova - GUEST_IOVA);
}

static uint8_t
pattern(uint32_t number, uint32_t offset)
{
	return (uint8_t)(number * 37 + offset * 11 + 1);
}

static bool
in_order(void)
{
	return (model.features & F_IN_ORDER) != 0;
}

/* The guest. */

static struct model_chain *
free_room(void)
{
	uint32_t i, first = model_below(model.num);

	for (i = 0; i < model.num; i++) {
		struct model_chain *chain = &model.chains[(first + i) % model.num];

		if (!chain->out)
			return chain;
	}
	return NULL;
}

/* Parts of any size at any place in the room, the readable ones first. */
static void
make_parts(struct model_chain *chain)
{
	uint32_t at = (uint32_t)(chain - model.chains) * model.room_bytes + TABLE_BYTES;
	uint16_t out_count, i;

	chain->parts_count = (uint16_t)(1 + model_below(MODEL_PARTS_MAX));
	out_count = (uint16_t)model_below(chain->parts_count + 1u);
	chain->in_bytes = 0;
	for (i = 0; i < chain->parts_count; i++) {
		uint32_t size_bytes = 1 + model_below(model_below(8) == 0 ? PART_BYTES_MAX : 20);

		at += model_below(model.room_bytes / MODEL_PARTS_MAX - PART_BYTES_MAX - (uint32_t)TABLE_BYTES);
		chain->parts[i] = (struct rp_vring_part){
			.iova = GUEST_BUFFERS + at,
			.size_bytes = size_bytes,
			.device_writes = i >= out_count,
		};
		if (i >= out_count)
			chain->in_bytes += size_bytes;
		at += size_bytes;
	}
}

static bool
guest_send(void)
{
	bool indirect = (model.features & F_INDIRECT_DESC) != 0 && model_below(2) == 0;
	struct model_chain *chain = free_room();
	uint64_t table_iova;
	int rc;

	if (chain == NULL || model.sent == model.limit)
		return false;
	make_parts(chain);
	table_iova = GUEST_BUFFERS + (uint64_t)(chain - model.chains) * model.room_bytes;
	if (indirect)
		rc = rp_vring_drv_add_indirect(model.drv, chain->parts, chain->parts_count, bytes_at(table_iova),
					       table_iova, chain);
	else
		rc = rp_vring_drv_add(model.drv, chain->parts, chain->parts_count, chain);
	if (rc == -ENOSPC)
		return false;
	assert_int_equal(rc, 0);
	chain->out = true;
	chain->taken = false;
	chain->used = false;
	chain->number = model.sent++;
	return true;
}

static void
assert_written(const struct model_chain *chain)
{
	uint32_t offset = 0, i;
	uint16_t part;

	for (part = 0; part < chain->parts_count; part++) {
		if (!chain->parts[part].device_writes)
			continue;
		for (i = 0; i < chain->parts[part].size_bytes && offset < chain->written_bytes; i++, offset++)
			assert_int_equal(bytes_at(chain->parts[part].iova)[i], pattern(chain->number, offset));
	}
	assert_int_equal(offset, chain->written_bytes);
}

static void
guest_get_all(void)
{
	struct model_chain *chain;
	uint32_t written_bytes;
	void *cookie;
	int rc;

	while ((rc = rp_vring_drv_get(model.drv, &cookie, &written_bytes)) == 1) {
		chain = cookie;
		assert_true(chain->out && chain->used);
		assert_int_equal(written_bytes, chain->written_bytes);
		assert_written(chain);
		if (in_order())
			assert_int_equal(chain->number, model.back);
		chain->out = false;
		model.back++;
	}
	assert_int_equal(rc, 0);
}

void
model_guest_step(void)
{
	uint32_t burst = model_below(8);

	while (burst-- > 0 && guest_send())
		;
	model.forward_woken |= rp_vring_drv_needs_kick(model.drv);
	if (model_below(16) == 0) {
		/* Poll for a while instead; who asks again looks again. */
		rp_vring_drv_set_interrupt(model.drv, false);
		guest_get_all();
		rp_vring_drv_set_interrupt(model.drv, true);
		model.guest_woken = true;
	}
	if (!model.guest_woken)
		return;
	model.guest_woken = false;
	guest_get_all();
}

/* Whoever works on chains. */

struct model_chain *
model_next(void)
{
	struct model_chain *next = NULL;
	uint16_t i;

	for (i = 0; i < model.num; i++) {
		struct model_chain *chain = &model.chains[i];

		if (chain->out && !chain->taken && !chain->used && (next == NULL || chain->number < next->number))
			next = chain;
	}
	return next;
}

void
model_work_on(struct model_chain *chain)
{
	uint32_t kind = model_below(4), offset = 0, i;
	uint16_t part;

	chain->written_bytes = kind == 0 ? 0 : kind == 1 ? model_below(chain->in_bytes + 1) : chain->in_bytes;
	for (part = 0; part < chain->parts_count; part++) {
		if (!chain->parts[part].device_writes)
			continue;
		for (i = 0; i < chain->parts[part].size_bytes && offset < chain->written_bytes; i++, offset++) {
			uint64_t iova = chain->parts[part].iova + i;

			*bytes_at(iova) = pattern(chain->number, offset);
			model.expected[(iova - GUEST_IOVA) / MODEL_LOG_PAGE_BYTES] |= model.logging;
		}
	}
	chain->used = true;
}

static void
assert_spans(const struct model_chain *expected, const struct rp_vring_chain *chain)
{
	uint16_t i;

	assert_non_null(expected);
	assert_int_equal(chain->out_count + chain->in_count, expected->parts_count);
	assert_int_equal(chain->in_bytes, expected->in_bytes);
	for (i = 0; i < expected->parts_count; i++) {
		assert_int_equal(expected->parts[i].device_writes, i >= chain->out_count);
		assert_int_equal(chain->spans[i].iova, expected->parts[i].iova);
		assert_int_equal(chain->spans[i].size_bytes, expected->parts[i].size_bytes);
	}
}

static bool
device_take(void)
{
	struct rp_vring_chain *chain = &model.rig.chain;
	struct model_chain *expected = model_next();
	int rc = rp_vring_dev_pop(&model.rig.device, chain);

	assert_true(rc >= 0);
	if (rc == 0)
		return false;
	if (chain->table.size_bytes != 0)
		assert_int_equal(rp_vring_dev_follow(&model.rig.device, chain, bytes_at(chain->table.iova)), 0);
	assert_spans(expected, chain);
	expected->taken = true;
	model.held_heads[model.held_count] = chain->head;
	model.held_rooms[model.held_count++] = (uint16_t)(expected - model.chains);
	return true;
}

static void
device_give(void)
{
	uint32_t pick = in_order() ? 0 : model_below(model.held_count);
	struct model_chain *chain = &model.chains[model.held_rooms[pick]];
	uint16_t head = model.held_heads[pick];

	model.held_count--;
	memmove(&model.held_heads[pick], &model.held_heads[pick + 1], (model.held_count - pick) * sizeof(head));
	memmove(&model.held_rooms[pick], &model.held_rooms[pick + 1], (model.held_count - pick) * sizeof(head));
	model_work_on(chain);
	assert_int_equal(rp_vring_dev_push(&model.rig.device, head, chain->written_bytes), 0);
}

void
model_device_step(void)
{
	uint32_t taken = 0, wanted = 1 + model_below(5), burst = model_below(5);

	if (model.device_woken) {
		while (taken < wanted && device_take())
			taken++;
		if (taken < wanted) {
			assert_int_equal(rp_vring_dev_set_notify(&model.rig.device, true), 0);
			model.device_woken = device_take();
		}
	}
	while (burst-- > 0 && model.held_count > 0)
		device_give();
	model.return_woken |= rp_vring_dev_needs_interrupt(&model.rig.device) == 1;
}

void
model_device_lets_go(void)
{
	uint16_t i;

	for (i = 0; i < model.held_count; i++) {
		struct model_chain *chain = &model.chains[model.held_rooms[i]];
		const struct rp_vring_part *last = &chain->parts[chain->parts_count - 1u];

		if (last->device_writes)
			*bytes_at(last->iova) = 0xee;
	}
	for (i = 0; i < model.num; i++)
		model.chains[i].taken = false;
	model.held_count = 0;
}
