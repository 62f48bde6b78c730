/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef RP_WIRE_CONN_H
#define RP_WIRE_CONN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "rp_wire_why.h"

/**
 * @file
 * A connection that carries framed messages with file descriptors over a Unix
 * stream socket. The one receive path of the project.
 *
 * Theory of operation: receiving is a state machine that owns a half-read
 * message; it never waits. It reads the header's bytes, asks the protocol for
 * the payload's size, then reads exactly that many, so descriptors (which the
 * kernel ties to a byte of the stream) can only be those of the message being
 * read. A protocol may say how much can be read together with a header without
 * that becoming doubtful (ahead_bytes). They are taken out of the control data, close-on-exec, before anything
 * else can return. What a handler does not take is closed by the next receive
 * or by rp_wire_msg_drop().
 *
 * Sending writes at once what the socket takes and queues the rest, up to a
 * limit of bytes (the protocol's) and of descriptors (four times
 * RP_WIRE_FDS_MAX); queued messages hold duplicates of their descriptors.
 *
 * Many small messages in a row may leave together: between rp_wire_conn_cork() and
 * rp_wire_conn_uncork() they are gathered, which saves a system call and a wake-up
 * of the peer for each.
 *
 * Threads: a connection belongs to one thread.
 */

#define RP_WIRE_FDS_MAX 32

/** One received message. Owned by its connection, valid until the next receive. */
struct rp_wire_msg {
	uint8_t *bytes; /**< header, then payload */
	size_t size_bytes; /**< header and payload together */
	unsigned int fds_count;
	int fds[RP_WIRE_FDS_MAX]; /**< take with rp_wire_fd_take() */
};

/** What a protocol says about its frames. Must outlive its connections. */
struct rp_wire_framing {
	size_t header_bytes; /**< fixed, at most 64 */
	size_t payload_max_bytes; /**< a header that announces more is -EPROTO */
	size_t output_max_bytes; /**< queued for a slow peer; beyond: -ENOSPC */
	unsigned int fds_max; /**< at most RP_WIRE_FDS_MAX; more is -EPROTO */
	/**
	 * How much is read together with a header, at most header_bytes: what follows it in
	 * most messages. A message that is shorter with it must never have descriptors:
	 * they are given to the last message that begins in what was read. Then many small
	 * messages that came without descriptors are read together, too. 0: nothing is read ahead.
	 */
	size_t ahead_bytes;
	/**
	 * Whether peers write each message that has descriptors by itself, so that they are always those of the last
	 * message that begins in what was read: then as much is read at once as there is. For who receives until
	 * there is nothing more (rp_wire_conn_has_ahead()), and with ahead_bytes 0.
	 */
	bool fds_alone;
	/**
	 * The payload's size from a whole header.
	 * @return 0, or -EPROTO with the reason when the header cannot be one.
	 */
	int (*payload_bytes)(const void *header, size_t *ret_bytes, struct rp_wire_why *why);
};

/**
 * Who knows where the end of a large payload belongs, so that it is read there and
 * not copied there afterwards. The message then holds the header and the payload's
 * first bytes; size_bytes is what it always is.
 */
struct rp_wire_placer {
	size_t head_bytes; /**< of the payload, which are in the message all the same */
	size_t payload_min_bytes; /**< smaller ones are not asked for; more than head_bytes */
	/**
	 * Before each read of such a payload, whose head has been read.
	 * @param header whole, aligned for any type, with the head behind it.
	 * @return where the bytes behind the head begin, good until end(); NULL: into the
	 *         message. After the first read that means that nobody wants them any more:
	 *         those that were read before are 0 in the message.
	 */
	uint8_t *(*begin)(void *ctx, const void *header, size_t payload_bytes);
	/** After each begin() that did not return NULL. */
	void (*end)(void *ctx);
};

/**
 * Who keeps the last part of a large message until the socket has taken it, so that it
 * is not copied for that.
 */
struct rp_wire_lender {
	/**
	 * Before each write of it.
	 * @return where all of its bytes are, unchanged, good until end(); NULL: they are lost,
	 *         and with half of a message the connection is.
	 */
	const uint8_t *(*begin)(void *ctx);
	/** After each begin() that did not return NULL. */
	void (*end)(void *ctx);
	/** They are not needed any more: it is out, or the connection is gone. */
	void (*done)(void *ctx);
};

struct rp_wire_conn;

/**
 * Make a connection of a connected socket.
 *
 * @param fd taken on success; made non-blocking.
 * @return 0, -EINVAL or -ENOMEM.
 */
int rp_wire_conn_create(int *fd, const struct rp_wire_framing *framing, struct rp_wire_conn **ret_conn);

/**
 * Ask somebody where payloads belong.
 * @param placer not copied; NULL: nobody. @param ctx handed to it.
 */
void rp_wire_conn_set_placer(struct rp_wire_conn *conn, const struct rp_wire_placer *placer, void *ctx);

/** Close it, and every descriptor that nobody took. NULL is allowed. @return NULL. */
struct rp_wire_conn *rp_wire_conn_destroy(struct rp_wire_conn *conn);

/** @return the socket, borrowed, for poll(2); never fails. */
int rp_wire_conn_fd(const struct rp_wire_conn *conn);

/** What to poll for: POLLIN, and POLLOUT while output is queued. */
short rp_wire_conn_poll_events(const struct rp_wire_conn *conn);

/**
 * Have an epoll look for what poll_events() says, level-triggered, with data 0. To be called after whatever may have
 * changed that; the kernel is asked only when it has. Before it is destroyed the caller takes the socket out of the
 * epoll. Thread: the connection's.
 *
 * @param epoll_fd borrowed; the same one each time.
 * @return 0, or epoll_ctl(2)'s error: it looks for what it did before.
 */
int rp_wire_conn_watch(struct rp_wire_conn *conn, int epoll_fd);

/**
 * Receive one message without waiting.
 *
 * @param ret_msg set when 0 is returned; the previous one is gone.
 * @return 0, -EAGAIN (not whole yet), -ENOTCONN (peer left),
 *         -EPROTO (framing lost, control data truncated, too many descriptors);
 *         the last two are final: every later receive says the same, and the
 *         descriptors of the message that was being read are closed. Sending
 *         what explains it is still allowed.
 */
int rp_wire_conn_receive(struct rp_wire_conn *conn, struct rp_wire_msg **ret_msg, struct rp_wire_why *why);

/**
 * Let rp_wire_conn_receive_wait() sleep in the read itself.
 * @param limit_ms for so long at most; 0: for ever.
 * @return 0 or what fcntl(2) and setsockopt(2) say.
 */
int rp_wire_conn_allow_wait(struct rp_wire_conn *conn, uint32_t limit_ms);

/**
 * As rp_wire_conn_receive(), but sleeps for the message's first bytes, which costs
 * less than poll(2) before it. Needs rp_wire_conn_allow_wait().
 *
 * @param payload_bytes of the message that probably comes, so that one read takes it with its
 *        header; 0: as usual. To be said only where what comes next has no descriptors, nor
 *        what follows a shorter one. Ignored where nothing is read ahead, and when it is large.
 * @return also -EAGAIN when the limit is over, or a signal came.
 */
int rp_wire_conn_receive_wait(struct rp_wire_conn *conn, size_t payload_bytes, struct rp_wire_msg **ret_msg,
			      struct rp_wire_why *why);

/**
 * Whether bytes of a next message have been read already: then poll(2) does not tell
 * of them. Never after a receive that returned -EAGAIN.
 */
bool rp_wire_conn_has_ahead(const struct rp_wire_conn *conn);

/**
 * Several small messages without descriptors probably come next: they are read together, as they are behind a
 * small one.
 */
void rp_wire_conn_expect_many(struct rp_wire_conn *conn);

/**
 * Whether nothing of a message is in our hands: none half read, read ahead, gathered or queued,
 * and the connection has not failed. Then another process may go on with its socket.
 */
bool rp_wire_conn_is_idle(const struct rp_wire_conn *conn);

/**
 * Send one message: at once as far as the socket takes it, the rest queued.
 *
 * @param iov the whole message, header included, in at most 8 parts; borrowed.
 * @param fds borrowed; duplicated if the message must be queued.
 * @return 0, -ENOSPC (output limit or memory; nothing was sent), -ENOTCONN,
 *         -EINVAL (no bytes, too many parts or descriptors, a bad descriptor;
 *         nothing was sent).
 */
int rp_wire_conn_send(struct rp_wire_conn *conn, const struct iovec *iov, unsigned int iov_count, const int *fds,
		      unsigned int fds_count);

/**
 * As rp_wire_conn_send() without descriptors; the last part is lent.
 *
 * @param lender not copied.
 * @return also 1: what the socket did not take of the last part is needed until done().
 *         Otherwise the lender is not asked, or told, anything.
 */
int rp_wire_conn_send_lent(struct rp_wire_conn *conn, const struct iovec *iov, unsigned int iov_count,
			   const struct rp_wire_lender *lender, void *ctx);

/**
 * Gather small messages without descriptors from here on. What rp_wire_conn_send()
 * said of them stands: they leave before whatever is sent after them.
 */
void rp_wire_conn_cork(struct rp_wire_conn *conn);

/**
 * As rp_wire_conn_cork(), for messages that are of use to their receiver only when all of them are there: more
 * of them leave together. Until rp_wire_conn_uncork().
 */
void rp_wire_conn_cork_flight(struct rp_wire_conn *conn);

/**
 * Send one message with whatever is sent next, for which nobody waits: a peer that sleeps is not woken by it.
 * Until then poll_events says POLLOUT, and rp_wire_conn_flush() sends it. A large one is sent at once.
 *
 * @return as rp_wire_conn_send().
 */
int rp_wire_conn_send_later(struct rp_wire_conn *conn, const struct iovec *iov, unsigned int iov_count);

/** Send what was gathered, or queue it. Not corked is allowed. @return 0 or -ENOTCONN. */
int rp_wire_conn_uncork(struct rp_wire_conn *conn);

/** Send what was gathered so far, or queue it, and go on gathering. @return 0 or -ENOTCONN. */
int rp_wire_conn_push(struct rp_wire_conn *conn);

/** Write queued output. @return 0 (all out), -EAGAIN (some left), -ENOTCONN. */
int rp_wire_conn_flush(struct rp_wire_conn *conn);

/** Close the descriptors of a message that nobody took. */
void rp_wire_msg_drop(struct rp_wire_msg *msg);

#endif
