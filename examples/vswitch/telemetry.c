/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>

#include <rte_common.h>
#include <rte_telemetry.h>
#include <rte_version.h>

#include "guest.h"
#include "telemetry.h"

#define QUEUES_PER_ANSWER 32u /* before DPDK cuts it off */

#if RTE_VERSION < RTE_VERSION_NUM(23, 3, 0, 0)
#define rte_tel_data_add_dict_uint rte_tel_data_add_dict_u64
#endif

/* DPDK calls without a context, and never stops calling. */
static struct vs_switch *served;
static struct vs_mailbox *way;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

struct question {
	const char *parameters;
	struct rte_tel_data *answer;
	int (*ask)(const struct question *question);
	int rc;
};

static void
on_main(void *ctx)
{
	struct question *question = ctx;

	question->rc = question->ask(question);
}

static int
ask(int (*ask_main)(const struct question *question), const char *parameters, struct rte_tel_data *answer)
{
	struct question question = {.parameters = parameters == NULL ? "" : parameters, .answer = answer};
	int rc;

	question.ask = ask_main;
	rte_tel_data_start_dict(answer);
	pthread_mutex_lock(&lock);
	rc = served == NULL ? -ECANCELED : vs_mailbox_call(way, on_main, &question);
	pthread_mutex_unlock(&lock);
	return rc < 0 ? rc : question.rc;
}

/* By its number: 22.11 has no lists of anything but numbers and words. */
static void
add_entry(struct rte_tel_data *answer, unsigned int number, struct rte_tel_data *entry)
{
	char name[16];

	snprintf(name, sizeof(name), "%u", number);
	if (rte_tel_data_add_dict_container(answer, name, entry, 0) < 0)
		rte_tel_data_free(entry);
}

static int
ask_ports(const struct question *question)
{
	unsigned int i;

	for (i = 0; i < served->ports_count; i++) {
		const struct vs_port *port = served->ports[i];
		struct rte_tel_data *entry = rte_tel_data_alloc();

		if (entry == NULL)
			return -ENOMEM;
		rte_tel_data_start_dict(entry);
		rte_tel_data_add_dict_string(entry, "name", port->name);
		rte_tel_data_add_dict_string(entry, "kind", port->guest == NULL ? "ethdev" : "guest");
		rte_tel_data_add_dict_uint(entry, "macs", vs_mac_count(served->mac, port->number));
		add_entry(question->answer, i, entry);
	}
	return 0;
}

static void
add_count(struct rte_tel_data *answer, const char *prefix, const char *name, const uint64_t *counter)
{
	char key[32];

	snprintf(key, sizeof(key), "%s_%s", prefix, name);
	rte_tel_data_add_dict_uint(answer, key, vs_counted(counter));
}

static int
ask_stats(const struct question *question)
{
	const struct vs_port *port = vs_switch_find(served, question->parameters);
	unsigned int i;

	if (port == NULL)
		return -ENOENT;
	for (i = 0; i < VS_PATHS_COUNT; i++) {
		add_count(question->answer, "in", vs_path_name((enum vs_path)i), &port->counters.in[i]);
		add_count(question->answer, "out", vs_path_name((enum vs_path)i), &port->counters.out[i]);
	}
	rte_tel_data_add_dict_uint(question->answer, "flooded", vs_counted(&port->counters.flooded));
	for (i = 0; i < VS_DROPS_COUNT; i++)
		add_count(question->answer, "drop", vs_drop_name((enum vs_drop)i), &port->counters.drops[i]);
	return 0;
}

static void
add_queue(struct rte_tel_data *answer, const struct rp_port_queue_info *queue)
{
	struct rte_tel_data *entry = rte_tel_data_alloc();

	if (entry == NULL)
		return;
	rte_tel_data_start_dict(entry);
	rte_tel_data_add_dict_string(entry, "owner", rp_port_owner_name(queue->owner));
	rte_tel_data_add_dict_string(entry, "mode", rp_port_queue_mode_name(queue->mode));
	rte_tel_data_add_dict_string(entry, "wish", rp_port_wish_name(queue->wish));
	rte_tel_data_add_dict_string(entry, "wish_reason", queue->wish_reason);
	rte_tel_data_add_dict_uint(entry, "moves", queue->moves);
	rte_tel_data_add_dict_uint(entry, "blackout_median_us", queue->blackout_median_us);
	rte_tel_data_add_dict_uint(entry, "blackout_max_us", queue->blackout_max_us);
	rte_tel_data_add_dict_uint(entry, "relayed_kicks", queue->relayed_kicks);
	rte_tel_data_add_dict_uint(entry, "redone", queue->redone);
	if (queue->counters_valid) {
		rte_tel_data_add_dict_uint(entry, "direct_kicks", queue->counters.direct_kicks);
		rte_tel_data_add_dict_uint(entry, "hardware_packets", queue->counters.packets);
	}
	add_entry(answer, queue->queue, entry);
}

static int
ask_queues(const struct question *question)
{
	char name[RP_PORT_NAME_MAX];
	const struct vs_port *port;
	struct rp_port_queue_info queue;
	unsigned int first = 0, i;

	if (sscanf(question->parameters, "%31[^,],%u", name, &first) < 1)
		return -EINVAL;
	port = vs_switch_find(served, name);
	if (port == NULL || port->guest == NULL || port->guest->port == NULL)
		return -ENOENT;
	for (i = first; i < first + QUEUES_PER_ANSWER; i++) {
		if (rp_port_get_queue_info(port->guest->port, i, &queue) < 0)
			break;
		add_queue(question->answer, &queue);
	}
	return 0;
}

static int
on_ports(const char *cmd, const char *params, struct rte_tel_data *data)
{
	(void)cmd;
	return ask(ask_ports, params, data);
}

static int
on_stats(const char *cmd, const char *params, struct rte_tel_data *data)
{
	(void)cmd;
	return ask(ask_stats, params, data);
}

static int
on_queues(const char *cmd, const char *params, struct rte_tel_data *data)
{
	(void)cmd;
	return ask(ask_queues, params, data);
}

void
vs_telemetry_start(struct vs_switch *sw, struct vs_mailbox *mailbox)
{
	served = sw;
	way = mailbox;
	rte_telemetry_register_cmd("/vswitch/ports", on_ports, "Ports of the switch");
	rte_telemetry_register_cmd("/vswitch/stats", on_stats, "Frames by path, drops by reason. Parameters: port");
	rte_telemetry_register_cmd("/vswitch/queues", on_queues,
				   "Who serves the queues of a guest. Parameters: port[, first queue]");
}

void
vs_telemetry_stop(void)
{
	pthread_mutex_lock(&lock);
	served = NULL;
	pthread_mutex_unlock(&lock);
}
