/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SA_LOCAL_H
#define SA_LOCAL_H

#include <stdbool.h>
#include <stdint.h>

#include <rte_mbuf.h>

#include "rp_dma.h"
#include "rp_vring_drv.h"

/**
 * @file
 * A ring of our own with buffers of our own: what the data path serves in the
 * place of a guest's ring that it cannot reach.
 *
 * A chain of the guest is one slot: a buffer as large as the chain, as far as a
 * frame can use it, in a chain of one descriptor. So the data path sees sizes and
 * directions as the guest made them, and each chain that comes back stands for one
 * chain of the guest, with the same number of bytes written.
 *
 * Threads: make and free: the control side; the rest: the messenger.
 */

/** A header and the largest frame of the switch. */
#define SA_SLOT_BYTES (RTE_MBUF_DEFAULT_BUF_SIZE + 128u)
/** Chains of one queue that are on their way. */
#define SA_SLOTS_MAX 256u
#define SA_SLOT_SPANS 4u

struct sa_slot {
	uint16_t number;
	uint16_t head; /* of the guest's chain */
	uint16_t spans_count;
	uint32_t written_bytes; /* by the data path, once the slot came back */
	uint8_t *bytes;
	struct rp_vring_span *spans; /* of the guest's buffers that we write */
	struct rp_vring_span few[SA_SLOT_SPANS];
};

struct sa_local {
	struct rp_dma_space *space; /* borrowed */
	uint64_t iova;
	size_t size_bytes;
	uint8_t *memory;
	struct rp_vring_drv *ring;
	uint16_t slots_count;
	uint16_t free_count;
	uint16_t free_slots[SA_SLOTS_MAX];
	struct sa_slot slots[SA_SLOTS_MAX];
};

/**
 * Make the ring and its buffers, and map them.
 * @param space of our own, borrowed; with the gate closed.
 * @param chains_count of the guest's ring.
 * @return 0 or a negative errno; on failure nothing is held.
 */
int sa_local_init(struct sa_local *local, struct rp_dma_space *space, uint64_t iova, uint16_t chains_count);
/** With the gate closed. */
void sa_local_fini(struct sa_local *local);

/** @return a free slot, or NULL. */
struct sa_slot *sa_local_take(struct sa_local *local);

/**
 * Remember where the guest wants what will be written.
 * @return 0 or -ENOMEM.
 */
int sa_slot_remember(struct sa_slot *slot, const struct rp_vring_chain *chain);

/** Make a slot available to the data path, as the chain that it stands for. */
void sa_local_post(struct sa_local *local, struct sa_slot *slot, uint32_t bytes, bool device_writes);

/** @return a slot that came back, its written_bytes set, or NULL. */
struct sa_slot *sa_local_collect(struct sa_local *local);

/** The slot is free again. */
void sa_local_free(struct sa_local *local, struct sa_slot *slot);

#endif
