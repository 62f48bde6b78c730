/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "desk.h"
#include "rp_wire_caller.h"
#include "rp_wire_fd.h"

/* Who waits is ended. */
#define PATIENCE_S 10u

/* The backend holds the kick, and may have filled it, and have writing to it wait. */
static void
a_full_kick_is_not_waited_for(void **state)
{
	struct desk *desk = *state;
	int flags = fcntl(desk->kick_fd, F_GETFL);

	desk_negotiate(desk);
	desk_ring_start(desk, 2);
	assert_int_equal(eventfd_write(desk->kick_fd, UINT64_MAX - 1), 0);
	assert_int_equal(fcntl(desk->kick_fd, F_SETFL, flags & ~O_NONBLOCK), 0);
	alarm(PATIENCE_S);
	assert_int_equal(rp_vhu_frontend_kick(desk->frontend, 2), 0);
	assert_int_equal(rp_vhu_frontend_kick(desk->frontend, 2), 0);
	assert_int_equal(rp_wire_caller_drain(desk->kick_fd, NULL), 1);
	assert_int_equal(rp_vhu_frontend_kick(desk->frontend, 2), 0);
	assert_int_equal(rp_wire_caller_drain(desk->kick_fd, NULL), 1);
	alarm(0);
	assert_int_equal(fcntl(desk->kick_fd, F_SETFL, flags), 0);
}

/* A pipe would take the bytes, and have us wait when it is full. */
static void
a_kick_that_is_no_eventfd_is_not_written_to(void **state)
{
	struct desk *desk = *state;
	int pipe_fds[2], old_fd = desk->kick_fd;
	char byte;

	assert_int_equal(pipe2(pipe_fds, O_CLOEXEC | O_NONBLOCK), 0);
	desk->kick_fd = pipe_fds[1];
	desk_negotiate(desk);
	desk_ring_start(desk, 2);
	assert_int_equal(rp_vhu_frontend_kick(desk->frontend, 2), -EINVAL);
	assert_int_equal(read(pipe_fds[0], &byte, 1), -1);
	desk->kick_fd = old_fd;
	rp_wire_fd_close_all(pipe_fds, 2);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_DESK(a_full_kick_is_not_waited_for),
		WITH_DESK(a_kick_that_is_no_eventfd_is_not_written_to),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
