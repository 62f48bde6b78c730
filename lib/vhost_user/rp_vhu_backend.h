/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef RP_VHU_BACKEND_H
#define RP_VHU_BACKEND_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "rp_vhu_inflight.h"
#include "rp_vhu_log.h"
#include "rp_vhu_profile.h"
#include "rp_vhu_proto.h"
#include "rp_wire_parcel.h"
#include "rp_wire_why.h"

/**
 * @file
 * The backend's end of one vhost-user connection: it speaks the protocol, holds
 * what the frontend said (features, memory, rings) and tells its owner through
 * callbacks what has become true. It never touches a ring.
 *
 * Theory of operation: rp_vhu_backend_process() reads whole messages, checks
 * each against its row of the message table (size, descriptors, negotiated
 * features, legal state) and calls the handler. A ring is *started* from
 * SET_VRING_KICK (with size, addresses and a callable memory table known) to
 * GET_VRING_BASE; only then may it be touched. Requests on the backend channel
 * are answered asynchronously: the frontend reads neither channel while it
 * waits for our answer to its own request, so waiting for it inside a request
 * deadlocks both.
 *
 * Ownership: `int *fd` is taken on success, `int fd` and descriptors in structures
 * are borrowed. What the frontend sent belongs to the backend: regions until they
 * are removed, ring descriptors until they are replaced, the ring stops (kick) or
 * is reset; a message's descriptors that no handler took are closed after it.
 *
 * Errors: see rp_wire_why.h. A refused message costs the frontend a NACK (or an
 * empty payload), broken framing or a frontend that does not read its answers the
 * connection, a lie on the backend channel the channel.
 *
 * Threads: one thread. Callbacks run inside rp_vhu_backend_process(), _detach()
 * and _destroy(), and may call every function here but _process(), _destroy() and
 * _attach(); a _detach() takes effect when the message has been handled.
 *
 * Specification: vhost-user.rst, "Front-end message types", "Back-end message types".
 */

struct rp_vhu_backend;

/** One memory region of the frontend. */
struct rp_vhu_region {
	uint64_t gpa; /**< guest-physical address */
	uint64_t size_bytes;
	uint64_t uva; /**< address in the frontend's process; ring addresses are such */
	uint64_t offset_bytes; /**< of gpa in the file */
	int fd; /**< borrowed; lives until the region is removed */
};

/** A ring as the frontend described it. Descriptors are borrowed, -1 when none. */
struct rp_vhu_vring {
	uint16_t num; /**< entries; a power of two, in a packed ring any number */
	/**
	 * Where to start. Split: the next index of the available ring, upper half zero.
	 * Packed: bits 0-14 the offset and bit 15 the wrap counter of what is available
	 * next, bits 16-30 and 31 the same of what is used next; both offsets below num.
	 */
	uint32_t base;
	uint64_t desc_gpa; /**< translated from the frontend's addresses, inside one region each */
	uint64_t avail_gpa;
	uint64_t used_gpa;
	/** The three addresses are IOVAs, not looked up: VIRTIO_F_ACCESS_PLATFORM is negotiated. */
	bool iova;
	bool log_used; /**< log writes to the used ring, as if it began at log_gpa */
	uint64_t log_gpa;
	bool started;
	bool enabled;
	int kick_fd;
	int call_fd;
	int err_fd;
};

/** What the frontend's IOMMU translates. */
struct rp_vhu_iotlb {
	uint64_t iova;
	uint64_t size_bytes; /**< not 0 */
	uint64_t uva; /**< address in the frontend's process, inside one region */
	uint64_t gpa; /**< the same place, guest-physical */
	uint8_t perm; /**< RP_VHU_IOTLB_READ_MASK, RP_VHU_IOTLB_WRITE_MASK */
};

/** Why a ring is stopped: what its owner may do before, and what becomes of its notify area. */
enum rp_vhu_stop {
	/** GET_VRING_BASE: finish what was taken from the ring. The frontend dropped the notify area. */
	RP_VHU_STOP_DRAIN,
	/**
	 * GET_VRING_BASE, with GET_VRING_BASE_INFLIGHT negotiated: do not wait for what was
	 * taken; it stays in the in-flight region, for whoever is given that. Notify area as above.
	 */
	RP_VHU_STOP_LEAVE,
	/**
	 * The memory below it changes: the same ring is started again inside the same
	 * request, at the base answered here. The frontend knows of no stop: a notify area
	 * that it has mapped stays mapped.
	 */
	RP_VHU_STOP_MEMORY,
	/**
	 * SET_STATUS 0 on a ring that the frontend did not stop before. It may still ask for
	 * the base. A notify area that it has mapped stays mapped: take it back.
	 */
	RP_VHU_STOP_STATUS,
	RP_VHU_STOP_RESET, /**< RESET_DEVICE. Notify areas and VFIO files are gone */
	RP_VHU_STOP_END, /**< disconnect, detach, destroy. As above */
};

/**
 * What the owner does. Every pointer may be NULL (then: accept, ignore). A
 * negative return refuses the request (NACK when the frontend asked for a reply)
 * with `why` filled; -ENOTCONN and -EPROTO end the connection, as ever (rp_wire_why.h).
 */
struct rp_vhu_backend_ops {
	/** SET_FEATURES, already known to be a subset of what was offered. */
	int (*features)(void *ctx, uint64_t features, struct rp_wire_why *why);
	/** A region appeared. Called before the request that brought it is answered. */
	int (*region_add)(void *ctx, const struct rp_vhu_region *region, struct rp_wire_why *why);
	/** A region went: no access to it may happen after the return. */
	void (*region_remove)(void *ctx, const struct rp_vhu_region *region);
	/**
	 * SET_MEM_TABLE, ADD_MEM_REG or REM_MEM_REG was carried out by the calls above and below,
	 * and changed something: rp_vhu_backend_region() says all there is now. Rings that were
	 * stopped for it run again by then.
	 *
	 * @return a refusal reaches the frontend; the memory is as it is, all the same.
	 */
	int (*memory)(void *ctx, struct rp_wire_why *why);
	/** A ring may be touched from now on. Called on SET_VRING_KICK, and after RP_VHU_STOP_MEMORY. */
	int (*vring_start)(void *ctx, unsigned int queue, const struct rp_vhu_vring *vring, struct rp_wire_why *why);
	/**
	 * The ring must not be touched after the return.
	 * @param ret_base where to go on, as in struct rp_vhu_vring; holds the base of the start.
	 */
	void (*vring_stop)(void *ctx, unsigned int queue, enum rp_vhu_stop stop, uint32_t *ret_base);
	/** SET_VRING_ENABLE, or RESET_OWNER, changed it; says nothing about whether the ring is started. */
	int (*vring_enable)(void *ctx, unsigned int queue, bool enabled, struct rp_wire_why *why);
	/**
	 * Optional: what vring_start, vring_call and vring_enable put off is done now, if it is not: because the
	 * frontend waits for an answer, speaks of something else than rings, or has said all that there is to read.
	 * A ring that is stopped meanwhile is stopped: vring_stop() comes without it.
	 */
	void (*settle)(void *ctx);
	/** SET_VRING_CALL on a started ring: the interrupt goes to this eventfd from now on (-1: none, poll). */
	int (*vring_call)(void *ctx, unsigned int queue, int call_fd, struct rp_wire_why *why);
	/** SET_VRING_KICK on a started ring (-1: poll). */
	int (*vring_kick)(void *ctx, unsigned int queue, int kick_fd, struct rp_wire_why *why);
	/** SET_VRING_ERR, at any time: rp_vhu_backend_vring() has the descriptor (-1: none). */
	int (*vring_err)(void *ctx, unsigned int queue, struct rp_wire_why *why);
	/**
	 * SET_LOG_BASE: what is written to guest memory is logged there from now on, if LOG_ALL
	 * is negotiated. NULL: no log any more (the connection ends). The one before must not
	 * be touched after the return. rp_vhu_backend_log_fd() is to be signalled, if there is one.
	 */
	void (*log)(void *ctx, struct rp_vhu_log *log);
	/** SET_VRING_ADDR on a started ring changed whether, or where, writes to its used ring are logged. */
	int (*vring_log)(void *ctx, unsigned int queue, bool log_used, uint64_t log_gpa, struct rp_wire_why *why);
	/**
	 * GET_INFLIGHT_FD, for an owner that has the region made by somebody else. NULL: made here.
	 *
	 * @param ret_fd the caller's on success.
	 */
	int (*inflight_get)(void *ctx, uint16_t queues_count, uint16_t queue_num, int *ret_fd, uint64_t *ret_size_bytes,
			    uint64_t *ret_offset_bytes, struct rp_wire_why *why);
	/**
	 * SET_INFLIGHT_FD: rings that are started from now on note there what they take. NULL:
	 * no region any more (RESET_DEVICE, the connection ends). No ring is started; notes that
	 * were opened in the one before must be gone at the return.
	 */
	void (*inflight)(void *ctx, struct rp_vhu_inflight *inflight);
	/** IOTLB update: this translation holds until it is invalidated or replaced. @param entry borrowed. */
	int (*iotlb_update)(void *ctx, const struct rp_vhu_iotlb *entry, struct rp_wire_why *why);
	/** IOTLB invalidate: nothing may be accessed through [iova, iova + size_bytes) after the return. */
	void (*iotlb_invalidate)(void *ctx, uint64_t iova, uint64_t size_bytes);
	/** GET_CONFIG; bounds were checked against RP_VHU_CONFIG_MAX. */
	int (*config_get)(void *ctx, uint32_t offset_bytes, uint32_t size_bytes, uint8_t *ret_bytes,
			  struct rp_wire_why *why);
	/**
	 * SET_CONFIG; bounds as above.
	 * @param flags enum rp_vhu_config_flags: only a migration may write what the guest
	 *        may not.
	 */
	int (*config_set)(void *ctx, uint32_t offset_bytes, uint32_t size_bytes, const uint8_t *bytes, uint32_t flags,
			  struct rp_wire_why *why);
	/** NET_SET_MTU, 68 to 65535. */
	int (*mtu)(void *ctx, uint16_t mtu_bytes, struct rp_wire_why *why);
	/** SEND_RARP: announce this address; the six bytes of the frame, in their order. */
	int (*rarp)(void *ctx, const uint8_t mac[6], struct rp_wire_why *why);
	/** SET_STATUS, virtio device status bits. 0 is a reset: rings that still run are stopped after it. */
	int (*status)(void *ctx, uint8_t status, struct rp_wire_why *why);
	/** RESET_DEVICE; rings were stopped through vring_stop before, and are forgotten. Memory and features stay. */
	void (*reset)(void *ctx);
	/** The frontend handed over the backend channel and it may be used. */
	void (*channel_up)(void *ctx);
	/**
	 * The answer to a request on the backend channel.
	 * @param token as given to the request.
	 * @param error 0, -EREMOTEIO (the frontend answered non-zero), -ENOTCONN (it left first).
	 */
	void (*channel_reply)(void *ctx, uint64_t token, int error);
	/** A message was refused; one line for the log. The connection stays. */
	void (*refused)(void *ctx, const struct rp_wire_why *why);
	/**
	 * The connection ended: rings were stopped and regions removed through the
	 * callbacks above, descriptors closed. Wait for the next and attach it.
	 */
	void (*disconnected)(void *ctx, const struct rp_wire_why *why);
};

struct rp_vhu_backend_config {
	enum rp_vhu_profile profile;
	struct rp_vhu_numbers numbers; /**< zeros: the usual ones; profile extended only */
	uint64_t features; /**< device features to offer; PROTOCOL_FEATURES is added */
	/**
	 * Allow-list. Bits that this library does not implement in this profile are refused
	 * (vfio2018: also HOST_NOTIFIER and BACKEND_SEND_FD, which do not exist there); the
	 * bit of the VFIO extension is added by the profile.
	 */
	uint64_t protocol_features;
	uint16_t queues_max; /**< rings (not pairs), at most RP_VHU_QUEUES_MAX */
	uint16_t vring_num_max; /**< largest ring size, a power of two; 0: 32768 */
	/**
	 * What GET_QUEUE_NUM is answered, at most queues_max; 0: queues_max. QEMU compares
	 * it with a net device's pairs and with the rings of any other: an owner of a net
	 * device says pairs, else QEMU starts more rings than there are.
	 */
	uint16_t queues_told;
};

/**
 * Make a backend. It has no connection yet.
 *
 * @param config copied.
 * @param ops must outlive the backend.
 * @return 0, -EINVAL (why says which field, and which protocol feature) or -ENOMEM.
 */
int rp_vhu_backend_create(const struct rp_vhu_backend_config *config, const struct rp_vhu_backend_ops *ops, void *ctx,
			  struct rp_vhu_backend **ret_backend, struct rp_wire_why *why);

/** Stop rings, drop the connection (ops are told, as by _detach()), free. NULL is allowed. @return NULL. */
struct rp_vhu_backend *rp_vhu_backend_destroy(struct rp_vhu_backend *backend);

/**
 * Serve a connection. @param fd a connected socket, taken on success.
 * @return 0, -EBUSY (one is being served), -EINVAL (a bad descriptor) or -ENOMEM.
 */
int rp_vhu_backend_attach(struct rp_vhu_backend *backend, int *fd);

/** Drop the connection as if the frontend had left. Nothing happens without one. */
void rp_vhu_backend_detach(struct rp_vhu_backend *backend);

/**
 * Pack what a successor needs to go on with the connection that is served: sockets, memory,
 * rings, and which requests wait for the frontend's answer. Nothing changes here, and
 * nothing may be processed between this and rp_vhu_backend_leave(): what the frontend
 * sends meanwhile waits in the socket.
 *
 * @param parcel in a scope of the caller's.
 * @return 0, -ENOTCONN (none is served), -EBUSY (inside a callback), -EAGAIN (a message is half
 *         read or half sent: process, and try again), -ENOTSUP (VIRTIO_F_ACCESS_PLATFORM
 *         is negotiated), or what rp_wire_parcel_result() says.
 */
int rp_vhu_backend_give(const struct rp_vhu_backend *backend, struct rp_wire_parcel *parcel, struct rp_wire_why *why);

/**
 * Forget the connection, without a callback and without a word to the frontend: somebody
 * else has its sockets, and goes on. Not from a callback.
 */
void rp_vhu_backend_leave(struct rp_vhu_backend *backend);

/**
 * Go on with a connection that rp_vhu_backend_give() packed, in another process or backend. No
 * callback is called for what is true already: ask rp_vhu_backend_region(), _vring() and so
 * on. Answers to requests that the predecessor sent come with the tokens that it gave.
 *
 * @return 0, -EBUSY (one is served), -EBADMSG (the parcel breaks a rule that the
 *         frontend's messages must keep, too), -ENOTSUP (another version; or what the frontend was
 *         told does not hold here: profile, numbers, queues, features that are not offered any
 *         more), -ENOSPC, -EEXIST (regions overlap), -ENOMEM. After a failure there is no
 *         connection, as before; the frontend's own end is untouched as long as the parcel lives.
 */
int rp_vhu_backend_adopt(struct rp_vhu_backend *backend, struct rp_wire_parcel *parcel, struct rp_wire_why *why);

/** @return whether a connection is being served. */
bool rp_vhu_backend_attached(const struct rp_vhu_backend *backend);

/** One descriptor (an epoll) to poll for POLLIN, connection or not. Borrowed. @return the descriptor. */
int rp_vhu_backend_fd(const struct rp_vhu_backend *backend);

/** Do what can be done without waiting, at most 64 messages. @return 0; errors of the peer are handled inside. */
int rp_vhu_backend_process(struct rp_vhu_backend *backend);

/**
 * Offer other device features from the next connection on, and to a frontend that has
 * not asked yet. One that has asked may go on acking what it was told.
 */
void rp_vhu_backend_set_offer(struct rp_vhu_backend *backend, uint64_t features);

/** @return the device features that the frontend acked; 0 before it did. */
uint64_t rp_vhu_backend_features(const struct rp_vhu_backend *backend);

/** @return the protocol features that the frontend acked; 0 before it did. */
uint64_t rp_vhu_backend_protocol_features(const struct rp_vhu_backend *backend);

/** The ring as known now. @return 0 or -EINVAL. Addresses are translated only while started. */
int rp_vhu_backend_vring(const struct rp_vhu_backend *backend, unsigned int queue, struct rp_vhu_vring *ret_vring);

/** @return the process id of the frontend (SO_PEERCRED), 0 when none. */
pid_t rp_vhu_backend_peer(const struct rp_vhu_backend *backend);

/** @return how many memory regions there are, at most RP_VHU_SLOTS_MAX. */
unsigned int rp_vhu_backend_regions_count(const struct rp_vhu_backend *backend);

/** One of them, in no order. @param ret_region its descriptor is borrowed. @return 0 or -EINVAL (index). */
int rp_vhu_backend_region(const struct rp_vhu_backend *backend, unsigned int index, struct rp_vhu_region *ret_region);

/** @return the profile with its numbers, constant for the backend's life. Borrowed. */
const struct rp_vhu_dialect *rp_vhu_backend_dialect(const struct rp_vhu_backend *backend);

/**
 * Hand the frontend the notify area of a queue. Returns at once; ops->channel_reply
 * brings the answer. The request is that of the extension once its bit is acked, else
 * VRING_HOST_NOTIFIER (doc/protocol/vfio-accelerators.md).
 *
 * @param fd borrowed.
 * @param offset_bytes of the area in the file; a frontend wants multiples of its page size.
 * @param size_bytes of the area: the frontend's slot for one queue, usually one page.
 * @param token given back with the answer.
 * @return 0 (sent), -ENOTSUP (not negotiated: HOST_NOTIFIER or the extension,
 *         BACKEND_REQ, REPLY_ACK; BACKEND_SEND_FD except in profile vfio2018;
 *         VERSION_1 in profile vfio2018; or no channel; why says which), -EBUSY (queue
 *         not started), -EINVAL (queue or descriptor), -ENOSPC (512 requests wait for
 *         their answers, or the frontend does not read), -ENOTCONN. After a failure
 *         nothing was sent and no answer comes.
 */
int rp_vhu_backend_notify_area_set(struct rp_vhu_backend *backend, unsigned int queue, int fd, uint64_t offset_bytes,
				   uint64_t size_bytes, uint64_t token, struct rp_wire_why *why);

/** Take the notify area back; asynchronous as above. Legal whether started or not. @return as above, never -EBUSY. */
int rp_vhu_backend_notify_area_clear(struct rp_vhu_backend *backend, unsigned int queue, uint64_t token,
				     struct rp_wire_why *why);

/**
 * Tell the frontend which VFIO group or device serves a queue, so that it can add it
 * to its KVM device; asynchronous as above. It holds for this queue, in place of one
 * set before, whether the ring is started or not, and survives GET_VRING_BASE: set it
 * before the notify area that depends on it. The frontend forgets it at _clear(), at
 * the end of the connection and, except in profile vfio2018, at a reset.
 *
 * @param fd borrowed; an open /dev/vfio/GROUP or /dev/vfio/devices/vfioX.
 * @param token given back with the answer.
 * @return 0 (sent), -ENOTSUP (the extension, BACKEND_REQ, REPLY_ACK or, except in
 *         profile vfio2018, BACKEND_SEND_FD not negotiated; a cdev in profile vfio2018,
 *         which knows groups only; no channel; why says which), -EINVAL (queue,
 *         descriptor or type), -ENOSPC, -ENOTCONN. After a failure nothing was sent and
 *         no answer comes.
 */
int rp_vhu_backend_vfio_file_set(struct rp_vhu_backend *backend, unsigned int queue, int fd, enum rp_vhu_vfio_type type,
				 uint64_t token, struct rp_wire_why *why);

/** Take the queue's VFIO file back: legal whether one was set or not; asynchronous as above. @return as above. */
int rp_vhu_backend_vfio_file_clear(struct rp_vhu_backend *backend, unsigned int queue, uint64_t token,
				   struct rp_wire_why *why);

/**
 * Tell the frontend that configuration space changed (link state); asynchronous as above.
 *
 * @return as above, but not -EBUSY; -ENOTSUP also when CONFIG was not negotiated.
 */
int rp_vhu_backend_config_changed(struct rp_vhu_backend *backend, uint64_t token, struct rp_wire_why *why);

/**
 * The log of the migration that is under way.
 *
 * @return borrowed, until ops->log says otherwise; NULL: none. Marking is for any thread.
 */
struct rp_vhu_log *rp_vhu_backend_log(const struct rp_vhu_backend *backend);

/** A file that the frontend shared: enough to hand it on. */
struct rp_vhu_shared_file {
	int fd; /**< borrowed, as long as what it belongs to */
	uint64_t size_bytes;
	uint64_t offset_bytes;
};

/** The file of rp_vhu_backend_log(). @return 0 or -ENOENT: there is none. */
int rp_vhu_backend_log_file(const struct rp_vhu_backend *backend, struct rp_vhu_shared_file *ret_file);

/**
 * The file of rp_vhu_backend_inflight(), with what SET_INFLIGHT_FD said of it. @return 0 or -ENOENT.
 */
int rp_vhu_backend_inflight_file(const struct rp_vhu_backend *backend, struct rp_vhu_shared_file *ret_file,
				 uint16_t *ret_queues_count, uint16_t *ret_queue_num);

/** @return the eventfd to write to when something was logged (SET_LOG_FD), borrowed; -1: none. */
int rp_vhu_backend_log_fd(const struct rp_vhu_backend *backend);

/** @return the in-flight region, borrowed, until ops->inflight says otherwise; NULL: none. */
struct rp_vhu_inflight *rp_vhu_backend_inflight(const struct rp_vhu_backend *backend);

/**
 * Ask the frontend for a translation; asynchronous as a notify area. The frontend sends
 * the update before it answers, but over the other socket: ops->channel_reply may be called
 * before ops->iotlb_update. Go on when the update is there; an error is the end of it.
 *
 * @param perm what is wanted: RP_VHU_IOTLB_READ_MASK, RP_VHU_IOTLB_WRITE_MASK.
 * @param token given back with the answer.
 * @return 0 (sent), -ENOTSUP (VIRTIO_F_ACCESS_PLATFORM, BACKEND_REQ or REPLY_ACK not
 *         negotiated, no channel; why says which), -EINVAL (perm), -ENOSPC, -ENOTCONN.
 *         After a failure nothing was sent and no answer comes.
 */
int rp_vhu_backend_iotlb_miss(struct rp_vhu_backend *backend, uint64_t iova, uint8_t perm, uint64_t token,
			      struct rp_wire_why *why);

/** Tell the frontend that an access had no permission. @return as rp_vhu_backend_iotlb_miss(). */
int rp_vhu_backend_iotlb_access_fail(struct rp_vhu_backend *backend, uint64_t iova, uint8_t perm, uint64_t token,
				     struct rp_wire_why *why);

#endif
