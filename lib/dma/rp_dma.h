/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef RP_DMA_H
#define RP_DMA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "rp_wire_why.h"

/**
 * @file
 * An address space for DMA: which I/O virtual addresses (IOVA) lead to which
 * bytes of memory, as a vfio-user client or a vhost-user frontend said it.
 *
 * Theory of operation: one writer changes the space; any number of readers
 * translate without locks. The mappings are an immutable sorted table; a change
 * builds the next table and publishes it: every translation that begins later
 * sees it. A call that takes something away then waits until every online
 * reader has passed a quiescent point. Only then is memory unmapped and does
 * the call return: a peer that gets the answer to an unmap knows that nothing
 * of ours touches those bytes any more. A call that only adds does not wait.
 *
 * What a reader has, it lets go of at its next quiescent point. A pointer that
 * rp_dma_map() gave out and an access under way (rp_dma_io.h) last longer, and may
 * need the writer's own thread to end. So there are two forms: the plain one waits
 * for all of it, the one with _start takes the range away and returns a ticket;
 * rp_dma_space_settled() says when nobody has the old bytes any more.
 *
 * Source: vfio-user (VFIO_USER_DMA_MAP, VFIO_USER_DMA_UNMAP) and vhost-user
 * (SET_MEM_TABLE, ADD_MEM_REG, REM_MEM_REG) both describe memory in these terms.
 *
 * Threads: rp_dma_space_* belongs to one thread (the writer).
 * rp_dma_reader_create/destroy: the writer. Everything else on a reader: the
 * one thread that the reader was made for. That may be the writer's own thread,
 * but then the reader must be offline while the space is unmapped, cleared,
 * mapped or destroyed: the writer would wait for itself. rp_dma_io.h, rp_dma_bounce.h
 * and the marks of rp_dma_log.h are any thread's, without a reader. This is the one
 * library that threads share.
 *
 * Ownership: the space keeps its own duplicate of a file's descriptor, one for
 * all mappings of that open file, and its own mapping of the bytes. A file that
 * its owner truncates later still faults whoever touches it (SIGBUS): the size
 * is checked when it is mapped, and seals are the caller's to demand.
 *
 * Errors: the dictionary of rp_wire_why.h.
 */

#define RP_DMA_READ 0x1u /**< the device may read (PROT_READ's bit) */
#define RP_DMA_WRITE 0x2u /**< the device may write (PROT_WRITE's bit) */

struct rp_dma_space;
struct rp_dma_reader;

/** One mapping, as given to rp_dma_space_map() or found by an iteration. */
struct rp_dma_mapping {
	uint64_t iova; /**< first address */
	uint64_t size_bytes; /**< at least 1; iova + size_bytes may be 2^64 but not more */
	uint64_t offset_bytes; /**< in the file behind fd; ignored without fd */
	uint32_t access_mask; /**< RP_DMA_READ | RP_DMA_WRITE */
	int fd; /**< borrowed; -1: no file, the bytes are reached by messages only */
	void *hva; /**< our mapping of it; NULL without fd. Output only. */
};

/** Limits of one space. Zero means the default. */
struct rp_dma_limits {
	uint32_t mappings_max; /**< default 2^20; beyond: -ENOSPC */
	uint64_t bounce_bytes_max; /**< of buffers at one moment (rp_dma_bounce.h); default 16 MiB */
	uint32_t maps_max; /**< of rp_dma_map() at one moment, direct ones too; default 65536 */
};

/** The ticket of a change that nobody holds up. */
#define RP_DMA_SETTLED 0u

/** Who wants to know that a range goes of which a pointer was given out. Caller-owned. */
struct rp_dma_listener {
	/**
	 * In the writer's thread, from inside the call that takes or replaces the range,
	 * which is out of reach already. May let go of its pointers (rp_dma_unmap_start(), or
	 * rp_dma_unmap() where that may be called), may take itself (only) off the list,
	 * must not change the space. last_iova is inclusive.
	 */
	void (*going)(struct rp_dma_listener *listener, uint64_t first_iova, uint64_t last_iova);
	void *ctx; /**< the caller's */
	LIST_ENTRY(rp_dma_listener) link; /**< private */
};

/**
 * Make an empty space.
 *
 * @param limits NULL for the defaults.
 * @return 0 or -ENOMEM.
 */
int rp_dma_space_create(const struct rp_dma_limits *limits, struct rp_dma_space **ret_space);

/**
 * End a space. Its readers must be gone, and no thread may be inside a call on it
 * but in rp_dma_io_wait(). Accesses under way end with -ECANCELED, bounce buffers and
 * waiters end (rp_dma_bounce.h), direct pointers become void. NULL is allowed.
 *
 * @return NULL.
 */
struct rp_dma_space *rp_dma_space_destroy(struct rp_dma_space *space);

/**
 * Add a mapping. With a file, the bytes are mapped shared into this process and
 * a duplicate of the descriptor is kept (see rp_dma_space_at()). Neither offset
 * nor size need be multiples of a page: the enclosing pages are mapped.
 *
 * @return 0, -EEXIST (overlaps a mapping; why names both), -EBADMSG (empty, wraps,
 *         no or unknown access bits, a file that is too short or cannot be mapped
 *         with that access), -ENOSPC (limit, descriptors or memory). On failure
 *         nothing changed.
 */
int rp_dma_space_map(struct rp_dma_space *space, const struct rp_dma_mapping *mapping, struct rp_wire_why *why);

/**
 * Remove whatever lies in a range: mappings inside it go, mappings that straddle
 * an end are split. Waits for readers, for pointers given out and for accesses
 * under way. Removing what was never mapped succeeds, as with VFIO type1 v2.
 *
 * @return 0, -EBADMSG (empty or wraps), -ENOSPC (no memory, or a split would
 *         exceed the limit of mappings; nothing changed).
 */
int rp_dma_space_unmap(struct rp_dma_space *space, uint64_t iova, uint64_t size_bytes, struct rp_wire_why *why);

/**
 * The same without waiting: when it returns no new translation, access or map
 * finds the range, and listeners were told.
 *
 * @param ret_ticket for rp_dma_space_settled(); RP_DMA_SETTLED when nobody holds it up.
 * @return as rp_dma_space_unmap().
 */
int rp_dma_space_unmap_start(struct rp_dma_space *space, uint64_t iova, uint64_t size_bytes, uint64_t *ret_ticket,
			     struct rp_wire_why *why);

/**
 * Put a mapping in the place of whatever lies in its range, in one step: a reader
 * finds the old or the new bytes, never nothing. What straddles an end is split.
 * Waits until the old ones have drained, as rp_dma_space_unmap() does.
 *
 * @return 0, -EBADMSG, -ENOSPC as rp_dma_space_map(). On failure nothing changed.
 */
int rp_dma_space_remap(struct rp_dma_space *space, const struct rp_dma_mapping *mapping, struct rp_wire_why *why);

/**
 * The same without waiting.
 *
 * @param ret_ticket for rp_dma_space_settled(); RP_DMA_SETTLED when nobody holds it up.
 * @return as rp_dma_space_remap().
 */
int rp_dma_space_remap_start(struct rp_dma_space *space, const struct rp_dma_mapping *mapping, uint64_t *ret_ticket,
			     struct rp_wire_why *why);

/**
 * Remove everything (a peer left). Waits as rp_dma_space_unmap() does, and for what was
 * started before and has not settled: of what the peer gave nothing is left.
 */
void rp_dma_space_clear(struct rp_dma_space *space);

/**
 * The same without waiting.
 *
 * @param ret_ticket for rp_dma_space_settled(); RP_DMA_SETTLED when nobody holds it up.
 * @return 0, or -ENOSPC (no memory; nothing changed).
 */
int rp_dma_space_clear_start(struct rp_dma_space *space, uint64_t *ret_ticket);

/**
 * Wait for readers, which pass soon, and not for pointers and accesses, which may need
 * this thread: after a _start call, who is left can only be one of those.
 */
void rp_dma_space_wait_readers(struct rp_dma_space *space);

/**
 * Whether what a change took away is gone: readers have passed a quiescent point,
 * direct pointers given out before were unmapped, accesses under way have finished.
 * Lets go of the pages and files of every change that has settled, whichever is
 * asked for, so ask as long as one is open. Bounce buffers of the range have ended
 * (rp_dma_bounce.h) and are not waited for.
 *
 * @param ticket of a _start call.
 * @return true once it has settled, and ever after; RP_DMA_SETTLED always has.
 */
bool rp_dma_space_settled(struct rp_dma_space *space, uint64_t ticket);

/**
 * Be told when rp_dma_space_settled() may have another answer. Writer's thread,
 * before readers, accesses and maps.
 *
 * @param wake runs in any thread, also for nothing, and inside the space's lock: it makes
 *        the writer's thread look (writes its eventfd), does not call into the space, and
 *        takes no lock that is held around a call into the space. NULL: none.
 */
void rp_dma_space_set_wake(struct rp_dma_space *space, void (*wake)(void *ctx), void *ctx);

/** Put a listener on the list. Writer's thread. */
void rp_dma_space_listen(struct rp_dma_space *space, struct rp_dma_listener *listener);

/** Take it off. Writer's thread. */
void rp_dma_space_unlisten(struct rp_dma_space *space, struct rp_dma_listener *listener);

/** How many mappings there are. */
uint32_t rp_dma_space_count(const struct rp_dma_space *space);

/**
 * Look at the mapping number `index`, in address order (writer's thread).
 *
 * @param ret_mapping fd is borrowed from the space.
 * @return 0 or -EINVAL (no such index).
 */
int rp_dma_space_at(const struct rp_dma_space *space, uint32_t index, struct rp_dma_mapping *ret_mapping);

/**
 * Look at the first mapping that ends at `iova` or above (writer's thread). Who walks
 * over all asks from 0 on, then from the end of each, until that is 2^64.
 *
 * @param ret_mapping fd is borrowed from the space.
 * @return whether there is one.
 */
bool rp_dma_space_next(const struct rp_dma_space *space, uint64_t iova, struct rp_dma_mapping *ret_mapping);

/**
 * Translate in the writer's thread.
 *
 * @return the address of `iova` here when all `size_bytes` are mapped, contiguous
 *         in one mapping, with that access and a file; else NULL.
 */
void *rp_dma_space_translate(const struct rp_dma_space *space, uint64_t iova, uint64_t size_bytes,
			     uint32_t access_mask);

/**
 * Make a reader for a data path thread. It starts offline.
 *
 * @return 0 or -ENOMEM.
 */
int rp_dma_reader_create(struct rp_dma_space *space, struct rp_dma_reader **ret_reader);

/** End a reader; it must be offline. NULL is allowed. @return NULL. */
struct rp_dma_reader *rp_dma_reader_destroy(struct rp_dma_reader *reader);

/** From here until rp_dma_reader_offline() the writer waits for this reader. */
void rp_dma_reader_online(struct rp_dma_reader *reader);

/** The reader holds no translated address; call before sleeping. */
void rp_dma_reader_offline(struct rp_dma_reader *reader);

/**
 * A quiescent point: addresses translated before are void, unless
 * rp_dma_reader_generation() is what it was. Online only. Call once per poll;
 * costs two loads, and a store when the space has changed.
 */
void rp_dma_reader_quiescent(struct rp_dma_reader *reader);

/**
 * What the reader knew of the space's changes at its last quiescent point (or
 * when it went online). Never 0 after the first rp_dma_reader_online(). Addresses
 * translated while it was G are good, online, for as long as it is G: whoever
 * keeps addresses across quiescent points compares it and translates anew when
 * it differs.
 *
 * @return the generation; costs one load of the reader's own memory.
 */
uint64_t rp_dma_reader_generation(const struct rp_dma_reader *reader);

/**
 * Translate in the reader's thread, online.
 *
 * @param ret_contiguous_bytes how many bytes from iova on lie together in that
 *        mapping (at most size_bytes); 0 when none.
 * @return the address of iova, good until the next quiescent point, or NULL when
 *         iova is not mapped with that access or has no file, or size_bytes is 0.
 *         As aligned as the mapping's offset in its file makes it.
 */
void *rp_dma_reader_translate(struct rp_dma_reader *reader, uint64_t iova, uint64_t size_bytes, uint32_t access_mask,
			      uint64_t *ret_contiguous_bytes);

/** What a reader's translations came to since it was made. */
struct rp_dma_reader_counters {
	uint64_t translations; /**< answered with an address */
	uint64_t refused; /**< answered NULL: not mapped (any more), without that access, or without a file */
};

/** Any thread, while the reader is there: whole words, which may be of different moments. */
void rp_dma_reader_counters(const struct rp_dma_reader *reader, struct rp_dma_reader_counters *ret_counters);

#endif
