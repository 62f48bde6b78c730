/* SPDX-License-Identifier: BSD-3-Clause */
#include <endian.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fake_accel.h"
#include "fake_rings.h"
#include "rp_vring_dev.h"

#define QUEUES_ALL (FAKE_ACCEL_DEVICES * FAKE_ACCEL_QUEUES)
#define IDLE_US 200
#define FRAME_MAX 4096
#define NO_STORE 0xffff /* what a doorbell word is when nobody stored to it */

struct fake_ring {
	struct rp_vring_dev dev;
	struct rp_vring_note *notes;
	bool kicked;
};

static struct {
	pthread_t thread;
	_Atomic bool stop;
	bool runs;
	uint8_t *doorbells;
} rings;

struct fake_ring *
fake_ring_open(const struct rp_accel_queue_config *config, uint64_t features, struct rp_dma_reader *reader)
{
	struct fake_ring *ring = calloc(1, sizeof(*ring));
	struct rp_vring_layout layout = {
		.num = config->num,
		.desc_iova = config->desc_iova,
		.avail_iova = config->avail_iova,
		.used_iova = config->used_iova,
		.features = features,
	};
	struct rp_wire_why why = {0};

	assert_non_null(ring);
	layout.notes = ring->notes = calloc(config->num, sizeof(*ring->notes));
	rp_dma_reader_online(reader);
	if (rp_vring_dev_init(&ring->dev, &layout, config->position, reader, &why) < 0)
		fail_msg("the device cannot take the ring: %s", why.text);
	rp_vring_dev_set_notify(&ring->dev, true);
	rp_dma_reader_offline(reader);
	return ring;
}

struct fake_ring *
fake_ring_close(struct fake_ring *ring)
{
	if (ring != NULL)
		free(ring->notes);
	free(ring);
	return NULL;
}

uint32_t
fake_ring_position(const struct fake_ring *ring)
{
	return rp_vring_dev_position(&ring->dev);
}

void
fake_ring_kick(struct fake_ring *ring)
{
	if (ring != NULL)
		ring->kicked = true;
}

static void
interrupt(const struct fake_accel_queue *queue)
{
	if (rp_vring_dev_needs_interrupt(&queue->ring->dev) == 1 && queue->call_fd >= 0)
		eventfd_write(queue->call_fd, 1);
}

/* A chain that waits, or none, in which case the driver is asked for a kick. */
static bool
peek(struct fake_ring *ring, struct rp_vring_chain *ret_chain)
{
	if (rp_vring_dev_peek(&ring->dev, 0, ret_chain) == 1)
		return true;
	rp_vring_dev_set_notify(&ring->dev, true);
	return rp_vring_dev_peek(&ring->dev, 0, ret_chain) == 1;
}

static uint32_t
gather(const struct rp_vring_chain *chain, uint8_t *ret_bytes)
{
	uint32_t size_bytes = 0;
	unsigned int i;

	for (i = 0; i < chain->out_count; i++) {
		assert_true(size_bytes + chain->iov[i].iov_len <= FRAME_MAX);
		memcpy(ret_bytes + size_bytes, chain->iov[i].iov_base, chain->iov[i].iov_len);
		size_bytes += (uint32_t)chain->iov[i].iov_len;
	}
	return size_bytes;
}

static void
scatter(const struct rp_vring_chain *chain, const uint8_t *bytes, uint32_t size_bytes)
{
	unsigned int i;

	for (i = chain->out_count; i < chain->out_count + chain->in_count && size_bytes > 0; i++) {
		size_t part = chain->iov[i].iov_len < size_bytes ? chain->iov[i].iov_len : size_bytes;

		memcpy(chain->iov[i].iov_base, bytes, part);
		bytes += part;
		size_bytes -= (uint32_t)part;
	}
	assert_int_equal(size_bytes, 0);
}

/* From a tx chain to the rx ring. False: there is no room. */
static bool
deliver(struct fake_accel_queue *rx, const struct rp_vring_chain *sent)
{
	struct rp_vring_chain room;
	uint8_t bytes[FRAME_MAX];
	uint32_t size_bytes;

	if (rx->ring == NULL || !peek(rx->ring, &room))
		return false;
	size_bytes = gather(sent, bytes);
	scatter(&room, bytes, size_bytes);
	rp_vring_dev_advance(&rx->ring->dev, 1);
	rp_vring_dev_push(&rx->ring->dev, room.head, size_bytes);
	interrupt(rx);
	return true;
}

/* Of a split ring: it claims to have used what is no chain. */
static void
lie(struct fake_ring *ring, const struct rp_dma_space *space)
{
	const uint32_t num = ring->dev.layout.num, id = htole32(num + 5u);
	uint16_t *used = rp_dma_space_translate(space, ring->dev.layout.used_iova, 4 + 8ull * num, RP_DMA_WRITE);
	uint16_t index = le16toh(used[1]);

	/* The next entry: flags and index are 2 words, an entry 4. */
	memcpy(&used[2 + 4 * (index % num)], &id, sizeof(id));
	__atomic_store_n(&used[1], htole16((uint16_t)(index + 1)), __ATOMIC_RELEASE);
}

static void
serve_pair(struct fake_accel *fake, unsigned int device, struct fake_accel_queue *rx, struct fake_accel_queue *tx)
{
	struct rp_vring_chain sent;

	if (fake->lies) {
		fake->lies = false;
		lie(tx->ring, fake->spaces[device]);
		eventfd_write(tx->call_fd, 1);
		return;
	}
	while (peek(tx->ring, &sent)) {
		bool held = fake->hold > 0;

		if ((!held || fake->deliver_held) && !deliver(rx, &sent))
			return;
		rp_vring_dev_advance(&tx->ring->dev, 1);
		fake->hold -= held;
		if (held)
			continue;
		rp_vring_dev_push(&tx->ring->dev, sent.head, 0);
		interrupt(tx);
	}
}

void
fake_rings_loop(struct fake_accel_queue *rx, struct fake_accel_queue *tx)
{
	struct fake_accel plain = {0};

	serve_pair(&plain, 0, rx, tx);
}

static bool
was_kicked(struct fake_accel_queue *queue, uint16_t *doorbell)
{
	bool kicked;

	if (queue->ring == NULL)
		return false;
	kicked = queue->ring->kicked || __atomic_exchange_n(doorbell, NO_STORE, __ATOMIC_ACQ_REL) != NO_STORE;
	queue->ring->kicked = false;
	return kicked;
}

static void
serve(struct fake_accel *fake)
{
	size_t page_bytes = 4096;
	unsigned int i;

	if (fake->dead && !fake->alive_when_dead)
		return;
	for (i = 0; i < QUEUES_ALL; i += 2) {
		struct fake_accel_queue *rx = &fake->queues[i], *tx = &fake->queues[i + 1];
		struct rp_dma_reader *reader = fake->readers[i / FAKE_ACCEL_QUEUES];
		bool kicked = was_kicked(rx, (uint16_t *)(rings.doorbells + i * page_bytes));

		kicked |= was_kicked(tx, (uint16_t *)(rings.doorbells + (i + 1) * page_bytes));
		if (!kicked || tx->ring == NULL)
			continue;
		rp_dma_reader_online(reader);
		serve_pair(fake, i / FAKE_ACCEL_QUEUES, rx, tx);
		rp_dma_reader_offline(reader);
	}
}

static void *
run(void *ctx)
{
	(void)ctx;
	while (!atomic_load(&rings.stop)) {
		serve(fake_take());
		fake_give();
		usleep(IDLE_US);
	}
	return NULL;
}

void
fake_rings_run(void)
{
	rings.doorbells =
		mmap(NULL, QUEUES_ALL * 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fake_take()->doorbell_fd, 0);
	fake_give();
	assert_true(rings.doorbells != MAP_FAILED);
	memset(rings.doorbells, 0xff, QUEUES_ALL * 4096);
	atomic_store(&rings.stop, false);
	rings.runs = true;
	assert_int_equal(pthread_create(&rings.thread, NULL, run, NULL), 0);
}

void
fake_rings_end(void)
{
	if (!rings.runs)
		return;
	atomic_store(&rings.stop, true);
	pthread_join(rings.thread, NULL);
	munmap(rings.doorbells, QUEUES_ALL * 4096);
	rings.runs = false;
}
