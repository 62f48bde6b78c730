/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "rpc.h"

const char *
rpd_rpc_text(const struct rpd_rpc_call *call, const char *name)
{
	struct json_object *member;

	if (call->params == NULL || !json_object_object_get_ex(call->params, name, &member))
		return NULL;
	return json_object_get_string(member);
}

/* The port that a call names. */
static int
find_port(struct rpd_rpc_call *call, struct rpd_port **ret_entry)
{
	const char *name = rpd_rpc_text(call, "port");
	struct rpd_port *entry = rpd_ports_find(call->rpc->ports, name);

	if (entry == NULL) {
		rp_wire_why_set(&call->why, -ENOENT, "port: found '%.40s', which is no port", name);
		return -ENOENT;
	}
	*ret_entry = entry;
	return 0;
}

static int
run_list(struct rpd_rpc_call *call)
{
	struct json_object *list = json_object_new_array();
	struct rpd_port *entry = NULL;

	while ((entry = rpd_ports_next(call->rpc->ports, entry)) != NULL) {
		struct json_object *object = json_object_new_object();

		rpd_show_port_summary(object, entry);
		json_object_array_add(list, object);
	}
	json_object_object_add(call->result, "ports", list);
	return 0;
}

static int
run_show(struct rpd_rpc_call *call)
{
	struct rpd_port *entry;
	int rc = find_port(call, &entry);

	if (rc == 0)
		rpd_show_port(call->result, entry);
	return rc;
}

/* The configuration file calls a port's own name "name", every other method "port"; both do here. */
static const struct rpd_spec_key *
find_key(const char *name)
{
	return rpd_spec_key_find(strcmp(name, "port") == 0 ? "name" : name);
}

static int
read_list(struct rpd_rpc_call *call, struct rpd_port_spec *spec, const struct rpd_spec_key *key, const char *name,
	  struct json_object *list)
{
	const struct rp_accel_registry *registry = rpd_ports_registry(call->rpc->ports);
	struct rpd_value value;
	size_t i;

	if (!json_object_is_type(list, json_type_array))
		return rp_wire_why_set(&call->why, -EBADMSG, "%s: found no list, expected [ \"...\", ... ]", name);
	for (i = 0; i < json_object_array_length(list); i++) {
		rpd_rpc_value(json_object_array_get_idx(list, i), &value);
		if (rpd_spec_set(spec, key, &value, registry, &call->why) < 0) {
			rp_wire_why_prefix(&call->why, "%s[%zu]: ", name, i);
			return -EBADMSG;
		}
	}
	return 0;
}

static int
read_spec(struct rpd_rpc_call *call, struct rpd_port_spec *spec)
{
	int rc;

	if (call->params == NULL)
		return rpd_spec_check(spec, &call->why);
	json_object_object_foreach(call->params, name, member)
	{
		const struct rpd_spec_key *key = find_key(name);
		struct rpd_value value;

		if (key == NULL)
			return rp_wire_why_set(&call->why, -EBADMSG, "%.40s: found an unknown key, expected %s", name,
					       rpd_spec_key_names());
		if (rpd_spec_key_is_list(key)) {
			rc = read_list(call, spec, key, name, member);
			if (rc < 0)
				return rc;
			continue;
		}
		rpd_rpc_value(member, &value);
		rc = rpd_spec_set(spec, key, &value, NULL, &call->why);
		if (rc < 0) {
			rp_wire_why_prefix(&call->why, "%s: ", name);
			return rc;
		}
	}
	return rpd_spec_check(spec, &call->why);
}

static int
run_add(struct rpd_rpc_call *call)
{
	struct rpd_port_spec spec = {.given = 0};
	struct rpd_port *entry;
	int rc = read_spec(call, &spec);

	if (rc == 0)
		rc = rpd_ports_add(call->rpc->ports, &spec, &call->why);
	if (rc == 0) {
		entry = rpd_ports_find(call->rpc->ports, spec.name);
		entry->by_rpc = true;
		rpd_show_port_summary(call->result, entry);
	}
	rpd_spec_fini(&spec);
	return rc;
}

static int
run_remove(struct rpd_rpc_call *call)
{
	const char *name = rpd_rpc_text(call, "port");
	int rc = rpd_ports_remove(call->rpc->ports, name, &call->why);

	if (rc == 0)
		rpd_json_add_text(call->result, "port", name);
	return rc;
}

struct target {
	struct rp_port *port;
	unsigned int queue;
};

int
rpd_rpc_find_port(struct rpd_rpc_call *call, struct rp_port **ret_port)
{
	struct rpd_port *entry;
	int rc = find_port(call, &entry);

	if (rc < 0)
		return rc;
	if (entry->port == NULL) {
		rp_wire_why_set(&call->why, -ENOTCONN, "port %s is waiting: %.160s", entry->spec.name, entry->reason);
		return -ENOTCONN;
	}
	*ret_port = entry->port;
	return 0;
}

/* The queue that a call names, on a port that is up. */
static int
find_queue(struct rpd_rpc_call *call, struct target *ret_target)
{
	struct json_object *queue = NULL;
	int rc = rpd_rpc_find_port(call, &ret_target->port);

	if (rc < 0)
		return rc;
	json_object_object_get_ex(call->params, "queue", &queue);
	ret_target->queue = (unsigned int)json_object_get_int64(queue);
	return 0;
}

/* What became of the queue: not always what was asked for, as the frontend has a say too. */
static int
answer_queue(struct rpd_rpc_call *call, const struct target *target)
{
	struct rp_port_queue_info info;

	rpd_json_add_text(call->result, "port", rpd_rpc_text(call, "port"));
	if (rp_port_get_queue_info(target->port, target->queue, &info) == 0)
		rpd_show_queue(call->result, &info);
	return 0;
}

static int
run_enable(struct rpd_rpc_call *call)
{
	struct target target;
	int rc = find_queue(call, &target);

	if (rc == 0)
		rc = rp_port_queue_enable(target.port, target.queue, &call->why);
	return rc < 0 ? rc : answer_queue(call, &target);
}

static int
run_disable(struct rpd_rpc_call *call)
{
	struct target target;
	int rc = find_queue(call, &target);

	if (rc == 0)
		rc = rp_port_queue_disable(target.port, target.queue, &call->why);
	return rc < 0 ? rc : answer_queue(call, &target);
}

static int
run_doorbell(struct rpd_rpc_call *call)
{
	const char *word = rpd_rpc_text(call, "policy");
	enum rp_port_doorbell_policy policy;
	struct target target;
	int rc;

	if (rpd_doorbell_policy_parse(word, &policy) < 0)
		return rp_wire_why_set(&call->why, -EBADMSG, "policy: found '%.40s', expected \"auto\" or \"relay\"",
				       word);
	rc = find_queue(call, &target);
	if (rc == 0)
		rc = rp_port_queue_doorbell(target.port, target.queue, policy, &call->why);
	return rc < 0 ? rc : answer_queue(call, &target);
}

static int
run_ring(struct rpd_rpc_call *call)
{
	const char *word = rpd_rpc_text(call, "policy");
	enum rp_port_ring_policy policy;
	struct target target;
	int rc;

	if (rpd_ring_policy_parse(word, &policy) < 0)
		return rp_wire_why_set(&call->why, -EBADMSG,
				       "policy: found '%.40s', expected \"auto\", \"direct\" or \"shadow\"", word);
	rc = find_queue(call, &target);
	if (rc == 0)
		rc = rp_port_queue_ring(target.port, target.queue, policy, &call->why);
	return rc < 0 ? rc : answer_queue(call, &target);
}

static int
level_param(struct rpd_rpc_call *call, enum rp_port_event_level *level)
{
	const char *word = rpd_rpc_text(call, "level");

	if (word == NULL || rpd_log_level_parse(word, level) == 0)
		return 0;
	return rp_wire_why_set(&call->why, -EBADMSG,
			       "level: found '%.40s', expected \"error\", \"warning\", \"notice\" or \"debug\"", word);
}

static int
run_watch(struct rpd_rpc_call *call)
{
	enum rp_port_event_level level = RP_PORT_EVENT_NOTICE;
	const char *port = rpd_rpc_text(call, "port");
	struct rpd_port *entry;
	int rc = level_param(call, &level);

	if (rc == 0 && port != NULL)
		rc = find_port(call, &entry);
	if (rc < 0)
		return rc;
	call->watch->on = true;
	call->watch->level = level;
	snprintf(call->watch->port, sizeof(call->watch->port), "%s", port == NULL ? "" : port);
	rpd_json_add_text(call->result, "level", rp_port_event_level_name(level));
	return 0;
}

static int
run_log_level(struct rpd_rpc_call *call)
{
	enum rp_port_event_level level = rpd_log_level(call->rpc->log);
	int rc = level_param(call, &level);

	if (rc < 0)
		return rc;
	rpd_log_set_level(call->rpc->log, level);
	rpd_json_add_text(call->result, "level", rp_port_event_level_name(level));
	return 0;
}

static int
run_hand_over(struct rpd_rpc_call *call)
{
	if (call->rpc->hand_over == NULL)
		return rp_wire_why_set(&call->why, -ENOTSUP, "ringpassd was not started with --hand-over");
	return call->rpc->hand_over(call->rpc->ctx, call->result, &call->why);
}

static int
run_version(struct rpd_rpc_call *call)
{
	rpd_json_add_text(call->result, "name", "ringpassd");
	rpd_json_add_text(call->result, "version", RPD_VERSION);
	return 0;
}

bool
rpd_watch_wants(const struct rpd_watch *watch, const struct rp_port_event *event)
{
	if (!watch->on || event->level > watch->level)
		return false;
	return watch->port[0] == '\0' || (event->port != NULL && strcmp(watch->port, event->port) == 0);
}

struct json_object *
rpd_rpc_event(const struct rp_port_event *event)
{
	struct json_object *object = json_object_new_object();
	struct json_object *params = json_object_new_object();

	rpd_json_add_text(params, "level", rp_port_event_level_name(event->level));
	if (event->port == NULL)
		json_object_object_add(params, "port", NULL);
	else
		rpd_json_add_text(params, "port", event->port);
	json_object_object_add(params, "queue", event->queue < 0 ? NULL : json_object_new_int(event->queue));
	rpd_json_add_text(params, "event", event->name);
	rpd_json_add_text(params, "text", event->text);
	json_object_object_add(object, "jsonrpc", json_object_new_string("2.0"));
	json_object_object_add(object, "method", json_object_new_string("event"));
	json_object_object_add(object, "params", params);
	return object;
}

/* clang-format off */
#define PORT  { "port", RPD_RPC_TEXT, true }
#define QUEUE { "queue", RPD_RPC_QUEUE, true }

const struct rpd_rpc_method rpd_rpc_methods[] = {
	{ .name = "version",        .run = run_version },
	{ .name = "port.list",      .run = run_list },
	{ .name = "port.show",      .run = run_show,      .params = { PORT } },
	{ .name = "port.add",       .run = run_add,       .params_unchecked = true },
	{ .name = "port.remove",    .run = run_remove,    .params = { PORT } },
	{ .name = "queue.enable",   .run = run_enable,    .params = { PORT, QUEUE } },
	{ .name = "queue.disable",  .run = run_disable,   .params = { PORT, QUEUE } },
	{ .name = "queue.doorbell", .run = run_doorbell,  .params = { PORT, QUEUE, { "policy", RPD_RPC_TEXT, true } } },
	{ .name = "queue.ring",     .run = run_ring,      .params = { PORT, QUEUE, { "policy", RPD_RPC_TEXT, true } } },
	{ .name = "queue.move",     .run = rpd_rpc_run_move,
	  .params = { PORT, { "wish", RPD_RPC_TEXT, true }, { "queue", RPD_RPC_QUEUE, false },
		      { "count", RPD_RPC_COUNT, false }, { "queues", RPD_RPC_QUEUES, false },
		      { "pairs", RPD_RPC_QUEUES, false } } },
	{ .name = "queue.transfer", .run = rpd_rpc_run_transfer,
	  .params = { PORT, { "accelerator", RPD_RPC_QUEUE, true }, { "queue", RPD_RPC_QUEUE, false },
		      { "count", RPD_RPC_COUNT, false }, { "queues", RPD_RPC_QUEUES, false },
		      { "pairs", RPD_RPC_QUEUES, false } } },
	{ .name = "hand-over",      .run = run_hand_over },
	{ .name = "watch",          .run = run_watch,
	  .params = { { "port", RPD_RPC_TEXT, false }, { "level", RPD_RPC_TEXT, false } } },
	{ .name = "log.level",      .run = run_log_level, .params = { { "level", RPD_RPC_TEXT, false } } },
	{ .name = NULL },
};
/* clang-format on */
