/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "log.h"
#include "reader.h"
#include "visit.h"

/*
 * Theory of operation. The watched ranges are a table of the library's kind (table.h),
 * in which tracks stand where a space has bytes: a track is the pages of one range with
 * a bit for each. So a million ranges cost no more to find than a million mappings, and
 * each may have pages of its own size. A large bitmap is memory that is only reserved:
 * it costs what is touched, so that a guest's whole address space can be watched.
 *
 * A bit is set after the bytes were written, with release, and taken with acquire
 * before the peer is told: who reads a page after the report sees what was written
 * before the bit was taken. A log's table is published and taken away as a space's is.
 */

#define WORD_BITS 64u
/* Of one log: 32 TiB in pages of 4 KiB, a reservation of 1 GiB. */
#define PAGES_MAX (UINT64_C(1) << 33)
/* A bitmap from here on is reserved, not allocated. */
#define RESERVE_BYTES (UINT64_C(64) << 10)

/* The pages of one range. */
struct run {
	uint64_t first_page;
	uint64_t last_page;
};

struct track {
	_Atomic uint64_t *words; /* bit 0 is the first page's */
	struct track *next; /* until it is published: made for the same table */
	uint64_t reserved_bytes; /* 0: the words are behind the track */
	struct run run;
	unsigned int page_shift;
};

static bool
is_power_of_two(uint64_t value)
{
	return value != 0 && (value & (value - 1)) == 0;
}

/* The writer's. */
static uint64_t
current(const struct rp_dma_space *space)
{
	return atomic_load_explicit(&space->log, memory_order_relaxed);
}

static uint64_t
pages_of(const struct run *run)
{
	return run->last_page - run->first_page + 1;
}

static uint64_t
first_iova_of(const struct track *track)
{
	return track->run.first_page << track->page_shift;
}

static uint64_t
last_iova_of(const struct track *track)
{
	return track->run.last_page << track->page_shift | ((UINT64_C(1) << track->page_shift) - 1);
}

static int
find_run(const struct rp_dma_log_range *range, uint32_t index, unsigned int page_shift, struct run *ret_run,
	 struct rp_wire_why *why)
{
	uint64_t last_iova;

	if (range->size_bytes == 0 || __builtin_add_overflow(range->iova, range->size_bytes - 1, &last_iova))
		return rp_wire_why_set(why, -EBADMSG,
				       "log: range %" PRIu32 ": 0x%" PRIx64 " bytes at 0x%" PRIx64
				       ", expected some that end at 2^64 or below",
				       index, range->size_bytes, range->iova);
	ret_run->first_page = range->iova >> page_shift;
	ret_run->last_page = last_iova >> page_shift;
	return 0;
}

static int
compare_runs(const void *left, const void *right)
{
	const struct run *a = left, *b = right;

	return a->first_page < b->first_page ? -1 : a->first_page > b->first_page;
}

/* Sorted, and what touches made one. @return how many are left. */
static uint32_t
join_runs(struct run *runs, uint32_t count)
{
	uint32_t i, kept = 0;

	qsort(runs, count, sizeof(runs[0]), compare_runs);
	for (i = 1; i < count; i++) {
		if (runs[i].first_page > runs[kept].last_page)
			runs[++kept] = runs[i];
		else if (runs[i].last_page > runs[kept].last_page)
			runs[kept].last_page = runs[i].last_page;
	}
	return kept + 1;
}

static int
no_memory(uint64_t pages_count, struct rp_wire_why *why)
{
	return rp_wire_why_set(why, -ENOSPC, "log: no memory for 0x%" PRIx64 " pages", pages_count);
}

/* @return NULL: no memory. */
static struct track *
track_create(const struct run *run, unsigned int page_shift)
{
	uint64_t bytes = (pages_of(run) + WORD_BITS - 1) / WORD_BITS * sizeof(uint64_t);
	struct track *track = calloc(1, sizeof(*track) + (bytes < RESERVE_BYTES ? bytes : 0));
	void *words;

	if (track == NULL)
		return NULL;
	track->run = *run;
	track->page_shift = page_shift;
	track->words = (void *)(track + 1);
	if (bytes < RESERVE_BYTES)
		return track;
	words = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (words == MAP_FAILED) {
		free(track);
		return NULL;
	}
	track->words = words;
	track->reserved_bytes = bytes;
	return track;
}

static void
track_destroy(struct rp_dma_space *space, struct track *track)
{
	space->log_pages -= pages_of(&track->run);
	if (track->reserved_bytes > 0)
		munmap((void *)track->words, track->reserved_bytes);
	free(track);
}

static void
drop(void *ctx, uint8_t *hva)
{
	track_destroy(ctx, (void *)hva);
}

/* One more range, in the table to be. */
static int
insert_track(struct rp_dma_space *space, struct rp_dma_edit *edit, const struct run *run, unsigned int page_shift,
	     struct track **made, struct rp_wire_why *why)
{
	struct rp_dma_entry entry = {.access_mask = RP_DMA_WRITE};
	struct track *track;

	/* A run of all addresses in pages of one byte has 2^64: 0. */
	if (pages_of(run) - 1 >= PAGES_MAX - space->log_pages)
		return rp_wire_why_set(why, -ENOSPC, "log: more than 0x%" PRIx64 " pages", PAGES_MAX);
	track = track_create(run, page_shift);
	if (track == NULL)
		return no_memory(pages_of(run), why);
	entry.first_iova = first_iova_of(track);
	entry.last_iova = last_iova_of(track);
	entry.hva = (uint8_t *)track;
	space->log_pages += pages_of(run);
	track->next = *made;
	*made = track;
	rp_dma_edit_insert(edit, &entry);
	return edit->failed ? no_memory(pages_of(run), why) : 0;
}

/* Who is in the space when it changes hands has left when this returns. */
static void
publish(struct rp_dma_space *space, struct rp_dma_edit *edit)
{
	struct rp_dma_gone gone = rp_dma_edit_commit(edit);

	atomic_store_explicit(&space->log, edit->table, memory_order_seq_cst);
	atomic_fetch_add_explicit(&space->epoch, 1, memory_order_seq_cst);
	rp_dma_space_synchronize(space);
	rp_dma_gone_dispose(&gone, &space->store->pool, drop, space);
}

/* Nothing was published: the tracks that were made for it go. */
static void
give_up(struct rp_dma_space *space, struct rp_dma_edit *edit, struct track *made)
{
	struct track *next;

	rp_dma_edit_abort(edit);
	for (; made != NULL; made = next) {
		next = made->next;
		track_destroy(space, made);
	}
}

static int
start_check(const struct rp_dma_space *space, uint64_t page_bytes, uint32_t ranges_count, struct rp_wire_why *why)
{
	if (rp_dma_log_is_on(space))
		return rp_wire_why_set(why, -EBUSY, "log: is on already");
	if (!is_power_of_two(page_bytes))
		return rp_wire_why_set(why, -EBADMSG, "log: page size is 0x%" PRIx64 ", expected a power of two",
				       page_bytes);
	if (ranges_count == 0)
		return rp_wire_why_set(why, -EBADMSG, "log: no range, expected at least one");
	if (ranges_count > RP_DMA_LOG_RANGES_MAX)
		return rp_wire_why_set(why, -ENOSPC, "log: %" PRIu32 " ranges, at most %u are allowed", ranges_count,
				       RP_DMA_LOG_RANGES_MAX);
	return 0;
}

int
rp_dma_log_start(struct rp_dma_space *space, uint64_t page_bytes, const struct rp_dma_log_range *ranges,
		 uint32_t ranges_count, struct rp_wire_why *why)
{
	struct run runs[RP_DMA_LOG_RANGES_MAX] = {{0}};
	struct track *made = NULL;
	struct rp_dma_edit edit;
	unsigned int page_shift;
	uint32_t i;
	int rc;

	rc = start_check(space, page_bytes, ranges_count, why);
	if (rc < 0)
		return rc;
	page_shift = (unsigned int)__builtin_ctzll(page_bytes);
	for (i = 0; rc == 0 && i < ranges_count; i++)
		rc = find_run(&ranges[i], i, page_shift, &runs[i], why);
	if (rc < 0)
		return rc;
	ranges_count = join_runs(runs, ranges_count);
	rp_dma_edit_begin(&edit, &space->store->pool, RP_DMA_TABLE_EMPTY);
	for (i = 0; rc == 0 && i < ranges_count; i++)
		rc = insert_track(space, &edit, &runs[i], page_shift, &made, why);
	if (rc < 0) {
		give_up(space, &edit, made);
		return rc;
	}
	publish(space, &edit);
	return 0;
}

int
rp_dma_log_add(struct rp_dma_space *space, uint64_t page_bytes, const struct rp_dma_log_range *range,
	       struct rp_wire_why *why)
{
	struct track *made = NULL;
	struct rp_dma_entry above;
	struct rp_dma_edit edit;
	unsigned int page_shift;
	struct run run = {0};
	int rc;

	if (!is_power_of_two(page_bytes))
		return rp_wire_why_set(why, -EBADMSG, "log: page size is 0x%" PRIx64 ", expected a power of two",
				       page_bytes);
	page_shift = (unsigned int)__builtin_ctzll(page_bytes);
	rc = find_run(range, 0, page_shift, &run, why);
	if (rc < 0)
		return rc;
	if (rp_dma_table_next(current(space), run.first_page << page_shift, &above) &&
	    above.first_iova >> page_shift <= run.last_page)
		return rp_wire_why_set(why, -EEXIST, "log: the pages of 0x%" PRIx64 " to 0x%" PRIx64 " are watched",
				       above.first_iova, above.last_iova);
	if (rp_dma_table_count(current(space)) >= space->mappings_max)
		return rp_wire_why_set(why, -ENOSPC, "log: %" PRIu32 " ranges are watched, the most allowed",
				       space->mappings_max);
	rp_dma_edit_begin(&edit, &space->store->pool, current(space));
	rc = insert_track(space, &edit, &run, page_shift, &made, why);
	if (rc < 0) {
		give_up(space, &edit, made);
		return rc;
	}
	publish(space, &edit);
	return 0;
}

int
rp_dma_log_remove(struct rp_dma_space *space, const struct rp_dma_log_range *range, struct rp_wire_why *why)
{
	struct rp_dma_entry entry;
	struct rp_dma_edit edit;
	struct run bytes = {0};
	int rc = find_run(range, 0, 0, &bytes, why);

	if (rc < 0)
		return rc;
	if (rp_dma_table_find(current(space), bytes.first_page, &entry))
		bytes.first_page = entry.first_iova;
	if (rp_dma_table_find(current(space), bytes.last_page, &entry))
		bytes.last_page = entry.last_iova;
	rp_dma_edit_begin(&edit, &space->store->pool, current(space));
	rp_dma_edit_erase(&edit, bytes.first_page, bytes.last_page);
	if (edit.failed) {
		rp_dma_edit_abort(&edit);
		return rp_wire_why_set(why, -ENOSPC, "log: no memory");
	}
	publish(space, &edit);
	return 0;
}

void
rp_dma_log_stop(struct rp_dma_space *space)
{
	struct rp_dma_edit edit;

	if (!rp_dma_log_is_on(space))
		return;
	rp_dma_edit_begin(&edit, &space->store->pool, current(space));
	rp_dma_edit_erase(&edit, 0, UINT64_MAX);
	publish(space, &edit);
}

bool
rp_dma_log_is_on(const struct rp_dma_space *space)
{
	return current(space) != RP_DMA_TABLE_EMPTY;
}

/* Some neighbouring pages whose bits stand in one word. */
struct bits {
	const struct track *track;
	_Atomic uint64_t *word;
	uint64_t mask;
	uint64_t word_page; /* of the word's bit 0, which need not be one of them */
};

/* Steps through the watched pages of a range. */
struct walk {
	uint64_t iova; /* from here on */
	uint64_t last_iova;
	bool end;
};

/* @return whether there are more. */
static bool
next_bits(uint64_t table, struct walk *walk, struct bits *bits)
{
	uint64_t page, bit, count, left, done_iova;
	struct rp_dma_entry entry;
	const struct track *track;

	if (walk->end || (!rp_dma_table_find(table, walk->iova, &entry) &&
			  (!rp_dma_table_next(table, walk->iova, &entry) || entry.first_iova > walk->last_iova)))
		return false;
	track = (const void *)entry.hva;
	if (walk->iova < entry.first_iova)
		walk->iova = entry.first_iova;
	page = walk->iova >> track->page_shift;
	bit = page - track->run.first_page;
	count = WORD_BITS - bit % WORD_BITS;
	left = ((walk->last_iova < entry.last_iova ? walk->last_iova : entry.last_iova) >> track->page_shift) - page;
	if (left < count)
		count = left + 1;
	bits->track = track;
	bits->word = &track->words[bit / WORD_BITS];
	bits->mask = (UINT64_MAX >> (WORD_BITS - count)) << bit % WORD_BITS;
	bits->word_page = page - bit % WORD_BITS;
	done_iova = (page + (count - 1)) << track->page_shift | ((UINT64_C(1) << track->page_shift) - 1);
	/* The last page of all has none behind it. */
	walk->end = done_iova >= walk->last_iova;
	walk->iova = done_iova + 1;
	return true;
}

static void
mark(uint64_t table, uint64_t iova, uint64_t size_bytes)
{
	struct walk walk = {.iova = iova};
	struct bits bits;

	if (size_bytes == 0)
		return;
	if (__builtin_add_overflow(iova, size_bytes - 1, &walk.last_iova))
		walk.last_iova = UINT64_MAX;
	/* Also where the bit is set: who looks first may see one that is just being taken. */
	while (next_bits(table, &walk, &bits))
		atomic_fetch_or_explicit(bits.word, bits.mask, memory_order_release);
}

void
rp_dma_log_mark_visiting(struct rp_dma_space *space, uint64_t iova, uint64_t size_bytes)
{
	uint64_t table = atomic_load_explicit(&space->log, memory_order_acquire);

	if (table != RP_DMA_TABLE_EMPTY)
		mark(table, iova, size_bytes);
}

void
rp_dma_log_mark(struct rp_dma_space *space, uint64_t iova, uint64_t size_bytes)
{
	/* Also when no log is on: who begins one must see either the bytes or the visit. */
	struct rp_dma_visit *visit = rp_dma_visit_begin(space);

	rp_dma_log_mark_visiting(space, iova, size_bytes);
	rp_dma_visit_end(space, visit);
}

void
rp_dma_reader_mark(struct rp_dma_reader *reader, uint64_t iova, uint64_t size_bytes)
{
	rp_dma_log_mark_visiting(reader->space, iova, size_bytes);
}

uint64_t
rp_dma_log_bitmap_bytes(uint64_t size_bytes, uint64_t page_bytes)
{
	uint64_t pages_count = size_bytes / page_bytes + (size_bytes % page_bytes != 0);

	return (pages_count / WORD_BITS + (pages_count % WORD_BITS != 0)) * sizeof(uint64_t);
}

/* No bit of the log is to stand for more than one of the report's. */
static int
page_sizes_check(uint64_t table, uint64_t iova, uint64_t last_iova, uint64_t page_bytes, struct rp_wire_why *why)
{
	struct rp_dma_entry entry;
	uint64_t log_page_bytes;

	while (rp_dma_table_next(table, iova, &entry) && entry.first_iova <= last_iova) {
		log_page_bytes = UINT64_C(1) << ((const struct track *)(const void *)entry.hva)->page_shift;
		if (page_bytes < log_page_bytes)
			return rp_wire_why_set(why, -EBADMSG,
					       "log: page size is 0x%" PRIx64
					       ", expected a power of two from 0x%" PRIx64 " on",
					       page_bytes, log_page_bytes);
		if (entry.last_iova >= last_iova)
			break;
		iova = entry.last_iova + 1;
	}
	return 0;
}

static int
report_check(uint64_t table, uint64_t iova, uint64_t size_bytes, uint64_t page_bytes, uint64_t bitmap_bytes,
	     struct rp_wire_why *why)
{
	uint64_t last_iova;

	if (table == RP_DMA_TABLE_EMPTY)
		return rp_wire_why_set(why, -EBUSY, "log: is not on");
	if (!is_power_of_two(page_bytes))
		return rp_wire_why_set(why, -EBADMSG, "log: page size is 0x%" PRIx64 ", expected a power of two",
				       page_bytes);
	if (size_bytes == 0 || (iova | size_bytes) % page_bytes != 0 ||
	    __builtin_add_overflow(iova, size_bytes - 1, &last_iova))
		return rp_wire_why_set(why, -EBADMSG,
				       "log: 0x%" PRIx64 " bytes at 0x%" PRIx64 ", expected whole pages below 2^64",
				       size_bytes, iova);
	if (bitmap_bytes < rp_dma_log_bitmap_bytes(size_bytes, page_bytes))
		return rp_wire_why_set(why, -EMSGSIZE,
				       "log: room for a bitmap is 0x%" PRIx64 " bytes, expected 0x%" PRIx64,
				       bitmap_bytes, rp_dma_log_bitmap_bytes(size_bytes, page_bytes));
	return page_sizes_check(table, iova, last_iova, page_bytes, why);
}

static void
set_page(uint8_t *bitmap, uint64_t index)
{
	uint64_t word;

	memcpy(&word, bitmap + index / WORD_BITS * sizeof(word), sizeof(word));
	word |= UINT64_C(1) << index % WORD_BITS;
	memcpy(bitmap + index / WORD_BITS * sizeof(word), &word, sizeof(word));
}

int
rp_dma_log_report(struct rp_dma_space *space, uint64_t iova, uint64_t size_bytes, uint64_t page_bytes, void *ret_bitmap,
		  uint64_t bitmap_bytes, struct rp_wire_why *why)
{
	struct walk walk = {.iova = iova, .last_iova = iova + (size_bytes - 1)};
	uint64_t table = current(space);
	struct bits bits;
	int rc;

	rc = report_check(table, iova, size_bytes, page_bytes, bitmap_bytes, why);
	if (rc < 0)
		return rc;
	memset(ret_bitmap, 0, rp_dma_log_bitmap_bytes(size_bytes, page_bytes));
	while (next_bits(table, &walk, &bits)) {
		uint64_t dirty;

		if ((atomic_load_explicit(bits.word, memory_order_relaxed) & bits.mask) == 0)
			continue;
		dirty = atomic_fetch_and_explicit(bits.word, ~bits.mask, memory_order_acq_rel) & bits.mask;
		for (; dirty != 0; dirty &= dirty - 1) {
			uint64_t page = bits.word_page + (uint64_t)__builtin_ctzll(dirty);

			set_page(ret_bitmap, ((page << bits.track->page_shift) - iova) / page_bytes);
		}
	}
	return 0;
}
