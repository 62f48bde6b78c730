/* SPDX-License-Identifier: BSD-3-Clause */
#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "rp_wire_fd.h"
#include "test_support.h"
#include "vfu_eventfd.h"

/* Who waits is ended. */
#define PATIENCE_S 10u

static void
test_kinds(void **state)
{
	int event = eventfd(0, EFD_CLOEXEC), memory = test_memfd(4096, false);
	int sockets[2], pipes[2], null = open("/dev/null", O_RDWR | O_CLOEXEC);

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets), 0);
	assert_int_equal(pipe2(pipes, O_CLOEXEC), 0);
	assert_true(rp_vfu_eventfd_is(event));
	assert_false(rp_vfu_eventfd_is(memory));
	assert_false(rp_vfu_eventfd_is(sockets[0]));
	assert_false(rp_vfu_eventfd_is(pipes[1]));
	assert_false(rp_vfu_eventfd_is(null));
	assert_false(rp_vfu_eventfd_is(-1));
	rp_wire_fd_close_all(sockets, 2);
	rp_wire_fd_close_all(pipes, 2);
	rp_wire_fd_close(&event);
	rp_wire_fd_close(&memory);
	rp_wire_fd_close(&null);
}

/* The linker's --wrap: a peer that fills its eventfd when it was looked at. */
static int filled_fd = -1;

int __real_poll(struct pollfd *fds, nfds_t count, int timeout_ms);
int __wrap_poll(struct pollfd *fds, nfds_t count, int timeout_ms);

int
__wrap_poll(struct pollfd *fds, nfds_t count, int timeout_ms)
{
	int rc = __real_poll(fds, count, timeout_ms);

	if (filled_fd >= 0)
		assert_int_equal(eventfd_write(filled_fd, UINT64_MAX - 1), 0);
	return rc;
}

static void
test_no_look_before_is_relied_on(void **state)
{
	struct rp_wire_caller *caller;
	int event = eventfd(0, EFD_CLOEXEC);
	eventfd_t count;

	(void)state;
	/* There is nothing else. */
	if (test_emulated())
		skip();
	assert_int_equal(rp_wire_caller_take(&caller), 0);
	alarm(PATIENCE_S);
	filled_fd = event;
	rp_vfu_eventfd_signal(caller, event);
	filled_fd = -1;
	alarm(0);
	assert_int_equal(eventfd_read(event, &count), 0);
	assert_int_equal(count, 1);
	rp_wire_caller_give(caller);
	rp_wire_fd_close(&event);
}

static void
test_signal(void **state)
{
	struct rp_wire_caller *caller;
	int event = eventfd(0, EFD_CLOEXEC);
	eventfd_t count;

	(void)state;
	assert_int_equal(rp_wire_caller_take(&caller), 0);
	rp_vfu_eventfd_signal(caller, event);
	rp_vfu_eventfd_signal(caller, event);
	assert_int_equal(eventfd_read(event, &count), 0);
	assert_int_equal(count, 2);
	/* Full and blocking: the peer made it so, and we do not wait for it. */
	assert_int_equal(eventfd_write(event, UINT64_MAX - 1), 0);
	rp_vfu_eventfd_signal(caller, event);
	assert_int_equal(eventfd_read(event, &count), 0);
	assert_true(count >= UINT64_MAX - 1);
	rp_vfu_eventfd_signal(caller, -1);
	rp_wire_caller_give(caller);
	rp_wire_fd_close(&event);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_kinds),
		cmocka_unit_test(test_signal),
		cmocka_unit_test(test_no_look_before_is_relied_on),
	};

	return cmocka_run_group_tests_name("vfio-user eventfds", tests, NULL, NULL);
}
