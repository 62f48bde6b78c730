/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef RP_VRING_DEV_H
#define RP_VRING_DEV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "rp_dma.h"
#include "rp_dma_atc.h"
#include "rp_dma_view.h"
#include "rp_dma_window.h"
#include "rp_vring_position.h"
#include "rp_wire_why.h"

/**
 * @file
 * The device's side of a virtqueue, split (virtio 1.2, 2.7) or packed (2.8). The
 * format is a matter of the negotiated features in the layout; the calls are the
 * same. Looked at are VIRTIO_F_INDIRECT_DESC (28), VIRTIO_F_EVENT_IDX (29),
 * VIRTIO_F_RING_PACKED (34) and VIRTIO_F_IN_ORDER (35).
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
 * Ownership: the caller allocates a struct rp_vring_dev, and the notes where they
 * are needed, and may just forget both.
 *
 * Errors: -EBADMSG (broken), -EINVAL (the caller's mistake; the ring is sound).
 */

#define RP_VRING_NUM_MAX 32768u /**< virtio 1.2, 2.7 and 2.8: at most 2^15; split: a power of two */
#define RP_VRING_SEGMENTS_MAX 256u /**< of one chain, indirect ones included */

/**
 * What a packed ring, or one that is used in order, must remember of each of its
 * entries, because the ring's memory cannot be believed twice; private to
 * lib/vring. The caller lends them, since it knows how large its rings are: inside
 * the ring they would take 384 KiB whatever its size, and most rings need none.
 */
struct rp_vring_note {
	uint32_t filled_bytes; /* by place in the order of use: filled, not published */
	uint16_t filled_id; /* of a ring that is shuffled */
	uint16_t order_id; /* by place in the order of availability */
	uint16_t skip; /* by buffer id: descriptors of its chain, 0: not out */
	uint16_t taken; /* by buffer id, of a ring that is shuffled */
};

/** A ring's parts, in the order of the layout: descriptors, what the driver writes, what the device writes. */
#define RP_VRING_PARTS_COUNT 3u

/** Where a ring is and how it was negotiated. Addresses are IOVAs. */
struct rp_vring_layout {
	uint16_t num; /**< entries; split: a power of two */
	uint64_t desc_iova; /**< aligned to 16 */
	uint64_t avail_iova; /**< split: available ring, aligned to 2; packed: driver event suppression, to 4 */
	uint64_t used_iova; /**< split: used ring, aligned to 4; packed: device event suppression, to 4 */
	uint64_t features; /**< as negotiated */
	/**
	 * Room for `num` notes, borrowed for as long as the ring is used; looked at by the device's
	 * side of a ring with VIRTIO_F_RING_PACKED or VIRTIO_F_IN_ORDER only (else may be NULL).
	 */
	struct rp_vring_note *notes;
	/**
	 * For each part that is mapped in several pieces, one that joins them, of the reader's
	 * space and with the access that the device needs; borrowed likewise. NULL: in one piece.
	 */
	const struct rp_dma_view *views[RP_VRING_PARTS_COUNT];
	/**
	 * Translates the addresses of buffers and tables into the reader's space, and those of the
	 * three parts, which need views then; borrowed likewise. NULL: they are the space's.
	 */
	struct rp_dma_atc *atc;
};

/** How many bytes each part of a ring has. Any thread. */
void rp_vring_part_bytes(const struct rp_vring_layout *layout, uint64_t ret_bytes[RP_VRING_PARTS_COUNT]);

/** Whether a ring with these features needs notes in its layout. Any thread. */
bool rp_vring_dev_needs_notes(uint64_t features);

/** A piece of the driver's memory, where it was not translated (rp_vring_copy.h). */
struct rp_vring_span {
	uint64_t iova;
	uint64_t size_bytes;
};

/** One descriptor chain, translated: `out_count` readable parts, then `in_count` writable ones. */
struct rp_vring_chain {
	uint16_t head; /**< first descriptor (split) or buffer id (packed); give back with rp_vring_dev_push() */
	uint16_t out_count; /**< parts that the device reads: iov[0 .. out_count) */
	uint16_t in_count; /**< parts that the device writes: iov[out_count .. out_count + in_count) */
	uint32_t out_bytes;
	uint32_t in_bytes;
	struct rp_vring_span table; /**< of a copied ring: the indirect table that is still to be followed, or empty */
	union {
		struct iovec iov[RP_VRING_SEGMENTS_MAX]; /**< good until the reader's next quiescent point */
		struct rp_vring_span spans[RP_VRING_SEGMENTS_MAX]; /**< of a copied ring, instead of iov */
	};
};

/** The ring; fields are private to lib/vring but for the caller that allocates it. */
struct rp_vring_dev {
	struct rp_vring_layout layout;
	struct rp_dma_reader *reader; /* NULL: a copy, of which nothing is translated */
	const struct vring_reach *reach; /* NULL, or how tables are found without a reader (chain.h) */
	bool spans; /* the parts of its chains are not translated */
	uint64_t generation; /* of the reader, when the three parts were translated */
	uint8_t *desc;
	uint8_t *avail;
	uint8_t *used;
	bool packed;
	bool in_order;
	bool event_idx;
	bool avail_wrap; /* packed: of next_avail, next_used and peek_at */
	bool used_wrap;
	bool peek_wrap;
	bool signalled; /* an interrupt was decided on at least once */
	uint16_t next_avail; /* next entry of the available ring, or next descriptor, to take */
	uint16_t next_used; /* next entry of the used ring, or next descriptor, to write */
	uint16_t seen_avail; /* split: the driver's index when it was last looked at */
	uint16_t peek_at; /* packed: the first descriptor that was not peeked at */
	uint16_t peeked_count; /* packed: chains peeked at and not taken */
	uint16_t out_count; /* packed: chains taken and not given back */
	uint16_t peeked_size; /* packed: descriptors of either */
	uint16_t out_size;
	uint16_t take_place; /* packed: places in notes of the next chain to take and to give back */
	uint16_t give_place;
	bool shuffled; /* packed: chains come back in another order than they were taken (packed_give.c) */
	uint16_t filled_count; /* packed, not shuffled: entries that are filled */
	uint32_t unsignalled_count; /* published since; packed: in descriptors; stops growing above 65535 */
	const char *broken_why; /* NULL: sound */
	bool missed; /* the translation of missed_iova is not known */
	uint64_t missed_iova;
	uint32_t missed_access_mask;
	bool out_of_reach; /* that is for a buffer or a table that could not be translated */
	struct rp_dma_window window; /* of bursts: where buffers were last */
	struct rp_dma_window left_window; /* and where before that */
};

/**
 * Take a ring at a given position. Nothing is written to it.
 *
 * @param position of a drained ring, see rp_vring_position.h;
 *        rp_vring_position_fresh() for a new one.
 * @param reader borrowed for as long as the ring is used.
 * @return 0, -EBADMSG (num, alignment, position, or a part of the ring that is not
 *         mapped in one piece with the needed access; why names it), -EINVAL (notes
 *         are needed and missing). A ring that was refused is broken.
 */
int rp_vring_dev_init(struct rp_vring_dev *ring, const struct rp_vring_layout *layout, uint32_t position,
		      struct rp_dma_reader *reader, struct rp_wire_why *why);

/** A packed ring is not counted further than this: so many chains may be many more. */
#define RP_VRING_PACKED_COUNT_MAX 32

/**
 * How many chains wait. A packed ring has no index: its descriptors are looked at,
 * RP_VRING_PACKED_COUNT_MAX chains far.
 *
 * @return 0 to num, or -EBADMSG (index beyond the ring, ring no longer mapped).
 */
int rp_vring_dev_available(struct rp_vring_dev *ring);

/**
 * Look at the chain `ahead` entries from the next one, without taking it
 * (mergeable buffers need to know whether several chains suffice).
 *
 * @return 1, 0 when there is none, -EBADMSG when the ring is broken; it also is when
 *         notes are kept and a chain is not the one it was at the last look.
 */
int rp_vring_dev_peek(struct rp_vring_dev *ring, uint16_t ahead, struct rp_vring_chain *ret_chain);

/** Take `count` chains that were peeked at, and no more than that. */
void rp_vring_dev_advance(struct rp_vring_dev *ring, uint16_t count);

/** Peek at the next chain and take it. @return as rp_vring_dev_peek(). */
int rp_vring_dev_pop(struct rp_vring_dev *ring, struct rp_vring_chain *ret_chain);

/**
 * Say what is to be used as entry `ahead` after the last published one, without
 * publishing; an entry may be filled again. The memory of a packed ring is not
 * touched before it is published.
 *
 * @param head of a chain that was peeked at or taken.
 * @param written_bytes how many bytes the device wrote to the chain.
 * @return 0, -EBADMSG, or -EINVAL: `ahead` or `head` beyond the ring; packed: `head` is
 *         not out; VIRTIO_F_IN_ORDER: it is not the chain whose turn it is.
 */
int rp_vring_dev_fill(struct rp_vring_dev *ring, uint16_t ahead, uint16_t head, uint32_t written_bytes);

/**
 * Publish `count` filled entries (release order; of a packed ring the first one
 * last, virtio 1.2, 2.8.9). Each has an entry of its own also with
 * VIRTIO_F_IN_ORDER: a chain that is skipped there would count as fully written.
 *
 * @return 0, -EBADMSG, or -EINVAL: more than the ring has; packed: an entry that was not
 *         filled, a head that was not taken, or twice the same. Nothing is published then.
 */
int rp_vring_dev_publish(struct rp_vring_dev *ring, uint16_t count);

/** Fill one entry and publish it. @return as rp_vring_dev_fill() and rp_vring_dev_publish(). */
int rp_vring_dev_push(struct rp_vring_dev *ring, uint16_t head, uint32_t written_bytes);

/**
 * Whether the driver wants an interrupt for what was published since the last
 * call (virtio 1.2, 2.7.7: VIRTQ_AVAIL_F_NO_INTERRUPT or used_event; 2.8.14: driver
 * event suppression). The first decision after init says yes where an event index
 * is used: what a former owner of the ring published may never have been signalled.
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

/**
 * Where the ring stands (rp_vring_position.h). For a drained ring it is where the
 * next owner goes on; while chains are out the halves of a packed one differ.
 */
uint32_t rp_vring_dev_position(const struct rp_vring_dev *ring);

/**
 * The position from which a next owner does again what was taken and not
 * published; right when what was published was in the order of taking.
 */
uint32_t rp_vring_dev_position_used(const struct rp_vring_dev *ring);

/** Which rule the ring broke, in words, for a log line; NULL while it is sound. */
const char *rp_vring_dev_why(const struct rp_vring_dev *ring);

/**
 * Mend a ring that broke because a buffer or an indirect table of the chain that was
 * looked at could not be translated: it may lie where a device gets by other means
 * (rp_vring_copy.h). The ring is as it was before that look; what was filled can be
 * published and the ring handed on.
 *
 * @return whether it was broken for that reason and is sound now.
 */
bool rp_vring_dev_mend(struct rp_vring_dev *ring);

/**
 * Which address was looked for in vain, of a ring with a cache that broke because a
 * translation is not known; before it is mended. A part of the ring itself is named by its
 * first byte: any of its pages may be missing.
 * @return whether that was so.
 */
bool rp_vring_dev_missed(const struct rp_vring_dev *ring, uint64_t *ret_iova, uint32_t *ret_access_mask);

#endif
