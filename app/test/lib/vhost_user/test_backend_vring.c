/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "bed.h"
#include "rp_wire_fd.h"

/* Started from SET_VRING_KICK to GET_VRING_BASE, whatever SET_VRING_ENABLE says. */
static void
kick_starts_and_base_stops(void **state)
{
	struct bed *bed = *state;
	struct rp_vhu_vring vring;

	bed_negotiate(bed);
	bed_memory(bed);
	bed_diary(bed);
	bed_send_state(bed, RP_VHU_SET_VRING_ENABLE, 0x1, 1, 1);
	bed_ring_describe(bed, 1);
	assert_string_equal(bed_diary(bed), "enable:1=1 ");
	assert_int_equal(rp_vhu_backend_vring(bed->backend, 1, &vring), 0);
	assert_false(vring.started);
	bed_send_fd(bed, RP_VHU_SET_VRING_KICK, 0x1, 1);
	assert_string_equal(bed_diary(bed), "start:1@0 ");
	bed_send_state(bed, RP_VHU_SET_VRING_ENABLE, 0x1, 1, 0);
	assert_string_equal(bed_diary(bed), "enable:1=0 ");
	bed->stop_base = 99;
	assert_int_equal(bed_get_base(bed, 1), 99);
	assert_string_equal(bed_diary(bed), "stop:1 ");
	assert_int_equal(bed_get_base(bed, 1), 99);
	bed_send_state(bed, RP_VHU_SET_VRING_ENABLE, 0x1, 1, 1);
	assert_string_equal(bed_diary(bed), "enable:1=1 ");
	assert_int_equal(rp_vhu_backend_vring(bed->backend, 1, &vring), 0);
	assert_false(vring.started);
	assert_int_equal(vring.kick_fd, -1);
	/* Size and addresses are still known. */
	bed_send_fd(bed, RP_VHU_SET_VRING_KICK, 0x1, 1);
	assert_string_equal(bed_diary(bed), "start:1@99 ");
	assert_int_equal(rp_vhu_backend_vring(bed->backend, 1, &vring), 0);
	assert_int_equal(vring.base, 99);
	bed_assert_nothing_refused(bed);
	assert_int_equal(rp_vhu_backend_vring(bed->backend, BED_QUEUES, &vring), -EINVAL);
}

/* Without PROTOCOL_FEATURES there is no SET_VRING_ENABLE. */
static void
born_enabled_without_protocol_features(void **state)
{
	struct bed *bed = *state;
	struct rp_vhu_vring vring;

	assert_int_equal(rp_vhu_backend_vring(bed->backend, 0, &vring), 0);
	assert_false(vring.enabled);
	bed_send_u64(bed, RP_VHU_SET_FEATURES, 0x1, 1ull << 32);
	assert_int_equal(rp_vhu_backend_vring(bed->backend, 0, &vring), 0);
	assert_true(vring.enabled);
	bed_memory(bed);
	bed_diary(bed);
	bed_ring_describe(bed, 0);
	bed_send_fd(bed, RP_VHU_SET_VRING_KICK, 0x1, 0);
	assert_string_equal(bed_diary(bed), "start:0@0 ");
}

static void
kick_refused(struct bed *bed, uint32_t index, int error, const char *words)
{
	struct rp_vhu_vring vring;

	bed_send_fd(bed, RP_VHU_SET_VRING_KICK, 0x9, index);
	assert_int_equal(bed_answer(bed, RP_VHU_SET_VRING_KICK), 1);
	bed_assert_refused(bed, error, words);
	assert_int_equal(rp_vhu_backend_vring(bed->backend, index, &vring), 0);
	assert_false(vring.started);
	assert_int_equal(vring.kick_fd, -1);
}

static void
what_must_come_first(void **state)
{
	struct bed *bed = *state;
	uint64_t at = BED_UVA;

	bed_negotiate(bed);
	bed_diary(bed);
	kick_refused(bed, 0, -EBUSY, "SET_VRING_KICK: ring 0: SET_VRING_NUM and SET_VRING_ADDR must come first");
	bed_send_addr(bed, 0x1, 0, at, at + 0x1000, at + 0x2000);
	kick_refused(bed, 0, -EBUSY, "must come first");
	bed_send_state(bed, RP_VHU_SET_VRING_NUM, 0x1, 1, BED_RING_NUM);
	kick_refused(bed, 1, -EBUSY, "must come first");
	bed_send_state(bed, RP_VHU_SET_VRING_NUM, 0x1, 0, BED_RING_NUM);
	kick_refused(bed, 0, -EBADMSG, "descriptor table: 4096 bytes at 0x7f0000000000 are in no memory region");
	bed_memory(bed);
	bed_diary(bed);
	bed->refuse_start = -ENOSPC;
	kick_refused(bed, 0, -ENOSPC, "SET_VRING_KICK: the owner does not like it");
	bed_send_fd(bed, RP_VHU_SET_VRING_KICK, 0x9, 0);
	assert_int_equal(bed_answer(bed, RP_VHU_SET_VRING_KICK), 0);
	assert_string_equal(bed_diary(bed), "start:0@0(disabled) start:0@0(disabled) ");
}

static void
addresses_that_cannot_be(void **state)
{
	const uint64_t at = BED_UVA, end = BED_UVA + BED_REGION_BYTES;
	const struct {
		uint64_t desc, avail, used;
		const char *words;
	} cases[] = {
		{at + 8, at + 0x1000, at + 0x2000, "descriptor table: 0x7f0000000008 is not aligned to 16"},
		{at, at + 0x1001, at + 0x2000, "available ring: 0x7f0000001001 is not aligned to 2"},
		{at, at + 0x1000, at + 0x2002, "used ring: 0x7f0000002002 is not aligned to 4"},
		{end - 4080, at + 0x1000, at + 0x2000, "descriptor table: 4096 bytes"},
		{at, end - 516, at + 0x2000, "available ring: 518 bytes"},
		{at, at + 0x1000, end - 2052, "used ring: 2054 bytes"},
		{0, at + 0x1000, at + 0x2000, "descriptor table"},
		{at, at + 0x1000, 0xfffffffffffffffc, "used ring"},
		{BED_UVA - 16, at + 0x1000, at + 0x2000, "descriptor table"},
	};
	struct bed *bed = *state;
	unsigned int i;

	bed_negotiate(bed);
	bed_memory(bed);
	bed_ring_describe(bed, 0);
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		bed_send_addr(bed, 0x1, 0, cases[i].desc, cases[i].avail, cases[i].used);
		kick_refused(bed, 0, -EBADMSG, cases[i].words);
	}
	/* The last bytes of the region are in it. */
	bed_send_addr(bed, 0x1, 0, end - 4096, at + 0x1000, at + 0x2000);
	bed_send_fd(bed, RP_VHU_SET_VRING_KICK, 0x1, 0);
	bed_assert_nothing_refused(bed);
}

/* A region may end anywhere: one byte short is short. */
static void
a_region_that_is_one_byte_short(void **state)
{
	const struct rp_vhu_wire_region region = bed_region(0, BED_REGION_BYTES - 1);
	const uint64_t at = BED_UVA, end = BED_UVA + BED_REGION_BYTES;
	struct bed *bed = *state;

	bed_negotiate(bed);
	bed_send_table(bed, 0x1, &region, 1, NULL);
	bed_ring_describe(bed, 0);
	bed_send_addr(bed, 0x1, 0, end - 4096, at + 0x1000, at + 0x2000);
	kick_refused(bed, 0, -EBADMSG, "descriptor table: 4096 bytes");
	bed_send_u64(bed, RP_VHU_SET_FEATURES, 0x1, 1ull << 34 | 1ull << 32 | 1ull << 30);
	bed_send_addr(bed, 0x1, 0, at, end - 4, at + 0x2000);
	kick_refused(bed, 0, -EBADMSG, "available ring: 4 bytes");
	bed_send_addr(bed, 0x1, 0, at, at + 0x1000, end - 4);
	kick_refused(bed, 0, -EBADMSG, "used ring: 4 bytes");
}

/* A packed ring's driver and device areas are four bytes each. */
static void
packed_rings_have_other_sizes(void **state)
{
	const uint64_t end = BED_UVA + BED_REGION_BYTES;
	struct bed *bed = *state;

	bed_negotiate(bed);
	bed_memory(bed);
	bed_send_u64(bed, RP_VHU_SET_FEATURES, 0x1, 1ull << 34 | 1ull << 32 | 1ull << 30);
	bed_ring_describe(bed, 0);
	bed_send_state(bed, RP_VHU_SET_VRING_BASE, 0x1, 0, 0x80008000);
	bed_send_addr(bed, 0x1, 0, BED_UVA, end - 8, end - 4);
	bed_diary(bed);
	bed_send_fd(bed, RP_VHU_SET_VRING_KICK, 0x1, 0);
	assert_string_equal(bed_diary(bed), "start:0@2147516416(disabled) ");
	bed_assert_nothing_refused(bed);
	assert_int_equal(bed_get_base(bed, 0), 0x80008000);
	bed_send_addr(bed, 0x1, 0, BED_UVA, end - 6, end - 4);
	kick_refused(bed, 0, -EBADMSG, "available ring: 0x7f00000ffffa is not aligned to 4");
}

static void
values_that_cannot_be(void **state)
{
	const struct {
		uint32_t id, index, num;
		const char *words;
	} cases[] = {
		{RP_VHU_SET_VRING_NUM, 0, 0, "SET_VRING_NUM: num: 0, expected a power of two up to 32768"},
		{RP_VHU_SET_VRING_NUM, 0, 255, "num: 255"},
		{RP_VHU_SET_VRING_NUM, 0, 65536, "num: 65536"},
		{RP_VHU_SET_VRING_NUM, 0, 0x80000000, "num: 2147483648"},
		{RP_VHU_SET_VRING_NUM, BED_QUEUES, 256, "SET_VRING_NUM: index: 4, expected 0 to 3"},
		{RP_VHU_SET_VRING_NUM, UINT32_MAX, 256, "index: 4294967295"},
		{RP_VHU_SET_VRING_BASE, 0, 65536, "SET_VRING_BASE: base: 65536, expected an index of 16 bits"},
		{RP_VHU_SET_VRING_BASE, BED_QUEUES, 0, "SET_VRING_BASE: index"},
		{RP_VHU_SET_VRING_ENABLE, 0, 2, "SET_VRING_ENABLE: num: 2, expected 0 or 1"},
		{RP_VHU_SET_VRING_ENABLE, BED_QUEUES, 1, "SET_VRING_ENABLE: index"},
	};
	struct bed *bed = *state;
	unsigned int i;

	bed_negotiate(bed);
	bed_diary(bed);
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		bed_send_state(bed, cases[i].id, 0x9, cases[i].index, cases[i].num);
		assert_int_equal(bed_answer(bed, cases[i].id), 1);
		bed_assert_refused(bed, -EBADMSG, cases[i].words);
	}
	bed_send_addr(bed, 0x9, BED_QUEUES, 0, 0, 0);
	assert_int_equal(bed_answer(bed, RP_VHU_SET_VRING_ADDR), 1);
	bed_assert_refused(bed, -EBADMSG, "SET_VRING_ADDR: index");
	bed_send_fd(bed, RP_VHU_SET_VRING_KICK, 0x1, BED_QUEUES);
	bed_assert_refused(bed, -EBADMSG, "SET_VRING_KICK: index");
	bed_send_fd(bed, RP_VHU_SET_VRING_CALL, 0x1, BED_QUEUES);
	bed_assert_refused(bed, -EBADMSG, "SET_VRING_CALL: index");
	bed_send_fd(bed, RP_VHU_SET_VRING_ERR, 0x1, 255);
	bed_assert_refused(bed, -EBADMSG, "SET_VRING_ERR: index");
	assert_string_equal(bed_diary(bed), "");
}

/* What each message does to a ring that runs: the legal states, as a table. */
static void
what_a_running_ring_allows(void **state)
{
	const struct {
		uint32_t id, num;
		int error;
	} cases[] = {
		{RP_VHU_SET_VRING_NUM, BED_RING_NUM, 0}, {RP_VHU_SET_VRING_NUM, BED_RING_NUM / 2, -EBUSY},
		{RP_VHU_SET_VRING_BASE, 0, -EBUSY},	 {RP_VHU_SET_VRING_BASE, 1, -EBUSY},
		{RP_VHU_SET_VRING_ENABLE, 0, 0},	 {RP_VHU_SET_VRING_ENABLE, 1, 0},
	};
	struct bed *bed = *state;
	struct rp_vhu_vring vring;
	uint64_t at = BED_UVA;
	unsigned int i;

	bed_run(bed);
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		bed_send_state(bed, cases[i].id, 0x9, 0, cases[i].num);
		assert_int_equal(bed_answer(bed, cases[i].id), cases[i].error != 0);
		if (cases[i].error != 0)
			bed_assert_refused(bed, cases[i].error, "ring 0 is started");
	}
	bed_send_addr(bed, 0x9, 0, at, at + 0x1000, at + 0x2000);
	assert_int_equal(bed_answer(bed, RP_VHU_SET_VRING_ADDR), 0);
	for (i = 0; i < 3; i++) {
		bed_send_addr(bed, 0x9, 0, at + (i == 0) * 0x3000, at + 0x1000 + (i == 1) * 0x3000,
			      at + 0x2000 + (i == 2) * 0x3000);
		assert_int_equal(bed_answer(bed, RP_VHU_SET_VRING_ADDR), 1);
		bed_assert_refused(bed, -EBUSY, "SET_VRING_ADDR: ring 0 is started, at other addresses");
	}
	bed_diary(bed);
	bed->tell_more = true;
	bed_send_fd(bed, RP_VHU_SET_VRING_KICK, 0x1, 0);
	bed_send_fd(bed, RP_VHU_SET_VRING_CALL, 0x1, 0);
	bed_send_fd(bed, RP_VHU_SET_VRING_ERR, 0x1, 0);
	assert_int_equal(rp_vhu_backend_vring(bed->backend, 0, &vring), 0);
	assert_true(vring.kick_fd >= 0 && vring.call_fd >= 0 && vring.err_fd >= 0);
	bed_send_u64(bed, RP_VHU_SET_VRING_KICK, 0x1, 0x100);
	bed_send_u64(bed, RP_VHU_SET_VRING_CALL, 0x1, 0x100);
	assert_string_equal(bed_diary(bed), "kick:0 call:0 err:0 kick:0(none) call:0(none) ");
	bed_send_u64(bed, RP_VHU_SET_VRING_ERR, 0x1, 0x100);
	assert_string_equal(bed_diary(bed), "err:0(none) ");
	assert_int_equal(rp_vhu_backend_vring(bed->backend, 0, &vring), 0);
	assert_int_equal(vring.err_fd, -1);
	bed_assert_nothing_refused(bed);
}

/* What the owner refuses is not kept; what it had before is. */
static void
a_refused_swap_keeps_the_old(void **state)
{
	struct bed *bed = *state;
	struct rp_vhu_vring before, now;

	bed_run(bed);
	bed_send_fd(bed, RP_VHU_SET_VRING_ERR, 0x1, 0);
	assert_int_equal(rp_vhu_backend_vring(bed->backend, 0, &before), 0);
	bed->refuse_err = -ENOSPC;
	bed_send_fd(bed, RP_VHU_SET_VRING_ERR, 0x9, 0);
	assert_int_equal(bed_answer(bed, RP_VHU_SET_VRING_ERR), 1);
	bed->refuse_call = -ENOSPC;
	bed_send_fd(bed, RP_VHU_SET_VRING_CALL, 0x9, 0);
	assert_int_equal(bed_answer(bed, RP_VHU_SET_VRING_CALL), 1);
	bed->refuse_kick = -ENOSPC;
	bed_send_fd(bed, RP_VHU_SET_VRING_KICK, 0x9, 0);
	assert_int_equal(bed_answer(bed, RP_VHU_SET_VRING_KICK), 1);
	bed->refuse_enable = -EBUSY;
	bed_send_state(bed, RP_VHU_SET_VRING_ENABLE, 0x9, 0, 0);
	assert_int_equal(bed_answer(bed, RP_VHU_SET_VRING_ENABLE), 1);
	assert_int_equal(rp_vhu_backend_vring(bed->backend, 0, &now), 0);
	assert_int_equal(now.call_fd, before.call_fd);
	assert_int_equal(now.kick_fd, before.kick_fd);
	assert_int_equal(now.err_fd, before.err_fd);
	assert_true(before.err_fd >= 0 && fcntl(now.err_fd, F_GETFD) >= 0);
	assert_true(now.started && now.enabled);
	assert_int_equal(bed->refused_count, 4);
}

/* Said of a ring that nobody knows yet, as QEMU does. */
static void
an_error_descriptor_at_any_time(void **state)
{
	struct bed *bed = *state;
	struct rp_vhu_vring vring;

	bed->tell_more = true;
	bed_send_fd(bed, RP_VHU_SET_VRING_ERR, 0x1, 2);
	assert_string_equal(bed_diary(bed), "err:2 ");
	assert_int_equal(rp_vhu_backend_vring(bed->backend, 2, &vring), 0);
	assert_false(vring.started);
	assert_true(vring.err_fd >= 0);
	bed_assert_nothing_refused(bed);
}

#define ALL_QUEUES 256u

/* Each index that eight bits can name: its own state, its own notify area, its own file. */
static void
two_hundred_and_fifty_six_rings(void **state)
{
	struct rp_vhu_backend_config config = bed_config();
	uint64_t page_bytes = (uint64_t)sysconf(_SC_PAGESIZE);
	struct bed *bed = *state;
	struct rp_vhu_vring vring;
	uint32_t i;

	config.queues_max = ALL_QUEUES;
	config.profile = RP_VHU_PROFILE_EXTENDED;
	bed_remake(bed, &config);
	bed_negotiate(bed);
	bed_memory(bed);
	bed_send(bed, RP_VHU_GET_QUEUE_NUM, 0x1, NULL, 0);
	assert_int_equal(bed_answer(bed, RP_VHU_GET_QUEUE_NUM), ALL_QUEUES);
	for (i = 0; i < ALL_QUEUES; i++) {
		uint64_t at = BED_UVA + i * 0x1000;

		bed_send_state(bed, RP_VHU_SET_VRING_NUM, 0x1, i, 64);
		bed_send_state(bed, RP_VHU_SET_VRING_BASE, 0x1, i, i);
		bed_send_addr(bed, 0x1, i, at, at + 0x400, at + 0x600);
		bed_send_fd(bed, RP_VHU_SET_VRING_KICK, 0x1, i);
		bed_send_fd(bed, RP_VHU_SET_VRING_CALL, 0x1, i);
		bed_send_fd(bed, RP_VHU_SET_VRING_ERR, 0x1, i);
		bed_assert_nothing_refused(bed);
		assert_int_equal(
			rp_vhu_backend_vfio_file_set(bed->backend, i, bed->memory_fd, RP_VHU_VFIO_GROUP, i, NULL), 0);
		assert_int_equal(rp_vhu_backend_notify_area_set(bed->backend, i, bed->memory_fd, i * page_bytes,
								page_bytes, i, NULL),
				 0);
		assert_int_equal(peer_drain(bed->channel), 2);
		bed_diary(bed);
	}
	for (i = 0; i < ALL_QUEUES; i++) {
		assert_int_equal(rp_vhu_backend_vring(bed->backend, i, &vring), 0);
		assert_true(vring.started);
		assert_int_equal(vring.base, i);
		assert_int_equal(vring.desc_gpa, BED_GPA + i * 0x1000);
		assert_true(vring.kick_fd >= 0 && vring.call_fd >= 0 && vring.err_fd >= 0);
	}
	assert_int_equal(rp_vhu_backend_vring(bed->backend, ALL_QUEUES, &vring), -EINVAL);
	bed_send_state(bed, RP_VHU_SET_VRING_NUM, 0x9, ALL_QUEUES, 64);
	assert_int_equal(bed_answer(bed, RP_VHU_SET_VRING_NUM), 1);
	bed_assert_refused(bed, -EBADMSG, "index: 256, expected 0 to 255");
	for (i = 0; i < ALL_QUEUES; i++)
		assert_int_equal(bed_get_base(bed, i), i);
	bed_hang_up(bed);
	assert_int_equal(bed->replies_count, 2 * ALL_QUEUES);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_BED(kick_starts_and_base_stops),
		WITH_BED(born_enabled_without_protocol_features),
		WITH_BED(what_must_come_first),
		WITH_BED(addresses_that_cannot_be),
		WITH_BED(a_region_that_is_one_byte_short),
		WITH_BED(packed_rings_have_other_sizes),
		WITH_BED(values_that_cannot_be),
		WITH_BED(what_a_running_ring_allows),
		WITH_BED(an_error_descriptor_at_any_time),
		WITH_BED(a_refused_swap_keeps_the_old),
		WITH_BED(two_hundred_and_fifty_six_rings),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
