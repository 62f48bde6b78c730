/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * What a translation costs by the number of page-granular mappings, beside one load
 * from a plain array of as many words, in the same random order; what a map and an
 * unmap cost there; and what a mapping takes of memory and of mmaps.
 *
 * One CPU: nothing here depends on where the other one is.
 */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bench.h"
#include "rp_dma.h"
#include "rp_wire_fd.h"

#define COUNT_MAX 1000000u
#define FILES 4u
#define FILE_PAGES 16384u
#define PAIRS 21u
#define PAIRS_QUICK 9u
#define STEPS (1u << 20)
#define STEPS_QUICK (1u << 18)
#define CHANGES 20000u
#define CHANGES_QUICK 4000u
#define HUGE_PAGE_BYTES ((size_t)2 << 20)
#define IOVA UINT64_C(0x100000000)
#define HOLD_IOVA (UINT64_C(1) << 60)
/* Of pages that lie anywhere: as many as most IOMMUs have addresses for. */
#define PAGE_BITS 36u

struct translate {
	const struct bench_options *options;
	struct bench_rows *rows;
	struct rp_dma_space *space;
	struct rp_dma_reader *reader;
	uint64_t page_bytes;
	uint32_t count;
	bool anywhere; /* the pages; else one behind the other */
	int fds[FILES];
	uint64_t *order; /* each of `count` numbers once */
	uint64_t *iovas; /* of the mappings, in that order */
	uint64_t *array; /* the peer's: a word for each number */
	uint64_t zero; /* the compiler does not know that it is */
	uint64_t sum;
};

static uint64_t
draw(uint64_t *random)
{
	*random ^= *random << 13;
	*random ^= *random >> 7;
	*random ^= *random << 17;
	return *random;
}

static uint64_t
iova_of(const struct translate *translate, uint64_t number)
{
	const uint64_t mask = (UINT64_C(1) << PAGE_BITS) - 1;

	if (!translate->anywhere)
		return IOVA + number * translate->page_bytes;
	/* Each step can be undone, so that no two numbers get the same page. */
	number = number * UINT64_C(0x9e3779b97f4a7c15) & mask;
	number ^= number >> (PAGE_BITS / 2);
	number = number * UINT64_C(0xbf58476d1ce4e5b9) & mask;
	number ^= number >> (PAGE_BITS / 2);
	return number * translate->page_bytes;
}

static int
map_one(struct translate *translate, uint64_t number)
{
	const struct rp_dma_mapping mapping = {
		.iova = iova_of(translate, number),
		.size_bytes = translate->page_bytes,
		.offset_bytes = number * 7919 % FILE_PAGES * translate->page_bytes,
		.access_mask = RP_DMA_READ | RP_DMA_WRITE,
		.fd = translate->fds[number % FILES],
	};

	return rp_dma_space_map(translate->space, &mapping, NULL);
}

/*
 * One loop for both sides. Waiting, each address depends on what was found before, as
 * with a chain of descriptors: then what is measured is one lookup, not how many of
 * them the processor works on at a time.
 */
static inline __attribute__((always_inline)) double
lap(struct translate *translate, bool ours, bool waiting)
{
	uint32_t steps = translate->options->quick ? STEPS_QUICK : STEPS, at = 0, i;
	const uint64_t *list = ours ? translate->iovas : translate->order;
	uint64_t found = 0, sum = 0, here_bytes, started_ns = bench_now_ns();

	for (i = 0; i < steps; i++) {
		uint64_t where = list[at] + (waiting ? found & translate->zero : 0);

		if (ours)
			found = (uintptr_t)rp_dma_reader_translate(translate->reader, where + 64, 64, RP_DMA_READ,
								   &here_bytes);
		else
			found = translate->array[where];
		sum += found;
		at = at + 1 == translate->count ? 0 : at + 1;
	}
	started_ns = bench_now_ns() - started_ns;
	translate->sum += sum;
	return (double)started_ns / steps;
}

static int
translations_waiting(void *ctx, double *ret_ns)
{
	*ret_ns = lap(ctx, true, true);
	return 0;
}

static int
loads_waiting(void *ctx, double *ret_ns)
{
	*ret_ns = lap(ctx, false, true);
	return 0;
}

static int
translations_many(void *ctx, double *ret_ns)
{
	*ret_ns = lap(ctx, true, false);
	return 0;
}

static int
loads_many(void *ctx, double *ret_ns)
{
	*ret_ns = lap(ctx, false, false);
	return 0;
}

static int
compare(struct translate *translate, const char *name, const char *peer, const struct bench_pairs_ops *ops)
{
	const struct bench_figure figure = {name, "ns"};
	const struct bench_pairs_config config = {
		.options = translate->options,
		.figures = &figure,
		.figures_count = 1,
		.peer = peer,
		.pairs_wanted = translate->options->quick ? PAIRS_QUICK : PAIRS,
	};

	return bench_pairs_run(&config, ops, translate, translate->rows);
}

static int
compare_both(struct translate *translate, const char *waiting_name, const char *many_name)
{
	static const struct bench_pairs_ops waiting = {translations_waiting, loads_waiting, NULL};
	static const struct bench_pairs_ops many = {translations_many, loads_many, NULL};
	int rc;

	rp_dma_reader_online(translate->reader);
	rc = compare(translate, waiting_name, "one indexed load, same order, each waits for the last", &waiting);
	if (rc == 0)
		rc = compare(translate, many_name, "indexed loads, same order, many at a time", &many);
	rp_dma_reader_offline(translate->reader);
	return rc;
}

/* A mapping of each file that stays: else the mmap of a file would go and come with its only mapping. */
static void
hold_files(struct translate *translate)
{
	struct rp_dma_mapping mapping = {.iova = HOLD_IOVA, .size_bytes = translate->page_bytes};
	unsigned int i;

	mapping.access_mask = RP_DMA_READ | RP_DMA_WRITE;
	for (i = 0; i < FILES; i++, mapping.iova += mapping.size_bytes) {
		mapping.fd = translate->fds[i];
		(void)rp_dma_space_map(translate->space, &mapping, NULL);
	}
}

/* Pages unmapped and mapped again, anywhere among all others. @return how many per second. */
static double
change(struct translate *translate)
{
	uint32_t wanted = translate->options->quick ? CHANGES_QUICK : CHANGES, i;
	uint64_t started_ns;

	hold_files(translate);
	started_ns = bench_now_ns();
	for (i = 0; i < wanted; i++) {
		uint64_t number = translate->order[i % translate->count];

		(void)rp_dma_space_unmap(translate->space, iova_of(translate, number), translate->page_bytes, NULL);
		(void)map_one(translate, number);
	}
	return wanted * 1e9 / (double)(bench_now_ns() - started_ns);
}

/* What this process has of memory that is no file's. */
static double
anonymous_bytes(void)
{
	static const char name[] = "Anonymous:";
	FILE *file = fopen("/proc/self/smaps_rollup", "re");
	double bytes = 0;
	char line[256];

	while (file != NULL && fgets(line, sizeof(line), file) != NULL) {
		if (strncmp(line, name, sizeof(name) - 1) == 0)
			bytes = strtod(line + sizeof(name) - 1, NULL) * 1024;
	}
	if (file != NULL)
		fclose(file);
	return bytes;
}

static unsigned int
mmaps_count(void)
{
	FILE *file = fopen("/proc/self/maps", "re");
	unsigned int count = 0;
	char line[512];

	while (file != NULL && fgets(line, sizeof(line), file) != NULL)
		count += strstr(line, "memfd:bench-translate") != NULL;
	if (file != NULL)
		fclose(file);
	return count;
}

static void
report_one(struct translate *translate, const char *name, const char *unit, double value, const char *peer,
	   double peer_value)
{
	const struct bench_row row = {.bench = name, .unit = unit, .peer = peer, .placement = PLACE_ONE};
	const struct bench_pair pair = {value, peer_value, 0, PLACE_ONE};

	report_pairs(translate->rows, &row, &pair, 1);
}

/* Random order of the first `count` numbers, which is that of the translations. */
static void
shuffle(struct translate *translate)
{
	uint64_t random = 20180612, moved;
	uint32_t i, j;

	for (i = 0; i < translate->count; i++)
		translate->order[i] = i;
	for (i = translate->count - 1; i > 0; i--) {
		j = (uint32_t)(draw(&random) % (i + 1));
		moved = translate->order[i];
		translate->order[i] = translate->order[j];
		translate->order[j] = moved;
	}
	for (i = 0; i < translate->count; i++)
		translate->iovas[i] = iova_of(translate, translate->order[i]);
}

static int
fill(struct translate *translate, uint32_t count, bool anywhere)
{
	const struct rp_dma_limits limits = {.mappings_max = COUNT_MAX + FILES};
	uint32_t i;
	int rc;

	translate->count = count;
	translate->anywhere = anywhere;
	shuffle(translate);
	rc = rp_dma_space_create(&limits, &translate->space);
	if (rc == 0)
		rc = rp_dma_reader_create(translate->space, &translate->reader);
	for (i = 0; rc == 0 && i < count; i++)
		rc = map_one(translate, i);
	return rc;
}

static void
empty(struct translate *translate)
{
	translate->reader = rp_dma_reader_destroy(translate->reader);
	translate->space = rp_dma_space_destroy(translate->space);
}

/* The names of its rows; NULL: no such row. */
struct size {
	uint32_t count;
	bool anywhere, quickly; /* also in a quick run */
	const char *waiting, *many, *change, *bytes, *mmaps;
};

static int
measure(struct translate *translate, const struct size *size, double *changes_at_one)
{
	double before_bytes = anonymous_bytes(), changes;
	int rc = fill(translate, size->count, size->anywhere);

	if (rc == 0 && size->bytes != NULL)
		report_one(translate, size->bytes, "bytes", (anonymous_bytes() - before_bytes) / size->count,
			   "a mapping's word in a plain array", sizeof(uint64_t));
	if (rc == 0 && size->mmaps != NULL)
		report_one(translate, size->mmaps, "mmaps", mmaps_count(), "one for each mapping", size->count);
	if (rc == 0)
		rc = compare_both(translate, size->waiting, size->many);
	if (rc == 0) {
		changes = change(translate);
		if (*changes_at_one <= 0)
			*changes_at_one = changes;
		report_one(translate, size->change, "per s", changes, "at one mapping", *changes_at_one);
	}
	empty(translate);
	return rc;
}

static int
open_translate(struct translate *translate)
{
	unsigned int i;

	for (i = 0; i < FILES; i++) {
		translate->fds[i] = memfd_create("bench-translate", MFD_CLOEXEC);
		if (translate->fds[i] < 0 ||
		    ftruncate(translate->fds[i], (off_t)(FILE_PAGES * translate->page_bytes)) < 0)
			return -errno;
	}
	translate->order = calloc(COUNT_MAX, sizeof(*translate->order));
	translate->iovas = calloc(COUNT_MAX, sizeof(*translate->iovas));
	/* In pages as large as a table's, or the peer would be the one that waits for the processor's page tables. */
	translate->array =
		aligned_alloc(HUGE_PAGE_BYTES, (COUNT_MAX * sizeof(uint64_t) / HUGE_PAGE_BYTES + 1) * HUGE_PAGE_BYTES);
	if (translate->order == NULL || translate->iovas == NULL || translate->array == NULL)
		return -ENOMEM;
	madvise(translate->array, COUNT_MAX * sizeof(uint64_t), MADV_HUGEPAGE);
	/* All of it is touched here, and not where the memory of mappings is measured. */
	for (i = 0; i < COUNT_MAX; i++)
		translate->array[i] = translate->order[i] = translate->iovas[i] = IOVA + i;
	return 0;
}

static void
close_translate(struct translate *translate)
{
	rp_wire_fd_close_all(translate->fds, FILES);
	free(translate->order);
	free(translate->iovas);
	free(translate->array);
}

int
bench_translate(const struct bench_options *options, struct bench_rows *rows)
{
	static const struct size sizes[] = {
		{1, false, true, "translate_1", "translate_1_many", "map_unmap_1", NULL, NULL},
		{1000, false, false, "translate_1k", "translate_1k_many", "map_unmap_1k", NULL, NULL},
		{65536, false, false, "translate_64k", "translate_64k_many", "map_unmap_64k", "map_bytes_64k",
		 "map_mmaps_64k"},
		{COUNT_MAX, false, true, "translate_1m", "translate_1m_many", "map_unmap_1m", "map_bytes_1m",
		 "map_mmaps_1m"},
		{COUNT_MAX, true, false, "translate_1m_anywhere", "translate_1m_anywhere_many", "map_unmap_1m_anywhere",
		 "map_bytes_1m_anywhere", NULL},
	};
	struct translate translate = {
		.options = options,
		.rows = rows,
		.page_bytes = (uint64_t)sysconf(_SC_PAGESIZE),
		.fds = {-1, -1, -1, -1},
	};
	double changes_at_one = 0;
	unsigned int i;
	int rc;

	__asm__ volatile("" : "+m"(translate.zero));
	place_pin(options->guest_cpu);
	rc = open_translate(&translate);
	for (i = 0; rc == 0 && i < sizeof(sizes) / sizeof(sizes[0]) && !bench_interrupted(); i++) {
		if (sizes[i].quickly || !options->quick)
			rc = measure(&translate, &sizes[i], &changes_at_one);
	}
	close_translate(&translate);
	/* Looked at, so that nothing of what was found is left out. */
	__asm__ volatile("" : : "r"(translate.sum));
	if (rc < 0)
		fprintf(stderr, "ringpass-bench: translate: %s\n", strerror(-rc));
	return rc;
}
