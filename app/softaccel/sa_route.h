/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SA_ROUTE_H
#define SA_ROUTE_H

#include "sa_switch.h"

/**
 * @file
 * Where frames between two addresses go, as far as a burst has shown.
 *
 * Theory of operation: within a burst nothing changes where frames between two addresses go,
 * as long as no frame between others comes. So the first one is looked up, and of each flow the first one
 * is hashed; all others are only compared. A burst is of few flows more often than not.
 *
 * Threads: the data path.
 */

#define SA_ROUTE_FLOWS 4u

struct sa_route {
	struct sa_mac_pair addresses;
	struct sa_port *port; /* one of functions, with receive rings; NULL: none is known */
	struct sa_ring *only; /* where all of them go; NULL: it depends on the flow, or is not known */
	unsigned int flows_count;
	unsigned int next; /* to be replaced */
	uint32_t frame_bytes; /* that the longest sample looks at */
	struct sa_flow_sample flows[SA_ROUTE_FLOWS];
	struct sa_ring *rings[SA_ROUTE_FLOWS];
};

/** @param port NULL: the route is not known. */
static inline void
sa_route_begin(struct sa_route *route, const struct sa_mac_pair *addresses, struct sa_port *port)
{
	route->addresses = *addresses;
	route->port = port;
	route->only = NULL;
	route->flows_count = 0;
	route->next = 0;
	route->frame_bytes = 0;
}

/** Nothing is known any more. */
static inline void
sa_route_forget(struct sa_route *route)
{
	route->port = NULL;
	route->only = NULL;
}

/** @return where frames between these addresses go, whatever else they hold; NULL: see below. */
static inline struct sa_ring *
sa_route_only(const struct sa_route *route, const struct sa_mac_pair *addresses)
{
	return route->only != NULL && sa_mac_pair_is(addresses, &route->addresses) ? route->only : NULL;
}

/** Whether frames between these addresses take the route. */
static inline bool
sa_route_is_for(const struct sa_route *route, const struct sa_mac_pair *addresses)
{
	return route->port != NULL && sa_mac_pair_is(addresses, &route->addresses);
}

/** @return where a frame goes that takes the route, NULL: none of its flow came before. */
static inline struct sa_ring *
sa_route_find(const struct sa_route *route, const uint8_t *frame, uint32_t frame_bytes)
{
	unsigned int i;

	for (i = 0; i < route->flows_count; i++)
		if (sa_flow_is_like(&route->flows[i], frame, frame_bytes))
			return route->rings[i];
	return NULL;
}

/** @return where the first frame of its flow goes, to be added with its sample if others may go there. */
static inline struct sa_ring *
sa_route_choose(const struct sa_route *route, const uint8_t *frame, uint32_t frame_bytes,
		struct sa_flow_sample *ret_sample)
{
	const struct sa_port *port = route->port;

	ret_sample->frame_bytes = 0;
	return sa_switch_ring_of(port, port->receive_count > 1 ? sa_flow_sample(frame, frame_bytes, ret_sample) : 0);
}

/** Frames that are like the sample go to this ring. */
static inline void
sa_route_add(struct sa_route *route, const struct sa_flow_sample *sample, struct sa_ring *ring)
{
	unsigned int at = route->next;

	if (route->port->receive_count == 1) {
		route->only = ring;
		return;
	}
	if (sample->frame_bytes == SA_FLOW_NEVER)
		return;
	route->next = (at + 1) % SA_ROUTE_FLOWS;
	if (route->flows_count < SA_ROUTE_FLOWS)
		route->flows_count++;
	if (route->frame_bytes < sample->frame_bytes)
		route->frame_bytes = sample->frame_bytes;
	route->flows[at] = *sample;
	route->rings[at] = ring;
}

#endif
