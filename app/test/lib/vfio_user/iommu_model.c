/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "iommu_model.h"
#include "rp_wire_fd.h"

#define ENTRIES 16u

struct model model;

uint32_t
model_draw(uint32_t *seed, uint32_t below)
{
	*seed = *seed * 1664525u + 1013904223u;
	return (*seed >> 8) % below;
}

uint32_t
model_name(uint32_t pasid, uint32_t page)
{
	return pasid << 16 | page;
}

_Atomic uint32_t *
model_name_on(uint32_t frame)
{
	return (_Atomic uint32_t *)(void *)(model.frames + (size_t)frame * MODEL_PAGE);
}

/* On the wire, the last one is none. */
uint32_t
model_wire_pasid(uint32_t pasid)
{
	return pasid == MODEL_PASIDS - 1 ? RP_DMA_NO_PASID : pasid + 0x8000;
}

static uint32_t
our_pasid(uint32_t wire)
{
	return wire == RP_DMA_NO_PASID ? MODEL_PASIDS - 1 : wire - 0x8000;
}

/* The IOMMU. */

struct rp_vfu_client_translation
model_translation(const struct rp_vfu_client_translate *request)
{
	uint32_t frame = model.frame_of[our_pasid(request->pasid)][request->iova / MODEL_PAGE];

	if (frame == MODEL_NO_FRAME)
		return (struct rp_vfu_client_translation){.access_mask = 0};
	return (struct rp_vfu_client_translation){request->iova, MODEL_PAGE, MODEL_BASE + (uint64_t)frame * MODEL_PAGE,
						  3, false};
}

static int
on_translate(void *ctx, uint64_t token, const struct rp_vfu_client_translate *request,
	     struct rp_vfu_client_translation *ret_translation)
{
	(void)ctx;
	if (model.answers_later) {
		model.token = token;
		model.later = *request;
		return -EINPROGRESS;
	}
	*ret_translation = model_translation(request);
	return 0;
}

static uint32_t
take_frame(void)
{
	uint32_t frame = model_draw(&model.seed, MODEL_FRAMES);

	while (model.taken[frame])
		frame = (frame + 1) % MODEL_FRAMES;
	model.taken[frame] = true;
	return frame;
}

struct rp_vfu_client_memory
model_memory(uint32_t frame)
{
	return (struct rp_vfu_client_memory){
		.iova = MODEL_BASE + (uint64_t)frame * MODEL_PAGE,
		.size_bytes = MODEL_PAGE,
		.fd = model.by_message ? -1 : model.fd,
		.offset_bytes = (uint64_t)frame * MODEL_PAGE,
		.hva = model.frames + (size_t)frame * MODEL_PAGE,
		.access_mask = 3,
	};
}

static void
on_mapped(void *ctx, int error, const struct rp_wire_why *why)
{
	struct model_coming *coming = ctx;

	(void)why;
	coming->used = false;
	if (error == -ECANCELED || error == -ENOTCONN)
		return;
	assert_int_equal(error, 0);
	model.frame_of[coming->pasid][coming->page] = coming->frame;
	assert_int_equal(rp_vfu_client_page_respond(model.client, coming->group, RP_VFU_PAGE_SUCCESS), 0);
}

/* Two threads may ask for the same page; the second one finds it there, or on its way. */
static bool
is_coming(uint32_t pasid, uint32_t page)
{
	unsigned int i;

	for (i = 0; i < MODEL_THREADS; i++)
		if (model.coming[i].used && model.coming[i].pasid == pasid && model.coming[i].page == page)
			return true;
	return false;
}

static void
on_page_request(void *ctx, const struct rp_vfu_client_page_group *group)
{
	uint32_t pasid = our_pasid(group->pasid), page = (uint32_t)(group->pages[0].iova / MODEL_PAGE), i = 0;
	struct rp_vfu_client_memory memory;
	struct rp_vfu_client_done done = {.done = on_mapped};
	struct model_coming *coming;

	(void)ctx;
	assert_int_equal(group->pages_count, 1);
	if (model.frame_of[pasid][page] != MODEL_NO_FRAME || is_coming(pasid, page)) {
		assert_int_equal(rp_vfu_client_page_respond(model.client, group->number, RP_VFU_PAGE_SUCCESS), 0);
		return;
	}
	while (model.coming[i].used)
		i++;
	coming = &model.coming[i];
	*coming = (struct model_coming){true, group->number, pasid, page, take_frame()};
	atomic_store(model_name_on(coming->frame), model_name(pasid, page));
	memory = model_memory(coming->frame);
	done.ctx = coming;
	assert_int_equal(rp_vfu_client_dma_map_start(model.client, &memory, &done, &model.why), 0);
}

static void
on_unmapped(void *ctx, int error, const struct rp_wire_why *why)
{
	struct model_leaving *leaving = ctx;

	(void)why;
	if (error == 0)
		model.taken[leaving->frame] = false;
	leaving->used = false;
}

static void
on_invalidated(void *ctx, int error, const struct rp_wire_why *why)
{
	const struct rp_vfu_client_done done = {.done = on_unmapped, .ctx = ctx};
	struct model_leaving *leaving = ctx;

	(void)why;
	if (error != 0) {
		leaving->used = false;
		return;
	}
	atomic_store(model_name_on(leaving->frame), MODEL_NOBODY);
	assert_int_equal(rp_vfu_client_dma_unmap_start(model.client, MODEL_BASE + (uint64_t)leaving->frame * MODEL_PAGE,
						       MODEL_PAGE, &done, &model.why),
			 0);
}

/* Take a page away, if it is there and not too many are on their way. @return whether it was begun. */
bool
model_take_away(uint32_t pasid, uint32_t page)
{
	struct rp_vfu_client_iommu_range range = {
		.pasid = model_wire_pasid(pasid), .iova = (uint64_t)page * MODEL_PAGE, .size_bytes = MODEL_PAGE};
	struct rp_vfu_client_done done = {.done = on_invalidated};
	unsigned int i = 0;

	while (i < MODEL_LEAVING_MAX && model.leaving[i].used)
		i++;
	if (i == MODEL_LEAVING_MAX || model.frame_of[pasid][page] == MODEL_NO_FRAME)
		return false;
	model.leaving[i] = (struct model_leaving){true, model.frame_of[pasid][page]};
	model.frame_of[pasid][page] = MODEL_NO_FRAME;
	done.ctx = &model.leaving[i];
	assert_int_equal(rp_vfu_client_invalidate_start(model.client, &range, &done, &model.why), 0);
	return true;
}

/* The device. */

struct rp_dma_atc *
model_atc(void)
{
	return rp_vfu_server_atc(model.device.server);
}

void
model_on_translated(struct rp_dma_atc_wait *wait, int error)
{
	struct model_user *user = wait->ctx;

	user->error = error;
	sem_post(&user->heard);
}

void
model_on_present(struct rp_vfu_page_group *group, int error)
{
	struct model_user *user = group->ctx;

	user->error = error;
	sem_post(&user->heard);
}

static int
sleep_until_heard(struct model_user *user)
{
	while (sem_wait(&user->heard) < 0)
		;
	return user->error;
}

/* Nothing is held here. @return 0: try again; or the end. */
int
model_make_present(struct model_user *user, uint32_t pasid, uint64_t iova)
{
	int rc = rp_dma_atc_want(model_atc(), &user->wait, model_wire_pasid(pasid), iova, RP_DMA_READ | RP_DMA_WRITE);

	if (rc == -EINPROGRESS)
		rc = sleep_until_heard(user);
	if (rc != -EFAULT)
		return rc;
	user->page = (struct rp_vfu_page){iova & ~(uint64_t)(MODEL_PAGE - 1), RP_DMA_READ | RP_DMA_WRITE};
	user->group = (struct rp_vfu_page_group){.pasid = model_wire_pasid(pasid),
						 .pages = &user->page,
						 .pages_count = 1,
						 .done = model_on_present,
						 .ctx = user};
	rc = rp_vfu_server_page_request(model.device.server, &user->group);
	return rc < 0 ? rc : sleep_until_heard(user);
}

int
model_setup(void **state)
{
	uint32_t pasid, page, frame;

	(void)state;
	memset(&model, 0, sizeof(model));
	test_leaks_read(&model.before);
	model.seed = 5;
	model.fd = test_memfd(MODEL_FRAMES * MODEL_PAGE, true);
	model.frames = mmap(NULL, MODEL_FRAMES * MODEL_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, model.fd, 0);
	assert_ptr_not_equal(model.frames, MAP_FAILED);
	for (frame = 0; frame < MODEL_FRAMES; frame++)
		atomic_store(model_name_on(frame), MODEL_NOBODY);
	for (pasid = 0; pasid < MODEL_PASIDS; pasid++)
		for (page = 0; page < MODEL_PAGES; page++)
			model.frame_of[pasid][page] = MODEL_NO_FRAME;
	device_init(&model.device);
	return 0;
}

int
model_teardown(void **state)
{
	unsigned int i;

	(void)state;
	model.client = rp_vfu_client_destroy(model.client);
	serving_stop(&model.serving);
	for (i = 0; i < MODEL_THREADS; i++) {
		if (model.users[i].reader != NULL)
			sem_destroy(&model.users[i].heard);
		model.users[i].reader = rp_dma_reader_destroy(model.users[i].reader);
	}
	device_close(&model.device);
	munmap(model.frames, MODEL_FRAMES * MODEL_PAGE);
	rp_wire_fd_close(&model.fd);
	test_leaks_assert_none(&model.before);
	return 0;
}

void
model_begin(const struct rp_vfu_client_config *way, bool by_message)
{
	const struct rp_vfu_server_iommu served = {.cache_entries_max = ENTRIES, .page_requests_max = 2};
	const struct rp_vfu_client_iommu iommu = {
		.pasid_bits = 16, .translate = on_translate, .page_request = on_page_request};
	struct device_description description;
	struct rp_vfu_client_config config = *way;
	unsigned int i;

	model.by_message = by_message;
	device_describe(&model.device, &description);
	description.config.iommu = &served;
	device_restart(&model.device, &description);
	for (i = 0; i < MODEL_THREADS; i++) {
		struct model_user *user = &model.users[i];

		*user = (struct model_user){.wait = {.done = model_on_translated, .ctx = user}, .seed = i + 1};
		sem_init(&user->heard, 0, 0);
		assert_int_equal(rp_dma_reader_create(rp_vfu_server_dma(model.device.server), &user->reader), 0);
	}
	config.socket_path = test_socket_path();
	config.timeout_ms = 60000;
	config.iommu = &iommu;
	serving_start(&model.serving, model.device.server);
	assert_int_equal(rp_vfu_client_create(&config, NULL, NULL, &model.client, &model.why), 0);
}
