/* SPDX-License-Identifier: BSD-3-Clause */
#include <endian.h>
#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

#include <linux/virtio_config.h>

#include "rig.h"
#include "rp_vfu_client_iommu.h"
#include "rp_vfu_virtio.h"
#include "rp_wire_clock.h"

/*
 * A guest whose addresses its VMM translates: nothing is mapped when the device starts, each page is asked
 * for, and mapped when it is.
 */

#define RX 0u
#define TX 1u
#define FRAMES 100u
#define LIMIT_MS 30000u
#define PAGE_BYTES 4096ull /* of the protocol, whatever this machine has */
#define PAGES (RIG_MEMORY_BYTES / (unsigned int)PAGE_BYTES)
#define TRANSLATED_IOVA 0x8000000000ull
#define ANOTHER_IOVA 0x9000000000ull
#define RW (RP_VFU_DMA_MAP_READ_MASK | RP_VFU_DMA_MAP_WRITE_MASK)

/* What the VMM says of each page of the device's. */
enum presence {
	ABSENT, /* until it is requested */
	PRESENT,
	FORBIDDEN,
};

static struct {
	struct rig rig;
	struct rig_guest guest, plain;
	uint64_t features;
	enum presence pages[PAGES];
	bool mapped[PAGES]; /* ever: the VMM keeps what it has mapped */
	unsigned int translations, page_requests;
	bool lies; /* a page is said to be present, and is not */
	bool slow; /* answers later, by a call of its own */
	uint64_t token;
	struct rp_vfu_client_translation later;
	unsigned int looks_left; /* of the control side, until the one in which a ring misses */
	bool missed;
} fixture;

static uint32_t
place_of(uint64_t iova)
{
	return (uint32_t)((iova - RIG_MEMORY_IOVA) / PAGE_BYTES);
}

/* Where the VMM has it: in another order, so that no ring and no buffer of several pages is in one piece. */
static uint64_t
address_of(uint32_t place)
{
	return TRANSLATED_IOVA + (place * 389ull % PAGES) * PAGE_BYTES;
}

static int
translate(void *ctx, uint64_t token, const struct rp_vfu_client_translate *request,
	  struct rp_vfu_client_translation *ret_translation)
{
	uint32_t place = place_of(request->iova);

	(void)ctx;
	fixture.translations++;
	*ret_translation = (struct rp_vfu_client_translation){.iova = request->iova, .size_bytes = PAGE_BYTES};
	if (place < PAGES && fixture.pages[place] == PRESENT) {
		ret_translation->address = address_of(place);
		ret_translation->access_mask = RW;
	}
	if (!fixture.slow || fixture.token != 0)
		return 0;
	fixture.token = token;
	fixture.later = *ret_translation;
	return -EINPROGRESS;
}

static void
on_mapped(void *ctx, int error, const struct rp_wire_why *why)
{
	(void)why;
	assert_int_equal(error, 0);
	assert_int_equal(
		rp_vfu_client_page_respond(fixture.guest.client, (uint32_t)(uintptr_t)ctx, RP_VFU_PAGE_SUCCESS), 0);
}

static void
page_request(void *ctx, const struct rp_vfu_client_page_group *group)
{
	const struct rp_vfu_client_done done = {.done = on_mapped, .ctx = (void *)(uintptr_t)group->number};
	uint32_t place = place_of(group->pages[0].iova);
	struct rp_vfu_client_memory memory = {.size_bytes = PAGE_BYTES, .access_mask = RW};

	(void)ctx;
	assert_int_equal(group->pages_count, 1);
	fixture.page_requests++;
	if (place >= PAGES || fixture.pages[place] == FORBIDDEN) {
		rp_vfu_client_page_respond(fixture.guest.client, group->number, RP_VFU_PAGE_INVALID);
		return;
	}
	if (!fixture.lies)
		fixture.pages[place] = PRESENT;
	if (fixture.lies || fixture.mapped[place]) {
		rp_vfu_client_page_respond(fixture.guest.client, group->number, RP_VFU_PAGE_SUCCESS);
		return;
	}
	fixture.mapped[place] = true;
	memory.iova = address_of(place);
	memory.fd = fixture.guest.memory_fd;
	memory.offset_bytes = place * PAGE_BYTES;
	assert_int_equal(rp_vfu_client_dma_map_start(fixture.guest.client, &memory, &done, NULL), 0);
}

static const struct rp_vfu_client_iommu iommu = {.translate = translate, .page_request = page_request};

static int
setup(void **state)
{
	memset(&fixture, 0, sizeof(fixture));
	fixture.features = RIG_FEATURES_DEFAULT | *(const uint64_t *)*state;
	rig_create(&fixture.rig);
	rig_function(&fixture.rig,
		     (struct softaccel_function_config){.queue_pairs = 1, .queue_size = 512, .iommu = true});
	rig_function(&fixture.rig, (struct softaccel_function_config){.queue_pairs = 1});
	rig_run(&fixture.rig);
	rig_guest_start(&fixture.plain, &fixture.rig, 1, 2, fixture.features);
	fixture.guest.reach = RIG_REACH_LATER;
	fixture.guest.queue_size = 512;
	fixture.guest.client_config.iommu = &iommu;
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	rig_guest_fini(&fixture.guest);
	rig_guest_fini(&fixture.plain);
	rig_destroy(&fixture.rig);
	return 0;
}

static void
start(void)
{
	rig_guest_start(&fixture.guest, &fixture.rig, 0, 2, fixture.features);
}

static bool
serve(void)
{
	rig_guest_serve(&fixture.guest);
	return true;
}

static uint32_t
receive(struct rig_guest *guest, uint8_t *ret_packet)
{
	uint64_t end_ms = rp_wire_clock_ms() + LIMIT_MS;
	uint32_t bytes = 0;

	while (bytes == 0 && rp_wire_clock_ms() < end_ms) {
		serve();
		bytes = rig_receive(guest, RX, ret_packet, RIG_BUFFER_BYTES);
		if (bytes == 0)
			usleep(50);
	}
	return bytes;
}

/* Each once, in order. */
static void
carry(struct rig_guest *from, struct rig_guest *to, uint32_t first)
{
	uint8_t frame[RIG_FRAME_BYTES], packet[RIG_BUFFER_BYTES];
	uint32_t number;

	for (number = first; number < first + FRAMES; number++) {
		rig_frame(frame, RIG_BROADCAST, 1, 0, number);
		assert_true(rig_send(from, TX, frame, sizeof(frame)));
		rig_ring(from, TX);
		assert_int_equal(receive(to, packet), RIG_HEADER_BYTES + sizeof(frame));
		assert_int_equal(rig_frame_sequence(packet + RIG_HEADER_BYTES), number);
		rig_post(to, RX, RIG_QUEUE_SIZE / 2, RIG_BUFFER_BYTES);
		rig_ring(to, RX);
		rig_reap(from, TX);
	}
}

static struct softaccel_iommu_counters
counters(void)
{
	struct softaccel_iommu_counters now;

	softaccel_function_iommu_counters(fixture.rig.functions[0], &now);
	return now;
}

static struct softaccel_dma_counters
accesses(void)
{
	struct softaccel_dma_counters now;

	softaccel_function_dma_counters(fixture.rig.functions[0], &now);
	return now;
}

static void
pages_are_asked_for_on_demand(void **state)
{
	struct softaccel_iommu_counters now;

	(void)state;
	start();
	assert_int_equal(accesses().mappings_count, 0);
	carry(&fixture.guest, &fixture.plain, 0);
	carry(&fixture.plain, &fixture.guest, 0);
	now = counters();
	assert_true(now.page_requests > 0);
	assert_int_equal(now.page_requests, fixture.page_requests);
	assert_int_equal(accesses().mappings_count, fixture.page_requests);
	assert_true(now.translations >= fixture.page_requests);
	assert_true(now.faults >= fixture.page_requests);
	assert_int_equal(accesses().refused, 0);
}

static void
answers_may_come_later(void **state)
{
	struct rig_guest *guest = &fixture.guest;
	uint8_t frame[RIG_FRAME_BYTES], packet[RIG_BUFFER_BYTES];
	uint64_t end_ms = rp_wire_clock_ms() + LIMIT_MS;

	(void)state;
	start();
	carry(guest, &fixture.plain, 0);
	fixture.slow = true;
	assert_int_equal(rp_vfu_client_invalidate(guest->client,
						  &(struct rp_vfu_client_iommu_range){.all_pasids = true, .all = true},
						  NULL),
			 0);
	rig_frame(frame, RIG_BROADCAST, 1, 0, 7);
	assert_true(rig_send(guest, TX, frame, sizeof(frame)));
	rig_ring(guest, TX);
	while (fixture.token == 0 && rp_wire_clock_ms() < end_ms)
		serve();
	assert_int_equal(rig_receive(&fixture.plain, RX, packet, sizeof(packet)), 0);
	/* An invalidation waits for nobody who waits. */
	assert_int_equal(rp_vfu_client_invalidate(guest->client,
						  &(struct rp_vfu_client_iommu_range){.all_pasids = true, .all = true},
						  NULL),
			 0);
	assert_int_equal(rp_vfu_client_translated(guest->client, fixture.token, &fixture.later), 0);
	assert_int_equal(receive(&fixture.plain, packet), RIG_HEADER_BYTES + sizeof(frame));
	assert_int_equal(rig_frame_sequence(packet + RIG_HEADER_BYTES), 7);
	assert_true(counters().voided > 0);
}

/* All that the device knows is taken back between any two frames, and once a page is elsewhere. */
static void
invalidations_while_it_runs(void **state)
{
	const struct rp_vfu_client_iommu_range everything = {.all_pasids = true, .all = true};
	unsigned int round;

	(void)state;
	start();
	for (round = 0; round < 5; round++) {
		carry(&fixture.guest, &fixture.plain, round * FRAMES);
		assert_int_equal(rp_vfu_client_invalidate(fixture.guest.client, &everything, NULL), 0);
		carry(&fixture.plain, &fixture.guest, round * FRAMES);
		assert_int_equal(rp_vfu_client_invalidate(fixture.guest.client, &everything, NULL), 0);
	}
	assert_int_equal(counters().invalidations, 10);
	assert_int_equal(accesses().refused, 0);
}

static void
on_another_mapped(void *ctx, int error, const struct rp_wire_why *why)
{
	(void)why;
	assert_int_equal(error, 0);
	*(bool *)ctx = true;
}

static bool
tx_has_missed(void *ctx)
{
	(void)ctx;
	return softaccel_queue_state(fixture.rig.functions[0], TX) == SOFTACCEL_QUEUE_BROKEN;
}

/* Another queue's page is mapped just after a ring missed, before the control side has looked why it stands. */
static void
a_page_comes_when_a_ring_has_just_missed(void **state)
{
	const struct rp_vfu_client_iommu_range everything = {.all_pasids = true, .all = true};
	bool mapped = false;
	const struct rp_vfu_client_done done = {.done = on_another_mapped, .ctx = &mapped};
	struct rp_vfu_client_memory another = {.iova = ANOTHER_IOVA, .size_bytes = PAGE_BYTES, .access_mask = RW};
	uint8_t frame[RIG_FRAME_BYTES], packet[RIG_BUFFER_BYTES];

	(void)state;
	start();
	carry(&fixture.guest, &fixture.plain, 0);
	assert_int_equal(rp_vfu_client_invalidate(fixture.guest.client, &everything, NULL), 0);
	rig_control_pause(&fixture.rig);
	another.fd = fixture.guest.memory_fd;
	assert_int_equal(rp_vfu_client_dma_map_start(fixture.guest.client, &another, &done, NULL), 0);
	rig_frame(frame, RIG_BROADCAST, 1, 0, 7);
	assert_true(rig_send(&fixture.guest, TX, frame, sizeof(frame)));
	rig_ring(&fixture.guest, TX);
	assert_true(test_wait(tx_has_missed, NULL, LIMIT_MS));
	rig_control_resume(&fixture.rig);
	assert_int_equal(receive(&fixture.plain, packet), RIG_HEADER_BYTES + sizeof(frame));
	assert_int_equal(rig_frame_sequence(packet + RIG_HEADER_BYTES), 7);
	assert_true(mapped);
}

uint8_t __real_rp_vfu_virtio_status(const struct rp_vfu_virtio *virtio);
uint8_t __wrap_rp_vfu_virtio_status(const struct rp_vfu_virtio *virtio);

/* The control side asks whether a queue is to run: of the transmit queue the ring misses just then. */
uint8_t
__wrap_rp_vfu_virtio_status(const struct rp_vfu_virtio *virtio)
{
	if (__atomic_load_n(&fixture.looks_left, __ATOMIC_ACQUIRE) > 0 &&
	    __atomic_sub_fetch(&fixture.looks_left, 1, __ATOMIC_ACQ_REL) == 0) {
		uint8_t frame[RIG_FRAME_BYTES];
		bool missed;

		rig_frame(frame, RIG_BROADCAST, 1, 0, 7);
		missed = rig_send(&fixture.guest, TX, frame, sizeof(frame));
		rig_ring(&fixture.guest, TX);
		missed = missed && test_wait(tx_has_missed, NULL, LIMIT_MS);
		__atomic_store_n(&fixture.missed, missed, __ATOMIC_RELEASE);
	}
	return __real_rp_vfu_virtio_status(virtio);
}

static void
a_ring_misses_while_it_is_judged(void **state)
{
	const struct rp_vfu_client_iommu_range everything = {.all_pasids = true, .all = true};
	bool mapped = false;
	const struct rp_vfu_client_done done = {.done = on_another_mapped, .ctx = &mapped};
	struct rp_vfu_client_memory another = {.iova = ANOTHER_IOVA, .size_bytes = PAGE_BYTES, .access_mask = RW};
	uint8_t packet[RIG_BUFFER_BYTES];

	(void)state;
	start();
	carry(&fixture.guest, &fixture.plain, 0);
	assert_int_equal(rp_vfu_client_invalidate(fixture.guest.client, &everything, NULL), 0);
	__atomic_store_n(&fixture.looks_left, TX + 1, __ATOMIC_RELEASE);
	another.fd = fixture.guest.memory_fd;
	assert_int_equal(rp_vfu_client_dma_map_start(fixture.guest.client, &another, &done, NULL), 0);
	assert_int_equal(receive(&fixture.plain, packet), RIG_HEADER_BYTES + RIG_FRAME_BYTES);
	assert_int_equal(rig_frame_sequence(packet + RIG_HEADER_BYTES), 7);
	assert_true(__atomic_load_n(&fixture.missed, __ATOMIC_ACQUIRE));
	assert_true(mapped);
}

static bool
tx_is_broken(void *ctx)
{
	(void)ctx;
	serve();
	return softaccel_queue_state(fixture.rig.functions[0], TX) == SOFTACCEL_QUEUE_BROKEN;
}

static void
send_to_nowhere(void)
{
	uint8_t frame[RIG_FRAME_BYTES];

	rig_frame(frame, RIG_BROADCAST, 1, 0, 0);
	assert_true(rig_send(&fixture.guest, TX, frame, sizeof(frame)));
	rig_ring(&fixture.guest, TX);
	assert_true(test_wait(tx_is_broken, NULL, LIMIT_MS));
}

static void
a_page_that_is_forbidden_breaks_its_queue(void **state)
{
	uint8_t packet[RIG_BUFFER_BYTES];

	(void)state;
	start();
	carry(&fixture.guest, &fixture.plain, 0);
	fixture.pages[rig_guest_page_of(&fixture.guest, rig_next_buffer(&fixture.guest))] = FORBIDDEN;
	assert_int_equal(rp_vfu_client_invalidate(fixture.guest.client,
						  &(struct rp_vfu_client_iommu_range){.all_pasids = true, .all = true},
						  NULL),
			 0);
	send_to_nowhere();
	assert_int_equal(rig_receive(&fixture.plain, RX, packet, sizeof(packet)), 0);
}

static void
a_client_that_lies_is_not_asked_for_ever(void **state)
{
	(void)state;
	start();
	carry(&fixture.guest, &fixture.plain, 0);
	memset(fixture.pages, 0, sizeof(fixture.pages));
	fixture.lies = true;
	assert_int_equal(rp_vfu_client_invalidate(fixture.guest.client,
						  &(struct rp_vfu_client_iommu_range){.all_pasids = true, .all = true},
						  NULL),
			 0);
	send_to_nowhere();
}

/* Without a kick of the receive ring's. */
static void
carry_one(uint32_t number)
{
	uint8_t frame[RIG_FRAME_BYTES], packet[RIG_BUFFER_BYTES];

	rig_frame(frame, RIG_BROADCAST, 1, 0, number);
	assert_true(rig_send(&fixture.plain, TX, frame, sizeof(frame)));
	rig_ring(&fixture.plain, TX);
	assert_int_equal(receive(&fixture.guest, packet), RIG_HEADER_BYTES + sizeof(frame));
	assert_int_equal(rig_frame_sequence(packet + RIG_HEADER_BYTES), number);
}

static void
stop_receiver(void)
{
	struct rp_accel_vendor_queue image;

	rig_vendor_write(&fixture.guest, RX, offsetof(struct rp_accel_vendor_queue, control), RP_ACCEL_VENDOR_STOP);
	rig_vendor_read(&fixture.guest, RX, &image);
	rig_guest_program(&fixture.guest, RX);
	rig_vendor_write(&fixture.guest, RX, offsetof(struct rp_accel_vendor_queue, position), le32toh(image.position));
}

static bool
rx_runs(void *ctx)
{
	(void)ctx;
	serve();
	return softaccel_queue_state(fixture.rig.functions[0], RX) == SOFTACCEL_QUEUE_RUNNING;
}

/* Its client enables a ring in mid-life while nothing of it is known: that another was kicked for it is not forgotten. */
static void
a_ring_is_known_after_it_was_enabled(void **state)
{
	const struct rp_vfu_client_iommu_range everything = {.all_pasids = true, .all = true};

	(void)state;
	start();
	carry(&fixture.guest, &fixture.plain, 0);
	carry(&fixture.plain, &fixture.guest, 0);
	/* What is served after the first was served finds no kick any more. */
	carry_one(5);
	carry_one(6);
	stop_receiver();
	assert_int_equal(rp_vfu_client_invalidate(fixture.guest.client, &everything, NULL), 0);
	fixture.slow = true;
	rig_guest_enable(&fixture.guest, RX);
	while (fixture.token == 0)
		serve();
	assert_int_equal(softaccel_queue_state(fixture.rig.functions[0], RX), SOFTACCEL_QUEUE_STOPPED);
	assert_int_equal(rp_vfu_client_translated(fixture.guest.client, fixture.token, &fixture.later), 0);
	assert_true(test_wait(rx_runs, NULL, LIMIT_MS));
	carry_one(7);
}

/* While it waits for a page. */
static void
resets_and_leaves_while_it_waits(void **state)
{
	uint8_t frame[RIG_FRAME_BYTES];

	(void)state;
	start();
	carry(&fixture.guest, &fixture.plain, 0);
	fixture.slow = true;
	assert_int_equal(rp_vfu_client_invalidate(fixture.guest.client,
						  &(struct rp_vfu_client_iommu_range){.all_pasids = true, .all = true},
						  NULL),
			 0);
	rig_frame(frame, RIG_BROADCAST, 1, 0, 0);
	assert_true(rig_send(&fixture.guest, TX, frame, sizeof(frame)));
	rig_ring(&fixture.guest, TX);
	while (fixture.token == 0)
		serve();
	rig_common_write(&fixture.guest, 20, 1, 0);
	assert_int_equal(softaccel_queue_state(fixture.rig.functions[0], TX), SOFTACCEL_QUEUE_STOPPED);
	rp_vfu_client_translated(fixture.guest.client, fixture.token, &fixture.later);
	fixture.slow = false;
	rig_guest_fini(&fixture.guest);
	memset(fixture.pages, 0, sizeof(fixture.pages));
	memset(fixture.mapped, 0, sizeof(fixture.mapped));
	fixture.guest.reach = RIG_REACH_LATER;
	fixture.guest.queue_size = 512;
	fixture.guest.client_config.iommu = &iommu;
	start();
	carry(&fixture.guest, &fixture.plain, FRAMES);
}

/* A client that offers nothing gets the device that it knows. */
static void
a_stock_client(void **state)
{
	(void)state;
	fixture.guest.reach = RIG_REACH_PAGES;
	fixture.guest.client_config.iommu = NULL;
	start();
	carry(&fixture.guest, &fixture.plain, 0);
	carry(&fixture.plain, &fixture.guest, 0);
	assert_int_equal(counters().page_requests, 0);
	assert_int_equal(fixture.translations, 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		RIG_TESTS(pages_are_asked_for_on_demand),
		RIG_TESTS(answers_may_come_later),
		RIG_TESTS(invalidations_while_it_runs),
		RIG_TESTS(a_page_comes_when_a_ring_has_just_missed),
		RIG_TESTS(a_ring_misses_while_it_is_judged),
		RIG_TESTS(a_page_that_is_forbidden_breaks_its_queue),
		RIG_TESTS(a_client_that_lies_is_not_asked_for_ever),
		RIG_TESTS(a_ring_is_known_after_it_was_enabled),
		RIG_TESTS(resets_and_leaves_while_it_waits),
		RIG_TESTS(a_stock_client),
	};

	rig_eal_init();
	return cmocka_run_group_tests_name("softaccel_asking", tests, NULL, NULL);
}
