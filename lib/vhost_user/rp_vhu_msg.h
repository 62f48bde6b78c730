/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef RP_VHU_MSG_H
#define RP_VHU_MSG_H

#include <stdbool.h>
#include <stdint.h>

#include "rp_vhu_proto.h"
#include "rp_wire_conn.h"
#include "rp_wire_why.h"

/**
 * @file
 * The message table: what is uniform about every vhost-user message, one row
 * each. Both ends, the tests' hostile peers and the reference page in
 * doc/protocol read it.
 *
 * Threads: constant data; any thread.
 */

/** What answers a message. */
enum rp_vhu_reply {
	RP_VHU_REPLY_ACK, /**< a u64, 0 or not, if NEED_REPLY was set and REPLY_ACK negotiated; else nothing */
	RP_VHU_REPLY_PAYLOAD, /**< a payload of its own, always */
	/**
	 * A u64, 0 or not, always. Some backends answer SET_LOG_BASE with no payload
	 * at all when they have done it: a frontend takes that for 0.
	 */
	RP_VHU_REPLY_STATUS,
};

/**
 * One message. There is no column of legal states: which state matters is that of
 * one ring, which only the payload names, and in nearly all cases the answer
 * depends on values, too (a started ring may be told its own size and addresses
 * again, features may be repeated). The handlers ask; a test holds the table of
 * what a running ring allows.
 */
struct rp_vhu_msg_row {
	uint32_t id;
	const char *name; /**< as in the specification */
	uint32_t payload_min_bytes;
	uint32_t payload_max_bytes;
	unsigned int fds_min;
	unsigned int fds_max;
	enum rp_vhu_reply reply;
	int protocol_feature_bit; /**< that must be negotiated; -1: none */
	bool implemented; /**< else refused by name */
	/**
	 * Rules that need more than one field. Pure.
	 * @return 0, or -EBADMSG / -EMSGSIZE with the reason.
	 */
	int (*check)(const void *payload, uint32_t size_bytes, unsigned int fds_count, struct rp_wire_why *why);
};

/** Requests of the frontend; rp_vhu_msg_rows_count rows in the order of their ids. */
extern const struct rp_vhu_msg_row rp_vhu_msg_rows[];
extern const unsigned int rp_vhu_msg_rows_count;

/** Requests of the backend, on the backend channel; what a profile adds or changes is in rp_vhu_profile.h. */
extern const struct rp_vhu_msg_row rp_vhu_msg_backend_rows[];
extern const unsigned int rp_vhu_msg_backend_rows_count;

/**
 * The messages of the VFIO extension as profiles extended and vfio2018 have them
 * (enum rp_vhu_msg_vfio), with their usual numbers.
 */
extern const struct rp_vhu_msg_row rp_vhu_msg_vfio_rows[];

/** Index into rp_vhu_msg_vfio_rows. */
enum rp_vhu_msg_vfio {
	RP_VHU_MSG_VFIO_FILE,
	RP_VHU_MSG_NOTIFY_AREA,
	RP_VHU_MSG_2018_VFIO_GROUP,
	RP_VHU_MSG_2018_NOTIFY_AREA,
	RP_VHU_MSG_VFIO_ROWS_COUNT,
};

/**
 * Protocol features, as a mask, that this library implements at either end, the VFIO
 * extension's bit aside: nothing else is offered or acked.
 */
extern const uint64_t rp_vhu_msg_protocol_features;

/** @return the row of a frontend's request, or NULL: no such message. */
const struct rp_vhu_msg_row *rp_vhu_msg_find(uint32_t request);

/** @return the row of a backend's request in profile standard, or NULL: no such message. */
const struct rp_vhu_msg_row *rp_vhu_msg_find_backend(uint32_t request);

/**
 * Everything that the table says about one received message.
 *
 * @param row NULL: unknown.
 * @param protocol_features as negotiated.
 * @return 0, -ENOTSUP (unknown, not implemented, not negotiated), -EMSGSIZE
 *         (payload), -EBADMSG (descriptors, cross-field rule); why names which.
 */
int rp_vhu_msg_check(const struct rp_vhu_msg_row *row, uint32_t request, const void *payload, uint32_t size_bytes,
		     unsigned int fds_count, uint64_t protocol_features, struct rp_wire_why *why);

/** Frames of both channels, for lib/wire. */
extern const struct rp_wire_framing rp_vhu_msg_framing;
/** The same, for who serves a frontend's requests: they come many in a row. */
extern const struct rp_wire_framing rp_vhu_request_framing;

/**
 * Send one message.
 *
 * @param flags without the version.
 * @param payload borrowed; NULL when size_bytes is 0.
 * @param fds borrowed.
 * @return as rp_wire_conn_send().
 */
int rp_vhu_msg_send(struct rp_wire_conn *conn, uint32_t request, uint32_t flags, const void *payload,
		    uint32_t size_bytes, const int *fds, unsigned int fds_count);

#endif
