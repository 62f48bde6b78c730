/* SPDX-License-Identifier: BSD-3-Clause */
#include <string.h>
#include <unistd.h>

#include "rig.h"
#include "rp_wire_clock.h"

/* A guest whose memory is mapped page by page, from anywhere: as its own IOMMU has it. */

#define RX 0u
#define TX 1u
#define FRAMES 300u
#define LIMIT_MS 60000u

static struct {
	struct rig rig;
	struct rig_guest paged, plain;
	uint64_t features;
	size_t page_bytes;
} fixture;

static int
setup(void **state)
{
	memset(&fixture, 0, sizeof(fixture));
	fixture.features = RIG_FEATURES_DEFAULT | *(const uint64_t *)*state;
	fixture.page_bytes = (size_t)sysconf(_SC_PAGESIZE);
	fixture.paged.reach = RIG_REACH_PAGES;
	/* The descriptors alone are two pages. */
	fixture.paged.queue_size = (uint16_t)(2 * fixture.page_bytes / 16);
	rig_create(&fixture.rig);
	rig_function(&fixture.rig,
		     (struct softaccel_function_config){.queue_pairs = 1, .queue_size = fixture.paged.queue_size});
	rig_function(&fixture.rig, (struct softaccel_function_config){.queue_pairs = 1});
	rig_run(&fixture.rig);
	rig_guest_start(&fixture.paged, &fixture.rig, 0, 2, fixture.features);
	rig_guest_start(&fixture.plain, &fixture.rig, 1, 2, fixture.features);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	rig_guest_fini(&fixture.paged);
	rig_guest_fini(&fixture.plain);
	rig_destroy(&fixture.rig);
	return 0;
}

static struct softaccel_dma_counters
counters(void)
{
	struct softaccel_dma_counters now;

	softaccel_function_dma_counters(fixture.rig.functions[0], &now);
	return now;
}

static void
carry(struct rig_guest *from, struct rig_guest *to)
{
	uint8_t frame[RIG_FRAME_BYTES], packet[RIG_BUFFER_BYTES];
	uint32_t number;

	for (number = 0; number < FRAMES; number++) {
		rig_frame(frame, RIG_BROADCAST, 1, 0, number);
		assert_true(rig_send(from, TX, frame, sizeof(frame)));
		rig_ring(from, TX);
		assert_int_equal(rig_receive_wait(to, RX, packet, sizeof(packet)), RIG_HEADER_BYTES + sizeof(frame));
		assert_memory_equal(packet + RIG_HEADER_BYTES, frame, sizeof(frame));
		rig_post(to, RX, RIG_QUEUE_SIZE / 2, RIG_BUFFER_BYTES);
		rig_ring(to, RX);
		rig_reap(from, TX);
	}
}

static void
rings_in_pieces_are_served_directly(void **state)
{
	const uint64_t pages = RIG_MEMORY_BYTES / fixture.page_bytes;
	struct softaccel_dma_counters now;

	(void)state;
	assert_false(softaccel_queue_by_messages(fixture.rig.functions[0], RX));
	assert_false(softaccel_queue_by_messages(fixture.rig.functions[0], TX));
	carry(&fixture.paged, &fixture.plain);
	carry(&fixture.plain, &fixture.paged);
	now = counters();
	assert_int_equal(now.mappings_count, pages);
	assert_int_equal(now.mappings_added, pages);
	assert_int_equal(now.mappings_removed, 0);
	assert_true(now.translations >= 2 * FRAMES);
	assert_int_equal(now.refused, 0);
}

static bool
is_broken(void *queue)
{
	return softaccel_queue_state(fixture.rig.functions[0], *(unsigned int *)queue) == SOFTACCEL_QUEUE_BROKEN;
}

static void
require_broken(unsigned int queue)
{
	assert_true(test_wait(is_broken, &queue, LIMIT_MS));
	assert_true(counters().refused > 0);
}

/* What a guest in strict mode does with each of its buffers, and other pages than the ring's do not disturb it. */
static void
buffers_are_unmapped_after_use(void **state)
{
	struct rig_guest *guest = &fixture.paged;
	uint8_t frame[RIG_FRAME_BYTES], packet[RIG_BUFFER_BYTES];
	uint32_t number;

	(void)state;
	for (number = 0; number < FRAMES; number++) {
		uint32_t page = rig_guest_page_of(guest, rig_next_buffer(guest));

		rig_frame(frame, RIG_BROADCAST, 1, 0, number);
		assert_true(rig_send(guest, TX, frame, sizeof(frame)));
		rig_ring(guest, TX);
		assert_int_equal(rig_receive_wait(&fixture.plain, RX, packet, sizeof(packet)),
				 RIG_HEADER_BYTES + sizeof(frame));
		rig_post(&fixture.plain, RX, RIG_QUEUE_SIZE / 2, RIG_BUFFER_BYTES);
		rig_ring(&fixture.plain, RX);
		while (rig_reap(guest, TX) == 0)
			usleep(100);
		rig_guest_unmap_page(guest, page);
		rig_guest_map_page(guest, page);
	}
	assert_int_equal(counters().mappings_removed, FRAMES);
	assert_int_equal(counters().mappings_count, RIG_MEMORY_BYTES / fixture.page_bytes);
	assert_int_equal(counters().refused, 0);
}

/* The planted fault: an access after its unmap is refused, counted, and the end of the queue. */
static void
a_buffer_that_went_is_not_touched(void **state)
{
	struct rig_guest *guest = &fixture.paged;
	uint8_t frame[RIG_FRAME_BYTES];

	(void)state;
	rig_guest_unmap_page(guest, rig_guest_page_of(guest, rig_next_buffer(guest)));
	rig_frame(frame, RIG_BROADCAST, 1, 0, 0);
	assert_true(rig_send(guest, TX, frame, sizeof(frame)));
	rig_ring(guest, TX);
	require_broken(TX);
}

/* Also of a ring that was joined, and although the same page comes back. */
static void
a_ring_that_went_is_not_touched(void **state)
{
	struct rig_guest *guest = &fixture.paged;
	const struct rig_queue *queue = &guest->queues[TX];
	uint32_t page = rig_guest_page_of(guest, (const uint8_t *)queue->memory + fixture.page_bytes);
	uint8_t frame[RIG_FRAME_BYTES];

	(void)state;
	rig_guest_unmap_page(guest, page);
	rig_guest_map_page(guest, page);
	rig_frame(frame, RIG_BROADCAST, 1, 0, 0);
	assert_true(rig_send(guest, TX, frame, sizeof(frame)));
	rig_ring(guest, TX);
	assert_true(test_wait(is_broken, &(unsigned int){TX}, LIMIT_MS));
	assert_int_equal(softaccel_queue_state(fixture.rig.functions[0], RX), SOFTACCEL_QUEUE_RUNNING);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		RIG_TESTS(rings_in_pieces_are_served_directly),
		RIG_TESTS(buffers_are_unmapped_after_use),
		RIG_TESTS(a_buffer_that_went_is_not_touched),
		RIG_TESTS(a_ring_that_went_is_not_touched),
	};

	rig_eal_init();
	return cmocka_run_group_tests_name("softaccel_viommu", tests, NULL, NULL);
}
