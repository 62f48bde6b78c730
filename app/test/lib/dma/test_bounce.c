/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "mock_carrier.h"
#include "rp_dma_bounce.h"
#include "rp_dma_log.h"
#include "rp_wire_clock.h"
#include "rp_wire_fd.h"
#include "test_support.h"

#define LIMIT_MS 30000u
#define STORM_MS 700u
#define BOUNCE_MAX 1000u
#define FILE_IOVA UINT64_C(0x100000)
#define BOTH (RP_DMA_READ | RP_DMA_WRITE)

/* Messages carry the first pages of the address space; a file stands behind FILE_IOVA. */
struct scene {
	struct rp_dma_space *space;
	struct mock_carrier carrier;
	uint64_t page_bytes;
	int fd;
};

static void
map_range(struct scene *scene, uint64_t iova, uint64_t size_bytes, uint32_t access_mask)
{
	const struct rp_dma_mapping mapping = {.iova = iova,
					       .size_bytes = size_bytes,
					       .access_mask = access_mask,
					       .fd = iova < FILE_IOVA ? -1 : scene->fd};

	assert_int_equal(rp_dma_space_map(scene->space, &mapping, NULL), 0);
}

static int
setup(void **state)
{
	const struct rp_dma_limits limits = {.bounce_bytes_max = BOUNCE_MAX, .maps_max = 8};
	struct scene *scene = calloc(1, sizeof(*scene));
	uint64_t i;

	scene->page_bytes = (uint64_t)sysconf(_SC_PAGESIZE);
	scene->fd = test_memfd(4 * scene->page_bytes, true);
	assert_int_equal(rp_dma_space_create(&limits, &scene->space), 0);
	mock_carrier_start(&scene->carrier, scene->space, 4 * scene->page_bytes);
	for (i = 0; i < 4 * scene->page_bytes; i++)
		scene->carrier.memory[i] = (uint8_t)(i * 7);
	map_range(scene, 0, 4 * scene->page_bytes, BOTH);
	map_range(scene, FILE_IOVA, 4 * scene->page_bytes, BOTH);
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
map_all(struct scene *scene, uint64_t iova, uint64_t size_bytes, uint32_t access_mask)
{
	void *bytes = NULL;
	uint64_t mapped_bytes = 0;

	assert_int_equal(rp_dma_map(scene->space, iova, size_bytes, access_mask, &bytes, &mapped_bytes), 0);
	assert_int_equal(mapped_bytes, size_bytes);
	return bytes;
}

static void
assert_books(const struct scene *scene, uint64_t used_bytes, uint64_t maps_count)
{
	assert_int_equal(rp_dma_bounce_used_bytes(scene->space), used_bytes);
	assert_int_equal(rp_dma_map_count(scene->space), maps_count);
}

static void
same_call_for_both(void **state)
{
	struct scene *scene = *state;
	uint64_t before = FILE_IOVA + scene->page_bytes - 3;
	uint8_t *far, *near, found[6];

	far = map_all(scene, 70, 100, BOTH);
	near = map_all(scene, before, 6, BOTH);
	assert_books(scene, 100, 2);
	assert_memory_equal(far, scene->carrier.memory + 70, 100);
	assert_int_equal((uintptr_t)far % 64, 6);
	memset(far, 0xaa, 100);
	memset(near, 0xbb, 6);
	assert_int_equal(rp_dma_unmap(scene->space, far, 100, BOTH, 40), 0);
	assert_int_equal(rp_dma_unmap(scene->space, near, 6, BOTH, 6), 0);
	/* What was accessed, and not a byte more. */
	assert_int_equal(scene->carrier.memory[69], (uint8_t)(69 * 7));
	assert_int_equal(scene->carrier.memory[70], 0xaa);
	assert_int_equal(scene->carrier.memory[109], 0xaa);
	assert_int_equal(scene->carrier.memory[110], (uint8_t)(110 * 7));
	assert_int_equal(pread(scene->fd, found, 6, (off_t)(before - FILE_IOVA)), 6);
	assert_memory_equal(found, "\xbb\xbb\xbb\xbb\xbb\xbb", 6);
	assert_books(scene, 0, 0);
}

/* Nothing is fetched that the device does not read, nor written back that it did not write. */
static void
bytes_move_once_or_not_at_all(void **state)
{
	struct scene *scene = *state;
	const uint8_t zeros[8] = {0};
	uint8_t *bytes;

	bytes = map_all(scene, 8, 8, RP_DMA_WRITE);
	assert_memory_equal(bytes, zeros, 8);
	assert_int_equal(rp_dma_unmap(scene->space, bytes, 8, RP_DMA_WRITE, 0), 0);
	assert_int_equal(scene->carrier.submitted_count, 0);
	bytes = map_all(scene, 8, 8, RP_DMA_READ);
	bytes[0] ^= 0xff;
	assert_int_equal(rp_dma_unmap(scene->space, bytes, 8, RP_DMA_READ, 8), 0);
	assert_int_equal(scene->carrier.submitted_count, 1);
	assert_int_equal(scene->carrier.memory[8], 56);
	bytes = map_all(scene, FILE_IOVA, 8, BOTH);
	assert_int_equal(rp_dma_unmap(scene->space, bytes, 8, BOTH, 8), 0);
	assert_int_equal(scene->carrier.submitted_count, 1);
}

static void
what_is_refused(void **state)
{
	struct scene *scene = *state;
	uint64_t size_bytes = 7;
	void *bytes = NULL;

	assert_int_equal(rp_dma_map(scene->space, 0, 0, BOTH, &bytes, &size_bytes), -EINVAL);
	assert_int_equal(rp_dma_map(scene->space, 0, 1, 0, &bytes, &size_bytes), -EINVAL);
	assert_int_equal(rp_dma_map(scene->space, 0, 1, 4, &bytes, &size_bytes), -EINVAL);
	assert_int_equal(rp_dma_map(scene->space, FILE_IOVA - 1, 2, BOTH, &bytes, &size_bytes), -EFAULT);
	assert_int_equal(rp_dma_space_unmap(scene->space, 0, scene->page_bytes, NULL), 0);
	map_range(scene, 0, scene->page_bytes, RP_DMA_READ);
	assert_int_equal(rp_dma_map(scene->space, 0, 1, BOTH, &bytes, &size_bytes), -EFAULT);
	rp_dma_space_set_carrier(scene->space, NULL, NULL);
	assert_int_equal(rp_dma_map(scene->space, 0, 1, RP_DMA_READ, &bytes, &size_bytes), -ENOTSUP);
	rp_dma_space_set_carrier(scene->space, &mock_carrier_ops, &scene->carrier);
	scene->carrier.answer = -EIO;
	assert_int_equal(rp_dma_map(scene->space, 0, 1, RP_DMA_READ, &bytes, &size_bytes), -EIO);
	scene->carrier.refuse_after = 0;
	assert_int_equal(rp_dma_map(scene->space, 0, 1, RP_DMA_READ, &bytes, &size_bytes), -ENOTCONN);
	assert_null(bytes);
	assert_int_equal(size_bytes, 7);
	assert_books(scene, 0, 0);
}

static void
short_maps(void **state)
{
	struct scene *scene = *state;
	uint64_t end = 4 * scene->page_bytes, first_bytes, second_bytes, size_bytes;
	void *first, *second, *none;

	/* At the end of a mapping. */
	assert_int_equal(rp_dma_map(scene->space, end - 5, 50, BOTH, &first, &size_bytes), 0);
	assert_int_equal(size_bytes, 5);
	assert_int_equal(rp_dma_unmap(scene->space, first, 5, BOTH, 5), 0);
	assert_int_equal(rp_dma_map(scene->space, FILE_IOVA + end - 5, 50, BOTH, &first, &size_bytes), 0);
	assert_int_equal(size_bytes, 5);
	assert_int_equal(rp_dma_unmap(scene->space, first, 5, BOTH, 5), 0);
	/* For want of space, down to none; memory that is mapped needs none. */
	assert_int_equal(rp_dma_map(scene->space, 0, BOUNCE_MAX - 10, BOTH, &first, &first_bytes), 0);
	assert_int_equal(rp_dma_map(scene->space, 0, 50, RP_DMA_READ, &second, &second_bytes), 0);
	assert_int_equal(second_bytes, 10);
	assert_books(scene, BOUNCE_MAX, 2);
	assert_int_equal(rp_dma_map(scene->space, 0, 50, BOTH, &none, &size_bytes), -ENOSPC);
	none = map_all(scene, FILE_IOVA, 2 * BOUNCE_MAX, BOTH);
	assert_books(scene, BOUNCE_MAX, 3);
	assert_int_equal(rp_dma_unmap(scene->space, none, 2 * BOUNCE_MAX, BOTH, 0), 0);
	assert_int_equal(rp_dma_unmap(scene->space, second, 10, RP_DMA_READ, 0), 0);
	assert_int_equal(rp_dma_unmap(scene->space, first, BOUNCE_MAX - 10, BOTH, 0), 0);
	assert_books(scene, 0, 0);
}

static void
maps_have_a_limit(void **state)
{
	struct scene *scene = *state;
	uint64_t size_bytes, i;
	uint8_t *bytes[8];
	void *more;

	for (i = 0; i < 8; i++)
		bytes[i] = map_all(scene, i % 2 == 0 ? i : FILE_IOVA + i, 1, RP_DMA_READ);
	assert_int_equal(rp_dma_map(scene->space, 0, 1, BOTH, &more, &size_bytes), -ENOSPC);
	assert_int_equal(rp_dma_map(scene->space, FILE_IOVA, 1, BOTH, &more, &size_bytes), -ENOSPC);
	assert_books(scene, 4, 8);
	for (i = 0; i < 8; i++)
		assert_int_equal(rp_dma_unmap(scene->space, bytes[i], 1, RP_DMA_READ, 0), 0);
	assert_books(scene, 0, 0);
}

/* Any of these would be a crash, or somebody else's map, if the pointer was followed. */
static void
stray_pointers(void **state)
{
	struct scene *scene = *state;
	struct rp_dma_space *other = NULL;
	uint8_t *far = map_all(scene, 0, 16, BOTH), *near = map_all(scene, FILE_IOVA, 16, RP_DMA_READ), mine[16];

	assert_int_equal(rp_dma_space_create(NULL, &other), 0);
	assert_int_equal(rp_dma_unmap(scene->space, NULL, 16, BOTH, 0), -EINVAL);
	assert_int_equal(rp_dma_unmap(scene->space, (void *)8, 16, BOTH, 0), -EINVAL);
	assert_int_equal(rp_dma_unmap(scene->space, mine, 16, BOTH, 0), -EINVAL);
	assert_int_equal(rp_dma_unmap(scene->space, far + 1, 15, BOTH, 0), -EINVAL);
	assert_int_equal(rp_dma_unmap(scene->space, far, 15, BOTH, 0), -EINVAL);
	assert_int_equal(rp_dma_unmap(scene->space, far, 16, RP_DMA_READ, 0), -EINVAL);
	assert_int_equal(rp_dma_unmap(scene->space, far, 16, BOTH, 17), -EINVAL);
	assert_int_equal(rp_dma_unmap(other, far, 16, BOTH, 0), -EINVAL);
	assert_int_equal(rp_dma_unmap(other, near, 16, RP_DMA_READ, 0), -EINVAL);
	assert_books(scene, 16, 2);
	assert_int_equal(rp_dma_unmap(scene->space, far, 16, BOTH, 16), 0);
	assert_int_equal(rp_dma_unmap(scene->space, far, 16, BOTH, 16), -EINVAL);
	assert_int_equal(rp_dma_unmap(scene->space, near, 16, RP_DMA_READ, 0), 0);
	assert_int_equal(rp_dma_unmap(scene->space, near, 16, RP_DMA_READ, 0), -EINVAL);
	assert_books(scene, 0, 0);
	rp_dma_space_destroy(other);
}

/* Its bytes may be anybody's: none is written back, and the books are right. */
static void
writing_in_front_is_found_out(void **state)
{
	struct scene *scene = *state;
	uint64_t iova;

	for (iova = 0; iova < 3; iova++) {
		uint8_t *bytes = map_all(scene, iova, 4, RP_DMA_WRITE);

		bytes[-1]++;
		assert_int_equal(rp_dma_unmap(scene->space, bytes, 4, RP_DMA_WRITE, 4), -EINVAL);
		assert_int_equal(scene->carrier.submitted_count, 0);
		assert_books(scene, 0, 0);
	}
}

struct ends {
	unsigned int count;
	int error;
	uint8_t *bytes;
	uint64_t size_bytes;
	pthread_t thread;
	atomic_uint finished;
};

static void
map_ends(void *ctx, int error, void *bytes, uint64_t size_bytes)
{
	struct ends *ends = ctx;

	ends->count++;
	ends->error = error;
	ends->bytes = bytes;
	ends->size_bytes = size_bytes;
	ends->thread = pthread_self();
	atomic_fetch_add(&ends->finished, 1);
}

static void
unmap_ends(void *ctx, int error)
{
	map_ends(ctx, error, NULL, 0);
}

static bool
has_finished(void *ctx)
{
	return atomic_load(&((struct ends *)ctx)->finished) > 0;
}

static void
without_waiting(void **state)
{
	struct scene *scene = *state;
	struct ends near = {0}, far = {0}, gone = {0}, refused = {0};

	mock_carrier_gate(&scene->carrier, true);
	assert_int_equal(rp_dma_map_start(scene->space, FILE_IOVA, 4, BOTH, map_ends, &near), 0);
	assert_int_equal(near.count, 1);
	assert_int_equal(rp_dma_map_start(scene->space, 64, 4, BOTH, map_ends, &far), 0);
	assert_int_equal(far.count, 0);
	assert_books(scene, 4, 2);
	mock_carrier_gate(&scene->carrier, false);
	assert_true(test_wait(has_finished, &far, LIMIT_MS));
	assert_true(pthread_equal(far.thread, scene->carrier.thread));
	assert_int_equal(far.error, 0);
	assert_int_equal(far.bytes[0], (uint8_t)(64 * 7));
	far.bytes[3] = 1;
	/* Void at once, told when the bytes are there. */
	mock_carrier_gate(&scene->carrier, true);
	assert_int_equal(rp_dma_unmap_start(scene->space, far.bytes, 4, BOTH, 4, unmap_ends, &gone), 0);
	assert_int_equal(rp_dma_unmap_start(scene->space, far.bytes, 4, BOTH, 4, unmap_ends, &gone), -EINVAL);
	assert_int_equal(gone.count, 0);
	assert_books(scene, 4, 2);
	mock_carrier_gate(&scene->carrier, false);
	assert_true(test_wait(has_finished, &gone, LIMIT_MS));
	assert_int_equal(gone.error, 0);
	assert_int_equal(scene->carrier.memory[67], 1);
	assert_int_equal(rp_dma_unmap_start(scene->space, near.bytes, 4, BOTH, 4, NULL, NULL), 0);
	assert_books(scene, 0, 0);
	assert_int_equal(rp_dma_map_start(scene->space, FILE_IOVA - 1, 4, BOTH, map_ends, &refused), -EFAULT);
	scene->carrier.refuse_after = 0;
	assert_int_equal(rp_dma_map_start(scene->space, 0, 4, BOTH, map_ends, &refused), -ENOTCONN);
	assert_int_equal(refused.count, 0);
	assert_books(scene, 0, 0);
}

static void
write_back_may_fail(void **state)
{
	struct scene *scene = *state;
	uint8_t *bytes = map_all(scene, 0, 4, RP_DMA_WRITE);

	scene->carrier.answer = -EIO;
	assert_int_equal(rp_dma_unmap(scene->space, bytes, 4, RP_DMA_WRITE, 4), -EIO);
	assert_books(scene, 0, 0);
	bytes = map_all(scene, 0, 4, RP_DMA_WRITE);
	scene->carrier.refuse_after = 0;
	assert_int_equal(rp_dma_unmap(scene->space, bytes, 4, RP_DMA_WRITE, 4), -ENOTCONN);
	assert_books(scene, 0, 0);
}

/* A buffer ends with its range; what comes to the same addresses later is not its. */
static void
range_goes_with_buffers_out(void **state)
{
	struct scene *scene = *state;
	uint8_t *first = map_all(scene, 0, 4, BOTH), *second = map_all(scene, 4, 4, RP_DMA_READ);
	uint8_t *beside = map_all(scene, 3 * scene->page_bytes, 4, BOTH);
	unsigned int submitted_count = scene->carrier.submitted_count;

	assert_int_equal(rp_dma_space_unmap(scene->space, 0, scene->page_bytes, NULL), 0);
	map_range(scene, 0, scene->page_bytes, BOTH);
	memset(first, 0xff, 4);
	assert_int_equal(rp_dma_unmap(scene->space, first, 4, BOTH, 4), -ECANCELED);
	assert_int_equal(rp_dma_unmap(scene->space, second, 4, RP_DMA_READ, 4), 0);
	assert_int_equal(scene->carrier.submitted_count, submitted_count);
	assert_int_equal(rp_dma_unmap(scene->space, beside, 4, BOTH, 4), 0);
	assert_int_equal(scene->carrier.submitted_count, submitted_count + 1);
	assert_books(scene, 0, 0);
}

static void
range_goes_while_bytes_move(void **state)
{
	struct scene *scene = *state;
	uint8_t *bytes = map_all(scene, 0, 4, RP_DMA_WRITE);
	struct ends fetched = {0}, written = {0};
	uint64_t ticket;

	mock_carrier_gate(&scene->carrier, true);
	assert_int_equal(rp_dma_map_start(scene->space, 8, 4, RP_DMA_READ, map_ends, &fetched), 0);
	memset(bytes, 0xcc, 4);
	assert_int_equal(rp_dma_unmap_start(scene->space, bytes, 4, RP_DMA_WRITE, 4, unmap_ends, &written), 0);
	assert_int_equal(rp_dma_space_unmap_start(scene->space, 0, scene->page_bytes, &ticket, NULL), 0);
	assert_false(rp_dma_space_settled(scene->space, ticket));
	mock_carrier_gate(&scene->carrier, false);
	assert_true(test_wait(has_finished, &fetched, LIMIT_MS));
	assert_true(test_wait(has_finished, &written, LIMIT_MS));
	assert_true(rp_dma_space_settled(scene->space, ticket));
	/* What was on its way arrived; what was asked for is nobody's any more. */
	assert_int_equal(written.error, 0);
	assert_int_equal(scene->carrier.memory[0], 0xcc);
	assert_int_equal(fetched.error, -ECANCELED);
	assert_null(fetched.bytes);
	assert_books(scene, 0, 0);
}

static void
direct_pointers_hold_the_range(void **state)
{
	struct scene *scene = *state;
	uint8_t *bytes = map_all(scene, FILE_IOVA, 4, BOTH), *again = map_all(scene, FILE_IOVA, 4, BOTH), found;
	uint64_t ticket;

	assert_int_equal(rp_dma_space_clear_start(scene->space, &ticket), 0);
	assert_false(rp_dma_space_settled(scene->space, ticket));
	bytes[0] = 0x77;
	assert_int_equal(pread(scene->fd, &found, 1, 0), 1);
	assert_int_equal(found, 0x77);
	assert_ptr_equal(bytes, again);
	assert_int_equal(rp_dma_unmap(scene->space, bytes, 4, BOTH, 1), 0);
	assert_false(rp_dma_space_settled(scene->space, ticket));
	assert_int_equal(rp_dma_unmap(scene->space, again, 4, BOTH, 0), 0);
	assert_true(rp_dma_space_settled(scene->space, ticket));
}

struct storm {
	struct scene *scene;
	atomic_bool *stop;
	atomic_uint done_count;
};

/* A range of either kind, that comes and goes: touched while it is mapped. */
static void *
map_all_the_time(void *ctx)
{
	struct storm *storm = ctx;
	uint64_t size_bytes;
	void *bytes;

	while (!atomic_load_explicit(storm->stop, memory_order_relaxed)) {
		if (rp_dma_map(storm->scene->space, 0, 1, BOTH, &bytes, &size_bytes) != 0)
			continue;
		/* The writer gets on meanwhile; what it waits for, it waits for. */
		if (atomic_fetch_add(&storm->done_count, 1) % 64 == 0)
			usleep(1);
		__atomic_fetch_add((uint8_t *)bytes, 1, __ATOMIC_RELAXED);
		(void)rp_dma_unmap(storm->scene->space, bytes, 1, BOTH, 1);
	}
	return NULL;
}

static bool
all_mapped(struct storm *storms)
{
	return atomic_load(&storms[0].done_count) > 20 && atomic_load(&storms[1].done_count) > 20 &&
	       atomic_load(&storms[2].done_count) > 20;
}

/* What was looked up a moment before its unmap is not given out after it, nor carried. */
static void
devices_and_a_writer(void **state)
{
	struct scene *scene = *state;
	uint64_t deadline_ms = rp_wire_clock_ms() + STORM_MS;
	struct rp_dma_mapping mapping = {.size_bytes = scene->page_bytes, .access_mask = BOTH};
	struct storm storms[3];
	pthread_t threads[3];
	atomic_bool stop = false;
	unsigned int i, changes = 0;

	for (i = 0; i < 3; i++) {
		storms[i] = (struct storm){.scene = scene, .stop = &stop};
		assert_int_equal(pthread_create(&threads[i], NULL, map_all_the_time, &storms[i]), 0);
	}
	for (; rp_wire_clock_ms() < deadline_ms || changes < 100 || !all_mapped(storms); changes++) {
		assert_int_equal(rp_dma_space_unmap(scene->space, 0, scene->page_bytes, NULL), 0);
		mock_carrier_forbid(&scene->carrier, 0, scene->page_bytes);
		if (changes % 2 == 0)
			usleep(20);
		mock_carrier_forbid(&scene->carrier, 0, 0);
		mapping.fd = changes % 2 == 0 ? scene->fd : -1;
		assert_int_equal(rp_dma_space_map(scene->space, &mapping, NULL), 0);
		if (changes % 8 < 2)
			usleep(20);
	}
	atomic_store(&stop, true);
	for (i = 0; i < 3; i++)
		pthread_join(threads[i], NULL);
	print_message("%u changes, %u, %u and %u maps\n", changes, atomic_load(&storms[0].done_count),
		      atomic_load(&storms[1].done_count), atomic_load(&storms[2].done_count));
	assert_int_equal(mock_carrier_forbidden(&scene->carrier), 0);
	assert_books(scene, 0, 0);
}

static void
unmaps_mark_the_log(void **state)
{
	struct scene *scene = *state;
	const struct rp_dma_log_range range = {0, 2 * FILE_IOVA};
	uint64_t page_bytes = scene->page_bytes, dirty = 0;
	uint8_t *far = map_all(scene, page_bytes - 1, 3, BOTH), *near = map_all(scene, FILE_IOVA, 3, BOTH);
	uint8_t *read = map_all(scene, FILE_IOVA + page_bytes, 3, RP_DMA_READ);

	assert_int_equal(rp_dma_log_start(scene->space, page_bytes, &range, 1, NULL), 0);
	assert_int_equal(rp_dma_unmap(scene->space, far, 3, BOTH, 2), 0);
	assert_int_equal(rp_dma_unmap(scene->space, near, 3, BOTH, 1), 0);
	assert_int_equal(rp_dma_unmap(scene->space, read, 3, RP_DMA_READ, 3), 0);
	assert_int_equal(rp_dma_log_report(scene->space, 0, 4 * page_bytes, page_bytes, &dirty, 8, NULL), 0);
	assert_int_equal(dirty, 3);
	assert_int_equal(rp_dma_log_report(scene->space, FILE_IOVA, 4 * page_bytes, page_bytes, &dirty, 8, NULL), 0);
	assert_int_equal(dirty, 1);
}

static void
never_freed(struct rp_dma_waiter *waiter)
{
	(void)waiter;
	fail_msg("a waiter of a space that ended was called");
}

/* Buffers out, one being filled, one being written back, a direct pointer, and one who waits. */
static void
space_ends_with_everything_out(void **state)
{
	struct scene *scene = *state;
	uint8_t *writing = map_all(scene, 0, 4, RP_DMA_WRITE);
	struct ends fetched = {0}, written = {0};
	struct rp_dma_waiter waiter = {.freed = never_freed};

	map_all(scene, FILE_IOVA, 4, BOTH);
	map_all(scene, 8, BOUNCE_MAX - 8, RP_DMA_WRITE);
	mock_carrier_gate(&scene->carrier, true);
	assert_int_equal(rp_dma_map_start(scene->space, 8, 4, BOTH, map_ends, &fetched), 0);
	assert_int_equal(rp_dma_unmap_start(scene->space, writing, 4, RP_DMA_WRITE, 4, unmap_ends, &written), 0);
	assert_books(scene, BOUNCE_MAX, 4);
	rp_dma_waiter_register(scene->space, &waiter);
	/* That the books are at zero then is asserted by the space. */
	scene->space = rp_dma_space_destroy(scene->space);
	assert_int_equal(fetched.count, 1);
	assert_int_equal(fetched.error, -ECANCELED);
	assert_int_equal(written.count, 1);
	assert_int_equal(written.error, -ECANCELED);
	assert_int_equal(mock_carrier_queued(&scene->carrier), 0);
}

#define WITH_SCENE(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_SCENE(same_call_for_both),
		WITH_SCENE(bytes_move_once_or_not_at_all),
		WITH_SCENE(what_is_refused),
		WITH_SCENE(short_maps),
		WITH_SCENE(maps_have_a_limit),
		WITH_SCENE(stray_pointers),
		WITH_SCENE(writing_in_front_is_found_out),
		WITH_SCENE(without_waiting),
		WITH_SCENE(write_back_may_fail),
		WITH_SCENE(range_goes_with_buffers_out),
		WITH_SCENE(range_goes_while_bytes_move),
		WITH_SCENE(direct_pointers_hold_the_range),
		WITH_SCENE(devices_and_a_writer),
		WITH_SCENE(unmaps_mark_the_log),
		WITH_SCENE(space_ends_with_everything_out),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
