/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * Processor time of everything but accelerator and guest, per million packets: that of the port's
 * thread and of the accelerator's control thread, while a guest sends packets one at a time, with
 * pauses after which the device wants a kick, and is interrupted for each. Directly, kicks and
 * interrupts pass neither; relayed, the port passes kicks on.
 */

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <time.h>

#include "rig.h"
#include "softaccel.h"

#define PACKETS_MAX 20000u
#define PACKETS_QUICK 5000u
#define WARM_UP 100u
/* Long enough for the device to find its ring empty and to ask for a kick again. */
#define PAUSE_NS 10000u
#define PACKETS_PER_MPKT 1e6
#define NS_PER_MS 1e6

struct host_cpu {
	struct rig rig;
	struct softaccel *accel;
	unsigned int packets_count;
};

static double
thread_ns(pthread_t thread)
{
	struct timespec used;
	clockid_t clock;

	if (pthread_getcpuclockid(thread, &clock) != 0 || clock_gettime(clock, &used) < 0)
		return 0;
	return (double)used.tv_sec * 1e9 + (double)used.tv_nsec;
}

static double
others_ns(const struct host_cpu *host)
{
	return thread_ns(host->rig.port_thread) + thread_ns(host->rig.control.thread);
}

static int
send(struct host_cpu *host, unsigned int count)
{
	struct rig *rig = &host->rig;
	eventfd_t told;
	unsigned int i;
	int rc = 0;

	for (i = 0; rc == 0 && i < count; i++) {
		uint64_t quiet_until_ns = bench_now_ns() + PAUSE_NS;

		while (bench_now_ns() < quiet_until_ns)
			;
		rc = rig_packet_add(rig);
		if (rc == 1)
			rc = rp_vhu_frontend_kick(rig->frontend, RIG_TX) < 0 ? -EIO : 0;
		if (rc == 0)
			rc = rig_packet_wait(rig);
		(void)eventfd_read(rig->call_fds[RIG_TX], &told);
	}
	return rc;
}

static int
run_lap(struct host_cpu *host, bool direct, double *ret_ms)
{
	double before_ns;
	int rc = rig_kick_directly(&host->rig, direct);

	if (rc == 0)
		rc = send(host, WARM_UP);
	if (rc < 0)
		return rc;
	before_ns = others_ns(host);
	rc = send(host, host->packets_count);
	*ret_ms = (others_ns(host) - before_ns) / NS_PER_MS * PACKETS_PER_MPKT / host->packets_count;
	return rc;
}

static int
direct(void *ctx, double *ret_ms)
{
	return run_lap(ctx, true, ret_ms);
}

static int
relayed(void *ctx, double *ret_ms)
{
	return run_lap(ctx, false, ret_ms);
}

static double
hop_ns(void *ctx)
{
	struct host_cpu *host = ctx;

	return rig_hop_ns(&host->rig);
}

int
bench_host_cpu(const struct bench_options *options, struct bench_rows *rows)
{
	static const struct bench_figure figures[] = {
		{"host_cpu_direct_ms_per_mpkt", "ms"},
		{"host_cpu_relayed_ms_per_mpkt", "ms"},
	};
	static const struct bench_pairs_ops ops[] = {{direct, NULL, hop_ns}, {relayed, NULL, hop_ns}};
	static struct host_cpu host;
	const struct rig_config rig_config = {&rig_softaccel, &host.accel, 2, true};
	unsigned int i;
	int rc;

	host = (struct host_cpu){.packets_count = options->quick ? PACKETS_QUICK : PACKETS_MAX};
	rc = rig_open(&host.rig, &rig_config, options);
	for (i = 0; rc == 0 && i < 2; i++) {
		const struct bench_pairs_config config = {
			.options = options, .figures = &figures[i], .figures_count = 1, .share = 2 - i};

		rc = bench_pairs_run(&config, &ops[i], &host, rows);
	}
	rig_close(&host.rig);
	return rc;
}
