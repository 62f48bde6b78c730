/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef RP_VHU_FRONTEND_H
#define RP_VHU_FRONTEND_H

#include <stdbool.h>
#include <stdint.h>

#include "rp_vhu_backend.h"
#include "rp_vhu_profile.h"
#include "rp_vhu_proto.h"
#include "rp_vhu_vfio_files.h"
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
 * old mapping stays until the new one has proved good. So is a VFIO file: the new
 * one is added before the old one is removed.
 *
 * A notify area is for a started ring only. rp_vhu_frontend_ring_stop() takes it from
 * the owner; profiles standard and extended forget it, and the backend offers another
 * one after the next start; profile vfio2018 keeps it and shows it again at the next start,
 * unless the backend took it back meanwhile. It is gone at a reset, at the end of the
 * backend channel or of the connection, and at destroy. It is the memory of a device:
 * an owner that migrates its guest leaves it out.
 *
 * A VFIO file is for a queue, whether its ring is started or not. The reference goes
 * when the backend takes it back, after a reset (profile vfio2018: not even then), at the
 * end of the connection and at destroy; not at a stop, and not with the backend channel
 * (the device goes on).
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

/** Requests of one connection that wait for an answer at a time; who sends several before it waits counts them. */
#define RP_VHU_FRONTEND_OUTSTANDING_MAX 64

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
	/**
	 * The backend misses a translation. Tell it before the return, with
	 * rp_vhu_frontend_iotlb_update() (which does not wait in here): the update goes out before
	 * the answer.
	 *
	 * @param perm what is wanted: RP_VHU_IOTLB_READ_MASK, RP_VHU_IOTLB_WRITE_MASK.
	 * @param access_fail it is there, but does not permit this: nothing is to be told.
	 * @return 0 or a negative errno: there is none.
	 */
	int (*iotlb_miss)(void *ctx, uint64_t iova, uint8_t perm, bool access_fail, struct rp_wire_why *why);
	/** A request of the backend was refused; one line. */
	void (*refused)(void *ctx, const struct rp_wire_why *why);
	/** The backend left; outstanding requests were answered with -ENOTCONN. */
	void (*disconnected)(void *ctx, const struct rp_wire_why *why);
};

struct rp_vhu_frontend_config {
	enum rp_vhu_profile profile;
	struct rp_vhu_numbers numbers; /**< zeros: the usual ones */
	/**
	 * What to ack of what is offered; the bit of the VFIO extension is added by the profile.
	 * Bits that this library does not implement in this profile are left out, as is what
	 * cannot work: GET_VRING_BASE_INFLIGHT without INFLIGHT_SHMFD, the extension without
	 * BACKEND_REQ. A backend may insist on the use of what was acked: ack what you use.
	 */
	uint64_t protocol_features;
	uint16_t queues_max; /**< rings (not pairs), 1 to RP_VHU_QUEUES_MAX */
	uint32_t timeout_ms; /**< of one waiting call, at most INT_MAX; 0: 5000 */
	/** The only legal size of a notify area; 0: host page size. No multiple of it: every area is refused. */
	uint64_t notify_slot_bytes;
	/** A waiting call does not read the backend channel, as QEMU does. */
	bool deaf_while_waiting;
	/** Ask for an answer to every request that may have one (as QEMU 11 does). */
	bool need_reply_always;
	/** The VMM's VFIO files, borrowed, must outlive the frontend; NULL: a set of its own, of which nobody is told. */
	struct rp_vhu_vfio_files *vfio_files;
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
 * @return 0, -EINVAL (queues_max or timeout_ms, profile or numbers, a bad descriptor), -ENOMEM,
 *         or what rp_wire_caller_take() says.
 */
int rp_vhu_frontend_create(int *fd, const struct rp_vhu_frontend_config *config, const struct rp_vhu_frontend_ops *ops,
			   void *ctx, struct rp_vhu_frontend **ret_frontend);

/**
 * Unmap notify areas (ops->notify_area says so), give VFIO files back, answer what is
 * outstanding with -ENOTCONN, close everything. Not from a callback. NULL is allowed.
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
 *         row, or a bad descriptor), -ENOSPC (RP_VHU_FRONTEND_OUTSTANDING_MAX requests wait for
 *         an answer, or the backend does not read), -ENOTCONN.
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
 *   -EINVAL      an argument is out of range or misaligned; nothing was sent
 *   -EBADMSG     the answer breaks its rule
 *   -ENOSPC      the backend does not read
 *   -EBUSY       called from a callback; nothing was sent
 *
 * Messages that are acknowledged only with need_reply_always (SET_VRING_NUM, BASE and
 * ADDR of a start, SET_PROTOCOL_FEATURES) are otherwise sent and not waited for.
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
	uint16_t num; /**< descriptors, 1 to 32768; split: a power of two */
	/**
	 * Where to go on, as rp_vhu_frontend_ring_stop() said it. Split: the next available
	 * entry, 16 bits. Packed (with VIRTIO_F_RING_PACKED): bits 0-14 the next available entry,
	 * bit 15 its wrap counter, bits 16-30 the next used entry, bit 31 its wrap counter; a
	 * fresh ring starts at 0x80008000.
	 */
	uint32_t base;
	uint64_t desc_uva; /**< descriptor area; aligned to 16 */
	uint64_t avail_uva; /**< driver area; aligned to 2, packed: 4 */
	uint64_t used_uva; /**< device area; aligned to 4 */
	uint32_t flags; /**< of SET_VRING_ADDR: 0 or RP_VHU_VRING_ADDR_LOG_MASK */
	uint64_t log_gpa; /**< where writes to the used ring are logged; 0 without that flag */
	int kick_fd; /**< borrowed (a duplicate is kept for rp_vhu_frontend_kick()); -1: none */
	int call_fd; /**< borrowed; -1: none */
};

/**
 * SET_VRING_NUM, BASE, ADDR, KICK, CALL: QEMU's order. The backend may offer a
 * notify area from SET_VRING_KICK on; profile vfio2018: one that was kept is shown
 * before SET_VRING_KICK is sent.
 *
 * @return as every waiting call. On failure a notify area is dropped again; if
 *         only SET_VRING_CALL failed, the backend still holds the ring: stop it.
 */
int rp_vhu_frontend_ring_start(struct rp_vhu_frontend *frontend, unsigned int queue,
			       const struct rp_vhu_frontend_ring *ring, struct rp_wire_why *why);

/**
 * The notify area is taken from the owner first, then GET_VRING_BASE. What is in
 * flight is completed by the backend before it answers, unless GET_VRING_BASE_INFLIGHT
 * was negotiated: then it may be left, recorded in the in-flight region.
 *
 * @param ret_base where to go on, as in struct rp_vhu_frontend_ring; untouched on failure.
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
 * SET_VRING_ERR: where the backend says that a ring is broken.
 *
 * @param err_fd an eventfd, borrowed; -1: none.
 * @return as every waiting call.
 */
int rp_vhu_frontend_ring_err(struct rp_vhu_frontend *frontend, unsigned int queue, int err_fd, struct rp_wire_why *why);

/**
 * SET_VRING_ADDR alone: the ring's addresses once more, with other flags (a migration
 * begins or ends). Legal on a started ring.
 *
 * @param ring borrowed; num says how it is checked, base and descriptors are not used.
 * @return as every waiting call.
 */
int rp_vhu_frontend_ring_addr(struct rp_vhu_frontend *frontend, unsigned int queue,
			      const struct rp_vhu_frontend_ring *ring, struct rp_wire_why *why);

/**
 * GET_CONFIG.
 *
 * @param offset_bytes and size_bytes: together at most RP_VHU_CONFIG_MAX, size_bytes not 0.
 * @param ret_bytes room for size_bytes; untouched on failure.
 * @return as every waiting call; -EBADMSG also for an answer about other bytes.
 */
int rp_vhu_frontend_get_config(struct rp_vhu_frontend *frontend, uint32_t offset_bytes, uint32_t size_bytes,
			       uint8_t *ret_bytes, struct rp_wire_why *why);

/**
 * SET_CONFIG.
 *
 * @param offset_bytes as rp_vhu_frontend_get_config(), and so is size_bytes.
 * @param bytes size_bytes of them, borrowed.
 * @param migration the message's flags: false 0, fields that the driver may write; true 1,
 *        any field, at the destination of a live migration.
 * @return as every waiting call.
 */
int rp_vhu_frontend_set_config(struct rp_vhu_frontend *frontend, uint32_t offset_bytes, uint32_t size_bytes,
			       const uint8_t *bytes, bool migration, struct rp_wire_why *why);

/** SET_STATUS. @param status the virtio device status (virtio 1.2, 2.1), 0: reset. @return as every waiting call. */
int rp_vhu_frontend_set_status(struct rp_vhu_frontend *frontend, uint8_t status, struct rp_wire_why *why);

/**
 * GET_STATUS.
 *
 * @param ret_status untouched on failure.
 * @return as every waiting call; -EBADMSG also for more than 8 bits.
 */
int rp_vhu_frontend_get_status(struct rp_vhu_frontend *frontend, uint8_t *ret_status, struct rp_wire_why *why);

/**
 * NET_SET_MTU: the host's limit, which the backend may refuse.
 *
 * @param mtu_bytes 68 (virtio 1.2, 5.1.4.1) or more.
 * @return as every waiting call.
 */
int rp_vhu_frontend_set_mtu(struct rp_vhu_frontend *frontend, uint16_t mtu_bytes, struct rp_wire_why *why);

/**
 * SEND_RARP: the backend announces the guest at its new place, for a guest that cannot
 * (without VIRTIO_NET_F_GUEST_ANNOUNCE).
 *
 * @param mac the guest's own address: not zero, not a group's; -EINVAL.
 * @return as every waiting call.
 */
int rp_vhu_frontend_send_rarp(struct rp_vhu_frontend *frontend, const uint8_t mac[6], struct rp_wire_why *why);

/**
 * GET_MAX_MEM_SLOTS: how many regions rp_vhu_frontend_add_mem_reg() can bring.
 *
 * @param ret_slots untouched on failure; a larger number of the backend's is cut to UINT32_MAX.
 * @return as every waiting call; -EBADMSG also for none.
 */
int rp_vhu_frontend_get_max_mem_slots(struct rp_vhu_frontend *frontend, uint32_t *ret_slots, struct rp_wire_why *why);

/**
 * SET_LOG_BASE: where the backend logs what it writes to guest memory, one bit for each
 * 4096 bytes. An answer without payload counts as done: some backends answer so.
 *
 * @param fd borrowed; a memory file of at least offset_bytes + size_bytes.
 * @param size_bytes of the bitmap; must cover all guest memory.
 * @return as every waiting call.
 */
int rp_vhu_frontend_set_log_base(struct rp_vhu_frontend *frontend, int fd, uint64_t size_bytes, uint64_t offset_bytes,
				 struct rp_wire_why *why);

/** SET_LOG_FD: signalled by the backend when it logged something. @param event_fd borrowed. @return as every waiting call. */
int rp_vhu_frontend_set_log_fd(struct rp_vhu_frontend *frontend, int event_fd, struct rp_wire_why *why);

/** An in-flight region, as its backend made it. */
struct rp_vhu_frontend_inflight {
	int fd;
	uint64_t size_bytes;
	uint64_t offset_bytes; /**< in the file */
	uint16_t queues_count; /**< rings */
	uint16_t queue_num; /**< entries of each */
};

/**
 * GET_INFLIGHT_FD: the backend makes a region. After SET_FEATURES, which say what kind of
 * rings it is for; once in the life of a device, else what is noted there is lost.
 *
 * @param queues_count rings, 1 to RP_VHU_QUEUES_MAX.
 * @param queue_num entries of the largest, 1 to 32768.
 * @param ret_inflight its descriptor is the caller's; untouched on failure.
 * @return as every waiting call; -EBADMSG also for an answer without exactly one descriptor,
 *         about other queues, or with a size and offset that are not in the file.
 */
int rp_vhu_frontend_get_inflight(struct rp_vhu_frontend *frontend, uint16_t queues_count, uint16_t queue_num,
				 struct rp_vhu_frontend_inflight *ret_inflight, struct rp_wire_why *why);

/**
 * SET_INFLIGHT_FD: the backend, this one or one that comes after a crash, goes on with a
 * region. Before the first ring is started.
 *
 * @param inflight borrowed, and so is its descriptor.
 * @return as every waiting call.
 */
int rp_vhu_frontend_set_inflight(struct rp_vhu_frontend *frontend, const struct rp_vhu_frontend_inflight *inflight,
				 struct rp_wire_why *why);

/**
 * IOTLB_MSG, update: [iova, iova + size_bytes) is at `uva` of this process.
 *
 * @param perm RP_VHU_IOTLB_READ_MASK, RP_VHU_IOTLB_WRITE_MASK, at least one.
 * @return as every waiting call; -ENOTSUP: VIRTIO_F_ACCESS_PLATFORM was not negotiated.
 *         In a callback it does not wait, and says only whether it was sent.
 */
int rp_vhu_frontend_iotlb_update(struct rp_vhu_frontend *frontend, uint64_t iova, uint64_t size_bytes, uint64_t uva,
				 uint8_t perm, struct rp_wire_why *why);

/**
 * IOTLB_MSG, invalidate. On return of 0 the backend accesses nothing through the range.
 *
 * @param size_bytes not 0; UINT64_MAX from iova 0: everything.
 * @return as rp_vhu_frontend_iotlb_update().
 */
int rp_vhu_frontend_iotlb_invalidate(struct rp_vhu_frontend *frontend, uint64_t iova, uint64_t size_bytes,
				     struct rp_wire_why *why);

/**
 * RESET_DEVICE; notify areas are dropped first, rings are stopped by it, VFIO files are
 * given back when the backend has done it (the device works until then; profile vfio2018
 * keeps them).
 *
 * @return as every waiting call.
 */
int rp_vhu_frontend_reset_device(struct rp_vhu_frontend *frontend, struct rp_wire_why *why);

/**
 * RESET_OWNER, for backends of old: specification and backends disagree on what it does
 * (nothing, rings disabled, everything forgotten), so it is sent only when it makes no
 * difference, with all rings stopped, and is to be followed by rp_vhu_frontend_negotiate().
 * VFIO files are given back, as above.
 *
 * @return as every waiting call; -EINVAL also with a started ring.
 */
int rp_vhu_frontend_reset_owner(struct rp_vhu_frontend *frontend, struct rp_wire_why *why);

/** @return the VFIO file of a queue, borrowed, valid until the next call or callback; NULL: none. */
const struct rp_vhu_vfio_file *rp_vhu_frontend_vfio_file(const struct rp_vhu_frontend *frontend, unsigned int queue);

/**
 * The doorbell of a queue.
 *
 * @return where and how large; address is NULL when none is mapped (kick by eventfd).
 *         Valid until the next callback, ring_stop, reset or destroy.
 */
struct rp_vhu_notify_map rp_vhu_frontend_notify_map(const struct rp_vhu_frontend *frontend, unsigned int queue);

/**
 * Ring the queue's doorbell if one is mapped (16-bit store of the queue index,
 * virtio 1.2, 4.1.5.2), else add one to kick_fd, which the backend holds too: full or not, and
 * whatever its flags are like, it is not waited for (rp_wire_caller.h).
 *
 * @return 1 doorbell, 0 eventfd (or no kick_fd), -EINVAL (queue; or kick_fd is no eventfd, and nothing
 *         was written).
 */
int rp_vhu_frontend_kick(struct rp_vhu_frontend *frontend, unsigned int queue);

#endif
