/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdlib.h>

#include "atc.h"
#include "change.h"
#include "reader.h"

#define ENTRIES_DEFAULT 4096u
#define ENTRIES_MAX (1u << 20)
#define REQUESTS_MAX 4096u

static uint32_t
round_up(uint32_t entries)
{
	uint32_t rounded = RP_DMA_ATC_WAYS;

	while (rounded < entries)
		rounded *= 2;
	return rounded;
}

int
rp_dma_atc_create(struct rp_dma_space *space, uint32_t entries_max, uint32_t requests_max, void (*wake)(void *ctx),
		  void *wake_ctx, struct rp_dma_atc **ret_atc)
{
	struct rp_dma_atc *atc;
	int rc;

	if (entries_max > ENTRIES_MAX || requests_max == 0 || requests_max > REQUESTS_MAX)
		return -EINVAL;
	atc = calloc(1, sizeof(*atc));
	if (atc == NULL)
		return -ENOMEM;
	atc->space = space;
	atc->wake = wake;
	atc->wake_ctx = wake_ctx;
	atomic_init(&atc->mode, RP_DMA_ATC_CLOSED);
	LIST_INIT(&atc->uses);
	rc = rp_dma_atc_table_init(&atc->table, round_up(entries_max == 0 ? ENTRIES_DEFAULT : entries_max));
	if (rc == 0)
		rc = rp_dma_atc_init_requests(atc, requests_max);
	if (rc < 0) {
		rp_dma_atc_table_fini(&atc->table);
		free(atc);
		return rc;
	}
	pthread_mutex_init(&atc->lock, NULL);
	pthread_cond_init(&atc->ended, NULL);
	*ret_atc = atc;
	return 0;
}

struct rp_dma_atc *
rp_dma_atc_destroy(struct rp_dma_atc *atc)
{
	if (atc == NULL)
		return NULL;
	rp_dma_atc_close(atc);
	rp_dma_atc_fini_requests(atc);
	rp_dma_atc_table_fini(&atc->table);
	pthread_cond_destroy(&atc->ended);
	pthread_mutex_destroy(&atc->lock);
	free(atc);
	return NULL;
}

static void
set_mode(struct rp_dma_atc *atc, enum rp_dma_atc_mode mode)
{
	atomic_store_explicit(&atc->mode, mode, memory_order_seq_cst);
}

static int
mode_of(const struct rp_dma_atc *atc)
{
	return atomic_load_explicit(&atc->mode, memory_order_seq_cst);
}

void
rp_dma_atc_open(struct rp_dma_atc *atc, uint32_t requests_max)
{
	pthread_mutex_lock(&atc->lock);
	atc->requests_max = requests_max < atc->slots_count ? requests_max : atc->slots_count;
	set_mode(atc, RP_DMA_ATC_OPEN);
	pthread_mutex_unlock(&atc->lock);
}

void
rp_dma_atc_open_identity(struct rp_dma_atc *atc)
{
	pthread_mutex_lock(&atc->lock);
	set_mode(atc, RP_DMA_ATC_IDENTITY);
	pthread_mutex_unlock(&atc->lock);
}

/* Whoever repeats the new count has nothing from before. Writer. @return it. */
static uint64_t
advance(struct rp_dma_space *space)
{
	return atomic_fetch_add_explicit(&space->epoch, 1, memory_order_seq_cst) + 1;
}

static void
add_pending(struct rp_dma_atc *atc, uint32_t count)
{
	atc->pending_count += count;
	atomic_fetch_add_explicit(&atc->space->pending_count, count, memory_order_seq_cst);
}

/* Lock held. */
static void
remove_pending(struct rp_dma_atc *atc, uint32_t count)
{
	atc->pending_count -= count;
	atomic_fetch_sub_explicit(&atc->space->pending_count, count, memory_order_seq_cst);
}

void
rp_dma_atc_close(struct rp_dma_atc *atc)
{
	const struct rp_dma_atc_invalidation all = {.all_pasids = true, .last_iova = UINT64_MAX};

	pthread_mutex_lock(&atc->lock);
	set_mode(atc, RP_DMA_ATC_CLOSED);
	rp_dma_atc_table_remove(&atc->table, &all);
	remove_pending(atc, atc->pending_count);
	atc->forgotten_ticket = atc->ticket;
	advance(atc->space);
	pthread_mutex_unlock(&atc->lock);
	rp_dma_atc_end_requests(atc);
}

bool
rp_dma_atc_is_open(const struct rp_dma_atc *atc)
{
	return mode_of(atc) == RP_DMA_ATC_OPEN;
}

static struct rp_dma_translation
identity_of(uint64_t iova)
{
	/* All of 2^64 does not fit, and whoever is at the last byte has looked before. */
	uint64_t beyond_bytes = UINT64_MAX - iova;

	return (struct rp_dma_translation){
		.iova = iova,
		.size_bytes = beyond_bytes == UINT64_MAX ? UINT64_MAX : beyond_bytes + 1,
		.address = iova,
		.access_mask = RP_DMA_READ | RP_DMA_WRITE,
		.identity = true,
	};
}

int
rp_dma_atc_find(struct rp_dma_atc *atc, uint32_t pasid, uint64_t iova, uint32_t access_mask,
		struct rp_dma_translation *ret_translation)
{
	if (rp_dma_atc_table_find(&atc->table, pasid, iova, access_mask, ret_translation))
		return 0;
	if (pasid != RP_DMA_NO_PASID || mode_of(atc) != RP_DMA_ATC_IDENTITY)
		return -EAGAIN;
	*ret_translation = identity_of(iova);
	return 0;
}

int
rp_dma_atc_translate(struct rp_dma_atc *atc, struct rp_dma_reader *reader, uint32_t pasid, uint64_t iova,
		     uint64_t size_bytes, uint32_t access_mask, void **ret_hva, uint64_t *ret_contiguous_bytes)
{
	struct rp_dma_translation translation;
	int rc = rp_dma_atc_find(atc, pasid, iova, access_mask, &translation);

	if (rc < 0)
		return rc;
	if (translation.size_bytes < size_bytes)
		size_bytes = translation.size_bytes;
	*ret_hva = rp_dma_reader_translate(reader, translation.address, size_bytes, access_mask, ret_contiguous_bytes);
	return 0;
}

int
rp_dma_atc_use_begin(struct rp_dma_atc *atc, struct rp_dma_atc_use *use, uint32_t pasid, uint64_t iova,
		     uint64_t size_bytes, uint32_t access_mask, struct rp_dma_translation *ret_translation)
{
	struct rp_dma_translation translation;
	int rc;

	/* With the lock, an invalidation is before both the look and the entry among uses, or after both. */
	pthread_mutex_lock(&atc->lock);
	rc = rp_dma_atc_find(atc, pasid, iova, access_mask, &translation);
	if (rc == 0) {
		if (translation.size_bytes > size_bytes)
			translation.size_bytes = size_bytes;
		*use = (struct rp_dma_atc_use){
			.first_iova = iova,
			.last_iova = iova + (translation.size_bytes - 1),
			.ticket = atc->ticket,
			.pasid = pasid,
			.open = true,
		};
		LIST_INSERT_HEAD(&atc->uses, use, link);
		*ret_translation = translation;
	}
	pthread_mutex_unlock(&atc->lock);
	return rc;
}

void
rp_dma_atc_use_end(struct rp_dma_atc *atc, struct rp_dma_atc_use *use)
{
	pthread_mutex_lock(&atc->lock);
	if (use->open) {
		use->open = false;
		LIST_REMOVE(use, link);
		/* Before the lock goes: whoever sees the use gone may end the space. */
		rp_dma_change_wake(atc->space);
	}
	pthread_mutex_unlock(&atc->lock);
}

bool
rp_dma_atc_touches(const struct rp_dma_atc_invalidation *invalidation, uint32_t pasid, uint64_t first_iova,
		   uint64_t last_iova)
{
	return (invalidation->all_pasids || invalidation->pasid == pasid) && first_iova <= invalidation->last_iova &&
	       last_iova >= invalidation->first_iova;
}

void
rp_dma_atc_invalidate(struct rp_dma_atc *atc, struct rp_dma_atc_invalidation *invalidation)
{
	pthread_mutex_lock(&atc->lock);
	add_pending(atc, 1);
	rp_dma_atc_table_remove(&atc->table, invalidation);
	rp_dma_atc_void(atc, invalidation);
	invalidation->ticket = ++atc->ticket;
	invalidation->epoch = advance(atc->space);
	invalidation->waited = false;
	invalidation->active = true;
	atc->counters.invalidations++;
	pthread_mutex_unlock(&atc->lock);
}

/* Lock held. */
static bool
is_used(const struct rp_dma_atc *atc, const struct rp_dma_atc_invalidation *invalidation)
{
	const struct rp_dma_atc_use *use;

	LIST_FOREACH (use, &atc->uses, link)
		if (use->ticket < invalidation->ticket &&
		    rp_dma_atc_touches(invalidation, use->pasid, use->first_iova, use->last_iova))
			return true;
	return false;
}

/* Lock held. */
static bool
settle(struct rp_dma_atc *atc, struct rp_dma_atc_invalidation *invalidation)
{
	if (!invalidation->active)
		return true;
	if (invalidation->ticket > atc->forgotten_ticket) {
		if (!rp_dma_space_passed(atc->space, invalidation->epoch) || is_used(atc, invalidation)) {
			atc->counters.invalidations_in_use += invalidation->waited ? 0 : 1;
			invalidation->waited = true;
			return false;
		}
		remove_pending(atc, 1);
	}
	invalidation->active = false;
	return true;
}

bool
rp_dma_atc_settled(struct rp_dma_atc *atc, struct rp_dma_atc_invalidation *invalidation)
{
	bool settled;

	pthread_mutex_lock(&atc->lock);
	settled = settle(atc, invalidation);
	pthread_mutex_unlock(&atc->lock);
	return settled;
}

uint32_t
rp_dma_atc_count(const struct rp_dma_atc *atc)
{
	return atc->table.count;
}

void
rp_dma_atc_counters(struct rp_dma_atc *atc, struct rp_dma_atc_counters *ret_counters)
{
	pthread_mutex_lock(&atc->lock);
	*ret_counters = atc->counters;
	pthread_mutex_unlock(&atc->lock);
}
