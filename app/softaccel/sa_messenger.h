/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SA_MESSENGER_H
#define SA_MESSENGER_H

#include <stdbool.h>
#include <stdint.h>

#include "rp_dma_io.h"
#include "rp_dma_vote.h"
#include "rp_wire_why.h"
#include "sa_courier.h"

/**
 * @file
 * The thread that runs a function's couriers.
 *
 * Theory of operation: messages are answered when the client comes to it, so
 * whoever needs their answers must be able to wait, which neither the data path
 * nor the control side can. The messenger serves its couriers in turns and sleeps
 * when none has anything to do. The control side takes a courier away at any
 * moment: what is under way for it is cancelled, so that this does not wait for the
 * client either. What it copies to and from is the data path's too, so it goes to the
 * same NUMA node, when it has something to do.
 *
 * Threads: the control side; the messenger's own inside.
 */

struct sa_messenger;

enum sa_carriage_state {
	SA_CARRIAGE_PARKED, /* nobody runs it */
	SA_CARRIAGE_RUNNING,
	SA_CARRIAGE_DRAINED, /* nothing more is to be done until it is parked */
	SA_CARRIAGE_FAULT, /* memory is not mapped; as long as nobody judges that, it may go on after a park */
	SA_CARRIAGE_BROKEN, /* the guest's ring broke a rule, or its memory fails */
};

/** A courier as its messenger runs it. The state belongs to the messenger's lock. */
struct sa_carriage {
	struct sa_courier courier;
	struct sa_messenger *messenger;
	enum sa_carriage_state state;
	bool pending; /* a turn is due */
	bool leaving; /* its accesses fail from now on */
	bool drain; /* its next turns only bring back */
	bool resumed; /* and not kicked since: the next client's memory may not be there yet */
	int call_fd; /* the guest's, borrowed; -1: none */
	bool interrupt_owed; /* while there was none, or it could not be signalled */
	int error; /* why it broke, unless the ring says */
	int fault; /* the messenger's: what an access said within this turn */
};

/**
 * @param space the guest's memory, borrowed.
 * @param queues_count numbers of carriages are below.
 * @param vote where the data path is, borrowed.
 * @param notice_fd an eventfd, borrowed: a carriage drained or broke.
 * @return 0 or a negative errno.
 */
int sa_messenger_create(struct rp_dma_space *space, unsigned int queues_count, const struct rp_dma_vote *vote,
			int notice_fd, struct sa_messenger **ret_messenger);
/** All carriages are parked. NULL is allowed. @return NULL. */
struct sa_messenger *sa_messenger_destroy(struct sa_messenger *messenger);

/** How couriers reach the guest's memory; the context is the carriage. */
extern const struct rp_vring_mirror_ops sa_messenger_access;

/**
 * Run a parked carriage.
 * @param resumed it ran before, for another client, and may have to wait for memory.
 * @return 0, or what epoll_ctl(2) says.
 */
int sa_messenger_start(struct sa_messenger *messenger, struct sa_carriage *carriage, unsigned int number, bool resumed);

/** The address space changed: what a resumed one waits for may be there. */
void sa_messenger_poke(struct sa_messenger *messenger, struct sa_carriage *carriage);

/** Take it away: on return the messenger does not touch it, and it is parked. Waits for no client. */
void sa_messenger_park(struct sa_messenger *messenger, struct sa_carriage *carriage, unsigned int number);

/** The data path has let go of the ring: bring back what it did, then be drained. */
void sa_messenger_drain(struct sa_messenger *messenger, struct sa_carriage *carriage);

/** Attach another eventfd of the guest's; the former is not used any more on return. */
void sa_messenger_set_call(struct sa_messenger *messenger, struct sa_carriage *carriage, int call_fd);

/** @return what became of it; *ret_error is why it broke, 0: the ring did (rp_vring_mirror_why()). */
enum sa_carriage_state sa_messenger_state(struct sa_messenger *messenger, const struct sa_carriage *carriage,
					  int *ret_error);

#endif
