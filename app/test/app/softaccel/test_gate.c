/* SPDX-License-Identifier: BSD-3-Clause */
#include <poll.h>
#include <pthread.h>
#include <unistd.h>

#include "sa_gate.h"
#include "test_support.h"

struct loop {
	struct sa_gate gate;
	pthread_t thread;
	bool stop; /* atomic */
	bool sleeps;
	useconds_t takes_us; /* an iteration */
	unsigned int iterations; /* with the gate's lock */
	unsigned int inside; /* atomic */
};

static void *
loop_main(void *ctx)
{
	struct loop *loop = ctx;

	sa_gate_enter(&loop->gate);
	while (!__atomic_load_n(&loop->stop, __ATOMIC_ACQUIRE)) {
		if (sa_gate_is_wanted(&loop->gate))
			sa_gate_pass(&loop->gate);
		__atomic_store_n(&loop->inside, 1, __ATOMIC_SEQ_CST);
		loop->iterations++;
		if (loop->takes_us > 0)
			usleep(loop->takes_us);
		__atomic_store_n(&loop->inside, 0, __ATOMIC_SEQ_CST);
		if (loop->sleeps) {
			struct pollfd wake = {.fd = loop->gate.wake_fd, .events = POLLIN};

			sa_gate_sleep(&loop->gate);
			poll(&wake, 1, -1);
			sa_gate_wake(&loop->gate);
		}
	}
	sa_gate_leave(&loop->gate);
	return NULL;
}

static void
start(struct loop *loop, bool sleeps, useconds_t takes_us)
{
	*loop = (struct loop){.sleeps = sleeps, .takes_us = takes_us};
	assert_int_equal(sa_gate_init(&loop->gate), 0);
	assert_int_equal(pthread_create(&loop->thread, NULL, loop_main, loop), 0);
}

static void
stop(struct loop *loop)
{
	__atomic_store_n(&loop->stop, true, __ATOMIC_RELEASE);
	sa_gate_close(&loop->gate);
	sa_gate_open(&loop->gate);
	pthread_join(loop->thread, NULL);
	sa_gate_fini(&loop->gate);
}

/* @return how far it was when it had come to the gate once. */
static unsigned int
begin(struct loop *loop)
{
	unsigned int before, waited = 0;

	do {
		sa_gate_close(&loop->gate);
		before = loop->iterations;
		sa_gate_open(&loop->gate);
		usleep(100);
	} while (before == 0 && ++waited < 50000);
	return before;
}

/* While the gate is closed nothing moves; every closing lets the loop have an iteration before the next. */
static void
closed_means_still(void **state)
{
	unsigned int round, before;
	struct loop loop;

	(void)state;
	start(&loop, false, 0);
	before = begin(&loop);
	for (round = 0; round < 2000; round++) {
		unsigned int now;

		sa_gate_close(&loop.gate);
		assert_int_equal(__atomic_load_n(&loop.inside, __ATOMIC_SEQ_CST), 0);
		now = loop.iterations;
		assert_true(now > before);
		before = now;
		sa_gate_open(&loop.gate);
	}
	stop(&loop);
}

/* Either side looks for the other only so long: then it sleeps, and is woken. */
static void
long_ones_sleep(void **state)
{
	unsigned int round, before;
	struct loop loop;

	(void)state;
	start(&loop, false, 2000);
	before = begin(&loop);
	for (round = 0; round < 20; round++) {
		sa_gate_close(&loop.gate);
		assert_int_equal(__atomic_load_n(&loop.inside, __ATOMIC_SEQ_CST), 0);
		assert_true(loop.iterations > before);
		before = loop.iterations;
		usleep(2000);
		assert_int_equal(loop.iterations, before);
		sa_gate_open(&loop.gate);
	}
	stop(&loop);
}

static void
sleeper_wakes(void **state)
{
	unsigned int round;
	struct loop loop;

	(void)state;
	start(&loop, true, 0);
	for (round = 0; round < 200; round++) {
		unsigned int before, waited = 0;

		sa_gate_close(&loop.gate);
		before = loop.iterations;
		sa_gate_open(&loop.gate);
		for (;;) {
			unsigned int now;

			sa_gate_enter(&loop.gate);
			now = loop.iterations;
			sa_gate_leave(&loop.gate);
			if (now > before || ++waited > 50000)
				break;
			usleep(100);
		}
		assert_true(waited <= 50000);
	}
	stop(&loop);
}

static void
nobody_runs(void **state)
{
	struct sa_gate gate;

	(void)state;
	assert_int_equal(sa_gate_init(&gate), 0);
	sa_gate_close(&gate);
	sa_gate_open(&gate);
	sa_gate_close(&gate);
	sa_gate_open(&gate);
	sa_gate_fini(&gate);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(closed_means_still),
		cmocka_unit_test(long_ones_sleep),
		cmocka_unit_test(sleeper_wakes),
		cmocka_unit_test(nobody_runs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
