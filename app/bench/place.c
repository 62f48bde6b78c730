/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <sched.h>
#include <stdio.h>

#include <rte_pause.h>

#include "bench.h"

#define BATCHES 51u
#define TRIPS_PER_BATCH 200u
/* Here the hop is 40 to 60 ns or 220 to 245 ns; what lies between is a move during the probe, or another machine. */
#define NEAR_MAX_NS 120.0
#define FAR_MIN_NS 180.0

int
place_pin(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET((unsigned int)cpu, &set);
	return sched_setaffinity(0, sizeof(set), &set) < 0 ? -errno : 0;
}

int
place_pin_to_both(const struct bench_options *options)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET((unsigned int)options->guest_cpu, &set);
	CPU_SET((unsigned int)options->device_cpu, &set);
	return sched_setaffinity(0, sizeof(set), &set) < 0 ? -errno : 0;
}

int
place_start(pthread_t *ret_thread, int cpu, void *(*main)(void *ctx), void *ctx)
{
	pthread_attr_t attributes;
	cpu_set_t set;
	int rc = pthread_attr_init(&attributes);

	if (rc != 0)
		return -rc;
	CPU_ZERO(&set);
	CPU_SET((unsigned int)cpu, &set);
	rc = pthread_attr_setaffinity_np(&attributes, sizeof(set), &set);
	if (rc == 0)
		rc = pthread_create(ret_thread, &attributes, main, ctx);
	pthread_attr_destroy(&attributes);
	return -rc;
}

void
place_before_spinners(void)
{
	struct sched_param param;

	if (sched_getscheduler(0) != SCHED_FIFO || sched_getparam(0, &param) < 0 ||
	    param.sched_priority >= sched_get_priority_max(SCHED_FIFO))
		return;
	param.sched_priority++;
	(void)sched_setscheduler(0, SCHED_FIFO, &param);
}

int
place_choose_cpus(struct bench_options *options)
{
	int found[2] = {-1, -1}, count = 0, cpu;
	cpu_set_t set;

	if (sched_getaffinity(0, sizeof(set), &set) < 0)
		return -errno;
	for (cpu = 0; cpu < CPU_SETSIZE && count < 2; cpu++) {
		if (CPU_ISSET((unsigned int)cpu, &set))
			found[count++] = cpu;
	}
	options->guest_cpu = found[0];
	options->device_cpu = found[1];
	return count == 2 ? 0 : -ENODEV;
}

void
place_echo(struct place_probe *probe)
{
	uint32_t ping = __atomic_load_n(&probe->ping, __ATOMIC_ACQUIRE);

	if (ping != probe->pong)
		__atomic_store_n(&probe->pong, ping, __ATOMIC_RELEASE);
	else
		rte_pause();
}

double
place_hop_ns(struct place_probe *probe)
{
	double batches[BATCHES];
	uint32_t trip, value = probe->ping;
	unsigned int i;

	for (i = 0; i < BATCHES; i++) {
		uint64_t started_ns = bench_now_ns();

		for (trip = 0; trip < TRIPS_PER_BATCH; trip++) {
			__atomic_store_n(&probe->ping, ++value, __ATOMIC_RELEASE);
			while (__atomic_load_n(&probe->pong, __ATOMIC_ACQUIRE) != value)
				rte_pause();
		}
		batches[i] = (double)(bench_now_ns() - started_ns) / TRIPS_PER_BATCH / 2;
	}
	return report_percentile(batches, BATCHES, 50);
}

enum place
place_of(double hop_ns)
{
	if (hop_ns <= NEAR_MAX_NS)
		return PLACE_NEAR;
	return hop_ns >= FAR_MIN_NS ? PLACE_FAR : PLACE_MIXED;
}

const char *
place_name(enum place place)
{
	static const char *const names[PLACES_COUNT] = {
		[PLACE_NEAR] = "near",
		[PLACE_FAR] = "far",
		[PLACE_MIXED] = "mixed",
		[PLACE_ONE] = "one",
	};

	return names[place];
}
