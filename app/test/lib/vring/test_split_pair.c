/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "rp_vring_drv.h"
#include "rp_wire_fd.h"
#include "guest.h"

/*
 * Both sides of the library against each other, in two threads: numbered
 * messages go in order, none is lost, and nobody sleeps through a wake-up. Both
 * use the space's mapping of the memory, so that the thread sanitizer sees one
 * memory and not two.
 */

#define MESSAGES 60000u
#define SLOT_SIZE 16u
#define CHANGES 50u
#define PATIENCE_MS 20000

struct pair {
	struct guest *guest;
	struct rp_vring_drv *drv;
	uint8_t *buffers;
	int kick;
	int call;
	atomic_bool failed;
	uint32_t device_sleeps;
};

struct message {
	uint64_t number;
	uint64_t answer;
};

static void
signal_eventfd(int fd)
{
	uint64_t one = 1;

	assert_int_equal(write(fd, &one, sizeof(one)), sizeof(one));
}

/* False: nobody came. That is the failure this test is about. */
static bool
sleep_on(int fd)
{
	struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
	uint64_t count;

	return poll(&poll_fd, 1, PATIENCE_MS) == 1 && read(fd, &count, sizeof(count)) == sizeof(count);
}

/* Serve one batch. Returns false when the ring is broken or the order is. */
static bool
device_batch(struct pair *pair, uint64_t *expected)
{
	struct rp_vring_dev *ring = &pair->guest->ring;
	struct rp_vring_chain *chain = &pair->guest->chain;
	int rc;

	while ((rc = rp_vring_dev_pop(ring, chain)) == 1) {
		const struct message *in = chain->iov[0].iov_base;
		uint64_t *answer = chain->iov[1].iov_base;

		if (chain->out_count != 1 || chain->in_count != 1 || in->number != *expected)
			return false;
		*answer = ~in->number;
		(*expected)++;
		if (rp_vring_dev_push(ring, chain->head, sizeof(*answer)) != 0)
			return false;
	}
	if (rp_vring_dev_needs_interrupt(ring) == 1)
		signal_eventfd(pair->call);
	return rc == 0;
}

static void *
device_main(void *ctx)
{
	struct pair *pair = ctx;
	struct rp_vring_dev *ring = &pair->guest->ring;
	uint64_t expected = 0;

	rp_dma_reader_online(pair->guest->reader);
	while (expected < MESSAGES) {
		rp_dma_reader_quiescent(pair->guest->reader);
		rp_vring_dev_set_notify(ring, false);
		if (!device_batch(pair, &expected))
			break;
		if (expected == MESSAGES)
			break;
		rp_vring_dev_set_notify(ring, true);
		if (rp_vring_dev_available(ring) != 0)
			continue;
		pair->device_sleeps++;
		rp_dma_reader_offline(pair->guest->reader);
		if (!sleep_on(pair->kick))
			break;
		rp_dma_reader_online(pair->guest->reader);
	}
	rp_dma_reader_offline(pair->guest->reader);
	if (expected < MESSAGES) {
		atomic_store(&pair->failed, true);
		signal_eventfd(pair->call);
	}
	return NULL;
}

static void
driver_collect(struct pair *pair, uint64_t *collected)
{
	uint32_t written_bytes;
	void *cookie;
	int rc;

	while ((rc = rp_vring_drv_get(pair->drv, &cookie, &written_bytes)) == 1) {
		struct message *message = cookie;

		assert_int_equal(message->number, *collected);
		assert_int_equal(message->answer, ~*collected);
		assert_int_equal(written_bytes, 8);
		(*collected)++;
	}
	assert_int_equal(rc, 0);
}

static void
driver_send(struct pair *pair, uint64_t number)
{
	size_t at = (size_t)(number % pair->guest->layout.num) * SLOT_SIZE;
	struct message *message = (struct message *)(void *)(pair->buffers + at);
	const struct rp_vring_part parts[] = {
		{.iova = GUEST_BUFFERS + at, .size_bytes = 8},
		{.iova = GUEST_BUFFERS + at + 8, .size_bytes = 8, .device_writes = true},
	};

	message->number = number;
	message->answer = 0;
	assert_int_equal(rp_vring_drv_add(pair->drv, parts, 2, message), 0);
}

static void
driver_main(struct pair *pair)
{
	uint64_t sent = 0, collected = 0;
	unsigned int seed = 6;

	while (collected < MESSAGES && !atomic_load(&pair->failed)) {
		unsigned int batch = 1 + (unsigned int)rand_r(&seed) % 8;

		while (batch-- > 0 && sent < MESSAGES && rp_vring_drv_free_count(pair->drv) >= 2)
			driver_send(pair, sent++);
		if (rp_vring_drv_needs_kick(pair->drv))
			signal_eventfd(pair->kick);
		driver_collect(pair, &collected);
		if (sent < MESSAGES && rp_vring_drv_free_count(pair->drv) >= 2)
			continue;
		rp_vring_drv_set_interrupt(pair->drv, true);
		driver_collect(pair, &collected);
		if (rp_vring_drv_free_count(pair->drv) < pair->guest->layout.num && collected < sent)
			assert_true(sleep_on(pair->call));
		rp_vring_drv_set_interrupt(pair->drv, false);
	}
	assert_int_equal(collected, MESSAGES);
}

static void
run_pair(struct guest *guest, uint16_t num, uint64_t features)
{
	struct pair pair = {.guest = guest};
	pthread_t thread;

	pair.buffers = guest_hva(guest, GUEST_BUFFERS);
	pair.kick = eventfd(0, EFD_CLOEXEC);
	pair.call = eventfd(0, EFD_CLOEXEC);
	assert_int_equal(rp_vring_drv_create(num, guest_hva(guest, GUEST_IOVA), GUEST_IOVA, features, &pair.drv), 0);
	rp_vring_drv_layout(pair.drv, &guest->layout);
	assert_int_equal(rp_vring_dev_init(&guest->ring, &guest->layout, 0, guest->reader, NULL), 0);
	rp_dma_reader_offline(guest->reader);
	assert_int_equal(pthread_create(&thread, NULL, device_main, &pair), 0);
	driver_main(&pair);
	pthread_join(thread, NULL);
	rp_dma_reader_online(guest->reader);
	assert_false(atomic_load(&pair.failed));
	print_message("num %u: the device slept %u times in %u messages\n", num, pair.device_sleeps, MESSAGES);
	rp_vring_drv_destroy(pair.drv);
	rp_wire_fd_close(&pair.kick);
	rp_wire_fd_close(&pair.call);
}

static void
by_flags(void **state)
{
	run_pair(*state, 2, 0);
	run_pair(*state, 64, 0);
}

static void
by_event_indices(void **state)
{
	run_pair(*state, 2, F_EVENT_IDX);
	run_pair(*state, 64, F_EVENT_IDX);
}

struct mapper {
	struct guest *guest;
	atomic_bool stop;
	atomic_uint changes;
};

/* The writer's thread: mappings come and go beside the ones in use. */
static void *
mapper_main(void *ctx)
{
	struct mapper *mapper = ctx;

	while (!atomic_load_explicit(&mapper->stop, memory_order_relaxed)) {
		const struct rp_dma_mapping mapping = {
			.iova = 0x1000,
			.size_bytes = 4096,
			.access_mask = RP_DMA_READ,
			.fd = mapper->guest->fd,
		};

		assert_int_equal(rp_dma_space_map(mapper->guest->space, &mapping, NULL), 0);
		assert_int_equal(rp_dma_space_unmap(mapper->guest->space, 0x1000, 4096, NULL), 0);
		atomic_fetch_add(&mapper->changes, 1);
		usleep(100);
	}
	return NULL;
}

static void
while_the_space_changes(void **state)
{
	struct mapper mapper = {.guest = *state};
	struct guest *guest = *state;
	struct rp_vring_chain *chain = &guest->chain;
	pthread_t thread;
	uint32_t i;

	guest_start(guest, 8, 0, 0);
	assert_int_equal(pthread_create(&thread, NULL, mapper_main, &mapper), 0);
	for (i = 0; i < MESSAGES || atomic_load(&mapper.changes) < CHANGES; i++) {
		rp_dma_reader_quiescent(guest->reader);
		guest_desc(guest, i % 8, GUEST_BUFFERS, 4, 0, 0);
		guest_offer(guest, i % 8);
		assert_int_equal(rp_vring_dev_pop(&guest->ring, chain), 1);
		assert_int_equal(rp_vring_dev_push(&guest->ring, chain->head, 0), 0);
	}
	atomic_store(&mapper.stop, true);
	rp_dma_reader_offline(guest->reader);
	pthread_join(thread, NULL);
	rp_dma_reader_online(guest->reader);
	print_message("%u changes under %u chains\n", atomic_load(&mapper.changes), i);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_GUEST(by_flags),
		WITH_GUEST(by_event_indices),
		WITH_GUEST(while_the_space_changes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
