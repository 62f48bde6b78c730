/* SPDX-License-Identifier: BSD-3-Clause */
#include <rte_prefetch.h>

#include "rp_vring_burst.h"
#include "sa_cursor.h"
#include "sa_packet.h"
#include "sa_ring.h"

/* Useless chains given back for one packet; a guest that offers only such cannot hold the loop. */
#define BAD_CHAINS_MAX 8u

#define NUM_BUFFERS_OFFSET 10u

#define DELIVERED (-1)

static struct sa_cursor
writable_part(const struct rp_vring_chain *chain)
{
	return (struct sa_cursor){.part = chain->iov + chain->out_count};
}

static void
give_back_unused(struct sa_ring *ring, const struct rp_vring_chain *chain)
{
	sa_count(&ring->counters.errors, 1);
	if (rp_vring_dev_fill(&ring->vring, ring->unpublished_count, chain->head, 0) < 0)
		return;
	rp_vring_dev_advance(&ring->vring, 1);
	ring->unpublished_count++;
}

/* Find the first usable chain. @return DELIVERED: there is one in the scratch; else the reason. */
static int
first_chain(struct sa_ring *ring, struct rp_vring_chain *chain)
{
	unsigned int tries = 0;

	while (tries < BAD_CHAINS_MAX) {
		int rc = rp_vring_dev_peek(&ring->vring, 0, chain);

		if (rc < 0) {
			sa_ring_break(ring);
			return SOFTACCEL_DROP_RX_BAD_CHAIN;
		}
		if (rc == 0) {
			if (sa_ring_try_sleep(ring))
				return SOFTACCEL_DROP_RX_NO_BUFFER;
			continue;
		}
		/* num_buffers must be in the first buffer (virtio 1.2, 5.1.6.4), and so must the frame's begin. */
		if (chain->in_bytes > SA_NET_HEADER_BYTES)
			return DELIVERED;
		give_back_unused(ring, chain);
		tries++;
	}
	return SOFTACCEL_DROP_RX_BAD_CHAIN;
}

/* The header, and where its num_buffers lies, each byte on its own: parts may end anywhere. */
static void
write_header(struct sa_cursor *cursor, const uint8_t *header, uint8_t *ret_num_buffers[2])
{
	size_t one;

	sa_cursor_write(cursor, header, NUM_BUFFERS_OFFSET);
	ret_num_buffers[0] = sa_cursor_next(cursor, 1, &one);
	*ret_num_buffers[0] = header[NUM_BUFFERS_OFFSET];
	ret_num_buffers[1] = sa_cursor_next(cursor, 1, &one);
	*ret_num_buffers[1] = header[NUM_BUFFERS_OFFSET + 1];
}

static int
fill(struct sa_ring *ring, unsigned int ahead, const struct rp_vring_chain *chain, uint32_t written_bytes)
{
	int rc = rp_vring_dev_fill(&ring->vring, (uint16_t)(ring->unpublished_count + ahead), chain->head,
				   written_bytes);

	if (rc < 0)
		sa_ring_break(ring);
	return rc;
}

/*
 * Copy what the first chain had no room for. Nothing was advanced yet, so giving up
 * leaves the ring as it was.
 */
static int
copy_rest(struct sa_ring *ring, struct rp_vring_chain *chain, const uint8_t *frame, uint32_t left_bytes,
	  unsigned int *chains_count)
{
	while (left_bytes > 0) {
		struct sa_cursor cursor;
		uint32_t now_bytes;
		int rc;

		if (!ring->mergeable || *chains_count == SA_RING_FRAME_CHAINS)
			return SOFTACCEL_DROP_RX_BAD_CHAIN;
		rc = rp_vring_dev_peek(&ring->vring, (uint16_t)*chains_count, chain);
		if (rc < 0) {
			sa_ring_break(ring);
			return SOFTACCEL_DROP_RX_BAD_CHAIN;
		}
		/* Some buffers are there: the ring stays awake, smaller packets fit. */
		if (rc == 0)
			return SOFTACCEL_DROP_RX_NO_BUFFER;
		if (chain->in_bytes == 0)
			return SOFTACCEL_DROP_RX_BAD_CHAIN;
		now_bytes = RTE_MIN(left_bytes, chain->in_bytes);
		cursor = writable_part(chain);
		sa_cursor_write(&cursor, frame, now_bytes);
		if (fill(ring, *chains_count, chain, now_bytes) < 0)
			return SOFTACCEL_DROP_RX_BAD_CHAIN;
		frame += now_bytes;
		left_bytes -= now_bytes;
		(*chains_count)++;
	}
	return DELIVERED;
}

static int
copy_packet(struct sa_ring *ring, struct rp_vring_chain *chain, const uint8_t *header, const uint8_t *frame,
	    uint32_t frame_bytes)
{
	struct sa_cursor cursor = writable_part(chain);
	uint32_t now_bytes = RTE_MIN(frame_bytes, chain->in_bytes - SA_NET_HEADER_BYTES);
	unsigned int chains_count = 1;
	uint8_t *num_buffers[2];
	int why;

	write_header(&cursor, header, num_buffers);
	sa_cursor_write(&cursor, frame, now_bytes);
	if (fill(ring, 0, chain, SA_NET_HEADER_BYTES + now_bytes) < 0)
		return SOFTACCEL_DROP_RX_BAD_CHAIN;
	why = copy_rest(ring, chain, frame + now_bytes, frame_bytes - now_bytes, &chains_count);
	if (why != DELIVERED)
		return why;
	*num_buffers[0] = (uint8_t)chains_count;
	rp_vring_dev_advance(&ring->vring, (uint16_t)chains_count);
	ring->unpublished_count = (uint16_t)(ring->unpublished_count + chains_count);
	return DELIVERED;
}

int
sa_ring_receive(struct sa_ring *ring, struct sa_ring_scratch *scratch, struct rte_mbuf *mbuf)
{
	uint32_t frame_bytes = rte_pktmbuf_pkt_len(mbuf);
	uint8_t header[SA_NET_HEADER_BYTES];
	int why;

	if (!ring->awake)
		return SOFTACCEL_DROP_RX_NO_BUFFER;
	if (!ring->guest_csum)
		sa_packet_complete(mbuf);
	why = first_chain(ring, &scratch->chain);
	if (why != DELIVERED)
		return why;
	sa_packet_header_write(mbuf, header, ring->guest_csum);
	why = copy_packet(ring, &scratch->chain, header, rte_pktmbuf_mtod(mbuf, const uint8_t *), frame_bytes);
	if (why != DELIVERED)
		return why;
	sa_count(&ring->counters.packets, 1);
	sa_count(&ring->counters.bytes, frame_bytes);
	return DELIVERED;
}

static inline void
write_parts(const struct iovec *part, sa_copy_fn copy, const uint8_t header[SA_NET_HEADER_BYTES], const uint8_t *frame,
	    uint32_t frame_bytes)
{
	struct sa_cursor cursor = {.part = part};
	uint8_t *first = part->iov_base;

	if (likely(part->iov_len >= SA_NET_HEADER_BYTES + frame_bytes)) {
		sa_packet_header_once(first, header);
		sa_copy(copy, first + SA_NET_HEADER_BYTES, frame, frame_bytes);
		return;
	}
	sa_cursor_write(&cursor, header, SA_NET_HEADER_BYTES);
	sa_cursor_write(&cursor, frame, frame_bytes);
}

/* What most frames have: it says nothing, and that they lie in one buffer. */
static const uint8_t plain_header[SA_NET_HEADER_BYTES] = {[NUM_BUFFERS_OFFSET] = 1};

static inline void
write_frame(const struct sa_ring *ring, sa_copy_fn copy, const struct rp_vring_burst_chain *chain,
	    struct rte_mbuf *mbuf)
{
	const uint8_t *frame = rte_pktmbuf_mtod(mbuf, const uint8_t *);
	const struct iovec *part = &chain->iov[chain->out_count];
	uint8_t header[SA_NET_HEADER_BYTES];

	if (likely(!sa_packet(mbuf)->needs_csum)) {
		write_parts(part, copy, plain_header, frame, rte_pktmbuf_pkt_len(mbuf));
		return;
	}
	if (!ring->guest_csum)
		sa_packet_complete(mbuf);
	sa_packet_header_write(mbuf, header, ring->guest_csum);
	write_parts(part, copy, header, frame, rte_pktmbuf_pkt_len(mbuf));
}

static void
prefetch(const struct rp_vring_burst_chain *chain)
{
	uint8_t *first;

	/* There may be no piece to be written to. */
	if (chain->in_count == 0)
		return;
	first = chain->iov[chain->out_count].iov_base;
	rte_prefetch0(first);
	sa_prefetch_write(first + SA_NET_HEADER_BYTES);
}

/* The lines of a long frame are wanted all at once, while the one before it is copied: a store waits for each alone. */
static void
prefetch_rest(const struct rp_vring_burst_chain *chain, uint32_t frame_bytes)
{
	const struct iovec *part = &chain->iov[chain->out_count];
	size_t at, end;

	if (chain->in_count == 0)
		return;
	end = RTE_MIN(part->iov_len, (size_t)SA_NET_HEADER_BYTES + frame_bytes);
	for (at = SA_NET_HEADER_BYTES + RTE_CACHE_LINE_SIZE; at < end; at += RTE_CACHE_LINE_SIZE)
		sa_prefetch_write((uint8_t *)part->iov_base + at);
}

/* Copy as many as fit, each into one chain. @return how many. */
static unsigned int
copy_burst(struct sa_ring *ring, sa_copy_fn copy, const struct rp_vring_burst_chain *chains, struct rte_mbuf **mbufs,
	   unsigned int count, struct rp_vring_done *ret_done)
{
	unsigned int i;

	for (i = 0; i < count; i++) {
		const struct rp_vring_burst_chain *chain = &chains[i];
		uint32_t written_bytes = SA_NET_HEADER_BYTES + rte_pktmbuf_pkt_len(mbufs[i]);

		if (chain->in_bytes < written_bytes)
			break;
		if (i + 1 < count)
			prefetch_rest(chain + 1, rte_pktmbuf_pkt_len(mbufs[i + 1]));
		write_frame(ring, copy, chain, mbufs[i]);
		ret_done[i].head = chain->head;
		ret_done[i].written_bytes = written_bytes;
	}
	return i;
}

unsigned int
sa_ring_receive_burst(struct sa_ring *ring, struct sa_ring_scratch *scratch, struct rte_mbuf **mbufs,
		      unsigned int count)
{
	struct rp_vring_burst_chain chains[SA_BURST];
	struct rp_vring_done done[SA_BURST];
	uint64_t bytes = 0;
	unsigned int i;
	int room;

	if (!ring->awake)
		return 0;
	room = rp_vring_dev_peek_burst(&ring->vring, 0, chains, (uint16_t)RTE_MIN(count, SA_BURST));
	if (room <= 0)
		return 0;
	for (i = 0; i < (unsigned int)room; i++)
		prefetch(&chains[i]);
	count = copy_burst(ring, scratch->copy, chains, mbufs, (unsigned int)room, done);
	if (count == 0)
		return 0;
	if (rp_vring_dev_fill_burst(&ring->vring, ring->unpublished_count, done, (uint16_t)count) < 0) {
		sa_ring_break(ring);
		return 0;
	}
	rp_vring_dev_advance(&ring->vring, (uint16_t)count);
	ring->unpublished_count = (uint16_t)(ring->unpublished_count + count);
	for (i = 0; i < count; i++)
		bytes += rte_pktmbuf_pkt_len(mbufs[i]);
	sa_count(&ring->counters.packets, count);
	sa_count(&ring->counters.bytes, bytes);
	return count;
}
