/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <rte_errno.h>
#include <rte_lcore.h>
#include <rte_malloc.h>
#include <rte_mbuf.h>

#include "switch.h"

/* Receive rings of ethdevs, and what the lcores hold. */
#define MBUFS_BASE 4096u
#define MBUFS_PER_PORT (2 * VS_EGRESS_FRAMES)
#define MBUFS_CACHED 128u

static int
create_readers(struct vs_switch *sw)
{
	size_t size_bytes = rte_rcu_qsbr_get_memsize(RTE_MAX_LCORE);

	sw->readers = rte_zmalloc("vs_readers", size_bytes, RTE_CACHE_LINE_SIZE);
	if (sw->readers == NULL)
		return -ENOMEM;
	return rte_rcu_qsbr_init(sw->readers, RTE_MAX_LCORE) == 0 ? 0 : -ENOMEM;
}

int
vs_switch_create(unsigned int ports_count, struct vs_switch **ret_sw)
{
	struct vs_switch *sw = calloc(1, sizeof(*sw));

	if (sw == NULL)
		return -ENOMEM;
	sw->pool = rte_pktmbuf_pool_create("vs_frames", MBUFS_BASE + ports_count * MBUFS_PER_PORT, MBUFS_CACHED, 0,
					   RTE_MBUF_DEFAULT_BUF_SIZE, (int)rte_socket_id());
	if (sw->pool == NULL || create_readers(sw) < 0 || vs_mac_create(ports_count, &sw->mac) < 0) {
		vs_switch_destroy(sw);
		return -ENOMEM;
	}
	*ret_sw = sw;
	return 0;
}

static void
free_port(struct vs_port *port)
{
	struct vs_egress *egress = &port->egress;

	for (; egress->head != egress->tail; egress->head++)
		rte_pktmbuf_free(egress->frames[egress->head % VS_EGRESS_FRAMES]);
	free(port);
}

struct vs_switch *
vs_switch_destroy(struct vs_switch *sw)
{
	if (sw == NULL)
		return NULL;
	while (sw->ports_count > 0)
		free_port(sw->ports[--sw->ports_count]);
	vs_mac_destroy(sw->mac);
	rte_free(sw->readers);
	rte_mempool_free(sw->pool);
	free(sw);
	return NULL;
}

struct vs_port *
vs_switch_add(struct vs_switch *sw, const char *name)
{
	struct vs_port *port;

	if (sw->ports_count == VS_PORTS_MAX)
		return NULL;
	port = calloc(1, sizeof(*port));
	if (port == NULL)
		return NULL;
	snprintf(port->name, sizeof(port->name), "%s", name);
	port->number = sw->ports_count;
	port->ethdev = VS_NO_ETHDEV;
	rte_spinlock_init(&port->egress.lock);
	sw->ports[sw->ports_count++] = port;
	return port;
}

struct vs_port *
vs_switch_find(const struct vs_switch *sw, const char *name)
{
	unsigned int i;

	for (i = 0; i < sw->ports_count; i++) {
		if (strcmp(sw->ports[i]->name, name) == 0)
			return sw->ports[i];
	}
	return NULL;
}

uint64_t
vs_now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

uint32_t
vs_now_s(void)
{
	return (uint32_t)(vs_now_ms() / 1000);
}

const char *
vs_path_name(enum vs_path path)
{
	static const char *const names[VS_PATHS_COUNT] = {"ethdev", "software", "hardware"};

	return names[path];
}

const char *
vs_drop_name(enum vs_drop drop)
{
	static const char *const names[VS_DROPS_COUNT] = {"no_queue", "queue_full", "same_port", "length"};

	return names[drop];
}
