/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef MOVES_BOOK_H
#define MOVES_BOOK_H

#include <stdbool.h>
#include <stdint.h>

/*
 * Who used entries of a ring, and when. Of one ring; whoever looks at it does so after each of its owners had its
 * turn, so that it is known whose entries the new ones are.
 *
 * Threads: moves_book_look() is of the thread in which the owners have their turns. moves_book_changes() may be called
 * from another one at any time, the others and what is in it while nobody looks.
 */

#define MOVES_OWNERS_MAX 3u
#define MOVES_BLACKOUTS_MAX 512u

struct moves_book {
	bool began;
	uint16_t used_index;
	unsigned int owner;
	uint64_t last_ns; /* when it used something */
	uint64_t gaps_ns, gaps_count; /* between two uses of one owner */
	struct moves_blackout {
		unsigned int from, to;
		uint64_t ns; /* from the last use of the one to the first of the other */
	} blackouts[MOVES_BLACKOUTS_MAX];
	unsigned int blackouts_count; /* atomic */
};

/* @param owner less than MOVES_OWNERS_MAX: the last one that had a turn. @param used_index as it is in the ring now. */
void moves_book_look(struct moves_book *book, uint16_t used_index, unsigned int owner, uint64_t now_ns);

/* How often the owner changed since moves_book_forget(). */
unsigned int moves_book_changes(const struct moves_book *book);
/* Blackouts and gaps so far are not wanted; who owns the ring is kept. */
void moves_book_forget(struct moves_book *book);
/* Mean time between two uses without a change of owner; 0: there were none. */
double moves_book_gap_ns(const struct moves_book *book);

#endif
