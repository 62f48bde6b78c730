/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef PACKETS_RING_H
#define PACKETS_RING_H

#include <stdbool.h>
#include <stdint.h>

#include "rp_vring_drv.h"

/*
 * The driver's side of a ring, made for load: it works in bursts, and the buffers of
 * a place in the ring never change. What a device has to fetch is what it has to fetch
 * from any driver: each packet's descriptors are written anew. Chains come back in the
 * order in which they were made available, as all devices here do it; one that does not
 * is an error.
 *
 * Threads: one.
 */

#define PACKETS_BURST 32u
#define PACKETS_RING_NUM 256u
/* An odd number of cache lines: buffers must not all lie in the same few sets of a cache. */
#define PACKETS_BUFFER_BYTES (33u * 64u)
#define PACKETS_NET_HEADER_BYTES 12u /* struct virtio_net_hdr_v1 */
/* As DPDK lays it out: the frame begins on a cache line, and the header ends there. */
#define PACKETS_FRAME_AT 64u
#define PACKETS_FRAME_MAX (PACKETS_BUFFER_BYTES - PACKETS_FRAME_AT)

struct packets_ring {
	bool packed;
	bool device_writes;
	uint8_t parts; /* descriptors of a packet; with 2 the header has its own */
	uint16_t slots; /* packets that the ring holds */
	uint16_t first; /* slot of the oldest packet that is out */
	uint16_t out; /* packets that the device has */
	uint16_t avail_index, used_index; /* split */
	bool avail_wrap, used_wrap; /* packed */
	uint8_t *desc, *avail, *used;
	uint8_t *buffers;
	uint64_t buffers_iova;
	struct rp_vring_drv *layout; /* who has laid it out */
};

/* What a ring is made of. */
struct packets_ring_place {
	uint8_t *memory; /* PACKETS_RING_BYTES of it */
	uint64_t memory_iova;
	uint64_t features;
	uint8_t parts;
	bool device_writes;
};

#define PACKETS_RING_AREA 0x10000u
#define PACKETS_RING_BYTES (PACKETS_RING_AREA + 0x90000u)

/* @return 0 or a negative errno. */
int packets_ring_open(struct packets_ring *ring, const struct packets_ring_place *place);
void packets_ring_close(struct packets_ring *ring);

static inline uint16_t
packets_ring_slot(const struct packets_ring *ring, unsigned int ahead)
{
	unsigned int slot = ring->first + ahead;

	return (uint16_t)(slot >= ring->slots ? slot - ring->slots : slot);
}

static inline uint8_t *
packets_ring_buffer(const struct packets_ring *ring, uint16_t slot)
{
	return ring->buffers + (uint32_t)slot * PACKETS_BUFFER_BYTES;
}

/*
 * Make the next packets available; there is room for them.
 * @param frame_bytes of each; NULL: as many as the buffers hold.
 * @return whether the device wants a kick.
 */
bool packets_ring_add(struct packets_ring *ring, const uint16_t *frame_bytes, unsigned int count);

/*
 * Take what the device has used, the oldest first: the slots from ring->first, as it was before.
 * @param ret_written_bytes room for `max`; NULL: not of interest.
 * @return how many, or -EBADMSG: an id or a count that cannot be.
 */
int packets_ring_reap(struct packets_ring *ring, unsigned int max, uint32_t *ret_written_bytes);

/* Whether the oldest `count` that are out have been used; 0: true. */
bool packets_ring_is_used(const struct packets_ring *ring, unsigned int count);

/* A line that will be written: have it, and alone. */
static inline void
packets_ring_want_line(const void *line)
{
#if defined(__x86_64__)
	/* Where it is not known it does nothing; the compiler would make it a read unless told of one processor. */
	__asm__ volatile("prefetchw %0" : : "m"(*(const char *)line));
#else
	__builtin_prefetch(line, 1);
#endif
}

/*
 * Lines that the device has read last, and that will be written: descriptors of `count` packets from `slot`
 * on, and, when it is time to make packets available, where that is said. A processor writes one line after the
 * other, so to come upon them while writing is to wait for each alone.
 */
void packets_ring_want(const struct packets_ring *ring, uint16_t slot, unsigned int count);
void packets_ring_want_index(const struct packets_ring *ring, unsigned int count);

/* packets_split.c, packets_packed.c: as above, for one kind of ring. */
bool packets_split_add(struct packets_ring *ring, const uint16_t *frame_bytes, unsigned int count);
int packets_split_reap(struct packets_ring *ring, unsigned int max, uint32_t *ret_written_bytes);
bool packets_packed_add(struct packets_ring *ring, const uint16_t *frame_bytes, unsigned int count);
int packets_packed_reap(struct packets_ring *ring, unsigned int max, uint32_t *ret_written_bytes);
bool packets_split_is_used(const struct packets_ring *ring, unsigned int count);
bool packets_packed_is_used(const struct packets_ring *ring, unsigned int count);

/* A piece of a packet's buffer, as a descriptor says it. */
struct packets_piece {
	uint64_t iova;
	uint32_t bytes;
};

static inline struct packets_piece
packets_piece(const struct packets_ring *ring, uint16_t slot, unsigned int part, uint32_t frame_bytes)
{
	uint64_t frame_iova = ring->buffers_iova + (uint32_t)slot * PACKETS_BUFFER_BYTES + PACKETS_FRAME_AT;

	if (part == 1)
		return (struct packets_piece){frame_iova, frame_bytes};
	return (struct packets_piece){frame_iova - PACKETS_NET_HEADER_BYTES,
				      PACKETS_NET_HEADER_BYTES + (ring->parts == 1 ? frame_bytes : 0)};
}

#endif
