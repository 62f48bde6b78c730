/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef RP_DMA_IO_H
#define RP_DMA_IO_H

#include <semaphore.h>
#include <stdbool.h>
#include <stdint.h>

#include "rp_dma.h"
#include "rp_dma_carrier.h"

/**
 * @file
 * Bytes of an address space, wherever they are: copied at once where a file is
 * mapped, carried by messages where not. Scatter-gather, with everything under
 * way before the first answer.
 *
 * Threads: any; the caller needs no rp_dma_reader. Nothing here waits for the
 * space's writer. rp_dma_io_wait(), rp_dma_io_read() and rp_dma_io_write() wait
 * for the carrier when a range has no file: never call them then in its thread.
 *
 * Mapped memory: a concurrent unmap waits for the copy. A segment of 1, 2, 4 or
 * 8 bytes, aligned on both sides, is one access: a read acquires, a write
 * releases, so a ring's index written last is seen last. Everything else is
 * copied in no particular order.
 *
 * Messages: transfers may overtake each other. To order two accesses (payload,
 * then the used index) start the second when the first is done.
 *
 * Ownership: the struct, the segments and their bytes are the caller's and stay
 * until done() began, or rp_dma_io_wait() or rp_dma_io_cancel() returned.
 *
 * Errors: -EFAULT where memory is not mapped with that access, -ENOTSUP where
 * nobody carries, -ENOTCONN, -ECANCELED, -ENOMEM, and what the peer answered.
 */

/** One contiguous piece, of the address space and of ours. */
struct rp_dma_segment {
	uint64_t iova;
	uint64_t size_bytes; /**< 0: nothing */
	void *bytes; /**< ours: source of a write, destination of a read */
};

/** A reference into the peer's memory that an unmap waits for. Private to lib/dma. */
struct rp_dma_hold {
	LIST_ENTRY(rp_dma_hold) link;
	uint64_t first_iova;
	uint64_t last_iova;
	uint64_t ticket; /**< of the last change before it */
	uint64_t gone_ticket; /**< of the change that took all of it; 0: none has */
	void *owner;
	uint8_t kind;
	bool open;
	bool ended; /**< its range has gone */
};

struct rp_dma_io;

/** What goes by messages. Private to lib/dma. */
struct rp_dma_io_part {
	struct rp_dma_transfer transfer;
	struct rp_dma_hold hold;
	struct rp_dma_io *io;
};

/** One access. Zero-initialise; may be used again when it is done. */
struct rp_dma_io {
	bool write; /**< true: our bytes go to the address space */
	const struct rp_dma_segment *segments;
	unsigned int segments_count;
	/**
	 * NULL: use rp_dma_io_wait(). Runs once, in the carrier's thread, or inside
	 * rp_dma_io_submit() when nothing is left to wait for. May submit it again
	 * (where memory is mapped that is a call within a call: not without end) or
	 * free it, unless somebody may cancel it.
	 */
	void (*done)(struct rp_dma_io *io, int error);
	void *ctx; /**< the caller's */

	/* Private from here. */
	struct rp_dma_space *space;
	struct rp_dma_io_part *parts;
	struct rp_dma_io_part first_part; /* most accesses have one, and need no memory */
	unsigned int parts_count;
	unsigned int left_count;
	int state;
	int error;
	sem_t finished;
};

/**
 * Start an access. The parts of its segments that lie behind files are copied
 * before this returns, all others are with the carrier when it returns.
 *
 * @return 0; -EFAULT (some byte is not mapped with that access, nothing was done);
 *         -ENOTSUP (some range has no file, and nobody carries; nothing was done);
 *         -ENOMEM (nothing was done); -ENOTCONN or -ENOTSUP of the carrier (what is
 *         mapped may have been copied). After an error done() is not called, and
 *         there is nothing to wait for.
 */
int rp_dma_io_submit(struct rp_dma_space *space, struct rp_dma_io *io);

/**
 * Sleep until a submitted access without done() has finished. Once for each
 * successful submit. Not in the carrier's thread when a range has no file.
 *
 * @return 0, -ECANCELED, -ENOTCONN, or what the peer answered.
 */
int rp_dma_io_wait(struct rp_dma_io *io);

/**
 * Give a submitted access up, from any thread. When it returns nothing of ours
 * touches its bytes, and done() neither runs nor will run, but in the calling
 * thread. Who waits for it gets -ECANCELED. Too late is no error.
 */
void rp_dma_io_cancel(struct rp_dma_io *io);

/**
 * Read segments of the address space and wait. Not in the carrier's thread when
 * a range has no file.
 *
 * @return 0, or an error of rp_dma_io_submit() or rp_dma_io_wait().
 */
int rp_dma_io_read(struct rp_dma_space *space, const struct rp_dma_segment *segments, unsigned int segments_count);

/**
 * Write segments of the address space and wait. Not in the carrier's thread when
 * a range has no file.
 *
 * @return 0, or an error of rp_dma_io_submit() or rp_dma_io_wait().
 */
int rp_dma_io_write(struct rp_dma_space *space, const struct rp_dma_segment *segments, unsigned int segments_count);

#endif
