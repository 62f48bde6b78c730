/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <unistd.h>

#include "asks.h"
#include "iommu_table.h"
#include "port.h"

#define PAGE ((uint64_t)RP_ACCEL_IOMMU_PAGE_BYTES)
#define QUESTIONS_MAX 256u /* a device is told of no more that it may have */
#define PAGES_MAX (1u << 20) /* ranges that lie apart */
#define ANSWER_BYTES (1ull << 30) /* the largest, if so much lies together */
#define ACCESS_BOTH (RP_DMA_READ | RP_DMA_WRITE)

_Static_assert(RP_DMA_READ == RP_VHU_IOTLB_READ_MASK && RP_DMA_WRITE == RP_VHU_IOTLB_WRITE_MASK,
	       "permissions are handed on as they are");

struct question {
	uint64_t token; /* 0: none */
	uint64_t iova;
	uint8_t perm;
};

struct group {
	TAILQ_ENTRY(group) link;
	uint32_t number;
	unsigned int count;
	struct rp_accel_page pages[];
};

struct port_asks {
	struct rp_accel_iommu iommu;
	bool iovas; /* what it asks for is IOVAs of the guest's */
	struct port_translations *mapped; /* guest memory that it has; a range leads to itself */
	struct question questions[QUESTIONS_MAX];
	TAILQ_HEAD(group_list, group) groups; /* in their order */
};

static struct rp_port_iommu_info *
counters(const struct port_accelerator *accelerator)
{
	return port_iommu_counters(accelerator->port);
}

static bool
find_region(const struct rp_port *port, uint64_t gpa, struct rp_vhu_region *ret_region)
{
	unsigned int i;

	for (i = 0; i < rp_vhu_backend_regions_count(port->backend); i++)
		if (rp_vhu_backend_region(port->backend, i, ret_region) == 0 &&
		    gpa - ret_region->gpa < ret_region->size_bytes)
			return true;
	return false;
}

/* What is behind an address of the device's, mapped or not: as port_iommu_find(). */
static int
find(const struct port_accelerator *accelerator, uint64_t iova, uint8_t perm, uint64_t *ret_gpa, uint64_t *ret_bytes)
{
	int rc;

	if (!accelerator->asks->iovas) {
		*ret_gpa = iova;
		*ret_bytes = UINT64_MAX - iova < ANSWER_BYTES ? PAGE : ANSWER_BYTES;
		return 0;
	}
	rc = port_iommu_find(accelerator->port, iova, ANSWER_BYTES, perm, false, ret_gpa, ret_bytes);
	/* A page is the least that a device can be told of. */
	return rc == 0 && (*ret_bytes < PAGE || *ret_gpa % PAGE != 0) ? -EFAULT : rc;
}

/* How much the device has of the guest's memory from an address on; 0: that page it has not. */
static uint64_t
mapped_bytes(const struct port_accelerator *accelerator, uint64_t gpa)
{
	const struct port_translation *range = port_translations_find(accelerator->asks->mapped, gpa);

	return range == NULL ? 0 : range->last - gpa + 1;
}

static int
answer(struct port_accelerator *accelerator, uint64_t iova, uint8_t perm, struct rp_accel_translation *ret)
{
	const struct rp_port *port = accelerator->port;
	bool iovas = accelerator->asks->iovas;
	struct rp_vhu_region region;
	uint64_t gpa, bytes, room;
	int rc = find(accelerator, iova, perm, &gpa, &bytes);

	*ret = (struct rp_accel_translation){.iova = iova};
	if (rc < 0)
		return rc == -EFAULT ? 0 : rc;
	room = mapped_bytes(accelerator, gpa);
	if (room == 0 && (iovas || find_region(port, gpa, &region)))
		return 0;
	/* What is not the guest's is ours, page by page: private rings and windows, where they were mapped. */
	if (room == 0)
		room = PAGE;
	ret->size_bytes = (room < bytes ? room : bytes) & ~(PAGE - 1);
	ret->address = gpa;
	ret->access_mask = iovas && !port_iommu_permits(port, iova, ACCESS_BOTH) ? perm : ACCESS_BOTH;
	ret->identity = gpa == iova;
	return 0;
}

static struct question *
find_question(struct port_asks *asks, uint64_t token)
{
	unsigned int i;

	for (i = 0; i < QUESTIONS_MAX; i++)
		if (asks->questions[i].token == token)
			return &asks->questions[i];
	return NULL;
}

static int
on_translate(void *ctx, uint64_t token, uint64_t iova, uint32_t access_mask, struct rp_accel_translation *ret)
{
	struct port_accelerator *accelerator = ctx;
	struct question *question = find_question(accelerator->asks, 0);
	int rc;

	counters(accelerator)->device_translations++;
	/* While it is opened: there is no guest yet. */
	if (accelerator->port->backend == NULL)
		return -EIO;
	rc = answer(accelerator, iova, (uint8_t)access_mask, ret);
	if (rc != -EAGAIN)
		return rc;
	if (question == NULL)
		return -ENOSPC;
	*question = (struct question){.token = token, .iova = iova, .perm = (uint8_t)access_mask};
	return -EINPROGRESS;
}

/* From inside an operation of the device's, in which it can be given no memory. */
static void
on_page_request(void *ctx, uint32_t number, const struct rp_accel_page *pages, unsigned int count)
{
	struct port_accelerator *accelerator = ctx;
	struct group *group = calloc(1, sizeof(*group) + count * sizeof(*pages));

	counters(accelerator)->device_page_requests += count;
	if (group == NULL) {
		if (accelerator->accel.ops != NULL)
			accelerator->accel.ops->page_respond(accelerator->accel.priv, number, false);
		return;
	}
	group->number = number;
	group->count = count;
	memcpy(group->pages, pages, count * sizeof(*pages));
	TAILQ_INSERT_TAIL(&accelerator->asks->groups, group, link);
	port_iommu_wake_now(accelerator->port);
}

int
port_asks_create(struct port_accelerator *accelerator)
{
	struct port_asks *asks;

	if (!accelerator->port->access_platform)
		return 0;
	asks = accelerator->asks = calloc(1, sizeof(*asks));
	if (asks == NULL)
		return -ENOMEM;
	TAILQ_INIT(&asks->groups);
	asks->iommu =
		(struct rp_accel_iommu){.translate = on_translate, .page_request = on_page_request, .ctx = accelerator};
	return port_translations_create(PAGES_MAX, &asks->mapped);
}

void
port_asks_forget(struct port_accelerator *accelerator)
{
	struct port_asks *asks = accelerator->asks;
	struct group *group;

	if (asks == NULL)
		return;
	asks->iovas = false;
	memset(asks->questions, 0, sizeof(asks->questions));
	while ((group = TAILQ_FIRST(&asks->groups)) != NULL) {
		TAILQ_REMOVE(&asks->groups, group, link);
		free(group);
	}
	if (asks->mapped != NULL)
		port_translations_clear(asks->mapped);
}

void
port_asks_destroy(struct port_accelerator *accelerator)
{
	port_asks_forget(accelerator);
	if (accelerator->asks != NULL)
		port_translations_destroy(accelerator->asks->mapped);
	free(accelerator->asks);
	accelerator->asks = NULL;
}

const struct rp_accel_iommu *
port_asks_iommu(const struct port_accelerator *accelerator)
{
	return accelerator->asks == NULL ? NULL : &accelerator->asks->iommu;
}

bool
port_asks_is(const struct port_accelerator *accelerator)
{
	return accelerator->asks != NULL && accelerator->accel.ops != NULL && accelerator->info.asks;
}

bool
port_asks_iovas(const struct rp_port *port, int accelerator)
{
	return accelerator >= 0 && port_asks_is(&port->accelerators[accelerator]) &&
	       port->accelerators[accelerator].asks->iovas;
}

bool
port_asks_directly(const struct rp_port *port, unsigned int index)
{
	const struct port_accelerator *accelerator = &port->accelerators[index];
	unsigned int i;

	/* One that cannot go on in mid-life would need a private ring then, beside direct ones. */
	if (!port_asks_is(accelerator) || accelerator->info.class != RP_ACCEL_CLASS_A || !port_iommu_is_on(port) ||
	    port_shadow_logging(port))
		return false;
	for (i = 0; i < port->queues_count; i++)
		if (port_queue_is_on(&port->queues[i], index) && port->queues[i].ring_policy == RP_PORT_RING_SHADOW)
			return false;
	return true;
}

static int
invalidate(struct port_accelerator *accelerator, uint64_t iova, uint64_t size_bytes, struct rp_wire_why *why)
{
	int rc = accelerator->accel.ops->invalidate(accelerator->accel.priv, iova, size_bytes, why);

	counters(accelerator)->device_invalidations += rc == 0;
	return rc;
}

static void
refuse_groups(struct port_accelerator *accelerator)
{
	struct group *group;

	while ((group = TAILQ_FIRST(&accelerator->asks->groups)) != NULL) {
		TAILQ_REMOVE(&accelerator->asks->groups, group, link);
		accelerator->accel.ops->page_respond(accelerator->accel.priv, group->number, false);
		free(group);
	}
}

static int
stop_others(struct rp_port *port, unsigned int index, struct rp_wire_why *why)
{
	unsigned int i;
	int rc = 0;

	for (i = 0; i < port->queues_count && rc == 0; i++) {
		struct port_queue *queue = &port->queues[i];

		if (!port_queue_is_on(queue, index) || !queue->running)
			continue;
		rc = port_queue_stop(port, queue, why);
		queue->iommu.stopped = !queue->running;
	}
	port_iommu_wake_now(port);
	return rc;
}

int
port_asks_settle(struct rp_port *port, unsigned int index, struct rp_wire_why *why)
{
	struct port_accelerator *accelerator = &port->accelerators[index];
	bool iovas = port_asks_directly(port, index);
	int rc;

	if (!port_asks_is(accelerator) || accelerator->asks->iovas == iovas)
		return 0;
	rc = stop_others(port, index, why);
	if (rc < 0)
		return rc;
	refuse_groups(accelerator);
	accelerator->asks->iovas = iovas;
	return invalidate(accelerator, 0, 0, why);
}

/* Pages that have a byte of the range. */
static void
round_out(uint64_t *iova, uint64_t *size_bytes)
{
	uint64_t last = (*iova + (*size_bytes - 1)) | (PAGE - 1);

	*iova &= ~(PAGE - 1);
	/* 0, and so everything, where it is everything. */
	*size_bytes = last - *iova + 1;
}

void
port_asks_invalidate(struct rp_port *port, uint64_t iova, uint64_t size_bytes)
{
	struct rp_wire_why why = {0};
	unsigned int i;
	int rc;

	round_out(&iova, &size_bytes);
	for (i = 0; i < port->accelerators_count; i++) {
		if (!port_accelerator_usable(port, (int)i) || !port_asks_iovas(port, (int)i))
			continue;
		rc = invalidate(&port->accelerators[i], iova, size_bytes, &why);
		if (rc < 0)
			port_accelerator_fail(port, i, rc, &why);
	}
}

void
port_asks_refuse(struct rp_port *port)
{
	unsigned int i;

	for (i = 0; i < port->accelerators_count; i++)
		if (port_accelerator_usable(port, (int)i) && port_asks_iovas(port, (int)i))
			refuse_groups(&port->accelerators[i]);
	port_asks_invalidate(port, 0, UINT64_MAX);
}

int
port_asks_region_remove(struct port_accelerator *accelerator, const struct rp_vhu_region *region,
			struct rp_wire_why *why)
{
	const struct rp_accel *accel = &accelerator->accel;
	int rc;

	/* First: it asks while it is told. */
	port_translations_unset(accelerator->asks->mapped, region->gpa, region->gpa + (region->size_bytes - 1));
	rc = invalidate(accelerator, 0, 0, why);
	/* As many pieces as there were page requests, at once (doc/protocol/vfio-user-dma.md). */
	return rc < 0 ? rc : accel->ops->dma_unmap(accel->priv, region->gpa, region->size_bytes, why);
}

/* A device has room for so many pages. All of them are taken back: those that are in use it requests again. */
static int
make_room(struct port_accelerator *accelerator, struct rp_wire_why *why)
{
	struct rp_port *port = accelerator->port;
	struct rp_vhu_region region;
	unsigned int i;
	int rc = 0;

	for (i = 0; rc == 0 && i < rp_vhu_backend_regions_count(port->backend); i++)
		if (rp_vhu_backend_region(port->backend, i, &region) == 0)
			rc = port_asks_region_remove(accelerator, &region, why);
	return rc;
}

static int
map_whole(struct port_accelerator *accelerator, uint64_t first, uint64_t page_bytes, const struct rp_vhu_region *region,
	  struct rp_wire_why *why)
{
	const struct rp_accel *accel = &accelerator->accel;

	return accel->ops->dma_map(
		accel->priv, first, page_bytes, region->fd, region->offset_bytes + (first - region->gpa),
		rp_dma_space_translate(accelerator->port->memory, first, page_bytes, RP_DMA_READ), why);
}

/* The page of this machine's that has a page of the guest's. 0, -EFAULT (it is not whole, or not there), or what dma_map says. */
static int
map_page(struct port_accelerator *accelerator, uint64_t gpa, struct rp_wire_why *why)
{
	const uint64_t page_bytes = (uint64_t)sysconf(_SC_PAGESIZE), first = gpa & ~(page_bytes - 1);
	const struct port_translation page = {.first = first, .last = first + (page_bytes - 1), .gpa = first};
	struct rp_vhu_region region;
	int rc;

	if (mapped_bytes(accelerator, gpa) > 0)
		return 0;
	if (!find_region(accelerator->port, gpa, &region) || first < region.gpa ||
	    page_bytes > region.size_bytes - (first - region.gpa))
		return rp_wire_why_set(why, -EFAULT, "0x%" PRIx64 " is not guest memory, or no whole page of it", gpa);
	rc = map_whole(accelerator, first, page_bytes, &region, why);
	if (rc == -ENOSPC) {
		rc = make_room(accelerator, why);
		if (rc == 0)
			rc = map_whole(accelerator, first, page_bytes, &region, why);
	}
	/* What does not fit into the book any more was forgotten, and is there. */
	if (rc < 0 && rc != -EEXIST)
		return rc;
	port_translations_set(accelerator->asks->mapped, &page);
	counters(accelerator)->device_pages += rc == 0;
	return 0;
}

/* 0: all of its pages are there; -EAGAIN; or why one cannot be. */
static int
make_present(struct port_accelerator *accelerator, const struct group *group, struct rp_wire_why *why)
{
	int result = 0;
	unsigned int i;

	for (i = 0; i < group->count; i++) {
		uint64_t gpa, bytes;
		int rc = find(accelerator, group->pages[i].iova, (uint8_t)group->pages[i].access_mask, &gpa, &bytes);

		if (rc == 0)
			rc = map_page(accelerator, gpa, why);
		if (rc == -EAGAIN)
			result = rc;
		else if (rc < 0)
			return rc;
	}
	return result;
}

static void
run_groups(struct rp_port *port, unsigned int index)
{
	struct port_accelerator *accelerator = &port->accelerators[index];
	struct group *group, *next;
	struct rp_wire_why why = {0};

	for (group = TAILQ_FIRST(&accelerator->asks->groups); group != NULL; group = next) {
		int rc = make_present(accelerator, group, &why);

		/* After it, what came meanwhile stands behind. */
		next = TAILQ_NEXT(group, link);
		if (rc == -EAGAIN)
			continue;
		if (rc == -ENOTCONN || rc == -ETIMEDOUT || rc == -EIO) {
			port_accelerator_fail(port, index, rc, &why);
			return;
		}
		TAILQ_REMOVE(&accelerator->asks->groups, group, link);
		accelerator->accel.ops->page_respond(accelerator->accel.priv, group->number, rc == 0);
		free(group);
	}
}

static void
run_questions(struct port_accelerator *accelerator)
{
	const struct rp_accel *accel = &accelerator->accel;
	unsigned int i;

	for (i = 0; i < QUESTIONS_MAX; i++) {
		struct question question = accelerator->asks->questions[i];
		struct rp_accel_translation translation;
		int rc;

		if (question.token == 0)
			continue;
		rc = answer(accelerator, question.iova, question.perm, &translation);
		if (rc == -EAGAIN)
			continue;
		accelerator->asks->questions[i].token = 0;
		accel->ops->translated(accel->priv, question.token, &translation);
	}
}

void
port_asks_run(struct rp_port *port)
{
	unsigned int i;

	for (i = 0; i < port->accelerators_count; i++) {
		if (!port_accelerator_usable(port, (int)i) || !port_asks_is(&port->accelerators[i]))
			continue;
		run_questions(&port->accelerators[i]);
		run_groups(port, i);
	}
}
