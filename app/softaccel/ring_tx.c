/* SPDX-License-Identifier: BSD-3-Clause */
#include <rte_ether.h>

#include "sa_cursor.h"
#include "sa_packet.h"
#include "sa_ring.h"
#include "sa_switch.h"

/* @return whether the chain became a packet; if not, why was counted. */
static bool
packet_from_chain(struct sa_ring *ring, const struct rp_vring_chain *chain, struct rte_mbuf *mbuf)
{
	struct sa_cursor cursor = {.part = chain->iov};
	uint8_t header[SA_NET_HEADER_BYTES];
	uint32_t frame_bytes;
	char *frame;

	if (chain->out_bytes < SA_NET_HEADER_BYTES) {
		sa_count(&ring->counters.errors, 1);
		return false;
	}
	frame_bytes = chain->out_bytes - SA_NET_HEADER_BYTES;
	if (frame_bytes < RTE_ETHER_HDR_LEN || frame_bytes > rte_pktmbuf_tailroom(mbuf)) {
		sa_port_drop(ring->port, SOFTACCEL_DROP_TX_LENGTH);
		return false;
	}
	frame = rte_pktmbuf_append(mbuf, (uint16_t)frame_bytes);
	sa_cursor_read(&cursor, header, sizeof(header));
	sa_cursor_read(&cursor, (uint8_t *)frame, frame_bytes);
	if (!sa_packet_header_read(mbuf, header, ring->csum)) {
		sa_port_drop(ring->port, SOFTACCEL_DROP_TX_BAD_HEADER);
		return false;
	}
	sa_count(&ring->counters.packets, 1);
	sa_count(&ring->counters.bytes, frame_bytes);
	return true;
}

unsigned int
sa_ring_transmit(struct sa_ring *ring, struct sa_ring_scratch *scratch, struct rte_mbuf **ret_mbufs,
		 unsigned int max_count)
{
	int waiting = rp_vring_dev_available(&ring->vring);
	unsigned int wanted, taken, packets = 0;

	if (waiting < 0) {
		sa_ring_break(ring);
		return 0;
	}
	if (waiting == 0) {
		sa_ring_found_empty(ring);
		return 0;
	}
	ring->empty_looks = 0;
	wanted = RTE_MIN((unsigned int)waiting, max_count);
	/* Without buffers the ring stays awake and its turn comes again. */
	if (rte_pktmbuf_alloc_bulk(scratch->pool, ret_mbufs, wanted) != 0)
		return 0;
	for (taken = 0; taken < wanted; taken++) {
		int rc = rp_vring_dev_pop(&ring->vring, &scratch->chain);

		if (rc == 0)
			break;
		if (rc < 0) {
			sa_ring_break(ring);
			break;
		}
		if (packet_from_chain(ring, &scratch->chain, ret_mbufs[packets]))
			packets++;
		else
			rte_pktmbuf_reset(ret_mbufs[packets]);
		rp_vring_dev_fill(&ring->vring, ring->unpublished_count++, scratch->chain.head, 0);
	}
	rte_pktmbuf_free_bulk(ret_mbufs + packets, wanted - packets);
	sa_ring_flush(ring);
	return packets;
}
