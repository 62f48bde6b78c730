/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <sched.h>
#include <string.h>

#include "vfu_server.h"
#include "vfu_server_iommu.h"

/* A data path in full swing passes a quiescent point within microseconds. */
#define LOOKS_BEFORE_DEFERRAL 64

static void
tell_dma_changed(struct rp_vfu_server *server)
{
	if (server->ops.dma_changed != NULL)
		server->ops.dma_changed(server->ctx);
}

struct rp_dma_space *
rp_vfu_server_space(const struct rp_vfu_server *server, const struct rp_vfu_pasid *pasid)
{
	return pasid == NULL ? server->dma : pasid->dma;
}

/*
 * Whose addresses a command is about.
 *
 * @param make there is to be a space, also if there was none.
 * @param ret_pasid NULL: without a PASID.
 * @return 0; -ENOENT (one that nothing was mapped with); or an errno with its reason.
 */
static int
find_pasid(struct rp_vfu_server *server, const struct rp_vfu_msg_view *command, uint32_t body_bytes, bool make,
	   struct rp_vfu_pasid **ret_pasid, struct rp_wire_why *why)
{
	uint32_t number, trailer_bytes;
	int rc = rp_vfu_msg_take_pasid(command, &server->terms, body_bytes, body_bytes, &number, &trailer_bytes, why);

	*ret_pasid = NULL;
	if (rc < 0 || number == RP_VFU_NO_PASID)
		return rc;
	if (make)
		return rp_vfu_server_pasid_open(server, number, ret_pasid, why);
	*ret_pasid = rp_vfu_server_pasid_find(server, number);
	return *ret_pasid == NULL ? -ENOENT : 0;
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
	struct rp_vfu_pasid *pasid;
	int rc = find_pasid(server, command, sizeof(map), true, &pasid, why);

	(void)reply;
	if (rc < 0)
		return rc;
	memcpy(&map, command->payload, sizeof(map));
	mapping = mapping_of(&map, command, fds);
	rc = rp_dma_space_map(rp_vfu_server_space(server, pasid), &mapping, why);
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
answer_when_settled(struct rp_vfu_server *server, struct rp_vfu_reply *reply, const struct rp_vfu_pasid *pasid,
		    uint64_t ticket, uint64_t first_iova, uint64_t last_iova)
{
	struct rp_dma_space *dma = rp_vfu_server_space(server, pasid);
	unsigned int looks;

	tell_dma_changed(server);
	if (!rp_vfu_server_may_await(server))
		rp_vfu_carrier_abandon(server->carrier, first_iova, last_iova);
	for (looks = 0; looks < LOOKS_BEFORE_DEFERRAL; looks++) {
		if (rp_dma_space_settled(dma, ticket))
			return 0;
		sched_yield();
	}
	reply->pasid = pasid;
	reply->ticket = ticket;
	reply->first_iova = first_iova;
	reply->last_iova = last_iova;
	return -EINPROGRESS;
}

/* Whose addresses an unmap is about; a payload that is longer than it has to be was never refused. */
static int
find_pasid_of_unmap(struct rp_vfu_server *server, const struct rp_vfu_msg_view *command, bool dirty,
		    struct rp_vfu_pasid **ret_pasid, struct rp_wire_why *why)
{
	*ret_pasid = NULL;
	if (dirty || server->terms.value[RP_VFU_TERM_PASID_BITS] == 0)
		return 0;
	return find_pasid(server, command, sizeof(struct rp_vfu_wire_dma_unmap), false, ret_pasid, why);
}

/* Take a range away, or everything. */
static int
take_away(struct rp_dma_space *dma, const struct rp_vfu_wire_dma_unmap *unmap, uint64_t *ret_ticket,
	  struct rp_wire_why *why)
{
	int rc;

	if ((unmap->flags & RP_VFU_DMA_UNMAP_ALL_MASK) == 0)
		return rp_dma_space_unmap_start(dma, unmap->iova, unmap->size_bytes, ret_ticket, why);
	rc = rp_dma_space_clear_start(dma, ret_ticket);
	return rc < 0 ? rp_wire_why_set(why, rc, "no memory") : 0;
}

int
rp_vfu_server_on_dma_unmap(struct rp_vfu_server *server, const struct rp_vfu_msg_view *command, int *fds,
			   struct rp_vfu_reply *reply, struct rp_wire_why *why)
{
	struct rp_vfu_wire_dma_unmap unmap;
	uint64_t ticket = RP_DMA_SETTLED;
	struct rp_vfu_pasid *pasid;
	bool all, dirty;
	int rc;

	(void)fds;
	memcpy(&unmap, command->payload, sizeof(unmap));
	all = (unmap.flags & RP_VFU_DMA_UNMAP_ALL_MASK) != 0;
	dirty = (unmap.flags & RP_VFU_DMA_UNMAP_DIRTY_MASK) != 0;
	reply->fixed_bytes = (uint32_t)(sizeof(unmap) + (dirty ? sizeof(struct rp_vfu_wire_bitmap) : 0));
	memcpy(reply->fixed, command->payload, reply->fixed_bytes);
	rc = find_pasid_of_unmap(server, command, dirty, &pasid, why);
	/* Nothing was ever mapped there. */
	if (rc == -ENOENT)
		return 0;
	if (rc == 0 && dirty)
		rc = rp_vfu_server_dirty_unmap_check(server, command, why);
	if (rc == 0)
		rc = take_away(rp_vfu_server_space(server, pasid), &unmap, &ticket, why);
	if (rc < 0)
		return rc;
	rc = answer_when_settled(server, reply, pasid, ticket, all ? 0 : unmap.iova,
				 all ? UINT64_MAX : unmap.iova + (unmap.size_bytes - 1));
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
	struct rp_vfu_pasid *pasid;
	int rc = find_pasid(server, command, sizeof(map), true, &pasid, why);

	if (rc < 0)
		return rc;
	memcpy(&map, command->payload, sizeof(map));
	mapping = mapping_of(&map, command, fds);
	rc = rp_dma_space_remap_start(rp_vfu_server_space(server, pasid), &mapping, &ticket, why);
	if (rc < 0)
		return rc;
	return answer_when_settled(server, reply, pasid, ticket, map.iova, map.iova + (map.size_bytes - 1));
}
