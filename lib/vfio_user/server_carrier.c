/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "vfu_carrier_parts.h"
#include "vfu_server_iommu.h"

/* The books of transfers: who has which, from submit to its end. */

int
rp_vfu_carrier_create(unsigned int flights_max, uint32_t timeout_ms, struct rp_vfu_carrier **ret_carrier)
{
	struct rp_vfu_carrier *carrier = calloc(1, sizeof(*carrier) + flights_max * sizeof(carrier->flights[0]));
	int rc;

	if (carrier == NULL)
		return -ENOMEM;
	rc = rp_vfu_waker_create(&carrier->waker);
	if (rc < 0) {
		free(carrier);
		return rc;
	}
	pthread_mutex_init(&carrier->lock, NULL);
	pthread_cond_init(&carrier->finished, NULL);
	carrier->flights_max = flights_max;
	carrier->timeout_ms = timeout_ms;
	TAILQ_INIT(&carrier->waiting);
	TAILQ_INIT(&carrier->sent);
	*ret_carrier = carrier;
	return 0;
}

struct rp_vfu_carrier *
rp_vfu_carrier_destroy(struct rp_vfu_carrier *carrier)
{
	if (carrier == NULL)
		return NULL;
	rp_vfu_carrier_close(carrier);
	rp_vfu_waker_destroy(&carrier->waker);
	pthread_cond_destroy(&carrier->finished);
	pthread_mutex_destroy(&carrier->lock);
	free(carrier);
	return NULL;
}

int
rp_vfu_carrier_fd(const struct rp_vfu_carrier *carrier)
{
	return carrier->waker.fd;
}

void
rp_vfu_carrier_wake(void *ctx)
{
	struct rp_vfu_carrier *carrier = ctx;

	rp_vfu_waker_wake(&carrier->waker);
}

void
rp_vfu_carrier_awake(struct rp_vfu_carrier *carrier)
{
	rp_vfu_waker_awake(&carrier->waker);
}

bool
rp_vfu_carrier_may_sleep(struct rp_vfu_carrier *carrier)
{
	bool waiting;

	pthread_mutex_lock(&carrier->lock);
	waiting = !TAILQ_EMPTY(&carrier->waiting);
	pthread_mutex_unlock(&carrier->lock);
	/* Who submits from here on wakes. */
	return rp_vfu_waker_may_sleep(&carrier->waker) && !waiting;
}

/* @param pasid whose addresses they are; NULL: no PASID's. */
static int
enter(struct rp_vfu_carrier *carrier, struct rp_dma_transfer *transfer, struct rp_vfu_pasid *pasid)
{
	int rc = -ENOTCONN;

	pthread_mutex_lock(&carrier->lock);
	if (carrier->open) {
		transfer->sent_bytes = 0;
		transfer->answered_bytes = 0;
		transfer->error = 0;
		transfer->in_flight_count = 0;
		transfer->carrier_data = pasid;
		TAILQ_INSERT_TAIL(&carrier->waiting, transfer, link);
		rp_vfu_waker_wake(&carrier->waker);
		rc = 0;
	}
	pthread_mutex_unlock(&carrier->lock);
	return rc;
}

static int
submit(void *ctx, struct rp_dma_transfer *transfer)
{
	return enter(ctx, transfer, NULL);
}

static int
submit_pasid(void *ctx, struct rp_dma_transfer *transfer)
{
	struct rp_vfu_pasid *pasid = ctx;

	return enter(pasid->carrier, transfer, pasid);
}

static bool
is_in(const struct rp_vfu_transfers *list, const struct rp_dma_transfer *transfer)
{
	const struct rp_dma_transfer *one;

	TAILQ_FOREACH (one, list, link)
		if (one == transfer)
			return true;
	return false;
}

/* With the lock: its bytes go back to their owner, but what has begun to leave must leave. */
void
rp_vfu_carrier_keep_lent(struct rp_vfu_carrier *carrier, const struct rp_vfu_flight *flight)
{
	if (carrier->lent != flight || carrier->kept != NULL)
		return;
	carrier->kept = malloc(flight->count_bytes);
	/* Without memory the rest is lost, and the connection with it. */
	if (carrier->kept == NULL)
		carrier->lent = NULL;
	else
		memcpy(carrier->kept, flight->bytes, flight->count_bytes);
}

/* With the lock: its commands in flight are nobody's. */
static void
detach(struct rp_vfu_carrier *carrier, const struct rp_dma_transfer *transfer)
{
	unsigned int i;

	for (i = 0; i < carrier->flights_max; i++) {
		if (carrier->flights[i].transfer != transfer)
			continue;
		rp_vfu_carrier_keep_lent(carrier, &carrier->flights[i]);
		carrier->flights[i].transfer = NULL;
		carrier->flights[i].bytes = NULL;
	}
}

static int
cancel(void *ctx, struct rp_dma_transfer *transfer)
{
	struct rp_vfu_carrier *carrier = ctx;
	int rc = 0;

	pthread_mutex_lock(&carrier->lock);
	if (is_in(&carrier->waiting, transfer))
		TAILQ_REMOVE(&carrier->waiting, transfer, link);
	else if (is_in(&carrier->sent, transfer))
		TAILQ_REMOVE(&carrier->sent, transfer, link);
	else
		rc = -ENOENT;
	if (rc == 0)
		detach(carrier, transfer);
	while (carrier->placing == transfer || carrier->lending == transfer ||
	       (carrier->finishing == transfer && !pthread_equal(carrier->finisher, pthread_self())))
		pthread_cond_wait(&carrier->finished, &carrier->lock);
	pthread_mutex_unlock(&carrier->lock);
	return rc;
}

static int
cancel_pasid(void *ctx, struct rp_dma_transfer *transfer)
{
	struct rp_vfu_pasid *pasid = ctx;

	return cancel(pasid->carrier, transfer);
}

const struct rp_dma_carrier_ops rp_vfu_carrier_ops = {
	.submit = submit,
	.cancel = cancel,
};

const struct rp_dma_carrier_ops rp_vfu_carrier_pasid_ops = {
	.submit = submit_pasid,
	.cancel = cancel_pasid,
};

/* With the lock, which is given up meanwhile; the transfer is on no list. */
void
rp_vfu_carrier_finish(struct rp_vfu_carrier *carrier, struct rp_dma_transfer *transfer, int error)
{
	carrier->finishing = transfer;
	carrier->finisher = pthread_self();
	pthread_mutex_unlock(&carrier->lock);
	transfer->finished(transfer, error);
	pthread_mutex_lock(&carrier->lock);
	carrier->finishing = NULL;
	pthread_cond_broadcast(&carrier->finished);
}

void
rp_vfu_carrier_open(struct rp_vfu_carrier *carrier, uint64_t message_bytes_max, struct rp_vfu_server_window *window)
{
	pthread_mutex_lock(&carrier->lock);
	carrier->open = true;
	rp_vfu_waker_forget(&carrier->waker);
	carrier->message_bytes_max = message_bytes_max;
	carrier->window = window;
	pthread_mutex_unlock(&carrier->lock);
}

/* With the lock. */
static void
end_all(struct rp_vfu_carrier *carrier, struct rp_vfu_transfers *list)
{
	struct rp_dma_transfer *transfer;

	while ((transfer = TAILQ_FIRST(list)) != NULL) {
		TAILQ_REMOVE(list, transfer, link);
		detach(carrier, transfer);
		rp_vfu_carrier_finish(carrier, transfer, -ENOTCONN);
	}
}

void
rp_vfu_carrier_close(struct rp_vfu_carrier *carrier)
{
	unsigned int i;

	pthread_mutex_lock(&carrier->lock);
	carrier->open = false;
	for (i = 0; i < carrier->flights_max; i++)
		carrier->flights[i].open = false;
	carrier->flights_count = 0;
	carrier->window_flights_count = 0;
	carrier->window = NULL;
	end_all(carrier, &carrier->sent);
	end_all(carrier, &carrier->waiting);
	pthread_mutex_unlock(&carrier->lock);
}

static struct rp_dma_transfer *
find_in_range(const struct rp_vfu_transfers *list, uint64_t first_iova, uint64_t last_iova)
{
	struct rp_dma_transfer *transfer;

	TAILQ_FOREACH (transfer, list, link)
		if (transfer->iova <= last_iova && transfer->iova + transfer->size_bytes - 1 >= first_iova)
			return transfer;
	return NULL;
}

void
rp_vfu_carrier_abandon(struct rp_vfu_carrier *carrier, uint64_t first_iova, uint64_t last_iova)
{
	struct rp_vfu_transfers *const lists[] = {&carrier->waiting, &carrier->sent};
	struct rp_dma_transfer *transfer;
	unsigned int i;

	pthread_mutex_lock(&carrier->lock);
	for (i = 0; i < 2; i++) {
		/* From the begin each time: the lock is given up in between. */
		while ((transfer = find_in_range(lists[i], first_iova, last_iova)) != NULL) {
			TAILQ_REMOVE(lists[i], transfer, link);
			detach(carrier, transfer);
			rp_vfu_carrier_finish(carrier, transfer, -ECANCELED);
		}
	}
	pthread_mutex_unlock(&carrier->lock);
}

bool
rp_vfu_carrier_is_awaiting(struct rp_vfu_carrier *carrier)
{
	bool is_awaiting;

	pthread_mutex_lock(&carrier->lock);
	is_awaiting = carrier->flights_count > 0;
	pthread_mutex_unlock(&carrier->lock);
	return is_awaiting;
}

uint64_t
rp_vfu_carrier_deadline_ms(struct rp_vfu_carrier *carrier)
{
	uint64_t deadline_ms = UINT64_MAX;
	unsigned int i;

	pthread_mutex_lock(&carrier->lock);
	for (i = 0; carrier->flights_count > 0 && i < carrier->flights_max; i++)
		if (carrier->flights[i].open && carrier->flights[i].deadline_ms < deadline_ms)
			deadline_ms = carrier->flights[i].deadline_ms;
	pthread_mutex_unlock(&carrier->lock);
	return deadline_ms;
}
