/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef RP_VRING_MIRROR_H
#define RP_VRING_MIRROR_H

#include <stdbool.h>
#include <stdint.h>

#include "rp_dma_io.h"
#include "rp_vring_copy.h"

/**
 * @file
 * A virtqueue whose memory is reached by messages: the device's side on a copy
 * (rp_vring_copy.h), and what must be read and written, in which order, so that
 * the driver sees a device that works on its memory.
 *
 * Theory of operation: an access may be a round trip, so each call moves as much
 * as it can at once, and waits only where order matters:
 *
 *   look    the index, then entries and descriptors (split); flags, then the
 *           descriptors that they announced (packed)
 *   fetch   the indirect tables of a whole batch
 *   flush   payload and used entries, then the index (packed: the first flags),
 *           then what interrupts the driver wants
 *   ask     the wish for a kick, then a look, so that no kick is lost
 *
 * A call whose access failed has changed nothing that the driver or a later call
 * would miss: called again it goes on, also with another connection to the same
 * memory. A flush is done again from its last step, which is safe because the
 * driver goes on only when that step has arrived; whether it had is read back
 * where writing twice could harm (packed rings).
 *
 * Source: virtio 1.2, 2.7 and 2.8.
 *
 * Threads: one thread, in which the accesses run.
 *
 * Errors: -EBADMSG (the ring broke a rule, and stays broken), else what the access
 * said.
 */

struct rp_vring_mirror;

/** How bytes get there. Both return when all is done: 0 or a negative errno. */
struct rp_vring_mirror_ops {
	/** From the driver's memory to ours. */
	int (*read)(void *ctx, const struct rp_dma_segment *segments, unsigned int segments_count);
	/** From ours to the driver's memory. */
	int (*write)(void *ctx, const struct rp_dma_segment *segments, unsigned int segments_count);
};

/**
 * Take a ring. Nothing is read or written yet.
 *
 * @param layout copied; its notes stay borrowed.
 * @param ops not copied. @param ctx handed to each.
 * @return 0, -ENOMEM, -EINVAL (notes are missing), -EBADMSG (why names the field).
 */
int rp_vring_mirror_create(const struct rp_vring_layout *layout, uint32_t position,
			   const struct rp_vring_mirror_ops *ops, void *ctx, struct rp_vring_mirror **ret_mirror,
			   struct rp_wire_why *why);

/** NULL is allowed. @return NULL. */
struct rp_vring_mirror *rp_vring_mirror_destroy(struct rp_vring_mirror *mirror);

/**
 * See what the driver made available.
 * @return how many chains wait (as rp_vring_dev_available()), or an error.
 */
int rp_vring_mirror_look(struct rp_vring_mirror *mirror);

/**
 * Peek at the next chains that were looked at, and fetch their indirect tables.
 * @param ret_chains room for `count`; what is returned has no table left to follow.
 * @return how many there are, or an error.
 */
int rp_vring_mirror_peek(struct rp_vring_mirror *mirror, struct rp_vring_chain *ret_chains, uint16_t count);

/** Take `count` chains that were peeked at. */
void rp_vring_mirror_advance(struct rp_vring_mirror *mirror, uint16_t count);

/**
 * Note bytes that are to be written to the driver's buffers before the next flush
 * shows it that they were. `bytes` stay until that flush succeeded.
 * @return 0 or -ENOMEM.
 */
int rp_vring_mirror_write(struct rp_vring_mirror *mirror, uint64_t iova, const void *bytes, uint64_t size_bytes);

/**
 * Give a taken chain back with the next flush.
 * @return 0, -EBADMSG, -EBUSY (a flush was begun and must end first), or -EINVAL as
 *         rp_vring_dev_push().
 */
int rp_vring_mirror_give(struct rp_vring_mirror *mirror, uint16_t head, uint32_t written_bytes);

/** Whether something was given that no flush has brought to its end. */
bool rp_vring_mirror_is_due(const struct rp_vring_mirror *mirror);

/**
 * Carry back what was noted and given. After an error, other than -EBADMSG, call it
 * again; what was noted and given is kept.
 * @return 1: the driver wants an interrupt; 0; or an error.
 */
int rp_vring_mirror_flush(struct rp_vring_mirror *mirror);

/**
 * Ask the driver for a kick when it makes more available, and look once more.
 * @return as rp_vring_mirror_look(): with 0 the caller may sleep.
 */
int rp_vring_mirror_ask(struct rp_vring_mirror *mirror);

/**
 * Where the driver has been shown that the ring stands: where a next owner goes on,
 * doing again what was taken and not given back. Within a flush that was given up
 * it is where nothing is lost; of a packed ring up to that flush may be done twice.
 */
uint32_t rp_vring_mirror_position(const struct rp_vring_mirror *mirror);

/** Which rule the ring broke, in words, for a log line; NULL while it is sound. */
const char *rp_vring_mirror_why(const struct rp_vring_mirror *mirror);

#endif
