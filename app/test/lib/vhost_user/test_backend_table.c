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
	/* Other bytes at the same place. */
	bed_send_table(bed, 0x9, &region, 1, &other);
	assert_int_equal(bed_answer(bed, RP_VHU_SET_MEM_TABLE), 0);
	assert_string_equal(bed_diary(bed), "stop:0(memory) remove:40000000 add:40000000 start:0@0 ");
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

/* What lies nowhere in the way is tried first: its refusal costs nothing else. */
static void
a_refused_region_changes_nothing(void **state)
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
	assert_string_equal(bed_diary(bed), "add:40800000 ");
	assert_int_equal(rp_vhu_backend_regions_count(bed->backend), 2);
	assert_int_equal(rp_vhu_backend_region(bed->backend, 1, &region), 0);
	assert_int_equal(region.gpa, before[1].gpa);
	assert_int_equal(region.size_bytes, MIB);
	assert_true(fcntl(region.fd, F_GETFD) >= 0);
	bed->refuse_region_gpa = 0;
	table(bed, after, 3, 0);
}

/* Two regions take the place of one; the second is refused. */
static void
what_made_room_comes_back(void **state)
{
	const struct rp_vhu_wire_region before[] = {bed_region(0, BED_REGION_BYTES), bed_region(2 * MIB, 2 * MIB)};
	const struct rp_vhu_wire_region after[] = {before[0], bed_region(2 * MIB, MIB), bed_region(3 * MIB, MIB)};
	struct bed *bed = *state;
	struct rp_vhu_region region;

	bed_run(bed);
	table(bed, before, 2, 0);
	bed_diary(bed);
	bed->refuse_region_gpa = after[2].gpa;
	table(bed, after, 3, 1);
	bed_assert_refused(bed, -ENOSPC, "SET_MEM_TABLE: the owner has no room");
	assert_string_equal(bed_diary(bed), "remove:40200000 add:40200000 add:40300000 remove:40200000 add:40200000 ");
	assert_int_equal(rp_vhu_backend_regions_count(bed->backend), 2);
	assert_int_equal(rp_vhu_backend_region(bed->backend, 1, &region), 0);
	assert_int_equal(region.size_bytes, 2 * MIB);
	assert_true(fcntl(region.fd, F_GETFD) >= 0);
	bed->refuse_region_gpa = 0;
	table(bed, after, 3, 0);
}

static uint64_t
desc_of(struct bed *bed, unsigned int queue)
{
	struct rp_vhu_vring vring;

	assert_int_equal(rp_vhu_backend_vring(bed->backend, queue, &vring), 0);
	return vring.started ? vring.desc_gpa : 0;
}

/* A ring whose memory moves is stopped and goes on where it was; the others notice nothing. */
static void
rings_go_on_in_their_new_memory(void **state)
{
	const struct rp_vhu_wire_region before[] = {bed_region(0, MIB), bed_region(MIB, MIB)};
	struct rp_vhu_wire_region after[] = {before[0], before[1], bed_region(8 * MIB, MIB)};
	struct bed *bed = *state;
	struct rp_vhu_vring was, is;

	after[0].gpa = 0x80000000; /* the same address of the frontend's, elsewhere in the guest */
	bed_negotiate(bed);
	table(bed, before, 2, 0);
	bed_ring_start(bed, 0);
	bed_ring_describe(bed, 1);
	bed_send_addr(bed, 0x1, 1, BED_UVA + MIB, BED_UVA + MIB + 0x1000, BED_UVA + MIB + 0x2000);
	bed_send_fd(bed, RP_VHU_SET_VRING_KICK, 0x1, 1);
	assert_int_equal(rp_vhu_backend_vring(bed->backend, 0, &was), 0);
	bed_diary(bed);
	bed->stop_base = 99;
	table(bed, after, 3, 0);
	assert_string_equal(bed_diary(bed), "add:40800000 stop:0(memory) remove:40000000 add:80000000 start:0@99 ");
	assert_int_equal(rp_vhu_backend_vring(bed->backend, 0, &is), 0);
	assert_true(is.started && is.enabled);
	assert_int_equal(is.desc_gpa, 0x80000000);
	assert_int_equal(is.avail_gpa, 0x80001000);
	assert_int_equal(is.used_gpa, 0x80002000);
	assert_int_equal(is.kick_fd, was.kick_fd);
	assert_int_equal(is.call_fd, was.call_fd);
	assert_int_equal(desc_of(bed, 1), BED_GPA + MIB);
}

/* Any of a ring's three parts makes it stop, and all three need a new place. */
static void
each_part_counts(void **state)
{
	const struct rp_vhu_wire_region all[] = {bed_region(0, MIB), bed_region(2 * MIB, MIB),
						 bed_region(4 * MIB, MIB)};
	struct bed *bed = *state;
	int other = test_memfd(8 * MIB, true);
	unsigned int i;

	bed_negotiate(bed);
	table(bed, all, 3, 0);
	bed_ring_describe(bed, 0);
	bed_send_addr(bed, 0x1, 0, BED_UVA, BED_UVA + 2 * MIB, BED_UVA + 4 * MIB);
	bed_send_fd(bed, RP_VHU_SET_VRING_KICK, 0x1, 0);
	bed_diary(bed);
	for (i = 0; i < 3; i++) {
		int fds[] = {bed->memory_fd, bed->memory_fd, bed->memory_fd};
		struct rp_vhu_wire_region two[] = {all[i == 0], all[i == 2 ? 1 : 2]};
		char expected[128];

		table(bed, two, 2, 1);
		bed_assert_refused(bed, -EBUSY, "ring 0 lies in it and is started, and would lie in none");
		assert_string_equal(bed_diary(bed), "");
		fds[i] = other;
		bed_send_table(bed, 0x9, all, 3, fds);
		assert_int_equal(bed_answer(bed, RP_VHU_SET_MEM_TABLE), 0);
		snprintf(expected, sizeof(expected), "stop:0(memory) remove:%llx add:%llx start:0@0(disabled) ",
			 (unsigned long long)all[i].gpa, (unsigned long long)all[i].gpa);
		assert_string_equal(bed_diary(bed), expected);
		bed_send_table(bed, 0x1, all, 3, NULL);
		bed_diary(bed);
	}
	rp_wire_fd_close(&other);
}

/* One ring without a place keeps everything as it is, also for the ring that has one. */
static void
a_ring_without_a_place_keeps_the_table(void **state)
{
	const struct rp_vhu_wire_region before[] = {bed_region(0, MIB), bed_region(MIB, MIB)};
	struct rp_vhu_wire_region after[] = {before[0], bed_region(MIB, 0x1000)};
	struct bed *bed = *state;

	after[0].gpa = 0x80000000;
	bed_negotiate(bed);
	table(bed, before, 2, 0);
	bed_ring_start(bed, 0);
	bed_ring_describe(bed, 1);
	bed_send_addr(bed, 0x1, 1, BED_UVA + MIB, BED_UVA + MIB + 0x1000, BED_UVA + MIB + 0x2000);
	bed_send_fd(bed, RP_VHU_SET_VRING_KICK, 0x1, 1);
	bed_diary(bed);
	table(bed, after, 2, 1);
	bed_assert_refused(bed, -EBUSY, "SET_MEM_TABLE: region at 0x40100000: ring 1 lies in it");
	table(bed, &after[0], 1, 1);
	bed_assert_refused(bed, -EBUSY, "SET_MEM_TABLE: region at 0x40100000: ring 1 lies in it");
	assert_string_equal(bed_diary(bed), "");
	assert_int_equal(desc_of(bed, 0), BED_GPA);
	assert_int_equal(desc_of(bed, 1), BED_GPA + MIB);
}

/* The owner takes the memory and then not the ring. */
static void
a_refused_restart_undoes_the_table(void **state)
{
	const struct rp_vhu_wire_region before = bed_region(0, BED_REGION_BYTES);
	struct rp_vhu_wire_region after = before;
	struct bed *bed = *state;

	after.gpa = 0x80000000;
	bed_run(bed);
	bed->stop_base = 7;
	bed->refuse_start = -ENOSPC;
	table(bed, &after, 1, 1);
	bed_assert_refused(bed, -ENOSPC, "SET_MEM_TABLE: the owner does not like it");
	assert_string_equal(bed_diary(bed), "stop:0(memory) remove:40000000 add:80000000 start:0@7 remove:80000000 "
					    "add:40000000 start:0@7 ");
	assert_int_equal(desc_of(bed, 0), BED_GPA);
	table(bed, &after, 1, 0);
	assert_int_equal(desc_of(bed, 0), 0x80000000);
}

/* An owner that does not take back what it had: the ring has no memory, stays stopped, and two lines say so. */
static void
an_owner_that_takes_nothing_back(void **state)
{
	const struct rp_vhu_wire_region before = bed_region(0, BED_REGION_BYTES);
	struct bed *bed = *state;
	struct rp_vhu_vring vring;
	int other = test_memfd(BED_REGION_BYTES, true);

	bed_run(bed);
	bed->refuse_region_gpa = before.gpa;
	bed_send_table(bed, 0x9, &before, 1, &other);
	assert_int_equal(bed_answer(bed, RP_VHU_SET_MEM_TABLE), 1);
	assert_int_equal(bed->refused_count, 2);
	bed->refused_count = 0;
	assert_string_equal(bed_diary(bed), "stop:0(memory) remove:40000000 add:40000000 add:40000000 ");
	assert_int_equal(rp_vhu_backend_regions_count(bed->backend), 0);
	assert_int_equal(rp_vhu_backend_vring(bed->backend, 0, &vring), 0);
	assert_false(vring.started);
	assert_int_equal(vring.kick_fd, -1);
	bed->refuse_region_gpa = 0;
	bed_send_table(bed, 0x1, &before, 1, &other);
	bed_ring_start(bed, 0);
	rp_wire_fd_close(&other);
}

/* As often added as it was, also when it made room in vain. */
static void
the_count_of_adds_comes_back(void **state)
{
	const struct rp_vhu_wire_region twice = bed_region(4 * MIB, MIB);
	const struct rp_vhu_wire_region after[] = {bed_region(4 * MIB, MIB / 2), bed_region(4 * MIB + MIB / 2, MIB)};
	struct bed *bed = *state;

	bed_negotiate(bed);
	bed_send_region(bed, RP_VHU_ADD_MEM_REG, 0x1, &twice, bed->memory_fd);
	bed_send_region(bed, RP_VHU_ADD_MEM_REG, 0x1, &twice, bed->memory_fd);
	bed->refuse_region_gpa = after[1].gpa;
	table(bed, after, 2, 1);
	bed_assert_refused(bed, -ENOSPC, "the owner has no room");
	bed_diary(bed);
	bed_send_region(bed, RP_VHU_REM_MEM_REG, 0x1, &twice, -1);
	assert_string_equal(bed_diary(bed), "");
	bed_send_region(bed, RP_VHU_REM_MEM_REG, 0x1, &twice, -1);
	assert_string_equal(bed_diary(bed), "remove:40400000 ");
}

/* The owner hangs up while its ring is stopped for a moment. */
static void
detached_in_the_middle(void **state)
{
	struct rp_vhu_wire_region after = bed_region(0, BED_REGION_BYTES);
	struct bed *bed = *state;

	after.gpa = 0x80000000;
	bed_run(bed);
	bed->detach_on_stop = true;
	bed_send_table(bed, 0x1, &after, 1, NULL);
	assert_string_equal(bed_diary(bed), "stop:0(memory) remove:40000000 add:80000000 start:0@0 stop:0 "
					    "remove:80000000 gone ");
	assert_false(rp_vhu_backend_attached(bed->backend));
}

/* Told once, when the rings run again and what goes is gone; the same table changes nothing. */
static void
the_owner_is_told_at_the_end(void **state)
{
	const struct rp_vhu_wire_region before[] = {bed_region(0, MIB), bed_region(4 * MIB, MIB)};
	struct rp_vhu_wire_region after[] = {before[0], bed_region(8 * MIB, MIB)};
	struct bed *bed = *state;

	after[0].gpa = 0x80000000;
	bed_run(bed);
	bed->tell_more = true;
	table(bed, before, 2, 0);
	assert_string_equal(bed_diary(bed), "add:40400000 memory:2 ");
	table(bed, before, 2, 0);
	assert_string_equal(bed_diary(bed), "");
	table(bed, after, 2, 0);
	assert_string_equal(bed_diary(bed), "add:40800000 stop:0(memory) remove:40000000 add:80000000 start:0@0 "
					    "remove:40400000 memory:2 ");
	table(bed, after, 1, 0);
	assert_string_equal(bed_diary(bed), "remove:40800000 memory:1 ");
	bed_hang_up(bed);
	assert_string_equal(bed_diary(bed), "stop:0 remove:80000000 gone ");
}

/* Its refusal reaches the frontend, and undoes nothing. */
static void
its_word_reaches_the_frontend(void **state)
{
	const struct rp_vhu_wire_region regions[] = {bed_region(0, MIB), bed_region(4 * MIB, MIB)};
	struct bed *bed = *state;

	bed_run(bed);
	bed->refuse_memory = -ENOSPC;
	table(bed, regions, 2, 1);
	bed_assert_refused(bed, -ENOSPC, "SET_MEM_TABLE: the owner does not like it");
	assert_string_equal(bed_diary(bed), "add:40400000 ");
	assert_int_equal(rp_vhu_backend_regions_count(bed->backend), 2);
	table(bed, regions, 2, 0);
}

/* What was undone is no change; what could not be undone is one. */
static void
told_of_what_is_left(void **state)
{
	const struct rp_vhu_wire_region before[] = {bed_region(0, MIB), bed_region(4 * MIB, MIB)};
	const struct rp_vhu_wire_region after[] = {before[0], bed_region(4 * MIB, 2 * MIB)};
	const struct rp_vhu_wire_region other[] = {before[0], bed_region(4 * MIB + MIB / 2, MIB)};
	struct bed *bed = *state;

	bed_run(bed);
	bed->tell_more = true;
	table(bed, before, 2, 0);
	bed_diary(bed);
	bed->refuse_region_gpa = other[1].gpa;
	table(bed, other, 2, 1);
	bed_assert_refused(bed, -ENOSPC, "the owner has no room");
	assert_string_equal(bed_diary(bed), "remove:40400000 add:40480000 add:40400000 ");
	bed->refuse_region_gpa = after[1].gpa;
	bed->refuse_memory = -ENOMEM;
	table(bed, after, 2, 1);
	assert_string_equal(bed_diary(bed), "remove:40400000 add:40400000 add:40400000 memory:1 ");
	assert_int_equal(bed->refused_count, 2);
	assert_int_equal(bed->refused.error, -ENOSPC);
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
		WITH_BED(a_table_that_cannot_be),
		WITH_BED(a_refused_region_changes_nothing),
		WITH_BED(what_made_room_comes_back),
		WITH_BED(rings_go_on_in_their_new_memory),
		WITH_BED(each_part_counts),
		WITH_BED(a_ring_without_a_place_keeps_the_table),
		WITH_BED(a_refused_restart_undoes_the_table),
		WITH_BED(an_owner_that_takes_nothing_back),
		WITH_BED(the_count_of_adds_comes_back),
		WITH_BED(detached_in_the_middle),
		WITH_BED(the_owner_is_told_at_the_end),
		WITH_BED(its_word_reaches_the_frontend),
		WITH_BED(told_of_what_is_left),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
