/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "mock_carrier.h"
#include "test_support.h"

static struct rp_dma_transfer *
choose(struct mock_carrier *carrier)
{
	struct rp_dma_transfer *transfer = TAILQ_FIRST(&carrier->queue);
	unsigned int skip = 0;

	if (carrier->shuffle)
		skip = (unsigned int)rand_r(&carrier->seed) % carrier->queued_count;
	while (skip-- > 0)
		transfer = TAILQ_NEXT(transfer, link);
	return transfer;
}

static void
carry(struct mock_carrier *carrier, const struct rp_dma_transfer *transfer)
{
	uint8_t *theirs = carrier->memory + transfer->iova;

	if (carrier->answer != 0 || transfer->iova + transfer->size_bytes > carrier->memory_bytes)
		return;
	if (transfer->write)
		memcpy(theirs, transfer->bytes, transfer->size_bytes);
	else
		memcpy(transfer->bytes, theirs, transfer->size_bytes);
}

/* Lock held on entry and return. */
static void
finish(struct mock_carrier *carrier, struct rp_dma_transfer *transfer, bool whole, int error)
{
	TAILQ_REMOVE(&carrier->queue, transfer, link);
	carrier->queued_count--;
	carrier->finishing = transfer;
	if (transfer->iova < carrier->forbidden_iova + carrier->forbidden_bytes &&
	    transfer->iova + transfer->size_bytes > carrier->forbidden_iova)
		carrier->forbidden_count++;
	pthread_mutex_unlock(&carrier->lock);
	if (whole)
		carry(carrier, transfer);
	transfer->finished(transfer, error);
	pthread_mutex_lock(&carrier->lock);
	carrier->finishing = NULL;
	carrier->carried_count++;
	pthread_cond_broadcast(&carrier->changed);
}

static void *
run(void *ctx)
{
	struct mock_carrier *carrier = ctx;

	pthread_mutex_lock(&carrier->lock);
	while (!carrier->stop) {
		if (carrier->gated || carrier->finishing != NULL || carrier->queued_count == 0)
			pthread_cond_wait(&carrier->changed, &carrier->lock);
		else
			finish(carrier, choose(carrier), true, carrier->answer);
	}
	pthread_mutex_unlock(&carrier->lock);
	return NULL;
}

static int
submit(void *ctx, struct rp_dma_transfer *transfer)
{
	struct mock_carrier *carrier = ctx;
	int rc = 0;

	pthread_mutex_lock(&carrier->lock);
	if (carrier->submitted_count >= carrier->refuse_after) {
		rc = -ENOTCONN;
	} else {
		carrier->submitted_count++;
		carrier->queued_count++;
		TAILQ_INSERT_TAIL(&carrier->queue, transfer, link);
		pthread_cond_broadcast(&carrier->changed);
	}
	pthread_mutex_unlock(&carrier->lock);
	return rc;
}

static bool
is_queued(const struct mock_carrier *carrier, const struct rp_dma_transfer *transfer)
{
	const struct rp_dma_transfer *queued;

	TAILQ_FOREACH (queued, &carrier->queue, link) {
		if (queued == transfer)
			return true;
	}
	return false;
}

static int
cancel(void *ctx, struct rp_dma_transfer *transfer)
{
	struct mock_carrier *carrier = ctx;
	int rc = -ENOENT;

	pthread_mutex_lock(&carrier->lock);
	if (is_queued(carrier, transfer)) {
		TAILQ_REMOVE(&carrier->queue, transfer, link);
		carrier->queued_count--;
		carrier->cancelled_count++;
		rc = 0;
	}
	while (carrier->finishing == transfer && pthread_equal(carrier->thread, pthread_self()) == 0)
		pthread_cond_wait(&carrier->changed, &carrier->lock);
	pthread_mutex_unlock(&carrier->lock);
	return rc;
}

const struct rp_dma_carrier_ops mock_carrier_ops = {.submit = submit, .cancel = cancel};

void
mock_carrier_start(struct mock_carrier *carrier, struct rp_dma_space *space, uint64_t memory_bytes)
{
	memset(carrier, 0, sizeof(*carrier));
	carrier->memory = calloc(1, memory_bytes);
	assert_non_null(carrier->memory);
	carrier->memory_bytes = memory_bytes;
	carrier->refuse_after = UINT_MAX;
	carrier->seed = 20170613;
	TAILQ_INIT(&carrier->queue);
	pthread_mutex_init(&carrier->lock, NULL);
	pthread_cond_init(&carrier->changed, NULL);
	assert_int_equal(pthread_create(&carrier->thread, NULL, run, carrier), 0);
	rp_dma_space_set_carrier(space, &mock_carrier_ops, carrier);
}

void
mock_carrier_stop(struct mock_carrier *carrier)
{
	pthread_mutex_lock(&carrier->lock);
	carrier->stop = true;
	pthread_cond_broadcast(&carrier->changed);
	pthread_mutex_unlock(&carrier->lock);
	pthread_join(carrier->thread, NULL);
}

void
mock_carrier_free(struct mock_carrier *carrier)
{
	pthread_cond_destroy(&carrier->changed);
	pthread_mutex_destroy(&carrier->lock);
	free(carrier->memory);
}

void
mock_carrier_forbid(struct mock_carrier *carrier, uint64_t iova, uint64_t size_bytes)
{
	pthread_mutex_lock(&carrier->lock);
	carrier->forbidden_iova = iova;
	carrier->forbidden_bytes = size_bytes;
	pthread_mutex_unlock(&carrier->lock);
}

void
mock_carrier_gate(struct mock_carrier *carrier, bool closed)
{
	pthread_mutex_lock(&carrier->lock);
	carrier->gated = closed;
	pthread_cond_broadcast(&carrier->changed);
	pthread_mutex_unlock(&carrier->lock);
}

unsigned int
mock_carrier_forbidden(struct mock_carrier *carrier)
{
	unsigned int count;

	pthread_mutex_lock(&carrier->lock);
	count = carrier->forbidden_count;
	pthread_mutex_unlock(&carrier->lock);
	return count;
}

unsigned int
mock_carrier_queued(struct mock_carrier *carrier)
{
	unsigned int count;

	pthread_mutex_lock(&carrier->lock);
	count = carrier->queued_count;
	pthread_mutex_unlock(&carrier->lock);
	return count;
}

void
mock_carrier_fail_all(struct mock_carrier *carrier, int error)
{
	pthread_mutex_lock(&carrier->lock);
	while (carrier->queued_count > 0) {
		if (carrier->finishing != NULL)
			pthread_cond_wait(&carrier->changed, &carrier->lock);
		else
			finish(carrier, TAILQ_FIRST(&carrier->queue), false, error);
	}
	pthread_mutex_unlock(&carrier->lock);
}
