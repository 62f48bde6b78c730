/* SPDX-License-Identifier: BSD-3-Clause */
#include <rte_mbuf.h>

#include "guest.h"
#include "out.h"

static unsigned int
deliver(struct vs_port *port, struct rte_mbuf **frames, unsigned int count)
{
	unsigned int sent;

	if (port->guest != NULL)
		return vs_guest_deliver(port->guest, frames, count);
	sent = vs_port_has_ethdev(port) ? rte_eth_tx_burst(port->ethdev, 0, frames, (uint16_t)count) : 0;
	vs_count(&port->counters.out[VS_PATH_ETHDEV], sent);
	return sent;
}

static bool
drain(struct vs_port *port)
{
	struct vs_egress *egress = &port->egress;
	uint32_t first = egress->head;

	while (egress->head != egress->tail) {
		uint32_t at = egress->head % VS_EGRESS_FRAMES;
		uint32_t count = RTE_MIN(egress->tail - egress->head, RTE_MIN(VS_EGRESS_FRAMES - at, VS_BURST));
		unsigned int done = deliver(port, &egress->frames[at], count);

		__atomic_store_n(&egress->head, egress->head + done, __ATOMIC_RELAXED);
		if (done == 0)
			break;
	}
	return egress->head != first;
}

void
vs_out_send(struct vs_port *port, struct rte_mbuf **frames, unsigned int count)
{
	struct vs_egress *egress = &port->egress;
	unsigned int i, room;

	rte_spinlock_lock(&egress->lock);
	/* What goes now makes room. */
	drain(port);
	room = VS_EGRESS_FRAMES - (egress->tail - egress->head);
	for (i = 0; i < count && i < room; i++)
		egress->frames[(egress->tail + i) % VS_EGRESS_FRAMES] = frames[i];
	__atomic_store_n(&egress->tail, egress->tail + i, __ATOMIC_RELAXED);
	drain(port);
	vs_count(&port->counters.drops[VS_DROP_QUEUE_FULL], count - i);
	rte_spinlock_unlock(&egress->lock);
	rte_pktmbuf_free_bulk(frames + i, count - i);
}

unsigned int
vs_out_waiting(const struct vs_port *port)
{
	const struct vs_egress *egress = &port->egress;

	return __atomic_load_n(&egress->tail, __ATOMIC_RELAXED) - __atomic_load_n(&egress->head, __ATOMIC_RELAXED);
}

bool
vs_out_flush(struct vs_port *port)
{
	struct vs_egress *egress = &port->egress;
	bool moved;

	if (vs_out_waiting(port) == 0)
		return false;
	rte_spinlock_lock(&egress->lock);
	moved = drain(port);
	rte_spinlock_unlock(&egress->lock);
	return moved;
}
