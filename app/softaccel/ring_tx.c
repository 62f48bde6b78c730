/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>

#include <rte_ether.h>
#include <rte_prefetch.h>

#include "rp_vring_burst.h"
#include "sa_cursor.h"
#include "sa_packet.h"
#include "sa_ring.h"
#include "sa_switch.h"

/* What the guest sent in a chain. */
struct sent {
	const struct iovec *parts;
	uint32_t bytes;
};

/* Counted once for a burst. */
struct tally {
	uint64_t packets;
	uint64_t bytes;
};

/* The frame, and the header if there is anything in it for us. */
static void
read_parts(const struct sent *sent, sa_copy_fn copy, uint8_t *header, uint8_t *frame, uint32_t frame_bytes)
{
	const uint8_t *first = sent->parts->iov_base, *body = first + SA_NET_HEADER_BYTES;
	struct sa_cursor cursor = {.part = sent->parts};
	uint8_t there[SA_NET_HEADER_BYTES];

	if (unlikely(sent->parts->iov_len != sent->bytes)) {
		if (sent->parts->iov_len != SA_NET_HEADER_BYTES || sent->parts[1].iov_len != frame_bytes) {
			sa_cursor_read(&cursor, header == NULL ? there : header, SA_NET_HEADER_BYTES);
			sa_cursor_read(&cursor, frame, frame_bytes);
			return;
		}
		body = sent->parts[1].iov_base;
	}
	if (header != NULL)
		memcpy(header, first, SA_NET_HEADER_BYTES);
	sa_copy(copy, frame, body, frame_bytes);
}

/*
 * Without VIRTIO_NET_F_CSUM nothing in a header has a meaning for this device (virtio 1.2, 5.1.6.2), so it is
 * not fetched: it often lies in a line of its own.
 */
static bool
read_packet(const struct sa_ring *ring, sa_copy_fn copy, const struct sent *sent, struct rte_mbuf *mbuf)
{
	uint8_t *frame = rte_pktmbuf_mtod(mbuf, uint8_t *), header[SA_NET_HEADER_BYTES];

	if (!ring->csum) {
		read_parts(sent, copy, NULL, frame, mbuf->pkt_len);
		return true;
	}
	read_parts(sent, copy, header, frame, mbuf->pkt_len);
	return sa_packet_header_read(mbuf, header, true);
}

/* What a burst is copied with. */
struct means {
	struct rte_mempool *pool;
	sa_copy_fn copy;
	uint32_t frame_bytes_max;
};

static struct means
means_of(const struct sa_ring_scratch *scratch)
{
	return (struct means){
		.pool = scratch->pool,
		.copy = scratch->copy,
		.frame_bytes_max = rte_pktmbuf_data_room_size(scratch->pool) - RTE_PKTMBUF_HEADROOM,
	};
}

/* @return whether it became a packet; if not, why was counted. */
static inline bool
packet_from(struct sa_ring *ring, const struct means *means, const struct sent *sent, struct rte_mbuf *mbuf,
	    struct tally *tally)
{
	uint32_t frame_bytes = sent->bytes - SA_NET_HEADER_BYTES;

	if (unlikely(sent->bytes < SA_NET_HEADER_BYTES)) {
		sa_count(&ring->counters.errors, 1);
		return false;
	}
	if (unlikely(frame_bytes < RTE_ETHER_HDR_LEN || frame_bytes > means->frame_bytes_max)) {
		sa_port_drop(ring->port, SOFTACCEL_DROP_TX_LENGTH);
		return false;
	}
	sa_packet_start(mbuf, frame_bytes);
	if (unlikely(!read_packet(ring, means->copy, sent, mbuf))) {
		sa_port_drop(ring->port, SOFTACCEL_DROP_TX_BAD_HEADER);
		return false;
	}
	tally->packets++;
	tally->bytes += frame_bytes;
	return true;
}

static void
count_sent(struct sa_ring *ring, const struct tally *tally)
{
	sa_count(&ring->counters.packets, tally->packets);
	sa_count(&ring->counters.bytes, tally->bytes);
}

/* A chain of many parts. @return how many packets. */
static unsigned int
transmit_long(struct sa_ring *ring, struct sa_ring_scratch *scratch, struct rte_mbuf **ret_mbufs)
{
	const struct rp_vring_chain *chain = &scratch->chain;
	const struct means means = means_of(scratch);
	struct tally tally = {0};
	struct sent sent;
	int rc;

	/* Without buffers the ring stays awake and its turn comes again. */
	if (!sa_packet_take(scratch->pool, ret_mbufs, 1))
		return 0;
	rc = rp_vring_dev_pop(&ring->vring, &scratch->chain);
	if (rc < 0)
		sa_ring_break(ring);
	if (rc == 1) {
		sent = (struct sent){.parts = chain->iov, .bytes = chain->out_bytes};
		packet_from(ring, &means, &sent, ret_mbufs[0], &tally);
		if (rp_vring_dev_fill(&ring->vring, ring->unpublished_count, chain->head, 0) == 0)
			ring->unpublished_count++;
		else
			sa_ring_break(ring);
	}
	if (tally.packets == 0)
		sa_packet_give(scratch->pool, ret_mbufs, 1);
	count_sent(ring, &tally);
	return (unsigned int)tally.packets;
}

/* What a packet of one or two parts begins with; more is fetched when it is looked at. */
static inline void
prefetch(const struct rp_vring_burst_chain *chain, bool csum)
{
	const uint8_t *first = chain->iov[0].iov_base;

	if (csum)
		rte_prefetch0(first);
	if (chain->out_count > 1)
		rte_prefetch0(chain->iov[1].iov_base);
	else
		rte_prefetch0(first + SA_NET_HEADER_BYTES);
}

/* @return how many packets there are; the mbufs of chains that became none are given back. */
static unsigned int
transmit_chains(struct sa_ring *ring, const struct means *means, const struct rp_vring_burst_chain *chains,
		unsigned int count, struct rte_mbuf **mbufs)
{
	struct rp_vring_done done[SA_BURST];
	struct tally tally = {0};
	unsigned int i;

	for (i = 0; i < count; i++)
		prefetch(&chains[i], ring->csum);
	for (i = 0; i < count; i++) {
		const struct sent sent = {.parts = chains[i].iov, .bytes = chains[i].out_bytes};

		done[i].head = chains[i].head;
		done[i].written_bytes = 0;
		packet_from(ring, means, &sent, mbufs[tally.packets], &tally);
	}
	if (unlikely(tally.packets < count))
		sa_packet_give(means->pool, mbufs + tally.packets, count - (unsigned int)tally.packets);
	rp_vring_dev_advance(&ring->vring, (uint16_t)count);
	if (rp_vring_dev_fill_burst(&ring->vring, ring->unpublished_count, done, (uint16_t)count) == 0)
		ring->unpublished_count = (uint16_t)(ring->unpublished_count + count);
	else
		sa_ring_break(ring);
	count_sent(ring, &tally);
	return (unsigned int)tally.packets;
}

unsigned int
sa_ring_transmit(struct sa_ring *ring, struct sa_ring_scratch *scratch, struct rte_mbuf **ret_mbufs,
		 unsigned int max_count)
{
	struct rp_vring_burst_chain chains[SA_BURST];
	int waiting = rp_vring_dev_peek_burst(&ring->vring, 0, chains, (uint16_t)max_count);
	unsigned int packets;

	if (waiting == 0) {
		sa_ring_found_empty(ring);
		return 0;
	}
	ring->empty_looks = 0;
	if (waiting == -EMSGSIZE) {
		packets = transmit_long(ring, scratch, ret_mbufs);
	} else if (waiting < 0) {
		sa_ring_break(ring);
		return 0;
	} else {
		const struct means means = means_of(scratch);

		/* As for a long one. */
		if (!sa_packet_take(scratch->pool, ret_mbufs, (unsigned int)waiting))
			return 0;
		packets = transmit_chains(ring, &means, chains, (unsigned int)waiting, ret_mbufs);
	}
	sa_ring_flush(ring);
	return packets;
}
