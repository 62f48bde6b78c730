/* SPDX-License-Identifier: BSD-3-Clause */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "rp_wire_fd.h"
#include "sa_local.h"

static uint16_t
power_of_two_at_least(uint16_t count)
{
	uint16_t power = 1;

	while (power < count && power < SA_SLOTS_MAX)
		power = (uint16_t)(2 * power);
	return power;
}

/* The space keeps a duplicate of the file's descriptor, and the mapping that both sides use. */
static int
make_memory(struct sa_local *local)
{
	int rc, fd = memfd_create("softaccel-messages", MFD_CLOEXEC);

	if (fd < 0)
		return -errno;
	if (ftruncate(fd, (off_t)local->size_bytes) < 0) {
		rc = -errno;
	} else {
		const struct rp_dma_mapping mapping = {
			.iova = local->iova,
			.size_bytes = local->size_bytes,
			.access_mask = RP_DMA_READ | RP_DMA_WRITE,
			.fd = fd,
		};

		rc = rp_dma_space_map(local->space, &mapping, NULL);
	}
	rp_wire_fd_close(&fd);
	if (rc < 0)
		return rc;
	local->memory = rp_dma_space_translate(local->space, local->iova, local->size_bytes, RP_DMA_WRITE);
	return local->memory == NULL ? -ENOMEM : 0;
}

int
sa_local_init(struct sa_local *local, struct rp_dma_space *space, uint64_t iova, uint16_t chains_count)
{
	size_t ring_bytes;
	uint16_t i;
	int rc;

	*local = (struct sa_local){
		.space = space,
		.iova = iova,
		.slots_count = power_of_two_at_least(chains_count),
	};
	ring_bytes = rp_vring_drv_bytes(local->slots_count, 0);
	local->size_bytes = ring_bytes + (size_t)local->slots_count * SA_SLOT_BYTES;
	rc = make_memory(local);
	if (rc == 0)
		rc = rp_vring_drv_create(local->slots_count, local->memory, iova, 0, &local->ring);
	if (rc < 0) {
		sa_local_fini(local);
		return rc;
	}
	for (i = 0; i < local->slots_count; i++) {
		local->slots[i].number = i;
		local->slots[i].bytes = local->memory + ring_bytes + (size_t)i * SA_SLOT_BYTES;
		local->slots[i].spans = local->slots[i].few;
		local->free_slots[local->free_count++] = i;
	}
	return 0;
}

static void
forget(struct sa_slot *slot)
{
	if (slot->spans != slot->few)
		free(slot->spans);
	slot->spans = slot->few;
	slot->spans_count = 0;
}

void
sa_local_fini(struct sa_local *local)
{
	uint16_t i;

	for (i = 0; local->ring != NULL && i < local->slots_count; i++)
		forget(&local->slots[i]);
	local->ring = rp_vring_drv_destroy(local->ring);
	if (local->space != NULL)
		rp_dma_space_unmap(local->space, local->iova, local->size_bytes, NULL);
	local->memory = NULL;
	local->space = NULL;
}

struct sa_slot *
sa_local_take(struct sa_local *local)
{
	if (local->free_count == 0)
		return NULL;
	return &local->slots[local->free_slots[--local->free_count]];
}

int
sa_slot_remember(struct sa_slot *slot, const struct rp_vring_chain *chain)
{
	uint64_t left_bytes = SA_SLOT_BYTES;
	uint16_t i;

	if (chain->in_count > SA_SLOT_SPANS) {
		slot->spans = malloc(chain->in_count * sizeof(*slot->spans));
		if (slot->spans == NULL) {
			slot->spans = slot->few;
			return -ENOMEM;
		}
	}
	/* A frame ends before the slot does; nothing beyond is ever written. */
	for (i = 0; i < chain->in_count && left_bytes > 0; i++) {
		struct rp_vring_span span = chain->spans[chain->out_count + i];

		span.size_bytes = RTE_MIN(span.size_bytes, left_bytes);
		left_bytes -= span.size_bytes;
		slot->spans[slot->spans_count++] = span;
	}
	return 0;
}

void
sa_local_post(struct sa_local *local, struct sa_slot *slot, uint32_t bytes, bool device_writes)
{
	struct rp_vring_part part = {
		.iova = local->iova + (uint64_t)(slot->bytes - local->memory),
		.size_bytes = RTE_MIN(bytes, (uint32_t)SA_SLOT_BYTES),
		.device_writes = device_writes,
	};
	int rc;

	/* Nothing in that direction: a byte in the other one says so. */
	if (bytes == 0) {
		part.size_bytes = 1;
		part.device_writes = !device_writes;
	}
	/* There are as many descriptors as slots. */
	rc = rp_vring_drv_add(local->ring, &part, 1, slot);
	assert(rc == 0);
	(void)rc;
}

struct sa_slot *
sa_local_collect(struct sa_local *local)
{
	uint32_t written_bytes;
	struct sa_slot *slot;
	void *cookie;

	if (rp_vring_drv_get(local->ring, &cookie, &written_bytes) != 1)
		return NULL;
	slot = cookie;
	slot->written_bytes = written_bytes;
	return slot;
}

void
sa_local_free(struct sa_local *local, struct sa_slot *slot)
{
	forget(slot);
	local->free_slots[local->free_count++] = slot->number;
}
