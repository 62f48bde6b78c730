/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "peer.h"
#include "rp_wire_fd.h"
#include "rp_wire_socket.h"
#include "test_support.h"

/* A child that listens, says so through a pipe, and waits to be killed; or lets a child of its own do that. */
static pid_t
listener(bool leave_it_to_a_child, pid_t *ret_grandchild)
{
	const char *path = test_socket_path();
	pid_t pid, grandchild = 0;
	int ready[2];

	assert_int_equal(pipe(ready), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		int fd;

		if (rp_wire_socket_listen(path, &fd, NULL) < 0)
			_exit(1);
		if (leave_it_to_a_child)
			grandchild = fork();
		if (!leave_it_to_a_child || grandchild > 0) {
			if (write(ready[1], &grandchild, sizeof(grandchild)) < 0 || leave_it_to_a_child)
				_exit(1);
		}
		for (;;)
			pause();
	}
	assert_int_equal(read(ready[0], &grandchild, sizeof(grandchild)), sizeof(grandchild));
	close(ready[0]);
	close(ready[1]);
	*ret_grandchild = grandchild;
	return pid;
}

static bool
has_exited(void *ctx)
{
	return vfio_user_peer_exited(*(int *)ctx);
}

static void
an_end_is_seen(void **state)
{
	RP_WIRE_FD_SCOPED int fd = -1;
	RP_WIRE_FD_SCOPED int pidfd = -1;
	pid_t grandchild, pid = listener(false, &grandchild);
	int peer_pid;

	(void)state;
	assert_int_equal(rp_wire_socket_connect(test_socket_path(), &fd, NULL), 0);
	pidfd = vfio_user_peer_open(fd, &peer_pid);
	assert_true(pidfd >= 0);
	assert_int_equal(peer_pid, pid);
	assert_false(vfio_user_peer_exited(pidfd));
	kill(pid, SIGSTOP);
	assert_false(test_wait(has_exited, &pidfd, 20));
	kill(pid, SIGKILL);
	/* Also before anybody reaps it. */
	assert_true(test_wait(has_exited, &pidfd, 2000));
	waitpid(pid, NULL, 0);
	assert_true(vfio_user_peer_exited(pidfd));
}

static void
a_listener_that_left_it_to_a_child_proves_nothing(void **state)
{
	RP_WIRE_FD_SCOPED int fd = -1;
	pid_t grandchild, pid = listener(true, &grandchild);
	int peer_pid = 1;

	(void)state;
	waitpid(pid, NULL, 0);
	assert_int_equal(rp_wire_socket_connect(test_socket_path(), &fd, NULL), 0);
	assert_int_equal(vfio_user_peer_open(fd, &peer_pid), -1);
	assert_int_equal(peer_pid, 0);
	kill(grandchild, SIGKILL);
}

static void
what_is_no_socket_proves_nothing(void **state)
{
	int peer_pid = 1;

	(void)state;
	assert_int_equal(vfio_user_peer_open(STDIN_FILENO, &peer_pid), -1);
	assert_int_equal(peer_pid, 0);
	assert_false(vfio_user_peer_exited(-1));
}

/* The kernel says whose descriptor it is; a number would not do. */
static void
a_descriptor_that_came_along(void **state)
{
	RP_WIRE_FD_SCOPED int fd = -1;
	RP_WIRE_FD_SCOPED int pidfd = -1, own_pidfd = (int)syscall(SYS_pidfd_open, getpid(), 0);
	pid_t grandchild, pid = listener(false, &grandchild);
	struct rp_wire_why why;
	int peer_pid;

	(void)state;
	assert_int_equal(rp_wire_socket_connect(test_socket_path(), &fd, NULL), 0);
	pidfd = vfio_user_peer_open(fd, &peer_pid);
	assert_int_equal(vfio_user_peer_check(pidfd, fd, &why), 0);
	assert_int_equal(vfio_user_peer_check(own_pidfd, fd, &why), -EBADMSG);
	assert_non_null(strstr(why.text, ", which is at the other end"));
	assert_int_equal(vfio_user_peer_check(fd, fd, &why), -EBADMSG);
	assert_string_equal(why.text, "peer: not a descriptor of a process");
	kill(pid, SIGKILL);
	assert_true(test_wait(has_exited, &pidfd, 2000));
	assert_int_equal(vfio_user_peer_check(pidfd, fd, &why), -ENOTCONN);
	waitpid(pid, NULL, 0);
	assert_int_equal(vfio_user_peer_check(pidfd, fd, &why), -ENOTCONN);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_end_is_seen),
		/* Before that whose listener nobody reaps: it may be there for a moment longer. */
		cmocka_unit_test(a_descriptor_that_came_along),
		cmocka_unit_test(a_listener_that_left_it_to_a_child_proves_nothing),
		cmocka_unit_test(what_is_no_socket_proves_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
