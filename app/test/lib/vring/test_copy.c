/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "guest.h"
#include "guest_packed.h"
#include "rp_vring_copy.h"

/* The device's side on a copy of the guest's ring: the copy is what is believed, and nothing else. */

#define NUM 8u
#define UNMAPPED UINT64_C(0xfedcba9876543000)
#define TABLE_AT (GUEST_BUFFERS_AT + 0x80000u)
#define TABLE ((uint64_t)GUEST_IOVA + TABLE_AT)

static uint8_t copied[RP_VRING_PARTS_COUNT][4096] __attribute__((aligned(16)));

static struct packed_guest driver;

static const struct rp_vring_copy copy = {.parts = {copied[0], copied[1], copied[2]}};

static void
copy_now(struct guest *guest)
{
	const uint64_t iovas[RP_VRING_PARTS_COUNT] = {guest->layout.desc_iova, guest->layout.avail_iova,
						      guest->layout.used_iova};
	uint64_t sizes[RP_VRING_PARTS_COUNT];
	unsigned int i;

	rp_vring_part_bytes(&guest->layout, sizes);
	for (i = 0; i < RP_VRING_PARTS_COUNT; i++) {
		assert_true(sizes[i] <= sizeof(copied[i]));
		memcpy(copied[i], guest_hva(guest, iovas[i]), sizes[i]);
	}
}

static void
start(struct guest *guest, uint64_t features)
{
	memset(copied, 0, sizeof(copied));
	if ((features & F_RING_PACKED) != 0)
		packed_start(&driver, guest, NUM, 0, true, features);
	else
		guest_start(guest, NUM, 0, features);
	assert_int_equal(
		rp_vring_dev_init_copy(&guest->ring, &guest->layout, rp_vring_position_fresh(features), &copy, NULL),
		0);
}

static void
assert_span(const struct guest *guest, unsigned int index, uint64_t iova, uint64_t size_bytes)
{
	assert_int_equal(guest->chain.spans[index].iova, iova);
	assert_int_equal(guest->chain.spans[index].size_bytes, size_bytes);
}

static void
parts_are_not_translated(void **state)
{
	struct guest *guest = *state;

	start(guest, 0);
	guest_desc(guest, 1, UNMAPPED, 0x7fffffff, NEXT, 0);
	guest_desc(guest, 0, GUEST_BUFFERS, 64, WRITE, 0);
	guest_offer(guest, 1);
	copy_now(guest);
	guest_pop(guest);
	assert_int_equal(guest->chain.head, 1);
	assert_int_equal(guest->chain.out_count, 1);
	assert_int_equal(guest->chain.in_count, 1);
	assert_int_equal(guest->chain.out_bytes, 0x7fffffff);
	assert_int_equal(guest->chain.table.size_bytes, 0);
	assert_span(guest, 0, UNMAPPED, 0x7fffffff);
	assert_span(guest, 1, GUEST_BUFFERS, 64);
}

static void
what_the_guest_does_later_is_not_seen(void **state)
{
	struct guest *guest = *state;

	start(guest, 0);
	guest_desc(guest, 0, GUEST_BUFFERS, 64, 0, 0);
	guest_offer(guest, 0);
	copy_now(guest);
	guest_desc(guest, 0, UNMAPPED, 0, INDIRECT | NEXT, 77);
	guest_offer(guest, 5);
	assert_int_equal(rp_vring_dev_available(&guest->ring), 1);
	guest_pop(guest);
	assert_span(guest, 0, GUEST_BUFFERS, 64);
}

static void
used_entries_go_to_the_copy(void **state)
{
	struct guest *guest = *state;
	uint32_t id, len;

	start(guest, 0);
	guest_desc(guest, 3, GUEST_BUFFERS, 64, WRITE, 0);
	guest_offer(guest, 3);
	copy_now(guest);
	guest_pop(guest);
	assert_int_equal(rp_vring_dev_push(&guest->ring, 3, 60), 0);
	assert_int_equal(rp_vring_dev_needs_interrupt(&guest->ring), 1);
	assert_int_equal(rp_vring_dev_set_notify(&guest->ring, false), 0);
	guest_used(guest, 0, &id, &len);
	assert_int_equal(id, 0);
	assert_int_equal(guest_used_index(guest), 0);
	assert_int_equal(copied[2][0], 1); /* flags: no notifications */
	assert_int_equal(copied[2][2], 1); /* index */
	assert_int_equal(copied[2][4], 3);
	assert_int_equal(copied[2][8], 60);
}

/* The descriptors before the table are parts already; the table's come after them. */
static void
a_table_is_named_then_followed(void **state)
{
	struct guest *guest = *state;

	start(guest, F_INDIRECT_DESC);
	guest_desc(guest, 2, GUEST_BUFFERS, 12, NEXT, 4);
	guest_desc(guest, 4, TABLE, 32, INDIRECT, 0);
	guest_desc_at(guest, TABLE_AT, 0, UNMAPPED, 100, NEXT, 1);
	guest_desc_at(guest, TABLE_AT, 1, GUEST_BUFFERS, 50, WRITE, 0);
	guest_offer(guest, 2);
	copy_now(guest);
	guest_pop(guest);
	assert_int_equal(guest->chain.table.iova, TABLE);
	assert_int_equal(guest->chain.table.size_bytes, 32);
	assert_int_equal(guest->chain.out_count, 1);
	assert_int_equal(rp_vring_dev_follow(&guest->ring, &guest->chain, guest_hva(guest, TABLE)), 0);
	assert_int_equal(guest->chain.table.size_bytes, 0);
	assert_int_equal(guest->chain.out_count, 2);
	assert_int_equal(guest->chain.in_count, 1);
	assert_int_equal(guest->chain.out_bytes, 112);
	assert_int_equal(guest->chain.in_bytes, 50);
	assert_span(guest, 1, UNMAPPED, 100);
	assert_span(guest, 2, GUEST_BUFFERS, 50);
	/* There is nothing more to follow. */
	assert_int_equal(rp_vring_dev_follow(&guest->ring, &guest->chain, NULL), 0);
	assert_int_equal(guest->chain.out_count, 2);
}

static void
a_fetched_table_is_judged(void **state)
{
	struct guest *guest = *state;

	start(guest, F_INDIRECT_DESC);
	guest_desc(guest, 0, TABLE, 16, INDIRECT, 0);
	guest_desc_at(guest, TABLE_AT, 0, GUEST_BUFFERS, 100, INDIRECT, 0);
	guest_offer(guest, 0);
	copy_now(guest);
	guest_pop(guest);
	assert_int_equal(rp_vring_dev_follow(&guest->ring, &guest->chain, guest_hva(guest, TABLE)), -EBADMSG);
	assert_string_equal(rp_vring_dev_why(&guest->ring), "an indirect table refers to another");
	assert_int_equal(rp_vring_dev_follow(&guest->ring, &guest->chain, guest_hva(guest, TABLE)), -EBADMSG);
}

static void
refuse_table(struct guest *guest, uint64_t features, uint64_t iova, uint32_t size_bytes, const char *words)
{
	start(guest, features);
	guest_desc(guest, 0, iova, size_bytes, INDIRECT, 0);
	guest_offer(guest, 0);
	copy_now(guest);
	guest_pop_breaks(guest, words);
}

/* Nobody is asked to fetch what cannot be a table. */
static void
impossible_tables_are_refused(void **state)
{
	struct guest *guest = *state;

	refuse_table(guest, 0, TABLE, 16, "not negotiated");
	refuse_table(guest, F_INDIRECT_DESC, TABLE, 0, "no multiple of 16");
	refuse_table(guest, F_INDIRECT_DESC, TABLE, 24, "no multiple of 16");
	refuse_table(guest, F_INDIRECT_DESC, TABLE, 16 * (RP_VRING_NUM_MAX + 1), "longer than any queue");
	refuse_table(guest, F_INDIRECT_DESC, UINT64_MAX - 14, 16, "beyond 2^64");
}

static void
too_many_parts(void **state)
{
	static uint8_t table[16 * (RP_VRING_SEGMENTS_MAX + 1)];
	struct guest *guest = *state;
	uint32_t i;

	start(guest, F_INDIRECT_DESC);
	for (i = 0; i <= RP_VRING_SEGMENTS_MAX; i++)
		guest_desc_at(guest, TABLE_AT, i, GUEST_BUFFERS, 1, i < RP_VRING_SEGMENTS_MAX ? NEXT : 0,
			      (uint16_t)(i + 1));
	memcpy(table, guest_hva(guest, TABLE), sizeof(table));
	guest_desc(guest, 0, TABLE, sizeof(table), INDIRECT, 0);
	guest_offer(guest, 0);
	copy_now(guest);
	guest_pop(guest);
	assert_int_equal(rp_vring_dev_follow(&guest->ring, &guest->chain, table), -EBADMSG);
	assert_string_equal(rp_vring_dev_why(&guest->ring), "a chain has too many parts");
}

static void
packed_table(void **state)
{
	struct guest *guest = *state;
	uint8_t table[32] = {0};

	start(guest, F_RING_PACKED | F_INDIRECT_DESC);
	packed_offer(&driver, TABLE, sizeof(table), 5, INDIRECT);
	copy_now(guest);
	table[8] = 10; /* len */
	table[16 + 8] = 20;
	table[16 + 14] = WRITE;
	guest_pop(guest);
	assert_int_equal(guest->chain.head, 5);
	assert_int_equal(guest->chain.table.iova, TABLE);
	assert_int_equal(guest->chain.table.size_bytes, sizeof(table));
	assert_int_equal(rp_vring_dev_follow(&guest->ring, &guest->chain, table), 0);
	assert_int_equal(guest->chain.out_bytes, 10);
	assert_int_equal(guest->chain.in_bytes, 20);
	assert_int_equal(rp_vring_dev_push(&guest->ring, 5, 20), 0);
	assert_int_equal(rp_vring_dev_position(&guest->ring), 0x80018001);
}

static void
packed_table_too_long(void **state)
{
	struct guest *guest = *state;

	start(guest, F_RING_PACKED | F_INDIRECT_DESC);
	packed_offer(&driver, TABLE, 16 * (RP_VRING_SEGMENTS_MAX + 1), 5, INDIRECT);
	copy_now(guest);
	guest_pop_breaks(guest, "too many parts");
}

/* Mappings that go or come are nothing to a copy. */
static void
the_address_space_may_change(void **state)
{
	struct guest *guest = *state;

	start(guest, 0);
	guest_desc(guest, 0, GUEST_BUFFERS, 64, 0, 0);
	guest_offer(guest, 0);
	copy_now(guest);
	guest_unmap(guest, GUEST_IOVA, GUEST_BYTES);
	guest_pop(guest);
	assert_span(guest, 0, GUEST_BUFFERS, 64);
}

static void
the_layout_is_judged(void **state)
{
	struct guest *guest = *state;
	struct rp_vring_layout layout;

	start(guest, 0);
	layout = guest->layout;
	layout.used_iova += 2;
	assert_int_equal(rp_vring_dev_init_copy(&guest->ring, &layout, 0, &copy, NULL), -EBADMSG);
	assert_int_equal(rp_vring_dev_available(&guest->ring), -EBADMSG);
	layout = guest->layout;
	layout.num = 3;
	assert_int_equal(rp_vring_dev_init_copy(&guest->ring, &layout, 0, &copy, NULL), -EBADMSG);
	assert_int_equal(rp_vring_dev_init_copy(&guest->ring, &guest->layout, 0x10000, &copy, NULL), -EBADMSG);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_GUEST(parts_are_not_translated),
		WITH_GUEST(what_the_guest_does_later_is_not_seen),
		WITH_GUEST(used_entries_go_to_the_copy),
		WITH_GUEST(a_table_is_named_then_followed),
		WITH_GUEST(a_fetched_table_is_judged),
		WITH_GUEST(impossible_tables_are_refused),
		WITH_GUEST(too_many_parts),
		WITH_GUEST(packed_table),
		WITH_GUEST(packed_table_too_long),
		WITH_GUEST(the_address_space_may_change),
		WITH_GUEST(the_layout_is_judged),
	};

	return cmocka_run_group_tests_name("vring_copy", tests, NULL, NULL);
}
