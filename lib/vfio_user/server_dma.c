/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <sched.h>
#include <string.h>

#include "vfu_server.h"

/* A data path in full swing passes a quiescent point within microseconds. */
#define LOOKS_BEFORE_DEFERRAL 64

static void
tell_dma_changed(struct rp_vfu_server *server)
{
	if (server->ops.dma_changed != NULL)
		server->ops.dma_changed(server->ctx);
}

static struct rp_dma_mapping
mapping_of(const struct rp_vfu_wire_dma_map *map, const struct rp_vfu_msg_view *command, const int *fds)
{
	static_assert(RP_VFU_DMA_MAP_READ_MASK == RP_DMA_READ && RP_VFU_DMA_MAP_WRITE_MASK == RP_DMA_WRITE,
		      "access bits are the same");
	return (struct rp_dma_mapping){
		.iova = map->iova,
		.size_bytes = map->size_bytes,
		.offset_bytes = command->fds_count > 0 ? map->offset_bytes : 0,
		.access_mask = map->flags,
		.fd = command->fds_count > 0 ? fds[0] : -1,
	};
}

int
rp_vfu_server_on_dma_map(struct rp_vfu_server *server, const struct rp_vfu_msg_view *command, int *fds,
			 struct rp_vfu_reply *reply, struct rp_wire_why *why)
{
	struct rp_vfu_wire_dma_map map;
	struct rp_dma_mapping mapping;
	int rc;

	(void)reply;
	memcpy(&map, command->payload, sizeof(map));
	mapping = mapping_of(&map, command, fds);
	rc = rp_dma_space_map(server->dma, &mapping, why);
	if (rc == 0)
		tell_dma_changed(server);
	return rc;
}

/*
 * Something was taken away, and the answer says that nobody uses it any more.
 * Where the client may be waiting for just this answer, our commands in flight are
 * not waited for: it has received them before, and can refuse or drop them.
 */
static int
answer_when_settled(struct rp_vfu_server *server, struct rp_vfu_reply *reply, uint64_t ticket, uint64_t first_iova,
		    uint64_t last_iova)
{
	unsigned int looks;

	tell_dma_changed(server);
	if (!rp_vfu_server_may_await(server))
		rp_vfu_carrier_abandon(server->carrier, first_iova, last_iova);
	for (looks = 0; looks < LOOKS_BEFORE_DEFERRAL; looks++) {
		if (rp_dma_space_settled(server->dma, ticket))
			return 0;
		sched_yield();
	}
	reply->ticket = ticket;
	reply->first_iova = first_iova;
	reply->last_iova = last_iova;
	return -EINPROGRESS;
}

int
rp_vfu_server_on_dma_unmap(struct rp_vfu_server *server, const struct rp_vfu_msg_view *command, int *fds,
			   struct rp_vfu_reply *reply, struct rp_wire_why *why)
{
	uint64_t ticket = RP_DMA_SETTLED, first_iova = 0, last_iova = UINT64_MAX;
	struct rp_vfu_wire_dma_unmap unmap;
	bool dirty;
	int rc;

	(void)fds;
	memcpy(&unmap, command->payload, sizeof(unmap));
	dirty = (unmap.flags & RP_VFU_DMA_UNMAP_DIRTY_MASK) != 0;
	if (dirty) {
		rc = rp_vfu_server_dirty_unmap_check(server, command, why);
		if (rc < 0)
			return rc;
	}
	if ((unmap.flags & RP_VFU_DMA_UNMAP_ALL_MASK) != 0) {
		rc = rp_dma_space_clear_start(server->dma, &ticket);
		if (rc < 0)
			return rp_wire_why_set(why, rc, "no memory");
	} else {
		rc = rp_dma_space_unmap_start(server->dma, unmap.iova, unmap.size_bytes, &ticket, why);
		if (rc < 0)
			return rc;
		first_iova = unmap.iova;
		last_iova = unmap.iova + (unmap.size_bytes - 1);
	}
	reply->fixed_bytes = (uint32_t)(sizeof(unmap) + (dirty ? sizeof(struct rp_vfu_wire_bitmap) : 0));
	memcpy(reply->fixed, command->payload, reply->fixed_bytes);
	rc = answer_when_settled(server, reply, ticket, first_iova, last_iova);
	if (!dirty)
		return rc;
	reply->finish = rp_vfu_server_dirty_unmap_finish;
	return rc == 0 ? reply->finish(server, reply, why) : rc;
}

int
rp_vfu_server_on_dma_remap(struct rp_vfu_server *server, const struct rp_vfu_msg_view *command, int *fds,
			   struct rp_vfu_reply *reply, struct rp_wire_why *why)
{
	uint64_t ticket = RP_DMA_SETTLED;
	struct rp_vfu_wire_dma_map map;
	struct rp_dma_mapping mapping;
	int rc;

	memcpy(&map, command->payload, sizeof(map));
	mapping = mapping_of(&map, command, fds);
	rc = rp_dma_space_remap_start(server->dma, &mapping, &ticket, why);
	if (rc < 0)
		return rc;
	return answer_when_settled(server, reply, ticket, map.iova, map.iova + (map.size_bytes - 1));
}
