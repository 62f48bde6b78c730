/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#include "rp_dma_pasid.h"
#include "rp_wire_clock.h"
#include "rp_wire_fd.h"
#include "test_support.h"

#define PAGES 32u
#define PASIDS 24u
#define READERS 3u
#define STORM_MS 1000u
#define LIMIT_MS 20000u
#define STILL_WAITING_MS 50u

static uint64_t page_bytes;

/* Page n of the file begins with n. */
static int
numbered_memfd(void)
{
	int fd = test_memfd(PAGES * page_bytes, true);
	uint32_t page;

	for (page = 0; page < PAGES; page++)
		assert_int_equal(pwrite(fd, &page, sizeof(page), (off_t)(page * page_bytes)), sizeof(page));
	return fd;
}

static void
map_page(struct rp_dma_space *space, int fd, uint64_t iova, uint32_t page)
{
	const struct rp_dma_mapping mapping = {
		.iova = iova,
		.size_bytes = page_bytes,
		.offset_bytes = page * page_bytes,
		.access_mask = RP_DMA_READ,
		.fd = fd,
	};
	struct rp_wire_why why = {0};

	if (rp_dma_space_map(space, &mapping, &why) != 0)
		fail_msg("%s", why.text);
}

static struct rp_dma_pasids *
new_set(uint32_t spaces_max)
{
	const struct rp_dma_pasid_limits limits = {.spaces_max = spaces_max};
	struct rp_dma_pasids *pasids = NULL;

	assert_int_equal(rp_dma_pasids_create(&limits, &pasids), 0);
	return pasids;
}

static struct rp_dma_space *
open_space(struct rp_dma_pasids *pasids, uint32_t pasid)
{
	struct rp_dma_space *space = NULL;

	assert_int_equal(rp_dma_pasids_open(pasids, pasid, &space, NULL), 1);
	return space;
}

static void
found_or_made(void **state)
{
	struct rp_dma_pasids *pasids = new_set(0);
	struct rp_dma_space *first = open_space(pasids, 7), *again = NULL, *highest;
	struct rp_wire_why why = {0};
	uint32_t pasid;

	(void)state;
	assert_int_equal(rp_dma_pasids_open(pasids, 7, &again, NULL), 0);
	assert_ptr_equal(first, again);
	highest = open_space(pasids, (1u << RP_DMA_PASID_BITS) - 1);
	assert_int_equal(rp_dma_pasids_open(pasids, 1u << RP_DMA_PASID_BITS, &again, &why), -EBADMSG);
	assert_string_equal(why.text, "PASID: is 0x100000, expected one of 20 bits");
	assert_int_equal(rp_dma_pasids_open(pasids, RP_DMA_NO_PASID, &again, NULL), -EBADMSG);
	assert_int_equal(rp_dma_pasids_count(pasids), 2);
	assert_ptr_equal(rp_dma_pasids_find(pasids, 7), first);
	assert_null(rp_dma_pasids_find(pasids, 8));
	assert_null(rp_dma_pasids_find(pasids, RP_DMA_NO_PASID));
	assert_true(rp_dma_pasids_next(pasids, 0, &pasid, &again));
	assert_true(pasid == 7 && again == first);
	assert_true(rp_dma_pasids_next(pasids, 8, &pasid, &again));
	assert_true(pasid == (1u << RP_DMA_PASID_BITS) - 1 && again == highest);
	assert_false(rp_dma_pasids_next(pasids, pasid + 1, &pasid, &again));
	assert_int_equal(rp_dma_pasids_close(pasids, 7), 0);
	assert_int_equal(rp_dma_pasids_close(pasids, 7), 0);
	assert_null(rp_dma_pasids_find(pasids, 7));
	assert_null(rp_dma_pasids_destroy(pasids));
	assert_null(rp_dma_pasids_destroy(NULL));
}

static void
sets_have_limits(void **state)
{
	struct rp_dma_pasids *pasids = new_set(3);
	struct rp_dma_pasid_reader *readers[RP_DMA_PASID_READERS_MAX], *none = NULL;
	struct rp_wire_why why = {0};
	struct rp_dma_space *space;
	unsigned int i;

	(void)state;
	for (i = 0; i < 3; i++)
		open_space(pasids, i * 1000);
	assert_int_equal(rp_dma_pasids_open(pasids, 1, &space, &why), -ENOSPC);
	assert_string_equal(why.text, "PASID: 3 have a space already, the most allowed");
	assert_int_equal(rp_dma_pasids_close(pasids, 1000), 0);
	open_space(pasids, 1);
	for (i = 0; i < RP_DMA_PASID_READERS_MAX; i++)
		assert_int_equal(rp_dma_pasid_reader_create(pasids, &readers[i]), 0);
	assert_int_equal(rp_dma_pasid_reader_create(pasids, &none), -ENOSPC);
	for (i = 0; i < RP_DMA_PASID_READERS_MAX; i++)
		rp_dma_pasid_reader_destroy(readers[i]);
	assert_null(rp_dma_pasid_reader_destroy(NULL));
	rp_dma_pasids_destroy(pasids);
}

/* The same address means something else in each, and one mmap of a file serves all. */
static void
spaces_are_apart(void **state)
{
	struct rp_dma_pasids *pasids = new_set(0);
	struct rp_dma_pasid_reader *reader = NULL;
	struct test_leaks before, now;
	int fd = numbered_memfd();
	uint64_t here_bytes;
	uint32_t pasid;

	(void)state;
	test_leaks_read(&before);
	assert_int_equal(rp_dma_pasid_reader_create(pasids, &reader), 0);
	for (pasid = 0; pasid < PASIDS; pasid++)
		map_page(open_space(pasids, pasid * 100), fd, 0x100000, pasid);
	test_leaks_read(&now);
	if (rp_wire_fd_same(fd, fd) == 1) {
		assert_int_equal(now.mappings_count, before.mappings_count + 1);
		assert_int_equal(now.fds_count, before.fds_count + 1);
	}
	rp_dma_pasid_reader_online(reader);
	for (pasid = 0; pasid < PASIDS; pasid++) {
		struct rp_dma_reader *entered = rp_dma_pasid_reader_enter(reader, pasid * 100);
		uint32_t *hva = rp_dma_reader_translate(entered, 0x100000, 4, RP_DMA_READ, &here_bytes);

		assert_ptr_equal(rp_dma_pasid_reader_enter(reader, pasid * 100), entered);
		assert_int_equal(*hva, pasid);
		assert_null(rp_dma_pasid_reader_enter(reader, pasid * 100 + 1));
	}
	rp_dma_pasid_reader_offline(reader);
	rp_dma_pasid_reader_destroy(reader);
	rp_dma_pasids_destroy(pasids);
	test_leaks_assert_none(&before);
	rp_wire_fd_close(&fd);
}

struct closer {
	struct rp_dma_pasids *pasids;
	uint32_t pasid;
	bool unmap;
	atomic_bool done;
};

static void *
close_one(void *ctx)
{
	struct closer *closer = ctx;

	if (closer->unmap)
		rp_dma_space_unmap(rp_dma_pasids_find(closer->pasids, closer->pasid), 0, UINT64_MAX, NULL);
	else
		rp_dma_pasids_close(closer->pasids, closer->pasid);
	atomic_store(&closer->done, true);
	return NULL;
}

static bool
is_done(void *ctx)
{
	return atomic_load(&((struct closer *)ctx)->done);
}

/* Who is in a space holds it up; who is in another does not hold up its unmap. */
static void
readers_hold_what_they_entered(void **state)
{
	struct rp_dma_pasids *pasids = new_set(0);
	struct closer closer = {.pasids = pasids, .pasid = 2, .unmap = true};
	struct rp_dma_pasid_reader *reader = NULL;
	int fd = numbered_memfd();
	uint64_t here_bytes;
	pthread_t thread;
	uint32_t *held;

	(void)state;
	map_page(open_space(pasids, 1), fd, 0, 1);
	map_page(open_space(pasids, 2), fd, 0, 2);
	assert_int_equal(rp_dma_pasid_reader_create(pasids, &reader), 0);
	rp_dma_pasid_reader_online(reader);
	held = rp_dma_reader_translate(rp_dma_pasid_reader_enter(reader, 1), 0, 4, RP_DMA_READ, &here_bytes);
	close_one(&closer);
	assert_true(is_done(&closer));
	closer = (struct closer){.pasids = pasids, .pasid = 1};
	assert_int_equal(pthread_create(&thread, NULL, close_one, &closer), 0);
	assert_false(test_wait(is_done, &closer, STILL_WAITING_MS));
	assert_int_equal(*held, 1);
	rp_dma_pasid_reader_quiescent(reader);
	assert_true(test_wait(is_done, &closer, LIMIT_MS));
	pthread_join(thread, NULL);
	assert_null(rp_dma_pasid_reader_enter(reader, 1));
	rp_dma_pasid_reader_offline(reader);
	rp_dma_pasid_reader_destroy(reader);
	rp_dma_pasids_destroy(pasids);
	rp_wire_fd_close(&fd);
}

struct storm {
	struct rp_dma_pasid_reader *reader;
	atomic_bool *stop;
	unsigned int seed;
	uint64_t found_count;
	uint64_t wrong_count;
};

static void
storm_batch(struct storm *storm)
{
	const uint32_t *held[8];
	uint32_t pasids[8];
	unsigned int i;

	for (i = 0; i < 8; i++) {
		struct rp_dma_reader *entered;
		uint64_t here_bytes;

		pasids[i] = (uint32_t)rand_r(&storm->seed) % PASIDS;
		entered = rp_dma_pasid_reader_enter(storm->reader, pasids[i]);
		held[i] = entered == NULL ? NULL : rp_dma_reader_translate(entered, 0, 4, RP_DMA_READ, &here_bytes);
	}
	for (i = 0; i < 8; i++) {
		if (held[i] == NULL)
			continue;
		storm->found_count++;
		if (*held[i] != pasids[i])
			storm->wrong_count++;
	}
}

static void *
storm_reader(void *ctx)
{
	struct storm *storm = ctx;
	unsigned int batch;

	while (!atomic_load_explicit(storm->stop, memory_order_relaxed)) {
		rp_dma_pasid_reader_online(storm->reader);
		for (batch = 0; batch < 1 + (unsigned int)rand_r(&storm->seed) % 50; batch++) {
			storm_batch(storm);
			rp_dma_pasid_reader_quiescent(storm->reader);
		}
		rp_dma_pasid_reader_offline(storm->reader);
		if (rand_r(&storm->seed) % 16 == 0)
			usleep(50);
	}
	return NULL;
}

static uint64_t
storm_writer(struct rp_dma_pasids *pasids, int fd)
{
	uint64_t deadline_ms = rp_wire_clock_ms() + STORM_MS, changes = 0;
	struct rp_dma_space *space;
	unsigned int seed = 11;

	for (; rp_wire_clock_ms() < deadline_ms || changes < 200; changes++) {
		uint32_t pasid = (uint32_t)rand_r(&seed) % PASIDS;
		int rc = rp_dma_pasids_open(pasids, pasid, &space, NULL);

		if (rc == 1 || (rc == 0 && rp_dma_space_count(space) == 0))
			map_page(space, fd, 0, pasid);
		else if (rand_r(&seed) % 2 == 0)
			assert_int_equal(rp_dma_space_unmap(space, 0, page_bytes, NULL), 0);
		else
			assert_int_equal(rp_dma_pasids_close(pasids, pasid), 0);
	}
	return changes;
}

/* Spaces come and go under readers that use them as late as they may; also under the sanitizers. */
static void
readers_and_a_writer(void **state)
{
	struct rp_dma_pasids *pasids = new_set(0);
	struct storm storms[READERS] = {0};
	pthread_t threads[READERS];
	atomic_bool stop = false;
	uint64_t changes, found_count = 0;
	int fd = numbered_memfd();
	unsigned int i;

	(void)state;
	for (i = 0; i < READERS; i++) {
		storms[i].stop = &stop;
		storms[i].seed = 100 + i;
		assert_int_equal(rp_dma_pasid_reader_create(pasids, &storms[i].reader), 0);
		assert_int_equal(pthread_create(&threads[i], NULL, storm_reader, &storms[i]), 0);
	}
	changes = storm_writer(pasids, fd);
	atomic_store(&stop, true);
	for (i = 0; i < READERS; i++) {
		pthread_join(threads[i], NULL);
		rp_dma_pasid_reader_destroy(storms[i].reader);
		assert_int_equal(storms[i].wrong_count, 0);
		found_count += storms[i].found_count;
	}
	print_message("%llu changes, %llu translated accesses\n", (unsigned long long)changes,
		      (unsigned long long)found_count);
	rp_dma_pasids_destroy(pasids);
	rp_wire_fd_close(&fd);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(found_or_made),	cmocka_unit_test(sets_have_limits),
		cmocka_unit_test(spaces_are_apart),	cmocka_unit_test(readers_hold_what_they_entered),
		cmocka_unit_test(readers_and_a_writer),
	};

	page_bytes = (uint64_t)sysconf(_SC_PAGESIZE);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
