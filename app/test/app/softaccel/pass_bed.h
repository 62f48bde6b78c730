/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef PASS_BED_H
#define PASS_BED_H

#include "rig.h"
#include "sa_doorbell.h"
#include "sa_pass.h"

/*
 * A switch and the rings of some guests without threads. What copies payload is the test's to replace, so that
 * a guest can do things while it is copied. Guest n has address n; ring 0 of a guest transmits, the others
 * receive.
 */

#define PASS_QUEUE_SIZE 64u
#define PASS_GUESTS_MAX 3u
#define PASS_RECEIVE_RINGS 2u
#define PASS_RINGS (1 + PASS_RECEIVE_RINGS)
#define PASS_BUFFER_BYTES 2048u

struct pass_queue {
	int memory_fd;
	uint8_t *memory;
	struct rp_dma_space *space;
	struct rp_dma_reader *reader;
	struct rp_vring_drv *driver;
	struct sa_doorbells doorbells;
	struct rp_vring_note notes[PASS_QUEUE_SIZE];
	struct sa_ring ring;
	uint32_t next_buffer;
};

struct pass_bed {
	struct sa_ring_scratch scratch;
	struct sa_switch sw;
	struct sa_port *ports[PASS_GUESTS_MAX];
	struct pass_queue queues[PASS_GUESTS_MAX][PASS_RINGS];
	unsigned int guests_count;
	unsigned int receive_rings;
	int notice_fd;
};

/* The one that is open, NULL: none. A test may look at all of it: what it asks is what the switch did to it. */
extern struct pass_bed *pass_bed;

/* What a chain of a burst has behind its last piece. */
extern const uint8_t pass_poison[PASS_BUFFER_BYTES];

/* @param kind of all rings: see RIG_TESTS(). */
void pass_open(uint64_t kind, enum softaccel_copies copies, unsigned int guests, unsigned int receive_rings);
/* Nothing, if none is open: a test's teardown need not know how far it came. */
void pass_close(void);

/* Where the buffer lies that a queue uses as its `number`th. */
uint8_t *pass_buffer_of(struct pass_queue *queue, uint32_t number);
/*
 * Put a packet on a transmit ring, its header included, in pieces that end at `cuts`.
 * @return where it lies, NULL: the ring is full.
 */
uint8_t *pass_send_pieces(unsigned int guest, const void *packet, uint32_t packet_bytes, const uint32_t *cuts,
			  unsigned int cuts_count);
/* A frame that pass_expect_frame() knows again; every other has its header in a piece of its own. */
uint8_t *pass_send_frame(unsigned int guest, unsigned int to, uint32_t sequence, uint32_t frame_bytes);
/* Make a receive buffer available. */
void pass_post(unsigned int guest, unsigned int ring, uint32_t size_bytes);
/* One turn of the switch at a guest's transmit ring. @return how many packets it took. */
unsigned int pass_serve(unsigned int guest);
/* Take back what was sent. @return how many. */
unsigned int pass_reap(unsigned int guest);
/*
 * Take one packet, header included, merging buffers.
 * @param ret_packet has room for two buffers.
 * @return its size, 0: none.
 */
uint32_t pass_receive(unsigned int guest, unsigned int ring, uint8_t *ret_packet);
/* The next packet at a guest's first receive ring is that frame, unchanged. */
void pass_expect_frame(unsigned int guest, uint32_t sequence, uint32_t frame_bytes);

#endif
