/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef PEER_H
#define PEER_H

#include "test_support.h"

/*
 * A peer made of bytes: it sends what a test wrote down and hands back what came,
 * knowing nothing of the library but the 16 bytes of a header.
 */

#define PEER_FDS_MAX 64

struct peer {
	int fd;
	void (*turn)(void *ctx); /* lets the other end work while we wait; NULL: it has a thread */
	void *ctx;
};

struct peer_msg {
	uint8_t bytes[1024 * 1024 + 8192]; /* header, then payload */
	uint32_t size_bytes;
	uint16_t id;
	uint16_t command;
	uint32_t flags;
	uint32_t error;
	uint8_t *payload;
	uint32_t payload_bytes;
	int fds[PEER_FDS_MAX];
	unsigned int fds_count;
};

/* Connect to a path. */
void peer_connect(struct peer *peer, const char *path);
void peer_close(struct peer *peer);

/* Send bytes as they are, with descriptors at the first one. False: the other end closed. */
bool peer_send(struct peer *peer, const void *bytes, size_t size_bytes, const int *fds, unsigned int fds_count);

/* Send a command with a header made for the payload. */
bool peer_command(struct peer *peer, uint16_t id, uint16_t command, uint32_t flags, const void *payload,
		  size_t payload_bytes, const int *fds, unsigned int fds_count);

/* One whole message. The previous one's descriptors must have been closed. False: the other end closed. */
bool peer_receive(struct peer *peer, struct peer_msg *msg);
void peer_msg_close(struct peer_msg *msg);

/* Nothing is there to be read, after the other end had its turns. */
bool peer_is_silent(struct peer *peer);

#endif
