/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fake_manager.h"
#include "fake_port.h"
#include "hand_over.h"
#include "rp_wire_fd.h"
#include "test_support.h"

/* A daemon and its successor in one process, on a lib/port that serves nothing. */

#define FIRST_FD 3
#define PORTS_MAX 3

struct fixture {
	struct fake_manager manager;
	struct event_base *base;
	struct rpd_service *service;
	struct rpd_ports *ports;
	struct rpd_config config;
	struct rpd_config_port config_ports[PORTS_MAX];
	char log[FAKE_MANAGER_LOG_BYTES]; /* "port name text" lines */
	char told[512]; /* "port=reason " for each port of a hand-over */
	struct test_leaks leaks;
};

static char directory[] = "/tmp/ringpass-test-hand-over.XXXXXX";
static char notify[64];

static void
remember(void *ctx, const struct rp_port_event *event)
{
	struct fixture *f = ctx;

	fake_manager_append(f->log, event->port == NULL ? "-" : event->port, " ", event->name);
	fake_manager_append(f->log, " ", event->text, "\n");
}

static void
tell(void *ctx, const struct rpd_port *entry, const char *reason)
{
	struct fixture *f = ctx;
	size_t used = strlen(f->told);

	snprintf(f->told + used, sizeof(f->told) - used, "%s=%s ", entry->spec.name, reason == NULL ? "live" : reason);
}

static void
set(struct rpd_port_spec *spec, const char *key, const char *text)
{
	const struct rpd_value value = {.type = RPD_VALUE_TEXT, .text = text};

	assert_int_equal(rpd_spec_set(spec, rpd_spec_key_find(key), &value, &fake_registry, NULL), 0);
}

static struct rpd_port_spec
spec_of(const char *name)
{
	const struct rpd_value truth = {.type = RPD_VALUE_BOOL, .boolean = true};
	const struct rpd_value number = {.type = RPD_VALUE_NUMBER, .number = 77};
	struct rpd_port_spec spec = {0};
	char path[100];

	snprintf(path, sizeof(path), "%s/%s", directory, name);
	set(&spec, "name", name);
	set(&spec, "socket", path);
	set(&spec, "doorbell", "relay");
	set(&spec, "accelerators", "fake,socket=/a");
	set(&spec, "accelerators", "fake,socket=/b");
	assert_int_equal(rpd_spec_set(&spec, rpd_spec_key_find("migratable"), &truth, NULL, NULL), 0);
	assert_int_equal(rpd_spec_set(&spec, rpd_spec_key_find("reconnect_ms"), &number, NULL, NULL), 0);
	return spec;
}

static void
configure(struct fixture *f, const char *name)
{
	f->config.ports = f->config_ports;
	f->config_ports[f->config.ports_count++].spec = spec_of(name);
}

/* A daemon begins. */
static void
begin(struct fixture *f)
{
	struct rpd_service_config service_config = {.keep = true, .claim_ms = 1, .event = remember, .ctx = f};
	struct rpd_ports_config ports_config = {.registry = &fake_registry, .event = remember, .ctx = f};
	struct rp_wire_why why = {0};
	const char *where = NULL;

	f->base = service_config.base = ports_config.base = event_base_new();
	assert_int_equal(rpd_service_create(&service_config, &f->service, &why), 0);
	ports_config.service = f->service;
	assert_int_equal(rpd_ports_create(&ports_config, &f->ports), 0);
	assert_int_equal(rpd_hand_over_adopt(f->ports, f->service, &f->config, remember, f, &where, &why), 0);
}

static void
end(struct fixture *f)
{
	f->ports = rpd_ports_destroy(f->ports);
	f->service = rpd_service_destroy(f->service);
	event_base_free(f->base);
}

/* Its ports go, and so does it; its successor begins with what is in the store. */
static void
replace(struct fixture *f)
{
	f->told[0] = f->log[0] = '\0';
	fake_ports.connected = true;
	assert_int_equal(rpd_hand_over_give(f->ports, f->service, tell, f, NULL), 0);
	rpd_ports_leave(f->ports);
	assert_int_equal(fake_ports.alive_count, 0);
	end(f);
	fake_manager_hand_over(&f->manager, FIRST_FD);
	begin(f);
}

static int
set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	fake_ports_reset();
	test_leaks_read(&f->leaks);
	fake_manager_open(&f->manager, notify);
	*state = f;
	return 0;
}

static void
unlink_socket(const char *name)
{
	char path[100];

	snprintf(path, sizeof(path), "%s/%s", directory, name);
	unlink(path);
}

static int
tear_down(void **state)
{
	struct fixture *f = *state;
	unsigned int i;

	for (i = 0; i < PORTS_MAX; i++)
		rpd_spec_fini(&f->config_ports[i].spec);
	fake_manager_close(&f->manager);
	unlink_socket("vm0");
	unlink_socket("vm1");
	unlink_socket("vm2");
	test_leaks_assert_none(&f->leaks);
	assert_int_equal(fake_ports.alive_count, 0);
	free(f);
	return 0;
}

#define assert_logged(f, text)                                                                                         \
	do {                                                                                                           \
		if (strstr((f)->log, text) == NULL)                                                                    \
			fail_msg("'%s' is not in: %s", text, (f)->log);                                                \
	} while (0)

static void
ports_go_on(void **state)
{
	struct fixture *f = *state;

	configure(f, "vm0");
	configure(f, "vm1");
	begin(f);
	assert_int_equal(fake_ports.create_count, 2);
	fake_ports.again_count = 2; /* it takes a moment */
	replace(f);
	assert_string_equal(f->told, "vm0=live vm1=live ");
	assert_int_equal(fake_ports.leave_count, 2);
	assert_int_equal(fake_ports.adopt_count, 2);
	assert_logged(f, "vm0 port-adopted");
	assert_null(strstr(f->log, "closing"));
	/* Once: what is adopted is old the next moment. */
	end(f);
	assert_true(fake_manager_was_told(&f->manager, "[FDSTOREREMOVE=1 FDNAME=kept-part-0]"));
	assert_true(fake_manager_was_told(&f->manager, "[FDSTOREREMOVE=1 FDNAME=kept-state]"));
}

static void
one_cannot(void **state)
{
	struct fixture *f = *state;

	configure(f, "vm0");
	configure(f, "vm1");
	begin(f);
	fake_ports.give_error = -ENOTSUP;
	fake_ports.give_error_port = "vm0";
	replace(f);
	assert_string_equal(f->told, "vm0=the fake port stays vm1=live ");
	assert_int_equal(fake_ports.adopt_count, 1);
	assert_logged(f, "vm0 closing"); /* as ever */
	assert_logged(f, "vm0 port-up");
	assert_logged(f, "vm1 port-adopted");
	end(f);
}

static void
one_is_not_taken(void **state)
{
	struct fixture *f = *state;

	configure(f, "vm0");
	begin(f);
	fake_ports.adopt_error = -EIO;
	replace(f);
	assert_logged(f, "vm0 port-not-adopted the device is gone");
	assert_logged(f, "vm0 port-up");
	assert_int_equal(fake_ports.alive_count, 1);
	end(f);
}

static void
another_configuration(void **state)
{
	struct fixture *f = *state;

	configure(f, "vm0");
	configure(f, "vm1");
	begin(f);
	set(&f->config_ports[0].spec, "accelerators", "fake,socket=/c");
	f->config.ports_count = 1;
	replace(f);
	assert_logged(f, "vm0 port-not-adopted accelerators: the configuration says something else now");
	assert_logged(f, "vm1 port-not-adopted it is not configured any more");
	assert_int_equal(fake_ports.adopt_count, 0);
	assert_int_equal(fake_ports.alive_count, 1);
	end(f);
}

/* Nobody else knows how such a port is described. */
static void
ports_that_came_by_rpc(void **state)
{
	struct fixture *f = *state;
	struct rpd_port_spec spec = spec_of("vm2");
	const struct rpd_port *entry;

	begin(f);
	assert_int_equal(rpd_ports_add(f->ports, &spec, NULL), 0);
	rpd_ports_find(f->ports, "vm2")->by_rpc = true;
	replace(f);
	entry = rpd_ports_find(f->ports, "vm2");
	assert_non_null(entry);
	assert_true(entry->by_rpc);
	assert_null(rpd_spec_difference(&entry->spec, &spec));
	assert_int_equal(fake_ports.adopt_count, 1);
	/* Also one that cannot go on is there again. */
	fake_ports.adopt_error = -EIO;
	replace(f);
	entry = rpd_ports_find(f->ports, "vm2");
	assert_non_null(entry);
	assert_true(entry->by_rpc && entry->port != NULL);
	rpd_spec_fini(&spec);
	end(f);
}

/* Nobody is connected to the one, the other cannot be given: they begin anew, but they are there. */
static void
ports_that_came_by_rpc_and_begin_anew(void **state)
{
	struct fixture *f = *state;
	struct rpd_port_spec spec = spec_of("vm2");

	begin(f);
	assert_int_equal(rpd_ports_add(f->ports, &spec, NULL), 0);
	rpd_ports_find(f->ports, "vm2")->by_rpc = true;
	fake_ports.give_error = -ENOTCONN;
	replace(f);
	assert_string_equal(f->told, "");
	assert_null(strstr(f->log, "port-not-adopted"));
	assert_non_null(rpd_ports_find(f->ports, "vm2"));
	fake_ports.give_error = -ENOTSUP;
	replace(f);
	assert_string_equal(f->told, "vm2=the fake port stays ");
	assert_true(rpd_ports_find(f->ports, "vm2")->by_rpc);
	assert_int_equal(fake_ports.adopt_count, 0);
	rpd_spec_fini(&spec);
	end(f);
}

static void
nobody_is_connected(void **state)
{
	struct fixture *f = *state;

	configure(f, "vm0");
	begin(f);
	assert_int_equal(rpd_hand_over_give(f->ports, f->service, tell, f, NULL), 0);
	assert_string_equal(f->told, "");
	rpd_ports_leave(f->ports);
	assert_int_equal(fake_ports.leave_count, 0);
	end(f);
}

/* Without a store everything goes on as if nobody had asked. */
static void
it_is_called_off(void **state)
{
	struct fixture *f = *state;
	struct rp_wire_why why = {0};

	configure(f, "vm0");
	begin(f);
	fake_ports.connected = true;
	assert_int_equal(rpd_hand_over_give(f->ports, NULL, tell, f, &why), -ENOTSUP);
	assert_non_null(strstr(why.text, "--hand-over"));
	assert_int_equal(fake_ports.resume_count, 1);
	fake_port_poke(rpd_ports_find(f->ports, "vm0")->port);
	event_base_loop(f->base, EVLOOP_NONBLOCK);
	assert_int_equal(fake_ports.process_count, 1);
	assert_int_equal(rpd_ports_remove(f->ports, "vm0", &why), 0);
	assert_int_equal(fake_ports.leave_count, 0);
	end(f);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(ports_go_on, set_up, tear_down),
		cmocka_unit_test_setup_teardown(one_cannot, set_up, tear_down),
		cmocka_unit_test_setup_teardown(one_is_not_taken, set_up, tear_down),
		cmocka_unit_test_setup_teardown(another_configuration, set_up, tear_down),
		cmocka_unit_test_setup_teardown(ports_that_came_by_rpc, set_up, tear_down),
		cmocka_unit_test_setup_teardown(ports_that_came_by_rpc_and_begin_anew, set_up, tear_down),
		cmocka_unit_test_setup_teardown(nobody_is_connected, set_up, tear_down),
		cmocka_unit_test_setup_teardown(it_is_called_off, set_up, tear_down),
	};
	int rc;

	assert_non_null(mkdtemp(directory));
	snprintf(notify, sizeof(notify), "%s/notify", directory);
	rc = cmocka_run_group_tests(tests, NULL, NULL);
	rmdir(directory);
	return rc;
}
