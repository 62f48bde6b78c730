/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdlib.h>

#include "virtio_fixture.h"

/* The common configuration (virtio 1.2, 4.1.4.3). Expected numbers are those of a little-endian block. */

#define fixture virtio_fixture

static void
test_first_values(void **state)
{
	uint8_t block[64];
	unsigned int i;

	(void)state;
	assert_int_equal(function_read(&fixture.function, VIRTIO_REGISTERS, 0, sizeof(block), block), 0);
	assert_memory_equal(block, ((uint8_t[]){0,    0,    0, 0, 0x20, 0, 0, 0x30, 0,	 0, 0,	  0,	0, 0, 0, 0,
						0xff, 0xff, 3, 0, 0,	0, 0, 0,    128, 0, 0xff, 0xff, 0, 0, 0, 0}),
			    32);
	for (i = 32; i < 64; i++)
		assert_int_equal(block[i], 0);
}

static void
test_features_come_in_halves(void **state)
{
	(void)state;
	assert_int_equal(virtio_get(VIRTIO_PCI_COMMON_DF, 4), 0x30000020);
	virtio_put(VIRTIO_PCI_COMMON_DFSELECT, 4, 1);
	assert_int_equal(virtio_get(VIRTIO_PCI_COMMON_DF, 4), 0x105);
	virtio_put(VIRTIO_PCI_COMMON_DFSELECT, 4, 2);
	assert_int_equal(virtio_get(VIRTIO_PCI_COMMON_DF, 4), 0);
	virtio_put(VIRTIO_PCI_COMMON_DFSELECT, 4, UINT32_MAX);
	assert_int_equal(virtio_get(VIRTIO_PCI_COMMON_DF, 4), 0);
	virtio_put(VIRTIO_PCI_COMMON_GFSELECT, 4, 1);
	virtio_put(VIRTIO_PCI_COMMON_GF, 4, 0x101);
	virtio_put(VIRTIO_PCI_COMMON_GFSELECT, 4, 33);
	virtio_put(VIRTIO_PCI_COMMON_GF, 4, UINT32_MAX);
	assert_int_equal(virtio_get(VIRTIO_PCI_COMMON_GF, 4), 0);
	assert_true(rp_vfu_virtio_features(fixture.virtio) == 0x10100000000);
}

static void
test_features_are_judged_and_settled(void **state)
{
	static const uint64_t bad[] = {0, 0x20, VIRTIO_FEATURES | 1, VIRTIO_FEATURES | 1ull << 63,
				       VIRTIO_FEATURES & ~(1ull << VIRTIO_F_VERSION_1)};
	unsigned int i;

	(void)state;
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		virtio_negotiate(bad[i]);
		assert_int_equal(virtio_get(VIRTIO_PCI_COMMON_STATUS, 1), 3);
		assert_int_equal(fixture.refusals, i + 1);
		assert_true(fixture.refused_features == bad[i]);
	}
	virtio_negotiate(VIRTIO_FEATURES);
	assert_int_equal(virtio_get(VIRTIO_PCI_COMMON_STATUS, 1), 11);
	/* After FEATURES_OK they stay, whatever is written. */
	virtio_put(VIRTIO_PCI_COMMON_GF, 4, 0);
	assert_true(rp_vfu_virtio_features(fixture.virtio) == VIRTIO_FEATURES);
	assert_int_equal(fixture.refusals, i);
}

static void
test_status_bits_are_only_added(void **state)
{
	(void)state;
	virtio_ready(VIRTIO_FEATURES);
	assert_int_equal(fixture.readies, 1);
	virtio_put(VIRTIO_PCI_COMMON_STATUS, 1, 1);
	assert_int_equal(virtio_get(VIRTIO_PCI_COMMON_STATUS, 1), 15);
	/* What is the device's to say. */
	virtio_put(VIRTIO_PCI_COMMON_STATUS, 1, 0xcf);
	assert_int_equal(virtio_get(VIRTIO_PCI_COMMON_STATUS, 1), 0x8f);
	assert_int_equal(fixture.readies, 1);
}

static void
test_a_queue_is_programmed(void **state)
{
	const struct rp_vfu_virtio_queue *queue = rp_vfu_virtio_queue(fixture.virtio, 1);
	static const uint32_t at[] = {VIRTIO_PCI_COMMON_Q_DESCLO,  VIRTIO_PCI_COMMON_Q_DESCHI,
				      VIRTIO_PCI_COMMON_Q_AVAILLO, VIRTIO_PCI_COMMON_Q_AVAILHI,
				      VIRTIO_PCI_COMMON_Q_USEDLO,  VIRTIO_PCI_COMMON_Q_USEDHI};
	unsigned int i;

	(void)state;
	virtio_put(VIRTIO_PCI_COMMON_Q_SELECT, 2, 1);
	assert_int_equal(virtio_get(VIRTIO_PCI_COMMON_Q_NOFF, 2), 1);
	virtio_put(VIRTIO_PCI_COMMON_Q_SIZE, 2, 100);
	virtio_put(VIRTIO_PCI_COMMON_Q_MSIX, 2, 3);
	for (i = 0; i < 6; i++)
		virtio_put(at[i], 4, 0x10203040 + i);
	for (i = 0; i < 6; i++)
		assert_int_equal(virtio_get(at[i], 4), 0x10203040 + i);
	assert_int_equal(queue->size, 100);
	assert_int_equal(queue->vector, 3);
	assert_true(queue->desc_iova == 0x1020304110203040);
	assert_true(queue->avail_iova == 0x1020304310203042);
	assert_true(queue->used_iova == 0x1020304510203044);
	assert_int_equal(fixture.vectors, 1);
	assert_int_equal(fixture.last_queue, 1);
	/* The others are what they were. */
	assert_int_equal(rp_vfu_virtio_queue(fixture.virtio, 0)->size, VIRTIO_SIZE_MAX);
	assert_true(rp_vfu_virtio_queue(fixture.virtio, 2)->desc_iova == 0);
}

static void
test_sizes_and_vectors_that_cannot_be(void **state)
{
	static const uint32_t sizes[] = {0, 129, 256, 0xffff};
	unsigned int i;

	(void)state;
	virtio_put(VIRTIO_PCI_COMMON_Q_SIZE, 2, 64);
	for (i = 0; i < 4; i++) {
		virtio_put(VIRTIO_PCI_COMMON_Q_SIZE, 2, sizes[i]);
		assert_int_equal(virtio_get(VIRTIO_PCI_COMMON_Q_SIZE, 2), 64);
	}
	for (i = 0; i < 2; i++) {
		uint32_t at = i == 0 ? VIRTIO_PCI_COMMON_Q_MSIX : VIRTIO_PCI_COMMON_MSIX;

		virtio_put(at, 2, 3);
		assert_int_equal(virtio_get(at, 2), 3);
		virtio_put(at, 2, 4);
		assert_int_equal(virtio_get(at, 2), RP_VFU_VIRTIO_NO_VECTOR);
		virtio_put(at, 2, 0xffff);
		assert_int_equal(virtio_get(at, 2), RP_VFU_VIRTIO_NO_VECTOR);
	}
}

static void
test_a_queue_that_there_is_not(void **state)
{
	static const uint32_t selects[] = {3, 4, 256, 0x7fff, 0xffff};
	uint8_t block[42], ones[40];
	unsigned int i, j;

	(void)state;
	memset(ones, 0xff, sizeof(ones));
	virtio_negotiate(VIRTIO_FEATURES);
	for (i = 0; i < sizeof(selects) / sizeof(selects[0]); i++) {
		virtio_put(VIRTIO_PCI_COMMON_Q_SELECT, 2, selects[i]);
		assert_int_equal(function_write(&fixture.function, VIRTIO_REGISTERS, 24, 40, ones), 0);
		virtio_put(VIRTIO_PCI_COMMON_Q_ENABLE, 2, 1);
		virtio_put(VIRTIO_PCI_COMMON_Q_RESET, 2, 1);
		assert_int_equal(function_read(&fixture.function, VIRTIO_REGISTERS, 22, 42, block), 0);
		assert_int_equal(block[0] | block[1] << 8, selects[i]);
		for (j = 2; j < 42; j++)
			assert_int_equal(block[j], 0);
	}
	assert_int_equal(fixture.enables + fixture.stops + fixture.vectors, 0);
}

static void
test_enabling(void **state)
{
	struct rp_vfu_virtio_queue *queue = rp_vfu_virtio_queue(fixture.virtio, 2);

	(void)state;
	/* Not before the features are settled. */
	virtio_enable(2);
	assert_false(queue->enabled);
	virtio_negotiate(VIRTIO_FEATURES);
	virtio_put(VIRTIO_PCI_COMMON_Q_SELECT, 2, 2);
	virtio_put(VIRTIO_PCI_COMMON_Q_ENABLE, 2, 2);
	virtio_put(VIRTIO_PCI_COMMON_Q_ENABLE, 2, 0x101);
	assert_false(queue->enabled);
	assert_int_equal(fixture.enables, 0);
	/* The device refuses. */
	fixture.enable_result = -EBADMSG;
	virtio_enable(2);
	assert_int_equal(virtio_get(VIRTIO_PCI_COMMON_Q_ENABLE, 2), 0);
	fixture.enable_result = 0;
	virtio_enable(2);
	assert_int_equal(virtio_get(VIRTIO_PCI_COMMON_Q_ENABLE, 2), 1);
	assert_int_equal(fixture.last_queue, 2);
	assert_int_equal(fixture.enables, 2);
	/* Twice is once, and it is not disabled by a 0. */
	virtio_enable(2);
	virtio_put(VIRTIO_PCI_COMMON_Q_ENABLE, 2, 0);
	assert_int_equal(virtio_get(VIRTIO_PCI_COMMON_Q_ENABLE, 2), 1);
	assert_int_equal(fixture.enables, 2);
}

static void
test_a_running_ring_stays_where_it_is(void **state)
{
	uint8_t ones[24];
	struct rp_vfu_virtio_queue *queue = rp_vfu_virtio_queue(fixture.virtio, 0), before;

	(void)state;
	memset(ones, 0xff, sizeof(ones));
	virtio_ready(VIRTIO_FEATURES);
	virtio_put(VIRTIO_PCI_COMMON_Q_DESCLO, 4, 0x1000);
	virtio_enable(0);
	before = *queue;
	virtio_put(VIRTIO_PCI_COMMON_Q_SIZE, 2, 2);
	assert_int_equal(function_write(&fixture.function, VIRTIO_REGISTERS, 32, 24, ones), 0);
	virtio_set_state(0, VIRTIO_POSITION, 0x77);
	assert_memory_equal(&before, queue, sizeof(before));
	/* Its vector may change. */
	virtio_put(VIRTIO_PCI_COMMON_Q_MSIX, 2, 1);
	assert_int_equal(queue->vector, 1);
}

static void
test_queue_reset(void **state)
{
	struct rp_vfu_virtio_queue *queue = rp_vfu_virtio_queue(fixture.virtio, 1);

	(void)state;
	/* Not negotiated: nothing happens. */
	virtio_ready(VIRTIO_FEATURES & ~VIRTIO_RESET_MASK);
	virtio_enable(1);
	virtio_put(VIRTIO_PCI_COMMON_Q_RESET, 2, 1);
	assert_true(queue->enabled);
	virtio_ready(VIRTIO_FEATURES);
	virtio_put(VIRTIO_PCI_COMMON_Q_SELECT, 2, 1);
	virtio_put(VIRTIO_PCI_COMMON_Q_SIZE, 2, 8);
	virtio_put(VIRTIO_PCI_COMMON_Q_DESCHI, 4, 8);
	virtio_enable(1);
	fixture.stop_position = 0x12345;
	/* A device that says it needs time does not get any. */
	fixture.stop_result = -EINPROGRESS;
	virtio_put(VIRTIO_PCI_COMMON_Q_RESET, 2, 2);
	assert_int_equal(fixture.stops, 0);
	virtio_put(VIRTIO_PCI_COMMON_Q_RESET, 2, 1);
	assert_int_equal(fixture.stops, 1);
	assert_int_equal(fixture.last_stop, RP_VFU_VIRTIO_STOP_RESET);
	assert_int_equal(virtio_get(VIRTIO_PCI_COMMON_Q_RESET, 2), 0);
	assert_false(queue->enabled || queue->stopping);
	assert_int_equal(queue->size, VIRTIO_SIZE_MAX);
	assert_true(queue->desc_iova == 0);
	assert_int_equal(queue->position, 0x80008000);
	/* What is disabled is not stopped again. */
	virtio_put(VIRTIO_PCI_COMMON_Q_RESET, 2, 1);
	assert_int_equal(fixture.stops, 1);
	assert_int_equal(virtio_get(VIRTIO_PCI_COMMON_STATUS, 1), 15);
}

static void
test_reset_with_rings_running(void **state)
{
	static const uint8_t zeroes[64];
	uint8_t block[64];

	(void)state;
	virtio_ready(VIRTIO_FEATURES);
	virtio_enable(0);
	virtio_enable(2);
	virtio_put(VIRTIO_PCI_COMMON_MSIX, 2, 1);
	virtio_put(VIRTIO_PCI_COMMON_STATUS, 1, 0);
	assert_int_equal(fixture.resets, 2);
	assert_int_equal(fixture.status_at_reset, 15);
	assert_int_equal(fixture.stops, 0);
	assert_false(rp_vfu_virtio_queue(fixture.virtio, 0)->enabled ||
		     rp_vfu_virtio_queue(fixture.virtio, 2)->enabled);
	assert_true(rp_vfu_virtio_features(fixture.virtio) == 0);
	test_first_values(state);
	/* In the middle of a large write, which goes on with the fields behind it. */
	virtio_ready(VIRTIO_FEATURES);
	virtio_enable(1);
	assert_int_equal(function_write(&fixture.function, VIRTIO_REGISTERS, 0, 64, zeroes), 0);
	assert_false(rp_vfu_virtio_queue(fixture.virtio, 1)->enabled);
	assert_int_equal(function_read(&fixture.function, VIRTIO_REGISTERS, 0, 64, block), 0);
	assert_int_equal(block[VIRTIO_PCI_COMMON_STATUS], 0);
	assert_int_equal(block[VIRTIO_PCI_COMMON_MSIX], 0xff);
	assert_int_equal(block[VIRTIO_PCI_COMMON_Q_MSIX], 0);
}

/* What is not written of a field stays. */
static void
test_a_part_of_a_field(void **state)
{
	(void)state;
	virtio_put(VIRTIO_PCI_COMMON_Q_SELECT, 2, 0x0102);
	virtio_put(VIRTIO_PCI_COMMON_Q_SELECT, 1, 0x03);
	assert_int_equal(virtio_get(VIRTIO_PCI_COMMON_Q_SELECT, 2), 0x0103);
	virtio_put(VIRTIO_PCI_COMMON_Q_SELECT + 1, 1, 0x04);
	assert_int_equal(virtio_get(VIRTIO_PCI_COMMON_Q_SELECT, 2), 0x0403);
}

/* The same bytes, in pieces of any width, come to the same. */
static void
test_writes_of_any_width_agree(void **state)
{
	static const uint32_t widths[] = {1, 2, 3, 4, 5, 8, 24};
	uint8_t wanted[24], found[24], rest[8];
	unsigned int i;
	uint32_t at;

	(void)state;
	for (i = 0; i < sizeof(wanted); i++)
		wanted[i] = (uint8_t)(17 + 7 * i);
	virtio_put(VIRTIO_PCI_COMMON_Q_SELECT, 2, 1);
	for (i = 0; i < sizeof(widths) / sizeof(widths[0]); i++) {
		memset(found, 0, sizeof(found));
		function_write(&fixture.function, VIRTIO_REGISTERS, 32, 24, found);
		for (at = 0; at < 24; at += widths[i])
			function_write(&fixture.function, VIRTIO_REGISTERS, 32 + at,
				       at + widths[i] > 24 ? 24 - at : widths[i], wanted + at);
		assert_int_equal(function_read(&fixture.function, VIRTIO_REGISTERS, 32, 24, found), 0);
		assert_memory_equal(found, wanted, 24);
		assert_int_equal(function_read(&fixture.function, VIRTIO_REGISTERS, 56, 8, rest), 0);
		assert_memory_equal(rest, ((uint8_t[8]){0}), 8);
	}
	/* A byte of a size: what was not written is taken over as it was. */
	virtio_put(VIRTIO_PCI_COMMON_Q_SIZE, 1, 0x40);
	assert_int_equal(virtio_get(VIRTIO_PCI_COMMON_Q_SIZE, 2), 0x40);
	virtio_put(VIRTIO_PCI_COMMON_Q_SIZE + 1, 1, 1);
	assert_int_equal(virtio_get(VIRTIO_PCI_COMMON_Q_SIZE, 2), 0x40);
	/* Two fields at once. */
	virtio_put(VIRTIO_PCI_COMMON_Q_SELECT, 4, 0x0010 << 16 | 2);
	assert_int_equal(rp_vfu_virtio_queue(fixture.virtio, 2)->size, 16);
	assert_int_equal(rp_vfu_virtio_queue(fixture.virtio, 1)->size, 0x40);
}

static void
test_what_is_read_only(void **state)
{
	(void)state;
	virtio_put(VIRTIO_PCI_COMMON_DF, 4, 0);
	virtio_put(VIRTIO_PCI_COMMON_NUMQ, 2, 9);
	virtio_put(VIRTIO_PCI_COMMON_CFGGENERATION, 1, 9);
	virtio_put(VIRTIO_PCI_COMMON_Q_NOFF, 2, 9);
	virtio_put(VIRTIO_PCI_COMMON_Q_NDATA, 2, 9);
	virtio_put(60, 4, 9);
	test_first_values(state);
}

static void
test_noise(void **state)
{
	unsigned int seed = 4, i, j;
	uint8_t bytes[64];

	(void)state;
	for (i = 0; i < 3000; i++) {
		uint32_t count = 1 + (uint32_t)rand_r(&seed) % 64, at = (uint32_t)rand_r(&seed) % (65 - count);

		for (j = 0; j < count; j++)
			bytes[j] = (uint8_t)(rand_r(&seed) % 3 == 0 ? rand_r(&seed) : rand_r(&seed) % 4);
		assert_int_equal(function_write(&fixture.function, VIRTIO_REGISTERS, at, count, bytes), 0);
		for (j = 0; j < VIRTIO_QUEUES; j++) {
			const struct rp_vfu_virtio_queue *queue = rp_vfu_virtio_queue(fixture.virtio, j);

			assert_in_range(queue->size, 1, VIRTIO_SIZE_MAX);
			assert_true(queue->vector <= VIRTIO_QUEUES || queue->vector == RP_VFU_VIRTIO_NO_VECTOR);
			if (queue->enabled)
				assert_int_equal(rp_vfu_virtio_features(fixture.virtio) & ~VIRTIO_FEATURES, 0);
		}
	}
	virtio_put(VIRTIO_PCI_COMMON_STATUS, 1, 0);
	test_first_values(state);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, virtio_setup, virtio_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_first_values),
		CASE(test_features_come_in_halves),
		CASE(test_features_are_judged_and_settled),
		CASE(test_status_bits_are_only_added),
		CASE(test_a_queue_is_programmed),
		CASE(test_sizes_and_vectors_that_cannot_be),
		CASE(test_a_queue_that_there_is_not),
		CASE(test_enabling),
		CASE(test_a_running_ring_stays_where_it_is),
		CASE(test_queue_reset),
		CASE(test_reset_with_rings_running),
		CASE(test_writes_of_any_width_agree),
		CASE(test_a_part_of_a_field),
		CASE(test_what_is_read_only),
		CASE(test_noise),
	};

	return cmocka_run_group_tests_name("virtio common configuration", tests, NULL, NULL);
}
