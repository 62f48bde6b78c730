/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

#include "rp_wire_caller.h"
#include "rp_wire_fd.h"
#include "sa_datapath.h"

#define MBUFS_DEFAULT 4096u
#define MBUF_CACHE 64u
#define ROOM_STEP 16u

static int
make_pool(struct sa_datapath *path, uint32_t mbufs_count)
{
	char name[RTE_MEMPOOL_NAMESIZE];

	/* DPDK's names are process-wide; there may be several accelerators in one process. */
	snprintf(name, sizeof(name), "sa_%llx", (unsigned long long)(uintptr_t)path);
	/* No private area: frames begin with a cache line. */
	path->scratch.pool =
		rte_pktmbuf_pool_create(name, mbufs_count, MBUF_CACHE, 0, RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY);
	return path->scratch.pool == NULL ? -ENOMEM : 0;
}

static int
watch(struct sa_datapath *path, int fd, struct sa_ring *ring)
{
	struct epoll_event event = {.events = EPOLLIN, .data.ptr = ring};

	return epoll_ctl(path->kick_epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0 ? -errno : 0;
}

static int
make_descriptors(struct sa_datapath *path)
{
	path->kick_epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (path->kick_epoll_fd < 0)
		return -errno;
	path->notice_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (path->notice_fd < 0)
		return -errno;
	return watch(path, path->gate.wake_fd, NULL);
}

int
sa_datapath_init(struct sa_datapath *path, const struct softaccel_config *config)
{
	int rc;

	*path = (struct sa_datapath){.kick_epoll_fd = -1, .notice_fd = -1};
	path->scratch.copy = sa_copier_choose(config->isa)->copy;
	rc = sa_gate_init(&path->gate);
	if (rc == 0)
		rc = make_descriptors(path);
	if (rc == 0)
		rc = rp_wire_caller_take(&path->caller);
	if (rc == 0)
		rc = make_pool(path, config->mbufs_count == 0 ? MBUFS_DEFAULT : config->mbufs_count);
	sa_place_init(&path->place, path->scratch.pool);
	if (rc == 0)
		rc = sa_switch_init(&path->sw, &path->scratch, config->copies);
	if (rc < 0)
		sa_datapath_fini(path);
	return rc;
}

void
sa_datapath_fini(struct sa_datapath *path)
{
	path->uplink = sa_uplink_destroy(path->uplink);
	sa_switch_fini(&path->sw);
	rte_mempool_free(path->scratch.pool);
	path->scratch.pool = NULL;
	free(path->doorbells);
	path->doorbells = NULL;
	free(path->bells);
	path->bells = NULL;
	free(path->watched);
	path->watched = NULL;
	free(path->running);
	path->running = NULL;
	path->caller = rp_wire_caller_give(path->caller);
	rp_wire_fd_close(&path->notice_fd);
	rp_wire_fd_close(&path->kick_epoll_fd);
	sa_gate_fini(&path->gate);
}

void
sa_datapath_reader_add(struct sa_datapath *path, struct rp_dma_reader *reader)
{
	path->readers[path->readers_count++] = reader;
}

void
sa_datapath_reader_remove(struct sa_datapath *path, struct rp_dma_reader *reader)
{
	unsigned int i;

	for (i = 0; i < path->readers_count; i++) {
		if (path->readers[i] == reader) {
			path->readers[i] = path->readers[--path->readers_count];
			return;
		}
	}
}

int
sa_datapath_uplink_add(struct sa_datapath *path, uint16_t ethdev_port, struct rp_wire_why *why)
{
	struct epoll_event event = {.events = EPOLLIN, .data.ptr = path};
	struct sa_port *port;
	int rc = sa_switch_port(&path->sw, NULL, &port);

	if (rc < 0)
		return rp_wire_why_set(why, rc, "uplink: %s", strerror(-rc));
	rc = sa_uplink_create(ethdev_port, path->scratch.pool, port, &path->uplink, why);
	if (rc < 0)
		return rc;
	if (sa_uplink_fd(path->uplink) >= 0 &&
	    epoll_ctl(path->kick_epoll_fd, EPOLL_CTL_ADD, sa_uplink_fd(path->uplink), &event) < 0)
		sa_uplink_ignore(path->uplink);
	port->uplink = path->uplink;
	port->macs.quota = SA_UPLINK_MACS_MAX;
	path->uplink_port = port;
	return 0;
}

static void
unwatch_kicks(const struct sa_datapath *path, const struct sa_ring *ring)
{
	epoll_ctl(path->kick_epoll_fd, EPOLL_CTL_DEL, ring->kick_fd, NULL);
	if (ring->said_fd >= 0)
		epoll_ctl(path->kick_epoll_fd, EPOLL_CTL_DEL, ring->said_fd, NULL);
}

static int
watch_kicks(struct sa_datapath *path, struct sa_ring *ring)
{
	int rc = watch(path, ring->kick_fd, ring);

	if (rc == 0 && ring->said_fd >= 0)
		rc = watch(path, ring->said_fd, ring);
	if (rc < 0)
		unwatch_kicks(path, ring);
	return rc;
}

static int
make_room(struct sa_datapath *path)
{
	unsigned int room = path->running_room + ROOM_STEP;
	struct sa_ring **running, **watched;
	struct sa_bell **bells;
	uint32_t **doorbells;

	if (path->running_count < path->running_room)
		return 0;
	running = realloc(path->running, room * sizeof(*running));
	if (running == NULL)
		return -ENOMEM;
	path->running = running;
	watched = realloc(path->watched, room * sizeof(*watched));
	if (watched == NULL)
		return -ENOMEM;
	path->watched = watched;
	bells = realloc(path->bells, room * sizeof(*bells));
	if (bells == NULL)
		return -ENOMEM;
	path->bells = bells;
	doorbells = realloc(path->doorbells, room * sizeof(*doorbells));
	if (doorbells == NULL)
		return -ENOMEM;
	path->doorbells = doorbells;
	path->running_room = room;
	return 0;
}

int
sa_datapath_ring_add(struct sa_datapath *path, struct sa_ring *ring)
{
	int rc = make_room(path);

	if (rc < 0)
		return rc;
	rc = watch_kicks(path, ring);
	if (rc < 0)
		return rc;
	if (!ring->transmits)
		rc = sa_switch_ring_add(&path->sw, ring);
	if (rc < 0) {
		unwatch_kicks(path, ring);
		return rc;
	}
	path->running[path->running_count++] = ring;
	ring->running = true;
	sa_place_vote(&path->place, ring->node, 1);
	path->watched_stale = true;
	return 0;
}

void
sa_datapath_ring_remove(struct sa_datapath *path, struct sa_ring *ring)
{
	unsigned int i;

	for (i = 0; i < path->running_count && path->running[i] != ring; i++)
		;
	if (i == path->running_count)
		return;
	path->running[i] = path->running[--path->running_count];
	ring->running = false;
	sa_place_vote(&path->place, ring->node, -1);
	path->watched_stale = true;
	unwatch_kicks(path, ring);
	if (!ring->transmits)
		sa_switch_ring_remove(ring);
}
