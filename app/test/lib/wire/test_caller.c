/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "rp_wire_caller.h"
#include "rp_wire_fd.h"
#include "test_support.h"

/* What waits ends the program: nobody would read, or write, what it waits for. */
#define LIMIT_S 20u
#define CALLS 20000u
#define FULL (UINT64_MAX - 1)

static struct {
	struct rp_wire_caller *caller;
	int eventfd;
	bool fills_when_looked_at;
} fixture;

/* The linker's --wrap: a kernel that has neither asynchronous I/O nor preadv2(2). */
static struct {
	bool set;
	unsigned int asked_count;
} bare_kernel;

long __real_syscall(long number, ...);
long __wrap_syscall(long number, ...);

long
__wrap_syscall(long number, ...)
{
	long arguments[6];
	unsigned int i;
	va_list list;

	va_start(list, number);
	for (i = 0; i < 6; i++)
		arguments[i] = va_arg(list, long);
	va_end(list);
	if (bare_kernel.set) {
		bare_kernel.asked_count++;
		errno = ENOSYS;
		return -1;
	}
	return __real_syscall(number, arguments[0], arguments[1], arguments[2], arguments[3], arguments[4],
			      arguments[5]);
}

static int
setup(void **state)
{
	(void)state;
	alarm(LIMIT_S);
	/* As a client makes it that means harm. */
	fixture.eventfd = eventfd(0, EFD_CLOEXEC);
	assert_true(fixture.eventfd >= 0);
	assert_int_equal(rp_wire_caller_take(&fixture.caller), 0);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	bare_kernel.set = false;
	fixture.fills_when_looked_at = false;
	fixture.caller = rp_wire_caller_give(fixture.caller);
	rp_wire_fd_close(&fixture.eventfd);
	alarm(0);
	return 0;
}

static uint64_t
drain(void)
{
	uint64_t count = 0;
	int rc = rp_wire_caller_drain(fixture.eventfd, &count);

	assert_in_range(rc, 0, 1);
	assert_int_equal(rc, count > 0);
	return count;
}

/* More than the kernel keeps completions of. */
static void
each_call_is_one(void **state)
{
	unsigned int i;

	(void)state;
	for (i = 0; i < CALLS; i++)
		assert_int_equal(rp_wire_caller_call(fixture.caller, fixture.eventfd), 0);
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
		assert_int_equal(rp_wire_caller_call(fixture.caller, fixture.eventfd), 0);
	assert_true(drain() >= FULL);
	assert_int_equal(rp_wire_caller_call(fixture.caller, fixture.eventfd), 0);
	assert_int_equal(drain(), 1);
}

int __real_poll(struct pollfd *fds, nfds_t count, int timeout_ms);
int __wrap_poll(struct pollfd *fds, nfds_t count, int timeout_ms);

/* Who looks whether there is room finds none when he writes. */
int
__wrap_poll(struct pollfd *fds, nfds_t count, int timeout_ms)
{
	int rc = __real_poll(fds, count, timeout_ms);

	if (!fixture.fills_when_looked_at)
		return rc;
	fcntl(fixture.eventfd, F_SETFL, O_NONBLOCK);
	eventfd_write(fixture.eventfd, FULL);
	fcntl(fixture.eventfd, F_SETFL, 0);
	return rc;
}

static void
no_look_before_is_relied_on(void **state)
{
	(void)state;
	/* There is only a look before. */
	if (test_emulated())
		skip();
	fixture.fills_when_looked_at = true;
	assert_int_equal(rp_wire_caller_call(fixture.caller, fixture.eventfd), 0);
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
	assert_int_equal(rp_wire_caller_call(fixture.caller, ends[1]), -EINVAL);
	rp_wire_fd_close(&ends[1]);
	assert_int_equal(read(ends[0], &byte, 1), 0);
	rp_wire_fd_close(&ends[0]);
	assert_int_equal(rp_wire_caller_call(fixture.caller, -1), -EBADF);
}

static void
what_is_empty_is_not_waited_for(void **state)
{
	(void)state;
	assert_int_equal(rp_wire_caller_drain(fixture.eventfd, NULL), 0);
	assert_int_equal(eventfd_write(fixture.eventfd, FULL), 0);
	assert_int_equal(rp_wire_caller_drain(fixture.eventfd, NULL), 1);
	assert_int_equal(drain(), 0);
}

static void
only_eventfds_are_drained(void **state)
{
	int ends[2], memory = test_memfd(0, false);

	(void)state;
	assert_int_equal(rp_wire_caller_drain(-1, NULL), -EBADF);
	assert_int_equal(rp_wire_caller_drain(memory, NULL), -EINVAL);
	rp_wire_fd_close(&memory);
	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	assert_int_equal(write(ends[1], "1234567", 7), 7);
	assert_int_equal(rp_wire_caller_drain(ends[0], NULL), -EINVAL);
	rp_wire_fd_close(&ends[1]);
	rp_wire_fd_close(&ends[0]);
}

/* What there is then: a look. */
static void
a_kernel_without_is_looked_at_first(void **state)
{
	struct rp_wire_caller *with_context = fixture.caller;
	int ends[2];

	(void)state;
	bare_kernel.set = true;
	/* None is kept that has one: the fixture's is in use. */
	assert_int_equal(rp_wire_caller_take(&fixture.caller), 0);
	with_context = rp_wire_caller_give(with_context);
	assert_true(bare_kernel.asked_count > 0);
	assert_int_equal(rp_wire_caller_call(fixture.caller, fixture.eventfd), 0);
	assert_int_equal(drain(), 1);
	assert_int_equal(drain(), 0);
	assert_int_equal(eventfd_write(fixture.eventfd, FULL), 0);
	assert_int_equal(rp_wire_caller_call(fixture.caller, fixture.eventfd), 0);
	assert_int_equal(drain(), FULL);
	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	assert_int_equal(rp_wire_caller_call(fixture.caller, ends[1]), -EINVAL);
	assert_int_equal(rp_wire_caller_drain(ends[0], NULL), -EINVAL);
	rp_wire_fd_close(&ends[1]);
	rp_wire_fd_close(&ends[0]);
	assert_int_equal(rp_wire_caller_call(fixture.caller, -1), -EBADF);
	assert_int_equal(rp_wire_caller_drain(-1, NULL), -EBADF);
}

/* Contexts are the address space's: what the parent gave back is nothing to its child. */
static void
a_child_has_its_own(void **state)
{
	struct rp_wire_caller *own;
	int status;
	pid_t child;

	(void)state;
	fixture.caller = rp_wire_caller_give(fixture.caller);
	child = fork();
	assert_true(child >= 0);
	if (child == 0)
		_exit(rp_wire_caller_take(&own) == 0 && rp_wire_caller_call(own, fixture.eventfd) == 0 ? 0 : 1);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
	assert_int_equal(drain(), 1);
}

static void
given_back_is_taken_again(void **state)
{
	struct test_leaks before;
	struct rp_wire_caller *other, *again;
	unsigned int i;

	(void)state;
	assert_int_equal(rp_wire_caller_take(&other), 0);
	assert_ptr_not_equal(other, fixture.caller);
	other = rp_wire_caller_give(other);
	assert_null(other);
	test_leaks_read(&before);
	for (i = 0; i < 10; i++) {
		assert_int_equal(rp_wire_caller_take(&again), 0);
		assert_int_equal(rp_wire_caller_call(again, fixture.eventfd), 0);
		again = rp_wire_caller_give(again);
	}
	test_leaks_assert_none(&before);
	assert_int_equal(drain(), 10);
	assert_null(rp_wire_caller_give(NULL));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		/* The first: the others leave contexts for the next one who takes. */
		cmocka_unit_test_setup_teardown(a_kernel_without_is_looked_at_first, setup, teardown),
		cmocka_unit_test_setup_teardown(each_call_is_one, setup, teardown),
		cmocka_unit_test_setup_teardown(full_is_left_full, setup, teardown),
		cmocka_unit_test_setup_teardown(no_look_before_is_relied_on, setup, teardown),
		cmocka_unit_test_setup_teardown(only_eventfds_are_called, setup, teardown),
		cmocka_unit_test_setup_teardown(what_is_empty_is_not_waited_for, setup, teardown),
		cmocka_unit_test_setup_teardown(only_eventfds_are_drained, setup, teardown),
		cmocka_unit_test_setup_teardown(a_child_has_its_own, setup, teardown),
		cmocka_unit_test_setup_teardown(given_back_is_taken_again, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
