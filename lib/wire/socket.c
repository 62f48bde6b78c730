/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "rp_wire_fd.h"
#include "rp_wire_socket.h"

#define LISTEN_BACKLOG 8

static int
address_from_path(const char *path, struct sockaddr_un *address, struct rp_wire_why *why)
{
	size_t length = strlen(path);

	memset(address, 0, sizeof(*address));
	address->sun_family = AF_UNIX;
	if (length == 0)
		return rp_wire_why_set(why, -EINVAL, "socket path: is empty");
	if (length >= sizeof(address->sun_path))
		return rp_wire_why_set(why, -ENAMETOOLONG,
				       "socket path '%.60s...': is %zu bytes long, expected at most %zu", path, length,
				       sizeof(address->sun_path) - 1);
	memcpy(address->sun_path, path, length);
	return 0;
}

static int
unix_stream_socket(void)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	return fd < 0 ? -errno : fd;
}

/* A socket file outlives a killed server; only a refused connection proves it dead. */
static int
remove_stale(const char *path, const struct sockaddr_un *address, struct rp_wire_why *why)
{
	RP_WIRE_FD_SCOPED int probe = -1;
	struct stat st;

	if (lstat(path, &st) < 0)
		return errno == ENOENT ? 0 : rp_wire_why_set(why, -errno, "%s: %s", path, strerror(errno));
	if (!S_ISSOCK(st.st_mode))
		return rp_wire_why_set(why, -EEXIST, "%s: exists and is not a socket", path);
	probe = unix_stream_socket();
	if (probe < 0)
		return rp_wire_why_set(why, probe, "socket: %s", strerror(-probe));
	/* EAGAIN is a full backlog, EPROTOTYPE a listener of another socket type: both are alive. */
	if (connect(probe, (const struct sockaddr *)address, sizeof(*address)) == 0 || errno == EAGAIN ||
	    errno == EPROTOTYPE)
		return rp_wire_why_set(why, -EADDRINUSE, "%s: another process listens there", path);
	if (errno != ECONNREFUSED && errno != ENOENT)
		return rp_wire_why_set(why, -errno, "%s: cannot tell whether anybody listens: %s", path,
				       strerror(errno));
	if (unlink(path) < 0 && errno != ENOENT)
		return rp_wire_why_set(why, -errno, "%s: stale, and cannot be removed: %s", path, strerror(errno));
	return 0;
}

int
rp_wire_socket_listen(const char *path, int *ret_fd, struct rp_wire_why *why)
{
	return rp_wire_socket_listen_mode(path, 0, ret_fd, why);
}

/* The file exists from here on. */
static int
start_listening(int fd, const char *path, mode_t file_mode, struct rp_wire_why *why)
{
	/* Until it listens, nobody gets in. */
	if (file_mode != 0 && chmod(path, file_mode) < 0)
		return rp_wire_why_set(why, -errno, "%s: chmod: %s", path, strerror(errno));
	if (listen(fd, LISTEN_BACKLOG) < 0)
		return rp_wire_why_set(why, -errno, "%s: listen: %s", path, strerror(errno));
	return 0;
}

int
rp_wire_socket_listen_mode(const char *path, mode_t file_mode, int *ret_fd, struct rp_wire_why *why)
{
	RP_WIRE_FD_SCOPED int fd = -1;
	struct sockaddr_un address;
	int rc = address_from_path(path, &address, why);

	if (rc < 0)
		return rc;
	rc = remove_stale(path, &address, why);
	if (rc < 0)
		return rc;
	fd = unix_stream_socket();
	if (fd < 0)
		return rp_wire_why_set(why, fd, "socket: %s", strerror(-fd));
	if (bind(fd, (const struct sockaddr *)&address, sizeof(address)) < 0)
		return rp_wire_why_set(why, -errno, "%s: bind: %s", path, strerror(errno));
	rc = start_listening(fd, path, file_mode, why);
	if (rc < 0) {
		unlink(path);
		return rc;
	}
	*ret_fd = rp_wire_fd_take(&fd);
	return 0;
}

static bool
socket_has(int fd, int option, int wanted)
{
	socklen_t length = sizeof(int);
	int value = -1;

	return getsockopt(fd, SOL_SOCKET, option, &value, &length) == 0 && value == wanted;
}

int
rp_wire_socket_check_listening(int fd, char ret_path[RP_WIRE_SOCKET_PATH_ROOM], struct rp_wire_why *why)
{
	struct sockaddr_un address = {0};
	socklen_t length = sizeof(address);
	int flags;

	if (getsockname(fd, (struct sockaddr *)&address, &length) < 0)
		return rp_wire_why_set(why, -EINVAL, "found no socket (%s), expected one that listens",
				       strerror(errno));
	if (address.sun_family != AF_UNIX || !socket_has(fd, SO_TYPE, SOCK_STREAM))
		return rp_wire_why_set(why, -EINVAL, "found another socket, expected a Unix stream socket");
	if (!socket_has(fd, SO_ACCEPTCONN, 1))
		return rp_wire_why_set(why, -EINVAL, "found a socket that does not listen");
	/* One without a zero byte at its end is legal, and 108 bytes long; abstract names begin with one. */
	if (address.sun_path[0] == '\0' || address.sun_path[sizeof(address.sun_path) - 1] != '\0')
		return rp_wire_why_set(why, -EINVAL, "found a socket without a path of 1 to 107 bytes");
	flags = fcntl(fd, F_GETFL);
	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0 || fcntl(fd, F_SETFD, FD_CLOEXEC) < 0)
		return rp_wire_why_set(why, -errno, "fcntl: %s", strerror(errno));
	memcpy(ret_path, address.sun_path, sizeof(address.sun_path));
	return 0;
}

int
rp_wire_socket_accept(int listen_fd, int *ret_fd)
{
	int fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd < 0)
		return -errno;
	*ret_fd = fd;
	return 0;
}

void
rp_wire_socket_end(int fd)
{
	char thrown[4096];

	/* From here on nothing is added to what it has sent. */
	(void)shutdown(fd, SHUT_RDWR);
	while (recv(fd, thrown, sizeof(thrown), MSG_DONTWAIT) > 0)
		;
}

void
rp_wire_socket_widen(int fd, int bytes)
{
	socklen_t length = sizeof(int);
	int has = 0;

	/* The kernel counts its own expense too, and says twice what it was asked for. */
	if (getsockopt(fd, SOL_SOCKET, SO_SNDBUF, &has, &length) == 0 && has / 2 < bytes)
		(void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes));
}

int
rp_wire_socket_connect(const char *path, int *ret_fd, struct rp_wire_why *why)
{
	RP_WIRE_FD_SCOPED int fd = -1;
	struct sockaddr_un address;
	int rc = address_from_path(path, &address, why);

	if (rc < 0)
		return rc;
	fd = unix_stream_socket();
	if (fd < 0)
		return rp_wire_why_set(why, fd, "socket: %s", strerror(-fd));
	if (connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0)
		return rp_wire_why_set(why, -errno, "%s: connect: %s", path, strerror(errno));
	*ret_fd = rp_wire_fd_take(&fd);
	return 0;
}
