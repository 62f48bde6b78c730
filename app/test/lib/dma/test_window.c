/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdlib.h>
#include <unistd.h>

#include "rp_dma_window.h"
#include "rp_wire_fd.h"
#include "test_support.h"

#define PAGES 8u
#define IOVA UINT64_C(0xfffffffffff00000)
#define RW (RP_DMA_READ | RP_DMA_WRITE)

struct scene {
	struct rp_dma_space *space;
	struct rp_dma_reader *reader;
	struct rp_dma_window window;
	uint64_t page_bytes;
	int fd;
};

static int
setup(void **state)
{
	struct scene *scene = calloc(1, sizeof(*scene));

	assert_non_null(scene);
	scene->page_bytes = (uint64_t)sysconf(_SC_PAGESIZE);
	assert_int_equal(rp_dma_space_create(NULL, &scene->space), 0);
	assert_int_equal(rp_dma_reader_create(scene->space, &scene->reader), 0);
	scene->fd = test_memfd(PAGES * scene->page_bytes, true);
	rp_dma_reader_online(scene->reader);
	*state = scene;
	return 0;
}

static int
teardown(void **state)
{
	struct scene *scene = *state;

	rp_dma_reader_offline(scene->reader);
	assert_null(rp_dma_reader_destroy(scene->reader));
	assert_null(rp_dma_space_destroy(scene->space));
	rp_wire_fd_close(&scene->fd);
	free(scene);
	return 0;
}

/* What only adds does not wait, so the reader may be online; what replaces is begun, and ends after the test. */
static void
map(struct scene *scene, uint64_t iova, uint64_t page, uint64_t size_bytes, uint32_t access_mask)
{
	const struct rp_dma_mapping mapping = {
		.iova = iova,
		.size_bytes = size_bytes,
		.offset_bytes = page * scene->page_bytes,
		.access_mask = access_mask,
		.fd = scene->fd,
	};
	uint64_t ticket;

	assert_int_equal(rp_dma_space_remap_start(scene->space, &mapping, &ticket, NULL), 0);
}

static void *
translate(struct scene *scene, uint64_t iova)
{
	return rp_dma_space_translate(scene->space, iova, 1, 0);
}

static void
sees_one_mapping_and_no_more(void **state)
{
	struct scene *scene = *state;
	struct rp_dma_window *window = &scene->window;
	uint64_t page = scene->page_bytes, last = IOVA + 2 * page - 1;

	map(scene, IOVA, 0, 2 * page, RP_DMA_READ);
	map(scene, IOVA + 2 * page, 4, page, RW);
	rp_dma_window_refresh(window, scene->reader);
	assert_null(rp_dma_window_translate(window, IOVA, 1, RP_DMA_READ));
	assert_null(rp_dma_window_translate(window, 0, 1, RP_DMA_READ));
	assert_true(rp_dma_window_move(window, scene->reader, IOVA + 5, RP_DMA_READ));
	assert_ptr_equal(rp_dma_window_translate(window, IOVA, 2 * page, RP_DMA_READ), translate(scene, IOVA));
	assert_ptr_equal(rp_dma_window_translate(window, last, 1, RP_DMA_READ), translate(scene, last));
	assert_null(rp_dma_window_translate(window, last, 2, RP_DMA_READ));
	assert_null(rp_dma_window_translate(window, last + 1, 1, RP_DMA_READ));
	assert_null(rp_dma_window_translate(window, IOVA - 1, 1, RP_DMA_READ));
	assert_null(rp_dma_window_translate(window, IOVA, UINT64_MAX, RP_DMA_READ));
	assert_null(rp_dma_window_translate(window, IOVA, 0, RP_DMA_READ));
	assert_null(rp_dma_window_translate(window, IOVA, 1, RW));
	assert_null(rp_dma_window_translate(window, IOVA, 1, RP_DMA_WRITE));
	assert_false(rp_dma_window_move(window, scene->reader, IOVA, RP_DMA_WRITE));
	assert_null(rp_dma_window_translate(window, IOVA, 1, RP_DMA_READ));
	assert_false(rp_dma_window_move(window, scene->reader, IOVA - 1, RP_DMA_READ));
	assert_true(rp_dma_window_move(window, scene->reader, last + 1, RW));
	assert_ptr_equal(rp_dma_window_translate(window, last + 1, page, RW), translate(scene, last + 1));
}

static void
up_to_the_last_address(void **state)
{
	struct scene *scene = *state;
	uint64_t page = scene->page_bytes, first = 0 - page;

	map(scene, first, 1, page, RW);
	rp_dma_window_refresh(&scene->window, scene->reader);
	assert_true(rp_dma_window_move(&scene->window, scene->reader, UINT64_MAX, RW));
	assert_ptr_equal(rp_dma_window_translate(&scene->window, first, page, RW), translate(scene, first));
	assert_null(rp_dma_window_translate(&scene->window, first + 1, page, RW));
	assert_null(rp_dma_window_translate(&scene->window, UINT64_MAX, 2, RW));
}

/* A change is seen by the next refresh, also before the reader's next quiescent point, as by rp_dma_reader_translate(). */
static void
forgets_at_any_change(void **state)
{
	struct scene *scene = *state;
	struct rp_dma_window *window = &scene->window;
	uint64_t page = scene->page_bytes, ticket;
	void *before;

	map(scene, IOVA, 0, page, RW);
	rp_dma_reader_quiescent(scene->reader);
	assert_true(rp_dma_window_move(window, scene->reader, IOVA, RW));
	rp_dma_window_refresh(window, scene->reader);
	before = rp_dma_window_translate(window, IOVA, 1, RW);
	assert_non_null(before);
	map(scene, IOVA, 3, page, RW);
	rp_dma_window_refresh(window, scene->reader);
	assert_null(rp_dma_window_translate(window, IOVA, 1, RW));
	assert_true(rp_dma_window_move(window, scene->reader, IOVA, RW));
	assert_ptr_not_equal(rp_dma_window_translate(window, IOVA, 1, RW), before);
	assert_int_equal(rp_dma_space_unmap_start(scene->space, IOVA, page, &ticket, NULL), 0);
	rp_dma_window_refresh(window, scene->reader);
	assert_null(rp_dma_window_translate(window, IOVA, 1, RW));
	assert_false(rp_dma_window_move(window, scene->reader, IOVA, RW));
	/* What was seen before the reader let go of it is not seen after, whatever table there is. */
	map(scene, IOVA, 0, page, RW);
	assert_true(rp_dma_window_move(window, scene->reader, IOVA, RW));
	rp_dma_reader_quiescent(scene->reader);
	rp_dma_window_refresh(window, scene->reader);
	assert_null(rp_dma_window_translate(window, IOVA, 1, RW));
}

static void
nothing_without_a_file(void **state)
{
	const struct rp_dma_mapping mapping = {.iova = IOVA, .size_bytes = 4, .access_mask = RW, .fd = -1};
	struct scene *scene = *state;

	assert_int_equal(rp_dma_space_map(scene->space, &mapping, NULL), 0);
	assert_false(rp_dma_window_move(&scene->window, scene->reader, IOVA, RP_DMA_READ));
	assert_null(rp_dma_window_translate(&scene->window, IOVA, 1, RP_DMA_READ));
}

static void
is_counted(void **state)
{
	struct scene *scene = *state;
	struct rp_dma_reader_counters counters;

	rp_dma_window_count(scene->reader, 5);
	rp_dma_window_count(scene->reader, 2);
	rp_dma_reader_counters(scene->reader, &counters);
	assert_int_equal(counters.translations, 7);
	assert_int_equal(counters.refused, 0);
}

#define WITH_SCENE(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_SCENE(sees_one_mapping_and_no_more),
		WITH_SCENE(up_to_the_last_address),
		WITH_SCENE(forgets_at_any_change),
		WITH_SCENE(nothing_without_a_file),
		WITH_SCENE(is_counted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
