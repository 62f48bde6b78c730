/* SPDX-License-Identifier: BSD-3-Clause */
#include <limits.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "rig.h"
#include "sa_datapath.h"
#include "sa_doorbell.h"

static const struct softaccel_config config = {.mbufs_count = 255};
static struct sa_datapath path;

#define DRAINS_MAX 100u
#define GATE_TURNS 50u

/* A wake-up that came too late to end a sleep is no work; taken for some, it would keep the loop from sleeping. */
static void
late_wake_up_is_no_work(void **state)
{
	(void)state;
	assert_int_equal(sa_datapath_init(&path, &config), 0);
	eventfd_write(path.gate.wake_fd, 1);
	assert_int_equal(sa_datapath_poll(&path), 0);
	assert_int_equal(sa_datapath_poll(&path), 0);
	sa_datapath_fini(&path);
}

/* Kicks by eventfd are the kernel's to tell: who only ever drains hears of them too, but does not ask each time. */
static void
draining_asks_the_kernel_now_and_then(void **state)
{
	unsigned int calls = 0;
	eventfd_t told;

	(void)state;
	assert_int_equal(sa_datapath_init(&path, &config), 0);
	while (calls++ < DRAINS_MAX) {
		eventfd_write(path.gate.wake_fd, 1);
		assert_int_equal(sa_datapath_drain(&path, UINT_MAX), 0);
		if (eventfd_read(path.gate.wake_fd, &told) < 0)
			break;
	}
	assert_true(calls > 1 && calls < DRAINS_MAX);
	sa_datapath_fini(&path);
}

static void *
drain_main(void *ctx)
{
	bool *stop = ctx;

	while (!__atomic_load_n(stop, __ATOMIC_ACQUIRE))
		sa_datapath_drain(&path, UINT_MAX);
	return NULL;
}

/* The control side has its turn, whatever the other one does. */
static void
draining_lets_others_through_the_gate(void **state)
{
	bool stop = false;
	pthread_t thread;
	unsigned int i;

	(void)state;
	assert_int_equal(sa_datapath_init(&path, &config), 0);
	assert_int_equal(pthread_create(&thread, NULL, drain_main, &stop), 0);
	for (i = 0; i < GATE_TURNS; i++) {
		sa_gate_close(&path.gate);
		sa_gate_open(&path.gate);
	}
	__atomic_store_n(&stop, true, __ATOMIC_RELEASE);
	pthread_join(thread, NULL);
	sa_datapath_fini(&path);
}

static void
stop_before_run(void **state)
{
	(void)state;
	assert_int_equal(sa_datapath_init(&path, &config), 0);
	sa_datapath_stop(&path);
	sa_datapath_run(&path);
	sa_datapath_fini(&path);
}

#define PATIENCE_S 20

static void *
run_main(void *ctx)
{
	(void)ctx;
	sa_datapath_run(&path);
	return NULL;
}

static void
wait_at_gate(const bool *fact)
{
	bool is_so = false;

	while (!is_so) {
		usleep(100);
		pthread_mutex_lock(&path.gate.lock);
		is_so = *fact;
		pthread_mutex_unlock(&path.gate.lock);
	}
}

/*
 * The loop waits at the gate, having seen that it is to go on; behind the gate it
 * takes the wake-up that says otherwise, finds no work, and would sleep for ever.
 */
static void
stop_at_the_gate(void **state)
{
	struct timespec deadline;
	pthread_t thread;

	(void)state;
	assert_int_equal(sa_datapath_init(&path, &config), 0);
	assert_int_equal(pthread_create(&thread, NULL, run_main, NULL), 0);
	wait_at_gate(&path.gate.asleep);
	__atomic_store_n(&path.gate.wanted, true, __ATOMIC_SEQ_CST);
	eventfd_write(path.gate.wake_fd, 1);
	wait_at_gate(&path.gate.parked);
	sa_gate_close(&path.gate);
	sa_datapath_stop(&path);
	sa_gate_open(&path.gate);
	clock_gettime(CLOCK_REALTIME, &deadline);
	deadline.tv_sec += PATIENCE_S;
	assert_int_equal(pthread_timedjoin_np(thread, NULL, &deadline), 0);
	sa_datapath_fini(&path);
}

static void
sleeps_grow_to_a_ceiling(void **state)
{
	struct sa_idle idle = {.spins_count = 0};
	uint32_t last_us = 0, us = 0;
	unsigned int i;

	(void)state;
	for (i = 0; i < SA_IDLE_SPINS; i++)
		assert_int_equal(sa_idle_next_us(&idle), 0);
	for (i = 0; i < 20; i++) {
		us = sa_idle_next_us(&idle);
		assert_true(us >= last_us && us >= SA_IDLE_FIRST_US && us <= SA_IDLE_LAST_US);
		last_us = us;
	}
	assert_int_equal(us, SA_IDLE_LAST_US);
	sa_idle_reset(&idle);
	assert_int_equal(sa_idle_next_us(&idle), 0);
}

#define MANY 40u

static struct sa_ring rings[MANY];

static void
begin_rings(struct sa_doorbells *doorbells)
{
	unsigned int i;

	assert_int_equal(sa_datapath_init(&path, &config), 0);
	assert_int_equal(sa_doorbells_init(doorbells, SOFTACCEL_DOORBELL_PAGES, MANY), 0);
	for (i = 0; i < MANY; i++) {
		rings[i] = (struct sa_ring){
			.transmits = true,
			.doorbell = sa_doorbell_word(doorbells, i),
			.kick_fd = doorbells->kick_fds[i],
			.said_fd = -1,
			.watch = {.watched = true},
			.now_ms = &path.now_ms,
		};
		assert_int_equal(sa_datapath_ring_add(&path, &rings[i]), 0);
	}
}

static void
end_rings(struct sa_doorbells *doorbells)
{
	sa_datapath_fini(&path);
	sa_doorbells_fini(doorbells);
}

static void
ring_all(void)
{
	unsigned int i;

	for (i = 0; i < MANY; i++)
		*(volatile uint16_t *)rings[i].doorbell = (uint16_t)i;
}

/* However many there are, and whichever are rung together. */
static void
every_watched_doorbell_is_seen(void **state)
{
	struct sa_doorbells doorbells;
	unsigned int i;

	(void)state;
	begin_rings(&doorbells);
	sa_datapath_poll(&path);
	for (i = 0; i < MANY; i++) {
		*(volatile uint16_t *)rings[i].doorbell = (uint16_t)i;
		assert_int_equal(sa_datapath_poll(&path), 1);
		assert_int_equal(rings[i].counters.direct_kicks, 1);
	}
	ring_all();
	assert_int_equal(sa_datapath_poll(&path), MANY);
	for (i = 0; i < MANY; i++)
		assert_int_equal(rings[i].counters.direct_kicks, 2);
	end_rings(&doorbells);
}

/* What is watched changes behind the gate, or with the rings there are. */
static void
the_others_are_left_alone(void **state)
{
	struct sa_doorbells doorbells;
	unsigned int i;

	(void)state;
	begin_rings(&doorbells);
	sa_datapath_poll(&path);
	sa_gate_close(&path.gate);
	for (i = 0; i < MANY; i += 2)
		rings[i].watch.watched = false;
	sa_gate_open(&path.gate);
	ring_all();
	assert_int_equal(sa_datapath_poll(&path), MANY / 2);
	sa_datapath_ring_remove(&path, &rings[1]);
	ring_all();
	assert_int_equal(sa_datapath_poll(&path), MANY / 2 - 1);
	sa_gate_close(&path.gate);
	rings[0].watch.watched = true;
	sa_gate_open(&path.gate);
	assert_int_equal(sa_datapath_poll(&path), 1);
	assert_int_equal(rings[0].counters.direct_kicks, 1);
	assert_int_equal(rings[1].counters.direct_kicks, 1);
	assert_int_equal(rings[2].counters.direct_kicks, 0);
	assert_int_equal(rings[3].counters.direct_kicks, 2);
	end_rings(&doorbells);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(late_wake_up_is_no_work),
		cmocka_unit_test(draining_asks_the_kernel_now_and_then),
		cmocka_unit_test(draining_lets_others_through_the_gate),
		cmocka_unit_test(stop_before_run),
		cmocka_unit_test(stop_at_the_gate),
		cmocka_unit_test(sleeps_grow_to_a_ceiling),
		cmocka_unit_test(every_watched_doorbell_is_seen),
		cmocka_unit_test(the_others_are_left_alone),
	};

	rig_eal_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
