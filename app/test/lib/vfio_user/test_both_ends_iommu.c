/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "device.h"
#include "rp_dma_io.h"
#include "rp_vfu_client_iommu.h"
#include "rp_vfu_msg.h"
#include "rp_vfu_server_iommu.h"
#include "rp_wire_fd.h"
#include "serving.h"

/*
 * A device with PASIDs whose memory is given to it page by page, when it asks, and an
 * IOMMU that takes pages away at the worst moments.
 *
 * Each page of each PASID gets a frame when the device asks for it; the frame is mapped
 * then, and has the page's name on it. When a page is taken away its frame is wiped, and
 * unmapped, as soon as the invalidation is complete: who still uses it finds another name.
 */

#define PAGE 4096u
#define PASIDS 3u /* the last one stands for requests without */
#define PAGES 24u
#define FRAMES 96u /* more than there are pages: those on their way out have one too */
#define THREADS 3u
#define ENTRIES 16u
#define BASE 0x40000000ull /* translated address of frame 0 */
#define NOBODY UINT32_MAX
#define NO_FRAME UINT32_MAX
#define ENOUGH 200u
#define ACCESSES 1000u
#define RARE 3u
#define LEAVING_MAX 3u

struct user {
	struct rp_dma_reader *reader;
	struct rp_dma_atc_wait wait;
	struct rp_vfu_page page;
	struct rp_vfu_page_group group;
	sem_t heard;
	int error;
	uint32_t seed;
	pthread_t thread;
	_Atomic uint64_t accesses;
};

/* A page that goes: until its invalidation, and then its unmap, has been answered. */
struct leaving {
	bool used;
	uint32_t frame;
};

/* A page that comes: until its map has been answered. */
struct coming {
	bool used;
	uint32_t group, pasid, page, frame;
};

static struct {
	struct device device;
	struct serving serving;
	struct rp_vfu_client *client;
	struct rp_wire_why why;
	struct test_leaks before;
	struct user users[THREADS];
	_Atomic bool stop;
	int fd;
	uint8_t *frames; /* the client's own mapping */
	bool by_message;
	/* The IOMMU's. */
	uint32_t seed;
	uint32_t frame_of[PASIDS][PAGES];
	bool taken[FRAMES];
	struct leaving leaving[LEAVING_MAX];
	struct coming coming[THREADS];
	uint64_t token; /* of a question that is answered later, where a test says so */
	bool answers_later;
	struct rp_vfu_client_translate later;
} scene;

static uint32_t
draw(uint32_t *seed, uint32_t below)
{
	*seed = *seed * 1664525u + 1013904223u;
	return (*seed >> 8) % below;
}

static uint32_t
name_of(uint32_t pasid, uint32_t page)
{
	return pasid << 16 | page;
}

static _Atomic uint32_t *
name_on(uint32_t frame)
{
	return (_Atomic uint32_t *)(void *)(scene.frames + (size_t)frame * PAGE);
}

/* On the wire, the last one is none. */
static uint32_t
wire_pasid(uint32_t pasid)
{
	return pasid == PASIDS - 1 ? RP_DMA_NO_PASID : pasid + 0x8000;
}

static uint32_t
our_pasid(uint32_t wire)
{
	return wire == RP_DMA_NO_PASID ? PASIDS - 1 : wire - 0x8000;
}

/* The IOMMU. */

static struct rp_vfu_client_translation
translation_of(const struct rp_vfu_client_translate *request)
{
	uint32_t frame = scene.frame_of[our_pasid(request->pasid)][request->iova / PAGE];

	if (frame == NO_FRAME)
		return (struct rp_vfu_client_translation){.access_mask = 0};
	return (struct rp_vfu_client_translation){request->iova, PAGE, BASE + (uint64_t)frame * PAGE, 3, false};
}

static int
on_translate(void *ctx, uint64_t token, const struct rp_vfu_client_translate *request,
	     struct rp_vfu_client_translation *ret_translation)
{
	(void)ctx;
	if (scene.answers_later) {
		scene.token = token;
		scene.later = *request;
		return -EINPROGRESS;
	}
	*ret_translation = translation_of(request);
	return 0;
}

static uint32_t
take_frame(void)
{
	uint32_t frame = draw(&scene.seed, FRAMES);

	while (scene.taken[frame])
		frame = (frame + 1) % FRAMES;
	scene.taken[frame] = true;
	return frame;
}

static struct rp_vfu_client_memory
memory_of(uint32_t frame)
{
	return (struct rp_vfu_client_memory){
		.iova = BASE + (uint64_t)frame * PAGE,
		.size_bytes = PAGE,
		.fd = scene.by_message ? -1 : scene.fd,
		.offset_bytes = (uint64_t)frame * PAGE,
		.hva = scene.frames + (size_t)frame * PAGE,
		.access_mask = 3,
	};
}

static void
on_mapped(void *ctx, int error, const struct rp_wire_why *why)
{
	struct coming *coming = ctx;

	(void)why;
	coming->used = false;
	if (error == -ECANCELED || error == -ENOTCONN)
		return;
	assert_int_equal(error, 0);
	scene.frame_of[coming->pasid][coming->page] = coming->frame;
	assert_int_equal(rp_vfu_client_page_respond(scene.client, coming->group, RP_VFU_PAGE_SUCCESS), 0);
}

/* Two threads may ask for the same page; the second one finds it there, or on its way. */
static bool
is_coming(uint32_t pasid, uint32_t page)
{
	unsigned int i;

	for (i = 0; i < THREADS; i++)
		if (scene.coming[i].used && scene.coming[i].pasid == pasid && scene.coming[i].page == page)
			return true;
	return false;
}

static void
on_page_request(void *ctx, const struct rp_vfu_client_page_group *group)
{
	uint32_t pasid = our_pasid(group->pasid), page = (uint32_t)(group->pages[0].iova / PAGE), i = 0;
	struct rp_vfu_client_memory memory;
	struct rp_vfu_client_done done = {.done = on_mapped};
	struct coming *coming;

	(void)ctx;
	assert_int_equal(group->pages_count, 1);
	if (scene.frame_of[pasid][page] != NO_FRAME || is_coming(pasid, page)) {
		assert_int_equal(rp_vfu_client_page_respond(scene.client, group->number, RP_VFU_PAGE_SUCCESS), 0);
		return;
	}
	while (scene.coming[i].used)
		i++;
	coming = &scene.coming[i];
	*coming = (struct coming){true, group->number, pasid, page, take_frame()};
	atomic_store(name_on(coming->frame), name_of(pasid, page));
	memory = memory_of(coming->frame);
	done.ctx = coming;
	assert_int_equal(rp_vfu_client_dma_map_start(scene.client, &memory, &done, &scene.why), 0);
}

static void
on_unmapped(void *ctx, int error, const struct rp_wire_why *why)
{
	struct leaving *leaving = ctx;

	(void)why;
	if (error == 0)
		scene.taken[leaving->frame] = false;
	leaving->used = false;
}

static void
on_invalidated(void *ctx, int error, const struct rp_wire_why *why)
{
	const struct rp_vfu_client_done done = {.done = on_unmapped, .ctx = ctx};
	struct leaving *leaving = ctx;

	(void)why;
	if (error != 0) {
		leaving->used = false;
		return;
	}
	atomic_store(name_on(leaving->frame), NOBODY);
	assert_int_equal(rp_vfu_client_dma_unmap_start(scene.client, BASE + (uint64_t)leaving->frame * PAGE, PAGE,
						       &done, &scene.why),
			 0);
}

/* Take a page away, if it is there and not too many are on their way. @return whether it was begun. */
static bool
take_away(uint32_t pasid, uint32_t page)
{
	struct rp_vfu_client_iommu_range range = {
		.pasid = wire_pasid(pasid), .iova = (uint64_t)page * PAGE, .size_bytes = PAGE};
	struct rp_vfu_client_done done = {.done = on_invalidated};
	unsigned int i = 0;

	while (i < LEAVING_MAX && scene.leaving[i].used)
		i++;
	if (i == LEAVING_MAX || scene.frame_of[pasid][page] == NO_FRAME)
		return false;
	scene.leaving[i] = (struct leaving){true, scene.frame_of[pasid][page]};
	scene.frame_of[pasid][page] = NO_FRAME;
	done.ctx = &scene.leaving[i];
	assert_int_equal(rp_vfu_client_invalidate_start(scene.client, &range, &done, &scene.why), 0);
	return true;
}

/* The device. */

static struct rp_dma_atc *
atc(void)
{
	return rp_vfu_server_atc(scene.device.server);
}

static void
on_translated(struct rp_dma_atc_wait *wait, int error)
{
	struct user *user = wait->ctx;

	user->error = error;
	sem_post(&user->heard);
}

static void
on_present(struct rp_vfu_page_group *group, int error)
{
	struct user *user = group->ctx;

	user->error = error;
	sem_post(&user->heard);
}

static int
sleep_until_heard(struct user *user)
{
	while (sem_wait(&user->heard) < 0)
		;
	return user->error;
}

/* Nothing is held here. @return 0: try again; or the end. */
static int
make_present(struct user *user, uint32_t pasid, uint64_t iova)
{
	int rc = rp_dma_atc_want(atc(), &user->wait, wire_pasid(pasid), iova, RP_DMA_READ | RP_DMA_WRITE);

	if (rc == -EINPROGRESS)
		rc = sleep_until_heard(user);
	if (rc != -EFAULT)
		return rc;
	user->page = (struct rp_vfu_page){iova & ~(uint64_t)(PAGE - 1), RP_DMA_READ | RP_DMA_WRITE};
	user->group = (struct rp_vfu_page_group){
		.pasid = wire_pasid(pasid), .pages = &user->page, .pages_count = 1, .done = on_present, .ctx = user};
	rc = rp_vfu_server_page_request(scene.device.server, &user->group);
	return rc < 0 ? rc : sleep_until_heard(user);
}

static int
access_mapped(struct user *user, uint32_t pasid, uint32_t page)
{
	uint64_t here_bytes;
	void *hva;
	int rc;

	rp_dma_reader_online(user->reader);
	rc = rp_dma_atc_translate(atc(), user->reader, wire_pasid(pasid), (uint64_t)page * PAGE, sizeof(uint32_t),
				  RP_DMA_READ, &hva, &here_bytes);
	if (rc == 0) {
		assert_non_null(hva);
		assert_int_equal(atomic_load((_Atomic uint32_t *)hva), name_of(pasid, page));
		sched_yield();
		assert_int_equal(atomic_load((_Atomic uint32_t *)hva), name_of(pasid, page));
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
	int rc = rp_dma_atc_use_begin(atc(), &use, wire_pasid(pasid), (uint64_t)page * PAGE, sizeof(name), RP_DMA_READ,
				      &found);

	if (rc < 0)
		return rc;
	assert_int_equal(found.size_bytes, sizeof(name));
	segment.iova = found.address;
	rc = rp_dma_io_read(rp_vfu_server_dma(scene.device.server), &segment, 1);
	rp_dma_atc_use_end(atc(), &use);
	if (rc == -ENOTCONN && atomic_load(&scene.stop))
		return rc;
	assert_int_equal(rc, 0);
	assert_int_equal(name, name_of(pasid, page));
	return 0;
}

static void *
run_user(void *arg)
{
	struct user *user = arg;
	int rc = 0;

	while (rc == 0 && !atomic_load(&scene.stop)) {
		uint32_t pasid = draw(&user->seed, PASIDS), page = draw(&user->seed, PAGES);

		rc = scene.by_message ? access_by_message(pasid, page) : access_mapped(user, pasid, page);
		if (rc == 0)
			atomic_fetch_add(&user->accesses, 1);
		else if (rc == -EAGAIN)
			rc = make_present(user, pasid, (uint64_t)page * PAGE + draw(&user->seed, PAGE));
	}
	return NULL;
}

static int
setup(void **state)
{
	uint32_t pasid, page, frame;

	(void)state;
	memset(&scene, 0, sizeof(scene));
	test_leaks_read(&scene.before);
	scene.seed = 5;
	scene.fd = test_memfd(FRAMES * PAGE, true);
	scene.frames = mmap(NULL, FRAMES * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, scene.fd, 0);
	assert_ptr_not_equal(scene.frames, MAP_FAILED);
	for (frame = 0; frame < FRAMES; frame++)
		atomic_store(name_on(frame), NOBODY);
	for (pasid = 0; pasid < PASIDS; pasid++)
		for (page = 0; page < PAGES; page++)
			scene.frame_of[pasid][page] = NO_FRAME;
	device_init(&scene.device);
	return 0;
}

static int
teardown(void **state)
{
	unsigned int i;

	(void)state;
	scene.client = rp_vfu_client_destroy(scene.client);
	serving_stop(&scene.serving);
	for (i = 0; i < THREADS; i++) {
		if (scene.users[i].reader != NULL)
			sem_destroy(&scene.users[i].heard);
		scene.users[i].reader = rp_dma_reader_destroy(scene.users[i].reader);
	}
	device_close(&scene.device);
	munmap(scene.frames, FRAMES * PAGE);
	rp_wire_fd_close(&scene.fd);
	test_leaks_assert_none(&scene.before);
	return 0;
}

static void
begin(const struct rp_vfu_client_config *way, bool by_message)
{
	const struct rp_vfu_server_iommu served = {.cache_entries_max = ENTRIES, .page_requests_max = 2};
	const struct rp_vfu_client_iommu iommu = {
		.pasid_bits = 16, .translate = on_translate, .page_request = on_page_request};
	struct device_description description;
	struct rp_vfu_client_config config = *way;
	unsigned int i;

	scene.by_message = by_message;
	device_describe(&scene.device, &description);
	description.config.iommu = &served;
	device_restart(&scene.device, &description);
	for (i = 0; i < THREADS; i++) {
		struct user *user = &scene.users[i];

		*user = (struct user){.wait = {.done = on_translated, .ctx = user}, .seed = i + 1};
		sem_init(&user->heard, 0, 0);
		assert_int_equal(rp_dma_reader_create(rp_vfu_server_dma(scene.device.server), &user->reader), 0);
	}
	config.socket_path = test_socket_path();
	config.timeout_ms = 60000;
	config.iommu = &iommu;
	serving_start(&scene.serving, scene.device.server);
	assert_int_equal(rp_vfu_client_create(&config, NULL, NULL, &scene.client, &scene.why), 0);
}

static uint64_t
accesses(void)
{
	uint64_t sum = 0;
	unsigned int i;

	for (i = 0; i < THREADS; i++)
		sum += atomic_load(&scene.users[i].accesses);
	return sum;
}

static bool
all_was_there(void)
{
	struct rp_vfu_server_iommu_counters counters;

	rp_vfu_server_iommu_counters(scene.device.server, &counters);
	return accesses() >= ACCESSES && counters.cache.translations >= ENOUGH && counters.cache.faults >= ENOUGH &&
	       counters.page_requests >= ENOUGH && counters.cache.invalidations >= ENOUGH &&
	       counters.cache.invalidations_in_use >= RARE && counters.cache.evictions >= RARE &&
	       counters.cache.voided >= RARE;
}

/* Serve, and take pages away: some at random, and those that have just been given. */
static void
serve_until_all_was_there(void)
{
	struct pollfd wait = {.fd = rp_vfu_client_fd(scene.client), .events = POLLIN};

	while (!all_was_there()) {
		(void)poll(&wait, 1, 1);
		/* Before the questions that have come are read. */
		if (draw(&scene.seed, 4) == 0)
			(void)take_away(draw(&scene.seed, PASIDS), draw(&scene.seed, PAGES));
		assert_int_equal(rp_vfu_client_process(scene.client), 0);
		if (draw(&scene.seed, 4) == 0)
			(void)take_away(draw(&scene.seed, PASIDS), draw(&scene.seed, PAGES));
	}
}

static void
storm(const struct rp_vfu_client_config *way, bool by_message)
{
	unsigned int i;

	begin(way, by_message);
	/* Nothing is mapped beforehand. */
	assert_int_equal(rp_dma_space_count(rp_vfu_server_dma(scene.device.server)), 0);
	for (i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&scene.users[i].thread, NULL, run_user, &scene.users[i]), 0);
	serve_until_all_was_there();
	atomic_store(&scene.stop, true);
	/* The end of the connection ends every wait. */
	scene.client = rp_vfu_client_destroy(scene.client);
	for (i = 0; i < THREADS; i++)
		assert_int_equal(pthread_join(scene.users[i].thread, NULL), 0);
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

/* From here both ends are given their turns one by one. */

static void
take_turns(const struct rp_vfu_client_config *way)
{
	begin(way, false);
	serving_stop(&scene.serving);
}

static void
turn_server(void)
{
	device_turn(&scene.device);
}

static void
turn_client(void)
{
	assert_int_equal(rp_vfu_client_process(scene.client), 0);
}

static bool
has_heard(struct user *user, int error)
{
	return sem_trywait(&user->heard) == 0 && user->error == error;
}

/* As make_present() in steps: the page is there, and its translation known. */
static void
learn(struct user *user, uint32_t pasid, uint32_t page)
{
	uint64_t iova = (uint64_t)page * PAGE;
	unsigned int i;

	user->page = (struct rp_vfu_page){iova, RP_DMA_READ};
	user->group = (struct rp_vfu_page_group){
		.pasid = wire_pasid(pasid), .pages = &user->page, .pages_count = 1, .done = on_present, .ctx = user};
	assert_int_equal(rp_vfu_server_page_request(scene.device.server, &user->group), 0);
	for (i = 0; i < 4; i++) {
		turn_server();
		turn_client();
	}
	assert_true(has_heard(user, 0));
	assert_int_equal(rp_dma_atc_want(atc(), &user->wait, wire_pasid(pasid), iova, RP_DMA_READ), -EINPROGRESS);
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
		.pasid = wire_pasid(pasid), .iova = (uint64_t)page * PAGE, .size_bytes = PAGE};

	assert_int_equal(rp_vfu_client_invalidate_start(scene.client, &range, &complete, &scene.why), 0);
}

/* The drain race: a translation is outstanding, and answered from before, while its page is invalidated. */
static void
drain_race(const struct rp_vfu_client_config *way)
{
	struct user *user = &scene.users[0];
	struct rp_vfu_server_iommu_counters counters;
	struct rp_dma_translation found;
	int rc;

	take_turns(way);
	completions = 0;
	scene.frame_of[0][5] = 11;
	assert_int_equal(rp_dma_atc_want(atc(), &user->wait, wire_pasid(0), 5 * PAGE, RP_DMA_READ), -EINPROGRESS);
	turn_server();
	if (way->twin_socket) {
		/* The answer is on its way on one socket, and the invalidation overtakes it on the other. */
		turn_client();
		scene.frame_of[0][5] = 12;
		invalidate(0, 5);
	} else {
		/* The question is on its way to the client, which has invalidated by then. */
		scene.frame_of[0][5] = 12;
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
	rc = rp_dma_atc_find(atc(), wire_pasid(0), 5 * PAGE, RP_DMA_READ, &found);
	assert_true(rc == 0 || way->twin_socket);
	assert_int_equal(rc == 0 ? found.address : BASE + 12ull * PAGE, BASE + 12ull * PAGE);
	rp_vfu_server_iommu_counters(scene.device.server, &counters);
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
	struct user *user = &scene.users[0], *other = &scene.users[1];
	struct rp_dma_atc_use use = {.open = false};
	struct rp_dma_translation found;

	(void)state;
	take_turns(&(struct rp_vfu_client_config){.twin_socket = false});
	completions = 0;
	learn(user, 0, 5);
	assert_int_equal(rp_dma_atc_use_begin(atc(), &use, wire_pasid(0), 5 * PAGE, 8, RP_DMA_READ, &found), 0);
	invalidate(0, 5);
	turn_server();
	turn_client();
	assert_int_equal(completions, 0);
	assert_int_equal(rp_dma_atc_find(atc(), wire_pasid(0), 5 * PAGE, RP_DMA_READ, &found), -EAGAIN);
	learn(other, 1, 7);
	assert_int_equal(completions, 0);
	rp_dma_atc_use_end(atc(), &use);
	turn_server();
	turn_client();
	assert_int_equal(completions, 1);
}

/* The first forbidden deadlock: an IOMMU that answers a miss only after its invalidation is complete. */
static void
test_miss_is_answered_after_the_completion(void **state)
{
	struct user *user = &scene.users[0], *waits = &scene.users[1];
	struct rp_dma_atc_use use = {.open = false};
	struct rp_dma_translation found;

	(void)state;
	take_turns(&(struct rp_vfu_client_config){.twin_socket = false});
	completions = 0;
	learn(user, 0, 5);
	scene.frame_of[1][7] = 20;
	scene.answers_later = true;
	assert_int_equal(rp_dma_atc_use_begin(atc(), &use, wire_pasid(0), 5 * PAGE, 8, RP_DMA_READ, &found), 0);
	assert_int_equal(rp_dma_atc_want(atc(), &waits->wait, wire_pasid(1), 7 * PAGE, RP_DMA_READ), -EINPROGRESS);
	turn_server();
	invalidate(0, 5);
	turn_client();
	assert_int_equal(scene.later.iova, 7 * PAGE);
	turn_server();
	turn_client();
	assert_int_equal(completions, 0);
	/* What uses it ends by itself: it waits for nothing. */
	rp_dma_atc_use_end(atc(), &use);
	turn_server();
	turn_client();
	assert_int_equal(completions, 1);
	assert_false(has_heard(waits, 0));
	{
		struct rp_vfu_client_translation answer = translation_of(&scene.later);

		assert_int_equal(rp_vfu_client_translated(scene.client, scene.token, &answer), 0);
	}
	turn_server();
	assert_true(has_heard(waits, 0));
}

/* The second one: the memory behind a page has to wait for an unmap that waits for the device. */
static void
test_page_behind_an_unmap_that_drains(void **state)
{
	struct user *user = &scene.users[0], *waits = &scene.users[1];
	unsigned int i;

	(void)state;
	take_turns(&(struct rp_vfu_client_config){.twin_socket = false});
	completions = 0;
	learn(user, 0, 5);
	rp_dma_reader_online(user->reader);
	assert_int_equal(rp_vfu_client_dma_unmap_start(scene.client, BASE + (uint64_t)scene.frame_of[0][5] * PAGE, PAGE,
						       &complete, &scene.why),
			 0);
	turn_server();
	waits->page = (struct rp_vfu_page){7 * PAGE, RP_DMA_READ};
	waits->group = (struct rp_vfu_page_group){
		.pasid = wire_pasid(1), .pages = &waits->page, .pages_count = 1, .done = on_present, .ctx = waits};
	assert_int_equal(rp_vfu_server_page_request(scene.device.server, &waits->group), 0);
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
	struct rp_vfu_client_memory memory = memory_of(3);
	struct rp_dma_pasid_reader *reader;
	struct rp_dma_reader *entered;
	uint64_t here_bytes;
	uint32_t name = 0;
	struct rp_dma_segment segment = {.iova = 0x7000, .size_bytes = sizeof(name), .bytes = &name};
	void *hva;

	(void)state;
	begin(&(struct rp_vfu_client_config){.twin_socket = true}, false);
	atomic_store(name_on(3), 33);
	atomic_store(name_on(4), 44);
	memory = memory_of(3);
	memory.iova = 0x7000;
	memory.has_pasid = true;
	memory.pasid = 0xbeef;
	assert_int_equal(rp_vfu_client_dma_map_memory(scene.client, &memory, &scene.why), 0);
	memory = memory_of(4);
	memory.iova = 0x7000;
	memory.fd = -1;
	memory.has_pasid = true;
	memory.pasid = 0;
	assert_int_equal(rp_vfu_client_dma_map_memory(scene.client, &memory, &scene.why), 0);
	serving_stop(&scene.serving);
	assert_int_equal(rp_dma_pasid_reader_create(rp_vfu_server_pasids(scene.device.server), &reader), 0);
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

		assert_int_equal(rp_dma_io_submit(rp_vfu_server_pasid_dma(scene.device.server, 0), &io), 0);
		turn_server();
		turn_client();
		turn_server();
		assert_int_equal(rp_dma_io_wait(&io), 0);
	}
	assert_int_equal(name, 44);
	serving_start(&scene.serving, scene.device.server);
	assert_int_equal(rp_vfu_client_pasid_unmap(scene.client, 0xbeef, 0x7000, PAGE, &scene.why), 0);
	assert_int_equal(rp_vfu_client_pasid_unmap(scene.client, 0, 0x7000, PAGE, &scene.why), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_drain_race, setup, teardown),
		cmocka_unit_test_setup_teardown(test_drain_race_on_two_sockets, setup, teardown),
		cmocka_unit_test_setup_teardown(test_completion_waits_for_the_access, setup, teardown),
		cmocka_unit_test_setup_teardown(test_miss_is_answered_after_the_completion, setup, teardown),
		cmocka_unit_test_setup_teardown(test_page_behind_an_unmap_that_drains, setup, teardown),
		cmocka_unit_test_setup_teardown(test_memory_of_pasids, setup, teardown),
		cmocka_unit_test_setup_teardown(test_demand_faults_and_invalidations, setup, teardown),
		cmocka_unit_test_setup_teardown(test_demand_faults_on_two_sockets, setup, teardown),
		cmocka_unit_test_setup_teardown(test_demand_faults_by_message, setup, teardown),
		cmocka_unit_test_setup_teardown(test_demand_faults_by_message_on_two_sockets, setup, teardown),
	};

	return cmocka_run_group_tests_name("vfio-user, both ends: IOMMU", tests, NULL, NULL);
}
