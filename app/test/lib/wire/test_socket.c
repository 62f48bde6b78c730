/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "rp_wire_fd.h"
#include "rp_wire_socket.h"
#include "test_support.h"

#define PATH_MAX_BYTES 107

static void
assert_nonblocking_cloexec(int fd)
{
	assert_int_equal(fcntl(fd, F_GETFL) & O_NONBLOCK, O_NONBLOCK);
	assert_int_equal(fcntl(fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
}

static int
listen_here(const char *path)
{
	struct rp_wire_why why = {0};
	int fd = -1;

	if (rp_wire_socket_listen(path, &fd, &why) != 0)
		fail_msg("listen: %s", why.text);
	return fd;
}

/* A killed server leaves its file; binding by hand makes one that nobody ever listened on. */
static void
make_socket_file(const char *path, int type)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	strcpy(address.sun_path, path);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	rp_wire_fd_close(&fd);
}

static void
peers_meet(void **state)
{
	const char *path = test_socket_path();
	struct test_leaks before;
	int listener, client = -1, served = -1;
	char byte = 'x';

	(void)state;
	test_leaks_read(&before);
	listener = listen_here(path);
	assert_nonblocking_cloexec(listener);
	assert_int_equal(rp_wire_socket_accept(listener, &served), -EAGAIN);
	assert_int_equal(served, -1);
	assert_int_equal(rp_wire_socket_connect(path, &client, NULL), 0);
	assert_nonblocking_cloexec(client);
	assert_int_equal(rp_wire_socket_accept(listener, &served), 0);
	assert_nonblocking_cloexec(served);
	assert_int_equal(write(client, &byte, 1), 1);
	byte = 0;
	assert_int_equal(read(served, &byte, 1), 1);
	assert_int_equal(byte, 'x');
	rp_wire_fd_close(&client);
	rp_wire_fd_close(&served);
	rp_wire_fd_close(&listener);
	unlink(path);
	test_leaks_assert_none(&before);
}

/* What it has sent by then is no error of its connection's. */
static void
peer_finds_an_end(void **state)
{
	const char *path = test_socket_path();
	char bytes[3 * 4096] = {0};
	struct test_leaks before;
	int listener, client = -1, served = -1;

	(void)state;
	test_leaks_read(&before);
	listener = listen_here(path);
	assert_int_equal(rp_wire_socket_connect(path, &client, NULL), 0);
	assert_int_equal(write(client, bytes, sizeof(bytes)), sizeof(bytes));
	assert_int_equal(rp_wire_socket_accept(listener, &served), 0);
	rp_wire_socket_end(served);
	rp_wire_fd_close(&served);
	assert_int_equal(read(client, bytes, sizeof(bytes)), 0);
	assert_int_equal(send(client, bytes, 1, MSG_NOSIGNAL), -1);
	assert_int_equal(errno, EPIPE);
	rp_wire_fd_close(&client);
	rp_wire_fd_close(&listener);
	unlink(path);
	test_leaks_assert_none(&before);
}

static void
stale_socket_is_replaced(void **state)
{
	const char *path = test_socket_path();
	int listener, client = -1;

	(void)state;
	listener = listen_here(path);
	rp_wire_fd_close(&listener);
	assert_int_equal(access(path, F_OK), 0);
	assert_int_equal(rp_wire_socket_connect(path, &client, NULL), -ECONNREFUSED);
	listener = listen_here(path);
	assert_int_equal(rp_wire_socket_connect(path, &client, NULL), 0);
	rp_wire_fd_close(&client);
	rp_wire_fd_close(&listener);
	unlink(path);
	make_socket_file(path, SOCK_STREAM);
	listener = listen_here(path);
	rp_wire_fd_close(&listener);
	unlink(path);
}

static void
live_socket_is_left_alone(void **state)
{
	const char *path = test_socket_path();
	struct rp_wire_why why = {0};
	int listener = listen_here(path);
	struct stat before, after;
	int second = -1, client = -1;

	(void)state;
	assert_int_equal(stat(path, &before), 0);
	assert_int_equal(rp_wire_socket_listen(path, &second, &why), -EADDRINUSE);
	assert_int_equal(second, -1);
	assert_non_null(strstr(why.text, path));
	assert_int_equal(stat(path, &after), 0);
	assert_int_equal(before.st_ino, after.st_ino);
	assert_int_equal(rp_wire_socket_connect(path, &client, NULL), 0);
	rp_wire_fd_close(&client);
	rp_wire_fd_close(&listener);
	unlink(path);
}

/* A full backlog refuses nobody, it makes them wait: such a server is busy, not dead. */
static void
busy_socket_is_left_alone(void **state)
{
	const char *path = test_socket_path();
	int listener = listen_here(path);
	int clients[64], second = -1, count = 0, rc = 0;

	(void)state;
	while (count < 64 && (rc = rp_wire_socket_connect(path, &clients[count], NULL)) == 0)
		count++;
	assert_int_equal(rc, -EAGAIN);
	assert_int_equal(rp_wire_socket_listen(path, &second, NULL), -EADDRINUSE);
	rp_wire_fd_close_all(clients, (unsigned int)count);
	rp_wire_fd_close(&listener);
	unlink(path);
}

static void
other_socket_types_are_left_alone(void **state)
{
	const char *path = test_socket_path();
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	int second = -1;

	(void)state;
	strcpy(address.sun_path, path);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(listen(fd, 1), 0);
	assert_int_equal(rp_wire_socket_listen(path, &second, NULL), -EADDRINUSE);
	rp_wire_fd_close(&fd);
	unlink(path);
}

static void
what_is_no_socket_is_left_alone(void **state)
{
	const char *path = test_socket_path();
	struct rp_wire_why why = {0};
	struct stat st;
	int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
	int listener = -1;

	(void)state;
	assert_int_equal(write(fd, "precious", 8), 8);
	rp_wire_fd_close(&fd);
	assert_int_equal(rp_wire_socket_listen(path, &listener, &why), -EEXIST);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_size, 8);
	unlink(path);
	assert_int_equal(symlink("/dev/null", path), 0);
	assert_int_equal(rp_wire_socket_listen(path, &listener, &why), -EEXIST);
	assert_int_equal(listener, -1);
	unlink(path);
}

static void
path_has_a_limit(void **state)
{
	char path[PATH_MAX_BYTES + 2];
	struct rp_wire_why why = {0};
	struct test_leaks before;
	int fd = -1;

	(void)state;
	test_leaks_read(&before);
	memset(path, 'p', sizeof(path));
	path[0] = '/';
	path[PATH_MAX_BYTES + 1] = '\0';
	assert_int_equal(rp_wire_socket_listen(path, &fd, &why), -ENAMETOOLONG);
	assert_non_null(strstr(why.text, "107"));
	assert_int_equal(rp_wire_socket_connect(path, &fd, &why), -ENAMETOOLONG);
	assert_int_equal(rp_wire_socket_listen("", &fd, &why), -EINVAL);
	assert_int_equal(rp_wire_socket_connect("", &fd, &why), -EINVAL);
	path[PATH_MAX_BYTES] = '\0';
	assert_int_equal(rp_wire_socket_connect(path, &fd, &why), -ENOENT);
	assert_int_equal(rp_wire_socket_listen("/nonexistent/dir/socket", &fd, &why), -ENOENT);
	assert_int_equal(fd, -1);
	test_leaks_assert_none(&before);
}

static void
longest_path_works(void **state)
{
	const char *path = test_socket_path();
	char longest[PATH_MAX_BYTES + 1];
	int listener, client = -1;
	size_t length = strlen(path);

	(void)state;
	memset(longest, 's', sizeof(longest));
	memcpy(longest, path, length);
	longest[PATH_MAX_BYTES] = '\0';
	listener = listen_here(longest);
	assert_int_equal(rp_wire_socket_connect(longest, &client, NULL), 0);
	rp_wire_fd_close(&client);
	rp_wire_fd_close(&listener);
	assert_int_equal(unlink(longest), 0);
}

static int
send_room(int fd)
{
	socklen_t length = sizeof(int);
	int bytes = 0;

	assert_int_equal(getsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, &length), 0);
	return bytes;
}

/* More when it is asked for, as far as the system allows; never less. */
static void
sending_gets_more_room(void **state)
{
	int ends[2], before, wide;

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
	before = send_room(ends[0]);
	rp_wire_socket_widen(ends[0], 1024);
	assert_int_equal(send_room(ends[0]), before);
	rp_wire_socket_widen(ends[0], before);
	wide = send_room(ends[0]);
	assert_true(wide > before);
	rp_wire_socket_widen(ends[0], before / 2);
	assert_int_equal(send_room(ends[0]), wide);
	rp_wire_fd_close(&ends[0]);
	rp_wire_fd_close(&ends[1]);
	rp_wire_socket_widen(-1, 1 << 20);
}

static void
judged(int fd, const char *words)
{
	char path[RP_WIRE_SOCKET_PATH_ROOM] = "untouched";
	struct rp_wire_why why = {0};

	assert_int_equal(rp_wire_socket_check_listening(fd, path, &why), -EINVAL);
	assert_non_null(strstr(why.text, words));
	assert_string_equal(path, "untouched");
	close(fd);
}

static void
test_check_listening(void **state)
{
	const struct sockaddr_un abstract = {.sun_family = AF_UNIX, .sun_path = "\0ringpass-test"};
	char path[RP_WIRE_SOCKET_PATH_ROOM];
	struct rp_wire_why why = {0};
	struct test_leaks before;
	int fd = -1, pair[2];

	(void)state;
	test_leaks_read(&before);
	assert_int_equal(rp_wire_socket_listen(test_socket_path(), &fd, NULL), 0);
	assert_int_equal(fcntl(fd, F_SETFD, 0), 0);
	assert_int_equal(fcntl(fd, F_SETFL, 0), 0);
	assert_int_equal(rp_wire_socket_check_listening(fd, path, &why), 0);
	assert_string_equal(path, test_socket_path());
	assert_nonblocking_cloexec(fd);
	close(fd);
	unlink(test_socket_path());

	judged(open("/dev/null", O_RDONLY | O_CLOEXEC), "found no socket");
	judged(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), "expected a Unix stream socket");
	judged(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0), "expected a Unix stream socket");
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	close(pair[1]);
	judged(pair[0], "found a socket that does not listen");
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(fd, (const struct sockaddr *)&abstract, sizeof(abstract)), 0);
	assert_int_equal(listen(fd, 1), 0);
	judged(fd, "without a path");
	test_leaks_assert_none(&before);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_check_listening),
		cmocka_unit_test(peers_meet),
		cmocka_unit_test(peer_finds_an_end),
		cmocka_unit_test(stale_socket_is_replaced),
		cmocka_unit_test(live_socket_is_left_alone),
		cmocka_unit_test(busy_socket_is_left_alone),
		cmocka_unit_test(other_socket_types_are_left_alone),
		cmocka_unit_test(what_is_no_socket_is_left_alone),
		cmocka_unit_test(path_has_a_limit),
		cmocka_unit_test(longest_path_works),
		cmocka_unit_test(sending_gets_more_room),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
