/* SPDX-License-Identifier: BSD-3-Clause */
#include <assert.h>
#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "change.h"
#include "reader.h"

#define YIELDS_BEFORE_SLEEP 64
#define SLEEP_MAX_US 200

int
rp_dma_reader_create(struct rp_dma_space *space, struct rp_dma_reader **ret_reader)
{
	struct rp_dma_reader *reader = aligned_alloc(_Alignof(struct rp_dma_reader), sizeof(*reader));

	if (reader == NULL)
		return -ENOMEM;
	memset(reader, 0, sizeof(*reader));
	reader->space = space;
	LIST_INSERT_HEAD(&space->readers, reader, link);
	*ret_reader = reader;
	return 0;
}

struct rp_dma_reader *
rp_dma_reader_destroy(struct rp_dma_reader *reader)
{
	if (reader == NULL)
		return NULL;
	assert(atomic_load(&reader->epoch) == 0);
	LIST_REMOVE(reader, link);
	free(reader);
	return NULL;
}

void
rp_dma_reader_online(struct rp_dma_reader *reader)
{
	reader->generation = atomic_load_explicit(&reader->space->epoch, memory_order_acquire);
	atomic_store_explicit(&reader->epoch, reader->generation, memory_order_seq_cst);
}

void
rp_dma_reader_offline(struct rp_dma_reader *reader)
{
	atomic_store_explicit(&reader->epoch, 0, memory_order_seq_cst);
	rp_dma_change_wake(reader->space);
}

void
rp_dma_reader_quiescent(struct rp_dma_reader *reader)
{
	uint64_t epoch = atomic_load_explicit(&reader->space->epoch, memory_order_acquire);

	/* Nothing to tell the writer: its line stays in this core's cache. */
	if (epoch == reader->generation)
		return;
	reader->generation = epoch;
	atomic_store_explicit(&reader->epoch, epoch, memory_order_seq_cst);
	rp_dma_change_wake(reader->space);
}

uint64_t
rp_dma_reader_generation(const struct rp_dma_reader *reader)
{
	return reader->generation;
}

/* One thread writes it. */
static void
count(_Atomic uint64_t *counter)
{
	atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + 1, memory_order_relaxed);
}

void *
rp_dma_reader_translate(struct rp_dma_reader *reader, uint64_t iova, uint64_t size_bytes, uint32_t access_mask,
			uint64_t *ret_contiguous_bytes)
{
	/* Loaded anew each time: what a peer was told is mapped must be seen before the next quiescent point. */
	uint64_t table = atomic_load_explicit(&reader->space->table, memory_order_seq_cst), beyond_bytes;
	struct rp_dma_entry entry;

	*ret_contiguous_bytes = 0;
	if (!rp_dma_table_find(table, iova, &entry) || entry.hva == NULL ||
	    (entry.access_mask & access_mask) != access_mask || size_bytes == 0) {
		count(&reader->refused);
		return NULL;
	}
	count(&reader->translations);
	beyond_bytes = entry.last_iova - iova;
	*ret_contiguous_bytes = size_bytes - 1 <= beyond_bytes ? size_bytes : beyond_bytes + 1;
	return entry.hva + (iova - entry.first_iova);
}

void
rp_dma_reader_counters(const struct rp_dma_reader *reader, struct rp_dma_reader_counters *ret_counters)
{
	ret_counters->translations = atomic_load_explicit(&reader->translations, memory_order_relaxed);
	ret_counters->refused = atomic_load_explicit(&reader->refused, memory_order_relaxed);
}

static uint64_t
older(uint64_t oldest, const _Atomic uint64_t *place)
{
	uint64_t epoch = atomic_load_explicit(place, memory_order_seq_cst);

	return epoch != 0 && epoch < oldest ? epoch : oldest;
}

/* The oldest count that an online reader has repeated, or a visit began with; the present one when there is none. */
static uint64_t
oldest_epoch(const struct rp_dma_space *space)
{
	uint64_t oldest = atomic_load_explicit(&space->epoch, memory_order_relaxed);
	struct rp_dma_reader *reader;
	uint32_t i;

	LIST_FOREACH (reader, &space->readers, link)
		oldest = older(oldest, &reader->epoch);
	for (i = 0; i < RP_DMA_VISITS_COUNT; i++)
		oldest = older(oldest, &space->visits[i].epoch);
	return oldest;
}

bool
rp_dma_space_passed(const struct rp_dma_space *space, uint64_t epoch)
{
	return oldest_epoch(space) >= epoch;
}

static void
free_retired(struct rp_dma_space *space, uint64_t oldest)
{
	uint32_t i, kept_count = 0;

	for (i = 0; i < space->retired_count; i++) {
		if (space->retired[i].epoch <= oldest)
			rp_dma_gone_dispose(&space->retired[i].gone, &space->store->pool, NULL, NULL);
		else
			space->retired[kept_count++] = space->retired[i];
	}
	space->retired_count = kept_count;
}

void
rp_dma_space_synchronize(struct rp_dma_space *space)
{
	uint64_t target = atomic_load_explicit(&space->epoch, memory_order_relaxed);
	unsigned int rounds = 0;

	while (oldest_epoch(space) < target) {
		/* A reader may share our core: it must get to run. */
		if (rounds < YIELDS_BEFORE_SLEEP)
			sched_yield();
		else
			usleep(rounds < SLEEP_MAX_US ? rounds : SLEEP_MAX_US);
		rounds++;
	}
	free_retired(space, target);
}

void
rp_dma_space_publish(struct rp_dma_space *space, uint64_t table)
{
	atomic_store_explicit(&space->table, table, memory_order_seq_cst);
	atomic_fetch_add_explicit(&space->epoch, 1, memory_order_seq_cst);
}

void
rp_dma_space_retire(struct rp_dma_space *space, const struct rp_dma_gone *gone)
{
	free_retired(space, oldest_epoch(space));
	if (gone->nodes == NULL && gone->buckets == NULL)
		return;
	if (space->retired_count == RP_DMA_RETIRED_MAX)
		rp_dma_space_synchronize(space);
	space->retired[space->retired_count++] = (struct rp_dma_retired){
		.gone = *gone,
		.epoch = atomic_load_explicit(&space->epoch, memory_order_relaxed),
	};
}
