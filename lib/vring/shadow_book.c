/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdlib.h>

#include "ring.h"
#include "shadow_book.h"

/* Every descriptor of the ring, and behind each a table of which all is written. */
static size_t
parts_room(uint16_t num, uint64_t features)
{
	return (features & VRING_INDIRECT_DESC_MASK) != 0 ? (size_t)num * (1 + RP_VRING_SEGMENTS_MAX) : num;
}

int
rp_vring_shadow_book_open(struct shadow_book *book, uint16_t num, uint64_t features)
{
	book->chains = malloc(num * sizeof(*book->chains));
	book->parts = malloc(parts_room(num, features) * sizeof(*book->parts));
	book->free_part = BOOK_NO_PART;
	book->fresh_part = 0;
	book->free_chain = BOOK_NO_CHAIN;
	book->fresh_chain = 0;
	book->oldest = BOOK_NO_CHAIN;
	book->newest = BOOK_NO_CHAIN;
	book->out_count = 0;
	return book->chains == NULL || book->parts == NULL ? -ENOMEM : 0;
}

void
rp_vring_shadow_book_close(struct shadow_book *book)
{
	free(book->chains);
	free(book->parts);
}

static uint16_t
take_chain(struct shadow_book *book)
{
	uint16_t index = book->free_chain;

	if (index == BOOK_NO_CHAIN)
		return book->fresh_chain++;
	book->free_chain = book->chains[index].next;
	return index;
}

static void
link_newest(struct shadow_book *book, uint16_t index)
{
	struct shadow_chain *chain = &book->chains[index];

	chain->previous = book->newest;
	chain->next = BOOK_NO_CHAIN;
	if (book->newest == BOOK_NO_CHAIN)
		book->oldest = index;
	else
		book->chains[book->newest].next = index;
	book->newest = index;
	book->out_count++;
}

static void
unlink_chain(struct shadow_book *book, const struct shadow_chain *chain)
{
	if (chain->previous == BOOK_NO_CHAIN)
		book->oldest = chain->next;
	else
		book->chains[chain->previous].next = chain->next;
	if (chain->next == BOOK_NO_CHAIN)
		book->newest = chain->previous;
	else
		book->chains[chain->next].previous = chain->previous;
	book->out_count--;
}

static void
add_part(struct shadow_book *book, struct shadow_chain *chain, uint64_t iova, uint64_t size_bytes)
{
	uint32_t index = book->free_part;

	if (index == BOOK_NO_PART)
		index = book->fresh_part++;
	else
		book->free_part = book->parts[index].next;
	/* No span of a chain is longer than 32 bits say. */
	book->parts[index] = (struct shadow_part){
		.iova = iova,
		.size_bytes = (uint32_t)size_bytes,
		.next = BOOK_NO_PART,
	};
	if (chain->first_part == BOOK_NO_PART)
		chain->first_part = index;
	else
		book->parts[chain->last_part].next = index;
	chain->last_part = index;
}

struct shadow_chain *
rp_vring_shadow_book_add(struct shadow_book *book, const struct shadow_taken *taken, const struct rp_vring_chain *from)
{
	uint16_t index = take_chain(book), all_count = (uint16_t)(from->out_count + from->in_count);
	uint16_t ring_count = (uint16_t)(taken->out_count + taken->in_count);
	struct shadow_chain *chain = &book->chains[index];
	uint16_t i;

	*chain = (struct shadow_chain){
		.taken_at = taken->at,
		.first_part = BOOK_NO_PART,
		.last_part = BOOK_NO_PART,
		.in_bytes = from->in_bytes,
		.head = from->head,
		.out_count = taken->out_count,
		.in_count = taken->in_count,
		.table_in_count = (uint16_t)(from->in_count - taken->in_count),
		.table = taken->table.size_bytes != 0,
	};
	for (i = 0; i < ring_count; i++)
		add_part(book, chain, from->spans[i].iova, from->spans[i].size_bytes);
	if (chain->table)
		add_part(book, chain, taken->table.iova, taken->table.size_bytes);
	for (i = (uint16_t)(all_count - chain->table_in_count); i < all_count; i++)
		add_part(book, chain, from->spans[i].iova, from->spans[i].size_bytes);
	for (i = ring_count; taken->all && i < all_count - chain->table_in_count; i++)
		add_part(book, chain, from->spans[i].iova, from->spans[i].size_bytes);
	link_newest(book, index);
	return chain;
}

void
rp_vring_shadow_book_remove(struct shadow_book *book, struct shadow_chain *chain)
{
	unlink_chain(book, chain);
	book->parts[chain->last_part].next = book->free_part;
	book->free_part = chain->first_part;
	chain->next = book->free_chain;
	book->free_chain = (uint16_t)(chain - book->chains);
}

bool
rp_vring_shadow_book_uses(const struct shadow_book *book, uint64_t iova, uint64_t size_bytes)
{
	const struct shadow_chain *chain;
	uint32_t at;

	for (chain = shadow_book_oldest(book); chain != NULL; chain = shadow_book_next(book, chain))
		for (at = chain->first_part; at != BOOK_NO_PART; at = book->parts[at].next)
			if (book->parts[at].iova - iova < size_bytes ||
			    iova - book->parts[at].iova < book->parts[at].size_bytes)
				return true;
	return false;
}

uint16_t
rp_vring_shadow_book_parts(const struct shadow_book *book, const struct shadow_chain *chain,
			   struct rp_vring_part *ret_parts)
{
	uint32_t at = chain->first_part;
	uint16_t count = shadow_desc_count(chain), writable_from = chain->out_count, i;

	for (i = 0; i < count; i++) {
		const struct shadow_part *part = &book->parts[at];

		ret_parts[i] = (struct rp_vring_part){
			.iova = part->iova,
			.size_bytes = part->size_bytes,
			.device_writes = i >= writable_from && i < writable_from + chain->in_count,
		};
		at = part->next;
	}
	return count;
}
