/* SPDX-License-Identifier: BSD-3-Clause */
#include <string.h>

#include "pass_bed.h"
#include "sa_flow.h"

/* Frames of several flows for a guest with two receive rings: each goes where its flow's hash says, in order. */

#define RECEIVER 1u
#define RINGS PASS_RECEIVE_RINGS
#define FRAMES 24u /* for the receiver's two rings, each of which has room for all */
#define FRAME_BYTES_MAX 1514u

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

static uint32_t random_state;

static uint32_t
draw(uint32_t below)
{
	random_state = random_state * 1664525u + 1013904223u;
	return (random_state >> 8) % below;
}

struct frame {
	uint32_t size_bytes;
	uint8_t bytes[FRAME_BYTES_MAX];
};

/* What a frame has behind its addresses: tags, type, and the begin of its header. */
static const struct kind_of_frame {
	uint8_t bytes[24];
	uint32_t size_bytes;
	uint32_t ip_at; /* 0: none */
	uint32_t addresses_at, ports_at;
} kinds[] = {
	{{0x08, 0x00, 0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, 17}, 12, 14, 26, 34},
	{{0x08, 0x00, 0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, 6}, 12, 14, 26, 34},
	{{0x08, 0x00, 0x46, 0, 0, 0, 0, 0, 0, 0, 64, 6}, 12, 14, 26, 38},
	{{0x08, 0x00, 0x45, 0, 0, 0, 0, 0, 0x20, 0, 64, 17}, 12, 14, 26, 34},
	{{0x08, 0x00, 0x4f, 0, 0, 0, 0, 0, 0, 0, 64, 17}, 12, 14, 26, 74},
	{{0x81, 0x00, 0, 7, 0x08, 0x00, 0x45, 0, 0, 0, 0, 0, 0, 0, 64, 17}, 16, 18, 30, 38},
	{{0x88, 0xa8, 0, 7, 0x81, 0x00, 0, 8, 0x08, 0x00, 0x45, 0, 0, 0, 0, 0, 0, 0, 64, 6}, 20, 22, 34, 42},
	{{0x86, 0xdd, 0x60, 0, 0, 0, 0, 0, 17, 64}, 10, 14, 22, 54},
	{{0x81, 0x00, 0, 7, 0x86, 0xdd, 0x60, 0, 0, 0, 0, 0, 6, 64}, 14, 18, 26, 58},
	{{0x08, 0x06}, 2, 0, 26, 34},
};

/* Of few flows of each kind; what says nothing of a flow is anything. */
static void
make_frame(struct frame *frame)
{
	static const uint32_t sizes[] = {14, 36, 40, 60, 64, 70, 90, 128, 600, FRAME_BYTES_MAX};
	const struct kind_of_frame *of = &kinds[draw(sizeof(kinds) / sizeof(kinds[0]))];
	uint32_t i;

	frame->size_bytes = sizes[draw(sizeof(sizes) / sizeof(sizes[0]))];
	for (i = 0; i < FRAME_BYTES_MAX; i++)
		frame->bytes[i] = (uint8_t)draw(256);
	memset(frame->bytes + of->addresses_at, 0, of->ports_at + 4 - of->addresses_at);
	frame->bytes[of->addresses_at] = (uint8_t)draw(2);
	frame->bytes[of->ports_at + 1] = (uint8_t)draw(3);
	memcpy(frame->bytes, (const uint8_t[]){2, 0, 0, 0, 0, RECEIVER, 2, 0, 0, 0, 0, 0}, 12);
	memcpy(frame->bytes + 12, of->bytes, of->size_bytes);
	/* Identification: no two headers are the same. */
	if (of->ip_at != 0)
		frame->bytes[of->ip_at + 5] = (uint8_t)draw(256);
}

static void
send_frame(const struct frame *frame)
{
	uint8_t packet[PASS_BUFFER_BYTES] = {0};

	memcpy(packet + RIG_HEADER_BYTES, frame->bytes, frame->size_bytes);
	assert_non_null(pass_send_pieces(0, packet, RIG_HEADER_BYTES + frame->size_bytes,
					 (const uint32_t[]){RIG_HEADER_BYTES}, draw(2)));
}

static unsigned int
ring_of(const struct frame *frame)
{
	return 1 + (unsigned int)((uint64_t)sa_flow_hash(frame->bytes, frame->size_bytes) * RINGS >> 32);
}

static void
expect(unsigned int ring, const struct frame *frame)
{
	uint8_t packet[2 * PASS_BUFFER_BYTES];

	assert_int_equal(pass_receive(RECEIVER, ring, packet), RIG_HEADER_BYTES + frame->size_bytes);
	assert_memory_equal(packet + RIG_HEADER_BYTES, frame->bytes, frame->size_bytes);
}

static void
go_where_the_hash_says(enum softaccel_copies copies)
{
	static struct frame frames[FRAMES];
	unsigned int round, ring, i, at_ring[1 + RINGS] = {0};

	random_state = 1;
	pass_open(kind, copies, 2, RINGS);
	for (round = 0; round < 400; round++) {
		/* Some rounds have little but one flow, as most bursts. */
		for (i = 0; i < FRAMES; i++) {
			if (i > 0 && round % 2 == 0 && draw(8) > 0)
				frames[i] = frames[i - 1];
			else
				make_frame(&frames[i]);
			send_frame(&frames[i]);
			for (ring = 1; ring <= RINGS; ring++)
				if (rp_vring_drv_free_count(pass_bed->queues[RECEIVER][ring].driver) > 0)
					pass_post(RECEIVER, ring, PASS_BUFFER_BYTES);
		}
		assert_int_equal(pass_serve(0), FRAMES);
		for (i = 0; i < FRAMES; i++) {
			expect(ring_of(&frames[i]), &frames[i]);
			at_ring[ring_of(&frames[i])]++;
		}
		assert_int_equal(pass_reap(0), FRAMES);
	}
	for (ring = 1; ring <= RINGS; ring++)
		assert_true(at_ring[ring] > FRAMES);
}

static void
frames_go_where_their_hash_says(void **state)
{
	(void)state;
	go_where_the_hash_says(SOFTACCEL_COPIES_ONE);
	pass_close();
	go_where_the_hash_says(SOFTACCEL_COPIES_TWO);
}

/* Whatever their flow is told by: there is no packet buffer that they could have gone through. */
static void
frames_of_any_flow_are_passed(void **state)
{
	static struct frame frames[FRAMES];
	struct rte_mbuf *all[255];
	unsigned int ring, i;

	(void)state;
	random_state = 2;
	pass_open(kind, SOFTACCEL_COPIES_ONE, 2, RINGS);
	assert_int_equal(rte_pktmbuf_alloc_bulk(pass_bed->scratch.pool, all, RTE_DIM(all)), 0);
	for (i = 0; i < FRAMES; i++) {
		make_frame(&frames[i]);
		send_frame(&frames[i]);
		for (ring = 1; ring <= RINGS; ring++)
			pass_post(RECEIVER, ring, PASS_BUFFER_BYTES);
	}
	assert_int_equal(pass_serve(0), FRAMES);
	for (i = 0; i < FRAMES; i++)
		expect(ring_of(&frames[i]), &frames[i]);
	rte_pktmbuf_free_bulk(all, RTE_DIM(all));
}

static uint8_t *victim;

/* The sender rewrites its headers while payload is copied. */
static void
copy_while_the_sender_writes(void *to, const void *from, size_t size_bytes)
{
	memset(victim, 0xee, SA_PASS_HEAD_BYTES + 16);
	memcpy(to, from, size_bytes);
}

/* Also behind the bytes that are copied of each packet. */
static void
ports_are_those_that_were_judged(void **state)
{
	struct frame frame = {.size_bytes = 1000};
	uint8_t packet[PASS_BUFFER_BYTES] = {0};
	unsigned int ring;

	(void)state;
	pass_open(kind, SOFTACCEL_COPIES_ONE, 2, RINGS);
	memcpy(frame.bytes, (const uint8_t[]){2, 0, 0, 0, 0, RECEIVER, 2, 0, 0, 0, 0, 0}, 12);
	memcpy(frame.bytes + 12, kinds[7].bytes, kinds[7].size_bytes);
	memset(frame.bytes + kinds[7].addresses_at, 0x11, 36);
	memcpy(packet + RIG_HEADER_BYTES, frame.bytes, frame.size_bytes);
	for (ring = 1; ring <= RINGS; ring++)
		pass_post(RECEIVER, ring, PASS_BUFFER_BYTES);
	victim = pass_send_pieces(0, packet, RIG_HEADER_BYTES + frame.size_bytes, NULL, 0);
	assert_non_null(victim);
	pass_bed->scratch.copy = copy_while_the_sender_writes;
	assert_int_equal(pass_serve(0), 1);
	expect(ring_of(&frame), &frame);
	assert_int_equal(victim[0], 0xee);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		RIG_TESTS(frames_go_where_their_hash_says),
		RIG_TESTS(frames_of_any_flow_are_passed),
		RIG_TESTS(ports_are_those_that_were_judged),
	};

	rig_eal_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
