/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "guest.h"
#include "rp_vring_drv.h"
#include "rp_vring_position.h"

#define ROUNDS 400u
#define BUNCH_MAX 4u
#define PARTS_MAX 3u

/* The driver's side, which goes from hand to hand, and a device that notices nothing. */
struct bench {
	struct guest *guest;
	struct rp_vring_drv *ring;
	uint64_t features;
	uint16_t num;
	unsigned int seed;
};

static void
open_both(struct bench *bench)
{
	struct guest *guest = bench->guest;

	assert_int_equal(rp_vring_drv_create(bench->num, guest_hva(guest, GUEST_IOVA), GUEST_IOVA, bench->features,
					     &bench->ring),
			 0);
	rp_vring_drv_layout(bench->ring, &guest->layout);
	guest->layout.notes = guest->notes;
	assert_int_equal(rp_vring_dev_init(&guest->ring, &guest->layout, rp_vring_position_fresh(bench->features),
					   guest->reader, NULL),
			 0);
}

static int
resume(struct bench *bench, const struct rp_vring_drv_state *state)
{
	return rp_vring_drv_resume(bench->num, guest_hva(bench->guest, GUEST_IOVA), GUEST_IOVA, bench->features, state,
				   &bench->ring);
}

static void
pass_on(struct bench *bench)
{
	struct rp_vring_layout before, after;
	struct rp_vring_drv_state state;
	size_t bytes = rp_vring_drv_bytes(bench->num, bench->features);
	uint8_t *memory = malloc(bytes);

	assert_non_null(memory);
	memcpy(memory, guest_hva(bench->guest, GUEST_IOVA), bytes);
	rp_vring_drv_layout(bench->ring, &before);
	assert_int_equal(rp_vring_drv_save(bench->ring, &state), 0);
	bench->ring = rp_vring_drv_destroy(bench->ring);
	assert_int_equal(resume(bench, &state), 0);
	rp_vring_drv_layout(bench->ring, &after);
	assert_memory_equal(&before, &after, sizeof(before));
	assert_memory_equal(memory, guest_hva(bench->guest, GUEST_IOVA), bytes);
	free(memory);
}

/* As many chains as fit, at most so many. @return how many. */
static unsigned int
send(struct bench *bench, unsigned int wanted)
{
	unsigned int sent;

	for (sent = 0; sent < wanted; sent++) {
		uint16_t parts_count = (uint16_t)(1 + (unsigned int)rand_r(&bench->seed) % PARTS_MAX), i;
		struct rp_vring_part parts[PARTS_MAX];
		struct rp_vring_drv_state state;

		for (i = 0; i < parts_count; i++)
			parts[i] = (struct rp_vring_part){GUEST_BUFFERS + 64u * i, 8, i > 0};
		if (rp_vring_drv_add(bench->ring, parts, parts_count, bench) < 0)
			break;
		assert_int_equal(rp_vring_drv_save(bench->ring, &state), -EBUSY);
	}
	return sent;
}

static void
answer(struct bench *bench, unsigned int count)
{
	struct guest *guest = bench->guest;
	uint32_t written_bytes;
	void *cookie;

	for (; count > 0; count--) {
		assert_int_equal(rp_vring_dev_pop(&guest->ring, &guest->chain), 1);
		assert_int_equal(rp_vring_dev_push(&guest->ring, guest->chain.head, 0), 0);
		assert_int_equal(rp_vring_drv_get(bench->ring, &cookie, &written_bytes), 1);
		assert_ptr_equal(cookie, bench);
	}
	assert_int_equal(rp_vring_dev_pop(&guest->ring, &guest->chain), 0);
	assert_int_equal(rp_vring_drv_get(bench->ring, &cookie, &written_bytes), 0);
}

static void
go_around(struct guest *guest, uint16_t num, uint64_t features)
{
	struct bench bench = {.guest = guest, .features = features, .num = num, .seed = num};
	unsigned int round;

	open_both(&bench);
	for (round = 0; round < ROUNDS; round++) {
		answer(&bench, send(&bench, 1 + round % BUNCH_MAX));
		pass_on(&bench);
		assert_int_equal(rp_vring_drv_free_count(bench.ring), num);
	}
	rp_vring_drv_destroy(bench.ring);
}

static void
split(void **state)
{
	go_around(*state, 4, 0);
	go_around(*state, 64, F_EVENT_IDX);
	go_around(*state, 4, F_IN_ORDER);
	go_around(*state, 64, F_IN_ORDER | F_EVENT_IDX);
}

static void
packed(void **state)
{
	go_around(*state, 3, F_RING_PACKED);
	go_around(*state, 7, F_RING_PACKED | F_EVENT_IDX);
	go_around(*state, 5, F_RING_PACKED | F_IN_ORDER);
	go_around(*state, 64, F_RING_PACKED | F_IN_ORDER | F_EVENT_IDX);
}

/* 65,536 and beyond */
static void
an_index_that_wraps(void **state)
{
	struct bench bench = {.guest = *state, .num = 2, .seed = 1};
	unsigned int i;

	open_both(&bench);
	for (i = 0; i < 65535; i++) {
		const struct rp_vring_part part = {GUEST_BUFFERS, 8, true};

		assert_int_equal(rp_vring_drv_add(bench.ring, &part, 1, &bench), 0);
		answer(&bench, 1);
	}
	pass_on(&bench);
	answer(&bench, send(&bench, 1));
	pass_on(&bench);
	answer(&bench, send(&bench, 1));
	rp_vring_drv_destroy(bench.ring);
}

/* @return whether the device signals it. */
static bool
is_signalled(struct bench *bench)
{
	struct guest *guest = bench->guest;
	uint32_t written_bytes;
	void *cookie;
	bool signalled;

	send(bench, 1);
	assert_int_equal(rp_vring_dev_pop(&guest->ring, &guest->chain), 1);
	assert_int_equal(rp_vring_dev_push(&guest->ring, guest->chain.head, 0), 0);
	signalled = rp_vring_dev_needs_interrupt(&guest->ring) == 1;
	assert_int_equal(rp_vring_drv_get(bench->ring, &cookie, &written_bytes), 1);
	return signalled;
}

static void
the_wish_for_interrupts_is_kept(void **state)
{
	struct bench bench = {.guest = *state, .num = 4, .features = F_EVENT_IDX, .seed = 1};
	unsigned int i;

	open_both(&bench);
	rp_vring_drv_set_interrupt(bench.ring, false);
	/* With an event index the first one is always signalled. */
	is_signalled(&bench);
	pass_on(&bench);
	assert_false(is_signalled(&bench));
	rp_vring_drv_set_interrupt(bench.ring, true);
	pass_on(&bench);
	for (i = 0; i < 3; i++)
		assert_true(is_signalled(&bench));
	rp_vring_drv_destroy(bench.ring);
}

static void
a_state_that_cannot_be(void **state)
{
	static const struct rp_vring_drv_state split_states[] = {
		{3, 0, false}, {1, 0, false}, {0x10002, 0, false}, {2, 4, false}, {2, 65535, false}};
	static const struct rp_vring_drv_state packed_states[] = {
		{0x80048004, 0, false}, {0x80020002, 0, false}, {0x00008002, 0, false}, {0x80028002, 4, false}};
	struct bench bench = {.guest = *state, .num = 4, .seed = 1};
	const struct rp_vring_drv_state good = {2, 0, false};
	struct test_leaks before;
	size_t i;

	open_both(&bench);
	answer(&bench, send(&bench, 1));
	answer(&bench, send(&bench, 1));
	bench.ring = rp_vring_drv_destroy(bench.ring);
	test_leaks_read(&before);
	for (i = 0; i < sizeof(split_states) / sizeof(split_states[0]); i++)
		assert_int_equal(resume(&bench, &split_states[i]), -EBADMSG);
	bench.features = F_RING_PACKED;
	for (i = 0; i < sizeof(packed_states) / sizeof(packed_states[0]); i++)
		assert_int_equal(resume(&bench, &packed_states[i]), -EBADMSG);
	bench.features = 0;
	bench.num = 3;
	assert_int_equal(resume(&bench, &good), -EINVAL);
	assert_null(bench.ring);
	test_leaks_assert_none(&before);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_GUEST(split),
		WITH_GUEST(packed),
		WITH_GUEST(an_index_that_wraps),
		WITH_GUEST(the_wish_for_interrupts_is_kept),
		WITH_GUEST(a_state_that_cannot_be),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
