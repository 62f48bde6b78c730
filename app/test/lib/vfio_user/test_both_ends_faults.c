/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <string.h>

#include "iommu_model.h"
#include "rp_dma_io.h"
#include "rp_vfu_msg.h"

/* Threads of a device fault pages in while its IOMMU takes them away: on one socket and on two, by descriptor and by message. */

#define ENOUGH 200u
#define ACCESSES 1000u
#define RARE 3u

static int
access_mapped(struct model_user *user, uint32_t pasid, uint32_t page)
{
	uint64_t here_bytes;
	void *hva;
	int rc;

	rp_dma_reader_online(user->reader);
	rc = rp_dma_atc_translate(model_atc(), user->reader, model_wire_pasid(pasid), (uint64_t)page * MODEL_PAGE,
				  sizeof(uint32_t), RP_DMA_READ, &hva, &here_bytes);
	if (rc == 0) {
		assert_non_null(hva);
		assert_int_equal(atomic_load((_Atomic uint32_t *)hva), model_name(pasid, page));
		sched_yield();
		assert_int_equal(atomic_load((_Atomic uint32_t *)hva), model_name(pasid, page));
	}
	rp_dma_reader_offline(user->reader);
	return rc;
}

static int
access_by_message(uint32_t pasid, uint32_t page)
{
	struct rp_dma_atc_use use = {.open = false};
	struct rp_dma_translation found;
	uint32_t name = 0;
	struct rp_dma_segment segment = {.size_bytes = sizeof(name), .bytes = &name};
	int rc = rp_dma_atc_use_begin(model_atc(), &use, model_wire_pasid(pasid), (uint64_t)page * MODEL_PAGE,
				      sizeof(name), RP_DMA_READ, &found);

	if (rc < 0)
		return rc;
	assert_int_equal(found.size_bytes, sizeof(name));
	segment.iova = found.address;
	rc = rp_dma_io_read(rp_vfu_server_dma(model.device.server), &segment, 1);
	rp_dma_atc_use_end(model_atc(), &use);
	if (rc == -ENOTCONN && atomic_load(&model.stop))
		return rc;
	assert_int_equal(rc, 0);
	assert_int_equal(name, model_name(pasid, page));
	return 0;
}

static void *
run_user(void *arg)
{
	struct model_user *user = arg;
	int rc = 0;

	while (rc == 0 && !atomic_load(&model.stop)) {
		uint32_t pasid = model_draw(&user->seed, MODEL_PASIDS), page = model_draw(&user->seed, MODEL_PAGES);

		rc = model.by_message ? access_by_message(pasid, page) : access_mapped(user, pasid, page);
		if (rc == 0)
			atomic_fetch_add(&user->accesses, 1);
		else if (rc == -EAGAIN)
			rc = model_make_present(user, pasid,
						(uint64_t)page * MODEL_PAGE + model_draw(&user->seed, MODEL_PAGE));
	}
	return NULL;
}

static uint64_t
accesses(void)
{
	uint64_t sum = 0;
	unsigned int i;

	for (i = 0; i < MODEL_THREADS; i++)
		sum += atomic_load(&model.users[i].accesses);
	return sum;
}

static bool
all_was_there(void)
{
	struct rp_vfu_server_iommu_counters counters;

	rp_vfu_server_iommu_counters(model.device.server, &counters);
	return accesses() >= ACCESSES && counters.cache.translations >= ENOUGH && counters.cache.faults >= ENOUGH &&
	       counters.page_requests >= ENOUGH && counters.cache.invalidations >= ENOUGH &&
	       counters.cache.invalidations_in_use >= RARE && counters.cache.evictions >= RARE &&
	       counters.cache.voided >= RARE;
}

/* Serve, and take pages away: some at random, and those that have just been given. */
static void
serve_until_all_was_there(void)
{
	struct pollfd wait = {.fd = rp_vfu_client_fd(model.client), .events = POLLIN};

	while (!all_was_there()) {
		(void)poll(&wait, 1, 1);
		/* Before the questions that have come are read. */
		if (model_draw(&model.seed, 4) == 0)
			(void)model_take_away(model_draw(&model.seed, MODEL_PASIDS),
					      model_draw(&model.seed, MODEL_PAGES));
		assert_int_equal(rp_vfu_client_process(model.client), 0);
		if (model_draw(&model.seed, 4) == 0)
			(void)model_take_away(model_draw(&model.seed, MODEL_PASIDS),
					      model_draw(&model.seed, MODEL_PAGES));
	}
}

static void
storm(const struct rp_vfu_client_config *way, bool by_message)
{
	unsigned int i;

	model_begin(way, by_message);
	/* Nothing is mapped beforehand. */
	assert_int_equal(rp_dma_space_count(rp_vfu_server_dma(model.device.server)), 0);
	for (i = 0; i < MODEL_THREADS; i++)
		assert_int_equal(pthread_create(&model.users[i].thread, NULL, run_user, &model.users[i]), 0);
	serve_until_all_was_there();
	atomic_store(&model.stop, true);
	/* The end of the connection ends every wait. */
	model.client = rp_vfu_client_destroy(model.client);
	for (i = 0; i < MODEL_THREADS; i++)
		assert_int_equal(pthread_join(model.users[i].thread, NULL), 0);
}

static void
test_demand_faults_and_invalidations(void **state)
{
	(void)state;
	storm(&(struct rp_vfu_client_config){.twin_socket = false}, false);
}

static void
test_demand_faults_on_two_sockets(void **state)
{
	(void)state;
	storm(&(struct rp_vfu_client_config){.twin_socket = true}, false);
}

static void
test_demand_faults_by_message(void **state)
{
	(void)state;
	storm(&(struct rp_vfu_client_config){.withheld_mask = 1u << RP_VFU_TERM_WINDOW}, true);
}

static void
test_demand_faults_by_message_on_two_sockets(void **state)
{
	(void)state;
	storm(&(struct rp_vfu_client_config){.twin_socket = true}, true);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_demand_faults_and_invalidations, model_setup, model_teardown),
		cmocka_unit_test_setup_teardown(test_demand_faults_on_two_sockets, model_setup, model_teardown),
		cmocka_unit_test_setup_teardown(test_demand_faults_by_message, model_setup, model_teardown),
		cmocka_unit_test_setup_teardown(test_demand_faults_by_message_on_two_sockets, model_setup,
						model_teardown),
	};

	return cmocka_run_group_tests_name("vfio-user, both ends: demand faults", tests, NULL, NULL);
}
