/* SPDX-License-Identifier: BSD-3-Clause */
#include <endian.h>
#include <string.h>

#include <linux/virtio_ring.h>

#include "pass_bed.h"
#include "rp_vring_burst.h"

static uint64_t kind;

static int
setup(void **state)
{
	kind = *(const uint64_t *)*state;
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	pass_close();
	return 0;
}

/* There is no packet buffer that they could have gone through. */
static void
frames_need_no_packet_buffer(void **state)
{
	static const uint32_t sizes[] = {RIG_FRAME_BYTES, 64, 65, 127, 128, 1514, 1518, 2036};
	struct rte_mbuf *all[255];
	unsigned int i;

	(void)state;
	pass_open(kind, SOFTACCEL_COPIES_ONE, 2, 1);
	assert_int_equal(rte_pktmbuf_alloc_bulk(pass_bed->scratch.pool, all, RTE_DIM(all)), 0);
	for (i = 0; i < 24; i++) {
		pass_post(1, 1, PASS_BUFFER_BYTES);
		assert_non_null(pass_send_frame(0, 1, i, sizes[i % RTE_DIM(sizes)]));
	}
	assert_int_equal(pass_serve(0), 24);
	for (i = 0; i < 24; i++)
		pass_expect_frame(1, i, sizes[i % RTE_DIM(sizes)]);
	assert_int_equal(pass_reap(0), 24);
	assert_int_equal(pass_bed->ports[0]->counters.in_packets, 24);
	assert_int_equal(pass_bed->ports[1]->counters.out_packets, 24);
	assert_int_equal(pass_bed->queues[0][0].ring.counters.packets, 24);
	assert_int_equal(pass_bed->queues[1][1].ring.counters.packets, 24);
	assert_int_equal(pass_bed->queues[1][1].ring.counters.bytes, pass_bed->queues[0][0].ring.counters.bytes);
	/* What is not for this path waits for one. */
	assert_non_null(pass_send_frame(0, RIG_BROADCAST, 24, RIG_FRAME_BYTES));
	assert_int_equal(pass_serve(0), 0);
	rte_pktmbuf_free_bulk(all, RTE_DIM(all));
	pass_post(1, 1, PASS_BUFFER_BYTES);
	assert_int_equal(pass_serve(0), 1);
	pass_expect_frame(1, 24, RIG_FRAME_BYTES);
}

/* Whatever way they take. */
static void
frames_keep_their_order(void **state)
{
	unsigned int i;

	(void)state;
	pass_open(kind, SOFTACCEL_COPIES_ONE, 3, 1);
	for (i = 0; i < 30; i++) {
		pass_post(1, 1, PASS_BUFFER_BYTES);
		pass_post(2, 1, PASS_BUFFER_BYTES);
		assert_non_null(pass_send_frame(0, i % 5 == 4 ? RIG_BROADCAST : 1 + (i % 3 == 0), i, RIG_FRAME_BYTES));
	}
	assert_int_equal(pass_serve(0), 30);
	assert_int_equal(pass_reap(0), 30);
	for (i = 0; i < 30; i++) {
		if (i % 5 == 4 || i % 3 != 0)
			pass_expect_frame(1, i, RIG_FRAME_BYTES);
		if (i % 5 == 4 || i % 3 == 0)
			pass_expect_frame(2, i, RIG_FRAME_BYTES);
	}
	assert_int_equal(pass_bed->ports[0]->counters.flooded, 6);
}

static struct {
	uint8_t *victim; /* of the sender, header included */
	unsigned int copies;
} hostile;

/* The sender writes another destination while its payload is copied, and other descriptors. */
static void
copy_while_the_sender_writes(void *to, const void *from, size_t size_bytes)
{
	memset(hostile.victim, 0xff, RIG_HEADER_BYTES + 14);
	memset(pass_bed->queues[0][0].memory, 0xff, PASS_QUEUE_SIZE * sizeof(struct vring_desc));
	hostile.copies++;
	memcpy(to, from, size_bytes);
}

/* What was decided is what arrives. */
static void
headers_are_those_that_were_judged(void **state)
{
	(void)state;
	pass_open(kind, SOFTACCEL_COPIES_ONE, 3, 1);
	pass_post(1, 1, PASS_BUFFER_BYTES);
	pass_post(2, 1, PASS_BUFFER_BYTES);
	hostile.victim = pass_send_frame(0, 1, 7, 1000);
	assert_non_null(hostile.victim);
	hostile.copies = 0;
	pass_bed->scratch.copy = copy_while_the_sender_writes;
	assert_int_equal(pass_serve(0), 1);
	assert_true(hostile.copies > 0);
	pass_expect_frame(1, 7, 1000);
	assert_int_equal(pass_bed->queues[0][0].ring.state, SOFTACCEL_QUEUE_RUNNING);
}

/* The receiver takes away what it has offered while it is written to: what was read once is used. */
static void
copy_while_the_receiver_writes(void *to, const void *from, size_t size_bytes)
{
	memset(pass_bed->queues[1][1].memory, 0xff, PASS_QUEUE_SIZE * sizeof(struct vring_desc));
	hostile.copies++;
	memcpy(to, from, size_bytes);
}

static void
buffers_are_those_that_were_judged(void **state)
{
	uint8_t *buffer;

	(void)state;
	pass_open(kind, SOFTACCEL_COPIES_ONE, 2, 1);
	buffer = pass_buffer_of(&pass_bed->queues[1][1], 0);
	pass_post(1, 1, PASS_BUFFER_BYTES);
	assert_non_null(pass_send_frame(0, 1, 8, 1000));
	hostile.copies = 0;
	pass_bed->scratch.copy = copy_while_the_receiver_writes;
	assert_int_equal(pass_serve(0), 1);
	assert_true(hostile.copies > 0);
	assert_int_equal(rig_frame_sequence(buffer + RIG_HEADER_BYTES), 8);
	assert_int_equal(pass_bed->queues[1][1].ring.state, SOFTACCEL_QUEUE_RUNNING);
	assert_int_equal(pass_bed->ports[1]->counters.out_packets, 1);
}

/* A chain that breaks a rule breaks its ring, and what came before it has arrived. */
static void
what_comes_before_a_bad_chain_arrives(void **state)
{
	struct pass_queue *sender;
	const struct rp_vring_part nowhere = {0x10, 100, false};
	unsigned int i;

	(void)state;
	pass_open(kind, SOFTACCEL_COPIES_ONE, 2, 1);
	sender = &pass_bed->queues[0][0];
	for (i = 0; i < 3; i++) {
		pass_post(1, 1, PASS_BUFFER_BYTES);
		assert_non_null(pass_send_frame(0, 1, i, RIG_FRAME_BYTES));
	}
	assert_int_equal(rp_vring_drv_add(sender->driver, &nowhere, 1, sender->memory), 0);
	assert_int_equal(pass_serve(0), 3);
	pass_serve(0);
	for (i = 0; i < 3; i++)
		pass_expect_frame(1, i, RIG_FRAME_BYTES);
	assert_int_equal(sender->ring.state, SOFTACCEL_QUEUE_BROKEN);
	assert_int_equal(pass_bed->queues[1][1].ring.state, SOFTACCEL_QUEUE_RUNNING);
}

/* A receiver's chain of as many pieces as a burst follows, and none of them to be written, has nothing behind them. */
static void
chains_without_room_hold_nobody_up(void **state)
{
	struct rp_vring_part parts[RP_VRING_BURST_PIECES];
	struct pass_queue *receiver;
	unsigned int i;

	(void)state;
	pass_open(kind, SOFTACCEL_COPIES_ONE, 2, 1);
	receiver = &pass_bed->queues[1][1];
	for (i = 0; i < RTE_DIM(parts); i++)
		parts[i] = (struct rp_vring_part){RIG_MEMORY_IOVA, 64, false};
	for (i = 0; i < 12; i++) {
		if (i % 4 == 2)
			assert_int_equal(rp_vring_drv_add(receiver->driver, parts, RTE_DIM(parts), receiver->memory),
					 0);
		pass_post(1, 1, PASS_BUFFER_BYTES);
		assert_non_null(pass_send_frame(0, 1, i, 1000));
	}
	assert_int_equal(pass_serve(0), 12);
	for (i = 0; i < 12; i++) {
		uint8_t packet[2 * PASS_BUFFER_BYTES];

		/* It comes back as it is. */
		if (i % 4 == 2)
			assert_int_equal(pass_receive(1, 1, packet), 0);
		pass_expect_frame(1, i, 1000);
	}
	assert_int_equal(receiver->ring.counters.errors, 3);
	assert_int_equal(receiver->ring.state, SOFTACCEL_QUEUE_RUNNING);
}

/* A ring that changes hands, or is another's, gets its frames from packet buffers, which can wait. */
static void
rings_that_change_hands_are_not_touched(void **state)
{
	struct sa_ring *ring;

	(void)state;
	pass_open(kind, SOFTACCEL_COPIES_ONE, 2, 1);
	ring = &pass_bed->queues[1][1].ring;
	pass_post(1, 1, PASS_BUFFER_BYTES);
	pass_post(1, 1, PASS_BUFFER_BYTES);
	sa_held_begin(&ring->held);
	assert_non_null(pass_send_frame(0, 1, 1, RIG_FRAME_BYTES));
	assert_int_equal(pass_serve(0), 1);
	assert_int_equal(ring->held.count, 1);
	assert_int_equal(pass_bed->ports[1]->counters.out_packets, 0);
	ring->held.arrived = true;
	sa_switch_deliver_held(&pass_bed->sw, ring);
	assert_non_null(pass_send_frame(0, 1, 2, RIG_FRAME_BYTES));
	assert_int_equal(pass_serve(0), 1);
	pass_expect_frame(1, 1, RIG_FRAME_BYTES);
	pass_expect_frame(1, 2, RIG_FRAME_BYTES);
}

/* The receiver offers as many buffers again as its ring has, before those that were used are published. */
static void
copy_while_the_receiver_offers(void *to, const void *from, size_t size_bytes)
{
	uint16_t *index = (uint16_t *)(void *)(pass_bed->queues[1][1].ring.vring.avail + sizeof(uint16_t));

	if (hostile.copies++ == 0)
		*index = htole16(le16toh(*index) + PASS_QUEUE_SIZE);
	assert_false((const uint8_t *)from >= pass_poison && (const uint8_t *)from < pass_poison + sizeof(pass_poison));
	memcpy(to, from, size_bytes);
}

/* It breaks its ring, and no packet is filled again that was filled. */
static void
what_cannot_be_given_is_not_filled_again(void **state)
{
	static const uint32_t cuts[] = {100, 200};
	struct sa_ring *receiver;
	uint8_t packet[PASS_BUFFER_BYTES] = {0};
	unsigned int turn, i;

	(void)state;
	pass_open(kind, SOFTACCEL_COPIES_ONE, 2, 1);
	hostile.copies = 0;
	receiver = &pass_bed->queues[1][1].ring;
	rig_frame(packet + RIG_HEADER_BYTES, 1, 0, 0, 0);
	for (i = 0; i < PASS_QUEUE_SIZE; i++)
		pass_post(1, 1, PASS_BUFFER_BYTES);
	/* Rings are flushed when all were served: no buffer is given back before the end. */
	for (turn = 0; turn <= PASS_QUEUE_SIZE / 16; turn++) {
		for (i = 0; i < 16; i++)
			assert_non_null(pass_send_pieces(0, packet, 300, cuts, RTE_DIM(cuts)));
		if (turn == PASS_QUEUE_SIZE / 16 - 1)
			pass_bed->scratch.copy = copy_while_the_receiver_offers;
		assert_int_equal(receiver->state, SOFTACCEL_QUEUE_RUNNING);
		assert_int_equal(sa_switch_serve(&pass_bed->sw, &pass_bed->queues[0][0].ring), 16);
		assert_int_equal(pass_reap(0), 16);
	}
	assert_int_equal(receiver->state, SOFTACCEL_QUEUE_BROKEN);
	assert_int_equal(receiver->counters.packets, PASS_QUEUE_SIZE);
	assert_int_equal(pass_bed->queues[0][0].ring.state, SOFTACCEL_QUEUE_RUNNING);
	sa_switch_flush(&pass_bed->sw);
}

/* Everything that traffic can be, made from a seed: what a guest does next. */
struct traffic {
	uint64_t random;
	uint32_t sequence;
};

static uint32_t
draw(struct traffic *traffic, uint32_t below)
{
	traffic->random = traffic->random * 6364136223846793005ull + 1442695040888963407ull;
	return (uint32_t)(traffic->random >> 33) % below;
}

static void
send_any(struct traffic *traffic, unsigned int guest)
{
	static const uint32_t destinations[] = {0, 1, 2, 1, 2, 0, 1, 2, 7, RIG_BROADCAST};
	static const uint32_t sizes[] = {60, 64, 65, 300, 1000, 1514, 2036, 14, 90};
	uint8_t packet[2 * PASS_BUFFER_BYTES] = {0};
	uint32_t frame_bytes = sizes[draw(traffic, RTE_DIM(sizes))], cuts[6], cuts_count = 0, i;
	uint32_t to = destinations[draw(traffic, RTE_DIM(destinations))];

	for (i = 0; i < frame_bytes; i++)
		packet[RIG_HEADER_BYTES + i] = (uint8_t)(i * 3 + traffic->sequence);
	rig_frame(packet + RIG_HEADER_BYTES, to, draw(traffic, 20) == 0 ? 100 + draw(traffic, 300) : guest,
		  (uint16_t)draw(traffic, 8), traffic->sequence++);
	switch (draw(traffic, 30)) {
	case 0:
		packet[1] = 1; /* segmentation */
		break;
	case 1:
		packet[0] = 1; /* a checksum, where it may not be */
		break;
	case 2:
		frame_bytes = draw(traffic, 14);
		break;
	case 3:
		memset(packet + RIG_HEADER_BYTES + 6, 0, 6); /* from nobody */
		break;
	default:
		break;
	}
	if (draw(traffic, 2) == 0 && frame_bytes > 0)
		cuts[cuts_count++] = RIG_HEADER_BYTES;
	for (i = cuts_count == 0 ? 0 : RIG_HEADER_BYTES; draw(traffic, 4) == 0 && cuts_count < RTE_DIM(cuts);) {
		i += 1 + draw(traffic, 60);
		if (i >= RIG_HEADER_BYTES + frame_bytes)
			break;
		cuts[cuts_count++] = i;
	}
	pass_send_pieces(guest, packet, RTE_MIN(RIG_HEADER_BYTES + frame_bytes, PASS_BUFFER_BYTES), cuts, cuts_count);
}

static void
post_any(struct traffic *traffic, unsigned int guest)
{
	static const uint32_t sizes[] = {PASS_BUFFER_BYTES, PASS_BUFFER_BYTES, PASS_BUFFER_BYTES, 300, 100, 13, 12};
	unsigned int ring = 1 + draw(traffic, PASS_RECEIVE_RINGS);
	struct pass_queue *queue = &pass_bed->queues[guest][ring];

	if (rp_vring_drv_free_count(queue->driver) > 0)
		pass_post(guest, ring, sizes[draw(traffic, RTE_DIM(sizes))]);
	queue->ring.awake = queue->ring.state == SOFTACCEL_QUEUE_RUNNING;
}

/* All that arrived since the last call, and all counters, as one number. */
static uint64_t
digest(uint64_t so_far)
{
	uint8_t packet[2 * PASS_BUFFER_BYTES];
	unsigned int guest, ring;
	uint32_t i, size_bytes;

	for (guest = 0; guest < PASS_GUESTS_MAX; guest++) {
		const uint64_t *counters = (const uint64_t *)&pass_bed->ports[guest]->counters;

		so_far = so_far * 31 + pass_reap(guest);
		for (ring = 1; ring < PASS_RINGS; ring++) {
			while ((size_bytes = pass_receive(guest, ring, packet)) > 0) {
				for (i = 0; i < size_bytes; i++)
					so_far = so_far * 31 + packet[i];
				so_far = so_far * 31 + guest * PASS_RINGS + ring;
			}
		}
		for (i = 0; i < sizeof(pass_bed->ports[guest]->counters) / sizeof(*counters); i++)
			so_far = so_far * 31 + counters[i];
		for (ring = 0; ring < PASS_RINGS; ring++) {
			const struct softaccel_queue_counters *of = &pass_bed->queues[guest][ring].ring.counters;

			so_far = (((so_far * 31 + of->packets) * 31 + of->bytes) * 31 + of->errors) * 31 +
				 pass_bed->queues[guest][ring].ring.state;
		}
	}
	return so_far;
}

static uint64_t
drive(struct traffic *traffic, unsigned int turns)
{
	uint64_t result = 0;
	unsigned int turn, i;

	for (turn = 0; turn < turns; turn++) {
		for (i = draw(traffic, 60); i > 0; i--)
			post_any(traffic, draw(traffic, PASS_GUESTS_MAX));
		for (i = draw(traffic, 40); i > 0; i--)
			send_any(traffic, draw(traffic, PASS_GUESTS_MAX));
		for (i = 0; i < PASS_GUESTS_MAX; i++) {
			struct sa_ring *ring = &pass_bed->queues[i][0].ring;

			ring->awake = true;
			/* What one turn takes is not the same. */
			while (ring->awake)
				pass_serve(i);
		}
		result = digest(result);
	}
	return result;
}

/* The same traffic in both ways: the same frames at the same rings in the same order, the same counters. */
static void
both_ways_are_one(void **state)
{
	unsigned int seed, i, turns = 300;

	(void)state;
	for (seed = 1; seed <= 3; seed++) {
		uint64_t results[2], passed = 0;

		for (i = 0; i < 2; i++) {
			struct traffic traffic = {.random = seed};

			pass_open(kind, i == 0 ? SOFTACCEL_COPIES_ONE : SOFTACCEL_COPIES_TWO, PASS_GUESTS_MAX,
				  PASS_RECEIVE_RINGS);
			results[i] = drive(&traffic, turns);
			passed = pass_bed->ports[1]->counters.out_packets;
			pass_close();
		}
		assert_true(passed > turns);
		assert_int_equal(results[0], results[1]);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		RIG_TESTS(frames_need_no_packet_buffer),
		RIG_TESTS(frames_keep_their_order),
		RIG_TESTS(headers_are_those_that_were_judged),
		RIG_TESTS(buffers_are_those_that_were_judged),
		RIG_TESTS(what_comes_before_a_bad_chain_arrives),
		RIG_TESTS(chains_without_room_hold_nobody_up),
		RIG_TESTS(rings_that_change_hands_are_not_touched),
		RIG_TEST(what_cannot_be_given_is_not_filled_again, split),
		RIG_TESTS(both_ways_are_one),
	};

	rig_eal_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
