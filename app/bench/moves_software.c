/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <sched.h>
#include <string.h>

#include <rte_vhost.h>

#include "moves_rig.h"
#include "vfu_rig.h"
#include "vhost_listen.h"

#define MBUFS_COUNT 1023u
#define FRAME_BYTES 64u
#define NONE (-1)

/* librte_vhost has no context for its callbacks. */
static int device_vid = NONE; /* atomic */
static bool in_use; /* atomic: the data thread has read device_vid, and works on it */
static unsigned int quiet_due; /* atomic: rings whose guest is to be told that nobody wants kicks, a bit each */

static int
on_new_device(int vid)
{
	__atomic_store_n(&quiet_due, 1u << MOVES_RX | 1u << MOVES_TX, __ATOMIC_RELEASE);
	__atomic_store_n(&device_vid, vid, __ATOMIC_SEQ_CST);
	return 0;
}

static void
on_destroy_device(int vid)
{
	(void)vid;
	__atomic_store_n(&device_vid, NONE, __ATOMIC_SEQ_CST);
	/* What it works on is freed when this returns. */
	while (__atomic_load_n(&in_use, __ATOMIC_SEQ_CST))
		sched_yield();
}

static int
on_ring_changed(int vid, uint16_t queue, int enabled)
{
	(void)vid;
	if (enabled && queue < MOVES_QUEUES)
		__atomic_fetch_or(&quiet_due, 1u << queue, __ATOMIC_RELEASE);
	return 0;
}

static int
fill_pool(struct moves_software *software)
{
	unsigned int i;

	software->pool = rte_pktmbuf_pool_create("moves", MBUFS_COUNT, 0, 0, RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY);
	if (software->pool == NULL || rte_pktmbuf_alloc_bulk(software->pool, software->frames, MOVES_BURST) < 0)
		return -ENOMEM;
	for (i = 0; i < MOVES_BURST; i++)
		memset(rte_pktmbuf_append(software->frames[i], FRAME_BYTES), 0, FRAME_BYTES);
	return 0;
}

int
moves_software_open(struct moves_software *software, const char *socket_path)
{
	static const struct rte_vhost_device_ops ops = {
		.new_device = on_new_device,
		.destroy_device = on_destroy_device,
		.vring_state_changed = on_ring_changed,
	};
	bool registered = false;
	int rc = fill_pool(software);

	if (rc == 0)
		rc = vhost_listen(socket_path, RTE_VHOST_USER_NET_COMPLIANT_OL_FLAGS, &ops, &registered);
	if (rc < 0 && registered)
		rte_vhost_driver_unregister(socket_path);
	return vfu_rig_complain("librte_vhost", rc, NULL);
}

static void
serve(struct moves_software *software, int vid)
{
	struct rte_mbuf *taken[MOVES_BURST];
	unsigned int quiet = __atomic_load_n(&quiet_due, __ATOMIC_ACQUIRE), queue;
	uint16_t count;

	if (quiet != 0) {
		__atomic_fetch_and(&quiet_due, ~quiet, __ATOMIC_RELAXED);
		for (queue = 0; queue < MOVES_QUEUES; queue++)
			rte_vhost_enable_guest_notification(vid, (uint16_t)queue, 0);
	}
	count = rte_vhost_dequeue_burst(vid, MOVES_TX, software->pool, taken, MOVES_BURST);
	rte_pktmbuf_free_bulk(taken, count);
	rte_vhost_enqueue_burst(vid, MOVES_RX, software->frames, MOVES_BURST);
}

void
moves_software_poll(struct moves_software *software)
{
	int vid;

	__atomic_store_n(&in_use, true, __ATOMIC_SEQ_CST);
	vid = __atomic_load_n(&device_vid, __ATOMIC_SEQ_CST);
	if (vid != NONE)
		serve(software, vid);
	__atomic_store_n(&in_use, false, __ATOMIC_RELEASE);
}

void
moves_software_close(struct moves_software *software, const char *socket_path)
{
	rte_vhost_driver_unregister(socket_path);
	if (software->frames[0] != NULL)
		rte_pktmbuf_free_bulk(software->frames, MOVES_BURST);
	rte_mempool_free(software->pool);
	*software = (struct moves_software){.pool = NULL};
}
