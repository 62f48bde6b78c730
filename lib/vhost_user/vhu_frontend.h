/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VHU_FRONTEND_H
#define VHU_FRONTEND_H

/*
 * Inside of the frontend:
 *
 *   frontend.c             life, submitting, answers
 *   frontend_wait.c        how a call waits for its answer
 *   frontend_negotiate.c   what comes first
 *   frontend_calls.c       the waiting calls about the device, one per message
 *   frontend_queue.c       the waiting calls about one ring
 *   frontend_channel.c     the backend channel: its life, what the backend asks
 *   frontend_notify.c      notify areas, checked and mapped
 */

#include "rp_vhu_frontend.h"
#include "rp_vhu_msg.h"

#define VHU_OUTSTANDING_MAX 64
#define VHU_ANSWER_MAX_BYTES (sizeof(struct rp_vhu_wire_config) + RP_VHU_CONFIG_MAX)

/* A request that will be answered; answers come in order. */
struct vhu_outstanding {
	uint32_t request;
	enum rp_vhu_reply reply;
	rp_vhu_frontend_done done;
	void *done_ctx;
};

struct vhu_frontend_ring {
	bool started;
	int kick_fd; /* a duplicate */
	struct rp_vhu_notify_map map;
};

struct rp_vhu_frontend {
	struct rp_vhu_frontend_config config;
	const struct rp_vhu_frontend_ops *ops;
	void *ctx;
	int epoll_fd;
	struct rp_wire_conn *conn;
	struct rp_wire_conn *channel; /* our end; NULL: none */
	struct rp_wire_why lost; /* why the connection ended */
	bool in_callback; /* a message is being handled: whoever waits now would read behind its back */

	uint64_t features_offered;
	uint64_t features;
	uint64_t protocol_features;
	uint16_t queues_offered;
	struct vhu_frontend_ring *rings; /* config.queues_max */

	struct vhu_outstanding outstanding[VHU_OUTSTANDING_MAX];
	unsigned int outstanding_head;
	unsigned int outstanding_count;
};

/* frontend.c */
int vhu_frontend_watch(struct rp_vhu_frontend *frontend, struct rp_wire_conn *conn);
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
/* Ask for a u64. */
int vhu_frontend_get_u64(struct rp_vhu_frontend *frontend, uint32_t request, uint64_t *ret_value,
			 struct rp_wire_why *why);
/* Say something, and wait until the backend has done it. */
int vhu_frontend_tell(struct rp_vhu_frontend *frontend, uint32_t request, const void *payload, uint32_t size_bytes,
		      const int *fds, unsigned int fds_count, struct rp_wire_why *why);
/* Say something; waited for only if the frontend asks for every answer. */
int vhu_frontend_mention(struct rp_vhu_frontend *frontend, uint32_t request, const void *payload, uint32_t size_bytes,
			 const int *fds, unsigned int fds_count, struct rp_wire_why *why);

/* frontend_channel.c */
/* Make it and tell the backend; what is there already stays. @return as every waiting call. */
int vhu_frontend_open_channel(struct rp_vhu_frontend *frontend, struct rp_wire_why *why);
void vhu_frontend_serve_channel(struct rp_vhu_frontend *frontend);

/* frontend_notify.c */
int vhu_frontend_notify_area(struct rp_vhu_frontend *frontend, const struct rp_wire_msg *msg, struct rp_wire_why *why);
void vhu_frontend_unmap(struct rp_vhu_frontend *frontend, unsigned int queue);
void vhu_frontend_unmap_all(struct rp_vhu_frontend *frontend);

#endif
