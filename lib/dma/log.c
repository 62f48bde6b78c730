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
 * Theory of operation. The watched pages are a few runs, sorted and disjoint, whose
 * bits stand one after the other in one bitmap. The bitmap is memory that is only
 * reserved: it costs what is touched, so that a guest's whole address space can be
 * watched.
 *
 * A bit is set after the bytes were written, with release, and taken with acquire
 * before the peer is told: who reads a page after the report sees what was written
 * before the bit was taken. A log is published and taken away as a table is.
 */

#define WORD_BITS 64u
/* Of one log: 32 TiB in pages of 4 KiB, a reservation of 1 GiB. */
#define PAGES_MAX (UINT64_C(1) << 33)

struct run {
	uint64_t first_page;
	uint64_t last_page;
	uint64_t first_bit;
};

struct rp_dma_log {
	_Atomic uint64_t *words;
	uint64_t words_bytes;
	unsigned int page_shift;
	uint32_t runs_count;
	struct run runs[];
};

static bool
is_power_of_two(uint64_t value)
{
	return value != 0 && (value & (value - 1)) == 0;
}

static int
compare_runs(const void *left, const void *right)
{
	const struct run *a = left, *b = right;

	return a->first_page < b->first_page ? -1 : a->first_page > b->first_page;
}

/* Sorted, what touches made one, and each with its place in the bitmap. @return how many pages. */
static uint64_t
join_runs(struct rp_dma_log *log)
{
	uint64_t pages_count = 0;
	uint32_t i, kept = 0;

	qsort(log->runs, log->runs_count, sizeof(log->runs[0]), compare_runs);
	for (i = 1; i < log->runs_count; i++) {
		struct run *last = &log->runs[kept];

		if (log->runs[i].first_page > last->last_page)
			log->runs[++kept] = log->runs[i];
		else if (log->runs[i].last_page > last->last_page)
			last->last_page = log->runs[i].last_page;
	}
	log->runs_count = kept + 1;
	for (i = 0; i < log->runs_count && pages_count <= PAGES_MAX; i++) {
		uint64_t size = log->runs[i].last_page - log->runs[i].first_page;

		log->runs[i].first_bit = pages_count;
		pages_count = size < PAGES_MAX ? pages_count + size + 1 : PAGES_MAX + 1;
	}
	return pages_count;
}

static int
fill_runs(struct rp_dma_log *log, const struct rp_dma_log_range *ranges, uint32_t ranges_count, struct rp_wire_why *why)
{
	uint32_t i;

	for (i = 0; i < ranges_count; i++) {
		uint64_t last_iova;

		if (ranges[i].size_bytes == 0 ||
		    __builtin_add_overflow(ranges[i].iova, ranges[i].size_bytes - 1, &last_iova))
			return rp_wire_why_set(why, -EBADMSG,
					       "log: range %" PRIu32 ": 0x%" PRIx64 " bytes at 0x%" PRIx64
					       ", expected some that end at 2^64 or below",
					       i, ranges[i].size_bytes, ranges[i].iova);
		log->runs[i].first_page = ranges[i].iova >> log->page_shift;
		log->runs[i].last_page = last_iova >> log->page_shift;
	}
	log->runs_count = ranges_count;
	return 0;
}

static int
reserve_words(struct rp_dma_log *log, uint64_t pages_count, struct rp_wire_why *why)
{
	void *words;

	if (pages_count > PAGES_MAX)
		return rp_wire_why_set(why, -ENOSPC, "log: more than 0x%" PRIx64 " pages", PAGES_MAX);
	log->words_bytes = (pages_count + WORD_BITS - 1) / WORD_BITS * sizeof(log->words[0]);
	words = mmap(NULL, log->words_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1,
		     0);
	if (words == MAP_FAILED)
		return rp_wire_why_set(why, -ENOSPC, "log: no memory for 0x%" PRIx64 " pages", pages_count);
	log->words = words;
	return 0;
}

/* Who is in the space when it changes hands has left when this returns. */
static void
publish(struct rp_dma_space *space, struct rp_dma_log *log)
{
	atomic_store_explicit(&space->log, log, memory_order_seq_cst);
	atomic_fetch_add_explicit(&space->epoch, 1, memory_order_seq_cst);
	rp_dma_space_synchronize(space);
}

int
rp_dma_log_start(struct rp_dma_space *space, uint64_t page_bytes, const struct rp_dma_log_range *ranges,
		 uint32_t ranges_count, struct rp_wire_why *why)
{
	struct rp_dma_log *log;
	int rc;

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
	log = calloc(1, sizeof(*log) + ranges_count * sizeof(log->runs[0]));
	if (log == NULL)
		return rp_wire_why_set(why, -ENOSPC, "log: no memory");
	log->page_shift = (unsigned int)__builtin_ctzll(page_bytes);
	rc = fill_runs(log, ranges, ranges_count, why);
	if (rc == 0)
		rc = reserve_words(log, join_runs(log), why);
	if (rc < 0) {
		free(log);
		return rc;
	}
	publish(space, log);
	return 0;
}

void
rp_dma_log_stop(struct rp_dma_space *space)
{
	struct rp_dma_log *log = atomic_load_explicit(&space->log, memory_order_relaxed);

	if (log == NULL)
		return;
	publish(space, NULL);
	munmap((void *)log->words, log->words_bytes);
	free(log);
}

bool
rp_dma_log_is_on(const struct rp_dma_space *space)
{
	return atomic_load_explicit(&space->log, memory_order_relaxed) != NULL;
}

/* The first run that ends at `page` or above; runs_count when there is none. */
static uint32_t
lower_run(const struct rp_dma_log *log, uint64_t page)
{
	uint32_t low = 0, high = log->runs_count;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;

		if (log->runs[middle].last_page < page)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* Some neighbouring pages whose bits stand in one word. */
struct bits {
	_Atomic uint64_t *word;
	uint64_t mask;
	uint64_t first_page; /* of the word's bit 0, which need not be one of them */
};

/* The next such pages from *page up to last_page; *page is then behind them. @return false: no more. */
static bool
next_bits(const struct rp_dma_log *log, uint64_t *page, uint64_t last_page, bool *end, struct bits *bits)
{
	uint32_t index = lower_run(log, *page);
	const struct run *run = &log->runs[index];
	uint64_t bit, count, left;

	if (*end || index == log->runs_count || run->first_page > last_page)
		return false;
	if (*page < run->first_page)
		*page = run->first_page;
	bit = run->first_bit + (*page - run->first_page);
	count = WORD_BITS - bit % WORD_BITS;
	left = (last_page < run->last_page ? last_page : run->last_page) - *page;
	if (left < count)
		count = left + 1;
	bits->word = &log->words[bit / WORD_BITS];
	bits->mask = (UINT64_MAX >> (WORD_BITS - count)) << bit % WORD_BITS;
	bits->first_page = *page - bit % WORD_BITS;
	/* The last page of all has none behind it. */
	*end = count > last_page - *page;
	*page += count;
	return true;
}

static void
mark(struct rp_dma_log *log, uint64_t iova, uint64_t size_bytes)
{
	uint64_t last_iova, page = iova >> log->page_shift;
	struct bits bits;
	bool end = false;

	if (size_bytes == 0)
		return;
	if (__builtin_add_overflow(iova, size_bytes - 1, &last_iova))
		last_iova = UINT64_MAX;
	while (next_bits(log, &page, last_iova >> log->page_shift, &end, &bits))
		atomic_fetch_or_explicit(bits.word, bits.mask, memory_order_release);
}

void
rp_dma_log_mark_visiting(struct rp_dma_space *space, uint64_t iova, uint64_t size_bytes)
{
	struct rp_dma_log *log = atomic_load_explicit(&space->log, memory_order_acquire);

	if (log != NULL)
		mark(log, iova, size_bytes);
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

static int
report_check(const struct rp_dma_log *log, uint64_t iova, uint64_t size_bytes, uint64_t page_bytes,
	     uint64_t bitmap_bytes, struct rp_wire_why *why)
{
	uint64_t last_iova;

	if (log == NULL)
		return rp_wire_why_set(why, -EBUSY, "log: is not on");
	if (!is_power_of_two(page_bytes) || page_bytes >> log->page_shift == 0)
		return rp_wire_why_set(why, -EBADMSG,
				       "log: page size is 0x%" PRIx64 ", expected a power of two from 0x%" PRIx64 " on",
				       page_bytes, UINT64_C(1) << log->page_shift);
	if (size_bytes == 0 || (iova | size_bytes) % page_bytes != 0 ||
	    __builtin_add_overflow(iova, size_bytes - 1, &last_iova))
		return rp_wire_why_set(why, -EBADMSG,
				       "log: 0x%" PRIx64 " bytes at 0x%" PRIx64 ", expected whole pages below 2^64",
				       size_bytes, iova);
	if (bitmap_bytes < rp_dma_log_bitmap_bytes(size_bytes, page_bytes))
		return rp_wire_why_set(why, -EMSGSIZE,
				       "log: room for a bitmap is 0x%" PRIx64 " bytes, expected 0x%" PRIx64,
				       bitmap_bytes, rp_dma_log_bitmap_bytes(size_bytes, page_bytes));
	return 0;
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
	struct rp_dma_log *log = atomic_load_explicit(&space->log, memory_order_relaxed);
	uint64_t page, last_page;
	unsigned int shift;
	struct bits bits;
	bool end = false;
	int rc;

	rc = report_check(log, iova, size_bytes, page_bytes, bitmap_bytes, why);
	if (rc < 0)
		return rc;
	memset(ret_bitmap, 0, rp_dma_log_bitmap_bytes(size_bytes, page_bytes));
	page = iova >> log->page_shift;
	last_page = (iova + (size_bytes - 1)) >> log->page_shift;
	shift = (unsigned int)__builtin_ctzll(page_bytes) - log->page_shift;
	while (next_bits(log, &page, last_page, &end, &bits)) {
		uint64_t dirty;

		if ((atomic_load_explicit(bits.word, memory_order_relaxed) & bits.mask) == 0)
			continue;
		dirty = atomic_fetch_and_explicit(bits.word, ~bits.mask, memory_order_acq_rel) & bits.mask;
		for (; dirty != 0; dirty &= dirty - 1)
			set_page(ret_bitmap,
				 (bits.first_page + (uint64_t)__builtin_ctzll(dirty) - (iova >> log->page_shift)) >>
					 shift);
	}
	return 0;
}
