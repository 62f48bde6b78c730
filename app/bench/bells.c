/* SPDX-License-Identifier: BSD-3-Clause */
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include <linux/virtio_config.h>
#include <linux/virtio_net.h>
#include <rte_pause.h>

#include "bells.h"
#include "rp_wire_fd.h"
#include "sa_doorbell.h"

#define MAC                                                                                                            \
	{                                                                                                              \
		0x52, 0x54, 0, 0, 0, 2                                                                                 \
	}
#define LOAD_FRAMES 32u
#define LOAD_FRAME_BYTES 1518u
#define EVENTS_MAX 16

static int
words_open(struct bells *bells, unsigned int count)
{
	unsigned int i;

	bells->page_bytes = (size_t)sysconf(_SC_PAGESIZE);
	bells->words_bytes = bells->page_bytes * count;
	bells->words_fd = memfd_create("bench-doorbells", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (bells->words_fd < 0 || ftruncate(bells->words_fd, (off_t)bells->words_bytes) < 0)
		return -errno;
	/* Or no port would hand them out. */
	if (fcntl(bells->words_fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0)
		return -errno;
	bells->words = mmap(NULL, bells->words_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, bells->words_fd, 0);
	if (bells->words == MAP_FAILED)
		return -errno;
	memset(bells->words, 0xff, bells->words_bytes);
	for (i = 0; i < count; i++)
		bells->looked_at[i] = (uint32_t *)(void *)(bells->words + i * bells->page_bytes);
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
		.notify_stride_bytes = (uint32_t)bells->page_bytes,
		/* Without eventfds of its own, so that a port rings it by a store as well: what a relay does best. */
		.notify = {bells->words_bytes, true, true, .fd = bells->words_fd},
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

	bells->words_fd = -1;
	bells->words = MAP_FAILED;
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
	if (bells->words != MAP_FAILED)
		munmap(bells->words, bells->words_bytes);
	rp_wire_fd_close(&bells->words_fd);
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

/* As softaccel looks, and it knows of a kick when it took it, not when it has looked at the rest. */
static bool
words_rung(struct bells *bells)
{
	unsigned int end = bells->first + bells->watched_count, i, j;
	bool rung = false;

	for (i = bells->first; (i = sa_doorbells_find(bells->looked_at, i, end)) < end; i += SA_DOORBELL_GROUP) {
		for (j = i; j < i + SA_DOORBELL_GROUP && j < end; j++) {
			if (!sa_doorbell_observe(bells->looked_at[j]))
				continue;
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
