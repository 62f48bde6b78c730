/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

#include "bed.h"
#include "rp_wire_fd.h"

#define MIB 0x100000ull

static void
table(struct bed *bed, const struct rp_vhu_wire_region *regions, unsigned int count, uint64_t expected)
{
	bed_send_table(bed, 0x9, regions, count, NULL);
	assert_int_equal(bed_answer(bed, RP_VHU_SET_MEM_TABLE), expected);
}

/* Hotplug: the whole table comes again with one more, then with one less; the running ring notices nothing. */
static void
only_the_difference_is_told(void **state)
{
	const struct rp_vhu_wire_region regions[] = {bed_region(0, BED_REGION_BYTES), bed_region(4 * MIB, MIB),
						     bed_region(8 * MIB, MIB)};
	const struct rp_vhu_wire_region swapped[] = {regions[2], regions[0]};
	struct bed *bed = *state;

	bed_run(bed);
	table(bed, regions, 2, 0);
	assert_string_equal(bed_diary(bed), "add:40400000 ");
	table(bed, regions, 2, 0);
	assert_string_equal(bed_diary(bed), "");
	table(bed, swapped, 2, 0);
	assert_string_equal(bed_diary(bed), "add:40800000 remove:40400000 ");
	table(bed, regions, 1, 0);
	assert_string_equal(bed_diary(bed), "remove:40800000 ");
	assert_int_equal(rp_vhu_backend_regions_count(bed->backend), 1);
}

/* QEMU opens nothing anew, but a frontend that does still means the same bytes. */
static void
the_same_file_by_another_descriptor(void **state)
{
	const struct rp_vhu_wire_region region = bed_region(0, BED_REGION_BYTES);
	struct bed *bed = *state;
	char path[64];
	int again, other = test_memfd(BED_REGION_BYTES, true);

	bed_run(bed);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", bed->memory_fd);
	again = open(path, O_RDWR | O_CLOEXEC);
	assert_true(again >= 0);
	bed_send_table(bed, 0x9, &region, 1, &again);
	assert_int_equal(bed_answer(bed, RP_VHU_SET_MEM_TABLE), 0);
	assert_string_equal(bed_diary(bed), "");
	/* Other bytes at the same place: the running ring forbids it. */
	bed_send_table(bed, 0x9, &region, 1, &other);
	assert_int_equal(bed_answer(bed, RP_VHU_SET_MEM_TABLE), 1);
	bed_assert_refused(bed, -EBUSY, "SET_MEM_TABLE: region at 0x40000000: ring 0 lies in it and is started");
	bed_send_state(bed, RP_VHU_GET_VRING_BASE, 0x1, 0, 0);
	bed_answer(bed, RP_VHU_GET_VRING_BASE);
	bed_diary(bed);
	bed_send_table(bed, 0x9, &region, 1, &other);
	assert_int_equal(bed_answer(bed, RP_VHU_SET_MEM_TABLE), 0);
	assert_string_equal(bed_diary(bed), "remove:40000000 add:40000000 ");
	rp_wire_fd_close(&again);
	rp_wire_fd_close(&other);
}

/* Every eventfd is one inode of the kernel: that does not make two of them one file. */
static void
anonymous_inodes_are_not_compared(void **state)
{
	const struct rp_vhu_wire_region region = bed_region(0, BED_REGION_BYTES);
	struct bed *bed = *state;
	int a = peer_eventfd(), b = peer_eventfd();

	bed_send_table(bed, 0x1, &region, 1, &a);
	bed_send_table(bed, 0x1, &region, 1, &b);
	assert_string_equal(bed_diary(bed), "add:40000000 remove:40000000 add:40000000 ");
	/* But the very same open file is the same, whatever it is. */
	bed_send_table(bed, 0x1, &region, 1, &b);
	assert_string_equal(bed_diary(bed), "");
	rp_wire_fd_close(&a);
	rp_wire_fd_close(&b);
}

/* Each of its four numbers makes a region another one. */
static void
a_region_that_moved_is_another(void **state)
{
	const struct rp_vhu_wire_region was = bed_region(0, MIB);
	struct rp_vhu_wire_region now[] = {was, was, was, was};
	struct bed *bed = *state;
	unsigned int i;

	now[0].gpa += 4 * MIB;
	now[1].size_bytes -= 4096;
	now[2].uva += 4 * MIB;
	now[3].offset_bytes += MIB;
	bed_negotiate(bed);
	for (i = 0; i < 4; i++) {
		table(bed, &was, 1, 0);
		bed_diary(bed);
		table(bed, &now[i], 1, 0);
		assert_string_equal(bed_diary(bed),
				    i == 0 ? "remove:40000000 add:40400000 " : "remove:40000000 add:40000000 ");
	}
}

/* What must make room stands before what stays. */
static void
room_is_made_before_what_stays(void **state)
{
	const struct rp_vhu_wire_region before[] = {bed_region(8 * MIB, MIB), bed_region(0, MIB),
						    bed_region(4 * MIB, MIB)};
	const struct rp_vhu_wire_region after[] = {bed_region(8 * MIB, 2 * MIB), bed_region(0, MIB)};
	struct bed *bed = *state;

	bed_negotiate(bed);
	table(bed, before, 3, 0);
	bed_diary(bed);
	table(bed, after, 2, 0);
	assert_string_equal(bed_diary(bed), "remove:40800000 add:40800000 remove:40400000 ");
}

/* A ring whose parts lie in three regions holds all three. */
static void
each_part_of_a_ring_holds_its_region(void **state)
{
	const struct rp_vhu_wire_region all[] = {bed_region(0, MIB), bed_region(2 * MIB, MIB),
						 bed_region(4 * MIB, MIB)};
	struct bed *bed = *state;
	unsigned int i;

	bed_negotiate(bed);
	table(bed, all, 3, 0);
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
a_table_that_cannot_be(void **state)
{
	struct rp_vhu_wire_region ok = bed_region(0, MIB), again = bed_region(MIB - 1, MIB),
				  other = bed_region(2 * MIB, MIB);
	const struct {
		struct rp_vhu_wire_region regions[2];
		int error;
		const char *words;
	} cases[] = {
		{{ok, again}, -EEXIST, "overlaps"},
		{{ok, ok}, -EEXIST, "overlaps"},
		{{ok, {.gpa = other.gpa, .size_bytes = MIB, .uva = ok.uva}}, -EEXIST, "overlaps"},
		{{ok, {.gpa = ok.gpa, .size_bytes = MIB, .uva = other.uva}}, -EEXIST, "overlaps"},
		{{ok, {.gpa = other.gpa, .size_bytes = 0, .uva = other.uva}}, -EBADMSG, "size is 0"},
		{{ok, {.gpa = -MIB, .size_bytes = MIB, .uva = other.uva}}, -EBADMSG, "wraps around"},
		{{ok, {.gpa = other.gpa, .size_bytes = -MIB, .uva = other.uva}}, -EBADMSG, "wraps around"},
		{{ok, {.gpa = other.gpa, .size_bytes = MIB, .uva = -MIB}}, -EBADMSG, "wraps around"},
		{{ok, {.gpa = other.gpa, .size_bytes = MIB, .uva = other.uva, .offset_bytes = -MIB}},
		 -EBADMSG,
		 "wraps around"},
	};
	struct bed *bed = *state;
	unsigned int i;

	bed_run(bed);
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		table(bed, cases[i].regions, 2, 1);
		bed_assert_refused(bed, cases[i].error, cases[i].words);
		assert_string_equal(bed_diary(bed), "");
		assert_int_equal(rp_vhu_backend_regions_count(bed->backend), 1);
	}
	bed_assert_usable(bed);
}

/* What was added goes, what had to make room comes back. */
static void
a_refused_region_undoes_the_table(void **state)
{
	const struct rp_vhu_wire_region before[] = {bed_region(0, BED_REGION_BYTES), bed_region(2 * MIB, MIB)};
	const struct rp_vhu_wire_region after[] = {bed_region(0, BED_REGION_BYTES), bed_region(2 * MIB, 2 * MIB),
						   bed_region(8 * MIB, MIB)};
	struct bed *bed = *state;
	struct rp_vhu_region region;

	bed_run(bed);
	table(bed, before, 2, 0);
	bed_diary(bed);
	bed->refuse_region_gpa = after[2].gpa;
	table(bed, after, 3, 1);
	bed_assert_refused(bed, -ENOSPC, "SET_MEM_TABLE: the owner has no room");
	assert_string_equal(bed_diary(bed), "remove:40200000 add:40200000 add:40800000 remove:40200000 add:40200000 ");
	assert_int_equal(rp_vhu_backend_regions_count(bed->backend), 2);
	assert_int_equal(rp_vhu_backend_region(bed->backend, 1, &region), 0);
	assert_int_equal(region.gpa, before[1].gpa);
	assert_int_equal(region.size_bytes, MIB);
	assert_true(fcntl(region.fd, F_GETFD) >= 0);
	bed->refuse_region_gpa = 0;
	table(bed, after, 3, 0);
}

static void
memory_under_a_running_ring_stays(void **state)
{
	const struct rp_vhu_wire_region other = bed_region(4 * MIB, MIB), first = bed_region(0, BED_REGION_BYTES);
	struct bed *bed = *state;

	bed_run(bed);
	table(bed, &other, 1, 1);
	bed_assert_refused(bed, -EBUSY, "ring 0 lies in it and is started");
	bed_send_region(bed, RP_VHU_REM_MEM_REG, 0x9, &first, -1);
	assert_int_equal(bed_answer(bed, RP_VHU_REM_MEM_REG), 1);
	bed_assert_refused(bed, -EBUSY, "REM_MEM_REG: region at 0x40000000: ring 0");
	assert_string_equal(bed_diary(bed), "");
	bed_send_state(bed, RP_VHU_GET_VRING_BASE, 0x1, 0, 0);
	bed_answer(bed, RP_VHU_GET_VRING_BASE);
	table(bed, &other, 1, 0);
	assert_string_equal(bed_diary(bed), "stop:0 add:40400000 remove:40000000 ");
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
	other.size_bytes -= 4096;
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

int
main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_BED(only_the_difference_is_told),
		WITH_BED(the_same_file_by_another_descriptor),
		WITH_BED(anonymous_inodes_are_not_compared),
		WITH_BED(a_region_that_moved_is_another),
		WITH_BED(room_is_made_before_what_stays),
		WITH_BED(each_part_of_a_ring_holds_its_region),
		WITH_BED(a_table_that_cannot_be),
		WITH_BED(a_refused_region_undoes_the_table),
		WITH_BED(memory_under_a_running_ring_stays),
		WITH_BED(slots_are_added_and_removed),
		WITH_BED(slots_end_at_the_limit),
		WITH_BED(as_often_removed_as_added),
		WITH_BED(counts_stay_with_their_regions),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
