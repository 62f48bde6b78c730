/* SPDX-License-Identifier: BSD-3-Clause */
#include <endian.h>
#include <string.h>

#include <linux/virtio_net.h>

#include <rte_ip.h>

#include "sa_packet.h"

static_assert(sizeof(struct virtio_net_hdr_v1) == SA_NET_HEADER_BYTES, "virtio-net header");

void
sa_packet_give(struct rte_mempool *pool, struct rte_mbuf **mbufs, unsigned int count)
{
	unsigned int i, kept = 0;

	for (i = 0; i < count; i++) {
		mbufs[kept] = mbufs[i];
		if (likely(rte_mbuf_refcnt_read(mbufs[i]) == 1))
			kept++;
		else
			rte_pktmbuf_free(mbufs[i]);
	}
	if (kept > 0)
		rte_mempool_put_bulk(pool, (void *const *)mbufs, kept);
}

bool
sa_packet_header_read(struct rte_mbuf *mbuf, const uint8_t header[SA_NET_HEADER_BYTES], bool csum_negotiated)
{
	struct sa_packet *packet = sa_packet(mbuf);
	struct virtio_net_hdr_v1 from;

	memcpy(&from, header, sizeof(from));
	packet->needs_csum = false;
	if (from.gso_type != VIRTIO_NET_HDR_GSO_NONE)
		return false;
	if ((from.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) == 0)
		return true;
	packet->csum_start = le16toh(from.csum_start);
	packet->csum_offset = le16toh(from.csum_offset);
	packet->needs_csum = true;
	return csum_negotiated &&
	       (uint32_t)packet->csum_start + packet->csum_offset + sizeof(uint16_t) <= rte_pktmbuf_pkt_len(mbuf);
}

void
sa_packet_header_write(struct rte_mbuf *mbuf, uint8_t ret_header[SA_NET_HEADER_BYTES], bool guest_csum)
{
	const struct sa_packet *packet = sa_packet(mbuf);
	struct virtio_net_hdr_v1 to = {
		.gso_type = VIRTIO_NET_HDR_GSO_NONE,
		.num_buffers = htole16(1),
	};

	if (packet->needs_csum && guest_csum) {
		to.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
		to.csum_start = htole16(packet->csum_start);
		to.csum_offset = htole16(packet->csum_offset);
	}
	memcpy(ret_header, &to, sizeof(to));
}

void
sa_packet_complete(struct rte_mbuf *mbuf)
{
	struct sa_packet *packet = sa_packet(mbuf);
	uint8_t *start = rte_pktmbuf_mtod_offset(mbuf, uint8_t *, packet->csum_start);
	uint16_t sum;

	if (!packet->needs_csum)
		return;
	/* The field holds the pseudo header's sum already (virtio 1.2, 5.1.6.2). */
	sum = (uint16_t)~rte_raw_cksum(start, rte_pktmbuf_pkt_len(mbuf) - packet->csum_start);
	/* Zero would mean "no checksum" in UDP; both are the same number elsewhere. */
	if (sum == 0)
		sum = 0xffff;
	memcpy(start + packet->csum_offset, &sum, sizeof(sum));
	packet->needs_csum = false;
}
