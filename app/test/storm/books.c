/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdlib.h>
#include <string.h>

#include "books.h"

#define ETHERTYPE 0x88b5u /* IEEE 802: for experiments */
#define MAGIC 0x53544f52u
#define HELLO 0x48454c4fu
#define ARRIVED 0x80u
#define UNSENT 0xffu

struct header {
	uint8_t destination[6];
	uint8_t source[6];
	uint8_t ethertype[2];
	uint8_t padding[2];
	uint32_t magic;
	uint16_t pair;
	uint16_t flow;
	uint32_t sequence;
};

static void
make_header(struct header *header, unsigned int pair, bool from_guest, uint32_t magic)
{
	memset(header, 0, sizeof(*header));
	memcpy(header->destination, (const uint8_t[]){0x52, 0x54, 0, 0, from_guest ? 2 : 1, (uint8_t)pair}, 6);
	memcpy(header->source, (const uint8_t[]){0x52, 0x54, 0, 0, from_guest ? 1 : 2, (uint8_t)pair}, 6);
	header->ethertype[0] = ETHERTYPE >> 8;
	header->ethertype[1] = ETHERTYPE & 0xff;
	header->magic = magic;
	header->pair = (uint16_t)pair;
}

static uint32_t
frame_bytes(enum books_flow flow, uint32_t sequence)
{
	return BOOKS_FRAME_MIN + (sequence * 389u + flow * 97u) % (BOOKS_FRAME_MAX - BOOKS_FRAME_MIN + 1);
}

static uint8_t
filler(unsigned int pair, enum books_flow flow, uint32_t sequence)
{
	return (uint8_t)(sequence * 31u + flow * 7u + pair * 3u);
}

uint32_t
books_make(struct books *books, unsigned int pair, enum books_flow flow, uint32_t sequence, uint8_t *frame)
{
	uint32_t size_bytes = frame_bytes(flow, sequence);
	struct header header;

	(void)books;
	make_header(&header, pair, flow == BOOKS_ASK, MAGIC);
	header.flow = (uint16_t)flow;
	header.sequence = sequence;
	memcpy(frame, &header, sizeof(header));
	memset(frame + sizeof(header), filler(pair, flow, sequence), size_bytes - sizeof(header));
	return size_bytes;
}

uint32_t
books_hello(unsigned int pair, bool from_guest, uint8_t *frame)
{
	struct header header;

	make_header(&header, pair, from_guest, HELLO);
	memset(frame, 0, BOOKS_FRAME_MIN);
	memcpy(frame, &header, sizeof(header));
	return BOOKS_FRAME_MIN;
}

void
books_sent(struct books *books, unsigned int pair, enum books_flow flow, uint32_t sequence, unsigned int leg)
{
	struct books_page *page = &books->pages[pair][flow];

	if (sequence >= page->room) {
		size_t room = page->room == 0 ? 65536 : page->room * 2;
		uint8_t *entries = realloc(page->entries, room);

		if (entries == NULL)
			abort();
		memset(entries + page->room, UNSENT, room - page->room);
		page->entries = entries;
		page->room = room;
	}
	if (sequence == page->sent)
		page->sent++;
	page->entries[sequence] = (uint8_t)leg;
	page->sent_by[leg]++;
}

static bool
is_filled(const uint8_t *bytes, uint32_t size_bytes, uint8_t wanted)
{
	/* All bytes are the first one: each equals its neighbour. */
	return size_bytes == 0 || (bytes[0] == wanted && memcmp(bytes, bytes + 1, size_bytes - 1) == 0);
}

static bool
is_sound(const struct books *books, const struct header *header, const uint8_t *frame, uint32_t size_bytes)
{
	return header->magic == MAGIC && header->flow < BOOKS_FLOWS && header->pair < BOOKS_PAIRS_MAX &&
	       header->sequence < books->pages[header->pair][header->flow].sent &&
	       size_bytes == frame_bytes(header->flow, header->sequence) &&
	       is_filled(frame + sizeof(*header), size_bytes - (uint32_t)sizeof(*header),
			 filler(header->pair, header->flow, header->sequence));
}

static void
account(struct books_page *page, uint32_t sequence, unsigned int leg)
{
	uint8_t *entry = &page->entries[sequence];

	if ((*entry & ARRIVED) != 0) {
		page->duplicated++;
		return;
	}
	*entry = (uint8_t)(ARRIVED | leg);
	page->received++;
	page->received_by[leg]++;
	if (sequence < page->next_of_leg[leg])
		page->reordered++;
	else if (sequence < page->next)
		page->overtaken++;
	if (sequence >= page->next_of_leg[leg])
		page->next_of_leg[leg] = sequence + 1;
	if (sequence >= page->next)
		page->next = sequence + 1;
}

int
books_arrived(struct books *books, unsigned int pair, unsigned int leg, bool at_guest, const uint8_t *frame,
	      uint32_t size_bytes, uint32_t *ret_sequence)
{
	struct header header;

	if (size_bytes < BOOKS_FRAME_MIN || size_bytes > BOOKS_FRAME_MAX) {
		books->corrupted++;
		return -1;
	}
	memcpy(&header, frame, sizeof(header));
	if (header.magic == HELLO) {
		books->hellos++;
		return -1;
	}
	if (!is_sound(books, &header, frame, size_bytes)) {
		books->corrupted++;
		return -1;
	}
	if (header.pair != pair || (header.flow != BOOKS_ASK) != at_guest) {
		books->strayed++;
		return -1;
	}
	*ret_sequence = header.sequence;
	/* At the guest one ring receives from both planes: the sender knows which it was. */
	if (at_guest)
		leg = books->pages[pair][header.flow].entries[header.sequence] & 1u;
	account(&books->pages[pair][header.flow], header.sequence, leg);
	return header.flow;
}

uint32_t
books_missing(const struct books *books, unsigned int pair, enum books_flow flow, unsigned int leg)
{
	const struct books_page *page = &books->pages[pair][flow];
	uint32_t i, missing = 0;

	for (i = 0; i < page->sent; i++)
		missing += page->entries[i] == leg;
	return missing;
}

uint32_t
books_gaps(const struct books *books, unsigned int pair, enum books_flow flow)
{
	const struct books_page *page = &books->pages[pair][flow];
	bool arrived = true;
	uint32_t i, gaps = 0;

	for (i = 0; i < page->sent; i++) {
		bool before = arrived;

		arrived = (page->entries[i] & ARRIVED) != 0;
		gaps += before && !arrived;
	}
	return gaps;
}

void
books_close(struct books *books)
{
	unsigned int pair, flow;

	for (pair = 0; pair < BOOKS_PAIRS_MAX; pair++)
		for (flow = 0; flow < BOOKS_FLOWS; flow++)
			free(books->pages[pair][flow].entries);
	memset(books, 0, sizeof(*books));
}
