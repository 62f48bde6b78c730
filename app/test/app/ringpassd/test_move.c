/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fake_port.h"
#include "rpc.h"
#include "test_support.h"

struct fixture {
	struct event_base *base;
	struct rpd_rpc rpc;
	struct rpd_watch watch;
};

static void
ignore(void *ctx, const struct rp_port_event *event)
{
	(void)ctx;
	(void)event;
}

static int
set_up(void **state)
{
	struct fixture *fixture = calloc(1, sizeof(*fixture));
	struct rpd_ports_config config = {.registry = &fake_registry, .event = ignore};
	struct rpd_port_spec spec = {.name = "vm0", .socket_path = "/tmp/vm0", .software_path = "/tmp/sw"};
	struct rp_wire_why why;

	fake_ports_reset();
	fake_ports.connected = true;
	fixture->base = event_base_new();
	config.base = fixture->base;
	assert_int_equal(rpd_ports_create(&config, &fixture->rpc.ports), 0);
	assert_int_equal(rpd_ports_add(fixture->rpc.ports, &spec, &why), 0);
	*state = fixture;
	return 0;
}

static int
tear_down(void **state)
{
	struct fixture *fixture = *state;

	rpd_ports_destroy(fixture->rpc.ports);
	event_base_free(fixture->base);
	free(fixture);
	return 0;
}

/* The caller releases it. */
static struct json_object *
call(struct fixture *fixture, const char *method, const char *params)
{
	char line[256];

	fake_ports.moves[0] = '\0';
	snprintf(line, sizeof(line), "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"%s\",\"params\":{%s}}", method,
		 params);
	return rpd_rpc_handle(&fixture->rpc, &fixture->watch, line, strlen(line));
}

static struct json_object *
move(struct fixture *fixture, const char *params)
{
	return call(fixture, "queue.move", params);
}

static const char *
text_of(struct json_object *object)
{
	return json_object_to_json_string_ext(object, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE);
}

/* Whatever they are called, in whatever order: lib/port is told of neighbours at once. */
static void
test_ways_to_name_queues(void **state)
{
	static const struct {
		const char *params;
		const char *moves;
		const char *queues;
	} cases[] = {
		{"\"queue\":1", "1+1=software ", "1"},
		{"\"queue\":0,\"count\":2", "0+2=software ", "01"},
		{"\"queue\":1,\"count\":3", "1+3=software ", "123"},
		{"\"queues\":[3]", "3+1=software ", "3"},
		{"\"queues\":[3,0,2,0]", "0+1=software 2+2=software ", "023"},
		{"\"pairs\":[1]", "2+2=software ", "23"},
		{"\"pairs\":[1,0]", "0+4=software ", "0123"},
		{NULL, "0+4=software ", "0123"},
	};
	struct fixture *fixture = *state;
	unsigned int i, j;

	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct json_object *answer, *result, *queues, *number;
		char params[128];

		snprintf(params, sizeof(params), "\"port\":\"vm0\",\"wish\":\"software\"%s%s",
			 cases[i].params == NULL ? "" : ",", cases[i].params == NULL ? "" : cases[i].params);
		answer = move(fixture, params);
		assert_string_equal(fake_ports.moves, cases[i].moves);
		assert_true(json_object_object_get_ex(answer, "result", &result));
		assert_true(json_object_object_get_ex(result, "queues", &queues));
		assert_int_equal(json_object_array_length(queues), strlen(cases[i].queues));
		for (j = 0; cases[i].queues[j] != '\0'; j++) {
			json_object_object_get_ex(json_object_array_get_idx(queues, j), "queue", &number);
			assert_int_equal(json_object_get_int(number), cases[i].queues[j] - '0');
		}
		json_object_put(answer);
	}
}

static void
test_what_became_of_it(void **state)
{
	struct fixture *fixture = *state;
	struct json_object *answer = move(fixture, "\"port\":\"vm0\",\"wish\":\"software\",\"queue\":1");

	assert_non_null(strstr(text_of(answer), "\"result\":{\"port\":\"vm0\",\"wish\":\"software\",\"queues\":[{"
						"\"queue\":1,\"direction\":\"tx\",\"mode\":\"software\","));
	assert_non_null(strstr(
		text_of(answer),
		"\"owner\":\"software\",\"wish\":\"software\",\"wish_reason\":\"\",\"since_ms\":1500,"
		"\"moves_to_hardware\":0,\"moves_to_software\":1,\"moves_between_accelerators\":0,\"blackouts\":1,"
		"\"blackout_min_us\":310,\"blackout_median_us\":310,\"blackout_max_us\":312}]"));
	json_object_put(answer);
	answer = move(fixture, "\"port\":\"vm0\",\"wish\":\"auto\"");
	assert_string_equal(fake_ports.moves, "0+4=auto ");
	assert_non_null(strstr(text_of(answer), "\"owner\":\"hardware\",\"wish\":\"auto\""));
	json_object_put(answer);
}

static void
assert_refused(struct fixture *fixture, const char *params, const char *words, const char *moves)
{
	struct json_object *answer = move(fixture, params);

	if (strstr(text_of(answer), words) == NULL)
		fail_msg("%s: %s: not in %s", params, words, text_of(answer));
	assert_string_equal(fake_ports.moves, moves);
	json_object_put(answer);
}

#define REFUSED(code, text, name) "{\"code\":" code ",\"message\":\"" text "\",\"data\":{\"errno\":\"" name "\"}}"

/* Nothing is moved of a request that is wrong in any of its parts. */
static void
test_what_cannot_be_meant(void **state)
{
	struct fixture *fixture = *state;

	assert_refused(fixture, "\"port\":\"vm0\",\"wish\":\"fast\"",
		       REFUSED("-32602",
			       "wish: found 'fast', expected \\\"auto\\\", \\\"hardware\\\" or \\\"software\\\"",
			       "EBADMSG"),
		       "");
	assert_refused(fixture, "\"port\":\"vm9\",\"wish\":\"auto\"",
		       REFUSED("-32000", "port: found 'vm9', which is no port", "ENOENT"), "");
	assert_refused(fixture, "\"port\":\"vm0\",\"wish\":\"auto\",\"queue\":0,\"pairs\":[0]",
		       REFUSED("-32602", "queue, queues, pairs: found two, expected one at most", "EBADMSG"), "");
	assert_refused(fixture, "\"port\":\"vm0\",\"wish\":\"auto\",\"count\":2",
		       REFUSED("-32602", "count: found it without queue, expected none then", "EBADMSG"), "");
	assert_refused(fixture, "\"port\":\"vm0\",\"wish\":\"auto\",\"queues\":[0,4]",
		       REFUSED("-32000", "queue 4: the port has 4 queues", "EINVAL"), "");
	assert_refused(fixture, "\"port\":\"vm0\",\"wish\":\"auto\",\"queue\":3,\"count\":2",
		       REFUSED("-32000", "queue 4: the port has 4 queues", "EINVAL"), "");
	assert_refused(fixture, "\"port\":\"vm0\",\"wish\":\"auto\",\"pairs\":[255]",
		       REFUSED("-32000", "queue 510: the port has 4 queues", "EINVAL"), "");
}

/* The others are moved all the same. */
static void
test_one_that_is_refused(void **state)
{
	struct fixture *fixture = *state;

	fake_ports.move_error = -ETIMEDOUT;
	fake_ports.move_error_queue = 1;
	assert_refused(fixture, "\"port\":\"vm0\",\"wish\":\"software\",\"queues\":[1,3]",
		       REFUSED("-32000", "queue 1 cannot move", "ETIMEDOUT"), "1+1=software 3+1=software ");
	assert_refused(fixture, "\"port\":\"vm0\",\"wish\":\"software\"",
		       REFUSED("-32000", "queue 1 cannot move", "ETIMEDOUT"), "0+4=software ");
}

/* queue.transfer names queues in the same ways. */
static void
test_to_another_accelerator(void **state)
{
	struct fixture *fixture = *state;
	struct json_object *answer =
		call(fixture, "queue.transfer", "\"port\":\"vm0\",\"accelerator\":1,\"pairs\":[1]");

	assert_string_equal(fake_ports.moves, "2+2->1 ");
	assert_non_null(strstr(text_of(answer), "\"result\":{\"port\":\"vm0\",\"accelerator\":1,\"queues\":[{"
						"\"queue\":2,\"direction\":\"rx\","));
	assert_non_null(strstr(text_of(answer), "\"accelerator\":1,\"accelerator_queue\":3,"));
	json_object_put(answer);
	answer = call(fixture, "queue.transfer", "\"port\":\"vm0\",\"accelerator\":0");
	assert_string_equal(fake_ports.moves, "0+4->0 ");
	json_object_put(answer);
	answer = call(fixture, "queue.transfer", "\"port\":\"vm0\"");
	assert_non_null(strstr(text_of(answer), "accelerator: found nothing, expected a number from 0 to 255"));
	json_object_put(answer);
	fake_ports.move_error = -ENOSPC;
	answer = call(fixture, "queue.transfer", "\"port\":\"vm0\",\"accelerator\":1");
	assert_non_null(strstr(text_of(answer), REFUSED("-32000", "queue 0 cannot move", "ENOSPC")));
	json_object_put(answer);
}

static void
test_a_port_that_waits(void **state)
{
	struct fixture *fixture = *state;
	struct rpd_port_spec spec = {.name = "vm1", .socket_path = "/tmp/vm1", .software_path = "/tmp/sw1"};
	struct rp_wire_why why;

	fake_ports.create_error = -ENOENT;
	fake_ports.create_text = "no such socket";
	assert_int_equal(rpd_ports_add(fixture->rpc.ports, &spec, &why), 0);
	assert_refused(fixture, "\"port\":\"vm1\",\"wish\":\"software\"",
		       REFUSED("-32000", "port vm1 is waiting: no such socket", "ENOTCONN"), "");
	fake_ports.no_queues = true;
	assert_refused(fixture, "\"port\":\"vm0\",\"wish\":\"software\"",
		       REFUSED("-32000", "port vm0 is waiting: the backend is not there yet", "ENOTCONN"), "");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_ways_to_name_queues, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_what_became_of_it, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_what_cannot_be_meant, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_one_that_is_refused, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_to_another_accelerator, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_a_port_that_waits, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
