/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>

#include "pass_bed.h"
#include "rp_vring_burst.h"
#include "rp_wire_fd.h"

#define BUFFERS (2 * PASS_QUEUE_SIZE)
#define RING_BYTES 0x2000u
#define MEMORY_BYTES (RING_BYTES + BUFFERS * PASS_BUFFER_BYTES)

struct pass_bed *pass_bed;

const uint8_t pass_poison[PASS_BUFFER_BYTES];

static unsigned int beds_count;

int __real_rp_vring_dev_peek_burst(struct rp_vring_dev *ring, uint16_t ahead, struct rp_vring_burst_chain *ret_chains,
				   uint16_t max_count);
int __wrap_rp_vring_dev_peek_burst(struct rp_vring_dev *ring, uint16_t ahead, struct rp_vring_burst_chain *ret_chains,
				   uint16_t max_count);

/* The linker's --wrap: pieces that a chain does not have are there, and known when they are read. */
int
__wrap_rp_vring_dev_peek_burst(struct rp_vring_dev *ring, uint16_t ahead, struct rp_vring_burst_chain *ret_chains,
			       uint16_t max_count)
{
	int i, count = __real_rp_vring_dev_peek_burst(ring, ahead, ret_chains, max_count);

	for (i = 0; i < count; i++) {
		unsigned int piece = (unsigned int)ret_chains[i].out_count + ret_chains[i].in_count;

		for (; piece < RP_VRING_BURST_PIECES; piece++)
			ret_chains[i].iov[piece] = (struct iovec){(void *)(uintptr_t)pass_poison, sizeof(pass_poison)};
	}
	return count;
}

static void
open_queue(struct pass_queue *queue, struct sa_port *port, unsigned int number, uint64_t features)
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
	assert_int_equal(rp_vring_drv_create(PASS_QUEUE_SIZE, queue->memory, RIG_MEMORY_IOVA, features, &queue->driver),
			 0);
	rp_vring_drv_layout(queue->driver, &layout);
	layout.notes = queue->notes;
	queue->ring = (struct sa_ring){
		.state = SOFTACCEL_QUEUE_RUNNING,
		.transmits = number == 0,
		.mergeable = true,
		.awake = true,
		.doorbell = sa_doorbell_word(&queue->doorbells, 0),
		.kick_fd = queue->doorbells.kick_fds[0],
		.said_fd = queue->doorbells.said_fds[0],
		.call_fd = -1,
		.notice_fd = pass_bed->notice_fd,
		.order = number,
		.port = port,
	};
	assert_int_equal(
		rp_vring_dev_init(&queue->ring.vring, &layout, rp_vring_position_fresh(features), queue->reader, NULL),
		0);
}

static void
close_queue(struct pass_queue *queue)
{
	rp_vring_drv_destroy(queue->driver);
	sa_doorbells_fini(&queue->doorbells);
	rp_dma_reader_offline(queue->reader);
	rp_dma_reader_destroy(queue->reader);
	rp_dma_space_destroy(queue->space);
	munmap(queue->memory, MEMORY_BYTES);
	rp_wire_fd_close(&queue->memory_fd);
}

void
pass_open(uint64_t kind, enum softaccel_copies copies, unsigned int guests, unsigned int receive_rings)
{
	char name[32];
	unsigned int i, number;

	pass_bed = calloc(1, sizeof(*pass_bed));
	assert_non_null(pass_bed);
	pass_bed->guests_count = guests;
	pass_bed->receive_rings = receive_rings;
	pass_bed->notice_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	snprintf(name, sizeof(name), "test_pass_%u", beds_count++);
	pass_bed->scratch.pool = rte_pktmbuf_pool_create(name, 255, 0, 0, RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY);
	assert_non_null(pass_bed->scratch.pool);
	pass_bed->scratch.copy = sa_copier_choose(SOFTACCEL_ISA_AUTO)->copy;
	assert_int_equal(sa_switch_init(&pass_bed->sw, &pass_bed->scratch, copies), 0);
	for (i = 0; i < guests; i++) {
		assert_int_equal(sa_switch_port(&pass_bed->sw, NULL, &pass_bed->ports[i]), 0);
		for (number = 0; number < 1 + receive_rings; number++) {
			open_queue(&pass_bed->queues[i][number], pass_bed->ports[i], number, kind | 1ull << 29);
			if (number > 0)
				assert_int_equal(sa_switch_ring_add(&pass_bed->sw, &pass_bed->queues[i][number].ring),
						 0);
		}
		sa_mac_learn(pass_bed->sw.macs, 0x020000000000ull + i, &pass_bed->ports[i]->macs, 0);
	}
}

void
pass_close(void)
{
	unsigned int i, number;

	if (pass_bed == NULL)
		return;
	for (i = 0; i < pass_bed->guests_count; i++) {
		for (number = 0; number < 1 + pass_bed->receive_rings; number++)
			close_queue(&pass_bed->queues[i][number]);
	}
	sa_switch_fini(&pass_bed->sw);
	assert_int_equal(rte_mempool_avail_count(pass_bed->scratch.pool), 255);
	rte_mempool_free(pass_bed->scratch.pool);
	rp_wire_fd_close(&pass_bed->notice_fd);
	free(pass_bed);
	pass_bed = NULL;
}

uint8_t *
pass_buffer_of(struct pass_queue *queue, uint32_t number)
{
	return queue->memory + RING_BYTES + number % BUFFERS * PASS_BUFFER_BYTES;
}

static uint64_t
iova_of(const struct pass_queue *queue, const uint8_t *at)
{
	return RIG_MEMORY_IOVA + (uint64_t)(at - queue->memory);
}

uint8_t *
pass_send_pieces(unsigned int guest, const void *packet, uint32_t packet_bytes, const uint32_t *cuts,
		 unsigned int cuts_count)
{
	struct pass_queue *queue = &pass_bed->queues[guest][0];
	uint8_t *at = pass_buffer_of(queue, queue->next_buffer);
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

uint8_t *
pass_send_frame(unsigned int guest, unsigned int to, uint32_t sequence, uint32_t frame_bytes)
{
	uint8_t packet[PASS_BUFFER_BYTES] = {0};
	uint32_t i;

	for (i = RIG_FRAME_BYTES; i < frame_bytes; i++)
		packet[RIG_HEADER_BYTES + i] = (uint8_t)(i + sequence);
	rig_frame(packet + RIG_HEADER_BYTES, to, guest, (uint16_t)sequence, sequence);
	return pass_send_pieces(guest, packet, RIG_HEADER_BYTES + frame_bytes, (const uint32_t[]){RIG_HEADER_BYTES},
				sequence % 2);
}

void
pass_post(unsigned int guest, unsigned int ring, uint32_t size_bytes)
{
	struct pass_queue *queue = &pass_bed->queues[guest][ring];
	uint8_t *at = pass_buffer_of(queue, queue->next_buffer++);
	const struct rp_vring_part part = {iova_of(queue, at), size_bytes, true};

	memset(at, 0xcc, size_bytes);
	assert_int_equal(rp_vring_drv_add(queue->driver, &part, 1, at), 0);
}

unsigned int
pass_serve(unsigned int guest)
{
	unsigned int count = sa_switch_serve(&pass_bed->sw, &pass_bed->queues[guest][0].ring);

	sa_switch_flush(&pass_bed->sw);
	return count;
}

unsigned int
pass_reap(unsigned int guest)
{
	unsigned int count = 0;
	uint32_t written_bytes;
	void *cookie;

	while (rp_vring_drv_get(pass_bed->queues[guest][0].driver, &cookie, &written_bytes) == 1) {
		assert_int_equal(written_bytes, 0);
		count++;
	}
	return count;
}

uint32_t
pass_receive(unsigned int guest, unsigned int ring, uint8_t *ret_packet)
{
	struct pass_queue *queue = &pass_bed->queues[guest][ring];
	uint32_t size_bytes = 0, written_bytes;
	unsigned int left = 1;
	void *cookie;

	for (; left > 0; left--) {
		if (rp_vring_drv_get(queue->driver, &cookie, &written_bytes) != 1) {
			assert_int_equal(size_bytes, 0);
			return 0;
		}
		assert_true(size_bytes + written_bytes <= PASS_BUFFER_BYTES * 2);
		memcpy(ret_packet + size_bytes, cookie, written_bytes);
		if (size_bytes == 0 && written_bytes > 0)
			left = ret_packet[10] | (unsigned int)ret_packet[11] << 8;
		size_bytes += written_bytes;
	}
	return size_bytes;
}

void
pass_expect_frame(unsigned int guest, uint32_t sequence, uint32_t frame_bytes)
{
	uint8_t packet[2 * PASS_BUFFER_BYTES];
	uint32_t i;

	assert_int_equal(pass_receive(guest, 1, packet), RIG_HEADER_BYTES + frame_bytes);
	assert_int_equal(rig_frame_sequence(packet + RIG_HEADER_BYTES), sequence);
	for (i = 0; i < RIG_HEADER_BYTES; i++)
		assert_true(packet[i] == 0 || i == 10);
	for (i = RIG_FRAME_BYTES; i < frame_bytes; i++)
		assert_int_equal(packet[RIG_HEADER_BYTES + i], (uint8_t)(i + sequence));
}
