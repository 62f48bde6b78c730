/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <string.h>

#include "rp_vring_copy.h"
#include "sa_device.h"

/*
 * Queues whose addresses the client translates (rp_vfu_server_iommu.h).
 *
 * Theory of operation: such a ring is served directly, by translations that the cache
 * has. The data path never waits for one. When it misses it publishes what is done and
 * lets go of the ring; here the page is asked for, requested where it is not present,
 * and the ring taken again where it stood. So a queue holds nothing while it waits.
 */

/* A client that says so often that a page is present, and then that it is not, means no good. */
#define ROUNDS_MAX 4u

bool
sa_ask_needed(const struct softaccel_function *function)
{
	return function->atc != NULL && rp_dma_atc_is_open(function->atc);
}

static void
fail(struct sa_ask *ask, int error)
{
	ask->active = false;
	/* The next client begins anew. */
	if (error == -ENOTCONN)
		return;
	sa_queue_lost(ask->function, ask->number,
		      error == -EIO ? "its client gives no translations" : "a page that it uses is not present");
}

static void ask_again(struct sa_ask *ask);

static void
on_page(struct rp_vfu_page_group *group, int error)
{
	struct sa_ask *ask = group->ctx;

	ask->paging = false;
	if (error < 0)
		fail(ask, error);
	else
		ask_again(ask);
}

/* The client may make it present. */
static void
request_page(struct sa_ask *ask)
{
	int rc = -EFAULT;

	ask->page = (struct rp_vfu_page){.iova = ask->iova, .access_mask = ask->access_mask};
	ask->group = (struct rp_vfu_page_group){
		.pasid = RP_DMA_NO_PASID, .pages = &ask->page, .pages_count = 1, .done = on_page, .ctx = ask};
	if (ask->rounds++ < ROUNDS_MAX)
		rc = rp_vfu_server_page_request(ask->function->server, &ask->group);
	ask->paging = rc == 0;
	if (rc < 0)
		fail(ask, rc == -ENOTCONN ? rc : -EFAULT);
}

static void
on_translation(struct rp_dma_atc_wait *wait, int error)
{
	struct sa_ask *ask = wait->ctx;

	if (error == -EFAULT) {
		request_page(ask);
	} else if (error < 0) {
		fail(ask, error);
	} else {
		ask->active = false;
		sa_queue_translated(ask->function, ask->number);
	}
}

/* @return 0 (it is known), -EINPROGRESS or what rp_dma_atc_want() says. */
static int
want(struct sa_ask *ask)
{
	int rc = rp_dma_atc_want(ask->function->atc, &ask->wait, RP_DMA_NO_PASID, ask->iova, ask->access_mask);

	ask->active = rc == -EINPROGRESS;
	return rc;
}

static void
ask_again(struct sa_ask *ask)
{
	int rc = want(ask);

	if (rc == 0)
		sa_queue_translated(ask->function, ask->number);
	else if (rc != -EINPROGRESS)
		fail(ask, rc);
}

int
sa_ask_page(struct softaccel_function *function, unsigned int number, uint64_t iova, uint32_t access_mask)
{
	struct sa_ask *ask = &function->queues[number].ask;

	ask->function = function;
	ask->number = number;
	ask->iova = iova & ~(RP_DMA_ATC_PAGE_BYTES - 1);
	ask->access_mask = access_mask;
	ask->rounds = 0;
	ask->wait = (struct rp_dma_atc_wait){.done = on_translation, .ctx = ask};
	return want(ask);
}

int
sa_ask_ring(struct softaccel_function *function, unsigned int number)
{
	struct sa_extent extents[RP_VRING_PARTS_COUNT];
	unsigned int i;

	sa_reach_extents(function, &function->queues[number], extents);
	for (i = 0; i < RP_VRING_PARTS_COUNT; i++) {
		uint64_t iova = extents[i].iova, left_bytes = extents[i].size_bytes;

		while (left_bytes > 0) {
			struct rp_dma_translation translation;

			if (rp_dma_atc_find(function->atc, RP_DMA_NO_PASID, iova, extents[i].access_mask,
					    &translation) < 0) {
				int rc = sa_ask_page(function, number, iova, extents[i].access_mask);

				if (rc < 0)
					return rc;
				continue;
			}
			if (translation.size_bytes >= left_bytes)
				break;
			iova += translation.size_bytes;
			left_bytes -= translation.size_bytes;
		}
	}
	return 0;
}

int
sa_ask_join(const struct softaccel_function *function, struct sa_queue *queue, struct rp_vring_layout *layout,
	    struct rp_wire_why *why)
{
	struct sa_extent extents[RP_VRING_PARTS_COUNT];
	unsigned int i;
	int rc = 0;

	sa_reach_part(queue);
	sa_reach_extents(function, queue, extents);
	layout->atc = function->atc;
	for (i = 0; rc == 0 && i < RP_VRING_PARTS_COUNT; i++) {
		rc = rp_dma_view_create_translated(rp_vfu_server_dma(function->server), function->atc, extents[i].iova,
						   extents[i].size_bytes, extents[i].access_mask, &queue->views[i],
						   why);
		layout->views[i] = queue->views[i];
	}
	if (rc < 0)
		sa_reach_part(queue);
	return rc;
}

int
sa_ask_check(struct softaccel_function *function, unsigned int number, struct rp_wire_why *why)
{
	struct sa_queue *queue = &function->queues[number];
	const struct rp_vring_copy nothing = {.parts = {NULL}};
	struct rp_vring_layout layout;
	int rc = sa_queue_layout(function, queue, &layout, why);

	return rc < 0 ? rc : rp_vring_dev_init_copy(&queue->ring.vring, &layout, queue->regs->position, &nothing, why);
}

void
sa_ask_cancel(struct softaccel_function *function, unsigned int number)
{
	struct sa_ask *ask = &function->queues[number].ask;

	if (ask->paging)
		rp_vfu_server_page_cancel(function->server, &ask->group);
	else if (ask->active)
		rp_dma_atc_cancel(function->atc, &ask->wait);
	ask->paging = false;
	ask->active = false;
	ask->start = SA_START_FOUND;
}

bool
sa_ask_is_active(const struct sa_ask *ask)
{
	return ask->active || ask->paging;
}
