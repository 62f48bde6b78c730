/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <string.h>

#include "iommu_model.h"
#include "rp_dma_io.h"

/* Both ends are given their turns one by one: the races of invalidations, and circles that must not close. */

static void
take_turns(const struct rp_vfu_client_config *way)
{
	model_begin(way, false);
	serving_stop(&model.serving);
}

static void
turn_server(void)
{
	device_turn(&model.device);
}

static void
turn_client(void)
{
	assert_int_equal(rp_vfu_client_process(model.client), 0);
}

static bool
has_heard(struct model_user *user, int error)
{
	return sem_trywait(&user->heard) == 0 && user->error == error;
}

/* As model_make_present() in steps: the page is there, and its translation known. */
static void
learn(struct model_user *user, uint32_t pasid, uint32_t page)
{
	uint64_t iova = (uint64_t)page * MODEL_PAGE;
	unsigned int i;

	user->page = (struct rp_vfu_page){iova, RP_DMA_READ};
	user->group = (struct rp_vfu_page_group){.pasid = model_wire_pasid(pasid),
						 .pages = &user->page,
						 .pages_count = 1,
						 .done = model_on_present,
						 .ctx = user};
	assert_int_equal(rp_vfu_server_page_request(model.device.server, &user->group), 0);
	for (i = 0; i < 4; i++) {
		turn_server();
		turn_client();
	}
	assert_true(has_heard(user, 0));
	assert_int_equal(rp_dma_atc_want(model_atc(), &user->wait, model_wire_pasid(pasid), iova, RP_DMA_READ),
			 -EINPROGRESS);
	turn_server();
	turn_client();
	turn_server();
	assert_true(has_heard(user, 0));
}

static unsigned int completions;

static void
on_complete(void *ctx, int error, const struct rp_wire_why *why)
{
	(void)ctx;
	(void)why;
	assert_int_equal(error, 0);
	completions++;
}

static const struct rp_vfu_client_done complete = {.done = on_complete};

static void
invalidate(uint32_t pasid, uint32_t page)
{
	const struct rp_vfu_client_iommu_range range = {
		.pasid = model_wire_pasid(pasid), .iova = (uint64_t)page * MODEL_PAGE, .size_bytes = MODEL_PAGE};

	assert_int_equal(rp_vfu_client_invalidate_start(model.client, &range, &complete, &model.why), 0);
}

/* The drain race: a translation is outstanding, and answered from before, while its page is invalidated. */
static void
drain_race(const struct rp_vfu_client_config *way)
{
	struct model_user *user = &model.users[0];
	struct rp_vfu_server_iommu_counters counters;
	struct rp_dma_translation found;
	int rc;

	take_turns(way);
	completions = 0;
	model.frame_of[0][5] = 11;
	assert_int_equal(rp_dma_atc_want(model_atc(), &user->wait, model_wire_pasid(0), 5 * MODEL_PAGE, RP_DMA_READ),
			 -EINPROGRESS);
	turn_server();
	if (way->twin_socket) {
		/* The answer is on its way on one socket, and the invalidation overtakes it on the other. */
		turn_client();
		model.frame_of[0][5] = 12;
		invalidate(0, 5);
	} else {
		/* The question is on its way to the client, which has invalidated by then. */
		model.frame_of[0][5] = 12;
		invalidate(0, 5);
	}
	turn_server();
	turn_client();
	turn_server();
	turn_client();
	turn_server();
	assert_int_equal(completions, 1);
	assert_true(has_heard(user, 0));
	/* Whatever came when, what is known is from after. On two sockets it may have gone again. */
	rc = rp_dma_atc_find(model_atc(), model_wire_pasid(0), 5 * MODEL_PAGE, RP_DMA_READ, &found);
	assert_true(rc == 0 || way->twin_socket);
	assert_int_equal(rc == 0 ? found.address : MODEL_BASE + 12ull * MODEL_PAGE, MODEL_BASE + 12ull * MODEL_PAGE);
	rp_vfu_server_iommu_counters(model.device.server, &counters);
	assert_int_equal(counters.cache.voided, way->twin_socket ? 0 : 1);
	assert_int_equal(counters.cache.invalidations, 1);
}

static void
test_drain_race(void **state)
{
	(void)state;
	drain_race(&(struct rp_vfu_client_config){.twin_socket = false});
}

static void
test_drain_race_on_two_sockets(void **state)
{
	(void)state;
	drain_race(&(struct rp_vfu_client_config){.twin_socket = true});
}

/* In use while it dies: complete when the access has ended, and not before; others are served meanwhile. */
static void
test_completion_waits_for_the_access(void **state)
{
	struct model_user *user = &model.users[0], *other = &model.users[1];
	struct rp_dma_atc_use use = {.open = false};
	struct rp_dma_translation found;

	(void)state;
	take_turns(&(struct rp_vfu_client_config){.twin_socket = false});
	completions = 0;
	learn(user, 0, 5);
	assert_int_equal(
		rp_dma_atc_use_begin(model_atc(), &use, model_wire_pasid(0), 5 * MODEL_PAGE, 8, RP_DMA_READ, &found),
		0);
	invalidate(0, 5);
	turn_server();
	turn_client();
	assert_int_equal(completions, 0);
	assert_int_equal(rp_dma_atc_find(model_atc(), model_wire_pasid(0), 5 * MODEL_PAGE, RP_DMA_READ, &found),
			 -EAGAIN);
	learn(other, 1, 7);
	assert_int_equal(completions, 0);
	rp_dma_atc_use_end(model_atc(), &use);
	turn_server();
	turn_client();
	assert_int_equal(completions, 1);
}

/* The first forbidden deadlock: an IOMMU that answers a miss only after its invalidation is complete. */
static void
test_miss_is_answered_after_the_completion(void **state)
{
	struct model_user *user = &model.users[0], *waits = &model.users[1];
	struct rp_dma_atc_use use = {.open = false};
	struct rp_dma_translation found;

	(void)state;
	take_turns(&(struct rp_vfu_client_config){.twin_socket = false});
	completions = 0;
	learn(user, 0, 5);
	model.frame_of[1][7] = 20;
	model.answers_later = true;
	assert_int_equal(
		rp_dma_atc_use_begin(model_atc(), &use, model_wire_pasid(0), 5 * MODEL_PAGE, 8, RP_DMA_READ, &found),
		0);
	assert_int_equal(rp_dma_atc_want(model_atc(), &waits->wait, model_wire_pasid(1), 7 * MODEL_PAGE, RP_DMA_READ),
			 -EINPROGRESS);
	turn_server();
	invalidate(0, 5);
	turn_client();
	assert_int_equal(model.later.iova, 7 * MODEL_PAGE);
	turn_server();
	turn_client();
	assert_int_equal(completions, 0);
	/* What uses it ends by itself: it waits for nothing. */
	rp_dma_atc_use_end(model_atc(), &use);
	turn_server();
	turn_client();
	assert_int_equal(completions, 1);
	assert_false(has_heard(waits, 0));
	{
		struct rp_vfu_client_translation answer = model_translation(&model.later);

		assert_int_equal(rp_vfu_client_translated(model.client, model.token, &answer), 0);
	}
	turn_server();
	assert_true(has_heard(waits, 0));
}

/* The second one: the memory behind a page has to wait for an unmap that waits for the device. */
static void
test_page_behind_an_unmap_that_drains(void **state)
{
	struct model_user *user = &model.users[0], *waits = &model.users[1];
	unsigned int i;

	(void)state;
	take_turns(&(struct rp_vfu_client_config){.twin_socket = false});
	completions = 0;
	learn(user, 0, 5);
	rp_dma_reader_online(user->reader);
	assert_int_equal(rp_vfu_client_dma_unmap_start(model.client,
						       MODEL_BASE + (uint64_t)model.frame_of[0][5] * MODEL_PAGE,
						       MODEL_PAGE, &complete, &model.why),
			 0);
	turn_server();
	waits->page = (struct rp_vfu_page){7 * MODEL_PAGE, RP_DMA_READ};
	waits->group = (struct rp_vfu_page_group){.pasid = model_wire_pasid(1),
						  .pages = &waits->page,
						  .pages_count = 1,
						  .done = model_on_present,
						  .ctx = waits};
	assert_int_equal(rp_vfu_server_page_request(model.device.server, &waits->group), 0);
	for (i = 0; i < 4; i++) {
		turn_server();
		turn_client();
	}
	/* The map waits for its turn, and with it the response. An invalidation goes through to the reader. */
	assert_false(has_heard(waits, 0));
	invalidate(0, 5);
	turn_server();
	turn_client();
	assert_int_equal(completions, 0);
	rp_dma_reader_offline(user->reader);
	for (i = 0; i < 4; i++) {
		turn_server();
		turn_client();
	}
	assert_int_equal(completions, 2);
	assert_true(has_heard(waits, 0));
}

/* Memory that is mapped with PASIDs, by descriptor and by message, at one address. */
static void
test_memory_of_pasids(void **state)
{
	struct rp_vfu_client_memory memory = model_memory(3);
	struct rp_dma_pasid_reader *reader;
	struct rp_dma_reader *entered;
	uint64_t here_bytes;
	uint32_t name = 0;
	struct rp_dma_segment segment = {.iova = 0x7000, .size_bytes = sizeof(name), .bytes = &name};
	void *hva;

	(void)state;
	model_begin(&(struct rp_vfu_client_config){.twin_socket = true}, false);
	atomic_store(model_name_on(3), 33);
	atomic_store(model_name_on(4), 44);
	memory = model_memory(3);
	memory.iova = 0x7000;
	memory.has_pasid = true;
	memory.pasid = 0xbeef;
	assert_int_equal(rp_vfu_client_dma_map_memory(model.client, &memory, &model.why), 0);
	memory = model_memory(4);
	memory.iova = 0x7000;
	memory.fd = -1;
	memory.has_pasid = true;
	memory.pasid = 0;
	assert_int_equal(rp_vfu_client_dma_map_memory(model.client, &memory, &model.why), 0);
	serving_stop(&model.serving);
	assert_int_equal(rp_dma_pasid_reader_create(rp_vfu_server_pasids(model.device.server), &reader), 0);
	rp_dma_pasid_reader_online(reader);
	entered = rp_dma_pasid_reader_enter(reader, 0xbeef);
	assert_non_null(entered);
	hva = rp_dma_reader_translate(entered, 0x7000, sizeof(name), RP_DMA_READ, &here_bytes);
	assert_non_null(hva);
	assert_int_equal(atomic_load((_Atomic uint32_t *)hva), 33);
	rp_dma_pasid_reader_offline(reader);
	assert_null(rp_dma_pasid_reader_destroy(reader));
	{
		struct rp_dma_io io = {.segments = &segment, .segments_count = 1};

		assert_int_equal(rp_dma_io_submit(rp_vfu_server_pasid_dma(model.device.server, 0), &io), 0);
		turn_server();
		turn_client();
		turn_server();
		assert_int_equal(rp_dma_io_wait(&io), 0);
	}
	assert_int_equal(name, 44);
	serving_start(&model.serving, model.device.server);
	assert_int_equal(rp_vfu_client_pasid_unmap(model.client, 0xbeef, 0x7000, MODEL_PAGE, &model.why), 0);
	assert_int_equal(rp_vfu_client_pasid_unmap(model.client, 0, 0x7000, MODEL_PAGE, &model.why), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_drain_race, model_setup, model_teardown),
		cmocka_unit_test_setup_teardown(test_drain_race_on_two_sockets, model_setup, model_teardown),
		cmocka_unit_test_setup_teardown(test_completion_waits_for_the_access, model_setup, model_teardown),
		cmocka_unit_test_setup_teardown(test_miss_is_answered_after_the_completion, model_setup,
						model_teardown),
		cmocka_unit_test_setup_teardown(test_page_behind_an_unmap_that_drains, model_setup, model_teardown),
		cmocka_unit_test_setup_teardown(test_memory_of_pasids, model_setup, model_teardown),
	};

	return cmocka_run_group_tests_name("vfio-user, both ends: IOMMU", tests, NULL, NULL);
}
