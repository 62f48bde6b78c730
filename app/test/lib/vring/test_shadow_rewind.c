/* SPDX-License-Identifier: BSD-3-Clause */
#include "shadow_rig.h"

/* What a drain leaves in the guest's ring for its next owner. */

#define NUM 8u
#define A UINT64_C(0xfedcba9876540000)
#define TABLE_AT (GUEST_BUFFERS_AT + 0x80000u)
#define TABLE ((uint64_t)GUEST_IOVA + TABLE_AT)
#define DESC ((uint64_t)GUEST_IOVA + GUEST_DESC_AT)
#define AVAIL_RING ((uint64_t)GUEST_IOVA + GUEST_AVAIL_AT)
#define USED_RING ((uint64_t)GUEST_IOVA + GUEST_USED_AT)
#define AT(at, wrap) ((uint32_t)(at) | (uint32_t)(wrap) << 15)
#define DRAINED(at, wrap) (AT(at, wrap) << 16 | AT(at, wrap))

static struct rig rig;
static struct packed_guest driver;

#define ASSERT_REPORTS(...) rig_assert_reports(&rig, (const struct rig_report[]){__VA_ARGS__, {0, 0}})

/* Heads 0 to count - 1 are offered and forwarded. */
static void
start_split(struct guest *guest, uint16_t index, uint64_t features, uint16_t count)
{
	uint16_t i;

	guest_start(guest, NUM, index, features);
	rig_open(&rig, guest, index);
	for (i = 0; i < count; i++) {
		guest_desc(guest, i, A + i, 64, WRITE, 0);
		guest_offer(guest, i);
	}
	rig_forward(&rig, count, true);
}

/* The device takes what waits. */
static void
pop_all(uint16_t *heads, uint16_t count)
{
	uint16_t i;

	for (i = 0; i < count; i++) {
		rig_pop(&rig);
		heads[i] = rig.chain.head;
	}
}

static uint16_t
avail_entry(const struct guest *guest, uint16_t index)
{
	return guest_get16(guest, GUEST_AVAIL_AT + 4 + 2 * (size_t)(index % NUM));
}

static void
in_order_nothing_is_written(void **state)
{
	struct guest *guest = *state;
	uint16_t heads[4];

	start_split(guest, 65534, 0, 4);
	pop_all(heads, 4);
	rig_use(&rig, heads[0], 1);
	rig_use(&rig, heads[1], 2);
	rig_drain(&rig, 0, 2, true);
	/* The payload of both, the used ring around its end, and no entry of the available one. */
	ASSERT_REPORTS({A, 1}, {A + 1, 2}, {USED_RING + 4 + 48, 16}, {USED_RING + 2, 2});
	assert_int_equal(guest_used_index(guest), 0);
	assert_int_equal(rp_vring_shadow_returned(rig.shadow), 2);
	assert_int_equal(rp_vring_shadow_out(rig.shadow), 2);
	assert_int_equal(rp_vring_shadow_lost(rig.shadow), 0);
	rig_close(&rig);
}

static void
entries_are_put_in_the_order_of_taking(void **state)
{
	struct guest *guest = *state;
	uint16_t heads[4];

	start_split(guest, 65534, 0, 4);
	pop_all(heads, 4);
	rig_use(&rig, heads[2], 0);
	rig_return(&rig, 1, true);
	rig.reports_count = 0;
	rig_drain(&rig, 65535, 3, false);
	assert_int_equal(guest_used_index(guest), 65535);
	assert_int_equal(avail_entry(guest, 65534), 0);
	assert_int_equal(avail_entry(guest, 65535), 0);
	assert_int_equal(avail_entry(guest, 0), 1);
	assert_int_equal(avail_entry(guest, 1), 3);
	assert_int_equal(guest_get16(guest, GUEST_AVAIL_AT + 2), 2);
	/* The third is where it was. */
	ASSERT_REPORTS({AVAIL_RING + 4 + 14, 2}, {AVAIL_RING + 4, 2});
	rig_close(&rig);
}

/* The whole memory but the used ring may be read only. */
static void
entries_that_may_not_be_written(void **state)
{
	struct guest *guest = *state;
	uint16_t heads[4];
	uint32_t id, len;

	guest_unmap(guest, GUEST_IOVA, GUEST_BYTES);
	guest_map(guest, GUEST_IOVA, 0, GUEST_USED_AT, RP_DMA_READ);
	guest_map(guest, USED_RING, GUEST_USED_AT, GUEST_BYTES - GUEST_USED_AT, RP_DMA_READ | RP_DMA_WRITE);
	start_split(guest, 0, 0, 4);
	pop_all(heads, 4);
	rig_use(&rig, heads[2], 7);
	rig_drain(&rig, 3, 1, true);
	/* In the way are the first two; the last one is where it was taken. */
	assert_int_equal(rp_vring_shadow_lost(rig.shadow), 2);
	assert_int_equal(guest_used_index(guest), 3);
	guest_used(guest, 1, &id, &len);
	assert_int_equal(id, 0);
	assert_int_equal(len, 0);
	guest_used(guest, 2, &id, &len);
	assert_int_equal(id, 1);
	assert_int_equal(len, 0);
	assert_int_equal(avail_entry(guest, 3), 3);
	ASSERT_REPORTS({A + 2, 7}, {USED_RING + 4, 8}, {USED_RING + 2, 2}, {USED_RING + 12, 8}, {USED_RING + 2, 2},
		       {USED_RING + 20, 8}, {USED_RING + 2, 2});
	rig_close(&rig);
}

static void
assert_desc(const struct guest *guest, uint16_t index, uint64_t iova, uint32_t len, uint16_t id, uint16_t flags)
{
	size_t at = GUEST_DESC_AT + 16 * (size_t)index;
	uint16_t desc_id;
	uint32_t desc_len;

	assert_int_equal(packed_read(guest, index, &desc_id, &desc_len), flags);
	assert_int_equal(desc_id, id);
	assert_int_equal(desc_len, len);
	assert_int_equal(guest_get32(guest, at), (uint32_t)iova);
	assert_int_equal(guest_get32(guest, at + 4), iova >> 32);
}

/* Four chains from descriptor 5 of 8 on; the second is of two descriptors, the third a table. */
static void
start_packed(struct guest *guest, uint16_t *heads)
{
	packed_start(&driver, guest, NUM, 5, true, F_INDIRECT_DESC);
	rig_open(&rig, guest, DRAINED(5, true));
	packed_desc_at(guest, TABLE_AT, 0, A + 0x3000, 20, 0, WRITE);
	packed_offer(&driver, A, 64, 4, 0);
	packed_offer(&driver, A + 0x1000, 65, 2, NEXT);
	packed_offer(&driver, A + 0x2000, 66, 2, WRITE);
	packed_offer(&driver, TABLE, 16, 7, INDIRECT);
	packed_offer(&driver, A + 0x4000, 68, 1, WRITE);
	rig_forward(&rig, 4, true);
	pop_all(heads, 4);
}

static void
packed_in_order_nothing_is_written(void **state)
{
	struct guest *guest = *state;
	uint16_t heads[4];

	start_packed(guest, heads);
	rig_use(&rig, heads[0], 0);
	rig_use(&rig, heads[1], 0);
	rig_drain(&rig, DRAINED(0, false), 2, true);
	ASSERT_REPORTS({DESC + 80, 32});
	rig_close(&rig);
}

static void
descriptors_are_put_in_the_order_of_taking(void **state)
{
	struct guest *guest = *state;
	uint16_t heads[4];

	start_packed(guest, heads);
	/* The last one's used descriptor takes the first one's place. */
	rig_use(&rig, heads[3], 9);
	rig_return(&rig, 1, true);
	rig.reports_count = 0;
	rig_drain(&rig, DRAINED(6, true), 3, false);
	assert_desc(guest, 5, A, 9, 1, AVAIL | USED | WRITE);
	assert_desc(guest, 6, A, 64, 4, AVAIL);
	assert_desc(guest, 7, A + 0x1000, 65, 2, AVAIL | NEXT);
	assert_desc(guest, 0, A + 0x2000, 66, 2, USED | WRITE);
	assert_desc(guest, 1, TABLE, 16, 7, USED | INDIRECT);
	ASSERT_REPORTS({DESC + 96, 16}, {DESC + 112, 16}, {DESC, 16}, {DESC + 16, 16});
	rig_close(&rig);
}

/* What lies where it was taken stays as it is, whatever came before it. */
static void
only_what_was_moved_is_written(void **state)
{
	struct guest *guest = *state;
	uint16_t heads[4];

	start_packed(guest, heads);
	rig_use(&rig, heads[2], 20);
	rig_drain(&rig, DRAINED(6, true), 3, true);
	assert_desc(guest, 6, A, 64, 4, AVAIL);
	assert_desc(guest, 7, A + 0x1000, 65, 2, AVAIL | NEXT);
	assert_desc(guest, 0, A + 0x2000, 66, 2, USED | WRITE);
	ASSERT_REPORTS({A + 0x3000, 20}, {DESC + 80, 16}, {DESC + 96, 16}, {DESC + 112, 16}, {DESC, 16});
	rig_close(&rig);
}

/* Places come again: after two laps one looks the same, though another chain was taken there since. */
static void
a_chain_that_is_out_for_laps(void **state)
{
	struct guest *guest = *state;
	uint16_t held, i;

	packed_start(&driver, guest, NUM, 0, true, 0);
	rig_open(&rig, guest, DRAINED(0, true));
	packed_offer(&driver, A, 64, 7, 0);
	rig_forward(&rig, 1, true);
	rig_pop(&rig);
	held = rig.chain.head;
	for (i = 0; i < 2 * NUM; i++) {
		bool flag;

		packed_offer(&driver, A + 0x1000, 65, 3, 0);
		assert_int_equal(rp_vring_shadow_forward(rig.shadow, &flag), 1);
		rig_pop(&rig);
		assert_int_not_equal(rig.chain.head, held);
		rig_use(&rig, rig.chain.head, 0);
		assert_int_equal(rp_vring_shadow_return(rig.shadow, &flag), 1);
	}
	rig_drain(&rig, DRAINED(0, true), 1, false);
	assert_desc(guest, 0, A, 64, 7, AVAIL);
	rig_close(&rig);
}

static void
a_split_chain_that_is_out_for_laps(void **state)
{
	struct guest *guest = *state;
	uint32_t i;

	start_split(guest, 0, 0, 1);
	rp_vring_shadow_set_log(rig.shadow, NULL, NULL);
	rig_pop(&rig);
	guest_desc(guest, 1, A, 64, 0, 0);
	for (i = 0; i < 65536; i++) {
		bool flag;

		guest_offer(guest, 1);
		assert_int_equal(rp_vring_shadow_forward(rig.shadow, &flag), 1);
		rig_pop(&rig);
		rig_use(&rig, rig.chain.head, 0);
		assert_int_equal(rp_vring_shadow_return(rig.shadow, &flag), 1);
	}
	assert_int_equal(avail_entry(guest, 0), 1);
	rig_drain(&rig, 0, 1, false);
	assert_int_equal(avail_entry(guest, 0), 0);
	rig_close(&rig);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_GUEST(in_order_nothing_is_written),
		WITH_GUEST(entries_are_put_in_the_order_of_taking),
		WITH_GUEST(entries_that_may_not_be_written),
		WITH_GUEST(packed_in_order_nothing_is_written),
		WITH_GUEST(descriptors_are_put_in_the_order_of_taking),
		WITH_GUEST(only_what_was_moved_is_written),
		WITH_GUEST(a_chain_that_is_out_for_laps),
		WITH_GUEST(a_split_chain_that_is_out_for_laps),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
