/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef RP_DMA_ATC_H
#define RP_DMA_ATC_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "rp_dma.h"
#include "rp_dma_pasid.h"

/**
 * @file
 * An address translation cache, as a PCIe device has one: which addresses of the
 * device's (untranslated, with a PASID or without) lead to which addresses of an
 * rp_dma_space (translated). Whoever is the IOMMU answers what the cache does not
 * know, and takes back what it has said.
 *
 * Theory of operation: the data path finds a translation without locks, or misses. A
 * miss is asked for with a waiter; one request per page is under way, however many
 * wait for it. The server's thread takes requests (rp_dma_atc_next()), sends them, and
 * hands in answers. What is known is bounded: an entry that was not used lately goes
 * when room is needed, at no cost but another miss.
 *
 * An invalidation takes entries away at once, and is complete when nobody uses one of
 * them any more. There are two ways to use a translation. For an access that is over
 * soon: rp_dma_atc_find(), online as a reader of the space; the translation is good
 * until the reader's next quiescent point, or while rp_dma_reader_generation() is what
 * it was. For one that lasts, by messages for instance: rp_dma_atc_use_begin(), and
 * _use_end() when the access has ended. A request that is under way while its page is
 * invalidated was answered from before: its answer is dropped, and it is asked again.
 *
 * The one rule of who uses it: hold nothing while you wait. Whoever waits for a
 * translation or a page has ended its uses and passed a quiescent point, or two that
 * wait for each other are possible: the IOMMU may answer a miss only after it was told
 * that its invalidation is complete.
 *
 * Source: PCI Express, "Address Translation Services", and doc/protocol/vfio-user-iommu.md.
 *
 * Threads: as said with each function. "The writer" is the thread of the space's writer.
 *
 * Ownership: waiters, uses and invalidations are the caller's memory.
 *
 * Errors: the dictionary of rp_wire_why.h.
 */

#define RP_DMA_ATC_PAGE_BYTES UINT64_C(4096) /**< the smallest translation */

struct rp_dma_atc;

/** A translation, from an address on. */
struct rp_dma_translation {
	uint64_t iova; /**< untranslated */
	uint64_t size_bytes; /**< that lie together */
	uint64_t address; /**< where iova leads to, in the space */
	uint32_t access_mask; /**< RP_DMA_READ | RP_DMA_WRITE; 0: there is none (an answer only) */
	bool identity; /**< the IOMMU says that it translates nothing here */
};

/** Who waits for a translation. Zero-initialise, set done() and ctx. */
struct rp_dma_atc_wait {
	/**
	 * Once for each rp_dma_atc_want() that returned -EINPROGRESS, in the writer's thread,
	 * without locks; may want again. error: 0 (find it now; it may have gone again),
	 * -EFAULT (not present, or not with that access), -EIO (no answer that can be
	 * understood), -ENOTCONN (the peer left).
	 */
	void (*done)(struct rp_dma_atc_wait *wait, int error);
	void *ctx; /**< the caller's */
	/* Private from here. */
	TAILQ_ENTRY(rp_dma_atc_wait) link;
	struct rp_dma_atc_request *request;
	uint32_t access_mask;
	int state;
	int error;
};

/** An access that lasts. Zero-initialised or ended. Private to lib/dma. */
struct rp_dma_atc_use {
	LIST_ENTRY(rp_dma_atc_use) link;
	uint64_t first_iova;
	uint64_t last_iova;
	uint64_t ticket;
	uint32_t pasid;
	bool open;
};

/** What is taken back. Zero-initialise, fill in the first part; the cache's until it has settled. */
struct rp_dma_atc_invalidation {
	bool all_pasids; /**< every PASID and those without */
	uint32_t pasid; /**< or this one; RP_DMA_NO_PASID: requests without */
	uint64_t first_iova;
	uint64_t last_iova; /**< inclusive */
	/* Private from here. */
	uint64_t ticket;
	uint64_t epoch;
	bool waited;
	bool active;
};

/** A request for the IOMMU. */
struct rp_dma_atc_ask {
	uint32_t slot; /**< below requests_max: for rp_dma_atc_answer() */
	uint32_t pasid; /**< RP_DMA_NO_PASID: none */
	uint64_t iova; /**< of a whole page */
	uint32_t access_mask; /**< what is wanted; the answer may give less or more */
};

/** What the cache did since it was made. */
struct rp_dma_atc_counters {
	uint64_t misses; /**< rp_dma_atc_want() that had to wait */
	uint64_t requests; /**< given out by rp_dma_atc_next() */
	uint64_t translations; /**< answers that were taken in */
	uint64_t faults; /**< answers that say that there is none */
	uint64_t voided; /**< answers dropped because an invalidation came meanwhile */
	uint64_t evictions; /**< entries that went for want of room */
	uint64_t invalidations;
	uint64_t invalidations_in_use; /**< that had to wait for somebody */
};

/**
 * Make a cache; it is closed. Writer.
 *
 * @param space where translations lead to; outlives the cache.
 * @param entries_max how many translations are kept, rounded up to a power of two; 0: 4096, at most 2^20.
 * @param requests_max how many requests are under way at one moment, at most 4096.
 * @param wake as of rp_dma_space_set_wake(): runs in any thread when rp_dma_atc_next() has
 *        something; holds no lock of the cache.
 * @return 0, -EINVAL or -ENOMEM.
 */
int rp_dma_atc_create(struct rp_dma_space *space, uint32_t entries_max, uint32_t requests_max, void (*wake)(void *ctx),
		      void *wake_ctx, struct rp_dma_atc **ret_atc);

/** End a cache: nobody is inside a call, waits or uses. NULL is allowed. @return NULL. */
struct rp_dma_atc *rp_dma_atc_destroy(struct rp_dma_atc *atc);

/**
 * A peer that is an IOMMU is there: ask it from now on. Writer.
 * @param requests_max how many it takes at one moment, at most as many as at creation.
 */
void rp_dma_atc_open(struct rp_dma_atc *atc, uint32_t requests_max);

/** A peer that knows nothing of this is there: without a PASID every address is itself. Writer. */
void rp_dma_atc_open_identity(struct rp_dma_atc *atc);

/**
 * It left: nothing is known any more, and waiters end with -ENOTCONN. Uses are not waited
 * for: what they use is the space's, and invalidations that have not settled are forgotten.
 * Writer.
 */
void rp_dma_atc_close(struct rp_dma_atc *atc);

/** Whether there is somebody to ask (rp_dma_atc_open()). Any thread. */
bool rp_dma_atc_is_open(const struct rp_dma_atc *atc);

/**
 * Find a translation for an access that is over before the reader's next quiescent point.
 * Online as a reader of the space.
 *
 * @param access_mask all that is needed, not 0.
 * @param ret_translation from iova on; set on success.
 * @return 0 or -EAGAIN: not known, or not with that access; rp_dma_atc_want() asks.
 */
int rp_dma_atc_find(struct rp_dma_atc *atc, uint32_t pasid, uint64_t iova, uint32_t access_mask,
		    struct rp_dma_translation *ret_translation);

/**
 * The same, and on to memory: as rp_dma_reader_translate() for an untranslated address.
 *
 * @param ret_hva NULL where the translated address is not mapped with that access, or has no file.
 * @param ret_contiguous_bytes at most size_bytes; 0 without a pointer.
 * @return 0 or -EAGAIN.
 */
int rp_dma_atc_translate(struct rp_dma_atc *atc, struct rp_dma_reader *reader, uint32_t pasid, uint64_t iova,
			 uint64_t size_bytes, uint32_t access_mask, void **ret_hva, uint64_t *ret_contiguous_bytes);

/**
 * Find a translation for an access that lasts; until _use_end() an invalidation of these
 * bytes is not complete. Any thread, no reader is needed.
 *
 * @param size_bytes at least 1; the use is of ret_translation->size_bytes, which is at most that.
 * @return 0 or -EAGAIN: as rp_dma_atc_find(); the use is not begun.
 */
int rp_dma_atc_use_begin(struct rp_dma_atc *atc, struct rp_dma_atc_use *use, uint32_t pasid, uint64_t iova,
			 uint64_t size_bytes, uint32_t access_mask, struct rp_dma_translation *ret_translation);

/** The access has ended. Once more does nothing. Any thread. */
void rp_dma_atc_use_end(struct rp_dma_atc *atc, struct rp_dma_atc_use *use);

/**
 * Ask for a translation of the page of an address. Any thread; hold nothing meanwhile.
 *
 * @param wait the caller's until done() began or rp_dma_atc_cancel() returned.
 * @return 0 (it is known by now; done() is not called), -EINPROGRESS (done() will be),
 *         -ENOTCONN (nobody is there to ask), -ENOMEM.
 */
int rp_dma_atc_want(struct rp_dma_atc *atc, struct rp_dma_atc_wait *wait, uint32_t pasid, uint64_t iova,
		    uint32_t access_mask);

/** Wait no more: when this returns done() neither runs, but in this thread, nor will run. Any thread. */
void rp_dma_atc_cancel(struct rp_dma_atc *atc, struct rp_dma_atc_wait *wait);

/** Take the next request that is to be sent. Writer. @return 0, or -EAGAIN: none, or as many as may be are under way. */
int rp_dma_atc_next(struct rp_dma_atc *atc, struct rp_dma_atc_ask *ret_ask);

/**
 * Hand in an answer. Writer.
 *
 * @param slot of a request that is under way.
 * @param answer what holds the request's page: whole pages; access_mask 0: not present. NULL: the
 *        peer answered with an error.
 * @return 0; -ENOENT (no request of that slot), -EBADMSG (the answer leaves the request out,
 *         or is not of whole pages, or wraps; who waited has heard -EIO).
 */
int rp_dma_atc_answer(struct rp_dma_atc *atc, uint32_t slot, const struct rp_dma_translation *answer,
		      struct rp_wire_why *why);

/** Take translations away; none is found from here on. Writer. It cannot fail. */
void rp_dma_atc_invalidate(struct rp_dma_atc *atc, struct rp_dma_atc_invalidation *invalidation);

/**
 * Whether nobody uses what an invalidation took away. Whoever asks is woken, by the space's
 * wake (rp_dma_space_set_wake()), when it may have changed. Writer.
 * @return true once, and ever after: it is the caller's again.
 */
bool rp_dma_atc_settled(struct rp_dma_atc *atc, struct rp_dma_atc_invalidation *invalidation);

/** @return how many translations are kept. Writer. */
uint32_t rp_dma_atc_count(const struct rp_dma_atc *atc);

/** Any thread. */
void rp_dma_atc_counters(struct rp_dma_atc *atc, struct rp_dma_atc_counters *ret_counters);

#endif
