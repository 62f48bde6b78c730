/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "rp_dma.h"
#include "rp_dma_atc.h"
#include "rp_dma_bounce.h"
#include "rp_dma_view.h"
#include "rp_wire_fd.h"
#include "test_support.h"

#define PAGES 8u
#define IOVA UINT64_C(0xffff0000)
#define RW (RP_DMA_READ | RP_DMA_WRITE)

struct scene {
	struct rp_dma_space *space;
	struct rp_dma_reader *reader;
	size_t page_bytes;
	int fd;
};

/* Each page of the file says which it is, at its start and at its end. */
static int
setup(void **state)
{
	struct scene *scene = calloc(1, sizeof(*scene));
	uint32_t page;

	assert_non_null(scene);
	scene->page_bytes = (size_t)sysconf(_SC_PAGESIZE);
	assert_int_equal(rp_dma_space_create(NULL, &scene->space), 0);
	assert_int_equal(rp_dma_reader_create(scene->space, &scene->reader), 0);
	scene->fd = test_memfd(PAGES * scene->page_bytes, true);
	for (page = 0; page < PAGES; page++) {
		off_t start = (off_t)(page * scene->page_bytes), end = start + (off_t)(scene->page_bytes - 4);

		assert_int_equal(pwrite(scene->fd, &page, sizeof(page), start), sizeof(page));
		assert_int_equal(pwrite(scene->fd, &page, sizeof(page), end), sizeof(page));
	}
	rp_dma_reader_online(scene->reader);
	rp_dma_reader_offline(scene->reader);
	*state = scene;
	return 0;
}

static int
teardown(void **state)
{
	struct scene *scene = *state;

	assert_null(rp_dma_reader_destroy(scene->reader));
	assert_null(rp_dma_space_destroy(scene->space));
	rp_wire_fd_close(&scene->fd);
	free(scene);
	return 0;
}

static void
map(struct scene *scene, uint64_t iova, uint64_t offset_bytes, uint64_t size_bytes, uint32_t access_mask)
{
	const struct rp_dma_mapping mapping = {
		.iova = iova,
		.size_bytes = size_bytes,
		.offset_bytes = offset_bytes,
		.access_mask = access_mask,
		.fd = scene->fd,
	};
	struct rp_wire_why why = {0};

	if (rp_dma_space_remap(scene->space, &mapping, &why) != 0)
		fail_msg("map 0x%lx: %s", (unsigned long)iova, why.text);
}

/* As a vIOMMU does: page `place` of the guest's addresses is page `page` of its memory. */
static void
map_page(struct scene *scene, uint32_t place, uint32_t page)
{
	map(scene, IOVA + place * scene->page_bytes, page * scene->page_bytes, scene->page_bytes, RW);
}

static struct rp_dma_view *
view(struct scene *scene, uint64_t iova, uint64_t size_bytes)
{
	struct rp_wire_why why = {0};
	struct rp_dma_view *made = NULL;

	if (rp_dma_view_create(scene->space, iova, size_bytes, RW, &made, &why) != 0)
		fail_msg("view of 0x%lx: %s", (unsigned long)iova, why.text);
	return made;
}

static void *
look(struct scene *scene, const struct rp_dma_view *one)
{
	void *found;

	rp_dma_reader_online(scene->reader);
	found = rp_dma_view_translate(one, scene->reader);
	rp_dma_reader_offline(scene->reader);
	return found;
}

static uint32_t
word(const uint8_t *bytes)
{
	uint32_t value;

	memcpy(&value, bytes, sizeof(value));
	return value;
}

static void
joins_pages_from_anywhere(void **state)
{
	static const uint32_t pages[] = {5, 2, 7};
	struct scene *scene = *state;
	struct rp_dma_view *one;
	const uint32_t mark = 0x52494e47;
	uint32_t place, found;
	uint8_t *bytes;

	for (place = 0; place < 3; place++)
		map_page(scene, place, pages[place]);
	one = view(scene, IOVA, 3 * scene->page_bytes);
	bytes = look(scene, one);
	assert_non_null(bytes);
	for (place = 0; place < 3; place++) {
		assert_int_equal(word(bytes + place * scene->page_bytes), pages[place]);
		assert_int_equal(word(bytes + (place + 1) * scene->page_bytes - 4), pages[place]);
	}
	memcpy(bytes + scene->page_bytes + 8, &mark, sizeof(mark));
	assert_int_equal(pread(scene->fd, &found, 4, (off_t)(2 * scene->page_bytes + 8)), 4);
	assert_int_equal(found, mark);
	assert_null(rp_dma_view_destroy(one));
}

static void
begins_and_ends_within_pages(void **state)
{
	struct scene *scene = *state;
	uint64_t page = scene->page_bytes;
	struct rp_dma_view *one;
	uint8_t *bytes;

	/* The first begins and the last ends in the middle of a page of the file. */
	map(scene, IOVA + 64, page + 64, page - 64, RW);
	map(scene, IOVA + page, 6 * page, 100, RW);
	one = view(scene, IOVA + 128, page - 128 + 100);
	bytes = look(scene, one);
	assert_non_null(bytes);
	assert_int_equal((uintptr_t)bytes % page, 128);
	assert_int_equal(word(bytes + page - 128 - 4), 1);
	assert_int_equal(word(bytes + page - 128), 6);
	assert_null(rp_dma_view_destroy(one));
}

static void
a_change_ends_it_for_good(void **state)
{
	struct scene *scene = *state;
	struct rp_dma_view *one;

	map_page(scene, 0, 3);
	map_page(scene, 1, 1);
	map_page(scene, 2, 4);
	one = view(scene, IOVA, 2 * scene->page_bytes);
	assert_non_null(look(scene, one));
	assert_int_equal(rp_dma_space_unmap(scene->space, IOVA + 2 * scene->page_bytes, scene->page_bytes, NULL), 0);
	assert_non_null(look(scene, one));
	assert_int_equal(rp_dma_space_unmap(scene->space, IOVA + scene->page_bytes, scene->page_bytes, NULL), 0);
	assert_null(look(scene, one));
	/* It was another ring's meanwhile, for all that we know. */
	map_page(scene, 1, 1);
	assert_null(look(scene, one));
	assert_int_equal(rp_dma_map_count(scene->space), 0);
	assert_null(rp_dma_view_destroy(one));
	one = view(scene, IOVA, 2 * scene->page_bytes);
	map_page(scene, 0, 6);
	assert_null(look(scene, one));
	assert_null(rp_dma_view_destroy(one));
}

/* As at the end of a connection: nobody waits for the view to be destroyed. */
static void
does_not_hold_up_the_space(void **state)
{
	struct scene *scene = *state;
	uint64_t ticket = 1;
	struct rp_dma_view *one;

	map_page(scene, 0, 3);
	map_page(scene, 1, 1);
	one = view(scene, IOVA, 2 * scene->page_bytes);
	assert_int_equal(rp_dma_space_clear_start(scene->space, &ticket), 0);
	assert_true(rp_dma_space_settled(scene->space, ticket));
	assert_null(look(scene, one));
	assert_null(rp_dma_view_destroy(one));
}

static void
refuse(struct scene *scene, uint64_t iova, uint64_t size_bytes, uint32_t access_mask, int error)
{
	struct rp_wire_why why = {0};
	struct rp_dma_view *one = NULL;

	assert_int_equal(rp_dma_view_create(scene->space, iova, size_bytes, access_mask, &one, &why), error);
	assert_null(one);
	assert_int_equal(why.error, error);
	assert_int_equal(rp_dma_map_count(scene->space), 0);
}

static void
says_what_cannot_be_joined(void **state)
{
	struct scene *scene = *state;
	uint64_t page = scene->page_bytes;
	const struct rp_dma_mapping fileless = {
		.iova = IOVA + 5 * page,
		.size_bytes = page,
		.access_mask = RW,
		.fd = -1,
	};
	struct test_leaks before;

	map_page(scene, 0, 0);
	map_page(scene, 1, 1);
	map(scene, IOVA + 2 * page, 2 * page, page, RP_DMA_READ);
	map(scene, IOVA + 3 * page, 3 * page, 512, RW);
	map(scene, IOVA + 3 * page + 512, 4 * page + 512, page, RW);
	test_leaks_read(&before);
	refuse(scene, IOVA, 0, RW, -EINVAL);
	refuse(scene, IOVA, page, 0, -EINVAL);
	refuse(scene, IOVA, page, 4, -EINVAL);
	refuse(scene, UINT64_MAX - 1, 3, RW, -EBADMSG);
	refuse(scene, IOVA - 1, 4, RW, -EBADMSG);
	refuse(scene, IOVA, 3 * page, RW, -EBADMSG);
	refuse(scene, IOVA + 3 * page, page, RW, -ENOTSUP);
	refuse(scene, IOVA + 6 * page, page, RW, -EBADMSG);
	assert_int_equal(rp_dma_space_map(scene->space, &fileless, NULL), 0);
	refuse(scene, IOVA + 5 * page, page, RW, -EBADMSG);
	test_leaks_assert_none(&before);
}

/* A huge page would be laid over what lies beside the view. */
static void
huge_pages_cannot_be_joined(void **state)
{
	struct scene *scene = *state;
	const uint64_t page = scene->page_bytes;
	int huge_fd = test_huge_memfd(TEST_HUGE_PAGE_BYTES);
	const struct rp_dma_mapping mapping = {
		.iova = IOVA + page, .size_bytes = page, .access_mask = RW, .fd = huge_fd};
	struct rp_wire_why why = {0};
	struct rp_dma_view *one = NULL;
	struct test_leaks before;

	map_page(scene, 0, 0);
	assert_int_equal(rp_dma_space_map(scene->space, &mapping, NULL), 0);
	test_leaks_read(&before);
	assert_int_equal(rp_dma_view_create(scene->space, IOVA, 2 * page, RW, &one, &why), -ENOTSUP);
	assert_string_equal(why.text, "view: 0xffff1000 is in pages of 2097152 bytes, expected 4096");
	test_leaks_assert_none(&before);
	rp_wire_fd_close(&huge_fd);
}

static void
answer(struct rp_dma_atc *atc, uint64_t address)
{
	struct rp_dma_translation translation = {
		.size_bytes = RP_DMA_ATC_PAGE_BYTES, .access_mask = RW, .address = address};
	struct rp_dma_atc_ask ask;

	assert_int_equal(rp_dma_atc_next(atc, &ask), 0);
	translation.iova = ask.iova;
	assert_int_equal(rp_dma_atc_answer(atc, ask.slot, &translation, NULL), 0);
}

static void
on_answer(struct rp_dma_atc_wait *wait, int error)
{
	(void)wait;
	assert_int_equal(error, 0);
}

static void
no_wake(void *ctx)
{
	(void)ctx;
}

/* It ends with the translations too. */
static void
joins_what_a_cache_translates(void **state)
{
	const uint64_t iova = UINT64_C(0x7000), size_bytes = 2 * RP_DMA_ATC_PAGE_BYTES;
	struct scene *scene = *state;
	struct rp_dma_atc_wait waits[2] = {{.done = on_answer}, {.done = on_answer}};
	struct rp_dma_atc_invalidation invalidation = {.all_pasids = true, .last_iova = UINT64_MAX};
	struct rp_dma_view *one = NULL;
	struct rp_dma_atc *atc = NULL;
	uint8_t *bytes;

	if (scene->page_bytes != RP_DMA_ATC_PAGE_BYTES)
		skip();
	map(scene, IOVA, 0, PAGES * scene->page_bytes, RW);
	assert_int_equal(rp_dma_atc_create(scene->space, 0, 4, no_wake, NULL, &atc), 0);
	rp_dma_atc_open(atc, 4);
	assert_int_equal(rp_dma_atc_want(atc, &waits[0], RP_DMA_NO_PASID, iova, RW), -EINPROGRESS);
	answer(atc, IOVA + 5 * scene->page_bytes);
	assert_int_equal(rp_dma_view_create_translated(scene->space, atc, iova, size_bytes, RW, &one, NULL), -EAGAIN);
	assert_int_equal(rp_dma_atc_want(atc, &waits[1], RP_DMA_NO_PASID, iova + scene->page_bytes, RW), -EINPROGRESS);
	answer(atc, IOVA + 2 * scene->page_bytes);
	assert_int_equal(rp_dma_view_create_translated(scene->space, atc, iova, size_bytes, RW, &one, NULL), 0);
	bytes = look(scene, one);
	assert_non_null(bytes);
	assert_int_equal(word(bytes), 5);
	assert_int_equal(word(bytes + scene->page_bytes), 2);
	rp_dma_atc_invalidate(atc, &invalidation);
	assert_true(rp_dma_atc_settled(atc, &invalidation));
	assert_null(look(scene, one));
	assert_null(rp_dma_view_destroy(one));
	rp_dma_atc_close(atc);
	assert_null(rp_dma_atc_destroy(atc));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(joins_pages_from_anywhere, setup, teardown),
		cmocka_unit_test_setup_teardown(begins_and_ends_within_pages, setup, teardown),
		cmocka_unit_test_setup_teardown(a_change_ends_it_for_good, setup, teardown),
		cmocka_unit_test_setup_teardown(does_not_hold_up_the_space, setup, teardown),
		cmocka_unit_test_setup_teardown(joins_what_a_cache_translates, setup, teardown),
		cmocka_unit_test_setup_teardown(says_what_cannot_be_joined, setup, teardown),
		cmocka_unit_test_setup_teardown(huge_pages_cannot_be_joined, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
