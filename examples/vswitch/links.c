/* SPDX-License-Identifier: BSD-3-Clause */
#include <string.h>

#include "links.h"

#define PATIENT_LOOKS 2u

static bool
is_up(uint16_t ethdev)
{
	struct rte_eth_link link;

	return rte_eth_link_get_nowait(ethdev, &link) == 0 && link.link_status == RTE_ETH_LINK_UP;
}

static bool
is_memif(uint16_t ethdev)
{
	struct rte_eth_dev_info info;

	return rte_eth_dev_info_get(ethdev, &info) == 0 && strcmp(info.driver_name, "net_memif") == 0;
}

/* Workers keep away from it until it has started, which is when somebody listens there. */
static void
start_anew(struct vs_switch *sw, struct vs_port *port)
{
	if (port->is_started) {
		__atomic_store_n(&port->is_started, false, __ATOMIC_RELEASE);
		rte_rcu_qsbr_synchronize(sw->readers, RTE_QSBR_THRID_INVALID);
		rte_eth_dev_stop(port->ethdev);
	}
	if (rte_eth_dev_start(port->ethdev) == 0)
		__atomic_store_n(&port->is_started, true, __ATOMIC_RELEASE);
}

void
vs_links_look(struct vs_switch *sw)
{
	unsigned int i;

	for (i = 0; i < sw->ports_count; i++) {
		struct vs_port *port = sw->ports[i];

		if (port->ethdev == VS_NO_ETHDEV)
			continue;
		port->is_up = is_up(port->ethdev);
		port->looks_down = port->is_up ? 0 : port->looks_down + 1;
		/* It takes a moment to come up. */
		if (port->looks_down >= PATIENT_LOOKS && is_memif(port->ethdev)) {
			start_anew(sw, port);
			port->looks_down = 0;
		}
	}
}
