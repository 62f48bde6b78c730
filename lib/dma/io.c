/* SPDX-License-Identifier: BSD-3-Clause */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "change.h"
#include "copy.h"
#include "io.h"
#include "log.h"
#include "visit.h"

/*
 * Theory of operation. An access is looked up, checked and copied within one
 * visit, so against one table. What has no file becomes parts, each with a hold:
 * from then on an unmap of the range waits for them and not for the visit.
 *
 * `left_count` counts the open parts, and the submitter until every part is with
 * the carrier; who brings it to 0 completes the access, unless somebody cancels
 * it: then the one who cancels does. Both are decided under the space's lock, so
 * exactly one of them does it.
 */

enum state {
	IO_IDLE,
	IO_RUNNING,
	IO_ENDING, /* somebody cancels it; parts still finish */
	IO_DONE,
};

/* Steps through the segments of an access, entry by entry. */
struct walk {
	uint64_t table;
	const struct rp_dma_io *io;
	unsigned int segment_index;
	uint64_t segment_bytes; /* done of that segment */
};

struct piece {
	uint64_t iova;
	uint64_t size_bytes;
	uint8_t *bytes;
	uint8_t *hva; /* NULL: by messages */
};

/* @return 1: a piece; 0: no more; -EFAULT. */
static int
walk_next(struct walk *walk, struct piece *piece)
{
	const uint32_t access_mask = walk->io->write ? RP_DMA_WRITE : RP_DMA_READ;
	const struct rp_dma_segment *segment;
	struct rp_dma_entry entry;
	uint64_t left_bytes;

	for (;; walk->segment_index++, walk->segment_bytes = 0) {
		if (walk->segment_index == walk->io->segments_count)
			return 0;
		segment = &walk->io->segments[walk->segment_index];
		if (walk->segment_bytes < segment->size_bytes)
			break;
	}
	left_bytes = segment->size_bytes - walk->segment_bytes;
	if (__builtin_add_overflow(segment->iova, walk->segment_bytes, &piece->iova))
		return -EFAULT;
	if (!rp_dma_table_find(walk->table, piece->iova, &entry) || (entry.access_mask & access_mask) == 0)
		return -EFAULT;
	piece->size_bytes = entry.last_iova - piece->iova;
	piece->size_bytes = left_bytes - 1 <= piece->size_bytes ? left_bytes : piece->size_bytes + 1;
	piece->bytes = (uint8_t *)segment->bytes + walk->segment_bytes;
	piece->hva = entry.hva == NULL ? NULL : entry.hva + (piece->iova - entry.first_iova);
	walk->segment_bytes += piece->size_bytes;
	return 1;
}

/* Whether all of it is mapped, and how much of it goes by messages. */
static int
count_parts(uint64_t table, const struct rp_dma_io *io, unsigned int *ret_count)
{
	struct walk walk = {.table = table, .io = io};
	struct piece piece;
	int rc;

	*ret_count = 0;
	while ((rc = walk_next(&walk, &piece)) == 1)
		*ret_count += piece.hva == NULL;
	return rc;
}

static void complete(struct rp_dma_io *io, struct rp_dma_completion *completion);

/* Lock held. @return whether the caller, without the lock, calls complete(). */
static bool
leave(struct rp_dma_io *io, struct rp_dma_completion *completion)
{
	if (--io->left_count > 0 || io->state != IO_RUNNING)
		return false;
	io->state = IO_DONE;
	if (io->done != NULL) {
		*completion = (struct rp_dma_completion){.io = io, .thread = pthread_self()};
		LIST_INSERT_HEAD(&io->space->completions, completion, link);
	}
	return true;
}

static void
part_finished(struct rp_dma_transfer *transfer, int error)
{
	struct rp_dma_io_part *part = transfer->owner;
	struct rp_dma_io *io = part->io;
	struct rp_dma_space *space = io->space;
	struct rp_dma_completion completion;
	bool last;

	/* Before the hold goes: an unmap that has settled reports all of its range. Some of what failed was written. */
	if (io->write)
		rp_dma_log_mark(space, transfer->iova, transfer->size_bytes);
	pthread_mutex_lock(&space->lock);
	rp_dma_hold_close(space, &part->hold);
	if (error < 0 && io->error == 0)
		io->error = error;
	last = leave(io, &completion);
	rp_dma_change_wake(space);
	/* Who waited for this may end the space from here on. */
	pthread_mutex_unlock(&space->lock);
	if (last)
		complete(io, &completion);
}

static void
free_parts(struct rp_dma_io *io)
{
	if (io->parts != &io->first_part)
		free(io->parts);
	io->parts = NULL;
}

/* The access is the caller's again from done() or sem_post() on: nothing of it is touched after that. */
static void
complete(struct rp_dma_io *io, struct rp_dma_completion *completion)
{
	struct rp_dma_space *space = io->space;

	free_parts(io);
	if (io->done == NULL) {
		sem_post(&io->finished);
		return;
	}
	io->done(io, io->error);
	pthread_mutex_lock(&space->lock);
	LIST_REMOVE(completion, link);
	rp_dma_space_wake_sleepers(space);
	pthread_mutex_unlock(&space->lock);
}

/* One hold for each part, unless the table has changed: then everything is looked up again. */
static int
open_parts(struct rp_dma_space *space, uint64_t table, struct rp_dma_io *io)
{
	struct walk walk = {.table = table, .io = io};
	struct rp_dma_io_part *part = io->parts;
	struct piece piece;
	int rc = 0;

	pthread_mutex_lock(&space->lock);
	if (rp_dma_visit_table(space) != table)
		rc = -EAGAIN;
	while (rc == 0 && walk_next(&walk, &piece) == 1) {
		if (piece.hva != NULL)
			continue;
		part->io = io;
		part->transfer = (struct rp_dma_transfer){
			.write = io->write,
			.iova = piece.iova,
			.size_bytes = piece.size_bytes,
			.bytes = piece.bytes,
			.finished = part_finished,
			.owner = part,
		};
		rp_dma_hold_open(space, &part->hold, piece.iova, piece.iova + (piece.size_bytes - 1),
				 RP_DMA_HOLD_TRANSFER, io);
		part++;
	}
	pthread_mutex_unlock(&space->lock);
	return rc;
}

static int
make_parts(struct rp_dma_space *space, uint64_t table, struct rp_dma_io *io)
{
	int rc;

	if (space->carrier == NULL)
		return -ENOTSUP;
	io->parts = io->parts_count == 1 ? &io->first_part : calloc(io->parts_count, sizeof(*io->parts));
	if (io->parts == NULL)
		return -ENOMEM;
	rc = open_parts(space, table, io);
	if (rc < 0)
		free_parts(io);
	return rc;
}

static void
copy_mapped(struct rp_dma_space *space, uint64_t table, const struct rp_dma_io *io)
{
	struct walk walk = {.table = table, .io = io};
	struct piece piece;

	while (walk_next(&walk, &piece) == 1) {
		if (piece.hva == NULL)
			continue;
		rp_dma_copy(piece.hva, piece.bytes, piece.size_bytes, io->write);
		if (io->write)
			rp_dma_log_mark_visiting(space, piece.iova, piece.size_bytes);
	}
}

/* What can be done against the table of this moment. @return 0, -EAGAIN (it is not this moment's any more), an error. */
static int
look_up_and_copy(struct rp_dma_space *space, struct rp_dma_io *io)
{
	struct rp_dma_visit *visit = rp_dma_visit_begin(space);
	uint64_t table = rp_dma_visit_table(space);
	int rc = count_parts(table, io, &io->parts_count);

	if (rc == 0 && io->parts_count > 0)
		rc = make_parts(space, table, io);
	if (rc == 0)
		copy_mapped(space, table, io);
	rp_dma_visit_end(space, visit);
	return rc;
}

/* The first `count` parts are or were with the carrier: when this returns, none is. */
static void
end_parts(struct rp_dma_io *io, unsigned int count)
{
	struct rp_dma_space *space = io->space;
	unsigned int i;

	for (i = 0; i < count; i++) {
		struct rp_dma_transfer *transfer = &io->parts[i].transfer;

		space->carrier->cancel(space->carrier_ctx, transfer);
		/* What was on its way may still arrive. */
		if (transfer->write)
			rp_dma_log_mark(space, transfer->iova, transfer->size_bytes);
	}
	pthread_mutex_lock(&space->lock);
	for (i = 0; i < io->parts_count; i++)
		rp_dma_hold_close(space, &io->parts[i].hold);
	rp_dma_change_wake(space);
	pthread_mutex_unlock(&space->lock);
}

static int
hand_over(struct rp_dma_io *io)
{
	struct rp_dma_space *space = io->space;
	unsigned int i;
	int rc;

	for (i = 0; i < io->parts_count; i++) {
		rc = space->carrier->submit(space->carrier_ctx, &io->parts[i].transfer);
		if (rc == 0)
			continue;
		end_parts(io, i);
		free_parts(io);
		return rc;
	}
	return 0;
}

int
rp_dma_io_submit(struct rp_dma_space *space, struct rp_dma_io *io)
{
	struct rp_dma_completion completion;
	bool last;
	int rc;

	io->space = space;
	io->parts = NULL;
	io->error = 0;
	do {
		rc = look_up_and_copy(space, io);
	} while (rc == -EAGAIN);
	if (rc < 0)
		return rc;
	/* All of it is copied and nobody is to be told: most accesses of a data path. No lock, and nothing to cancel. */
	if (io->parts_count == 0 && io->done == NULL) {
		sem_init(&io->finished, 0, 1);
		io->state = IO_DONE;
		return 0;
	}
	sem_init(&io->finished, 0, 0);
	io->state = IO_RUNNING;
	io->left_count = io->parts_count + 1;
	rc = hand_over(io);
	if (rc < 0) {
		io->state = IO_IDLE;
		return rc;
	}
	pthread_mutex_lock(&space->lock);
	last = leave(io, &completion);
	pthread_mutex_unlock(&space->lock);
	if (last)
		complete(io, &completion);
	return 0;
}

int
rp_dma_io_wait(struct rp_dma_io *io)
{
	while (sem_wait(&io->finished) < 0)
		assert(errno == EINTR);
	sem_destroy(&io->finished);
	return io->error;
}

/* Lock held. @return whether a done() of it, or of any for NULL, runs in another thread. */
static bool
completes_elsewhere(const struct rp_dma_space *space, const struct rp_dma_io *io)
{
	const struct rp_dma_completion *completion;

	for (completion = LIST_FIRST(&space->completions); completion != NULL;
	     completion = LIST_NEXT(completion, link)) {
		if ((io == NULL || completion->io == io) && pthread_equal(completion->thread, pthread_self()) == 0)
			return true;
	}
	return false;
}

/* Lock held on entry, released on return. It was running, and is ours to end. */
static void
end_running(struct rp_dma_io *io)
{
	struct rp_dma_space *space = io->space;

	io->state = IO_ENDING;
	pthread_mutex_unlock(&space->lock);
	end_parts(io, io->parts_count);
	free_parts(io);
	pthread_mutex_lock(&space->lock);
	io->error = -ECANCELED;
	io->state = IO_DONE;
	rp_dma_space_wake_sleepers(space);
	pthread_mutex_unlock(&space->lock);
}

void
rp_dma_io_cancel(struct rp_dma_io *io)
{
	struct rp_dma_space *space = io->space;

	if (space == NULL)
		return;
	pthread_mutex_lock(&space->lock);
	while (io->state == IO_ENDING || completes_elsewhere(space, io))
		rp_dma_space_sleep(space);
	if (io->state != IO_RUNNING) {
		pthread_mutex_unlock(&space->lock);
		return;
	}
	end_running(io);
	if (io->done == NULL)
		sem_post(&io->finished);
}

void
rp_dma_io_end_all(struct rp_dma_space *space)
{
	struct rp_dma_hold *hold;

	pthread_mutex_lock(&space->lock);
	for (hold = LIST_FIRST(&space->holds); hold != NULL;) {
		struct rp_dma_io *io = hold->owner;

		if (hold->kind != RP_DMA_HOLD_TRANSFER) {
			hold = LIST_NEXT(hold, link);
			continue;
		}
		end_running(io);
		if (io->done == NULL)
			sem_post(&io->finished);
		else
			io->done(io, -ECANCELED);
		pthread_mutex_lock(&space->lock);
		hold = LIST_FIRST(&space->holds);
	}
	while (completes_elsewhere(space, NULL))
		rp_dma_space_sleep(space);
	pthread_mutex_unlock(&space->lock);
}

static int
transfer_and_wait(struct rp_dma_space *space, const struct rp_dma_segment *segments, unsigned int segments_count,
		  bool write)
{
	struct rp_dma_io io = {.write = write, .segments = segments, .segments_count = segments_count};
	int rc = rp_dma_io_submit(space, &io);

	return rc < 0 ? rc : rp_dma_io_wait(&io);
}

int
rp_dma_io_read(struct rp_dma_space *space, const struct rp_dma_segment *segments, unsigned int segments_count)
{
	return transfer_and_wait(space, segments, segments_count, false);
}

int
rp_dma_io_write(struct rp_dma_space *space, const struct rp_dma_segment *segments, unsigned int segments_count)
{
	return transfer_and_wait(space, segments, segments_count, true);
}

void
rp_dma_space_set_carrier(struct rp_dma_space *space, const struct rp_dma_carrier_ops *ops, void *ctx)
{
	space->carrier = ops;
	space->carrier_ctx = ctx;
}
