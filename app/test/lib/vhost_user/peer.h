/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef PEER_H
#define PEER_H

#include "rp_vhu_proto.h"
#include "test_support.h"

/*
 * A bare socket that speaks vhost-user, or lies. It shares nothing with the
 * library but the numbers: headers are made here, byte by byte.
 */

#define PEER_PAYLOAD_MAX 8192
#define PEER_FDS_MAX 32

struct peer_msg {
	uint32_t id;
	uint32_t flags;
	uint32_t size_bytes;
	uint8_t payload[PEER_PAYLOAD_MAX];
	unsigned int fds_count;
	int fds[PEER_FDS_MAX];
};

void peer_pair(int *ret_ours, int *ret_theirs);

/* False when the other side has closed. Waits for nothing: a full socket fails the test. */
bool peer_send_bytes(int peer, const void *bytes, size_t size_bytes, const int *fds, unsigned int fds_count);
bool peer_send(int peer, uint32_t id, uint32_t flags, const void *payload, uint32_t size_bytes, const int *fds,
	       unsigned int fds_count);

/*
 * A message as fields, in hexadecimal digits: 4, 8 or 16 of them are one number in
 * host order, as the specification has it, so that one text is a vector of bytes
 * for either byte order; 2 are a byte. "00000001 00ab" is 01 00 00 00 ab 00 on a
 * little-endian machine, and 00 00 00 01 00 ab on another. How many bytes.
 */
size_t peer_fields(const char *text, uint8_t *ret_bytes, size_t room_bytes);

/* One whole message that is there already; false when there is none, or the other side has closed. */
bool peer_receive(int peer, struct peer_msg *ret_msg);
void peer_msg_close(struct peer_msg *msg);
uint64_t peer_msg_u64(const struct peer_msg *msg);

/* Nothing to read and not closed. */
bool peer_silent(int peer);
bool peer_closed(int peer);

/* Messages that are there, all dropped. */
unsigned int peer_drain(int peer);

int peer_eventfd(void);
/* Readable now. */
bool peer_readable(int fd);

#endif
