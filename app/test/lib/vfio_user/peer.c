/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "peer.h"

#define WAIT_MS 10000
#define TURNS_MAX 20000

void
peer_connect(struct peer *peer, const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	strncpy(address.sun_path, path, sizeof(address.sun_path) - 1);
	peer->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_true(peer->fd >= 0);
	assert_int_equal(connect(peer->fd, (struct sockaddr *)&address, sizeof(address)), 0);
}

void
peer_close(struct peer *peer)
{
	if (peer->fd >= 0)
		close(peer->fd);
	peer->fd = -1;
}

/* Wait until the socket is ready, letting the other end work. */
static void
wait_for(struct peer *peer, short events)
{
	struct pollfd socket = {.fd = peer->fd, .events = events};
	unsigned int turns;

	if (peer->turn == NULL) {
		assert_true(poll(&socket, 1, WAIT_MS) == 1);
		return;
	}
	for (turns = 0; turns < TURNS_MAX && poll(&socket, 1, 0) == 0; turns++)
		peer->turn(peer->ctx);
	assert_true(turns < TURNS_MAX);
}

static ssize_t
send_some(struct peer *peer, const uint8_t *bytes, size_t size_bytes, const int *fds, unsigned int fds_count)
{
	union {
		char bytes[CMSG_SPACE(sizeof(int) * PEER_FDS_MAX)];
		struct cmsghdr align;
	} control;
	struct iovec iov = {.iov_base = (void *)bytes, .iov_len = size_bytes};
	struct msghdr header = {.msg_iov = &iov, .msg_iovlen = 1};

	if (fds_count > 0) {
		struct cmsghdr *rights;

		memset(&control, 0, sizeof(control));
		header.msg_control = control.bytes;
		header.msg_controllen = CMSG_SPACE(sizeof(int) * fds_count);
		rights = CMSG_FIRSTHDR(&header);
		rights->cmsg_level = SOL_SOCKET;
		rights->cmsg_type = SCM_RIGHTS;
		rights->cmsg_len = CMSG_LEN(sizeof(int) * fds_count);
		memcpy(CMSG_DATA(rights), fds, sizeof(int) * fds_count);
	}
	return sendmsg(peer->fd, &header, MSG_NOSIGNAL | MSG_DONTWAIT);
}

bool
peer_send(struct peer *peer, const void *bytes, size_t size_bytes, const int *fds, unsigned int fds_count)
{
	size_t sent_bytes = 0;

	while (sent_bytes < size_bytes) {
		ssize_t sent;

		wait_for(peer, POLLOUT);
		sent = send_some(peer, (const uint8_t *)bytes + sent_bytes, size_bytes - sent_bytes, fds, fds_count);
		if (sent < 0 && errno == EAGAIN)
			continue;
		if (sent < 0)
			return false;
		sent_bytes += (size_t)sent;
		fds_count = 0;
	}
	return true;
}

bool
peer_command(struct peer *peer, uint16_t id, uint16_t command, uint32_t flags, const void *payload,
	     size_t payload_bytes, const int *fds, unsigned int fds_count)
{
	uint8_t *bytes = malloc(16 + payload_bytes);
	uint32_t size_bytes = (uint32_t)(16 + payload_bytes);
	bool sent;

	assert_non_null(bytes);
	memset(bytes, 0, 16);
	memcpy(bytes, &id, 2);
	memcpy(bytes + 2, &command, 2);
	memcpy(bytes + 4, &size_bytes, 4);
	memcpy(bytes + 8, &flags, 4);
	if (payload_bytes > 0)
		memcpy(bytes + 16, payload, payload_bytes);
	sent = peer_send(peer, bytes, size_bytes, fds, fds_count);
	free(bytes);
	return sent;
}

static void
keep_fds(struct peer_msg *msg, struct msghdr *header)
{
	struct cmsghdr *control;

	for (control = CMSG_FIRSTHDR(header); control != NULL; control = CMSG_NXTHDR(header, control)) {
		size_t count = (control->cmsg_len - CMSG_LEN(0)) / sizeof(int);

		assert_true(msg->fds_count + count <= PEER_FDS_MAX);
		memcpy(&msg->fds[msg->fds_count], CMSG_DATA(control), count * sizeof(int));
		msg->fds_count += (unsigned int)count;
	}
}

static bool
receive_bytes(struct peer *peer, struct peer_msg *msg, uint32_t until_bytes)
{
	while (msg->size_bytes < until_bytes) {
		union {
			char bytes[CMSG_SPACE(sizeof(int) * PEER_FDS_MAX)];
			struct cmsghdr align;
		} control;
		struct iovec iov = {
			.iov_base = msg->bytes + msg->size_bytes,
			.iov_len = until_bytes - msg->size_bytes,
		};
		struct msghdr header = {
			.msg_iov = &iov,
			.msg_iovlen = 1,
			.msg_control = control.bytes,
			.msg_controllen = sizeof(control.bytes),
		};
		ssize_t got;

		wait_for(peer, POLLIN);
		got = recvmsg(peer->fd, &header, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
		if (got < 0 && errno == EAGAIN)
			continue;
		if (got <= 0)
			return false;
		keep_fds(msg, &header);
		msg->size_bytes += (uint32_t)got;
	}
	return true;
}

bool
peer_receive(struct peer *peer, struct peer_msg *msg)
{
	uint32_t size_bytes;

	msg->size_bytes = 0;
	msg->fds_count = 0;
	if (!receive_bytes(peer, msg, 16))
		return false;
	memcpy(&msg->id, msg->bytes, 2);
	memcpy(&msg->command, msg->bytes + 2, 2);
	memcpy(&size_bytes, msg->bytes + 4, 4);
	memcpy(&msg->flags, msg->bytes + 8, 4);
	memcpy(&msg->error, msg->bytes + 12, 4);
	assert_in_range(size_bytes, 16, sizeof(msg->bytes));
	msg->payload = msg->bytes + 16;
	msg->payload_bytes = size_bytes - 16;
	return receive_bytes(peer, msg, size_bytes);
}

void
peer_msg_close(struct peer_msg *msg)
{
	while (msg->fds_count > 0)
		close(msg->fds[--msg->fds_count]);
}

bool
peer_is_silent(struct peer *peer)
{
	struct pollfd socket = {.fd = peer->fd, .events = POLLIN};
	unsigned int turns;

	for (turns = 0; turns < 16 && peer->turn != NULL; turns++)
		peer->turn(peer->ctx);
	return poll(&socket, 1, 0) == 0;
}
