/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <linux/if.h>
#include <linux/if_tun.h>

#include <rte_ethdev.h>

#include "sa_doorbell.h"
#include "sa_packet.h"
#include "sa_uplink.h"

#define RING_ENTRIES 512u

struct sa_uplink {
	uint16_t ethdev_port;
	struct sa_port *port;
	int announce_fd; /* borrowed; -1: none */
	bool announce_counts; /* it is an eventfd; else it is readable as long as there are packets */
	unsigned int queued_count;
	struct rte_mbuf *queued[SA_BURST];
};

static int
start(uint16_t ethdev_port, struct rte_mempool *pool, bool announced, const char **ret_step)
{
	struct rte_eth_conf conf = {.rxmode.mq_mode = RTE_ETH_MQ_RX_NONE, .intr_conf.rxq = announced};
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

static bool
is_eventfd(int fd)
{
	static const char eventfd_link[] = "anon_inode:[eventfd]";
	char path[32], target[sizeof(eventfd_link)];
	ssize_t length;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	length = readlink(path, target, sizeof(target));
	return length == (ssize_t)strlen(eventfd_link) && memcmp(target, eventfd_link, (size_t)length) == 0;
}

static bool
is_tap(int fd)
{
	struct ifreq interface;

	return ioctl(fd, TUNGETIFF, &interface) == 0;
}

/*
 * DPDK says so of none, and prints an error when one without is asked for its descriptor. A driver without
 * has nothing to switch on either; a TAP neither, but it has a descriptor.
 */
static bool
announces(uint16_t ethdev_port)
{
	struct rte_eth_dev_info info;
	int rc = rte_eth_dev_rx_intr_enable(ethdev_port, 0);

	if (rc == 0)
		rte_eth_dev_rx_intr_disable(ethdev_port, 0);
	if (rc != -ENOTSUP)
		return true;
	return rte_eth_dev_info_get(ethdev_port, &info) == 0 && strcmp(info.driver_name, "net_tap") == 0;
}

/*
 * DPDK does not say of what kind it is, and each is another matter: an eventfd is readable until it is read, and what
 * is read of a TAP's is a packet. Of any other nobody knows what ends its being readable.
 */
static void
find_announcer(struct sa_uplink *uplink)
{
	int fd = announces(uplink->ethdev_port) ? rte_eth_dev_rx_intr_ctl_q_get_fd(uplink->ethdev_port, 0) : -1;

	uplink->announce_counts = fd >= 0 && is_eventfd(fd);
	uplink->announce_fd = uplink->announce_counts || (fd >= 0 && is_tap(fd)) ? fd : -1;
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
	rc = start(ethdev_port, pool, true, &step);
	if (rc < 0)
		rc = start(ethdev_port, pool, false, &step);
	if (rc < 0) {
		free(uplink);
		return rp_wire_why_set(why, rc, "uplink: %s: %s", step, rte_strerror(-rc));
	}
	uplink->ethdev_port = ethdev_port;
	uplink->port = port;
	find_announcer(uplink);
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

int
sa_uplink_fd(const struct sa_uplink *uplink)
{
	return uplink->announce_fd;
}

void
sa_uplink_ignore(struct sa_uplink *uplink)
{
	uplink->announce_fd = -1;
}

bool
sa_uplink_arm(struct sa_uplink *uplink)
{
	int rc;

	if (uplink->announce_fd < 0)
		return false;
	rc = rte_eth_dev_rx_intr_enable(uplink->ethdev_port, 0);
	/* A TAP has nothing to switch on: it always announces. */
	return rc == 0 || (rc == -ENOTSUP && !uplink->announce_counts);
}

void
sa_uplink_disarm(struct sa_uplink *uplink)
{
	rte_eth_dev_rx_intr_disable(uplink->ethdev_port, 0);
}

void
sa_uplink_heard(struct sa_uplink *uplink)
{
	if (uplink->announce_counts)
		sa_doorbell_drain(uplink->announce_fd);
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
