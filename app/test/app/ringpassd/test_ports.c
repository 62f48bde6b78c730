/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "fake_port.h"
#include "ports.h"
#include "test_support.h"

struct fixture {
	struct event_base *base;
	struct rpd_ports *ports;
	char log[4096]; /* "port name text" lines */
};

static void
remember(void *ctx, const struct rp_port_event *event)
{
	struct fixture *fixture = ctx;
	size_t used = strlen(fixture->log);

	snprintf(fixture->log + used, sizeof(fixture->log) - used, "%s %s %s\n", event->port, event->name, event->text);
}

static int
set_up(void **state)
{
	struct fixture *fixture = calloc(1, sizeof(*fixture));
	struct rpd_ports_config config = {.registry = &fake_registry, .event = remember, .ctx = fixture};

	fake_ports_reset();
	fixture->base = event_base_new();
	config.base = fixture->base;
	assert_int_equal(rpd_ports_create(&config, &fixture->ports), 0);
	*state = fixture;
	return 0;
}

static int
tear_down(void **state)
{
	struct fixture *fixture = *state;

	rpd_ports_destroy(fixture->ports);
	event_base_free(fixture->base);
	free(fixture);
	assert_int_equal(fake_ports.alive_count, 0);
	return 0;
}

static struct rpd_port_spec
spec_of(const char *name, const char *socket_path)
{
	static char arguments[] = "fake,socket=/f", *accelerators[] = {arguments};
	struct rpd_port_spec spec = {.reconnect_ms = 10, .accelerators_count = 1, .accelerators = accelerators};

	snprintf(spec.name, sizeof(spec.name), "%s", name);
	snprintf(spec.socket_path, sizeof(spec.socket_path), "%s", socket_path);
	return spec;
}

static int
add(struct fixture *fixture, const char *name, const char *socket_path, struct rp_wire_why *why)
{
	struct rpd_port_spec spec = spec_of(name, socket_path);

	memset(why, 0, sizeof(*why));
	return rpd_ports_add(fixture->ports, &spec, why);
}

static unsigned int
count_in_log(const struct fixture *fixture, const char *text)
{
	const char *at = fixture->log;
	unsigned int count = 0;

	while ((at = strstr(at, text)) != NULL) {
		count++;
		at++;
	}
	return count;
}

static void
fail_next(int error, const char *text)
{
	fake_ports.create_error = error;
	fake_ports.create_text = text;
}

static void
test_add_find_remove(void **state)
{
	struct fixture *fixture = *state;
	struct rpd_port *entry = NULL;
	struct rp_wire_why why;

	assert_int_equal(add(fixture, "a", "/tmp/a", &why), 0);
	assert_int_equal(add(fixture, "b", "/tmp/b", &why), 0);
	assert_int_equal(fake_ports.alive_count, 2);
	entry = rpd_ports_next(fixture->ports, entry);
	assert_string_equal(entry->spec.name, "a");
	entry = rpd_ports_next(fixture->ports, entry);
	assert_string_equal(entry->spec.name, "b");
	assert_null(rpd_ports_next(fixture->ports, entry));
	assert_non_null(rpd_ports_find(fixture->ports, "a")->port);
	assert_int_equal(rpd_ports_remove(fixture->ports, "a", &why), 0);
	assert_int_equal(fake_ports.alive_count, 1);
	assert_null(rpd_ports_find(fixture->ports, "a"));
	assert_int_equal(rpd_ports_remove(fixture->ports, "a", &why), -ENOENT);
	assert_string_equal(why.text, "port: found 'a', which is no port");
	assert_int_equal(count_in_log(fixture, "a port-removed"), 1);
}

static void
test_ports_are_served(void **state)
{
	struct fixture *fixture = *state;
	struct rp_wire_why why;

	assert_int_equal(add(fixture, "a", "/tmp/a", &why), 0);
	event_base_loop(fixture->base, EVLOOP_NONBLOCK);
	assert_int_equal(fake_ports.process_count, 0);
	fake_port_poke(rpd_ports_find(fixture->ports, "a")->port);
	event_base_loop(fixture->base, EVLOOP_NONBLOCK);
	assert_int_equal(fake_ports.process_count, 1);
	/* A descriptor that is readable when its port goes must not be served after. */
	fake_port_poke(rpd_ports_find(fixture->ports, "a")->port);
	assert_int_equal(rpd_ports_remove(fixture->ports, "a", &why), 0);
	event_base_loop(fixture->base, EVLOOP_NONBLOCK);
	assert_int_equal(fake_ports.process_count, 1);
}

static bool
is_up(void *ctx)
{
	struct fixture *fixture = ctx;

	event_base_loop(fixture->base, EVLOOP_NONBLOCK);
	return rpd_ports_find(fixture->ports, "a")->port != NULL;
}

static bool
tried_often(void *ctx)
{
	struct fixture *fixture = ctx;

	event_base_loop(fixture->base, EVLOOP_NONBLOCK);
	return fake_ports.create_count >= 5;
}

static void
test_late_accelerator(void **state)
{
	struct fixture *fixture = *state;
	struct rp_wire_why why;

	fail_next(-ENOENT, "/f: connect: No such file or directory");
	assert_int_equal(add(fixture, "a", "/tmp/a", &why), 0);
	assert_null(rpd_ports_find(fixture->ports, "a")->port);
	assert_string_equal(rpd_ports_find(fixture->ports, "a")->reason, "/f: connect: No such file or directory");
	assert_true(test_wait(tried_often, fixture, 5000));
	assert_int_equal(count_in_log(fixture, "port-waiting"), 1);

	/* Another reason is news, and one that looks final is no reason to give up. */
	fail_next(-EPROTO, "version 7");
	fake_ports.create_count = 0;
	assert_true(test_wait(tried_often, fixture, 5000));
	assert_int_equal(count_in_log(fixture, "port-waiting"), 2);

	fail_next(0, NULL);
	assert_true(test_wait(is_up, fixture, 5000));
	assert_int_equal(count_in_log(fixture, "a port-up"), 1);
	assert_string_equal(rpd_ports_find(fixture->ports, "a")->reason, "");
	fake_ports.create_count = 0;
	event_base_loop(fixture->base, EVLOOP_NONBLOCK);
	assert_int_equal(fake_ports.create_count, 0);
}

static void
test_remove_while_waiting(void **state)
{
	struct fixture *fixture = *state;
	struct rp_wire_why why;

	fail_next(-ECONNREFUSED, "/f: connect: Connection refused");
	assert_int_equal(add(fixture, "a", "/tmp/a", &why), 0);
	assert_int_equal(rpd_ports_remove(fixture->ports, "a", &why), 0);
	assert_int_equal(event_base_get_num_events(fixture->base, EVENT_BASE_COUNT_ADDED), 0);
}

static void
test_what_waiting_cannot_mend(void **state)
{
	static const int errors[] = {-EBADMSG, -EINVAL, -EADDRINUSE, -EACCES, -ENOMEM, -ENOTSUP, -EEXIST};
	struct fixture *fixture = *state;
	struct rpd_port_spec spec;
	struct rp_wire_why why;
	unsigned int i;

	for (i = 0; i < sizeof(errors) / sizeof(errors[0]); i++) {
		fail_next(errors[i], "the reason");
		assert_int_equal(add(fixture, "a", "/tmp/a", &why), errors[i]);
		assert_string_equal(why.text, "the reason");
		assert_null(rpd_ports_find(fixture->ports, "a"));
	}
	fail_next(0, NULL);
	assert_int_equal(add(fixture, "a", "/nonexistent/a", &why), -ENOTDIR);
	assert_string_equal(why.text, "socket: found no directory /nonexistent, expected it to exist");
	spec = spec_of("a", "/tmp/a");
	snprintf(spec.software_path, sizeof(spec.software_path), "/nonexistent/b");
	spec.software_mode = RPD_SOFTWARE_SERVER;
	assert_int_equal(rpd_ports_add(fixture->ports, &spec, &why), -ENOTDIR);
	assert_string_equal(why.text, "software: found no directory /nonexistent, expected it to exist");
	spec.software_mode = RPD_SOFTWARE_CLIENT; /* whoever listens there makes it */
	assert_int_equal(rpd_ports_add(fixture->ports, &spec, &why), 0);
}

static void
test_duplicates(void **state)
{
	struct fixture *fixture = *state;
	struct rp_wire_why why;

	assert_int_equal(add(fixture, "a", "/tmp/a", &why), 0);
	assert_int_equal(add(fixture, "a", "/tmp/b", &why), -EEXIST);
	assert_string_equal(why.text, "name: found 'a', which is a port already");
	assert_int_equal(add(fixture, "b", "/tmp/a", &why), -EEXIST);
	assert_string_equal(why.text, "socket: found '/tmp/a', which is a socket of port a");
	assert_int_equal(fake_ports.create_count, 1);
}

static void
test_limit(void **state)
{
	struct fixture *fixture = *state;
	struct rp_wire_why why;
	char name[32], path[32];
	unsigned int i;

	for (i = 0; i < RPD_PORTS_MAX; i++) {
		snprintf(name, sizeof(name), "p%u", i);
		snprintf(path, sizeof(path), "/tmp/p%u", i);
		assert_int_equal(add(fixture, name, path, &why), 0);
	}
	assert_int_equal(add(fixture, "more", "/tmp/more", &why), -ENOSPC);
	assert_int_equal(rpd_ports_remove(fixture->ports, "p7", &why), 0);
	assert_int_equal(add(fixture, "more", "/tmp/more", &why), 0);
}

static unsigned int
announced(int notify_fd, const char *text)
{
	char message[512];
	unsigned int found = 0;
	ssize_t bytes;

	while ((bytes = recv(notify_fd, message, sizeof(message) - 1, MSG_DONTWAIT)) > 0) {
		message[bytes] = '\0';
		if (strcmp(message, text) == 0)
			found++;
	}
	return found;
}

/* Both of a port's sockets are given to the store, and leave it with the port. */
static void
test_sockets_of_the_store(void **state)
{
	struct fixture *fixture = *state;
	struct rpd_service_config service_config = {
		.base = fixture->base, .keep = true, .event = remember, .ctx = fixture};
	struct rpd_ports_config config = {
		.base = fixture->base, .registry = &fake_registry, .event = remember, .ctx = fixture};
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int notify_fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	char directory[] = "/tmp/ringpass-test-ports.XXXXXX", path[64], software_path[64];
	struct rpd_port_spec spec;
	struct rpd_ports *ports;
	struct rp_wire_why why;

	assert_non_null(mkdtemp(directory));
	snprintf(path, sizeof(path), "%s/a", directory);
	snprintf(software_path, sizeof(software_path), "%s/b", directory);
	snprintf(address.sun_path, sizeof(address.sun_path), "%s/notify", directory);
	assert_int_equal(bind(notify_fd, (const struct sockaddr *)&address, sizeof(address)), 0);
	setenv("NOTIFY_SOCKET", address.sun_path, 1);
	assert_int_equal(rpd_service_create(&service_config, &config.service, &why), 0);
	assert_int_equal(rpd_ports_create(&config, &ports), 0);
	spec = spec_of("a", path);
	snprintf(spec.software_path, sizeof(spec.software_path), "%s", software_path);
	spec.software_mode = RPD_SOFTWARE_SERVER;
	assert_int_equal(rpd_ports_add(ports, &spec, &why), 0);
	assert_int_equal(access(path, F_OK), 0);
	assert_int_equal(access(software_path, F_OK), 0);
	assert_int_equal(rpd_service_sockets_count(config.service), 2);
	assert_int_equal(announced(notify_fd, "FDSTORE=1\nFDNAME=kept-software-a"), 1);
	assert_int_equal(rpd_ports_remove(ports, "a", &why), 0);
	assert_int_equal(announced(notify_fd, "FDSTOREREMOVE=1\nFDNAME=kept-port-a"), 1);
	assert_int_equal(access(path, F_OK), -1);
	assert_int_equal(access(software_path, F_OK), -1);
	assert_int_equal(rpd_service_sockets_count(config.service), 0);
	unsetenv("NOTIFY_SOCKET");
	rpd_ports_destroy(ports);
	rpd_service_destroy(config.service);
	close(notify_fd);
	unlink(address.sun_path);
	assert_int_equal(rmdir(directory), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_add_find_remove, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_ports_are_served, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_late_accelerator, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_remove_while_waiting, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_what_waiting_cannot_mend, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_duplicates, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_limit, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_sockets_of_the_store, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
