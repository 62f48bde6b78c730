/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdlib.h>

#include <rte_ethdev.h>

#include "sa_packet.h"
#include "sa_uplink.h"

#define RING_ENTRIES 512u

struct sa_uplink {
	uint16_t ethdev_port;
	struct sa_port *port;
	unsigned int queued_count;
	struct rte_mbuf *queued[SA_BURST];
};

static int
start(uint16_t ethdev_port, struct rte_mempool *pool, const char **ret_step)
{
	struct rte_eth_conf conf = {.rxmode.mq_mode = RTE_ETH_MQ_RX_NONE};
	uint16_t rx_entries = RING_ENTRIES, tx_entries = RING_ENTRIES;
	int socket = rte_eth_dev_socket_id(ethdev_port);
	int rc;

	*ret_step = "configure";
	rc = rte_eth_dev_configure(ethdev_port, 1, 1, &conf);
	if (rc == 0)
		rc = rte_eth_dev_adjust_nb_rx_tx_desc(ethdev_port, &rx_entries, &tx_entries);
	if (rc < 0)
		return rc;
	*ret_step = "receive queue";
	rc = rte_eth_rx_queue_setup(ethdev_port, 0, rx_entries, (unsigned int)socket, NULL, pool);
	if (rc < 0)
		return rc;
	*ret_step = "transmit queue";
	rc = rte_eth_tx_queue_setup(ethdev_port, 0, tx_entries, (unsigned int)socket, NULL);
	if (rc < 0)
		return rc;
	*ret_step = "start";
	rc = rte_eth_dev_start(ethdev_port);
	if (rc < 0)
		return rc;
	*ret_step = "promiscuous mode";
	rc = rte_eth_promiscuous_enable(ethdev_port);
	/* A device that cannot filter shows everything anyway. */
	if (rc == 0 || rc == -ENOTSUP)
		return 0;
	rte_eth_dev_stop(ethdev_port);
	return rc;
}

int
sa_uplink_create(uint16_t ethdev_port, struct rte_mempool *pool, struct sa_port *port, struct sa_uplink **ret_uplink,
		 struct rp_wire_why *why)
{
	struct sa_uplink *uplink;
	const char *step;
	int rc;

	if (!rte_eth_dev_is_valid_port(ethdev_port))
		return rp_wire_why_set(why, -ENODEV, "uplink: no ethdev port %u", ethdev_port);
	uplink = calloc(1, sizeof(*uplink));
	if (uplink == NULL)
		return rp_wire_why_set(why, -ENOMEM, "uplink: no memory");
	rc = start(ethdev_port, pool, &step);
	if (rc < 0) {
		free(uplink);
		return rp_wire_why_set(why, rc, "uplink: %s: %s", step, rte_strerror(-rc));
	}
	uplink->ethdev_port = ethdev_port;
	uplink->port = port;
	*ret_uplink = uplink;
	return 0;
}

struct sa_uplink *
sa_uplink_destroy(struct sa_uplink *uplink)
{
	if (uplink == NULL)
		return NULL;
	rte_pktmbuf_free_bulk(uplink->queued, uplink->queued_count);
	rte_eth_dev_stop(uplink->ethdev_port);
	free(uplink);
	return NULL;
}

unsigned int
sa_uplink_receive(struct sa_uplink *uplink, struct rte_mbuf **ret_mbufs)
{
	unsigned int got = rte_eth_rx_burst(uplink->ethdev_port, 0, ret_mbufs, SA_BURST);
	unsigned int i, kept = 0;

	for (i = 0; i < got; i++) {
		struct rte_mbuf *mbuf = ret_mbufs[i];

		/* Rings take a frame from one piece of memory; no receive offload that makes more was asked for. */
		if (mbuf->nb_segs != 1 || rte_pktmbuf_pkt_len(mbuf) < RTE_ETHER_HDR_LEN) {
			rte_pktmbuf_free(mbuf);
			sa_port_drop(uplink->port, SOFTACCEL_DROP_UPLINK_SEGMENTS);
			continue;
		}
		*sa_packet(mbuf) = (struct sa_packet){.needs_csum = false};
		ret_mbufs[kept++] = mbuf;
	}
	return kept;
}

void
sa_uplink_send(struct sa_uplink *uplink, struct rte_mbuf *mbuf)
{
	sa_packet_complete(mbuf);
	if (uplink->queued_count == SA_BURST)
		sa_uplink_flush(uplink);
	rte_mbuf_refcnt_update(mbuf, 1);
	uplink->queued[uplink->queued_count++] = mbuf;
}

void
sa_uplink_flush(struct sa_uplink *uplink)
{
	uint16_t sent;

	if (uplink->queued_count == 0)
		return;
	sent = rte_eth_tx_burst(uplink->ethdev_port, 0, uplink->queued, (uint16_t)uplink->queued_count);
	sa_count(&uplink->port->counters.out_packets, sent);
	sa_count(&uplink->port->counters.drops[SOFTACCEL_DROP_UPLINK_FULL], uplink->queued_count - sent);
	rte_pktmbuf_free_bulk(uplink->queued + sent, uplink->queued_count - sent);
	uplink->queued_count = 0;
}
