/* SPDX-License-Identifier: BSD-3-Clause */
#include "shadow_model.h"

/* See shadow_model.h: here is the shadow between the two, and what it says was written. */

#define CALM_CHAINS 500u
#define IDLE_MAX 10000u

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
			model.reported[i / MODEL_LOG_PAGE_BYTES] = true;
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
	if (model_below(8) == 0) {
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
	if (model_below(64) == 0)
		set_logging(!model.logging);
}

static void
begin_shadow(uint32_t position)
{
	rig_open(&model.rig, model.guest, position);
	set_logging(model_below(4) != 0);
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
	model_device_lets_go();
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
	uint32_t count = model_below(2 * model.num + 1u), i;

	assert_int_equal(rp_vring_dev_init(ring, &model.guest->layout, position, model.guest->reader, NULL), 0);
	for (; count > 0; count--) {
		struct model_chain *expected = model_next();
		int rc = rp_vring_dev_pop(ring, chain);

		assert_true(rc >= 0);
		if (rc == 0)
			break;
		assert_non_null(expected);
		assert_int_equal(chain->in_bytes, expected->in_bytes);
		for (i = 0; i < expected->parts_count; i++)
			assert_ptr_equal(chain->iov[i].iov_base, guest_hva(model.guest, expected->parts[i].iova));
		model_work_on(expected);
		assert_int_equal(rp_vring_dev_push(ring, chain->head, expected->written_bytes), 0);
		model.guest_woken |= rp_vring_dev_needs_interrupt(ring) == 1;
		if (model_below(4) == 0)
			model_guest_step();
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
	model_device_lets_go();
	assert_int_equal(rp_vring_shadow_drain(model.rig.shadow, &position, &redone, &call), 0);
	assert_reported();
	assert_int_equal(rp_vring_shadow_lost(model.rig.shadow), 0);
	assert_int_equal(redone + rp_vring_shadow_returned(model.rig.shadow),
			 rp_vring_shadow_forwarded(model.rig.shadow));
	model.guest_woken |= call;
	model.drains++;
	model.redone += redone;
	rig_close(&model.rig);
	if (model_below(2) == 0)
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
	assert_true(model.ring_bytes <= MODEL_RING_BYTES_MAX);
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
		switch (back / CALM_CHAINS % 2 == 1 && model_below(32) == 0 ? 4 + model_below(2) : model_below(4)) {
		case 0:
			model_guest_step();
			break;
		case 1:
			forward_step();
			break;
		case 2:
			model_device_step();
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
