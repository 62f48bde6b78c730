/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "rp_vhu_log.h"
#include "rp_wire_fd.h"
#include "test_support.h"

#define LOG_BYTES 64u
#define PAGES (LOG_BYTES * 8)
#define FILE_BYTES 0x10000u

struct book {
	struct test_leaks before;
	int fd;
	uint8_t *file; /* what the frontend sees */
	struct rp_vhu_log *log;
	uint64_t offset;
	bool model[PAGES];
};

static void
open_at(struct book *book, uint64_t offset)
{
	struct rp_wire_why why = {0};

	book->log = rp_vhu_log_destroy(book->log);
	memset(book->file, 0, FILE_BYTES);
	memset(book->model, 0, sizeof(book->model));
	book->offset = offset;
	if (rp_vhu_log_create(book->fd, LOG_BYTES, offset, &book->log, &why) != 0)
		fail_msg("log: %s", why.text);
}

static int
setup(void **state)
{
	static struct book book;

	memset(&book, 0, sizeof(book));
	test_leaks_read(&book.before);
	book.fd = test_memfd(FILE_BYTES, false);
	book.file = mmap(NULL, FILE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, book.fd, 0);
	assert_true(book.file != MAP_FAILED);
	open_at(&book, 0);
	*state = &book;
	return 0;
}

static int
teardown(void **state)
{
	struct book *book = *state;

	book->log = rp_vhu_log_destroy(book->log);
	munmap(book->file, FILE_BYTES);
	rp_wire_fd_close(&book->fd);
	test_leaks_assert_none(&book->before);
	return 0;
}

static void
model_mark(struct book *book, uint64_t gpa, uint64_t size_bytes)
{
	uint64_t page;

	for (page = 0; page < PAGES; page++)
		if (size_bytes > 0 && gpa < (page + 1) * 4096 &&
		    (gpa + size_bytes > page * 4096 || gpa + size_bytes < gpa))
			book->model[page] = true;
}

/* Also that no byte beside the log was touched. */
static void
check(struct book *book)
{
	unsigned int i;

	for (i = 0; i < FILE_BYTES; i++) {
		uint64_t at = i - book->offset;
		uint8_t expected = 0;
		unsigned int bit;

		for (bit = 0; at < LOG_BYTES && bit < 8; bit++)
			expected |= (uint8_t)(book->model[at * 8 + bit] << bit);
		if (book->file[i] != expected)
			fail_msg("byte %u of the file is %02x, expected %02x", i, book->file[i], expected);
	}
}

static void
mark(struct book *book, uint64_t gpa, uint64_t size_bytes)
{
	rp_vhu_log_mark(book->log, gpa, size_bytes);
	model_mark(book, gpa, size_bytes);
	check(book);
}

static void
bits_are_where_the_specification_has_them(void **state)
{
	struct book *book = *state;

	rp_vhu_log_mark(book->log, 0x1000 * 9, 1);
	assert_int_equal(book->file[1], 1u << 1);
	rp_vhu_log_mark(book->log, 0, 1);
	assert_int_equal(book->file[0], 1);
}

static void
every_boundary(void **state)
{
	static const uint64_t sizes[] = {0, 1, 2, 4095, 4096, 4097, 8191, 8192, 8193, 0x10000};
	struct book *book = *state;
	uint64_t page;
	unsigned int i;
	int into;

	for (page = 0; page < PAGES; page += 7)
		for (into = -1; into <= 1; into++)
			for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
				open_at(book, 0);
				mark(book, page * 4096 + 1 + (uint64_t)into, sizes[i]);
			}
}

static void
what_lies_beyond_is_left_out(void **state)
{
	struct book *book = *state;

	mark(book, (uint64_t)PAGES * 4096, 1);
	mark(book, UINT64_MAX, 1);
	mark(book, UINT64_MAX - 4095, 4096);
	mark(book, (uint64_t)(PAGES - 1) * 4096, UINT64_MAX);
	open_at(book, 0);
	mark(book, (uint64_t)(PAGES - 3) * 4096, 0x100000);
	assert_true(rp_vhu_log_covers(book->log, 0, (uint64_t)PAGES * 4096));
	assert_false(rp_vhu_log_covers(book->log, 0, (uint64_t)PAGES * 4096 + 1));
	assert_false(rp_vhu_log_covers(book->log, 1, (uint64_t)PAGES * 4096));
	assert_true(rp_vhu_log_covers(book->log, UINT64_MAX, 0));
	assert_false(rp_vhu_log_covers(book->log, UINT64_MAX, 1));
	assert_false(rp_vhu_log_covers(book->log, 2, UINT64_MAX));
}

static void
anywhere_in_the_file(void **state)
{
	static const uint64_t offsets[] = {1, 7, 8, 64, 4095, 4096, 4097, FILE_BYTES - LOG_BYTES};
	struct book *book = *state;
	unsigned int i;

	for (i = 0; i < sizeof(offsets) / sizeof(offsets[0]); i++) {
		open_at(book, offsets[i]);
		mark(book, 0, 1);
		mark(book, (uint64_t)(PAGES - 1) * 4096, 4096);
		mark(book, 100 * 4096, 20 * 4096);
	}
}

static void
refuse(int fd, uint64_t size_bytes, uint64_t offset_bytes, const char *words)
{
	struct rp_vhu_log *log = NULL;
	struct rp_wire_why why;

	assert_int_equal(rp_vhu_log_create(fd, size_bytes, offset_bytes, &log, &why), -EBADMSG);
	assert_null(log);
	assert_non_null(strstr(why.text, words));
}

static void
what_cannot_be_a_log(void **state)
{
	struct book *book = *state;
	RP_WIRE_FD_SCOPED int event = eventfd(0, EFD_CLOEXEC);
	RP_WIRE_FD_SCOPED int reading = -1;
	char path[64];

	refuse(book->fd, 0, 0, "expected at least one");
	refuse(book->fd, UINT64_MAX, 2, "none beyond 2^64");
	refuse(book->fd, FILE_BYTES + 1, 0, "ends at");
	refuse(book->fd, LOG_BYTES, FILE_BYTES - LOG_BYTES + 1, "ends at");
	refuse(event, 8, 0, "no file");
	refuse(-1, 8, 0, "descriptor");
	snprintf(path, sizeof(path), "/proc/self/fd/%d", book->fd);
	reading = open(path, O_RDONLY | O_CLOEXEC);
	refuse(reading, LOG_BYTES, 0, "mmap");
}

struct marker {
	pthread_t thread;
	struct book *book;
	unsigned int bit;
};

static void *
mark_every_eighth(void *ctx)
{
	struct marker *marker = ctx;
	unsigned int page;

	for (page = marker->bit; page < PAGES; page += 8)
		rp_vhu_log_mark(marker->book->log, (uint64_t)page * 4096, 1);
	return NULL;
}

/* Eight threads write eight bits of the same bytes, while the frontend takes them. */
static void
no_bit_is_lost(void **state)
{
	struct marker markers[8];
	struct book *book = *state;
	unsigned int i, round, taken[PAGES] = {0};

	for (round = 0; round < 50; round++) {
		for (i = 0; i < 8; i++) {
			markers[i] = (struct marker){.book = book, .bit = i};
			assert_int_equal(pthread_create(&markers[i].thread, NULL, mark_every_eighth, &markers[i]), 0);
		}
		for (i = 0; i < 8; i++)
			pthread_join(markers[i].thread, NULL);
		for (i = 0; i < PAGES; i++)
			taken[i] +=
				__atomic_exchange_n(&book->file[i / 8], book->file[i / 8] & (uint8_t) ~(1u << i % 8),
						    __ATOMIC_SEQ_CST) >>
					i % 8 &
				1;
	}
	for (i = 0; i < PAGES; i++)
		assert_int_equal(taken[i], 50);
}

/* Whatever a frontend keeps it in, nothing of it stays mapped. */
static void
a_log_in_huge_pages(void **state)
{
	const uint64_t offset = TEST_HUGE_PAGE_BYTES + 2 * FILE_BYTES;
	struct rp_vhu_log *log = NULL;
	struct rp_wire_why why = {0};
	struct test_leaks before;
	int fd = test_huge_memfd(2 * TEST_HUGE_PAGE_BYTES);
	uint8_t *file = mmap(NULL, 2 * TEST_HUGE_PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	(void)state;
	assert_true(file != MAP_FAILED);
	test_leaks_read(&before);
	if (rp_vhu_log_create(fd, LOG_BYTES, offset, &log, &why) != 0)
		fail_msg("log: %s", why.text);
	rp_vhu_log_mark(log, 0, 1);
	rp_vhu_log_destroy(log);
	test_leaks_assert_none(&before);
	assert_int_equal(file[offset], 1);
	munmap(file, 2 * TEST_HUGE_PAGE_BYTES);
	rp_wire_fd_close(&fd);
}

#define WITH_BOOK(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_BOOK(bits_are_where_the_specification_has_them),
		WITH_BOOK(every_boundary),
		WITH_BOOK(what_lies_beyond_is_left_out),
		WITH_BOOK(anywhere_in_the_file),
		WITH_BOOK(what_cannot_be_a_log),
		WITH_BOOK(no_bit_is_lost),
		cmocka_unit_test(a_log_in_huge_pages),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
