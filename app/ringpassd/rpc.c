/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "rpc.h"

#define DEPTH_MAX 8
#define NAME_SHOWN_MAX 40

static const char *
errno_name(int error)
{
	const char *name = strerrorname_np(-error);

	/* Linux has one number for two names; the error dictionary uses this one. */
	if (error == -ENOTSUP)
		return "ENOTSUP";
	return name == NULL || error == 0 ? "EIO" : name;
}

struct json_object *
rpd_rpc_refusal(int code, int error, const char *text)
{
	struct json_object *answer = json_object_new_object();
	struct json_object *object = json_object_new_object();
	struct json_object *data = json_object_new_object();

	rpd_json_add_text(data, "errno", errno_name(error));
	json_object_object_add(object, "code", json_object_new_int(code));
	rpd_json_add_text(object, "message", text);
	json_object_object_add(object, "data", data);
	json_object_object_add(answer, "jsonrpc", json_object_new_string("2.0"));
	json_object_object_add(answer, "id", NULL);
	json_object_object_add(answer, "error", object);
	return answer;
}

void
rpd_rpc_value(struct json_object *value, struct rpd_value *ret_value)
{
	memset(ret_value, 0, sizeof(*ret_value));
	ret_value->type = RPD_VALUE_OTHER;
	switch (json_object_get_type(value)) {
	case json_type_null:
		ret_value->text = "null";
		break;
	case json_type_boolean:
		ret_value->type = RPD_VALUE_BOOL;
		ret_value->boolean = json_object_get_boolean(value);
		break;
	case json_type_int:
		ret_value->type = RPD_VALUE_NUMBER;
		ret_value->number = json_object_get_int64(value);
		break;
	case json_type_string:
		ret_value->type = RPD_VALUE_TEXT;
		ret_value->text = json_object_get_string(value);
		/* C strings end at a NUL; what is behind it would go unseen. */
		if (strlen(ret_value->text) != (size_t)json_object_get_string_len(value)) {
			ret_value->type = RPD_VALUE_OTHER;
			ret_value->text = "a string with a NUL in it";
		}
		break;
	case json_type_array:
		ret_value->type = RPD_VALUE_LIST;
		break;
	case json_type_object:
		ret_value->text = "an object";
		break;
	case json_type_double:
		ret_value->text = "a fraction";
		break;
	}
}

/* The words of "found ..." for a member; an absent one is "nothing". */
static void
describe(struct json_object *value, bool present, char *ret_text, size_t size)
{
	struct rpd_value described;

	if (!present) {
		snprintf(ret_text, size, "nothing");
		return;
	}
	rpd_rpc_value(value, &described);
	rpd_value_describe(&described, ret_text, size);
}

static bool
is_legal(enum rpd_rpc_type type, struct json_object *member)
{
	struct rpd_value value;
	size_t i;

	rpd_rpc_value(member, &value);
	switch (type) {
	case RPD_RPC_TEXT:
		return value.type == RPD_VALUE_TEXT;
	case RPD_RPC_QUEUE:
		return value.type == RPD_VALUE_NUMBER && value.number >= 0 && value.number < RP_VHU_QUEUES_MAX;
	case RPD_RPC_COUNT:
		return value.type == RPD_VALUE_NUMBER && value.number >= 1 && value.number <= RP_VHU_QUEUES_MAX;
	case RPD_RPC_QUEUES:
		if (value.type != RPD_VALUE_LIST || json_object_array_length(member) > RP_VHU_QUEUES_MAX)
			return false;
		for (i = 0; i < json_object_array_length(member); i++)
			if (!is_legal(RPD_RPC_QUEUE, json_object_array_get_idx(member, i)))
				return false;
		return i > 0;
	}
	return false;
}

static int
check_param(struct json_object *params, const struct rpd_rpc_param *param, struct rp_wire_why *why)
{
	static const char *const expected[] = {
		[RPD_RPC_TEXT] = "a string",
		[RPD_RPC_QUEUE] = "a number from 0 to 255",
		[RPD_RPC_COUNT] = "a number from 1 to 256",
		[RPD_RPC_QUEUES] = "a list of 1 to 256 numbers from 0 to 255",
	};
	struct json_object *member = NULL;
	bool present = params != NULL && json_object_object_get_ex(params, param->name, &member);
	char found[80];

	if (present ? is_legal(param->type, member) : !param->required)
		return 0;
	describe(member, present, found, sizeof(found));
	return rp_wire_why_set(why, -EBADMSG, "%s: found %s, expected %s", param->name, found, expected[param->type]);
}

static int
check_params(const struct rpd_rpc_method *method, struct json_object *params, struct rp_wire_why *why)
{
	unsigned int i;
	int rc;

	if (method->params_unchecked)
		return 0;
	for (i = 0; i < RPD_RPC_PARAMS_MAX && method->params[i].name != NULL; i++) {
		rc = check_param(params, &method->params[i], why);
		if (rc < 0)
			return rc;
	}
	if (params == NULL)
		return 0;
	json_object_object_foreach(params, key, value)
	{
		(void)value;
		for (i = 0; i < RPD_RPC_PARAMS_MAX && method->params[i].name != NULL; i++) {
			if (strcmp(method->params[i].name, key) == 0)
				break;
		}
		if (i == RPD_RPC_PARAMS_MAX || method->params[i].name == NULL)
			return rp_wire_why_set(why, -EBADMSG, "%.*s: found a parameter that %s does not have",
					       NAME_SHOWN_MAX, key, method->name);
	}
	return 0;
}

/* What was recognised of a request, as far as it was. */
struct request {
	struct json_object *id;
	bool wants_answer;
	const struct rpd_rpc_method *method;
	struct json_object *params;
};

static int
check_id(struct json_object *object, struct request *request, struct rp_wire_why *why)
{
	struct json_object *id = NULL;
	char found[80];

	request->wants_answer = json_object_object_get_ex(object, "id", &id);
	if (!request->wants_answer || json_object_is_type(id, json_type_string) ||
	    json_object_is_type(id, json_type_int) || json_object_is_type(id, json_type_null)) {
		request->id = id;
		return 0;
	}
	describe(id, true, found, sizeof(found));
	return rp_wire_why_set(why, -EBADMSG, "id: found %s, expected a string, a whole number or null", found);
}

/* The envelope. @return 0 or a JSON-RPC code, with why. */
static int
check_request(struct json_object *object, struct request *request, struct rp_wire_why *why)
{
	struct json_object *version = NULL, *method = NULL;
	struct rpd_value value;
	char found[80];
	bool present;

	request->wants_answer = true;
	describe(object, true, found, sizeof(found));
	if (!json_object_is_type(object, json_type_object)) {
		rp_wire_why_set(why, -EBADMSG, "request: found %s, expected one object", found);
		return RPD_RPC_INVALID_REQUEST;
	}
	if (check_id(object, request, why) < 0)
		return RPD_RPC_INVALID_REQUEST;
	present = json_object_object_get_ex(object, "jsonrpc", &version);
	rpd_rpc_value(version, &value);
	if (!present || value.type != RPD_VALUE_TEXT || strcmp(value.text, "2.0") != 0) {
		describe(version, present, found, sizeof(found));
		rp_wire_why_set(why, -EBADMSG, "jsonrpc: found %s, expected \"2.0\"", found);
		return RPD_RPC_INVALID_REQUEST;
	}
	present = json_object_object_get_ex(object, "method", &method);
	rpd_rpc_value(method, &value);
	if (!present || value.type != RPD_VALUE_TEXT) {
		describe(method, present, found, sizeof(found));
		rp_wire_why_set(why, -EBADMSG, "method: found %s, expected a string", found);
		return RPD_RPC_INVALID_REQUEST;
	}
	for (request->method = rpd_rpc_methods; request->method->name != NULL; request->method++) {
		if (strcmp(request->method->name, value.text) == 0)
			break;
	}
	if (request->method->name == NULL) {
		rp_wire_why_set(why, -ENOTSUP, "method: found '%.*s', which does not exist", NAME_SHOWN_MAX,
				value.text);
		return RPD_RPC_METHOD_NOT_FOUND;
	}
	present = json_object_object_get_ex(object, "params", &request->params);
	if (present && !json_object_is_type(request->params, json_type_object)) {
		describe(request->params, true, found, sizeof(found));
		rp_wire_why_set(why, -EBADMSG, "params: found %s, expected an object", found);
		return RPD_RPC_INVALID_PARAMS;
	}
	if (check_params(request->method, request->params, why) < 0)
		return RPD_RPC_INVALID_PARAMS;
	return 0;
}

static struct json_object *
answer_request(const struct rpd_rpc *rpc, struct rpd_watch *watch, struct json_object *object)
{
	struct rpd_rpc_call call = {.rpc = rpc, .watch = watch};
	struct request request = {0};
	struct json_object *answer;
	int code = check_request(object, &request, &call.why);

	call.result = json_object_new_object();
	if (code == 0) {
		int rc;

		call.params = request.params;
		rc = request.method->run(&call);
		if (rc < 0) {
			code = rc == -EBADMSG ? RPD_RPC_INVALID_PARAMS : RPD_RPC_REFUSED;
			call.why.error = rc;
		}
	}
	/* What is no request at all cannot be a notification either: JSON-RPC 2.0, section 7. */
	if (!request.wants_answer && code != RPD_RPC_INVALID_REQUEST) {
		json_object_put(call.result);
		return NULL;
	}
	if (code != 0) {
		json_object_put(call.result);
		answer = rpd_rpc_refusal(code, call.why.error, call.why.text);
		json_object_object_add(answer, "id", json_object_get(request.id));
		return answer;
	}
	answer = json_object_new_object();
	json_object_object_add(answer, "jsonrpc", json_object_new_string("2.0"));
	json_object_object_add(answer, "id", json_object_get(request.id));
	json_object_object_add(answer, "result", call.result);
	return answer;
}

/* @return the object, or NULL with why. */
static struct json_object *
parse(const char *line, size_t bytes, struct rp_wire_why *why)
{
	struct json_tokener *tokener;
	struct json_object *object;
	enum json_tokener_error error;

	if (memchr(line, '\0', bytes) != NULL) {
		rp_wire_why_set(why, -EBADMSG, "request: found a NUL byte, expected JSON");
		return NULL;
	}
	tokener = json_tokener_new_ex(DEPTH_MAX);
	if (tokener == NULL) {
		rp_wire_why_set(why, -ENOMEM, "no memory");
		return NULL;
	}
	json_tokener_set_flags(tokener, JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8);
	/* With its NUL: a number at the very end is whole only then. */
	object = json_tokener_parse_ex(tokener, line, (int)bytes + 1);
	error = json_tokener_get_error(tokener);
	if (error == json_tokener_continue || error == json_tokener_error_parse_eof)
		rp_wire_why_set(why, -EBADMSG, "request: found the end of the line, expected a whole object before it");
	else if (error == json_tokener_error_depth)
		rp_wire_why_set(why, -EBADMSG, "request: found nesting deeper than %d", DEPTH_MAX);
	else if (error != json_tokener_success)
		rp_wire_why_set(why, -EBADMSG, "request: found %s at byte %zu, expected JSON",
				json_tokener_error_desc(error), json_tokener_get_parse_end(tokener));
	json_tokener_free(tokener);
	return error == json_tokener_success ? object : NULL;
}

struct json_object *
rpd_rpc_handle(const struct rpd_rpc *rpc, struct rpd_watch *watch, const char *line, size_t bytes)
{
	struct rp_wire_why why = {0};
	struct json_object *object = parse(line, bytes, &why);
	struct json_object *answer;

	if (why.error != 0)
		return rpd_rpc_refusal(RPD_RPC_PARSE_ERROR, why.error, why.text);
	answer = answer_request(rpc, watch, object);
	json_object_put(object);
	return answer;
}
