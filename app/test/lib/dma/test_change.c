/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "mock_carrier.h"
#include "rp_dma_bounce.h"
#include "rp_dma_io.h"
#include "rp_wire_clock.h"
#include "rp_wire_fd.h"
#include "test_support.h"

#define LIMIT_MS 30000u
#define STORM_MS 700u
#define PAGES 4u
#define BOTH (RP_DMA_READ | RP_DMA_WRITE)

struct scene {
	struct rp_dma_space *space;
	struct rp_dma_reader *reader;
	struct mock_carrier carrier;
	uint64_t page_bytes;
	int fds[2]; /* their bytes are 0x00 and 0x11 */
	atomic_uint wakes;
};

static void
wake(void *ctx)
{
	atomic_fetch_add(&((struct scene *)ctx)->wakes, 1);
}

static int
filled_file(uint64_t size_bytes, uint8_t value)
{
	int fd = test_memfd(size_bytes, true);
	uint8_t *bytes = malloc(size_bytes);

	memset(bytes, value, size_bytes);
	assert_int_equal(pwrite(fd, bytes, size_bytes, 0), size_bytes);
	free(bytes);
	return fd;
}

static int
setup(void **state)
{
	struct scene *scene = calloc(1, sizeof(*scene));

	scene->page_bytes = (uint64_t)sysconf(_SC_PAGESIZE);
	scene->fds[0] = filled_file(PAGES * scene->page_bytes, 0x00);
	scene->fds[1] = filled_file(PAGES * scene->page_bytes, 0x11);
	assert_int_equal(rp_dma_space_create(NULL, &scene->space), 0);
	rp_dma_space_set_wake(scene->space, wake, scene);
	mock_carrier_start(&scene->carrier, scene->space, 2 * PAGES * scene->page_bytes);
	assert_int_equal(rp_dma_reader_create(scene->space, &scene->reader), 0);
	*state = scene;
	return 0;
}

static int
teardown(void **state)
{
	struct scene *scene = *state;

	rp_dma_reader_destroy(scene->reader);
	rp_dma_space_destroy(scene->space);
	mock_carrier_stop(&scene->carrier);
	mock_carrier_free(&scene->carrier);
	rp_wire_fd_close(&scene->fds[0]);
	rp_wire_fd_close(&scene->fds[1]);
	free(scene);
	return 0;
}

static struct rp_dma_mapping
mapping_of(const struct scene *scene, uint64_t page, uint64_t pages_count, int fd)
{
	return (struct rp_dma_mapping){.iova = page * scene->page_bytes,
				       .size_bytes = pages_count * scene->page_bytes,
				       .access_mask = BOTH,
				       .fd = fd};
}

static void
map_pages(struct scene *scene, uint64_t page, uint64_t pages_count, int fd)
{
	const struct rp_dma_mapping mapping = mapping_of(scene, page, pages_count, fd);

	assert_int_equal(rp_dma_space_map(scene->space, &mapping, NULL), 0);
}

static uint64_t
unmap_start(struct scene *scene, uint64_t page, uint64_t pages_count)
{
	uint64_t ticket = 77;

	assert_int_equal(rp_dma_space_unmap_start(scene->space, page * scene->page_bytes,
						  pages_count * scene->page_bytes, &ticket, NULL),
			 0);
	return ticket;
}

static uint64_t
remap_start(struct scene *scene, uint64_t page, uint64_t pages_count, int fd)
{
	const struct rp_dma_mapping mapping = mapping_of(scene, page, pages_count, fd);
	uint64_t ticket = 77;

	assert_int_equal(rp_dma_space_remap_start(scene->space, &mapping, &ticket, NULL), 0);
	return ticket;
}

static void
nobody_holds_it_up(void **state)
{
	struct scene *scene = *state;
	uint64_t ticket = 77;

	assert_int_equal(unmap_start(scene, 0, PAGES), RP_DMA_SETTLED);
	map_pages(scene, 0, 1, scene->fds[0]);
	map_pages(scene, 1, 1, -1);
	assert_int_equal(unmap_start(scene, 0, 2), RP_DMA_SETTLED);
	assert_int_equal(remap_start(scene, 0, 2, scene->fds[1]), RP_DMA_SETTLED);
	assert_int_equal(rp_dma_space_clear_start(scene->space, &ticket), 0);
	assert_int_equal(ticket, RP_DMA_SETTLED);
	assert_true(rp_dma_space_settled(scene->space, RP_DMA_SETTLED));
	assert_int_equal(rp_dma_space_count(scene->space), 0);
	assert_int_equal(rp_dma_space_unmap_start(scene->space, 0, 0, &ticket, NULL), -EBADMSG);
	assert_int_equal(atomic_load(&scene->wakes), 0);
}

/* Pages and file stay until the reader has passed, which wakes the one who waits, and no longer. */
static void
readers_are_waited_for(void **state)
{
	struct scene *scene = *state;
	struct test_leaks before, after;
	uint64_t here_bytes, ticket;
	const uint8_t *held;

	test_leaks_read(&before);
	map_pages(scene, 0, 1, scene->fds[1]);
	rp_dma_reader_online(scene->reader);
	held = rp_dma_reader_translate(scene->reader, 0, 1, RP_DMA_READ, &here_bytes);
	ticket = unmap_start(scene, 0, 1);
	assert_int_not_equal(ticket, RP_DMA_SETTLED);
	assert_false(rp_dma_space_settled(scene->space, ticket));
	assert_int_equal(*held, 0x11);
	assert_null(rp_dma_reader_translate(scene->reader, 0, 1, RP_DMA_READ, &here_bytes));
	test_leaks_read(&after);
	assert_int_equal(after.mappings_count, before.mappings_count + 1);
	atomic_store(&scene->wakes, 0);
	rp_dma_reader_quiescent(scene->reader);
	assert_true(atomic_load(&scene->wakes) > 0);
	assert_true(rp_dma_space_settled(scene->space, ticket));
	test_leaks_assert_none(&before);
	assert_true(rp_dma_space_settled(scene->space, ticket));
	/* Going offline tells it as well. */
	map_pages(scene, 0, 1, scene->fds[1]);
	ticket = unmap_start(scene, 0, 1);
	assert_false(rp_dma_space_settled(scene->space, ticket));
	atomic_store(&scene->wakes, 0);
	rp_dma_reader_offline(scene->reader);
	rp_dma_space_wait_readers(scene->space);
	assert_true(atomic_load(&scene->wakes) > 0);
	assert_true(rp_dma_space_settled(scene->space, ticket));
	test_leaks_assert_none(&before);
}

static void
accesses_are_waited_for(void **state)
{
	struct scene *scene = *state;
	uint8_t bytes[2];
	const struct rp_dma_segment segments[] = {{0, 1, &bytes[0]}, {scene->page_bytes, 1, &bytes[1]}};
	struct rp_dma_io first = {.segments = &segments[0], .segments_count = 1};
	struct rp_dma_io second = {.segments = &segments[1], .segments_count = 1};
	uint64_t first_ticket, second_ticket;

	map_pages(scene, 0, 3, -1);
	mock_carrier_gate(&scene->carrier, true);
	assert_int_equal(rp_dma_io_submit(scene->space, &first), 0);
	assert_int_equal(rp_dma_io_submit(scene->space, &second), 0);
	assert_int_equal(unmap_start(scene, 2, 1), RP_DMA_SETTLED);
	first_ticket = unmap_start(scene, 0, 1);
	second_ticket = unmap_start(scene, 1, 1);
	assert_false(rp_dma_space_settled(scene->space, first_ticket));
	atomic_store(&scene->wakes, 0);
	rp_dma_io_cancel(&second);
	assert_true(atomic_load(&scene->wakes) > 0);
	assert_false(rp_dma_space_settled(scene->space, first_ticket));
	assert_true(rp_dma_space_settled(scene->space, second_ticket));
	/* As a server on one shared socket does. */
	mock_carrier_fail_all(&scene->carrier, -ECANCELED);
	assert_int_equal(rp_dma_io_wait(&first), -ECANCELED);
	assert_true(rp_dma_space_settled(scene->space, first_ticket));
}

/* What is mapped anew is not held up by what was there, nor does it hold that up. */
static void
generations_are_apart(void **state)
{
	struct scene *scene = *state;
	uint8_t old_byte, new_byte;
	const struct rp_dma_segment segments[] = {{0, 1, &old_byte}, {0, 1, &new_byte}};
	struct rp_dma_io old = {.segments = &segments[0], .segments_count = 1};
	struct rp_dma_io new = {.segments = &segments[1], .segments_count = 1};
	uint64_t ticket;

	map_pages(scene, 0, 1, -1);
	mock_carrier_gate(&scene->carrier, true);
	assert_int_equal(rp_dma_io_submit(scene->space, &old), 0);
	ticket = remap_start(scene, 0, 2, -1);
	assert_int_equal(remap_start(scene, 0, 2, -1), RP_DMA_SETTLED);
	assert_int_equal(rp_dma_io_submit(scene->space, &new), 0);
	assert_false(rp_dma_space_settled(scene->space, ticket));
	rp_dma_io_cancel(&old);
	assert_true(rp_dma_space_settled(scene->space, ticket));
	mock_carrier_gate(&scene->carrier, false);
	assert_int_equal(rp_dma_io_wait(&new), 0);
}

/* Two changes take one part each of what an access has: it holds up both. */
static void
each_part_holds_its_change(void **state)
{
	struct scene *scene = *state;
	uint8_t *bytes = malloc(3 * scene->page_bytes);
	const struct rp_dma_segment segment = {0, 3 * scene->page_bytes, bytes};
	struct rp_dma_io io = {.segments = &segment, .segments_count = 1};
	uint64_t tickets[3], i;

	map_pages(scene, 0, 3, -1);
	mock_carrier_gate(&scene->carrier, true);
	assert_int_equal(rp_dma_io_submit(scene->space, &io), 0);
	for (i = 0; i < 3; i++)
		tickets[i] = unmap_start(scene, i, 1);
	for (i = 0; i < 3; i++)
		assert_false(rp_dma_space_settled(scene->space, tickets[i]));
	mock_carrier_gate(&scene->carrier, false);
	assert_int_equal(rp_dma_io_wait(&io), 0);
	for (i = 0; i < 3; i++)
		assert_true(rp_dma_space_settled(scene->space, tickets[i]));
	free(bytes);
}

static void
remap_cuts_and_counts(void **state)
{
	struct scene *scene = *state;
	const struct rp_dma_limits limits = {.mappings_max = 2};
	struct rp_dma_space *small = NULL;
	struct rp_dma_mapping mapping = mapping_of(scene, 1, 2, scene->fds[1]), found;
	struct test_leaks before;
	uint8_t *bytes;

	test_leaks_read(&before);
	map_pages(scene, 0, 4, scene->fds[0]);
	assert_int_equal(rp_dma_space_remap(scene->space, &mapping, NULL), 0);
	assert_int_equal(rp_dma_space_count(scene->space), 3);
	assert_int_equal(rp_dma_space_at(scene->space, 2, &found), 0);
	assert_int_equal(found.iova, 3 * scene->page_bytes);
	assert_int_equal(found.offset_bytes, 3 * scene->page_bytes);
	bytes = rp_dma_space_translate(scene->space, scene->page_bytes, 1, RP_DMA_READ);
	assert_int_equal(*bytes, 0x11);
	/* The rights change and nothing else. */
	mapping.access_mask = RP_DMA_READ;
	assert_int_equal(rp_dma_space_remap(scene->space, &mapping, NULL), 0);
	assert_null(rp_dma_space_translate(scene->space, scene->page_bytes, 1, RP_DMA_WRITE));
	/* Refused: nothing has changed. */
	mapping.size_bytes = 2 * PAGES * scene->page_bytes;
	assert_int_equal(rp_dma_space_remap(scene->space, &mapping, NULL), -EBADMSG);
	mapping.access_mask = 0;
	assert_int_equal(rp_dma_space_remap(scene->space, &mapping, NULL), -EBADMSG);
	assert_int_equal(rp_dma_space_count(scene->space), 3);
	/* One that covers all of them. */
	mapping = mapping_of(scene, 0, 4, -1);
	assert_int_equal(rp_dma_space_remap(scene->space, &mapping, NULL), 0);
	assert_int_equal(rp_dma_space_count(scene->space), 1);
	test_leaks_assert_none(&before);
	assert_int_equal(rp_dma_space_create(&limits, &small), 0);
	assert_int_equal(rp_dma_space_map(small, &mapping, NULL), 0);
	mapping = mapping_of(scene, 1, 1, -1);
	assert_int_equal(rp_dma_space_remap(small, &mapping, NULL), -ENOSPC);
	mapping = mapping_of(scene, 0, 1, -1);
	assert_int_equal(rp_dma_space_remap(small, &mapping, NULL), 0);
	assert_int_equal(rp_dma_space_count(small), 2);
	rp_dma_space_destroy(small);
}

struct heard {
	struct rp_dma_listener listener;
	struct scene *scene;
	unsigned int count;
	uint64_t first_iova;
	uint64_t last_iova;
	uint8_t *bytes; /* to let go of; NULL: none */
	unsigned int submitted_count;
};

static void
hear(struct rp_dma_listener *listener, uint64_t first_iova, uint64_t last_iova)
{
	struct heard *heard = listener->ctx;

	heard->count++;
	heard->first_iova = first_iova;
	heard->last_iova = last_iova;
	if (heard->bytes != NULL)
		assert_int_equal(rp_dma_unmap(heard->scene->space, heard->bytes, 1, BOTH, 1), 0);
	heard->bytes = NULL;
}

static void
listeners_let_go(void **state)
{
	struct scene *scene = *state;
	struct heard heard = {.listener = {.going = hear, .ctx = &heard}, .scene = scene};
	uint64_t size_bytes, page_bytes = scene->page_bytes;
	void *bytes, *far;

	map_pages(scene, 0, 4, scene->fds[0]);
	map_pages(scene, 4, 2, -1);
	rp_dma_space_listen(scene->space, &heard.listener);
	assert_int_equal(rp_dma_map(scene->space, page_bytes, 1, BOTH, &bytes, &size_bytes), 0);
	assert_int_equal(rp_dma_map(scene->space, 4 * page_bytes, 1, BOTH, &far, &size_bytes), 0);
	assert_int_equal(unmap_start(scene, 2, 1), RP_DMA_SETTLED);
	assert_int_equal(heard.count, 0);
	/* A blocking unmap would wait for ever if it was not let go of in there. */
	heard.bytes = bytes;
	assert_int_equal(rp_dma_space_unmap(scene->space, page_bytes, 1, NULL), 0);
	assert_int_equal(heard.count, 1);
	assert_int_equal(heard.first_iova, page_bytes);
	assert_int_equal(heard.last_iova, page_bytes);
	/* A buffer does not hold it up, and is told of too. */
	assert_int_equal(remap_start(scene, 4, 2, -1), RP_DMA_SETTLED);
	assert_int_equal(heard.count, 2);
	assert_int_equal(heard.last_iova, 6 * page_bytes - 1);
	rp_dma_space_unlisten(scene->space, &heard.listener);
	rp_dma_space_clear(scene->space);
	assert_int_equal(heard.count, 2);
	assert_int_equal(rp_dma_unmap(scene->space, far, 1, BOTH, 1), -ECANCELED);
}

struct blocked {
	struct scene *scene;
	atomic_bool done;
};

static void *
clear(void *ctx)
{
	struct blocked *blocked = ctx;

	rp_dma_space_clear(blocked->scene->space);
	atomic_store(&blocked->done, true);
	return NULL;
}

static bool
is_done(void *ctx)
{
	return atomic_load(&((struct blocked *)ctx)->done);
}

static void
the_plain_form_waits_for_all(void **state)
{
	struct scene *scene = *state;
	struct blocked blocked = {.scene = scene};
	uint8_t byte;
	const struct rp_dma_segment segment = {4 * scene->page_bytes, 1, &byte};
	struct rp_dma_io io = {.segments = &segment, .segments_count = 1};
	uint64_t size_bytes;
	pthread_t thread;
	void *bytes;

	map_pages(scene, 0, 4, scene->fds[0]);
	map_pages(scene, 4, 1, -1);
	assert_int_equal(rp_dma_map(scene->space, 0, 1, BOTH, &bytes, &size_bytes), 0);
	mock_carrier_gate(&scene->carrier, true);
	assert_int_equal(rp_dma_io_submit(scene->space, &io), 0);
	assert_int_equal(pthread_create(&thread, NULL, clear, &blocked), 0);
	assert_false(test_wait(is_done, &blocked, 30));
	assert_int_equal(rp_dma_unmap(scene->space, bytes, 1, BOTH, 1), 0);
	assert_false(test_wait(is_done, &blocked, 30));
	mock_carrier_gate(&scene->carrier, false);
	assert_true(test_wait(is_done, &blocked, LIMIT_MS));
	pthread_join(thread, NULL);
	assert_int_equal(rp_dma_io_wait(&io), 0);
}

/* A peer leaves before it had its answer: nobody will ask for that ticket any more. */
static void
clear_ends_what_was_started(void **state)
{
	struct scene *scene = *state;
	struct blocked blocked = {.scene = scene};
	struct test_leaks before;
	uint64_t size_bytes;
	pthread_t thread;
	void *bytes;

	test_leaks_read(&before);
	map_pages(scene, 0, 1, scene->fds[0]);
	rp_dma_reader_online(scene->reader);
	assert_int_not_equal(unmap_start(scene, 0, 1), RP_DMA_SETTLED);
	rp_dma_reader_offline(scene->reader);
	map_pages(scene, 1, 1, scene->fds[1]);
	rp_dma_space_clear(scene->space);
	test_leaks_assert_none(&before);
	/* Also when nothing is mapped any more. */
	map_pages(scene, 0, 1, scene->fds[0]);
	assert_int_equal(rp_dma_map(scene->space, 0, 1, BOTH, &bytes, &size_bytes), 0);
	assert_int_not_equal(unmap_start(scene, 0, 1), RP_DMA_SETTLED);
	assert_int_equal(rp_dma_space_count(scene->space), 0);
	assert_int_equal(pthread_create(&thread, NULL, clear, &blocked), 0);
	assert_false(test_wait(is_done, &blocked, 30));
	assert_int_equal(rp_dma_unmap(scene->space, bytes, 1, BOTH, 1), 0);
	assert_true(test_wait(is_done, &blocked, LIMIT_MS));
	pthread_join(thread, NULL);
	test_leaks_assert_none(&before);
}

static void
space_ends_with_changes_open(void **state)
{
	struct scene *scene = *state;
	struct test_leaks before;
	uint64_t size_bytes, ticket;
	void *bytes;

	test_leaks_read(&before);
	map_pages(scene, 0, 4, scene->fds[0]);
	assert_int_equal(rp_dma_map(scene->space, 0, 1, BOTH, &bytes, &size_bytes), 0);
	ticket = remap_start(scene, 0, 1, scene->fds[1]);
	assert_false(rp_dma_space_settled(scene->space, ticket));
	assert_int_equal(rp_dma_map(scene->space, 0, 1, BOTH, &bytes, &size_bytes), 0);
	scene->reader = rp_dma_reader_destroy(scene->reader);
	scene->space = rp_dma_space_destroy(scene->space);
	test_leaks_assert_none(&before);
}

struct storm {
	struct scene *scene;
	struct rp_dma_reader *reader;
	atomic_bool *stop;
	atomic_uint seen_count[2];
	unsigned int holes_count;
};

static void
see(struct storm *storm, const uint8_t *byte)
{
	if (byte == NULL || (*byte != 0x00 && *byte != 0x11))
		storm->holes_count++;
	else
		atomic_fetch_add(&storm->seen_count[*byte / 0x11], 1);
}

/* A reader, and an access, in turn. */
static void *
look_all_the_time(void *ctx)
{
	struct storm *storm = ctx;
	uint8_t byte;
	const struct rp_dma_segment segment = {storm->scene->page_bytes, 1, &byte};
	uint64_t here_bytes;

	while (!atomic_load_explicit(storm->stop, memory_order_relaxed)) {
		rp_dma_reader_online(storm->reader);
		see(storm,
		    rp_dma_reader_translate(storm->reader, storm->scene->page_bytes, 1, RP_DMA_READ, &here_bytes));
		rp_dma_reader_offline(storm->reader);
		see(storm, rp_dma_io_read(storm->scene->space, &segment, 1) == 0 ? &byte : NULL);
	}
	return NULL;
}

static bool
both_seen(struct storm *storms)
{
	return atomic_load(&storms[0].seen_count[0]) + atomic_load(&storms[1].seen_count[0]) > 0 &&
	       atomic_load(&storms[0].seen_count[1]) + atomic_load(&storms[1].seen_count[1]) > 0;
}

static void
never_a_hole(void **state)
{
	struct scene *scene = *state;
	uint64_t deadline_ms = rp_wire_clock_ms() + STORM_MS;
	struct storm storms[2] = {0};
	pthread_t threads[2];
	atomic_bool stop = false;
	unsigned int i, changes = 0;

	map_pages(scene, 1, 1, scene->fds[0]);
	for (i = 0; i < 2; i++) {
		storms[i] = (struct storm){.scene = scene, .stop = &stop};
		assert_int_equal(rp_dma_reader_create(scene->space, &storms[i].reader), 0);
		assert_int_equal(pthread_create(&threads[i], NULL, look_all_the_time, &storms[i]), 0);
	}
	for (; rp_wire_clock_ms() < deadline_ms || changes < 100 || !both_seen(storms); changes++) {
		const struct rp_dma_mapping mapping = mapping_of(scene, 0, 3, scene->fds[changes % 2]);

		assert_int_equal(rp_dma_space_remap(scene->space, &mapping, NULL), 0);
	}
	atomic_store(&stop, true);
	for (i = 0; i < 2; i++) {
		pthread_join(threads[i], NULL);
		rp_dma_reader_destroy(storms[i].reader);
		assert_int_equal(storms[i].holes_count, 0);
	}
	print_message("%u remaps\n", changes);
}

#define WITH_SCENE(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_SCENE(nobody_holds_it_up),
		WITH_SCENE(readers_are_waited_for),
		WITH_SCENE(accesses_are_waited_for),
		WITH_SCENE(generations_are_apart),
		WITH_SCENE(each_part_holds_its_change),
		WITH_SCENE(remap_cuts_and_counts),
		WITH_SCENE(listeners_let_go),
		WITH_SCENE(the_plain_form_waits_for_all),
		WITH_SCENE(clear_ends_what_was_started),
		WITH_SCENE(space_ends_with_changes_open),
		WITH_SCENE(never_a_hole),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
