/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>

#include "bed.h"
#include "rp_wire_fd.h"

#define MIB 0x100000ull

/* A ring whose parts lie in three regions holds all three. */
static void
each_part_of_a_ring_holds_its_region(void **state)
{
	const struct rp_vhu_wire_region all[] = {bed_region(0, MIB), bed_region(2 * MIB, MIB),
						 bed_region(4 * MIB, MIB)};
	struct bed *bed = *state;
	unsigned int i;

	bed_negotiate(bed);
	bed_send_table(bed, 0x1, all, 3, NULL);
	bed_ring_describe(bed, 0);
	bed_send_addr(bed, 0x1, 0, BED_UVA, BED_UVA + 2 * MIB, BED_UVA + 4 * MIB);
	bed_send_fd(bed, RP_VHU_SET_VRING_KICK, 0x1, 0);
	for (i = 0; i < 3; i++) {
		bed_send_region(bed, RP_VHU_REM_MEM_REG, 0x9, &all[i], -1);
		assert_int_equal(bed_answer(bed, RP_VHU_REM_MEM_REG), 1);
		bed_assert_refused(bed, -EBUSY, "ring 0 lies in it and is started");
	}
}

static void
memory_under_a_running_ring_stays(void **state)
{
	const struct rp_vhu_wire_region first = bed_region(0, BED_REGION_BYTES);
	struct bed *bed = *state;

	bed_run(bed);
	bed_send_region(bed, RP_VHU_REM_MEM_REG, 0x9, &first, -1);
	assert_int_equal(bed_answer(bed, RP_VHU_REM_MEM_REG), 1);
	bed_assert_refused(bed, -EBUSY, "REM_MEM_REG: region at 0x40000000: ring 0");
	assert_string_equal(bed_diary(bed), "");
	bed_send_state(bed, RP_VHU_GET_VRING_BASE, 0x1, 0, 0);
	bed_answer(bed, RP_VHU_GET_VRING_BASE);
	bed_send_region(bed, RP_VHU_REM_MEM_REG, 0x9, &first, -1);
	assert_int_equal(bed_answer(bed, RP_VHU_REM_MEM_REG), 0);
	assert_string_equal(bed_diary(bed), "stop:0 remove:40000000 ");
}

static void
slots_are_added_and_removed(void **state)
{
	struct rp_vhu_wire_region region = bed_region(4 * MIB, MIB), other = region;
	struct bed *bed = *state;

	bed_run(bed);
	bed_send_region(bed, RP_VHU_ADD_MEM_REG, 0x9, &region, bed->memory_fd);
	assert_int_equal(bed_answer(bed, RP_VHU_ADD_MEM_REG), 0);
	assert_string_equal(bed_diary(bed), "add:40400000 ");
	other.size_bytes -= 0x1000;
	bed_send_region(bed, RP_VHU_ADD_MEM_REG, 0x9, &other, bed->memory_fd);
	assert_int_equal(bed_answer(bed, RP_VHU_ADD_MEM_REG), 1);
	bed_assert_refused(bed, -EEXIST, "ADD_MEM_REG: region at 0x40400000, 0xff000 bytes: overlaps");
	bed_send_region(bed, RP_VHU_REM_MEM_REG, 0x9, &other, -1);
	assert_int_equal(bed_answer(bed, RP_VHU_REM_MEM_REG), 1);
	bed_assert_refused(bed, -EBADMSG, "there is none like it");
	/* Some frontends send the descriptor here, too. */
	bed_send_region(bed, RP_VHU_REM_MEM_REG, 0x9, &region, bed->memory_fd);
	assert_int_equal(bed_answer(bed, RP_VHU_REM_MEM_REG), 0);
	assert_string_equal(bed_diary(bed), "remove:40400000 ");
	bed->refuse_region_gpa = region.gpa;
	bed_send_region(bed, RP_VHU_ADD_MEM_REG, 0x9, &region, bed->memory_fd);
	assert_int_equal(bed_answer(bed, RP_VHU_ADD_MEM_REG), 1);
	bed_assert_refused(bed, -ENOSPC, "ADD_MEM_REG: the owner has no room");
	assert_int_equal(rp_vhu_backend_regions_count(bed->backend), 1);
}

static void
slots_end_at_the_limit(void **state)
{
	struct bed *bed = *state;
	struct rp_vhu_wire_region region;
	unsigned int i;

	bed_negotiate(bed);
	for (i = 0; i <= RP_VHU_SLOTS_MAX; i++) {
		region = bed_region(i * MIB, MIB);
		bed_send_region(bed, RP_VHU_ADD_MEM_REG, 0x9, &region, bed->memory_fd);
		assert_int_equal(bed_answer(bed, RP_VHU_ADD_MEM_REG), i == RP_VHU_SLOTS_MAX);
	}
	bed_assert_refused(bed, -ENOSPC, "ADD_MEM_REG: regions: there are 32 already");
}

/* QEMU before 8.1 says each once per queue pair. */
static void
as_often_removed_as_added(void **state)
{
	const struct rp_vhu_wire_region region = bed_region(4 * MIB, MIB);
	struct bed *bed = *state;

	bed_run(bed);
	bed_send_region(bed, RP_VHU_ADD_MEM_REG, 0x9, &region, bed->memory_fd);
	assert_int_equal(bed_answer(bed, RP_VHU_ADD_MEM_REG), 0);
	bed_send_region(bed, RP_VHU_ADD_MEM_REG, 0x9, &region, bed->memory_fd);
	assert_int_equal(bed_answer(bed, RP_VHU_ADD_MEM_REG), 0);
	assert_string_equal(bed_diary(bed), "add:40400000 ");
	bed_send_region(bed, RP_VHU_REM_MEM_REG, 0x9, &region, -1);
	assert_int_equal(bed_answer(bed, RP_VHU_REM_MEM_REG), 0);
	assert_string_equal(bed_diary(bed), "");
	bed_send_region(bed, RP_VHU_REM_MEM_REG, 0x9, &region, -1);
	assert_int_equal(bed_answer(bed, RP_VHU_REM_MEM_REG), 0);
	assert_string_equal(bed_diary(bed), "remove:40400000 ");
	bed_send_region(bed, RP_VHU_REM_MEM_REG, 0x9, &region, -1);
	assert_int_equal(bed_answer(bed, RP_VHU_REM_MEM_REG), 1);
	bed_assert_refused(bed, -EBADMSG, "there is none like it");
}

/* The count belongs to its region, also when one before it goes. */
static void
counts_stay_with_their_regions(void **state)
{
	const struct rp_vhu_wire_region once = bed_region(4 * MIB, MIB), twice = bed_region(8 * MIB, MIB);
	struct bed *bed = *state;

	bed_negotiate(bed);
	bed_send_region(bed, RP_VHU_ADD_MEM_REG, 0x1, &once, bed->memory_fd);
	bed_send_region(bed, RP_VHU_ADD_MEM_REG, 0x1, &twice, bed->memory_fd);
	bed_send_region(bed, RP_VHU_ADD_MEM_REG, 0x1, &twice, bed->memory_fd);
	bed_send_region(bed, RP_VHU_REM_MEM_REG, 0x1, &once, -1);
	bed_diary(bed);
	bed_send_region(bed, RP_VHU_REM_MEM_REG, 0x1, &twice, -1);
	assert_string_equal(bed_diary(bed), "");
	bed_send_region(bed, RP_VHU_REM_MEM_REG, 0x1, &twice, -1);
	assert_string_equal(bed_diary(bed), "remove:40800000 ");
}

/* The owner hears that it is over, and what there is now; what is only counted changes nothing. */
static void
the_owner_is_told_at_the_end(void **state)
{
	const struct rp_vhu_wire_region region = bed_region(4 * MIB, MIB);
	struct bed *bed = *state;

	bed_run(bed);
	bed->tell_more = true;
	bed_send_region(bed, RP_VHU_ADD_MEM_REG, 0x1, &region, bed->memory_fd);
	assert_string_equal(bed_diary(bed), "add:40400000 memory:2 ");
	bed_send_region(bed, RP_VHU_ADD_MEM_REG, 0x1, &region, bed->memory_fd);
	bed_send_region(bed, RP_VHU_REM_MEM_REG, 0x1, &region, -1);
	assert_string_equal(bed_diary(bed), "");
	bed_send_region(bed, RP_VHU_REM_MEM_REG, 0x1, &region, -1);
	assert_string_equal(bed_diary(bed), "remove:40400000 memory:1 ");
	bed_assert_nothing_refused(bed);
	bed_send_region(bed, RP_VHU_REM_MEM_REG, 0x1, &region, -1);
	bed_assert_refused(bed, -EBADMSG, "there is none like it");
	bed->refuse_region_gpa = region.gpa;
	bed_send_region(bed, RP_VHU_ADD_MEM_REG, 0x1, &region, bed->memory_fd);
	bed_assert_refused(bed, -ENOSPC, "the owner has no room");
	assert_string_equal(bed_diary(bed), "add:40400000 ");
}

/* The memory is as it is; the frontend hears what the owner said of it. */
static void
its_word_reaches_the_frontend(void **state)
{
	const struct rp_vhu_wire_region region = bed_region(4 * MIB, MIB);
	struct bed *bed = *state;

	bed_run(bed);
	bed->refuse_memory = -ENOSPC;
	bed_send_region(bed, RP_VHU_ADD_MEM_REG, 0x9, &region, bed->memory_fd);
	assert_int_equal(bed_answer(bed, RP_VHU_ADD_MEM_REG), 1);
	bed_assert_refused(bed, -ENOSPC, "ADD_MEM_REG: the owner does not like it");
	assert_int_equal(rp_vhu_backend_regions_count(bed->backend), 2);
	bed->refuse_memory = -ENOSPC;
	bed_send_region(bed, RP_VHU_REM_MEM_REG, 0x9, &region, -1);
	assert_int_equal(bed_answer(bed, RP_VHU_REM_MEM_REG), 1);
	bed_assert_refused(bed, -ENOSPC, "REM_MEM_REG: the owner does not like it");
	assert_int_equal(rp_vhu_backend_regions_count(bed->backend), 1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_BED(each_part_of_a_ring_holds_its_region),
		WITH_BED(memory_under_a_running_ring_stays),
		WITH_BED(slots_are_added_and_removed),
		WITH_BED(slots_end_at_the_limit),
		WITH_BED(as_often_removed_as_added),
		WITH_BED(counts_stay_with_their_regions),
		WITH_BED(the_owner_is_told_at_the_end),
		WITH_BED(its_word_reaches_the_frontend),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
