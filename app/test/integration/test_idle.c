/* SPDX-License-Identifier: BSD-3-Clause */

/* Guests that do nothing cost nothing, and those that do something again lose nothing. */

#include <string.h>
#include <time.h>
#include <unistd.h>

#include "stack.h"

#define IDLE_MS 30u

static const struct stack_function two[] = {
	{.queue_pairs = 1, .mac_last = 1, .idle_ms = IDLE_MS},
	{.queue_pairs = 1, .mac_last = 2, .idle_ms = IDLE_MS},
};

struct pair {
	struct stack_accel accel;
	struct test_port ports[2];
	struct test_vm vms[2];
	uint32_t sequence;
};

static void
pair_open(struct pair *p, const struct test_vm_options *format)
{
	unsigned int i;

	p->sequence = 0;
	stack_accel_start(&p->accel, two, 2);
	for (i = 0; i < 2; i++)
		stack_port_open(&p->ports[i], i, i, 1);
	for (i = 0; i < 2; i++) {
		test_vm_open(&p->vms[i], stack_port_socket(i), 2, 64, format);
		test_vm_start_all(&p->vms[i]);
	}
}

static void
pair_close(struct pair *p)
{
	unsigned int i;

	for (i = 0; i < 2; i++)
		test_vm_close(&p->vms[i]);
	for (i = 0; i < 2; i++)
		test_port_close(&p->ports[i]);
	stack_accel_stop(&p->accel);
}

struct arrival {
	struct pair *pair;
	unsigned int at;
	struct stack_packet packet;
};

/* The frontends are asked for their doorbells, or given some, in between. */
static bool
arrives(void *ctx)
{
	struct arrival *arrival = ctx;
	unsigned int i;

	for (i = 0; i < 2; i++)
		rp_vhu_frontend_process(arrival->pair->vms[i].frontend);
	return stack_receive(&arrival->pair->vms[arrival->at], 0, &arrival->packet);
}

static void
exchange(struct pair *p)
{
	unsigned int from;

	for (from = 0; from < 2; from++) {
		struct arrival arrival = {.pair = p, .at = 1 - from};

		assert_true(stack_send(&p->vms[from], 1, (uint8_t)(2 - from), (uint8_t)(1 + from), 0, ++p->sequence));
		assert_true(test_wait(arrives, &arrival, STACK_LIMIT_MS));
		assert_int_equal(arrival.packet.sequence, p->sequence);
	}
}

/* All four queues, and nobody has their doorbells. */
static bool
all_idle(void *ctx)
{
	struct pair *p = ctx;
	unsigned int i, queue;

	for (i = 0; i < 2; i++) {
		rp_vhu_frontend_process(p->vms[i].frontend);
		for (queue = 0; queue < 2; queue++) {
			struct rp_port_queue_info info = test_port_queue(&p->ports[i], queue);

			if (info.doorbell != RP_PORT_DOORBELL_UNMAPPED || info.doorbell_wanted)
				return false;
		}
	}
	return true;
}

struct rest {
	struct softaccel_sleep_counters sleeps;
	struct timespec cpu;
};

static struct rest
rest_of(const struct pair *p)
{
	struct rest rest = {.sleeps = {.timed = 0}};
	clockid_t clock;

	assert_int_equal(pthread_getcpuclockid(p->accel.data, &clock), 0);
	clock_gettime(clock, &rest.cpu);
	softaccel_sleep_counters(p->accel.accel, &rest.sleeps);
	return rest;
}

/* One that has a timer wakes in each of the tries. */
static bool
sleeps_through(void *ctx)
{
	struct rest before = rest_of(ctx), after;

	usleep(100000);
	after = rest_of(ctx);
	return memcmp(&before, &after, sizeof(before)) == 0;
}

/* More than there is to fetch, as a guest may. */
static void
kick_often(struct pair *p)
{
	unsigned int i;

	for (i = 0; i < 16; i++) {
		test_vm_kick(&p->vms[i % 2], 1);
		usleep(100);
	}
}

static void
idle_and_back(void **state)
{
	struct rp_port_queue_info info;
	struct pair p;
	unsigned int i, round;

	pair_open(&p, *state);
	for (round = 0; round < 2; round++) {
		assert_true(test_wait(all_idle, &p, STACK_LIMIT_MS));
		assert_true(test_wait(sleeps_through, &p, STACK_LIMIT_MS));
		info = test_port_queue(&p.ports[0], 1);
		assert_string_equal(info.reason, "the queue is idle, and the device would rather be woken");
		/* Before it ever had its doorbell, it may have been idle already. */
		assert_true(round == 0 || info.doorbell_idles > 0);
		/* Under load the doorbell comes back, and nothing is lost on the way. */
		for (i = 0; i < 20000; i++) {
			kick_often(&p);
			exchange(&p);
			if (test_port_queue(&p.ports[0], 1).mode == RP_PORT_QUEUE_DIRECT &&
			    test_port_queue(&p.ports[1], 1).mode == RP_PORT_QUEUE_DIRECT)
				break;
		}
		assert_true(i < 20000);
		exchange(&p);
	}
	pair_close(&p);
}

/* Pauses about as long as it takes to become idle: kicks meet doorbells in every state. */
static void
now_and_then(void **state)
{
	uint32_t random = 4711;
	struct pair p;
	unsigned int i;

	pair_open(&p, *state);
	for (i = 0; i < 150; i++) {
		random = random * 1103515245u + 12345u;
		if ((random >> 16) % 8 == 0)
			usleep((random >> 16) % (2000 * IDLE_MS));
		exchange(&p);
	}
	assert_true(test_wait(all_idle, &p, STACK_LIMIT_MS));
	exchange(&p);
	pair_close(&p);
}

/* Queues are stopped and started, disabled and enabled, whether idle or not. */
static void
toggled_all_the_time(void **state)
{
	uint32_t random = 815;
	struct pair p;
	unsigned int i;

	pair_open(&p, *state);
	for (i = 0; i < 30; i++) {
		unsigned int queue;

		random = random * 1103515245u + 12345u;
		queue = (random >> 16) % 2;
		usleep((random >> 16) % (2500 * IDLE_MS));
		assert_int_equal(test_port_disable(&p.ports[0], queue), 0);
		if ((random >> 20) % 2 == 0)
			usleep(1000);
		assert_int_equal(test_port_enable(&p.ports[0], queue), 0);
		exchange(&p);
	}
	assert_true(test_wait(all_idle, &p, STACK_LIMIT_MS));
	exchange(&p);
	pair_close(&p);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		STACK_TESTS(idle_and_back),
		STACK_TESTS(now_and_then),
		STACK_TEST(toggled_all_the_time, split),
		STACK_TEST(toggled_all_the_time, packed),
	};

	return cmocka_run_group_tests(tests, stack_setup, stack_teardown);
}
