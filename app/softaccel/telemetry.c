/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include <rte_common.h>
#include <rte_telemetry.h>
#include <rte_version.h>

#include "telemetry.h"

/* An answer holds so many queues before DPDK cuts it off. */
#define QUEUES_PER_ANSWER 64u

#if RTE_VERSION < RTE_VERSION_NUM(23, 3, 0, 0)
#define rte_tel_data_add_dict_uint rte_tel_data_add_dict_u64
#endif

/* DPDK calls without a context, and never stops calling. */
static const struct softaccel *served;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void
add_port(struct rte_tel_data *dict, const struct softaccel_port_counters *port)
{
	unsigned int i;

	rte_tel_data_add_dict_uint(dict, "in_packets", port->in_packets);
	rte_tel_data_add_dict_uint(dict, "out_packets", port->out_packets);
	rte_tel_data_add_dict_uint(dict, "flooded", port->flooded);
	rte_tel_data_add_dict_uint(dict, "macs", port->macs_count);
	rte_tel_data_add_dict_uint(dict, "macs_refused", port->macs_refused);
	for (i = 0; i < SOFTACCEL_DROPS_COUNT; i++) {
		char name[64];

		snprintf(name, sizeof(name), "drop_%s", softaccel_drop_name((enum softaccel_drop)i));
		rte_tel_data_add_dict_uint(dict, name, port->drops[i]);
	}
}

/* An entry of an answer, by its number: 22.11 has no lists of anything but numbers and words. */
static void
add_entry(struct rte_tel_data *answer, unsigned int number, struct rte_tel_data *entry)
{
	char name[16];

	snprintf(name, sizeof(name), "%u", number);
	if (rte_tel_data_add_dict_container(answer, name, entry, 0) < 0)
		rte_tel_data_free(entry);
}

static void
add_function(struct rte_tel_data *answer, unsigned int number, const struct softaccel_function *function)
{
	struct rte_tel_data *dict = rte_tel_data_alloc();
	struct softaccel_port_counters port;

	if (dict == NULL)
		return;
	rte_tel_data_start_dict(dict);
	rte_tel_data_add_dict_string(dict, "socket", softaccel_function_socket(function));
	rte_tel_data_add_dict_uint(dict, "queues", softaccel_function_queues(function));
	softaccel_function_port_counters(function, &port);
	add_port(dict, &port);
	add_entry(answer, number, dict);
}

static int
on_functions(const char *cmd, const char *params, struct rte_tel_data *data)
{
	unsigned int i;

	(void)cmd;
	(void)params;
	rte_tel_data_start_dict(data);
	pthread_mutex_lock(&lock);
	for (i = 0; served != NULL && i < softaccel_functions_count(served); i++)
		add_function(data, i, softaccel_function_at(served, i));
	pthread_mutex_unlock(&lock);
	return 0;
}

static void
add_queue(struct rte_tel_data *answer, const struct softaccel_function *function, unsigned int queue)
{
	static const char *const states[] = {
		[SOFTACCEL_QUEUE_STOPPED] = "stopped",
		[SOFTACCEL_QUEUE_RUNNING] = "running",
		[SOFTACCEL_QUEUE_BROKEN] = "broken",
	};
	static const char *const kicked_by[] = {"any", "eventfd", "page"};
	struct rte_tel_data *dict = rte_tel_data_alloc();
	struct softaccel_queue_counters counters;
	struct softaccel_queue_doorbell doorbell;

	if (dict == NULL)
		return;
	rte_tel_data_start_dict(dict);
	softaccel_queue_counters(function, queue, &counters);
	rte_tel_data_add_dict_string(dict, "state", states[softaccel_queue_state(function, queue)]);
	rte_tel_data_add_dict_string(dict, "dma", softaccel_queue_by_messages(function, queue) ? "messages" : "direct");
	softaccel_queue_doorbell(function, queue, &doorbell);
	rte_tel_data_add_dict_string(dict, "kicked_by", doorbell.told <= 2 ? kicked_by[doorbell.told] : "?");
	rte_tel_data_add_dict_string(dict, "wants", doorbell.wants_page ? "page" : "eventfd");
	rte_tel_data_add_dict_uint(dict, "watched", doorbell.watched);
	rte_tel_data_add_dict_uint(dict, "direct_kicks", counters.direct_kicks);
	rte_tel_data_add_dict_uint(dict, "eventfd_kicks", counters.eventfd_kicks);
	rte_tel_data_add_dict_uint(dict, "interrupts", counters.interrupts);
	rte_tel_data_add_dict_uint(dict, "packets", counters.packets);
	rte_tel_data_add_dict_uint(dict, "bytes", counters.bytes);
	rte_tel_data_add_dict_uint(dict, "errors", counters.errors);
	add_entry(answer, queue, dict);
}

static int
on_queues(const char *cmd, const char *params, struct rte_tel_data *data)
{
	const struct softaccel_function *function;
	unsigned int number, queue = 0, end;
	int rc = -EINVAL;

	(void)cmd;
	if (params == NULL || sscanf(params, "%u,%u", &number, &queue) < 1)
		return -EINVAL;
	rte_tel_data_start_dict(data);
	pthread_mutex_lock(&lock);
	function = served == NULL ? NULL : softaccel_function_at(served, number);
	if (function != NULL) {
		end = softaccel_function_queues(function);
		if (queue < end && end - queue > QUEUES_PER_ANSWER)
			end = queue + QUEUES_PER_ANSWER;
		for (; queue < end; queue++)
			add_queue(data, function, queue);
		rc = 0;
	}
	pthread_mutex_unlock(&lock);
	return rc;
}

static int
on_dma(const char *cmd, const char *params, struct rte_tel_data *data)
{
	const struct softaccel_function *function;
	struct softaccel_dma_counters counters;
	struct softaccel_iommu_counters iommu;
	unsigned int number;

	(void)cmd;
	if (params == NULL || sscanf(params, "%u", &number) != 1)
		return -EINVAL;
	rte_tel_data_start_dict(data);
	pthread_mutex_lock(&lock);
	function = served == NULL ? NULL : softaccel_function_at(served, number);
	if (function != NULL) {
		softaccel_function_dma_counters(function, &counters);
		softaccel_function_iommu_counters(function, &iommu);
	}
	pthread_mutex_unlock(&lock);
	if (function == NULL)
		return -EINVAL;
	rte_tel_data_add_dict_uint(data, "mappings", counters.mappings_count);
	rte_tel_data_add_dict_uint(data, "mappings_added", counters.mappings_added);
	rte_tel_data_add_dict_uint(data, "mappings_removed", counters.mappings_removed);
	rte_tel_data_add_dict_uint(data, "translations", counters.translations);
	rte_tel_data_add_dict_uint(data, "refused", counters.refused);
	rte_tel_data_add_dict_uint(data, "iommu_misses", iommu.misses);
	rte_tel_data_add_dict_uint(data, "iommu_translations", iommu.translations);
	rte_tel_data_add_dict_uint(data, "iommu_faults", iommu.faults);
	rte_tel_data_add_dict_uint(data, "iommu_voided", iommu.voided);
	rte_tel_data_add_dict_uint(data, "iommu_invalidations", iommu.invalidations);
	rte_tel_data_add_dict_uint(data, "iommu_invalidations_in_use", iommu.invalidations_in_use);
	rte_tel_data_add_dict_uint(data, "iommu_page_requests", iommu.page_requests);
	return 0;
}

static int
on_sleeps(const char *cmd, const char *params, struct rte_tel_data *data)
{
	struct softaccel_sleep_counters sleeps = {.timed = 0};

	(void)cmd;
	(void)params;
	rte_tel_data_start_dict(data);
	pthread_mutex_lock(&lock);
	if (served != NULL)
		softaccel_sleep_counters(served, &sleeps);
	pthread_mutex_unlock(&lock);
	rte_tel_data_add_dict_uint(data, "timed", sleeps.timed);
	rte_tel_data_add_dict_uint(data, "untimed", sleeps.untimed);
	return 0;
}

static int
on_nodes(const char *cmd, const char *params, struct rte_tel_data *data)
{
	struct softaccel_nodes nodes = {-1, -1};
	unsigned int i;

	(void)cmd;
	(void)params;
	rte_tel_data_start_dict(data);
	pthread_mutex_lock(&lock);
	if (served != NULL)
		softaccel_nodes(served, &nodes);
	rte_tel_data_add_dict_int(data, "buffers", nodes.buffers);
	rte_tel_data_add_dict_int(data, "data_path", nodes.data_path);
	for (i = 0; served != NULL && i < softaccel_functions_count(served); i++) {
		char name[32];

		snprintf(name, sizeof(name), "doorbells_%u", i);
		rte_tel_data_add_dict_int(data, name,
					  softaccel_function_doorbells_node(softaccel_function_at(served, i)));
	}
	pthread_mutex_unlock(&lock);
	return 0;
}

static int
on_uplink(const char *cmd, const char *params, struct rte_tel_data *data)
{
	struct softaccel_port_counters port;

	(void)cmd;
	(void)params;
	rte_tel_data_start_dict(data);
	pthread_mutex_lock(&lock);
	if (served != NULL && softaccel_uplink_port_counters(served, &port) == 0)
		add_port(data, &port);
	pthread_mutex_unlock(&lock);
	return 0;
}

void
telemetry_start(const struct softaccel *accel)
{
	served = accel;
	rte_telemetry_register_cmd("/softaccel/functions", on_functions, "Functions and their switch ports");
	rte_telemetry_register_cmd("/softaccel/queues", on_queues,
				   "Queues of a function. Parameters: function number[, first queue]");
	rte_telemetry_register_cmd("/softaccel/dma", on_dma,
				   "How a function reaches its guest's memory. Parameter: function number");
	rte_telemetry_register_cmd("/softaccel/sleeps", on_sleeps, "How the data path rested");
	rte_telemetry_register_cmd("/softaccel/nodes", on_nodes,
				   "NUMA nodes of buffers, data path and each function's doorbells; -1: not placed");
	rte_telemetry_register_cmd("/softaccel/uplink", on_uplink, "The uplink's switch port");
}

void
telemetry_stop(void)
{
	pthread_mutex_lock(&lock);
	served = NULL;
	pthread_mutex_unlock(&lock);
}
