/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fake_manager.h"
#include "rp_wire_fd.h"
#include "rp_wire_socket.h"
#include "service.h"
#include "test_support.h"

#define FIRST_FD 3

struct fixture {
	struct fake_manager manager;
	struct event_base *base;
	struct rpd_service *service;
	char log[FAKE_MANAGER_LOG_BYTES];
	unsigned int unnamed; /* descriptors that are announced beside those that have names */
	struct test_leaks leaks;
};

static char directory[] = "/tmp/ringpass-test-service.XXXXXX";
static char vm0[64], vm1[64], notify[64];

/* What is sent arrives in order, and the last that a service sends waits for its answer: only after its end. */
#define assert_told(f, message) assert_true(fake_manager_was_told(&(f)->manager, message))
#define assert_not_told(f, message) assert_false(fake_manager_was_told(&(f)->manager, message))

static void
remember(void *ctx, const struct rp_port_event *event)
{
	struct fixture *f = ctx;

	fake_manager_append(f->log, event->name, ": ", "");
	fake_manager_append(f->log, event->text, "\n", "");
}

static int
set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	test_leaks_read(&f->leaks);
	fake_manager_open(&f->manager, notify);
	*state = f;
	return 0;
}

static int
tear_down(void **state)
{
	struct fixture *f = *state;

	fake_manager_close(&f->manager);
	test_leaks_assert_none(&f->leaks);
	assert_int_equal(access(vm0, F_OK), -1);
	assert_int_equal(access(vm1, F_OK), -1);
	free(f);
	return 0;
}

/* A daemon starts. What it is handed over lies from FIRST_FD on, as place() put it there. */
static int
start(struct fixture *f, bool keep, const char *names, struct rp_wire_why *why)
{
	struct rpd_service_config config = {.keep = keep, .claim_ms = 1, .event = remember, .ctx = f};
	unsigned int count = f->unnamed + (names == NULL ? 0 : 1);
	char number[32];
	const char *at;

	for (at = names; at != NULL && (at = strchr(at, ':')) != NULL; at++)
		count++;
	snprintf(number, sizeof(number), "%d", (int)getpid());
	setenv("LISTEN_PID", number, 1);
	snprintf(number, sizeof(number), "%u", count);
	setenv("LISTEN_FDS", number, 1);
	setenv("LISTEN_FDNAMES", names == NULL ? "" : names, 1);
	/* A manager that hands nothing over says nothing. */
	if (count == 0)
		unsetenv("LISTEN_FDS");
	f->base = event_base_new();
	config.base = f->base;
	return rpd_service_create(&config, &f->service, why);
}

static void
started(struct fixture *f, bool keep, const char *names)
{
	struct rp_wire_why why = {0};

	if (start(f, keep, names, &why) != 0)
		fail_msg("service: %s", why.text);
	assert_null(getenv("LISTEN_FDS"));
}

static void
end(struct fixture *f)
{
	f->service = rpd_service_destroy(f->service);
	event_base_free(f->base);
}

static void
place(unsigned int index, int fd)
{
	assert_true(fd >= 0);
	if (fd == FIRST_FD + (int)index)
		return;
	assert_true(dup2(fd, FIRST_FD + (int)index) >= 0);
	close(fd);
}

/* A listening socket at the index; who looks for a free number takes one above. */
static void
place_listener(unsigned int index, const char *path)
{
	int fd = -1;

	assert_int_equal(rp_wire_socket_listen(path, &fd, NULL), 0);
	place(index, fd);
}

static int
listen_for(struct fixture *f, const char *name, const char *path)
{
	struct rp_wire_why why = {0};
	int fd = -1;

	if (rpd_service_listen(f->service, name, path, 0, &fd, &why) != 0)
		fail_msg("listen: %s", why.text);
	return fd;
}

static int
connected(const char *path)
{
	int fd = -1;
	int rc = rp_wire_socket_connect(path, &fd, NULL);

	rp_wire_fd_close(&fd);
	return rc;
}

static void
without_a_manager(void **state)
{
	struct fixture *f = *state;
	struct rp_wire_why why = {0};

	unsetenv("NOTIFY_SOCKET");
	assert_int_equal(start(f, true, NULL, &why), -ENOTCONN);
	assert_non_null(strstr(why.text, "$NOTIFY_SOCKET is not set"));
	event_base_free(f->base);
	started(f, false, NULL);
	assert_int_equal(listen_for(f, "port-vm0", vm0), -1);
	rpd_service_ready(f->service);
	rpd_service_status(f->service, "nobody hears it");
	rpd_service_forget(f->service, "port-vm0");
	rpd_service_forget(NULL, "port-vm0");
	rpd_service_status(NULL, "");
	end(f);
	assert_null(rpd_service_destroy(NULL));
	assert_string_equal(f->log, "");
}

static void
what_the_manager_is_told(void **state)
{
	struct fixture *f = *state;

	started(f, false, NULL);
	rpd_service_status(f->service, "3 ports up, 1 waiting");
	rpd_service_ready(f->service);
	end(f);
	assert_told(f, "[STATUS=3 ports up, 1 waiting][READY=1][STOPPING=1][BARRIER=1]");
}

/* Somebody connects while nobody is there, and is served by the successor. */
static void
a_successor_goes_on(void **state)
{
	struct fixture *f = *state;
	int fd, client = -1, served = -1;

	started(f, true, NULL);
	fd = listen_for(f, "port-vm0", vm0);
	rp_wire_fd_close(&fd);
	end(f);
	assert_told(f, "[FDSTORE=1 FDNAME=kept-port-vm0]");
	assert_not_told(f, "FDSTOREREMOVE");
	assert_int_equal(fake_manager_store_count(&f->manager), 1);

	assert_int_equal(rp_wire_socket_connect(vm0, &client, NULL), 0);
	client = fake_manager_high(client);
	place(0, fake_manager_give(&f->manager, 0));
	started(f, true, "kept-port-vm0");
	fd = listen_for(f, "port-vm0", vm0);
	assert_int_equal(rp_wire_socket_accept(fd, &served), 0);
	rp_wire_fd_close(&served);
	rp_wire_fd_close(&fd);
	/* Again, as after an accelerator that came late: the same socket. */
	fd = listen_for(f, "port-vm0", vm0);
	assert_int_equal(rpd_service_sockets_count(f->service), 1);
	assert_int_equal(fake_manager_store_count(&f->manager), 1);
	rp_wire_fd_close(&fd);
	rp_wire_fd_close(&client);
	rpd_service_forget(f->service, "port-vm0");
	assert_int_equal(access(vm0, F_OK), -1);
	end(f);
	assert_told(f, "[FDSTOREREMOVE=1 FDNAME=kept-port-vm0]");
}

static void
a_socket_units_socket(void **state)
{
	struct fixture *f = *state;
	int fd;

	place_listener(0, vm0);
	started(f, true, "port-vm0");
	fd = listen_for(f, "port-vm0", vm0);
	assert_true(fd >= 0);
	rpd_service_ready(f->service);
	rpd_service_forget(f->service, "port-vm0");
	assert_int_equal(connected(vm0), 0);
	rp_wire_fd_close(&fd);
	end(f);
	/* Neither put into the store nor taken away. */
	assert_not_told(f, "FDSTORE");
	assert_int_equal(unlink(vm0), 0);
}

/* Whoever does not keep has no successor: what a predecessor left ends with it. */
static void
the_last_one_clears_up(void **state)
{
	struct fixture *f = *state;
	int fd;

	place_listener(0, vm0);
	started(f, false, "kept-port-vm0");
	fd = listen_for(f, "port-vm0", vm0);
	assert_true(fd >= 0);
	rp_wire_fd_close(&fd);
	end(f);
	assert_told(f, "[FDSTOREREMOVE=1 FDNAME=kept-port-vm0]");
}

static void
nobody_wants_it(void **state)
{
	struct fixture *f = *state;

	place_listener(0, vm0);
	place_listener(1, vm1);
	started(f, true, "kept-port-vm0:port-vm1");
	assert_int_equal(rpd_service_sockets_count(f->service), 2);
	rpd_service_ready(f->service);
	event_base_dispatch(f->base);
	assert_int_equal(rpd_service_sockets_count(f->service), 1);
	assert_int_equal(access(vm0, F_OK), -1);
	assert_int_equal(connected(vm1), 0);
	assert_non_null(strstr(f->log, "socket-dropped: "));
	end(f);
	assert_told(f, "[FDSTOREREMOVE=1 FDNAME=kept-port-vm0]");
	assert_int_equal(unlink(vm1), 0);
}

/* A port that has another path now, and one that has another name. */
static void
the_configuration_has_changed(void **state)
{
	struct fixture *f = *state;
	int fd;

	place_listener(0, vm0);
	started(f, true, "kept-port-vm0");
	fd = listen_for(f, "port-vm0", vm1);
	assert_non_null(strstr(f->log, "socket-dropped: found port-vm0 on "));
	assert_int_equal(access(vm0, F_OK), -1);
	rp_wire_fd_close(&fd);
	fd = listen_for(f, "port-new", vm1);
	assert_int_equal(connected(vm1), 0);
	assert_int_equal(rpd_service_sockets_count(f->service), 1);
	rp_wire_fd_close(&fd);
	rpd_service_forget(f->service, "port-new");
	end(f);
	assert_told(f, "[FDSTORE=1 FDNAME=kept-port-vm0]");
	assert_told(f, "[FDSTORE=1 FDNAME=kept-port-new]");
}

static void
refused(struct fixture *f, const char *names, const char *words)
{
	memset(f->log, 0, sizeof(f->log));
	started(f, true, names);
	assert_int_equal(rpd_service_sockets_count(f->service), 0);
	if (strstr(f->log, words) == NULL)
		fail_msg("found '%s', expected '%s'", f->log, words);
	end(f);
}

static void
what_breaks_a_rule(void **state)
{
	struct fixture *f = *state;
	char name[200];

	place(0, open("/dev/null", O_RDONLY | O_CLOEXEC));
	refused(f, "kept-rpc", "descriptor 3 (kept-rpc) of the service manager: found no socket");
	assert_told(f, "[FDSTOREREMOVE=1 FDNAME=kept-rpc]");
	place(0, socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
	refused(f, "port-vm0", "found a socket that does not listen");
	place(0, socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
	refused(f, "software-vm0", "expected a Unix stream socket");
	place_listener(0, vm0);
	unlink(vm0);
	refused(f, "kept-port-vm0", "found no socket file");
	place_listener(0, vm0);
	refused(f, "stored", "found the name 'stored', expected rpc, port-NAME or software-NAME");
	assert_told(f, "[FDSTOREREMOVE=1 FDNAME=stored]");
	unlink(vm0);
	place_listener(0, vm0);
	refused(f, "port-", "found the name 'port-'");
	unlink(vm0);
	place(0, rp_wire_fd_dup(f->manager.fd));
	refused(f, "kept-vfio-7", "(kept-vfio-7) of the service manager: found no device file");
	assert_told(f, "[FDSTOREREMOVE=1 FDNAME=kept-vfio-7]");
	place_listener(0, vm0);
	memset(name, 'n', sizeof(name) - 1);
	memcpy(name, "port-", 5);
	name[sizeof(name) - 1] = '\0';
	refused(f, name, "found the name 'port-nnn");
	unlink(vm0);
}

/* A group that came, one that is opened, and what is left at the end. */
static void
groups(void **state)
{
	struct fixture *f = *state;
	int fd = -1;

	place(0, open("/dev/null", O_RDWR | O_CLOEXEC));
	started(f, true, "kept-vfio-7");
	rpd_groups_keeper.take(rpd_service_groups(f->service), 7, &fd);
	assert_true(fd >= 0);
	rpd_groups_keeper.opened(rpd_service_groups(f->service), 8, fd);
	rp_wire_fd_close(&fd);
	rpd_service_leave(f->service);
	rpd_service_leave(NULL);
	rpd_groups_keeper.closed(rpd_service_groups(f->service), 7, NULL);
	end(f);
	assert_told(f, "[FDSTORE=1 FDNAME=kept-vfio-8]");
	assert_not_told(f, "FDSTOREREMOVE");

	/* The last one leaves nothing. */
	place(0, open("/dev/null", O_RDWR | O_CLOEXEC));
	started(f, false, "kept-vfio-7");
	rpd_groups_keeper.take(rpd_service_groups(f->service), 7, &fd);
	rpd_service_leave(f->service);
	rp_wire_fd_close(&fd);
	rpd_groups_keeper.closed(rpd_service_groups(f->service), 7, NULL);
	end(f);
	assert_told(f, "[FDSTOREREMOVE=1 FDNAME=kept-vfio-7]");
}

static void
names_that_do_not_fit(void **state)
{
	struct fixture *f = *state;

	place_listener(0, vm0);
	f->unnamed = 1;
	started(f, true, "port-vm0");
	assert_non_null(strstr(f->log, "nothing is inherited"));
	end(f);
	close(FIRST_FD);
	unlink(vm0);
}

static void
a_second_one(void **state)
{
	struct fixture *f = *state;
	int fd;

	place_listener(0, vm0);
	place(1, rp_wire_fd_dup(FIRST_FD));
	/* The unit's is the one that stays, whatever the order. */
	started(f, true, "kept-port-vm0:port-vm0");
	assert_int_equal(rpd_service_sockets_count(f->service), 1);
	assert_non_null(strstr(f->log, "descriptor-inherited: port-vm0"));
	assert_non_null(strstr(f->log, "descriptor 3 (kept-port-vm0) of the service manager: found a second socket"));
	fd = listen_for(f, "port-vm0", vm0);
	rp_wire_fd_close(&fd);
	end(f);
	assert_told(f, "[FDSTOREREMOVE=1 FDNAME=kept-port-vm0]");

	/* With one name the store could only remove both. */
	fake_manager_forget(&f->manager);
	assert_int_equal(unlink(vm0), 0);
	place_listener(0, vm0);
	place(1, rp_wire_fd_dup(FIRST_FD));
	started(f, true, "kept-port-vm0:kept-port-vm0");
	assert_int_equal(rpd_service_sockets_count(f->service), 1);
	end(f);
	assert_not_told(f, "FDSTOREREMOVE");
	assert_int_equal(unlink(vm0), 0);
}

static void
more_than_a_daemon_needs(void **state)
{
	const unsigned int count = RPD_SERVICE_SOCKETS_MAX + 2;
	struct fixture *f = *state;
	char *names = calloc(count, 16);
	char path[96];
	unsigned int i;

	for (i = 0; i < count; i++) {
		snprintf(path, sizeof(path), "%s/s%u", directory, i);
		place_listener(i, path);
		snprintf(names + strlen(names), 16, "%sport-p%u", i == 0 ? "" : ":", i);
	}
	started(f, true, names);
	assert_int_equal(rpd_service_sockets_count(f->service), RPD_SERVICE_SOCKETS_MAX);
	end(f);
	assert_told(f, "[FDSTOREREMOVE=1 FDNAME=port-p513]");
	assert_not_told(f, "[FDSTOREREMOVE=1 FDNAME=port-p512]");
	while (i-- > 0) {
		snprintf(path, sizeof(path), "%s/s%u", directory, i);
		unlink(path);
	}
	free(names);
}

static int
make_directory(void **state)
{
	(void)state;
	/* What whoever runs this left open would be overwritten, and counted. */
	if (close_range(FIRST_FD, FAKE_MANAGER_FD - 1, 0) < 0 || mkdtemp(directory) == NULL)
		return -1;
	snprintf(vm0, sizeof(vm0), "%s/vm0", directory);
	snprintf(vm1, sizeof(vm1), "%s/vm1", directory);
	snprintf(notify, sizeof(notify), "%s/notify", directory);
	return 0;
}

static int
remove_directory(void **state)
{
	(void)state;
	return rmdir(directory);
}

#define service_test(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		service_test(without_a_manager),
		service_test(what_the_manager_is_told),
		service_test(a_successor_goes_on),
		service_test(a_socket_units_socket),
		service_test(the_last_one_clears_up),
		service_test(nobody_wants_it),
		service_test(the_configuration_has_changed),
		service_test(what_breaks_a_rule),
		service_test(names_that_do_not_fit),
		service_test(a_second_one),
		service_test(more_than_a_daemon_needs),
		service_test(groups),
	};

	return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
