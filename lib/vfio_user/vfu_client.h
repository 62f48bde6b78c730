/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFU_CLIENT_H
#define VFU_CLIENT_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "rp_vfu_client.h"
#include "rp_vfu_msg.h"
#include "vfu_client_bits.h"
#include "vfu_client_memory.h"
#include "vfu_client_window.h"

/*
 * What the parts of the client share:
 *
 *   client.c              life, the server's going
 *   client_version.c      VERSION: what is offered, and what the answer brings
 *   client_turn.c         one message after the other; waiting; what is polled
 *   client_call.c         commands under way, and the wait for a reply
 *   client_serve.c        commands of the server: DMA_READ, DMA_WRITE
 *   client_window.c       the payload window (no messages)
 *   client_memory.c       what of our memory the server may reach (no messages)
 *   client_dma.c          giving memory and taking it back
 *   client_access.c       many registers for one round trip
 *   client_region.c       region access
 *   client_write_multi.c  many small writes in one message
 *   client_irq.c          interrupts
 *   client_feature.c      DEVICE_FEATURE, the migration state
 *   client_migration.c    the device's state as a stream
 *   client_logging.c      which pages the device writes
 *   client_bits.c         bitmaps in pieces (no messages)
 *   client_device.c       device, region and interrupt information, asked once
 *   client_region_info.c  judging a region's description (pure)
 *   client_io_fd.c        GET_REGION_IO_FDS
 *   client_hand_over.c    going on in another process
 *   client_iommu.c        our caller is an IOMMU (vfu_client_iommu.h)
 */

/* Under way at once; ids are 16 bits, their slots this many. */
#define RP_VFU_CALLS_MAX 256u
#define RP_VFU_CALL_SLOTS 1024u
/* Commands of the server's whose reply did not fit the socket yet; then no more are read. */
#define RP_VFU_OWED_MAX 1024u

/* A region as it was described. */
struct rp_vfu_region_cache {
	bool known;
	int fd; /* owned */
	struct rp_vfu_client_area *areas; /* owned */
	struct rp_vfu_client_region region;
};

/* A command, and then its reply. */
struct rp_vfu_call {
	uint16_t command;
	uint16_t id; /* given when it is submitted */
	bool posted; /* no reply is wanted: submitted is done */
	bool later; /* posted, and it leaves with the next one that does not */
	const void *payload;
	uint32_t payload_bytes;
	const void *data; /* behind the payload */
	uint32_t data_bytes;
	const int *fds; /* borrowed */
	unsigned int fds_count;
	uint32_t expected_bytes; /* of the reply's payload, where it has no descriptors; 0: not said */

	/*
	 * The reply is there, has been checked against its row, and is no error
	 * (error 0); or there will be none. The call belongs to this function again.
	 * NULL: somebody waits for `finished`.
	 */
	void (*arrived)(struct rp_vfu_client *client, struct rp_vfu_call *call);
	void *owner; /* of whoever made it */
	TAILQ_ENTRY(rp_vfu_call) link; /* under way, oldest first */
	uint64_t deadline_ms;
	bool finished;
	int error;
	struct rp_wire_why why;
	struct rp_wire_msg *msg; /* the reply, until the next message; its descriptors are there to be taken */
	struct rp_vfu_msg_view reply;
};

/* What the server reads or writes. */
struct rp_vfu_access {
	struct rp_vfu_wire_dma_access wire;
	uint32_t pasid; /* RP_VFU_NO_PASID: none */
};

/* A command of the server's that is still to be answered. */
struct rp_vfu_owed {
	struct rp_vfu_header header; /* of the reply */
	struct rp_vfu_access access;
};

/* Memory that an unmap or a remap under way takes back: the server's until it answers. */
struct rp_vfu_leaving {
	TAILQ_ENTRY(rp_vfu_leaving) link;
	uint32_t pasid; /* RP_VFU_NO_PASID: none */
	struct rp_vfu_memory memory;
};

/* What was mapped with a PASID. */
struct rp_vfu_pasid_memory {
	LIST_ENTRY(rp_vfu_pasid_memory) link;
	uint32_t pasid;
	struct rp_vfu_memory memory;
};

struct rp_vfu_client_iommu_state;

struct rp_vfu_client {
	struct rp_wire_conn *conn; /* NULL: the server is gone */
	struct rp_wire_conn *twin; /* for the server's commands and our answers; NULL: they share the one above */
	struct rp_vfu_client_ops ops;
	void *ctx;
	uint32_t timeout_ms;
	int peer_pid;
	bool announced; /* create() has returned: its going is told */
	bool inside; /* a callback runs: no call may wait */

	int epoll_fd; /* the sockets and the timer, for our caller */
	int timer_fd; /* of the calls that nobody waits for */
	bool timer_armed;
	uint32_t watched_events; /* of the socket, in the epoll */
	uint32_t twin_watched_events;

	enum rp_vfu_state state;
	struct rp_vfu_terms terms; /* in READY */
	uint16_t next_id;
	struct rp_vfu_call *calls[RP_VFU_CALL_SLOTS]; /* by id */
	TAILQ_HEAD(rp_vfu_calls, rp_vfu_call) under_way;
	unsigned int calls_count;

	struct rp_vfu_memory memory;
	LIST_HEAD(rp_vfu_pasid_memories, rp_vfu_pasid_memory) pasids;
	struct rp_vfu_client_iommu_state *iommu; /* NULL: our caller is none */
	TAILQ_HEAD(rp_vfu_leavings, rp_vfu_leaving) leaving;
	struct rp_vfu_owed owed[RP_VFU_OWED_MAX]; /* a ring */
	unsigned int owed_first;
	unsigned int owed_count;
	uint8_t *placed_at; /* where the data of a DMA_WRITE is being read to, or was; NULL: into the message */
	bool placed_in_vain; /* its memory was taken away meanwhile */
	struct rp_vfu_window window;
	uint8_t *scratch; /* for data that is not in one piece; NULL: not needed yet */

	bool device_known;
	struct rp_vfu_client_device device;
	struct rp_vfu_region_cache *regions; /* device.regions_count of them */
};

/*
 * Send a command and wait for its reply, serving the server meanwhile; the reply
 * has been checked against its row.
 *
 * @return 0, -ENOTCONN, -ETIMEDOUT (both: the server is gone now), -EBADMSG, -ENOTSUP
 *         (the server takes fewer descriptors), -EBUSY (from inside a callback),
 *         -EINVAL (a bad descriptor), -ENOMEM, or the error that the server replied.
 */
int rp_vfu_client_call(struct rp_vfu_client *client, struct rp_vfu_call *call, struct rp_wire_why *why);

/*
 * Send a command; `arrived` hears of its reply. What the call points to is not
 * needed any more when this returns; the call itself is, unless it is posted.
 *
 * @return 0, -EAGAIN (too many are under way, or the server does not read), and as
 *         above; `arrived` is not called then.
 */
int rp_vfu_client_submit(struct rp_vfu_client *client, struct rp_vfu_call *call, struct rp_wire_why *why);

/* As _submit(), but waits for room. @return also -EBUSY. */
int rp_vfu_client_submit_wait(struct rp_vfu_client *client, struct rp_vfu_call *call, struct rp_wire_why *why);

/* Whether a call may wait. @return 0, -EBUSY (from inside a callback), -ENOTCONN. */
int rp_vfu_client_may_wait(const struct rp_vfu_client *client, uint16_t command, struct rp_wire_why *why);

/*
 * After -EAGAIN: serve until something has moved.
 * @param deadline_ms 0 at first.
 * @return 0, -ENOTCONN, -ETIMEDOUT (the server does not read; it is gone now).
 */
int rp_vfu_client_make_room(struct rp_vfu_client *client, uint64_t *deadline_ms, struct rp_wire_why *why);

/* As _submit(), for a copy of the call; `done` hears of its end. */
int rp_vfu_client_start_plain(struct rp_vfu_client *client, const struct rp_vfu_call *call,
			      const struct rp_vfu_client_done *done, struct rp_wire_why *why);

/* Call our caller back; it may not wait meanwhile. */
void rp_vfu_client_tell(struct rp_vfu_client *client, const struct rp_vfu_client_done *done, int error,
			const struct rp_wire_why *why);

/* Several commands that end together. Zero-initialise; `outstanding` counts what was started. */
struct rp_vfu_batch {
	unsigned int outstanding;
	int error; /* the first one */
	struct rp_wire_why why;
};

/* What hears of each of them. */
struct rp_vfu_client_done rp_vfu_batch_done(struct rp_vfu_batch *batch);

/* Wait for all. @param rc of starting the last one. @return the first error, or rc. */
int rp_vfu_batch_wait(struct rp_vfu_client *client, struct rp_vfu_batch *batch, int rc, struct rp_wire_why *why);

/* Judge an answer to a region's access and take what it brings. @param ret_bytes NULL: of a write. @return 0 or -EBADMSG. */
int rp_vfu_client_take_answer(const struct rp_vfu_call *call, const struct rp_vfu_wire_region_access *asked,
			      void *ret_bytes, struct rp_wire_why *why);

/* A reply came. @return 0; -EBADMSG: of nobody, the server is gone now. */
int rp_vfu_client_take_reply(struct rp_vfu_client *client, struct rp_wire_msg *msg, const struct rp_vfu_msg_view *view);

/* Finish every call under way with an error. */
void rp_vfu_client_finish_all(struct rp_vfu_client *client, int error, const struct rp_wire_why *why);

/* One without a connection. @return NULL: no memory. */
struct rp_vfu_client *rp_vfu_client_new(const struct rp_vfu_client_config *config, const struct rp_vfu_client_ops *ops,
					void *ctx);

/* The connection is this socket. @param fd taken on success. @return 0, or what fcntl(2) and setsockopt(2) say, -ENOMEM. */
int rp_vfu_client_take_socket(struct rp_vfu_client *client, int *fd, struct rp_wire_why *why);

/* Whether it is a Unix stream socket with somebody at the other end. @return 0 or -EBADMSG. */
int rp_vfu_client_check_socket(int fd, const char *name, struct rp_wire_why *why);

/* The server's commands come from this one. @param fd taken on success. @return 0, -EBADMSG, -ENOMEM. */
int rp_vfu_client_take_twin(struct rp_vfu_client *client, int *fd, struct rp_wire_why *why);

/* Terms are agreed, sockets and what is polled are there: it is our caller's. */
void rp_vfu_client_ready(struct rp_vfu_client *client);

/* Offer, and take the answer. @return as rp_vfu_client_create(). */
int rp_vfu_client_negotiate(struct rp_vfu_client *client, const struct rp_vfu_client_config *config,
			    struct rp_wire_why *why);

/* The connection that the server's commands come from. */
struct rp_wire_conn *rp_vfu_client_serving(const struct rp_vfu_client *client);

/* Take one message, if there is one. @return 0, -EAGAIN (none), -ENOTCONN. */
int rp_vfu_client_step(struct rp_vfu_client *client);

/*
 * Sleep until the socket is ready or a call's time is over; then the server is gone.
 * @param deadline_ms at most until then.
 * @return 0 or -ENOTCONN.
 */
int rp_vfu_client_sleep(struct rp_vfu_client *client, uint64_t deadline_ms);

/*
 * Wait for the reply of a call that was just sent, taking one message if there is one.
 * @return 0 or -ENOTCONN.
 */
int rp_vfu_client_await(struct rp_vfu_client *client, const struct rp_vfu_call *call);

/* End the connection when a call's time is over. @return 0 or -ENOTCONN. */
int rp_vfu_client_check_time(struct rp_vfu_client *client);

/* Let the epoll wait for what there is to wait for. */
void rp_vfu_client_watch(struct rp_vfu_client *client);

/* Make and free what is polled. @return 0 or what epoll_create1(2), timerfd_create(2) and epoll_ctl(2) say. */
int rp_vfu_client_poll_init(struct rp_vfu_client *client);
void rp_vfu_client_poll_close(struct rp_vfu_client *client);

/* A command of the server's: carry it out, and answer as soon as the socket takes it. @return 0 or -ENOTCONN. */
int rp_vfu_client_serve(struct rp_vfu_client *client, const struct rp_vfu_msg_view *command);

/* Reads the data of a large DMA_WRITE where it belongs, once the command is known to be right; its context is the client. */
extern const struct rp_wire_placer rp_vfu_client_placer;

/* Answer what waits, as far as the socket takes it. @return 0 or -ENOTCONN. */
int rp_vfu_client_pay(struct rp_vfu_client *client);

/* End the connection, tell it, and finish every call, once. @return error. */
int rp_vfu_client_leave(struct rp_vfu_client *client, int error, const struct rp_wire_why *why);

/* Learn the device if it is not known yet. */
int rp_vfu_client_learn_device(struct rp_vfu_client *client, struct rp_wire_why *why);

/* A region's description in the bytes of a reply. */
struct rp_vfu_region_reply {
	struct rp_vfu_wire_region_info info;
	struct rp_vfu_client_area *areas; /* owned; NULL without a sparse capability */
	uint32_t areas_count;
};

/*
 * Judge the payload of a GET_REGION_INFO reply that is not cut off.
 *
 * @param bar it is a BAR of a PCI device.
 * @return 0, -EBADMSG or -ENOSPC; ret_reply is set on success, and its areas are the caller's.
 */
int rp_vfu_region_reply_parse(const uint8_t *payload, uint32_t payload_bytes, uint32_t region, bool bar,
			      struct rp_vfu_region_reply *ret_reply, struct rp_wire_why *why);

/* Whether a file can be what a description says. @return 0 or -EBADMSG. */
int rp_vfu_region_reply_check_file(const struct rp_vfu_region_reply *reply, int fd, struct rp_wire_why *why);

#endif
