/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "rp_vhu_endpoint.h"
#include "rp_wire_fd.h"
#include "rp_wire_socket.h"

#define RETRY_DEFAULT_MS 1000
#define PERMISSIONS_MASK 07777u
#define PATH_ROOM 108 /* of struct sockaddr_un */

struct rp_vhu_endpoint {
	char path[PATH_ROOM];
	enum rp_vhu_endpoint_mode mode;
	uint32_t retry_ms;
	int listen_fd;
	bool given; /* the listening socket: its file is not ours */
	dev_t device; /* of the socket file, with inode: whether it is still ours */
	ino_t inode;
	uint64_t connect_at_ms; /* 0: connected, or a server */
};

static int
check_config(const struct rp_vhu_endpoint_config *config, struct rp_wire_why *why)
{
	size_t length = config->path == NULL ? 0 : strlen(config->path);

	if (length == 0)
		return rp_wire_why_set(why, -EINVAL, "path: is empty");
	if (length >= PATH_ROOM)
		return rp_wire_why_set(why, -ENAMETOOLONG, "path: is %zu bytes long, expected at most %d", length,
				       PATH_ROOM - 1);
	if ((unsigned int)config->mode > RP_VHU_ENDPOINT_CLIENT)
		return rp_wire_why_set(why, -EINVAL, "mode: %u, expected 0 or 1", (unsigned int)config->mode);
	if (config->listen_fd != NULL && config->mode != RP_VHU_ENDPOINT_SERVER)
		return rp_wire_why_set(why, -EINVAL, "listen_fd: found one, expected none for a client");
	if ((config->file_mode & ~PERMISSIONS_MASK) != 0)
		return rp_wire_why_set(why, -EINVAL, "file_mode: 0%o, expected permissions",
				       (unsigned int)config->file_mode);
	return 0;
}

static int
listen_here(struct rp_vhu_endpoint *endpoint, mode_t file_mode, struct rp_wire_why *why)
{
	struct stat st;
	int rc = rp_wire_socket_listen_mode(endpoint->path, file_mode, &endpoint->listen_fd, why);

	if (rc == 0 && lstat(endpoint->path, &st) == 0) {
		endpoint->device = st.st_dev;
		endpoint->inode = st.st_ino;
	}
	return rc;
}

static int
adopt(struct rp_vhu_endpoint *endpoint, int *fd, struct rp_wire_why *why)
{
	char path[RP_WIRE_SOCKET_PATH_ROOM];
	int rc = rp_wire_socket_check_listening(*fd, path, why);

	if (rc < 0) {
		rp_wire_why_prefix(why, "listen_fd: ");
		return rc;
	}
	if (strcmp(path, endpoint->path) != 0)
		return rp_wire_why_set(why, -EINVAL, "listen_fd: found one that listens on %s, expected %s", path,
				       endpoint->path);
	endpoint->given = true;
	endpoint->listen_fd = rp_wire_fd_take(fd);
	return 0;
}

int
rp_vhu_endpoint_create(const struct rp_vhu_endpoint_config *config, struct rp_vhu_endpoint **ret_endpoint,
		       struct rp_wire_why *why)
{
	struct rp_vhu_endpoint *endpoint;
	int rc = check_config(config, why);

	if (rc < 0)
		return rc;
	endpoint = calloc(1, sizeof(*endpoint));
	if (endpoint == NULL)
		return rp_wire_why_set(why, -ENOMEM, "no memory");
	memcpy(endpoint->path, config->path, strlen(config->path));
	endpoint->mode = config->mode;
	endpoint->retry_ms = config->retry_ms != 0 ? config->retry_ms : RETRY_DEFAULT_MS;
	endpoint->listen_fd = -1;
	if (config->mode == RP_VHU_ENDPOINT_CLIENT)
		endpoint->connect_at_ms = 1; /* long ago */
	else if (config->listen_fd != NULL)
		rc = adopt(endpoint, config->listen_fd, why);
	else
		rc = listen_here(endpoint, config->file_mode, why);
	if (rc < 0) {
		rp_vhu_endpoint_destroy(endpoint);
		return rc;
	}
	*ret_endpoint = endpoint;
	return 0;
}

/* Somebody may have taken the file away and listen there by now. */
static void
remove_file(const struct rp_vhu_endpoint *endpoint)
{
	struct stat st;

	if (lstat(endpoint->path, &st) == 0 && st.st_dev == endpoint->device && st.st_ino == endpoint->inode)
		unlink(endpoint->path);
}

struct rp_vhu_endpoint *
rp_vhu_endpoint_destroy(struct rp_vhu_endpoint *endpoint)
{
	if (endpoint == NULL)
		return NULL;
	if (endpoint->listen_fd >= 0 && !endpoint->given)
		remove_file(endpoint);
	rp_wire_fd_close(&endpoint->listen_fd);
	free(endpoint);
	return NULL;
}

int
rp_vhu_endpoint_fd(const struct rp_vhu_endpoint *endpoint)
{
	return endpoint->listen_fd;
}

uint64_t
rp_vhu_endpoint_deadline_ms(const struct rp_vhu_endpoint *endpoint)
{
	return endpoint->connect_at_ms;
}

static int
try_to_connect(struct rp_vhu_endpoint *endpoint, uint64_t now_ms, int *ret_fd, struct rp_wire_why *why)
{
	int rc;

	if (endpoint->connect_at_ms == 0 || now_ms < endpoint->connect_at_ms)
		return -EAGAIN;
	rc = rp_wire_socket_connect(endpoint->path, ret_fd, why);
	endpoint->connect_at_ms = rc == 0 ? 0 : now_ms + endpoint->retry_ms;
	return rc;
}

int
rp_vhu_endpoint_process(struct rp_vhu_endpoint *endpoint, uint64_t now_ms, int *ret_fd, struct rp_wire_why *why)
{
	int rc;

	if (endpoint->mode == RP_VHU_ENDPOINT_CLIENT)
		return try_to_connect(endpoint, now_ms, ret_fd, why);
	rc = rp_wire_socket_accept(endpoint->listen_fd, ret_fd);
	if (rc < 0 && rc != -EAGAIN)
		rp_wire_why_set(why, rc, "%s: accept: %s", endpoint->path, strerror(-rc));
	return rc;
}

void
rp_vhu_endpoint_connected(struct rp_vhu_endpoint *endpoint)
{
	endpoint->connect_at_ms = 0;
}

void
rp_vhu_endpoint_lost(struct rp_vhu_endpoint *endpoint, uint64_t now_ms)
{
	if (endpoint->mode == RP_VHU_ENDPOINT_CLIENT)
		endpoint->connect_at_ms = now_ms + endpoint->retry_ms;
}
