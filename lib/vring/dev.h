/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef RP_VRING_DEV_PRIVATE_H
#define RP_VRING_DEV_PRIVATE_H

#include "rp_vring_dev.h"

/**
 * @file
 * The two formats of the device's side behind rp_vring_dev.h. Their functions are
 * called for a sound ring whose three parts are translated (dev.c sees to that)
 * and return what the public function of that name returns.
 *
 * Threads: the ring's.
 */

/** Mark a ring broken because memory of a chain is not mapped. @return -EBADMSG. */
int rp_vring_dev_out_of_reach(struct rp_vring_dev *ring, const char *why);

/** As rp_dma_reader_translate(), by the ring's cache where it has one; a miss is remembered. */
void *rp_vring_dev_translate(struct rp_vring_dev *ring, uint64_t iova, uint64_t size_bytes, uint32_t access_mask,
			     uint64_t *ret_contiguous_bytes);

/** Mark a ring broken. @return -EBADMSG. */
int rp_vring_dev_break(struct rp_vring_dev *ring, const char *why);

/** Translate a sound ring's parts anew if they may have moved. @return 0 or -EBADMSG (ring broken). */
int rp_vring_dev_check(struct rp_vring_dev *ring);

/**
 * Look at the driver's index. What was announced before is there, also when it says less now:
 * somebody may be about to take it.
 * @return whether it is within the ring.
 */
bool rp_vring_split_look(struct rp_vring_dev *ring);
int rp_vring_split_available(struct rp_vring_dev *ring);
int rp_vring_split_peek(struct rp_vring_dev *ring, uint16_t ahead, struct rp_vring_chain *ret_chain);
void rp_vring_split_advance(struct rp_vring_dev *ring, uint16_t count);
int rp_vring_split_fill(struct rp_vring_dev *ring, uint16_t ahead, uint16_t head, uint32_t written_bytes);
int rp_vring_split_publish(struct rp_vring_dev *ring, uint16_t count);
void rp_vring_split_set_notify(struct rp_vring_dev *ring, bool wanted);

/** Whether the driver's wish, read after a fence, covers the last `published_count` entries. */
bool rp_vring_split_is_wanted(const struct rp_vring_dev *ring, uint32_t published_count, bool first);

/** Follow a chain from its head. @return 0 or -EBADMSG (ring broken). */
int rp_vring_split_walk(struct rp_vring_dev *ring, uint16_t head, struct rp_vring_chain *ret_chain);

struct chain_table;

/** Add the descriptors of an indirect table to a chain. @return 0 or -EBADMSG (ring broken). */
int rp_vring_split_follow(struct rp_vring_dev *ring, const struct chain_table *table, struct rp_vring_chain *chain);
int rp_vring_packed_follow(struct rp_vring_dev *ring, const struct chain_table *table, struct rp_vring_chain *chain);

/** What every init begins with: all but where the ring's parts are. The ring is still refused. */
int rp_vring_dev_prepare(struct rp_vring_dev *ring, const struct rp_vring_layout *layout, uint32_t position,
			 struct rp_wire_why *why);

int rp_vring_packed_available(struct rp_vring_dev *ring);
int rp_vring_packed_peek(struct rp_vring_dev *ring, uint16_t ahead, struct rp_vring_chain *ret_chain);
void rp_vring_packed_advance(struct rp_vring_dev *ring, uint16_t count);
int rp_vring_packed_fill(struct rp_vring_dev *ring, uint16_t ahead, uint16_t id, uint32_t written_bytes);
int rp_vring_packed_publish(struct rp_vring_dev *ring, uint16_t count);
void rp_vring_packed_set_notify(struct rp_vring_dev *ring, bool wanted);
bool rp_vring_packed_is_wanted(const struct rp_vring_dev *ring, uint32_t published_count, bool first);
uint32_t rp_vring_packed_position(const struct rp_vring_dev *ring);

/** Note that chains are out, from a place on. */
void rp_vring_packed_note_taken(struct rp_vring_dev *ring, uint16_t place, uint16_t count);

/** From here on the notes say of each chain whether it is out, and of each entry who fills it: any order is right. */
void rp_vring_packed_shuffle(struct rp_vring_dev *ring);

struct packed_walk {
	struct rp_vring_chain *chain; /* its head is the buffer id */
	uint16_t room; /* descriptors that may be available, at least 1 */
	uint16_t skip; /* that the chain takes */
};

/** Follow the chain that begins at a place. @return 1, 0 (none is available) or -EBADMSG (ring broken). */
int rp_vring_packed_walk(struct rp_vring_dev *ring, uint16_t at, bool wrap, struct packed_walk *walk);

#endif
