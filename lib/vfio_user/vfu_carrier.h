/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFU_CARRIER_H
#define VFU_CARRIER_H

#include <stdbool.h>
#include <stdint.h>

#include "rp_dma_carrier.h"
#include "rp_vfu_msg.h"
#include "rp_wire_conn.h"
#include "rp_wire_why.h"
#include "vfu_server_window.h"

/*
 * DMA by messages: the carrier of a server's address space.
 *
 * Theory of operation: transfers come from any thread into a queue under a lock,
 * and an eventfd wakes the server's thread. That thread cuts them into commands
 * (DMA_READ, DMA_WRITE, of at most max_data_xfer_size; with a payload window also
 * WINDOW_READ and WINDOW_WRITE), keeps several in flight, and matches replies by id. A transfer that is given up leaves its commands in
 * flight behind, whose answers are swallowed. When commands may leave is the
 * server's to know; the carrier only knows how.
 *
 * Threads: submit and cancel (through rp_dma_carrier_ops): any. The rest: the server's.
 */

#define RP_VFU_FLIGHTS_MAX 256u /* an id has 8 bits for the place and 8 for its generation */
#define RP_VFU_FLIGHTS_DEFAULT 64u

struct rp_vfu_carrier;

struct rp_vfu_pasid;

extern const struct rp_dma_carrier_ops rp_vfu_carrier_ops; /* of a carrier */
extern const struct rp_dma_carrier_ops rp_vfu_carrier_pasid_ops; /* of a struct rp_vfu_pasid (vfu_server_iommu.h) */

/*
 * @param flights_max commands in flight, 1 to RP_VFU_FLIGHTS_MAX.
 * @return 0, -ENOMEM or what eventfd(2) says.
 */
int rp_vfu_carrier_create(unsigned int flights_max, uint32_t timeout_ms, struct rp_vfu_carrier **ret_carrier);
struct rp_vfu_carrier *rp_vfu_carrier_destroy(struct rp_vfu_carrier *carrier);

/* Readable when something was submitted, or rp_vfu_carrier_wake() was called. */
int rp_vfu_carrier_fd(const struct rp_vfu_carrier *carrier);
/* Any thread: make the server's thread look. */
void rp_vfu_carrier_wake(void *carrier);
/* Whoever wakes from here on is seen later. */
void rp_vfu_carrier_awake(struct rp_vfu_carrier *carrier);

/*
 * The server's thread: whether it may sleep without looking at the descriptor. No more
 * with this client once another thread has submitted something, or woken it.
 */
bool rp_vfu_carrier_may_sleep(struct rp_vfu_carrier *carrier);

/* A client is there: transfers are taken from now on. @param window borrowed until the close; NULL: none. */
void rp_vfu_carrier_open(struct rp_vfu_carrier *carrier, uint64_t message_bytes_max,
			 struct rp_vfu_server_window *window);
/* It left: everything under way ends with -ENOTCONN, and nothing is taken. */
void rp_vfu_carrier_close(struct rp_vfu_carrier *carrier);

/*
 * Send what may be in flight, until the connection has output waiting.
 * @return 0 or -ENOTCONN.
 */
int rp_vfu_carrier_pump(struct rp_vfu_carrier *carrier, struct rp_wire_conn *conn, struct rp_wire_why *why);

/*
 * Take a reply.
 * @return 0, -ENOENT (no command of that id is in flight), -EBADMSG (it lies; the connection is to end).
 */
int rp_vfu_carrier_reply(struct rp_vfu_carrier *carrier, const struct rp_vfu_msg_view *reply, struct rp_wire_why *why);

/* Reads the data of answers where it belongs; its context is the carrier. */
extern const struct rp_wire_placer rp_vfu_carrier_placer;

/* Give up what touches a range, of whatever PASID, both ends included: it ends with -ECANCELED. */
void rp_vfu_carrier_abandon(struct rp_vfu_carrier *carrier, uint64_t first_iova, uint64_t last_iova);

/* Whether an answer is awaited, be it one that will be swallowed. */
bool rp_vfu_carrier_is_awaiting(struct rp_vfu_carrier *carrier);
/* When the oldest command in flight runs out of time; UINT64_MAX: none is. */
uint64_t rp_vfu_carrier_deadline_ms(struct rp_vfu_carrier *carrier);

#endif
