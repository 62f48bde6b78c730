/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VHU_BACKEND_H
#define VHU_BACKEND_H

/*
 * Inside of the backend:
 *
 *   backend.c           life of the object and of a connection
 *   backend_dispatch.c  one message: check, handler, answer
 *   backend_features.c  handlers of features
 *   backend_device.c    handlers of what concerns the whole device: reset, status, configuration
 *   backend_memory.c    the list of memory regions; handlers of single ones
 *   backend_table.c     handler of the whole table: the difference, and rings in what changes
 *   backend_vring.c     handlers of rings: when one is started
 *   backend_position.c  a ring's size and where it starts
 *   backend_log.c       handlers of the log of a live migration
 *   backend_inflight.c  handlers of the in-flight region
 *   backend_iotlb.c     translations, told and asked for
 *   backend_channel.c   requests of ours and their answers
 *   backend_vfio.c      requests of ours: notify areas and VFIO files
 *   backend_give.c      what a successor must know; backend_adopt.c: going on with it
 */

#include "rp_vhu_backend.h"
#include "rp_vhu_msg.h"

#define VHU_PENDING_MAX (2 * RP_VHU_QUEUES_MAX)

struct vhu_vring {
	struct rp_vhu_vring state; /* descriptors are owned here */
	uint32_t base_wire; /* as SET_VRING_BASE had it, or as our own stop answered */
	bool base_ours; /* the latter */
	bool num_known;
	bool addr_known;
	bool enabled_by_message; /* else enabled follows from the features */
	struct rp_vhu_wire_vring_addr addr; /* in the frontend's addresses */
};

/* What a new memory table makes of a region. */
enum vhu_mark {
	VHU_MARK_NEW,
	VHU_MARK_STAYS,
	VHU_MARK_GOES,
	VHU_MARK_GOES_FIRST, /* something new lies where it is */
};

/* A request of ours that is not answered yet; answers come in order. */
struct vhu_pending {
	uint32_t request;
	uint64_t token;
};

struct rp_vhu_backend {
	struct rp_vhu_backend_config config;
	struct rp_vhu_dialect dialect;
	const struct rp_vhu_backend_ops *ops;
	void *ctx;
	int epoll_fd;
	struct rp_wire_conn *conn;
	struct rp_wire_conn *channel;
	bool in_process; /* a detach from a callback waits for the handler's return */
	bool detach_wanted;
	bool closing; /* a detach from a callback of the closing itself asks for what is happening */
	pid_t peer;

	uint64_t offered; /* to this frontend: what it was told once holds for its life */
	bool features_asked;
	bool features_acked;
	uint64_t features;
	uint64_t protocol_features;
	uint8_t status;

	struct rp_vhu_region regions[RP_VHU_SLOTS_MAX]; /* descriptors are owned here */
	unsigned int region_adds[RP_VHU_SLOTS_MAX]; /* how often each was added: as often it must be removed */
	enum vhu_mark region_marks[RP_VHU_SLOTS_MAX]; /* while a table is taken over */
	unsigned int regions_count;
	struct rp_vhu_log *log; /* NULL: none */
	struct rp_vhu_shared_file log_file; /* its descriptor is owned here, -1: none */
	int log_fd;
	struct rp_vhu_inflight *inflight; /* NULL: none */
	struct rp_vhu_shared_file inflight_file; /* as log_file */
	struct vhu_vring *vrings; /* config.queues_max */

	struct vhu_pending pending[VHU_PENDING_MAX];
	unsigned int pending_head;
	unsigned int pending_count;
};

/* A request in the hands of its handler. */
struct vhu_request {
	struct rp_wire_msg *msg; /* descriptors not taken are closed afterwards */
	const uint8_t *payload; /* of at least the row's smallest size; copy, do not cast */
	uint32_t size_bytes;
	uint8_t *reply; /* room for RP_VHU_CONFIG_MAX and a header of it */
	uint32_t reply_bytes; /* set by handlers of messages with a payload in answer */
	int reply_fd; /* goes with it; owned, set by handlers that succeed, -1: none */
};

typedef int (*vhu_handler)(struct rp_vhu_backend *backend, struct vhu_request *request, struct rp_wire_why *why);

/* backend.c */
void vhu_backend_close(struct rp_vhu_backend *backend, const struct rp_wire_why *why);
/* Everything of the connection, without a word to anybody: who holds its sockets besides goes on. */
void vhu_backend_forget(struct rp_vhu_backend *backend);

/* backend_dispatch.c: 0, or -EPROTO / -ENOTCONN when the connection must end. */
/* What was put off is done. */
void vhu_backend_settle(struct rp_vhu_backend *backend);
int vhu_backend_dispatch(struct rp_vhu_backend *backend, struct rp_wire_msg *msg, struct rp_wire_why *why);

uint64_t vhu_request_u64(const struct vhu_request *request);
void vhu_request_reply_u64(struct vhu_request *request, uint64_t value);

/* backend_features.c */
int vhu_on_get_features(struct rp_vhu_backend *backend, struct vhu_request *request, struct rp_wire_why *why);
int vhu_on_set_features(struct rp_vhu_backend *backend, struct vhu_request *request, struct rp_wire_why *why);
int vhu_on_set_owner(struct rp_vhu_backend *backend, struct vhu_request *request, struct rp_wire_why *why);
int vhu_on_get_protocol_features(struct rp_vhu_backend *backend, struct vhu_request *request, struct rp_wire_why *why);
int vhu_on_set_protocol_features(struct rp_vhu_backend *backend, struct vhu_request *request, struct rp_wire_why *why);
int vhu_on_get_queue_num(struct rp_vhu_backend *backend, struct vhu_request *request, struct rp_wire_why *why);

/* backend_device.c */
int vhu_on_reset_device(struct rp_vhu_backend *backend, struct vhu_request *request, struct rp_wire_why *why);
int vhu_on_send_rarp(struct rp_vhu_backend *backend, struct vhu_request *request, struct rp_wire_why *why);
int vhu_on_set_mtu(struct rp_vhu_backend *backend, struct vhu_request *request, struct rp_wire_why *why);
int vhu_on_get_config(struct rp_vhu_backend *backend, struct vhu_request *request, struct rp_wire_why *why);
int vhu_on_set_config(struct rp_vhu_backend *backend, struct vhu_request *request, struct rp_wire_why *why);
int vhu_on_set_status(struct rp_vhu_backend *backend, struct vhu_request *request, struct rp_wire_why *why);
int vhu_on_get_status(struct rp_vhu_backend *backend, struct vhu_request *request, struct rp_wire_why *why);
int vhu_on_reset_owner(struct rp_vhu_backend *backend, struct vhu_request *request, struct rp_wire_why *why);

/* backend_memory.c */
int vhu_on_get_max_mem_slots(struct rp_vhu_backend *backend, struct vhu_request *request, struct rp_wire_why *why);
int vhu_on_add_mem_reg(struct rp_vhu_backend *backend, struct vhu_request *request, struct rp_wire_why *why);
int vhu_on_rem_mem_reg(struct rp_vhu_backend *backend, struct vhu_request *request, struct rp_wire_why *why);
int vhu_region_from_wire(const struct rp_vhu_wire_region *wire, struct rp_vhu_region *ret_region,
			 struct rp_wire_why *why);
bool vhu_region_overlaps(const struct rp_vhu_region *a, const struct rp_vhu_region *b);
/* @return -EEXIST. */
int vhu_region_overlap_error(const struct rp_vhu_region *a, const struct rp_vhu_region *b, struct rp_wire_why *why);
/* The same numbers, and the same file behind `a_fd` (borrowed) and b's. */
bool vhu_region_same(const struct rp_vhu_region *a, int a_fd, const struct rp_vhu_region *b);
/* The caller owns the region's descriptor; on success it is the backend's, left as -1. @return 0 or the owner's word. */
int vhu_memory_add(struct rp_vhu_backend *backend, struct rp_vhu_region *region, struct rp_wire_why *why);
/* Tell the owner and drop it from the list; its descriptor is the caller's now. */
struct rp_vhu_region vhu_memory_take_out(struct rp_vhu_backend *backend, unsigned int index);
void vhu_memory_remove(struct rp_vhu_backend *backend, unsigned int index);
void vhu_memory_clear(struct rp_vhu_backend *backend);
/* The owner's word to what a request made of the regions. @return 0 or the owner's word. */
int vhu_memory_changed(struct rp_vhu_backend *backend, struct rp_wire_why *why);
/* @return 0 when [uva, uva + size) lies in one region, else -EBADMSG. */
int vhu_memory_translate(const struct rp_vhu_backend *backend, uint64_t uva, uint64_t size_bytes, uint64_t *ret_gpa);
int vhu_regions_translate(const struct rp_vhu_region *regions, unsigned int count, uint64_t uva, uint64_t size_bytes,
			  uint64_t *ret_gpa);

/* backend_table.c */
int vhu_on_set_mem_table(struct rp_vhu_backend *backend, struct vhu_request *request, struct rp_wire_why *why);

/* backend_vring.c */
int vhu_on_set_vring_num(struct rp_vhu_backend *backend, struct vhu_request *request, struct rp_wire_why *why);
int vhu_on_set_vring_addr(struct rp_vhu_backend *backend, struct vhu_request *request, struct rp_wire_why *why);
int vhu_on_set_vring_base(struct rp_vhu_backend *backend, struct vhu_request *request, struct rp_wire_why *why);
int vhu_on_get_vring_base(struct rp_vhu_backend *backend, struct vhu_request *request, struct rp_wire_why *why);
int vhu_on_set_vring_kick(struct rp_vhu_backend *backend, struct vhu_request *request, struct rp_wire_why *why);
int vhu_on_set_vring_call(struct rp_vhu_backend *backend, struct vhu_request *request, struct rp_wire_why *why);
int vhu_on_set_vring_err(struct rp_vhu_backend *backend, struct vhu_request *request, struct rp_wire_why *why);
int vhu_on_set_vring_enable(struct rp_vhu_backend *backend, struct vhu_request *request, struct rp_wire_why *why);
int vhu_vrings_create(struct rp_vhu_backend *backend);
/* Stop every started ring; what the frontend said stays. */
void vhu_vrings_stop(struct rp_vhu_backend *backend, enum rp_vhu_stop why_stopped);
/* As SET_VRING_ENABLE 0 for each that is enabled. @return 0 or the owner's word, at the first that it refuses. */
int vhu_vrings_disable(struct rp_vhu_backend *backend, struct rp_wire_why *why);
/* Stop every started ring and forget what the frontend said. */
void vhu_vrings_clear(struct rp_vhu_backend *backend, enum rp_vhu_stop why_stopped);
/* Close their descriptors and forget what the frontend said; nobody is told. */
void vhu_vrings_forget(struct rp_vhu_backend *backend);
/* -1: no ring is started, else the index of the first that is. */
int vhu_vrings_any_started(const struct rp_vhu_backend *backend);
/* Whether a started ring has a part in a region. */
bool vhu_vring_inside(const struct rp_vhu_backend *backend, unsigned int queue, const struct rp_vhu_region *region);
/* Any started ring. -1: none, else its index. */
int vhu_vrings_inside(const struct rp_vhu_backend *backend, const struct rp_vhu_region *region);
/* Of the used ring, or of what a packed ring has in its place. */
uint64_t vhu_vring_used_bytes(const struct rp_vhu_backend *backend, unsigned int queue);
/* Where a ring's parts lie. @param ret_state only its addresses are set. @return 0 or -EBADMSG. */
int vhu_vring_translate(const struct rp_vhu_backend *backend, unsigned int queue, const struct rp_vhu_region *regions,
			unsigned int count, struct rp_vhu_vring *ret_state, struct rp_wire_why *why);
/* Stop a ring, if it is started, for as long as its memory changes. */
void vhu_vring_pause(struct rp_vhu_backend *backend, unsigned int queue);
/* Start it again. @return 0, -EBADMSG or the owner's word: it may be tried again. */
int vhu_vring_resume(struct rp_vhu_backend *backend, unsigned int queue, struct rp_wire_why *why);
/* It stays stopped. */
void vhu_vring_give_up(struct rp_vhu_backend *backend, unsigned int queue);

/* backend_position.c */
bool vhu_vring_packed(const struct rp_vhu_backend *backend);
/* @return 0 or -EBADMSG. */
int vhu_vring_check_num(const struct rp_vhu_backend *backend, uint32_t num, bool at_start, struct rp_wire_why *why);
/* What base_wire means; at a start for good, before that as far as features are known. @return 0 or -EBADMSG. */
int vhu_vring_judge_base(const struct rp_vhu_backend *backend, const struct vhu_vring *vring, bool at_start,
			 uint32_t *ret_base, struct rp_wire_why *why);

/* backend_channel.c */
int vhu_on_set_backend_req_fd(struct rp_vhu_backend *backend, struct vhu_request *request, struct rp_wire_why *why);
int vhu_channel_check_socket(int fd, struct rp_wire_why *why); /* @return 0 or -EBADMSG. */
void vhu_channel_process(struct rp_vhu_backend *backend);
void vhu_channel_close(struct rp_vhu_backend *backend);
/*
 * Whether a request can be sent: BACKEND_REQ, REPLY_ACK and `protocol_features` negotiated, a channel,
 * room. @return 0, -ENOTSUP or -ENOSPC.
 */
int vhu_channel_require(const struct rp_vhu_backend *backend, uint64_t protocol_features, struct rp_wire_why *why);
/* Send one, after the above. @param fd borrowed, -1: none. @return 0 or as rp_wire_conn_send(). */
int vhu_channel_send(struct rp_vhu_backend *backend, uint32_t request, const void *payload, uint32_t size_bytes, int fd,
		     uint64_t token, struct rp_wire_why *why);

/* Stop polling and destroy. @return NULL. */
struct rp_wire_conn *vhu_backend_drop(struct rp_vhu_backend *backend, struct rp_wire_conn *conn);

/* backend_log.c */
int vhu_on_set_log_base(struct rp_vhu_backend *backend, struct vhu_request *request, struct rp_wire_why *why);
int vhu_on_set_log_fd(struct rp_vhu_backend *backend, struct vhu_request *request, struct rp_wire_why *why);
void vhu_log_clear(struct rp_vhu_backend *backend);
/* Whether the log, if there is one, has place for a region, or for a ring's used ring. */
int vhu_log_check_region(const struct rp_vhu_backend *backend, const struct rp_vhu_region *region,
			 struct rp_wire_why *why);
int vhu_log_check_used(const struct rp_vhu_backend *backend, const struct rp_vhu_log *log, unsigned int queue,
		       uint64_t log_gpa, struct rp_wire_why *why);

/* backend_inflight.c */
int vhu_on_get_inflight_fd(struct rp_vhu_backend *backend, struct vhu_request *request, struct rp_wire_why *why);
int vhu_on_set_inflight_fd(struct rp_vhu_backend *backend, struct vhu_request *request, struct rp_wire_why *why);
void vhu_inflight_clear(struct rp_vhu_backend *backend);

/* backend_iotlb.c */
int vhu_on_iotlb(struct rp_vhu_backend *backend, struct vhu_request *request, struct rp_wire_why *why);
bool vhu_iotlb_negotiated(const struct rp_vhu_backend *backend);

#endif
