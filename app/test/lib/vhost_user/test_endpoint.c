/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "peer.h"
#include "rp_vhu_endpoint.h"
#include "rp_wire_fd.h"
#include "rp_wire_socket.h"

static struct rp_vhu_endpoint_config
server(void)
{
	return (struct rp_vhu_endpoint_config){.path = test_socket_path(), .mode = RP_VHU_ENDPOINT_SERVER};
}

static struct rp_vhu_endpoint_config
client(uint32_t retry_ms)
{
	return (struct rp_vhu_endpoint_config){
		.path = test_socket_path(), .mode = RP_VHU_ENDPOINT_CLIENT, .retry_ms = retry_ms};
}

static struct rp_vhu_endpoint *
make(const struct rp_vhu_endpoint_config *config)
{
	struct rp_vhu_endpoint *endpoint = NULL;
	struct rp_wire_why why = {0};

	if (rp_vhu_endpoint_create(config, &endpoint, &why) != 0)
		fail_msg("endpoint: %s", why.text);
	return endpoint;
}

static void
refused(const struct rp_vhu_endpoint_config *config, int error, const char *words)
{
	struct rp_vhu_endpoint *endpoint = NULL;
	struct rp_wire_why why = {0};

	assert_int_equal(rp_vhu_endpoint_create(config, &endpoint, &why), error);
	assert_null(endpoint);
	assert_non_null(strstr(why.text, words));
}

static void
what_cannot_be(void **state)
{
	struct rp_vhu_endpoint_config config = server();
	char path[200];

	(void)state;
	config.path = NULL;
	refused(&config, -EINVAL, "path: is empty");
	config.path = "";
	refused(&config, -EINVAL, "path: is empty");
	memset(path, 'x', sizeof(path));
	path[108] = '\0';
	config.path = path;
	refused(&config, -ENAMETOOLONG, "path: is 108 bytes long, expected at most 107");
	config = server();
	config.mode = (enum rp_vhu_endpoint_mode)2;
	refused(&config, -EINVAL, "mode: 2");
	config = server();
	config.file_mode = 0100600;
	refused(&config, -EINVAL, "file_mode: 0100600");
	assert_null(rp_vhu_endpoint_destroy(NULL));
}

static void
a_server_gives_out_each_that_comes(void **state)
{
	const struct rp_vhu_endpoint_config config = server();
	struct rp_vhu_endpoint *endpoint;
	int ours[2] = {-1, -1}, theirs[2] = {-1, -1}, none = -1;
	struct test_leaks before;
	unsigned int i;

	(void)state;
	test_leaks_read(&before);
	endpoint = make(&config);
	assert_int_equal(rp_vhu_endpoint_deadline_ms(endpoint), 0);
	assert_false(peer_readable(rp_vhu_endpoint_fd(endpoint)));
	assert_int_equal(rp_vhu_endpoint_process(endpoint, 1, &none, NULL), -EAGAIN);
	assert_int_equal(none, -1);
	for (i = 0; i < 2; i++) {
		assert_int_equal(rp_wire_socket_connect(config.path, &theirs[i], NULL), 0);
		assert_true(peer_readable(rp_vhu_endpoint_fd(endpoint)));
		assert_int_equal(rp_vhu_endpoint_process(endpoint, 1, &ours[i], NULL), 0);
		assert_int_equal(fcntl(ours[i], F_GETFL) & O_NONBLOCK, O_NONBLOCK);
		assert_int_equal(fcntl(ours[i], F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
	}
	rp_vhu_endpoint_lost(endpoint, 5);
	assert_int_equal(rp_vhu_endpoint_deadline_ms(endpoint), 0);
	rp_wire_fd_close_all(ours, 2);
	rp_wire_fd_close_all(theirs, 2);
	rp_vhu_endpoint_destroy(endpoint);
	assert_int_equal(access(config.path, F_OK), -1);
	test_leaks_assert_none(&before);
}

/* All times are the caller's: nothing here waits. */
static void
a_client_tries_again(void **state)
{
	const struct rp_vhu_endpoint_config config = client(250), there = server();
	struct rp_vhu_endpoint *endpoint = make(&config), *listener;
	struct rp_wire_why why = {0};
	struct test_leaks before;
	int fd = -1;

	(void)state;
	test_leaks_read(&before);
	assert_int_equal(rp_vhu_endpoint_fd(endpoint), -1);
	assert_in_range(rp_vhu_endpoint_deadline_ms(endpoint), 1, 1000);
	assert_int_equal(rp_vhu_endpoint_process(endpoint, 1000, &fd, &why), -ENOENT);
	assert_non_null(strstr(why.text, config.path));
	assert_int_equal(rp_vhu_endpoint_deadline_ms(endpoint), 1250);
	listener = make(&there);
	assert_int_equal(rp_vhu_endpoint_process(endpoint, 1249, &fd, NULL), -EAGAIN);
	assert_int_equal(fd, -1);
	assert_int_equal(rp_vhu_endpoint_process(endpoint, 1250, &fd, NULL), 0);
	assert_true(fd >= 0);
	/* Connected: nothing to wait for until it is lost. */
	assert_int_equal(rp_vhu_endpoint_deadline_ms(endpoint), 0);
	assert_int_equal(rp_vhu_endpoint_process(endpoint, 9999, &fd, NULL), -EAGAIN);
	rp_wire_fd_close(&fd);
	rp_vhu_endpoint_lost(endpoint, 2000);
	assert_int_equal(rp_vhu_endpoint_deadline_ms(endpoint), 2250);
	assert_int_equal(rp_vhu_endpoint_process(endpoint, 2250, &fd, NULL), 0);
	rp_wire_fd_close(&fd);
	rp_vhu_endpoint_destroy(listener);
	test_leaks_assert_none(&before);
	rp_vhu_endpoint_destroy(endpoint);
}

static void
one_second_unless_told_otherwise(void **state)
{
	const struct rp_vhu_endpoint_config config = client(0);
	struct rp_vhu_endpoint *endpoint = make(&config);
	int fd = -1;

	(void)state;
	assert_int_equal(rp_vhu_endpoint_process(endpoint, 5, &fd, NULL), -ENOENT);
	assert_int_equal(rp_vhu_endpoint_deadline_ms(endpoint), 1005);
	rp_vhu_endpoint_destroy(endpoint);
}

/* A killed server leaves its file; a living one keeps it, and so does whatever is no socket. */
static void
only_a_stale_file_is_replaced(void **state)
{
	const struct rp_vhu_endpoint_config config = server();
	struct rp_vhu_endpoint *endpoint;
	struct test_leaks before;
	int fd = -1;

	(void)state;
	test_leaks_read(&before);
	assert_int_equal(rp_wire_socket_listen(config.path, &fd, NULL), 0);
	refused(&config, -EADDRINUSE, "another process listens there");
	rp_wire_fd_close(&fd);
	endpoint = make(&config);
	assert_int_equal(rp_wire_socket_connect(config.path, &fd, NULL), 0);
	rp_wire_fd_close(&fd);
	rp_vhu_endpoint_destroy(endpoint);
	fd = open(config.path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	rp_wire_fd_close(&fd);
	refused(&config, -EEXIST, "not a socket");
	assert_int_equal(access(config.path, F_OK), 0);
	unlink(config.path);
	test_leaks_assert_none(&before);
}

/* Taken away and listened on by somebody else: that is not ours to remove. */
static void
only_our_own_file_is_removed(void **state)
{
	const struct rp_vhu_endpoint_config config = server();
	struct rp_vhu_endpoint *first = make(&config), *second;
	int fd = -1;

	(void)state;
	assert_int_equal(unlink(config.path), 0);
	second = make(&config);
	rp_vhu_endpoint_destroy(first);
	assert_int_equal(rp_wire_socket_connect(config.path, &fd, NULL), 0);
	rp_wire_fd_close(&fd);
	rp_vhu_endpoint_destroy(second);
	assert_int_equal(access(config.path, F_OK), -1);
}

static void
permissions_whatever_the_umask(void **state)
{
	static const mode_t modes[] = {0600, 0660, 0777};
	struct rp_vhu_endpoint_config config = server();
	mode_t before = umask(0027);
	struct rp_vhu_endpoint *endpoint;
	struct stat st;
	unsigned int i;

	(void)state;
	for (i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
		config.file_mode = modes[i];
		endpoint = make(&config);
		assert_int_equal(lstat(config.path, &st), 0);
		assert_int_equal(st.st_mode & 07777, modes[i]);
		rp_vhu_endpoint_destroy(endpoint);
	}
	config.file_mode = 0;
	endpoint = make(&config);
	assert_int_equal(lstat(config.path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0750);
	rp_vhu_endpoint_destroy(endpoint);
	umask(before);
}

static void
refused_and_kept(struct rp_vhu_endpoint_config config, int fd, const char *words)
{
	int given = fd;

	config.listen_fd = &given;
	refused(&config, -EINVAL, words);
	assert_int_equal(given, fd);
}

/* A successor's: whoever waits since before is served, and the file outlives the endpoint. */
static void
a_given_socket(void **state)
{
	struct rp_vhu_endpoint_config config = server();
	int listener = -1, given, ours = -1, theirs = -1;
	struct rp_vhu_endpoint *endpoint;
	struct test_leaks before;

	(void)state;
	test_leaks_read(&before);
	assert_int_equal(rp_wire_socket_listen(config.path, &listener, NULL), 0);
	assert_int_equal(rp_wire_socket_connect(config.path, &theirs, NULL), 0);
	given = rp_wire_fd_dup(listener);
	config.listen_fd = &given;
	endpoint = make(&config);
	assert_int_equal(given, -1);
	assert_int_equal(rp_vhu_endpoint_process(endpoint, 1, &ours, NULL), 0);
	rp_wire_fd_close(&ours);
	rp_wire_fd_close(&theirs);
	rp_vhu_endpoint_destroy(endpoint);
	assert_int_equal(rp_wire_socket_connect(config.path, &theirs, NULL), 0);
	rp_wire_fd_close(&theirs);
	unlink(config.path);
	rp_wire_fd_close(&listener);
	test_leaks_assert_none(&before);
}

static void
a_given_descriptor_that_is_no_such_socket(void **state)
{
	struct rp_vhu_endpoint_config config = server();
	int listener = -1, connected = -1, file;
	struct test_leaks before;

	(void)state;
	test_leaks_read(&before);
	assert_int_equal(rp_wire_socket_listen(config.path, &listener, NULL), 0);
	assert_int_equal(rp_wire_socket_connect(config.path, &connected, NULL), 0);
	file = open("/dev/null", O_RDONLY | O_CLOEXEC);
	refused_and_kept(config, file, "listen_fd: found no socket");
	refused_and_kept(config, connected, "listen_fd: found a socket that does not listen");
	config.mode = RP_VHU_ENDPOINT_CLIENT;
	refused_and_kept(config, listener, "listen_fd: found one, expected none for a client");
	config.mode = RP_VHU_ENDPOINT_SERVER;
	config.path = "/tmp/elsewhere";
	refused_and_kept(config, listener, "expected /tmp/elsewhere");
	unlink(test_socket_path());
	rp_wire_fd_close(&listener);
	rp_wire_fd_close(&connected);
	rp_wire_fd_close(&file);
	test_leaks_assert_none(&before);
}

/* Somebody who has a connection already makes none, until that is lost. */
static void
a_connection_from_elsewhere(void **state)
{
	const struct rp_vhu_endpoint_config config = client(50);
	struct rp_vhu_endpoint *endpoint = make(&config);
	struct rp_wire_why why;
	int fd = -1;

	(void)state;
	assert_true(rp_vhu_endpoint_deadline_ms(endpoint) != 0);
	rp_vhu_endpoint_connected(endpoint);
	assert_int_equal(rp_vhu_endpoint_deadline_ms(endpoint), 0);
	assert_int_equal(rp_vhu_endpoint_process(endpoint, 1000, &fd, &why), -EAGAIN);
	rp_vhu_endpoint_lost(endpoint, 1000);
	assert_int_equal(rp_vhu_endpoint_deadline_ms(endpoint), 1050);
	rp_vhu_endpoint_destroy(endpoint);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_cannot_be),
		cmocka_unit_test(a_server_gives_out_each_that_comes),
		cmocka_unit_test(a_client_tries_again),
		cmocka_unit_test(one_second_unless_told_otherwise),
		cmocka_unit_test(only_a_stale_file_is_replaced),
		cmocka_unit_test(only_our_own_file_is_removed),
		cmocka_unit_test(permissions_whatever_the_umask),
		cmocka_unit_test(a_connection_from_elsewhere),
		cmocka_unit_test(a_given_socket),
		cmocka_unit_test(a_given_descriptor_that_is_no_such_socket),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
