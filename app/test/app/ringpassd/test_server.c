/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "fake_port.h"
#include "rp_wire_clock.h"
#include "rp_wire_fd.h"
#include "rp_wire_socket.h"
#include "server.h"
#include "test_support.h"

#define VERSION_CALL "{\"jsonrpc\":\"2.0\",\"id\":7,\"method\":\"version\"}\n"
#define WATCH_CALL "{\"jsonrpc\":\"2.0\",\"id\":8,\"method\":\"watch\"}\n"
#define SHOW_CALL "{\"jsonrpc\":\"2.0\",\"id\":9,\"method\":\"port.show\",\"params\":{\"port\":\"vm0\"}}\n"
#define DISABLE_CALL                                                                                                   \
	"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"queue.disable\",\"params\":{\"port\":\"vm0\",\"queue\":0}}\n"

struct fixture {
	struct event_base *base;
	struct rpd_rpc rpc;
	struct rpd_server *server;
	FILE *log;
	char events[4096]; /* names, one a line */
	struct test_leaks leaks;
};

static void
remember(void *ctx, const struct rp_port_event *event)
{
	struct fixture *fixture = ctx;
	size_t used = strlen(fixture->events);

	if (strcmp(event->name, "much") != 0)
		snprintf(fixture->events + used, sizeof(fixture->events) - used, "%s: %s\n", event->name, event->text);
	rpd_server_event(fixture->server, event);
}

static int
set_up_with(void **state, unsigned int stall_ms)
{
	struct fixture *fixture = calloc(1, sizeof(*fixture));
	struct rpd_ports_config ports_config = {.registry = &fake_registry, .event = remember, .ctx = fixture};
	struct rpd_server_config config = {
		.path = test_socket_path(), .event = remember, .ctx = fixture, .stall_ms = stall_ms};
	char arguments[] = "fake,socket=/f", *accelerators[] = {arguments};
	struct rpd_port_spec spec = {
		.name = "vm0", .socket_path = "/tmp/vm0", .accelerators_count = 1, .accelerators = accelerators};
	struct rp_wire_why why;

	test_leaks_read(&fixture->leaks);
	fake_ports_reset();
	fixture->log = fopen("/dev/null", "we");
	fixture->base = event_base_new();
	ports_config.base = config.base = fixture->base;
	config.rpc = &fixture->rpc;
	assert_int_equal(rpd_ports_create(&ports_config, &fixture->rpc.ports), 0);
	assert_int_equal(rpd_log_create(fixture->log, RP_PORT_EVENT_NOTICE, &fixture->rpc.log), 0);
	assert_int_equal(rpd_ports_add(fixture->rpc.ports, &spec, &why), 0);
	assert_int_equal(rpd_server_create(&config, &fixture->server, &why), 0);
	*state = fixture;
	return 0;
}

/* Nobody here is slow, however long it waits for a processor. */
static int
set_up(void **state)
{
	return set_up_with(state, 60000);
}

static int
set_up_impatient(void **state)
{
	return set_up_with(state, 500);
}

static int
tear_down(void **state)
{
	struct fixture *fixture = *state;

	fixture->server = rpd_server_destroy(fixture->server);
	assert_int_equal(access(test_socket_path(), F_OK), -1);
	rpd_ports_destroy(fixture->rpc.ports);
	rpd_log_destroy(fixture->rpc.log);
	event_base_free(fixture->base);
	fclose(fixture->log);
	test_leaks_assert_none(&fixture->leaks);
	free(fixture);
	return 0;
}

static void
turn(struct fixture *fixture)
{
	unsigned int i;

	for (i = 0; i < 4; i++)
		event_base_loop(fixture->base, EVLOOP_NONBLOCK);
}

static int
connect_client(struct fixture *fixture)
{
	struct rp_wire_why why;
	int fd = -1;

	assert_int_equal(rp_wire_socket_connect(test_socket_path(), &fd, &why), 0);
	turn(fixture);
	return fd;
}

static void
send_text(int fd, const char *text, size_t bytes)
{
	assert_int_equal(send(fd, text, bytes, MSG_NOSIGNAL), (ssize_t)bytes);
}

struct awaited {
	struct fixture *fixture;
	int fd;
	char text[8192];
	size_t bytes;
	bool closed;
};

static bool
line_came(void *ctx)
{
	struct awaited *awaited = ctx;
	ssize_t got;

	event_base_loop(awaited->fixture->base, EVLOOP_NONBLOCK);
	/* One byte at a time: what follows the line stays for the next. */
	while (awaited->bytes < sizeof(awaited->text) - 1) {
		got = recv(awaited->fd, awaited->text + awaited->bytes, 1, 0);
		if (got == 0 || (got < 0 && errno != EAGAIN)) {
			awaited->closed = true;
			return true;
		}
		if (got < 0)
			return false;
		if (awaited->text[awaited->bytes++] == '\n')
			return true;
	}
	return true;
}

/* One line must come and have `part` in it; NULL: the connection must end without one. */
static void
assert_line(struct fixture *fixture, int fd, const char *part)
{
	struct awaited awaited = {.fixture = fixture, .fd = fd};

	assert_true(test_wait(line_came, &awaited, 5000));
	if (part == NULL) {
		assert_true(awaited.closed);
		assert_int_equal(awaited.bytes, 0);
	} else if (strstr(awaited.text, part) == NULL) {
		fail_msg("'%s' is not in '%s'", part, awaited.text);
	}
}

static void
test_only_the_owner_may_connect(void **state)
{
	struct stat st;

	(void)state;
	assert_int_equal(stat(test_socket_path(), &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
}

static void
test_a_second_daemon_is_refused(void **state)
{
	struct fixture *fixture = *state;
	struct rpd_server_config config = {.base = fixture->base, .path = test_socket_path(), .event = remember};
	struct rpd_server *server;
	struct rp_wire_why why;

	assert_int_equal(rpd_server_create(&config, &server, &why), -EADDRINUSE);
}

static void
test_lines(void **state)
{
	struct fixture *fixture = *state;
	RP_WIRE_FD_SCOPED int fd = connect_client(fixture);
	size_t i;

	/* two in one packet, one in many */
	send_text(fd, VERSION_CALL VERSION_CALL, 2 * strlen(VERSION_CALL));
	assert_line(fixture, fd, "\"id\":7,\"result\"");
	assert_line(fixture, fd, "\"id\":7,\"result\"");
	for (i = 0; i < strlen(VERSION_CALL); i++) {
		send_text(fd, VERSION_CALL + i, 1);
		turn(fixture);
	}
	assert_line(fixture, fd, "\"id\":7,\"result\"");
	assert_string_equal(fixture->events, "port-up: /tmp/vm0\n");
}

/* clang-format off */
static const struct {
	const char *text; /* NUL bytes: see bytes */
	size_t bytes; /* 0: strlen() */
	const char *answer; /* NULL: none */
} hostile[] = {
	{ "\n", 0, "-32700" },
	{ "\r\n", 0, "-32700" },
	{ "{}\n", 0, "-32600" },
	{ "\0\0\0\0\n", 5, "-32700" },
	{ "\xff\xfe\xfd\n", 0, "-32700" },
	{ "GET / HTTP/1.1\r\n", 0, "-32700" },
	{ "[[[[[[[[[[[[[[[[\n", 0, "-32700" },
	{ "{\"jsonrpc\":\"2.0\",\"id\":7,\"method\":\"version\"", 0, NULL }, /* half a line */
	{ "{\"jsonrpc\":\"2.0\",\"method\":\"version\"}\n", 0, NULL },
	{ "", 0, NULL },
};
/* clang-format on */

/* Whatever one client does, it gets its answer or none, leaves, and the next is served. */
static void
test_hostile_lines(void **state)
{
	struct fixture *fixture = *state;
	unsigned int i, leave_at_once;

	for (i = 0; i < sizeof(hostile) / sizeof(hostile[0]); i++) {
		for (leave_at_once = 0; leave_at_once < 2; leave_at_once++) {
			size_t bytes = hostile[i].bytes == 0 ? strlen(hostile[i].text) : hostile[i].bytes;
			int fd = connect_client(fixture);
			int next = connect_client(fixture);

			if (bytes > 0)
				send_text(fd, hostile[i].text, bytes);
			if (leave_at_once == 0) {
				turn(fixture);
				if (hostile[i].answer != NULL)
					assert_line(fixture, fd, hostile[i].answer);
			}
			rp_wire_fd_close(&fd);
			send_text(next, VERSION_CALL, strlen(VERSION_CALL));
			assert_line(fixture, next, "\"id\":7,\"result\"");
			rp_wire_fd_close(&next);
			turn(fixture);
			assert_int_equal(rpd_server_clients_count(fixture->server), 0);
		}
	}
}

static void
test_long_lines(void **state)
{
	struct fixture *fixture = *state;
	RP_WIRE_FD_SCOPED int fd = connect_client(fixture);
	char *line = malloc(RPD_CLIENT_LINE_MAX + 1);
	size_t used = strlen(VERSION_CALL) - 1;

	/* The longest legal one: the call, then blanks. */
	memset(line, ' ', RPD_CLIENT_LINE_MAX + 1);
	memcpy(line, VERSION_CALL, used);
	line[RPD_CLIENT_LINE_MAX] = '\n';
	send_text(fd, line, RPD_CLIENT_LINE_MAX + 1);
	assert_line(fixture, fd, "\"id\":7,\"result\"");

	/* One more: it is told, and dropped. */
	line[RPD_CLIENT_LINE_MAX] = ' ';
	send_text(fd, line, RPD_CLIENT_LINE_MAX + 1);
	assert_line(fixture, fd, "\"errno\":\"EMSGSIZE\"");
	assert_line(fixture, fd, NULL);
	free(line);
}

static void
test_huge_line_is_not_read(void **state)
{
	struct fixture *fixture = *state;
	RP_WIRE_FD_SCOPED int fd = connect_client(fixture);
	char block[4096];
	size_t sent = 0;

	memset(block, 'x', sizeof(block));
	while (sent < 16u << 20) {
		ssize_t put = send(fd, block, sizeof(block), MSG_NOSIGNAL);

		if (put < 0 && errno != EAGAIN)
			break;
		if (put > 0)
			sent += (size_t)put;
		turn(fixture);
	}
	/* The kernel's buffer and one line, not sixteen megabytes. */
	assert_true(sent < 1u << 20);
	assert_int_equal(rpd_server_clients_count(fixture->server), 0);
}

static void
test_hundred_clients(void **state)
{
	struct fixture *fixture = *state;
	int fds[100];
	unsigned int i, round;

	for (round = 0; round < 2; round++) {
		for (i = 0; i < 100; i++)
			fds[i] = connect_client(fixture);
		assert_int_equal(rpd_server_clients_count(fixture->server), RPD_CLIENTS_MAX);
		for (i = 0; i < RPD_CLIENTS_MAX; i++)
			send_text(fds[i], VERSION_CALL, strlen(VERSION_CALL));
		for (i = 0; i < 100; i++)
			assert_line(fixture, fds[i], i < RPD_CLIENTS_MAX ? "\"id\":7,\"result\"" : "\"EBUSY\"");
		rp_wire_fd_close_all(fds, 100);
		turn(fixture);
		assert_int_equal(rpd_server_clients_count(fixture->server), 0);
	}
}

static void
test_half_closed(void **state)
{
	struct fixture *fixture = *state;
	RP_WIRE_FD_SCOPED int fd = connect_client(fixture);

	send_text(fd, SHOW_CALL VERSION_CALL "{\"half", strlen(SHOW_CALL VERSION_CALL) + 6);
	shutdown(fd, SHUT_WR);
	assert_line(fixture, fd, "\"id\":9,\"result\"");
	assert_line(fixture, fd, "\"id\":7,\"result\"");
	assert_line(fixture, fd, NULL);
}

static void
test_watchers(void **state)
{
	struct fixture *fixture = *state;
	RP_WIRE_FD_SCOPED int watcher = connect_client(fixture);
	RP_WIRE_FD_SCOPED int other = connect_client(fixture);

	send_text(watcher, WATCH_CALL, strlen(WATCH_CALL));
	assert_line(fixture, watcher, "\"id\":8,\"result\"");
	fake_port_tell(rpd_ports_find(fixture->rpc.ports, "vm0")->port, RP_PORT_EVENT_NOTICE, 1, "doorbell-mapped",
		       "here");
	assert_line(fixture, watcher,
		    "\"method\":\"event\",\"params\":{\"level\":\"notice\",\"port\":\"vm0\",\"queue\":1");
	/* What one client does, another sees; a client that does not watch gets only its answers. */
	send_text(other, DISABLE_CALL, strlen(DISABLE_CALL));
	assert_line(fixture, other, "\"id\":1,\"result\"");
	assert_line(fixture, watcher, "\"event\":\"queue-stopped\"");
}

/* More requests than it reads answers: they wait in its socket, and all are answered in the end. */
static void
test_fast_writer(void **state)
{
	struct fixture *fixture = *state;
	RP_WIRE_FD_SCOPED int fd = connect_client(fixture);
	unsigned int asked = 0, i;
	unsigned int blocked = 0;

	while (blocked < 20 && asked <= 50000) {
		ssize_t put = send(fd, SHOW_CALL, strlen(SHOW_CALL), MSG_NOSIGNAL);

		if (put == (ssize_t)strlen(SHOW_CALL))
			asked++;
		else
			blocked++;
		assert_true(put < 0 || put == (ssize_t)strlen(SHOW_CALL));
		turn(fixture);
	}
	assert_in_range(asked, 100, 50000);
	assert_int_equal(rpd_server_clients_count(fixture->server), 1);
	for (i = 0; i < asked; i++)
		assert_line(fixture, fd, "\"id\":9,\"result\"");
	send_text(fd, VERSION_CALL, strlen(VERSION_CALL));
	assert_line(fixture, fd, "\"id\":7,\"result\"");
}

/* Events come unasked: a watcher that does not read is dropped, and the others see that. */
static void
test_slow_watcher(void **state)
{
	struct fixture *fixture = *state;
	RP_WIRE_FD_SCOPED int slow = connect_client(fixture);
	RP_WIRE_FD_SCOPED int other = connect_client(fixture);
	struct rp_port *port = rpd_ports_find(fixture->rpc.ports, "vm0")->port;
	char text[400];
	unsigned int i;

	memset(text, 'e', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	send_text(slow, WATCH_CALL, strlen(WATCH_CALL));
	turn(fixture);
	for (i = 0; i < 10000 && rpd_server_clients_count(fixture->server) == 2; i++) {
		fake_port_tell(port, RP_PORT_EVENT_NOTICE, -1, "much", text);
		turn(fixture);
	}
	assert_true(i > 1000);
	assert_int_equal(rpd_server_clients_count(fixture->server), 1);
	assert_non_null(
		strstr(fixture->events, "rpc-client-dropped: it reads too slowly: its output passed the limit"));
	send_text(other, VERSION_CALL, strlen(VERSION_CALL));
	assert_line(fixture, other, "\"id\":7,\"result\"");
}

static bool
nobody_left(void *ctx)
{
	struct fixture *fixture = ctx;

	event_base_loop(fixture->base, EVLOOP_NONBLOCK);
	return rpd_server_clients_count(fixture->server) == 0;
}

/* A client that never takes its answers does not keep its place for ever. */
static void
test_stalled_client(void **state)
{
	struct fixture *fixture = *state;
	RP_WIRE_FD_SCOPED int fd = connect_client(fixture);
	unsigned int blocked = 0, i;

	for (i = 0; i < 50000 && blocked < 20; i++) {
		if (send(fd, SHOW_CALL, strlen(SHOW_CALL), MSG_NOSIGNAL) < 0)
			blocked++;
		turn(fixture);
	}
	assert_true(test_wait(nobody_left, fixture, 10000));
	assert_non_null(
		strstr(fixture->events, "rpc-client-dropped: it reads too slowly: it took nothing for too long"));
}

static void
note_the_end(void *ctx)
{
	*(bool *)ctx = true;
}

/* What was answered goes out; nobody asks anything more. */
static void
test_the_end(void **state)
{
	struct fixture *fixture = *state;
	RP_WIRE_FD_SCOPED int watcher = connect_client(fixture);
	RP_WIRE_FD_SCOPED int fd = connect_client(fixture);
	bool ended = false;

	send_text(watcher, WATCH_CALL, strlen(WATCH_CALL));
	assert_line(fixture, watcher, "\"id\":8");
	send_text(fd, VERSION_CALL, strlen(VERSION_CALL));
	turn(fixture);
	rpd_server_end(fixture->server, note_the_end, &ended);
	assert_false(ended);
	send_text(fd, VERSION_CALL, strlen(VERSION_CALL));
	turn(fixture);
	assert_true(ended);
	assert_int_equal(rpd_server_clients_count(fixture->server), 0);
	assert_line(fixture, fd, "\"id\":7");
	assert_line(fixture, fd, NULL);
	assert_line(fixture, watcher, NULL);
	/* Whoever connects now waits for the successor. */
	rp_wire_fd_close(&fd);
	fd = connect_client(fixture);
	assert_int_equal(rpd_server_clients_count(fixture->server), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_only_the_owner_may_connect, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_a_second_daemon_is_refused, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_lines, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_hostile_lines, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_long_lines, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_huge_line_is_not_read, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_hundred_clients, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_half_closed, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_the_end, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_watchers, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_fast_writer, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_slow_watcher, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_stalled_client, set_up_impatient, tear_down),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
