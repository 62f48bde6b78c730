/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef CONN_PAIR_H
#define CONN_PAIR_H

#include "rp_wire_conn.h"
#include "test_support.h"

/* A protocol of its own, and a connection whose peer is a bare socket that can lie. */

#define MAGIC 0x52505731u
#define HEADER_BYTES 8u
#define PAYLOAD_MAX_BYTES 4096u
#define OUTPUT_MAX_BYTES 65536u
#define FDS_MAX 4u

struct header {
	uint32_t magic;
	uint32_t payload_bytes;
};

extern const struct rp_wire_framing conn_pair_framing;

struct conn_pair {
	struct test_leaks before;
	struct rp_wire_conn *conn;
	int peer;
};

#define WITH_PAIR(test) cmocka_unit_test_setup_teardown(test, conn_pair_setup, conn_pair_teardown)

/* cmocka's set-up and tear-down; the latter fails when anything leaked since the former. */
int conn_pair_setup(void **state);
int conn_pair_teardown(void **state);

/* For other rules than conn_pair_framing's: after a tear-down. */
void conn_pair_open(struct conn_pair *pair, const struct rp_wire_framing *rules);

/* An event descriptor says which one it is by what is read from it. */
int conn_pair_eventfd(uint64_t value);
uint64_t conn_pair_eventfd_value(int fd);

/* A whole message; returns its size. */
size_t conn_make_message(uint8_t *bytes, uint32_t payload_size, uint8_t fill);

/* Write bytes with descriptors, as a peer would or would not. The descriptors stay the caller's. */
void conn_peer_write(int peer, const void *bytes, size_t size_bytes, const int *fds, unsigned int fds_count);
void conn_peer_message(int peer, uint32_t payload_size, uint8_t fill, const int *fds, unsigned int fds_count);

/* A message with `count` event descriptors, each worth `fill`, that are the peer's own. */
void conn_peer_message_fds(int peer, uint32_t payload_size, uint8_t fill, unsigned int count);

/* Receive what must be there. */
struct rp_wire_msg *conn_receive(struct rp_wire_conn *conn);
void conn_assert_message(const struct rp_wire_msg *msg, uint32_t payload_size, uint8_t fill, unsigned int fds_count);

/* The refusal, its words, and that it is final. */
void conn_assert_refused(struct rp_wire_conn *conn, int error, const char *words);

#endif
