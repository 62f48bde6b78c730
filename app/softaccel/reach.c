/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>

#include "rp_dma_node.h"
#include "sa_device.h"

/*
 * Which queues must be served by messages: those whose rings cannot be reached, and
 * those whose buffers cannot. Where buffers are is not known before they are used.
 * VMMs map things without a descriptor that nobody keeps buffers in: ROMs, frame
 * buffers, BARs of the VM's devices (QEMU maps our own doorbells so). So a small part
 * without a file makes no difference until a chain is found there; the data path hands
 * such a ring on. With a large part the queue is served by messages at once.
 */
#define LARGE_SHARE 4u

static const struct {
	const char *name;
	uint32_t split_access_mask;
	uint32_t packed_access_mask;
} parts[RP_VRING_PARTS_COUNT] = {
	{"descriptor area", RP_DMA_READ, RP_DMA_READ | RP_DMA_WRITE},
	{"driver area", RP_DMA_READ, RP_DMA_READ},
	{"device area", RP_DMA_WRITE, RP_DMA_WRITE},
};

void
sa_reach_extents(const struct softaccel_function *function, const struct sa_queue *queue,
		 struct sa_extent ret_extents[RP_VRING_PARTS_COUNT])
{
	const struct rp_vring_layout layout = {.num = queue->regs->size,
					       .features = rp_vfu_virtio_features(function->virtio)};
	const uint64_t iovas[RP_VRING_PARTS_COUNT] = {queue->regs->desc_iova, queue->regs->avail_iova,
						      queue->regs->used_iova};
	bool packed = (rp_vfu_virtio_features(function->virtio) & SA_FEATURE(VIRTIO_F_RING_PACKED)) != 0;
	uint64_t bytes[RP_VRING_PARTS_COUNT];
	unsigned int i;

	rp_vring_part_bytes(&layout, bytes);
	for (i = 0; i < RP_VRING_PARTS_COUNT; i++)
		ret_extents[i] = (struct sa_extent){iovas[i], bytes[i],
						    packed ? parts[i].packed_access_mask : parts[i].split_access_mask};
}

/* The mapping that holds an address. */
static bool
find(const struct rp_dma_space *space, uint64_t iova, struct rp_dma_mapping *ret_mapping)
{
	return rp_dma_space_next(space, iova, ret_mapping) && ret_mapping->iova <= iova;
}

struct reach {
	bool mapped; /* by whatever means */
	bool far; /* in part without a file */
};

static struct reach
reach_of(const struct rp_dma_space *space, const struct sa_extent *extent)
{
	struct reach reach = {.mapped = true};
	uint64_t iova = extent->iova, left_bytes = extent->size_bytes;

	while (left_bytes > 0) {
		struct rp_dma_mapping mapping;
		uint64_t here_bytes;

		if (!find(space, iova, &mapping) ||
		    (mapping.access_mask & extent->access_mask) != extent->access_mask) {
			reach.mapped = false;
			return reach;
		}
		if (mapping.hva == NULL)
			reach.far = true;
		here_bytes = mapping.size_bytes - (iova - mapping.iova);
		if (here_bytes >= left_bytes)
			break;
		left_bytes -= here_bytes;
		iova += here_bytes;
	}
	return reach;
}

/* Looked for only when somebody asks: a client maps thousands of ranges before it starts a queue. */
static void
look_for_far_memory(struct softaccel_function *function)
{
	const struct rp_dma_space *space = rp_vfu_server_dma(function->server);
	uint64_t iova = 0, all_bytes = 0, far_bytes = 0;
	struct rp_dma_mapping mapping;

	if (!function->memory_changed)
		return;
	function->memory_changed = false;
	function->has_far_memory = false;
	while (rp_dma_space_next(space, iova, &mapping)) {
		function->has_far_memory |= mapping.hva == NULL;
		if ((mapping.access_mask & RP_DMA_WRITE) != 0) {
			all_bytes += mapping.size_bytes;
			far_bytes += mapping.hva == NULL ? mapping.size_bytes : 0;
		}
		iova = mapping.iova + mapping.size_bytes;
		if (iova == 0)
			break;
	}
	function->has_much_far_memory = far_bytes > all_bytes / LARGE_SHARE;
}

bool
sa_reach_is_far(struct softaccel_function *function)
{
	look_for_far_memory(function);
	return function->has_far_memory;
}

/* Whether the queue's buffers are to be reached by messages, as far as is known. */
static bool
has_far_buffers(struct softaccel_function *function, const struct sa_queue *queue)
{
	look_for_far_memory(function);
	return function->has_much_far_memory || (queue->uses_far_memory && function->has_far_memory);
}

bool
sa_reach_by_messages(struct softaccel_function *function, const struct sa_queue *queue)
{
	const struct rp_dma_space *space = rp_vfu_server_dma(function->server);
	struct sa_extent extents[RP_VRING_PARTS_COUNT];
	bool far = has_far_buffers(function, queue);
	unsigned int i;

	if (sa_ask_needed(function))
		return false;
	if (function->dma == SOFTACCEL_DMA_MESSAGES || queue->unjoinable)
		return true;
	sa_reach_extents(function, queue, extents);
	for (i = 0; i < RP_VRING_PARTS_COUNT; i++) {
		struct reach reach = reach_of(space, &extents[i]);

		/* Refused, or waited for, in the words of a ring that is served directly. */
		if (!reach.mapped)
			return false;
		far = far || reach.far;
	}
	return far;
}

bool
sa_reach_directly(struct softaccel_function *function, const struct sa_queue *queue)
{
	const struct rp_dma_space *space = rp_vfu_server_dma(function->server);
	struct sa_extent extents[RP_VRING_PARTS_COUNT];
	unsigned int i;

	if (function->dma == SOFTACCEL_DMA_MESSAGES || queue->unjoinable || has_far_buffers(function, queue))
		return false;
	sa_reach_extents(function, queue, extents);
	for (i = 0; i < RP_VRING_PARTS_COUNT; i++) {
		struct reach reach = reach_of(space, &extents[i]);

		if (!reach.mapped || reach.far)
			return false;
	}
	return true;
}

void
sa_reach_part(struct sa_queue *queue)
{
	unsigned int i;

	for (i = 0; i < RP_VRING_PARTS_COUNT; i++)
		queue->views[i] = rp_dma_view_destroy(queue->views[i]);
}

int
sa_reach_join(const struct softaccel_function *function, struct sa_queue *queue, struct rp_vring_layout *layout,
	      struct rp_wire_why *why)
{
	struct rp_dma_space *space = rp_vfu_server_dma(function->server);
	struct sa_extent extents[RP_VRING_PARTS_COUNT];
	unsigned int i;
	int rc = 0;

	sa_reach_part(queue);
	sa_reach_extents(function, queue, extents);
	for (i = 0; rc == 0 && i < RP_VRING_PARTS_COUNT; i++) {
		const struct sa_extent *extent = &extents[i];
		struct reach reach = reach_of(space, extent);

		/* In one piece, or refused in the words of whoever takes the ring. */
		if (!reach.mapped || reach.far ||
		    rp_dma_space_translate(space, extent->iova, extent->size_bytes, extent->access_mask) != NULL)
			continue;
		rc = rp_dma_view_create(space, extent->iova, extent->size_bytes, extent->access_mask, &queue->views[i],
					why);
		layout->views[i] = queue->views[i];
	}
	queue->unjoinable = rc < 0;
	if (rc < 0)
		sa_reach_part(queue);
	return rc;
}

int
sa_reach_check(const struct softaccel_function *function, const struct sa_queue *queue, struct rp_wire_why *why)
{
	struct sa_extent extents[RP_VRING_PARTS_COUNT];
	unsigned int i;

	sa_reach_extents(function, queue, extents);
	for (i = 0; i < RP_VRING_PARTS_COUNT; i++) {
		if (!reach_of(rp_vfu_server_dma(function->server), &extents[i]).mapped)
			return rp_wire_why_set(why, -EBADMSG, "ring: the %s is not mapped with the access it needs",
					       parts[i].name);
	}
	return 0;
}

int
sa_reach_node(const struct softaccel_function *function, unsigned int number)
{
	struct rp_vring_layout layout;
	void *memory;

	if (rp_dma_nodes_count() < 2)
		return RP_DMA_NODE_ANY;
	rp_vfu_virtio_queue_layout(function->virtio, number, &layout);
	/* A driver has written its descriptors, so asking where they are makes no page. */
	memory = rp_dma_space_translate(rp_vfu_server_dma(function->server), layout.desc_iova, 1, RP_DMA_READ);
	return memory == NULL ? RP_DMA_NODE_ANY : rp_dma_node_of(memory);
}
