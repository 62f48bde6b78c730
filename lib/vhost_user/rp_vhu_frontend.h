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
 * Ownership: `int *fd` is taken on success, `int fd` and descriptors in structures
 * are borrowed (they are duplicated by the kernel when sent). Descriptors that
 * the backend sends are closed when the message was handled; a mapping outlives
 * them.
 *
 * Errors: see rp_wire_why.h; every function that takes `why` fills it on failure,
 * NULL is allowed.
 *
 * Threads: one thread. Callbacks run inside _process() and inside waiting calls;
 * they may submit, but neither wait (-EBUSY) nor destroy.
 *
 * Specification: vhost-user.rst, "Front-end message types", "Back-end message types".
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
	 * @return 0 or a negative errno: the new one is refused, the old one stays.
	 *         When it is gone, the return is ignored.
	 */
	int (*notify_area)(void *ctx, unsigned int queue, const struct rp_vhu_notify_map *map, struct rp_wire_why *why);
	/** Configuration space changed: ask for it again, later (a callback cannot wait). */
	void (*config_changed)(void *ctx);
	/** A request of the backend was refused; one line. */
	void (*refused)(void *ctx, const struct rp_wire_why *why);
	/** The backend left; outstanding requests were answered with -ENOTCONN. */
	void (*disconnected)(void *ctx, const struct rp_wire_why *why);
};

struct rp_vhu_frontend_config {
	enum rp_vhu_profile profile;
	/** What to ack of what is offered; bits that this library does not implement are left out. */
	uint64_t protocol_features;
	uint16_t queues_max; /**< rings (not pairs), 1 to RP_VHU_QUEUES_MAX */
	uint32_t timeout_ms; /**< of one waiting call, at most INT_MAX; 0: 5000 */
	/** The only legal size of a notify area; 0: host page size. No multiple of it: every area is refused. */
	uint64_t notify_slot_bytes;
	/** A waiting call does not read the backend channel, as QEMU does. */
	bool deaf_while_waiting;
	/** Ask for an answer to every request that may have one (as QEMU 11 does). */
	bool need_reply_always;
};

/**
 * What an answer brings. Called once for each request that was submitted.
 *
 * @param error 0, -EREMOTEIO (the backend refused: a non-zero acknowledgement, an
 *        empty payload) or -ENOTCONN (the connection ended first).
 * @param payload borrowed until the return; NULL when error is not 0.
 * @param fds of the answer; take with rp_wire_fd_take(), what is left is closed.
 */
typedef void (*rp_vhu_frontend_done)(void *done_ctx, int error, const void *payload, uint32_t size_bytes, int *fds,
				     unsigned int fds_count);

/**
 * Make the frontend's end of a connection. Nothing is sent yet.
 *
 * @param fd a connected socket, taken on success.
 * @param config copied.
 * @param ops must outlive the frontend; NULL: notify areas are mapped, nobody is told.
 * @return 0, -EINVAL (queues_max or timeout_ms, a bad descriptor), -ENOTSUP (profile), -ENOMEM.
 */
int rp_vhu_frontend_create(int *fd, const struct rp_vhu_frontend_config *config, const struct rp_vhu_frontend_ops *ops,
			   void *ctx, struct rp_vhu_frontend **ret_frontend);

/**
 * Unmap notify areas (ops->notify_area says so), answer what is outstanding with
 * -ENOTCONN, close everything. Not from a callback. NULL is allowed.
 *
 * @return NULL.
 */
struct rp_vhu_frontend *rp_vhu_frontend_destroy(struct rp_vhu_frontend *frontend);

/** One descriptor (an epoll) to poll for POLLIN. Borrowed. @return the descriptor. */
int rp_vhu_frontend_fd(const struct rp_vhu_frontend *frontend);

/**
 * Serve what is there: answers, then up to 64 requests of the backend. Never waits.
 *
 * @return 0, -ENOTCONN (the connection has ended; ops->disconnected said why),
 *         -EBUSY (called from a callback; nothing was done).
 */
int rp_vhu_frontend_process(struct rp_vhu_frontend *frontend);

/**
 * Send one request without waiting.
 *
 * @param request an enum rp_vhu_request.
 * @param payload borrowed; checked against the message's row.
 * @param fds borrowed.
 * @param need_reply ask for an acknowledgement; ignored unless REPLY_ACK was negotiated.
 * @param done called once with the answer if the message has one (a reply, or an
 *        acknowledgement because need_reply was asked and negotiated); else called
 *        at once with error 0. NULL is allowed. Not called when this fails.
 * @return 0, -ENOTSUP (unknown or not negotiated), -EINVAL (breaks the message's
 *         row, or a bad descriptor), -ENOSPC (64 requests wait for an answer, or
 *         the backend does not read), -ENOTCONN.
 */
int rp_vhu_frontend_submit(struct rp_vhu_frontend *frontend, uint32_t request, const void *payload, uint32_t size_bytes,
			   const int *fds, unsigned int fds_count, bool need_reply, rp_vhu_frontend_done done,
			   void *done_ctx, struct rp_wire_why *why);

/*
 * Waiting calls. Each returns, unless it says more:
 *
 *   0            the backend has done it: it acknowledged, or (without REPLY_ACK)
 *                it answered a GET_FEATURES sent behind
 *   -EREMOTEIO   refused by the backend
 *   -ETIMEDOUT   no answer within timeout_ms; the connection was closed
 *   -ENOTCONN    the connection has ended
 *   -ENOTSUP     not negotiated; nothing was sent
 *   -EINVAL      an argument is out of range; nothing was sent
 *   -EBADMSG     the answer breaks its rule
 *   -ENOSPC      the backend does not read
 *   -EBUSY       called from a callback; nothing was sent
 *
 * Messages that are acknowledged only with need_reply_always (SET_VRING_NUM,
 * BASE, ADDR, SET_PROTOCOL_FEATURES) are otherwise sent and not waited for.
 */

/**
 * GET_FEATURES, protocol features, GET_QUEUE_NUM (with MQ), the backend channel
 * (with BACKEND_REQ), SET_OWNER: everything before SET_FEATURES, in QEMU's order.
 * A second time keeps the channel.
 *
 * @return as every waiting call; -EMFILE and the like from socketpair(2).
 */
int rp_vhu_frontend_negotiate(struct rp_vhu_frontend *frontend, struct rp_wire_why *why);

/** @return the device features that the backend offered; 0 before rp_vhu_frontend_negotiate(). */
uint64_t rp_vhu_frontend_features_offered(const struct rp_vhu_frontend *frontend);

/** @return the protocol features that were acked; 0 before rp_vhu_frontend_negotiate(). */
uint64_t rp_vhu_frontend_protocol_features(const struct rp_vhu_frontend *frontend);

/**
 * @return how many queues the backend has: what it answered to GET_QUEUE_NUM, 1 without
 *         MQ; pairs of rings if it is a net device, rings if it is another.
 */
uint16_t rp_vhu_frontend_queues_offered(const struct rp_vhu_frontend *frontend);

/** SET_FEATURES. @param features device features, PROTOCOL_FEATURES included. @return as every waiting call. */
int rp_vhu_frontend_set_features(struct rp_vhu_frontend *frontend, uint64_t features, struct rp_wire_why *why);

/**
 * SET_MEM_TABLE: all the memory there is.
 *
 * @param regions borrowed, and so are their descriptors.
 * @param count 1 to RP_VHU_REGIONS_MAX.
 * @return as every waiting call.
 */
int rp_vhu_frontend_set_mem_table(struct rp_vhu_frontend *frontend, const struct rp_vhu_region *regions,
				  unsigned int count, struct rp_wire_why *why);

/** ADD_MEM_REG: one region more. @param region borrowed. @return as every waiting call. */
int rp_vhu_frontend_add_mem_reg(struct rp_vhu_frontend *frontend, const struct rp_vhu_region *region,
				struct rp_wire_why *why);

/**
 * REM_MEM_REG: the region with this gpa, uva and size goes.
 *
 * @param region its fd is not used.
 * @return as every waiting call.
 */
int rp_vhu_frontend_rem_mem_reg(struct rp_vhu_frontend *frontend, const struct rp_vhu_region *region,
				struct rp_wire_why *why);

/** A ring to start: addresses are this process's own (uva of the regions). */
struct rp_vhu_frontend_ring {
	uint16_t num; /**< descriptors */
	uint32_t base; /**< index to start from */
	uint64_t desc_uva;
	uint64_t avail_uva;
	uint64_t used_uva;
	int kick_fd; /**< borrowed (a duplicate is kept for rp_vhu_frontend_kick()); -1: none */
	int call_fd; /**< borrowed; -1: none */
};

/**
 * SET_VRING_NUM, BASE, ADDR, KICK, CALL: QEMU's order. The backend may offer a
 * notify area from SET_VRING_KICK on.
 *
 * @return as every waiting call. On failure a notify area is dropped again; if
 *         only SET_VRING_CALL failed, the backend still holds the ring: stop it.
 */
int rp_vhu_frontend_ring_start(struct rp_vhu_frontend *frontend, unsigned int queue,
			       const struct rp_vhu_frontend_ring *ring, struct rp_wire_why *why);

/**
 * The notify area is dropped first, then GET_VRING_BASE.
 *
 * @param ret_base the index to go on from; untouched on failure.
 * @return as every waiting call; -EBADMSG also for an answer about another ring.
 */
int rp_vhu_frontend_ring_stop(struct rp_vhu_frontend *frontend, unsigned int queue, uint32_t *ret_base,
			      struct rp_wire_why *why);

/** SET_VRING_ENABLE, legal whether the ring is started or not. @return as every waiting call. */
int rp_vhu_frontend_ring_enable(struct rp_vhu_frontend *frontend, unsigned int queue, bool enabled,
				struct rp_wire_why *why);

/** SET_VRING_CALL: another eventfd for interrupts. @param call_fd borrowed; -1: none. @return as every waiting call. */
int rp_vhu_frontend_ring_call(struct rp_vhu_frontend *frontend, unsigned int queue, int call_fd,
			      struct rp_wire_why *why);

/**
 * GET_CONFIG.
 *
 * @param offset_bytes and size_bytes: together at most RP_VHU_CONFIG_MAX, size_bytes not 0.
 * @param ret_bytes room for size_bytes; untouched on failure.
 * @return as every waiting call; -EBADMSG also for an answer about other bytes.
 */
int rp_vhu_frontend_get_config(struct rp_vhu_frontend *frontend, uint32_t offset_bytes, uint32_t size_bytes,
			       uint8_t *ret_bytes, struct rp_wire_why *why);

/** RESET_DEVICE; notify areas are dropped first, rings are stopped by it. @return as every waiting call. */
int rp_vhu_frontend_reset_device(struct rp_vhu_frontend *frontend, struct rp_wire_why *why);

/**
 * The doorbell of a queue.
 *
 * @return where and how large; address is NULL when none is mapped (kick by eventfd).
 *         Valid until the next callback, ring_stop, reset or destroy.
 */
struct rp_vhu_notify_map rp_vhu_frontend_notify_map(const struct rp_vhu_frontend *frontend, unsigned int queue);

/**
 * Ring the queue's doorbell if one is mapped (16-bit store of the queue index,
 * virtio 1.2, 4.1.5.2), else write kick_fd.
 *
 * @return 1 doorbell, 0 eventfd (or no kick_fd), -EINVAL (queue), or what write(2) says.
 */
int rp_vhu_frontend_kick(struct rp_vhu_frontend *frontend, unsigned int queue);

#endif
