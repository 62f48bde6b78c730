/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "rp_dma.h"
#include "rp_wire_fd.h"
#include "test_support.h"

#define PAGE_BYTES 4096u

static struct rp_dma_space *
new_space(void)
{
	struct rp_dma_space *space = NULL;

	assert_int_equal(rp_dma_space_create(NULL, &space), 0);
	return space;
}

static int
map_file(struct rp_dma_space *space, int fd, uint64_t iova, uint64_t offset_bytes, uint64_t size_bytes,
	 uint32_t access_mask, struct rp_wire_why *why)
{
	const struct rp_dma_mapping mapping = {
		.iova = iova,
		.size_bytes = size_bytes,
		.offset_bytes = offset_bytes,
		.access_mask = access_mask,
		.fd = fd,
	};

	return rp_dma_space_map(space, &mapping, why);
}

static void
assert_refused(struct rp_dma_space *space, int fd, uint64_t offset_bytes, uint64_t size_bytes, uint32_t access_mask,
	       int error, const char *words)
{
	struct rp_wire_why why = {0};

	assert_int_equal(map_file(space, fd, 0, offset_bytes, size_bytes, access_mask, &why), error);
	if (strstr(why.text, words) == NULL)
		fail_msg("'%s' does not say '%s'", why.text, words);
	assert_int_equal(rp_dma_space_count(space), 0);
}

/* Each byte of the file says where it is. */
static int
patterned_memfd(size_t size_bytes)
{
	int fd = test_memfd(size_bytes, true);
	uint32_t word;
	size_t at;

	for (at = 0; at < size_bytes; at += sizeof(word)) {
		word = (uint32_t)at;
		assert_int_equal(pwrite(fd, &word, sizeof(word), (off_t)at), sizeof(word));
	}
	return fd;
}

/* Neither offset nor size is a multiple of anything: bytes, not pages, are what is mapped. */
static void
odd_offsets_and_sizes(void **state)
{
	static const uint64_t offsets[] = {0, 4, 4092, 4096, 4100, 8188, 12284};
	static const uint64_t sizes[] = {1, 4, 4095, 4096, 4097, 8200};
	struct test_leaks before;
	size_t i, j;

	(void)state;
	test_leaks_read(&before);
	for (i = 0; i < sizeof(offsets) / sizeof(offsets[0]); i++) {
		for (j = 0; j < sizeof(sizes) / sizeof(sizes[0]); j++) {
			struct rp_dma_space *space = new_space();
			int fd = patterned_memfd(6 * PAGE_BYTES);
			uint8_t *hva, byte;
			uint32_t word;

			assert_int_equal(
				map_file(space, fd, 0x12345, offsets[i], sizes[j], RP_DMA_READ | RP_DMA_WRITE, NULL),
				0);
			hva = rp_dma_space_translate(space, 0x12345, sizes[j], RP_DMA_READ);
			assert_non_null(hva);
			assert_null(rp_dma_space_translate(space, 0x12345, sizes[j] + 1, RP_DMA_READ));
			assert_null(rp_dma_space_translate(space, 0x12344, 1, RP_DMA_READ));
			if (sizes[j] >= sizeof(word)) {
				memcpy(&word, hva, sizeof(word));
				assert_int_equal(word, offsets[i]);
			}
			hva[sizes[j] - 1] = 0xa5;
			rp_dma_space_destroy(space);
			assert_int_equal(pread(fd, &byte, 1, (off_t)(offsets[i] + sizes[j] - 1)), 1);
			assert_int_equal(byte, 0xa5);
			rp_wire_fd_close(&fd);
		}
	}
	test_leaks_assert_none(&before);
}

/* The kernel would map what is beyond the end, and kill us at the first touch. */
static void
short_files_are_refused(void **state)
{
	struct rp_dma_space *space = new_space();
	int fd = test_memfd(2 * PAGE_BYTES + 100, false), empty = test_memfd(0, false);
	struct test_leaks before;

	(void)state;
	test_leaks_read(&before);
	assert_refused(space, fd, 0, 3 * PAGE_BYTES, RP_DMA_READ, -EBADMSG, "expected at least 0x3000");
	assert_refused(space, fd, 0, 2 * PAGE_BYTES + 101, RP_DMA_READ, -EBADMSG, "has 0x2064 bytes");
	assert_refused(space, fd, 2 * PAGE_BYTES + 100, 1, RP_DMA_READ, -EBADMSG, "expected at least");
	assert_refused(space, empty, 0, 1, RP_DMA_READ, -EBADMSG, "has 0x0 bytes");
	test_leaks_assert_none(&before);
	assert_int_equal(map_file(space, fd, 0, 0, 2 * PAGE_BYTES + 100, RP_DMA_READ, NULL), 0);
	rp_dma_space_destroy(space);
	rp_wire_fd_close(&fd);
	rp_wire_fd_close(&empty);
}

static void
offsets_that_overflow_are_refused(void **state)
{
	struct rp_dma_space *space = new_space();
	int fd = test_memfd(PAGE_BYTES, false);

	(void)state;
	assert_refused(space, fd, UINT64_MAX, 1, RP_DMA_READ, -EBADMSG, "beyond any file");
	assert_refused(space, fd, UINT64_MAX - 10, PAGE_BYTES, RP_DMA_READ, -EBADMSG, "beyond any file");
	assert_refused(space, fd, INT64_MAX, 1, RP_DMA_READ, -EBADMSG, "beyond any file");
	assert_refused(space, fd, INT64_MAX - 2 * PAGE_BYTES, 1, RP_DMA_READ, -EBADMSG, "expected at least");
	assert_refused(space, fd, 0, UINT64_MAX, RP_DMA_READ, -EBADMSG, "beyond any file");
	rp_dma_space_destroy(space);
	rp_wire_fd_close(&fd);
}

/* A file that may not be written is mapped for reading, and refused for writing. */
static void
access_is_the_files_too(void **state)
{
	struct rp_dma_space *space = new_space();
	int fd = test_memfd(PAGE_BYTES, false), read_only, sealed, write_only;
	struct test_leaks before;
	char path[32];

	(void)state;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	read_only = open(path, O_RDONLY | O_CLOEXEC);
	write_only = open(path, O_WRONLY | O_CLOEXEC);
	sealed = test_memfd(PAGE_BYTES, true);
	assert_int_equal(fcntl(sealed, F_ADD_SEALS, F_SEAL_WRITE), 0);
	test_leaks_read(&before);
	assert_refused(space, read_only, 0, PAGE_BYTES, RP_DMA_READ | RP_DMA_WRITE, -EBADMSG, "Permission denied");
	assert_refused(space, read_only, 0, PAGE_BYTES, RP_DMA_WRITE, -EBADMSG, "Permission denied");
	assert_refused(space, write_only, 0, PAGE_BYTES, RP_DMA_READ, -EBADMSG, "Permission denied");
	assert_refused(space, sealed, 0, PAGE_BYTES, RP_DMA_READ | RP_DMA_WRITE, -EBADMSG, "not permitted");
	test_leaks_assert_none(&before);
	assert_int_equal(map_file(space, read_only, 0, 0, PAGE_BYTES, RP_DMA_READ, NULL), 0);
	assert_non_null(rp_dma_space_translate(space, 0, 1, RP_DMA_READ));
	assert_null(rp_dma_space_translate(space, 0, 1, RP_DMA_WRITE));
	assert_null(rp_dma_space_translate(space, 0, 1, RP_DMA_READ | RP_DMA_WRITE));
	rp_dma_space_destroy(space);
	rp_wire_fd_close(&fd);
	rp_wire_fd_close(&read_only);
	rp_wire_fd_close(&write_only);
	rp_wire_fd_close(&sealed);
}

static void
what_is_no_memory_is_refused(void **state)
{
	struct rp_dma_space *space = new_space();
	int directory = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC), closed = dup(directory), ends[2];

	(void)state;
	close(closed);
	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	assert_refused(space, directory, 0, PAGE_BYTES, RP_DMA_READ, -EBADMSG, "mmap");
	assert_refused(space, closed, 0, PAGE_BYTES, RP_DMA_READ, -EBADMSG, "file");
	assert_refused(space, ends[0], 0, PAGE_BYTES, RP_DMA_READ, -EBADMSG, "mmap");
	assert_refused(space, -2, 0, PAGE_BYTES, RP_DMA_READ, -EBADMSG, "descriptor -2");
	rp_dma_space_destroy(space);
	rp_wire_fd_close(&directory);
	rp_wire_fd_close_all(ends, 2);
}

/* A device file has no size to check; its driver decides. */
static void
device_files_are_asked(void **state)
{
	struct rp_dma_space *space;
	uint8_t *hva;
	int fd;

	(void)state;
	if (test_emulated()) {
		print_message("SKIP: the emulator does not pass madvise(2) on, and says that all went well\n");
		skip();
	}
	space = new_space();
	fd = open("/dev/zero", O_RDWR | O_CLOEXEC);
	assert_true(fd >= 0);
	/* Its pages begin at 0 whatever the offset is: whoever touched the last one would get a signal. */
	assert_refused(space, fd, PAGE_BYTES, PAGE_BYTES, RP_DMA_READ, -EBADMSG, "ends before");
	assert_refused(space, fd, PAGE_BYTES, 2 * PAGE_BYTES, RP_DMA_WRITE, -EBADMSG, "ends before");
	assert_int_equal(map_file(space, fd, 0, 0, 2 * PAGE_BYTES, RP_DMA_READ | RP_DMA_WRITE, NULL), 0);
	hva = rp_dma_space_translate(space, PAGE_BYTES, PAGE_BYTES, RP_DMA_WRITE);
	assert_non_null(hva);
	hva[0] = 1;
	rp_dma_space_destroy(space);
	rp_wire_fd_close(&fd);
}

/* Without it no file is known again. What was made for the test goes when it is to be skipped. */
static bool
has_kcmp(struct rp_dma_space *space, int *fd)
{
	if (rp_wire_fd_same(*fd, *fd) == 1)
		return true;
	print_message("SKIP: this kernel or sandbox has no kcmp(2)\n");
	rp_dma_space_destroy(space);
	rp_wire_fd_close(fd);
	return false;
}

/* A guest with an IOMMU maps page by page, each time with a descriptor; our table of them is short. */
static void
one_file_is_kept_once(void **state)
{
	struct rp_dma_space *space = new_space();
	int fd = test_memfd(64 * PAGE_BYTES, true), other, copy, i;
	struct test_leaks before, now;
	struct rp_dma_mapping found;

	(void)state;
	if (!has_kcmp(space, &fd))
		skip();
	test_leaks_read(&before);
	for (i = 0; i < 64; i++) {
		copy = rp_wire_fd_dup(fd);
		assert_int_equal(map_file(space, copy, (uint64_t)i * 2 * PAGE_BYTES, (uint64_t)i * PAGE_BYTES,
					  PAGE_BYTES, RP_DMA_READ, NULL),
				 0);
		rp_wire_fd_close(&copy);
	}
	test_leaks_read(&now);
	assert_int_equal(now.fds_count, before.fds_count + 1);
	assert_int_equal(rp_dma_space_at(space, 63, &found), 0);
	assert_int_equal(rp_wire_fd_same(found.fd, fd), 1);
	other = test_memfd(PAGE_BYTES, true);
	assert_int_equal(map_file(space, other, PAGE_BYTES, 0, PAGE_BYTES, RP_DMA_READ, NULL), 0);
	assert_int_equal(rp_dma_space_at(space, 1, &found), 0);
	assert_int_equal(rp_wire_fd_same(found.fd, other), 1);
	rp_wire_fd_close(&other);
	rp_dma_space_clear(space);
	test_leaks_assert_none(&before);
	rp_dma_space_destroy(space);
	rp_wire_fd_close(&fd);
}

/* However many pages of a file are mapped: one window here for each of the accesses. */
static void
mappings_of_a_file_share_windows(void **state)
{
	struct rp_dma_space *space = new_space();
	int fd = patterned_memfd(256 * PAGE_BYTES);
	struct test_leaks before, now;
	uint32_t word, i;

	(void)state;
	if (!has_kcmp(space, &fd))
		skip();
	test_leaks_read(&before);
	for (i = 0; i < 3000; i++) {
		uint64_t offset_bytes = i * 7919ull % 256 * PAGE_BYTES;
		uint32_t *hva;

		assert_int_equal(map_file(space, fd, (uint64_t)i * 3 * PAGE_BYTES, offset_bytes, PAGE_BYTES,
					  i % 2 == 0 ? RP_DMA_READ : RP_DMA_READ | RP_DMA_WRITE, NULL),
				 0);
		hva = rp_dma_space_translate(space, (uint64_t)i * 3 * PAGE_BYTES, PAGE_BYTES, RP_DMA_READ);
		assert_int_equal(*hva, offset_bytes);
	}
	test_leaks_read(&now);
	assert_int_equal(now.mappings_count, before.mappings_count + 2);
	for (i = 0; i < 2999; i++)
		assert_int_equal(rp_dma_space_unmap(space, (uint64_t)i * 3 * PAGE_BYTES, PAGE_BYTES, NULL), 0);
	word = *(uint32_t *)rp_dma_space_translate(space, 2999ull * 3 * PAGE_BYTES, 4, RP_DMA_READ);
	assert_int_equal(word, 2999ull * 7919 % 256 * PAGE_BYTES);
	test_leaks_read(&now);
	assert_int_equal(now.mappings_count, before.mappings_count + 1);
	rp_dma_space_clear(space);
	test_leaks_assert_none(&before);
	rp_dma_space_destroy(space);
	rp_wire_fd_close(&fd);
}

/* Memory that is plugged in page by page takes a window for each doubling, and what was mapped before stays. */
static void
a_growing_file(void **state)
{
	struct rp_dma_space *space = new_space();
	int fd = patterned_memfd(PAGE_BYTES);
	struct test_leaks before, now;
	uint32_t i;

	(void)state;
	if (!has_kcmp(space, &fd))
		skip();
	test_leaks_read(&before);
	for (i = 0; i < 512; i++) {
		uint32_t word = i * PAGE_BYTES;

		assert_int_equal(ftruncate(fd, (off_t)(i + 1) * PAGE_BYTES), 0);
		assert_int_equal(pwrite(fd, &word, sizeof(word), (off_t)word), sizeof(word));
		assert_int_equal(map_file(space, fd, word, word, PAGE_BYTES, RP_DMA_READ, NULL), 0);
		assert_int_equal(*(uint32_t *)rp_dma_space_translate(space, word, 4, RP_DMA_READ), word);
	}
	test_leaks_read(&now);
	assert_in_range(now.mappings_count - before.mappings_count, 1, 11);
	rp_dma_space_destroy(space);
	test_leaks_assert_none(&before);
	rp_wire_fd_close(&fd);
}

/* The descriptor that was given may be closed at once, and what it led to goes on. */
static void
the_space_keeps_its_own(void **state)
{
	struct rp_dma_space *space = new_space();
	int fd = patterned_memfd(2 * PAGE_BYTES);
	struct rp_dma_mapping found;
	uint32_t word;

	(void)state;
	assert_int_equal(map_file(space, fd, 0, PAGE_BYTES, PAGE_BYTES, RP_DMA_READ, NULL), 0);
	rp_wire_fd_close(&fd);
	assert_int_equal(rp_dma_space_at(space, 0, &found), 0);
	assert_int_equal(pread(found.fd, &word, sizeof(word), (off_t)found.offset_bytes), sizeof(word));
	assert_int_equal(word, PAGE_BYTES);
	assert_int_equal(fcntl(found.fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
	rp_dma_space_destroy(space);
}

static void
no_descriptor_left_is_no_space(void **state)
{
	struct rp_dma_space *space = new_space();
	int fd = test_memfd(PAGE_BYTES, true), highest = dup(fd);
	struct rlimit limit, low;
	struct test_leaks before;

	(void)state;
	close(highest);
	test_leaks_read(&before);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
	low = limit;
	low.rlim_cur = (rlim_t)highest;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
	assert_refused(space, fd, 0, PAGE_BYTES, RP_DMA_READ, -ENOSPC, "cannot keep a descriptor");
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
	test_leaks_assert_none(&before);
	rp_dma_space_destroy(space);
	rp_wire_fd_close(&fd);
}

/* Pieces of one mapping share its pages; these go with the last piece. */
static void
split_keeps_the_pages(void **state)
{
	struct rp_dma_space *space = new_space();
	int fd = patterned_memfd(8 * PAGE_BYTES);
	struct test_leaks before;
	uint8_t *whole, *left, *right;
	uint32_t word;

	(void)state;
	test_leaks_read(&before);
	assert_int_equal(map_file(space, fd, 0, 0, 8 * PAGE_BYTES, RP_DMA_READ, NULL), 0);
	whole = rp_dma_space_translate(space, 0, 8 * PAGE_BYTES, RP_DMA_READ);
	assert_int_equal(rp_dma_space_unmap(space, 3 * PAGE_BYTES + 4, 8, NULL), 0);
	left = rp_dma_space_translate(space, 0, 3 * PAGE_BYTES + 4, RP_DMA_READ);
	right = rp_dma_space_translate(space, 3 * PAGE_BYTES + 12, 5 * PAGE_BYTES - 12, RP_DMA_READ);
	assert_ptr_equal(left, whole);
	assert_ptr_equal(right, whole + 3 * PAGE_BYTES + 12);
	assert_int_equal(rp_dma_space_unmap(space, 0, 3 * PAGE_BYTES + 4, NULL), 0);
	memcpy(&word, right, sizeof(word));
	assert_int_equal(word, 3 * PAGE_BYTES + 12);
	assert_int_equal(rp_dma_space_unmap(space, 0, UINT64_MAX, NULL), 0);
	test_leaks_assert_none(&before);
	rp_dma_space_destroy(space);
	rp_wire_fd_close(&fd);
}

/* Huge pages are mapped and unmapped whole, whatever part of them a mapping names. */
static void
huge_pages(void **state)
{
	struct rp_dma_space *space;
	struct test_leaks before;
	uint8_t *hva;
	int fd = test_huge_memfd(2 * TEST_HUGE_PAGE_BYTES);

	(void)state;
	test_leaks_read(&before);
	space = new_space();
	assert_int_equal(map_file(space, fd, 0, TEST_HUGE_PAGE_BYTES - PAGE_BYTES, 2 * PAGE_BYTES,
				  RP_DMA_READ | RP_DMA_WRITE, NULL),
			 0);
	hva = rp_dma_space_translate(space, 0, 2 * PAGE_BYTES, RP_DMA_WRITE);
	assert_non_null(hva);
	hva[2 * PAGE_BYTES - 1] = 1;
	rp_dma_space_destroy(space);
	test_leaks_assert_none(&before);
	rp_wire_fd_close(&fd);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(odd_offsets_and_sizes),
		cmocka_unit_test(short_files_are_refused),
		cmocka_unit_test(offsets_that_overflow_are_refused),
		cmocka_unit_test(access_is_the_files_too),
		cmocka_unit_test(what_is_no_memory_is_refused),
		cmocka_unit_test(device_files_are_asked),
		cmocka_unit_test(one_file_is_kept_once),
		cmocka_unit_test(mappings_of_a_file_share_windows),
		cmocka_unit_test(a_growing_file),
		cmocka_unit_test(the_space_keeps_its_own),
		cmocka_unit_test(no_descriptor_left_is_no_space),
		cmocka_unit_test(split_keeps_the_pages),
		cmocka_unit_test(huge_pages),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
