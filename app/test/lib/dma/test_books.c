/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#include "mock_carrier.h"
#include "rp_dma_bounce.h"
#include "rp_wire_fd.h"
#include "test_support.h"

#define LIMIT_MS 30000u
#define STILL_MS 50u
#define BOUNCE_MAX 100u
#define MAPS_MAX 4u
#define FILE_IOVA UINT64_C(0x100000)

struct scene {
	struct rp_dma_space *space;
	struct mock_carrier carrier;
	int fd;
};

static int
setup(void **state)
{
	const struct rp_dma_limits limits = {.bounce_bytes_max = BOUNCE_MAX, .maps_max = MAPS_MAX};
	uint64_t page_bytes = (uint64_t)sysconf(_SC_PAGESIZE);
	struct scene *scene = calloc(1, sizeof(*scene));
	struct rp_dma_mapping mapping = {.size_bytes = page_bytes, .access_mask = RP_DMA_READ | RP_DMA_WRITE, .fd = -1};

	scene->fd = test_memfd(page_bytes, true);
	assert_int_equal(rp_dma_space_create(&limits, &scene->space), 0);
	mock_carrier_start(&scene->carrier, scene->space, page_bytes);
	assert_int_equal(rp_dma_space_map(scene->space, &mapping, NULL), 0);
	mapping.iova = FILE_IOVA;
	mapping.fd = scene->fd;
	assert_int_equal(rp_dma_space_map(scene->space, &mapping, NULL), 0);
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

static void *
take(struct scene *scene, uint64_t iova, uint64_t size_bytes)
{
	uint64_t mapped_bytes = 0;
	void *bytes = NULL;

	assert_int_equal(rp_dma_map(scene->space, iova, size_bytes, RP_DMA_WRITE, &bytes, &mapped_bytes), 0);
	assert_int_equal(mapped_bytes, size_bytes);
	return bytes;
}

static void
give(struct scene *scene, void *bytes, uint64_t size_bytes)
{
	assert_int_equal(rp_dma_unmap(scene->space, bytes, size_bytes, RP_DMA_WRITE, 0), 0);
}

struct waiting {
	struct rp_dma_waiter waiter;
	struct scene *scene;
	atomic_uint calls;
	atomic_bool gate;
	unsigned int depth;
	unsigned int deepest;
	unsigned int again; /* how often to register once more from inside */
	bool frees_and_takes;
};

static void
freed(struct rp_dma_waiter *waiter)
{
	struct waiting *waiting = waiter->ctx;

	if (++waiting->depth > waiting->deepest)
		waiting->deepest = waiting->depth;
	atomic_fetch_add(&waiting->calls, 1);
	if (waiting->frees_and_takes)
		give(waiting->scene, take(waiting->scene, 0, 1), 1);
	if (waiting->again > 0) {
		waiting->again--;
		rp_dma_waiter_register(waiting->scene->space, waiter);
	}
	while (atomic_load(&waiting->gate))
		usleep(100);
	waiting->depth--;
}

static void
wait_for_space(struct scene *scene, struct waiting *waiting)
{
	waiting->scene = scene;
	waiting->waiter.freed = freed;
	waiting->waiter.ctx = waiting;
	rp_dma_waiter_register(scene->space, &waiting->waiter);
}

static void
assert_calls(struct waiting *waiting, unsigned int calls)
{
	assert_int_equal(atomic_load(&waiting->calls), calls);
}

static void
at_once_when_there_is_space(void **state)
{
	struct scene *scene = *state;
	struct waiting waiting = {0};

	wait_for_space(scene, &waiting);
	assert_calls(&waiting, 1);
	give(scene, take(scene, 0, 1), 1);
	assert_calls(&waiting, 1);
}

/* Each unmap calls, however little it frees; once for each registration. */
static void
called_by_an_unmap(void **state)
{
	struct scene *scene = *state;
	void *most = take(scene, 0, BOUNCE_MAX - 1), *last = take(scene, 0, 1), *near = take(scene, FILE_IOVA, 50);
	struct waiting first = {0}, second = {0};

	wait_for_space(scene, &first);
	wait_for_space(scene, &first);
	wait_for_space(scene, &second);
	assert_calls(&first, 0);
	give(scene, last, 1);
	assert_calls(&first, 1);
	assert_calls(&second, 1);
	last = take(scene, 0, 1);
	wait_for_space(scene, &first);
	/* This one had taken nothing. */
	give(scene, near, 50);
	assert_calls(&first, 2);
	give(scene, most, BOUNCE_MAX - 1);
	give(scene, last, 1);
	assert_calls(&first, 2);
	assert_calls(&second, 1);
}

static void
a_full_list_of_maps_too(void **state)
{
	struct scene *scene = *state;
	struct waiting waiting = {0};
	void *maps[MAPS_MAX];
	unsigned int i;

	for (i = 0; i < MAPS_MAX; i++)
		maps[i] = take(scene, FILE_IOVA + i, 1);
	wait_for_space(scene, &waiting);
	assert_calls(&waiting, 0);
	for (i = 0; i < MAPS_MAX; i++)
		give(scene, maps[i], 1);
	assert_calls(&waiting, 1);
}

static void
cancelled_is_not_called(void **state)
{
	struct scene *scene = *state;
	void *all = take(scene, 0, BOUNCE_MAX);
	struct waiting cancelled = {0}, waiting = {0};

	wait_for_space(scene, &cancelled);
	wait_for_space(scene, &waiting);
	rp_dma_waiter_cancel(scene->space, &cancelled.waiter);
	rp_dma_waiter_cancel(scene->space, &cancelled.waiter);
	give(scene, all, BOUNCE_MAX);
	assert_calls(&cancelled, 0);
	assert_calls(&waiting, 1);
	rp_dma_waiter_cancel(scene->space, &waiting.waiter);
}

/* Calls do not nest, and end when there is no space; who unmaps in there is not called from in there. */
static void
registered_from_inside(void **state)
{
	struct scene *scene = *state;
	void *all = take(scene, 0, BOUNCE_MAX);
	struct waiting waiting = {.again = 3, .frees_and_takes = true};

	wait_for_space(scene, &waiting);
	give(scene, all, BOUNCE_MAX);
	assert_calls(&waiting, 4);
	assert_int_equal(waiting.deepest, 1);
	/* Full again inside the call: it waits like any other. */
	all = take(scene, 0, BOUNCE_MAX);
	waiting = (struct waiting){.again = 1};
	wait_for_space(scene, &waiting);
	give(scene, take(scene, FILE_IOVA, 1), 1);
	assert_calls(&waiting, 1);
	give(scene, all, BOUNCE_MAX);
	assert_calls(&waiting, 2);
}

static void
free_it(struct rp_dma_waiter *waiter)
{
	++*(unsigned int *)waiter->ctx;
	free(waiter);
}

static void
may_be_freed_inside(void **state)
{
	struct scene *scene = *state;
	void *all = take(scene, 0, BOUNCE_MAX);
	unsigned int calls = 0, i;

	for (i = 0; i < 10; i++) {
		struct rp_dma_waiter *waiter = calloc(1, sizeof(*waiter));

		waiter->freed = free_it;
		waiter->ctx = &calls;
		rp_dma_waiter_register(scene->space, waiter);
	}
	give(scene, all, BOUNCE_MAX);
	assert_int_equal(calls, 10);
}

struct helper {
	struct scene *scene;
	struct waiting *waiting;
	void *bytes;
	atomic_bool returned;
};

static void *
give_all(void *ctx)
{
	struct helper *helper = ctx;

	give(helper->scene, helper->bytes, BOUNCE_MAX);
	return NULL;
}

static void *
cancel_it(void *ctx)
{
	struct helper *helper = ctx;

	rp_dma_waiter_cancel(helper->scene->space, &helper->waiting->waiter);
	atomic_store(&helper->returned, true);
	return NULL;
}

static bool
was_called(void *ctx)
{
	return atomic_load(&((struct waiting *)ctx)->calls) > 0;
}

static bool
has_returned(void *ctx)
{
	return atomic_load(&((struct helper *)ctx)->returned);
}

/* Also when it registers once more in there: after the cancel it is nobody's. */
static void
cancel_waits_for_the_call(void **state)
{
	struct scene *scene = *state;
	struct waiting waiting = {.gate = true, .again = 1};
	struct helper giver = {.scene = scene, .bytes = take(scene, 0, BOUNCE_MAX)};
	struct helper canceller = {.scene = scene, .waiting = &waiting};
	pthread_t threads[2];

	wait_for_space(scene, &waiting);
	assert_int_equal(pthread_create(&threads[0], NULL, give_all, &giver), 0);
	assert_true(test_wait(was_called, &waiting, LIMIT_MS));
	giver.bytes = take(scene, 0, BOUNCE_MAX);
	assert_int_equal(pthread_create(&threads[1], NULL, cancel_it, &canceller), 0);
	assert_false(test_wait(has_returned, &canceller, STILL_MS));
	atomic_store(&waiting.gate, false);
	assert_true(test_wait(has_returned, &canceller, LIMIT_MS));
	pthread_join(threads[0], NULL);
	pthread_join(threads[1], NULL);
	give(scene, giver.bytes, BOUNCE_MAX);
	assert_calls(&waiting, 1);
}

#define WITH_SCENE(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_SCENE(at_once_when_there_is_space), WITH_SCENE(called_by_an_unmap),
		WITH_SCENE(a_full_list_of_maps_too),	 WITH_SCENE(cancelled_is_not_called),
		WITH_SCENE(registered_from_inside),	 WITH_SCENE(may_be_freed_inside),
		WITH_SCENE(cancel_waits_for_the_call),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
