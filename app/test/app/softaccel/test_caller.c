/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/uio.h>
#include <unistd.h>

#include "rp_wire_fd.h"
#include "sa_caller.h"
#include "test_support.h"

/* A call that waits ends the program: nobody would read what it waits for. */
#define LIMIT_S 60u
#define CALLS 20000u
#define FULL (UINT64_MAX - 1)

static struct {
	struct sa_caller *caller;
	int eventfd;
} fixture;

static int
setup(void **state)
{
	(void)state;
	alarm(LIMIT_S);
	/* As a client makes it that means harm. */
	fixture.eventfd = eventfd(0, EFD_CLOEXEC);
	assert_true(fixture.eventfd >= 0);
	assert_int_equal(sa_caller_take(&fixture.caller), 0);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	fixture.caller = sa_caller_give(fixture.caller);
	rp_wire_fd_close(&fixture.eventfd);
	alarm(0);
	return 0;
}

static uint64_t
drain(void)
{
	uint64_t count = 0;
	struct iovec iov = {.iov_base = &count, .iov_len = sizeof(count)};

	return preadv2(fixture.eventfd, &iov, 1, -1, RWF_NOWAIT) == (ssize_t)sizeof(count) ? count : 0;
}

/* More than the kernel keeps completions of. */
static void
each_call_is_one(void **state)
{
	unsigned int i;

	(void)state;
	for (i = 0; i < CALLS; i++)
		assert_int_equal(sa_caller_call(fixture.caller, fixture.eventfd), 0);
	assert_int_equal(drain(), CALLS);
	assert_int_equal(drain(), 0);
}

static void
full_is_left_full(void **state)
{
	unsigned int i;

	(void)state;
	assert_int_equal(eventfd_write(fixture.eventfd, FULL), 0);
	for (i = 0; i < 3; i++)
		assert_int_equal(sa_caller_call(fixture.caller, fixture.eventfd), 0);
	assert_true(drain() >= FULL);
	assert_int_equal(sa_caller_call(fixture.caller, fixture.eventfd), 0);
	assert_int_equal(drain(), 1);
}

int __real_poll(struct pollfd *fds, nfds_t count, int timeout_ms);
int __wrap_poll(struct pollfd *fds, nfds_t count, int timeout_ms);

/* Who looks whether there is room finds none when he writes. */
int
__wrap_poll(struct pollfd *fds, nfds_t count, int timeout_ms)
{
	int rc = __real_poll(fds, count, timeout_ms);

	fcntl(fixture.eventfd, F_SETFL, O_NONBLOCK);
	eventfd_write(fixture.eventfd, FULL);
	fcntl(fixture.eventfd, F_SETFL, 0);
	return rc;
}

static void
no_look_before_is_relied_on(void **state)
{
	(void)state;
	assert_int_equal(sa_caller_call(fixture.caller, fixture.eventfd), 0);
	assert_int_equal(drain(), 1);
}

/* A pipe would take the bytes, and make the next one wait. */
static void
only_eventfds_are_called(void **state)
{
	int ends[2];
	char byte;

	(void)state;
	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	assert_int_equal(sa_caller_call(fixture.caller, ends[1]), -EINVAL);
	rp_wire_fd_close(&ends[1]);
	assert_int_equal(read(ends[0], &byte, 1), 0);
	rp_wire_fd_close(&ends[0]);
	assert_int_equal(sa_caller_call(fixture.caller, -1), -EBADF);
}

static void
given_back_is_taken_again(void **state)
{
	struct test_leaks before;
	struct sa_caller *other, *again;
	unsigned int i;

	(void)state;
	assert_int_equal(sa_caller_take(&other), 0);
	assert_ptr_not_equal(other, fixture.caller);
	other = sa_caller_give(other);
	assert_null(other);
	test_leaks_read(&before);
	for (i = 0; i < 10; i++) {
		assert_int_equal(sa_caller_take(&again), 0);
		assert_int_equal(sa_caller_call(again, fixture.eventfd), 0);
		again = sa_caller_give(again);
	}
	test_leaks_assert_none(&before);
	assert_int_equal(drain(), 10);
	assert_null(sa_caller_give(NULL));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(each_call_is_one, setup, teardown),
		cmocka_unit_test_setup_teardown(full_is_left_full, setup, teardown),
		cmocka_unit_test_setup_teardown(no_look_before_is_relied_on, setup, teardown),
		cmocka_unit_test_setup_teardown(only_eventfds_are_called, setup, teardown),
		cmocka_unit_test_setup_teardown(given_back_is_taken_again, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
