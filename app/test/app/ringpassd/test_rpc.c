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
	FILE *log;
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
	char arguments[] = "fake,socket=/f", *accelerators[] = {arguments};
	struct rpd_port_spec spec = {
		.name = "vm0", .socket_path = "/tmp/vm0", .accelerators_count = 1, .accelerators = accelerators};
	struct rp_wire_why why;

	fake_ports_reset();
	fixture->log = fopen("/dev/null", "we");
	fixture->base = event_base_new();
	config.base = fixture->base;
	assert_int_equal(rpd_ports_create(&config, &fixture->rpc.ports), 0);
	assert_int_equal(rpd_log_create(fixture->log, RP_PORT_EVENT_NOTICE, &fixture->rpc.log), 0);
	assert_int_equal(rpd_ports_add(fixture->rpc.ports, &spec, &why), 0);
	*state = fixture;
	return 0;
}

static int
tear_down(void **state)
{
	struct fixture *fixture = *state;

	rpd_ports_destroy(fixture->rpc.ports);
	rpd_log_destroy(fixture->rpc.log);
	event_base_free(fixture->base);
	fclose(fixture->log);
	free(fixture);
	return 0;
}

/* The answer as text; "" for none. The caller frees it. */
static char *
ask_bytes(struct fixture *fixture, const char *line, size_t bytes)
{
	struct json_object *answer = rpd_rpc_handle(&fixture->rpc, &fixture->watch, line, bytes);
	char *text;

	if (answer == NULL)
		return strdup("");
	text = strdup(json_object_to_json_string_ext(answer, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE));
	json_object_put(answer);
	return text;
}

static char *
ask(struct fixture *fixture, const char *line)
{
	return ask_bytes(fixture, line, strlen(line));
}

#define CALL(method, params) "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"" method "\",\"params\":" params "}"
#define ERROR(id, code, text, name)                                                                                    \
	"{\"jsonrpc\":\"2.0\",\"id\":" id ",\"error\":{\"code\":" code ",\"message\":\"" text                          \
	"\",\"data\":{\"errno\":\"" name "\"}}}"

/* clang-format off */
static const struct {
	const char *line;
	const char *answer; /* a part of it when it ends with "..." */
} refusals[] = {
	/* not JSON */
	{ "", ERROR("null", "-32700", "request: found the end of the line, expected a whole object before it", "EBADMSG") },
	{ "hello", ERROR("null", "-32700", "request: found unexpected character at byte 0, expected JSON", "EBADMSG") },
	{ "{", ERROR("null", "-32700", "request: found the end of the line, expected a whole object before it", "EBADMSG") },
	{ "{\"a\":", ERROR("null", "-32700", "request: found the end of the line, expected a whole object before it", "EBADMSG") },
	{ "{\"a\":1} x", ERROR("null", "-32700", "request: found unexpected character at byte 8, expected JSON", "EBADMSG") },
	{ "{\"a\":'1'}", ERROR("null", "-32700", "request: found ...", "") },
	{ "{\"a\":\"\xff\"}", ERROR("null", "-32700", "request: found invalid utf-8 string at byte ...", "") },
	{ "[[[[[[[[[[1]]]]]]]]]]", ERROR("null", "-32700", "request: found nesting deeper than 8", "EBADMSG") },
	/* no request */
	{ "7", ERROR("null", "-32600", "request: found 7, expected one object", "EBADMSG") },
	{ "null", ERROR("null", "-32600", "request: found null, expected one object", "EBADMSG") },
	{ "\"x\"", ERROR("null", "-32600", "request: found 'x', expected one object", "EBADMSG") },
	{ "[" CALL("version", "{}") "]", ERROR("null", "-32600", "request: found a list, expected one object", "EBADMSG") },
	{ "{\"foo\":1}", ERROR("null", "-32600", "jsonrpc: found nothing, expected \\\"2.0\\\"", "EBADMSG") },
	{ "{\"id\":5}", ERROR("5", "-32600", "jsonrpc: found nothing, expected \\\"2.0\\\"", "EBADMSG") },
	{ "{\"id\":\"me\",\"jsonrpc\":\"1.0\"}", ERROR("\"me\"", "-32600", "jsonrpc: found '1.0', expected \\\"2.0\\\"", "EBADMSG") },
	{ "{\"id\":null,\"jsonrpc\":2.0}", ERROR("null", "-32600", "jsonrpc: found a fraction, expected \\\"2.0\\\"", "EBADMSG") },
	{ "{\"id\":1.5,\"jsonrpc\":\"2.0\"}",
	  ERROR("null", "-32600", "id: found a fraction, expected a string, a whole number or null", "EBADMSG") },
	{ "{\"id\":{},\"jsonrpc\":\"2.0\"}",
	  ERROR("null", "-32600", "id: found an object, expected a string, a whole number or null", "EBADMSG") },
	{ "{\"id\":1,\"jsonrpc\":\"2.0\"}", ERROR("1", "-32600", "method: found nothing, expected a string", "EBADMSG") },
	{ "{\"id\":1,\"jsonrpc\":\"2.0\",\"method\":[]}", ERROR("1", "-32600", "method: found a list, expected a string", "EBADMSG") },
	{ CALL("port.explode", "{}"), ERROR("1", "-32601", "method: found 'port.explode', which does not exist", "ENOTSUP") },
	{ "{\"id\":1,\"jsonrpc\":\"2.0\",\"method\":\"version\\u0000x\"}",
	  ERROR("1", "-32600", "method: found a string with a NUL in it, expected a string", "EBADMSG") },
	/* parameters */
	{ CALL("port.show", "[\"vm0\"]"), ERROR("1", "-32602", "params: found a list, expected an object", "EBADMSG") },
	{ CALL("port.show", "null"), ERROR("1", "-32602", "params: found null, expected an object", "EBADMSG") },
	{ "{\"id\":1,\"jsonrpc\":\"2.0\",\"method\":\"port.show\"}",
	  ERROR("1", "-32602", "port: found nothing, expected a string", "EBADMSG") },
	{ CALL("port.show", "{}"), ERROR("1", "-32602", "port: found nothing, expected a string", "EBADMSG") },
	{ CALL("port.show", "{\"port\":3}"), ERROR("1", "-32602", "port: found 3, expected a string", "EBADMSG") },
	{ CALL("port.show", "{\"port\":\"vm0\\u0000\"}"),
	  ERROR("1", "-32602", "port: found a string with a NUL in it, expected a string", "EBADMSG") },
	{ CALL("port.show", "{\"port\":\"vm0\",\"colour\":1}"),
	  ERROR("1", "-32602", "colour: found a parameter that port.show does not have", "EBADMSG") },
	{ CALL("version", "{\"x\":1}"), ERROR("1", "-32602", "x: found a parameter that version does not have", "EBADMSG") },
	{ CALL("queue.enable", "{\"port\":\"vm0\",\"queue\":\"1\"}"),
	  ERROR("1", "-32602", "queue: found '1', expected a number from 0 to 255", "EBADMSG") },
	{ CALL("queue.enable", "{\"port\":\"vm0\",\"queue\":-1}"),
	  ERROR("1", "-32602", "queue: found -1, expected a number from 0 to 255", "EBADMSG") },
	{ CALL("queue.enable", "{\"port\":\"vm0\",\"queue\":4294967296}"),
	  ERROR("1", "-32602", "queue: found 4294967296, expected a number from 0 to 255", "EBADMSG") },
	{ CALL("queue.enable", "{\"port\":\"vm0\",\"queue\":99999999999999999999999}"),
	  ERROR("1", "-32602", "queue: found 9223372036854775807, expected a number from 0 to 255", "EBADMSG") },
	{ CALL("queue.enable", "{\"port\":\"vm0\",\"queue\":true}"),
	  ERROR("1", "-32602", "queue: found true, expected a number from 0 to 255", "EBADMSG") },
	{ CALL("queue.doorbell", "{\"port\":\"vm0\",\"queue\":1,\"policy\":\"direct\"}"),
	  ERROR("1", "-32602", "policy: found 'direct', expected \\\"auto\\\" or \\\"relay\\\"", "EBADMSG") },
	{ CALL("queue.ring", "{\"port\":\"vm0\",\"queue\":1,\"policy\":\"relay\"}"), ERROR("1", "-32602",
	  "policy: found 'relay', expected \\\"auto\\\", \\\"direct\\\" or \\\"shadow\\\"", "EBADMSG") },
	{ CALL("log.level", "{\"level\":\"loud\"}"), ERROR("1", "-32602", "level: found 'loud', expected \\\"error\\\", "
	  "\\\"warning\\\", \\\"notice\\\" or \\\"debug\\\"", "EBADMSG") },
	{ CALL("queue.move", "{\"port\":\"vm0\"}"), ERROR("1", "-32602", "wish: found nothing, expected a string", "EBADMSG") },
	{ CALL("queue.move", "{\"port\":\"vm0\",\"wish\":\"software\",\"count\":0}"),
	  ERROR("1", "-32602", "count: found 0, expected a number from 1 to 256", "EBADMSG") },
	{ CALL("queue.move", "{\"port\":\"vm0\",\"wish\":\"software\",\"count\":257}"),
	  ERROR("1", "-32602", "count: found 257, expected a number from 1 to 256", "EBADMSG") },
	{ CALL("queue.move", "{\"port\":\"vm0\",\"wish\":\"software\",\"queues\":1}"),
	  ERROR("1", "-32602", "queues: found 1, expected a list of 1 to 256 numbers from 0 to 255", "EBADMSG") },
	{ CALL("queue.move", "{\"port\":\"vm0\",\"wish\":\"software\",\"queues\":[]}"),
	  ERROR("1", "-32602", "queues: found a list, expected a list of 1 to 256 numbers from 0 to 255", "EBADMSG") },
	{ CALL("queue.move", "{\"port\":\"vm0\",\"wish\":\"software\",\"pairs\":[0,\"1\"]}"),
	  ERROR("1", "-32602", "pairs: found a list, expected a list of 1 to 256 numbers from 0 to 255", "EBADMSG") },
	{ CALL("port.add", "{\"name\":\"x\"}"),
	  ERROR("1", "-32602", "socket: found nothing, expected a path of 1 to 107 bytes", "EBADMSG") },
	{ "{\"id\":1,\"jsonrpc\":\"2.0\",\"method\":\"port.add\"}",
	  ERROR("1", "-32602", "name: found nothing, expected 1 to 31 characters of A-Z a-z 0-9 _ . -", "EBADMSG") },
	{ CALL("port.add", "{\"name\":\"x\",\"queue_pairs\":\"2\"}"), ERROR("1", "-32602", "queue_pairs: found '2', "
	  "expected a number from 0 (as many as the accelerators have) to 128", "EBADMSG") },
	{ CALL("port.add", "{\"name\":\"x\",\"socket\":{}}"),
	  ERROR("1", "-32602", "socket: found an object, expected a path of 1 to 107 bytes", "EBADMSG") },
	{ CALL("port.add", "{\"colour\":1}"), ERROR("1", "-32602", "colour: found an unknown key, expected name, ...", "") },
	{ CALL("port.add", "{\"accelerators\":\"fake\"}"),
	  ERROR("1", "-32602", "accelerators: found no list, expected [ \\\"...\\\", ... ]", "EBADMSG") },
	{ CALL("port.add", "{\"accelerators\":[\"fake\",null]}"),
	  ERROR("1", "-32602", "accelerators[1]: found null, expected a list of 1 to 128 ...", "") },
	{ CALL("port.add", "{\"accelerators\":[\"nosuch\"]}"), ERROR("1", "-32602", "accelerators[0]: ...", "") },
	/* what the state refuses */
	{ CALL("port.show", "{\"port\":\"vm9\"}"), ERROR("1", "-32000", "port: found 'vm9', which is no port", "ENOENT") },
	{ CALL("port.remove", "{\"port\":\"vm9\"}"), ERROR("1", "-32000", "port: found 'vm9', which is no port", "ENOENT") },
	{ CALL("watch", "{\"port\":\"vm9\"}"), ERROR("1", "-32000", "port: found 'vm9', which is no port", "ENOENT") },
	{ CALL("queue.enable", "{\"port\":\"vm0\",\"queue\":4}"), ERROR("1", "-32000", "queue: 4, expected 0 to 3", "EINVAL") },
	{ CALL("queue.disable", "{\"port\":\"vm0\",\"queue\":255}"), ERROR("1", "-32000", "queue: 255, expected 0 to 3", "EINVAL") },
	{ CALL("queue.doorbell", "{\"port\":\"vm0\",\"queue\":4,\"policy\":\"auto\"}"),
	  ERROR("1", "-32000", "queue: 4, expected 0 to 3", "EINVAL") },
	{ CALL("port.add", "{\"name\":\"vm0\",\"socket\":\"/tmp/x\",\"accelerators\":[\"fake\"]}"),
	  ERROR("1", "-32000", "name: found 'vm0', which is a port already", "EEXIST") },
};
/* clang-format on */

static void
test_refusals(void **state)
{
	struct fixture *fixture = *state;
	unsigned int i;

	for (i = 0; i < sizeof(refusals) / sizeof(refusals[0]); i++) {
		const char *expected = refusals[i].answer;
		const char *dots = strstr(expected, "...\",\"data\"");
		char *answer = ask(fixture, refusals[i].line);

		if (dots != NULL)
			assert_memory_equal(answer, expected, (size_t)(dots - expected));
		else
			assert_string_equal(answer, expected);
		free(answer);
	}
}

static void
test_binary(void **state)
{
	struct fixture *fixture = *state;
	unsigned char bytes[513];
	unsigned int seed = 1, round;
	size_t i;

	for (round = 0; round < 2000; round++) {
		size_t length = (size_t)rand_r(&seed) % (sizeof(bytes) - 1);
		char *answer;

		for (i = 0; i < length; i++)
			bytes[i] = (unsigned char)rand_r(&seed);
		bytes[length] = '\0';
		answer = ask_bytes(fixture, (const char *)bytes, length);
		assert_non_null(strstr(answer, "\"code\":-32"));
		free(answer);
	}
}

/* What stands behind a NUL is not seen by who reads C strings: all of the line or nothing. */
static void
test_nul(void **state)
{
	static const char line[] = CALL("port.remove", "{\"port\":\"vm0\"}") "\0" CALL("version", "{}");
	struct fixture *fixture = *state;
	char *answer = ask_bytes(fixture, line, sizeof(line) - 1);

	assert_string_equal(answer, ERROR("null", "-32700", "request: found a NUL byte, expected JSON", "EBADMSG"));
	assert_non_null(rpd_ports_find(fixture->rpc.ports, "vm0"));
	free(answer);
}

/* A request with one byte changed is answered or refused, whatever the byte. */
static void
test_changed_bytes(void **state)
{
	static const char request[] = CALL("queue.disable", "{\"port\":\"vm0\",\"queue\":1}");
	struct fixture *fixture = *state;
	char changed[sizeof(request)];
	unsigned int at, byte;

	for (at = 0; at < sizeof(request) - 1; at++) {
		for (byte = 0; byte < 256; byte++) {
			char *answer;

			memcpy(changed, request, sizeof(request));
			changed[at] = (char)byte;
			answer = ask_bytes(fixture, changed, sizeof(changed) - 1);
			assert_true(answer[0] == '{' || answer[0] == '\0');
			free(answer);
		}
	}
}

static void
assert_answers(struct fixture *fixture, const char *line, const char *expected)
{
	char *answer = ask(fixture, line);

	assert_string_equal(answer, expected);
	free(answer);
}

static void
assert_answer_has(struct fixture *fixture, const char *line, const char *part)
{
	char *answer = ask(fixture, line);

	if (strstr(answer, part) == NULL)
		fail_msg("%s: %s: not in %s", line, part, answer);
	free(answer);
}

static void
test_envelope(void **state)
{
	struct fixture *fixture = *state;

	assert_answers(fixture, CALL("version", "{}") "\r",
		       "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{\"name\":\"ringpassd\",\"version\":\"" RPD_VERSION
		       "\"}}");
	assert_answer_has(fixture, "{\"jsonrpc\":\"2.0\",\"id\":\"a\\u0000b\",\"method\":\"version\"}",
			  "\"id\":\"a\\u0000b\",\"result\"");
	assert_answer_has(fixture, "{\"jsonrpc\":\"2.0\",\"id\":null,\"method\":\"version\"}",
			  "\"id\":null,\"result\"");
	/* A notification is acted upon and not answered, also when it is refused. */
	assert_answers(fixture, "{\"jsonrpc\":\"2.0\",\"method\":\"port.remove\",\"params\":{\"port\":\"vm9\"}}", "");
	assert_answers(fixture, "{\"jsonrpc\":\"2.0\",\"method\":\"port.remove\",\"params\":{\"port\":\"vm0\"}}", "");
	assert_null(rpd_ports_find(fixture->rpc.ports, "vm0"));
}

static void
test_list_and_show(void **state)
{
	struct fixture *fixture = *state;

	assert_answers(fixture, CALL("port.list", "{}"),
		       "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{\"ports\":[{\"port\":\"vm0\",\"socket\":\"/tmp/vm0\","
		       "\"mode\":\"server\",\"profile\":\"standard\",\"state\":\"listening\",\"reason\":\"\","
		       "\"frontend_pid\":0,\"accelerators\":1,\"queues\":4,\"queues_direct\":0,\"queues_relayed\":0,"
		       "\"queues_stopped\":4,\"queues_shadow\":0,\"queues_software\":0}]}}");
	fake_ports.connected = true;
	assert_answer_has(fixture, CALL("port.list", "{}"), "\"state\":\"connected\"");
	assert_answer_has(fixture, CALL("port.list", "{}"), "\"queues_direct\":4");
	assert_answer_has(fixture, CALL("port.show", "{\"port\":\"vm0\"}"),
			  "\"frontend_pid\":4242,\"features_offered\":\"0x130000000\",\"features_acked\":\"0x0\","
			  "\"protocol_features\":\"0x0\",\"memory_bytes\":1073741824,\"regions\":2,\"thread_node\":"
			  "null,\"iommu\":null,"
			  "\"software\":null,"
			  "\"accelerators\":["
			  "{\"arguments\":\"fake,socket=/f\",\"open\":true,\"reason\":\"\",\"driver\":\"fake\",");
	assert_answer_has(fixture, CALL("port.show", "{\"port\":\"vm0\"}"), "\"class\":\"A\"");
	assert_answer_has(fixture, CALL("port.show", "{\"port\":\"vm0\"}"),
			  "\"vfio_file\":false,\"link\":\"up\",\"mac\":\"52:54:00:01:02:03\",\"promiscuous\":false,"
			  "\"all_multicast\":false,\"receiving_pairs\":1,\"net_reason\":\"\"");
	assert_answer_has(
		fixture, CALL("port.show", "{\"port\":\"vm0\"}"),
		"\"ring_policy\":\"auto\",\"redone\":7,\"lost\":0,\"accesses_refused\":3,\"vfio_file\":\"held\","
		"\"owner\":\"hardware\",\"wish\":\"auto\",\"wish_reason\":\"because\",\"since_ms\":1500,"
		"\"moves_to_hardware\":0,\"moves_to_software\":0,\"moves_between_accelerators\":0,\"blackouts\":0,"
		"\"blackout_min_us\":null,"
		"\"blackout_median_us\":null,\"blackout_max_us\":null}");
	assert_answer_has(
		fixture, CALL("port.show", "{\"port\":\"vm0\"}"),
		"{\"queue\":1,\"direction\":\"tx\",\"mode\":\"direct\",\"doorbell\":\"mapped\","
		"\"doorbell_wanted\":true,"
		"\"doorbell_policy\":\"auto\",\"reason\":\"\",\"user_enabled\":true,\"frontend_enabled\":true,"
		"\"frontend_started\":true,\"node\":1,\"accelerator\":0,\"accelerator_queue\":1,"
		"\"direct_kicks\":18446744073709551615,");
}

/* A window between two devices, of which one is not there yet; then in two pieces. */
static void
test_windows(void **state)
{
	struct fixture *fixture = *state;

	assert_answer_has(fixture, CALL("port.show", "{\"port\":\"vm0\"}"), "],\"windows\":[]}");
	assert_answer_has(fixture,
			  CALL("port.add",
			       "{\"name\":\"vm1\",\"socket\":\"/tmp/vm1\",\"accelerators\":[\"fake\",\"fake\"],"
			       "\"windows\":[\"of=1,bar=4,to=0,iova=0x3800000000,offset=8192\"]}"),
			  "\"port\":\"vm1\"");
	assert_answer_has(
		fixture, CALL("port.show", "{\"port\":\"vm1\"}"),
		"\"windows\":[{\"window\":0,\"of\":1,\"bar\":4,\"to\":0,\"iova\":\"0x3800000000\",\"offset\":8192,"
		"\"size\":0,\"state\":\"waiting\",\"cause\":\"\",\"reason\":\"one of its devices is not there\"}]");
	fake_ports.connected = true;
	assert_answer_has(
		fixture, CALL("port.show", "{\"port\":\"vm1\"}"),
		"\"windows\":[{\"window\":0,\"of\":1,\"bar\":4,\"to\":0,\"iova\":\"0x3800000000\",\"offset\":8192,"
		"\"size\":4096,\"state\":\"mapped\",\"cause\":\"\",\"reason\":\"\"},"
		"{\"window\":0,\"of\":1,\"bar\":4,\"to\":0,\"iova\":\"0x3800001000\",\"offset\":12288,"
		"\"size\":4096,\"state\":\"left-out\",\"cause\":\"interrupts\",\"reason\":\"a table\"}]");
	assert_answer_has(fixture, CALL("port.show", "{\"port\":\"vm1\"}"),
			  "\"net_reason\":\"\",\"windows_mapped\":1,\"windows_left_out\":2,\"left_out_ever\":3,"
			  "\"left_out_untold\":1}");
}

/* What a guest's IOMMU was asked. */
static void
test_iommu(void **state)
{
	struct fixture *fixture = *state;

	fake_ports.access_platform = fake_ports.connected = true;
	assert_answer_has(
		fixture, CALL("port.show", "{\"port\":\"vm0\"}"),
		"\"iommu\":{\"negotiated\":false,\"translations\":1,\"updates\":2,\"invalidations\":3,"
		"\"misses\":4,\"misses_refused\":5,\"rings_stopped\":6,\"device_translations\":7,"
		"\"device_page_requests\":8,\"device_pages\":9,\"device_invalidations\":10},\"software\":null,");
}

/* Nobody is served before it is known what the backend can: the port waits, and says for what. */
static void
test_software(void **state)
{
	struct fixture *fixture = *state;

	assert_answer_has(fixture,
			  CALL("port.add", "{\"name\":\"vm1\",\"socket\":\"/tmp/vm1\",\"software\":\"/tmp/sw\"}"),
			  "\"state\":\"waiting\",\"reason\":\"the backend is not there yet\",\"frontend_pid\":0,"
			  "\"accelerators\":0");
	assert_answer_has(fixture, CALL("port.show", "{\"port\":\"vm1\"}"),
			  "\"software\":{\"socket\":\"/tmp/sw\",\"mode\":\"client\",\"state\":\"connecting\","
			  "\"reason\":\"the backend is not there yet\",\"kind\":\"auto\",\"pid\":0,"
			  "\"features\":\"0x0\",\"protocol_features\":\"0x0\",\"queues\":0,\"connections\":0,"
			  "\"timeouts\":0},\"accelerators\":[],");
	fake_ports.software_known = true;
	assert_answer_has(fixture, CALL("port.show", "{\"port\":\"vm1\"}"), "\"state\":\"listening\",\"reason\":\"\"");
	fake_ports.software_usable = true;
	assert_answer_has(fixture, CALL("port.show", "{\"port\":\"vm1\"}"),
			  "\"state\":\"usable\",\"reason\":\"\",\"kind\":\"librte_vhost\",\"pid\":77,"
			  "\"features\":\"0x140000000\",\"protocol_features\":\"0x9\",\"queues\":2,"
			  "\"connections\":3,\"timeouts\":2}");
	assert_answer_has(fixture,
			  CALL("port.add", "{\"name\":\"vm2\",\"socket\":\"/tmp/vm2\",\"software\":\"/tmp/sw2\","
					   "\"software_mode\":\"server\",\"wish\":\"software\"}"),
			  "\"state\":\"listening\"");
	fake_ports.software_usable = false;
	assert_answer_has(fixture, CALL("port.show", "{\"port\":\"vm2\"}"),
			  "\"software\":{\"socket\":\"/tmp/sw2\",\"mode\":\"server\",\"state\":\"listening\"");
	assert_answer_has(fixture, CALL("port.show", "{\"port\":\"vm2\"}"), "\"wish\":\"software\"");
	fake_ports.create_error = -ENOENT;
	fake_ports.create_text = "no accelerator";
	assert_answer_has(fixture,
			  CALL("port.add", "{\"name\":\"vm3\",\"socket\":\"/tmp/vm3\",\"software\":\"/tmp/sw3\"}"),
			  "\"state\":\"waiting\",\"reason\":\"no accelerator\"");
	assert_answer_has(fixture, CALL("port.show", "{\"port\":\"vm3\"}"),
			  "\"software\":{\"socket\":\"/tmp/sw3\",\"mode\":\"client\",\"state\":\"waiting\","
			  "\"reason\":\"no accelerator\"");
	assert_answers(fixture,
		       CALL("port.add", "{\"name\":\"vm4\",\"socket\":\"/tmp/vm4\",\"software\":\"/tmp/vm0\"}"),
		       ERROR("1", "-32000", "software: found '/tmp/vm0', which is a socket of port vm0", "EEXIST"));
}

static void
test_queues(void **state)
{
	struct fixture *fixture = *state;

	fake_ports.connected = true;
	assert_answer_has(fixture, CALL("queue.disable", "{\"port\":\"vm0\",\"queue\":1}"),
			  "{\"port\":\"vm0\",\"queue\":1,\"direction\":\"tx\",\"mode\":\"stopped\"");
	assert_answer_has(fixture, CALL("queue.enable", "{\"port\":\"vm0\",\"queue\":1}"), "\"mode\":\"direct\"");
	assert_answer_has(fixture, CALL("queue.doorbell", "{\"port\":\"vm0\",\"queue\":0,\"policy\":\"relay\"}"),
			  "\"mode\":\"relayed\"");
	assert_answer_has(fixture, CALL("queue.doorbell", "{\"port\":\"vm0\",\"queue\":0,\"policy\":\"auto\"}"),
			  "\"mode\":\"direct\"");
	assert_answer_has(fixture, CALL("queue.ring", "{\"port\":\"vm0\",\"queue\":0,\"policy\":\"shadow\"}"),
			  "\"mode\":\"shadow\"");
	assert_answer_has(fixture, CALL("port.list", "{}"), "\"queues_shadow\":1");
	assert_answer_has(fixture, CALL("queue.ring", "{\"port\":\"vm0\",\"queue\":0,\"policy\":\"direct\"}"),
			  "\"ring_policy\":\"direct\"");
}

static void
test_add_and_remove(void **state)
{
	struct fixture *fixture = *state;

	assert_answer_has(fixture,
			  CALL("port.add", "{\"name\":\"vm1\",\"socket\":\"/tmp/vm1\",\"mode\":\"client\","
					   "\"queue_pairs\":2,\"accelerators\":[\"fake,socket=/f\",\"fake\"]}"),
			  "\"result\":{\"port\":\"vm1\",\"socket\":\"/tmp/vm1\",\"mode\":\"client\","
			  "\"profile\":\"standard\",\"state\":\"connecting\"");
	assert_answer_has(fixture, CALL("port.remove", "{\"port\":\"vm1\"}"), "\"result\":{\"port\":\"vm1\"}");
	/* "port" is the name too, as in every other method. */
	assert_answer_has(fixture,
			  CALL("port.add", "{\"port\":\"vm1\",\"socket\":\"/tmp/vm1\",\"accelerators\":[\"fake\"]}"),
			  "\"state\":\"listening\"");
}

static void
test_waiting_port(void **state)
{
	struct fixture *fixture = *state;

	fake_ports.create_error = -ENOENT;
	fake_ports.create_text = "no such socket";
	assert_answer_has(fixture,
			  CALL("port.add", "{\"name\":\"vm1\",\"socket\":\"/tmp/vm1\",\"accelerators\":[\"fake\"]}"),
			  "\"state\":\"waiting\",\"reason\":\"no such socket\"");
	assert_answer_has(fixture, CALL("port.show", "{\"port\":\"vm1\"}"),
			  "\"accelerators\":[{\"arguments\":\"fake\",\"open\":false,\"reason\":\"no such socket\"}],"
			  "\"queues\":[]");
	assert_answers(fixture, CALL("queue.enable", "{\"port\":\"vm1\",\"queue\":0}"),
		       ERROR("1", "-32000", "port vm1 is waiting: no such socket", "ENOTCONN"));
	fake_ports.create_error = -EBADMSG;
	assert_answer_has(fixture,
			  CALL("port.add", "{\"name\":\"vm2\",\"socket\":\"/tmp/vm2\",\"accelerators\":[\"fake\"]}"),
			  "\"code\":-32602");
}

static void
test_watch(void **state)
{
	struct fixture *fixture = *state;
	struct rp_port_event event = {RP_PORT_EVENT_NOTICE, "vm0", 1, "doorbell-mapped", "a \"quoted\"\ntext"};
	struct json_object *object;

	assert_false(rpd_watch_wants(&fixture->watch, &event));
	assert_answer_has(fixture, CALL("watch", "{}"), "\"result\":{\"level\":\"notice\"}");
	assert_true(rpd_watch_wants(&fixture->watch, &event));
	event.level = RP_PORT_EVENT_DEBUG;
	assert_false(rpd_watch_wants(&fixture->watch, &event));
	assert_answer_has(fixture, CALL("watch", "{\"port\":\"vm0\",\"level\":\"debug\"}"), "\"level\":\"debug\"");
	assert_true(rpd_watch_wants(&fixture->watch, &event));
	object = rpd_rpc_event(&event);
	assert_string_equal(
		json_object_to_json_string_ext(object, JSON_C_TO_STRING_PLAIN),
		"{\"jsonrpc\":\"2.0\",\"method\":\"event\",\"params\":{\"level\":\"debug\",\"port\":\"vm0\","
		"\"queue\":1,\"event\":\"doorbell-mapped\",\"text\":\"a \\\"quoted\\\"?text\"}}");
	json_object_put(object);
	event.port = "vm1";
	assert_false(rpd_watch_wants(&fixture->watch, &event));
	event.port = NULL;
	event.queue = -1;
	assert_false(rpd_watch_wants(&fixture->watch, &event));
	object = rpd_rpc_event(&event);
	assert_non_null(
		strstr(json_object_to_json_string_ext(object, JSON_C_TO_STRING_PLAIN), "\"port\":null,\"queue\":null"));
	json_object_put(object);
}

static void
test_log_level(void **state)
{
	struct fixture *fixture = *state;

	assert_answer_has(fixture, CALL("log.level", "{}"), "\"level\":\"notice\"");
	assert_answer_has(fixture, CALL("log.level", "{\"level\":\"debug\"}"), "\"level\":\"debug\"");
	assert_int_equal(rpd_log_level(fixture->rpc.log), RP_PORT_EVENT_DEBUG);
}

static int
hand_over(void *ctx, struct json_object *result, struct rp_wire_why *why)
{
	struct fixture *fixture = ctx;

	if (fixture->watch.on)
		return rp_wire_why_set(why, -EBUSY, "it is under way");
	rpd_json_add_text(result, "told", "yes");
	return 0;
}

static void
test_hand_over(void **state)
{
	struct fixture *fixture = *state;

	assert_answers(fixture, CALL("hand-over", "{}"),
		       ERROR("1", "-32000", "ringpassd was not started with --hand-over", "ENOTSUP"));
	fixture->rpc.hand_over = hand_over;
	fixture->rpc.ctx = fixture;
	assert_answer_has(fixture, CALL("hand-over", "{}"), "{\"told\":\"yes\"}");
	fixture->watch.on = true;
	assert_answers(fixture, CALL("hand-over", "{}"), ERROR("1", "-32000", "it is under way", "EBUSY"));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_refusals, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_binary, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_nul, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_changed_bytes, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_envelope, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_list_and_show, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_windows, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_iommu, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_software, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_queues, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_add_and_remove, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_waiting_port, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_watch, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_log_level, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_hand_over, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
