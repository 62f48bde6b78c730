/* SPDX-License-Identifier: BSD-3-Clause */
#include <string.h>
#include <unistd.h>

#include "rig.h"

/* Which memory a queue is served in directly: one function, its guest's memory with a file, and something beside it. */

#define BESIDE_IOVA 0xfe614000ull
#define ACCESS (RP_VFU_DMA_MAP_READ_MASK | RP_VFU_DMA_MAP_WRITE_MASK)

static struct {
	struct rig rig;
	struct rig_guest guest;
} fixture;

static int
setup(void **state)
{
	memset(&fixture, 0, sizeof(fixture));
	rig_create(&fixture.rig);
	rig_function(&fixture.rig, (struct softaccel_function_config){.queue_pairs = 1});
	rig_run(&fixture.rig);
	rig_guest_start(&fixture.guest, &fixture.rig, 0, 2, RIG_FEATURES_DEFAULT | *(const uint64_t *)*state);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	rig_guest_fini(&fixture.guest);
	rig_destroy(&fixture.rig);
	return 0;
}

static void
map_beside(uint64_t size_bytes)
{
	assert_int_equal(rp_vfu_client_dma_map(fixture.guest.client, BESIDE_IOVA, size_bytes, -1, 0, ACCESS, NULL), 0);
}

static void
expect_by_messages(bool by_messages)
{
	const struct softaccel_function *function = fixture.rig.functions[0];
	unsigned int queue;

	for (queue = 0; queue < 2; queue++) {
		assert_int_equal(softaccel_queue_state(function, queue), SOFTACCEL_QUEUE_RUNNING);
		assert_int_equal(softaccel_queue_by_messages(function, queue), by_messages);
	}
}

/* QEMU maps BARs of the VM's devices, this one's too, as memory without a file. */
static void
bars_are_not_memory(void **state)
{
	uint64_t page_bytes = (uint64_t)sysconf(_SC_PAGESIZE);

	(void)state;
	if (page_bytes * 128 > RIG_MEMORY_BYTES)
		skip();
	expect_by_messages(false);
	map_beside(page_bytes);
	expect_by_messages(false);
}

/* A guest may have its buffers there. */
static void
half_of_the_memory_is_without_a_file(void **state)
{
	(void)state;
	map_beside(RIG_MEMORY_BYTES);
	expect_by_messages(true);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		RIG_TEST(bars_are_not_memory, split),
		RIG_TEST(bars_are_not_memory, packed),
		RIG_TEST(half_of_the_memory_is_without_a_file, split),
		RIG_TEST(half_of_the_memory_is_without_a_file, packed),
	};

	rig_eal_init();
	return cmocka_run_group_tests_name("reach", tests, NULL, NULL);
}
