/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFU_SERVER_H
#define VFU_SERVER_H

#include <stdbool.h>
#include <stdint.h>

#include "rp_vfu_msg.h"
#include "rp_vfu_server.h"

/*
 * What the parts of the server share:
 *
 *   server.c           life, the client's coming and going, the receive loop
 *   server_config.c    judging and copying the device's description
 *   server_dispatch.c  row, checks, handler, reply
 *   server_info.c      DEVICE_GET_INFO, GET_REGION_INFO, GET_REGION_IO_FDS, GET_IRQ_INFO
 *   server_irq.c       SET_IRQS and the vectors
 *   server_region.c    REGION_READ, REGION_WRITE
 *   server_dma.c       DMA_MAP, DMA_UNMAP
 *   server_session.c   VERSION, DEVICE_RESET
 */

#define RP_VFU_REPLY_FIXED_MAX_BYTES 64

/* The eventfds of a vector, in the order of the ACTION bits of SET_IRQS. */
enum rp_vfu_irq_event {
	RP_VFU_IRQ_EVENT_MASK,
	RP_VFU_IRQ_EVENT_UNMASK,
	RP_VFU_IRQ_EVENT_TRIGGER,
	RP_VFU_IRQ_EVENTS_COUNT,
};

/*
 * While a vector is masked, whoever signals it is given `parked_fd`, which holds
 * the signal until the unmasking.
 */
struct rp_vfu_vector {
	int fds[RP_VFU_IRQ_EVENTS_COUNT]; /* owned, -1: none */
	int parked_fd; /* owned; -1 unless it was masked once */
	bool masked;
};

struct rp_vfu_irq_index {
	struct rp_vfu_irq_type type;
	struct rp_vfu_vector *vectors; /* type.count of them */
};

struct rp_vfu_server {
	struct rp_vfu_server_ops ops;
	void *ctx;
	char *socket_path;
	int listen_fd;
	int successor_fd; /* accepted while the client that it follows was leaving; -1: none */
	int epoll_fd;

	bool pci;
	bool resettable;
	uint32_t regions_count;
	struct rp_vfu_region *regions; /* with areas and io_fds of our own */
	uint32_t irqs_count;
	struct rp_vfu_irq_index *irqs;

	struct rp_wire_conn *conn; /* NULL: no client */
	uint32_t watched_events; /* what epoll looks for on conn */
	enum rp_vfu_state state; /* of conn */
	struct rp_vfu_terms terms; /* in READY */
	struct rp_dma_space *dma;

	uint8_t *scratch; /* of a reply's data; grows */
	size_t scratch_bytes;
};

/* What a handler answers. The generic code sends it, or an error instead. */
struct rp_vfu_reply {
	uint8_t fixed[RP_VFU_REPLY_FIXED_MAX_BYTES];
	uint32_t fixed_bytes;
	const uint8_t *data; /* borrowed until sent, as the descriptors are */
	uint32_t data_bytes;
	int fds[RP_VFU_MSG_FDS_MAX];
	unsigned int fds_count;
	bool last; /* the connection ends behind it */
};

/*
 * A handler gives a command its meaning; sizes, descriptor counts and the row's
 * check are right already. It takes the descriptors that it keeps.
 *
 * @return 0 or a negative errno with its reason; then the reply is an error.
 */
typedef int (*rp_vfu_handler)(struct rp_vfu_server *server, const struct rp_vfu_msg_view *command, int *fds,
			      struct rp_vfu_reply *reply, struct rp_wire_why *why);

int rp_vfu_server_on_version(struct rp_vfu_server *server, const struct rp_vfu_msg_view *command, int *fds,
			     struct rp_vfu_reply *reply, struct rp_wire_why *why);
int rp_vfu_server_on_dma_map(struct rp_vfu_server *server, const struct rp_vfu_msg_view *command, int *fds,
			     struct rp_vfu_reply *reply, struct rp_wire_why *why);
int rp_vfu_server_on_dma_unmap(struct rp_vfu_server *server, const struct rp_vfu_msg_view *command, int *fds,
			       struct rp_vfu_reply *reply, struct rp_wire_why *why);
int rp_vfu_server_on_device_info(struct rp_vfu_server *server, const struct rp_vfu_msg_view *command, int *fds,
				 struct rp_vfu_reply *reply, struct rp_wire_why *why);
int rp_vfu_server_on_region_info(struct rp_vfu_server *server, const struct rp_vfu_msg_view *command, int *fds,
				 struct rp_vfu_reply *reply, struct rp_wire_why *why);
int rp_vfu_server_on_io_fds(struct rp_vfu_server *server, const struct rp_vfu_msg_view *command, int *fds,
			    struct rp_vfu_reply *reply, struct rp_wire_why *why);
int rp_vfu_server_on_irq_info(struct rp_vfu_server *server, const struct rp_vfu_msg_view *command, int *fds,
			      struct rp_vfu_reply *reply, struct rp_wire_why *why);
int rp_vfu_server_on_set_irqs(struct rp_vfu_server *server, const struct rp_vfu_msg_view *command, int *fds,
			      struct rp_vfu_reply *reply, struct rp_wire_why *why);
int rp_vfu_server_on_region_read(struct rp_vfu_server *server, const struct rp_vfu_msg_view *command, int *fds,
				 struct rp_vfu_reply *reply, struct rp_wire_why *why);
int rp_vfu_server_on_region_write(struct rp_vfu_server *server, const struct rp_vfu_msg_view *command, int *fds,
				  struct rp_vfu_reply *reply, struct rp_wire_why *why);
int rp_vfu_server_on_reset(struct rp_vfu_server *server, const struct rp_vfu_msg_view *command, int *fds,
			   struct rp_vfu_reply *reply, struct rp_wire_why *why);

/* Judge and execute one received message, answer it. @return 0, or -ENOTCONN: the connection is to end. */
int rp_vfu_server_dispatch(struct rp_vfu_server *server, struct rp_wire_msg *msg, struct rp_wire_why *why);

/* Copy the description. @return 0, -EINVAL, -ENOMEM; what was copied is freed by _config_free() either way. */
int rp_vfu_server_config_copy(struct rp_vfu_server *server, const struct rp_vfu_server_config *config,
			      struct rp_wire_why *why);
void rp_vfu_server_config_free(struct rp_vfu_server *server);

/* Forget what a client set for its interrupts, with irq_changed() for each vector that had an eventfd. */
void rp_vfu_server_irqs_drop(struct rp_vfu_server *server);

/* Room for a reply's data. @return NULL when there is no memory. */
uint8_t *rp_vfu_server_scratch(struct rp_vfu_server *server, size_t bytes);

#endif
