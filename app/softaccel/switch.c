/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sa_packet.h"
#include "sa_pass.h"
#include "sa_route.h"
#include "sa_switch.h"
#include "sa_uplink.h"

/* Neither delivered nor dropped. */
#define HELD (-2)

static void
count_delivery(struct sa_port *port, int why)
{
	if (why >= 0)
		sa_port_drop(port, (enum softaccel_drop)why);
	else
		sa_count(&port->counters.out_packets, 1);
}

int
sa_switch_init(struct sa_switch *sw, struct sa_ring_scratch *scratch, enum softaccel_copies copies)
{
	*sw = (struct sa_switch){.scratch = scratch, .copies = copies};
	sw->packet_bytes_max = SA_NET_HEADER_BYTES + rte_pktmbuf_data_room_size(scratch->pool) - RTE_PKTMBUF_HEADROOM;
	return sa_mac_table_create(SOFTACCEL_FUNCTIONS_MAX * SA_FUNCTION_MACS_MAX + SA_UPLINK_MACS_MAX, &sw->macs);
}

void
sa_switch_fini(struct sa_switch *sw)
{
	unsigned int i;

	for (i = 0; i < sw->ports_count; i++) {
		free(sw->ports[i]->receive_rings);
		free(sw->ports[i]);
	}
	sw->ports_count = 0;
	free(sw->dirty);
	sw->dirty = NULL;
	sw->macs = sa_mac_table_destroy(sw->macs);
}

int
sa_switch_port(struct sa_switch *sw, const char *group, struct sa_port **ret_port)
{
	struct sa_port *port;
	unsigned int i;

	for (i = 0; group != NULL && i < sw->ports_count; i++) {
		if (strcmp(sw->ports[i]->name, group) == 0) {
			*ret_port = sw->ports[i];
			return 0;
		}
	}
	if (sw->ports_count == SA_PORTS_MAX)
		return -ENOSPC;
	port = calloc(1, sizeof(*port));
	if (port == NULL)
		return -ENOMEM;
	if (group != NULL)
		snprintf(port->name, sizeof(port->name), "%s", group);
	port->macs.quota = SA_FUNCTION_MACS_MAX;
	sw->ports[sw->ports_count++] = port;
	*ret_port = port;
	return 0;
}

static int
make_room(struct sa_ring ***rings, unsigned int *room, unsigned int count)
{
	struct sa_ring **more;

	if (count < *room)
		return 0;
	more = realloc(*rings, (*room + 16) * sizeof(**rings));
	if (more == NULL)
		return -ENOMEM;
	*rings = more;
	*room += 16;
	return 0;
}

static unsigned int
receive_rings_count(const struct sa_switch *sw)
{
	unsigned int i, count = 0;

	for (i = 0; i < sw->ports_count; i++)
		count += sw->ports[i]->receive_count;
	return count;
}

static bool
is_listed(const struct sa_ring *ring)
{
	unsigned int i;

	for (i = 0; i < ring->port->receive_count; i++)
		if (ring->port->receive_rings[i] == ring)
			return true;
	return false;
}

int
sa_switch_ring_add(struct sa_switch *sw, struct sa_ring *ring)
{
	struct sa_port *port = ring->port;
	unsigned int at = port->receive_count;
	int rc;

	if (is_listed(ring))
		return 0;
	rc = make_room(&port->receive_rings, &port->receive_room, port->receive_count);

	if (rc == 0)
		rc = make_room(&sw->dirty, &sw->dirty_room, receive_rings_count(sw));
	if (rc < 0)
		return rc;
	for (; at > 0 && port->receive_rings[at - 1]->order > ring->order; at--)
		port->receive_rings[at] = port->receive_rings[at - 1];
	port->receive_rings[at] = ring;
	port->receive_count++;
	return 0;
}

void
sa_switch_ring_remove(struct sa_ring *ring)
{
	struct sa_port *port = ring->port;
	unsigned int from, to = 0;

	if (ring->held.changing)
		return;
	for (from = 0; from < port->receive_count; from++) {
		if (port->receive_rings[from] != ring)
			port->receive_rings[to++] = port->receive_rings[from];
	}
	port->receive_count = to;
}

void
sa_switch_ring_give_up(struct sa_ring *ring)
{
	unsigned int i;

	if (!ring->held.changing)
		return;
	for (i = 0; i < ring->held.count; i++)
		sa_port_drop(ring->port, SOFTACCEL_DROP_RX_NO_QUEUE);
	sa_held_forget(&ring->held, &ring->port->held_count, ring->held.count);
	ring->held.changing = false;
	sa_switch_ring_remove(ring);
}

static int
hold(struct sa_ring *ring, struct rte_mbuf *mbuf)
{
	return sa_held_keep(&ring->held, &ring->port->held_count, mbuf) ? HELD : SOFTACCEL_DROP_RX_NO_BUFFER;
}

void
sa_switch_deliver_held(struct sa_switch *sw, struct sa_ring *ring)
{
	struct sa_held *held = &ring->held;
	unsigned int done;

	if (!held->changing || !held->arrived || sa_ring_state(ring) != SOFTACCEL_QUEUE_RUNNING || !ring->awake)
		return;
	for (done = 0; done < held->count; done++) {
		int why = sa_ring_receive(ring, sw->scratch, held->mbufs[done]);

		/* It waits for buffers again, or changes hands once more. */
		if (why == SOFTACCEL_DROP_RX_NO_BUFFER || sa_ring_state(ring) != SOFTACCEL_QUEUE_RUNNING)
			break;
		count_delivery(ring->port, why);
	}
	sa_switch_mark_dirty(sw, ring);
	sa_held_forget(held, &ring->port->held_count, done);
	/* Not before a frame went through: to be awake is not yet to have buffers. */
	if (done > 0 && held->count == 0 && held->arrived)
		held->changing = false;
}

/* One frame, whatever the ring is like. @return as sa_ring_receive(), or HELD. */
static int
receive(struct sa_switch *sw, struct sa_ring *ring, struct rte_mbuf *mbuf)
{
	int why;

	if (ring->held.changing) {
		why = hold(ring, mbuf);
		sa_switch_deliver_held(sw, ring);
		return why;
	}
	why = sa_ring_receive(ring, sw->scratch, mbuf);
	sa_switch_mark_dirty(sw, ring);
	/* The guest may well have buffers that the messenger has not brought yet. */
	if (why == SOFTACCEL_DROP_RX_NO_BUFFER && ring->carried && !ring->awake)
		ring->held.changing = true;
	/* Or this very frame has shown that the ring must change hands. */
	return why >= 0 && ring->held.changing ? hold(ring, mbuf) : why;
}

/* Frames for one ring, one behind the other; borrowed. */
struct run {
	struct sa_ring *ring;
	struct sa_route route;
	unsigned int count;
	struct rte_mbuf *mbufs[SA_BURST];
};

/* From the first frame on that is not as all are, one by one. */
static void
run_end(struct sa_switch *sw, struct run *run)
{
	struct sa_ring *ring = run->ring;
	unsigned int i = 0;
	int why;

	if (run->count == 0)
		return;
	if (!ring->held.changing) {
		i = sa_ring_receive_burst(ring, sw->scratch, run->mbufs, run->count);
		sa_count(&ring->port->counters.out_packets, i);
		sa_switch_mark_dirty(sw, ring);
	}
	for (; i < run->count; i++) {
		why = receive(sw, ring, run->mbufs[i]);
		if (why != HELD)
			count_delivery(ring->port, why);
	}
	run->count = 0;
}

/* The mbuf stays the caller's, who ends the run. */
static inline void
run_add(struct sa_switch *sw, struct run *run, struct sa_ring *ring, struct rte_mbuf *mbuf)
{
	if (unlikely(ring != run->ring || run->count == SA_BURST))
		run_end(sw, run);
	run->ring = ring;
	run->mbufs[run->count++] = mbuf;
}

static void
deliver(struct sa_switch *sw, struct run *run, struct sa_port *to, struct rte_mbuf *mbuf)
{
	if (to->uplink != NULL)
		sa_uplink_send(to->uplink, mbuf);
	else if (to->receive_count == 0)
		sa_port_drop(to, SOFTACCEL_DROP_RX_NO_QUEUE);
	else
		run_add(sw, run,
			sa_switch_receive_ring(to, rte_pktmbuf_mtod(mbuf, const uint8_t *), rte_pktmbuf_pkt_len(mbuf)),
			mbuf);
}

/* The first of its flow on the route. */
static void
deliver_first(struct sa_switch *sw, struct run *run, struct rte_mbuf *mbuf)
{
	struct sa_flow_sample sample;
	struct sa_ring *ring = sa_route_choose(&run->route, rte_pktmbuf_mtod(mbuf, const uint8_t *),
					       rte_pktmbuf_pkt_len(mbuf), &sample);

	sa_route_add(&run->route, &sample, ring);
	run_add(sw, run, ring, mbuf);
}

/* A frame that does not take the route; where it goes the next one goes too, if that is sure. */
static void
forward_anew(struct sa_switch *sw, struct run *run, struct sa_port *from, struct rte_mbuf *mbuf)
{
	const uint8_t *frame = rte_pktmbuf_mtod(mbuf, const uint8_t *);
	const struct sa_mac_pair addresses = sa_mac_pair_of(frame);
	sa_mac destination = sa_mac_from_bytes(frame);
	struct sa_port *to = NULL;
	unsigned int i;
	bool known;

	sa_route_begin(&run->route, &addresses, NULL);
	known = sa_mac_learn(sw->macs, sa_mac_from_bytes(frame + 6), &from->macs, sw->now_s);
	if (!sa_mac_is_group(destination))
		to = (struct sa_port *)sa_mac_find(sw->macs, destination, sw->now_s);
	if (to == from) {
		sa_port_drop(from, SOFTACCEL_DROP_SAME_PORT);
		return;
	}
	if (to != NULL && known && to->receive_count > 0) {
		run->route.port = to;
		deliver_first(sw, run, mbuf);
		return;
	}
	if (to != NULL) {
		deliver(sw, run, to, mbuf);
		return;
	}
	sa_count(&from->counters.flooded, 1);
	for (i = 0; i < sw->ports_count; i++) {
		if (sw->ports[i] == from)
			continue;
		deliver(sw, run, sw->ports[i], mbuf);
		/* It may complete the frame for its guest; the next one is not to get it otherwise than in turn. */
		run_end(sw, run);
	}
}

static void
forward_one(struct sa_switch *sw, struct run *run, struct sa_port *from, struct rte_mbuf *mbuf)
{
	const uint8_t *frame = rte_pktmbuf_mtod(mbuf, const uint8_t *);
	const struct sa_mac_pair addresses = sa_mac_pair_of(frame);
	struct sa_ring *ring;

	if (!sa_route_is_for(&run->route, &addresses)) {
		forward_anew(sw, run, from, mbuf);
		return;
	}
	ring = sa_route_find(&run->route, frame, rte_pktmbuf_pkt_len(mbuf));
	if (ring != NULL)
		run_add(sw, run, ring, mbuf);
	else
		deliver_first(sw, run, mbuf);
}

/* @return whether the frame goes with the last one, as all between their addresses do. */
static inline bool
goes_with_the_last(struct run *run, struct rte_mbuf *mbuf)
{
	const struct sa_mac_pair pair = sa_mac_pair_of(rte_pktmbuf_mtod(mbuf, const uint8_t *));

	if (sa_route_only(&run->route, &pair) == NULL || run->count == SA_BURST)
		return false;
	run->mbufs[run->count++] = mbuf;
	return true;
}

void
sa_switch_forward(struct sa_switch *sw, struct sa_port *from, struct rte_mbuf **mbufs, unsigned int count)
{
	struct run run;
	unsigned int i;

	run.ring = NULL;
	sa_route_forget(&run.route);
	run.count = 0;
	sa_count(&from->counters.in_packets, count);
	for (i = 0; i < count; i++)
		if (!goes_with_the_last(&run, mbufs[i]))
			forward_one(sw, &run, from, mbufs[i]);
	run_end(sw, &run);
	sa_port_show_macs(from);
}

unsigned int
sa_switch_serve(struct sa_switch *sw, struct sa_ring *ring)
{
	struct rte_mbuf *mbufs[SA_BURST];
	unsigned int count;

	if (sw->copies == SOFTACCEL_COPIES_ONE && !ring->carried)
		return sa_pass_serve(sw, ring);
	count = sa_ring_transmit(ring, sw->scratch, mbufs, SA_BURST);
	sa_switch_forward(sw, ring->port, mbufs, count);
	sa_packet_give(sw->scratch->pool, mbufs, count);
	return count;
}

void
sa_switch_flush(struct sa_switch *sw)
{
	unsigned int i;

	for (i = 0; i < sw->dirty_count; i++) {
		sw->dirty[i]->dirty = false;
		sa_ring_flush(sw->dirty[i]);
	}
	sw->dirty_count = 0;
	for (i = 0; i < sw->ports_count; i++) {
		if (sw->ports[i]->uplink != NULL)
			sa_uplink_flush(sw->ports[i]->uplink);
	}
}
