/* SPDX-License-Identifier: BSD-3-Clause */
#include <endian.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>

#include <linux/virtio_ring.h>

#include "rig.h"
#include "rp_wire_fd.h"
#include "sa_doorbell.h"
#include "sa_pass.h"

/*
 * A switch and the rings of some guests without threads. What copies payload is ours, so that a guest
 * can do things while it is copied. Guest n has address n; ring 0 of a guest transmits, the others receive.
 */

#define NUM 64u
#define GUESTS_MAX 3u
#define RECEIVE_RINGS 2u
#define RINGS (1 + RECEIVE_RINGS)
#define BUFFER_BYTES 2048u
#define BUFFERS (2 * NUM)
#define RING_BYTES 0x2000u
#define MEMORY_BYTES (RING_BYTES + BUFFERS * BUFFER_BYTES)
#define HEADER 12u

struct queue {
	int memory_fd;
	uint8_t *memory;
	struct rp_dma_space *space;
	struct rp_dma_reader *reader;
	struct rp_vring_drv *driver;
	struct sa_doorbells doorbells;
	struct rp_vring_note notes[NUM];
	struct sa_ring ring;
	uint32_t next_buffer;
};

struct bed {
	struct sa_ring_scratch scratch;
	struct sa_switch sw;
	struct sa_port *ports[GUESTS_MAX];
	struct queue queues[GUESTS_MAX][RINGS];
	unsigned int guests_count;
	unsigned int receive_rings;
	int notice_fd;
};

static uint64_t kind;
static struct bed *bed;
static unsigned int beds_count;

static void
open_queue(struct queue *queue, struct sa_port *port, unsigned int number, uint64_t features)
{
	struct rp_dma_mapping mapping = {
		.iova = RIG_MEMORY_IOVA,
		.size_bytes = MEMORY_BYTES,
		.access_mask = RP_DMA_READ | RP_DMA_WRITE,
	};
	struct rp_vring_layout layout;

	queue->memory_fd = test_memfd(MEMORY_BYTES, true);
	queue->memory = mmap(NULL, MEMORY_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, queue->memory_fd, 0);
	assert_ptr_not_equal(queue->memory, MAP_FAILED);
	mapping.fd = queue->memory_fd;
	assert_int_equal(rp_dma_space_create(NULL, &queue->space), 0);
	assert_int_equal(rp_dma_space_map(queue->space, &mapping, NULL), 0);
	assert_int_equal(rp_dma_reader_create(queue->space, &queue->reader), 0);
	rp_dma_reader_online(queue->reader);
	assert_int_equal(sa_doorbells_init(&queue->doorbells, SOFTACCEL_DOORBELL_PAGE, 1), 0);
	assert_int_equal(rp_vring_drv_create(NUM, queue->memory, RIG_MEMORY_IOVA, features, &queue->driver), 0);
	rp_vring_drv_layout(queue->driver, &layout);
	layout.notes = queue->notes;
	queue->ring = (struct sa_ring){
		.state = SOFTACCEL_QUEUE_RUNNING,
		.transmits = number == 0,
		.mergeable = true,
		.awake = true,
		.doorbell = sa_doorbell_word(&queue->doorbells, 0),
		.kick_fd = queue->doorbells.kick_fds[0],
		.call_fd = -1,
		.notice_fd = bed->notice_fd,
		.order = number,
		.port = port,
	};
	assert_int_equal(
		rp_vring_dev_init(&queue->ring.vring, &layout, rp_vring_position_fresh(features), queue->reader, NULL),
		0);
}

static void
close_queue(struct queue *queue)
{
	rp_vring_drv_destroy(queue->driver);
	sa_doorbells_fini(&queue->doorbells);
	rp_dma_reader_offline(queue->reader);
	rp_dma_reader_destroy(queue->reader);
	rp_dma_space_destroy(queue->space);
	munmap(queue->memory, MEMORY_BYTES);
	rp_wire_fd_close(&queue->memory_fd);
}

static struct bed *
open_bed(enum softaccel_copies copies, unsigned int guests, unsigned int receive_rings)
{
	char name[32];
	unsigned int i, number;

	bed = calloc(1, sizeof(*bed));
	assert_non_null(bed);
	bed->guests_count = guests;
	bed->receive_rings = receive_rings;
	bed->notice_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	snprintf(name, sizeof(name), "test_pass_%u", beds_count++);
	bed->scratch.pool = rte_pktmbuf_pool_create(name, 255, 0, 64, RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY);
	assert_non_null(bed->scratch.pool);
	bed->scratch.copy = sa_copier_choose(SOFTACCEL_ISA_AUTO)->copy;
	assert_int_equal(sa_switch_init(&bed->sw, &bed->scratch, copies), 0);
	for (i = 0; i < guests; i++) {
		assert_int_equal(sa_switch_port(&bed->sw, NULL, &bed->ports[i]), 0);
		for (number = 0; number < 1 + receive_rings; number++) {
			open_queue(&bed->queues[i][number], bed->ports[i], number, kind | 1ull << 29);
			if (number > 0)
				assert_int_equal(sa_switch_ring_add(&bed->sw, &bed->queues[i][number].ring), 0);
		}
		sa_mac_learn(bed->sw.macs, 0x020000000000ull + i, &bed->ports[i]->macs, 0);
	}
	return bed;
}

static void
close_bed(struct bed *old)
{
	unsigned int i, number;

	for (i = 0; i < old->guests_count; i++) {
		for (number = 0; number < 1 + old->receive_rings; number++)
			close_queue(&old->queues[i][number]);
	}
	sa_switch_fini(&old->sw);
	assert_int_equal(rte_mempool_avail_count(old->scratch.pool), 255);
	rte_mempool_free(old->scratch.pool);
	rp_wire_fd_close(&old->notice_fd);
	free(old);
}

static int
setup(void **state)
{
	kind = *(const uint64_t *)*state;
	bed = NULL;
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	if (bed != NULL)
		close_bed(bed);
	return 0;
}

static uint8_t *
buffer_of(struct queue *queue, uint32_t number)
{
	return queue->memory + RING_BYTES + number % BUFFERS * BUFFER_BYTES;
}

static uint64_t
iova_of(const struct queue *queue, const uint8_t *at)
{
	return RIG_MEMORY_IOVA + (uint64_t)(at - queue->memory);
}

/* Put a packet on a transmit ring, its header included, in pieces that end at `cuts`. @return where it lies. */
static uint8_t *
send_pieces(unsigned int guest, const void *packet, uint32_t packet_bytes, const uint32_t *cuts,
	    unsigned int cuts_count)
{
	struct queue *queue = &bed->queues[guest][0];
	uint8_t *at = buffer_of(queue, queue->next_buffer);
	struct rp_vring_part parts[8];
	uint32_t begin = 0;
	uint16_t i;

	memcpy(at, packet, packet_bytes);
	for (i = 0; i <= cuts_count; i++) {
		uint32_t end = i == cuts_count ? packet_bytes : cuts[i];

		parts[i] = (struct rp_vring_part){iova_of(queue, at + begin), end - begin, false};
		begin = end;
	}
	if (rp_vring_drv_add(queue->driver, parts, i, at) < 0)
		return NULL;
	queue->next_buffer++;
	return at;
}

static uint8_t *
send_frame(unsigned int guest, unsigned int to, uint32_t sequence, uint32_t frame_bytes)
{
	uint8_t packet[BUFFER_BYTES] = {0};
	uint32_t i;

	for (i = RIG_FRAME_BYTES; i < frame_bytes; i++)
		packet[HEADER + i] = (uint8_t)(i + sequence);
	rig_frame(packet + HEADER, to, guest, (uint16_t)sequence, sequence);
	return send_pieces(guest, packet, HEADER + frame_bytes, (const uint32_t[]){HEADER}, sequence % 2);
}

static void
post(unsigned int guest, unsigned int ring, uint32_t size_bytes)
{
	struct queue *queue = &bed->queues[guest][ring];
	uint8_t *at = buffer_of(queue, queue->next_buffer++);
	const struct rp_vring_part part = {iova_of(queue, at), size_bytes, true};

	memset(at, 0xcc, size_bytes);
	assert_int_equal(rp_vring_drv_add(queue->driver, &part, 1, at), 0);
}

static unsigned int
serve(unsigned int guest)
{
	unsigned int count = sa_switch_serve(&bed->sw, &bed->queues[guest][0].ring);

	sa_switch_flush(&bed->sw);
	return count;
}

static unsigned int
reap(unsigned int guest)
{
	unsigned int count = 0;
	uint32_t written_bytes;
	void *cookie;

	while (rp_vring_drv_get(bed->queues[guest][0].driver, &cookie, &written_bytes) == 1) {
		assert_int_equal(written_bytes, 0);
		count++;
	}
	return count;
}

/* @return the packet's size, 0: none. */
static uint32_t
receive(unsigned int guest, unsigned int ring, uint8_t *ret_packet)
{
	struct queue *queue = &bed->queues[guest][ring];
	uint32_t size_bytes = 0, written_bytes;
	unsigned int left = 1;
	void *cookie;

	for (; left > 0; left--) {
		if (rp_vring_drv_get(queue->driver, &cookie, &written_bytes) != 1) {
			assert_int_equal(size_bytes, 0);
			return 0;
		}
		assert_true(size_bytes + written_bytes <= BUFFER_BYTES * 2);
		memcpy(ret_packet + size_bytes, cookie, written_bytes);
		if (size_bytes == 0 && written_bytes > 0)
			left = ret_packet[10] | (unsigned int)ret_packet[11] << 8;
		size_bytes += written_bytes;
	}
	return size_bytes;
}

static void
expect_frame(unsigned int guest, uint32_t sequence, uint32_t frame_bytes)
{
	uint8_t packet[2 * BUFFER_BYTES];
	uint32_t i;

	assert_int_equal(receive(guest, 1, packet), HEADER + frame_bytes);
	assert_int_equal(rig_frame_sequence(packet + HEADER), sequence);
	for (i = 0; i < HEADER; i++)
		assert_true(packet[i] == 0 || i == 10);
	for (i = RIG_FRAME_BYTES; i < frame_bytes; i++)
		assert_int_equal(packet[HEADER + i], (uint8_t)(i + sequence));
}

/* There is no packet buffer that they could have gone through. */
static void
frames_need_no_packet_buffer(void **state)
{
	static const uint32_t sizes[] = {RIG_FRAME_BYTES, 64, 65, 127, 128, 1514, 1518, 2036};
	struct rte_mbuf *all[255];
	unsigned int i;

	(void)state;
	open_bed(SOFTACCEL_COPIES_ONE, 2, 1);
	assert_int_equal(rte_pktmbuf_alloc_bulk(bed->scratch.pool, all, RTE_DIM(all)), 0);
	for (i = 0; i < 24; i++) {
		post(1, 1, BUFFER_BYTES);
		assert_non_null(send_frame(0, 1, i, sizes[i % RTE_DIM(sizes)]));
	}
	assert_int_equal(serve(0), 24);
	for (i = 0; i < 24; i++)
		expect_frame(1, i, sizes[i % RTE_DIM(sizes)]);
	assert_int_equal(reap(0), 24);
	assert_int_equal(bed->ports[0]->counters.in_packets, 24);
	assert_int_equal(bed->ports[1]->counters.out_packets, 24);
	assert_int_equal(bed->queues[0][0].ring.counters.packets, 24);
	assert_int_equal(bed->queues[1][1].ring.counters.packets, 24);
	assert_int_equal(bed->queues[1][1].ring.counters.bytes, bed->queues[0][0].ring.counters.bytes);
	/* What is not for this path waits for one. */
	assert_non_null(send_frame(0, RIG_BROADCAST, 24, RIG_FRAME_BYTES));
	assert_int_equal(serve(0), 0);
	rte_pktmbuf_free_bulk(all, RTE_DIM(all));
	post(1, 1, BUFFER_BYTES);
	assert_int_equal(serve(0), 1);
	expect_frame(1, 24, RIG_FRAME_BYTES);
}

/* Whatever way they take. */
static void
frames_keep_their_order(void **state)
{
	unsigned int i;

	(void)state;
	open_bed(SOFTACCEL_COPIES_ONE, 3, 1);
	for (i = 0; i < 30; i++) {
		post(1, 1, BUFFER_BYTES);
		post(2, 1, BUFFER_BYTES);
		assert_non_null(send_frame(0, i % 5 == 4 ? RIG_BROADCAST : 1 + (i % 3 == 0), i, RIG_FRAME_BYTES));
	}
	assert_int_equal(serve(0), 30);
	assert_int_equal(reap(0), 30);
	for (i = 0; i < 30; i++) {
		if (i % 5 == 4 || i % 3 != 0)
			expect_frame(1, i, RIG_FRAME_BYTES);
		if (i % 5 == 4 || i % 3 == 0)
			expect_frame(2, i, RIG_FRAME_BYTES);
	}
	assert_int_equal(bed->ports[0]->counters.flooded, 6);
}

static struct {
	uint8_t *victim; /* of the sender, header included */
	unsigned int copies;
} hostile;

/* The sender writes another destination while its payload is copied, and other descriptors. */
static void
copy_while_the_sender_writes(void *to, const void *from, size_t size_bytes)
{
	memset(hostile.victim, 0xff, HEADER + 14);
	memset(bed->queues[0][0].memory, 0xff, NUM * sizeof(struct vring_desc));
	hostile.copies++;
	memcpy(to, from, size_bytes);
}

/* What was decided is what arrives. */
static void
headers_are_those_that_were_judged(void **state)
{
	(void)state;
	open_bed(SOFTACCEL_COPIES_ONE, 3, 1);
	post(1, 1, BUFFER_BYTES);
	post(2, 1, BUFFER_BYTES);
	hostile.victim = send_frame(0, 1, 7, 1000);
	assert_non_null(hostile.victim);
	hostile.copies = 0;
	bed->scratch.copy = copy_while_the_sender_writes;
	assert_int_equal(serve(0), 1);
	assert_true(hostile.copies > 0);
	expect_frame(1, 7, 1000);
	assert_int_equal(bed->queues[0][0].ring.state, SOFTACCEL_QUEUE_RUNNING);
}

/* The receiver takes away what it has offered while it is written to: what was read once is used. */
static void
copy_while_the_receiver_writes(void *to, const void *from, size_t size_bytes)
{
	memset(bed->queues[1][1].memory, 0xff, NUM * sizeof(struct vring_desc));
	hostile.copies++;
	memcpy(to, from, size_bytes);
}

static void
buffers_are_those_that_were_judged(void **state)
{
	uint8_t *buffer;

	(void)state;
	open_bed(SOFTACCEL_COPIES_ONE, 2, 1);
	buffer = buffer_of(&bed->queues[1][1], 0);
	post(1, 1, BUFFER_BYTES);
	assert_non_null(send_frame(0, 1, 8, 1000));
	hostile.copies = 0;
	bed->scratch.copy = copy_while_the_receiver_writes;
	assert_int_equal(serve(0), 1);
	assert_true(hostile.copies > 0);
	assert_int_equal(rig_frame_sequence(buffer + HEADER), 8);
	assert_int_equal(bed->queues[1][1].ring.state, SOFTACCEL_QUEUE_RUNNING);
	assert_int_equal(bed->ports[1]->counters.out_packets, 1);
}

/* A chain that breaks a rule breaks its ring, and what came before it has arrived. */
static void
what_comes_before_a_bad_chain_arrives(void **state)
{
	struct queue *sender;
	const struct rp_vring_part nowhere = {0x10, 100, false};
	unsigned int i;

	(void)state;
	open_bed(SOFTACCEL_COPIES_ONE, 2, 1);
	sender = &bed->queues[0][0];
	for (i = 0; i < 3; i++) {
		post(1, 1, BUFFER_BYTES);
		assert_non_null(send_frame(0, 1, i, RIG_FRAME_BYTES));
	}
	assert_int_equal(rp_vring_drv_add(sender->driver, &nowhere, 1, sender->memory), 0);
	assert_int_equal(serve(0), 3);
	serve(0);
	for (i = 0; i < 3; i++)
		expect_frame(1, i, RIG_FRAME_BYTES);
	assert_int_equal(sender->ring.state, SOFTACCEL_QUEUE_BROKEN);
	assert_int_equal(bed->queues[1][1].ring.state, SOFTACCEL_QUEUE_RUNNING);
}

/* A ring that changes hands, or is another's, gets its frames from packet buffers, which can wait. */
static void
rings_that_change_hands_are_not_touched(void **state)
{
	struct sa_ring *ring;

	(void)state;
	open_bed(SOFTACCEL_COPIES_ONE, 2, 1);
	ring = &bed->queues[1][1].ring;
	post(1, 1, BUFFER_BYTES);
	post(1, 1, BUFFER_BYTES);
	sa_held_begin(&ring->held);
	assert_non_null(send_frame(0, 1, 1, RIG_FRAME_BYTES));
	assert_int_equal(serve(0), 1);
	assert_int_equal(ring->held.count, 1);
	assert_int_equal(bed->ports[1]->counters.out_packets, 0);
	ring->held.arrived = true;
	sa_switch_deliver_held(&bed->sw, ring);
	assert_non_null(send_frame(0, 1, 2, RIG_FRAME_BYTES));
	assert_int_equal(serve(0), 1);
	expect_frame(1, 1, RIG_FRAME_BYTES);
	expect_frame(1, 2, RIG_FRAME_BYTES);
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
	uint8_t packet[2 * BUFFER_BYTES] = {0};
	uint32_t frame_bytes = sizes[draw(traffic, RTE_DIM(sizes))], cuts[6], cuts_count = 0, i;
	uint32_t to = destinations[draw(traffic, RTE_DIM(destinations))];

	for (i = 0; i < frame_bytes; i++)
		packet[HEADER + i] = (uint8_t)(i * 3 + traffic->sequence);
	rig_frame(packet + HEADER, to, draw(traffic, 20) == 0 ? 100 + draw(traffic, 300) : guest,
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
		memset(packet + HEADER + 6, 0, 6); /* from nobody */
		break;
	default:
		break;
	}
	if (draw(traffic, 2) == 0 && frame_bytes > 0)
		cuts[cuts_count++] = HEADER;
	for (i = cuts_count == 0 ? 0 : HEADER; draw(traffic, 4) == 0 && cuts_count < RTE_DIM(cuts);) {
		i += 1 + draw(traffic, 60);
		if (i >= HEADER + frame_bytes)
			break;
		cuts[cuts_count++] = i;
	}
	send_pieces(guest, packet, RTE_MIN(HEADER + frame_bytes, BUFFER_BYTES), cuts, cuts_count);
}

static void
post_any(struct traffic *traffic, unsigned int guest)
{
	static const uint32_t sizes[] = {BUFFER_BYTES, BUFFER_BYTES, BUFFER_BYTES, 300, 100, 13, 12};
	unsigned int ring = 1 + draw(traffic, RECEIVE_RINGS);
	struct queue *queue = &bed->queues[guest][ring];

	if (rp_vring_drv_free_count(queue->driver) > 0)
		post(guest, ring, sizes[draw(traffic, RTE_DIM(sizes))]);
	queue->ring.awake = queue->ring.state == SOFTACCEL_QUEUE_RUNNING;
}

/* All that arrived since the last call, and all counters, as one number. */
static uint64_t
digest(uint64_t so_far)
{
	uint8_t packet[2 * BUFFER_BYTES];
	unsigned int guest, ring;
	uint32_t i, size_bytes;

	for (guest = 0; guest < GUESTS_MAX; guest++) {
		const uint64_t *counters = (const uint64_t *)&bed->ports[guest]->counters;

		so_far = so_far * 31 + reap(guest);
		for (ring = 1; ring < RINGS; ring++) {
			while ((size_bytes = receive(guest, ring, packet)) > 0) {
				for (i = 0; i < size_bytes; i++)
					so_far = so_far * 31 + packet[i];
				so_far = so_far * 31 + guest * RINGS + ring;
			}
		}
		for (i = 0; i < sizeof(bed->ports[guest]->counters) / sizeof(*counters); i++)
			so_far = so_far * 31 + counters[i];
		for (ring = 0; ring < RINGS; ring++) {
			const struct softaccel_queue_counters *of = &bed->queues[guest][ring].ring.counters;

			so_far = (((so_far * 31 + of->packets) * 31 + of->bytes) * 31 + of->errors) * 31 +
				 bed->queues[guest][ring].ring.state;
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
			post_any(traffic, draw(traffic, GUESTS_MAX));
		for (i = draw(traffic, 40); i > 0; i--)
			send_any(traffic, draw(traffic, GUESTS_MAX));
		for (i = 0; i < GUESTS_MAX; i++) {
			struct sa_ring *ring = &bed->queues[i][0].ring;

			ring->awake = true;
			/* What one turn takes is not the same. */
			while (ring->awake)
				serve(i);
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

			open_bed(i == 0 ? SOFTACCEL_COPIES_ONE : SOFTACCEL_COPIES_TWO, GUESTS_MAX, RECEIVE_RINGS);
			results[i] = drive(&traffic, turns);
			passed = bed->ports[1]->counters.out_packets;
			close_bed(bed);
			bed = NULL;
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
		RIG_TESTS(rings_that_change_hands_are_not_touched),
		RIG_TESTS(both_ways_are_one),
	};

	rig_eal_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
