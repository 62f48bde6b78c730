/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "rp_dma_atc.h"
#include "rp_wire_fd.h"
#include "test_support.h"

/*
 * An IOMMU that changes its mind all the time, at the worst moments, and threads that use
 * what it said. Each untranslated page belongs to a frame of memory, which says on itself
 * whose it is. The frame that a page had is wiped once its invalidation has settled: who
 * still uses it then finds another page's name, or none.
 */

#define PAGE RP_DMA_ATC_PAGE_BYTES
#define PAGES 48u
#define FRAMES 64u /* some are free, so that a page gets another one each time */
#define SPACES 2u /* PASIDs */
#define THREADS 3u
#define ACCESSES 10000u
#define ROUNDS 1000u /* invalidations, between two looks */
#define ENTRIES 32u /* less than there are pages */
#define RW (RP_DMA_READ | RP_DMA_WRITE)
#define ENOUGH 200u /* of each race */
#define NOBODY UINT32_MAX

struct user {
	struct scene *scene;
	struct rp_dma_reader *reader;
	struct rp_dma_atc_wait wait;
	sem_t heard;
	int error;
	uint32_t seed;
	pthread_t thread;
	_Atomic uint64_t found; /* accesses that went through */
};

struct scene {
	struct rp_dma_space *space;
	struct rp_dma_atc *atc;
	int fd;
	struct user users[THREADS];
	uint32_t seed;
	/* The IOMMU's, in the writer's thread. */
	uint32_t frame_of[SPACES][PAGES];
	uint32_t free_frames[SPACES * FRAMES];
	unsigned int free_count;
	_Atomic bool stop;
};

static uint32_t
draw(uint32_t *seed, uint32_t below)
{
	*seed = *seed * 1664525u + 1013904223u;
	return (*seed >> 8) % below;
}

/* The name on a frame. */
static _Atomic uint32_t *
name_of(struct scene *scene, uint32_t frame)
{
	return rp_dma_space_translate(scene->space, frame * PAGE, sizeof(uint32_t), RW);
}

static uint32_t
name(uint32_t pasid, uint32_t page)
{
	return pasid << 16 | page;
}

static void
on_done(struct rp_dma_atc_wait *wait, int error)
{
	struct user *user = wait->ctx;

	user->error = error;
	sem_post(&user->heard);
}

/* Nothing is held meanwhile. @return false: it is over. */
static bool
wait_for(struct user *user, uint32_t pasid, uint64_t iova)
{
	int rc = rp_dma_atc_want(user->scene->atc, &user->wait, pasid, iova, RP_DMA_READ);

	if (rc == 0)
		return true;
	if (rc == -ENOTCONN)
		return false;
	assert_int_equal(rc, -EINPROGRESS);
	while (sem_wait(&user->heard) < 0)
		;
	return user->error == 0;
}

/* An access between two quiescent points. */
static int
read_soon(struct user *user, uint32_t pasid, uint32_t page)
{
	uint64_t here_bytes;
	void *hva;
	int rc;

	rp_dma_reader_online(user->reader);
	rc = rp_dma_atc_translate(user->scene->atc, user->reader, pasid, page * PAGE, sizeof(uint32_t), RP_DMA_READ,
				  &hva, &here_bytes);
	if (rc == 0) {
		assert_non_null(hva);
		assert_int_equal(atomic_load((_Atomic uint32_t *)hva), name(pasid, page));
		/* Again, as late as it may. */
		sched_yield();
		assert_int_equal(atomic_load((_Atomic uint32_t *)hva), name(pasid, page));
	}
	rp_dma_reader_offline(user->reader);
	return rc;
}

/* An access that lasts, without a reader. */
static int
read_long(struct user *user, uint32_t pasid, uint32_t page)
{
	struct rp_dma_atc_use use = {.open = false};
	struct rp_dma_translation found;
	_Atomic uint32_t *frame;
	int rc = rp_dma_atc_use_begin(user->scene->atc, &use, pasid, page * PAGE, PAGE, RP_DMA_READ, &found);

	if (rc < 0)
		return rc;
	/* The space does not change in this test: its writer's translation is good in any thread. */
	frame = name_of(user->scene, (uint32_t)(found.address / PAGE));
	assert_int_equal(atomic_load(frame), name(pasid, page));
	sched_yield();
	assert_int_equal(atomic_load(frame), name(pasid, page));
	rp_dma_atc_use_end(user->scene->atc, &use);
	return 0;
}

static void *
run_user(void *arg)
{
	struct user *user = arg;
	bool goes_on = true;

	while (goes_on && !atomic_load(&user->scene->stop)) {
		uint32_t pasid = draw(&user->seed, SPACES), page = draw(&user->seed, PAGES);
		int rc = draw(&user->seed, 2) == 0 ? read_soon(user, pasid, page) : read_long(user, pasid, page);

		if (rc == 0)
			atomic_fetch_add(&user->found, 1);
		else
			goes_on = wait_for(user, pasid, page * PAGE);
	}
	return NULL;
}

static void
hand_in(struct scene *scene, const struct rp_dma_atc_ask *ask, uint32_t frame)
{
	const struct rp_dma_translation answer = {ask->iova, PAGE, frame * PAGE, RP_DMA_READ, false};

	assert_int_equal(rp_dma_atc_answer(scene->atc, ask->slot, &answer, NULL), 0);
}

/* Another frame for a page; the old one is nobody's when the invalidation has settled. */
static void
change(struct scene *scene, uint32_t pasid, uint32_t page)
{
	struct rp_dma_atc_invalidation invalidation = {
		.pasid = pasid, .first_iova = page * PAGE, .last_iova = (page + 1) * PAGE - 1};
	uint32_t old = scene->frame_of[pasid][page];
	uint32_t at = draw(&scene->seed, scene->free_count), fresh = scene->free_frames[at];

	atomic_store(name_of(scene, fresh), name(pasid, page));
	scene->frame_of[pasid][page] = fresh;
	rp_dma_atc_invalidate(scene->atc, &invalidation);
	while (!rp_dma_atc_settled(scene->atc, &invalidation))
		sched_yield();
	atomic_store(name_of(scene, old), NOBODY);
	scene->free_frames[at] = old;
}

/* The answer is given, then the page changes, then the answer arrives. */
static void
answer_too_late(struct scene *scene, const struct rp_dma_atc_ask *ask)
{
	uint32_t page = (uint32_t)(ask->iova / PAGE), frame = scene->frame_of[ask->pasid][page];

	change(scene, ask->pasid, page);
	hand_in(scene, ask, frame);
}

static void
serve(struct scene *scene)
{
	struct rp_dma_atc_ask ask;

	while (rp_dma_atc_next(scene->atc, &ask) == 0) {
		if (draw(&scene->seed, 3) == 0)
			answer_too_late(scene, &ask);
		else
			hand_in(scene, &ask, scene->frame_of[ask.pasid][ask.iova / PAGE]);
	}
}

static int
setup(void **state)
{
	struct rp_dma_mapping mapping = {.size_bytes = SPACES * FRAMES * PAGE, .access_mask = RW};
	struct scene *scene = calloc(1, sizeof(*scene));
	uint32_t frame, pasid, page;
	unsigned int i;

	scene->seed = 7;
	mapping.fd = scene->fd = test_memfd(mapping.size_bytes, true);
	assert_int_equal(rp_dma_space_create(NULL, &scene->space), 0);
	assert_int_equal(rp_dma_space_map(scene->space, &mapping, NULL), 0);
	assert_int_equal(rp_dma_atc_create(scene->space, ENTRIES, 4, NULL, NULL, &scene->atc), 0);
	rp_dma_atc_open(scene->atc, 4);
	for (frame = 0; frame < SPACES * FRAMES; frame++) {
		atomic_store(name_of(scene, frame), NOBODY);
		scene->free_frames[scene->free_count++] = frame;
	}
	for (pasid = 0; pasid < SPACES; pasid++) {
		for (page = 0; page < PAGES; page++) {
			frame = scene->free_frames[--scene->free_count];
			atomic_store(name_of(scene, frame), name(pasid, page));
			scene->frame_of[pasid][page] = frame;
		}
	}
	for (i = 0; i < THREADS; i++) {
		struct user *user = &scene->users[i];

		*user = (struct user){.scene = scene, .wait = {.done = on_done, .ctx = user}, .seed = i + 1};
		sem_init(&user->heard, 0, 0);
		assert_int_equal(rp_dma_reader_create(scene->space, &user->reader), 0);
	}
	*state = scene;
	return 0;
}

static int
teardown(void **state)
{
	struct scene *scene = *state;
	unsigned int i;

	assert_null(rp_dma_atc_destroy(scene->atc));
	for (i = 0; i < THREADS; i++) {
		sem_destroy(&scene->users[i].heard);
		assert_null(rp_dma_reader_destroy(scene->users[i].reader));
	}
	assert_null(rp_dma_space_destroy(scene->space));
	rp_wire_fd_close(&scene->fd);
	free(scene);
	return 0;
}

static uint64_t
found_by_all(struct scene *scene)
{
	uint64_t found = 0;
	unsigned int i;

	for (i = 0; i < THREADS; i++)
		found += atomic_load(&scene->users[i].found);
	return found;
}

static void
nobody_uses_what_was_taken_back(void **state)
{
	struct scene *scene = *state;
	struct rp_dma_atc_counters counters;
	unsigned int i;

	for (i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&scene->users[i].thread, NULL, run_user, &scene->users[i]), 0);
	/* Until each race was there, however the threads were scheduled. */
	do {
		for (i = 0; i < ROUNDS; i++) {
			serve(scene);
			change(scene, draw(&scene->seed, SPACES), draw(&scene->seed, PAGES));
		}
		rp_dma_atc_counters(scene->atc, &counters);
	} while (found_by_all(scene) < ACCESSES || counters.voided < ENOUGH || counters.invalidations_in_use < ENOUGH ||
		 counters.evictions < ENOUGH);
	atomic_store(&scene->stop, true);
	rp_dma_atc_close(scene->atc);
	for (i = 0; i < THREADS; i++)
		assert_int_equal(pthread_join(scene->users[i].thread, NULL), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(nobody_uses_what_was_taken_back, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
