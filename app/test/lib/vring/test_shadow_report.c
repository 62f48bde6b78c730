/* SPDX-License-Identifier: BSD-3-Clause */
#include "shadow_rig.h"

/* Which bytes of the guest's memory are said to be written. */

#define NUM 8u
#define A UINT64_C(0xfedcba9876540000)
#define B UINT64_C(0xfedcba9876550000)
#define TABLE_AT (GUEST_BUFFERS_AT + 0x80000u)
#define TABLE ((uint64_t)GUEST_IOVA + TABLE_AT)
#define DESC ((uint64_t)GUEST_IOVA + GUEST_DESC_AT)
#define USED_RING ((uint64_t)GUEST_IOVA + GUEST_USED_AT)
#define AT(at, wrap) ((uint32_t)(at) | (uint32_t)(wrap) << 15)

static struct rig rig;
static struct packed_guest driver;

#define ASSERT_REPORTS(...) rig_assert_reports(&rig, (const struct rig_report[]){__VA_ARGS__, {0, 0}})

static void
assert_no_reports(void)
{
	rig_assert_reports(&rig, (const struct rig_report[]){{0, 0}});
}

static void
start_split(struct guest *guest, uint16_t index, uint64_t features)
{
	guest_start(guest, NUM, index, features);
	rig_open(&rig, guest, index);
}

static void
start_packed(struct guest *guest, uint16_t at, bool wrap, uint64_t features)
{
	packed_start(&driver, guest, NUM, at, wrap, features);
	rig_open(&rig, guest, AT(at, wrap) << 16 | AT(at, wrap));
}

/* The device uses what waits, all with the same length. */
static void
use_all(int count, uint32_t written_bytes)
{
	rig_forward(&rig, count, true);
	for (; count > 0; count--) {
		rig_pop(&rig);
		rig_use(&rig, rig.chain.head, written_bytes);
	}
}

/* A readable part, then two writable ones. */
static void
offer_three(struct guest *guest)
{
	guest_desc(guest, 0, A, 100, NEXT, 1);
	guest_desc(guest, 1, B, 10, NEXT | WRITE, 2);
	guest_desc(guest, 2, A + 0x1000, 20, WRITE, 0);
	guest_offer(guest, 0);
}

static void
payload_as_far_as_the_length_says(void **state)
{
	struct guest *guest = *state;

	start_split(guest, 0, 0);
	offer_three(guest);
	use_all(1, 10 + 5);
	assert_no_reports();
	rig_return(&rig, 1, true);
	ASSERT_REPORTS({B, 10}, {A + 0x1000, 5}, {USED_RING + 4, 8}, {USED_RING + 2, 2});
	offer_three(guest);
	use_all(1, 10);
	rig_return(&rig, 1, true);
	ASSERT_REPORTS({B, 10}, {USED_RING + 12, 8}, {USED_RING + 2, 2});
	offer_three(guest);
	use_all(1, 0);
	rig_return(&rig, 1, true);
	ASSERT_REPORTS({USED_RING + 20, 8}, {USED_RING + 2, 2});
	rig_close(&rig);
}

/* What the device reads of a table is skipped, and the table itself is not written. */
static void
payload_of_a_table(void **state)
{
	struct guest *guest = *state;

	start_split(guest, 0, F_INDIRECT_DESC);
	guest_desc(guest, 0, A, 1, NEXT, 1);
	guest_desc(guest, 1, TABLE, 48, INDIRECT, 0);
	guest_desc_at(guest, TABLE_AT, 0, A + 1, 2, NEXT, 1);
	guest_desc_at(guest, TABLE_AT, 1, B, 3, NEXT | WRITE, 2);
	guest_desc_at(guest, TABLE_AT, 2, B + 0x1000, 4, WRITE, 0);
	guest_offer(guest, 0);
	use_all(1, 5);
	rig_return(&rig, 1, true);
	ASSERT_REPORTS({B, 3}, {B + 0x1000, 2}, {USED_RING + 4, 8}, {USED_RING + 2, 2});
	/* A part of the ring's own that is written, and then a table of more. */
	guest_desc(guest, 0, A, 1, NEXT | WRITE, 1);
	guest_desc(guest, 1, TABLE + 16, 32, INDIRECT, 0);
	guest_desc_at(guest, TABLE_AT, 1, B, 3, NEXT | WRITE, 1);
	guest_offer(guest, 0);
	use_all(1, 8);
	rig_return(&rig, 1, true);
	ASSERT_REPORTS({A, 1}, {B, 3}, {B + 0x1000, 4}, {USED_RING + 12, 8}, {USED_RING + 2, 2});
	rig_close(&rig);
}

static void
used_entries_around_the_end(void **state)
{
	struct guest *guest = *state;
	uint16_t i;

	start_split(guest, 65534, 0);
	for (i = 0; i < 3; i++) {
		guest_desc(guest, i, A, 1, 0, 0);
		guest_offer(guest, i);
	}
	use_all(3, 0);
	rig_return(&rig, 3, true);
	ASSERT_REPORTS({USED_RING + 4 + 48, 16}, {USED_RING + 4, 8}, {USED_RING + 2, 2});
	rig_close(&rig);
}

static void
used_descriptors_around_the_end(void **state)
{
	struct guest *guest = *state;

	start_packed(guest, 5, true, 0);
	packed_offer(&driver, A, 8, 0, WRITE);
	packed_offer(&driver, A, 8, 1, NEXT);
	packed_offer(&driver, B, 8, 1, WRITE);
	packed_offer(&driver, A, 8, 2, NEXT);
	packed_offer(&driver, A, 8, 2, 0);
	use_all(3, 0);
	rig_return(&rig, 3, true);
	/* From the first used descriptor to the last one's, which is 0. */
	ASSERT_REPORTS({DESC + 80, 48}, {DESC, 16});
	packed_offer(&driver, A, 8, 0, NEXT);
	packed_offer(&driver, B, 8, 0, WRITE);
	use_all(1, 3);
	rig_return(&rig, 1, true);
	ASSERT_REPORTS({B, 3}, {DESC + 32, 16});
	rig_close(&rig);
}

static void
wishes(void **state)
{
	struct guest *guest = *state;

	start_split(guest, 0, 0);
	assert_int_equal(rp_vring_shadow_set_notify(rig.shadow, false), 0);
	ASSERT_REPORTS({USED_RING, 2});
	rig_close(&rig);
	start_split(guest, 0, F_EVENT_IDX);
	assert_int_equal(rp_vring_shadow_set_notify(rig.shadow, true), 0);
	ASSERT_REPORTS({USED_RING + 4 + 8 * NUM, 2});
	/* Asked again only when something was taken. */
	rig_forward(&rig, 0, false);
	assert_no_reports();
	offer_three(guest);
	rig_forward(&rig, 1, true);
	ASSERT_REPORTS({USED_RING + 4 + 8 * NUM, 2});
	rig_close(&rig);
	start_packed(guest, 0, true, F_EVENT_IDX);
	assert_int_equal(rp_vring_shadow_set_notify(rig.shadow, true), 0);
	ASSERT_REPORTS({USED_RING, 4});
	rig_close(&rig);
}

static unsigned int others;

static void
count_others(void *ctx, uint64_t iova, uint64_t size_bytes)
{
	assert_ptr_equal(ctx, &others);
	assert_true(iova != 0 && size_bytes != 0);
	others++;
}

/* What was forwarded while nobody wanted to know is reported when it comes back. */
static void
on_and_off_while_it_runs(void **state)
{
	struct guest *guest = *state;

	start_split(guest, 0, 0);
	rp_vring_shadow_set_log(rig.shadow, NULL, NULL);
	assert_int_equal(rp_vring_shadow_set_notify(rig.shadow, true), 0);
	offer_three(guest);
	use_all(1, 30);
	others = 0;
	rp_vring_shadow_set_log(rig.shadow, count_others, &others);
	rig_return(&rig, 1, true);
	assert_int_equal(others, 4);
	rp_vring_shadow_set_log(rig.shadow, NULL, NULL);
	offer_three(guest);
	use_all(1, 30);
	rig_return(&rig, 1, true);
	assert_int_equal(others, 4);
	assert_no_reports();
	rig_close(&rig);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_GUEST(payload_as_far_as_the_length_says),
		WITH_GUEST(payload_of_a_table),
		WITH_GUEST(used_entries_around_the_end),
		WITH_GUEST(used_descriptors_around_the_end),
		WITH_GUEST(wishes),
		WITH_GUEST(on_and_off_while_it_runs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
