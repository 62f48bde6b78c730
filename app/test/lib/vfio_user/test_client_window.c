/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "test_support.h"
#include "vfu_client_window.h"

/* The payload window: which file can be one, and which offsets are in it. */

#define BYTES 65536u

static void
test_bounds(void **state)
{
	struct rp_vfu_window window = {.bytes = NULL};
	int fd = test_memfd(2 * BYTES, true);

	(void)state;
	assert_null(rp_vfu_window_at(&window, 0, 0));
	assert_null(rp_vfu_window_at(&window, 0, 1));
	assert_int_equal(rp_vfu_window_open(&window, fd, BYTES, NULL), 0);
	close(fd);
	assert_ptr_equal(rp_vfu_window_at(&window, 0, BYTES), window.bytes);
	assert_ptr_equal(rp_vfu_window_at(&window, BYTES - 1, 1), window.bytes + BYTES - 1);
	/* The file is longer than what was agreed on; that is no reason to look there. */
	assert_null(rp_vfu_window_at(&window, 0, BYTES + 1));
	assert_null(rp_vfu_window_at(&window, BYTES, 1));
	assert_null(rp_vfu_window_at(&window, BYTES - 1, 2));
	assert_null(rp_vfu_window_at(&window, UINT64_MAX, 2));
	assert_null(rp_vfu_window_at(&window, UINT64_MAX - 1, UINT64_MAX));
	assert_null(rp_vfu_window_at(&window, 1, UINT64_MAX));
	window.bytes[BYTES - 1] = 1;
	rp_vfu_window_close(&window);
	assert_null(window.bytes);
	rp_vfu_window_close(&window);
}

static void
assert_refused(int fd, uint64_t size_bytes, const char *words)
{
	struct rp_vfu_window window = {.bytes = NULL};
	struct rp_wire_why why = {.text = ""};

	assert_int_equal(rp_vfu_window_open(&window, fd, size_bytes, &why), -EBADMSG);
	assert_non_null(strstr(why.text, words));
	assert_null(window.bytes);
	close(fd);
}

static void
test_files_that_cannot_be_one(void **state)
{
	int readonly = test_memfd(BYTES, false);

	(void)state;
	assert_int_equal(fcntl(readonly, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_WRITE), 0);
	assert_refused(readonly, BYTES, "mmap");
	assert_refused(test_memfd(BYTES, false), BYTES, "not sealed against shrinking");
	assert_refused(test_memfd(BYTES - 1, true), BYTES, "a file of 65535 bytes, expected 65536");
	assert_refused(test_memfd(BYTES, true), UINT64_MAX, "a file of 65536 bytes");
	assert_refused(eventfd(0, EFD_CLOEXEC), BYTES, "not a memfd");
	assert_refused(open("/dev/zero", O_RDWR | O_CLOEXEC), BYTES, "not a memfd");
}

static void
test_a_file_in_huge_pages(void **state)
{
	struct test_leaks before;
	int fd = test_huge_memfd(TEST_HUGE_PAGE_BYTES), copy = dup(fd);

	(void)state;
	assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK), 0);
	test_leaks_read(&before);
	assert_refused(copy, BYTES, "in pages of 2097152 bytes, expected 65536 in whole ones");
	before.fds_count--;
	test_leaks_assert_none(&before);
	close(fd);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_bounds),
		cmocka_unit_test(test_files_that_cannot_be_one),
		cmocka_unit_test(test_a_file_in_huge_pages),
	};

	return cmocka_run_group_tests_name("vfio-user client: payload window", tests, NULL, NULL);
}
