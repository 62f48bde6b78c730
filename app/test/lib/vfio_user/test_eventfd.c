/* SPDX-License-Identifier: BSD-3-Clause */
#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "rp_wire_fd.h"
#include "test_support.h"
#include "vfu_eventfd.h"

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

static void
test_signal(void **state)
{
	int event = eventfd(0, EFD_CLOEXEC);
	eventfd_t count;

	(void)state;
	rp_vfu_eventfd_signal(event);
	rp_vfu_eventfd_signal(event);
	assert_int_equal(eventfd_read(event, &count), 0);
	assert_int_equal(count, 2);
	/* Full and blocking: the peer made it so, and we do not wait for it. */
	assert_int_equal(eventfd_write(event, UINT64_MAX - 1), 0);
	rp_vfu_eventfd_signal(event);
	assert_int_equal(eventfd_read(event, &count), 0);
	assert_true(count == UINT64_MAX - 1);
	rp_vfu_eventfd_signal(-1);
	rp_wire_fd_close(&event);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_kinds),
		cmocka_unit_test(test_signal),
	};

	return cmocka_run_group_tests_name("vfio-user eventfds", tests, NULL, NULL);
}
