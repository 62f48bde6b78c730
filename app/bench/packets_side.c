/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "packets_side.h"
#include "rp_wire_fd.h"
#include "sa_flow.h"
#include "vfu_rig.h"

#define HUGE_BYTES ((size_t)2 << 20)
#define MAPPED_BYTES ((PACKETS_MEMORY_BYTES + HUGE_BYTES - 1) / HUGE_BYTES * HUGE_BYTES)
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25 /* Linux 6.1 */
#endif

/* A kernel that makes none says EINVAL; after any other error rows vary more than they need. */
static void
collapse(uint8_t *memory)
{
	static bool said;

	if (madvise(memory, MAPPED_BYTES, MADV_COLLAPSE) == 0 || errno == EINVAL || said)
		return;
	said = true;
	vfu_rig_complain("guests' memory is not in huge pages", -errno, NULL);
}

/*
 * Two sides are compared whose rings and buffers are about as large as a second-level cache: which pages happen to
 * share sets is worth some parts in a hundred. In huge pages all sides lie alike; where there are none, as it comes.
 */
static int
open_memory(struct packets_side *side)
{
	uint8_t *place;

	side->memory_fd = memfd_create("bench-guests", MFD_CLOEXEC);
	if (side->memory_fd < 0 || ftruncate(side->memory_fd, (off_t)MAPPED_BYTES) < 0)
		return -errno;
	place = mmap(NULL, MAPPED_BYTES + HUGE_BYTES, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (place == MAP_FAILED)
		return -errno;
	side->reserved = place;
	place += (HUGE_BYTES - (uintptr_t)place % HUGE_BYTES) % HUGE_BYTES;
	side->memory = mmap(place, MAPPED_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, side->memory_fd, 0);
	if (side->memory == MAP_FAILED)
		return -errno;
	memset(side->memory, 0, MAPPED_BYTES);
	collapse(side->memory);
	return 0;
}

static int
open_ring(struct packets_side *side, unsigned int guest, unsigned int queue)
{
	uint64_t offset = (uint64_t)(guest * PACKETS_QUEUES_MAX + queue) * PACKETS_RING_BYTES;
	const struct packets_ring_place place = {
		.memory = side->memory + offset,
		.memory_iova = PACKETS_GPA + offset,
		.features = side->features,
		.parts = side->parts,
		.device_writes = queue % 2 == PACKETS_RX(0),
	};

	side->guests[guest].kick_fds[queue] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	side->guests[guest].call_fds[queue] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (side->guests[guest].kick_fds[queue] < 0 || side->guests[guest].call_fds[queue] < 0)
		return -errno;
	return packets_ring_open(&side->guests[guest].rings[queue], &place);
}

/* Where a flow ends up is the device's choice, by a hash over its addresses: the sender has as many as it needs. */
static void
choose_source(struct packets_side *side, unsigned int pair)
{
	struct packets_flow *flow = &side->flows[pair];
	uint8_t frame[16] = {0};
	uint32_t hash;

	memcpy(frame, side->guests[PACKETS_RECEIVER].mac, 6);
	memcpy(frame + 6, side->guests[PACKETS_SENDER].mac, 6);
	frame[12] = 0x88;
	frame[13] = 0xb5;
	do {
		frame[10]++;
		hash = sa_flow_hash(frame, sizeof(frame));
	} while ((uint64_t)hash * side->pairs >> 32 != pair);
	packets_frame_begin(flow->line, frame, frame + 6);
}

static void
name_guests(struct packets_side *side, uint8_t mac_last)
{
	static const uint8_t mac[6] = {0x52, 0x54, 0, 0, 0, 0};
	unsigned int guest, queue;

	for (guest = 0; guest < PACKETS_GUESTS; guest++) {
		memcpy(side->guests[guest].mac, mac, sizeof(mac));
		side->guests[guest].mac[5] = (uint8_t)(mac_last + guest);
		for (queue = 0; queue < PACKETS_QUEUES_MAX; queue++)
			side->guests[guest].kick_fds[queue] = side->guests[guest].call_fds[queue] = -1;
	}
}

int
packets_side_open(struct packets_side *side, const struct bench_options *options, const struct packets_shape *shape)
{
	unsigned int guest, queue, pair;
	int rc;

	*side = (struct packets_side){
		.options = options,
		.pairs = shape->pairs,
		.features = shape->features,
		.parts = shape->parts,
		.memory_fd = -1,
		.memory = MAP_FAILED,
		.reserved = MAP_FAILED,
	};
	name_guests(side, shape->mac_last);
	rc = open_memory(side);
	for (guest = 0; rc == 0 && guest < PACKETS_GUESTS; guest++) {
		for (queue = 0; rc == 0 && queue < 2 * side->pairs; queue++)
			rc = open_ring(side, guest, queue);
	}
	for (pair = 0; pair < side->pairs; pair++)
		choose_source(side, pair);
	return vfu_rig_complain("guests", rc, NULL);
}

void
packets_side_close(struct packets_side *side)
{
	unsigned int guest, queue;

	if (side->options == NULL)
		return;
	for (guest = 0; guest < PACKETS_GUESTS; guest++) {
		packets_guest_disconnect(&side->guests[guest]);
		for (queue = 0; queue < PACKETS_QUEUES_MAX; queue++)
			packets_ring_close(&side->guests[guest].rings[queue]);
		rp_wire_fd_close_all(side->guests[guest].kick_fds, PACKETS_QUEUES_MAX);
		rp_wire_fd_close_all(side->guests[guest].call_fds, PACKETS_QUEUES_MAX);
	}
	if (side->reserved != MAP_FAILED)
		munmap(side->reserved, MAPPED_BYTES + HUGE_BYTES);
	rp_wire_fd_close(&side->memory_fd);
}
