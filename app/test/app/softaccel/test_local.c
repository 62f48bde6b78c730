/* SPDX-License-Identifier: BSD-3-Clause */
#include <string.h>

#include "rp_vring_dev.h"
#include "sa_local.h"
#include "test_support.h"

/* The local ring as the data path finds it: sizes and directions of the guest's chains. */

#define IOVA UINT64_C(0x100000000)

static struct {
	struct test_leaks before;
	struct rp_dma_space *space;
	struct rp_dma_reader *reader;
	struct sa_local local;
	struct rp_vring_dev device;
	struct rp_vring_chain chain;
} fixture;

static void
begin(uint16_t chains_count)
{
	struct rp_vring_layout layout;

	assert_int_equal(sa_local_init(&fixture.local, fixture.space, IOVA, chains_count), 0);
	rp_vring_drv_layout(fixture.local.ring, &layout);
	rp_dma_reader_online(fixture.reader);
	assert_int_equal(rp_vring_dev_init(&fixture.device, &layout, 0, fixture.reader, NULL), 0);
}

static int
setup(void **state)
{
	(void)state;
	memset(&fixture, 0, sizeof(fixture));
	test_leaks_read(&fixture.before);
	assert_int_equal(rp_dma_space_create(NULL, &fixture.space), 0);
	assert_int_equal(rp_dma_reader_create(fixture.space, &fixture.reader), 0);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	rp_dma_reader_offline(fixture.reader);
	sa_local_fini(&fixture.local);
	fixture.reader = rp_dma_reader_destroy(fixture.reader);
	fixture.space = rp_dma_space_destroy(fixture.space);
	test_leaks_assert_none(&fixture.before);
	return 0;
}

static void
as_many_slots_as_chains(void **state)
{
	unsigned int count;

	(void)state;
	begin(5);
	assert_int_equal(fixture.local.slots_count, 8);
	for (count = 0; sa_local_take(&fixture.local) != NULL; count++)
		;
	assert_int_equal(count, 8);
}

static void
not_more_than_so_many(void **state)
{
	(void)state;
	begin(32768);
	assert_int_equal(fixture.local.slots_count, SA_SLOTS_MAX);
}

static void
post(uint32_t bytes, bool device_writes)
{
	sa_local_post(&fixture.local, sa_local_take(&fixture.local), bytes, device_writes);
	assert_int_equal(rp_vring_dev_pop(&fixture.device, &fixture.chain), 1);
}

static void
sizes_and_directions(void **state)
{
	(void)state;
	begin(8);
	post(100, false);
	assert_int_equal(fixture.chain.out_bytes, 100);
	assert_int_equal(fixture.chain.in_bytes, 0);
	post(1526, true);
	assert_int_equal(fixture.chain.out_bytes, 0);
	assert_int_equal(fixture.chain.in_bytes, 1526);
	/* As large as a slot is, which no frame fills. */
	post(65550, true);
	assert_int_equal(fixture.chain.in_bytes, SA_SLOT_BYTES);
	/* Nothing to read, nothing to write: the data path gives it back as of no use. */
	post(0, false);
	assert_int_equal(fixture.chain.out_bytes, 0);
	post(0, true);
	assert_int_equal(fixture.chain.in_bytes, 0);
}

static void
there_and_back(void **state)
{
	struct sa_slot *slot;

	(void)state;
	begin(1);
	slot = sa_local_take(&fixture.local);
	assert_null(sa_local_take(&fixture.local));
	memcpy(slot->bytes, "frame", 5);
	sa_local_post(&fixture.local, slot, 5, false);
	assert_null(sa_local_collect(&fixture.local));
	assert_int_equal(rp_vring_dev_pop(&fixture.device, &fixture.chain), 1);
	assert_memory_equal(fixture.chain.iov[0].iov_base, "frame", 5);
	assert_int_equal(rp_vring_dev_push(&fixture.device, fixture.chain.head, 0), 0);
	assert_ptr_equal(sa_local_collect(&fixture.local), slot);
	assert_null(sa_local_collect(&fixture.local));
	sa_local_free(&fixture.local, slot);
	assert_ptr_equal(sa_local_take(&fixture.local), slot);
}

static void
where_the_guest_wants_it(void **state)
{
	struct rp_vring_chain *chain = &fixture.chain;
	struct sa_slot *slot;
	unsigned int i;

	(void)state;
	begin(2);
	slot = sa_local_take(&fixture.local);
	chain->out_count = 1;
	chain->in_count = 200;
	for (i = 0; i < 201; i++)
		chain->spans[i] = (struct rp_vring_span){.iova = i * 0x1000, .size_bytes = 100};
	assert_int_equal(sa_slot_remember(slot, chain), 0);
	/* Up to the end of the slot, the last one cut off there. */
	assert_int_equal(slot->spans_count, (SA_SLOT_BYTES + 99) / 100);
	assert_int_equal(slot->spans[0].iova, 0x1000);
	assert_int_equal(slot->spans[slot->spans_count - 1].size_bytes, SA_SLOT_BYTES % 100);
	sa_local_free(&fixture.local, slot);
	slot = sa_local_take(&fixture.local);
	assert_int_equal(slot->spans_count, 0);
	chain->in_count = 1;
	assert_int_equal(sa_slot_remember(slot, chain), 0);
	assert_int_equal(slot->spans_count, 1);
	assert_int_equal(slot->spans[0].size_bytes, 100);
}

int
main(void)
{
#define WITH(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
	const struct CMUnitTest tests[] = {
		WITH(as_many_slots_as_chains), WITH(not_more_than_so_many),    WITH(sizes_and_directions),
		WITH(there_and_back),	       WITH(where_the_guest_wants_it),
	};

	return cmocka_run_group_tests_name("softaccel_local", tests, NULL, NULL);
}
