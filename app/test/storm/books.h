/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef BOOKS_H
#define BOOKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Every frame has a flow, a number in it, and a plane that it goes through. Here stands
 * what became of each. One thread.
 */

#define BOOKS_PAIRS_MAX 4u
#define BOOKS_LEGS 2u
#define BOOKS_FRAME_MAX 1514u
#define BOOKS_FRAME_MIN 60u

/* Of each queue pair. */
enum books_flow {
	BOOKS_ASK, /* guest to peer */
	BOOKS_ANSWER, /* peer to guest: one for each ask, by the plane through which it came */
	BOOKS_NEWS, /* peer to guest, unasked */
	BOOKS_FLOWS,
};

struct books_page {
	uint8_t *entries; /* leg of the sender, and whether it arrived */
	size_t room;
	uint32_t sent;
	uint32_t received;
	uint32_t next; /* one beyond the highest that arrived */
	uint32_t next_of_leg[BOOKS_LEGS];
	uint32_t duplicated;
	uint32_t reordered; /* came behind a later one that went the same way */
	uint32_t overtaken; /* came behind a later one that went the other way */
	uint32_t redone; /* what came twice may have been */
	uint32_t sent_by[BOOKS_LEGS];
	uint32_t received_by[BOOKS_LEGS];
};

struct books {
	struct books_page pages[BOOKS_PAIRS_MAX][BOOKS_FLOWS];
	uint64_t corrupted; /* not what was sent, or never sent */
	uint64_t strayed; /* arrived at the wrong queue pair */
	uint64_t hellos;
};

/* Write the next frame of a flow; its size depends on its number. @param to, from last bytes of station addresses. */
uint32_t books_make(struct books *books, unsigned int pair, enum books_flow flow, uint32_t sequence, uint8_t *frame);
/* A frame that is only there to be learned from. @param toward_guest which of the two stations of the pair sends it. */
uint32_t books_hello(unsigned int pair, bool from_guest, uint8_t *frame);
/* It was put into a ring of that leg; the number is the flow's next, or one that was sent before. */
void books_sent(struct books *books, unsigned int pair, enum books_flow flow, uint32_t sequence, unsigned int leg);
/*
 * One arrived. @return its flow, or -1 (a hello, or none of ours).
 * @param leg through which it came; the leg of asks is known only now.
 */
int books_arrived(struct books *books, unsigned int pair, unsigned int leg, bool at_guest, const uint8_t *frame,
		  uint32_t size_bytes, uint32_t *ret_sequence);
/* Sent that way and not there. */
uint32_t books_missing(const struct books *books, unsigned int pair, enum books_flow flow, unsigned int leg);
/* How many times in a row of its numbers some are missing: frames that were lost together count as one. */
uint32_t books_gaps(const struct books *books, unsigned int pair, enum books_flow flow);
void books_close(struct books *books);

#endif
