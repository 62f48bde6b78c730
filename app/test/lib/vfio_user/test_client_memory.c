/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "test_support.h"
#include "vfu_client_memory.h"

/* What of our memory the server may reach: adding, splitting, taking out, putting back. */

static struct rp_vfu_memory memory, taken;
static uint8_t bytes[0x4000];

static struct rp_vfu_backing *
add(uint64_t iova, uint64_t size_bytes, void *hva)
{
	const struct rp_vfu_client_memory given = {
		.iova = iova, .size_bytes = size_bytes, .fd = -1, .hva = hva, .access_mask = 3};
	struct rp_vfu_backing *backing = NULL;

	assert_int_equal(rp_vfu_memory_add(&memory, &given, &backing, NULL), 0);
	return backing;
}

static int
error_of(uint64_t iova, uint64_t size_bytes, uint32_t access_mask)
{
	const struct rp_vfu_client_memory given = {
		.iova = iova, .size_bytes = size_bytes, .fd = -1, .hva = bytes, .access_mask = access_mask};
	struct rp_vfu_backing *backing = NULL;
	size_t before = memory.count;
	int rc = rp_vfu_memory_add(&memory, &given, &backing, NULL);

	if (rc == 0)
		rp_vfu_backing_put(backing);
	else
		assert_int_equal(memory.count, before);
	return rc;
}

static const uint8_t *
at(uint64_t iova)
{
	const struct rp_vfu_range *range = rp_vfu_memory_find(&memory, iova);

	return range == NULL ? NULL : range->hva + (iova - range->iova);
}

static int
teardown(void **state)
{
	(void)state;
	rp_vfu_memory_clear(&memory);
	rp_vfu_memory_clear(&taken);
	return 0;
}

static void
test_overlaps_and_edges(void **state)
{
	(void)state;
	rp_vfu_backing_put(add(0x2000, 0x1000, bytes));
	rp_vfu_backing_put(add(UINT64_MAX - 0xfff, 0x1000, bytes + 0x1000));
	assert_int_equal(error_of(0x2000, 0x1000, 3), -EEXIST);
	assert_int_equal(error_of(0x1fff, 2, 3), -EEXIST);
	assert_int_equal(error_of(0x2fff, 2, 3), -EEXIST);
	assert_int_equal(error_of(0x2800, 1, 3), -EEXIST);
	assert_int_equal(error_of(0x1000, 0x3000, 3), -EEXIST);
	assert_int_equal(error_of(UINT64_MAX, 1, 3), -EEXIST);
	assert_int_equal(error_of(0x1000, 0, 3), -EINVAL);
	assert_int_equal(error_of(UINT64_MAX, 2, 3), -EINVAL);
	assert_int_equal(error_of(0x8000, 1, 0), -EINVAL);
	assert_int_equal(error_of(0x8000, 1, 4), -EINVAL);
	assert_int_equal(error_of(0x1000, 0x1000, 1), 0);
	assert_int_equal(error_of(0x3000, 0x1000, 2), 0);
	assert_null(at(0xfff));
	assert_ptr_equal(at(0x2fff), bytes + 0xfff);
	assert_ptr_equal(at(UINT64_MAX), bytes + 0x1fff);
	assert_null(at(0x4000));
}

static void
test_taking_splits_and_putting_back_heals(void **state)
{
	(void)state;
	rp_vfu_backing_put(add(0x1000, 0x1000, bytes));
	rp_vfu_backing_put(add(0x2000, 0x1000, bytes + 0x1000));
	rp_vfu_backing_put(add(0x5000, 0x1000, bytes + 0x2000));
	assert_int_equal(rp_vfu_memory_take(&memory, 0x1400, 0x27ff, &taken), 0);
	assert_ptr_equal(at(0x13ff), bytes + 0x3ff);
	assert_null(at(0x1400));
	assert_null(at(0x27ff));
	assert_ptr_equal(at(0x2800), bytes + 0x1800);
	assert_int_equal(taken.count, 2);
	/* The hole is free for something else, which keeps its place. */
	rp_vfu_backing_put(add(0x1800, 0x100, bytes + 0x3000));
	rp_vfu_memory_put_back(&memory, &taken);
	assert_ptr_equal(at(0x1800), bytes + 0x3000);
	assert_null(at(0x1400));
	assert_ptr_equal(at(0x2000), bytes + 0x1000);
	assert_int_equal(taken.count, 0);
	/* From the middle, and from where nothing is. */
	assert_int_equal(rp_vfu_memory_take(&memory, 0x5100, 0x51ff, &taken), 0);
	assert_ptr_equal(at(0x50ff), bytes + 0x20ff);
	assert_null(at(0x5100));
	assert_ptr_equal(at(0x5200), bytes + 0x2200);
	rp_vfu_memory_clear(&taken);
	assert_int_equal(rp_vfu_memory_take(&memory, 0x9000, UINT64_MAX, &taken), 0);
	assert_int_equal(taken.count, 0);
	assert_int_equal(rp_vfu_memory_take(&memory, 0, UINT64_MAX, &taken), 0);
	assert_int_equal(memory.count, 0);
}

static void
test_what_was_refused_goes_everywhere(void **state)
{
	struct rp_vfu_backing *backing = add(0x1000, 0x3000, bytes);

	(void)state;
	assert_int_equal(rp_vfu_memory_take(&memory, 0x2000, 0x2fff, &taken), 0);
	assert_int_equal(memory.count, 2);
	rp_vfu_memory_refuse(&memory, backing);
	assert_int_equal(memory.count, 0);
	/* The part that waits for an unmap's reply does not come back. */
	rp_vfu_memory_put_back(&memory, &taken);
	assert_int_equal(memory.count, 0);
	rp_vfu_backing_put(backing);
}

static void
test_descriptors_are_mapped_once_and_whole(void **state)
{
	struct rp_vfu_client_memory given = {
		.iova = 0x1000, .size_bytes = 0x2000, .offset_bytes = 0x10, .access_mask = 3};
	struct rp_vfu_backing *backing;
	struct test_leaks before;
	uint8_t byte = 'f';

	(void)state;
	test_leaks_read(&before);
	given.fd = test_memfd(0x2010, false);
	assert_int_equal(pwrite(given.fd, &byte, 1, 0x10), 1);
	assert_int_equal(rp_vfu_memory_add(&memory, &given, &backing, NULL), 0);
	rp_vfu_backing_put(backing);
	assert_int_equal(*at(0x1000), 'f');
	/* A split shares it; the last part unmaps it. */
	assert_int_equal(rp_vfu_memory_take(&memory, 0x1800, 0x1fff, &taken), 0);
	rp_vfu_memory_clear(&memory);
	assert_int_equal(taken.ranges[0].hva[0], 0);
	rp_vfu_memory_clear(&taken);
	/* Files that are too short, and descriptors of another kind, are not in this process. */
	given.offset_bytes = 0x11;
	assert_int_equal(rp_vfu_memory_add(&memory, &given, &backing, NULL), 0);
	rp_vfu_backing_put(backing);
	assert_null(rp_vfu_memory_find(&memory, 0x1000)->hva);
	given.iova = 0x8000;
	given.offset_bytes = UINT64_MAX - 0xfff;
	assert_int_equal(rp_vfu_memory_add(&memory, &given, &backing, NULL), 0);
	rp_vfu_backing_put(backing);
	assert_null(rp_vfu_memory_find(&memory, 0x8000)->hva);
	rp_vfu_memory_clear(&memory);
	close(given.fd);
	test_leaks_assert_none(&before);
}

/* Any part of a file in huge pages is reached, and nothing of it stays mapped. */
static void
test_huge_pages(void **state)
{
	struct rp_vfu_client_memory given = {
		.iova = 0xc0000,
		.size_bytes = 0x40000,
		.offset_bytes = TEST_HUGE_PAGE_BYTES + 0xc0000,
		.access_mask = 3,
	};
	struct rp_vfu_backing *backing;
	struct test_leaks before;

	(void)state;
	given.fd = test_huge_memfd(2 * TEST_HUGE_PAGE_BYTES);
	test_leaks_read(&before);
	assert_int_equal(rp_vfu_memory_add(&memory, &given, &backing, NULL), 0);
	rp_vfu_backing_put(backing);
	assert_non_null(rp_vfu_memory_find(&memory, 0xc0000)->hva);
	*rp_vfu_memory_find(&memory, 0xc0000)->hva = 'f';
	rp_vfu_memory_clear(&memory);
	given.offset_bytes = TEST_HUGE_PAGE_BYTES;
	given.size_bytes = 0x100000;
	assert_int_equal(rp_vfu_memory_add(&memory, &given, &backing, NULL), 0);
	rp_vfu_backing_put(backing);
	assert_int_equal(*at(0x180000), 'f');
	rp_vfu_memory_clear(&memory);
	test_leaks_assert_none(&before);
	close(given.fd);
}

/* Thousands, added from both ends, found one by one. */
static void
test_many(void **state)
{
	uint64_t i;

	(void)state;
	for (i = 0; i < 5000; i++)
		rp_vfu_backing_put(add(((i % 2 == 0) ? i : 10000 - i) * 0x1000, 0x800, bytes));
	assert_int_equal(memory.count, 5000);
	for (i = 0; i < 5000; i++) {
		uint64_t iova = ((i % 2 == 0) ? i : 10000 - i) * 0x1000;

		assert_ptr_equal(at(iova + 0x7ff), bytes + 0x7ff);
		assert_null(at(iova + 0x800));
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(test_overlaps_and_edges, teardown),
		cmocka_unit_test_teardown(test_taking_splits_and_putting_back_heals, teardown),
		cmocka_unit_test_teardown(test_what_was_refused_goes_everywhere, teardown),
		cmocka_unit_test_teardown(test_descriptors_are_mapped_once_and_whole, teardown),
		cmocka_unit_test_teardown(test_huge_pages, teardown),
		cmocka_unit_test_teardown(test_many, teardown),
	};

	return cmocka_run_group_tests_name("vfio-user client: memory", tests, NULL, NULL);
}
