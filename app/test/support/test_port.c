/* SPDX-License-Identifier: BSD-3-Clause */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "rp_wire_clock.h"
#include "test_port.h"

#define POLL_MS 5

static void
on_event(void *ctx, const struct rp_port_event *event)
{
	struct test_port *test = ctx;
	size_t room = sizeof(test->log) - test->log_used;
	int wrote;

	if (getenv("TEST_PORT_LOG") != NULL)
		fprintf(stderr, "queue %d %s: %s\n", event->queue, event->name, event->text);
	if (event->level <= RP_PORT_EVENT_WARNING)
		snprintf(test->last_words, sizeof(test->last_words), "%s", event->text);
	wrote = snprintf(test->log + test->log_used, room, "\n%s %d", event->name, event->queue);
	if (wrote > 0 && (size_t)wrote < room)
		test->log_used += (size_t)wrote;
}

static void
on_ring_node(void *ctx, int node, int by)
{
	struct test_port *test = ctx;

	if (node < TEST_PORT_NODES)
		test->rings_on[node] += by;
}

static const struct rp_port_ops port_ops = {.event = on_event, .ring_node = on_ring_node};

static void *
serve(void *ctx)
{
	struct test_port *test = ctx;
	bool stop = false;

	while (!stop) {
		struct pollfd wait = {.fd = rp_port_fd(test->port), .events = POLLIN};

		poll(&wait, 1, POLL_MS);
		pthread_mutex_lock(&test->lock);
		rp_port_process(test->port);
		stop = test->stop;
		pthread_mutex_unlock(&test->lock);
	}
	return NULL;
}

void
test_port_open(struct test_port *test, const struct rp_port_config *config, const struct rp_accel_registry *registry)
{
	struct rp_wire_why why = {0};
	int rc;

	memset(test, 0, sizeof(*test));
	pthread_mutex_init(&test->lock, NULL);
	rc = rp_port_create(config, registry, &port_ops, test, &test->port, &why);
	if (rc < 0)
		fail_msg("rp_port_create: %d: %s", rc, why.text);
	assert_int_equal(pthread_create(&test->thread, NULL, serve, test), 0);
}

static void
end_thread(struct test_port *test)
{
	pthread_mutex_lock(&test->lock);
	test->stop = true;
	pthread_mutex_unlock(&test->lock);
	pthread_join(test->thread, NULL);
}

void
test_port_close(struct test_port *test)
{
	end_thread(test);
	test->port = rp_port_destroy(test->port);
	pthread_mutex_destroy(&test->lock);
}

int
test_port_give(struct test_port *test, struct rp_wire_parcel *parcel, struct rp_wire_why *why)
{
	int rc;

	end_thread(test);
	rc = rp_port_give(test->port, parcel, why);
	test->stop = false;
	if (rc < 0)
		assert_int_equal(pthread_create(&test->thread, NULL, serve, test), 0);
	else
		test->port = rp_port_leave(test->port);
	return rc;
}

int
test_port_adopt(struct test_port *test, const struct rp_port_config *config, const struct rp_accel_registry *registry,
		struct rp_wire_parcel *parcel, struct rp_wire_why *why)
{
	int rc = rp_port_adopt(config, registry, &port_ops, test, parcel, &test->port, why);

	if (rc == 0)
		assert_int_equal(pthread_create(&test->thread, NULL, serve, test), 0);
	return rc;
}

int
test_port_move(struct test_port *test, unsigned int first, unsigned int count, enum rp_port_wish wish,
	       struct rp_wire_why *why)
{
	struct rp_wire_why unused = {0};
	int rc;

	pthread_mutex_lock(&test->lock);
	rc = rp_port_move(test->port, first, count, wish, why != NULL ? why : &unused);
	pthread_mutex_unlock(&test->lock);
	return rc;
}

static int
locked(struct test_port *test, int (*call)(struct rp_port *, unsigned int, struct rp_wire_why *), unsigned int queue)
{
	struct rp_wire_why why;
	int rc;

	pthread_mutex_lock(&test->lock);
	rc = call(test->port, queue, &why);
	pthread_mutex_unlock(&test->lock);
	return rc;
}

int
test_port_enable(struct test_port *test, unsigned int queue)
{
	return locked(test, rp_port_queue_enable, queue);
}

int
test_port_disable(struct test_port *test, unsigned int queue)
{
	return locked(test, rp_port_queue_disable, queue);
}

void
test_port_doorbell(struct test_port *test, unsigned int queue, enum rp_port_doorbell_policy policy)
{
	pthread_mutex_lock(&test->lock);
	assert_int_equal(rp_port_queue_doorbell(test->port, queue, policy, NULL), 0);
	pthread_mutex_unlock(&test->lock);
}

int
test_port_ring(struct test_port *test, unsigned int queue, enum rp_port_ring_policy policy)
{
	struct rp_wire_why why;
	int rc;

	pthread_mutex_lock(&test->lock);
	rc = rp_port_queue_ring(test->port, queue, policy, &why);
	pthread_mutex_unlock(&test->lock);
	return rc;
}

int
test_port_transfer(struct test_port *test, unsigned int first, unsigned int count, unsigned int accelerator,
		   struct rp_wire_why *why)
{
	int rc;

	pthread_mutex_lock(&test->lock);
	rc = rp_port_transfer(test->port, first, count, accelerator, why);
	pthread_mutex_unlock(&test->lock);
	return rc;
}

struct rp_port_queue_info
test_port_queue(struct test_port *test, unsigned int queue)
{
	struct rp_port_queue_info info;

	pthread_mutex_lock(&test->lock);
	assert_int_equal(rp_port_get_queue_info(test->port, queue, &info), 0);
	pthread_mutex_unlock(&test->lock);
	return info;
}

struct rp_port_info
test_port_info(struct test_port *test)
{
	struct rp_port_info info;

	pthread_mutex_lock(&test->lock);
	rp_port_get_info(test->port, &info);
	pthread_mutex_unlock(&test->lock);
	return info;
}

struct rp_port_window_info
test_port_window(struct test_port *test, unsigned int window)
{
	struct rp_port_window_info info;

	pthread_mutex_lock(&test->lock);
	assert_int_equal(rp_port_get_window_info(test->port, window, &info), 0);
	pthread_mutex_unlock(&test->lock);
	return info;
}

struct rp_port_accelerator_info
test_port_accelerator(struct test_port *test, unsigned int accelerator)
{
	struct rp_port_accelerator_info info;

	pthread_mutex_lock(&test->lock);
	assert_int_equal(rp_port_get_accelerator_info(test->port, accelerator, &info), 0);
	pthread_mutex_unlock(&test->lock);
	return info;
}

bool
test_port_wait_mode(struct test_port *test, unsigned int queue, enum rp_port_queue_mode mode, unsigned int limit_ms)
{
	uint64_t deadline_ms = rp_wire_clock_ms() + limit_ms;

	while (test_port_queue(test, queue).mode != mode) {
		if (rp_wire_clock_ms() >= deadline_ms)
			return false;
		usleep(500);
	}
	return true;
}

bool
test_port_warned(struct test_port *test, const char *words)
{
	bool found;

	pthread_mutex_lock(&test->lock);
	found = strstr(test->last_words, words) != NULL;
	pthread_mutex_unlock(&test->lock);
	return found;
}

unsigned int
test_port_events(struct test_port *test, const char *name)
{
	char word[64];
	unsigned int count = 0;
	const char *at;

	snprintf(word, sizeof(word), "\n%s ", name);
	pthread_mutex_lock(&test->lock);
	for (at = test->log; (at = strstr(at, word)) != NULL; at += strlen(word) - 1)
		count++;
	pthread_mutex_unlock(&test->lock);
	return count;
}
