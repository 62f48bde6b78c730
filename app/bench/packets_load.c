/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <string.h>

#include <rte_common.h>
#include <rte_pause.h>

#include "packets_side.h"

/*
 * A frame: addresses, a type that nobody looks into, two bytes, a number, and then every
 * byte the same. Of the first cache line everything is written and looked at, of each of
 * the others eight bytes: so all of them move from one CPU to the other, and the generator
 * has time to spare.
 */
#define NUMBER_AT 16u
#define PAYLOAD_AT 24u
#define PAYLOAD_BYTE 0x5a
#define PAYLOAD_WORD 0x5a5a5a5a5a5a5a5aull
#define WORD_BYTES 8u
/* Packets whose lines are asked for before they are needed: of all lines, or of the first two. */
#define AHEAD 2u
#define AHEAD_FIRST 12u
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

static void
write_frame(uint8_t *buffer, const struct packets_flow *flow, const uint8_t *destination, uint64_t number,
	    uint16_t frame_bytes)
{
	static const uint8_t type[4] = {0x88, 0xb5, 0, 0}; /* IEEE 802: for experiments */
	uint8_t *frame = buffer + PACKETS_FRAME_AT;
	unsigned int at;

	memset(frame - PACKETS_NET_HEADER_BYTES, 0, PACKETS_NET_HEADER_BYTES);
	memcpy(frame, destination, 6);
	memcpy(frame + 6, flow->source, 6);
	memcpy(frame + 12, type, sizeof(type));
	memcpy(frame + NUMBER_AT, &number, sizeof(number));
	memset(frame + PAYLOAD_AT, PAYLOAD_BYTE, RTE_CACHE_LINE_SIZE - PAYLOAD_AT);
	for (at = RTE_CACHE_LINE_SIZE; at + WORD_BYTES <= frame_bytes; at += RTE_CACHE_LINE_SIZE)
		memcpy(frame + at, &(uint64_t){PAYLOAD_WORD}, WORD_BYTES);
}

static bool
payload_is_intact(const uint8_t *frame, uint32_t frame_bytes)
{
	uint64_t word, other = 0;
	uint32_t at;

	for (at = PAYLOAD_AT; at < RTE_CACHE_LINE_SIZE; at += WORD_BYTES) {
		memcpy(&word, frame + at, sizeof(word));
		other |= word ^ PAYLOAD_WORD;
	}
	for (; at + WORD_BYTES <= frame_bytes; at += RTE_CACHE_LINE_SIZE) {
		memcpy(&word, frame + at, sizeof(word));
		other |= word ^ PAYLOAD_WORD;
	}
	return other == 0;
}

static bool
frame_is_right(const struct packets_side *side, const uint8_t *buffer, const struct packets_load *load,
	       uint64_t expected, uint32_t written_bytes)
{
	uint16_t frame_bytes = load->sizes_bytes[expected % load->sizes_count];
	const uint8_t *frame = buffer + PACKETS_FRAME_AT;
	uint64_t number;

	memcpy(&number, frame + NUMBER_AT, sizeof(number));
	if (written_bytes != PACKETS_NET_HEADER_BYTES + frame_bytes || (!side->no_device && number != expected))
		return false;
	if (!side->no_device && buffer[NUM_BUFFERS_AT] != 1)
		return false;
	return payload_is_intact(frame, frame_bytes);
}

/* A switch that does not know yet where somebody is sends his frames to everybody. */
static bool
is_for(const struct packets_side *side, const uint8_t *buffer)
{
	return side->no_device || memcmp(buffer + PACKETS_FRAME_AT, side->guests[PACKETS_RECEIVER].mac, 6) == 0;
}

static uint16_t
slot_at(const struct packets_ring *ring, uint16_t first, int ahead)
{
	unsigned int slot = first + (unsigned int)ahead;

	return (uint16_t)(slot >= ring->slots ? slot - ring->slots : slot);
}

/* @return how many packets, or -EBADMSG. */
static int
receive(struct packets_side *side, unsigned int pair, const struct packets_load *load)
{
	struct packets_ring *ring = &side->guests[PACKETS_RECEIVER].rings[PACKETS_RX(pair)];
	struct packets_flow *flow = &side->flows[pair];
	uint32_t written_bytes[PACKETS_BURST];
	uint16_t first = ring->first;
	int count = packets_ring_reap(ring, PACKETS_BURST, written_bytes), others = 0, i;

	if (count <= 0)
		return count;
	/* Header and first line of each come from the other CPU together. */
	for (i = 0; i < count; i++) {
		__builtin_prefetch(packets_ring_buffer(ring, slot_at(ring, first, i)));
		__builtin_prefetch(packets_ring_buffer(ring, slot_at(ring, first, i)) + PACKETS_FRAME_AT);
	}
	for (i = 0; i < count; i++) {
		const uint8_t *buffer = packets_ring_buffer(ring, slot_at(ring, first, i));

		if (!is_for(side, buffer))
			others++;
		else if (!frame_is_right(side, buffer, load, flow->received++, written_bytes[i]))
			return -EBADMSG;
	}
	/* A burst at a time, as DPDK's driver does it. */
	if (ring->slots - ring->out >= (int)PACKETS_BURST &&
	    packets_ring_add(ring, NULL, (unsigned int)(ring->slots - ring->out)))
		kick(&side->guests[PACKETS_RECEIVER], PACKETS_RX(pair));
	return count - others;
}

/* The device has read these lines: to write them is to take them back first. */
static void
want_to_write(const struct packets_ring *ring, unsigned int ahead, unsigned int bytes)
{
	const uint8_t *buffer = packets_ring_buffer(ring, packets_ring_slot(ring, ahead));
	unsigned int at;

	for (at = 0; at < bytes; at += RTE_CACHE_LINE_SIZE)
		__builtin_prefetch(buffer + at, 1);
}

static void
send(struct packets_side *side, unsigned int pair, const struct packets_load *load, unsigned int count)
{
	struct packets_ring *ring = &side->guests[PACKETS_SENDER].rings[PACKETS_TX(pair)];
	const uint8_t *destination = side->guests[PACKETS_RECEIVER].mac;
	struct packets_flow *flow = &side->flows[pair];
	uint16_t sizes_bytes[PACKETS_BURST];
	unsigned int i;

	for (i = 0; i < AHEAD_FIRST; i++)
		want_to_write(ring, ring->out + i, PACKETS_FRAME_AT + RTE_CACHE_LINE_SIZE);
	for (i = 0; i < count; i++) {
		uint8_t *buffer = packets_ring_buffer(ring, packets_ring_slot(ring, ring->out + i));

		if (i + AHEAD_FIRST < count)
			want_to_write(ring, ring->out + i + AHEAD_FIRST, PACKETS_FRAME_AT + RTE_CACHE_LINE_SIZE);
		if (i + AHEAD < count)
			want_to_write(ring, ring->out + i + AHEAD,
				      PACKETS_FRAME_AT + load->sizes_bytes[(flow->sent + AHEAD) % load->sizes_count]);
		sizes_bytes[i] = load->sizes_bytes[flow->sent % load->sizes_count];
		write_frame(buffer, flow, destination, flow->sent++, sizes_bytes[i]);
	}
	if (packets_ring_add(ring, sizes_bytes, count))
		kick(&side->guests[PACKETS_SENDER], PACKETS_TX(pair));
}

/* @return whether a whole burst has room at both ends; -EBADMSG. */
static int
may_send(struct packets_side *side, unsigned int pair)
{
	struct packets_ring *tx = &side->guests[PACKETS_SENDER].rings[PACKETS_TX(pair)];
	const struct packets_ring *rx = &side->guests[PACKETS_RECEIVER].rings[PACKETS_RX(pair)];
	uint64_t under_way = side->flows[pair].sent - side->flows[pair].received;
	int rc = packets_ring_reap(tx, PACKETS_RING_NUM, NULL);

	if (rc < 0)
		return rc;
	return tx->slots - tx->out >= (int)PACKETS_BURST && rx->out >= under_way + PACKETS_BURST;
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

static int
turn(struct packets_side *side, const struct packets_load *load, bool sends, struct polls *polls)
{
	unsigned int pair;
	bool idle = true;
	int rc;

	for (pair = 0; pair < side->pairs; pair++) {
		rc = receive(side, pair, load);
		if (rc < 0)
			return rc;
		polls->all++;
		polls->idle += rc == 0;
		idle = idle && rc == 0;
		rc = may_send(side, pair);
		if (rc < 0)
			return rc;
		if (rc > 0 && sends)
			send(side, pair, load, PACKETS_BURST);
		idle = idle && (rc == 0 || !sends);
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
	int rc = turns_until(side, load, bench_now_ns() + WARM_UP_NS, true, &polls);

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
	struct packets_flow flow = {.sent = 0};
	uint64_t end_ns = bench_now_ns() + LIMIT_NS;
	uint16_t frame_bytes = 64;
	int rc;

	if (side->no_device)
		return 0;
	memcpy(flow.source, receiver->mac, sizeof(flow.source));
	write_frame(packets_ring_buffer(ring, packets_ring_slot(ring, ring->out)), &flow,
		    side->guests[PACKETS_SENDER].mac, 0, frame_bytes);
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
		memset(packets_ring_buffer(ring, (uint16_t)slot), PAYLOAD_BYTE, PACKETS_BUFFER_BYTES);
	if (packets_ring_add(ring, NULL, ring->slots))
		kick(&side->guests[PACKETS_RECEIVER], PACKETS_RX(pair));
}

int
packets_load_begin(struct packets_side *side)
{
	unsigned int pair;
	int rc = show_receiver(side);

	for (pair = 0; rc == 0 && pair < side->pairs; pair++)
		give_buffers(side, pair);
	return rc;
}

unsigned int
packets_load_fill(struct packets_side *side, const struct packets_load *load)
{
	unsigned int pair, packets = 0;

	for (pair = 0; pair < side->pairs; pair++) {
		for (; may_send(side, pair) > 0; packets += PACKETS_BURST)
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
	unsigned int pair;
	int rc, packets = 0;

	for (pair = 0; pair < side->pairs; pair++) {
		while ((rc = receive(side, pair, load)) > 0)
			packets += rc;
		if (rc == 0)
			rc = packets_ring_reap(&side->guests[PACKETS_SENDER].rings[PACKETS_TX(pair)], PACKETS_RING_NUM,
					       NULL);
		if (rc < 0)
			return rc;
	}
	return packets;
}
