/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SA_COURIER_H
#define SA_COURIER_H

#include <stdbool.h>
#include <stdint.h>

#include "rp_vring_mirror.h"
#include "sa_local.h"
#include "sa_ring.h"

/**
 * @file
 * One queue whose ring or buffers the data path cannot reach: carries chains
 * between the guest's ring, by messages, and a local one that the data path serves.
 *
 *      guest's ring  <-- mirror, rp_dma_io -->  courier  <-- local ring -->  data path
 *
 * Theory of operation: a turn brings back what the data path is done with, then
 * takes what the guest made available, a batch at a time. Every access waits for
 * its answer; a turn whose access failed is simply begun again, because the mirror
 * keeps what it had (rp_vring_mirror.h). So a courier survives the client: it is
 * parked, and with the next client goes on where it was.
 *
 * As for a ring that is served directly, the guest's memory is not looked at while
 * the courier is asleep, that is between having asked for a kick and its coming.
 *
 * Threads: init, fini: the control side; turn: the messenger.
 */

/** Chains of one turn, each way. */
#define SA_COURIER_BATCH 32u

/** What a turn needs besides its courier; one for each messenger. */
struct sa_courier_scratch {
	struct rp_vring_chain chains[SA_COURIER_BATCH];
	struct rp_dma_segment segments[SA_COURIER_BATCH * RP_VRING_SEGMENTS_MAX];
};

struct sa_courier {
	struct rp_vring_mirror *mirror;
	struct sa_local local;
	struct sa_ring *ring; /* the data path's; its doorbell is the guest's */
	bool transmits;
	bool awake; /* the guest may have more; atomic for the control side */
	bool draining; /* take nothing more */
	int local_kick_fd; /* we kick the data path */
	int bell_fd; /* it interrupts us, or saw the guest's doorbell */
	int guest_kick_fd; /* borrowed: the guest's kicks that come by eventfd */
	int guest_said_fd; /* borrowed: those that come by message */
	const struct rp_vring_mirror_ops *access; /* borrowed */
	void *access_ctx;
	struct softaccel_queue_counters *counters; /* borrowed; atomic words */
	uint32_t position; /* atomic: where the guest was shown that its ring stands */
	struct sa_slot *flushing[SA_COURIER_BATCH + SA_RING_FRAME_CHAINS]; /* given to the mirror, not flushed */
	uint16_t flushing_count;
};

/** What became of a turn; negative: the error of an access, or -EBADMSG. */
#define SA_COURIER_IDLE 0 /* until something comes */
#define SA_COURIER_MORE 1 /* another turn, please */
#define SA_COURIER_INTERRUPT 2 /* a bit beside: interrupt the guest */

/**
 * @param access how the guest's memory is reached, for the ring and for payloads.
 * @return 0 or what rp_vring_mirror_create() and sa_local_init() say; nothing is held then.
 */
int sa_courier_init(struct sa_courier *courier, const struct rp_vring_layout *layout, uint32_t position,
		    const struct rp_vring_mirror_ops *access, void *access_ctx, struct rp_wire_why *why);
/** With the gate closed. */
void sa_courier_fini(struct sa_courier *courier);

/** Look at the signs that somebody wants something. @return whether the guest kicked. */
bool sa_courier_hear(struct sa_courier *courier);

/**
 * Do a batch.
 * @return SA_COURIER_IDLE or SA_COURIER_MORE, perhaps with SA_COURIER_INTERRUPT; while it is
 *         draining, IDLE says that it has drained. Or an error; -EBADMSG is final.
 */
int sa_courier_turn(struct sa_courier *courier, struct sa_courier_scratch *scratch);

#endif
