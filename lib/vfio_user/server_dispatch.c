/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <string.h>

#include "vfu_server.h"

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
};
/* clang-format on */

/* Of our own commands. */
static const rp_vfu_handler extension_handlers[RP_VFU_DEVICE_GET_REGION_IO_FDS_PAGE - RP_VFU_EXTENSION_FIRST + 1];

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
	if (rc < 0)
		rp_wire_why_prefix(why, "%s: ", row->name);
	return rc;
}

static int
send_reply(struct rp_vfu_server *server, const struct rp_vfu_msg_view *command, const struct rp_vfu_reply *reply,
	   int error, struct rp_wire_why *why)
{
	struct rp_vfu_header header = {
		.id = command->header.id,
		.command = command->header.command,
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

int
rp_vfu_server_dispatch(struct rp_vfu_server *server, struct rp_wire_msg *msg, struct rp_wire_why *why)
{
	struct rp_vfu_reply reply = {.fixed_bytes = 0};
	struct rp_vfu_msg_view command;
	struct rp_wire_why refusal;
	bool answer;
	int rc;

	refusal.text[0] = '\0';
	rp_vfu_msg_parse(msg, &command);
	answer = (command.header.flags & RP_VFU_FLAG_NO_REPLY) == 0;
	if ((command.header.flags & RP_VFU_TYPE_MASK) == RP_VFU_TYPE_REPLY) {
		/* Never answered, or two ends that both err would write replies to each other for ever. */
		answer = false;
		rc = rp_wire_why_set(&refusal, -EBADMSG, "%s: a reply, with no command under way",
				     rp_vfu_msg_name(command.header.command));
	} else {
		rc = execute(server, &command, msg->fds, &reply, &refusal);
	}
	rp_wire_msg_drop(msg);
	/* What ends the connection is told when it ends. */
	if (rc < 0 && !reply.last && server->ops.refused != NULL)
		server->ops.refused(server->ctx, &refusal);
	if (answer) {
		int sent = send_reply(server, &command, &reply, rc, why);

		if (sent < 0)
			return sent;
	}
	if (reply.last)
		return rp_wire_why_set(why, -ENOTCONN, "%s", refusal.text);
	return 0;
}
