/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SA_PACKET_H
#define SA_PACKET_H

#include <stdbool.h>
#include <stdint.h>

#include <rte_mbuf.h>

/**
 * @file
 * A packet inside the switch: an mbuf of one segment, and what the virtio-net
 * header said about it (in the mbuf's private area; mbuf flags cannot express
 * an arbitrary checksum offset).
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

static inline struct sa_packet *
sa_packet(struct rte_mbuf *mbuf)
{
	return rte_mbuf_to_priv(mbuf);
}

/** Read a virtio-net header. @return whether it asks only for what was offered. */
bool sa_packet_header_read(struct rte_mbuf *mbuf, const uint8_t header[SA_NET_HEADER_BYTES], bool csum_negotiated);

/**
 * Write a virtio-net header, with num_buffers 1.
 * @param guest_csum the driver finishes checksums itself; else it was done before.
 */
void sa_packet_header_write(struct rte_mbuf *mbuf, uint8_t ret_header[SA_NET_HEADER_BYTES], bool guest_csum);

/** Do what the sender left to do. The packet needs nothing afterwards. */
void sa_packet_complete(struct rte_mbuf *mbuf);

#endif
