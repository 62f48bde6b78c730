/* SPDX-License-Identifier: BSD-3-Clause */
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "rp_dma.h"
#include "rp_wire_clock.h"
#include "rp_wire_fd.h"
#include "test_support.h"

#define PAGE_BYTES 4096u
#define PAGES 64u
#define READERS 3u
#define STORM_MS 1500u
#define STAMP 0x52494e47u
#define LIMIT_MS 10000u
#define STILL_WAITING_MS 50u

struct scene {
	struct rp_dma_space *space;
	struct rp_dma_reader *reader;
	int fd;
};

static int
setup(void **state)
{
	struct scene *scene = calloc(1, sizeof(*scene));
	uint32_t stamp = STAMP, page;

	assert_int_equal(rp_dma_space_create(NULL, &scene->space), 0);
	assert_int_equal(rp_dma_reader_create(scene->space, &scene->reader), 0);
	scene->fd = test_memfd(PAGES * PAGE_BYTES, true);
	for (page = 0; page < PAGES; page++)
		assert_int_equal(pwrite(scene->fd, &stamp, sizeof(stamp), page * PAGE_BYTES), sizeof(stamp));
	*state = scene;
	return 0;
}

static int
teardown(void **state)
{
	struct scene *scene = *state;

	assert_null(rp_dma_reader_destroy(scene->reader));
	assert_null(rp_dma_space_destroy(scene->space));
	rp_wire_fd_close(&scene->fd);
	free(scene);
	return 0;
}

static void
map_page(struct scene *scene, uint32_t page, uint32_t access_mask)
{
	const struct rp_dma_mapping mapping = {
		.iova = page * PAGE_BYTES,
		.size_bytes = PAGE_BYTES,
		.offset_bytes = page * PAGE_BYTES,
		.access_mask = access_mask,
		.fd = scene->fd,
	};
	struct rp_wire_why why = {0};

	if (rp_dma_space_map(scene->space, &mapping, &why) != 0)
		fail_msg("map page %u: %s", page, why.text);
}

static void
translates_what_lies_together(void **state)
{
	struct scene *scene = *state;
	uint64_t here_bytes = 77;
	uint8_t *first, *second;

	map_page(scene, 1, RP_DMA_READ);
	map_page(scene, 2, RP_DMA_READ | RP_DMA_WRITE);
	rp_dma_reader_online(scene->reader);
	assert_null(rp_dma_reader_translate(scene->reader, 0, 1, RP_DMA_READ, &here_bytes));
	assert_int_equal(here_bytes, 0);
	first = rp_dma_reader_translate(scene->reader, PAGE_BYTES + 6, 10, RP_DMA_READ, &here_bytes);
	assert_non_null(first);
	assert_int_equal(here_bytes, 10);
	assert_ptr_equal(rp_dma_reader_translate(scene->reader, PAGE_BYTES, 2 * PAGE_BYTES, RP_DMA_READ, &here_bytes),
			 first - 6);
	assert_int_equal(here_bytes, PAGE_BYTES);
	second = rp_dma_reader_translate(scene->reader, 2 * PAGE_BYTES, UINT64_MAX, RP_DMA_READ | RP_DMA_WRITE,
					 &here_bytes);
	assert_non_null(second);
	assert_int_equal(here_bytes, PAGE_BYTES);
	assert_null(rp_dma_reader_translate(scene->reader, PAGE_BYTES, 1, RP_DMA_WRITE, &here_bytes));
	assert_int_equal(here_bytes, 0);
	assert_null(rp_dma_reader_translate(scene->reader, PAGE_BYTES, 0, RP_DMA_READ, &here_bytes));
	assert_null(rp_dma_reader_translate(scene->reader, 3 * PAGE_BYTES, 1, RP_DMA_READ, &here_bytes));
	rp_dma_reader_offline(scene->reader);
}

static void
translations_are_counted(void **state)
{
	struct scene *scene = *state;
	struct rp_dma_reader_counters counters;
	uint64_t here_bytes;

	map_page(scene, 1, RP_DMA_READ);
	rp_dma_reader_online(scene->reader);
	(void)rp_dma_reader_translate(scene->reader, PAGE_BYTES, 1, RP_DMA_READ, &here_bytes);
	(void)rp_dma_reader_translate(scene->reader, PAGE_BYTES, 2 * PAGE_BYTES, RP_DMA_READ, &here_bytes);
	(void)rp_dma_reader_translate(scene->reader, PAGE_BYTES, 1, RP_DMA_WRITE, &here_bytes);
	(void)rp_dma_reader_translate(scene->reader, 0, 1, RP_DMA_READ, &here_bytes);
	(void)rp_dma_reader_translate(scene->reader, PAGE_BYTES, 0, RP_DMA_READ, &here_bytes);
	rp_dma_reader_offline(scene->reader);
	rp_dma_reader_counters(scene->reader, &counters);
	assert_int_equal(counters.translations, 2);
	assert_int_equal(counters.refused, 3);
}

/*
 * A guest may use memory as soon as its map was answered: the reader that meets
 * the address in a ring has had no quiescent point in between.
 */
static void
a_map_is_seen_at_once(void **state)
{
	struct scene *scene = *state;
	uint64_t here_bytes;

	rp_dma_reader_online(scene->reader);
	assert_null(rp_dma_reader_translate(scene->reader, 0, 1, RP_DMA_READ, &here_bytes));
	map_page(scene, 0, RP_DMA_READ);
	assert_non_null(rp_dma_reader_translate(scene->reader, 0, 1, RP_DMA_READ, &here_bytes));
	rp_dma_reader_offline(scene->reader);
}

/* Equal generations at two moments online: nothing that was translated has gone. */
static void
generation_tells_of_changes(void **state)
{
	struct scene *scene = *state;
	struct rp_dma_reader *reader = scene->reader;
	uint64_t first, second;

	rp_dma_reader_online(reader);
	first = rp_dma_reader_generation(reader);
	assert_int_not_equal(first, 0);
	rp_dma_reader_quiescent(reader);
	assert_int_equal(rp_dma_reader_generation(reader), first);
	map_page(scene, 0, RP_DMA_READ);
	assert_int_equal(rp_dma_reader_generation(reader), first);
	rp_dma_reader_quiescent(reader);
	second = rp_dma_reader_generation(reader);
	assert_int_not_equal(second, first);
	rp_dma_reader_offline(reader);
	rp_dma_reader_online(reader);
	assert_int_equal(rp_dma_reader_generation(reader), second);
	rp_dma_reader_offline(reader);
	rp_dma_space_unmap(scene->space, 0, PAGE_BYTES, NULL);
	rp_dma_reader_online(reader);
	assert_int_not_equal(rp_dma_reader_generation(reader), second);
	rp_dma_reader_offline(reader);
}

/* Unmapping nothing changes nothing, and does not wait for an online reader either. */
static void
unmapping_nothing_does_not_wait(void **state)
{
	struct scene *scene = *state;
	uint64_t generation;

	map_page(scene, 1, RP_DMA_READ);
	rp_dma_reader_online(scene->reader);
	generation = rp_dma_reader_generation(scene->reader);
	assert_int_equal(rp_dma_space_unmap(scene->space, 2 * PAGE_BYTES, UINT64_MAX / 2, NULL), 0);
	rp_dma_reader_quiescent(scene->reader);
	assert_int_equal(rp_dma_reader_generation(scene->reader), generation);
	rp_dma_reader_offline(scene->reader);
}

/* What was found before is not found again when the table below it has become another. */
static void
shrinking_table(void **state)
{
	struct scene *scene = *state;
	uint64_t here_bytes;
	uint32_t page;

	for (page = 0; page < PAGES; page++)
		map_page(scene, page, RP_DMA_READ);
	rp_dma_reader_online(scene->reader);
	assert_non_null(rp_dma_reader_translate(scene->reader, (PAGES - 1) * PAGE_BYTES, 1, RP_DMA_READ, &here_bytes));
	rp_dma_reader_offline(scene->reader);
	rp_dma_space_unmap(scene->space, PAGE_BYTES, (PAGES - 1) * PAGE_BYTES, NULL);
	rp_dma_reader_online(scene->reader);
	assert_null(rp_dma_reader_translate(scene->reader, (PAGES - 1) * PAGE_BYTES, 1, RP_DMA_READ, &here_bytes));
	assert_non_null(rp_dma_reader_translate(scene->reader, 0, 1, RP_DMA_READ, &here_bytes));
	rp_dma_reader_offline(scene->reader);
}

struct unmapper {
	struct scene *scene;
	atomic_bool done;
};

static void *
unmap_all(void *ctx)
{
	struct unmapper *unmapper = ctx;

	rp_dma_space_unmap(unmapper->scene->space, 0, PAGES * PAGE_BYTES, NULL);
	atomic_store(&unmapper->done, true);
	return NULL;
}

static bool
is_done(void *ctx)
{
	return atomic_load(&((struct unmapper *)ctx)->done);
}

/* The writer waits while a reader may hold an address, and that address stays good. */
static void
unmap_waits_for_the_reader(void **state)
{
	struct scene *scene = *state;
	struct unmapper unmapper = {.scene = scene};
	uint64_t here_bytes;
	uint32_t *held;
	pthread_t thread;

	map_page(scene, 0, RP_DMA_READ);
	rp_dma_reader_online(scene->reader);
	held = rp_dma_reader_translate(scene->reader, 0, 4, RP_DMA_READ, &here_bytes);
	assert_int_equal(pthread_create(&thread, NULL, unmap_all, &unmapper), 0);
	assert_false(test_wait(is_done, &unmapper, STILL_WAITING_MS));
	assert_int_equal(*held, STAMP);
	assert_null(rp_dma_reader_translate(scene->reader, 0, 4, RP_DMA_READ, &here_bytes));
	assert_int_equal(*held, STAMP);
	rp_dma_reader_quiescent(scene->reader);
	assert_true(test_wait(is_done, &unmapper, LIMIT_MS));
	pthread_join(thread, NULL);
	rp_dma_reader_offline(scene->reader);
}

static void
offline_reader_lets_go(void **state)
{
	struct scene *scene = *state;
	struct unmapper unmapper = {.scene = scene};
	pthread_t thread;

	map_page(scene, 0, RP_DMA_READ);
	rp_dma_reader_online(scene->reader);
	assert_int_equal(pthread_create(&thread, NULL, unmap_all, &unmapper), 0);
	assert_false(test_wait(is_done, &unmapper, STILL_WAITING_MS));
	rp_dma_reader_offline(scene->reader);
	assert_true(test_wait(is_done, &unmapper, LIMIT_MS));
	pthread_join(thread, NULL);
}

struct storm {
	struct scene *scene;
	struct rp_dma_reader *reader;
	atomic_bool *stop;
	unsigned int seed;
	uint64_t found_count;
	uint64_t wrong_count;
};

/* Use what was translated as late as possible: an address that went too early is a crash. */
static void
storm_batch(struct storm *storm)
{
	const uint32_t *held[8];
	unsigned int i;

	for (i = 0; i < 8; i++) {
		uint64_t page = (uint64_t)rand_r(&storm->seed) % PAGES, here_bytes;

		held[i] = rp_dma_reader_translate(storm->reader, page * PAGE_BYTES, 4, RP_DMA_READ, &here_bytes);
	}
	for (i = 0; i < 8; i++) {
		if (held[i] == NULL)
			continue;
		storm->found_count++;
		if (*held[i] != STAMP)
			storm->wrong_count++;
	}
}

static void *
storm_reader(void *ctx)
{
	struct storm *storm = ctx;

	while (!atomic_load_explicit(storm->stop, memory_order_relaxed)) {
		unsigned int batch;

		rp_dma_reader_online(storm->reader);
		for (batch = 0; batch < 1 + (unsigned int)rand_r(&storm->seed) % 50; batch++) {
			storm_batch(storm);
			rp_dma_reader_quiescent(storm->reader);
		}
		rp_dma_reader_offline(storm->reader);
		if (rand_r(&storm->seed) % 16 == 0)
			usleep(50);
	}
	return NULL;
}

static uint64_t
storm_writer(struct scene *scene)
{
	uint64_t deadline_ms = rp_wire_clock_ms() + STORM_MS, changes = 0;
	bool mapped[PAGES] = {false};
	unsigned int seed = 7;

	while (rp_wire_clock_ms() < deadline_ms) {
		uint32_t page = (uint32_t)rand_r(&seed) % PAGES;

		if (mapped[page])
			rp_dma_space_unmap(scene->space, page * PAGE_BYTES, PAGE_BYTES, NULL);
		else
			map_page(scene, page, RP_DMA_READ);
		mapped[page] = !mapped[page];
		if (++changes % 512 == 0) {
			rp_dma_space_clear(scene->space);
			memset(mapped, 0, sizeof(mapped));
		}
	}
	return changes;
}

static void
readers_and_a_writer(void **state)
{
	struct scene *scene = *state;
	struct storm storms[READERS] = {0};
	pthread_t threads[READERS];
	atomic_bool stop = false;
	uint64_t changes, found = 0;
	unsigned int i;

	for (i = 0; i < READERS; i++) {
		storms[i].scene = scene;
		storms[i].stop = &stop;
		storms[i].seed = 100 + i;
		assert_int_equal(rp_dma_reader_create(scene->space, &storms[i].reader), 0);
		assert_int_equal(pthread_create(&threads[i], NULL, storm_reader, &storms[i]), 0);
	}
	changes = storm_writer(scene);
	atomic_store(&stop, true);
	for (i = 0; i < READERS; i++) {
		pthread_join(threads[i], NULL);
		rp_dma_reader_destroy(storms[i].reader);
		assert_int_equal(storms[i].wrong_count, 0);
		found += storms[i].found_count;
	}
	print_message("%llu changes, %llu translated accesses\n", (unsigned long long)changes,
		      (unsigned long long)found);
	assert_true(changes > 100);
	assert_true(found > 1000);
}

#define WIDE_PAGES 6000u
#define WIDE_STEP 3u

/* Page n of the wide space begins with STAMP, and lies where the file's page n modulo PAGES does. */
static struct rp_dma_mapping
wide_mapping(const struct scene *scene, uint32_t page)
{
	return (struct rp_dma_mapping){
		.iova = (uint64_t)page * WIDE_STEP * PAGE_BYTES,
		.size_bytes = page % 16 == 0 ? PAGE_BYTES + 100 : PAGE_BYTES,
		.offset_bytes = page % (PAGES - 1) * (uint64_t)PAGE_BYTES,
		.access_mask = RP_DMA_READ,
		.fd = scene->fd,
	};
}

static void *
wide_reader(void *ctx)
{
	struct storm *storm = ctx;
	const uint32_t *held[8];
	uint64_t here_bytes;
	unsigned int i;

	rp_dma_reader_online(storm->reader);
	while (!atomic_load_explicit(storm->stop, memory_order_relaxed)) {
		for (i = 0; i < 8; i++) {
			uint64_t page = (uint64_t)rand_r(&storm->seed) % WIDE_PAGES;

			held[i] = rp_dma_reader_translate(storm->reader, page * WIDE_STEP * PAGE_BYTES, 4, RP_DMA_READ,
							  &here_bytes);
		}
		for (i = 0; i < 8; i++) {
			storm->found_count += held[i] != NULL;
			storm->wrong_count += held[i] != NULL && *held[i] != STAMP;
		}
		rp_dma_reader_quiescent(storm->reader);
		if (rand_r(&storm->seed) % 64 != 0)
			continue;
		rp_dma_reader_offline(storm->reader);
		usleep(50);
		rp_dma_reader_online(storm->reader);
	}
	rp_dma_reader_offline(storm->reader);
	return NULL;
}

/* Nodes and buckets come and go: many pages, odd ones among them, remaps, ranges that are cut. */
static uint64_t
wide_writer(struct scene *scene)
{
	uint64_t deadline_ms = rp_wire_clock_ms() + STORM_MS, changes = 0;
	unsigned int seed = 9;
	uint32_t page;

	for (page = 0; page < WIDE_PAGES; page++) {
		const struct rp_dma_mapping mapping = wide_mapping(scene, page);

		assert_int_equal(rp_dma_space_map(scene->space, &mapping, NULL), 0);
	}
	while (rp_wire_clock_ms() < deadline_ms) {
		uint64_t iova;

		page = (uint32_t)rand_r(&seed) % WIDE_PAGES;
		iova = (uint64_t)page * WIDE_STEP * PAGE_BYTES;
		if (rand_r(&seed) % 3 > 0) {
			const struct rp_dma_mapping mapping = wide_mapping(scene, page);

			assert_int_equal(rp_dma_space_remap(scene->space, &mapping, NULL), 0);
		} else {
			assert_int_equal(rp_dma_space_unmap(scene->space, iova + (uint64_t)rand_r(&seed) % PAGE_BYTES,
							    1 + (uint64_t)rand_r(&seed) % (20 * PAGE_BYTES), NULL),
					 0);
		}
		changes++;
	}
	return changes;
}

/* As above with a table of some depth; also under the sanitizers. */
static void
readers_of_a_wide_space(void **state)
{
	struct scene *scene = *state;
	struct storm storms[READERS] = {0};
	pthread_t threads[READERS];
	atomic_bool stop = false;
	uint64_t changes, found = 0;
	unsigned int i;

	for (i = 0; i < READERS; i++) {
		storms[i].stop = &stop;
		storms[i].seed = 200 + i;
		assert_int_equal(rp_dma_reader_create(scene->space, &storms[i].reader), 0);
		assert_int_equal(pthread_create(&threads[i], NULL, wide_reader, &storms[i]), 0);
	}
	changes = wide_writer(scene);
	atomic_store(&stop, true);
	for (i = 0; i < READERS; i++) {
		pthread_join(threads[i], NULL);
		rp_dma_reader_destroy(storms[i].reader);
		assert_int_equal(storms[i].wrong_count, 0);
		found += storms[i].found_count;
	}
	print_message("%llu changes, %llu translated accesses\n", (unsigned long long)changes,
		      (unsigned long long)found);
	assert_true(changes > 20);
	assert_true(found > 1000);
}

/* A reader that is seldom quiescent: maps go on without it, up to a bound, and then wait for it. */
static void *
map_all(void *ctx)
{
	struct unmapper *mapper = ctx;
	uint32_t page;

	for (page = 0; page < PAGES; page++)
		map_page(mapper->scene, page, RP_DMA_READ);
	atomic_store(&mapper->done, true);
	return NULL;
}

static void
maps_wait_for_no_reader_but_a_stuck_one(void **state)
{
	struct scene *scene = *state;
	struct unmapper mapper = {.scene = scene};
	pthread_t thread;
	uint32_t page;

	rp_dma_reader_online(scene->reader);
	for (page = 0; page < 16; page++)
		map_page(scene, page, RP_DMA_READ);
	rp_dma_reader_quiescent(scene->reader);
	assert_int_equal(rp_dma_space_unmap(scene->space, PAGES * PAGE_BYTES, 1, NULL), 0);
	rp_dma_reader_offline(scene->reader);
	rp_dma_space_clear(scene->space);
	rp_dma_reader_online(scene->reader);
	assert_int_equal(pthread_create(&thread, NULL, map_all, &mapper), 0);
	assert_false(test_wait(is_done, &mapper, STILL_WAITING_MS));
	do {
		rp_dma_reader_quiescent(scene->reader);
	} while (!is_done(&mapper));
	rp_dma_reader_offline(scene->reader);
	pthread_join(thread, NULL);
	assert_int_equal(rp_dma_space_count(scene->space), PAGES);
}

#define WITH_SCENE(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_SCENE(translates_what_lies_together),
		WITH_SCENE(translations_are_counted),
		WITH_SCENE(a_map_is_seen_at_once),
		WITH_SCENE(generation_tells_of_changes),
		WITH_SCENE(unmapping_nothing_does_not_wait),
		WITH_SCENE(shrinking_table),
		WITH_SCENE(unmap_waits_for_the_reader),
		WITH_SCENE(offline_reader_lets_go),
		WITH_SCENE(readers_and_a_writer),
		WITH_SCENE(readers_of_a_wide_space),
		WITH_SCENE(maps_wait_for_no_reader_but_a_stuck_one),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
