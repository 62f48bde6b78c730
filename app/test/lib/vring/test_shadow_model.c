/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdlib.h>

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

#define NUM_MAX 256u
#define PARTS_MAX 6u
#define PART_BYTES_MAX 400u
#define TABLE_BYTES RP_VRING_TABLE_BYTES(PARTS_MAX)
#define LOG_PAGE_BYTES 0x1000u /* what a bit of a vhost log stands for, whatever the page size is */
#define PAGES (GUEST_BYTES / LOG_PAGE_BYTES)
#define RING_BYTES_MAX 0x4000u
#define CALM_CHAINS 500u
#define IDLE_MAX 10000u

/* A chain; its buffers and its table are in the room of the same number. */
struct model_chain {
	bool out; /* the guest's, and not back */
	bool taken; /* by the device that is there now, or its owner */
	bool used; /* by the device */
	uint32_t number;
	uint32_t in_bytes;
	uint32_t written_bytes;
	uint16_t parts_count;
	struct rp_vring_part parts[PARTS_MAX];
};

struct model {
	struct guest *guest;
	struct rp_vring_drv *drv;
	struct rig rig;
	uint16_t num;
	uint64_t features;
	unsigned int seed;
	uint32_t room_bytes;
	struct model_chain chains[NUM_MAX];
	uint32_t sent, limit, back;

	uint16_t held_heads[NUM_MAX]; /* by the device */
	uint16_t held_rooms[NUM_MAX];
	uint16_t held_count;

	bool guest_woken, forward_woken, return_woken, device_woken;
	bool logging;
	uint8_t expected[PAGES], reported[PAGES]; /* by page */
	uint8_t ring_before[RING_BYTES_MAX];
	bool ring_reported[RING_BYTES_MAX];
	uint32_t ring_bytes;

	uint32_t drains, rebases, redone;
};

static struct model model;

static uint32_t
below(uint32_t limit)
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
	uint32_t i, first = below(model.num);

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

	chain->parts_count = (uint16_t)(1 + below(PARTS_MAX));
	out_count = (uint16_t)below(chain->parts_count + 1u);
	chain->in_bytes = 0;
	for (i = 0; i < chain->parts_count; i++) {
		uint32_t size_bytes = 1 + below(below(8) == 0 ? PART_BYTES_MAX : 20);

		at += below(model.room_bytes / PARTS_MAX - PART_BYTES_MAX - (uint32_t)TABLE_BYTES);
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
	bool indirect = (model.features & F_INDIRECT_DESC) != 0 && below(2) == 0;
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

static void
guest_step(void)
{
	uint32_t burst = below(8);

	while (burst-- > 0 && guest_send())
		;
	model.forward_woken |= rp_vring_drv_needs_kick(model.drv);
	if (below(16) == 0) {
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

/* The chain whose turn it is: of what the current owner does not have, the oldest that is not done. */
static struct model_chain *
next_chain(void)
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

/* Write the beginning of what may be written; most often all of it or nothing. */
static void
work_on(struct model_chain *chain)
{
	uint32_t kind = below(4), offset = 0, i;
	uint16_t part;

	chain->written_bytes = kind == 0 ? 0 : kind == 1 ? below(chain->in_bytes + 1) : chain->in_bytes;
	for (part = 0; part < chain->parts_count; part++) {
		if (!chain->parts[part].device_writes)
			continue;
		for (i = 0; i < chain->parts[part].size_bytes && offset < chain->written_bytes; i++, offset++) {
			uint64_t iova = chain->parts[part].iova + i;

			*bytes_at(iova) = pattern(chain->number, offset);
			model.expected[(iova - GUEST_IOVA) / LOG_PAGE_BYTES] |= model.logging;
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
	struct model_chain *expected = next_chain();
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
	uint32_t pick = in_order() ? 0 : below(model.held_count);
	struct model_chain *chain = &model.chains[model.held_rooms[pick]];
	uint16_t head = model.held_heads[pick];

	model.held_count--;
	memmove(&model.held_heads[pick], &model.held_heads[pick + 1], (model.held_count - pick) * sizeof(head));
	memmove(&model.held_rooms[pick], &model.held_rooms[pick + 1], (model.held_count - pick) * sizeof(head));
	work_on(chain);
	assert_int_equal(rp_vring_dev_push(&model.rig.device, head, chain->written_bytes), 0);
}

static void
device_step(void)
{
	uint32_t taken = 0, wanted = 1 + below(5), burst = below(5);

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

/* The shadow, and what it says was written. */

static void
written(void *ctx, uint64_t iova, uint64_t size_bytes)
{
	uint64_t at = iova - GUEST_IOVA, i;

	assert_ptr_equal(ctx, &model);
	assert_true(size_bytes > 0 && at + size_bytes <= GUEST_BYTES);
	if (at < GUEST_BUFFERS_AT)
		assert_true(at + size_bytes <= model.ring_bytes);
	for (i = at; i < at + size_bytes; i++) {
		if (at < GUEST_BUFFERS_AT)
			model.ring_reported[i] = true;
		else
			model.reported[i / LOG_PAGE_BYTES] = true;
	}
}

static void
set_logging(bool on)
{
	model.logging = on;
	rp_vring_shadow_set_log(model.rig.shadow, on ? written : NULL, on ? &model : NULL);
}

/* Before and after each call that may write. */
static void
watch(void)
{
	memcpy(model.ring_before, model.guest->memory, model.ring_bytes);
	memset(model.ring_reported, 0, sizeof(model.ring_reported));
}

static void
assert_ring_reported(void)
{
	uint32_t i;

	for (i = 0; model.logging && i < model.ring_bytes; i++)
		assert_true(model.ring_reported[i] || model.guest->memory[i] == model.ring_before[i]);
}

static void
forget_pages(void)
{
	memset(model.expected, 0, sizeof(model.expected));
	memset(model.reported, 0, sizeof(model.reported));
}

/* All that was used so far was returned: its pages, and of the ring at least what changed. */
static void
assert_reported(void)
{
	assert_memory_equal(model.reported, model.expected, sizeof(model.expected));
	assert_ring_reported();
	forget_pages();
}

static void
forward_step(void)
{
	bool kick;

	if (!model.forward_woken)
		return;
	model.forward_woken = false;
	watch();
	if (below(8) == 0) {
		/* Who stops asking and asks again looks again. */
		assert_int_equal(rp_vring_shadow_set_notify(model.rig.shadow, false), 0);
		assert_int_equal(rp_vring_shadow_set_notify(model.rig.shadow, true), 0);
	}
	if (rp_vring_shadow_forward(model.rig.shadow, &kick) < 0)
		fail_msg("forward: %s", rp_vring_shadow_why(model.rig.shadow));
	model.device_woken |= kick;
	assert_ring_reported();
}

static void
return_step(void)
{
	bool call;

	if (!model.return_woken)
		return;
	model.return_woken = false;
	watch();
	assert_true(rp_vring_shadow_return(model.rig.shadow, &call) >= 0);
	model.guest_woken |= call;
	assert_reported();
	if (below(64) == 0)
		set_logging(!model.logging);
}

/* What the device took and did not use is nobody's; it may have written to it all the same. */
static void
device_lets_go(void)
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

static void
begin_shadow(uint32_t position)
{
	rig_open(&model.rig, model.guest, position);
	set_logging(below(4) != 0);
	assert_int_equal(rp_vring_shadow_set_notify(model.rig.shadow, true), 0);
	model.forward_woken = true;
	model.device_woken = false;
	model.return_woken = false;
	forget_pages();
}

static void
rebase(void)
{
	watch();
	device_lets_go();
	rig_rebase(&model.rig);
	assert_reported();
	model.forward_woken = true;
	model.return_woken = true;
	model.rebases++;
}

/* An owner that needs no shadow, for a while; it gives back all it took. @return where it stopped. */
static uint32_t
without_a_shadow(uint32_t position)
{
	struct rp_vring_dev *ring = &model.guest->ring;
	struct rp_vring_chain *chain = &model.guest->chain;
	uint32_t count = below(2 * model.num + 1u), i;

	assert_int_equal(rp_vring_dev_init(ring, &model.guest->layout, position, model.guest->reader, NULL), 0);
	for (; count > 0; count--) {
		struct model_chain *expected = next_chain();
		int rc = rp_vring_dev_pop(ring, chain);

		assert_true(rc >= 0);
		if (rc == 0)
			break;
		assert_non_null(expected);
		assert_int_equal(chain->in_bytes, expected->in_bytes);
		for (i = 0; i < expected->parts_count; i++)
			assert_ptr_equal(chain->iov[i].iov_base, guest_hva(model.guest, expected->parts[i].iova));
		work_on(expected);
		assert_int_equal(rp_vring_dev_push(ring, chain->head, expected->written_bytes), 0);
		model.guest_woken |= rp_vring_dev_needs_interrupt(ring) == 1;
		if (below(4) == 0)
			guest_step();
	}
	return rp_vring_dev_position(ring);
}

static void
drain(void)
{
	unsigned int redone = 0;
	uint32_t position = 0;
	bool call = false;

	watch();
	device_lets_go();
	assert_int_equal(rp_vring_shadow_drain(model.rig.shadow, &position, &redone, &call), 0);
	assert_reported();
	assert_int_equal(rp_vring_shadow_lost(model.rig.shadow), 0);
	assert_int_equal(redone + rp_vring_shadow_returned(model.rig.shadow),
			 rp_vring_shadow_forwarded(model.rig.shadow));
	model.guest_woken |= call;
	model.drains++;
	model.redone += redone;
	rig_close(&model.rig);
	if (below(2) == 0)
		position = without_a_shadow(position);
	begin_shadow(position);
}

static void
open_model(struct guest *guest, uint16_t num, uint64_t features, uint32_t chains)
{
	unsigned int seed = (unsigned int)(features >> 28) * 1000u + num;

	memset(&model, 0, sizeof(model));
	model.guest = guest;
	model.num = num;
	model.features = features;
	model.limit = chains;
	model.seed = seed;
	model.room_bytes = (GUEST_BYTES - GUEST_BUFFERS_AT) / num;
	model.ring_bytes = (uint32_t)rp_vring_drv_bytes(num, features);
	assert_true(model.ring_bytes <= RING_BYTES_MAX);
	assert_int_equal(rp_vring_drv_create(num, guest_hva(guest, GUEST_IOVA), GUEST_IOVA, features, &model.drv), 0);
	rp_vring_drv_layout(model.drv, &guest->layout);
	guest->layout.notes = guest->notes;
	begin_shadow(rp_vring_position_fresh(features));
}

static void
run(struct guest *guest, uint16_t num, uint64_t features, uint32_t chains)
{
	uint32_t idle = 0, back;

	open_model(guest, num, features, chains);
	/*
	 * Nobody is polled: many turns in which nothing comes back are a wake-up that was lost.
	 * Every other stretch is calm: a rebase and a drain wake everybody.
	 */
	while (model.back < chains && idle < IDLE_MAX) {
		back = model.back;
		switch (back / CALM_CHAINS % 2 == 1 && below(32) == 0 ? 4 + below(2) : below(4)) {
		case 0:
			guest_step();
			break;
		case 1:
			forward_step();
			break;
		case 2:
			device_step();
			break;
		case 3:
			return_step();
			break;
		case 4:
			rebase();
			break;
		default:
			drain();
		}
		idle = model.back == back ? idle + 1 : 0;
	}
	assert_int_equal(model.back, chains);
	assert_int_equal(rp_vring_shadow_out(model.rig.shadow), 0);
	assert_int_equal(rp_vring_drv_free_count(model.drv), num);
	assert_true(model.redone > 100);
	print_message("num %u, features 0x%llx: %u chains, %u drains (%u redone), %u rebases\n", num,
		      (unsigned long long)features, chains, model.drains, model.redone, model.rebases);
	rig_close(&model.rig);
	rp_vring_drv_destroy(model.drv);
}

static void
all_features(void **state, uint64_t format)
{
	static const uint16_t nums[] = {2, 8, 64, 256};
	unsigned int i;

	for (i = 0; i < 16; i++)
		run(*state, nums[(i + i / 4) % 4],
		    format | (i & 1 ? F_IN_ORDER : 0) | (i & 2 ? F_EVENT_IDX : 0) | (i & 4 ? F_INDIRECT_DESC : 0),
		    4000);
}

static void
split(void **state)
{
	all_features(state, 0);
}

static void
packed(void **state)
{
	all_features(state, F_RING_PACKED);
}

/* Indices go around; so do places and wrap counters of a packed ring whose size is no power of two. */
static void
around_65536(void **state)
{
	run(*state, 16, F_EVENT_IDX | F_INDIRECT_DESC, 70000);
	run(*state, 32, F_IN_ORDER, 70000);
	run(*state, 13, F_RING_PACKED | F_EVENT_IDX | F_INDIRECT_DESC, 20000);
	run(*state, 7, F_RING_PACKED | F_IN_ORDER | F_EVENT_IDX, 5000);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_GUEST(split),
		WITH_GUEST(packed),
		WITH_GUEST(around_65536),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
