/* SPDX-License-Identifier: BSD-3-Clause */

/* Which queue of which accelerator a queue of the port has: as listed, until it is moved. */

#include <errno.h>
#include <string.h>

#include "port.h"

#define PAIRS_MAX (RP_VHU_QUEUES_MAX / 2)

/* Queue pairs go to the accelerators in the order of their list. */
void
port_places_assign(struct rp_port *port)
{
	unsigned int accelerator = 0, taken = 0, i;

	for (i = 0; i < port->queues_count; i++) {
		while (taken >= port->accelerators[accelerator].info.queues_count) {
			accelerator++;
			taken = 0;
		}
		port->queues[i].accelerator = (int)accelerator;
		port->queues[i].accelerator_queue = taken++;
		port_queue_counters_begin(port, &port->queues[i]);
	}
}

bool
port_place_is_same(const struct port_place *a, const struct port_place *b)
{
	return a->accelerator == b->accelerator && a->queue == b->queue;
}

struct port_place
port_place_of(const struct port_queue *queue)
{
	return (struct port_place){.accelerator = queue->accelerator, .queue = queue->accelerator_queue};
}

/* By a queue that has it, or that comes back to it. */
static bool
is_taken(const struct rp_port *port, const struct port_place *place)
{
	unsigned int i;

	for (i = 0; i < port->queues_count; i++) {
		struct port_place has = port_place_of(&port->queues[i]);

		if (port_place_is_same(&has, place) ||
		    (port->queues[i].comes_back && port_place_is_same(&port->queues[i].back, place)))
			return true;
	}
	return false;
}

static bool
is_free(const struct rp_port *port, unsigned int accelerator, unsigned int pair, const bool *promised)
{
	struct port_place rx = {.accelerator = (int)accelerator, .queue = 2 * pair};
	struct port_place tx = {.accelerator = (int)accelerator, .queue = 2 * pair + 1};

	return pair < PAIRS_MAX && 2 * pair + 1 < port->accelerators[accelerator].info.queues_count &&
	       !promised[pair] && !is_taken(port, &rx) && !is_taken(port, &tx);
}

/*
 * The first that is free, as a device receives in its pairs from the first on. One that decodes
 * doorbells by value should know a queue by the guest's number.
 */
static int
choose_pair(const struct rp_port *port, unsigned int accelerator, unsigned int wanted, const bool *promised)
{
	unsigned int pair;

	if (!port->accelerators[accelerator].info.notify_by_address && is_free(port, accelerator, wanted, promised))
		return (int)wanted;
	for (pair = 0; pair < port->queues_count / 2; pair++)
		if (is_free(port, accelerator, pair, promised))
			return (int)pair;
	return -ENOSPC;
}

int
port_places_choose(const struct rp_port *port, unsigned int accelerator, struct port_queue *const *queues,
		   unsigned int count, struct port_place *ret_places)
{
	bool promised[PAIRS_MAX] = {false};
	unsigned int i;

	for (i = 0; i < count; i += 2) {
		int pair = choose_pair(port, accelerator, queues[i]->index / 2, promised);

		if (pair < 0)
			return pair;
		promised[pair] = true;
		ret_places[i] = (struct port_place){.accelerator = (int)accelerator, .queue = 2 * (unsigned int)pair};
		ret_places[i + 1] = ret_places[i];
		ret_places[i + 1].queue++;
	}
	return 0;
}

bool
port_place_counters(const struct rp_port *port, const struct port_place *place, struct rp_accel_queue_counters *ret)
{
	const struct rp_accel *accel = &port->accelerators[place->accelerator].accel;

	if (port_accelerator_usable(port, place->accelerator) &&
	    accel->ops->queue_counters(accel->priv, place->queue, ret) == 0)
		return true;
	memset(ret, 0, sizeof(*ret));
	return false;
}

void
port_place_set(struct port_queue *queue, const struct port_place *place, const struct rp_accel_queue_counters *base)
{
	queue->accelerator = place->accelerator;
	queue->accelerator_queue = place->queue;
	queue->hardware_refused[0] = '\0';
	queue->vfio_file.refused = false;
	queue->counters_base = queue->counters_last = *base;
}

void
port_place_take(struct rp_port *port, struct port_queue *queue, const struct port_place *place)
{
	struct rp_accel_queue_counters base, unused;

	port_place_counters(port, place, &base);
	port_queue_counters(port, queue, &unused);
	port_queue_counters_end(queue);
	port_place_set(queue, place, &base);
}

void
port_place_return(struct rp_port *port, struct port_queue *queue)
{
	queue->comes_back = false;
	port_place_take(port, queue, &queue->back);
	port_queue_update(port, queue, NULL);
	port_net_moved(port);
}

int
port_place_adopt(struct rp_port *port, struct port_queue *queue, const struct port_place *place,
		 struct rp_wire_why *why)
{
	if ((place->accelerator >= 0) != (queue->accelerator >= 0) ||
	    (place->accelerator >= 0 &&
	     ((unsigned int)place->accelerator >= port->accelerators_count || place->queue % 2 != queue->index % 2 ||
	      /* There are private rings for no more (private.c). */
	      place->queue >= port->queues_count ||
	      place->queue >= port->accelerators[place->accelerator].info.queues_count)))
		return rp_wire_why_set(why, -ENOTSUP,
				       "it was queue %u of accelerator %d, which is none now: their list has changed",
				       place->queue, place->accelerator);
	queue->accelerator = place->accelerator;
	queue->accelerator_queue = place->queue;
	return 0;
}

int
port_places_check(const struct rp_port *port, struct rp_wire_why *why)
{
	unsigned int i, k;

	for (i = 0; i < port->queues_count; i++) {
		struct port_place place = port_place_of(&port->queues[i]);

		for (k = 0; place.accelerator >= 0 && k < i; k++) {
			struct port_place other = port_place_of(&port->queues[k]);

			if (port_place_is_same(&place, &other))
				return rp_wire_why_set(why, -EBADMSG,
						       "queue %u: queue %u of accelerator %d is queue %u's as well", i,
						       place.queue, place.accelerator, k);
		}
	}
	return 0;
}
