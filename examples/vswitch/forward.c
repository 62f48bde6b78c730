/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>

#include <rte_cycles.h>
#include <rte_launch.h>
#include <rte_lcore.h>
#include <rte_mbuf.h>

#include "flow.h"
#include "forward.h"
#include "guest.h"
#include "out.h"
#include "vhost.h"

#define IDLE_TURNS 64u /* before a worker sleeps */

struct worker {
	struct vs_switch *sw;
	unsigned int number; /* among the workers */
	uint32_t now_s;
};

static void
flood(struct vs_switch *sw, struct vs_port *from, struct rte_mbuf *frame)
{
	unsigned int i;

	vs_count(&from->counters.flooded, 1);
	/* All that send it only read it. */
	for (i = 0; i < sw->ports_count; i++) {
		if (sw->ports[i] == from)
			continue;
		rte_mbuf_refcnt_update(frame, 1);
		vs_out_send(sw->ports[i], &frame, 1);
	}
	rte_pktmbuf_free(frame);
}

static bool
is_usable(const struct rte_mbuf *frame)
{
	return frame->nb_segs == 1 && rte_pktmbuf_data_len(frame) >= RTE_ETHER_HDR_LEN;
}

/* @return where it goes to; NULL: everywhere. */
static struct vs_port *
look_up(struct worker *worker, struct vs_port *from, struct rte_mbuf *frame)
{
	const struct rte_ether_hdr *ether = rte_pktmbuf_mtod(frame, const struct rte_ether_hdr *);
	int to;

	vs_mac_learn(worker->sw->mac, &ether->src_addr, from->number, worker->now_s);
	frame->hash.usr = vs_flow_hash((const uint8_t *)ether, rte_pktmbuf_data_len(frame));
	to = vs_mac_find(worker->sw->mac, &ether->dst_addr, worker->now_s);
	return to < 0 ? NULL : worker->sw->ports[to];
}

static void
drop(struct vs_port *from, enum vs_drop why, struct rte_mbuf *frame)
{
	rte_spinlock_lock(&from->egress.lock);
	vs_count(&from->counters.drops[why], 1);
	rte_spinlock_unlock(&from->egress.lock);
	rte_pktmbuf_free(frame);
}

/* Neighbours to the same port go together. */
static void
forward(struct worker *worker, struct vs_port *from, enum vs_path path, struct rte_mbuf **frames, unsigned int count)
{
	struct vs_port *to = NULL;
	unsigned int i, first = 0;

	vs_count(&from->counters.in[path], count);
	for (i = 0; i < count; i++) {
		struct vs_port *next = is_usable(frames[i]) ? look_up(worker, from, frames[i]) : from;

		if (to != NULL && next == to)
			continue;
		if (to != NULL)
			vs_out_send(to, frames + first, i - first);
		first = i;
		to = NULL;
		if (next == from)
			drop(from, is_usable(frames[i]) ? VS_DROP_SAME_PORT : VS_DROP_LENGTH, frames[i]);
		else if (next == NULL)
			flood(worker->sw, from, frames[i]);
		else
			to = next;
	}
	if (to != NULL)
		vs_out_send(to, frames + first, i - first);
}

static unsigned int
receive_ethdev(struct worker *worker, struct vs_port *port)
{
	struct rte_mbuf *frames[VS_BURST];
	unsigned int count;

	if (!vs_port_has_ethdev(port))
		return 0;
	count = rte_eth_rx_burst(port->ethdev, 0, frames, VS_BURST);
	if (count > 0)
		forward(worker, port, port->guest == NULL ? VS_PATH_ETHDEV : VS_PATH_HARDWARE, frames, count);
	return count;
}

static unsigned int
receive_software(struct worker *worker, struct vs_port *port)
{
	uint64_t mask = __atomic_load_n(&port->guest->transmit_mask, __ATOMIC_RELAXED);
	struct rte_mbuf *frames[VS_BURST];
	unsigned int sum = 0, count;

	for (; mask != 0; mask &= mask - 1) {
		count = vs_vhost_receive(port->guest, (unsigned int)__builtin_ctzll(mask), frames);
		if (count > 0)
			forward(worker, port, VS_PATH_SOFTWARE, frames, count);
		sum += count;
	}
	return sum;
}

/* The wire first: what the accelerator has sent is older than what the guest sends by software after a move. */
static bool
serve(struct worker *worker, struct vs_port *port)
{
	bool flushed = vs_out_flush(port);
	unsigned int count = receive_ethdev(worker, port);

	if (port->guest != NULL)
		count += receive_software(worker, port);
	return flushed || count > 0;
}

static unsigned int
number_among_workers(unsigned int lcore)
{
	unsigned int other, number = 0;

	RTE_LCORE_FOREACH_WORKER(other)
	{
		if (other < lcore)
			number++;
	}
	return number;
}

static int
work(void *ctx)
{
	struct worker worker = {.sw = ctx};
	struct vs_switch *sw = worker.sw;
	unsigned int lcore = rte_lcore_id(), idle = 0, i;

	worker.number = number_among_workers(lcore);
	rte_rcu_qsbr_thread_register(sw->readers, lcore);
	rte_rcu_qsbr_thread_online(sw->readers, lcore);
	while (!__atomic_load_n(&sw->ended, __ATOMIC_RELAXED)) {
		bool busy = false;

		worker.now_s = vs_now_s();
		for (i = worker.number; i < sw->ports_count; i += sw->workers_count)
			busy |= serve(&worker, sw->ports[i]);
		rte_rcu_qsbr_quiescent(sw->readers, lcore);
		idle = busy ? 0 : idle + 1;
		if (idle > IDLE_TURNS && sw->idle_us != 0)
			rte_delay_us_sleep(sw->idle_us);
	}
	rte_rcu_qsbr_thread_offline(sw->readers, lcore);
	rte_rcu_qsbr_thread_unregister(sw->readers, lcore);
	return 0;
}

int
vs_forward_start(struct vs_switch *sw, struct rp_wire_why *why)
{
	sw->workers_count = rte_lcore_count() - 1;
	if (sw->workers_count == 0)
		return rp_wire_why_set(why, -ENODEV,
				       "one lcore, expected two or more: the main one is for the control side "
				       "(--lcores=0@0,1@0 is two on one core)");
	rte_eal_mp_remote_launch(work, sw, SKIP_MAIN);
	return 0;
}

void
vs_forward_stop(struct vs_switch *sw)
{
	__atomic_store_n(&sw->ended, true, __ATOMIC_RELAXED);
	rte_eal_mp_wait_lcore();
}
