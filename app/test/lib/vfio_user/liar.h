/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef LIAR_H
#define LIAR_H

#include <pthread.h>

#include "peer.h"
#include "rp_vfu_client.h"

/*
 * A server made of bytes, in a thread, for the client to be tested against. It
 * answers honestly, from vectors of its own, what a test does not answer itself.
 * Its device: 9 regions (0: 4 KiB of registers, 2: 64 KiB with two areas, 4: 8 KiB
 * of memory at 4 KiB of its file, 7: configuration space) and 5 interrupts.
 */

struct liar {
	/* What the test says to a command. True: it was answered (or meant to be silence). */
	bool (*answer)(struct liar *liar, const struct peer_msg *command);
	void *ctx;
	bool lie_from_version; /* the test answers VERSION too */

	struct peer peer; /* the connection, for answers */
	int listen_fd;
	int file_fd; /* 64 KiB, behind every region */
	pthread_t thread;
	unsigned int commands; /* received so far; the thread's */
	struct test_leaks before;
};

/* Listen at test_socket_path() and serve one client. */
void liar_start(struct liar *liar, bool (*answer)(struct liar *liar, const struct peer_msg *command));

/* The client is gone; nothing may be left of it. @return how many commands came. */
unsigned int liar_stop(struct liar *liar);

/* Both: a client of it, with a time limit of 2 s. */
struct rp_vfu_client *liar_client(struct liar *liar, bool (*answer)(struct liar *liar, const struct peer_msg *command));

/* Reply to a command. */
void liar_reply(struct liar *liar, const struct peer_msg *command, const void *payload, size_t payload_bytes,
		const int *fds, unsigned int fds_count);
void liar_error(struct liar *liar, const struct peer_msg *command, uint32_t error);

/* What an honest server says. */
void liar_honest(struct liar *liar, const struct peer_msg *command);

#endif
