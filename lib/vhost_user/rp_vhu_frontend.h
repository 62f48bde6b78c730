/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef RP_VHU_FRONTEND_H
#define RP_VHU_FRONTEND_H

#include <stdbool.h>
#include <stdint.h>

#include "rp_vhu_backend.h"
#include "rp_vhu_proto.h"
#include "rp_wire_why.h"

/**
 * @file
 * The frontend's (the VMM's) end of one vhost-user connection.
 *
 * Theory of operation: rp_vhu_frontend_submit() sends one request and registers
 * what to call with its answer; answers come in order. The calls named after a
 * message wrap it: they send, then serve the connection until the answer is
 * there or the time limit passes. What the backend asks on its own channel is
 * validated before anything is mapped; a notify area is replaced atomically: the
 * old mapping stays until the new one has proved good.
 *
 * Threads: one thread. Callbacks run inside _process() and inside waiting calls.
 */

struct rp_vhu_frontend;

/** A notify area that was mapped into this process. */
struct rp_vhu_notify_map {
	void *address; /**< where a store rings the doorbell; NULL: none */
	uint64_t size_bytes;
};

struct rp_vhu_frontend_ops {
	/**
	 * The notify area of a queue changed: mapped anew, or gone (map->address NULL).
	 * The old mapping is unmapped after the return.
	 * @return 0 or a negative errno: the change is refused, the old one stays.
	 */
	int (*notify_area)(void *ctx, unsigned int queue, const struct rp_vhu_notify_map *map, struct rp_wire_why *why);
	void (*config_changed)(void *ctx);
	/** A request of the backend was refused; one line. */
	void (*refused)(void *ctx, const struct rp_wire_why *why);
	/** The backend left; outstanding requests were answered with -ENOTCONN. */
	void (*disconnected)(void *ctx, const struct rp_wire_why *why);
};

struct rp_vhu_frontend_config {
	enum rp_vhu_profile profile;
	uint64_t protocol_features; /**< what to ack of what is offered */
	uint16_t queues_max;
	uint32_t timeout_ms; /**< of one waiting call; 0: 5000 */
	uint64_t notify_slot_bytes; /**< the only legal size of a notify area; 0: host page size */
	/** A waiting call does not read the backend channel, as QEMU does. */
	bool deaf_while_waiting;
	/** Ask for an answer to every request that may have one (as QEMU 11 does). */
	bool need_reply_always;
};

/** What an answer brings. @param error 0 or a negative errno; then payload is NULL. */
typedef void (*rp_vhu_frontend_done)(void *done_ctx, int error, const void *payload, uint32_t size_bytes, int *fds,
				     unsigned int fds_count);

/** @param fd a connected socket, taken on success. @return 0, -EINVAL, -ENOMEM. */
int rp_vhu_frontend_create(int *fd, const struct rp_vhu_frontend_config *config, const struct rp_vhu_frontend_ops *ops,
			   void *ctx, struct rp_vhu_frontend **ret_frontend);

/** Unmap notify areas, close everything. NULL is allowed. @return NULL. */
struct rp_vhu_frontend *rp_vhu_frontend_destroy(struct rp_vhu_frontend *frontend);

int rp_vhu_frontend_fd(const struct rp_vhu_frontend *frontend); /**< an epoll, borrowed */
int rp_vhu_frontend_process(struct rp_vhu_frontend *frontend); /**< @return 0 or -ENOTCONN */

/**
 * Send one request without waiting.
 *
 * @param done called once with the answer if the message has one (a reply, or an
 *        acknowledgement because need_reply was asked and negotiated); else called
 *        at once with error 0. NULL is allowed.
 * @param fds borrowed.
 * @return 0, -ENOTSUP (not negotiated), -EINVAL (breaks the message's row), -ENOSPC, -ENOTCONN.
 */
int rp_vhu_frontend_submit(struct rp_vhu_frontend *frontend, uint32_t request, const void *payload,
			   uint32_t size_bytes, const int *fds, unsigned int fds_count, bool need_reply,
			   rp_vhu_frontend_done done, void *done_ctx, struct rp_wire_why *why);

/**
 * GET_FEATURES, protocol features, GET_QUEUE_NUM (with MQ), the backend channel
 * (with BACKEND_REQ), SET_OWNER: everything before SET_FEATURES, in QEMU's order.
 *
 * All waiting calls below return 0, -ETIMEDOUT, -ENOTCONN, -EREMOTEIO (refused by
 * the backend), -ENOTSUP, or -EBADMSG (an answer that breaks its rule).
 */
int rp_vhu_frontend_negotiate(struct rp_vhu_frontend *frontend, struct rp_wire_why *why);

uint64_t rp_vhu_frontend_features_offered(const struct rp_vhu_frontend *frontend);
uint64_t rp_vhu_frontend_protocol_features(const struct rp_vhu_frontend *frontend); /**< acked */
uint16_t rp_vhu_frontend_queues_offered(const struct rp_vhu_frontend *frontend); /**< GET_QUEUE_NUM, 2 without MQ */

int rp_vhu_frontend_set_features(struct rp_vhu_frontend *frontend, uint64_t features, struct rp_wire_why *why);
/** @param regions fds are borrowed. */
int rp_vhu_frontend_set_mem_table(struct rp_vhu_frontend *frontend, const struct rp_vhu_region *regions,
				  unsigned int count, struct rp_wire_why *why);
int rp_vhu_frontend_add_mem_reg(struct rp_vhu_frontend *frontend, const struct rp_vhu_region *region,
				struct rp_wire_why *why);
int rp_vhu_frontend_rem_mem_reg(struct rp_vhu_frontend *frontend, const struct rp_vhu_region *region,
				struct rp_wire_why *why);

/** A ring to start: addresses are this process's own (uva of the regions). */
struct rp_vhu_frontend_ring {
	uint16_t num;
	uint32_t base;
	uint64_t desc_uva;
	uint64_t avail_uva;
	uint64_t used_uva;
	int kick_fd; /**< borrowed; -1: none */
	int call_fd; /**< borrowed; -1: none */
};

/** SET_VRING_NUM, BASE, ADDR, KICK, CALL: QEMU's order. */
int rp_vhu_frontend_ring_start(struct rp_vhu_frontend *frontend, unsigned int queue,
			       const struct rp_vhu_frontend_ring *ring, struct rp_wire_why *why);
/** The notify area is dropped first, then GET_VRING_BASE. */
int rp_vhu_frontend_ring_stop(struct rp_vhu_frontend *frontend, unsigned int queue, uint32_t *ret_base,
			      struct rp_wire_why *why);
int rp_vhu_frontend_ring_enable(struct rp_vhu_frontend *frontend, unsigned int queue, bool enabled,
				struct rp_wire_why *why);
int rp_vhu_frontend_ring_call(struct rp_vhu_frontend *frontend, unsigned int queue, int call_fd,
			      struct rp_wire_why *why);
int rp_vhu_frontend_get_config(struct rp_vhu_frontend *frontend, uint32_t offset_bytes, uint32_t size_bytes,
			       uint8_t *ret_bytes, struct rp_wire_why *why);
int rp_vhu_frontend_reset_device(struct rp_vhu_frontend *frontend, struct rp_wire_why *why);

/** The doorbell of a queue; address is NULL when none is mapped (kick by eventfd). */
struct rp_vhu_notify_map rp_vhu_frontend_notify_map(const struct rp_vhu_frontend *frontend, unsigned int queue);

/** Ring the queue's doorbell if one is mapped (16-bit store of the queue index), else write kick_fd. @return 1 doorbell, 0 eventfd. */
int rp_vhu_frontend_kick(struct rp_vhu_frontend *frontend, unsigned int queue);

#endif
