/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/socket.h>

#include "rp_wire_conn.h"
#include "rp_wire_fd.h"
#include "rp_wire_socket.h"
#include "vfu_client.h"
#include "vfu_client_iommu.h"
#include "vfu_version.h"

/* What is offered, and what is made of the answer: the terms, the second socket, the window. */

/* Names of ours: a connection without them is the specification's, byte by byte. */
#define OURS_MASK                                                                                                      \
	(1u << RP_VFU_TERM_REMAP | 1u << RP_VFU_TERM_SERVE | 1u << RP_VFU_TERM_IO_FDS | 1u << RP_VFU_TERM_WINDOW |     \
	 1u << RP_VFU_TERM_ACCESS_MULTI | RP_VFU_TERMS_IOMMU_MASK)

static int
check_config(const struct rp_vfu_client_config *config, struct rp_wire_why *why)
{
	if (config->max_data_xfer_bytes != 0 && (config->max_data_xfer_bytes < RP_VFU_DATA_XFER_FLOOR_BYTES ||
						 config->max_data_xfer_bytes > RP_VFU_DATA_XFER_MAX_BYTES))
		return rp_wire_why_set(why, -EINVAL, "max_data_xfer_size: %u, expected %u to %u",
				       config->max_data_xfer_bytes, RP_VFU_DATA_XFER_FLOOR_BYTES,
				       RP_VFU_DATA_XFER_MAX_BYTES);
	if (config->max_msg_fds != RP_VFU_CLIENT_NO_FDS && config->max_msg_fds > RP_VFU_MSG_FDS_MAX)
		return rp_wire_why_set(why, -EINVAL, "max_msg_fds: %u, expected at most %u", config->max_msg_fds,
				       RP_VFU_MSG_FDS_MAX);
	if (config->window_bytes != 0 &&
	    (config->window_bytes < RP_VFU_WINDOW_FLOOR_BYTES || config->window_bytes > RP_VFU_WINDOW_MAX_BYTES))
		return rp_wire_why_set(why, -EINVAL, "ringpass.window: size: %u, expected %u to %u",
				       config->window_bytes, RP_VFU_WINDOW_FLOOR_BYTES, RP_VFU_WINDOW_MAX_BYTES);
	return 0;
}

static void
choose_offer(const struct rp_vfu_client *client, const struct rp_vfu_client_config *config,
	     struct rp_vfu_terms *ret_ours)
{
	uint32_t withheld_mask = config->withheld_mask;
	unsigned int i;

	if (!config->twin_socket)
		withheld_mask |= 1u << RP_VFU_TERM_TWIN_SOCKET;
	if (config->specification_only)
		withheld_mask |= OURS_MASK;
	rp_vfu_terms_ours(ret_ours);
	if (config->max_data_xfer_bytes != 0)
		ret_ours->value[RP_VFU_TERM_DATA_XFER] = config->max_data_xfer_bytes;
	if (config->max_msg_fds != 0)
		ret_ours->value[RP_VFU_TERM_MSG_FDS] =
			config->max_msg_fds == RP_VFU_CLIENT_NO_FDS ? 0 : config->max_msg_fds;
	if (config->window_bytes != 0)
		ret_ours->value[RP_VFU_TERM_WINDOW] = config->window_bytes;
	rp_vfu_client_iommu_offer(client, ret_ours);
	for (i = 0; i < RP_VFU_TERMS_COUNT; i++) {
		if ((withheld_mask & (1u << i)) != 0)
			rp_vfu_terms_drop(ret_ours, i);
	}
}

static bool
is_agreed(const struct rp_vfu_terms *terms, enum rp_vfu_term term)
{
	return (terms->named_mask & (1u << term)) != 0;
}

/* @return 0 or -EBADMSG. */
static int
check_fd_index(const char *name, int index, unsigned int fds_count, struct rp_wire_why *why)
{
	if (index < 0)
		return rp_wire_why_set(why, -EBADMSG, "%s: fd_index: not said", name);
	if ((unsigned int)index >= fds_count)
		return rp_wire_why_set(why, -EBADMSG, "%s: fd_index: %d of %u descriptors", name, index, fds_count);
	return 0;
}

static int
option_of(int fd, int option)
{
	socklen_t bytes = sizeof(int);
	int value = -1;

	return getsockopt(fd, SOL_SOCKET, option, &value, &bytes) < 0 ? -1 : value;
}

int
rp_vfu_client_check_socket(int fd, const char *name, struct rp_wire_why *why)
{
	struct sockaddr_storage peer;
	socklen_t bytes = sizeof(peer);

	if (option_of(fd, SO_DOMAIN) != AF_UNIX || option_of(fd, SO_TYPE) != SOCK_STREAM ||
	    getpeername(fd, (struct sockaddr *)&peer, &bytes) < 0)
		return rp_wire_why_set(why, -EBADMSG, "%s: not a connected Unix stream socket", name);
	return 0;
}

int
rp_vfu_client_take_twin(struct rp_vfu_client *client, int *fd, struct rp_wire_why *why)
{
	int rc = rp_vfu_client_check_socket(*fd, "twin_socket", why);

	if (rc < 0)
		return rc;
	rp_wire_socket_widen(*fd, RP_VFU_SEND_ROOM_BYTES);
	rc = rp_wire_conn_create(fd, &rp_vfu_framing, &client->twin);
	return rc < 0 ? rp_wire_why_set(why, rc, "twin_socket: %s", strerror(-rc)) : 0;
}

static int
take_descriptors(struct rp_vfu_client *client, const struct rp_vfu_terms *agreed, struct rp_wire_msg *msg,
		 struct rp_wire_why *why)
{
	bool twin = is_agreed(agreed, RP_VFU_TERM_TWIN_SOCKET), window = is_agreed(agreed, RP_VFU_TERM_WINDOW);
	unsigned int wanted = (twin ? 1u : 0u) + (window ? 1u : 0u);
	int rc = 0;

	if (msg->fds_count > wanted)
		return rp_wire_why_set(why, -EBADMSG, "descriptors: %u, expected %u", msg->fds_count, wanted);
	if (twin)
		rc = check_fd_index("twin_socket", agreed->twin_fd_index, msg->fds_count, why);
	if (rc == 0 && window)
		rc = check_fd_index("ringpass.window", agreed->window_fd_index, msg->fds_count, why);
	if (rc == 0 && twin && window && agreed->twin_fd_index == agreed->window_fd_index)
		rc = rp_wire_why_set(why, -EBADMSG, "ringpass.window: fd_index: %d, which is the twin socket's",
				     agreed->window_fd_index);
	if (rc == 0 && window)
		rc = rp_vfu_window_open(&client->window, msg->fds[agreed->window_fd_index],
					agreed->value[RP_VFU_TERM_WINDOW], why);
	if (rc == 0 && twin)
		rc = rp_vfu_client_take_twin(client, &msg->fds[agreed->twin_fd_index], why);
	return rc;
}

static int
take_version(struct rp_vfu_client *client, const struct rp_vfu_terms *ours, const struct rp_vfu_call *call,
	     struct rp_wire_why *why)
{
	struct rp_vfu_wire_version version;
	struct rp_vfu_terms theirs;
	int rc;

	memcpy(&version, call->reply.payload, sizeof(version));
	if (version.major != RP_VFU_VERSION_MAJOR || version.minor > RP_VFU_VERSION_MINOR)
		return rp_wire_why_set(why, -EBADMSG, "%u.%u, expected %u.%u or a lower minor", version.major,
				       version.minor, RP_VFU_VERSION_MAJOR, RP_VFU_VERSION_MINOR);
	rc = rp_vfu_terms_parse(call->reply.payload + sizeof(version), call->reply.payload_bytes - sizeof(version),
				&theirs, why);
	if (rc == 0)
		rc = rp_vfu_terms_agree(ours, &theirs, &client->terms, why);
	if (rc == 0)
		rc = take_descriptors(client, &client->terms, call->msg, why);
	return rc;
}

int
rp_vfu_client_negotiate(struct rp_vfu_client *client, const struct rp_vfu_client_config *config,
			struct rp_wire_why *why)
{
	const struct rp_vfu_wire_version version = {RP_VFU_VERSION_MAJOR, RP_VFU_VERSION_MINOR};
	char text[RP_VFU_VERSION_TEXT_MAX_BYTES];
	struct rp_vfu_call call = {
		.command = RP_VFU_VERSION,
		.payload = &version,
		.payload_bytes = sizeof(version),
		.data = text,
	};
	struct rp_vfu_terms ours;
	size_t text_bytes;
	int rc = check_config(config, why);

	if (rc < 0)
		return rc;
	choose_offer(client, config, &ours);
	rc = rp_vfu_terms_format(&ours, text, sizeof(text), &text_bytes);
	if (rc < 0)
		return rp_wire_why_set(why, -ENOMEM, "VERSION: no memory");
	call.data_bytes = (uint32_t)text_bytes;
	rc = rp_vfu_client_call(client, &call, why);
	if (rc < 0)
		return rc;
	rc = take_version(client, &ours, &call, why);
	rp_wire_msg_drop(call.msg);
	if (rc < 0) {
		rp_wire_why_prefix(why, "VERSION: reply: ");
		return rc == -ENOMEM ? rc : -EBADMSG;
	}
	client->state = RP_VFU_STATE_READY;
	rp_vfu_client_iommu_open(client);
	return 0;
}
