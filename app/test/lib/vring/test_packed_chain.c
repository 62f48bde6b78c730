/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "guest_packed.h"

#define FAR_IOVA 0x100000000u /* mapped by the tests that need a second mapping */
#define TABLE_AT (GUEST_BUFFERS_AT + 0x80000u)
#define TABLE ((uint64_t)GUEST_IOVA + TABLE_AT)

static uint32_t
page_bytes(void)
{
	return (uint32_t)sysconf(_SC_PAGESIZE);
}

static void
assert_part(const struct guest *guest, unsigned int index, uint64_t iova, size_t size_bytes)
{
	assert_ptr_equal(guest->chain.iov[index].iov_base, guest_hva(guest, iova));
	assert_int_equal(guest->chain.iov[index].iov_len, size_bytes);
}

static void
assert_counts(const struct guest *guest, uint16_t out_count, uint16_t in_count, uint32_t out_bytes, uint32_t in_bytes)
{
	assert_int_equal(guest->chain.out_count, out_count);
	assert_int_equal(guest->chain.in_count, in_count);
	assert_int_equal(guest->chain.out_bytes, out_bytes);
	assert_int_equal(guest->chain.in_bytes, in_bytes);
}

/* The id is the last descriptor's; the others' ids mean nothing (2.8.6). */
static void
readable_then_writable(void **state)
{
	struct packed_guest driver;
	struct guest *guest = *state;

	packed_start(&driver, guest, 8, 0, true, 0);
	packed_offer(&driver, GUEST_BUFFERS, 12, 0xffff, NEXT);
	packed_offer(&driver, GUEST_BUFFERS + 0x1000, 1500, 0xfffe, NEXT);
	packed_offer(&driver, GUEST_BUFFERS + 0x2001, 1, 3, WRITE | NEXT);
	packed_offer(&driver, GUEST_BUFFERS + 0x3000, 64, 6, WRITE);
	guest_pop(guest);
	assert_int_equal(guest->chain.head, 6);
	assert_counts(guest, 2, 2, 1512, 65);
	assert_part(guest, 0, GUEST_BUFFERS, 12);
	assert_part(guest, 1, GUEST_BUFFERS + 0x1000, 1500);
	assert_part(guest, 2, GUEST_BUFFERS + 0x2001, 1);
	assert_part(guest, 3, GUEST_BUFFERS + 0x3000, 64);
}

/* Around the ring's end the wrap counter changes in the middle of a chain, from either value. */
static void
chain_around_the_end(void **state)
{
	struct packed_guest driver;
	struct guest *guest = *state;
	unsigned int wrap;

	for (wrap = 0; wrap < 2; wrap++) {
		packed_start(&driver, guest, 5, 3, wrap != 0, 0);
		packed_offer(&driver, GUEST_BUFFERS, 1, 0, NEXT);
		packed_offer(&driver, GUEST_BUFFERS + 1, 2, 0, NEXT);
		packed_offer(&driver, GUEST_BUFFERS + 2, 3, 0, NEXT);
		packed_offer(&driver, GUEST_BUFFERS + 3, 4, 4, WRITE);
		guest_pop(guest);
		assert_int_equal(guest->chain.head, 4);
		assert_counts(guest, 3, 1, 6, 4);
		assert_int_equal(rp_vring_dev_pop(&guest->ring, &guest->chain), 0);
	}
}

static void
a_chain_may_use_the_whole_ring(void **state)
{
	static const uint16_t nums[] = {1, 2, 3, 7, 100, 255, 256};
	struct packed_guest driver;
	struct guest *guest = *state;
	size_t n;
	uint16_t i;

	for (n = 0; n < sizeof(nums) / sizeof(nums[0]); n++) {
		packed_start(&driver, guest, nums[n], (uint16_t)(nums[n] / 2), true, 0);
		for (i = 0; i < nums[n]; i++)
			packed_offer(&driver, GUEST_BUFFERS, 1, 0, i + 1 < nums[n] ? NEXT : 0);
		guest_pop(guest);
		assert_counts(guest, nums[n], 0, nums[n], 0);
		assert_int_equal(rp_vring_dev_pop(&guest->ring, &guest->chain), 0);
	}
}

/* A ring of NEXT flags only; and one whose room is taken up by what is out already. */
static void
longer_than_the_room(void **state)
{
	struct packed_guest driver;
	struct guest *guest = *state;
	uint16_t i;

	packed_start(&driver, guest, 7, 2, true, 0);
	for (i = 0; i < 7; i++)
		packed_offer(&driver, GUEST_BUFFERS, 1, 0, NEXT);
	guest_pop_breaks(guest, "longer than the ring has room");
	packed_start(&driver, guest, 7, 2, true, 0);
	packed_offer(&driver, GUEST_BUFFERS, 1, 0, NEXT);
	packed_offer(&driver, GUEST_BUFFERS, 1, 0, 0);
	for (i = 0; i < 5; i++)
		packed_offer(&driver, GUEST_BUFFERS, 1, 0, NEXT);
	guest_pop(guest);
	/* The first chain's place, which the device did not give back, looks available in the next lap. */
	packed_offer(&driver, GUEST_BUFFERS, 1, 1, 0);
	guest_pop_breaks(guest, "longer than the ring has room");
}

/* More than is free looks available: what is out is not looked at again. */
static void
nothing_beyond_what_is_out(void **state)
{
	struct packed_guest driver;
	struct guest *guest = *state;
	uint16_t i;

	packed_start(&driver, guest, 3, 0, true, 0);
	for (i = 0; i < 3; i++)
		packed_offer(&driver, GUEST_BUFFERS, 1, i, 0);
	for (i = 0; i < 3; i++)
		guest_pop(guest);
	for (i = 0; i < 3; i++)
		packed_offer(&driver, GUEST_BUFFERS, 1, i, 0);
	assert_int_equal(rp_vring_dev_available(&guest->ring), 0);
	assert_int_equal(rp_vring_dev_pop(&guest->ring, &guest->chain), 0);
	/* Nor what was looked at only. */
	packed_start(&driver, guest, 3, 0, true, 0);
	for (i = 0; i < 6; i++) {
		if (i == 3)
			assert_int_equal(rp_vring_dev_peek(&guest->ring, 2, &guest->chain), 1);
		packed_offer(&driver, GUEST_BUFFERS, 1, i % 3, 0);
	}
	assert_int_equal(rp_vring_dev_peek(&guest->ring, 3, &guest->chain), 0);
}

static void
goes_on_in_what_is_not_available(void **state)
{
	static const uint16_t wrong[] = {0, AVAIL | USED, USED};
	struct packed_guest driver;
	struct guest *guest = *state;
	size_t i;

	for (i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		packed_start(&driver, guest, 4, 0, true, 0);
		packed_desc_at(guest, GUEST_DESC_AT, 1, GUEST_BUFFERS, 1, 1, wrong[i]);
		packed_offer(&driver, GUEST_BUFFERS, 1, 1, NEXT);
		guest_pop_breaks(guest, "not available");
	}
	/* Around the end the same bits are the wrong ones. */
	packed_start(&driver, guest, 4, 3, true, 0);
	packed_offer(&driver, GUEST_BUFFERS, 1, 1, NEXT);
	packed_desc_at(guest, GUEST_DESC_AT, 0, GUEST_BUFFERS, 1, 1, AVAIL);
	guest_pop_breaks(guest, "not available");
}

static void
ids_beyond_the_ring(void **state)
{
	static const uint16_t wrong[] = {5, 6, 0x7fff, 0x8000, 0xffff};
	struct packed_guest driver;
	struct guest *guest = *state;
	size_t i;

	for (i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		packed_start(&driver, guest, 5, 0, true, F_INDIRECT_DESC);
		packed_offer(&driver, GUEST_BUFFERS, 4, wrong[i], 0);
		guest_pop_breaks(guest, "buffer id is beyond the ring");
		packed_start(&driver, guest, 5, 0, true, F_INDIRECT_DESC);
		packed_desc_at(guest, TABLE_AT, 0, GUEST_BUFFERS, 4, 0, 0);
		packed_offer(&driver, TABLE, 16, wrong[i], INDIRECT);
		guest_pop_breaks(guest, "buffer id is beyond the ring");
	}
}

static void
ids_that_are_out(void **state)
{
	struct packed_guest driver;
	struct guest *guest = *state;

	packed_start(&driver, guest, 4, 0, true, 0);
	packed_offer(&driver, GUEST_BUFFERS, 4, 2, 0);
	packed_offer(&driver, GUEST_BUFFERS, 4, 2, 0);
	guest_pop(guest);
	guest_pop_breaks(guest, "id is out already");
	/* Also when the first was looked at only; and it is free again once it was given back. */
	packed_start(&driver, guest, 4, 0, true, 0);
	packed_offer(&driver, GUEST_BUFFERS, 4, 2, 0);
	guest_pop(guest);
	assert_int_equal(rp_vring_dev_push(&guest->ring, 2, 0), 0);
	packed_offer(&driver, GUEST_BUFFERS, 4, 2, 0);
	packed_offer(&driver, GUEST_BUFFERS, 4, 2, 0);
	assert_int_equal(rp_vring_dev_peek(&guest->ring, 0, &guest->chain), 1);
	assert_int_equal(rp_vring_dev_peek(&guest->ring, 1, &guest->chain), -EBADMSG);
}

static void
wrong_lists(void **state)
{
	struct packed_guest driver;
	struct guest *guest = *state;

	packed_start(&driver, guest, 4, 0, true, 0);
	packed_offer(&driver, GUEST_BUFFERS, 4, 0, WRITE | NEXT);
	packed_offer(&driver, GUEST_BUFFERS, 4, 0, 0);
	guest_pop_breaks(guest, "follows a writable one");
	packed_start(&driver, guest, 4, 0, true, 0);
	packed_offer(&driver, GUEST_BUFFERS, 4, 0, NEXT);
	packed_offer(&driver, GUEST_BUFFERS, 0, 0, WRITE);
	guest_pop_breaks(guest, "is empty");
	packed_start(&driver, guest, 4, 0, true, F_INDIRECT_DESC);
	packed_offer(&driver, GUEST_BUFFERS, 4, 0, NEXT);
	packed_offer(&driver, TABLE, 16, 0, INDIRECT);
	guest_pop_breaks(guest, "part of a chain");
}

static void
unmapped_buffers(void **state)
{
	static const struct {
		uint64_t iova;
		uint32_t size_bytes;
		const char *words;
	} wrong[] = {
		{0, 1, "not mapped"},
		{GUEST_IOVA - 1, 2, "not mapped"},
		{GUEST_IOVA + GUEST_BYTES, 1, "not mapped"},
		{GUEST_IOVA + GUEST_BYTES - 1, 2, "not mapped"},
		{GUEST_BUFFERS, UINT32_MAX, "not mapped"},
		{UINT64_MAX, 1, "not mapped"},
		{UINT64_MAX, 2, "beyond 2^64"},
	};
	struct packed_guest driver;
	struct guest *guest = *state;
	size_t i;

	for (i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		packed_start(&driver, guest, 4, 0, true, 0);
		packed_offer(&driver, wrong[i].iova, wrong[i].size_bytes, 0, i % 2 == 0 ? WRITE : 0);
		guest_pop_breaks(guest, wrong[i].words);
	}
}

static void
access_is_checked(void **state)
{
	struct packed_guest driver;
	struct guest *guest = *state;

	guest_map(guest, FAR_IOVA, 0, page_bytes(), RP_DMA_READ);
	packed_start(&driver, guest, 4, 0, true, 0);
	packed_offer(&driver, FAR_IOVA, 4, 0, 0);
	packed_offer(&driver, FAR_IOVA, 4, 1, WRITE);
	guest_pop(guest);
	guest_pop_breaks(guest, "not mapped with the access");
}

static void
buffer_across_mappings(void **state)
{
	uint32_t page = page_bytes();
	struct packed_guest driver;
	struct guest *guest = *state;

	guest_map(guest, FAR_IOVA, 3 * page, page, RP_DMA_READ | RP_DMA_WRITE);
	guest_map(guest, FAR_IOVA + page, page, page, RP_DMA_READ | RP_DMA_WRITE);
	packed_start(&driver, guest, 4, 0, true, 0);
	packed_offer(&driver, FAR_IOVA + page - 96, 200, 0, NEXT);
	packed_offer(&driver, FAR_IOVA + 1, 2 * page - 2, 0, WRITE);
	guest_pop(guest);
	assert_counts(guest, 2, 2, 200, 2 * page - 2);
	assert_part(guest, 1, FAR_IOVA + page, 104);
	assert_part(guest, 2, FAR_IOVA + 1, page - 1);
	assert_part(guest, 3, FAR_IOVA + page, page - 1);
}

static void
too_many_parts(void **state)
{
	struct packed_guest driver;
	struct guest *guest = *state;
	uint16_t i;

	packed_start(&driver, guest, 300, 0, true, 0);
	for (i = 0; i < 257; i++)
		packed_offer(&driver, GUEST_BUFFERS, 1, 0, i < 256 ? NEXT : 0);
	guest_pop_breaks(guest, "too many parts");
}

static void
indirect_table(void **state)
{
	struct packed_guest driver;
	struct guest *guest = *state;

	packed_start(&driver, guest, 1, 0, true, F_INDIRECT_DESC);
	packed_desc_at(guest, TABLE_AT, 0, GUEST_BUFFERS, 12, 0xffff, 0);
	packed_desc_at(guest, TABLE_AT, 1, GUEST_BUFFERS + 0x100, 100, 0xffff, WRITE);
	packed_desc_at(guest, TABLE_AT, 2, GUEST_BUFFERS + 0x200, 200, 0xffff, WRITE);
	packed_offer(&driver, TABLE, 48, 0, INDIRECT | WRITE);
	guest_pop(guest);
	assert_int_equal(guest->chain.head, 0);
	assert_counts(guest, 1, 2, 12, 300);
	assert_part(guest, 2, GUEST_BUFFERS + 0x200, 200);
	assert_int_equal(rp_vring_dev_push(&guest->ring, 0, 300), 0);
	assert_int_equal(rp_vring_dev_position(&guest->ring), 0);
}

/* 2.8.7: in a table the device ignores all flags but the writable one. */
static void
flags_in_a_table(void **state)
{
	struct packed_guest driver;
	struct guest *guest = *state;

	packed_start(&driver, guest, 4, 0, true, F_INDIRECT_DESC);
	packed_desc_at(guest, TABLE_AT, 0, GUEST_BUFFERS, 1, 0, (uint16_t)~WRITE);
	packed_desc_at(guest, TABLE_AT, 1, GUEST_BUFFERS, 2, 0, 0xffff);
	packed_offer(&driver, TABLE, 32, 0, INDIRECT);
	guest_pop(guest);
	assert_counts(guest, 1, 1, 1, 2);
}

static void
wrong_indirect_tables(void **state)
{
	static const struct {
		uint64_t iova;
		uint32_t size_bytes;
		uint16_t flags;
		const char *words;
	} cases[] = {
		{TABLE, 0, INDIRECT, "no multiple of 16"},
		{TABLE, 8, INDIRECT, "no multiple of 16"},
		{TABLE, 17, INDIRECT, "no multiple of 16"},
		{TABLE, UINT32_MAX, INDIRECT, "no multiple of 16"},
		{TABLE, 0xfffffff0, INDIRECT, "longer than any queue"},
		{TABLE, 32769 * 16, INDIRECT, "longer than any queue"},
		{TABLE, 257 * 16, INDIRECT, "too many parts"},
		{TABLE, 16, INDIRECT | NEXT, "followed by a descriptor"},
		{TABLE, 32, INDIRECT, "is empty"},
		{0x1000, 16, INDIRECT, "indirect table is not mapped"},
		{GUEST_IOVA + GUEST_BYTES, 16, INDIRECT, "indirect table is not mapped"},
		{UINT64_MAX - 15, 32, INDIRECT, "beyond 2^64"},
	};
	struct packed_guest driver;
	struct guest *guest = *state;
	size_t i;

	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		packed_start(&driver, guest, 4, 0, true, F_INDIRECT_DESC);
		packed_desc_at(guest, TABLE_AT, 0, GUEST_BUFFERS, 16, 0, 0);
		packed_desc_at(guest, TABLE_AT, 1, GUEST_BUFFERS, 0, 0, 0);
		packed_offer(&driver, cases[i].iova, cases[i].size_bytes, 0, cases[i].flags);
		packed_offer(&driver, GUEST_BUFFERS, 1, 0, 0);
		guest_pop_breaks(guest, cases[i].words);
	}
	packed_start(&driver, guest, 4, 0, true, F_EVENT_IDX);
	packed_offer(&driver, TABLE, 16, 0, INDIRECT);
	guest_pop_breaks(guest, "not negotiated");
}

static void
a_table_of_256(void **state)
{
	struct packed_guest driver;
	struct guest *guest = *state;
	uint32_t i;

	packed_start(&driver, guest, 3, 0, true, F_INDIRECT_DESC);
	for (i = 0; i < 256; i++)
		packed_desc_at(guest, TABLE_AT, i, GUEST_BUFFERS + i, 1, 0, i < 100 ? 0 : WRITE);
	packed_offer(&driver, TABLE, 256 * 16, 0, INDIRECT);
	guest_pop(guest);
	assert_counts(guest, 100, 156, 100, 156);
	assert_part(guest, 255, GUEST_BUFFERS + 255, 1);
}

/* At every alignment, with a descriptor that lies half in either of two mappings. */
static void
indirect_table_across_mappings(void **state)
{
	size_t first_page_at = GUEST_BUFFERS_AT + 8 * (size_t)page_bytes(), second_page_at = GUEST_BUFFERS_AT;
	uint32_t page = page_bytes();
	struct packed_guest driver;
	struct guest *guest = *state;
	uint8_t table[3 * 16];
	unsigned int i;

	guest_map(guest, FAR_IOVA, first_page_at, page, RP_DMA_READ);
	guest_map(guest, FAR_IOVA + page, second_page_at, page, RP_DMA_READ);
	for (i = 0; i < 3; i++)
		packed_desc_at(guest, TABLE_AT, i, GUEST_BUFFERS + 0x2000 + i, 10 + i, 0, i < 2 ? 0 : WRITE);
	memcpy(table, guest->memory + TABLE_AT, sizeof(table));
	for (i = 1; i < sizeof(table); i++) {
		memcpy(guest->memory + first_page_at + page - i, table, i);
		memcpy(guest->memory + second_page_at, table + i, sizeof(table) - i);
		packed_start(&driver, guest, 4, 0, true, F_INDIRECT_DESC);
		packed_offer(&driver, FAR_IOVA + page - i, sizeof(table), 0, INDIRECT);
		guest_pop(guest);
		assert_counts(guest, 2, 1, 21, 12);
		assert_part(guest, 1, GUEST_BUFFERS + 0x2001, 11);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_GUEST(readable_then_writable),
		WITH_GUEST(chain_around_the_end),
		WITH_GUEST(a_chain_may_use_the_whole_ring),
		WITH_GUEST(longer_than_the_room),
		WITH_GUEST(nothing_beyond_what_is_out),
		WITH_GUEST(goes_on_in_what_is_not_available),
		WITH_GUEST(ids_beyond_the_ring),
		WITH_GUEST(ids_that_are_out),
		WITH_GUEST(wrong_lists),
		WITH_GUEST(unmapped_buffers),
		WITH_GUEST(access_is_checked),
		WITH_GUEST(buffer_across_mappings),
		WITH_GUEST(too_many_parts),
		WITH_GUEST(indirect_table),
		WITH_GUEST(flags_in_a_table),
		WITH_GUEST(wrong_indirect_tables),
		WITH_GUEST(a_table_of_256),
		WITH_GUEST(indirect_table_across_mappings),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
