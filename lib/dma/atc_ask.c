/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "atc.h"

/*
 * Requests and who waits for them. A request is queued, then under way in a slot, and
 * ends with its answer; what an invalidation made worthless in between, and what asked
 * for less than somebody wanted by then, is queued again.
 */

enum wait_state {
	WAIT_IDLE,
	WAIT_ASKED, /* on the list of `request` */
	WAIT_ENDING, /* on the list of those whose done() is due */
};

int
rp_dma_atc_init_requests(struct rp_dma_atc *atc, uint32_t requests_max)
{
	uint32_t i;

	for (i = 0; i < RP_DMA_ATC_BUCKETS; i++)
		LIST_INIT(&atc->buckets[i]);
	TAILQ_INIT(&atc->queue);
	TAILQ_INIT(&atc->ending);
	atc->slots_count = requests_max;
	atc->slots = calloc(requests_max, sizeof(struct rp_dma_atc_request *));
	return atc->slots == NULL ? -ENOMEM : 0;
}

void
rp_dma_atc_fini_requests(struct rp_dma_atc *atc)
{
	free(atc->slots);
}

static struct rp_dma_atc_bucket *
bucket_of(struct rp_dma_atc *atc, uint32_t pasid, uint64_t iova)
{
	uint64_t mixed = (iova / RP_DMA_ATC_PAGE_BYTES ^ pasid) * UINT64_C(0x9e3779b97f4a7c15);

	return &atc->buckets[(mixed >> 32) % RP_DMA_ATC_BUCKETS];
}

static struct rp_dma_atc_request *
find_request(struct rp_dma_atc *atc, uint32_t pasid, uint64_t iova)
{
	struct rp_dma_atc_request *request;

	LIST_FOREACH (request, bucket_of(atc, pasid, iova), bucket)
		if (request->pasid == pasid && request->iova == iova)
			return request;
	return NULL;
}

static struct rp_dma_atc_request *
make_request(struct rp_dma_atc *atc, uint32_t pasid, uint64_t iova)
{
	struct rp_dma_atc_request *request = calloc(1, sizeof(*request));

	if (request == NULL)
		return NULL;
	request->pasid = pasid;
	request->iova = iova;
	TAILQ_INIT(&request->waits);
	LIST_INSERT_HEAD(bucket_of(atc, pasid, iova), request, bucket);
	TAILQ_INSERT_TAIL(&atc->queue, request, link);
	return request;
}

/* It is neither queued nor under way. */
static void
free_request(struct rp_dma_atc_request *request)
{
	LIST_REMOVE(request, bucket);
	free(request);
}

/* Lock held. @return as rp_dma_atc_want(). */
static int
enter(struct rp_dma_atc *atc, struct rp_dma_atc_wait *wait, uint32_t pasid, uint64_t iova, uint32_t access_mask,
      bool *ret_wake)
{
	uint64_t page_iova = iova & ~(RP_DMA_ATC_PAGE_BYTES - 1);
	struct rp_dma_translation translation;
	struct rp_dma_atc_request *request;

	if (rp_dma_atc_find(atc, pasid, iova, access_mask, &translation) == 0)
		return 0;
	if (!rp_dma_atc_is_open(atc))
		return -ENOTCONN;
	request = find_request(atc, pasid, page_iova);
	if (request == NULL) {
		request = make_request(atc, pasid, page_iova);
		*ret_wake = true;
	}
	if (request == NULL)
		return -ENOMEM;
	wait->request = request;
	wait->access_mask = access_mask;
	wait->state = WAIT_ASKED;
	TAILQ_INSERT_TAIL(&request->waits, wait, link);
	atc->counters.misses++;
	return -EINPROGRESS;
}

int
rp_dma_atc_want(struct rp_dma_atc *atc, struct rp_dma_atc_wait *wait, uint32_t pasid, uint64_t iova,
		uint32_t access_mask)
{
	bool wake = false;
	int rc;

	pthread_mutex_lock(&atc->lock);
	rc = enter(atc, wait, pasid, iova, access_mask, &wake);
	pthread_mutex_unlock(&atc->lock);
	if (rc == -EINPROGRESS && wake && atc->wake != NULL)
		atc->wake(atc->wake_ctx);
	return rc;
}

/* Lock held. */
static void
leave_request(struct rp_dma_atc *atc, struct rp_dma_atc_wait *wait)
{
	struct rp_dma_atc_request *request = wait->request;

	TAILQ_REMOVE(&request->waits, wait, link);
	wait->request = NULL;
	wait->state = WAIT_IDLE;
	/* One that is under way ends with its answer, which is worth keeping. */
	if (!TAILQ_EMPTY(&request->waits) || request->under_way)
		return;
	TAILQ_REMOVE(&atc->queue, request, link);
	free_request(request);
}

void
rp_dma_atc_cancel(struct rp_dma_atc *atc, struct rp_dma_atc_wait *wait)
{
	pthread_mutex_lock(&atc->lock);
	/* A done() that runs may want again. */
	while (atc->finishing == wait && pthread_equal(atc->finisher, pthread_self()) == 0)
		pthread_cond_wait(&atc->ended, &atc->lock);
	if (wait->state == WAIT_ASKED) {
		leave_request(atc, wait);
	} else if (wait->state == WAIT_ENDING) {
		TAILQ_REMOVE(&atc->ending, wait, link);
		wait->state = WAIT_IDLE;
	}
	pthread_mutex_unlock(&atc->lock);
}

/* Lock held; the wait is on its request's list. */
static void
end_wait(struct rp_dma_atc *atc, struct rp_dma_atc_wait *wait, int error)
{
	TAILQ_REMOVE(&wait->request->waits, wait, link);
	wait->request = NULL;
	wait->state = WAIT_ENDING;
	wait->error = error;
	TAILQ_INSERT_TAIL(&atc->ending, wait, link);
}

/* Lock held, released for each call. */
static void
run_ending(struct rp_dma_atc *atc)
{
	struct rp_dma_atc_wait *wait;

	while ((wait = TAILQ_FIRST(&atc->ending)) != NULL) {
		const struct rp_dma_atc_wait *outer = atc->finishing;
		int error = wait->error;

		TAILQ_REMOVE(&atc->ending, wait, link);
		wait->state = WAIT_IDLE;
		atc->finishing = wait;
		atc->finisher = pthread_self();
		pthread_mutex_unlock(&atc->lock);
		wait->done(wait, error);
		pthread_mutex_lock(&atc->lock);
		atc->finishing = outer;
		pthread_cond_broadcast(&atc->ended);
	}
}

static uint32_t
wanted_mask(const struct rp_dma_atc_request *request)
{
	const struct rp_dma_atc_wait *wait;
	uint32_t wanted = 0;

	TAILQ_FOREACH (wait, &request->waits, link)
		wanted |= wait->access_mask;
	return wanted;
}

static uint32_t
take_slot(struct rp_dma_atc *atc)
{
	while (atc->slots[atc->next_slot] != NULL)
		atc->next_slot = (atc->next_slot + 1) % atc->slots_count;
	return atc->next_slot;
}

int
rp_dma_atc_next(struct rp_dma_atc *atc, struct rp_dma_atc_ask *ret_ask)
{
	struct rp_dma_atc_request *request;
	int rc = -EAGAIN;

	pthread_mutex_lock(&atc->lock);
	request = TAILQ_FIRST(&atc->queue);
	if (request != NULL && atc->under_way_count < atc->requests_max) {
		TAILQ_REMOVE(&atc->queue, request, link);
		request->under_way = true;
		request->voided = false;
		request->low_iova = 0;
		request->high_iova = UINT64_MAX;
		request->asked_mask = wanted_mask(request);
		*ret_ask = (struct rp_dma_atc_ask){
			.slot = take_slot(atc),
			.pasid = request->pasid,
			.iova = request->iova,
			.access_mask = request->asked_mask,
		};
		atc->slots[ret_ask->slot] = request;
		/* The one just answered is the last to be used again. */
		atc->next_slot = (ret_ask->slot + 1) % atc->slots_count;
		atc->under_way_count++;
		atc->counters.requests++;
		rc = 0;
	}
	pthread_mutex_unlock(&atc->lock);
	return rc;
}

void
rp_dma_atc_void(struct rp_dma_atc *atc, const struct rp_dma_atc_invalidation *invalidation)
{
	uint32_t i;

	for (i = 0; atc->under_way_count > 0 && i < atc->slots_count; i++) {
		struct rp_dma_atc_request *request = atc->slots[i];

		if (request == NULL || (!invalidation->all_pasids && invalidation->pasid != request->pasid))
			continue;
		/* The answer may be of more than was asked for: what was invalidated of it is not to be kept. */
		if (invalidation->last_iova < request->iova) {
			if (request->low_iova <= invalidation->last_iova)
				request->low_iova = invalidation->last_iova + 1;
		} else if (invalidation->first_iova > request->iova + (RP_DMA_ATC_PAGE_BYTES - 1)) {
			if (request->high_iova >= invalidation->first_iova)
				request->high_iova = invalidation->first_iova - 1;
		} else {
			request->voided = true;
		}
	}
}

static int
check_answer(const struct rp_dma_atc_request *request, const struct rp_dma_translation *answer, struct rp_wire_why *why)
{
	const uint64_t in_page = RP_DMA_ATC_PAGE_BYTES - 1;

	if ((answer->access_mask & ~(RP_DMA_READ | RP_DMA_WRITE)) != 0)
		return rp_wire_why_set(why, -EBADMSG,
				       "access: 0x%x, expected readable (1), writeable (2), both or none",
				       answer->access_mask);
	if (answer->access_mask == 0)
		return 0;
	if (((answer->iova | answer->size_bytes | answer->address) & in_page) != 0)
		return rp_wire_why_set(why, -EBADMSG,
				       "0x%" PRIx64 " bytes at 0x%" PRIx64 " lead to 0x%" PRIx64
				       ", expected whole pages of %" PRIu64,
				       answer->size_bytes, answer->iova, answer->address, RP_DMA_ATC_PAGE_BYTES);
	if (answer->size_bytes == 0 || answer->size_bytes - 1 > UINT64_MAX - answer->iova ||
	    answer->size_bytes - 1 > UINT64_MAX - answer->address)
		return rp_wire_why_set(why, -EBADMSG, "size: 0x%" PRIx64 " from 0x%" PRIx64 " or 0x%" PRIx64 " wraps",
				       answer->size_bytes, answer->iova, answer->address);
	if (request->iova < answer->iova || request->iova - answer->iova >= answer->size_bytes)
		return rp_wire_why_set(why, -EBADMSG,
				       "0x%" PRIx64 " bytes at 0x%" PRIx64 " leave out the page at 0x%" PRIx64,
				       answer->size_bytes, answer->iova, request->iova);
	return 0;
}

/* What of an answer is as it was when it was given. Its borders are of whole pages: anything in a page takes it all. */
static struct rp_dma_translation
untouched(const struct rp_dma_atc_request *request, const struct rp_dma_translation *answer)
{
	const uint64_t in_page = RP_DMA_ATC_PAGE_BYTES - 1;
	uint64_t low_iova = (request->low_iova + in_page) & ~in_page;
	uint64_t last_iova = answer->iova + (answer->size_bytes - 1), high_iova = request->high_iova;
	struct rp_dma_translation rest = *answer;

	if (high_iova != UINT64_MAX)
		high_iova = ((high_iova + 1) & ~in_page) - 1;
	if (last_iova > high_iova)
		last_iova = high_iova;
	if (rest.iova < low_iova) {
		rest.address += low_iova - rest.iova;
		rest.iova = low_iova;
	}
	rest.size_bytes = last_iova - rest.iova + 1;
	return rest;
}

/* Lock held. Who has what it wanted, or was refused it, ends; the rest stays. */
static void
end_waits(struct rp_dma_atc *atc, struct rp_dma_atc_request *request, uint32_t given_mask)
{
	struct rp_dma_atc_wait *wait, *next;

	for (wait = TAILQ_FIRST(&request->waits); wait != NULL; wait = next) {
		next = TAILQ_NEXT(wait, link);
		if ((wait->access_mask & ~given_mask) == 0)
			end_wait(atc, wait, 0);
		else if ((wait->access_mask & ~request->asked_mask) == 0)
			end_wait(atc, wait, -EFAULT);
	}
}

static void
end_all_waits(struct rp_dma_atc *atc, struct rp_dma_atc_request *request, int error)
{
	while (!TAILQ_EMPTY(&request->waits))
		end_wait(atc, TAILQ_FIRST(&request->waits), error);
}

/* Lock held. */
static int
take_answer(struct rp_dma_atc *atc, struct rp_dma_atc_request *request, const struct rp_dma_translation *answer,
	    struct rp_wire_why *why)
{
	struct rp_dma_translation rest;
	int rc = answer == NULL ? 0 : check_answer(request, answer, why);

	if (request->voided && rc == 0) {
		atc->counters.voided++;
		return 0;
	}
	if (answer == NULL || rc < 0) {
		end_all_waits(atc, request, -EIO);
		return rc;
	}
	if (answer->access_mask == 0) {
		atc->counters.faults++;
	} else {
		rest = untouched(request, answer);
		atc->counters.evictions += rp_dma_atc_table_insert(&atc->table, request->pasid, &rest, request->iova);
		atc->counters.translations++;
	}
	end_waits(atc, request, answer->access_mask);
	return 0;
}

int
rp_dma_atc_answer(struct rp_dma_atc *atc, uint32_t slot, const struct rp_dma_translation *answer,
		  struct rp_wire_why *why)
{
	struct rp_dma_atc_request *request;
	int rc;

	pthread_mutex_lock(&atc->lock);
	request = slot < atc->slots_count ? atc->slots[slot] : NULL;
	if (request == NULL) {
		pthread_mutex_unlock(&atc->lock);
		return -ENOENT;
	}
	atc->slots[slot] = NULL;
	atc->under_way_count--;
	request->under_way = false;
	rc = take_answer(atc, request, answer, why);
	if (TAILQ_EMPTY(&request->waits))
		free_request(request);
	else
		TAILQ_INSERT_TAIL(&atc->queue, request, link);
	run_ending(atc);
	pthread_mutex_unlock(&atc->lock);
	return rc;
}

void
rp_dma_atc_end_requests(struct rp_dma_atc *atc)
{
	uint32_t i;

	pthread_mutex_lock(&atc->lock);
	for (i = 0; i < atc->slots_count; i++) {
		if (atc->slots[i] == NULL)
			continue;
		end_all_waits(atc, atc->slots[i], -ENOTCONN);
		free_request(atc->slots[i]);
		atc->slots[i] = NULL;
	}
	atc->under_way_count = 0;
	while (!TAILQ_EMPTY(&atc->queue)) {
		struct rp_dma_atc_request *request = TAILQ_FIRST(&atc->queue);

		TAILQ_REMOVE(&atc->queue, request, link);
		end_all_waits(atc, request, -ENOTCONN);
		free_request(request);
	}
	run_ending(atc);
	pthread_mutex_unlock(&atc->lock);
}
