/* SPDX-License-Identifier: BSD-3-Clause */
#include <string.h>

#include "sa_held.h"

void
sa_held_begin(struct sa_held *held)
{
	held->changing = true;
	held->arrived = false;
}

bool
sa_held_keep(struct sa_held *held, unsigned int *port_count, struct rte_mbuf *mbuf)
{
	if (*port_count >= SA_HELD_MAX)
		return false;
	++*port_count;
	rte_mbuf_refcnt_update(mbuf, 1);
	held->mbufs[held->count++] = mbuf;
	return true;
}

void
sa_held_forget(struct sa_held *held, unsigned int *port_count, unsigned int count)
{
	*port_count -= count;
	rte_pktmbuf_free_bulk(held->mbufs, count);
	held->count -= count;
	memmove(held->mbufs, held->mbufs + count, held->count * sizeof(held->mbufs[0]));
}
