/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef RP_VRING_SHADOW_H
#define RP_VRING_SHADOW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "rp_dma.h"
#include "rp_vring_copy.h"
#include "rp_vring_dev.h"

/**
 * @file
 * A virtqueue that stands between a guest's ring and a device: to the guest it is
 * the device's side, to the device the driver's side of a private ring in memory of
 * our own, of the same format, size and features. For devices whose rings always
 * begin at the beginning, and to know what a device writes.
 *
 * Theory of operation: only rings are copied. A chain of the guest is forwarded with
 * the addresses that the guest wrote, so its payload never passes through here; an
 * indirect table is forwarded by its address, and read once to know which bytes the
 * device may write. What is out is remembered in memory that neither side can reach.
 * From that used entries are judged, written ranges are reported, and chains that the
 * device did not do are put back:
 *
 *   drain   into the guest's ring, as if they had never been taken: at its used
 *           position, in the order of taking. When the device used others out of
 *           order, they are not in those places any more and are written there (split:
 *           entries of the available ring; packed: descriptors). The driver reads
 *           neither and writes to these places only when the chains were used.
 *   rebase  into a fresh private ring, for a device that was reset or whose memory
 *           moves. The guest's ring is not touched.
 *
 * The guest and the device are both free to lie. What the guest writes is read once
 * and checked as in rp_vring_dev.h; of the private ring the device is believed only
 * which chain it used, when that chain is out, and a length within what it takes. How
 * much is out is limited by the ring's size, so each call's work is too.
 *
 * With a translation (VIRTIO_F_ACCESS_PLATFORM) the guest's addresses mean something to its
 * IOMMU alone. The guest's ring is then where the caller put it, and each buffer is
 * translated before its chain is taken: what lies apart for the device becomes several
 * parts, and a chain of more than one part goes to the device as an indirect table in our
 * memory. While something is not known yet nothing is taken: the shadow *stalls*, having
 * asked for what the chains behind the first one need as well; call
 * rp_vring_shadow_forward() again when more is known. A chain with bytes that its guest
 * may not have the device access is *refused*: given back with nothing written, and
 * counted. What is written is not reported.
 *
 * Room: about 100 bytes for an entry of the ring, and with VIRTIO_F_INDIRECT_DESC at
 * most 16 bytes for a writable part of what is out at one moment
 * (num * RP_VRING_SEGMENTS_MAX parts), touched only as far as they were ever needed.
 * Only rp_vring_shadow_create() and a rebase allocate.
 *
 * Source: virtio 1.2, 2.7 (split), 2.8 (packed), 2.7.7 and 2.7.10 and 2.8.10
 * (notification suppression), 2.7.8.2 (what a used length says).
 *
 * Threads: one thread, that of the reader, which is online during every call but
 * _bytes, _destroy, _layout, _set_log, the counters and _why.
 *
 * Ownership: the reader and the private ring's memory are borrowed until
 * rp_vring_shadow_destroy() (the memory until a rebase); no descriptors are held.
 *
 * Errors: -EBADMSG the guest broke a rule, and its ring stays broken; -EPROTO the
 * device broke one, and nothing more is exchanged with it until a rebase; -EINVAL the
 * caller's mistake; -ENOMEM.
 */

struct rp_vring_shadow;

/**
 * Bytes of the guest's memory were written, already: the payload of a used chain by the
 * device, as far as its used length says (2.7.8.2: the driver ignores what lies
 * beyond); or the ring by us, with the addresses of its layout. In the shadow's thread.
 */
typedef void (*rp_vring_shadow_written)(void *ctx, uint64_t iova, uint64_t size_bytes);

/** Where bytes of the guest are. */
struct rp_vring_shadow_place {
	uint64_t device_iova; /**< the device's address of them */
	const void *hva; /**< ours, until this call of the shadow returns; looked at for indirect tables only */
	uint64_t size_bytes; /**< how many lie together there: at least 1, at most what was asked for */
};

/**
 * Translate.
 *
 * @param access_mask what the device does with them: RP_DMA_READ or RP_DMA_WRITE.
 * @param ahead of a chain that is not the next one: see to it that it will be known,
 *        its answer is only looked at to know what else to ask for.
 * @return 0 and the place of the first bytes; -EAGAIN: not known yet; -EFAULT: the guest
 *         did not permit that.
 */
typedef int (*rp_vring_shadow_translate)(void *ctx, uint64_t iova, uint64_t size_bytes, uint32_t access_mask,
					 bool ahead, struct rp_vring_shadow_place *ret_place);

/** For a guest whose addresses are to be translated. */
struct rp_vring_shadow_translation {
	rp_vring_shadow_translate translate;
	void *ctx; /**< handed to it */
	struct rp_vring_copy ring; /**< the guest's ring itself, here: its parts, borrowed until _destroy */
	bool avail_writable; /**< split: its available ring may be written */
	bool indirect; /**< the device takes VIRTIO_F_INDIRECT_DESC, whether the guest does or not */
	void *tables; /**< zeroed or not: rp_vring_shadow_tables_bytes() that the device can read; borrowed */
	uint64_t tables_iova; /**< the device's address of it, a multiple of 16 */
};

/** What a shadow is made from. */
struct rp_vring_shadow_config {
	const struct rp_vring_layout *guest; /**< copied, with the guest's addresses; its notes are not looked at */
	uint32_t position; /**< where the guest's ring stands (rp_vring_position.h); any */
	struct rp_dma_reader *reader; /**< of the guest's memory; borrowed; not looked at with a translation */
	const struct rp_vring_shadow_translation
		*translation; /**< copied; NULL: the guest's addresses are the device's */
	void *memory; /**< of the private ring: rp_vring_shadow_bytes(), aligned to 4096; borrowed, zeroed */
	uint64_t memory_iova; /**< the device's address of it, a multiple of 4096 */
	rp_vring_shadow_written written; /**< NULL: nobody wants to know */
	void *ctx; /**< handed to it */
};

/**
 * How much memory a private ring takes. Any thread.
 *
 * @param num entries, of the guest's ring.
 * @param features as negotiated; VIRTIO_F_RING_PACKED is looked at.
 * @return bytes, a multiple of 4096.
 */
size_t rp_vring_shadow_bytes(uint16_t num, uint64_t features);

/** How much memory the tables of a shadow with a translation take; num as above. Any thread. @return bytes. */
size_t rp_vring_shadow_tables_bytes(uint16_t num);

/**
 * Begin. Nothing is written to the guest's ring; the private ring is fresh
 * (rp_vring_position_fresh()), nothing is forwarded yet. The guest is not asked for
 * kicks, until rp_vring_shadow_set_notify().
 *
 * @param config not kept.
 * @return 0; -EBADMSG as rp_vring_dev_init() (why names the field); -EINVAL (the private
 *         ring's memory is not aligned); -ENOMEM.
 */
int rp_vring_shadow_create(const struct rp_vring_shadow_config *config, struct rp_vring_shadow **ret_shadow,
			   struct rp_wire_why *why);

/** Forget it all; neither ring is touched. The device must not use its ring any more. NULL is allowed. @return NULL. */
struct rp_vring_shadow *rp_vring_shadow_destroy(struct rp_vring_shadow *shadow);

/** The private ring, to start the device's queue with, at rp_vring_position_fresh(); its notes are NULL. */
void rp_vring_shadow_layout(const struct rp_vring_shadow *shadow, struct rp_vring_layout *ret_layout);

/**
 * Give the device what the guest made available since. While kicks are asked for, they
 * are asked for again and the ring is looked at once more, so that when this returns the
 * guest kicks for its next chain.
 *
 * @param ret_kick whether the device wants a kick, for this and for what a rebase forwarded;
 *        set also when an error is returned: the chains before the bad one were forwarded.
 * @return how many chains, up to num, those refused included (0 also after rp_vring_shadow_return() said -EPROTO), or
 *         -EBADMSG (the guest's ring is broken), -EINVAL (drained).
 */
int rp_vring_shadow_forward(struct rp_vring_shadow *shadow, bool *ret_kick);

/**
 * Give the guest what the device used since, at once for all (2.7.13.3.1, 2.8.9), each
 * chain with an entry of its own, also where the device used several with one
 * (VIRTIO_F_IN_ORDER). When this returns the device interrupts for its next one.
 *
 * @param ret_call whether the guest wants an interrupt, for this and for what a rebase
 *        returned; set also when an error is returned: what came before it counts.
 * @return how many chains, up to num, or -EPROTO (the device used a chain that it does not
 *         have, or wrote beyond one; stays so until a rebase), -EBADMSG (the guest's ring
 *         is broken), -EINVAL (drained).
 */
int rp_vring_shadow_return(struct rp_vring_shadow *shadow, bool *ret_call);

/**
 * Ask the guest for kicks, or for none; rp_vring_shadow_forward() keeps asking. After
 * asking, call that once: what came before nobody kicks for.
 *
 * @return 0, -EBADMSG, or -EINVAL (drained).
 */
int rp_vring_shadow_set_notify(struct rp_vring_shadow *shadow, bool wanted);

/**
 * Report what is written from now on, or stop to. Chains that are out already are
 * reported as well when they are used.
 *
 * @param written NULL: nobody wants to know.
 */
void rp_vring_shadow_set_log(struct rp_vring_shadow *shadow, rp_vring_shadow_written written, void *ctx);

/**
 * End, for a device that is known to have let go of the private ring: return what it used
 * (a device that broke a rule is believed no more), then put what is out back into the
 * guest's ring, to be done again by its next owner. Then only the counters and _destroy may follow;
 * whoever goes on with a shadow creates another one at this position.
 *
 * A split ring's available entries may have to be written for that (see above). Where its
 * memory is mapped for reading only, the chains that are in the way are returned with 0
 * bytes written, and counted in rp_vring_shadow_lost().
 *
 * @param ret_position where the next owner goes on: of a drained ring (rp_vring_position.h),
 *        and with a split ring the used index in its memory.
 * @param ret_redone how many chains will be done again.
 * @param ret_call whether the guest wants an interrupt for what was returned.
 * @return 0, -EBADMSG (the guest's ring is broken), -EINVAL (drained already); what ret_
 *         parameters point to is untouched then.
 */
int rp_vring_shadow_drain(struct rp_vring_shadow *shadow, uint32_t *ret_position, unsigned int *ret_redone,
			  bool *ret_call);

/**
 * Go on with a fresh private ring, for a device that is known to have let go of the old
 * one: return what it used there (the next rp_vring_shadow_return() says whether the guest
 * wants an interrupt for it), then forward what is out again, in the order of taking (the
 * next rp_vring_shadow_forward() says whether the device wants a kick for it). Call both
 * once when the device was started with the new layout.
 *
 * @param memory as in the configuration; may be the old one. The old one is read from
 *        during this call, and not used after it.
 * @return 0; -EINVAL (not aligned, drained, or with a translation), -ENOMEM: the private ring is what it was;
 *         -EBADMSG (the guest's ring is broken).
 */
int rp_vring_shadow_rebase(struct rp_vring_shadow *shadow, void *memory, uint64_t memory_iova);

/** Whether the guest's next chain waits: for a translation, or for something to be returned. With a translation only. */
bool rp_vring_shadow_stalled(const struct rp_vring_shadow *shadow);

/**
 * Whether the device has a chain with bytes in a range of the guest's addresses. With a
 * translation only; what it used counts until it was returned.
 */
bool rp_vring_shadow_uses(const struct rp_vring_shadow *shadow, uint64_t iova, uint64_t size_bytes);

/** How many chains were refused: the device did not get them. rp_vring_shadow_return() says whether to interrupt for them. */
uint64_t rp_vring_shadow_refused(const struct rp_vring_shadow *shadow);

/** How many chains the device has; after a drain, how many it had. */
unsigned int rp_vring_shadow_out(const struct rp_vring_shadow *shadow);

/** How many chains were taken from the guest's ring; what a rebase forwarded again is not counted again. */
uint64_t rp_vring_shadow_forwarded(const struct rp_vring_shadow *shadow);

/** How many chains the device used. */
uint64_t rp_vring_shadow_returned(const struct rp_vring_shadow *shadow);

/** How many chains rp_vring_shadow_drain() had to return with nothing done. */
uint64_t rp_vring_shadow_lost(const struct rp_vring_shadow *shadow);

/** Which rule the guest or else the device broke, in words, for a log line; NULL while both are sound. */
const char *rp_vring_shadow_why(const struct rp_vring_shadow *shadow);

#endif
