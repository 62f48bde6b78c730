/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "rp_wire_clock.h"
#include "storm.h"

#define LOOK_US 200u
#define TELL_EVERY 1000u

struct move {
	unsigned int queue, queues_count;
	enum rp_port_wish wish;
};

static enum rp_port_owner
owner_of(struct storm *storm, unsigned int queue)
{
	struct rp_port_queue_info info;

	if (rp_port_get_queue_info(storm->guest_port.port, queue, &info) < 0)
		storm_die("queue %u: no information", queue);
	return info.owner;
}

static struct move
choose(struct storm *storm, unsigned int *seed)
{
	unsigned int pairs = storm->options.pairs_count;
	unsigned int kind = (unsigned int)rand_r(seed) % 10, pair = (unsigned int)rand_r(seed) % pairs;
	unsigned int lone = (unsigned int)rand_r(seed) % 2, same = (unsigned int)rand_r(seed) % 10;
	struct move move = {.queue = 2 * pair, .queues_count = 2};
	bool is_hardware;

	if (kind < 3 && !storm->options.pairs_only)
		move = (struct move){.queue = 2 * pair + lone, .queues_count = 1};
	else if (kind == 9)
		move = (struct move){0};
	is_hardware = owner_of(storm, move.queue) == RP_PORT_OWNER_HARDWARE;
	/* A move to where it is already does nothing, now and then. */
	if (is_hardware != (same == 0))
		move.wish = RP_PORT_WISH_SOFTWARE;
	else
		move.wish = same < 3 ? RP_PORT_WISH_AUTO : RP_PORT_WISH_HARDWARE;
	return move;
}

static void
describe(struct storm *storm)
{
	unsigned int i;

	served_lock(&storm->guest_port);
	for (i = 0; i < 2 * storm->options.pairs_count; i++) {
		struct rp_port_queue_info info;

		rp_port_get_queue_info(storm->guest_port.port, i, &info);
		fprintf(stderr, "storm: queue %u: owner %s, mode %s, wish %s, reason '%s', wish_reason '%s'\n", i,
			rp_port_owner_name(info.owner), rp_port_queue_mode_name(info.mode),
			rp_port_wish_name(info.wish), info.reason, info.wish_reason);
	}
	served_unlock(&storm->guest_port);
}

/* Each flow of each pair goes on, unless the VMM keeps its rings. */
static void
wait_progress(struct storm *storm, unsigned int number)
{
	uint64_t deadline_ms = rp_wire_clock_ms() + storm->options.answer_limit_s * 1000u;
	unsigned int pair, flow;

	for (pair = 0; pair < storm->options.pairs_count; pair++)
		for (flow = 0; flow < BOOKS_FLOWS; flow++) {
			uint64_t until = atomic_load(&storm->progress[pair][flow]) + storm->options.progress;

			while (atomic_load(&storm->progress[pair][flow]) < until) {
				if (atomic_load(&storm->still) > 0)
					deadline_ms = rp_wire_clock_ms() + storm->options.answer_limit_s * 1000u;
				if (rp_wire_clock_ms() > deadline_ms) {
					describe(storm);
					storm_die("after move %u pair %u stands still (flow %u)", number, pair, flow);
				}
				usleep(LOOK_US);
			}
		}
}

/* A call that succeeded did what it was asked for, when nobody interfered. Under the port's lock. */
static void
check_owner(struct storm *storm, const struct move *move)
{
	unsigned int end = move->queues_count == 0 ? 2 * storm->options.pairs_count : move->queue + move->queues_count;
	enum rp_port_owner wanted =
		move->wish == RP_PORT_WISH_SOFTWARE ? RP_PORT_OWNER_SOFTWARE : RP_PORT_OWNER_HARDWARE;
	unsigned int i;

	for (i = move->queue; i < end; i++)
		if (owner_of(storm, i) != wanted) {
			served_unlock(&storm->guest_port);
			describe(storm);
			storm_die("queue %u was to go to %s", i, rp_port_owner_name(wanted));
		}
}

static void
move_once(struct storm *storm, unsigned int *seed, unsigned int number)
{
	struct served_port *served = &storm->guest_port;
	struct rp_wire_why why = {0};
	unsigned int epoch, still;
	bool logged;
	struct move move;
	int rc;

	served_lock(served);
	move = choose(storm, seed);
	epoch = atomic_load(&storm->epoch);
	still = atomic_load(&storm->still);
	logged = atomic_load(&storm->log_state) != STORM_LOG_OFF;
	rc = rp_port_move(served->port, move.queue, move.queues_count, move.wish, &why);
	logged |= atomic_load(&storm->log_state) != STORM_LOG_OFF;
	if (storm->options.verbose)
		fprintf(stderr, "storm: move %u: queue %u, %u of them, to %s: %d %s\n", number, move.queue,
			move.queues_count, rp_port_wish_name(move.wish), rc, why.text);
	if (rc == 0 && still == 0 && !logged && epoch == atomic_load(&storm->epoch))
		check_owner(storm, &move);
	served_unlock(served);
	if (rc == 0 && ++storm->counts.moves_done % TELL_EVERY == 0)
		fprintf(stderr, "storm: %u moves\n", storm->counts.moves_done);
	if (rc == 0)
		return;
	/* A port whose frontend went has told the switch to forget it, and waits until it answers anew. */
	if ((rc == -ENOTSUP && (logged || epoch != atomic_load(&storm->epoch))) ||
	    (rc == -ENOTCONN && storm->counts.reconnects > 0))
		storm->counts.moves_refused++;
	else
		storm_die("move %u: queue %u, %u of them, to %s: %d: %s", number, move.queue, move.queues_count,
			  rp_port_wish_name(move.wish), rc, why.text);
}

/* What an operator may do at any time, and what changes who serves a ring. */
static void
interfere(struct storm *storm, unsigned int *seed)
{
	unsigned int what = (unsigned int)rand_r(seed) % 4, two = (unsigned int)rand_r(seed) % 2;
	unsigned int queue = (unsigned int)rand_r(seed) % (2 * storm->options.pairs_count);
	struct rp_port *port = storm->guest_port.port;
	struct rp_wire_why why = {0};
	int rc;

	served_lock(&storm->guest_port);
	if (what == 0) {
		rc = rp_port_queue_doorbell(port, queue, two ? RP_PORT_DOORBELL_RELAY : RP_PORT_DOORBELL_AUTO, &why);
	} else if (what < 3) {
		rc = rp_port_queue_ring(port, queue, two ? RP_PORT_RING_SHADOW : RP_PORT_RING_AUTO, &why);
	} else {
		rc = rp_port_queue_disable(port, queue, &why);
		if (rc == 0)
			rc = rp_port_queue_enable(port, queue, &why);
	}
	served_unlock(&storm->guest_port);
	if (rc < 0)
		storm_die("interference %u with queue %u: %d: %s", what, queue, rc, why.text);
}

void *
mover_main(void *ctx)
{
	struct storm *storm = ctx;
	unsigned int seed = storm->options.seed * 2654435761u + 1, i;

	for (i = 0; storm->counts.moves_done < storm->options.moves_count; i++) {
		move_once(storm, &seed, i);
		if (storm->options.policies)
			interfere(storm, &seed);
		wait_progress(storm, i);
	}
	atomic_store(&storm->moved, true);
	return NULL;
}
