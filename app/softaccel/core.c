/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

#include "rp_wire_fd.h"
#include "sa_device.h"

#define EVENTS_MAX 16

struct softaccel {
	struct sa_datapath path;
	const struct softaccel_ops *ops;
	void *ops_ctx;
	int epoll_fd; /* the servers', and the data path's notice */
	struct softaccel_function *functions[SOFTACCEL_FUNCTIONS_MAX];
	unsigned int functions_count;
};

static int
watch(const struct softaccel *accel, int fd, struct softaccel_function *function)
{
	struct epoll_event event = {.events = EPOLLIN, .data.ptr = function};

	return epoll_ctl(accel->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0 ? -errno : 0;
}

static int
check_config(const struct softaccel_config *config, struct rp_wire_why *why)
{
	if ((unsigned int)config->copies > SOFTACCEL_COPIES_TWO)
		return rp_wire_why_set(why, -EINVAL, "copies: is %u, expected one or two", config->copies);
	if ((unsigned int)config->isa > SOFTACCEL_ISA_GENERIC)
		return rp_wire_why_set(why, -EINVAL, "isa: is %u, expected auto or generic", config->isa);
	return 0;
}

int
softaccel_create(const struct softaccel_config *config, const struct softaccel_ops *ops, void *ctx,
		 struct softaccel **ret_accel, struct rp_wire_why *why)
{
	struct softaccel *accel;
	int rc = check_config(config, why);

	if (rc < 0)
		return rc;
	accel = calloc(1, sizeof(*accel));
	if (accel == NULL)
		return rp_wire_why_set(why, -ENOMEM, "no memory for an accelerator");
	accel->ops = ops;
	accel->ops_ctx = ctx;
	rc = sa_datapath_init(&accel->path, config);
	if (rc < 0) {
		free(accel);
		return rp_wire_why_set(why, rc, "data path: %s", strerror(-rc));
	}
	accel->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	rc = accel->epoll_fd < 0 ? -errno : watch(accel, accel->path.notice_fd, NULL);
	if (rc < 0) {
		softaccel_destroy(accel);
		return rp_wire_why_set(why, rc, "epoll: %s", strerror(-rc));
	}
	*ret_accel = accel;
	return 0;
}

struct softaccel *
softaccel_destroy(struct softaccel *accel)
{
	if (accel == NULL)
		return NULL;
	while (accel->functions_count > 0)
		sa_device_destroy(accel->functions[--accel->functions_count]);
	sa_datapath_fini(&accel->path);
	rp_wire_fd_close(&accel->epoll_fd);
	free(accel);
	return NULL;
}

int
softaccel_function_add(struct softaccel *accel, const struct softaccel_function_config *config,
		       struct softaccel_function **ret_function, struct rp_wire_why *why)
{
	struct softaccel_function *function;
	int rc;

	if (accel->functions_count == SOFTACCEL_FUNCTIONS_MAX)
		return rp_wire_why_set(why, -ENOSPC, "more than %u functions", SOFTACCEL_FUNCTIONS_MAX);
	rc = sa_device_create(&accel->path, config, accel->functions_count, accel->ops, accel->ops_ctx, &function, why);
	if (rc < 0)
		return rc;
	rc = watch(accel, rp_vfu_server_fd(function->server), function);
	if (rc == 0 && function->intx_fd >= 0)
		rc = watch(accel, function->intx_fd, function);
	if (rc < 0) {
		sa_device_destroy(function);
		return rp_wire_why_set(why, rc, "epoll: %s", strerror(-rc));
	}
	accel->functions[accel->functions_count++] = function;
	if (ret_function != NULL)
		*ret_function = function;
	return 0;
}

int
softaccel_uplink_attach(struct softaccel *accel, uint16_t ethdev_port, struct rp_wire_why *why)
{
	struct sa_datapath *path = &accel->path;
	int rc;

	if (path->uplink != NULL)
		return rp_wire_why_set(why, -EBUSY, "uplink: there is one already");
	sa_gate_close(&path->gate);
	rc = sa_datapath_uplink_add(path, ethdev_port, why);
	sa_gate_open(&path->gate);
	return rc;
}

int
softaccel_fd(const struct softaccel *accel)
{
	return accel->epoll_fd;
}

void
softaccel_process(struct softaccel *accel)
{
	struct epoll_event events[EVENTS_MAX];
	int i, count = epoll_wait(accel->epoll_fd, events, EVENTS_MAX, 0);
	unsigned int number;
	eventfd_t ignored;

	for (i = 0; i < count; i++) {
		struct softaccel_function *function = events[i].data.ptr;

		if (function != NULL) {
			sa_device_hear_calls(function);
			rp_vfu_server_process(function->server);
			continue;
		}
		eventfd_read(accel->path.notice_fd, &ignored);
		for (number = 0; number < accel->functions_count; number++)
			sa_device_notice(accel->functions[number]);
	}
}

unsigned int
softaccel_poll(struct softaccel *accel)
{
	return sa_datapath_poll(&accel->path);
}

unsigned int
softaccel_drain(struct softaccel *accel, unsigned int enough)
{
	return sa_datapath_drain(&accel->path, enough);
}

void
softaccel_run(struct softaccel *accel)
{
	sa_datapath_run(&accel->path);
}

void
softaccel_stop(struct softaccel *accel)
{
	sa_datapath_stop(&accel->path);
}

unsigned int
softaccel_functions_count(const struct softaccel *accel)
{
	return accel->functions_count;
}

struct softaccel_function *
softaccel_function_at(const struct softaccel *accel, unsigned int index)
{
	return index < accel->functions_count ? accel->functions[index] : NULL;
}

const char *
softaccel_function_socket(const struct softaccel_function *function)
{
	return function->socket_path;
}

unsigned int
softaccel_function_queues(const struct softaccel_function *function)
{
	return function->queues_count;
}

enum softaccel_queue_state
softaccel_queue_state(const struct softaccel_function *function, unsigned int queue)
{
	return sa_ring_state(&function->queues[queue].ring);
}

bool
softaccel_queue_by_messages(const struct softaccel_function *function, unsigned int queue)
{
	return __atomic_load_n(&function->queues[queue].by_messages, __ATOMIC_RELAXED);
}

void
softaccel_queue_counters(const struct softaccel_function *function, unsigned int queue,
			 struct softaccel_queue_counters *ret_counters)
{
	struct softaccel_queue_counters carried;

	sa_counters_copy(&function->queues[queue].ring.counters, ret_counters, sizeof(*ret_counters));
	sa_counters_copy(&function->queues[queue].carried, &carried, sizeof(carried));
	ret_counters->eventfd_kicks += carried.eventfd_kicks;
	ret_counters->interrupts += carried.interrupts;
	ret_counters->errors += carried.errors;
}

void
softaccel_queue_doorbell(const struct softaccel_function *function, unsigned int queue,
			 struct softaccel_queue_doorbell *ret_doorbell)
{
	const struct sa_watch *watch = &function->queues[queue].ring.watch;

	*ret_doorbell = (struct softaccel_queue_doorbell){
		.told = __atomic_load_n(&watch->doorbell, __ATOMIC_RELAXED),
		.wants_page = sa_watch_wants_page(watch),
		.watched = __atomic_load_n(&watch->watched, __ATOMIC_RELAXED),
	};
}

void
softaccel_sleep_counters(const struct softaccel *accel, struct softaccel_sleep_counters *ret_counters)
{
	sa_counters_copy(&accel->path.sleeps, ret_counters, sizeof(*ret_counters));
}

void
softaccel_nodes(const struct softaccel *accel, struct softaccel_nodes *ret_nodes)
{
	ret_nodes->buffers = rp_dma_vote_node(&accel->path.place.vote);
	ret_nodes->data_path = rp_dma_follower_node(&accel->path.place.thread);
}

int
softaccel_function_doorbells_node(const struct softaccel_function *function)
{
	return rp_dma_vote_node(&function->doorbells.vote);
}

void
softaccel_function_dma_counters(const struct softaccel_function *function, struct softaccel_dma_counters *ret_counters)
{
	struct rp_dma_reader_counters reader;

	sa_counters_copy(&function->mapped, ret_counters, sizeof(*ret_counters));
	rp_dma_reader_counters(function->reader, &reader);
	ret_counters->translations = reader.translations;
	ret_counters->refused = reader.refused;
}

void
softaccel_function_iommu_counters(const struct softaccel_function *function,
				  struct softaccel_iommu_counters *ret_counters)
{
	struct rp_vfu_server_iommu_counters counters = {.page_requests = 0};

	if (function->atc != NULL)
		rp_vfu_server_iommu_counters(function->server, &counters);
	*ret_counters = (struct softaccel_iommu_counters){
		.misses = counters.cache.misses,
		.translations = counters.cache.translations,
		.faults = counters.cache.faults,
		.voided = counters.cache.voided,
		.invalidations = counters.cache.invalidations,
		.invalidations_in_use = counters.cache.invalidations_in_use,
		.page_requests = counters.page_requests,
	};
}

void
softaccel_function_port_counters(const struct softaccel_function *function,
				 struct softaccel_port_counters *ret_counters)
{
	sa_counters_copy(&function->port->counters, ret_counters, sizeof(*ret_counters));
}

int
softaccel_uplink_port_counters(const struct softaccel *accel, struct softaccel_port_counters *ret_counters)
{
	if (accel->path.uplink == NULL)
		return -ENOENT;
	sa_counters_copy(&accel->path.uplink_port->counters, ret_counters, sizeof(*ret_counters));
	return 0;
}

const char *
softaccel_drop_name(enum softaccel_drop drop)
{
	static const char *const names[] = {
		[SOFTACCEL_DROP_RX_NO_QUEUE] = "rx_no_queue",	  [SOFTACCEL_DROP_RX_NO_BUFFER] = "rx_no_buffer",
		[SOFTACCEL_DROP_RX_BAD_CHAIN] = "rx_bad_chain",	  [SOFTACCEL_DROP_TX_LENGTH] = "tx_length",
		[SOFTACCEL_DROP_TX_BAD_HEADER] = "tx_bad_header", [SOFTACCEL_DROP_SAME_PORT] = "same_port",
		[SOFTACCEL_DROP_UPLINK_FULL] = "uplink_full",	  [SOFTACCEL_DROP_UPLINK_SEGMENTS] = "uplink_segments",
	};

	return (unsigned int)drop < RTE_DIM(names) ? names[drop] : "unknown";
}
