/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SA_DOORBELL_H
#define SA_DOORBELL_H

#include <endian.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "rp_dma_vote.h"
#include "softaccel.h"

/**
 * @file
 * The doorbells of one function: words in a memfd that a guest may have mapped.
 *
 * Theory of operation: a doorbell rests at a sentinel. A guest's store of its
 * 16-bit queue index (virtio 1.2, 4.1.5.2) changes at least two bytes of it,
 * whatever the index is. Observing loads the word first, because an exchange on
 * a line that nobody wrote would still take it from every other reader.
 * A doorbell belongs to a queue by its address; the value stored is not looked at.
 *
 * Each doorbell that a guest may have mapped begins a page, so that many of them are dear to look at
 * (sa_doorbells_find()). A function with more queues than SA_DOORBELL_PAGES_MAX has one for several
 * queues in a row. Then the value names the queue that is most likely meant (sa_bell.h).
 *
 * The memfd is sealed: its size cannot change under somebody who mapped it, and
 * it holds the doorbells of this function only.
 *
 * It is made before any guest is known, so it moves to the NUMA node where most of the guest's rings are when these
 * start (rp_dma_vote.h), as long as nobody else has touched it: the kernel moves no page that another process has too.
 *
 * Threads: observe: the data path; the rest: the control side.
 */

#define SA_DOORBELL_SENTINEL 0xffffffffu
#define SA_DOORBELL_PAGE_BYTES 4096u
#define SA_DOORBELL_SHARED_MULTIPLIER 4u
/** As many words that begin a page as every first cache holds of one set. */
#define SA_DOORBELL_PAGES_MAX 8u

struct sa_doorbells {
	int fd; /* the memfd; -1 when it is not handed out */
	uint8_t *memory;
	size_t size_bytes; /* of the BAR: a power of two */
	uint32_t multiplier_bytes; /* notify_off_multiplier */
	unsigned int count; /* of queues */
	unsigned int sharing; /* so many queues in a row have the same one */
	struct rp_dma_vote vote; /* of the rings that run */
	int *kick_fds; /* an eventfd for each queue; who has it may make a write to it wait: it is only read */
	int *said_fds; /* another, for the kicks that are written here; nobody else has it */
};

/** How many queues in a row have one doorbell, in a function of so many. @return a power of two. */
unsigned int sa_doorbells_sharing(enum softaccel_doorbell mode, unsigned int queues_count);

/** @return 0 or a negative errno; on failure nothing is held. */
int sa_doorbells_init(struct sa_doorbells *doorbells, enum softaccel_doorbell mode, unsigned int queues_count);
void sa_doorbells_fini(struct sa_doorbells *doorbells);

/** Forget every kick that was not served yet. */
void sa_doorbells_clear(struct sa_doorbells *doorbells);

/**
 * A ring of the function starts or stops.
 * @param node of its memory; RP_DMA_NODE_ANY: nobody knows, or there is one. @param by 1 or -1.
 */
void sa_doorbells_vote(struct sa_doorbells *doorbells, int node, int by);

/** The queue whose doorbell a message wrote to, the first of those that share it, or -1. */
int sa_doorbells_queue_at(const struct sa_doorbells *doorbells, uint64_t offset_bytes);

/**
 * A message wrote there: kick the queue that it is for. That one's doorbell is at most a few queues';
 * with a number of none of them each may be meant.
 */
void sa_doorbells_wrote(const struct sa_doorbells *doorbells, uint64_t offset_bytes, uint16_t value);

static inline uint32_t *
sa_doorbell_word(const struct sa_doorbells *doorbells, unsigned int queue)
{
	return (uint32_t *)(void *)(doorbells->memory +
				    (size_t)(queue / doorbells->sharing) * doorbells->multiplier_bytes);
}

/** What was stored there last, since the last call; SA_DOORBELL_SENTINEL: nothing. As sa_doorbell_observe(). */
static inline uint32_t
sa_doorbell_take(uint32_t *word)
{
	if (__atomic_load_n(word, __ATOMIC_RELAXED) == SA_DOORBELL_SENTINEL)
		return SA_DOORBELL_SENTINEL;
	return __atomic_exchange_n(word, SA_DOORBELL_SENTINEL, __ATOMIC_SEQ_CST);
}

/** Whether it was rung since the last call. What the guest wrote before ringing is visible after. */
static inline bool
sa_doorbell_observe(uint32_t *word)
{
	return sa_doorbell_take(word) != SA_DOORBELL_SENTINEL;
}

/** The queue index in what was stored: its first two bytes (virtio 1.2, 4.1.5.2). A guest's to choose. */
static inline uint16_t
sa_doorbell_named(uint32_t taken)
{
	uint16_t index;

	memcpy(&index, &taken, sizeof(index));
	return le16toh(index);
}

/** So many are looked at before anybody asks what was seen. */
#define SA_DOORBELL_GROUP 16u

/**
 * Look at many.
 *
 * Doorbells that have a page each are at the same place in their pages, so in one set of the first cache,
 * and from the ninth on every look is a miss. Misses of one set that are sent out as fast as they can be get
 * in each other's way: on a Zen 4 a look then takes 2.5 ns, and 1.5 ns when four cycles pass between two.
 * What makes them pass is a little arithmetic that each address waits for.
 *
 * @param from where to begin.
 * @return where the first group begins that holds one that is not at rest; count, or more: there is none.
 */
static inline unsigned int
sa_doorbells_find(uint32_t *const words[], unsigned int from, unsigned int count)
{
	uintptr_t pace = 0;
	unsigned int i, j;

	for (i = from; i < count; i += SA_DOORBELL_GROUP) {
		unsigned int end = count - i < SA_DOORBELL_GROUP ? count : i + SA_DOORBELL_GROUP;
		uint32_t seen = 0;

		for (j = i; j < end; j++) {
			/* Stays 0, which a compiler must not know. */
			__asm__ volatile("" : "+r"(pace));
			pace = pace * 40503 + (pace >> 1);
			seen |= __atomic_load_n(words[j] + pace, __ATOMIC_RELAXED) ^ SA_DOORBELL_SENTINEL;
		}
		if (__builtin_expect(seen != 0, 0))
			break;
	}
	return i;
}

/** Kick a queue, as the control side does it for a message; never waits, whatever a client does to its eventfds. */
void sa_doorbells_say(const struct sa_doorbells *doorbells, unsigned int queue);

/** Take the count out of a kick eventfd; never waits, whatever the file's flags are. @return 0: none. */
uint64_t sa_doorbell_drain(int kick_fd);

#endif
