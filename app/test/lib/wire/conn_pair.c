/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "conn_pair.h"
#include "rp_wire_fd.h"

static int
payload_bytes(const void *bytes, size_t *ret_bytes, struct rp_wire_why *why)
{
	struct header header;

	memcpy(&header, bytes, sizeof(header));
	if (header.magic != MAGIC)
		return rp_wire_why_set(why, -EPROTO, "header: magic: is 0x%x", header.magic);
	*ret_bytes = header.payload_bytes;
	return 0;
}

const struct rp_wire_framing conn_pair_framing = {
	.header_bytes = HEADER_BYTES,
	.payload_max_bytes = PAYLOAD_MAX_BYTES,
	.output_max_bytes = OUTPUT_MAX_BYTES,
	.fds_max = FDS_MAX,
	.payload_bytes = payload_bytes,
};

void
conn_pair_open(struct conn_pair *pair, const struct rp_wire_framing *rules)
{
	int fds[2];

	test_leaks_read(&pair->before);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	pair->peer = fds[1];
	assert_int_equal(rp_wire_conn_create(&fds[0], rules, &pair->conn), 0);
	assert_int_equal(fds[0], -1);
	assert_int_equal(fcntl(rp_wire_conn_fd(pair->conn), F_GETFL) & O_NONBLOCK, O_NONBLOCK);
}

int
conn_pair_setup(void **state)
{
	static struct conn_pair pair;

	conn_pair_open(&pair, &conn_pair_framing);
	*state = &pair;
	return 0;
}

int
conn_pair_teardown(void **state)
{
	struct conn_pair *pair = *state;

	pair->conn = rp_wire_conn_destroy(pair->conn);
	assert_null(pair->conn);
	rp_wire_fd_close(&pair->peer);
	test_leaks_assert_none(&pair->before);
	return 0;
}

int
conn_pair_eventfd(uint64_t value)
{
	int fd = eventfd((unsigned int)value, EFD_CLOEXEC | EFD_NONBLOCK);

	assert_true(fd >= 0);
	return fd;
}

uint64_t
conn_pair_eventfd_value(int fd)
{
	uint64_t value = 0;

	assert_int_equal(read(fd, &value, sizeof(value)), sizeof(value));
	return value;
}

void
conn_peer_write(int peer, const void *bytes, size_t size_bytes, const int *fds, unsigned int fds_count)
{
	union {
		char bytes[CMSG_SPACE(sizeof(int) * 253)];
		struct cmsghdr align;
	} control = {0};
	struct iovec iov = {.iov_base = (void *)(uintptr_t)bytes, .iov_len = size_bytes};
	struct msghdr header = {.msg_iov = &iov, .msg_iovlen = 1};

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
	assert_int_equal(sendmsg(peer, &header, MSG_NOSIGNAL), size_bytes);
}

size_t
conn_make_message(uint8_t *bytes, uint32_t payload_size, uint8_t fill)
{
	struct header header = {.magic = MAGIC, .payload_bytes = payload_size};

	memcpy(bytes, &header, sizeof(header));
	memset(bytes + sizeof(header), fill, payload_size);
	return sizeof(header) + payload_size;
}

void
conn_peer_message(int peer, uint32_t payload_size, uint8_t fill, const int *fds, unsigned int fds_count)
{
	uint8_t bytes[HEADER_BYTES + PAYLOAD_MAX_BYTES];
	size_t size_bytes = conn_make_message(bytes, payload_size, fill);

	conn_peer_write(peer, bytes, size_bytes, fds, fds_count);
}

void
conn_peer_message_fds(int peer, uint32_t payload_size, uint8_t fill, unsigned int count)
{
	int fds[253];
	unsigned int i;

	for (i = 0; i < count; i++)
		fds[i] = conn_pair_eventfd(fill);
	conn_peer_message(peer, payload_size, fill, fds, count);
	rp_wire_fd_close_all(fds, count);
}

struct rp_wire_msg *
conn_receive(struct rp_wire_conn *conn)
{
	struct rp_wire_msg *msg = NULL;
	struct rp_wire_why why = {0};

	if (rp_wire_conn_receive(conn, &msg, &why) != 0)
		fail_msg("receive: %d %s", why.error, why.text);
	return msg;
}

void
conn_assert_refused(struct rp_wire_conn *conn, int error, const char *words)
{
	struct rp_wire_msg *msg = NULL;
	struct rp_wire_why why = {0};

	assert_int_equal(rp_wire_conn_receive(conn, &msg, &why), error);
	assert_null(msg);
	assert_int_equal(why.error, error);
	if (strstr(why.text, words) == NULL)
		fail_msg("'%s' does not say '%s'", why.text, words);
	assert_int_equal(rp_wire_conn_receive(conn, &msg, NULL), error);
}

void
conn_assert_message(const struct rp_wire_msg *msg, uint32_t payload_size, uint8_t fill, unsigned int fds_count)
{
	uint8_t bytes[HEADER_BYTES + PAYLOAD_MAX_BYTES];

	assert_int_equal(msg->size_bytes, conn_make_message(bytes, payload_size, fill));
	assert_memory_equal(msg->bytes, bytes, msg->size_bytes);
	assert_int_equal(msg->fds_count, fds_count);
}
