/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "guest.h"
#include "rp_wire_fd.h"

#define PAGE_BYTES ((uint32_t)sysconf(_SC_PAGESIZE))
#define FAR_IOVA 0x100000000u /* mapped by the tests that need a second mapping */
#define TABLE_AT (GUEST_BUFFERS_AT + 0x80000u)
#define TABLE ((uint64_t)GUEST_IOVA + TABLE_AT)

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

static void
readable_then_writable(void **state)
{
	struct guest *guest = *state;

	guest_start(guest, 8, 0, 0);
	guest_desc(guest, 7, GUEST_BUFFERS, 12, NEXT, 2);
	guest_desc(guest, 2, GUEST_BUFFERS + 0x1000, 1500, NEXT, 5);
	guest_desc(guest, 5, GUEST_BUFFERS + 0x2001, 1, WRITE | NEXT, 0);
	guest_desc(guest, 0, GUEST_BUFFERS + 0x3000, 64, WRITE, 0);
	guest_offer(guest, 7);
	guest_pop(guest);
	assert_int_equal(guest->chain.head, 7);
	assert_counts(guest, 2, 2, 1512, 65);
	assert_part(guest, 0, GUEST_BUFFERS, 12);
	assert_part(guest, 1, GUEST_BUFFERS + 0x1000, 1500);
	assert_part(guest, 2, GUEST_BUFFERS + 0x2001, 1);
	assert_part(guest, 3, GUEST_BUFFERS + 0x3000, 64);
}

/* 2.7.5: `next` means something only with its flag; unknown flags are not ours to judge. */
static void
next_without_its_flag_is_ignored(void **state)
{
	struct guest *guest = *state;

	guest_start(guest, 2, 0, 0);
	guest_desc(guest, 1, GUEST_BUFFERS, 4, 0xfff8, 0xffff);
	guest_offer(guest, 1);
	guest_pop(guest);
	assert_counts(guest, 1, 0, 4, 0);
}

static void
a_chain_may_use_the_whole_table(void **state)
{
	struct guest *guest = *state;
	uint16_t i;

	guest_start(guest, 256, 0, 0);
	for (i = 0; i < 256; i++)
		guest_desc(guest, i, GUEST_BUFFERS + i, 1, i == 0 ? WRITE : NEXT | (i <= 100 ? WRITE : 0),
			   (uint16_t)(i - 1));
	guest_offer(guest, 255);
	guest_pop(guest);
	assert_counts(guest, 155, 101, 155, 101);
}

static void
indices_beyond_the_table(void **state)
{
	static const uint16_t wrong[] = {4, 5, 255, 0x7fff, 0x8000, 0xffff};
	struct guest *guest = *state;
	size_t i;

	for (i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		guest_start(guest, 4, 0, 0);
		guest_desc(guest, 3, GUEST_BUFFERS, 4, NEXT, wrong[i]);
		guest_offer(guest, 3);
		guest_pop_breaks(guest, "beyond its table");
		guest_start(guest, 4, 0, 0);
		guest_offer(guest, wrong[i]);
		guest_pop_breaks(guest, "beyond its table");
	}
}

static void
loops_end(void **state)
{
	struct guest *guest = *state;
	uint16_t length, i;

	for (length = 1; length <= 8; length++) {
		guest_start(guest, 8, 0, 0);
		for (i = 0; i < length; i++)
			guest_desc(guest, i, GUEST_BUFFERS, 1, NEXT, (uint16_t)((i + 1) % length));
		guest_offer(guest, 0);
		guest_pop_breaks(guest, "longer than its table");
	}
	guest_start(guest, 32768, 0, 0);
	guest_desc(guest, 9, GUEST_BUFFERS, 1, NEXT, 9);
	guest_offer(guest, 9);
	guest_pop_breaks(guest, "too many parts");
}

static void
readable_after_writable(void **state)
{
	struct guest *guest = *state;

	guest_start(guest, 4, 0, 0);
	guest_desc(guest, 0, GUEST_BUFFERS, 4, WRITE | NEXT, 1);
	guest_desc(guest, 1, GUEST_BUFFERS, 4, 0, 0);
	guest_offer(guest, 0);
	guest_pop_breaks(guest, "follows a writable one");
}

static void
empty_descriptor(void **state)
{
	struct guest *guest = *state;

	guest_start(guest, 4, 0, 0);
	guest_desc(guest, 0, GUEST_BUFFERS, 4, NEXT, 1);
	guest_desc(guest, 1, GUEST_BUFFERS, 0, WRITE, 0);
	guest_offer(guest, 0);
	guest_pop_breaks(guest, "is empty");
}

static void
unmapped_buffers(void **state)
{
	static const struct {
		uint64_t iova;
		uint32_t size_bytes;
	} wrong[] = {
		{0, 1},
		{GUEST_IOVA - 1, 1},
		{GUEST_IOVA - 1, 2},
		{GUEST_IOVA + GUEST_BYTES, 1},
		{GUEST_IOVA + GUEST_BYTES - 1, 2},
		{GUEST_BUFFERS, UINT32_MAX},
		{UINT64_MAX, 1},
	};
	struct guest *guest = *state;
	size_t i;

	for (i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		guest_start(guest, 4, 0, 0);
		guest_desc(guest, 0, wrong[i].iova, wrong[i].size_bytes, i % 2 == 0 ? WRITE : 0, 0);
		guest_offer(guest, 0);
		guest_pop_breaks(guest, "not mapped");
	}
}

/* Around the end of the address space lies address 0, which may be mapped as well as the end. */
static void
buffer_around_the_end(void **state)
{
	struct guest *guest = *state;

	guest_map(guest, 0, 0, PAGE_BYTES, RP_DMA_READ);
	guest_map(guest, UINT64_MAX - PAGE_BYTES + 1, 0, PAGE_BYTES, RP_DMA_READ);
	guest_start(guest, 4, 0, F_INDIRECT_DESC);
	guest_desc(guest, 0, UINT64_MAX, 1, 0, 0);
	guest_offer(guest, 0);
	guest_pop(guest);
	guest_desc(guest, 0, UINT64_MAX, 2, 0, 0);
	guest_offer(guest, 0);
	guest_pop_breaks(guest, "beyond 2^64");
	guest_start(guest, 4, 0, F_INDIRECT_DESC);
	guest_desc(guest, 0, UINT64_MAX - 15, 32, INDIRECT, 0);
	guest_offer(guest, 0);
	guest_pop_breaks(guest, "beyond 2^64");
}

static void
access_is_checked(void **state)
{
	struct guest *guest = *state;

	guest_map(guest, FAR_IOVA, 0, PAGE_BYTES, RP_DMA_READ);
	guest_map(guest, FAR_IOVA + PAGE_BYTES, 0, PAGE_BYTES, RP_DMA_WRITE);
	guest_start(guest, 4, 0, 0);
	guest_desc(guest, 0, FAR_IOVA, 4, NEXT, 1);
	guest_desc(guest, 1, FAR_IOVA + PAGE_BYTES, 4, WRITE, 0);
	guest_offer(guest, 0);
	guest_pop(guest);
	assert_counts(guest, 1, 1, 4, 4);
	guest_desc(guest, 0, FAR_IOVA, 4, WRITE, 0);
	guest_offer(guest, 0);
	guest_pop_breaks(guest, "not mapped with the access");
	guest_start(guest, 4, 0, 0);
	guest_desc(guest, 0, FAR_IOVA + PAGE_BYTES, 4, 0, 0);
	guest_offer(guest, 0);
	guest_pop_breaks(guest, "not mapped with the access");
}

/* Neighbours in the guest's addresses may lie anywhere in ours. */
static void
buffer_across_mappings(void **state)
{
	struct guest *guest = *state;

	guest_map(guest, FAR_IOVA, 3 * PAGE_BYTES, PAGE_BYTES, RP_DMA_READ | RP_DMA_WRITE);
	guest_map(guest, FAR_IOVA + PAGE_BYTES, PAGE_BYTES, PAGE_BYTES, RP_DMA_READ | RP_DMA_WRITE);
	guest_map(guest, FAR_IOVA + 2 * PAGE_BYTES, 0, PAGE_BYTES, RP_DMA_WRITE);
	guest_start(guest, 4, 0, 0);
	guest_desc(guest, 0, FAR_IOVA + PAGE_BYTES - 96, 200, NEXT, 1);
	guest_desc(guest, 1, FAR_IOVA + 1, 3 * PAGE_BYTES - 2, WRITE, 0);
	guest_offer(guest, 0);
	guest_pop(guest);
	assert_counts(guest, 2, 3, 200, 3 * PAGE_BYTES - 2);
	assert_part(guest, 0, FAR_IOVA + PAGE_BYTES - 96, 96);
	assert_part(guest, 1, FAR_IOVA + PAGE_BYTES, 104);
	assert_part(guest, 2, FAR_IOVA + 1, PAGE_BYTES - 1);
	assert_part(guest, 3, FAR_IOVA + PAGE_BYTES, PAGE_BYTES);
	assert_ptr_equal(guest->chain.iov[4].iov_base,
			 rp_dma_space_translate(guest->space, FAR_IOVA + 2 * PAGE_BYTES, 1, RP_DMA_WRITE));
	assert_int_equal(guest->chain.iov[4].iov_len, PAGE_BYTES - 1);
	guest_desc(guest, 0, FAR_IOVA + PAGE_BYTES, 2 * PAGE_BYTES, 0, 0);
	guest_offer(guest, 0);
	guest_pop_breaks(guest, "not mapped");
}

static void
too_many_parts(void **state)
{
	struct guest *guest = *state;
	uint16_t i;

	guest_map(guest, FAR_IOVA, 0, PAGE_BYTES, RP_DMA_READ);
	guest_map(guest, FAR_IOVA + PAGE_BYTES, 0, PAGE_BYTES, RP_DMA_READ);
	guest_start(guest, 512, 0, 0);
	for (i = 0; i < 257; i++)
		guest_desc(guest, i, GUEST_BUFFERS, 1, i < 255 ? NEXT : 0, (uint16_t)(i + 1));
	guest_offer(guest, 0);
	guest_pop(guest);
	assert_counts(guest, 256, 0, 256, 0);
	/* The last buffer becomes two parts. */
	guest_desc(guest, 255, FAR_IOVA + PAGE_BYTES - 1, 2, 0, 0);
	guest_offer(guest, 0);
	guest_pop_breaks(guest, "too many parts");
	guest_start(guest, 512, 0, 0);
	for (i = 0; i < 257; i++)
		guest_desc(guest, i, GUEST_BUFFERS, 1, i < 256 ? NEXT : 0, (uint16_t)(i + 1));
	guest_offer(guest, 0);
	guest_pop_breaks(guest, "too many parts");
}

/* Lengths are summed in 32 bits; 2^32 is not 0. Nothing of the 4 GiB is ever touched. */
static void
lengths_do_not_wrap(void **state)
{
	struct guest *guest = *state;
	struct rp_dma_mapping mapping = {
		.iova = FAR_IOVA,
		.size_bytes = 0x100000000,
		.access_mask = RP_DMA_READ | RP_DMA_WRITE,
	};

	mapping.fd = test_memfd(mapping.size_bytes, true);
	rp_dma_reader_offline(guest->reader);
	assert_int_equal(rp_dma_space_map(guest->space, &mapping, NULL), 0);
	rp_wire_fd_close(&mapping.fd);
	rp_dma_reader_online(guest->reader);
	guest_start(guest, 4, 0, 0);
	guest_desc(guest, 0, FAR_IOVA, 0x80000000, WRITE | NEXT, 1);
	guest_desc(guest, 1, FAR_IOVA, 0x7fffffff, WRITE, 0);
	guest_offer(guest, 0);
	guest_pop(guest);
	assert_counts(guest, 0, 2, 0, UINT32_MAX);
	guest_desc(guest, 1, FAR_IOVA, 0x80000000, WRITE, 0);
	guest_offer(guest, 0);
	guest_pop_breaks(guest, "longer than 2^32");
}

static void
indirect_table(void **state)
{
	struct guest *guest = *state;

	guest_start(guest, 1, 0, F_INDIRECT_DESC);
	guest_desc_at(guest, TABLE_AT, 0, GUEST_BUFFERS, 12, NEXT, 2);
	guest_desc_at(guest, TABLE_AT, 2, GUEST_BUFFERS + 0x100, 100, NEXT | WRITE, 1);
	guest_desc_at(guest, TABLE_AT, 1, GUEST_BUFFERS + 0x200, 200, WRITE, 0xffff);
	guest_desc(guest, 0, TABLE, 48, INDIRECT, 0);
	guest_offer(guest, 0);
	guest_pop(guest);
	assert_int_equal(guest->chain.head, 0);
	assert_counts(guest, 1, 2, 12, 300);
	assert_part(guest, 2, GUEST_BUFFERS + 0x200, 200);
}

/* 2.7.5.3.2: ordinary descriptors may come before it, and its writable flag is to be ignored. */
static void
indirect_table_at_the_end(void **state)
{
	struct guest *guest = *state;

	guest_start(guest, 4, 0, F_INDIRECT_DESC);
	guest_desc(guest, 3, GUEST_BUFFERS, 10, NEXT, 1);
	guest_desc(guest, 1, TABLE, 32, INDIRECT | WRITE, 0xffff);
	guest_desc_at(guest, TABLE_AT, 0, GUEST_BUFFERS, 20, NEXT, 1);
	guest_desc_at(guest, TABLE_AT, 1, GUEST_BUFFERS, 30, WRITE, 0);
	guest_offer(guest, 3);
	guest_pop(guest);
	assert_counts(guest, 2, 1, 30, 30);
	/* The order of readable and writable ones holds across the border. */
	guest_desc(guest, 3, GUEST_BUFFERS, 10, WRITE | NEXT, 1);
	guest_offer(guest, 3);
	guest_pop_breaks(guest, "follows a writable one");
}

struct table_case {
	uint64_t iova;
	uint32_t size_bytes;
	uint16_t flags;
	uint16_t inner_flags;
	uint16_t inner_next;
	const char *words;
};

static void
wrong_indirect_tables(void **state)
{
	static const struct table_case cases[] = {
		{TABLE, 0, INDIRECT, 0, 0, "no multiple of 16"},
		{TABLE, 8, INDIRECT, 0, 0, "no multiple of 16"},
		{TABLE, 17, INDIRECT, 0, 0, "no multiple of 16"},
		{TABLE, UINT32_MAX, INDIRECT, 0, 0, "no multiple of 16"},
		{TABLE, 0xfffffff0, INDIRECT, 0, 0, "longer than any queue"},
		{TABLE, 32769 * 16, INDIRECT, 0, 0, "longer than any queue"},
		{TABLE, 16, INDIRECT | NEXT, 0, 0, "followed by a descriptor"},
		{TABLE, 32, INDIRECT, INDIRECT, 0, "refers to another"},
		{TABLE, 32, INDIRECT, NEXT, 2, "beyond its table"},
		{TABLE, 32, INDIRECT, NEXT, 0xffff, "beyond its table"},
		{TABLE, 32, INDIRECT, NEXT, 0, "longer than its table"},
		{0x1000, 16, INDIRECT, 0, 0, "indirect table is not mapped"},
		{GUEST_IOVA + GUEST_BYTES, 16, INDIRECT, 0, 0, "indirect table is not mapped"},
	};
	struct guest *guest = *state;
	size_t i;

	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const struct table_case *c = &cases[i];

		guest_start(guest, 4, 0, F_INDIRECT_DESC);
		guest_desc(guest, 0, c->iova, c->size_bytes, c->flags, 1);
		guest_desc(guest, 1, GUEST_BUFFERS, 1, 0, 0);
		guest_desc_at(guest, TABLE_AT, 0, c->inner_flags == INDIRECT ? TABLE : GUEST_BUFFERS, 16,
			      c->inner_flags, c->inner_next);
		guest_offer(guest, 0);
		guest_pop_breaks(guest, c->words);
	}
}

static void
indirect_table_not_negotiated(void **state)
{
	struct guest *guest = *state;

	guest_start(guest, 4, 0, F_EVENT_IDX);
	guest_desc(guest, 0, TABLE, 16, INDIRECT, 0);
	guest_desc_at(guest, TABLE_AT, 0, GUEST_BUFFERS, 1, 0, 0);
	guest_offer(guest, 0);
	guest_pop_breaks(guest, "not negotiated");
}

/* A table may be far longer than a chain: what counts is what is followed. */
static void
long_indirect_tables(void **state)
{
	struct guest *guest = *state;
	uint32_t i;

	guest_start(guest, 2, 0, F_INDIRECT_DESC);
	for (i = 0; i < 32768; i++)
		guest_desc_at(guest, TABLE_AT, i, GUEST_BUFFERS, 1, i < 255 ? NEXT : 0, (uint16_t)(i + 1));
	guest_desc(guest, 0, TABLE, 32768 * 16, INDIRECT, 0);
	guest_offer(guest, 0);
	guest_pop(guest);
	assert_counts(guest, 256, 0, 256, 0);
	guest_desc_at(guest, TABLE_AT, 255, GUEST_BUFFERS, 1, NEXT, 32767);
	guest_offer(guest, 0);
	guest_pop_breaks(guest, "too many parts");
}

/* A table at an odd address, one of whose descriptors lies half in either of two mappings. */
static void
indirect_table_across_mappings(void **state)
{
	struct guest *guest = *state;
	size_t first_page_at = GUEST_BUFFERS_AT + 8 * PAGE_BYTES, second_page_at = GUEST_BUFFERS_AT;
	uint8_t table[3 * 16];
	unsigned int i;

	guest_map(guest, FAR_IOVA, first_page_at, PAGE_BYTES, RP_DMA_READ);
	guest_map(guest, FAR_IOVA + PAGE_BYTES, second_page_at, PAGE_BYTES, RP_DMA_READ);
	for (i = 0; i < 3; i++)
		guest_desc_at(guest, TABLE_AT, i, GUEST_BUFFERS + 0x2000 + i, 10 + i, i < 2 ? NEXT : WRITE,
			      (uint16_t)(i + 1));
	memcpy(table, guest->memory + TABLE_AT, sizeof(table));
	for (i = 1; i < sizeof(table); i++) {
		memset(guest->memory + first_page_at, 0xff, PAGE_BYTES);
		memset(guest->memory + second_page_at, 0xff, PAGE_BYTES);
		memcpy(guest->memory + first_page_at + PAGE_BYTES - i, table, i);
		memcpy(guest->memory + second_page_at, table + i, sizeof(table) - i);
		guest_start(guest, 4, 0, F_INDIRECT_DESC);
		guest_desc(guest, 0, FAR_IOVA + PAGE_BYTES - i, sizeof(table), INDIRECT, 0);
		guest_offer(guest, 0);
		guest_pop(guest);
		assert_counts(guest, 2, 1, 21, 12);
		assert_part(guest, 1, GUEST_BUFFERS + 0x2001, 11);
	}
	guest_unmap(guest, FAR_IOVA + PAGE_BYTES, PAGE_BYTES);
	guest_offer(guest, 0);
	guest_pop_breaks(guest, "indirect table is not mapped");
}

/* What only others reach: everything before it can be published, and it is still there. */
static void
out_of_reach_is_mended(void **state)
{
	struct guest *guest = *state;
	uint32_t id, len;

	guest_start(guest, 8, 0, F_INDIRECT_DESC);
	assert_false(rp_vring_dev_mend(&guest->ring));
	guest_desc(guest, 0, GUEST_BUFFERS, 64, 0, 0);
	guest_desc(guest, 1, FAR_IOVA, 64, 0, 0);
	guest_desc(guest, 2, FAR_IOVA, 64, INDIRECT, 0);
	guest_offer(guest, 0);
	guest_offer(guest, 1);
	guest_pop(guest);
	assert_int_equal(rp_vring_dev_fill(&guest->ring, 0, 0, 0), 0);
	guest_pop_breaks(guest, "a buffer is not mapped");
	assert_true(rp_vring_dev_mend(&guest->ring));
	assert_null(rp_vring_dev_why(&guest->ring));
	assert_int_equal(rp_vring_dev_publish(&guest->ring, 1), 0);
	guest_used(guest, 0, &id, &len);
	assert_int_equal(guest_used_index(guest), 1);
	assert_int_equal(rp_vring_dev_position(&guest->ring), 1);
	guest_pop_breaks(guest, "a buffer is not mapped");
	guest_start(guest, 8, 0, F_INDIRECT_DESC);
	guest_desc(guest, 2, FAR_IOVA, 64, INDIRECT, 0);
	guest_offer(guest, 2);
	guest_pop_breaks(guest, "table is not mapped");
	assert_true(rp_vring_dev_mend(&guest->ring));
	/* What the driver did wrong is not. */
	guest_desc(guest, 2, FAR_IOVA, 63, INDIRECT, 0);
	guest_pop_breaks(guest, "no multiple of 16");
	assert_false(rp_vring_dev_mend(&guest->ring));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_GUEST(readable_then_writable),
		WITH_GUEST(next_without_its_flag_is_ignored),
		WITH_GUEST(a_chain_may_use_the_whole_table),
		WITH_GUEST(indices_beyond_the_table),
		WITH_GUEST(loops_end),
		WITH_GUEST(readable_after_writable),
		WITH_GUEST(empty_descriptor),
		WITH_GUEST(unmapped_buffers),
		WITH_GUEST(buffer_around_the_end),
		WITH_GUEST(access_is_checked),
		WITH_GUEST(buffer_across_mappings),
		WITH_GUEST(too_many_parts),
		WITH_GUEST(lengths_do_not_wrap),
		WITH_GUEST(indirect_table),
		WITH_GUEST(indirect_table_at_the_end),
		WITH_GUEST(wrong_indirect_tables),
		WITH_GUEST(indirect_table_not_negotiated),
		WITH_GUEST(long_indirect_tables),
		WITH_GUEST(indirect_table_across_mappings),
		WITH_GUEST(out_of_reach_is_mended),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
