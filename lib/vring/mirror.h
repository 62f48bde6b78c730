/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef RP_VRING_MIRROR_PRIVATE_H
#define RP_VRING_MIRROR_PRIVATE_H

#include "rp_vring_mirror.h"

/**
 * @file
 * The two formats of a mirror behind rp_vring_mirror.h.
 *
 * Threads: the mirror's.
 */

#define MIRROR_DESC 0u
#define MIRROR_DRIVER 1u /* split: available ring; packed: driver event suppression */
#define MIRROR_DEVICE 2u /* split: used ring; packed: device event suppression */

/** Of a packed ring: descriptors that one look asks for, most often all there are. */
#define MIRROR_WINDOW 32u

/** How far a flush got. Left for the next one only when its step succeeded. */
enum mirror_step {
	MIRROR_ENTRIES, /* payload and used entries; nothing is visible to the driver; more may be given */
	MIRROR_INDEX, /* what shows them; may have arrived though it failed */
	MIRROR_WISH, /* what interrupts the driver wants */
};

/** Segments that grow. */
struct mirror_list {
	struct rp_dma_segment *segments;
	unsigned int count;
	unsigned int room;
};

struct rp_vring_mirror {
	struct rp_vring_dev ring;
	const struct rp_vring_mirror_ops *ops;
	void *ctx;
	uint8_t *memory; /* of the parts */
	uint8_t *parts[RP_VRING_PARTS_COUNT];
	uint64_t iovas[RP_VRING_PARTS_COUNT];
	struct mirror_list list; /* of a flush: payload, and while it runs the used entries */

	enum mirror_step step;
	uint16_t given_count; /* by no flush brought to its end */
	uint32_t given_from; /* position before the first of them */
	bool shown; /* packed: the first flags were sent, and may have arrived */

	bool asked; /* the wish for kicks is what `asked_value` says */
	uint32_t asked_value;

	bool hinted; /* the next look's first step was done by a flush */
	uint16_t index; /* split: the driver's, as read */
	uint8_t *window; /* packed: descriptors as read, from accept_at on; room for the ring */
	uint16_t accept_at; /* packed: the first descriptor that is not in the copy yet */
	bool accept_wrap;
	uint16_t accepted_count; /* packed: descriptors in the copy and not used */
};

/** Append a segment, of nothing too. @return 0 or -ENOMEM. */
int rp_vring_mirror_add(struct rp_vring_mirror *mirror, uint64_t iova, void *bytes, uint64_t size_bytes);

/** Bytes of a part and of its copy. */
static inline struct rp_dma_segment
mirror_segment(const struct rp_vring_mirror *mirror, unsigned int part, uint64_t at, uint64_t size_bytes)
{
	return (struct rp_dma_segment){
		.iova = mirror->iovas[part] + at,
		.size_bytes = size_bytes,
		.bytes = mirror->parts[part] + at,
	};
}

/** Append such bytes to the list. @return 0 or -ENOMEM. */
static inline int
mirror_add_part(struct rp_vring_mirror *mirror, unsigned int part, uint64_t at, uint64_t size_bytes)
{
	return rp_vring_mirror_add(mirror, mirror->iovas[part] + at, mirror->parts[part] + at, size_bytes);
}

/* For each format: bring the copy up to date. @return 0 or an error. */
int rp_vring_mirror_split_look(struct rp_vring_mirror *mirror);
int rp_vring_mirror_packed_look(struct rp_vring_mirror *mirror);
/* Append the used entries that were given. @return 0 or -ENOMEM. */
int rp_vring_mirror_split_entries(struct rp_vring_mirror *mirror);
int rp_vring_mirror_packed_entries(struct rp_vring_mirror *mirror);
/* Show them. @return 0 or an error. */
int rp_vring_mirror_split_show(struct rp_vring_mirror *mirror);
int rp_vring_mirror_packed_show(struct rp_vring_mirror *mirror);
/* Read what interrupts are wanted, and begin the next look. @return 0 or an error. */
int rp_vring_mirror_split_wish(struct rp_vring_mirror *mirror);
int rp_vring_mirror_packed_wish(struct rp_vring_mirror *mirror);
/* The part of the device's area that says whether kicks are wanted. */
struct rp_dma_segment rp_vring_mirror_split_notify(const struct rp_vring_mirror *mirror);
struct rp_dma_segment rp_vring_mirror_packed_notify(const struct rp_vring_mirror *mirror);

#endif
