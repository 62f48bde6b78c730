/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "mock_carrier.h"
#include "rp_dma_io.h"
#include "rp_dma_log.h"
#include "rp_wire_fd.h"
#include "test_support.h"

/* A page of the log, not of this machine. */
#define PAGE 0x2000u
#define WORDS 8u

static int
setup(void **state)
{
	return rp_dma_space_create(NULL, (struct rp_dma_space **)state);
}

static int
teardown(void **state)
{
	rp_dma_space_destroy(*state);
	return 0;
}

static void
start_one(struct rp_dma_space *space, uint64_t iova, uint64_t size_bytes)
{
	const struct rp_dma_log_range range = {iova, size_bytes};

	assert_int_equal(rp_dma_log_start(space, PAGE, &range, 1, NULL), 0);
}

/* The pages of a report, at most 64. */
static uint64_t
report(struct rp_dma_space *space, uint64_t iova, uint64_t size_bytes)
{
	uint64_t word = 0x5555;

	assert_int_equal(rp_dma_log_report(space, iova, size_bytes, PAGE, &word, sizeof(word), NULL), 0);
	return word;
}

static void
what_is_refused(void **state)
{
	struct rp_dma_space *space = *state;
	struct rp_dma_log_range range = {0, PAGE}, many[RP_DMA_LOG_RANGES_MAX + 1];
	struct rp_wire_why why = {0};
	unsigned int i;

	for (i = 0; i < RP_DMA_LOG_RANGES_MAX + 1; i++)
		many[i] = (struct rp_dma_log_range){(uint64_t)i * 2 * PAGE, PAGE};
	assert_false(rp_dma_log_is_on(space));
	assert_int_equal(rp_dma_log_start(space, 0, &range, 1, &why), -EBADMSG);
	assert_int_equal(rp_dma_log_start(space, 0x3000, &range, 1, &why), -EBADMSG);
	assert_string_equal(why.text, "log: page size is 0x3000, expected a power of two");
	assert_int_equal(rp_dma_log_start(space, PAGE, NULL, 0, &why), -EBADMSG);
	assert_int_equal(rp_dma_log_start(space, PAGE, many, RP_DMA_LOG_RANGES_MAX + 1, &why), -ENOSPC);
	range = (struct rp_dma_log_range){PAGE, 0};
	assert_int_equal(rp_dma_log_start(space, PAGE, &range, 1, &why), -EBADMSG);
	range = (struct rp_dma_log_range){UINT64_MAX, 2};
	assert_int_equal(rp_dma_log_start(space, PAGE, &range, 1, &why), -EBADMSG);
	range = (struct rp_dma_log_range){0, UINT64_MAX};
	assert_int_equal(rp_dma_log_start(space, PAGE, &range, 1, &why), -ENOSPC);
	assert_int_equal(rp_dma_log_start(space, 1, &range, 1, &why), -ENOSPC);
	assert_false(rp_dma_log_is_on(space));
	assert_int_equal(rp_dma_log_start(space, PAGE, many, RP_DMA_LOG_RANGES_MAX, &why), 0);
	assert_int_equal(rp_dma_log_start(space, PAGE, many, 1, &why), -EBUSY);
	rp_dma_log_stop(space);
	rp_dma_log_stop(space);
	assert_false(rp_dma_log_is_on(space));
}

static void
what_is_not_reported(void **state)
{
	struct rp_dma_space *space = *state;
	uint64_t words[2] = {77, 77};
	struct rp_wire_why why = {0};

	assert_int_equal(rp_dma_log_report(space, 0, PAGE, PAGE, words, 8, &why), -EBUSY);
	start_one(space, 0, 64 * PAGE);
	rp_dma_log_mark(space, 0, 64 * PAGE);
	assert_int_equal(rp_dma_log_report(space, 0, PAGE, PAGE / 2, words, 16, &why), -EBADMSG);
	assert_int_equal(rp_dma_log_report(space, 0, PAGE, 3 * PAGE, words, 16, &why), -EBADMSG);
	assert_int_equal(rp_dma_log_report(space, 1, PAGE, PAGE, words, 16, &why), -EBADMSG);
	assert_int_equal(rp_dma_log_report(space, 0, PAGE + 1, PAGE, words, 16, &why), -EBADMSG);
	assert_int_equal(rp_dma_log_report(space, 0, 0, PAGE, words, 16, &why), -EBADMSG);
	assert_int_equal(rp_dma_log_report(space, -(uint64_t)PAGE, 2 * PAGE, PAGE, words, 16, &why), -EBADMSG);
	assert_int_equal(rp_dma_log_report(space, 0, 65 * PAGE, PAGE, words, 8, &why), -EMSGSIZE);
	assert_string_equal(why.text, "log: room for a bitmap is 0x8 bytes, expected 0x10");
	assert_int_equal(words[0], 77);
	assert_int_equal(report(space, 0, 64 * PAGE), UINT64_MAX);
}

static void
bitmaps_are_whole_words(void **state)
{
	(void)state;
	assert_int_equal(rp_dma_log_bitmap_bytes(PAGE, PAGE), 8);
	assert_int_equal(rp_dma_log_bitmap_bytes(64 * PAGE, PAGE), 8);
	assert_int_equal(rp_dma_log_bitmap_bytes(64 * PAGE + 1, PAGE), 16);
	assert_int_equal(rp_dma_log_bitmap_bytes(UINT64_MAX, 1), UINT64_C(1) << 61);
}

static void
marks_are_reported_once(void **state)
{
	struct rp_dma_space *space = *state;

	rp_dma_log_mark(space, 0, PAGE);
	start_one(space, 4 * PAGE, 16 * PAGE);
	assert_int_equal(report(space, 0, 64 * PAGE), 0);
	rp_dma_log_mark(space, 5 * PAGE + 7, 1);
	rp_dma_log_mark(space, 7 * PAGE - 1, 2);
	rp_dma_log_mark(space, 9 * PAGE, 0);
	/* What is not watched is clean. */
	rp_dma_log_mark(space, 0, 5 * PAGE);
	rp_dma_log_mark(space, 19 * PAGE, UINT64_MAX);
	assert_int_equal(report(space, 0, 64 * PAGE), 1u << 4 | 1u << 5 | 1u << 6 | 1u << 7 | 1u << 19);
	assert_int_equal(report(space, 0, 64 * PAGE), 0);
}

static void
pieces_and_bigger_pages(void **state)
{
	struct rp_dma_space *space = *state;
	uint64_t word = 0;

	start_one(space, 0, 100 * PAGE);
	rp_dma_log_mark(space, 62 * PAGE, 4 * PAGE);
	assert_int_equal(report(space, 63 * PAGE, 2 * PAGE), 3);
	assert_int_equal(report(space, 62 * PAGE, 4 * PAGE), 1u << 0 | 1u << 3);
	rp_dma_log_mark(space, 62 * PAGE, 4 * PAGE);
	assert_int_equal(rp_dma_log_report(space, 0, 100 * PAGE, 4 * PAGE, &word, sizeof(word), NULL), 0);
	assert_int_equal(word, 1u << 15 | 1u << 16);
	assert_int_equal(report(space, 62 * PAGE, 4 * PAGE), 0);
}

/* The last page of all addresses; a watch on all of them in big pages costs little. */
static void
the_whole_address_space(void **state)
{
	struct rp_dma_space *space = *state;
	const struct rp_dma_log_range all[] = {{0, UINT64_MAX}, {UINT64_MAX, 1}};
	const uint64_t page_bytes = UINT64_C(1) << 32, top = UINT64_MAX - page_bytes + 1;
	uint64_t words[1] = {0};

	assert_int_equal(rp_dma_log_start(space, page_bytes, all, 2, NULL), 0);
	rp_dma_log_mark(space, UINT64_MAX, 1);
	rp_dma_log_mark(space, 0, 1);
	assert_int_equal(rp_dma_log_report(space, top, page_bytes, page_bytes, words, 8, NULL), 0);
	assert_int_equal(words[0], 1);
	assert_int_equal(rp_dma_log_report(space, top, page_bytes, page_bytes, words, 8, NULL), 0);
	assert_int_equal(words[0], 0);
	assert_int_equal(rp_dma_log_report(space, 0, page_bytes, page_bytes, words, 8, NULL), 0);
	assert_int_equal(words[0], 1);
}

/* A mark without end does not go round. */
static void
a_mark_of_everything(void **state)
{
	struct rp_dma_space *space = *state;
	const struct rp_dma_log_range all[] = {{0, UINT64_MAX}, {UINT64_MAX, 1}};
	const uint64_t page_bytes = UINT64_C(1) << 58;
	uint64_t word = 0;

	assert_int_equal(rp_dma_log_start(space, page_bytes, all, 2, NULL), 0);
	rp_dma_log_mark(space, 3 * page_bytes, UINT64_MAX);
	assert_int_equal(rp_dma_log_report(space, 0, 63 * page_bytes, page_bytes, &word, 8, NULL), 0);
	assert_true(word == (UINT64_MAX >> 1 & ~UINT64_C(7)));
	assert_int_equal(rp_dma_log_report(space, 63 * page_bytes, page_bytes, page_bytes, &word, 8, NULL), 0);
	assert_int_equal(word, 1);
}

static int
add(struct rp_dma_space *space, uint64_t page_bytes, uint64_t iova, uint64_t size_bytes, struct rp_wire_why *why)
{
	const struct rp_dma_log_range range = {iova, size_bytes};

	return rp_dma_log_add(space, page_bytes, &range, why);
}

static int
stop_one(struct rp_dma_space *space, uint64_t iova, uint64_t size_bytes)
{
	const struct rp_dma_log_range range = {iova, size_bytes};

	return rp_dma_log_remove(space, &range, NULL);
}

/* Mapping by mapping, each with pages of its own size; one is ended and the others do not notice. */
static void
each_mapping_has_its_pages(void **state)
{
	struct rp_dma_space *space = *state;
	struct rp_wire_why why = {0};
	uint64_t word = 0;

	assert_int_equal(add(space, PAGE, 0, 16 * PAGE, NULL), 0);
	assert_true(rp_dma_log_is_on(space));
	assert_int_equal(add(space, PAGE / 8, 16 * PAGE, 2 * PAGE, NULL), 0);
	assert_int_equal(add(space, 4 * PAGE, 20 * PAGE, 8 * PAGE, NULL), 0);
	rp_dma_log_mark(space, 15 * PAGE, 12 * PAGE);
	assert_int_equal(report(space, 0, 20 * PAGE), 1u << 15 | 1u << 16 | 1u << 17);
	/* A bit of the log never stands for several of the report. */
	assert_int_equal(rp_dma_log_report(space, 16 * PAGE, 16 * PAGE, PAGE, &word, 8, &why), -EBADMSG);
	assert_string_equal(why.text, "log: page size is 0x2000, expected a power of two from 0x8000 on");
	assert_int_equal(rp_dma_log_report(space, 20 * PAGE, 8 * PAGE, 4 * PAGE, &word, 8, NULL), 0);
	assert_int_equal(word, 3);
	rp_dma_log_mark(space, 16 * PAGE + PAGE / 8, 1);
	assert_int_equal(rp_dma_log_report(space, 16 * PAGE, PAGE, PAGE / 8, &word, 8, NULL), 0);
	assert_int_equal(word, 2);
	rp_dma_log_mark(space, 0, 32 * PAGE);
	assert_int_equal(stop_one(space, 17 * PAGE, 1), 0);
	assert_int_equal(report(space, 0, 20 * PAGE), 0xffff);
	assert_int_equal(stop_one(space, 0, 17 * PAGE), 0);
	assert_true(rp_dma_log_is_on(space));
	assert_int_equal(stop_one(space, 18 * PAGE, UINT64_MAX - 18 * PAGE), 0);
	assert_false(rp_dma_log_is_on(space));
}

static void
pages_are_watched_once(void **state)
{
	struct rp_dma_space *space = *state;
	struct rp_wire_why why = {0};

	assert_int_equal(add(space, 0x3000, 0, PAGE, &why), -EBADMSG);
	assert_int_equal(add(space, PAGE, 0, 0, &why), -EBADMSG);
	assert_int_equal(add(space, 1, 0, UINT64_MAX, &why), -ENOSPC);
	assert_false(rp_dma_log_is_on(space));
	assert_int_equal(stop_one(space, 0, 0), -EBADMSG);
	assert_int_equal(stop_one(space, 0, PAGE), 0);
	start_one(space, 4 * PAGE, 4 * PAGE);
	assert_int_equal(add(space, PAGE, 7 * PAGE, 4 * PAGE, &why), -EEXIST);
	assert_string_equal(why.text, "log: the pages of 0x8000 to 0xffff are watched");
	assert_int_equal(add(space, 8 * PAGE, 8 * PAGE, 1, NULL), 0);
	assert_int_equal(add(space, 8 * PAGE, 2 * PAGE, 1, NULL), -EEXIST);
	assert_int_equal(add(space, PAGE, 3 * PAGE + 1, PAGE - 1, NULL), 0);
	rp_dma_log_mark(space, 0, UINT64_MAX);
	assert_int_equal(rp_dma_log_report(space, 0, 8 * PAGE, PAGE, &(uint64_t){0}, 8, NULL), 0);
	rp_dma_log_stop(space);
	assert_false(rp_dma_log_is_on(space));
}

/* As many as there may be mappings: nobody searches through them. */
static void
thousands_of_ranges(void **state)
{
	struct rp_dma_space *space = *state;
	unsigned int i;

	for (i = 0; i < 20000; i++)
		assert_int_equal(add(space, PAGE, (uint64_t)i * 3 * PAGE, PAGE, NULL), 0);
	for (i = 0; i < 20000; i += 7)
		rp_dma_log_mark(space, (uint64_t)i * 3 * PAGE + 5, 1);
	for (i = 0; i < 20000; i++)
		assert_int_equal(report(space, (uint64_t)i * 3 * PAGE, 3 * PAGE), i % 7 == 0);
	for (i = 0; i < 20000; i += 2)
		assert_int_equal(stop_one(space, (uint64_t)i * 3 * PAGE, PAGE), 0);
	rp_dma_log_mark(space, 0, 20000ull * 3 * PAGE);
	for (i = 0; i < 20000; i++)
		assert_int_equal(report(space, (uint64_t)i * 3 * PAGE, 3 * PAGE), i % 2);
}

#define MODEL_PAGES 400u

/* Random ranges, marks and reports, compared with an array. The bitmap stands at an odd address. */
static void
behaves_like_its_model(void **state)
{
	struct rp_dma_space *space = *state;
	bool watched[MODEL_PAGES] = {false}, dirty[MODEL_PAGES] = {false};
	uint8_t room[WORDS * 8 + 1];
	struct rp_dma_log_range ranges[12];
	unsigned int seed = 1969, i, round;

	for (i = 0; i < 12; i++) {
		unsigned int first = (unsigned int)rand_r(&seed) % (MODEL_PAGES - 70);
		unsigned int count = 1 + (unsigned int)rand_r(&seed) % 69, page;

		ranges[i] = (struct rp_dma_log_range){first * PAGE + 5, count * PAGE - 5};
		for (page = first; page < first + count; page++)
			watched[page] = true;
	}
	assert_int_equal(rp_dma_log_start(space, PAGE, ranges, 12, NULL), 0);
	for (round = 0; round < 20000; round++) {
		unsigned int first = (unsigned int)rand_r(&seed) % MODEL_PAGES, page;
		unsigned int count = 1 + (unsigned int)rand_r(&seed) % (MODEL_PAGES - first);

		if (rand_r(&seed) % 3 != 0) {
			count = count % 9 + 1;
			rp_dma_log_mark(space, first * PAGE, count * PAGE);
			for (page = first; page < first + count && page < MODEL_PAGES; page++)
				dirty[page] = watched[page];
			continue;
		}
		assert_int_equal(rp_dma_log_report(space, first * PAGE, count * PAGE, PAGE, room + 1, WORDS * 8, NULL),
				 0);
		for (page = first; page < first + count; page++) {
			uint64_t word;

			memcpy(&word, room + 1 + (page - first) / 64 * 8, 8);
			if ((word >> (page - first) % 64 & 1) != dirty[page])
				fail_msg("round %u, page %u: should be %d", round, page, dirty[page]);
			dirty[page] = false;
		}
	}
}

static void
accesses_mark_by_themselves(void **state)
{
	struct rp_dma_space *space = *state;
	int fd = test_memfd(4 * PAGE, true);
	struct rp_dma_mapping mapping = {.size_bytes = 4 * PAGE, .access_mask = RP_DMA_READ | RP_DMA_WRITE, .fd = fd};
	struct mock_carrier carrier;
	uint8_t bytes[2] = {1, 2};
	const struct rp_dma_segment both[] = {{4 * PAGE - 1, 2, bytes}, {PAGE, 1, bytes}};
	struct rp_dma_io io = {.write = true, .segments = both, .segments_count = 1};
	struct rp_dma_reader *reader;

	mock_carrier_start(&carrier, space, 8 * PAGE);
	assert_int_equal(rp_dma_space_map(space, &mapping, NULL), 0);
	mapping.iova = 4 * PAGE;
	mapping.fd = -1;
	assert_int_equal(rp_dma_space_map(space, &mapping, NULL), 0);
	start_one(space, 0, 8 * PAGE);
	assert_int_equal(rp_dma_io_read(space, both, 2), 0);
	assert_int_equal(report(space, 0, 8 * PAGE), 0);
	assert_int_equal(rp_dma_io_write(space, both, 2), 0);
	assert_int_equal(report(space, 0, 8 * PAGE), 1u << 1 | 1u << 3 | 1u << 4);
	/* What was given up may be there all the same. */
	mock_carrier_gate(&carrier, true);
	assert_int_equal(rp_dma_io_submit(space, &io), 0);
	rp_dma_io_cancel(&io);
	assert_int_equal(report(space, 0, 8 * PAGE), 1u << 3 | 1u << 4);
	assert_int_equal(rp_dma_reader_create(space, &reader), 0);
	rp_dma_reader_online(reader);
	rp_dma_reader_mark(reader, 2 * PAGE, 1);
	rp_dma_reader_offline(reader);
	assert_int_equal(report(space, 0, 8 * PAGE), 1u << 2);
	rp_dma_reader_destroy(reader);
	mock_carrier_stop(&carrier);
	mock_carrier_free(&carrier);
	rp_wire_fd_close(&fd);
}

/* The peer asks for the bitmap with the unmap: what settled has been marked. */
static void
bitmap_of_what_was_unmapped(void **state)
{
	struct rp_dma_space *space = *state;
	const struct rp_dma_mapping mapping = {.size_bytes = 4 * PAGE, .access_mask = RP_DMA_WRITE, .fd = -1};
	struct mock_carrier carrier;
	uint8_t byte = 1;
	const struct rp_dma_segment segment = {2 * PAGE, 1, &byte};
	struct rp_dma_io io = {.write = true, .segments = &segment, .segments_count = 1};
	uint64_t ticket;

	mock_carrier_start(&carrier, space, 4 * PAGE);
	assert_int_equal(rp_dma_space_map(space, &mapping, NULL), 0);
	start_one(space, 0, 4 * PAGE);
	mock_carrier_gate(&carrier, true);
	assert_int_equal(rp_dma_io_submit(space, &io), 0);
	assert_int_equal(rp_dma_space_unmap_start(space, 0, 4 * PAGE, &ticket, NULL), 0);
	assert_false(rp_dma_space_settled(space, ticket));
	mock_carrier_gate(&carrier, false);
	assert_int_equal(rp_dma_io_wait(&io), 0);
	assert_true(rp_dma_space_settled(space, ticket));
	assert_int_equal(report(space, 0, 4 * PAGE), 1u << 2);
	mock_carrier_stop(&carrier);
	mock_carrier_free(&carrier);
}

#define MARKERS 3u
#define MARKS 20000u

struct marker {
	struct rp_dma_space *space;
	uint32_t *shadow; /* of each page, how often it was written */
	unsigned int first;
};

/* Each writes its own pages, then marks them. */
static void *
mark_pages(void *ctx)
{
	struct marker *marker = ctx;
	unsigned int i, seed = marker->first;

	for (i = 0; i < MARKS; i++) {
		unsigned int page = marker->first + (unsigned int)rand_r(&seed) % 20 * MARKERS;

		__atomic_fetch_add(&marker->shadow[page], 1, __ATOMIC_RELAXED);
		rp_dma_log_mark(marker->space, page * (uint64_t)PAGE, 1);
	}
	return NULL;
}

static void
take_report(struct rp_dma_space *space, uint32_t *seen, const uint32_t *shadow)
{
	uint64_t dirty = report(space, 0, 64 * PAGE);

	for (; dirty != 0; dirty &= dirty - 1) {
		unsigned int page = (unsigned int)__builtin_ctzll(dirty);

		seen[page] = __atomic_load_n(&shadow[page], __ATOMIC_RELAXED);
	}
}

/* A page that was reported and is read then shows what was written before; nothing is lost over starts and stops. */
static void
markers_and_a_reporter(void **state)
{
	struct rp_dma_space *space = *state;
	uint32_t shadow[64] = {0}, seen[64] = {0};
	struct marker markers[MARKERS];
	pthread_t threads[MARKERS];
	unsigned int i, round;

	start_one(space, 0, 64 * PAGE);
	for (i = 0; i < MARKERS; i++) {
		markers[i] = (struct marker){space, shadow, i};
		assert_int_equal(pthread_create(&threads[i], NULL, mark_pages, &markers[i]), 0);
	}
	for (round = 0; round < 2000; round++) {
		take_report(space, seen, shadow);
		if (round % 100 != 0)
			continue;
		/* A new log: what was written before it began is read in full, as a peer does. */
		rp_dma_log_stop(space);
		start_one(space, 0, 64 * PAGE);
		for (i = 0; i < 64; i++)
			seen[i] = __atomic_load_n(&shadow[i], __ATOMIC_RELAXED);
	}
	for (i = 0; i < MARKERS; i++)
		pthread_join(threads[i], NULL);
	take_report(space, seen, shadow);
	assert_memory_equal(seen, shadow, sizeof(seen));
}

#define WITH_SPACE(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_SPACE(what_is_refused),
		WITH_SPACE(what_is_not_reported),
		WITH_SPACE(bitmaps_are_whole_words),
		WITH_SPACE(marks_are_reported_once),
		WITH_SPACE(pieces_and_bigger_pages),
		WITH_SPACE(the_whole_address_space),
		WITH_SPACE(a_mark_of_everything),
		WITH_SPACE(each_mapping_has_its_pages),
		WITH_SPACE(pages_are_watched_once),
		WITH_SPACE(thousands_of_ranges),
		WITH_SPACE(behaves_like_its_model),
		WITH_SPACE(accesses_mark_by_themselves),
		WITH_SPACE(bitmap_of_what_was_unmapped),
		WITH_SPACE(markers_and_a_reporter),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
