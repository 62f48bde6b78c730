/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "mock_carrier.h"
#include "rp_dma_io.h"
#include "rp_wire_clock.h"
#include "rp_wire_fd.h"
#include "test_support.h"

#define LIMIT_MS 30000u
#define STILL_MS 50u
#define STORM_MS 700u
#define PAGES 16u

/* Pages 0 to 7 of the address space have no file, 8 to 15 do; each page is a mapping. */
struct scene {
	struct rp_dma_space *space;
	struct mock_carrier carrier;
	uint64_t page_bytes;
	int fd;
};

static void
map_page(struct scene *scene, uint64_t page, uint32_t access_mask)
{
	const struct rp_dma_mapping mapping = {
		.iova = page * scene->page_bytes,
		.size_bytes = scene->page_bytes,
		.offset_bytes = page * scene->page_bytes,
		.access_mask = access_mask,
		.fd = page < PAGES / 2 ? -1 : scene->fd,
	};

	assert_int_equal(rp_dma_space_map(scene->space, &mapping, NULL), 0);
}

static int
setup(void **state)
{
	struct scene *scene = calloc(1, sizeof(*scene));
	uint64_t page;

	scene->page_bytes = (uint64_t)sysconf(_SC_PAGESIZE);
	scene->fd = test_memfd(PAGES * scene->page_bytes, true);
	assert_int_equal(rp_dma_space_create(NULL, &scene->space), 0);
	mock_carrier_start(&scene->carrier, scene->space, PAGES * scene->page_bytes);
	for (page = 0; page < PAGES; page++)
		map_page(scene, page, RP_DMA_READ | RP_DMA_WRITE);
	*state = scene;
	return 0;
}

static int
teardown(void **state)
{
	struct scene *scene = *state;

	rp_dma_space_destroy(scene->space);
	mock_carrier_stop(&scene->carrier);
	mock_carrier_free(&scene->carrier);
	rp_wire_fd_close(&scene->fd);
	free(scene);
	return 0;
}

static uint8_t *
pattern(uint64_t size_bytes, unsigned int seed)
{
	uint8_t *bytes = malloc(size_bytes);
	uint64_t i;

	for (i = 0; i < size_bytes; i++)
		bytes[i] = (uint8_t)rand_r(&seed);
	return bytes;
}

/* What lies behind an address, whoever has it. */
static void
assert_peer_has(const struct scene *scene, uint64_t iova, const uint8_t *bytes, uint64_t size_bytes)
{
	uint64_t files_iova = PAGES / 2 * scene->page_bytes, i;

	for (i = 0; i < size_bytes; i++) {
		uint8_t byte;

		if (iova + i < files_iova)
			byte = scene->carrier.memory[iova + i];
		else
			assert_int_equal(pread(scene->fd, &byte, 1, (off_t)(iova + i)), 1);
		if (byte != bytes[i])
			fail_msg("byte %u is 0x%x, not 0x%x", (unsigned int)i, byte, bytes[i]);
	}
}

/* Every size and alignment around a word, across mappings, across the border of files and messages. */
static void
any_size_anywhere(void **state)
{
	struct scene *scene = *state;
	const uint64_t edges[] = {scene->page_bytes, 12 * scene->page_bytes, 8 * scene->page_bytes};
	uint8_t *source = pattern(64, 1), found[64];
	uint64_t edge, before, size;

	for (edge = 0; edge < 3; edge++) {
		for (before = 0; before < 17; before++) {
			for (size = 1; size < 33; size++) {
				const struct rp_dma_segment out = {edges[edge] - before, size, source + before};
				const struct rp_dma_segment in = {edges[edge] - before, size, found + before};

				memset(found, 0, sizeof(found));
				assert_int_equal(rp_dma_io_write(scene->space, &out, 1), 0);
				assert_int_equal(rp_dma_io_read(scene->space, &in, 1), 0);
				assert_memory_equal(found + before, source + before, size);
			}
		}
		assert_peer_has(scene, edges[edge] - 16, source + 16, 32);
	}
	free(source);
}

static void
one_access_of_everything(void **state)
{
	struct scene *scene = *state;
	uint64_t all_bytes = PAGES * scene->page_bytes;
	uint8_t *source = pattern(all_bytes, 2), *found = malloc(all_bytes);
	const struct rp_dma_segment out = {0, all_bytes, source};
	const struct rp_dma_segment in[] = {
		{1, all_bytes - 2, found + 1}, {all_bytes - 1, 1, found + all_bytes - 1}, {0, 0, NULL}, {0, 1, found}};

	assert_int_equal(rp_dma_io_write(scene->space, &out, 1), 0);
	assert_int_equal(rp_dma_io_read(scene->space, in, 4), 0);
	assert_memory_equal(found, source, all_bytes);
	assert_peer_has(scene, 0, source, all_bytes);
	assert_int_equal(rp_dma_io_read(scene->space, NULL, 0), 0);
	free(source);
	free(found);
}

/* Wherever the fault is, nothing was written before it was found. */
static void
faults_do_nothing(void **state)
{
	struct scene *scene = *state;
	uint64_t page_bytes = scene->page_bytes;
	uint8_t *source = pattern(4 * page_bytes, 3), *nothing = calloc(4, page_bytes);
	const struct rp_dma_segment hole[] = {
		{8 * page_bytes, 16, source}, {2 * page_bytes, 16, source}, {13 * page_bytes - 1, 3, source}};
	const struct rp_dma_segment readonly[] = {{8 * page_bytes, 16, source}, {14 * page_bytes + 8, 1, source}};
	const struct rp_dma_segment wraps = {UINT64_MAX, 2, source};

	assert_int_equal(rp_dma_space_unmap(scene->space, 13 * page_bytes, 3 * page_bytes, NULL), 0);
	map_page(scene, 14, RP_DMA_READ);
	assert_int_equal(rp_dma_io_write(scene->space, hole, 3), -EFAULT);
	assert_int_equal(rp_dma_io_write(scene->space, readonly, 2), -EFAULT);
	assert_int_equal(rp_dma_io_write(scene->space, &wraps, 1), -EFAULT);
	assert_int_equal(rp_dma_io_read(scene->space, &readonly[1], 1), 0);
	assert_int_equal(scene->carrier.submitted_count, 0);
	assert_peer_has(scene, 8 * page_bytes, nothing, 16);
	/* The last page of the address space, and no further. */
	assert_int_equal(rp_dma_space_map(scene->space,
					  &(struct rp_dma_mapping){.iova = UINT64_MAX - page_bytes + 1,
								   .size_bytes = page_bytes,
								   .access_mask = RP_DMA_READ,
								   .fd = scene->fd},
					  NULL),
			 0);
	assert_int_equal(rp_dma_io_read(scene->space, &(struct rp_dma_segment){UINT64_MAX, 1, source}, 1), 0);
	assert_int_equal(rp_dma_io_read(scene->space, &wraps, 1), -EFAULT);
	free(source);
	free(nothing);
}

static void
nobody_carries(void **state)
{
	struct scene *scene = *state;
	uint32_t word = 7;
	const struct rp_dma_segment far = {0, 4, &word}, near = {8 * scene->page_bytes, 4, &word};

	rp_dma_space_set_carrier(scene->space, NULL, NULL);
	assert_int_equal(rp_dma_io_write(scene->space, &far, 1), -ENOTSUP);
	assert_int_equal(rp_dma_io_write(scene->space, &near, 1), 0);
	rp_dma_space_set_carrier(scene->space, &mock_carrier_ops, &scene->carrier);
	scene->carrier.answer = -EIO;
	assert_int_equal(rp_dma_io_write(scene->space, &far, 1), -EIO);
}

struct counted {
	atomic_uint calls;
	int error;
	pthread_t thread;
	atomic_bool gate;
};

static void
count_done(struct rp_dma_io *io, int error)
{
	struct counted *counted = io->ctx;

	counted->error = error;
	counted->thread = pthread_self();
	atomic_fetch_add(&counted->calls, 1);
	while (atomic_load(&counted->gate))
		usleep(100);
}

static bool
was_called(void *ctx)
{
	return atomic_load(&((struct counted *)ctx)->calls) > 0;
}

/* Five transfers, none answered: all are with the carrier, and what is mapped is there already. */
static void
all_under_way_before_the_first_answer(void **state)
{
	struct scene *scene = *state;
	uint64_t page_bytes = scene->page_bytes, i;
	uint8_t *source = pattern(6 * page_bytes, 4);
	struct rp_dma_segment segments[6];
	struct counted counted = {0};
	struct rp_dma_io io = {
		.write = true, .segments = segments, .segments_count = 6, .done = count_done, .ctx = &counted};

	for (i = 0; i < 6; i++)
		segments[i] = (struct rp_dma_segment){(3 + i) * page_bytes, page_bytes, source + i * page_bytes};
	mock_carrier_gate(&scene->carrier, true);
	assert_int_equal(rp_dma_io_submit(scene->space, &io), 0);
	assert_int_equal(mock_carrier_queued(&scene->carrier), 5);
	assert_peer_has(scene, 8 * page_bytes, source + 5 * page_bytes, page_bytes);
	assert_int_equal(atomic_load(&counted.calls), 0);
	scene->carrier.shuffle = true;
	mock_carrier_gate(&scene->carrier, false);
	assert_true(test_wait(was_called, &counted, LIMIT_MS));
	assert_int_equal(counted.error, 0);
	assert_true(pthread_equal(counted.thread, scene->carrier.thread));
	assert_peer_has(scene, 3 * page_bytes, source, 5 * page_bytes);
	free(source);
}

static void
mapped_memory_is_done_at_once(void **state)
{
	struct scene *scene = *state;
	uint8_t byte = 5;
	const struct rp_dma_segment segment = {8 * scene->page_bytes, 1, &byte};
	struct counted counted = {0};
	struct rp_dma_io io = {
		.write = true, .segments = &segment, .segments_count = 1, .done = count_done, .ctx = &counted};

	assert_int_equal(rp_dma_io_submit(scene->space, &io), 0);
	assert_int_equal(atomic_load(&counted.calls), 1);
	assert_true(pthread_equal(counted.thread, pthread_self()));
	/* The same struct again. */
	assert_int_equal(rp_dma_io_submit(scene->space, &io), 0);
	assert_int_equal(atomic_load(&counted.calls), 2);
}

/* The third submit fails: the first two are taken back, and done() has nothing to say. */
static void
peer_leaves_while_submitting(void **state)
{
	struct scene *scene = *state;
	uint64_t page_bytes = scene->page_bytes, ticket;
	uint8_t *bytes = calloc(5, page_bytes);
	const struct rp_dma_segment segment = {0, 5 * page_bytes, bytes};
	struct counted counted = {0};
	struct rp_dma_io io = {.segments = &segment, .segments_count = 1, .done = count_done, .ctx = &counted};

	mock_carrier_gate(&scene->carrier, true);
	scene->carrier.refuse_after = 2;
	assert_int_equal(rp_dma_io_submit(scene->space, &io), -ENOTCONN);
	assert_int_equal(mock_carrier_queued(&scene->carrier), 0);
	assert_int_equal(scene->carrier.cancelled_count, 2);
	mock_carrier_gate(&scene->carrier, false);
	/* Nothing holds the range. */
	assert_int_equal(rp_dma_space_unmap_start(scene->space, 0, 5 * page_bytes, &ticket, NULL), 0);
	assert_int_equal(ticket, RP_DMA_SETTLED);
	assert_int_equal(atomic_load(&counted.calls), 0);
	rp_dma_io_cancel(&io);
	free(bytes);
}

struct waiter {
	struct rp_dma_io *io;
	int rc;
};

static void *
wait_for_it(void *ctx)
{
	struct waiter *waiter = ctx;

	waiter->rc = rp_dma_io_wait(waiter->io);
	return NULL;
}

static void
cancelled_bytes_are_left_alone(void **state)
{
	struct scene *scene = *state;
	uint8_t *bytes = calloc(3, scene->page_bytes), *nothing = calloc(3, scene->page_bytes);
	const struct rp_dma_segment segment = {0, 3 * scene->page_bytes, bytes};
	struct rp_dma_io io = {.segments = &segment, .segments_count = 1};
	struct waiter waiter = {.io = &io};
	pthread_t thread;

	memset(scene->carrier.memory, 0xee, 3 * scene->page_bytes);
	mock_carrier_gate(&scene->carrier, true);
	assert_int_equal(rp_dma_io_submit(scene->space, &io), 0);
	assert_int_equal(pthread_create(&thread, NULL, wait_for_it, &waiter), 0);
	rp_dma_io_cancel(&io);
	pthread_join(thread, NULL);
	assert_int_equal(waiter.rc, -ECANCELED);
	assert_int_equal(scene->carrier.cancelled_count, 3);
	mock_carrier_gate(&scene->carrier, false);
	assert_memory_equal(bytes, nothing, 3 * scene->page_bytes);
	/* It may be used again. */
	assert_int_equal(rp_dma_io_submit(scene->space, &io), 0);
	assert_int_equal(rp_dma_io_wait(&io), 0);
	assert_int_equal(bytes[0], 0xee);
	rp_dma_io_cancel(&io);
	free(bytes);
	free(nothing);
}

struct canceller {
	struct rp_dma_io *io;
	atomic_bool returned;
};

static void *
cancel_it(void *ctx)
{
	struct canceller *canceller = ctx;

	rp_dma_io_cancel(canceller->io);
	atomic_store(&canceller->returned, true);
	return NULL;
}

static bool
has_returned(void *ctx)
{
	return atomic_load(&((struct canceller *)ctx)->returned);
}

/* Who cancels too late still may rely on it: done() has returned. */
static void
cancel_waits_for_done(void **state)
{
	struct scene *scene = *state;
	uint8_t byte;
	const struct rp_dma_segment segment = {0, 1, &byte};
	struct counted counted = {.gate = true};
	struct rp_dma_io io = {.segments = &segment, .segments_count = 1, .done = count_done, .ctx = &counted};
	struct canceller canceller = {.io = &io};
	pthread_t thread;

	/* Or done() would run here, inside the submit, when the carrier is quick. */
	mock_carrier_gate(&scene->carrier, true);
	assert_int_equal(rp_dma_io_submit(scene->space, &io), 0);
	mock_carrier_gate(&scene->carrier, false);
	assert_true(test_wait(was_called, &counted, LIMIT_MS));
	assert_int_equal(pthread_create(&thread, NULL, cancel_it, &canceller), 0);
	assert_false(test_wait(has_returned, &canceller, STILL_MS));
	atomic_store(&counted.gate, false);
	assert_true(test_wait(has_returned, &canceller, LIMIT_MS));
	pthread_join(thread, NULL);
	assert_int_equal(atomic_load(&counted.calls), 1);
}

static void
space_ends_with_accesses_out(void **state)
{
	struct scene *scene = *state;
	uint8_t bytes[2];
	const struct rp_dma_segment first = {0, 1, &bytes[0]};
	const struct rp_dma_segment second[] = {{scene->page_bytes, 1, &bytes[1]}, {0, 1, &bytes[1]}};
	struct counted counted = {0};
	struct rp_dma_io told = {.segments = &first, .segments_count = 1, .done = count_done, .ctx = &counted};
	struct rp_dma_io waited = {.segments = second, .segments_count = 2};

	mock_carrier_gate(&scene->carrier, true);
	assert_int_equal(rp_dma_io_submit(scene->space, &told), 0);
	assert_int_equal(rp_dma_io_submit(scene->space, &waited), 0);
	scene->space = rp_dma_space_destroy(scene->space);
	assert_int_equal(atomic_load(&counted.calls), 1);
	assert_int_equal(counted.error, -ECANCELED);
	assert_int_equal(rp_dma_io_wait(&waited), -ECANCELED);
	assert_int_equal(mock_carrier_queued(&scene->carrier), 0);
}

struct storm {
	struct scene *scene;
	atomic_bool *stop;
	unsigned int seed;
	atomic_uint done_count;
	unsigned int torn_count;
};

/* A word and bytes that go to pages which come and go; half of a word would be seen. */
static void *
storm_user(void *ctx)
{
	struct storm *storm = ctx;
	uint64_t page_bytes = storm->scene->page_bytes;

	while (!atomic_load_explicit(storm->stop, memory_order_relaxed)) {
		uint64_t page = 6 + (uint64_t)rand_r(&storm->seed) % 4, found = 0;
		uint64_t word = (uint64_t)rand_r(&storm->seed) % 256 * UINT64_C(0x0101010101010101);
		const struct rp_dma_segment out = {page * page_bytes, 8, &word}, in = {page * page_bytes, 8, &found};
		int rc = rp_dma_io_write(storm->scene->space, &out, 1);

		if (rc == 0)
			rc = rp_dma_io_read(storm->scene->space, &in, 1);
		if (rc == 0 && found != (found & 0xff) * UINT64_C(0x0101010101010101))
			storm->torn_count++;
		atomic_fetch_add(&storm->done_count, rc == 0);
		assert_true(rc == 0 || rc == -EFAULT);
	}
	return NULL;
}

static bool
all_used(struct storm *storms)
{
	return atomic_load(&storms[0].done_count) > 10 && atomic_load(&storms[1].done_count) > 10 &&
	       atomic_load(&storms[2].done_count) > 10;
}

static void
users_and_a_writer(void **state)
{
	struct scene *scene = *state;
	uint64_t deadline_ms = rp_wire_clock_ms() + STORM_MS;
	struct storm storms[3] = {0};
	pthread_t threads[3];
	atomic_bool stop = false;
	unsigned int i, changes = 0;

	for (i = 0; i < 3; i++) {
		storms[i] = (struct storm){.scene = scene, .stop = &stop, .seed = 30 + i};
		assert_int_equal(pthread_create(&threads[i], NULL, storm_user, &storms[i]), 0);
	}
	for (; rp_wire_clock_ms() < deadline_ms || changes < 100 || !all_used(storms); changes++) {
		uint64_t page = 6 + changes % 4;

		assert_int_equal(rp_dma_space_unmap(scene->space, page * scene->page_bytes, scene->page_bytes, NULL),
				 0);
		/* What was unmapped is not asked for any more. */
		mock_carrier_forbid(&scene->carrier, page * scene->page_bytes, scene->page_bytes);
		if (page < PAGES / 2)
			usleep(20);
		mock_carrier_forbid(&scene->carrier, 0, 0);
		map_page(scene, page, RP_DMA_READ | RP_DMA_WRITE);
	}
	atomic_store(&stop, true);
	for (i = 0; i < 3; i++) {
		pthread_join(threads[i], NULL);
		assert_int_equal(storms[i].torn_count, 0);
	}
	assert_int_equal(mock_carrier_forbidden(&scene->carrier), 0);
	print_message("%u changes, %u writes and reads\n", changes,
		      atomic_load(&storms[0].done_count) + atomic_load(&storms[1].done_count) +
			      atomic_load(&storms[2].done_count));
}

#define WITH_SCENE(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_SCENE(any_size_anywhere),
		WITH_SCENE(one_access_of_everything),
		WITH_SCENE(faults_do_nothing),
		WITH_SCENE(nobody_carries),
		WITH_SCENE(all_under_way_before_the_first_answer),
		WITH_SCENE(mapped_memory_is_done_at_once),
		WITH_SCENE(peer_leaves_while_submitting),
		WITH_SCENE(cancelled_bytes_are_left_alone),
		WITH_SCENE(cancel_waits_for_done),
		WITH_SCENE(space_ends_with_accesses_out),
		WITH_SCENE(users_and_a_writer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
