/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * From a device's interrupt to a guest that slept: the eventfd of the guest, written by the device,
 * against one hop more, a thread that reads an eventfd of its own and writes the guest's. Where that
 * thread runs decides what it costs, so it is measured on the guest's CPU and on the device's: a
 * halted CPU that must wake costs more than anything else here.
 */

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <rte_pause.h>

#include "rp_wire_fd.h"
#include "vfu_rig.h"

#define SAMPLES_MAX 500u
#define WARM_UP 20u
/* The guest sleeps by then, and its CPU, if nothing else runs there. */
#define ASLEEP_NS 60000u
#define ANSWER_LIMIT_MS 60000
/* The guest gave up: there is no further turn. */
#define TURN_NONE UINT64_MAX

struct interrupt {
	struct vfu_rig rig;
	int guest_fd; /* what the guest sleeps on */
	int relay_fd; /* what the relay sleeps on */
	int stop_fd;
	pthread_t relay_thread;
	bool relay_runs;
	int device_fd; /* what the device writes: one of the two */
	unsigned int samples_count;
	_Alignas(128) uint64_t turn; /* atomic: the guest goes to sleep in this one */
	uint64_t written_ns; /* atomic: when the device wrote */
};

/* In the device's thread. */
static void
write_each(void *ctx)
{
	struct interrupt *interrupt = ctx;
	uint64_t turn, until_ns;

	for (turn = 1; turn <= interrupt->samples_count + WARM_UP; turn++) {
		uint64_t asked;

		while ((asked = __atomic_load_n(&interrupt->turn, __ATOMIC_ACQUIRE)) < turn)
			rte_pause();
		if (asked == TURN_NONE)
			return;
		until_ns = bench_now_ns() + ASLEEP_NS;
		while (bench_now_ns() < until_ns)
			rte_pause();
		__atomic_store_n(&interrupt->written_ns, bench_now_ns(), __ATOMIC_RELEASE);
		eventfd_write(interrupt->device_fd, 1);
	}
}

static int
run_lap(struct interrupt *interrupt, int device_fd, double *ret_values)
{
	static double samples[SAMPLES_MAX];
	struct pollfd wait = {.fd = interrupt->guest_fd, .events = POLLIN};
	uint64_t turn, woken_ns;
	eventfd_t told;

	interrupt->device_fd = device_fd;
	__atomic_store_n(&interrupt->turn, 0, __ATOMIC_RELEASE);
	vfu_rig_job(&interrupt->rig, write_each, interrupt);
	for (turn = 1; turn <= interrupt->samples_count + WARM_UP; turn++) {
		__atomic_store_n(&interrupt->turn, turn, __ATOMIC_RELEASE);
		/* Also by a signal, after which nothing is worth being measured. */
		if (poll(&wait, 1, ANSWER_LIMIT_MS) != 1) {
			__atomic_store_n(&interrupt->turn, TURN_NONE, __ATOMIC_RELEASE);
			return bench_interrupted() ? -EINTR : -ETIMEDOUT;
		}
		woken_ns = bench_now_ns();
		(void)eventfd_read(interrupt->guest_fd, &told);
		if (turn > WARM_UP)
			samples[turn - WARM_UP - 1] =
				(double)(woken_ns - __atomic_load_n(&interrupt->written_ns, __ATOMIC_ACQUIRE));
	}
	ret_values[0] = report_percentile(samples, interrupt->samples_count, 50);
	ret_values[1] = report_percentile(samples, interrupt->samples_count, 99);
	return 0;
}

static int
direct(void *ctx, double *ret_values)
{
	struct interrupt *interrupt = ctx;

	return run_lap(interrupt, interrupt->guest_fd, ret_values);
}

static int
relayed(void *ctx, double *ret_values)
{
	struct interrupt *interrupt = ctx;

	return run_lap(interrupt, interrupt->relay_fd, ret_values);
}

static double
hop_ns(void *ctx)
{
	struct interrupt *interrupt = ctx;

	return vfu_rig_hop_ns(&interrupt->rig);
}

static void *
relay_main(void *ctx)
{
	struct interrupt *interrupt = ctx;
	struct pollfd wait[2] = {
		{.fd = interrupt->relay_fd, .events = POLLIN},
		{.fd = interrupt->stop_fd, .events = POLLIN},
	};
	eventfd_t told;

	place_before_spinners();
	while (poll(wait, 2, -1) >= 0 && wait[1].revents == 0) {
		if (wait[0].revents != 0 && eventfd_read(interrupt->relay_fd, &told) == 0)
			eventfd_write(interrupt->guest_fd, 1);
	}
	return NULL;
}

static int
relay_start(struct interrupt *interrupt, int cpu)
{
	int rc;

	rc = place_start(&interrupt->relay_thread, cpu, relay_main, interrupt);
	interrupt->relay_runs = rc == 0;
	return vfu_rig_complain("relay", rc, NULL);
}

static void
relay_stop(struct interrupt *interrupt)
{
	eventfd_t told;

	if (!interrupt->relay_runs)
		return;
	eventfd_write(interrupt->stop_fd, 1);
	pthread_join(interrupt->relay_thread, NULL);
	(void)eventfd_read(interrupt->stop_fd, &told);
	interrupt->relay_runs = false;
}

static int
measure(struct interrupt *interrupt, bool on_device_cpu, struct bench_rows *rows)
{
	static const struct bench_pairs_ops ops = {direct, relayed, hop_ns};
	static const struct bench_figure figures[2][2] = {
		{{"interrupt_p50", "ns"}, {"interrupt_p99", "ns"}},
		{{"interrupt_device_cpu_p50", "ns"}, {"interrupt_device_cpu_p99", "ns"}},
	};
	const struct bench_options *options = interrupt->rig.options;
	const struct bench_pairs_config config = {
		.options = options,
		.figures = figures[on_device_cpu],
		.figures_count = 2,
		.peer = on_device_cpu ? "one relayed hop, on the device's CPU" : "one relayed hop, on the guest's CPU",
		.share = on_device_cpu ? 1 : 2,
	};
	int rc = relay_start(interrupt, on_device_cpu ? options->device_cpu : options->guest_cpu);

	if (rc == 0)
		rc = bench_pairs_run(&config, &ops, interrupt, rows);
	relay_stop(interrupt);
	return rc;
}

int
bench_interrupt(const struct bench_options *options, struct bench_rows *rows)
{
	static struct interrupt interrupt;
	int rc;

	interrupt = (struct interrupt){.samples_count = options->quick ? 200 : SAMPLES_MAX};
	interrupt.guest_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	interrupt.relay_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	interrupt.stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	rc = vfu_rig_open(&interrupt.rig, options);
	if (rc == 0)
		rc = measure(&interrupt, false, rows);
	if (rc == 0)
		rc = measure(&interrupt, true, rows);
	vfu_rig_close(&interrupt.rig);
	rp_wire_fd_close(&interrupt.stop_fd);
	rp_wire_fd_close(&interrupt.relay_fd);
	rp_wire_fd_close(&interrupt.guest_fd);
	return rc;
}
