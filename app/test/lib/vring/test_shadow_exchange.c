/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>

#include "shadow_rig.h"

/* Chains to the device and back, who is woken for it, and what either may not do. */

#define NUM 8u
#define UNMAPPED UINT64_C(0xfedcba9876543000)
#define TABLE_AT (GUEST_BUFFERS_AT + 0x80000u)
#define TABLE ((uint64_t)GUEST_IOVA + TABLE_AT)
#define HALF(at, wrap) ((uint32_t)(at) | (uint32_t)(wrap) << 15)
#define DRAINED(at, wrap) (HALF(at, wrap) << 16 | HALF(at, wrap))

static struct rig rig;
static struct packed_guest driver;

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
	rig_open(&rig, guest, DRAINED(at, wrap));
}

static void
assert_used(struct guest *guest, uint16_t position, uint32_t id, uint32_t len)
{
	uint32_t used_id, used_len;

	guest_used(guest, position, &used_id, &used_len);
	assert_int_equal(used_id, id);
	assert_int_equal(used_len, len);
}

static void
assert_packed_used(struct guest *guest, uint16_t at, bool wrap, uint16_t id, uint32_t len)
{
	uint16_t used_id, flags;
	uint32_t used_len;

	flags = packed_read(guest, at, &used_id, &used_len);
	assert_int_equal(flags & (AVAIL | USED), packed_used_bits(wrap));
	assert_int_equal((flags & WRITE) != 0, len != 0);
	assert_int_equal(used_id, id);
	assert_int_equal(used_len, len);
}

/* One descriptor, writable, of a split ring. */
static void
offer(struct guest *guest, uint16_t head)
{
	guest_desc(guest, head, UNMAPPED + head, 64, WRITE, 0);
	guest_offer(guest, head);
}

static void
split_goes_there_and_back(void **state)
{
	struct guest *guest = *state;

	start_split(guest, 0, 0);
	guest_desc(guest, 5, UNMAPPED, 0x7fffffff, NEXT, 2);
	guest_desc(guest, 2, GUEST_BUFFERS, 64, WRITE, 0);
	guest_offer(guest, 5);
	rig_forward(&rig, 1, true);
	rig_forward(&rig, 0, false);
	rig_pop(&rig);
	assert_int_equal(rig.chain.out_count, 1);
	assert_int_equal(rig.chain.in_count, 1);
	assert_int_equal(rig.chain.table.size_bytes, 0);
	rig_assert_part(&rig, 0, UNMAPPED, 0x7fffffff);
	rig_assert_part(&rig, 1, GUEST_BUFFERS, 64);
	assert_int_equal(guest_used_index(guest), 0);
	rig_return(&rig, 0, false);
	assert_int_equal(rp_vring_shadow_out(rig.shadow), 1);
	rig_use(&rig, rig.chain.head, 60);
	rig_return(&rig, 1, true);
	assert_int_equal(guest_used_index(guest), 1);
	assert_used(guest, 0, 5, 60);
	assert_int_equal(rp_vring_shadow_out(rig.shadow), 0);
	assert_int_equal(rp_vring_shadow_forwarded(rig.shadow), 1);
	assert_int_equal(rp_vring_shadow_returned(rig.shadow), 1);
	assert_int_equal(rp_vring_shadow_lost(rig.shadow), 0);
	assert_null(rp_vring_shadow_why(rig.shadow));
	rig_close(&rig);
}

static void
packed_goes_there_and_back(void **state)
{
	struct guest *guest = *state;

	start_packed(guest, 0, true, 0);
	packed_offer(&driver, UNMAPPED, 0x7fffffff, 6, NEXT);
	packed_offer(&driver, GUEST_BUFFERS, 64, 6, WRITE);
	packed_offer(&driver, GUEST_BUFFERS + 64, 32, 3, 0);
	rig_forward(&rig, 2, true);
	rig_pop(&rig);
	assert_int_equal(rig.chain.out_count, 1);
	assert_int_equal(rig.chain.in_count, 1);
	rig_assert_part(&rig, 0, UNMAPPED, 0x7fffffff);
	rig_assert_part(&rig, 1, GUEST_BUFFERS, 64);
	rig_use(&rig, rig.chain.head, 64);
	rig_pop(&rig);
	rig_assert_part(&rig, 0, GUEST_BUFFERS + 64, 32);
	rig_use(&rig, rig.chain.head, 0);
	rig_return(&rig, 2, true);
	assert_packed_used(guest, 0, true, 6, 64);
	assert_packed_used(guest, 2, true, 3, 0);
	rig_close(&rig);
}

/* The table stays where it is; a part of the ring's own may come before it (2.7.5.3.1). */
static void
split_tables_go_by_address(void **state)
{
	struct guest *guest = *state;

	start_split(guest, 0, F_INDIRECT_DESC);
	guest_desc(guest, 0, UNMAPPED, 10, NEXT, 1);
	guest_desc(guest, 1, TABLE, 32, INDIRECT, 0);
	guest_desc_at(guest, TABLE_AT, 0, UNMAPPED + 10, 20, NEXT, 1);
	guest_desc_at(guest, TABLE_AT, 1, UNMAPPED + 30, 40, WRITE, 0);
	guest_offer(guest, 0);
	rig_forward(&rig, 1, true);
	rig_pop(&rig);
	assert_int_equal(rig.chain.out_count, 1);
	assert_int_equal(rig.chain.in_count, 0);
	rig_assert_part(&rig, 0, UNMAPPED, 10);
	assert_int_equal(rig.chain.table.iova, TABLE);
	assert_int_equal(rig.chain.table.size_bytes, 32);
	rig_use(&rig, rig.chain.head, 40);
	rig_return(&rig, 1, true);
	assert_used(guest, 0, 0, 40);
	rig_close(&rig);
}

static void
packed_tables_go_by_address(void **state)
{
	struct guest *guest = *state;

	start_packed(guest, 0, true, F_INDIRECT_DESC);
	packed_offer(&driver, TABLE, 16, 7, INDIRECT);
	packed_desc_at(guest, TABLE_AT, 0, UNMAPPED, 20, 0, WRITE);
	rig_forward(&rig, 1, true);
	rig_pop(&rig);
	assert_int_equal(rig.chain.out_count + rig.chain.in_count, 0);
	assert_int_equal(rig.chain.table.iova, TABLE);
	assert_int_equal(rig.chain.table.size_bytes, 16);
	rig_use(&rig, rig.chain.head, 20);
	rig_return(&rig, 1, true);
	assert_packed_used(guest, 0, true, 7, 20);
	rig_close(&rig);
}

/* What the device may write was judged when the chain was taken. */
static void
a_table_is_read_once(void **state)
{
	struct guest *guest = *state;
	bool called;

	start_split(guest, 0, F_INDIRECT_DESC);
	guest_desc(guest, 0, TABLE, 16, INDIRECT, 0);
	guest_desc_at(guest, TABLE_AT, 0, UNMAPPED, 40, WRITE, 0);
	guest_offer(guest, 0);
	rig_forward(&rig, 1, true);
	guest_desc_at(guest, TABLE_AT, 0, UNMAPPED, 4000, WRITE, 0);
	rig_pop(&rig);
	rig_use(&rig, rig.chain.head, 41);
	assert_int_equal(rp_vring_shadow_return(rig.shadow, &called), -EPROTO);
	rig_close(&rig);
}

/* A table may lie across mappings, where its pieces are not together here. */
static void
a_table_across_mappings(void **state)
{
	struct guest *guest = *state;
	const uint64_t page_bytes = 0x10000, two = GUEST_IOVA + GUEST_BYTES;

	start_split(guest, 0, F_INDIRECT_DESC);
	guest_map(guest, two, GUEST_BUFFERS_AT + 4 * page_bytes, page_bytes, RP_DMA_READ);
	guest_map(guest, two + page_bytes, GUEST_BUFFERS_AT, page_bytes, RP_DMA_READ);
	guest_desc_at(guest, GUEST_BUFFERS_AT + 5 * (uint32_t)page_bytes - 16, 0, UNMAPPED, 1, NEXT, 1);
	guest_desc_at(guest, GUEST_BUFFERS_AT, 0, UNMAPPED, 7, WRITE, 0);
	guest_desc(guest, 0, two + page_bytes - 16, 32, INDIRECT, 0);
	guest_offer(guest, 0);
	rig_forward(&rig, 1, true);
	rig_pop(&rig);
	rig_use(&rig, rig.chain.head, 7);
	rig_return(&rig, 1, true);
	rig_close(&rig);
	guest_unmap(guest, two, 2 * page_bytes);
}

static void
kicks_as_the_device_wishes(void **state)
{
	struct guest *guest = *state;

	start_split(guest, 0, 0);
	assert_int_equal(rp_vring_dev_set_notify(&rig.device, false), 0);
	offer(guest, 0);
	rig_forward(&rig, 1, false);
	assert_int_equal(rp_vring_dev_set_notify(&rig.device, true), 0);
	offer(guest, 1);
	rig_forward(&rig, 1, true);
	rig_close(&rig);

	start_split(guest, 65535, F_EVENT_IDX);
	offer(guest, 0);
	rig_forward(&rig, 1, true);
	offer(guest, 1);
	rig_forward(&rig, 1, false);
	rig_pop(&rig);
	rig_pop(&rig);
	assert_int_equal(rp_vring_dev_set_notify(&rig.device, true), 0);
	offer(guest, 2);
	rig_forward(&rig, 1, true);
	rig_close(&rig);

	start_packed(guest, 7, false, F_EVENT_IDX);
	assert_int_equal(rp_vring_dev_set_notify(&rig.device, false), 0);
	packed_offer(&driver, UNMAPPED, 1, 0, 0);
	rig_forward(&rig, 1, false);
	rig_pop(&rig);
	assert_int_equal(rp_vring_dev_set_notify(&rig.device, true), 0);
	packed_offer(&driver, UNMAPPED, 1, 1, 0);
	rig_forward(&rig, 1, true);
	packed_offer(&driver, UNMAPPED, 1, 2, 0);
	rig_forward(&rig, 1, false);
	rig_close(&rig);
}

/* Let the device use one more chain of a split ring. */
static void
use_one(struct guest *guest, uint16_t head)
{
	bool kick;

	offer(guest, head);
	assert_int_equal(rp_vring_shadow_forward(rig.shadow, &kick), 1);
	rig_pop(&rig);
	rig_use(&rig, rig.chain.head, 1);
}

static void
use_one_packed(uint16_t id)
{
	bool kick;

	packed_offer(&driver, UNMAPPED, 1, id, WRITE);
	assert_int_equal(rp_vring_shadow_forward(rig.shadow, &kick), 1);
	rig_pop(&rig);
	rig_use(&rig, rig.chain.head, 1);
}

static void
interrupts_as_the_guest_wishes(void **state)
{
	struct guest *guest = *state;

	start_split(guest, 0, 0);
	guest_put16(guest, GUEST_AVAIL_AT, 1);
	use_one(guest, 0);
	rig_return(&rig, 1, false);
	guest_put16(guest, GUEST_AVAIL_AT, 0);
	use_one(guest, 1);
	rig_return(&rig, 1, true);
	rig_close(&rig);

	/* used_event follows the available entries; the first decision says yes whatever it holds. */
	start_split(guest, 65534, F_EVENT_IDX);
	guest_put16(guest, GUEST_AVAIL_AT + 4 + 2 * NUM, 65535);
	use_one(guest, 0);
	rig_return(&rig, 1, true);
	use_one(guest, 1);
	use_one(guest, 2);
	rig_return(&rig, 2, true);
	use_one(guest, 3);
	rig_return(&rig, 1, false);
	rig_close(&rig);

	start_packed(guest, 6, true, F_EVENT_IDX);
	packed_event_put(guest, 0, false, EVENT_DESC);
	use_one_packed(0);
	rig_return(&rig, 1, true);
	use_one_packed(1);
	rig_return(&rig, 1, false);
	use_one_packed(2);
	rig_return(&rig, 1, true);
	packed_event_put(guest, 0, false, EVENT_DISABLE);
	use_one_packed(3);
	rig_return(&rig, 1, false);
	rig_close(&rig);
}

/* The private ring always asks the device for the next interrupt. */
static void
the_device_interrupts_for_each_turn(void **state)
{
	const uint64_t features[] = {0, F_EVENT_IDX, F_EVENT_IDX | F_IN_ORDER};
	struct guest *guest = *state;
	unsigned int i;
	uint16_t turn;

	for (i = 0; i < sizeof(features) / sizeof(features[0]); i++) {
		start_split(guest, 0, features[i]);
		for (turn = 0; turn < 3; turn++) {
			use_one(guest, 0);
			use_one(guest, 1);
			assert_int_equal(rp_vring_dev_needs_interrupt(&rig.device), 1);
			use_one(guest, 2);
			assert_int_equal(rp_vring_dev_needs_interrupt(&rig.device), features[i] == 0);
			rig_return(&rig, 3, turn == 0 || features[i] == 0);
		}
		rig_close(&rig);
		start_packed(guest, 0, true, features[i]);
		for (turn = 0; turn < 3; turn++) {
			use_one_packed(0);
			use_one_packed(1);
			assert_int_equal(rp_vring_dev_needs_interrupt(&rig.device), 1);
			use_one_packed(2);
			assert_int_equal(rp_vring_dev_needs_interrupt(&rig.device), features[i] == 0);
			rig_return(&rig, 3, true);
		}
		rig_close(&rig);
	}
}

static uint16_t
avail_event(const struct guest *guest)
{
	return guest_get16(guest, GUEST_USED_AT + 4 + 8 * NUM);
}

static void
the_guest_is_asked_again_and_again(void **state)
{
	struct guest *guest = *state;

	start_split(guest, 10, F_EVENT_IDX);
	assert_int_equal(avail_event(guest), 0);
	assert_int_equal(rp_vring_shadow_set_notify(rig.shadow, true), 0);
	assert_int_equal(avail_event(guest), 10);
	offer(guest, 0);
	offer(guest, 1);
	rig_forward(&rig, 2, true);
	assert_int_equal(avail_event(guest), 12);
	assert_int_equal(rp_vring_shadow_set_notify(rig.shadow, false), 0);
	assert_int_equal(avail_event(guest), 11);
	offer(guest, 2);
	rig_forward(&rig, 1, false);
	assert_int_equal(avail_event(guest), 11);
	rig_close(&rig);

	start_split(guest, 0, 0);
	assert_int_equal(rp_vring_shadow_set_notify(rig.shadow, false), 0);
	assert_int_equal(guest_get16(guest, GUEST_USED_AT), 1);
	assert_int_equal(rp_vring_shadow_set_notify(rig.shadow, true), 0);
	assert_int_equal(guest_get16(guest, GUEST_USED_AT), 0);
	rig_close(&rig);

	start_packed(guest, 7, true, F_EVENT_IDX);
	assert_int_equal(rp_vring_shadow_set_notify(rig.shadow, true), 0);
	assert_int_equal(guest_get32(guest, GUEST_USED_AT), EVENT_DESC << 16 | HALF(7, 1));
	packed_offer(&driver, UNMAPPED, 1, 0, 0);
	rig_forward(&rig, 1, true);
	assert_int_equal(guest_get32(guest, GUEST_USED_AT), EVENT_DESC << 16 | HALF(0, 0));
	assert_int_equal(rp_vring_shadow_set_notify(rig.shadow, false), 0);
	assert_int_equal(guest_get32(guest, GUEST_USED_AT), EVENT_DISABLE << 16);
	rig_close(&rig);
}

/* 2.7.9, 2.8.8: one used entry for all up to its chain; the guest gets one for each. */
static void
a_batch_in_order_is_taken_apart(void **state)
{
	struct guest *guest = *state;
	uint8_t *used, *desc;
	uint16_t i;

	start_split(guest, 65534, F_IN_ORDER);
	used = rig.memory + (rig.layout.used_iova - RIG_IOVA);
	for (i = 0; i < 4; i++)
		offer(guest, (uint16_t)(i + 2));
	rig_forward(&rig, 4, true);
	used[4] = 2; /* the third chain's first descriptor */
	used[8] = 5;
	used[2] = 3;
	rig_return(&rig, 3, true);
	assert_int_equal(guest_used_index(guest), 1);
	assert_used(guest, 65534, 2, 64);
	assert_used(guest, 65535, 3, 64);
	assert_used(guest, 0, 4, 5);
	rig_close(&rig);

	start_packed(guest, 6, true, F_IN_ORDER);
	for (i = 0; i < 4; i++)
		packed_offer(&driver, UNMAPPED, 64, i, WRITE);
	rig_forward(&rig, 4, true);
	desc = rig.memory;
	desc[8] = 5;
	desc[12] = 2; /* the third chain's id */
	desc[14] = AVAIL | WRITE;
	desc[15] = USED >> 8;
	rig_return(&rig, 3, true);
	assert_packed_used(guest, 6, true, 0, 64);
	assert_packed_used(guest, 7, true, 1, 64);
	assert_packed_used(guest, 0, false, 2, 5);
	assert_int_equal(rp_vring_shadow_out(rig.shadow), 1);
	rig_close(&rig);
}

/* Out of order: each chain comes back under the name that the guest gave it. */
static void
names_are_the_guests(void **state)
{
	struct guest *guest = *state;
	uint16_t heads[3], i;

	start_split(guest, 65535, 0);
	for (i = 0; i < 3; i++)
		offer(guest, (uint16_t)(7 - 2 * i));
	rig_forward(&rig, 3, true);
	for (i = 0; i < 3; i++) {
		rig_pop(&rig);
		heads[i] = rig.chain.head;
	}
	rig_use(&rig, heads[1], 1);
	rig_use(&rig, heads[2], 2);
	rig_use(&rig, heads[0], 3);
	rig_return(&rig, 3, true);
	assert_int_equal(guest_used_index(guest), 2);
	assert_used(guest, 65535, 5, 1);
	assert_used(guest, 0, 3, 2);
	assert_used(guest, 1, 7, 3);
	rig_close(&rig);
}

/* 2.7.13.1: a head that is offered twice is two chains, as long as they fit; then the guest lied. */
static void
more_descriptors_than_there_are(void **state)
{
	struct guest *guest = *state;
	bool kick;
	uint16_t i;

	start_split(guest, 0, 0);
	for (i = 0; i < 3; i++)
		guest_desc(guest, i, GUEST_BUFFERS, 1, NEXT, (uint16_t)(i + 1));
	guest_desc(guest, 3, GUEST_BUFFERS, 1, 0, 0);
	for (i = 0; i < 3; i++)
		guest_offer(guest, 0);
	assert_int_equal(rp_vring_shadow_forward(rig.shadow, &kick), -EBADMSG);
	assert_true(kick);
	assert_string_equal(rp_vring_shadow_why(rig.shadow), "more descriptors are out than the ring has");
	assert_int_equal(rp_vring_shadow_out(rig.shadow), 2);
	rig_close(&rig);
}

static void
what_came_before_a_bad_chain_counts(void **state)
{
	struct guest *guest = *state;
	bool flag;

	start_split(guest, 0, 0);
	offer(guest, 0);
	guest_offer(guest, NUM);
	assert_int_equal(rp_vring_shadow_forward(rig.shadow, &flag), -EBADMSG);
	assert_true(flag);
	assert_non_null(rp_vring_shadow_why(rig.shadow));
	rig_pop(&rig);
	rig_use(&rig, rig.chain.head, 1);
	assert_int_equal(rp_vring_shadow_return(rig.shadow, &flag), -EBADMSG);
	assert_false(flag);
	assert_int_equal(guest_used_index(guest), 0);
	assert_int_equal(rp_vring_shadow_forward(rig.shadow, &flag), -EBADMSG);
	assert_false(flag);
	assert_int_equal(rp_vring_shadow_set_notify(rig.shadow, true), -EBADMSG);
	rig_close(&rig);
}

static void
a_table_that_is_not_mapped(void **state)
{
	struct guest *guest = *state;
	bool kick;

	start_split(guest, 0, F_INDIRECT_DESC);
	guest_desc(guest, 0, UNMAPPED, 32, INDIRECT, 0);
	guest_offer(guest, 0);
	assert_int_equal(rp_vring_shadow_forward(rig.shadow, &kick), -EBADMSG);
	assert_string_equal(rp_vring_shadow_why(rig.shadow), "an indirect table is not mapped");
	rig_close(&rig);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_GUEST(split_goes_there_and_back),
		WITH_GUEST(packed_goes_there_and_back),
		WITH_GUEST(split_tables_go_by_address),
		WITH_GUEST(packed_tables_go_by_address),
		WITH_GUEST(a_table_is_read_once),
		WITH_GUEST(a_table_across_mappings),
		WITH_GUEST(kicks_as_the_device_wishes),
		WITH_GUEST(interrupts_as_the_guest_wishes),
		WITH_GUEST(the_device_interrupts_for_each_turn),
		WITH_GUEST(the_guest_is_asked_again_and_again),
		WITH_GUEST(a_batch_in_order_is_taken_apart),
		WITH_GUEST(names_are_the_guests),
		WITH_GUEST(more_descriptors_than_there_are),
		WITH_GUEST(what_came_before_a_bad_chain_counts),
		WITH_GUEST(a_table_that_is_not_mapped),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
