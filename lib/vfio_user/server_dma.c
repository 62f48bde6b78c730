/* SPDX-License-Identifier: BSD-3-Clause */
#include <string.h>

#include "vfu_server.h"

static void
tell_dma_changed(struct rp_vfu_server *server)
{
	if (server->ops.dma_changed != NULL)
		server->ops.dma_changed(server->ctx);
}

int
rp_vfu_server_on_dma_map(struct rp_vfu_server *server, const struct rp_vfu_msg_view *command, int *fds,
			 struct rp_vfu_reply *reply, struct rp_wire_why *why)
{
	struct rp_vfu_wire_dma_map map;
	struct rp_dma_mapping mapping;
	int rc;

	(void)reply;
	static_assert(RP_VFU_DMA_MAP_READ_MASK == RP_DMA_READ && RP_VFU_DMA_MAP_WRITE_MASK == RP_DMA_WRITE,
		      "access bits are the same");
	memcpy(&map, command->payload, sizeof(map));
	mapping = (struct rp_dma_mapping){
		.iova = map.iova,
		.size_bytes = map.size_bytes,
		.offset_bytes = command->fds_count > 0 ? map.offset_bytes : 0,
		.access_mask = map.flags,
		.fd = command->fds_count > 0 ? fds[0] : -1,
	};
	rc = rp_dma_space_map(server->dma, &mapping, why);
	if (rc == 0)
		tell_dma_changed(server);
	return rc;
}

int
rp_vfu_server_on_dma_unmap(struct rp_vfu_server *server, const struct rp_vfu_msg_view *command, int *fds,
			   struct rp_vfu_reply *reply, struct rp_wire_why *why)
{
	struct rp_vfu_wire_dma_unmap unmap;
	int rc = 0;

	(void)fds;
	memcpy(&unmap, command->payload, sizeof(unmap));
	if ((unmap.flags & RP_VFU_DMA_UNMAP_ALL_MASK) != 0)
		rp_dma_space_clear(server->dma);
	else
		rc = rp_dma_space_unmap(server->dma, unmap.iova, unmap.size_bytes, why);
	if (rc < 0)
		return rc;
	tell_dma_changed(server);
	memcpy(reply->fixed, &unmap, sizeof(unmap));
	reply->fixed_bytes = sizeof(unmap);
	return 0;
}
