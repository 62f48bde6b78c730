/* SPDX-License-Identifier: BSD-3-Clause */
#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#include "rp_wire_fd.h"
#include "space.h"
#include "test_support.h"
#include "visit.h"

#define LIMIT_MS 30000u
#define STILL_MS 50u
#define VISITORS (RP_DMA_VISITS_COUNT + 8)

struct scene {
	struct rp_dma_space *space;
	atomic_bool leave;
	atomic_bool unmapped;
	atomic_uint inside;
};

static void
map_everything(struct rp_dma_space *space)
{
	const struct rp_dma_mapping mapping = {.size_bytes = UINT64_MAX, .access_mask = RP_DMA_READ, .fd = -1};

	assert_int_equal(rp_dma_space_map(space, &mapping, NULL), 0);
}

static void *
unmap_everything(void *ctx)
{
	struct scene *scene = ctx;

	rp_dma_space_clear(scene->space);
	atomic_store(&scene->unmapped, true);
	return NULL;
}

static bool
is_unmapped(void *ctx)
{
	return atomic_load(&((struct scene *)ctx)->unmapped);
}

/* What was found in a visit stays until it ends: here the table itself. */
static void
the_writer_waits_for_a_visit(void **state)
{
	struct scene scene = {0};
	struct rp_dma_visit *visit;
	uint64_t table;
	pthread_t thread;

	(void)state;
	assert_int_equal(rp_dma_space_create(NULL, &scene.space), 0);
	map_everything(scene.space);
	visit = rp_dma_visit_begin(scene.space);
	table = rp_dma_visit_table(scene.space);
	assert_int_equal(pthread_create(&thread, NULL, unmap_everything, &scene), 0);
	assert_false(test_wait(is_unmapped, &scene, STILL_MS));
	assert_int_equal(rp_dma_table_count(table), 1);
	rp_dma_visit_end(scene.space, visit);
	assert_true(test_wait(is_unmapped, &scene, LIMIT_MS));
	pthread_join(thread, NULL);
	rp_dma_space_destroy(scene.space);
}

static void *
visit_until_told(void *ctx)
{
	struct scene *scene = ctx;
	struct rp_dma_visit *visit = rp_dma_visit_begin(scene->space);

	atomic_fetch_add(&scene->inside, 1);
	while (!atomic_load(&scene->leave))
		usleep(1000);
	rp_dma_visit_end(scene->space, visit);
	return NULL;
}

static bool
is_full(void *ctx)
{
	return atomic_load(&((struct scene *)ctx)->inside) >= RP_DMA_VISITS_COUNT;
}

static bool
is_over_full(void *ctx)
{
	return atomic_load(&((struct scene *)ctx)->inside) > RP_DMA_VISITS_COUNT;
}

/* More threads than places: the others wait for one, and no place is given twice. */
static void
more_visitors_than_places(void **state)
{
	struct scene scene = {0};
	pthread_t threads[VISITORS];
	unsigned int i;

	(void)state;
	assert_int_equal(rp_dma_space_create(NULL, &scene.space), 0);
	for (i = 0; i < VISITORS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, visit_until_told, &scene), 0);
	assert_true(test_wait(is_full, &scene, LIMIT_MS));
	assert_false(test_wait(is_over_full, &scene, STILL_MS));
	atomic_store(&scene.leave, true);
	for (i = 0; i < VISITORS; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(atomic_load(&scene.inside), VISITORS);
	for (i = 0; i < RP_DMA_VISITS_COUNT; i++)
		assert_int_equal(atomic_load(&scene.space->visits[i].epoch), 0);
	rp_dma_space_destroy(scene.space);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_writer_waits_for_a_visit),
		cmocka_unit_test(more_visitors_than_places),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
