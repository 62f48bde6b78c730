/* SPDX-License-Identifier: BSD-3-Clause */
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>

#include <linux/virtio_config.h>
#include <linux/virtio_net.h>
#include <rte_pause.h>

#include "bells.h"

#define MAC                                                                                                            \
	{                                                                                                              \
		0x52, 0x54, 0, 0, 0, 2                                                                                 \
	}
#define LOAD_FRAMES 32u
#define LOAD_FRAME_BYTES 1518u
#define EVENTS_MAX 16

static int
words_open(struct bells *bells, unsigned int queues_count)
{
	int rc = sa_doorbells_init(&bells->doorbells, bells->layout, queues_count);
	unsigned int i;

	if (rc < 0)
		return rc;
	bells->words_count = (queues_count + bells->doorbells.sharing - 1) / bells->doorbells.sharing;
	for (i = 0; i < bells->words_count; i++)
		bells->looked_at[i] = sa_doorbell_word(&bells->doorbells, i * bells->doorbells.sharing);
	bells->frames = calloc(2 * LOAD_FRAMES, LOAD_FRAME_BYTES);
	return bells->frames == NULL ? -ENOMEM : 0;
}

static int
on_reset(void *ctx, enum rp_vfu_pci_reset kind)
{
	struct bells *bells = ctx;

	(void)kind;
	rp_vfu_virtio_reset(bells->virtio);
	return 0;
}

static int
registers_open(struct bells *bells, unsigned int queues_count, struct rp_wire_why *why)
{
	const struct virtio_net_config net = {
		.mac = MAC,
		.status = htole16(VIRTIO_NET_S_LINK_UP),
		.max_virtqueue_pairs = htole16((uint16_t)(queues_count / 2)),
	};
	const struct rp_vfu_virtio_config config = {
		.features = 1ull << VIRTIO_F_VERSION_1 | 1ull << VIRTIO_F_ACCESS_PLATFORM |
			    1ull << VIRTIO_F_ORDER_PLATFORM | 1ull << VIRTIO_NET_F_MAC | 1ull << VIRTIO_NET_F_STATUS,
		.queues_count = (uint16_t)queues_count,
		.queue_size_max = RIG_RING_NUM,
		.vectors_count = (uint16_t)(queues_count + 1),
		.config = &net,
		.config_bytes = sizeof(net),
		.notify_stride_bytes = bells->doorbells.multiplier_bytes,
		.notify_group_queues = (uint16_t)bells->doorbells.sharing,
		/* Without eventfds of its own, so that a port rings it by a store as well: what a relay does best. */
		.notify = {bells->doorbells.size_bytes, true, true, .fd = bells->doorbells.fd},
	};
	static const struct rp_vfu_virtio_ops ops;

	return rp_vfu_virtio_create(&config, &ops, bells, &bells->virtio, why);
}

static int
open_it(struct rig *rig, struct rp_wire_why *why)
{
	static const struct rp_vfu_pci_config function = {
		.vendor_id = 0x1af4,
		.device_id = 0x1041,
		.subsystem_id = 1,
		.class_code = 0x020000,
		.revision = 1,
		.express = true,
	};
	static const struct rp_vfu_pci_ops ops = {.reset = on_reset};
	struct bells *bells = rig->config.device_ctx;
	int rc;

	rc = words_open(bells, rig->config.queues_count);
	if (rc == 0)
		rc = registers_open(bells, rig->config.queues_count, why);
	if (rc == 0)
		rc = rp_vfu_pci_create(&function, &ops, bells, &bells->pci, why);
	if (rc < 0)
		return rc;
	rp_vfu_virtio_describe(bells->virtio, bells->pci);
	rp_vfu_pci_add_express(bells->pci, NULL);
	return rp_vfu_pci_listen(bells->pci, rig->socket_device, why);
}

static void
close_it(struct rig *rig)
{
	struct bells *bells = rig->config.device_ctx;

	rp_vfu_pci_destroy(bells->pci);
	rp_vfu_virtio_destroy(bells->virtio);
	sa_doorbells_fini(&bells->doorbells);
	free(bells->frames);
}

static int
fd_of(struct rig *rig)
{
	const struct bells *bells = rig->config.device_ctx;

	return rp_vfu_server_fd(rp_vfu_pci_server(bells->pci));
}

static void
process(struct rig *rig)
{
	const struct bells *bells = rig->config.device_ctx;

	rp_vfu_server_process(rp_vfu_pci_server(bells->pci));
}

static void
say_seen(struct bells *bells)
{
	__atomic_store_n(&bells->seen_ns, bench_now_ns(), __ATOMIC_RELEASE);
}

/* The queue that softaccel serves first (sa_bell.h): that of the word, or of several the one that is named. */
static unsigned int
queue_of(const struct bells *bells, unsigned int word, uint32_t taken)
{
	unsigned int first = word * bells->doorbells.sharing, named = sa_doorbell_named(taken);

	return named - first < bells->doorbells.sharing ? named : first;
}

/*
 * As softaccel looks, and it knows of a kick, and of which queue, when it took it: not when it has looked
 * at the rest.
 */
static bool
words_rung(struct bells *bells)
{
	unsigned int end = bells->first + bells->watched_count, i, j;
	bool rung = false;

	for (i = bells->first; (i = sa_doorbells_find(bells->looked_at, i, end)) < end; i += SA_DOORBELL_GROUP) {
		for (j = i; j < i + SA_DOORBELL_GROUP && j < end; j++) {
			uint32_t taken = sa_doorbell_take(bells->looked_at[j]);

			if (taken == SA_DOORBELL_SENTINEL)
				continue;
			bells->seen_queue = queue_of(bells, j, taken);
			say_seen(bells);
			rung = true;
		}
	}
	return rung;
}

static bool
eventfds_rung(const struct bells *bells)
{
	struct epoll_event events[EVENTS_MAX];
	int count = epoll_wait(bells->eventfd, events, EVENTS_MAX, 0), i;
	eventfd_t kicks;

	for (i = 0; i < count; i++)
		(void)eventfd_read(events[i].data.fd, &kicks);
	return count > 0;
}

/* What a device does for others: a burst of frames is moved. */
static void
work(const struct bells *bells)
{
	unsigned int i;

	for (i = 0; i < LOAD_FRAMES; i++)
		memcpy(bells->frames + (size_t)(LOAD_FRAMES + i) * LOAD_FRAME_BYTES,
		       bells->frames + (size_t)i * LOAD_FRAME_BYTES, LOAD_FRAME_BYTES);
	__asm__ volatile("" : : "r"(bells->frames) : "memory");
}

static void
serve(struct rig *rig)
{
	struct bells *bells = rig->config.device_ctx;
	eventfd_t kicks;
	bool rung;

	if (bells->loaded)
		work(bells);
	if (bells->look == BELLS_LOOK_WORDS) {
		if (!words_rung(bells))
			rte_pause();
		return;
	}
	rung = bells->look == BELLS_LOOK_EVENTFD ? eventfd_read(bells->eventfd, &kicks) == 0 : eventfds_rung(bells);
	if (rung)
		say_seen(bells);
	else
		rte_pause();
}

const struct rig_device rig_bells = {
	.open = open_it,
	.close = close_it,
	.fd = fd_of,
	.process = process,
	.serve = serve,
};
