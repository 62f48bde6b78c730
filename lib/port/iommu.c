/* SPDX-License-Identifier: BSD-3-Clause */

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "iommu_table.h"
#include "port.h"
#include "rp_vring_position.h"
#include "rp_wire_clock.h"

#define TRANSLATIONS_MAX 65536u
#define MISSES_MAX 128u
#define MISSES_ASKED_MAX 32u /* at one moment: a frontend has no endless room for its updates either */
#define CHANNEL_FULL_MS 10
#define ACCESS_BOTH (RP_VHU_IOTLB_READ_MASK | RP_VHU_IOTLB_WRITE_MASK)

enum miss_state {
	MISS_NONE,
	MISS_ASKED,
	MISS_ANSWERED, /* well; the update came before, but over the other socket, and may not be read yet */
	MISS_REFUSED, /* somebody will want to know */
};

struct miss {
	enum miss_state state;
	bool void_; /* what was asked for was taken back meanwhile: whatever is answered is about the past */
	uint8_t perm;
	uint64_t page;
};

struct port_iommu {
	struct port_translations *translations;
	struct miss misses[MISSES_MAX];
	unsigned int asked_count; /* of the misses */
	bool run_due;
	bool unheard; /* there is no channel to ask over, which was said */
	uint64_t retry_at_ms; /* 0: nothing is due */
	struct rp_port_iommu_info info;
};

int
port_iommu_open(struct rp_port *port, struct rp_wire_why *why)
{
	if (!port->access_platform)
		return 0;
	port->iommu = calloc(1, sizeof(*port->iommu));
	if (port->iommu == NULL || port_translations_create(TRANSLATIONS_MAX, &port->iommu->translations) < 0)
		return rp_wire_why_set(why, -ENOMEM, "no memory");
	return 0;
}

void
port_iommu_close(struct rp_port *port)
{
	if (port->iommu == NULL)
		return;
	port_translations_destroy(port->iommu->translations);
	free(port->iommu);
	port->iommu = NULL;
}

void
port_iommu_wake(struct rp_port *port)
{
	if (port->iommu != NULL)
		port->iommu->run_due = true;
}

void
port_iommu_wake_now(struct rp_port *port)
{
	if (port->iommu == NULL)
		return;
	port->iommu->run_due = true;
	port->iommu->retry_at_ms = rp_wire_clock_ms();
}

struct rp_port_iommu_info *
port_iommu_counters(const struct rp_port *port)
{
	return &port->iommu->info;
}

bool
port_iommu_is_on(const struct rp_port *port)
{
	return port->iommu != NULL && port->features_acked &&
	       (port->features & 1ull << RP_VHU_F_ACCESS_PLATFORM_BIT) != 0;
}

void
port_iommu_forget(struct rp_port *port)
{
	struct port_iommu *iommu = port->iommu;
	unsigned int i;

	if (iommu == NULL)
		return;
	port_translations_clear(iommu->translations);
	for (i = 0; i < MISSES_MAX; i++) {
		iommu->misses[i].void_ = true;
		if (iommu->misses[i].state != MISS_ASKED)
			iommu->misses[i].state = MISS_NONE;
	}
	port_asks_refuse(port);
}

bool
port_iommu_permits(const struct rp_port *port, uint64_t iova, uint8_t perm)
{
	const struct port_translation *known = port_translations_find(port->iommu->translations, iova);

	return known != NULL && (known->perm & perm) == perm;
}

static struct miss *
find_miss(struct port_iommu *iommu, uint64_t page, uint8_t perm)
{
	unsigned int i;

	for (i = 0; i < MISSES_MAX; i++) {
		struct miss *miss = &iommu->misses[i];

		if (miss->state != MISS_NONE && !miss->void_ && miss->page == page && miss->perm == perm)
			return miss;
	}
	return NULL;
}

/* What was refused is kept for whoever wants to know, until its place is needed. */
static struct miss *
find_room(struct port_iommu *iommu)
{
	struct miss *refused = NULL;
	unsigned int i;

	for (i = 0; i < MISSES_MAX; i++) {
		if (iommu->misses[i].state == MISS_NONE)
			return &iommu->misses[i];
		if (iommu->misses[i].state == MISS_REFUSED)
			refused = &iommu->misses[i];
	}
	return refused;
}

static void
ask(struct rp_port *port, uint64_t page, uint8_t perm)
{
	struct port_iommu *iommu = port->iommu;
	struct rp_wire_why why = {0};
	struct miss *miss;
	int rc;

	/* Whoever waits asks again when one of them was answered. */
	miss = iommu->asked_count < MISSES_ASKED_MAX ? find_room(iommu) : NULL;
	if (miss == NULL)
		return;
	rc = rp_vhu_backend_iotlb_miss(port->backend, page, perm, PORT_TOKEN_IOTLB | (uint64_t)(miss - iommu->misses),
				       &why);
	if (rc == 0) {
		*miss = (struct miss){.state = MISS_ASKED, .perm = perm, .page = page};
		iommu->info.misses++;
		iommu->asked_count++;
		return;
	}
	if (rc == -ENOSPC)
		iommu->retry_at_ms = rp_wire_clock_ms() + CHANNEL_FULL_MS;
	if (rc == -ENOTSUP && !iommu->unheard)
		port_event(port, RP_PORT_EVENT_WARNING, -1, "iotlb-unheard", "%s", why.text);
	iommu->unheard = rc == -ENOTSUP;
}

int
port_iommu_find(struct rp_port *port, uint64_t iova, uint64_t size_bytes, uint8_t perm, bool ahead, uint64_t *ret_gpa,
		uint64_t *ret_bytes)
{
	struct port_iommu *iommu = port->iommu;
	const struct port_translation *known = port_translations_find(iommu->translations, iova);
	uint64_t page = iova & ~(uint64_t)(PORT_IOMMU_PAGE_BYTES - 1);
	struct miss *miss;

	if (known != NULL && (known->perm & perm) == perm) {
		uint64_t rest = known->last - iova;

		*ret_gpa = known->gpa + (iova - known->first);
		*ret_bytes = rest < size_bytes - 1 ? rest + 1 : size_bytes;
		return 0;
	}
	miss = find_miss(iommu, page, perm);
	if (miss == NULL) {
		ask(port, page, perm);
		return -EAGAIN;
	}
	if (miss->state != MISS_REFUSED)
		return -EAGAIN;
	/* The guest may map it before its next attempt, and nobody would say so. */
	if (!ahead)
		miss->state = MISS_NONE;
	return -EFAULT;
}

int
port_iommu_all_identity(struct rp_port *port)
{
	unsigned int i;
	int result = 0, rc;

	for (i = 0; i < rp_vhu_backend_regions_count(port->backend); i++) {
		struct rp_vhu_region region;
		uint64_t gpa, bytes;

		if (rp_vhu_backend_region(port->backend, i, &region) < 0)
			continue;
		rc = port_iommu_find(port, region.gpa, region.size_bytes, ACCESS_BOTH, false, &gpa, &bytes);
		if (rc == -EAGAIN)
			result = rc;
		else if (rc < 0 || gpa != region.gpa || bytes < region.size_bytes)
			return -EFAULT;
	}
	return result;
}

int
port_iommu_translate(void *ctx, uint64_t iova, uint64_t size_bytes, uint32_t access_mask, bool ahead,
		     struct rp_vring_shadow_place *ret_place)
{
	struct port_queue *queue = ctx;
	struct rp_port *port = queue->shadow.port;
	uint8_t perm = access_mask == RP_DMA_WRITE ? RP_VHU_IOTLB_WRITE_MASK : RP_VHU_IOTLB_READ_MASK;
	uint64_t gpa, bytes;
	int rc = port_iommu_find(port, iova, size_bytes, perm, ahead, &gpa, &bytes);

	if (rc == -EFAULT && !ahead)
		queue->iommu.refused_iova = iova;
	if (rc < 0)
		return rc;
	/* What lies together there may lie in two regions, which are two pieces for us. */
	ret_place->hva = rp_dma_reader_translate(port->reader, gpa, bytes, access_mask, &ret_place->size_bytes);
	ret_place->device_iova = gpa;
	return ret_place->hva == NULL ? -EFAULT : 0;
}

/* The device lets go of the ring before this returns; what it did not use is done again, when its translations are there. */
static void
stop_ring(struct rp_port *port, struct port_queue *queue)
{
	struct rp_wire_why why = {0};

	port->iommu->info.rings_stopped += queue->running;
	queue->iommu.stopped = true;
	port->iommu->run_due = true;
	if (queue->running && port_queue_stop(port, queue, &why) == -ENOTSUP) {
		unsigned int i;

		for (i = 0; i < port->queues_count; i++)
			if (port_queue_is_on(&port->queues[i], (unsigned int)queue->accelerator))
				port->queues[i].iommu.stopped |= port->queues[i].running;
		port_accelerator_quiesce(port, (unsigned int)queue->accelerator, &why);
	}
	/* With a device that failed; what it does to memory that was shared with it is not in our hands. */
	if (queue->shadow.ring != NULL && !queue->running) {
		port_queue_released(port, queue);
		queue->handed_back = true;
	}
}

/* Whether the device may reach memory through a range, or we the ring. */
static bool
is_used(const struct rp_port *port, const struct port_queue *queue, uint64_t iova, uint64_t size_bytes)
{
	if (port_iommu_ring_overlaps(port, queue, iova, size_bytes))
		return true;
	if (queue->shadow.ring != NULL)
		return rp_vring_shadow_uses(queue->shadow.ring, iova, size_bytes);
	/* It reads addresses that nobody but it knows; and is told itself, if it is one that asks. */
	return queue->running && !port_asks_iovas(port, queue->accelerator);
}

static void
look_again(struct rp_port *port, struct port_queue *queue)
{
	struct rp_wire_why why = {0};

	port_iommu_ring_open(port, queue, &why);
}

static void
take_back(struct rp_port *port, uint64_t iova, uint64_t size_bytes)
{
	struct port_iommu *iommu = port->iommu;
	uint64_t last = iova + (size_bytes - 1);
	unsigned int i;

	port_translations_unset(iommu->translations, iova, last);
	for (i = 0; i < MISSES_MAX; i++) {
		struct miss *miss = &iommu->misses[i];

		if (miss->state == MISS_NONE || miss->page > last || iova > miss->page + (PORT_IOMMU_PAGE_BYTES - 1))
			continue;
		miss->void_ = true;
		if (miss->state != MISS_ASKED)
			miss->state = MISS_NONE;
		iommu->run_due = true;
	}
	for (i = 0; i < port->queues_count; i++) {
		struct port_queue *queue = &port->queues[i];
		bool overlaps = port_iommu_ring_overlaps(port, queue, iova, size_bytes);

		/* It knows by itself what to do about its ring; and we look again when its pages are there. */
		if (queue->software == PORT_SOFTWARE_RING_SERVES) {
			if (overlaps)
				port_iommu_ring_close(queue);
			iommu->run_due |= overlaps;
			continue;
		}
		if (is_used(port, queue, iova, size_bytes))
			stop_ring(port, queue);
		if (overlaps) {
			queue->iommu.waits = true;
			port_iommu_ring_close(queue);
		}
	}
}

void
port_iommu_on_invalidate(void *ctx, uint64_t iova, uint64_t size_bytes)
{
	struct rp_port *port = ctx;

	if (port->iommu == NULL)
		return;
	port->iommu->info.invalidations++;
	take_back(port, iova, size_bytes);
	port_asks_invalidate(port, iova, size_bytes);
	port_software_iotlb_invalidate(port, iova, size_bytes);
}

int
port_iommu_on_update(void *ctx, const struct rp_vhu_iotlb *entry, struct rp_wire_why *why)
{
	struct rp_port *port = ctx;
	const struct port_translation translation = {
		.first = entry->iova,
		.last = entry->iova + (entry->size_bytes - 1),
		.gpa = entry->gpa,
		.perm = entry->perm,
	};

	if (port->iommu == NULL)
		return rp_wire_why_set(why, -ENOTSUP, "access_platform is off");
	if (entry->perm == 0)
		return rp_wire_why_set(why, -EBADMSG, "permissions: 0, expected some with an update");
	/* The same once more comes from each queue pair of QEMU; another place is the end of what was. */
	if (!port_translations_agree(port->iommu->translations, &translation))
		port_iommu_on_invalidate(port, entry->iova, entry->size_bytes);
	port_translations_set(port->iommu->translations, &translation);
	port->iommu->info.updates++;
	port->iommu->run_due = true;
	return 0;
}

void
port_iommu_region_remove(struct rp_port *port, const struct rp_vhu_region *region)
{
	unsigned int i;

	if (!port_iommu_is_on(port))
		return;
	port_translations_unset_gpa(port->iommu->translations, region->gpa, region->size_bytes);
	/* Memory goes rarely: which chains lie in it is not looked for. */
	for (i = 0; i < port->queues_count; i++) {
		struct port_queue *queue = &port->queues[i];

		if (queue->running || queue->shadow.ring != NULL)
			stop_ring(port, queue);
		if (queue->iommu.open) {
			queue->iommu.waits = true;
			port_iommu_ring_close(queue);
		}
	}
}

void
port_iommu_reply(struct rp_port *port, uint64_t slot, int error)
{
	struct miss *miss;

	if (port->iommu == NULL || slot >= MISSES_MAX)
		return;
	miss = &port->iommu->misses[slot];
	if (miss->state != MISS_ASKED)
		return;
	port->iommu->asked_count--;
	if (miss->void_ || error == -ENOTCONN)
		miss->state = MISS_NONE;
	else
		miss->state = error == 0 ? MISS_ANSWERED : MISS_REFUSED;
	port->iommu->info.misses_refused += miss->state == MISS_REFUSED;
	port->iommu->run_due = true;
}

/* Answers that said well, when all that was sent before them was read. @return false: more is to be read. */
static bool
settle_answers(struct rp_port *port)
{
	struct port_iommu *iommu = port->iommu;
	struct pollfd more = {.fd = rp_vhu_backend_fd(port->backend), .events = POLLIN};
	bool read_all = poll(&more, 1, 0) == 0;
	unsigned int i;

	for (i = 0; i < MISSES_MAX; i++) {
		struct miss *miss = &iommu->misses[i];

		if (miss->state != MISS_ANSWERED)
			continue;
		if (port_iommu_permits(port, miss->page, miss->perm)) {
			miss->state = MISS_NONE;
		} else if (read_all) {
			/* vhost-user.rst: of what is not there nothing is sent. */
			miss->state = MISS_REFUSED;
			iommu->info.misses_refused++;
		}
	}
	return read_all;
}

static void
open_ring(struct rp_port *port, struct port_queue *queue)
{
	struct rp_wire_why why = {0};
	int rc = port_iommu_ring_open(port, queue, &why);

	if (rc == 0 && !queue->iommu.stopped)
		rc = port_position_from_frontend(port, queue, &why);
	if (rc == -EAGAIN)
		return;
	if (rc < 0) {
		snprintf(queue->reason, sizeof(queue->reason), "%.150s", why.text);
		if (!queue->iommu.told)
			port_event(port, RP_PORT_EVENT_WARNING, (int)queue->index, "ring-not-translated", "%s",
				   why.text);
		queue->iommu.told = true;
		return;
	}
	queue->iommu.waits = queue->iommu.told = queue->iommu.stopped = false;
	port_queue_update(port, queue, NULL);
}

void
port_iommu_ring_start(struct rp_port *port, struct port_queue *queue)
{
	queue->position = queue->vring.base;
	queue->position_lost = false;
	queue->reason[0] = '\0';
	queue->iommu.waits = true;
	queue->iommu.told = queue->iommu.stopped = false;
	/* Inside a request: asks, and goes on when that was answered. */
	open_ring(port, queue);
}

void
port_iommu_ring_stop(struct rp_port *port, struct port_queue *queue)
{
	unsigned int i;

	queue->iommu.waits = queue->iommu.stopped = false;
	if (queue->shadow.ring == NULL)
		port_iommu_ring_close(queue);
	for (i = 0; i < port->queues_count; i++)
		if (port->queues[i].frontend_started)
			return;
	/* The next driver may have another domain, and nobody says that this one's is gone. */
	port_iommu_forget(port);
}

static void
start_again(struct rp_port *port, struct port_queue *queue)
{
	queue->iommu.stopped = false;
	port_queue_update(port, queue, NULL);
}

static void
tell_refusals(struct rp_port *port, struct port_queue *queue)
{
	uint64_t count = port_queue_accesses_refused(queue);

	if (queue->iommu.refused_told != 0 || count == 0)
		return;
	queue->iommu.refused_told = count;
	port_event(port, RP_PORT_EVENT_WARNING, (int)queue->index, "access-refused",
		   "the guest's driver names 0x%" PRIx64
		   ", which the guest's IOMMU does not permit: its chain came back "
		   "with nothing done; further ones are counted only",
		   queue->iommu.refused_iova);
}

void
port_iommu_run(struct rp_port *port)
{
	struct port_iommu *iommu = port->iommu;
	bool read_all;
	unsigned int i;

	if (iommu == NULL || !iommu->run_due || port->closing || port->backend == NULL)
		return;
	iommu->run_due = false;
	iommu->retry_at_ms = 0;
	if (!rp_vhu_backend_attached(port->backend))
		return;
	read_all = settle_answers(port);
	for (i = 0; i < port->queues_count; i++) {
		struct port_queue *queue = &port->queues[i];

		if (queue->iommu.waits && queue->frontend_started)
			open_ring(port, queue);
		else if (queue->software == PORT_SOFTWARE_RING_SERVES && !queue->iommu.open)
			look_again(port, queue);
		else if (queue->iommu.stopped && queue->frontend_started)
			start_again(port, queue);
		else if (queue->shadow.ring != NULL && queue->running && rp_vring_shadow_stalled(queue->shadow.ring))
			port_shadow_serve(port, queue);
		if (queue->shadow.ring != NULL)
			tell_refusals(port, queue);
	}
	port_asks_run(port);
	port_software_iotlb_run(port);
	iommu->run_due |= !read_all;
}

void
port_iommu_tick(struct rp_port *port, uint64_t now_ms)
{
	struct port_iommu *iommu = port->iommu;

	if (iommu == NULL || iommu->retry_at_ms == 0 || now_ms < iommu->retry_at_ms)
		return;
	iommu->retry_at_ms = 0;
	iommu->run_due = true;
	port_iommu_run(port);
}

uint64_t
port_iommu_deadline(const struct rp_port *port)
{
	return port->iommu == NULL ? 0 : port->iommu->retry_at_ms;
}

void
port_iommu_get_info(const struct rp_port *port, struct rp_port_info *ret_info)
{
	ret_info->access_platform = port->access_platform;
	if (port->iommu == NULL)
		return;
	ret_info->iommu = port->iommu->info;
	ret_info->iommu.translations = port_translations_count(port->iommu->translations);
}
