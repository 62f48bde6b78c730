/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>

#include <rte_errno.h>
#include <rte_ethdev.h>

#include "ethdev.h"

#define RING_ENTRIES 512u

static int
set_up(uint16_t ethdev, struct rte_mempool *pool, const char **ret_step)
{
	struct rte_eth_conf conf = {.rxmode.mq_mode = RTE_ETH_MQ_RX_NONE};
	uint16_t rx_entries = RING_ENTRIES, tx_entries = RING_ENTRIES;
	unsigned int socket = (unsigned int)rte_eth_dev_socket_id(ethdev);
	int rc;

	*ret_step = "configure";
	rc = rte_eth_dev_configure(ethdev, 1, 1, &conf);
	if (rc == 0)
		rc = rte_eth_dev_adjust_nb_rx_tx_desc(ethdev, &rx_entries, &tx_entries);
	if (rc < 0)
		return rc;
	*ret_step = "receive queue";
	rc = rte_eth_rx_queue_setup(ethdev, 0, rx_entries, socket, NULL, pool);
	if (rc < 0)
		return rc;
	*ret_step = "transmit queue";
	rc = rte_eth_tx_queue_setup(ethdev, 0, tx_entries, socket, NULL);
	if (rc < 0)
		return rc;
	*ret_step = "start";
	rc = rte_eth_dev_start(ethdev);
	if (rc < 0)
		return rc;
	*ret_step = "promiscuous mode";
	rc = rte_eth_promiscuous_enable(ethdev);
	/* A device that cannot filter shows everything anyway. */
	return rc == -ENOTSUP ? 0 : rc;
}

int
vs_ethdev_start(const char *name, struct rte_mempool *pool, uint16_t *ret_ethdev, struct rp_wire_why *why)
{
	const char *step;
	uint16_t ethdev;
	int rc;

	if (rte_eth_dev_get_port_by_name(name, &ethdev) < 0)
		return rp_wire_why_set(why, -ENODEV,
				       "'%s', expected the name of an ethdev (--vdev=net_tap0,... makes net_tap0)",
				       name);
	rc = set_up(ethdev, pool, &step);
	if (rc < 0)
		return rp_wire_why_set(why, rc, "%s: %s: %s", name, step, rte_strerror(-rc));
	*ret_ethdev = ethdev;
	return 0;
}

void
vs_ethdev_close_all(void)
{
	uint16_t ethdev;

	RTE_ETH_FOREACH_DEV(ethdev)
	{
		rte_eth_dev_stop(ethdev);
		rte_eth_dev_close(ethdev);
	}
}
