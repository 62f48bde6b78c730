/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "rp_dma_atc.h"
#include "test_support.h"

#define PAGE RP_DMA_ATC_PAGE_BYTES
#define REQUESTS 4u
#define RW (RP_DMA_READ | RP_DMA_WRITE)
#define UNHEARD 1

struct scene {
	struct rp_dma_space *space;
	struct rp_dma_atc *atc;
	unsigned int woken;
};

static void
on_wake(void *ctx)
{
	struct scene *scene = ctx;

	scene->woken++;
}

static int
setup(void **state)
{
	struct scene *scene = calloc(1, sizeof(*scene));

	assert_int_equal(rp_dma_space_create(NULL, &scene->space), 0);
	assert_int_equal(rp_dma_atc_create(scene->space, 16, REQUESTS, on_wake, scene, &scene->atc), 0);
	rp_dma_atc_open(scene->atc, REQUESTS);
	*state = scene;
	return 0;
}

static int
teardown(void **state)
{
	struct scene *scene = *state;

	assert_null(rp_dma_atc_destroy(scene->atc));
	assert_null(rp_dma_space_destroy(scene->space));
	free(scene);
	return 0;
}

/* A waiter that writes down what it heard. */
struct ear {
	struct rp_dma_atc_wait wait;
	int heard;
	unsigned int times;
	struct scene *scene; /* not NULL: wants this page again when it hears something */
	uint64_t again_iova;
};

static void
on_done(struct rp_dma_atc_wait *wait, int error)
{
	struct ear *ear = wait->ctx;

	ear->heard = error;
	ear->times++;
	if (ear->scene != NULL && ear->times == 1)
		assert_int_equal(rp_dma_atc_want(ear->scene->atc, wait, 1, ear->again_iova, RP_DMA_READ), -EINPROGRESS);
}

static int
want(struct scene *scene, struct ear *ear, uint32_t pasid, uint64_t iova, uint32_t access_mask)
{
	*ear = (struct ear){.wait = {.done = on_done}, .heard = UNHEARD};
	ear->wait.ctx = ear;
	return rp_dma_atc_want(scene->atc, &ear->wait, pasid, iova, access_mask);
}

static struct rp_dma_atc_ask
next(struct scene *scene)
{
	struct rp_dma_atc_ask ask = {.slot = UINT32_MAX};

	assert_int_equal(rp_dma_atc_next(scene->atc, &ask), 0);
	return ask;
}

static void
no_next(struct scene *scene)
{
	struct rp_dma_atc_ask ask;

	assert_int_equal(rp_dma_atc_next(scene->atc, &ask), -EAGAIN);
}

static int
answer(struct scene *scene, const struct rp_dma_atc_ask *ask, uint64_t iova, uint64_t size_bytes, uint64_t address,
       uint32_t access_mask)
{
	const struct rp_dma_translation translation = {iova, size_bytes, address, access_mask, false};
	struct rp_wire_why why;

	return rp_dma_atc_answer(scene->atc, ask->slot, &translation, &why);
}

static bool
leads_to(struct scene *scene, uint32_t pasid, uint64_t iova, uint32_t access_mask, uint64_t address)
{
	struct rp_dma_translation found;

	return rp_dma_atc_find(scene->atc, pasid, iova, access_mask, &found) == 0 && found.address == address;
}

static void
invalidate(struct scene *scene, uint32_t pasid, uint64_t first_iova, uint64_t last_iova)
{
	struct rp_dma_atc_invalidation invalidation = {
		.pasid = pasid, .first_iova = first_iova, .last_iova = last_iova};

	rp_dma_atc_invalidate(scene->atc, &invalidation);
	assert_true(rp_dma_atc_settled(scene->atc, &invalidation));
}

static struct rp_dma_atc_counters
counters(struct scene *scene)
{
	struct rp_dma_atc_counters now;

	rp_dma_atc_counters(scene->atc, &now);
	return now;
}

static void
one_request_for_a_page_however_many_wait(void **state)
{
	struct scene *scene = *state;
	struct ear first, second, other, late;
	struct rp_dma_atc_ask ask;

	assert_int_equal(want(scene, &first, 1, 5 * PAGE + 77, RP_DMA_READ), -EINPROGRESS);
	assert_int_equal(scene->woken, 1);
	assert_int_equal(want(scene, &second, 1, 5 * PAGE, RP_DMA_WRITE), -EINPROGRESS);
	assert_int_equal(want(scene, &other, 2, 5 * PAGE, RP_DMA_READ), -EINPROGRESS);
	assert_int_equal(scene->woken, 2);
	ask = next(scene);
	assert_int_equal(ask.pasid, 1);
	assert_int_equal(ask.iova, 5 * PAGE);
	assert_int_equal(ask.access_mask, RW);
	/* Also while it is under way. */
	assert_int_equal(want(scene, &late, 1, 5 * PAGE + 1, RP_DMA_READ), -EINPROGRESS);
	assert_int_equal(scene->woken, 2);
	assert_int_equal(answer(scene, &ask, 5 * PAGE, PAGE, 8 * PAGE, RW), 0);
	assert_int_equal(first.heard, 0);
	assert_int_equal(second.heard, 0);
	assert_int_equal(late.heard, 0);
	assert_int_equal(other.heard, UNHEARD);
	assert_true(leads_to(scene, 1, 5 * PAGE + 3, RW, 8 * PAGE + 3));
	assert_int_equal(want(scene, &late, 1, 5 * PAGE, RP_DMA_READ), 0);
	ask = next(scene);
	assert_int_equal(ask.pasid, 2);
	no_next(scene);
	rp_dma_atc_cancel(scene->atc, &other.wait);
	assert_int_equal(counters(scene).misses, 4);
	assert_int_equal(counters(scene).requests, 2);
	assert_int_equal(counters(scene).translations, 1);
}

static void
not_present_is_an_answer(void **state)
{
	struct scene *scene = *state;
	struct rp_dma_atc_ask ask;
	struct ear ear;

	want(scene, &ear, RP_DMA_NO_PASID, PAGE, RP_DMA_READ);
	ask = next(scene);
	assert_int_equal(ask.pasid, RP_DMA_NO_PASID);
	assert_int_equal(answer(scene, &ask, 0, 0, 0, 0), 0);
	assert_int_equal(ear.heard, -EFAULT);
	assert_int_equal(counters(scene).faults, 1);
	/* And is not remembered: a page request may have changed it. */
	assert_int_equal(want(scene, &ear, RP_DMA_NO_PASID, PAGE, RP_DMA_READ), -EINPROGRESS);
	ask = next(scene);
	assert_int_equal(rp_dma_atc_answer(scene->atc, ask.slot, NULL, NULL), 0);
	assert_int_equal(ear.heard, -EIO);
	assert_int_equal(rp_dma_atc_answer(scene->atc, ask.slot, NULL, NULL), -ENOENT);
	assert_int_equal(rp_dma_atc_answer(scene->atc, REQUESTS, NULL, NULL), -ENOENT);
}

static void
rights_that_were_not_given_and_that_were_not_asked_for(void **state)
{
	struct scene *scene = *state;
	struct ear reads, writes;
	struct rp_dma_atc_ask ask;

	want(scene, &reads, 1, 0, RP_DMA_READ);
	ask = next(scene);
	assert_int_equal(ask.access_mask, RP_DMA_READ);
	/* It was asked for before this one wanted more: it is asked again. */
	want(scene, &writes, 1, 0, RP_DMA_WRITE);
	assert_int_equal(answer(scene, &ask, 0, PAGE, PAGE, RP_DMA_READ), 0);
	assert_int_equal(reads.heard, 0);
	assert_int_equal(writes.heard, UNHEARD);
	ask = next(scene);
	assert_int_equal(ask.access_mask, RP_DMA_WRITE);
	assert_int_equal(answer(scene, &ask, 0, PAGE, PAGE, RP_DMA_READ), 0);
	assert_int_equal(writes.heard, -EFAULT);
}

/* The race of an invalidation with a translation that is outstanding: the answer was given before, and counts for nothing. */
static void
an_answer_from_before_an_invalidation_is_void(void **state)
{
	struct scene *scene = *state;
	struct rp_dma_atc_ask ask;
	struct ear ear;

	want(scene, &ear, 1, 5 * PAGE, RP_DMA_READ);
	ask = next(scene);
	invalidate(scene, 1, 5 * PAGE, 6 * PAGE - 1);
	assert_int_equal(answer(scene, &ask, 5 * PAGE, PAGE, 100 * PAGE, RW), 0);
	assert_int_equal(ear.heard, UNHEARD);
	assert_false(leads_to(scene, 1, 5 * PAGE, RP_DMA_READ, 100 * PAGE));
	assert_int_equal(rp_dma_atc_count(scene->atc), 0);
	/* It is asked again, by itself. */
	ask = next(scene);
	assert_int_equal(ask.iova, 5 * PAGE);
	assert_int_equal(answer(scene, &ask, 5 * PAGE, PAGE, 200 * PAGE, RW), 0);
	assert_int_equal(ear.heard, 0);
	assert_true(leads_to(scene, 1, 5 * PAGE, RP_DMA_READ, 200 * PAGE));
	assert_int_equal(counters(scene).voided, 1);
}

static void
others_invalidations_void_nothing(void **state)
{
	struct scene *scene = *state;
	struct rp_dma_atc_ask ask;
	struct ear ear;

	want(scene, &ear, 1, 5 * PAGE, RP_DMA_READ);
	ask = next(scene);
	invalidate(scene, 2, 0, UINT64_MAX);
	invalidate(scene, RP_DMA_NO_PASID, 0, UINT64_MAX);
	invalidate(scene, 1, 6 * PAGE, UINT64_MAX);
	invalidate(scene, 1, 0, 5 * PAGE - 1);
	assert_int_equal(answer(scene, &ask, 5 * PAGE, PAGE, 100 * PAGE, RW), 0);
	assert_int_equal(ear.heard, 0);
	assert_int_equal(counters(scene).voided, 0);
}

/* The answer is of more than was asked for, and a part of that was taken back meanwhile. */
static void
what_was_invalidated_beside_the_page_is_not_kept(void **state)
{
	struct scene *scene = *state;
	struct rp_dma_atc_ask ask;
	struct ear ear;

	want(scene, &ear, 1, 6 * PAGE, RP_DMA_READ);
	ask = next(scene);
	invalidate(scene, 1, 7 * PAGE, 7 * PAGE);
	invalidate(scene, 1, 11 * PAGE, 11 * PAGE);
	assert_int_equal(answer(scene, &ask, 0, 16 * PAGE, 64 * PAGE, RW), 0);
	assert_int_equal(ear.heard, 0);
	assert_true(leads_to(scene, 1, 6 * PAGE, RP_DMA_READ, 70 * PAGE));
	assert_false(leads_to(scene, 1, 7 * PAGE, RP_DMA_READ, 71 * PAGE));
	invalidate(scene, 1, 0, UINT64_MAX);

	want(scene, &ear, 1, 8 * PAGE, RP_DMA_READ);
	ask = next(scene);
	invalidate(scene, 1, 5 * PAGE, 7 * PAGE + 11);
	invalidate(scene, 1, 0, 100);
	assert_int_equal(answer(scene, &ask, 0, 16 * PAGE, 64 * PAGE, RW), 0);
	assert_true(leads_to(scene, 1, 8 * PAGE, RP_DMA_READ, 72 * PAGE));
	assert_true(leads_to(scene, 1, 15 * PAGE, RP_DMA_READ, 79 * PAGE));
	assert_false(leads_to(scene, 1, 7 * PAGE, RP_DMA_READ, 71 * PAGE));
	invalidate(scene, 1, 0, UINT64_MAX);

	want(scene, &ear, 1, 5 * PAGE, RP_DMA_READ);
	ask = next(scene);
	invalidate(scene, 1, 4 * PAGE, 4 * PAGE);
	invalidate(scene, 1, PAGE, PAGE);
	assert_int_equal(answer(scene, &ask, 0, 16 * PAGE, 64 * PAGE, RW), 0);
	assert_true(leads_to(scene, 1, 5 * PAGE, RP_DMA_READ, 69 * PAGE));
	assert_false(leads_to(scene, 1, 4 * PAGE, RP_DMA_READ, 68 * PAGE));
	invalidate(scene, 1, 0, UINT64_MAX);

	/* A page that an invalidation only begins in has gone too. */
	want(scene, &ear, 1, 8 * PAGE, RP_DMA_READ);
	ask = next(scene);
	invalidate(scene, 1, 9 * PAGE + 5, UINT64_MAX);
	assert_int_equal(answer(scene, &ask, 8 * PAGE, 2 * PAGE, 64 * PAGE, RW), 0);
	assert_true(leads_to(scene, 1, 8 * PAGE, RP_DMA_READ, 64 * PAGE));
	assert_false(leads_to(scene, 1, 9 * PAGE, RP_DMA_READ, 65 * PAGE));
}

static void
answers_that_break_a_rule_end_the_wait(void **state)
{
	static const struct rp_dma_translation wrong[] = {
		{5 * PAGE, PAGE, 8 * PAGE, 4, false},
		{5 * PAGE, PAGE, 8 * PAGE + 1, RW, false},
		{5 * PAGE + 8, PAGE, 8 * PAGE, RW, false},
		{5 * PAGE, PAGE + 1, 8 * PAGE, RW, false},
		{5 * PAGE, 0, 8 * PAGE, RW, false},
		{6 * PAGE, PAGE, 8 * PAGE, RW, false},
		{4 * PAGE, PAGE, 8 * PAGE, RW, false},
		{5 * PAGE, UINT64_MAX & ~(PAGE - 1), 0, RW, false},
		{5 * PAGE, 2 * PAGE, UINT64_MAX & ~(PAGE - 1), RW, false},
	};
	struct scene *scene = *state;
	struct rp_wire_why why;
	struct ear ear;
	size_t i;

	for (i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		struct rp_dma_atc_ask ask;

		want(scene, &ear, 1, 5 * PAGE, RP_DMA_READ);
		ask = next(scene);
		assert_int_equal(rp_dma_atc_answer(scene->atc, ask.slot, &wrong[i], &why), -EBADMSG);
		assert_int_equal(ear.heard, -EIO);
	}
	assert_int_equal(rp_dma_atc_count(scene->atc), 0);
}

static void
no_more_under_way_than_agreed(void **state)
{
	struct scene *scene = *state;
	struct rp_dma_atc_ask asks[REQUESTS];
	struct ear ears[REQUESTS + 2];
	unsigned int i;

	rp_dma_atc_open(scene->atc, REQUESTS - 1);
	for (i = 0; i < REQUESTS + 2; i++)
		assert_int_equal(want(scene, &ears[i], 1, i * PAGE, RP_DMA_READ), -EINPROGRESS);
	for (i = 0; i < REQUESTS - 1; i++)
		asks[i] = next(scene);
	no_next(scene);
	/* In any order. */
	assert_int_equal(answer(scene, &asks[1], PAGE, PAGE, PAGE, RW), 0);
	assert_int_equal(ears[1].heard, 0);
	asks[1] = next(scene);
	assert_int_equal(asks[1].iova, (REQUESTS - 1) * PAGE);
	no_next(scene);
	rp_dma_atc_close(scene->atc);
	for (i = 0; i < REQUESTS + 2; i++)
		assert_int_equal(ears[i].heard, i == 1 ? 0 : -ENOTCONN);
	assert_int_equal(rp_dma_atc_count(scene->atc), 0);
	assert_int_equal(answer(scene, &asks[0], 0, PAGE, 0, RW), -ENOENT);
	assert_int_equal(want(scene, &ears[0], 1, 0, RP_DMA_READ), -ENOTCONN);
}

static void
who_gives_up_hears_nothing(void **state)
{
	struct scene *scene = *state;
	struct rp_dma_atc_ask ask;
	struct ear queued, sent, stays;

	want(scene, &queued, 1, 0, RP_DMA_READ);
	rp_dma_atc_cancel(scene->atc, &queued.wait);
	no_next(scene);
	want(scene, &sent, 1, 0, RP_DMA_READ);
	want(scene, &stays, 1, PAGE, RP_DMA_READ);
	ask = next(scene);
	rp_dma_atc_cancel(scene->atc, &sent.wait);
	rp_dma_atc_cancel(scene->atc, &sent.wait);
	/* Its answer is good for the next one. */
	assert_int_equal(answer(scene, &ask, 0, PAGE, 0, RW), 0);
	assert_int_equal(want(scene, &sent, 1, 0, RP_DMA_READ), 0);
	assert_int_equal(queued.heard, UNHEARD);
	assert_int_equal(sent.heard, UNHEARD);
	rp_dma_atc_cancel(scene->atc, &stays.wait);
	no_next(scene);
	/* One that nobody waits for, and that was voided. */
	want(scene, &sent, 1, 9 * PAGE, RP_DMA_READ);
	ask = next(scene);
	rp_dma_atc_cancel(scene->atc, &sent.wait);
	invalidate(scene, 1, 0, UINT64_MAX);
	assert_int_equal(answer(scene, &ask, 9 * PAGE, PAGE, 0, RW), 0);
	no_next(scene);
}

static void
who_hears_may_want_again(void **state)
{
	struct scene *scene = *state;
	struct rp_dma_atc_ask ask;
	struct ear ear;

	want(scene, &ear, 1, 0, RP_DMA_READ);
	ear.scene = scene;
	ear.again_iova = PAGE;
	ask = next(scene);
	assert_int_equal(answer(scene, &ask, 0, PAGE, 0, RW), 0);
	assert_int_equal(ear.times, 1);
	ask = next(scene);
	assert_int_equal(ask.iova, PAGE);
	assert_int_equal(answer(scene, &ask, PAGE, PAGE, PAGE, RW), 0);
	assert_int_equal(ear.times, 2);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(one_request_for_a_page_however_many_wait, setup, teardown),
		cmocka_unit_test_setup_teardown(not_present_is_an_answer, setup, teardown),
		cmocka_unit_test_setup_teardown(rights_that_were_not_given_and_that_were_not_asked_for, setup,
						teardown),
		cmocka_unit_test_setup_teardown(an_answer_from_before_an_invalidation_is_void, setup, teardown),
		cmocka_unit_test_setup_teardown(others_invalidations_void_nothing, setup, teardown),
		cmocka_unit_test_setup_teardown(what_was_invalidated_beside_the_page_is_not_kept, setup, teardown),
		cmocka_unit_test_setup_teardown(answers_that_break_a_rule_end_the_wait, setup, teardown),
		cmocka_unit_test_setup_teardown(no_more_under_way_than_agreed, setup, teardown),
		cmocka_unit_test_setup_teardown(who_gives_up_hears_nothing, setup, teardown),
		cmocka_unit_test_setup_teardown(who_hears_may_want_again, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
