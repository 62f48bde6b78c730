/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "vfu_client.h"
#include "vfu_client_iommu.h"

/*
 * Giving memory to the server and taking it back. Our own view changes when a map
 * is sent, because the server may use it before we read the reply, and when the
 * reply to an unmap is there, because the server may use it until then.
 */

/* The bits of an unmap that asks which pages the server wrote. */
struct dirty {
	uint64_t page_size_bytes;
	uint64_t *bits; /* our caller's; NULL: nobody asked */
	uint32_t bits_bytes;
};

/* One command of these, from its sending to its reply. */
struct operation {
	struct rp_vfu_call call;
	struct rp_vfu_leaving leaving; /* what it takes back */
	struct rp_vfu_backing *backing; /* what it brings; NULL: nothing */
	struct rp_vfu_client_done done;
	struct dirty dirty;
	uint32_t pasid; /* RP_VFU_NO_PASID: none */
	struct rp_vfu_wire_pasid trailer; /* behind the payload, with a PASID */
	union {
		struct rp_vfu_wire_dma_map map;
		struct {
			struct rp_vfu_wire_dma_unmap unmap;
			struct rp_vfu_wire_bitmap bitmap;
		} __attribute__((packed)) back;
	} payload;
};

static void
settle(struct rp_vfu_client *client, struct operation *operation, int error)
{
	struct rp_vfu_memory *memory = rp_vfu_client_memory_of(client, operation->pasid);

	TAILQ_REMOVE(&client->leaving, &operation->leaving, link);
	if (operation->backing != NULL) {
		if (error < 0) {
			struct rp_vfu_leaving *leaving;

			rp_vfu_memory_refuse(memory, operation->backing);
			TAILQ_FOREACH (leaving, &client->leaving, link)
				rp_vfu_memory_refuse(&leaving->memory, operation->backing);
		}
		rp_vfu_backing_put(operation->backing);
	}
	if (error < 0)
		rp_vfu_memory_put_back(memory, &operation->leaving.memory);
	else
		rp_vfu_memory_clear(&operation->leaving.memory);
}

static int
take_bits(const struct operation *operation, struct rp_wire_why *why)
{
	const struct rp_vfu_wire_bitmap *asked = &operation->payload.back.bitmap;
	const struct rp_vfu_msg_view *reply = &operation->call.reply;
	const uint32_t head_bytes = sizeof(operation->payload.back);
	struct rp_vfu_wire_bitmap answer;

	if (operation->dirty.bits == NULL) {
		if (reply->payload_bytes == sizeof(operation->payload.back.unmap))
			return 0;
		return rp_wire_why_set(why, -EBADMSG, "DMA_UNMAP: reply: payload: %u bytes, expected %zu",
				       reply->payload_bytes, sizeof(operation->payload.back.unmap));
	}
	if (reply->payload_bytes != head_bytes + operation->dirty.bits_bytes)
		return rp_wire_why_set(why, -EBADMSG, "DMA_UNMAP: reply: payload: %u bytes, expected %u",
				       reply->payload_bytes, head_bytes + operation->dirty.bits_bytes);
	memcpy(&answer, reply->payload + sizeof(operation->payload.back.unmap), sizeof(answer));
	if (memcmp(&answer, asked, sizeof(answer)) != 0)
		return rp_wire_why_set(why, -EBADMSG,
				       "DMA_UNMAP: reply: bitmap: %" PRIu64 " bytes of pages of %" PRIu64
				       ", asked for %" PRIu64 " of %" PRIu64,
				       answer.size_bytes, answer.page_size_bytes, asked->size_bytes,
				       asked->page_size_bytes);
	if (rp_vfu_bits_exceed(reply->payload + head_bytes, operation->payload.back.unmap.size_bytes,
			       asked->page_size_bytes))
		return rp_wire_why_set(why, -EBADMSG, "DMA_UNMAP: reply: bits behind the range");
	memcpy(operation->dirty.bits, reply->payload + head_bytes, operation->dirty.bits_bytes);
	return 0;
}

static int
judge_unmap(const struct operation *operation, struct rp_wire_why *why)
{
	const struct rp_vfu_wire_dma_unmap *asked = &operation->payload.back.unmap;
	struct rp_vfu_wire_dma_unmap answer;

	memcpy(&answer, operation->call.reply.payload, sizeof(answer));
	if (answer.iova == asked->iova && answer.size_bytes == asked->size_bytes)
		return take_bits(operation, why);
	return rp_wire_why_set(why, -EBADMSG,
			       "DMA_UNMAP: reply: 0x%" PRIx64 " bytes at 0x%" PRIx64 ", asked for 0x%" PRIx64
			       " at 0x%" PRIx64,
			       answer.size_bytes, answer.iova, asked->size_bytes, asked->iova);
}

static void
on_reply(struct rp_vfu_client *client, struct rp_vfu_call *call)
{
	struct operation *operation = call->owner;
	int error = call->error;

	if (error == 0 && call->command == RP_VFU_DMA_UNMAP)
		error = judge_unmap(operation, &call->why);
	settle(client, operation, error);
	rp_vfu_client_tell(client, &operation->done, error, &call->why);
	free(operation);
}

static struct operation *
create_operation(struct rp_vfu_client *client, uint16_t command, uint32_t pasid, uint32_t payload_bytes,
		 const struct rp_vfu_client_done *done)
{
	struct operation *operation = calloc(1, sizeof(*operation));

	if (operation == NULL)
		return NULL;
	operation->call = (struct rp_vfu_call){
		.command = command,
		.payload = &operation->payload,
		.payload_bytes = payload_bytes,
		.arrived = on_reply,
		.owner = operation,
	};
	operation->done = *done;
	operation->pasid = pasid;
	operation->leaving.pasid = pasid;
	if (pasid != RP_VFU_NO_PASID) {
		operation->trailer = (struct rp_vfu_wire_pasid){pasid, RP_VFU_IOMMU_PASID_MASK};
		operation->call.data = &operation->trailer;
		operation->call.data_bytes = sizeof(operation->trailer);
	}
	TAILQ_INSERT_TAIL(&client->leaving, &operation->leaving, link);
	return operation;
}

/* Submit it, or undo it. */
static int
start(struct rp_vfu_client *client, struct operation *operation, int rc, struct rp_wire_why *why)
{
	if (rc == 0)
		rc = rp_vfu_client_submit(client, &operation->call, why);
	if (rc < 0) {
		settle(client, operation, rc);
		free(operation);
		return rc;
	}
	rp_vfu_client_watch(client);
	return 0;
}

/* A map, or a remap: that takes back what is there. */
static int
start_map(struct rp_vfu_client *client, uint16_t command, const struct rp_vfu_client_memory *memory,
	  const struct rp_vfu_client_done *done, struct rp_wire_why *why)
{
	uint32_t pasid = memory->has_pasid ? memory->pasid : RP_VFU_NO_PASID;
	struct rp_vfu_memory *ours;
	struct operation *operation;
	int rc = 0;

	if (client->conn == NULL)
		return rp_wire_why_set(why, -ENOTCONN, "the server is gone");
	rc = rp_vfu_client_memory_open(client, pasid, &ours, why);
	if (rc < 0)
		return rc;
	operation = create_operation(client, command, pasid, sizeof(operation->payload.map), done);
	if (operation == NULL)
		return rp_wire_why_set(why, -ENOMEM, "%s: no memory", rp_vfu_msg_name(command));
	if (command == RP_VFU_DMA_REMAP && memory->size_bytes > 0 &&
	    memory->size_bytes - 1 <= UINT64_MAX - memory->iova &&
	    rp_vfu_memory_take(ours, memory->iova, memory->iova + (memory->size_bytes - 1),
			       &operation->leaving.memory) < 0)
		rc = rp_wire_why_set(why, -ENOMEM, "DMA_REMAP: no memory");
	if (rc == 0)
		rc = rp_vfu_memory_add(ours, memory, &operation->backing, why);
	operation->payload.map = (struct rp_vfu_wire_dma_map){
		.argsz = sizeof(operation->payload.map),
		.flags = memory->access_mask,
		.offset_bytes = memory->fd >= 0 ? memory->offset_bytes : 0,
		.iova = memory->iova,
		.size_bytes = memory->size_bytes,
	};
	operation->call.fds = &memory->fd;
	operation->call.fds_count = memory->fd >= 0 ? 1 : 0;
	return start(client, operation, rc, why);
}

int
rp_vfu_client_dma_map_start(struct rp_vfu_client *client, const struct rp_vfu_client_memory *memory,
			    const struct rp_vfu_client_done *done, struct rp_wire_why *why)
{
	return start_map(client, RP_VFU_DMA_MAP, memory, done, why);
}

int
rp_vfu_client_dma_remap_start(struct rp_vfu_client *client, const struct rp_vfu_client_memory *memory,
			      const struct rp_vfu_client_done *done, struct rp_wire_why *why)
{
	if ((client->terms.named_mask & (1u << RP_VFU_TERM_REMAP)) == 0)
		return rp_wire_why_set(why, -ENOTSUP, "DMA_REMAP: its capability was not agreed on");
	return start_map(client, RP_VFU_DMA_REMAP, memory, done, why);
}

/* @param flags RP_VFU_DMA_UNMAP_*; with "all" the range is 0. */
static int
start_unmap(struct rp_vfu_client *client, uint32_t pasid, uint32_t flags, uint64_t iova, uint64_t size_bytes,
	    const struct dirty *dirty, const struct rp_vfu_client_done *done, struct rp_wire_why *why)
{
	bool all = (flags & RP_VFU_DMA_UNMAP_ALL_MASK) != 0;
	uint32_t payload_bytes = sizeof(struct rp_vfu_wire_dma_unmap);
	uint64_t last = all ? UINT64_MAX : iova + (size_bytes - 1);
	struct rp_vfu_memory *ours;
	struct operation *operation;
	int rc = 0;

	if (client->conn == NULL)
		return rp_wire_why_set(why, -ENOTCONN, "the server is gone");
	rc = rp_vfu_client_memory_open(client, pasid, &ours, why);
	if (rc < 0)
		return rc;
	if (dirty->bits != NULL)
		payload_bytes += (uint32_t)sizeof(struct rp_vfu_wire_bitmap);
	operation = create_operation(client, RP_VFU_DMA_UNMAP, pasid, payload_bytes, done);
	if (operation == NULL)
		return rp_wire_why_set(why, -ENOMEM, "DMA_UNMAP: no memory");
	operation->dirty = *dirty;
	operation->payload.back.unmap = (struct rp_vfu_wire_dma_unmap){
		.argsz = payload_bytes + dirty->bits_bytes,
		.flags = flags,
		.iova = iova,
		.size_bytes = size_bytes,
	};
	operation->payload.back.bitmap = (struct rp_vfu_wire_bitmap){dirty->page_size_bytes, dirty->bits_bytes};
	/* What the server refuses as nonsense is nothing here. */
	if ((all || (size_bytes > 0 && size_bytes - 1 <= UINT64_MAX - iova)) &&
	    rp_vfu_memory_take(ours, iova, last, &operation->leaving.memory) < 0)
		rc = rp_wire_why_set(why, -ENOMEM, "DMA_UNMAP: no memory");
	return start(client, operation, rc, why);
}

int
rp_vfu_client_dma_unmap_start(struct rp_vfu_client *client, uint64_t iova, uint64_t size_bytes,
			      const struct rp_vfu_client_done *done, struct rp_wire_why *why)
{
	const struct dirty nobody_asked = {.bits = NULL};

	return start_unmap(client, RP_VFU_NO_PASID, 0, iova, size_bytes, &nobody_asked, done, why);
}

int
rp_vfu_client_pasid_unmap_start(struct rp_vfu_client *client, uint32_t pasid, uint64_t iova, uint64_t size_bytes,
				const struct rp_vfu_client_done *done, struct rp_wire_why *why)
{
	const struct dirty nobody_asked = {.bits = NULL};

	return start_unmap(client, pasid, 0, iova, size_bytes, &nobody_asked, done, why);
}

/* Several of these calls as one that waits. */
struct many {
	struct rp_vfu_client *client;
	struct rp_vfu_batch batch;
	struct rp_vfu_client_done done;
	uint64_t deadline_ms;
	struct rp_wire_why *why;
};

static int
begin_many(struct many *many, struct rp_vfu_client *client, uint16_t command, struct rp_wire_why *why)
{
	memset(many, 0, sizeof(*many));
	many->client = client;
	many->done = rp_vfu_batch_done(&many->batch);
	many->why = why;
	return rp_vfu_client_may_wait(client, command, why);
}

/* @param rc of starting one. @return 0: go on, and *ret_started says whether with the next. */
static int
started_one(struct many *many, int rc, bool *ret_started)
{
	*ret_started = rc == 0;
	if (rc == -EAGAIN)
		return rp_vfu_client_make_room(many->client, &many->deadline_ms, many->why);
	if (rc < 0)
		return rc;
	many->batch.outstanding++;
	many->deadline_ms = 0;
	/* Nothing more after the first failure. */
	return many->batch.error;
}

int
rp_vfu_client_dma_map_many(struct rp_vfu_client *client, const struct rp_vfu_client_memory *memories,
			   unsigned int count, struct rp_wire_why *why)
{
	struct many many;
	int rc = begin_many(&many, client, RP_VFU_DMA_MAP, why);
	unsigned int next = 0;
	bool started;

	while (rc == 0 && next < count) {
		rc = rp_vfu_client_dma_map_start(client, &memories[next], &many.done, why);
		rc = started_one(&many, rc, &started);
		next += started ? 1 : 0;
	}
	return rp_vfu_batch_wait(client, &many.batch, rc, why);
}

int
rp_vfu_client_dma_unmap_many(struct rp_vfu_client *client, const struct rp_vfu_client_memory *memories,
			     unsigned int count, struct rp_wire_why *why)
{
	struct many many;
	int rc = begin_many(&many, client, RP_VFU_DMA_UNMAP, why);
	unsigned int next = 0;
	bool started;

	while (rc == 0 && next < count) {
		const struct rp_vfu_client_memory *range = &memories[next];

		rc = rp_vfu_client_pasid_unmap_start(client, range->has_pasid ? range->pasid : RP_VFU_NO_PASID,
						     range->iova, range->size_bytes, &many.done, why);
		rc = started_one(&many, rc, &started);
		next += started ? 1 : 0;
	}
	return rp_vfu_batch_wait(client, &many.batch, rc, why);
}

int
rp_vfu_client_dma_map_memory(struct rp_vfu_client *client, const struct rp_vfu_client_memory *memory,
			     struct rp_wire_why *why)
{
	return rp_vfu_client_dma_map_many(client, memory, 1, why);
}

int
rp_vfu_client_dma_map(struct rp_vfu_client *client, uint64_t iova, uint64_t size_bytes, int fd, uint64_t offset_bytes,
		      uint32_t access_mask, struct rp_wire_why *why)
{
	const struct rp_vfu_client_memory memory = {
		.iova = iova,
		.size_bytes = size_bytes,
		.fd = fd,
		.offset_bytes = offset_bytes,
		.access_mask = access_mask,
	};

	return rp_vfu_client_dma_map_memory(client, &memory, why);
}

int
rp_vfu_client_dma_unmap(struct rp_vfu_client *client, uint64_t iova, uint64_t size_bytes, struct rp_wire_why *why)
{
	const struct rp_vfu_client_memory range = {.iova = iova, .size_bytes = size_bytes};

	return rp_vfu_client_dma_unmap_many(client, &range, 1, why);
}

int
rp_vfu_client_pasid_unmap(struct rp_vfu_client *client, uint32_t pasid, uint64_t iova, uint64_t size_bytes,
			  struct rp_wire_why *why)
{
	const struct rp_vfu_client_memory range = {
		.iova = iova, .size_bytes = size_bytes, .has_pasid = true, .pasid = pasid};

	return rp_vfu_client_dma_unmap_many(client, &range, 1, why);
}

int
rp_vfu_client_dma_remap(struct rp_vfu_client *client, const struct rp_vfu_client_memory *memory,
			struct rp_wire_why *why)
{
	struct many many;
	int rc = begin_many(&many, client, RP_VFU_DMA_REMAP, why);
	bool started = false;

	while (rc == 0 && !started) {
		rc = rp_vfu_client_dma_remap_start(client, memory, &many.done, why);
		rc = started_one(&many, rc, &started);
	}
	return rp_vfu_batch_wait(client, &many.batch, rc, why);
}

int
rp_vfu_client_dma_unmap_all(struct rp_vfu_client *client, struct rp_wire_why *why)
{
	const struct dirty nobody_asked = {.bits = NULL};
	struct many many;
	int rc = begin_many(&many, client, RP_VFU_DMA_UNMAP, why);
	bool started = false;

	while (rc == 0 && !started) {
		rc = start_unmap(client, RP_VFU_NO_PASID, RP_VFU_DMA_UNMAP_ALL_MASK, 0, 0, &nobody_asked, &many.done,
				 why);
		rc = started_one(&many, rc, &started);
	}
	return rp_vfu_batch_wait(client, &many.batch, rc, why);
}

int
rp_vfu_client_dma_unmap_dirty(struct rp_vfu_client *client, uint64_t iova, uint64_t size_bytes,
			      uint64_t page_size_bytes, uint64_t *ret_bits, struct rp_wire_why *why)
{
	struct dirty dirty = {.page_size_bytes = page_size_bytes, .bits = ret_bits};
	struct rp_vfu_bits bits;
	struct many many;
	bool started = false;
	int rc = rp_vfu_bits_init(&bits, client, iova, size_bytes, page_size_bytes, why);

	if (rc < 0)
		return rc;
	/* The log knows addresses and not mappings, so what is too much for one reply can be asked for afterwards. */
	if (bits.pieces_count > 1) {
		rc = rp_vfu_client_dma_unmap(client, iova, size_bytes, why);
		return rc < 0 ? rc :
				rp_vfu_client_logging_report(client, iova, size_bytes, page_size_bytes, ret_bits, why);
	}
	dirty.bits_bytes = rp_vfu_bits_bytes(&bits, 0);
	rc = begin_many(&many, client, RP_VFU_DMA_UNMAP, why);
	while (rc == 0 && !started) {
		rc = start_unmap(client, RP_VFU_NO_PASID, RP_VFU_DMA_UNMAP_DIRTY_MASK, iova, size_bytes, &dirty,
				 &many.done, why);
		rc = started_one(&many, rc, &started);
	}
	return rp_vfu_batch_wait(client, &many.batch, rc, why);
}
