/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdio.h>

#include "desk.h"
#include "rp_wire_fd.h"

#define PACKED (1ull << RP_VHU_F_RING_PACKED_BIT)

static int
start_with(struct desk *desk, const struct rp_vhu_frontend_ring *changes, struct rp_wire_why *why)
{
	struct rp_vhu_frontend_ring ring = *changes;

	ring.kick_fd = desk->kick_fd;
	ring.call_fd = desk->call_fd;
	return rp_vhu_frontend_ring_start(desk->frontend, 0, &ring, why);
}

static void
refused(struct desk *desk, const struct rp_vhu_frontend_ring *ring, const char *words)
{
	struct rp_wire_why why = {0};

	assert_int_equal(start_with(desk, ring, &why), -EINVAL);
	if (strstr(why.text, words) == NULL)
		fail_msg("'%s', expected '%s' in it", why.text, words);
}

/* What cannot be a ring is not sent. */
static void
split_rings_are_checked(void **state)
{
	struct desk *desk = *state;

	desk_negotiate(desk);
	refused(desk, &(struct rp_vhu_frontend_ring){.num = 0}, "num: 0, expected 1 to 32768, a power of two");
	refused(desk, &(struct rp_vhu_frontend_ring){.num = 3}, "num: 3");
	refused(desk, &(struct rp_vhu_frontend_ring){.num = 32769}, "num: 32769");
	refused(desk, &(struct rp_vhu_frontend_ring){.num = 65535}, "num: 65535");
	refused(desk, &(struct rp_vhu_frontend_ring){.num = 8, .base = 0x10000}, "base: 0x10000, expected 16 bits");
	refused(desk, &(struct rp_vhu_frontend_ring){.num = 8, .desc_uva = 8}, "addresses: 0x8, 0x0, 0x0, expected");
	refused(desk, &(struct rp_vhu_frontend_ring){.num = 8, .avail_uva = 1}, "multiples of 16, 2, 4");
	refused(desk, &(struct rp_vhu_frontend_ring){.num = 8, .used_uva = 2}, "addresses: 0x0, 0x0, 0x2");
	refused(desk, &(struct rp_vhu_frontend_ring){.num = 8, .flags = 2}, "flags: 0x2 with log_gpa 0x0");
	refused(desk, &(struct rp_vhu_frontend_ring){.num = 8, .log_gpa = 16}, "flags: 0x0 with log_gpa 0x10");
	desk_expect_no_more(desk);
}

static void
packed_rings_are_checked(void **state)
{
	struct desk *desk = *state;

	desk_open_profile(desk, RP_VHU_PROFILE_STANDARD, true);
	assert_int_equal(rp_vhu_frontend_set_features(desk->frontend, PACKED, NULL), 0);
	refused(desk, &(struct rp_vhu_frontend_ring){.num = 0}, "num: 0, expected 1 to 32768");
	refused(desk, &(struct rp_vhu_frontend_ring){.num = 7, .base = 7}, "base: 0x7, expected two entries of 7");
	refused(desk, &(struct rp_vhu_frontend_ring){.num = 7, .base = 0x80070000}, "base: 0x80070000");
	refused(desk, &(struct rp_vhu_frontend_ring){.num = 7, .avail_uva = 2}, "multiples of 16, 4, 4");
	assert_int_equal(start_with(desk, &(struct rp_vhu_frontend_ring){.num = 7, .base = 0x80068006}, NULL), 0);
}

static void
expect_state(struct desk *desk, uint32_t id, uint32_t num)
{
	struct rp_vhu_wire_vring_state state;

	desk_expect(desk, id, 0x1);
	assert_int_equal(desk->said_bytes, sizeof(state));
	memcpy(&state, desk->said, sizeof(state));
	assert_int_equal(state.index, 0);
	assert_int_equal(state.num, num);
}

/* A packed ring's position has 32 bits, there and back. */
static void
the_position_of_a_packed_ring(void **state)
{
	const struct rp_vhu_wire_vring_state stopped = {.index = 0, .num = 0x00058009};
	struct desk *desk = *state;
	uint32_t base = 0;

	desk_negotiate(desk);
	desk_answer_u64(desk, RP_VHU_SET_FEATURES, 0);
	assert_int_equal(rp_vhu_frontend_set_features(desk->frontend, PACKED, NULL), 0);
	desk_expect(desk, RP_VHU_SET_FEATURES, 0x9);
	desk_answer_u64(desk, RP_VHU_SET_VRING_KICK, 0);
	desk_answer_u64(desk, RP_VHU_SET_VRING_CALL, 0);
	assert_int_equal(start_with(desk, &(struct rp_vhu_frontend_ring){.num = 10, .base = 0x80098003}, NULL), 0);
	expect_state(desk, RP_VHU_SET_VRING_NUM, 10);
	expect_state(desk, RP_VHU_SET_VRING_BASE, 0x80098003);
	desk_expect(desk, RP_VHU_SET_VRING_ADDR, 0x1);
	desk_expect(desk, RP_VHU_SET_VRING_KICK, 0x9);
	desk_expect(desk, RP_VHU_SET_VRING_CALL, 0x9);
	desk_answer(desk, RP_VHU_GET_VRING_BASE, &stopped, sizeof(stopped));
	assert_int_equal(rp_vhu_frontend_ring_stop(desk->frontend, 0, &base, NULL), 0);
	assert_int_equal(base, 0x00058009);
	/* Reserved: 0. */
	expect_state(desk, RP_VHU_GET_VRING_BASE, 0);
}

/* A migration begins while the ring runs: the same addresses, with a log. */
static void
addresses_of_a_running_ring(void **state)
{
	const struct rp_vhu_frontend_ring ring = {
		.num = 256,
		.desc_uva = 0x1000,
		.avail_uva = 0x2002,
		.used_uva = 0x3004,
		.flags = RP_VHU_VRING_ADDR_LOG_MASK,
		.log_gpa = 0x40003004,
	};
	const struct rp_vhu_wire_vring_addr expected = {3, 1, 0x1000, 0x3004, 0x2002, 0x40003004};
	struct rp_vhu_frontend_ring odd = ring;
	struct desk *desk = *state;

	desk_negotiate(desk);
	desk_ring_start(desk, 3);
	/* Waited for: what was written before it was heard of is in no log. */
	desk_answer_u64(desk, RP_VHU_SET_VRING_ADDR, 0);
	assert_int_equal(rp_vhu_frontend_ring_addr(desk->frontend, 3, &ring, NULL), 0);
	desk_expect(desk, RP_VHU_SET_VRING_ADDR, 0x9);
	assert_int_equal(desk->said_bytes, sizeof(expected));
	assert_memory_equal(desk->said, &expected, sizeof(expected));
	desk_answer_u64(desk, RP_VHU_SET_VRING_ADDR, 1);
	assert_int_equal(rp_vhu_frontend_ring_addr(desk->frontend, 3, &ring, NULL), -EREMOTEIO);
	desk_expect(desk, RP_VHU_SET_VRING_ADDR, 0x9);
	odd.flags = 3;
	assert_int_equal(rp_vhu_frontend_ring_addr(desk->frontend, 3, &odd, NULL), -EINVAL);
	assert_int_equal(rp_vhu_frontend_ring_addr(desk->frontend, DESK_QUEUES, &ring, NULL), -EINVAL);
	desk_expect_no_more(desk);
}

static void
an_eventfd_for_errors(void **state)
{
	struct desk *desk = *state;
	struct rp_wire_why why = {0};
	uint64_t word;

	desk_negotiate(desk);
	desk_answer_u64(desk, RP_VHU_SET_VRING_ERR, 0);
	assert_int_equal(rp_vhu_frontend_ring_err(desk->frontend, 2, desk->call_fd, NULL), 0);
	desk_expect(desk, RP_VHU_SET_VRING_ERR, 0x9);
	memcpy(&word, desk->said, sizeof(word));
	assert_int_equal(word, 2);
	desk_answer_u64(desk, RP_VHU_SET_VRING_ERR, 0);
	assert_int_equal(rp_vhu_frontend_ring_err(desk->frontend, 2, -1, NULL), 0);
	desk_expect(desk, RP_VHU_SET_VRING_ERR, 0x9);
	memcpy(&word, desk->said, sizeof(word));
	assert_int_equal(word, 0x102);
	desk_answer_u64(desk, RP_VHU_SET_VRING_ERR, 1);
	assert_int_equal(rp_vhu_frontend_ring_err(desk->frontend, 2, -1, &why), -EREMOTEIO);
	assert_string_equal(why.text, "SET_VRING_ERR: refused by the backend");
	assert_int_equal(rp_vhu_frontend_ring_err(desk->frontend, DESK_QUEUES, -1, &why), -EINVAL);
	assert_string_equal(why.text, "queue 4, expected 0 to 3");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_DESK(split_rings_are_checked),	  WITH_DESK(packed_rings_are_checked),
		WITH_DESK(the_position_of_a_packed_ring), WITH_DESK(addresses_of_a_running_ring),
		WITH_DESK(an_eventfd_for_errors),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
