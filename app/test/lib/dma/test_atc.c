/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "rp_dma_atc.h"
#include "rp_wire_fd.h"
#include "test_support.h"

#define PAGE RP_DMA_ATC_PAGE_BYTES
#define PAGES 16u
#define RW (RP_DMA_READ | RP_DMA_WRITE)

struct scene {
	struct rp_dma_space *space;
	struct rp_dma_reader *reader;
	struct rp_dma_atc *atc;
	int fd;
	unsigned int looks; /* that the writer was asked for */
};

static void
on_look(void *ctx)
{
	struct scene *scene = ctx;

	scene->looks++;
}

static int
setup(void **state)
{
	const struct rp_dma_mapping mapping = {
		.iova = 0, .size_bytes = PAGES * PAGE, .access_mask = RW, .fd = test_memfd(PAGES * PAGE, true)};
	struct scene *scene = calloc(1, sizeof(*scene));

	scene->fd = mapping.fd;
	assert_int_equal(rp_dma_space_create(NULL, &scene->space), 0);
	rp_dma_space_set_wake(scene->space, on_look, scene);
	assert_int_equal(rp_dma_space_map(scene->space, &mapping, NULL), 0);
	assert_int_equal(rp_dma_reader_create(scene->space, &scene->reader), 0);
	assert_int_equal(rp_dma_atc_create(scene->space, 0, 8, NULL, NULL, &scene->atc), 0);
	rp_dma_atc_open(scene->atc, 8);
	*state = scene;
	return 0;
}

static int
teardown(void **state)
{
	struct scene *scene = *state;

	assert_null(rp_dma_atc_destroy(scene->atc));
	assert_null(rp_dma_reader_destroy(scene->reader));
	assert_null(rp_dma_space_destroy(scene->space));
	rp_wire_fd_close(&scene->fd);
	free(scene);
	return 0;
}

static void
on_done(struct rp_dma_atc_wait *wait, int error)
{
	(void)wait;
	assert_int_equal(error, 0);
}

/* Have it answered. */
static void
learn(struct scene *scene, uint32_t pasid, uint64_t iova, uint64_t size_bytes, uint64_t address, uint32_t access_mask)
{
	const struct rp_dma_translation translation = {iova, size_bytes, address, access_mask, false};
	struct rp_dma_atc_wait wait = {.done = on_done};
	struct rp_dma_atc_ask ask;

	assert_int_equal(rp_dma_atc_want(scene->atc, &wait, pasid, iova, access_mask), -EINPROGRESS);
	assert_int_equal(rp_dma_atc_next(scene->atc, &ask), 0);
	assert_int_equal(rp_dma_atc_answer(scene->atc, ask.slot, &translation, NULL), 0);
}

static void
invalidate(struct scene *scene, struct rp_dma_atc_invalidation *invalidation, uint32_t pasid, uint64_t first_iova,
	   uint64_t last_iova)
{
	*invalidation =
		(struct rp_dma_atc_invalidation){.pasid = pasid, .first_iova = first_iova, .last_iova = last_iova};
	rp_dma_atc_invalidate(scene->atc, invalidation);
}

static void
what_it_refuses_to_be(void **state)
{
	struct scene *scene = *state;
	struct rp_dma_atc *atc;

	assert_int_equal(rp_dma_atc_create(scene->space, (1u << 20) + 1, 1, NULL, NULL, &atc), -EINVAL);
	assert_int_equal(rp_dma_atc_create(scene->space, 0, 0, NULL, NULL, &atc), -EINVAL);
	assert_int_equal(rp_dma_atc_create(scene->space, 0, 4097, NULL, NULL, &atc), -EINVAL);
	assert_null(rp_dma_atc_destroy(NULL));
}

static void
a_translation_leads_to_memory(void **state)
{
	struct scene *scene = *state;
	uint64_t here_bytes = 1;
	uint8_t *direct, *translated;
	void *hva;

	learn(scene, 9, 100 * PAGE, 2 * PAGE, 4 * PAGE, RP_DMA_READ);
	rp_dma_reader_online(scene->reader);
	direct = rp_dma_reader_translate(scene->reader, 4 * PAGE, 1, RP_DMA_READ, &here_bytes);
	assert_int_equal(rp_dma_atc_translate(scene->atc, scene->reader, 9, 101 * PAGE + 6, UINT64_MAX, RP_DMA_READ,
					      &hva, &here_bytes),
			 0);
	translated = hva;
	assert_ptr_equal(translated, direct + PAGE + 6);
	assert_int_equal(here_bytes, PAGE - 6);
	assert_int_equal(
		rp_dma_atc_translate(scene->atc, scene->reader, 9, 100 * PAGE, 8, RP_DMA_WRITE, &hva, &here_bytes),
		-EAGAIN);
	rp_dma_reader_offline(scene->reader);
	/* Translated, but to where nothing is. */
	learn(scene, 9, 0, PAGE, PAGES * PAGE, RW);
	rp_dma_reader_online(scene->reader);
	assert_int_equal(rp_dma_atc_translate(scene->atc, scene->reader, 9, 0, 8, RP_DMA_READ, &hva, &here_bytes), 0);
	assert_null(hva);
	assert_int_equal(here_bytes, 0);
	rp_dma_reader_offline(scene->reader);
}

/* A client that translates nothing: one way for both. */
static void
without_an_iommu_addresses_are_themselves(void **state)
{
	struct rp_dma_atc_wait wait = {.done = on_done};
	struct scene *scene = *state;
	struct rp_dma_translation found;
	struct rp_dma_atc_use use = {.open = false};

	learn(scene, RP_DMA_NO_PASID, 0, PAGE, 4 * PAGE, RP_DMA_READ);
	rp_dma_atc_close(scene->atc);
	assert_int_equal(rp_dma_atc_find(scene->atc, RP_DMA_NO_PASID, 77, RW, &found), -EAGAIN);
	rp_dma_atc_open_identity(scene->atc);
	assert_false(rp_dma_atc_is_open(scene->atc));
	assert_int_equal(rp_dma_atc_find(scene->atc, RP_DMA_NO_PASID, 77, RW, &found), 0);
	assert_int_equal(found.address, 77);
	assert_int_equal(found.size_bytes, UINT64_MAX - 76);
	assert_true(found.identity);
	assert_int_equal(rp_dma_atc_find(scene->atc, RP_DMA_NO_PASID, 0, RW, &found), 0);
	assert_int_equal(found.size_bytes, UINT64_MAX);
	assert_int_equal(rp_dma_atc_find(scene->atc, 0, 77, RW, &found), -EAGAIN);
	assert_int_equal(rp_dma_atc_want(scene->atc, &wait, 0, 77, RP_DMA_READ), -ENOTCONN);
	assert_int_equal(rp_dma_atc_want(scene->atc, &wait, RP_DMA_NO_PASID, 77, RP_DMA_READ), 0);
	assert_int_equal(rp_dma_atc_use_begin(scene->atc, &use, RP_DMA_NO_PASID, 77, 10, RW, &found), 0);
	assert_int_equal(found.size_bytes, 10);
	rp_dma_atc_use_end(scene->atc, &use);
}

/* A reader that may have found it holds the invalidation until it passes; and keeps no pointer beyond. */
static void
an_invalidation_waits_for_readers(void **state)
{
	struct scene *scene = *state;
	struct rp_dma_atc_invalidation invalidation;
	struct rp_dma_translation found;
	uint64_t generation;

	learn(scene, 1, 0, PAGE, 4 * PAGE, RW);
	rp_dma_reader_online(scene->reader);
	generation = rp_dma_reader_generation(scene->reader);
	assert_int_equal(rp_dma_atc_find(scene->atc, 1, 0, RW, &found), 0);
	invalidate(scene, &invalidation, 1, 0, PAGE - 1);
	assert_false(rp_dma_atc_settled(scene->atc, &invalidation));
	assert_int_equal(rp_dma_atc_find(scene->atc, 1, 0, RW, &found), -EAGAIN);
	scene->looks = 0;
	rp_dma_reader_quiescent(scene->reader);
	assert_true(scene->looks > 0);
	assert_int_not_equal(rp_dma_reader_generation(scene->reader), generation);
	assert_true(rp_dma_atc_settled(scene->atc, &invalidation));
	assert_true(rp_dma_atc_settled(scene->atc, &invalidation));
	/* Nobody is asked to look any more. */
	scene->looks = 0;
	rp_dma_reader_offline(scene->reader);
	assert_int_equal(scene->looks, 0);
}

static void
an_invalidation_waits_for_uses_of_its_range(void **state)
{
	struct scene *scene = *state;
	struct rp_dma_atc_invalidation mine, others[3], later;
	struct rp_dma_atc_use use = {.open = false}, again = {.open = false};
	struct rp_dma_translation found;
	struct rp_dma_atc_counters counters;
	unsigned int i;

	learn(scene, 1, 0, 4 * PAGE, 4 * PAGE, RW);
	assert_int_equal(rp_dma_atc_use_begin(scene->atc, &use, 1, PAGE + 5, 2 * PAGE, RP_DMA_WRITE, &found), 0);
	assert_int_equal(found.size_bytes, 2 * PAGE);
	assert_int_equal(found.address, 5 * PAGE + 5);
	invalidate(scene, &others[0], 1, 0, PAGE - 1);
	invalidate(scene, &others[1], 1, 3 * PAGE + 5, UINT64_MAX);
	invalidate(scene, &others[2], 2, 0, UINT64_MAX);
	for (i = 0; i < 3; i++)
		assert_true(rp_dma_atc_settled(scene->atc, &others[i]));
	learn(scene, 1, 0, 4 * PAGE, 4 * PAGE, RW);
	invalidate(scene, &mine, 1, 3 * PAGE, 3 * PAGE);
	assert_false(rp_dma_atc_settled(scene->atc, &mine));
	/* One that began after it is of the next translation. */
	assert_int_equal(rp_dma_atc_use_begin(scene->atc, &again, 1, PAGE, 1, RP_DMA_READ, &found), -EAGAIN);
	learn(scene, 1, 0, 4 * PAGE, 8 * PAGE, RW);
	assert_int_equal(rp_dma_atc_use_begin(scene->atc, &again, 1, 2 * PAGE, PAGE, RP_DMA_READ, &found), 0);
	assert_false(rp_dma_atc_settled(scene->atc, &mine));
	scene->looks = 0;
	rp_dma_atc_use_end(scene->atc, &use);
	rp_dma_atc_use_end(scene->atc, &use);
	assert_int_equal(scene->looks, 1);
	assert_true(rp_dma_atc_settled(scene->atc, &mine));
	invalidate(scene, &later, 1, 2 * PAGE, 2 * PAGE);
	assert_false(rp_dma_atc_settled(scene->atc, &later));
	rp_dma_atc_use_end(scene->atc, &again);
	assert_true(rp_dma_atc_settled(scene->atc, &later));
	rp_dma_atc_counters(scene->atc, &counters);
	assert_int_equal(counters.invalidations, 5);
	assert_int_equal(counters.invalidations_in_use, 2);
}

static void
invalidations_of_a_peer_that_left_are_forgotten(void **state)
{
	struct scene *scene = *state;
	struct rp_dma_atc_invalidation invalidation;
	struct rp_dma_atc_use use = {.open = false};
	struct rp_dma_translation found;

	learn(scene, 1, 0, PAGE, 4 * PAGE, RW);
	assert_int_equal(rp_dma_atc_use_begin(scene->atc, &use, 1, 0, 1, RW, &found), 0);
	invalidate(scene, &invalidation, 1, 0, 0);
	assert_false(rp_dma_atc_settled(scene->atc, &invalidation));
	rp_dma_atc_close(scene->atc);
	assert_true(rp_dma_atc_settled(scene->atc, &invalidation));
	scene->looks = 0;
	rp_dma_atc_use_end(scene->atc, &use);
	assert_int_equal(scene->looks, 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(what_it_refuses_to_be, setup, teardown),
		cmocka_unit_test_setup_teardown(a_translation_leads_to_memory, setup, teardown),
		cmocka_unit_test_setup_teardown(without_an_iommu_addresses_are_themselves, setup, teardown),
		cmocka_unit_test_setup_teardown(an_invalidation_waits_for_readers, setup, teardown),
		cmocka_unit_test_setup_teardown(an_invalidation_waits_for_uses_of_its_range, setup, teardown),
		cmocka_unit_test_setup_teardown(invalidations_of_a_peer_that_left_are_forgotten, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
