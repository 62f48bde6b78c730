/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <rte_lcore.h>
#include <rte_pause.h>

#include "packets_rig.h"
#include "vfu_rig.h"

#define ALONE_PAUSE_US 200u
#define ROUND_LIMIT_NS 10000000000ull

static unsigned int
serve(struct packets_rig *rig, unsigned int enough)
{
	switch (rig->device) {
	case PACKETS_PORT:
	case PACKETS_WHOLE:
		return softaccel_drain(rig->accel, enough);
	case PACKETS_PEER:
		return packets_peer_poll(&rig->peer);
	case PACKETS_BEHIND_PORTS:
		return packets_peer_poll(&rig->behind);
	default:
		return packets_null_poll(rig->device == PACKETS_COPY ? &rig->copy : &rig->null);
	}
}

static void
sleep_on(struct packets_rig *rig)
{
	struct pollfd wait = {.fd = rig->wake_fd, .events = POLLIN};
	eventfd_t told;

	if (poll(&wait, 1, -1) == 1)
		(void)eventfd_read(rig->wake_fd, &told);
}

/* One filling of the rings, and what the device makes of it. @return how many packets, or a negative errno. */
static int
alone_round(struct packets_rig *rig, uint64_t *ret_ns)
{
	struct packets_side *side = &rig->sides[rig->device];
	unsigned int packets = packets_load_fill(side, rig->alone.load);
	uint64_t started_ns = bench_now_ns();
	int taken;

	/* Its looks at empty rings are no part of a packet's cost. */
	while (!packets_load_has_arrived(side) && bench_now_ns() < started_ns + ROUND_LIMIT_NS)
		serve(rig, packets);
	*ret_ns = bench_now_ns() - started_ns;
	taken = packets_load_take(side, rig->alone.load);
	return taken >= 0 && (unsigned int)taken != packets ? -EIO : taken;
}

static void
be_alone(struct packets_rig *rig)
{
	struct packets_alone *alone = &rig->alone;
	double packet_ns[PACKETS_ROUNDS];
	unsigned int round;
	uint64_t round_ns;
	int taken = 1;

	/* The first half warms up. */
	for (round = 0; taken > 0 && round < 2 * PACKETS_ROUNDS; round++) {
		packets_load_forget(&rig->sides[rig->device], round == 0);
		taken = alone_round(rig, &round_ns);
		packet_ns[round % PACKETS_ROUNDS] = (double)round_ns / taken;
	}
	alone->rc = taken > 0 ? 0 : taken < 0 ? taken : -EIO;
	/* Not the mean: what interrupts the thread is in some of the rounds. */
	if (taken > 0)
		alone->device_ns = report_percentile(packet_ns, PACKETS_ROUNDS, 50);
	__atomic_store_n(&alone->done, true, __ATOMIC_RELEASE);
}

static void *
device_main(void *ctx)
{
	struct packets_rig *rig = ctx;
	enum packets_task task, alone;

	if (rte_thread_register() < 0)
		abort();
	while ((task = __atomic_load_n(&rig->task, __ATOMIC_ACQUIRE)) != PACKETS_TASK_STOP) {
		__atomic_store_n(&rig->doing, task, __ATOMIC_RELEASE);
		if (task == PACKETS_TASK_SERVE) {
			serve(rig, UINT_MAX);
		} else if (task == PACKETS_TASK_ECHO) {
			place_echo(&rig->probe);
		} else if (task == PACKETS_TASK_SLEEP) {
			sleep_on(rig);
		} else {
			be_alone(rig);
			alone = PACKETS_TASK_ALONE;
			__atomic_compare_exchange_n(&rig->task, &alone, PACKETS_TASK_SLEEP, false, __ATOMIC_ACQ_REL,
						    __ATOMIC_ACQUIRE);
		}
	}
	rte_thread_unregister();
	return NULL;
}

static void
tell(struct packets_rig *rig, enum packets_task task)
{
	__atomic_store_n(&rig->task, task, __ATOMIC_RELEASE);
	eventfd_write(rig->wake_fd, 1);
}

static void
wait_until(struct packets_rig *rig, enum packets_task task)
{
	while (__atomic_load_n(&rig->doing, __ATOMIC_ACQUIRE) != task)
		rte_pause();
}

int
packets_rig_device_start(struct packets_rig *rig)
{
	int rc = place_start(&rig->device_thread, rig->options->device_cpu, device_main, rig);

	rig->device_runs = rc == 0;
	return rc;
}

void
packets_rig_device_stop(struct packets_rig *rig)
{
	if (!rig->device_runs)
		return;
	tell(rig, PACKETS_TASK_STOP);
	pthread_join(rig->device_thread, NULL);
	rig->device_runs = false;
}

void
packets_rig_rest(struct packets_rig *rig)
{
	if (!rig->device_runs)
		return;
	tell(rig, PACKETS_TASK_SLEEP);
	wait_until(rig, PACKETS_TASK_SLEEP);
}

double
packets_rig_hop_ns(struct packets_rig *rig)
{
	double hop_ns;

	tell(rig, PACKETS_TASK_ECHO);
	wait_until(rig, PACKETS_TASK_ECHO);
	hop_ns = place_hop_ns(&rig->probe);
	packets_rig_rest(rig);
	return hop_ns;
}

static void
serve_as(struct packets_rig *rig, enum packets_device device, const struct packets_load *load)
{
	packets_rig_rest(rig);
	rig->device = device;
	rig->null.written_bytes = rig->copy.written_bytes = PACKETS_NET_HEADER_BYTES + load->sizes_bytes[0];
	tell(rig, PACKETS_TASK_SERVE);
	wait_until(rig, PACKETS_TASK_SERVE);
}

int
packets_rig_measure(struct packets_rig *rig, enum packets_device device, const struct packets_load *load,
		    uint64_t duration_ns, struct packets_result *ret_result)
{
	struct packets_side *side = &rig->sides[device];
	int rc;

	serve_as(rig, device, load);
	rc = packets_load_begin(side);
	if (rc == 0)
		rc = packets_load_run(side, load, duration_ns, ret_result);
	packets_rig_rest(rig);
	return rc;
}

int
packets_rig_measure_alone(struct packets_rig *rig, enum packets_device device, const struct packets_load *load,
			  double *ret_device_ns)
{
	int rc;

	serve_as(rig, device, load);
	rc = packets_load_begin(&rig->sides[device]);
	packets_rig_rest(rig);
	if (rc < 0)
		return rc;
	rig->alone = (struct packets_alone){.load = load};
	tell(rig, PACKETS_TASK_ALONE);
	while (!__atomic_load_n(&rig->alone.done, __ATOMIC_ACQUIRE))
		usleep(ALONE_PAUSE_US);
	*ret_device_ns = rig->alone.device_ns;
	return rig->alone.rc;
}
