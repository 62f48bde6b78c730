/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>

#include "bed.h"
#include "rp_wire_fd.h"

#define SPLIT (1ull << 32 | 1ull << 30)
#define PACKED (SPLIT | 1ull << 34)
#define INFLIGHT (1ull << 12 | 1ull << 20)

static void
ring(struct bed *bed, uint32_t num)
{
	uint64_t at = BED_UVA;

	bed_send_state(bed, RP_VHU_SET_VRING_NUM, 0x1, 0, num);
	bed_send_addr(bed, 0x1, 0, at, at + 0x80000, at + 0x90000);
}

static void
kick(struct bed *bed, const char *diary)
{
	bed_diary(bed);
	bed_send_fd(bed, RP_VHU_SET_VRING_KICK, 0x9, 0);
	assert_int_equal(bed_answer(bed, RP_VHU_SET_VRING_KICK), 0);
	bed_assert_nothing_refused(bed);
	assert_string_equal(bed_diary(bed), diary);
}

static void
kick_refused(struct bed *bed, const char *words)
{
	bed_diary(bed);
	bed_send_fd(bed, RP_VHU_SET_VRING_KICK, 0x9, 0);
	assert_int_equal(bed_answer(bed, RP_VHU_SET_VRING_KICK), 1);
	bed_assert_refused(bed, -EBADMSG, words);
	assert_string_equal(bed_diary(bed), "");
}

static void
base_refused(struct bed *bed, uint32_t base, const char *words)
{
	bed_send_state(bed, RP_VHU_SET_VRING_BASE, 0x9, 0, base);
	assert_int_equal(bed_answer(bed, RP_VHU_SET_VRING_BASE), 1);
	bed_assert_refused(bed, -EBADMSG, words);
}

/* 2.8.10.1: a packed ring may have any number of entries; a split one may not (2.7). */
static void
any_size_for_a_packed_ring_only(void **state)
{
	struct bed *bed = *state;

	bed_negotiate(bed);
	bed_memory(bed);
	bed_send_state(bed, RP_VHU_SET_VRING_NUM, 0x9, 0, 255);
	assert_int_equal(bed_answer(bed, RP_VHU_SET_VRING_NUM), 1);
	bed_assert_refused(bed, -EBADMSG, "num: 255, expected a power of two up to 32768");
	bed_send_u64(bed, RP_VHU_SET_FEATURES, 0x1, PACKED);
	ring(bed, 255);
	bed_assert_nothing_refused(bed);
	bed_send_state(bed, RP_VHU_SET_VRING_NUM, 0x9, 0, 32769);
	assert_int_equal(bed_answer(bed, RP_VHU_SET_VRING_NUM), 1);
	bed_assert_refused(bed, -EBADMSG, "num: 32769, expected a number up to 32768");
	bed_send_state(bed, RP_VHU_SET_VRING_NUM, 0x9, 0, 0);
	assert_int_equal(bed_answer(bed, RP_VHU_SET_VRING_NUM), 1);
	bed_assert_refused(bed, -EBADMSG, "num: 0");
	kick(bed, "start:0@0(disabled) ");
}

/* Size and base first, features afterwards: judged at the start, again if the features change. */
static void
features_may_come_last(void **state)
{
	struct bed *bed = *state;

	bed_send_u64(bed, RP_VHU_SET_PROTOCOL_FEATURES, 0x1, bed->protocol_features);
	bed_memory(bed);
	ring(bed, 255);
	bed_send_state(bed, RP_VHU_SET_VRING_BASE, 0x1, 0, 0x80c880c8);
	bed_assert_nothing_refused(bed);
	kick_refused(bed, "SET_VRING_KICK: num: 255, expected a power of two"); /* no features are split rings */
	bed_send_u64(bed, RP_VHU_SET_FEATURES, 0x1, SPLIT);
	kick_refused(bed, "num: 255, expected a power of two");
	bed_send_state(bed, RP_VHU_SET_VRING_NUM, 0x1, 0, 256);
	kick_refused(bed, "SET_VRING_KICK: base: 2160623816, expected an index of 16 bits");
	bed_send_u64(bed, RP_VHU_SET_FEATURES, 0x1, PACKED);
	bed_send_state(bed, RP_VHU_SET_VRING_NUM, 0x1, 0, 255);
	kick(bed, "start:0@2160623816(disabled) ");
	assert_int_equal(bed_get_base(bed, 0), 0x80c880c8);
}

/* Both halves count entries of this ring, and no index beyond it is an index. */
static void
offsets_lie_in_the_ring(void **state)
{
	struct bed *bed = *state;

	bed_negotiate(bed);
	bed_memory(bed);
	bed_send_u64(bed, RP_VHU_SET_FEATURES, 0x1, PACKED);
	ring(bed, 200);
	base_refused(bed, 0x800080c8, "SET_VRING_BASE: base: available at 200, used at 0, expected both below 200");
	base_refused(bed, 0x80c88000, "available at 0, used at 200");
	base_refused(bed, 0xffffffff, "available at 32767, used at 32767");
	bed_send_state(bed, RP_VHU_SET_VRING_BASE, 0x1, 0, 0x80c700c7);
	bed_assert_nothing_refused(bed);
	/* A smaller ring afterwards. */
	bed_send_state(bed, RP_VHU_SET_VRING_NUM, 0x1, 0, 199);
	kick_refused(bed, "SET_VRING_KICK: base: available at 199, used at 199, expected both below 199");
	bed_send_state(bed, RP_VHU_SET_VRING_NUM, 0x1, 0, 200);
	kick(bed, "start:0@2160525511(disabled) ");
}

/* DPDK's virtio-user says 0x8000 for a new ring, and nothing of what was used. */
static void
half_a_base_stands_for_both(void **state)
{
	static const struct {
		uint32_t wire, base;
	} cases[] = {
		{0x8000, 0x80008000},	  {0x0005, 0x00050005},	    {0x80c7, 0x80c780c7}, {0, 0},
		{0x00010005, 0x00010005}, {0x80000005, 0x80000005},
	};
	struct bed *bed = *state;
	struct rp_vhu_vring vring;
	unsigned int i;

	bed_negotiate(bed);
	bed_memory(bed);
	bed_send_u64(bed, RP_VHU_SET_FEATURES, 0x1, PACKED);
	ring(bed, 200);
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		bed_send_state(bed, RP_VHU_SET_VRING_BASE, 0x1, 0, cases[i].wire);
		assert_int_equal(rp_vhu_backend_vring(bed->backend, 0, &vring), 0);
		assert_int_equal(vring.base, cases[i].base);
		bed_send_fd(bed, RP_VHU_SET_VRING_KICK, 0x1, 0);
		bed_assert_nothing_refused(bed);
		assert_int_equal(bed_get_base(bed, 0), cases[i].base);
	}
}

/* What our owner answered to a stop is exact, whatever it looks like. */
static void
an_answer_of_ours_is_not_completed(void **state)
{
	struct bed *bed = *state;

	bed_negotiate(bed);
	bed_memory(bed);
	bed_send_u64(bed, RP_VHU_SET_FEATURES, 0x1, PACKED);
	ring(bed, 200);
	kick(bed, "start:0@0(disabled) ");
	bed->stop_base = 5; /* available at 5, used at 0, both in their second round */
	assert_int_equal(bed_get_base(bed, 0), 5);
	kick(bed, "start:0@5(disabled) ");
	bed->stop_base = 0x80c780c7;
	assert_int_equal(bed_get_base(bed, 0), 0x80c780c7);
	bed_send_state(bed, RP_VHU_SET_VRING_NUM, 0x1, 0, 199);
	kick_refused(bed, "base: available at 199");
	bed_send_u64(bed, RP_VHU_SET_FEATURES, 0x1, SPLIT);
	bed_send_state(bed, RP_VHU_SET_VRING_NUM, 0x1, 0, 256);
	kick_refused(bed, "base: 2160558279, expected an index of 16 bits");
}

static void
make_inflight(struct bed *bed)
{
	struct rp_vhu_backend_config config = bed_config();

	config.protocol_features |= INFLIGHT;
	bed_remake(bed, &config);
}

/* A frontend that leaves requests in flight knows what it means by 32 bits. */
static void
with_inflight_all_bits_are_meant(void **state)
{
	struct bed *bed = *state;

	make_inflight(bed);
	bed_negotiate(bed);
	bed_memory(bed);
	bed_send_u64(bed, RP_VHU_SET_FEATURES, 0x1, PACKED);
	ring(bed, 200);
	bed_send_state(bed, RP_VHU_SET_VRING_BASE, 0x1, 0, 5);
	kick(bed, "start:0@5(disabled) ");
}

/* Only GET_VRING_BASE, and only when it was negotiated, leaves requests unfinished. */
static void
who_is_told_not_to_drain(void **state)
{
	struct bed *bed = *state;

	make_inflight(bed);
	bed_run(bed);
	bed_get_base(bed, 0);
	assert_int_equal(bed->stopped, RP_VHU_STOP_LEAVE);
	bed_ring_start(bed, 0);
	bed_send(bed, RP_VHU_RESET_DEVICE, 0x1, NULL, 0);
	assert_int_equal(bed->stopped, RP_VHU_STOP_RESET);
	bed_ring_start(bed, 0);
	bed_hang_up(bed);
	assert_int_equal(bed->stopped, RP_VHU_STOP_END);
	bed_attach(bed);
	bed_negotiate_without(bed, 1ull << RP_VHU_PF_GET_VRING_BASE_INFLIGHT_BIT);
	bed_memory(bed);
	bed_ring_start(bed, 0);
	bed_get_base(bed, 0);
	assert_int_equal(bed->stopped, RP_VHU_STOP_DRAIN);
}

/* Nowhere to leave them. */
static void
leaving_needs_the_region(void **state)
{
	struct bed *bed = *state;

	make_inflight(bed);
	bed_send_u64(bed, RP_VHU_SET_PROTOCOL_FEATURES, 0x1, 1ull << RP_VHU_PF_REPLY_ACK_BIT);
	bed_send_u64(bed, RP_VHU_SET_PROTOCOL_FEATURES, 0x9,
		     bed->protocol_features & ~(1ull << RP_VHU_PF_INFLIGHT_SHMFD_BIT));
	assert_int_equal(bed_answer(bed, RP_VHU_SET_PROTOCOL_FEATURES), 1);
	bed_assert_refused(bed, -EBADMSG, "SET_PROTOCOL_FEATURES: u64: GET_VRING_BASE_INFLIGHT without INFLIGHT_SHMFD");
	assert_int_equal(rp_vhu_backend_protocol_features(bed->backend), 1ull << RP_VHU_PF_REPLY_ACK_BIT);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_BED(any_size_for_a_packed_ring_only),
		WITH_BED(features_may_come_last),
		WITH_BED(offsets_lie_in_the_ring),
		WITH_BED(half_a_base_stands_for_both),
		WITH_BED(an_answer_of_ours_is_not_completed),
		WITH_BED(with_inflight_all_bits_are_meant),
		WITH_BED(who_is_told_not_to_drain),
		WITH_BED(leaving_needs_the_region),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
