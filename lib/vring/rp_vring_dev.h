/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef RP_VRING_DEV_H
#define RP_VRING_DEV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "rp_dma.h"
#include "rp_wire_why.h"

/**
 * @file
 * The device's side of a split virtqueue (virtio 1.2, 2.7).
 *
 * The driver may write anything to the ring at any time: every index, address
 * and length is read once into a local, checked, then used. A ring that breaks a
 * rule is *broken*: every later call returns -EBADMSG until it is set up anew;
 * nothing is written to it. rp_vring_dev_why() says which rule it was.
 *
 * The ring's own memory is translated again after each change of the address
 * space, and never used across one: a ring whose memory was unmapped is broken.
 *
 * Threads: a ring belongs to the one thread that owns `reader`, which must be
 * online during every call.
 *
 * Ownership: the caller allocates a struct rp_vring_dev and may just forget it.
 *
 * Errors: -EBADMSG (broken), -EINVAL (the caller's mistake; the ring is sound).
 */

#define RP_VRING_NUM_MAX 32768u /**< virtio 1.2, 2.7: a power of two, at most 2^15 */
#define RP_VRING_SEGMENTS_MAX 256u /**< of one chain, indirect ones included */

/** Where a ring is and how it was negotiated. Addresses are IOVAs. */
struct rp_vring_layout {
	uint16_t num; /**< entries, a power of two */
	uint64_t desc_iova; /**< aligned to 16 */
	uint64_t avail_iova; /**< aligned to 2 */
	uint64_t used_iova; /**< aligned to 4 */
	uint64_t features; /**< negotiated: VIRTIO_F_RING_EVENT_IDX, INDIRECT_DESC are looked at */
};

/** One descriptor chain, translated: `out_count` readable parts, then `in_count` writable ones. */
struct rp_vring_chain {
	uint16_t head; /**< give back with rp_vring_dev_push() */
	uint16_t out_count; /**< parts that the device reads: iov[0 .. out_count) */
	uint16_t in_count; /**< parts that the device writes: iov[out_count .. out_count + in_count) */
	uint32_t out_bytes;
	uint32_t in_bytes;
	struct iovec iov[RP_VRING_SEGMENTS_MAX]; /**< good until the reader's next quiescent point */
};

/** The ring; fields are private to lib/vring but for the caller that allocates it. */
struct rp_vring_dev {
	struct rp_vring_layout layout;
	struct rp_dma_reader *reader;
	uint64_t generation; /* of the reader, when the three parts were translated */
	const uint8_t *desc;
	const uint8_t *avail;
	uint8_t *used;
	uint16_t next_avail; /* next entry of the available ring to take */
	uint16_t next_used; /* next entry of the used ring to write */
	uint16_t seen_avail; /* the driver's index when it was last looked at */
	bool signalled; /* an interrupt was decided on at least once */
	uint32_t unsignalled_count; /* published since; stops growing above 65535 */
	const char *broken_why; /* NULL: sound */
};

/**
 * Take a ring at a given position. Nothing is written to it.
 *
 * @param index both the next available and the next used entry (a drained ring
 *        has one index); 0 for a fresh ring.
 * @param reader borrowed for as long as the ring is used.
 * @return 0, -EBADMSG (num, alignment, or a part of the ring that is not mapped
 *         in one piece with the needed access; why names it). A ring that was
 *         refused is broken.
 */
int rp_vring_dev_init(struct rp_vring_dev *ring, const struct rp_vring_layout *layout, uint16_t index,
		      struct rp_dma_reader *reader, struct rp_wire_why *why);

/**
 * How many chains wait.
 *
 * @return 0 to num, or -EBADMSG (index beyond the ring, ring no longer mapped).
 */
int rp_vring_dev_available(struct rp_vring_dev *ring);

/**
 * Look at the chain `ahead` entries from the next one, without taking it
 * (mergeable buffers need to know whether several chains suffice).
 *
 * @return 1, 0 when there is none, -EBADMSG when the ring is broken.
 */
int rp_vring_dev_peek(struct rp_vring_dev *ring, uint16_t ahead, struct rp_vring_chain *ret_chain);

/** Take `count` chains that were peeked at, and no more than that. */
void rp_vring_dev_advance(struct rp_vring_dev *ring, uint16_t count);

/** Peek at the next chain and take it. @return as rp_vring_dev_peek(). */
int rp_vring_dev_pop(struct rp_vring_dev *ring, struct rp_vring_chain *ret_chain);

/**
 * Write a used entry, `ahead` places after the used index, without publishing.
 *
 * @param written_bytes how many bytes the device wrote to the chain.
 * @return 0, -EBADMSG, or -EINVAL (`ahead` or `head` beyond the ring).
 */
int rp_vring_dev_fill(struct rp_vring_dev *ring, uint16_t ahead, uint16_t head, uint32_t written_bytes);

/** Publish `count` filled entries (release order). @return 0, -EBADMSG, or -EINVAL (more than the ring has). */
int rp_vring_dev_publish(struct rp_vring_dev *ring, uint16_t count);

/** Fill one entry and publish it. @return as rp_vring_dev_fill(). */
int rp_vring_dev_push(struct rp_vring_dev *ring, uint16_t head, uint32_t written_bytes);

/**
 * Whether the driver wants an interrupt for what was published since the last
 * call (virtio 1.2, 2.7.7; VIRTQ_AVAIL_F_NO_INTERRUPT or used_event). The first
 * decision after init says yes where an event index is used: what a former owner
 * of the ring published may never have been signalled.
 *
 * @return 1, 0 or -EBADMSG.
 */
int rp_vring_dev_needs_interrupt(struct rp_vring_dev *ring);

/**
 * Ask for a kick at the next available entry, or for none; after asking, the
 * caller must look at the ring once more (a full fence is inside).
 *
 * @return 0 or -EBADMSG.
 */
int rp_vring_dev_set_notify(struct rp_vring_dev *ring, bool wanted);

/** The index to go on from (the next entry to take), low 16 bits; valid for a drained ring. */
uint16_t rp_vring_dev_index(const struct rp_vring_dev *ring);

/** Which rule the ring broke, in words, for a log line; NULL while it is sound. */
const char *rp_vring_dev_why(const struct rp_vring_dev *ring);

#endif
