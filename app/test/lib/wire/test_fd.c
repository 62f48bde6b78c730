/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "rp_wire_fd.h"
#include "test_support.h"

static int
new_eventfd(void)
{
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

	assert_true(fd >= 0);
	return fd;
}

static bool
is_open(int fd)
{
	return fcntl(fd, F_GETFD) >= 0;
}

static void
close_leaves_none_and_keeps_errno(void **state)
{
	int fd = new_eventfd(), number = fd;

	(void)state;
	errno = ENOTTY;
	rp_wire_fd_close(&fd);
	assert_int_equal(errno, ENOTTY);
	assert_int_equal(fd, -1);
	assert_false(is_open(number));
	rp_wire_fd_close(&fd);
	assert_int_equal(fd, -1);
}

static void
close_all_skips_holes(void **state)
{
	struct test_leaks before;
	int fds[4] = {-1, -1, -1, -1};
	int i;

	(void)state;
	test_leaks_read(&before);
	fds[0] = new_eventfd();
	fds[2] = new_eventfd();
	fds[3] = new_eventfd();
	rp_wire_fd_close_all(fds, 4);
	for (i = 0; i < 4; i++)
		assert_int_equal(fds[i], -1);
	rp_wire_fd_close_all(NULL, 0);
	test_leaks_assert_none(&before);
}

static void
take_leaves_none(void **state)
{
	int fd = new_eventfd(), number = fd;
	int taken = rp_wire_fd_take(&fd);

	(void)state;
	assert_int_equal(taken, number);
	assert_int_equal(fd, -1);
	assert_true(is_open(taken));
	rp_wire_fd_close(&taken);
	assert_int_equal(rp_wire_fd_take(&taken), -1);
}

static void
dup_is_close_on_exec(void **state)
{
	int fd = new_eventfd();
	int copy = rp_wire_fd_dup(fd);

	(void)state;
	assert_true(copy >= 0);
	assert_int_not_equal(copy, fd);
	assert_int_equal(fcntl(copy, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
	rp_wire_fd_close(&copy);
	assert_true(is_open(fd));
	rp_wire_fd_close(&fd);
	assert_int_equal(rp_wire_fd_dup(-1), -EBADF);
}

static void
replace_closes_the_old_one(void **state)
{
	int held = new_eventfd(), fd = new_eventfd();
	int old = held, number = fd;

	(void)state;
	rp_wire_fd_replace(&held, &fd);
	assert_int_equal(held, number);
	assert_int_equal(fd, -1);
	assert_false(is_open(old));
	rp_wire_fd_replace(&held, &fd);
	assert_int_equal(held, -1);
	assert_false(is_open(number));
}

static void
scope_closes(void **state)
{
	struct test_leaks before;

	(void)state;
	test_leaks_read(&before);
	{
		RP_WIRE_FD_SCOPED int fd = new_eventfd();
		RP_WIRE_FD_SCOPED int none = -1;

		assert_true(is_open(fd));
		assert_int_equal(none, -1);
	}
	test_leaks_assert_none(&before);
}

static bool
kcmp_works(void)
{
	int fd = new_eventfd();
	bool works = rp_wire_fd_same(fd, fd) == 1;

	rp_wire_fd_close(&fd);
	if (!works)
		print_message("SKIP: this kernel or sandbox has no kcmp(2)\n");
	return works;
}

/* Identity is the open file: a copy is the same, a second open of the same inode is not. */
static void
same_compares_open_files(void **state)
{
	int a, copy, other;
	char path[32];

	(void)state;
	if (!kcmp_works())
		skip();
	a = test_memfd(4096, false);
	copy = rp_wire_fd_dup(a);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", a);
	other = open(path, O_RDWR | O_CLOEXEC);
	assert_true(other >= 0);
	assert_int_equal(rp_wire_fd_same(a, copy), 1);
	assert_int_equal(rp_wire_fd_same(a, other), 0);
	assert_int_equal(rp_wire_fd_same(a, -1), -EBADF);
	rp_wire_fd_close(&a);
	rp_wire_fd_close(&copy);
	rp_wire_fd_close(&other);
}

static void
same_compares_across_processes(void **state)
{
	int fd, other, child_status;
	int gate[2];
	pid_t child;
	char byte;

	(void)state;
	if (!kcmp_works())
		skip();
	fd = new_eventfd();
	other = new_eventfd();
	assert_int_equal(pipe2(gate, O_CLOEXEC), 0);
	child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		rp_wire_fd_close(&gate[1]);
		_exit(read(gate[0], &byte, 1) == 0 ? 0 : 1);
	}
	assert_int_equal(rp_wire_fd_same_process(getpid(), fd, child, fd), 1);
	assert_int_equal(rp_wire_fd_same_process(getpid(), fd, child, other), 0);
	rp_wire_fd_close(&gate[0]);
	rp_wire_fd_close(&gate[1]);
	assert_int_equal(waitpid(child, &child_status, 0), child);
	assert_int_equal(child_status, 0);
	assert_true(rp_wire_fd_same_process(getpid(), fd, child, fd) < 0);
	rp_wire_fd_close(&fd);
	rp_wire_fd_close(&other);
}

static void
pages_of_a_file(void **state)
{
	uint64_t own_bytes = (uint64_t)sysconf(_SC_PAGESIZE);
	RP_WIRE_FD_SCOPED int none = -1;
	RP_WIRE_FD_SCOPED int event = new_eventfd();
	RP_WIRE_FD_SCOPED int small = test_memfd(1, false);
	RP_WIRE_FD_SCOPED int huge = -1;

	(void)state;
	assert_int_equal(rp_wire_fd_page_bytes(none), own_bytes);
	assert_int_equal(rp_wire_fd_page_bytes(event), own_bytes);
	assert_int_equal(rp_wire_fd_page_bytes(small), own_bytes);
	huge = test_huge_memfd(TEST_HUGE_PAGE_BYTES);
	assert_int_equal(rp_wire_fd_page_bytes(huge), TEST_HUGE_PAGE_BYTES);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(close_leaves_none_and_keeps_errno),
		cmocka_unit_test(close_all_skips_holes),
		cmocka_unit_test(take_leaves_none),
		cmocka_unit_test(dup_is_close_on_exec),
		cmocka_unit_test(replace_closes_the_old_one),
		cmocka_unit_test(scope_closes),
		cmocka_unit_test(same_compares_open_files),
		cmocka_unit_test(same_compares_across_processes),
		cmocka_unit_test(pages_of_a_file),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
