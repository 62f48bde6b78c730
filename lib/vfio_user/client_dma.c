/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "vfu_client.h"

/*
 * Giving memory to the server and taking it back. Our own view changes when a map
 * is sent, because the server may use it before we read the reply, and when the
 * reply to an unmap is there, because the server may use it until then.
 */

/* One command of these, from its sending to its reply. */
struct operation {
	struct rp_vfu_call call;
	struct rp_vfu_leaving leaving; /* what it takes back */
	struct rp_vfu_backing *backing; /* what it brings; NULL: nothing */
	struct rp_vfu_client_done done;
	union {
		struct rp_vfu_wire_dma_map map;
		struct rp_vfu_wire_dma_unmap unmap;
	} payload;
};

static void
settle(struct rp_vfu_client *client, struct operation *operation, int error)
{
	TAILQ_REMOVE(&client->leaving, &operation->leaving, link);
	if (operation->backing != NULL) {
		if (error < 0) {
			struct rp_vfu_leaving *leaving;

			rp_vfu_memory_refuse(&client->memory, operation->backing);
			TAILQ_FOREACH (leaving, &client->leaving, link)
				rp_vfu_memory_refuse(&leaving->memory, operation->backing);
		}
		rp_vfu_backing_put(operation->backing);
	}
	if (error < 0)
		rp_vfu_memory_put_back(&client->memory, &operation->leaving.memory);
	else
		rp_vfu_memory_clear(&operation->leaving.memory);
}

static int
judge_unmap(const struct operation *operation, struct rp_wire_why *why)
{
	const struct rp_vfu_wire_dma_unmap *asked = &operation->payload.unmap;
	struct rp_vfu_wire_dma_unmap answer;

	memcpy(&answer, operation->call.reply.payload, sizeof(answer));
	if (answer.iova == asked->iova && answer.size_bytes == asked->size_bytes)
		return 0;
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
create_operation(struct rp_vfu_client *client, uint16_t command, uint32_t payload_bytes,
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
	TAILQ_INSERT_TAIL(&client->leaving, &operation->leaving, link);
	return operation;
}

/* Submit it, or undo it. */
static int
start(struct rp_vfu_client *client, struct operation *operation, struct rp_wire_why *why)
{
	int rc = rp_vfu_client_submit(client, &operation->call, why);

	if (rc < 0) {
		settle(client, operation, rc);
		free(operation);
		return rc;
	}
	rp_vfu_client_watch(client);
	return 0;
}

int
rp_vfu_client_dma_map_start(struct rp_vfu_client *client, const struct rp_vfu_client_memory *memory,
			    const struct rp_vfu_client_done *done, struct rp_wire_why *why)
{
	struct operation *operation;
	int rc;

	if (client->conn == NULL)
		return rp_wire_why_set(why, -ENOTCONN, "the server is gone");
	operation = create_operation(client, RP_VFU_DMA_MAP, sizeof(operation->payload.map), done);
	if (operation == NULL)
		return rp_wire_why_set(why, -ENOMEM, "DMA_MAP: no memory");
	rc = rp_vfu_memory_add(&client->memory, memory, &operation->backing, why);
	if (rc < 0) {
		settle(client, operation, rc);
		free(operation);
		return rc;
	}
	operation->payload.map = (struct rp_vfu_wire_dma_map){
		.argsz = sizeof(operation->payload.map),
		.flags = memory->access_mask,
		.offset_bytes = memory->fd >= 0 ? memory->offset_bytes : 0,
		.iova = memory->iova,
		.size_bytes = memory->size_bytes,
	};
	operation->call.fds = &memory->fd;
	operation->call.fds_count = memory->fd >= 0 ? 1 : 0;
	return start(client, operation, why);
}

int
rp_vfu_client_dma_unmap_start(struct rp_vfu_client *client, uint64_t iova, uint64_t size_bytes,
			      const struct rp_vfu_client_done *done, struct rp_wire_why *why)
{
	struct operation *operation;
	int rc = 0;

	if (client->conn == NULL)
		return rp_wire_why_set(why, -ENOTCONN, "the server is gone");
	operation = create_operation(client, RP_VFU_DMA_UNMAP, sizeof(operation->payload.unmap), done);
	if (operation == NULL)
		return rp_wire_why_set(why, -ENOMEM, "DMA_UNMAP: no memory");
	operation->payload.unmap = (struct rp_vfu_wire_dma_unmap){
		.argsz = sizeof(operation->payload.unmap),
		.iova = iova,
		.size_bytes = size_bytes,
	};
	/* What the server refuses as nonsense is nothing here. */
	if (size_bytes > 0 && size_bytes - 1 <= UINT64_MAX - iova)
		rc = rp_vfu_memory_take(&client->memory, iova, iova + (size_bytes - 1), &operation->leaving.memory);
	if (rc < 0) {
		settle(client, operation, rc);
		free(operation);
		return rp_wire_why_set(why, rc, "DMA_UNMAP: no memory");
	}
	return start(client, operation, why);
}

int
rp_vfu_client_dma_map_many(struct rp_vfu_client *client, const struct rp_vfu_client_memory *memories,
			   unsigned int count, struct rp_wire_why *why)
{
	struct rp_vfu_batch batch = {.outstanding = 0};
	const struct rp_vfu_client_done done = rp_vfu_batch_done(&batch);
	int rc = rp_vfu_client_may_wait(client, RP_VFU_DMA_MAP, why);
	uint64_t deadline_ms = 0;
	unsigned int started = 0;

	while (rc == 0 && started < count && batch.error == 0) {
		rc = rp_vfu_client_dma_map_start(client, &memories[started], &done, why);
		if (rc == 0) {
			started++;
			batch.outstanding++;
			deadline_ms = 0;
		} else if (rc == -EAGAIN) {
			rc = rp_vfu_client_make_room(client, &deadline_ms, why);
		}
	}
	return rp_vfu_batch_wait(client, &batch, rc, why);
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
	struct rp_vfu_batch batch = {.outstanding = 0};
	const struct rp_vfu_client_done done = rp_vfu_batch_done(&batch);
	int rc = rp_vfu_client_may_wait(client, RP_VFU_DMA_UNMAP, why);
	uint64_t deadline_ms = 0;

	while (rc == 0 && batch.outstanding == 0) {
		rc = rp_vfu_client_dma_unmap_start(client, iova, size_bytes, &done, why);
		if (rc == 0)
			batch.outstanding++;
		else if (rc == -EAGAIN)
			rc = rp_vfu_client_make_room(client, &deadline_ms, why);
	}
	return rp_vfu_batch_wait(client, &batch, rc, why);
}
