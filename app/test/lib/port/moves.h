/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef MOVES_H
#define MOVES_H

#include "fake_software.h"
#include "port.h"
#include "traffic.h"

/* Traffic on pair 0 of a port with both sides, each of which loops it back. */

static inline void
open_moves_with(struct traffic *t, struct setting setting)
{
	setting.software = "/nowhere/software.sock";
	open_traffic(t, &setting);
}

static inline void
open_moves(struct traffic *t, uint64_t format, enum rp_accel_class class, enum rp_port_wish wish)
{
	fake_software_setup();
	open_moves_with(t, (struct setting){.format = format, .class = class, .wish = wish});
}

static inline enum rp_port_owner
owner_of(struct traffic *t, unsigned int queue)
{
	return test_port_queue(&t->f.port, queue).owner;
}

static inline void
expect_owner(struct traffic *t, enum rp_port_owner owner)
{
	unsigned int i;

	for (i = RX; i <= TX; i++) {
		struct rp_port_queue_info info = test_port_queue(&t->f.port, i);

		if (info.owner != owner)
			fail_msg("queue %u: %s serves it (%s; %s)", i, rp_port_owner_name(info.owner), info.reason,
				 info.wish_reason);
	}
}

static inline bool
wait_owner(struct traffic *t, unsigned int queue, enum rp_port_owner owner)
{
	int i;

	for (i = 0; i < LIMIT_MS && owner_of(t, queue) != owner; i++) {
		rp_vhu_frontend_process(t->f.vm.frontend);
		usleep(1000);
	}
	return owner_of(t, queue) == owner;
}

static inline void
becomes_owner(struct traffic *t, enum rp_port_owner owner)
{
	if (!wait_owner(t, RX, owner) || !wait_owner(t, TX, owner))
		expect_owner(t, owner);
}

static inline int
move_pair(struct traffic *t, enum rp_port_wish wish)
{
	return test_port_move(&t->f.port, RX, 2, wish, NULL);
}

/* No ring has two owners, and nobody but its owner reads its kicks. */
static inline void
expect_one_owner(struct test_port *test)
{
	unsigned int i;

	pthread_mutex_lock(&test->lock);
	for (i = 0; i < test->port->queues_count; i++) {
		const struct port_queue *queue = &test->port->queues[i];
		bool hardware = fake_now().queues[i].running && !fake_now().dead, software = fake_software_now().has[i];

		assert_false(queue->running && queue->software == PORT_SOFTWARE_RING_SERVES);
		assert_false(hardware && software);
		if (queue->running)
			assert_true(hardware || fake_now().dead);
		assert_true(queue->running || queue->kick_source.fd < 0);
		if (queue->software == PORT_SOFTWARE_RING_SERVES)
			assert_true(software);
	}
	pthread_mutex_unlock(&test->lock);
}

/* Where the log ends now. */
static inline size_t
log_end(struct test_port *test)
{
	size_t end;

	pthread_mutex_lock(&test->lock);
	end = test->log_used;
	pthread_mutex_unlock(&test->lock);
	return end;
}

/* The log has these lines, in this order, after `from`. @return where it ends. */
static inline size_t
expect_in_order(struct test_port *test, size_t from, const char *const *lines, unsigned int count)
{
	const char *at = test->log + from;
	unsigned int i;

	pthread_mutex_lock(&test->lock);
	for (i = 0; i < count; i++) {
		at = strstr(at, lines[i]);
		if (at == NULL) {
			pthread_mutex_unlock(&test->lock);
			fail_msg("'%s' does not follow in:%s", lines[i], test->log + from);
		}
		at += strlen(lines[i]);
	}
	pthread_mutex_unlock(&test->lock);
	return (size_t)(at - test->log);
}

#endif
