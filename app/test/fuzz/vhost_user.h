/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FUZZ_VHOST_USER_H
#define FUZZ_VHOST_USER_H

#include "fuzz.h"
#include "rp_vhu_msg.h"

/*
 * The grammar of both vhost-user targets. A message is a row of the table, with fields
 * that fit those of other messages and a descriptor of the kind that belongs to it, or
 * with any fields, a wrong size, and descriptors of any kind and number; each deviation
 * is asked for by one byte of the input, so that inputs get past the first check.
 */

#define FUZZ_QUEUES 4u
#define FUZZ_FDS_MAX 48u /* more than a receiver has room for */
#define FUZZ_PAYLOAD_MAX 1100u
#define FUZZ_HEADER_BYTES 12u

struct fuzz_message {
	uint32_t size_bytes; /* header included */
	unsigned int fds_count;
	int fds[FUZZ_FDS_MAX]; /* borrowed */
	uint8_t bytes[FUZZ_HEADER_BYTES + FUZZ_PAYLOAD_MAX];
};

/* Begin a message; its payload is `size_bytes` that follow the header. */
uint8_t *fuzz_message_begin(struct fuzz_message *message, uint32_t request, uint32_t flags, uint32_t size_bytes);

/* A request of the frontend. `features` and `protocol_features`: what a frontend that behaves would ack. */
void fuzz_message_request(struct fuzz_message *ret_message, struct fuzz_input *input, const struct rp_vhu_msg_row *row,
			  uint64_t features, uint64_t protocol_features);

/* A request on the backend channel. */
void fuzz_message_channel(struct fuzz_message *ret_message, struct fuzz_input *input, const struct rp_vhu_msg_row *row);

/* Bytes of the input, whatever they are. */
void fuzz_message_raw(struct fuzz_message *ret_message, struct fuzz_input *input);

/* Send it, sometimes its first byte or its first half only. */
void fuzz_message_send(const struct fuzz_message *message, struct fuzz_input *input, int peer);

#endif
