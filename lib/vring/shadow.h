/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef RP_VRING_SHADOW_PRIVATE_H
#define RP_VRING_SHADOW_PRIVATE_H

#include "chain.h"
#include "drv.h"
#include "rp_vring_shadow.h"
#include "shadow_book.h"

/**
 * @file
 * A shadow behind rp_vring_shadow.h, what it reports as written, and how each format
 * puts chains back.
 *
 * Threads: the shadow's.
 */

#define SHADOW_UNIT_PARTS 16u
#define SHADOW_UNITS_MORE (RP_VRING_SEGMENTS_MAX / SHADOW_UNIT_PARTS) /* of one chain at most */

/** Of a guest whose addresses are translated: where tables for the device lie, in units of some parts each. */
struct shadow_reach {
	struct rp_vring_shadow_translation with;
	struct vring_reach tables; /* the guest's, for who follows them */
	bool ahead;
	uint32_t units_count;
	uint32_t next_unit; /* where to begin looking */
	uint8_t units[]; /* whether each is taken */
};

struct rp_vring_shadow {
	struct rp_vring_dev guest; /* its chains are spans */
	struct rp_vring_drv *device; /* the private ring; cookies are chains of the book */
	struct rp_vring_note *notes; /* of the guest's ring, or NULL */
	struct shadow_book book; /* what the device has */
	rp_vring_shadow_written written;
	void *ctx;

	bool drained; /* only the counters are left */
	const char *device_why; /* NULL: the device is sound */
	bool notify_wanted;
	bool notify_asked; /* of an event index: for the entry at notify_place */
	uint16_t notify_place;

	/*
	 * How many entries (split) or descriptors (packed) were taken. Places in the ring come
	 * again with the next lap, or the one after it, while a chain may be out for longer.
	 */
	uint64_t taken_size;
	uint64_t forwarded_count;
	uint64_t returned_count;
	uint64_t lost_count;

	struct shadow_reach *reach; /* NULL: the guest's addresses are the device's */
	uint32_t desc_out_count; /* of the guest's ring, with a reach */
	bool stalled;
	uint64_t refused_count;

	struct rp_vring_chain chain; /* only within a call */
	struct rp_vring_part parts[RP_VRING_SEGMENTS_MAX + 1]; /* likewise */
};

/** Where the guest's ring is to be taken from next: split: the index; packed: descriptor and wrap counter. */
uint16_t rp_vring_shadow_place(const struct rp_vring_shadow *shadow);

/**
 * Return what the device used, and no more.
 * @return how many, -EBADMSG or -EPROTO.
 */
int rp_vring_shadow_collect(struct rp_vring_shadow *shadow);

/** Make a chain of the book available to the device. */
void rp_vring_shadow_hand_over(struct rp_vring_shadow *shadow, struct shadow_chain *chain);

/* shadow_reach.c */
/** Take over how to translate. @return 0, -EINVAL or -ENOMEM. */
int rp_vring_shadow_reach_open(struct rp_vring_shadow *shadow, const struct rp_vring_shadow_translation *with,
			       uint16_t num, struct rp_wire_why *why);
/**
 * Translate shadow->chain into shadow->parts.
 * @return how many parts; -EAGAIN (all that is not known was asked for), -EFAULT (the guest
 *         may not, or they are too many).
 */
int rp_vring_shadow_reach_parts(struct rp_vring_shadow *shadow);
/** Whether the device has room for so many parts of one chain. */
bool rp_vring_shadow_reach_room(struct rp_vring_shadow *shadow, uint16_t parts_count, struct shadow_chain *ret_units);
/** Make shadow->parts available to the device, as a chain of the book, with the units found before. */
void rp_vring_shadow_reach_put(struct rp_vring_shadow *shadow, struct shadow_chain *chain, uint16_t parts_count);
/** The chain came back. */
void rp_vring_shadow_reach_release(struct rp_vring_shadow *shadow, const struct shadow_chain *chain);

/** Report bytes of the guest's memory that were written, if someone wants to know. */
static inline void
shadow_report(const struct rp_vring_shadow *shadow, uint64_t iova, uint64_t size_bytes)
{
	if (shadow->written != NULL && size_bytes > 0)
		shadow->written(shadow->ctx, iova, size_bytes);
}

/** The first `written_bytes` of what the device may write of a chain. */
void rp_vring_shadow_report_payload(const struct rp_vring_shadow *shadow, const struct shadow_chain *chain,
				    uint32_t written_bytes);

/** What was published. `from` is where the guest's ring stood before. */
struct shadow_published {
	uint16_t from; /* split: index; packed: descriptor, without its wrap counter */
	uint16_t count; /* chains, at least 1 */
	uint16_t to_last; /* packed: descriptors from the first used one to the last one's */
};

/** Used entries, and what shows them. */
void rp_vring_shadow_report_used(const struct rp_vring_shadow *shadow, const struct shadow_published *published);

/** The wish for kicks. */
void rp_vring_shadow_report_wish(const struct rp_vring_shadow *shadow);

/**
 * For each format: put what is out back into the guest's ring, which is whole and
 * translated, at its used position and in the order of taking.
 *
 * @return 0 or -EBADMSG (ring broken).
 */
int rp_vring_shadow_split_rewind(struct rp_vring_shadow *shadow);
int rp_vring_shadow_packed_rewind(struct rp_vring_shadow *shadow);

#endif
