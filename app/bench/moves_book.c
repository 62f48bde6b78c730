/* SPDX-License-Identifier: BSD-3-Clause */
#include "moves_book.h"

void
moves_book_look(struct moves_book *book, uint16_t used_index, unsigned int owner, uint64_t now_ns)
{
	unsigned int count = __atomic_load_n(&book->blackouts_count, __ATOMIC_RELAXED);

	if (used_index == book->used_index)
		return;
	if (book->began && owner == book->owner) {
		book->gaps_ns += now_ns - book->last_ns;
		book->gaps_count++;
	} else if (book->began && count < MOVES_BLACKOUTS_MAX) {
		book->blackouts[count] = (struct moves_blackout){book->owner, owner, now_ns - book->last_ns};
		__atomic_store_n(&book->blackouts_count, count + 1, __ATOMIC_RELEASE);
	}
	book->began = true;
	book->used_index = used_index;
	book->owner = owner;
	book->last_ns = now_ns;
}

unsigned int
moves_book_changes(const struct moves_book *book)
{
	return __atomic_load_n(&book->blackouts_count, __ATOMIC_ACQUIRE);
}

void
moves_book_forget(struct moves_book *book)
{
	book->gaps_ns = book->gaps_count = 0;
	__atomic_store_n(&book->blackouts_count, 0, __ATOMIC_RELEASE);
}

double
moves_book_gap_ns(const struct moves_book *book)
{
	return book->gaps_count == 0 ? 0 : (double)book->gaps_ns / (double)book->gaps_count;
}
