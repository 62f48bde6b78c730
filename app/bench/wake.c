/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * From a guest's kick after a pause to the frame that the device took, which slept: a queue that is idle
 * and whose doorbell was given back, so that kicks come by eventfd through the port and the device
 * sleeps until it is woken. Against a device that has eventfds only, and against one that was left its
 * doorbell and looks at it whenever a timer wakes it.
 */

#include <errno.h>
#include <pthread.h>
#include <time.h>

#include <rte_lcore.h>

#include "rig.h"
#include "softaccel.h"

#define SAMPLES_MAX 200u
#define WARM_UP 5u
/* Longer than it takes until the device sleeps as long as it ever does. */
#define PAUSE_NS 5000000

enum kind {
	KIND_IDLE, /* its doorbell was given back */
	KIND_EVENTFD, /* has no doorbell that could be mapped */
	KIND_TIMER, /* its doorbell is mapped, and watched by a timer */
	KINDS_COUNT,
};

struct device {
	enum kind kind;
	const struct bench_options *options;
	struct softaccel *accel;
	pthread_t thread;
	bool runs;
};

struct wake {
	struct rig rigs[KINDS_COUNT];
	struct device devices[KINDS_COUNT];
	unsigned int samples_count;
	enum kind peer;
};

/* The data path as the program runs it: it sleeps when there is nothing to do. */
static void *
run_main(void *ctx)
{
	struct device *device = ctx;

	(void)place_pin(device->options->device_cpu);
	place_before_spinners();
	if (rte_thread_register() < 0)
		return NULL;
	softaccel_run(device->accel);
	rte_thread_unregister();
	return NULL;
}

static int
open_device(struct rig *rig, struct rp_wire_why *why)
{
	struct device *device = rig->config.device_ctx;
	const struct softaccel_function_config config = {
		.socket_path = rig->socket_device,
		.queue_pairs = 1,
		.queue_size = RIG_RING_NUM,
		.mac = {0x52, 0x54, 0, 0, 0, 1},
		.doorbell = device->kind == KIND_EVENTFD ? SOFTACCEL_DOORBELL_NONE : SOFTACCEL_DOORBELL_PAGE,
		.idle_ms = device->kind == KIND_IDLE ? 1000 : 0,
	};
	struct softaccel_function *function;
	int rc = softaccel_create(&(struct softaccel_config){.mbufs_count = 2048}, NULL, NULL, &device->accel, why);

	if (rc == 0)
		rc = softaccel_function_add(device->accel, &config, &function, why);
	if (rc == 0)
		rc = -pthread_create(&device->thread, NULL, run_main, device);
	device->runs = rc == 0;
	return rc;
}

static void
close_device(struct rig *rig)
{
	struct device *device = rig->config.device_ctx;

	if (device->runs) {
		softaccel_stop(device->accel);
		pthread_join(device->thread, NULL);
	}
	device->runs = false;
	device->accel = softaccel_destroy(device->accel);
}

static int
device_fd(struct rig *rig)
{
	return softaccel_fd(((struct device *)rig->config.device_ctx)->accel);
}

static void
process(struct rig *rig)
{
	softaccel_process(((struct device *)rig->config.device_ctx)->accel);
}

static void
pause_ns(long ns)
{
	nanosleep(&(struct timespec){.tv_nsec = ns}, NULL);
}

/* The rig's own thread is there for the placement probe alone. */
static void
serve(struct rig *rig)
{
	(void)rig;
	pause_ns(PAUSE_NS);
}

static const struct rig_device sleeping_device = {
	.open = open_device,
	.close = close_device,
	.fd = device_fd,
	.process = process,
	.serve = serve,
};

static int
one_kick(struct rig *rig, double *ret_ns)
{
	uint64_t started_ns;
	int rc;

	pause_ns(PAUSE_NS);
	rc = rig_packet_add(rig);
	if (rc < 0)
		return rc;
	started_ns = bench_now_ns();
	rc = rp_vhu_frontend_kick(rig->frontend, RIG_TX);
	if (rc >= 0)
		rc = rig_packet_wait(rig);
	*ret_ns = (double)(bench_now_ns() - started_ns);
	return rc < 0 ? rc : 0;
}

static int
run_lap(struct wake *wake, enum kind kind, double *ret_values)
{
	static double samples[SAMPLES_MAX];
	unsigned int i;

	for (i = 0; i < wake->samples_count + WARM_UP; i++) {
		double ns;
		int rc = one_kick(&wake->rigs[kind], &ns);

		if (rc < 0)
			return rc;
		if (i >= WARM_UP)
			samples[i - WARM_UP] = ns;
	}
	ret_values[0] = report_percentile(samples, wake->samples_count, 50);
	ret_values[1] = report_percentile(samples, wake->samples_count, 99);
	return 0;
}

static int
ours(void *ctx, double *ret_values)
{
	return run_lap(ctx, KIND_IDLE, ret_values);
}

static int
peer(void *ctx, double *ret_values)
{
	struct wake *wake = ctx;

	return run_lap(wake, wake->peer, ret_values);
}

static double
hop_ns(void *ctx)
{
	struct wake *wake = ctx;

	return rig_hop_ns(&wake->rigs[KIND_IDLE]);
}

static int
measure(struct wake *wake, enum kind against, const struct bench_options *options, struct bench_rows *rows)
{
	static const struct bench_pairs_ops ops = {ours, peer, hop_ns};
	static const struct bench_figure figures[KINDS_COUNT][2] = {
		[KIND_EVENTFD] = {{"wake_p50", "ns"}, {"wake_p99", "ns"}},
		[KIND_TIMER] = {{"wake_timer_p50", "ns"}, {"wake_timer_p99", "ns"}},
	};
	const struct bench_pairs_config config = {
		.options = options,
		.figures = figures[against],
		.figures_count = 2,
		.peer = against == KIND_EVENTFD ? "a device with eventfds only, by the same port" :
						  "a mapped doorbell, looked at by a timer",
		.share = against == KIND_EVENTFD ? 2 : 1,
	};

	wake->peer = against;
	return bench_pairs_run(&config, &ops, wake, rows);
}

static int
open_rig(struct wake *wake, enum kind kind, const struct bench_options *options)
{
	const struct rig_config config = {
		.device = &sleeping_device,
		.device_ctx = &wake->devices[kind],
		.queues_count = 2,
	};
	int rc;

	wake->devices[kind] = (struct device){.kind = kind, .options = options};
	rc = rig_open(&wake->rigs[kind], &config, options);
	/* The page is given back for good: kicked so often, the queue would soon have it again. */
	return rc < 0 ? rc : rig_kick_directly(&wake->rigs[kind], kind == KIND_TIMER);
}

int
bench_wake(const struct bench_options *options, struct bench_rows *rows)
{
	static struct wake wake;
	unsigned int kind, opened;
	int rc = 0;

	wake = (struct wake){.samples_count = options->quick ? 20 : SAMPLES_MAX};
	for (opened = 0; rc == 0 && opened < KINDS_COUNT; opened++)
		rc = open_rig(&wake, (enum kind)opened, options);
	if (rc == 0)
		rc = measure(&wake, KIND_EVENTFD, options, rows);
	if (rc == 0)
		rc = measure(&wake, KIND_TIMER, options, rows);
	for (kind = 0; kind < opened; kind++)
		rig_close(&wake.rigs[kind]);
	return rc;
}
