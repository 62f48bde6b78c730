/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * queue.move and queue.transfer: which queues are meant, in whatever way they are named, and one call of
 * lib/port for each run of neighbours, because it moves both rings of a pair together.
 */

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "rpc.h"

struct chosen {
	bool queues[RP_VHU_QUEUES_MAX];
	unsigned int limit; /* queues of the port */
};

static int
choose(struct rpd_rpc_call *call, struct chosen *chosen, uint64_t first, uint64_t count)
{
	uint64_t queue;

	for (queue = first; queue < first + count; queue++) {
		if (queue >= chosen->limit)
			return rp_wire_why_set(&call->why, -EINVAL, "queue %llu: the port has %u queues",
					       (unsigned long long)queue, chosen->limit);
		chosen->queues[queue] = true;
	}
	return 0;
}

/* @param size of what each number names: 1 queue, or the 2 of a pair. */
static int
choose_each(struct rpd_rpc_call *call, struct chosen *chosen, struct json_object *list, unsigned int size)
{
	size_t i;
	int rc = 0;

	for (i = 0; rc == 0 && i < json_object_array_length(list); i++)
		rc = choose(call, chosen, (uint64_t)json_object_get_int64(json_object_array_get_idx(list, i)) * size,
			    size);
	return rc;
}

static struct json_object *
member_of(const struct rpd_rpc_call *call, const char *name)
{
	struct json_object *member = NULL;

	json_object_object_get_ex(call->params, name, &member);
	return member;
}

static int
read_queues(struct rpd_rpc_call *call, struct chosen *chosen)
{
	struct json_object *queue = member_of(call, "queue"), *count = member_of(call, "count"),
			   *queues = member_of(call, "queues"), *pairs = member_of(call, "pairs");

	if ((queue != NULL) + (queues != NULL) + (pairs != NULL) > 1)
		return rp_wire_why_set(&call->why, -EBADMSG, "queue, queues, pairs: found two, expected one at most");
	if (count != NULL && queue == NULL)
		return rp_wire_why_set(&call->why, -EBADMSG, "count: found it without queue, expected none then");
	if (queues != NULL)
		return choose_each(call, chosen, queues, 1);
	if (pairs != NULL)
		return choose_each(call, chosen, pairs, 2);
	if (queue != NULL)
		return choose(call, chosen, (uint64_t)json_object_get_int64(queue),
			      count == NULL ? 1 : (uint64_t)json_object_get_int64(count));
	return choose(call, chosen, 0, chosen->limit);
}

/* Where they are to go. */
struct destination {
	bool is_accelerator; /* this one; else: as wished */
	unsigned int accelerator;
	enum rp_port_wish wish;
};

static int
move_run(struct rp_port *port, unsigned int first, unsigned int count, const struct destination *to,
	 struct rp_wire_why *why)
{
	return to->is_accelerator ? rp_port_transfer(port, first, count, to->accelerator, why) :
				    rp_port_move(port, first, count, to->wish, why);
}

/* One that is refused does not keep the others where they are. @return 0, or what the first refusal said. */
static int
move_runs(struct rpd_rpc_call *call, struct rp_port *port, const struct chosen *chosen, const struct destination *to)
{
	unsigned int first = 0, end;
	int result = 0;

	for (; first < chosen->limit; first = end + 1) {
		struct rp_wire_why why = {0};
		int rc;

		for (end = first; end < chosen->limit && chosen->queues[end]; end++)
			;
		if (end == first)
			continue;
		rc = move_run(port, first, end - first, to, &why);
		if (rc < 0 && result == 0) {
			result = rc;
			call->why = why;
		}
	}
	return result;
}

/* What became of them: not always what was asked for, as the frontend has a say too. */
static void
answer_queues(struct rpd_rpc_call *call, struct rp_port *port, const struct chosen *chosen)
{
	struct json_object *list = json_object_new_array();
	unsigned int i;

	for (i = 0; i < chosen->limit; i++) {
		struct rp_port_queue_info info;
		struct json_object *object;

		if (!chosen->queues[i] || rp_port_get_queue_info(port, i, &info) < 0)
			continue;
		object = json_object_new_object();
		rpd_show_queue(object, &info);
		json_object_array_add(list, object);
	}
	json_object_object_add(call->result, "queues", list);
}

/* How many queues a port has may depend on the software backend, which was never seen. */
static int
refuse_waiting(struct rpd_rpc_call *call, const struct rp_port *port)
{
	struct rp_port_software_info info;

	rp_port_get_software_info(port, &info);
	return rp_wire_why_set(&call->why, -ENOTCONN, "port %s is waiting: %s", rpd_rpc_text(call, "port"),
			       info.reason);
}

static int
run(struct rpd_rpc_call *call, const struct destination *to)
{
	struct chosen chosen = {0};
	struct rp_port_info info;
	struct rp_port *port;
	int rc = rpd_rpc_find_port(call, &port);

	if (rc < 0)
		return rc;
	rp_port_get_info(port, &info);
	chosen.limit = info.queues_count;
	rc = chosen.limit == 0 ? refuse_waiting(call, port) : read_queues(call, &chosen);
	if (rc == 0)
		rc = move_runs(call, port, &chosen, to);
	if (rc < 0)
		return rc;
	rpd_json_add_text(call->result, "port", rpd_rpc_text(call, "port"));
	if (to->is_accelerator)
		rpd_json_add_number(call->result, "accelerator", to->accelerator);
	else
		rpd_json_add_text(call->result, "wish", rp_port_wish_name(to->wish));
	answer_queues(call, port, &chosen);
	return 0;
}

int
rpd_rpc_run_move(struct rpd_rpc_call *call)
{
	const char *word = rpd_rpc_text(call, "wish");
	struct destination to = {.is_accelerator = false};

	if (rpd_wish_parse(word, &to.wish) < 0)
		return rp_wire_why_set(&call->why, -EBADMSG,
				       "wish: found '%.40s', expected \"auto\", \"hardware\" or \"software\"", word);
	return run(call, &to);
}

int
rpd_rpc_run_transfer(struct rpd_rpc_call *call)
{
	struct destination to = {
		.is_accelerator = true,
		.accelerator = (unsigned int)json_object_get_int64(member_of(call, "accelerator")),
	};

	return run(call, &to);
}
