/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>

#include "fixture.h"
#include "rp_wire_fd.h"
#include "rp_wire_socket.h"

static bool
seen(struct test_port *port, const char *event, unsigned int times)
{
	int i;

	for (i = 0; i < LIMIT_MS && test_port_events(port, event) < times; i++)
		usleep(1000);
	return test_port_events(port, event) == times;
}

static int
accept_one(int listener)
{
	int fd = -1, i;

	for (i = 0; i < LIMIT_MS && rp_wire_socket_accept(listener, &fd) == -EAGAIN; i++)
		usleep(1000);
	assert_true(fd >= 0);
	return fd;
}

/* Client mode: the VMM listens, late, and comes back after each end. One line says that nobody is there. */
static void
a_vmm_that_listens(void **state)
{
	struct rp_port_config config = fixture_config();
	struct fixture f;
	int listener = -1, fd;
	unsigned int i;

	(void)state;
	fixture_begin(&f);
	config.socket_mode = RP_PORT_CLIENT;
	test_port_open(&f.port, &config, &fake_accel_registry);
	assert_true(seen(&f.port, "frontend-waiting", 1));
	assert_int_equal(rp_wire_socket_listen(config.socket_path, &listener, NULL), 0);
	for (i = 1; i <= 3; i++) {
		fd = accept_one(listener);
		assert_true(seen(&f.port, "frontend-connected", i));
		rp_wire_fd_close(&fd);
		assert_true(seen(&f.port, "frontend-disconnected", i));
	}
	assert_int_equal(test_port_events(&f.port, "frontend-waiting"), 1);
	rp_wire_fd_close(&listener);
	unlink(config.socket_path);
	/* It has been there since the last line, so that it is gone is news. */
	assert_true(seen(&f.port, "frontend-waiting", 2));
	test_port_close(&f.port);
	fake_accel_teardown();
	test_leaks_assert_none(&f.leaks);
}

struct giver {
	const char *path; /* of which it has a socket */
	int fd;
	int error;
	unsigned int asked;
};

static int
give(void *ctx, const char *path, int *ret_fd, struct rp_wire_why *why)
{
	struct giver *giver = ctx;

	giver->asked++;
	if (giver->error < 0)
		return rp_wire_why_set(why, giver->error, "the giver says no");
	if (giver->path != NULL && strcmp(path, giver->path) == 0)
		*ret_fd = rp_wire_fd_dup(giver->fd);
	return 0;
}

static const struct rp_port_ops giving_ops = {.listen = give};

static void
expect_connection(const char *path, int wanted)
{
	int fd = -1;

	assert_int_equal(rp_wire_socket_connect(path, &fd, NULL), wanted);
	rp_wire_fd_close(&fd);
}

/* The user's listening socket: used when there is one, and its file outlives the port. */
static void
a_listening_socket_of_the_users(void **state)
{
	struct rp_port_config config = fixture_config();
	struct giver giver = {.fd = -1};
	struct rp_wire_why why = {0};
	struct rp_port *port = NULL;
	struct fixture f;

	(void)state;
	fixture_begin(&f);
	assert_int_equal(rp_port_create(&config, &fake_accel_registry, &giving_ops, &giver, &port, &why), 0);
	assert_int_equal(giver.asked, 1);
	expect_connection(config.socket_path, 0);
	port = rp_port_destroy(port);
	expect_connection(config.socket_path, -ENOENT);

	assert_int_equal(rp_wire_socket_listen(config.socket_path, &giver.fd, NULL), 0);
	giver.path = config.socket_path;
	assert_int_equal(rp_port_create(&config, &fake_accel_registry, &giving_ops, &giver, &port, &why), 0);
	port = rp_port_destroy(port);
	expect_connection(config.socket_path, 0);
	unlink(config.socket_path);
	rp_wire_fd_close(&giver.fd);

	giver.error = -EACCES;
	assert_int_equal(rp_port_create(&config, &fake_accel_registry, &giving_ops, &giver, &port, &why), -EACCES);
	assert_string_equal(why.text, "the giver says no");
	config.socket_mode = RP_PORT_CLIENT;
	assert_int_equal(rp_port_create(&config, &fake_accel_registry, &giving_ops, &giver, &port, &why), 0);
	assert_int_equal(giver.asked, 3);
	rp_port_destroy(port);
	fake_accel_teardown();
	test_leaks_assert_none(&f.leaks);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_vmm_that_listens),
		cmocka_unit_test(a_listening_socket_of_the_users),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
