/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <string.h>

#include "rp_wire_fd.h"
#include "vfu_server.h"
#include "vfu_server_iommu.h"

/* Parallel to the message table; a command without a handler is refused by name. */
/* clang-format off */
static const rp_vfu_handler handlers[] = {
	[RP_VFU_VERSION] = rp_vfu_server_on_version,
	[RP_VFU_DMA_MAP] = rp_vfu_server_on_dma_map,
	[RP_VFU_DMA_UNMAP] = rp_vfu_server_on_dma_unmap,
	[RP_VFU_DEVICE_GET_INFO] = rp_vfu_server_on_device_info,
	[RP_VFU_DEVICE_GET_REGION_INFO] = rp_vfu_server_on_region_info,
	[RP_VFU_DEVICE_GET_REGION_IO_FDS] = rp_vfu_server_on_io_fds,
	[RP_VFU_DEVICE_GET_IRQ_INFO] = rp_vfu_server_on_irq_info,
	[RP_VFU_DEVICE_SET_IRQS] = rp_vfu_server_on_set_irqs,
	[RP_VFU_REGION_READ] = rp_vfu_server_on_region_read,
	[RP_VFU_REGION_WRITE] = rp_vfu_server_on_region_write,
	[RP_VFU_DEVICE_RESET] = rp_vfu_server_on_reset,
	[RP_VFU_REGION_WRITE_MULTI] = rp_vfu_server_on_region_write_multi,
	[RP_VFU_DEVICE_FEATURE] = rp_vfu_server_on_feature,
	[RP_VFU_MIG_DATA_READ] = rp_vfu_server_on_mig_data_read,
	[RP_VFU_MIG_DATA_WRITE] = rp_vfu_server_on_mig_data_write,
};
/* clang-format on */

/* Of our own commands. */
#define EXTENSION(command) ((command)-RP_VFU_EXTENSION_FIRST)

/* clang-format off */
static const rp_vfu_handler extension_handlers[EXTENSION(RP_VFU_EXTENSION_LAST) + 1] = {
	[EXTENSION(RP_VFU_DMA_REMAP)] = rp_vfu_server_on_dma_remap,
	[EXTENSION(RP_VFU_DEVICE_GET_REGION_IO_FDS_PAGE)] = rp_vfu_server_on_io_fds_page,
	[EXTENSION(RP_VFU_INVALIDATE)] = rp_vfu_server_on_invalidate,
	[EXTENSION(RP_VFU_PAGE_RESPONSE)] = rp_vfu_server_on_page_response,
	[EXTENSION(RP_VFU_REGION_ACCESS_MULTI)] = rp_vfu_server_on_region_access_multi,
};
/* clang-format on */

#define ARRAY_COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* @return NULL when this server does not carry it out. */
static rp_vfu_handler
handler_of(uint16_t command)
{
	if (command < ARRAY_COUNT(handlers))
		return handlers[command];
	if (command >= RP_VFU_EXTENSION_FIRST &&
	    command - RP_VFU_EXTENSION_FIRST < (int)ARRAY_COUNT(extension_handlers))
		return extension_handlers[command - RP_VFU_EXTENSION_FIRST];
	return NULL;
}

/* Not built here: refused as that, whatever its payload is. */
static bool
is_supported(const struct rp_vfu_server *server, const struct rp_vfu_msg *row)
{
	if (row == NULL || row->direction != RP_VFU_TO_SERVER || server->state == RP_VFU_STATE_NEW)
		return true; /* the table has its own words for these */
	return handler_of(row->command) != NULL;
}

static int
execute(struct rp_vfu_server *server, const struct rp_vfu_msg_view *command, int *fds, struct rp_vfu_reply *reply,
	struct rp_wire_why *why)
{
	const struct rp_vfu_msg *row = rp_vfu_msg_find(command->header.command);
	int rc;

	if (!is_supported(server, row))
		return rp_wire_why_set(why, -ENOTSUP, "%s: this server does not support it", row->name);
	rc = rp_vfu_msg_check_command(command, RP_VFU_TO_SERVER, server->state, &server->terms, &row, why);
	if (rc < 0)
		return rc;
	rc = handler_of(row->command)(server, command, fds, reply, why);
	if (rc < 0 && rc != -EINPROGRESS)
		rp_wire_why_prefix(why, "%s: ", row->name);
	return rc;
}

int
rp_vfu_server_reply(struct rp_vfu_server *server, const struct rp_vfu_header *command, const struct rp_vfu_reply *reply,
		    int error, struct rp_wire_why *why)
{
	struct rp_vfu_header header = {
		.id = command->id,
		.command = command->command,
		.size_bytes = sizeof(header),
		.flags = RP_VFU_TYPE_REPLY,
	};
	struct iovec iov[] = {
		{.iov_base = &header, .iov_len = sizeof(header)},
		{.iov_base = (void *)reply->fixed, .iov_len = reply->fixed_bytes},
		{.iov_base = (void *)reply->data, .iov_len = reply->data_bytes},
	};
	unsigned int parts = 3, fds_count = reply->fds_count;
	int rc;

	if (error < 0) {
		header.flags |= RP_VFU_FLAG_ERROR;
		header.error = rp_vfu_errno_wire(error);
		parts = 1;
		fds_count = 0;
	} else {
		header.size_bytes += reply->fixed_bytes + reply->data_bytes;
	}
	rc = rp_wire_conn_send(server->conn, iov, parts, reply->fds, fds_count);
	if (rc == 0)
		return 0;
	if (rc == -ENOTCONN)
		return rp_wire_why_set(why, -ENOTCONN, "peer left before its reply to %s",
				       rp_vfu_msg_name(header.command));
	return rp_wire_why_set(why, -ENOTCONN, "%s: the reply could be neither sent nor queued: %s",
			       rp_vfu_msg_name(header.command), strerror(-rc));
}

static void
defer(struct rp_vfu_server *server, const struct rp_vfu_msg_view *command, const struct rp_vfu_reply *reply)
{
	struct rp_vfu_deferred *deferred = &server->deferred;

	deferred->active = true;
	deferred->awaits_device = reply->awaits_device;
	deferred->awaits_answer = reply->awaits_answer;
	deferred->finish = reply->finish;
	deferred->header = command->header;
	memcpy(deferred->fixed, reply->fixed, reply->fixed_bytes);
	deferred->fixed_bytes = reply->fixed_bytes;
	deferred->pasid = reply->pasid;
	deferred->ticket = reply->ticket;
	deferred->first_iova = reply->first_iova;
	deferred->last_iova = reply->last_iova;
}

void
rp_vfu_server_tell_refused(struct rp_vfu_server *server, const struct rp_wire_why *refusal)
{
	if (server->ops.refused != NULL)
		server->ops.refused(server->ctx, refusal);
}

/* An answer is never answered, or two ends that both err would write replies to each other for ever. */
static int
take_reply(struct rp_vfu_server *server, const struct rp_vfu_msg_view *reply, struct rp_wire_why *why)
{
	struct rp_wire_why refusal;
	int rc = -ENOENT;

	if (server->twin == NULL)
		rc = rp_vfu_server_iommu_reply(server, reply, why);
	if (server->twin == NULL && rc == -ENOENT)
		rc = rp_vfu_carrier_reply(server->carrier, reply, why);
	if (rc == -ENOENT) {
		rp_wire_why_set(&refusal, -EBADMSG, "%s: a reply, with no command under way",
				rp_vfu_msg_name(reply->header.command));
		rp_vfu_server_tell_refused(server, &refusal);
		rc = 0;
	}
	return rc == 0 ? 0 : -ENOTCONN;
}

static int
take_command(struct rp_vfu_server *server, const struct rp_vfu_msg_view *command, int *fds, struct rp_wire_why *why)
{
	struct rp_vfu_reply reply = {.fixed_bytes = 0};
	struct rp_wire_why refusal;
	int rc;

	refusal.text[0] = '\0';
	rc = execute(server, command, fds, &reply, &refusal);
	if (rc == -EINPROGRESS) {
		defer(server, command, &reply);
		return 0;
	}
	/* What ends the connection is told when it ends. */
	if (rc < 0 && !reply.last)
		rp_vfu_server_tell_refused(server, &refusal);
	if ((command->header.flags & RP_VFU_FLAG_NO_REPLY) == 0 && !reply.kept) {
		int sent = rp_vfu_server_reply(server, &command->header, &reply, rc, why);

		if (sent < 0)
			return sent;
	}
	if (reply.last)
		return rp_wire_why_set(why, -ENOTCONN, "%s", refusal.text);
	return 0;
}

int
rp_vfu_server_dispatch(struct rp_vfu_server *server, struct rp_wire_msg *msg, struct rp_wire_why *why)
{
	struct rp_vfu_msg_view view;
	int rc;

	rp_vfu_msg_parse(msg, &view);
	if ((view.header.flags & RP_VFU_TYPE_MASK) == RP_VFU_TYPE_REPLY)
		rc = take_reply(server, &view, why);
	else
		rc = take_command(server, &view, msg->fds, why);
	rp_wire_msg_drop(msg);
	rp_wire_fd_close(&server->handed_fd);
	return rc;
}
