/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <string.h>

#include <rte_common.h>
#include <rte_pause.h>

#include "packets_side.h"

/*
 * What a packet costs the generator is waiting for lines that the device's CPU has. So what
 * is known to be needed is asked for first, and something else is done meanwhile. Lines of
 * large packets that are read come by themselves, since the processor sees where that leads.
 */
/* Large packets whose lines are asked for ahead of the one at hand. */
#define AHEAD 2u
#define NUM_BUFFERS_AT (PACKETS_FRAME_AT - 2u) /* the last field of the header, its low byte */
#define TURNS_PER_CLOCK 16u
#define LIMIT_NS 20000000000ull
/* A device that got no CPU meanwhile has not been measured. */
#define PACKETS_MIN 256u
#define WARM_UP_NS 3000000ull

/* Kicks go where the ring's doorbell is: in our address space, or behind the frontend. */
static void
kick(struct packets_guest *guest, unsigned int queue)
{
	if (guest->doorbells[queue] != NULL)
		__atomic_store_n((uint16_t *)guest->doorbells[queue], (uint16_t)queue, __ATOMIC_RELEASE);
	else if (guest->frontend != NULL)
		rp_vhu_frontend_kick(guest->frontend, queue);
}

/* As DPDK's driver does it: what says nothing already is not said anew, and the line stays where it is. */
static void
clear_header(uint8_t *header)
{
	static const uint8_t nothing[PACKETS_NET_HEADER_BYTES];

	if (memcmp(header, nothing, sizeof(nothing)) != 0)
		memset(header, 0, sizeof(nothing));
}

static bool
frame_is_right(const struct packets_side *side, const uint8_t *buffer, uint16_t frame_bytes, uint64_t expected,
	       uint32_t written_bytes)
{
	const uint8_t *frame = buffer + PACKETS_FRAME_AT;

	if (written_bytes != PACKETS_NET_HEADER_BYTES + frame_bytes)
		return false;
	if (!side->no_device && (packets_frame_number(frame) != expected || buffer[NUM_BUFFERS_AT] != 1))
		return false;
	return packets_frame_is_intact(frame, frame_bytes);
}

/* A switch that does not know yet where somebody is sends his frames to everybody. */
static bool
is_for(const struct packets_side *side, const uint8_t *buffer)
{
	return side->no_device || memcmp(buffer + PACKETS_FRAME_AT, side->guests[PACKETS_RECEIVER].mac, 6) == 0;
}

/* Frames come in the order of the load's sizes. */
static unsigned int
next_size(const struct packets_load *load, unsigned int at)
{
	return at + 1 >= load->sizes_count ? 0 : at + 1;
}

static uint16_t
slot_at(const struct packets_ring *ring, uint16_t first, unsigned int ahead)
{
	unsigned int slot = first + ahead;

	return (uint16_t)(slot >= ring->slots ? slot - ring->slots : slot);
}

/* What the receiver has been given and has not looked into. */
struct arrivals {
	unsigned int count;
	uint16_t first;
	uint32_t written_bytes[PACKETS_BURST];
};

/* @return 0 or -EBADMSG. */
static int
collect(struct packets_side *side, unsigned int pair, struct arrivals *ret_arrivals)
{
	struct packets_ring *ring = &side->guests[PACKETS_RECEIVER].rings[PACKETS_RX(pair)];
	int count;
	unsigned int i;

	ret_arrivals->first = ring->first;
	count = packets_ring_reap(ring, PACKETS_BURST, ret_arrivals->written_bytes);
	ret_arrivals->count = count < 0 ? 0 : (unsigned int)count;
	/* Header and first line of each. */
	for (i = 0; i < ret_arrivals->count; i++) {
		const uint8_t *buffer = packets_ring_buffer(ring, slot_at(ring, ret_arrivals->first, i));

		__builtin_prefetch(buffer);
		__builtin_prefetch(buffer + PACKETS_FRAME_AT);
	}
	/* They are given back next. */
	packets_ring_want(ring, ret_arrivals->first, ret_arrivals->count);
	return count < 0 ? count : 0;
}

/* Of a buffer that is given again: its next packet is the same but for a number, and might be this one. */
static void
forget(uint8_t *buffer, uint32_t written_bytes)
{
	memset(buffer + PACKETS_FRAME_AT - PACKETS_NET_HEADER_BYTES, 0, written_bytes);
}

/* @return how many packets, or -EBADMSG. */
static int
look_into(struct packets_side *side, unsigned int pair, const struct packets_load *load,
	  const struct arrivals *arrivals)
{
	struct packets_ring *ring = &side->guests[PACKETS_RECEIVER].rings[PACKETS_RX(pair)];
	struct packets_flow *flow = &side->flows[pair];
	bool full = ring->slots - ring->out >= (int)PACKETS_BURST;
	unsigned int i, others = 0;

	if (full)
		packets_ring_want_index(ring, (unsigned int)(ring->slots - ring->out));
	for (i = 0; i < arrivals->count; i++) {
		uint8_t *buffer = packets_ring_buffer(ring, slot_at(ring, arrivals->first, i));

		if (!is_for(side, buffer)) {
			others++;
			continue;
		}
		if (!frame_is_right(side, buffer, load->sizes_bytes[flow->receive_size], flow->received,
				    arrivals->written_bytes[i]))
			return -EBADMSG;
		if (side->forgets)
			forget(buffer, arrivals->written_bytes[i]);
		flow->received++;
		flow->receive_size = next_size(load, flow->receive_size);
	}
	/* A burst at a time, as DPDK's driver does it. */
	if (full && packets_ring_add(ring, NULL, (unsigned int)(ring->slots - ring->out)))
		kick(&side->guests[PACKETS_RECEIVER], PACKETS_RX(pair));
	return (int)(arrivals->count - others);
}

/* The lines of a packet behind the first one. */
static void
want_rest(const uint8_t *buffer, uint32_t frame_bytes)
{
	uint32_t at;

	for (at = PACKETS_FRAME_LINE; at < frame_bytes; at += PACKETS_FRAME_LINE)
		packets_ring_want_line(buffer + PACKETS_FRAME_AT + at);
}

/* The device has read the first lines of the packets to be sent next: to write them is to take them back first. */
static void
want_next(struct packets_side *side, unsigned int pair)
{
	struct packets_ring *ring = &side->guests[PACKETS_SENDER].rings[PACKETS_TX(pair)];
	unsigned int free = RTE_MIN((unsigned int)(ring->slots - ring->out), PACKETS_BURST), i;

	packets_ring_want(ring, packets_ring_slot(ring, ring->out), free);
	for (i = 0; i < free; i++)
		packets_ring_want_line(packets_ring_buffer(ring, packets_ring_slot(ring, ring->out + i)) +
				       PACKETS_FRAME_AT);
}

static void
send(struct packets_side *side, unsigned int pair, const struct packets_load *load, unsigned int count)
{
	struct packets_ring *ring = &side->guests[PACKETS_SENDER].rings[PACKETS_TX(pair)];
	struct packets_flow *flow = &side->flows[pair];
	uint16_t sizes_bytes[PACKETS_BURST];
	unsigned int i;

	packets_ring_want_index(ring, count);
	for (i = 0; i < count; i++) {
		sizes_bytes[i] = load->sizes_bytes[flow->send_size];
		flow->send_size = next_size(load, flow->send_size);
	}
	for (i = 0; i < count; i++) {
		uint8_t *buffer = packets_ring_buffer(ring, packets_ring_slot(ring, ring->out + i));

		if (i + AHEAD < count)
			want_rest(packets_ring_buffer(ring, packets_ring_slot(ring, ring->out + i + AHEAD)),
				  sizes_bytes[i + AHEAD]);
		clear_header(buffer + PACKETS_FRAME_AT - PACKETS_NET_HEADER_BYTES);
		packets_frame_write(buffer + PACKETS_FRAME_AT, flow->line, flow->sent++, sizes_bytes[i]);
	}
	if (packets_ring_add(ring, sizes_bytes, count))
		kick(&side->guests[PACKETS_SENDER], PACKETS_TX(pair));
}

/*
 * @param arrived of the packets under way, those that have left the receive ring.
 * @return whether a whole burst has room at both ends; -EBADMSG.
 */
static int
may_send(struct packets_side *side, unsigned int pair, unsigned int arrived)
{
	struct packets_ring *tx = &side->guests[PACKETS_SENDER].rings[PACKETS_TX(pair)];
	const struct packets_ring *rx = &side->guests[PACKETS_RECEIVER].rings[PACKETS_RX(pair)];
	uint64_t under_way = side->flows[pair].sent - side->flows[pair].received - arrived;

	if (rx->out < under_way + PACKETS_BURST)
		return 0;
	/* The device's lines are not looked at before there is a need. */
	if (tx->slots - tx->out < (int)PACKETS_BURST) {
		int rc = packets_ring_reap(tx, PACKETS_RING_NUM, NULL);

		if (rc < 0)
			return rc;
	}
	return tx->slots - tx->out >= (int)PACKETS_BURST;
}

static uint64_t
received(const struct packets_side *side)
{
	uint64_t packets = 0;
	unsigned int pair;

	for (pair = 0; pair < side->pairs; pair++)
		packets += side->flows[pair].received;
	return packets;
}

static uint64_t
sent(const struct packets_side *side)
{
	uint64_t packets = 0;
	unsigned int pair;

	for (pair = 0; pair < side->pairs; pair++)
		packets += side->flows[pair].sent;
	return packets;
}

struct polls {
	uint64_t all, idle;
};

/* @return what it has got and sent, or -EBADMSG. */
static int
turn_pair(struct packets_side *side, unsigned int pair, const struct packets_load *load, bool sends,
	  struct polls *polls)
{
	struct arrivals arrivals;
	int rc = collect(side, pair, &arrivals), sendable = 0;

	if (rc == 0 && sends)
		rc = sendable = may_send(side, pair, arrivals.count);
	if (rc < 0)
		return rc;
	if (sendable > 0)
		send(side, pair, load, PACKETS_BURST);
	want_next(side, pair);
	rc = look_into(side, pair, load, &arrivals);
	polls->all++;
	polls->idle += rc == 0;
	return rc < 0 ? rc : rc + sendable;
}

static int
turn(struct packets_side *side, const struct packets_load *load, bool sends, struct polls *polls)
{
	unsigned int pair;
	bool idle = true;
	int rc;

	for (pair = 0; pair < side->pairs; pair++) {
		rc = turn_pair(side, pair, load, sends, polls);
		if (rc < 0)
			return rc;
		idle = idle && rc == 0;
	}
	if (idle)
		rte_pause();
	return 0;
}

/* As a VMM does beside its guest: doorbells come and go. */
static void
hear_backends(struct packets_side *side)
{
	unsigned int guest;

	for (guest = 0; guest < PACKETS_GUESTS; guest++) {
		if (side->guests[guest].frontend != NULL)
			rp_vhu_frontend_process(side->guests[guest].frontend);
	}
}

/* Turns until the time has come, and some packets; the clock is looked at now and then. */
static int
turns_until(struct packets_side *side, const struct packets_load *load, uint64_t end_ns, bool listens,
	    struct polls *polls)
{
	uint64_t packets = received(side) + PACKETS_MIN, now_ns = 0;
	unsigned int turns = 0;
	int rc = 0;

	while (rc == 0 && (now_ns < end_ns || received(side) < packets)) {
		rc = turn(side, load, true, polls);
		if (rc == 0 && ++turns % TURNS_PER_CLOCK == 0) {
			now_ns = bench_now_ns();
			if (listens)
				hear_backends(side);
		}
		if (now_ns > end_ns + LIMIT_NS)
			rc = -ETIMEDOUT;
	}
	return rc;
}

int
packets_load_run(struct packets_side *side, const struct packets_load *load, uint64_t duration_ns,
		 struct packets_result *ret_result)
{
	struct polls polls = {0};
	uint64_t started_ns, ended_ns, packets;
	int rc;

	packets_load_forget(side, true);
	rc = turns_until(side, load, bench_now_ns(), true, &polls);
	packets_load_forget(side, false);
	/* In which all buffers are used once more: what is timed is as if nothing had been forgotten. */
	if (rc == 0)
		rc = turns_until(side, load, bench_now_ns() + WARM_UP_NS, true, &polls);
	polls = (struct polls){0};
	started_ns = bench_now_ns();
	packets = received(side);
	if (rc == 0)
		rc = turns_until(side, load, started_ns + duration_ns, false, &polls);
	ended_ns = bench_now_ns();
	packets = received(side) - packets;
	while (rc == 0 && sent(side) != received(side))
		rc = bench_now_ns() > ended_ns + LIMIT_NS ? -ETIMEDOUT : turn(side, load, false, &(struct polls){0});
	ret_result->kpps = (double)packets * 1e6 / (double)(ended_ns - started_ns);
	/* Never nothing: shares are divided by each other. */
	ret_result->idle_share = (double)(polls.idle + 1) / (double)(polls.all + 1);
	return rc;
}

/* Tells the device where the receiver is: one frame of its own, whoever gets it. */
static int
show_receiver(struct packets_side *side)
{
	struct packets_guest *receiver = &side->guests[PACKETS_RECEIVER];
	struct packets_ring *ring = &receiver->rings[PACKETS_TX(0)];
	uint8_t line[PACKETS_FRAME_LINE];
	uint8_t *buffer = packets_ring_buffer(ring, packets_ring_slot(ring, ring->out));
	uint64_t end_ns = bench_now_ns() + LIMIT_NS;
	uint16_t frame_bytes = 64;
	int rc;

	if (side->no_switch)
		return 0;
	packets_frame_begin(line, side->guests[PACKETS_SENDER].mac, receiver->mac);
	clear_header(buffer + PACKETS_FRAME_AT - PACKETS_NET_HEADER_BYTES);
	packets_frame_write(buffer + PACKETS_FRAME_AT, line, 0, frame_bytes);
	if (packets_ring_add(ring, &frame_bytes, 1))
		kick(receiver, PACKETS_TX(0));
	while ((rc = packets_ring_reap(ring, 1, NULL)) == 0 && bench_now_ns() < end_ns)
		rte_pause();
	return rc < 0 ? rc : rc == 0 ? -ETIMEDOUT : 0;
}

static void
give_buffers(struct packets_side *side, unsigned int pair)
{
	struct packets_ring *ring = &side->guests[PACKETS_RECEIVER].rings[PACKETS_RX(pair)];
	unsigned int slot;

	if (ring->out > 0)
		return;
	for (slot = 0; side->no_device && slot < ring->slots; slot++)
		memset(packets_ring_buffer(ring, (uint16_t)slot), PACKETS_FRAME_BYTE, PACKETS_BUFFER_BYTES);
	if (packets_ring_add(ring, NULL, ring->slots))
		kick(&side->guests[PACKETS_RECEIVER], PACKETS_RX(pair));
}

int
packets_load_begin(struct packets_side *side)
{
	unsigned int pair;
	int rc = show_receiver(side);

	for (pair = 0; rc == 0 && pair < side->pairs; pair++) {
		/* All that was sent has arrived: the sizes are those of a new load. */
		side->flows[pair].send_size = side->flows[pair].receive_size = 0;
		give_buffers(side, pair);
	}
	return rc;
}

void
packets_load_forget(struct packets_side *side, bool forgets)
{
	/* What arrives without a device has been there from the start. */
	side->forgets = forgets && !side->no_device;
}

unsigned int
packets_load_fill(struct packets_side *side, const struct packets_load *load)
{
	unsigned int pair, packets = 0;

	for (pair = 0; pair < side->pairs; pair++) {
		for (; may_send(side, pair, 0) > 0; packets += PACKETS_BURST)
			send(side, pair, load, PACKETS_BURST);
	}
	return packets;
}

bool
packets_load_has_arrived(const struct packets_side *side)
{
	unsigned int pair;
	uint64_t under_way;

	for (pair = 0; pair < side->pairs; pair++) {
		under_way = side->flows[pair].sent - side->flows[pair].received;
		if (!packets_ring_is_used(&side->guests[PACKETS_RECEIVER].rings[PACKETS_RX(pair)],
					  (unsigned int)under_way))
			return false;
	}
	return true;
}

int
packets_load_take(struct packets_side *side, const struct packets_load *load)
{
	struct arrivals arrivals;
	unsigned int pair;
	int rc, packets = 0;

	for (pair = 0; pair < side->pairs; pair++) {
		do {
			rc = collect(side, pair, &arrivals);
			if (rc == 0)
				rc = look_into(side, pair, load, &arrivals);
			packets += rc;
		} while (rc > 0);
		if (rc == 0)
			rc = packets_ring_reap(&side->guests[PACKETS_SENDER].rings[PACKETS_TX(pair)], PACKETS_RING_NUM,
					       NULL);
		if (rc < 0)
			return rc;
	}
	return packets;
}
