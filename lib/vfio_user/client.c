/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "rp_wire_conn.h"
#include "rp_wire_fd.h"
#include "rp_wire_socket.h"
#include "vfu_client.h"
#include "vfu_version.h"

#define DEFAULT_TIMEOUT_MS 5000

static int
pid_of(int socket_fd)
{
	struct ucred peer;
	socklen_t bytes = sizeof(peer);

	return getsockopt(socket_fd, SOL_SOCKET, SO_PEERCRED, &peer, &bytes) < 0 ? 0 : peer.pid;
}

static int
connect_to(struct rp_vfu_client *client, const char *socket_path, struct rp_wire_why *why)
{
	RP_WIRE_FD_SCOPED int fd = -1;
	int rc = rp_wire_socket_connect(socket_path, &fd, why);

	if (rc < 0)
		return rc;
	client->peer_pid = pid_of(fd);
	rc = rp_wire_conn_create(&fd, &rp_vfu_framing, &client->conn);
	return rc < 0 ? rp_wire_why_set(why, rc, "%s: %s", socket_path, strerror(-rc)) : 0;
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
		return rp_wire_why_set(why, -EBADMSG, "VERSION: reply: %u.%u, expected %u.%u or a lower minor",
				       version.major, version.minor, RP_VFU_VERSION_MAJOR, RP_VFU_VERSION_MINOR);
	rc = rp_vfu_terms_parse(call->reply.payload + sizeof(version), call->reply.payload_bytes - sizeof(version),
				&theirs, why);
	if (rc == 0)
		rc = rp_vfu_terms_agree(ours, &theirs, &client->terms, why);
	if (rc < 0) {
		rp_wire_why_prefix(why, "VERSION: reply: ");
		return -EBADMSG;
	}
	client->state = RP_VFU_STATE_READY;
	return 0;
}

/* What the table knows and this end does not do yet. */
static void
drop_unbuilt(struct rp_vfu_terms *terms)
{
	rp_vfu_terms_drop(terms, RP_VFU_TERM_WRITE_MULTI);
	rp_vfu_terms_drop(terms, RP_VFU_TERM_TWIN_SOCKET);
	rp_vfu_terms_drop(terms, RP_VFU_TERM_MIG_PAGE_SIZE);
	rp_vfu_terms_drop(terms, RP_VFU_TERM_MIG_BITMAP_MAX);
	rp_vfu_terms_drop(terms, RP_VFU_TERM_REMAP);
	rp_vfu_terms_drop(terms, RP_VFU_TERM_SERVE);
	rp_vfu_terms_drop(terms, RP_VFU_TERM_IO_FDS);
	rp_vfu_terms_drop(terms, RP_VFU_TERM_WINDOW);
}

static int
negotiate(struct rp_vfu_client *client, struct rp_wire_why *why)
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
	int rc;

	rp_vfu_terms_ours(&ours);
	drop_unbuilt(&ours);
	rc = rp_vfu_terms_format(&ours, text, sizeof(text), &text_bytes);
	if (rc < 0)
		return rp_wire_why_set(why, rc, "VERSION: no memory");
	call.data_bytes = (uint32_t)text_bytes;
	rc = rp_vfu_client_call(client, &call, why);
	return rc < 0 ? rc : take_version(client, &ours, &call, why);
}

int
rp_vfu_client_create(const struct rp_vfu_client_config *config, const struct rp_vfu_client_ops *ops, void *ctx,
		     struct rp_vfu_client **ret_client, struct rp_wire_why *why)
{
	struct rp_vfu_client *client = calloc(1, sizeof(*client));
	int rc;

	if (client == NULL)
		return rp_wire_why_set(why, -ENOMEM, "no memory for a client");
	if (ops != NULL)
		client->ops = *ops;
	client->ctx = ctx;
	client->epoll_fd = -1;
	client->timer_fd = -1;
	TAILQ_INIT(&client->under_way);
	TAILQ_INIT(&client->leaving);
	client->timeout_ms = config->timeout_ms == 0 ? DEFAULT_TIMEOUT_MS : config->timeout_ms;
	rc = connect_to(client, config->socket_path, why);
	if (rc == 0) {
		rc = rp_vfu_client_poll_init(client);
		if (rc < 0)
			rp_wire_why_set(why, rc, "what is polled: %s", strerror(-rc));
	}
	if (rc == 0)
		rc = negotiate(client, why);
	if (rc < 0) {
		rp_vfu_client_destroy(client);
		return rc;
	}
	client->announced = true;
	*ret_client = client;
	return 0;
}

struct rp_vfu_client *
rp_vfu_client_destroy(struct rp_vfu_client *client)
{
	struct rp_wire_why reason;
	uint32_t i;

	if (client == NULL)
		return NULL;
	client->conn = rp_wire_conn_destroy(client->conn);
	rp_wire_why_set(&reason, -ECANCELED, "the client is being destroyed");
	rp_vfu_client_finish_all(client, -ECANCELED, &reason);
	rp_vfu_client_poll_close(client);
	for (i = 0; client->regions != NULL && i < client->device.regions_count; i++) {
		rp_wire_fd_close(&client->regions[i].fd);
		free(client->regions[i].areas);
	}
	rp_vfu_memory_clear(&client->memory);
	free(client->regions);
	free(client->scratch);
	free(client);
	return NULL;
}

int
rp_vfu_client_leave(struct rp_vfu_client *client, int error, const struct rp_wire_why *why)
{
	/* A copy: a callback may end what the reason lies in. */
	const struct rp_wire_why reason = *why;

	client->conn = rp_wire_conn_destroy(client->conn);
	client->peer_pid = 0;
	rp_vfu_client_finish_all(client, error, &reason);
	if (client->announced && client->ops.disconnected != NULL)
		client->ops.disconnected(client->ctx, &reason);
	return error;
}

int
rp_vfu_client_fd(const struct rp_vfu_client *client)
{
	return client->conn == NULL ? -1 : client->epoll_fd;
}

int
rp_vfu_client_socket_fd(const struct rp_vfu_client *client)
{
	return client->conn == NULL ? -1 : rp_wire_conn_fd(client->conn);
}

bool
rp_vfu_client_connected(const struct rp_vfu_client *client)
{
	return client->conn != NULL;
}

int
rp_vfu_client_peer(const struct rp_vfu_client *client)
{
	return client->peer_pid;
}
