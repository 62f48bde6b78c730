/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SA_DOORBELL_H
#define SA_DOORBELL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

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
 * The memfd is sealed: its size cannot change under somebody who mapped it, and
 * it holds the doorbells of this function only.
 *
 * Threads: observe: the data path; the rest: the control side.
 */

#define SA_DOORBELL_SENTINEL 0xffffffffu
#define SA_DOORBELL_PAGE_BYTES 4096u
#define SA_DOORBELL_SHARED_MULTIPLIER 4u

struct sa_doorbells {
	int fd; /* the memfd; -1 when it is not handed out */
	uint8_t *memory;
	size_t size_bytes; /* of the BAR: a power of two */
	uint32_t multiplier_bytes; /* notify_off_multiplier */
	unsigned int count;
	int *kick_fds; /* an eventfd for each queue; who has it may make a write to it wait: it is only read */
	int *said_fds; /* another, for the kicks that are written here; nobody else has it */
};

/** @return 0 or a negative errno; on failure nothing is held. */
int sa_doorbells_init(struct sa_doorbells *doorbells, enum softaccel_doorbell mode, unsigned int queues_count);
void sa_doorbells_fini(struct sa_doorbells *doorbells);

/** Forget every kick that was not served yet. */
void sa_doorbells_clear(struct sa_doorbells *doorbells);

/** The queue whose doorbell a message wrote to, or -1. */
int sa_doorbells_queue_at(const struct sa_doorbells *doorbells, uint64_t offset_bytes);

static inline uint32_t *
sa_doorbell_word(const struct sa_doorbells *doorbells, unsigned int queue)
{
	return (uint32_t *)(void *)(doorbells->memory + (size_t)queue * doorbells->multiplier_bytes);
}

/** Whether it was rung since the last call. What the guest wrote before ringing is visible after. */
static inline bool
sa_doorbell_observe(uint32_t *word)
{
	if (__atomic_load_n(word, __ATOMIC_RELAXED) == SA_DOORBELL_SENTINEL)
		return false;
	return __atomic_exchange_n(word, SA_DOORBELL_SENTINEL, __ATOMIC_SEQ_CST) != SA_DOORBELL_SENTINEL;
}

/** Kick a queue, as the control side does it for a message; never waits, whatever a client does to its eventfds. */
void sa_doorbells_say(const struct sa_doorbells *doorbells, unsigned int queue);

/** Take the count out of a kick eventfd; never waits, whatever the file's flags are. @return 0: none. */
uint64_t sa_doorbell_drain(int kick_fd);

#endif
