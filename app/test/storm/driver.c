/* SPDX-License-Identifier: BSD-3-Clause */
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "rp_wire_clock.h"
#include "storm.h"

/*
 * The thread that fills and empties all rings. The guest asks; the peer answers by the
 * plane through which the question came, and has news of its own. Credits keep the frames
 * that are under way below the buffers that wait for them, so that nothing is ever
 * dropped for want of one.
 *
 * Order: the peer hears the guest by two legs. Before it looks at a frame of the one it
 * takes all that the other has, so that what was there first is looked at first.
 */

#define WINDOW 24u /* of each flow */
#define WRITE_OFF_MS 10u
#define IDLE_MS 100
#define NO_SEQUENCE UINT32_MAX

static unsigned int
rx(unsigned int pair)
{
	return 2 * pair;
}

static unsigned int
tx(unsigned int pair)
{
	return 2 * pair + 1;
}

static struct books_page *
page_of(struct storm *storm, unsigned int pair, enum books_flow flow)
{
	return &storm->books.pages[pair][flow];
}

static bool
exists(const struct storm *storm, unsigned int leg)
{
	return storm->peers[leg].frontend != NULL;
}

static void
arrived(struct storm *storm, unsigned int pair, enum books_flow flow)
{
	storm->lanes[pair].moved_ms[flow] = rp_wire_clock_ms();
	atomic_fetch_add_explicit(&storm->progress[pair][flow], 1, memory_order_relaxed);
}

/* Sent, neither arrived nor overtaken by one that did, and not given up waiting for. */
static uint32_t
under_way(struct storm *storm, unsigned int pair, enum books_flow flow)
{
	const struct books_page *page = page_of(storm, pair, flow);
	uint32_t settled = storm->lanes[pair].written_off[flow];

	return page->sent - (page->next > settled ? page->next : settled);
}

/* Frames for a port without a receive ring are gone; those that follow must not wait for them. */
static void
write_off(struct storm *storm, unsigned int pair, enum books_flow flow)
{
	struct storm_lane *lane = &storm->lanes[pair];
	uint64_t now_ms = rp_wire_clock_ms();

	if (under_way(storm, pair, flow) == 0) {
		lane->moved_ms[flow] = now_ms;
	} else if (now_ms - lane->moved_ms[flow] > WRITE_OFF_MS) {
		lane->written_off[flow] = page_of(storm, pair, flow)->sent;
		lane->moved_ms[flow] = now_ms;
	}
}

static bool
guest_receives(struct storm *storm, unsigned int pair)
{
	const uint8_t *frame;
	uint32_t size_bytes, sequence;
	bool any = false;

	while ((frame = station_take(&storm->guest, rx(pair), &size_bytes)) != NULL) {
		int flow = books_arrived(&storm->books, pair, 0, true, frame, size_bytes, &sequence);

		if (flow >= 0)
			arrived(storm, pair, (enum books_flow)flow);
		any = true;
	}
	if (any)
		station_fill(&storm->guest, rx(pair));
	return any;
}

static bool
ask(struct storm *storm, unsigned int pair, uint32_t sequence)
{
	struct station *guest = &storm->guest;
	struct station_queue *queue = &guest->queues[tx(pair)];
	uint8_t *frame = station_frame(guest, tx(pair));

	if (frame == NULL)
		return false;
	storm->lanes[pair].sequences[queue->free_buffers[queue->free_count - 1]] = sequence;
	books_sent(&storm->books, pair, BOOKS_ASK, sequence, 0);
	station_send(guest, tx(pair), books_make(&storm->books, pair, BOOKS_ASK, sequence, frame));
	return true;
}

static bool
may_ask(struct storm *storm, unsigned int pair)
{
	const struct books_page *asks = page_of(storm, pair, BOOKS_ASK);
	uint32_t back = under_way(storm, pair, BOOKS_ANSWER) + storm->lanes[pair].pending_count;

	return !atomic_load(&storm->quiet) && asks->sent - asks->received + back < WINDOW;
}

static bool
guest_asks(struct storm *storm, unsigned int pair)
{
	struct storm_lane *lane = &storm->lanes[pair];
	bool sent = false;

	while (lane->again_at < lane->again_count && ask(storm, pair, lane->again[lane->again_at])) {
		lane->again_at++;
		sent = true;
	}
	while (lane->again_at == lane->again_count && may_ask(storm, pair) &&
	       ask(storm, pair, page_of(storm, pair, BOOKS_ASK)->sent))
		sent = true;
	if (sent)
		station_kick_if_wanted(&storm->guest, tx(pair));
	return sent;
}

/* As a driver does: a ring is looked at when an interrupt said so, and until it is empty. */
static bool
guest_turn(struct storm *storm, unsigned int pair)
{
	struct station *guest = &storm->guest;
	bool any = false;

	if (guest->queues[tx(pair)].awake)
		any |= guest->queues[tx(pair)].awake = station_reap(guest, tx(pair)) > 0;
	if (guest->queues[rx(pair)].awake)
		any |= guest->queues[rx(pair)].awake = guest_receives(storm, pair);
	write_off(storm, pair, BOOKS_ANSWER);
	write_off(storm, pair, BOOKS_NEWS);
	return guest_asks(storm, pair) || any;
}

/* What was written before may be from before the log: every ring was looked at just now. */
static void
watch_log(struct storm *storm)
{
	unsigned int i;

	for (i = 0; i < storm->guest.queues_count; i++) {
		memset(storm->guest.queues[i].written, 0, sizeof(storm->guest.queues[i].written));
		storm->log_used_total[i] = storm->guest.queues[i].used_total;
	}
	atomic_store(&storm->log_state, STORM_LOG_WATCHED);
}

static bool
guest_turns(struct storm *storm)
{
	bool any = false, log_set;
	unsigned int pair, i;

	if (pthread_mutex_trylock(&storm->guest.lock) != 0)
		return false;
	log_set = atomic_load(&storm->log_state) == STORM_LOG_SET;
	for (i = 0; log_set && i < storm->guest.queues_count; i++)
		storm->guest.queues[i].awake = true;
	for (pair = 0; pair < storm->options.pairs_count; pair++)
		any |= guest_turn(storm, pair);
	if (log_set)
		watch_log(storm);
	atomic_fetch_add(&storm->guest_turns, 1);
	pthread_mutex_unlock(&storm->guest.lock);
	return any;
}

static void
hear(struct storm *storm, unsigned int pair, enum storm_leg leg, const uint8_t *frame, uint32_t size_bytes)
{
	struct storm_lane *lane = &storm->lanes[pair];
	uint32_t sequence;

	if (books_arrived(&storm->books, pair, leg, false, frame, size_bytes, &sequence) != BOOKS_ASK)
		return;
	arrived(storm, pair, BOOKS_ASK);
	lane->last_leg = leg;
	if (lane->pending_count == STATION_RING_NUM)
		storm_die("pair %u: more asks than the guest has credit for", pair);
	lane->pending[(lane->pending_head + lane->pending_count++) % STATION_RING_NUM] = leg;
}

static bool
hear_leg(struct storm *storm, unsigned int pair, enum storm_leg leg, bool other_first)
{
	struct station *peer = &storm->peers[leg];
	const uint8_t *frame;
	uint32_t size_bytes;
	bool any = false;

	if (!exists(storm, leg))
		return false;
	while ((frame = station_take(peer, rx(pair), &size_bytes)) != NULL) {
		if (other_first)
			hear_leg(storm, pair, 1 - leg, false);
		hear(storm, pair, leg, frame, size_bytes);
		any = true;
	}
	if (any)
		station_fill(peer, rx(pair));
	return any;
}

static bool
tell(struct storm *storm, unsigned int pair, enum books_flow flow, enum storm_leg leg)
{
	struct station *peer = &storm->peers[leg];
	uint32_t sequence = page_of(storm, pair, flow)->sent;
	uint8_t *frame;

	station_reap(peer, tx(pair));
	frame = station_frame(peer, tx(pair));
	if (frame == NULL)
		return false;
	books_sent(&storm->books, pair, flow, sequence, leg);
	station_send(peer, tx(pair), books_make(&storm->books, pair, flow, sequence, frame));
	station_kick_if_wanted(peer, tx(pair));
	return true;
}

/* A pair whose rings are with different planes is answered by the one that has its receive ring. */
static enum storm_leg
leg_for(const struct storm *storm, unsigned int pair, enum storm_leg heard)
{
	return atomic_load(&storm->split[pair]) ? (enum storm_leg)atomic_load(&storm->route[pair]) : heard;
}

static bool
peer_turn(struct storm *storm, unsigned int pair)
{
	struct storm_lane *lane = &storm->lanes[pair];
	bool any = hear_leg(storm, pair, STORM_HARDWARE, true);

	any |= hear_leg(storm, pair, STORM_SOFTWARE, true);
	while (lane->pending_count > 0 &&
	       tell(storm, pair, BOOKS_ANSWER, leg_for(storm, pair, lane->pending[lane->pending_head]))) {
		lane->pending_head = (lane->pending_head + 1) % STATION_RING_NUM;
		lane->pending_count--;
		any = true;
	}
	while (!atomic_load(&storm->quiet) && under_way(storm, pair, BOOKS_NEWS) < WINDOW &&
	       tell(storm, pair, BOOKS_NEWS, leg_for(storm, pair, lane->last_leg)))
		any = true;
	return any;
}

static bool
turn(struct storm *storm)
{
	bool any = guest_turns(storm);
	unsigned int pair;

	for (pair = 0; pair < storm->options.pairs_count; pair++)
		any |= peer_turn(storm, pair);
	return any;
}

static unsigned int
add_calls(const struct station *station, struct pollfd *wait, unsigned int count)
{
	unsigned int i, call;

	for (i = 0; i < station->queues_count; i++)
		for (call = 0; call < 2; call++)
			wait[count++] = (struct pollfd){.fd = station->queues[i].call_fds[call], .events = POLLIN};
	return count;
}

/* Until an interrupt comes; or a while, because credits are written off by the clock. */
static void
sleep_a_while(struct storm *storm)
{
	struct pollfd wait[2 * STATION_QUEUES_MAX * (STORM_LEGS + 1)];
	unsigned int leg, i, count = add_calls(&storm->guest, wait, 0);
	eventfd_t told;
	bool busy = false;

	for (leg = 0; leg < STORM_LEGS; leg++)
		if (exists(storm, leg))
			count = add_calls(&storm->peers[leg], wait, count);
	for (i = 0; i < storm->options.pairs_count; i++)
		busy |= under_way(storm, i, BOOKS_ANSWER) + under_way(storm, i, BOOKS_NEWS) > 0;
	poll(wait, count, busy ? (int)WRITE_OFF_MS : IDLE_MS);
	for (i = 0; i < count; i++) {
		if (wait[i].revents == 0)
			continue;
		eventfd_read(wait[i].fd, &told);
		/* Those of the guest come first. */
		if (i / 2 < storm->guest.queues_count)
			storm->guest.queues[i / 2].awake = true;
	}
}

void *
driver_main(void *ctx)
{
	struct storm *storm = ctx;

	while (!atomic_load(&storm->stop))
		if (!turn(storm))
			sleep_a_while(storm);
	return NULL;
}
