/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SA_PACKET_H
#define SA_PACKET_H

#include <assert.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include <rte_mbuf.h>

/**
 * @file
 * A packet inside the switch: an mbuf of one segment, and what the virtio-net
 * header said about it (where an mbuf keeps a hash, which nobody asks for here, so
 * that it lies in the line that is touched anyway; mbuf flags cannot express an
 * arbitrary checksum offset).
 *
 * A buffer of our own pool that a frame of a guest lies in is an mbuf of one segment,
 * direct, referred to once, before and after its use. So it is taken and given back
 * as it is, and only what is read of it is set.
 *
 * Threads: the data path.
 */

/** virtio 1.2, 5.1.6: with VERSION_1 the header always has num_buffers. */
#define SA_NET_HEADER_BYTES 12u

struct sa_packet {
	uint16_t csum_start; /* with needs_csum: sum from here to the end ... */
	uint16_t csum_offset; /* ... into here, counted from csum_start */
	bool needs_csum;
};
static_assert(sizeof(struct sa_packet) <= sizeof(((struct rte_mbuf *)NULL)->hash), "it is kept there");

static inline struct sa_packet *
sa_packet(struct rte_mbuf *mbuf)
{
	return (struct sa_packet *)&mbuf->hash;
}

/** Take buffers; each is to be started, or given back. @return whether there were so many. */
static inline bool
sa_packet_take(struct rte_mempool *pool, struct rte_mbuf **ret_mbufs, unsigned int count)
{
	return rte_mempool_get_bulk(pool, (void **)ret_mbufs, count) == 0;
}

/** A frame, which asks for nothing, will lie at the begin of a buffer that was taken. */
static inline void
sa_packet_start(struct rte_mbuf *mbuf, uint32_t frame_bytes)
{
	mbuf->data_off = RTE_PKTMBUF_HEADROOM;
	mbuf->ol_flags = 0;
	mbuf->packet_type = 0;
	mbuf->pkt_len = frame_bytes;
	mbuf->data_len = (uint16_t)frame_bytes;
	sa_packet(mbuf)->needs_csum = false;
}

/** Give back what was taken, started or not; who has a reference to one (rte_mbuf_refcnt_update()) keeps it. */
void sa_packet_give(struct rte_mempool *pool, struct rte_mbuf **mbufs, unsigned int count);

/** Read a virtio-net header. @return whether it asks only for what was offered. */
bool sa_packet_header_read(struct rte_mbuf *mbuf, const uint8_t header[SA_NET_HEADER_BYTES], bool csum_negotiated);

/**
 * Write a virtio-net header, with num_buffers 1.
 * @param guest_csum the driver finishes checksums itself; else it was done before.
 */
void sa_packet_header_write(struct rte_mbuf *mbuf, uint8_t ret_header[SA_NET_HEADER_BYTES], bool guest_csum);

/** Put a header into a guest's buffer. What is there already is not written: the line may then stay in his cache as well. */
static inline void
sa_packet_header_once(uint8_t *to, const uint8_t header[SA_NET_HEADER_BYTES])
{
	uint64_t there, wanted;
	uint32_t there_end, wanted_end;

	static_assert(sizeof(there) + sizeof(there_end) == SA_NET_HEADER_BYTES, "a header in two words");
	memcpy(&there, to, sizeof(there));
	memcpy(&there_end, to + sizeof(there), sizeof(there_end));
	memcpy(&wanted, header, sizeof(wanted));
	memcpy(&wanted_end, header + sizeof(wanted), sizeof(wanted_end));
	if (there != wanted || there_end != wanted_end)
		memcpy(to, header, SA_NET_HEADER_BYTES);
}

/** Do what the sender left to do. The packet needs nothing afterwards. */
void sa_packet_complete(struct rte_mbuf *mbuf);

#endif
