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

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_vmm_that_listens),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
