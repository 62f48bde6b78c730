/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef RP_VRING_SHADOW_BOOK_H
#define RP_VRING_SHADOW_BOOK_H

#include <stdbool.h>
#include <stdint.h>

#include "rp_vring_dev.h"
#include "rp_vring_drv.h"

/**
 * @file
 * What a shadow remembers of the chains that the device has: their descriptors, to
 * forward them again or put them back, and which bytes the device may write. All of it
 * as it was when it was checked; neither side can reach it.
 *
 * Theory of operation: a table of chains, a list through those that are out in the order
 * of taking, and one pool of parts from which each chain has a list. A part that was
 * never needed was never touched, so a pool that is large enough for the worst guest costs
 * what the real one uses.
 *
 * Threads: the shadow's.
 */

#define BOOK_NO_CHAIN UINT16_MAX
#define BOOK_NO_PART UINT32_MAX

struct shadow_part {
	uint64_t iova;
	uint32_t size_bytes;
	uint32_t next; /* of the same chain, or in the list of free ones */
};

/**
 * One chain. Its parts are its descriptors in the guest's ring, in their order, then those
 * of its indirect table that the device may write, and, where all is asked for, those that
 * it reads.
 */
struct shadow_chain {
	uint64_t taken_at; /* how far the ring had been taken, see rp_vring_shadow.taken_size */
	uint32_t first_part;
	uint32_t last_part;
	uint32_t in_bytes; /* that the device may write */
	uint16_t previous; /* in the order of taking; of a free one only next means something */
	uint16_t next;
	uint16_t head; /* the guest's first descriptor, or buffer id */
	uint16_t out_count; /* descriptors in the ring that the device reads */
	uint16_t in_count; /* that it writes */
	uint16_t table_in_count; /* of the table's that it writes */
	uint32_t units_at; /* of a guest whose addresses are translated: its table in our memory */
	uint16_t units_count; /* 0: it has none */
	bool table; /* one more descriptor refers to a table */
};

struct shadow_book {
	struct shadow_chain *chains;
	struct shadow_part *parts;
	uint32_t free_part;
	uint32_t fresh_part; /* it and those behind it were never taken */
	uint16_t free_chain;
	uint16_t fresh_chain;
	uint16_t oldest;
	uint16_t newest;
	uint16_t out_count;
};

/** What is known of a chain before its table is followed. */
struct shadow_taken {
	uint64_t at;
	uint16_t out_count; /* descriptors in the ring, but for the one of a table */
	uint16_t in_count;
	struct rp_vring_span table; /* empty: none */
	bool all; /* note also what the device only reads of a table */
};

/** Make an empty book for a ring. @return 0 or -ENOMEM. */
int rp_vring_shadow_book_open(struct shadow_book *book, uint16_t num, uint64_t features);

/** Free it; one that was never opened, all zeroes, too. */
void rp_vring_shadow_book_close(struct shadow_book *book);

/** Write a chain down as the newest one. There is room: it has no more descriptors than the ring has left. */
struct shadow_chain *rp_vring_shadow_book_add(struct shadow_book *book, const struct shadow_taken *taken,
					      const struct rp_vring_chain *chain);

/** Strike it out. */
void rp_vring_shadow_book_remove(struct shadow_book *book, struct shadow_chain *chain);

/** Whether a chain that is out has bytes of its own in [iova, iova + size_bytes); of chains that were noted whole. */
bool rp_vring_shadow_book_uses(const struct shadow_book *book, uint64_t iova, uint64_t size_bytes);

/** Its descriptors in the ring. @param ret_parts room for RP_VRING_SEGMENTS_MAX + 1. @return how many. */
uint16_t rp_vring_shadow_book_parts(const struct shadow_book *book, const struct shadow_chain *chain,
				    struct rp_vring_part *ret_parts);

static inline uint16_t
shadow_desc_count(const struct shadow_chain *chain)
{
	return (uint16_t)(chain->out_count + chain->in_count + chain->table);
}

static inline struct shadow_chain *
shadow_book_at(const struct shadow_book *book, uint16_t index)
{
	return index == BOOK_NO_CHAIN ? NULL : &book->chains[index];
}

/** In the order of taking; NULL: no more. */
static inline struct shadow_chain *
shadow_book_oldest(const struct shadow_book *book)
{
	return shadow_book_at(book, book->oldest);
}

static inline struct shadow_chain *
shadow_book_next(const struct shadow_book *book, const struct shadow_chain *chain)
{
	return shadow_book_at(book, chain->next);
}

#endif
