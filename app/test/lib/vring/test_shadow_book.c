/* SPDX-License-Identifier: BSD-3-Clause */
#include "shadow_book.h"
#include "test_support.h"

/* What is remembered of chains: their order, their descriptors, and that room comes back. */

#define NUM 4u
#define F_INDIRECT_DESC (UINT64_C(1) << 28)

static struct rp_vring_chain chain;

/* A chain of the ring's own parts, which begin at `iova` and are 16 bytes apart. */
static struct shadow_chain *
add(struct shadow_book *book, uint64_t iova, uint16_t out_count, uint16_t in_count)
{
	const struct shadow_taken taken = {.at = iova, .out_count = out_count, .in_count = in_count};
	uint16_t i;

	chain.head = (uint16_t)iova;
	chain.out_count = out_count;
	chain.in_count = in_count;
	chain.in_bytes = 10u * in_count;
	for (i = 0; i < out_count + in_count; i++)
		chain.spans[i] = (struct rp_vring_span){.iova = iova + 16u * i, .size_bytes = 10};
	return rp_vring_shadow_book_add(book, &taken, &chain);
}

static void
assert_order(const struct shadow_book *book, const uint16_t *heads, uint16_t count)
{
	const struct shadow_chain *entry = shadow_book_oldest(book);
	uint16_t i;

	assert_int_equal(book->out_count, count);
	for (i = 0; i < count; i++, entry = shadow_book_next(book, entry)) {
		assert_non_null(entry);
		assert_int_equal(entry->head, heads[i]);
	}
	assert_null(entry);
}

static void
oldest_first_whatever_goes(void **state)
{
	struct shadow_book book;
	struct shadow_chain *entries[NUM];
	uint16_t i;

	(void)state;
	assert_int_equal(rp_vring_shadow_book_open(&book, NUM, 0), 0);
	assert_order(&book, NULL, 0);
	for (i = 0; i < NUM; i++)
		entries[i] = add(&book, i, 1, 0);
	assert_order(&book, (const uint16_t[]){0, 1, 2, 3}, 4);
	rp_vring_shadow_book_remove(&book, entries[1]);
	assert_order(&book, (const uint16_t[]){0, 2, 3}, 3);
	rp_vring_shadow_book_remove(&book, entries[0]);
	assert_order(&book, (const uint16_t[]){2, 3}, 2);
	rp_vring_shadow_book_remove(&book, entries[3]);
	assert_order(&book, (const uint16_t[]){2}, 1);
	add(&book, 9, 0, 1);
	assert_order(&book, (const uint16_t[]){2, 9}, 2);
	rp_vring_shadow_book_remove(&book, entries[2]);
	rp_vring_shadow_book_remove(&book, shadow_book_oldest(&book));
	assert_order(&book, NULL, 0);
	rp_vring_shadow_book_close(&book);
}

static void
descriptors_are_what_they_were(void **state)
{
	struct rp_vring_part parts[RP_VRING_SEGMENTS_MAX + 1];
	struct shadow_taken taken = {
		.at = UINT64_C(1) << 40, .out_count = 1, .in_count = 1, .table = {.iova = 0x9000, .size_bytes = 32}};
	const struct shadow_chain *entry;
	struct shadow_book book;
	uint16_t i;

	(void)state;
	assert_int_equal(rp_vring_shadow_book_open(&book, NUM, F_INDIRECT_DESC), 0);
	chain = (struct rp_vring_chain){.head = 3, .out_count = 1, .in_count = 3, .in_bytes = 30};
	for (i = 0; i < 4; i++)
		chain.spans[i] = (struct rp_vring_span){.iova = 0x1000u * i, .size_bytes = UINT32_MAX - i};
	entry = rp_vring_shadow_book_add(&book, &taken, &chain);
	memset(&chain, 0xff, sizeof(chain));
	assert_int_equal(entry->in_bytes, 30);
	assert_int_equal(entry->table_in_count, 2);
	assert_int_equal(entry->taken_at, UINT64_C(1) << 40);
	assert_int_equal(shadow_desc_count(entry), 3);
	assert_int_equal(rp_vring_shadow_book_parts(&book, entry, parts), 3);
	assert_int_equal(parts[0].iova, 0);
	assert_int_equal(parts[0].size_bytes, UINT32_MAX);
	assert_false(parts[0].device_writes);
	assert_int_equal(parts[1].iova, 0x1000);
	assert_true(parts[1].device_writes);
	assert_int_equal(parts[2].iova, 0x9000);
	assert_int_equal(parts[2].size_bytes, 32);
	assert_false(parts[2].device_writes);
	rp_vring_shadow_book_close(&book);
}

/* As many chains, parts and tables as a ring can have out, over and over. */
static void
room_comes_back(void **state)
{
	struct shadow_taken taken = {.table = {.iova = 0x9000, .size_bytes = 16 * RP_VRING_SEGMENTS_MAX}};
	struct shadow_book book;
	unsigned int round;
	uint16_t i;

	(void)state;
	assert_int_equal(rp_vring_shadow_book_open(&book, NUM, F_INDIRECT_DESC), 0);
	for (round = 0; round < 100; round++) {
		for (i = 0; i < NUM; i++) {
			chain = (struct rp_vring_chain){.head = i, .in_count = RP_VRING_SEGMENTS_MAX};
			rp_vring_shadow_book_add(&book, &taken, &chain);
		}
		assert_true(book.fresh_part == NUM * (1 + RP_VRING_SEGMENTS_MAX));
		assert_int_equal(book.fresh_chain, NUM);
		for (i = 0; i < NUM; i++)
			rp_vring_shadow_book_remove(&book, &book.chains[(i + round) % NUM]);
		assert_order(&book, NULL, 0);
	}
	rp_vring_shadow_book_close(&book);
	memset(&book, 0, sizeof(book));
	rp_vring_shadow_book_close(&book);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(oldest_first_whatever_goes),
		cmocka_unit_test(descriptors_are_what_they_were),
		cmocka_unit_test(room_comes_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
