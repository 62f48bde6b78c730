/* SPDX-License-Identifier: BSD-3-Clause */
#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>

#include <rte_branch_prediction.h>
#include <rte_pause.h>

#include "sa_datapath.h"
#include "sa_doorbell.h"

/*
 * One iteration: doorbells, eventfds, transmit rings, uplink, then everything
 * that was filled is published. Asking the kernel for eventfds costs more than
 * looking at some hundred doorbells, so a busy loop asks less often.
 */
#define BUSY_ITERATIONS_PER_EPOLL 8u
#define EVENTS_MAX 32

/* Behind those that are one ring's; once, however many of its rings are watched. */
static void
collect_bells(struct sa_datapath *path)
{
	unsigned int i, count = 0;

	path->collections_count++;
	for (i = 0; i < path->running_count; i++) {
		struct sa_bell *bell = path->running[i]->bell;

		if (bell == NULL || !path->running[i]->watch.watched || bell->collected == path->collections_count)
			continue;
		bell->collected = path->collections_count;
		path->bells[count] = bell;
		path->doorbells[path->watched_rings_count + count++] = bell->word;
	}
	path->watched_count = path->watched_rings_count + count;
}

static void
collect_watched(struct sa_datapath *path)
{
	unsigned int i, count = 0;

	path->watched_stale = false;
	path->watched_as_of = path->gate.openings_count;
	for (i = 0; i < path->running_count; i++) {
		struct sa_ring *ring = path->running[i];

		if (!ring->watch.watched || ring->bell != NULL)
			continue;
		path->watched[count] = ring;
		path->doorbells[count++] = ring->doorbell;
	}
	path->watched_rings_count = count;
	collect_bells(path);
}

static unsigned int
observe_group(struct sa_datapath *path, unsigned int from)
{
	unsigned int i, rung = 0;

	for (i = from; i < path->watched_rings_count && i < from + SA_DOORBELL_GROUP; i++) {
		if (!sa_ring_observe(path->watched[i]))
			continue;
		sa_switch_deliver_held(&path->sw, path->watched[i]);
		rung++;
	}
	for (; i < path->watched_count && i < from + SA_DOORBELL_GROUP; i++)
		rung += sa_bell_answer(path->bells[i - path->watched_rings_count], &path->sw);
	return rung;
}

static unsigned int
observe_doorbells(struct sa_datapath *path)
{
	unsigned int i = 0, rung = 0;

	/* The control side changes what is watched behind a closed gate. */
	if (unlikely(path->watched_stale || path->watched_as_of != path->gate.openings_count))
		collect_watched(path);
	while ((i = sa_doorbells_find(path->doorbells, i, path->watched_count)) < path->watched_count) {
		rung += observe_group(path, i);
		i += SA_DOORBELL_GROUP;
	}
	return rung;
}

static unsigned int
collect_eventfds(struct sa_datapath *path)
{
	struct epoll_event events[EVENTS_MAX];
	int i, count = epoll_wait(path->kick_epoll_fd, events, EVENTS_MAX, 0);
	unsigned int kicked = 0;

	for (i = 0; i < count; i++) {
		if (events[i].data.ptr == NULL) {
			/* The gate's, written just after we woke by ourselves. */
			sa_doorbell_drain(path->gate.wake_fd);
			continue;
		}
		if (events[i].data.ptr == path) {
			/* Whatever came is fetched in this iteration. */
			sa_uplink_heard(path->uplink);
			continue;
		}
		sa_ring_kicked(events[i].data.ptr);
		sa_switch_deliver_held(&path->sw, events[i].data.ptr);
		kicked++;
	}
	return kicked;
}

static unsigned int
serve_transmit_rings(struct sa_datapath *path)
{
	unsigned int i, packets = 0;

	for (i = 0; i < path->running_count; i++) {
		struct sa_ring *ring = path->running[i];
		unsigned int count;

		if (!ring->transmits || !ring->awake)
			continue;
		count = sa_switch_serve(&path->sw, ring);
		/* A ring that is still awake has more, whatever became of these. */
		packets += ring->awake ? count + 1 : count;
	}
	return packets;
}

static unsigned int
serve_uplink(struct sa_datapath *path)
{
	struct rte_mbuf *mbufs[SA_BURST];
	unsigned int count;

	if (path->uplink == NULL)
		return 0;
	count = sa_uplink_receive(path->uplink, mbufs);
	if (count > 0)
		sa_switch_forward(&path->sw, path->uplink_port, mbufs, count);
	/* The driver may have made them otherwise than we do. */
	rte_pktmbuf_free_bulk(mbufs, count);
	return count;
}

static void
keep_time(struct sa_datapath *path)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
	path->now_ms = (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
	path->sw.now_s = (uint32_t)now.tv_sec;
	if (path->sw.now_s != path->aged_s) {
		path->aged_s = path->sw.now_s;
		sa_mac_table_age(path->sw.macs, path->sw.now_s);
	}
}

static unsigned int
judge_doorbells(struct sa_datapath *path)
{
	unsigned int i, kicked = 0;

	path->judge_ms = path->now_ms + SA_WATCH_JUDGE_MS;
	path->watched_stale = true;
	for (i = 0; i < path->running_count; i++) {
		if (!sa_ring_judge(path->running[i]))
			continue;
		sa_switch_deliver_held(&path->sw, path->running[i]);
		kicked++;
	}
	return kicked;
}

static unsigned int
iterate(struct sa_datapath *path, bool ask_kernel)
{
	unsigned int done = observe_doorbells(path);

	if (path->now_ms >= path->judge_ms)
		done += judge_doorbells(path);
	if (ask_kernel)
		done += collect_eventfds(path);
	done += serve_transmit_rings(path);
	done += serve_uplink(path);
	sa_switch_flush(&path->sw);
	return done;
}

static void
readers_online(struct sa_datapath *path)
{
	unsigned int i;

	for (i = 0; i < path->readers_count; i++)
		rp_dma_reader_online(path->readers[i]);
}

static void
readers_offline(struct sa_datapath *path)
{
	unsigned int i;

	for (i = 0; i < path->readers_count; i++)
		rp_dma_reader_offline(path->readers[i]);
}

static void
readers_quiescent(struct sa_datapath *path)
{
	unsigned int i;

	for (i = 0; i < path->readers_count; i++)
		rp_dma_reader_quiescent(path->readers[i]);
}

/*
 * Every ring that is asleep has asked for its kick and was looked at once more; the rest is looked
 * at again after the sleep, which what came since then ends.
 */
static void
sleep_us(struct sa_datapath *path, uint32_t us)
{
	struct pollfd kicked = {.fd = path->kick_epoll_fd, .events = POLLIN};
	struct timespec limit = {.tv_nsec = (long)us * 1000};
	/* A store to a doorbell would not wake us, nor an uplink that announces nothing. */
	bool announced = path->watched_count == 0 && path->uplink != NULL && sa_uplink_arm(path->uplink);
	bool forever = path->watched_count == 0 && (path->uplink == NULL || announced);

	if (announced && serve_uplink(path) > 0) {
		sa_switch_flush(&path->sw);
		sa_idle_reset(&path->idle);
		sa_uplink_disarm(path->uplink);
		return;
	}
	if (announced)
		limit = (struct timespec){.tv_sec = SA_IDLE_ANNOUNCED_S};
	else if (path->running_count == 0)
		limit.tv_nsec = SA_IDLE_DRAIN_US * 1000;
	sa_count(forever ? &path->sleeps.untimed : &path->sleeps.timed, 1);
	readers_offline(path);
	sa_gate_sleep(&path->gate);
	ppoll(&kicked, 1, forever && !announced ? NULL : &limit, NULL);
	sa_gate_wake(&path->gate);
	readers_online(path);
	if (announced)
		sa_uplink_disarm(path->uplink);
}

unsigned int
sa_datapath_poll(struct sa_datapath *path)
{
	unsigned int done;

	sa_gate_enter(&path->gate);
	if (sa_gate_is_wanted(&path->gate))
		sa_gate_pass(&path->gate);
	readers_online(path);
	keep_time(path);
	done = iterate(path, true);
	readers_offline(path);
	sa_gate_leave(&path->gate);
	return done;
}

unsigned int
sa_datapath_drain(struct sa_datapath *path, unsigned int enough)
{
	unsigned int done, all = 0;

	sa_gate_enter(&path->gate);
	readers_online(path);
	do {
		if (unlikely(sa_gate_is_wanted(&path->gate))) {
			readers_offline(path);
			sa_gate_pass(&path->gate);
			readers_online(path);
		}
		readers_quiescent(path);
		keep_time(path);
		done = iterate(path, ++path->drain_iterations_count % BUSY_ITERATIONS_PER_EPOLL == 0);
		all += done;
	} while (done > 0 && all < enough);
	readers_offline(path);
	sa_gate_leave(&path->gate);
	return all;
}

static bool
is_stopped(const struct sa_datapath *path)
{
	return __atomic_load_n(&path->stop, __ATOMIC_ACQUIRE);
}

void
sa_datapath_run(struct sa_datapath *path)
{
	unsigned int iterations_count = 0;

	sa_gate_enter(&path->gate);
	readers_online(path);
	sa_place_begin(&path->place);
	while (!is_stopped(path)) {
		bool ask_kernel = path->idle.spins_count > 0 || ++iterations_count % BUSY_ITERATIONS_PER_EPOLL == 0;
		uint32_t us;

		if (unlikely(sa_gate_is_wanted(&path->gate))) {
			readers_offline(path);
			sa_gate_pass(&path->gate);
			readers_online(path);
		}
		readers_quiescent(path);
		keep_time(path);
		sa_place_follow(&path->place);
		if (iterate(path, ask_kernel) > 0) {
			sa_idle_reset(&path->idle);
			continue;
		}
		us = sa_idle_next_us(&path->idle);
		if (us == 0)
			rte_pause();
		/* This turn may have taken the wake-up that came with it. */
		else if (!is_stopped(path))
			sleep_us(path, us);
	}
	sa_place_end(&path->place);
	readers_offline(path);
	sa_gate_leave(&path->gate);
}

void
sa_datapath_stop(struct sa_datapath *path)
{
	__atomic_store_n(&path->stop, true, __ATOMIC_RELEASE);
	eventfd_write(path->gate.wake_fd, 1);
}
