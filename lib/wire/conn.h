/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef CONN_H
#define CONN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "rp_wire_conn.h"

/*
 * What the parts of a connection share:
 *
 *   conn.c        life, receiving
 *   conn_ahead.c  bytes that were read beyond a message, and sleeping in the read
 *   conn_send.c   sending
 */

struct rp_wire_output;

struct rp_wire_conn {
	int fd;
	const struct rp_wire_framing *framing;
	short watched_events; /* what an epoll looks for; 0: none does */

	struct rp_wire_msg msg;
	size_t have_bytes; /* of msg.bytes */
	size_t want_bytes; /* header_bytes, then the whole message */
	size_t room_bytes; /* allocated at msg.bytes */
	bool header_done;
	size_t total_bytes; /* of the message, while `asks` */
	bool asks; /* its head first, and then the placer */
	bool placed; /* the end of the payload goes where the placer says */
	bool msg_handed_out;
	int failed; /* -EPROTO or -ENOTCONN: bytes or descriptors are lost, no message can follow */

	/* conn_ahead.c */
	uint8_t *ahead; /* RP_WIRE_AHEAD_ROOM_BYTES; NULL: nothing is read ahead */
	size_t ahead_first; /* in it: of what was read and belongs behind msg's have_bytes */
	size_t ahead_bytes;
	size_t expected_bytes; /* of the payload that is waited for; 0: nobody said */
	bool in_a_row; /* a small message was taken: there may be more like it */
	unsigned int peeks_skipped; /* looking for more of them is not worth it that often */
	bool waits; /* the next read may sleep */
	unsigned int own_fds_count; /* of msg.fds: sure to be this message's */
	int later_fds[RP_WIRE_FDS_MAX]; /* of the last message that begins in `ahead` */
	unsigned int later_fds_count;

	/* conn_send.c */
	STAILQ_HEAD(rp_wire_outputs, rp_wire_output) outputs;
	size_t output_bytes;
	unsigned int output_fds_count;
	bool corked;
	bool later; /* something of what is gathered waits for whatever is sent next */
	unsigned int cork_messages_max; /* while corked: so many leave together */
	uint8_t *gathered; /* what leaves together; NULL: never corked */
	size_t gathered_bytes;
	unsigned int gathered_count;

	const struct rp_wire_placer *placer; /* NULL: none */
	void *placer_ctx;
};

#define RP_WIRE_AHEAD_ROOM_BYTES 2048u

/* Into these parts, with descriptors. have_bytes counts them. @return 0, -EAGAIN, -ENOTCONN, -EPROTO. */
int rp_wire_conn_read_into(struct rp_wire_conn *conn, struct iovec *iov, unsigned int iov_count,
			   struct rp_wire_why *why);

/* Into a header that is not whole, and what may be read behind it. @return as above. */
int rp_wire_ahead_read(struct rp_wire_conn *conn, struct rp_wire_why *why);
/* Take up to so many of the bytes that were read ahead. @return how many. */
size_t rp_wire_ahead_take(struct rp_wire_conn *conn, uint8_t *ret_bytes, size_t bytes_max);
/* The header is whole: descriptors that came with a later message's bytes are not this one's. */
void rp_wire_ahead_sort_fds(struct rp_wire_conn *conn, size_t payload_bytes);
/* A message begins: with the descriptors that came with its bytes. */
void rp_wire_ahead_begin(struct rp_wire_conn *conn);

/* Sending's part of the end. */
void rp_wire_outputs_free(struct rp_wire_conn *conn);

#endif
