/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VHU_INFLIGHT_H
#define VHU_INFLIGHT_H

/*
 * Inside of the in-flight region:
 *
 *   inflight.c         the file and its mapping
 *   inflight_split.c   the notes of a split ring
 *   inflight_packed.c  the notes of a packed ring
 *
 * The structures are those of the specification, which are in memory what a C compiler
 * makes of them: shared memory, so they are pointed into.
 */

#include <assert.h>
#include <stddef.h>

#include "rp_vhu_inflight.h"

#define VHU_INFLIGHT_VERSION 1u /* 0: nothing there yet */

/* The same in both kinds. */
struct vhu_inflight_head {
	uint64_t features; /* 0 */
	uint16_t version;
	uint16_t desc_num;
};

struct vhu_inflight_split_entry {
	uint8_t inflight;
	uint8_t padding[5];
	uint16_t next; /* of the batch */
	uint64_t counter; /* the order of taking */
};
static_assert(sizeof(struct vhu_inflight_split_entry) == 16, "DescStateSplit");

struct vhu_inflight_split_region {
	uint64_t features;
	uint16_t version;
	uint16_t desc_num;
	uint16_t last_batch_head;
	uint16_t used_idx;
	struct vhu_inflight_split_entry entries[];
};
static_assert(sizeof(struct vhu_inflight_split_region) == 16, "QueueRegionSplit");

struct vhu_inflight_packed_entry {
	uint8_t inflight;
	uint8_t padding;
	uint16_t next; /* of the buffer, or of the free list; desc_num: none */
	uint16_t last; /* of a buffer's first: its last */
	uint16_t num; /* of a buffer's first: how many */
	uint64_t counter;
	uint16_t id;
	uint16_t flags;
	uint32_t len_bytes;
	uint64_t addr;
};
static_assert(sizeof(struct vhu_inflight_packed_entry) == 32, "DescStatePacked");

/*
 * Where the ring is. One word, so that it changes in one store: a backend that dies
 * between an index and its wrap counter would leave a place that never was.
 */
struct vhu_inflight_place {
	uint16_t used_idx;
	uint16_t old_used_idx;
	uint8_t used_wrap_counter;
	uint8_t old_used_wrap_counter;
	uint8_t padding[2];
};
static_assert(sizeof(struct vhu_inflight_place) == sizeof(uint64_t), "one word");

struct vhu_inflight_packed_region {
	uint64_t features;
	uint16_t version;
	uint16_t desc_num;
	uint16_t free_head;
	uint16_t old_free_head;
	uint64_t place; /* struct vhu_inflight_place */
	uint8_t padding[8];
	struct vhu_inflight_packed_entry entries[];
};
static_assert(sizeof(struct vhu_inflight_packed_region) == 32, "QueueRegionPacked");
static_assert(offsetof(struct vhu_inflight_packed_region, place) == 16, "used_idx");

/* A process that dies between two of these has done the first: each is behind all before it. */
#define VHU_INFLIGHT_STORE(field, value) __atomic_store_n(&(field), (value), __ATOMIC_RELEASE)

/* To sort by. */
struct vhu_inflight_order {
	uint64_t counter;
	uint16_t entry;
};

/* inflight.c */

/* A queue's part of the region. @return NULL: no such queue, or the other kind. */
void *vhu_inflight_queue(struct rp_vhu_inflight *inflight, unsigned int queue, bool packed);
/* By counter, then by entry. */
void vhu_inflight_sort(struct vhu_inflight_order *order, unsigned int count);
/* What every queue's notes begin with. @return 0 or -EBADMSG. */
int vhu_inflight_check_head(const struct vhu_inflight_head *head, uint16_t queue_num, struct rp_wire_why *why);

#endif
