/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include "peer.h"
#include "rp_wire_fd.h"

#define HEADER_BYTES 12

void
peer_pair(int *ret_ours, int *ret_theirs)
{
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair), 0);
	*ret_ours = pair[0];
	*ret_theirs = pair[1];
}

bool
peer_send_bytes(int peer, const void *bytes, size_t size_bytes, const int *fds, unsigned int fds_count)
{
	union {
		char bytes[CMSG_SPACE(sizeof(int) * PEER_FDS_MAX)];
		struct cmsghdr align;
	} control = {0};
	struct iovec iov = {.iov_base = (void *)bytes, .iov_len = size_bytes};
	struct msghdr header = {.msg_iov = &iov, .msg_iovlen = 1};
	ssize_t sent;

	if (fds_count > 0) {
		struct cmsghdr *rights;

		header.msg_control = control.bytes;
		header.msg_controllen = CMSG_SPACE(sizeof(int) * fds_count);
		rights = CMSG_FIRSTHDR(&header);
		rights->cmsg_level = SOL_SOCKET;
		rights->cmsg_type = SCM_RIGHTS;
		rights->cmsg_len = CMSG_LEN(sizeof(int) * fds_count);
		memcpy(CMSG_DATA(rights), fds, sizeof(int) * fds_count);
	}
	sent = sendmsg(peer, &header, MSG_NOSIGNAL | MSG_DONTWAIT);
	if (sent < 0 && (errno == EPIPE || errno == ECONNRESET))
		return false;
	assert_int_equal(sent, size_bytes);
	return true;
}

bool
peer_send(int peer, uint32_t id, uint32_t flags, const void *payload, uint32_t size_bytes, const int *fds,
	  unsigned int fds_count)
{
	uint8_t bytes[HEADER_BYTES + PEER_PAYLOAD_MAX];

	assert_true(size_bytes <= PEER_PAYLOAD_MAX);
	memcpy(bytes, &id, sizeof(id));
	memcpy(bytes + 4, &flags, sizeof(flags));
	memcpy(bytes + 8, &size_bytes, sizeof(size_bytes));
	if (size_bytes > 0)
		memcpy(bytes + HEADER_BYTES, payload, size_bytes);
	return peer_send_bytes(peer, bytes, HEADER_BYTES + size_bytes, fds, fds_count);
}

/* Digits as printed are a big-endian field; a little-endian one has its bytes the other way round. */
static void
turn_field(uint8_t *bytes, size_t size_bytes)
{
	size_t i;

	if (__BYTE_ORDER__ == __ORDER_BIG_ENDIAN__)
		return;
	for (i = 0; i < size_bytes / 2; i++) {
		uint8_t byte = bytes[i];

		bytes[i] = bytes[size_bytes - 1 - i];
		bytes[size_bytes - 1 - i] = byte;
	}
}

size_t
peer_fields(const char *text, uint8_t *ret_bytes, size_t room_bytes)
{
	size_t count = 0;

	while (*text != '\0') {
		size_t digits = strspn(text, "0123456789abcdef"), i;

		assert_true((digits == 2 || digits == 4 || digits == 8 || digits == 16) &&
			    count + digits / 2 <= room_bytes);
		for (i = 0; i < digits / 2; i++)
			assert_int_equal(sscanf(text + 2 * i, "%2hhx", &ret_bytes[count + i]), 1);
		turn_field(ret_bytes + count, digits / 2);
		count += digits / 2;
		text += digits;
		text += strspn(text, " ");
	}
	return count;
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
receive_exactly(int peer, void *bytes, size_t size_bytes, struct peer_msg *msg)
{
	union {
		char bytes[CMSG_SPACE(sizeof(int) * PEER_FDS_MAX)];
		struct cmsghdr align;
	} control;
	struct iovec iov = {.iov_base = bytes, .iov_len = size_bytes};
	struct msghdr header = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.bytes,
		.msg_controllen = sizeof(control.bytes),
	};
	ssize_t got = recvmsg(peer, &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);

	if (got <= 0)
		return false;
	keep_fds(msg, &header);
	assert_int_equal(got, size_bytes);
	return true;
}

bool
peer_receive(int peer, struct peer_msg *ret_msg)
{
	uint8_t header[HEADER_BYTES];

	ret_msg->fds_count = 0;
	if (!receive_exactly(peer, header, sizeof(header), ret_msg))
		return false;
	memcpy(&ret_msg->id, header, sizeof(ret_msg->id));
	memcpy(&ret_msg->flags, header + 4, sizeof(ret_msg->flags));
	memcpy(&ret_msg->size_bytes, header + 8, sizeof(ret_msg->size_bytes));
	assert_true(ret_msg->size_bytes <= sizeof(ret_msg->payload));
	if (ret_msg->size_bytes > 0)
		assert_true(receive_exactly(peer, ret_msg->payload, ret_msg->size_bytes, ret_msg));
	return true;
}

void
peer_msg_close(struct peer_msg *msg)
{
	rp_wire_fd_close_all(msg->fds, msg->fds_count);
	msg->fds_count = 0;
}

uint64_t
peer_msg_u64(const struct peer_msg *msg)
{
	uint64_t value;

	assert_int_equal(msg->size_bytes, sizeof(value));
	memcpy(&value, msg->payload, sizeof(value));
	return value;
}

bool
peer_silent(int peer)
{
	char byte;

	return recv(peer, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 && errno == EAGAIN;
}

bool
peer_closed(int peer)
{
	char byte;
	ssize_t got = recv(peer, &byte, 1, MSG_PEEK | MSG_DONTWAIT);

	return got == 0 || (got < 0 && errno != EAGAIN);
}

unsigned int
peer_drain(int peer)
{
	struct peer_msg msg;
	unsigned int count = 0;

	while (peer_receive(peer, &msg)) {
		peer_msg_close(&msg);
		count++;
	}
	return count;
}

int
peer_eventfd(void)
{
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

	assert_true(fd >= 0);
	return fd;
}

bool
peer_readable(int fd)
{
	struct pollfd wait = {.fd = fd, .events = POLLIN};

	return poll(&wait, 1, 0) == 1;
}
