/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "vfu_pages.h"
#include "vfu_server_iommu.h"

#define ACCESS_MASK (RP_DMA_READ | RP_DMA_WRITE)

TAILQ_HEAD(rp_vfu_page_groups, rp_vfu_page_group);

/* A group that the client has. */
struct under_way {
	struct rp_vfu_page_group *group; /* NULL: nobody waits for it any more */
	uint32_t number;
	uint32_t pages_count; /* 0: this one is free */
};

struct rp_vfu_pages {
	pthread_mutex_t lock; /* of everything below but what is said to be constant */
	pthread_cond_t ended;
	uint32_t pages_max; /* constant */
	bool open;
	bool failed; /* the client said so; until it says otherwise */
	uint32_t allowance;
	uint32_t pasid_bits;
	uint32_t used;
	uint32_t number; /* the last one */
	struct rp_vfu_page_groups queue;
	struct rp_vfu_page_groups ending; /* whose done() is due */
	const struct rp_vfu_page_group *finishing; /* whose done() runs */
	pthread_t finisher;
	struct rp_vfu_server_iommu_counters counters;
	struct under_way under_way[]; /* pages_max: each has a page at least */
};

int
rp_vfu_pages_create(uint32_t pages_max, struct rp_vfu_pages **ret_pages)
{
	struct rp_vfu_pages *pages = calloc(1, sizeof(*pages) + pages_max * sizeof(pages->under_way[0]));

	if (pages == NULL)
		return -ENOMEM;
	pages->pages_max = pages_max;
	pthread_mutex_init(&pages->lock, NULL);
	pthread_cond_init(&pages->ended, NULL);
	TAILQ_INIT(&pages->queue);
	TAILQ_INIT(&pages->ending);
	*ret_pages = pages;
	return 0;
}

struct rp_vfu_pages *
rp_vfu_pages_destroy(struct rp_vfu_pages *pages)
{
	if (pages == NULL)
		return NULL;
	rp_vfu_pages_close(pages);
	pthread_cond_destroy(&pages->ended);
	pthread_mutex_destroy(&pages->lock);
	free(pages);
	return NULL;
}

/* Lock held, released for each call. Groups that come to an end in here wait for their turn. */
static void
run_ending(struct rp_vfu_pages *pages, int error)
{
	struct rp_vfu_page_group *group;

	while ((group = TAILQ_FIRST(&pages->ending)) != NULL) {
		TAILQ_REMOVE(&pages->ending, group, link);
		group->active = false;
		pages->finishing = group;
		pages->finisher = pthread_self();
		pthread_mutex_unlock(&pages->lock);
		group->done(group, error);
		pthread_mutex_lock(&pages->lock);
		pages->finishing = NULL;
		pthread_cond_broadcast(&pages->ended);
	}
}

/* Lock held. Everything ends. */
static void
end_all(struct rp_vfu_pages *pages, int error)
{
	uint32_t i;

	for (i = 0; i < pages->pages_max; i++) {
		struct under_way *one = &pages->under_way[i];

		if (one->pages_count > 0 && one->group != NULL)
			TAILQ_INSERT_TAIL(&pages->ending, one->group, link);
		*one = (struct under_way){.group = NULL};
	}
	pages->used = 0;
	TAILQ_CONCAT(&pages->ending, &pages->queue, link);
	run_ending(pages, error);
}

void
rp_vfu_pages_open(struct rp_vfu_pages *pages, uint32_t allowance, uint32_t pasid_bits)
{
	pthread_mutex_lock(&pages->lock);
	pages->open = true;
	pages->failed = false;
	pages->allowance = allowance < pages->pages_max ? allowance : pages->pages_max;
	pages->pasid_bits = pasid_bits;
	pthread_mutex_unlock(&pages->lock);
}

void
rp_vfu_pages_close(struct rp_vfu_pages *pages)
{
	pthread_mutex_lock(&pages->lock);
	pages->open = false;
	pages->allowance = 0;
	end_all(pages, -ENOTCONN);
	pthread_mutex_unlock(&pages->lock);
}

/* Lock held. */
static int
check_group(const struct rp_vfu_pages *pages, const struct rp_vfu_page_group *group)
{
	uint32_t i;

	if (!pages->open)
		return -ENOTCONN;
	if (pages->allowance == 0)
		return -ENOTSUP;
	if (pages->failed)
		return -EIO;
	if (group->pages_count == 0 || group->pages_count > RP_VFU_PAGE_GROUP_MAX ||
	    group->pages_count > pages->allowance)
		return -EINVAL;
	if (group->pasid != RP_DMA_NO_PASID && (pages->pasid_bits == 0 || group->pasid >> pages->pasid_bits != 0))
		return -EINVAL;
	for (i = 0; i < group->pages_count; i++) {
		const struct rp_vfu_page *page = &group->pages[i];

		if (page->iova % RP_DMA_ATC_PAGE_BYTES != 0 || page->access_mask == 0 ||
		    (page->access_mask & ~ACCESS_MASK) != 0)
			return -EINVAL;
	}
	return 0;
}

int
rp_vfu_pages_request(struct rp_vfu_pages *pages, struct rp_vfu_page_group *group)
{
	int rc;

	pthread_mutex_lock(&pages->lock);
	rc = check_group(pages, group);
	if (rc == 0) {
		group->number = 0;
		group->active = true;
		TAILQ_INSERT_TAIL(&pages->queue, group, link);
	}
	pthread_mutex_unlock(&pages->lock);
	return rc;
}

static bool
is_queued(const struct rp_vfu_page_groups *list, const struct rp_vfu_page_group *group)
{
	const struct rp_vfu_page_group *one;

	TAILQ_FOREACH (one, list, link)
		if (one == group)
			return true;
	return false;
}

/* Lock held. */
static void
take_out(struct rp_vfu_pages *pages, struct rp_vfu_page_group *group)
{
	uint32_t i;

	group->active = false;
	if (is_queued(&pages->queue, group)) {
		TAILQ_REMOVE(&pages->queue, group, link);
		return;
	}
	if (is_queued(&pages->ending, group)) {
		TAILQ_REMOVE(&pages->ending, group, link);
		return;
	}
	/* The client has it: its pages are its until it responds. */
	for (i = 0; i < pages->pages_max; i++)
		if (pages->under_way[i].group == group)
			pages->under_way[i].group = NULL;
}

void
rp_vfu_pages_cancel(struct rp_vfu_pages *pages, struct rp_vfu_page_group *group)
{
	pthread_mutex_lock(&pages->lock);
	/* A done() that runs may request again. */
	while (pages->finishing == group && pthread_equal(pages->finisher, pthread_self()) == 0)
		pthread_cond_wait(&pages->ended, &pages->lock);
	if (group->active)
		take_out(pages, group);
	pthread_mutex_unlock(&pages->lock);
}

static uint32_t
write_message(const struct rp_vfu_page_group *group, uint8_t *ret_message)
{
	bool has_pasid = group->pasid != RP_DMA_NO_PASID;
	const struct rp_vfu_wire_page_request request = {
		.group = group->number,
		.count = group->pages_count,
		.pasid = {.pasid = has_pasid ? group->pasid : 0, .flags = has_pasid ? RP_VFU_IOMMU_PASID_MASK : 0},
	};
	uint8_t *at = ret_message;
	uint32_t i;

	memcpy(at, &request, sizeof(request));
	at += sizeof(request);
	for (i = 0; i < group->pages_count; i++) {
		const struct rp_vfu_wire_page page = {.iova = group->pages[i].iova,
						      .access_mask = group->pages[i].access_mask};

		memcpy(at, &page, sizeof(page));
		at += sizeof(page);
	}
	return (uint32_t)(at - ret_message);
}

/* Lock held; there is one for each page of the allowance. */
static struct under_way *
free_place(struct rp_vfu_pages *pages)
{
	struct under_way *one = pages->under_way;

	while (one->pages_count > 0)
		one++;
	return one;
}

uint32_t
rp_vfu_pages_next(struct rp_vfu_pages *pages, uint8_t *ret_message)
{
	struct rp_vfu_page_group *group;
	uint32_t bytes = 0;

	pthread_mutex_lock(&pages->lock);
	group = TAILQ_FIRST(&pages->queue);
	if (group != NULL && group->pages_count <= pages->allowance - pages->used) {
		TAILQ_REMOVE(&pages->queue, group, link);
		group->number = ++pages->number;
		*free_place(pages) = (struct under_way){group, group->number, group->pages_count};
		pages->used += group->pages_count;
		pages->counters.page_requests += group->pages_count;
		pages->counters.page_groups++;
		bytes = write_message(group, ret_message);
	}
	pthread_mutex_unlock(&pages->lock);
	return bytes;
}

/* Lock held. */
static int
end_group(struct rp_vfu_pages *pages, uint32_t number, int error, uint64_t *counter, struct rp_wire_why *why)
{
	uint32_t i;

	for (i = 0; i < pages->pages_max; i++) {
		struct under_way one = pages->under_way[i];

		if (one.pages_count == 0 || one.number != number)
			continue;
		pages->under_way[i] = (struct under_way){.group = NULL};
		pages->used -= one.pages_count;
		(*counter)++;
		if (one.group != NULL)
			TAILQ_INSERT_TAIL(&pages->ending, one.group, link);
		run_ending(pages, error);
		return 0;
	}
	return rp_wire_why_set(why, -EBADMSG, "group: %u is not under way", number);
}

int
rp_vfu_pages_respond(struct rp_vfu_pages *pages, uint32_t number, uint32_t code, struct rp_wire_why *why)
{
	int rc = 0;

	pthread_mutex_lock(&pages->lock);
	switch (code) {
	case RP_VFU_PAGE_SUCCESS:
		rc = end_group(pages, number, 0, &pages->counters.page_successes, why);
		break;
	case RP_VFU_PAGE_INVALID:
		rc = end_group(pages, number, -EFAULT, &pages->counters.page_invalid, why);
		break;
	case RP_VFU_PAGE_FAILURE:
		/* As in PCI Express: one ends them all, and none is sent until it is said that one may be. */
		pages->failed = true;
		pages->counters.page_failures++;
		end_all(pages, -EIO);
		break;
	default:
		pages->failed = false;
		break;
	}
	pthread_mutex_unlock(&pages->lock);
	return rc;
}

void
rp_vfu_pages_resume(struct rp_vfu_pages *pages)
{
	pthread_mutex_lock(&pages->lock);
	pages->failed = false;
	pthread_mutex_unlock(&pages->lock);
}

void
rp_vfu_pages_counters(struct rp_vfu_pages *pages, struct rp_vfu_server_iommu_counters *counters)
{
	pthread_mutex_lock(&pages->lock);
	counters->page_requests = pages->counters.page_requests;
	counters->page_groups = pages->counters.page_groups;
	counters->page_successes = pages->counters.page_successes;
	counters->page_invalid = pages->counters.page_invalid;
	counters->page_failures = pages->counters.page_failures;
	pthread_mutex_unlock(&pages->lock);
}

int
rp_vfu_server_page_request(struct rp_vfu_server *server, struct rp_vfu_page_group *group)
{
	int rc;

	if (server->iommu == NULL)
		return -ENOTSUP;
	rc = rp_vfu_pages_request(server->iommu->pages, group);
	if (rc == 0)
		rp_vfu_carrier_wake(server->carrier);
	return rc;
}

void
rp_vfu_server_page_cancel(struct rp_vfu_server *server, struct rp_vfu_page_group *group)
{
	if (server->iommu != NULL)
		rp_vfu_pages_cancel(server->iommu->pages, group);
}

int
rp_vfu_server_on_page_response(struct rp_vfu_server *server, const struct rp_vfu_msg_view *command, int *fds,
			       struct rp_vfu_reply *reply, struct rp_wire_why *why)
{
	struct rp_vfu_wire_page_response response;

	(void)fds;
	(void)reply;
	memcpy(&response, command->payload, sizeof(response));
	return rp_vfu_pages_respond(server->iommu->pages, response.group, response.code, why);
}
