/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <string.h>

#include "vfu_server.h"
#include "vfu_server_iommu.h"
#include "vfu_version.h"

static void
put_fixed(struct rp_vfu_reply *reply, const void *bytes, uint32_t count)
{
	memcpy(reply->fixed, bytes, count);
	reply->fixed_bytes = count;
}

/* What the table knows and this device does not do. */
static void
drop_unused(const struct rp_vfu_server *server, struct rp_vfu_terms *terms)
{
	/* Their replies count what was done: nothing in them is done later. */
	if (server->late_writes)
		rp_vfu_terms_drop(terms, RP_VFU_TERM_WRITE_MULTI);
	if (server->late_writes || !server->prompt_reads)
		rp_vfu_terms_drop(terms, RP_VFU_TERM_ACCESS_MULTI);
	if (server->dma_logging)
		return;
	rp_vfu_terms_drop(terms, RP_VFU_TERM_MIG_PAGE_SIZE);
	rp_vfu_terms_drop(terms, RP_VFU_TERM_MIG_BITMAP_MAX);
}

static int
put_text(struct rp_vfu_server *server, struct rp_vfu_reply *reply, const struct rp_vfu_terms *agreed)
{
	char *text = (char *)rp_vfu_server_scratch(server, RP_VFU_VERSION_TEXT_MAX_BYTES);
	size_t bytes;
	int rc;

	if (text == NULL)
		return -ENOSPC;
	rc = rp_vfu_terms_format(agreed, text, RP_VFU_VERSION_TEXT_MAX_BYTES, &bytes);
	if (rc < 0)
		return rc;
	reply->data = (const uint8_t *)text;
	reply->data_bytes = (uint32_t)bytes;
	return 0;
}

/* Without one everything works all the same, so a server that cannot make it does not refuse. */
static void
hand_out_twin(struct rp_vfu_server *server, struct rp_vfu_reply *reply, struct rp_vfu_terms *agreed)
{
	if (agreed->value[RP_VFU_TERM_MSG_FDS] == 0 || rp_vfu_server_twin_create(server) < 0) {
		rp_vfu_terms_drop(agreed, RP_VFU_TERM_TWIN_SOCKET);
		return;
	}
	agreed->twin_fd_index = (int)reply->fds_count;
	reply->fds[reply->fds_count++] = server->handed_fd;
}

static void
hand_out_window(struct rp_vfu_server *server, struct rp_vfu_reply *reply, struct rp_vfu_terms *agreed)
{
	uint64_t bytes = rp_vfu_server_window_whole(agreed->value[RP_VFU_TERM_WINDOW]);

	if (agreed->value[RP_VFU_TERM_MSG_FDS] <= reply->fds_count ||
	    rp_vfu_server_window_open(&server->window, bytes) < 0) {
		rp_vfu_terms_drop(agreed, RP_VFU_TERM_WINDOW);
		return;
	}
	agreed->value[RP_VFU_TERM_WINDOW] = bytes;
	agreed->window_fd_index = (int)reply->fds_count;
	reply->fds[reply->fds_count++] = server->window.fd;
}

int
rp_vfu_server_on_version(struct rp_vfu_server *server, const struct rp_vfu_msg_view *command, int *fds,
			 struct rp_vfu_reply *reply, struct rp_wire_why *why)
{
	struct rp_vfu_terms ours, theirs, agreed;
	struct rp_vfu_wire_version version;
	uint32_t text_bytes = command->payload_bytes - (uint32_t)sizeof(version);
	int rc;

	(void)fds;
	memcpy(&version, command->payload, sizeof(version));
	if (version.major != RP_VFU_VERSION_MAJOR) {
		reply->last = true;
		return rp_wire_why_set(why, -ENOTSUP, "major: %u, expected %u", version.major, RP_VFU_VERSION_MAJOR);
	}
	rc = rp_vfu_terms_parse(command->payload + sizeof(version), text_bytes, &theirs, why);
	if (rc < 0)
		return rc;
	rp_vfu_terms_ours(&ours);
	drop_unused(server, &ours);
	ours.value[RP_VFU_TERM_WINDOW] = server->window_bytes_max;
	rp_vfu_server_iommu_offer(server, &ours);
	rc = rp_vfu_terms_agree(&ours, &theirs, &agreed, why);
	if (rc < 0)
		return rc;
	/* Where a descriptor is, is the server's to say. */
	agreed.twin_fd_index = -1;
	agreed.window_fd_index = -1;
	if (agreed.value[RP_VFU_TERM_TWIN_SOCKET] != 0)
		hand_out_twin(server, reply, &agreed);
	rp_vfu_terms_settle_iommu(&agreed);
	if (agreed.value[RP_VFU_TERM_WINDOW] != 0)
		hand_out_window(server, reply, &agreed);
	if (version.minor > RP_VFU_VERSION_MINOR)
		version.minor = RP_VFU_VERSION_MINOR;
	put_fixed(reply, &version, sizeof(version));
	/* Clients read the reply into the room of their offer, so one without a text gets none. */
	if (text_bytes > 0 && put_text(server, reply, &agreed) < 0) {
		rp_vfu_server_twin_destroy(server);
		rp_vfu_server_window_close(&server->window);
		return rp_wire_why_set(why, -ENOSPC, "no memory for the reply");
	}
	server->terms = agreed;
	server->state = RP_VFU_STATE_READY;
	rp_vfu_carrier_open(server->carrier, agreed.value[RP_VFU_TERM_DATA_XFER],
			    agreed.value[RP_VFU_TERM_WINDOW] != 0 ? &server->window : NULL);
	rp_vfu_server_iommu_open(server);
	if (server->ops.connected != NULL)
		server->ops.connected(server->ctx);
	return 0;
}
