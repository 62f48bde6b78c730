/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VHU_FRONTEND_H
#define VHU_FRONTEND_H

/*
 * Inside of the frontend:
 *
 *   frontend.c          life, submitting, answers
 *   frontend_calls.c    the waiting calls, one per message
 *   frontend_notify.c   the backend channel: notify areas, checked and mapped
 */

#include "rp_vhu_frontend.h"
#include "rp_vhu_msg.h"

#define VHU_OUTSTANDING_MAX 64

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

/* frontend_notify.c */
void vhu_frontend_serve_channel(struct rp_vhu_frontend *frontend);
void vhu_frontend_unmap(struct rp_vhu_frontend *frontend, unsigned int queue);
void vhu_frontend_unmap_all(struct rp_vhu_frontend *frontend);

#endif
