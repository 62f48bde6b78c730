/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "mover.h"
#include "rp_dma_log.h"
#include "rp_vfu_client.h"
#include "rp_vfu_msg.h"
#include "serving.h"

/* Migration and dirty pages: our client against our server in a thread of its own. */

static struct device device;
static struct rp_vfu_client *client;
static struct rp_wire_why why;
static struct test_leaks before;
static struct serving serving;

static int
setup(void **state)
{
	struct rp_vfu_server_ops ops = device_ops;
	struct device_description description;

	(void)state;
	test_leaks_read(&before);
	device_init(&device);
	mover_describe(&device, &description);
	assert_int_equal(rp_vfu_server_create(&description.config, &ops, &device, &device.server, &why), 0);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	serving_stop(&serving);
	device_close(&device);
	test_leaks_assert_none(&before);
	return 0;
}

static void
start(uint32_t max_data_xfer_bytes)
{
	const struct rp_vfu_client_config config = {
		.socket_path = test_socket_path(),
		.timeout_ms = 30000,
		.max_data_xfer_bytes = max_data_xfer_bytes,
	};

	serving_start(&serving, device.server);
	assert_int_equal(rp_vfu_client_create(&config, NULL, NULL, &client, &why), 0);
}

static void
stop(void)
{
	client = rp_vfu_client_destroy(client);
	serving_stop(&serving);
	device_turn(&device);
}

static void
assert_state(enum rp_vfu_mig_state wanted)
{
	enum rp_vfu_mig_state mig_state;

	assert_int_equal(rp_vfu_client_migration_state(client, &mig_state, &why), 0);
	assert_int_equal(mig_state, wanted);
}

/* Out of a device and into another, which are the same one here. */
static void
test_a_state_goes_out_and_in(void **state)
{
	uint8_t *bytes = malloc(MOVER_DATA_MAX);
	size_t count_bytes = 0;
	uint64_t flags = 0;
	uint32_t i;

	(void)state;
	assert_non_null(bytes);
	mover.out_bytes = MOVER_DATA_MAX - 7;
	for (i = 0; i < mover.out_bytes; i++)
		mover.out[i] = (uint8_t)(i * 13 + i / 256);
	start(65536);
	assert_int_equal(rp_vfu_client_feature_probe(client, RP_VFU_FEATURE_MIG_DEVICE_STATE,
						     RP_VFU_FEATURE_GET_MASK | RP_VFU_FEATURE_SET_MASK, &why),
			 0);
	assert_int_equal(rp_vfu_client_migration_flags(client, &flags, &why), 0);
	assert_int_equal(flags, 5);
	assert_state(RP_VFU_MIG_RUNNING);
	assert_int_equal(rp_vfu_client_migration_set_state(client, RP_VFU_MIG_STOP_COPY, &why), 0);
	assert_int_equal(rp_vfu_client_migration_read(client, bytes, MOVER_DATA_MAX, &count_bytes, &why), 0);
	assert_int_equal(count_bytes, MOVER_DATA_MAX - 7);
	assert_int_equal(rp_vfu_client_migration_write(client, bytes, 1, &why), -EBUSY);
	assert_int_equal(rp_vfu_client_migration_set_state(client, RP_VFU_MIG_RESUMING, &why), 0);
	assert_int_equal(rp_vfu_client_migration_write(client, bytes, count_bytes, &why), 0);
	assert_int_equal(rp_vfu_client_migration_set_state(client, RP_VFU_MIG_RUNNING, &why), 0);
	assert_state(RP_VFU_MIG_RUNNING);
	stop();
	assert_int_equal(mover.in_bytes, mover.out_bytes);
	assert_memory_equal(mover.in, mover.out, mover.out_bytes);
	free(bytes);
}

#define PAGE UINT64_C(4096)
#define RANGE_IOVA UINT64_C(0x100000000)
/* Of 8 messages, and a bit. */
#define RANGE_PAGES (8 * 32768 + 70)

static bool
is_dirty(const uint64_t *bits, uint64_t page)
{
	return (bits[page / 64] >> (page % 64) & 1) != 0;
}

static uint64_t
count_dirty(const uint64_t *bits)
{
	uint64_t count = 0, i;

	for (i = 0; i < (RANGE_PAGES + 63) / 64; i++)
		count += (uint64_t)__builtin_popcountll(bits[i]);
	return count;
}

static const uint64_t dirty[] = {0, 63, 64, 32767, 32768, 65535, 8 * 32768 - 1, 8 * 32768, RANGE_PAGES - 1};
#define DIRTY_COUNT (sizeof(dirty) / sizeof(dirty[0]))

static void
mark(void)
{
	unsigned int i;

	for (i = 0; i < DIRTY_COUNT; i++)
		rp_dma_log_mark(rp_vfu_server_dma(device.server), RANGE_IOVA + dirty[i] * PAGE, 1);
}

static void
assert_dirty(const uint64_t *bits)
{
	unsigned int i;

	for (i = 0; i < DIRTY_COUNT; i++)
		assert_true(is_dirty(bits, dirty[i]));
	assert_int_equal(count_dirty(bits), DIRTY_COUNT);
}

static void
test_dirty_pages_in_pieces(void **state)
{
	const struct rp_vfu_client_range range = {RANGE_IOVA, RANGE_PAGES * PAGE};
	const struct rp_vfu_client_memory memory = {
		.iova = RANGE_IOVA, .size_bytes = RANGE_PAGES * PAGE, .fd = -1, .access_mask = 3};
	uint64_t *bits = calloc((RANGE_PAGES + 63) / 64, sizeof(*bits)), page_bytes = PAGE;

	(void)state;
	assert_non_null(bits);
	start(4096);
	assert_int_equal(rp_vfu_client_logging_report(client, RANGE_IOVA, PAGE, PAGE, bits, &why), -EBUSY);
	assert_int_equal(rp_vfu_client_dma_map_memory(client, &memory, &why), 0);
	assert_int_equal(rp_vfu_client_logging_start(client, &page_bytes, &range, 1, &why), 0);
	assert_int_equal(page_bytes, PAGE);
	mark();
	assert_int_equal(rp_vfu_client_logging_report(client, RANGE_IOVA, RANGE_PAGES * PAGE, PAGE, bits, &why), 0);
	assert_dirty(bits);
	/* Told once. */
	assert_int_equal(rp_vfu_client_logging_report(client, RANGE_IOVA, RANGE_PAGES * PAGE, PAGE, bits, &why), 0);
	assert_int_equal(count_dirty(bits), 0);
	mark();
	assert_int_equal(rp_vfu_client_dma_unmap_dirty(client, RANGE_IOVA, RANGE_PAGES * PAGE, PAGE, bits, &why), 0);
	assert_dirty(bits);
	assert_int_equal(rp_vfu_client_dma_map_memory(client, &memory, &why), 0);
	assert_int_equal(rp_vfu_client_logging_stop(client, &why), 0);
	stop();
	free(bits);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_a_state_goes_out_and_in, setup, teardown),
		cmocka_unit_test_setup_teardown(test_dirty_pages_in_pieces, setup, teardown),
	};

	return cmocka_run_group_tests_name("vfio-user: both ends, features", tests, NULL, NULL);
}
