/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VHU_FRONTEND_H
#define VHU_FRONTEND_H

/*
 * Inside of the frontend:
 *
 *   frontend.c             life, submitting, answers
 *   frontend_wait.c        how a call waits for its answer
 *   frontend_negotiate.c   what comes first
 *   frontend_calls.c       the waiting calls about features and memory, one per message
 *   frontend_device.c      the waiting calls about the device itself
 *   frontend_queue.c       the waiting calls about one ring
 *   frontend_channel.c     the backend channel: its life, what the backend asks
 *   frontend_notify.c      notify areas, checked and mapped
 *   frontend_log.c         the waiting calls about the log of a migration
 *   frontend_inflight.c    the waiting calls about the in-flight region
 *   frontend_iotlb.c       translations, told and asked for
 *   frontend_vfio.c        VFIO files: one reference for each queue
 */

#include "rp_vhu_frontend.h"
#include "rp_vhu_msg.h"
#include "rp_vhu_profile.h"

#define VHU_OUTSTANDING_MAX RP_VHU_FRONTEND_OUTSTANDING_MAX
#define VHU_ANSWER_MAX_BYTES (sizeof(struct rp_vhu_wire_config) + RP_VHU_CONFIG_MAX)

/* A request that will be answered; answers come in order. */
struct vhu_outstanding {
	uint32_t request;
	enum rp_vhu_reply reply;
	rp_vhu_frontend_done done;
	void *done_ctx;
};

/* All that there is of one queue: made and freed in frontend_queue.c, nowhere else. */
struct vhu_frontend_queue {
	bool started; /* its owner sees the map while it is, and only then */
	int kick_fd; /* a duplicate */
	struct rp_vhu_notify_map map; /* without a started ring: kept for its next start (profile vfio2018) */
	struct rp_vhu_vfio_file *vfio_file; /* a reference; NULL: none */
};

struct rp_vhu_frontend {
	struct rp_vhu_frontend_config config;
	struct rp_vhu_dialect dialect;
	const struct rp_vhu_frontend_ops *ops;
	void *ctx;
	int epoll_fd;
	struct rp_wire_caller *caller; /* of kicks by eventfd */
	struct rp_wire_conn *conn;
	struct rp_wire_conn *channel; /* our end; NULL: none */
	struct rp_wire_why lost; /* why the connection ended */
	bool in_callback; /* a message is being handled: whoever waits now would read behind its back */

	uint64_t features_offered;
	uint64_t features;
	uint64_t protocol_features;
	uint16_t queues_offered;
	struct vhu_frontend_queue *queues; /* config.queues_max */
	struct rp_vhu_vfio_files *vfio_files;
	struct rp_vhu_vfio_files *own_vfio_files; /* the same, if nobody gave one; else NULL */

	struct vhu_outstanding outstanding[VHU_OUTSTANDING_MAX];
	unsigned int outstanding_head;
	unsigned int outstanding_count;
};

/* frontend.c */
/* Stop polling and destroy. @return NULL. */
struct rp_wire_conn *vhu_frontend_drop(struct rp_vhu_frontend *frontend, struct rp_wire_conn *conn);
void vhu_frontend_lose(struct rp_vhu_frontend *frontend, const struct rp_wire_why *why);
int vhu_frontend_serve_requests(struct rp_vhu_frontend *frontend);
bool vhu_frontend_can_ack(const struct rp_vhu_frontend *frontend);

/* frontend_wait.c */

/*
 * Ask and wait. An answer's payload, exactly answer_bytes long, if `answer` is given.
 * @return as every waiting call.
 */
int vhu_frontend_call(struct rp_vhu_frontend *frontend, uint32_t request, const void *payload, uint32_t size_bytes,
		      const int *fds, unsigned int fds_count, bool need_reply, void *answer, uint32_t answer_bytes,
		      struct rp_wire_why *why);
/*
 * Ask and wait, for an answer that brings a descriptor.
 * @param io_bytes room for the answer, then its size. @param ret_fd the caller's; -1: not exactly one came.
 * @return as every waiting call.
 */
int vhu_frontend_call_fd(struct rp_vhu_frontend *frontend, uint32_t request, const void *payload, uint32_t size_bytes,
			 void *answer, uint32_t *io_bytes, int *ret_fd, struct rp_wire_why *why);
/* @return 0, or -EBUSY: a callback cannot wait, and what comes before the waiting is not done either. */
int vhu_frontend_may_wait(const struct rp_vhu_frontend *frontend, struct rp_wire_why *why);
/* Ask for a u64. */
int vhu_frontend_get_u64(struct rp_vhu_frontend *frontend, uint32_t request, uint64_t *ret_value,
			 struct rp_wire_why *why);
/* Say something, and wait until the backend has done it. */
int vhu_frontend_tell(struct rp_vhu_frontend *frontend, uint32_t request, const void *payload, uint32_t size_bytes,
		      const int *fds, unsigned int fds_count, struct rp_wire_why *why);
/* Say something; waited for only if the frontend asks for every answer. */
int vhu_frontend_mention(struct rp_vhu_frontend *frontend, uint32_t request, const void *payload, uint32_t size_bytes,
			 const int *fds, unsigned int fds_count, struct rp_wire_why *why);

/* frontend_queue.c */
int vhu_frontend_create_queues(struct rp_vhu_frontend *frontend);
/* Everything of theirs: maps, VFIO files, descriptors. NULL queues are none. */
void vhu_frontend_destroy_queues(struct rp_vhu_frontend *frontend);
/* The connection has ended, or the device was reset: maps and started rings are no more. */
void vhu_frontend_reset_queues(struct rp_vhu_frontend *frontend);
/*
 * The queue of a backend's request, and whether its descriptor may come at all.
 * @return 0, -EBADMSG (no such queue), -ENOTSUP (descriptors were not negotiated).
 */
int vhu_frontend_queue_of(struct rp_vhu_frontend *frontend, uint64_t queue_flags, unsigned int fds_count,
			  struct vhu_frontend_queue **ret_queue, struct rp_wire_why *why);

/* frontend_channel.c */
/* Make it and tell the backend; what is there already stays. @return as every waiting call. */
int vhu_frontend_open_channel(struct rp_vhu_frontend *frontend, struct rp_wire_why *why);
void vhu_frontend_serve_channel(struct rp_vhu_frontend *frontend);
void vhu_frontend_close_channel(struct rp_vhu_frontend *frontend);

/* frontend_notify.c */
int vhu_frontend_take_notify_area(struct rp_vhu_frontend *frontend, struct rp_wire_msg *msg, struct rp_wire_why *why);
void vhu_frontend_unmap(struct rp_vhu_frontend *frontend, unsigned int queue);
void vhu_frontend_unmap_all(struct rp_vhu_frontend *frontend);
/* The ring starts: its owner sees what was kept. The ring stops: it sees it no more, and it is kept. */
void vhu_frontend_show(struct rp_vhu_frontend *frontend, unsigned int queue);
void vhu_frontend_hide(struct rp_vhu_frontend *frontend, unsigned int queue);

/* frontend_iotlb.c */
int vhu_frontend_take_iotlb(struct rp_vhu_frontend *frontend, const struct rp_wire_msg *msg, struct rp_wire_why *why);

/* frontend_vfio.c */
int vhu_frontend_take_vfio_file(struct rp_vhu_frontend *frontend, struct rp_wire_msg *msg, struct rp_wire_why *why);
void vhu_frontend_drop_vfio_files(struct rp_vhu_frontend *frontend);

#endif
