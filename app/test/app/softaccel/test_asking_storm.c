/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "rig.h"
#include "rp_vfu_client_iommu.h"
#include "rp_wire_clock.h"

/*
 * Frames both ways, and an IOMMU that takes pages away at the worst moments: while the device
 * asks for them, just when they were given, and while it may use them. A page that is taken away
 * is unmapped, and comes back at another address when the device requests it.
 */

#define RX 0u
#define TX 1u
#define LIMIT_MS 240000u
#define PAGE_BYTES 4096ull /* of the protocol, whatever this machine has */
#define PAGES (RIG_MEMORY_BYTES / (unsigned int)PAGE_BYTES)
#define TRANSLATED_IOVA 0x8000000000ull
#define TURN_BYTES (1ull << 30) /* between the addresses of a page */
#define RW (RP_VFU_DMA_MAP_READ_MASK | RP_VFU_DMA_MAP_WRITE_MASK)
#define FRAMES_MIN 200u /* each way */
#define ENOUGH 10u /* of each race */
#define UNDER_WAY_MAX 16u /* frames: a port holds some more for a queue that waits */
#define LATER_MAX 8u
#define LEAVING_MAX 4u
#define RECENT 8u /* pages that were asked for last: rings' and buffers' */
#define CHANGES_MAX 2u /* between two frames that arrive: whoever never lets a page stay sees none */

enum presence {
	ABSENT,
	COMING, /* its map is under way, for a page request */
	PRESENT,
	LEAVING, /* its invalidation, or then its unmap, is under way */
};

struct page {
	enum presence presence;
	bool translated; /* since it came: it was of use once */
	bool hurried; /* it went before it was of use, and next time it is */
	unsigned int turn; /* where it is */
	uint32_t group; /* the request that waits for it; 0: none */
};

static struct {
	struct rig rig;
	struct rig_guest guest, plain;
	struct page pages[PAGES];
	unsigned int leaving_count, changes_left;
	uint32_t recent[RECENT];
	unsigned int recent_at;
	struct {
		uint64_t token;
		struct rp_vfu_client_translate request;
	} later[LATER_MAX];
	unsigned int later_count;
	uint32_t seed;
	bool over;
} storm;

static uint32_t
draw(uint32_t below)
{
	storm.seed = storm.seed * 1664525u + 1013904223u;
	return (storm.seed >> 8) % below;
}

static uint32_t
place_of(uint64_t iova)
{
	assert_true(iova >= RIG_MEMORY_IOVA && iova - RIG_MEMORY_IOVA < RIG_MEMORY_BYTES);
	return (uint32_t)((iova - RIG_MEMORY_IOVA) / PAGE_BYTES);
}

static uint64_t
address_of(uint32_t place)
{
	return TRANSLATED_IOVA + storm.pages[place].turn * TURN_BYTES + place * PAGE_BYTES;
}

/* What is under way when the client goes. */
static bool
is_over(int error)
{
	assert_int_equal(error, storm.over ? -ECANCELED : 0);
	return error < 0;
}

static void come(uint32_t place);

static void
on_unmapped(void *ctx, int error, const struct rp_wire_why *why)
{
	uint32_t place = (uint32_t)(uintptr_t)ctx;
	struct page *page = &storm.pages[place];

	(void)why;
	if (is_over(error))
		return;
	storm.leaving_count--;
	page->presence = ABSENT;
	page->turn = (page->turn + 1) % 8;
	if (page->group != 0)
		come(place);
}

/* Nobody uses it any more. */
static void
on_invalidated(void *ctx, int error, const struct rp_wire_why *why)
{
	const struct rp_vfu_client_done done = {.done = on_unmapped, .ctx = ctx};

	(void)why;
	if (is_over(error))
		return;
	assert_int_equal(rp_vfu_client_dma_unmap_start(storm.guest.client, address_of((uint32_t)(uintptr_t)ctx),
						       PAGE_BYTES, &done, NULL),
			 0);
}

static void
take_away(uint32_t place)
{
	const struct rp_vfu_client_done done = {.done = on_invalidated, .ctx = (void *)(uintptr_t)place};
	const struct rp_vfu_client_iommu_range range = {.pasid = RP_VFU_CLIENT_NO_PASID,
							.iova = RIG_MEMORY_IOVA + place * PAGE_BYTES,
							.size_bytes = PAGE_BYTES};
	struct page *page = &storm.pages[place];

	/* A page that never stays is the end of its queue. */
	if (page->presence != PRESENT || (!page->translated && page->hurried) || storm.leaving_count == LEAVING_MAX ||
	    storm.changes_left == 0)
		return;
	page->hurried = !page->translated;
	storm.changes_left--;
	page->presence = LEAVING;
	storm.leaving_count++;
	assert_int_equal(rp_vfu_client_invalidate_start(storm.guest.client, &range, &done, NULL), 0);
}

static struct rp_vfu_client_translation
translation(const struct rp_vfu_client_translate *request)
{
	struct rp_vfu_client_translation known = {.iova = request->iova, .size_bytes = PAGE_BYTES};
	uint32_t place = place_of(request->iova);

	if (storm.pages[place].presence != PRESENT)
		return known;
	known.address = address_of(place);
	known.access_mask = RW;
	storm.pages[place].translated = true;
	storm.recent[storm.recent_at++ % RECENT] = place;
	return known;
}

static int
translate(void *ctx, uint64_t token, const struct rp_vfu_client_translate *request,
	  struct rp_vfu_client_translation *ret_translation)
{
	(void)ctx;
	if (storm.later_count < LATER_MAX && draw(4) == 0) {
		storm.later[storm.later_count].token = token;
		storm.later[storm.later_count++].request = *request;
		return -EINPROGRESS;
	}
	*ret_translation = translation(request);
	return 0;
}

static void
on_mapped(void *ctx, int error, const struct rp_wire_why *why)
{
	struct page *page = &storm.pages[(uint32_t)(uintptr_t)ctx];
	uint32_t group = page->group;

	(void)why;
	if (is_over(error))
		return;
	page->presence = PRESENT;
	page->translated = false;
	page->group = 0;
	assert_int_equal(rp_vfu_client_page_respond(storm.guest.client, group, RP_VFU_PAGE_SUCCESS), 0);
}

static void
come(uint32_t place)
{
	const struct rp_vfu_client_done done = {.done = on_mapped, .ctx = (void *)(uintptr_t)place};
	const struct rp_vfu_client_memory memory = {.iova = address_of(place),
						    .size_bytes = PAGE_BYTES,
						    .access_mask = RW,
						    .fd = storm.guest.memory_fd,
						    .offset_bytes = place * PAGE_BYTES};

	storm.pages[place].presence = COMING;
	assert_int_equal(rp_vfu_client_dma_map_start(storm.guest.client, &memory, &done, NULL), 0);
}

static void
page_request(void *ctx, const struct rp_vfu_client_page_group *group)
{
	uint32_t place = place_of(group->pages[0].iova);
	struct page *page = &storm.pages[place];

	(void)ctx;
	assert_int_equal(group->pages_count, 1);
	if (page->presence == PRESENT || page->group != 0) {
		/* Two queues may ask for one: it is there, or will be when they ask again. */
		rp_vfu_client_page_respond(storm.guest.client, group->number, RP_VFU_PAGE_SUCCESS);
		return;
	}
	page->group = group->number;
	if (page->presence == ABSENT)
		come(place);
}

static const struct rp_vfu_client_iommu iommu = {.translate = translate, .page_request = page_request};

static int
setup(void **state)
{
	const char *seed = getenv("TEST_SEED");
	uint64_t features = RIG_FEATURES_DEFAULT | *(const uint64_t *)*state;

	memset(&storm, 0, sizeof(storm));
	storm.seed = seed == NULL ? 1 : (uint32_t)strtoul(seed, NULL, 0);
	rig_create(&storm.rig);
	rig_function(&storm.rig, (struct softaccel_function_config){.queue_pairs = 1, .iommu = true});
	rig_function(&storm.rig, (struct softaccel_function_config){.queue_pairs = 1});
	rig_run(&storm.rig);
	rig_guest_start(&storm.plain, &storm.rig, 1, 2, features);
	storm.guest.reach = RIG_REACH_LATER;
	storm.guest.client_config.iommu = &iommu;
	storm.guest.client_config.timeout_ms = LIMIT_MS;
	rig_guest_start(&storm.guest, &storm.rig, 0, 2, features);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	storm.over = true;
	rig_guest_fini(&storm.guest);
	rig_guest_fini(&storm.plain);
	rig_destroy(&storm.rig);
	return 0;
}

/* One that was held up is answered, and before that, or just after, its page may go. */
static void
answer_one(void)
{
	unsigned int at = draw(storm.later_count), when = draw(3);
	struct rp_vfu_client_translation known;
	uint32_t place = place_of(storm.later[at].request.iova);

	if (when == 0)
		take_away(place);
	known = translation(&storm.later[at].request);
	assert_int_equal(rp_vfu_client_translated(storm.guest.client, storm.later[at].token, &known), 0);
	storm.later[at] = storm.later[--storm.later_count];
	if (when == 1)
		take_away(place);
}

static void
be_an_iommu(void)
{
	rig_guest_serve(&storm.guest);
	if (storm.later_count > 0 && draw(4) == 0)
		answer_one();
	if (draw(4) == 0)
		take_away(storm.recent[draw(RECENT)]);
}

struct way {
	struct rig_guest *from, *to;
	uint32_t sent, received;
};

/* Each once, in order. */
static void
carry(struct way *way)
{
	uint8_t frame[RIG_FRAME_BYTES], packet[RIG_BUFFER_BYTES];
	uint32_t bytes;

	if (way->sent - way->received < UNDER_WAY_MAX) {
		rig_frame(frame, RIG_BROADCAST, 1, 0, way->sent);
		if (rig_send(way->from, TX, frame, sizeof(frame))) {
			rig_ring_if_wanted(way->from, TX);
			way->sent++;
		}
	}
	while ((bytes = rig_receive(way->to, RX, packet, sizeof(packet))) > 0) {
		assert_int_equal(bytes, RIG_HEADER_BYTES + sizeof(frame));
		assert_int_equal(rig_frame_sequence(packet + RIG_HEADER_BYTES), way->received);
		way->received++;
		storm.changes_left = CHANGES_MAX;
	}
	rig_post(way->to, RX, RIG_QUEUE_SIZE / 2, RIG_BUFFER_BYTES);
	rig_ring_if_wanted(way->to, RX);
	rig_reap(way->from, TX);
}

/* What comes before there is a queue is dropped. */
static void
wait_for_the_queues(uint64_t end_ms)
{
	unsigned int queue;

	for (queue = RX; queue <= TX; queue++) {
		while (softaccel_queue_state(storm.rig.functions[0], queue) != SOFTACCEL_QUEUE_RUNNING) {
			assert_true(rp_wire_clock_ms() < end_ms);
			be_an_iommu();
		}
	}
}

static bool
is_enough(const struct way *there, const struct way *back)
{
	struct softaccel_iommu_counters now;

	softaccel_function_iommu_counters(storm.rig.functions[0], &now);
	return there->received >= FRAMES_MIN && back->received >= FRAMES_MIN && now.voided >= ENOUGH &&
	       now.page_requests >= ENOUGH && now.invalidations >= ENOUGH;
}

static void
frames_arrive_whatever_goes(void **state)
{
	struct way there = {.from = &storm.guest, .to = &storm.plain};
	struct way back = {.from = &storm.plain, .to = &storm.guest};
	uint64_t end_ms = rp_wire_clock_ms() + LIMIT_MS;
	struct softaccel_dma_counters accesses;

	(void)state;
	wait_for_the_queues(end_ms);
	storm.changes_left = CHANGES_MAX;
	while (!is_enough(&there, &back)) {
		assert_true(rp_wire_clock_ms() < end_ms);
		be_an_iommu();
		carry(&there);
		carry(&back);
	}
	softaccel_function_dma_counters(storm.rig.functions[0], &accesses);
	assert_int_equal(accesses.refused, 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {RIG_TESTS(frames_arrive_whatever_goes)};

	rig_eal_init();
	return cmocka_run_group_tests_name("softaccel_asking_storm", tests, NULL, NULL);
}
